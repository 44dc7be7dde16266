#include "tokenizer/pre_tokenizer.h"

#include <string.h>

#include "tokenizer/pre_tokenizer_internal.h"

/* ---- characters --------------------------------------------------------------------------- */

/* libllama's unicode_cpt_flags */
#define CATEGORIES 0x00ffu
#define CATEGORY_NUMBER 0x0002u
#define CATEGORY_LETTER 0x0004u
#define CATEGORY_MARK 0x0010u
#define CATEGORY_PUNCTUATION 0x0020u
#define CATEGORY_SYMBOL 0x0040u
#define WHITE_SPACE 0x0100u

static uint32_t ascii_kinds(uint32_t code)
{
    static const char punctuation[] = "!\"#%&'()*,-./:;?@[\\]_{}";
    static const char symbols[] = "$+<=>^`|~";
    if (code == ' ' || (code >= '\t' && code <= '\r')) {
        return SPACE | (code == '\n' || code == '\r' ? LINE_END : 0);
    }
    if (code >= '0' && code <= '9') {
        return NUMBER;
    }
    if (code >= 'a' && code <= 'z') {
        return LETTER | LOWER;
    }
    if (code >= 'A' && code <= 'Z') {
        return LETTER | UPPER;
    }
    if (code == 0) {
        return 0;
    }
    return strchr(punctuation, (int)code) != NULL ? PUNCTUATION | ASCII_MARK
           : strchr(symbols, (int)code) != NULL   ? SYMBOL | ASCII_MARK
                                                  : 0;
}

uint16_t dw__character_kinds(uint32_t code, uint32_t flags)
{
    uint32_t kinds = 0;
    if (code < 128) {
        kinds = ascii_kinds(code);
    } else if ((flags & WHITE_SPACE) != 0) {
        kinds = SPACE;
    } else {
        uint32_t category = flags & CATEGORIES;
        kinds = category == CATEGORY_NUMBER        ? NUMBER
                : category == CATEGORY_LETTER      ? LETTER
                : category == CATEGORY_PUNCTUATION ? PUNCTUATION
                : category == CATEGORY_MARK        ? MARK
                : category == CATEGORY_SYMBOL      ? SYMBOL
                                                   : 0;
    }
    kinds |= (flags & WHITE_SPACE) != 0 ? FLAG_SPACE : 0;
    kinds |= (flags & CATEGORY_LETTER) != 0 ? FLAG_LETTER : 0;
    kinds |= (flags & CATEGORY_NUMBER) != 0 ? FLAG_NUMBER : 0;
    return (uint16_t)kinds;
}

static const set_range digits[] = {{'0', '9'}, {0, 0}};

/* ---- matching ----------------------------------------------------------------------------- */

/* A stretch of the text in which one stage looks for its pattern, and the run of white space that
 * it met last: patterns ask about the same run again at each of its characters. */
typedef struct matcher {
    const dw__characters *text;
    size_t end;
    size_t run_from; /* [run_from, run_end) is white space, and run_end is not or is `end` */
    size_t run_end;
    size_t line_end; /* behind its last \r or \n; run_from: it has none */
    uint32_t round;
    bool *left; /* it was asked to stop: all loops end, and nothing that is found counts */
} matcher;

/* Whether it is asked to stop, for loops over the characters of one match; it looks at the ends of
 * blocks. */
static bool is_asked(const matcher *m, size_t at)
{
    if (at % 16384 == 0 && !*m->left) {
        dw_stop_pause(m->text->stop);
        *m->left = dw_stop_asked(m->text->stop);
    }
    return *m->left;
}

static uint32_t kinds_at(const matcher *m, size_t at)
{
    return at < m->end ? m->text->kinds[at] : 0;
}

static uint32_t code_at(const matcher *m, size_t at)
{
    return at < m->end ? m->text->codes[at] : UINT32_MAX;
}

static bool is(const matcher *m, size_t at, uint32_t kinds)
{
    return (kinds_at(m, at) & kinds) != 0;
}

static bool is_none_of(const matcher *m, size_t at, uint32_t kinds)
{
    return at < m->end && (m->text->kinds[at] & kinds) == 0;
}

