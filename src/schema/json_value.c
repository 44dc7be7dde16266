/* The values that a schema allows by its type: constants, strings, numbers, arrays. Objects are in
 * json_object.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_grammar_internal.h"

/* ---- counts ------------------------------------------------------------------------------- */

/* A whole number from 0 under `key`, or `fallback`. Such as a JSON writer may make it: 2.0 is 2. */
static dw_status count_of(dw__schema_converter *c, json_t *schema, const char *key, int fallback,
                          int *out)
{
    json_t *value = json_object_get(schema, key);
    double number = json_number_value(value);
    *out = fallback;
    if (value == NULL) {
        return DW_OK;
    }
    if (!json_is_number(value) || number < 0.0 || number != floor(number)) {
        return dw__schema_wrong(c, key, "a whole number from 0 is needed");
    }
    *out = number > INT32_MAX ? INT32_MAX : (int)number;
    return DW_OK;
}

/* Least and most; more than a grammar can count is cut at the top, and refused at the bottom. */
static dw_status counts_of(dw__schema_converter *c, json_t *schema, const char *const *keys,
                           int *least, int *most)
{
    dw_status status = count_of(c, schema, keys[0], 0, least);
    if (status != DW_OK) {
        return status;
    }
    status = count_of(c, schema, keys[1], INT32_MAX, most);
    if (status != DW_OK) {
        return status;
    }
    if (*least > DW_GRAMMAR_REPETITIONS_MAX) {
        return dw__schema_refuse(c, keys[0], "above 10000 is not supported");
    }
    if (*most != INT32_MAX && *most > DW_GRAMMAR_REPETITIONS_MAX) {
        *most = DW_GRAMMAR_REPETITIONS_MAX;
    }
    return DW_OK;
}

/* {least,most} behind an item, less `taken` of both. */
static void repeat(dw__gbnf *to, int least, int most, int taken)
{
    least = least > taken ? least - taken : 0;
    if (most == INT32_MAX) {
        dw__gbnf_add(to, "{%d,}", least);
    } else {
        dw__gbnf_add(to, "{%d,%d}", least, most - taken);
    }
}

/* ---- values ------------------------------------------------------------------------------- */

/* 15 digits where they say the same number: 0.1 rather than 0.10000000000000001. */
static char *json_text(const json_t *value)
{
    char *json = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_t *back = json != NULL ? json_loads(json, JSON_DECODE_ANY, NULL) : NULL;
    bool same = back != NULL && json_equal(back, value);
    json_decref(back);
    if (json != NULL && !same) {
        free(json);
        json = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    }
    return json;
}

dw_status dw__schema_literal(dw__schema_converter *c, const json_t *value, dw__gbnf *to)
{
    char *json = json_text(value);
    if (json == NULL) {
        return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema's value");
    }
    dw__gbnf_literal(to, json);
    free(json);
    return DW_OK;
}

dw_status dw__schema_values(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    static const char *const apart[] = {"properties",  "items",
                                        "minLength",   "maxLength",
                                        "pattern",     "minimum",
                                        "maximum",     "minItems",
                                        "maxItems",    "required",
                                        "format",      "exclusiveMinimum",
                                        "prefixItems", "exclusiveMaximum",
                                        NULL};
    json_t *list = json_object_get(schema, "enum");
    json_t *one = json_object_get(schema, "const");
    uint32_t types;
    bool any = false;
    for (size_t i = 0; apart[i] != NULL; i++) {
        if (json_object_get(schema, apart[i]) != NULL) {
            return dw__schema_refuse(c, apart[i], "beside enum or const is not supported");
        }
    }
    dw_status status = dw__schema_types(json_object_get(schema, "type"), &types, c->path, c->err);
    if (status != DW_OK) {
        return status;
    }
    if (list != NULL && !json_is_array(list)) {
        return dw__schema_wrong(c, "enum", "a list is needed");
    }
    size_t count = list != NULL ? json_array_size(list) : 1;
    for (size_t i = 0; i < count; i++) {
        json_t *value = list != NULL ? json_array_get(list, i) : one;
        if (!dw__value_has_type(value, types) || (one != NULL && !json_equal(value, one))) {
            continue;
        }
        dw__gbnf_add(to, "%s", any ? " |" : "");
        status = dw__schema_literal(c, value, to);
        if (status != DW_OK) {
            return status;
        }
        any = true;
    }
    dw__gbnf_add(to, "%s", any ? "" : " []");
    return DW_OK;
}

