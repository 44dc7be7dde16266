#include "kv/kv_pool.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/os.h"
#include "kv/kv_pool_internal.h"

#define PIECE_BYTES_MAX ((size_t)32 << 20)
#define READY_BYTES_MAX ((uint64_t)128 << 20)
/* 8 threads with two buffers each bring 128 MiB from the page cache in 3.6 ms (16: 3.4, 4: 5.1). */
#define RING_BUFFER_BYTES ((size_t)2 << 20)
#define RING_THREADS 8

void dw__kv_pool_lock(dw__kv_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
}

void dw__kv_pool_unlock(dw__kv_pool *pool)
{
    (void)pthread_mutex_unlock(&pool->lock);
}

/* ---- the list of ranges, the last used first ---- */

void dw__kv_pool_remove(dw__kv_pool *pool, dw__kv_range *range)
{
    *(range->more != NULL ? &range->more->less : &pool->most) = range->less;
    *(range->less != NULL ? &range->less->more : &pool->least) = range->more;
    range->more = NULL;
    range->less = NULL;
}

void dw__kv_pool_touch(dw__kv_pool *pool, dw__kv_range *range)
{
    if (pool->most == range) {
        return;
    }
    if (range->more != NULL) { /* it is in the list, and not the first */
        dw__kv_pool_remove(pool, range);
    }
    range->less = pool->most;
    *(pool->most != NULL ? &pool->most->more : &pool->least) = range;
    pool->most = range;
}

/* ---- blocks that nobody maps ---- */

void dw__kv_pool_strand(dw__kv_pool *pool, dw__kv_block *block)
{
    DW_ASSERT(block->mappings == 0 && block->users > 0 && block->memory.bytes > 0);
    block->before_stranded = pool->last_stranded;
    block->next_stranded = NULL;
    *(pool->last_stranded != NULL ? &pool->last_stranded->next_stranded : &pool->stranded) = block;
    pool->last_stranded = block;
}

void dw__kv_pool_unstrand(dw__kv_pool *pool, dw__kv_block *block)
{
    dw__kv_block *before = block->before_stranded;
    dw__kv_block *next = block->next_stranded;
    *(before != NULL ? &before->next_stranded : &pool->stranded) = next;
    *(next != NULL ? &next->before_stranded : &pool->last_stranded) = before;
    block->before_stranded = NULL;
    block->next_stranded = NULL;
}

void dw__kv_pool_free_block(dw__kv_pool *pool, dw__kv_block *block)
{
    DW_ASSERT(block->users == 0 && block->mappings == 0 && block->readers == 0);
    if (block->saved != NULL) {
        pool->stats.host_bytes -= block->filled;
        dw_free(block->saved);
    }
    if (block->memory.bytes > 0) {
        dw__kv_pool_give(pool, &block->memory);
    }
    dw_free(block);
}

static dw_status keep_part(void *user, uint64_t offset, const void *from, size_t bytes,
                           dw_error *err)
{
    (void)err;
    memcpy((unsigned char *)user + offset, from, bytes);
    return DW_OK;
}

/* Save a stranded block in host memory and give back its own. */
static dw_status save(dw__kv_pool *pool, dw__kv_block *block, dw_error *err)
{
    DW_ASSERT(block->saved == NULL && block->readers == 0);
    unsigned char *to = block->filled > 0 ? dw_alloc(block->filled, 1) : NULL;
    if (block->filled > 0 && to == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no %zu bytes of host memory to evict to",
                       block->filled);
    }
    dw_sink sink = {.anywhere = keep_part, .user = to};
    dw__kv_ring *ring;
    dw_status status = dw__kv_pool_ring(pool, DW__KV_RING_MOVES, &ring, err);
    if (status == DW_OK) {
        status = dw__kv_block_read(ring, block, 0, block->filled, &sink, err);
    }
    if (status != DW_OK) {
        dw_free(to);
        return status;
    }
    block->saved = to;
    pool->stats.host_bytes += block->filled;
    pool->stats.evicted_bytes += block->filled;
    dw__kv_pool_unstrand(pool, block);
    dw__kv_pool_give(pool, &block->memory);
    return DW_OK;
}

/* ---- device memory ---- */

static void release_piece(dw__kv_pool *pool, dw_vram_allocation *piece)
{
    pool->stats.device_bytes -= piece->bytes;
    dw_vram_release(pool->vram, piece);
}

