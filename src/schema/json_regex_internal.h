/* Regular expressions of a schema: a tree, and an automaton over the characters of a string, which
 * can be met with others, turned into its opposite, and bounded in length. Thread: one at a
 * time. */
#ifndef DW_SCHEMA_JSON_REGEX_INTERNAL_H
#define DW_SCHEMA_JSON_REGEX_INTERNAL_H

#include "schema/json_grammar_internal.h"

#define DW__CHAR_MAX 0x10ffffU
#define DW__SET_RANGES_MAX 256
#define DW__REGEX_NONE UINT32_MAX

typedef struct dw__char_range {
    uint32_t low;
    uint32_t high; /* inclusive */
} dw__char_range;

typedef struct dw__char_set {
    dw__char_range ranges[DW__SET_RANGES_MAX];
    size_t count;
} dw__char_set;

/* A set as one item of a grammar, over what stands in a JSON string. */
void dw__set_grammar(dw__gbnf *to, const dw__char_set *from);

/* ---- trees ---------------------------------------------------------------------------------- */

enum {
    DW__REGEX_SET,    /* first, count: of ranges */
    DW__REGEX_ALL,    /* first: of a list by next; one behind the other */
    DW__REGEX_ANY,    /* the same; one of them */
    DW__REGEX_REPEAT, /* first, least, most (UINT32_MAX: no limit) */
    DW__REGEX_START,
    DW__REGEX_END,
    DW__REGEX_AHEAD,  /* first; negated */
    DW__REGEX_BEHIND, /* first; negated */
};

typedef struct dw__regex_node {
    uint32_t kind;
    uint32_t first;
    uint32_t count;
    uint32_t least;
    uint32_t most;
    uint32_t next;
    bool negated;
} dw__regex_node;

typedef struct dw__regex {
    dw__regex_node *nodes; /* [count] */
    size_t count;
    size_t capacity;
    dw__char_range *ranges; /* [range_count] */
    size_t range_count;
    size_t range_capacity;
    uint32_t root;
} dw__regex;

/* `wide`: classes such as \w hold all that any reading of them holds, for what must not match; else
 * what all agree on. Errors: DW_E_FORMAT, DW_E_UNSUPPORTED (what of it, and where), DW_E_MEMORY. */
dw_status dw__regex_parse(dw__regex *tree, const char *pattern, bool wide, dw_error *err);
void dw__regex_release(dw__regex *tree);
/* What stands between a string's quotes, where a grammar can say it as it is; false: `to` is as it
 * was. */
bool dw__regex_grammar(dw__schema_converter *c, dw__gbnf *to, const dw__regex *tree);

/* ---- automata ------------------------------------------------------------------------------- */

/* Deterministic and complete: characters fall into intervals, each of which leads on from a
 * state. */
typedef struct dw__automaton {
    uint32_t *starts; /* [interval_count]: the first character of each, from 0 */
    size_t interval_count;
    uint32_t *next;         /* [state_count, interval_count] */
    unsigned char *accepts; /* [state_count] */
    size_t state_count;
    uint32_t first; /* state */
} dw__automaton;

void dw__automaton_release(dw__automaton *automaton);
/* The strings that a pattern finds something in; `opposite`: those that it does not. Errors: those
 * of dw__regex_parse, DW_E_UNSUPPORTED (too many states). */
dw_status dw__automaton_make(dw__automaton *out, const char *pattern, bool opposite,
                             dw__schema_converter *c);
/* What both take; *a is released and replaced. */
dw_status dw__automaton_meet(dw__automaton *a, const dw__automaton *b, dw__schema_converter *c);
/* The same with a pattern, or its opposite; *to may be empty. */
dw_status dw__automaton_meet_pattern(dw__schema_converter *c, dw__automaton *to,
                                     const char *pattern, bool opposite);
/* Names that a flat schema of strings allows, and that are none of the texts `unless`; their least
 * and most lengths. */
dw_status dw__names_automaton(dw__schema_converter *c, json_t *flat, json_t *unless,
                              dw__automaton *to, int *least, int *most);
bool dw__automaton_takes(const dw__automaton *automaton, const char *text);
/* live [state_count]: whether a string is taken from there on. false: none is from the first. */
bool dw__automaton_live(const dw__automaton *automaton, unsigned char *live);

/* The rule of what stands between the quotes, of `least` to `most` characters (INT32_MAX: no
 * limit); *rule 0: nothing does. */
dw_status dw__automaton_rule(dw__schema_converter *c, const dw__automaton *automaton, int least,
                             int most, uint32_t *rule);

#endif
