#include "base/json_mend.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

#define ESCAPE_BYTES 6    /* \uXXXX */
#define INTEGER_DIGITS 19 /* of the largest integer */
#define DOUBLE_DIGITS 309 /* of the largest double, in front of its point */
#define EXPONENT_MAX 1000000000L

typedef struct mending {
    const char *text;
    size_t bytes;
    char *out; /* room for all, see dw_json_mend */
    size_t count;
    bool halves_only;
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
    if (is_high || is_low || (unit == 0 && !m->halves_only)) {
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

/* A number's digits, from `at` on -> behind them. */
static size_t digits_end(const mending *m, size_t at)
{
    while (at < m->bytes && is_digit(m->text[at])) {
        at++;
    }
    return at;
}

/* The exponent at `at`, if one is there -> behind it; *value: what it is, or far beyond any. */
static size_t exponent_end(const mending *m, size_t at, long *value)
{
    size_t from = at + 1;
    *value = 0;
    if (at >= m->bytes || (m->text[at] != 'e' && m->text[at] != 'E')) {
        return at;
    }
    const bool negative = from < m->bytes && m->text[from] == '-';
    from += from < m->bytes && (m->text[from] == '-' || m->text[from] == '+') ? 1 : 0;
    const size_t end = digits_end(m, from);
    for (size_t i = from; i < end; i++) {
        *value = *value < EXPONENT_MAX ? *value * 10 + (m->text[i] - '0') : *value;
    }
    *value = negative ? -*value : *value;
    return end > from ? end : at;
}

/* Whether the number at `at`, of as many digits in front of its point as the largest double, is
 * beyond it: by the digits that tell one double from the next. */
static bool passes_largest(const mending *m, size_t at)
{
    static const char largest[] = "17976931348623157";
    size_t same = 0;
    for (; at < m->bytes && same < sizeof largest - 1; at++) {
        if (m->text[at] == '.') {
            continue;
        }
        if (!is_digit(m->text[at]) || m->text[at] != largest[same]) {
            return is_digit(m->text[at]) && m->text[at] > largest[same];
        }
        same++;
    }
    return false;
}

/* Whether the number [at, end), whose point is or would be at `whole_end`, is beyond the largest
 * double. Zeros in front of its first digit, behind the point too, are none of its digits. */
static bool is_beyond(const mending *m, size_t at, size_t whole_end, size_t end, long exponent)
{
    size_t first = at;
    while (first < end && (m->text[first] == '0' || m->text[first] == '.')) {
        first++;
    }
    if (first == end || !is_digit(m->text[first])) {
        return false; /* it is 0 */
    }
    const double digits =
        first < whole_end ? (double)(whole_end - first) : 1.0 - (double)(first - whole_end);
    const double magnitude = digits + (double)exponent;
    return magnitude > DOUBLE_DIGITS || (magnitude == DOUBLE_DIGITS && passes_largest(m, first));
}

/* A number without its sign -> bytes of the text. */
static size_t put_number(mending *m, size_t at)
{
    long exponent = 0;
    const size_t whole_end = digits_end(m, at);
    const size_t whole = whole_end - at;
    const bool has_point = whole_end < m->bytes && m->text[whole_end] == '.';
    const size_t end =
        exponent_end(m, has_point ? digits_end(m, whole_end + 1) : whole_end, &exponent);
    const bool negative = at > 0 && m->text[at - 1] == '-';
    const char *most = negative ? "9223372036854775808" : "9223372036854775807";
    const bool is_number = (!has_point || digits_end(m, whole_end + 1) > whole_end + 1) &&
                           (whole == 1 || m->text[at] != '0'); /* as JSON writes them */
    if (is_number && is_beyond(m, at, whole_end, end, exponent)) {
        put(m, "1e308", 5); /* not longer than what it is for */
        m->mended = true;
        return end - at;
    }
    put(m, m->text + at, end - at);
    if (end == whole_end && (whole > INTEGER_DIGITS ||
                             (whole == INTEGER_DIGITS && memcmp(m->text + at, most, whole) > 0))) {
        put(m, ".0", 2);
        m->mended = true;
    }
    return end - at;
}

static char *mend(const char *text, size_t bytes, bool halves_only, size_t *count)
{
    size_t room = 0;
    bool in_string = false;
    *count = 0;
    if (!dw_add_size(&room, bytes, bytes / INTEGER_DIGITS * 2 + 1)) {
        return NULL;
    }
    mending m = {
        .text = text, .bytes = bytes, .out = dw_alloc(room, 1), .halves_only = halves_only};
    for (size_t at = 0; m.out != NULL && at < bytes;) {
        const char c = text[at];
        if (in_string && c == '\\') {
            at += put_escape(&m, at);
        } else if (!in_string && !halves_only && is_digit(c)) {
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
    m.out[m.count] = '\0';
    *count = m.count;
    return m.out;
}

char *dw_json_mend(const char *text, size_t bytes, size_t *count)
{
    return mend(text, bytes, false, count);
}

char *dw_json_mend_halves(const char *text, size_t bytes, size_t *count)
{
    return mend(text, bytes, true, count);
}
