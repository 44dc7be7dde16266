/* Own imports: functions that a host program gives its guests. Through the public API alone. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "driftwood.h"

static dw_engine *engine;

/* What the callbacks below saw last. */
static struct {
    dw_import_call *call;
    dw_instance *instance;
    dw_actor *actor;
    void *user;
    dw_status status;
    unsigned calls;
} seen;

static dw_status add_values(void *user, dw_import_call *call, const dw_value *args,
                            dw_value *results, dw_error *err)
{
    (void)err;
    seen.call = call;
    seen.instance = dw_import_call_instance(call);
    seen.actor = dw_import_call_actor(call);
    seen.user = dw_import_call_user(call);
    seen.calls++;
    results[0].f64 =
        args[0].i32 + (double)args[1].i64 + (double)args[2].f32 + args[3].f64 + *(int *)user;
    return DW_OK;
}

static dw_status swap(void *user, dw_import_call *call, const dw_value *args, dw_value *results,
                      dw_error *err)
{
    (void)user;
    (void)call;
    (void)err;
    results[0].i64 = args[1].i64;
    results[1].i32 = args[0].i32;
    return DW_OK;
}

/* (code) fails with the code. */
static dw_status fail_with(void *user, dw_import_call *call, const dw_value *args,
                           dw_value *results, dw_error *err)
{
    (void)call;
    (void)results;
    if (user != NULL) {
        (void)snprintf(err->message, sizeof err->message, "%s", (const char *)user);
    }
    return (dw_status)args[0].i32;
}

/* (pointer, count, item_bytes) adds 1 to each byte. */
static dw_status touch(void *user, dw_import_call *call, const dw_value *args, dw_value *results,
                       dw_error *err)
{
    void *items;
    uint64_t count = (uint32_t)args[1].i32;
    size_t item_bytes = (uint32_t)args[2].i32;
    (void)user;
    dw_status status =
        dw_import_call_range(call, (uint32_t)args[0].i32, count, item_bytes, &items, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; items != NULL && i < count * item_bytes; i++) {
        ((unsigned char *)items)[i]++;
    }
    results[0].i32 = items != NULL ? (int32_t)count : 0;
    return DW_OK;
}

/* Calls the guest that it was called by, and another one. */
static dw_status call_back(void *user, dw_import_call *call, const dw_value *args,
                           dw_value *results, dw_error *err)
{
    dw_instance *const *other = user;
    (void)args;
    seen.status = dw_instance_call(dw_import_call_instance(call), "plain", NULL, err);
    return dw_instance_call(*other, "plain", &results[0].i32, err);
}

static int five = 5;
static dw_instance *other_instance;
static const dw_import own[] = {
    {.struct_bytes = sizeof(dw_import),
     .module = "host",
     .name = "add_values",
     .signature = "iIfF:F",
     .call = add_values,
     .user = &five},
    {.struct_bytes = sizeof(dw_import),
     .module = "host",
     .name = "swap",
     .signature = "iI:Ii",
     .call = swap},
    {.struct_bytes = sizeof(dw_import),
     .module = "host",
     .name = "trap",
     .signature = "i:i",
     .call = fail_with,
     .user = "the sea is\nrough"},
    {.struct_bytes = sizeof(dw_import),
     .module = "host",
     .name = "answer",
     .signature = "i:i",
     .call = fail_with,
     .user = "no such island",
     .answers_status = true},
    {.struct_bytes = sizeof(dw_import),
     .module = "host",
     .name = "answer_plainly",
     .signature = "i:i",
     .call = fail_with,
     .answers_status = true},
    {.struct_bytes = sizeof(dw_import),
     .module = "host",
     .name = "touch",
     .signature = "iii:i",
     .call = touch,
     .answers_status = true},
    {.struct_bytes = sizeof(dw_import),
     .module = "other",
     .name = "touch",
     .signature = ":i",
     .call = call_back,
     .user = &other_instance},
};
#define OWN_COUNT (sizeof own / sizeof own[0])

static dw_status create_engine(dw_engine **out, const dw_import *const *list, size_t count,
                               dw_error *err)
{
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = "CPU",
                                 .threads = 1,
                                 .imports = list,
                                 .import_count = count};
    return dw_engine_create(out, &options, err);
}

static int set_up(void **state)
{
    const dw_import *list[OWN_COUNT];
    dw_error err = {.message = ""};
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        list[i] = &own[i];
    }
    dw_status status = create_engine(&engine, list, OWN_COUNT, &err);
    assert_string_equal(err.message, "");
    return status;
}

