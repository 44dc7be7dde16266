#include "base/alloc.h"
#include "device/device_memory.h"
#include "device/device_view.h"
#include "inference/context_internal.h"
#include "inference/step_graph_internal.h"

#define PLAIN_RECORDS_MAX 384u
#define HALF_MINUS_INFINITY 0xfc00u

static void destroy_graph(dw_step_graph *graph)
{
    if (graph == NULL) {
        return;
    }
    dw_device_graph_free(graph->device, graph->allocator);
    if (graph->ggml != NULL) {
        ggml_free(graph->ggml);
    }
    dw_attention_destroy(graph->attention);
    dw_matmul_destroy(graph->matmul);
    dw_free(graph->logits_scatter.rows);
    dw_free(graph->kv_views);
    dw_free(graph->staging);
    dw__cuda_graph_release(graph);
    dw_free(graph);
}

static void destroy_cache(void *object)
{
    dw_graph_cache *cache = object;
    dw_device_view_destroy(cache->rows_view);
    dw_region_destroy(cache->rows);
    for (size_t i = 0; i < DW__GRAPHS_MAX; i++) {
        destroy_graph(cache->graphs[i]);
    }
    dw_free(cache);
}

/* All views of the log, in a list: there are six a layer. */
static dw_status list_kv_views(dw_step_graph *graph, dw_error *err)
{
    if (graph->forward.kv == NULL) {
        return DW_OK;
    }
    size_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        count = 0;
        for (struct ggml_tensor *tensor = ggml_get_first_tensor(graph->ggml); tensor != NULL;
             tensor = ggml_get_next_tensor(graph->ggml, tensor)) {
            if (tensor->view_src == graph->forward.kv) {
                if (pass == 1) {
                    graph->kv_views[count] = tensor;
                }
                count++;
            }
        }
        if (pass == 0) {
            graph->kv_views = dw_alloc(count, sizeof(struct ggml_tensor *));
            if (graph->kv_views == NULL) {
                return dw_fail(err, DW_E_MEMORY, "no memory for a graph's views");
            }
        }
    }
    graph->kv_view_count = count;
    return DW_OK;
}

static dw_status create_graph(dw_step_graph **out, dw_model *model, const dw_forward_size *size,
                              dw_error *err)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    *out = NULL;
    dw_step_graph *graph = dw_alloc(1, sizeof *graph);
    if (graph == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph");
    }
    graph->size = *size;
    struct ggml_init_params params = {.mem_size = dw_forward_graph_bytes(shape), .no_alloc = true};
    graph->ggml = ggml_init(params);
    dw_status status =
        graph->ggml != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a graph");
    dw_device *device = dw_model_device(model);
    graph->device = device;
    bool host = dw_device_info_of(device)->kind == DW_DEVICE_CPU;
    if (status == DW_OK && size->kv_count == 0 && host) {
        status = dw_attention_create(&graph->attention, shape, size->kv_type,
                                     dw_device_threads(device), err);
    }
    graph->size.attention = graph->attention;
    if (status == DW_OK && dw_device_info_of(device)->kind == DW_DEVICE_CPU) {
        status = dw_matmul_create(&graph->matmul, dw_forward_product_count(shape),
                                  dw_device_threads(device), err);
    }
    graph->size.matmul = graph->matmul;
    if (status == DW_OK && size->logits_scatter != NULL) {
        graph->logits_scatter =
            (dw_logits_scatter){.shape = shape, .output = &dw_model_weights_of(model)->output};
        graph->logits_scatter.rows = dw_alloc(size->row_count + 1, sizeof(float *));
        graph->size.logits_scatter = &graph->logits_scatter;
        if (graph->logits_scatter.rows == NULL) {
            status = dw_fail(err, DW_E_MEMORY, "no memory for %u rows", size->row_count);
        }
    }
    if (status == DW_OK) {
        status = dw_forward_graph_build(&graph->forward, graph->ggml, shape,
                                        dw_model_weights_of(model), &graph->size, err);
    }
    if (status == DW_OK) {
        status = list_kv_views(graph, err);
    }
    if (status == DW_OK && size->cuda) {
        status = dw__cuda_graph_init(graph, err);
    }
    if (status == DW_OK) {
        status = dw_device_check_graph(device, graph->forward.graph, err);
    }
    if (status != DW_OK) {
        destroy_graph(graph);
        return status;
    }
    *out = graph;
    return DW_OK;
}

