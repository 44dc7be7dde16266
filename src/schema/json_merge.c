/* Two schemas that must both hold, as one: for allOf, and for keywords beside $ref, anyOf and
 * oneOf. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "schema/json_grammar_internal.h"

static const char *const type_names[] = {"null",   "boolean", "integer", "number",
                                         "string", "array",   "object"};
#define TYPE_COUNT (sizeof type_names / sizeof type_names[0])

static uint32_t type_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < TYPE_COUNT; i++) {
        if (strcmp(name, type_names[i]) == 0) {
            return i == 3 ? DW__TYPE_NUMBER | DW__TYPE_INTEGER : (uint32_t)1 << i;
        }
    }
    return 0;
}

dw_status dw__schema_types(json_t *type, uint32_t *types, const char *path, dw_error *err)
{
    size_t count = json_is_array(type) ? json_array_size(type) : 1;
    *types = type == NULL ? DW__TYPE_ALL : 0;
    for (size_t i = 0; type != NULL && i < count; i++) {
        json_t *one = json_is_array(type) ? json_array_get(type, i) : type;
        uint32_t bits = type_of(json_string_value(one));
        if (bits == 0) {
            return dw_fail(err, DW_E_FORMAT, "%s: type: '%.40s' is none", path,
                           json_is_string(one) ? json_string_value(one) : "(not a string)");
        }
        *types |= bits;
    }
    return DW_OK;
}

bool dw__value_has_type(const json_t *value, uint32_t types)
{
    uint32_t type = 0;
    switch (json_typeof(value)) {
    case JSON_NULL:
        type = DW__TYPE_NULL;
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        type = DW__TYPE_BOOLEAN;
        break;
    case JSON_INTEGER:
        type = DW__TYPE_INTEGER;
        break;
    case JSON_REAL: {
        double real = json_real_value(value);
        type = DW__TYPE_NUMBER | (real == floor(real) ? DW__TYPE_INTEGER : 0U);
        break;
    }
    case JSON_STRING:
        type = DW__TYPE_STRING;
        break;
    case JSON_ARRAY:
        type = DW__TYPE_ARRAY;
        break;
    case JSON_OBJECT:
        type = DW__TYPE_OBJECT;
        break;
    }
    return (types & type) != 0;
}

static json_t *refused(dw_error *err, const char *path, const char *key)
{
    (void)dw_fail(err, DW_E_UNSUPPORTED,
                  "%s: '%s' in two schemas that must both hold: not "
                  "supported",
                  path, key);
    return NULL;
}

static json_t *no_memory(dw_error *err)
{
    (void)dw_fail(err, DW_E_MEMORY, "no memory for a schema");
    return NULL;
}

static json_t *both_of(json_t *a, json_t *b)
{
    return json_pack("{s:[O,O]}", "allOf", a, b);
}

static json_t *common_types(json_t *a, json_t *b, const char *path, dw_error *err)
{
    uint32_t x;
    uint32_t y;
    if (dw__schema_types(a, &x, path, err) != DW_OK ||
        dw__schema_types(b, &y, path, err) != DW_OK) {
        return NULL;
    }
    json_t *list = json_array();
    for (uint32_t i = 0; i < TYPE_COUNT; i++) {
        bool named = (x & y & (uint32_t)1 << i) != 0;
        bool covered = i == 2 && (x & y & DW__TYPE_NUMBER) != 0; /* integers, by number */
        if (named && !covered) {
            (void)json_array_append_new(list, json_string(type_names[i]));
        }
    }
    return list;
}

/* The schemas of the properties that only one names hold as they are, the others both. */
static json_t *joined_properties(json_t *a, json_t *b, const char *path, dw_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(a) || !json_is_object(b)) {
        (void)dw_fail(err, DW_E_FORMAT, "%s: properties: an object is needed", path);
        return NULL;
    }
    json_t *out = json_copy(a);
    json_object_foreach(b, key, value)
    {
        json_t *other = json_object_get(a, key);
        (void)json_object_set_new(out, key,
                                  other != NULL ? both_of(other, value) : json_incref(value));
    }
    return out;
}

