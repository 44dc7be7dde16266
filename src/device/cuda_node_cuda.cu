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

/* ggml keeps what it has recorded by a graph's first node, and where another graph has come to lie
 * at the same address, it updates the old recording. With kernels that are launched as ours are,
 * such an update reports success and runs what was there before (seen with CUDA 13.0): so what is
 * being recorded anew is made from nothing. */
static void forget_recording(ggml_backend_cuda_context &context, const ggml_tensor *node)
{
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    CUDA_CHECK(cudaStreamIsCapturing(context.stream(), &status));
    if (status != cudaStreamCaptureStatusActive) {
        return;
    }
    for (auto &entry : context.cuda_graphs) {
        ggml_cuda_graph &recorded = *entry.second;
        if (recorded.instance == nullptr) {
            continue; /* new, or forgotten at the graph's first node of ours */
        }
        for (const auto &properties : recorded.node_props) {
            if (memcmp(&properties.node, node, sizeof *node) == 0) {
                CUDA_CHECK(cudaGraphExecDestroy(recorded.instance));
                recorded.instance = nullptr;
                break;
            }
        }
    }
}

extern "C" void JOIN(__wrap_, WKV7)(ggml_backend_cuda_context &context, ggml_tensor *node)
{
    if (dw_cuda_node_is(node)) {
        forget_recording(context, node);
        dw_cuda_node_launch(node)(node, context.stream());
        CUDA_CHECK(cudaGetLastError());
    } else {
        JOIN(__real_, WKV7)(context, node);
    }
}

extern "C" const bool dw_cuda_node_built = true;
