#include "kv/kv_log.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "memory/device_view.h"
#include "memory/region.h"

struct dw_kv_log {
    dw_device *device;
    dw_kv_shape shape;
    size_t record_bytes;
    uint32_t length;
    uint32_t reserved;     /* a multiple of DW_KV_PAD_TOKENS */
    uint32_t reserved_max; /* likewise */
    uint64_t generation;

    dw_region *region;    /* unified devices */
    dw_device_view *view; /* on region */

    ggml_backend_buffer_t buffer; /* discrete devices */
};

static size_t layer_elements(const dw_kv_log *log)
{
    return (size_t)log->shape.kv_head_count * log->shape.head_dim;
}

size_t dw_kv_log_record_elements(const dw_kv_log *log)
{
    return layer_elements(log) * 2 * log->shape.layer_count;
}

size_t dw_kv_log_key_offset(const dw_kv_log *log, uint32_t layer)
{
    return layer_elements(log) * 2 * layer;
}

size_t dw_kv_log_value_offset(const dw_kv_log *log, uint32_t layer)
{
    return dw_kv_log_key_offset(log, layer) + layer_elements(log);
}

size_t dw_kv_log_record_bytes(const dw_kv_log *log)
{
    return log->record_bytes;
}

static uint64_t round_to_pads(uint64_t tokens)
{
    return (tokens + DW_KV_PAD_TOKENS - 1) / DW_KV_PAD_TOKENS * DW_KV_PAD_TOKENS;
}

dw_status dw_kv_log_create(dw_kv_log **out, dw_device *device, const dw_kv_shape *shape,
                           uint32_t tokens_max, dw_error *err)
{
    *out = NULL;
    uint64_t padded = round_to_pads(tokens_max);
    size_t record = 0;
    size_t bytes = 0;
    if (tokens_max == 0 || padded > UINT32_MAX ||
        !dw_mul_size(&record, (size_t)shape->kv_head_count * shape->head_dim,
                     (size_t)shape->layer_count * 2 * sizeof(uint16_t)) ||
        record == 0 || !dw_mul_size(&bytes, record, padded)) {
        return dw_fail(err, DW_E_RANGE, "a KV log of %u tokens, %u layers, %u heads of %u",
                       tokens_max, shape->layer_count, shape->kv_head_count, shape->head_dim);
    }
    dw_kv_log *log = dw_alloc(1, sizeof *log);
    if (log == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a KV log");
    }
    *log = (dw_kv_log){.device = device,
                       .shape = *shape,
                       .record_bytes = record,
                       .reserved_max = (uint32_t)padded};
    if (dw_device_unified(device)) {
        dw_region_options options = {
            .reserve_bytes = bytes, .label = "KV log", .shared = true};
        dw_status status = dw_region_create(&log->region, &options, err);
        if (status == DW_OK) {
            status =
                dw_device_view_create(&log->view, log->region, dw_device_handle(device), err);
        }
        if (status != DW_OK) {
            dw_kv_log_destroy(log);
            return status;
        }
    }
    *out = log;
    return DW_OK;
}

void dw_kv_log_destroy(dw_kv_log *log)
{
    if (log == NULL) {
        return;
    }
    dw_device_view_destroy(log->view);
    dw_region_destroy(log->region);
    if (log->buffer != NULL) {
        ggml_backend_buffer_free(log->buffer);
    }
    dw_free(log);
}

uint32_t dw_kv_log_length(const dw_kv_log *log)
{
    return log->length;
}

uint32_t dw_kv_log_reserved(const dw_kv_log *log)
{
    return log->reserved;
}

uint64_t dw_kv_log_generation(const dw_kv_log *log)
{
    return log->generation;
}

/* A byte tensor over the first `bytes` of a device buffer. */
static struct ggml_tensor *bytes_of(struct ggml_context *context, ggml_backend_buffer_t buffer,
                                    size_t bytes)
{
    struct ggml_tensor *tensor = ggml_new_tensor_1d(context, GGML_TYPE_I8, (int64_t)bytes);
    tensor->buffer = buffer;
    tensor->data = ggml_backend_buffer_get_base(buffer);
    return tensor;
}

