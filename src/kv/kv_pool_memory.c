/* Room: what is kept ready, saved and evicted when device memory is short. */
#include "kv/kv_pool_memory.h"

#include "kv/kv_allocation.h"
#include "kv/kv_range_unmap.h"

bool dw__kv_pool_drop_one_ahead(dw__kv_pool *pool)
{
    dw__kv_range *range = pool->lru.tail;
    while (range != NULL && range->ahead != AHEAD_READY) {
        range = range->lru_prev;
    }
    if (range != NULL) {
        dw__kv_range_drop_ahead(range);
    }
    return range != NULL;
}

bool dw__kv_pool_save_one(dw__kv_pool *pool, dw_error *why)
{
    for (dw__kv_allocation *allocation = pool->unmapped_head; allocation != NULL;
         allocation = allocation->unmapped_next) {
        if (allocation->readers == 0 && dw__kv_allocation_save(pool, allocation, why) == DW_OK) {
            return true;
        }
    }
    return false;
}

static bool can_be_evicted(const dw__kv_range *range)
{
    return range->resident && range->place_count > 0 && range->pins == 0 && !range->in_step &&
           range->ahead != AHEAD_BUSY;
}

bool dw__kv_pool_evict_one(dw__kv_pool *pool)
{
    dw__kv_range *range = pool->lru.tail;
    while (range != NULL && !can_be_evicted(range)) {
        range = range->lru_prev;
    }
    if (range != NULL) {
        dw__kv_range_evict(range);
        pool->stats.eviction_count++;
    }
    return range != NULL;
}

bool dw__kv_pool_wait_for_busy(dw__kv_pool *pool)
{
    for (dw__kv_range *range = pool->lru.tail; range != NULL; range = range->lru_prev) {
        if (range->ahead == AHEAD_BUSY) {
            (void)pthread_cond_wait(&pool->changed, &pool->lock);
            return true;
        }
    }
    return false;
}

bool dw__kv_pool_make_room(dw__kv_pool *pool, dw_error *why)
{
    return dw__kv_pool_release_ready(pool) || dw__kv_pool_drop_kept(pool) ||
           dw__kv_pool_drop_one_ahead(pool) || dw__kv_pool_save_one(pool, why) ||
           dw__kv_pool_evict_one(pool) || dw__kv_pool_wait_for_busy(pool);
}

static dw_status none_left(dw__kv_pool *pool, size_t bytes, const dw_error *why, dw_error *err)
{
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    dw_vram_memory(pool->vram, &free_bytes, &total_bytes);
    return dw_fail(
        err, DW_E_MEMORY,
        "kv log: %zu bytes wanted on %s, %zu are free; logs in use have %llu, limit "
        "%llu%s%.80s",
        bytes, dw_device_info_of(pool->device)->name, free_bytes,
        (unsigned long long)pool->stats.device_bytes,
        (unsigned long long)(pool->stats.limit_bytes > 0 ? pool->stats.limit_bytes : total_bytes),
        why->message[0] != '\0' ? ": " : "", why->message);
}

dw_status dw__kv_pool_take(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *memory,
                           dw_error *err)
{
    dw_error why = {0};
    for (;;) {
        if (dw__kv_pool_take_ready(pool, bytes, memory)) {
            return DW_OK;
        }
        dw_status status = DW_E_MEMORY;
        if (!dw__kv_pool_is_over(pool, bytes)) {
            dw__kv_pool_leave_share(pool, bytes);
            status = dw_vram_create(pool->vram, memory, bytes, err);
        }
        if (status == DW_OK) {
            pool->stats.device_bytes += bytes;
            return DW_OK;
        }
        if (status != DW_E_MEMORY) {
            return status;
        }
        if (!dw__kv_pool_make_room(pool, &why)) {
            return none_left(pool, bytes, &why, err);
        }
    }
}
