/* What actors exist for: after a thaw, after a fork, and after an export that another process
 * imported, the next 64 tokens are those that would have come, each from logits equal bit by bit.
 * 20 contexts a model, of 1 to 4,096 tokens, on and off the boundaries of pages (4 KiB), of the
 * files' alignment (64 KiB) and of steps; every other sampler is seeded and in mid-stream.
 *
 * The other process is this program with --continue MODEL SNAPSHOT ANSWER. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "support.h"
#include "tiny_model.h"

#define NEXT_TOKENS 64
#define PROSE_BYTES 20000 /* more than 4,096 tokens of it */
/* What the guest answers a token: it, and a digest of the logits that it was chosen from. */
#define TOKEN_BYTES 8

/* Alignment is reached every 4 (page) and 64 tokens (64 KiB) by a tiny model, whose records have
 * 1 KiB, and every 8 and 128 by SmolLM2, whose have 22.5. */
static const uint32_t lengths[] = {1,   2,   3,   31,  63,  64,  65,   127,  128,  255,
                                   256, 257, 384, 385, 511, 512, 1023, 1024, 2049, 4096};
#define PROMPTS (sizeof lengths / sizeof lengths[0])

static char folder[] = "/tmp/dw-moves-XXXXXX";

static void in_folder(char path[96], const char *name)
{
    (void)snprintf(path, 96, "%s/%s", folder, name);
}

