/* A device that fails: ggml would end the process; here it is a status, and the rest goes on. On
 * the CPU a failing operation is made by hand; with DW_TEST_DEVICE=CUDA0 memory really runs out. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ggml.h>

#include "base/ggml_guard.h"
#include "device/cuda_probe.h"
#include "device/device.h"
#include "device/device_memory.h"
#include "device/device_run.h"
#include "kv/kv_log.h"
#include "support.h"

#define COUNT 64

/* A graph y = f(x) over COUNT floats, in host memory. */
typedef struct fixture {
    dw_device *device;
    struct ggml_context *ggml;
    struct ggml_cgraph *graph;
    struct ggml_tensor *x;
    struct ggml_tensor *y;
    ggml_gallocr_t allocator;
} fixture;

static void give_up(struct ggml_tensor *to, const struct ggml_tensor *from, int thread, int threads,
                    void *user)
{
    (void)to;
    (void)from;
    (void)thread;
    (void)threads;
    const char *why = user;
    if (why != NULL) {
        dw_ggml_note_error(GGML_LOG_LEVEL_ERROR, why);
        dw_ggml_note_error(
            GGML_LOG_LEVEL_ERROR,
            "  current device: 0, in function alloc at /some/where/ggml-cuda.cu:12\n");
        dw_ggml_note_error(GGML_LOG_LEVEL_ERROR, "  cuMemCreate(&handle, size, &prop, 0)\n");
    }
    GGML_ABORT("stopped on purpose");
}

static void make_fixture(fixture *w, dw_device *device, bool gives_up, const char *why)
{
    dw_error error;
    struct ggml_init_params params = {.mem_size = 1 << 20, .no_alloc = true};
    *w = (fixture){.device = device, .ggml = ggml_init(params)};
    w->x = ggml_new_tensor_1d(w->ggml, GGML_TYPE_F32, COUNT);
    ggml_set_input(w->x);
    w->y = gives_up ? ggml_map_custom1(w->ggml, w->x, give_up, 1, (void *)(uintptr_t)why)
                    : ggml_scale_bias(w->ggml, w->x, 2.0f, 1.0f);
    ggml_set_output(w->y);
    w->graph = ggml_new_graph_custom(w->ggml, 8, false);
    ggml_build_forward_expand(w->graph, w->y);
    assert_int_equal(dw_device_graph_allocate(&w->allocator, device, w->graph, &error), DW_OK);
}

static void end_fixture(fixture *w)
{
    dw_device_graph_free(w->device, w->allocator);
    ggml_free(w->ggml);
}

static dw_device *open_device(const char *name, int threads)
{
    dw_device *device = NULL;
    dw_error error = {0};
    if (dw_device_open(&device, name, threads, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    return device;
}

static void check_computes(dw_device *device)
{
    fixture w;
    float x[COUNT];
    float y[COUNT] = {0};
    dw_error error = {0};
    make_fixture(&w, device, false, NULL);
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)i;
    }
    assert_int_equal(dw_device_tensor_set(device, w.x, x, 0, sizeof x, &error), DW_OK);
    assert_int_equal(dw_device_run(device, w.graph, NULL, &error), DW_OK);
    assert_int_equal(dw_device_tensor_get(device, w.y, y, 0, sizeof y, &error), DW_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_true(y[i] == (float)i * 2.0f + 1.0f);
    }
    end_fixture(&w);
}

/* ---- the guard ---- */

static void abort_now(void *user)
{
    GGML_ABORT("%s", (const char *)user);
}

static void nest(void *user)
{
    dw_error error = {0};
    assert_int_equal(dw_ggml_guarded(abort_now, "inner", &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "inner"));
    abort_now(user);
}

static void do_nothing(void *user)
{
    *(bool *)user = true;
}

static void test_ggml_guard_turns_an_abort_into_a_status(void **state)
{
    (void)state;
    dw_error error = {0};
    bool called = false;
    assert_int_equal(dw_ggml_guarded(do_nothing, &called, &error), DW_OK);
    assert_true(called);
    assert_int_equal(dw_ggml_guarded(abort_now, "one", &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "one"));
    /* The file that aborted by name, not by the folder that it was built in. */
    assert_null(strchr(error.message, '/'));
    assert_non_null(strstr(error.message, "test_device_failure.c:"));
    assert_int_equal(dw_ggml_guarded(abort_now, "two", NULL), DW_E_DEVICE);
    assert_int_equal(dw_ggml_let_go(abort_now, "three", &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "three"));
    assert_int_equal(dw_ggml_guarded(nest, "outer", &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "outer"));
}

