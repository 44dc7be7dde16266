#include "kv/kv_buffer.h"

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

dw_status dw__kv_buffer_copy(ggml_backend_buffer_t from, ggml_backend_buffer_t to, size_t bytes,
                             dw_error *err)
{
    struct ggml_context *ggml = bytes > 0 ? small_ggml(err) : NULL;
    if (ggml == NULL) {
        return bytes > 0 ? DW_E_MEMORY : DW_OK;
    }
    ggml_backend_tensor_copy(bytes_of(ggml, from, 0, bytes), bytes_of(ggml, to, 0, bytes));
    ggml_free(ggml);
    return DW_OK;
}

dw_status dw__kv_buffer_write(ggml_backend_buffer_t buffer, size_t offset, const void *from,
                              size_t bytes, dw_error *err)
{
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    ggml_backend_tensor_set(bytes_of(ggml, buffer, offset, bytes), from, 0, bytes);
    ggml_free(ggml);
    return DW_OK;
}

dw_status dw__kv_buffer_read(ggml_backend_buffer_t buffer, size_t offset, void *to, size_t bytes,
                             dw_error *err)
{
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    ggml_backend_tensor_get(bytes_of(ggml, buffer, offset, bytes), to, 0, bytes);
    ggml_free(ggml);
    return DW_OK;
}

dw_status dw__kv_buffer_clear(ggml_backend_buffer_t buffer, size_t offset, size_t bytes,
                              dw_error *err)
{
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    ggml_backend_tensor_memset(bytes_of(ggml, buffer, 0, offset + bytes), 0, offset, bytes);
    ggml_free(ggml);
    return DW_OK;
}

dw_status dw__kv_buffer_grow(ggml_backend_buffer_t *buffer, dw_device *device, size_t bytes,
                             size_t held, dw_error *err)
{
    ggml_backend_buffer_t grown =
        ggml_backend_buft_alloc_buffer(dw_device_buffer_type(device), bytes);
    if (grown == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: %s has no %zu bytes",
                       dw_device_facts(device)->name, bytes);
    }
    ggml_backend_buffer_clear(grown, 0);
    dw_status status = dw__kv_buffer_copy(*buffer, grown, held, err);
    if (status != DW_OK) {
        ggml_backend_buffer_free(grown);
        return status;
    }
    if (*buffer != NULL) {
        ggml_backend_buffer_free(*buffer);
    }
    *buffer = grown;
    return DW_OK;
}
