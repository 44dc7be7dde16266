/* What the files of the JSON Schema converter share. */
#ifndef DW_TEXT_JSON_GRAMMAR_INTERNAL_H
#define DW_TEXT_JSON_GRAMMAR_INTERNAL_H

#include <jansson.h>
#include <stdarg.h>

#include "text/grammar_rules.h"

/* Text that grows. A failed allocation sets `failed`, which is checked at the end. */
typedef struct dw__gbnf {
    char *bytes; /* NUL-terminated; NULL: nothing yet */
    size_t count;
    size_t capacity;
    bool failed;
} dw__gbnf;

void dw__gbnf_add(dw__gbnf *text, const char *format, ...) DW_PRINTF(2, 3);
void dw__gbnf_release(dw__gbnf *text);

/* A character of a grammar's set or string, escaped where it must be. */
void dw__gbnf_character(dw__gbnf *text, uint32_t character);
/* JSON text [bytes] as a string of the grammar. */
void dw__gbnf_literal(dw__gbnf *text, const char *json);

/* ECMA 262 regular expression, UTF-8, over the characters of a JSON string -> what stands between
 * its quotes. Errors: DW_E_FORMAT, DW_E_UNSUPPORTED (what of it, and where). */
dw_status dw__pattern_grammar(dw__gbnf *to, const char *pattern, dw_error *err);

/* Bounds of a number; `whole`: integers alone. */
typedef struct dw__bounds {
    double min; /* -INFINITY: none */
    double max;
    bool min_excluded;
    bool max_excluded;
    bool whole;
} dw__bounds;

/* The decimal numbers within the bounds, as alternatives. Errors: DW_E_UNSUPPORTED (bounds that no
 * such number lies in, or beyond 10^15). */
dw_status dw__number_grammar(dw__gbnf *to, const dw__bounds *bounds, dw_error *err);

/* What a schema and another have in common, as one schema: a new reference. NULL: `err` says why.
 * `path` is where they stand. */
json_t *dw__schema_merge(json_t *a, json_t *b, const char *path, dw_error *err);
/* Whether a keyword says nothing of which values are valid. */
bool dw__schema_is_note(const char *key);
/* Bits of DW__TYPE_*, 0: none of them. Absent: all. */
enum {
    DW__TYPE_NULL = 1,
    DW__TYPE_BOOLEAN = 2,
    DW__TYPE_INTEGER = 4,
    DW__TYPE_NUMBER = 8, /* and integers */
    DW__TYPE_STRING = 16,
    DW__TYPE_ARRAY = 32,
    DW__TYPE_OBJECT = 64,
    DW__TYPE_ALL = 127,
};
dw_status dw__schema_types(json_t *type, uint32_t *types, const char *path, dw_error *err);
bool dw__value_has_type(const json_t *value, uint32_t types);

#define DW__SCHEMA_PATH_BYTES 200

/* What a $ref has pointed at, and the rule that it has become. */
typedef struct dw__schema_target {
    const json_t *schema;
    uint32_t rule;
} dw__schema_target;

typedef struct dw__schema_converter {
    json_t *root;
    dw__gbnf out;
    uint32_t rule_count;
    dw__schema_target *targets; /* [target_count] */
    size_t target_count;
    size_t target_capacity;
    int depth;
    uint32_t converted_count;
    char path[DW__SCHEMA_PATH_BYTES]; /* of the schema being converted; cut if too long */
    size_t path_bytes;
    dw_error *err;
} dw__schema_converter;

/* Fail with the path of the schema being converted: DW_E_FORMAT and DW_E_UNSUPPORTED. */
dw_status dw__schema_wrong(dw__schema_converter *c, const char *key, const char *what);
dw_status dw__schema_refuse(dw__schema_converter *c, const char *key, const char *what);
/* Go a step down the path, and back to what enter returned. */
size_t dw__schema_enter(dw__schema_converter *c, const char *step);
void dw__schema_leave(dw__schema_converter *c, size_t before);

/* Write "sN ::= body", and release the body. */
dw_status dw__schema_rule(dw__schema_converter *c, uint32_t rule, dw__gbnf *body);
/* The rule that a schema becomes. */
dw_status dw__schema_convert(dw__schema_converter *c, json_t *schema, uint32_t *rule);
/* The same for a schema a step further down. */
dw_status dw__schema_convert_at(dw__schema_converter *c, const char *step, json_t *schema,
                                uint32_t *rule);
/* A JSON value, as a string of the grammar. */
dw_status dw__schema_literal(dw__schema_converter *c, const json_t *value, dw__gbnf *to);
/* ---- bodies of rules, by what a schema asks for ---- */

/* enum and const, without what `type` rules out. */
dw_status dw__schema_values(dw__schema_converter *c, json_t *schema, dw__gbnf *to);
dw_status dw__schema_string(dw__schema_converter *c, json_t *schema, dw__gbnf *to);
dw_status dw__schema_number(dw__schema_converter *c, json_t *schema, bool whole, dw__gbnf *to);
dw_status dw__schema_array(dw__schema_converter *c, json_t *schema, dw__gbnf *to);
dw_status dw__schema_object(dw__schema_converter *c, json_t *schema, dw__gbnf *to);
/* anyOf or oneOf, which `key` says. */
dw_status dw__schema_any_of(dw__schema_converter *c, json_t *schema, const char *key, dw__gbnf *to);

/* ---- rules of schemas that have no body of their own ---- */

dw_status dw__schema_reference(dw__schema_converter *c, json_t *schema, uint32_t *rule);
dw_status dw__schema_all_of(dw__schema_converter *c, json_t *schema, uint32_t *rule);

/* Whether `name` stands in the schema's `required`. */
bool dw__schema_requires(json_t *schema, const char *name);

#endif
