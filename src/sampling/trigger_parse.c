/* Words and regular expressions to programs. Groups lie at most a stated number deep; all else is
 * read from left to right. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "sampling/trigger_internal.h"

#define DEPTH_MAX 32
#define UNBOUNDED UINT32_MAX
#define REPETITIONS_MAX 1000U

typedef struct parser {
    dw__trigger_program *to;
    const char *text;
    size_t bytes;
    size_t at;
    uint32_t group_count;
    dw_error *err;
} parser;

static dw_status fail_at(const parser *p, size_t at, const char *format, ...) DW_PRINTF(3, 4);

static dw_status fail_at(const parser *p, size_t at, const char *format, ...)
{
    char words[120];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return dw_fail(p->err, DW_E_ARG, "byte %zu: %s", at + 1, words);
}

static dw_status no_memory(const parser *p)
{
    return dw_fail(p->err, DW_E_MEMORY, "no memory for it");
}

/* ---- code --------------------------------------------------------------------------------- */

static dw_status reserve(parser *p, size_t count)
{
    if (p->to->code_count + count > DW__TRIGGER_CODE_MAX) {
        return dw_fail(p->err, DW_E_LIMIT, "more than %u instructions, repetitions written out",
                       DW__TRIGGER_CODE_MAX);
    }
    return DW_ARRAY_RESERVE(p->to->code, p->to->code_capacity, p->to->code_count + count,
                            DW__TRIGGER_CODE_MAX)
               ? DW_OK
               : no_memory(p);
}

static dw_status insert(parser *p, size_t place, dw__trigger_op op, int32_t x, int32_t y)
{
    dw_status status = reserve(p, 1);
    if (status != DW_OK) {
        return status;
    }
    dw__trigger_instruction *code = p->to->code;
    memmove(code + place + 1, code + place, (p->to->code_count - place) * sizeof *code);
    code[place] = (dw__trigger_instruction){op, x, y};
    p->to->code_count++;
    return DW_OK;
}

static dw_status emit(parser *p, dw__trigger_op op, int32_t x, int32_t y)
{
    return insert(p, p->to->code_count, op, x, y);
}

static dw_status emit_bytes(parser *p, const char *bytes, size_t count)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = emit(p, DW__TRIGGER_BYTE, (unsigned char)bytes[i], 0);
    }
    return status;
}

static dw_status emit_class(parser *p, const dw__trigger_class *class)
{
    dw__trigger_program *to = p->to;
    if (!DW_ARRAY_RESERVE(to->classes, to->class_capacity, to->class_count + 1,
                          DW__TRIGGER_CODE_MAX)) {
        return no_memory(p);
    }
    to->classes[to->class_count] = *class;
    return emit(p, DW__TRIGGER_CLASS, (int32_t)to->class_count++, 0);
}

/* ---- characters --------------------------------------------------------------------------- */

static int peek(const parser *p, size_t ahead)
{
    return p->at + ahead < p->bytes ? (unsigned char)p->text[p->at + ahead] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void add_range(dw__trigger_class *class, unsigned low, unsigned high)
{
    for (unsigned c = low; c <= high; c++) {
        class->bits[c / 32] |= (uint32_t)1 << c % 32;
    }
}

static void invert(dw__trigger_class *class)
{
    for (size_t i = 0; i < 8; i++) {
        class->bits[i] = ~class->bits[i];
    }
}

/* The class of \s, \w, \d and their opposites; false: the letter names none. */
static bool named_class(int letter, dw__trigger_class *class)
{
    *class = (dw__trigger_class){{0}};
    switch (letter) {
    case 's':
    case 'S':
        add_range(class, '\t', '\r');
        add_range(class, ' ', ' ');
        break;
    case 'w':
    case 'W':
        add_range(class, 'a', 'z');
        add_range(class, 'A', 'Z');
        add_range(class, '_', '_');
        add_range(class, '0', '9');
        break;
    case 'd':
    case 'D':
        add_range(class, '0', '9');
        break;
    default:
        return false;
    }
    if (letter < 'a') {
        invert(class);
    }
    return true;
}

static dw_status hex(parser *p, size_t digits, uint32_t *value)
{
    *value = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = dw_hex_digit(peek(p, 2 + i));
        if (digit < 0) {
            return fail_at(p, p->at, "\\%c needs %zu hexadecimal digits", peek(p, 1), digits);
        }
        *value = *value << 4 | (uint32_t)digit;
    }
    p->at += 2 + digits;
    return DW_OK;
}

