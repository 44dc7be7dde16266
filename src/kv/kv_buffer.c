/* A log in a device buffer, where a discrete device has no address ranges: a buffer is as long as
 * it was made, so growing is a new one and a copy, which the device makes. So is a fork. */
#include "base/alloc.h"
#include "device/device_memory.h"
#include "kv/kv_backing.h"
#include "kv/kv_limit.h"

typedef struct kv_buffer {
    dw__kv_backing backing;
    ggml_backend_buffer_t buffer; /* of the committed records; NULL: none yet */
} kv_buffer;

static kv_buffer *buffer_of(dw__kv_backing *backing)
{
    return (kv_buffer *)(void *)backing;
}

/* ---- bytes of a buffer, as tensors ---- */

/* A tensor over [offset, offset + bytes) of `buffer`, in `ggml`. */
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

/* The first `bytes`, from one buffer to another. */
static dw_status copy_start(dw_device *device, ggml_backend_buffer_t from, ggml_backend_buffer_t to,
                            size_t bytes, dw_error *err)
{
    if (bytes == 0) {
        return DW_OK;
    }
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status = dw_device_tensor_copy(device, bytes_of(ggml, from, 0, bytes),
                                             bytes_of(ggml, to, 0, bytes), err);
    ggml_free(ggml);
    return status;
}

static dw_status write_bytes(dw__kv_backing *backing, size_t offset, const void *from, size_t bytes,
                             dw_error *err)
{
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    struct ggml_tensor *to = bytes_of(ggml, buffer_of(backing)->buffer, offset, bytes);
    dw_status status = dw_device_tensor_set(backing->device, to, from, 0, bytes, err);
    ggml_free(ggml);
    return status;
}

static dw_status get_bytes(const kv_buffer *buffer, size_t offset, void *to, size_t bytes,
                           dw_error *err)
{
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    struct ggml_tensor *from = bytes_of(ggml, buffer->buffer, offset, bytes);
    dw_status status = dw_device_tensor_get(buffer->backing.device, from, to, 0, bytes, err);
    ggml_free(ggml);
    return status;
}

static dw_status read_bytes(dw__kv_backing *backing, size_t offset, size_t bytes,
                            const dw_sink *sink, dw_error *err)
{
    unsigned char *staging = dw_alloc(1, DW__KV_PART_BYTES);
    if (staging == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory to read it");
    }
    dw_status status = DW_OK;
    for (size_t done = 0; status == DW_OK && done < bytes;) {
        size_t part = bytes - done < DW__KV_PART_BYTES ? bytes - done : DW__KV_PART_BYTES;
        status = get_bytes(buffer_of(backing), offset + done, staging, part, err);
        if (status == DW_OK) {
            status = dw__kv_pass(sink, done, staging, part, err);
        }
        done += part;
    }
    dw_free(staging);
    return status;
}

static dw_status clear_rest(dw__kv_backing *backing, uint32_t length, dw_error *err)
{
    size_t held = length * backing->record_bytes;
    size_t end = backing->committed * backing->record_bytes;
    if (end == held) {
        return DW_OK;
    }
    struct ggml_context *ggml = small_ggml(err);
    if (ggml == NULL) {
        return DW_E_MEMORY;
    }
    struct ggml_tensor *all = bytes_of(ggml, buffer_of(backing)->buffer, 0, end);
    dw_status status = dw_device_tensor_fill(backing->device, all, 0, held, end - held, err);
    ggml_free(ggml);
    return status;
}

/* ---- growing ---- */

static dw_meter *meter_of(const kv_buffer *buffer)
{
    return &dw_device_counters_of(buffer->backing.device)->buffer_kv;
}

/* Also of none. */
static void free_buffer(kv_buffer *buffer)
{
    dw_device_buffer_destroy(buffer->backing.device, DW_USE_KV, buffer->buffer);
    dw_meter_give(meter_of(buffer), buffer->backing.committed * buffer->backing.record_bytes);
    buffer->buffer = NULL;
    buffer->backing.committed = 0;
}

