/* Snapshots that earlier builds wrote (tests/golden): they thaw, hold what they held, and go on as
 * that build went on.
 *
 * DW_GOLDEN_WRITE=FOLDER writes the snapshots of the present format there, uncompressed, and prints
 * the answers: for a new version of the format. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>
#include <zstd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "support.h"

#define GOLDEN_DIR DW_TEST_DATA_DIR "/../golden"
#define FILES_MAX 3
#define STEPS 12

/* Tokens that were chosen after thawing, each with a digest of the logits it was chosen from. */
typedef struct steps {
    uint32_t numbers[STEPS][2];
} steps;

typedef struct golden {
    const char *names[FILES_MAX]; /* [count] */
    size_t count;
    uint32_t length; /* tokens in the context */
    uint32_t counter;
    steps expected;
} golden;

static const golden full = {
    .names = {"snapshot-v1-full"},
    .count = 1,
    .length = 50,
    .counter = 41,
    .expected = {{
        {167u, 0xf4eddd37u},
        {312u, 0x68ea6fbcu},
        {312u, 0x34cb4337u},
        {312u, 0x4a4c0188u},
        {35u, 0xd95c0be3u},
        {35u, 0x5285106au},
        {35u, 0x14ec9a77u},
        {35u, 0xbbcc82a3u},
        {217u, 0xc59e9d14u},
        {155u, 0x0b3e65a5u},
        {306u, 0xf8ef7f3cu},
        {306u, 0x3ed7a5c2u},
    }},
};
static const golden chain = {
    .names = {"snapshot-v1-chain-0", "snapshot-v1-chain-1", "snapshot-v1-chain-2"},
    .count = 3,
    .length = 95,
    .counter = 3,
    .expected = {{
        {79u, 0xc4a65152u},
        {79u, 0xf332a307u},
        {79u, 0x796f487du},
        {79u, 0x0c7c7e8cu},
        {79u, 0x6ef6aaeau},
        {120u, 0x0b993bccu},
        {120u, 0xf33dc38du},
        {120u, 0x192f0119u},
        {120u, 0xf039e8cau},
        {120u, 0x16fc51d3u},
        {120u, 0xf899cd3eu},
        {120u, 0x1c0f6105u},
    }},
};
static const golden q8_0 = {
    .names = {"snapshot-v1-q8_0"},
    .count = 1,
    .length = 40,
    .counter = 1,
    .expected = {{
        {54u, 0x57b54832u},
        {123u, 0x154438f0u},
        {123u, 0x9bfa547au},
        {123u, 0x500c7bd7u},
        {123u, 0x39db6454u},
        {123u, 0x9ccf1980u},
        {123u, 0x5bbd13dfu},
        {123u, 0x60238b76u},
        {123u, 0xc27f3db6u},
        {123u, 0x65c1d6ecu},
        {92u, 0x17a05e1fu},
        {92u, 0x6062265eu},
    }},
};
/* Of tests/guest/actor_machine.wat: two memories, globals of every type, a table. */
static const golden machine = {.names = {"snapshot-v1-machine"}, .count = 1};
#define MACHINE_DIGEST 0x41d9e276u

/* The same actors in files of version 2. */
static golden of_version_2(const golden *first)
{
    static const char *const names[][2] = {
        {"snapshot-v1-full", "snapshot-v2-full"},
        {"snapshot-v1-chain-0", "snapshot-v2-chain-0"},
        {"snapshot-v1-chain-1", "snapshot-v2-chain-1"},
        {"snapshot-v1-chain-2", "snapshot-v2-chain-2"},
        {"snapshot-v1-q8_0", "snapshot-v2-q8_0"},
        {"snapshot-v1-machine", "snapshot-v2-machine"},
    };
    golden second = *first;
    for (size_t i = 0; i < second.count; i++) {
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            if (strcmp(first->names[i], names[k][0]) == 0) {
                second.names[i] = names[k][1];
            }
        }
    }
    return second;
}

/* The chain whose deltas are of version 3. */
static golden of_version_3(void)
{
    golden third = chain;
    third.names[0] = "snapshot-v3-chain-0";
    third.names[1] = "snapshot-v3-chain-1";
    third.names[2] = "snapshot-v3-chain-2";
    return third;
}

static char folder[] = "/tmp/dw-golden-XXXXXX";

/* ---- files -------------------------------------------------------------------------------- */

