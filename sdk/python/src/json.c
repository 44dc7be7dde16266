/* The module `json` of the guest `python`, in the place of pocketpy's, whose reader evaluates what it
 * reads as Python: what a model or a stranger wrote is no program.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python.h"

#define DEPTH_MAX 200 /* of arrays and objects within each other */

static py_Type error_type;

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct reader {
    const unsigned char *text;
    size_t bytes;
    size_t at;
    int depth;
} reader;

static bool read_value(reader *from, py_OutRef out);

/* As CPython tells it: line, column, character. */
static bool wrong(const reader *from, const char *what)
{
    int line = 1;
    int column = 1;
    int characters = 0;
    for (size_t i = 0; i < from->at && i < from->bytes; i++) {
        bool begins = (from->text[i] & 0xc0) != 0x80;
        characters += begins;
        column = from->text[i] == '\n' ? 1 : column + begins;
        line += from->text[i] == '\n';
    }
    return py_exception(error_type, "%s: line %d column %d (char %d)", what, line, column,
                        characters);
}

static int peek_byte(const reader *from)
{
    return from->at < from->bytes ? from->text[from->at] : -1;
}

static int next_word(reader *from)
{
    while (from->at < from->bytes && memchr(" \t\n\r", from->text[from->at], 4) != NULL) {
        from->at++;
    }
    return peek_byte(from);
}

static bool read_hex(reader *from, uint32_t *point)
{
    *point = 0;
    for (int i = 0; i < 4; i++, from->at++) {
        int byte = peek_byte(from);
        int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                    : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                 : -1;
        if (digit < 0) {
            return wrong(from, "Invalid \\uXXXX escape");
        }
        *point = *point << 4 | (uint32_t)digit;
    }
    return true;
}

/* Behind a backslash: what it stands for, appended. A surrogate alone is U+FFFD. */
static bool read_escape(reader *from, unsigned char *to, size_t *length)
{
    static const char names[] = "\"\\/bfnrt";
    static const char means[] = "\"\\/\b\f\n\r\t";
    int byte = peek_byte(from);
    const char *known = byte > 0 ? strchr(names, byte) : NULL;
    if (known != NULL) {
        to[(*length)++] = (unsigned char)means[known - names];
        from->at++;
        return true;
    }
    if (byte != 'u') {
        from->at--;
        return wrong(from, "Invalid \\escape");
    }
    uint32_t point, low;
    from->at++;
    if (!read_hex(from, &point)) {
        return false;
    }
    if (point >= 0xd800 && point < 0xdc00 && from->bytes - from->at >= 6 &&
        from->text[from->at] == '\\' && from->text[from->at + 1] == 'u') {
        reader pair = *from;
        pair.at += 2;
        if (!read_hex(&pair, &low)) {
            *from = pair;
            return false;
        }
        if (low >= 0xdc00 && low < 0xe000) {
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            *from = pair;
        }
    }
    if (point >= 0xd800 && point < 0xe000) {
        point = 0xfffd;
    }
    *length += dw_python_utf8(to + *length, point);
    return true;
}

/* Behind the opening quote. */
static bool read_string(reader *from, py_OutRef out)
{
    size_t start = from->at - 1;
    size_t room = 0;
    for (size_t i = from->at; i < from->bytes && from->text[i] != '"'; i++, room++) {
        i += from->text[i] == '\\';
    }
    unsigned char *text = malloc(2 * room + 8); /* \u1234 has 6 bytes, and becomes at most 3 */
    size_t length = 0;
    bool fine = text != NULL;
    while (fine) {
        int byte = peek_byte(from);
        if (byte < 0) {
            from->at = start;
            fine = wrong(from, "Unterminated string starting at");
        } else if (byte == '"') {
            from->at++;
            break;
        } else if (byte < 0x20) {
            fine = wrong(from, "Invalid control character at");
        } else if (byte == '\\') {
            from->at++;
            fine = read_escape(from, text, &length);
        } else {
            text[length++] = (unsigned char)byte;
            from->at++;
        }
    }
    if (fine) {
        dw_python_text(out, (const char *)text, length);
    }
    free(text);
    return fine;
}

