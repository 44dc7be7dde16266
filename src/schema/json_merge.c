/* Two schemas that must both hold, as one: for allOf, and for keywords beside $ref, anyOf and
 * oneOf. What cannot be told in one keyword is kept in those of DW__KEY_*. */
#include <stdio.h>
#include <string.h>

#include "schema/json_grammar_internal.h"

static dw_status no_memory(dw__schema_converter *c)
{
    return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
}

static dw_status two_of(dw__schema_converter *c, const char *key)
{
    return dw__schema_refuse(c, key, "in two schemas that must both hold: not supported");
}

static json_t *both_of(json_t *a, json_t *b)
{
    if (a == NULL || b == NULL) {
        return json_incref(a != NULL ? a : b);
    }
    return json_is_true(a) || json_is_false(b) ? json_incref(b)
           : json_is_true(b) || json_is_false(a) || json_equal(a, b)
               ? json_incref(a)
               : json_pack("{s:[O,O]}", "allOf", a, b);
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
    static const char *const keywords[] = {"$ref",
                                           "$dynamicRef",
                                           "$recursiveRef",
                                           "allOf",
                                           "anyOf",
                                           "oneOf",
                                           "not",
                                           "if",
                                           "then",
                                           "else",
                                           "type",
                                           "enum",
                                           "const",
                                           "properties",
                                           "patternProperties",
                                           "additionalProperties",
                                           "propertyNames",
                                           "required",
                                           "minProperties",
                                           "maxProperties",
                                           "items",
                                           "prefixItems",
                                           "additionalItems",
                                           "contains",
                                           "minContains",
                                           "maxContains",
                                           "minItems",
                                           "maxItems",
                                           "uniqueItems",
                                           "minLength",
                                           "maxLength",
                                           "pattern",
                                           "format",
                                           "contentEncoding",
                                           "contentMediaType",
                                           "contentSchema",
                                           "minimum",
                                           "maximum",
                                           "exclusiveMinimum",
                                           "exclusiveMaximum",
                                           "multipleOf",
                                           "dependencies",
                                           "dependentRequired",
                                           "dependentSchemas",
                                           "unevaluatedProperties",
                                           "unevaluatedItems",
                                           DW__KEY_PATTERNS,
                                           DW__KEY_FORMATS,
                                           DW__KEY_OTHER_PATTERNS,
                                           DW__KEY_OTHER_VALUES,
                                           DW__KEY_MORE,
                                           DW__KEY_FOLDED,
                                           NULL};
    return !listed(keywords, key);
}

json_t *dw__schema_without_notes(json_t *schema)
{
    json_t *out = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(schema, key, value)
    {
        if (!dw__schema_is_note(key)) {
            (void)json_object_set(out, key, value);
        }
    }
    return out;
}

/* ---- one form for what may be written in several ------------------------------------------- */

/* Draft 4: exclusiveMinimum says of minimum whether it is excluded. */
static dw_status normal_bound(dw__schema_converter *c, json_t *schema, const char *key,
                              const char *exclusive)
{
    json_t *flag = json_object_get(schema, exclusive);
    json_t *bound = json_object_get(schema, key);
    if (!json_is_boolean(flag)) {
        return DW_OK;
    }
    bool excluded = json_is_true(flag);
    (void)json_object_del(schema, exclusive);
    if (excluded && bound != NULL) {
        if (json_object_set(schema, exclusive, bound) != 0) {
            return no_memory(c);
        }
        (void)json_object_del(schema, key);
    }
    return DW_OK;
}

