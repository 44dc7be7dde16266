/* Slices on a device that runs nodes of ours (model/cuda_ops.h): of many contexts in one run, or a
 * slice of one context. A table says of each token where it stands, where its log is and where its
 * logits go, so that a graph serves every length and set of contexts, and what ggml records of it
 * as a CUDA graph stays valid. Prompts attend by tiles of ours, but for some that are alone
 * (tiles_serve_alone).
 *
 * A run with prompts has its tokens in this order, each kind padded to a multiple:
 *   [0, rows)        those whose logits are wanted, the last of their slices
 *   [rows, singles)  others that attend one by one, of short slices
 *   [singles, ..)    the rest of longer slices, which attend as tiles */
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "device/device_memory.h"
#include "device/device_view.h"
#include "inference/choice.h"
#include "inference/step_flight.h"
#include "inference/step_plan.h"

#define ALIGN_BYTES 256u

/* Steps of so few tokens never go through ggml's attention, which wants another graph for each 256
 * records; nor do any with heads that its kernels do not have. */
#define FEW_TOKENS 16u

/* With keys and values in Q8_0, longer prompts that are alone are faster through ggml's attention,
 * which widens them once for all tokens. */
#define TILED_ALONE_MAX_Q8_0 512u
#define TILED_ALONE_DIM_MAX 128u /* as they are with wider heads */

/* What tokens of prompts in company are padded to, so that few graphs serve all. */
#define PAD_SINGLES 16u
#define PAD_TILED 64u

/* What goes to a run, and comes of it. */
typedef struct places {
    dw_cuda_token *table;      /* [tokens] */
    int32_t *ids;              /* [tokens]: of tokens that the device cannot reach */
    unsigned char *candidates; /* dw_top_k [rows], each of candidate_bytes; NULL: none */
} places;

/* A graph's own. The table goes to the device with a run, and the candidates come back, so that the
 * next can be made ready meanwhile; of ids the device reads where they are. */
typedef struct cuda_graph {
    ggml_backend_buffer_t locked;  /* page-locked: the places */
    ggml_backend_buffer_t scratch; /* attention's, the table, and candidates: in device memory */
    places places[2];              /* by a run's turn */
} cuda_graph;

/* Whether it can go with others': a token that is decoded, or a prompt's slice of whose logits at
 * most one row is wanted. */
static bool accepts_in_batch(const dw_step_work *work, const dw_step_slice *slice)
{
    return slice->step->result == DW_RESULT_LOGITS &&
           (slice->token_count == 1 ||
            (slice->row_count <= 1 &&
             dw_cuda_tiles_serve(dw_model_shape_of(work->model), slice->kv_type)));
}

static bool accepts(const dw_step_work *work)
{
    if (!dw_cuda_node_served(dw_model_device(work->model)) ||
        dw_model_shape_of(work->model)->head_dim > DW_CUDA_HEAD_DIM_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < work->count; i++) {
        const dw_step_slice *slice = &work->slices[i];
        if (slice->log == NULL || slice->step->embeddings != NULL || slice->step->tree != NULL ||
            (work->in_batch && !accepts_in_batch(work, slice))) {
            return false;
        }
    }
    return true;
}

/* ---- sizes ---- */

/* Whether ggml's attention there has kernels for the model's heads. */
static bool flash_serves(dw_model *model, dw_kv_type type)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    /* Its kernels cap scores for heads of these only, and stop the program at others. */
    if (shape->attn_logit_softcap > 0 && shape->head_dim != 128 && shape->head_dim != 256) {
        return false;
    }
    _Alignas(16) unsigned char room[16 * 512];
    struct ggml_init_params params = {
        .mem_size = sizeof room, .mem_buffer = room, .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    if (ggml == NULL) {
        return false;
    }
    int64_t dim = shape->head_dim;
    enum ggml_type stored = dw_kv_ggml_type(type);
    struct ggml_tensor *q = ggml_new_tensor_3d(ggml, GGML_TYPE_F32, dim, 512, shape->head_count);
    struct ggml_tensor *k = ggml_new_tensor_3d(ggml, stored, dim, 512, shape->kv_head_count);
    struct ggml_tensor *v = ggml_new_tensor_3d(ggml, stored, dim, 512, shape->kv_head_count);
    struct ggml_tensor *mask = ggml_new_tensor_2d(ggml, GGML_TYPE_F16, 512, 512);
    struct ggml_tensor *y =
        ggml_flash_attn_ext(ggml, q, k, v, mask, 1.0f, 0.0f, shape->attn_logit_softcap);
    bool serves = ggml_backend_dev_supports_op(dw_device_handle(dw_model_device(model)), y);
    ggml_free(ggml);
    return serves;
}

