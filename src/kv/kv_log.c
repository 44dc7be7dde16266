#include "kv/kv_log.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "device/device_memory.h"
#include "device/device_view.h"
#include "kv/kv_buffer.h"
#include "kv/kv_range.h"
#include "memory/region.h"

#define AT_ONCE_BYTES ((size_t)1 << 20) /* on their way to a buffer, or out of it */

struct dw_kv_log {
    dw_device *device;
    size_t record_bytes;
    uint32_t capacity; /* as asked for */
    uint32_t length;
    uint32_t committed; /* a multiple of DW_KV_STEP_TOKENS */
    uint64_t saved_bytes;
    size_t counted_bytes;         /* of the region's committed pages, in the device's counters */
    uint32_t step_tokens;         /* in an address range: what was reserved, until it is there */
    dw_region *region;            /* host pages, or: */
    dw__kv_range *range;          /* device memory by address ranges, or: */
    ggml_backend_buffer_t buffer; /* NULL too before the first append */
    dw_device_view *view;         /* of the region */
    /* The region's first pages, which nobody writes to. Behind them lies `own` from own_offset on,
     * shared; where there is none yet, anonymous pages with less than a page of records. */
    dw_file_extents shared;
    dw_extent_file *own;
    uint64_t own_offset;
};

static uint32_t round_to_step(uint32_t tokens)
{
    return (tokens + DW_KV_STEP_TOKENS - 1) / DW_KV_STEP_TOKENS * DW_KV_STEP_TOKENS;
}

static size_t held_bytes(const dw_kv_log *log)
{
    return log->length * log->record_bytes;
}

/* Tell the device's counters how many host pages there are. */
static void count_pages(dw_kv_log *log, size_t bytes)
{
    dw_device_counters *counters = dw_device_counters_of(log->device);
    dw_count(&counters->host_kv_bytes, bytes);
    dw_uncount(&counters->host_kv_bytes, log->counted_bytes);
    log->counted_bytes = bytes;
}

static dw_status too_many(const dw_kv_log *log, dw_error *err)
{
    return dw_fail(err, DW_E_MEMORY, "kv log: %u tokens of %zu bytes are too many", log->capacity,
                   log->record_bytes);
}

static dw_status reserve_host_pages(dw_kv_log *log, size_t bytes, dw_error *err)
{
    if (!dw_round_up(&bytes, bytes, dw_os_page_bytes())) {
        return too_many(log, err);
    }
    dw_region_options options = {.reserve_bytes = bytes, .label = "kv log"};
    dw_status status = dw_region_create(&log->region, &options, err);
    if (status != DW_OK) {
        return status;
    }
    return dw_device_view_create(&log->view, log->device, log->region, DW_VIEW_IN_PLACE, err);
}

static dw_status reserve_place(dw_kv_log *log, const dw_kv_log_options *options, dw_error *err)
{
    bool unified = dw_device_unified(log->device);
    size_t bytes;
    if (!dw_mul_size(&bytes, round_to_step(log->capacity), log->record_bytes)) {
        return too_many(log, err);
    }
    if (unified && !options->in_device_memory && !options->in_buffer &&
        !dw_kv_pool_takes_all(log->device)) {
        return reserve_host_pages(log, bytes, err);
    }
    if (options->in_buffer) {
        return DW_OK;
    }
    dw_status status = dw__kv_range_create(&log->range, log->device, unified, bytes,
                                           DW_KV_STEP_TOKENS * log->record_bytes, err);
    return status == DW_E_UNSUPPORTED ? DW_OK : status; /* a buffer, then */
}

