/* Values as Python writes them: str(), repr() and json.dumps(), which templates print. */
#include "chat/jinja_internal.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace dw
{
namespace
{

using namespace jinja;

/* A character of UTF-8 text; damaged bytes are characters of their own. */
struct character {
    uint32_t code;
    size_t bytes;
};

character character_at(std::string_view text, size_t at)
{
    auto byte = [&](size_t i) {
        return at + i < text.size() ? (unsigned char)text[at + i] : (unsigned char)0;
    };
    unsigned char first = byte(0);
    size_t bytes = first < 0x80           ? 1
                   : (first >> 5) == 0x6  ? 2
                   : (first >> 4) == 0xe  ? 3
                   : (first >> 3) == 0x1e ? 4
                                          : 0;
    if (bytes <= 1) {
        return {bytes == 1 ? first : 0xfffdu, 1};
    }
    uint32_t code = first & (0xffu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((byte(i) & 0xc0) != 0x80) {
            return {0xfffd, 1};
        }
        code = code << 6 | (byte(i) & 0x3fu);
    }
    return {code, bytes};
}

/* str.isprintable() for what repr() meets in practice: controls, separators, marks of direction. */
bool is_printable(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7f && code <= 0xa0) || code == 0xad) {
        return false;
    }
    if ((code >= 0x2000 && code <= 0x200f) || (code >= 0x2028 && code <= 0x202f) ||
        (code >= 0x205f && code <= 0x206f)) {
        return false;
    }
    return !(code >= 0xd800 && code <= 0xf8ff) && code != 0x3000 && code != 0xfeff &&
           code != 0x1680 && code < 0xe0000;
}

std::string escaped(uint32_t code)
{
    char text[16];
    int digits = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
    char letter = digits == 2 ? 'x' : digits == 4 ? 'u' : 'U';
    (void)std::snprintf(text, sizeof text, "\\%c%0*x", letter, digits, code);
    return text;
}

std::string repr_of_text(const std::string &text)
{
    bool doubled = text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
    char quote = doubled ? '"' : '\'';
    std::string out(1, quote);
    for (size_t i = 0; i < text.size();) {
        character c = character_at(text, i);
        if (c.code == (unsigned char)quote || c.code == '\\') {
            out += '\\';
            out += (char)c.code;
        } else if (c.code == '\n' || c.code == '\r' || c.code == '\t') {
            out += c.code == '\n' ? "\\n" : c.code == '\r' ? "\\r" : "\\t";
        } else if (!is_printable(c.code)) {
            out += escaped(c.code);
        } else {
            out.append(text, i, c.bytes);
        }
        i += c.bytes;
    }
    return out + quote;
}

void append_json_text(std::string &out, const std::string &text, bool ensure_ascii)
{
    out += '"';
    for (size_t i = 0; i < text.size();) {
        character c = character_at(text, i);
        static const char plain[] = "\"\\\n\r\t\b\f";
        static const char letters[] = "\"\\nrtbf";
        const char *found = c.code != 0 && c.code < 0x80
                                ? std::char_traits<char>::find(plain, 7, (char)c.code)
                                : nullptr;
        char unit[16];
        if (found != nullptr) {
            out += '\\';
            out += letters[found - plain];
        } else if (c.code < 0x20 ||
                   (ensure_ascii && c.code >= 0x7f && c.code < 0x10000 && c.code != 0x7f)) {
            (void)std::snprintf(unit, sizeof unit, "\\u%04x", c.code);
            out += unit;
        } else if (ensure_ascii && c.code >= 0x10000) {
            uint32_t rest = c.code - 0x10000;
            (void)std::snprintf(unit, sizeof unit, "\\u%04x\\u%04x", 0xd800 + (rest >> 10),
                                0xdc00 + (rest & 0x3ff));
            out += unit;
        } else {
            out.append(text, i, c.bytes);
        }
        i += c.bytes;
    }
    out += '"';
}

