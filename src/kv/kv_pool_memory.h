/* Device memory for ranges, which others are evicted for where it is short.
 * Private to src/kv; under the pool's lock. */
#ifndef DW_KV_KV_POOL_MEMORY_H
#define DW_KV_KV_POOL_MEMORY_H

#include "kv/kv_pool_state.h"

/* Device memory of `bytes`; others are evicted for it where need be, and the lock may be given up
 * while something else is under way. Errors: DW_E_MEMORY (wanted, free, limit), DW_E_DEVICE. */
dw_status dw__kv_pool_take(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *memory,
                           dw_error *err);

/* Ways to more room, from the cheapest on, behind dw__kv_pool_release_ready; false: nothing was
 * there to do it with. */
bool dw__kv_pool_drop_one_ahead(dw__kv_pool *pool);
/* `*why`: the error of the last one that could not be saved. */
bool dw__kv_pool_save_one(dw__kv_pool *pool, dw_error *why);
bool dw__kv_pool_evict_one(dw__kv_pool *pool);
/* Wait for something under way that ends by itself. */
bool dw__kv_pool_wait_for_busy(dw__kv_pool *pool);
/* The first of them that does something. Repeating it ends: each takes from what there is. */
bool dw__kv_pool_make_room(dw__kv_pool *pool, dw_error *why);

#endif
