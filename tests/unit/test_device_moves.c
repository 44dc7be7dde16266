/* An actor that goes from the CPU to another device and back (DW_TEST_DEVICE; without one, to
 * another engine on the CPU): of 256 tokens a prompt, each decoded after the tokens that one which
 * stayed on the CPU has chosen, it would have chosen the same at least 99 times in 100. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "support.h"

#define TOKENS 256
#define ON_DEVICE_FROM 64 /* the first tokens on the CPU, */
#define ON_DEVICE_TO 192  /* these on the device, the last on the CPU again */
#define PROMPTS 4
#define PROMPT_BYTES 600

static char folder[] = "/tmp/dw-device-moves-XXXXXX";

static dw_actor *moved(dw_actor *actor, actor_fixture *to)
{
    char path[96];
    const char *paths = path;
    dw_actor *arrived = NULL;
    dw_error error = {.message = ""};
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = &paths,
                               .path_count = 1,
                               .models = &to->model,
                               .model_count = 1};
    (void)snprintf(path, sizeof path, "%s/actor", folder);
    dw_status status = dw_actor_freeze(actor, path, NULL, NULL, &error);
    if (status == DW_OK) {
        dw_actor_destroy(actor);
        status = dw_actor_thaw(&arrived, to->engine, &options, NULL, &error);
    }
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    (void)unlink(path);
    return arrived;
}

static dw_actor *prompted(actor_fixture *fixture, const char *prose, size_t number)
{
    char message[PROMPT_BYTES + 1] = "p";
    actor_answer answer;
    dw_error error = {.message = ""};
    dw_actor *actor = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    memcpy(message + 1, prose + number * 250, PROMPT_BYTES);
    assert_int_equal(dw_actor_send(actor, NULL, message, sizeof message, &error), DW_OK);
    assert_int_equal(actor_received(actor, &answer), DW_OK);
    return actor;
}

static uint32_t token_at(const actor_answer *answer, size_t offset)
{
    uint32_t token;
    assert_true(answer->bytes >= offset + sizeof token);
    memcpy(&token, answer->data + offset, sizeof token);
    return token;
}

/* Of TOKENS, how many the traveller would have chosen as well. */
static uint32_t count_alike(actor_fixture *cpu, actor_fixture *device, const char *prose,
                            size_t number)
{
    actor_answer stayed;
    actor_answer answer;
    uint32_t alike = 0;
    dw_actor *actor = prompted(cpu, prose, number);
    assert_int_equal(actor_told(actor, &stayed, "g%d", TOKENS), DW_OK);
    dw_actor_destroy(actor);
    actor = prompted(cpu, prose, number);
    for (uint32_t i = 0; i < TOKENS; i++) {
        if (i == ON_DEVICE_FROM) {
            actor = moved(actor, device);
        } else if (i == ON_DEVICE_TO) {
            actor = moved(actor, cpu);
        }
        uint32_t chosen = token_at(&stayed, (size_t)i * 8); /* a token and a digest each */
        assert_int_equal(actor_told(actor, &answer, "h%u", chosen), DW_OK);
        alike += token_at(&answer, 0) == chosen;
    }
    dw_actor_destroy(actor);
    return alike;
}

static void test_device_moves(void **state)
{
    (void)state;
    char model[512];
    char device_name[64];
    char *prose = NULL;
    size_t bytes = 0;
    void *cpu = NULL;
    void *device = NULL;
    dw_error error;
    const char *models = getenv("DW_TEST_MODEL_DIR");
    const char *name = getenv("DW_TEST_DEVICE");
    (void)snprintf(device_name, sizeof device_name, "%s", name != NULL ? name : "CPU");
    (void)snprintf(model, sizeof model, "%s/SmolLM2-135M-Instruct.Q4_1.gguf",
                   models != NULL ? models : "");
    if (access(model, R_OK) != 0 || emulated()) {
        skip();
    }
    assert_int_equal(
        dw_os_read_file(DW_TEST_DATA_DIR "/alice.txt", (size_t)1 << 24, &prose, &bytes, &error),
        DW_OK);
    assert_true(bytes >= (PROMPTS - 1) * 250 + PROMPT_BYTES);
    assert_int_equal(setenv("DW_TEST_MODEL", model, 1), 0);
    assert_int_equal(setenv("DW_TEST_DEVICE", "CPU", 1), 0);
    assert_int_equal(actor_fixture_open(&cpu), 0);
    assert_int_equal(setenv("DW_TEST_DEVICE", device_name, 1), 0);
    assert_int_equal(actor_fixture_open(&device), 0);
    size_t prompts = strcmp(device_name, "CPU") == 0 ? 1 : PROMPTS; /* nothing differs there */
    for (size_t i = 0; i < prompts; i++) {
        uint32_t alike = count_alike(cpu, device, prose, i);
        print_message("prompt %zu: CPU, %s, CPU: %u of %d tokens alike\n", i, device_name, alike,
                      TOKENS);
        assert_true(alike * 100 >= TOKENS * 99);
    }
    assert_int_equal(actor_fixture_close(&device), 0);
    assert_int_equal(actor_fixture_close(&cpu), 0);
    dw_free(prose);
}

static int open_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : 1;
}

static int close_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_device_moves)};
    wasm_signals_save();
    return cmocka_run_group_tests_name("device moves", tests, open_folder, close_folder);
}