static bool in_set(const matcher *m, size_t at, const set_range *set)
{
    uint32_t code = code_at(m, at);
    if (code > 0x7f && is(m, at, SPACE)) {
        return false; /* libllama writes a vertical tab for it */
    }
    for (; set != NULL && at < m->end && (*set)[1] != 0; set++) {
        if (code >= (*set)[0] && code <= (*set)[1]) {
            return true;
        }
    }
    return false;
}

/* The run of white space that `at` is in. */
static void find_run(matcher *m, size_t at)
{
    if (at >= m->run_from && at < m->run_end) {
        return;
    }
    m->run_from = at;
    m->line_end = at;
    for (m->run_end = at; is(m, m->run_end, SPACE) && !is_asked(m, m->run_end); m->run_end++) {
        if (is(m, m->run_end, LINE_END)) {
            m->line_end = m->run_end + 1;
        }
    }
}

/* Each match_* returns where the match from `at` on ends; `at` itself: there is none. */

static size_t match_contraction(const matcher *m, size_t at)
{
    if (code_at(m, at) != '\'' || !is(m, at + 1, LOWER | UPPER)) {
        return at;
    }
    uint32_t first = code_at(m, at + 1) | 0x20;
    uint32_t second = is(m, at + 2, LOWER | UPPER) ? code_at(m, at + 2) | 0x20 : 0;
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        return at + 2;
    }
    bool longer = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                  (first == 'l' && second == 'l');
    return longer ? at + 3 : at;
}

static size_t match_kinds(const matcher *m, size_t at, uint32_t kinds)
{
    while (is(m, at, kinds) && !is_asked(m, at)) {
        at++;
    }
    return at;
}

static size_t match_word(const matcher *m, const part *p, size_t at)
{
    if (is_none_of(m, at, p->without | LINE_END) && is(m, at + 1, p->of)) {
        return match_kinds(m, at + 1, p->of);
    }
    return match_kinds(m, at, p->of);
}

static bool in_front(const matcher *m, const part *p, size_t at)
{
    return is(m, at, p->of) && !(p->cased && is(m, at, LOWER));
}

static bool behind(const matcher *m, const part *p, size_t at)
{
    return is(m, at, p->of) && !(p->cased && is(m, at, UPPER));
}

/* A*B+, or where no B is there A+, from `at` on: A may be taken back for B to have one. */
static size_t match_cases(const matcher *m, const part *p, size_t at, bool needs_behind)
{
    size_t middle = at;
    while (in_front(m, p, middle) && !is_asked(m, middle)) {
        middle++;
    }
    if (needs_behind) {
        while (middle > at && !behind(m, p, middle) && !is_asked(m, middle)) {
            middle--;
        }
        if (!behind(m, p, middle)) {
            return at;
        }
    } else if (middle == at) {
        return at;
    }
    while (behind(m, p, middle) && !is_asked(m, middle)) {
        middle++;
    }
    return p->contracted ? match_contraction(m, middle) : middle;
}

static size_t match_cased(const matcher *m, const part *p, size_t at)
{
    bool leads = is_none_of(m, at, LETTER | NUMBER | LINE_END);
    for (int i = 0; i < 4; i++) {
        size_t from = i % 2 == 0 ? at + 1 : at;
        if (i % 2 == 0 && !leads) {
            continue;
        }
        size_t end = match_cases(m, p, from, i < 2);
        if (end > from) {
            return end;
        }
    }
    return at;
}

static size_t match_phrase(const matcher *m, size_t at)
{
    size_t end = at;
    if (is_none_of(m, at, LETTER | NUMBER | LINE_END) && is(m, at + 1, LETTER)) {
        end = at + 1;
    }
    if (!is(m, end, LETTER)) {
        return at;
    }
    for (;;) {
        if (is_asked(m, end)) {
            return end;
        }
        if (is(m, end, LETTER | MARK)) {
            end++;
        } else if (code_at(m, end) == ' ' && is(m, end + 1, LETTER)) {
            end += 2;
        } else {
            return end;
        }
    }
}

static size_t match_run(const matcher *m, const part *p, size_t at)
{
    size_t end = at;
    while (end - at < p->most && (is(m, end, p->of) || in_set(m, end, p->set)) &&
           !is_asked(m, end)) {
        end++;
    }
    return end;
}

