#include "device/vram.h"

#include "device/vram_internal.h"

dw_status dw_vram_open(dw_vram **out, dw_device *device, dw_error *err)
{
    *out = NULL;
    dw_status status = dw_device_check(device, err);
    return status == DW_OK ? dw__vram_cuda_open(out, device, err) : status;
}

dw_status dw_vram_emulate(dw_vram **out, dw_device *device, const dw_vram_emulation *options,
                          dw_error *err)
{
    *out = NULL;
    dw_status status = dw_device_check(device, err);
    return status == DW_OK ? dw__vram_host_open(out, device, options, err) : status;
}

void dw_vram_close(dw_vram *vram)
{
    if (vram != NULL) {
        DW_ASSERT(vram->range_count == 0 && vram->allocation_count == 0 &&
                  vram->mapping_count == 0);
        vram->kind->close(vram);
    }
}

size_t dw_vram_granularity(const dw_vram *vram)
{
    return vram->granularity_bytes;
}

void dw_vram_memory(dw_vram *vram, size_t *free_bytes, size_t *total_bytes)
{
    vram->kind->memory(vram, free_bytes, total_bytes);
}

void dw_vram_fail_after(dw_vram *vram, unsigned kinds, int64_t countdown)
{
    atomic_store(&vram->countdown, countdown);
    atomic_store(&vram->failing, countdown < 0 ? 0 : kinds);
}

void dw_vram_get_stats(dw_vram *vram, dw_vram_stats *counts)
{
    *counts = (dw_vram_stats){.range_count = vram->range_count,
                              .allocation_count = vram->allocation_count,
                              .allocation_bytes = vram->allocation_bytes,
                              .mapping_count = vram->mapping_count,
                              .failed_count = vram->failed_count};
}

/* Whether the device was lost, or a test wants this call to fail. */
static dw_status fails(dw_vram *vram, unsigned kind, const char *what, dw_error *err)
{
    if (dw_device_lost(vram->device)) {
        return dw_fail(err, DW_E_DEVICE, "device memory: no %s, the device was lost", what);
    }
    if ((atomic_load(&vram->failing) & kind) == 0 || atomic_fetch_sub(&vram->countdown, 1) != 0) {
        return DW_OK;
    }
    vram->failed_count++;
    dw_status status = (kind & (DW_VRAM_COPY | DW_VRAM_WAIT)) != 0 ? DW_E_DEVICE : DW_E_MEMORY;
    return dw_fail(err, status, "device memory: %s failed, as asked for", what);
}

static bool is_whole(const dw_vram *vram, const void *address, size_t bytes)
{
    return ((uintptr_t)address | bytes) % vram->granularity_bytes == 0 && bytes > 0;
}

dw_status dw_vram_reserve(dw_vram *vram, void **base, size_t bytes, dw_error *err)
{
    *base = NULL;
    DW_ASSERT(is_whole(vram, NULL, bytes));
    dw_status status = fails(vram, DW_VRAM_RESERVE, "reserving", err);
    if (status == DW_OK) {
        status = vram->kind->reserve(vram, base, bytes, err);
    }
    vram->range_count += status == DW_OK;
    return status;
}

void dw_vram_unreserve(dw_vram *vram, void *base, size_t bytes)
{
    if (base != NULL) {
        vram->kind->unreserve(vram, base, bytes);
        DW_ASSERT(vram->range_count-- > 0);
    }
}

dw_status dw_vram_create(dw_vram *vram, dw_vram_allocation *allocation, size_t bytes, dw_error *err)
{
    *allocation = (dw_vram_allocation){.bytes = 0};
    DW_ASSERT(is_whole(vram, NULL, bytes));
    dw_status status = fails(vram, DW_VRAM_CREATE, "creating", err);
    if (status == DW_OK) {
        status = vram->kind->create(vram, allocation, bytes, err);
    }
    if (status == DW_OK) {
        vram->allocation_count++;
        vram->allocation_bytes += bytes;
    }
    return status;
}

