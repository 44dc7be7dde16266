#include "memory/device_view.h"

#include <string.h>

#include "base/alloc.h"
#include "memory/host_register.h"

/* Growths that a registered region can see: memory.grow doubles in every allocator there is, so
 * this is far more than 4 GiB needs; beyond it the pages are registered anew as one range. */
#define REGISTERED_RANGES_MAX 64

struct dw_device_view {
    dw_region *region;
    ggml_backend_dev_t device;
    ggml_backend_buffer_t buffer; /* imported: over the region. registered: a small one in VRAM,
                                     which only tells ggml whose tensor it is */
    bool registered;
    size_t covered_bytes;       /* of the region, from its base */
    uint64_t region_generation; /* when it was last followed */
    uint64_t generation;        /* counts changes of `buffer` */
    size_t align_bytes;
    void *ranges[REGISTERED_RANGES_MAX]; /* start of each registered range, in order */
    size_t range_count;
};

/* ggml's call goes through a pointer that a backend may leave NULL, and its capability flag says
 * no on Vulkan, where the call works: so ask both. */
static bool imports_host_pages(ggml_backend_dev_t device)
{
    struct ggml_backend_dev_props props;
    ggml_backend_dev_get_props(device, &props);
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
    return props.caps.buffer_from_host_ptr ||
           (reg != NULL && strcmp(ggml_backend_reg_name(reg), "Vulkan") == 0);
}

bool dw_device_view_possible(ggml_backend_dev_t device)
{
    return dw_host_register_serves(device) || imports_host_pages(device);
}

static dw_status import_region(dw_device_view *view, size_t bytes, dw_error *err)
{
    ggml_backend_buffer_t buffer = ggml_backend_dev_buffer_from_host_ptr(
        view->device, dw_region_base(view->region), bytes, bytes);
    if (buffer == NULL) {
        return dw_fail(err, DW_E_DEVICE, "%s: refused %zu host bytes at %p as its buffer",
                       ggml_backend_dev_name(view->device), bytes, dw_region_base(view->region));
    }
    if (view->buffer != NULL) {
        ggml_backend_buffer_free(view->buffer);
    }
    view->buffer = buffer;
    view->covered_bytes = bytes;
    view->generation++;
    return DW_OK;
}

static void unregister_all(dw_device_view *view)
{
    while (view->range_count > 0) {
        view->range_count--;
        dw_host_unregister(view->device, view->ranges[view->range_count]);
    }
    view->covered_bytes = 0;
}

/* PROT_NONE pages cannot be registered, adjacent ranges can: only what is new is added. */
static dw_status register_growth(dw_device_view *view, size_t bytes, dw_error *err)
{
    if (view->range_count == REGISTERED_RANGES_MAX) {
        unregister_all(view);
    }
    unsigned char *from = (unsigned char *)dw_region_base(view->region) + view->covered_bytes;
    dw_status status = dw_host_register(view->device, from, bytes - view->covered_bytes, err);
    if (status == DW_OK) {
        view->ranges[view->range_count++] = from;
        view->covered_bytes = bytes;
    }
    return status;
}

void dw_device_view_let_go(dw_device_view *view)
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
    if (!view->registered) {
        status = import_region(view, bytes, err);
    } else if (bytes > view->covered_bytes) {
        status = register_growth(view, bytes, err);
    }
    if (status == DW_OK) {
        view->region_generation = region_generation;
    }
    return status;
}

dw_status dw_device_view_create(dw_device_view **out, dw_region *region, ggml_backend_dev_t device,
                                dw_error *err)
{
    *out = NULL;
    if (!dw_device_view_possible(device)) {
        return dw_fail(err, DW_E_UNSUPPORTED, "%s: cannot use host memory as its buffer",
                       ggml_backend_dev_name(device));
    }
    dw_device_view *view = dw_alloc(1, sizeof *view);
    if (view == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a device view");
    }
    ggml_backend_buffer_type_t type = ggml_backend_dev_buffer_type(device);
    *view = (dw_device_view){.region = region,
                             .device = device,
                             .registered = dw_host_register_serves(device),
                             .region_generation = dw_region_generation(region) - 1};
    dw_status status = DW_OK;
    if (view->registered) {
        /* The device's address is the host's: what the elements need is enough. */
        view->align_bytes = sizeof(float);
        view->buffer = ggml_backend_buft_alloc_buffer(type, 256);
        if (view->buffer == NULL) {
            status = dw_fail(err, DW_E_DEVICE, "%s: no memory for a buffer of 256 bytes",
                             ggml_backend_dev_name(device));
        }
    } else {
        ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
        /* Vulkan binds storage buffers at whole multiples; the CPU and Metal read any address
         * that suits the element. */
        bool binds_multiples = strcmp(ggml_backend_reg_name(reg), "Vulkan") == 0;
        view->align_bytes = binds_multiples ? ggml_backend_buft_get_alignment(type) : sizeof(float);
    }
    if (status == DW_OK && dw_region_committed_bytes(region) > 0) {
        status = dw_device_view_follow(view, err);
    }
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
    if (view->buffer != NULL) {
        ggml_backend_buffer_free(view->buffer);
    }
    dw_free(view);
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
    void *base = view->registered || view->buffer == NULL
                     ? dw_region_base(view->region)
                     : ggml_backend_buffer_get_base(view->buffer);
    *same = base == dw_region_base(view->region);
    return base;
}

const char *dw_device_view_kind(const dw_device_view *view)
{
    return view->registered ? "registered" : "imported";
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
                       ggml_backend_dev_name(view->device), view->align_bytes);
    }
    bool same;
    tensor->buffer = view->buffer;
    tensor->data = (unsigned char *)dw_device_view_base(view, &same) + offset;
    return DW_OK;
}
