/* text % values and text.format(...). */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "values/values.h"

namespace dw
{

using namespace jinja;

namespace
{

constexpr size_t width_max = 1u << 20;

/* [fill]align, sign, #, 0, width, grouping, precision, kind of either notation. */
struct layout {
    std::string fill = " ";
    char align = '\0'; /* < > ^ = */
    char sign = '-';
    bool alternate = false;
    char grouping = '\0';
    size_t width = 0;
    int precision = -1;
    char kind = '\0';
};

size_t number_in(std::string_view text, size_t &at, const char *what)
{
    size_t number = 0;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
        number = number * 10 + (size_t)(text[at++] - '0');
        if (number > width_max) {
            fail_as_python(std::string(what) + " too big");
        }
    }
    return number;
}

/* A number's sign and digits, filled up. */
void add_aligned(text_builder &out, const std::string &sign, const value &body, const layout &l)
{
    flat_text text(body);
    size_t length = sign.size() + count_characters(text.view);
    size_t room = l.width > length ? l.width - length : 0;
    size_t before = l.align == '>' ? room : l.align == '^' ? room / 2 : 0;
    auto fill = [&](size_t count) {
        std::string all;
        for (; count > 0; count--) {
            all += l.fill;
        }
        out.add(all, false);
    };
    fill(before);
    out.add(sign, false);
    fill(l.align == '=' ? room : 0);
    out.add(body);
    fill(l.align == '=' ? 0 : room - before);
}

std::string grouped(const std::string &digits, char sign, size_t group)
{
    size_t point = digits.find_first_not_of("0123456789abcdef");
    point = point == std::string::npos ? digits.size() : point;
    std::string out;
    for (size_t i = 0; i < point; i++) {
        if (i > 0 && (point - i) % group == 0) {
            out += sign;
        }
        out += digits[i];
    }
    return out + digits.substr(point);
}

std::string whole_digits(uint64_t number, char kind)
{
    unsigned base = kind == 'x' || kind == 'X' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    const char *digits = kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    std::string out;
    do {
        out += digits[number % base];
        number /= base;
    } while (number > 0);
    std::reverse(out.begin(), out.end());
    return out;
}

using real_text = char[512];

void print_real(real_text &text, char kind, bool alternate, int precision, double number)
{
    switch (kind) {
    case 'e':
    case 'E':
        (void)(alternate ? std::snprintf(text, sizeof text, "%#.*e", precision, number)
                         : std::snprintf(text, sizeof text, "%.*e", precision, number));
        break;
    case 'f':
        (void)(alternate ? std::snprintf(text, sizeof text, "%#.*f", precision, number)
                         : std::snprintf(text, sizeof text, "%.*f", precision, number));
        break;
    default:
        (void)(alternate ? std::snprintf(text, sizeof text, "%#.*g", precision, number)
                         : std::snprintf(text, sizeof text, "%.*g", precision, number));
    }
    if (kind == 'E' || kind == 'G') {
        std::transform(text, text + std::strlen(text), text,
                       [](char c) { return c == 'e' ? 'E' : c; });
    }
}

std::string real_digits(double number, const layout &l)
{
    if (std::isnan(number) || std::isinf(number)) {
        return std::isnan(number) ? "nan" : "inf";
    }
    bool plain = l.kind == '\0' || l.kind == 'r';
    if (plain && l.precision < 0) {
        return python_float(number);
    }
    real_text text;
    char kind = plain ? 'g' : l.kind == '%' || l.kind == 'F' ? 'f' : l.kind == 'n' ? 'g' : l.kind;
    if (l.precision > 120) {
        fail_as_python("a precision of " + std::to_string(l.precision) + ", limit 120");
    }
    print_real(text, kind, l.alternate, l.precision < 0 ? 6 : l.precision,
               l.kind == '%' ? number * 100 : number);
    std::string out = text;
    bool exact = out.find_first_of(".e") == std::string::npos;
    return plain && exact ? out + ".0" : l.kind == '%' ? out + "%" : out;
}

/* What is in front of the digits. */
std::string sign_of(bool negative, const layout &l)
{
    std::string sign = negative ? "-" : l.sign == '+' ? "+" : l.sign == ' ' ? " " : "";
    bool based = l.alternate && (l.kind == 'x' || l.kind == 'X' || l.kind == 'o' || l.kind == 'b');
    return based ? sign + "0" + l.kind : sign;
}

void add_number(text_builder &out, const value &v, layout l)
{
    bool whole = is_whole(v) &&
                 std::string("eEfFgG%n").find(l.kind == '\0' ? 'd' : l.kind) == std::string::npos;
    std::string digits;
    bool negative;
    if (whole) {
        negative = v->val_int < 0;
        digits = whole_digits(negative ? 0 - (uint64_t)v->val_int : (uint64_t)v->val_int, l.kind);
    } else {
        double number = number_of(v);
        negative = std::signbit(number) && !std::isnan(number);
        digits = real_digits(std::fabs(number), l);
    }
    if (l.grouping != '\0') {
        digits = grouped(digits, l.grouping,
                         std::string("xXob").find(l.kind) != std::string::npos ? 4 : 3);
    }
    l.align = l.align == '\0' ? '>' : l.align;
    add_aligned(out, sign_of(negative, l), make_text(digits), l);
}

void add_text(text_builder &out, const value &v, layout l)
{
    value text = v;
    if (l.precision >= 0) {
        flat_text whole(v);
        text = whole.cut(0, bytes_of_characters(whole.view, (size_t)l.precision));
    }
    l.align = l.align == '\0' ? '<' : l.align;
    add_aligned(out, "", text, l);
}

/* ---- % ---- */

class percent
{
  public:
    percent(const value &of, const value &with) : form(of), text(of), values(with)
    {
        if (kind_of(with) == kind::tuple) {
            given = with->val_arr;
        } else {
            given = {with};
        }
    }

