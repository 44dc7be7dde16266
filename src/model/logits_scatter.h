/* The last matrix product of a step over several sequences: each row of logits is written where its
 * owner wants it, which no tensor with equal strides can say. On the CPU. */
#ifndef DW_MODEL_LOGITS_SCATTER_H
#define DW_MODEL_LOGITS_SCATTER_H

#include "model/matmul.h"

/* Filled before each run; at a fixed address while the graph lives. */
typedef struct dw_logits_scatter {
    const dw_model_shape *shape;
    const dw_linear *output;
    float **rows; /* [rows of the graph][vocab_count]; NULL in it: nobody wants that row */
    const struct ggml_tensor *node; /* where it is the product itself; NULL: `matmul` is */
    uint32_t from; /* of the node's units, those that a run of it does: [from, to) */
    uint32_t to;
} dw_logits_scatter;

/* x [embedding, rows], F32, normed; `matmul`: the product, NULL: ggml's vec_dot. The node must be
 * put into the graph; it has no result of its own. Thread: the graph's builder. */
struct ggml_tensor *dw_logits_scatter_node(dw_logits_scatter *into, dw_matmul *matmul,
                                           struct ggml_context *ggml, struct ggml_tensor *x);

/* The product alone -> F32 [vocab, rows], each row as if it were alone; for what adapters add to
 * it, and then the next. As above. */
struct ggml_tensor *dw_logits_scatter_product(dw_logits_scatter *into, dw_matmul *matmul,
                                              struct ggml_context *ggml, struct ggml_tensor *x);
/* Of logits [vocab, rows] that are computed, but for what stands beside the product: the output's
 * bias, scale and cap. As above. */
struct ggml_tensor *dw_logits_scatter_rows_node(dw_logits_scatter *into, struct ggml_context *ggml,
                                                struct ggml_tensor *logits);

/* As dw_matmul_units and dw_matmul_set_units; `scatter` may be NULL. */
uint32_t dw_logits_scatter_units(const dw_logits_scatter *scatter, const struct ggml_tensor *node,
                                 uint64_t *work);
void dw_logits_scatter_set_units(dw_logits_scatter *scatter, uint32_t from, uint32_t to);

#endif