/* How many of the likeliest are wanted of a row: for a choice, or one, which tells of NaN too. */
static uint32_t top_k_count_of(const dw_step_slice *slice)
{
    const dw_choice *choice = slice->choice;
    if (slice->row_count == 0 || slice->step->result != DW_RESULT_LOGITS) {
        return 0;
    }
    uint32_t wanted = choice != NULL ? dw__choice_top_k_count(choice) : 1;
    return wanted > 1 ? DW_TOP_K_MAX : 1; /* two kinds of graphs are enough */
}

/* Sizes that batches are padded to, so that few graphs serve all: a quarter more at the most. */
static uint32_t padded(uint32_t count)
{
    uint32_t step = 1;
    while (count > 8 * step) {
        step *= 2;
    }
    return count <= 4 ? count : (count + step - 1) / step * step;
}

/* Whether a slice that is alone attends as tiles. Few tokens of which several rows are wanted are
 * drafts that are looked at: one by one they get the bits that decoding gives. */
static bool tiles_serve_alone(dw_model *model, const dw_step_slice *slice)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    if (slice->token_count == 1 || !dw_cuda_tiles_serve(shape, slice->kv_type)) {
        return false;
    }
    if (slice->token_count <= FEW_TOKENS) {
        return slice->row_count <= 1;
    }
    return shape->head_dim <= TILED_ALONE_DIM_MAX &&
           (slice->kv_type == DW_KV_F16 || slice->token_count <= TILED_ALONE_MAX_Q8_0);
}

static dw_forward_size size_of_one(const dw_step_work *work)
{
    const dw_step_slice *slice = &work->slices[0];
    dw_forward_size size = {.token_count = slice->token_count,
                            .row_count = dw__plan_row_count(slice),
                            .kv_type = slice->kv_type,
                            .adapters = slice->adapters,
                            .result = slice->step->result,
                            .long_context =
                                dw__step_slice_is_long(slice, dw_model_shape_of(work->model)),
                            .cuda = true,
                            .alone = slice->token_count == 1,
                            .keeps_rows = slice->choice != NULL,
                            .top_k_count = top_k_count_of(slice)};
    if (tiles_serve_alone(work->model, slice)) {
        /* Of few tokens there is room for one tile; a pool's rows are all tokens'. */
        if (slice->token_count > FEW_TOKENS && slice->step->result != DW_RESULT_POOLED) {
            size.token_count = padded(slice->token_count);
        }
        size.tiled_count = size.token_count;
    } else if (slice->token_count > FEW_TOKENS && flash_serves(work->model, slice->kv_type)) {
        uint32_t end = dw__step_slice_past(slice) + slice->token_count;
        size.kv_count = (end + DW_KV_STEP_TOKENS - 1) / DW_KV_STEP_TOKENS * DW_KV_STEP_TOKENS;
    }
    return size;
}

/* How a slice's tokens of a run with prompts are spread over its kinds. */
typedef struct spread {
    uint32_t rows; /* 1, its last token; or 0 */
    uint32_t singles;
    uint32_t tiled;
} spread;

static spread spread_of(const dw_step_slice *slice)
{
    const uint32_t rows = slice->row_count;
    const uint32_t rest = slice->token_count - rows;
    DW_ASSERT(rows <= 1);
    return rest >= DW_CUDA_TILED_MIN ? (spread){rows, 0, rest} : (spread){rows, rest, 0};
}

