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

/* Rows with different sets in one graph: each of its nodes does for a row what those above would
 * for that row's set, in the same order, so that its sums are the same. Which set a row has stands
 * in `which`, I32 [1, n], for each run anew: a number of `sets`, or -1: none. */
typedef struct dw_adapter_mixed {
    const struct dw_adapter_mix *mix;
    const struct ggml_tensor *weight;
    const dw_adapter_pair *table; /* of a node for rows of a table; then without a weight */
} dw_adapter_mixed;
typedef struct dw_adapter_mix {
    const dw_adapter_set **sets; /* [set_count], the run's; one may be NULL */
    uint32_t set_count;
    const dw_adapter_set *all; /* dw_adapter_set_all's */
    dw_adapter_mixed *nodes;   /* [node_count] */
    size_t node_count;
} dw_adapter_mix;
/* `all` outlives it. Errors: DW_E_MEMORY. */
dw_status dw_adapter_mix_create(dw_adapter_mix **out, const dw_adapter_set *all, uint32_t set_count,
                                dw_error *err);
/* NULL is fine. */
void dw_adapter_mix_destroy(dw_adapter_mix *mix);
/* What a node is made of. */
typedef struct dw_adapter_rows {
    struct ggml_tensor *which;
    struct ggml_tensor *x; /* of a product [columns, n], of rows of a table z [rank, n] */
    struct ggml_tensor *y; /* [rows, n] */
} dw_adapter_rows;
/* y, the product of x with the weight, which some of `all` changes -> with what each row's set adds
 * to it. Thread: the graph's builder. */
struct ggml_tensor *dw_adapter_mixed_product(dw_adapter_mix *mix, struct ggml_context *ggml,
                                             const struct ggml_tensor *weight,
                                             const dw_adapter_rows *rows);
/* y, rows of a table -> with what `use`, one of all->tables, adds to those whose set has it. */
struct ggml_tensor *dw_adapter_mixed_second(dw_adapter_mix *mix, struct ggml_context *ggml,
                                            const dw_adapter_use *use, const dw_adapter_rows *rows);

/* Multiplications in a node of these, each column of which comes of the same column of its sources
 * alone; 0: it is none. */
uint64_t dw_adapter_product_work(const struct ggml_tensor *node);

#endif
