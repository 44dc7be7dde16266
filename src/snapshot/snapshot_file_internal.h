/* What the writer and the reader of snapshot files share. */
#ifndef DW_SNAPSHOT_SNAPSHOT_FILE_INTERNAL_H
#define DW_SNAPSHOT_SNAPSHOT_FILE_INTERNAL_H

#include "snapshot/snapshot_file.h"

#define DW__SNAPSHOT_FORMAT "driftwood-snapshot"
#define DW__SNAPSHOT_SEAL "seal"
#define DW__SNAPSHOT_FILLER "pad."
/* Data goes to the hash and to the disk in pieces of this size: the second use finds it in the
 * processor's cache. */
#define DW__SNAPSHOT_PIECE_BYTES ((size_t)1 << 20)
/* A path in messages: its end, so that the rest of the message fits beside it. */
#define DW__SNAPSHOT_PATH_SHOWN 96

/* Bytes of one element; 0: no dtype of ours. */
uint64_t dw__snapshot_dtype_bytes(const char *dtype);
/* 1 to 64 of [a-z0-9._-]. */
bool dw__snapshot_name_is_good(const char *name);
bool dw__snapshot_name_is_filler(const char *name);
/* Bytes of the tensor; false where that is over DW_SNAPSHOT_FILE_BYTES_MAX. */
bool dw__snapshot_shape_bytes(uint64_t *bytes, uint64_t element_bytes, const uint64_t *shape,
                              uint32_t dimension_count);
/* `path`, or what of its end is shown. */
const char *dw__snapshot_path_end(const char *path);

#endif
