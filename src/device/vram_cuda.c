/* CUDA's virtual memory management, in the primary context of the device: the one that ggml's calls
 * of the runtime use, so that addresses mean the same to both. */
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "device/cuda_probe.h"
#include "device/device_internal.h"
#include "device/device_memory.h"
#include "device/vram_internal.h"

typedef struct cuda_vram {
    dw_vram base;
    int ordinal;
    CUdevice device; /* of the driver */
    const char *name;
} cuda_vram;

typedef struct cuda_stream {
    dw_vram_stream base;
    cudaStream_t stream;
} cuda_stream;

typedef struct cuda_event {
    dw_vram_event base;
    cudaEvent_t event;
} cuda_event;

static cuda_vram *of(dw_vram *vram)
{
    return (cuda_vram *)vram;
}

static dw_status driver_failed(cuda_vram *vram, const char *what, size_t bytes, CUresult reason,
                               dw_error *err)
{
    const char *text = NULL;
    (void)cuGetErrorString(reason, &text);
    dw__cuda_note_fault(vram->base.device, (int)reason, text != NULL ? text : "a fault");
    return dw_fail(err, reason == CUDA_ERROR_OUT_OF_MEMORY ? DW_E_MEMORY : DW_E_DEVICE,
                   "%s: %s of %zu bytes: %s", vram->name, what, bytes,
                   text != NULL ? text : "the driver does not say why");
}

static dw_status runtime_failed(cuda_vram *vram, const char *what, size_t bytes, cudaError_t reason,
                                dw_error *err)
{
    (void)cudaGetLastError(); /* the error must not surface in ggml's next call */
    dw__cuda_note_fault(vram->base.device, (int)reason, cudaGetErrorString(reason));
    return dw_fail(err, reason == cudaErrorMemoryAllocation ? DW_E_MEMORY : DW_E_DEVICE,
                   "%s: %s of %zu bytes: %s", vram->name, what, bytes, cudaGetErrorString(reason));
}

/* A thread's calls go to its current device. */
static dw_status enter(cuda_vram *vram, dw_error *err)
{
    cudaError_t result = cudaSetDevice(vram->ordinal);
    return result == cudaSuccess ? DW_OK
                                 : runtime_failed(vram, "taking the device", 0, result, err);
}

static CUmemAllocationProp properties(const cuda_vram *vram)
{
    return (CUmemAllocationProp){
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = vram->device}};
}

static void cuda_close(dw_vram *vram)
{
    dw_free(vram);
}

static void cuda_memory(dw_vram *vram, size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = 0;
    *total_bytes = 0;
    if (dw_device_lost(vram->device) || enter(of(vram), NULL) != DW_OK) {
        return;
    }
    cudaError_t result = cudaMemGetInfo(free_bytes, total_bytes);
    if (result != cudaSuccess) {
        (void)runtime_failed(of(vram), "asking for memory", 0, result, NULL);
    }
}

/* ---- ranges and allocations ---- */

static dw_status cuda_reserve(dw_vram *vram, void **base, size_t bytes, dw_error *err)
{
    CUdeviceptr address = 0;
    dw_status status = enter(of(vram), err);
    if (status != DW_OK) {
        return status;
    }
    CUresult result = cuMemAddressReserve(&address, bytes, 0, 0, 0);
    *base = (void *)(uintptr_t)address;
    return result == CUDA_SUCCESS
               ? DW_OK
               : driver_failed(of(vram), "reserving addresses", bytes, result, err);
}

/* What gives back can hardly fail, and no caller could handle it: it is logged. */
static void note(cuda_vram *vram, const char *what, CUresult result)
{
    if (result != CUDA_SUCCESS) {
        dw_error error = {0};
        (void)driver_failed(vram, what, 0, result, &error);
        dw_log(DW_LOG_WARN, "%s", error.message);
    }
}

static void cuda_unreserve(dw_vram *vram, void *base, size_t bytes)
{
    if (!dw_device_lost(vram->device)) {
        note(of(vram), "giving back addresses",
             cuMemAddressFree((CUdeviceptr)(uintptr_t)base, bytes));
    }
}

static dw_status cuda_create(dw_vram *vram, dw_vram_allocation *allocation, size_t bytes,
                             dw_error *err)
{
    CUmemAllocationProp wanted = properties(of(vram));
    CUmemGenericAllocationHandle handle = 0;
    dw_status status = enter(of(vram), err);
    if (status != DW_OK) {
        return status;
    }
    CUresult result = cuMemCreate(&handle, bytes, &wanted, 0);
    if (result != CUDA_SUCCESS) {
        return driver_failed(of(vram), "device memory", bytes, result, err);
    }
    *allocation = (dw_vram_allocation){.handle = handle, .bytes = bytes};
    return DW_OK;
}

static void cuda_release(dw_vram *vram, const dw_vram_allocation *allocation)
{
    if (!dw_device_lost(vram->device)) {
        note(of(vram), "giving back memory", cuMemRelease(allocation->handle));
    }
}