void new_line(std::string &out, const dumps_options &options, int depth)
{
    if (options.indent >= 0) {
        out += '\n';
        out.append((size_t)options.indent * (size_t)depth, ' ');
    }
}

void dump(std::string &out, const value &value, const dumps_options &options, int depth);

void dump_list(std::string &out, const value &value, const dumps_options &options, int depth)
{
    const auto &items = value->as_array();
    out += '[';
    for (size_t i = 0; i < items.size(); i++) {
        out += i > 0 ? options.item_separator : "";
        new_line(out, options, depth + 1);
        dump(out, items[i], options, depth + 1);
    }
    if (!items.empty()) {
        new_line(out, options, depth);
    }
    out += ']';
}

std::string key_text(const value &key)
{
    if (is_val<value_string>(key)) {
        return key->val_str.str();
    }
    if (is_val<value_bool>(key)) {
        return key->as_bool() ? "true" : "false";
    }
    return key->is_none() ? "null" : python_str(key).str();
}

void dump_object(std::string &out, const value &value, const dumps_options &options, int depth)
{
    auto items = value->as_ordered_object();
    if (options.sort_keys) {
        std::stable_sort(items.begin(), items.end(), [](const auto &a, const auto &b) {
            return key_text(a.first) < key_text(b.first);
        });
    }
    out += '{';
    for (size_t i = 0; i < items.size(); i++) {
        out += i > 0 ? options.item_separator : "";
        new_line(out, options, depth + 1);
        append_json_text(out, key_text(items[i].first), options.ensure_ascii);
        out += options.key_separator;
        dump(out, items[i].second, options, depth + 1);
    }
    if (!items.empty()) {
        new_line(out, options, depth);
    }
    out += '}';
}

void dump(std::string &out, const value &value, const dumps_options &options, int depth)
{
    jinja_step();
    size_t before = out.size();
    if (value->is_undefined()) {
        fail_as_python("Object of type Undefined is not JSON serializable");
    } else if (value->is_none()) {
        out += "null";
    } else if (is_val<value_bool>(value)) {
        out += value->as_bool() ? "true" : "false";
    } else if (is_val<value_int>(value)) {
        out += std::to_string(value->as_int());
    } else if (is_val<value_float>(value)) {
        double number = value->as_float();
        out += std::isnan(number)   ? "NaN"
               : std::isinf(number) ? (number > 0 ? "Infinity" : "-Infinity")
                                    : python_float(number);
    } else if (is_val<value_string>(value)) {
        append_json_text(out, value->val_str.str(), options.ensure_ascii);
    } else if (is_val<value_array>(value)) {
        dump_list(out, value, options, depth);
    } else if (is_val<value_object>(value)) {
        dump_object(out, value, options, depth);
    } else {
        fail_as_python("Object of type " + value->type() + " is not JSON serializable");
    }
    if (is_val<value_string>(value)) {
        jinja_charge(out.size() - before);
    }
}

std::string repr_of(const value &value);

std::string repr_of_items(const value &value)
{
    bool tuple = is_val<value_tuple>(value);
    const auto &items = value->as_array();
    std::string out = tuple ? "(" : "[";
    for (size_t i = 0; i < items.size(); i++) {
        out += i > 0 ? ", " : "";
        out += repr_of(items[i]);
    }
    out += tuple && items.size() == 1 ? "," : "";
    return out + (tuple ? ")" : "]");
}

