/* Device memory kept ready, and allocations: their saved bytes, their end. */
#include "kv/kv_allocation.h"

#include "base/alloc.h"

#define READY_BYTES_MAX ((uint64_t)128 << 20)

/* ---- device memory that is kept ready ---- */

bool dw__kv_pool_is_over(const dw__kv_pool *pool, uint64_t more)
{
    uint64_t limit = pool->stats.limit_bytes;
    return limit > 0 && (more > limit || pool->stats.device_bytes > limit - more);
}

static void release_memory(dw__kv_pool *pool, dw_vram_allocation *memory)
{
    pool->stats.device_bytes -= memory->bytes;
    dw_vram_release(pool->vram, memory);
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

/* ---- an allocation ---- */

dw_status dw__kv_allocation_read(dw__kv_ring *ring, const dw__kv_allocation *allocation,
                                 size_t offset, size_t bytes, const dw_sink *sink, dw_error *err)
{
    dw_vram *vram = dw__kv_ring_vram(ring);
    void *window = NULL;
    if (bytes == 0) {
        return DW_OK;
    }
    dw_status status = dw_vram_reserve(vram, &window, allocation->bytes, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_vram_map(vram, window, &allocation->memory, err);
    if (status == DW_OK) {
        status = dw__kv_ring_download(ring, (unsigned char *)window + offset, bytes, sink, err);
        dw_vram_unmap(vram, window, allocation->bytes);
    }
    dw_vram_unreserve(vram, window, allocation->bytes);
    return status;
}

/* Save an unmapped allocation in host memory and give back its own. */
dw_status dw__kv_allocation_save(dw__kv_pool *pool, dw__kv_allocation *allocation, dw_error *err)
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

void dw__kv_allocation_drop_saved(dw__kv_pool *pool, dw__kv_allocation *allocation)
{
    if (allocation->saved != NULL && allocation->memory.bytes > 0 && allocation->readers == 0) {
        pool->stats.host_bytes -= allocation->filled;
        dw_free(allocation->saved);
        allocation->saved = NULL;
    }
}

void dw__kv_allocation_free(dw__kv_pool *pool, dw__kv_allocation *allocation)
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
