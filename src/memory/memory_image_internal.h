/* What memory_image.c and memory_image_take.c share. */
#ifndef DW_MEMORY_MEMORY_IMAGE_INTERNAL_H
#define DW_MEMORY_MEMORY_IMAGE_INTERNAL_H

#include <stdatomic.h>

#include "memory/file_extents.h"
#include "memory/memory_image.h"

struct dw_memory_image {
    _Atomic size_t references;
    size_t bytes;
    dw_file_extents extents; /* within `bytes`; what none covers is zero */
};

/* Each extent is a mapping of its own, of which a process has some 65,000. A large image has more:
 * to write it anew costs more, and there is room for few of them. */
#define DW__IMAGE_EXTENTS_MAX 64
#define DW__IMAGE_EXTENT_PAGES 32
static inline size_t dw__image_extents_max(size_t pages)
{
    size_t share = pages / DW__IMAGE_EXTENT_PAGES;
    return share > DW__IMAGE_EXTENTS_MAX ? share : DW__IMAGE_EXTENTS_MAX;
}

/* Runs of pages that lie closer than this are one: a page too many is cheaper than a mapping. */
#define DW__IMAGE_GAP_PAGES 4
#define DW__IMAGE_READ_BYTES ((size_t)64 << 10)

bool dw__image_is_zero(const unsigned char *bytes, size_t count);

/* Whether [offset, offset + bytes) lies in the file: a mapping beyond its end would be a signal at
 * the first touch. Errors: DW_E_IO. */
dw_status dw__image_check_source(int fd, uint64_t offset, uint64_t bytes, dw_error *err);
/* One without extents, with one reference. NULL: no memory, `err` says so. */
dw_memory_image *dw__memory_image_create(size_t bytes, dw_error *err);

#endif