/* Draft 7's list of items is prefixItems, its additionalItems the items behind them. */
static dw_status normal_items(dw__schema_converter *c, json_t *schema)
{
    json_t *list = json_object_get(schema, "items");
    json_t *more = json_object_get(schema, "additionalItems");
    if (!json_is_array(list) || json_object_get(schema, "prefixItems") != NULL) {
        (void)json_object_del(schema, "additionalItems"); /* says nothing without a list */
        return DW_OK;
    }
    if (json_object_set(schema, "prefixItems", list) != 0) {
        return no_memory(c);
    }
    (void)json_object_del(schema, "items");
    if (more != NULL && json_object_set(schema, "items", more) != 0) {
        return no_memory(c);
    }
    (void)json_object_del(schema, "additionalItems");
    return DW_OK;
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

static dw_status normal_const(dw__schema_converter *c, json_t *schema)
{
    json_t *one = json_object_get(schema, "const");
    json_t *list = json_object_get(schema, "enum");
    if (list != NULL && !json_is_array(list)) {
        return dw__schema_wrong(c, "enum", "a list is needed");
    }
    if (one == NULL) {
        return DW_OK;
    }
    json_t *values = json_pack("[O]", one);
    json_t *both = list != NULL ? common_values(list, values) : json_incref(values);
    json_decref(values);
    if (json_object_set_new(schema, "enum", both) != 0) {
        return no_memory(c);
    }
    (void)json_object_del(schema, "const");
    return DW_OK;
}

dw_status dw__schema_normal(dw__schema_converter *c, json_t *schema)
{
    static const char *const branches[] = {"then", "else"};
    dw_status status = normal_bound(c, schema, "minimum", "exclusiveMinimum");
    if (status == DW_OK) {
        status = normal_bound(c, schema, "maximum", "exclusiveMaximum");
    }
    if (status == DW_OK) {
        status = normal_items(c, schema);
    }
    for (size_t i = 0; i < 2 && json_object_get(schema, "if") == NULL; i++) {
        (void)json_object_del(schema, branches[i]);
    }
    return status == DW_OK ? normal_const(c, schema) : status;
}

/* ---- keyword by keyword -------------------------------------------------------------------- */

static dw_status common_types(dw__schema_converter *c, json_t *a, json_t *b, json_t **out)
{
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    uint32_t x;
    uint32_t y;
    dw_status status = dw__schema_types(c, a, &x);
    if (status == DW_OK) {
        status = dw__schema_types(c, b, &y);
    }
    if (status != DW_OK) {
        return status;
    }
    *out = json_array();
    for (uint32_t i = 0; i < 7; i++) {
        bool named = (x & y & (uint32_t)1 << i) != 0;
        bool covered = i == 2 && (x & y & DW__TYPE_NUMBER) != 0; /* integers, by number */
        if (named && !covered) {
            (void)json_array_append_new(*out, json_string(names[i]));
        }
    }
    return DW_OK;
}

static json_t *joined_list(json_t *a, json_t *b)
{
    json_t *out = json_copy(a);
    for (size_t i = 0; i < json_array_size(b); i++) {
        bool there = false;
        for (size_t k = 0; !there && k < json_array_size(a); k++) {
            there = json_equal(json_array_get(a, k), json_array_get(b, i));
        }
        if (!there) {
            (void)json_array_append(out, json_array_get(b, i));
        }
    }
    return out;
}

/* The stricter of two bounds. */
static json_t *stricter(dw__schema_converter *c, json_t *a, json_t *b, bool larger)
{
    dw__decimal x = dw__numbers_get(&c->numbers, a);
    dw__decimal y = dw__numbers_get(&c->numbers, b);
    return json_incref((dw__decimal_compare(&x, &y) > 0) == larger ? a : b);
}

/* What both multiples divide: for whole ones of up to 9 digits. */
static dw_status common_multiple(dw__schema_converter *c, json_t *a, json_t *b, json_t **out)
{
    char text[24];
    dw__decimal x = dw__numbers_get(&c->numbers, a);
    dw__decimal y = dw__numbers_get(&c->numbers, b);
    if (!dw__decimal_is_whole(&x) || !dw__decimal_is_whole(&y) || x.point > 9 || y.point > 9 ||
        x.count == 0 || y.count == 0) {
        return two_of(c, "multipleOf");
    }
    int64_t p = dw__decimal_as_int(&x);
    int64_t q = dw__decimal_as_int(&y);
    int64_t product = p * q;
    while (q != 0) {
        int64_t rest = p % q;
        p = q;
        q = rest;
    }
    (void)snprintf(text, sizeof text, "%lld", (long long)(product / p));
    *out = dw__numbers_make(&c->numbers, text);
    return *out != NULL ? DW_OK : no_memory(c);
}

/* The value that `key` has where both hold: a new reference, or NULL where it is left to
 * keep_aside. */
static dw_status merged_value(dw__schema_converter *c, const char *key, json_t *a, json_t *b,
                              json_t **out)
{
    static const char *const larger[] = {"minimum",  "exclusiveMinimum", "minLength",
                                         "minItems", "minProperties",    NULL};
    static const char *const smaller[] = {"maximum",  "exclusiveMaximum", "maxLength",
                                          "maxItems", "maxProperties",    NULL};
    static const char *const lists[] = {"required",
                                        DW__KEY_PATTERNS,
                                        DW__KEY_FORMATS,
                                        DW__KEY_OTHER_VALUES,
                                        DW__KEY_MORE,
                                        DW__KEY_OTHER_PATTERNS,
                                        NULL};
    static const char *const aside[] = {"anyOf",       "oneOf",
                                        "not",         "if",
                                        "contains",    "dependentRequired",
                                        "pattern",     "dependentSchemas",
                                        "format",      "dependencies",
                                        "$dynamicRef", "$recursiveRef",
                                        NULL};
    dw_status status = DW_OK;
    if (strcmp(key, "type") == 0) {
        return common_types(c, a, b, out);
    }
    if ((listed(larger, key) || listed(smaller, key)) && json_is_number(a) && json_is_number(b)) {
        *out = stricter(c, a, b, listed(larger, key));
    } else if (strcmp(key, "multipleOf") == 0 && json_is_number(a) && json_is_number(b)) {
        return common_multiple(c, a, b, out);
    } else if (listed(lists, key) && json_is_array(a) && json_is_array(b)) {
        status = dw__schema_compare(c, (uint64_t)json_array_size(a) * json_array_size(b));
        *out = status == DW_OK ? joined_list(a, b) : NULL;
    } else if (strcmp(key, "enum") == 0) {
        status = dw__schema_compare(c, (uint64_t)json_array_size(a) * json_array_size(b));
        *out = status == DW_OK ? common_values(a, b) : NULL;
    } else if (strcmp(key, "uniqueItems") == 0) {
        *out = json_incref(json_is_true(a) ? a : b);
    } else if (strcmp(key, "propertyNames") == 0) {
        *out = both_of(a, b);
    } else if (listed(aside, key)) {
        *out = NULL;
    } else if (strncmp(key, "unevaluated", 11) == 0) {
        return two_of(c, key);
    } else {
        *out = json_incref(a); /* annotations; what is no list, number or schema is found later */
    }
    return status;
}

static dw_status append(dw__schema_converter *c, json_t *schema, const char *key, json_t *value)
{
    json_t *list = json_object_get(schema, key);
    json_t *own = list != NULL ? json_copy(list) : json_array();
    int bad = json_array_append_new(own, value);
    bad |= json_object_set_new(schema, key, own);
    return bad == 0 ? DW_OK : no_memory(c);
}

/* A keyword of `b` that `out` has too, where both are not one: patterns and formats in a list,
 * others as a schema that is merged in once that of `out` has been dealt with. */
static dw_status keep_aside(dw__schema_converter *c, json_t *out, const char *key, json_t *b)
{
    static const char *const companions[] = {"then", "else", "minContains", "maxContains"};
    json_t *value = json_object_get(b, key);
    if (strcmp(key, "pattern") == 0 || strcmp(key, "format") == 0) {
        return append(c, out, key[0] == 'p' ? DW__KEY_PATTERNS : DW__KEY_FORMATS,
                      json_incref(value));
    }
    json_t *schema = json_pack("{s:O}", key, value);
    size_t first = strcmp(key, "if") == 0 ? 0 : strcmp(key, "contains") == 0 ? 2 : 4;
    for (size_t i = first; i < 4 && i < first + 2; i++) {
        json_t *companion = json_object_get(b, companions[i]);
        if (companion != NULL) {
            (void)json_object_set(schema, companions[i], companion);
        }
    }
    return append(c, out, DW__KEY_MORE, schema);
}

/* ---- properties and items ------------------------------------------------------------------ */

/* What a schema says of a property that it does not name: the patterns that the name matches, else
 * additionalProperties. A new reference, or NULL: nothing. *any: whether a pattern matches. */
static dw_status unnamed_property(dw__schema_converter *c, json_t *schema, const char *name,
                                  json_t **out, bool *any)
{
    const char *pattern;
    json_t *value;
    *any = false;
    *out = NULL;
    json_object_foreach(json_object_get(schema, "patternProperties"), pattern, value)
    {
        bool matches = false;
        dw_status status = dw__pattern_matches(c, pattern, name, &matches);
        if (status != DW_OK) {
            json_decref(*out);
            *out = NULL;
            return status;
        }
        if (matches) {
            json_t *both = both_of(*out, value);
            json_decref(*out);
            *out = both;
            *any = true;
        }
    }
    if (!*any) {
        *out = json_incref(json_object_get(schema, "additionalProperties"));
    }
    return DW_OK;
}

dw_status dw__schema_of_property(dw__schema_converter *c, json_t *schema, const char *name,
                                 json_t **out)
{
    json_t *named = json_object_get(json_object_get(schema, "properties"), name);
    bool folded = json_object_get(schema, DW__KEY_FOLDED) != NULL ||
                  json_object_get(schema, "patternProperties") == NULL;
    if (named != NULL && folded) {
        *out = json_incref(named);
        return DW_OK;
    }
    json_t *unnamed;
    bool any;
    dw_status status = unnamed_property(c, schema, name, &unnamed, &any);
    if (status != DW_OK || named == NULL) {
        *out = unnamed;
        return status;
    }
    *out = any ? both_of(named, unnamed) : json_incref(named);
    json_decref(unnamed);
    return DW_OK;
}

/* What both schemas say of the properties that `a` names. */
static dw_status add_properties(dw__schema_converter *c, json_t *a, json_t *b, json_t *to)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(a, "properties"), name, value)
    {
        json_t *one = NULL;
        json_t *other = NULL;
        if (json_object_get(to, name) != NULL) {
            continue;
        }
        dw_status status = dw__schema_of_property(c, a, name, &one);
        if (status == DW_OK) {
            status = dw__schema_of_property(c, b, name, &other);
        }
        json_t *both = status == DW_OK ? both_of(one, other) : NULL;
        json_decref(one);
        json_decref(other);
        if (both == NULL || json_object_set_new(to, name, both) != 0) {
            return status == DW_OK ? no_memory(c) : status;
        }
    }
    return DW_OK;
}

