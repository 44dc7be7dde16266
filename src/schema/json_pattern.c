/* Regular expressions (ECMA 262, `pattern`) as grammar. Characters that a JSON string must escape
 * are written as their escapes; a pattern without ^ or $ may have anything before or behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_grammar_internal.h"

#define RANGES_MAX 256
#define DEPTH_MAX 50
#define CHARACTER_MAX 0x10ffffU

typedef struct range {
    uint32_t low;
    uint32_t high;
} range;

typedef struct set {
    range ranges[RANGES_MAX];
    size_t count;
} set;

typedef struct regex {
    dw__gbnf *to;
    const char *text;
    size_t at;
    dw_error *err;
} regex;

static dw_status refuse(regex *r, const char *what)
{
    return dw_fail(r->err, DW_E_UNSUPPORTED, "pattern: character %zu: %s is not supported",
                   r->at + 1, what);
}

static dw_status wrong(regex *r, const char *what)
{
    return dw_fail(r->err, DW_E_FORMAT, "pattern: character %zu: %s", r->at + 1, what);
}

/* Jansson accepts UTF-8 alone. */
static uint32_t read_character(regex *r)
{
    const unsigned char *bytes = (const unsigned char *)r->text + r->at;
    size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : bytes[0] >= 0xc0 ? 2 : 1;
    uint32_t value = length == 1 ? bytes[0] : bytes[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        value = value << 6 | (bytes[i] & 0x3fU);
    }
    r->at += length;
    return value;
}

/* ---- sets --------------------------------------------------------------------------------- */

static dw_status add(regex *r, set *to, uint32_t low, uint32_t high)
{
    if (to->count == RANGES_MAX) {
        return refuse(r, "a set of so many ranges");
    }
    to->ranges[to->count++] = (range){low, high};
    return DW_OK;
}

static int by_low(const void *a, const void *b)
{
    uint32_t x = ((const range *)a)->low;
    uint32_t y = ((const range *)b)->low;
    return (x > y) - (x < y);
}

static void invert(set *to)
{
    set out = {.count = 0};
    uint32_t next = 0;
    qsort(to->ranges, to->count, sizeof to->ranges[0], by_low);
    for (size_t i = 0; i < to->count; i++) {
        if (to->ranges[i].low > next) {
            out.ranges[out.count++] = (range){next, to->ranges[i].low - 1};
        }
        next = to->ranges[i].high >= next ? to->ranges[i].high + 1 : next;
    }
    if (next <= CHARACTER_MAX && out.count < RANGES_MAX) {
        out.ranges[out.count++] = (range){next, CHARACTER_MAX};
    }
    *to = out;
}

static bool holds(const set *from, uint32_t character)
{
    for (size_t i = 0; i < from->count; i++) {
        if (from->ranges[i].low <= character && character <= from->ranges[i].high) {
            return true;
        }
    }
    return false;
}

/* The part of a range that a JSON string may hold as it is: not below the space, no quote, no
 * backslash, no DEL, no surrogates. */
static void emit_range(dw__gbnf *to, uint32_t low, uint32_t high)
{
    static const range gaps[] = {
        {0, 0x1f}, {'"', '"'}, {'\\', '\\'}, {0x7f, 0x7f}, {0xd800, 0xdfff}};
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0] && low <= high; i++) {
        if (low < gaps[i].low) {
            uint32_t end = high < gaps[i].low ? high : gaps[i].low - 1;
            dw__gbnf_character(to, low);
            dw__gbnf_add(to, "-");
            dw__gbnf_character(to, end);
        }
        low = low > gaps[i].high ? low : gaps[i].high + 1;
    }
    if (low <= high) {
        dw__gbnf_character(to, low);
        dw__gbnf_add(to, "-");
        dw__gbnf_character(to, high);
    }
}

