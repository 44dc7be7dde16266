/* What guests see of time is no finer than they were granted: by every clock, alone, under a
 * scheduler, and in a runtime, where a tenant's grant is kept to whoever asks for more. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "base/alloc.h"
#include "runtime_fixture.h"
#include "support.h"

#define STEP_NS 1000000u

/* `watch`: for 30 ms of its own work, what of any time that it was told is beyond a whole number of
 * steps, or -1 where time went back or stood still; `resolution` of the clocks 0 and 1, in us, the
 * smaller one. An actor answers the first. */
static const char watcher[] =
    "(module"
    " (import \"driftwood\" \"clock_ns\" (func $clock (result i64)))"
    " (import \"driftwood\" \"reply\" (func $reply (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"clock_time_get\""
    "  (func $time (param i32 i64 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"clock_res_get\""
    "  (func $res (param i32 i32) (result i32)))"
    " (memory (export \"memory\") 1)"
    " (func $over (param $t i64) (result i32)"
    "  (i32.wrap_i64 (i64.rem_u (local.get $t) (i64.const 1000000))))"
    " (func $now (param $id i32) (result i64)"
    "  (if (i32.eq (local.get $id) (i32.const 2)) (then (return (call $clock))))"
    "  (if (call $time (local.get $id) (i64.const 1) (i32.const 64)) (then unreachable))"
    "  (i64.load (i32.const 64)))"
    " (func $watch_one (param $id i32) (result i32)"
    "  (local $from i64) (local $t i64) (local $last i64) (local $most i32)"
    "  (local.set $from (call $now (local.get $id)))"
    "  (local.set $last (local.get $from))"
    "  (loop $on"
    "   (local.set $t (call $now (local.get $id)))"
    "   (if (i64.lt_u (local.get $t) (local.get $last)) (then (return (i32.const -1))))"
    "   (local.set $last (local.get $t))"
    "   (if (i32.gt_u (call $over (local.get $t)) (local.get $most))"
    "    (then (local.set $most (call $over (local.get $t)))))"
    "   (br_if $on (i64.lt_u (i64.sub (local.get $t) (local.get $from)) (i64.const 10000000))))"
    "  (local.get $most))"
    " (func $watch (export \"watch\") (result i32)"
    "  (i32.or (call $watch_one (i32.const 0))"
    "   (i32.or (call $watch_one (i32.const 1)) (call $watch_one (i32.const 2)))))"
    " (func (export \"resolution\") (result i32)"
    "  (if (call $res (i32.const 0) (i32.const 64)) (then unreachable))"
    "  (if (call $res (i32.const 1) (i32.const 72)) (then unreachable))"
    "  (i32.wrap_i64 (i64.div_u (select (i64.load (i32.const 64)) (i64.load (i32.const 72))"
    "    (i64.lt_u (i64.load (i32.const 64)) (i64.load (i32.const 72)))) (i64.const 1000))))"
    " (func (export \"bad\") (result i32)"
    "  (call $time (i32.const 1) (i64.const 1) (i32.const 65530)))"
    " (func (export \"driftwood_receive\") (result i32)"
    "  (i32.store (i32.const 0) (call $watch)) (call $reply (i32.const 0) (i32.const 4))))";

static dw_module *module;

static int open_all(void **state)
{
    wasm_byte_vec_t wasm;
    dw_error error = {.message = ""};
    int failed = runtime_fixture_open(state);
    runtime_fixture *f = *state;
    wasmtime_error_t *wrong = wasmtime_wat2wasm(watcher, strlen(watcher), &wasm);
    assert_null(wrong);
    dw_status status = dw_module_create(&module, f->actors->engine, wasm.data, wasm.size, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    wasm_byte_vec_delete(&wasm);
    return failed;
}

static int close_all(void **state)
{
    dw_module_unref(module);
    return runtime_fixture_close(state);
}

static int32_t called(dw_instance *instance, const char *name)
{
    int32_t result = 0;
    dw_error error = {.message = ""};
    dw_status status = dw_instance_call(instance, name, &result, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return result;
}

static void test_clock_of_a_guest(void **state)
{
    (void)state;
    dw_error error;
    dw_instance *fine = NULL;
    dw_instance *coarse = NULL;
    const dw_limits limits = {.struct_bytes = sizeof limits, .clock_ns = STEP_NS};
    const dw_instance_options options = {.struct_bytes = sizeof options, .limits = &limits};
    wasm_signals_restore();
    assert_int_equal(dw_instance_create(&fine, module, NULL, &error), DW_OK);
    assert_int_equal(dw_instance_create(&coarse, module, &options, &error), DW_OK);
    assert_true(called(fine, "watch") > 0);
    assert_true(called(fine, "resolution") < 1000);
    assert_int_equal(called(coarse, "watch"), 0);
    assert_int_equal(called(coarse, "resolution"), STEP_NS / 1000);
    /* A place that is not the guest's is Wasmtime's to refuse. */
    int32_t result = 0;
    assert_true(dw_instance_call(coarse, "bad", &result, &error) != DW_OK || result != 0);
    dw_instance_destroy(fine);
    dw_instance_destroy(coarse);
}

static int32_t watched(runtime_fixture *f, const runtime_id *id)
{
    runtime_answer answer;
    dw_error error;
    int32_t over = -1;
    assert_int_equal(runtime_tell(f, id, "x", &answer, &error), DW_OK);
    assert_int_equal(answer.count, sizeof over);
    memcpy(&over, answer.bytes, sizeof over);
    return over;
}

static runtime_id spawned(runtime_fixture *f, const char *tenant)
{
    const dw_spawn_options options = {.struct_bytes = sizeof options, .tenant = tenant};
    return runtime_spawned(f, module, &options);
}

static dw_status spawn_with(runtime_fixture *f, const char *tenant, uint64_t clock_ns,
                            dw_error *error)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    const dw_limits limits = {.struct_bytes = sizeof limits, .clock_ns = clock_ns};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &limits};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .tenant = tenant, .actor = &actor};
    error->message[0] = '\0';
    return dw_runtime_spawn(f->runtime, module, &options, id, error);
}

