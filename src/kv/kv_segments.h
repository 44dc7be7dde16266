/* A frozen log: its bytes as segments of files, in snapshots that build on one another.
 * Thread: any; the descriptors are the caller's. */
#ifndef DW_KV_KV_SEGMENTS_H
#define DW_KV_KV_SEGMENTS_H

#include "base/stop.h"
#include "device/device.h"
#include "memory/file_extents.h"

/* A log's bytes [log_offset, log_offset + bytes) in a file. */
typedef struct dw_kv_segment {
    int fd; /* the caller's */
    uint64_t file_offset;
    uint64_t log_offset;
    uint64_t bytes;
} dw_kv_segment;

/* What a log was frozen as. */
typedef struct dw_kv_frozen {
    const dw_kv_segment *segments; /* [segment_count] */
    size_t segment_count;
    uint32_t length;        /* records */
    struct dw_kv_log *like; /* NULL: none. A log that is there, of the same records, */
    uint64_t like_bytes;    /* whose first bytes are to be had from it where they can be shared */
    /* What is read also where it can be mapped: segments of fewer bytes, and all from this byte of
     * the log on (0: none). */
    uint64_t mapped_min;
    uint64_t mapped_end;
    dw_stop *stop; /* of who waits until it is there again; may be NULL */
} dw_kv_frozen;

/* Whether segments follow one another from byte 0 on, hold `bytes`, and lie within their files.
 * Errors: DW_E_FORMAT, DW_E_IO. */
dw_status dw_kv_segments_check(const dw_kv_segment *segments, size_t count, uint64_t bytes,
                               dw_error *err);
/* Copy out [offset, offset + bytes) of the log that checked segments hold. Errors: DW_E_IO. */
dw_status dw_kv_segments_read(const dw_kv_segment *segments, size_t count, uint64_t offset,
                              void *to, size_t bytes, dw_error *err);
/* Append to a list of extents without gaps what checked segments hold from its end on, up to
 * `bytes`, whole pages: by reference where a page lies at a page of its file, else by reading it
 * into a memory file. What is mapped and what is read count with `device`, whose limit holds for
 * the latter. Errors: DW_E_MEMORY, DW_E_IO; the list may then hold some. */
dw_status dw_kv_segments_adopt(const dw_kv_frozen *frozen, size_t bytes, dw_device *device,
                               dw_file_extents *extents, dw_error *err);

#endif