static uint32_t up_to_multiple(uint32_t count, uint32_t of)
{
    return (count + of - 1) / of * of;
}

static bool has_prompts(const dw_step_work *work)
{
    bool any = false;
    for (uint32_t i = 0; i < work->count; i++) {
        any = any || work->slices[i].token_count > 1;
    }
    return any;
}

/* The tokens of a run with prompts, padded. */
static void size_prompts(const dw_step_work *work, dw_forward_size *size)
{
    spread all = {0, 0, 0};
    for (uint32_t i = 0; i < work->count; i++) {
        const spread one = spread_of(&work->slices[i]);
        all.rows += one.rows;
        all.singles += one.singles;
        all.tiled += one.tiled;
    }
    size->alone = false;
    size->rows_first = true;
    size->row_count = all.rows > 0 ? padded(all.rows) : 0;
    size->tiled_count = up_to_multiple(all.tiled, PAD_TILED);
    size->token_count =
        size->row_count + up_to_multiple(all.singles, PAD_SINGLES) + size->tiled_count;
}

static dw_forward_size size_of_batch(const dw_step_work *work)
{
    dw_forward_size size = {.token_count = padded(work->count),
                            .kv_type = work->slices[0].kv_type,
                            .adapters = work->slices[0].adapters,
                            .cuda = true,
                            .alone = true,
                            .keeps_rows = true};
    for (uint32_t i = 0; i < work->count; i++) {
        const dw_step_slice *slice = &work->slices[i];
        uint32_t candidates = top_k_count_of(slice);
        size.long_context = dw__step_slice_is_long(slice, dw_model_shape_of(work->model));
        size.place_rows = size.place_rows || slice->rows != NULL;
        size.row_count = slice->row_count > 0 ? size.token_count : size.row_count;
        size.top_k_count = candidates > size.top_k_count ? candidates : size.top_k_count;
    }
    if (has_prompts(work)) {
        size_prompts(work, &size);
    }
    return size;
}

static dw_forward_size size_of(const dw_step_work *work)
{
    return work->in_batch ? size_of_batch(work) : size_of_one(work);
}

/* ---- a graph ---- */

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

/* An input that lies at `data` whatever is run; `buffer` tells ggml only whose it is. */
static void place_input(struct ggml_tensor *tensor, ggml_backend_buffer_t buffer, void *data)
{
    if (tensor != NULL) {
        tensor->buffer = buffer;
        tensor->data = data;
    }
}

static void place_all(cuda_graph *own, dw_forward_graph *forward, size_t table, size_t ids,
                      size_t candidates)
{
    unsigned char *base = ggml_backend_buffer_get_base(own->locked);
    memset(base, 0, 2 * (table + ids + candidates));
    for (int i = 0; i < 2; i++) {
        own->places[i] =
            (places){.table = (void *)base,
                     .ids = (void *)(base + table),
                     .candidates = candidates > 0 ? (void *)(base + table + ids) : NULL};
        base += table + ids + candidates;
    }
    unsigned char *device = ggml_backend_buffer_get_base(own->scratch);
    place_input(forward->table, own->scratch, device);
    place_input(forward->candidates, own->scratch, device + table);
    place_input(forward->scratch, own->scratch, device + table + candidates);
}

/* Page-locked and device memory of a graph. */
static dw_status make_memory(dw_step_graph *graph, cuda_graph *own, dw_error *err)
{
    dw_forward_graph *forward = &graph->forward;
    size_t table = rounded(ggml_nbytes(forward->table));
    size_t ids = rounded(graph->size.token_count * sizeof(int32_t));
    size_t candidates = forward->candidates != NULL ? rounded(ggml_nbytes(forward->candidates)) : 0;
    size_t scratch = forward->scratch != NULL ? ggml_nbytes(forward->scratch) : ALIGN_BYTES;
    dw_status status =
        dw_device_locked_create(&own->locked, graph->device, 2 * (table + ids + candidates), err);
    if (status == DW_OK) {
        status = dw_device_buffer_create(&own->scratch, graph->device, DW_USE_WORK,
                                         table + candidates + scratch, err);
    }
    if (status == DW_OK) {
        status = dw_device_buffer_fill(graph->device, own->scratch, 0, err);
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "a step of %u tokens", graph->size.token_count);
    }
    place_all(own, forward, table, ids, candidates);
    return DW_OK;
}

