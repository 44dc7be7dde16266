/* What a unigram model makes of a text before it looks for tokens: characters replaced by a table
 * of the file, spaces escaped and joined. normalize and normalize_prefix of libllama's
 * llm_tokenizer_ugm_session (llama-vocab.cpp). Immutable once made. Thread: any. */
#ifndef DW_TOKENIZER_UNIGRAM_NORMALIZER_H
#define DW_TOKENIZER_UNIGRAM_NORMALIZER_H

#include "base/stop.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/llama_internals.h"

typedef struct dw__normalizer {
    dw__byte_trie kept;         /* user-defined tokens: what they begin with is left as it is */
    unsigned char *charsmap;    /* the next three lie in it; NULL: no table */
    const unsigned char *nodes; /* [node_count] uint32: an XOR-compressed double array */
    size_t node_count;
    const char *replacements; /* [replacement_bytes]: texts, each with a NUL behind */
    size_t replacement_bytes;
    bool adds_space;
    bool space_behind;
    bool joins_spaces;
    bool escapes_space;
} dw__normalizer;

/* Errors: DW_E_MEMORY, DW_E_LIMIT. */
dw_status dw__normalizer_make(dw__normalizer *out, const struct llama_vocab *vocab, dw_error *err);
void dw__normalizer_release(dw__normalizer *normalizer);

/* A text that grows; the caller frees `bytes`. */
typedef struct dw__normal_text {
    char *bytes; /* [count] */
    size_t count;
    size_t capacity;
} dw__normal_text;

/* Errors: DW_E_MEMORY, DW_E_LIMIT, DW_E_CANCELLED, DW_E_ARG (the table leads out of itself). */
dw_status dw__normalizer_run(const dw__normalizer *normalizer, const char *text, size_t bytes,
                             dw__normal_text *out, dw_stop *stop, dw_error *err);

#endif
