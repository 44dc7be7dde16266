/* Link 1: a range of address space whose base never moves. It is reserved whole, committed from
 * the front as it grows, and all large memory lies in one: guest memory, KV logs.
 * Thread: one at a time, but for the getters. */
#ifndef DW_MEMORY_REGION_H
#define DW_MEMORY_REGION_H

#include "base/status.h"

typedef struct dw_region dw_region;

typedef struct dw_region_options {
    size_t reserve_bytes; /* rounded up to the page */
    size_t commit_bytes;  /* at the start; may be 0 */
    size_t limit_bytes;   /* commit refuses to go beyond; 0: reserve_bytes */
    size_t align_bytes;   /* of its base, a power of two; 0: the page */
    const char *label;    /* for messages; static storage */
    bool shared;          /* pages in a memfd, so that another mapping can share them */
} dw_region_options;

/* Errors: DW_E_ARG (sizes), DW_E_MEMORY. */
dw_status dw_region_create(dw_region **out, const dw_region_options *options, dw_error *err);
/* Not while pinned: a device may be at work in it. */
void dw_region_destroy(dw_region *region);

/* Grow so that at least `bytes` from the base are readable, writable and, where new, zero.
 * Never shrinks. Errors: DW_E_LIMIT, DW_E_MEMORY; the region is then as it was. */
dw_status dw_region_commit(dw_region *region, size_t bytes, dw_error *err);
/* Put a private copy-on-write view of `fd` over committed pages [offset, offset + bytes).
 * offset, file_offset and bytes are multiples of the page. Errors: DW_E_ARG, DW_E_RANGE,
 * DW_E_STATE (pinned), DW_E_IO. */
dw_status dw_region_map_file(dw_region *region, size_t offset, int fd, uint64_t file_offset,
                             size_t bytes, dw_error *err);
/* The same, writable and shared with every other mapping of `fd`. */
dw_status dw_region_map_shared(dw_region *region, size_t offset, int fd, uint64_t file_offset,
                               size_t bytes, dw_error *err);

/* Make committed pages [offset, offset + bytes) zero again, without touching them: what was mapped
 * there goes. Not for shared regions. Errors: DW_E_STATE (pinned), DW_E_MEMORY. */
dw_status dw_region_clear(dw_region *region, size_t offset, size_t bytes, dw_error *err);

void *dw_region_base(const dw_region *region);
size_t dw_region_committed_bytes(const dw_region *region);
size_t dw_region_reserved_bytes(const dw_region *region);
/* Whether [address, address + bytes) lies in the committed part. */
bool dw_region_holds(const dw_region *region, const void *address, size_t bytes);

/* Whether a page of a file that is mapped was not there any more when it was touched: the file was
 * cut, and zeros are in its place. Thread: any. */
bool dw_region_is_broken(const dw_region *region);

/* Work in flight on the pages: map_file and destroy are refused while it is in flight.
 * Growing is not. */
void dw_region_pin(dw_region *region);
void dw_region_unpin(dw_region *region);
bool dw_region_pinned(const dw_region *region);

/* Counts commits and mappings: a device view compares it to know that it must follow. */
uint64_t dw_region_generation(const dw_region *region);

#endif
