/* Opposites of schemas, for not, if and oneOf. An opposite may allow less than all that its schema
 * does not; where nothing can be told, there is none. */
#include <stdio.h>
#include <string.h>

#include "schema/json_grammar_internal.h"

static dw_status no_memory(dw__schema_converter *c)
{
    return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
}

/* Add a schema to the list, or fail where there is no memory for it. */
static dw_status add(dw__schema_converter *c, json_t *list, json_t *schema)
{
    return json_array_append_new(list, schema) == 0 ? DW_OK : no_memory(c);
}

/* Keywords whose opposite is another one with the same value, of one type. */
static dw_status opposite_bounds(dw__schema_converter *c, json_t *schema, json_t *list)
{
    static const char *const pairs[][2] = {{"minimum", "exclusiveMaximum"},
                                           {"maximum", "exclusiveMinimum"},
                                           {"exclusiveMinimum", "maximum"},
                                           {"exclusiveMaximum", "minimum"}};
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && i < 4; i++) {
        json_t *value = json_object_get(schema, pairs[i][0]);
        if (json_is_number(value)) {
            status = add(c, list, json_pack("{s:s,s:O}", "type", "number", pairs[i][1], value));
        }
    }
    return status;
}

static dw_status opposite_counts(dw__schema_converter *c, json_t *schema, json_t *list)
{
    static const struct {
        const char *type;
        const char *least;
        const char *most;
    } kinds[] = {{"string", "minLength", "maxLength"},
                 {"array", "minItems", "maxItems"},
                 {"object", "minProperties", "maxProperties"}};
    for (size_t i = 0; i < 6; i++) {
        const char *key = i % 2 == 0 ? kinds[i / 2].least : kinds[i / 2].most;
        const char *other = i % 2 == 0 ? kinds[i / 2].most : kinds[i / 2].least;
        json_t *value = json_object_get(schema, key);
        char text[16];
        if (!json_is_number(value)) {
            continue;
        }
        dw__decimal count = dw__numbers_get(&c->numbers, value);
        int64_t number = (int64_t)dw__decimal_as_int(&count) + (i % 2 == 0 ? -1 : 1);
        if (!dw__decimal_is_whole(&count) || number < 0 || number > DW_GRAMMAR_REPETITIONS_MAX) {
            continue; /* from 0: nothing has fewer */
        }
        (void)snprintf(text, sizeof text, "%d", (int)number);
        json_t *limit = dw__numbers_make(&c->numbers, text);
        if (limit == NULL) {
            return no_memory(c);
        }
        dw_status status =
            add(c, list, json_pack("{s:s,s:o}", "type", kinds[i / 2].type, other, limit));
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

static dw_status opposite_type(dw__schema_converter *c, json_t *type, json_t *list)
{
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    uint32_t types;
    dw_status status = dw__schema_types(c, type, &types);
    if (status != DW_OK || type == NULL) {
        return status;
    }
    json_t *left = json_array();
    for (uint32_t i = 0; i < 7; i++) {
        /* A number that is no integer cannot be told in a type. */
        bool taken = (types & (uint32_t)1 << i) != 0 || (i == 3 && (types & DW__TYPE_INTEGER) != 0);
        if (!taken) {
            (void)json_array_append_new(left, json_string(names[i]));
        }
    }
    if (json_array_size(left) == 0) {
        json_decref(left);
        return DW_OK;
    }
    return add(c, list, json_pack("{s:o}", "type", left));
}

/* An object with one of the properties wrong, or one that is required missing. */
static dw_status opposite_object(dw__schema_converter *c, json_t *schema, json_t *list)
{
    const char *name;
    json_t *value;
    json_t *required = json_object_get(schema, "required");
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        if (name != NULL) {
            status =
                add(c, list, json_pack("{s:s,s:{s:b}}", "type", "object", "properties", name, 0));
        }
    }
    json_object_foreach(json_object_get(schema, "properties"), name, value)
    {
        json_t *opposite = NULL;
        status = status == DW_OK ? dw__schema_negate(c, value, &opposite) : status;
        if (opposite != NULL && !json_is_false(opposite)) {
            status = add(c, list,
                         json_pack("{s:s,s:[s],s:{s:O}}", "type", "object", "required", name,
                                   "properties", name, opposite));
        }
        json_decref(opposite);
    }
    return status;
}

static dw_status opposite_values(dw__schema_converter *c, json_t *schema, json_t *list)
{
    json_t *values = json_object_get(schema, "enum");
    json_t *pattern = json_object_get(schema, "pattern");
    json_t *items = json_object_get(schema, "items");
    json_t *unless = json_object_get(schema, DW__KEY_OTHER_VALUES);
    json_t *unlike = json_object_get(schema, DW__KEY_OTHER_PATTERNS);
    dw_status status = DW_OK;
    if (json_is_array(values)) {
        status = add(c, list, json_pack("{s:O}", DW__KEY_OTHER_VALUES, values));
    }
    if (status == DW_OK && json_is_array(unless)) {
        status = add(c, list, json_pack("{s:O}", "enum", unless));
    }
    if (status == DW_OK && json_is_string(pattern)) {
        status = add(c, list,
                     json_pack("{s:s,s:[O]}", "type", "string", DW__KEY_OTHER_PATTERNS, pattern));
    }
    for (size_t i = 0; status == DW_OK && i < json_array_size(unlike); i++) {
        status =
            add(c, list,
                json_pack("{s:s,s:O}", "type", "string", "pattern", json_array_get(unlike, i)));
    }
    if (status == DW_OK && (json_is_object(items) || json_is_boolean(items)) &&
        json_object_get(schema, "prefixItems") == NULL) {
        json_t *opposite = NULL;
        status = dw__schema_negate(c, items, &opposite);
        if (opposite != NULL && !json_is_false(opposite)) {
            status = add(c, list, json_pack("{s:s,s:O}", "type", "array", "contains", opposite));
        }
        json_decref(opposite);
    }
    return status;
}

/* The opposites of all schemas of a list, as one; *out NULL where one has none. */
static dw_status none_of(dw__schema_converter *c, json_t *list, json_t **out)
{
    json_t *all = json_array();
    *out = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *opposite = NULL;
        dw_status status = dw__schema_negate(c, json_array_get(list, i), &opposite);
        if (status != DW_OK || opposite == NULL) {
            json_decref(all);
            return status;
        }
        (void)json_array_append_new(all, opposite);
    }
    *out = json_pack("{s:o}", "allOf", all);
    return *out != NULL ? DW_OK : no_memory(c);
}

