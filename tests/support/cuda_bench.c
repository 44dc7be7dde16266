#include "cuda_bench.h"

#include <stdlib.h>
#include <string.h>

#include "device/device_memory.h"
#include "device/device_run.h"

struct ggml_tensor *cuda_placed(cuda_bench *b, struct ggml_tensor *tensor, void *data)
{
    tensor->buffer = b->own;
    tensor->data = data;
    return tensor;
}

void cuda_bench_open(cuda_bench *b, uint32_t token_count)
{
    dw_error err = {0};
    size_t rows = CUDA_BENCH_TOKENS * sizeof *b->rows;
    size_t ids = CUDA_BENCH_TOKENS * sizeof *b->ids;
    size_t bytes = rows + ids + CUDA_BENCH_CANDIDATES * sizeof *b->candidates;
    *b = (cuda_bench){.ggml = cuda_new_context()};
    assert_true(token_count <= CUDA_BENCH_TOKENS);
    b->graph = ggml_new_graph(b->ggml);
    cuda_check(dw_device_buffer_create(&b->own, cuda, DW_USE_WORK, CUDA_BENCH_SCRATCH_BYTES, &err),
               &err);
    cuda_check(dw_device_buffer_fill(cuda, b->own, 0, &err), &err);
    cuda_check(dw_device_locked_create(&b->locked, cuda, bytes, &err), &err);
    unsigned char *base = ggml_backend_buffer_get_base(b->locked);
    memset(base, 0, bytes);
    b->rows = (void *)base;
    b->ids = (void *)(base + rows);
    b->candidates = (void *)(base + rows + ids);
    struct ggml_tensor *input = ggml_new_tensor_2d(b->ggml, GGML_TYPE_I64, 4, token_count);
    dw_cuda_table_make(&b->table, b->ggml, cuda_placed(b, input, base));
    ggml_build_forward_expand(b->graph, b->table.rows);
}

void cuda_bench_allocate(cuda_bench *b)
{
    dw_error err = {0};
    cuda_check(dw_device_buffer_for_tensors(&b->data, cuda, DW_USE_WORK, b->ggml, &err), &err);
}

void cuda_bench_run(cuda_bench *b)
{
    dw_error err = {0};
    cuda_check(dw_device_run(cuda, b->graph, NULL, &err), &err);
}

void cuda_bench_close(cuda_bench *b)
{
    dw_device_buffer_destroy(cuda, DW_USE_WORK, b->data);
    dw_device_locked_destroy(cuda, b->locked);
    dw_device_buffer_destroy(cuda, DW_USE_WORK, b->own);
    ggml_free(b->ggml);
}

void *cuda_get(const struct ggml_tensor *tensor)
{
    dw_error err = {0};
    void *to = malloc(ggml_nbytes(tensor));
    assert_non_null(to);
    cuda_check(dw_device_tensor_get(cuda, tensor, to, 0, ggml_nbytes(tensor), &err), &err);
    return to;
}

float *cuda_random_floats(size_t count, float largest)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = cuda_random(-largest, largest);
    }
    return values;
}