/* Outside of a guard nothing knows how to go on. */
static void test_ggml_guard_leaves_other_aborts_alone(void **state)
{
    (void)state;
    int status = 0;
    assert_int_equal(dw_ggml_guarded(abort_now, "one", NULL), DW_E_DEVICE);
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)freopen("/dev/null", "w", stderr);
        abort_now("outside");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_ggml_guard_catches_ggmls_own_asserts(void **state)
{
    (void)state;
    dw_error error = {0};
    dw_device *device = open_device("CPU", 1);
    fixture w;
    make_fixture(&w, device, false, NULL);
    float value = 0;
    /* Beyond the tensor's end: a bug of ours, which ggml's C code asserts against. */
    assert_int_equal(
        dw_device_tensor_set(device, w.x, &value, COUNT * sizeof value, sizeof value, &error),
        DW_E_DEVICE);
    assert_non_null(strstr(error.message, "CPU: "));
    assert_non_null(strstr(error.message, "out of bounds"));
    assert_false(dw_device_lost(device));
    end_fixture(&w);
    check_computes(device);
    dw_device_close(device);
}

/* ---- a graph that gives up ---- */

static void test_device_goes_on_after_a_graph_gave_up(void **state)
{
    (void)state;
    dw_error error = {0};
    dw_device *device = open_device("CPU", 1);
    fixture w;
    make_fixture(&w, device, true, NULL);
    assert_int_equal(dw_device_run(device, w.graph, NULL, &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "CPU: "));
    assert_non_null(strstr(error.message, "stopped on purpose"));
    end_fixture(&w);
    assert_false(dw_device_lost(device));
    check_computes(device);

    make_fixture(&w, device, true, "CUDA error: out of memory\n");
    assert_int_equal(dw_device_run(device, w.graph, NULL, &error), DW_E_MEMORY);
    assert_string_equal(error.message, "CPU: CUDA error: out of memory (in alloc)");
    assert_int_equal(dw_device_run(device, w.graph, NULL, NULL), DW_E_MEMORY);
    end_fixture(&w);
    check_computes(device);

    /* cuBLAS, as old and as new versions say it. */
    static const char *const blas[] = {"CUDA error: CUBLAS_STATUS_ALLOC_FAILED\n",
                                       "CUDA error: the resource allocation failed\n"};
    for (size_t i = 0; i < sizeof blas / sizeof blas[0]; i++) {
        make_fixture(&w, device, true, blas[i]);
        assert_int_equal(dw_device_run(device, w.graph, NULL, NULL), DW_E_MEMORY);
        end_fixture(&w);
        check_computes(device);
    }

    make_fixture(&w, device, true, "CUDA error: an illegal memory access was encountered\n");
    assert_int_equal(dw_device_run(device, w.graph, NULL, &error), DW_E_DEVICE);
    end_fixture(&w);
    dw_device_close(device);
}

static void test_device_with_threads_is_lost_and_others_go_on(void **state)
{
    (void)state;
    dw_error error = {0};
    dw_device *other = open_device("CPU", 2);
    dw_device *device = open_device("CPU", 2);
    fixture w;
    make_fixture(&w, device, true, NULL);
    assert_int_equal(dw_device_run(device, w.graph, NULL, &error), DW_E_DEVICE);
    assert_true(dw_device_lost(device));
    assert_int_equal(dw_device_run(device, w.graph, NULL, &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "CPU: was lost: "));
    assert_non_null(strstr(error.message, "stopped on purpose"));
    end_fixture(&w);
    dw_device_close(device);
    check_computes(other);
    dw_device_close(other);
}

static void test_device_that_was_lost_refuses_all_and_frees_nothing(void **state)
{
    (void)state;
    dw_error error = {0};
    dw_device *device = open_device("CPU", 1);
    dw_kv_log *log = NULL;
    ggml_backend_buffer_t buffer = NULL;
    dw_kv_log_options options = {
        .record_bytes = 64, .capacity_tokens = 1024, .in_device_memory = true};
    fixture w;
    make_fixture(&w, device, false, NULL);
    assert_int_equal(dw_kv_log_create(&log, device, &options, &error), DW_OK);
    assert_int_equal(dw_kv_log_reserve(log, 10, &error), DW_OK);
    dw_device_mark_lost(device, "CUDA error: an illegal memory access was encountered (in launch)");
    dw_device_mark_lost(device, "a second failure");

    const char *message = "CPU: was lost: CUDA error: an illegal memory access was encountered "
                          "(in launch)";
    float value = 1;
    assert_int_equal(dw_device_run(device, w.graph, NULL, &error), DW_E_DEVICE);
    assert_string_equal(error.message, message);
    assert_int_equal(dw_device_tensor_set(device, w.x, &value, 0, sizeof value, &error),
                     DW_E_DEVICE);
    assert_string_equal(error.message, message);
    assert_int_equal(dw_device_tensor_get(device, w.x, &value, 0, sizeof value, &error),
                     DW_E_DEVICE);
    assert_int_equal(dw_device_tensor_fill(device, w.x, 0, 0, sizeof value, &error), DW_E_DEVICE);
    assert_int_equal(dw_device_tensor_copy(device, w.x, w.y, &error), DW_E_DEVICE);
    assert_int_equal(dw_device_check_graph(device, w.graph, &error), DW_E_DEVICE);
    assert_int_equal(dw_device_buffer_create(&buffer, device, DW_USE_WORK, 64, &error),
                     DW_E_DEVICE);
    assert_null(buffer);
    assert_int_equal(dw_kv_log_reserve(log, 1000, &error), DW_E_DEVICE);
    assert_int_equal(dw_kv_log_append(log, message, 1, &error), DW_E_DEVICE);
    assert_int_equal(dw_kv_log_length(log), 0);

    dw_kv_log_destroy(log);
    end_fixture(&w);
    dw_device_close(device);
}

