#include "cuda_fixture.h"

#include <stdlib.h>

#include "device/cuda_node.h"
#include "device/device_memory.h"
#include "device/device_run.h"

#define CONTEXT_BYTES ((size_t)1 << 20)

dw_device *cuda;

int cuda_open(void **state)
{
    const char *name = getenv("DW_TEST_DEVICE");
    dw_error err = {0};
    (void)state;
    if (name == NULL) {
        return 0;
    }
    if (dw_device_open(&cuda, name, 1, &err) != DW_OK) {
        print_error("%s\n", err.message);
        return -1;
    }
    if (!dw_cuda_node_served(cuda)) {
        dw_device_close(cuda);
        cuda = NULL;
    }
    return 0;
}

int cuda_close(void **state)
{
    (void)state;
    if (cuda != NULL) {
        dw_device_close(cuda);
    }
    return 0;
}

void cuda_check(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        fail_msg("%s", err->message);
    }
}

struct ggml_context *cuda_new_context(void)
{
    struct ggml_init_params params = {.mem_size = CONTEXT_BYTES, .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    assert_non_null(ggml);
    return ggml;
}

void cuda_set(struct ggml_tensor *tensor, const void *from)
{
    dw_error err = {0};
    cuda_check(dw_device_tensor_set(cuda, tensor, from, 0, ggml_nbytes(tensor), &err), &err);
}

float *cuda_run(struct ggml_cgraph *graph, struct ggml_tensor *result)
{
    dw_error err = {0};
    cuda_check(dw_device_run(cuda, graph, NULL, &err), &err);
    float *values = malloc(ggml_nbytes(result));
    assert_non_null(values);
    cuda_check(dw_device_tensor_get(cuda, result, values, 0, ggml_nbytes(result), &err), &err);
    return values;
}

void cuda_name_anew(struct ggml_tensor *result)
{
    static unsigned number;
    ggml_format_name(result, "%u", number++);
}

float cuda_random(float low, float high)
{
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return low + (high - low) * (float)(state >> 40) * 0x1p-24F;
}
