/* Mapping allocations: restoring, growing, owning, sharing. */
#include "kv/kv_range_places.h"

#include "base/array.h"
#include "base/checked.h"
#include "kv/kv_allocation.h"
#include "kv/kv_pool_memory.h"
#include "kv/kv_range_unmap.h"

/* A fork maps that many allocations again, a call each; of more it copies those under 1/64 of all
 * into few of its own, so that forks of forks do not pile up allocations. */
#define SHARED_MAX 16u
#define SHARED_SHARE 64u
#define COPIED_MAX 3u /* allocations that one run of bytes is copied into */

static size_t power_below(size_t units)
{
    size_t power = 1;
    while (power <= units / 2) {
        power *= 2;
    }
    return power;
}

/* ---- places ---- */

static dw_status room_for_place(dw__kv_range *range, dw_error *err)
{
    size_t count = range->place_count + 1;
    return DW_ARRAY_RESERVE(range->places, range->place_capacity, count, SIZE_MAX)
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "kv log: no memory for %zu allocations", count);
}

/* There is room for it. The range is one of the allocation's users and mappings already. */
static void add_place(dw__kv_range *range, dw__kv_allocation *allocation)
{
    range->places[range->place_count++] =
        (dw__kv_place){.allocation = allocation, .offset = range->mapped, .mapped = true};
    range->mapped += allocation->bytes;
    DW_ASSERT(range->mapped <= range->reserved_bytes);
}

/* ---- restoring ---- */

static dw_status clear_now(dw__kv_pool *pool, void *to, size_t bytes, dw_error *err)
{
    dw_status status = dw_vram_clear(pool->stream, to, bytes, err);
    dw_status waited = dw_vram_wait(pool->stream, status == DW_OK ? err : NULL);
    return status == DW_OK ? waited : status;
}

dw_status dw__kv_range_clear(dw__kv_range *range, size_t offset, size_t bytes, dw_error *err)
{
    DW_ASSERT(offset <= range->mapped && bytes <= range->mapped - offset);
    return clear_now(range->pool, range->address + offset, bytes, err);
}

/* Map new memory at a saved allocation's place, and bring its bytes there. */
static dw_status load_place(dw__kv_range *range, dw__kv_place *place, dw_vram_allocation *memory,
                            dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_allocation *allocation = place->allocation;
    unsigned char *at = range->address + place->offset;
    dw__kv_ring *ring;
    dw_status status = dw__kv_pool_ring(pool, DW__KV_RING_MOVES, &ring, err);
    if (status == DW_OK) {
        status = dw_vram_map(pool->vram, at, memory, err);
    }
    if (status != DW_OK) {
        return status;
    }
    size_t filled = allocation->saved != NULL ? allocation->filled : 0;
    status = dw__kv_ring_upload(ring, at, filled, dw__kv_copy_in, allocation->saved, err);
    if (status == DW_OK) {
        status = clear_now(pool, at + filled, allocation->bytes - filled, err);
    }
    if (status != DW_OK) {
        dw_vram_unmap(pool->vram, at, allocation->bytes);
        return status;
    }
    pool->stats.restored_bytes += filled;
    allocation->memory = *memory;
    allocation->mappings = 1;
    place->mapped = true;
    dw__kv_allocation_drop_saved(pool, allocation);
    return DW_OK;
}

static dw_status map_place(dw__kv_range *range, dw__kv_place *place, dw_error *err)
{
    dw__kv_allocation *allocation = place->allocation;
    dw_status status =
        dw_vram_map(range->pool->vram, range->address + place->offset, &allocation->memory, err);
    if (status != DW_OK) {
        return status;
    }
    if (allocation->mappings++ == 0) {
        dw__kv_pool_remove_unmapped(range->pool, allocation);
    }
    place->mapped = true;
    return DW_OK;
}

static dw_status restore_place(dw__kv_range *range, dw__kv_place *place, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_allocation *allocation = place->allocation;
    dw_vram_allocation memory = {.bytes = 0};
    dw_status status = DW_OK;
    if (allocation->memory.bytes == 0) {
        status = dw__kv_pool_take(pool, allocation->bytes, &memory, err);
    }
    if (status == DW_OK && allocation->memory.bytes == 0) {
        status = load_place(range, place, &memory, err);
        memory.bytes = status == DW_OK ? 0 : memory.bytes;
    } else if (status == DW_OK) { /* a relative may have restored it while the lock was given up */
        status = map_place(range, place, err);
    }
    if (memory.bytes > 0) {
        dw__kv_pool_give(pool, &memory);
    }
    return status;
}

