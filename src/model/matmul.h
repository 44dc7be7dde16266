/* Products on the CPU as operations of a ggml graph, instead of ggml's mul_mat: x is quantised once
 * for all matrices that share it, and a panel of rows is unpacked once for all columns. A column's
 * numbers are the same whatever the number of threads and of columns; with quantised types in
 * blocks of 32 they are those of ggml's vec_dot, bit by bit, as they are with all types that there
 * is no kernel for: each row and column goes by vec_dot then. */
#ifndef DW_MODEL_MATMUL_H
#define DW_MODEL_MATMUL_H

#include "base/crew.h"
#include "base/stop.h"
#include "model/weights.h"

#define DW_MATMUL_GROUP_MAX 3u
#define DW_MATMUL_OWN_COLUMNS 2u /* up to so many a product's node makes itself */

typedef struct dw_matmul dw_matmul;

/* Takes results: `count` rows from `row` on of column `column`. Thread: any of the graph's. */
typedef void (*dw_matmul_store)(void *user, int64_t column, int64_t row, uint32_t count,
                                const float *values);

typedef struct dw_matmul_options {
    uint32_t product_count; /* in the graph, at most */
    uint32_t length_max;    /* of a row of x: longer ones are left to ggml */
    int threads;            /* that it runs with, at most */
} dw_matmul_options;

/* For a graph; must live as long as that. *out stays NULL where the machine lacks the instructions.
 * Errors: DW_E_MEMORY. */
dw_status dw_matmul_create(dw_matmul **out, const dw_matmul_options *options, dw_error *err);
void dw_matmul_destroy(dw_matmul *matmul);
/* Who is asked within products of the runs from now on: what is left then has anything in it, and
 * the run is given up behind it (dw_device_run). Borrowed; `matmul` and `stops` may be NULL.
 * Thread: not during a run. */
void dw_matmul_set_stops(dw_matmul *matmul, const dw_stops *stops);

/* Nodes that make their columns themselves have the crew help them where ggml has one thread for
 * them. The numbers are the same. Thread: the graph's builder, once all nodes are there.
 * Errors: DW_E_MEMORY. */
dw_status dw_matmul_set_crew(dw_matmul *matmul, dw_crew *crew, dw_error *err);

/* Units of work in a node of dw_matmul_node or dw_matmul_store_node, of about the same size, and
 * the multiplications in all of them; 0: it is none of `matmul`'s, which may be NULL. */
uint32_t dw_matmul_units(dw_matmul *matmul, const struct ggml_tensor *node, uint64_t *work);
/* Of those the next run of the node, which has it alone, does [from, to). What the node multiplies
 * was made by a run before. Thread: not during a run. */
void dw_matmul_set_units(dw_matmul *matmul, const struct ggml_tensor *node, uint32_t from,
                         uint32_t to);

/* Whether the node makes columns for such a product of rows of x, each by itself. */
bool dw_matmul_is_columns(const dw_matmul *matmul, const struct ggml_tensor *node);

/* x [columns, n], F32, times `count` matrices, biases added -> [all their rows, n], in order.
 * Where x is a row that ggml's nodes would norm, the product does it, with the same bits.
 * NULL: together there is no way for them; `matmul` may be NULL. Thread: the graph's builder. */
struct ggml_tensor *dw_matmul_node(dw_matmul *matmul, struct ggml_context *ggml,
                                   const dw_linear *with, uint32_t count, struct ggml_tensor *x);
/* The product `node`, which is not in a graph yet, is to add x, of its shape, to what it gives,
 * with the bits of a node of ggml. False: it stays as it is. Thread: the graph's builder. */
bool dw_matmul_add(dw_matmul *matmul, struct ggml_tensor *node, struct ggml_tensor *x);
/* The same with one matrix, without its bias, whose results `store` takes, which is called with
 * `user` while the graph runs. The node must be put into the graph; it has no result of its own. */
struct ggml_tensor *dw_matmul_store_node(dw_matmul *matmul, struct ggml_context *ggml,
                                         struct ggml_tensor *weight, struct ggml_tensor *x,
                                         dw_matmul_store store, void *user);

#endif
