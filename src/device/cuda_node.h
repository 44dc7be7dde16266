/* Operations of our own in the graphs that ggml runs on a CUDA device. ggml has no operation for
 * them, so a node is encoded as an operation that no model here uses (RWKV_WKV7), and the linker
 * redirects ggml's call of that operation to us (--wrap, see cmake/DriftwoodCuda.cmake). Our
 * kernels are then in ggml's stream, and in the CUDA graphs that it records, like its own.
 * Thread: a graph's builder; launches come from the thread that computes the graph. */
#ifndef DW_DEVICE_CUDA_NODE_H
#define DW_DEVICE_CUDA_NODE_H

#include <ggml.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DW_CUDA_PARAM_BYTES 40

/* Put the operation's kernels into `stream` (a cudaStream_t). It may not wait for them, allocate,
 * or depend on anything but the node, its sources' addresses and sizes, and its parameters: the
 * launch may be recorded once and repeated many times. */
typedef void (*dw_cuda_launch)(const struct ggml_tensor *node, void *stream);

struct dw_device;

/* Whether graphs of `device` may hold such nodes. */
bool dw_cuda_node_served(const struct dw_device *device);
/* Whether this build has them at all: with CUDA. */
extern const bool dw_cuda_node_built;
/* Make `result`, a fresh tensor of its own memory, the result of `launch` over sources [count], at
 * most GGML_MAX_SRC, with `params` [param_bytes], at most DW_CUDA_PARAM_BYTES. Returns `result`. */
struct ggml_tensor *dw_cuda_node_make(struct ggml_tensor *result, dw_cuda_launch launch,
                                      struct ggml_tensor *const *sources, size_t count,
                                      const void *params, size_t param_bytes);
bool dw_cuda_node_is(const struct ggml_tensor *node);
/* What dw_cuda_node_make was given. */
const void *dw_cuda_node_params(const struct ggml_tensor *node);
dw_cuda_launch dw_cuda_node_launch(const struct ggml_tensor *node);

#ifdef __cplusplus
}
#endif
#endif
