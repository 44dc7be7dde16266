/* include/driftwood.h's engine: the layer that knows all the parts and puts them together. */
#include "base/alloc.h"
#include "base/os.h"
#include "guest_abi/guest_abi.h"
#include "inference/context.h"
#include "kv/kv_pool.h"
#include "scheduler/scheduler.h"
#include "snapshot/thaw.h"
#include "tensor/tensor_graph.h"
#include "wasm/guest_instance.h"

/* A guest is a program: larger files are something else. */
#define WASM_FILE_BYTES_MAX ((size_t)256 << 20)

struct dw_engine {
    dw_device *device;
    dw_wasm_host *wasm;
};

static void destroy_model(void *object)
{
    dw_model_unref(object);
}

static void destroy_context(void *object)
{
    dw_context_destroy(object);
}

static void destroy_sampler(void *object)
{
    dw_guest_sampler_destroy(object);
}

static void destroy_graph(void *object)
{
    dw_tensor_graph_destroy(object);
}

static dw_status fork_model(void **out, void *object, dw_instance *child, dw_error *err)
{
    (void)child;
    (void)err;
    *out = dw_model_ref(object);
    return DW_OK;
}

static dw_status fork_context(void **out, void *object, dw_instance *child, dw_error *err)
{
    (void)child;
    dw_context *copy = NULL;
    dw_status status = dw_context_fork(&copy, object, err);
    *out = copy;
    return status;
}

static dw_status fork_sampler(void **out, void *object, dw_instance *child, dw_error *err)
{
    (void)child;
    const dw_guest_sampler *parent = object;
    dw_guest_sampler *copy = NULL;
    dw_sampler *sampler = NULL;
    dw_status status =
        dw_sampler_fork(&sampler, parent->sampler, dw_model_vocab(parent->model), err);
    if (status == DW_OK) {
        status = dw_guest_sampler_create(&copy, sampler, parent->model, err);
    }
    *out = copy;
    return status;
}

/* A graph stands over the memory of its instance: its copy is built from its description. */
static dw_status load_graph(void **out, const json_t *saved, dw_instance *instance, dw_error *err)
{
    dw_device_view *view;
    dw_tensor_graph *graph = NULL;
    dw_tensor_graph_place place = {dw_instance_device(instance), dw_instance_region(instance)};
    dw_status status = dw_instance_view(instance, &view, err);
    if (status == DW_OK) {
        status = dw_tensor_graph_load(&graph, view, &place, saved, err);
    }
    *out = graph;
    return status;
}

static json_t *save_graph(const void *object)
{
    return dw_tensor_graph_save(object);
}

static dw_status fork_graph(void **out, void *object, dw_instance *child, dw_error *err)
{
    json_t *saved = dw_tensor_graph_save(object);
    dw_status status = saved != NULL ? load_graph(out, saved, child, err)
                                     : dw_fail(err, DW_E_MEMORY, "no memory for a graph's copy");
    json_decref(saved);
    return status;
}

static const dw_import *const import_tables[] = {dw_host_imports, dw_tensor_imports,
                                                 dw_model_imports, dw_actor_imports};

dw_status dw_engine_create(dw_engine **out, const dw_engine_options *options, dw_error *err)
{
    static const dw_engine_options defaults = {0};
    *out = NULL;
    options = options != NULL ? options : &defaults;
    dw_engine *engine = dw_alloc(1, sizeof *engine);
    if (engine == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an engine");
    }
    dw_status status = dw_device_open(&engine->device, options->device, options->threads, err);
    if (status == DW_OK && options->stage_memory) {
        dw_device_set_staging(engine->device);
    }
    if (status == DW_OK && options->kv_bytes_max > 0) {
        status = dw_kv_pool_limit(engine->device, options->kv_bytes_max, err);
    }
    if (status == DW_OK) {
        dw_host_parts parts = {
            .device = engine->device,
            .import_tables = import_tables,
            .import_table_count = sizeof import_tables / sizeof import_tables[0],
            .destroy = {[DW_HANDLE_MODEL] = destroy_model,
                        [DW_HANDLE_CONTEXT] = destroy_context,
                        [DW_HANDLE_SAMPLER] = destroy_sampler,
                        [DW_HANDLE_GRAPH] = destroy_graph},
            .fork = {[DW_HANDLE_MODEL] = fork_model,
                     [DW_HANDLE_CONTEXT] = fork_context,
                     [DW_HANDLE_SAMPLER] = fork_sampler,
                     [DW_HANDLE_GRAPH] = fork_graph},
            .save_graph = save_graph,
            .load_graph = load_graph,
        };
        status = dw_wasm_host_create(&engine->wasm, &parts, err);
    }
    if (status != DW_OK) {
        dw_engine_destroy(engine);
        return status;
    }
    *out = engine;
    return DW_OK;
}

