/* Large operations in parts: a run of the CPU is left between the nodes of its graph, and one node
 * of ggml's can take minutes. An operation of much work becomes several nodes, each of which writes
 * its part of one result. Every element is computed as in one node, bit by bit: products are cut
 * between rows and columns, other operations between rows. */
#ifndef DW_TENSOR_TENSOR_PARTS_INTERNAL_H
#define DW_TENSOR_TENSOR_PARTS_INTERNAL_H

#include "tensor/tensor_node_internal.h"

/* How a product a [k, m, ..], b [k, n, ..] is cut. */
typedef struct dw__product_cut {
    int64_t rows;    /* of a, in a part */
    int64_t columns; /* of b */
    int64_t planes;  /* of the third dimension */
    size_t count;    /* of parts; 1: it stays whole */
} dw__product_cut;

dw__product_cut dw__cut_product(const int64_t *a_ne, const int64_t *b_ne);
/* Rows in a part of an operation on all elements of `ne`, one row by itself at least; `*count`
 * parts, 1: it stays whole. */
int64_t dw__cut_rows(const int64_t *ne, size_t *count);

/* ggml tensors that `count` parts take. */
static inline size_t dw__part_tensors(size_t count)
{
    return count > 1 ? 3 * count + 4 : 0;
}

/* What the parts write into. */
typedef struct dw__parts {
    struct ggml_context *context;
    dw__built *built; /* its list of parts has room (dw__parts_reserve) */
} dw__parts;

/* Room for `count` parts in all. Errors: DW_E_MEMORY. */
dw_status dw__parts_reserve(dw__built *built, size_t count, dw_error *err);
/* a and b have ordinary strides. The result is in the graph, behind its parts. */
struct ggml_tensor *dw__product_in_parts(const dw__parts *parts, const dw__product_cut *cut,
                                         struct ggml_tensor *a, struct ggml_tensor *b);
/* The same for `one`, which makes the node of an operation on rows, F32 and of the same sizes. */
typedef struct ggml_tensor *(*dw__row_operation)(struct ggml_context *context,
                                                 struct ggml_tensor *rows, const void *user);
struct ggml_tensor *dw__rows_in_parts(const dw__parts *parts, int64_t part_rows,
                                      struct ggml_tensor *a, dw__row_operation one,
                                      const void *user);
/* The node behind a stretch that begins with node `from`: some milliseconds' work. */
int dw__stretch_end(struct ggml_cgraph *graph, int from);

/* Once the results have their addresses, and whenever these change. */
void dw__parts_place(const dw__built *built);

#endif
