/* A fault on a CUDA device, which no process recovers from: the device is lost, the process is not.
 * A program of its own, since nothing else can run on the card in it afterwards. Skipped unless
 * DW_TEST_DEVICE names a CUDA device. */
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "device/device_run.h"
#include "device/device_view.h"
#include "device/device_memory.h"
#include "kv/kv_log.h"
#include "support.h"

#define COUNT 1024
/* No driver maps anything there, and it is aligned for every load. */
#define NOWHERE ((void *)(uintptr_t)0x10000)

static void run_and_lose(dw_device *device, struct ggml_cgraph *graph)
{
    dw_error error = {0};
    assert_int_equal(dw_device_run(device, graph, NULL, &error), DW_E_DEVICE);
    print_message("%s\n", error.message);
    assert_non_null(strstr(error.message, dw_device_info_of(device)->name));
    assert_true(dw_device_lost(device));
    assert_int_equal(dw_device_run(device, graph, NULL, &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "was lost"));
}

static void test_fault_loses_the_device_and_nothing_else(void **state)
{
    (void)state;
    const char *name = getenv("DW_TEST_DEVICE");
    if (name == NULL || strncmp(name, "CUDA", 4) != 0) {
        skip();
    }
    dw_device *device = NULL;
    dw_device *again = NULL;
    dw_device *cpu = NULL;
    dw_kv_log *log = NULL;
    dw_region *region = NULL;
    dw_device_view *view = NULL;
    dw_error error = {0};
    dw_kv_log_options log_options = {.record_bytes = 4096, .capacity_tokens = 4096};
    dw_region_options region_options = {
        .reserve_bytes = 1 << 20, .commit_bytes = 1 << 20, .label = "test"};
    if (dw_device_open(&device, name, 0, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(dw_kv_log_create(&log, device, &log_options, &error), DW_OK);
    assert_int_equal(dw_kv_log_reserve(log, 1000, &error), DW_OK);
    assert_int_equal(dw_region_create(&region, &region_options, &error), DW_OK);
    assert_int_equal(dw_device_view_create(&view, device, region, DW_VIEW_STAGEABLE, &error),
                     DW_OK);

    struct ggml_init_params params = {.mem_size = 1 << 20, .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    struct ggml_tensor *x = ggml_new_tensor_1d(ggml, GGML_TYPE_F32, COUNT);
    struct ggml_tensor *y = ggml_scale_bias(ggml, x, 2.0f, 1.0f);
    struct ggml_cgraph *graph = ggml_new_graph_custom(ggml, 8, false);
    ggml_backend_buffer_t buffer = NULL;
    ggml_build_forward_expand(graph, y);
    assert_int_equal(dw_device_buffer_create(&buffer, device, DW_USE_WORK, COUNT * 4, &error),
                     DW_OK);
    y->buffer = buffer;
    y->data = ggml_backend_buffer_get_base(buffer);
    x->buffer = buffer;
    x->data = NOWHERE;

    run_and_lose(device, graph);
    assert_int_equal(dw_kv_log_reserve(log, 4000, &error), DW_E_DEVICE);
    assert_int_equal(dw_device_tensor_get(device, y, &params, 0, 4, &error), DW_E_DEVICE);

    dw_device_view_destroy(view);
    dw_region_destroy(region);
    dw_kv_log_destroy(log);
    dw_device_buffer_destroy(device, DW_USE_WORK, buffer);
    ggml_free(ggml);
    dw_device_close(device);

    assert_int_not_equal(dw_device_open(&again, name, 0, &error), DW_OK);
    print_message("%s\n", error.message);
    assert_null(again);
    assert_int_equal(dw_device_open(&cpu, "CPU", 1, &error), DW_OK);
    dw_device_close(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_loses_the_device_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
