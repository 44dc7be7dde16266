/* Byte-pair encoding of words, for texts that libllama cannot split (pre_tokenizer.h): the same
 * merges in the same order. Immutable once made. Thread: any. */
#ifndef DW_TOKENIZER_BYTE_PAIRS_H
#define DW_TOKENIZER_BYTE_PAIRS_H

#include <llama.h>

#include "gguf/gguf.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_list.h"

typedef struct dw_byte_pairs dw_byte_pairs;

/* The merges of `gguf` between tokens of `vocab`, which was loaded from it. Both outlive this.
 * Errors: DW_E_MEMORY, DW_E_FORMAT. */
dw_status dw_byte_pairs_create(dw_byte_pairs **out, const dw_gguf *gguf,
                               const struct llama_vocab *vocab, dw_error *err);
void dw_byte_pairs_destroy(dw_byte_pairs *pairs);

/* The tokens of a text [bytes], split by `by`, behind those in `out`. Bytes that are not UTF-8
 * count as U+FFFD; none may be beyond Unicode. Errors: DW_E_MEMORY,
 * DW_E_CANCELLED. */
dw_status dw_byte_pairs_tokenize(const dw_byte_pairs *pairs, const dw_pre_tokenizer *by,
                                 const char *text, size_t bytes, dw_token_list *out, dw_error *err);

#endif
