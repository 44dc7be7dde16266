/* Whose device memory it is: which ranges were used last, what is kept ready, and what is evicted
 * and saved when memory is short. Everything here is under the pool's lock. */
#include "base/alloc.h"
#include "kv/kv_pool_internal.h"

#define READY_BYTES_MAX ((uint64_t)128 << 20)

/* ---- the list of ranges, the last used first ---- */

void dw__kv_pool_remove(dw__kv_pool *pool, dw__kv_range *range)
{
    *(range->lru_prev != NULL ? &range->lru_prev->lru_next : &pool->lru_head) = range->lru_next;
    *(range->lru_next != NULL ? &range->lru_next->lru_prev : &pool->lru_tail) = range->lru_prev;
    range->lru_prev = NULL;
    range->lru_next = NULL;
}

void dw__kv_pool_touch(dw__kv_pool *pool, dw__kv_range *range)
{
    if (pool->lru_head == range) {
        return;
    }
    if (range->lru_prev != NULL) { /* it is in the list, and not the first */
        dw__kv_pool_remove(pool, range);
    }
    range->lru_next = pool->lru_head;
    *(pool->lru_head != NULL ? &pool->lru_head->lru_prev : &pool->lru_tail) = range;
    pool->lru_head = range;
}

/* ---- allocations ---- */

void dw__kv_pool_add_unmapped(dw__kv_pool *pool, dw__kv_allocation *allocation)
{
    DW_ASSERT(allocation->mappings == 0 && allocation->users > 0 && allocation->memory.bytes > 0);
    allocation->unmapped_prev = pool->unmapped_tail;
    allocation->unmapped_next = NULL;
    *(pool->unmapped_tail != NULL ? &pool->unmapped_tail->unmapped_next : &pool->unmapped_head) =
        allocation;
    pool->unmapped_tail = allocation;
}

void dw__kv_pool_remove_unmapped(dw__kv_pool *pool, dw__kv_allocation *allocation)
{
    dw__kv_allocation *before = allocation->unmapped_prev;
    dw__kv_allocation *next = allocation->unmapped_next;
    *(before != NULL ? &before->unmapped_next : &pool->unmapped_head) = next;
    *(next != NULL ? &next->unmapped_prev : &pool->unmapped_tail) = before;
    allocation->unmapped_prev = NULL;
    allocation->unmapped_next = NULL;
}

void dw__kv_pool_free(dw__kv_pool *pool, dw__kv_allocation *allocation)
{
    DW_ASSERT(allocation->users == 0 && allocation->mappings == 0 && allocation->readers == 0);
    if (allocation->saved != NULL) {
        pool->stats.host_bytes -= allocation->filled;
        dw_free(allocation->saved);
    }
    if (allocation->memory.bytes > 0) {
        dw__kv_pool_give(pool, &allocation->memory);
    }
    dw_free(allocation);
}

/* Save an unmapped allocation in host memory and give back its own. */
static dw_status save(dw__kv_pool *pool, dw__kv_allocation *allocation, dw_error *err)
{
    DW_ASSERT(allocation->saved == NULL && allocation->readers == 0);
    unsigned char *to = allocation->filled > 0 ? dw_alloc(allocation->filled, 1) : NULL;
    if (allocation->filled > 0 && to == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no %zu bytes of host memory to evict to",
                       allocation->filled);
    }
    dw_sink sink = {.anywhere = dw__kv_copy_out, .user = to};
    dw__kv_ring *ring;
    dw_status status = dw__kv_pool_ring(pool, DW__KV_RING_MOVES, &ring, err);
    if (status == DW_OK) {
        status = dw__kv_allocation_read(ring, allocation, 0, allocation->filled, &sink, err);
    }
    if (status != DW_OK) {
        dw_free(to);
        return status;
    }
    allocation->saved = to;
    pool->stats.host_bytes += allocation->filled;
    pool->stats.evicted_bytes += allocation->filled;
    dw__kv_pool_remove_unmapped(pool, allocation);
    dw__kv_pool_give(pool, &allocation->memory);
    return DW_OK;
}

/* ---- device memory ---- */

static void release_memory(dw__kv_pool *pool, dw_vram_allocation *memory)
{
    pool->stats.device_bytes -= memory->bytes;
    dw_vram_release(pool->vram, memory);
}

bool dw__kv_pool_is_over(const dw__kv_pool *pool, uint64_t more)
{
    uint64_t limit = pool->stats.limit_bytes;
    return limit > 0 && (more > limit || pool->stats.device_bytes > limit - more);
}

void dw__kv_pool_give(dw__kv_pool *pool, dw_vram_allocation *memory)
{
    if (pool->ready_count < DW__KV_READY_MAX && !dw__kv_pool_is_over(pool, 0) &&
        pool->stats.ready_bytes + memory->bytes <= READY_BYTES_MAX) {
        pool->ready[pool->ready_count++] = *memory;
        pool->stats.ready_bytes += memory->bytes;
        *memory = (dw_vram_allocation){.bytes = 0};
    } else {
        release_memory(pool, memory);
    }
}

bool dw__kv_pool_take_ready(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *memory)
{
    for (uint32_t i = pool->ready_count; i > 0; i--) {
        if (pool->ready[i - 1].bytes == bytes) {
            *memory = pool->ready[i - 1];
            pool->ready[i - 1] = pool->ready[--pool->ready_count];
            pool->stats.ready_bytes -= bytes;
            return true;
        }
    }
    return false;
}

bool dw__kv_pool_release_ready(dw__kv_pool *pool)
{
    if (pool->ready_count == 0) {
        return false;
    }
    dw_vram_allocation *last = &pool->ready[--pool->ready_count];
    pool->stats.ready_bytes -= last->bytes;
    release_memory(pool, last);
    return true;
}

bool dw__kv_pool_drop_one_ahead(dw__kv_pool *pool)
{
    dw__kv_range *range = pool->lru_tail;
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
        if (allocation->readers == 0 && save(pool, allocation, why) == DW_OK) {
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
    dw__kv_range *range = pool->lru_tail;
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
    for (dw__kv_range *range = pool->lru_tail; range != NULL; range = range->lru_prev) {
        if (range->ahead == AHEAD_BUSY) {
            (void)pthread_cond_wait(&pool->changed, &pool->lock);
            return true;
        }
    }
    return false;
}

bool dw__kv_pool_make_room(dw__kv_pool *pool, dw_error *why)
{
    return dw__kv_pool_release_ready(pool) || dw__kv_pool_drop_one_ahead(pool) ||
           dw__kv_pool_save_one(pool, why) || dw__kv_pool_evict_one(pool) ||
           dw__kv_pool_wait_for_busy(pool);
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

void dw__kv_pool_check(const dw__kv_pool *pool)
{
    const dw__kv_range *prev = NULL;
    uint64_t held = pool->stats.ready_bytes;
    for (const dw__kv_range *range = pool->lru_head; range != NULL; range = range->lru_next) {
        DW_ASSERT(range->lru_prev == prev && range->pool == pool);
        dw__kv_range_check(range);
        prev = range;
    }
    DW_ASSERT(pool->lru_tail == prev);
    const dw__kv_allocation *before = NULL;
    for (const dw__kv_allocation *a = pool->unmapped_head; a != NULL; a = a->unmapped_next) {
        DW_ASSERT(a->unmapped_prev == before && a->mappings == 0 && a->users > 0);
        DW_ASSERT(a->memory.bytes == a->bytes && a->filled <= a->bytes);
        held += a->bytes;
        before = a;
    }
    DW_ASSERT(pool->unmapped_tail == before);
    DW_ASSERT(held <= pool->stats.device_bytes);
}
