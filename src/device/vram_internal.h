/* What the kinds of address-range memory implement. Private to src/device. */
#ifndef DW_DEVICE_VRAM_INTERNAL_H
#define DW_DEVICE_VRAM_INTERNAL_H

#include <stdatomic.h>

#include "device/vram.h"

/* As the functions of vram.h; what is checked and counted there has been. */
typedef struct dw__vram_kind {
    void (*close)(dw_vram *vram);
    void (*memory)(dw_vram *vram, size_t *free_bytes, size_t *total_bytes);
    dw_status (*reserve)(dw_vram *vram, void **base, size_t bytes, dw_error *err);
    void (*unreserve)(dw_vram *vram, void *base, size_t bytes);
    dw_status (*create)(dw_vram *vram, dw_vram_allocation *allocation, size_t bytes, dw_error *err);
    void (*release)(dw_vram *vram, const dw_vram_allocation *allocation);
    dw_status (*map)(dw_vram *vram, void *address, const dw_vram_allocation *allocation,
                     dw_error *err);
    void (*unmap)(dw_vram *vram, void *address, size_t bytes);
    dw_status (*host_create)(dw_vram *vram, void **out, size_t bytes, dw_error *err);
    void (*host_destroy)(dw_vram *vram, void *memory, size_t bytes);
    dw_status (*stream_create)(dw_vram_stream **out, dw_vram *vram, dw_error *err);
    void (*stream_destroy)(dw_vram_stream *stream);
    dw_status (*copy)(dw_vram_stream *stream, void *to, const void *from, size_t bytes,
                      dw_error *err);
    dw_status (*clear)(dw_vram_stream *stream, void *to, size_t bytes, dw_error *err);
    dw_status (*wait)(dw_vram_stream *stream, dw_error *err);
    dw_status (*event_create)(dw_vram_event **out, dw_vram *vram, dw_error *err);
    void (*event_destroy)(dw_vram_event *event);
    dw_status (*event_mark)(dw_vram_event *event, dw_vram_stream *stream, dw_error *err);
    dw_status (*event_wait)(dw_vram_event *event, dw_error *err);
} dw__vram_kind;

/* Each kind's objects begin with these. */
struct dw_vram {
    const dw__vram_kind *kind;
    size_t granularity_bytes;
    dw_device *device;
    _Atomic size_t range_count;
    _Atomic size_t allocation_count;
    _Atomic size_t allocation_bytes;
    _Atomic size_t mapping_count;
    _Atomic size_t failed_count;
    _Atomic unsigned failing; /* kinds of calls that count down */
    _Atomic int64_t countdown;
};

struct dw_vram_stream {
    dw_vram *vram;
};

struct dw_vram_event {
    dw_vram *vram;
};

/* Errors: DW_E_UNSUPPORTED also where this build has no such kind. */
dw_status dw__vram_cuda_open(dw_vram **out, dw_device *device, dw_error *err);
dw_status dw__vram_host_open(dw_vram **out, dw_device *device, const dw_vram_emulation *options,
                             dw_error *err);

#endif
