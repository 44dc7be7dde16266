/* The texts of a vocabulary's tokens as a tree (byte_trie.h). */
#ifndef DW_TOKENIZER_TOKEN_TRIE_OF_H
#define DW_TOKENIZER_TOKEN_TRIE_OF_H

#include "tokenizer/byte_trie.h"
#include "tokenizer/special_tokens.h"

/* Of the tokens that have one of `attributes` (enum llama_token_attr), of all where it is 0; but of
 * those that are control tokens by `specials`, NULL: of none. Errors: DW_E_MEMORY, DW_E_LIMIT. */
dw_status dw__token_trie_of(dw__byte_trie *out, const struct llama_vocab *vocab,
                            const dw_specials *specials, uint32_t attributes, dw_error *err);

#endif
