/* Images as runs of blocks that are not zero: found for a file, and made of one. */
#include <string.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/os.h"
#include "memory/memory_image_internal.h"

/* Runs that lie closer than this are one. */
#define GAP_BLOCKS 4u

/* ---- finding ------------------------------------------------------------------------------ */

typedef struct run_list {
    dw_block_run *runs; /* [capacity] */
    size_t count;
    size_t capacity;
} run_list;

static dw_status note_run(run_list *list, size_t from, size_t to, dw_error *err)
{
    uint32_t first = (uint32_t)(from / DW_IMAGE_BLOCK_BYTES);
    uint32_t end = (uint32_t)(to / DW_IMAGE_BLOCK_BYTES);
    dw_block_run *last = list->count > 0 ? &list->runs[list->count - 1] : NULL;
    if (last != NULL && first - (last->first + last->count) <= GAP_BLOCKS) {
        last->count = end - last->first;
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(list->runs, list->capacity, list->count + 1, UINT32_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory to list %zu runs of blocks", list->count + 1);
    }
    list->runs[list->count++] = (dw_block_run){first, end - first};
    return DW_OK;
}

/* Read [from, to) and note what is not zero. */
static dw_status note_read(run_list *list, const dw_memory_image *image, size_t from, size_t to,
                           unsigned char *piece, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t at = from; at < to && status == DW_OK; at += DW__IMAGE_READ_BYTES) {
        size_t some = to - at < DW__IMAGE_READ_BYTES ? to - at : DW__IMAGE_READ_BYTES;
        status = dw_memory_image_read(image, at, some, piece, err);
        for (size_t i = 0; i < some && status == DW_OK; i += DW_IMAGE_BLOCK_BYTES) {
            if (!dw__image_is_zero(piece + i, DW_IMAGE_BLOCK_BYTES)) {
                status = note_run(list, at + i, at + i + DW_IMAGE_BLOCK_BYTES, err);
            }
        }
    }
    return status;
}

dw_status dw_memory_image_runs(const dw_memory_image *image, dw_block_run **runs, size_t *count,
                               dw_error *err)
{
    run_list list = {0};
    size_t start = 0;
    size_t end = 0;
    bool whole = false;
    *runs = NULL;
    *count = 0;
    unsigned char *piece = dw_alloc(1, DW__IMAGE_READ_BYTES);
    dw_status status = piece != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for pages");
    while (status == DW_OK &&
           dw_file_extents_next_data(&image->extents, end, &start, &end, &whole)) {
        DW_ASSERT(start % DW_IMAGE_BLOCK_BYTES == 0 && end % DW_IMAGE_BLOCK_BYTES == 0);
        status = whole ? note_run(&list, start, end, err)
                       : note_read(&list, image, start, end, piece, err);
    }
    dw_free(piece);
    if (status != DW_OK) {
        dw_free(list.runs);
        return status;
    }
    *runs = list.runs;
    *count = list.count;
    return DW_OK;
}

/* ---- making ------------------------------------------------------------------------------- */

static bool is_mappable(const dw_block_run *run, uint64_t offset)
{
    uint64_t start = (uint64_t)run->first * DW_IMAGE_BLOCK_BYTES;
    uint64_t bytes = (uint64_t)run->count * DW_IMAGE_BLOCK_BYTES;
    return ((start | bytes | offset) & (dw_os_page_bytes() - 1)) == 0;
}

/* Choose those that are mapped: of too many, the ones of at least so many blocks. */
static void choose(const dw_block_runs *runs)
{
    size_t count = SIZE_MAX;
    for (uint64_t least = 1; count > DW__IMAGE_EXTENTS_MAX; least *= 2) {
        uint64_t at = runs->offset;
        count = 0;
        for (size_t i = 0; i < runs->count; i++) {
            runs->mapped[i] = runs->list[i].count >= least && is_mappable(&runs->list[i], at);
            count += runs->mapped[i];
            at += (uint64_t)runs->list[i].count * DW_IMAGE_BLOCK_BYTES;
        }
    }
}

static dw_status add_runs(dw_memory_image *image, dw_extent_file *file, const dw_block_runs *runs,
                          dw_error *err)
{
    uint64_t offset = runs->offset;
    dw_status status = DW_OK;
    for (size_t i = 0; i < runs->count && status == DW_OK; i++) {
        const dw_block_run *run = &runs->list[i];
        dw_file_extent extent = {.start = (size_t)run->first * DW_IMAGE_BLOCK_BYTES,
                                 .bytes = (size_t)run->count * DW_IMAGE_BLOCK_BYTES,
                                 .file = file,
                                 .file_offset = offset};
        DW_ASSERT(extent.start <= image->bytes && extent.bytes <= image->bytes - extent.start);
        offset += extent.bytes;
        if (runs->mapped[i]) {
            status = dw_file_extents_add(&image->extents, &extent, err);
        }
    }
    return status;
}

dw_status dw_memory_image_of_runs(dw_memory_image **out, int fd, size_t bytes,
                                  const dw_block_runs *runs, dw_error *err)
{
    *out = NULL;
    uint64_t data_bytes = 0;
    for (size_t i = 0; i < runs->count; i++) {
        data_bytes += (uint64_t)runs->list[i].count * DW_IMAGE_BLOCK_BYTES;
    }
    dw_status status = dw__image_check_source(fd, runs->offset, data_bytes, err);
    if (status != DW_OK) {
        return status;
    }
    choose(runs);
    dw_memory_image *image = dw__memory_image_create(bytes, err);
    if (image == NULL) {
        return DW_E_MEMORY;
    }
    dw_extent_file *file;
    status = dw_extent_file_open(&file, fd, err);
    if (status == DW_OK) {
        status = add_runs(image, file, runs, err);
        dw_extent_file_unref(file);
    }
    if (status != DW_OK) {
        dw_memory_image_unref(image);
        return status;
    }
    *out = image;
    return DW_OK;
}
