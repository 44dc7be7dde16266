/* A launch of a product, by one of two kernels: cuda_products_cuda.cu chooses, and has the one of
 * few rows. For CUDA sources. */
#ifndef DW_KERNELS_CUDA_PRODUCT_LAUNCH_INC_H
#define DW_KERNELS_CUDA_PRODUCT_LAUNCH_INC_H

#include <ggml-backend.h>

extern "C" {
#include "kernels/cuda_launch.h"
}
#include "kernels/cuda_hopper.inc.h"

#define BLOCK_RESERVE 1024u /* bytes of shared memory a block, the driver's */

struct product_args {
    const float *x;    /* [rows][columns] */
    const float *norm; /* [columns]; NULL: x is not normed */
    const unsigned char *weights[DW_CUDA_PRODUCT_TABLES];
    const float *bias[DW_CUDA_PRODUCT_TABLES]; /* NULL: none */
    const float *residual;                     /* as y; NULL: none */
    float *y;                                  /* [rows][y_length] */
    uint32_t tiles[DW_CUDA_PRODUCT_TABLES];    /* of 16 rows */
    uint32_t columns;
    uint32_t y_length;
    uint32_t rows; /* of x */
    uint32_t tile_count;
    uint32_t piece_stages; /* of a tile's, that are added up before those of its next piece */
    uint32_t ring;         /* ring_size */
    float epsilon;
    uint32_t activation; /* dw_cuda_activation */
};

/* What the devices here have in common: the least of each. */
struct device_summary {
    int major;
    int multiprocessors;
    size_t shared; /* bytes that a block may have */
    bool hopper;   /* this program has code for them that knows of clusters and early launches */
};

device_summary dw_cuda_devices_here(void);

/* Products whose blocks share x's columns (cuda_shares_cuda.cu), on devices with clusters. */

/* Rows of x that a launch may have, of those of `of`; 0: none. With `low` parts a row has the same
 * bits as by the other kernel. */
uint32_t dw_cuda_shares_rows(int type, const product_args &of, bool low);
/* `a` of at most so many rows; its ring is chosen here. */
void dw_cuda_shares_launch(int type, product_args a, bool low, cudaStream_t stream);

#endif
