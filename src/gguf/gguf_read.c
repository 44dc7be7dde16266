/* Reading a GGUF file: one pass over its head, which checks all that is in it. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "gguf/gguf_internal.h"

#define NAME_BYTES_MAX 1024u       /* of a key */
#define ITEM_COUNT_MAX (64u << 20) /* of an array; bytes of a string */
#define ALIGNMENT_MAX 65536u
#define PART_COUNT_MAX 1024u /* each is a mapping of its own */

/* The read position; never beyond `count`. */
typedef struct reader {
    const unsigned char *bytes;
    size_t count;
    size_t at;
} reader;

static dw_status take(reader *in, size_t bytes, const char *what, const unsigned char **out,
                      dw_error *err)
{
    if (in->count - in->at < bytes) {
        return dw_fail(err, DW_E_FORMAT, "truncated at byte %zu: %s needs %zu bytes, %zu are left",
                       in->at, what, bytes, in->count - in->at);
    }
    *out = in->bytes + in->at;
    in->at += bytes;
    return DW_OK;
}

static dw_status take_u32(reader *in, const char *what, uint32_t *value, dw_error *err)
{
    const unsigned char *bytes = NULL;
    dw_status status = take(in, 4, what, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    *value = (uint32_t)dw__gguf_load(bytes, 4);
    return DW_OK;
}

static dw_status take_u64(reader *in, const char *what, uint64_t *value, dw_error *err)
{
    const unsigned char *bytes = NULL;
    dw_status status = take(in, 8, what, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    *value = dw__gguf_load(bytes, 8);
    return DW_OK;
}

static dw_status take_string(reader *in, const char *what, size_t bytes_max, dw_gguf_string *value,
                             dw_error *err)
{
    size_t start = in->at;
    uint64_t length = 0;
    dw_status status = take_u64(in, what, &length, err);
    if (status != DW_OK) {
        return status;
    }
    if (length > bytes_max) {
        return dw_fail(err, DW_E_FORMAT, "byte %zu: %s is %llu bytes long, limit %zu", start, what,
                       (unsigned long long)length, bytes_max);
    }
    const unsigned char *bytes = NULL;
    status = take(in, (size_t)length, what, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    *value = (dw_gguf_string){.text = (const char *)bytes, .bytes = (size_t)length};
    return DW_OK;
}

/* Names appear in messages and are compared as C strings later on. */
static dw_status take_name(reader *in, const char *what, size_t bytes_max, dw_gguf_string *name,
                           dw_error *err)
{
    size_t start = in->at;
    dw_status status = take_string(in, what, bytes_max, name, err);
    if (status != DW_OK) {
        return status;
    }
    if (name->bytes == 0) {
        return dw_fail(err, DW_E_FORMAT, "byte %zu: %s is empty", start, what);
    }
    for (size_t i = 0; i < name->bytes; i++) {
        unsigned char letter = (unsigned char)name->text[i];
        if (letter <= 0x20 || letter >= 0x7f) {
            return dw_fail(err, DW_E_FORMAT, "byte %zu: %s holds the character 0x%02x", start, what,
                           letter);
        }
    }
    return DW_OK;
}

static dw_status skip_elements(reader *in, gguf_key *key, dw_error *err)
{
    int shown = (int)key->name.bytes;
    if (key->element_type != DW_GGUF_STRING) {
        size_t bytes = 0;
        const unsigned char *ignored = NULL;
        if (!dw_mul_size(&bytes, key->count, dw__gguf_type_bytes(key->element_type)) ||
            take(in, bytes, "an array", &ignored, NULL) != DW_OK) {
            return dw_fail(err, DW_E_FORMAT,
                           "truncated at byte %zu: key '%.*s': array of %zu %s, %zu bytes are left",
                           in->at, shown, key->name.text, key->count,
                           dw_gguf_type_name(key->element_type), in->count - in->at);
        }
        return DW_OK;
    }
    for (size_t i = 0; i < key->count; i++) {
        dw_gguf_string ignored;
        dw_status status = take_string(in, "a string of an array", ITEM_COUNT_MAX, &ignored, err);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "key '%.*s', item %zu", shown, key->name.text, i);
        }
    }
    return DW_OK;
}

static dw_status take_array(reader *in, gguf_key *key, dw_error *err)
{
    int shown = (int)key->name.bytes;
    size_t start = in->at;
    uint32_t type = 0;
    uint64_t count = 0;
    dw_status status = take_u32(in, "an array's type", &type, err);
    if (status == DW_OK) {
        status = take_u64(in, "an array's count", &count, err);
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "key '%.*s'", shown, key->name.text);
    }
    if (type >= DW_GGUF_TYPE_COUNT || type == DW_GGUF_ARRAY) {
        return dw_fail(err, DW_E_FORMAT, "byte %zu: key '%.*s': array of type %u (%s)", start,
                       shown, key->name.text, type,
                       type == DW_GGUF_ARRAY ? "arrays in arrays are not supported"
                                             : "there is no such type");
    }
    if (count > ITEM_COUNT_MAX) {
        return dw_fail(err, DW_E_FORMAT, "byte %zu: key '%.*s': array of %llu items, limit %u",
                       start, shown, key->name.text, (unsigned long long)count, ITEM_COUNT_MAX);
    }
    key->element_type = (dw_gguf_type)type;
    key->count = (size_t)count;
    key->value = in->bytes + in->at;
    return skip_elements(in, key, err);
}