static bool read_number(reader *from, py_OutRef out)
{
    size_t start = from->at;
    bool whole = true;
    from->at += peek_byte(from) == '-';
    size_t digits = from->at;
    while (peek_byte(from) >= '0' && peek_byte(from) <= '9') {
        from->at++;
    }
    bool fine = from->at > digits && (from->text[digits] != '0' || from->at == digits + 1);
    if (!fine) {
        from->at = from->at > digits ? digits + 1 : start;
        return wrong(from, from->at > start ? "Extra data" : "Expecting value");
    }
    if (peek_byte(from) == '.' && from->at + 1 < from->bytes &&
        strchr("0123456789", from->text[from->at + 1]) != NULL) {
        whole = false;
        for (from->at++; peek_byte(from) >= '0' && peek_byte(from) <= '9';) {
            from->at++;
        }
    }
    if (peek_byte(from) == 'e' || peek_byte(from) == 'E') {
        size_t at = from->at + 1;
        at += at < from->bytes && (from->text[at] == '+' || from->text[at] == '-');
        if (at < from->bytes && from->text[at] >= '0' && from->text[at] <= '9') {
            whole = false;
            for (from->at = at; peek_byte(from) >= '0' && peek_byte(from) <= '9';) {
                from->at++;
            }
        }
    }
    errno = 0;
    long long value = whole ? strtoll((const char *)from->text + start, NULL, 10) : 0;
    if (whole && errno == 0) {
        py_newint(out, value);
    } else { /* more than 64 bits as well */
        py_newfloat(out, strtod((const char *)from->text + start, NULL));
    }
    return true;
}

static bool read_array(reader *from, py_OutRef out)
{
    py_newlist(out);
    if (next_word(from) == ']') {
        from->at++;
        return true;
    }
    for (;;) {
        py_TValue item;
        if (!read_value(from, &item)) {
            return false;
        }
        py_list_append(out, &item);
        int byte = next_word(from);
        if (byte == ']') {
            from->at++;
            return true;
        }
        if (byte != ',') {
            return wrong(from, "Expecting ',' delimiter");
        }
        from->at++;
    }
}

static bool read_object(reader *from, py_OutRef out)
{
    py_newdict(out);
    if (next_word(from) == '}') {
        from->at++;
        return true;
    }
    for (;;) {
        py_TValue key, value;
        if (next_word(from) != '"') {
            return wrong(from, "Expecting property name enclosed in double quotes");
        }
        from->at++;
        if (!read_string(from, &key)) {
            return false;
        }
        if (next_word(from) != ':') {
            return wrong(from, "Expecting ':' delimiter");
        }
        from->at++;
        if (!read_value(from, &value) || !py_dict_setitem(out, &key, &value)) {
            return false;
        }
        int byte = next_word(from);
        if (byte == '}') {
            from->at++;
            return true;
        }
        if (byte != ',') {
            return wrong(from, "Expecting ',' delimiter");
        }
        from->at++;
    }
}

/* Numbers that JSON has not, but CPython's module reads and writes, among them. */
static bool read_name(reader *from, py_OutRef out)
{
    static const char *const names[] = {"null", "true", "false", "NaN", "Infinity", "-Infinity"};
    for (int i = 0; i < 6; i++) {
        size_t length = strlen(names[i]);
        if (from->bytes - from->at >= length &&
            memcmp(from->text + from->at, names[i], length) == 0) {
            from->at += length;
            if (i == 0) {
                py_newnone(out);
            } else if (i < 3) {
                py_newbool(out, i == 1);
            } else {
                py_newfloat(out, i == 3 ? (double)NAN : i == 4 ? HUGE_VAL : -HUGE_VAL);
            }
            return true;
        }
    }
    return peek_byte(from) == '-' || (peek_byte(from) >= '0' && peek_byte(from) <= '9')
               ? read_number(from, out)
               : wrong(from, "Expecting value");
}

static bool read_value(reader *from, py_OutRef out)
{
    int byte = next_word(from);
    if (byte != '"' && byte != '[' && byte != '{') {
        return read_name(from, out);
    }
    if (from->depth == DEPTH_MAX) {
        return wrong(from, "More than 200 arrays and objects within each other");
    }
    from->at++;
    from->depth++;
    bool fine = byte == '"'   ? read_string(from, out)
                : byte == '[' ? read_array(from, out)
                              : read_object(from, out);
    from->depth--;
    return fine;
}

