/* Schema to grammar: each schema becomes a rule, s1, s2 and so on, of which equal ones are one; a
 * $ref becomes the rule of what it points at, so that schemas may contain themselves. */
#include "schema/json_grammar.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_bounds.h"
#include "base/log.h"
#include "base/stack.h"
#include "base/stop.h"
#include "schema/json_grammar_internal.h"

#define SCHEMA_BYTES_MAX ((size_t)1 << 20)
#define SCHEMA_VALUES_MAX 2000000U
#define DEPTH_MAX 100
#define CONVERTED_MAX 10000 /* merging may multiply what a schema says */
#define RULES_MAX 65536U
#define REPEATED_MAX 150000 /* items of counts, of which each is a few parts of a grammar */

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
    "value ::= null | boolean | number | string | array | object\n"
    "keychar ::= [^\\x00-\\x1F\\x22\\x5C\\x7F-\\U0010FFFF]\n";

dw_status dw__schema_look(dw__schema_converter *c)
{
    return ++c->looks % 16 == 0 ? dw_stop_check(c->stop, "schema", c->err) : DW_OK;
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* Whether all that was added to the text is there. */
static dw_status check_text(dw__schema_converter *c, const dw__gbnf *text)
{
    return !text->failed ? DW_OK
           : text->capacity > 4 * DW_GRAMMAR_BYTES_MAX
               ? dw_fail(c->err, DW_E_LIMIT, "schema: its grammar has more than %zu bytes",
                         DW_GRAMMAR_BYTES_MAX)
               : dw_fail(c->err, DW_E_MEMORY, "no memory for a schema's grammar");
}

/* "sN ::= body"; the body is released. Nothing at all is written "": a rule must not end in its
 * first line break. */
dw_status dw__schema_rule(dw__schema_converter *c, uint32_t rule, dw__gbnf *body)
{
    dw_status status = check_text(c, body);
    if (status == DW_OK) {
        dw__gbnf_add(&c->out, "s%u ::=%s\n", rule, body->count > 0 ? body->bytes : " \"\"");
        status = check_text(c, &c->out);
    }
    dw__gbnf_release(body);
    return status;
}

dw_status dw__schema_shared_rule(dw__schema_converter *c, dw__gbnf *body, uint32_t *rule)
{
    const char *text = body->count > 0 ? body->bytes : "";
    dw_status status = check_text(c, body);
    if (status == DW_OK && dw__index_find(&c->shared, text, body->count, rule)) {
        dw__gbnf_release(body);
        return DW_OK;
    }
    if (status == DW_OK && c->rule_count >= RULES_MAX) {
        status = dw_fail(c->err, DW_E_LIMIT, "schema: over %u rules, once written out", RULES_MAX);
    }
    if (status == DW_OK && !dw__index_add(&c->shared, text, body->count, c->rule_count + 1)) {
        status = dw_fail(c->err, DW_E_MEMORY, "no memory for a schema's grammar");
    }
    if (status != DW_OK) {
        dw__gbnf_release(body);
        return status;
    }
    *rule = ++c->rule_count;
    return dw__schema_rule(c, *rule, body);
}

dw_status dw__schema_note(dw__schema_converter *c, const char *key, const char *what)
{
    dw__gbnf text = {.bytes = NULL};
    uint32_t known;
    dw__gbnf_add(&text, "'%s' %s", key, what);
    bool good = !text.failed;
    if (good && !dw__index_find(&c->noted, text.bytes, text.count, &known)) {
        good = dw__index_add(&c->noted, text.bytes, text.count, 0);
        dw__gbnf_add(&c->notes, "schema: %s: %s\n", c->path, text.bytes);
    }
    dw__gbnf_release(&text);
    return good && !c->notes.failed
               ? DW_OK
               : dw_fail(c->err, DW_E_MEMORY, "no memory for a schema's notes");
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

dw_status dw__schema_convert_at(dw__schema_converter *c, const char *step, json_t *schema,
                                uint32_t *rule)
{
    size_t before = dw__schema_enter(c, step);
    c->level++;
    dw_status status = dw__schema_convert(c, schema, rule);
    c->level--;
    dw__schema_leave(c, before);
    return status;
}

/* ---- schemas ------------------------------------------------------------------------------ */

dw_status dw__schema_types(dw__schema_converter *c, json_t *type, uint32_t *types)
{
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    size_t count = json_is_array(type) ? json_array_size(type) : 1;
    *types = type == NULL ? DW__TYPE_ALL : 0;
    for (size_t i = 0; type != NULL && i < count; i++) {
        json_t *one = json_is_array(type) ? json_array_get(type, i) : type;
        const char *name = json_string_value(one);
        uint32_t bits = 0;
        for (uint32_t k = 0; name != NULL && k < 7; k++) {
            bits = strcmp(name, names[k]) == 0 ? (uint32_t)1 << k : bits;
        }
        if (bits == 0) {
            return dw_fail(c->err, DW_E_FORMAT, "schema: %s: type: '%.40s' is none", c->path,
                           name != NULL ? name : "(not a string)");
        }
        *types |= bits == DW__TYPE_NUMBER ? bits | DW__TYPE_INTEGER : bits;
    }
    return DW_OK;
}

bool dw__value_has_type(const dw__schema_converter *c, const json_t *value, uint32_t types)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return (types & DW__TYPE_NULL) != 0;
    case JSON_TRUE:
    case JSON_FALSE:
        return (types & DW__TYPE_BOOLEAN) != 0;
    case JSON_INTEGER: {
        dw__decimal number = dw__numbers_get(&c->numbers, value);
        return (types & DW__TYPE_NUMBER) != 0 ||
               ((types & DW__TYPE_INTEGER) != 0 && dw__decimal_is_whole(&number));
    }
    case JSON_STRING:
        return (types & DW__TYPE_STRING) != 0;
    case JSON_ARRAY:
        return (types & DW__TYPE_ARRAY) != 0;
    case JSON_OBJECT:
        return (types & DW__TYPE_OBJECT) != 0;
    default:
        return false; /* there are none: numbers are places in a table */
    }
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
                 {"patternProperties", DW__TYPE_OBJECT},
                 {"propertyNames", DW__TYPE_OBJECT},
                 {"minProperties", DW__TYPE_OBJECT},
                 {"maxProperties", DW__TYPE_OBJECT},
                 {"unevaluatedProperties", DW__TYPE_OBJECT},
                 {"items", DW__TYPE_ARRAY},
                 {"prefixItems", DW__TYPE_ARRAY},
                 {"minItems", DW__TYPE_ARRAY},
                 {"maxItems", DW__TYPE_ARRAY},
                 {"uniqueItems", DW__TYPE_ARRAY},
                 {"contains", DW__TYPE_ARRAY},
                 {"unevaluatedItems", DW__TYPE_ARRAY},
                 {"pattern", DW__TYPE_STRING},
                 {"format", DW__TYPE_STRING},
                 {"minLength", DW__TYPE_STRING},
                 {"maxLength", DW__TYPE_STRING},
                 {"contentEncoding", DW__TYPE_STRING},
                 {"contentMediaType", DW__TYPE_STRING},
                 {"minimum", DW__TYPE_NUMBER},
                 {"maximum", DW__TYPE_NUMBER},
                 {"exclusiveMinimum", DW__TYPE_NUMBER},
                 {"exclusiveMaximum", DW__TYPE_NUMBER},
                 {"multipleOf", DW__TYPE_NUMBER}};
    uint32_t types = 0;
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (json_object_get(schema, hints[i].key) != NULL) {
            types |= hints[i].type;
        }
    }
    return types != 0 ? types : DW__TYPE_ALL;
}