static bool is_other(const matcher *m, const part *p, size_t at)
{
    return p->of != 0 ? is(m, at, p->of) : is_none_of(m, at, p->without);
}

static size_t match_others(const matcher *m, const part *p, size_t at)
{
    size_t end = at + (code_at(m, at) == ' ' ? 1 : 0);
    if (!is_other(m, p, end)) {
        return at;
    }
    while (is_other(m, p, end) && !is_asked(m, end)) {
        end++;
    }
    size_t most = p->tail == TAIL_NONE ? 0 : p->tail == TAIL_LINE_OR_SLASH ? 1 : SIZE_MAX;
    bool slashes = p->tail == TAIL_LINES_SLASHES || p->tail == TAIL_LINE_OR_SLASH;
    for (size_t i = 0; i < most && (is(m, end, LINE_END) || (slashes && code_at(m, end) == '/')) &&
                       !is_asked(m, end);
         i++) {
        end++;
    }
    return end;
}

static size_t match_spaces_before(matcher *m, size_t at)
{
    if (!is(m, at, SPACE)) {
        return at;
    }
    find_run(m, at);
    return m->run_end == m->end ? m->run_end : m->run_end - 1;
}

static size_t match_spaces_halved(matcher *m, size_t at)
{
    if (!is(m, at, SPACE)) {
        return at;
    }
    find_run(m, at);
    size_t left = m->run_end - at;
    size_t whole = m->run_end == m->end ? left : left - 1; /* what no character must follow */
    for (size_t length = 512; length >= 4; length /= 2) {
        if (whole >= length) {
            return at + length;
        }
    }
    return at + (whole >= 2 ? 2 : 1);
}

static size_t match_set(const matcher *m, const part *p, size_t at)
{
    size_t from = p->after_space && is(m, at, SPACE) && in_set(m, at + 1, p->set) ? at + 1 : at;
    size_t end = from;
    while (end - from < p->most && in_set(m, end, p->set) && !is_asked(m, end)) {
        end++;
    }
    return end > from ? end : at;
}

static bool is_outside(const matcher *m, const part *p, size_t at)
{
    return at < m->end && !is(m, at, SPACE) && !in_set(m, at, p->set);
}

static size_t match_not_set(const matcher *m, const part *p, size_t at)
{
    size_t from = at + (code_at(m, at) == ' ' ? 1 : 0);
    size_t end = from;
    while (is_outside(m, p, end) && !is_asked(m, end)) {
        end++;
    }
    return end > from ? end : at;
}

static size_t match_text(const matcher *m, size_t at, const char *text)
{
    size_t end = at;
    for (; *text != '\0'; text++, end++) {
        if (code_at(m, end) != (unsigned char)*text) {
            return at;
        }
    }
    return end;
}

static size_t match_sentinel(const matcher *m, size_t at)
{
    size_t from = match_text(m, at, "<sentinel:");
    size_t end = from;
    while (from > at && in_set(m, end, digits)) {
        end++;
    }
    return end > from && code_at(m, end) == '>' ? end + 1 : at;
}

static size_t match_image(const matcher *m, size_t at)
{
    size_t from = match_text(m, at, "IMGIMG");
    size_t end = from;
    while (from > at && end - from < 4 && code_at(m, end) >= 'A' && code_at(m, end) <= 'I') {
        end++;
    }
    return end > from && code_at(m, end) == 'Z' ? end + 1 : at;
}

static size_t match_blank(const matcher *m, size_t at)
{
    if (code_at(m, at) == '\t' || code_at(m, at) == '\n') {
        return at + 1;
    }
    size_t four = match_text(m, at, "    ");
    return four > at ? four : match_text(m, at, "  ");
}

/* Parts that look at white space. */
static size_t match_spaces(matcher *m, const part *p, size_t at)
{
    if (!is(m, at, SPACE)) {
        return at;
    }
    find_run(m, at);
    switch (p->kind) {
    case PART_LINES:
        return m->line_end > at ? m->line_end : at;
    case PART_SPACES_BEFORE:
        return match_spaces_before(m, at);
    case PART_SPACES_HALVED:
        return match_spaces_halved(m, at);
    case PART_SPACES_LAST:
        return m->run_end == m->end ? m->run_end : at;
    default:
        return m->run_end;
    }
}

