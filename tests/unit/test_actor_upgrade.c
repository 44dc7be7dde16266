/* A new module under a living actor: it takes what the one before hands over, or the actor goes on
 * as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "base/alloc.h"
#include "runtime_fixture.h"
#include "support.h"

#define ACTOR                                                                                      \
    "(memory (export \"memory\") 1)(func (export \"driftwood_receive\") (result i32) i32.const 0)"
#define UPGRADE(body) "(func (export \"driftwood_upgrade\") (result i32) " body ")"

static dw_module *module_of(actor_fixture *fixture, const char *text)
{
    wasm_byte_vec_t wasm;
    dw_module *module = NULL;
    dw_error error = {.message = ""};
    char all[4096];
    int length = snprintf(all, sizeof all, "(module %s)", text);
    wasmtime_error_t *failed = wasmtime_wat2wasm(all, (size_t)length, &wasm);
    assert_null(failed);
    dw_status status = dw_module_create(&module, fixture->engine, wasm.data, wasm.size, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    wasm_byte_vec_delete(&wasm);
    return module;
}

static dw_actor *spawned(actor_fixture *fixture, dw_module *module, const dw_limits *limits)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    const dw_instance_options instance = {.struct_bytes = sizeof instance,
                                          .models = &fixture->model,
                                          .model_count = 1,
                                          .kv_type = DW_KV_F32,
                                          .timeout_ms = 2000,
                                          .limits = limits};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_status status = dw_actor_spawn(&actor, module, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    wasm_signals_restore();
    return actor;
}

static int32_t told(dw_actor *actor, const char *text, int32_t *version)
{
    actor_answer answer = {.bytes = 0};
    int32_t numbers[2] = {0, 0};
    assert_int_equal(actor_told(actor, &answer, "%s", text), DW_OK);
    assert_int_equal(answer.bytes, sizeof numbers);
    memcpy(numbers, answer.data, sizeof numbers);
    if (version != NULL) {
        *version = numbers[1];
    }
    return numbers[0];
}

/* One that has a prompt and some tokens behind it. */
static dw_actor *busy(actor_fixture *fixture, dw_module *module, const dw_limits *limits)
{
    actor_answer answer = {.bytes = 0};
    dw_actor *actor = spawned(fixture, module, limits);
    assert_int_equal(told(actor, "+7", NULL), 7);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "q100"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "g3"), DW_OK);
    return actor;
}

static void assert_same_tokens(dw_actor *a, dw_actor *b)
{
    actor_answer first = {.bytes = 0};
    actor_answer second = {.bytes = 0};
    assert_int_equal(actor_told(a, &first, "g8"), DW_OK);
    assert_int_equal(actor_told(b, &second, "g8"), DW_OK);
    assert_int_equal(first.bytes, 8 * sizeof(int32_t));
    assert_int_equal(first.bytes, second.bytes);
    assert_memory_equal(first.data, second.data, first.bytes);
}

static void test_actor_upgrade_goes_on(void **state)
{
    actor_fixture *fixture = ((runtime_fixture *)*state)->actors;
    dw_module *first = actor_module(fixture, "actor_first.wasm");
    dw_module *second = actor_module(fixture, "actor_second.wasm");
    dw_actor *actor = busy(fixture, first, NULL);
    dw_actor *same = NULL;
    dw_actor *next = NULL;
    dw_error error = {.message = ""};
    actor_answer answer = {.bytes = 0};
    int32_t version = 0;
    assert_int_equal(dw_actor_fork(&same, actor, NULL, &error), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "t60000"), DW_OK);
    assert_int_equal(dw_actor_send(actor, NULL, "+1", 2, &error), DW_OK);
    uint64_t due_ms = dw_actor_timer_ms(actor);
    dw_status status = dw_actor_upgrade(&next, actor, second, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_string_equal(dw_actor_id(next), dw_actor_id(actor));
    assert_int_equal(dw_actor_waiting(next), 1); /* the message, and the timer, are there */
    assert_int_equal(dw_actor_timer_ms(next), due_ms);
    dw_actor_destroy(actor);
    assert_int_equal(dw_actor_receive(next, NULL, NULL, &error), DW_OK);
    assert_int_equal(told(next, "+0", &version), 71);
    assert_int_equal(version, 2);
    assert_same_tokens(next, same); /* context and sampler go on where they were */
    assert_int_equal(dw_actor_send(next, NULL, "c", 1, &error), DW_OK);
    assert_int_equal(dw_actor_receive(next, NULL, NULL, &error), DW_OK);
    assert_int_equal(told(next, "c", NULL), DW_E_HANDLE); /* which it did not keep */
    assert_int_equal(told(same, "c", NULL), 0);
    dw_actor_destroy(next);
    dw_actor_destroy(same);
    dw_module_unref(first);
    dw_module_unref(second);
}

