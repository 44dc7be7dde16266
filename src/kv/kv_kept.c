/* Ranges that no log has: a list in the pool, the one that was kept last first. */
#include "kv/kv_kept.h"

#include <string.h>

#include "base/alloc.h"
#include "kv/kv_allocation.h"
#include "kv/kv_pool_internal.h"
#include "kv/kv_range_unmap.h"

/* Each takes a range of addresses and a place in a list that is walked. */
#define KEPT_MAX 4096u
#define FREE_SHARE 16u /* of the device's memory */

static bool is_of(const dw__kv_range *range, const dw_kv_key *key)
{
    return range->key.home == key->home && range->key.number == key->number &&
           range->key.model == key->model && strcmp(range->key.owner, key->owner) == 0 &&
           strcmp(range->key.state, key->state) == 0;
}

/* ---- under the pool's lock ---- */

/* Out of the list: the caller's. */
static void take_out(dw__kv_pool *pool, dw__kv_range *range)
{
    dw__kv_pool_remove(pool, range);
    range->kept = false;
    pool->stats.kept_bytes -= range->mapped;
    pool->stats.kept_count--;
}

static void drop(dw__kv_pool *pool, dw__kv_range *range)
{
    take_out(pool, range);
    while (range->place_count > 0) {
        dw__kv_range_drop_last_place(range);
    }
    dw_vram_unreserve(pool->vram, range->address, range->reserved_bytes);
    dw_free(range->places);
    dw_free(range);
}

bool dw__kv_pool_drop_kept(dw__kv_pool *pool)
{
    if (pool->kept.tail == NULL) {
        return false;
    }
    drop(pool, pool->kept.tail);
    pool->stats.kept_lost_count++;
    return true;
}

/* Which are given up; NULL: whatever that is. */
typedef struct selection {
    const void *home;
    const char *owner;
    const char *but; /* for this state of the owner's */
    const void *model;
} selection;

static void forget(dw__kv_pool *pool, const selection *of)
{
    for (dw__kv_range *range = pool->kept.head, *next; range != NULL; range = next) {
        next = range->lru_next;
        if ((of->home == NULL || range->key.home == of->home) &&
            (of->owner == NULL || strcmp(range->key.owner, of->owner) == 0) &&
            (of->but == NULL || strcmp(range->key.state, of->but) != 0) &&
            (of->model == NULL || range->key.model == of->model)) {
            drop(pool, range);
        }
    }
}

/* Whether others on the device, other processes among them, have little left beside `more`. */
static bool is_short(dw__kv_pool *pool, size_t more)
{
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    dw_vram_memory(pool->vram, &free_bytes, &total_bytes);
    return free_bytes < total_bytes / FREE_SHARE + more;
}

void dw__kv_pool_leave_share(dw__kv_pool *pool, size_t more)
{
    while (pool->kept.tail != NULL && is_short(pool, more)) {
        (void)dw__kv_pool_drop_kept(pool);
        while (dw__kv_pool_release_ready(pool)) {}
    }
}

static void keep_bounds(dw__kv_pool *pool)
{
    while (pool->stats.kept_count > KEPT_MAX || pool->stats.kept_bytes > pool->kept_limit) {
        (void)dw__kv_pool_drop_kept(pool);
    }
    dw__kv_pool_leave_share(pool, 0);
}

/* ---- a log's ---- */

bool dw__kv_range_keep(dw__kv_backing *backing, const dw_kv_key *key, uint32_t length,
                       uint32_t capacity)
{
    if (backing->ops != &dw__kv_range_ops) {
        return false;
    }
    dw__kv_range *range = (dw__kv_range *)(void *)backing;
    dw__kv_pool *pool = range->pool;
    dw__kv_pool_lock(pool);
    dw__kv_pool_await(pool, range);
    bool keeps = range->mapped <= pool->kept_limit && range->resident && range->place_count > 0 &&
                 range->pins == 0 && !range->in_step && !dw_device_lost(pool->device);
    if (keeps) {
        forget(pool, &(selection){.home = key->home, .owner = key->owner, .but = key->state});
        dw__kv_range_drop_ahead(range);
        dw__kv_pool_remove(pool, range);
        range->kept = true;
        range->key = *key;
        range->kept_length = length;
        range->kept_capacity = capacity;
        pool->stats.kept_bytes += range->mapped;
        pool->stats.kept_count++;
        dw__kv_pool_touch(pool, range);
        keep_bounds(pool);
    }
    dw__kv_pool_unlock(pool);
    return keeps;
}

dw__kv_backing *dw__kv_range_find_kept(dw_device *device, const dw_kv_log_options *options,
                                       const dw_kv_key *key, uint32_t length)
{
    dw__kv_pool *pool = dw__kv_pool_find(device);
    dw__kv_range *range = NULL;
    if (pool == NULL) {
        return NULL;
    }
    dw__kv_pool_lock(pool);
    for (range = pool->kept.head; range != NULL && !is_of(range, key);) {
        range = range->lru_next;
    }
    const bool fits = range != NULL && range->kept_length == length &&
                      range->kept_capacity == options->capacity_tokens &&
                      range->backing.record_bytes == options->record_bytes &&
                      !dw_device_lost(device);
    if (range != NULL && !fits) {
        drop(pool, range);
    } else if (fits) {
        take_out(pool, range);
        dw__kv_pool_touch(pool, range);
        pool->stats.kept_found_count++;
    }
    dw__kv_pool_unlock(pool);
    return fits ? &range->backing : NULL;
}

/* ---- all of them ---- */

void dw_kv_kept_limit(dw_device *device, uint64_t bytes)
{
    /* A pool that is made from now on has it from there. */
    atomic_store(&dw_device_counters_of(device)->kept_kv_limit, bytes);
    dw__kv_pool *pool = dw__kv_pool_find(device);
    if (pool != NULL) {
        dw__kv_pool_lock(pool);
        pool->kept_limit = bytes;
        keep_bounds(pool);
        dw__kv_pool_unlock(pool);
    }
}

static bool forget_in(dw_device *device, const selection *of)
{
    dw__kv_pool *pool = dw__kv_pool_find(device);
    if (pool == NULL) {
        return false;
    }
    dw__kv_pool_lock(pool);
    const uint64_t before = pool->stats.kept_count;
    forget(pool, of);
    const bool any = pool->stats.kept_count < before;
    while (any && of->owner == NULL && dw__kv_pool_release_ready(pool)) {} /* for others */
    dw__kv_pool_unlock(pool);
    return any;
}

void dw_kv_kept_forget(dw_device *device, const void *home, const char *owner)
{
    (void)forget_in(device, &(selection){.home = home, .owner = owner});
}

void dw_kv_kept_forget_model(dw_device *device, const void *model)
{
    (void)forget_in(device, &(selection){.model = model});
}

bool dw_kv_kept_forget_all(dw_device *device)
{
    return forget_in(device, &(selection){.home = NULL});
}

bool dw__kv_pool_relieve(void *of)
{
    dw__kv_pool *pool = of;
    dw__kv_pool_lock(pool);
    const bool any = dw__kv_pool_drop_kept(pool);
    while (any && dw__kv_pool_release_ready(pool)) {}
    dw__kv_pool_unlock(pool);
    return any;
}
