#include "inference/step_graph.h"

#include "base/alloc.h"
#include "device/device_memory.h"
#include "device/device_run.h"
#include "device/device_view.h"
#include "inference/step_parts.h"
#include "model/adapter_product.h"

void dw__step_graph_destroy(dw_step_graph *graph)
{
    if (graph == NULL) {
        return;
    }
    dw_device_graph_free(graph->device, graph->allocator);
    if (graph->ggml != NULL) {
        ggml_free(graph->ggml);
    }
    if (graph->own != NULL) {
        graph->kind->release(graph);
    }
    dw_matmul_destroy(graph->matmul);
    dw__step_parts_destroy(graph->parts);
    for (int i = 0; i < 2; i++) {
        dw_device_mark_destroy(graph->marks[i]);
    }
    dw_adapter_set_unref(graph->size.adapters);
    dw_free(graph->kv_views);
    dw_free(graph->staging);
    dw_free(graph);
}

dw_status dw__step_graph_create(dw_step_graph **out, dw_model *model, const dw_graph_kind *kind,
                                const dw_forward_size *size, dw_error *err)
{
    *out = NULL;
    dw_step_graph *graph = dw_alloc(1, sizeof *graph);
    if (graph == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph");
    }
    graph->kind = kind;
    graph->size = *size;
    graph->size.adapters = dw_adapter_set_ref(size->adapters);
    graph->device = dw_model_device(model);
    dw_status status = kind->build(graph, model, err);
    if (status == DW_OK) {
        status = dw_device_check_graph(graph->device, graph->forward.graph, err);
    }
    if (status != DW_OK) {
        dw__step_graph_destroy(graph);
        return status;
    }
    *out = graph;
    return DW_OK;
}

/* ---- building ---- */

static bool adapters_by_ggml;

void dw__step_graph_set_adapters_by_ggml(bool on)
{
    adapters_by_ggml = on;
}

bool dw__step_graph_mixes(const dw_device *device, const dw_adapter_set *a, const dw_adapter_set *b)
{
    const bool by_us = dw_device_info_of(device)->kind == DW_DEVICE_CPU && !adapters_by_ggml;
    return a == b || (by_us && dw_adapter_sets_mix(a, b));
}

/* Views of the log among the graph's tensors; into `views`, where it is not NULL. */
static size_t find_kv_views(const dw_step_graph *graph, struct ggml_tensor **views)
{
    size_t count = 0;
    for (struct ggml_tensor *tensor = ggml_get_first_tensor(graph->ggml); tensor != NULL;
         tensor = ggml_get_next_tensor(graph->ggml, tensor)) {
        if (tensor->view_src != graph->forward.kv) {
            continue;
        }
        if (views != NULL) {
            views[count] = tensor;
        }
        count++;
    }
    return count;
}

/* All views of the log, in a list: there are six a layer. */
static dw_status list_kv_views(dw_step_graph *graph, dw_error *err)
{
    if (graph->forward.kv == NULL) {
        return DW_OK;
    }
    size_t count = find_kv_views(graph, NULL);
    graph->kv_views = dw_alloc(count, sizeof(struct ggml_tensor *));
    if (graph->kv_views == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph's views");
    }
    graph->kv_view_count = find_kv_views(graph, graph->kv_views);
    DW_ASSERT(graph->kv_view_count == count);
    return DW_OK;
}

/* What one thread does beside the products of one token: some microseconds' a layer at most. An
 * adapter's product, of few rows or few columns, takes less than threads that wait for each other,
 * up to so many multiplications. */
#define ELEMENTS_ALONE 65536
#define ADAPTER_WORK_ALONE 65536

/* Whether all work of a node is a crew's, or little. */
static bool goes_alone(const dw_step_graph *graph, const struct ggml_tensor *node)
{
    uint64_t work;
    if (dw_matmul_units(graph->matmul, node, &work) > 0) {
        return node->src[0]->ne[1] <= DW_MATMUL_OWN_COLUMNS;
    }
    if (dw_adapter_product_work(node) > ADAPTER_WORK_ALONE) {
        return false;
    }
    switch (node->op) {
    case GGML_OP_MUL_MAT:
    case GGML_OP_MUL_MAT_ID:
    case GGML_OP_FLASH_ATTN_EXT:
        return false;
    default:
        return ggml_nelements(node) <= ELEMENTS_ALONE;
    }
}

/* Between the nodes of a graph all of ggml's threads wait for all, and one that another program
 * keeps from its core holds up the others. Where there are few columns that costs most. */