static json_t *joined_list(json_t *a, json_t *b)
{
    json_t *out = json_copy(a);
    (void)json_array_extend(out, b);
    return out;
}

static json_t *common_values(json_t *a, json_t *b)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(a); i++) {
        for (size_t k = 0; k < json_array_size(b); k++) {
            if (json_equal(json_array_get(a, i), json_array_get(b, k))) {
                (void)json_array_append(out, json_array_get(a, i));
                break;
            }
        }
    }
    return out;
}

static bool listed(const char *const *list, const char *key)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, key) == 0) {
            return true;
        }
    }
    return false;
}

bool dw__schema_is_note(const char *key)
{
    static const char *const notes[] = {
        "title",      "description", "default",   "examples", "$comment",    "$schema", "$id",
        "deprecated", "readOnly",    "writeOnly", "$defs",    "definitions", NULL};
    return listed(notes, key);
}

/* The value that `key` has where both hold. A new reference. */
static json_t *merged_value(const char *key, json_t *a, json_t *b, const char *path, dw_error *err)
{
    static const char *const larger[] = {"minimum",  "exclusiveMinimum", "minLength",
                                         "minItems", "minProperties",    NULL};
    static const char *const smaller[] = {"maximum",  "exclusiveMaximum", "maxLength",
                                          "maxItems", "maxProperties",    NULL};
    static const char *const schemas[] = {"items", "additionalProperties", NULL};
    if (json_equal(a, b) || dw__schema_is_note(key)) {
        return json_incref(a);
    }
    if (strcmp(key, "type") == 0) {
        return common_types(a, b, path, err);
    }
    if (strcmp(key, "properties") == 0) {
        return joined_properties(a, b, path, err);
    }
    if ((listed(larger, key) || listed(smaller, key)) && json_is_number(a) && json_is_number(b)) {
        bool first = json_number_value(a) > json_number_value(b);
        return json_incref(first == listed(larger, key) ? a : b);
    }
    if ((strcmp(key, "required") == 0 || strcmp(key, "allOf") == 0) && json_is_array(a) &&
        json_is_array(b)) {
        return joined_list(b,
                           a); /* what is taken out of an allOf comes before what is left in it */
    }
    if (strcmp(key, "enum") == 0 && json_is_array(a) && json_is_array(b)) {
        return common_values(a, b);
    }
    if (listed(schemas, key) && !json_is_array(a) && !json_is_array(b)) {
        return both_of(a, b);
    }
    return refused(err, path, key);
}

/* additionalProperties speaks of the properties beside it alone: those of the other schema must
 * not slip past it. */
static bool hides_properties(json_t *a, json_t *b)
{
    json_t *additional = json_object_get(a, "additionalProperties");
    const char *key;
    json_t *value;
    if (additional == NULL || json_is_true(additional)) {
        return false;
    }
    json_object_foreach(json_object_get(b, "properties"), key, value)
    {
        if (json_object_get(json_object_get(a, "properties"), key) == NULL) {
            return true;
        }
    }
    return false;
}

json_t *dw__schema_merge(json_t *a, json_t *b, const char *path, dw_error *err)
{
    const char *key;
    json_t *value;
    if (json_is_boolean(a) || json_is_boolean(b)) {
        return json_incref(json_is_false(a) || json_is_true(b) ? a : b);
    }
    if (!json_is_object(a) || !json_is_object(b)) {
        (void)dw_fail(err, DW_E_FORMAT, "%s: a schema is an object, or true or false", path);
        return NULL;
    }
    if (hides_properties(a, b) || hides_properties(b, a)) {
        return refused(err, path, "additionalProperties");
    }
    json_t *out = json_copy(a);
    json_object_foreach(b, key, value)
    {
        json_t *other = json_object_get(a, key);
        json_t *both =
            other == NULL ? json_incref(value) : merged_value(key, other, value, path, err);
        if (both == NULL) {
            json_decref(out);
            return NULL;
        }
        if (json_object_set_new(out, key, both) != 0) {
            json_decref(out);
            return no_memory(err);
        }
    }
    return out;
}