static size_t match_marked(const matcher *m, const part *p, size_t at)
{
    switch (p->kind) {
    case PART_TAGGED:
        return is(m, at, ASCII_MARK) && is(m, at + 1, LOWER | UPPER)
                   ? match_kinds(m, at + 1, LOWER | UPPER)
                   : at;
    case PART_SPACE_RUN:
        return match_kinds(m, is(m, at, SPACE) && is(m, at + 1, p->of) ? at + 1 : at, p->of);
    case PART_LINE_END:
        return at + (is(m, at, LINE_END) ? 1 : 0);
    case PART_THREE_DIGITS:
        return in_set(m, at, digits) && in_set(m, at + 1, digits) && in_set(m, at + 2, digits)
                   ? at + 3
                   : at;
    case PART_SENTINEL:
        return match_sentinel(m, at);
    case PART_IMAGE:
        return match_image(m, at);
    default:
        return match_blank(m, at);
    }
}

static size_t match(matcher *m, const part *p, size_t at)
{
    switch (p->kind) {
    case PART_CONTRACTION:
        return match_contraction(m, at);
    case PART_WORD:
        return match_word(m, p, at);
    case PART_CASED:
        return match_cased(m, p, at);
    case PART_PHRASE:
        return match_phrase(m, at);
    case PART_RUN:
        return match_run(m, p, at);
    case PART_OTHERS:
        return match_others(m, p, at);
    case PART_SET:
        return match_set(m, p, at);
    case PART_NOT_SET:
        return match_not_set(m, p, at);
    case PART_LINES:
    case PART_SPACES_BEFORE:
    case PART_SPACES:
    case PART_SPACES_HALVED:
    case PART_SPACES_LAST:
        return match_spaces(m, p, at);
    default:
        return match_marked(m, p, at);
    }
}

/* ---- stages ------------------------------------------------------------------------------- */

/* Whether it was asked to stop, for loops over the text: the rest is left uncut. */
static bool is_left(matcher *m)
{
    *m->left = *m->left || dw_stop_pauses_seldom(m->text->stop, &m->round);
    return *m->left;
}

static void split_by_parts(matcher *m, const part *parts, size_t from)
{
    for (size_t at = from; at < m->end && !is_left(m);) {
        size_t end = at;
        for (const part *p = parts; end == at && p->kind != PART_END; p++) {
            end = match(m, p, at);
        }
        if (end > at) {
            m->text->starts[at] = 1;
            m->text->starts[end] = 1;
        }
        at = end > at ? end : at + 1;
    }
}

/* GPT-2's pattern as libllama's code has it: white space and letters by its flags. */
static size_t match_gpt2(const matcher *m, size_t at)
{
    static const uint32_t groups[] = {FLAG_LETTER, FLAG_NUMBER};
    size_t end = match_contraction(m, at);
    bool lower = is(m, at + 1, LOWER) && (end < at + 3 || is(m, at + 2, LOWER));
    if (end > at && lower) {
        return end;
    }
    size_t from = at + (code_at(m, at) == ' ' ? 1 : 0);
    for (size_t i = 0; i < 2; i++) {
        if (is(m, from, groups[i])) {
            return match_kinds(m, from, groups[i]);
        }
    }
    end = from;
    while (is_none_of(m, end, FLAG_SPACE | FLAG_LETTER | FLAG_NUMBER) && !is_asked(m, end)) {
        end++;
    }
    if (end > from) {
        return end;
    }
    end = match_kinds(m, at, FLAG_SPACE);
    return end == m->end || end - at <= 1 ? end : end - 1;
}

static void split_gpt2(matcher *m, size_t from)
{
    for (size_t at = from; at < m->end && !is_left(m);) {
        size_t end = match_gpt2(m, at);
        at = end > at ? end : at + 1;
        m->text->starts[at] = 1;
    }
}

/* Groups of three from the end of each number; what stands in front of a number stays with its
 * first group. */
static void split_digits_by_three(matcher *m, size_t from)
{
    for (size_t at = from; at < m->end && !is_left(m);) {
        size_t end = match_kinds(m, at, FLAG_NUMBER);
        size_t first = (end - at) % 3;
        for (size_t cut = at + (first > 0 ? first : 3); end > at && cut <= end; cut += 3) {
            m->text->starts[cut] = 1;
        }
        at = end > at ? end : at + 1;
    }
}

