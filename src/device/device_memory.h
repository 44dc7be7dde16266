/* Memory on a device, and bytes going to and from it: ggml's calls for that, made so that a failure
 * of the device is a status (base/ggml_guard.h) and that it is known what uses its memory.
 * On a device that was lost everything fails at once, and freeing does nothing: the memory is the
 * driver's, which takes it back with the process. (What the CPU "device" has is freed.)
 * Thread: any; a buffer or tensor, one at a time. */
#ifndef DW_DEVICE_DEVICE_MEMORY_H
#define DW_DEVICE_DEVICE_MEMORY_H

#include <ggml-alloc.h>
#include <ggml-backend.h>

#include "base/counters.h"
#include "device/device.h"

/* `bytes` of the device's memory for `use`. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_device_buffer_create(ggml_backend_buffer_t *out, dw_device *device, dw_device_use use,
                                  size_t bytes, dw_error *err);
/* NULL is fine. */
void dw_device_buffer_destroy(dw_device *device, dw_device_use use, ggml_backend_buffer_t buffer);
/* Memory for all tensors of `ggml` that have none. Errors: likewise. */
dw_status dw_device_buffer_for_tensors(ggml_backend_buffer_t *out, dw_device *device,
                                       dw_device_use use, struct ggml_context *ggml, dw_error *err);

/* `bytes` of the host's memory, page-locked, which the device reads and writes at the host's own
 * address. Errors: DW_E_MEMORY (the system locks no more pages), DW_E_DEVICE. */
dw_status dw_device_locked_create(ggml_backend_buffer_t *out, dw_device *device, size_t bytes,
                                  dw_error *err);
/* NULL is fine. */
void dw_device_locked_destroy(dw_device *device, ggml_backend_buffer_t buffer);

/* Wait for the end. Errors: DW_E_DEVICE, DW_E_MEMORY. */
dw_status dw_device_buffer_fill(dw_device *device, ggml_backend_buffer_t buffer, uint8_t value,
                                dw_error *err);
/* Bytes [offset, offset + bytes) of a tensor's data. */
dw_status dw_device_tensor_set(dw_device *device, struct ggml_tensor *tensor, const void *from,
                               size_t offset, size_t bytes, dw_error *err);
dw_status dw_device_tensor_get(dw_device *device, const struct ggml_tensor *tensor, void *to,
                               size_t offset, size_t bytes, dw_error *err);
dw_status dw_device_tensor_fill(dw_device *device, struct ggml_tensor *tensor, uint8_t value,
                                size_t offset, size_t bytes, dw_error *err);
dw_status dw_device_tensor_copy(dw_device *device, struct ggml_tensor *from, struct ggml_tensor *to,
                                dw_error *err);

/* Work memory for a graph: what none of its tensors has yet. `*allocator` is NULL before and on
 * failure. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_device_graph_allocate(ggml_gallocr_t *allocator, dw_device *device,
                                   struct ggml_cgraph *graph, dw_error *err);
/* NULL is fine. */
void dw_device_graph_free(dw_device *device, ggml_gallocr_t allocator);

#endif