    value all()
    {
        size_t from = 0;
        while (at < text.view.size()) {
            if (text.view[at] != '%') {
                at++;
                continue;
            }
            text.cut(out, from, at++);
            conversion();
            from = at;
        }
        text.cut(out, from, at);
        if (next < given.size() && !by_name && kind_of(values) != kind::dict) {
            fail_as_python("not all arguments converted during string formatting");
        }
        return out.done(is_markup(form));
    }

  private:
    value form;
    flat_text text;
    value values;
    std::vector<value> given;
    size_t at = 0, next = 0;
    bool by_name = false;
    text_builder out;

    const value &take()
    {
        if (next >= given.size()) {
            fail_as_python("not enough arguments for format string");
        }
        return given[next++];
    }

    size_t star_or_number()
    {
        if (at < text.view.size() && text.view[at] == '*') {
            at++;
            const value &n = take();
            if (!is_whole(n) || n->val_int < 0 || n->val_int > (int64_t)width_max) {
                fail_as_python("* wants int");
            }
            return (size_t)n->val_int;
        }
        return number_in(text.view, at, "width");
    }

    void flags(layout &l)
    {
        for (; at < text.view.size(); at++) {
            char c = text.view[at];
            if (c == '-') {
                l.align = '<';
            } else if (c == '0') {
                l.fill = l.align == '\0' ? "0" : l.fill;
                l.align = l.align == '\0' ? '=' : l.align;
            } else if (c == '+' || c == ' ') {
                l.sign = l.sign == '+' ? '+' : c;
            } else if (c == '#') {
                l.alternate = true;
            } else {
                break;
            }
        }
    }

    void conversion()
    {
        value named;
        if (at < text.view.size() && text.view[at] == '(') {
            named = by_key();
        }
        layout l;
        flags(l);
        l.width = star_or_number();
        if (at < text.view.size() && text.view[at] == '.') {
            at++;
            l.precision = (int)star_or_number();
        }
        while (at < text.view.size() && (text.view[at] == 'l' || text.view[at] == 'h')) {
            at++;
        }
        if (at >= text.view.size()) {
            fail_as_python("incomplete format");
        }
        l.kind = text.view[at++];
        if (l.kind == '%') {
            out.add("%", false);
            return;
        }
        add(named != nullptr ? named : take(), l);
    }

