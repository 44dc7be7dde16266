/* Pre-tokenizers of byte-pair vocabularies: the patterns by which a text is cut into words before
 * pairs are merged. libllama knows them by the names in files; several names share a pattern. For
 * some it has code of its own; the others it hands to std::regex, which recurses once a character
 * and ends the stack on a long match. Those are matched here, without recursion and in time linear
 * in the text; tests hold each against libllama. Thread: any. */
#ifndef DW_TOKENIZER_PRE_TOKENIZER_H
#define DW_TOKENIZER_PRE_TOKENIZER_H

#include "base/stop.h"

typedef struct dw_pre_tokenizer dw_pre_tokenizer;

typedef enum dw_split_kind {
    DW_SPLIT_UNKNOWN, /* a name that is not listed here */
    DW_SPLIT_BY_CODE, /* libllama splits texts of any length by code of its own */
    DW_SPLIT_RAW,     /* words of raw UTF-8, whose tokens libllama asserts about */
    DW_SPLIT_OURS,    /* it uses std::regex: long texts are split here */
} dw_split_kind;

/* How libllama splits for the name in tokenizer.ggml.pre; "" where a file has none. *out: what
 * splits such texts here; with DW_SPLIT_BY_CODE what splits long words; for the others NULL. */
dw_split_kind dw_pre_tokenizer_find(const dw_pre_tokenizer **out, const char *name);
/* Whether a word that is a token stays one, whatever the merges say. */
bool dw_pre_tokenizer_keeps_tokens(const dw_pre_tokenizer *of);

/* A text as characters. */
typedef struct dw__characters {
    const uint32_t *codes; /* [count] */
    const uint16_t *kinds; /* [count]: dw__character_kinds of each */
    unsigned char *starts; /* [count + 1]: 1 where a word starts; the last is an end */
    size_t count;
    dw_stop *stop; /* may be NULL; where it asks, starts are set as far as it came */
} dw__characters;

/* Bits that patterns tell apart, from libllama's flags of the character. */
uint16_t dw__character_kinds(uint32_t code, uint32_t flags);
/* Set starts[i] for each word's first character, and starts[count]. */
void dw_pre_tokenizer_split(const dw_pre_tokenizer *by, const dw__characters *text);

#endif
