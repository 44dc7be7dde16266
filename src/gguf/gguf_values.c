/* What a file's keys say. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "gguf/gguf_internal.h"

static const struct {
    const char *name;
    size_t bytes; /* 0: its own length */
} type_table[DW_GGUF_TYPE_COUNT] = {
    [DW_GGUF_U8] = {"u8", 1},       [DW_GGUF_I8] = {"i8", 1},     [DW_GGUF_U16] = {"u16", 2},
    [DW_GGUF_I16] = {"i16", 2},     [DW_GGUF_U32] = {"u32", 4},   [DW_GGUF_I32] = {"i32", 4},
    [DW_GGUF_F32] = {"f32", 4},     [DW_GGUF_BOOL] = {"bool", 1}, [DW_GGUF_STRING] = {"string", 0},
    [DW_GGUF_ARRAY] = {"array", 0}, [DW_GGUF_U64] = {"u64", 8},   [DW_GGUF_I64] = {"i64", 8},
    [DW_GGUF_F64] = {"f64", 8},
};

const char *dw_gguf_type_name(dw_gguf_type type)
{
    return (unsigned)type < DW_GGUF_TYPE_COUNT ? type_table[type].name : "none";
}

size_t dw__gguf_type_bytes(dw_gguf_type type)
{
    return type_table[type].bytes;
}

