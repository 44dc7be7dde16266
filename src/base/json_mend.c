#include "base/json_mend.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

#define ESCAPE_BYTES 6    /* \uXXXX */
#define INTEGER_DIGITS 19 /* of the largest integer */

typedef struct mending {
    const char *text;
    size_t bytes;
    char *out; /* room for all, see dw_json_mend */
    size_t count;
    bool mended;
} mending;

static void put(mending *m, const char *bytes, size_t count)
{
    memcpy(m->out + m->count, bytes, count);
    m->count += count;
}

/* Whether an escape \uXXXX stands there -> its UTF-16 unit. */
static bool unit_at(const mending *m, size_t at, unsigned *unit)
{
    if (at > m->bytes || m->bytes - at < ESCAPE_BYTES || memcmp(m->text + at, "\\u", 2) != 0) {
        return false;
    }
    *unit = 0;
    for (size_t i = 2; i < ESCAPE_BYTES; i++) {
        char c = m->text[at + i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit == 16) {
            return false;
        }
        *unit = *unit * 16 + digit;
    }
    return true;
}

/* A backslash and what belongs to it -> bytes of the text. */
static size_t put_escape(mending *m, size_t at)
{
    unsigned unit = 0;
    unsigned next = 0;
    if (!unit_at(m, at, &unit)) {
        size_t length = m->bytes - at >= 2 ? 2 : 1;
        put(m, m->text + at, length);
        return length;
    }
    const bool is_high = unit >= 0xD800 && unit < 0xDC00;
    const bool is_low = unit >= 0xDC00 && unit < 0xE000;
    if (is_high && unit_at(m, at + ESCAPE_BYTES, &next) && next >= 0xDC00 && next < 0xE000) {
        put(m, m->text + at, 2 * (size_t)ESCAPE_BYTES);
        return 2 * (size_t)ESCAPE_BYTES;
    }
    if (is_high || is_low || unit == 0) {
        put(m, "\\ufffd", ESCAPE_BYTES);
        m->mended = true;
    } else {
        put(m, m->text + at, ESCAPE_BYTES);
    }
    return ESCAPE_BYTES;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits -> bytes of the text. */
static size_t put_number(mending *m, size_t at)
{
    size_t end = at;
    while (end < m->bytes && is_digit(m->text[end])) {
        end++;
    }
    const size_t length = end - at;
    const char after = end < m->bytes ? m->text[end] : '\0';
    const bool negative = at > 0 && m->text[at - 1] == '-';
    const size_t sign = negative ? 1 : 0;
    const char before = at > sign ? m->text[at - sign - 1] : '\0';
    const char *most = negative ? "9223372036854775808" : "9223372036854775807";
    const bool is_part = after == '.' || after == 'e' || after == 'E' || before == '.' ||
                         before == '+' || before == 'e' || before == 'E';
    put(m, m->text + at, length);
    if (!is_part && (length > INTEGER_DIGITS ||
                     (length == INTEGER_DIGITS && memcmp(m->text + at, most, length) > 0))) {
        put(m, ".0", 2);
        m->mended = true;
    }
    return length;
}

char *dw_json_mend(const char *text, size_t bytes, size_t *count)
{
    size_t room = 0;
    bool in_string = false;
    *count = 0;
    if (!dw_add_size(&room, bytes, bytes / INTEGER_DIGITS * 2 + 1)) {
        return NULL;
    }
    mending m = {.text = text, .bytes = bytes, .out = dw_alloc(room, 1)};
    for (size_t at = 0; m.out != NULL && at < bytes;) {
        const char c = text[at];
        if (in_string && c == '\\') {
            at += put_escape(&m, at);
        } else if (!in_string && is_digit(c)) {
            at += put_number(&m, at);
        } else {
            in_string = in_string != (c == '"');
            put(&m, &c, 1);
            at++;
        }
    }
    if (!m.mended) {
        dw_free(m.out);
        return NULL;
    }
    *count = m.count;
    return m.out;
}
