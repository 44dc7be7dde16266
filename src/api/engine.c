/* include/driftwood.h's engine: the layer that knows all the parts and puts them together. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "guest_abi/guest_abi.h"
#include "kv/kv_kept.h"
#include "kv/kv_limit.h"
#include "kv/kv_pool.h"
#include "memory/file_guard.h"
#include "scheduler/scheduler.h"
#include "snapshot/kept_heads.h"
#include "snapshot/thaw.h"
#include "wasm/module.h"

/* A guest is a program: larger files are something else. */
#define WASM_FILE_BYTES_MAX ((size_t)256 << 20)
#define DESCRIPTOR_NAME_BYTES 32
/* Headers of snapshots that were read: of some 8,000. */
#define HEADS_BYTES_MAX ((size_t)24 << 20)
#define PREFIX_BYTES_MAX (UINT64_C(1) << 30)
#define THAW_FILES_MAX 64

struct dw_engine {
    dw_device *device;
    dw_prefix_cache *prefixes;
    dw_wasm_host *wasm;
    dw_kept_heads *heads;
};

const char *dw_version(void)
{
    return DW_VERSION;
}

uint32_t dw_version_number(void)
{
    return DW_VERSION_NUMBER;
}

size_t dw_resident_bytes(void)
{
    return dw_os_rss_bytes();
}

static void set_views(dw_device *device, const dw_engine_options *options)
{
    if (options->strict_align) {
        dw_device_set_strict_align(device);
    }
    if (options->stage_memory) {
        dw_device_set_staging(device);
    }
}

/* 0: what is usual. */
static uint64_t kv_bytes_max(const dw_engine_options *options, const dw_limits *limits)
{
    uint64_t limit = limits->device_kv_bytes != DW_LIMIT_NONE ? limits->device_kv_bytes : 0;
    return options->kv_bytes_max != 0 ? options->kv_bytes_max : limit;
}

static dw_status create_host(dw_engine *engine, const dw_engine_options *own,
                             const dw_limits *limits, dw_error *err)
{
    const dw_host_parts parts = {
        .device = engine->device,
        .prefixes = engine->prefixes,
        .import_tables = dw_import_tables,
        .import_table_count = DW_IMPORT_TABLES_COUNT,
        .nn_imports = dw_nn_imports,
        .own_imports = own->imports,
        .own_import_count = own->import_count,
        .counts_fuel = own->counts_fuel,
        .module_limits = limits,
        .traces_calls = own->traces_calls,
        .perf_map = own->perf_map,
        .module_cache = own->module_cache,
        .module_cache_bytes = own->module_cache_bytes_max,
    };
    engine->heads = dw_kept_heads_create(HEADS_BYTES_MAX);
    return engine->heads != NULL ? dw_wasm_host_create(&engine->wasm, &parts, err)
                                 : dw_fail(err, DW_E_MEMORY, "no memory for an engine");
}

