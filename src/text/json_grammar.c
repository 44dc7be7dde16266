/* Schema to grammar: each schema becomes a rule, s1, s2 and so on; a $ref becomes the rule of what
 * it points at, so that schemas may contain themselves. */
#include "text/json_grammar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "text/json_grammar_internal.h"

#define SCHEMA_BYTES_MAX ((size_t)1 << 20)
#define DEPTH_MAX 100
#define CONVERTED_MAX 10000 /* merging may multiply what a schema says */
#define RULES_MAX 65536U

/* Whole characters, or escapes where JSON asks for them; of \u none that is half a pair, or 0. */
static const char basics[] =
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n"
    "null ::= \"null\"\n"
    "boolean ::= \"true\" | \"false\"\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,14})\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"
    "char ::= [^\"\\\\\\x00-\\x1F\\x7F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" unit)\n"
    "unit ::= \"00\" (\"0\" [1-9a-fA-F] | [1-9a-fA-F] hex) | \"0\" [1-9a-fA-F] hex hex | "
    "[1-9a-cA-CeEfF] hex hex hex | [dD] [0-7] hex hex\n"
    "hex ::= [0-9a-fA-F]\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "member ::= string \":\" ws value\n"
    "object ::= \"{\" ws (member (\",\" ws member)*)? ws \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? ws \"]\"\n"
    "value ::= null | boolean | number | string | array | object\n";

/* ---- rules ----------------------------------------------------------------------------------- */

static dw_status told(dw__schema_converter *c, const dw__text *text)
{
    return !text->failed ? DW_OK
           : text->capacity > 4 * DW_GRAMMAR_BYTES_MAX
               ? dw_fail(c->err, DW_E_LIMIT, "schema: its grammar has more than %zu bytes",
                         DW_GRAMMAR_BYTES_MAX)
               : dw_fail(c->err, DW_E_MEMORY, "no memory for a schema's grammar");
}

/* "sN ::= body"; the body is released. Nothing at all is written "": a rule must not end in its
 * first line break. */
dw_status dw__schema_rule(dw__schema_converter *c, uint32_t rule, dw__text *body)
{
    dw_status status = told(c, body);
    if (status == DW_OK) {
        dw__text_add(&c->out, "s%u ::=%s\n", rule, body->count > 0 ? body->bytes : " \"\"");
        status = told(c, &c->out);
    }
    dw__text_release(body);
    return status;
}

/* ---- places ------------------------------------------------------------------------------- */

size_t dw__schema_enter(dw__schema_converter *c, const char *step)
{
    size_t before = c->path_bytes;
    int bytes = snprintf(c->path + before, sizeof c->path - before, "/%.60s", step);
    size_t room = sizeof c->path - 1 - before;
    c->path_bytes += bytes < 0 ? 0 : (size_t)bytes < room ? (size_t)bytes : room;
    return before;
}

void dw__schema_leave(dw__schema_converter *c, size_t before)
{
    c->path_bytes = before;
    c->path[before] = '\0';
}

dw_status dw__schema_wrong(dw__schema_converter *c, const char *key, const char *what)
{
    return dw_fail(c->err, DW_E_FORMAT, "schema: %s: '%s': %s", c->path, key, what);
}

dw_status dw__schema_refuse(dw__schema_converter *c, const char *key, const char *what)
{
    return dw_fail(c->err, DW_E_UNSUPPORTED, "schema: %s: '%s' %s", c->path, key, what);
}

static dw_status convert(dw__schema_converter *c, json_t *schema, uint32_t *rule);

dw_status dw__schema_convert_at(dw__schema_converter *c, const char *step, json_t *schema,
                                uint32_t *rule)
{
    size_t before = dw__schema_enter(c, step);
    dw_status status = convert(c, schema, rule);
    dw__schema_leave(c, before);
    return status;
}

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
    if (status == DW_OK) {
        status = count_of(c, schema, keys[1], INT32_MAX, most);
    }
    if (status == DW_OK && *least > DW_GRAMMAR_REPETITIONS_MAX) {
        return dw__schema_refuse(c, keys[0], "above 10000 is not supported");
    }
    *most =
        *most<INT32_MAX && * most> DW_GRAMMAR_REPETITIONS_MAX ? DW_GRAMMAR_REPETITIONS_MAX : *most;
    return status;
}

