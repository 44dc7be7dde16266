/* The ggml graph of one forward step: tokens in, K and V appended to a KV log, logits or hidden
 * states out. An encoder has no log: all of a text goes through at once. Built here, placed and run
 * by src/inference/. */
#ifndef DW_MODEL_FORWARD_GRAPH_H
#define DW_MODEL_FORWARD_GRAPH_H

#include "model/adapter_product.h"
#include "model/attention.h"
#include "model/cuda_ops.h"
#include "model/cuda_products.h"
#include "model/logits_scatter.h"
#include "model/matmul.h"
#include "model/token_gather.h"
#include "model/weights.h"

/* What a graph gives for tokens. The hidden state is what the last layer leaves, normed: logits are
 * its product with the output matrix. */
typedef enum dw_forward_result {
    DW_RESULT_LOGITS, /* [vocab] */
    DW_RESULT_HIDDEN, /* [embedding] */
    DW_RESULT_POOLED  /* one row [embedding]: hidden states times weights, added up */
} dw_forward_result;

/* What a graph is made for, in numbers: graphs of equal sizes are the same. */
typedef struct dw_forward_size {
    uint32_t token_count;
    uint32_t kv_count;  /* records that ggml's attention looks at, padding included; of a log */
    uint32_t row_count; /* of the result, for the last tokens; 0: none; all of them with POOLED */
    dw_forward_result result; /* an encoder gives no logits */
    dw_kv_type kv_type;
    bool long_context; /* of more tokens than rope_context: which rope factors are taken */
    /* On the CPU, with dw_attention: tokens of several sequences, each of which is read, and each
     * row of logits written, at an address of its own. */
    bool several;
    /* With CUDA operations (cuda_ops.h), not for encoders: a table says of each token where it
     * comes from and goes. With a kv_count of 0 attention is such an operation as well. */
    bool cuda;
    bool embeddings; /* rows come in, in the place of tokens; neither `several` nor `cuda` */
    bool alone;      /* each token is of another log */
    /* With `cuda`, of several sequences' prompts: so many of the last tokens attend as tiles. */
    uint32_t tiled_count;
    bool rows_first;          /* the result is of the first tokens, not of the last */
    bool place_rows;          /* rows of logits go where the table says */
    bool keeps_rows;          /* they stay in work memory until the next run */
    uint32_t top_k_count;     /* so many of each row's likeliest are wanted too; 0: none */
    dw_adapter_set *adapters; /* added to the weights; outlives the graph; NULL: none */
    bool mixed; /* each row has a set of its own: `adapters` is dw_adapter_set_all's then */
} dw_forward_size;

/* The same, and what the operations on the CPU work with, which must outlive the graph. */
typedef struct dw_forward_options {
    dw_forward_size size;
    dw_attention *attention;          /* prepared before each run; NULL: ggml's flash attention */
    dw_matmul *matmul;                /* NULL: ggml's products */
    const dw_cuda_products *products; /* with `cuda`; NULL: ggml's */
    dw_token_gather *token_gather;    /* of several sequences; else NULL, as the next */
    dw_logits_scatter *logits_scatter;
    /* Of several sequences: one for each table of the adapters, with the tokens of the above. */
    dw_token_gather *table_gathers;
    dw_adapter_mix *mix; /* with size.mixed, else NULL; outlives the graph */
    bool on_cpu;         /* products of adapters are adapter_product.h's, else ggml's */
} dw_forward_options;

/* A graph and the tensors that its user fills or places before it runs. */
typedef struct dw_forward_graph {
    struct ggml_cgraph *graph;
    struct ggml_tensor *tokens;       /* I32 [tokens]; NULL: of several, see token_gather */
    struct ggml_tensor *embeddings;   /* F32 [embedding, tokens], which then has no tokens */
    struct ggml_tensor *positions;    /* I32 [tokens] */
    struct ggml_tensor *result;       /* F32 [vocab or embedding, rows]; NULL: no rows are wanted */
    struct ggml_tensor *pooled;       /* F32 [embedding], what the result is added to, in place */
    struct ggml_tensor *pool_weights; /* F32 [tokens], of each in it. Both with DW_RESULT_POOLED */
    struct ggml_tensor *wanted; /* I32 [rows]: tokens whose logits are wanted; of several only */
    /* Sets of a mixed graph's tokens and rows: I32 [1, tokens], [1, rows] (adapter_product.h). */
    struct ggml_tensor *token_sets;
    struct ggml_tensor *row_sets; /* token_sets where all tokens have rows; NULL: none has */
    /* What ggml's attention needs; NULL with another: */
    struct ggml_tensor *records;     /* I64 [tokens]: where each token's record goes */
    struct ggml_tensor *mask;        /* F16 [kv, tokens]: 0 where seen, -infinity where not */
    struct ggml_tensor *window_mask; /* the same of layers with a window; NULL: there are none */
    struct ggml_tensor *kv;          /* [layers * 2 * kv_heads * head_dim, kv]: the log */
    /* What CUDA operations need; else NULL. Tokens, positions, records and masks come of it. */
    struct ggml_tensor *table;      /* dw_cuda_token [tokens] as I64 */
    struct ggml_tensor *scratch;    /* of attention; zero before the first run */
    struct ggml_tensor *candidates; /* dw_top_k [rows], of DW_TOP_K_BYTES */
} dw_forward_graph;

/* What dw_matmul_create is told of a model's graphs. */
dw_matmul_options dw_forward_products(const dw_model_shape *shape, dw_device *device);
/* How positions are rotated in. */
typedef struct dw_rope_source {
    const dw_model_shape *shape;
    const dw_model_weights *weights;
    struct ggml_tensor *positions; /* I32 [tokens] */
    bool long_context;
    bool again; /* x was rotated before: its length is scaled already */
} dw_rope_source;

/* In numbers, for a layer. */
dw_rope_numbers dw_forward_rope_numbers(const dw_rope_source *source, uint32_t layer);
/* x [head_dim, heads, tokens], F32, of a layer -> the same; x itself where nothing is rotated. */
struct ggml_tensor *dw_forward_rope(const dw_rope_source *source, struct ggml_context *ggml,
                                    struct ggml_tensor *x, uint32_t layer);

/* Room that a ggml context must have for the graph; `adapters` may be NULL. */
size_t dw_forward_graph_bytes(const dw_model_shape *shape, const dw_adapter_set *adapters);

/* Build in `ggml`, which must not allocate and outlives the graph. All sizes are the host's own:
 * token_count at least 1, row_count at most token_count. Errors: DW_E_MEMORY. */
dw_status dw_forward_graph_build(dw_forward_graph *out, struct ggml_context *ggml,
                                 const dw_model_shape *shape, const dw_model_weights *weights,
                                 const dw_forward_options *options, dw_error *err);

#endif