void dw_engine_destroy(dw_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    dw_wasm_host_destroy(engine->wasm);
    dw_device_close(engine->device);
    dw_free(engine);
}

void dw_engine_get_device_info(const dw_engine *engine, dw_device_info *info)
{
    *info = *dw_device_info_of(engine->device);
}

void dw_engine_get_stats(dw_engine *engine, dw_engine_stats *usage)
{
    dw_device_counters *counters = dw_device_counters_of(engine->device);
    size_t bytes;
    size_t free_bytes;
    dw_device_memory(engine->device, &bytes, &free_bytes);
    *usage = (dw_engine_stats){
        .memory_bytes = bytes,
        .memory_free_bytes = free_bytes,
        .models = atomic_load(&counters->models),
        .weights_bytes = atomic_load(&counters->used_bytes[DW_USE_WEIGHTS]),
        .weights_mapped_bytes = atomic_load(&counters->mapped_weights_bytes),
        .contexts = atomic_load(&counters->contexts),
        .kv_bytes = atomic_load(&counters->used_bytes[DW_USE_KV]),
        .kv_host_bytes = atomic_load(&counters->host_kv_bytes),
        .work_bytes = atomic_load(&counters->used_bytes[DW_USE_WORK]),
        .view_bytes = atomic_load(&counters->used_bytes[DW_USE_VIEW]),
        .registered_bytes = atomic_load(&counters->registered_bytes),
        .staged_bytes = atomic_load(&counters->staged_bytes),
    };
    dw_kv_stats ranges; /* what contexts have there by address ranges has a count of its own */
    if (dw_kv_pool_describe(engine->device, &ranges)) {
        usage->kv_bytes += ranges.device_bytes;
        usage->kv_host_bytes += ranges.host_bytes;
    }
}

bool dw_engine_get_kv_stats(const dw_engine *engine, dw_kv_stats *memory)
{
    return dw_kv_pool_describe(engine->device, memory);
}

dw_status dw_model_open(dw_model **out, dw_engine *engine, const char *path, dw_error *err)
{
    return dw_model_load(out, engine->device, path, err);
}

dw_status dw_model_open_with(dw_model **out, dw_engine *engine, const char *path,
                             const dw_model_options *options, dw_error *err)
{
    return dw_model_load_with(out, engine->device, path, options, err);
}

dw_status dw_module_create(dw_module **out, dw_engine *engine, const void *wasm, size_t wasm_bytes,
                           dw_error *err)
{
    return dw_module_compile(out, engine->wasm, wasm, wasm_bytes, err);
}

dw_status dw_module_open(dw_module **out, dw_engine *engine, const char *path, dw_error *err)
{
    *out = NULL;
    char *bytes = NULL;
    size_t count = 0;
    dw_status status = dw_os_read_file(path, WASM_FILE_BYTES_MAX, &bytes, &count, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_module_compile(out, engine->wasm, bytes, count, err);
    if (status != DW_OK) {
        status = dw_fail_within(err, status, "%s", path);
    }
    dw_free(bytes);
    return status;
}

dw_status dw_actor_thaw(dw_actor **out, dw_engine *engine, const dw_thaw_options *options,
                        dw_thaw_stats *stats, dw_error *err)
{
    return dw__actor_thaw(out, engine->wasm, options, stats, err);
}

dw_status dw_scheduler_create(dw_scheduler **out, dw_engine *engine,
                              const dw_scheduler_options *options, dw_error *err)
{
    return dw__scheduler_create(out, engine->wasm, engine->device, options, err);
}