/* {least,most} behind an item, less `taken` of both. */
static void repeat(dw__text *to, int least, int most, int taken)
{
    least = least > taken ? least - taken : 0;
    if (most == INT32_MAX) {
        dw__text_add(to, "{%d,}", least);
    } else {
        dw__text_add(to, "{%d,%d}", least, most - taken);
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

dw_status dw__schema_literal(dw__schema_converter *c, const json_t *value, dw__text *to)
{
    char *json = json_text(value);
    if (json == NULL) {
        return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema's value");
    }
    dw__text_literal(to, json);
    free(json);
    return DW_OK;
}

/* enum and const, less what `type` rules out. */
static dw_status values(dw__schema_converter *c, json_t *schema, dw__text *to)
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
    dw_status status = dw__schema_types(json_object_get(schema, "type"), &types, c->path, c->err);
    bool any = false;
    for (size_t i = 0; apart[i] != NULL; i++) {
        if (json_object_get(schema, apart[i]) != NULL) {
            return dw__schema_refuse(c, apart[i], "beside enum or const is not supported");
        }
    }
    if (status == DW_OK && list != NULL && !json_is_array(list)) {
        return dw__schema_wrong(c, "enum", "a list is needed");
    }
    size_t count = list != NULL ? json_array_size(list) : 1;
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        json_t *value = list != NULL ? json_array_get(list, i) : one;
        if (dw__value_has_type(value, types) && (one == NULL || json_equal(value, one))) {
            dw__text_add(to, "%s", any ? " |" : "");
            status = dw__schema_literal(c, value, to);
            any = true;
        }
    }
    dw__text_add(to, "%s", any ? "" : " []");
    return status;
}

static dw_status string_body(dw__schema_converter *c, json_t *schema, dw__text *to)
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
    dw__text_add(to, " \"\\\"\"");
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
        dw__text_add(to, " %s", formats[i].grammar);
    } else if (most < least) {
        dw__text_add(to, " []");
    } else {
        dw__text_add(to, " char");
        repeat(to, least, most, 0);
    }
    dw__text_add(to, " \"\\\"\"");
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

static dw_status number_body(dw__schema_converter *c, json_t *schema, bool whole, dw__text *to)
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
        dw__text_add(to, whole ? " integer" : " number");
        return DW_OK;
    }
    dw_status status = dw__number_grammar(to, &bounds, c->err);
    return status == DW_OK ? status : dw_fail_within(c->err, status, "schema: %s", c->path);
}

/* ---- arrays ------------------------------------------------------------------------------- */

/* The first items one by one, by prefixItems or draft 7's list under items. */
static dw_status leading_items(dw__schema_converter *c, json_t *list, int count, dw__text *to)
{
    for (int i = 0; i < count; i++) {
        char step[16];
        uint32_t rule;
        (void)snprintf(step, sizeof step, "%d", i);
        dw_status status = dw__schema_convert_at(c, step, json_array_get(list, (size_t)i), &rule);
        if (status != DW_OK) {
            return status;
        }
        dw__text_add(to, "%s s%u", i > 0 ? " \",\" ws" : "", rule);
    }
    return DW_OK;
}

/* All items of the list are always given, further ones only where a schema is given for them or
 * minItems asks for them. */
