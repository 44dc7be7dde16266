#include "serving/line.h"

#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "text/utf8_step.h"

#define NUMBER_MAX (UINT32_MAX / 10 - 1)

typedef struct reading {
    const char *at;
    const char *end;
} reading;

static bool take(reading *from, const char *words, size_t count)
{
    bool there = (size_t)(from->end - from->at) >= count && memcmp(from->at, words, count) == 0;
    from->at += there ? count : 0;
    return there;
}

/* Digits, without a nought in front of others. */
static bool take_number(reading *from, uint32_t *number)
{
    const char *first = from->at;
    uint32_t value = 0;
    while (from->at < from->end && *from->at >= '0' && *from->at <= '9') {
        if (value > NUMBER_MAX) {
            return false;
        }
        value = value * 10 + (uint32_t)(*from->at++ - '0');
    }
    *number = value;
    return from->at > first && (*first != '0' || from->at == first + 1);
}

/* The four digits behind "\u" as UTF-8 -> to [3]; how many bytes. 0: no character alone, or U+0000.
 */
static size_t escaped(reading *from, char to[3])
{
    uint32_t value = 0;
    if (from->end - from->at < 4) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        int digit = dw_hex_digit(*from->at++);
        if (digit < 0) {
            return 0;
        }
        value = value << 4 | (uint32_t)digit;
    }
    if (value == 0 || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    return dw_utf8_put(to, value);
}

/* What is behind a backslash. */
static bool take_escape(reading *from, dw_text *to)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    char bytes[3];
    if (from->at == from->end) {
        return false;
    }
    char name = *from->at++;
    if (name == 'u') {
        size_t count = escaped(from, bytes);
        return count > 0 && dw_text_add(to, bytes, count);
    }
    const char *found = memchr(names, name, sizeof names - 1);
    return found != NULL && dw_text_add(to, &values[found - names], 1);
}

/* Bytes at the front that stand for themselves; SIZE_MAX: they are no UTF-8. */
static size_t plain_bytes(const reading *from)
{
    dw_utf8_step step = {.left = 0};
    const char *at = from->at;
    while (at < from->end && *at != '"' && *at != '\\') {
        unsigned char byte = (unsigned char)*at++;
        if (byte < 0x20 || !dw_utf8_feed(&step, byte)) {
            return SIZE_MAX;
        }
    }
    return step.left == 0 ? (size_t)(at - from->at) : SIZE_MAX;
}

static bool take_text(reading *from, dw_text *to)
{
    to->count = 0;
    while (from->at < from->end) {
        size_t count = plain_bytes(from);
        if (count == SIZE_MAX || !dw_text_add(to, from->at, count)) {
            return false;
        }
        from->at += count;
        if (take(from, "\"", 1)) {
            return true;
        }
        if (!take(from, "\\", 1) || !take_escape(from, to)) {
            return false;
        }
    }
    return false;
}

bool dw_line_read(dw_line *line, const char *bytes, size_t count)
{
    static const char choice[] = "{\"c\":";
    static const char tokens[] = ",\"k\":";
    static const char text[] = ",\"t\":\"";
    reading from = {bytes, bytes + count};
    return take(&from, choice, sizeof choice - 1) && take_number(&from, &line->choice) &&
           take(&from, tokens, sizeof tokens - 1) && take_number(&from, &line->tokens) &&
           take(&from, text, sizeof text - 1) && take_text(&from, line->text) &&
           take(&from, "}", 1) && from.at == from.end;
}