std::string repr_of(const value &value)
{
    jinja_step();
    std::string out;
    if (value->is_none()) {
        out = "None";
    } else if (value->is_undefined()) {
        out = "Undefined";
    } else if (is_val<value_bool>(value)) {
        out = value->as_bool() ? "True" : "False";
    } else if (is_val<value_int>(value)) {
        out = std::to_string(value->as_int());
    } else if (is_val<value_float>(value)) {
        out = python_float(value->as_float());
    } else if (is_val<value_string>(value)) {
        out = repr_of_text(value->val_str.str());
    } else if (is_val<value_array>(value)) {
        out = repr_of_items(value);
    } else if (is_val<value_object>(value)) {
        out = "{";
        for (const auto &[key, item] : value->as_ordered_object()) {
            out += out.size() > 1 ? ", " : "";
            out += repr_of(key) + ": " + repr_of(item);
        }
        out += "}";
    } else {
        out = "<" + value->type() + ">";
    }
    jinja_charge(out.size());
    return out;
}

} // namespace

void fail_as_python(const std::string &message)
{
    throw jinja::raised_exception(message);
}

std::string python_float(double number)
{
    if (std::isnan(number)) {
        return "nan";
    }
    if (std::isinf(number)) {
        return number > 0 ? "inf" : "-inf";
    }
    char digits[32];
    int precision = 1;
    do {
        (void)std::snprintf(digits, sizeof digits, "%.*e", precision - 1, number);
    } while (std::strtod(digits, nullptr) != number && ++precision <= 17);
    int exponent = (int)std::strtol(std::strchr(digits, 'e') + 1, nullptr, 10);
    char text[64];
    if (exponent >= -4 && exponent < 16) {
        int decimals = std::max(precision - 1 - exponent, 1);
        (void)std::snprintf(text, sizeof text, "%.*f", decimals, number);
        return text;
    }
    (void)std::snprintf(text, sizeof text, "%.*e", precision - 1, number);
    return text;
}

std::string python_dumps(const value &value, const dumps_options &options)
{
    std::string out;
    dump(out, value, options, 0);
    jinja_charge(out.size());
    return out;
}

bool is_from_outside(const value &value)
{
    if (value == nullptr) {
        return false;
    }
    jinja_step();
    if (is_val<value_string>(value)) {
        const auto &parts = value->val_str.parts;
        return std::any_of(parts.begin(), parts.end(),
                           [](const string_part &part) { return part.is_input; });
    }
    if (is_val<value_array>(value)) {
        const auto &items = value->as_array();
        return std::any_of(items.begin(), items.end(), is_from_outside);
    }
    if (is_val<value_object>(value)) {
        for (const auto &[key, item] : value->as_ordered_object()) {
            if (is_from_outside(key) || is_from_outside(item)) {
                return true;
            }
        }
    }
    return false;
}

value mark_as_outside(const value &value)
{
    if (is_val<value_string>(value)) {
        auto marked = mk_val<value_string>(value->val_str);
        marked->mark_input();
        return marked;
    }
    if (is_val<value_array>(value)) {
        auto marked = mk_val<value_array>();
        for (const auto &item : value->as_array()) {
            marked->push_back(mark_as_outside(item));
        }
        return is_val<value_tuple>(value)
                   ? std::static_pointer_cast<value_t>(mk_val<value_tuple>(marked->val_arr))
                   : std::static_pointer_cast<value_t>(marked);
    }
    return value;
}

static bool is_numeric(const value &v)
{
    return is_val<value_int>(v) || is_val<value_float>(v) || is_val<value_bool>(v);
}

static bool lists_equal(const value &a, const value &b)
{
    const auto &left = a->as_array(), &right = b->as_array();
    return is_val<value_tuple>(a) == is_val<value_tuple>(b) && left.size() == right.size() &&
           std::equal(left.begin(), left.end(), right.begin(), python_equal);
}

static bool objects_equal(const value &a, const value &b)
{
    if (a->as_ordered_object().size() != b->as_ordered_object().size()) {
        return false;
    }
    for (const auto &[key, item] : a->as_ordered_object()) {
        if (!b->has_key(key) || !python_equal(item, b->at(key))) {
            return false;
        }
    }
    return true;
}

