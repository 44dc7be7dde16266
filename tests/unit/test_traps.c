/* What a guest's trap says: why, and in which functions. */
#include <stdio.h>
#include <string.h>
#include <wasmtime.h>

#include "driftwood.h"
#include "support.h"

static dw_engine *engine;

static int set_up(void **state)
{
    dw_error err;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    (void)state;
    dw_status status = dw_engine_create(&engine, &options, &err);
    return status == DW_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    dw_engine_destroy(engine);
    return 0;
}

/* Call `run` of a guest that traps; the backtrace goes to `lines` [4096]. */
static void trap(const char *text, dw_error *err, char *lines)
{
    wasm_byte_vec_t wasm;
    dw_module *module;
    dw_instance *instance;
    int32_t result;
    assert_null(wasmtime_wat2wasm(text, strlen(text), &wasm));
    if (dw_module_create(&module, engine, wasm.data, wasm.size, err) != DW_OK ||
        dw_instance_create(&instance, module, NULL, err) != DW_OK) {
        fail_msg("%s", err->message);
    }
    assert_string_equal(dw_instance_backtrace(instance), "");
    assert_int_equal(dw_instance_call(instance, "run", &result, err), DW_E_TRAP);
    (void)snprintf(lines, 4096, "%s", dw_instance_backtrace(instance));
    dw_instance_destroy(instance);
    dw_module_unref(module);
    wasm_byte_vec_delete(&wasm);
}

#define GUEST(functions) "(module (memory (export \"memory\") 2) " functions ")"
#define NAMED                                                                                      \
    "(func $leaf (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))"                \
    "(func $branch (param i32) (result i32) (i32.add (i32.const 1) (call $leaf (local.get 0))))"   \
    "(func $again (param i32) (result i32) (if (result i32) (local.get 0)"                         \
    " (then (i32.add (i32.const 1) (call $again (i32.sub (local.get 0) (i32.const 1)))))"          \
    " (else (call $branch (i32.const 0)))))"

static void test_traps_name_the_functions(void **state)
{
    (void)state;
    wasm_signals_restore();
    dw_error err;
    char lines[4096];
    trap(GUEST(NAMED "(func $root (export \"run\") (result i32) (call $branch (i32.const 0)))"),
         &err, lines);
    assert_string_equal(err.message,
                        "the guest trapped: it divided by zero, in leaf < branch < root");
    const char *leaf = strstr(lines, "leaf\n");
    assert_non_null(leaf);
    assert_non_null(strstr(leaf, "branch\n"));
    assert_non_null(strstr(lines, "root\n"));
    trap(GUEST(NAMED "(func (export \"run\") (result i32) (call $again (i32.const 9)))"), &err,
         lines);
    assert_string_equal(err.message, "the guest trapped: it divided by zero, in leaf < branch < "
                                     "again (10 calls deep) < <wasm function 3>");
}

/* What there is no room for is cut between two names. */
static void test_traps_name_as_many_as_fit(void **state)
{
    (void)state;
    wasm_signals_restore();
    dw_error err;
    char lines[4096];
    char text[8192];
    size_t used = (size_t)snprintf(text, sizeof text,
                                   "(module (memory (export \"memory\") 1)"
                                   "(func $f0_with_a_name_of_some_length unreachable)");
    for (int i = 1; i < 30; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "(func $f%d_with_a_name_of_some_length"
                                 " (call $f%d_with_a_name_of_some_length) (drop (i32.const 0)))",
                                 i, i - 1);
    }
    (void)snprintf(text + used, sizeof text - used,
                   "(func (export \"run\") (call $f29_with_a_name_of_some_length)))");
    trap(text, &err, lines);
    assert_non_null(strstr(err.message, "an abort or a failed assertion), in f0_with_a_name"));
    assert_non_null(strstr(err.message, "_of_some_length < ..."));
    assert_true(strlen(err.message) < sizeof err.message - 1);
    assert_non_null(strstr(lines, "f18_with_a_name_of_some_length\n"));
}

/* What does a memory.fill in parts is not told of. */
static void test_traps_of_bulk_memory_name_who_asked(void **state)
{
    (void)state;
    wasm_signals_restore();
    dw_error err;
    char lines[4096];
    trap(GUEST("(func $fills (param i32) (memory.fill (i32.const 9) (i32.const 1) (local.get 0)))"
               "(func $main (export \"run\") (result i32) (call $fills (i32.const 5000000))"
               " (i32.const 0))"),
         &err, lines);
    assert_string_equal(err.message,
                        "the guest trapped: it reached outside its memory, in fills < main");
    assert_null(strstr(lines, "wasm function"));
}

