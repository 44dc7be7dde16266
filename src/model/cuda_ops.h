/* What steps on a CUDA device are made of beside ggml's operations: nodes for its graphs (see
 * device/cuda_node.h). A step may have tokens of many sequences, each with a KV log of its own at
 * any length: a token's row of the step's table says where. A graph therefore serves every length
 * and every set of sequences, and what ggml records of it as a CUDA graph stays valid.
 * Thread: a graph's builder. */
#ifndef DW_MODEL_CUDA_OPS_H
#define DW_MODEL_CUDA_OPS_H

#include "kernels/cuda_launch.h"
#include "model/architecture.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A step's table on the device, and what stands in it. */
typedef struct dw_cuda_table {
    struct ggml_tensor *rows;      /* the table as it is, dw_cuda_token [tokens] */
    struct ggml_tensor *tokens;    /* I32 [tokens]; of padding 0 */
    struct ggml_tensor *positions; /* I32 [tokens]; of padding 0 */
    struct ggml_tensor *records;   /* I64 [tokens]: positions */
} dw_cuda_table;

/* `input`: I64 [4, tokens], a table in page-locked memory. The first node of a graph. */
void dw_cuda_table_make(dw_cuda_table *out, struct ggml_context *ggml, struct ggml_tensor *input);

/* How positions are rotated in (Su and others, 2021; YaRN: Peng and others, 2023), as ggml does. */
typedef struct dw_rope_numbers {
    uint32_t dims; /* 0: nothing is rotated */
    int mode;      /* GGML_ROPE_TYPE_NORMAL or _NEOX */
    uint32_t context;
    float base;
    float scale;
    float ext_factor; /* of YaRN, as the next three */
    float attn_factor;
    float beta_fast;
    float beta_slow;
    struct ggml_tensor *factors; /* F32 [dims / 2]; NULL: all 1 */
} dw_rope_numbers;

/* Cosines and sines of each token's position, F32 [2, dims / 2, tokens], for all layers that rotate
 * alike. */
struct ggml_tensor *dw_cuda_rope(struct ggml_context *ggml, const dw_cuda_table *table,
                                 const dw_rope_numbers *numbers);

/* What attention over logs is made for. */
typedef struct dw_cuda_attention {
    const dw_model_shape *shape;
    dw_kv_type kv_type;
    const dw_cuda_table *table;
    struct ggml_tensor *scratch; /* I8 [dw_cuda_attention_bytes], zero before the first run */
    /* Keys and values of at most one token of each log in the step are appended by the attention
     * itself; else dw_cuda_append comes before. */
    bool alone;
    /* So many of the last tokens attend as tiles (dw_cuda_tiles_serve), each of neighbours of one
     * sequence, DW_CUDA_TILE; those before one by one. Padding is in tiles, too. */
    uint32_t tiled_count;
} dw_cuda_attention;

/* Whether there are tiles for the model's heads, and keys and values of that type. */
bool dw_cuda_tiles_serve(const dw_model_shape *shape, dw_kv_type type);
/* Tokens in a tile, at most. */
uint32_t dw_cuda_tile_tokens(const dw_model_shape *shape);
/* Tiles that a step has room for with so many tiled tokens, in runs of DW_CUDA_TILED_MIN and more
 * of a sequence, and one of padding. */
#define DW_CUDA_TILED_MIN 16u
uint32_t dw_cuda_tile_count(const dw_model_shape *shape, uint32_t tiled_count);

/* Work memory that all attention nodes of a graph may share, in bytes: of `token_count` tokens one
 * by one, and `tiled_count` in tiles. */
size_t dw_cuda_attention_bytes(const dw_model_shape *shape, dw_kv_type type, uint32_t token_count,
                               uint32_t tiled_count);
/* What a layer brings to its attention, not rotated yet; F32, rows may lie apart. */
typedef struct dw_cuda_layer {
    uint32_t index;
    struct ggml_tensor *q;    /* [head_dim, heads, tokens] */
    struct ggml_tensor *k;    /* [head_dim, kv_heads, tokens] */
    struct ggml_tensor *v;    /* [head_dim * kv_heads, tokens] */
    struct ggml_tensor *rope; /* dw_cuda_rope's; NULL: nothing is rotated */
    uint32_t rope_dims;
    int rope_mode;
} dw_cuda_layer;

/* Append keys, rotated, and values to the tokens' logs. The node must be put into the graph before
 * others read. */
struct ggml_tensor *dw_cuda_append(const dw_cuda_attention *with, struct ggml_context *ggml,
                                   const dw_cuda_layer *layer);
/* -> [heads * head_dim, tokens]: each token's queries, rotated, attend to the records of its log up
 * to its own, or the last `window` of them. Where not `alone`, dw_cuda_append comes before.
 * Sums are of floats, in an order that depends on the log's length and the graph alone. */
struct ggml_tensor *dw_cuda_attend(const dw_cuda_attention *with, struct ggml_context *ggml,
                                   const dw_cuda_layer *layer);

/* F16 [kv, tokens] for ggml's attention over one log: 0 where a token sees a record, minus infinity
 * where not. `window` 0: all up to its own. */
struct ggml_tensor *dw_cuda_mask(struct ggml_context *ggml, const dw_cuda_table *table,
                                 uint32_t kv_count, uint32_t token_count, uint32_t window);

/* Write each row of logits F32 [vocab, rows] to where the table's row says. */
struct ggml_tensor *dw_cuda_place_rows(struct ggml_context *ggml, const dw_cuda_table *table,
                                       struct ggml_tensor *logits);
/* The `count` largest of each row of logits, and the rest in two numbers: into `to`, an I8 tensor
 * of rows for DW_TOP_K_BYTES(count) each. `table`: when its node ran is noted there, and when this
 * did; may be NULL. */
struct ggml_tensor *dw_cuda_top_k(struct ggml_context *ggml, const dw_cuda_table *table,
                                  struct ggml_tensor *logits, struct ggml_tensor *to,
                                  uint32_t count);

#ifdef __cplusplus
}
#endif
#endif
