/* GBNF to rules. Every repetition becomes rules of its own: S{2,4} is S S b, b ::= S a | (nothing),
 * a ::= S | (nothing); S* is l, l ::= S l | (nothing). */
#include "text/grammar_rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define SYMBOLS_MAX ((uint32_t)1 << 20)
#define RULES_MAX ((uint32_t)1 << 18)
#define DEPTH_MAX 100
#define UNBOUNDED UINT32_MAX
#define CHARACTER_MAX 0x10ffffU
#define NOWHERE SIZE_MAX

typedef struct named_rule {
    const char *name; /* [bytes], in the text */
    size_t bytes;
    size_t defined;    /* where in the text; NOWHERE: not yet */
    size_t referenced; /* where first */
    uint32_t rule;
} named_rule;

typedef struct parser {
    dw_grammar_rules *to;
    const dw_grammar_tokens *tokens;
    const char *text;
    size_t bytes;
    size_t at;
    dw_error *err;

    named_rule *names; /* [name_count] */
    uint32_t name_count;
    uint32_t *name_slots; /* open addressing over names, index + 1; [slot_count] */
    uint32_t slot_count;
    uint32_t *owners; /* [rule_count]: into names */
    uint32_t owner;

    dw_symbol *pending; /* of alternatives that have not ended, the innermost last */
    uint32_t pending_count;
} parser;

/* ---- errors and room ---------------------------------------------------------------------- */

static dw_status fail_at(parser *p, size_t at, const char *format, ...) DW_PRINTF(3, 4);

