/* Which file of a chain has which part of a log, or of a context's tokens: the newest that has it.
 * Parts are taken from the newest file to the first; what is held already is not taken again.
 * Thread: one at a time. */
#ifndef DW_SNAPSHOT_SNAPSHOT_PIECES_H
#define DW_SNAPSHOT_SNAPSHOT_PIECES_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* [from, end), whose first is in the file at `offset`. */
typedef struct dw__piece {
    uint64_t from;
    uint64_t end;
    uint64_t offset;
    uint32_t file; /* its place in the chain */
} dw__piece;

/* All zero but `limit`: none. */
typedef struct dw__pieces {
    uint64_t limit;  /* what lies beyond is not taken */
    uint64_t held;   /* of [0, limit) */
    uint64_t unit;   /* bytes in the file of one */
    dw__piece *list; /* [count], apart, the last part first */
    size_t count;
    size_t capacity;
} dw__pieces;

/* Take what no newer file has. Errors: DW_E_MEMORY. */
dw_status dw__pieces_add(dw__pieces *pieces, const dw__piece *part, dw_error *err);
/* The first of [0, limit) that is in none; `limit`: all are. */
uint64_t dw__pieces_missing(const dw__pieces *pieces);
void dw__pieces_release(dw__pieces *pieces);

#endif
