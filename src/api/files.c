/* GGUF and snapshot files as include/driftwood.h shows them. */
#include <ggml.h>

#include "base/public_struct.h"
#include "gguf/gguf.h"
#include "snapshot/snapshot_file.h"

dw_status dw_gguf_get_info(const dw_gguf *gguf, dw_gguf_info *info)
{
    dw_gguf_info own = {
        .bytes = dw_gguf_bytes(gguf),
        .tensor_count = dw_gguf_tensor_count(gguf),
        .part_count = dw_gguf_part_count(gguf),
    };
    for (size_t i = 0; i < own.tensor_count; i++) {
        const dw_gguf_tensor *tensor = dw_gguf_tensor_at(gguf, i);
        own.weights_bytes += tensor->bytes;
        own.parameter_count +=
            (uint64_t)(tensor->ne[0] * tensor->ne[1] * tensor->ne[2] * tensor->ne[3]);
    }
    return dw_struct_fill(info, &own, sizeof own, "dw_gguf_info");
}

dw_status dw_gguf_get_tensor_info(const dw_gguf *gguf, size_t index, dw_gguf_tensor_info *info,
                                  dw_error *err)
{
    dw_status status = dw_struct_check(info, "dw_gguf_tensor_info", err);
    if (status != DW_OK) {
        return status;
    }
    if (index >= dw_gguf_tensor_count(gguf)) {
        return dw_fail(err, DW_E_RANGE, "tensor %zu: there are %zu", index,
                       dw_gguf_tensor_count(gguf));
    }
    const dw_gguf_tensor *tensor = dw_gguf_tensor_at(gguf, index);
    dw_gguf_tensor_info own = {
        .name = tensor->name,
        .type = ggml_type_name(tensor->type),
        .bytes = tensor->bytes,
        .file_offset = tensor->file_offset,
        .part = tensor->part,
        .type_number = (uint32_t)tensor->type,
    };
    for (int i = 0; i < GGML_MAX_DIMS; i++) {
        own.shape[i] = (uint64_t)tensor->ne[i];
    }
    dw_struct_write(info, &own, sizeof own);
    return DW_OK;
}

dw_status dw_snapshot_file_get_info(const dw_snapshot_file *file, dw_snapshot_file_info *info)
{
    const dw_snapshot_file_info own = {
        .identity = dw_snapshot_file_identity(file),
        .bytes = dw_snapshot_file_bytes(file),
        .tensor_count = dw_snapshot_file_count(file),
    };
    return dw_struct_fill(info, &own, sizeof own, "dw_snapshot_file_info");
}

static dw_status find(const dw_snapshot_file *file, const char *name,
                      const dw_snapshot_entry **tensor, dw_error *err)
{
    *tensor = dw_snapshot_file_tensor(file, name);
    return *tensor != NULL ? DW_OK
                           : dw_fail(err, DW_E_NOT_FOUND, "snapshot: no tensor '%.64s'", name);
}

dw_status dw_snapshot_file_get_tensor_info(const dw_snapshot_file *file, const char *name,
                                           dw_snapshot_tensor_info *info, dw_error *err)
{
    const dw_snapshot_entry *tensor;
    dw_status status = dw_struct_check(info, "dw_snapshot_tensor_info", err);
    if (status == DW_OK) {
        status = find(file, name, &tensor, err);
    }
    if (status != DW_OK) {
        return status;
    }
    const dw_snapshot_tensor_info own = {
        .name = tensor->name,
        .dtype = tensor->dtype,
        .offset = tensor->offset,
        .bytes = tensor->bytes,
    };
    dw_struct_write(info, &own, sizeof own);
    return DW_OK;
}

dw_status dw_snapshot_file_read_tensor(const dw_snapshot_file *file, const char *name, void *to,
                                       size_t capacity, dw_error *err)
{
    const dw_snapshot_entry *tensor;
    dw_status status = find(file, name, &tensor, err);
    if (status != DW_OK) {
        return status;
    }
    if (tensor->bytes > capacity) {
        return dw_fail(err, DW_E_SPACE, "tensor '%s': %llu bytes, there is room for %zu", name,
                       (unsigned long long)tensor->bytes, capacity);
    }
    return dw_snapshot_file_read(file, tensor, 0, (size_t)tensor->bytes, to, err);
}
