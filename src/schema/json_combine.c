/* Schemas that are made of others. References and allOf are merged until one flat schema is left;
 * anyOf, oneOf, if, not and what depends on other properties become alternatives, each merged with
 * what stands beside them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "schema/json_grammar_internal.h"

#define MERGES_MAX 1000             /* for one schema */
#define MERGED_BYTES_MAX (64 << 20) /* in all, written out */
#define DEPENDENCIES_MAX 5          /* that become alternatives: their number doubles each time */

static dw_status no_memory(dw__schema_converter *c)
{
    return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
}

static dw_status endless(dw__schema_converter *c)
{
    return dw_fail(c->err, DW_E_LIMIT,
                   "schema: %s: contains itself without end, or more than %d "
                   "schemas that must all hold",
                   c->path, MERGES_MAX);
}

/* ---- flat schemas -------------------------------------------------------------------------- */

/* The schema without $ref and allOf; what they ask for is put at the front of `todo`. */
static dw_status take_apart(dw__schema_converter *c, json_t *schema, json_t *todo)
{
    const char *key;
    json_t *all = json_object_get(schema, "allOf");
    size_t at = 0;
    if (all != NULL && (!json_is_array(all) || json_array_size(all) == 0)) {
        return dw__schema_wrong(c, "allOf", "a list of schemas is needed");
    }
    for (json_t *reference; (reference = dw__schema_reference_in(schema, &key)) != NULL;) {
        json_t *pointed;
        dw_status status = dw__schema_resolve(c, key, reference, &pointed);
        if (status != DW_OK) {
            return status;
        }
        (void)json_array_insert(todo, at++, pointed);
        (void)json_object_del(schema, key);
    }
    for (size_t i = 0; i < json_array_size(all); i++) {
        (void)json_array_insert(todo, at++, json_array_get(all, i));
    }
    (void)json_object_del(schema, "allOf");
    return DW_OK;
}

/* All schemas of the list `todo`, which is emptied, as one. */
static dw_status flatten(dw__schema_converter *c, json_t *todo, json_t **out)
{
    json_t *flat = NULL;
    dw_status status = DW_OK;
    for (int count = 0; status == DW_OK && json_array_size(todo) > 0; count++) {
        json_t *first = json_incref(json_array_get(todo, 0));
        json_t *schema =
            json_is_object(first) ? dw__schema_without_notes(first) : json_incref(first);
        json_decref(first);
        (void)json_array_remove(todo, 0);
        status = count == MERGES_MAX ? endless(c) : dw__schema_look(c);
        if (status == DW_OK && json_is_object(schema)) {
            status = take_apart(c, schema, todo);
        }
        if (status == DW_OK && flat == NULL && json_is_object(schema)) {
            status = dw__schema_normal(c, schema);
        }
        if (status == DW_OK) {
            json_t *both;
            status = dw__schema_merge(c, flat != NULL ? flat : json_true(), schema, &both);
            json_decref(flat);
            flat = both;
        }
        json_decref(schema);
    }
    *out = flat;
    if (status != DW_OK) {
        json_decref(flat);
        *out = NULL;
    }
    return status;
}

dw_status dw__schema_flat(dw__schema_converter *c, json_t *schema, json_t **out)
{
    json_t *todo = json_pack("[O]", schema);
    dw_status status = todo != NULL ? flatten(c, todo, out) : no_memory(c);
    json_decref(todo);
    return status;
}

/* ---- rules of flat schemas ------------------------------------------------------------------ */

/* The rule of a schema that was merged. Equal ones are one, so that what contains itself ends. */
static dw_status merged_rule(dw__schema_converter *c, json_t *flat, uint32_t *rule)
{
    dw__gbnf body = {.bytes = NULL};
    uint32_t place;
    char *key = json_dumps(flat, JSON_ENCODE_ANY | JSON_COMPACT);
    size_t bytes = key != NULL ? strlen(key) : 0;
    c->merged_bytes += bytes;
    if (key != NULL && dw__index_find(&c->merged, key, bytes, &place)) {
        free(key);
        *rule = c->targets[place].rule;
        return !c->targets[place].done && c->targets[place].level == c->level ? endless(c) : DW_OK;
    }
    bool good = key != NULL &&
                DW_ARRAY_RESERVE(c->targets, c->target_capacity, c->target_count + 1, SIZE_MAX) &&
                dw__index_add(&c->merged, key, bytes, (uint32_t)c->target_count);
    free(key);
    if (!good) {
        return no_memory(c);
    }
    if (c->merged_bytes > MERGED_BYTES_MAX) {
        return dw_fail(c->err, DW_E_LIMIT, "schema: over %d MiB once merged",
                       MERGED_BYTES_MAX >> 20);
    }
    size_t at = c->target_count++;
    *rule = ++c->rule_count;
    c->targets[at] = (dw__schema_target){.rule = *rule, .level = c->level};
    dw_status status = dw__schema_body(c, flat, &body);
    c->targets[at].done = true;
    if (status != DW_OK) {
        dw__gbnf_release(&body);
        return status;
    }
    return dw__schema_rule(c, *rule, &body);
}

