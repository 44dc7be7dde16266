/* Builds without CUDA: no device serves such nodes, so none is made. */
#include "kernels/cuda_launch.h"

#define NONE(name)                                                                                 \
    void name(const struct ggml_tensor *node, void *stream)                                        \
    {                                                                                              \
        DW_ASSERT(node == NULL && stream == NULL);                                                 \
    }

NONE(dw_cuda_launch_table)
NONE(dw_cuda_launch_rope)
NONE(dw_cuda_launch_append)
NONE(dw_cuda_launch_attend)
NONE(dw_cuda_launch_tiles)
NONE(dw_cuda_launch_mask)
NONE(dw_cuda_launch_place_rows)
NONE(dw_cuda_launch_pieces)
NONE(dw_cuda_launch_top_k)
NONE(dw_cuda_launch_product)
NONE(dw_cuda_launch_repack)

uint32_t dw_cuda_product_rows(int type, uint32_t columns)
{
    (void)type, (void)columns;
    return 0;
}

size_t dw_cuda_repacked_bytes(int type, uint32_t columns, uint32_t rows)
{
    (void)type, (void)columns, (void)rows;
    return 0;
}

bool dw_cuda_dependent_launch(void)
{
    return false;
}

bool dw_cuda_cluster_launch(void)
{
    return false;
}

void dw_cuda_products_force(const dw_cuda_product_limits *limits)
{
    (void)limits;
}
