/* The text of every token at once, in the order of its bytes: what a grammar walks. Immutable once
 * made. Thread: any. */
#ifndef DW_TEXT_VOCAB_PIECES_H
#define DW_TEXT_VOCAB_PIECES_H

#include "base/status.h"

typedef struct dw_vocab_pieces {
    uint32_t count;        /* of tokens */
    uint32_t longest;      /* bytes */
    char *bytes;           /* the pieces, one behind the other */
    uint32_t *starts;      /* [count + 1]: into bytes */
    uint32_t *order;       /* [count]: tokens by their bytes */
    unsigned char *is_end; /* [count]: whether a generation ends there */
} dw_vocab_pieces;

/* The piece of one token into text [capacity] -> its bytes, or less than 0: so many are needed. */
typedef int32_t (*dw_piece_fn)(const void *user, int32_t token, char *text, int32_t capacity);

/* Errors: DW_E_MEMORY, DW_E_LIMIT (pieces of more than 4 GiB in all). */
dw_status dw_vocab_pieces_make(dw_vocab_pieces *out, uint32_t count, dw_piece_fn piece,
                               const void *user, dw_error *err);
void dw_vocab_pieces_release(dw_vocab_pieces *pieces);

#endif