/* \ and what follows, where it is one character: its bytes, at most 3. */
static dw_status escaped(parser *p, char *bytes, size_t *count)
{
    static const char *const controls[] = {"n\n", "r\r", "t\t", "f\f", "v\v"};
    int c = peek(p, 1);
    uint32_t value;
    *count = 1;
    if (c == 'x' || c == 'u') {
        dw_status status = hex(p, c == 'x' ? 2 : 4, &value);
        bytes[0] = (char)value;
        *count = status == DW_OK && c == 'u' ? dw_utf8_put(bytes, value) : 1;
        return status;
    }
    for (size_t i = 0; i < 5; i++) {
        if (c == controls[i][0]) {
            bytes[0] = controls[i][1];
            p->at += 2;
            return DW_OK;
        }
    }
    if (c < ' ' || c > '~' || is_letter(c) || is_digit(c)) {
        return c < 0 ? fail_at(p, p->at, "'\\' ends it")
                     : fail_at(p, p->at, "\\%c is not supported", c <= '~' && c >= ' ' ? c : '?');
    }
    bytes[0] = (char)c;
    p->at += 2;
    return DW_OK;
}

/* One character, plain or escaped, of at most 4 bytes. */
static dw_status character(parser *p, char *bytes, size_t *count)
{
    int c = peek(p, 0);
    if (c == '\\') {
        return escaped(p, bytes, count);
    }
    *count = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    for (size_t i = 0; i < *count; i++) {
        int byte = peek(p, i);
        if (byte < 0 || (i > 0 && (byte & 0xc0) != 0x80)) {
            return fail_at(p, p->at, "not UTF-8");
        }
        bytes[i] = (char)byte;
    }
    p->at += *count;
    return DW_OK;
}

/* ---- classes ------------------------------------------------------------------------------ */

/* One end of a range, or a class of its own. */
static dw_status class_item(parser *p, dw__trigger_class *class, bool *named, unsigned *byte)
{
    char bytes[4];
    size_t count;
    size_t start = p->at;
    dw__trigger_class inner;
    *named = peek(p, 0) == '\\' && named_class(peek(p, 1), &inner);
    if (*named) {
        for (size_t i = 0; i < 8; i++) {
            class->bits[i] |= inner.bits[i];
        }
        p->at += 2;
        return DW_OK;
    }
    if (peek(p, 0) == '[' && (peek(p, 1) == ':' || peek(p, 1) == '.' || peek(p, 1) == '=')) {
        return fail_at(p, start, "[%c is not supported", peek(p, 1));
    }
    dw_status status = character(p, bytes, &count);
    if (status != DW_OK) {
        return status;
    }
    *byte = (unsigned char)bytes[0];
    return *byte < 0x80 ? DW_OK : fail_at(p, start, "in a class only ASCII is supported");
}

static dw_status class(parser *p)
{
    dw__trigger_class class = {{0}};
    size_t start = p->at++;
    bool inverted = peek(p, 0) == '^';
    p->at += inverted;
    while (peek(p, 0) != ']') {
        bool named;
        unsigned low = 0;
        unsigned high = 0;
        size_t item = p->at;
        if (peek(p, 0) < 0) {
            return fail_at(p, start, "the class that begins here has no ']'");
        }
        dw_status status = class_item(p, &class, &named, &low);
        if (status != DW_OK) {
            return status;
        }
        high = low;
        if (!named && peek(p, 0) == '-' && peek(p, 1) != ']') {
            p->at++;
            status = class_item(p, &class, &named, &high);
            if (status != DW_OK) {
                return status;
            }
            if (named || high < low) {
                return fail_at(p, item, "no range of characters");
            }
        }
        if (!named) {
            add_range(&class, low, high);
        }
    }
    p->at++;
    if (inverted) {
        invert(&class);
    }
    return emit_class(p, &class);
}

/* ---- groups ------------------------------------------------------------------------------- */

static dw_status alternatives(parser *p, int depth);

