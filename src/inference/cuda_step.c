/* Steps on a device that runs nodes of ours: what a graph needs beside its work memory, and one
 * token of each of many contexts in one run. */
#include <string.h>

#include "device/device_memory.h"
#include "device/device_view.h"
#include "inference/step_graph_internal.h"

#define ALIGN_BYTES 256u

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

bool dw__cuda_flash_serves(dw_model *model, dw_kv_type type)
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

/* ---- a graph's own memory ---- */

/* An input that lies at `data` whatever is run; `buffer` tells ggml only whose it is. */
static void place_input(struct ggml_tensor *tensor, ggml_backend_buffer_t buffer, void *data)
{
    if (tensor != NULL) {
        tensor->buffer = buffer;
        tensor->data = data;
    }
}

dw_status dw__cuda_graph_init(dw_step_graph *graph, dw_error *err)
{
    dw_forward_graph *forward = &graph->forward;
    size_t table = rounded(ggml_nbytes(forward->table));
    size_t ids = rounded(graph->size.token_count * sizeof *graph->ids);
    size_t candidates = forward->candidates != NULL ? ggml_nbytes(forward->candidates) : 0;
    size_t scratch = forward->scratch != NULL ? ggml_nbytes(forward->scratch) : ALIGN_BYTES;
    dw_status status =
        dw_device_locked_create(&graph->locked, graph->device, table + ids + candidates, err);
    if (status == DW_OK) {
        status = dw_device_buffer_create(&graph->scratch, graph->device, DW_USE_WORK, scratch, err);
    }
    if (status == DW_OK) {
        status = dw_device_buffer_fill(graph->device, graph->scratch, 0, err);
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "a step of %u tokens", graph->size.token_count);
    }
    unsigned char *base = ggml_backend_buffer_get_base(graph->locked);
    memset(base, 0, table + ids + candidates);
    graph->table = (void *)base;
    graph->ids = (void *)(base + table);
    graph->candidates = candidates > 0 ? (void *)(base + table + ids) : NULL;
    place_input(forward->table, graph->scratch, base);
    place_input(forward->candidates, graph->scratch, base + table + ids);
    place_input(forward->scratch, graph->scratch, ggml_backend_buffer_get_base(graph->scratch));
    return DW_OK;
}

void dw__cuda_graph_release(dw_step_graph *graph)
{
    dw_device_locked_destroy(graph->device, graph->locked);
    dw_device_buffer_destroy(graph->device, DW_USE_WORK, graph->scratch);
}

/* ---- the table ---- */

/* The device's address of a log's first record. */
static uint64_t records_of(const dw_kv_log *log)
{
    return (uint64_t)(uintptr_t)dw_kv_log_base(log);
}

/* Tokens of a step, of which the first is the graph's `from`-th. */
typedef struct token_source {
    dw_device_view *view;
    const int32_t *tokens; /* [count] */
    uint32_t count;
    uint32_t from;
} token_source;

/* The device's address of them. */
static dw_status tokens_of(dw_step_graph *graph, const token_source *of, uint64_t *address,
                           dw_error *err)
{
    size_t bytes = of->count * sizeof *of->tokens;
    if (!dw_device_view_is_staged(of->view)) {
        return dw_device_view_address(of->view, of->tokens, bytes, address, err);
    }
    memcpy(graph->ids + of->from, of->tokens, bytes);
    dw_device_view_note_staged(of->view, bytes);
    *address = (uint64_t)(uintptr_t)(graph->ids + of->from);
    return DW_OK;
}

dw_status dw__cuda_table_fill(dw_step_graph *graph, const dw_slice *slice, dw_error *err)
{
    uint64_t tokens = 0;
    token_source source = {slice->view, slice->tokens, slice->token_count, 0};
    dw_status status = tokens_of(graph, &source, &tokens, err);
    uint32_t past = dw_kv_log_length(slice->log);
    for (uint32_t i = 0; status == DW_OK && i < slice->token_count; i++) {
        graph->table[i] = (dw_cuda_token){.records = records_of(slice->log),
                                          .token = tokens + i * sizeof *slice->tokens,
                                          .position = past + i};
    }
    return status;
}

static dw_status fill_share(dw_step_graph *graph, uint32_t index, const dw_share *share,
                            size_t vocab_count, dw_error *err)
{
    dw_cuda_token *row = &graph->table[index];
    *row = (dw_cuda_token){.records = records_of(share->log),
                           .position = dw_kv_log_length(share->log)};
    token_source source = {share->view, share->given, 1, index};
    dw_status status = tokens_of(graph, &source, &row->token, err);
    if (status == DW_OK && share->logits != NULL && !dw_device_view_is_staged(share->view)) {
        status = dw_device_view_address(share->view, share->logits,
                                        vocab_count * sizeof *share->logits, &row->logits, err);
    }
    return status;
}

/* ---- what a run has left ---- */

bool dw__cuda_row_is_nan(const dw_step_graph *graph, uint32_t row)
{
    return graph->candidates[row].nan_count > 0;
}

