#include "device/device_memory.h"

#include "device/cuda_probe.h"
#include "device/device_internal.h"

typedef struct memory_call {
    ggml_backend_buffer_type_t type;
    size_t bytes;
    struct ggml_context *ggml;
    ggml_backend_buffer_t buffer;
    struct ggml_tensor *tensor;
    struct ggml_tensor *other;
    const void *from;
    void *to;
    size_t offset;
    uint8_t value;
    ggml_gallocr_t allocator;
    struct ggml_cgraph *graph;
    bool ok;
} memory_call;

static _Atomic uint64_t *used(dw_device *device, dw_device_use use)
{
    return &device->counters.used_bytes[use];
}

/* Whether it has more memory than before: some that could be done without was given back. */
static bool relieved(dw_device *device)
{
    const dw_device_extra extra = *dw_device_lock_extra(device);
    dw_device_unlock_extra(device);
    return extra.object != NULL && extra.relieve != NULL && extra.relieve(extra.object);
}

/* ---- buffers ---- */

/* `work` makes call->buffer; NULL then: there is no memory for it. */
static dw_status make_buffer(dw_device *device, void (*work)(void *user), memory_call *call,
                             dw_error *err)
{
    dw_status status;
    do {
        status = dw_device_guarded(device, work, call, err);
    } while (((status == DW_OK && call->buffer == NULL) || status == DW_E_MEMORY) &&
             relieved(device));
    return status;
}

static void create_buffer(void *user)
{
    memory_call *call = user;
    call->buffer = ggml_backend_buft_alloc_buffer(call->type, call->bytes);
}

static void create_buffer_for_tensors(void *user)
{
    memory_call *call = user;
    call->buffer = ggml_backend_alloc_ctx_tensors_from_buft(call->ggml, call->type);
}

dw_status dw_device_buffer_create(ggml_backend_buffer_t *out, dw_device *device, dw_device_use use,
                                  size_t bytes, dw_error *err)
{
    *out = NULL;
    memory_call call = {.type = dw_device_buffer_type(device), .bytes = bytes};
    dw_status status = make_buffer(device, create_buffer, &call, err);
    if (status == DW_OK && call.buffer == NULL) {
        dw__cuda_forget_error();
        status = dw_fail(err, DW_E_MEMORY, "%s: has no %zu bytes", device->info.name, bytes);
    }
    if (status == DW_OK) {
        dw_count(used(device, use), ggml_backend_buffer_get_size(call.buffer));
        *out = call.buffer;
    }
    return status;
}

dw_status dw_device_buffer_for_tensors(ggml_backend_buffer_t *out, dw_device *device,
                                       dw_device_use use, struct ggml_context *ggml, dw_error *err)
{
    *out = NULL;
    memory_call call = {.type = dw_device_buffer_type(device), .ggml = ggml};
    dw_status status = make_buffer(device, create_buffer_for_tensors, &call, err);
    if (status == DW_OK && call.buffer == NULL) {
        dw__cuda_forget_error();
        status = dw_fail(err, DW_E_MEMORY, "%s: has no %zu bytes", device->info.name,
                         ggml_backend_alloc_ctx_tensors_from_buft_size(ggml, call.type));
    }
    if (status == DW_OK) {
        dw_count(used(device, use), ggml_backend_buffer_get_size(call.buffer));
        *out = call.buffer;
    }
    return status;
}

static void free_buffer(void *user)
{
    ggml_backend_buffer_free(user);
}

void dw_device_buffer_destroy(dw_device *device, dw_device_use use, ggml_backend_buffer_t buffer)
{
    if (buffer != NULL) {
        dw_uncount(used(device, use), ggml_backend_buffer_get_size(buffer));
        dw_device_guarded_free(device, free_buffer, buffer);
    }
}

dw_status dw_device_locked_create(ggml_backend_buffer_t *out, dw_device *device, size_t bytes,
                                  dw_error *err)
{
    *out = NULL;
    memory_call call = {.type = ggml_backend_dev_host_buffer_type(device->handle), .bytes = bytes};
    DW_ASSERT(call.type != NULL);
    dw_status status = dw_device_guarded(device, create_buffer, &call, err);
    if (status != DW_OK) {
        return status;
    }
    /* Where pages cannot be locked, ggml gives plain ones, which the device does not reach. */
    if (call.buffer == NULL || ggml_backend_buffer_get_type(call.buffer) != call.type) {
        dw_device_locked_destroy(device, call.buffer);
        return dw_fail(err, DW_E_MEMORY,
                       "%s: %zu bytes of host memory cannot be locked (see `ulimit -l`, and the "
                       "variable GGML_CUDA_NO_PINNED)",
                       device->info.name, bytes);
    }
    *out = call.buffer;
    return DW_OK;
}

