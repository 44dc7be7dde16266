/* Fuel, processor time, and the time of an actor's message. */
#include <string.h>

#include "actor/actor.h"
#include "base/limits.h"
#include "support.h"
#include "wasm/guest_instance.h"

#define LONG "3600000" /* ms */

/* Turns round `n` times (a word at 0), makes way every thousandth time and looks at the clock, so
 * that code of the host's runs in between. */
static const char turns[] =
    "(module"
    " (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $yield (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result "
    "i32)))"
    " (memory (export \"memory\") 1)"
    " (func (export \"_start\") (local $i i32)"
    "  (loop $again"
    "   (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    "   (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 1000)))"
    "    (then (drop (call $yield)) (drop (call $random (i32.const 64) (i32.const 8)))))"
    "   (br_if $again (i32.lt_u (local.get $i) (i32.load (i32.const 0)))))))";
static const char actor_that_spins[] =
    "(module (memory (export \"memory\") 1)"
    " (func (export \"driftwood_receive\") (result i32) (loop $again (br $again)) (i32.const 0)))";

static dw_engine *counting; /* of the group */
static dw_engine *plain;

static int open_engines(void **state)
{
    (void)state;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    if (dw_engine_create(&plain, &options, NULL) != DW_OK) {
        return -1;
    }
    options.counts_fuel = true;
    return dw_engine_create(&counting, &options, NULL) == DW_OK ? 0 : -1;
}

static int close_engines(void **state)
{
    (void)state;
    dw_engine_destroy(counting);
    dw_engine_destroy(plain);
    return 0;
}