static dw_status fail_at(parser *p, size_t at, const char *format, ...)
{
    char words[120];
    size_t line = 1;
    size_t start = 0;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    for (size_t i = 0; i < at && i < p->bytes; i++) {
        if (p->text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    return dw_fail(p->err, DW_E_ARG, "grammar: line %zu, column %zu: %s", line, at - start + 1,
                   words);
}

/* Room for one more item: blocks of powers of two, a limit on all. */
static dw_status grow(parser *p, void **block, uint32_t count, size_t item_bytes, uint32_t limit)
{
    if (count >= limit) {
        return dw_fail(p->err, DW_E_LIMIT,
                       "grammar: more than %u parts once its repetitions are written out", limit);
    }
    if ((count & (count - 1)) != 0) {
        return DW_OK; /* doubled at powers of two only */
    }
    void *larger = dw_realloc(*block, count == 0 ? 1 : (size_t)count * 2, item_bytes);
    if (larger == NULL) {
        return dw_fail(p->err, DW_E_MEMORY, "no memory for a grammar");
    }
    *block = larger;
    return DW_OK;
}

static dw_status push(parser *p, dw_symbol_kind kind, uint32_t value)
{
    void *block = p->pending;
    dw_status status = grow(p, &block, p->pending_count, sizeof *p->pending, SYMBOLS_MAX);
    p->pending = block;
    if (status == DW_OK) {
        p->pending[p->pending_count++] = (dw_symbol){kind, value};
    }
    return status;
}

static dw_status add_symbol(parser *p, dw_symbol symbol)
{
    void *block = p->to->symbols;
    dw_status status = grow(p, &block, p->to->symbol_count, sizeof *p->to->symbols, SYMBOLS_MAX);
    p->to->symbols = block;
    if (status == DW_OK) {
        p->to->symbols[p->to->symbol_count++] = symbol;
    }
    return status;
}

static dw_status add_rule(parser *p, uint32_t *rule)
{
    uint32_t count = p->to->rule_count;
    void *block = p->to->rules;
    dw_status status = grow(p, &block, count, sizeof *p->to->rules, RULES_MAX);
    p->to->rules = block;
    if (status == DW_OK) {
        block = p->owners;
        status = grow(p, &block, count, sizeof *p->owners, RULES_MAX);
        p->owners = block;
    }
    if (status == DW_OK) {
        p->to->rules[count] = DW_NO_ALTERNATIVE;
        p->owners[count] = p->owner;
        *rule = p->to->rule_count++;
    }
    return status;
}

static dw_status add_alternative(parser *p, uint32_t rule, const dw_symbol *symbols, size_t count)
{
    dw_grammar_rules *to = p->to;
    void *block = to->alternatives;
    dw_status status =
        grow(p, &block, to->alternative_count, sizeof *to->alternatives, SYMBOLS_MAX);
    to->alternatives = block;
    uint32_t first = to->symbol_count;
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        status = add_symbol(p, symbols[i]);
    }
    if (status == DW_OK) {
        status = add_symbol(p, (dw_symbol){DW_SYMBOL_END, 0});
    }
    if (status == DW_OK) {
        to->alternatives[to->alternative_count] = (dw_alternative){first, to->rules[rule]};
        to->rules[rule] = to->alternative_count++;
    }
    return status;
}

/* ---- characters --------------------------------------------------------------------------- */

static char peek(const parser *p, size_t ahead)
{
    return p->at + ahead < p->bytes ? p->text[p->at + ahead] : '\0';
}

static void skip_space(parser *p, bool newlines)
{
    for (;;) {
        char c = peek(p, 0);
        if (c == '#') {
            while (p->at < p->bytes && p->text[p->at] != '\n' && p->text[p->at] != '\r') {
                p->at++;
            }
        } else if (c == ' ' || c == '\t' || (newlines && (c == '\n' || c == '\r'))) {
            p->at++;
        } else {
            return;
        }
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

static dw_status hex(parser *p, size_t digits, uint32_t *character)
{
    uint32_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = peek(p, 2 + i);
        uint32_t digit = is_digit(c)            ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                : 16;
        if (digit == 16) {
            return fail_at(p, p->at, "\\%c needs %zu hexadecimal digits", peek(p, 1), digits);
        }
        value = value << 4 | digit;
    }
    if (value > CHARACTER_MAX || (value >= 0xd800 && value <= 0xdfff)) {
        return fail_at(p, p->at, "U+%04X is no character", value);
    }
    *character = value;
    p->at += 2 + digits;
    return DW_OK;
}

static dw_status escaped(parser *p, uint32_t *character)
{
    static const char plain[] = "\\\"[]-";
    char c = peek(p, 1);
    switch (c) {
    case 'x':
        return hex(p, 2, character);
    case 'u':
        return hex(p, 4, character);
    case 'U':
        return hex(p, 8, character);
    case 't':
        *character = '\t';
        break;
    case 'r':
        *character = '\r';
        break;
    case 'n':
        *character = '\n';
        break;
    default:
        if (c == '\0' || strchr(plain, c) == NULL) {
            return fail_at(p, p->at,
                           "\\%c is no escape; there are \\n \\r \\t \\\\ \\\" \\[ \\] "
                           "\\- \\xHH \\uHHHH \\UHHHHHHHH",
                           c >= ' ' && c <= '~' ? c : '?');
        }
        *character = (uint32_t)c;
    }
    p->at += 2;
    return DW_OK;
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
static dw_status character(parser *p, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)peek(p, 0);
    if (lead == '\\') {
        return escaped(p, out);
    }
    size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
    uint32_t value = length == 1 ? lead : lead & (0x7fU >> length);
    bool good = length > 0 && p->at + length <= p->bytes && lead != '\0' && lead < 0xf8;
    for (size_t i = 1; good && i < length; i++) {
        unsigned char next = (unsigned char)p->text[p->at + i];
        good = (next & 0xc0) == 0x80;
        value = value << 6 | (next & 0x3f);
    }
    if (!good || value < least[length] || value > CHARACTER_MAX ||
        (value >= 0xd800 && value <= 0xdfff)) {
        return fail_at(p, p->at, "byte 0x%02X is not UTF-8 text", lead);
    }
    *out = value;
    p->at += length;
    return DW_OK;
}

/* ---- sets --------------------------------------------------------------------------------- */

static dw_status add_range(parser *p, uint32_t low, uint32_t high)
{
    dw_grammar_rules *to = p->to;
    void *block = to->ranges;
    dw_status status = grow(p, &block, to->range_count, sizeof *to->ranges, SYMBOLS_MAX);
    to->ranges = block;
    if (status == DW_OK) {
        to->ranges[to->range_count++] = (dw_char_range){low, high};
    }
    return status;
}

static int by_low(const void *a, const void *b)
{
    uint32_t x = ((const dw_char_range *)a)->low;
    uint32_t y = ((const dw_char_range *)b)->low;
    return (x > y) - (x < y);
}

/* Sort the ranges from `first` on and join those that touch. */
static void join_ranges(dw_grammar_rules *to, uint32_t first)
{
    uint32_t count = to->range_count - first;
    uint32_t kept = 0;
    if (count == 0) {
        return;
    }
    dw_char_range *ranges = to->ranges + first;
    qsort(ranges, count, sizeof *ranges, by_low);
    for (uint32_t i = 1; i < count; i++) {
        if (ranges[i].low <= ranges[kept].high + 1) {
            ranges[kept].high =
                ranges[i].high > ranges[kept].high ? ranges[i].high : ranges[kept].high;
        } else {
            ranges[++kept] = ranges[i];
        }
    }
    to->range_count = first + kept + 1;
}

/* Put what lies between the joined ranges from `first` on in their place. */
static dw_status invert_ranges(parser *p, uint32_t first)
{
    uint32_t count = p->to->range_count - first;
    uint32_t next = 0; /* the first character not yet decided */
    dw_status status = DW_OK;
    uint32_t kept = first;
    for (uint32_t i = 0; i < count; i++) {
        dw_char_range range = p->to->ranges[first + i];
        if (range.low > next) {
            /* At most one for each that was read: it never overtakes the reading. */
            p->to->ranges[kept++] = (dw_char_range){next, range.low - 1};
        }
        next = range.high + 1;
    }
    p->to->range_count = kept;
    if (next <= CHARACTER_MAX) {
        status = add_range(p, next, CHARACTER_MAX);
    }
    return status;
}

/* The ranges from `first` on become a set, and the set the next symbol. */
static dw_status push_set(parser *p, uint32_t first)
{
    dw_grammar_rules *to = p->to;
    void *block = to->sets;
    dw_status status = grow(p, &block, to->set_count, sizeof *to->sets, SYMBOLS_MAX);
    to->sets = block;
    if (status != DW_OK) {
        return status;
    }
    dw_char_set *set = &to->sets[to->set_count];
    *set = (dw_char_set){.first = first, .count = to->range_count - first};
    for (uint32_t i = first; i < to->range_count; i++) {
        for (uint32_t c = to->ranges[i].low; c < 128 && c <= to->ranges[i].high; c++) {
            set->ascii[c / 32] |= (uint32_t)1 << c % 32;
        }
    }
    return push(p, DW_SYMBOL_SET, to->set_count++);
}

static dw_status push_range(parser *p, uint32_t low, uint32_t high)
{
    uint32_t first = p->to->range_count;
    dw_status status = add_range(p, low, high);
    return status == DW_OK ? push_set(p, first) : status;
}

bool dw_char_set_meets(const dw_grammar_rules *rules, uint32_t set, uint32_t low, uint32_t high)
{
    const dw_char_set *chars = &rules->sets[set];
    if (high < 128 && low == high) {
        return (chars->ascii[low / 32] >> low % 32 & 1) != 0;
    }
    if (chars->count == 0) {
        return false;
    }
    const dw_char_range *ranges = rules->ranges + chars->first;
    uint32_t from = 0;
    uint32_t to = chars->count;
    while (from < to) { /* the first range that ends at `low` or later */
        uint32_t middle = from + (to - from) / 2;
        if (ranges[middle].high < low) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from < chars->count && ranges[from].low <= high;
}

/* ---- items -------------------------------------------------------------------------------- */

static dw_status literal(parser *p)
{
    size_t start = p->at++;
    while (peek(p, 0) != '"') {
        uint32_t c;
        if (p->at >= p->bytes) {
            return fail_at(p, start, "the string that begins here has no end");
        }
        dw_status status = character(p, &c);
        if (status == DW_OK) {
            status = push_range(p, c, c);
        }
        if (status != DW_OK) {
            return status;
        }
    }
    p->at++;
    return DW_OK;
}

static dw_status one_range(parser *p)
{
    size_t start = p->at;
    uint32_t low;
    dw_status status = character(p, &low);
    uint32_t high = low;
    if (status == DW_OK && peek(p, 0) == '-' && peek(p, 1) != ']' && peek(p, 1) != '\0') {
        p->at++;
        status = character(p, &high);
    }
    if (status != DW_OK) {
        return status;
    }
    if (high < low) {
        return fail_at(p, start, "the range from U+%04X to U+%04X runs backwards", low, high);
    }
    return add_range(p, low, high);
}

static dw_status set(parser *p)
{
    size_t start = p->at++;
    uint32_t first = p->to->range_count;
    bool inverted = peek(p, 0) == '^';
    p->at += inverted;
    while (peek(p, 0) != ']') {
        if (p->at >= p->bytes) {
            return fail_at(p, start, "the set that begins here has no end");
        }
        dw_status status = one_range(p);
        if (status != DW_OK) {
            return status;
        }
    }
    p->at++;
    join_ranges(p->to, first);
    dw_status status = inverted ? invert_ranges(p, first) : DW_OK;
    return status == DW_OK ? push_set(p, first) : status;
}

static dw_status whole(parser *p, uint32_t limit, uint32_t *out)
{
    size_t start = p->at;
    uint64_t value = 0;
    while (is_digit(peek(p, 0)) && value <= limit) {
        value = value * 10 + (uint64_t)(p->text[p->at++] - '0');
    }
    if (p->at == start) {
        return fail_at(p, start, "a number is needed here");
    }
    if (value > limit) {
        return fail_at(p, start, "a number above the limit of %u", limit);
    }
    *out = (uint32_t)value;
    return DW_OK;
}

/* <[5]>, <text>, and ! before them. */
static dw_status token(parser *p)
{
    size_t start = p->at;
    dw_symbol_kind kind = peek(p, 0) == '!' ? DW_SYMBOL_OTHER_TOKEN : DW_SYMBOL_TOKEN;
    uint32_t id = 0;
    p->at += kind == DW_SYMBOL_OTHER_TOKEN;
    if (peek(p, 0) != '<') {
        return fail_at(p, start, "'!' stands before a token, as !<text>");
    }
    size_t open = p->at;
    if (peek(p, 1) == '[') {
        p->at += 2;
        dw_status status = whole(p, p->tokens->count - 1, &id);
        if (status != DW_OK) {
            return status;
        }
        if (peek(p, 0) != ']' || peek(p, 1) != '>') {
            return fail_at(p, p->at, "']>' is needed here");
        }
        p->at += 2;
        return push(p, kind, id);
    }
    while (p->at < p->bytes && p->text[p->at] != '>') {
        p->at++;
    }
    if (p->at >= p->bytes) {
        return fail_at(p, open, "the token that begins here has no '>'");
    }
    p->at++;
    int32_t found = p->tokens->find(p->tokens->user, p->text + open, p->at - open);
    if (found < 0) {
        return fail_at(p, open, "'%.*s' is not one token of the vocabulary",
                       (int)(p->at - open > 40 ? 40 : p->at - open), p->text + open);
    }
    return push(p, kind, (uint32_t)found);
}

/* ---- names -------------------------------------------------------------------------------- */

static uint64_t hash(const char *text, size_t bytes)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < bytes; i++) {
        sum = (sum ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    }
    return sum;
}

static void place_name(parser *p, uint32_t index)
{
    uint64_t slot = hash(p->names[index].name, p->names[index].bytes);
    while (p->name_slots[slot % p->slot_count] != 0) {
        slot++;
    }
    p->name_slots[slot % p->slot_count] = index + 1;
}

static dw_status more_slots(parser *p)
{
    uint32_t count = p->slot_count == 0 ? 64 : p->slot_count * 2;
    uint32_t *slots = dw_alloc(count, sizeof *slots);
    if (slots == NULL) {
        return dw_fail(p->err, DW_E_MEMORY, "no memory for a grammar");
    }
    dw_free(p->name_slots);
    p->name_slots = slots;
    p->slot_count = count;
    for (uint32_t i = 0; i < p->name_count; i++) {
        place_name(p, i);
    }
    return DW_OK;
}

/* The name that stands here, new or known. */
static dw_status read_name(parser *p, uint32_t *index)
{
    size_t start = p->at;
    while (is_word(peek(p, 0))) {
        p->at++;
    }
    const char *name = p->text + start;
    size_t bytes = p->at - start;
    dw_status status = p->name_count * 2 >= p->slot_count ? more_slots(p) : DW_OK;
    if (status != DW_OK) {
        return status;
    }
    uint64_t slot = hash(name, bytes);
    for (; p->name_slots[slot % p->slot_count] != 0; slot++) {
        uint32_t known = p->name_slots[slot % p->slot_count] - 1;
        if (p->names[known].bytes == bytes && memcmp(p->names[known].name, name, bytes) == 0) {
            *index = known;
            return DW_OK;
        }
    }
    void *block = p->names;
    status = grow(p, &block, p->name_count, sizeof *p->names, RULES_MAX);
    p->names = block;
    uint32_t rule = 0;
    if (status == DW_OK) {
        status = add_rule(p, &rule);
    }
    if (status == DW_OK) {
        *index = p->name_count++;
        p->names[*index] = (named_rule){name, bytes, NOWHERE, start, rule};
        p->owners[rule] = *index;
        place_name(p, *index);
    }
    return status;
}

/* ---- sequences ---------------------------------------------------------------------------- */

static dw_status alternatives(parser *p, uint32_t rule, int depth);

static dw_status group(parser *p, int depth)
{
    size_t start = p->at++;
    uint32_t rule;
    if (depth >= DEPTH_MAX) {
        return fail_at(p, start, "groups lie more than %d deep", DEPTH_MAX);
    }
    skip_space(p, true);
    dw_status status = add_rule(p, &rule);
    if (status == DW_OK) {
        status = alternatives(p, rule, depth + 1);
    }
    if (status != DW_OK) {
        return status;
    }
    if (peek(p, 0) != ')') {
        return p->at >= p->bytes
                   ? fail_at(p, start, "the group that begins here has no ')'")
                   : fail_at(p, p->at, "'%c' cannot stand here; a group ends with ')'",
                             p->text[p->at]);
    }
    p->at++;
    return push(p, DW_SYMBOL_RULE, rule);
}

/* The symbols from `start` on as one symbol. */
static dw_status take_item(parser *p, uint32_t start, dw_symbol *item)
{
    dw_status status = DW_OK;
    if (p->pending_count - start == 1) {
        *item = p->pending[start];
    } else {
        item->kind = DW_SYMBOL_RULE;
        status = add_rule(p, &item->value);
        if (status == DW_OK) {
            status = add_alternative(p, item->value, p->pending + start, p->pending_count - start);
        }
    }
    p->pending_count = start;
    return status;
}

static dw_status repeat(parser *p, uint32_t start, uint32_t min, uint32_t max)
{
    dw_symbol item;
    dw_symbol rest[2];
    uint32_t rule = 0;
    if (p->pending_count == start) {
        return DW_OK; /* nothing, any number of times */
    }
    dw_status status = take_item(p, start, &item);
    for (uint32_t i = 0; status == DW_OK && i < min; i++) {
        status = push(p, (dw_symbol_kind)item.kind, item.value);
    }
    uint32_t optional = max == UNBOUNDED ? 1 : max - min;
    for (uint32_t i = 0; status == DW_OK && i < optional; i++) {
        uint32_t last = rule;
        status = add_rule(p, &rule);
        rest[0] = item;
        rest[1] = (dw_symbol){DW_SYMBOL_RULE, max == UNBOUNDED ? rule : last};
        if (status == DW_OK) {
            status = add_alternative(p, rule, NULL, 0);
        }
        if (status == DW_OK) {
            status = add_alternative(p, rule, rest, max == UNBOUNDED || i > 0 ? 2 : 1);
        }
    }
    return status == DW_OK && optional > 0 ? push(p, DW_SYMBOL_RULE, rule) : status;
}

/* {m}, {m,}, {m,n} */
static dw_status read_counts(parser *p, bool nested, uint32_t *min, uint32_t *max)
{
    size_t start = p->at++;
    skip_space(p, nested);
    dw_status status = whole(p, DW_GRAMMAR_REPETITIONS_MAX, min);
    *max = *min;
    skip_space(p, nested);
    if (status == DW_OK && peek(p, 0) == ',') {
        p->at++;
        skip_space(p, nested);
        *max = UNBOUNDED;
        if (is_digit(peek(p, 0))) {
            status = whole(p, DW_GRAMMAR_REPETITIONS_MAX, max);
            skip_space(p, nested);
        }
    }
    if (status != DW_OK) {
        return status;
    }
    if (peek(p, 0) != '}') {
        return fail_at(p, p->at, "'}' is needed here");
    }
    p->at++;
    if (*max < *min) {
        return fail_at(p, start, "at least %u and at most %u times cannot both be", *min, *max);
    }
    return DW_OK;
}

/* What may follow an item, any number of times. */
static dw_status repetitions(parser *p, uint32_t start, bool nested)
{
    for (;;) {
        uint32_t min = 0;
        uint32_t max = UNBOUNDED;
        dw_status status = DW_OK;
        skip_space(p, nested);
        switch (peek(p, 0)) {
        case '*':
            p->at++;
            break;
        case '+':
            min = 1;
            p->at++;
            break;
        case '?':
            max = 1;
            p->at++;
            break;
        case '{':
            status = read_counts(p, nested, &min, &max);
            break;
        default:
            return DW_OK;
        }
        if (status == DW_OK) {
            status = repeat(p, start, min, max);
        }
        if (status != DW_OK) {
            return status;
        }
    }
}

static dw_status sequence(parser *p, int depth)
{
    for (;;) {
        uint32_t start = p->pending_count;
        char c = peek(p, 0);
        uint32_t name;
        dw_status status;
        if (c == '"') {
            status = literal(p);
        } else if (c == '[') {
            status = set(p);
        } else if (c == '<' || c == '!') {
            status = token(p);
        } else if (c == '(') {
            status = group(p, depth);
        } else if (c == '.') {
            p->at++;
            status = push_range(p, 0, CHARACTER_MAX);
        } else if (is_word(c)) {
            status = read_name(p, &name);
            if (status == DW_OK) {
                status = push(p, DW_SYMBOL_RULE, p->names[name].rule);
            }
        } else if (c != '\0' && strchr("*+?{", c) != NULL) {
            return fail_at(p, p->at, "nothing stands before '%c' that it could repeat", c);
        } else {
            return DW_OK;
        }
        if (status == DW_OK) {
            status = repetitions(p, start, depth > 0);
        }
        if (status != DW_OK) {
            return status;
        }
    }
}

static dw_status alternatives(parser *p, uint32_t rule, int depth)
{
    for (;;) {
        uint32_t start = p->pending_count;
        dw_status status = sequence(p, depth);
        uint32_t count = p->pending_count - start;
        if (status == DW_OK) {
            status = add_alternative(p, rule, count > 0 ? p->pending + start : NULL, count);
        }
        p->pending_count = start;
        if (status != DW_OK || peek(p, 0) != '|') {
            return status;
        }
        p->at++;
        skip_space(p, true);
    }
}

/* ---- rules -------------------------------------------------------------------------------- */

static dw_status one_rule(parser *p)
{
    size_t start = p->at;
    uint32_t name;
    if (!is_word(peek(p, 0))) {
        return fail_at(p, start, "a rule begins with its name, of letters, digits and -");
    }
    dw_status status = read_name(p, &name);
    if (status != DW_OK) {
        return status;
    }
    skip_space(p, false);
    if (peek(p, 0) != ':' || peek(p, 1) != ':' || peek(p, 2) != '=') {
        return fail_at(p, p->at, "'::=' is needed behind the rule's name");
    }
    if (p->names[name].defined != NOWHERE) {
        return fail_at(p, start, "'%.*s' is defined a second time",
                       (int)(p->names[name].bytes > 60 ? 60 : p->names[name].bytes),
                       p->names[name].name);
    }
    p->names[name].defined = start;
    p->owner = name;
    p->at += 3;
    skip_space(p, true);
    status = alternatives(p, p->names[name].rule, 0);
    if (status != DW_OK) {
        return status;
    }
    if (p->at < p->bytes && p->text[p->at] != '\n' && p->text[p->at] != '\r') {
        unsigned char c = (unsigned char)p->text[p->at];
        return fail_at(p, p->at,
                       c > ' ' && c <= '~' ? "'%c' cannot stand here" : "byte %d cannot stand here",
                       c);
    }
    skip_space(p, true);
    return DW_OK;
}

static dw_status check_names(parser *p)
{
    bool has_root = false;
    for (uint32_t i = 0; i < p->name_count; i++) {
        const named_rule *name = &p->names[i];
        if (name->defined == NOWHERE) {
            return fail_at(p, name->referenced, "there is no rule '%.*s'",
                           (int)(name->bytes > 60 ? 60 : name->bytes), name->name);
        }
        if (name->bytes == 4 && memcmp(name->name, "root", 4) == 0) {
            p->to->root = name->rule;
            has_root = true;
        }
    }
    return has_root ? DW_OK : dw_fail(p->err, DW_E_ARG, "grammar: it has no rule 'root'");
}

static dw_status parse(parser *p)
{
    dw_status status = DW_OK;
    skip_space(p, true);
    while (status == DW_OK && p->at < p->bytes) {
        status = one_rule(p);
    }
    if (status == DW_OK) {
        status = check_names(p);
    }
    if (status != DW_OK) {
        return status;
    }
    uint32_t culprit = p->to->root;
    dw_error found;
    status = dw__grammar_check(p->to, &culprit, &found);
    if (status != DW_OK) {
        const named_rule *name = &p->names[p->owners[culprit]];
        (void)fail_at(p, name->defined, "'%.*s' %s", (int)(name->bytes > 60 ? 60 : name->bytes),
                      name->name, found.message);
        if (p->err != NULL) {
            p->err->code = status;
        }
    }
    return status;
}

dw_status dw_grammar_rules_make(dw_grammar_rules *out, const char *text, size_t bytes,
                                const dw_grammar_tokens *tokens, dw_error *err)
{
    parser p = {.to = out, .tokens = tokens, .text = text, .bytes = bytes, .err = err};
    *out = (dw_grammar_rules){.root = 0};
    if (bytes > DW_GRAMMAR_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "grammar: %zu bytes, limit %zu", bytes,
                       DW_GRAMMAR_BYTES_MAX);
    }
    dw_status status = parse(&p);
    dw_free(p.names);
    dw_free(p.name_slots);
    dw_free(p.owners);
    dw_free(p.pending);
    if (status != DW_OK) {
        dw_grammar_rules_release(out);
    }
    return status;
}

void dw_grammar_rules_release(dw_grammar_rules *rules)
{
    dw_free(rules->symbols);
    dw_free(rules->alternatives);
    dw_free(rules->rules);
    dw_free(rules->sets);
    dw_free(rules->ranges);
    *rules = (dw_grammar_rules){.root = 0};
}
