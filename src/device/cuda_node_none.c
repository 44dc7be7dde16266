/* Builds without CUDA. */
#include "device/cuda_node.h"

bool dw_cuda_node_served(const dw_device *device)
{
    (void)device;
    return false;
}