static bool is_over(const dw__kv_pool *pool, uint64_t more)
{
    uint64_t limit = pool->stats.limit_bytes;
    return limit > 0 && (more > limit || pool->stats.device_bytes > limit - more);
}

void dw__kv_pool_give(dw__kv_pool *pool, dw_vram_allocation *piece)
{
    if (pool->ready_count < DW__KV_READY_MAX && !is_over(pool, 0) &&
        pool->stats.ready_bytes + piece->bytes <= READY_BYTES_MAX) {
        pool->ready[pool->ready_count++] = *piece;
        pool->stats.ready_bytes += piece->bytes;
        *piece = (dw_vram_allocation){.bytes = 0};
    } else {
        release_piece(pool, piece);
    }
}

static bool take_ready(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *piece)
{
    for (uint32_t i = pool->ready_count; i > 0; i--) {
        if (pool->ready[i - 1].bytes == bytes) {
            *piece = pool->ready[i - 1];
            pool->ready[i - 1] = pool->ready[--pool->ready_count];
            pool->stats.ready_bytes -= bytes;
            return true;
        }
    }
    return false;
}

static bool release_ready(dw__kv_pool *pool)
{
    if (pool->ready_count == 0) {
        return false;
    }
    dw_vram_allocation *last = &pool->ready[--pool->ready_count];
    pool->stats.ready_bytes -= last->bytes;
    release_piece(pool, last);
    return true;
}

static bool drop_one_ahead(dw__kv_pool *pool)
{
    dw__kv_range *range = pool->least;
    while (range != NULL && range->ahead != AHEAD_READY) {
        range = range->more;
    }
    if (range != NULL) {
        dw__kv_range_drop_ahead(range);
    }
    return range != NULL;
}

/* *why is what the last that could not be saved failed for. */
static bool save_one_stranded(dw__kv_pool *pool, dw_error *why)
{
    for (dw__kv_block *block = pool->stranded; block != NULL; block = block->next_stranded) {
        if (block->readers == 0 && save(pool, block, why) == DW_OK) {
            return true;
        }
    }
    return false;
}

static bool may_leave(const dw__kv_range *range)
{
    return range->resident && range->place_count > 0 && range->pins == 0 && !range->in_step &&
           range->ahead != AHEAD_BUSY;
}

static bool evict_one(dw__kv_pool *pool)
{
    dw__kv_range *range = pool->least;
    while (range != NULL && !may_leave(range)) {
        range = range->more;
    }
    if (range != NULL) {
        dw__kv_range_leave(range);
        pool->stats.eviction_count++;
    }
    return range != NULL;
}

/* Something is under way that ends by itself, and was waited for. */
static bool wait_for_busy(dw__kv_pool *pool)
{
    for (dw__kv_range *range = pool->least; range != NULL; range = range->more) {
        if (range->ahead == AHEAD_BUSY) {
            (void)pthread_cond_wait(&pool->changed, &pool->lock);
            return true;
        }
    }
    return false;
}

/* Make some room, or make it nearer; false: there is no way. Each turn takes away from what
 * there is to take. */
static bool make_room(dw__kv_pool *pool, dw_error *why)
{
    return release_ready(pool) || drop_one_ahead(pool) || save_one_stranded(pool, why) ||
           evict_one(pool) || wait_for_busy(pool);
}

static dw_status none_left(dw__kv_pool *pool, size_t bytes, const dw_error *why, dw_error *err)
{
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    dw_vram_memory(pool->vram, &free_bytes, &total_bytes);
    return dw_fail(
        err, DW_E_MEMORY,
        "kv log: %zu bytes wanted on %s, %zu are free; logs in use have %llu, limit "
        "%llu%s%.80s",
        bytes, dw_device_info_of(pool->device)->name, free_bytes,
        (unsigned long long)pool->stats.device_bytes,
        (unsigned long long)(pool->stats.limit_bytes > 0 ? pool->stats.limit_bytes : total_bytes),
        why->message[0] != '\0' ? ": " : "", why->message);
}

