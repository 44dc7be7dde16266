/* What libllama knows and its interface does not tell: functions of its own headers unicode.h and
 * llama-vocab.h, which it links. Tests hold what is made of them against libllama's own tokens.
 * Thread: any. */
#ifndef DW_TOKENIZER_LLAMA_INTERNALS_H
#define DW_TOKENIZER_LLAMA_INTERNALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct llama_vocab;

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of general categories, white space 0x100 and more. */
#define DW__FLAG_ACCENT_MARK 0x0010u
#define DW__FLAG_PUNCTUATION 0x0020u
#define DW__FLAG_SYMBOL 0x0040u
#define DW__FLAG_CONTROL 0x0080u
#define DW__FLAG_WHITE_SPACE 0x0100u
uint32_t dw__character_flags(uint32_t code);
uint32_t dw__character_lower(uint32_t code);
/* codes [count], each by the first character that it is made of. False: no memory. */
bool dw__characters_without_accents(uint32_t *codes, size_t count);

/* How a vocabulary wants its texts. */
typedef struct dw__vocab_options {
    bool adds_space;    /* a space in front, or behind where `space_behind` */
    bool space_behind;  /* UGM */
    bool joins_spaces;  /* UGM: several count as one, in front of a word */
    bool escapes_space; /* UGM: a space is written U+2581 */
    bool lower_case;    /* WPM */
    bool drops_accents; /* WPM */
    int32_t unknown;    /* the token; -1: none */
} dw__vocab_options;

void dw__vocab_options_of(const struct llama_vocab *vocab, dw__vocab_options *out);
/* The normaliser's table, copied into out [capacity] where it fits; returns its length. -1: no
 * memory. */
int64_t dw__vocab_charsmap(const struct llama_vocab *vocab, void *out, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
