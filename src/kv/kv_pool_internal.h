/* What pool and ranges share. All of it is guarded by the pool's lock, but for what a field says;
 * the driver's calls that take long, reading and writing files above all, are made without it.
 *
 * A block's bytes are in exactly one place: in device memory, or saved in host memory while
 * nobody maps it (in both only while somebody still reads the saved ones). Blocks in device
 * memory that nobody maps are *stranded*: they are the first to be saved when memory is short. */
#ifndef DW_KV_KV_POOL_INTERNAL_H
#define DW_KV_KV_POOL_INTERNAL_H

#include <pthread.h>

#include "kv/kv_range.h"

#define DW__KV_READY_MAX 64u /* pieces kept ready */

typedef struct dw__kv_block {
    size_t bytes;
    dw_vram_allocation memory; /* none: it is saved */
    unsigned char *saved;      /* [filled]; NULL: not, or there is nothing to save */
    size_t filled;             /* bytes that say something, once nobody maps it; the rest is zero */
    uint32_t users;            /* ranges that hold it */
    uint32_t mappings;         /* of them, those that have it mapped */
    uint32_t readers;          /* who look at it without mapping it: it stays where it is */
    struct dw__kv_block *next_stranded;
    struct dw__kv_block *before_stranded;
} dw__kv_block;

/* What is made ready for a range behind its end. */
typedef enum dw__kv_ahead { AHEAD_NONE, AHEAD_QUEUED, AHEAD_BUSY, AHEAD_READY } dw__kv_ahead;

/* A block in its place in a range. */
typedef struct dw__kv_place {
    dw__kv_block *block;
    size_t offset;
    bool mapped;
} dw__kv_place;

struct dw__kv_range {
    struct dw__kv_pool *pool;
    unsigned char *base; /* never changes */
    size_t reserved_bytes;
    dw__kv_place *places; /* [place_room], one behind the other */
    uint32_t place_count;
    size_t place_room;
    size_t mapped; /* bytes of all blocks; written by its log's thread only, under the lock */
    size_t held;
    size_t step_bytes; /* what is needed grows by as much at a time */
    size_t needed;     /* by the last step */
    bool resident;     /* all is mapped */
    bool in_step;
    uint32_t pins; /* it stays where it is */
    dw__kv_ahead ahead;
    dw__kv_block *ahead_block;       /* AHEAD_READY: mapped at `mapped`; not counted in there */
    struct dw__kv_range *next_ahead; /* queue of those that wait for it */
    struct dw__kv_range *more;       /* list of all, the last used first */
    struct dw__kv_range *less;
};

/* A transfer has its ring alone, and one to a file or pipe may wait for that as long as it likes.
 * Nothing under the pool's lock waits for such: logs that leave and come back have another ring. */
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
    dw__kv_block *stranded; /* the one that was longest unused first */
    dw__kv_block *last_stranded;
    dw__kv_range *most; /* last used */
    dw__kv_range *least;
    dw__kv_range *queue; /* for the thread that makes ready ahead */
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

/* ---- under the lock ---- */

/* Device memory of `bytes`; others leave for it where need be, and the lock may be given up while
 * something else is under way. Errors: DW_E_MEMORY (wanted, free, limit), DW_E_DEVICE. */
dw_status dw__kv_pool_take(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *piece,
                           dw_error *err);
/* It is kept ready for the next, or goes. */
void dw__kv_pool_give(dw__kv_pool *pool, dw_vram_allocation *piece);
/* A block with no users gives back all that it has, and itself. */
void dw__kv_pool_free_block(dw__kv_pool *pool, dw__kv_block *block);
/* Nobody maps it any more, or somebody does again. */
void dw__kv_pool_strand(dw__kv_pool *pool, dw__kv_block *block);
void dw__kv_pool_unstrand(dw__kv_pool *pool, dw__kv_block *block);
/* Last used now. */
void dw__kv_pool_touch(dw__kv_pool *pool, dw__kv_range *range);
void dw__kv_pool_remove(dw__kv_pool *pool, dw__kv_range *range);
/* A ring, made where there is none; it stays. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__kv_pool_ring(dw__kv_pool *pool, dw__kv_ring_use use, dw__kv_ring **out,
                           dw_error *err);
/* Have the thread make a block ready behind the range's end. It may not come to it. */
void dw__kv_pool_queue(dw__kv_pool *pool, dw__kv_range *range);
/* Until nothing is under way for the range: READY or NONE. The lock is given up meanwhile. */
void dw__kv_pool_await(dw__kv_pool *pool, dw__kv_range *range);

/* ---- of ranges, for the pool (kv_range.c), under the lock ---- */

/* How large the next block is, of a range that has `wanted` bytes to grow by at least. */
size_t dw__kv_range_next_bytes(const dw__kv_range *range, size_t wanted);
/* Bytes to map until the steps behind the last one's have what they need. */
size_t dw__kv_range_missing(const dw__kv_range *range);
/* Unmap it all. */
void dw__kv_range_leave(dw__kv_range *range);
/* What was made ready ahead is given back. */
void dw__kv_range_drop_ahead(dw__kv_range *range);
/* Hand bytes [offset, offset + bytes) of a block in device memory, that stays there, to a sink,
 * mapped or not. Without the lock too, where the ring is that for files. */
dw_status dw__kv_block_read(dw__kv_ring *ring, const dw__kv_block *block, size_t offset,
                            size_t bytes, const dw_sink *sink, dw_error *err);

#endif
