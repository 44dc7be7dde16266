/* How deep a guest can be: as deep on every thread, however it is called, with the same clean end,
 * and with room below for the host's functions. Through the public API alone. */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wasmtime.h>

#include "driftwood.h"
#include "small_thread.h"

#define FRAME_BYTES 4096
#define HOST_FRAMES 768 /* 3 MiB */

static dw_engine *engine;
static pthread_t asking;     /* the thread that calls */
static uint32_t depth;       /* how often the guest came by */
static uint32_t deepest;     /* at which it asks for deep host work; 0: never */
static dw_instance *nested;  /* called from under the import; NULL: none */
static bool on_other_thread; /* a callback was */

static uint32_t fill_frames(uint32_t left) /* NOLINT(misc-no-recursion) */
{
    volatile char frame[FRAME_BYTES];
    frame[0] = 1;
    uint32_t below = left > 1 ? fill_frames(left - 1) : 0;
    return below + (frame[0] == 1 ? 1 : 0);
}

/* Another guest to its end, from under the import. */
static dw_status dive_nested(uint32_t *reached, dw_error *err)
{
    dw_instance *other = nested;
    uint32_t own = depth;
    nested = NULL;
    depth = 0;
    dw_status status = dw_instance_call(other, "dive", NULL, err);
    nested = other;
    *reached = depth;
    depth = own;
    return status == DW_E_TRAP ? DW_OK : dw_fail(err, DW_E_STATE, "it ended by %d", (int)status);
}

/* (): one more frame. */
static dw_status come_by(void *user, dw_import_call *call, const dw_value *args, dw_value *results,
                         dw_error *err)
{
    (void)call;
    (void)args;
    (void)results;
    on_other_thread = on_other_thread || !pthread_equal(asking, pthread_self());
    if (++depth != deepest) {
        return DW_OK;
    }
    if (fill_frames(HOST_FRAMES) != HOST_FRAMES) {
        return dw_fail(err, DW_E_STATE, "frames");
    }
    return nested != NULL ? dive_nested(user, err) : DW_OK;
}

static uint32_t nested_depth;
static const dw_import by = {.struct_bytes = sizeof by,
                             .module = "host",
                             .name = "by",
                             .signature = ":",
                             .call = come_by,
                             .user = &nested_depth};

#define HEAD                                                                                       \
    "(module (import \"host\" \"by\" (func $by))"                                                  \
    "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"                   \
    "(memory (export \"memory\") 1)"                                                               \
    "(func $dive (result i32) (call $by) (i32.add (call $dive) (i32.const 1)))"                    \
    "(func $down (param i32) (result i32) (call $by) (if (result i32) (local.get 0)"               \
    "  (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))"          \
    "  (else (i32.const 0))))"

static const char plain_text[] =
    HEAD "(func (export \"dive\") (result i32) (call $dive))"
         "(func (export \"down\") (result i32) (call $down (i32.const 32000)))"
         "(func (export \"_start\") (drop (call $dive))))";
static const char starting_text[] =
    HEAD "(func $s (drop (call $dive))) (func (export \"f\")) (start $s))";
static const char reactor_text[] =
    HEAD "(func (export \"f\")) (func (export \"_initialize\") (drop (call $dive))))";
static const char actor_text[] =
    HEAD "(func (export \"driftwood_receive\") (result i32) (call $dive)))";

static dw_module *compiled(const char *text)
{
    dw_module *module = NULL;
    dw_error err = {.message = ""};
    wasm_byte_vec_t wasm;
    assert_null(wasmtime_wat2wasm(text, strlen(text), &wasm));
    dw_status status = dw_module_create(&module, engine, wasm.data, wasm.size, &err);
    wasm_byte_vec_delete(&wasm);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return module;
}

/* ---- the ways into a guest ----------------------------------------------------------------- */

typedef struct asked {
    dw_module *module;
    dw_status status;
    char message[256];
    uint32_t depth;
} asked;

static void note(asked *a, dw_status status, const dw_error *err)
{
    a->status = status;
    a->depth = depth;
    (void)snprintf(a->message, sizeof a->message, "%s", err->message);
}

static dw_instance *begun(asked *a)
{
    dw_instance *instance = NULL;
    dw_error err = {.message = ""};
    asking = pthread_self();
    depth = 0;
    note(a, dw_instance_create(&instance, a->module, NULL, &err), &err);
    return instance;
}

static void by_call(void *arg)
{
    asked *a = arg;
    dw_error err = {.message = ""};
    dw_instance *instance = begun(a);
    note(a, dw_instance_call(instance, "dive", NULL, &err), &err);
    dw_instance_destroy(instance);
}