/* The rule of both schemas. */
static dw_status rule_of_both(dw__schema_converter *c, json_t *a, json_t *b, uint32_t *rule)
{
    json_t *todo = json_pack("[O,O]", a, b);
    json_t *flat;
    dw_status status = todo != NULL ? flatten(c, todo, &flat) : no_memory(c);
    json_decref(todo);
    if (status != DW_OK) {
        return status;
    }
    status = dw__schema_enter_depth(c);
    if (status == DW_OK) {
        status = merged_rule(c, flat, rule);
        c->depth--;
    }
    json_decref(flat);
    return status;
}

static dw_status pointed_rule(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    for (size_t i = 0; i < c->target_count; i++) {
        if (c->targets[i].schema == schema) {
            *rule = c->targets[i].rule;
            return DW_OK;
        }
    }
    if (!DW_ARRAY_RESERVE(c->targets, c->target_capacity, c->target_count + 1, SIZE_MAX)) {
        return no_memory(c);
    }
    /* Known before its body is: it may contain itself. */
    *rule = ++c->rule_count;
    c->targets[c->target_count++] = (dw__schema_target){.schema = schema, .rule = *rule};
    dw__gbnf body = {.bytes = NULL};
    uint32_t inner;
    dw_status status = dw__schema_convert(c, schema, &inner);
    if (status != DW_OK) {
        return status;
    }
    dw__gbnf_add(&body, " s%u", inner);
    return dw__schema_rule(c, *rule, &body);
}

dw_status dw__schema_combined(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    const char *key;
    json_t *reference = dw__schema_reference_in(schema, &key);
    json_t *pointed;
    json_t *flat;
    if (reference != NULL) {
        json_t *rest = dw__schema_without_notes(schema);
        bool alone = json_object_size(rest) == 1;
        json_decref(rest);
        dw_status status = alone ? dw__schema_resolve(c, key, reference, &pointed) : DW_OK;
        if (alone) {
            return status == DW_OK ? pointed_rule(c, pointed, rule) : status;
        }
    }
    dw_status status = dw__schema_flat(c, schema, &flat);
    if (status == DW_OK) {
        status = merged_rule(c, flat, rule);
        json_decref(flat);
    }
    return status;
}

/* ---- alternatives --------------------------------------------------------------------------- */

/* The schema without some of its keywords; what was kept aside for later is to be merged now. */
static json_t *without(json_t *schema, const char *const *keys)
{
    json_t *rest = json_copy(schema);
    for (; *keys != NULL; keys++) {
        (void)json_object_del(rest, *keys);
    }
    json_t *more = json_object_get(rest, DW__KEY_MORE);
    if (more != NULL) {
        (void)json_object_set(rest, "allOf", more);
        (void)json_object_del(rest, DW__KEY_MORE);
    }
    return rest;
}

/* Alternatives, each of `list` with `rest`. */
static dw_status alternatives(dw__schema_converter *c, json_t *rest, json_t *list, const char *key,
                              dw__gbnf *to)
{
    bool alone = json_object_size(rest) == 0;
    dw_status status = DW_OK;
    size_t before = dw__schema_enter(c, key);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        char step[24];
        uint32_t rule = 0;
        (void)snprintf(step, sizeof step, "%zu", i);
        size_t inner = dw__schema_enter(c, step);
        status = alone ? dw__schema_convert(c, json_array_get(list, i), &rule)
                       : rule_of_both(c, rest, json_array_get(list, i), &rule);
        dw__schema_leave(c, inner);
        dw__gbnf_add(to, "%s s%u", i > 0 ? " |" : "", rule);
    }
    dw__schema_leave(c, before);
    return status;
}

static dw_status any_of(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    static const char *const keys[] = {"anyOf", NULL};
    json_t *list = json_object_get(schema, "anyOf");
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return dw__schema_wrong(c, "anyOf", "a list of schemas is needed");
    }
    json_t *rest = without(schema, keys);
    dw_status status = alternatives(c, rest, list, "anyOf", to);
    json_decref(rest);
    return status;
}

/* The opposites of the schemas that a value may match beside the one at `index`, and that one.
 * *out NULL: one of them has no opposite that could be told. */
static dw_status only_one(dw__schema_converter *c, json_t *list, size_t index, json_t **out)
{
    json_t *all = json_pack("[O]", json_array_get(list, index));
    *out = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *opposite = NULL;
        bool apart = i == index;
        dw_status status = apart ? DW_OK
                                 : dw__schema_apart(c, json_array_get(list, index),
                                                    json_array_get(list, i), &apart);
        if (status == DW_OK && !apart) {
            status = dw__schema_negate(c, json_array_get(list, i), &opposite);
        }
        if (status != DW_OK || (!apart && opposite == NULL)) {
            json_decref(all);
            return status;
        }
        if (!apart) {
            (void)json_array_append_new(all, opposite);
        }
    }
    *out = json_array_size(all) == 1 ? json_incref(json_array_get(all, 0))
                                     : json_pack("{s:O}", "allOf", all);
    json_decref(all);
    return DW_OK;
}

