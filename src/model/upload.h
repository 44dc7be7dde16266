/* Weights on their way from mapped files to a device's memory: cut into chunks, which a few threads
 * read into a ring while the device takes earlier ones. */
#ifndef DW_MODEL_UPLOAD_H
#define DW_MODEL_UPLOAD_H

#include "device/device.h"

/* A tensor in device memory and the [bytes] that it is to hold. */
typedef struct dw_upload_part {
    struct ggml_tensor *tensor;
    const unsigned char *from;
    size_t bytes;
} dw_upload_part;

typedef struct dw_upload_options {
    const dw_upload_part *parts; /* [part_count] */
    size_t part_count;
    size_t chunk_bytes; /* 0: as is good */
    bool ring;          /* even where the device has no memory of its own: for tests */
    /* `done` of `total` bytes are there; false: give up. May be NULL. */
    bool (*on_progress)(void *user, uint64_t done, uint64_t total);
    void *user;
} dw_upload_options;

/* Blocks: until all is there. Errors: DW_E_CANCELLED, DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_upload(dw_device *device, const dw_upload_options *options, dw_error *err);

#endif
