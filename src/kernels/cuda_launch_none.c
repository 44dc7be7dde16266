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
NONE(dw_cuda_launch_mask)
NONE(dw_cuda_launch_place_rows)
NONE(dw_cuda_launch_pieces)
NONE(dw_cuda_launch_top_k)