static dw_status take_value(reader *in, gguf_key *key, dw_error *err)
{
    if (key->type == DW_GGUF_ARRAY) {
        return take_array(in, key, err);
    }
    key->value = in->bytes + in->at;
    dw_status status = DW_OK;
    if (key->type == DW_GGUF_STRING) {
        dw_gguf_string ignored;
        status = take_string(in, "a string", ITEM_COUNT_MAX, &ignored, err);
    } else {
        const unsigned char *ignored = NULL;
        status = take(in, dw__gguf_type_bytes(key->type), "a value", &ignored, err);
        if (status == DW_OK && key->type == DW_GGUF_BOOL && *ignored > 1) {
            status =
                dw_fail(err, DW_E_FORMAT, "byte %zu: a bool of value %u", in->at - 1, *ignored);
        }
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "key '%.*s'", (int)key->name.bytes, key->name.text);
    }
    return DW_OK;
}

static dw_status take_key(reader *in, gguf_key *key, dw_error *err)
{
    dw_status status = take_name(in, "a key's name", NAME_BYTES_MAX, &key->name, err);
    if (status != DW_OK) {
        return status;
    }
    size_t start = in->at;
    uint32_t type = 0;
    status = take_u32(in, "a key's type", &type, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "key '%.*s'", (int)key->name.bytes, key->name.text);
    }
    if (type >= DW_GGUF_TYPE_COUNT) {
        return dw_fail(err, DW_E_FORMAT, "byte %zu: key '%.*s' is of type %u, there are %d", start,
                       (int)key->name.bytes, key->name.text, type, DW_GGUF_TYPE_COUNT);
    }
    key->type = (dw_gguf_type)type;
    return take_value(in, key, err);
}

static int compare_keys(const void *a, const void *b)
{
    const gguf_key *left = a;
    const gguf_key *right = b;
    return dw__gguf_compare(&left->name, &right->name);
}

static dw_status read_keys(dw_gguf *gguf, reader *in, dw_error *err)
{
    gguf->keys = dw_alloc(gguf->key_count, sizeof *gguf->keys);
    if (gguf->keys == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu keys", gguf->key_count);
    }
    for (size_t i = 0; i < gguf->key_count; i++) {
        dw_status status = take_key(in, &gguf->keys[i], err);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "key %zu of %zu", i + 1, gguf->key_count);
        }
    }
    qsort(gguf->keys, gguf->key_count, sizeof *gguf->keys, compare_keys);
    for (size_t i = 1; i < gguf->key_count; i++) {
        const dw_gguf_string *name = &gguf->keys[i].name;
        if (compare_keys(&gguf->keys[i - 1], &gguf->keys[i]) == 0) {
            return dw_fail(err, DW_E_FORMAT, "byte %zu: key '%.*s' is there twice",
                           (size_t)((const unsigned char *)name->text - gguf->bytes),
                           (int)name->bytes, name->text);
        }
    }
    return DW_OK;
}