dw_status dw__kv_pool_take(dw__kv_pool *pool, size_t bytes, dw_vram_allocation *piece,
                           dw_error *err)
{
    dw_error why = {0};
    for (;;) {
        if (take_ready(pool, bytes, piece)) {
            return DW_OK;
        }
        dw_status status = DW_E_MEMORY;
        if (!is_over(pool, bytes)) {
            status = dw_vram_create(pool->vram, piece, bytes, err);
        }
        if (status == DW_OK) {
            pool->stats.device_bytes += bytes;
            return DW_OK;
        }
        if (status != DW_E_MEMORY) {
            return status;
        }
        if (!make_room(pool, &why)) {
            return none_left(pool, bytes, &why, err);
        }
    }
}

dw_status dw__kv_pool_ring(dw__kv_pool *pool, dw__kv_ring_use use, dw__kv_ring **out, dw_error *err)
{
    const dw_kv_pool_options *options = &pool->options;
    dw_status status = DW_OK;
    if (pool->rings[use] == NULL) {
        int cores = dw_os_core_count();
        int threads = options->threads > 0   ? options->threads
                      : cores < RING_THREADS ? cores
                                             : RING_THREADS;
        status = dw__kv_ring_create(
            &pool->rings[use], pool->vram,
            options->buffer_bytes > 0 ? options->buffer_bytes : RING_BUFFER_BYTES, threads, err);
    }
    *out = pool->rings[use];
    return status;
}

/* ---- ahead of need ---- */

/* The thread's turn for a range: map a block behind its end. The lock is given up meanwhile;
 * what is used of the range does not change while it is BUSY. */
static void make_ahead(dw__kv_pool *pool, dw__kv_range *range)
{
    size_t bytes = dw__kv_range_next_bytes(range, 0);
    size_t rest = range->reserved_bytes - range->mapped;
    while (bytes > 0 && bytes < dw__kv_range_missing(range)) { /* one piece has to do */
        bytes = bytes <= rest / 2 ? bytes * 2 : rest;
    }
    unsigned char *at = range->base + range->mapped;
    dw_vram_allocation piece = {.bytes = 0};
    dw__kv_block *block = bytes > 0 ? dw_alloc(1, sizeof *block) : NULL;
    bool taken = block != NULL && take_ready(pool, bytes, &piece);
    if (block == NULL || (!taken && is_over(pool, bytes))) {
        dw_free(block); /* nobody leaves for what is not needed yet */
        range->ahead = AHEAD_NONE;
        return;
    }
    pool->stats.device_bytes += taken ? 0 : bytes;
    range->ahead = AHEAD_BUSY;
    dw__kv_pool_unlock(pool);
    dw_status status = taken ? DW_OK : dw_vram_create(pool->vram, &piece, bytes, NULL);
    bool created = status == DW_OK;
    if (status == DW_OK) {
        status = dw_vram_map(pool->vram, at, &piece, NULL);
    }
    if (status == DW_OK) {
        status = dw_vram_clear(pool->thread_stream, at, bytes, NULL);
        dw_status waited = dw_vram_wait(pool->thread_stream, NULL);
        status = status == DW_OK ? waited : status;
        if (status != DW_OK) {
            dw_vram_unmap(pool->vram, at, bytes);
        }
    }
    dw__kv_pool_lock(pool);
    if (status == DW_OK) {
        *block = (dw__kv_block){.bytes = bytes, .memory = piece, .users = 1, .mappings = 1};
        range->ahead_block = block;
        range->ahead = AHEAD_READY;
        return;
    }
    dw_free(block);
    range->ahead = AHEAD_NONE;
    if (created) {
        dw__kv_pool_give(pool, &piece);
    } else {
        pool->stats.device_bytes -= bytes;
    }
}

static void *run_thread(void *user)
{
    dw__kv_pool *pool = user;
    dw__kv_pool_lock(pool);
    while (!pool->ending) {
        dw__kv_range *range = pool->queue;
        if (range == NULL) {
            (void)pthread_cond_wait(&pool->changed, &pool->lock);
            continue;
        }
        pool->queue = range->next_ahead;
        make_ahead(pool, range);
        (void)pthread_cond_broadcast(&pool->changed);
    }
    dw__kv_pool_unlock(pool);
    return NULL;
}

static bool has_thread(dw__kv_pool *pool)
{
    if (!pool->has_thread && !pool->options.grows_in_step &&
        dw_vram_stream_create(&pool->thread_stream, pool->vram, NULL) == DW_OK) {
        pool->has_thread = pthread_create(&pool->thread, NULL, run_thread, pool) == 0;
        if (!pool->has_thread) {
            dw_vram_stream_destroy(pool->thread_stream);
            pool->options.grows_in_step = true; /* as without it */
        }
    }
    return pool->has_thread;
}

