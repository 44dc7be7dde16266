/* Which characters stand beside each other in the tokens of a vocabulary. SentencePiece's merging
 * joins characters into tokens only: between two that no token holds side by side nothing is ever
 * joined, and a text may be cut there without another token. Immutable once made. Thread: any. */
#ifndef DW_TOKENIZER_JOINED_PAIRS_H
#define DW_TOKENIZER_JOINED_PAIRS_H

#include <llama.h>

#include "base/status.h"
#include "base/stop.h"

typedef struct dw_joined_pairs dw_joined_pairs;

/* Of all tokens. Errors: DW_E_MEMORY. */
dw_status dw_joined_pairs_create(dw_joined_pairs **out, const struct llama_vocab *vocab,
                                 dw_error *err);
void dw_joined_pairs_destroy(dw_joined_pairs *pairs);

typedef struct dw__joined_text {
    const char *text; /* [bytes], spaces written as U+2581 */
    size_t bytes;
    dw_stop *stop; /* may be NULL */
} dw__joined_text;

/* The first place at least `least` bytes behind `from` where a text may be cut; its end where there
 * is none, or once it is asked to stop. `from` is such a place, or 0. */
size_t dw_joined_pairs_cut(const dw_joined_pairs *pairs, const dw__joined_text *text, size_t from,
                           size_t least);

#endif