uint32_t dw__cuda_top_k_count(const dw_choice *choice)
{
    uint32_t wanted = choice != NULL ? dw_sampler_top_k_count(choice->sampler) : 1;
    return wanted > 1 ? DW_TOP_K_MAX : 1; /* two kinds of graphs are enough */
}

static dw_status fetch_row(const dw_step_graph *graph, uint32_t row, size_t vocab_count,
                           float *logits, dw_error *err)
{
    size_t bytes = vocab_count * sizeof *logits;
    return dw_device_tensor_get(graph->device, graph->forward.result, logits, row * bytes, bytes,
                                err);
}

/* Where the likeliest do not decide, the whole row is fetched. */
void dw__cuda_choose(dw_step_graph *graph, dw_graph_cache *cache, dw_model *model, uint32_t row,
                     dw_choice *choice)
{
    size_t vocab_count = dw_model_shape_of(model)->vocab_count;
    bool decided = false;
    choice->status = dw_sampler_choose_from_top_k(choice->sampler, &graph->candidates[row],
                                                  &decided, &choice->token, &choice->error);
    if (choice->status != DW_OK || decided) {
        return;
    }
    dw_device_view *view;
    float *logits;
    choice->status = dw__scratch_rows(cache, model, 1, &view, &logits, &choice->error);
    if (choice->status == DW_OK) {
        choice->status = fetch_row(graph, row, vocab_count, logits, &choice->error);
    }
    if (choice->status == DW_OK) {
        choice->status = dw_sampler_choose(choice->sampler, logits, &choice->token, &choice->error);
    }
}

/* ---- many contexts ---- */

/* Sizes that batches are padded to, so that few graphs serve all: a quarter more at the most. */
static uint32_t padded(uint32_t count)
{
    uint32_t step = 1;
    while (count > 8 * step) {
        step *= 2;
    }
    return count <= 4 ? count : (count + step - 1) / step * step;
}

static dw_forward_size shares_size(dw_model *model, dw_kv_type kv_type, const dw_share *shares,
                                   uint32_t count)
{
    dw_forward_size size = {.token_count = padded(count),
                            .kv_type = kv_type,
                            .cuda = true,
                            .alone = true,
                            .keeps_rows = true};
    for (uint32_t i = 0; i < count; i++) {
        const dw_share *share = &shares[i];
        DW_ASSERT(share->token_count == 1);
        size.long_context = dw_kv_log_capacity(share->log) > dw_model_shape_of(model)->rope_context;
        size.place_rows = size.place_rows || share->logits != NULL;
        if (share->row_count > 0) {
            uint32_t candidates = dw__cuda_top_k_count(share->choice);
            size.row_count = size.token_count;
            size.top_k_count = candidates > size.top_k_count ? candidates : size.top_k_count;
        }
    }
    return size;
}

static dw_status prepare(dw_step_graph *graph, const dw_share *shares, uint32_t count,
                         size_t vocab_count, dw_error *err)
{
    dw_status status = DW_OK;
    if (graph->allocator == NULL) {
        status = dw__step_graph_allocate(graph, err);
    }
    for (uint32_t i = 0; status == DW_OK && i < count; i++) {
        status = fill_share(graph, i, &shares[i], vocab_count, err);
    }
    for (uint32_t i = count; i < graph->size.token_count; i++) {
        graph->table[i] = (dw_cuda_token){0};
    }
    return status;
}

/* What the device could not bring to one of the shares, and what is chosen from its logits. */
static dw_status finish(dw_step_graph *graph, dw_graph_cache *cache, dw_model *model,
                        dw_share *share, uint32_t row, dw_error *err)
{
    size_t vocab_count = dw_model_shape_of(model)->vocab_count;
    dw_status status = DW_OK;
    share->nan = share->row_count > 0 && dw__cuda_row_is_nan(graph, row);
    size_t bytes = share->logits != NULL ? vocab_count * sizeof *share->logits : 0;
    if (bytes > 0 && dw_device_view_is_staged(share->view)) {
        status = fetch_row(graph, row, vocab_count, share->logits, err);
        dw_device_view_note_staged(share->view, bytes);
    } else {
        share->placed_bytes = bytes;
    }
    if (status == DW_OK && share->choice != NULL && !share->nan) {
        dw__cuda_choose(graph, cache, model, row, share->choice);
    }
    return status;
}

dw_status dw__cuda_shares_compute(dw_model *model, dw_graph_cache *cache, dw_kv_type kv_type,
                                  dw_share *shares, uint32_t count, dw_error *err)
{
    size_t vocab_count = dw_model_shape_of(model)->vocab_count;
    dw_forward_size size = shares_size(model, kv_type, shares, count);
    dw_step_graph *graph = NULL;
    dw_status status = dw__step_graph_find(&graph, model, cache, &size, err);
    if (status != DW_OK) {
        return status;
    }
    graph->used_at = ++cache->clock;
    status = prepare(graph, shares, count, vocab_count, err);
    if (status == DW_OK) {
        status = dw_device_run(graph->device, graph->forward.graph, NULL, err);
    }
    for (uint32_t i = 0; status == DW_OK && i < count; i++) {
        status = finish(graph, cache, model, &shares[i], i, err);
    }
    return status;
}
