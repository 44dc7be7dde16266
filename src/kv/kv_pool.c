#include "kv/kv_pool.h"

#include "base/alloc.h"
#include "kv/kv_allocation.h"
#include "kv/kv_pool_internal.h"
#include "kv/kv_pool_memory.h"

#define ALLOCATION_BYTES_MAX ((size_t)32 << 20)

/* ---- the pool of a device ---- */

static void create_buffer(void *user)
{
    dw__kv_pool *pool = user;
    pool->buffer = ggml_backend_buft_alloc_buffer(dw_device_buffer_type(pool->device), 256);
}

static void free_buffer(void *user)
{
    ggml_backend_buffer_free(((dw__kv_pool *)user)->buffer);
}

static void destroy_pool(void *object)
{
    dw__kv_pool *pool = object;
    while (dw__kv_pool_drop_kept(pool)) {}
    DW_ASSERT(pool->lru.head == NULL && pool->unmapped_head == NULL && pool->queue == NULL);
    if (pool->has_thread) {
        dw__kv_pool_lock(pool);
        pool->ending = true;
        (void)pthread_cond_broadcast(&pool->changed);
        dw__kv_pool_unlock(pool);
        (void)pthread_join(pool->thread, NULL);
        dw_vram_stream_destroy(pool->thread_stream);
    }
    for (int i = 0; i < DW__KV_RING_COUNT; i++) {
        dw__kv_ring_destroy(pool->rings[i]);
    }
    while (pool->vram != NULL && dw__kv_pool_release_ready(pool)) {}
    dw_vram_stream_destroy(pool->stream);
    DW_ASSERT(pool->stats.device_bytes == 0 && pool->stats.host_bytes == 0);
    if (pool->buffer != NULL) {
        dw_device_guarded_free(pool->device, free_buffer, pool);
    }
    dw_vram_close(pool->vram);
    (void)pthread_cond_destroy(&pool->changed);
    (void)pthread_mutex_destroy(&pool->lock);
    dw_free(pool);
}

/* What the device has; emulated where it computes on host memory and a caller wants that. */
static dw_status open_vram(dw__kv_pool *pool, bool emulated, dw_error *err)
{
    dw_status status = dw_vram_open(&pool->vram, pool->device, err);
    if (status == DW_E_UNSUPPORTED && emulated &&
        dw_device_info_of(pool->device)->kind == DW_DEVICE_CPU) {
        status = dw_vram_emulate(&pool->vram, pool->device, &pool->options.emulation, err);
    }
    return status;
}

/* What a pool needs of its device. */
static dw_status init_pool(dw__kv_pool *pool, bool emulated, dw_error *err)
{
    dw_status status = open_vram(pool, emulated, err);
    if (status != DW_OK) {
        return status;
    }
    pool->granularity = dw_vram_granularity(pool->vram);
    status = dw_vram_stream_create(&pool->stream, pool->vram, err);
    if (status == DW_OK) {
        status = dw_device_guarded(pool->device, create_buffer, pool, err);
    }
    if (status != DW_OK) {
        return status;
    }
    return pool->buffer != NULL
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "%s: no memory for a buffer of 256 bytes",
                         dw_device_info_of(pool->device)->name);
}

static dw_status make_pool(dw__kv_pool **out, dw_device *device, const dw_kv_pool_options *options,
                           bool emulated, dw_error *err)
{
    dw__kv_pool *pool = dw_alloc(1, sizeof *pool);
    *out = NULL;
    if (pool == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a pool of kv logs");
    }
    pool->device = device;
    pool->options = *options;
    if (pool->options.allocation_bytes_max == 0) {
        pool->options.allocation_bytes_max = ALLOCATION_BYTES_MAX;
    }
    pool->stats.limit_bytes = options->limit_bytes;
    pool->kept_limit = atomic_load(&dw_device_counters_of(device)->kept_kv_limit);
    DW_ASSERT(pthread_mutex_init(&pool->lock, NULL) == 0);
    DW_ASSERT(pthread_cond_init(&pool->changed, NULL) == 0);
    dw_status status = init_pool(pool, emulated, err);
    if (status != DW_OK) {
        destroy_pool(pool);
        return status;
    }
    *out = pool;
    return DW_OK;
}