static void unpack(const char *name, const char *path)
{
    char packed_path[512];
    char *packed = NULL;
    size_t packed_bytes = 0;
    dw_error error = {.message = ""};
    (void)snprintf(packed_path, sizeof packed_path, "%s/%s.zst", GOLDEN_DIR, name);
    dw_status status = dw_os_read_file(packed_path, 1 << 20, &packed, &packed_bytes, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    unsigned long long bytes = ZSTD_getFrameContentSize(packed, packed_bytes);
    assert_true(bytes > 0 && bytes < 16 << 20);
    char *content = dw_alloc((size_t)bytes, 1);
    assert_int_equal(ZSTD_decompress(content, (size_t)bytes, packed, packed_bytes), bytes);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, (size_t)bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    dw_free(content);
    dw_free(packed);
}

static dw_actor *thaw_files(actor_fixture *fixture, const char *const *paths, size_t count)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = paths,
                               .path_count = count,
                               .models = &fixture->model,
                               .model_count = 1};
    dw_status status = dw_actor_thaw(&actor, fixture->engine, &options, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static dw_actor *thaw_golden(actor_fixture *fixture, const golden *from)
{
    char paths[FILES_MAX][128];
    const char *list[FILES_MAX];
    for (size_t i = 0; i < from->count; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s", folder, from->names[i]);
        unpack(from->names[i], paths[i]);
        list[i] = paths[i];
    }
    dw_actor *actor = thaw_files(fixture, list, from->count);
    for (size_t i = 0; i < from->count; i++) {
        (void)unlink(paths[i]);
    }
    return actor;
}

/* ---- what an actor answers ---------------------------------------------------------------- */

static uint32_t number_of(dw_actor *actor, const char *message)
{
    actor_answer answer;
    uint32_t number;
    assert_int_equal(actor_told(actor, &answer, "%s", message), DW_OK);
    assert_int_equal(answer.bytes, sizeof number);
    memcpy(&number, answer.data, sizeof number);
    return number;
}

static void decode(dw_actor *actor, steps *made)
{
    actor_answer answer;
    assert_int_equal(actor_told(actor, &answer, "g%d", STEPS), DW_OK);
    assert_int_equal(answer.bytes, sizeof made->numbers);
    memcpy(made->numbers, answer.data, sizeof made->numbers);
}

/* Tokens are the same on every machine. Digests are where the machine adds up in the order of the
 * one that wrote the file, which the first shows: those logits are in the file. The second step's
 * are the first that are computed here. */
static void assert_steps(dw_actor *actor, const golden *from)
{
    steps made;
    assert_int_equal(number_of(actor, "l"), from->length);
    decode(actor, &made);
    const steps *expected = &from->expected;
    assert_int_equal(made.numbers[0][1], expected->numbers[0][1]);
    bool alike = made.numbers[1][1] == expected->numbers[1][1];
    for (size_t i = 0; i < STEPS; i++) {
        assert_int_equal(made.numbers[i][0], expected->numbers[i][0]);
        if (alike) {
            assert_int_equal(made.numbers[i][1], expected->numbers[i][1]);
        }
    }
}

/* The tensor graph over the guest's memory: 4 x 4 numbers, of which `more` changes the first. */
static void assert_product(dw_actor *actor, uint32_t more, float first)
{
    static const float rest[3] = {23, 103, 183};
    actor_answer answer;
    float product[16];
    assert_int_equal(actor_told(actor, &answer, "r%u", more), DW_OK);
    assert_int_equal(answer.bytes, sizeof product);
    memcpy(product, answer.data, sizeof product);
    assert_true(product[0] == first);
    assert_memory_equal(&product[1], rest, sizeof rest);
}

/* A fork, and what is frozen and thawed by this build, go on like the actor. */
static void assert_lives_on(actor_fixture *fixture, dw_actor *actor)
{
    char path[128];
    const char *list[] = {path};
    dw_actor *child = NULL;
    dw_error error = {.message = ""};
    steps made[3];
    (void)snprintf(path, sizeof path, "%s/again", folder);
    assert_int_equal(dw_actor_fork(&child, actor, NULL, &error), DW_OK);
    assert_int_equal(dw_actor_freeze(actor, path, NULL, NULL, &error), DW_OK);
    dw_actor *again = thaw_files(fixture, list, 1);
    (void)unlink(path);
    decode(actor, &made[0]);
    decode(child, &made[1]);
    decode(again, &made[2]);
    assert_memory_equal(&made[0], &made[1], sizeof made[0]);
    assert_memory_equal(&made[0], &made[2], sizeof made[0]);
    dw_actor_destroy(child);
    dw_actor_destroy(again);
}

/* ---- the tests ---------------------------------------------------------------------------- */

static void expect_full(actor_fixture *fixture, const golden *from)
{
    actor_answer answer;
    dw_actor_effect effect = {.struct_bytes = sizeof effect};
    dw_error error = {.message = ""};
    dw_actor *actor = thaw_golden(fixture, from);
    assert_string_equal(dw_actor_id(actor), "4b65657065722066");
    assert_int_equal(dw_actor_waiting(actor), 2);
    assert_int_equal(dw_actor_effect_count(actor), 1);
    assert_int_equal(dw_actor_effect_at(actor, 0, &effect, &error), DW_OK);
    assert_int_equal(effect.kind, DW_EFFECT_SEND);
    assert_int_equal(effect.number, 1);
    assert_string_equal(effect.actor, "00112233445566ff");
    assert_int_equal(effect.message_bytes, 3);
    assert_memory_equal(effect.message, "D12", 3);
    dw_actor_drop_effects(actor, 1);
    assert_true(dw_actor_timer_ms(actor) > 0);
    assert_int_equal(actor_received(actor, &answer), DW_OK); /* "+1" */
    assert_int_equal(*(const uint32_t *)answer.data, full.counter + 1);
    assert_int_equal(actor_received(actor, &answer), DW_OK); /* "+8", from another actor */
    assert_int_equal(*(const uint32_t *)answer.data, full.counter + 9);
    assert_int_equal(dw_actor_fire_timers(actor, INT64_MAX, &error), DW_OK);
    assert_int_equal(actor_received(actor, &answer), DW_OK); /* "+100" */
    assert_int_equal(*(const uint32_t *)answer.data, full.counter + 109);
    assert_product(actor, 2, -43);
    assert_steps(actor, &full);
    assert_lives_on(fixture, actor);
    dw_actor_destroy(actor);
}

static void test_golden_full(void **state)
{
    const golden second = of_version_2(&full);
    expect_full(*state, &full);
    expect_full(*state, &second);
}

static void expect_chain(actor_fixture *fixture, const golden *from)
{
    dw_actor *actor = thaw_golden(fixture, from);
    assert_int_equal(number_of(actor, "+0"), chain.counter);
    assert_product(actor, 0, -57);
    assert_steps(actor, &chain);
    assert_lives_on(fixture, actor);
    dw_actor_destroy(actor);
}

static void test_golden_chain(void **state)
{
    const golden second = of_version_2(&chain);
    const golden third = of_version_3();
    expect_chain(*state, &chain);
    expect_chain(*state, &second);
    expect_chain(*state, &third);
}

static void expect_q8_0(actor_fixture *fixture, const golden *from)
{
    dw_actor *actor = thaw_golden(fixture, from);
    assert_int_equal(number_of(actor, "+0"), q8_0.counter);
    assert_steps(actor, &q8_0);
    assert_lives_on(fixture, actor);
    dw_actor_destroy(actor);
}

static void test_golden_q8_0(void **state)
{
    const golden second = of_version_2(&q8_0);
    expect_q8_0(*state, &q8_0);
    expect_q8_0(*state, &second);
}

/* Its answer is a digest of all that it can reach. */
static uint32_t machine_told(dw_actor *actor, uint32_t what, uint32_t number)
{
    const uint32_t message[4] = {what, number, 3 * number + 1, 5 * number + 2};
    actor_answer answer;
    uint32_t digest;
    dw_error error = {.message = ""};
    assert_int_equal(dw_actor_send(actor, NULL, message, sizeof message, &error), DW_OK);
    assert_int_equal(actor_received(actor, &answer), DW_OK);
    assert_int_equal(answer.bytes, sizeof digest);
    memcpy(&digest, answer.data, sizeof digest);
    return digest;
}

static void test_golden_machine(void **state)
{
    actor_fixture *fixture = *state;
    const golden versions[] = {machine, of_version_2(&machine)};
    for (size_t i = 0; i < 2; i++) {
        dw_actor *actor = thaw_golden(fixture, &versions[i]);
        assert_int_equal(machine_told(actor, 2, 9), MACHINE_DIGEST);
        dw_actor_destroy(actor);
    }
}

/* ---- writing them ------------------------------------------------------------------------- */

static void freeze(dw_actor *actor, const char *to, const char *name, bool delta)
{
    char path[512];
    dw_error error = {.message = ""};
    (void)snprintf(path, sizeof path, "%s/%s", to, name);
    dw_status status = dw_actor_freeze(
        actor, path,
        &(dw_freeze_options){.struct_bytes = sizeof(dw_freeze_options), .delta = delta}, NULL,
        &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

static void print_steps(const char *name, dw_actor *actor)
{
    steps made;
    decode(actor, &made);
    for (size_t i = 0; i < STEPS; i++) {
        printf("%s {%uu, 0x%08xu},\n", name, made.numbers[i][0], made.numbers[i][1]);
    }
}

static dw_actor *keeper(actor_fixture *fixture, dw_kv_type kv_type, uint32_t length)
{
    actor_answer answer;
    dw_instance_options instance = {.struct_bytes = sizeof instance, .kv_type = kv_type};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_actor *actor = actor_spawned(fixture, &options);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "s%u", length), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n%u", length), DW_OK);
    return actor;
}

static void write_full(actor_fixture *fixture, const char *to)
{
    actor_answer answer;
    dw_error error = {.message = ""};
    dw_actor *first = keeper(fixture, DW_KV_F16, 46);
    dw_actor *actor = NULL;
    assert_int_equal(dw_actor_fork(&actor, first, "4b65657065722066", &error), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "g4"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "+41"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "T"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "D12"), DW_OK);
    assert_int_equal(dw_actor_send(actor, NULL, "+1", 2, &error), DW_OK);
    assert_int_equal(dw_actor_send(actor, "00112233445566ff", "+8", 2, &error), DW_OK);
    freeze(actor, to, full.names[0], false);
    assert_int_equal(actor_received(actor, &answer), DW_OK);
    assert_int_equal(actor_received(actor, &answer), DW_OK);
    print_steps("full", actor);
    dw_actor_destroy(actor);
    dw_actor_destroy(first);
}

/* The last part of the log begins in the middle of the one before, which is trimmed. */
static void write_chain(actor_fixture *fixture, const char *to)
{
    actor_answer answer;
    dw_actor *actor = keeper(fixture, DW_KV_F16, 70);
    assert_int_equal(number_of(actor, "+1"), 1);
    freeze(actor, to, chain.names[0], false);
    assert_int_equal(actor_told(actor, &answer, "n30"), DW_OK);
    assert_int_equal(number_of(actor, "+1"), 2);
    freeze(actor, to, chain.names[1], true);
    assert_int_equal(actor_told(actor, &answer, "t90"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n5"), DW_OK);
    assert_int_equal(number_of(actor, "+1"), 3);
    freeze(actor, to, chain.names[2], true);
    print_steps("chain", actor);
    dw_actor_destroy(actor);
}

static void write_q8_0(actor_fixture *fixture, const char *to)
{
    dw_actor *actor = keeper(fixture, DW_KV_Q8_0, 40);
    assert_int_equal(number_of(actor, "+1"), 1);
    freeze(actor, to, q8_0.names[0], false);
    print_steps("q8_0", actor);
    dw_actor_destroy(actor);
}

static dw_module *machine_module(actor_fixture *fixture)
{
    char *text = NULL;
    size_t bytes = 0;
    wasm_byte_vec_t wasm;
    dw_module *module = NULL;
    dw_error error = {.message = ""};
    assert_int_equal(
        dw_os_read_file(DW_TEST_GUESTS_DIR "/actor_machine.wat", 100000, &text, &bytes, &error),
        DW_OK);
    assert_null(wasmtime_wat2wasm(text, bytes, &wasm));
    assert_int_equal(dw_module_create(&module, fixture->engine, wasm.data, wasm.size, &error),
                     DW_OK);
    wasm_byte_vec_delete(&wasm);
    dw_free(text);
    return module;
}

static void write_machine(actor_fixture *fixture, const char *to)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_module *module = machine_module(fixture);
    assert_int_equal(dw_actor_spawn(&actor, module, NULL, &error), DW_OK);
    dw_module_unref(module);
    for (uint32_t what = 0; what < 8; what++) {
        (void)machine_told(actor, what, 1237 * what + 2);
    }
    freeze(actor, to, machine.names[0], false);
    printf("machine 0x%08xu\n", machine_told(actor, 2, 9));
    dw_actor_destroy(actor);
}

static void test_golden_write(void **state)
{
    actor_fixture *fixture = *state;
    const char *to = getenv("DW_GOLDEN_WRITE");
    if (to == NULL) {
        skip();
    }
    dw_module_unref(fixture->module);
    fixture->module = actor_module(fixture, "actor_keeper.wasm");
    write_full(fixture, to);
    write_chain(fixture, to);
    write_q8_0(fixture, to);
    write_machine(fixture, to);
}

int main(void)
{
    /* The files name the fixture's own model. */
    if (getenv("DW_TEST_MODEL") != NULL || mkdtemp(folder) == NULL) {
        return 1;
    }
    const struct CMUnitTest reading[] = {
        cmocka_unit_test(test_golden_full),
        cmocka_unit_test(test_golden_chain),
        cmocka_unit_test(test_golden_q8_0),
        cmocka_unit_test(test_golden_machine),
    };
    const struct CMUnitTest writing[] = {cmocka_unit_test(test_golden_write)};
    int failed = getenv("DW_GOLDEN_WRITE") != NULL
                     ? cmocka_run_group_tests(writing, actor_fixture_open, actor_fixture_close)
                     : cmocka_run_group_tests(reading, actor_fixture_open, actor_fixture_close);
    (void)rmdir(folder);
    return failed;
}