static dw_status build(dw_step_graph *graph, dw_model *model, dw_error *err)
{
    cuda_graph *own = dw_alloc(1, sizeof *own);
    if (own == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph");
    }
    graph->own = own;
    dw_status status =
        dw__step_graph_build(graph, model, &(dw_forward_options){.attention = NULL}, err);
    return status == DW_OK ? make_memory(graph, own, err) : status;
}

static void release(dw_step_graph *graph)
{
    cuda_graph *own = graph->own;
    dw_device_locked_destroy(graph->device, own->locked);
    dw_device_buffer_destroy(graph->device, DW_USE_WORK, own->scratch);
    dw_free(own);
}

/* ---- before a run ---- */

/* What has an address of its own: with ggml's attention the log, and rows that the graph writes to
 * where they are wanted. Rows of a batch stay in work memory, and go by the table. */
static dw_status prepare(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    const dw_step_slice *slice = &work->slices[0];
    if (work->in_batch) {
        return DW_OK;
    }
    DW_ASSERT(graph->size.kv_count <= dw_kv_log_committed(slice->log));
    dw_status status = dw__step_graph_place_log(graph, slice->log, err);
    if (status != DW_OK || slice->row_count == 0 || graph->size.keeps_rows) {
        return status;
    }
    return dw__step_graph_place_rows(graph, slice->step->view, slice->rows, err);
}

static const places *places_of(const dw_step_graph *graph, const dw_step_work *work)
{
    return &((const cuda_graph *)graph->own)->places[work->turn];
}

static size_t candidate_bytes(const dw_step_graph *graph)
{
    return DW_TOP_K_BYTES(graph->size.top_k_count);
}

/* What came of row `row`. */
static const dw_top_k *candidates_of(const dw_step_graph *graph, const dw_step_work *work,
                                     uint32_t row)
{
    const unsigned char *first = places_of(graph, work)->candidates;
    DW_ASSERT(first != NULL && row < graph->size.row_count);
    return (const void *)(first + row * candidate_bytes(graph));
}

/* Where the device finds the likeliest of a row, once a flight that is under way has it. */
static uint64_t likeliest_address(const dw_step_flight *behind, uint32_t row)
{
    const struct ggml_tensor *candidates = behind->graph->forward.candidates;
    DW_ASSERT(candidates != NULL && row < behind->count);
    return (uint64_t)(uintptr_t)candidates->data + row * candidate_bytes(behind->graph) +
           offsetof(dw_top_k, list) + offsetof(dw_top_k_entry, token);
}

/* The device's address of a slice's tokens, of which the first is the graph's `at`-th. In a staged
 * view, and in the host's own memory, they have none: they are copied to `ids`. */
static dw_status token_address(dw_step_graph *graph, const dw_step_work *work, dw_step_slice *slice,
                               uint32_t at, uint64_t *address, dw_error *err)
{
    int32_t *ids = places_of(graph, work)->ids;
    dw_device_view *view = slice->step->view;
    const int32_t *tokens = dw__step_slice_tokens(slice);
    size_t bytes = slice->token_count * sizeof *tokens;
    if (slice->behind > 0) {
        *address = likeliest_address(work->behind, slice->behind - 1);
        return DW_OK;
    }
    if (view != NULL && !dw_device_view_is_staged(view)) {
        return dw_device_view_address(view, tokens, bytes, address, err);
    }
    memcpy(ids + at, tokens, bytes);
    if (view != NULL) {
        dw_device_view_note_staged(view, bytes);
    }
    *address = (uint64_t)(uintptr_t)(ids + at);
    return DW_OK;
}

