/* What the three files of the writer share: snapshot_writer.c (what is to be written),
 * snapshot_layout.c (where it goes, and the header), snapshot_output.c (writing it). */
#ifndef DW_SNAPSHOT_SNAPSHOT_WRITER_INTERNAL_H
#define DW_SNAPSHOT_SNAPSHOT_WRITER_INTERNAL_H

#include "snapshot/snapshot_file_internal.h"

typedef struct dw__snapshot_pair {
    char *key;
    char *value;
} dw__snapshot_pair;

typedef struct dw__snapshot_item {
    dw_snapshot_tensor tensor; /* its name and dtype are ours; NULL source: zeros */
    char name[DW_SNAPSHOT_NAME_BYTES_MAX + 1];
    char dtype[4];
    uint64_t bytes;
    void *copy; /* what the tensor's bytes are, freed with it; NULL: they are others' */
} dw__snapshot_item;

struct dw_snapshot_writer {
    dw__snapshot_pair *pairs;
    size_t pair_count;
    dw__snapshot_item *items;
    size_t item_count;
    size_t item_capacity;
    uint64_t file_bytes;     /* of the last write */
    uint64_t written_bytes;  /* of these */
    dw_snapshot_check check; /* NULL: none */
    void *check_user;
};

/* One thing in the file: a tensor, a filler (item NULL, zeros) or the seal (item NULL, last). */
typedef struct dw__snapshot_part {
    const dw__snapshot_item *item;
    uint64_t offset; /* from the header's end */
    uint64_t bytes;
    uint32_t number;          /* the filler's */
    size_t checksum_position; /* in the header; 0: none */
    uint8_t checksum[DW_HASH128_BYTES];
} dw__snapshot_part;

typedef struct dw__snapshot_text {
    char *bytes;
    size_t count;
    size_t capacity;
    bool failed; /* no memory; told at the end */
} dw__snapshot_text;

/* The state of one write. */
typedef struct dw__snapshot_output {
    dw__snapshot_part *parts;
    size_t part_count;
    uint64_t data_bytes;
    uint64_t hole_bytes;      /* of these, passed over */
    size_t header_bytes;      /* that the layout is made for */
    dw__snapshot_text header; /* the 8 bytes of its length too */
    dw_hash128 *hash;
    uint8_t *piece; /* [DW__SNAPSHOT_PIECE_BYTES]: small tensors gathered, or a callback's bytes */
    size_t piece_used;
    uint64_t begin;    /* of a series: where the snapshot does */
    uint64_t position; /* in the snapshot, of the next byte to write */
    uint64_t begun;    /* the disk was set to work up to here */
    int fd;
    bool is_file;
    const char *shown; /* the path in messages */
} dw__snapshot_output;

/* The value of a line of metadata; NULL: there is none. */
const char *dw__snapshot_find_meta(const dw_snapshot_writer *writer, const char *key);
/* Errors: DW_E_ARG (two tensors of one name, a delta without base), DW_E_MEMORY. */
dw_status dw__snapshot_check_whole(const dw_snapshot_writer *writer, dw_error *err);

bool dw__snapshot_is_delta(const dw_snapshot_writer *writer);
/* Where each tensor, filler and the seal goes, and the header of that, but for its checksums.
 * Errors: DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw__snapshot_lay_out(dw__snapshot_output *to, const dw_snapshot_writer *writer,
                               dw_error *err);
void dw__snapshot_fill_in_checksums(dw__snapshot_output *to);

#endif
