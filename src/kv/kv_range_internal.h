/* A log in a device's address range (a dw__kv_backing): allocations of device memory mapped one
 * behind the other. Ranges that were forked from one another share allocations, which nobody writes
 * to while they do.
 *
 * A range that is not in use may be evicted: its allocations are unmapped. One that no range maps
 * any more is saved in host memory when the pool needs its place. Using the range restores it, at
 * the same addresses.
 *
 * All fields are guarded by the pool's lock, but for what a comment says.
 *   kv_range.c         the backing: life, steps
 *   kv_range_places.c  mapping, evicting, restoring; growing; owning; sharing with a fork
 *   kv_range_read.c    reading, wherever the bytes are */
#ifndef DW_KV_KV_RANGE_INTERNAL_H
#define DW_KV_KV_RANGE_INTERNAL_H

#include "device/vram.h"
#include "kv/kv_backing.h"
#include "kv/kv_ring.h"

/* Device memory that ranges hold. Its bytes are in exactly one place: in device memory, or saved in
 * host memory while no range maps it (in both only while somebody still reads the saved ones). */
typedef struct dw__kv_allocation {
    size_t bytes;
    dw_vram_allocation memory; /* none: it is saved */
    unsigned char *saved;      /* [filled]; NULL: not, or there is nothing to save */
    size_t filled;             /* bytes that were written, once nobody maps it; the rest is zero */
    uint32_t users;            /* ranges that hold it */
    uint32_t mappings;         /* of them, those that have it mapped */
    uint32_t readers;          /* who read it without mapping it: it stays where it is */
    /* In the pool's list of unmapped ones: in device memory, with no mappings. */
    struct dw__kv_allocation *unmapped_prev;
    struct dw__kv_allocation *unmapped_next;
} dw__kv_allocation;

/* An allocation in its place in a range. */
typedef struct dw__kv_place {
    dw__kv_allocation *allocation;
    size_t offset;
    bool mapped;
} dw__kv_place;

/* What is made ready for a range behind its end. */
typedef enum dw__kv_ahead { AHEAD_NONE, AHEAD_QUEUED, AHEAD_BUSY, AHEAD_READY } dw__kv_ahead;

typedef struct dw__kv_range {
    dw__kv_backing backing; /* its log's thread's */
    struct dw__kv_pool *pool;
    unsigned char *address; /* never changes */
    size_t reserved_bytes;
    size_t step_bytes;    /* of DW_KV_STEP_TOKENS records: what is needed grows by as much */
    dw__kv_place *places; /* [place_capacity], one behind the other */
    size_t place_count;
    size_t place_capacity;
    size_t mapped; /* bytes of all places; written by its log's thread only, under the lock */
    size_t held;   /* bytes of records */
    size_t needed; /* by the last step */
    bool resident; /* all places are mapped */
    bool in_step;  /* it is not evicted meanwhile */
    uint32_t pins; /* nor while there are any */
    dw__kv_ahead ahead;
    dw__kv_allocation *ahead_allocation; /* AHEAD_READY: mapped at `mapped`; not counted in there */
    struct dw__kv_range *next_ahead;     /* queue of those that wait for it */
    struct dw__kv_range *lru_prev;       /* used later than this one */
    struct dw__kv_range *lru_next;
} dw__kv_range;

static inline size_t dw__smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- places; all under the pool's lock ---- */

/* Unmap all of it, and what was made ready ahead. */
void dw__kv_range_evict(dw__kv_range *range);
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
/* Give back what was made ready ahead. */
void dw__kv_range_drop_ahead(dw__kv_range *range);
void dw__kv_range_drop_last_place(dw__kv_range *range);
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
/* Stop the program where what the fields say of one another is not so. */
void dw__kv_range_check(const dw__kv_range *range);

/* ---- reading ---- */

/* A backing's read. Takes the pool's lock. */
dw_status dw__kv_range_read(dw__kv_backing *backing, size_t offset, size_t bytes,
                            const dw_sink *sink, dw_error *err);
/* The saved bytes go where the allocation is back in device memory and nobody reads them. Under the
 * lock. */
void dw__kv_allocation_drop_saved(struct dw__kv_pool *pool, dw__kv_allocation *allocation);
/* Hand [offset, offset + bytes) of an allocation in device memory, which stays there, to a sink,
 * mapped or not. Without the lock too, where the ring is that for files. */
dw_status dw__kv_allocation_read(dw__kv_ring *ring, const dw__kv_allocation *allocation,
                                 size_t offset, size_t bytes, const dw_sink *sink, dw_error *err);

#endif
