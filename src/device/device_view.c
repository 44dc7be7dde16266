#include "device/device_view.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/ggml_guard.h"
#include "base/log.h"
#include "device/host_register.h"
#include "device/staged_pages.h"

/* Growths that a registered region can see: memory.grow doubles in every allocator there is, so
 * this is far more than 4 GiB needs; beyond it the pages are registered anew as one range. */
#define REGISTERED_RANGES_MAX 64

typedef enum view_kind { IMPORTED, REGISTERED, STAGED } view_kind;

struct dw_device_view {
    dw_region *region;
    ggml_backend_dev_t device;
    dw_device_counters *counters;
    view_kind kind;
    ggml_backend_buffer_t buffer; /* imported: over the region. registered: a small one in VRAM,
                                     which only tells ggml whose tensor it is. staged: the pages' */
    dw_staged_pages *staged;
    uint64_t staged_bytes;      /* copied so far */
    char why_staged[200];       /* "" where nobody wanted it otherwise */
    size_t covered_bytes;       /* of the region, from its base */
    uint64_t region_generation; /* when it was last followed */
    uint64_t generation;        /* counts changes of `buffer` */
    size_t align_bytes;
    void *ranges[REGISTERED_RANGES_MAX]; /* start of each registered range, in order */
    size_t range_count;
    uint64_t registered_bytes;
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

/* ggml's calls, guarded. */
typedef struct buffer_call {
    ggml_backend_dev_t device;
    void *base;
    size_t bytes;
    ggml_backend_buffer_t buffer;
} buffer_call;

static void import_buffer(void *user)
{
    buffer_call *call = user;
    call->buffer =
        ggml_backend_dev_buffer_from_host_ptr(call->device, call->base, call->bytes, call->bytes);
}

static void create_small_buffer(void *user)
{
    buffer_call *call = user;
    call->buffer =
        ggml_backend_buft_alloc_buffer(ggml_backend_dev_buffer_type(call->device), call->bytes);
}

static void free_buffer(void *user)
{
    ggml_backend_buffer_free(user);
}

static void drop_buffer(dw_device_view *view)
{
    if (view->buffer != NULL && view->staged == NULL) {
        (void)dw_ggml_let_go(free_buffer, view->buffer, NULL);
    }
    dw_staged_pages_destroy(view->staged); /* has the buffer with it */
    view->staged = NULL;
    view->buffer = NULL;
}

static dw_status import_region(dw_device_view *view, size_t bytes, dw_error *err)
{
    buffer_call call = {
        .device = view->device, .base = dw_region_base(view->region), .bytes = bytes};
    const char *name = ggml_backend_dev_name(view->device);
    dw_status status = dw_ggml_guarded(import_buffer, &call, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "%s: %zu host bytes at %p", name, bytes, call.base);
    }
    if (call.buffer == NULL) {
        return dw_fail(err, DW_E_DEVICE, "%s: refused %zu host bytes at %p as its buffer", name,
                       bytes, call.base);
    }
    drop_buffer(view);
    view->buffer = call.buffer;
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
    if (view->counters != NULL) {
        dw_uncount(&view->counters->registered_bytes, view->registered_bytes);
    }
    view->registered_bytes = 0;
    view->covered_bytes = 0;
}

/* A copy of the region's size on the device, the old one away first: both may be too much. */
static dw_status stage_region(dw_device_view *view, size_t bytes, dw_error *err)
{
    drop_buffer(view);
    view->covered_bytes = 0;
    view->generation++;
    dw_status status = dw_staged_pages_create(&view->staged, view->region, bytes, view->device,
                                              view->counters, err);
    if (status == DW_OK) {
        view->buffer = dw_staged_pages_buffer(view->staged);
        view->covered_bytes = bytes;
    }
    return status;
}

/* PROT_NONE pages cannot be registered, adjacent ranges can: only what is new is added. */
static dw_status register_growth(dw_device_view *view, size_t bytes, dw_error *err)
{
    if (view->range_count == REGISTERED_RANGES_MAX) {
        unregister_all(view);
    }
    unsigned char *from = (unsigned char *)dw_region_base(view->region) + view->covered_bytes;
    size_t more = bytes - view->covered_bytes;
    dw_status status = dw_host_register(view->device, from, more, err);
    if (status == DW_OK) {
        view->ranges[view->range_count++] = from;
        view->covered_bytes = bytes;
        view->registered_bytes += more;
        if (view->counters != NULL) {
            dw_count(&view->counters->registered_bytes, more);
        }
    }
    return status;
}