/* Frozen behind the change it thaws as what it is then. */
static void test_actor_upgrade_thaws(void **state)
{
    actor_fixture *fixture = ((runtime_fixture *)*state)->actors;
    dw_module *first = actor_module(fixture, "actor_first.wasm");
    dw_module *second = actor_module(fixture, "actor_second.wasm");
    dw_actor *actor = busy(fixture, first, NULL);
    dw_actor *next = NULL;
    dw_actor *thawed = NULL;
    dw_error error = {.message = ""};
    char path[64];
    const char *paths[] = {path};
    int32_t version = 0;
    (void)snprintf(path, sizeof path, "/tmp/dw-upgrade-%d.snapshot", (int)getpid());
    assert_int_equal(dw_actor_upgrade(&next, actor, second, &error), DW_OK);
    assert_int_equal(dw_actor_freeze(next, path, NULL, NULL, &error), DW_OK);
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                                  .paths = paths,
                                  .path_count = 1,
                                  .models = &fixture->model,
                                  .model_count = 1};
    dw_status status = dw_actor_thaw(&thawed, fixture->engine, &thaw, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_int_equal(told(thawed, "+0", &version), 70);
    assert_int_equal(version, 2);
    assert_same_tokens(next, thawed);
    dw_actor_destroy(thawed);
    dw_actor_destroy(next);
    dw_actor_destroy(actor);
    dw_module_unref(first);
    dw_module_unref(second);
    (void)unlink(path);
}

typedef struct refusal {
    const char *text;
    dw_status status;
    const char *words;
} refusal;

#define IMPORT(name, type) "(import \"driftwood\" \"" name "\" (func $f " type "))"

