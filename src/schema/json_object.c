/* Objects of a schema: properties in its order, each with its comma, as chains of rules; behind
 * them those that it does not name. */
#include <string.h>

#include "base/alloc.h"
#include "schema/json_regex_internal.h"

#define NAME_BYTES_MAX 1000
#define COUNTED_MAX 2000 /* maxProperties; above, no more than these are written */
#define CHAINS_MAX 50000 /* properties by counts */

typedef struct property {
    const char *name;
    json_t *schema; /* a reference of its own; NULL: any value */
    bool required;
    uint32_t rule; /* of the name and the value */
} property;

typedef struct object {
    dw__schema_converter *c;
    json_t *schema;
    property *list; /* [count] */
    size_t count;
    json_t *named;  /* all names, also of those that may not be there */
    json_t *names;  /* propertyNames, flat; NULL: any */
    uint32_t extra; /* rule of a member that is not named; 0: there are none */
    int least;      /* members */
    int most;
    int counted;     /* members are counted up to this */
    uint32_t *chain; /* [counted + 1]: what may follow so many members */
} object;

static dw_status no_memory(dw__schema_converter *c)
{
    return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
}

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

/* ---- properties that are named --------------------------------------------------------------- */

/* false: neither is, nor may be, a property of this name. */
static dw_status add_property(object *o, const char *name, bool *possible)
{
    json_t *schema = NULL;
    bool required = dw__schema_requires(o->schema, name);
    dw_status status = dw__schema_of_property(o->c, o->schema, name, &schema);
    bool allowed = !json_is_false(schema);
    if (status == DW_OK && allowed && o->names != NULL) {
        dw__verdict verdict;
        json_t *text = json_string(name);
        status = json_is_object(o->names) ? dw__schema_judge_flat(o->c, o->names, text, &verdict)
                                          : DW_OK;
        allowed = json_is_object(o->names) ? status == DW_OK && verdict == DW__VALID
                                           : json_is_true(o->names);
        json_decref(text);
    }
    *possible = *possible && (allowed || !required);
    (void)json_array_append_new(o->named, json_string(name));
    if (status != DW_OK || !allowed) {
        json_decref(schema);
        return status;
    }
    o->list[o->count++] = (property){name, schema, required, 0};
    return DW_OK;
}

/* Those of `properties`, then those that are required without being there. */
static dw_status gather_properties(object *o, bool *possible)
{
    json_t *given = json_object_get(o->schema, "properties");
    json_t *required = json_object_get(o->schema, "required");
    const char *name;
    json_t *value;
    dw_status status = DW_OK;
    if (given != NULL && !json_is_object(given)) {
        return dw__schema_wrong(o->c, "properties", "an object is needed");
    }
    if (required != NULL && !json_is_array(required)) {
        return dw__schema_wrong(o->c, "required", "a list of names is needed");
    }
    o->list = dw_alloc(json_object_size(given) + json_array_size(required) + 1, sizeof *o->list);
    if (o->list == NULL) {
        return no_memory(o->c);
    }
    *possible = true;
    json_object_foreach(given, name, value)
    {
        status = status == DW_OK ? add_property(o, name, possible) : status;
    }
    for (size_t i = 0; status == DW_OK && i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        if (name == NULL) {
            return dw__schema_wrong(o->c, "required", "a list of names is needed");
        }
        bool known = json_object_get(given, name) != NULL;
        for (size_t k = 0; !known && k < o->count; k++) {
            known = strcmp(o->list[k].name, name) == 0;
        }
        status = known ? DW_OK : add_property(o, name, possible);
    }
    return status;
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
        dw__gbnf_release(&body);
        return status;
    }
    dw__gbnf_add(&body, " \":\" ws ");
    if (value != 0) {
        dw__gbnf_add(&body, "s%u", value);
    } else {
        dw__gbnf_add(&body, "value");
    }
    return dw__schema_shared_rule(c, &body, rule);
}

/* ---- properties that are not named ----------------------------------------------------------- */

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
        return no_memory(c);
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
    status = dw__schema_shared_rule(c, &body, rule);
out:
    dw__gbnf_release(&body);
    dw_free(next);
    return status;
}

static dw_status plain_keys(object *o, uint32_t *rule)
{
    size_t count = json_array_size(o->named);
    const char **names = dw_alloc(count + 1, sizeof *names);
    if (names == NULL) {
        return no_memory(o->c);
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = json_string_value(json_array_get(o->named, i));
    }
    dw_status status = other_keys(o->c, names, count, 0, rule);
    dw_free(names);
    return status;
}

/* Keys that match one of the patterns (NULL: none of them), and that are not named. A key of
 * several patterns is not written, as more than one schema would hold for its value. *rule 0: there
 * are no such keys. */