static bool same_size(const dw_forward_size *a, const dw_forward_size *b)
{
    return a->token_count == b->token_count && a->kv_count == b->kv_count &&
           a->row_count == b->row_count && a->kv_type == b->kv_type && a->result == b->result &&
           a->long_context == b->long_context && a->cuda == b->cuda && a->alone == b->alone &&
           a->place_rows == b->place_rows && a->keeps_rows == b->keeps_rows &&
           a->top_k_count == b->top_k_count &&
           (a->logits_scatter != NULL) == (b->logits_scatter != NULL);
}

/* Graphs of many tokens have much work memory: few are kept, in places of their own. */
#define MANY_TOKENS 16u
#define MANY_PLACES 6u

/* The graph for `size`: one that is kept, or a new one in the place of the longest unused. */
dw_status dw__step_graph_find(dw_step_graph **out, dw_model *model, dw_graph_cache *cache,
                              const dw_forward_size *size, dw_error *err)
{
    bool many = size->token_count > MANY_TOKENS;
    size_t first = many ? 0 : MANY_PLACES;
    size_t end = many ? MANY_PLACES : DW__GRAPHS_MAX;
    size_t victim = first;
    for (size_t i = first; i < end; i++) {
        dw_step_graph *graph = cache->graphs[i];
        if (graph != NULL && same_size(&graph->size, size)) {
            *out = graph;
            return DW_OK;
        }
        dw_step_graph *worst = cache->graphs[victim];
        if (worst != NULL && (graph == NULL || graph->used_at < worst->used_at)) {
            victim = i;
        }
    }
    dw_status status = create_graph(out, model, size, err);
    if (status == DW_OK) {
        destroy_graph(cache->graphs[victim]);
        cache->graphs[victim] = *out;
    }
    return status;
}