static const refusal refusals[] = {
    {ACTOR, DW_E_UNSUPPORTED, "exports no function 'driftwood_upgrade'"},
    {"(memory (export \"memory\") 1)" UPGRADE("i32.const 0"), DW_E_UNSUPPORTED,
     "exports no function 'driftwood_receive'"},
    {ACTOR "(func (export \"driftwood_upgrade\") (param i32))", DW_E_TYPE, "driftwood_upgrade"},
    {ACTOR "(global (export \"driftwood_upgrade\") i32 (i32.const 0))", DW_E_TYPE, "no function"},
    {ACTOR UPGRADE("unreachable"), DW_E_TRAP, "driftwood_upgrade: the guest trapped"},
    {ACTOR UPGRADE("i32.const -1"), -1, "driftwood_upgrade answered -1"},
    {ACTOR UPGRADE("i32.const -99999"), DW_E_TRAP, "answered -99999"},
    {ACTOR UPGRADE("(loop (br 0)) unreachable"), DW_E_LIMIT, "ran longer than its 2000 ms"},
    {ACTOR UPGRADE("(i32.load (i32.const 99999999))"), DW_E_TRAP, "outside its memory"},
    {"(func $f (result i32) call $f)" ACTOR UPGRADE("call $f"), DW_E_TRAP, "driftwood_upgrade"},
    {ACTOR "(func (export \"_initialize\") unreachable)" UPGRADE("i32.const 0"), DW_E_TRAP,
     "_initialize"},
    {"(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $f (param i32)))" ACTOR UPGRADE(
         "(call $f (i32.const 0)) i32.const 0"),
     DW_E_TRAP, "the guest left with code 0"},
    {"(memory (export \"memory\") 60000)"
     "(func (export \"driftwood_receive\") (result i32) i32.const 0)" UPGRADE("i32.const 0"),
     DW_E_LIMIT, "the guest starts with"},
    {IMPORT("state_take", "(param i32 i32) (result i32)")
         ACTOR UPGRADE("(call $f (i32.const 65530) (i32.const 100))"),
     DW_E_RANGE, "buffer"},
    {IMPORT("state_give", "(param i32 i32) (result i32)")
         ACTOR UPGRADE("(call $f (i32.const 0) (i32.const 100))"),
     DW_E_STATE, "only possible in 'driftwood_state'"},
    {IMPORT("handle_keep", "(param i32) (result i32)") ACTOR UPGRADE("(call $f (i32.const 77))"),
     DW_E_HANDLE, "77"},
    {IMPORT("handle_keep", "(param i32) (result i32)") ACTOR UPGRADE("(call $f (i32.const -1))"),
     DW_E_HANDLE, "-1"},
    {IMPORT("model_open", "(param i32 i32) (result i32)") ACTOR UPGRADE(
         "(call $f (i32.const 0) (i32.const 9))") "(data (i32.const 0) \"ungranted\")",
     DW_E_DENIED, "ungranted"},
    {IMPORT("actor_send", "(param i32 i32 i32 i32) (result i32)")
         ACTOR UPGRADE("(call $f (i32.const 0) (i32.const 16) (i32.const 0) (i32.const "
                       "0))") "(data (i32.const 0) \"0123456789abcdef\")",
     DW_E_STATE, "while a message is worked on"},
    {IMPORT("actor_stop", "(result i32)") ACTOR UPGRADE("call $f"), DW_E_STATE, ""},
    {IMPORT("reply", "(param i32 i32) (result i32)")
         ACTOR UPGRADE("(call $f (i32.const 0) (i32.const 1))"),
     DW_E_STATE, ""},
};
#define REFUSAL_COUNT (sizeof refusals / sizeof refusals[0])

static void test_actor_upgrade_refused(void **state)
{
    actor_fixture *fixture = ((runtime_fixture *)*state)->actors;
    const dw_limits limits = {.struct_bytes = sizeof limits, .linear_bytes = UINT64_C(1) << 30};
    dw_module *first = actor_module(fixture, "actor_first.wasm");
    dw_actor *actor = busy(fixture, first, &limits);
    dw_actor *same = NULL;
    dw_actor *next = NULL;
    dw_error error = {.message = ""};
    assert_int_equal(dw_actor_fork(&same, actor, NULL, &error), DW_OK);
    assert_int_equal(dw_actor_send(actor, NULL, "+1", 2, &error), DW_OK);
    size_t bytes = dw_instance_memory_bytes(dw_actor_instance(actor));
    unsigned char *copy = dw_alloc(bytes, 1);
    memcpy(copy, dw_instance_memory(dw_actor_instance(actor)), bytes);
    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        dw_module *module = module_of(fixture, refusals[i].text);
        dw_status status = dw_actor_upgrade(&next, actor, module, &error);
        if (status != refusals[i].status || strstr(error.message, refusals[i].words) == NULL) {
            fail_msg("%zu: %d: %s", i, status, error.message);
        }
        assert_null(next);
        assert_int_equal(dw_instance_memory_bytes(dw_actor_instance(actor)), bytes);
        assert_memory_equal(dw_instance_memory(dw_actor_instance(actor)), copy, bytes);
        assert_int_equal(dw_actor_waiting(actor), 1);
        dw_module_unref(module);
    }
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &error), DW_OK);
    assert_int_equal(told(actor, "+0", NULL), 8);
    assert_same_tokens(actor, same);
    dw_free(copy);
    dw_actor_destroy(same);
    dw_actor_destroy(actor);
    dw_module_unref(first);
}

