/* Characters of UTF-8 (RFC 3629) in bytes that may be anything. Thread: any. */
#ifndef DW_BASE_UTF8_H
#define DW_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the character of UTF-8 (RFC 3629) that bytes [left] begin with; 0: they begin with none. */
static inline size_t dw_utf8_bytes(const unsigned char *bytes, size_t left)
{
    unsigned char lead = bytes[0];
    size_t count = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (count > left || lead > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < count; i++) {
        unsigned char lowest = 0x80;
        unsigned char highest = 0xbf;
        if (i == 1) { /* no longer than needed, no halves of pairs, nothing beyond U+10FFFF */
            lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : lowest;
            highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : highest;
        }
        if (bytes[i] < lowest || bytes[i] > highest) {
            return 0;
        }
    }
    return count;
}

/* A number of 21 bits at most as the bytes of its character, to [4]; returns how many. */
static inline size_t dw_utf8_put(void *to, uint32_t code)
{
    static const unsigned char firsts[] = {0, 0xc0, 0xe0, 0xf0};
    unsigned char *out = to;
    size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    for (size_t i = more; i > 0; i--) {
        out[i] = (unsigned char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (unsigned char)(firsts[more] | code);
    return more + 1;
}

/* Whether text [bytes] is whole characters. */
bool dw_text_is_utf8(const char *text, size_t bytes);
/* Whether a text can name something: at least a character, none below a space. */
bool dw_text_is_name(const char *text);

/* A message that quotes input, which may have been cut within a character, in place: one line of
 * UTF-8. What is a control character becomes a blank, each byte that is no part of a character
 * '?'. */
void dw_text_mend(char *text);

#endif
