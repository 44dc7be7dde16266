#include "text/vocab_pieces.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

typedef struct sorted_piece {
    const char *bytes;
    uint32_t length;
    uint32_t token;
} sorted_piece;

static int by_bytes(const void *a, const void *b)
{
    const sorted_piece *x = a;
    const sorted_piece *y = b;
    size_t common = x->length < y->length ? x->length : y->length;
    int difference = memcmp(x->bytes, y->bytes, common);
    return difference != 0          ? difference
           : x->length != y->length ? (x->length > y->length) - (x->length < y->length)
                                    : (x->token > y->token) - (x->token < y->token);
}

static dw_status sort_pieces(dw_vocab_pieces *pieces, dw_error *err)
{
    sorted_piece *list = dw_alloc(pieces->count, sizeof *list);
    if (list == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to sort %u tokens", pieces->count);
    }
    for (uint32_t i = 0; i < pieces->count; i++) {
        uint32_t length = pieces->starts[i + 1] - pieces->starts[i];
        list[i] = (sorted_piece){pieces->bytes + pieces->starts[i], length, i};
        pieces->longest = length > pieces->longest ? length : pieces->longest;
    }
    qsort(list, pieces->count, sizeof *list, by_bytes);
    for (uint32_t i = 0; i < pieces->count; i++) {
        pieces->order[i] = list[i].token;
    }
    dw_free(list);
    return DW_OK;
}

static dw_status gather(dw_vocab_pieces *pieces, dw_piece_fn piece, const void *user, dw_error *err)
{
    size_t capacity = (size_t)pieces->count * 8 + 64;
    size_t used = 0;
    pieces->bytes = dw_alloc(capacity, 1);
    for (uint32_t i = 0; pieces->bytes != NULL && i < pieces->count;) {
        int32_t room = capacity - used > INT32_MAX ? INT32_MAX : (int32_t)(capacity - used);
        int32_t bytes = piece(user, (int32_t)i, pieces->bytes + used, room);
        if (bytes < 0) {
            capacity = capacity * 2 + (size_t) - (int64_t)bytes;
            char *larger = dw_realloc(pieces->bytes, capacity, 1);
            if (larger == NULL) {
                break;
            }
            pieces->bytes = larger;
            continue;
        }
        used += (size_t)bytes;
        if (used > UINT32_MAX) {
            return dw_fail(err, DW_E_LIMIT, "tokens: more than %u bytes of text", UINT32_MAX);
        }
        pieces->starts[++i] = (uint32_t)used;
    }
    if (pieces->bytes == NULL || (pieces->count > 0 && pieces->starts[pieces->count] != used)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the text of %u tokens", pieces->count);
    }
    return sort_pieces(pieces, err);
}

dw_status dw_vocab_pieces_make(dw_vocab_pieces *out, uint32_t count, dw_piece_fn piece,
                               const void *user, dw_error *err)
{
    *out = (dw_vocab_pieces){
        .count = count,
        .starts = dw_alloc((size_t)count + 1, sizeof *out->starts),
        .order = dw_alloc(count, sizeof *out->order),
        .is_end = dw_alloc(count, 1),
    };
    dw_status status =
        out->starts != NULL && out->order != NULL && out->is_end != NULL
            ? gather(out, piece, user, err)
            : dw_fail(err, DW_E_MEMORY, "no memory for the text of %u tokens", count);
    if (status != DW_OK) {
        dw_vocab_pieces_release(out);
    }
    return status;
}

void dw_vocab_pieces_release(dw_vocab_pieces *pieces)
{
    dw_free(pieces->bytes);
    dw_free(pieces->starts);
    dw_free(pieces->order);
    dw_free(pieces->is_end);
    *pieces = (dw_vocab_pieces){.count = 0};
}
