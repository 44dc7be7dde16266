/* Link 3: devices on regions. DW_TEST_DEVICE names another device than the CPU. */
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/device.h"
#include "device/device_run.h"
#include "device/device_view.h"
#include "device/host_register.h"
#include "support.h"

#define SIDE 64

typedef struct fixture {
    dw_device *device;
    dw_region *region;
    dw_device_view *view;
} fixture;

static int set_up(void **state)
{
    static fixture w;
    dw_error error = {0};
    const char *wanted = getenv("DW_TEST_DEVICE");
    if (dw_device_open(&w.device, wanted != NULL ? wanted : "CPU", 2, &error) != DW_OK) {
        print_error("%s\n", error.message);
        return -1;
    }
    dw_region_options options = {
        .reserve_bytes = (size_t)1 << 30, .commit_bytes = 1 << 20, .label = "test"};
    assert_int_equal(dw_region_create(&w.region, &options, &error), DW_OK);
    if (getenv("DW_TEST_STAGED") != NULL) {
        dw_device_set_staging(w.device);
    }
    if (dw_device_view_create(&w.view, w.device, w.region, DW_VIEW_STAGEABLE, &error) != DW_OK) {
        print_error("%s\n", error.message);
        return -1;
    }
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    fixture *w = *state;
    dw_device_view_destroy(w->view);
    dw_region_destroy(w->region);
    dw_device_close(w->device);
    return 0;
}

/* result = a * b for matrices that lie in the region; the status of placing and computing. */
static dw_status multiply(fixture *w, float *a, float *b, float *result, dw_error *error)
{
    struct ggml_init_params params = {.mem_size = 1 << 20, .no_alloc = true};
    struct ggml_context *context = ggml_init(params);
    struct ggml_tensor *left = ggml_new_tensor_2d(context, GGML_TYPE_F32, SIDE, SIDE);
    struct ggml_tensor *right = ggml_new_tensor_2d(context, GGML_TYPE_F32, SIDE, SIDE);
    struct ggml_tensor *product = ggml_mul_mat(context, left, right);
    struct ggml_cgraph *graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, product);
    dw_status status = dw_device_view_place(w->view, left, a, error);
    if (status == DW_OK) {
        status = dw_device_view_place(w->view, right, b, error);
    }
    if (status == DW_OK) {
        status = dw_device_view_place(w->view, product, result, error);
    }
    if (status == DW_OK) {
        status = dw_device_check_graph(w->device, graph, error);
    }
    if (status == DW_OK) {
        status = dw_device_run(w->device, graph, &(dw_device_run_options){.view = w->view}, error);
    }
    ggml_free(context);
    return status;
}

static size_t count_wrong(const float *a, const float *b, const float *result)
{
    size_t wrong = 0;
    for (size_t n = 0; n < SIDE; n++) {
        for (size_t m = 0; m < SIDE; m++) {
            double sum = 0;
            for (size_t k = 0; k < SIDE; k++) {
                sum += (double)a[m * SIDE + k] * (double)b[n * SIDE + k];
            }
            wrong += (double)result[n * SIDE + m] != sum;
        }
    }
    return wrong;
}

static void fill(float *values, int seed)
{
    for (int i = 0; i < SIDE * SIDE; i++) {
        values[i] = (float)((i * 31 + seed * 17) % 15 - 7);
    }
}

