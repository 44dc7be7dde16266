/* The data that a pool and its ranges share: allocations in their places in ranges, the lists that
 * both are in, and the lock.
 * Private to src/kv. All of it is guarded by the pool's lock, but for what a field says; the
 * driver's calls that take long, reading and writing files above all, are made without it. */
#ifndef DW_KV_KV_POOL_STATE_H
#define DW_KV_KV_POOL_STATE_H

#include <pthread.h>

#include "device/vram.h"
#include "kv/kv_backing.h"
#include "kv/kv_kept.h"
#include "kv/kv_pool.h"
#include "kv/kv_ring.h"

#define DW__KV_READY_MAX 64u /* allocations kept ready */

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
    bool kept; /* no log has it (kv_kept.h): it is in the pool's other list */
    dw_kv_key key;
    uint32_t kept_length; /* records of the log that had it, and those that it took */
    uint32_t kept_capacity;
} dw__kv_range;

/* By lru_prev and lru_next. */
typedef struct dw__kv_range_list {
    dw__kv_range *head; /* this one was used last */
    dw__kv_range *tail;
} dw__kv_range_list;

/* A transfer has its ring alone, and one to a file or pipe may wait for that as long as it likes.
 * Nothing under the pool's lock waits for such: evicting and restoring have another ring. */
typedef enum dw__kv_ring_use {
    DW__KV_RING_FILES, /* used without the lock */
    DW__KV_RING_MOVES, /* used under it */
    DW__KV_RING_COUNT
} dw__kv_ring_use;

typedef struct dw__kv_pool {
    dw_device *device;
    dw_vram *vram; /* NULL: the device has none */
    ggml_backend_buffer_t buffer;
    dw_kv_pool_options options;
    size_t granularity;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    dw_vram_stream *stream;                /* copies under the lock */
    dw__kv_ring *rings[DW__KV_RING_COUNT]; /* NULL: not needed yet; with locks of their own */
    dw_vram_allocation ready[DW__KV_READY_MAX];
    uint32_t ready_count;
    dw__kv_allocation *unmapped_head; /* longest unmapped: the first to be saved */
    dw__kv_allocation *unmapped_tail;
    dw__kv_range_list lru;  /* all ranges that logs have; the last is the first to be evicted */
    dw__kv_range_list kept; /* those that no log has; the last is the first to go */
    uint64_t kept_limit;    /* bytes of these */
    dw__kv_range *queue;    /* for the thread that makes ready ahead */
    pthread_t thread;
    bool has_thread;
    bool ending;
    dw_vram_stream *thread_stream; /* the thread's own */
    dw_kv_stats stats;
} dw__kv_pool;

static inline size_t dw__smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void dw__kv_pool_lock(dw__kv_pool *pool);
void dw__kv_pool_unlock(dw__kv_pool *pool);

/* ---- all that follows under the lock ---- */

/* A ring, made where there is none; it stays. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__kv_pool_ring(dw__kv_pool *pool, dw__kv_ring_use use, dw__kv_ring **out,
                           dw_error *err);
/* The range is the last used of its list. It is put into the list where it is not in it. */
void dw__kv_pool_touch(dw__kv_pool *pool, dw__kv_range *range);
void dw__kv_pool_remove(dw__kv_pool *pool, dw__kv_range *range);
/* Nobody maps it any more, or somebody does again. */
void dw__kv_pool_add_unmapped(dw__kv_pool *pool, dw__kv_allocation *allocation);
void dw__kv_pool_remove_unmapped(dw__kv_pool *pool, dw__kv_allocation *allocation);
/* Until nothing is under way ahead for the range: READY or NONE. The lock is given up meanwhile. */
void dw__kv_pool_await(dw__kv_pool *pool, dw__kv_range *range);

#endif
