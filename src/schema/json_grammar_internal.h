/* What the files of the JSON Schema converter share. */
#ifndef DW_SCHEMA_JSON_GRAMMAR_INTERNAL_H
#define DW_SCHEMA_JSON_GRAMMAR_INTERNAL_H

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

/* ---- texts and what they stand for -------------------------------------------------------- */

typedef struct dw__index {
    struct dw__index_entry *entries; /* [count] */
    size_t count;
    size_t capacity;
    uint32_t *slots; /* [slot_count], a power of two: places in entries from 1 */
    size_t slot_count;
} dw__index;

bool dw__index_find(const dw__index *index, const char *key, size_t bytes, uint32_t *value);
/* A key that is not there yet. false: no memory. */
bool dw__index_add(dw__index *index, const char *key, size_t bytes, uint32_t value);
void dw__index_release(dw__index *index);

/* ---- numbers ------------------------------------------------------------------------------ */

/* 0.DIGITS * 10^point, exactly. */
typedef struct dw__decimal {
    const char *digits; /* [count], not 0 at either end; none for zero. Of the table of numbers */
    uint32_t count;
    int32_t point; /* beyond +-10^8 cut to that */
    bool negative;
} dw__decimal;

/* The numbers of a schema: in its tree, each stands as an integer, which is its place here. Equal
 * numbers have one place. */
typedef struct dw__numbers {
    struct dw__number *list; /* [count] */
    size_t count;
    size_t capacity;
    dw__index index;
} dw__numbers;

/* 0 to 9 are at the places 0 to 9. false: no memory. */
bool dw__numbers_init(dw__numbers *numbers);
void dw__numbers_release(dw__numbers *numbers);
/* json [bytes] with places for its numbers, [*out_bytes], for dw_free. NULL: no memory. */
char *dw__numbers_replace(dw__numbers *numbers, const char *json, size_t bytes, size_t *out_bytes);
/* The opposite, of JSON text with its NUL. */
char *dw__numbers_restore(const dw__numbers *numbers, const char *json);
dw__decimal dw__numbers_get(const dw__numbers *numbers, const json_t *value);
/* A value of the tree for a number in JSON's notation. A new reference; NULL: no memory. */
json_t *dw__numbers_make(dw__numbers *numbers, const char *text);

/* -1, 0 or 1. */
int dw__decimal_compare(const dw__decimal *a, const dw__decimal *b);
bool dw__decimal_is_whole(const dw__decimal *value);
/* Of a whole number; cut to INT32_MAX. */
int dw__decimal_as_int(const dw__decimal *value);

typedef struct dw__bound {
    dw__decimal at;
    bool excluded;
    bool given;
} dw__bound;

typedef struct dw__bounds {
    dw__bound low;
    dw__bound high;
    dw__bound step; /* multipleOf, above 0 */
    bool whole;     /* integers alone */
} dw__bounds;

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
#define DW__SCHEMA_PATH_BYTES 200

/* Keywords of the converter's own, for what is merged and cannot be told otherwise: lists. */
#define DW__KEY_PATTERNS "dw:patterns"             /* further ones */
#define DW__KEY_FORMATS "dw:formats"               /* further ones */
#define DW__KEY_OTHER_PATTERNS "dw:other-patterns" /* that strings do not match */
#define DW__KEY_OTHER_VALUES "dw:other-values"     /* that are not valid */
#define DW__KEY_MORE "dw:more" /* schemas to be merged in once anyOf and the like are dealt with */
#define DW__KEY_FOLDED "dw:folded" /* patterns are part of the properties that match them */

/* What a $ref has pointed at, or a schema that was merged, and its rule. */
typedef struct dw__schema_target {
    const json_t *schema; /* NULL: a merged one */
    uint32_t rule;
    uint32_t level; /* of values in values, where it was begun */
    bool done;
} dw__schema_target;