dw_status dw__kv_pool_of(dw__kv_pool **out, dw_device *device, bool emulated, dw_error *err)
{
    static const dw_kv_pool_options defaults = {.threads = 0};
    dw_device_extra *extra = dw_device_lock_extra(device);
    dw_status status = DW_OK;
    *out = extra->object;
    if (*out == NULL) {
        status = make_pool(out, device, &defaults, emulated, err);
        *extra = (dw_device_extra){*out, destroy_pool, dw__kv_pool_relieve};
    }
    dw_device_unlock_extra(device);
    return status;
}

dw_status dw_kv_pool_open(dw_device *device, const dw_kv_pool_options *options, dw_error *err)
{
    dw__kv_pool *pool = NULL;
    dw_device_extra *extra = dw_device_lock_extra(device);
    dw_status status = extra->object == NULL ? make_pool(&pool, device, options, true, err)
                                             : dw_fail(err, DW_E_STATE, "%s: has a pool of kv logs",
                                                       dw_device_info_of(device)->name);
    if (status == DW_OK) {
        *extra = (dw_device_extra){pool, destroy_pool, dw__kv_pool_relieve};
    }
    dw_device_unlock_extra(device);
    return status;
}

dw__kv_pool *dw__kv_pool_find(dw_device *device)
{
    dw__kv_pool *pool = dw_device_lock_extra(device)->object;
    dw_device_unlock_extra(device);
    return pool;
}

dw_status dw_kv_pool_limit(dw_device *device, uint64_t bytes, dw_error *err)
{
    dw__kv_pool *pool;
    dw_status status = dw__kv_pool_of(&pool, device, false, err);
    if (status == DW_E_UNSUPPORTED) {
        return dw_fail(err, status,
                       "%s: keys and values have no memory of its own there that could be limited",
                       dw_device_info_of(device)->name);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_error why = {0};
    dw__kv_pool_lock(pool);
    pool->stats.limit_bytes = bytes;
    while (dw__kv_pool_is_over(pool, 0) && dw__kv_pool_make_room(pool, &why)) {}
    dw__kv_pool_unlock(pool);
    return DW_OK;
}

bool dw_kv_pool_get_stats(dw_device *device, dw_kv_stats *stats)
{
    dw__kv_pool *pool = dw__kv_pool_find(device);
    *stats = (dw_kv_stats){.limit_bytes = 0};
    if (pool == NULL) {
        return false;
    }
    dw__kv_pool_lock(pool);
    *stats = pool->stats;
    for (const dw__kv_range *range = pool->lru.head; range != NULL; range = range->lru_next) {
        stats->context_count++;
        stats->resident_count += range->resident;
    }
    dw__kv_pool_unlock(pool);
    return true;
}

void dw_kv_pool_settle(dw_device *device)
{
    dw__kv_pool *pool = dw__kv_pool_find(device);
    if (pool == NULL) {
        return;
    }
    dw__kv_pool_lock(pool);
    while (pool->queue != NULL) {
        (void)pthread_cond_wait(&pool->changed, &pool->lock);
    }
    while (dw__kv_pool_wait_for_busy(pool)) {}
    while (dw__kv_pool_release_ready(pool)) {}
    dw__kv_pool_unlock(pool);
}

dw_status dw_kv_pool_evict(dw_device *device, dw_error *err)
{
    dw__kv_pool *pool = dw__kv_pool_find(device);
    dw_error why = {0};
    if (pool == NULL) {
        return DW_OK;
    }
    dw__kv_pool_lock(pool);
    while (dw__kv_pool_drop_kept(pool) || dw__kv_pool_drop_one_ahead(pool) ||
           dw__kv_pool_evict_one(pool) || dw__kv_pool_save_one(pool, &why)) {}
    while (dw__kv_pool_release_ready(pool)) {}
    dw_status status = why.code;
    dw__kv_pool_unlock(pool);
    if (status != DW_OK && err != NULL) {
        *err = why;
    }
    return status;
}

bool dw_kv_pool_takes_all(dw_device *device)
{
    dw__kv_pool *pool = dw__kv_pool_find(device);
    return pool != NULL && pool->options.takes_all;
}

dw_vram *dw_kv_pool_vram(dw_device *device)
{
    dw__kv_pool *pool = dw__kv_pool_find(device);
    return pool != NULL ? pool->vram : NULL;
}