static void product_is_right_at(fixture *w, size_t offset)
{
    float *a = (float *)((unsigned char *)dw_region_base(w->region) + offset);
    float *b = a + SIDE * SIDE;
    float *result = b + SIDE * SIDE;
    fill(a, 1);
    fill(b, 2);
    memset(result, 0xff, SIDE * SIDE * sizeof *result);
    dw_error error = {0};
    dw_status status = multiply(w, a, b, result, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_int_equal(count_wrong(a, b, result), 0);
}

static void test_device_view_computes_in_place(void **state)
{
    fixture *w = *state;
    product_is_right_at(w, 0);
    product_is_right_at(w, 4096 + 64);
}

static void test_device_view_has_the_regions_address(void **state)
{
    fixture *w = *state;
    bool same = false;
    void *base = dw_device_view_base(w->view, &same);
    if (strcmp(dw_device_view_kind(w->view), "staged") == 0) {
        assert_false(same);
        return;
    }
    if (strcmp(dw_device_info_of(w->device)->backend, "Vulkan") != 0) {
        assert_true(same);
    }
    assert_true(!same || base == dw_region_base(w->region));
}

static void test_device_view_follows_growth(void **state)
{
    fixture *w = *state;
    for (size_t bytes = 2 << 20; bytes <= 64 << 20; bytes *= 2) {
        size_t old = dw_region_committed_bytes(w->region);
        assert_int_equal(dw_region_commit(w->region, bytes, NULL), DW_OK);
        product_is_right_at(w, old);
        product_is_right_at(w, old - 64 * 1024); /* over the seam */
    }
    uint64_t generation = dw_device_view_generation(w->view);
    assert_int_equal(dw_device_view_follow(w->view, NULL), DW_OK);
    assert_int_equal(dw_device_view_generation(w->view), generation); /* nothing to do */
}

static void test_device_view_refuses_what_lies_outside(void **state)
{
    fixture *w = *state;
    struct ggml_init_params params = {.mem_size = 1 << 16, .no_alloc = true};
    struct ggml_context *context = ggml_init(params);
    struct ggml_tensor *tensor = ggml_new_tensor_1d(context, GGML_TYPE_F32, 16);
    unsigned char *base = dw_region_base(w->region);
    size_t committed = dw_region_committed_bytes(w->region);
    dw_error error;
    assert_int_equal(dw_device_view_place(w->view, tensor, base + committed - 64, &error), DW_OK);
    assert_int_equal(dw_device_view_place(w->view, tensor, base + committed - 60, &error),
                     DW_E_RANGE);
    assert_int_equal(dw_device_view_place(w->view, tensor, base - 64, &error), DW_E_RANGE);
    assert_int_equal(dw_device_view_place(w->view, tensor, base + 2, &error), DW_E_ALIGN);
    assert_non_null(strstr(error.message, "multiple of"));
    size_t align = dw_device_view_align_bytes(w->view);
    assert_true(align >= 4 && (align & (align - 1)) == 0);
    ggml_free(context);
}

/* ---- staged views ---- */

static dw_device_view *open_staged(fixture *w)
{
    dw_device_view *view = NULL;
    dw_error error = {0};
    dw_device_set_staging(w->device);
    if (dw_device_view_create(&view, w->device, w->region, DW_VIEW_STAGEABLE, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    return view;
}

/* What is copied is what the graph reads and writes, each byte once: two matrices in, one out. */
static void test_device_view_staged_counts_what_it_copies(void **state)
{
    fixture *w = *state;
    dw_device_counters *counters = dw_device_counters_of(w->device);
    uint64_t used_before = atomic_load(&counters->used_bytes[DW_USE_VIEW]);
    uint64_t staged_before = atomic_load(&counters->staged_bytes);
    dw_device_view *shared = w->view;
    w->view = open_staged(w);
    assert_string_equal(dw_device_view_kind(w->view), "staged");
    assert_string_equal(dw_device_view_why_staged(w->view), "");
    assert_int_equal(atomic_load(&counters->used_bytes[DW_USE_VIEW]) - used_before,
                     dw_region_committed_bytes(w->region));
    uint64_t matrix = SIDE * SIDE * sizeof(float);
    product_is_right_at(w, 0);
    assert_int_equal(dw_device_view_staged_bytes(w->view), 3 * matrix);
    product_is_right_at(w, 12288);
    assert_int_equal(dw_device_view_staged_bytes(w->view), 6 * matrix);
    assert_int_equal(atomic_load(&counters->staged_bytes) - staged_before, 6 * matrix);

    /* The same matrix twice is one. */
    float *a = dw_region_base(w->region);
    dw_error error = {0};
    fill(a, 3);
    assert_int_equal(multiply(w, a, a, a + SIDE * SIDE, &error), DW_OK);
    assert_int_equal(count_wrong(a, a, a + SIDE * SIDE), 0);
    assert_int_equal(dw_device_view_staged_bytes(w->view), 8 * matrix);

    uint64_t generation = dw_device_view_generation(w->view);
    assert_int_equal(dw_region_commit(w->region, 4 << 20, NULL), DW_OK);
    product_is_right_at(w, 3 << 20);
    assert_true(dw_device_view_generation(w->view) != generation);
    assert_int_equal(atomic_load(&counters->used_bytes[DW_USE_VIEW]) - used_before,
                     dw_region_committed_bytes(w->region));
    dw_device_view_destroy(w->view);
    assert_int_equal(atomic_load(&counters->used_bytes[DW_USE_VIEW]), used_before);
    w->view = shared;
}

/* A node that writes into a part of a tensor leaves the rest as it was, and so does the copy. */
static void test_device_view_staged_keeps_what_is_not_written(void **state)
{
    fixture *w = *state;
    dw_device_view *view = open_staged(w);
    struct ggml_init_params params = {.mem_size = 1 << 20, .no_alloc = true};
    struct ggml_context *context = ggml_init(params);
    float *all = dw_region_base(w->region);
    float *part = all + 1024;
    dw_error error = {0};
    struct ggml_tensor *target = ggml_new_tensor_2d(context, GGML_TYPE_F32, 8, 16);
    struct ggml_tensor *source = ggml_new_tensor_2d(context, GGML_TYPE_F32, 4, 8);
    struct ggml_tensor *into =
        ggml_view_2d(context, target, 4, 8, target->nb[1], 2 * target->nb[1] + 8);
    struct ggml_tensor *copied = ggml_cpy(context, source, into);
    struct ggml_cgraph *graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, copied);
    for (int i = 0; i < 8 * 16; i++) {
        all[i] = (float)i;
    }
    for (int i = 0; i < 32; i++) {
        part[i] = (float)(1000 + i);
    }
    assert_int_equal(dw_device_view_place(view, target, all, &error), DW_OK);
    assert_int_equal(dw_device_view_place(view, source, part, &error), DW_OK);
    assert_int_equal(ggml_backend_view_init(into), GGML_STATUS_SUCCESS);
    assert_int_equal(ggml_backend_view_init(copied), GGML_STATUS_SUCCESS);
    assert_int_equal(
        dw_device_run(w->device, graph, &(dw_device_run_options){.view = view}, &error), DW_OK);
    for (int row = 0; row < 16; row++) {
        for (int i = 0; i < 8; i++) {
            bool written = row >= 2 && row < 10 && i >= 2 && i < 6;
            float wanted = written ? (float)(1000 + (row - 2) * 4 + i - 2) : (float)(row * 8 + i);
            assert_true(all[row * 8 + i] == wanted);
        }
    }
    ggml_free(context);
    dw_device_view_destroy(view);
}

/* Bytes that are used outside of graphs as well may not live in a copy. */
static void test_device_view_in_place_is_never_staged(void **state)
{
    fixture *w = *state;
    dw_region *region = NULL; /* of its own: pages are registered once */
    dw_region_options options = {
        .reserve_bytes = 1 << 20, .commit_bytes = 1 << 16, .label = "in place"};
    dw_device_view *view = NULL;
    dw_error error = {0};
    assert_int_equal(dw_region_create(&region, &options, &error), DW_OK);
    dw_device_set_staging(w->device);
    assert_int_equal(dw_device_view_create(&view, w->device, region, DW_VIEW_IN_PLACE, &error),
                     DW_OK);
    assert_false(dw_device_view_is_staged(view));
    dw_device_view_destroy(view);
    dw_region_destroy(region);
}

static void test_device_view_refuses_a_lost_device(void **state)
{
    fixture *w = *state;
    dw_device_view *view = NULL;
    dw_error error = {0};
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, &error), DW_OK);
    dw_device_mark_lost(device, "a test");
    assert_int_equal(dw_device_view_create(&view, device, w->region, DW_VIEW_IN_PLACE, &error),
                     DW_E_DEVICE);
    assert_null(view);
    assert_non_null(strstr(error.message, "was lost: a test"));
    dw_device_close(device);
}