static dw_status take_sizes(reader *in, dw_gguf_tensor *tensor, dw_error *err)
{
    size_t start = in->at;
    uint32_t dims = 0;
    dw_status status = take_u32(in, "the number of dimensions", &dims, err);
    if (status != DW_OK) {
        return status;
    }
    if (dims == 0 || dims > GGML_MAX_DIMS) {
        return dw_fail(err, DW_E_FORMAT, "byte %zu: %u dimensions, allowed are 1 to %d", start,
                       dims, GGML_MAX_DIMS);
    }
    tensor->dims = (int)dims;
    for (uint32_t i = 0; i < GGML_MAX_DIMS; i++) {
        uint64_t size = 1;
        if (i < dims) {
            status = take_u64(in, "a size", &size, err);
        }
        if (status != DW_OK) {
            return status;
        }
        if (size == 0 || size > INT32_MAX) {
            return dw_fail(err, DW_E_FORMAT, "byte %zu: size %llu of dimension %u, limit %d",
                           in->at - 8, (unsigned long long)size, i, INT32_MAX);
        }
        tensor->ne[i] = (int64_t)size;
    }
    return DW_OK;
}

static dw_status take_type(reader *in, dw_gguf_tensor *tensor, dw_error *err)
{
    size_t start = in->at;
    uint32_t type = 0;
    dw_status status = take_u32(in, "a tensor's type", &type, err);
    if (status != DW_OK) {
        return status;
    }
    /* Numbers of types that ggml has dropped have no block size. */
    if (type >= GGML_TYPE_COUNT || ggml_blck_size((enum ggml_type)type) <= 0 ||
        ggml_type_size((enum ggml_type)type) == 0) {
        return dw_fail(err, DW_E_FORMAT, "byte %zu: there is no tensor type %u", start, type);
    }
    tensor->type = (enum ggml_type)type;
    int64_t block = ggml_blck_size(tensor->type);
    if (tensor->ne[0] % block != 0) {
        return dw_fail(err, DW_E_FORMAT,
                       "byte %zu: rows of %lld elements, %s needs multiples of %lld", start,
                       (long long)tensor->ne[0], ggml_type_name(tensor->type), (long long)block);
    }
    size_t bytes = (size_t)(tensor->ne[0] / block);
    bool fits = dw_mul_size(&bytes, bytes, ggml_type_size(tensor->type));
    for (int i = 1; i < GGML_MAX_DIMS; i++) {
        fits = fits && dw_mul_size(&bytes, bytes, (size_t)tensor->ne[i]);
    }
    if (!fits || bytes > SIZE_MAX / 2) {
        return dw_fail(err, DW_E_FORMAT, "byte %zu: %lld x %lld x %lld x %lld %s is too large",
                       start, (long long)tensor->ne[0], (long long)tensor->ne[1],
                       (long long)tensor->ne[2], (long long)tensor->ne[3],
                       ggml_type_name(tensor->type));
    }
    tensor->bytes = bytes;
    return DW_OK;
}

/* What follows a tensor's name. The offset is left relative to the data section, whose start is not
 * known yet. */
static dw_status take_tensor_entry(reader *in, dw_gguf_tensor *tensor, dw_error *err)
{
    uint64_t offset = 0;
    dw_status status = take_sizes(in, tensor, err);
    if (status != DW_OK) {
        return status;
    }
    status = take_type(in, tensor, err);
    if (status != DW_OK) {
        return status;
    }
    status = take_u64(in, "a tensor's offset", &offset, err);
    if (status != DW_OK) {
        return status;
    }
    tensor->file_offset = (size_t)offset;
    return DW_OK;
}

static dw_status take_tensor(reader *in, dw_gguf_tensor *tensor, dw_error *err)
{
    dw_gguf_string name;
    dw_status status = take_name(in, "a tensor's name", GGML_MAX_NAME - 1, &name, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(tensor->name, name.text, name.bytes);
    status = take_tensor_entry(in, tensor, err);
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "tensor '%s'", tensor->name);
}

static dw_status read_tensors(dw_gguf *gguf, reader *in, dw_error *err)
{
    gguf->tensors = dw_alloc(gguf->tensor_count, sizeof *gguf->tensors);
    if (gguf->tensors == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu tensors", gguf->tensor_count);
    }
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        dw_status status = take_tensor(in, &gguf->tensors[i], err);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "tensor %zu of %zu", i + 1, gguf->tensor_count);
        }
    }
    return dw__gguf_sort_names(gguf, err);
}