static void test_device_memory_is_counted(void **state)
{
    (void)state;
    dw_error error = {0};
    dw_device *device = open_device("CPU", 1);
    dw_device_counters *counters = dw_device_counters_of(device);
    ggml_backend_buffer_t buffer = NULL;
    fixture w;
    assert_int_equal(dw_device_buffer_create(&buffer, device, DW_USE_KV, 4096, &error), DW_OK);
    assert_int_equal(atomic_load(&counters->used_bytes[DW_USE_KV]), 4096);
    make_fixture(&w, device, false, NULL);
    assert_true(atomic_load(&counters->used_bytes[DW_USE_WORK]) >= COUNT * sizeof(float));
    end_fixture(&w);
    dw_device_buffer_destroy(device, DW_USE_KV, buffer);
    for (int i = 0; i < DW_USE_COUNT; i++) {
        assert_int_equal(atomic_load(&counters->used_bytes[i]), 0);
    }
    dw_device_close(device);
}

/* ---- what CUDA's failures are told as ---- */

static void test_cuda_trouble_names_its_reason(void **state)
{
    (void)state;
    char text[192];
    dw__cuda_info none = {.built = false};
    assert_false(dw__cuda_describe_absence(&none, text, sizeof text));
    dw__cuda_info fine = {.built = true, .device_count = 1};
    assert_false(dw__cuda_describe_absence(&fine, text, sizeof text));
    dw__cuda_info no_driver = {.built = true, .runtime_version = 13000, .error = "no driver"};
    assert_true(dw__cuda_describe_absence(&no_driver, text, sizeof text));
    assert_non_null(strstr(text, "no driver"));
    dw__cuda_info old = {.built = true, .driver_version = 12040, .runtime_version = 13000};
    assert_true(dw__cuda_describe_absence(&old, text, sizeof text));
    assert_non_null(strstr(text, "up to 12.4, this build needs 13"));
    dw__cuda_info lacking = {.built = true,
                             .driver_version = 13000,
                             .runtime_version = 13000,
                             .device_count = 1,
                             .missing = "libcublas.so.13"};
    assert_true(dw__cuda_describe_absence(&lacking, text, sizeof text));
    assert_non_null(strstr(text, "libcublas.so.13 was not found"));
    assert_non_null(strstr(text, "cuBLAS of CUDA 13"));
    dw__cuda_info empty = {.built = true,
                           .driver_version = 13000,
                           .runtime_version = 12080,
                           .error = "no CUDA-capable device is detected"};
    assert_true(dw__cuda_describe_absence(&empty, text, sizeof text));
    assert_non_null(strstr(text, "no CUDA-capable device is detected"));
}

static void test_cuda_hints_explain_failures(void **state)
{
    (void)state;
    char text[160];
    dw__cuda_device_info pascal = {.capability = 61};
    dw__cuda_describe_problem(
        "CUDA error: no kernel image is available for execution on the device", &pascal,
        "800,860,900,1200", text, sizeof text);
    assert_non_null(strstr(text, "capability 6.1, this build has code for 8.0, 8.6, 9.0, 12.0"));
    dw__cuda_describe_problem("CUDA error: no kernel image is available", &pascal, "", text,
                              sizeof text);
    assert_non_null(strstr(text, "CMAKE_CUDA_ARCHITECTURES=61"));
    dw__cuda_describe_problem("CUDA-capable device(s) is/are busy or unavailable", &pascal, "",
                              text, sizeof text);
    assert_non_null(strstr(text, "another process"));
    dw__cuda_describe_problem("CUDA error: out of memory", &pascal, "", text, sizeof text);
    assert_non_null(strstr(text, "nvidia-smi"));
    dw__cuda_describe_problem("something else", &pascal, "", text, sizeof text);
    assert_string_equal(text, "");
}

