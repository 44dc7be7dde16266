/* Bytes on their way to a device, several pieces at a time: slots of pinned host memory that others
 * fill while the device takes earlier ones by itself (ggml's asynchronous sets, on a stream of
 * their own). Where a backend has no such memory or no events the same calls work, and wait.
 * Thread: one at a time, but for writing into slots that are not under way. */
#ifndef DW_DEVICE_UPLOAD_RING_H
#define DW_DEVICE_UPLOAD_RING_H

#include "device/device.h"

typedef struct dw_upload_ring dw_upload_ring;

/* Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_upload_ring_create(dw_upload_ring **out, dw_device *device, size_t slot_count,
                                size_t slot_bytes, dw_error *err);
/* Waits for what is under way. NULL is fine. */
void dw_upload_ring_destroy(dw_upload_ring *ring);
void *dw_upload_ring_slot(const dw_upload_ring *ring, size_t slot);
/* Begin to bring the slot's first `bytes` to `offset` of the tensor's data. Errors: DW_E_DEVICE. */
dw_status dw_upload_ring_send(dw_upload_ring *ring, size_t slot, struct ggml_tensor *tensor,
                              size_t offset, size_t bytes, dw_error *err);
/* Wait until what was sent from the slot last is there. Errors: DW_E_DEVICE. */
dw_status dw_upload_ring_wait(dw_upload_ring *ring, size_t slot, dw_error *err);

#endif
