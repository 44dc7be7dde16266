/* Products on CUDA devices as operations of a ggml graph, with the norm before them, the biases and
 * the residual behind them, or the activation between two of them. Of a few rows in one kernel each
 * (cuda_products_cuda.cu), or in three for a mixture of experts (cuda_experts_cuda.cu): quantised
 * weights have a second form for it in the device's memory, made when a model is loaded, where that
 * has the room; BF16 and F16 are read as they are. Of many by cuBLAS, with little beside it
 * (cuda_wide_cuda.cu): quantised weights are widened in each step. */
#ifndef DW_MODEL_CUDA_PRODUCTS_H
#define DW_MODEL_CUDA_PRODUCTS_H

#include "device/device.h"
#include "kernels/cuda_launch.h"
#include "model/weights.h"

typedef struct dw_cuda_products dw_cuda_products;

/* A model's, counted with its device; *out stays NULL on other devices. What has no kernel, or no
 * room for its second form, is ggml's; `room_bytes` stay free for contexts. The device and the
 * weights outlive it.
 * Errors: DW_E_MEMORY (the host's), DW_E_DEVICE. */
dw_status dw_cuda_products_create(dw_cuda_products **out, dw_device *device,
                                  const dw_model_shape *shape, const dw_model_weights *weights,
                                  uint64_t room_bytes, dw_error *err);
/* NULL is fine. */
void dw_cuda_products_destroy(dw_cuda_products *products);

/* For the graph's builder; `products` may be NULL. x [columns, n], F32 or rounded by a gate; where
 * it is normed by ggml's nodes with the root of the mean square, the product does that. NULL: there
 * is none of ours for it. */

/* x times `count` matrices, biases added -> [all their rows, n], in order. */
struct ggml_tensor *dw_cuda_product_node(const dw_cuda_products *products,
                                         struct ggml_context *ggml, const dw_linear *with,
                                         uint32_t count, struct ggml_tensor *x);

/* What the first of two matrices of as many rows gives, activated, times what the second does. */
typedef struct dw_cuda_gate {
    const dw_linear *with; /* [count] */
    uint32_t count;        /* 2, or 1: both are in one */
    dw_cuda_activation activation;
    /* What alone reads the result, by dw_cuda_product_node: it may then be rounded. NULL: others,
     * too. */
    const dw_linear *next;
} dw_cuda_gate;
struct ggml_tensor *dw_cuda_gated_node(const dw_cuda_products *products, struct ggml_context *ggml,
                                       const dw_cuda_gate *gate, struct ggml_tensor *x);

/* A mixture of gated experts, of which a row uses those with the largest logits; their weights are
 * a softmax's. */
typedef struct dw_cuda_mixture {
    struct ggml_tensor *router;           /* [columns, experts] */
    struct ggml_tensor *gate, *up, *down; /* [columns, length, experts], back in the last */
    uint32_t used;                        /* experts of a row */
    bool sum_to_one;                      /* their weights are scaled to that */
    dw_cuda_activation activation;
} dw_cuda_mixture;
/* -> [columns, n], by kernels whose launch does not depend on which experts are chosen. */
struct ggml_tensor *dw_cuda_mixture_node(const dw_cuda_products *products,
                                         struct ggml_context *ggml, const dw_cuda_mixture *of,
                                         struct ggml_tensor *x);

/* The product `node`, which is not in a graph yet, is to add x, of its shape, to what it gives.
 * What else reads x must come before: the node may write over it. False: it is no such node. */
bool dw_cuda_product_add(struct ggml_tensor *node, struct ggml_tensor *x);

#endif