dw_status dw__schema_string(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    static const struct {
        const char *name;
        const char *grammar;
    } formats[] = {
        {"date", "date"},
        {"time", "time"},
        {"date-time", "date \"T\" time"},
        {"uuid", "hex{8} \"-\" hex{4} \"-\" hex{4} \"-\" hex{4} \"-\" hex{12}"},
        {"ipv4", "byte \".\" byte \".\" byte \".\" byte"},
        {"email", "[a-z0-9]{1,30} ([._] [a-z0-9]{1,30}){0,3} \"@\" ([a-z0-9]{1,30} \".\"){1,3} "
                  "[a-z]{2,10}"},
    };
    static const char *const keys[] = {"minLength", "maxLength"};
    json_t *pattern = json_object_get(schema, "pattern");
    json_t *format = json_object_get(schema, "format");
    int least;
    int most;
    dw_status status = counts_of(c, schema, keys, &least, &most);
    if (status != DW_OK) {
        return status;
    }
    bool bounded = least > 0 || most < INT32_MAX;
    if ((pattern != NULL) + (format != NULL) + bounded > 1) {
        return dw__schema_refuse(c, pattern != NULL ? "pattern" : "format",
                                 "beside other bounds of the string is not supported");
    }
    dw__gbnf_add(to, " \"\\\"\"");
    if (pattern != NULL) {
        if (!json_is_string(pattern)) {
            return dw__schema_wrong(c, "pattern", "a string is needed");
        }
        status = dw__pattern_grammar(to, json_string_value(pattern), c->err);
        if (status != DW_OK) {
            return dw_fail_within(c->err, status, "schema: %s", c->path);
        }
    } else if (format != NULL) {
        size_t i = 0;
        size_t count = sizeof formats / sizeof formats[0];
        const char *name = json_is_string(format) ? json_string_value(format) : "";
        while (i < count && strcmp(name, formats[i].name) != 0) {
            i++;
        }
        if (i == count) {
            return dw__schema_refuse(
                c, "format",
                "other than date, time, date-time, uuid, ipv4, email is not supported");
        }
        dw__gbnf_add(to, " %s", formats[i].grammar);
    } else if (most < least) {
        dw__gbnf_add(to, " []");
    } else {
        dw__gbnf_add(to, " char");
        repeat(to, least, most, 0);
    }
    dw__gbnf_add(to, " \"\\\"\"");
    return DW_OK;
}

static dw_status bound(dw__schema_converter *c, json_t *schema, const char *key, double *value,
                       bool *given)
{
    json_t *number = json_object_get(schema, key);
    *given = number != NULL;
    if (number == NULL) {
        return DW_OK;
    }
    if (json_is_boolean(number)) {
        return dw__schema_refuse(c, key, "as true or false (draft 4) is not supported");
    }
    if (!json_is_number(number)) {
        return dw__schema_wrong(c, key, "a number is needed");
    }
    *value = json_number_value(number);
    return DW_OK;
}

