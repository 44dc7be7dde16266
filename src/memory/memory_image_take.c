/* Taking an image of a region: which pages were written, and what becomes of them. */
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "memory/memory_image_internal.h"

/* Each extent is a mapping of its own, of which a process has some 65,000. */
#define EXTENTS_MAX 64
/* Runs of written pages that lie closer than this are one: a page copied too many is cheaper than
 * a mapping more. */
#define GAP_PAGES 4
#define READ_BYTES ((size_t)64 << 10)

bool dw__memory_image_compares;

/* ---- what was written ---- */

static bool is_zero(const unsigned char *bytes, size_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

/* By bytes, where the system does not tell. */
static dw_status compare_pages(const dw_region *region, const dw_memory_image *base,
                               unsigned char *flags, dw_error *err)
{
    size_t page = dw_os_page_bytes();
    size_t committed = dw_region_committed_bytes(region);
    const unsigned char *memory = dw_region_base(region);
    size_t known = base != NULL ? base->bytes : 0;
    unsigned char *was = dw_alloc(1, READ_BYTES);
    dw_status status = was != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for pages");
    for (size_t at = 0; at < committed && status == DW_OK; at += READ_BYTES) {
        size_t some = committed - at < READ_BYTES ? committed - at : READ_BYTES;
        size_t old = at >= known ? 0 : known - at < some ? known - at : some;
        memset(was, 0, some);
        if (old > 0) {
            status = dw_memory_image_read(base, at, old, was, err);
        }
        for (size_t i = 0; i < some && status == DW_OK; i += page) {
            flags[(at + i) / page] = memcmp(memory + at + i, was + i, page) != 0;
        }
    }
    dw_free(was);
    return status;
}

/* Whether no extent of `base` has the page at `offset`. */
static bool is_hole(const dw_memory_image *base, size_t offset)
{
    if (base == NULL) {
        return true;
    }
    size_t i = dw_file_extents_find(&base->extents, offset);
    return i == base->extents.count || base->extents.list[i].start > offset;
}

/* flags[page]: it was written since `base`. */
static dw_status find_written(const dw_region *region, const dw_memory_image *base,
                              unsigned char *flags, dw_error *err)
{
    size_t page = dw_os_page_bytes();
    size_t committed = dw_region_committed_bytes(region);
    const unsigned char *memory = dw_region_base(region);
    dw_status status = dw__memory_image_compares
                           ? DW_E_UNSUPPORTED
                           : dw_os_private_pages(memory, committed, flags, err);
    if (status != DW_OK) {
        return compare_pages(region, base, flags, err);
    }
    /* A page that was only read may have got the system's page of zeros. */
    for (size_t i = 0; i < committed / page; i++) {
        if (flags[i] && is_hole(base, i * page) && is_zero(memory + i * page, page)) {
            flags[i] = 0;
        }
    }
    return DW_OK;
}

/* Close gaps of a few pages between runs; -> how many pages are marked. */
static size_t join_runs(unsigned char *flags, size_t count)
{
    size_t marked = 0;
    size_t last = 0;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (!flags[i]) {
            continue;
        }
        for (size_t gap = last + 1; any && i - last <= GAP_PAGES && gap < i; gap++) {
            flags[gap] = 1;
            marked++;
        }
        any = true;
        last = i;
        marked++;
    }
    return marked;
}

/* Mark every page that is not zero, so that the image is one piece again. */
static size_t mark_all(const dw_region *region, unsigned char *flags)
{
    size_t page = dw_os_page_bytes();
    size_t count = dw_region_committed_bytes(region) / page;
    const unsigned char *memory = dw_region_base(region);
    for (size_t i = 0; i < count; i++) {
        flags[i] = flags[i] || !is_zero(memory + i * page, page);
    }
    /* Runs apart by many zero pages may be many too: then zeros are written as well. */
    size_t runs = 0;
    for (size_t i = 0; i < count; i++) {
        runs += flags[i] && (i == 0 || !flags[i - 1]);
    }
    if (runs > EXTENTS_MAX / 2) {
        memset(flags, 1, count);
    }
    return join_runs(flags, count);
}

/* ---- the image of it ---- */

/* Marked pages are written to `file`, one behind the other, others are as in `base`. */
static dw_status compose(dw_memory_image *image, const dw_region *region,
                         const dw_memory_image *base, const unsigned char *flags,
                         dw_extent_file *file, dw_error *err)
{
    static const dw_file_extents none;
    size_t page = dw_os_page_bytes();
    size_t count = image->bytes / page;
    const unsigned char *memory = dw_region_base(region);
    uint64_t written = 0;
    size_t end = 0;
    for (size_t i = 0; i < count; i = end) {
        dw_file_extent run = {.start = i * page, .file = file, .file_offset = written};
        for (end = i + 1; end < count && flags[end] == flags[i];) {
            end++;
        }
        run.bytes = (end - i) * page;
        dw_status status;
        if (!flags[i]) {
            status = dw_file_extents_copy(&image->extents, base != NULL ? &base->extents : &none,
                                          run.start, end * page, err);
        } else {
            status = dw_os_write_at(dw_extent_file_fd(file), written, memory + run.start, run.bytes,
                                    err);
            if (status == DW_OK) {
                status = dw_file_extents_add(&image->extents, &run, err);
            }
            written += run.bytes;
        }
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

static dw_status take_marked(dw_memory_image **out, dw_region *region, dw_memory_image *base,
                             unsigned char *flags, size_t marked, dw_error *err)
{
    dw_extent_file *file;
    dw_status status =
        dw_extent_file_create(&file, "memory image", marked * dw_os_page_bytes(), err);
    if (status != DW_OK) {
        return status;
    }
    dw_memory_image *image = dw__memory_image_create(dw_region_committed_bytes(region), err);
    status = image != NULL ? compose(image, region, base, flags, file, err) : DW_E_MEMORY;
    if (status == DW_OK) { /* over the region's own pages, which are then shared ones */
        status = dw_file_extents_map(&image->extents, file, region, err);
    }
    dw_extent_file_unref(file);
    if (status != DW_OK) {
        dw_memory_image_unref(image);
        return status;
    }
    *out = image;
    return DW_OK;
}

dw_status dw_memory_image_take(dw_memory_image **out, dw_region *region, dw_memory_image *base,
                               size_t *written_bytes, dw_error *err)
{
    *out = NULL;
    size_t page = dw_os_page_bytes();
    size_t committed = dw_region_committed_bytes(region);
    size_t count = committed / page;
    if (dw_region_pinned(region)) {
        return dw_fail(err, DW_E_STATE, "image: a device is at work in the memory");
    }
    unsigned char *flags = dw_alloc(count + 1, 1);
    if (flags == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to note %zu pages", count);
    }
    dw_status status = find_written(region, base, flags, err);
    size_t marked = status == DW_OK ? join_runs(flags, count) : 0;
    if (status == DW_OK && marked == 0 && base != NULL && base->bytes == committed) {
        *out = dw_memory_image_ref(base);
    } else if (status == DW_OK) {
        status = take_marked(out, region, base, flags, marked, err);
        if (status == DW_OK && (*out)->extents.count > EXTENTS_MAX) {
            dw_memory_image *many = *out;
            marked = mark_all(region, flags);
            status = take_marked(out, region, many, flags, marked, err);
            dw_memory_image_unref(many);
        }
    }
    if (status == DW_OK && written_bytes != NULL) {
        *written_bytes = marked * page;
    }
    dw_free(flags);
    return status;
}