void dw__kv_pool_queue(dw__kv_pool *pool, dw__kv_range *range)
{
    if (range->ahead == AHEAD_NONE && has_thread(pool)) {
        dw__kv_range **end = &pool->queue;
        while (*end != NULL) {
            end = &(*end)->next_ahead;
        }
        range->next_ahead = NULL;
        *end = range;
        range->ahead = AHEAD_QUEUED;
        (void)pthread_cond_broadcast(&pool->changed);
    }
}

void dw__kv_pool_await(dw__kv_pool *pool, dw__kv_range *range)
{
    if (range->ahead == AHEAD_QUEUED) {
        dw__kv_range **link = &pool->queue;
        while (*link != range) {
            link = &(*link)->next_ahead;
        }
        *link = range->next_ahead;
        range->ahead = AHEAD_NONE;
    }
    while (range->ahead == AHEAD_BUSY) {
        (void)pthread_cond_wait(&pool->changed, &pool->lock);
    }
}

/* ---- the pool of a device ---- */

static void create_buffer(void *user)
{
    dw__kv_pool *pool = user;
    pool->buffer = ggml_backend_buft_alloc_buffer(dw_device_buffer_type(pool->device), 256);
}

static void free_buffer(void *user)
{
    ggml_backend_buffer_free(((dw__kv_pool *)user)->buffer);
}

static void destroy_pool(void *object)
{
    dw__kv_pool *pool = object;
    DW_ASSERT(pool->most == NULL && pool->stranded == NULL && pool->queue == NULL);
    if (pool->has_thread) {
        dw__kv_pool_lock(pool);
        pool->ending = true;
        (void)pthread_cond_broadcast(&pool->changed);
        dw__kv_pool_unlock(pool);
        (void)pthread_join(pool->thread, NULL);
        dw_vram_stream_destroy(pool->thread_stream);
    }
    for (int i = 0; i < DW__KV_RING_COUNT; i++) {
        dw__kv_ring_destroy(pool->rings[i]);
    }
    while (pool->vram != NULL && release_ready(pool)) {}
    dw_vram_stream_destroy(pool->stream);
    DW_ASSERT(pool->stats.device_bytes == 0 && pool->stats.host_bytes == 0);
    if (pool->buffer != NULL) {
        dw_device_guarded_free(pool->device, free_buffer, pool);
    }
    dw_vram_close(pool->vram);
    (void)pthread_cond_destroy(&pool->changed);
    (void)pthread_mutex_destroy(&pool->lock);
    dw_free(pool);
}

/* What the device has; emulated where it computes on host memory and a caller wants that. */
static dw_status open_vram(dw__kv_pool *pool, bool emulated, dw_error *err)
{
    dw_status status = dw_vram_open(&pool->vram, pool->device, err);
    if (status == DW_E_UNSUPPORTED && emulated &&
        dw_device_info_of(pool->device)->kind == DW_DEVICE_CPU) {
        status = dw_vram_emulate(&pool->vram, pool->device, &pool->options.emulation, err);
    }
    return status;
}

static dw_status make_pool(dw__kv_pool **out, dw_device *device, const dw_kv_pool_options *options,
                           bool emulated, dw_error *err)
{
    dw__kv_pool *pool = dw_alloc(1, sizeof *pool);
    *out = NULL;
    if (pool == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a pool of kv logs");
    }
    pool->device = device;
    pool->options = *options;
    if (pool->options.piece_bytes_max == 0) {
        pool->options.piece_bytes_max = PIECE_BYTES_MAX;
    }
    pool->stats.limit_bytes = options->limit_bytes;
    DW_ASSERT(pthread_mutex_init(&pool->lock, NULL) == 0);
    DW_ASSERT(pthread_cond_init(&pool->changed, NULL) == 0);
    dw_status status = open_vram(pool, emulated, err);
    if (status == DW_OK) {
        pool->granularity = dw_vram_granularity(pool->vram);
        status = dw_vram_stream_create(&pool->stream, pool->vram, err);
    }
    if (status == DW_OK) {
        status = dw_device_guarded(device, create_buffer, pool, err);
        if (status == DW_OK && pool->buffer == NULL) {
            status = dw_fail(err, DW_E_MEMORY, "%s: no memory for a buffer of 256 bytes",
                             dw_device_info_of(device)->name);
        }
    }
    if (status != DW_OK) {
        destroy_pool(pool);
        return status;
    }
    *out = pool;
    return DW_OK;
}

