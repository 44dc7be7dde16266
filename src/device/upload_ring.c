#include "device/upload_ring.h"

#include "base/alloc.h"
#include "device/device_internal.h"
#include "device/device_memory.h"

struct dw_upload_ring {
    dw_device *device;
    ggml_backend_t backend; /* its own: the device's may be at work on a graph */
    size_t slot_count;
    size_t slot_bytes;
    ggml_backend_buffer_t pinned; /* NULL: plain memory serves */
    unsigned char *plain;
    ggml_backend_event_t *events; /* [slot_count]; NULL where the backend has none */
};

static void prepare(void *user)
{
    dw_upload_ring *ring = user;
    ggml_backend_dev_t handle = ring->device->handle;
    ggml_backend_buffer_type_t host = ggml_backend_dev_host_buffer_type(handle);
    struct ggml_backend_dev_props props;
    ggml_backend_dev_get_props(handle, &props);
    ring->backend = ggml_backend_dev_init(handle, NULL);
    if (host != NULL) {
        ring->pinned = ggml_backend_buft_alloc_buffer(host, ring->slot_count * ring->slot_bytes);
    }
    for (size_t i = 0; i < ring->slot_count && props.caps.events; i++) {
        ring->events[i] = ggml_backend_event_new(handle);
    }
}

dw_status dw_upload_ring_create(dw_upload_ring **out, dw_device *device, size_t slot_count,
                                size_t slot_bytes, dw_error *err)
{
    *out = NULL;
    dw_upload_ring *ring = dw_alloc(1, sizeof *ring);
    if (ring == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an upload");
    }
    *ring = (dw_upload_ring){.device = device, .slot_count = slot_count, .slot_bytes = slot_bytes};
    ring->events = dw_alloc(slot_count, sizeof *ring->events);
    dw_status status = ring->events != NULL ? dw_device_guarded(device, prepare, ring, err)
                                            : dw_fail(err, DW_E_MEMORY, "no memory for an upload");
    if (status == DW_OK && ring->backend == NULL) {
        status =
            dw_fail(err, DW_E_DEVICE, "%s: has no second stream for an upload", device->info.name);
    }
    if (status == DW_OK && ring->pinned == NULL) {
        ring->plain = dw_alloc(slot_count, slot_bytes);
        if (ring->plain == NULL) {
            status = dw_fail(err, DW_E_MEMORY, "no memory for %zu slots of %zu bytes", slot_count,
                             slot_bytes);
        }
    }
    if (status != DW_OK) {
        dw_upload_ring_destroy(ring);
        return status;
    }
    *out = ring;
    return DW_OK;
}

static void free_parts(void *user)
{
    dw_upload_ring *ring = user;
    if (ring->backend != NULL) {
        ggml_backend_synchronize(ring->backend);
    }
    for (size_t i = 0; ring->events != NULL && i < ring->slot_count; i++) {
        if (ring->events[i] != NULL) {
            ggml_backend_event_free(ring->events[i]);
        }
    }
    if (ring->pinned != NULL) {
        ggml_backend_buffer_free(ring->pinned);
    }
    dw__device_free_backend(ring->device, ring->backend);
}

void dw_upload_ring_destroy(dw_upload_ring *ring)
{
    if (ring == NULL) {
        return;
    }
    dw_device_guarded_free(ring->device, free_parts, ring);
    dw_free(ring->plain);
    dw_free(ring->events);
    dw_free(ring);
}

void *dw_upload_ring_slot(const dw_upload_ring *ring, size_t slot)
{
    DW_ASSERT(slot < ring->slot_count);
    unsigned char *base = ring->plain;
    if (ring->pinned != NULL) {
        base = ggml_backend_buffer_get_base(ring->pinned);
    }
    return base + slot * ring->slot_bytes;
}

typedef struct ring_call {
    dw_upload_ring *ring;
    size_t slot;
    struct ggml_tensor *tensor;
    size_t offset;
    size_t bytes;
} ring_call;

static void send(void *user)
{
    const ring_call *call = user;
    dw_upload_ring *ring = call->ring;
    ggml_backend_tensor_set_async(ring->backend, call->tensor,
                                  dw_upload_ring_slot(ring, call->slot), call->offset, call->bytes);
    if (ring->events[call->slot] != NULL) {
        ggml_backend_event_record(ring->events[call->slot], ring->backend);
    }
}

dw_status dw_upload_ring_send(dw_upload_ring *ring, size_t slot, struct ggml_tensor *tensor,
                              size_t offset, size_t bytes, dw_error *err)
{
    DW_ASSERT(bytes <= ring->slot_bytes);
    ring_call call = {ring, slot, tensor, offset, bytes};
    return dw_device_guarded(ring->device, send, &call, err);
}

static void wait_for(void *user)
{
    const ring_call *call = user;
    if (call->ring->events[call->slot] != NULL) {
        ggml_backend_event_synchronize(call->ring->events[call->slot]);
    } else {
        ggml_backend_synchronize(call->ring->backend);
    }
}

dw_status dw_upload_ring_wait(dw_upload_ring *ring, size_t slot, dw_error *err)
{
    ring_call call = {.ring = ring, .slot = slot};
    return dw_device_guarded(ring->device, wait_for, &call, err);
}
