#include "kv/kv_segments.h"

#include "base/checked.h"
#include "base/os.h"
#include "kv/kv_limit.h"

dw_status dw_kv_segments_check(const dw_kv_segment *segments, size_t count, uint64_t bytes,
                               dw_error *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        const dw_kv_segment *segment = &segments[i];
        uint64_t file_bytes;
        uint64_t file_end;
        dw_status status = dw_os_file_bytes(segment->fd, &file_bytes, err);
        if (status != DW_OK) {
            return status;
        }
        if (segment->log_offset != end || !dw_add_u64(&end, end, segment->bytes)) {
            return dw_fail(err, DW_E_FORMAT, "kv log: segment %zu is for byte %llu, not %llu", i,
                           (unsigned long long)segment->log_offset, (unsigned long long)end);
        }
        if (segment->bytes > 0 && (!dw_add_u64(&file_end, segment->file_offset, segment->bytes) ||
                                   file_end > file_bytes)) {
            return dw_fail(
                err, DW_E_FORMAT, "kv log: segment %zu has %llu bytes at %llu, its file %llu", i,
                (unsigned long long)segment->bytes, (unsigned long long)segment->file_offset,
                (unsigned long long)file_bytes);
        }
    }
    return end >= bytes ? DW_OK
                        : dw_fail(err, DW_E_FORMAT, "kv log: %llu bytes wanted, segments hold %llu",
                                  (unsigned long long)bytes, (unsigned long long)end);
}

dw_status dw_kv_segments_read(const dw_kv_segment *segments, size_t count, uint64_t offset,
                              void *to, size_t bytes, dw_error *err)
{
    unsigned char *at = to;
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && bytes > 0 && i < count; i++) {
        const dw_kv_segment *segment = &segments[i];
        if (offset < segment->log_offset || offset - segment->log_offset >= segment->bytes) {
            continue;
        }
        uint64_t skipped = offset - segment->log_offset;
        uint64_t there = segment->bytes - skipped;
        size_t part = there < bytes ? (size_t)there : bytes;
        status = dw_os_read_at(segment->fd, segment->file_offset + skipped, at, part, err);
        at += part;
        offset += part;
        bytes -= part;
    }
    DW_ASSERT(status != DW_OK || bytes == 0);
    return status;
}

/* ---- adopting pages ---- */

typedef struct adoption {
    const dw_kv_segment *segments;
    size_t count;
    size_t bytes;
    uint64_t mapped_min;
    uint64_t mapped_end; /* 0: none */
    dw_device *device;
    dw_file_extents *extents; /* without gaps, from byte 0 on */
    dw_extent_file *file;     /* of the segment last mapped, `fd` */
    int fd;
    dw_extent_file *patches; /* pages that were read, each where it is in the log; NULL: none yet */
} adoption;

/* The segment with the log's byte `at`. */
static const dw_kv_segment *segment_with(const adoption *a, uint64_t at)
{
    size_t low = 0;
    size_t high = a->count;
    while (low + 1 < high) {
        size_t middle = low + (high - low) / 2;
        if (a->segments[middle].log_offset <= at) {
            low = middle;
        } else {
            high = middle;
        }
    }
    DW_DCHECK(at - a->segments[low].log_offset < a->segments[low].bytes);
    return &a->segments[low];
}

/* Bytes from `at` on that can be mapped: whole pages of one segment, at a page of its file. */
static size_t mappable(const adoption *a, const dw_kv_segment *segment, size_t at)
{
    uint64_t page = dw_os_page_bytes();
    uint64_t skipped = at - segment->log_offset;
    uint64_t left = segment->bytes - skipped;
    left = left < a->bytes - at ? left : a->bytes - at;
    bool maps = segment->bytes >= a->mapped_min &&
                (a->mapped_end == 0 || segment->log_offset < a->mapped_end) &&
                (segment->file_offset + skipped) % page == 0;
    return maps ? (size_t)(left - left % page) : 0;
}

static dw_status map_part(adoption *a, const dw_kv_segment *segment, size_t at, size_t bytes,
                          dw_error *err)
{
    if (a->file == NULL || a->fd != segment->fd) {
        dw_extent_file_unref(a->file);
        a->fd = segment->fd;
        dw_status status = dw_extent_file_open(&a->file, segment->fd, err);
        if (status != DW_OK) {
            return status;
        }
        dw_extent_file_meter(a->file, &dw_device_counters_of(a->device)->mapped_kv, 0);
    }
    dw_file_extent part = {.start = at,
                           .bytes = bytes,
                           .file = a->file,
                           .file_offset = segment->file_offset + (at - segment->log_offset)};
    (void)dw_extent_file_set_held(a->file, dw_extent_file_held(a->file) + bytes); /* no limit */
    return dw_file_extents_add(a->extents, &part, err);
}

static dw_status read_part(adoption *a, size_t at, size_t bytes, dw_error *err)
{
    void *view = NULL;
    dw_status status = DW_OK;
    if (a->patches == NULL) {
        status = dw__kv_memory_create(&a->patches, a->device, a->bytes, 0, err);
    }
    if (status == DW_OK) {
        status =
            dw__kv_memory_hold(a->patches, a->device, dw_extent_file_held(a->patches) + bytes, err);
    }
    if (status == DW_OK) {
        status = dw_extent_file_map(a->patches, at, bytes, &view, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw_kv_segments_read(a->segments, a->count, at, view, bytes, err);
    dw_os_unmap(view, bytes);
    if (status != DW_OK) {
        return status;
    }
    dw_file_extent part = {.start = at, .bytes = bytes, .file = a->patches, .file_offset = at};
    return dw_file_extents_add(a->extents, &part, err);
}

/* Pages from `at` on until the next that can be mapped. */
static size_t unmappable(const adoption *a, size_t at)
{
    size_t page = dw_os_page_bytes();
    size_t end = at;
    do {
        end += page;
    } while (end < a->bytes && mappable(a, segment_with(a, end), end) == 0);
    return end - at;
}

dw_status dw_kv_segments_adopt(const dw_kv_frozen *frozen, size_t bytes, dw_device *device,
                               dw_file_extents *extents, dw_error *err)
{
    size_t from = dw_file_extents_end(extents);
    DW_ASSERT(from <= bytes && bytes % dw_os_page_bytes() == 0);
    adoption a = {.segments = frozen->segments,
                  .count = frozen->segment_count,
                  .bytes = bytes,
                  .mapped_min = frozen->mapped_min,
                  .mapped_end = frozen->mapped_end,
                  .device = device,
                  .extents = extents};
    dw_status status = DW_OK;
    for (size_t at = from; status == DW_OK && at < bytes; at = dw_file_extents_end(extents)) {
        const dw_kv_segment *segment = segment_with(&a, at);
        size_t part = mappable(&a, segment, at);
        status = part > 0 ? map_part(&a, segment, at, part, err)
                          : read_part(&a, at, unmappable(&a, at), err);
    }
    dw_extent_file_unref(a.file);
    dw_extent_file_unref(a.patches);
    return status;
}
