#include "kv/kv_buffer.h"

#include "device/device_memory.h"

/* A tensor over bytes [offset, offset + bytes) of `buffer`, in the caller's storage. */
static struct ggml_tensor *bytes_of(struct ggml_context *ggml, ggml_backend_buffer_t buffer,
                                    size_t offset, size_t bytes)
{
    struct ggml_tensor *tensor = ggml_new_tensor_1d(ggml, GGML_TYPE_I8, (int64_t)bytes);
    unsigned char *base = ggml_backend_buffer_get_base(buffer);
    DW_ASSERT(ggml_backend_tensor_alloc(buffer, tensor, base + offset) == GGML_STATUS_SUCCESS);
    return tensor;
}

static struct ggml_context *small_ggml(dw_error *err)
{
    struct ggml_init_params params = {.mem_size = 4 * ggml_tensor_overhead(), .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    if (ggml == NULL) {
        (void)dw_fail(err, DW_E_MEMORY, "kv log: no memory for a tensor");
    }
    return ggml;
}

dw_status dw__kv_buffer_copy(dw_device *device, ggml_backend_buffer_t from,
                             ggml_backend_buffer_t to, size_t bytes, dw_error *err)
{
    struct ggml_context *ggml = bytes > 0 ? small_ggml(err) : NULL;
    if (ggml == NULL) {
        return bytes > 0 ? DW_E_MEMORY : DW_OK;
    }
    dw_status status = dw_device_tensor_copy(device, bytes_of(ggml, from, 0, bytes),
                                             bytes_of(ggml, to, 0, bytes), err);
    ggml_free(ggml);
    return status;
}

dw_status dw__kv_buffer_write(dw_device *device, ggml_backend_buffer_t buffer, size_t offset,
                              const void *from, size_t bytes, dw_error *err)
{
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status =
        dw_device_tensor_set(device, bytes_of(ggml, buffer, offset, bytes), from, 0, bytes, err);
    ggml_free(ggml);
    return status;
}

dw_status dw__kv_buffer_read(dw_device *device, ggml_backend_buffer_t buffer, size_t offset,
                             void *to, size_t bytes, dw_error *err)
{
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status =
        dw_device_tensor_get(device, bytes_of(ggml, buffer, offset, bytes), to, 0, bytes, err);
    ggml_free(ggml);
    return status;
}

dw_status dw__kv_buffer_clear(dw_device *device, ggml_backend_buffer_t buffer, size_t offset,
                              size_t bytes, dw_error *err)
{
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status = dw_device_tensor_fill(device, bytes_of(ggml, buffer, 0, offset + bytes), 0,
                                             offset, bytes, err);
    ggml_free(ggml);
    return status;
}

dw_status dw__kv_buffer_grow(ggml_backend_buffer_t *buffer, dw_device *device, size_t bytes,
                             size_t held, dw_error *err)
{
    ggml_backend_buffer_t grown = NULL;
    dw_status status = dw_device_buffer_create(&grown, device, DW_USE_KV, bytes, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "kv log");
    }
    status = dw_device_buffer_fill(device, grown, 0, err);
    if (status == DW_OK) {
        status = dw__kv_buffer_copy(device, *buffer, grown, held, err);
    }
    if (status != DW_OK) {
        dw_device_buffer_destroy(device, DW_USE_KV, grown);
        return status;
    }
    dw_device_buffer_destroy(device, DW_USE_KV, *buffer);
    *buffer = grown;
    return DW_OK;
}
