/* An adapter's product on the CPU as operations of a ggml graph, in the place of ggml's: each
 * column's sums are the same whatever the number of columns and of threads, which ggml's products
 * with weights of F32 do not promise. On other devices ggml's serve. */
#ifndef DW_MODEL_ADAPTER_PRODUCT_H
#define DW_MODEL_ADAPTER_PRODUCT_H

#include "model/adapter_set.h"

/* y [rows, n] + scale * B (A x), x [columns, n], all F32 -> [rows, n]. The use is of one matrix,
 * not of experts, and must live as long as the graph. Thread: the graph's builder. */
struct ggml_tensor *dw_adapter_product(struct ggml_context *ggml, const dw_adapter_use *use,
                                       struct ggml_tensor *x, struct ggml_tensor *y);
/* y + scale * B z, where z [rank, n] stands for A x: of a table its rows. */
struct ggml_tensor *dw_adapter_second(struct ggml_context *ggml, const dw_adapter_use *use,
                                      struct ggml_tensor *z, struct ggml_tensor *y);

/* Multiplications in a node of these, each column of which comes of the same column of its sources
 * alone; 0: it is none. */
uint64_t dw_adapter_product_work(const struct ggml_tensor *node);

#endif
