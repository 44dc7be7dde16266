#include <cuda_runtime_api.h>

#include "base/log.h"
#include "base/os.h"
#include "device/cuda_probe.h"
#include "device/host_register.h"

static dw_status cuda_failed(dw_device *device, size_t bytes, cudaError_t reason, dw_error *err)
{
    (void)cudaGetLastError(); /* the error must not surface in ggml's next call */
    char text[192];
    dw__host_register_failure failure = {.driver = cudaGetErrorString(reason),
                                         .bytes = bytes,
                                         .locked_max_bytes = dw_os_locked_limit_bytes(),
                                         .wsl = dw_os_is_wsl()};
    dw__cuda_note_fault(device, (int)reason, failure.driver);
    dw__host_register_reason(&failure, text, sizeof text);
    return dw_fail(err, DW_E_DEVICE, "%s: %s", dw_device_info_of(device)->name, text);
}

dw_status dw__host_register(dw_device *device, void *address, size_t bytes, dw_error *err)
{
    dw_status status = dw_device_check(device, err);
    if (status != DW_OK) {
        return status;
    }
    cudaError_t result =
        cudaHostRegister(address, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
    if (result != cudaSuccess) {
        return cuda_failed(device, bytes, result, err);
    }
    /* Under unified virtual addressing the device's pointer is the host's; views rely on it. */
    void *seen = NULL;
    result = cudaHostGetDevicePointer(&seen, address, 0);
    if (result == cudaSuccess && seen == address) {
        dw_count(&dw_device_counters_of(device)->registered_bytes, bytes);
        return DW_OK;
    }
    (void)cudaHostUnregister(address);
    if (result != cudaSuccess) {
        return cuda_failed(device, bytes, result, err);
    }
    return dw_fail(err, DW_E_UNSUPPORTED, "%s: maps host address %p at %p; views need the same",
                   dw_device_info_of(device)->name, address, seen);
}

void dw__host_unregister(dw_device *device, void *address, size_t bytes)
{
    dw_uncount(&dw_device_counters_of(device)->registered_bytes, bytes);
    if (dw_device_lost(device)) {
        return;
    }
    cudaError_t result = cudaHostUnregister(address);
    if (result != cudaSuccess) {
        const char *text = cudaGetErrorString(result);
        (void)cudaGetLastError();
        dw__cuda_note_fault(device, (int)result, text);
        dw_log(DW_LOG_WARN, "%s: unregistering %p: %s", dw_device_info_of(device)->name, address,
               text);
    }
}