    value by_key()
    {
        size_t end = text.view.find(')', at);
        if (end == std::string_view::npos) {
            fail_as_python("incomplete format key");
        }
        if (kind_of(values) != kind::dict) {
            fail_as_python("format requires a mapping");
        }
        value key = make_text(std::string(text.view.substr(at + 1, end - at - 1)));
        const value *found = dict_get(values, key);
        if (found == nullptr) {
            fail_as_python(python_repr(key));
        }
        at = end + 1;
        by_name = true;
        return *found;
    }

    void add(const value &v, layout l)
    {
        if (l.kind == 's' || l.kind == 'r' || l.kind == 'a') {
            value shown =
                l.kind == 's' ? text_of(v) : make_text(python_repr(v), is_from_outside(v));
            l.align = l.align == '<' ? '<' : '>';
            l.fill = " ";
            add_text(out, is_markup(form) ? escape_text(shown) : shown, l);
            return;
        }
        if (std::string("diuxXoeEfFgGc").find(l.kind) == std::string::npos) {
            fail_as_python(std::string("unsupported format character '") + l.kind + "'");
        }
        if (l.kind == 'c' && kind_of(v) == kind::text) {
            add_text(out, v, l);
            return;
        }
        if (!is_number(v)) {
            fail_as_python(std::string("%") + l.kind + " format: a real number is required, not " +
                           type_name(v));
        }
        bool whole = std::string("diuxXo").find(l.kind) != std::string::npos;
        value number = v;
        if (whole && kind_of(v) == kind::real) {
            if (!(std::fabs(v->val_flt) < 9.2e18)) {
                fail_as_python("cannot convert float to integer");
            }
            number = make_int((int64_t)v->val_flt);
        }
        l.kind = l.kind == 'i' || l.kind == 'u' ? 'd' : l.kind;
        add_number(out, number, l);
    }
};

/* ---- format() ---- */

layout layout_of(std::string_view spec)
{
    layout l;
    size_t at = 0;
    auto is_align = [&](size_t i) {
        return i < spec.size() && std::string_view("<>^=").find(spec[i]) != std::string_view::npos;
    };
    size_t first = spec.empty() ? 0 : character_at(spec, 0).bytes;
    if (is_align(first)) {
        l.fill = std::string(spec.substr(0, first));
        l.align = spec[first];
        at = first + 1;
    } else if (is_align(0)) {
        l.align = spec[at++];
    }
    if (at < spec.size() && std::string_view("+- ").find(spec[at]) != std::string_view::npos) {
        l.sign = spec[at++];
    }
    if (at < spec.size() && spec[at] == '#') {
        l.alternate = true;
        at++;
    }
    if (at < spec.size() && spec[at] == '0' && l.align == '\0') {
        l.fill = "0";
        l.align = '=';
    }
    l.width = number_in(spec, at, "width");
    if (at < spec.size() && (spec[at] == ',' || spec[at] == '_')) {
        l.grouping = spec[at++];
    }
    if (at < spec.size() && spec[at] == '.') {
        size_t digits = ++at;
        l.precision = (int)number_in(spec, at, "precision");
        if (at == digits) {
            fail_as_python("Format specifier missing precision");
        }
    }
    l.kind = at < spec.size() ? spec[at++] : '\0';
    if (at < spec.size()) {
        fail_as_python("Invalid format specifier");
    }
    return l;
}

void add_formatted(text_builder &out, const value &v, std::string_view spec)
{
    if (spec.empty()) {
        add_str(out, v);
        return;
    }
    layout l = layout_of(spec);
    kind k = kind_of(v);
    const char *kinds = k == kind::integer || k == kind::boolean ? "bcdeEfFgGnoxX%"
                        : k == kind::real                        ? "eEfFgGn%"
                        : k == kind::text                        ? "s"
                                                                 : nullptr;
    if (kinds == nullptr) {
        fail_as_python("unsupported format string passed to " + type_name(v) + ".__format__");
    }
    if (l.kind != '\0' && std::string_view(kinds).find(l.kind) == std::string_view::npos) {
        fail_as_python(std::string("Unknown format code '") + l.kind + "' for object of type '" +
                       type_name(v) + "'");
    }
    if (k == kind::text) {
        add_text(out, v, l);
    } else {
        add_number(out, v, l);
    }
}

class formatter
{
  public:
    formatter(member_finder &of, const value &form, const call_args &with)
        : r(of), whole(form), args(with)
    {
    }

