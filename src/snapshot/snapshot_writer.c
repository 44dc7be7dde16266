/* What a snapshot file is to hold: tensors and metadata, collected. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "snapshot/snapshot_writer_internal.h"

dw_status dw_snapshot_writer_create(dw_snapshot_writer **out, dw_error *err)
{
    *out = dw_alloc(1, sizeof **out);
    return *out != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "a snapshot's writer: no memory");
}

void dw_snapshot_writer_destroy(dw_snapshot_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    for (size_t i = 0; i < writer->pair_count; i++) {
        dw_free(writer->pairs[i].key);
        dw_free(writer->pairs[i].value);
    }
    for (size_t i = 0; i < writer->item_count; i++) {
        dw_free(writer->items[i].copy);
    }
    dw_free(writer->pairs);
    dw_free(writer->items);
    dw_free(writer);
}

const char *dw__snapshot_find_meta(const dw_snapshot_writer *writer, const char *key)
{
    for (size_t i = 0; i < writer->pair_count; i++) {
        if (strcmp(writer->pairs[i].key, key) == 0) {
            return writer->pairs[i].value;
        }
    }
    return NULL;
}

static bool is_identity(const char *value)
{
    uint8_t digest[DW_HASH128_BYTES];
    return dw_hex_parse(digest, sizeof digest, value);
}

static bool is_utf8(const char *value)
{
    json_t *string = json_string(value);
    json_decref(string);
    return string != NULL;
}

static dw_status check_meta(const dw_snapshot_writer *writer, const char *key, const char *value,
                            dw_error *err)
{
    static const char *const own[] = {"format", "version", "checksums"};
    if (!dw__snapshot_name_is_good(key)) {
        return dw_fail(err, DW_E_ARG, "metadata '%.80s': a key is 1 to 64 of a-z 0-9 . _ -", key);
    }
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(key, own[i]) == 0) {
            return dw_fail(err, DW_E_ARG, "metadata '%s': it is the writer's own", key);
        }
    }
    if (writer->pair_count >= DW_SNAPSHOT_META_MAX) {
        return dw_fail(err, DW_E_LIMIT, "metadata '%s': %zu lines are there, limit %u", key,
                       writer->pair_count, DW_SNAPSHOT_META_MAX);
    }
    if (dw__snapshot_find_meta(writer, key) != NULL) {
        return dw_fail(err, DW_E_ARG, "metadata '%s' is given twice", key);
    }
    if (strcmp(key, "kind") == 0 && strcmp(value, "full") != 0 && strcmp(value, "delta") != 0) {
        return dw_fail(err, DW_E_ARG, "metadata 'kind': '%.40s', full or delta is allowed", value);
    }
    if (strcmp(key, "base") == 0 && !is_identity(value)) {
        return dw_fail(err, DW_E_ARG, "metadata 'base': '%.40s' is no identity of a snapshot",
                       value);
    }
    if (!is_utf8(value)) {
        return dw_fail(err, DW_E_ARG, "metadata '%s': its value is not UTF-8", key);
    }
    return DW_OK;
}

dw_status dw_snapshot_writer_meta(dw_snapshot_writer *writer, const char *key, const char *value,
                                  dw_error *err)
{
    dw_status status = check_meta(writer, key, value, err);
    if (status != DW_OK) {
        return status;
    }
    dw__snapshot_pair *pairs = dw_realloc(writer->pairs, writer->pair_count + 1, sizeof *pairs);
    if (pairs != NULL) {
        writer->pairs = pairs;
    }
    char *own_key = dw_strdup(key);
    char *own_value = dw_strdup(value);
    if (pairs == NULL || own_key == NULL || own_value == NULL) {
        dw_free(own_key);
        dw_free(own_value);
        return dw_fail(err, DW_E_MEMORY, "metadata '%s': no memory", key);
    }
    pairs[writer->pair_count++] = (dw__snapshot_pair){own_key, own_value};
    return DW_OK;
}

static dw_status check_tensor(const dw_snapshot_tensor *tensor, uint64_t *bytes, dw_error *err)
{
    if (!dw__snapshot_name_is_good(tensor->name)) {
        return dw_fail(err, DW_E_ARG, "tensor '%.80s': a name is 1 to 64 of a-z 0-9 . _ -",
                       tensor->name);
    }
    if (strcmp(tensor->name, DW__SNAPSHOT_SEAL) == 0 || dw__snapshot_name_is_filler(tensor->name)) {
        return dw_fail(err, DW_E_ARG, "tensor '%s': the name is the writer's own", tensor->name);
    }
    uint64_t element_bytes = dw__snapshot_dtype_bytes(tensor->dtype);
    if (element_bytes == 0) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "tensor '%s': dtype '%.20s', U8, I32, U32, I64, F16 or F32 is allowed",
                       tensor->name, tensor->dtype);
    }
    if (tensor->dimension_count > DW_SNAPSHOT_DIMENSIONS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "tensor '%s': %u dimensions, limit %u", tensor->name,
                       tensor->dimension_count, DW_SNAPSHOT_DIMENSIONS_MAX);
    }
    if (!dw__snapshot_shape_bytes(bytes, element_bytes, tensor->shape, tensor->dimension_count)) {
        return dw_fail(err, DW_E_LIMIT, "tensor '%s': its shape is over %llu bytes", tensor->name,
                       (unsigned long long)DW_SNAPSHOT_FILE_BYTES_MAX);
    }
    if (*bytes > 0 && tensor->bytes == NULL && tensor->read == NULL && tensor->stream == NULL) {
        return dw_fail(err, DW_E_ARG, "tensor '%s': neither bytes nor a callback", tensor->name);
    }
    return DW_OK;
}

dw_status dw_snapshot_writer_tensor(dw_snapshot_writer *writer, const dw_snapshot_tensor *tensor,
                                    dw_error *err)
{
    uint64_t bytes;
    dw_status status = check_tensor(tensor, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    if (writer->item_count >= DW_SNAPSHOT_TENSORS_MAX - 1) {
        return dw_fail(err, DW_E_LIMIT, "tensor '%s': %zu are there, limit %u with the seal",
                       tensor->name, writer->item_count, DW_SNAPSHOT_TENSORS_MAX);
    }
    if (!DW_ARRAY_RESERVE(writer->items, writer->item_capacity, writer->item_count + 1,
                          DW_SNAPSHOT_TENSORS_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "tensor '%s': no memory", tensor->name);
    }
    dw__snapshot_item *added = &writer->items[writer->item_count++];
    *added = (dw__snapshot_item){.tensor = *tensor, .bytes = bytes};
    (void)snprintf(added->name, sizeof added->name, "%s", tensor->name);
    (void)snprintf(added->dtype, sizeof added->dtype, "%s", tensor->dtype);
    added->tensor.name = NULL; /* the caller's, and not ours to keep */
    added->tensor.dtype = NULL;
    return DW_OK;
}

