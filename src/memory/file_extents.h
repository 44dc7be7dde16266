/* Ranges of files that are mapped copy-on-write: a list of extents, each a run of whole pages of a
 * file and where it lies in what the list describes (a KV log's immutable records, a memory image).
 *   extent  [start, bytes] there, [file, file offset]; ascending by start, without overlap
 * Files are shared by lists, counted, and never written to where an extent is.
 * Thread: a list has one owner; files are counted atomically, a list that no longer changes may be
 * read by any thread. */
#ifndef DW_MEMORY_FILE_EXTENTS_H
#define DW_MEMORY_FILE_EXTENTS_H

#include "base/meter.h"
#include "memory/region.h"

/* ---- files ---- */

typedef struct dw_extent_file dw_extent_file;

/* A memory file of `bytes`, sparse: pages come as they are written. `label` is its name in the
 * system's lists. Errors: DW_E_MEMORY. */
dw_status dw_extent_file_create(dw_extent_file **out, const char *label, size_t bytes,
                                dw_error *err);
/* The file behind `fd`, which stays the caller's. Errors: DW_E_MEMORY, DW_E_IO. */
dw_status dw_extent_file_open(dw_extent_file **out, int fd, dw_error *err);
dw_extent_file *dw_extent_file_ref(dw_extent_file *file);
void dw_extent_file_unref(dw_extent_file *file); /* the last one closes it; NULL is fine */
int dw_extent_file_fd(const dw_extent_file *file);
/* A shared, writable view of a memory file's [offset, offset + bytes), whole pages, for
 * dw_os_unmap. Errors: DW_E_MEMORY. */
dw_status dw_extent_file_map(const dw_extent_file *file, size_t offset, size_t bytes, void **out,
                             dw_error *err);
/* Unref by a memory file's only writer: pages from `offset` on, which are in no extent, are given
 * back to the system at once. */
void dw_extent_file_retire(dw_extent_file *file, uint64_t offset);
/* Have `meter`, which outlives the file, count what the file holds from here on, but for its first
 * `unused` bytes, which nobody ever writes; it is given back as the file goes. By the one that made
 * it, before others have it. */
void dw_extent_file_meter(dw_extent_file *file, dw_meter *meter, uint64_t unused);
/* By the same one, alone: the file is about to hold `bytes`, more or less than before, with those
 * that are unused. Retiring it takes off what is given back. false: the meter's limit does not
 * allow it, nothing has changed. */
bool dw_extent_file_set_held(dw_extent_file *file, uint64_t bytes);
uint64_t dw_extent_file_held(const dw_extent_file *file);

/* ---- lists ---- */

typedef struct dw_file_extent {
    size_t start;
    size_t bytes;
    dw_extent_file *file; /* counted */
    uint64_t file_offset;
} dw_file_extent;

/* All zero: empty. */
typedef struct dw_file_extents {
    dw_file_extent *list; /* [capacity] */
    size_t count;
    size_t capacity;
} dw_file_extents;

/* Append one that begins at the end of the last or behind it; its file is counted once more. One
 * that continues the last, in the file too, makes that one longer; one of no bytes changes nothing.
 * Errors: DW_E_MEMORY. */
dw_status dw_file_extents_add(dw_file_extents *extents, const dw_file_extent *added, dw_error *err);
/* Append what `from` has of [start, end). Errors: DW_E_MEMORY; some may then have been added. */
dw_status dw_file_extents_copy(dw_file_extents *extents, const dw_file_extents *from, size_t start,
                               size_t end, dw_error *err);
/* Forget all from `end` on. */
void dw_file_extents_cut(dw_file_extents *extents, size_t end);
void dw_file_extents_release(dw_file_extents *extents);

/* Where the last one ends; 0: there is none. */
size_t dw_file_extents_end(const dw_file_extents *extents);
/* The index of the first that ends behind `offset`; the count if there is none. */
size_t dw_file_extents_find(const dw_file_extents *extents, size_t offset);
/* Copy out [offset, offset + bytes); what no extent has reads as zero. Errors: DW_E_IO. */
dw_status dw_file_extents_read(const dw_file_extents *extents, size_t offset, size_t bytes,
                               void *to, dw_error *err);
/* The first range of [offset, end of the last extent) whose bytes may be other than zero; false:
 * there is none. `*whole`: none of its pages is known to be zero without a look, as it is in memory
 * files that an image was written to. */
bool dw_file_extents_next_data(const dw_file_extents *extents, size_t offset, size_t *start,
                               size_t *end, bool *whole);
/* Whether files other than memory files still have all that extents map. `region`, which maps them,
 * may be marked: then they have not, or had not. Errors: DW_E_IO (which file). */
dw_status dw_file_extents_check(const dw_file_extents *extents, const dw_region *region,
                                dw_error *err);
/* Map all, or only those of `file` where it is not NULL, privately over the region's committed
 * pages at their starts. One that does not begin at a page of its file is read instead. What lies
 * between extents stays as it is.
 * Errors: DW_E_RANGE, DW_E_STATE (pinned), DW_E_MEMORY, DW_E_IO; some may then be mapped. */
dw_status dw_file_extents_map(const dw_file_extents *extents, const dw_extent_file *file,
                              dw_region *region, dw_error *err);

#endif