void dw_vram_release(dw_vram *vram, dw_vram_allocation *allocation)
{
    if (allocation->bytes > 0) {
        vram->kind->release(vram, allocation);
        DW_ASSERT(vram->allocation_count-- > 0);
        vram->allocation_bytes -= allocation->bytes;
        *allocation = (dw_vram_allocation){.bytes = 0};
    }
}

dw_status dw_vram_map(dw_vram *vram, void *address, const dw_vram_allocation *allocation,
                      dw_error *err)
{
    DW_ASSERT(is_whole(vram, address, allocation->bytes));
    dw_status status = fails(vram, DW_VRAM_MAP, "mapping", err);
    if (status == DW_OK) {
        status = vram->kind->map(vram, address, allocation, err);
    }
    vram->mapping_count += status == DW_OK;
    return status;
}

void dw_vram_unmap(dw_vram *vram, void *address, size_t bytes)
{
    DW_ASSERT(is_whole(vram, address, bytes));
    vram->kind->unmap(vram, address, bytes);
    DW_ASSERT(vram->mapping_count-- > 0);
}

dw_status dw_vram_host_create(dw_vram *vram, void **out, size_t bytes, dw_error *err)
{
    *out = NULL;
    dw_status status = fails(vram, DW_VRAM_HOST, "pinning host memory", err);
    return status == DW_OK ? vram->kind->host_create(vram, out, bytes, err) : status;
}

void dw_vram_host_destroy(dw_vram *vram, void *memory, size_t bytes)
{
    if (memory != NULL) {
        vram->kind->host_destroy(vram, memory, bytes);
    }
}

dw_status dw_vram_stream_create(dw_vram_stream **out, dw_vram *vram, dw_error *err)
{
    *out = NULL;
    dw_status status = fails(vram, DW_VRAM_HOST, "a stream", err);
    return status == DW_OK ? vram->kind->stream_create(out, vram, err) : status;
}

void dw_vram_stream_destroy(dw_vram_stream *stream)
{
    if (stream != NULL) {
        stream->vram->kind->stream_destroy(stream);
    }
}

dw_status dw_vram_copy(dw_vram_stream *stream, void *to, const void *from, size_t bytes,
                       dw_error *err)
{
    if (bytes == 0) {
        return DW_OK;
    }
    dw_status status = fails(stream->vram, DW_VRAM_COPY, "a copy", err);
    return status == DW_OK ? stream->vram->kind->copy(stream, to, from, bytes, err) : status;
}

dw_status dw_vram_clear(dw_vram_stream *stream, void *to, size_t bytes, dw_error *err)
{
    if (bytes == 0) {
        return DW_OK;
    }
    dw_status status = fails(stream->vram, DW_VRAM_COPY, "clearing", err);
    return status == DW_OK ? stream->vram->kind->clear(stream, to, bytes, err) : status;
}

dw_status dw_vram_wait(dw_vram_stream *stream, dw_error *err)
{
    dw_status status = stream->vram->kind->wait(stream, err);
    return status == DW_OK ? fails(stream->vram, DW_VRAM_WAIT, "waiting", err) : status;
}

dw_status dw_vram_event_create(dw_vram_event **out, dw_vram *vram, dw_error *err)
{
    *out = NULL;
    dw_status status = fails(vram, DW_VRAM_HOST, "an event", err);
    return status == DW_OK ? vram->kind->event_create(out, vram, err) : status;
}

void dw_vram_event_destroy(dw_vram_event *event)
{
    if (event != NULL) {
        event->vram->kind->event_destroy(event);
    }
}

dw_status dw_vram_event_mark(dw_vram_event *event, dw_vram_stream *stream, dw_error *err)
{
    dw_status status = fails(stream->vram, DW_VRAM_COPY, "marking", err);
    return status == DW_OK ? event->vram->kind->event_mark(event, stream, err) : status;
}

dw_status dw_vram_event_wait(dw_vram_event *event, dw_error *err)
{
    dw_status status = event->vram->kind->event_wait(event, err);
    return status == DW_OK ? fails(event->vram, DW_VRAM_WAIT, "waiting", err) : status;
}
