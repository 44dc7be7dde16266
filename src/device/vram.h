/* A device's memory by address ranges (virtual memory management). A range of addresses is reserved
 * on the device; allocations of physical memory are created apart from it and mapped into it one
 * behind the other. The same allocation may be mapped into any number of ranges. So what lies in a
 * range grows without moving, and ranges share memory.
 *
 * CUDA's virtual memory management (vram_cuda.c; builds without CUDA have vram_none.c), or memory
 * files mapped into reserved host addresses (vram_host.c): the emulation that runs on the CPU
 * device, for tests. On an H200 creating and mapping an allocation costs 50 to 95 us whatever its
 * size, reserving 64 GiB 21 us.
 *
 * Addresses and sizes of ranges and allocations are multiples of the granularity. Copies are
 * submitted to a stream and done when it, or an event behind them, has been waited for; the host
 * memory they touch is of dw_vram_host_create and stays unchanged until then.
 * Thread: any; a stream's copies keep the order in which they were submitted.
 * Errors: DW_E_MEMORY (none left), DW_E_DEVICE, each with the driver's reason. */
#ifndef DW_DEVICE_VRAM_H
#define DW_DEVICE_VRAM_H

#include "device/device.h"

typedef struct dw_vram dw_vram;
typedef struct dw_vram_stream dw_vram_stream;
typedef struct dw_vram_event dw_vram_event;

/* Physical memory; the caller's storage. bytes 0: none. */
typedef struct dw_vram_allocation {
    uint64_t handle;
    size_t bytes;
} dw_vram_allocation;

typedef struct dw_vram_emulation {
    size_t granularity_bytes; /* a multiple of the page; 0: the page */
    size_t memory_bytes;      /* that allocations can have in all; 0: any */
} dw_vram_emulation;

/* A driver's call that answers with a fault loses the device (dw_device_lost). On a lost one calls
 * fail with DW_E_DEVICE, and what gives back makes no call of the driver's.
 * Errors: also DW_E_UNSUPPORTED (no such memory on this device, or in this build). */
dw_status dw_vram_open(dw_vram **out, dw_device *device, dw_error *err);
/* The same in host memory, for a device that computes there. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_vram_emulate(dw_vram **out, dw_device *device, const dw_vram_emulation *options,
                          dw_error *err);
/* Before the device is closed. Ranges, allocations, streams and events must be gone. */
void dw_vram_close(dw_vram *vram);
size_t dw_vram_granularity(const dw_vram *vram);
/* What the device says: others may take of it at any time. */
void dw_vram_memory(dw_vram *vram, size_t *free_bytes, size_t *total_bytes);

/* Addresses without memory; touching them is a fault of the device. */
dw_status dw_vram_reserve(dw_vram *vram, void **base, size_t bytes, dw_error *err);
/* Nothing is mapped there any more. `base` NULL is fine. */
void dw_vram_unreserve(dw_vram *vram, void *base, size_t bytes);
/* What is in it is unspecified. */
dw_status dw_vram_create(dw_vram *vram, dw_vram_allocation *allocation, size_t bytes,
                         dw_error *err);
/* Where it is still mapped it stays until it is unmapped. None is fine. */
void dw_vram_release(dw_vram *vram, dw_vram_allocation *allocation);
/* The whole allocation at `address` of a range, where nothing is mapped, to be read and written. */
dw_status dw_vram_map(dw_vram *vram, void *address, const dw_vram_allocation *allocation,
                      dw_error *err);
/* One whole allocation; no copy to or from it is on its way. */
void dw_vram_unmap(dw_vram *vram, void *address, size_t bytes);

/* Pinned pages, which the device reads and writes by itself. */
dw_status dw_vram_host_create(dw_vram *vram, void **out, size_t bytes, dw_error *err);
void dw_vram_host_destroy(dw_vram *vram, void *memory, size_t bytes); /* NULL is fine */

dw_status dw_vram_stream_create(dw_vram_stream **out, dw_vram *vram, dw_error *err);
void dw_vram_stream_destroy(dw_vram_stream *stream); /* waits; NULL is fine */
/* Submit a copy between two places, each in mapped allocations or pinned memory. */
dw_status dw_vram_copy(dw_vram_stream *stream, void *to, const void *from, size_t bytes,
                       dw_error *err);
/* Submit zeros for mapped bytes. */
dw_status dw_vram_clear(dw_vram_stream *stream, void *to, size_t bytes, dw_error *err);
/* Until all that was submitted is done. After an error nothing is on its way either. */
dw_status dw_vram_wait(dw_vram_stream *stream, dw_error *err);
/* An event stands for what was submitted to a stream until it was marked. */
dw_status dw_vram_event_create(dw_vram_event **out, dw_vram *vram, dw_error *err);
void dw_vram_event_destroy(dw_vram_event *event); /* NULL is fine */
dw_status dw_vram_event_mark(dw_vram_event *event, dw_vram_stream *stream, dw_error *err);
/* Until that is done; at once where it was never marked. */
dw_status dw_vram_event_wait(dw_vram_event *event, dw_error *err);

/* Tests: of the calls of these kinds let `countdown` pass, then fail one; negative: none fails. */
#define DW_VRAM_RESERVE 1u
#define DW_VRAM_CREATE 2u
#define DW_VRAM_MAP 4u
#define DW_VRAM_HOST 8u /* pinned memory, streams, events */
#define DW_VRAM_COPY 16u
#define DW_VRAM_WAIT 32u
#define DW_VRAM_ANY 63u
void dw_vram_fail_after(dw_vram *vram, unsigned kinds, int64_t countdown);
/* What there is now of each, for tests. */
typedef struct dw_vram_stats {
    size_t range_count;
    size_t allocation_count;
    size_t allocation_bytes;
    size_t mapping_count;
    size_t failed_count; /* calls, as was asked for */
} dw_vram_stats;
void dw_vram_get_stats(dw_vram *vram, dw_vram_stats *counts);

#endif
