/* One slice with ggml's attention: on a GPU, where nothing else takes it. */
#include <string.h>

#include "device/cuda_node.h"
#include "inference/context_tree.h"
#include "inference/step_plan.h"

#define HALF_MINUS_INFINITY 0xfc00u

static bool accepts(const dw_step_work *work)
{
    return !work->in_batch &&
           dw_device_info_of(dw_model_device(work->model))->kind != DW_DEVICE_CPU;
}

/* Attention looks at whole steps of DW_KV_STEP_TOKENS records: a graph serves many lengths. */
static uint32_t kv_count_of(const dw_step_slice *slice)
{
    uint32_t end = dw__step_slice_past(slice) + slice->token_count;
    uint32_t steps = (end + DW_KV_STEP_TOKENS - 1) / DW_KV_STEP_TOKENS;
    return slice->log != NULL ? steps * DW_KV_STEP_TOKENS : 0;
}

static dw_forward_size size_of(const dw_step_work *work)
{
    const dw_step_slice *slice = &work->slices[0];
    return (dw_forward_size){.token_count = slice->token_count,
                             .kv_count = kv_count_of(slice),
                             .row_count = dw__plan_row_count(slice),
                             .kv_type = slice->kv_type,
                             .adapters = slice->adapters,
                             .result = slice->step->result,
                             .embeddings = slice->step->embeddings != NULL,
                             .long_context =
                                 dw__step_slice_is_long(slice, dw_model_shape_of(work->model))};
}

/* ggml's attention on CUDA caps scores for heads of these lengths only, and ends the program at
 * others. What it does not have otherwise it says. */
static dw_status check_heads(const dw_step_graph *graph, const dw_model *model, dw_error *err)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    if (graph->size.kv_count == 0 || shape->attn_logit_softcap <= 0 || shape->head_dim == 128 ||
        shape->head_dim == 256 || !dw_cuda_node_served(dw_model_device(model))) {
        return DW_OK;
    }
    return dw_fail(err, DW_E_UNSUPPORTED,
                   "a step with a mask or rows of its own: capped scores with heads of %u are not "
                   "to be had on %s, of 128 and 256 they are",
                   shape->head_dim, dw_device_info_of(dw_model_device(model))->name);
}

static dw_status build(dw_step_graph *graph, dw_model *model, dw_error *err)
{
    dw_status status = check_heads(graph, model, err);
    if (status != DW_OK) {
        return status;
    }
    return dw__step_graph_build(graph, model, &(dw_forward_options){.attention = NULL}, err);
}

static dw_status prepare(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    dw_kv_log *log = work->slices[0].log;
    DW_ASSERT(log == NULL || graph->size.kv_count <= dw_kv_log_committed(log));
    dw_status status = dw__step_graph_place_log(graph, log, err);
    return status == DW_OK ? dw__plan_place_one(graph, work, err) : status;
}

/* Where each token's record goes. */
static dw_status fill_records(dw_step_graph *graph, uint32_t past, dw_error *err)
{
    struct ggml_tensor *input = graph->forward.records;
    if (!dw__input_is_used(input)) {
        return DW_OK;
    }
    int64_t *records = dw__input_begin(graph, input);
    for (uint32_t i = 0; i < graph->size.token_count; i++) {
        records[i] = (int64_t)past + (int64_t)i;
    }
    return dw__input_done(graph, input, err);
}

/* Token i sees all records up to its own, or the last `window` of them. */
static dw_status fill_mask(dw_step_graph *graph, struct ggml_tensor *input, uint32_t past,
                           uint32_t window, dw_error *err)
{
    if (!dw__input_is_used(input)) {
        return DW_OK;
    }
    uint32_t kv_count = graph->size.kv_count;
    uint16_t *row = dw__input_begin(graph, input);
    for (uint32_t i = 0; i < graph->size.token_count; i++, row += kv_count) {
        uint32_t end = past + i + 1;
        uint32_t first = window > 0 && end > window ? end - window : 0;
        for (uint32_t j = 0; j < kv_count; j++) {
            row[j] = j >= first && j < end ? 0 : HALF_MINUS_INFINITY;
        }
    }
    return dw__input_done(graph, input, err);
}