/* Point the graph at this slice's memory. */
static dw_status place(dw_step_graph *graph, const dw_slice *slice, dw_device_view *rows_view,
                       dw_error *err)
{
    dw_forward_graph *forward = &graph->forward;
    dw_status status = DW_OK;
    if (forward->kv != NULL) {
        status = dw_kv_log_place(slice->log, forward->kv, err);
    }
    if (status == DW_OK && graph->size.cuda) {
        status = dw__cuda_table_fill(graph, slice, err);
    } else if (status == DW_OK) {
        status = dw_device_view_place(slice->view, forward->tokens, slice->tokens, err);
    }
    struct ggml_tensor *result = forward->pooled != NULL ? forward->pooled : forward->result;
    if (status == DW_OK && slice->row_count > 0 && !graph->size.keeps_rows) {
        dw_device_view *view = slice->choice != NULL ? rows_view : slice->view;
        status = dw_device_view_place(view, result, slice->rows, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (forward->pooled != NULL) { /* the result is a view of it */
        forward->result->buffer = forward->pooled->buffer;
        forward->result->data = forward->pooled->data;
    }
    for (size_t i = 0; i < graph->kv_view_count; i++) {
        struct ggml_tensor *tensor = graph->kv_views[i];
        tensor->buffer = forward->kv->buffer;
        tensor->data = (unsigned char *)forward->kv->data + tensor->view_offs;
    }
    return DW_OK;
}

/* The largest input of the host's making, or more. */
static size_t staging_bytes(const dw_forward_graph *forward)
{
    size_t bytes = ggml_nbytes(forward->positions);
    bytes += forward->shares != NULL ? ggml_nbytes(forward->shares) : 0;
    bytes += forward->mask != NULL ? ggml_nbytes(forward->mask) : 0;
    bytes += forward->records != NULL ? ggml_nbytes(forward->records) : 0;
    return bytes;
}

/* Once, after `place`: give work memory to all that has no address yet. */
dw_status dw__step_graph_allocate(dw_step_graph *graph, dw_error *err)
{
    bool host = ggml_backend_buft_is_host(dw_device_buffer_type(graph->device));
    if (!host && graph->staging == NULL) {
        DW_ASSERT(graph->attention == NULL);
        graph->staging = dw_alloc(1, staging_bytes(&graph->forward));
        if (graph->staging == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a graph's inputs");
        }
    }
    dw_status status =
        dw_device_graph_allocate(&graph->allocator, graph->device, graph->forward.graph, err);
    return status == DW_OK ? DW_OK
                           : dw_fail_within(err, status, "a step of %u tokens over %u",
                                            graph->size.token_count, graph->size.kv_count);
}

/* Where to write an input of the host's making; input_done brings it to the device. */
static void *input_of(dw_step_graph *graph, struct ggml_tensor *tensor)
{
    return graph->staging != NULL ? graph->staging : tensor->data;
}

static dw_status input_done(dw_step_graph *graph, struct ggml_tensor *tensor, dw_error *err)
{
    return graph->staging == NULL ? DW_OK
                                  : dw_device_tensor_set(graph->device, tensor, graph->staging, 0,
                                                         ggml_nbytes(tensor), err);
}

/* An input that nothing in the graph uses gets no memory: with no rows there is no last query. */
static bool is_used(const struct ggml_tensor *tensor)
{
    return tensor != NULL && tensor->data != NULL;
}

static dw_status fill_positions(dw_step_graph *graph, uint32_t start, dw_error *err)
{
    struct ggml_tensor *tensor = graph->forward.positions;
    if (!is_used(tensor)) {
        return DW_OK;
    }
    int32_t *positions = input_of(graph, tensor);
    for (uint32_t i = 0; i < graph->size.token_count; i++) {
        positions[i] = (int32_t)(start + i);
    }
    return input_done(graph, tensor, err);
}

static dw_status fill_token_shares(dw_step_graph *graph, const dw_slice *slice, dw_error *err)
{
    struct ggml_tensor *tensor = graph->forward.shares;
    if (!is_used(tensor)) {
        return DW_OK;
    }
    float *shares = input_of(graph, tensor);
    for (uint32_t i = 0; i < graph->size.token_count; i++) {
        shares[i] = i < slice->share_count ? slice->share : 0.0f;
    }
    return input_done(graph, tensor, err);
}

static dw_status fill_records(dw_step_graph *graph, uint32_t start, dw_error *err)
{
    struct ggml_tensor *tensor = graph->forward.records;
    if (!is_used(tensor)) {
        return DW_OK;
    }
    int64_t *records = input_of(graph, tensor);
    for (uint32_t i = 0; i < graph->size.token_count; i++) {
        records[i] = (int64_t)start + (int64_t)i;
    }
    return input_done(graph, tensor, err);
}

/* Token i sees all records up to its own, or the last `window` of them. */
static dw_status fill_mask(dw_step_graph *graph, struct ggml_tensor *tensor, uint32_t start,
                           uint32_t window, dw_error *err)
{
    if (!is_used(tensor)) {
        return DW_OK;
    }
    uint32_t kv_count = graph->size.kv_count;
    uint16_t *row = input_of(graph, tensor);
    for (uint32_t i = 0; i < graph->size.token_count; i++, row += kv_count) {
        uint32_t end = start + i + 1;
        uint32_t first = window > 0 && end > window ? end - window : 0;
        for (uint32_t j = 0; j < kv_count; j++) {
            row[j] = j >= first && j < end ? 0 : HALF_MINUS_INFINITY;
        }
    }
    return input_done(graph, tensor, err);
}

/* The inputs of the host's making. */
static dw_status fill_inputs(dw_step_graph *graph, const dw_slice *slice, uint32_t start,
                             uint32_t window, dw_error *err)
{
    dw_status status = fill_token_shares(graph, slice, err);
    if (graph->size.cuda) { /* the others come of the table */
        return status;
    }
    if (status == DW_OK) {
        status = fill_positions(graph, start, err);
    }
    if (status == DW_OK) {
        status = fill_records(graph, start, err);
    }
    if (status == DW_OK) {
        status = fill_mask(graph, graph->forward.mask, start, 0, err);
    }
    return status == DW_OK ? fill_mask(graph, graph->forward.window_mask, start, window, err)
                           : status;
}

dw_status dw__graph_cache_find(dw_graph_cache **out, dw_model_extra *extra, dw_error *err)
{
    if (extra->object == NULL) {
        extra->object = dw_alloc(1, sizeof(dw_graph_cache));
        extra->destroy = destroy_cache;
        if (extra->object == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for graphs");
        }
    }
    *out = extra->object;
    return DW_OK;
}

/* Steps of so few tokens go through our attention on CUDA too: ggml's wants another graph for each
 * 256 records. And all do with heads that ggml's kernels there do not have. */
#define CUDA_FEW_TOKENS 16u

/* Records that ggml's attention looks at, in steps, so that a graph serves many lengths; 0: ours
 * does it, which looks at as many as there are.
 *
 * Ours runs on the host's cores, and there for more than PLAIN_RECORDS_MAX records. Below that
 * ggml's costs hardly more, and its sums are libllama's, bit by bit. That is worth having: weights
 * of few bits make the last bit of a sum decide how a whole activation is rounded, so that another
 * order of the same additions shows (libllama differs from itself as much when it takes a prompt in
 * smaller pieces). */
static uint32_t kv_count_of(dw_model *model, const dw_slice *slice)
{
    if (slice->log == NULL) {
        return 0;
    }
    uint32_t end = dw_kv_log_length(slice->log) + slice->token_count;
    bool host = dw_device_info_of(dw_model_device(model))->kind == DW_DEVICE_CPU;
    if (host && end > PLAIN_RECORDS_MAX) {
        return 0;
    }
    if (dw_cuda_node_served(dw_model_device(model)) &&
        (slice->token_count <= CUDA_FEW_TOKENS || !dw__cuda_flash_serves(model, slice->kv_type))) {
        return 0;
    }
    return (end + DW_KV_STEP_TOKENS - 1) / DW_KV_STEP_TOKENS * DW_KV_STEP_TOKENS;
}

/* A region of its own, since only such can be a device's buffer everywhere. */
dw_status dw__scratch_rows(dw_graph_cache *cache, dw_model *model, uint32_t count,
                           dw_device_view **view, float **rows, dw_error *err)
{
    size_t unit = 65536;
    size_t bytes = (size_t)count * dw_model_shape_of(model)->vocab_count * sizeof(float);
    bytes = (bytes + unit - 1) / unit * unit;
    dw_status status = DW_OK;
    if (cache->rows == NULL || dw_region_committed_bytes(cache->rows) < bytes) {
        dw_region_options options = {
            .reserve_bytes = bytes, .commit_bytes = bytes, .label = "logits"};
        dw_device_view_destroy(cache->rows_view);
        dw_region_destroy(cache->rows);
        cache->rows_view = NULL;
        cache->rows = NULL;
        status = dw_region_create(&cache->rows, &options, err);
        if (status == DW_OK) {
            status = dw_device_view_create(&cache->rows_view, dw_model_device(model), cache->rows,
                                           DW_VIEW_STAGEABLE, err);
        }
        if (status != DW_OK) { /* the next to ask tries again */
            dw_region_destroy(cache->rows);
            cache->rows = NULL;
        }
    }
    *view = cache->rows_view;
    *rows = status == DW_OK ? dw_region_base(cache->rows) : NULL;
    return status;
}

uint32_t dw_result_length(const dw_model_shape *shape, dw_forward_result result)
{
    return result == DW_RESULT_LOGITS ? shape->vocab_count : shape->embedding_length;
}

static dw_forward_size slice_size(dw_model *model, const dw_slice *slice)
{
    dw_forward_size size = {.token_count = slice->token_count,
                            .kv_count = kv_count_of(model, slice),
                            .row_count = slice->row_count,
                            .kv_type = slice->kv_type,
                            .result = slice->result};
    if (slice->log == NULL) {
        return size;
    }
    size.long_context = dw_kv_log_capacity(slice->log) > dw_model_shape_of(model)->rope_context;
    size.cuda = dw_cuda_node_served(dw_model_device(model));
    if (size.cuda) {
        bool logits = size.row_count > 0 && size.result == DW_RESULT_LOGITS;
        size.alone = size.token_count == 1;
        size.keeps_rows = slice->choice != NULL;
        size.top_k_count = logits ? dw__cuda_top_k_count(slice->choice) : 0;
    }
    return size;
}

bool dw__logits_checked(dw_model *model, const dw_slice *slice)
{
    return slice->log != NULL && slice->result == DW_RESULT_LOGITS &&
           dw_cuda_node_served(dw_model_device(model));
}

uint32_t dw__slice_tokens_max(dw_model *model)
{
    return dw_cuda_node_served(dw_model_device(model)) ? SLICE_TOKENS_MAX_CUDA : SLICE_TOKENS_MAX;
}

static dw_status prepare_attention(dw_step_graph *graph, const dw_slice *slice, uint32_t start,
                                   dw_error *err)
{
    dw_attention_sequence sequence = {.past = start, .token_count = slice->token_count};
    if (slice->log != NULL) {
        sequence.records = dw_kv_log_base(slice->log);
    }
    return dw_attention_prepare(graph->attention, &sequence, 1, err);
}

/* What is known of a slice's rows where they are. */
static dw_status look_at_rows(dw_step_graph *graph, dw_graph_cache *cache, dw_model *model,
                              const dw_slice *slice, dw_error *err)
{
    bool nan = false;
    for (uint32_t i = 0; graph->size.top_k_count > 0 && i < slice->row_count; i++) {
        nan = nan || dw__cuda_row_is_nan(graph, i);
    }
    if (nan) {
        return dw__nan_found(err);
    }
    if (slice->choice != NULL && graph->size.cuda) {
        dw__cuda_choose(graph, cache, model, 0, slice->choice);
    } else if (slice->choice != NULL) {
        size_t vocab_count = dw_model_shape_of(model)->vocab_count;
        dw_status status = dw__check_logits(slice->rows, vocab_count, err);
        if (status != DW_OK) {
            return status;
        }
        slice->choice->status = dw_sampler_choose(slice->choice->sampler, slice->rows,
                                                  &slice->choice->token, &slice->choice->error);
    }
    return DW_OK;
}

dw_status dw__slice_compute(dw_model *model, dw_model_extra *extra, const dw_slice *given,
                            dw_error *err)
{
    dw_slice slice = *given;
    dw_graph_cache *cache = NULL;
    dw_device_view *rows_view = NULL;
    dw_status status = dw__graph_cache_find(&cache, extra, err);
    DW_ASSERT(slice.choice == NULL || slice.row_count == 1);
    if (status != DW_OK) {
        return status;
    }
    uint32_t start = slice.log != NULL ? dw_kv_log_length(slice.log) : 0;
    dw_forward_size size = slice_size(model, &slice);
    DW_ASSERT(slice.log == NULL || size.kv_count <= dw_kv_log_committed(slice.log));
    if (slice.choice != NULL && !size.keeps_rows) {
        status = dw__scratch_rows(cache, model, 1, &rows_view, &slice.rows, err);
    }
    dw_step_graph *graph = NULL;
    if (status == DW_OK) {
        status = dw__step_graph_find(&graph, model, cache, &size, err);
    }
    if (status != DW_OK) {
        return status;
    }
    graph->used_at = ++cache->clock;
    status = place(graph, &slice, rows_view, err);
    if (status == DW_OK && graph->allocator == NULL) {
        status = dw__step_graph_allocate(graph, err);
    }
    if (status == DW_OK && graph->attention != NULL) {
        status = prepare_attention(graph, &slice, start, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = fill_inputs(graph, &slice, start, dw_model_shape_of(model)->window, err);
    if (status == DW_OK) {
        status = dw_device_run(graph->device, graph->forward.graph,
                               &(dw_device_run_options){.view = slice.view, .cancel = slice.cancel},
                               err);
    }
    return status == DW_OK ? look_at_rows(graph, cache, model, &slice, err) : status;
}

/* ---- several sequences ---- */

static void fill_shares(dw_step_graph *graph, const dw_share *shares, uint32_t count)
{
    int32_t *tokens = graph->forward.tokens->data;
    struct ggml_tensor *positions = graph->forward.positions;
    struct ggml_tensor *wanted = graph->forward.wanted;
    uint32_t token = 0;
    uint32_t row = 0;
    for (uint32_t i = 0; i < count; i++) {
        const dw_share *share = &shares[i];
        for (uint32_t k = 0; k < share->token_count; k++, token++) {
            tokens[token] = share->tokens[k];
            if (is_used(positions)) {
                ((int32_t *)positions->data)[token] = (int32_t)(dw_kv_log_length(share->log) + k);
            }
        }
        for (uint32_t k = 0; k < share->row_count; k++, row++) {
            size_t vocab_count = graph->logits_scatter.shape->vocab_count;
            graph->logits_scatter.rows[row] = share->logits + k * vocab_count;
            if (is_used(wanted)) {
                ((int32_t *)wanted->data)[row] = (int32_t)(token - share->row_count + k);
            }
        }
    }
}

static dw_status prepare_shares(dw_step_graph *graph, const dw_share *shares, uint32_t count,
                                dw_error *err)
{
    dw_attention_sequence sequences[DW__SHARES_MAX];
    uint32_t first = 0;
    for (uint32_t i = 0; i < count; i++) {
        sequences[i] = (dw_attention_sequence){.records = dw_kv_log_base(shares[i].log),
                                               .past = dw_kv_log_length(shares[i].log),
                                               .first_token = first,
                                               .token_count = shares[i].token_count};
        first += shares[i].token_count;
    }
    return dw_attention_prepare(graph->attention, sequences, count, err);
}

/* Logits that a choice is made from get rows of scratch. */
static dw_status give_scratch(dw_graph_cache *cache, dw_model *model, dw_share *shares,
                              uint32_t count, dw_error *err)
{
    uint32_t chosen = 0;
    float *rows = NULL;
    dw_device_view *view;
    for (uint32_t i = 0; i < count; i++) {
        chosen += shares[i].choice != NULL;
    }
    dw_status status =
        chosen > 0 ? dw__scratch_rows(cache, model, chosen, &view, &rows, err) : DW_OK;
    for (uint32_t i = 0; status == DW_OK && i < count; i++) {
        if (shares[i].choice != NULL) {
            DW_ASSERT(shares[i].row_count == 1);
            shares[i].logits = rows;
            rows += dw_model_shape_of(model)->vocab_count;
        }
    }
    return status;
}

static void look_at_shares(dw_model *model, dw_share *shares, uint32_t count)
{
    size_t vocab_count = dw_model_shape_of(model)->vocab_count;
    for (uint32_t i = 0; i < count; i++) {
        dw_choice *choice = shares[i].choice;
        shares[i].nan =
            dw__check_logits(shares[i].logits, shares[i].row_count * vocab_count, NULL) != DW_OK;
        if (choice != NULL && !shares[i].nan) {
            choice->status = dw_sampler_choose(choice->sampler, shares[i].logits, &choice->token,
                                               &choice->error);
        }
    }
}

bool dw__shares_served(const dw_device *device, bool several_tokens)
{
    return dw_device_info_of(device)->kind == DW_DEVICE_CPU ||
           (!several_tokens && dw_cuda_node_served(device));
}

dw_status dw__shares_compute(dw_model *model, dw_model_extra *extra, dw_kv_type kv_type,
                             dw_share *shares, uint32_t count, dw_error *err)
{
    DW_ASSERT(count > 0 && count <= DW__SHARES_MAX);
    dw_graph_cache *cache = NULL;
    dw_status status = dw__graph_cache_find(&cache, extra, err);
    if (status == DW_OK && dw_cuda_node_served(dw_model_device(model))) {
        return dw__cuda_shares_compute(model, cache, kv_type, shares, count, err);
    }
    if (status == DW_OK) {
        status = give_scratch(cache, model, shares, count, err);
    }
    if (status != DW_OK) {
        return status;
    }
    static dw_logits_scatter several; /* only that there are any */
    dw_forward_size size = {.kv_type = kv_type, .logits_scatter = &several};
    for (uint32_t i = 0; i < count; i++) {
        DW_ASSERT(dw_kv_log_base(shares[i].log) != NULL);
        size.token_count += shares[i].token_count;
        size.row_count += shares[i].row_count;
        size.long_context =
            dw_kv_log_capacity(shares[i].log) > dw_model_shape_of(model)->rope_context;
    }
    dw_step_graph *graph = NULL;
    status = dw__step_graph_find(&graph, model, cache, &size, err);
    if (status != DW_OK) {
        return status;
    }
    graph->used_at = ++cache->clock;
    if (graph->allocator == NULL) {
        status = dw__step_graph_allocate(graph, err);
    }
    if (status == DW_OK) {
        status = prepare_shares(graph, shares, count, err);
    }
    if (status != DW_OK) {
        return status;
    }
    fill_shares(graph, shares, count);
    status = dw_device_run(dw_model_device(model), graph->forward.graph, NULL, err);
    if (status == DW_OK) {
        look_at_shares(model, shares, count);
    }
    return status;
}
