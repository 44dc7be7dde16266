/* The runs of blocks of an image that are not zero. */
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
