/* Unmapping a range's allocations: those that are left without a user are freed, others wait to be
 * mapped again or saved. None of it needs memory, and none fails.
 * Private to src/kv; under the pool's lock. */
#ifndef DW_KV_KV_RANGE_UNMAP_H
#define DW_KV_KV_RANGE_UNMAP_H

#include "kv/kv_pool_state.h"

/* Unmap one mapped place, which stays the range's. */
void dw__kv_range_unmap_place(dw__kv_range *range, dw__kv_place *place);
/* The range has one place fewer. */
void dw__kv_range_drop_last_place(dw__kv_range *range);
/* Give back what was made ready ahead. */
void dw__kv_range_drop_ahead(dw__kv_range *range);
/* Unmap all of it, and what was made ready ahead. */
void dw__kv_range_evict(dw__kv_range *range);

#endif
