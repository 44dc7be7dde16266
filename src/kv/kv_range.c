/* A log in a device's address range (a dw__kv_backing): allocations of device memory mapped one
 * behind the other. Ranges that were forked from one another share allocations, which nobody writes
 * to while they do.
 *
 * A range that is not in use may be evicted: its allocations are unmapped. One that no range maps
 * any more is saved in host memory when the pool needs its place. Using the range restores it, at
 * the same addresses. */
#include "base/alloc.h"
#include "base/checked.h"
#include "kv/kv_pool_ahead.h"
#include "kv/kv_pool_internal.h"
#include "kv/kv_range_places.h"
#include "kv/kv_range_read.h"
#include "kv/kv_range_unmap.h"

static dw__kv_range *range_of(dw__kv_backing *backing)
{
    return (dw__kv_range *)(void *)backing;
}

static size_t bytes_of(const dw__kv_range *range, uint32_t records)
{
    return records * range->backing.record_bytes;
}

/* Records are there where whole steps of them are mapped. */
static void count_committed(dw__kv_range *range)
{
    size_t records = range->mapped / range->backing.record_bytes;
    records = dw__smaller(records, range->backing.records_max);
    range->backing.committed = (uint32_t)(records - records % DW_KV_STEP_TOKENS);
}

/* The next allocation is made past half of the last one, or past half of a step behind which what
 * is mapped does not suffice: what is needed grows by whole steps, and allocations end anywhere in
 * them. */
static void look_ahead(dw__kv_range *range)
{
    if (!range->resident || range->place_count == 0 || range->mapped == range->reserved_bytes) {
        return;
    }
    size_t last = range->places[range->place_count - 1].allocation->bytes;
    bool short_soon =
        dw__kv_range_missing(range) > 0 && range->held + range->step_bytes / 2 > range->needed;
    if (short_soon || range->held > range->mapped - last / 2) {
        dw__kv_pool_queue(range->pool, range);
    }
}

/* ---- life ---- */

/* Addresses. Ranges that are kept have as many each, however little is in them, and go for one that
 * is in use. */
static dw_status reserve(dw__kv_pool *pool, void **base, size_t bytes, dw_error *err)
{
    dw_status status;
    bool dropped;
    do {
        status = dw_vram_reserve(pool->vram, base, bytes, err);
        dropped = false;
        if (status == DW_E_MEMORY) {
            dw__kv_pool_lock(pool);
            dropped = dw__kv_pool_drop_kept(pool);
            dw__kv_pool_unlock(pool);
        }
    } while (dropped);
    return status;
}

static dw_status create(dw__kv_backing **out, const dw__kv_backing_options *options, dw_error *err)
{
    dw__kv_pool *pool;
    dw_status status =
        dw__kv_pool_of(&pool, options->device, dw_device_unified(options->device), err);
    if (status != DW_OK) {
        return status;
    }
    dw__kv_range *range = dw__kv_backing_alloc(sizeof *range, &dw__kv_range_ops, options, err);
    if (range == NULL) {
        return DW_E_MEMORY;
    }
    range->pool = pool;
    range->resident = true;
    range->step_bytes = bytes_of(range, DW_KV_STEP_TOKENS);
    size_t bytes = bytes_of(range, options->records_max);
    void *address = NULL;
    if (!dw_round_up(&range->reserved_bytes, bytes, pool->granularity)) {
        status = dw_fail(err, DW_E_MEMORY, "kv log: %zu bytes are too many", bytes);
    } else {
        status = reserve(pool, &address, range->reserved_bytes, err);
    }
    if (status != DW_OK) {
        dw_free(range);
        return status;
    }
    range->address = address;
    dw__kv_pool_lock(pool);
    dw__kv_pool_touch(pool, range);
    dw__kv_pool_unlock(pool);
    *out = &range->backing;
    return DW_OK;
}

