#include "tensor/tensor_graph.h"

#include <inttypes.h>
#include <string.h>

#include "base/array.h"
#include "device/device_run.h"
#include "device/device_view.h"
#include "tensor/tensor_build_internal.h"
#include "tensor/tensor_ops.h"
#include "tensor/tensor_parts_internal.h"

dw_status dw_tensor_graph_create(dw_tensor_graph **out, dw_device *device, dw_region *region,
                                 dw_device_view *view, dw_error *err)
{
    *out = NULL;
    dw_tensor_graph *graph = dw_alloc(1, sizeof *graph);
    if (graph == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a tensor graph");
    }
    graph->device = device;
    graph->region = region;
    graph->view = view;
    graph->on_cpu = dw_device_info_of(device)->kind == DW_DEVICE_CPU;
    graph->align_bytes = dw_device_view_align_bytes(view);
    /* GPU kernels read rows in vectors: a float's own alignment is not enough for them. */
    if (!graph->on_cpu && graph->align_bytes < DW_TENSOR_ALIGN) {
        graph->align_bytes = DW_TENSOR_ALIGN;
    }
    *out = graph;
    return DW_OK;
}

void dw_tensor_graph_destroy(dw_tensor_graph *graph)
{
    if (graph == NULL) {
        return;
    }
    dw__built_release(&graph->built, graph->device);
    dw_free(graph->nodes);
    dw_free(graph);
}

/* ---- describing ---- */

static dw_status check_open(const dw_tensor_graph *graph, dw_error *err)
{
    return graph->is_built ? dw_fail(err, DW_E_STATE, "the graph is built: it cannot change")
                           : DW_OK;
}

static dw_status check_number(const dw_tensor_graph *graph, int32_t tensor, dw_error *err)
{
    if (tensor < 1 || tensor > graph->count) {
        return dw_fail(err, DW_E_HANDLE, "no tensor %d in the graph: there are %d", tensor,
                       graph->count);
    }
    return DW_OK;
}

/* Room for one more; the caller's node is moved in by add_node. */
static dw_status reserve_node(dw_tensor_graph *graph, dw_error *err)
{
    if (graph->count == DW_GRAPH_TENSORS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "the graph has %d tensors, limit %d", graph->count,
                       DW_GRAPH_TENSORS_MAX);
    }
    return DW_ARRAY_RESERVE(graph->nodes, graph->capacity, (size_t)graph->count + 1,
                            DW_GRAPH_TENSORS_MAX)
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for %d tensors", graph->count + 1);
}

static int32_t add_node(dw_tensor_graph *graph, const dw__node *node)
{
    DW_ASSERT((size_t)graph->count < graph->capacity);
    graph->nodes[graph->count] = *node;
    graph->count++;
    if (graph->nodes[graph->count - 1].root == 0) {
        graph->nodes[graph->count - 1].root = graph->count;
    }
    return graph->count;
}

/* What an element's own address must be a multiple of: the largest number within a block. */
static size_t element_align(int32_t type)
{
    return type == DW_F32 || type == DW_I32 ? 4 : 2;
}

static dw_status check_place(const dw_tensor_graph *graph, const dw__node *node, const char *what,
                             uint64_t offset, dw_error *err)
{
    size_t align = element_align(node->type);
    align = align > graph->align_bytes ? align : graph->align_bytes;
    if ((offset & (align - 1)) != 0) {
        return dw_fail(err, DW_E_ALIGN, "%s %s: offset %" PRIu64 " is not a multiple of %zu", what,
                       dw__describe(node).text, offset, align);
    }
    size_t memory = dw_region_committed_bytes(graph->region);
    size_t bytes = dw__node_bytes(node);
    if (bytes > memory || offset > memory - bytes) {
        return dw_fail(err, DW_E_RANGE, "%s %s: %zu bytes at %" PRIu64 ": memory has %zu", what,
                       dw__describe(node).text, bytes, offset, memory);
    }
    return DW_OK;
}

