#include "kv/kv_range.h"

#include <string.h>

#include "base/array.h"
#include "base/checked.h"
#include "kv/kv_pool_internal.h"

/* A fork maps that many pieces again, a call each; of more it copies those under 1/64 of all
 * into few of its own, so that forks of forks do not pile up pieces. */
#define SHARED_PIECES_MAX 16u
#define SHARED_SHARE 64u
#define COPIED_PIECES_MAX 3u /* that one run of bytes is copied into */

static size_t power_below(size_t units)
{
    size_t power = 1;
    while (power <= units / 2) {
        power *= 2;
    }
    return power;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- places ---- */

static dw_status room_for_place(dw__kv_range *range, dw_error *err)
{
    size_t count = (size_t)range->place_count + 1;
    return DW_ARRAY_RESERVE(range->places, range->place_room, count, UINT32_MAX)
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "kv log: no memory for %zu pieces", count);
}

/* There is room for it. The range is one of the block's users and mappings already. */
static void add_place(dw__kv_range *range, dw__kv_block *block)
{
    range->places[range->place_count++] =
        (dw__kv_place){.block = block, .offset = range->mapped, .mapped = true};
    range->mapped += block->bytes;
    DW_ASSERT(range->mapped <= range->reserved_bytes);
}

static void unmap_place(dw__kv_range *range, dw__kv_place *place)
{
    dw__kv_block *block = place->block;
    dw_vram_unmap(range->pool->vram, range->base + place->offset, block->bytes);
    place->mapped = false;
    if (--block->mappings > 0) {
        return;
    }
    size_t held = range->held > place->offset ? range->held - place->offset : 0;
    /* Others' bytes all count: who they are is not known here. */
    block->filled = block->users == 1 ? smaller(held, block->bytes) : block->bytes;
    dw__kv_pool_strand(range->pool, block);
}

static void drop_last_place(dw__kv_range *range)
{
    dw__kv_place *place = &range->places[range->place_count - 1];
    dw__kv_block *block = place->block;
    if (place->mapped) {
        unmap_place(range, place);
    }
    range->mapped -= block->bytes;
    range->place_count--;
    if (--block->users == 0) {
        if (block->memory.bytes > 0) {
            dw__kv_pool_unstrand(range->pool, block);
        }
        dw__kv_pool_free_block(range->pool, block);
    }
}

void dw__kv_range_drop_ahead(dw__kv_range *range)
{
    dw__kv_block *block = range->ahead_block;
    if (block != NULL) {
        DW_ASSERT(range->ahead == AHEAD_READY);
        dw_vram_unmap(range->pool->vram, range->base + range->mapped, block->bytes);
        block->mappings = 0;
        block->users = 0;
        dw__kv_pool_free_block(range->pool, block);
        range->ahead_block = NULL;
        range->ahead = AHEAD_NONE;
    }
}

void dw__kv_range_leave(dw__kv_range *range)
{
    dw__kv_pool_await(range->pool, range);
    dw__kv_range_drop_ahead(range);
    for (uint32_t i = 0; i < range->place_count; i++) {
        if (range->places[i].mapped) {
            unmap_place(range, &range->places[i]);
        }
    }
    range->resident = range->place_count == 0;
}

/* ---- coming back ---- */

static dw_status fill_from_memory(void *user, uint64_t offset, size_t bytes, void *to,
                                  dw_error *err)
{
    (void)err;
    memcpy(to, (const unsigned char *)user + offset, bytes);
    return DW_OK;
}

/* Zeros, and wait. */
static dw_status clear_now(dw__kv_pool *pool, void *to, size_t bytes, dw_error *err)
{
    dw_status status = dw_vram_clear(pool->stream, to, bytes, err);
    dw_status waited = dw_vram_wait(pool->stream, status == DW_OK ? err : NULL);
    return status == DW_OK ? waited : status;
}

static void drop_saved(dw__kv_pool *pool, dw__kv_block *block)
{
    if (block->saved != NULL && block->memory.bytes > 0 && block->readers == 0) {
        pool->stats.host_bytes -= block->filled;
        dw_free(block->saved);
        block->saved = NULL;
    }
}