dw_status dw_kv_log_create(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                           dw_error *err)
{
    DW_ASSERT(options->record_bytes > 0 && options->capacity_tokens > 0);
    DW_ASSERT(options->capacity_tokens < UINT32_MAX / 2);
    *out = NULL;
    dw_kv_log *log = dw_alloc(1, sizeof *log);
    if (log == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a kv log");
    }
    log->device = device;
    dw_count(&dw_device_counters_of(device)->contexts, 1);
    log->record_bytes = options->record_bytes;
    log->capacity = options->capacity_tokens;
    dw_status status = reserve_place(log, options, err);
    if (status != DW_OK) {
        dw_kv_log_destroy(log);
        return status;
    }
    *out = log;
    return DW_OK;
}

void dw_kv_log_destroy(dw_kv_log *log)
{
    if (log == NULL) {
        return;
    }
    count_pages(log, 0);
    dw_uncount(&dw_device_counters_of(log->device)->contexts, 1);
    dw_device_view_destroy(log->view);
    dw_region_destroy(log->region);
    dw__kv_range_destroy(log->range);
    dw_extent_file_retire(log->own, log->own_offset);
    dw_file_extents_release(&log->shared);
    dw_device_buffer_destroy(log->device, DW_USE_KV, log->buffer);
    dw_free(log);
}

uint32_t dw_kv_log_length(const dw_kv_log *log)
{
    return log->length;
}

uint32_t dw_kv_log_capacity(const dw_kv_log *log)
{
    return log->capacity;
}

uint32_t dw_kv_log_committed(const dw_kv_log *log)
{
    return log->committed;
}

size_t dw_kv_log_record_bytes(const dw_kv_log *log)
{
    return log->record_bytes;
}

bool dw_kv_log_in_host_memory(const dw_kv_log *log)
{
    return log->region != NULL;
}

void *dw_kv_log_base(const dw_kv_log *log)
{
    return log->region != NULL  ? dw_region_base(log->region)
           : log->range != NULL ? dw__kv_range_base(log->range)
                                : NULL;
}

/* ---- device memory ---- */

static dw_status grow_buffer(dw_kv_log *log, uint32_t tokens, dw_error *err)
{
    dw_status status = dw__kv_buffer_grow(&log->buffer, log->device, tokens * log->record_bytes,
                                          held_bytes(log), err);
    if (status == DW_OK) {
        log->committed = tokens;
    }
    return status;
}

/* In an address range: whole steps of what is mapped. */
static void count_committed(dw_kv_log *log)
{
    size_t records = dw__kv_range_mapped(log->range) / log->record_bytes;
    size_t limit = round_to_step(log->capacity);
    records = records < limit ? records : limit;
    log->committed = (uint32_t)(records - records % DW_KV_STEP_TOKENS);
}