static dw_status cuda_map(dw_vram *vram, void *address, const dw_vram_allocation *allocation,
                          dw_error *err)
{
    CUdeviceptr at = (CUdeviceptr)(uintptr_t)address;
    CUmemAccessDesc access = {.location = properties(of(vram)).location,
                              .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    dw_status status = enter(of(vram), err);
    if (status != DW_OK) {
        return status;
    }
    CUresult result = cuMemMap(at, allocation->bytes, 0, allocation->handle, 0);
    if (result != CUDA_SUCCESS) {
        return driver_failed(of(vram), "mapping", allocation->bytes, result, err);
    }
    result = cuMemSetAccess(at, allocation->bytes, &access, 1);
    if (result != CUDA_SUCCESS) {
        note(of(vram), "unmapping", cuMemUnmap(at, allocation->bytes));
        return driver_failed(of(vram), "access to memory", allocation->bytes, result, err);
    }
    return DW_OK;
}

static void cuda_unmap(dw_vram *vram, void *address, size_t bytes)
{
    if (!dw_device_lost(vram->device)) {
        (void)enter(of(vram), NULL);
        note(of(vram), "unmapping", cuMemUnmap((CUdeviceptr)(uintptr_t)address, bytes));
    }
}

static dw_status cuda_host_create(dw_vram *vram, void **out, size_t bytes, dw_error *err)
{
    dw_status status = enter(of(vram), err);
    if (status != DW_OK) {
        return status;
    }
    cudaError_t result = cudaHostAlloc(out, bytes, cudaHostAllocPortable);
    return result == cudaSuccess
               ? DW_OK
               : runtime_failed(of(vram), "pinned host memory", bytes, result, err);
}

static void cuda_host_destroy(dw_vram *vram, void *memory, size_t bytes)
{
    if (dw_device_lost(vram->device)) {
        return; /* a copy may still be on its way there */
    }
    cudaError_t result = cudaFreeHost(memory);
    if (result != cudaSuccess) {
        dw_error error = {0};
        (void)runtime_failed(of(vram), "giving back pinned memory", bytes, result, &error);
        dw_log(DW_LOG_WARN, "%s", error.message);
    }
}

/* ---- streams ---- */

static dw_status cuda_stream_create(dw_vram_stream **out, dw_vram *vram, dw_error *err)
{
    dw_status status = enter(of(vram), err);
    cuda_stream *stream = status == DW_OK ? dw_alloc(1, sizeof *stream) : NULL;
    if (status != DW_OK) {
        return status;
    }
    if (stream == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a stream");
    }
    stream->base.vram = vram;
    /* Beside ggml's streams, not behind the default one. */
    cudaError_t result = cudaStreamCreateWithFlags(&stream->stream, cudaStreamNonBlocking);
    if (result != cudaSuccess) {
        dw_free(stream);
        return runtime_failed(of(vram), "a stream", 0, result, err);
    }
    *out = &stream->base;
    return DW_OK;
}

static void cuda_stream_destroy(dw_vram_stream *base)
{
    cuda_stream *stream = (cuda_stream *)base;
    if (!dw_device_lost(base->vram->device) && enter(of(base->vram), NULL) == DW_OK) {
        (void)cudaStreamSynchronize(stream->stream);
        (void)cudaStreamDestroy(stream->stream);
        (void)cudaGetLastError();
    }
    dw_free(stream);
}

static dw_status cuda_copy(dw_vram_stream *stream, void *to, const void *from, size_t bytes,
                           dw_error *err)
{
    dw_status status = enter(of(stream->vram), err);
    if (status != DW_OK) {
        return status;
    }
    /* Addresses are unique over host and device: the driver knows which they are. */
    cudaError_t result =
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, ((cuda_stream *)stream)->stream);
    return result == cudaSuccess ? DW_OK
                                 : runtime_failed(of(stream->vram), "a copy", bytes, result, err);
}

static dw_status cuda_clear(dw_vram_stream *stream, void *to, size_t bytes, dw_error *err)
{
    dw_status status = enter(of(stream->vram), err);
    if (status != DW_OK) {
        return status;
    }
    cudaError_t result = cudaMemsetAsync(to, 0, bytes, ((cuda_stream *)stream)->stream);
    return result == cudaSuccess ? DW_OK
                                 : runtime_failed(of(stream->vram), "clearing", bytes, result, err);
}

static dw_status cuda_wait(dw_vram_stream *stream, dw_error *err)
{
    dw_status status = enter(of(stream->vram), err);
    if (status != DW_OK) {
        return status;
    }
    cudaError_t result = cudaStreamSynchronize(((cuda_stream *)stream)->stream);
    return result == cudaSuccess
               ? DW_OK
               : runtime_failed(of(stream->vram), "waiting for copies", 0, result, err);
}

