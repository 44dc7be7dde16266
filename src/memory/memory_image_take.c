/* Taking an image of a region: which pages were written, and what becomes of them. */
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "memory/memory_image_internal.h"

/* What becomes of a page in the image that is taken. */
enum page_flag {
    PAGE_KEPT = 0, /* as in the base */
    PAGE_WRITTEN,  /* written anew, or a hole if it is zero */
    PAGE_ZERO,     /* a hole between written pages, so that they need one mapping */
};

bool dw__memory_image_compares;

/* ---- what was written ---- */

/* By bytes, where the system does not tell. */
static dw_status compare_pages(const dw_region *region, const dw_memory_image *base,
                               unsigned char *flags, dw_error *err)
{
    size_t page = dw_os_page_bytes();
    size_t committed = dw_region_committed_bytes(region);
    const unsigned char *memory = dw_region_base(region);
    size_t known = base != NULL ? base->bytes : 0;
    unsigned char *was = dw_alloc(1, DW__IMAGE_READ_BYTES);
    dw_status status = was != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for pages");
    for (size_t at = 0; at < committed && status == DW_OK; at += DW__IMAGE_READ_BYTES) {
        size_t some = committed - at < DW__IMAGE_READ_BYTES ? committed - at : DW__IMAGE_READ_BYTES;
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
        if (flags[i] && is_hole(base, i * page) && dw__image_is_zero(memory + i * page, page)) {
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
        for (size_t gap = last + 1; any && i - last <= DW__IMAGE_GAP_PAGES && gap < i; gap++) {
            flags[gap] = 1;
            marked++;
        }
        any = true;
        last = i;
        marked++;
    }
    return marked;
}

/* Whether the page at `index` is stored, and not left a hole. */
static bool is_stored(const dw_region *region, const unsigned char *flags, size_t index)
{
    size_t page = dw_os_page_bytes();
    const unsigned char *memory = dw_region_base(region);
    return flags[index] == PAGE_WRITTEN && !dw__image_is_zero(memory + index * page, page);
}

/* Runs of marked pages that lie more than `gap` unmarked ones apart. */
static size_t count_runs(const unsigned char *flags, size_t count, size_t gap)
{
    size_t runs = 0;
    size_t end = 0; /* of the last one */
    for (size_t i = 0; i < count; i++) {
        if (flags[i] != PAGE_KEPT) {
            runs += runs == 0 || i - end > gap;
            end = i + 1;
        }
    }
    return runs;
}

/* Mark what `base` has as well, so that the image is of one file again. Pages that neither has were
 * never written, and are not looked at. Where runs are many, those are joined by holes that lie
 * closest together. -> how many pages are marked */
static size_t mark_all(const dw_region *region, const dw_memory_image *base, unsigned char *flags)
{
    size_t page = dw_os_page_bytes();
    size_t count = dw_region_committed_bytes(region) / page;
    size_t start = 0;
    size_t end = 0;
    size_t marked = 0;
    bool whole;
    while (base != NULL && dw_file_extents_next_data(&base->extents, end, &start, &end, &whole)) {
        memset(flags + start / page, PAGE_WRITTEN, (end - start) / page);
    }
    for (size_t i = 0; i < count; i++) {
        flags[i] = is_stored(region, flags, i) ? PAGE_WRITTEN : PAGE_KEPT;
    }
    size_t gap = DW__IMAGE_GAP_PAGES;
    while (count_runs(flags, count, gap) > DW__IMAGE_EXTENTS_MAX / 2) {
        gap *= 2;
    }
    bool any = false;
    for (size_t i = 0, last = 0; i < count; i++) {
        if (flags[i] == PAGE_WRITTEN) {
            marked++;
            if (any && i - last - 1 <= gap) {
                memset(flags + last + 1, PAGE_ZERO, i - last - 1);
            }
            any = true;
            last = i;
        }
    }
    return marked;
}

/* ---- the image of it ---- */

/* Pages [from, to) of the region go to the file at `offset`; zero ones become holes. */
static dw_status write_run(const dw_region *region, const unsigned char *flags, size_t from,
                           size_t to, const dw_file_extent *at, dw_error *err)
{
    size_t page = dw_os_page_bytes();
    const unsigned char *memory = dw_region_base(region);
    dw_status status = DW_OK;
    for (size_t i = from, end = from; i < to && status == DW_OK; i = end) {
        bool stored = is_stored(region, flags, i);
        for (end = i + 1; end < to && is_stored(region, flags, end) == stored;) {
            end++;
        }
        if (stored) {
            status =
                dw_os_write_at(dw_extent_file_fd(at->file), at->file_offset + (i - from) * page,
                               memory + i * page, (end - i) * page, err);
        }
    }
    return status;
}

/* The image's extents: runs of marked pages lie in `file`, one behind the other, others are as in
 * `base`. */
static dw_status lay_out(dw_memory_image *image, const dw_memory_image *base,
                         const unsigned char *flags, dw_extent_file *file, dw_error *err)
{
    static const dw_file_extents none;
    size_t page = dw_os_page_bytes();
    size_t count = image->bytes / page;
    uint64_t offset = 0;
    size_t end = 0;
    dw_file_extents_cut(&image->extents, 0);
    for (size_t i = 0; i < count; i = end) {
        dw_file_extent run = {.start = i * page, .file = file, .file_offset = offset};
        bool marked = flags[i] != PAGE_KEPT;
        for (end = i + 1; end < count && (flags[end] != PAGE_KEPT) == marked;) {
            end++;
        }
        run.bytes = (end - i) * page;
        offset += marked ? run.bytes : 0;
        dw_status status =
            marked ? dw_file_extents_add(&image->extents, &run, err)
                   : dw_file_extents_copy(&image->extents, base != NULL ? &base->extents : &none,
                                          run.start, end * page, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* Marked pages go to `file`, where the extents say. */
static dw_status fill(const dw_memory_image *image, const dw_region *region,
                      const unsigned char *flags, const dw_extent_file *file, dw_error *err)
{
    size_t page = dw_os_page_bytes();
    uint64_t bytes = 0;
    for (size_t i = 0; i < image->extents.count; i++) {
        const dw_file_extent *extent = &image->extents.list[i];
        bytes += extent->file == file ? extent->bytes : 0;
    }
    dw_status status = dw_os_memfd_resize(dw_extent_file_fd(file), bytes, err);
    for (size_t i = 0; i < image->extents.count && status == DW_OK; i++) {
        const dw_file_extent *extent = &image->extents.list[i];
        if (extent->file == file) {
            status = write_run(region, flags, extent->start / page,
                               (extent->start + extent->bytes) / page, extent, err);
        }
    }
    return status;
}

/* Compose the image of marked pages and `base`, and let the region map it. */
static dw_status take_marked(dw_memory_image **out, dw_region *region, const dw_memory_image *base,
                             unsigned char *flags, size_t *marked, dw_error *err)
{
    dw_extent_file *file = NULL;
    bool anew = false;
    dw_memory_image *image = dw__memory_image_create(dw_region_committed_bytes(region), err);
    if (image == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status = dw_extent_file_create(&file, "memory image", 0, err);
    if (status != DW_OK) {
        goto out;
    }
    status = lay_out(image, base, flags, file, err);
    if (status == DW_OK &&
        image->extents.count > dw__image_extents_max(image->bytes / dw_os_page_bytes())) {
        anew = true;
        *marked = mark_all(region, base, flags);
        status = lay_out(image, NULL, flags, file, err);
    }
    if (status != DW_OK) {
        goto out;
    }
    status = fill(image, region, flags, file, err);
    if (status != DW_OK) {
        goto out;
    }
    /* Over the region's own pages, which are then shared ones. */
    status = anew ? dw_memory_image_map(image, region, err)
                  : dw_file_extents_map(&image->extents, file, region, err);
    if (status == DW_OK) {
        *out = image;
        image = NULL;
    }
out:
    dw_extent_file_unref(file);
    dw_memory_image_unref(image);
    return status;
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
        status = take_marked(out, region, base, flags, &marked, err);
    }
    if (status == DW_OK && written_bytes != NULL) {
        *written_bytes = marked * page;
    }
    dw_free(flags);
    return status;
}