/* Whether the schema asks anything of the values of a type. */
static bool asks_nothing(json_t *schema)
{
    const char *key;
    json_t *value;
    json_object_foreach(schema, key, value)
    {
        if (strcmp(key, "type") != 0) {
            return false;
        }
    }
    return true;
}

static dw_status type_body(dw__schema_converter *c, json_t *schema, uint32_t type, dw__gbnf *to)
{
    if (dw__schema_excludes_kind(schema, type)) {
        dw__gbnf_add(to, " []"); /* of arrays and objects, all for the one that is excluded */
        return DW_OK;
    }
    switch (type) {
    case DW__TYPE_NULL:
        dw__gbnf_add(to, " null");
        return DW_OK;
    case DW__TYPE_BOOLEAN:
        dw__schema_boolean(schema, to);
        return DW_OK;
    case DW__TYPE_INTEGER:
    case DW__TYPE_NUMBER:
        return dw__schema_number(c, schema, type == DW__TYPE_INTEGER, to);
    case DW__TYPE_STRING:
        return dw__schema_string(c, schema, to);
    case DW__TYPE_ARRAY:
        return dw__schema_array(c, schema, to);
    default:
        return dw__schema_object(c, schema, to);
    }
}

static dw_status typed_body(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    uint32_t types;
    bool any = false;
    json_t *type = json_object_get(schema, "type");
    dw_status status = dw__schema_types(c, type, &types);
    types = type != NULL ? types : meant_types(schema);
    if (status == DW_OK && types == DW__TYPE_ALL && asks_nothing(schema)) {
        dw__gbnf_add(to, " value");
        return DW_OK;
    }
    for (uint32_t bit = 1; status == DW_OK && bit <= DW__TYPE_OBJECT; bit <<= 1) {
        bool covered = bit == DW__TYPE_INTEGER && (types & DW__TYPE_NUMBER) != 0;
        if ((types & bit) != 0 && !covered) {
            dw__gbnf_add(to, "%s", any ? " |" : "");
            status = type_body(c, schema, bit, to);
            any = true;
        }
    }
    dw__gbnf_add(to, "%s", any ? "" : " []");
    return status;
}

