/* A region's bytes for a device that cannot be given its pages: device memory of the same size,
 * counted as DW_USE_VIEW, in which tensors lie at the offset they have in the region. Before a
 * graph runs, what it reads is copied there; afterwards, what it has written is copied back; both
 * through a small buffer of pinned host memory where the device has such. Only bytes that the
 * graph's tensors cover are copied.
 * Thread: one at a time, the region's. */
#ifndef DW_DEVICE_STAGED_PAGES_H
#define DW_DEVICE_STAGED_PAGES_H

#include "device/device.h"
#include "memory/region.h"

typedef struct dw__staged_pages dw__staged_pages;

/* For the first `bytes` of `region`. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__staged_pages_create(dw__staged_pages **out, dw_device *device, dw_region *region,
                                  size_t bytes, dw_error *err);
/* NULL is fine. */
void dw__staged_pages_destroy(dw__staged_pages *pages);
ggml_backend_buffer_t dw__staged_pages_buffer(const dw__staged_pages *pages);

/* Copy what `graph` reads of these pages to the device; what it has written back. Counted with the
 * device, and added to `copied_bytes`. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__staged_pages_bring(dw__staged_pages *pages, struct ggml_cgraph *graph,
                                 uint64_t *copied_bytes, dw_error *err);
dw_status dw__staged_pages_fetch(dw__staged_pages *pages, struct ggml_cgraph *graph,
                                 uint64_t *copied_bytes, dw_error *err);

#endif