static void test_device_that_is_not_there_is_named_with_the_reason(void **state)
{
    (void)state;
    dw_error error = {0};
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "nosuch0", 1, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "no device 'nosuch0': there are "));
    assert_non_null(strstr(error.message, "CPU"));
    assert_int_equal(dw_device_open(&device, "CUDA77", 1, &error), DW_E_NOT_FOUND);
    dw__cuda_info cuda;
    dw__cuda_probe(&cuda);
    if (!cuda.built) {
        assert_non_null(strstr(error.message, "this build has no CUDA part"));
    }
}

/* ---- a card whose memory runs out ---- */

static dw_device *open_cuda(void)
{
    const char *name = getenv("DW_TEST_DEVICE");
    if (name == NULL || strncmp(name, "CUDA", 4) != 0) {
        skip();
    }
    return open_device(name, 0);
}

static void test_cuda_out_of_memory_ends_the_allocation_only(void **state)
{
    (void)state;
    dw_device *device = open_cuda();
    dw_error error = {0};
    dw_kv_log *log = NULL;
    size_t record = (size_t)1 << 20;
    /* Four times the card's memory. */
    uint32_t tokens = (uint32_t)(dw_device_info_of(device)->memory_bytes / record * 4);
    dw_kv_log_options options = {.record_bytes = record, .capacity_tokens = tokens};
    assert_int_equal(dw_kv_log_create(&log, device, &options, &error), DW_OK);
    assert_int_equal(dw_kv_log_reserve(log, tokens, &error), DW_E_MEMORY);
    print_message("%s\n", error.message);
    assert_false(dw_device_lost(device));
    assert_int_equal(dw_kv_log_reserve(log, 16, &error), DW_OK);
    dw_kv_log_destroy(log);
    check_computes(device);
    dw_device_close(device);
}

/* Products that need temporary memory of ggml's pool, with nothing left to take it from. */
static void test_cuda_out_of_memory_ends_the_graph_only(void **state)
{
    (void)state;
    dw_device *device = open_cuda();
    dw_error error = {0};
    enum { SIDE = 4096, HOGS = 64 };
    ggml_backend_buffer_t hogs[HOGS] = {NULL};
    struct ggml_init_params params = {.mem_size = 1 << 20, .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    /* F16 by F32 in many columns goes through cuBLAS, which wants the columns as halves. */
    struct ggml_tensor *a = ggml_new_tensor_2d(ggml, GGML_TYPE_F16, SIDE, SIDE);
    struct ggml_tensor *b = ggml_new_tensor_2d(ggml, GGML_TYPE_F32, SIDE, SIDE);
    struct ggml_tensor *c = ggml_mul_mat(ggml, a, b);
    struct ggml_cgraph *graph = ggml_new_graph(ggml);
    ggml_gallocr_t allocator = NULL;
    ggml_build_forward_expand(graph, c);
    assert_int_equal(dw_device_graph_allocate(&allocator, device, graph, &error), DW_OK);
    int count = 0;
    for (size_t bytes = (size_t)64 << 30; bytes >= ((size_t)1 << 20) && count < HOGS;) {
        if (dw_device_buffer_create(&hogs[count], device, DW_USE_KV, bytes, &error) == DW_OK) {
            count++;
        } else {
            assert_int_equal(error.code, DW_E_MEMORY);
            bytes /= 2;
        }
    }
    dw_status status = dw_device_run(device, graph, NULL, &error);
    print_message("%d %s\n", (int)status, status != DW_OK ? error.message : "");
    assert_int_equal(status, DW_E_MEMORY);
    assert_false(dw_device_lost(device));
    while (count > 0) {
        dw_device_buffer_destroy(device, DW_USE_KV, hogs[--count]);
    }
    for (int i = 0; i < 4; i++) { /* more than once: the third is replayed as a CUDA graph */
        assert_int_equal(dw_device_run(device, graph, NULL, &error), DW_OK);
    }
    dw_device_graph_free(device, allocator);
    ggml_free(ggml);
    check_computes(device);
    dw_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ggml_guard_turns_an_abort_into_a_status),
        cmocka_unit_test(test_ggml_guard_leaves_other_aborts_alone),
        cmocka_unit_test(test_ggml_guard_catches_ggmls_own_asserts),
        cmocka_unit_test(test_device_goes_on_after_a_graph_gave_up),
        cmocka_unit_test(test_device_with_threads_is_lost_and_others_go_on),
        cmocka_unit_test(test_device_that_was_lost_refuses_all_and_frees_nothing),
        cmocka_unit_test(test_device_memory_is_counted),
        cmocka_unit_test(test_cuda_trouble_names_its_reason),
        cmocka_unit_test(test_cuda_hints_explain_failures),
        cmocka_unit_test(test_device_that_is_not_there_is_named_with_the_reason),
        cmocka_unit_test(test_cuda_out_of_memory_ends_the_allocation_only),
        cmocka_unit_test(test_cuda_out_of_memory_ends_the_graph_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
