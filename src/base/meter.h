/* Bytes of one kind that are held together, and how many may be.
 * Thread: any. */
#ifndef DW_BASE_METER_H
#define DW_BASE_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero: nothing is held, and there is no limit. */
typedef struct dw_meter {
    _Atomic uint64_t bytes;
    _Atomic uint64_t limit; /* 0: none; what is held already may be more */
} dw_meter;

/* `bytes` more; false: that is beyond the limit, nothing is taken. */
static inline bool dw_meter_take(dw_meter *meter, uint64_t bytes)
{
    uint64_t limit = atomic_load_explicit(&meter->limit, memory_order_relaxed);
    uint64_t held = atomic_load_explicit(&meter->bytes, memory_order_relaxed);
    do {
        if (limit != 0 && (held > limit || bytes > limit - held)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&meter->bytes, &held, held + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static inline void dw_meter_give(dw_meter *meter, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&meter->bytes, bytes, memory_order_relaxed);
}

#endif
