/* A graph's description as JSON, and a graph of such a description, by the calls guests use. */
#include <string.h>

#include "base/hash.h"
#include "tensor/tensor_graph.h"
#include "tensor/tensor_node_internal.h"

static json_t *numbers(const int64_t *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(array, json_integer((json_int_t)list[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *save_operation(const dw__node *node)
{
    int64_t inputs[DW__INPUTS];
    char params[2 * sizeof node->params + 1];
    for (size_t i = 0; i < DW__INPUTS; i++) {
        inputs[i] = node->inputs[i];
    }
    dw_hex(params, (const uint8_t *)&node->params, sizeof node->params);
    json_t *saved = json_pack("{s:i, s:o, s:s}", "op", (int)node->op, "inputs",
                              numbers(inputs, DW__INPUTS), "params", params);
    if (saved != NULL && node->placed &&
        json_object_set_new(saved, "offset", json_integer((json_int_t)node->offset)) != 0) {
        json_decref(saved);
        return NULL;
    }
    return saved;
}

json_t *dw_tensor_graph_save(const dw_tensor_graph *graph)
{
    json_t *nodes = json_array();
    for (int32_t i = 0; i < graph->count; i++) {
        const dw__node *node = &graph->nodes[i];
        json_t *saved = node->op != 0 ? save_operation(node)
                                      : json_pack("{s:i, s:o, s:I}", "type", (int)node->type,
                                                  "sizes", numbers(node->ne, DW_MAX_DIMS), "offset",
                                                  (json_int_t)node->offset);
        if (json_array_append_new(nodes, saved) != 0) {
            json_decref(nodes);
            return NULL;
        }
    }
    return json_pack("{s:b, s:o}", "built", (int)graph->is_built, "tensors", nodes);
}

static dw_status malformed(size_t index, const char *key, dw_error *err)
{
    return dw_fail(err, DW_E_FORMAT, "graph: tensor %zu: '%s' is missing or wrong", index + 1, key);
}

static bool read_numbers(const json_t *list, size_t count, int64_t min, int64_t max, int64_t *out)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_integer(item) || json_integer_value(item) < min ||
            json_integer_value(item) > max) {
            return false;
        }
        out[i] = json_integer_value(item);
    }
    return json_array_size(list) == count;
}

static dw_status load_tensor(dw_tensor_graph *graph, const json_t *saved, size_t index,
                             dw_error *err)
{
    int64_t sizes[DW_MAX_DIMS];
    uint32_t ne[DW_MAX_DIMS];
    int32_t number;
    const json_t *type = json_object_get(saved, "type");
    const json_t *offset = json_object_get(saved, "offset");
    if (!json_is_integer(type) || json_integer_value(type) < 0 || json_integer_value(type) > 255) {
        return malformed(index, "type", err);
    }
    if (!read_numbers(json_object_get(saved, "sizes"), DW_MAX_DIMS, 0, UINT32_MAX, sizes)) {
        return malformed(index, "sizes", err);
    }
    if (!json_is_integer(offset) || json_integer_value(offset) < 0) {
        return malformed(index, "offset", err);
    }
    for (size_t i = 0; i < DW_MAX_DIMS; i++) {
        ne[i] = (uint32_t)sizes[i];
    }
    return dw_tensor_graph_tensor(graph, (int32_t)json_integer_value(type), ne,
                                  (uint64_t)json_integer_value(offset), &number, err);
}

static dw_status load_operation(dw_tensor_graph *graph, const json_t *saved, size_t index,
                                dw_error *err)
{
    int64_t wide[DW__INPUTS];
    int32_t inputs[DW__INPUTS];
    dw_op_params params;
    int32_t number;
    const json_t *op = json_object_get(saved, "op");
    const char *text = json_string_value(json_object_get(saved, "params"));
    if (!json_is_integer(op) || json_integer_value(op) < 1 || json_integer_value(op) > INT32_MAX) {
        return malformed(index, "op", err);
    }
    if (!read_numbers(json_object_get(saved, "inputs"), DW__INPUTS, 0, INT32_MAX, wide)) {
        return malformed(index, "inputs", err);
    }
    if (text == NULL || !dw_hex_parse((uint8_t *)&params, sizeof params, text)) {
        return malformed(index, "params", err);
    }
    for (size_t i = 0; i < DW__INPUTS; i++) {
        inputs[i] = (int32_t)wide[i];
    }
    return dw_tensor_graph_op(graph, (int32_t)json_integer_value(op), inputs, &params, &number,
                              err);
}

static dw_status load_outputs(dw_tensor_graph *graph, const json_t *tensors, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < json_array_size(tensors) && status == DW_OK; i++) {
        const json_t *saved = json_array_get(tensors, i);
        const json_t *offset = json_object_get(saved, "offset");
        if (json_object_get(saved, "op") == NULL || offset == NULL) {
            continue;
        }
        if (!json_is_integer(offset) || json_integer_value(offset) < 0) {
            return malformed(i, "offset", err);
        }
        status = dw_tensor_graph_output(graph, (int32_t)i + 1, (uint64_t)json_integer_value(offset),
                                        err);
    }
    return status;
}

static dw_status load_all(dw_tensor_graph *graph, const json_t *saved, size_t scratch_bytes_max,
                          dw_error *err)
{
    const json_t *tensors = json_object_get(saved, "tensors");
    const json_t *built = json_object_get(saved, "built");
    dw_status status = json_is_array(tensors) && json_is_boolean(built)
                           ? DW_OK
                           : dw_fail(err, DW_E_FORMAT, "graph: 'tensors' or 'built' is missing");
    for (size_t i = 0; i < json_array_size(tensors) && status == DW_OK; i++) {
        const json_t *item = json_array_get(tensors, i);
        status = json_object_get(item, "op") != NULL ? load_operation(graph, item, i, err)
                                                     : load_tensor(graph, item, i, err);
    }
    if (status == DW_OK) {
        status = load_outputs(graph, tensors, err);
    }
    if (status == DW_OK && json_is_true(built)) {
        status = dw_tensor_graph_build(graph, scratch_bytes_max, err);
    }
    return status;
}

dw_status dw_tensor_graph_load(dw_tensor_graph **out, dw_device_view *view,
                               const dw_tensor_graph_place *place, size_t scratch_bytes_max,
                               const json_t *saved, dw_error *err)
{
    dw_tensor_graph *graph = NULL;
    *out = NULL;
    dw_status status = dw_tensor_graph_create(&graph, place->device, place->region, view, err);
    if (status == DW_OK) {
        status = load_all(graph, saved, scratch_bytes_max, err);
    }
    if (status != DW_OK) {
        dw_tensor_graph_destroy(graph);
        return status;
    }
    *out = graph;
    return DW_OK;
}