static dw_status take_crew(dw_step_graph *graph, dw_error *err)
{
    dw_crew *crew = dw_device_crew(graph->device);
    if (crew == NULL || graph->matmul == NULL || graph->attention == NULL ||
        graph->size.token_count > DW_MATMUL_OWN_COLUMNS ||
        (graph->scatter != NULL && graph->scatter->node != NULL)) {
        return DW_OK;
    }
    for (int i = 0; i < ggml_graph_n_nodes(graph->forward.graph); i++) {
        if (!goes_alone(graph, ggml_graph_node(graph->forward.graph, i))) {
            return DW_OK;
        }
    }
    graph->by_crew = true;
    dw_attention_set_crew(graph->attention, crew);
    return dw_matmul_set_crew(graph->matmul, crew, err);
}

dw_status dw__step_graph_build(dw_step_graph *graph, dw_model *model,
                               const dw_forward_options *ours, dw_error *err)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    struct ggml_init_params params = {
        .mem_size = dw_forward_graph_bytes(shape, graph->size.adapters), .no_alloc = true};
    graph->ggml = ggml_init(params);
    if (graph->ggml == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph");
    }
    dw_status status = DW_OK;
    const bool on_cpu = dw_device_info_of(graph->device)->kind == DW_DEVICE_CPU;
    if (on_cpu) {
        const dw_matmul_options products = dw_forward_products(shape, graph->device);
        status = dw_matmul_create(&graph->matmul, &products, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_forward_options options = *ours;
    options.size = graph->size;
    options.matmul = graph->matmul;
    if (graph->size.cuda) {
        options.products = dw_model_cuda_products(model);
    }
    options.on_cpu = on_cpu && !adapters_by_ggml;
    status = dw_forward_graph_build(&graph->forward, graph->ggml, shape, dw_model_weights_of(model),
                                    &options, err);
    if (status == DW_OK) {
        status = take_crew(graph, err);
    }
    return status == DW_OK ? list_kv_views(graph, err) : status;
}

/* The largest input of the host's making, or more. */
static size_t staging_bytes(const dw_forward_graph *forward)
{
    size_t bytes = ggml_nbytes(forward->positions);
    bytes += forward->pool_weights != NULL ? ggml_nbytes(forward->pool_weights) : 0;
    bytes += forward->mask != NULL ? ggml_nbytes(forward->mask) : 0;
    bytes += forward->records != NULL ? ggml_nbytes(forward->records) : 0;
    return bytes;
}

dw_status dw__step_graph_allocate(dw_step_graph *graph, dw_error *err)
{
    DW_ASSERT(graph->allocator == NULL);
    bool host = ggml_backend_buft_is_host(dw_device_buffer_type(graph->device));
    if (!host && graph->staging == NULL) {
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

/* ---- what is in others' memory ---- */

dw_status dw__step_graph_place_log(dw_step_graph *graph, dw_kv_log *log, dw_error *err)
{
    struct ggml_tensor *kv = graph->forward.kv;
    if (kv == NULL) {
        return DW_OK;
    }
    dw_status status = dw_kv_log_place(log, kv, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < graph->kv_view_count; i++) {
        struct ggml_tensor *view = graph->kv_views[i];
        view->buffer = kv->buffer;
        view->data = (unsigned char *)kv->data + view->view_offs;
    }
    return DW_OK;
}

dw_status dw__step_graph_place_rows(dw_step_graph *graph, dw_device_view *view, float *rows,
                                    dw_error *err)
{
    dw_forward_graph *forward = &graph->forward;
    struct ggml_tensor *result = forward->pooled != NULL ? forward->pooled : forward->result;
    dw_status status = dw_device_view_place(view, result, rows, err);
    if (status == DW_OK && forward->pooled != NULL) { /* the result is a view of it */
        forward->result->buffer = forward->pooled->buffer;
        forward->result->data = forward->pooled->data;
    }
    return status;
}

/* ---- what the host makes ---- */

bool dw__input_is_used(const struct ggml_tensor *input)
{
    return input != NULL && input->data != NULL;
}

void *dw__input_begin(dw_step_graph *graph, struct ggml_tensor *input)
{
    DW_ASSERT(dw__input_is_used(input));
    return graph->staging != NULL ? graph->staging : input->data;
}

dw_status dw__input_done(dw_step_graph *graph, struct ggml_tensor *input, dw_error *err)
{
    return graph->staging == NULL ? DW_OK
                                  : dw_device_tensor_set(graph->device, input, graph->staging, 0,
                                                         ggml_nbytes(input), err);
}

dw_status dw__step_graph_fill_positions(dw_step_graph *graph, uint32_t past, dw_error *err)
{
    struct ggml_tensor *input = graph->forward.positions;
    if (!dw__input_is_used(input)) {
        return DW_OK;
    }
    int32_t *positions = dw__input_begin(graph, input);
    for (uint32_t i = 0; i < graph->size.token_count; i++) {
        positions[i] = (int32_t)(past + i);
    }
    return dw__input_done(graph, input, err);
}
