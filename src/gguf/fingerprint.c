#include "gguf/gguf.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "gguf/gguf_internal.h"

#define SAMPLE_BYTES 4096u

static void add_u64(dw_hash128 *hash, uint64_t value)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
    dw_hash128_add(hash, bytes, sizeof bytes);
}

static void add_text(dw_hash128 *hash, const char *text, size_t bytes)
{
    add_u64(hash, bytes);
    dw_hash128_add(hash, text, bytes);
}

static bool starts_with(const dw_gguf_string *name, const char *start)
{
    size_t length = strlen(start);
    return name->bytes >= length && memcmp(name->text, start, length) == 0;
}

/* Names, authors, licences, how the file was made: the same model may have others. */
static bool describes_only(const dw_gguf_string *name)
{
    static const char architecture[] = "general.architecture";
    bool is_architecture = name->bytes == sizeof architecture - 1 &&
                           memcmp(name->text, architecture, name->bytes) == 0;
    return (starts_with(name, "general.") && !is_architecture) || starts_with(name, "split.") ||
           starts_with(name, "quantize.");
}

static size_t item_bytes(dw_gguf_type type)
{
    static const unsigned char bytes[DW_GGUF_TYPE_COUNT] = {
        [DW_GGUF_U8] = 1,  [DW_GGUF_I8] = 1,  [DW_GGUF_U16] = 2, [DW_GGUF_I16] = 2,
        [DW_GGUF_U32] = 4, [DW_GGUF_I32] = 4, [DW_GGUF_F32] = 4, [DW_GGUF_BOOL] = 1,
        [DW_GGUF_U64] = 8, [DW_GGUF_I64] = 8, [DW_GGUF_F64] = 8,
    };
    return bytes[type];
}

/* A string's length and bytes as the file has them. */
static size_t string_bytes(const unsigned char *value)
{
    uint64_t length = 0;
    for (size_t i = 0; i < sizeof length; i++) {
        length |= (uint64_t)value[i] << (8 * i);
    }
    return sizeof length + (size_t)length;
}

static void add_key(dw_hash128 *hash, const gguf_key *key)
{
    bool array = key->type == DW_GGUF_ARRAY;
    dw_gguf_type type = array ? key->element_type : key->type;
    size_t count = array ? key->count : 1;
    size_t bytes = 0;
    add_text(hash, key->name.text, key->name.bytes);
    add_u64(hash, (uint64_t)key->type);
    if (array) {
        add_u64(hash, (uint64_t)type);
        add_u64(hash, count);
    }
    if (type == DW_GGUF_STRING) {
        for (size_t i = 0; i < count; i++) {
            bytes += string_bytes(key->value + bytes);
        }
    } else {
        bytes = count * item_bytes(type);
    }
    dw_hash128_add(hash, key->value, bytes);
}

static void add_tensor(dw_hash128 *hash, const dw_gguf *gguf, const dw_gguf_tensor *tensor)
{
    size_t file_bytes;
    const unsigned char *data =
        (const unsigned char *)dw_gguf_part_bytes(gguf, tensor->part, &file_bytes) +
        tensor->file_offset;
    add_text(hash, tensor->name, strlen(tensor->name));
    add_u64(hash, (uint64_t)tensor->type);
    for (size_t i = 0; i < GGML_MAX_DIMS; i++) {
        add_u64(hash, (uint64_t)tensor->ne[i]);
    }
    if (tensor->bytes <= 3 * SAMPLE_BYTES) {
        dw_hash128_add(hash, data, tensor->bytes);
        return;
    }
    size_t middle = (tensor->bytes / 2) & ~(size_t)63;
    dw_hash128_add(hash, data, SAMPLE_BYTES);
    dw_hash128_add(hash, data + middle, SAMPLE_BYTES);
    dw_hash128_add(hash, data + tensor->bytes - SAMPLE_BYTES, SAMPLE_BYTES);
}

dw_status dw_gguf_fingerprint(const dw_gguf *gguf, char text[DW_FINGERPRINT_BYTES], dw_error *err)
{
    uint8_t digest[DW_HASH128_BYTES];
    char hex[DW_HASH128_TEXT];
    dw_hash128 *hash = dw_hash128_create();
    if (hash == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a fingerprint");
    }
    for (size_t i = 0; i < gguf->key_count; i++) {
        if (!describes_only(&gguf->keys[i].name)) {
            add_key(hash, &gguf->keys[i]);
        }
    }
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        add_tensor(hash, gguf, gguf->by_name[i]);
    }
    dw_hash128_finish(hash, digest);
    dw_hash128_destroy(hash);
    dw_hex(hex, digest, sizeof digest);
    (void)snprintf(text, DW_FINGERPRINT_BYTES, "gguf1:%s", hex);
    return DW_OK;
}
