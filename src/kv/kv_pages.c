/* A log in host pages: a region, over which the device has a view.
 *
 *   [0, end of `shared`)   extents of files that nobody writes to: what was forked or thawed
 *   [end of `shared`, ..)  the log's own memory file, from own_offset on, mapped shared, so that a
 *                          fork can make extents of it; before the first append anonymous pages
 *                          with less than a page of records
 *
 * A record that is about to be written must not lie in an extent: own_from comes before.
 *
 * Attention reads a piece of each record, and each record lies in pages of its own: a long log has
 * more of them than the processor's tables. So where the system can, a log's memory file is in huge
 * pages as it fills: a byte lies as far in its huge page as in the file's.
 *
 * What is held counts with the device by pages: a memory file's up to where steps have reached,
 * however many logs have extents of it, and a page that is no file's. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "device/device_view.h"
#include "kv/kv_backing.h"
#include "kv/kv_limit.h"

#define HUGE_AHEAD 3u /* full huge pages before one is made that is not: a quarter may be empty */

typedef struct kv_pages {
    dw__kv_backing backing;
    dw_region *region;
    dw_device_view *view;
    dw_file_extents shared; /* from byte 0 on, without gaps, whole pages */
    dw_extent_file *own;    /* NULL: none yet */
    uint64_t own_offset;
    size_t huge_bytes;  /* of a huge page; 0: none are made */
    size_t huge_end;    /* the log's bytes up to here are in huge pages as far as they can be */
    size_t loose_bytes; /* of pages that are no file's, counted with the device */
    /* Records that can be written as it is: so it is for most steps, which touch nothing else. */
    uint32_t ready_from;
    uint32_t ready_end;
} kv_pages;

static kv_pages *pages_of(dw__kv_backing *backing)
{
    return (kv_pages *)(void *)backing;
}

static size_t shared_bytes(const kv_pages *pages)
{
    return dw_file_extents_end(&pages->shared);
}

static size_t page_below(size_t bytes)
{
    return bytes & ~(dw_os_page_bytes() - 1);
}

static size_t bytes_of(const kv_pages *pages, uint32_t records)
{
    return records * pages->backing.record_bytes;
}

/* Where the pages with `records` end; the log has made sure that it is a number. */
static size_t page_end(const kv_pages *pages, uint32_t records)
{
    size_t end;
    DW_ASSERT(dw_round_up(&end, bytes_of(pages, records), dw_os_page_bytes()));
    return end;
}

static unsigned char *host_byte(const kv_pages *pages, size_t offset)
{
    return (unsigned char *)dw_region_base(pages->region) + offset;
}

static void check(const kv_pages *pages)
{
    DW_ASSERT(shared_bytes(pages) % dw_os_page_bytes() == 0);
    DW_ASSERT(page_end(pages, pages->backing.committed) <=
              dw_region_committed_bytes(pages->region));
    DW_ASSERT(shared_bytes(pages) <= page_end(pages, pages->backing.committed));
}

static dw_meter *meter_of(const kv_pages *pages)
{
    return &dw_device_counters_of(pages->backing.device)->host_kv;
}

static void give_loose(kv_pages *pages)
{
    dw_meter_give(meter_of(pages), pages->loose_bytes);
    pages->loose_bytes = 0;
}

/* `committed` records are mapped: have the view follow. */
static dw_status commit_records(kv_pages *pages, uint32_t committed, dw_error *err)
{
    dw_status status = dw_device_view_follow(pages->view, err);
    if (status != DW_OK) {
        return status;
    }
    pages->backing.committed = committed;
    check(pages);
    return DW_OK;
}

/* ---- life ---- */

static void destroy(dw__kv_backing *backing)
{
    kv_pages *pages = pages_of(backing);
    give_loose(pages);
    dw_device_view_destroy(pages->view);
    dw_region_destroy(pages->region);
    dw_extent_file_retire(pages->own, pages->own_offset);
    dw_file_extents_release(&pages->shared);
    dw_free(pages);
}

