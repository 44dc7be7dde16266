/* pocketpy, and what is amended in it: exceptions that carry attributes and are classes to derive
 * from, text that is UTF-8, letters, formats, waiting that does not spin.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <time.h>

#include "pocketpy.c"

#include "python.h"
#include "values/unicode_data.h"

/* ---- text ----------------------------------------------------------------------------------- */

size_t dw_python_utf8(unsigned char *to, uint32_t point)
{
    if (point < 0x80) {
        to[0] = (unsigned char)point;
        return 1;
    }
    size_t bytes = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = bytes - 1; i > 0; i--) {
        to[i] = (unsigned char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    to[0] = (unsigned char)((0xf00 >> bytes) | point);
    return bytes;
}

size_t dw_python_character(const unsigned char *text, size_t bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = text[0];
    size_t length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length == 0 || length > bytes || first > 0xf4) {
        return 0;
    }
    uint32_t point = length == 1 ? first : first & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (text[i] & 0x3f);
    }
    bool surrogate = point >= 0xd800 && point < 0xe000;
    return point < least[length] || point > 0x10ffff || surrogate ? 0 : length;
}

void dw_python_text(py_OutRef out, const char *text, size_t bytes)
{
    const unsigned char *from = (const unsigned char *)text;
    c11_sbuf buffer;
    c11_sbuf__ctor(&buffer);
    for (size_t at = 0; at < bytes;) {
        size_t length = dw_python_character(from + at, bytes - at);
        if (length == 0) {
            c11_sbuf__write_cstrn(&buffer, "\xef\xbf\xbd", 3);
            at++;
        } else {
            c11_sbuf__write_cstrn(&buffer, text + at, (int)length);
            at += length;
        }
    }
    c11_sbuf__py_submit(&buffer, out);
}

static bool is_utf8(int argc, py_Ref argv, int at)
{
    if (argc > at && !py_checkstr(&argv[at])) {
        return false;
    }
    const char *name = argc > at ? py_tostr(&argv[at]) : "utf-8";
    if (strcmp(name, "utf-8") != 0 && strcmp(name, "utf8") != 0 && strcmp(name, "UTF-8") != 0 &&
        strcmp(name, "ascii") != 0) {
        return ValueError("encoding '%s': utf-8 is known", name);
    }
    return true;
}

static bool text_encode(int argc, py_Ref argv)
{
    if (argc > 3) {
        return TypeError("encode() takes at most 2 arguments");
    }
    if (!is_utf8(argc, argv, 1)) {
        return false;
    }
    int size;
    const char *data = py_tostrn(argv, &size);
    unsigned char *out = py_newbytes(py_retval(), size);
    memcpy(out, data, (size_t)size);
    return true;
}

static bool bytes_decode_text(int argc, py_Ref argv)
{
    int size;
    if (argc > 3) {
        return TypeError("decode() takes at most 2 arguments");
    }
    if (!is_utf8(argc, argv, 1)) {
        return false;
    }
    const unsigned char *data = py_tobytes(argv, &size);
    bool strict = argc < 3 || !py_isstr(&argv[2]) || strcmp(py_tostr(&argv[2]), "strict") == 0;
    for (int at = 0; strict && at < size;) {
        size_t length = dw_python_character(data + at, (size_t)(size - at));
        if (length == 0) {
            return ValueError("'utf-8' can't decode byte %d at position %d", data[at], at);
        }
        at += (int)length;
    }
    dw_python_text(py_retval(), (const char *)data, (size_t)size);
    return true;
}

static bool bytes_mul(int argc, py_Ref argv)
{
    int size;
    PY_CHECK_ARGC(2);
    if (!py_checkint(&argv[1])) {
        return false;
    }
    const unsigned char *data = py_tobytes(argv, &size);
    int64_t count = py_toint(&argv[1]) < 0 ? 0 : py_toint(&argv[1]);
    if (size > 0 && count > INT32_MAX / size) {
        return ValueError("%d bytes, %i times", size, count);
    }
    unsigned char *out = py_newbytes(py_retval(), (int)count * size);
    for (int64_t i = 0; i < count; i++) {
        memcpy(out + i * size, data, (size_t)size);
    }
    return true;
}