dw_status dw__schema_number(dw__schema_converter *c, json_t *schema, bool whole, dw__gbnf *to)
{
    static const char *const keys[] = {"minimum", "exclusiveMinimum", "maximum",
                                       "exclusiveMaximum"};
    dw__bounds bounds = {.min = -INFINITY, .max = INFINITY, .whole = whole};
    bool bounded = false;
    for (size_t i = 0; i < 4; i++) {
        double value = 0.0;
        bool given;
        dw_status status = bound(c, schema, keys[i], &value, &given);
        if (status != DW_OK) {
            return status;
        }
        bounded = bounded || given;
        if (given && i < 2 && value >= bounds.min) {
            bounds.min_excluded = i == 1 || (value == bounds.min && bounds.min_excluded);
            bounds.min = value;
        } else if (given && i >= 2 && value <= bounds.max) {
            bounds.max_excluded = i == 3 || (value == bounds.max && bounds.max_excluded);
            bounds.max = value;
        }
    }
    if (!bounded) {
        dw__gbnf_add(to, whole ? " integer" : " number");
        return DW_OK;
    }
    dw_status status = dw__number_grammar(to, &bounds, c->err);
    return status == DW_OK ? DW_OK : dw_fail_within(c->err, status, "schema: %s", c->path);
}

/* ---- arrays ------------------------------------------------------------------------------- */

/* The first items one by one, by prefixItems or draft 7's list under items. */
static dw_status leading_items(dw__schema_converter *c, json_t *list, int count, dw__gbnf *to)
{
    for (int i = 0; i < count; i++) {
        char step[16];
        uint32_t rule;
        (void)snprintf(step, sizeof step, "%d", i);
        dw_status status = dw__schema_convert_at(c, step, json_array_get(list, (size_t)i), &rule);
        if (status != DW_OK) {
            return status;
        }
        dw__gbnf_add(to, "%s s%u", i > 0 ? " \",\" ws" : "", rule);
    }
    return DW_OK;
}

/* All items of the list are always given, further ones only where a schema is given for them or
 * minItems asks for them. */
dw_status dw__schema_array(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    static const char *const keys[] = {"minItems", "maxItems"};
    json_t *items = json_object_get(schema, "items");
    json_t *list = json_object_get(schema, "prefixItems");
    int least;
    int most;
    uint32_t rule = 0;
    dw_status status = counts_of(c, schema, keys, &least, &most);
    if (status != DW_OK) {
        return status;
    }
    if (list == NULL && json_is_array(items)) {
        list = items;
        items = json_object_get(schema, "additionalItems");
    }
    if (list != NULL && !json_is_array(list)) {
        return dw__schema_wrong(c, "prefixItems", "a list is needed");
    }
    int leading = json_array_size(list) > DW_GRAMMAR_REPETITIONS_MAX ? DW_GRAMMAR_REPETITIONS_MAX
                                                                     : (int)json_array_size(list);
    leading = leading < most ? leading : most;
    if (json_is_object(items) || json_is_false(items)) {
        status = dw__schema_convert_at(c, "items", items, &rule);
        if (status != DW_OK) {
            return status;
        }
    } else if (items != NULL && !json_is_true(items)) {
        return dw__schema_wrong(c, "items", "a schema is needed");
    }
    if (leading > 0 && items == NULL) {
        most = least > leading ? least : leading;
    }
    if (most < least) {
        dw__gbnf_add(to, " []");
        return DW_OK;
    }
    dw__gbnf_add(to, " \"[\" ws");
    status = leading_items(c, list, leading, to);
    if (status != DW_OK) {
        return status;
    }
    char item[24] = "value";
    if (rule != 0) {
        (void)snprintf(item, sizeof item, "s%u", rule);
    }
    if (leading > 0 && most > leading) {
        dw__gbnf_add(to, " (\",\" ws %s)", item);
        repeat(to, least, most, leading);
    } else if (leading == 0 && most > 0) {
        dw__gbnf_add(to, " (%s (\",\" ws %s)", item, item);
        repeat(to, least, most, 1);
        dw__gbnf_add(to, ")%s", least == 0 ? "?" : "");
    }
    dw__gbnf_add(to, " ws \"]\"");
    return DW_OK;
}