static dw_status array_body(dw__schema_converter *c, json_t *schema, dw__text *to)
{
    static const char *const keys[] = {"minItems", "maxItems"};
    json_t *items = json_object_get(schema, "items");
    json_t *list = json_object_get(schema, "prefixItems");
    int least;
    int most;
    uint32_t rule = 0;
    dw_status status = counts_of(c, schema, keys, &least, &most);
    if (list == NULL && json_is_array(items)) {
        list = items;
        items = json_object_get(schema, "additionalItems");
    }
    if (status == DW_OK && list != NULL && !json_is_array(list)) {
        return dw__schema_wrong(c, "prefixItems", "a list is needed");
    }
    int leading = json_array_size(list) > DW_GRAMMAR_REPETITIONS_MAX ? DW_GRAMMAR_REPETITIONS_MAX
                                                                     : (int)json_array_size(list);
    leading = leading < most ? leading : most;
    if (status == DW_OK && (json_is_object(items) || json_is_false(items))) {
        status = dw__schema_convert_at(c, "items", items, &rule);
    } else if (status == DW_OK && items != NULL && !json_is_true(items)) {
        return dw__schema_wrong(c, "items", "a schema is needed");
    }
    if (leading > 0 && items == NULL) {
        most = least > leading ? least : leading;
    }
    if (most < least) {
        dw__text_add(to, " []");
        return status;
    }
    dw__text_add(to, " \"[\" ws");
    if (status == DW_OK) {
        status = leading_items(c, list, leading, to);
    }
    char item[24] = "value";
    if (rule != 0) {
        (void)snprintf(item, sizeof item, "s%u", rule);
    }
    if (leading > 0 && most > leading) {
        dw__text_add(to, " (\",\" ws %s)", item);
        repeat(to, least, most, leading);
    } else if (leading == 0 && most > 0) {
        dw__text_add(to, " (%s (\",\" ws %s)", item, item);
        repeat(to, least, most, 1);
        dw__text_add(to, ")%s", least == 0 ? "?" : "");
    }
    dw__text_add(to, " ws \"]\"");
    return status;
}

/* ---- combinations ------------------------------------------------------------------------- */

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
    dw_status status = DW_OK;
    for (text++; status == DW_OK && *text == '/';) {
        size_t bytes = strcspn(++text, "/");
        status = pointer_step(c, out, text, bytes);
        text += bytes;
    }
    return status;
}

static dw_status reference_rule(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    for (size_t i = 0; i < c->target_count; i++) {
        if (c->targets[i].schema == schema) {
            *rule = c->targets[i].rule;
            return DW_OK;
        }
    }
    if (c->target_count == c->target_capacity) {
        size_t capacity = c->target_capacity * 2 + 16;
        dw__schema_target *larger = dw_realloc(c->targets, capacity, sizeof *larger);
        if (larger == NULL) {
            return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
        }
        c->targets = larger;
        c->target_capacity = capacity;
    }
    /* Known before its body is: it may contain itself. */
    *rule = ++c->rule_count;
    c->targets[c->target_count++] = (dw__schema_target){schema, *rule};
    dw__text body = {.bytes = NULL};
    uint32_t inner;
    dw_status status = convert(c, schema, &inner);
    dw__text_add(&body, " s%u", inner);
    if (status != DW_OK) {
        dw__text_release(&body);
        return status;
    }
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
    dw_status status = convert(c, both, rule);
    json_decref(both);
    return status;
}

static dw_status all_of(dw__schema_converter *c, json_t *schema, uint32_t *rule)
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