/* What the table says of tokens of a slice. */
typedef struct token_source {
    uint64_t records;
    uint64_t tokens; /* of the first */
    uint32_t past;
} token_source;

/* The slice's tokens are copied, if they are, to where the graph's `at`-th and later ones stand. */
static dw_status source_of(dw_step_graph *graph, const dw_step_work *work, dw_step_slice *slice,
                           uint32_t at, token_source *out, dw_error *err)
{
    *out = (token_source){.records = (uint64_t)(uintptr_t)dw_kv_log_base(slice->log),
                          .past = dw__step_slice_past(slice)};
    DW_ASSERT(at + slice->token_count <= graph->size.token_count);
    return token_address(graph, work, slice, at, &out->tokens, err);
}

/* Rows [at, at + count) of the table are the source's tokens from `first` on. */
static void fill_rows(dw_cuda_token *table, const token_source *from, uint32_t first,
                      uint32_t count, uint32_t at)
{
    for (uint32_t i = 0; i < count; i++) {
        dw_cuda_token *row = &table[at + i];
        row->records = from->records;
        row->token = from->tokens + (first + i) * sizeof(int32_t);
        row->position = from->past + first + i;
    }
}

static size_t row_bytes(const dw_step_work *work)
{
    return dw_model_shape_of(work->model)->vocab_count * sizeof(float);
}

/* Where the row of logits of a slice goes, which is that of the table. */
static dw_status fill_logits(const dw_step_work *work, const dw_step_slice *slice,
                             dw_cuda_token *row, dw_error *err)
{
    dw_device_view *view = slice->step->view;
    if (slice->rows == NULL || dw_device_view_is_staged(view)) {
        return DW_OK; /* none wanted, or fetched when they are there */
    }
    return dw_device_view_address(view, slice->rows, row_bytes(work), &row->logits, err);
}