/* What the old module does wrong in handing over: it is done in a copy. */
static void test_actor_upgrade_hands_over_badly(void **state)
{
    static const refusal olds[] = {
        {"unreachable", DW_E_TRAP, "driftwood_state: the guest trapped"},
        {"i32.const -3", -3, "driftwood_state answered -3"},
        {"(loop (br 0)) unreachable", DW_E_LIMIT, "driftwood_state: the guest ran longer"},
        {"(call $f (i32.const 65000) (i32.const 9999))", DW_E_RANGE, "state"},
        {"(drop (call $f (i32.const 0) (i32.const 64)))(call $f (i32.const 0) (i32.const 1))",
         DW_E_LIMIT, "1 bytes behind 64, limit 64 (upgrade_bytes)"},
    };
    actor_fixture *fixture = ((runtime_fixture *)*state)->actors;
    const dw_limits limits = {.struct_bytes = sizeof limits, .upgrade_bytes = 64};
    dw_module *module = module_of(fixture, ACTOR UPGRADE("i32.const 0"));
    for (size_t i = 0; i < sizeof olds / sizeof olds[0]; i++) {
        char text[1024];
        dw_error error = {.message = ""};
        dw_actor *next = NULL;
        (void)snprintf(
            text, sizeof text,
            "%s (func (export \"driftwood_state\") (result i32) (i32.store (i32.const 0) "
            "(i32.const 5)) %s)",
            IMPORT("state_give", "(param i32 i32) (result i32)") ACTOR, olds[i].text);
        dw_module *old = module_of(fixture, text);
        dw_actor *actor = spawned(fixture, old, &limits);
        dw_status status = dw_actor_upgrade(&next, actor, module, &error);
        if (status != olds[i].status || strstr(error.message, olds[i].words) == NULL) {
            fail_msg("%zu: %d: %s", i, status, error.message);
        }
        assert_null(next);
        assert_int_equal(*(int32_t *)dw_instance_memory(dw_actor_instance(actor)), 0);
        assert_int_equal(dw_actor_send(actor, NULL, "x", 1, &error), DW_OK);
        assert_int_equal(dw_actor_receive(actor, NULL, NULL, &error), DW_OK);
        dw_actor_destroy(actor);
        dw_module_unref(old);
    }
    dw_module_unref(module);
}

/* A module that declared nothing: the new one is told so, and may go on nevertheless. */
static void test_actor_upgrade_of_nothing_declared(void **state)
{
    actor_fixture *fixture = ((runtime_fixture *)*state)->actors;
    dw_error error = {.message = ""};
    dw_actor *next = NULL;
    dw_module *old = module_of(fixture, ACTOR);
    dw_module *strict = module_of(fixture, IMPORT("state_bytes", "(result i64)")
                                               ACTOR UPGRADE("(i32.wrap_i64 (call $f))"));
    dw_module *generous = module_of(fixture, ACTOR UPGRADE("i32.const 0"));
    dw_actor *actor = spawned(fixture, old, NULL);
    assert_int_equal(dw_actor_upgrade(&next, actor, strict, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "exports no 'driftwood_state'"));
    assert_int_equal(dw_actor_upgrade(&next, actor, generous, &error), DW_OK);
    dw_actor_destroy(next);
    dw_actor_destroy(actor);
    dw_module_unref(old);
    dw_module_unref(strict);
    dw_module_unref(generous);
}