/* The tensors' data follow each other in the order of their entries, each padded to the alignment:
 * so no two overlap, and the file has no hidden room. ggml's own reader demands the same. */
static dw_status check_layout(dw_gguf *gguf, size_t alignment, dw_error *err)
{
    size_t data_bytes = gguf->byte_count - gguf->data_offset;
    size_t expected = 0;
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        dw_gguf_tensor *tensor = &gguf->tensors[i];
        size_t offset = tensor->file_offset;
        if (offset % alignment != 0) {
            return dw_fail(err, DW_E_FORMAT,
                           "tensor '%s': offset %zu is not a multiple of the alignment %zu",
                           tensor->name, offset, alignment);
        }
        if (offset != expected) {
            return dw_fail(
                err, DW_E_FORMAT, "tensor '%s': offset %zu %s, expected %zu", tensor->name, offset,
                offset < expected ? "overlaps the tensors before it" : "leaves a gap", expected);
        }
        if (offset > data_bytes || tensor->bytes > data_bytes - offset) {
            return dw_fail(err, DW_E_FORMAT,
                           "truncated: tensor '%s' takes bytes %zu to %zu of the data, "
                           "the file holds %zu",
                           tensor->name, offset, offset + tensor->bytes, data_bytes);
        }
        tensor->file_offset = gguf->data_offset + offset;
        /* Cannot overflow: both are within the file, the alignment is small. */
        (void)dw_round_up(&expected, offset + tensor->bytes, alignment);
    }
    return DW_OK;
}

static dw_status find_data(dw_gguf *gguf, const reader *in, dw_error *err)
{
    uint32_t alignment = 32;
    dw_status status = dw_gguf_u32(gguf, "general.alignment", &alignment, err);
    if (status != DW_OK && status != DW_E_NOT_FOUND) {
        return status;
    }
    if (alignment < 8 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0) {
        return dw_fail(err, DW_E_FORMAT,
                       "general.alignment is %u, allowed are powers of two from 8 to %u", alignment,
                       ALIGNMENT_MAX);
    }
    if (!dw_round_up(&gguf->data_offset, in->at, alignment) ||
        (gguf->tensor_count > 0 && gguf->data_offset > gguf->byte_count)) {
        return dw_fail(err, DW_E_FORMAT, "truncated at byte %zu: no tensor data follow",
                       gguf->byte_count);
    }
    if (gguf->tensor_count == 0) {
        return DW_OK;
    }
    return check_layout(gguf, alignment, err);
}

static dw_status read_counts(dw_gguf *gguf, reader *in, dw_error *err)
{
    uint64_t tensors = 0;
    uint64_t keys = 0;
    dw_status status = take_u64(in, "the tensor count", &tensors, err);
    if (status != DW_OK) {
        return status;
    }
    status = take_u64(in, "the key count", &keys, err);
    if (status != DW_OK) {
        return status;
    }
    /* The shortest key takes 14 bytes, the shortest tensor 33. */
    size_t left = in->count - in->at;
    if (tensors > DW__GGUF_COUNT_MAX || tensors > left / 33) {
        return dw_fail(err, DW_E_FORMAT, "byte 8: %llu tensors in %zu bytes, limit %u",
                       (unsigned long long)tensors, left, DW__GGUF_COUNT_MAX);
    }
    if (keys > DW__GGUF_COUNT_MAX || keys > left / 14) {
        return dw_fail(err, DW_E_FORMAT, "byte 16: %llu keys in %zu bytes, limit %u",
                       (unsigned long long)keys, left, DW__GGUF_COUNT_MAX);
    }
    gguf->tensor_count = (size_t)tensors;
    gguf->key_count = (size_t)keys;
    return DW_OK;
}