/* Map new memory at a saved block's place, and bring its bytes there. */
static dw_status restore(dw__kv_range *range, dw__kv_place *place, dw_vram_allocation *piece,
                         dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_block *block = place->block;
    unsigned char *at = range->base + place->offset;
    dw__kv_ring *ring;
    dw_status status = dw__kv_pool_ring(pool, DW__KV_RING_MOVES, &ring, err);
    if (status == DW_OK) {
        status = dw_vram_map(pool->vram, at, piece, err);
    }
    if (status != DW_OK) {
        return status;
    }
    size_t filled = block->saved != NULL ? block->filled : 0;
    status = dw__kv_ring_upload(ring, at, filled, fill_from_memory, block->saved, err);
    if (status == DW_OK) {
        status = clear_now(pool, at + filled, block->bytes - filled, err);
    }
    if (status != DW_OK) {
        dw_vram_unmap(pool->vram, at, block->bytes);
        return status;
    }
    pool->stats.restored_bytes += filled;
    block->memory = *piece;
    block->mappings = 1;
    place->mapped = true;
    drop_saved(pool, block);
    return DW_OK;
}

static dw_status map_place(dw__kv_range *range, dw__kv_place *place, dw_error *err)
{
    dw__kv_block *block = place->block;
    dw_status status =
        dw_vram_map(range->pool->vram, range->base + place->offset, &block->memory, err);
    if (status == DW_OK) {
        if (block->mappings++ == 0) {
            dw__kv_pool_unstrand(range->pool, block);
        }
        place->mapped = true;
    }
    return status;
}

static dw_status bring_place(dw__kv_range *range, dw__kv_place *place, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_block *block = place->block;
    dw_vram_allocation piece = {.bytes = 0};
    dw_status status = DW_OK;
    if (block->memory.bytes == 0) {
        status = dw__kv_pool_take(pool, block->bytes, &piece, err);
    }
    if (status == DW_OK && block->memory.bytes == 0) {
        status = restore(range, place, &piece, err);
        piece.bytes = status == DW_OK ? 0 : piece.bytes;
    } else if (status == DW_OK) { /* a relative may have brought it while the lock was given up */
        status = map_place(range, place, err);
    }
    if (piece.bytes > 0) {
        dw__kv_pool_give(pool, &piece);
    }
    return status;
}

/* Those that are on the device go first, lest they be saved to make room for the others. */
static dw_status bring_back(dw__kv_range *range, dw_error *err)
{
    dw_status status = DW_OK;
    if (range->resident) {
        return DW_OK;
    }
    range->pins++;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; status == DW_OK && i < range->place_count; i++) {
            dw__kv_place *place = &range->places[i];
            if (!place->mapped && (pass == 1 || place->block->memory.bytes > 0)) {
                status = bring_place(range, place, err);
            }
        }
    }
    range->pins--;
    range->resident = status == DW_OK;
    range->pool->stats.restore_count += status == DW_OK;
    if (status != DW_OK) {
        dw__kv_range_leave(range);
    }
    return status;
}

/* ---- growing ---- */

/* As much as is its own already, so that a context of n tokens grows log2(n) times: up to a
 * limit, and beyond that by an eighth. Where more is wanted at once, the largest power of two
 * below that: powers of two one behind the other leave a short last piece, and full pieces are
 * what forks share. */
size_t dw__kv_range_next_bytes(const dw__kv_range *range, size_t wanted)
{
    size_t unit = range->pool->granularity;
    size_t rest = range->reserved_bytes - range->mapped;
    size_t most = range->pool->options.piece_bytes_max;
    size_t own = 0;
    for (uint32_t i = range->place_count; i > 0 && range->places[i - 1].block->users == 1; i--) {
        own += range->places[i - 1].block->bytes;
    }
    most = most > range->mapped / 8 ? most : range->mapped / 8;
    own = smaller(own, most);
    size_t bytes = power_below((own > wanted ? own : wanted) / unit) * unit;
    return smaller(bytes, rest);
}

/* The piece's bytes at the range's end, zeroed or copied there by the caller's `submit`. */
static dw_status append_block(dw__kv_range *range, size_t bytes, const unsigned char *from,
                              size_t from_bytes, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    unsigned char *at = range->base + range->mapped;
    dw__kv_block *block = dw_alloc(1, sizeof *block);
    dw_status status = room_for_place(range, err);
    if (block == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory for a piece's record");
    }
    if (status == DW_OK) {
        status = dw__kv_pool_take(pool, bytes, &block->memory, err);
    }
    if (status != DW_OK) {
        dw_free(block);
        return status;
    }
    block->bytes = bytes;
    status = dw_vram_map(pool->vram, at, &block->memory, err);
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
        dw__kv_pool_free_block(pool, block);
        return status;
    }
    block->users = 1;
    block->mappings = 1;
    add_place(range, block);
    pool->stats.copied_bytes += from_bytes;
    return DW_OK;
}

