#include "memory/memory_image.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"

/* Each extent is a mapping of its own, of which a process has some 65,000. */
#define EXTENTS_MAX 64
/* Runs of written pages that lie closer than this are one: a page copied too many is cheaper than
 * a mapping more. */
#define GAP_PAGES 4
#define READ_BYTES ((size_t)64 << 10)

/* An open file that several images use. */
typedef struct image_file {
    _Atomic size_t references;
    int fd;
} image_file;

typedef struct extent {
    size_t start; /* in the image */
    size_t bytes;
    image_file *file; /* counted */
    uint64_t offset;  /* in the file */
} extent;

struct dw_memory_image {
    _Atomic size_t references;
    size_t bytes;
    extent *extents; /* [count], ascending, apart from each other */
    size_t count;
    size_t capacity;
};

bool dw__memory_image_compares;

/* ---- files and extents ------------------------------------------------------------------ */

static void file_unref(image_file *file)
{
    if (file != NULL && atomic_fetch_sub(&file->references, 1) == 1) {
        dw_os_close(file->fd);
        dw_free(file);
    }
}

/* Takes `fd`, also on failure. */
static image_file *file_create(int fd, dw_error *err)
{
    image_file *file = dw_alloc(1, sizeof *file);
    if (file == NULL) {
        dw_os_close(fd);
        (void)dw_fail(err, DW_E_MEMORY, "no memory for an image's file");
        return NULL;
    }
    file->references = 1;
    file->fd = fd;
    return file;
}

static dw_memory_image *image_create(size_t bytes, dw_error *err)
{
    dw_memory_image *image = dw_alloc(1, sizeof *image);
    if (image == NULL) {
        (void)dw_fail(err, DW_E_MEMORY, "no memory for an image");
        return NULL;
    }
    image->references = 1;
    image->bytes = bytes;
    return image;
}

/* Behind the last; `file` is counted once more. */
static dw_status add_extent(dw_memory_image *image, extent added, dw_error *err)
{
    extent *last = image->count > 0 ? &image->extents[image->count - 1] : NULL;
    if (last != NULL && last->file == added.file && last->start + last->bytes == added.start &&
        last->offset + last->bytes == added.offset) {
        last->bytes += added.bytes;
        return DW_OK;
    }
    if (image->count == image->capacity) {
        size_t capacity = image->capacity == 0 ? 4 : image->capacity * 2;
        extent *grown = dw_realloc(image->extents, capacity, sizeof *grown);
        if (grown == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for %zu extents of an image", capacity);
        }
        image->extents = grown;
        image->capacity = capacity;
    }
    atomic_fetch_add(&added.file->references, 1);
    image->extents[image->count++] = added;
    return DW_OK;
}

dw_memory_image *dw_memory_image_ref(dw_memory_image *image)
{
    atomic_fetch_add(&image->references, 1);
    return image;
}