/* Of a list's or tuple's numbers. */
static bool bytes_of_items(py_Ref items)
{
    py_TValue *parts;
    int count = pk_arrayview(items, &parts);
    for (int i = 0; i < count; i++) {
        if (!py_checkint(&parts[i])) {
            return false;
        }
        if (py_toint(&parts[i]) < 0 || py_toint(&parts[i]) > 255) {
            return ValueError("bytes must be in range(0, 256)");
        }
    }
    unsigned char *out = py_newbytes(py_retval(), count);
    for (int i = 0; i < count; i++) {
        out[i] = (unsigned char)py_toint(&parts[i]);
    }
    return true;
}

/* bytes(): none; bytes(n): zeros; bytes(text, encoding); bytes(what can be gone through). */
static bool bytes_new(int argc, py_Ref argv)
{
    int size = 0;
    if (argc == 1) {
        py_newbytes(py_retval(), 0);
        return true;
    }
    if (py_isstr(&argv[1]) && argc > 2) {
        return text_encode(argc - 1, &argv[1]);
    }
    if (py_isstr(&argv[1])) {
        return TypeError("string argument without an encoding");
    }
    if (argc > 2) {
        return TypeError("encoding without a string argument");
    }
    if (py_isint(&argv[1])) {
        int64_t count = py_toint(&argv[1]);
        if (count < 0 || count > INT32_MAX) {
            return ValueError(count < 0 ? "negative count" : "%i bytes", count);
        }
        memset(py_newbytes(py_retval(), (int)count), 0, (size_t)count);
        return true;
    }
    if (py_istype(&argv[1], tp_bytes)) {
        const unsigned char *data = py_tobytes(&argv[1], &size);
        memcpy(py_newbytes(py_retval(), size), data, (size_t)size);
        return true;
    }
    if (!py_tpcall(tp_list, 1, &argv[1])) {
        return false;
    }
    py_push(py_retval());
    bool good = bytes_of_items(py_peek(-1));
    py_pop();
    return good;
}

static bool bytes_join(int argc, py_Ref argv)
{
    int between, size;
    py_TValue *parts;
    PY_CHECK_ARGC(2);
    const unsigned char *data = py_tobytes(argv, &between);
    int count = pk_arrayview(&argv[1], &parts);
    if (count < 0) {
        return TypeError("join() takes a list or a tuple");
    }
    int64_t all = count > 1 ? (int64_t)(count - 1) * between : 0;
    for (int i = 0; i < count; i++) {
        if (!py_checktype(&parts[i], tp_bytes)) {
            return false;
        }
        (void)py_tobytes(&parts[i], &size);
        all += size;
    }
    if (all > INT32_MAX) {
        return ValueError("%i bytes", all);
    }
    unsigned char *out = py_newbytes(py_retval(), (int)all);
    for (int i = 0; i < count; i++) {
        const unsigned char *part = py_tobytes(&parts[i], &size);
        memcpy(out, part, (size_t)size);
        out += size;
        if (i + 1 < count) {
            memcpy(out, data, (size_t)between);
            out += between;
        }
    }
    return true;
}

/* As Python quotes text or, with `whole` false, bytes one by one. */
static void put_quoted(c11_sbuf *to, const unsigned char *data, int size, bool whole)
{
    static const char marked[] = "\\\n\r\t";
    static const char letters[] = "\\nrt";
    bool single = memchr(data, '\'', (size_t)size) != NULL;
    char quote = single && memchr(data, '"', (size_t)size) == NULL ? '"' : '\'';
    c11_sbuf__write_char(to, quote);
    for (int i = 0; i < size; i++) {
        const char *known = data[i] != 0 ? strchr(marked, data[i]) : NULL;
        char text[8];
        if (known != NULL || data[i] == quote) {
            snprintf(text, sizeof text, "\\%c", known != NULL ? letters[known - marked] : quote);
        } else if (data[i] < 0x20 || data[i] == 0x7f || (data[i] > 0x7f && !whole)) {
            snprintf(text, sizeof text, "\\x%02x", data[i]);
        } else {
            snprintf(text, sizeof text, "%c", data[i]);
        }
        c11_sbuf__write_cstr(to, text);
    }
    c11_sbuf__write_char(to, quote);
}

