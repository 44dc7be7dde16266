/* What snapshots of a series hold, taken together: of each block, byte of a log and token the
 * newest that has it, and where in the file. It is a list of places, not of what is there; whoever
 * has it need not read the headers of these snapshots. docs/snapshot.md has its bytes.
 *
 * What an index says is checked against itself when it is read, and against the file when that is
 * opened (snapshot_series.c).
 * Thread: one that is made never changes, and may be shared. */
#ifndef DW_SNAPSHOT_SERIES_INDEX_H
#define DW_SNAPSHOT_SERIES_INDEX_H

#include "driftwood.h"
#include "snapshot/snapshot_pieces.h"

/* Where in the series one of the snapshots is. */
typedef struct dw_series_place {
    uint64_t begin;
    uint64_t bytes;
} dw_series_place;

/* Blocks of a memory, side by side there and in the file. */
typedef struct dw_series_run {
    uint32_t first;
    uint32_t count;
    uint64_t offset; /* in the file, of the first */
} dw_series_run;

typedef struct dw_series_memory {
    uint32_t number;
    uint32_t count;
    dw_series_run *runs; /* [count], ascending, apart */
} dw_series_memory;

/* Keys and values of a context, in bytes of its log, or its tokens. */
typedef struct dw_series_log {
    int32_t handle;
    bool tokens;
    uint32_t count;
    dw__piece *pieces; /* [count], apart, the last part first; `file` has no meaning */
} dw_series_log;

/* All of these are counted: dw_series_index (driftwood.h). */
typedef struct dw_series_contents {
    char module[65];
    char *settings;          /* the newest; NULL: none has any */
    dw_series_place *places; /* [place_count], the first first */
    size_t place_count;
    dw_series_memory *memories; /* [memory_count] */
    size_t memory_count;
    dw_series_log *logs; /* [log_count] */
    size_t log_count;
} dw_series_contents;

/* Of the snapshots at `paths` [count], deltas of one series, the first first; each is the one of
 * `identities` [count].
 * Errors: DW_E_IO, DW_E_FORMAT (also: another snapshot, of another version or module),
 * DW_E_MEMORY. */
dw_status dw_series_index_create(dw_series_index **out, const char *const *paths,
                                 const char *const *identities, size_t count, dw_error *err);
/* Of `bytes` [count], copied. Errors: DW_E_FORMAT (damaged), DW_E_MEMORY. */
dw_status dw_series_index_read(dw_series_index **out, const void *bytes, size_t count,
                               dw_error *err);
dw_series_index *dw_series_index_ref(dw_series_index *index);
void dw_series_index_unref(dw_series_index *index); /* NULL is fine */
/* As it is kept; borrowed. */
const void *dw_series_index_bytes(const dw_series_index *index, size_t *count);
const dw_series_contents *dw_series_index_contents(const dw_series_index *index);

#endif