static const gguf_key *find_key(const dw_gguf *gguf, const char *name)
{
    dw_gguf_string wanted = {.text = name, .bytes = strlen(name)};
    size_t low = 0;
    size_t high = gguf->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = dw__gguf_compare(&gguf->keys[middle].name, &wanted);
        if (order == 0) {
            return &gguf->keys[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

bool dw_gguf_has(const dw_gguf *gguf, const char *key)
{
    return find_key(gguf, key) != NULL;
}

dw_gguf_type dw_gguf_type_of(const dw_gguf *gguf, const char *name)
{
    const gguf_key *key = find_key(gguf, name);
    return key != NULL ? key->type : DW_GGUF_TYPE_COUNT;
}

static dw_status wrong_type(const char *name, const gguf_key *key, const char *wanted,
                            dw_error *err)
{
    return dw_fail(err, DW_E_FORMAT, "key '%s' is of type %s, wanted is %s", name,
                   dw_gguf_type_name(key->type), wanted);
}

dw_status dw_gguf_u32(const dw_gguf *gguf, const char *name, uint32_t *value, dw_error *err)
{
    const gguf_key *key = find_key(gguf, name);
    if (key == NULL) {
        return DW_E_NOT_FOUND;
    }
    bool is_signed = false;
    switch (key->type) {
    case DW_GGUF_I8:
    case DW_GGUF_I16:
    case DW_GGUF_I32:
    case DW_GGUF_I64:
        is_signed = true;
        break;
    case DW_GGUF_U8:
    case DW_GGUF_U16:
    case DW_GGUF_U32:
    case DW_GGUF_U64:
        break;
    default:
        return wrong_type(name, key, "an integer", err);
    }
    size_t bytes = dw__gguf_type_bytes(key->type);
    uint64_t number = dw__gguf_load(key->value, bytes);
    if (is_signed && (number >> (bytes * 8 - 1)) != 0) {
        return dw_fail(err, DW_E_FORMAT, "key '%s' is negative", name);
    }
    if (number > UINT32_MAX) {
        return dw_fail(err, DW_E_FORMAT, "key '%s' is %llu, limit %u", name,
                       (unsigned long long)number, UINT32_MAX);
    }
    *value = (uint32_t)number;
    return DW_OK;
}

static float load_f32(const unsigned char *bytes)
{
    uint32_t bits = (uint32_t)dw__gguf_load(bytes, 4);
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

dw_status dw_gguf_f32(const dw_gguf *gguf, const char *name, float *value, dw_error *err)
{
    const gguf_key *key = find_key(gguf, name);
    if (key == NULL) {
        return DW_E_NOT_FOUND;
    }
    float number = 0;
    if (key->type == DW_GGUF_F32) {
        number = load_f32(key->value);
    } else if (key->type == DW_GGUF_F64) {
        uint64_t bits = dw__gguf_load(key->value, 8);
        double wide = 0;
        memcpy(&wide, &bits, sizeof wide);
        number = (float)wide;
    } else {
        return wrong_type(name, key, "f32", err);
    }
    if (!isfinite(number)) {
        return dw_fail(err, DW_E_FORMAT, "key '%s' is %f, not a finite number", name,
                       (double)number);
    }
    *value = number;
    return DW_OK;
}

dw_status dw_gguf_bool(const dw_gguf *gguf, const char *name, bool *value, dw_error *err)
{
    const gguf_key *key = find_key(gguf, name);
    if (key == NULL) {
        return DW_E_NOT_FOUND;
    }
    if (key->type != DW_GGUF_BOOL) {
        return wrong_type(name, key, "bool", err);
    }
    *value = *key->value != 0;
    return DW_OK;
}

/* Its length was checked when the file was read. */
static dw_gguf_string load_string(const unsigned char *bytes)
{
    return (dw_gguf_string){.text = (const char *)bytes + 8,
                            .bytes = (size_t)dw__gguf_load(bytes, 8)};
}

dw_status dw_gguf_text(const dw_gguf *gguf, const char *name, dw_gguf_string *value, dw_error *err)
{
    const gguf_key *key = find_key(gguf, name);
    if (key == NULL) {
        return DW_E_NOT_FOUND;
    }
    if (key->type != DW_GGUF_STRING) {
        return wrong_type(name, key, "string", err);
    }
    *value = load_string(key->value);
    return DW_OK;
}

dw_gguf_type dw_gguf_array_type(const dw_gguf *gguf, const char *name)
{
    const gguf_key *key = find_key(gguf, name);
    return key != NULL && key->type == DW_GGUF_ARRAY ? key->element_type : DW_GGUF_TYPE_COUNT;
}

dw_status dw_gguf_array_of(const dw_gguf *gguf, const char *name, dw_gguf_type type,
                           dw_gguf_array *value, dw_error *err)
{
    const gguf_key *key = find_key(gguf, name);
    if (key == NULL) {
        return DW_E_NOT_FOUND;
    }
    if (key->type != DW_GGUF_ARRAY) {
        return wrong_type(name, key, "an array", err);
    }
    if (key->element_type != type) {
        return dw_fail(err, DW_E_FORMAT, "key '%s' is an array of %s, wanted is one of %s", name,
                       dw_gguf_type_name(key->element_type), dw_gguf_type_name(type));
    }
    *value = (dw_gguf_array){.elements = key->value, .count = key->count};
    return DW_OK;
}

int32_t dw_gguf_array_i32(const dw_gguf_array *array, size_t index)
{
    DW_ASSERT(index < array->count);
    uint32_t bits = (uint32_t)dw__gguf_load(array->elements + index * 4, 4);
    int32_t value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

dw_status dw_gguf_strings(const dw_gguf *gguf, const char *name, dw_gguf_string **out,
                          size_t *count, dw_error *err)
{
    *out = NULL;
    dw_gguf_array array = {0};
    dw_status status = dw_gguf_array_of(gguf, name, DW_GGUF_STRING, &array, err);
    if (status != DW_OK) {
        return status;
    }
    dw_gguf_string *strings = dw_alloc(array.count, sizeof *strings);
    if (strings == NULL) {
        return dw_fail(err, DW_E_MEMORY, "key '%s': no memory for %zu strings", name, array.count);
    }
    const unsigned char *at = array.elements;
    for (size_t i = 0; i < array.count; i++) {
        strings[i] = load_string(at);
        at += 8 + strings[i].bytes;
    }
    *out = strings;
    *count = array.count;
    return DW_OK;
}

dw_status dw_gguf_text_at(const dw_gguf *gguf, const char *name, size_t index,
                          dw_gguf_string *value, size_t *count, dw_error *err)
{
    dw_gguf_array array = {0};
    dw_status status = dw_gguf_array_of(gguf, name, DW_GGUF_STRING, &array, err);
    if (status != DW_OK) {
        return status;
    }
    *count = array.count;
    if (value == NULL) {
        return DW_OK;
    }
    if (index >= array.count) {
        return dw_fail(err, DW_E_RANGE, "key '%s': string %zu of %zu", name, index, array.count);
    }
    const unsigned char *at = array.elements;
    for (size_t i = 0; i < index; i++) {
        at += 8 + load_string(at).bytes;
    }
    *value = load_string(at);
    return DW_OK;
}
