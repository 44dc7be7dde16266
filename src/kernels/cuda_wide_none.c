/* Builds without CUDA: no device serves such nodes, so none is made. */
#include "kernels/cuda_wide.h"

#define NONE(name)                                                                                 \
    void name(const struct ggml_tensor *node, void *stream)                                        \
    {                                                                                              \
        DW_ASSERT(node == NULL && stream == NULL);                                                 \
    }

NONE(dw_cuda_launch_pack)
NONE(dw_cuda_launch_wide)
NONE(dw_cuda_launch_scratch)
NONE(dw_cuda_launch_gate)

uint32_t dw_cuda_wide_rows(int type, uint64_t values)
{
    (void)type, (void)values;
    return 0;
}

void dw_cuda_wide_force(uint32_t rows)
{
    (void)rows;
}
