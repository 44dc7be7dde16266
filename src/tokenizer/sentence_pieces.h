/* SentencePiece's byte pairs: a text's characters are merged, the pair first whose token has the
 * highest score, as llm_tokenizer_spm_session of libllama's llama-vocab.cpp does it. Tokens are
 * libllama's, but that no merge makes a control token: a text that spells one is text. Immutable
 * once made. Thread: any. */
#ifndef DW_TOKENIZER_SENTENCE_PIECES_H
#define DW_TOKENIZER_SENTENCE_PIECES_H

#include "tokenizer/special_tokens.h"
#include "tokenizer/token_list.h"

typedef struct dw_sentence_pieces dw_sentence_pieces;

/* Of `vocab`, which outlives this. Errors: DW_E_MEMORY, DW_E_FORMAT (a byte that has no token). */
dw_status dw_sentence_pieces_create(dw_sentence_pieces **out, const struct llama_vocab *vocab,
                                    const dw_specials *specials, dw_error *err);
void dw_sentence_pieces_destroy(dw_sentence_pieces *pieces);

/* The tokens of a text [bytes], which need not be UTF-8, behind those in `out`. Errors:
 * DW_E_MEMORY, DW_E_CANCELLED. */
dw_status dw_sentence_pieces_tokenize(const dw_sentence_pieces *pieces, const char *text,
                                      size_t bytes, dw_token_list *out, dw_error *err);

#endif
