/* Mapped, in device memory but mapped nowhere, or saved in host memory. */
#include "kv/kv_range_read.h"

#include "kv/kv_allocation.h"

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

/* Of a place that is not mapped: [offset, offset + bytes) of the range. */
static dw_status read_place(dw__kv_range *range, const dw__kv_place *place, size_t offset,
                            size_t bytes, part_sink *part, dw_error *err)
{
    dw__kv_pool *pool = range->pool;
    dw__kv_allocation *allocation = place->allocation;
    size_t skipped = offset - place->offset;
    dw_sink sink = {.in_order = part->whole->in_order != NULL ? pass_in_order : NULL,
                    .anywhere = part->whole->anywhere != NULL ? pass_anywhere : NULL,
                    .user = part};
    dw__kv_pool_lock(pool);
    const unsigned char *saved = allocation->saved;
    allocation->readers++;
    dw__kv_pool_unlock(pool);
    dw_status status = saved != NULL
                           ? dw__kv_pass(part->whole, part->start, saved + skipped, bytes, err)
                           : dw__kv_allocation_read(pool->rings[DW__KV_RING_FILES], allocation,
                                                    skipped, bytes, &sink, err);
    dw__kv_pool_lock(pool);
    allocation->readers--;
    dw__kv_allocation_drop_saved(pool, allocation);
    dw__kv_pool_unlock(pool);
    return status;
}

static dw_status read_places(dw__kv_range *range, size_t offset, size_t bytes, const dw_sink *sink,
                             dw_error *err)
{
    part_sink part = {.whole = sink, .start = 0};
    for (size_t i = 0; bytes > 0 && i < range->place_count; i++) {
        const dw__kv_place *place = &range->places[i];
        size_t end = place->offset + place->allocation->bytes;
        if (end <= offset) {
            continue;
        }
        size_t now = dw__smaller(bytes, end - offset);
        dw_status status = read_place(range, place, offset, now, &part, err);
        if (status != DW_OK) {
            return status;
        }
        part.start += now;
        offset += now;
        bytes -= now;
    }
    return DW_OK;
}

dw_status dw__kv_range_read(dw__kv_backing *backing, size_t offset, size_t bytes,
                            const dw_sink *sink, dw_error *err)
{
    dw__kv_range *range = (dw__kv_range *)(void *)backing;
    dw__kv_pool *pool = range->pool;
    dw__kv_ring *ring;
    DW_ASSERT(offset <= range->held && bytes <= range->held - offset);
    dw__kv_pool_lock(pool);
    dw_status status = dw__kv_pool_ring(pool, DW__KV_RING_FILES, &ring, err);
    bool resident = range->resident;
    range->pins++; /* neither evicted nor restored meanwhile */
    dw__kv_pool_unlock(pool);
    if (status == DW_OK) {
        status = resident ? dw__kv_ring_download(ring, range->address + offset, bytes, sink, err)
                          : read_places(range, offset, bytes, sink, err);
    }
    dw__kv_pool_lock(pool);
    range->pins--;
    dw__kv_pool_unlock(pool);
    return status;
}