/* One token of each context; rows behind them are padding. */
static dw_status fill_batch(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    dw_cuda_token *table = places_of(graph, work)->table;
    for (uint32_t i = 0; i < work->count; i++) {
        token_source from;
        dw_status status = source_of(graph, work, &work->slices[i], i, &from, err);
        if (status == DW_OK) {
            fill_rows(table, &from, 0, 1, i);
            status = fill_logits(work, &work->slices[i], &table[i], err);
        }
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* Where the next of each kind goes. */
typedef struct cursor {
    uint32_t row;
    uint32_t single;
    uint32_t tiled;
    uint32_t tile;
    uint32_t copied; /* tokens, for those that the device cannot reach */
} cursor;

/* Tiles of tokens [first, first + count) of the table. */
static void fill_tiles(const dw_step_work *work, dw_cuda_token *table, uint32_t first,
                       uint32_t count, cursor *at)
{
    const uint32_t most = dw_cuda_tile_tokens(dw_model_shape_of(work->model));
    for (uint32_t done = 0; done < count; done += most) {
        const uint32_t of = count - done < most ? count - done : most;
        table[at->tile++].tile = DW_CUDA_TILE(first + done, of);
    }
}

static dw_status fill_slice(dw_step_graph *graph, const dw_step_work *work, dw_step_slice *slice,
                            cursor *at, dw_error *err)
{
    dw_cuda_token *table = places_of(graph, work)->table;
    const spread tokens = spread_of(slice);
    const uint32_t rest = tokens.singles + tokens.tiled;
    token_source from;
    dw_status status = source_of(graph, work, slice, at->copied, &from, err);
    if (status != DW_OK) {
        return status;
    }
    if (tokens.tiled > 0) {
        fill_rows(table, &from, 0, rest, at->tiled);
        fill_tiles(work, table, at->tiled, rest, at);
        at->tiled += rest;
    } else {
        fill_rows(table, &from, 0, rest, at->single);
        at->single += rest;
    }
    at->copied += slice->token_count;
    if (tokens.rows > 0) {
        fill_rows(table, &from, rest, 1, at->row);
        status = fill_logits(work, slice, &table[at->row++], err);
    }
    return status;
}

/* What is behind those of each kind is padding, of which the last needs tiles, too. */
static dw_status fill_prompts(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    const dw_forward_size *size = &graph->size;
    const uint32_t singles_end = size->token_count - size->tiled_count;
    cursor at = {.single = size->row_count, .tiled = singles_end};
    dw_status status = DW_OK;
    for (uint32_t i = 0; i < work->count && status == DW_OK; i++) {
        status = fill_slice(graph, work, &work->slices[i], &at, err);
    }
    if (status == DW_OK) {
        fill_tiles(work, places_of(graph, work)->table, at.tiled, size->token_count - at.tiled,
                   &at);
        DW_ASSERT(at.row <= size->row_count && at.single <= singles_end &&
                  at.tile <= dw_cuda_tile_count(dw_model_shape_of(work->model), size->tiled_count));
    }
    return status;
}

/* The last tokens of the graph, as rows that are wanted are its last; padding is before them. */
static dw_status fill_one(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    dw_step_slice *slice = &work->slices[0];
    token_source from;
    dw_status status = source_of(graph, work, slice, 0, &from, err);
    if (status != DW_OK) {
        return status;
    }
    dw_cuda_token *table = places_of(graph, work)->table;
    const uint32_t padding = graph->size.token_count - slice->token_count;
    fill_rows(table, &from, 0, slice->token_count, padding);
    if (graph->size.tiled_count > 0) {
        cursor at = {.tile = 0};
        fill_tiles(work, table, padding, slice->token_count, &at);
        fill_tiles(work, table, 0, padding, &at);
        DW_ASSERT(at.tile <=
                  dw_cuda_tile_count(dw_model_shape_of(work->model), graph->size.tiled_count));
    }
    return dw__plan_fill_weights(graph, slice, err);
}

static dw_status fill(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    const places *own = places_of(graph, work);
    const dw_forward_graph *forward = &graph->forward;
    graph->before = (dw_device_copy){forward->table, own->table, ggml_nbytes(forward->table)};
    graph->after = (dw_device_copy){NULL, NULL, 0};
    if (forward->candidates != NULL) {
        graph->after = (dw_device_copy){forward->candidates, own->candidates,
                                        ggml_nbytes(forward->candidates)};
    }
    memset(own->table, 0, graph->size.token_count * sizeof *own->table);
    if (!work->in_batch) {
        return fill_one(graph, work, err);
    }
    return graph->size.rows_first ? fill_prompts(graph, work, err) : fill_batch(graph, work, err);
}

/* ---- after a run ---- */

static dw_status fetch_row(const dw_step_graph *graph, uint32_t row, size_t bytes, float *logits,
                           dw_error *err)
{
    return dw_device_tensor_get(graph->device, graph->forward.result, logits, row * bytes, bytes,
                                err);
}

/* A choice from row `row`: from its likeliest, or where these do not decide from the whole of it,
 * which is fetched. The choice has its own status. */
static void choose(dw_step_graph *graph, const dw_step_work *work, const dw_step_slice *slice,
                   uint32_t row)
{
    dw_choice *choice = slice->choice;
    if (dw__choice_from_top_k(choice, candidates_of(graph, work, row))) {
        return;
    }
    dw_device_view *view;
    float *logits;
    choice->status =
        dw__scratch_rows(work->scratch, work->model, 1, &view, &logits, &choice->error);
    if (choice->status == DW_OK) {
        choice->status = fetch_row(graph, row, row_bytes(work), logits, &choice->error);
    }
    if (choice->status == DW_OK) {
        dw_count(&slice->step->counters->device_placed_bytes, row_bytes(work));
        dw__choice_from_row(choice, logits, dw_model_shape_of(work->model)->vocab_count);
    }
}

/* NaN among logits of the slice, whose rows are the graph's from `row` on: counted with the
 * candidates. */
static bool rows_have_nan(const dw_step_graph *graph, const dw_step_work *work,
                          const dw_step_slice *slice, uint32_t row)
{
    bool nan = false;
    for (uint32_t i = 0; i < slice->row_count; i++) {
        nan = nan || candidates_of(graph, work, row + i)->nan_count > 0;
    }
    return nan;
}

/* What the device could not bring to one slice of a batch, whose logits are row `row`. */
static dw_status deliver_row(dw_step_graph *graph, const dw_step_work *work,
                             const dw_step_slice *slice, uint32_t row, dw_error *err)
{
    dw_device_view *view = slice->step->view;
    size_t bytes = row_bytes(work);
    if (slice->rows == NULL) {
        return DW_OK;
    }
    if (!dw_device_view_is_staged(view)) {
        dw_count(&slice->step->counters->device_placed_bytes, bytes);
        return DW_OK;
    }
    dw_status status = fetch_row(graph, row, bytes, slice->rows, err);
    dw_device_view_note_staged(view, bytes);
    return status;
}

/* By the device's clock; all rows are done with at about the same time. */
static void note_times(const dw_step_graph *graph, const dw_step_work *work)
{
    if (places_of(graph, work)->candidates != NULL && graph->size.row_count > 0) {
        const dw_top_k *last = candidates_of(graph, work, graph->size.row_count - 1);
        work->slices[0].began_ns = last->began_ns;
        work->slices[0].ended_ns = last->ended_ns;
    }
}

/* Copies for the context, from where the rows are: the caller's memory, or the device. The first
 * row of the graph that is the slice's is `row`. */
static dw_status keep_rows(dw_step_graph *graph, const dw_step_work *work,
                           const dw_step_slice *slice, uint32_t row, dw_error *err)
{
    const size_t bytes = row_bytes(work);
    for (uint32_t i = 0; slice->kept != NULL && i < slice->row_count; i++) {
        float *copy = dw__step_slice_kept(slice, i);
        if (copy == NULL) {
            continue;
        }
        if (slice->choice == NULL) {
            memcpy(copy, slice->rows + i * (bytes / sizeof *copy), bytes);
            continue;
        }
        dw_status status = fetch_row(graph, row + i, bytes, copy, err);
        if (status != DW_OK) {
            return status;
        }
        dw_count(&slice->step->counters->device_placed_bytes, bytes);
    }
    return DW_OK;
}

/* Of a slice whose rows are the graph's from `row` on. */
static dw_status finish_slice(dw_step_graph *graph, const dw_step_work *work, dw_step_slice *slice,
                              uint32_t row, dw_error *err)
{
    if (slice->step->result != DW_RESULT_LOGITS) { /* of one, and in the caller's memory */
        dw__step_slice_conclude(slice, dw_model_shape_of(work->model));
        return DW_OK;
    }
    slice->nan = rows_have_nan(graph, work, slice, row);
    dw_status status = work->in_batch ? deliver_row(graph, work, slice, row, err) : DW_OK;
    if (status == DW_OK && !slice->nan) {
        status = keep_rows(graph, work, slice, row, err);
    }
    if (status == DW_OK && slice->choice != NULL && !slice->nan) {
        slice->likeliest = candidates_of(graph, work, row)->list[0].token;
        choose(graph, work, slice, row);
    }
    return status;
}

static dw_status finish(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    dw_status status = DW_OK;
    uint32_t row = 0;
    note_times(graph, work);
    for (uint32_t i = 0; i < work->count && status == DW_OK; i++) {
        status = finish_slice(graph, work, &work->slices[i], row, err);
        /* Alone each token has a row, wanted or not. */
        row += graph->size.rows_first ? work->slices[i].row_count : 1;
    }
    return status;
}

const dw_step_plan dw__cuda_plan = {.name = "cuda",
                                    .accepts = accepts,
                                    .size = size_of,
                                    .graphs = {.build = build, .release = release},
                                    .prepare = prepare,
                                    .flies = true,
                                    .fill = fill,
                                    .finish = finish};