static dw_status opposite_choices(dw__schema_converter *c, json_t *schema, json_t *list)
{
    static const char *const keys[] = {"anyOf", "oneOf"};
    json_t *inner = json_object_get(schema, "not");
    for (size_t i = 0; i < 2; i++) {
        json_t *choices = json_object_get(schema, keys[i]);
        if (json_is_array(choices) && json_array_size(choices) > 0) {
            json_t *none;
            dw_status status = none_of(c, choices, &none);
            if (status == DW_OK && none != NULL) {
                status = add(c, list, none);
            }
            if (status != DW_OK) {
                return status;
            }
        }
    }
    return inner != NULL ? add(c, list, json_incref(inner)) : DW_OK;
}

/* An alternative for each keyword: one of them does not hold. */
static dw_status opposites(dw__schema_converter *c, json_t *flat, json_t *list)
{
    dw_status status = opposite_type(c, json_object_get(flat, "type"), list);
    if (status == DW_OK) {
        status = opposite_values(c, flat, list);
    }
    if (status == DW_OK) {
        status = opposite_bounds(c, flat, list);
    }
    if (status == DW_OK) {
        status = opposite_counts(c, flat, list);
    }
    if (status == DW_OK) {
        status = opposite_object(c, flat, list);
    }
    return status == DW_OK ? opposite_choices(c, flat, list) : status;
}

dw_status dw__schema_negate(dw__schema_converter *c, json_t *schema, json_t **out)
{
    json_t *flat = NULL;
    *out = NULL;
    dw_status status = dw__schema_enter_depth(c);
    if (status != DW_OK) {
        return status;
    }
    status = dw__schema_flat(c, schema, &flat);
    if (status == DW_OK && (json_is_boolean(flat) || json_object_size(flat) == 0)) {
        *out = json_boolean(json_is_false(flat));
    } else if (status == DW_OK) {
        json_t *list = json_array();
        status = opposites(c, flat, list);
        if (status == DW_OK && json_array_size(list) > 0) {
            *out = json_array_size(list) == 1 ? json_incref(json_array_get(list, 0))
                                              : json_pack("{s:O}", "anyOf", list);
        }
        json_decref(list);
    }
    json_decref(flat);
    c->depth--;
    return status;
}