static dw_actor *thawed(actor_fixture *fixture, const char *path)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = &path,
                               .path_count = 1,
                               .models = &fixture->model,
                               .model_count = 1};
    dw_status status = dw_actor_thaw(&actor, fixture->engine, &options, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static void go_on(dw_actor *actor, actor_answer *answer)
{
    assert_int_equal(actor_told(actor, answer, "g%d", NEXT_TOKENS), DW_OK);
    assert_int_equal(answer->bytes, NEXT_TOKENS * TOKEN_BYTES);
}

/* Where there is little time (DW_TEST_SHORT) every eighth length of a model, others of each. */
static size_t first_of(size_t *step)
{
    static size_t models;
    *step = getenv("DW_TEST_SHORT") != NULL ? 8 : 1;
    return *step == 1 ? 0 : models++ % *step;
}

/* ---- the other process ------------------------------------------------------------------- */

static int continue_here(char **args)
{
    void *fixture = NULL;
    actor_answer *answer = dw_alloc(1, sizeof *answer);
    if (setenv("DW_TEST_MODEL", args[0], 1) != 0 || actor_fixture_open(&fixture) != 0) {
        return 1;
    }
    dw_actor *actor = thawed(fixture, args[1]);
    go_on(actor, answer);
    dw_actor_destroy(actor);
    FILE *file = fopen(args[2], "wb");
    bool good = file != NULL && fwrite(answer->data, 1, answer->bytes, file) == answer->bytes;
    good = file != NULL && fclose(file) == 0 && good;
    dw_free(answer);
    return actor_fixture_close(&fixture) == 0 && good ? 0 : 1;
}

static void continue_elsewhere(const char *model, const char *snapshot, actor_answer *answer)
{
    char program[512];
    char path[96];
    dw_error error;
    int status = 0;
    in_folder(path, "answer");
    assert_int_equal(dw_os_executable_path(program, sizeof program, &error), DW_OK);
    pid_t child = fork();
    if (child == 0) {
        (void)execl(program, program, "--continue", model, snapshot, path, (char *)NULL);
        _exit(126);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    char *bytes = NULL;
    assert_int_equal(dw_os_read_file(path, sizeof answer->data, &bytes, &answer->bytes, &error),
                     DW_OK);
    memcpy(answer->data, bytes, answer->bytes);
    dw_free(bytes);
    (void)unlink(path);
}

/* ---- this one ---------------------------------------------------------------------------- */

/* p and enough of the prose for `length` tokens, over and over, from another place each time. */
static size_t make_prompt(char *message, const char *prose, size_t number, uint32_t length)
{
    size_t all = strlen(prose);
    size_t bytes = 16 + (size_t)length * 5;
    bytes = bytes < PROSE_BYTES ? bytes : PROSE_BYTES;
    message[0] = 'p';
    for (size_t at = 1; at < bytes; at++) {
        message[at] = prose[(number * 61 + at) % all];
    }
    return bytes;
}

/* An actor whose context holds `length` tokens of prose, or what stands for it in a vocabulary
 * without text, the last of them by its own choice where there is room for that. */
static dw_actor *at_length(actor_fixture *fixture, size_t number, const char *prose)
{
    actor_answer answer;
    dw_error error;
    uint32_t length = lengths[number];
    uint32_t own = (uint32_t)number % 7 < length ? (uint32_t)number % 7 : 0;
    dw_actor *actor = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    if (number % 2 == 1) {
        assert_int_equal(actor_told(actor, &answer, "s%zu", number), DW_OK);
    }
    if (prose != NULL && length - own > 1) {
        char *message = dw_alloc(1, PROSE_BYTES + 1);
        size_t bytes = make_prompt(message, prose, number, length);
        assert_int_equal(dw_actor_send(actor, NULL, message, bytes, &error), DW_OK);
        dw_free(message);
        assert_int_equal(actor_received(actor, &answer), DW_OK);
        assert_int_equal(actor_told(actor, &answer, "t%u", length - own - 1), DW_OK);
        assert_int_equal(actor_told(actor, &answer, "n1"), DW_OK);
    } else {
        assert_int_equal(actor_told(actor, &answer, "n%u", length - own), DW_OK);
    }
    assert_int_equal(actor_told(actor, &answer, "g%u", own), DW_OK);
    return actor;
}

static void write_snapshots(dw_actor *actor, const char *frozen, const char *exported)
{
    dw_error error = {.message = ""};
    assert_int_equal(dw_actor_freeze(actor, frozen, NULL, NULL, &error), DW_OK);
    int fd = open(exported, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(dw_actor_export(actor, fd, NULL, NULL, &error), DW_OK);
    dw_os_close(fd);
}

static size_t tokens_alike(const actor_answer *left, const actor_answer *right)
{
    size_t count = 0;
    assert_int_equal(left->bytes, right->bytes);
    for (size_t at = 0; at < left->bytes; at += TOKEN_BYTES) {
        count += memcmp(left->data + at, right->data + at, TOKEN_BYTES) == 0;
    }
    return count;
}

static void go_through(const char *model, const char *prose)
{
    void *opened = NULL;
    char frozen[96];
    char exported[96];
    actor_answer *answers = dw_alloc(2, sizeof *answers);
    size_t alike[3] = {0};
    in_folder(frozen, "frozen");
    in_folder(exported, "exported");
    assert_int_equal(setenv("DW_TEST_MODEL", model, 1), 0);
    assert_int_equal(actor_fixture_open(&opened), 0);
    actor_fixture *fixture = opened;
    size_t end = SANITIZED || emulated() ? 8 : PROMPTS; /* they are slow */
    size_t count = 0;
    size_t step = 1;
    const size_t first = first_of(&step);
    while (step > 1 && prose != NULL && lengths[end - 1] > 1024) { /* a real model's take minutes */
        end--;
    }
    for (size_t i = first; i < end; i += step, count++) {
        dw_error error;
        dw_actor *others[2] = {NULL, NULL};
        dw_actor *actor = at_length(fixture, i, prose);
        write_snapshots(actor, frozen, exported);
        others[0] = thawed(fixture, frozen);
        assert_int_equal(dw_actor_fork(&others[1], actor, NULL, &error), DW_OK);
        go_on(actor, &answers[0]);
        dw_actor_destroy(actor);
        for (size_t k = 0; k < 2; k++) {
            go_on(others[k], &answers[1]);
            alike[k] += tokens_alike(&answers[0], &answers[1]);
            dw_actor_destroy(others[k]);
        }
        continue_elsewhere(model, exported, &answers[1]);
        alike[2] += tokens_alike(&answers[0], &answers[1]);
    }
    (void)unlink(frozen);
    (void)unlink(exported);
    assert_int_equal(actor_fixture_close(&opened), 0);
    print_message("of %zu tokens alike: thawed %zu, forked %zu, in another process %zu\n",
                  count * NEXT_TOKENS, alike[0], alike[1], alike[2]);
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(alike[k], count * NEXT_TOKENS);
    }
    dw_free(answers);
}

static void go_through_tiny(const tiny_options *options)
{
    char model[96];
    in_folder(model, "tiny.gguf");
    tiny_model_write(model, options);
    go_through(model, NULL);
    (void)unlink(model);
}

static void test_actor_moves_llama(void **state)
{
    (void)state;
    tiny_options options = tiny_defaults();
    options.context_length = 8192;
    go_through_tiny(&options);
}

static void test_actor_moves_gemma3(void **state)
{
    (void)state;
    static const tiny_architecture kind = {
        .name = "gemma3", .norms = TINY_AROUND, .qk_norm = TINY_QK_HEADS, .window = 48};
    tiny_options options = tiny_defaults();
    options.context_length = 8192;
    options.architecture = kind.name;
    options.kind = &kind;
    go_through_tiny(&options);
}

static void test_actor_moves_smollm2(void **state)
{
    (void)state;
    char model[512];
    char *prose = NULL;
    size_t bytes = 0;
    dw_error error;
    const char *models = getenv("DW_TEST_MODEL_DIR");
    (void)snprintf(model, sizeof model, "%s/SmolLM2-135M-Instruct.Q4_1.gguf",
                   models != NULL ? models : "");
    if (access(model, R_OK) != 0 || emulated()) {
        skip();
    }
    assert_int_equal(
        dw_os_read_file(DW_TEST_DATA_DIR "/alice.txt", (size_t)1 << 24, &prose, &bytes, &error),
        DW_OK);
    go_through(model, prose);
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actor_moves_llama),
        cmocka_unit_test(test_actor_moves_gemma3),
        cmocka_unit_test(test_actor_moves_smollm2),
    };
    if (argc == 5 && strcmp(argv[1], "--continue") == 0) {
        return continue_here(argv + 2);
    }
    wasm_signals_save();
    return cmocka_run_group_tests_name("actor moves", tests, open_folder, close_folder);
}