static dw_status cuda_event_create(dw_vram_event **out, dw_vram *vram, dw_error *err)
{
    dw_status status = enter(of(vram), err);
    cuda_event *event = status == DW_OK ? dw_alloc(1, sizeof *event) : NULL;
    if (status != DW_OK) {
        return status;
    }
    if (event == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an event");
    }
    event->base.vram = vram;
    cudaError_t result = cudaEventCreateWithFlags(&event->event, cudaEventDisableTiming);
    if (result != cudaSuccess) {
        dw_free(event);
        return runtime_failed(of(vram), "an event", 0, result, err);
    }
    *out = &event->base;
    return DW_OK;
}

static void cuda_event_destroy(dw_vram_event *base)
{
    if (!dw_device_lost(base->vram->device) && enter(of(base->vram), NULL) == DW_OK) {
        (void)cudaEventDestroy(((cuda_event *)base)->event);
        (void)cudaGetLastError();
    }
    dw_free(base);
}

static dw_status cuda_event_mark(dw_vram_event *event, dw_vram_stream *stream, dw_error *err)
{
    dw_status status = enter(of(event->vram), err);
    if (status != DW_OK) {
        return status;
    }
    cudaError_t result =
        cudaEventRecord(((cuda_event *)event)->event, ((cuda_stream *)stream)->stream);
    return result == cudaSuccess ? DW_OK
                                 : runtime_failed(of(event->vram), "an event", 0, result, err);
}

static dw_status cuda_event_wait(dw_vram_event *event, dw_error *err)
{
    dw_status status = enter(of(event->vram), err);
    if (status != DW_OK) {
        return status;
    }
    cudaError_t result = cudaEventSynchronize(((cuda_event *)event)->event);
    return result == cudaSuccess
               ? DW_OK
               : runtime_failed(of(event->vram), "waiting for a copy", 0, result, err);
}

static const dw__vram_kind cuda_kind = {
    .close = cuda_close,
    .memory = cuda_memory,
    .reserve = cuda_reserve,
    .unreserve = cuda_unreserve,
    .create = cuda_create,
    .release = cuda_release,
    .map = cuda_map,
    .unmap = cuda_unmap,
    .host_create = cuda_host_create,
    .host_destroy = cuda_host_destroy,
    .stream_create = cuda_stream_create,
    .stream_destroy = cuda_stream_destroy,
    .copy = cuda_copy,
    .clear = cuda_clear,
    .wait = cuda_wait,
    .event_create = cuda_event_create,
    .event_destroy = cuda_event_destroy,
    .event_mark = cuda_event_mark,
    .event_wait = cuda_event_wait,
};

/* ---- opening ---- */

/* The runtime's number of one of ggml's devices: ggml lists them in the runtime's order. */
static int ordinal_of(ggml_backend_dev_t handle)
{
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(handle);
    if (reg == NULL || strcmp(ggml_backend_reg_name(reg), "CUDA") != 0) {
        return -1;
    }
    for (size_t i = 0; i < ggml_backend_reg_dev_count(reg); i++) {
        if (ggml_backend_reg_dev_get(reg, i) == handle) {
            return (int)i;
        }
    }
    return -1;
}

static dw_status look(cuda_vram *vram, dw_error *err)
{
    int able = 0;
    dw_status status = enter(vram, err);
    if (status != DW_OK) {
        return status;
    }
    cudaError_t begun = cudaFree(NULL); /* makes the primary context, where there is none yet */
    if (begun != cudaSuccess) {
        return runtime_failed(vram, "opening the device", 0, begun, err);
    }
    CUresult result = cuDeviceGet(&vram->device, vram->ordinal);
    if (result == CUDA_SUCCESS) {
        result = cuDeviceGetAttribute(
            &able, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, vram->device);
    }
    if (result == CUDA_SUCCESS && able == 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "%s: no memory by address ranges", vram->name);
    }
    CUmemAllocationProp wanted = properties(vram);
    if (result == CUDA_SUCCESS) {
        result = cuMemGetAllocationGranularity(&vram->base.granularity_bytes, &wanted,
                                               CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
    }
    return result == CUDA_SUCCESS ? DW_OK : driver_failed(vram, "address ranges", 0, result, err);
}

dw_status dw__vram_cuda_open(dw_vram **out, dw_device *device, dw_error *err)
{
    int ordinal = ordinal_of(device->handle);
    if (ordinal < 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "%s: no memory by address ranges", device->info.name);
    }
    cuda_vram *vram = dw_alloc(1, sizeof *vram);
    if (vram == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a device's memory");
    }
    vram->base.kind = &cuda_kind;
    vram->base.device = device;
    vram->ordinal = ordinal;
    vram->name = device->info.name;
    dw_status status = look(vram, err);
    if (status != DW_OK) {
        dw_free(vram);
        return status;
    }
    *out = &vram->base;
    return DW_OK;
}
