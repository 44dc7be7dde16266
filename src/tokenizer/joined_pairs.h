/* Which characters stand beside each other in the tokens of a vocabulary. SentencePiece's merging
 * joins characters into tokens only: between two that no token holds side by side nothing is ever
 * joined, and a text may be cut there without another token. Immutable once made. Thread: any. */
#ifndef DW_TOKENIZER_JOINED_PAIRS_H
#define DW_TOKENIZER_JOINED_PAIRS_H

#include <llama.h>

#include "base/status.h"

typedef struct dw_joined_pairs dw_joined_pairs;

/* Of all tokens. Errors: DW_E_MEMORY. */
dw_status dw_joined_pairs_create(dw_joined_pairs **out, const struct llama_vocab *vocab,
                                 dw_error *err);
void dw_joined_pairs_destroy(dw_joined_pairs *pairs);

/* Whether some token holds this one character [bytes] beside another. */
bool dw_joined_pairs_has(const dw_joined_pairs *pairs, const char *character, size_t bytes);
/* The first place at least `least` bytes behind `from` where `text`, spaces written as U+2581, may
 * be cut; `bytes` where there is none. `from` is such a place, or 0. */
size_t dw_joined_pairs_cut(const dw_joined_pairs *pairs, const char *text, size_t bytes,
                           size_t from, size_t least);

#endif