typedef struct dw__schema_converter {
    json_t *root;
    dw__numbers numbers;
    dw__gbnf out;
    dw__gbnf notes;    /* a line each */
    dw__index noted;   /* what has been noted */
    dw__index shared;  /* bodies of rules */
    dw__index strings; /* what strings must be, to its rule */
    dw__index merged;  /* merged schemas, to their place in targets */
    size_t merged_bytes;
    uint64_t pattern_work; /* steps spent on automata */
    uint64_t repeated;     /* items that counts are written out to */
    int longest;           /* what a greater number of characters is cut to */
    bool was_cut;
    uint32_t rule_count;
    dw__schema_target *targets; /* [target_count] */
    size_t target_count;
    size_t target_capacity;
    int depth;
    uint32_t level;
    uint32_t converted_count;
    uint64_t compared; /* values with others, so far */
    size_t listed_at;  /* where in an enum the value stands that is judged by it, as a hint */
    char path[DW__SCHEMA_PATH_BYTES]; /* of the schema being converted; cut if too long */
    size_t path_bytes;
    struct dw_stop *stop; /* may be NULL */
    uint32_t looks;       /* at it, of which most are left out */
    dw_error *err;
} dw__schema_converter;

/* Whether to go on: for loops whose rounds take microseconds. Errors: DW_E_CANCELLED. */
dw_status dw__schema_look(dw__schema_converter *c);

/* So many values are about to be compared. Errors: DW_E_LIMIT: there are too many in all. */
dw_status dw__schema_compare(dw__schema_converter *c, uint64_t count);
/* Fail with the path of the schema being converted: DW_E_FORMAT and DW_E_UNSUPPORTED. */
dw_status dw__schema_wrong(dw__schema_converter *c, const char *key, const char *what);
dw_status dw__schema_refuse(dw__schema_converter *c, const char *key, const char *what);
/* Go a step down the path, and back to what enter returned. */
size_t dw__schema_enter(dw__schema_converter *c, const char *step);
void dw__schema_leave(dw__schema_converter *c, size_t before);

/* What the schema says that the grammar does not hold texts to: once for each `what`. */
dw_status dw__schema_note(dw__schema_converter *c, const char *key, const char *what);

/* Count one more schema, a step deeper; c->depth-- goes back. */
dw_status dw__schema_enter_depth(dw__schema_converter *c);

/* Write "sN ::= body", and release the body. */
dw_status dw__schema_rule(dw__schema_converter *c, uint32_t rule, dw__gbnf *body);
/* The same with a number of its own, or that of an equal rule. */
dw_status dw__schema_shared_rule(dw__schema_converter *c, dw__gbnf *body, uint32_t *rule);
/* The rule that a schema becomes. */
dw_status dw__schema_convert(dw__schema_converter *c, json_t *schema, uint32_t *rule);
/* The same for a schema of a value within, a step further down. */
dw_status dw__schema_convert_at(dw__schema_converter *c, const char *step, json_t *schema,
                                uint32_t *rule);
/* A JSON value, as a string of the grammar. */
dw_status dw__schema_literal(dw__schema_converter *c, const json_t *value, dw__gbnf *to);

/* ---- schemas as values of JSON -------------------------------------------------------------- */

/* Bits of DW__TYPE_* that `type` names. Absent: all. */
dw_status dw__schema_types(dw__schema_converter *c, json_t *type, uint32_t *types);
bool dw__value_has_type(const dw__schema_converter *c, const json_t *value, uint32_t types);
/* Whether a keyword says nothing of which values are valid, or is none. */
bool dw__schema_is_note(const char *key);
/* A copy without such keywords: a new reference. */
json_t *dw__schema_without_notes(json_t *schema);
/* One form for what may be written in several: draft 4's exclusive bounds, draft 7's lists of
 * items, const. Changes the schema, not what is in it. */
dw_status dw__schema_normal(dw__schema_converter *c, json_t *schema);
/* What a schema and another have in common, as one schema: a new reference. Of two that speak of
 * what is not evaluated, `a` is the outer one. */
