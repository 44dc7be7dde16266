/* What is counted, per instance and per device. Payload (tokens, logits, tensors) is copied for
 * staged views alone, which count it (dw_device_counters.staged_bytes, and each view its own);
 * tests/unit/test_zero_copy.c notes copies without these counters.
 * Thread: any. */
#ifndef DW_BASE_COUNTERS_H
#define DW_BASE_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/meter.h"

typedef struct dw_counters {
    _Atomic uint64_t prompt_tokens;
    _Atomic uint64_t prompt_ns;
    _Atomic uint64_t found_tokens; /* of prompts, whose records others had computed */
    _Atomic uint64_t sampled_tokens;
    _Atomic uint64_t decoded_tokens;
    _Atomic uint64_t decode_ns;
    _Atomic uint64_t device_placed_bytes;
    _Atomic uint64_t host_calls;
    _Atomic uint64_t graph_runs;
    _Atomic uint64_t guest_ns;  /* of its turns under a scheduler, but for the next */
    _Atomic uint64_t device_ns; /* its part of steps, by tokens, and of work that goes alone */
} dw_counters;

/* A guest that samples for itself is known by its steps of one token. */
static inline uint64_t dw_counters_generated(const dw_counters *counters)
{
    uint64_t sampled = atomic_load(&counters->sampled_tokens);
    uint64_t decoded = atomic_load(&counters->decoded_tokens);
    return sampled > decoded ? sampled : decoded;
}

/* What a device's memory is used for. */
typedef enum dw_device_use {
    DW_USE_WEIGHTS,
    DW_USE_KV,
    DW_USE_WORK, /* between a graph's inputs and outputs; masks */
    DW_USE_VIEW, /* views: guest memory that could not be registered; small auxiliary buffers */
    DW_USE_COUNT,
} dw_device_use;

/* What uses a device now, counted where it is taken and given back; and what it has been given to
 * carry so far. */
typedef struct dw_device_counters {
    _Atomic uint64_t used_bytes[DW_USE_COUNT]; /* of its memory */
    _Atomic uint64_t mapped_weights_bytes;     /* of files that it reads in place */
    /* Keys and values that are no address range's, each page once, whoever shares it. */
    dw_meter host_kv;   /* in host pages that no file has: they stay until they are freed */
    dw_meter mapped_kv; /* in pages of files, which the system may drop; without a limit */
    dw_meter buffer_kv; /* in buffers of the device (of used_bytes[DW_USE_KV]) */
    _Atomic uint64_t kept_kv_limit;    /* of address ranges that no context has (kv/kv_kept.h) */
    _Atomic uint64_t registered_bytes; /* host pages pinned for it */
    _Atomic uint64_t staged_bytes;     /* so far: copied for views that are staged */
    _Atomic uint64_t models;
    _Atomic uint64_t contexts;
    /* Of models' matrices those that may have kernels of ours for steps of few tokens, and those
     * that do; of weights, what they have twice for that. */
    _Atomic uint64_t matrices;
    _Atomic uint64_t matrices_served;
    _Atomic uint64_t repacked_bytes;
    _Atomic uint64_t matrices_wide;
    _Atomic uint64_t expert_matrices; /* of matrices, as the next: of all of a layer's experts */
    _Atomic uint64_t expert_matrices_served;
} dw_device_counters;

static inline void dw_count(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

static inline void dw_uncount(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_fetch_sub_explicit(counter, amount, memory_order_relaxed);
}

#endif