static bool bytes_repr(int argc, py_Ref argv)
{
    PY_CHECK_ARGC(1);
    int size;
    const unsigned char *data = py_tobytes(argv, &size);
    c11_sbuf buffer;
    c11_sbuf__ctor(&buffer);
    c11_sbuf__write_char(&buffer, 'b');
    put_quoted(&buffer, data, size, false);
    c11_sbuf__py_submit(&buffer, py_retval());
    return true;
}

static bool text_repr(int argc, py_Ref argv)
{
    PY_CHECK_ARGC(1);
    int size;
    const char *data = py_tostrn(argv, &size);
    c11_sbuf buffer;
    c11_sbuf__ctor(&buffer);
    put_quoted(&buffer, (const unsigned char *)data, size, true);
    c11_sbuf__py_submit(&buffer, py_retval());
    return true;
}

/* None is a key as others are. */
static bool none_hash(int argc, py_Ref argv)
{
    (void)argv;
    PY_CHECK_ARGC(1);
    py_newint(py_retval(), 0x6e6f6e65);
    return true;
}

/* ---- formats --------------------------------------------------------------------------------- */

/* "!r:>8,.2f" behind a value: conversion, fill, alignment, sign, '#', '0', width, grouping,
 * precision, type. */
typedef struct format_spec {
    c11_sv fill;
    char align; /* 0: by the value */
    char sign;
    char grouping;
    char type;  /* 0: none */
    bool other; /* '#' */
    int width;
    int precision; /* -1: none */
} format_spec;

static int take_count(c11_sv *rest, int none)
{
    int count = none;
    while (rest->size > 0 && *rest->data >= '0' && *rest->data <= '9' && count < 1000000) {
        count = (count < 0 ? 0 : count) * 10 + (*rest->data - '0');
        *rest = c11_sv__slice(*rest, 1);
    }
    return count;
}

static bool take_char(c11_sv *rest, const char *among, char *out)
{
    if (rest->size > 0 && strchr(among, *rest->data) != NULL) {
        *out = *rest->data;
        *rest = c11_sv__slice(*rest, 1);
        return true;
    }
    return false;
}

static bool read_format(c11_sv text, format_spec *out)
{
    char none;
    c11_sv rest = text;
    *out = (format_spec){.fill = {" ", 1}, .precision = -1};
    int first = rest.size > 0
                    ? (int)dw_python_character((const unsigned char *)rest.data, (size_t)rest.size)
                    : 0;
    if (first > 0 && rest.size > first && strchr("<>=^", rest.data[first]) != NULL) {
        out->fill = c11_sv__slice2(rest, 0, first);
        rest = c11_sv__slice(rest, first);
    }
    (void)take_char(&rest, "<>=^", &out->align);
    (void)take_char(&rest, "+- ", &out->sign);
    out->other = take_char(&rest, "#", &none);
    if (take_char(&rest, "0", &none) && out->align == 0) {
        out->fill = (c11_sv){"0", 1};
        out->align = '=';
    }
    out->width = take_count(&rest, 0);
    (void)take_char(&rest, ",_", &out->grouping);
    if (take_char(&rest, ".", &none)) {
        out->precision = take_count(&rest, -1);
        if (out->precision < 0) {
            return ValueError("Format specifier missing precision");
        }
    }
    (void)take_char(&rest, "bcdeEfFgGnosxX%", &out->type);
    if (rest.size > 0 || out->width > 65536 || out->precision > 65536) {
        return ValueError("Invalid format specifier '%v'", text);
    }
    return true;
}