static dw_status pattern_keys(object *o, const char *pattern, uint32_t *rule)
{
    dw__automaton keys = {.starts = NULL};
    json_t *empty = json_object();
    const char *other;
    json_t *value;
    int least = 0;
    int most = INT32_MAX;
    dw_status status = dw__names_automaton(o->c, o->names != NULL ? o->names : empty, o->named,
                                           &keys, &least, &most);
    json_decref(empty);
    json_object_foreach(json_object_get(o->schema, "patternProperties"), other, value)
    {
        bool own = pattern != NULL && strcmp(pattern, other) == 0;
        status = status == DW_OK ? dw__automaton_meet_pattern(o->c, &keys, other, !own) : status;
    }
    if (status == DW_OK) {
        status = dw__automaton_rule(o->c, &keys, least, most, rule);
    }
    dw__automaton_release(&keys);
    return status == DW_OK ? status : dw_fail_within(o->c->err, status, "schema: %s", o->c->path);
}

/* One more kind of member, as an alternative: keys by a rule, values by a schema (NULL: any). */
static dw_status add_extra(object *o, uint32_t key, const char *step, json_t *schema,
                           dw__gbnf *body)
{
    uint32_t value = 0;
    if (key == 0 || json_is_false(schema)) {
        return DW_OK;
    }
    if (schema != NULL && !json_is_true(schema)) {
        dw_status status = dw__schema_convert_at(o->c, step, schema, &value);
        if (status != DW_OK) {
            return status;
        }
    }
    dw__gbnf_add(body, "%s \"\\\"\" s%u \"\\\"\" \":\" ws ", body->count > 0 ? " |" : "", key);
    if (value != 0) {
        dw__gbnf_add(body, "s%u", value);
    } else {
        dw__gbnf_add(body, "value");
    }
    return DW_OK;
}

static dw_status add_pattern_extras(object *o, dw__gbnf *body)
{
    json_t *patterns = json_object_get(o->schema, "patternProperties");
    const char *pattern;
    json_t *value;
    dw_status status = DW_OK;
    if (patterns != NULL && !json_is_object(patterns)) {
        return dw__schema_wrong(o->c, "patternProperties", "an object is needed");
    }
    size_t before = dw__schema_enter(o->c, "patternProperties");
    json_object_foreach(patterns, pattern, value)
    {
        uint32_t key = 0;
        if (status == DW_OK && !json_is_false(value) && !json_is_false(o->names)) {
            status = pattern_keys(o, pattern, &key);
        }
        status = status == DW_OK ? add_extra(o, key, pattern, value, body) : status;
    }
    dw__schema_leave(o->c, before);
    return status;
}

/* The rule of a member that the schema does not name. Without additionalProperties there are none
 * but those of patterns, unless there is nothing else or minProperties asks for more. */
static dw_status extra_members(object *o)
{
    json_t *additional = json_object_get(o->schema, "additionalProperties");
    json_t *patterns = json_object_get(o->schema, "patternProperties");
    dw__gbnf body = {.bytes = NULL};
    uint32_t key = 0;
    additional =
        additional != NULL ? additional : json_object_get(o->schema, "unevaluatedProperties");
    bool nothing_else = o->count == 0 && json_object_size(patterns) == 0;
    bool asked = additional != NULL || nothing_else || o->least > (int)o->count;
    dw_status status = add_pattern_extras(o, &body);
    if (status == DW_OK && asked && !json_is_false(additional) && !json_is_false(o->names)) {
        status = patterns != NULL || o->names != NULL ? pattern_keys(o, NULL, &key)
                                                      : plain_keys(o, &key);
        if (status == DW_OK) {
            status = add_extra(o, key, "additionalProperties", additional, &body);
        }
    }
    if (status != DW_OK || body.count == 0) {
        dw__gbnf_release(&body);
        return status;
    }
    return dw__schema_shared_rule(o->c, &body, &o->extra);
}

/* ---- chains ---------------------------------------------------------------------------------- */

static int one_more(const object *o, int count)
{
    return count < o->counted ? count + 1 : count;
}

/* Behind the last property: members that the schema does not name, if there may be any. Keys may
 * repeat among them, so that but one of them counts for minProperties. */
static dw_status last_chains(object *o)
{
    dw_status status = DW_OK;
    for (int count = o->counted; status == DW_OK && count >= 0; count--) {
        dw__gbnf body = {.bytes = NULL};
        bool more = o->extra != 0 && count < o->most && count + 1 >= o->least;
        bool loops = more && one_more(o, count) == count;
        if (loops) {
            dw__gbnf_add(&body, " (\",\" ws s%u)*", o->extra);
        } else {
            dw__gbnf_add(&body, "%s", count >= o->least ? " \"\"" : more ? "" : " []");
        }
        if (more && !loops) {
            dw__gbnf_add(&body, "%s%s s%u s%u", count >= o->least ? " |" : "",
                         count > 0 ? " \",\" ws" : "", o->extra, o->chain[one_more(o, count)]);
        }
        status = dw__schema_shared_rule(o->c, &body, &o->chain[count]);
    }
    return status;
}

