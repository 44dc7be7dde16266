#include "inference/graph_cache.h"

#include "base/alloc.h"
#include "device/device_view.h"

/* Enough for two lengths of prompt slices with and without logits and for decoding; and for as many
 * sizes of batches as a scheduler rounds to. */
#define GRAPHS_MAX 24

/* Graphs of many tokens have much work memory: few are kept, in places of their own. */
#define MANY_TOKENS 16u
#define MANY_PLACES 6u

struct dw_graph_cache {
    dw_step_graph *graphs[GRAPHS_MAX];
    uint64_t clock;
    dw_region *rows; /* for logits that only a choice is made from; NULL: none yet */
    dw_device_view *rows_view;
};

static void destroy_cache(void *object)
{
    dw_graph_cache *cache = object;
    dw_device_view_destroy(cache->rows_view);
    dw_region_destroy(cache->rows);
    for (size_t i = 0; i < GRAPHS_MAX; i++) {
        dw__step_graph_destroy(cache->graphs[i]);
    }
    dw_free(cache);
}

dw_status dw__graph_cache_open(dw_graph_cache **out, dw_model_extra *extra, dw_error *err)
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

static bool same_size(const dw_forward_size *a, const dw_forward_size *b)
{
    return a->token_count == b->token_count && a->kv_count == b->kv_count &&
           a->row_count == b->row_count && a->kv_type == b->kv_type && a->result == b->result &&
           a->long_context == b->long_context && a->several == b->several && a->cuda == b->cuda &&
           a->alone == b->alone && a->place_rows == b->place_rows &&
           a->keeps_rows == b->keeps_rows && a->top_k_count == b->top_k_count;
}

dw_status dw__graph_cache_find(dw_step_graph **out, dw_graph_cache *cache, dw_model *model,
                               const dw_graph_kind *kind, const dw_forward_size *size,
                               dw_error *err)
{
    bool many = size->token_count > MANY_TOKENS;
    size_t first = many ? 0 : MANY_PLACES;
    size_t end = many ? MANY_PLACES : GRAPHS_MAX;
    size_t victim = first;
    cache->clock++;
    for (size_t i = first; i < end; i++) {
        dw_step_graph *graph = cache->graphs[i];
        if (graph != NULL && graph->kind == kind && same_size(&graph->size, size)) {
            graph->used_at = cache->clock;
            *out = graph;
            return DW_OK;
        }
        const dw_step_graph *worst = cache->graphs[victim];
        if (worst != NULL && (graph == NULL || graph->used_at < worst->used_at)) {
            victim = i;
        }
    }
    dw_status status = dw__step_graph_create(out, model, kind, size, err);
    if (status != DW_OK) {
        return status;
    }
    dw__step_graph_destroy(cache->graphs[victim]);
    cache->graphs[victim] = *out;
    (*out)->used_at = cache->clock;
    return DW_OK;
}

/* A region of its own, since only such can be a device's buffer everywhere. The host reads the rows
 * as the device writes them, so that the view is never staged; on devices that run nodes of ours no
 * graph writes there, and the view, if there is one, only locks the pages. */
static dw_status make_scratch(dw_graph_cache *cache, dw_model *model, size_t bytes, dw_error *err)
{
    dw_region_options options = {.reserve_bytes = bytes, .commit_bytes = bytes, .label = "logits"};
    dw_device_view_destroy(cache->rows_view);
    dw_region_destroy(cache->rows);
    cache->rows_view = NULL;
    cache->rows = NULL;
    dw_status status = dw_region_create(&cache->rows, &options, err);
    if (status == DW_OK) {
        dw_device *device = dw_model_device(model);
        status =
            dw_device_view_create(&cache->rows_view, device, cache->rows, DW_VIEW_IN_PLACE, err);
        status = dw_cuda_node_served(device) ? DW_OK : status;
    }
    if (status != DW_OK) { /* the next to ask tries again */
        dw_region_destroy(cache->rows);
        cache->rows = NULL;
    }
    return status;
}

dw_status dw__scratch_rows(dw_graph_cache *cache, dw_model *model, uint32_t count,
                           dw_device_view **view, float **rows, dw_error *err)
{
    size_t unit = 65536;
    size_t bytes = (size_t)count * dw_model_shape_of(model)->vocab_count * sizeof(float);
    bytes = (bytes + unit - 1) / unit * unit;
    *view = NULL;
    *rows = NULL;
    if (cache->rows == NULL || dw_region_committed_bytes(cache->rows) < bytes) {
        dw_status status = make_scratch(cache, model, bytes, err);
        if (status != DW_OK) {
            return status;
        }
    }
    *view = cache->rows_view;
    *rows = dw_region_base(cache->rows);
    return DW_OK;
}