/* The number's digits without its sign, with groups. */
static void put_groups(c11_sbuf *to, const char *digits, const format_spec *spec)
{
    bool hex = spec->type == 'x' || spec->type == 'X';
    int whole = (int)strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
    int size = hex || spec->type == 'b' || spec->type == 'o' ? 4 : 3;
    for (int i = 0; i < whole; i++) {
        if (spec->grouping != 0 && i > 0 && (whole - i) % size == 0) {
            c11_sbuf__write_char(to, spec->grouping);
        }
        c11_sbuf__write_char(to, digits[i]);
    }
    c11_sbuf__write_cstr(to, digits + whole);
}

static bool int_digits(py_Ref value, const format_spec *spec, char text[128])
{
    int64_t number = py_isbool(value) ? py_tobool(value) : py_toint(value);
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    if (spec->precision >= 0) {
        return ValueError("Precision not allowed in integer format specifier");
    }
    if (spec->type == 'b') {
        int at = 0;
        for (int bit = 63; bit >= 0; bit--) {
            if (at > 0 || bit == 0 || (size >> bit & 1) != 0) {
                text[at++] = (char)('0' + (size >> bit & 1));
            }
        }
        text[at] = '\0';
        return true;
    }
    const char *form = spec->type == 'x'   ? "%llx"
                       : spec->type == 'X' ? "%llX"
                       : spec->type == 'o' ? "%llo"
                                           : "%llu";
    snprintf(text, 128, form, (unsigned long long)size);
    return true;
}

/* Of a float's size, which is not negative. To be freed. */
static char *float_digits(py_Ref value, double size, const format_spec *spec)
{
    char form[16];
    char type = spec->type == '%' ? 'f' : spec->type == 'n' ? 'g' : spec->type;
    int precision = spec->precision < 0 ? 6 : spec->precision;
    size = spec->type == '%' ? size * 100.0 : size;
    if (spec->type == 0 && spec->precision < 0 && py_isfloat(value)) {
        c11_sbuf plain;
        c11_sbuf__ctor(&plain);
        c11_sbuf__write_f64(&plain, size, -1);
        c11_string *made = c11_sbuf__submit(&plain);
        char *copy = strdup(made->data);
        c11_string__delete(made);
        return copy;
    }
    snprintf(form, sizeof form, "%%%s.*%c", spec->other ? "#" : "", type == 0 ? 'g' : type);
    int bytes = snprintf(NULL, 0, form, precision, size);
    char *text = malloc((size_t)bytes + 3);
    if (text != NULL) {
        snprintf(text, (size_t)bytes + 1, form, precision, size);
        strcat(text, spec->type == '%' ? "%" : "");
    }
    return text;
}

/* Brings the text to the spec's width in characters. */
static void put_padded(c11_sbuf *to, c11_sv sign, c11_sv body, const format_spec *spec, char align)
{
    int space = spec->width - c11_sv__u8_length(sign) - c11_sv__u8_length(body);
    space = space < 0 ? 0 : space;
    int left = align == '>' || align == '=' ? space : align == '^' ? space / 2 : 0;
    if (align == '=') {
        c11_sbuf__write_sv(to, sign);
    }
    for (int i = 0; i < left; i++) {
        c11_sbuf__write_sv(to, spec->fill);
    }
    if (align != '=') {
        c11_sbuf__write_sv(to, sign);
    }
    c11_sbuf__write_sv(to, body);
    for (int i = left; i < space; i++) {
        c11_sbuf__write_sv(to, spec->fill);
    }
}

