#include "device/device_view.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "device/device_find.h"
#include "device/device_internal.h"
#include "device/device_memory.h"
#include "device/host_register.h"
#include "device/staged_pages.h"

/* Growths that a registered region can see: memory.grow doubles in every allocator there is, so
 * this is far more than 4 GiB needs; beyond it the pages are registered anew as one range. */
#define REGISTERED_RANGES_MAX 64
#define REGISTERED_BUFFER_BYTES ((size_t)256)

typedef enum view_kind { IMPORTED, REGISTERED, STAGED } view_kind;

struct dw_device_view {
    dw_region *region;
    dw_device *device;
    view_kind kind;
    dw_view_access access;
    ggml_backend_buffer_t buffer; /* imported: over the region. registered: a small one in VRAM,
                                     which only tells ggml whose tensor it is. staged: the pages' */
    dw__staged_pages *staged;
    uint64_t staged_bytes;      /* copied so far */
    char why_staged[200];       /* "" where it was asked for */
    size_t covered_bytes;       /* of the region, from its base */
    uint64_t region_generation; /* when it was last followed */
    uint64_t generation;        /* counts changes of `buffer` */
    size_t align_bytes;
    struct {
        void *address;
        size_t bytes;
    } ranges[REGISTERED_RANGES_MAX]; /* the registered ones, in order */
    size_t range_count;
};

/* ---- imported ---- */

typedef struct import_call {
    ggml_backend_dev_t handle;
    void *base;
    size_t bytes;
    ggml_backend_buffer_t buffer;
} import_call;

static void import_buffer(void *user)
{
    import_call *call = user;
    call->buffer =
        ggml_backend_dev_buffer_from_host_ptr(call->handle, call->base, call->bytes, call->bytes);
}

static void free_imported(void *user)
{
    ggml_backend_buffer_free(user);
}

static void drop_buffer(dw_device_view *view)
{
    if (view->staged != NULL) {
        dw__staged_pages_destroy(view->staged); /* has the buffer with it */
    } else if (view->kind == REGISTERED) {
        dw_device_buffer_destroy(view->device, DW_USE_VIEW, view->buffer);
    } else if (view->buffer != NULL) {
        dw_device_guarded_free(view->device, free_imported, view->buffer);
    }
    view->staged = NULL;
    view->buffer = NULL;
}

static dw_status import_region(dw_device_view *view, size_t bytes, dw_error *err)
{
    import_call call = {
        .handle = view->device->handle, .base = dw_region_base(view->region), .bytes = bytes};
    dw_status status = dw_device_guarded(view->device, import_buffer, &call, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "%zu host bytes at %p", bytes, call.base);
    }
    if (call.buffer == NULL) {
        return dw_fail(err, DW_E_DEVICE, "%s: refused %zu host bytes at %p as its buffer",
                       view->device->info.name, bytes, call.base);
    }
    drop_buffer(view);
    view->buffer = call.buffer;
    view->covered_bytes = bytes;
    view->generation++;
    return DW_OK;
}

/* ---- registered, staged ---- */

static void unregister_all(dw_device_view *view)
{
    while (view->range_count > 0) {
        view->range_count--;
        dw__host_unregister(view->device, view->ranges[view->range_count].address,
                            view->ranges[view->range_count].bytes);
    }
    view->covered_bytes = 0;
}

/* A copy of the region's size on the device, the old one away first: both may be too much. */
static dw_status stage_region(dw_device_view *view, size_t bytes, dw_error *err)
{
    drop_buffer(view);
    view->kind = STAGED;
    view->covered_bytes = 0;
    view->generation++;
    dw_status status =
        dw__staged_pages_create(&view->staged, view->device, view->region, bytes, err);
    if (status != DW_OK) {
        return status;
    }
    view->buffer = dw__staged_pages_buffer(view->staged);
    view->covered_bytes = bytes;
    return DW_OK;
}