/* Take over what was made ready, else make it now, which the step has to wait for. Pieces are made
 * to be full with the first `filled` bytes, as far as can be. */
static dw_status grow(dw__kv_range *range, size_t filled, size_t needed, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw_status status = DW_OK;
    while (status == DW_OK && range->mapped < needed) {
        bool waited = range->ahead != AHEAD_READY;
        dw__kv_pool_await(pool, range);
        if (range->ahead == AHEAD_READY) {
            status = room_for_place(range, err);
            if (status == DW_OK) {
                add_place(range, range->ahead_block);
                range->ahead_block = NULL;
                range->ahead = AHEAD_NONE;
            }
        } else {
            size_t end = filled > range->mapped ? filled : needed;
            size_t bytes = dw__kv_range_next_bytes(range, end - range->mapped);
            status = append_block(range, bytes, NULL, 0, err);
        }
        pool->stats.growth_count += status == DW_OK;
        pool->stats.wait_count += status == DW_OK && waited;
    }
    return status;
}

/* Bytes that are missing for the steps behind those that what is mapped serves; 0: none. */
size_t dw__kv_range_missing(const dw__kv_range *range)
{
    size_t needed = range->needed + range->step_bytes;
    needed = smaller(needed, range->reserved_bytes);
    return needed > range->mapped ? needed - range->mapped : 0;
}

/* The next piece is made past half of the last one, or past half of a step behind which what is
 * mapped does not suffice: what is needed grows by whole steps, and pieces end anywhere in them. */
static void look_ahead(dw__kv_range *range)
{
    if (range->resident && range->place_count > 0 && range->mapped < range->reserved_bytes) {
        size_t last = range->places[range->place_count - 1].block->bytes;
        bool short_soon =
            dw__kv_range_missing(range) > 0 && range->held + range->step_bytes / 2 > range->needed;
        if (short_soon || range->held > range->mapped - last / 2) {
            dw__kv_pool_queue(range->pool, range);
        }
    }
}

/* ---- a piece of one's own in the place of a shared one ---- */

/* Copy a place's first bytes into a piece that is mapped nowhere yet, and zero its rest. */
static dw_status copy_place(dw__kv_range *range, const dw__kv_place *place,
                            const dw_vram_allocation *piece, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    size_t used = range->held > place->offset ? range->held - place->offset : 0;
    used = smaller(used, piece->bytes);
    void *window = NULL;
    dw_status status = dw_vram_reserve(pool->vram, &window, piece->bytes, err);
    bool mapped = false;
    if (status == DW_OK) {
        status = dw_vram_map(pool->vram, window, piece, err);
        mapped = status == DW_OK;
    }
    if (mapped) {
        status = dw_vram_copy(pool->stream, window, range->base + place->offset, used, err);
        dw_status cleared = clear_now(pool, (unsigned char *)window + used, piece->bytes - used,
                                      status == DW_OK ? err : NULL);
        status = status == DW_OK ? cleared : status;
        dw_vram_unmap(pool->vram, window, piece->bytes);
        pool->stats.copied_bytes += used;
    }
    dw_vram_unreserve(pool->vram, window, piece->bytes);
    return status;
}

/* Map the new block where the old one is. If that fails and the old one cannot be put back
 * either, the whole range leaves the device: its blocks hold what it had. */
static dw_status exchange(dw__kv_range *range, dw__kv_place *place, dw__kv_block *own,
                          dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_block *old = place->block;
    unmap_place(range, place);
    dw_status status = dw_vram_map(pool->vram, range->base + place->offset, &own->memory, err);
    if (status != DW_OK) {
        if (map_place(range, place, NULL) != DW_OK) {
            dw__kv_range_leave(range);
        }
        return status;
    }
    old->users--;
    own->users = 1;
    own->mappings = 1;
    place->block = own;
    place->mapped = true;
    return DW_OK;
}

static dw_status own_place(dw__kv_range *range, dw__kv_place *place, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_block *own = dw_alloc(1, sizeof *own);
    if (own == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory for a piece's record");
    }
    own->bytes = place->block->bytes;
    dw_status status = dw__kv_pool_take(pool, own->bytes, &own->memory, err);
    if (status == DW_OK && place->block->users > 1) { /* still, after the lock was given up */
        status = copy_place(range, place, &own->memory, err);
        if (status == DW_OK) {
            status = exchange(range, place, own, err);
        }
    }
    if (own->users == 0) {
        dw__kv_pool_free_block(pool, own);
    }
    return status;
}

