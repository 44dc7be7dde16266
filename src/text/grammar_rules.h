/* A GBNF grammar as rules that grammar.c can walk. The notation is llama.cpp's (grammars/README.md
 * there): `name ::= alternatives`, one rule a line, with "literals", [sets], [^sets], `.`, groups,
 * * + ? {m,n}, `<[5]>` and `<text>` for one token, `!` before them for any other, # comments. It
 * begins with the rule `root`. Immutable once made. Thread: any. */
#ifndef DW_TEXT_GRAMMAR_RULES_H
#define DW_TEXT_GRAMMAR_RULES_H

#include "base/stop.h"
#include "base/status.h"

#define DW_GRAMMAR_BYTES_MAX ((size_t)1 << 20)
#define DW_GRAMMAR_REPETITIONS_MAX 10000 /* that {m,n} may count to */

typedef enum dw_symbol_kind {
    DW_SYMBOL_END, /* of an alternative */
    DW_SYMBOL_SET, /* one character of sets[value] */
    DW_SYMBOL_RULE,
    DW_SYMBOL_TOKEN,
    DW_SYMBOL_OTHER_TOKEN, /* any but this one */
} dw_symbol_kind;

typedef struct dw_symbol {
    uint32_t kind;
    uint32_t value;
} dw_symbol;

typedef struct dw_char_range {
    uint32_t low;
    uint32_t high; /* inclusive */
} dw_char_range;

typedef struct dw_char_set {
    uint32_t first; /* of ranges, sorted and apart */
    uint32_t count;
    uint32_t ascii[4]; /* a bit for each character below 128 */
} dw_char_set;

#define DW_NO_ALTERNATIVE UINT32_MAX

typedef struct dw_alternative {
    uint32_t first; /* of symbols, up to an END */
    uint32_t next;  /* DW_NO_ALTERNATIVE: none */
} dw_alternative;

typedef struct dw_grammar_rules {
    dw_symbol *symbols;
    dw_alternative *alternatives;
    uint32_t *rules;        /* [rule_count]: the first alternative */
    unsigned char *empties; /* [rule_count]: whether it may match nothing */
    /* [rule_count]: a number from 1 to component_count, the same for rules that begin with each
     * other; a rule that begins with another has no smaller one. */
    uint32_t *components;
    dw_char_set *sets;
    dw_char_range *ranges;
    uint32_t symbol_count;
    uint32_t alternative_count;
    uint32_t rule_count;
    uint32_t component_count;
    uint32_t set_count;
    uint32_t range_count;
    uint32_t root;
} dw_grammar_rules;

/* What `<text>` means: its token, or -1. */
typedef struct dw_grammar_tokens {
    uint32_t count; /* ids from 0 to count - 1 */
    int32_t (*find)(const void *user, const char *text, size_t bytes);
    const void *user;
    dw_stop *stop; /* of what finding the first tokens takes, and all that follows; may be NULL */
} dw_grammar_tokens;

/* text [bytes], UTF-8. What it makes can be finished from every state: rules that never end are
 * left out. Errors: DW_E_ARG (with line and column: not the notation, a rule undefined or defined
 * twice, left recursion, nothing that it can match), DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_grammar_rules_make(dw_grammar_rules *out, const char *text, size_t bytes,
                                const dw_grammar_tokens *tokens, dw_error *err);
void dw_grammar_rules_release(dw_grammar_rules *rules);

/* Whether the set holds a character from low to high, which are no surrogates both. */
bool dw_char_set_meets(const dw_grammar_rules *rules, uint32_t set, uint32_t low, uint32_t high);

#endif
