/* A tenant's part of what all have together, by its weight. Private to src/runtime. With the lock.
 */
#ifndef DW_RUNTIME_SHARES_H
#define DW_RUNTIME_SHARES_H

#include "runtime/runtime_internal.h"

/* Whether so many are no more than the tenant's part of `all`, by its weight among those that have
 * actors and itself. Products, and in place: a division, or a call, is seen in a message's time. */
static inline bool dw__within_share(const dw_runtime *runtime, const dw__tenant *tenant,
                                    uint64_t count, uint64_t all)
{
    const uint64_t weights =
        tenant->records > 0 ? runtime->weights : runtime->weights + tenant->weight;
    uint64_t own;
    uint64_t limit;
    if (__builtin_mul_overflow(all, tenant->weight, &limit)) {
        return count <= all / weights * tenant->weight;
    }
    return !__builtin_mul_overflow(count, weights, &own) && own <= limit;
}

#endif
