#include "snapshot/json_read.h"

#include <string.h>

static dw_status wrong(const char *where, const char *key, const char *wanted, const json_t *found,
                       dw_error *err)
{
    return dw_fail(err, DW_E_FORMAT, "%s: '%s' %s, %s is needed", where, key,
                   found == NULL ? "is missing" : "is of another type", wanted);
}

dw_status dw__json_whole(const json_t *object, const char *where, const char *key, uint64_t max,
                         uint64_t *value, dw_error *err)
{
    const json_t *found = json_object_get(object, key);
    *value = 0;
    if (!json_is_integer(found)) {
        return wrong(where, key, "a whole number", found, err);
    }
    json_int_t number = json_integer_value(found);
    if (number < 0 || (uint64_t)number > max) {
        return dw_fail(err, DW_E_LIMIT, "%s: '%s' is %lld, from 0 to %llu is allowed", where, key,
                       (long long)number, (unsigned long long)max);
    }
    *value = (uint64_t)number;
    return DW_OK;
}

dw_status dw__json_text(const json_t *object, const char *where, const char *key,
                        const char **value, dw_error *err)
{
    const json_t *found = json_object_get(object, key);
    *value = "";
    if (!json_is_string(found) || strlen(json_string_value(found)) != json_string_length(found)) {
        return wrong(where, key, "a text", found, err);
    }
    *value = json_string_value(found);
    return DW_OK;
}

dw_status dw__json_array(const json_t *object, const char *where, const char *key, size_t max,
                         const json_t **value, dw_error *err)
{
    const json_t *found = json_object_get(object, key);
    *value = found;
    if (!json_is_array(found)) {
        return wrong(where, key, "a list", found, err);
    }
    if (json_array_size(found) > max) {
        return dw_fail(err, DW_E_LIMIT, "%s: '%s' has %zu items, limit %zu", where, key,
                       json_array_size(found), max);
    }
    return DW_OK;
}

dw_status dw__json_object(const json_t *object, const char *where, const char *key,
                          const json_t **value, dw_error *err)
{
    *value = json_object_get(object, key);
    return json_is_object(*value) ? DW_OK : wrong(where, key, "an object", *value, err);
}

dw_status dw__json_choice(const json_t *object, const char *where, const char *key,
                          const dw__choices *choices, size_t *value, dw_error *err)
{
    const char *text;
    dw_status status = dw__json_text(object, where, key, &text, err);
    for (size_t i = 0; status == DW_OK && i < choices->count; i++) {
        if (choices->names[i] != NULL && strcmp(choices->names[i], text) == 0) {
            *value = i;
            return DW_OK;
        }
    }
    return status != DW_OK ? status
                           : dw_fail(err, DW_E_FORMAT,
                                     "%s: '%s' is '%.40s', which is none that "
                                     "is known",
                                     where, key, text);
}
