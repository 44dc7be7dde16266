/* Word pieces: a text is cut into words, and each word into the longest tokens that it starts with,
 * as llm_tokenizer_wpm_session of libllama's llama-vocab.cpp does it. Tokens are libllama's, but
 * that no control token is a piece of a word. Immutable once made. Thread: any. */
#ifndef DW_TOKENIZER_WORD_PIECES_H
#define DW_TOKENIZER_WORD_PIECES_H

#include "tokenizer/special_tokens.h"
#include "tokenizer/token_list.h"

typedef struct dw_word_pieces dw_word_pieces;

/* Of `vocab`, which outlives this. Errors: DW_E_MEMORY, DW_E_LIMIT. */
dw_status dw_word_pieces_create(dw_word_pieces **out, const struct llama_vocab *vocab,
                                const dw_specials *specials, dw_error *err);
void dw_word_pieces_destroy(dw_word_pieces *pieces);

/* The tokens of a text [bytes] behind those in `out`. Bytes that are not UTF-8 are left out; no
 * number may be beyond Unicode. Errors: DW_E_MEMORY, DW_E_CANCELLED. */
dw_status dw_word_pieces_tokenize(const dw_word_pieces *pieces, const char *text, size_t bytes,
                                  dw_token_list *out, dw_error *err);

#endif
