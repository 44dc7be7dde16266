#include <cuda_runtime_api.h>
#include <string.h>

#include "base/log.h"
#include "base/os.h"
#include "device/host_register.h"

bool dw_host_register_serves(ggml_backend_dev_t device)
{
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
    return reg != NULL && strcmp(ggml_backend_reg_name(reg), "CUDA") == 0;
}

static dw_status cuda_failed(ggml_backend_dev_t device, size_t bytes, cudaError_t reason,
                             dw_error *err)
{
    (void)cudaGetLastError(); /* the error must not surface in ggml's next call */
    char text[192];
    dw_host_register_failure failure = {.driver = cudaGetErrorString(reason),
                                        .bytes = bytes,
                                        .locked_max_bytes = dw_os_locked_limit_bytes(),
                                        .wsl = dw_os_is_wsl()};
    dw_host_register_reason(&failure, text, sizeof text);
    return dw_fail(err, DW_E_DEVICE, "%s: %s", ggml_backend_dev_name(device), text);
}

dw_status dw_host_register(ggml_backend_dev_t device, void *address, size_t bytes, dw_error *err)
{
    cudaError_t result =
        cudaHostRegister(address, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
    if (result != cudaSuccess) {
        return cuda_failed(device, bytes, result, err);
    }
    /* Under unified virtual addressing the device's pointer is the host's; views rely on it. */
    void *seen = NULL;
    result = cudaHostGetDevicePointer(&seen, address, 0);
    if (result == cudaSuccess && seen == address) {
        return DW_OK;
    }
    (void)cudaHostUnregister(address);
    if (result != cudaSuccess) {
        return cuda_failed(device, bytes, result, err);
    }
    return dw_fail(err, DW_E_UNSUPPORTED, "%s: maps host address %p at %p; views need the same",
                   ggml_backend_dev_name(device), address, seen);
}

void dw_host_unregister(ggml_backend_dev_t device, void *address)
{
    cudaError_t result = cudaHostUnregister(address);
    if (result != cudaSuccess) {
        (void)cudaGetLastError();
        dw_log(DW_LOG_WARN, "%s: unregistering %p: %s", ggml_backend_dev_name(device), address,
               cudaGetErrorString(result));
    }
}
