/* A snapshot file that is read, for snapshot_header.c (what stands before the data) and, above it,
 * snapshot_open.c (the file, its bytes, checksums). */
#ifndef DW_SNAPSHOT_SNAPSHOT_READER_INTERNAL_H
#define DW_SNAPSHOT_SNAPSHOT_READER_INTERNAL_H

#include <jansson.h>
#include <stdatomic.h>

#include "snapshot/snapshot_file_internal.h"

typedef struct dw__snapshot_filler {
    uint64_t offset; /* from the file's start */
    uint64_t bytes;
} dw__snapshot_filler;

/* An open file, of one snapshot or of several that are in it. */
typedef struct dw__snapshot_shared {
    _Atomic size_t users;
    int fd;
    uint64_t bytes;
} dw__snapshot_shared;

/* What a snapshot's header says: read once, then the same for all that have it. */
typedef struct dw__snapshot_head {
    _Atomic size_t users;
    uint64_t bytes;      /* of the snapshot */
    size_t header_bytes; /* with the 8 of its length: where data begins */
    bool close;          /* version 3: nothing is aligned but by fillers of any length */
    json_t *metadata;
    char identity[DW_SNAPSHOT_IDENTITY];
    dw_snapshot_entry *entries; /* in the file's order */
    size_t entry_count;
    const dw_snapshot_entry **by_name;
    dw__snapshot_filler *fillers;
    size_t filler_count;
} dw__snapshot_head;

struct dw_snapshot_file {
    dw__snapshot_shared *shared; /* counted; its descriptor is: */
    int fd;
    char *path;
    uint64_t begin; /* of the file: where this snapshot does */
    uint64_t bytes;
    const dw_series_contents *series; /* NULL: it is one snapshot */
    char *header;                     /* while it is read */
    dw__snapshot_head *head;          /* counted */
};

/* "byte N: ..."; the caller puts the path before it. */
dw_status dw__snapshot_fail_at(dw_error *err, dw_status code, uint64_t byte, const char *format,
                               ...) DW_PRINTF(4, 5);
/* Bytes [offset, offset + bytes) of the file. Errors: DW_E_IO (also: cut since it was opened). */
dw_status dw__snapshot_read_at(const dw_snapshot_file *file, uint64_t offset, size_t bytes,
                               void *to, dw_error *err);
dw__snapshot_head *dw__snapshot_head_ref(dw__snapshot_head *head);
void dw__snapshot_head_unref(dw__snapshot_head *head);
/* Fill in file->head, which has the header's length, from file->header: check the format, the seal
 * and every tensor's place. Errors: DW_E_FORMAT, DW_E_UNSUPPORTED, DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw__snapshot_read_header(dw_snapshot_file *file, dw_error *err);
/* snapshot_series.c: the open file, of the index's last snapshot, whose header was read, is all
 * that this is of. Errors: DW_E_FORMAT (it is shorter, or another than the last), DW_E_LIMIT,
 * DW_E_MEMORY. */
dw_status dw__snapshot_take_series(dw_snapshot_file *file, const dw_series_index *index,
                                   dw_error *err);
/* Fill in head->by_name [entry_count]. */
void dw__snapshot_sort_names(dw__snapshot_head *head);

#endif
