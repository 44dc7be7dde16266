/* Products of many rows on CUDA devices by cuBLAS, and the kernels between them: what each is
 * launched with. src/model/cuda_products.c makes graph nodes of them.
 * Thread: the one that computes the graph. */
#ifndef DW_KERNELS_CUDA_WIDE_H
#define DW_KERNELS_CUDA_WIDE_H

#include "kernels/cuda_launch.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DW_CUDA_WIDE_CHUNK 8u /* columns, and rows of a gate, come in multiples of so many */
#define DW_CUDA_SCRATCH_VALUES (1u << 24) /* of weights that are widened at once, about */

/* Rows of x from which on a matrix of so many values is multiplied with in this way; 0: never. */
uint32_t dw_cuda_wide_rows(int type, uint64_t values);
/* Test hook: from so many on; 0: as is best. */
void dw_cuda_wide_force(uint32_t rows);

/* x F32 [columns, n] -> rounded to the node's type, BF16 or F16; where there is a second source,
 * normed with it, `epsilon` the parameter, a float. */
void dw_cuda_launch_pack(const struct ggml_tensor *node, void *stream);
/* Sources as DW_CUDA_PRODUCT_X and those behind it, x as a pack left it; in the place of the norm's
 * weights, for quantised weights, a scratch of BF16 values. What is added may be the result's own
 * memory. With biases or what is added the result is F32; else F32 or as x. */
#define DW_CUDA_PRODUCT_SCRATCH DW_CUDA_PRODUCT_NORM
void dw_cuda_launch_wide(const struct ggml_tensor *node, void *stream);
/* Within such a launch: `count` rows of a quantised matrix to BF16 (cuda_widen_cuda.cu). */
void dw_cuda_widen_rows(const struct ggml_tensor *weight, uint32_t row, uint32_t count, void *to,
                        void *stream);
void dw_cuda_launch_scratch(const struct ggml_tensor *node, void *stream);
/* [2 * length, n] F32 or BF16, biases [length] of both halves or NULL -> [length, n] F32, BF16 or
 * F16: the first half activated, times the second. The parameter: dw_cuda_activation, uint32_t. */
void dw_cuda_launch_gate(const struct ggml_tensor *node, void *stream);

#ifdef __cplusplus
}
#endif
#endif
