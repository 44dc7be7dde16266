/* Allocations of device memory: what is kept ready of it, and what becomes of one that no range
 * maps. Nothing here makes room: that is kv_pool_memory.h.
 * Private to src/kv; under the pool's lock but for what a comment says. */
#ifndef DW_KV_KV_ALLOCATION_H
#define DW_KV_KV_ALLOCATION_H

#include "kv/kv_pool_state.h"

/* Whether `more` bytes would be beyond the limit. */
bool dw__kv_pool_is_over(const dw__kv_pool *pool, uint64_t more);
/* Only what is kept ready, of exactly that size. */
bool dw__kv_pool_take_ready(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *memory);
/* It is kept ready for the next, or released. */
void dw__kv_pool_give(dw__kv_pool *pool, dw_vram_allocation *memory);
/* Release one that is kept ready; false: none is. */
bool dw__kv_pool_release_ready(dw__kv_pool *pool);

/* Hand [offset, offset + bytes) of an allocation in device memory, which stays there, to a sink,
 * mapped or not. Without the lock too, where the ring is that for files. */
dw_status dw__kv_allocation_read(dw__kv_ring *ring, const dw__kv_allocation *allocation,
                                 size_t offset, size_t bytes, const dw_sink *sink, dw_error *err);
/* Save an unmapped one in host memory and give back its own.
 * Errors: DW_E_MEMORY (of the host), DW_E_DEVICE. */
dw_status dw__kv_allocation_save(dw__kv_pool *pool, dw__kv_allocation *allocation, dw_error *err);
/* The saved bytes go where the allocation is back in device memory and nobody reads them. */
void dw__kv_allocation_drop_saved(dw__kv_pool *pool, dw__kv_allocation *allocation);
/* One with no users gives back all that it has, and itself. */
void dw__kv_allocation_free(dw__kv_pool *pool, dw__kv_allocation *allocation);

#endif
