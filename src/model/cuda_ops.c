#include "model/cuda_ops.h"

#include <assert.h>

#include "kernels/cuda_launch.h"
#include "model/attention.h"

/* ---- the table ---- */

/* Bytes [offset, ...) of a node's result as a row of `type`. */
static struct ggml_tensor *part_of(struct ggml_context *ggml, struct ggml_tensor *from,
                                   enum ggml_type type, int64_t count, size_t offset)
{
    struct ggml_tensor *part = ggml_view_1d(ggml, from, 0, 0);
    part->view_offs = offset;
    part->type = type;
    part->ne[0] = count;
    part->nb[0] = ggml_type_size(type);
    for (int i = 1; i < GGML_MAX_DIMS; i++) {
        part->nb[i] = part->nb[0] * (size_t)count;
    }
    return part;
}

static_assert(sizeof(dw_cuda_token) == 4 * sizeof(int64_t), "a row of the table is four I64");

void dw_cuda_table_make(dw_cuda_table *out, struct ggml_context *ggml, struct ggml_tensor *input)
{
    int64_t count = input->ne[1];
    size_t n = (size_t)count;
    struct ggml_tensor *all = ggml_new_tensor_1d(
        ggml, GGML_TYPE_I64,
        count * (int64_t)(DW_CUDA_TABLE_ROW / sizeof(int64_t)) + (int64_t)DW_CUDA_TABLE_BEHIND);
    (void)dw_cuda_node_make(all, dw_cuda_launch_table, &input, 1, &count, sizeof count);
    *out = (dw_cuda_table){
        .rows = all,
        .records = part_of(ggml, all, GGML_TYPE_I64, count, n * 32),
        .tokens = part_of(ggml, all, GGML_TYPE_I32, count, n * 40),
        .positions = part_of(ggml, all, GGML_TYPE_I32, count, n * 44),
    };
}

/* ---- attention ---- */

/* Heads of queries that a block takes for one of keys and values, and how many blocks have all. */
typedef struct group_split {
    uint32_t heads;
    uint32_t blocks;
} group_split;

static group_split split_group(const dw_model_shape *shape, dw_kv_type type)
{
    const uint32_t group = shape->head_count / shape->kv_head_count;
    const uint32_t most = dw_cuda_attends_by_tensor_cores((uint8_t)type, shape->head_dim)
                              ? DW_CUDA_BLOCK_HEADS_MAX
                              : DW_CUDA_PLAIN_HEADS_MAX;
    const uint32_t blocks = (group + most - 1) / most;
    return (group_split){(group + blocks - 1) / blocks, blocks};
}

/* Parts that a sequence's records may be cut into: enough blocks to fill a large device when few
 * sequences are there, and some for the one that is longer than the others when there are many. Few
 * are always cut as one alone is: a sequence's sums are then added in the same order. */
static uint32_t part_count_max(const dw_model_shape *shape, dw_kv_type type, uint32_t token_count)
{
    const bool few = token_count <= DW_CUDA_PRODUCT_ROWS;
    uint32_t blocks =
        (few ? 1 : token_count) * shape->kv_head_count * split_group(shape, type).blocks;
    uint32_t parts = (DW_CUDA_BLOCKS + blocks - 1) / blocks;
    if (few) {
        parts = (parts + DW_CUDA_PARTS_CLUSTER - 1) / DW_CUDA_PARTS_CLUSTER * DW_CUDA_PARTS_CLUSTER;
    }
    return parts < DW_CUDA_PARTS_MIN   ? DW_CUDA_PARTS_MIN
           : parts > DW_CUDA_PARTS_MAX ? DW_CUDA_PARTS_MAX
                                       : parts;
}

/* Of tokens one by one. */
static size_t single_bytes(const dw_model_shape *shape, dw_kv_type type, uint32_t token_count)
{
    const group_split split = split_group(shape, type);
    size_t rows = (size_t)token_count * shape->kv_head_count * split.blocks;
    size_t partial = DW_CUDA_PART_FLOATS(split.heads, shape->head_dim) * sizeof(float);
    size_t counters = (rows * sizeof(uint32_t) + 255) / 256 * 256;
    return token_count == 0 ? 0
                            : counters + rows * part_count_max(shape, type, token_count) * partial;
}

/* ---- tiles ---- */

bool dw_cuda_tiles_serve(const dw_model_shape *shape, dw_kv_type type)
{
    return (type == DW_KV_F16 || type == DW_KV_Q8_0) && shape->head_dim % 8 == 0 &&
           shape->head_dim <= DW_CUDA_HEAD_DIM_MAX &&
           shape->head_count / shape->kv_head_count <= DW_CUDA_TILE_QUERIES;
}

uint32_t dw_cuda_tile_tokens(const dw_model_shape *shape)
{
    return DW_CUDA_TILE_QUERIES / (shape->head_count / shape->kv_head_count);
}