dw_status dw_engine_create(dw_engine **out, const dw_engine_options *options, dw_error *err)
{
    dw_engine_options own;
    *out = NULL;
    dw_limits limits;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_engine_options", err);
    if (status == DW_OK) {
        status = dw_limits_take(&limits, own.limits, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_limits_fill(&limits, &dw_limits_usual);
    dw_engine *engine = dw_alloc(1, sizeof *engine);
    if (engine == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an engine");
    }
    if (!own.no_file_guards) { /* before Wasmtime's handlers, which pass on to it */
        status = dw_file_guards_install(err);
    }
    if (status == DW_OK) {
        status = dw_device_open(&engine->device, own.device, own.threads, err);
    }
    if (status == DW_OK) {
        set_views(engine->device, &own);
    }
    if (status == DW_OK) {
        dw_kv_kept_limit(engine->device, limits.parked_kv_bytes);
        status = dw_kv_limit_set(engine->device, kv_bytes_max(&own, &limits), err);
    }
    if (status == DW_OK) {
        status = dw_prefix_cache_create(
            &engine->prefixes, own.prefix_bytes_max > 0 ? own.prefix_bytes_max : PREFIX_BYTES_MAX,
            err);
    }
    if (status == DW_OK) {
        status = create_host(engine, &own, &limits, err);
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
    bool used =
        dw_callback_under_way() || (engine->wasm != NULL && dw_wasm_host_is_in_use(engine->wasm));
    if (!used && engine->prefixes != NULL) { /* which hold models */
        dw_prefix_cache_clear(engine->prefixes, NULL, true);
    }
    if (used || (engine->device != NULL &&
                 atomic_load(&dw_device_counters_of(engine->device)->models) > 0)) {
        dw_log(DW_LOG_ERROR, "dw_engine_destroy: it has guests or models: it stays");
        return;
    }
    dw_wasm_host_destroy(engine->wasm);
    dw_kept_heads_destroy(engine->heads);
    dw_prefix_cache_destroy(engine->prefixes);
    dw_device_close(engine->device);
    dw_free(engine);
}

dw_status dw_engine_get_device_info(const dw_engine *engine, dw_device_info *info)
{
    return dw_struct_fill(info, dw_device_info_of(engine->device), sizeof *info, "dw_device_info");
}

dw_status dw_engine_get_stats(dw_engine *engine, dw_engine_stats *stats)
{
    dw_device_counters *counters = dw_device_counters_of(engine->device);
    size_t bytes;
    size_t free_bytes;
    dw_device_memory(engine->device, &bytes, &free_bytes);
    dw_engine_stats own = {
        .memory_bytes = bytes,
        .memory_free_bytes = free_bytes,
        .models = atomic_load(&counters->models),
        .weights_bytes = atomic_load(&counters->used_bytes[DW_USE_WEIGHTS]),
        .weights_mapped_bytes = atomic_load(&counters->mapped_weights_bytes),
        .contexts = atomic_load(&counters->contexts),
        .kv_bytes = atomic_load(&counters->used_bytes[DW_USE_KV]),
        .kv_host_bytes = atomic_load(&counters->host_kv.bytes),
        .kv_mapped_bytes = atomic_load(&counters->mapped_kv.bytes),
        .work_bytes = atomic_load(&counters->used_bytes[DW_USE_WORK]),
        .view_bytes = atomic_load(&counters->used_bytes[DW_USE_VIEW]),
        .registered_bytes = atomic_load(&counters->registered_bytes),
        .staged_bytes = atomic_load(&counters->staged_bytes),
        .matrices = atomic_load(&counters->matrices),
        .matrices_served = atomic_load(&counters->matrices_served),
        .repacked_bytes = atomic_load(&counters->repacked_bytes),
        .matrices_wide = atomic_load(&counters->matrices_wide),
        .expert_matrices = atomic_load(&counters->expert_matrices),
        .expert_matrices_served = atomic_load(&counters->expert_matrices_served),
    };
    dw_kv_stats ranges; /* what contexts have there by address ranges has a count of its own */
    if (dw_kv_pool_get_stats(engine->device, &ranges)) {
        own.kv_bytes += ranges.device_bytes;
        own.kv_host_bytes += ranges.host_bytes;
    }
    dw_wasm_host_count(engine->wasm, &own.modules_compiled, &own.modules_found);
    return dw_struct_fill(stats, &own, sizeof own, "dw_engine_stats");
}

dw_device *dw_engine_device(dw_engine *engine)
{
    return engine->device;
}

dw_prefix_cache *dw_engine_prefix_cache(dw_engine *engine)
{
    return engine->prefixes;
}

dw_status dw_engine_get_prefix_stats(dw_engine *engine, dw_prefix_stats *stats)
{
    dw_prefix_counts counts;
    dw_prefix_cache_count(engine->prefixes, &counts);
    dw_prefix_stats own = {
        .bytes = counts.bytes,
        .limit_bytes = counts.bytes_max,
        .prefixes = counts.entries,
        .lookups = counts.lookups,
        .hits = counts.hits,
        .hit_tokens = counts.hit_tokens,
        .evictions = counts.evictions,
    };
    return dw_struct_fill(stats, &own, sizeof own, "dw_prefix_stats");
}

void dw_engine_forget_prefixes(dw_engine *engine, const dw_model *model)
{
    dw_prefix_cache_clear(engine->prefixes, model, false);
}

dw_status dw_engine_get_kv_stats(const dw_engine *engine, dw_kv_stats *stats)
{
    dw_kv_stats own;
    if (!dw_kv_pool_get_stats(engine->device, &own)) {
        dw_kv_limit_get(engine->device, &own);
    }
    return dw_struct_fill(stats, &own, sizeof own, "dw_kv_stats");
}

dw_status dw_engine_set_kv_limit(dw_engine *engine, uint64_t bytes, dw_error *err)
{
    return dw_kv_limit_set(engine->device, bytes, err);
}

dw_status dw_model_open(dw_model **out, dw_engine *engine, const char *path, dw_error *err)
{
    return dw_model_open_with(out, engine, path, NULL, err);
}

dw_status dw_model_open_with(dw_model **out, dw_engine *engine, const char *path,
                             const dw_model_options *options, dw_error *err)
{
    dw_model_options own;
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_model_options", err);
    return status == DW_OK ? dw_model_load_with(out, engine->device, path, &own, err) : status;
}

/* A name of the open file for as long as the descriptor is open. A file that is opened by it has an
 * offset and a lifetime of its own. */
static dw_status name_descriptor(char name[DESCRIPTOR_NAME_BYTES], int fd, dw_error *err)
{
    if (fcntl(fd, F_GETFD) == -1) {
        return dw_fail(err, DW_E_ARG, "descriptor %d: %s", fd, strerror(errno));
    }
    (void)snprintf(name, DESCRIPTOR_NAME_BYTES, "/dev/fd/%d", fd);
    return DW_OK;
}

dw_status dw_model_open_fd(dw_model **out, dw_engine *engine, int fd, const char *name,
                           const dw_model_options *options, dw_error *err)
{
    char path[DESCRIPTOR_NAME_BYTES];
    *out = NULL;
    dw_status status = name_descriptor(path, fd, err);
    if (status == DW_OK) {
        status = dw_model_open_with(out, engine, path, options, err);
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "%s", name);
    }
    status = dw_model_set_file_name(*out, name, err);
    if (status != DW_OK) {
        dw_model_unref(*out);
        *out = NULL;
    }
    return status;
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
    char names[THAW_FILES_MAX][DESCRIPTOR_NAME_BYTES];
    const char *paths[THAW_FILES_MAX];
    dw_thaw_options own;
    const dw_thaw_host host = {.wasm = engine->wasm, .heads = engine->heads};
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_thaw_options", err);
    if (status != DW_OK) {
        return status;
    }
    if ((own.fds == NULL) == (own.paths == NULL) && own.path_count > 0) {
        return dw_fail(err, DW_E_ARG, "thaw: either paths or descriptors, not %s",
                       own.fds == NULL ? "neither" : "both");
    }
    if (own.fds == NULL || own.path_count > THAW_FILES_MAX) { /* too many are refused there */
        own.identities = own.fds == NULL ? own.identities : NULL;
        return dw_snapshot_thaw(out, &host, &own, stats, err);
    }
    for (size_t i = 0; i < own.path_count; i++) {
        status = name_descriptor(names[i], own.fds[i], err);
        if (status != DW_OK) {
            return status;
        }
        paths[i] = names[i];
    }
    own.paths = paths;
    return dw_snapshot_thaw(out, &host, &own, stats, err);
}

dw_status dw_engine_bring_back(dw_actor **out, dw_engine *engine, const void *home,
                               const dw_thaw_options *options, dw_error *err)
{
    const dw_thaw_host host = {.wasm = engine->wasm, .heads = engine->heads, .home = home};
    return dw_snapshot_thaw(out, &host, options, NULL, err);
}

dw_status dw_scheduler_create(dw_scheduler **out, dw_engine *engine,
                              const dw_scheduler_options *options, dw_error *err)
{
    return dw_scheduler_create_on(out, engine->wasm, engine->device, options, err);
}
