/* UTF-8 (RFC 3629) a byte at a time, without U+0000: what has begun may become a character of a
 * range. Thread: any. */
#ifndef DW_TEXT_UTF8_STEP_H
#define DW_TEXT_UTF8_STEP_H

#include <stdbool.h>
#include <stdint.h>

#define DW_CHARACTER_MAX 0x10ffffU

typedef struct dw_utf8_step {
    uint32_t value; /* of the bytes so far */
    unsigned char length;
    unsigned char left; /* bytes that it lacks; 0: none has begun */
    uint32_t low;       /* what it is, or may become */
    uint32_t high;
} dw_utf8_step;

/* false: this byte cannot come here; the step is worth nothing then. */
static inline bool dw_utf8_feed(dw_utf8_step *step, unsigned char byte)
{
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
    if (step->left == 0) {
        if ((byte >= 0x80 && byte < 0xc2) || byte > 0xf4) {
            return false;
        }
        step->length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        step->left = (unsigned char)(step->length - 1);
        step->value = step->length == 1 ? byte : byte & (0x7fU >> step->length);
    } else if ((byte & 0xc0) == 0x80) {
        step->left--;
        step->value = step->value << 6 | (byte & 0x3fU);
    } else {
        return false;
    }
    step->low = step->value << 6 * step->left;
    step->high = step->low | (((uint32_t)1 << 6 * step->left) - 1);
    step->low = step->low < least[step->length] ? least[step->length] : step->low;
    step->high = step->high > DW_CHARACTER_MAX ? DW_CHARACTER_MAX : step->high;
    return step->low <= step->high && !(step->low >= 0xd800 && step->high <= 0xdfff);
}

#endif
