/* Modules and instances: what is refused, how guests end, what host functions check. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "support.h"
#include "wasm/guest_instance.h"

/* ---- a host with one function: check a range ---------------------------------------------- */

/* range(pointer, count, align) -> status; what dw_instance_range says to items of 4 bytes. */
static wasm_trap_t *host_range(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                               size_t count)
{
    (void)env;
    (void)count;
    dw_instance *instance = dw_instance_of(caller);
    void *out = NULL;
    args[0].i32 =
        dw_instance_range(instance, "argument", (uint32_t)args[0].i32, (uint32_t)args[1].i32, 4,
                          (size_t)args[2].i32, &out, dw_instance_error(instance));
    return NULL;
}

static const dw_host_import test_imports[] = {{"range", "iii:i", host_range}, {NULL, NULL, NULL}};
static const dw_host_import *const tables[] = {test_imports};

static dw_device *device;
static dw_wasm_host *host;

static int set_up(void **state)
{
    (void)state;
    dw_error error;
    assert_int_equal(dw_device_open(&device, "CPU", 1, &error), DW_OK);
    dw_host_parts parts = {.device = device, .import_tables = tables, .import_table_count = 1};
    assert_int_equal(dw_wasm_host_create(&host, &parts, &error), DW_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dw_wasm_host_destroy(host);
    dw_device_close(device);
    return 0;
}

static dw_status compile(const char *text, dw_module **module, dw_error *error)
{
    wasm_byte_vec_t wasm;
    wasmtime_error_t *failed = wasmtime_wat2wasm(text, strlen(text), &wasm);
    assert_null(failed);
    dw_status status = dw_module_compile(module, host, wasm.data, wasm.size, error);
    wasm_byte_vec_delete(&wasm);
    return status;
}

static dw_instance *start(const char *text, const dw_instance_options *options)
{
    dw_error error = {0};
    dw_module *module = NULL;
    dw_instance *instance = NULL;
    dw_status status = compile(text, &module, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    status = dw_instance_create(&instance, module, options, &error);
    dw_module_unref(module); /* the instance counts it */
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return instance;
}

/* ---- modules ---------------------------------------------------------------------------- */

static void test_module_refuses_what_is_none(void **state)
{
    (void)state;
    static const unsigned char component[] = {0, 'a', 's', 'm', 0x0d, 0, 1, 0};
    static const unsigned char truncated[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 0x7f};
    const struct {
        const void *bytes;
        size_t count;
        dw_status status;
        const char *says;
    } cases[] = {
        {"", 0, DW_E_FORMAT, "not a WebAssembly module"},
        {"\0as", 3, DW_E_FORMAT, "not a WebAssembly module"},
        {"#!/bin/sh\necho no\n", 18, DW_E_FORMAT, "not a WebAssembly module"},
        {"(module (memory 1))", 19, DW_E_FORMAT, "text form"},
        {component, sizeof component, DW_E_UNSUPPORTED, "component"},
        {truncated, sizeof truncated, DW_E_FORMAT, "compile"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dw_module *module = (dw_module *)&host;
        dw_error error;
        assert_int_equal(dw_module_compile(&module, host, cases[i].bytes, cases[i].count, &error),
                         cases[i].status);
        assert_null(module);
        assert_non_null(strstr(error.message, cases[i].says));
    }
}

static void test_module_refuses_what_cannot_run(void **state)
{
    (void)state;
    const struct {
        const char *text;
        dw_status status;
        const char *says;
    } cases[] = {
        {"(module)", DW_E_UNSUPPORTED, "exports nothing"},
        {"(module (func (export \"_start\")))", DW_E_UNSUPPORTED, "no memory"},
        {"(module (memory (export \"memory\") 1))", DW_E_UNSUPPORTED, "no function"},
        {"(module (memory (export \"memory\") i64 1) (func (export \"_start\")))", DW_E_UNSUPPORTED,
         "memory64"},
        {"(module (memory (export \"memory\") 1 2 shared) (func (export \"_start\")))",
         DW_E_UNSUPPORTED, "threads"},
        {"(module (import \"env\" \"magic\" (func)) (memory (export \"memory\") 1)"
         " (func (export \"_start\")))",
         DW_E_UNSUPPORTED, "magic"},
        {"(module (import \"driftwood\" \"range\" (func (param i64)))"
         " (memory (export \"memory\") 1) (func (export \"_start\")))",
         DW_E_UNSUPPORTED, "range"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dw_module *module = NULL;
        dw_error error = {0};
        dw_status status = compile(cases[i].text, &module, &error);
        if (status != cases[i].status || strstr(error.message, cases[i].says) == NULL) {
            print_error("case %zu: %d %s\n", i, status, error.message);
        }
        assert_int_equal(status, cases[i].status);
        assert_non_null(strstr(error.message, cases[i].says));
    }
}

/* ---- instances -------------------------------------------------------------------------- */

#define GUEST(body)                                                                                \
    "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"           \
    " (memory (export \"memory\") 1 100)"                                                          \
    " (func (export \"_start\") " body "))"

static void test_instance_ends_as_the_guest_says(void **state)
{
    (void)state;
    wasm_signals_restore();
    const struct {
        const char *text;
        dw_status status;
        int exit_code;
        const char *says;
    } cases[] = {
        {GUEST(""), DW_OK, 0, ""},
        {GUEST("(call $exit (i32.const 0))"), DW_OK, 0, ""},
        {GUEST("(call $exit (i32.const 7))"), DW_OK, 7, ""},
        {GUEST("(call $exit (i32.const 126))"), DW_OK, 126, ""},
        {GUEST("(call $exit (i32.const 255))"), DW_OK, 255, ""},
        {GUEST("(call $exit (i32.const 256))"), DW_OK, 256, ""},
        {GUEST("(call $exit (i32.const -1))"), DW_OK, -1, ""},
        {GUEST("(call $exit (i32.const -2147483648))"), DW_OK, INT32_MIN, ""},
        {GUEST("unreachable"), DW_E_TRAP, 0, "unreachable"},
        {GUEST("(i32.store (i32.const -8) (i32.const 1))"), DW_E_TRAP, 0, "outside its memory"},
        {GUEST("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), DW_E_TRAP, 0, "zero"},
        {"(module (memory (export \"memory\") 1) (func $f (export \"_start\") (call $f)))",
         DW_E_TRAP, 0, "stack"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dw_instance *instance = start(cases[i].text, NULL);
        int exit_code = -1;
        dw_error error = {0};
        assert_int_equal(dw_instance_run(instance, &exit_code, &error), cases[i].status);
        assert_int_equal(exit_code, cases[i].exit_code);
        assert_non_null(strstr(error.message, cases[i].says));
        assert_int_equal(dw_instance_run(instance, &exit_code, &error), DW_E_STATE);
        dw_instance_destroy(instance);
    }
}

/* How many variables there are, and the first letters of the two values, as its exit code. */
static const char env_guest[] =
    "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
    " (import \"wasi_snapshot_preview1\" \"environ_sizes_get\""
    "  (func $sizes (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"environ_get\""
    "  (func $get (param i32 i32) (result i32)))"
    " (memory (export \"memory\") 1)"
    " (func (export \"_start\")"
    "  (drop (call $sizes (i32.const 0) (i32.const 4)))"
    "  (drop (call $get (i32.const 16) (i32.const 256)))"
    "  (call $exit (i32.or (i32.shl (i32.load (i32.const 0)) (i32.const 16))"
    "   (i32.or (i32.shl (i32.load8_u (i32.const 258)) (i32.const 8))"
    "    (i32.load8_u (i32.const 262)))))))";

static void test_instance_has_the_last_of_two_variables(void **state)
{
    (void)state;
    static const char *const names[] = {"A", "B", "A", "B", "A"};
    static const char *const values[] = {"1", "2", "3", "4", "5"};
    dw_instance_options options = {
        .struct_bytes = sizeof options, .env_names = names, .env_values = values, .env_count = 5};
    int exit_code = 0;
    dw_instance *instance = start(env_guest, &options);
    assert_int_equal(dw_instance_run(instance, &exit_code, NULL), DW_OK);
    assert_int_equal(exit_code, 2 << 16 | '4' << 8 | '5');
    dw_instance_destroy(instance);
}

#define SPIN GUEST("(loop $again (br $again))")

static void test_instance_is_stopped_by_its_timeout(void **state)
{
    (void)state;
    dw_instance_options options = {.struct_bytes = sizeof options, .timeout_ms = 50};
    dw_instance *instance = start(SPIN, &options);
    dw_error error;
    assert_int_equal(dw_instance_run(instance, NULL, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "50 ms"));
    dw_instance_destroy(instance);
}

static void *interrupt_soon(void *user)
{
    struct timespec pause = {.tv_nsec = 30000000};
    (void)nanosleep(&pause, NULL);
    dw_instance_interrupt(user);
    return NULL;
}

static void test_instance_is_interrupted_from_another_thread(void **state)
{
    (void)state;
    dw_instance *instance = start(SPIN, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, instance), 0);
    dw_error error;
    assert_int_equal(dw_instance_run(instance, NULL, &error), DW_E_CANCELLED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    dw_instance_destroy(instance);
}

static void test_instance_memory_is_bounded(void **state)
{
    (void)state;
    static const char text[] =
        "(module (memory (export \"memory\") 2)"
        " (func (export \"grow\") (result i32) (memory.grow (i32.const 1))))";
    dw_module *module = NULL;
    dw_instance *instance = NULL;
    dw_error error;
    assert_int_equal(compile(text, &module, &error), DW_OK);
    dw_instance_options options = {.struct_bytes = sizeof options, .memory_bytes_max = 65536};
    assert_int_equal(dw_instance_create(&instance, module, &options, &error), DW_E_LIMIT);
    assert_null(instance);
    options.memory_bytes_max = 3 * 65536;
    assert_int_equal(dw_instance_create(&instance, module, &options, &error), DW_OK);
    int32_t pages = 0;
    assert_int_equal(dw_instance_call(instance, "grow", &pages, &error), DW_OK);
    assert_int_equal(pages, 2);
    assert_int_equal(dw_instance_memory_bytes(instance), 3 * 65536);
    assert_int_equal(dw_instance_call(instance, "grow", &pages, &error), DW_OK);
    assert_int_equal(pages, -1);
    assert_int_equal(dw_instance_memory_bytes(instance), 3 * 65536);
    dw_instance_destroy(instance);
    dw_module_unref(module);
}

static void test_instance_calls_what_is_there(void **state)
{
    (void)state;
    dw_instance *instance = start("(module (memory (export \"memory\") 1)"
                                  " (global (export \"g\") i32 (i32.const 1))"
                                  " (func (export \"takes\") (param i32))"
                                  " (func (export \"wide\") (result i64) (i64.const 1))"
                                  " (func (export \"fine\") (result i32) (i32.const 41)))",
                                  NULL);
    int32_t result = 0;
    dw_error error;
    assert_int_equal(dw_instance_call(instance, "fine", &result, &error), DW_OK);
    assert_int_equal(result, 41);
    assert_int_equal(dw_instance_call(instance, "fine", &result, &error), DW_OK);
    assert_int_equal(dw_instance_call(instance, "nothing", &result, &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_instance_call(instance, "g", &result, &error), DW_E_TYPE);
    assert_int_equal(dw_instance_call(instance, "takes", &result, &error), DW_E_TYPE);
    assert_int_equal(dw_instance_call(instance, "wide", &result, &error), DW_E_TYPE);
    assert_int_equal(dw_instance_run(instance, NULL, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "_start"));
    dw_instance_destroy(instance);
}

static void test_instance_checks_ranges(void **state)
{
    (void)state;
    const struct {
        const char *args;
        dw_status status;
    } cases[] = {
        {"(i32.const 0) (i32.const 1) (i32.const 4)", DW_OK},
        {"(i32.const 65532) (i32.const 1) (i32.const 4)", DW_OK},
        {"(i32.const 65536) (i32.const 0) (i32.const 4)", DW_OK}, /* nothing, nowhere */
        {"(i32.const 65533) (i32.const 1) (i32.const 1)", DW_E_RANGE},
        {"(i32.const 65536) (i32.const 1) (i32.const 4)", DW_E_RANGE},
        {"(i32.const -4) (i32.const 1) (i32.const 4)", DW_E_RANGE},
        {"(i32.const 0) (i32.const 16385) (i32.const 4)", DW_E_RANGE},
        {"(i32.const 4) (i32.const -1) (i32.const 4)", DW_E_RANGE},
        {"(i32.const 0x40000000) (i32.const 0x40000000) (i32.const 4)", DW_E_RANGE},
        {"(i32.const 2) (i32.const 1) (i32.const 4)", DW_E_ALIGN},
        {"(i32.const 32) (i32.const 1) (i32.const 64)", DW_E_ALIGN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        (void)snprintf(text, sizeof text,
                       "(module (import \"driftwood\" \"range\" (func $range (param i32 i32 i32)"
                       " (result i32))) (memory (export \"memory\") 1)"
                       " (func (export \"ask\") (result i32) (call $range %s)))",
                       cases[i].args);
        dw_instance *instance = start(text, NULL);
        int32_t status = 1;
        assert_int_equal(dw_instance_call(instance, "ask", &status, NULL), DW_OK);
        assert_int_equal(status, cases[i].status);
        dw_instance_stats stats = {.struct_bytes = sizeof stats};
        dw_instance_get_stats(instance, &stats);
        assert_int_equal(stats.host_calls, 1);
        dw_instance_destroy(instance);
    }
}

static void test_instance_serves_a_start_function(void **state)
{
    (void)state;
    /* The module's start section calls the host before the instance is there. */
    dw_instance *instance = start(
        "(module (import \"driftwood\" \"range\" (func $range (param i32 i32 i32)"
        " (result i32))) (memory (export \"memory\") 1) (global $seen (mut i32) (i32.const 9))"
        " (func $begin (global.set $seen"
        "   (call $range (i32.const 16) (i32.const 4) (i32.const 4))))"
        " (start $begin) (func (export \"seen\") (result i32) (global.get $seen)))",
        NULL);
    int32_t seen = 1;
    assert_int_equal(dw_instance_call(instance, "seen", &seen, NULL), DW_OK);
    assert_int_equal(seen, DW_OK);
    dw_instance_destroy(instance);
}

static ptrdiff_t collect(void *user, const unsigned char *bytes, size_t count)
{
    strncat(user, (const char *)bytes, count);
    return (ptrdiff_t)count;
}

static void test_instance_writes_where_it_is_told(void **state)
{
    (void)state;
    char written[64] = "";
    dw_instance_options options = {
        .struct_bytes = sizeof options, .on_stdout = collect, .user = written};
    dw_instance *instance =
        start("(module (import \"wasi_snapshot_preview1\" \"fd_write\""
              "   (func $write (param i32 i32 i32 i32) (result i32)))"
              " (memory (export \"memory\") 1) (data (i32.const 8) \"ahoy\")"
              " (func (export \"_start\")"
              "   (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 4))"
              "   (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))",
              &options);
    assert_int_equal(dw_instance_run(instance, NULL, NULL), DW_OK);
    assert_string_equal(written, "ahoy");
    dw_instance_destroy(instance);
}

static void test_instance_refuses_dirs_that_are_not_there(void **state)
{
    (void)state;
    dw_module *module = NULL;
    dw_instance *instance = NULL;
    dw_error error;
    assert_int_equal(compile(GUEST(""), &module, &error), DW_OK);
    const dw_dir dir = {.host_path = "/nonexistent/folder", .guest_path = "/data"};
    dw_instance_options options = {.struct_bytes = sizeof options, .dirs = &dir, .dir_count = 1};
    assert_int_equal(dw_instance_create(&instance, module, &options, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "/nonexistent/folder"));
    dw_module_unref(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module_refuses_what_is_none),
        cmocka_unit_test(test_module_refuses_what_cannot_run),
        cmocka_unit_test(test_instance_ends_as_the_guest_says),
        cmocka_unit_test(test_instance_has_the_last_of_two_variables),
        cmocka_unit_test(test_instance_is_stopped_by_its_timeout),
        cmocka_unit_test(test_instance_is_interrupted_from_another_thread),
        cmocka_unit_test(test_instance_memory_is_bounded),
        cmocka_unit_test(test_instance_calls_what_is_there),
        cmocka_unit_test(test_instance_checks_ranges),
        cmocka_unit_test(test_instance_serves_a_start_function),
        cmocka_unit_test(test_instance_writes_where_it_is_told),
        cmocka_unit_test(test_instance_refuses_dirs_that_are_not_there),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
