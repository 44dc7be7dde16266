/* The tensor functions as guests call them, and the example guests that use them. */
#include <stdlib.h>

#include "driftwood.h"
#include "support.h"

static dw_engine *engine;

static int open_engine(void **state)
{
    (void)state;
    dw_error err;
    const char *device = getenv("DW_TEST_DEVICE");
    dw_engine_options options = {
        .struct_bytes = sizeof options, .device = device != NULL ? device : "CPU", .threads = 2};
    return dw_engine_create(&engine, &options, &err) == DW_OK ? 0 : -1;
}

static int close_engine(void **state)
{
    (void)state;
    dw_engine_destroy(engine);
    return 0;
}

static dw_instance *start(const char *path, const dw_instance_options *options)
{
    dw_error err;
    dw_module *module;
    dw_instance *instance = NULL;
    if (dw_module_open(&module, engine, path, &err) != DW_OK ||
        dw_instance_create(&instance, module, options, &err) != DW_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    dw_module_unref(module);
    return instance;
}

static void expect_zero(const char *function)
{
    dw_error err;
    int32_t line = -1;
    dw_instance *instance = start(DW_TEST_GUESTS_DIR "/tensor_calls.wasm", NULL);
    if (dw_instance_call(instance, function, &line, &err) != DW_OK) {
        fail_msg("%s: %s", function, err.message);
    }
    if (line != 0) {
        fail_msg("%s: tests/guest/tensor_calls.c:%d", function, line);
    }
    dw_instance_destroy(instance);
}

static void test_tensor_abi_refuses_bad_handles(void **state)
{
    (void)state;
    expect_zero("bad_handles");
}

static void test_tensor_abi_refuses_bad_pointers(void **state)
{
    (void)state;
    expect_zero("bad_pointers");
}

static void test_tensor_abi_says_what_was_wrong(void **state)
{
    (void)state;
    expect_zero("words");
}

static void test_tensor_abi_limits_graphs(void **state)
{
    (void)state;
    expect_zero("many_graphs");
}

static void test_tensor_abi_limits_scratch(void **state)
{
    (void)state;
    expect_zero("too_much_scratch");
}

static void test_tensor_abi_follows_growth(void **state)
{
    (void)state;
    expect_zero("grows");
}

static ptrdiff_t swallow(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

/* The guests judge their own results: their exit code tells. */
static void run_example(const char *path)
{
    static const char *const args[] = {"guest"};
    dw_instance_options options = {.struct_bytes = sizeof options,
                                   .args = args,
                                   .arg_count = 1,
                                   .on_stdout = swallow,
                                   .on_stderr = swallow};
    dw_instance *instance = start(path, &options);
    dw_error err;
    int exit_code = -1;
    if (dw_instance_run(instance, &exit_code, &err) != DW_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    assert_int_equal(exit_code, 0);
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_instance_get_stats(instance, &stats);
    assert_true(stats.graph_runs >= 2);
    assert_int_equal(stats.device_staged_bytes, 0);
    dw_instance_destroy(instance);
}

static void test_tensor_abi_runs_the_matrix_guest(void **state)
{
    (void)state;
    run_example(DW_TEST_GUESTS_DIR "/matrix.wasm");
}

static void test_tensor_abi_runs_the_classifier_guest(void **state)
{
    (void)state;
    run_example(DW_TEST_GUESTS_DIR "/mlp.wasm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_abi_refuses_bad_handles),
        cmocka_unit_test(test_tensor_abi_refuses_bad_pointers),
        cmocka_unit_test(test_tensor_abi_says_what_was_wrong),
        cmocka_unit_test(test_tensor_abi_limits_graphs),
        cmocka_unit_test(test_tensor_abi_limits_scratch),
        cmocka_unit_test(test_tensor_abi_follows_growth),
        cmocka_unit_test(test_tensor_abi_runs_the_matrix_guest),
        cmocka_unit_test(test_tensor_abi_runs_the_classifier_guest),
    };
    return cmocka_run_group_tests_name("tensor_abi", tests, open_engine, close_engine);
}