/* What token `at` of a tree sees: row [kv_count], none of it so far. */
static void fill_tree_row(const dw__tree *tree, uint32_t at, uint16_t *row)
{
    const size_t width = (size_t)tree->past + tree->count;
    if (tree->mask != NULL) {
        for (size_t j = 0; j <= (size_t)tree->past + at; j++) {
            row[j] = tree->mask[at * width + j] != 0 ? 0 : HALF_MINUS_INFINITY;
        }
        return;
    }
    memset(row, 0, tree->past * sizeof *row);
    for (int32_t i = (int32_t)at; i >= 0; i = tree->parents[i]) {
        row[tree->past + (uint32_t)i] = 0;
    }
}

/* A window is one of positions. */
static void cut_tree_row(const dw__tree *tree, uint32_t at, uint32_t window, uint16_t *row)
{
    const int64_t first = (int64_t)tree->positions[at] - window + 1;
    for (uint32_t j = 0; j <= tree->past + at; j++) {
        const int64_t position =
            j < tree->past ? (int64_t)j : (int64_t)tree->positions[j - tree->past];
        if (position < first) {
            row[j] = HALF_MINUS_INFINITY;
        }
    }
}

static dw_status fill_tree_mask(dw_step_graph *graph, const dw_step_slice *slice,
                                struct ggml_tensor *input, uint32_t window, dw_error *err)
{
    if (!dw__input_is_used(input)) {
        return DW_OK;
    }
    const uint32_t kv_count = graph->size.kv_count;
    uint16_t *row = dw__input_begin(graph, input);
    for (uint32_t i = 0; i < slice->token_count; i++, row += kv_count) {
        for (uint32_t j = 0; j < kv_count; j++) {
            row[j] = HALF_MINUS_INFINITY;
        }
        fill_tree_row(slice->step->tree, slice->first + i, row);
        if (window > 0) {
            cut_tree_row(slice->step->tree, slice->first + i, window, row);
        }
    }
    return dw__input_done(graph, input, err);
}

static dw_status fill_tree(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    const dw_step_slice *slice = &work->slices[0];
    const dw_forward_graph *forward = &graph->forward;
    dw_status status = dw__plan_fill_tree_positions(graph, slice, err);
    if (status == DW_OK) {
        status = fill_records(graph, dw__step_slice_past(slice), err);
    }
    if (status == DW_OK) {
        status = fill_tree_mask(graph, slice, forward->mask, 0, err);
    }
    if (status == DW_OK) {
        status = fill_tree_mask(graph, slice, forward->window_mask,
                                dw_model_shape_of(work->model)->window, err);
    }
    return status;
}

static dw_status fill(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    const dw_step_slice *slice = &work->slices[0];
    uint32_t past = dw__step_slice_past(slice);
    if (slice->step->tree != NULL) {
        return fill_tree(graph, work, err);
    }
    dw_status status = dw__plan_fill_weights(graph, slice, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__step_graph_fill_positions(graph, past, err);
    if (status != DW_OK) {
        return status;
    }
    status = fill_records(graph, past, err);
    if (status != DW_OK) {
        return status;
    }
    status = fill_mask(graph, graph->forward.mask, past, 0, err);
    if (status != DW_OK) {
        return status;
    }
    uint32_t window = dw_model_shape_of(work->model)->window;
    return fill_mask(graph, graph->forward.window_mask, past, window, err);
}

const dw_step_plan dw__ggml_plan = {.name = "ggml",
                                    .accepts = accepts,
                                    .size = size_of,
                                    .graphs = {.build = build},
                                    .prepare = prepare,
                                    .fill = fill,
                                    .finish = dw__plan_conclude};