/* In front of every three digits that a multiple of three digits follows, and nothing else. */
static void split_triples(matcher *m, size_t from)
{
    for (size_t at = from; at < m->end && !is_left(m);) {
        size_t end = at;
        while (in_set(m, end, digits) && !is_asked(m, end)) {
            end++;
        }
        for (size_t cut = at + (end - at) % 3; cut < end; cut += 3) {
            m->text->starts[cut] = 1;
        }
        at = end > at ? end : at + 1;
    }
}

/* Kimi K2's pattern as libllama's code has it (unicode_regex_split_custom_kimi_k2). */

static const set_range han[] = {
    {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},   {0x20000, 0x2a6df},
    {0x2a700, 0x2b73f}, {0x2b740, 0x2ebef}, {0x2f800, 0x2fa1f}, {0, 0}};

static bool is_plain_letter(const matcher *m, size_t at)
{
    return is(m, at, FLAG_LETTER) && !in_set(m, at, han);
}

static size_t match_kimi_spaces(const matcher *m, size_t at)
{
    size_t end = at;
    size_t line_end = at;
    while (is(m, end, FLAG_SPACE) && !is_asked(m, end)) {
        end++;
        line_end = code_at(m, end - 1) == '\r' || code_at(m, end - 1) == '\n' ? end : line_end;
    }
    return line_end > at                  ? line_end
           : end - at > 1 && end < m->end ? end - 1
           : end > at                     ? end
                                          : at + 1;
}

static size_t match_kimi(const matcher *m, size_t at)
{
    size_t end = at;
    while (in_set(m, end, han) && !is_asked(m, end)) {
        end++;
    }
    if (end > at) {
        return end;
    }
    uint32_t code = code_at(m, at);
    bool leads = !is(m, at, FLAG_LETTER | FLAG_NUMBER) && code != '\r' && code != '\n';
    if (is_plain_letter(m, at) || (leads && is_plain_letter(m, at + 1))) {
        for (end = at + 1; is_plain_letter(m, end) && !is_asked(m, end);) {
            end++;
        }
        return match_contraction(m, end);
    }
    while (end - at < 3 && is(m, end, FLAG_NUMBER)) {
        end++;
    }
    if (end > at) {
        return end;
    }
    size_t from = at + (code == ' ' ? 1 : 0);
    end = from;
    while (is_none_of(m, end, FLAG_SPACE | FLAG_LETTER | FLAG_NUMBER) && !is_asked(m, end)) {
        end++;
    }
    if (end == from) {
        return match_kimi_spaces(m, at);
    }
    while (code_at(m, end) == '\r' || code_at(m, end) == '\n') {
        end++;
    }
    return end;
}

static void split_kimi(matcher *m, size_t from)
{
    for (size_t at = from; at < m->end && !is_left(m);) {
        at = match_kimi(m, at);
        m->text->starts[at] = 1;
    }
}

static void run_stage(const stage *s, const dw__characters *text, size_t from, size_t end,
                      bool *left)
{
    matcher m = {.text = text, .end = end, .left = left};
    switch (s->kind) {
    case STAGE_GPT2:
        split_gpt2(&m, from);
        break;
    case STAGE_DIGITS_BY_THREE:
        split_digits_by_three(&m, from);
        break;
    case STAGE_TRIPLES:
        split_triples(&m, from);
        break;
    case STAGE_KIMI:
        split_kimi(&m, from);
        break;
    default:
        split_by_parts(&m, s->parts, from);
        break;
    }
}

void dw_pre_tokenizer_split(const dw_pre_tokenizer *by, const dw__characters *text)
{
    memset(text->starts, 0, text->count + 1);
    text->starts[0] = 1;
    text->starts[text->count] = 1;
    uint32_t round = 0;
    bool left = false;
    for (uint32_t i = 0; i < by->stage_count; i++) {
        for (size_t from = 0; from < text->count && !left;) {
            left = dw_stop_pauses_seldom(text->stop, &round);
            size_t end = from + 1;
            while (text->starts[end] == 0) {
                end++;
            }
            run_stage(&by->stages[i], text, from, end, &left); /* sets starts inside only */
            from = end;
        }
    }
}