static void test_host_register_names_the_reason(void **state)
{
    (void)state;
    char text[200];
    dw__host_register_failure info = {
        .driver = "out of memory", .bytes = 1 << 20, .locked_max_bytes = 65536};
    dw__host_register_reason(&info, text, sizeof text);
    assert_string_equal(text, "1048576 host bytes cannot be registered: out of memory (`ulimit -l` "
                              "allows 64 KiB of locked memory: raise it)");
    info.locked_max_bytes = UINT64_MAX;
    dw__host_register_reason(&info, text, sizeof text);
    assert_string_equal(text, "1048576 host bytes cannot be registered: out of memory");
    info.wsl = true;
    dw__host_register_reason(&info, text, sizeof text);
    assert_non_null(strstr(text, "WSL"));
    info = (dw__host_register_failure){
        .driver = "operation not permitted", .bytes = 4096, .locked_max_bytes = UINT64_MAX};
    dw__host_register_reason(&info, text, sizeof text);
    assert_non_null(strstr(text, "this process may not"));
}

static void test_device_list_has_a_cpu(void **state)
{
    (void)state;
    size_t count = dw_device_count();
    bool has_cpu = false;
    for (size_t i = 0; i < count; i++) {
        dw_device_info info = {.struct_bytes = sizeof info};
        assert_int_equal(dw_device_get_info(i, &info, NULL), DW_OK);
        assert_true(info.name[0] != '\0');
        has_cpu = has_cpu || (info.kind == DW_DEVICE_CPU && info.unified && info.shares_host);
    }
    assert_true(has_cpu);
    dw_device_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_device_get_info(count, &info, NULL), DW_E_RANGE);
}