dw_status dw_snapshot_writer_tensor_copied(dw_snapshot_writer *writer,
                                           const dw_snapshot_tensor *tensor, dw_error *err)
{
    dw_status status = dw_snapshot_writer_tensor(writer, tensor, err);
    if (status != DW_OK || tensor->bytes == NULL || tensor->lasting) {
        return status;
    }
    dw__snapshot_item *added = &writer->items[writer->item_count - 1];
    if (added->bytes == 0) {
        return DW_OK;
    }
    added->copy = added->bytes <= SIZE_MAX ? dw_alloc(1, (size_t)added->bytes) : NULL;
    if (added->copy == NULL) {
        return dw_fail(err, DW_E_MEMORY, "tensor '%s': no memory for a copy of %llu bytes",
                       tensor->name, (unsigned long long)added->bytes);
    }
    memcpy(added->copy, tensor->bytes, (size_t)added->bytes);
    added->tensor.bytes = added->copy;
    return DW_OK;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const dw__snapshot_item *const *left = a;
    const dw__snapshot_item *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static dw_status check_names(const dw_snapshot_writer *writer, dw_error *err)
{
    const dw__snapshot_item **sorted = dw_alloc(writer->item_count, sizeof *sorted);
    if (sorted == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot of %zu tensors: no memory",
                       writer->item_count);
    }
    for (size_t i = 0; i < writer->item_count; i++) {
        sorted[i] = &writer->items[i];
    }
    dw_status status = DW_OK;
    qsort(sorted, writer->item_count, sizeof *sorted, compare_names);
    for (size_t i = 1; i < writer->item_count && status == DW_OK; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            status = dw_fail(err, DW_E_ARG, "tensor '%s' is given twice", sorted[i]->name);
        }
    }
    dw_free(sorted);
    return status;
}

bool dw__snapshot_is_delta(const dw_snapshot_writer *writer)
{
    const char *kind = dw__snapshot_find_meta(writer, "kind");
    return kind != NULL && strcmp(kind, "delta") == 0;
}

dw_status dw__snapshot_check_whole(const dw_snapshot_writer *writer, dw_error *err)
{
    bool delta = dw__snapshot_is_delta(writer);
    if (delta != (dw__snapshot_find_meta(writer, "base") != NULL)) {
        return dw_fail(err, DW_E_ARG,
                       delta ? "a delta without the metadata 'base'"
                             : "metadata 'base' in a snapshot that is no delta");
    }
    return check_names(writer, err);
}

void dw_snapshot_writer_set_check(dw_snapshot_writer *writer, dw_snapshot_check check, void *user)
{
    writer->check = check;
    writer->check_user = user;
}

uint64_t dw_snapshot_writer_bytes(const dw_snapshot_writer *writer)
{
    return writer->file_bytes;
}

uint64_t dw_snapshot_writer_written(const dw_snapshot_writer *writer)
{
    return writer->written_bytes;
}
