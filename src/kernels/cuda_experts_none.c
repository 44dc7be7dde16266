/* Builds without CUDA: no device serves such nodes, so none is made. */
#include "kernels/cuda_experts.h"

bool dw_cuda_experts_serve(int type, const dw_cuda_experts_size *size, bool down)
{
    (void)type, (void)size, (void)down;
    return false;
}

bool dw_cuda_router_serves(int type, uint32_t columns)
{
    (void)type, (void)columns;
    return false;
}

void dw_cuda_launch_router(const struct ggml_tensor *node, void *stream)
{
    DW_ASSERT(node == NULL && stream == NULL);
}

void dw_cuda_launch_experts(const struct ggml_tensor *node, void *stream)
{
    DW_ASSERT(node == NULL && stream == NULL);
}