dw_status dw__schema_enter_depth(dw__schema_converter *c)
{
    if (c->depth == DEPTH_MAX) {
        return dw_fail(c->err, DW_E_LIMIT, "schema: %.80s...: more than %d deep", c->path,
                       DEPTH_MAX);
    }
    if (++c->converted_count > CONVERTED_MAX || c->rule_count > RULES_MAX) {
        return dw_fail(c->err, DW_E_LIMIT, "schema: over %d schemas, or %u rules, once written out",
                       CONVERTED_MAX, RULES_MAX);
    }
    c->depth++;
    return DW_OK;
}

dw_status dw__schema_body(dw__schema_converter *c, json_t *flat, dw__gbnf *to)
{
    bool chosen = false;
    if (json_is_boolean(flat)) {
        dw__gbnf_add(to, json_is_true(flat) ? " value" : " []");
        return DW_OK;
    }
    dw_status status = dw_stop_check(c->stop, "schema", c->err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__schema_choices(c, flat, to, &chosen);
    if (status != DW_OK || chosen) {
        return status;
    }
    return json_object_get(flat, "enum") != NULL ? dw__schema_values(c, flat, to)
                                                 : typed_body(c, flat, to);
}

/* A schema that is not made of others that must hold too. */
static dw_status convert_plain(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    dw__gbnf body = {.bytes = NULL};
    json_t *flat = json_is_object(schema) ? dw__schema_without_notes(schema) : json_incref(schema);
    dw_status status = json_is_object(flat) ? dw__schema_normal(c, flat) : DW_OK;
    if (status == DW_OK) {
        status = dw__schema_body(c, flat, &body);
    }
    json_decref(flat);
    if (status != DW_OK) {
        dw__gbnf_release(&body);
        return status;
    }
    return dw__schema_shared_rule(c, &body, rule);
}

dw_status dw__schema_convert(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    const char *key;
    if (!json_is_object(schema) && !json_is_boolean(schema)) {
        return dw_fail(c->err, DW_E_FORMAT, "schema: %s: a schema is an object, or true or false",
                       c->path);
    }
    dw_status status = dw__schema_enter_depth(c);
    if (status != DW_OK) {
        return status;
    }
    bool combined =
        dw__schema_reference_in(schema, &key) != NULL || json_object_get(schema, "allOf") != NULL;
    status = combined ? dw__schema_combined(c, schema, rule) : convert_plain(c, schema, rule);
    c->depth--;
    return status;
}

static dw_status make(dw__schema_converter *c)
{
    uint32_t rule;
    dw__gbnf_add(&c->out, "%s", basics);
    dw_status status = dw__schema_convert(c, c->root, &rule);
    if (status != DW_OK) {
        return status;
    }
    dw__gbnf_add(&c->out, "root ::= s%u\n", rule);
    status = check_text(c, &c->out);
    if (status == DW_OK && c->out.count > DW_GRAMMAR_BYTES_MAX) {
        return dw_fail(c->err, DW_E_LIMIT, "schema: its grammar has more than %zu bytes",
                       DW_GRAMMAR_BYTES_MAX);
    }
    return status;
}

/* The tree of a schema, with places for its numbers. */
static dw_status read_schema(dw__schema_converter *c, const char *schema, size_t bytes)
{
    static const dw_json_bounds bounds = {SCHEMA_BYTES_MAX, SCHEMA_VALUES_MAX, UINT32_MAX, 24};
    size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES;
    json_error_t where;
    size_t count;
    dw_status status = dw_json_check("schema", schema, bytes, &bounds, c->err);
    if (status != DW_OK) {
        return status;
    }
    char *text = dw__numbers_init(&c->numbers)
                     ? dw__numbers_replace(&c->numbers, schema, bytes, &count)
                     : NULL;
    if (text == NULL) {
        return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
    }
    c->root = json_loadb(text, count, flags, &where);
    dw_free(text);
    if (c->root != NULL) {
        return DW_OK;
    }
    /* What is wrong, and where, is told of the text as it was given. */
    json_decref(
        json_loadb(bytes > 0 ? schema : "", bytes, flags | JSON_DECODE_INT_AS_REAL, &where));
    return dw_fail(c->err, DW_E_FORMAT, "schema: line %d, column %d: %s", where.line, where.column,
                   where.text);
}

static void release(dw__schema_converter *c)
{
    json_decref(c->root);
    dw__numbers_release(&c->numbers);
    dw__gbnf_release(&c->out);
    dw__gbnf_release(&c->notes);
    dw__index_release(&c->noted);
    dw__index_release(&c->shared);
    dw__index_release(&c->strings);
    dw__index_release(&c->merged);
    dw_free(c->targets);
}

static char *take_text(dw__gbnf *text)
{
    char *out = text->bytes;
    *text = (dw__gbnf){.bytes = NULL};
    return out;
}

/* One try, with strings held to a length. *too_large: it may be worth another. */
static dw_status try_make(dw__schema_converter *of, const char *schema, size_t bytes,
                          char **grammar, char **notes, bool *too_large)
{
    dw__schema_converter c = *of;
    int longest = c.longest;
    dw_status status = read_schema(&c, schema, bytes);
    if (status == DW_OK) {
        status = make(&c);
    }
    *too_large = c.out.failed || c.out.count > DW_GRAMMAR_BYTES_MAX ||
                 (status == DW_OK && c.repeated > REPEATED_MAX);
    if (status == DW_OK && longest < DW_GRAMMAR_REPETITIONS_MAX && c.was_cut) {
        char what[80];
        (void)snprintf(what, sizeof what, "above %d is cut to that: the grammar would be too large",
                       longest);
        status = dw__schema_note(&c, "maxLength", what);
    }
    if (status == DW_OK) {
        *grammar = take_text(&c.out);
        *notes = take_text(&c.notes);
    }
    release(&c);
    return status;
}

typedef struct making {
    const char *schema; /* [bytes] */
    size_t bytes;
    dw_stop *stop;
    char *grammar;
    char *notes;
} making;

static dw_status make_here(void *arg, dw_error *err)
{
    static const int lengths[] = {DW_GRAMMAR_REPETITIONS_MAX, 1000, 200, 50};
    making *m = arg;
    dw_status status = DW_OK;
    bool too_large = true;
    for (size_t i = 0;
         too_large && status != DW_E_CANCELLED && i < sizeof lengths / sizeof lengths[0]; i++) {
        dw_free(m->grammar);
        dw_free(m->notes);
        m->grammar = NULL;
        m->notes = NULL;
        dw__schema_converter of = {
            .path = "#", .path_bytes = 1, .longest = lengths[i], .stop = m->stop, .err = err};
        status = try_make(&of, m->schema, m->bytes, &m->grammar, &m->notes, &too_large);
    }
    return status;
}

static dw_status make_grammar(making *m, dw_error *err)
{
    if (m->bytes > SCHEMA_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "schema: %zu bytes, limit %zu", m->bytes, SCHEMA_BYTES_MAX);
    }
    return dw_stack_run(make_here, m, err); /* schemas hold schemas */
}

dw_status dw_json_grammar_make_noted(char **grammar, char **notes, const char *schema, size_t bytes,
                                     dw_error *err)
{
    dw_error own;
    making m = {.schema = schema, .bytes = bytes};
    dw_status status = make_grammar(&m, err != NULL ? err : &own);
    *grammar = m.grammar;
    *notes = m.notes;
    return status;
}

dw_status dw_json_grammar_make_for(char **grammar, const char *schema, size_t bytes, dw_stop *stop,
                                   dw_error *err)
{
    dw_error own;
    making m = {.schema = schema, .bytes = bytes, .stop = stop};
    dw_status status = make_grammar(&m, err != NULL ? err : &own);
    for (const char *line = m.notes; line != NULL && *line != '\0';) {
        size_t length = strcspn(line, "\n");
        dw_log(DW_LOG_WARN, "%.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
    dw_free(m.notes);
    *grammar = m.grammar;
    return status;
}

dw_status dw_json_grammar_make(char **grammar, const char *schema, size_t bytes, dw_error *err)
{
    return dw_json_grammar_make_for(grammar, schema, bytes, NULL, err);
}
