#include "inference/graph_cache.h"

#include "base/alloc.h"
#include "device/device_view.h"

/* Enough for two lengths of prompt slices with and without logits and for decoding; and for as many
 * sizes of batches as a scheduler rounds to. */
#define GRAPHS_MAX 24

/* Graphs of many tokens have much work memory: few are kept, in places of their own. */
#define MANY_TOKENS 16u
#define MANY_PLACES 6u

/* Both NULL: none yet. */
typedef struct space {
    dw_region *region;
    dw_device_view *view;
} space;

struct dw_scratch {
    space rows;   /* logits that only a choice is made from */
    space tokens; /* of a slice whose tokens are in no region */
    bool taken;   /* atomic, as a graph's */
};

struct dw_graph_cache {
    dw_step_graph *graphs[GRAPHS_MAX];
    uint64_t clock;
    /* One more than can be taken, each with a graph; mostly the first serves all. */
    dw_scratch scratch[GRAPHS_MAX + 1];
};

static void release_space(space *one)
{
    dw_device_view_destroy(one->view);
    dw_region_destroy(one->region);
    one->view = NULL;
    one->region = NULL;
}

static void destroy_cache(void *object)
{
    dw_graph_cache *cache = object;
    for (size_t i = 0; i <= GRAPHS_MAX; i++) {
        release_space(&cache->scratch[i].rows);
        release_space(&cache->scratch[i].tokens);
    }
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

bool dw__forward_size_same(const dw_forward_size *a, const dw_forward_size *b)
{
    return a->token_count == b->token_count && a->kv_count == b->kv_count &&
           a->row_count == b->row_count && a->kv_type == b->kv_type && a->result == b->result &&
           a->long_context == b->long_context && a->several == b->several && a->cuda == b->cuda &&
           a->embeddings == b->embeddings && a->alone == b->alone &&
           a->tiled_count == b->tiled_count && a->rows_first == b->rows_first &&
           a->place_rows == b->place_rows && a->keeps_rows == b->keeps_rows &&
           a->top_k_count == b->top_k_count && a->adapters == b->adapters && a->mixed == b->mixed;
}

static bool is_taken(const dw_step_graph *graph)
{
    return graph != NULL && __atomic_load_n(&graph->taken, __ATOMIC_ACQUIRE);
}

dw_status dw__graph_cache_find(dw_step_graph **out, dw_graph_cache *cache, dw_model *model,
                               const dw_graph_kind *kind, const dw_forward_size *size,
                               dw_error *err)
{
    bool many = size->token_count > MANY_TOKENS;
    size_t first = many ? 0 : MANY_PLACES;
    size_t end = many ? MANY_PLACES : GRAPHS_MAX;
    size_t victim = end;
    cache->clock++;
    for (size_t i = first; i < end; i++) {
        dw_step_graph *graph = cache->graphs[i];
        if (is_taken(graph)) {
            continue;
        }
        if (graph != NULL && graph->kind == kind && dw__forward_size_same(&graph->size, size)) {
            graph->used_at = cache->clock;
            *out = graph;
            return DW_OK;
        }
        const dw_step_graph *worst = victim < end ? cache->graphs[victim] : NULL;
        if (victim == end ||
            (worst != NULL && (graph == NULL || graph->used_at < worst->used_at))) {
            victim = i;
        }
    }
    if (victim == end) {
        return dw_fail(err, DW_E_BUSY, "forward: %zu runs of the model's are under way",
                       end - first);
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

dw_status dw__graph_cache_take(dw_graph_cache *cache, dw_step_graph *graph, dw_scratch *scratch,
                               bool any, dw_error *err)
{
    const bool many = graph->size.token_count > MANY_TOKENS;
    size_t free_count = 0;
    for (size_t i = many ? 0 : MANY_PLACES; i < (many ? MANY_PLACES : GRAPHS_MAX); i++) {
        free_count += !is_taken(cache->graphs[i]);
    }
    if (free_count == 1 && !any) {
        return dw_fail(err, DW_E_BUSY, "forward: all but one place for the model's runs are taken");
    }
    DW_ASSERT(!is_taken(graph) && free_count > 0);
    __atomic_store_n(&graph->taken, true, __ATOMIC_RELAXED);
    __atomic_store_n(&scratch->taken, true, __ATOMIC_RELAXED);
    return DW_OK;
}

void dw__graph_cache_give(dw_step_graph *graph, dw_scratch *scratch)
{
    __atomic_store_n(&scratch->taken, false, __ATOMIC_RELEASE);
    __atomic_store_n(&graph->taken, false, __ATOMIC_RELEASE);
}

void dw__scratch_take(dw_scratch *scratch, bool taken)
{
    __atomic_store_n(&scratch->taken, taken, __ATOMIC_RELEASE);
}

dw_scratch *dw__graph_cache_scratch(dw_graph_cache *cache)
{
    size_t i = 0;
    while (__atomic_load_n(&cache->scratch[i].taken, __ATOMIC_ACQUIRE)) {
        i++;
        DW_ASSERT(i <= GRAPHS_MAX);
    }
    return &cache->scratch[i];
}

/* A region of its own, since only such can be a device's buffer everywhere. The host reads it
 * as the device writes it, so that the view is never staged; on devices that run nodes of ours no
 * graph writes there, and the view, if there is one, only locks the pages. */
static dw_status make_space(space *to, dw_model *model, const char *label, size_t bytes,
                            dw_error *err)
{
    size_t unit = 65536;
    bytes = (bytes + unit - 1) / unit * unit;
    if (to->region != NULL && dw_region_committed_bytes(to->region) >= bytes) {
        return DW_OK;
    }
    dw_region_options options = {.reserve_bytes = bytes, .commit_bytes = bytes, .label = label};
    release_space(to);
    dw_status status = dw_region_create(&to->region, &options, err);
    if (status == DW_OK) {
        dw_device *device = dw_model_device(model);
        status = dw_device_view_create(&to->view, device, to->region, DW_VIEW_IN_PLACE, err);
        status = dw_cuda_node_served(device) ? DW_OK : status;
    }
    if (status != DW_OK) { /* the next to ask tries again */
        release_space(to);
    }
    return status;
}

dw_status dw__scratch_rows(dw_scratch *scratch, dw_model *model, uint32_t count,
                           dw_device_view **view, float **rows, dw_error *err)
{
    size_t bytes = (size_t)count * dw_model_shape_of(model)->vocab_count * sizeof(float);
    dw_status status = make_space(&scratch->rows, model, "logits", bytes, err);
    *view = status == DW_OK ? scratch->rows.view : NULL;
    *rows = status == DW_OK ? dw_region_base(scratch->rows.region) : NULL;
    return status;
}

dw_status dw__scratch_tokens(dw_scratch *scratch, dw_model *model, uint32_t count,
                             dw_device_view **view, int32_t **tokens, dw_error *err)
{
    dw_status status = make_space(&scratch->tokens, model, "tokens", count * sizeof **tokens, err);
    *view = status == DW_OK ? scratch->tokens.view : NULL;
    *tokens = status == DW_OK ? dw_region_base(scratch->tokens.region) : NULL;
    return status;
}
