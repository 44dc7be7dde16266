/* The guest's dw_graph_* and dw_tensor_shape: handles and pointers are checked here, all else in
 * tensor_graph.c. */
#include <string.h>

#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "tensor/tensor_graph.h"

static dw_tensor_graph *graph_of(dw_instance *instance, int32_t handle)
{
    return dw_instance_get_object(instance, DW_HANDLE_GRAPH, handle);
}

static int32_t graph_create(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    size_t left;
    size_t count = dw_guest_graphs_held(instance, &left);
    (void)args;
    uint64_t limit = dw_instance_limits(instance)->graphs;
    if (count >= limit) {
        return dw_fail(err, DW_E_LIMIT, "graphs: %zu are open, limit %llu", count,
                       (unsigned long long)limit);
    }
    dw_device_view *view;
    dw_tensor_graph *graph = NULL;
    dw_status status = dw_instance_view(instance, &view, err);
    if (status == DW_OK) {
        status = dw_tensor_graph_create(&graph, dw_instance_device(instance),
                                        dw_instance_region(instance), view, err);
    }
    return status != DW_OK ? (int32_t)status
                           : dw_instance_add_handle(instance, DW_HANDLE_GRAPH, graph);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_GRAPHS, graph_create)

/* graph, type, sizes, data */
static int32_t graph_tensor(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return err->code;
    }
    void *sizes;
    dw_status status = dw_instance_range(instance, "sizes", dw__u32(&args[2]), DW_MAX_DIMS,
                                         sizeof(uint32_t), sizeof(uint32_t), &sizes, err);
    if (status != DW_OK) {
        return status;
    }
    int32_t tensor;
    status = dw_tensor_graph_tensor(graph, args[1].i32, sizes, dw__u32(&args[3]), &tensor, err);
    return status != DW_OK ? (int32_t)status : tensor;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_GRAPHS, graph_tensor)

/* graph, op, inputs, params */
static int32_t graph_op(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return err->code;
    }
    void *inputs;
    void *params;
    uint32_t params_pointer = dw__u32(&args[3]);
    dw_status status = dw_instance_range(instance, "inputs", dw__u32(&args[2]), 4, sizeof(int32_t),
                                         sizeof(int32_t), &inputs, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "params", params_pointer, params_pointer != 0,
                                   sizeof(dw_op_params), sizeof(int32_t), &params, err);
    }
    if (status != DW_OK) {
        return status;
    }
    int32_t tensor;
    status = dw_tensor_graph_op(graph, args[1].i32, inputs, params, &tensor, err);
    return status != DW_OK ? (int32_t)status : tensor;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_GRAPHS, graph_op)

/* graph, tensor, data */
static int32_t graph_output(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    return graph == NULL
               ? (int32_t)err->code
               : (int32_t)dw_tensor_graph_output(graph, args[1].i32, dw__u32(&args[2]), err);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_GRAPHS, graph_output)

/* graph, tensor, shape */
static int32_t tensor_shape(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return err->code;
    }
    void *shape;
    dw_status status = dw_instance_range(instance, "shape", dw__u32(&args[2]), 1, sizeof(dw_shape),
                                         sizeof(int32_t), &shape, err);
    return status != DW_OK ? status : dw_tensor_graph_shape(graph, args[1].i32, shape, err);
}
DW__GUEST_CALL(i32, tensor_shape)

static int32_t graph_build(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return err->code;
    }
    size_t left;
    (void)dw_guest_graphs_held(instance, &left);
    return dw_tensor_graph_build(graph, left, err);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_GRAPHS, graph_build)

typedef struct run_work {
    dw_tensor_graph *graph;
    dw_stop *stop;
} run_work;

static dw_status do_run(void *arg, dw_error *err)
{
    const run_work *work = arg;
    return dw_tensor_graph_run(work->graph, work->stop, err);
}

static int32_t graph_run(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return err->code;
    }
    run_work work = {.graph = graph, .stop = dw_instance_stop(instance)};
    dw_status status = dw_instance_compute(instance, do_run, &work, err);
    if (status == DW_OK) {
        dw_count(&dw_instance_counters(instance)->graph_runs, 1);
    }
    return status;
}
DW__GUEST_CALL(i32, graph_run)

static int32_t graph_destroy(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return dw_instance_close_handle(instance, DW_HANDLE_GRAPH, args[0].i32);
}
DW__GUEST_CALL(i32, graph_destroy)

const dw_host_import dw_tensor_imports[] = {
    {"graph_create", ":i", call_graph_create},
    {"graph_tensor", "iiii:i", call_graph_tensor},
    {"graph_op", "iiii:i", call_graph_op},
    {"graph_output", "iii:i", call_graph_output},
    {"tensor_shape", "iii:i", call_tensor_shape},
    {"graph_build", "i:i", call_graph_build},
    {"graph_run", "i:i", call_graph_run},
    {"graph_destroy", "i:i", call_graph_destroy},
    {NULL, NULL, NULL},
};
