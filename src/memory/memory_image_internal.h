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

/* One without extents, with one reference. NULL: no memory, `err` says so. */
dw_memory_image *dw__memory_image_create(size_t bytes, dw_error *err);

#endif
