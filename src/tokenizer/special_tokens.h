/* The special tokens of a vocabulary, and a text cut at their spellings: the first half of what
 * libllama does to a text (tokenizer_st_partition of llama-vocab.cpp), in time that grows with the
 * text and the special tokens in it, and with a say in where control tokens are recognised.
 * Immutable once made. Thread: any. */
#ifndef DW_TOKENIZER_SPECIAL_TOKENS_H
#define DW_TOKENIZER_SPECIAL_TOKENS_H

#include <llama.h>

#include "base/status.h"
#include "base/stop.h"

/* A token whose spelling is cut out of a text before the text is tokenised. */
typedef struct dw_special {
    const char *text; /* libllama's, as long as the vocabulary */
    uint32_t bytes;
    int32_t token;
    bool is_control;    /* stands for what no user may say; else for a text that every text holds */
    bool taken_anyway;  /* libllama cuts it out of any text, a control token or not */
    bool strips_before; /* white space in front of it, or behind it, is dropped */
    bool strips_behind;
} dw_special;

typedef struct dw_specials {
    dw_special *items; /* [count]: longest first, then by number */
    size_t count;
    bool any_taken_anyway; /* a control token that is: see dw_specials_next_taken */
    uint32_t *slots;       /* [slot_mask + 1]: 1 + an index, or 0; by the hash of the text */
    size_t slot_mask;
    uint32_t *lengths; /* [length_count]: those that there are, each once, longest first */
    size_t length_count;
    unsigned char *starts; /* [65536 / 8]: a bit for each two bytes that one starts with */
} dw_specials;

/* Errors: DW_E_MEMORY. */
dw_status dw_specials_make(dw_specials *out, const struct llama_vocab *vocab, dw_error *err);
void dw_specials_release(dw_specials *specials);

/* Where in a text control tokens are not recognised: [from, to). */
typedef struct dw_text_range {
    size_t from;
    size_t to;
} dw_text_range;

typedef struct dw_cut_text {
    const char *text;
    size_t bytes;
    bool parse;                   /* false: control tokens are recognised nowhere */
    const dw_text_range *content; /* [content_count]: in order, apart from each other, none empty */
    size_t content_count;
    dw_stop *stop; /* may be NULL */
} dw_cut_text;

/* A special token, or text between two. */
typedef struct dw_fragment {
    size_t offset;
    size_t bytes;
    int32_t token; /* -1: text */
} dw_fragment;

typedef struct dw_fragments {
    dw_fragment *items;
    size_t count;
    size_t capacity;
} dw_fragments;

/* Cut `text`; the caller frees out->items, also after an error. Errors: DW_E_MEMORY,
 * DW_E_CANCELLED. */
dw_status dw_specials_cut(const dw_specials *specials, const dw_cut_text *text, dw_fragments *out,
                          dw_error *err);
/* The first place at `from` or behind, in text that dw_specials_cut has left, where a control
 * token is spelt that libllama would recognise all the same; `bytes` where there is none, or once
 * `stop` (may be NULL) asks. */
size_t dw_specials_next_taken(const dw_specials *specials, const char *text, size_t bytes,
                              size_t from, dw_stop *stop);

#endif
