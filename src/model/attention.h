/* Attention on the CPU as two operations of a ggml graph: keys and values are appended to KV logs,
 * then queries attend to what the logs hold. A step may have tokens of many sequences, each with a
 * log of its own; nothing is padded, masked or copied together, and a graph serves any length.
 *
 * Work is cut by sequence, head of keys and values, rows of queries and, for few rows over many
 * records, by record. However it is cut, a token's numbers are the same, bit by bit: whatever else
 * is in the step, whichever of its own tokens are, and however many threads there are. That of a
 * tree, too, whose positions follow from its parents: as if its path had been computed alone.
 *
 * An encoder's tokens attend to all of their text, in floats and without a log. */
#ifndef DW_MODEL_ATTENTION_H
#define DW_MODEL_ATTENTION_H

#include <ggml.h>

#include "base/crew.h"
#include "base/stop.h"
#include "kernels/attention_kernel.h"
#include "model/architecture.h"

typedef struct dw_attention dw_attention;

/* Tokens that hang on one another behind a sequence's records, in the order in which theirs lie. */
typedef struct dw_attention_tree {
    uint32_t past;            /* records before the tree's first */
    uint32_t first;           /* of the tree's tokens: the step's first */
    const int32_t *parents;   /* of each token: an earlier one, or -1: the sequence's last */
    const int32_t *positions; /* of each token; what a window is counted in */
    /* [tokens][mask_width], in the place of parents: whether a token sees a record, none behind its
     * own; or NULL. */
    const uint8_t *mask;
    size_t mask_width;
} dw_attention_tree;

/* One sequence's share of a step. */
typedef struct dw_attention_sequence {
    unsigned char *records; /* its log's first; room for past + token_count. NULL: an encoder's */
    uint32_t past;          /* records before this step */
    uint32_t first_token;   /* of the step's tokens */
    uint32_t token_count;
    /* Borrowed while it is prepared. NULL: each token sees all before it. */
    const dw_attention_tree *tree;
} dw_attention_sequence;

/* For graphs of a model that run with `threads` threads at most. `shape` must outlive it.
 * Errors: DW_E_MEMORY. */
dw_status dw_attention_create(dw_attention **out, const dw_model_shape *shape, dw_kv_type type,
                              int threads, dw_error *err);
void dw_attention_destroy(dw_attention *attention);
/* As dw_matmul_set_stops. */
void dw_attention_set_stops(dw_attention *attention, const dw_stops *stops);

/* As dw_matmul_set_crew, for what attends. */
void dw_attention_set_crew(dw_attention *attention, dw_crew *crew);

/* Append a layer's keys [head_dim, kv_heads, tokens] and values, whose rows [head_dim * kv_heads]
 * may lie apart. F32. The node must be put into the graph. Thread: the graph's builder. */
struct ggml_tensor *dw_attention_append(dw_attention *attention, struct ggml_context *ggml,
                                        uint32_t layer, struct ggml_tensor *k,
                                        struct ggml_tensor *v);
/* queries [head_dim, heads, tokens], F32, times `scale` -> [heads * head_dim, tokens]. `appended`
 * is the node above. */
struct ggml_tensor *dw_attention_attend(dw_attention *attention, struct ggml_context *ggml,
                                        uint32_t layer, struct ggml_tensor *queries,
                                        struct ggml_tensor *appended);

/* An encoder's, instead of the two above: qkv[0] queries [head_dim, heads, tokens], [1] keys
 * [head_dim, kv_heads, tokens] and [2] values [head_dim * kv_heads, tokens], F32 ->
 * [heads * head_dim, tokens]. */
struct ggml_tensor *dw_attention_encode(dw_attention *attention, struct ggml_context *ggml,
                                        uint32_t layer, struct ggml_tensor **qkv);

/* As dw_matmul_units and dw_matmul_set_units, of nodes of dw_attention_attend and
 * dw_attention_encode, once a run is prepared. */
uint32_t dw_attention_units(dw_attention *attention, const struct ggml_tensor *node,
                            uint64_t *work);
void dw_attention_set_units(dw_attention *attention, const struct ggml_tensor *node, uint32_t from,
                            uint32_t to);

/* Before each run: whose tokens the step has, all of them and in order. Allocates only where a
 * step is larger than any before. Errors: DW_E_MEMORY. */
dw_status dw_attention_prepare(dw_attention *attention, const dw_attention_sequence *sequences,
                               uint32_t count, dw_error *err);

/* From here on the run neither reads nor writes the log of this one of the sequences it was
 * prepared for. Thread: not while a part of the run is computed. */
void dw_attention_leave(dw_attention *attention, uint32_t sequence);

#endif
