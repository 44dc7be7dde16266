/* The pool as data: its lock, its rings, and the lists that ranges and allocations are in. */
#include "kv/kv_pool_state.h"

#include "base/os.h"

/* 8 threads with two buffers each bring 128 MiB from the page cache in 3.6 ms (16: 3.4, 4: 5.1). */
#define RING_BUFFER_BYTES ((size_t)2 << 20)
#define RING_THREADS 8

static void check_range(const dw__kv_range *range)
{
    DW_ASSERT(range->held <= range->mapped && range->mapped <= range->reserved_bytes);
    DW_ASSERT((range->ahead == AHEAD_READY) == (range->ahead_allocation != NULL));
    size_t end = 0;
    bool all_mapped = true;
    for (size_t i = 0; i < range->place_count; i++) {
        const dw__kv_place *place = &range->places[i];
        const dw__kv_allocation *allocation = place->allocation;
        DW_ASSERT(place->offset == end);
        DW_ASSERT(allocation->users > 0 && allocation->mappings <= allocation->users);
        DW_ASSERT(!place->mapped || (allocation->mappings > 0 && allocation->memory.bytes > 0));
        end += allocation->bytes;
        all_mapped = all_mapped && place->mapped;
    }
    DW_ASSERT(end == range->mapped && (!range->resident || all_mapped));
}

/* Bytes that all of a list have mapped. */
static uint64_t check_list(const dw__kv_pool *pool, const dw__kv_range_list *list, bool kept)
{
    const dw__kv_range *prev = NULL;
    uint64_t mapped = 0;
    for (const dw__kv_range *range = list->head; range != NULL; range = range->lru_next) {
        DW_ASSERT(range->lru_prev == prev && range->pool == pool && range->kept == kept);
        DW_ASSERT(!kept || (range->resident && !range->in_step && range->ahead == AHEAD_NONE));
        check_range(range);
        mapped += range->mapped;
        prev = range;
    }
    DW_ASSERT(list->tail == prev);
    return mapped;
}

static void check(const dw__kv_pool *pool)
{
    uint64_t held = pool->stats.ready_bytes;
    (void)check_list(pool, &pool->lru, false);
    DW_ASSERT(check_list(pool, &pool->kept, true) == pool->stats.kept_bytes);
    const dw__kv_allocation *before = NULL;
    for (const dw__kv_allocation *a = pool->unmapped_head; a != NULL; a = a->unmapped_next) {
        DW_ASSERT(a->unmapped_prev == before && a->mappings == 0 && a->users > 0);
        DW_ASSERT(a->memory.bytes == a->bytes && a->filled <= a->bytes);
        held += a->bytes;
        before = a;
    }
    DW_ASSERT(pool->unmapped_tail == before);
    DW_ASSERT(held <= pool->stats.device_bytes);
}

void dw__kv_pool_lock(dw__kv_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    DW_DCHECK((check(pool), true));
}

void dw__kv_pool_unlock(dw__kv_pool *pool)
{
    DW_DCHECK((check(pool), true));
    (void)pthread_mutex_unlock(&pool->lock);
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

/* ---- the list of ranges, the last used first ---- */

static dw__kv_range_list *list_of(dw__kv_pool *pool, const dw__kv_range *range)
{
    return range->kept ? &pool->kept : &pool->lru;
}

void dw__kv_pool_remove(dw__kv_pool *pool, dw__kv_range *range)
{
    dw__kv_range_list *list = list_of(pool, range);
    *(range->lru_prev != NULL ? &range->lru_prev->lru_next : &list->head) = range->lru_next;
    *(range->lru_next != NULL ? &range->lru_next->lru_prev : &list->tail) = range->lru_prev;
    range->lru_prev = NULL;
    range->lru_next = NULL;
}

void dw__kv_pool_touch(dw__kv_pool *pool, dw__kv_range *range)
{
    dw__kv_range_list *list = list_of(pool, range);
    if (list->head == range) {
        return;
    }
    if (range->lru_prev != NULL) { /* it is in the list, and not the first */
        dw__kv_pool_remove(pool, range);
    }
    range->lru_next = list->head;
    *(list->head != NULL ? &list->head->lru_prev : &list->tail) = range;
    list->head = range;
}

/* ---- the list of unmapped allocations, the first to be saved first ---- */

void dw__kv_pool_add_unmapped(dw__kv_pool *pool, dw__kv_allocation *allocation)
{
    DW_ASSERT(allocation->mappings == 0 && allocation->users > 0 && allocation->memory.bytes > 0);
    allocation->unmapped_prev = pool->unmapped_tail;
    allocation->unmapped_next = NULL;
    *(pool->unmapped_tail != NULL ? &pool->unmapped_tail->unmapped_next : &pool->unmapped_head) =
        allocation;
    pool->unmapped_tail = allocation;
}

void dw__kv_pool_remove_unmapped(dw__kv_pool *pool, dw__kv_allocation *allocation)
{
    dw__kv_allocation *before = allocation->unmapped_prev;
    dw__kv_allocation *next = allocation->unmapped_next;
    *(before != NULL ? &before->unmapped_next : &pool->unmapped_head) = next;
    *(next != NULL ? &next->unmapped_prev : &pool->unmapped_tail) = before;
    allocation->unmapped_prev = NULL;
    allocation->unmapped_next = NULL;
}

/* ---- the queue of the thread that makes ready ahead ---- */

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
