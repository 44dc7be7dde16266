/* wasi-nn as WasmEdge's plugin for GGML serves it, for guests that were built for that: texts in,
 * texts out, by the models that the guest was granted. The functions of "wasi_ephemeral_nn" answer
 * an errno of that interface; what went wrong is told on the guest's standard error, and to
 * dw_last_error of guests that know Driftwood. Each function checks handles, then ranges, then
 * acts.
 * Source: the crate wasmedge-wasi-nn 0.8, and the plugin's examples. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_strings.h"
#include "guest_abi/nn_steps.h"
#include "nn/nn_settings.h"

#define ENCODING_GGML 6
#define TENSOR_U8 3u
#define BYTES_A_BYTE 96u /* that settings may take while they are read */

/* As guests lay it out. */
typedef struct nn_tensor {
    uint32_t dimensions;
    uint32_t dimension_count;
    uint32_t type;
    uint32_t data;
    uint32_t data_bytes;
} nn_tensor;
static_assert(sizeof(nn_tensor) == 20, "the layout that guests were compiled with");

static int32_t errno_of(int32_t result)
{
    switch (result) {
    case DW_E_ARG:
    case DW_E_RANGE:
    case DW_E_ALIGN:
    case DW_E_OVERLAP:
    case DW_E_HANDLE:
    case DW_E_FORMAT:
        return DW__NN_ARGUMENT;
    case DW_E_UNSUPPORTED:
        return DW__NN_UNSUPPORTED;
    case DW_E_LIMIT:
    case DW_E_SPACE:
        return DW__NN_TOO_LARGE;
    case DW_E_DENIED:
    case DW_E_NOT_FOUND:
        return DW__NN_NO_MODEL;
    case DW_E_STATE:
        return DW__NN_BUSY;
    default:
        return result < 0 ? DW__NN_RUNTIME : result;
    }
}

/* Guests tell their users a number at most: the reason goes to standard error. */
static void tell(dw_instance *instance, const char *function)
{
    char line[sizeof(dw_error) + 80];
    int bytes = snprintf(line, sizeof line, "driftwood: wasi-nn: %s: %s\n", function,
                         dw_instance_error(instance)->message);
    (void)dw_instance_write(instance, STDERR_FILENO, line, (size_t)bytes, NULL);
}

/* What the guest gets of a function's result. */
static wasm_trap_t *conclude(dw_instance *instance, const char *function, int32_t result,
                             wasmtime_val_raw_t *values)
{
    wasm_trap_t *trap = result < 0 ? dw_instance_failed_call(instance, result) : NULL;
    values[0].i32 = errno_of(result);
    if (trap == NULL && result != DW__NN_OK && result != DW__NN_END && result != DW__NN_FULL) {
        tell(instance, function);
    }
    return trap;
}