/* loads(text): str or bytes. */
static bool json_loads(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    int bytes = 0;
    reader from = {.depth = 0};
    if (py_istype(argv, tp_bytes)) {
        from.text = py_tobytes(argv, &bytes);
    } else if (py_checkstr(argv)) {
        from.text = (const unsigned char *)py_tostrn(argv, &bytes);
    } else {
        return false;
    }
    py_TValue value;
    /* A number is read by strtod, which stops at the first byte that is none of it: text of a str has
     * a NUL behind, that of bytes is copied to have one. */
    char *copy = malloc((size_t)bytes + 1);
    if (copy == NULL) {
        return RuntimeError("no memory for %d bytes of JSON", bytes);
    }
    memcpy(copy, from.text, (size_t)bytes);
    copy[bytes] = '\0';
    from.text = (const unsigned char *)copy;
    from.bytes = (size_t)bytes;
    bool fine = read_value(&from, &value);
    if (fine && next_word(&from) >= 0) {
        fine = wrong(&from, "Extra data");
    }
    free(copy);
    if (fine) {
        py_assign(py_retval(), &value);
    }
    return fine;
}

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct writer {
    char *text;
    size_t bytes;
    size_t room;
    bool failed; /* no memory */
    bool ascii;
    bool first;
    int indent; /* < 0: on one line */
    int depth;
} writer;

static bool write_value(writer *to, py_Ref value);

static void put(writer *to, const char *text, size_t bytes)
{
    if (to->room - to->bytes < bytes && !to->failed) {
        size_t room = 2 * (to->room + bytes) + 64;
        char *more = realloc(to->text, room);
        to->failed = more == NULL;
        if (more != NULL) {
            to->text = more;
            to->room = room;
        }
    }
    if (!to->failed) {
        memcpy(to->text + to->bytes, text, bytes);
        to->bytes += bytes;
    }
}

static void put_line(writer *to)
{
    put(to, "\n", to->indent >= 0);
    for (int i = 0; i < to->indent * to->depth; i++) {
        put(to, " ", 1);
    }
}

/* The code point of a valid character. */
static uint32_t point_of(const unsigned char *text, size_t bytes)
{
    uint32_t point = bytes == 1 ? text[0] : text[0] & (0x7fU >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        point = point << 6 | (text[i] & 0x3f);
    }
    return point;
}

