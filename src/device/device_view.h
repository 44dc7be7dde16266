/* Link 3: a device's buffer on a region. Tensors are placed over the region's own bytes, by
 * pointer. How the device gets the pages:
 *   imported    ggml's buffer-from-host-pointer (CPU, Metal, Vulkan): the committed range becomes
 *               a buffer, made anew when the region has grown
 *   registered  CUDA: each newly committed range is pinned and mapped (cudaHostRegister); the
 *               device then uses the host's own address
 *   staged      where registering failed (and where it is asked for): device memory of the region's
 *               size; what a graph reads is copied there before it runs, what it wrote is copied
 *               back afterwards. Slower, counted, and reported with the reason. Whoever runs graphs
 *               with the view as an option of the run need not know which kind it is
 * What a view takes of its device is counted with the device (dw_device_counters_of). On a lost
 * device every call fails with DW_E_DEVICE, and destroying frees nothing of the driver's.
 * Thread: one at a time, the region's. Lifetime: before the region and the device go. */
#ifndef DW_DEVICE_DEVICE_VIEW_H
#define DW_DEVICE_DEVICE_VIEW_H

#include "device/device.h"
#include "memory/region.h"

typedef struct dw_device_view dw_device_view;

/* Whether a view may be staged. */
typedef enum dw_view_access {
    DW_VIEW_STAGEABLE, /* it is, where registering fails and after dw_device_set_staging */
    DW_VIEW_IN_PLACE,  /* never: its bytes are read and written outside of graphs as well */
} dw_view_access;

/* A view of `region`, which outlives it.
 * Errors: DW_E_UNSUPPORTED (the device cannot use host pages), DW_E_DEVICE, DW_E_MEMORY (of the
 * device too, for a staged one). */
dw_status dw_device_view_create(dw_device_view **out, dw_device *device, dw_region *region,
                                dw_view_access access, dw_error *err);
/* No tensor placed by it may be used afterwards. NULL is fine. */
void dw_device_view_destroy(dw_device_view *view);

/* Follow the region's growth. Cheap when nothing changed. Tensors placed before are stale when
 * dw_device_view_generation has changed. Errors: DW_E_DEVICE, DW_E_MEMORY. */
dw_status dw_device_view_follow(dw_device_view *view, dw_error *err);
/* Before other pages are put in the region's place: what is registered is unregistered. The next
 * dw_device_view_follow registers the new pages. */
void dw_device_view_unregister(dw_device_view *view);
uint64_t dw_device_view_generation(const dw_device_view *view);

/* Point `tensor` at host bytes [address, address + ggml_nbytes) of the region.
 * Errors: DW_E_RANGE, DW_E_ALIGN (with the multiple that this device needs), those of
 * dw_device_view_follow. */
dw_status dw_device_view_place(dw_device_view *view, struct ggml_tensor *tensor, void *address,
                               dw_error *err);
/* The device's address of host bytes [address, address + bytes) of the region, for kernels of ours.
 * Errors: DW_E_RANGE, those of dw_device_view_follow. */
dw_status dw_device_view_address(dw_device_view *view, const void *address, size_t bytes,
                                 uint64_t *out, dw_error *err);
/* The multiple that addresses must have; a power of two, at most DW_TENSOR_ALIGN on the
 * devices known. */
size_t dw_device_view_align_bytes(const dw_device_view *view);
/* What the device uses as address of the region's first byte: the same as the host's where the
 * backend shares its address space (`*same` true); where it keeps its own numbers (Vulkan),
 * `*same` is false and identity is shown by what it reads and writes. */
void *dw_device_view_base(const dw_device_view *view, bool *same);
/* "imported", "registered" or "staged". */
const char *dw_device_view_kind(const dw_device_view *view);

/* ---- staged views ---- */

/* Around each run of a graph that has tensors in the view, after they were placed: copy what it
 * reads to the device, and what it wrote back. Nothing where the device works in the region itself.
 * Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_device_view_bring(dw_device_view *view, struct ggml_cgraph *graph, dw_error *err);
dw_status dw_device_view_fetch(dw_device_view *view, struct ggml_cgraph *graph, dw_error *err);
bool dw_device_view_is_staged(const dw_device_view *view);
/* `bytes` have been copied for a staged view by other means. */
void dw_device_view_note_staged(dw_device_view *view, uint64_t bytes);
/* Copied so far. */
uint64_t dw_device_view_staged_bytes(const dw_device_view *view);
/* Why it is staged where it should have been registered; else "". */
const char *dw_device_view_why_staged(const dw_device_view *view);

#endif