/* Whichever allocation fails, the actor is as it was. */
static void test_actor_upgrade_without_memory(void **state)
{
    actor_fixture *fixture = ((runtime_fixture *)*state)->actors;
    dw_module *first = actor_module(fixture, "actor_first.wasm");
    dw_module *second = actor_module(fixture, "actor_second.wasm");
    dw_actor *actor = busy(fixture, first, NULL);
    dw_actor *next = NULL;
    dw_error error;
    dw_status status = DW_E_MEMORY;
    assert_int_equal(dw_actor_send(actor, NULL, "+1", 2, &error), DW_OK);
    for (int64_t n = 0; status != DW_OK; n++) {
        dw_alloc_fail_after(n);
        status = dw_actor_upgrade(&next, actor, second, &error);
        dw_alloc_fail_after(-1);
        assert_true(n < 5000);
        assert_true((status == DW_OK) == (next != NULL));
        assert_int_equal(dw_actor_waiting(actor), 1);
    }
    assert_int_equal(told(actor, "+0", NULL), 8); /* behind the one that waited */
    dw_actor_destroy(next);
    dw_actor_destroy(actor);
    dw_module_unref(first);
    dw_module_unref(second);
}

/* ---- in a runtime -------------------------------------------------------------------------- */

static int32_t runtime_version(runtime_fixture *f, const runtime_id *id, int32_t *counter)
{
    runtime_answer answer;
    dw_error error;
    int32_t numbers[2];
    assert_int_equal(runtime_tell(f, id, "+0", &answer, &error), DW_OK);
    assert_int_equal(answer.count, sizeof numbers);
    memcpy(numbers, answer.bytes, sizeof numbers);
    *counter = numbers[0];
    return numbers[1];
}

