#include <cuda_runtime_api.h>

#include "device/cuda_probe.h"

void dw_cuda_probe(dw_cuda_state *state)
{
    *state = (dw_cuda_state){.built = true, .missing = dw_cuda_missing_library()};
    (void)cudaDriverGetVersion(&state->driver_version);
    (void)cudaRuntimeGetVersion(&state->runtime_version);
    cudaError_t result = cudaGetDeviceCount(&state->device_count);
    if (result != cudaSuccess) {
        state->device_count = 0;
        state->error = cudaGetErrorString(result);
    }
    (void)cudaGetLastError();
}

void dw_cuda_probe_device(int ordinal, dw_cuda_device_state *state)
{
    *state = (dw_cuda_device_state){0};
    int before = 0;
    int major = 0;
    int minor = 0;
    size_t bytes_free = 0;
    size_t bytes = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal) == cudaSuccess &&
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal) == cudaSuccess) {
        state->capability = major * 10 + minor;
    }
    (void)cudaGetDevice(&before);
    cudaError_t result = cudaSetDevice(ordinal);
    if (result == cudaSuccess) {
        result = cudaMemGetInfo(&bytes_free, &bytes);
    }
    if (result != cudaSuccess) {
        state->error = cudaGetErrorString(result);
    }
    (void)cudaSetDevice(before);
    (void)cudaGetLastError();
}

void dw_cuda_forget_error(void)
{
    (void)cudaGetLastError();
}