static dw_module *compile(dw_engine *engine, const char *text)
{
    dw_module *module = NULL;
    wasm_byte_vec_t wasm;
    dw_error err;
    wasm_signals_restore();
    assert_null(wasmtime_wat2wasm(text, strlen(text), &wasm));
    if (dw_module_create(&module, engine, wasm.data, wasm.size, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    wasm_byte_vec_delete(&wasm);
    return module;
}

static dw_instance *start(dw_engine *engine, const dw_limits *limits, uint32_t n)
{
    dw_instance_options options = {.struct_bytes = sizeof options, .limits = limits};
    dw_module *module = compile(engine, turns);
    dw_instance *instance = NULL;
    dw_error err;
    if (dw_instance_create(&instance, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    dw_module_unref(module);
    memcpy(dw_instance_memory(instance), &n, sizeof n);
    return instance;
}

static void on_end(void *user, const dw_call_end *end)
{
    *(dw_status *)user = end->status;
}

/* How `n` turns end with so much fuel, on this stack or on a fiber beside another guest; `*used`
 * is what they took. */
static dw_status burn(uint64_t fuel, uint32_t n, bool fiber, uint64_t *used)
{
    const dw_limits limits = {.struct_bytes = sizeof limits, .fuel = fuel};
    dw_instance *instance = start(counting, &limits, n);
    dw_instance *other = start(counting, NULL, 50000);
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_error err = {.message = ""};
    dw_status status = DW_E_STATE;
    dw_status others = DW_OK;
    if (fiber) {
        dw_scheduler *scheduler = NULL;
        assert_int_equal(dw_scheduler_create(&scheduler, counting, NULL, &err), DW_OK);
        assert_int_equal(dw_scheduler_start(scheduler, instance, on_end, &status, &err), DW_OK);
        assert_int_equal(dw_scheduler_start(scheduler, other, on_end, &others, &err), DW_OK);
        assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
        dw_scheduler_destroy(scheduler);
    } else {
        status = dw_instance_run(instance, NULL, &err);
        if (status != DW_OK) {
            assert_non_null(strstr(err.message, "instructions (fuel)"));
        }
    }
    assert_int_equal(others, DW_OK);
    assert_int_equal(dw_instance_get_stats(instance, &stats), DW_OK);
    *used = stats.fuel;
    dw_instance_destroy(instance);
    dw_instance_destroy(other);
    return status;
}

static void test_fuel_ends_at_the_same_instruction(void **state)
{
    (void)state;
    uint64_t needed = 0;
    uint64_t used = 0;
    assert_int_equal(burn(UINT64_C(1) << 40, 300000, false, &needed), DW_OK);
    print_message("300000 turns: %llu instructions\n", (unsigned long long)needed);
    assert_true(needed > 300000 * 8);
    for (int i = 0; i < 3; i++) {
        bool fiber = i > 0;
        assert_int_equal(burn(UINT64_C(1) << 40, 300000, fiber, &used), DW_OK);
        assert_int_equal(used, needed);
        assert_int_equal(burn(needed + 1, 300000, fiber, &used), DW_OK);
        assert_int_equal(burn(needed - 100, 300000, fiber, &used), DW_E_LIMIT);
        assert_int_equal(burn(1000, 300000, fiber, &used), DW_E_LIMIT);
    }
}

static void test_fuel_is_refused_where_it_is_not_counted(void **state)
{
    (void)state;
    const dw_limits limits = {.struct_bytes = sizeof limits, .fuel = 1000};
    const dw_instance_options options = {.struct_bytes = sizeof options, .limits = &limits};
    dw_module *module = compile(plain, turns);
    dw_instance *instance = NULL;
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_error err;
    assert_int_equal(dw_instance_create(&instance, module, &options, &err), DW_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "fuel: a limit of 1000 instructions"));
    dw_module_unref(module);
    instance = start(plain, NULL, 1000);
    assert_int_equal(dw_instance_run(instance, NULL, &err), DW_OK);
    assert_int_equal(dw_instance_get_stats(instance, &stats), DW_OK);
    assert_int_equal(stats.fuel, 0);
    dw_instance_destroy(instance);
}

/* ---- processor time ------------------------------------------------------------------------- */

static dw_status run_for(const char *act, const char *n, uint64_t cpu_timeout_ms, dw_error *err)
{
    const char *const args[] = {"hostile", act, n};
    const dw_instance_options options = {.struct_bytes = sizeof options,
                                         .args = args,
                                         .arg_count = 3,
                                         .cpu_timeout_ms = cpu_timeout_ms};
    dw_module *module = NULL;
    dw_instance *instance = NULL;
    wasm_signals_restore();
    if (dw_module_open(&module, plain, DW_TEST_GUESTS_DIR "/hostile.wasm", err) != DW_OK ||
        dw_instance_create(&instance, module, &options, err) != DW_OK) {
        fail_msg("%s", err->message);
    }
    dw_status status = dw_instance_run(instance, NULL, err);
    dw_instance_destroy(instance);
    dw_module_unref(module);
    return status;
}

/* A guest that sleeps takes none; one that computes, or asks the host to, does. */
static void test_processor_time_ends_who_computes(void **state)
{
    (void)state;
    dw_error err;
    assert_int_equal(run_for("spin", LONG, 200, &err), DW_E_LIMIT);
    assert_string_equal(err.message, "the guest took more than its 200 ms of processor time");
    assert_int_equal(run_for("yield", LONG, 200, &err), DW_E_LIMIT);
    assert_int_equal(run_for("sleep", "1000", 200, &err), DW_OK);
    assert_int_equal(run_for("random", "1000000000", 100, &err), DW_E_LIMIT);
    assert_string_equal(err.message, "the guest took more than its 100 ms of processor time");
}

/* ---- messages ------------------------------------------------------------------------------- */

static dw_actor *spawn(const dw_limits *limits)
{
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = limits};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_module *module = compile(plain, actor_that_spins);
    dw_actor *actor = NULL;
    dw_error err;
    if (dw_actor_spawn(&actor, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    dw_module_unref(module);
    return actor;
}

static uint64_t time_of(const dw_limits *limits)
{
    dw_actor *actor = spawn(limits);
    uint64_t ms = dw_instance_limits(dw_actor_instance(actor))->timeout_ms;
    dw_actor_destroy(actor);
    return ms;
}

static void test_message_has_a_time_by_default(void **state)
{
    (void)state;
    assert_int_equal(time_of(NULL), 600000);
    assert_int_equal(
        time_of(&(dw_limits){.struct_bytes = sizeof(dw_limits), .message_timeout_ms = 7000}), 7000);
    assert_int_equal(time_of(&(dw_limits){.struct_bytes = sizeof(dw_limits), .timeout_ms = 5000}),
                     5000);
    assert_true(time_of(&(dw_limits){.struct_bytes = sizeof(dw_limits),
                                     .message_timeout_ms = DW_LIMIT_NONE}) == DW_LIMIT_NONE);
}

static void test_message_that_never_ends(void **state)
{
    (void)state;
    const dw_limits limits[] = {
        {.struct_bytes = sizeof(dw_limits), .message_timeout_ms = 200},
        {.struct_bytes = sizeof(dw_limits), .cpu_timeout_ms = 200},
    };
    static const char *const messages[] = {"the guest ran longer than its 200 ms",
                                           "the guest took more than its 200 ms of processor time"};
    for (size_t i = 0; i < 2; i++) {
        dw_actor *actor = spawn(&limits[i]);
        dw_error err;
        assert_int_equal(dw_actor_send(actor, NULL, "x", 1, &err), DW_OK);
        assert_int_equal(dw_actor_receive(actor, NULL, NULL, &err), DW_E_LIMIT);
        assert_string_equal(err.message, messages[i]);
        dw_actor_destroy(actor);
    }
}

/* Writing what its C library has buffered is the guest's own code, too: it ends with the message's
 * time, and under a scheduler others run meanwhile. */
static const char actor_that_flushes[] =
    "(module (memory (export \"memory\") 1)"
    " (func (export \"driftwood_receive\") (result i32) (i32.const 0))"
    " (func (export \"fflush\") (param i32) (result i32) (loop $again (br $again)) (i32.const 0)))";

typedef struct told {
    dw_status status;
    uint32_t place; /* among those that have ended, from 1 */
} told;
static uint32_t told_count;

static void on_told(void *user, const dw_call_end *end)
{
    *(told *)user = (told){.status = end->status, .place = ++told_count};
}

static void test_message_that_flushes_for_ever(void **state)
{
    (void)state;
    /* What constructors have printed is flushed when it is made, in the time of a call. */
    static const char quiet[] =
        "(module (memory (export \"memory\") 1) (global $ready (mut i32) (i32.const 0))"
        " (func (export \"driftwood_receive\") (result i32) (global.set $ready (i32.const 1))"
        "  (i32.const 0))"
        " (func (export \"fflush\") (param i32) (result i32)"
        "  (if (global.get $ready) (then (loop $again (br $again)))) (i32.const 0)))";
    const dw_limits limits = {.struct_bytes = sizeof limits, .message_timeout_ms = 500};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &limits};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_module *module = compile(plain, actor_that_flushes);
    dw_actor *actor = NULL;
    dw_scheduler *scheduler = NULL;
    dw_error err;
    told flushed = {.place = 0};
    told other = {.place = 0};
    assert_int_equal(dw_actor_spawn(&actor, module, &options, &err), DW_E_LIMIT);
    dw_module_unref(module);
    module = compile(plain, quiet);
    if (dw_actor_spawn(&actor, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    dw_module_unref(module);
    dw_instance *guest = start(plain, NULL, 5000);
    assert_int_equal(dw_actor_send(actor, NULL, "x", 1, &err), DW_OK);
    assert_int_equal(dw_scheduler_create(&scheduler, plain, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_receive(scheduler, actor, NULL, on_told, &flushed, &err), DW_OK);
    assert_int_equal(dw_scheduler_start(scheduler, guest, on_told, &other, &err), DW_OK);
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    dw_scheduler_destroy(scheduler);
    assert_int_equal(other.status, DW_OK);
    assert_int_equal(other.place, 1);
    assert_int_equal(flushed.status, DW_E_LIMIT);
    assert_int_equal(flushed.place, 2);
    dw_instance_destroy(guest);
    dw_actor_destroy(actor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuel_ends_at_the_same_instruction),
        cmocka_unit_test(test_fuel_is_refused_where_it_is_not_counted),
        cmocka_unit_test(test_processor_time_ends_who_computes),
        cmocka_unit_test(test_message_has_a_time_by_default),
        cmocka_unit_test(test_message_that_never_ends),
        cmocka_unit_test(test_message_that_flushes_for_ever),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_engines, close_engines);
}
