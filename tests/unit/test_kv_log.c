/* The KV log, in host pages and in device memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include <ggml-alloc.h>

#include "kv/kv_log.h"

#define RECORD_ELEMENTS 64
#define RECORD_BYTES (RECORD_ELEMENTS * sizeof(ggml_fp16_t))

static dw_kv_log *make(dw_device *device, uint32_t capacity, bool in_device_memory)
{
    dw_kv_log_options options = {.record_bytes = RECORD_BYTES,
                                 .capacity_tokens = capacity,
                                 .in_device_memory = in_device_memory};
    dw_error err = {0};
    dw_kv_log *log = NULL;
    if (dw_kv_log_create(&log, device, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return log;
}

/* Append `value` to every element of record `at`, as a step does: by the device. */
static void append(dw_device *device, dw_kv_log *log, uint32_t at, float value)
{
    dw_error err = {0};
    assert_int_equal(dw_kv_log_reserve(log, at + 1, &err), DW_OK);
    struct ggml_init_params params = {
        .mem_size = 16 * ggml_tensor_overhead() + ggml_graph_overhead(), .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    struct ggml_cgraph *graph = ggml_new_graph(ggml);
    struct ggml_tensor *root =
        ggml_new_tensor_2d(ggml, GGML_TYPE_F16, RECORD_ELEMENTS, dw_kv_log_committed(log));
    assert_int_equal(dw_kv_log_place(log, root, &err), DW_OK);
    struct ggml_tensor *row = ggml_new_tensor_2d(ggml, GGML_TYPE_F32, RECORD_ELEMENTS, 1);
    struct ggml_tensor *index = ggml_new_tensor_1d(ggml, GGML_TYPE_I64, 1);
    ggml_set_input(row);
    ggml_set_input(index);
    ggml_build_forward_expand(graph, ggml_set_rows(ggml, root, row, index));
    ggml_gallocr_t allocator = ggml_gallocr_new(dw_device_buffer_type(device));
    assert_true(ggml_gallocr_alloc_graph(allocator, graph));
    for (int i = 0; i < RECORD_ELEMENTS; i++) {
        ((float *)row->data)[i] = value;
    }
    *(int64_t *)index->data = at;
    assert_int_equal(dw_device_compute(device, graph, &err), DW_OK);
    dw_kv_log_extend(log, at + 1);
    ggml_gallocr_free(allocator);
    ggml_free(ggml);
}

static float recall(dw_kv_log *log, uint32_t at)
{
    struct ggml_init_params params = {.mem_size = 4 * ggml_tensor_overhead(), .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    struct ggml_tensor *root =
        ggml_new_tensor_2d(ggml, GGML_TYPE_F16, RECORD_ELEMENTS, dw_kv_log_committed(log));
    assert_int_equal(dw_kv_log_place(log, root, NULL), DW_OK);
    ggml_fp16_t values[RECORD_ELEMENTS];
    ggml_backend_tensor_get(root, values, at * RECORD_BYTES, RECORD_BYTES);
    ggml_free(ggml);
    for (int i = 1; i < RECORD_ELEMENTS; i++) {
        assert_int_equal(values[i], values[0]);
    }
    return ggml_fp16_to_fp32(values[0]);
}

static void check_growth(bool in_device_memory)
{
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log *log = make(device, 1300, in_device_memory);
    assert_int_equal(dw_kv_log_in_host_memory(log), !in_device_memory);
    assert_int_equal(dw_kv_log_committed(log), 0);
    void *base = dw_kv_log_base(log);
    const uint32_t places[] = {0, 1, 255, 256, 600, 1299};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        append(device, log, places[i], (float)(i + 1));
        assert_int_equal(dw_kv_log_length(log), places[i] + 1);
        assert_int_equal(dw_kv_log_committed(log) % DW_KV_STEP_TOKENS, 0);
        assert_true(dw_kv_log_committed(log) > places[i]);
        for (size_t j = 0; j <= i; j++) { /* what was held survived each growth */
            assert_true(recall(log, places[j]) == (float)(j + 1));
        }
    }
    assert_ptr_equal(dw_kv_log_base(log), base);
    assert_int_equal(dw_kv_log_committed(log), 1536); /* no more than the capacity needs */
    dw_kv_log_destroy(log);
    dw_device_close(device);
}

static void test_kv_log_grows_in_host_pages(void **state)
{
    (void)state;
    check_growth(false);
}

static void test_kv_log_grows_in_device_memory(void **state)
{
    (void)state;
    check_growth(true);
}

static void test_kv_log_refuses_more_than_its_capacity(void **state)
{
    (void)state;
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log *log = make(device, 300, false);
    dw_error err = {0};
    assert_int_equal(dw_kv_log_reserve(log, 301, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.message, "301 tokens, limit 300"));
    assert_int_equal(dw_kv_log_committed(log), 0);
    assert_int_equal(dw_kv_log_reserve(log, 300, &err), DW_OK);
    dw_kv_log_destroy(log);
    dw_kv_log_destroy(NULL);
    dw_device_close(device);
}

static void check_trim_and_clear(bool in_device_memory)
{
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log *log = make(device, 300, in_device_memory);
    append(device, log, 0, 1);
    append(device, log, 1, 2);
    append(device, log, 2, 3);
    dw_kv_log_trim(log, 1);
    assert_int_equal(dw_kv_log_length(log), 1);
    assert_true(recall(log, 2) == 3); /* trimming is one number */
    assert_int_equal(dw_kv_log_clear_rest(log, NULL), DW_OK);
    assert_true(recall(log, 0) == 1);
    assert_true(recall(log, 1) == 0 && recall(log, 2) == 0);
    append(device, log, 1, 5);
    assert_true(recall(log, 1) == 5);
    dw_kv_log_destroy(log);
    dw_device_close(device);
}

static void test_kv_log_trims_and_clears(void **state)
{
    (void)state;
    check_trim_and_clear(false);
    check_trim_and_clear(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_log_grows_in_host_pages),
        cmocka_unit_test(test_kv_log_grows_in_device_memory),
        cmocka_unit_test(test_kv_log_refuses_more_than_its_capacity),
        cmocka_unit_test(test_kv_log_trims_and_clears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
