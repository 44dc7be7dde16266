/* Products by cuBLAS within launches of nodes of ours (cuda_node.h), for the graph whose node it
 * is. Thread: the launch's. */
#ifndef DW_DEVICE_CUDA_GEMM_H
#define DW_DEVICE_CUDA_GEMM_H

#include "device/cuda_node.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sums are floats: y [n][y_length] from its first column on gets, or is added, x [n][columns] times
 * the rows of weights [rows][columns]. */
typedef struct dw_cuda_gemm {
    const void *weights;
    const void *x;
    void *y;
    enum ggml_type type;   /* of both factors: BF16 or F16 */
    enum ggml_type y_type; /* F32, or that of the factors */
    uint32_t columns;
    uint32_t rows;
    uint32_t n;
    uint32_t y_length;
    bool adds;
} dw_cuda_gemm;
void dw_cuda_gemm_launch(const dw_cuda_gemm *gemm);

/* Whether values of a quantised type can be had as BF16; on any thread. */
bool dw_cuda_widens(enum ggml_type type);
/* `count` of them that lie together. */
void dw_cuda_widen(enum ggml_type type, const void *from, void *to, size_t count);

#ifdef __cplusplus
}
#endif
#endif
