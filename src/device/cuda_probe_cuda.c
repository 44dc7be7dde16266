#include <assert.h>
#include <cuda.h>
#include <cuda_runtime_api.h>

#include "device/cuda_probe.h"
#include "device/device.h"

void dw__cuda_probe(dw__cuda_info *info)
{
    *info = (dw__cuda_info){.built = true, .missing = dw__cuda_missing_library()};
    (void)cudaDriverGetVersion(&info->driver_version);
    (void)cudaRuntimeGetVersion(&info->runtime_version);
    cudaError_t result = cudaGetDeviceCount(&info->device_count);
    if (result != cudaSuccess) {
        info->device_count = 0;
        info->error = cudaGetErrorString(result);
    }
    (void)cudaGetLastError();
}

void dw__cuda_probe_device(int ordinal, dw__cuda_device_info *info)
{
    *info = (dw__cuda_device_info){0};
    int before = 0;
    int major = 0;
    int minor = 0;
    size_t bytes_free = 0;
    size_t bytes = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal) == cudaSuccess &&
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal) == cudaSuccess) {
        info->capability = major * 10 + minor;
    }
    (void)cudaGetDevice(&before);
    cudaError_t result = cudaSetDevice(ordinal);
    if (result == cudaSuccess) {
        result = cudaMemGetInfo(&bytes_free, &bytes);
    }
    if (result != cudaSuccess) {
        info->error = cudaGetErrorString(result);
    }
    (void)cudaSetDevice(before);
    (void)cudaGetLastError();
}

void dw__cuda_forget_error(void)
{
    (void)cudaGetLastError();
}

/* Faults that end the context. */
static bool is_fault(cudaError_t reason)
{
    switch (reason) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
        return true;
    default:
        return false;
    }
}

/* The driver's numbers are the runtime's. */
static_assert((int)CUDA_ERROR_ILLEGAL_ADDRESS == (int)cudaErrorIllegalAddress &&
                  (int)CUDA_ERROR_LAUNCH_FAILED == (int)cudaErrorLaunchFailure &&
                  (int)CUDA_ERROR_ECC_UNCORRECTABLE == (int)cudaErrorECCUncorrectable,
              "errors of driver and runtime");

void dw__cuda_note_fault(dw_device *device, int error, const char *text)
{
    if (is_fault((cudaError_t)error)) {
        dw_device_mark_lost(device, text);
    }
}