static dw_status copy_on_device(ggml_backend_buffer_t from, ggml_backend_buffer_t to, size_t bytes,
                                dw_error *err)
{
    struct ggml_init_params params = {.mem_size = ggml_tensor_overhead() * 2, .no_alloc = true};
    struct ggml_context *context = ggml_init(params);
    if (context == NULL) {
        return dw_fail(err, DW_E_MEMORY, "KV log: no memory to describe a copy");
    }
    ggml_backend_tensor_copy(bytes_of(context, from, bytes), bytes_of(context, to, bytes));
    ggml_free(context);
    return DW_OK;
}

static dw_status grow_buffer(dw_kv_log *log, uint32_t tokens, dw_error *err)
{
    size_t bytes = log->record_bytes * tokens;
    ggml_backend_buffer_t grown =
        ggml_backend_buft_alloc_buffer(dw_device_buffer_type(log->device), bytes);
    if (grown == NULL) {
        return dw_fail(err, DW_E_MEMORY, "%s: no memory for a KV log of %u tokens (%zu bytes)",
                       dw_device_facts(log->device)->name, tokens, bytes);
    }
    ggml_backend_buffer_clear(grown, 0);
    if (log->buffer != NULL && log->length > 0) {
        dw_status status =
            copy_on_device(log->buffer, grown, log->record_bytes * log->length, err);
        if (status != DW_OK) {
            ggml_backend_buffer_free(grown);
            return status;
        }
    }
    if (log->buffer != NULL) {
        ggml_backend_buffer_free(log->buffer);
    }
    log->buffer = grown;
    return DW_OK;
}

static dw_status grow_region(dw_kv_log *log, uint32_t tokens, dw_error *err)
{
    dw_status status = dw_region_commit(log->region, log->record_bytes * tokens, err);
    return status == DW_OK ? dw_device_view_follow(log->view, err) : status;
}

dw_status dw_kv_log_reserve(dw_kv_log *log, uint32_t tokens, dw_error *err)
{
    if (tokens <= log->reserved) {
        return DW_OK;
    }
    if (tokens > log->reserved_max) {
        return dw_fail(err, DW_E_LIMIT, "KV log: %u tokens wanted, limit %u", tokens,
                       log->reserved_max);
    }
    /* Doubling: the device's buffer is made anew only a few times in a context's life. */
    uint64_t target = log->reserved == 0 ? DW_KV_PAD_TOKENS : (uint64_t)log->reserved * 2;
    target = target < tokens ? round_to_pads(tokens) : target;
    target = target < log->reserved_max ? target : log->reserved_max;
    dw_status status = log->region != NULL ? grow_region(log, (uint32_t)target, err)
                                           : grow_buffer(log, (uint32_t)target, err);
    if (status == DW_OK) {
        log->reserved = (uint32_t)target;
        log->generation++;
    }
    return status;
}

dw_status dw_kv_log_place(dw_kv_log *log, struct ggml_tensor *root, dw_error *err)
{
    DW_ASSERT(root->type == GGML_TYPE_F16 && ggml_is_contiguous(root));
    if (ggml_nbytes(root) > log->record_bytes * log->reserved) {
        return dw_fail(err, DW_E_RANGE, "KV log: a view of %zu bytes, there are %zu",
                       ggml_nbytes(root), log->record_bytes * log->reserved);
    }
    if (log->view != NULL) {
        return dw_device_view_place(log->view, root, dw_region_base(log->region), err);
    }
    root->buffer = log->buffer;
    root->data = ggml_backend_buffer_get_base(log->buffer);
    return DW_OK;
}

void dw_kv_log_append(dw_kv_log *log, uint32_t count)
{
    DW_ASSERT(count <= log->reserved - log->length);
    log->length += count;
}

void dw_kv_log_trim(dw_kv_log *log, uint32_t length)
{
    DW_ASSERT(length <= log->length);
    log->length = length;
}
