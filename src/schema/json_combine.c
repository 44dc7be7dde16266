/* Schemas that are made of others: $ref, allOf, anyOf and oneOf. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "schema/json_grammar_internal.h"

static dw_status pointer_step(dw__schema_converter *c, json_t **at, const char *step, size_t bytes)
{
    char name[256];
    size_t count = 0;
    for (size_t i = 0; i < bytes && count + 1 < sizeof name; i++) {
        unsigned code;
        if (step[i] == '~' && i + 1 < bytes && (step[i + 1] == '0' || step[i + 1] == '1')) {
            name[count++] = step[++i] == '0' ? '~' : '/';
        } else if (step[i] == '%' && i + 2 < bytes && sscanf(step + i + 1, "%2x", &code) == 1) {
            name[count++] = (char)code;
            i += 2;
        } else {
            name[count++] = step[i];
        }
    }
    name[count] = '\0';
    if (json_is_array(*at)) {
        size_t digits = strspn(name, "0123456789");
        bool number = digits > 0 && digits < 8 && name[digits] == '\0';
        *at = number ? json_array_get(*at, (size_t)strtoul(name, NULL, 10)) : NULL;
    } else {
        *at = json_object_get(*at, name);
    }
    return *at != NULL ? DW_OK : dw__schema_wrong(c, "$ref", "it points at nothing");
}

/* A JSON pointer (RFC 6901) into this schema. */
static dw_status resolve(dw__schema_converter *c, json_t *reference, json_t **out)
{
    const char *text = json_string_value(reference);
    *out = c->root;
    if (text == NULL) {
        return dw__schema_wrong(c, "$ref", "a string is needed");
    }
    if (text[0] != '#' || (text[1] != '\0' && text[1] != '/')) {
        return dw__schema_refuse(c, "$ref", "that does not begin with #/ is not supported");
    }
    for (text++; *text == '/';) {
        size_t bytes = strcspn(++text, "/");
        dw_status status = pointer_step(c, out, text, bytes);
        if (status != DW_OK) {
            return status;
        }
        text += bytes;
    }
    return DW_OK;
}

static dw_status reference_rule(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    for (size_t i = 0; i < c->target_count; i++) {
        if (c->targets[i].schema == schema) {
            *rule = c->targets[i].rule;
            return DW_OK;
        }
    }
    if (!DW_ARRAY_RESERVE(c->targets, c->target_capacity, c->target_count + 1, SIZE_MAX)) {
        return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
    }
    /* Known before its body is: it may contain itself. */
    *rule = ++c->rule_count;
    c->targets[c->target_count++] = (dw__schema_target){schema, *rule};
    dw__gbnf body = {.bytes = NULL};
    uint32_t inner;
    dw_status status = dw__schema_convert(c, schema, &inner);
    if (status != DW_OK) {
        return status;
    }
    dw__gbnf_add(&body, " s%u", inner);
    return dw__schema_rule(c, *rule, &body);
}

/* The schema without one of its keywords. A new reference. */
static json_t *without(json_t *schema, const char *key)
{
    json_t *rest = json_copy(schema);
    (void)json_object_del(rest, key);
    return rest;
}

static bool only_notes(json_t *schema)
{
    const char *key;
    json_t *value;
    json_object_foreach(schema, key, value)
    {
        if (!dw__schema_is_note(key) && strcmp(key, "$anchor") != 0 &&
            strcmp(key, "nullable") != 0) {
            return false;
        }
    }
    return true;
}

/* `rest` and `other`, both. */
static dw_status convert_both(dw__schema_converter *c, json_t *rest, json_t *other, uint32_t *rule)
{
    json_t *reference = json_is_object(other) ? json_object_get(other, "$ref") : NULL;
    json_t *both;
    dw_error err;
    if (reference != NULL) { /* what it points at takes its place */
        json_t *pointed;
        dw_status status = resolve(c, reference, &pointed);
        if (status != DW_OK) {
            return status;
        }
        json_t *beside = without(other, "$ref");
        json_t *all = json_pack("{s:[O,o]}", "allOf", pointed, beside);
        both = dw__schema_merge(rest, all, c->path, &err);
        json_decref(all);
    } else {
        both = dw__schema_merge(rest, other, c->path, &err);
    }
    if (both == NULL) {
        return dw_fail(c->err, err.code, "schema: %s", err.message);
    }
    dw_status status = dw__schema_convert(c, both, rule);
    json_decref(both);
    return status;
}