static dw_status add_literal(parser *p, size_t start)
{
    dw__trigger_program *to = p->to;
    if (!DW_ARRAY_RESERVE(to->literals, to->literal_capacity, to->literal_count + 1,
                          DW__TRIGGER_CODE_MAX)) {
        return no_memory(p);
    }
    uint32_t bytes = to->byte_count - (uint32_t)start;
    to->literals[to->literal_count++] = (dw_trigger){.text = to->bytes + start, .bytes = bytes};
    to->ahead_bytes = bytes > to->ahead_bytes ? bytes : to->ahead_bytes;
    return DW_OK;
}

/* Behind (?= or (?!: literal texts up to the ')'. */
static dw_status look(parser *p, size_t start, dw__trigger_op op)
{
    dw__trigger_program *to = p->to;
    uint32_t first = (uint32_t)to->literal_count;
    size_t literal = to->byte_count;
    for (;;) {
        int c = peek(p, 0);
        char bytes[4];
        size_t count;
        dw_status status = DW_OK;
        if (c < 0) {
            return fail_at(p, start, "the group that begins here has no ')'");
        }
        if (c == '|' || c == ')') {
            status = add_literal(p, literal);
            literal = to->byte_count;
            p->at++;
            if (status != DW_OK || c == ')') {
                break;
            }
            continue;
        }
        if (c != '\0' && strchr("([.*+?{^$", c) != NULL) {
            return fail_at(p, p->at,
                           "'%c': in (?=...) and (?!...) only literal texts are supported", c);
        }
        status = character(p, bytes, &count);
        if (status != DW_OK) {
            return status;
        }
        DW_ASSERT(to->byte_count + count <= DW_TRIGGER_BYTES_MAX);
        memcpy(to->bytes + to->byte_count, bytes, count);
        to->byte_count += (uint32_t)count;
    }
    if (to->literal_count == first ||
        !DW_ARRAY_RESERVE(to->looks, to->look_capacity, to->look_count + 1, DW__TRIGGER_CODE_MAX)) {
        return no_memory(p);
    }
    to->looks[to->look_count] = (dw__trigger_look){first, (uint32_t)to->literal_count - first};
    return emit(p, op, (int32_t)to->look_count++, 0);
}

static dw_status group(parser *p, int depth)
{
    size_t start = p->at++;
    uint32_t number = 0;
    dw_status status = DW_OK;
    if (depth >= DEPTH_MAX) {
        return fail_at(p, start, "groups lie more than %d deep", DEPTH_MAX);
    }
    if (peek(p, 0) != '?') {
        number = ++p->group_count;
        if (number > DW__TRIGGER_GROUPS_MAX) {
            return fail_at(p, start, "more than %u groups; (?:...) does not count",
                           DW__TRIGGER_GROUPS_MAX);
        }
        status = emit(p, DW__TRIGGER_SAVE, (int32_t)(2 * number), 0);
    } else if (peek(p, 1) == ':') {
        p->at += 2;
    } else {
        return fail_at(p, start, "(?%c is not supported", peek(p, 1) > ' ' ? peek(p, 1) : '?');
    }
    status = status == DW_OK ? alternatives(p, depth + 1) : status;
    if (status != DW_OK) {
        return status;
    }
    if (peek(p, 0) != ')') {
        return fail_at(p, start, "the group that begins here has no ')'");
    }
    p->at++;
    return number > 0 ? emit(p, DW__TRIGGER_SAVE, (int32_t)(2 * number + 1), 0) : DW_OK;
}

/* ---- repetitions -------------------------------------------------------------------------- */

static dw_status copy_of(parser *p, const dw__trigger_instruction *block, size_t count)
{
    dw_status status = reserve(p, count);
    if (status == DW_OK) {
        memcpy(p->to->code + p->to->code_count, block, count * sizeof *block);
        p->to->code_count += count;
    }
    return status;
}

static dw_status emit_split(parser *p, int32_t inside, int32_t outside, bool lazy)
{
    return lazy ? emit(p, DW__TRIGGER_SPLIT, outside, inside)
                : emit(p, DW__TRIGGER_SPLIT, inside, outside);
}

