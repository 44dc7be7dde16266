/* Looking into a guest: its calls of the host told, and a profile of its functions. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasmtime.h>

#include "driftwood.h"
#include "support.h"

static const char guest[] =
    "(module (import \"driftwood\" \"abi_version\" (func $version (result i32)))"
    "(import \"driftwood\" \"model_open\" (func $open (param i32 i32) (result i32)))"
    "(memory (export \"memory\") 1)"
    "(func (export \"ask\") (result i32) (drop (call $open (i32.const 64) (i32.const -1)))"
    " (call $version))"
    "(func $spin (param i32) (result i32) (loop $again"
    "  (local.set 0 (i32.sub (local.get 0) (i32.const 1)))"
    "  (br_if $again (local.get 0))) (i32.const 0))"
    "(func $work (export \"work\") (result i32) (call $spin (i32.const 300000000))))";

typedef struct fixture {
    dw_engine *engine;
    dw_module *module;
    dw_instance *instance;
} fixture;

static char told[4096];

static void on_trace(void *user, const char *line)
{
    assert_ptr_equal(user, told);
    strncat(told, line, sizeof told - strlen(told) - 1);
    strncat(told, "\n", sizeof told - strlen(told) - 1);
}

static void make(fixture *f, bool traces, bool listens)
{
    dw_error err;
    wasm_byte_vec_t wasm;
    dw_engine_options engine = {
        .struct_bytes = sizeof engine, .device = "CPU", .threads = 1, .traces_calls = traces};
    dw_instance_options instance = {
        .struct_bytes = sizeof instance, .on_trace = listens ? on_trace : NULL, .trace_user = told};
    told[0] = '\0';
    assert_null(wasmtime_wat2wasm(guest, strlen(guest), &wasm));
    if (dw_engine_create(&f->engine, &engine, &err) != DW_OK ||
        dw_module_create(&f->module, f->engine, wasm.data, wasm.size, &err) != DW_OK ||
        dw_instance_create(&f->instance, f->module, &instance, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    wasm_byte_vec_delete(&wasm);
}

static void release(fixture *f)
{
    dw_instance_destroy(f->instance);
    dw_module_unref(f->module);
    dw_engine_destroy(f->engine);
}

static void test_looking_calls_are_told(void **state)
{
    (void)state;
    fixture f;
    dw_error err;
    int32_t result;
    make(&f, true, true);
    assert_int_equal(dw_instance_call(f.instance, "ask", &result, &err), DW_OK);
    const char *first = strstr(told, "model_open(64, -1) = -8 (name: 4294967295 bytes");
    const char *second = strstr(told, "abi_version() = ");
    if (first != told || second == NULL) {
        fail_msg("told: %s", told);
    }
    assert_true(second > first && second[-1] == '\n');
    assert_non_null(strstr(second, " us\n"));
    int answer;
    assert_int_equal(sscanf(second, "abi_version() = %d", &answer), 1);
    assert_int_equal(answer, result);
    release(&f);
    make(&f, true, false);
    assert_int_equal(dw_instance_call(f.instance, "ask", &result, &err), DW_OK);
    release(&f);
    make(&f, false, true); /* of an engine that does not */
    assert_int_equal(dw_instance_call(f.instance, "ask", &result, &err), DW_OK);
    assert_string_equal(told, "");
    release(&f);
}

typedef struct collected {
    char bytes[1 << 20];
    size_t count;
    size_t step; /* at most so many at a time; 0: nothing is taken */
} collected;

static ptrdiff_t collect(void *user, const unsigned char *bytes, size_t count)
{
    collected *to = user;
    size_t now = count < to->step ? count : to->step;
    now = now < sizeof to->bytes - to->count ? now : sizeof to->bytes - to->count;
    memcpy(to->bytes + to->count, bytes, now);
    to->count += now;
    return (ptrdiff_t)now;
}

static collected profile;

static void test_looking_a_profile_has_the_functions(void **state)
{
    (void)state;
    fixture f;
    dw_error err;
    int32_t result;
    make(&f, false, false);
    profile = (collected){.step = 1000};
    assert_int_equal(dw_instance_end_profile(f.instance, collect, &profile, &err), DW_E_STATE);
    assert_int_equal(dw_instance_begin_profile(f.instance, "spinner", &err), DW_OK);
    assert_int_equal(dw_instance_begin_profile(f.instance, "again", &err), DW_E_STATE);
    assert_int_equal(dw_instance_call(f.instance, "work", &result, &err), DW_OK);
    assert_int_equal(dw_instance_end_profile(f.instance, collect, &profile, &err), DW_OK);
    json_t *root = json_loadb(profile.bytes, profile.count, 0, NULL);
    assert_non_null(root);
    json_t *thread = json_array_get(json_object_get(root, "threads"), 0);
    json_t *samples = json_object_get(json_object_get(thread, "samples"), "stack");
    assert_true(json_array_size(samples) > 1);
    char *text = json_dumps(root, 0);
    assert_non_null(strstr(text, "spinner"));
    assert_non_null(strstr(text, "spin"));
    assert_non_null(strstr(text, "work"));
    free(text);
    json_decref(root);
    assert_int_equal(dw_instance_begin_profile(f.instance, "full", &err), DW_OK);
    profile = (collected){.step = 0};
    assert_int_equal(dw_instance_end_profile(f.instance, collect, &profile, &err), DW_E_IO);
    assert_int_equal(dw_instance_begin_profile(f.instance, "left", &err), DW_OK);
    release(&f); /* and it goes with its guest */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_looking_calls_are_told),
        cmocka_unit_test(test_looking_a_profile_has_the_functions),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