static dw_status one_of_is_any_of(dw__schema_converter *c, json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        for (size_t k = i + 1; k < json_array_size(list); k++) {
            json_t *a = json_array_get(list, i);
            json_t *b = json_array_get(list, k);
            json_t *reference;
            dw_status status = DW_OK;
            if ((reference = json_object_get(a, "$ref")) != NULL) {
                status = resolve(c, reference, &a);
            }
            if (status == DW_OK && (reference = json_object_get(b, "$ref")) != NULL) {
                status = resolve(c, reference, &b);
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

static dw_status any_of(dw__schema_converter *c, json_t *schema, const char *key, dw__text *to)
{
    json_t *list = json_object_get(schema, key);
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return dw__schema_wrong(c, key, "a list of schemas is needed");
    }
    dw_status status = strcmp(key, "oneOf") == 0 ? one_of_is_any_of(c, list) : DW_OK;
    json_t *rest = without(schema, key);
    bool alone = only_notes(rest);
    size_t before = dw__schema_enter(c, key);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        char step[24];
        uint32_t rule = 0;
        (void)snprintf(step, sizeof step, "%zu", i);
        size_t inner = dw__schema_enter(c, step);
        status = alone ? convert(c, json_array_get(list, i), &rule)
                       : convert_both(c, rest, json_array_get(list, i), &rule);
        dw__schema_leave(c, inner);
        dw__text_add(to, "%s s%u", i > 0 ? " |" : "", rule);
    }
    dw__schema_leave(c, before);
    json_decref(rest);
    return status;
}

/* ---- schemas ------------------------------------------------------------------------------ */

static dw_status check_keywords(dw__schema_converter *c, json_t *schema)
{
    static const char *const refused[] = {"not",
                                          "if",
                                          "then",
                                          "else",
                                          "dependentRequired",
                                          "dependentSchemas",
                                          "dependencies",
                                          "patternProperties",
                                          "propertyNames",
                                          "unevaluatedProperties",
                                          "unevaluatedItems",
                                          "contains",
                                          "minContains",
                                          "maxContains",
                                          "minProperties",
                                          "maxProperties",
                                          "multipleOf",
                                          "$dynamicRef",
                                          "$recursiveRef",
                                          "contentEncoding",
                                          "contentSchema"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (json_object_get(schema, refused[i]) != NULL) {
            return dw__schema_refuse(c, refused[i], "is not supported");
        }
    }
    if (json_is_true(json_object_get(schema, "uniqueItems"))) {
        return dw__schema_refuse(c, "uniqueItems", "is not supported");
    }
    return DW_OK;
}

/* Where `type` is missing, the keywords that are there speak of the type that is meant. */
static uint32_t meant_types(json_t *schema)
{
    static const struct {
        const char *key;
        uint32_t type;
    } hints[] = {{"properties", DW__TYPE_OBJECT},
                 {"required", DW__TYPE_OBJECT},
                 {"additionalProperties", DW__TYPE_OBJECT},
                 {"items", DW__TYPE_ARRAY},
                 {"prefixItems", DW__TYPE_ARRAY},
                 {"minItems", DW__TYPE_ARRAY},
                 {"maxItems", DW__TYPE_ARRAY},
                 {"pattern", DW__TYPE_STRING},
                 {"format", DW__TYPE_STRING},
                 {"minLength", DW__TYPE_STRING},
                 {"maxLength", DW__TYPE_STRING},
                 {"minimum", DW__TYPE_NUMBER},
                 {"maximum", DW__TYPE_NUMBER},
                 {"exclusiveMinimum", DW__TYPE_NUMBER},
                 {"exclusiveMaximum", DW__TYPE_NUMBER}};
    uint32_t types = 0;
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (json_object_get(schema, hints[i].key) != NULL) {
            types |= hints[i].type;
        }
    }
    return types != 0 ? types : DW__TYPE_ALL;
}

static dw_status type_body(dw__schema_converter *c, json_t *schema, uint32_t type, dw__text *to)
{
    switch (type) {
    case DW__TYPE_NULL:
        dw__text_add(to, " null");
        return DW_OK;
    case DW__TYPE_BOOLEAN:
        dw__text_add(to, " boolean");
        return DW_OK;
    case DW__TYPE_INTEGER:
    case DW__TYPE_NUMBER:
        return number_body(c, schema, type == DW__TYPE_INTEGER, to);
    case DW__TYPE_STRING:
        return string_body(c, schema, to);
    case DW__TYPE_ARRAY:
        return array_body(c, schema, to);
    default:
        return dw__schema_object(c, schema, to);
    }
}

static dw_status typed_body(dw__schema_converter *c, json_t *schema, dw__text *to)
{
    uint32_t types;
    bool any = false;
    json_t *type = json_object_get(schema, "type");
    dw_status status = dw__schema_types(type, &types, c->path, c->err);
    if (status != DW_OK) {
        return dw_fail_within(c->err, status, "schema");
    }
    types = type != NULL ? types : meant_types(schema);
    for (uint32_t bit = 1; status == DW_OK && bit <= DW__TYPE_OBJECT; bit <<= 1) {
        bool covered = bit == DW__TYPE_INTEGER && (types & DW__TYPE_NUMBER) != 0;
        if ((types & bit) != 0 && !covered) {
            dw__text_add(to, "%s", any ? " |" : "");
            status = type_body(c, schema, bit, to);
            any = true;
        }
    }
    dw__text_add(to, "%s", any ? "" : " []");
    return status;
}

