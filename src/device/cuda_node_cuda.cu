/* The linker leads ggml's calls of ggml_cuda_op_rwkv_wkv7 here (--wrap). */
#include <common.cuh>

extern "C" {
#include "device/cuda_gemm.h"
}

/* ggml_cuda_op_rwkv_wkv7(ggml_backend_cuda_context &, ggml_tensor *), as C++ names it. */
#define WKV7 _Z22ggml_cuda_op_rwkv_wkv7R25ggml_backend_cuda_contextP11ggml_tensor
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* In a header of ggml's that is not installed with common.cuh. */
typedef void (*to_bf16)(const void *from, nv_bfloat16 *to, int64_t count, cudaStream_t stream);
to_bf16 ggml_get_to_bf16_cuda(ggml_type type);

/* Of the graph whose node is being launched. */
static thread_local ggml_backend_cuda_context *computing;

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
        computing = &context;
        dw_cuda_node_launch(node)(node, context.stream());
        computing = nullptr;
        CUDA_CHECK(cudaGetLastError());
    } else {
        JOIN(__real_, WKV7)(context, node);
    }
}

extern "C" const bool dw_cuda_node_built = true;

static cudaDataType_t data_type(ggml_type type)
{
    return type == GGML_TYPE_F32 ? CUDA_R_32F : type == GGML_TYPE_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

extern "C" void dw_cuda_gemm_launch(const dw_cuda_gemm *g)
{
    const float one = 1.0f;
    const float kept = g->adds ? 1.0f : 0.0f;
    const cudaDataType_t type = data_type(g->type);
    CUBLAS_CHECK(cublasGemmEx(computing->cublas_handle(), CUBLAS_OP_T, CUBLAS_OP_N, (int)g->rows,
                              (int)g->n, (int)g->columns, &one, g->weights, type, (int)g->columns,
                              g->x, type, (int)g->columns, &kept, g->y, data_type(g->y_type),
                              (int)g->y_length, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT_TENSOR_OP));
}

extern "C" bool dw_cuda_widens(ggml_type type)
{
    return ggml_is_quantized(type) && ggml_get_to_bf16_cuda(type) != nullptr;
}

extern "C" void dw_cuda_widen(ggml_type type, const void *from, void *to, size_t count)
{
    ggml_get_to_bf16_cuda(type)(from, (nv_bfloat16 *)to, (int64_t)count, computing->stream());
}