bool python_equal(const value &a, const value &b)
{
    jinja_step();
    if (is_numeric(a) && is_numeric(b)) {
        bool exact = !is_val<value_float>(a) && !is_val<value_float>(b);
        double left = is_val<value_float>(a) ? a->as_float() : (double)a->as_int();
        double right = is_val<value_float>(b) ? b->as_float() : (double)b->as_int();
        return exact ? a->as_int() == b->as_int() : left == right;
    }
    if (is_val<value_string>(a) && is_val<value_string>(b)) {
        return a->val_str.str() == b->val_str.str();
    }
    if (is_val<value_array>(a) && is_val<value_array>(b)) {
        return lists_equal(a, b);
    }
    if (is_val<value_object>(a) && is_val<value_object>(b)) {
        return a == b || objects_equal(a, b);
    }
    return (a->is_none() && b->is_none()) || (a->is_undefined() && b->is_undefined()) || a == b;
}

bool python_contains(const value &container, const value &item)
{
    if (is_val<value_string>(container)) {
        if (!is_val<value_string>(item)) {
            fail_as_python("'in <string>' requires a string as left operand");
        }
        return container->val_str.str().find(item->val_str.str()) != std::string::npos;
    }
    if (is_val<value_array>(container)) {
        const auto &items = container->as_array();
        return std::any_of(items.begin(), items.end(),
                           [&](const value &other) { return python_equal(item, other); });
    }
    if (is_val<value_object>(container)) {
        return item->is_hashable() && item->is_immutable() && container->has_key(item);
    }
    if (!container->is_undefined()) {
        fail_as_python("'in' of a value that holds no others");
    }
    return false;
}

/* One conversion of text % values: %s, %r, %d, %i, %f with a precision. */
static std::string formatted(const std::string &spec, const value &v)
{
    char kind = spec.back();
    if (kind == 's' || kind == 'r') {
        return kind == 's' ? python_str(v).str() : python_repr(v).str();
    }
    if (!is_numeric(v)) {
        fail_as_python("%" + spec + " of a value that is no number");
    }
    char text[400];
    if (kind == 'd' || kind == 'i') {
        return std::to_string(is_val<value_float>(v) ? (int64_t)v->as_float() : v->as_int());
    }
    int precision =
        spec.size() > 1 && spec[0] == '.' ? (int)std::strtol(spec.c_str() + 1, nullptr, 10) : 6;
    if (kind != 'f' || precision < 0 || precision > 30) {
        fail_as_python("the format %" + spec + " is not supported");
    }
    double number = is_val<value_float>(v) ? v->as_float() : (double)v->as_int();
    (void)std::snprintf(text, sizeof text, "%.*f", precision, number);
    return text;
}

value python_format(const value &text, const value &values)
{
    std::vector<value> given =
        is_val<value_tuple>(values) ? values->as_array() : std::vector<value>{values};
    std::string source = text->val_str.str(), out;
    size_t next = 0;
    for (size_t i = 0; i < source.size(); i++) {
        if (source[i] != '%') {
            out += source[i];
            continue;
        }
        size_t end = source.find_first_of("srdif%", i + 1);
        if (end == std::string::npos) {
            fail_as_python("incomplete format");
        }
        if (source[end] == '%') {
            out += '%';
        } else if (next == given.size()) {
            fail_as_python("not enough arguments for format string");
        } else {
            out += formatted(source.substr(i + 1, end - i), given[next++]);
        }
        jinja_charge(out.size() / 64);
        i = end;
    }
    if (next != given.size()) {
        fail_as_python("not all arguments converted during string formatting");
    }
    bool outside = is_from_outside(text) || is_from_outside(values);
    return mk_val<value_string>(jinja::string(out, outside));
}

jinja::string python_repr(const value &value)
{
    return jinja::string(repr_of(value), is_from_outside(value));
}

jinja::string python_str(const value &value)
{
    if (is_val<value_string>(value)) {
        return value->val_str;
    }
    return value->is_undefined() ? jinja::string() : python_repr(value);
}

} // namespace dw