/* Patterns of `a`: with the same one of `b`, or with its additionalProperties. */
static dw_status add_patterns(dw__schema_converter *c, json_t *a, json_t *b, json_t *to)
{
    const char *pattern;
    json_t *value;
    json_object_foreach(json_object_get(a, "patternProperties"), pattern, value)
    {
        json_t *other = json_object_get(json_object_get(b, "patternProperties"), pattern);
        other = other != NULL ? other : json_object_get(b, "additionalProperties");
        if (json_object_get(to, pattern) == NULL &&
            json_object_set_new(to, pattern, both_of(value, other)) != 0) {
            return no_memory(c);
        }
    }
    return DW_OK;
}

static dw_status set_or_release(dw__schema_converter *c, json_t *out, const char *key,
                                json_t *value)
{
    if (json_is_array(value) ? json_array_size(value) == 0 : json_object_size(value) == 0) {
        json_decref(value);
        return DW_OK;
    }
    return json_object_set_new(out, key, value) == 0 ? DW_OK : no_memory(c);
}

static dw_status merge_properties(dw__schema_converter *c, json_t *a, json_t *b, json_t *out)
{
    json_t *names = json_object();
    json_t *patterns = json_object();
    json_t *x = json_object_get(a, "additionalProperties");
    json_t *y = json_object_get(b, "additionalProperties");
    dw_status status = add_properties(c, a, b, names);
    if (status == DW_OK) {
        status = add_properties(c, b, a, names);
    }
    if (status == DW_OK) {
        status = add_patterns(c, a, b, patterns);
    }
    if (status == DW_OK) {
        status = add_patterns(c, b, a, patterns);
    }
    if (status != DW_OK) {
        json_decref(names);
        json_decref(patterns);
        return status;
    }
    if (json_object_size(patterns) > 0) {
        (void)json_object_set_new(out, DW__KEY_FOLDED, json_true());
    }
    status = set_or_release(c, out, "properties", names);
    dw_status second = set_or_release(c, out, "patternProperties", patterns);
    if ((x != NULL || y != NULL) &&
        json_object_set_new(out, "additionalProperties", both_of(x, y)) != 0) {
        return no_memory(c);
    }
    return status == DW_OK ? second : status;
}