static void destroy(dw__kv_backing *backing)
{
    dw__kv_range *range = range_of(backing);
    dw__kv_pool *pool = range->pool;
    dw__kv_pool_lock(pool);
    DW_ASSERT(range->pins == 0);
    dw__kv_pool_await(pool, range);
    dw__kv_range_drop_ahead(range);
    while (range->place_count > 0) {
        dw__kv_range_drop_last_place(range);
    }
    dw__kv_pool_remove(pool, range);
    dw__kv_pool_unlock(pool);
    dw_vram_unreserve(pool->vram, range->address, range->reserved_bytes);
    dw_free(range->places);
    dw_free(range);
}

static dw_status fork_range(dw__kv_backing *empty, dw__kv_backing *from, uint32_t length,
                            dw_error *err)
{
    dw__kv_range *range = range_of(empty);
    dw__kv_range *parent = range_of(from);
    dw__kv_pool *pool = range->pool;
    size_t held = bytes_of(range, length);
    size_t needed = bytes_of(range, dw__kv_whole_steps(length));
    DW_ASSERT(range->place_count == 0 && parent->pool == pool && held <= parent->held);
    dw__kv_pool_lock(pool);
    dw__kv_pool_touch(pool, parent);
    parent->pins++;
    range->pins++;
    dw_status status = dw__kv_range_restore(parent, err);
    if (status == DW_OK) {
        status = dw__kv_range_share(range, parent, held, needed, err);
    }
    range->pins--;
    parent->pins--;
    if (status == DW_OK) {
        range->held = held;
        range->needed = needed;
        look_ahead(range);
    }
    dw__kv_pool_unlock(pool);
    count_committed(range);
    return status;
}

/* ---- steps ---- */

static dw_status begin_locked(dw__kv_range *range, size_t from, size_t filled, size_t needed,
                              dw_error *err)
{
    dw_status status = dw__kv_range_restore(range, err);
    if (status == DW_OK) {
        status = dw__kv_range_own(range, from, err);
    }
    return status == DW_OK ? dw__kv_range_grow(range, filled, needed, err) : status;
}

static dw_status begin(dw__kv_backing *backing, uint32_t first, uint32_t length, uint32_t end,
                       dw_error *err)
{
    (void)length;
    dw__kv_range *range = range_of(backing);
    dw_status status = dw_device_check(backing->device, err);
    if (status != DW_OK) {
        return status;
    }
    size_t needed = bytes_of(range, dw__kv_whole_steps(end));
    dw__kv_pool_lock(range->pool);
    bool was_in_step = range->in_step;
    dw__kv_pool_touch(range->pool, range);
    range->in_step = true; /* already: growing may evict others */
    status = begin_locked(range, bytes_of(range, first), bytes_of(range, end), needed, err);
    if (status == DW_OK) {
        range->needed = needed;
    } else {
        range->in_step = was_in_step;
    }
    dw__kv_pool_unlock(range->pool);
    count_committed(range);
    return status;
}

static void extend(dw__kv_backing *backing, uint32_t length, bool done)
{
    dw__kv_range *range = range_of(backing);
    size_t held = bytes_of(range, length);
    DW_ASSERT(held <= range->mapped);
    dw__kv_pool_lock(range->pool);
    range->held = held;
    range->in_step = range->in_step && !done;
    look_ahead(range);
    dw__kv_pool_unlock(range->pool);
}

static bool last_begins_behind(const dw__kv_range *range, size_t offset)
{
    return range->place_count > 0 && range->places[range->place_count - 1].offset >= offset;
}

static void trim(dw__kv_backing *backing, uint32_t length)
{
    dw__kv_range *range = range_of(backing);
    size_t needed = bytes_of(range, dw__kv_whole_steps(length));
    dw__kv_pool_lock(range->pool);
    if (last_begins_behind(range, needed)) {
        dw__kv_pool_await(range->pool, range);
        dw__kv_range_drop_ahead(range);
    }
    while (last_begins_behind(range, needed)) {
        dw__kv_range_drop_last_place(range);
    }
    range->held = bytes_of(range, length);
    range->needed = needed;
    range->in_step = false;
    range->resident = range->resident || range->place_count == 0;
    dw__kv_pool_unlock(range->pool);
    count_committed(range);
}

/* To the end of what is mapped, which may be behind the last whole record: a trim keeps the
 * allocation that its end lies in, and what a step wrote there counts again when the log grows. */
