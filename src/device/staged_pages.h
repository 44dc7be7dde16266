/* A region's bytes for a device that cannot be given its pages: device memory of the same size, in
 * which tensors stand at the offset they have in the region. Before a graph runs, what it reads is
 * copied there; afterwards, what it has written is copied back; both through a small buffer of
 * pinned host memory where the device has such. What a graph does not name is not copied.
 * Thread: one at a time, the region's. */
#ifndef DW_DEVICE_STAGED_PAGES_H
#define DW_DEVICE_STAGED_PAGES_H

#include <ggml-backend.h>

#include "base/counters.h"
#include "memory/region.h"

typedef struct dw_staged_pages dw_staged_pages;

/* For the first `bytes` of `region`. `counters` may be NULL. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_staged_pages_create(dw_staged_pages **out, dw_region *region, size_t bytes,
                                 ggml_backend_dev_t device, dw_device_counters *counters,
                                 dw_error *err);
void dw_staged_pages_destroy(dw_staged_pages *pages);
ggml_backend_buffer_t dw_staged_pages_buffer(const dw_staged_pages *pages);

/* Copy what `graph` reads of these pages to the device; what it has written back. `copied_bytes` is
 * added to. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_staged_pages_bring(dw_staged_pages *pages, struct ggml_cgraph *graph,
                                uint64_t *copied_bytes, dw_error *err);
dw_status dw_staged_pages_fetch(dw_staged_pages *pages, struct ggml_cgraph *graph,
                                uint64_t *copied_bytes, dw_error *err);

#endif