/* Those that are on the device go first, lest they be saved to make room for the others. */
dw_status dw__kv_range_restore(dw__kv_range *range, dw_error *err)
{
    if (range->resident) {
        return DW_OK;
    }
    dw_status status = DW_OK;
    range->pins++;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; status == DW_OK && i < range->place_count; i++) {
            dw__kv_place *place = &range->places[i];
            if (!place->mapped && (pass == 1 || place->allocation->memory.bytes > 0)) {
                status = restore_place(range, place, err);
            }
        }
    }
    range->pins--;
    if (status != DW_OK) {
        dw__kv_range_evict(range);
        return status;
    }
    range->resident = true;
    range->pool->stats.restore_count++;
    return DW_OK;
}

/* ---- growing ---- */

/* As much as is its own already, so that a context of n tokens grows log2(n) times: up to a
 * limit, and beyond that by an eighth. Where more is wanted at once, the largest power of two
 * below that: powers of two one behind the other leave a short last allocation, and full ones are
 * what forks share. */
size_t dw__kv_range_next_bytes(const dw__kv_range *range, size_t wanted)
{
    size_t unit = range->pool->granularity;
    size_t rest = range->reserved_bytes - range->mapped;
    size_t most = range->pool->options.allocation_bytes_max;
    size_t own = 0;
    for (size_t i = range->place_count; i > 0 && range->places[i - 1].allocation->users == 1; i--) {
        own += range->places[i - 1].allocation->bytes;
    }
    most = most > range->mapped / 8 ? most : range->mapped / 8;
    own = dw__smaller(own, most);
    size_t bytes = power_below((own > wanted ? own : wanted) / unit) * unit;
    return dw__smaller(bytes, rest);
}

/* One more at the range's end: the first `from_bytes` copied from device memory, the rest zero. */
static dw_status append_allocation(dw__kv_range *range, size_t bytes, const unsigned char *from,
                                   size_t from_bytes, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    unsigned char *at = range->address + range->mapped;
    dw_status status = room_for_place(range, err);
    if (status != DW_OK) {
        return status;
    }
    dw__kv_allocation *allocation = dw_alloc(1, sizeof *allocation);
    if (allocation == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory for an allocation's record");
    }
    status = dw__kv_pool_take(pool, bytes, &allocation->memory, err);
    if (status != DW_OK) {
        dw_free(allocation);
        return status;
    }
    allocation->bytes = bytes;
    status = dw_vram_map(pool->vram, at, &allocation->memory, err);
    bool mapped = status == DW_OK;
    if (status == DW_OK) {
        status = dw_vram_copy(pool->stream, at, from, from_bytes, err);
        dw_status cleared =
            clear_now(pool, at + from_bytes, bytes - from_bytes, status == DW_OK ? err : NULL);
        status = status == DW_OK ? cleared : status;
    }
    if (status != DW_OK) {
        if (mapped) {
            dw_vram_unmap(pool->vram, at, bytes);
        }
        dw__kv_allocation_free(pool, allocation);
        return status;
    }
    allocation->users = 1;
    allocation->mappings = 1;
    add_place(range, allocation);
    pool->stats.copied_bytes += from_bytes;
    return DW_OK;
}

static dw_status add_ahead(dw__kv_range *range, dw_error *err)
{
    dw_status status = room_for_place(range, err);
    if (status != DW_OK) {
        return status;
    }
    add_place(range, range->ahead_allocation);
    range->ahead_allocation = NULL;
    range->ahead = AHEAD_NONE;
    return DW_OK;
}

dw_status dw__kv_range_grow(dw__kv_range *range, size_t filled, size_t needed, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    while (range->mapped < needed) {
        dw_status status;
        bool waited = range->ahead != AHEAD_READY;
        dw__kv_pool_await(pool, range);
        if (range->ahead == AHEAD_READY) {
            status = add_ahead(range, err);
        } else {
            size_t end = filled > range->mapped ? filled : needed;
            size_t bytes = dw__kv_range_next_bytes(range, end - range->mapped);
            status = append_allocation(range, bytes, NULL, 0, err);
        }
        if (status != DW_OK) {
            return status;
        }
        pool->stats.growth_count++;
        pool->stats.wait_count += waited;
    }
    return DW_OK;
}

size_t dw__kv_range_missing(const dw__kv_range *range)
{
    size_t needed = range->needed + range->step_bytes;
    needed = dw__smaller(needed, range->reserved_bytes);
    return needed > range->mapped ? needed - range->mapped : 0;
}

/* ---- owning ---- */