dw_status dw__schema_merge(dw__schema_converter *c, json_t *a, json_t *b, json_t **out);
/* The schema with what it refers to, and with allOf, merged in: a new reference, of normal form. */
dw_status dw__schema_flat(dw__schema_converter *c, json_t *schema, json_t **out);
/* What a flat schema says of a property: a new reference, or NULL: nothing. */
dw_status dw__schema_of_property(dw__schema_converter *c, json_t *schema, const char *name,
                                 json_t **out);
/* $ref, $recursiveRef or $dynamicRef, and which of them; NULL: none. */
json_t *dw__schema_reference_in(json_t *schema, const char **key);
/* What it points at, borrowed from the root. */
dw_status dw__schema_resolve(dw__schema_converter *c, const char *key, json_t *reference,
                             json_t **out);
/* A schema of values that are not valid against this one: a new reference; NULL: none can be
 * told. */
dw_status dw__schema_negate(dw__schema_converter *c, json_t *schema, json_t **out);
/* Whether no value can be valid against both; false where that is not known. */
dw_status dw__schema_apart(dw__schema_converter *c, json_t *a, json_t *b, bool *apart);

typedef enum dw__verdict { DW__INVALID, DW__UNKNOWN, DW__VALID } dw__verdict;
dw_status dw__schema_judge(dw__schema_converter *c, json_t *schema, json_t *value,
                           dw__verdict *verdict);
dw_status dw__schema_judge_flat(dw__schema_converter *c, json_t *schema, json_t *value,
                                dw__verdict *verdict);
/* Whether `name` stands in the schema's `required`. */
bool dw__schema_requires(json_t *schema, const char *name);
/* The whole numbers under two keys, 0 and INT32_MAX where they are not there; more than a grammar
 * can count is cut at the top, and refused at the bottom. */
dw_status dw__schema_counts(dw__schema_converter *c, json_t *schema, const char *const *keys,
                            int *least, int *most);

/* ---- bodies of rules, by what a flat schema asks for ---------------------------------------- */

dw_status dw__schema_body(dw__schema_converter *c, json_t *flat, dw__gbnf *to);
/* anyOf, oneOf, if, not, and what depends on properties; *chosen: whether there are such. */
dw_status dw__schema_choices(dw__schema_converter *c, json_t *schema, dw__gbnf *to, bool *chosen);
dw_status dw__schema_values(dw__schema_converter *c, json_t *schema, dw__gbnf *to);
void dw__schema_boolean(json_t *schema, dw__gbnf *to);
/* Whether a value of this type, null, array or object, is excluded. */
bool dw__schema_excludes_kind(json_t *schema, uint32_t type);
dw_status dw__schema_string(dw__schema_converter *c, json_t *schema, dw__gbnf *to);
dw_status dw__schema_number(dw__schema_converter *c, json_t *schema, bool whole, dw__gbnf *to);
dw_status dw__schema_array(dw__schema_converter *c, json_t *schema, dw__gbnf *to);
dw_status dw__schema_object(dw__schema_converter *c, json_t *schema, dw__gbnf *to);
/* The decimal numbers within the bounds, as alternatives; *written: whether there are any. Errors:
 * DW_E_UNSUPPORTED (too many digits). */
dw_status dw__number_grammar(dw__schema_converter *c, const dw__bounds *bounds, dw__gbnf *to,
                             bool *written);
/* {least,most} behind an item, less `taken` of both. */
void dw__schema_repeat(dw__schema_converter *c, dw__gbnf *to, int least, int most, int taken);

/* ---- rules of schemas that are made of others ----------------------------------------------- */

dw_status dw__schema_combined(dw__schema_converter *c, json_t *schema, uint32_t *rule);

/* ---- strings -------------------------------------------------------------------------------- */

/* Whether a pattern finds something in a text. */
dw_status dw__pattern_matches(dw__schema_converter *c, const char *pattern, const char *text,
                              bool *matches);

#endif
