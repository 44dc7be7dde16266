/* What is counted, per instance. Every host copy of payload (tokens, logits, tensors) goes through
 * dw_copy_payload, so that the figure shown to users is the truth; tests count again without it.
 * Thread: any. */
#ifndef DW_BASE_COUNTERS_H
#define DW_BASE_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dw_counters {
    _Atomic uint64_t prompt_tokens;
    _Atomic uint64_t prompt_ns;
    _Atomic uint64_t sampled_tokens;
    _Atomic uint64_t decoded_tokens;
    _Atomic uint64_t decode_ns;
    _Atomic uint64_t host_copied_bytes;
    _Atomic uint64_t device_placed_bytes;
    _Atomic uint64_t host_calls;
    _Atomic uint64_t graph_runs;
} dw_counters;

static inline void dw_count(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

/* memcpy, and say so. */
void dw_copy_payload(dw_counters *counters, void *to, const void *from, size_t bytes);

#endif