/* Copy a place's first bytes into memory that is mapped nowhere yet, and zero its rest. */
static dw_status copy_place(dw__kv_range *range, const dw__kv_place *place,
                            const dw_vram_allocation *memory, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    size_t used = range->held > place->offset ? range->held - place->offset : 0;
    used = dw__smaller(used, memory->bytes);
    void *window = NULL;
    dw_status status = dw_vram_reserve(pool->vram, &window, memory->bytes, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_vram_map(pool->vram, window, memory, err);
    if (status == DW_OK) {
        status = dw_vram_copy(pool->stream, window, range->address + place->offset, used, err);
        dw_status cleared = clear_now(pool, (unsigned char *)window + used, memory->bytes - used,
                                      status == DW_OK ? err : NULL);
        status = status == DW_OK ? cleared : status;
        dw_vram_unmap(pool->vram, window, memory->bytes);
        pool->stats.copied_bytes += used;
    }
    dw_vram_unreserve(pool->vram, window, memory->bytes);
    return status;
}

/* Map the new allocation where the old one is. If that fails and the old one cannot be put back
 * either, the whole range is evicted: its allocations hold what it had. */
static dw_status exchange(dw__kv_range *range, dw__kv_place *place, dw__kv_allocation *own,
                          dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_allocation *old = place->allocation;
    dw__kv_range_unmap_place(range, place);
    dw_status status = dw_vram_map(pool->vram, range->address + place->offset, &own->memory, err);
    if (status != DW_OK) {
        if (map_place(range, place, NULL) != DW_OK) {
            dw__kv_range_evict(range);
        }
        return status;
    }
    old->users--;
    own->users = 1;
    own->mappings = 1;
    place->allocation = own;
    place->mapped = true;
    return DW_OK;
}

static dw_status own_place(dw__kv_range *range, dw__kv_place *place, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_allocation *own = dw_alloc(1, sizeof *own);
    if (own == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory for an allocation's record");
    }
    own->bytes = place->allocation->bytes;
    dw_status status = dw__kv_pool_take(pool, own->bytes, &own->memory, err);
    if (status == DW_OK && place->allocation->users > 1) { /* still, after the lock was given up */
        status = copy_place(range, place, &own->memory, err);
        if (status == DW_OK) {
            status = exchange(range, place, own, err);
        }
    }
    if (own->users == 0) {
        dw__kv_allocation_free(pool, own);
    }
    return status;
}

dw_status dw__kv_range_own(dw__kv_range *range, size_t from, dw_error *err)
{
    for (size_t i = range->place_count; i > 0; i--) {
        dw__kv_place *place = &range->places[i - 1];
        if (place->offset + place->allocation->bytes <= from) {
            break;
        }
        dw_status status = place->allocation->users > 1 ? own_place(range, place, err) : DW_OK;
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* ---- forks ---- */

/* Bytes up to `end`, a multiple of the granularity, copied from the parent's first `held`. */
static dw_status copy_up_to(dw__kv_range *range, const dw__kv_range *parent, size_t held,
                            size_t end, dw_error *err)
{
    size_t unit = range->pool->granularity;
    for (uint32_t i = 1; range->mapped < end; i++) {
        size_t left = end - range->mapped;
        size_t bytes = i < COPIED_MAX ? power_below(left / unit) * unit : left;
        size_t used = held > range->mapped ? dw__smaller(held - range->mapped, bytes) : 0;
        dw_status status =
            append_allocation(range, bytes, parent->address + range->mapped, used, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

static dw_status share_place(dw__kv_range *range, const dw__kv_place *of, dw_error *err)
{
    dw__kv_allocation *allocation = of->allocation;
    DW_ASSERT(of->offset == range->mapped && of->mapped);
    dw_status status = room_for_place(range, err);
    if (status == DW_OK) {
        status =
            dw_vram_map(range->pool->vram, range->address + of->offset, &allocation->memory, err);
    }
    if (status != DW_OK) {
        return status;
    }
    allocation->users++;
    allocation->mappings++;
    add_place(range, allocation);
    return DW_OK;
}

dw_status dw__kv_range_share(dw__kv_range *range, const dw__kv_range *parent, size_t held,
                             size_t needed, dw_error *err)
{
    size_t full = 0;
    while (full < parent->place_count &&
           parent->places[full].offset + parent->places[full].allocation->bytes <= held) {
        full++;
    }
    size_t bytes_min = full > SHARED_MAX ? held / SHARED_SHARE : 0;
    for (size_t i = 0; i < full; i++) {
        const dw__kv_place *place = &parent->places[i];
        if (place->allocation->bytes < bytes_min) {
            continue; /* copied with what follows */
        }
        dw_status status = copy_up_to(range, parent, held, place->offset, err);
        if (status == DW_OK) {
            status = share_place(range, place, err);
        }
        if (status != DW_OK) {
            return status;
        }
    }
    size_t end = 0;
    DW_ASSERT(dw_round_up(&end, held > needed ? held : needed, range->pool->granularity));
    return copy_up_to(range, parent, held, end, err);
}