static dw_status own_from(dw__kv_range *range, size_t from, dw_error *err)
{
    dw_status status = DW_OK;
    for (uint32_t i = range->place_count; status == DW_OK && i > 0; i--) {
        dw__kv_place *place = &range->places[i - 1];
        if (place->offset + place->block->bytes <= from) {
            break;
        }
        status = place->block->users > 1 ? own_place(range, place, err) : DW_OK;
    }
    return status;
}

/* ---- forks ---- */

/* Bytes up to `end`, a multiple of the granularity, copied from the parent's first `held`. */
static dw_status copy_up_to(dw__kv_range *range, const dw__kv_range *parent, size_t held,
                            size_t end, dw_error *err)
{
    size_t unit = range->pool->granularity;
    dw_status status = DW_OK;
    for (uint32_t i = 1; status == DW_OK && range->mapped < end; i++) {
        size_t left = end - range->mapped;
        size_t bytes = i < COPIED_PIECES_MAX ? power_below(left / unit) * unit : left;
        size_t used = held > range->mapped ? smaller(held - range->mapped, bytes) : 0;
        status = append_block(range, bytes, parent->base + range->mapped, used, err);
    }
    return status;
}

static dw_status share_place(dw__kv_range *range, const dw__kv_place *of, dw_error *err)
{
    dw_status status = room_for_place(range, err);
    if (status == DW_OK) {
        status = dw_vram_map(range->pool->vram, range->base + of->offset, &of->block->memory, err);
    }
    if (status == DW_OK) {
        of->block->users++;
        of->block->mappings++;
        add_place(range, of->block);
    }
    return status;
}

static dw_status fork_places(dw__kv_range *range, const dw__kv_range *parent, size_t held,
                             size_t needed, dw_error *err)
{
    uint32_t full = 0;
    while (full < parent->place_count &&
           parent->places[full].offset + parent->places[full].block->bytes <= held) {
        full++;
    }
    size_t least = full > SHARED_PIECES_MAX ? held / SHARED_SHARE : 0;
    dw_status status = DW_OK;
    for (uint32_t i = 0; status == DW_OK && i < full; i++) {
        const dw__kv_place *place = &parent->places[i];
        if (place->block->bytes >= least) {
            status = copy_up_to(range, parent, held, place->offset, err);
            status = status == DW_OK ? share_place(range, place, err) : status;
        }
    }
    size_t end = 0;
    DW_ASSERT(dw_round_up(&end, held > needed ? held : needed, range->pool->granularity));
    return status == DW_OK ? copy_up_to(range, parent, held, end, err) : status;
}

dw_status dw__kv_range_fork(dw__kv_range *range, dw__kv_range *parent, size_t held, size_t bytes,
                            dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    DW_ASSERT(range->place_count == 0 && parent->pool == pool);
    dw__kv_pool_lock(pool);
    dw__kv_pool_touch(pool, parent);
    parent->pins++;
    range->pins++;
    dw_status status = bring_back(parent, err);
    if (status == DW_OK) {
        status = fork_places(range, parent, held, bytes, err);
    }
    range->held = held;
    range->needed = bytes;
    range->pins--;
    parent->pins--;
    if (status == DW_OK) {
        look_ahead(range);
    }
    dw__kv_pool_unlock(pool);
    return status;
}

/* ---- life ---- */

dw_status dw__kv_range_create(dw__kv_range **out, dw_device *device, bool emulated, size_t bytes,
                              size_t step_bytes, dw_error *err)
{
    dw__kv_pool *pool;
    void *base = NULL;
    *out = NULL;
    dw_status status = dw__kv_pool_of(&pool, device, emulated, err);
    if (status != DW_OK) {
        return status;
    }
    dw__kv_range *range = dw_alloc(1, sizeof *range);
    if (range == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a kv log");
    }
    range->pool = pool;
    range->resident = true;
    range->step_bytes = step_bytes;
    if (!dw_round_up(&range->reserved_bytes, bytes, pool->granularity)) {
        status = dw_fail(err, DW_E_MEMORY, "kv log: %zu bytes are too many", bytes);
    } else {
        status = dw_vram_reserve(pool->vram, &base, range->reserved_bytes, err);
    }
    if (status != DW_OK) {
        dw_free(range);
        return status;
    }
    range->base = base;
    dw__kv_pool_lock(pool);
    dw__kv_pool_touch(pool, range);
    dw__kv_pool_unlock(pool);
    *out = range;
    return DW_OK;
}

