#include "snapshot/snapshot_pieces.h"

#include <string.h>

#include "base/array.h"

/* The first piece that begins before `at`: they descend. */
static size_t first_below(const dw__pieces *pieces, uint64_t at)
{
    size_t low = 0;
    size_t high = pieces->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pieces->list[middle].from >= at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* [from, end) of the part, which nothing holds, becomes the piece `at`. */
static dw_status insert(dw__pieces *pieces, size_t at, const dw__piece *part, uint64_t from,
                        uint64_t end, dw_error *err)
{
    if (from >= end) {
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(pieces->list, pieces->capacity, pieces->count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu parts of a log", pieces->count + 1);
    }
    dw__piece *place = &pieces->list[at];
    memmove(place + 1, place, (pieces->count - at) * sizeof *place);
    *place = (dw__piece){.from = from,
                         .end = end,
                         .offset = part->offset + (from - part->from) * pieces->unit,
                         .file = part->file};
    pieces->count++;
    pieces->held += end - from;
    return DW_OK;
}

dw_status dw__pieces_add(dw__pieces *pieces, const dw__piece *part, dw_error *err)
{
    uint64_t end = part->end < pieces->limit ? part->end : pieces->limit;
    size_t i = first_below(pieces, end);
    while (end > part->from && i < pieces->count && pieces->list[i].end > part->from) {
        size_t before = pieces->count;
        dw_status status = insert(pieces, i, part, pieces->list[i].end, end, err);
        if (status != DW_OK) {
            return status;
        }
        i += pieces->count - before;
        end = pieces->list[i].from;
        i++;
    }
    return insert(pieces, i, part, part->from, end, err);
}

uint64_t dw__pieces_missing(const dw__pieces *pieces)
{
    uint64_t end = 0;
    for (size_t i = pieces->count; i > 0 && pieces->list[i - 1].from == end; i--) {
        end = pieces->list[i - 1].end;
    }
    return end;
}

void dw__pieces_release(dw__pieces *pieces)
{
    dw_free(pieces->list);
    pieces->list = NULL;
    pieces->count = pieces->capacity = 0;
}