static int tear_down(void **state)
{
    (void)state;
    dw_engine_destroy(engine);
    return 0;
}

/* ---- guests ------------------------------------------------------------------------------- */

#define MEMORY "(memory (export \"memory\") 1 2)"
#define PLAIN "(func (export \"plain\") (result i32) (i32.const 7))"

static dw_status compile(dw_engine *on, const char *text, dw_module **module, dw_error *err)
{
    wasm_byte_vec_t wasm;
    assert_null(wasmtime_wat2wasm(text, strlen(text), &wasm));
    dw_status status = dw_module_create(module, on, wasm.data, wasm.size, err);
    wasm_byte_vec_delete(&wasm);
    return status;
}

static dw_instance *start(const char *text, void *user)
{
    dw_module *module;
    dw_instance *instance = NULL;
    dw_error err = {.message = ""};
    dw_instance_options options = {.struct_bytes = sizeof options, .user = user};
    assert_int_equal(compile(engine, text, &module, &err), DW_OK);
    dw_status status = dw_instance_create(&instance, module, &options, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    dw_module_unref(module);
    return instance;
}

static int32_t result_of(dw_instance *instance, const char *function)
{
    int32_t result = -1000;
    dw_error err = {.message = ""};
    dw_status status = dw_instance_call(instance, function, &result, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return result;
}

static void assert_traps(dw_instance *instance, const char *function, const char *message)
{
    int32_t result;
    dw_error err = {.message = ""};
    assert_int_equal(dw_instance_call(instance, function, &result, &err), DW_E_TRAP);
    assert_string_equal(err.message, message);
}

/* ---- the tests ---------------------------------------------------------------------------- */

static void test_own_imports_pass_values(void **state)
{
    (void)state;
    wasm_signals_restore();
    int mine;
    dw_error err;
    dw_instance *instance = start(
        "(module (import \"host\" \"add_values\" (func $add (param i32 i64 f32 f64) (result f64)))"
        " (import \"host\" \"swap\" (func $swap (param i32 i64) (result i64 i32))) " MEMORY
        " (func (export \"add\") (result i32) (i32.trunc_f64_s (call $add (i32.const -1)"
        "  (i64.const 4000000000) (f32.const 0.5) (f64.const -3999999900.5))))"
        " (func (export \"swap\") (result i32) (local $b i32)"
        "  (call $swap (i32.const 40) (i64.const 300)) (local.set $b)"
        "  (i32.wrap_i64) (i32.sub (local.get $b))))",
        &mine);
    assert_int_equal(result_of(instance, "add"), 104);
    assert_ptr_equal(seen.instance, instance);
    assert_null(seen.actor);
    assert_ptr_equal(seen.user, &mine);
    assert_int_equal(result_of(instance, "swap"), 260);
    /* The call is over: what was kept of it says so. */
    void *items;
    assert_int_equal(dw_import_call_range(seen.call, 0, 1, 1, &items, &err), DW_E_STATE);
    assert_null(items);
    assert_null(dw_import_call_instance(seen.call));
    assert_null(dw_import_call_user(seen.call));
    assert_true(dw_import_call_is_cancelled(seen.call));
    dw_instance_destroy(instance);
}

static void test_own_imports_fail(void **state)
{
    (void)state;
    wasm_signals_restore();
    char text[64] = {0};
    dw_instance *instance = start(
        "(module (import \"host\" \"trap\" (func $trap (param i32) (result i32)))"
        " (import \"host\" \"answer\" (func $answer (param i32) (result i32)))"
        " (import \"host\" \"answer_plainly\" (func $plainly (param i32) (result i32)))"
        " (import \"driftwood\" \"last_error\" (func $last (param i32 i32) (result i32))) " MEMORY
        " (func (export \"trap\") (result i32) (call $trap (i32.const -21)))"
        " (func (export \"trap_unknown\") (result i32) (call $trap (i32.const -500)))"
        " (func (export \"no_trap\") (result i32) (call $trap (i32.const 0)))"
        " (func (export \"answer\") (result i32) (call $answer (i32.const -14)))"
        " (func (export \"plainly\") (result i32) (call $plainly (i32.const -10)))"
        " (func (export \"answer_unknown\") (result i32) (call $answer (i32.const 3)))"
        " (func (export \"last\") (result i32) (call $last (i32.const 0) (i32.const 64))))",
        NULL);
    assert_traps(instance, "trap", "the guest trapped: import host.trap: the sea is rough");
    assert_traps(instance, "trap_unknown",
                 "the guest trapped: import host.trap: it returned -500, which is no status");
    assert_int_equal(result_of(instance, "no_trap"), 0); /* and the instance goes on */
    assert_int_equal(result_of(instance, "answer"), DW_E_NOT_FOUND);
    assert_int_equal(result_of(instance, "last"), strlen("no such island"));
    memcpy(text, dw_instance_memory(instance), sizeof text - 1);
    assert_string_equal(text, "no such island");
    assert_int_equal(result_of(instance, "plainly"), DW_E_BUSY);
    assert_int_equal(result_of(instance, "last"), strlen("busy"));
    assert_traps(instance, "answer_unknown",
                 "the guest trapped: import host.answer: it returned 3, which is no status");
    dw_instance_destroy(instance);
}

#define TOUCH(name, pointer, count, bytes)                                                         \
    " (func (export \"" name "\") (result i32)"                                                    \
    " (call $touch (i32.const " pointer ") (i32.const " count ") (i32.const " bytes ")))"

static void test_own_imports_check_memory(void **state)
{
    (void)state;
    wasm_signals_restore();
    dw_instance *instance = start(
        "(module (import \"host\" \"touch\" (func $touch (param i32 i32 i32) (result i32)))" MEMORY
        /* The start function's calls find the memory as well. */
        " (func $start (drop (call $touch (i32.const 100) (i32.const 2) (i32.const 1))))"
        " (start $start)" TOUCH("all", "0", "65536", "1") TOUCH("end", "65528", "1", "8")
            TOUCH("none", "-1", "0", "4") TOUCH("beyond", "65535", "2", "1")
                TOUCH("wraps", "-1", "1", "1") TOUCH("huge", "0", "-1", "-1")
                    TOUCH("odd", "2", "1", "4") TOUCH("bytes", "3", "5", "3") TOUCH(
                        "nothing", "0", "1",
                        "0") " (func (export \"grow\") (result i32) (memory.grow (i32.const 1))))",
        NULL);
    unsigned char *memory = dw_instance_memory(instance);
    assert_int_equal(memory[100], 1);
    assert_int_equal(memory[101], 1);
    assert_int_equal(result_of(instance, "all"), 65536);
    assert_int_equal(memory[100], 2);
    assert_int_equal(memory[65535], 1);
    assert_int_equal(result_of(instance, "end"), 1);
    assert_int_equal(memory[65535], 2);
    assert_int_equal(result_of(instance, "bytes"), 5);
    assert_int_equal(result_of(instance, "none"), 0);
    assert_int_equal(result_of(instance, "beyond"), DW_E_RANGE);
    assert_int_equal(result_of(instance, "wraps"), DW_E_RANGE);
    assert_int_equal(result_of(instance, "huge"), DW_E_RANGE);
    assert_int_equal(result_of(instance, "odd"), DW_E_ALIGN);
    assert_int_equal(result_of(instance, "nothing"), DW_E_ARG);
    assert_int_equal(result_of(instance, "grow"), 1);
    assert_int_equal(result_of(instance, "beyond"), 2);
    dw_instance_destroy(instance);
}

static void test_own_imports_use_other_guests(void **state)
{
    (void)state;
    wasm_signals_restore();
    other_instance = start("(module " MEMORY PLAIN ")", NULL);
    dw_instance *instance =
        start("(module (import \"other\" \"touch\" (func $back (result i32))) " MEMORY PLAIN
              " (func (export \"back\") (result i32) (call $back)))",
              NULL);
    assert_int_equal(result_of(instance, "back"), 7);
    assert_int_equal(seen.status, DW_E_STATE); /* the calling guest is busy */
    assert_int_equal(result_of(instance, "plain"), 7);
    dw_instance_destroy(instance);
    dw_instance_destroy(other_instance);
}

static void assert_refused(const char *text, const char *part)
{
    dw_module *module;
    dw_error err = {.message = ""};
    assert_int_equal(compile(engine, text, &module, &err), DW_E_UNSUPPORTED);
    assert_null(module);
    if (strstr(err.message, part) == NULL) {
        fail_msg("'%s' says nothing of '%s'", err.message, part);
    }
}

static void test_own_imports_are_all_there_is(void **state)
{
    (void)state;
    assert_refused("(module (import \"host\" \"missing\" (func)) " MEMORY PLAIN ")", "missing");
    assert_refused("(module (import \"elsewhere\" \"swap\" (func)) " MEMORY PLAIN ")", "elsewhere");
    assert_refused(
        "(module (import \"host\" \"trap\" (func (param i64) (result i32))) " MEMORY PLAIN ")",
        "trap");
    assert_refused("(module (import \"host\" \"trap\" (global i32)) " MEMORY PLAIN ")", "trap");
}

static void test_own_imports_refused(void **state)
{
    static const dw_import good = {
        .struct_bytes = sizeof good, .module = "m", .name = "n", .signature = "i:i", .call = swap};
    static char long_name[300];
    (void)state;
    memset(long_name, 'x', sizeof long_name - 1);
    dw_import bad[16];
    const char *why[16];
    size_t count = 0;
#define BAD(member, value, what)                                                                   \
    do {                                                                                           \
        bad[count] = good;                                                                         \
        bad[count].member = (value);                                                               \
        why[count++] = (what);                                                                     \
    } while (0)
    BAD(struct_bytes, 0, "struct_bytes");
    BAD(module, NULL, "NULL");
    BAD(call, NULL, "NULL");
    BAD(module, "", "1 to 256");
    BAD(name, long_name, "1 to 256");
    BAD(module, "driftwood", "reserved");
    BAD(module, "wasi_snapshot_preview1", "reserved");
    BAD(name, "\xff\xfe", "not linked");
    BAD(signature, "", "letters");
    BAD(signature, "ii", "letters");
    BAD(signature, "ix:i", "letters");
    BAD(signature, "i:i:", "letters");
    BAD(signature, "iiiiiiiiiiiiiiiii:", "16");
    BAD(signature, ":FFFFFFFFFFFFFFFFF", "16");
    for (size_t i = 0; i < count; i++) {
        const dw_import *list[] = {&own[0], &bad[i]};
        dw_engine *made;
        dw_error err = {.message = ""};
        assert_int_not_equal(create_engine(&made, list, 2, &err), DW_OK);
        assert_null(made);
        if (strstr(err.message, "imports[1]") == NULL || strstr(err.message, why[i]) == NULL) {
            fail_msg("%zu: '%s' says nothing of '%s'", i, err.message, why[i]);
        }
    }
    dw_import answers = good;
    answers.answers_status = true;
    answers.signature = "i:I";
    const dw_import *lists[][2] = {{&answers, NULL}, {NULL, NULL}, {&own[0], &own[0]}};
    for (size_t i = 0; i < 3; i++) {
        dw_engine *made;
        dw_error err = {.message = ""};
        assert_int_equal(create_engine(&made, lists[i], 2, &err), DW_E_ARG);
        assert_int_not_equal(strlen(err.message), 0);
    }
    dw_engine *made;
    assert_int_equal(create_engine(&made, NULL, 1, NULL), DW_E_ARG);
}

/* ---- actors ------------------------------------------------------------------------------- */

#define ACTOR                                                                                      \
    "(module (import \"host\" \"add_values\" (func $add (param i32 i64 f32 f64) (result f64)))"    \
    " (import \"driftwood\" \"reply\" (func $reply (param i32 i32) (result i32))) " MEMORY         \
    " (table 1 funcref) (elem (i32.const 0) $add)"                                                 \
    " (func $next (f64.store (i32.const 8) (call $add (i32.const 1) (i64.const 0)"                 \
    "  (f32.const 0) (f64.load (i32.const 8)))))"                                                  \
    " (func (export \"_initialize\") (call $next))"                                                \
    " (func (export \"driftwood_receive\") (result i32) (call $next)"                              \
    "  (call $reply (i32.const 8) (i32.const 8))))"

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    assert_int_equal(count, sizeof(double));
    memcpy(user, bytes, sizeof(double));
    return (ptrdiff_t)count;
}

static double told(dw_actor *actor)
{
    double answer = 0;
    dw_error err = {.message = ""};
    assert_int_equal(dw_actor_send(actor, NULL, "x", 1, &err), DW_OK);
    dw_status status = dw_actor_receive(actor, on_answer, &answer, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return answer;
}

static dw_actor *spawn(void *user)
{
    dw_module *module;
    dw_actor *actor = NULL;
    dw_error err = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance, .user = user};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    assert_int_equal(compile(engine, ACTOR, &module, &err), DW_OK);
    seen.calls = 0;
    dw_status status = dw_actor_spawn(&actor, module, &options, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    dw_module_unref(module);
    return actor;
}

static void test_own_imports_of_actors(void **state)
{
    char path[] = "/tmp/dw-own-imports-XXXXXX";
    const char *list[] = {path};
    int users[2];
    dw_error err = {.message = ""};
    (void)state;
    wasm_signals_restore();
    dw_actor *actor = spawn(&users[0]);
    assert_int_equal(seen.calls, 1); /* the constructor, of no actor yet */
    assert_ptr_equal(seen.user, &users[0]);
    assert_null(seen.actor);
    assert_true(told(actor) == 12.0);
    assert_ptr_equal(seen.actor, actor);
    assert_ptr_equal(seen.instance, dw_actor_instance(actor));
    assert_ptr_equal(seen.user, &users[0]);
    dw_actor *child;
    assert_int_equal(dw_actor_fork(&child, actor, NULL, &err), DW_OK);
    assert_true(told(child) == 18.0);
    assert_ptr_equal(seen.actor, child);
    dw_actor_destroy(child);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(dw_actor_freeze(actor, path, NULL, NULL, &err), DW_OK);
    dw_actor_destroy(actor);
    dw_thaw_options options = {
        .struct_bytes = sizeof options, .paths = list, .path_count = 1, .user = &users[1]};
    assert_int_equal(dw_actor_thaw(&actor, engine, &options, NULL, &err), DW_OK);
    assert_true(told(actor) == 18.0);
    assert_ptr_equal(seen.user, &users[1]);
    dw_actor_destroy(actor);
    /* Where nobody provides the import, the actor does not come back. */
    dw_engine *without;
    assert_int_equal(create_engine(&without, NULL, 0, &err), DW_OK);
    assert_int_equal(dw_actor_thaw(&actor, without, &options, NULL, &err), DW_E_UNSUPPORTED);
    assert_null(actor);
    assert_non_null(strstr(err.message, "add_values"));
    /* Nor by a module of another engine. */
    assert_int_equal(compile(engine, ACTOR, &options.module, &err), DW_OK);
    assert_int_equal(dw_actor_thaw(&actor, without, &options, NULL, &err), DW_E_ARG);
    dw_module_unref(options.module);
    dw_engine_destroy(without);
    (void)unlink(path);
}

/* ---- under a scheduler -------------------------------------------------------------------- */

static dw_status ends[3];
static char last_message[248];

static void on_end(void *user, const dw_call_end *end)
{
    *(dw_status *)user = end->status;
    if (end->status != DW_OK) {
        (void)snprintf(last_message, sizeof last_message, "%s", end->error->message);
    }
}

static void test_own_imports_under_a_scheduler(void **state)
{
    static const char loops[] =
        "(module (import \"host\" \"touch\" (func $touch (param i32 i32 i32) (result i32)))" MEMORY
        " (func (export \"_start\") (local $i i32) (loop $next"
        "  (drop (call $touch (i32.const 0) (i32.const 1) (i32.const 1)))"
        "  (local.set $i (i32.add (local.get $i) (i32.const 1)))"
        "  (br_if $next (i32.lt_u (local.get $i) (i32.const 200))))))";
    static const char traps[] =
        "(module (import \"host\" \"trap\" (func $trap (param i32) (result i32)))" MEMORY
        " (func (export \"_start\") (drop (call $trap (i32.const -10)))))";
    dw_scheduler *scheduler;
    dw_error err;
    dw_instance *guests[3];
    (void)state;
    wasm_signals_restore();
    assert_int_equal(dw_scheduler_create(&scheduler, engine, NULL, &err), DW_OK);
    for (size_t i = 0; i < 3; i++) {
        guests[i] = start(i == 1 ? traps : loops, NULL);
        ends[i] = DW_E_STATE;
        assert_int_equal(dw_scheduler_start(scheduler, guests[i], on_end, &ends[i], &err), DW_OK);
    }
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    assert_int_equal(ends[0], DW_OK);
    assert_int_equal(ends[1], DW_E_TRAP);
    assert_int_equal(ends[2], DW_OK);
    assert_string_equal(last_message, "the guest trapped: import host.trap: the sea is rough");
    assert_int_equal(*(unsigned char *)dw_instance_memory(guests[0]), 200);
    assert_int_equal(*(unsigned char *)dw_instance_memory(guests[2]), 200);
    dw_scheduler_destroy(scheduler);
    for (size_t i = 0; i < 3; i++) {
        dw_instance_destroy(guests[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_imports_pass_values),
        cmocka_unit_test(test_own_imports_fail),
        cmocka_unit_test(test_own_imports_check_memory),
        cmocka_unit_test(test_own_imports_use_other_guests),
        cmocka_unit_test(test_own_imports_are_all_there_is),
        cmocka_unit_test(test_own_imports_refused),
        cmocka_unit_test(test_own_imports_of_actors),
        cmocka_unit_test(test_own_imports_under_a_scheduler),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