void dw__kv_range_destroy(dw__kv_range *range)
{
    if (range == NULL) {
        return;
    }
    dw__kv_pool *pool = range->pool;
    dw__kv_pool_lock(pool);
    DW_ASSERT(range->pins == 0);
    dw__kv_pool_await(pool, range);
    dw__kv_range_drop_ahead(range);
    while (range->place_count > 0) {
        drop_last_place(range);
    }
    dw__kv_pool_remove(pool, range);
    dw__kv_pool_unlock(pool);
    dw_vram_unreserve(pool->vram, range->base, range->reserved_bytes);
    dw_free(range->places);
    dw_free(range);
}

void *dw__kv_range_base(const dw__kv_range *range)
{
    return range->base;
}

size_t dw__kv_range_mapped(const dw__kv_range *range)
{
    return range->mapped;
}

ggml_backend_buffer_t dw__kv_range_buffer(const dw__kv_range *range)
{
    return range->pool->buffer;
}

/* ---- use ---- */

dw_status dw__kv_range_begin(dw__kv_range *range, size_t from, size_t filled, size_t needed,
                             dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_pool_lock(pool);
    bool was_in_step = range->in_step;
    dw__kv_pool_touch(pool, range);
    range->in_step = true;
    dw_status status = bring_back(range, err);
    if (status == DW_OK) {
        status = own_from(range, from, err);
    }
    if (status == DW_OK) {
        status = grow(range, filled, needed, err);
    }
    range->needed = status == DW_OK ? needed : range->needed;
    range->in_step = status == DW_OK || was_in_step;
    dw__kv_pool_unlock(pool);
    return status;
}

void dw__kv_range_hold(dw__kv_range *range, size_t held, bool done)
{
    DW_ASSERT(held <= range->mapped);
    dw__kv_pool_lock(range->pool);
    range->held = held;
    range->in_step = range->in_step && !done;
    look_ahead(range);
    dw__kv_pool_unlock(range->pool);
}

void dw__kv_range_trim(dw__kv_range *range, size_t held, size_t needed)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_pool_lock(pool);
    if (range->place_count > 0 && range->places[range->place_count - 1].offset >= needed) {
        dw__kv_pool_await(pool, range);
        dw__kv_range_drop_ahead(range);
    }
    while (range->place_count > 0 && range->places[range->place_count - 1].offset >= needed) {
        drop_last_place(range);
    }
    range->held = held;
    range->needed = needed;
    range->in_step = false;
    range->resident = range->resident || range->place_count == 0;
    dw__kv_pool_unlock(pool);
}

dw_status dw__kv_range_return(dw__kv_range *range, dw_error *err)
{
    dw__kv_pool_lock(range->pool);
    dw__kv_pool_touch(range->pool, range);
    dw_status status = bring_back(range, err);
    dw__kv_pool_unlock(range->pool);
    return status;
}

bool dw__kv_range_resident(dw__kv_range *range)
{
    dw__kv_pool_lock(range->pool);
    bool resident = range->resident;
    dw__kv_pool_unlock(range->pool);
    return resident;
}

dw_status dw__kv_range_upload(dw__kv_range *range, size_t offset, size_t bytes, dw__kv_fill fill,
                              void *user, dw_error *err)
{
    dw__kv_ring *ring;
    DW_ASSERT(range->in_step && offset <= range->mapped && bytes <= range->mapped - offset);
    dw__kv_pool_lock(range->pool);
    dw_status status = dw__kv_pool_ring(range->pool, DW__KV_RING_FILES, &ring, err);
    dw__kv_pool_unlock(range->pool);
    return status == DW_OK ? dw__kv_ring_upload(ring, range->base + offset, bytes, fill, user, err)
                           : status;
}

dw_status dw__kv_range_clear(dw__kv_range *range, size_t offset, size_t bytes, dw_error *err)
{
    DW_ASSERT(range->in_step && offset <= range->mapped && bytes <= range->mapped - offset);
    dw__kv_pool_lock(range->pool);
    dw_status status = clear_now(range->pool, range->base + offset, bytes, err);
    dw__kv_pool_unlock(range->pool);
    return status;
}

/* ---- reading, wherever it is ---- */