/* Registered, or else copied from now on, which is slower and is told: never silently. */
static dw_status register_or_stage(dw_device_view *view, size_t bytes, dw_error *err)
{
    dw_error why;
    if (register_growth(view, bytes, &why) == DW_OK) {
        return DW_OK;
    }
    dw_log(DW_LOG_WARN, "%s; guest memory is copied to the device and back instead", why.message);
    (void)snprintf(view->why_staged, sizeof view->why_staged, "%.199s", why.message);
    unregister_all(view);
    view->kind = STAGED;
    return stage_region(view, bytes, err);
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

static dw_status prepare(dw_device_view *view, dw_error *err)
{
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(view->device);
    ggml_backend_buffer_type_t type = ggml_backend_dev_buffer_type(view->device);
    /* The device's address is the host's, or the CPU and Metal read any address that suits the
     * element: what that needs is enough. Vulkan binds storage buffers at whole multiples. */
    bool binds_multiples = strcmp(ggml_backend_reg_name(reg), "Vulkan") == 0;
    view->align_bytes = binds_multiples ? ggml_backend_buft_get_alignment(type) : sizeof(float);
    if (view->kind == REGISTERED) {
        buffer_call call = {.device = view->device, .bytes = 256};
        dw_status status = dw_ggml_guarded(create_small_buffer, &call, err);
        if (status != DW_OK || call.buffer == NULL) {
            return dw_fail(err, status != DW_OK ? status : DW_E_MEMORY,
                           "%s: no memory for a buffer of 256 bytes",
                           ggml_backend_dev_name(view->device));
        }
        view->buffer = call.buffer;
    }
    return dw_region_committed_bytes(view->region) > 0 ? dw_device_view_follow(view, err) : DW_OK;
}

dw_status dw_device_view_open(dw_device_view **out, const dw_device_view_options *options,
                              dw_error *err)
{
    *out = NULL;
    ggml_backend_dev_t device = options->device;
    if (!options->staged && !dw_device_view_possible(device)) {
        return dw_fail(err, DW_E_UNSUPPORTED, "%s: cannot use host memory as its buffer",
                       ggml_backend_dev_name(device));
    }
    dw_device_view *view = dw_alloc(1, sizeof *view);
    if (view == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a device view");
    }
    view_kind shared = dw_host_register_serves(device) ? REGISTERED : IMPORTED;
    *view = (dw_device_view){.region = options->region,
                             .device = device,
                             .counters = options->counters,
                             .kind = options->staged ? STAGED : shared,
                             .region_generation = dw_region_generation(options->region) - 1};
    dw_status status = prepare(view, err);
    if (status != DW_OK) {
        dw_device_view_destroy(view);
        return status;
    }
    *out = view;
    return DW_OK;
}

dw_status dw_device_view_create(dw_device_view **out, dw_region *region, ggml_backend_dev_t device,
                                dw_error *err)
{
    dw_device_view_options options = {.region = region, .device = device};
    return dw_device_view_open(out, &options, err);
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
               ? dw_staged_pages_bring(view->staged, graph, &view->staged_bytes, err)
               : DW_OK;
}

dw_status dw_device_view_fetch(dw_device_view *view, struct ggml_cgraph *graph, dw_error *err)
{
    return view->staged != NULL
               ? dw_staged_pages_fetch(view->staged, graph, &view->staged_bytes, err)
               : DW_OK;
}

bool dw_device_view_is_staged(const dw_device_view *view)
{
    return view->staged != NULL;
}

void dw_device_view_note_staged(dw_device_view *view, uint64_t bytes)
{
    view->staged_bytes += bytes;
    if (view->counters != NULL) {
        dw_count(&view->counters->staged_bytes, bytes);
    }
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
                       ggml_backend_dev_name(view->device), view->align_bytes);
    }
    bool same;
    tensor->buffer = view->buffer;
    tensor->data = (unsigned char *)dw_device_view_base(view, &same) + offset;
    return DW_OK;
}