void dw_device_locked_destroy(dw_device *device, ggml_backend_buffer_t buffer)
{
    if (buffer != NULL) {
        dw_device_guarded_free(device, free_buffer, buffer);
    }
}

/* ---- bytes ---- */

static void fill_buffer(void *user)
{
    memory_call *call = user;
    ggml_backend_buffer_clear(call->buffer, call->value);
}

dw_status dw_device_buffer_fill(dw_device *device, ggml_backend_buffer_t buffer, uint8_t value,
                                dw_error *err)
{
    memory_call call = {.buffer = buffer, .value = value};
    return dw_device_guarded(device, fill_buffer, &call, err);
}

static void set_tensor(void *user)
{
    memory_call *call = user;
    ggml_backend_tensor_set(call->tensor, call->from, call->offset, call->bytes);
}

dw_status dw_device_tensor_set(dw_device *device, struct ggml_tensor *tensor, const void *from,
                               size_t offset, size_t bytes, dw_error *err)
{
    memory_call call = {.tensor = tensor, .from = from, .offset = offset, .bytes = bytes};
    return dw_device_guarded(device, set_tensor, &call, err);
}

static void get_tensor(void *user)
{
    memory_call *call = user;
    ggml_backend_tensor_get(call->tensor, call->to, call->offset, call->bytes);
}

dw_status dw_device_tensor_get(dw_device *device, const struct ggml_tensor *tensor, void *to,
                               size_t offset, size_t bytes, dw_error *err)
{
    memory_call call = {.tensor = (struct ggml_tensor *)(uintptr_t)tensor,
                        .to = to,
                        .offset = offset,
                        .bytes = bytes};
    return dw_device_guarded(device, get_tensor, &call, err);
}

static void fill_tensor(void *user)
{
    memory_call *call = user;
    ggml_backend_tensor_memset(call->tensor, call->value, call->offset, call->bytes);
}

dw_status dw_device_tensor_fill(dw_device *device, struct ggml_tensor *tensor, uint8_t value,
                                size_t offset, size_t bytes, dw_error *err)
{
    memory_call call = {.tensor = tensor, .value = value, .offset = offset, .bytes = bytes};
    return dw_device_guarded(device, fill_tensor, &call, err);
}

static void copy_tensor(void *user)
{
    memory_call *call = user;
    ggml_backend_tensor_copy(call->tensor, call->other);
}

dw_status dw_device_tensor_copy(dw_device *device, struct ggml_tensor *from, struct ggml_tensor *to,
                                dw_error *err)
{
    memory_call call = {.tensor = from, .other = to};
    return dw_device_guarded(device, copy_tensor, &call, err);
}

/* ---- work memory ---- */

static void allocate_graph(void *user)
{
    memory_call *call = user;
    call->allocator = ggml_gallocr_new(call->type);
    call->ok = call->allocator != NULL && ggml_gallocr_alloc_graph(call->allocator, call->graph);
}

static void free_allocator(void *user)
{
    ggml_gallocr_free(user);
}

static void free_of(dw_device *device, ggml_gallocr_t *allocator)
{
    if (*allocator != NULL) {
        dw_device_guarded_free(device, free_allocator, *allocator);
        *allocator = NULL;
    }
}

dw_status dw_device_graph_allocate(ggml_gallocr_t *allocator, dw_device *device,
                                   struct ggml_cgraph *graph, dw_error *err)
{
    *allocator = NULL;
    memory_call call = {.type = dw_device_buffer_type(device), .graph = graph};
    dw_status status;
    do {
        free_of(device, &call.allocator);
        status = dw_device_guarded(device, allocate_graph, &call, err);
    } while (((status == DW_OK && !call.ok) || status == DW_E_MEMORY) && relieved(device));
    if (status == DW_OK && !call.ok) {
        dw__cuda_forget_error();
        status = dw_fail(err, DW_E_MEMORY, "%s: no memory for a graph's work", device->info.name);
    }
    if (status != DW_OK) {
        free_of(device, &call.allocator);
        return status;
    }
    dw_count(used(device, DW_USE_WORK), ggml_gallocr_get_buffer_size(call.allocator, 0));
    *allocator = call.allocator;
    return DW_OK;
}

void dw_device_graph_free(dw_device *device, ggml_gallocr_t allocator)
{
    if (allocator != NULL) {
        dw_uncount(used(device, DW_USE_WORK), ggml_gallocr_get_buffer_size(allocator, 0));
        dw_device_guarded_free(device, free_allocator, allocator);
    }
}
