/* Which tokens may come next, by a grammar: a pushdown automaton over the characters of the tokens'
 * text. It holds all stacks that what was accepted may have led to, those
 * with the same first symbol as one. Text that is not
 * UTF-8 (RFC 3629), or holds U+0000, is never allowed, whatever the grammar says; a token may end
 * inside a character.
 * A control token counts as one without text, unless dw_grammar_spell_control was called: only
 * `<...>` in the grammar allows it. The tokens that end a generation never count by their text;
 * they are allowed where the grammar has been matched to its end.
 * Thread: one at a time. */
#ifndef DW_GRAMMAR_GRAMMAR_H
#define DW_GRAMMAR_GRAMMAR_H

#include "text/grammar_rules.h"
#include "text/token_texts.h"

typedef struct dw_grammar dw_grammar;

#define DW_GRAMMAR_TABLE_BYTES_MAX ((size_t)16 << 20)
/* Of work that a call may take: a stack looked at, or a symbol passed on the way to what comes
 * first. All tokens accepted since the beginning may take as many, and 4,096 more for each. */
#define DW_GRAMMAR_STEPS_MAX 67108864U

/* text [bytes]; `texts` outlives the grammar, `find` is called until this returns.
 * Errors: those of dw_grammar_rules_make; DW_E_LIMIT (it takes too many steps to begin). */
dw_status dw_grammar_create(dw_grammar **out, const dw_token_texts *texts, const char *text,
                            size_t bytes, const dw_grammar_tokens *tokens, dw_error *err);
void dw_grammar_destroy(dw_grammar *grammar);
/* Who is asked from now on whether a call should be left, which is then DW_E_CANCELLED and has
 * changed nothing; NULL: nobody. */
void dw_grammar_set_stop(dw_grammar *grammar, dw_stop *stop);
/* From now on control tokens count by their text too: for the formats of tool calls, whose markers
 * are written in grammars as text and are tokens of their own in some vocabularies. */
void dw_grammar_spell_control(dw_grammar *grammar);
/* Begin anew and go on past text [bytes]. Errors: DW_E_ARG (the grammar does not allow it),
 * DW_E_LIMIT, DW_E_MEMORY; on error the grammar is at its beginning. */
dw_status dw_grammar_begin(dw_grammar *grammar, const char *text, size_t bytes, dw_error *err);

/* A bit for each token of the vocabulary, 64 a word, none beyond it; until the next such call for
 * the grammar. What is found on the way is remembered, DW_GRAMMAR_TABLE_BYTES_MAX at most.
 * Errors: DW_E_LIMIT (DW_GRAMMAR_STEPS_MAX, or more ways than can be remembered),
 * DW_E_MEMORY. */
dw_status dw_grammar_mask(dw_grammar *grammar, const uint64_t **allowed, dw_error *err);
static inline bool dw_grammar_has(const uint64_t *allowed, uint32_t token)
{
    return (allowed[token / 64] >> token % 64 & 1) != 0;
}
/* The same for one token of the vocabulary. */
dw_status dw_grammar_allows(dw_grammar *grammar, int32_t token, bool *allowed, dw_error *err);
/* Go on past a token. Errors: DW_E_ARG (it is not allowed), DW_E_LIMIT, DW_E_MEMORY; on error the
 * grammar is where it was. */
dw_status dw_grammar_accept(dw_grammar *grammar, int32_t token, dw_error *err);
/* From now on a call takes no more steps than this, DW_GRAMMAR_STEPS_MAX at most. */
void dw_grammar_limit_steps(dw_grammar *grammar, uint64_t steps_max);
/* The steps that the last call took. */
uint64_t dw_grammar_steps(const dw_grammar *grammar);
/* The steps of all tokens that were accepted since the beginning. */
uint64_t dw_grammar_accepted_steps(const dw_grammar *grammar);
/* Whether what was accepted is a whole text of the grammar. */
bool dw_grammar_complete(const dw_grammar *grammar);

#endif