/* PROT_NONE pages cannot be registered, adjacent ranges can: only what is new is added. */
static dw_status register_growth(dw_device_view *view, size_t bytes, dw_error *err)
{
    if (view->range_count == REGISTERED_RANGES_MAX) {
        unregister_all(view);
    }
    unsigned char *from = (unsigned char *)dw_region_base(view->region) + view->covered_bytes;
    size_t more = bytes - view->covered_bytes;
    dw_status status = dw__host_register(view->device, from, more, err);
    if (status != DW_OK) {
        return status;
    }
    view->ranges[view->range_count].address = from;
    view->ranges[view->range_count].bytes = more;
    view->range_count++;
    view->covered_bytes = bytes;
    return DW_OK;
}

/* Registered, or else copied from now on, which is slower: never without a warning. */
static dw_status register_or_stage(dw_device_view *view, size_t bytes, dw_error *err)
{
    dw_error why;
    dw_status status = register_growth(view, bytes, &why);
    if (status == DW_OK) {
        return DW_OK;
    }
    if (view->access == DW_VIEW_IN_PLACE || dw_device_lost(view->device)) {
        return dw_fail(err, status, "%s", why.message);
    }
    dw_log(DW_LOG_WARN, "%s; guest memory is copied to the device and back instead", why.message);
    (void)snprintf(view->why_staged, sizeof view->why_staged, "%.199s", why.message);
    unregister_all(view);
    return stage_region(view, bytes, err);
}

void dw_device_view_unregister(dw_device_view *view)
{
    unregister_all(view);
    view->region_generation = dw_region_generation(view->region) - 1;
}

dw_status dw_device_view_follow(dw_device_view *view, dw_error *err)
{
    uint64_t region_generation = dw_region_generation(view->region);
    size_t bytes = dw_region_committed_bytes(view->region);
    if (view->region_generation == region_generation) {
        return DW_OK;
    }
    dw_status status = DW_OK;
    if (view->kind == IMPORTED) {
        status = import_region(view, bytes, err);
    } else if (bytes > view->covered_bytes) {
        status = view->kind == REGISTERED ? register_or_stage(view, bytes, err)
                                          : stage_region(view, bytes, err);
    }
    if (status == DW_OK) {
        view->region_generation = region_generation;
    }
    return status;
}

/* ---- creating ---- */

/* The device's address is the host's, or the CPU and Metal read any address that suits the element:
 * what that needs is enough. Vulkan binds storage buffers at whole multiples. */
static size_t align_of(const dw_device *device)
{
    if (device->strict_align) {
        return DW_DEVICE_ALIGN_BYTES;
    }
    return strcmp(device->info.backend, "Vulkan") == 0
               ? ggml_backend_buft_get_alignment(dw_device_buffer_type(device))
               : sizeof(float);
}

static dw_status prepare(dw_device_view *view, dw_error *err)
{
    dw_status status = DW_OK;
    if (view->kind == REGISTERED) {
        status = dw_device_buffer_create(&view->buffer, view->device, DW_USE_VIEW,
                                         REGISTERED_BUFFER_BYTES, err);
    }
    if (status == DW_OK && dw_region_committed_bytes(view->region) > 0) {
        status = dw_device_view_follow(view, err);
    }
    return status;
}

dw_status dw_device_view_create(dw_device_view **out, dw_device *device, dw_region *region,
                                dw_view_access access, dw_error *err)
{
    *out = NULL;
    dw_status status = dw_device_check(device, err);
    if (status != DW_OK) {
        return status;
    }
    dw__host_pages pages = dw__device_host_pages(device->handle);
    bool staged = device->stages && access == DW_VIEW_STAGEABLE;
    if (!staged && pages == DW__HOST_PAGES_NONE) {
        return dw_fail(err, DW_E_UNSUPPORTED, "%s: cannot use host memory as its buffer",
                       device->info.name);
    }
    dw_device_view *view = dw_alloc(1, sizeof *view);
    if (view == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a device view");
    }
    view_kind shared = pages == DW__HOST_PAGES_REGISTERED ? REGISTERED : IMPORTED;
    *view = (dw_device_view){.region = region,
                             .device = device,
                             .kind = staged ? STAGED : shared,
                             .access = access,
                             .region_generation = dw_region_generation(region) - 1,
                             .align_bytes = align_of(device)};
    status = prepare(view, err);
    if (status != DW_OK) {
        dw_device_view_destroy(view);
        return status;
    }
    *out = view;
    return DW_OK;
}