dw_status dw__kv_pool_of(dw__kv_pool **out, dw_device *device, bool emulated, dw_error *err)
{
    static const dw_kv_pool_options defaults = {.threads = 0};
    dw_device_extra *extra = dw_device_lock_extra(device);
    dw_status status = DW_OK;
    *out = extra->object;
    if (*out == NULL) {
        status = make_pool(out, device, &defaults, emulated, err);
        extra->object = *out;
        extra->destroy = destroy_pool;
    }
    dw_device_unlock_extra(device);
    return status;
}

dw_status dw_kv_pool_open(dw_device *device, const dw_kv_pool_options *options, dw_error *err)
{
    dw__kv_pool *pool = NULL;
    dw_device_extra *extra = dw_device_lock_extra(device);
    dw_status status = extra->object == NULL ? make_pool(&pool, device, options, true, err)
                                             : dw_fail(err, DW_E_STATE, "%s: has a pool of kv logs",
                                                       dw_device_info_of(device)->name);
    if (status == DW_OK) {
        extra->object = pool;
        extra->destroy = destroy_pool;
    }
    dw_device_unlock_extra(device);
    return status;
}

/* NULL: none yet. Borrowed while the device is there. */
static dw__kv_pool *find_pool(dw_device *device)
{
    dw__kv_pool *pool = dw_device_lock_extra(device)->object;
    dw_device_unlock_extra(device);
    return pool;
}

dw_status dw_kv_pool_limit(dw_device *device, uint64_t bytes, dw_error *err)
{
    dw__kv_pool *pool;
    dw_status status = dw__kv_pool_of(&pool, device, false, err);
    if (status == DW_E_UNSUPPORTED) {
        return dw_fail(err, status,
                       "%s: keys and values have no memory of its own there that could be limited",
                       dw_device_info_of(device)->name);
    }
    if (status == DW_OK) {
        dw_error why = {0};
        dw__kv_pool_lock(pool);
        pool->stats.limit_bytes = bytes;
        while (is_over(pool, 0) && make_room(pool, &why)) {}
        dw__kv_pool_unlock(pool);
    }
    return status;
}

bool dw_kv_pool_describe(dw_device *device, dw_kv_stats *stats)
{
    dw__kv_pool *pool = find_pool(device);
    *stats = (dw_kv_stats){.limit_bytes = 0};
    if (pool == NULL) {
        return false;
    }
    dw__kv_pool_lock(pool);
    *stats = pool->stats;
    for (const dw__kv_range *range = pool->most; range != NULL; range = range->less) {
        stats->context_count++;
        stats->resident_count += range->resident;
    }
    dw__kv_pool_unlock(pool);
    return true;
}

void dw_kv_pool_settle(dw_device *device)
{
    dw__kv_pool *pool = find_pool(device);
    if (pool != NULL) {
        dw__kv_pool_lock(pool);
        while (pool->queue != NULL) {
            (void)pthread_cond_wait(&pool->changed, &pool->lock);
        }
        while (wait_for_busy(pool)) {}
        while (release_ready(pool)) {}
        dw__kv_pool_unlock(pool);
    }
}

dw_status dw_kv_pool_evict(dw_device *device, dw_error *err)
{
    dw__kv_pool *pool = find_pool(device);
    dw_error why = {0};
    if (pool == NULL) {
        return DW_OK;
    }
    dw__kv_pool_lock(pool);
    while (drop_one_ahead(pool) || evict_one(pool) || save_one_stranded(pool, &why)) {}
    while (release_ready(pool)) {}
    dw_status status = why.code;
    dw__kv_pool_unlock(pool);
    if (status != DW_OK && err != NULL) {
        *err = why;
    }
    return status;
}

bool dw_kv_pool_takes_all(dw_device *device)
{
    dw__kv_pool *pool = find_pool(device);
    return pool != NULL && pool->options.takes_all;
}

dw_vram *dw_kv_pool_vram(dw_device *device)
{
    dw__kv_pool *pool = find_pool(device);
    return pool != NULL ? pool->vram : NULL;
}