static dw_status read_version(reader *in, dw_error *err)
{
    const unsigned char *magic = NULL;
    dw_status status = take(in, 4, "the file's mark", &magic, err);
    if (status != DW_OK) {
        return status;
    }
    if (memcmp(magic, "GGUF", 4) != 0) {
        return dw_fail(err, DW_E_FORMAT,
                       "not a GGUF file: it starts with 0x%02x%02x%02x%02x, not \"GGUF\"", magic[0],
                       magic[1], magic[2], magic[3]);
    }
    uint32_t version = 0;
    status = take_u32(in, "the version", &version, err);
    if (status != DW_OK) {
        return status;
    }
    if (version != 2 && version != 3) {
        bool swapped = version == 0x02000000u || version == 0x03000000u;
        return dw_fail(err, DW_E_UNSUPPORTED, "GGUF version %u%s; versions 2 and 3 are supported",
                       version, swapped ? " (a big-endian file)" : "");
    }
    return DW_OK;
}

/* Which of how many parts this file says it is. */
static dw_status read_split(dw_gguf *gguf, bool lone, dw_error *err)
{
    gguf->part_count = 1;
    dw_status status = dw_gguf_u32(gguf, "split.count", &gguf->part_count, err);
    if (status != DW_OK && status != DW_E_NOT_FOUND) {
        return status;
    }
    if (gguf->part_count <= 1) {
        gguf->part_count = 1;
        return DW_OK;
    }
    if (lone) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "split.count is %u: one of several files, which are opened by path",
                       gguf->part_count);
    }
    if (gguf->part_count > PART_COUNT_MAX) {
        return dw_fail(err, DW_E_UNSUPPORTED, "split.count is %u, limit %u", gguf->part_count,
                       PART_COUNT_MAX);
    }
    status = dw_gguf_u32(gguf, "split.no", &gguf->part_index, err);
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_FORMAT, "split.count is %u, and key 'split.no' is missing",
                       gguf->part_count);
    }
    if (status != DW_OK) {
        return status;
    }
    if (gguf->part_index >= gguf->part_count) {
        return dw_fail(err, DW_E_FORMAT, "split.no is %u, split.count is %u", gguf->part_index,
                       gguf->part_count);
    }
    return DW_OK;
}

static dw_status read_head(dw_gguf *gguf, bool lone, dw_error *err)
{
    reader in = {.bytes = gguf->bytes, .count = gguf->byte_count};
    dw_status status = read_version(&in, err);
    if (status != DW_OK) {
        return status;
    }
    status = read_counts(gguf, &in, err);
    if (status != DW_OK) {
        return status;
    }
    status = read_keys(gguf, &in, err);
    if (status != DW_OK) {
        return status;
    }
    status = read_split(gguf, lone, err);
    if (status != DW_OK) {
        return status;
    }
    status = read_tensors(gguf, &in, err);
    return status == DW_OK ? find_data(gguf, &in, err) : status;
}

/* `lone`: a part of several is refused. */
static dw_status parse(dw_gguf **out, const void *bytes, size_t count, bool lone, dw_error *err)
{
    *out = NULL;
    dw_gguf *gguf = dw_alloc(1, sizeof *gguf);
    if (gguf == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to read a GGUF file");
    }
    gguf->fd = -1;
    gguf->bytes = bytes;
    gguf->byte_count = count;
    dw_status status = read_head(gguf, lone, err);
    if (status != DW_OK) {
        dw_gguf_close(gguf);
        return status;
    }
    *out = gguf;
    return DW_OK;
}

dw_status dw_gguf_parse(dw_gguf **out, const void *bytes, size_t count, dw_error *err)
{
    return parse(out, bytes, count, true, err);
}

dw_status dw__gguf_open_file(dw_gguf **out, const char *path, dw_error *err)
{
    *out = NULL;
    void *bytes = NULL;
    size_t count = 0;
    int fd = -1;
    dw_status status = dw_os_map_file(path, &bytes, &count, &fd, err);
    if (status != DW_OK) {
        return status;
    }
    dw_file_guard *guard = dw_file_guard_add(bytes, count, fd);
    char *shown = dw_strdup(path);
    status = shown != NULL ? parse(out, bytes, count, false, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for a path");
    if (status == DW_OK) {
        (*out)->mapped = true;
        (*out)->fd = fd;
        (*out)->path = shown;
        (*out)->guard = guard;
        return DW_OK;
    }
    dw_file_guard_remove(guard);
    dw_free(shown);
    if (bytes != NULL) {
        dw_os_unmap(bytes, count);
    }
    dw_os_close(fd);
    return dw_fail_within(err, status, "%s", path);
}