/* A step begins that writes records from `first` on, or writes there again, up to `tokens`. */
static dw_status begin_step(dw_kv_log *log, uint32_t first, uint32_t tokens, dw_error *err)
{
    dw_status status = dw_device_check(log->device, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__kv_range_begin(log->range, first * log->record_bytes, tokens * log->record_bytes,
                                round_to_step(tokens) * log->record_bytes, err);
    if (status == DW_OK) {
        log->step_tokens = tokens;
    }
    count_committed(log);
    return status;
}

/* Bring `bytes` that `fill` gives into a range, behind what is held there. */
static dw_status fill_range(dw_kv_log *log, uint32_t count, dw__kv_fill fill, void *user,
                            dw_error *err)
{
    uint32_t length = log->length + count;
    dw_status status = begin_step(log, log->length, length, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__kv_range_upload(log->range, held_bytes(log), count * log->record_bytes, fill, user,
                                 err);
    log->length = status == DW_OK ? length : log->length;
    dw__kv_range_hold(log->range, held_bytes(log), true);
    return status;
}

/* ---- host pages ---- */

static size_t page_below(size_t bytes)
{
    return bytes & ~(dw_os_page_bytes() - 1);
}

/* Where the pages with `tokens` records end; creation has made sure that it is a number. */
static size_t page_end(const dw_kv_log *log, uint32_t tokens)
{
    size_t end;
    DW_ASSERT(dw_round_up(&end, tokens * log->record_bytes, dw_os_page_bytes()));
    return end;
}

static unsigned char *host_byte(const dw_kv_log *log, size_t offset)
{
    return (unsigned char *)dw_region_base(log->region) + offset;
}

static dw_status map_own(const dw_kv_log *log, const dw_extent_file *own, uint64_t own_offset,
                         size_t from, size_t end, dw_error *err)
{
    return from < end ? dw_region_map_shared(log->region, from, dw_extent_file_fd(own), own_offset,
                                             end - from, err)
                      : DW_OK;
}

/* A file of the log's own for its bytes from `start` on, with what is held there; mapped up to
 * `end`. Pieces end at `start` then. */
static dw_status renew_own(dw_kv_log *log, size_t start, size_t end, dw_error *err)
{
    DW_ASSERT(start <= dw_file_extents_end(&log->shared) && start <= end);
    size_t held = held_bytes(log);
    dw_extent_file *own = NULL;
    void *view = NULL;
    size_t copied = held > start ? page_end(log, log->length) - start : 0;
    dw_status status =
        dw_extent_file_create(&own, "kv log", dw_region_reserved_bytes(log->region) - start, err);
    if (status == DW_OK && copied > 0) {
        status = dw_extent_file_map(own, 0, copied, &view, err);
    }
    if (status == DW_OK && copied > 0) {
        memcpy(view, host_byte(log, start), held - start);
        dw_os_unmap(view, copied);
    }
    if (status == DW_OK) {
        status = map_own(log, own, 0, start, end, err);
    }
    if (status != DW_OK) {
        dw_extent_file_unref(own);
        return status;
    }
    dw_file_extents_cut(&log->shared, start);
    dw_extent_file_retire(log->own, log->own_offset);
    log->own = own;
    log->own_offset = 0;
    return DW_OK;
}

/* Make records from `first` on, at most the length, the log's own and have `committed` of them. */
static dw_status own_from(dw_kv_log *log, uint32_t first, uint32_t committed, dw_error *err)
{
    size_t start = page_below(first * log->record_bytes);
    size_t end = page_end(log, committed);
    dw_status status = dw_region_commit(log->region, end, err);
    if (status == DW_OK && (log->own == NULL || start < dw_file_extents_end(&log->shared))) {
        start =
            start < dw_file_extents_end(&log->shared) ? start : dw_file_extents_end(&log->shared);
        status = renew_own(log, start, end, err);
    } else if (status == DW_OK && committed > log->committed) {
        size_t mapped = page_end(log, log->committed);
        status =
            map_own(log, log->own, log->own_offset + (mapped - dw_file_extents_end(&log->shared)),
                    mapped, end, err);
    }
    if (status == DW_OK) {
        status = dw_device_view_follow(log->view, err);
    }
    if (status == DW_OK) {
        log->committed = committed;
        count_pages(log, dw_region_committed_bytes(log->region));
    }
    return status;
}

/* Commit what `length` records need and map the pieces, which hold all but a part of a page: that
 * is the caller's to fill. */
static dw_status map_pieces(dw_kv_log *log, uint32_t length, dw_error *err)
{
    uint32_t committed = round_to_step(length);
    size_t tail = length * log->record_bytes - dw_file_extents_end(&log->shared);
    DW_ASSERT(tail < dw_os_page_bytes());
    if (length == 0) {
        return DW_OK;
    }
    dw_status status = dw_region_commit(log->region, page_end(log, committed), err);
    if (status == DW_OK) {
        status = dw_file_extents_map(&log->shared, NULL, log->region, err);
    }
    if (status == DW_OK && tail > 0) {
        dw_os_small_pages(host_byte(log, dw_file_extents_end(&log->shared)), dw_os_page_bytes());
    }
    if (status == DW_OK) {
        status = dw_device_view_follow(log->view, err);
    }
    if (status == DW_OK) {
        log->committed = committed;
        count_pages(log, dw_region_committed_bytes(log->region));
    }
    return status;
}

/* ---- forks ---- */

static dw_status fork_pages(dw_kv_log *log, dw_kv_log *parent, dw_error *err)
{
    size_t held = held_bytes(parent);
    size_t full = page_below(held);
    dw_status status = DW_OK;
    if (full > dw_file_extents_end(
                   &parent->shared)) { /* its own full pages; they stay mapped as they are */
        DW_ASSERT(parent->own != NULL);
        size_t start = dw_file_extents_end(&parent->shared);
        dw_file_extent more = {start, full - start, parent->own, parent->own_offset};
        status = dw_file_extents_add(&parent->shared, &more, err);
        parent->own_offset += status == DW_OK ? more.bytes : 0;
    }
    if (status == DW_OK) {
        status = dw_file_extents_copy(&log->shared, &parent->shared, 0, full, err);
    }
    if (status == DW_OK) {
        status = map_pieces(log, parent->length, err);
    }
    if (status == DW_OK && held > full) {
        memcpy(host_byte(log, full), host_byte(parent, full), held - full);
    }
    return status;
}

static dw_status fork_buffer(dw_kv_log *log, const dw_kv_log *parent, dw_error *err)
{
    if (parent->length == 0) {
        return DW_OK;
    }
    dw_status status = grow_buffer(log, round_to_step(parent->length), err);
    return status == DW_OK ? dw__kv_buffer_copy(log->device, parent->buffer, log->buffer,
                                                held_bytes(parent), err)
                           : status;
}

static dw_status fork_range(dw_kv_log *log, dw_kv_log *parent, dw_error *err)
{
    dw_status status = dw__kv_range_fork(log->range, parent->range, held_bytes(parent),
                                         round_to_step(parent->length) * log->record_bytes, err);
    count_committed(log);
    return status;
}

dw_status dw_kv_log_fork(dw_kv_log **out, dw_kv_log *parent, dw_error *err)
{
    dw_kv_log *log = NULL;
    dw_kv_log_options options = {.record_bytes = parent->record_bytes,
                                 .capacity_tokens = parent->capacity,
                                 .in_device_memory = parent->range != NULL,
                                 .in_buffer = parent->region == NULL && parent->range == NULL};
    *out = NULL;
    dw_status status = dw_kv_log_create(&log, parent->device, &options, err);
    if (status == DW_OK) {
        status = parent->region != NULL  ? fork_pages(log, parent, err)
                 : parent->range != NULL ? fork_range(log, parent, err)
                                         : fork_buffer(log, parent, err);
    }
    if (status != DW_OK) {
        dw_kv_log_destroy(log);
        return status;
    }
    log->length = parent->length;
    log->saved_bytes = parent->saved_bytes;
    *out = log;
    return DW_OK;
}

/* ---- thawing ---- */

static dw_status thaw_pages(dw_kv_log *log, const dw_kv_frozen *frozen, dw_error *err)
{
    size_t held = frozen->length * log->record_bytes;
    size_t full = page_below(held);
    dw_status status =
        dw_kv_segments_adopt(frozen->segments, frozen->segment_count, full, &log->shared, err);
    if (status == DW_OK) {
        status = map_pieces(log, frozen->length, err);
    }
    return status == DW_OK && held > full
               ? dw_kv_segments_read(frozen->segments, frozen->segment_count, full,
                                     host_byte(log, full), held - full, err)
               : status;
}

static dw_status thaw_buffer(dw_kv_log *log, const dw_kv_frozen *frozen, dw_error *err)
{
    size_t held = frozen->length * log->record_bytes;
    if (frozen->length == 0) {
        return DW_OK;
    }
    unsigned char *staging = dw_alloc(1, AT_ONCE_BYTES);
    if (staging == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory for %zu bytes", AT_ONCE_BYTES);
    }
    dw_status status = grow_buffer(log, round_to_step(frozen->length), err);
    for (size_t done = 0; status == DW_OK && done < held;) {
        size_t part = held - done < AT_ONCE_BYTES ? held - done : AT_ONCE_BYTES;
        status =
            dw_kv_segments_read(frozen->segments, frozen->segment_count, done, staging, part, err);
        if (status == DW_OK) {
            status = dw__kv_buffer_write(log->device, log->buffer, done, staging, part, err);
        }
        done += part;
    }
    dw_free(staging);
    return status;
}

static dw_status fill_from_segments(void *user, uint64_t offset, size_t bytes, void *to,
                                    dw_error *err)
{
    const dw_kv_frozen *frozen = user;
    return dw_kv_segments_read(frozen->segments, frozen->segment_count, offset, to, bytes, err);
}

static dw_status thaw_range(dw_kv_log *log, const dw_kv_frozen *frozen, dw_error *err)
{
    dw_kv_frozen source = *frozen;
    return frozen->length > 0 ? fill_range(log, frozen->length, fill_from_segments, &source, err)
                              : DW_OK;
}

dw_status dw_kv_log_thaw(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                         const dw_kv_frozen *frozen, dw_error *err)
{
    dw_kv_log *log = NULL;
    size_t held;
    *out = NULL;
    if (frozen->length > options->capacity_tokens ||
        !dw_mul_size(&held, frozen->length, options->record_bytes)) {
        return dw_fail(err, DW_E_LIMIT, "kv log: %u tokens, limit %u", frozen->length,
                       options->capacity_tokens);
    }
    dw_status status = dw_kv_segments_check(frozen->segments, frozen->segment_count, held, err);
    if (status == DW_OK) {
        status = dw_kv_log_create(&log, device, options, err);
    }
    if (status == DW_OK) {
        status = log->region != NULL  ? thaw_pages(log, frozen, err)
                 : log->range != NULL ? thaw_range(log, frozen, err)
                                      : thaw_buffer(log, frozen, err);
    }
    if (status != DW_OK) {
        dw_kv_log_destroy(log);
        return status;
    }
    log->length = frozen->length;
    log->saved_bytes = held;
    *out = log;
    return DW_OK;
}

/* ---- as it grows and shrinks ---- */

dw_status dw_kv_log_reserve(dw_kv_log *log, uint32_t tokens, dw_error *err)
{
    if (tokens > log->capacity) {
        return dw_fail(err, DW_E_LIMIT, "kv log: %u tokens, limit %u", tokens, log->capacity);
    }
    if (tokens <= log->length) {
        return DW_OK;
    }
    if (log->range != NULL) {
        return begin_step(log, log->length, tokens, err);
    }
    /* Doubling: a context of n tokens grows log2(n) times, and wastes at most half. */
    uint32_t limit = round_to_step(log->capacity);
    uint32_t wanted = log->committed > 0 ? log->committed : DW_KV_STEP_TOKENS;
    while (wanted < tokens) {
        wanted = wanted > limit / 2 ? limit : wanted * 2;
    }
    if (log->region != NULL) {
        return own_from(log, log->length, wanted, err);
    }
    return wanted > log->committed ? grow_buffer(log, wanted, err) : DW_OK;
}

void dw_kv_log_extend(dw_kv_log *log, uint32_t length)
{
    DW_ASSERT(length >= log->length && length <= log->committed && length <= log->capacity);
    log->length = length;
    if (log->range != NULL) {
        dw__kv_range_hold(log->range, held_bytes(log), length >= log->step_tokens);
    }
}

static void forget_saved(dw_kv_log *log, uint32_t from)
{
    uint64_t bytes = (uint64_t)from * log->record_bytes;
    log->saved_bytes = log->saved_bytes < bytes ? log->saved_bytes : bytes;
}

void dw_kv_log_trim(dw_kv_log *log, uint32_t length)
{
    DW_ASSERT(length <= log->length);
    log->length = length;
    forget_saved(log, length);
    if (log->range != NULL) {
        dw__kv_range_trim(log->range, held_bytes(log), round_to_step(length) * log->record_bytes);
        count_committed(log);
    }
}

dw_status dw_kv_log_make_resident(dw_kv_log *log, dw_error *err)
{
    return log->range != NULL ? dw__kv_range_return(log->range, err) : DW_OK;
}

bool dw_kv_log_resident(dw_kv_log *log)
{
    return log->range == NULL || dw__kv_range_resident(log->range);
}

/* To the end of what is mapped, which may be behind the last whole record: a trim keeps the piece
 * that its end lies in, and what a step wrote there counts again when the log grows. */
static dw_status clear_range(dw_kv_log *log, size_t held, dw_error *err)
{
    dw_status status = begin_step(log, log->length, log->committed, err);
    if (status == DW_OK) {
        status = dw__kv_range_clear(log->range, held, dw__kv_range_mapped(log->range) - held, err);
        dw__kv_range_hold(log->range, held, true);
    }
    return status;
}

dw_status dw_kv_log_clear_rest(dw_kv_log *log, dw_error *err)
{
    size_t held = held_bytes(log);
    size_t rest = (size_t)(log->committed - log->length) * log->record_bytes;
    if (log->range != NULL) {
        return dw__kv_range_mapped(log->range) > held ? clear_range(log, held, err) : DW_OK;
    }
    if (rest == 0) {
        return DW_OK;
    }
    if (log->region != NULL) {
        dw_status status = own_from(log, log->length, log->committed, err);
        if (status == DW_OK) {
            memset(host_byte(log, held), 0, rest);
        }
        return status;
    }
    return dw__kv_buffer_clear(log->device, log->buffer, held, rest, err);
}

dw_status dw_kv_log_rewrite(dw_kv_log *log, uint32_t first, dw_error *err)
{
    DW_ASSERT(first <= log->length);
    if (first == log->length) {
        return DW_OK;
    }
    dw_status status = log->region != NULL  ? own_from(log, first, log->committed, err)
                       : log->range != NULL ? begin_step(log, first, log->length, err)
                                            : DW_OK;
    if (status == DW_OK) {
        forget_saved(log, first);
    }
    return status;
}

static dw_status fill_from_memory(void *user, uint64_t offset, size_t bytes, void *to,
                                  dw_error *err)
{
    (void)err;
    memcpy(to, (const unsigned char *)user + offset, bytes);
    return DW_OK;
}

dw_status dw_kv_log_append(dw_kv_log *log, const void *records, uint32_t count, dw_error *err)
{
    size_t held = held_bytes(log);
    size_t bytes = count * log->record_bytes;
    if (count > log->capacity - log->length) {
        return dw_fail(err, DW_E_LIMIT, "kv log: %u tokens behind %u, limit %u", count, log->length,
                       log->capacity);
    }
    if (count == 0) {
        return DW_OK;
    }
    if (log->range != NULL) {
        return fill_range(log, count, fill_from_memory, (void *)(uintptr_t)records, err);
    }
    dw_status status = dw_kv_log_reserve(log, log->length + count, err);
    if (status == DW_OK && log->region != NULL) {
        memcpy(host_byte(log, held), records, bytes);
    } else if (status == DW_OK) {
        status = dw__kv_buffer_write(log->device, log->buffer, held, records, bytes, err);
    }
    if (status == DW_OK) {
        log->length += count;
    }
    return status;
}

/* ---- saving ---- */

static dw_status check_part(const dw_kv_log *log, uint64_t offset, size_t bytes, dw_error *err)
{
    size_t held = held_bytes(log);
    if (offset > held || bytes > held - offset) {
        return dw_fail(err, DW_E_RANGE, "kv log: %zu bytes at %llu, it holds %zu", bytes,
                       (unsigned long long)offset, held);
    }
    return DW_OK;
}

static dw_status copy_out(void *user, uint64_t offset, const void *from, size_t bytes,
                          dw_error *err)
{
    (void)err;
    memcpy((unsigned char *)user + offset, from, bytes);
    return DW_OK;
}

dw_status dw_kv_log_read(const dw_kv_log *log, uint64_t offset, size_t bytes, void *to,
                         dw_error *err)
{
    dw_status status = check_part(log, offset, bytes, err);
    if (status != DW_OK || bytes == 0) {
        return status;
    }
    if (log->region != NULL) {
        memcpy(to, host_byte(log, (size_t)offset), bytes);
        return DW_OK;
    }
    if (log->range != NULL) {
        dw_sink sink = {.anywhere = copy_out, .user = to};
        return dw__kv_range_read(log->range, (size_t)offset, bytes, &sink, err);
    }
    return dw__kv_buffer_read(log->device, log->buffer, (size_t)offset, to, bytes, err);
}

/* In order, a part at a time: what a sink can do with any of them. */
static dw_status pass_part(const dw_sink *sink, uint64_t at, const void *from, size_t bytes,
                           dw_error *err)
{
    dw_status status = DW_OK;
    if (sink->in_order != NULL) {
        status = sink->in_order(sink->user, from, bytes, err);
    }
    return status == DW_OK && sink->anywhere != NULL
               ? sink->anywhere(sink->user, at, from, bytes, err)
               : status;
}

static dw_status stream_parts(const dw_kv_log *log, uint64_t offset, size_t bytes,
                              const dw_sink *sink, dw_error *err)
{
    unsigned char *staging = log->region == NULL ? dw_alloc(1, AT_ONCE_BYTES) : NULL;
    dw_status status = log->region == NULL && staging == NULL
                           ? dw_fail(err, DW_E_MEMORY, "kv log: no memory to read it")
                           : DW_OK;
    for (size_t done = 0; status == DW_OK && done < bytes;) {
        size_t part = bytes - done < AT_ONCE_BYTES ? bytes - done : AT_ONCE_BYTES;
        size_t at = (size_t)offset + done;
        if (log->region == NULL) {
            status = dw__kv_buffer_read(log->device, log->buffer, at, staging, part, err);
        }
        if (status == DW_OK) {
            status =
                pass_part(sink, done, staging != NULL ? staging : host_byte(log, at), part, err);
        }
        done += part;
    }
    dw_free(staging);
    return status;
}

dw_status dw_kv_log_stream(const dw_kv_log *log, uint64_t offset, size_t bytes, const dw_sink *sink,
                           dw_error *err)
{
    dw_status status = check_part(log, offset, bytes, err);
    if (status != DW_OK || bytes == 0) {
        return status;
    }
    return log->range != NULL ? dw__kv_range_read(log->range, (size_t)offset, bytes, sink, err)
                              : stream_parts(log, offset, bytes, sink, err);
}

uint64_t dw_kv_log_saved_bytes(const dw_kv_log *log)
{
    return log->saved_bytes;
}

void dw_kv_log_mark_saved(dw_kv_log *log)
{
    log->saved_bytes = held_bytes(log);
}

dw_status dw_kv_log_place(dw_kv_log *log, struct ggml_tensor *tensor, dw_error *err)
{
    DW_ASSERT(ggml_nbytes(tensor) <= (size_t)log->committed * log->record_bytes);
    if (log->region != NULL) {
        return dw_device_view_place(log->view, tensor, dw_region_base(log->region), err);
    }
    if (log->range != NULL) {
        dw_status status = dw__kv_range_return(log->range, err);
        tensor->buffer = dw__kv_range_buffer(log->range);
        tensor->data = dw__kv_range_base(log->range);
        return status;
    }
    tensor->buffer = log->buffer;
    tensor->data = ggml_backend_buffer_get_base(log->buffer);
    return DW_OK;
}