static void by_run(void *arg)
{
    asked *a = arg;
    dw_error err = {.message = ""};
    dw_instance *instance = begun(a);
    note(a, dw_instance_run(instance, NULL, &err), &err);
    dw_instance_destroy(instance);
}

static void by_creation(void *arg)
{
    dw_instance_destroy(begun(arg));
}

static void by_message(void *arg)
{
    asked *a = arg;
    dw_error err = {.message = ""};
    dw_actor *actor = NULL;
    asking = pthread_self();
    depth = 0;
    note(a, dw_actor_spawn(&actor, a->module, NULL, &err), &err);
    if (actor != NULL) {
        assert_int_equal(dw_actor_send(actor, NULL, "x", 1, &err), DW_OK);
        note(a, dw_actor_receive(actor, NULL, NULL, &err), &err);
    }
    dw_actor_destroy(actor);
}

static void on_end(void *user, const dw_call_end *end)
{
    note(user, end->status, end->error);
}

static void by_scheduler(void *arg)
{
    asked *a = arg;
    dw_error err = {.message = ""};
    dw_scheduler *scheduler = NULL;
    dw_instance *instance = begun(a);
    if (dw_scheduler_create(&scheduler, engine, NULL, &err) != DW_OK ||
        dw_scheduler_start(scheduler, instance, on_end, a, &err) != DW_OK ||
        dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err) != DW_OK) {
        note(a, DW_E_STATE, &err);
    }
    dw_scheduler_destroy(scheduler);
    dw_instance_destroy(instance);
}

/* ---- tests --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *text;
    void (*ask)(void *arg);
} ways[] = {
    {"dw_instance_call", plain_text, by_call},
    {"dw_instance_run", plain_text, by_run},
    {"a start function", starting_text, by_creation},
    {"_initialize", reactor_text, by_creation},
    {"driftwood_receive", actor_text, by_message},
    {"dw_scheduler_run", plain_text, by_scheduler},
};

static const size_t sizes[] = {0, 256 << 10, 512 << 10, 8 << 20};

/* The same on every thread, and within a few frames each way in. */
static void test_guest_stack_is_as_deep_everywhere(void **state)
{
    (void)state;
    uint32_t first = 0;
    wasm_signals_restore();
    for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        asked here = {.module = compiled(ways[way].text)};
        ways[way].ask(&here);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            asked a = {.module = here.module};
            small_thread_run(sizes[i] > 0 ? sizes[i] : small_thread_bytes_min(), ways[way].ask, &a);
            assert_int_equal(a.status, DW_E_TRAP);
            assert_string_equal(a.message, "the guest trapped: its call stack is exhausted");
            if (a.depth != here.depth) {
                fail_msg("%s: %u frames on a thread of %zu KiB, %u on this one", ways[way].name,
                         a.depth, sizes[i] >> 10, here.depth);
            }
        }
        dw_module_unref(here.module);
        first = first > 0 ? first : here.depth;
        print_message("%s: %u frames\n", ways[way].name, here.depth);
        assert_true(here.depth > 32000 && here.depth + 64 > first && here.depth < first + 64);
    }
    assert_false(on_other_thread);
}

static void down(void *arg)
{
    asked *a = arg;
    dw_error err = {.message = ""};
    int32_t result = 0;
    dw_instance *instance = begun(a);
    note(a, dw_instance_call(instance, "down", &result, &err), &err);
    a->depth = (uint32_t)result;
    dw_instance_destroy(instance);
}

/* Where a guest is deep, the host's own functions can be as well, and so can another guest. */
static void test_guest_stack_leaves_room_for_the_host(void **state)
{
    (void)state;
    dw_error err = {.message = ""};
    asked a = {.module = compiled(plain_text)};
    wasm_signals_restore();
    by_call(&a);
    uint32_t alone = a.depth;
    assert_int_equal(dw_instance_create(&nested, a.module, NULL, &err), DW_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        deepest = 31990;
        nested_depth = 0;
        small_thread_run(sizes[i] > 0 ? sizes[i] : small_thread_bytes_min(), down, &a);
        deepest = 0;
        assert_string_equal(a.message, "");
        assert_int_equal(a.status, DW_OK);
        assert_int_equal(a.depth, 32000);
        assert_int_equal(nested_depth, alone);
    }
    dw_instance_destroy(nested);
    nested = NULL;
    dw_module_unref(a.module);
}

static int set_up(void **state)
{
    const dw_import *const imports[] = {&by};
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = "CPU",
                                 .threads = 1,
                                 .imports = imports,
                                 .import_count = 1};
    dw_error err;
    (void)state;
    return dw_engine_create(&engine, &options, &err) == DW_OK ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    dw_engine_destroy(engine);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_stack_is_as_deep_everywhere),
        cmocka_unit_test(test_guest_stack_leaves_room_for_the_host),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