/* `node` is about to stand at `offset`; two inputs may share bytes, nothing else may. */
static dw_status check_overlap(const dw_tensor_graph *graph, const dw__node *node, bool is_output,
                               uint64_t offset, dw_error *err)
{
    uint64_t end = offset + dw__node_bytes(node);
    for (int32_t i = 0; i < graph->count; i++) {
        const dw__node *other = &graph->nodes[i];
        if (!other->placed || (!is_output && other->op == 0)) {
            continue;
        }
        uint64_t other_end = other->offset + dw__node_bytes(other);
        if (offset < other_end && other->offset < end) {
            return dw_fail(err, DW_E_OVERLAP,
                           "%s %s at [%" PRIu64 ", %" PRIu64 ") overlaps %s %d, %s at [%" PRIu64
                           ", %" PRIu64 ")",
                           is_output ? "output" : "tensor", dw__describe(node).text, offset, end,
                           other->op == 0 ? "tensor" : "output", i + 1, dw__describe(other).text,
                           other->offset, other_end);
        }
    }
    return DW_OK;
}

dw_status dw_tensor_graph_tensor(dw_tensor_graph *graph, int32_t type, const uint32_t *ne,
                                 uint64_t offset, int32_t *tensor, dw_error *err)
{
    *tensor = 0;
    dw_status status = check_open(graph, err);
    if (status != DW_OK) {
        return status;
    }
    if (!dw__type_known(type)) {
        return dw_fail(err, DW_E_TYPE, "tensor: %d is not a type", type);
    }
    dw__node node = {.placed = true, .offset = offset};
    int64_t sizes[DW_MAX_DIMS] = {ne[0], ne[1], ne[2], ne[3]};
    status = dw__node_shape(&node, "tensor", type, sizes, err);
    if (status == DW_OK) {
        status = check_place(graph, &node, "tensor", offset, err);
    }
    if (status == DW_OK) {
        status = check_overlap(graph, &node, false, offset, err);
    }
    if (status == DW_OK) {
        status = reserve_node(graph, err);
    }
    if (status == DW_OK) {
        *tensor = add_node(graph, &node);
    }
    return status;
}

