/* What a compiled module keeps for actors, and that other guests are compiled as they are. */
#include <string.h>

#include "support.h"
#include "wasm/guest_instance.h"

static dw_device *device;
static dw_wasm_host *host;

static int set_up(void **state)
{
    (void)state;
    dw_error err;
    assert_int_equal(dw_device_open(&device, "CPU", 1, &err), DW_OK);
    dw_host_parts parts = {.device = device};
    assert_int_equal(dw_wasm_host_create(&host, &parts, &err), DW_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dw_wasm_host_destroy(host);
    dw_device_close(device);
    return 0;
}

#define ACTOR(more)                                                                                \
    "(module (memory (export \"memory\") 1) (global $g (mut i32) (i32.const 41)) " more            \
    " (func (export \"next\") (result i32)"                                                        \
    "  (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))"

static dw_module *compile(wasm_byte_vec_t *wasm, const char *text)
{
    assert_null(wasmtime_wat2wasm(text, strlen(text), wasm));
    dw_module *module;
    dw_error err;
    if (dw_module_compile(&module, host, wasm->data, wasm->size, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return module;
}

static void test_module_keeps_what_actors_need(void **state)
{
    (void)state;
    wasm_signals_restore();
    wasm_byte_vec_t wasm;
    dw_module *module = compile(&wasm, ACTOR("") " (func (export \"driftwood_receive\")))");
    assert_non_null(dw_module_layout(module));
    assert_string_equal(dw_module_layout(module)->refused, "");
    assert_int_equal(dw_module_layout(module)->global_count, 1);
    assert_string_equal(dw_module_layout(module)->globals[0].name, "driftwood:g0");
    size_t bytes;
    const unsigned char *kept = dw_module_wasm(module, &bytes);
    assert_int_equal(bytes, wasm.size);
    assert_memory_equal(kept, wasm.data, wasm.size);
    dw_instance *instance;
    dw_error err;
    assert_int_equal(dw_instance_create(&instance, module, NULL, &err), DW_OK);
    int32_t value;
    assert_int_equal(dw_instance_call(instance, "next", &value, &err), DW_OK);
    assert_int_equal(value, 42);
    /* There is an export of that name: a global, not a function. */
    assert_int_equal(dw_instance_call(instance, "driftwood:g0", &value, &err), DW_E_TYPE);
    dw_instance_destroy(instance);
    dw_module_unref(module);
    wasm_byte_vec_delete(&wasm);
}

static void test_module_leaves_other_guests_as_they_are(void **state)
{
    (void)state;
    wasm_signals_restore();
    wasm_byte_vec_t wasm;
    dw_module *module = compile(&wasm, ACTOR("(global (export \"driftwood_receive\") i32"
                                             " (i32.const 1))") ")");
    assert_null(dw_module_layout(module));
    size_t bytes;
    assert_null(dw_module_wasm(module, &bytes));
    assert_int_equal(bytes, 0);
    dw_instance *instance;
    dw_error err;
    assert_int_equal(dw_instance_create(&instance, module, NULL, &err), DW_OK);
    int32_t value;
    assert_int_equal(dw_instance_call(instance, "driftwood:g0", &value, &err), DW_E_NOT_FOUND);
    dw_instance_destroy(instance);
    dw_module_unref(module);
    wasm_byte_vec_delete(&wasm);
}

static void test_module_compiles_actors_that_cannot_be_saved(void **state)
{
    (void)state;
    wasm_signals_restore();
    wasm_byte_vec_t wasm;
    dw_module *module = compile(
        &wasm,
        ACTOR("(data $d \"passive\")") " (func (export \"driftwood_receive\") (data.drop $d)))");
    assert_non_null(dw_module_layout(module));
    assert_non_null(strstr(dw_module_layout(module)->refused, "data.drop"));
    dw_instance *instance;
    dw_error err;
    assert_int_equal(dw_instance_create(&instance, module, NULL, &err), DW_OK);
    int32_t value;
    assert_int_equal(dw_instance_call(instance, "next", &value, &err), DW_OK);
    assert_int_equal(value, 42);
    dw_instance_destroy(instance);
    dw_module_unref(module);
    wasm_byte_vec_delete(&wasm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module_keeps_what_actors_need),
        cmocka_unit_test(test_module_leaves_other_guests_as_they_are),
        cmocka_unit_test(test_module_compiles_actors_that_cannot_be_saved),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
