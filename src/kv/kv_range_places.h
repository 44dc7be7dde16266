/* Allocations in their places in ranges: restored after an eviction, made as a range grows, copied
 * where others share them, and shared with a fork.
 * Private to src/kv; under the pool's lock. */
#ifndef DW_KV_KV_RANGE_PLACES_H
#define DW_KV_KV_RANGE_PLACES_H

#include "kv/kv_pool_state.h"

/* Map all of it, with what was saved. Errors: DW_E_MEMORY, DW_E_DEVICE; it is then evicted. */
dw_status dw__kv_range_restore(dw__kv_range *range, dw_error *err);
/* Have `needed` bytes mapped at least: take over what was made ready ahead, else make it now, which
 * the step has to wait for. Allocations are made to be full with the first `filled` bytes, as far
 * as can be. Errors: DW_E_MEMORY (wanted, free, limit), DW_E_DEVICE. */
dw_status dw__kv_range_grow(dw__kv_range *range, size_t filled, size_t needed, dw_error *err);
/* How large the next allocation is, of a range that has `wanted` bytes to grow by at least. */
size_t dw__kv_range_next_bytes(const dw__kv_range *range, size_t wanted);
/* Bytes to map until the steps behind the last one's have what they need; 0: none. */
size_t dw__kv_range_missing(const dw__kv_range *range);
/* Give bytes from `from` on allocations of the range's own, where others share them.
 * Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__kv_range_own(dw__kv_range *range, size_t from, dw_error *err);
/* Make `parent`'s first `held` bytes those of an empty range, with `needed` mapped at least: its
 * full allocations are mapped again, and what is used of the last is copied; small ones are copied
 * too where there are many. Both are resident and stay so.
 * Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__kv_range_share(dw__kv_range *range, const dw__kv_range *parent, size_t held,
                             size_t needed, dw_error *err);
/* Zeros in mapped memory, and wait. */
dw_status dw__kv_range_clear(dw__kv_range *range, size_t offset, size_t bytes, dw_error *err);

#endif