dw_status dw__kv_block_read(dw__kv_ring *ring, const dw__kv_block *block, size_t offset,
                            size_t bytes, const dw_sink *sink, dw_error *err)
{
    dw_vram *vram = dw__kv_ring_vram(ring);
    void *window = NULL;
    if (bytes == 0) {
        return DW_OK;
    }
    dw_status status = dw_vram_reserve(vram, &window, block->bytes, err);
    bool mapped = false;
    if (status == DW_OK) {
        status = dw_vram_map(vram, window, &block->memory, err);
        mapped = status == DW_OK;
    }
    if (mapped) {
        status = dw__kv_ring_download(ring, (unsigned char *)window + offset, bytes, sink, err);
        dw_vram_unmap(vram, window, block->bytes);
    }
    dw_vram_unreserve(vram, window, block->bytes);
    return status;
}

/* A sink for the part of a run that begins at `start`. */
typedef struct part_sink {
    const dw_sink *whole;
    uint64_t start;
} part_sink;

static dw_status pass_in_order(void *user, const void *from, size_t bytes, dw_error *err)
{
    const part_sink *part = user;
    return part->whole->in_order(part->whole->user, from, bytes, err);
}

static dw_status pass_anywhere(void *user, uint64_t offset, const void *from, size_t bytes,
                               dw_error *err)
{
    const part_sink *part = user;
    return part->whole->anywhere(part->whole->user, part->start + offset, from, bytes, err);
}

/* A saved block's bytes, from host memory. */
static dw_status hand_on(const part_sink *part, const unsigned char *from, size_t bytes,
                         dw_error *err)
{
    const size_t at_once = (size_t)1 << 20; /* the second use finds it in the processor's cache */
    dw_status status = DW_OK;
    for (size_t done = 0; status == DW_OK && done < bytes;) {
        size_t now = smaller(bytes - done, at_once);
        if (part->whole->in_order != NULL) {
            status = part->whole->in_order(part->whole->user, from + done, now, err);
        }
        if (status == DW_OK && part->whole->anywhere != NULL) {
            status =
                part->whole->anywhere(part->whole->user, part->start + done, from + done, now, err);
        }
        done += now;
    }
    return status;
}

/* Of a place that is not mapped: [offset, offset + bytes) of the range. */
static dw_status read_place(dw__kv_range *range, const dw__kv_place *place, size_t offset,
                            size_t bytes, part_sink *part, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_block *block = place->block;
    size_t skipped = offset - place->offset;
    dw_sink sink = {.in_order = part->whole->in_order != NULL ? pass_in_order : NULL,
                    .anywhere = part->whole->anywhere != NULL ? pass_anywhere : NULL,
                    .user = part};
    dw__kv_pool_lock(pool);
    const unsigned char *saved = block->saved;
    block->readers++;
    dw__kv_pool_unlock(pool);
    dw_status status = saved != NULL ? hand_on(part, saved + skipped, bytes, err)
                                     : dw__kv_block_read(pool->rings[DW__KV_RING_FILES], block,
                                                         skipped, bytes, &sink, err);
    dw__kv_pool_lock(pool);
    block->readers--;
    drop_saved(pool, block);
    dw__kv_pool_unlock(pool);
    return status;
}

static dw_status read_places(dw__kv_range *range, size_t offset, size_t bytes, const dw_sink *sink,
                             dw_error *err)
{
    dw_status status = DW_OK;
    part_sink part = {.whole = sink, .start = 0};
    for (uint32_t i = 0; status == DW_OK && bytes > 0 && i < range->place_count; i++) {
        const dw__kv_place *place = &range->places[i];
        size_t end = place->offset + place->block->bytes;
        if (end > offset) {
            size_t now = smaller(bytes, end - offset);
            status = read_place(range, place, offset, now, &part, err);
            part.start += now;
            offset += now;
            bytes -= now;
        }
    }
    return status;
}

dw_status dw__kv_range_read(dw__kv_range *range, size_t offset, size_t bytes, const dw_sink *sink,
                            dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_ring *ring;
    DW_ASSERT(offset <= range->held && bytes <= range->held - offset);
    dw__kv_pool_lock(pool);
    dw_status status = dw__kv_pool_ring(pool, DW__KV_RING_FILES, &ring, err);
    bool resident = range->resident;
    range->pins++; /* it neither leaves nor comes meanwhile */
    dw__kv_pool_unlock(pool);
    if (status == DW_OK) {
        status = resident ? dw__kv_ring_download(ring, range->base + offset, bytes, sink, err)
                          : read_places(range, offset, bytes, sink, err);
    }
    dw__kv_pool_lock(pool);
    range->pins--;
    dw__kv_pool_unlock(pool);
    return status;
}