void dw_device_view_destroy(dw_device_view *view)
{
    if (view == NULL) {
        return;
    }
    unregister_all(view);
    drop_buffer(view);
    dw_free(view);
}

dw_status dw_device_view_bring(dw_device_view *view, struct ggml_cgraph *graph, dw_error *err)
{
    return view->staged != NULL
               ? dw__staged_pages_bring(view->staged, graph, &view->staged_bytes, err)
               : DW_OK;
}

dw_status dw_device_view_fetch(dw_device_view *view, struct ggml_cgraph *graph, dw_error *err)
{
    return view->staged != NULL
               ? dw__staged_pages_fetch(view->staged, graph, &view->staged_bytes, err)
               : DW_OK;
}

bool dw_device_view_is_staged(const dw_device_view *view)
{
    return view->staged != NULL;
}

void dw_device_view_note_staged(dw_device_view *view, uint64_t bytes)
{
    view->staged_bytes += bytes;
    dw_count(&view->device->counters.staged_bytes, bytes);
}

uint64_t dw_device_view_staged_bytes(const dw_device_view *view)
{
    return view->staged_bytes;
}

const char *dw_device_view_why_staged(const dw_device_view *view)
{
    return view->why_staged;
}

uint64_t dw_device_view_generation(const dw_device_view *view)
{
    return view->generation;
}

size_t dw_device_view_align_bytes(const dw_device_view *view)
{
    return view->align_bytes;
}

void *dw_device_view_base(const dw_device_view *view, bool *same)
{
    void *base = view->kind == REGISTERED || view->buffer == NULL
                     ? dw_region_base(view->region)
                     : ggml_backend_buffer_get_base(view->buffer);
    *same = base == dw_region_base(view->region);
    return base;
}

const char *dw_device_view_kind(const dw_device_view *view)
{
    static const char *const names[] = {"imported", "registered", "staged"};
    return names[view->kind];
}

/* Offset in the region of bytes that the device is about to be shown. */
static dw_status find(dw_device_view *view, const void *address, size_t bytes, size_t *offset,
                      dw_error *err)
{
    const unsigned char *base = dw_region_base(view->region);
    if (!dw_region_holds(view->region, address, bytes)) {
        return dw_fail(err, DW_E_RANGE, "%zu bytes at offset %td: the region has %zu", bytes,
                       (const unsigned char *)address - base,
                       dw_region_committed_bytes(view->region));
    }
    *offset = (size_t)((const unsigned char *)address - base);
    return dw_device_view_follow(view, err);
}

dw_status dw_device_view_address(dw_device_view *view, const void *address, size_t bytes,
                                 uint64_t *out, dw_error *err)
{
    size_t offset = 0;
    bool same;
    dw_status status = find(view, address, bytes, &offset, err);
    *out = status == DW_OK ? (uint64_t)(uintptr_t)dw_device_view_base(view, &same) + offset : 0;
    return status;
}

dw_status dw_device_view_place(dw_device_view *view, struct ggml_tensor *tensor, void *address,
                               dw_error *err)
{
    size_t offset = 0;
    dw_status status = find(view, address, ggml_nbytes(tensor), &offset, err);
    if (status != DW_OK) {
        return status;
    }
    if ((offset & (view->align_bytes - 1)) != 0) {
        return dw_fail(err, DW_E_ALIGN, "offset %zu: %s needs a multiple of %zu", offset,
                       view->device->info.name, view->align_bytes);
    }
    bool same;
    tensor->buffer = view->buffer;
    tensor->data = (unsigned char *)dw_device_view_base(view, &same) + offset;
    return DW_OK;
}
