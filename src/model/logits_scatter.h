/* The last matrix product of a step over several sequences: each row of logits is written where its
 * owner wants it, which no tensor with equal strides can say. On the CPU. */
#ifndef DW_MODEL_LOGITS_SCATTER_H
#define DW_MODEL_LOGITS_SCATTER_H

#include "model/matmul.h"

/* Filled before each run; at a fixed address while the graph lives. */
typedef struct dw_logits_scatter {
    const dw_model_shape *shape;
    const dw_linear *output;
    float **rows; /* [rows of the graph][vocab_count] */
} dw_logits_scatter;

/* x [embedding, rows], F32, normed; `matmul`: the product, NULL: ggml's vec_dot. The node must be
 * put into the graph; it has no result of its own. Thread: the graph's builder. */
struct ggml_tensor *dw_logits_scatter_node(dw_logits_scatter *into, dw_matmul *matmul,
                                           struct ggml_context *ggml, struct ggml_tensor *x);

#endif