void dw_memory_image_unref(dw_memory_image *image)
{
    if (image == NULL || atomic_fetch_sub(&image->references, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < image->count; i++) {
        file_unref(image->extents[i].file);
    }
    dw_free(image->extents);
    dw_free(image);
}

size_t dw_memory_image_bytes(const dw_memory_image *image)
{
    return image->bytes;
}

size_t dw_memory_image_extent_count(const dw_memory_image *image)
{
    return image->count;
}

dw_status dw_memory_image_of_file(dw_memory_image **out, int fd, uint64_t offset, size_t bytes,
                                  dw_error *err)
{
    *out = NULL;
    uint64_t end;
    if (bytes % 65536 != 0 || !dw_add_u64(&end, offset, bytes) || end > INT64_MAX) {
        return dw_fail(err, DW_E_ARG, "image: %zu bytes at %llu: no whole pages of WebAssembly",
                       bytes, (unsigned long long)offset);
    }
    uint64_t there = 0;
    dw_status status = dw_os_file_bytes(fd, &there, err);
    if (status == DW_OK && there < end) {
        /* A mapping beyond a file's end would be a signal at the first touch. */
        status = dw_fail(err, DW_E_IO, "image: %zu bytes at %llu, the file has %llu", bytes,
                         (unsigned long long)offset, (unsigned long long)there);
    }
    int own = -1;
    if (status == DW_OK) {
        status = dw_os_duplicate(&own, fd, err);
    }
    if (status != DW_OK) {
        return status;
    }
    image_file *file = file_create(own, err);
    dw_memory_image *image = file != NULL ? image_create(bytes, err) : NULL;
    status = image == NULL ? DW_E_MEMORY : DW_OK;
    if (status == DW_OK && bytes > 0) {
        extent whole = {.start = 0, .bytes = bytes, .file = file, .offset = offset};
        status = add_extent(image, whole, err);
    }
    file_unref(file);
    if (status != DW_OK) {
        dw_memory_image_unref(image);
        return status;
    }
    *out = image;
    return DW_OK;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* The first extent that ends behind `offset`; `count` if there is none. */
static size_t find_extent(const dw_memory_image *image, size_t offset)
{
    size_t low = 0;
    size_t high = image->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const extent *here = &image->extents[middle];
        if (here->start + here->bytes <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

dw_status dw_memory_image_read(const dw_memory_image *image, size_t offset, size_t bytes, void *to,
                               dw_error *err)
{
    DW_ASSERT(offset <= image->bytes && bytes <= image->bytes - offset);
    unsigned char *next = to;
    size_t i = find_extent(image, offset);
    while (bytes > 0) {
        const extent *here = i < image->count ? &image->extents[i] : NULL;
        size_t some = bytes;
        if (here == NULL || here->start > offset) {
            if (here != NULL && here->start - offset < some) {
                some = here->start - offset;
            }
            memset(next, 0, some);
        } else {
            size_t into = offset - here->start;
            some = here->bytes - into < some ? here->bytes - into : some;
            dw_status status = dw_os_read_at(here->file->fd, here->offset + into, next, some, err);
            if (status != DW_OK) {
                return status;
            }
            i++;
        }
        next += some;
        offset += some;
        bytes -= some;
    }
    return DW_OK;
}

static dw_status map_extent(const extent *here, dw_region *region, dw_error *err)
{
    if (here->offset % dw_os_page_bytes() == 0) {
        return dw_region_map_file(region, here->start, here->file->fd, here->offset, here->bytes,
                                  err);
    }
    return dw_os_read_at(here->file->fd, here->offset,
                         (unsigned char *)dw_region_base(region) + here->start, here->bytes, err);
}

static dw_status clear(dw_region *region, size_t from, size_t to, dw_error *err)
{
    return to > from ? dw_region_clear(region, from, to - from, err) : DW_OK;
}

dw_status dw_memory_image_map(const dw_memory_image *image, dw_region *region, dw_error *err)
{
    size_t committed = dw_region_committed_bytes(region);
    if (image->bytes > committed) {
        return dw_fail(err, DW_E_RANGE, "image: %zu bytes, the memory has %zu", image->bytes,
                       committed);
    }
    size_t done = 0;
    dw_status status = DW_OK;
    for (size_t i = 0; i < image->count && status == DW_OK; i++) {
        const extent *here = &image->extents[i];
        status = clear(region, done, here->start, err);
        if (status == DW_OK) {
            status = map_extent(here, region, err);
        }
        done = here->start + here->bytes;
    }
    return status == DW_OK ? clear(region, done, committed, err) : status;
}

/* ---- taking ----------------------------------------------------------------------------- */

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
        bool hole = base == NULL || i * page >= base->bytes ||
                    find_extent(base, i * page) == base->count ||
                    base->extents[find_extent(base, i * page)].start > i * page;
        if (flags[i] && hole && is_zero(memory + i * page, page)) {
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

/* What `base` has of [from, to), into `image`. */
static dw_status keep_extents(dw_memory_image *image, const dw_memory_image *base, size_t from,
                              size_t to, dw_error *err)
{
    dw_status status = DW_OK;
    size_t i = base != NULL ? find_extent(base, from) : 0;
    for (; base != NULL && i < base->count && status == DW_OK; i++) {
        extent part = base->extents[i];
        size_t end = part.start + part.bytes < to ? part.start + part.bytes : to;
        size_t start = part.start > from ? part.start : from;
        if (part.start >= to) {
            break;
        }
        part.offset += start - part.start;
        part.start = start;
        part.bytes = end - start;
        status = add_extent(image, part, err);
    }
    return status;
}

/* An image of `region`: marked pages are written to `file`, one behind the other, others are as in
 * `base`. */
static dw_status compose(dw_memory_image *image, const dw_region *region,
                         const dw_memory_image *base, const unsigned char *flags, image_file *file,
                         dw_error *err)
{
    size_t page = dw_os_page_bytes();
    size_t count = image->bytes / page;
    const unsigned char *memory = dw_region_base(region);
    uint64_t written = 0;
    dw_status status = DW_OK;
    for (size_t i = 0; i < count && status == DW_OK;) {
        size_t end = i;
        while (end < count && flags[end] == flags[i]) {
            end++;
        }
        if (!flags[i]) {
            status = keep_extents(image, base, i * page, end * page, err);
        } else {
            extent run = {i * page, (end - i) * page, file, written};
            status = dw_os_write_at(file->fd, written, memory + run.start, run.bytes, err);
            if (status == DW_OK) {
                status = add_extent(image, run, err);
            }
            written += run.bytes;
        }
        i = end;
    }
    return status;
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

/* The new extents over the region's own pages, which are then shared ones. */
static dw_status map_new(const dw_memory_image *image, dw_region *region, const image_file *file,
                         dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < image->count && status == DW_OK; i++) {
        if (image->extents[i].file == file) {
            status = map_extent(&image->extents[i], region, err);
        }
    }
    return status;
}

static dw_status take_marked(dw_memory_image **out, dw_region *region, dw_memory_image *base,
                             unsigned char *flags, size_t marked, dw_error *err)
{
    size_t committed = dw_region_committed_bytes(region);
    int fd = -1;
    dw_memory_image *image = NULL;
    image_file *file = NULL;
    dw_status status = dw_os_memfd(&fd, "memory image", marked * dw_os_page_bytes(), err);
    if (status == DW_OK) {
        file = file_create(fd, err);
        image = file != NULL ? image_create(committed, err) : NULL;
        status = image != NULL ? compose(image, region, base, flags, file, err) : DW_E_MEMORY;
    }
    if (status == DW_OK) {
        status = map_new(image, region, file, err);
    }
    file_unref(file);
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
        if (status == DW_OK && (*out)->count > EXTENTS_MAX) {
            dw_memory_image *pieces = *out;
            marked = mark_all(region, flags);
            status = take_marked(out, region, pieces, flags, marked, err);
            dw_memory_image_unref(pieces);
        }
    }
    if (status == DW_OK && written_bytes != NULL) {
        *written_bytes = marked * page;
    }
    dw_free(flags);
    return status;
}

/* ---- differences ------------------------------------------------------------------------ */

/* Both show the same bytes of the same file at `offset`, or both nothing; `*until`: up to where
 * that answer holds. */
static bool same_source(const dw_memory_image *image, const dw_memory_image *base, size_t offset,
                        size_t *until)
{
    const dw_memory_image *both[2] = {image, base};
    const extent *at[2] = {NULL, NULL};
    *until = image->bytes;
    for (int k = 0; k < 2; k++) {
        size_t i = both[k] != NULL ? find_extent(both[k], offset) : 0;
        if (both[k] == NULL || i == both[k]->count) {
            continue;
        }
        const extent *here = &both[k]->extents[i];
        at[k] = here->start <= offset ? here : NULL;
        size_t edge = at[k] != NULL ? here->start + here->bytes : here->start;
        *until = edge < *until ? edge : *until;
    }
    if (at[0] == NULL || at[1] == NULL) {
        return at[0] == at[1];
    }
    return at[0]->file == at[1]->file &&
           at[0]->offset + (offset - at[0]->start) == at[1]->offset + (offset - at[1]->start);
}

typedef struct change_list {
    uint32_t *blocks; /* [count] */
    size_t count;
    size_t capacity;
} change_list;

static dw_status note_block(change_list *list, size_t block, dw_error *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        uint32_t *grown = dw_realloc(list->blocks, capacity, sizeof *grown);
        if (grown == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory to list %zu blocks", capacity);
        }
        list->blocks = grown;
        list->capacity = capacity;
    }
    list->blocks[list->count++] = (uint32_t)block;
    return DW_OK;
}

/* Compare [from, to), in which the sources differ. */
static dw_status compare_blocks(const dw_memory_image *image, const dw_memory_image *base,
                                size_t from, size_t to, change_list *list, dw_error *err)
{
    unsigned char now[DW_IMAGE_BLOCK_BYTES];
    unsigned char was[DW_IMAGE_BLOCK_BYTES];
    dw_status status = DW_OK;
    for (size_t at = from; at < to && status == DW_OK; at += DW_IMAGE_BLOCK_BYTES) {
        memset(was, 0, sizeof was);
        status = dw_memory_image_read(image, at, sizeof now, now, err);
        if (status == DW_OK && base != NULL && at < base->bytes) {
            status = dw_memory_image_read(base, at, sizeof was, was, err);
        }
        if (status == DW_OK && memcmp(now, was, sizeof now) != 0) {
            status = note_block(list, at / DW_IMAGE_BLOCK_BYTES, err);
        }
    }
    return status;
}

dw_status dw_memory_image_changes(const dw_memory_image *image, const dw_memory_image *base,
                                  uint32_t **blocks, size_t *count, dw_error *err)
{
    change_list list = {0};
    dw_status status = DW_OK;
    *blocks = NULL;
    *count = 0;
    for (size_t at = 0; at < image->bytes && status == DW_OK;) {
        size_t until;
        if (!same_source(image, base, at, &until)) {
            status = compare_blocks(image, base, at, until, &list, err);
        }
        at = until;
    }
    if (status != DW_OK) {
        dw_free(list.blocks);
        return status;
    }
    *blocks = list.blocks;
    *count = list.count;
    return DW_OK;
}
