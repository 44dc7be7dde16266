/* A vocabulary of single bytes and a few tokens more, to walk grammars over. */
#ifndef DW_TESTS_GRAMMAR_FIXTURE_H
#define DW_TESTS_GRAMMAR_FIXTURE_H

#include "grammar/grammar.h"

enum {
    TOKEN_AB = 256,
    TOKEN_ABC,
    TOKEN_E_ACUTE,
    TOKEN_HALF, /* the first byte of a character */
    TOKEN_END,  /* ends a generation */
    TOKEN_X,    /* a control token, "<x>" in a grammar */
    TOKEN_COUNT,
};

extern const dw_grammar_tokens byte_tokens;

/* For dw_token_texts_release. */
dw_token_texts byte_texts(void);
/* 1: the grammar allows the text's bytes and may end there; 0: it may go on; -1: it does not.
 * A grammar that does not parse fails the test. */
int grammar_follows(const char *grammar, const char *input);
/* A text of the grammar, by chance: NUL-terminated into text [capacity]. Ends sooner or later. */
void grammar_generate(const char *grammar, uint32_t seed, char *text, size_t capacity);

#endif