/* Denied by default: a tenant's clocks are coarse unless it was granted finer ones. */
static void test_clock_of_a_tenant(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    const dw_limits limits = {.struct_bytes = sizeof limits, .clock_ns = 1};
    dw_tenant_options options = {.struct_bytes = sizeof options, .capabilities = DW_MAY_ALL};
    runtime_open(f);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "coarse", &options, &error), DW_OK);
    options.limits = &limits;
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "fine", &options, &error), DW_OK);
    runtime_id own = spawned(f, ""); /* the embedder's own */
    runtime_id coarse = spawned(f, "coarse");
    runtime_id fine = spawned(f, "fine");
    assert_true(watched(f, &own) > 0);
    assert_int_equal(watched(f, &coarse), 0);
    assert_true(watched(f, &fine) > 0);
    runtime_id fork;
    assert_int_equal(dw_runtime_fork(f->runtime, coarse.text, fork.text, &error), DW_OK);
    assert_int_equal(watched(f, &fork), 0);
    assert_int_equal(spawn_with(f, "coarse", 1000, &error), DW_E_DENIED);
    assert_non_null(strstr(error.message, "clock_ns"));
    assert_int_equal(spawn_with(f, "coarse", 5000000, &error), DW_OK);
    assert_int_equal(spawn_with(f, "fine", 1, &error), DW_OK);
    runtime_close(f);
}

/* What was fine elsewhere is not here. */
static void test_clock_of_an_import(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    char path[64];
    const char *paths[] = {path};
    const dw_tenant_options options = {.struct_bytes = sizeof options};
    (void)snprintf(path, sizeof path, "/tmp/dw-clock-%d.snapshot", (int)getpid());
    runtime_open(f);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "coarse", &options, &error), DW_OK);
    runtime_id own = spawned(f, "");
    assert_true(watched(f, &own) > 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(dw_runtime_export(f->runtime, own.text, fileno(file), &error), DW_OK);
    (void)fclose(file);
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                                  .paths = paths,
                                  .path_count = 1,
                                  .models = &f->actors->model,
                                  .model_count = 1};
    const dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .tenant = "coarse"};
    runtime_id imported;
    dw_status status = dw_runtime_import(f->runtime, &thaw, &spawn, imported.text, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_int_equal(watched(f, &imported), 0);
    runtime_close(f);
    (void)unlink(path);
}

static void test_clock_in_a_manifest(void **state)
{
    static const char text[] =
        "{\"tenants\": {\"\": {}, \"fine\": {\"limits\": {\"clock_ns\": 1}}}}";
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .manifest = text, .manifest_bytes = sizeof text - 1};
    const dw_spawn_options usual = {.struct_bytes = sizeof usual};
    const dw_spawn_options fine = {.struct_bytes = sizeof fine, .tenant = "fine"};
    runtime_id ids[2];
    assert_int_equal(dw_runtime_open(&f->runtime, f->actors->engine, &options, &error), DW_OK);
    wasm_signals_restore();
    assert_int_equal(dw_runtime_spawn(f->runtime, module, &usual, ids[0].text, &error), DW_OK);
    assert_int_equal(dw_runtime_spawn(f->runtime, module, &fine, ids[1].text, &error), DW_OK);
    assert_int_equal(watched(f, &ids[0]), 0);
    assert_true(watched(f, &ids[1]) > 0);
    runtime_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_of_a_guest),
        cmocka_unit_test(test_clock_of_a_tenant),
        cmocka_unit_test(test_clock_of_an_import),
        cmocka_unit_test(test_clock_in_a_manifest),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