/* A schema's body, or its rule where it has one already. */
static dw_status convert_object(dw__schema_converter *c, json_t *schema, dw__text *body,
                                uint32_t *rule)
{
    static const char *const choices[] = {"anyOf", "oneOf"};
    json_t *reference = json_object_get(schema, "$ref");
    dw_status status = check_keywords(c, schema);
    *rule = 0;
    if (status != DW_OK) {
        return status;
    }
    if (reference != NULL) {
        json_t *rest = without(schema, "$ref");
        json_t *alone = json_pack("{s:O}", "$ref", reference);
        json_t *pointed;
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
    if (json_object_get(schema, "allOf") != NULL) {
        return all_of(c, schema, rule);
    }
    for (size_t i = 0; i < 2; i++) {
        if (json_object_get(schema, choices[i]) != NULL) {
            return any_of(c, schema, choices[i], body);
        }
    }
    if (json_object_get(schema, "enum") != NULL || json_object_get(schema, "const") != NULL) {
        return values(c, schema, body);
    }
    return typed_body(c, schema, body);
}

static dw_status convert(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    dw__text body = {.bytes = NULL};
    dw_status status = DW_OK;
    uint32_t known = 0;
    if (c->depth == DEPTH_MAX) {
        return dw_fail(c->err, DW_E_LIMIT, "schema: %.80s...: more than %d deep", c->path,
                       DEPTH_MAX);
    }
    if (++c->converted_count > CONVERTED_MAX || c->rule_count > RULES_MAX) {
        return dw_fail(c->err, DW_E_LIMIT, "schema: over %d schemas, or %u rules, once written out",
                       CONVERTED_MAX, RULES_MAX);
    }
    c->depth++;
    if (json_is_boolean(schema)) {
        dw__text_add(&body, json_is_true(schema) ? " value" : " []");
    } else if (json_is_object(schema)) {
        status = convert_object(c, schema, &body, &known);
    } else {
        status = dw_fail(c->err, DW_E_FORMAT, "schema: %s: a schema is an object, or true or false",
                         c->path);
    }
    c->depth--;
    if (status != DW_OK || known != 0) {
        *rule = known;
        dw__text_release(&body);
        return status;
    }
    *rule = ++c->rule_count;
    return dw__schema_rule(c, *rule, &body);
}

static dw_status make(dw__schema_converter *c)
{
    uint32_t rule;
    dw__text_add(&c->out, "%s", basics);
    dw__text_add(
        &c->out, "%s",
        "date ::= [12] [0-9]{3} \"-\" (\"0\" [13578] \"-\" day31 | \"1\" [02] \"-\" day31 | "
        "\"0\" [469] \"-\" day30 | \"11-\" day30 | \"02-\" day28)\n"
        "day28 ::= \"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8]\n"
        "day30 ::= day28 | \"29\" | \"30\"\n"
        "day31 ::= day30 | \"31\"\n"
        "time ::= ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9] \":\" [0-5] [0-9] "
        "(\".\" [0-9]{1,6})? (\"Z\" | [-+] ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9])\n"
        "byte ::= [0-9] | [1-9] [0-9] | \"1\" [0-9] [0-9] | \"2\" [0-4] [0-9] | \"25\" "
        "[0-5]\n"
        "keychar ::= [^\\x00-\\x1F\\x22\\x5C\\x7F-\\U0010FFFF]\n");
    dw_status status = convert(c, c->root, &rule);
    if (status == DW_OK) {
        dw__text_add(&c->out, "root ::= s%u\n", rule);
        status = told(c, &c->out);
    }
    if (status == DW_OK && c->out.count > DW_GRAMMAR_BYTES_MAX) {
        status = dw_fail(c->err, DW_E_LIMIT, "schema: its grammar has more than %zu bytes",
                         DW_GRAMMAR_BYTES_MAX);
    }
    return status;
}

dw_status dw_json_grammar_make(char **grammar, const char *schema, size_t bytes, dw_error *err)
{
    json_error_t where;
    dw__schema_converter c = {.path = "#", .path_bytes = 1, .err = err};
    *grammar = NULL;
    if (bytes > SCHEMA_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "schema: %zu bytes, limit %zu", bytes, SCHEMA_BYTES_MAX);
    }
    c.root = json_loadb(bytes > 0 ? schema : "", bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES,
                        &where);
    if (c.root == NULL) {
        return dw_fail(err, DW_E_FORMAT, "schema: line %d, column %d: %s", where.line, where.column,
                       where.text);
    }
    dw_status status = make(&c);
    json_decref(c.root);
    dw_free(c.targets);
    if (status != DW_OK) {
        dw__text_release(&c.out);
        return status;
    }
    *grammar = c.out.bytes;
    return DW_OK;
}
