#include "memory/memory_image.h"

#include <string.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/os.h"
#include "memory/memory_image_internal.h"

dw_memory_image *dw__memory_image_create(size_t bytes, dw_error *err)
{
    dw_memory_image *image = dw_alloc(1, sizeof *image);
    if (image == NULL) {
        (void)dw_fail(err, DW_E_MEMORY, "no memory for an image");
        return NULL;
    }
    atomic_init(&image->references, 1);
    image->bytes = bytes;
    return image;
}

dw_memory_image *dw_memory_image_ref(dw_memory_image *image)
{
    DW_ASSERT(atomic_fetch_add(&image->references, 1) > 0);
    return image;
}

void dw_memory_image_unref(dw_memory_image *image)
{
    if (image == NULL || atomic_fetch_sub(&image->references, 1) > 1) {
        return;
    }
    dw_file_extents_release(&image->extents);
    dw_free(image);
}

bool dw__image_is_zero(const unsigned char *bytes, size_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

size_t dw_memory_image_bytes(const dw_memory_image *image)
{
    return image->bytes;
}

size_t dw_memory_image_extent_count(const dw_memory_image *image)
{
    return image->extents.count;
}

dw_status dw__image_check_source(int fd, uint64_t offset, uint64_t bytes, dw_error *err)
{
    uint64_t end;
    if (!dw_add_u64(&end, offset, bytes) || end > INT64_MAX) {
        return dw_fail(err, DW_E_ARG, "image: %llu bytes at %llu: no range of a file",
                       (unsigned long long)bytes, (unsigned long long)offset);
    }
    uint64_t there = 0;
    dw_status status = dw_os_file_bytes(fd, &there, err);
    if (status != DW_OK) {
        return status;
    }
    return there >= end ? DW_OK
                        : dw_fail(err, DW_E_IO, "image: %llu bytes at %llu, the file has %llu",
                                  (unsigned long long)bytes, (unsigned long long)offset,
                                  (unsigned long long)there);
}

dw_status dw_memory_image_read(const dw_memory_image *image, size_t offset, size_t bytes, void *to,
                               dw_error *err)
{
    DW_ASSERT(offset <= image->bytes && bytes <= image->bytes - offset);
    return dw_file_extents_read(&image->extents, offset, bytes, to, err);
}

dw_status dw_memory_image_check(const dw_memory_image *image, const dw_region *region,
                                dw_error *err)
{
    return dw_file_extents_check(&image->extents, region, err);
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
    DW_ASSERT(dw_file_extents_end(&image->extents) <= image->bytes);
    size_t done = 0;
    for (size_t i = 0; i < image->extents.count; i++) {
        const dw_file_extent *extent = &image->extents.list[i];
        dw_status status = clear(region, done, extent->start, err);
        if (status != DW_OK) {
            return status;
        }
        done = extent->start + extent->bytes;
    }
    dw_status status = clear(region, done, committed, err);
    return status == DW_OK ? dw_file_extents_map(&image->extents, NULL, region, err) : status;
}

/* ---- differences ---- */

/* Both show the same bytes of the same file at `offset`, or both nothing; `*until`: up to where
 * that answer holds. */
static bool same_source(const dw_memory_image *image, const dw_memory_image *base, size_t offset,
                        size_t *until)
{
    const dw_memory_image *both[2] = {image, base};
    const dw_file_extent *at[2] = {NULL, NULL};
    *until = image->bytes;
    for (int k = 0; k < 2; k++) {
        size_t i = both[k] != NULL ? dw_file_extents_find(&both[k]->extents, offset) : 0;
        if (both[k] == NULL || i == both[k]->extents.count) {
            continue;
        }
        const dw_file_extent *here = &both[k]->extents.list[i];
        at[k] = here->start <= offset ? here : NULL;
        size_t edge = at[k] != NULL ? here->start + here->bytes : here->start;
        *until = edge < *until ? edge : *until;
    }
    if (at[0] == NULL || at[1] == NULL) {
        return at[0] == at[1];
    }
    return at[0]->file == at[1]->file && at[0]->file_offset + (offset - at[0]->start) ==
                                             at[1]->file_offset + (offset - at[1]->start);
}

typedef struct change_list {
    const dw_memory_image *image;
    const dw_memory_image *base;
    unsigned char *pieces; /* room for a piece of each */
    uint32_t *blocks;      /* [capacity] */
    size_t count;
    size_t capacity;
} change_list;

static dw_status note_block(change_list *list, size_t block, dw_error *err)
{
    if (!DW_ARRAY_RESERVE(list->blocks, list->capacity, list->count + 1, UINT32_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory to list %zu blocks", list->count + 1);
    }
    list->blocks[list->count++] = (uint32_t)block;
    return DW_OK;
}

/* Compare [from, to), in which the sources differ. */
static dw_status compare_blocks(change_list *list, size_t from, size_t to, dw_error *err)
{
    const dw_memory_image *base = list->base;
    unsigned char *now = list->pieces;
    unsigned char *was = list->pieces + DW__IMAGE_READ_BYTES;
    dw_status status = DW_OK;
    for (size_t at = from; at < to && status == DW_OK; at += DW__IMAGE_READ_BYTES) {
        size_t some = to - at < DW__IMAGE_READ_BYTES ? to - at : DW__IMAGE_READ_BYTES;
        size_t known = base == NULL || at >= base->bytes ? 0 : base->bytes - at;
        known = known < some ? known : some;
        memset(was, 0, DW__IMAGE_READ_BYTES);
        status = dw_memory_image_read(list->image, at, some, now, err);
        if (status == DW_OK && known > 0) {
            status = dw_memory_image_read(base, at, known, was, err);
        }
        for (size_t i = 0; i < some && status == DW_OK; i += DW_IMAGE_BLOCK_BYTES) {
            if (memcmp(now + i, was + i, DW_IMAGE_BLOCK_BYTES) != 0) {
                status = note_block(list, (at + i) / DW_IMAGE_BLOCK_BYTES, err);
            }
        }
    }
    return status;
}

dw_status dw_memory_image_changes(const dw_memory_image *image, const dw_memory_image *base,
                                  uint32_t **blocks, size_t *count, dw_error *err)
{
    change_list list = {.image = image, .base = base};
    *blocks = NULL;
    *count = 0;
    list.pieces = dw_alloc(2, DW__IMAGE_READ_BYTES);
    dw_status status =
        list.pieces != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for pages");
    for (size_t at = 0; at < image->bytes && status == DW_OK;) {
        size_t until;
        if (!same_source(image, base, at, &until)) {
            status = compare_blocks(&list, at, until, err);
        }
        at = until;
    }
    dw_free(list.pieces);
    if (status != DW_OK) {
        dw_free(list.blocks);
        return status;
    }
    *blocks = list.blocks;
    *count = list.count;
    return DW_OK;
}
