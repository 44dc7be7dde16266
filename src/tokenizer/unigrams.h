/* A unigram model: of all ways to cut a text into tokens that with the highest sum of scores, found
 * by Viterbi's algorithm as llm_tokenizer_ugm_session of libllama's llama-vocab.cpp does it. Tokens
 * are libllama's, but that a text which spells a control token is text, whatever type the file
 * gives that token. Immutable once made. Thread: any. */
#ifndef DW_TOKENIZER_UNIGRAMS_H
#define DW_TOKENIZER_UNIGRAMS_H

#include "tokenizer/special_tokens.h"
#include "tokenizer/token_list.h"

typedef struct dw_unigrams dw_unigrams;

/* Of `vocab`, which outlives this. Errors: DW_E_MEMORY, DW_E_LIMIT, DW_E_FORMAT. */
dw_status dw_unigrams_create(dw_unigrams **out, const struct llama_vocab *vocab,
                             const dw_specials *specials, dw_error *err);
void dw_unigrams_destroy(dw_unigrams *unigrams);

/* The tokens of a text [bytes], which need not be UTF-8, behind those in `out`. Errors:
 * DW_E_MEMORY, DW_E_LIMIT (256 MiB once it is normalised), DW_E_CANCELLED, DW_E_ARG (the file's
 * normaliser is damaged). */
dw_status dw_unigrams_tokenize(const dw_unigrams *unigrams, const char *text, size_t bytes,
                               dw_token_list *out, dw_error *err);

#endif
