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

extern "C" const bool dw_cuda_node_built = true;
