/* The bytes of a log in a device buffer, where the device has no memory by address ranges: a buffer
 * is as long as it was made, so growing is a new one and a copy, which the device makes.
 * Private to src/kv.
 * Thread: its log's. */
#ifndef DW_KV_KV_BUFFER_H
#define DW_KV_KV_BUFFER_H

#include "device/device.h"

/* A new buffer of `bytes`, its first `held` as in *buffer, the others zero, in the place of *buffer
 * (NULL: none yet). Errors: DW_E_MEMORY, DW_E_DEVICE; *buffer is then as it was. */
dw_status dw__kv_buffer_grow(ggml_backend_buffer_t *buffer, dw_device *device, size_t bytes,
                             size_t held, dw_error *err);
/* Copy the first `bytes` from one to another. Errors: DW_E_MEMORY, DW_E_DEVICE; as the others. */
dw_status dw__kv_buffer_copy(dw_device *device, ggml_backend_buffer_t from,
                             ggml_backend_buffer_t to, size_t bytes, dw_error *err);
dw_status dw__kv_buffer_write(dw_device *device, ggml_backend_buffer_t buffer, size_t offset,
                              const void *from, size_t bytes, dw_error *err);
dw_status dw__kv_buffer_read(dw_device *device, ggml_backend_buffer_t buffer, size_t offset,
                             void *to, size_t bytes, dw_error *err);
dw_status dw__kv_buffer_clear(dw_device *device, ggml_backend_buffer_t buffer, size_t offset,
                              size_t bytes, dw_error *err);

#endif
