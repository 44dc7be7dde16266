/* The linker leads ggml's calls of ggml_cuda_op_rwkv_wkv7 here (--wrap). */
#include <common.cuh>

extern "C" {
#include "device/cuda_node.h"
}

/* ggml_cuda_op_rwkv_wkv7(ggml_backend_cuda_context &, ggml_tensor *), as C++ names it. */
#define WKV7 _Z22ggml_cuda_op_rwkv_wkv7R25ggml_backend_cuda_contextP11ggml_tensor
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

extern "C" void JOIN(__real_, WKV7)(ggml_backend_cuda_context &context, ggml_tensor *node);
extern "C" void JOIN(__wrap_, WKV7)(ggml_backend_cuda_context &context, ggml_tensor *node);

extern "C" void JOIN(__wrap_, WKV7)(ggml_backend_cuda_context &context, ggml_tensor *node)
{
    if (dw_cuda_node_is(node)) {
        dw_cuda_node_launch(node)(node, context.stream());
        CUDA_CHECK(cudaGetLastError());
    } else {
        JOIN(__real_, WKV7)(context, node);
    }
}

extern "C" bool dw_cuda_node_served(const dw_device *device)
{
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(dw_device_handle(device));
    return reg != nullptr && strcmp(ggml_backend_reg_name(reg), GGML_CUDA_NAME) == 0;
}
