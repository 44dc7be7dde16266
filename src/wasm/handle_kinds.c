#include "wasm/handle_kinds.h"

#include "base/alloc.h"
#include "inference/context.h"
#include "model/model.h"
#include "wasm/guest_instance.h"

/* ---- models and contexts ------------------------------------------------------------------ */

static void destroy_model(void *object)
{
    dw_model_unref(object);
}

static dw_status fork_model(void **out, void *object, dw_instance *child, dw_error *err)
{
    (void)child;
    (void)err;
    *out = dw_model_ref(object);
    return DW_OK;
}

static void destroy_context(void *object)
{
    dw_context_destroy(object);
}

static dw_status fork_context(void **out, void *object, dw_instance *child, dw_error *err)
{
    (void)child;
    dw_context *copy = NULL;
    dw_status status = dw_context_fork(&copy, object, err);
    *out = copy;
    return status;
}

/* ---- samplers ----------------------------------------------------------------------------- */

dw_status dw_guest_sampler_create(dw_guest_sampler **out, dw_sampler *sampler, dw_model *model,
                                  dw_error *err)
{
    *out = dw_alloc(1, sizeof **out);
    if (*out == NULL) {
        dw_sampler_destroy(sampler);
        return dw_fail(err, DW_E_MEMORY, "no memory for a sampler");
    }
    (*out)->sampler = sampler;
    (*out)->model = dw_model_ref(model);
    return DW_OK;
}

void dw_guest_sampler_destroy(dw_guest_sampler *object)
{
    if (object != NULL) {
        dw_sampler_destroy(object->sampler);
        dw_model_unref(object->model);
        dw_free(object);
    }
}

static void destroy_sampler(void *object)
{
    dw_guest_sampler_destroy(object);
}

static dw_status fork_sampler(void **out, void *object, dw_instance *child, dw_error *err)
{
    const dw_guest_sampler *parent = object;
    dw_guest_sampler *copy = NULL;
    dw_sampler *sampler = NULL;
    dw_status status =
        dw_sampler_fork(&sampler, parent->sampler, dw_model_vocab(parent->model), err);
    if (status == DW_OK) {
        dw_sampler_limit_steps(sampler, dw_instance_limits(child)->grammar_steps);
        status = dw_guest_sampler_create(&copy, sampler, parent->model, err);
    }
    *out = copy;
    return status;
}

/* ---- tensor graphs ------------------------------------------------------------------------ */

size_t dw_guest_graphs_held(dw_instance *instance, size_t *scratch_left)
{
    const dw_handle_table *table = dw_instance_handles(instance);
    uint64_t limit = dw_instance_limits(instance)->graph_scratch_bytes;
    uint64_t held = 0;
    size_t count = 0;
    for (size_t i = 0; i < table->capacity; i++) {
        const dw_tensor_graph *graph = dw_handle_at(table, DW_HANDLE_GRAPH, i);
        if (graph != NULL) {
            count++;
            held += dw_tensor_graph_scratch_bytes(graph);
        }
    }
    *scratch_left = held < limit ? (size_t)(limit - held) : 0;
    return count;
}

dw_status dw_guest_graph_load(dw_tensor_graph **out, const json_t *saved, dw_instance *instance,
                              dw_error *err)
{
    dw_device_view *view;
    dw_tensor_graph_place place = {dw_instance_device(instance), dw_instance_region(instance)};
    size_t left;
    (void)dw_guest_graphs_held(instance, &left);
    *out = NULL;
    dw_status status = dw_instance_view(instance, &view, err);
    return status == DW_OK ? dw_tensor_graph_load(out, view, &place, left, saved, err) : status;
}

static void destroy_graph(void *object)
{
    dw_tensor_graph_destroy(object);
}

/* A graph stands over its instance's memory: the copy is built from its description. */
static dw_status fork_graph(void **out, void *object, dw_instance *child, dw_error *err)
{
    dw_tensor_graph *copy = NULL;
    json_t *saved = dw_tensor_graph_save(object);
    dw_status status = saved != NULL ? dw_guest_graph_load(&copy, saved, child, err)
                                     : dw_fail(err, DW_E_MEMORY, "no memory for a graph's copy");
    json_decref(saved);
    *out = copy;
    return status;
}

/* ---- wasi-nn ------------------------------------------------------------------------------ */

static void destroy_nn_graph(void *object)
{
    dw_nn_graph_destroy(object);
}

static dw_status fork_nn_graph(void **out, void *object, dw_instance *child, dw_error *err)
{
    dw_nn_graph *copy = NULL;
    (void)child;
    dw_status status = dw_nn_graph_fork(&copy, object, err);
    *out = copy;
    return status;
}

static void destroy_nn_execution(void *object)
{
    dw_nn_execution_destroy(object);
}

static dw_status fork_nn_execution(void **out, void *object, dw_instance *child, dw_error *err)
{
    dw_nn_execution *copy = NULL;
    (void)child;
    dw_status status = dw_nn_execution_fork(&copy, object, err);
    *out = copy;
    return status;
}

/* ---- the table ---------------------------------------------------------------------------- */

const dw_handle_type dw_handle_types[DW_HANDLE_KIND_COUNT] = {
    [DW_HANDLE_MODEL] = {"model", DW_PART_TEXTS, destroy_model, fork_model},
    [DW_HANDLE_CONTEXT] = {"context", DW_PART_KV, destroy_context, fork_context},
    [DW_HANDLE_SAMPLER] = {"sampler", DW_PART_SAMPLERS, destroy_sampler, fork_sampler},
    [DW_HANDLE_GRAPH] = {"graph", DW_PART_GRAPHS, destroy_graph, fork_graph},
    [DW_HANDLE_NN_GRAPH] = {"nn_graph", DW_PART_TEXTS, destroy_nn_graph, fork_nn_graph},
    [DW_HANDLE_NN_EXECUTION] = {"nn_execution", DW_PART_TEXTS, destroy_nn_execution,
                                fork_nn_execution},
};
