/* UTF-8 as libllama reads it (unicode.cpp): overlong forms, surrogates and numbers
 * beyond Unicode pass. */
#ifndef DW_TOKENIZER_UTF8_H
#define DW_TOKENIZER_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DW__UTF8_DAMAGE 0xfffdu

static inline bool dw__utf8_follows(const unsigned char *text, size_t left, size_t count)
{
    for (size_t i = 1; i <= count; i++) {
        if (i >= left || (text[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return true;
}

/* The character that text [left > 0] starts with; returns its bytes. One byte that fits nothing is
 * DW__UTF8_DAMAGE. */
static inline size_t dw__utf8_decode(const unsigned char *text, size_t left, uint32_t *code)
{
    unsigned first = text[0];
    size_t more = first < 0x80 ? 0 : first < 0xc0 ? 4 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (first >= 0xf8 || more == 4 || !dw__utf8_follows(text, left, more)) {
        *code = DW__UTF8_DAMAGE;
        return 1;
    }
    *code = more == 0 ? first : first & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        *code = *code << 6 | (text[i] & 0x3fu);
    }
    return more + 1;
}

/* How many bytes a first byte announces, whatever follows: at most `left`. */
static inline size_t dw__utf8_bytes(unsigned char first, size_t left)
{
    size_t bytes = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    return bytes < left ? bytes : left;
}

#endif
