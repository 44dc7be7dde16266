#include "kv/kv_pool_ahead.h"

#include "base/alloc.h"
#include "base/os.h"
#include "kv/kv_allocation.h"
#include "kv/kv_range_places.h"

/* The thread's turn for a range: map an allocation behind its end. The lock is given up meanwhile;
 * what is used of the range does not change while it is BUSY. */
static void make_ahead(dw__kv_pool *pool, dw__kv_range *range)
{
    size_t bytes = dw__kv_range_next_bytes(range, 0);
    size_t rest = range->reserved_bytes - range->mapped;
    while (bytes > 0 && bytes < dw__kv_range_missing(range)) { /* one has to do */
        bytes = bytes <= rest / 2 ? bytes * 2 : rest;
    }
    unsigned char *at = range->address + range->mapped;
    dw_vram_allocation memory = {.bytes = 0};
    dw__kv_allocation *allocation = bytes > 0 ? dw_alloc(1, sizeof *allocation) : NULL;
    bool taken = allocation != NULL && dw__kv_pool_take_ready(pool, bytes, &memory);
    while (!taken && bytes > 0 && dw__kv_pool_is_over(pool, bytes) && dw__kv_pool_drop_kept(pool)) {
        while (dw__kv_pool_release_ready(pool)) {}
    }
    if (allocation == NULL || (!taken && dw__kv_pool_is_over(pool, bytes))) {
        dw_free(allocation); /* nothing is evicted for what is not needed yet */
        range->ahead = AHEAD_NONE;
        return;
    }
    if (!taken) {
        dw__kv_pool_leave_share(pool, bytes);
        pool->stats.device_bytes += bytes;
    }
    range->ahead = AHEAD_BUSY;
    dw__kv_pool_unlock(pool);
    dw_status status = taken ? DW_OK : dw_vram_create(pool->vram, &memory, bytes, NULL);
    bool created = status == DW_OK;
    if (status == DW_OK) {
        status = dw_vram_map(pool->vram, at, &memory, NULL);
    }
    if (status == DW_OK) {
        status = dw_vram_clear(pool->thread_stream, at, bytes, NULL);
        dw_status waited = dw_vram_wait(pool->thread_stream, NULL);
        status = status == DW_OK ? waited : status;
        if (status != DW_OK) {
            dw_vram_unmap(pool->vram, at, bytes);
        }
    }
    dw__kv_pool_lock(pool);
    if (status == DW_OK) {
        *allocation =
            (dw__kv_allocation){.bytes = bytes, .memory = memory, .users = 1, .mappings = 1};
        range->ahead_allocation = allocation;
        range->ahead = AHEAD_READY;
        return;
    }
    dw_free(allocation);
    range->ahead = AHEAD_NONE;
    if (created) {
        dw__kv_pool_give(pool, &memory);
    } else {
        pool->stats.device_bytes -= bytes;
    }
}

static void *run_thread(void *user)
{
    dw__kv_pool *pool = user;
    dw__kv_pool_lock(pool);
    while (!pool->ending) {
        dw__kv_range *range = pool->queue;
        if (range == NULL) {
            (void)pthread_cond_wait(&pool->changed, &pool->lock);
            continue;
        }
        pool->queue = range->next_ahead;
        make_ahead(pool, range);
        (void)pthread_cond_broadcast(&pool->changed);
    }
    dw__kv_pool_unlock(pool);
    return NULL;
}

static bool has_thread(dw__kv_pool *pool)
{
    if (!pool->has_thread && !pool->options.grows_in_step &&
        dw_vram_stream_create(&pool->thread_stream, pool->vram, NULL) == DW_OK) {
        pool->has_thread = dw_os_start_thread(&pool->thread, run_thread, pool) == 0;
        if (!pool->has_thread) {
            dw_vram_stream_destroy(pool->thread_stream);
            pool->options.grows_in_step = true; /* as without it */
        }
    }
    return pool->has_thread;
}

void dw__kv_pool_queue(dw__kv_pool *pool, dw__kv_range *range)
{
    if (range->ahead != AHEAD_NONE || !has_thread(pool)) {
        return;
    }
    dw__kv_range **end = &pool->queue;
    while (*end != NULL) {
        end = &(*end)->next_ahead;
    }
    range->next_ahead = NULL;
    *end = range;
    range->ahead = AHEAD_QUEUED;
    (void)pthread_cond_broadcast(&pool->changed);
}