/* Put a property before the chains. From the lowest count up: each needs the next one as it was. */
static dw_status put_before(object *o, const property *which)
{
    dw_status status = DW_OK;
    uint32_t last = o->chain[o->counted];
    for (int count = 0; status == DW_OK && count <= o->counted; count++) {
        dw__gbnf body = {.bytes = NULL};
        uint32_t then = count < o->counted ? o->chain[count + 1] : last;
        if (count < o->most) {
            dw__gbnf_add(&body, "%s s%u s%u", count > 0 ? " \",\" ws" : "", which->rule, then);
        }
        if (!which->required) {
            dw__gbnf_add(&body, "%s s%u", body.count > 0 ? " |" : "", o->chain[count]);
        }
        dw__gbnf_add(&body, "%s", body.count > 0 ? "" : " []");
        status = dw__schema_shared_rule(o->c, &body, &o->chain[count]);
    }
    return status;
}

static dw_status count_members(object *o)
{
    static const char *const keys[] = {"minProperties", "maxProperties"};
    dw_status status = dw__schema_counts(o->c, o->schema, keys, &o->least, &o->most);
    if (status != DW_OK) {
        return status;
    }
    if (o->most != INT32_MAX && o->most > COUNTED_MAX) {
        o->most = COUNTED_MAX;
    }
    return DW_OK;
}

static dw_status make_chains(object *o)
{
    o->counted = o->most < INT32_MAX ? o->most : o->least > 1 ? o->least : 1;
    if ((size_t)o->counted * (o->count + 1) > CHAINS_MAX) {
        return dw_fail(o->c->err, DW_E_LIMIT, "schema: %s: over %d properties by their counts",
                       o->c->path, CHAINS_MAX);
    }
    o->chain = dw_alloc((size_t)o->counted + 1, sizeof *o->chain);
    dw_status status = o->chain != NULL ? last_chains(o) : no_memory(o->c);
    for (size_t i = 0; status == DW_OK && i < o->count; i++) {
        status = member(o->c, &o->list[i], &o->list[i].rule);
    }
    for (size_t i = o->count; status == DW_OK && i-- > 0;) {
        status = put_before(o, &o->list[i]);
    }
    return status;
}

static dw_status take_names(object *o)
{
    json_t *names = json_object_get(o->schema, "propertyNames");
    if (names == NULL) {
        return DW_OK;
    }
    dw_status status = dw__schema_flat(o->c, names, &o->names);
    if (status != DW_OK) {
        return status;
    }
    uint32_t types;
    status = dw__schema_types(o->c, json_object_get(o->names, "type"), &types);
    if (status != DW_OK) {
        return status;
    }
    if (json_is_true(o->names) || (types & DW__TYPE_STRING) == 0) {
        bool any = json_is_true(o->names);
        json_decref(o->names);
        o->names = any ? NULL : json_false();
    }
    static const char *const known[] = {"pattern",
                                        "minLength",
                                        "maxLength",
                                        "enum",
                                        "format",
                                        "type",
                                        DW__KEY_PATTERNS,
                                        DW__KEY_FORMATS,
                                        DW__KEY_OTHER_PATTERNS,
                                        DW__KEY_OTHER_VALUES};
    const char *key;
    json_t *value;
    json_object_foreach(o->names, key, value)
    {
        bool good = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            good = good || strcmp(key, known[i]) == 0;
        }
        if (!good) {
            return dw__schema_refuse(o->c, "propertyNames", "of such a schema is not supported");
        }
    }
    return DW_OK;
}

static dw_status object_body(object *o, dw__gbnf *to)
{
    bool possible = true;
    dw_status status = take_names(o);
    if (status == DW_OK) {
        status = count_members(o);
    }
    if (status == DW_OK) {
        status = gather_properties(o, &possible);
    }
    if (status == DW_OK && !possible) {
        dw__gbnf_add(to, " []");
        return DW_OK;
    }
    if (status == DW_OK) {
        status = extra_members(o);
    }
    if (status == DW_OK && o->least > (int)o->count + (o->extra != 0)) {
        return dw__schema_refuse(o->c, "minProperties",
                                 "above the count of named properties and one is not supported");
    }
    if (status == DW_OK) {
        status = make_chains(o);
    }
    if (status == DW_OK) {
        dw__gbnf_add(to, " \"{\" ws s%u ws \"}\"", o->chain[0]);
    }
    return status;
}

dw_status dw__schema_object(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    object o = {.c = c, .schema = schema, .named = json_array()};
    dw_status status = object_body(&o, to);
    for (size_t i = 0; i < o.count; i++) {
        json_decref(o.list[i].schema);
    }
    dw_free(o.list);
    dw_free(o.chain);
    json_decref(o.named);
    json_decref(o.names);
    return status;
}