static dw_status create(dw__kv_backing **out, const dw__kv_backing_options *options, dw_error *err)
{
    kv_pages *pages = dw__kv_backing_alloc(sizeof *pages, &dw__kv_pages_ops, options, err);
    if (pages == NULL) {
        return DW_E_MEMORY;
    }
    dw_region_options region = {.reserve_bytes = page_end(pages, options->records_max),
                                .label = "kv log"};
    const size_t huge = dw_os_huge_page_bytes();
    if (huge > 0 && region.reserve_bytes >= huge &&
        dw_round_up(&region.reserve_bytes, region.reserve_bytes, huge)) {
        pages->huge_bytes = huge;
        region.align_bytes = huge;
    }
    dw_status status = dw_region_create(&pages->region, &region, err);
    if (status == DW_OK) {
        status = dw_device_view_create(&pages->view, options->device, pages->region,
                                       DW_VIEW_IN_PLACE, err);
    }
    if (status != DW_OK) {
        destroy(&pages->backing);
        return status;
    }
    *out = &pages->backing;
    return DW_OK;
}

/* ---- a file of the log's own ---- */

static dw_status map_own(const kv_pages *pages, const dw_extent_file *own, uint64_t own_offset,
                         size_t from, size_t end, dw_error *err)
{
    return from < end ? dw_region_map_shared(pages->region, from, dw_extent_file_fd(own),
                                             own_offset, end - from, err)
                      : DW_OK;
}