static bool format_number(py_Ref value, const format_spec *spec)
{
    char whole[128];
    char sign[4] = "";
    double real = 0.0;
    bool is_float = py_isfloat(value) || (spec->type != 0 && strchr("eEfFgG%", spec->type) != NULL);
    bool negative;
    char *digits = whole;
    if (is_float) {
        real = py_isbool(value) && py_tobool(value) ? 1.0 : 0.0;
        if (!py_isbool(value) && !py_castfloat(value, &real)) {
            return false;
        }
        if (spec->type != 0 && strchr("eEfFgGn%", spec->type) == NULL) {
            return ValueError("Unknown format code '%c' for object of type 'float'", spec->type);
        }
        negative = signbit(real) != 0;
        digits = float_digits(value, fabs(real), spec);
    } else {
        negative = py_isint(value) && py_toint(value) < 0;
        if (!int_digits(value, spec, whole)) {
            return false;
        }
    }
    size_t at = negative || spec->sign == '+' || spec->sign == ' ';
    sign[0] = negative ? '-' : spec->sign;
    if (spec->other && !is_float && spec->type != 0 && strchr("xXob", spec->type) != NULL) {
        sign[at] = '0';
        sign[at + 1] = spec->type;
        at += 2;
    }
    c11_sbuf body, out;
    c11_sbuf__ctor(&body);
    c11_sbuf__ctor(&out);
    put_groups(&body, digits != NULL ? digits : "", spec);
    if (digits != whole) {
        free(digits);
    }
    c11_string *text = c11_sbuf__submit(&body);
    put_padded(&out, (c11_sv){sign, (int)at}, c11_string__sv(text), spec,
               spec->align != 0 ? spec->align : '>');
    c11_string__delete(text);
    c11_sbuf__py_submit(&out, py_retval());
    return true;
}

static bool format_value(py_Ref value, c11_sv text)
{
    format_spec spec;
    char conversion = 0;
    if (*text.data == '!' && text.size >= 2) {
        conversion = text.data[1];
        text = c11_sv__slice(text, 2);
        if (strchr("rsa", conversion) == NULL) {
            return ValueError("conversion '!%c': r, s and a are known", conversion);
        }
        if (!(conversion == 's' ? py_str(value) : py_repr(value))) {
            return false;
        }
        py_assign(value, py_retval());
    }
    if (text.size > 0 && *text.data == ':') {
        text = c11_sv__slice(text, 1);
    }
    if (!read_format(text, &spec)) {
        return false;
    }
    if ((py_isint(value) || py_isfloat(value) || (py_isbool(value) && text.size > 0)) &&
        spec.type != 'c' && spec.type != 's') {
        return format_number(value, &spec);
    }
    if (spec.type == 'c' && py_isint(value)) {
        unsigned char bytes[4];
        size_t count = dw_python_utf8(bytes, (uint32_t)py_toint(value));
        py_newstrv(py_retval(), (c11_sv){(const char *)bytes, (int)count});
    } else if ((spec.type != 0 && spec.type != 's') || spec.grouping != 0 || spec.sign != 0 ||
               spec.align == '=') {
        return ValueError("Invalid format specifier '%v' for object of type '%t'", text,
                          value->type);
    } else if (!py_str(value)) {
        return false;
    }
    py_Ref kept = py_pushtmp();
    py_assign(kept, py_retval());
    c11_sv body = py_tosv(kept);
    if (spec.precision >= 0 && spec.precision < c11_sv__u8_length(body)) {
        body = c11_sv__slice2(body, 0, c11__unicode_index_to_byte(body.data, spec.precision));
    }
    c11_sbuf out;
    c11_sbuf__ctor(&out);
    put_padded(&out, (c11_sv){"", 0}, body, &spec, spec.align != 0 ? spec.align : '<');
    py_pop();
    c11_sbuf__py_submit(&out, py_retval());
    return true;
}

/* ---- exceptions ----------------------------------------------------------------------------- */

/* As pocketpy's, with attributes. */
static bool exception_new(int argc, py_Ref argv)
{
    (void)argc;
    BaseException *own = py_newobject(py_retval(), py_totype(argv), -1, sizeof(BaseException));
    py_newnil(&own->args);
    py_newnil(&own->inner_exc);
    c11_vector__ctor(&own->stacktrace, sizeof(BaseExceptionFrame));
    return true;
}

/* Several arguments are one tuple. */
static bool exception_init(int argc, py_Ref argv)
{
    BaseException *own = py_touserdata(argv);
    if (argc == 2) {
        py_assign(&own->args, &argv[1]);
    } else if (argc > 2) {
        py_TValue tuple;
        py_ObjectRef items = py_newtuple(&tuple, argc - 1);
        memcpy(items, argv + 1, (size_t)(argc - 1) * sizeof(py_TValue));
        py_assign(&own->args, &tuple);
    }
    py_newnone(py_retval());
    return true;
}

