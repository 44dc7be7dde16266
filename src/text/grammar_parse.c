/* GBNF to rules. Every repetition becomes rules of its own: S{2,4} is S S b, b ::= S a | (nothing),
 * a ::= S | (nothing); S* is l, l ::= S l | (nothing). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "text/grammar_rules_internal.h"

#define DEPTH_MAX 100
#define UNBOUNDED UINT32_MAX
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
    uint32_t looks; /* at tokens->stop, of which most are left out */
} parser;

/* ---- errors and symbols ------------------------------------------------------------------- */

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

static dw_status push(parser *p, dw_symbol_kind kind, uint32_t value)
{
    void *block = p->pending;
    dw_status status =
        dw__rules_grow(&block, p->pending_count, sizeof *p->pending, DW__SYMBOLS_MAX, p->err);
    p->pending = block;
    if (status != DW_OK) {
        return status;
    }
    p->pending[p->pending_count++] = (dw_symbol){kind, value};
    return DW_OK;
}

/* A rule whose name was just read. */
static dw_status add_rule(parser *p, uint32_t *rule)
{
    void *block = p->owners;
    dw_status status =
        dw__rules_grow(&block, p->to->rule_count, sizeof *p->owners, DW__RULES_MAX, p->err);
    p->owners = block;
    if (status != DW_OK) {
        return status;
    }
    status = dw__rules_add_rule(p->to, rule, p->err);
    if (status != DW_OK) {
        return status;
    }
    p->owners[*rule] = p->owner;
    return DW_OK;
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
        int digit = dw_hex_digit(peek(p, 2 + i));
        if (digit < 0) {
            return fail_at(p, p->at, "\\%c needs %zu hexadecimal digits", peek(p, 1), digits);
        }
        value = value << 4 | (uint32_t)digit;
    }
    if (value > DW__CHARACTER_MAX || (value >= 0xd800 && value <= 0xdfff)) {
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
    if (!good || value < least[length] || value > DW__CHARACTER_MAX ||
        (value >= 0xd800 && value <= 0xdfff)) {
        return fail_at(p, p->at, "byte 0x%02X is not UTF-8 text", lead);
    }
    *out = value;
    p->at += length;
    return DW_OK;
}

/* ---- items -------------------------------------------------------------------------------- */

/* The ranges from `first` on become a set, and the set the next symbol. */
static dw_status push_set(parser *p, uint32_t first)
{
    uint32_t set = 0;
    dw_status status = dw__rules_add_set(p->to, first, &set, p->err);
    return status == DW_OK ? push(p, DW_SYMBOL_SET, set) : status;
}

static dw_status push_range(parser *p, uint32_t low, uint32_t high)
{
    uint32_t first = p->to->range_count;
    dw_status status = dw__rules_add_range(p->to, low, high, p->err);
    return status == DW_OK ? push_set(p, first) : status;
}

