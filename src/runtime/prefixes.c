/* Beginnings of prompts in a folder (src/prefixes): loaded before the first actor that has their
 * model, written by a thread of their own when they are new, for which nobody waits. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "runtime/engine_of.h"
#include "runtime/guests.h"
#include "runtime/runtime_internal.h"

/* From a new prefix to its being written: others come meanwhile. */
#define GATHER_NS UINT64_C(200000000)
/* After a failure: a full disk, say. */
#define AGAIN_NS UINT64_C(10000000000)
#define PATH_BYTES 2048

struct dw__prefix_keeper {
    dw_prefix_folder *folder;
    dw_prefix_cache *cache;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* guards the next two */
    pthread_cond_t changed;
    bool ends;
    _Atomic bool wanted;
};

/* Wait so long, or until it ends, which is what is told. */
static bool rests(dw__prefix_keeper *keeper, uint64_t wait_ns)
{
    uint64_t until_ns = dw_os_clock_ns() + wait_ns;
    bool waits = true;
    (void)pthread_mutex_lock(&keeper->lock);
    while (waits && !keeper->ends) {
        waits = dw_os_cond_wait_until(&keeper->changed, &keeper->lock, until_ns);
    }
    bool ends = keeper->ends;
    (void)pthread_mutex_unlock(&keeper->lock);
    return ends;
}

static bool await_new(dw__prefix_keeper *keeper)
{
    (void)pthread_mutex_lock(&keeper->lock);
    while (!atomic_load(&keeper->wanted) && !keeper->ends) {
        (void)pthread_cond_wait(&keeper->changed, &keeper->lock);
    }
    bool ends = keeper->ends;
    (void)pthread_mutex_unlock(&keeper->lock);
    return !ends;
}

static dw_status save(dw__prefix_keeper *keeper)
{
    dw_error error = {.message = ""};
    dw_status status = dw_prefix_folder_save(keeper->folder, &error);
    if (status != DW_OK) {
        dw_log(DW_LOG_WARN, "prefixes: %s: not saved", error.message);
    }
    return status;
}

static void *run_keeper(void *arg)
{
    dw__prefix_keeper *keeper = arg;
    while (await_new(keeper)) {
        bool ends = rests(keeper, GATHER_NS);
        atomic_store(&keeper->wanted, false);
        if (!ends && save(keeper) != DW_OK) {
            (void)rests(keeper, AGAIN_NS);
        }
    }
    (void)save(keeper); /* what is new at the end */
    return NULL;
}

void dw__prefixes_close(dw__prefix_keeper *keeper)
{
    if (keeper == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&keeper->lock);
    keeper->ends = true;
    (void)pthread_cond_signal(&keeper->changed);
    (void)pthread_mutex_unlock(&keeper->lock);
    if (keeper->has_thread) {
        (void)pthread_join(keeper->thread, NULL);
    }
    dw_prefix_folder_close(keeper->folder);
    (void)pthread_cond_destroy(&keeper->changed);
    (void)pthread_mutex_destroy(&keeper->lock);
    dw_free(keeper);
}

static dw_status open_at(dw__prefix_keeper **out, dw_engine *engine, const char *path,
                         uint64_t bytes_max, dw_error *err)
{
    *out = NULL;
    dw__prefix_keeper *keeper = dw_alloc(1, sizeof *keeper);
    if (keeper == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a runtime");
    }
    DW_ASSERT(pthread_mutex_init(&keeper->lock, NULL) == 0);
    dw_os_cond_init(&keeper->changed);
    keeper->cache = dw_engine_prefix_cache(engine);
    dw_status status = dw_prefix_folder_open(&keeper->folder, path, keeper->cache, bytes_max, err);
    int failed = 0;
    if (status == DW_OK) {
        failed = dw_os_start_thread(&keeper->thread, run_keeper, keeper);
        keeper->has_thread = failed == 0;
    }
    if (failed != 0) {
        status = dw_fail(err, DW_E_MEMORY, "a thread of a runtime: %s", strerror(failed));
    }
    if (status != DW_OK) {
        dw__prefixes_close(keeper);
        return status;
    }
    *out = keeper;
    return DW_OK;
}

dw_status dw__prefixes_open(dw__prefix_keeper **out, dw_engine *engine,
                            const dw_runtime_options *options, uint64_t bytes_max, dw_error *err)
{
    char path[PATH_BYTES];
    dw_error local;
    *out = NULL;
    if (options->prefix_path != NULL) {
        return options->prefix_path[0] != '\0'
                   ? open_at(out, engine, options->prefix_path, bytes_max, err)
                   : DW_OK;
    }
    if (options->path == NULL) {
        return DW_OK;
    }
    int length = snprintf(path, sizeof path, "%s/prefixes", options->path);
    if (length < 0 || (size_t)length >= sizeof path) {
        return dw_fail(err, DW_E_LIMIT, "prefixes: a path of %d bytes, limit %zu", length,
                       sizeof path - 1);
    }
    /* Nobody asked for them: another runtime of the engine may keep them. */
    dw_status status = open_at(out, engine, path, bytes_max, &local);
    if (status == DW_E_STATE) {
        dw_log(DW_LOG_INFO, "%s", local.message);
        return DW_OK;
    }
    return status == DW_OK ? status : dw_fail(err, status, "%s", local.message);
}

void dw__prefixes_load(dw__prefix_keeper *keeper, const dw_instance_options *grants)
{
    for (size_t i = 0; keeper != NULL && i < grants->model_count; i++) {
        dw_error error = {.message = ""};
        if (dw_prefix_folder_load(keeper->folder, grants->models[i], &error) != DW_OK) {
            dw_log(DW_LOG_WARN, "prefixes: %s: not loaded", error.message);
        }
    }
}

dw_status dw__prefixes_leave(dw__prefix_keeper *keeper, dw_engine *engine, const dw_model *model,
                             dw_error *err)
{
    dw_status status = keeper != NULL ? dw_prefix_folder_save(keeper->folder, err) : DW_OK;
    if (status == DW_OK) {
        dw_prefix_cache_clear(dw_engine_prefix_cache(engine), model, keeper != NULL);
    }
    return status;
}

void dw__prefixes_given(dw__prefix_keeper *keeper)
{
    if (keeper == NULL || dw_prefix_cache_unsaved(keeper->cache) == 0 ||
        atomic_exchange(&keeper->wanted, true)) {
        return;
    }
    (void)pthread_mutex_lock(&keeper->lock);
    (void)pthread_cond_signal(&keeper->changed);
    (void)pthread_mutex_unlock(&keeper->lock);
}

dw_engine *dw_runtime_engine(dw_runtime *runtime)
{
    const dw__host *host = dw__runtime_platform(runtime);
    return host->engine;
}

dw_status dw_runtime_get_prefix_stats(dw_runtime *runtime, dw_runtime_prefix_stats *stats)
{
    const dw__host *host = dw__runtime_platform(runtime);
    dw_prefix_folder_counts counts = {.files = 0};
    if (host->prefixes != NULL) {
        dw_prefix_folder_count(host->prefixes->folder, &counts);
    }
    const dw_runtime_prefix_stats own = {
        .files = counts.files,
        .bytes = counts.bytes,
        .limit_bytes = counts.bytes_max,
        .written_bytes = counts.written_bytes,
        .loaded = counts.loaded,
        .dropped = counts.dropped,
        .unsaved = host->prefixes != NULL ? dw_prefix_cache_unsaved(host->prefixes->cache) : 0,
    };
    return dw_struct_fill(stats, &own, sizeof own, "dw_runtime_prefix_stats");
}
