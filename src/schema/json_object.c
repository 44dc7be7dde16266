/* Objects of a schema: properties in its order, each with its comma, as chains of rules. */
#include <string.h>

#include "base/alloc.h"
#include "schema/json_grammar_internal.h"

#define NAME_BYTES_MAX 1000

typedef struct property {
    const char *name;
    json_t *schema; /* NULL: any value */
    bool required;
} property;

bool dw__schema_requires(json_t *schema, const char *name)
{
    json_t *list = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *other = json_string_value(json_array_get(list, i));
        if (other != NULL && strcmp(other, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Those of `properties`, then those that are required without being there. */
static dw_status gather_properties(dw__schema_converter *c, json_t *schema, property **out,
                                   size_t *count)
{
    json_t *given = json_object_get(schema, "properties");
    json_t *required = json_object_get(schema, "required");
    json_t *additional = json_object_get(schema, "additionalProperties");
    const char *name;
    json_t *value;
    if (given != NULL && !json_is_object(given)) {
        return dw__schema_wrong(c, "properties", "an object is needed");
    }
    if (required != NULL && !json_is_array(required)) {
        return dw__schema_wrong(c, "required", "a list of names is needed");
    }
    *out = dw_alloc(json_object_size(given) + json_array_size(required) + 1, sizeof **out);
    if (*out == NULL) {
        return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
    }
    json_object_foreach(given, name, value)
    {
        (*out)[(*count)++] = (property){name, value, dw__schema_requires(schema, name)};
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        bool known = name == NULL || json_object_get(given, name) != NULL;
        for (size_t k = 0; !known && k < *count; k++) {
            known = strcmp((*out)[k].name, name) == 0;
        }
        if (name == NULL) {
            return dw__schema_wrong(c, "required", "a list of names is needed");
        }
        if (!known) {
            (*out)[(*count)++] = (property){name, additional, true};
        }
    }
    return DW_OK;
}

/* Rules for keys that are none of names [count], which agree in their first `depth` bytes; from
 * there on. A trie, a rule a node. Such keys are printable ASCII without escapes. */
static dw_status other_keys(dw__schema_converter *c, const char *const *names, size_t count,
                            size_t depth, uint32_t *rule)
{
    dw__gbnf body = {.bytes = NULL};
    bool ends = false;
    dw_status status = DW_OK;
    if (depth >= NAME_BYTES_MAX) {
        return dw_fail(c->err, DW_E_LIMIT, "schema: %s: a name of over %d bytes", c->path,
                       NAME_BYTES_MAX);
    }
    const char **next = dw_alloc(count + 1, sizeof *next);
    if (next == NULL) {
        return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
    }
    for (size_t i = 0; i < count; i++) {
        ends = ends || names[i][depth] == '\0';
    }
    dw__gbnf_add(&body, "%s [^\\x00-\\x1F\\x22\\x5C\\x7F-\\U0010FFFF", ends ? "" : " |");
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)names[i][depth];
        if (byte >= ' ' && byte < 0x7f) {
            dw__gbnf_character(&body, byte);
        }
    }
    dw__gbnf_add(&body, "] keychar*");
    for (int byte = ' '; byte < 0x7f; byte++) {
        size_t kept = 0;
        uint32_t below;
        for (size_t i = 0; i < count; i++) {
            next[kept] = names[i];
            kept += (unsigned char)names[i][depth] == byte;
        }
        /* A quote or a backslash is written as an escape, which keys of this kind never hold. */
        if (kept > 0 && byte != '"' && byte != '\\') {
            status = other_keys(c, next, kept, depth + 1, &below);
            if (status != DW_OK) {
                goto out;
            }
            dw__gbnf_add(&body, " | [");
            dw__gbnf_character(&body, (uint32_t)byte);
            dw__gbnf_add(&body, "] s%u", below);
        }
    }
    *rule = ++c->rule_count;
    status = dw__schema_rule(c, *rule, &body);
out:
    dw__gbnf_release(&body);
    dw_free(next);
    return status;
}

/* The rule of a property that the schema does not name; 0: there are none. */
static dw_status extra_member(dw__schema_converter *c, json_t *schema, const property *list,
                              size_t count, uint32_t *rule)
{
    json_t *additional = json_object_get(schema, "additionalProperties");
    dw__gbnf body = {.bytes = NULL};
    uint32_t value = 0;
    uint32_t key = 0;
    *rule = 0;
    if (json_is_false(additional) || (additional == NULL && count > 0)) {
        return DW_OK;
    }
    const char **names = dw_alloc(count + 1, sizeof *names);
    if (names == NULL) {
        return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = list[i].name;
    }
    dw_status status = other_keys(c, names, count, 0, &key);
    dw_free(names);
    if (status != DW_OK) {
        return status;
    }
    if (additional != NULL && !json_is_true(additional)) {
        status = dw__schema_convert_at(c, "additionalProperties", additional, &value);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__gbnf_add(&body, " \"\\\"\" s%u \"\\\"\" \":\" ws ", key);
    if (value != 0) {
        dw__gbnf_add(&body, "s%u", value);
    } else {
        dw__gbnf_add(&body, "value");
    }
    *rule = ++c->rule_count;
    return dw__schema_rule(c, *rule, &body);
}

/* "name": value */
static dw_status member(dw__schema_converter *c, const property *which, uint32_t *rule)
{
    dw__gbnf body = {.bytes = NULL};
    uint32_t value = 0;
    dw_status status = DW_OK;
    size_t before = dw__schema_enter(c, "properties");
    if (which->schema != NULL) {
        status = dw__schema_convert_at(c, which->name, which->schema, &value);
    }
    dw__schema_leave(c, before);
    if (status != DW_OK) {
        return status;
    }
    json_t *name = json_string(which->name);
    status = dw__schema_literal(c, name, &body);
    json_decref(name);
    if (status != DW_OK) {
        return status;
    }
    dw__gbnf_add(&body, " \":\" ws ");
    if (value != 0) {
        dw__gbnf_add(&body, "s%u", value);
    } else {
        dw__gbnf_add(&body, "value");
    }
    *rule = ++c->rule_count;
    return dw__schema_rule(c, *rule, &body);
}

/* The rules that a member is put before: what may follow one, and what may come where there has
 * been none yet. */
typedef struct chains {
    uint32_t after;
    uint32_t first;
} chains;

/* Behind the last property: members that the schema does not name, if there may be any. */
static dw_status last_chains(dw__schema_converter *c, uint32_t extra, chains *last)
{
    dw__gbnf body = {.bytes = NULL};
    last->after = ++c->rule_count;
    last->first = ++c->rule_count;
    if (extra != 0) {
        dw__gbnf_add(&body, " (\",\" ws s%u)*", extra);
    }
    dw_status status = dw__schema_rule(c, last->after, &body);
    if (status != DW_OK) {
        return status;
    }
    if (extra != 0) {
        dw__gbnf_add(&body, " (s%u s%u)?", extra, last->after);
    }
    return dw__schema_rule(c, last->first, &body);
}

/* Put a property before the chains. */
static dw_status add_property(dw__schema_converter *c, const property *which, chains *of)
{
    dw__gbnf body = {.bytes = NULL};
    uint32_t one = 0;
    dw_status status = member(c, which, &one);
    if (status != DW_OK) {
        return status;
    }
    chains next = {.after = c->rule_count + 1, .first = c->rule_count + 2};
    c->rule_count += 2;
    dw__gbnf_add(&body, " \",\" ws s%u s%u", one, of->after);
    if (!which->required) {
        dw__gbnf_add(&body, " | s%u", of->after);
    }
    status = dw__schema_rule(c, next.after, &body);
    if (status != DW_OK) {
        return status;
    }
    dw__gbnf_add(&body, " s%u s%u", one, of->after);
    if (!which->required) {
        dw__gbnf_add(&body, " | s%u", of->first);
    }
    status = dw__schema_rule(c, next.first, &body);
    *of = next;
    return status;
}

/* Two chains of rules, from the last property to the first. Their size is linear in the
 * properties. */
dw_status dw__schema_object(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    property *list = NULL;
    size_t count = 0;
    uint32_t extra = 0;
    chains made;
    dw_status status = gather_properties(c, schema, &list, &count);
    if (status != DW_OK) {
        goto out;
    }
    status = extra_member(c, schema, list, count, &extra);
    if (status != DW_OK) {
        goto out;
    }
    status = last_chains(c, extra, &made);
    for (size_t i = count; status == DW_OK && i-- > 0;) {
        status = add_property(c, &list[i], &made);
    }
    if (status != DW_OK) {
        goto out;
    }
    dw__gbnf_add(to, " \"{\" ws s%u ws \"}\"", made.first);
out:
    dw_free(list);
    return status;
}
