/* The immutable part of a KV log: pieces of files, one behind the other from the log's first byte
 * on, each mapped privately and never written to. Logs that were forked from one another, and those
 * thawed from a file, hold the same files, counted; the last user closes one.
 *   piece  [fd, file offset, bytes], offset and bytes multiples of the page
 * Private to src/kv. Thread: a list belongs to its log; files are counted atomically. */
#ifndef DW_KV_KV_PIECES_H
#define DW_KV_KV_PIECES_H

#include "base/status.h"
#include "kv/kv_log.h"
#include "memory/region.h"

typedef struct dw__kv_file dw__kv_file;

/* A memory file of `bytes`, sparse: pages come as they are written. Errors: DW_E_MEMORY. */
dw_status dw__kv_file_create(dw__kv_file **out, size_t bytes, dw_error *err);
/* The file behind `fd`, which stays the caller's. Errors: DW_E_MEMORY, DW_E_IO. */
dw_status dw__kv_file_open(dw__kv_file **out, int fd, dw_error *err);
dw__kv_file *dw__kv_file_ref(dw__kv_file *file);
void dw__kv_file_unref(dw__kv_file *file); /* NULL is fine */
int dw__kv_file_fd(const dw__kv_file *file);
/* A shared view of a memory file's [offset, offset + bytes), whole pages, for dw_os_unmap.
 * Errors: DW_E_MEMORY. */
dw_status dw__kv_file_map(const dw__kv_file *file, size_t offset, size_t bytes, void **out,
                          dw_error *err);
/* Its only writer leaves: pages from `offset` on, which nobody else looks at, are given back. */
void dw__kv_file_retire(dw__kv_file *file, uint64_t offset);

typedef struct dw__kv_piece {
    dw__kv_file *file; /* counted */
    uint64_t file_offset;
    size_t bytes;
} dw__kv_piece;

typedef struct dw__kv_pieces {
    dw__kv_piece *list; /* [room] */
    uint32_t count;
    uint32_t room;
    size_t bytes; /* of all */
} dw__kv_pieces;

/* One more behind the others; one that goes on where the last ends makes that one longer.
 * Errors: DW_E_MEMORY. */
dw_status dw__kv_pieces_add(dw__kv_pieces *pieces, dw__kv_file *file, uint64_t file_offset,
                            size_t bytes, dw_error *err);
/* Make an empty list the first `bytes` of another. Errors: DW_E_MEMORY; it may then hold some. */
dw_status dw__kv_pieces_copy(dw__kv_pieces *pieces, const dw__kv_pieces *from, size_t bytes,
                             dw_error *err);
/* Keep the first `bytes`, at most as many as there are. */
void dw__kv_pieces_cut(dw__kv_pieces *pieces, size_t bytes);
void dw__kv_pieces_release(dw__kv_pieces *pieces);
/* Put private views of all over the region's first, committed bytes. Errors: DW_E_MEMORY. */
dw_status dw__kv_pieces_map(const dw__kv_pieces *pieces, dw_region *region, dw_error *err);

/* ---- segments of a file, as dw_kv_log_thaw takes them (kv_thaw.c) ---- */

/* Make an empty list the segments' first `bytes`, whole pages: by reference where a page lies at a
 * page of its file, else by reading it. Errors: DW_E_MEMORY, DW_E_IO; it may then hold some. */
dw_status dw__kv_segments_adopt(const dw_kv_segment *segments, size_t count, size_t bytes,
                                dw__kv_pieces *pieces, dw_error *err);

#endif