#define NN_CALL(name)                                                                              \
    static wasm_trap_t *call_##name(void *env, wasmtime_caller_t *caller,                          \
                                    wasmtime_val_raw_t *args, size_t count)                        \
    {                                                                                              \
        (void)env;                                                                                 \
        (void)count;                                                                               \
        dw_instance *instance = dw_instance_of(caller);                                            \
        dw_account_forget(dw_instance_account(instance));                                          \
        return conclude(instance, #name, dw__explained(instance, name(instance, args)), args);     \
    }

static dw_nn_graph *graph_of(dw_instance *instance, int32_t handle)
{
    return dw_instance_get_object(instance, DW_HANDLE_NN_GRAPH, handle);
}

static dw_nn_execution *execution_of(dw_instance *instance, int32_t handle)
{
    return dw_instance_get_object(instance, DW_HANDLE_NN_EXECUTION, handle);
}

static dw_status out_u32(dw_instance *instance, const char *what, uint32_t pointer, uint32_t **out,
                         dw_error *err)
{
    void *place;
    dw_status status = dw_instance_range(instance, what, pointer, 1, sizeof(uint32_t),
                                         sizeof(uint32_t), &place, err);
    *out = place;
    return status;
}

/* ---- graphs --------------------------------------------------------------------------------- */

/* The handle of a graph of this name that is loaded; 0: none is. */
static int32_t find_graph(dw_instance *instance, const char *name)
{
    const dw_handle_table *table = dw_instance_handles(instance);
    for (size_t i = 0; i < table->capacity; i++) {
        const dw_nn_graph *graph = dw_handle_at(table, DW_HANDLE_NN_GRAPH, i);
        if (graph != NULL && strcmp(graph->name, name) == 0) {
            return dw_handle_number(i, table->slots[i].generation);
        }
    }
    return 0;
}

/* A granted model by its name; "default" is the first, where none is called so. */
static dw_status find_model(dw_instance *instance, const char *name, dw_model **model,
                            dw_error *err)
{
    dw_status status = name[0] != '\0' ? dw_instance_model(instance, name, model, err)
                                       : dw_fail(err, DW_E_DENIED, "model: an empty name");
    return status == DW_E_DENIED && strcmp(name, "default") == 0
               ? dw_instance_model(instance, "", model, err)
               : status;
}

/* settings [bytes] over those of `text`, charged to the guest; *merged: the guest's. */
static dw_status merge(dw_instance *instance, const char *text, const char *settings, size_t bytes,
                       char **merged, dw_error *err)
{
    dw_account *account = dw_instance_account(instance);
    *merged = NULL;
    dw_status status = dw__check_bytes(
        "settings", bytes, dw_instance_limits(instance)->grammar_bytes, "grammar_bytes", err);
    uint64_t most = (bytes + strlen(text)) * BYTES_A_BYTE;
    if (status == DW_OK) {
        status = dw_account_charge(account, DW_PART_TEXTS, most, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_account_scope before = dw_account_enter(account, DW_PART_TEXTS);
    status = dw_nn_settings_merge(merged, text, settings, bytes, err);
    dw_account_leave(before);
    dw_account_give(account, DW_PART_TEXTS, most);
    return status;
}

static int32_t add_graph(dw_instance *instance, const char *name, const char *settings)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model = NULL;
    dw_nn_graph *graph = NULL;
    dw_status status = find_model(instance, name, &model, err);
    if (status != DW_OK) {
        return status;
    }
    dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_TEXTS);
    status = dw_nn_graph_create(&graph, model, name, settings, err);
    dw_account_leave(before);
    return status == DW_OK ? dw_instance_add_handle(instance, DW_HANDLE_NN_GRAPH, graph)
                           : (int32_t)status;
}

/* The graph of that name with these settings: one that is loaded gets them. */
static int32_t open_graph(dw_instance *instance, const char *name, const char *settings,
                          size_t bytes)
{
    dw_error *err = dw_instance_error(instance);
    char *merged;
    dw_status status = merge(instance, "{}", settings, bytes, &merged, err);
    if (status != DW_OK) {
        return status;
    }
    int32_t handle = find_graph(instance, name);
    if (handle == 0) {
        handle = add_graph(instance, name, merged);
        dw_free(merged);
        return handle;
    }
    dw_nn_graph *graph = graph_of(instance, handle);
    dw_free(graph->settings);
    graph->settings = merged;
    return handle;
}

/* args: name, bytes. `name` [DW_MODEL_NAME_MAX + 1] */
static dw_status read_name(dw_instance *instance, const wasmtime_val_raw_t *args, char *name,
                           dw_error *err)
{
    uint32_t bytes = dw__u32(&args[1]);
    void *text;
    if (bytes > DW_MODEL_NAME_MAX) {
        return dw_fail(err, DW_E_NOT_FOUND, "name: %u bytes, limit %d", bytes, DW_MODEL_NAME_MAX);
    }
    dw_status status =
        dw_instance_range(instance, "name", dw__u32(&args[0]), bytes, 1, 1, &text, err);
    if (status != DW_OK) {
        return status;
    }
    if (bytes > 0) {
        memcpy(name, text, bytes);
    }
    name[bytes] = '\0';
    return strlen(name) == bytes ? DW_OK : dw_fail(err, DW_E_ARG, "name: a zero byte in it");
}

/* name, bytes, graph */
static int32_t load_by_name(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    char name[DW_MODEL_NAME_MAX + 1];
    uint32_t *out;
    dw_status status = read_name(instance, args, name, err);
    if (status == DW_OK) {
        status = out_u32(instance, "graph", dw__u32(&args[2]), &out, err);
    }
    if (status != DW_OK) {
        return status;
    }
    int32_t handle = find_graph(instance, name);
    handle = handle != 0 ? handle : open_graph(instance, name, "{}", 2);
    if (handle > 0) {
        *out = (uint32_t)handle;
    }
    return handle > 0 ? DW__NN_OK : handle;
}
NN_CALL(load_by_name)

/* name, bytes, settings, bytes, graph */
static int32_t load_by_name_with_config(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    char name[DW_MODEL_NAME_MAX + 1];
    void *settings;
    uint32_t *out;
    uint32_t bytes = dw__u32(&args[3]);
    dw_status status = read_name(instance, args, name, err);
    if (status == DW_OK) {
        status =
            dw_instance_range(instance, "settings", dw__u32(&args[2]), bytes, 1, 1, &settings, err);
    }
    if (status == DW_OK) {
        status = out_u32(instance, "graph", dw__u32(&args[4]), &out, err);
    }
    if (status != DW_OK) {
        return status;
    }
    int32_t handle = open_graph(instance, name, bytes > 0 ? settings : "{}", bytes > 0 ? bytes : 2);
    if (handle > 0) {
        *out = (uint32_t)handle;
    }
    return handle > 0 ? DW__NN_OK : handle;
}
NN_CALL(load_by_name_with_config)

/* builders, count, encoding, target, graph: a model's bytes out of the guest's memory. Models are
 * granted by whoever runs the guest. */
static int32_t load(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    if (args[2].i32 != ENCODING_GGML) {
        (void)dw_fail(err, DW_E_UNSUPPORTED, "encoding %d: %d (GGML) is served", args[2].i32,
                      ENCODING_GGML);
        return DW__NN_ENCODING;
    }
    return dw_fail(err, DW_E_UNSUPPORTED,
                   "a model out of the guest's memory: models are granted by name (--model, "
                   "load_by_name)");
}
NN_CALL(load)

/* Whether nothing that the graph's executions compute with is taken. */
static dw_status may_unload(dw_instance *instance, const dw_nn_graph *graph, int32_t handle,
                            dw_error *err)
{
    const dw_handle_table *table = dw_instance_handles(instance);
    dw_status status = dw__nn_may_close(instance, DW_HANDLE_CONTEXT, graph->kv, err);
    for (size_t i = 0; i < table->capacity && status == DW_OK; i++) {
        const dw_nn_execution *execution = dw_handle_at(table, DW_HANDLE_NN_EXECUTION, i);
        if (execution != NULL && execution->graph == handle) {
            status = dw__nn_may_close(instance, DW_HANDLE_SAMPLER, execution->sampler, err);
        }
    }
    return status;
}

/* Executions of the graph, with what they hold. */
static void close_executions(dw_instance *instance, int32_t graph)
{
    dw_handle_table *table = dw_instance_handles(instance);
    for (size_t i = 0; i < table->capacity; i++) {
        const dw_nn_execution *execution = dw_handle_at(table, DW_HANDLE_NN_EXECUTION, i);
        if (execution == NULL || execution->graph != graph) {
            continue;
        }
        int32_t handle = dw_handle_number(i, table->slots[i].generation);
        dw__nn_close(instance, DW_HANDLE_SAMPLER, execution->sampler);
        dw__nn_close(instance, DW_HANDLE_NN_EXECUTION, handle);
    }
}

/* graph */
static int32_t unload(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_nn_graph *graph = graph_of(instance, args[0].i32);
    if (graph == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_status status = may_unload(instance, graph, args[0].i32, dw_instance_error(instance));
    if (status != DW_OK) {
        return status;
    }
    close_executions(instance, args[0].i32);
    dw__nn_close(instance, DW_HANDLE_CONTEXT, graph->kv);
    return dw_instance_close_handle(instance, DW_HANDLE_NN_GRAPH, args[0].i32);
}
NN_CALL(unload)

/* ---- executions ----------------------------------------------------------------------------- */

/* graph, execution */
static int32_t init_execution_context(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_nn_graph *graph = graph_of(instance, args[0].i32);
    dw_nn_execution *execution = NULL;
    uint32_t *out;
    if (graph == NULL) {
        return err->code;
    }
    dw_status status = out_u32(instance, "context", dw__u32(&args[1]), &out, err);
    if (status != DW_OK) {
        return status;
    }
    dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_TEXTS);
    status = dw_nn_execution_create(&execution, graph, args[0].i32, err);
    dw_account_leave(before);
    if (status != DW_OK) {
        return status;
    }
    int32_t handle = dw_instance_add_handle(instance, DW_HANDLE_NN_EXECUTION, execution);
    if (handle > 0) {
        *out = (uint32_t)handle;
    }
    return handle > 0 ? DW__NN_OK : handle;
}
NN_CALL(init_execution_context)

/* execution */
static int32_t finalize_execution_context(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_nn_execution *execution = execution_of(instance, args[0].i32);
    if (execution == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_status status = dw__nn_may_close(instance, DW_HANDLE_SAMPLER, execution->sampler,
                                        dw_instance_error(instance));
    if (status != DW_OK) {
        return status;
    }
    dw__nn_close(instance, DW_HANDLE_SAMPLER, execution->sampler);
    return dw_instance_close_handle(instance, DW_HANDLE_NN_EXECUTION, args[0].i32);
}
NN_CALL(finalize_execution_context)

static dw_status set_settings(dw_instance *instance, dw_nn_execution *execution, const char *text,
                              size_t bytes, dw_error *err)
{
    char *merged;
    dw_status status = merge(instance, execution->settings, text, bytes, &merged, err);
    if (status == DW_OK) {
        dw_free(execution->settings);
        execution->settings = merged;
    }
    return status;
}

/* execution, index, tensor: 0: the prompt; 1: settings */
static int32_t set_input(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_nn_execution *execution = execution_of(instance, args[0].i32);
    void *place;
    void *data;
    if (execution == NULL) {
        return err->code;
    }
    if (args[1].i32 != 0 && args[1].i32 != 1) {
        return dw_fail(err, DW_E_ARG, "index %d: 0 (the prompt) and 1 (settings) are known",
                       args[1].i32);
    }
    dw_status status = dw_instance_range(instance, "tensor", dw__u32(&args[2]), 1,
                                         sizeof(nn_tensor), sizeof(uint32_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    const nn_tensor tensor = *(const nn_tensor *)place;
    if (tensor.type != TENSOR_U8) {
        return dw_fail(err, DW_E_ARG, "tensor: type %u, %u (U8: a text) is needed", tensor.type,
                       TENSOR_U8);
    }
    status = dw_instance_range(instance, "tensor's data", tensor.data, tensor.data_bytes, 1, 1,
                               &data, err);
    if (status == DW_OK && args[1].i32 == 1) {
        status = set_settings(instance, execution, tensor.data_bytes > 0 ? data : "",
                              tensor.data_bytes, err);
    } else if (status == DW_OK) {
        dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_TEXTS);
        status = dw__nn_take_prompt(instance, execution, data, tensor.data_bytes, err);
        dw_account_leave(before);
    }
    return status;
}
NN_CALL(set_input)

/* execution */
static int32_t compute(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_nn_execution *execution = execution_of(instance, args[0].i32);
    return execution != NULL ? dw__nn_compute(instance, execution)
                             : (int32_t)dw_instance_error(instance)->code;
}
NN_CALL(compute)

static int32_t compute_single(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_nn_execution *execution = execution_of(instance, args[0].i32);
    return execution != NULL ? dw__nn_compute_single(instance, execution)
                             : (int32_t)dw_instance_error(instance)->code;
}
NN_CALL(compute_single)

static int32_t fini_single(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_nn_execution *execution = execution_of(instance, args[0].i32);
    if (execution == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_nn_execution_rewind(execution);
    return DW__NN_OK;
}
NN_CALL(fini_single)

/* ---- results -------------------------------------------------------------------------------- */

/* args: buffer, capacity, where the bytes are told; as many bytes as there are, or none. */
static int32_t give(dw_instance *instance, const wasmtime_val_raw_t *args, const char *text,
                    size_t bytes)
{
    dw_error *err = dw_instance_error(instance);
    uint32_t capacity = dw__u32(&args[1]);
    void *buffer;
    uint32_t *told;
    dw_status status =
        dw_instance_range(instance, "buffer", dw__u32(&args[0]), capacity, 1, 1, &buffer, err);
    if (status == DW_OK) {
        status = out_u32(instance, "bytes", dw__u32(&args[2]), &told, err);
    }
    if (status == DW_OK && dw__overlaps(buffer, capacity, told, sizeof *told)) {
        status = dw_fail(err, DW_E_OVERLAP, "bytes: they lie in the buffer");
    }
    if (status != DW_OK) {
        return status;
    }
    *told = (uint32_t)bytes;
    if (bytes > capacity) {
        return dw_fail(err, DW_E_SPACE, "buffer: %zu bytes, room for %u", bytes, capacity);
    }
    if (bytes > 0) {
        memcpy(buffer, text, bytes);
    }
    return DW__NN_OK;
}

/* Counts, with the keys that guests index. */
static size_t metadata(const dw_nn_execution *execution, char *text, size_t room)
{
    uint32_t generated = execution->token_count - execution->prompt_count;
    int bytes = snprintf(text, room,
                         "{\"input_tokens\": %u, \"output_tokens\": %u, "
                         "\"llama_build_number\": 0, \"llama_commit\": \"driftwood-%s\"}",
                         execution->prompt_count, generated, dw_version());
    return (size_t)bytes;
}

static int32_t output(dw_instance *instance, const wasmtime_val_raw_t *args, bool last_alone)
{
    dw_error *err = dw_instance_error(instance);
    const dw_nn_execution *execution = execution_of(instance, args[0].i32);
    char about[200];
    if (execution == NULL) {
        return err->code;
    }
    if (args[1].i32 == 1) {
        return give(instance, &args[2], about, metadata(execution, about, sizeof about));
    }
    if (args[1].i32 != 0) {
        return dw_fail(err, DW_E_ARG, "index %d: 0 (the text) and 1 (counts) are known",
                       args[1].i32);
    }
    size_t from = last_alone ? execution->last_text : 0;
    return give(instance, &args[2], execution->text != NULL ? execution->text + from : NULL,
                execution->text_bytes - from);
}

/* execution, index, buffer, capacity, bytes: 0: the text; 1: counts */
static int32_t get_output(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return output(instance, args, false);
}
NN_CALL(get_output)

/* The same of the last token. */
static int32_t get_output_single(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return output(instance, args, true);
}
NN_CALL(get_output_single)

const dw_host_import dw_nn_imports[] = {
    {"load", "iiiii:i", call_load},
    {"load_by_name", "iii:i", call_load_by_name},
    {"load_by_name_with_config", "iiiii:i", call_load_by_name_with_config},
    {"init_execution_context", "ii:i", call_init_execution_context},
    {"set_input", "iii:i", call_set_input},
    {"compute", "i:i", call_compute},
    {"get_output", "iiiii:i", call_get_output},
    {"compute_single", "i:i", call_compute_single},
    {"get_output_single", "iiiii:i", call_get_output_single},
    {"fini_single", "i:i", call_fini_single},
    {"unload", "i:i", call_unload},
    {"finalize_execution_context", "i:i", call_finalize_execution_context},
    {NULL, NULL, NULL},
};