uint32_t dw_cuda_tile_count(const dw_model_shape *shape, uint32_t tiled_count)
{
    const uint32_t full = tiled_count / dw_cuda_tile_tokens(shape);
    const uint32_t count = full + tiled_count / DW_CUDA_TILED_MIN + 1;
    return tiled_count == 0 ? 0 : count < tiled_count ? count : tiled_count;
}

/* Parts of a log that tiles are computed by: where few tiles are there, as many as fill a large
 * device. */
static uint32_t tile_parts_max(const dw_model_shape *shape, uint32_t tile_count)
{
    const uint32_t blocks = tile_count * shape->kv_head_count;
    const uint32_t parts = (2 * DW_CUDA_BLOCKS + blocks - 1) / blocks;
    return parts < DW_CUDA_TILE_PARTS_MAX ? parts : DW_CUDA_TILE_PARTS_MAX;
}

static size_t tiled_bytes(const dw_model_shape *shape, uint32_t tiled_count)
{
    const uint32_t tiles = dw_cuda_tile_count(shape, tiled_count);
    const size_t partial = DW_CUDA_TILE_FLOATS(shape->head_dim) * sizeof(float);
    return tiles == 0
               ? 0
               : DW_CUDA_TILE_COUNTERS(tiles, shape->kv_head_count) +
                     (size_t)tiles * shape->kv_head_count * tile_parts_max(shape, tiles) * partial;
}

static size_t tiles_offset(const dw_model_shape *shape, dw_kv_type type, uint32_t token_count)
{
    return (single_bytes(shape, type, token_count) + 255) / 256 * 256;
}

size_t dw_cuda_attention_bytes(const dw_model_shape *shape, dw_kv_type type, uint32_t token_count,
                               uint32_t tiled_count)
{
    return tiles_offset(shape, type, token_count) + tiled_bytes(shape, tiled_count);
}

struct ggml_tensor *dw_cuda_rope(struct ggml_context *ggml, const dw_cuda_table *table,
                                 const dw_rope_numbers *numbers)
{
    float range[2];
    ggml_rope_yarn_corr_dims((int)numbers->dims, (int)numbers->context, numbers->base,
                             numbers->beta_fast, numbers->beta_slow, range);
    dw_cuda_rope_params params = {.base = numbers->base,
                                  .scale = numbers->scale,
                                  .ext_factor = numbers->ext_factor,
                                  .attn_factor = numbers->attn_factor,
                                  .low = range[0],
                                  .high = range[1],
                                  .dims = numbers->dims};
    struct ggml_tensor *sources[] = {table->rows, numbers->factors};
    struct ggml_tensor *turns =
        ggml_new_tensor_3d(ggml, GGML_TYPE_F32, 2, numbers->dims / 2, table->tokens->ne[0]);
    return dw_cuda_node_make(turns, dw_cuda_launch_rope, sources, numbers->factors != NULL ? 2 : 1,
                             &params, sizeof params);
}

static dw_cuda_attention_params params_of(const dw_cuda_attention *with, const dw_cuda_layer *layer)
{
    const dw_model_shape *shape = with->shape;
    uint32_t token_count = (uint32_t)with->table->tokens->ne[0] - with->tiled_count;
    dw_kv_layout layout = dw_model_kv_layout(shape, with->kv_type);
    return (dw_cuda_attention_params){
        .part_bytes = (uint32_t)layout.part_bytes,
        .layer = (uint16_t)layer->index,
        .layer_count = (uint16_t)shape->layer_count,
        .window = dw_layer_windowed(shape, layer->index) ? shape->window : 0,
        .scale = shape->attention_scale,
        .cap = shape->attn_logit_softcap,
        .head_dim = (uint16_t)shape->head_dim,
        .head_count = (uint16_t)shape->head_count,
        .kv_head_count = (uint16_t)shape->kv_head_count,
        .part_count_max = (uint16_t)part_count_max(shape, with->kv_type, token_count),
        .rope_dims = (uint16_t)(layer->rope != NULL ? layer->rope_dims : 0),
        .rope_halves = layer->rope_mode == GGML_ROPE_TYPE_NEOX,
        .kv_type = (uint8_t)with->kv_type,
        .append = with->alone,
        .block_heads = (uint8_t)split_group(shape, with->kv_type).heads,
    };
}

struct ggml_tensor *dw_cuda_append(const dw_cuda_attention *with, struct ggml_context *ggml,
                                   const dw_cuda_layer *layer)
{
    dw_cuda_attention_params params = params_of(with, layer);
    struct ggml_tensor *sources[] = {layer->k, layer->v, with->table->rows, layer->rope};
    return dw_cuda_node_make(ggml_new_tensor_1d(ggml, GGML_TYPE_I32, 1), dw_cuda_launch_append,
                             sources, layer->rope != NULL ? 4 : 3, &params, sizeof params);
}

