/* What pool and ranges share. All of it is guarded by the pool's lock, but for what a field says;
 * the driver's calls that take long, reading and writing files above all, are made without it.
 *   kv_pool.c         the pool of a device: its life, its limit, what it reports
 *   kv_pool_memory.c  handing out device memory; evicting ranges and saving what nobody maps
 *   kv_pool_ahead.c   the thread that makes memory ready behind the end of ranges */
#ifndef DW_KV_KV_POOL_INTERNAL_H
#define DW_KV_KV_POOL_INTERNAL_H

#include <pthread.h>

#include "kv/kv_pool.h"
#include "kv/kv_range_internal.h"

#define DW__KV_READY_MAX 64u /* allocations kept ready */

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
    dw__kv_range *lru_head; /* all ranges; this one was used last */
    dw__kv_range *lru_tail; /* the first to be evicted */
    dw__kv_range *queue;    /* for the thread that makes ready ahead */
    pthread_t thread;
    bool has_thread;
    bool ending;
    dw_vram_stream *thread_stream; /* the thread's own */
    dw_kv_stats stats;
} dw__kv_pool;

/* The device's, made where there is none. Errors: DW_E_UNSUPPORTED, DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__kv_pool_of(dw__kv_pool **out, dw_device *device, bool emulated, dw_error *err);
void dw__kv_pool_lock(dw__kv_pool *pool);
void dw__kv_pool_unlock(dw__kv_pool *pool);

/* ---- all that follows under the lock ---- */

/* Stop the program where lists or sizes are not as they must be. */
void dw__kv_pool_check(const dw__kv_pool *pool);
/* A ring, made where there is none; it stays. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__kv_pool_ring(dw__kv_pool *pool, dw__kv_ring_use use, dw__kv_ring **out,
                           dw_error *err);
/* The range is the last used. It is put into the list where it is not in it. */
void dw__kv_pool_touch(dw__kv_pool *pool, dw__kv_range *range);
void dw__kv_pool_remove(dw__kv_pool *pool, dw__kv_range *range);

/* ---- device memory ---- */

/* Device memory of `bytes`; others are evicted for it where need be, and the lock may be given up
 * while something else is under way. Errors: DW_E_MEMORY (wanted, free, limit), DW_E_DEVICE. */
dw_status dw__kv_pool_take(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *memory,
                           dw_error *err);
/* Only what is kept ready, of exactly that size. */
bool dw__kv_pool_take_ready(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *memory);
/* It is kept ready for the next, or released. */
void dw__kv_pool_give(dw__kv_pool *pool, dw_vram_allocation *memory);
/* An allocation with no users gives back all that it has, and itself. */
void dw__kv_pool_free(dw__kv_pool *pool, dw__kv_allocation *allocation);
/* Nobody maps it any more, or somebody does again. */
void dw__kv_pool_add_unmapped(dw__kv_pool *pool, dw__kv_allocation *allocation);
void dw__kv_pool_remove_unmapped(dw__kv_pool *pool, dw__kv_allocation *allocation);
/* Whether `more` bytes would be beyond the limit. */
bool dw__kv_pool_is_over(const dw__kv_pool *pool, uint64_t more);

/* Ways to more room, from the cheapest on; false: nothing was there to do it with. */
bool dw__kv_pool_release_ready(dw__kv_pool *pool);
bool dw__kv_pool_drop_one_ahead(dw__kv_pool *pool);
/* `*why`: the error of the last one that could not be saved. */
bool dw__kv_pool_save_one(dw__kv_pool *pool, dw_error *why);
bool dw__kv_pool_evict_one(dw__kv_pool *pool);
/* Wait for something under way that ends by itself. */
bool dw__kv_pool_wait_for_busy(dw__kv_pool *pool);
/* The first of them that does something. Repeating it ends: each takes from what there is. */
bool dw__kv_pool_make_room(dw__kv_pool *pool, dw_error *why);

/* ---- ahead of need ---- */

/* Have the thread make an allocation ready behind the range's end: best effort. */
void dw__kv_pool_queue(dw__kv_pool *pool, dw__kv_range *range);
/* Until nothing is under way for the range: READY or NONE. The lock is given up meanwhile. */
void dw__kv_pool_await(dw__kv_pool *pool, dw__kv_range *range);

#endif
