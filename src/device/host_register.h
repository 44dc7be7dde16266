/* Registering host pages with a device that then uses the host's own addresses: CUDA's
 * cudaHostRegister. host_register_cuda.c in builds with CUDA, host_register_none.c in others.
 * Thread: any. */
#ifndef DW_DEVICE_HOST_REGISTER_H
#define DW_DEVICE_HOST_REGISTER_H

#include <ggml-backend.h>

#include "base/status.h"

/* Whether `device` is one that this build registers pages for. */
bool dw_host_register_serves(ggml_backend_dev_t device);
/* Pin and map committed pages [address, address + bytes); the device's address for them must be
 * the host's. Errors: DW_E_DEVICE with dw_host_register_reason; DW_E_UNSUPPORTED (another
 * address). */
dw_status dw_host_register(ggml_backend_dev_t device, void *address, size_t bytes, dw_error *err);
/* Why pages could not be registered, as dw_host_register tells it: the driver's words, and what is
 * likely behind them on a system like this. */
typedef struct dw_host_register_failure {
    const char *driver;        /* "out of memory" */
    size_t bytes;              /* that were to be registered */
    uint64_t locked_max_bytes; /* dw_os_locked_limit_bytes */
    bool wsl;
} dw_host_register_failure;
void dw_host_register_reason(const dw_host_register_failure *failure, char *text, size_t capacity);
void dw_host_unregister(ggml_backend_dev_t device, void *address);

#endif