/* A new buffer of `records`, the first `length` as they are, the others zero. */
static dw_status grow(kv_buffer *buffer, uint32_t records, uint32_t length, dw_error *err)
{
    dw_device *device = buffer->backing.device;
    size_t record_bytes = buffer->backing.record_bytes;
    ggml_backend_buffer_t grown = NULL;
    dw_status status = dw__kv_take(meter_of(buffer), device, records * record_bytes, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_device_buffer_create(&grown, device, DW_USE_KV, records * record_bytes, err);
    if (status != DW_OK) {
        dw_meter_give(meter_of(buffer), records * record_bytes);
        return dw_fail_within(err, status, "kv log");
    }
    status = dw_device_buffer_fill(device, grown, 0, err);
    if (status == DW_OK) {
        status = copy_start(device, buffer->buffer, grown, length * record_bytes, err);
    }
    if (status != DW_OK) {
        dw_device_buffer_destroy(device, DW_USE_KV, grown);
        dw_meter_give(meter_of(buffer), records * record_bytes);
        return status;
    }
    free_buffer(buffer);
    buffer->buffer = grown;
    buffer->backing.committed = records;
    return DW_OK;
}

static dw_status begin(dw__kv_backing *backing, uint32_t first, uint32_t length, uint32_t end,
                       dw_error *err)
{
    (void)first; /* nothing is shared */
    uint32_t wanted = dw__kv_doubled(backing, end);
    return wanted > backing->committed ? grow(buffer_of(backing), wanted, length, err) : DW_OK;
}

/* ---- life ---- */

static void destroy(dw__kv_backing *backing)
{
    free_buffer(buffer_of(backing));
    dw_free(backing);
}

static dw_status create(dw__kv_backing **out, const dw__kv_backing_options *options, dw_error *err)
{
    kv_buffer *buffer = dw__kv_backing_alloc(sizeof *buffer, &dw__kv_buffer_ops, options, err);
    if (buffer == NULL) {
        return DW_E_MEMORY;
    }
    *out = &buffer->backing;
    return DW_OK;
}

static dw_status fork_buffer(dw__kv_backing *empty, dw__kv_backing *parent, uint32_t length,
                             dw_error *err)
{
    kv_buffer *buffer = buffer_of(empty);
    if (length == 0) {
        return DW_OK;
    }
    dw_status status = grow(buffer, dw__kv_whole_steps(length), 0, err);
    return status == DW_OK ? copy_start(parent->device, buffer_of(parent)->buffer, buffer->buffer,
                                        length * parent->record_bytes, err)
                           : status;
}

static dw_status thaw(dw__kv_backing *empty, const dw_kv_frozen *frozen, dw_error *err)
{
    size_t held = frozen->length * empty->record_bytes;
    if (frozen->length == 0) {
        return DW_OK;
    }
    unsigned char *staging = dw_alloc(1, DW__KV_PART_BYTES);
    if (staging == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory for %zu bytes", DW__KV_PART_BYTES);
    }
    dw_status status = grow(buffer_of(empty), dw__kv_whole_steps(frozen->length), 0, err);
    for (size_t done = 0; status == DW_OK && done < held;) {
        size_t part = held - done < DW__KV_PART_BYTES ? held - done : DW__KV_PART_BYTES;
        status =
            dw_kv_segments_read(frozen->segments, frozen->segment_count, done, staging, part, err);
        if (status == DW_OK) {
            status = write_bytes(empty, done, staging, part, err);
        }
        done += part;
    }
    dw_free(staging);
    return status;
}

static dw_status place(dw__kv_backing *backing, struct ggml_tensor *tensor, dw_error *err)
{
    (void)err;
    tensor->buffer = buffer_of(backing)->buffer;
    tensor->data = ggml_backend_buffer_get_base(tensor->buffer);
    return DW_OK;
}

const dw__kv_backing_ops dw__kv_buffer_ops = {
    .create = create,
    .destroy = destroy,
    .fork = fork_buffer,
    .thaw = thaw,
    .begin = begin,
    .clear_rest = clear_rest,
    .write = write_bytes,
    .read = read_bytes,
    .place = place,
};