/* ---- schemas that no value can match both of ------------------------------------------------ */

static bool numbers_apart(dw__schema_converter *c, json_t *low, json_t *high)
{
    static const char *const lows[] = {"minimum", "exclusiveMinimum"};
    static const char *const highs[] = {"maximum", "exclusiveMaximum"};
    for (size_t i = 0; i < 4; i++) {
        json_t *least = json_object_get(low, lows[i / 2]);
        json_t *most = json_object_get(high, highs[i % 2]);
        if (json_is_number(least) && json_is_number(most)) {
            dw__decimal a = dw__numbers_get(&c->numbers, least);
            dw__decimal b = dw__numbers_get(&c->numbers, most);
            int order = dw__decimal_compare(&a, &b);
            if (order > 0 || (order == 0 && i > 0)) {
                return true;
            }
        }
    }
    return false;
}

/* Whether none of the values that `a` lists is valid by `b`. */
static dw_status values_apart(dw__schema_converter *c, json_t *a, json_t *b, bool *apart)
{
    json_t *values = json_object_get(a, "enum");
    *apart = json_is_array(values);
    for (size_t i = 0; *apart && i < json_array_size(values); i++) {
        dw__verdict verdict;
        dw_status status = dw__schema_judge(c, b, json_array_get(values, i), &verdict);
        if (status != DW_OK) {
            return status;
        }
        *apart = verdict == DW__INVALID;
    }
    return DW_OK;
}

/* A property that `a` requires and `b` forbids, or that both require with schemas that are
 * apart. */
static dw_status properties_apart(dw__schema_converter *c, json_t *a, json_t *b, bool *apart)
{
    json_t *required = json_object_get(a, "required");
    dw_status status = DW_OK;
    *apart = false;
    for (size_t i = 0; status == DW_OK && !*apart && i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        json_t *one = name != NULL ? json_object_get(json_object_get(a, "properties"), name) : NULL;
        json_t *two = name != NULL ? json_object_get(json_object_get(b, "properties"), name) : NULL;
        if (name == NULL) {
            continue;
        }
        if (two == NULL && json_object_get(b, "patternProperties") == NULL) {
            *apart = json_is_false(json_object_get(b, "additionalProperties"));
        } else if (json_is_false(two)) {
            *apart = true;
        } else if (one != NULL && two != NULL) {
            status = dw__schema_apart(c, one, two, apart);
        }
    }
    return status;
}

static dw_status flat_apart(dw__schema_converter *c, json_t *a, json_t *b, bool *apart)
{
    uint32_t x;
    uint32_t y;
    dw_status status = dw__schema_types(c, json_object_get(a, "type"), &x);
    if (status == DW_OK) {
        status = dw__schema_types(c, json_object_get(b, "type"), &y);
    }
    *apart = status == DW_OK && (x & y) == 0;
    if (status == DW_OK && !*apart) {
        status = values_apart(c, a, b, apart);
    }
    if (status == DW_OK && !*apart) {
        status = values_apart(c, b, a, apart);
    }
    if (status != DW_OK || *apart) {
        return status;
    }
    x &= y;
    if ((x & ~(uint32_t)(DW__TYPE_NUMBER | DW__TYPE_INTEGER)) == 0) {
        *apart = numbers_apart(c, a, b) || numbers_apart(c, b, a);
    } else if (x == DW__TYPE_OBJECT) {
        status = properties_apart(c, a, b, apart);
        if (status == DW_OK && !*apart) {
            status = properties_apart(c, b, a, apart);
        }
    }
    return status;
}

dw_status dw__schema_apart(dw__schema_converter *c, json_t *a, json_t *b, bool *apart)
{
    json_t *x = NULL;
    json_t *y = NULL;
    *apart = false;
    dw_status status = dw__schema_enter_depth(c);
    if (status != DW_OK) {
        return status;
    }
    status = dw__schema_flat(c, a, &x);
    if (status == DW_OK) {
        status = dw__schema_flat(c, b, &y);
    }
    if (status == DW_OK && json_is_object(x) && json_is_object(y)) {
        status = flat_apart(c, x, y, apart);
    } else if (status == DW_OK) {
        *apart = json_is_false(x) || json_is_false(y);
    }
    json_decref(x);
    json_decref(y);
    c->depth--;
    return status;
}