static void test_device_open_names_what_is_wrong(void **state)
{
    (void)state;
    dw_device *device = NULL;
    dw_error error;
    assert_int_equal(dw_device_open(&device, "TPU7", 0, &error), DW_E_NOT_FOUND);
    assert_null(device);
    assert_non_null(strstr(error.message, "TPU7"));
    assert_non_null(strstr(error.message, "CPU"));
    assert_int_equal(dw_device_open(&device, "CPU", -1, &error), DW_E_ARG);
    assert_int_equal(dw_device_open(&device, "CPU", 100000, &error), DW_E_ARG);
    assert_int_equal(dw_device_open(&device, "cpu", 1, &error), DW_OK);
    assert_int_equal(dw_device_threads(device), 1);
    dw_device_close(device);
}

static void test_device_compute_is_cancelled(void **state)
{
    fixture *w = *state;
    if (dw_device_info_of(w->device)->kind != DW_DEVICE_CPU) {
        return; /* elsewhere a graph runs to its end */
    }
    struct ggml_init_params params = {.mem_size = 1 << 20, .no_alloc = true};
    struct ggml_context *context = ggml_init(params);
    struct ggml_tensor *x = ggml_new_tensor_1d(context, GGML_TYPE_F32, 1024);
    struct ggml_tensor *y = ggml_sqr(context, x);
    struct ggml_tensor *z = ggml_sqr(context, y);
    struct ggml_cgraph *graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, z);
    unsigned char *base = dw_region_base(w->region);
    assert_int_equal(dw_device_view_place(w->view, x, base, NULL), DW_OK);
    assert_int_equal(dw_device_view_place(w->view, y, base + 8192, NULL), DW_OK);
    assert_int_equal(dw_device_view_place(w->view, z, base + 16384, NULL), DW_OK);
    dw_stop cancel = {.cancelled = true};
    dw_stop *const asked = &cancel;
    const dw_stops stops = {.items = &asked, .count = 1};
    dw_error error;
    assert_int_equal(
        dw_device_run(w->device, graph, &(dw_device_run_options){.stops = &stops}, &error),
        DW_E_CANCELLED);
    cancel.cancelled = false;
    assert_int_equal(
        dw_device_run(w->device, graph, &(dw_device_run_options){.stops = &stops}, &error), DW_OK);
    ggml_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_device_view_computes_in_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_device_view_has_the_regions_address, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_device_view_follows_growth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_device_view_refuses_what_lies_outside, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_device_view_staged_counts_what_it_copies, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_device_view_staged_keeps_what_is_not_written, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_device_view_in_place_is_never_staged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_device_view_refuses_a_lost_device, set_up, tear_down),
        cmocka_unit_test(test_host_register_names_the_reason),
        cmocka_unit_test(test_device_list_has_a_cpu),
        cmocka_unit_test(test_device_open_names_what_is_wrong),
        cmocka_unit_test_setup_teardown(test_device_compute_is_cancelled, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