dw_status dw_tensor_graph_op(dw_tensor_graph *graph, int32_t op, const int32_t *inputs,
                             const dw_op_params *params, int32_t *tensor, dw_error *err)
{
    *tensor = 0;
    dw_status status = check_open(graph, err);
    if (status == DW_OK) {
        status = reserve_node(graph, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__node node = {.op = op};
    memcpy(node.inputs, inputs, sizeof node.inputs);
    if (params != NULL) {
        node.params = *params;
    }
    status = dw__op_infer(graph, &node, err);
    if (status == DW_OK) {
        *tensor = add_node(graph, &node);
    }
    return status;
}

dw_status dw_tensor_graph_output(dw_tensor_graph *graph, int32_t tensor, uint64_t offset,
                                 dw_error *err)
{
    dw_status status = check_open(graph, err);
    if (status == DW_OK) {
        status = check_number(graph, tensor, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__node *node = dw__node_of(graph, tensor);
    if (node->placed) {
        return dw_fail(err, DW_E_STATE, "tensor %d stands at %" PRIu64 " already, as an %s", tensor,
                       node->offset, node->op == 0 ? "input" : "output");
    }
    status = check_place(graph, node, "output", offset, err);
    if (status == DW_OK) {
        status = check_overlap(graph, node, true, offset, err);
    }
    if (status == DW_OK) {
        node->placed = true;
        node->offset = offset;
        graph->output_count++;
    }
    return status;
}

dw_status dw_tensor_graph_shape(const dw_tensor_graph *graph, int32_t tensor, dw_shape *shape,
                                dw_error *err)
{
    dw_status status = check_number(graph, tensor, err);
    if (status != DW_OK) {
        return status;
    }
    const dw__node *node = dw__node_of(graph, tensor);
    shape->type = node->type;
    shape->dims = 1;
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        shape->ne[i] = (uint32_t)node->ne[i];
        if (node->ne[i] != 1) {
            shape->dims = i + 1;
        }
    }
    return DW_OK;
}

/* ---- building and running ---- */

dw_status dw_tensor_graph_build(dw_tensor_graph *graph, size_t scratch_bytes_max, dw_error *err)
{
    dw_status status = check_open(graph, err);
    if (status != DW_OK) {
        return status;
    }
    if (graph->output_count == 0) {
        return dw_fail(err, DW_E_STATE, "the graph has no output");
    }
    status = dw__graph_build(graph, scratch_bytes_max, err);
    if (status != DW_OK) {
        dw__built_release(&graph->built, graph->device);
        return status;
    }
    graph->is_built = true;
    return DW_OK;
}

/* The values lie in the guest's memory, which it may change between runs but not during one. */
static dw_status check_index_values(const dw_tensor_graph *graph, const dw__index_check *check,
                                    dw_error *err)
{
    const dw__node *index = dw__node_of(graph, check->node);
    const dw__node *root = dw__node_of(graph, index->root);
    const unsigned char *first =
        (const unsigned char *)dw_region_base(graph->region) + root->offset + index->root_offset;
    for (int64_t i = 0; i < index->ne[0]; i++) {
        int32_t value;
        memcpy(&value, first + (size_t)i * index->nb[0], sizeof value);
        if (value < 0 || value >= check->limit) {
            return dw_fail(err, DW_E_RANGE,
                           "%s (tensor %d): index %" PRId64 " is %d, allowed are 0 to %" PRId64,
                           dw_tensor_op_name(dw__node_of(graph, check->consumer)->op),
                           check->consumer, i, value, check->limit - 1);
        }
    }
    return DW_OK;
}

/* All of it, or, where it is large, a stretch after the other. */
static dw_status run_nodes(const dw_tensor_graph *graph, const dw_device_run_options *options,
                           dw_stop *stop, dw_error *err)
{
    struct ggml_cgraph *all = graph->built.cgraph;
    struct ggml_cgraph *stretch = graph->built.stretch;
    if (stretch == NULL) {
        return dw_device_run(graph->device, all, options, err);
    }
    dw_status status = DW_OK;
    for (int at = 0; status == DW_OK && at < ggml_graph_n_nodes(all);) {
        int end = dw__stretch_end(all, at);
        ggml_graph_clear(stretch);
        for (; at < end; at++) {
            ggml_graph_add_node(stretch, ggml_graph_node(all, at));
        }
        status = dw_device_run(graph->device, stretch, options, err);
        dw_stop_pause(stop);
        if (status == DW_OK && at < ggml_graph_n_nodes(all)) {
            status = dw_stop_check(stop, "graph", err);
        }
    }
    return status;
}

dw_status dw_tensor_graph_run(dw_tensor_graph *graph, dw_stop *stop, dw_error *err)
{
    if (!graph->is_built) {
        return dw_fail(err, DW_E_STATE, "the graph is not built");
    }
    dw_status status = dw_device_view_follow(graph->view, err);
    if (status == DW_OK && dw_device_view_generation(graph->view) != graph->built.view_generation) {
        status = dw__graph_place(graph, err);
    }
    for (size_t i = 0; i < graph->built.check_count && status == DW_OK; i++) {
        status = check_index_values(graph, &graph->built.checks[i], err);
    }
    if (status != DW_OK) {
        return status;
    }
    const dw_stops stops = {.items = &stop, .count = 1};
    const dw_device_run_options options = {.view = graph->view,
                                           .stops = stop != NULL ? &stops : NULL};
    dw_region_pin(graph->region);
    status = run_nodes(graph, &options, stop, err);
    dw_region_unpin(graph->region);
    return status;
}

size_t dw_tensor_graph_scratch_bytes(const dw_tensor_graph *graph)
{
    return graph->built.scratch_bytes;
}

const void *dw_tensor_graph_device_data(const dw_tensor_graph *graph, int32_t tensor)
{
    if (tensor < 1 || tensor > graph->count || !graph->is_built) {
        return NULL;
    }
    const dw__node *node = dw__node_of(graph, tensor);
    return node->outcome != NULL ? node->outcome->data : NULL;
}
