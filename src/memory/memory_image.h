/* An image of a linear memory: the bytes of its pages at one moment, which never change. Regions
 * map it copy-on-write, so that any number of them share the pages that none has written. It is a
 * list of extents (file_extents.h); what no extent covers is zero.
 *
 * An image of a region that maps another image has extents of its own only for the pages written
 * since: in private mappings the system knows them (proc_pid_pagemap(5)); where it does not tell,
 * bytes are compared. Past a number of extents the image is written anew in one piece, since each
 * is a mapping of its own in every region.
 * Thread: an image may be shared by threads; a region is one's at a time. */
#ifndef DW_MEMORY_MEMORY_IMAGE_H
#define DW_MEMORY_MEMORY_IMAGE_H

#include "memory/region.h"

typedef struct dw_memory_image dw_memory_image;

/* The unit of images, in files and in lists of changes; the page may be larger. */
#define DW_IMAGE_BLOCK_BYTES 4096u

/* Blocks that lie side by side: `count` of them from `first` on. As in files. */
typedef struct dw_block_run {
    uint32_t first;
    uint32_t count;
} dw_block_run;

/* Blocks side by side that lie one behind the other in a file. */
typedef struct dw_block_piece {
    uint32_t first;
    uint32_t count;
    int fd;
    uint64_t offset; /* in the file */
} dw_block_piece;

/* An image of `bytes`, zero but for `pieces` [count], which ascend and do not overlap. Files are
 * duplicated, at most `files_max`, and must not change. Pieces that lie at pages of their files are
 * mapped, the longest where that would be too many mappings or files; the others are read.
 * Errors: DW_E_ARG, DW_E_IO, DW_E_MEMORY. */
dw_status dw_memory_image_of_pieces(dw_memory_image **out, size_t bytes,
                                    const dw_block_piece *pieces, size_t count, size_t files_max,
                                    dw_error *err);
/* Take an image of the region's committed pages. `base` is the image it maps, or NULL where its
 * pages are of no image; when nothing was written since, the result is `base` once more. The region
 * maps the result afterwards, at the same contents: pages it had to itself are shared from now on.
 * `*written_bytes`, if not NULL: how many had to be copied.
 * Errors: DW_E_STATE (a device is at work in it), DW_E_MEMORY, DW_E_IO: contents are as before. */
dw_status dw_memory_image_take(dw_memory_image **out, dw_region *region, dw_memory_image *base,
                               size_t *written_bytes, dw_error *err);
dw_memory_image *dw_memory_image_ref(dw_memory_image *image);
void dw_memory_image_unref(dw_memory_image *image);
size_t dw_memory_image_bytes(const dw_memory_image *image);
size_t dw_memory_image_extent_count(const dw_memory_image *image);

/* Let the region, which has committed at least as much, show the image: privately, nothing is
 * read. Errors: DW_E_RANGE, DW_E_STATE, DW_E_MEMORY, DW_E_IO; the region's contents are then
 * undefined. */
dw_status dw_memory_image_map(const dw_memory_image *image, dw_region *region, dw_error *err);
/* Read [offset, offset + bytes), which lies in the image. Errors: DW_E_IO. */
dw_status dw_memory_image_read(const dw_memory_image *image, size_t offset, size_t bytes, void *to,
                               dw_error *err);

/* Whether the files of the image, which `region` maps, still have its pages. Errors: DW_E_IO. */
dw_status dw_memory_image_check(const dw_memory_image *image, const dw_region *region,
                                dw_error *err);
/* Which blocks of `image` are not zero, as runs, the caller's to dw_free; zero ones are among them
 * only where they lie between others in small number. What no one has touched is not read.
 * Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_memory_image_runs(const dw_memory_image *image, dw_block_run **runs, size_t *count,
                               dw_error *err);
/* Which blocks of `image` differ from `base` (NULL: from zero): ascending numbers, the caller's to
 * dw_free; blocks whose extents are the same are not looked at. Blocks beyond base's end differ
 * where they are not zero. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_memory_image_changes(const dw_memory_image *image, const dw_memory_image *base,
                                  uint32_t **blocks, size_t *count, dw_error *err);

/* Tests only: compare bytes even where the system could tell. */
extern bool dw__memory_image_compares;

#endif
