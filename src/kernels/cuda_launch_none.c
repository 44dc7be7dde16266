/* Builds without CUDA: no device serves such nodes, so none is made. */
#include "kernels/cuda_launch.h"

#define NONE(name)                                                                                 \
    void name(const struct ggml_tensor *node, void *stream)                                        \
    {                                                                                              \
        DW_ASSERT(node == NULL && stream == NULL);                                                 \
    }

NONE(dw__cuda_launch_table)
NONE(dw__cuda_launch_rope)
NONE(dw__cuda_launch_append)
NONE(dw__cuda_launch_attend)
NONE(dw__cuda_launch_mask)
NONE(dw__cuda_launch_place_rows)
NONE(dw__cuda_launch_pieces)
NONE(dw__cuda_launch_candidates)