/* Item by item of the longer prefixItems; the other schema's items hold for what it has none of. */
static dw_status merge_items(dw__schema_converter *c, json_t *a, json_t *b, json_t *out)
{
    json_t *x = json_object_get(a, "prefixItems");
    json_t *y = json_object_get(b, "prefixItems");
    json_t *x_more = json_object_get(a, "items");
    json_t *y_more = json_object_get(b, "items");
    size_t count =
        json_array_size(x) > json_array_size(y) ? json_array_size(x) : json_array_size(y);
    if ((x != NULL && !json_is_array(x)) || (y != NULL && !json_is_array(y))) {
        return dw__schema_wrong(c, "prefixItems", "a list is needed");
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = i < json_array_size(x) ? json_array_get(x, i) : x_more;
        json_t *other = i < json_array_size(y) ? json_array_get(y, i) : y_more;
        json_t *both = both_of(one, other);
        if (json_array_append_new(list, both != NULL ? both : json_true()) != 0) {
            json_decref(list);
            return no_memory(c);
        }
    }
    dw_status status = set_or_release(c, out, "prefixItems", list);
    if ((x_more != NULL || y_more != NULL) &&
        json_object_set_new(out, "items", both_of(x_more, y_more)) != 0) {
        return no_memory(c);
    }
    return status;
}

