/* include/driftwood.h's engine: the layer that knows all the parts and puts them together. */
#include "base/alloc.h"
#include "base/os.h"
#include "guest_abi/guest_abi.h"
#include "kv/kv_pool.h"
#include "scheduler/scheduler.h"
#include "snapshot/thaw.h"
#include "wasm/module.h"

/* A guest is a program: larger files are something else. */
#define WASM_FILE_BYTES_MAX ((size_t)256 << 20)

struct dw_engine {
    dw_device *device;
    dw_wasm_host *wasm;
};

static const dw_host_import *const import_tables[] = {dw_host_imports, dw_tensor_imports,
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
    return dw_snapshot_thaw(out, engine->wasm, options, stats, err);
}

dw_status dw_scheduler_create(dw_scheduler **out, dw_engine *engine,
                              const dw_scheduler_options *options, dw_error *err)
{
    return dw__scheduler_create(out, engine->wasm, engine->device, options, err);
}