static void put_string(writer *to, const char *text, size_t bytes)
{
    static const char marked[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    char escape[16];
    put(to, "\"", 1);
    for (size_t at = 0, length; at < bytes; at += length) {
        const unsigned char *from = (const unsigned char *)text + at;
        length = dw_python_character(from, bytes - at);
        const char *known = length == 1 && from[0] != 0 ? strchr(marked, from[0]) : NULL;
        uint32_t point = length > 0 ? point_of(from, length) : 0xfffd;
        length = length > 0 ? length : 1;
        int count = 0;
        if (known != NULL) {
            count = snprintf(escape, sizeof escape, "\\%c", letters[known - marked]);
        } else if (point >= 0x10000 && to->ascii) {
            count = snprintf(escape, sizeof escape, "\\u%04x\\u%04x",
                             (unsigned)(0xd800 + ((point - 0x10000) >> 10)),
                             (unsigned)(0xdc00 + (point & 0x3ff)));
        } else if (point < 0x20 || (point >= 0x7f && to->ascii)) {
            count = snprintf(escape, sizeof escape, "\\u%04x", (unsigned)point);
        } else {
            count = (int)dw_python_utf8((unsigned char *)escape, point);
        }
        put(to, escape, (size_t)count);
    }
    put(to, "\"", 1);
}

static bool write_key(writer *to, py_Ref key)
{
    int bytes;
    char text[32];
    if (py_isstr(key)) {
        const char *own = py_tostrn(key, &bytes);
        put_string(to, own, (size_t)bytes);
        return true;
    }
    if (py_isint(key)) {
        snprintf(text, sizeof text, "%lld", (long long)py_toint(key));
    } else if (py_isbool(key)) {
        snprintf(text, sizeof text, "%s", py_tobool(key) ? "true" : "false");
    } else if (py_isnone(key)) {
        snprintf(text, sizeof text, "null");
    } else {
        return TypeError("keys must be str, int, bool or None, not %t", py_typeof(key));
    }
    put_string(to, text, strlen(text));
    return true;
}

static bool write_member(py_Ref key, py_Ref value, void *user)
{
    writer *to = user;
    put(to, ", ", to->first ? 0 : to->indent >= 0 ? 1 : 2);
    to->first = false;
    put_line(to);
    if (!write_key(to, key)) {
        return false;
    }
    put(to, ": ", 2);
    bool fine = write_value(to, value);
    to->first = false;
    return fine;
}

static bool write_items(writer *to, py_Ref value)
{
    bool list = py_islist(value);
    int count = list ? py_list_len(value) : py_tuple_len(value);
    put(to, "[", 1);
    to->depth++;
    for (int i = 0; i < count; i++) {
        put(to, ", ", i == 0 ? 0 : to->indent >= 0 ? 1 : 2);
        put_line(to);
        if (!write_value(to, list ? py_list_getitem(value, i) : py_tuple_getitem(value, i))) {
            return false;
        }
    }
    to->depth--;
    if (count > 0) {
        put_line(to);
    }
    put(to, "]", 1);
    return true;
}

static bool write_members(writer *to, py_Ref value)
{
    put(to, "{", 1);
    to->depth++;
    to->first = true;
    if (!py_dict_apply(value, write_member, to)) {
        return false;
    }
    to->depth--;
    if (py_dict_len(value) > 0) {
        put_line(to);
    }
    put(to, "}", 1);
    return true;
}

static bool write_number(writer *to, py_Ref value)
{
    char text[32];
    if (py_isint(value)) {
        put(to, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)py_toint(value)));
        return true;
    }
    double real = py_tofloat(value);
    if (isnan(real) || isinf(real)) {
        const char *name = isnan(real) ? "NaN" : real < 0.0 ? "-Infinity" : "Infinity";
        put(to, name, strlen(name));
        return true;
    }
    for (int digits = 15; digits <= 17; digits++) { /* the fewest that are the same number again */
        snprintf(text, sizeof text, "%.*g", digits, real);
        if (strtod(text, NULL) == real) {
            break;
        }
    }
    if (strpbrk(text, ".e") == NULL) {
        strcat(text, ".0");
    }
    put(to, text, strlen(text));
    return true;
}

static bool write_value(writer *to, py_Ref value)
{
    int bytes;
    if (to->depth == DEPTH_MAX) {
        return ValueError("more than %d lists and dicts within each other", DEPTH_MAX);
    }
    if (py_isnone(value)) {
        put(to, "null", 4);
    } else if (py_isbool(value)) {
        put(to, py_tobool(value) ? "true" : "false", py_tobool(value) ? 4 : 5);
    } else if (py_isint(value) || py_isfloat(value)) {
        return write_number(to, value);
    } else if (py_isstr(value)) {
        const char *text = py_tostrn(value, &bytes);
        put_string(to, text, (size_t)bytes);
    } else if (py_islist(value) || py_istuple(value)) {
        return write_items(to, value);
    } else if (py_isinstance(value, tp_dict)) {
        return write_members(to, value);
    } else {
        return TypeError("Object of type %t is not JSON serializable", py_typeof(value));
    }
    return true;
}

/* dumps(obj, indent=None, ensure_ascii=True) */
static bool json_dumps(int argc, py_StackRef argv)
{
    (void)argc;
    writer to = {.indent = -1, .ascii = py_bool(py_arg(2)) == 1};
    if (!py_isnone(py_arg(1))) {
        if (!py_checkint(py_arg(1))) {
            return false;
        }
        py_i64 indent = py_toint(py_arg(1));
        to.indent = indent < 0 ? 0 : indent > 64 ? 64 : (int)indent;
    }
    bool fine = write_value(&to, py_arg(0));
    if (fine && to.failed) {
        fine = RuntimeError("no memory for JSON");
    }
    if (fine) {
        memcpy(py_newstrn(py_retval(), (int)to.bytes), to.text, to.bytes);
    }
    free(to.text);
    return fine;
}

void dw_python_add_json(void)
{
    py_GlobalRef module = py_getmodule("json");
    error_type = py_newtype("JSONDecodeError", tp_ValueError, module, NULL);
    py_setdict(module, py_name("JSONDecodeError"), py_tpobject(error_type));
    py_bindfunc(module, "loads", json_loads);
    py_bind(module, "dumps(obj, indent=None, ensure_ascii=True)", json_dumps);
}