static bool is_grouped(const char *key)
{
    static const char *const groups[] = {"properties", "patternProperties", "additionalProperties",
                                         "items",      "prefixItems",       NULL};
    return listed(groups, key);
}

/* unevaluatedProperties and unevaluatedItems of an inner schema speak of what stands in it: where
 * that is all in one place, they are additionalProperties and items. */
static dw_status normal_unevaluated(dw__schema_converter *c, json_t *schema)
{
    static const char *const pairs[][2] = {{"unevaluatedProperties", "additionalProperties"},
                                           {"unevaluatedItems", "items"}};
    static const char *const elsewhere[] = {"$ref",     "allOf",        "anyOf",
                                            "oneOf",    "if",           "dependentSchemas",
                                            "contains", "dependencies", NULL};
    for (size_t i = 0; i < 2; i++) {
        json_t *value = json_object_get(schema, pairs[i][0]);
        if (value == NULL) {
            continue;
        }
        for (size_t k = 0; !json_is_true(value) && elsewhere[k] != NULL; k++) {
            if (json_object_get(schema, elsewhere[k]) != NULL) {
                return two_of(c, pairs[i][0]);
            }
        }
        if (json_object_get(schema, pairs[i][1]) == NULL &&
            json_object_set(schema, pairs[i][1], value) != 0) {
            return no_memory(c);
        }
        (void)json_object_del(schema, pairs[i][0]);
    }
    return DW_OK;
}

static bool has_leader(json_t *schema, const char *key)
{
    return strcmp(key, "then") == 0 || strcmp(key, "else") == 0
               ? json_object_get(schema, "if") != NULL
           : strcmp(key, "minContains") == 0 || strcmp(key, "maxContains") == 0
               ? json_object_get(schema, "contains") != NULL
               : false;
}

/* The value of one keyword of `b` in what is merged. */
static dw_status merge_keyword(dw__schema_converter *c, const char *key, json_t *a, json_t *b,
                               json_t *out)
{
    json_t *other = json_object_get(a, key);
    json_t *value = json_object_get(b, key);
    json_t *both = NULL;
    bool leads = strcmp(key, "if") == 0 || strcmp(key, "contains") == 0;
    if (is_grouped(key) || dw__schema_is_note(key) || has_leader(a, key)) {
        return DW_OK;
    }
    if (other == NULL || (!leads && json_equal(other, value))) {
        return json_object_set(out, key, value) == 0 ? DW_OK : no_memory(c);
    }
    dw_status status = merged_value(c, key, other, value, &both);
    if (status != DW_OK) {
        return status;
    }
    if (both == NULL) {
        return keep_aside(c, out, key, b);
    }
    return json_object_set_new(out, key, both) == 0 ? DW_OK : no_memory(c);
}

static dw_status merge_objects(dw__schema_converter *c, json_t *a, json_t *b, json_t *out)
{
    const char *key;
    json_t *value;
    json_object_foreach(b, key, value)
    {
        dw_status status = merge_keyword(c, key, a, b, out);
        if (status != DW_OK) {
            return status;
        }
    }
    dw_status status = merge_properties(c, a, b, out);
    return status == DW_OK ? merge_items(c, a, b, out) : status;
}

dw_status dw__schema_merge(dw__schema_converter *c, json_t *a, json_t *b, json_t **out)
{
    *out = NULL;
    if (json_is_boolean(a) || json_is_boolean(b)) {
        *out = json_incref(json_is_false(a) || json_is_true(b) ? a : b);
        return DW_OK;
    }
    if (!json_is_object(a) || !json_is_object(b)) {
        return dw_fail(c->err, DW_E_FORMAT, "schema: %s: a schema is an object, or true or false",
                       c->path);
    }
    json_t *left = dw__schema_without_notes(a);
    json_t *right = json_copy(b);
    dw_status status = dw__schema_normal(c, left);
    if (status == DW_OK) {
        status = dw__schema_normal(c, right);
    }
    if (status == DW_OK) {
        status = normal_unevaluated(c, right);
    }
    json_t *both = json_copy(left);
    if (status == DW_OK) {
        status = merge_objects(c, left, right, both);
    }
    json_decref(left);
    json_decref(right);
    if (status != DW_OK) {
        json_decref(both);
        return status;
    }
    *out = both;
    return DW_OK;
}