    value all()
    {
        std::string_view text = whole.view;
        for (size_t i = 0; i < text.size();) {
            char c = text[i];
            if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
                whole.cut(out, i, i + 1);
                i += 2;
            } else if (c == '{') {
                i = field(i + 1);
            } else if (c == '}') {
                fail_as_python("Single '}' encountered in format string");
            } else {
                size_t end = std::min(text.find_first_of("{}", i), text.size());
                whole.cut(out, i, end);
                i = end;
            }
        }
        return out.done();
    }

  private:
    member_finder &r;
    flat_text whole;
    const call_args &args;
    text_builder out;
    size_t next = 0;

    /* Behind '{'; -> behind '}'. */
    size_t field(size_t at)
    {
        std::string_view text = whole.view;
        size_t end = at, depth = 1;
        for (; end < text.size(); end++) {
            depth += text[end] == '{' ? 1 : 0;
            depth -= text[end] == '}' ? 1 : 0;
            if (depth == 0) {
                break;
            }
        }
        if (depth > 0) {
            fail_as_python("expected '}' before end of string");
        }
        std::string_view all = text.substr(at, end - at);
        size_t name_end = std::min(all.find_first_of("!:"), all.size());
        value v = value_of(all.substr(0, name_end));
        std::string_view rest = all.substr(name_end);
        if (!rest.empty() && rest[0] == '!') {
            char how = rest.size() > 1 ? rest[1] : '\0';
            if (how != 's' && how != 'r') {
                fail_as_python("Unknown conversion specifier");
            }
            v = how == 's' ? text_of(v) : make_text(python_repr(v), is_from_outside(v));
            rest = rest.substr(2);
        }
        add_formatted(out, v, with_fields(rest.empty() ? rest : rest.substr(1)));
        return end + 1;
    }

    /* {:{width}} */
    std::string with_fields(std::string_view spec)
    {
        std::string made;
        for (size_t i = 0; i < spec.size(); i++) {
            size_t end = spec[i] == '{' ? spec.find('}', i) : i;
            if (end == i || end == std::string_view::npos) {
                made += spec[i];
                continue;
            }
            made += python_str(value_of(spec.substr(i + 1, end - i - 1))).str();
            i = end;
        }
        return made;
    }

    /* name or number, then .attribute and [item]. */
    value value_of(std::string_view name)
    {
        size_t end = std::min(name.find_first_of(".["), name.size());
        value v = argument(name.substr(0, end));
        while (end < name.size()) {
            bool item = name[end] == '[';
            size_t stop = item ? name.find(']', end) : name.find_first_of(".[", end + 1);
            if (item && stop == std::string_view::npos) {
                fail_as_python("Missing ']' in format string");
            }
            stop = std::min(stop, name.size());
            std::string key(name.substr(end + 1, stop - end - 1));
            bool number =
                item && !key.empty() && key.find_first_not_of("0123456789") == std::string::npos;
            value k = number && key.size() < 18 ? make_int(std::strtoll(key.c_str(), nullptr, 10))
                                                : make_text(key);
            v = item ? r.item(v, k) : r.attribute(v, k);
            if (v->is_undefined()) {
                fail_undefined(v);
            }
            end = stop + (item ? 1 : 0);
        }
        return v;
    }

    const value &argument(std::string_view name)
    {
        bool number = name.find_first_not_of("0123456789") == std::string_view::npos;
        if (number && name.size() < 10) {
            size_t i = name.empty() ? next++
                                    : (size_t)std::strtoul(std::string(name).c_str(), nullptr, 10);
            if (i >= args.positional.size()) {
                fail_as_python("Replacement index " + std::to_string(i) +
                               " out of range for positional args tuple");
            }
            return args.positional[i];
        }
        for (const auto &named : args.named) {
            if (named.first == name) {
                return named.second;
            }
        }
        fail_as_python("'" + std::string(name.substr(0, 60)) + "'");
    }
};

} // namespace

value python_percent(const value &text, const value &values)
{
    return percent(text, values).all();
}

value python_format(member_finder &r, const value &text, const call_args &args)
{
    return formatter(r, text, args).all();
}

} // namespace dw