static void emit_set(dw__gbnf *to, const set *from)
{
    static const struct {
        uint32_t character;
        const char *escape;
    } escapes[] = {{'"', "\\\\\\\""}, {'\\', "\\\\\\\\"}, {'\n', "\\\\n"}, {'\r', "\\\\r"},
                   {'\t', "\\\\t"},   {'\b', "\\\\b"},    {'\f', "\\\\f"}};
    dw__gbnf_add(to, " ([");
    for (size_t i = 0; i < from->count; i++) {
        emit_range(to, from->ranges[i].low, from->ranges[i].high);
    }
    dw__gbnf_add(to, "]");
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        if (holds(from, escapes[i].character)) {
            dw__gbnf_add(to, " | \"%s\"", escapes[i].escape);
        }
    }
    dw__gbnf_add(to, ")");
}

/* \d \w \s and their opposites. Regular expressions differ in what these hold beyond ASCII (ECMA's
 * \w is ASCII, Python's is not): what is produced is what all agree on, so a class is taken
 * narrowly, and widely where it is what must not be. `inverted`: it stands in [^...]. */
static dw_status add_class(regex *r, set *to, char letter, bool inverted)
{
    static const range digits[] = {{'0', '9'}, {0x80, CHARACTER_MAX}};
    static const range words[] = {
        {'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {0x80, CHARACTER_MAX}};
    static const range spaces[] = {{'\t', '\r'},     {' ', ' '},       {0x1c, 0x1f},
                                   {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
                                   {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                   {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    static const struct {
        char letter;
        const range *ranges;
        size_t narrow_count;
        size_t wide_count;
    } classes[] = {{'d', digits, 1, 2}, {'w', words, 4, 5}, {'s', spaces, 2, 12}};
    set class = {.count = 0};
    bool opposite = letter >= 'A' && letter <= 'Z';
    for (size_t i = 0; i < 3; i++) {
        if (classes[i].letter == (opposite ? letter - 'A' + 'a' : letter)) {
            class.count = opposite != inverted ? classes[i].wide_count : classes[i].narrow_count;
            memcpy(class.ranges, classes[i].ranges, class.count * sizeof(range));
        }
    }
    if (opposite) {
        invert(&class);
    }
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && i < class.count; i++) {
        status = add(r, to, class.ranges[i].low, class.ranges[i].high);
    }
    return status;
}

static dw_status read_hex(regex *r, size_t digits, uint32_t *character)
{
    uint32_t value = 0;
    for (size_t i = 0; i < digits; i++, r->at++) {
        const char *all = "0123456789abcdef";
        char c = r->text[r->at];
        c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        const char *place = c != '\0' ? strchr(all, c) : NULL;
        if (place == NULL) {
            return wrong(r, "a hexadecimal digit is needed here");
        }
        value = value << 4 | (uint32_t)(place - all);
    }
    if (value >= 0xd800 && value <= 0xdfff) {
        return refuse(r, "half a surrogate pair");
    }
    *character = value;
    return DW_OK;
}

/* Behind a backslash: one character, or a class, which goes into `to`. */
static dw_status read_escape(regex *r, set *to, bool inverted, uint32_t *character, bool *is_class)
{
    static const char controls[] = "n\nr\rt\tf\fv\v";
    char c = r->text[r->at];
    *is_class = c != '\0' && strchr("dDwWsS", c) != NULL;
    if (*is_class) {
        r->at++;
        return add_class(r, to, c, inverted);
    }
    for (size_t i = 0; i + 1 < sizeof controls; i += 2) {
        if (c == controls[i]) {
            r->at++;
            *character = (uint32_t)controls[i + 1];
            return DW_OK;
        }
    }
    if (c == 'x' || c == 'u') {
        r->at++;
        return read_hex(r, c == 'x' ? 2 : 4, character);
    }
    if (c == '\0') {
        return wrong(r, "a backslash with nothing behind it");
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
        char what[] = "\\?";
        what[1] = c;
        return refuse(r, what);
    }
    *character = read_character(r);
    return DW_OK;
}

static dw_status read_member(regex *r, set *to, bool inverted, uint32_t *character, bool *is_class)
{
    *is_class = false;
    if (r->text[r->at] != '\\') {
        *character = read_character(r);
        return DW_OK;
    }
    r->at++;
    if (r->text[r->at] == 'b') {
        r->at++;
        *character = '\b';
        return DW_OK;
    }
    return read_escape(r, to, inverted, character, is_class);
}

/* "-high" behind `low` in a set; without it `low`. */
static dw_status read_range_end(regex *r, set *to, bool inverted, uint32_t low, uint32_t *high)
{
    bool is_class;
    *high = low;
    if (r->text[r->at] != '-' || r->text[r->at + 1] == ']' || r->text[r->at + 1] == '\0') {
        return DW_OK;
    }
    r->at++;
    dw_status status = read_member(r, to, inverted, high, &is_class);
    if (status != DW_OK) {
        return status;
    }
    return is_class || *high < low ? wrong(r, "no such range") : DW_OK;
}

/* Behind '['. */
static dw_status read_set(regex *r)
{
    set found = {.count = 0};
    bool inverted = r->text[r->at] == '^';
    r->at += inverted;
    while (r->text[r->at] != ']') {
        uint32_t low;
        uint32_t high;
        bool is_class;
        if (r->text[r->at] == '\0') {
            return wrong(r, "']' is missing");
        }
        dw_status status = read_member(r, &found, inverted, &low, &is_class);
        if (status != DW_OK) {
            return status;
        }
        if (is_class) {
            continue; /* added by read_member */
        }
        status = read_range_end(r, &found, inverted, low, &high);
        if (status != DW_OK) {
            return status;
        }
        status = add(r, &found, low, high);
        if (status != DW_OK) {
            return status;
        }
    }
    r->at++;
    if (inverted) {
        invert(&found);
    }
    emit_set(r->to, &found);
    return DW_OK;
}

static void emit_character(dw__gbnf *to, uint32_t character)
{
    set one = {.ranges = {{character, character}}, .count = 1};
    emit_set(to, &one);
}

/* ---- terms -------------------------------------------------------------------------------- */

static dw_status read_alternatives(regex *r, int depth, bool top);

/* Behind '('. */
static dw_status read_group(regex *r, int depth)
{
    if (depth == DEPTH_MAX) {
        return refuse(r, "nesting as deep as this");
    }
    if (r->text[r->at] == '?') {
        if (r->text[r->at + 1] != ':') {
            return refuse(r, "a group that begins with (?");
        }
        r->at += 2;
    }
    dw__gbnf_add(r->to, " (");
    dw_status status = read_alternatives(r, depth + 1, false);
    if (status != DW_OK) {
        return status;
    }
    if (r->text[r->at] != ')') {
        return wrong(r, "')' is missing");
    }
    r->at++;
    dw__gbnf_add(r->to, " )");
    return DW_OK;
}

static dw_status read_atom(regex *r, int depth)
{
    static const set dot = {.ranges = {{0, '\n' - 1},
                                       {'\n' + 1, '\r' - 1},
                                       {'\r' + 1, 0x2027},
                                       {0x202a, CHARACTER_MAX}},
                            .count = 4};
    set class = {.count = 0};
    uint32_t character;
    bool is_class = false;
    char c = r->text[r->at];
    if (c == '[' || c == '(' || c == '.' || c == '\\') {
        r->at++;
    }
    switch (c) {
    case '[':
        return read_set(r);
    case '(':
        return read_group(r, depth);
    case '.':
        emit_set(r->to, &dot);
        return DW_OK;
    case '^':
    case '$':
        return refuse(r, "^ or $ inside");
    case '*':
    case '+':
    case '?':
    case '{':
        return wrong(r, "nothing to repeat");
    case '\\': {
        dw_status status = read_escape(r, &class, false, &character, &is_class);
        if (status != DW_OK) {
            return status;
        }
        break;
    }
    default:
        character = read_character(r);
    }
    if (is_class) {
        emit_set(r->to, &class);
    } else {
        emit_character(r->to, character);
    }
    return DW_OK;
}

/* {m}, {m,}, {m,n} */
static dw_status read_counts(regex *r)
{
    const char *text = r->text + r->at + 1;
    char *end = NULL;
    unsigned long least = strtoul(text, &end, 10);
    unsigned long most = least;
    bool good = *text >= '0' && *text <= '9';
    if (good && *end == ',') {
        text = end + 1;
        most = DW_GRAMMAR_REPETITIONS_MAX;
        if (*text >= '0' && *text <= '9') {
            most = strtoul(text, &end, 10);
            good = most >= least;
        } else {
            end++;
        }
    }
    if (!good || *end != '}') {
        return wrong(r, "{m}, {m,} or {m,n} is needed");
    }
    if (least > DW_GRAMMAR_REPETITIONS_MAX || most > DW_GRAMMAR_REPETITIONS_MAX) {
        return refuse(r, "a count above 10000");
    }
    dw__gbnf_add(r->to, "{%.*s}", (int)(end - (r->text + r->at + 1)), r->text + r->at + 1);
    r->at = (size_t)(end - r->text) + 1;
    return DW_OK;
}

/* * + ? {m} {m,} {m,n}, and a ? behind them, which changes what is found but not what matches. */
static dw_status read_quantifier(regex *r)
{
    char c = r->text[r->at];
    if (c == '*' || c == '+' || c == '?') {
        dw__gbnf_add(r->to, "%c", c);
        r->at++;
    } else if (c == '{') {
        dw_status status = read_counts(r);
        if (status != DW_OK) {
            return status;
        }
    } else {
        return DW_OK;
    }
    r->at += r->text[r->at] == '?';
    return DW_OK;
}

static dw_status read_alternatives(regex *r, int depth, bool top)
{
    for (;;) {
        char c = r->text[r->at];
        dw_status status;
        if (c == '\0' || (c == ')' && !top) || (top && c == '$' && r->text[r->at + 1] == '\0')) {
            return DW_OK;
        }
        if (c == ')') {
            return wrong(r, "')' without '('");
        }
        if (c == '|') {
            dw__gbnf_add(r->to, " |");
            r->at++;
            continue;
        }
        status = read_atom(r, depth);
        if (status != DW_OK) {
            return status;
        }
        status = read_quantifier(r);
        if (status != DW_OK) {
            return status;
        }
    }
}

/* Whether a | stands outside all groups: then ^ and $ belong to its sides alone. */
static bool splits_at_top(const char *text)
{
    int depth = 0;
    bool in_set = false;
    for (; *text != '\0'; text++) {
        if (*text == '\\' && text[1] != '\0') {
            text++;
        } else if (in_set) {
            in_set = *text != ']';
        } else if (*text == '[') {
            in_set = true;
        } else {
            depth += (*text == '(') - (*text == ')');
            if (*text == '|' && depth == 0) {
                return true;
            }
        }
    }
    return false;
}

dw_status dw__pattern_grammar(dw__gbnf *to, const char *pattern, dw_error *err)
{
    regex r = {.to = to, .text = pattern, .err = err};
    size_t bytes = strlen(pattern);
    bool from_start = pattern[0] == '^';
    bool to_end =
        bytes > 0 && pattern[bytes - 1] == '$' && (bytes < 2 || pattern[bytes - 2] != '\\');
    if ((from_start || to_end) && splits_at_top(pattern)) {
        return refuse(&r, "^ or $ on one side of a |");
    }
    r.at = from_start;
    dw__gbnf_add(to, "%s (", from_start ? "" : " char*");
    dw_status status = read_alternatives(&r, 0, true);
    dw__gbnf_add(to, " )%s", to_end ? "" : " char*");
    return status;
}