static void test_runtime_upgrade(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    runtime_answer answer;
    uint64_t number = 0;
    int32_t counter = 0;
    dw_module *first = actor_module(f->actors, "actor_first.wasm");
    dw_module *second = actor_module(f->actors, "actor_second.wasm");
    runtime_open(f);
    runtime_id id = runtime_spawned(f, first, NULL);
    assert_int_equal(runtime_tell(f, &id, "+4", &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &id, "t300", &answer, &error), DW_OK);
    /* Refused: it goes on. */
    assert_int_equal(dw_runtime_upgrade(f->runtime, id.text, f->echo, &number, &error),
                     DW_E_UNSUPPORTED);
    assert_int_equal(runtime_version(f, &id, &counter), 1);
    assert_int_equal(counter, 4);
    error.message[0] = '\0';
    dw_status status = dw_runtime_upgrade(f->runtime, id.text, second, &number, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_int_equal(number, 1); /* it is frozen */
    assert_int_equal(runtime_version(f, &id, &counter), 2);
    assert_int_equal(counter, 40);
    for (int i = 0; i < 200 && counter == 40; i++) { /* the timer that the first set */
        (void)usleep(10000);
        (void)runtime_version(f, &id, &counter);
    }
    assert_int_equal(counter, 140);
    /* What it goes back to after a trap is of the new module, also what descends from it. */
    assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_version(f, &id, &counter), 2);
    assert_int_equal(counter, 40);
    runtime_id child;
    assert_int_equal(dw_runtime_fork(f->runtime, id.text, child.text, &error), DW_OK);
    assert_int_equal(runtime_version(f, &child, &counter), 2);
    assert_int_equal(runtime_tell(f, &child, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_version(f, &child, &counter), 2); /* anew, as a fork has no freezes */
    assert_int_equal(dw_runtime_upgrade(f->runtime, "0123456789abcdef", second, NULL, &error),
                     DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_upgrade(f->runtime, id.text, NULL, NULL, &error), DW_E_ARG);
    runtime_close(f);
    dw_module_unref(first);
    dw_module_unref(second);
}

/* In a state folder: one transaction, which the next process finds; the module goes into the
 * folder, and the one before out of it once nobody has it. */
static void test_runtime_upgrade_in_a_folder(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    runtime_answer answer;
    uint64_t number = 0;
    int32_t counter = 0;
    char folder[] = "/tmp/dw-upgrade-XXXXXX";
    char command[96];
    dw_module *first = actor_module(f->actors, "actor_first.wasm");
    dw_module *second = actor_module(f->actors, "actor_second.wasm");
    assert_non_null(mkdtemp(folder));
    f->path = folder;
    runtime_open(f);
    runtime_id id = runtime_spawned(f, first, NULL);
    runtime_id other = runtime_spawned(f, first, NULL);
    assert_int_equal(runtime_tell(f, &id, "+4", &answer, &error), DW_OK);
    assert_int_equal(dw_runtime_upgrade(f->runtime, id.text, f->echo, &number, &error),
                     DW_E_UNSUPPORTED);
    assert_int_equal(runtime_version(f, &id, &counter), 1);
    error.message[0] = '\0';
    dw_status status = dw_runtime_upgrade(f->runtime, id.text, second, &number, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_int_equal(runtime_version(f, &id, &counter), 2);
    assert_int_equal(counter, 40);
    assert_int_equal(runtime_version(f, &other, &counter), 1);
    assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_version(f, &id, &counter), 2); /* read again */
    runtime_close(f);
    f->path = folder;
    runtime_open(f); /* another process */
    assert_int_equal(runtime_version(f, &id, &counter), 2);
    assert_int_equal(counter, 40);
    assert_int_equal(runtime_version(f, &other, &counter), 1);
    (void)snprintf(command, sizeof command, "test $(ls %s/modules | wc -l) = 2", folder);
    assert_int_equal(system(command), 0);
    /* One that is not in memory is read for it; the last user of the first module. */
    runtime_close(f);
    f->path = folder;
    runtime_open(f);
    assert_int_equal(dw_runtime_upgrade(f->runtime, other.text, second, &number, &error), DW_OK);
    assert_int_equal(runtime_version(f, &other, &counter), 2);
    runtime_close(f);
    (void)snprintf(command, sizeof command, "test $(ls %s/modules | wc -l) = 1", folder);
    assert_int_equal(system(command), 0);
    f->path = NULL;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    dw_module_unref(first);
    dw_module_unref(second);
}

/* While messages come, none is lost, and each is worked on by one of the two. */
static void test_runtime_upgrade_under_load(void **state)
{
    enum { MESSAGES = 400 };
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    int32_t counter = 0;
    dw_module *first = actor_module(f->actors, "actor_first.wasm");
    dw_module *second = actor_module(f->actors, "actor_second.wasm");
    runtime_open(f);
    runtime_id id = runtime_spawned(f, first, NULL);
    const dw_request request = {
        .struct_bytes = sizeof request, .message = "+1", .message_bytes = 2};
    for (int i = 0; i < MESSAGES; i++) {
        assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, NULL, &error), DW_OK);
        if (i == MESSAGES / 2) {
            assert_int_equal(
                dw_runtime_begin_upgrade(f->runtime, id.text, second, NULL, NULL, &error), DW_OK);
        }
    }
    runtime_await(f);
    assert_int_equal(runtime_version(f, &id, &counter), 2);
    assert_int_equal(runtime_info(f, &id).done, MESSAGES + 1);
    assert_true((counter - MESSAGES) % 9 == 0); /* nine more for each that the first worked on */
    /* What never begins gives the module back. */
    assert_int_equal(dw_runtime_begin_upgrade(f->runtime, id.text, second, NULL, NULL, &error),
                     DW_OK);
    assert_int_equal(dw_runtime_stop(f->runtime, id.text, &error), DW_OK);
    runtime_close(f);
    dw_module_unref(first);
    dw_module_unref(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_actor_upgrade_goes_on),
        runtime_test(test_actor_upgrade_thaws),
        runtime_test(test_actor_upgrade_refused),
        runtime_test(test_actor_upgrade_hands_over_badly),
        runtime_test(test_actor_upgrade_of_nothing_declared),
        runtime_test(test_actor_upgrade_without_memory),
        runtime_test(test_runtime_upgrade),
        runtime_test(test_runtime_upgrade_in_a_folder),
        runtime_test(test_runtime_upgrade_under_load),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
