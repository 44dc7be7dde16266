/* Schema to grammar: each schema becomes a rule, s1, s2 and so on; a $ref becomes the rule of what
 * it points at, so that schemas may contain themselves. */
#include "schema/json_grammar.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "schema/json_grammar_internal.h"

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
    dw_status status = dw__schema_convert(c, schema, rule);
    dw__schema_leave(c, before);
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

static dw_status type_body(dw__schema_converter *c, json_t *schema, uint32_t type, dw__gbnf *to)
{
    switch (type) {
    case DW__TYPE_NULL:
        dw__gbnf_add(to, " null");
        return DW_OK;
    case DW__TYPE_BOOLEAN:
        dw__gbnf_add(to, " boolean");
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
    dw_status status = dw__schema_types(type, &types, c->path, c->err);
    if (status != DW_OK) {
        return dw_fail_within(c->err, status, "schema");
    }
    types = type != NULL ? types : meant_types(schema);
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

/* A schema's body, or its rule where it has one already. */
static dw_status convert_object(dw__schema_converter *c, json_t *schema, dw__gbnf *body,
                                uint32_t *rule)
{
    static const char *const choices[] = {"anyOf", "oneOf"};
    dw_status status = check_keywords(c, schema);
    *rule = 0;
    if (status != DW_OK) {
        return status;
    }
    if (json_object_get(schema, "$ref") != NULL) {
        return dw__schema_reference(c, schema, rule);
    }
    if (json_object_get(schema, "allOf") != NULL) {
        return dw__schema_all_of(c, schema, rule);
    }
    for (size_t i = 0; i < 2; i++) {
        if (json_object_get(schema, choices[i]) != NULL) {
            return dw__schema_any_of(c, schema, choices[i], body);
        }
    }
    if (json_object_get(schema, "enum") != NULL || json_object_get(schema, "const") != NULL) {
        return dw__schema_values(c, schema, body);
    }
    return typed_body(c, schema, body);
}

dw_status dw__schema_convert(dw__schema_converter *c, json_t *schema, uint32_t *rule)
{
    dw__gbnf body = {.bytes = NULL};
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
        dw__gbnf_add(&body, json_is_true(schema) ? " value" : " []");
    } else if (json_is_object(schema)) {
        status = convert_object(c, schema, &body, &known);
    } else {
        status = dw_fail(c->err, DW_E_FORMAT, "schema: %s: a schema is an object, or true or false",
                         c->path);
    }
    c->depth--;
    if (status != DW_OK || known != 0) {
        *rule = known;
        dw__gbnf_release(&body);
        return status;
    }
    *rule = ++c->rule_count;
    return dw__schema_rule(c, *rule, &body);
}

static dw_status make(dw__schema_converter *c)
{
    uint32_t rule;
    dw__gbnf_add(&c->out, "%s", basics);
    dw__gbnf_add(
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
        dw__gbnf_release(&c.out);
        return status;
    }
    *grammar = c.out.bytes;
    return DW_OK;
}
