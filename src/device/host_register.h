/* Registering host pages with a device that then uses the host's own addresses: CUDA's
 * cudaHostRegister. host_register_cuda.c in builds with CUDA, host_register_none.c in others.
 * Thread: any. */
#ifndef DW_DEVICE_HOST_REGISTER_H
#define DW_DEVICE_HOST_REGISTER_H

#include "device/device.h"

/* Pin and map committed pages [address, address + bytes), counted as the device's registered bytes;
 * the device's address for them must be the host's. Errors: DW_E_DEVICE with
 * dw__host_register_reason, or where the device was lost; DW_E_UNSUPPORTED (another address). */
dw_status dw__host_register(dw_device *device, void *address, size_t bytes, dw_error *err);
/* A range that was registered. Those of a lost device stay pinned until the process ends. */
void dw__host_unregister(dw_device *device, void *address, size_t bytes);

/* Why pages could not be registered: the driver's words, and the likely cause on a system like
 * this. */
typedef struct dw__host_register_failure {
    const char *driver;        /* "out of memory" */
    size_t bytes;              /* that were to be registered */
    uint64_t locked_max_bytes; /* dw_os_locked_limit_bytes */
    bool wsl;
} dw__host_register_failure;
void dw__host_register_reason(const dw__host_register_failure *failure, char *text,
                              size_t capacity);

#endif
