/* Builds without CUDA. */
#include "device/cuda_node.h"

const bool dw_cuda_node_built = false;