static dw_status clear_rest(dw__kv_backing *backing, uint32_t length, dw_error *err)
{
    dw__kv_range *range = range_of(backing);
    size_t held = bytes_of(range, length);
    if (range->mapped <= held) {
        return DW_OK;
    }
    dw_status status = begin(backing, length, length, backing->committed, err);
    if (status != DW_OK) {
        return status;
    }
    dw__kv_pool_lock(range->pool);
    status = dw__kv_range_clear(range, held, range->mapped - held, err);
    dw__kv_pool_unlock(range->pool);
    extend(backing, length, true);
    return status;
}

/* ---- bytes ---- */

/* Within a step: fill bytes that are its own, through the ring for files. */
static dw_status upload(dw__kv_range *range, size_t offset, size_t bytes, dw__kv_fill fill,
                        void *user, dw_error *err)
{
    dw__kv_ring *ring;
    DW_ASSERT(range->in_step && offset <= range->mapped && bytes <= range->mapped - offset);
    dw__kv_pool_lock(range->pool);
    dw_status status = dw__kv_pool_ring(range->pool, DW__KV_RING_FILES, &ring, err);
    dw__kv_pool_unlock(range->pool);
    return status == DW_OK
               ? dw__kv_ring_upload(ring, range->address + offset, bytes, fill, user, err)
               : status;
}

static dw_status write_bytes(dw__kv_backing *backing, size_t offset, const void *from, size_t bytes,
                             dw_error *err)
{
    return upload(range_of(backing), offset, bytes, dw__kv_copy_in, (void *)(uintptr_t)from, err);
}

static dw_status fill_from_segments(void *user, uint64_t offset, size_t bytes, void *to,
                                    dw_error *err)
{
    const dw_kv_frozen *frozen = user;
    if (dw_stop_asked(frozen->stop)) {
        return dw_fail(err, DW_E_CANCELLED, "kv log: asked to stop at byte %llu",
                       (unsigned long long)offset);
    }
    return dw_kv_segments_read(frozen->segments, frozen->segment_count, offset, to, bytes, err);
}

static dw_status thaw(dw__kv_backing *empty, const dw_kv_frozen *frozen, dw_error *err)
{
    dw__kv_range *range = range_of(empty);
    dw_kv_frozen source = *frozen;
    if (frozen->length == 0) {
        return DW_OK;
    }
    dw_status status = begin(empty, 0, 0, frozen->length, err);
    if (status != DW_OK) {
        return status;
    }
    status = upload(range, 0, bytes_of(range, frozen->length), fill_from_segments, &source, err);
    extend(empty, status == DW_OK ? frozen->length : 0, true);
    return status;
}

static void *address(const dw__kv_backing *backing)
{
    return ((const dw__kv_range *)(const void *)backing)->address;
}

static dw_status make_resident(dw__kv_backing *backing, dw_error *err)
{
    dw__kv_range *range = range_of(backing);
    dw__kv_pool_lock(range->pool);
    dw__kv_pool_touch(range->pool, range);
    dw_status status = dw__kv_range_restore(range, err);
    dw__kv_pool_unlock(range->pool);
    return status;
}

static bool is_resident(dw__kv_backing *backing)
{
    dw__kv_range *range = range_of(backing);
    dw__kv_pool_lock(range->pool);
    bool resident = range->resident;
    dw__kv_pool_unlock(range->pool);
    return resident;
}

static dw_status place(dw__kv_backing *backing, struct ggml_tensor *tensor, dw_error *err)
{
    dw__kv_range *range = range_of(backing);
    dw_status status = make_resident(backing, err);
    tensor->buffer = range->pool->buffer; /* tells ggml whose it is */
    tensor->data = range->address;
    return status;
}

const dw__kv_backing_ops dw__kv_range_ops = {
    .create = create,
    .destroy = destroy,
    .fork = fork_range,
    .thaw = thaw,
    .begin = begin,
    .extend = extend,
    .trim = trim,
    .clear_rest = clear_rest,
    .write = write_bytes,
    .read = dw__kv_range_read,
    .address = address,
    .place = place,
    .make_resident = make_resident,
    .is_resident = is_resident,
};