/* A stack in front of the data, as --stack-first puts it, runs out below address 0. */
#define STACKED(step)                                                                              \
    "(module (memory (export \"memory\") 2) (global $__stack_pointer (mut i32) (i32.const 65536))" \
    "(func $deep (param i32) (result i32)"                                                         \
    " (global.set 0 (i32.sub (global.get 0) (i32.const " step ")))"                                \
    " (i32.store (global.get 0) (local.get 0))"                                                    \
    " (i32.add (call $deep (local.get 0)) (i32.const 1)))"                                         \
    "(func $far (param i32) (result i32) (i32.load (local.get 0)))"

static void test_traps_tell_an_exhausted_c_stack(void **state)
{
    (void)state;
    wasm_signals_restore();
    dw_error err;
    char lines[4096];
    static const char *const exports[] = {"(func (export \"driftwood_receive\"))", ""};
    for (size_t i = 0; i < 2; i++) { /* an actor's module, and another */
        char text[2048];
        (void)snprintf(text, sizeof text, "%s%s%s", STACKED("4096"), exports[i],
                       "(func $main (export \"run\") (result i32) (call $deep (i32.const 7))))");
        trap(text, &err, lines);
        assert_string_equal(err.message, "the guest trapped: its C stack is exhausted, in deep "
                                         "(17 calls deep) < main");
        /* A wild pointer is none. */
        (void)snprintf(text, sizeof text, "%s%s%s", STACKED("4096"), exports[i],
                       "(func $main (export \"run\") (result i32) (call $far (i32.const -4))))");
        trap(text, &err, lines);
        assert_string_equal(err.message,
                            "the guest trapped: it reached outside its memory, in far < main");
    }
    /* By a copy, of which it is not told where. */
    trap("(module (memory (export \"memory\") 2) (global $__stack_pointer (mut i32) (i32.const "
         "65536))"
         "(func $deep (result i32) (global.set 0 (i32.sub (global.get 0) (i32.const 4096)))"
         " (memory.copy (global.get 0) (i32.const 70000) (i32.const 256))"
         " (i32.add (call $deep) (i32.const 1)))"
         "(func $main (export \"run\") (result i32) (call $deep)))",
         &err, lines);
    assert_string_equal(err.message, "the guest trapped: its C stack is exhausted, in deep "
                                     "(17 calls deep) < main");
    trap(GUEST("(func $far (export \"run\") (result i32) (i32.load (i32.const 1000000)))"), &err,
         lines);
    assert_string_equal(err.message, "the guest trapped: it reached outside its memory, in far");
}

/* The next call forgets it. */
static void test_traps_are_of_the_last_call(void **state)
{
    (void)state;
    wasm_signals_restore();
    static const char text[] = GUEST("(func $bad (export \"bad\") unreachable)"
                                     "(func (export \"good\") (result i32) (i32.const 3))");
    wasm_byte_vec_t wasm;
    dw_module *module;
    dw_instance *instance;
    dw_error err;
    int32_t result;
    assert_null(wasmtime_wat2wasm(text, strlen(text), &wasm));
    assert_int_equal(dw_module_create(&module, engine, wasm.data, wasm.size, &err), DW_OK);
    assert_int_equal(dw_instance_create(&instance, module, NULL, &err), DW_OK);
    assert_int_equal(dw_instance_call(instance, "bad", &result, &err), DW_E_TRAP);
    assert_non_null(strstr(dw_instance_backtrace(instance), "bad"));
    assert_int_equal(dw_instance_call(instance, "good", &result, &err), DW_OK);
    assert_string_equal(dw_instance_backtrace(instance), "");
    dw_instance_destroy(instance);
    dw_module_unref(module);
    wasm_byte_vec_delete(&wasm);
}

int main(void)
{
    wasm_signals_save();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traps_name_the_functions),
        cmocka_unit_test(test_traps_name_as_many_as_fit),
        cmocka_unit_test(test_traps_of_bulk_memory_name_who_asked),
        cmocka_unit_test(test_traps_tell_an_exhausted_c_stack),
        cmocka_unit_test(test_traps_are_of_the_last_call),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
