/* The guest's dw_graph_* and dw_tensor_shape: handles and pointers are checked here, all else in
 * tensor_graph.c. */
#include <string.h>

#include "guest_abi/guest_abi.h"
#include "tensor/tensor_graph.h"

/* Open at a time, in one guest. */
#define GRAPHS_MAX 256

static dw_tensor_graph *graph_of(dw_instance *instance, int32_t handle)
{
    return dw_handle_get(dw_instance_handles(instance), DW_HANDLE_GRAPH, "graph", handle,
                         dw_instance_error(instance));
}

/* The guest's graphs: how many, and what they hold together. */
static size_t graphs_held(const dw_handle_table *table, size_t *scratch_bytes)
{
    size_t count = 0;
    *scratch_bytes = 0;
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i].object != NULL && table->slots[i].kind == DW_HANDLE_GRAPH) {
            count++;
            *scratch_bytes += dw_tensor_graph_scratch_bytes(table->slots[i].object);
        }
    }
    return count;
}

static int32_t create(dw_instance *instance)
{
    dw_error *err = dw_instance_error(instance);
    dw_handle_table *handles = dw_instance_handles(instance);
    size_t scratch_bytes;
    size_t count = graphs_held(handles, &scratch_bytes);
    if (count >= GRAPHS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "graphs: %zu are open, limit %d", count, GRAPHS_MAX);
    }
    dw_device_view *view;
    dw_status status = dw_instance_view(instance, &view, err);
    if (status != DW_OK) {
        return status;
    }
    dw_tensor_graph *graph;
    status = dw_tensor_graph_create(&graph, dw_instance_device(instance),
                                    dw_instance_region(instance), view, err);
    int32_t handle = 0;
    if (status == DW_OK) {
        status = dw_handle_add(handles, DW_HANDLE_GRAPH, "graphs", graph, &handle, err);
    }
    if (status != DW_OK) {
        dw_tensor_graph_destroy(graph);
        return status;
    }
    return handle;
}

static wasm_trap_t *call_create(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                size_t count)
{
    (void)env;
    (void)count;
    args[0].i32 = create(dw_instance_of(caller));
    return NULL;
}

static int32_t add_tensor(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return err->code;
    }
    void *sizes;
    dw_status status = dw_instance_range(instance, "sizes", (uint32_t)args[2].i32, DW_MAX_DIMS,
                                         sizeof(uint32_t), sizeof(uint32_t), &sizes, err);
    if (status != DW_OK) {
        return status;
    }
    int32_t tensor;
    status = dw_tensor_graph_tensor(graph, args[1].i32, sizes, (uint32_t)args[3].i32, &tensor, err);
    return status != DW_OK ? (int32_t)status : tensor;
}

static wasm_trap_t *call_tensor(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                size_t count)
{
    (void)env;
    (void)count;
    args[0].i32 = add_tensor(dw_instance_of(caller), args);
    return NULL;
}

static int32_t add_op(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return err->code;
    }
    void *inputs;
    void *params;
    uint32_t params_pointer = (uint32_t)args[3].i32;
    dw_status status = dw_instance_range(instance, "inputs", (uint32_t)args[2].i32, 4,
                                         sizeof(int32_t), sizeof(int32_t), &inputs, err);
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

static wasm_trap_t *call_op(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                            size_t count)
{
    (void)env;
    (void)count;
    args[0].i32 = add_op(dw_instance_of(caller), args);
    return NULL;
}

static wasm_trap_t *call_output(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                size_t count)
{
    (void)env;
    (void)count;
    dw_instance *instance = dw_instance_of(caller);
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    args[0].i32 = graph == NULL ? (int32_t)err->code
                                : (int32_t)dw_tensor_graph_output(graph, args[1].i32,
                                                                  (uint32_t)args[2].i32, err);
    return NULL;
}

static int32_t tell_shape(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return err->code;
    }
    void *shape;
    dw_status status = dw_instance_range(instance, "shape", (uint32_t)args[2].i32, 1,
                                         sizeof(dw_shape), sizeof(int32_t), &shape, err);
    return status != DW_OK ? status : dw_tensor_graph_shape(graph, args[1].i32, shape, err);
}

static wasm_trap_t *call_shape(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                               size_t count)
{
    (void)env;
    (void)count;
    args[0].i32 = tell_shape(dw_instance_of(caller), args);
    return NULL;
}

static int32_t build(dw_instance *instance, int32_t handle)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, handle);
    if (graph == NULL) {
        return err->code;
    }
    size_t held;
    (void)graphs_held(dw_instance_handles(instance), &held);
    size_t left = held < DW_GRAPH_SCRATCH_BYTES_MAX ? DW_GRAPH_SCRATCH_BYTES_MAX - held : 0;
    return dw_tensor_graph_build(graph, left, err);
}

static wasm_trap_t *call_build(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                               size_t count)
{
    (void)env;
    (void)count;
    args[0].i32 = build(dw_instance_of(caller), args[0].i32);
    return NULL;
}

typedef struct run_work {
    dw_tensor_graph *graph;
    const volatile bool *cancel;
} run_work;

static dw_status do_run(void *arg, dw_error *err)
{
    const run_work *work = arg;
    return dw_tensor_graph_run(work->graph, work->cancel, err);
}

static int32_t run(dw_instance *instance, int32_t handle)
{
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph = graph_of(instance, handle);
    if (graph == NULL) {
        return err->code;
    }
    run_work work = {.graph = graph, .cancel = dw_instance_cancel_flag(instance)};
    dw_status status = dw_instance_compute(instance, do_run, &work, err);
    if (status == DW_OK) {
        dw_count(&dw_instance_counters(instance)->graph_runs, 1);
    }
    return status;
}

static wasm_trap_t *call_run(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                             size_t count)
{
    (void)env;
    (void)count;
    args[0].i32 = run(dw_instance_of(caller), args[0].i32);
    return NULL;
}

static wasm_trap_t *call_destroy(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                 size_t count)
{
    (void)env;
    (void)count;
    dw_instance *instance = dw_instance_of(caller);
    dw_error *err = dw_instance_error(instance);
    dw_tensor_graph *graph =
        dw_handle_take(dw_instance_handles(instance), DW_HANDLE_GRAPH, "graph", args[0].i32, err);
    dw_tensor_graph_destroy(graph);
    args[0].i32 = graph != NULL ? DW_OK : (int32_t)err->code;
    return NULL;
}

const dw_host_import dw_tensor_imports[] = {
    {"graph_create", ":i", call_create},
    {"graph_tensor", "iiii:i", call_tensor},
    {"graph_op", "iiii:i", call_op},
    {"graph_output", "iii:i", call_output},
    {"tensor_shape", "iii:i", call_shape},
    {"graph_build", "i:i", call_build},
    {"graph_run", "i:i", call_run},
    {"graph_destroy", "i:i", call_destroy},
    {NULL, NULL, NULL},
};
