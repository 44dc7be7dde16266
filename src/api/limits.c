/* Limits from a manifest: one JSON object. */
#include <jansson.h>
#include <string.h>

#include "base/json_bounds.h"
#include "base/limits.h"
#include "base/public_struct.h"

#define MANIFEST_BYTES_MAX ((size_t)1 << 20)

/* A number counts in the limit's unit; a text is read as one that is typed. */
static dw_status take(dw_limits *limits, const char *name, const json_t *value, dw_error *err)
{
    if (json_is_string(value)) {
        if (strlen(json_string_value(value)) != json_string_length(value)) {
            return dw_fail(err, DW_E_FORMAT, "limit '%.60s': a NUL in its value", name);
        }
        return dw_limits_set(limits, name, json_string_value(value), err);
    }
    size_t index = dw_limit_find(name);
    if (index == dw_limit_count()) { /* rather than its type: it is the name that is wrong */
        return dw_fail(err, DW_E_NOT_FOUND, "limit '%.60s': there is none of this name", name);
    }
    if (!json_is_integer(value)) {
        static const char *const types[] = {
            [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",    [JSON_STRING] = "a text",
            [JSON_INTEGER] = "a number", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
            [JSON_FALSE] = "false",      [JSON_NULL] = "null"};
        return dw_fail(err, DW_E_FORMAT, "limit %.60s: %s, a whole number or a text is wanted",
                       name, types[json_typeof(value)]);
    }
    if (json_integer_value(value) < 0) {
        return dw_fail(err, DW_E_RANGE, "limit %.60s: %lld is negative", name,
                       (long long)json_integer_value(value));
    }
    uint64_t number = (uint64_t)json_integer_value(value);
    dw_status status = dw_limit_check(index, number, err);
    if (status == DW_OK) {
        dw_limits_put(limits, index, number);
    }
    return status;
}

static dw_status take_all(dw_limits *limits, const json_t *manifest, dw_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(manifest)) {
        return dw_fail(err, DW_E_FORMAT, "limits: a JSON object of names to values is wanted");
    }
    json_object_foreach((json_t *)(uintptr_t)manifest, name, value)
    {
        dw_status status = take(limits, name, value, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

dw_status dw_limits_read(dw_limits *limits, const char *json, size_t bytes, dw_error *err)
{
    dw_limits own;
    json_error_t why;
    dw_status status = dw_struct_check(limits, "dw_limits", err);
    if (status == DW_OK) {
        status = dw_struct_read(&own, sizeof own, limits, "dw_limits", err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (bytes > MANIFEST_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "limits: %zu bytes, limit %zu", bytes, MANIFEST_BYTES_MAX);
    }
    const char *nul = bytes > 0 ? memchr(json, '\0', bytes) : NULL;
    if (nul != NULL) {
        return dw_fail(err, DW_E_FORMAT, "limits: byte %td is NUL", nul - json);
    }
    static const dw_json_bounds bounds = {MANIFEST_BYTES_MAX, 10000, 2000, 24};
    status = dw_json_check("limits", json, bytes, &bounds, err);
    if (status != DW_OK) {
        return status;
    }
    json_t *manifest = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, &why);
    if (manifest == NULL) {
        return dw_fail(err, DW_E_FORMAT, "limits: line %d, column %d: %s", why.line, why.column,
                       why.text);
    }
    status = take_all(&own, manifest, err);
    json_decref(manifest);
    if (status == DW_OK) {
        dw_struct_write(limits, &own, sizeof own);
    }
    return status;
}