static bool exception_args(int argc, py_Ref argv)
{
    PY_CHECK_ARGC(1);
    BaseException *own = py_touserdata(argv);
    if (py_isnil(&own->args)) {
        py_newtuple(py_retval(), 0);
    } else if (py_istuple(&own->args)) {
        py_assign(py_retval(), &own->args);
    } else {
        py_newtuple(py_retval(), 1)[0] = own->args;
    }
    return true;
}

/* What SystemExit was made with. */
static bool exit_code(int argc, py_Ref argv)
{
    PY_CHECK_ARGC(1);
    BaseException *own = py_touserdata(argv);
    if (py_isnil(&own->args)) {
        py_newnone(py_retval());
    } else {
        py_assign(py_retval(), &own->args);
    }
    return true;
}

/* ---- time ----------------------------------------------------------------------------------- */

/* WASI has no clock of processor time. */
clock_t clock(void)
{
    return (clock_t)(time_monotonic_ns() / (1000000000 / CLOCKS_PER_SEC));
}

static bool sleep_quietly(int argc, py_Ref argv)
{
    py_f64 seconds;
    PY_CHECK_ARGC(1);
    if (!py_castfloat(argv, &seconds)) {
        return false;
    }
    if (!(seconds >= 0.0) || seconds > 1e9) {
        return ValueError("sleep of %f seconds", seconds);
    }
    struct timespec rest = {.tv_sec = (time_t)seconds};
    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {}
    py_newnone(py_retval());
    return true;
}

/* ---- letters -------------------------------------------------------------------------------- */

static bool is_letter(uint32_t point)
{
    size_t low = 0;
    size_t high = sizeof alphabetic / sizeof alphabetic[0];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (alphabetic[middle].last < point) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < sizeof alphabetic / sizeof alphabetic[0] && alphabetic[low].first <= point;
}

/* Whether a text is letters alone, or letters and digits, which are those of ASCII as for isdigit. */
static bool text_is(int argc, py_Ref argv, bool digits)
{
    PY_CHECK_ARGC(1);
    int bytes;
    const char *text = py_tostrn(argv, &bytes);
    bool fine = bytes > 0;
    for (int at = 0, length; fine && at < bytes; at += length) {
        length = (int)dw_python_character((const unsigned char *)text + at, (size_t)(bytes - at));
        uint32_t point = length > 0 ? (uint32_t)c11__u8_value(length, text + at) : 0;
        fine = is_letter(point) || (digits && point >= '0' && point <= '9');
    }
    py_newbool(py_retval(), fine);
    return true;
}

static bool text_isalpha(int argc, py_Ref argv)
{
    return text_is(argc, argv, false);
}

static bool text_isalnum(int argc, py_Ref argv)
{
    return text_is(argc, argv, true);
}

void dw_python_amend(void)
{
    py_bindmethod(tp_str, "encode", text_encode);
    py_bindmethod(tp_bytes, "decode", bytes_decode_text);
    py_bindmethod(tp_str, "isalpha", text_isalpha);
    py_bindmethod(tp_str, "isalnum", text_isalnum);
    py_bindmagic(tp_bytes, __new__, bytes_new);
    py_bindmagic(tp_bytes, __repr__, bytes_repr);
    py_bindmagic(tp_bytes, __mul__, bytes_mul);
    py_bindmethod(tp_bytes, "join", bytes_join);
    py_bindmagic(tp_str, __repr__, text_repr);
    py_bindmagic(tp_NoneType, __hash__, none_hash);
    py_bindmagic(tp_BaseException, __new__, exception_new);
    py_bindmagic(tp_BaseException, __init__, exception_init);
    py_bindproperty(tp_BaseException, "args", exception_args, NULL);
    py_bindproperty(tp_SystemExit, "code", exit_code, NULL);
    for (int type = tp_SystemExit; type <= tp_KeyError; type++) {
        pk_typeinfo((py_Type)type)->is_final = false; /* programs have errors of their own */
    }
    py_bindfunc(py_getmodule("time"), "sleep", sleep_quietly);
}