/* block [count] from `min` to `max` times. */
static dw_status repeat(parser *p, const dw__trigger_instruction *block, size_t count,
                        const uint32_t range[2], bool lazy)
{
    int32_t length = (int32_t)count;
    dw_status status = DW_OK;
    for (uint32_t i = 0; i < range[0] && status == DW_OK; i++) {
        status = copy_of(p, block, count);
    }
    if (range[1] == UNBOUNDED) {
        if (range[0] > 0) {
            return status == DW_OK ? emit_split(p, -length, 1, lazy) : status;
        }
        status = status == DW_OK ? emit_split(p, 1, length + 2, lazy) : status;
        status = status == DW_OK ? copy_of(p, block, count) : status;
        return status == DW_OK ? emit(p, DW__TRIGGER_JUMP, -(length + 1), 0) : status;
    }
    for (uint32_t left = range[1] - range[0]; left > 0 && status == DW_OK; left--) {
        if ((uint64_t)left * (count + 1) > DW__TRIGGER_CODE_MAX) {
            return reserve(p, DW__TRIGGER_CODE_MAX + 1);
        }
        status = emit_split(p, 1, (int32_t)left * (length + 1), lazy);
        status = status == DW_OK ? copy_of(p, block, count) : status;
    }
    return status;
}

static dw_status number(parser *p, uint32_t *value)
{
    size_t start = p->at;
    *value = 0;
    while (is_digit(peek(p, 0)) && *value <= REPETITIONS_MAX) {
        *value = *value * 10 + (uint32_t)(peek(p, 0) - '0');
        p->at++;
    }
    return p->at == start             ? fail_at(p, start, "a number is needed here")
           : *value > REPETITIONS_MAX ? fail_at(p, start, "over the limit of %u", REPETITIONS_MAX)
                                      : DW_OK;
}

/* {m}, {m,}, {m,n} */
static dw_status counts(parser *p, uint32_t range[2])
{
    size_t start = p->at++;
    dw_status status = number(p, &range[0]);
    range[1] = range[0];
    if (status == DW_OK && peek(p, 0) == ',') {
        p->at++;
        range[1] = UNBOUNDED;
        if (is_digit(peek(p, 0))) {
            status = number(p, &range[1]);
        }
    }
    if (status != DW_OK) {
        return status;
    }
    if (peek(p, 0) != '}' || range[1] < range[0]) {
        return fail_at(p, start, "no repetition, such as {2}, {2,} or {2,4}");
    }
    p->at++;
    return DW_OK;
}

/* What may follow the item whose code begins at `start`. */
static dw_status repetition(parser *p, size_t start)
{
    uint32_t range[2] = {0, UNBOUNDED};
    dw_status status = DW_OK;
    switch (peek(p, 0)) {
    case '*':
        p->at++;
        break;
    case '+':
        range[0] = 1;
        p->at++;
        break;
    case '?':
        range[1] = 1;
        p->at++;
        break;
    case '{':
        status = counts(p, range);
        break;
    default:
        return DW_OK;
    }
    if (status != DW_OK) {
        return status;
    }
    size_t count = p->to->code_count - start;
    dw__trigger_instruction *block = dw_alloc(count, sizeof *block);
    if (block == NULL) {
        return no_memory(p);
    }
    memcpy(block, p->to->code + start, count * sizeof *block);
    p->to->code_count = start;
    bool lazy = peek(p, 0) == '?';
    p->at += lazy;
    status = repeat(p, block, count, range, lazy);
    dw_free(block);
    return status;
}

/* ---- sequences ---------------------------------------------------------------------------- */

/* ^, $, (?=...), (?!...): what takes no byte. */
static bool assertion(parser *p, dw_status *status)
{
    size_t start = p->at;
    int c = peek(p, 0);
    if (c == '^' || c == '$') {
        p->at++;
        *status = emit(p, c == '^' ? DW__TRIGGER_FIRST : DW__TRIGGER_LAST, 0, 0);
        return true;
    }
    if (c == '(' && peek(p, 1) == '?' && (peek(p, 2) == '=' || peek(p, 2) == '!')) {
        p->at += 3;
        *status =
            look(p, start, p->text[start + 2] == '=' ? DW__TRIGGER_AHEAD : DW__TRIGGER_NOT_AHEAD);
        return true;
    }
    return false;
}

