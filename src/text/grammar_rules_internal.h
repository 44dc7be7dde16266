/* How a grammar's rules are put together: grammar_parse.c reads the text, grammar_rules.c keeps the
 * parts, grammar_check.c takes out what cannot be walked. Thread: one at a time. */
#ifndef DW_TEXT_GRAMMAR_RULES_INTERNAL_H
#define DW_TEXT_GRAMMAR_RULES_INTERNAL_H

#include "text/grammar_rules.h"

#define DW__SYMBOLS_MAX ((uint32_t)1 << 20)
#define DW__RULES_MAX ((uint32_t)1 << 18)
#define DW__CHARACTER_MAX 0x10ffffU

/* Errors of all that add: DW_E_LIMIT, DW_E_MEMORY; nothing has changed then that counts. */

/* Room for one item more behind `count` of them. A block holds a power of two, so that its capacity
 * follows from the count. */
dw_status dw__rules_grow(void **block, uint32_t count, size_t item_bytes, uint32_t limit,
                         dw_error *err);
/* A rule without alternatives. */
dw_status dw__rules_add_rule(dw_grammar_rules *rules, uint32_t *rule, dw_error *err);
/* One more alternative of symbols [count], without their END. */
dw_status dw__rules_add_alternative(dw_grammar_rules *rules, uint32_t rule,
                                    const dw_symbol *symbols, size_t count, dw_error *err);
/* One more range of characters; low <= high. It belongs to no set yet. */
dw_status dw__rules_add_range(dw_grammar_rules *rules, uint32_t low, uint32_t high, dw_error *err);
/* Sort the ranges from `first` on and join those that touch. */
void dw__rules_join_ranges(dw_grammar_rules *rules, uint32_t first);
/* Replace the joined ranges from `first` on by what lies between them. */
dw_status dw__rules_invert_ranges(dw_grammar_rules *rules, uint32_t first, dw_error *err);
/* The ranges from `first` on, joined, become a set. */
dw_status dw__rules_add_set(dw_grammar_rules *rules, uint32_t first, uint32_t *set, dw_error *err);

/* Remove the alternatives that cannot end, and refuse what cannot be walked; *culprit is the rule
 * at fault. Errors: DW_E_ARG (a message without a place), DW_E_MEMORY. */
dw_status dw__grammar_check(dw_grammar_rules *rules, uint32_t *culprit, dw_error *err);

#endif