dw_status dw__schema_reference(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    json_t *reference = json_object_get(schema, "$ref");
    json_t *rest = without(schema, "$ref");
    json_t *alone = json_pack("{s:O}", "$ref", reference);
    json_t *pointed;
    dw_status status;
    if (!only_notes(rest)) {
        status = convert_both(c, rest, alone, rule);
    } else {
        status = resolve(c, reference, &pointed);
        status = status == DW_OK ? reference_rule(c, pointed, rule) : status;
    }
    json_decref(alone);
    json_decref(rest);
    return status;
}

dw_status dw__schema_all_of(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    json_t *list = json_object_get(schema, "allOf");
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return dw__schema_wrong(c, "allOf", "a list of schemas is needed");
    }
    /* The first is taken out of the list and merged in; what is left is done the same way. */
    json_t *left = json_copy(list);
    (void)json_array_remove(left, 0);
    json_t *rest = without(schema, "allOf");
    if (json_array_size(left) > 0) {
        (void)json_object_set(rest, "allOf", left);
    }
    size_t before = dw__schema_enter(c, "allOf");
    dw_status status = convert_both(c, rest, json_array_get(list, 0), rule);
    dw__schema_leave(c, before);
    json_decref(left);
    json_decref(rest);
    return status;
}

/* Whether no value can be valid against both: by their types, or by a property that both require
 * with different constants. */
static bool apart(json_t *a, json_t *b)
{
    uint32_t x = DW__TYPE_ALL;
    uint32_t y = DW__TYPE_ALL;
    dw_error err;
    const char *key;
    json_t *value;
    json_t *one = json_object_get(a, "const");
    json_t *other = json_object_get(b, "const");
    if (one != NULL && other != NULL) {
        return !json_equal(one, other);
    }
    (void)dw__schema_types(json_object_get(a, "type"), &x, "", &err);
    (void)dw__schema_types(json_object_get(b, "type"), &y, "", &err);
    if ((x & y) == 0) {
        return true;
    }
    json_object_foreach(json_object_get(a, "properties"), key, value)
    {
        json_t *beside = json_object_get(json_object_get(b, "properties"), key);
        if (x == DW__TYPE_OBJECT && y == DW__TYPE_OBJECT && beside != NULL &&
            dw__schema_requires(a, key) && dw__schema_requires(b, key) && json_is_object(value) &&
            json_is_object(beside) && apart(value, beside)) {
            return true;
        }
    }
    return false;
}

/* The schema that stands in a list, or that its $ref points at. */
static dw_status member(dw__schema_converter *c, json_t *list, size_t index, json_t **out)
{
    *out = json_array_get(list, index);
    json_t *reference = json_object_get(*out, "$ref");
    return reference != NULL ? resolve(c, reference, out) : DW_OK;
}

/* A oneOf is an anyOf where no value can match two of its schemas. */
static dw_status check_one_of(dw__schema_converter *c, json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        for (size_t k = i + 1; k < json_array_size(list); k++) {
            json_t *a;
            json_t *b;
            dw_status status = member(c, list, i, &a);
            if (status == DW_OK) {
                status = member(c, list, k, &b);
            }
            if (status != DW_OK) {
                return status;
            }
            if (!apart(a, b)) {
                return dw__schema_refuse(
                    c, "oneOf",
                    "of schemas that a value may match both of is not supported: "
                    "anyOf is");
            }
        }
    }
    return DW_OK;
}

dw_status dw__schema_any_of(dw__schema_converter *c, json_t *schema, const char *key, dw__gbnf *to)
{
    json_t *list = json_object_get(schema, key);
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return dw__schema_wrong(c, key, "a list of schemas is needed");
    }
    dw_status status = strcmp(key, "oneOf") == 0 ? check_one_of(c, list) : DW_OK;
    json_t *rest = without(schema, key);
    bool alone = only_notes(rest);
    size_t before = dw__schema_enter(c, key);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        char step[24];
        uint32_t rule = 0;
        (void)snprintf(step, sizeof step, "%zu", i);
        size_t inner = dw__schema_enter(c, step);
        status = alone ? dw__schema_convert(c, json_array_get(list, i), &rule)
                       : convert_both(c, rest, json_array_get(list, i), &rule);
        dw__schema_leave(c, inner);
        dw__gbnf_add(to, "%s s%u", i > 0 ? " |" : "", rule);
    }
    dw__schema_leave(c, before);
    json_decref(rest);
    return status;
}
