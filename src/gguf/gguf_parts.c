/* A model in one file or several: opening by path. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "gguf/gguf_internal.h"

#define SUFFIX_BYTES 40

static void part_suffix(char *suffix, uint32_t index, uint32_t count)
{
    (void)snprintf(suffix, SUFFIX_BYTES, "-%05u-of-%05u.gguf", index + 1, count);
}

/* The path without what tells the parts apart; the caller's to free. */
static dw_status part_prefix(char **out, const dw_gguf *gguf, const char *path, dw_error *err)
{
    char suffix[SUFFIX_BYTES];
    if (strncmp(path, "/dev/fd/", strlen("/dev/fd/")) == 0) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "part %u of %u: a descriptor does not say where the others are, the path of "
                       "the first part is needed",
                       gguf->part_index + 1, gguf->part_count);
    }
    part_suffix(suffix, gguf->part_index, gguf->part_count);
    size_t length = strlen(path);
    size_t suffix_length = strlen(suffix);
    if (length < suffix_length || strcmp(path + length - suffix_length, suffix) != 0) {
        return dw_fail(err, DW_E_FORMAT,
                       "%s: part %u of %u by its keys: its name must end in '%s', or the others "
                       "are not found",
                       path, gguf->part_index + 1, gguf->part_count, suffix);
    }
    *out = dw_alloc(length + SUFFIX_BYTES, 1);
    if (*out == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a path");
    }
    memcpy(*out, path, length - suffix_length);
    return DW_OK;
}

static dw_status open_part(dw_gguf *first, uint32_t index, const char *path, dw_error *err)
{
    dw_gguf *part = NULL;
    dw_status status = dw__gguf_open_file(&part, path, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "part %u of %u", index + 1, first->part_count);
    }
    first->rest[index - 1] = part;
    if (part->part_count != first->part_count || part->part_index != index) {
        return dw_fail(err, DW_E_FORMAT, "%s: part %u of %u by its keys, wanted is part %u of %u",
                       path, part->part_index + 1, part->part_count, index + 1, first->part_count);
    }
    return DW_OK;
}

static dw_status open_rest(dw_gguf *first, char *prefix, dw_error *err)
{
    size_t length = strlen(prefix);
    first->rest = dw_alloc(first->part_count - 1, sizeof(dw_gguf *));
    if (first->rest == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %u parts", first->part_count);
    }
    for (uint32_t i = 1; i < first->part_count; i++) {
        part_suffix(prefix + length, i, first->part_count);
        dw_status status = open_part(first, i, prefix, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* All parts' tensors in the first one's list, in the order of the parts. */
static dw_status join_tensors(dw_gguf *first, dw_error *err)
{
    size_t total = first->tensor_count;
    for (uint32_t i = 1; i < first->part_count; i++) {
        total += first->rest[i - 1]->tensor_count;
    }
    uint32_t told = 0;
    dw_status status = dw_gguf_u32(first, "split.tensors.count", &told, err);
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_FORMAT, "key 'split.tensors.count' is missing");
    }
    if (status != DW_OK) {
        return status;
    }
    if (told != total || total > DW__GGUF_COUNT_MAX) {
        return dw_fail(err, DW_E_FORMAT, "split.tensors.count is %u, the parts hold %zu, limit %u",
                       told, total, DW__GGUF_COUNT_MAX);
    }
    dw_gguf_tensor *tensors = dw_alloc(total, sizeof *tensors);
    if (tensors == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu tensors", total);
    }
    size_t done = 0;
    for (uint32_t i = 0; i < first->part_count; i++) {
        const dw_gguf *part = i == 0 ? first : first->rest[i - 1];
        for (size_t j = 0; j < part->tensor_count; j++) {
            tensors[done] = part->tensors[j];
            tensors[done++].part = i;
        }
    }
    DW_ASSERT(done == total);
    dw_free(first->tensors);
    dw_free(first->by_name);
    first->tensors = tensors;
    first->tensor_count = total;
    return dw__gguf_sort_names(first, err);
}

static dw_status open_all_parts(dw_gguf *first, const char *path, dw_error *err)
{
    char *prefix = NULL;
    dw_status status = part_prefix(&prefix, first, path, err);
    if (status != DW_OK) {
        return status;
    }
    if (first->part_index != 0) {
        part_suffix(prefix + strlen(prefix), 0, first->part_count);
        status = dw_fail(err, DW_E_UNSUPPORTED, "part %u of %u: open the first, %s",
                         first->part_index + 1, first->part_count, prefix);
        dw_free(prefix);
        return status;
    }
    status = open_rest(first, prefix, err);
    dw_free(prefix);
    if (status != DW_OK) {
        return status;
    }
    status = join_tensors(first, err);
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "%s", path);
}

dw_status dw_gguf_open(dw_gguf **out, const char *path, dw_error *err)
{
    dw_status status = dw__gguf_open_file(out, path, err);
    if (status == DW_OK && (*out)->part_count > 1) {
        status = open_all_parts(*out, path, err);
    }
    if (status != DW_OK) {
        dw_gguf_close(*out);
        *out = NULL;
    }
    return status;
}

uint32_t dw_gguf_part_count(const dw_gguf *gguf)
{
    return gguf->part_count;
}

const dw_gguf *dw__gguf_part(const dw_gguf *gguf, uint32_t part)
{
    return part == 0 ? gguf : gguf->rest[part - 1];
}

const void *dw_gguf_part_bytes(const dw_gguf *gguf, uint32_t part, size_t *count)
{
    DW_ASSERT(part < gguf->part_count);
    const dw_gguf *file = dw__gguf_part(gguf, part);
    *count = file->byte_count;
    return file->bytes;
}

dw_status dw_gguf_check(const dw_gguf *gguf, dw_error *err)
{
    for (uint32_t i = 0; i < gguf->part_count; i++) {
        const dw_gguf *file = dw__gguf_part(gguf, i);
        dw_status status = file->fd < 0 ? DW_OK
                                        : dw_file_check(file->fd, file->path, file->byte_count,
                                                        dw_file_guard_is_broken(file->guard), err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

uint64_t dw_gguf_bytes(const dw_gguf *gguf)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < gguf->part_count; i++) {
        size_t count = 0;
        (void)dw_gguf_part_bytes(gguf, i, &count);
        total += count;
    }
    return total;
}
