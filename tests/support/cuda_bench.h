/* A small graph of nodes of our own on the CUDA device of cuda_fixture.h, for tests of each. */
#ifndef DW_TESTS_CUDA_BENCH_H
#define DW_TESTS_CUDA_BENCH_H

#include "cuda_fixture.h"
#include "model/cuda_ops.h"

#define CUDA_BENCH_TOKENS 160u
#define CUDA_BENCH_SCRATCH_BYTES ((size_t)64 << 20)
#define CUDA_BENCH_CANDIDATES 8u

/* The graph and what its tensors lie in. */
typedef struct cuda_bench {
    struct ggml_context *ggml;
    struct ggml_cgraph *graph;
    ggml_backend_buffer_t data;
    ggml_backend_buffer_t own;    /* attention's scratch, zero; also tells whose inputs are */
    ggml_backend_buffer_t locked; /* rows, then ids, then candidates */
    dw_cuda_token *rows;          /* [CUDA_BENCH_TOKENS] */
    int32_t *ids;                 /* [CUDA_BENCH_TOKENS] */
    dw_top_k *candidates;         /* [CUDA_BENCH_CANDIDATES] */
    dw_cuda_table table;
} cuda_bench;

/* A graph of `token_count` tokens whose first node is their table. A failure fails the test. */
void cuda_bench_open(cuda_bench *b, uint32_t token_count);
/* A tensor whose data lies at `data`. */
struct ggml_tensor *cuda_placed(cuda_bench *b, struct ggml_tensor *tensor, void *data);
/* Nothing is made of the context any more; what an input holds follows. */
void cuda_bench_allocate(cuda_bench *b);
void cuda_bench_run(cuda_bench *b);
void cuda_bench_close(cuda_bench *b);
/* All of a tensor's bytes; the caller's to free. */
void *cuda_get(const struct ggml_tensor *tensor);
/* The caller's to free. */
float *cuda_random_floats(size_t count, float largest);

#endif