/* Copy [start, end) of the log to `offset` of a file. */
static dw_status copy_to_file(const kv_pages *pages, size_t start, size_t end,
                              const dw_extent_file *file, size_t offset, dw_error *err)
{
    if (end <= start) {
        return DW_OK;
    }
    size_t bytes;
    void *view;
    DW_ASSERT(dw_round_up(&bytes, end - start, dw_os_page_bytes()));
    dw_status status = dw_extent_file_map(file, offset, bytes, &view, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(view, host_byte(pages, start), end - start);
    dw_os_unmap(view, bytes);
    return DW_OK;
}

/* How far a log's pages are to go. */
typedef struct reach {
    size_t held; /* bytes that are there */
    size_t end;  /* of pages that are mapped */
    size_t used; /* of those that are about to be used; the others come when they are */
} reach;

/* A new file for bytes from `start` on, a page, with those that are there. Extents end at `start`
 * then. */
static dw_status renew_own(kv_pages *pages, size_t start, const reach *to, dw_error *err)
{
    DW_ASSERT(start <= shared_bytes(pages) && start <= to->used && to->held <= to->end);
    dw_extent_file *own;
    dw_device *device = pages->backing.device;
    const size_t offset = pages->huge_bytes > 0 ? start % pages->huge_bytes : 0;
    const size_t most = offset + dw_region_reserved_bytes(pages->region) - start;
    dw_status status = dw__kv_memory_create(&own, device, most, offset, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__kv_memory_hold(own, device, offset + to->used - start, err);
    if (status == DW_OK) {
        status = copy_to_file(pages, start, to->held, own, offset, err);
    }
    if (status == DW_OK) {
        status = map_own(pages, own, offset, start, to->end, err);
    }
    if (status != DW_OK) {
        dw_extent_file_unref(own);
        return status;
    }
    dw_file_extents_cut(&pages->shared, start);
    dw_extent_file_retire(pages->own, pages->own_offset);
    pages->own = own;
    pages->own_offset = offset;
    pages->huge_end = start;
    give_loose(pages);
    return DW_OK;
}

/* Have the file that there is go as far. */
static dw_status extend_own(kv_pages *pages, const reach *to, dw_error *err)
{
    size_t shared = shared_bytes(pages);
    size_t mapped = page_end(pages, pages->backing.committed);
    uint64_t held = dw_extent_file_held(pages->own);
    uint64_t wanted = pages->own_offset + (to->used > shared ? to->used - shared : 0);
    if (wanted > held) {
        dw_status status = dw__kv_memory_hold(pages->own, pages->backing.device, wanted, err);
        if (status != DW_OK) {
            return status;
        }
    }
    dw_status status =
        map_own(pages, pages->own, pages->own_offset + (mapped - shared), mapped, to->end, err);
    if (status != DW_OK && wanted > held) {
        (void)dw_extent_file_set_held(pages->own, held);
    }
    return status;
}

/* Make records from `first` on the log's own and have `committed` of them, those before `used` to
 * be used. */
static dw_status own_from(kv_pages *pages, uint32_t first, uint32_t length, uint32_t used,
                          uint32_t committed, dw_error *err)
{
    size_t shared = shared_bytes(pages);
    size_t start = page_below(bytes_of(pages, first));
    reach to = {.held = bytes_of(pages, length),
                .end = page_end(pages, committed),
                .used = page_end(pages, dw__kv_whole_steps(used))};
    dw_status status = dw_region_commit(pages->region, to.end, err);
    pages->ready_end = 0;
    if (status != DW_OK) {
        return status;
    }
    if (pages->own == NULL || start < shared) {
        status = renew_own(pages, start < shared ? start : shared, &to, err);
    } else {
        status = extend_own(pages, &to, err);
    }
    status = status == DW_OK ? commit_records(pages, committed, err) : status;
    if (status == DW_OK) {
        size_t record_bytes = pages->backing.record_bytes;
        pages->ready_from = (uint32_t)((shared_bytes(pages) + record_bytes - 1) / record_bytes);
        pages->ready_end = dw__kv_whole_steps(used);
    }
    return status;
}

/* Up to where a log that is about to have `end` records is in huge pages: those that are full then,
 * and in a log that has some of them already the one that it is about to fill. */
static size_t huge_target(const kv_pages *pages, uint32_t end)
{
    const size_t bytes = bytes_of(pages, end);
    const size_t full = bytes - bytes % pages->huge_bytes;
    const size_t counted = bytes_of(pages, pages->ready_end); /* as held, whether touched or not */
    const bool ahead = full >= HUGE_AHEAD * pages->huge_bytes && full < bytes &&
                       counted >= full + pages->huge_bytes;
    return ahead ? full + pages->huge_bytes : full;
}

/* Huge pages for the log's own bytes. Where nothing was written yet, each is made of one small
 * page: that takes less time than the small ones, which would come one by one. */
static void make_huge(kv_pages *pages, uint32_t length, uint32_t end)
{
    const size_t target = pages->huge_bytes > 0 ? huge_target(pages, end) : 0;
    if (target <= pages->huge_end) {
        return;
    }
    size_t from = pages->huge_end > shared_bytes(pages) ? pages->huge_end : shared_bytes(pages);
    from = (from + pages->huge_bytes - 1) / pages->huge_bytes * pages->huge_bytes;
    pages->huge_end = target;
    for (size_t at = from; at < target; at += pages->huge_bytes) {
        if (at >= page_end(pages, length)) {
            *host_byte(pages, at) = 0;
        }
    }
    if (from < target) {
        dw_os_huge_pages(host_byte(pages, from), target - from);
    }
}

static dw_status begin(dw__kv_backing *backing, uint32_t first, uint32_t length, uint32_t end,
                       dw_error *err)
{
    kv_pages *pages = pages_of(backing);
    dw_status status = DW_OK;
    if (first < pages->ready_from || end > pages->ready_end) {
        status = own_from(pages, first, length, end > length ? end : length,
                          dw__kv_doubled(backing, end), err);
    }
    if (status == DW_OK) {
        make_huge(pages, length, end);
    }
    return status;
}

static dw_status clear_rest(dw__kv_backing *backing, uint32_t length, dw_error *err)
{
    kv_pages *pages = pages_of(backing);
    size_t rest = bytes_of(pages, backing->committed - length);
    if (rest == 0) {
        return DW_OK;
    }
    dw_status status = own_from(pages, length, length, backing->committed, backing->committed, err);
    if (status != DW_OK) {
        return status;
    }
    memset(host_byte(pages, bytes_of(pages, length)), 0, rest);
    return DW_OK;
}

/* ---- forks and frozen logs ---- */

/* Commit what `length` records need and map the extents, which hold all but a part of a page: that
 * is the caller's to fill. */
static dw_status map_shared(kv_pages *pages, uint32_t length, dw_error *err)
{
    uint32_t committed = dw__kv_whole_steps(length);
    size_t tail = bytes_of(pages, length) - shared_bytes(pages);
    size_t loose = tail > 0 ? dw_os_page_bytes() : 0;
    DW_ASSERT(tail < dw_os_page_bytes() && pages->loose_bytes == 0);
    if (length == 0) {
        return DW_OK;
    }
    dw_status status = dw__kv_take(meter_of(pages), pages->backing.device, loose, err);
    if (status != DW_OK) {
        return status;
    }
    pages->loose_bytes = loose;
    status = dw_region_commit(pages->region, page_end(pages, committed), err);
    if (status == DW_OK) {
        status = dw_file_extents_map(&pages->shared, NULL, pages->region, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (tail > 0) {
        dw_os_small_pages(host_byte(pages, shared_bytes(pages)), dw_os_page_bytes());
    }
    return commit_records(pages, committed, err);
}

/* Make extents of the own file's full pages, up to `full`; they stay mapped as they are. */
static dw_status share_own(kv_pages *pages, size_t full, dw_error *err)
{
    size_t shared = shared_bytes(pages);
    if (full <= shared) {
        return DW_OK;
    }
    DW_ASSERT(pages->own != NULL);
    pages->ready_end = 0;
    dw_file_extent more = {.start = shared,
                           .bytes = full - shared,
                           .file = pages->own,
                           .file_offset = pages->own_offset};
    dw_status status = dw_file_extents_add(&pages->shared, &more, err);
    if (status != DW_OK) {
        return status;
    }
    pages->own_offset += more.bytes;
    return DW_OK;
}

static dw_status fork_pages(dw__kv_backing *empty, dw__kv_backing *from, uint32_t length,
                            dw_error *err)
{
    kv_pages *pages = pages_of(empty);
    kv_pages *parent = pages_of(from);
    size_t held = bytes_of(parent, length);
    size_t full = page_below(held);
    dw_status status = share_own(parent, full, err);
    if (status == DW_OK) {
        status = dw_file_extents_copy(&pages->shared, &parent->shared, 0, full, err);
    }
    if (status == DW_OK) {
        status = map_shared(pages, length, err);
    }
    if (status != DW_OK || held == full) {
        return status;
    }
    memcpy(host_byte(pages, full), host_byte(parent, full), held - full);
    return DW_OK;
}

/* The same pages of the same files, not those of its own in a copy of them. */
static dw_status begin_like(dw__kv_backing *empty, const dw__kv_backing *like, uint64_t bytes,
                            uint64_t *taken, dw_error *err)
{
    kv_pages *pages = pages_of(empty);
    const kv_pages *from = (const kv_pages *)(const void *)like;
    size_t all = shared_bytes(from);
    size_t wanted = bytes < all ? page_below((size_t)bytes) : all;
    dw_status status = dw_file_extents_copy(&pages->shared, &from->shared, 0, wanted, err);
    *taken = shared_bytes(pages);
    return status;
}

static dw_status thaw(dw__kv_backing *empty, const dw_kv_frozen *frozen, dw_error *err)
{
    kv_pages *pages = pages_of(empty);
    size_t held = bytes_of(pages, frozen->length);
    size_t full = page_below(held);
    dw_status status = dw_kv_segments_adopt(frozen, full, empty->device, &pages->shared, err);
    if (status == DW_OK) {
        status = map_shared(pages, frozen->length, err);
    }
    return status == DW_OK && held > full
               ? dw_kv_segments_read(frozen->segments, frozen->segment_count, full,
                                     host_byte(pages, full), held - full, err)
               : status;
}

/* ---- bytes ---- */

static dw_status write_bytes(dw__kv_backing *backing, size_t offset, const void *from, size_t bytes,
                             dw_error *err)
{
    (void)err;
    DW_ASSERT(offset >= shared_bytes(pages_of(backing)));
    memcpy(host_byte(pages_of(backing), offset), from, bytes);
    return DW_OK;
}

static dw_status read_bytes(dw__kv_backing *backing, size_t offset, size_t bytes,
                            const dw_sink *sink, dw_error *err)
{
    return dw__kv_pass(sink, 0, host_byte(pages_of(backing), offset), bytes, err);
}

static void *address(const dw__kv_backing *backing)
{
    return dw_region_base(((const kv_pages *)(const void *)backing)->region);
}

static dw_status place(dw__kv_backing *backing, struct ggml_tensor *tensor, dw_error *err)
{
    kv_pages *pages = pages_of(backing);
    return dw_device_view_place(pages->view, tensor, dw_region_base(pages->region), err);
}

static dw_status check_files(const dw__kv_backing *backing, dw_error *err)
{
    const kv_pages *pages = (const kv_pages *)(const void *)backing;
    return dw_file_extents_check(&pages->shared, pages->region, err);
}

static size_t forked_bytes(const dw__kv_backing *backing)
{
    return shared_bytes((const kv_pages *)(const void *)backing);
}

const dw__kv_backing_ops dw__kv_pages_ops = {
    .in_host_pages = true,
    .create = create,
    .destroy = destroy,
    .fork = fork_pages,
    .begin_like = begin_like,
    .thaw = thaw,
    .begin = begin,
    .shared_bytes = forked_bytes,
    .clear_rest = clear_rest,
    .write = write_bytes,
    .read = read_bytes,
    .address = address,
    .place = place,
    .check_files = check_files,
};
