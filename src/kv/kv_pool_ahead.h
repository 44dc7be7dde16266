/* The thread that makes memory ready behind the end of ranges, ahead of need.
 * Private to src/kv; under the pool's lock. */
#ifndef DW_KV_KV_POOL_AHEAD_H
#define DW_KV_KV_POOL_AHEAD_H

#include "kv/kv_pool_state.h"

/* Have the thread make an allocation ready behind the range's end: best effort.
 * dw__kv_pool_await waits for it. */
void dw__kv_pool_queue(dw__kv_pool *pool, dw__kv_range *range);

#endif
