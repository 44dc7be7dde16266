/* Mixtures of experts on CUDA devices, of few rows: what each kernel (cuda_experts_cuda.cu) is
 * launched with. src/model/cuda_products.c makes graph nodes of them.
 * Thread: the one that computes the graph. */
#ifndef DW_KERNELS_CUDA_EXPERTS_H
#define DW_KERNELS_CUDA_EXPERTS_H

#include "kernels/cuda_launch.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DW_CUDA_EXPERTS_MAX 512u
#define DW_CUDA_EXPERTS_USED_MAX 32u /* by a row: a warp chooses them, a lane each */

/* Matrices [columns, rows, experts] of one type. */
typedef struct dw_cuda_experts_size {
    uint32_t columns;
    uint32_t rows;
    uint32_t experts;
    uint32_t used; /* by each row of x */
} dw_cuda_experts_size;

/* Whether rows of x can go through such experts, whose matrices are of `type` (gate and up), or
 * that come behind these (`down`: a row of x is then [columns, used]). */
bool dw_cuda_experts_serve(int type, const dw_cuda_experts_size *size, bool down);
/* Whether there is a kernel for a router's product. */
bool dw_cuda_router_serves(int type, uint32_t columns);

/* Sources: x [columns, n] F32, what its rows are normed with (NULL: nothing), the router's matrix
 * [columns, experts]. The parameter: the norm's epsilon, a float. -> [experts, n] F32 */
enum { DW_CUDA_ROUTER_X, DW_CUDA_ROUTER_NORM, DW_CUDA_ROUTER_WEIGHT, DW_CUDA_ROUTER_SOURCES };
void dw_cuda_launch_router(const struct ggml_tensor *node, void *stream);

/* Sources: what the router gave for the rows; x, and what it is normed with; matrices of all
 * experts as dw_cuda_launch_repack leaves them. The second is `up`; without it the node is the
 * experts' last product, and x what the first node gave. */
enum {
    DW_CUDA_EXPERTS_X,
    DW_CUDA_EXPERTS_NORM,
    DW_CUDA_EXPERTS_WEIGHT,
    DW_CUDA_EXPERTS_UP,
    DW_CUDA_EXPERTS_LOGITS,
    DW_CUDA_EXPERTS_ADDED = DW_CUDA_PRODUCT_ADDED, /* to the last product */
    DW_CUDA_EXPERTS_SOURCES
};

typedef struct dw_cuda_experts_params {
    dw_cuda_experts_size size;
    float epsilon;      /* of the norm */
    uint8_t type;       /* ggml's, of the matrices */
    uint8_t activation; /* dw_cuda_activation */
    uint8_t sum_to_one; /* the weights of those that a row uses are scaled to that */
} dw_cuda_experts_params;

/* Of gate and up: each row's experts are the `used` with the largest logits, in the order of their
 * numbers; [rows, used, n] F32, activated, multiplied, and times the expert's weight. Of the last
 * product: [rows, n] F32, the sum over the experts. */
void dw_cuda_launch_experts(const struct ggml_tensor *node, void *stream);

#ifdef __cplusplus
}
#endif
#endif