/* anyOf of its schemas, each without those that a value may match too. */
static dw_status one_of(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    static const char *const keys[] = {"oneOf", NULL};
    json_t *list = json_object_get(schema, "oneOf");
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return dw__schema_wrong(c, "oneOf", "a list of schemas is needed");
    }
    json_t *choices = json_array();
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        json_t *one;
        status = only_one(c, list, i, &one);
        if (status == DW_OK && one != NULL) {
            (void)json_array_append_new(choices, one);
        }
    }
    if (status == DW_OK && json_array_size(choices) == 0) {
        status = dw__schema_refuse(c, "oneOf",
                                   "of schemas that a value may match both of is not supported: "
                                   "anyOf is");
    }
    if (status == DW_OK) {
        json_t *rest = without(schema, keys);
        status = alternatives(c, rest, choices, "oneOf", to);
        json_decref(rest);
    }
    json_decref(choices);
    return status;
}

/* (if and then) or (not if and else). */
static dw_status if_then(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    static const char *const keys[] = {"if", "then", "else", NULL};
    json_t *condition = json_object_get(schema, "if");
    json_t *then = json_object_get(schema, "then");
    json_t *other = json_object_get(schema, "else");
    json_t *opposite = NULL;
    dw_status status = dw__schema_negate(c, condition, &opposite);
    if (status != DW_OK) {
        return status;
    }
    json_t *choices = json_array();
    (void)json_array_append_new(choices, then != NULL
                                             ? json_pack("{s:[O,O]}", "allOf", condition, then)
                                             : json_incref(condition));
    if (opposite != NULL) {
        (void)json_array_append_new(choices, other != NULL
                                                 ? json_pack("{s:[O,O]}", "allOf", opposite, other)
                                                 : json_incref(opposite));
    }
    json_decref(opposite);
    json_t *rest = without(schema, keys);
    status = alternatives(c, rest, choices, "if", to);
    json_decref(rest);
    json_decref(choices);
    return status;
}

static dw_status negation(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    static const char *const keys[] = {"not", NULL};
    json_t *opposite = NULL;
    dw_status status = dw__schema_negate(c, json_object_get(schema, "not"), &opposite);
    if (status == DW_OK && json_is_false(opposite) && c->level == 0) {
        json_decref(opposite);
        return dw__schema_refuse(c, "not", "is not supported where nothing is left");
    }
    if (status == DW_OK && opposite == NULL) {
        return dw__schema_refuse(c, "not", "of such a schema is not supported");
    }
    if (status != DW_OK) {
        return status;
    }
    json_t *choices = json_pack("[o]", opposite);
    json_t *rest = without(schema, keys);
    status = alternatives(c, rest, choices, "not", to);
    json_decref(rest);
    json_decref(choices);
    return status;
}

/* One of the properties that others depend on: it is not there, or what it asks for holds. The
 * others are left in the schema. Beyond a few, what they ask for holds always. */
static dw_status depending(dw__schema_converter *c, json_t *schema, const char *key, dw__gbnf *to)
{
    const char *const keys[] = {key, NULL};
    json_t *map = json_object_get(schema, key);
    if (!json_is_object(map)) {
        return dw__schema_wrong(c, key, "an object is needed");
    }
    json_t *rest = without(schema, keys);
    const char *name = json_object_iter_key(json_object_iter(map));
    json_t *choices = json_array();
    if (name == NULL) {
        (void)json_array_append_new(choices, json_true());
    } else {
        json_t *asks = json_object_get(map, name);
        json_t *left = json_copy(map);
        json_t *schemas =
            json_is_array(asks) ? json_pack("{s:O}", "required", asks) : json_incref(asks);
        if (json_object_size(map) <= DEPENDENCIES_MAX) {
            (void)json_array_append_new(choices, json_pack("{s:{s:b}}", "properties", name, 0));
            (void)json_array_append_new(
                choices, json_pack("{s:[{s:[s]},o]}", "allOf", "required", name, schemas));
        } else {
            (void)json_array_append_new(choices, schemas);
        }
        (void)json_object_del(left, name);
        if (json_object_size(left) > 0) {
            (void)json_object_set(rest, key, left);
        }
        json_decref(left);
    }
    dw_status status = alternatives(c, rest, choices, key, to);
    json_decref(rest);
    json_decref(choices);
    return status;
}

dw_status dw__schema_choices(dw__schema_converter *c, json_t *schema, dw__gbnf *to, bool *chosen)
{
    static const char *const dependent[] = {"dependentRequired", "dependentSchemas",
                                            "dependencies"};
    *chosen = true;
    if (json_object_get(schema, "if") != NULL) {
        return if_then(c, schema, to);
    }
    if (json_object_get(schema, "not") != NULL) {
        return negation(c, schema, to);
    }
    for (size_t i = 0; i < 3; i++) {
        if (json_object_get(schema, dependent[i]) != NULL) {
            return depending(c, schema, dependent[i], to);
        }
    }
    if (json_object_get(schema, "anyOf") != NULL) {
        return any_of(c, schema, to);
    }
    if (json_object_get(schema, "oneOf") != NULL) {
        return one_of(c, schema, to);
    }
    *chosen = false;
    return DW_OK;
}