static dw_status item(parser *p, int depth)
{
    dw__trigger_class class_of;
    char bytes[4];
    size_t count;
    int c = peek(p, 0);
    if (c == '(') {
        return group(p, depth);
    }
    if (c == '[') {
        return class(p);
    }
    if (c == '.') { /* anything but the end of a line */
        class_of = (dw__trigger_class){{1U << '\n' | 1U << '\r'}};
        invert(&class_of);
        p->at++;
        return emit_class(p, &class_of);
    }
    if (c == '\\' && named_class(peek(p, 1), &class_of)) {
        p->at += 2;
        return emit_class(p, &class_of);
    }
    if (c == '*' || c == '+' || c == '?' || c == '{') {
        return fail_at(p, p->at, "nothing stands before '%c' that it could repeat", c);
    }
    dw_status status = character(p, bytes, &count);
    return status == DW_OK ? emit_bytes(p, bytes, count) : status;
}

static dw_status sequence(parser *p, int depth)
{
    for (int c = peek(p, 0); c >= 0 && c != '|' && c != ')'; c = peek(p, 0)) {
        size_t start = p->to->code_count;
        dw_status status = DW_OK;
        if (!assertion(p, &status)) {
            status = item(p, depth);
            status = status == DW_OK ? repetition(p, start) : status;
        }
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

static dw_status alternatives(parser *p, int depth)
{
    int32_t last = -1; /* the jumps to the end, each naming the one before */
    for (;;) {
        size_t start = p->to->code_count;
        dw_status status = sequence(p, depth);
        if (status != DW_OK) {
            return status;
        }
        if (peek(p, 0) != '|') {
            break;
        }
        p->at++;
        int32_t length = (int32_t)(p->to->code_count - start);
        status = insert(p, start, DW__TRIGGER_SPLIT, 1, length + 2);
        status = status == DW_OK ? emit(p, DW__TRIGGER_JUMP, 0, last) : status;
        if (status != DW_OK) {
            return status;
        }
        last = (int32_t)p->to->code_count - 1;
    }
    while (last >= 0) {
        dw__trigger_instruction *jump = &p->to->code[last];
        jump->x = (int32_t)p->to->code_count - last;
        last = jump->y;
        jump->y = 0;
    }
    return DW_OK;
}

static dw_status parse(parser *p, uint32_t kind)
{
    dw_status status = emit(p, DW__TRIGGER_SAVE, 0, 0);
    if (status != DW_OK) {
        return status;
    }
    status = kind == DW_TRIGGER_WORD ? emit_bytes(p, p->text, p->bytes) : alternatives(p, 0);
    if (status != DW_OK) {
        return status;
    }
    if (kind == DW_TRIGGER_PATTERN && p->at < p->bytes) {
        return fail_at(p, p->at, "')' cannot stand here");
    }
    status = emit(p, DW__TRIGGER_SAVE, 1, 0);
    return status == DW_OK ? emit(p, DW__TRIGGER_MATCH, 0, 0) : status;
}

dw_status dw__trigger_parse(dw__trigger_program *program, const dw_trigger *trigger, dw_error *err)
{
    parser p = {.to = program, .text = trigger->text, .bytes = trigger->bytes, .err = err};
    *program = (dw__trigger_program){.ahead_bytes = 1};
    if (trigger->kind != DW_TRIGGER_WORD && trigger->kind != DW_TRIGGER_PATTERN) {
        return dw_fail(err, DW_E_ARG, "kind %u, a word is 0, a pattern 1", trigger->kind);
    }
    if (trigger->bytes == 0 || trigger->bytes > DW_TRIGGER_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "%zu bytes, from 1 to %d is allowed", trigger->bytes,
                       DW_TRIGGER_BYTES_MAX);
    }
    program->bytes = dw_alloc(DW_TRIGGER_BYTES_MAX, 1);
    if (program->bytes == NULL) {
        return no_memory(&p);
    }
    dw_status status = parse(&p, trigger->kind);
    program->slot_count = 2 * (p.group_count + 1);
    return status;
}

void dw__trigger_program_release(dw__trigger_program *program)
{
    dw_free(program->code);
    dw_free(program->classes);
    dw_free(program->looks);
    dw_free(program->literals);
    dw_free(program->bytes);
    *program = (dw__trigger_program){.code = NULL};
}