/* Of the tokens before the tiles' into y [heads * head_dim, tokens]. */
static struct ggml_tensor *attend_singly(const dw_cuda_attention *with, struct ggml_context *ggml,
                                         const dw_cuda_layer *layer, struct ggml_tensor *y)
{
    dw_cuda_attention_params params = params_of(with, layer);
    struct ggml_tensor *q = layer->q;
    if (with->tiled_count > 0) {
        q = ggml_view_3d(ggml, q, q->ne[0], q->ne[1], q->ne[2] - with->tiled_count, q->nb[1],
                         q->nb[2], 0);
    }
    struct ggml_tensor *sources[] = {q,        with->table->rows, with->scratch,
                                     layer->k, layer->v,          layer->rope};
    return dw_cuda_node_make(y, dw_cuda_launch_attend, sources, layer->rope != NULL ? 6 : 5,
                             &params, sizeof params);
}

/* Of the tiles' into the same; `before`: what has written to it, or NULL. */
static struct ggml_tensor *attend_tiles(const dw_cuda_attention *with, const dw_cuda_layer *layer,
                                        struct ggml_tensor *y, struct ggml_tensor *before)
{
    const dw_model_shape *shape = with->shape;
    dw_cuda_attention_params params = params_of(with, layer);
    params.tile_count = (uint16_t)dw_cuda_tile_count(shape, with->tiled_count);
    params.part_count_max = (uint16_t)tile_parts_max(shape, params.tile_count);
    params.scratch_offset = (uint32_t)tiles_offset(
        shape, with->kv_type, (uint32_t)with->table->tokens->ne[0] - with->tiled_count);
    struct ggml_tensor *sources[] = {layer->q, with->table->rows, with->scratch, layer->rope,
                                     before};
    return dw_cuda_node_make(y, dw_cuda_launch_tiles, sources, before != NULL ? 5 : 4, &params,
                             sizeof params);
}

struct ggml_tensor *dw_cuda_attend(const dw_cuda_attention *with, struct ggml_context *ggml,
                                   const dw_cuda_layer *layer)
{
    const dw_model_shape *shape = with->shape;
    const int64_t token_count = with->table->tokens->ne[0];
    DW_ASSERT(shape->head_dim <= DW_CUDA_HEAD_DIM_MAX);
    DW_ASSERT(with->tiled_count == 0 ||
              (!with->alone && dw_cuda_tiles_serve(shape, with->kv_type)));
    struct ggml_tensor *y = ggml_new_tensor_2d(
        ggml, GGML_TYPE_F32, (int64_t)shape->head_dim * shape->head_count, token_count);
    if (with->tiled_count == token_count) {
        return attend_tiles(with, layer, y, NULL);
    }
    y = attend_singly(with, ggml, layer, y);
    return with->tiled_count == 0 ? y : attend_tiles(with, layer, ggml_view_tensor(ggml, y), y);
}

/* ---- the rest ---- */

struct ggml_tensor *dw_cuda_mask(struct ggml_context *ggml, const dw_cuda_table *table,
                                 uint32_t kv_count, uint32_t token_count, uint32_t window)
{
    struct ggml_tensor *mask = ggml_new_tensor_2d(ggml, GGML_TYPE_F16, kv_count, token_count);
    struct ggml_tensor *sources[] = {table->rows};
    return dw_cuda_node_make(mask, dw_cuda_launch_mask, sources, 1, &window, sizeof window);
}

struct ggml_tensor *dw_cuda_place_rows(struct ggml_context *ggml, const dw_cuda_table *table,
                                       struct ggml_tensor *logits)
{
    struct ggml_tensor *sources[] = {logits, table->rows};
    return dw_cuda_node_make(ggml_new_tensor_1d(ggml, GGML_TYPE_I32, 1), dw_cuda_launch_place_rows,
                             sources, 2, NULL, 0);
}

struct ggml_tensor *dw_cuda_top_k(struct ggml_context *ggml, const dw_cuda_table *table,
                                  struct ggml_tensor *logits, struct ggml_tensor *to,
                                  uint32_t count)
{
    DW_ASSERT(count > 0 && count <= DW_TOP_K_MAX);
    /* The best of each piece of a row, then of all pieces. */
    int64_t pieces = (logits->ne[0] + DW_CUDA_PIECE - 1) / DW_CUDA_PIECE;
    struct ggml_tensor *best = ggml_new_tensor_3d(
        ggml, GGML_TYPE_I64, DW_TOP_K_MAX + DW_CUDA_PIECE_SUMMARY, pieces, logits->ne[1]);
    (void)dw_cuda_node_make(best, dw_cuda_launch_pieces, &logits, 1, &count, sizeof count);
    struct ggml_tensor *sources[] = {best, to, logits, table != NULL ? table->rows : NULL};
    return dw_cuda_node_make(ggml_new_tensor_1d(ggml, GGML_TYPE_I32, 1), dw_cuda_launch_top_k,
                             sources, table != NULL ? 4 : 3, &count, sizeof count);
}
