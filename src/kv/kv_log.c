#include "kv/kv_log.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "memory/device_view.h"
#include "memory/region.h"

struct dw_kv_log {
    dw_device *device;
    size_t record_bytes;
    uint32_t capacity; /* as asked for */
    uint32_t length;
    uint32_t committed; /* a multiple of DW_KV_STEP_TOKENS */
    dw_region *region;  /* host pages, or: */
    dw_device_view *view;
    ggml_backend_buffer_t buffer; /* device memory */
};

static uint32_t round_to_step(uint32_t tokens)
{
    return (tokens + DW_KV_STEP_TOKENS - 1) / DW_KV_STEP_TOKENS * DW_KV_STEP_TOKENS;
}

static dw_status reserve_host_pages(dw_kv_log *log, dw_error *err)
{
    size_t bytes = 0;
    if (!dw_mul_size(&bytes, round_to_step(log->capacity), log->record_bytes) ||
        !dw_round_up(&bytes, bytes, dw_os_page_bytes())) {
        return dw_fail(err, DW_E_MEMORY, "kv log: %u tokens of %zu bytes are too many",
                       log->capacity, log->record_bytes);
    }
    dw_region_options options = {.reserve_bytes = bytes, .label = "kv log", .shared = true};
    dw_status status = dw_region_create(&log->region, &options, err);
    if (status != DW_OK) {
        return status;
    }
    return dw_device_view_create(&log->view, log->region, dw_device_handle(log->device), err);
}

dw_status dw_kv_log_create(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                           dw_error *err)
{
    DW_ASSERT(options->record_bytes > 0 && options->capacity_tokens > 0);
    DW_ASSERT(options->capacity_tokens < UINT32_MAX / 2);
    *out = NULL;
    dw_kv_log *log = dw_alloc(1, sizeof *log);
    if (log == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a kv log");
    }
    log->device = device;
    log->record_bytes = options->record_bytes;
    log->capacity = options->capacity_tokens;
    if (dw_device_unified(device) && !options->in_device_memory) {
        dw_status status = reserve_host_pages(log, err);
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
    if (log->region != NULL) {
        dw_region_destroy(log->region);
    }
    if (log->buffer != NULL) {
        ggml_backend_buffer_free(log->buffer);
    }
    dw_free(log);
}

uint32_t dw_kv_log_length(const dw_kv_log *log)
{
    return log->length;
}

uint32_t dw_kv_log_capacity(const dw_kv_log *log)
{
    return log->capacity;
}

uint32_t dw_kv_log_committed(const dw_kv_log *log)
{
    return log->committed;
}

size_t dw_kv_log_record_bytes(const dw_kv_log *log)
{
    return log->record_bytes;
}

bool dw_kv_log_in_host_memory(const dw_kv_log *log)
{
    return log->region != NULL;
}

void *dw_kv_log_base(const dw_kv_log *log)
{
    return log->region != NULL ? dw_region_base(log->region) : NULL;
}

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

static dw_status grow_buffer(dw_kv_log *log, uint32_t tokens, dw_error *err)
{
    size_t bytes = 0;
    ggml_backend_buffer_t buffer = NULL;
    if (dw_mul_size(&bytes, tokens, log->record_bytes)) {
        buffer = ggml_backend_buft_alloc_buffer(dw_device_buffer_type(log->device), bytes);
    }
    if (buffer == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: %s has no %u tokens of %zu bytes",
                       dw_device_facts(log->device)->name, tokens, log->record_bytes);
    }
    ggml_backend_buffer_clear(buffer, 0);
    if (log->length > 0) {
        struct ggml_context *ggml = small_ggml(err);
        if (ggml == NULL) {
            ggml_backend_buffer_free(buffer);
            return DW_E_MEMORY;
        }
        size_t held = (size_t)log->length * log->record_bytes;
        ggml_backend_tensor_copy(bytes_of(ggml, log->buffer, 0, held),
                                 bytes_of(ggml, buffer, 0, held));
        ggml_free(ggml);
    }
    if (log->buffer != NULL) {
        ggml_backend_buffer_free(log->buffer);
    }
    log->buffer = buffer;
    return DW_OK;
}

dw_status dw_kv_log_reserve(dw_kv_log *log, uint32_t tokens, dw_error *err)
{
    if (tokens > log->capacity) {
        return dw_fail(err, DW_E_LIMIT, "kv log: %u tokens, limit %u", tokens, log->capacity);
    }
    if (tokens <= log->committed) {
        return DW_OK;
    }
    /* Doubling: a context of n tokens grows log2(n) times, and wastes at most half. */
    uint32_t limit = round_to_step(log->capacity);
    uint32_t wanted = log->committed > 0 ? log->committed : DW_KV_STEP_TOKENS;
    while (wanted < tokens) {
        wanted = wanted > limit / 2 ? limit : wanted * 2;
    }
    dw_status status = DW_OK;
    if (log->region == NULL) {
        status = grow_buffer(log, wanted, err);
    } else {
        status = dw_region_commit(log->region, (size_t)wanted * log->record_bytes, err);
    }
    if (status == DW_OK && log->region != NULL) {
        status = dw_device_view_follow(log->view, err);
    }
    if (status == DW_OK) {
        log->committed = wanted;
    }
    return status;
}

void dw_kv_log_extend(dw_kv_log *log, uint32_t length)
{
    DW_ASSERT(length >= log->length && length <= log->committed && length <= log->capacity);
    log->length = length;
}

void dw_kv_log_trim(dw_kv_log *log, uint32_t length)
{
    DW_ASSERT(length <= log->length);
    log->length = length;
}

dw_status dw_kv_log_clear_rest(dw_kv_log *log, dw_error *err)
{
    size_t held = (size_t)log->length * log->record_bytes;
    size_t rest = (size_t)(log->committed - log->length) * log->record_bytes;
    if (rest == 0) {
        return DW_OK;
    }
    if (log->region != NULL) {
        memset((unsigned char *)dw_region_base(log->region) + held, 0, rest);
        return DW_OK;
    }
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    ggml_backend_tensor_memset(bytes_of(ggml, log->buffer, 0, held + rest), 0, held, rest);
    ggml_free(ggml);
    return DW_OK;
}

dw_status dw_kv_log_place(dw_kv_log *log, struct ggml_tensor *tensor, dw_error *err)
{
    DW_ASSERT(ggml_nbytes(tensor) <= (size_t)log->committed * log->record_bytes);
    if (log->region != NULL) {
        return dw_device_view_place(log->view, tensor, dw_region_base(log->region), err);
    }
    tensor->buffer = log->buffer;
    tensor->data = ggml_backend_buffer_get_base(log->buffer);
    return DW_OK;
}