static dw_status literal(parser *p)
{
    size_t start = p->at++;
    while (peek(p, 0) != '"') {
        uint32_t c;
        if (p->at >= p->bytes) {
            return fail_at(p, start, "the string that begins here has no end");
        }
        dw_status status = character(p, &c);
        if (status != DW_OK) {
            return status;
        }
        status = push_range(p, c, c);
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
    uint32_t high;
    dw_status status = character(p, &low);
    if (status != DW_OK) {
        return status;
    }
    high = low;
    if (peek(p, 0) == '-' && peek(p, 1) != ']' && peek(p, 1) != '\0') {
        p->at++;
        status = character(p, &high);
    }
    if (status != DW_OK) {
        return status;
    }
    if (high < low) {
        return fail_at(p, start, "the range from U+%04X to U+%04X runs backwards", low, high);
    }
    return dw__rules_add_range(p->to, low, high, p->err);
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
    dw__rules_join_ranges(p->to, first);
    dw_status status = inverted ? dw__rules_invert_ranges(p->to, first, p->err) : DW_OK;
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

static void place_name(parser *p, uint32_t index)
{
    uint64_t slot = dw_hash_of_text(p->names[index].name, p->names[index].bytes);
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
    uint64_t slot = dw_hash_of_text(name, bytes);
    for (; p->name_slots[slot % p->slot_count] != 0; slot++) {
        uint32_t known = p->name_slots[slot % p->slot_count] - 1;
        if (p->names[known].bytes == bytes && memcmp(p->names[known].name, name, bytes) == 0) {
            *index = known;
            return DW_OK;
        }
    }
    void *block = p->names;
    status = dw__rules_grow(&block, p->name_count, sizeof *p->names, DW__RULES_MAX, p->err);
    p->names = block;
    if (status != DW_OK) {
        return status;
    }
    uint32_t rule = 0;
    status = add_rule(p, &rule);
    if (status != DW_OK) {
        return status;
    }
    *index = p->name_count++;
    p->names[*index] = (named_rule){name, bytes, NOWHERE, start, rule};
    p->owners[rule] = *index;
    place_name(p, *index);
    return DW_OK;
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
    if (status != DW_OK) {
        return status;
    }
    status = alternatives(p, rule, depth + 1);
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
    uint32_t count = p->pending_count - start;
    DW_ASSERT(start < p->pending_count);
    p->pending_count = start;
    if (count == 1) {
        *item = p->pending[start];
        return DW_OK;
    }
    item->kind = DW_SYMBOL_RULE;
    dw_status status = add_rule(p, &item->value);
    if (status != DW_OK) {
        return status;
    }
    return dw__rules_add_alternative(p->to, item->value, p->pending + start, count, p->err);
}

/* A rule for the item once or not at all, with `then` behind the item unless that is NULL. */
static dw_status add_optional(parser *p, uint32_t rule, dw_symbol item, const uint32_t *then)
{
    const dw_symbol symbols[2] = {item, {DW_SYMBOL_RULE, then != NULL ? *then : 0}};
    dw_status status = dw__rules_add_alternative(p->to, rule, NULL, 0, p->err);
    if (status != DW_OK) {
        return status;
    }
    return dw__rules_add_alternative(p->to, rule, symbols, then != NULL ? 2 : 1, p->err);
}

static dw_status repeat(parser *p, uint32_t start, uint32_t min, uint32_t max)
{
    dw_symbol item;
    uint32_t rule = 0;
    if (p->pending_count == start) {
        return DW_OK; /* nothing, any number of times */
    }
    dw_status status = take_item(p, start, &item);
    if (status != DW_OK) {
        return status;
    }
    for (uint32_t i = 0; i < min; i++) {
        status = push(p, (dw_symbol_kind)item.kind, item.value);
        if (status != DW_OK) {
            return status;
        }
    }
    uint32_t optional = max == UNBOUNDED ? 1 : max - min;
    for (uint32_t i = 0; i < optional; i++) {
        uint32_t last = rule;
        status = add_rule(p, &rule);
        if (status != DW_OK) {
            return status;
        }
        status = add_optional(p, rule, item, max == UNBOUNDED ? &rule : i > 0 ? &last : NULL);
        if (status != DW_OK) {
            return status;
        }
    }
    return optional > 0 ? push(p, DW_SYMBOL_RULE, rule) : DW_OK;
}

/* {m}, {m,}, {m,n} */
static dw_status read_counts(parser *p, bool nested, uint32_t *min, uint32_t *max)
{
    size_t start = p->at++;
    skip_space(p, nested);
    dw_status status = whole(p, DW_GRAMMAR_REPETITIONS_MAX, min);
    if (status != DW_OK) {
        return status;
    }
    *max = *min;
    skip_space(p, nested);
    if (peek(p, 0) == ',') {
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
        if (status != DW_OK) {
            return status;
        }
        status = repeat(p, start, min, max);
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
        if (dw_stop_asked_seldom(p->tokens->stop, &p->looks)) {
            return dw_stop_check(p->tokens->stop, "grammar", p->err);
        }
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
            status = push_range(p, 0, DW__CHARACTER_MAX);
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
        if (status != DW_OK) {
            return status;
        }
        status = repetitions(p, start, depth > 0);
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
        if (status != DW_OK) {
            return status;
        }
        const dw_symbol *symbols = count > 0 ? p->pending + start : NULL;
        status = dw__rules_add_alternative(p->to, rule, symbols, count, p->err);
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
    while (p->at < p->bytes) {
        status = one_rule(p);
        if (status != DW_OK) {
            return status;
        }
    }
    status = check_names(p);
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
