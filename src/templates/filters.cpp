/* Filters of text and of single values. */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "templates/run_internal.h"

namespace dw
{

using namespace jinja;

namespace
{

/* The method of this name, of the subject as text. */
value by_method(run &r, const char *name, const value &self, const call_args &args)
{
    return find_text_method(name)(r, text_of(self), args);
}

value filter_upper(run &r, const value &self, const call_args &args)
{
    return by_method(r, "upper", self, args);
}

value filter_lower(run &r, const value &self, const call_args &args)
{
    return by_method(r, "lower", self, args);
}

value filter_capitalize(run &r, const value &self, const call_args &args)
{
    return by_method(r, "capitalize", self, args);
}

value filter_trim(run &r, const value &self, const call_args &args)
{
    params p("trim", args, {"chars"});
    return by_method(r, "strip", self, {{p[0] != nullptr ? p[0] : make_none()}, {}});
}

/* Words begin behind white space, - and opening brackets. */
value filter_title(run &, const value &self, const call_args &args)
{
    (void)params("title", args, {});
    value subject = text_of(self);
    text_builder out;
    bool begins = true;
    for (const auto &part : subject->val_str.parts) {
        std::string made;
        std::string_view text = part.val;
        jinja_work(8 * text.size());
        for (size_t i = 0; i < text.size();) {
            character c = character_at(text, i);
            bool between = is_space(c.code) ||
                           (c.code < 0x80 && c.code != 0 &&
                            std::string_view("-({[<").find((char)c.code) != std::string_view::npos);
            if (between || c.code == 0xfffd) {
                made.append(text.substr(i, c.bytes));
            } else {
                append_in_case(made, c.code, begins ? letter_case::upper : letter_case::lower);
            }
            begins = between;
            i += c.bytes;
        }
        out.add(made, part.is_input);
    }
    return out.done(is_markup(subject));
}

value filter_replace(run &r, const value &self, const call_args &args)
{
    params p("replace", args, {"old", "new", "count"}, 2);
    value subject = text_of(self), what = text_of(p[0]), by = text_of(p[1]);
    if (r.autoescape) {
        subject = escape_text(subject);
    } else {
        subject = make_text(subject->val_str, false);
    }
    call_args given{{what, by}, {}};
    if (p.given(2)) {
        given.positional.push_back(p[2]);
    }
    return by_method(r, "replace", subject, given);
}

value filter_center(run &r, const value &self, const call_args &args)
{
    params p("center", args, {"width"});
    return by_method(r, "center", self, {{make_int(p.whole(0, 80))}, {}});
}

value filter_string(run &, const value &self, const call_args &args)
{
    (void)params("string", args, {});
    return text_of(self);
}

value filter_safe(run &, const value &self, const call_args &args)
{
    (void)params("safe", args, {});
    return make_text(python_str(self), true);
}

value filter_escape(run &, const value &self, const call_args &args)
{
    (void)params("escape", args, {});
    return escape_text(self);
}

value filter_forceescape(run &, const value &self, const call_args &args)
{
    (void)params("forceescape", args, {});
    return escape_text(make_text(python_str(self), false));
}

value filter_format(run &, const value &self, const call_args &args)
{
    if (!args.positional.empty() && !args.named.empty()) {
        fail_as_python("can't handle positional and keyword arguments at the same time");
    }
    if (args.named.empty()) {
        return python_percent(text_of(self), make_tuple(args.positional));
    }
    value named = make_dict();
    for (const auto &[name, one] : args.named) {
        dict_set(named, make_text(name), one);
    }
    return python_percent(text_of(self), named);
}

value filter_indent(run &r, const value &self, const call_args &args)
{
    params p("indent", args, {"width", "first", "blank"});
    value width = p[0] != nullptr ? p[0] : make_int(4);
    value indention = width;
    if (kind_of(width) != kind::text) {
        int64_t count = std::max<int64_t>(p.whole(0, 4), 0);
        jinja_charge((uint64_t)count);
        indention = make_text(std::string((size_t)count, ' '));
    }
    value subject = text_of(self);
    text_builder whole;
    whole.add(subject);
    whole.add("\n", false);
    value lines = by_method(r, "splitlines", whole.done(is_markup(subject)), {});
    text_builder out;
    bool first = true;
    for (const auto &line : lines->val_arr) {
        if (!first) {
            out.add("\n", false);
        }
        if (first ? p.flag(1) : p.flag(2) || is_true(line)) {
            out.add(indention);
        }
        out.add(line);
        first = false;
    }
    return out.done(is_markup(subject));
}

value filter_truncate(run &, const value &self, const call_args &args)
{
    params p("truncate", args, {"length", "killwords", "end", "leeway"});
    value subject = text_of(self);
    flat_text text(subject);
    value end = p[2] != nullptr ? text_of(p[2]) : make_text("...");
    int64_t length = p.whole(0, 255), leeway = p.given(3) ? p.whole(3, 5) : 5;
    int64_t kept = length - (int64_t)count_characters(flat_text(end).view);
    if (kept < 0 || leeway < 0) {
        fail_as_python("truncate: the length is smaller than that of its end");
    }
    if ((int64_t)count_characters(text.view) <= length + leeway) {
        return subject;
    }
    size_t bytes = bytes_of_characters(text.view, (size_t)kept);
    size_t space = p.flag(1) ? std::string_view::npos : text.view.substr(0, bytes).rfind(' ');
    text_builder out;
    text.cut(out, 0, space != std::string_view::npos ? space : bytes);
    out.add(end);
    return out.done(is_markup(subject));
}

value filter_wordcount(run &, const value &self, const call_args &args)
{
    (void)params("wordcount", args, {});
    value subject = text_of(self);
    flat_text text(subject);
    int64_t count = 0;
    bool inside = false;
    jinja_work(8 * text.view.size());
    for (size_t i = 0; i < text.view.size();) {
        character c = character_at(text.view, i);
        bool word =
            c.code == '_' || is_alphabetic(c.code) || is_numeric(c.code) || is_decimal(c.code);
        count += word && !inside ? 1 : 0;
        inside = word;
        i += c.bytes;
    }
    return make_int(count);
}

/* Between words, where a line gets longer than `width`; hyphens and runs of white space, at which
 * Python's textwrap has rules of its own, are refused. */
value filter_wordwrap(run &r, const value &self, const call_args &args)
{
    params p("wordwrap", args, {"width"});
    size_t width = (size_t)std::max<int64_t>(p.whole(0, 79), 1);
    value subject = text_of(self);
    value lines = by_method(r, "splitlines", subject, {});
    text_builder out;
    bool first = true;
    for (const auto &line : lines->val_arr) {
        out.add(first ? "" : "\n", false);
        first = false;
        size_t column = 0;
        value words = by_method(r, "split", line, {{make_text(" ")}, {}});
        for (const auto &word : words->val_arr) {
            flat_text text(word);
            size_t length = count_characters(text.view);
            if (length > width || text.view.find_first_of("-\t") != std::string_view::npos ||
                (length == 0 && words->val_arr.size() > 1)) {
                fail_as_python("wordwrap: only words that are shorter than the width, without "
                               "hyphens, with single spaces between them, are wrapped");
            }
            bool fits = column == 0 || column + 1 + length <= width;
            out.add(column == 0 ? "" : fits ? " " : "\n", false);
            column = fits && column > 0 ? column + 1 + length : length;
            out.add(word);
        }
    }
    return out.done(is_markup(subject));
}

void add_quoted(text_builder &out, const value &v, bool in_query)
{
    static const char digits[] = "0123456789ABCDEF";
    for (const auto &part : python_str(v).parts) {
        std::string made;
        for (char c : part.val) {
            unsigned char b = (unsigned char)c;
            bool plain = (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') ||
                         (b >= 'A' && b <= 'Z') || b == '_' || b == '.' || b == '-' || b == '~' ||
                         (b == '/' && !in_query);
            if (plain) {
                made += c;
            } else if (b == ' ' && in_query) {
                made += '+';
            } else {
                made += '%';
                made += digits[b >> 4];
                made += digits[b & 15];
            }
        }
        out.add(made, part.is_input);
    }
}

value filter_urlencode(run &r, const value &self, const call_args &args)
{
    (void)params("urlencode", args, {});
    text_builder out;
    kind k = kind_of(self);
    if (k != kind::dict && !is_listed(self) && k != kind::series) {
        add_quoted(out, self, false);
        return out.done();
    }
    value pairs = k == kind::dict ? find_method(self, "items")(r, self, {}) : self;
    bool first = true;
    for (const auto &pair : r.iterate(pairs)) {
        std::vector<value> two = r.iterate(pair);
        if (two.size() != 2) {
            fail_as_python("urlencode: pairs are wanted");
        }
        out.add(first ? "" : "&", false);
        add_quoted(out, two[0], true);
        out.add("=", false);
        add_quoted(out, two[1], true);
        first = false;
    }
    return out.done();
}

value filter_xmlattr(run &r, const value &self, const call_args &args)
{
    params p("xmlattr", args, {"autospace"});
    if (kind_of(self) != kind::dict) {
        fail_as_python("xmlattr: a mapping is wanted");
    }
    text_builder out;
    for (const auto &[key, one] : self->val_obj) {
        if (one->is_none() || one->is_undefined()) {
            continue;
        }
        value name = text_of(key);
        if (flat_text(name).view.find_first_of(" \t\n\r\f/>=") != std::string_view::npos) {
            fail_as_python("Invalid character in attribute name: " + python_repr(name));
        }
        out.add(out.size() == 0 && !p.flag(0, true) ? "" : " ", false);
        out.add(escape_text(name));
        out.add("=\"", false);
        out.add(escape_text(one));
        out.add("\"", false);
    }
    return out.done(r.autoescape);
}

value filter_default(run &, const value &self, const call_args &args)
{
    params p("default", args, {"default_value", "boolean"});
    bool missing = self->is_undefined() || (p.flag(1) && !is_true(self));
    return !missing ? self : p[0] != nullptr ? p[0] : make_text("");
}

value filter_attr(run &r, const value &self, const call_args &args)
{
    params p("attr", args, {"name"}, 1);
    return r.attribute_alone(self, text_of(p[0]));
}

/* As Hugging Face's environment has it: not HTML-safe, characters kept. */
value filter_tojson(run &r, const value &self, const call_args &args)
{
    params p("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
    dumps_options options;
    options.ensure_ascii = p.flag(0);
    options.sort_keys = p.flag(3);
    if (p.given(1)) {
        options.has_indent = true;
        options.item_separator = ",";
        int64_t count = kind_of(p[1]) == kind::text ? 0 : p.whole(1, 0);
        if (count > 1024) {
            fail_as_python("tojson(): indent: " + std::to_string(count) + ", limit 1024");
        }
        options.indent = kind_of(p[1]) == kind::text
                             ? p[1]->val_str.str()
                             : std::string((size_t)std::max<int64_t>(count, 0), ' ');
    }
    if (p.given(2)) {
        std::vector<value> two = r.iterate(p[2]);
        if (two.size() != 2 || kind_of(two[0]) != kind::text || kind_of(two[1]) != kind::text) {
            fail_as_python("tojson(): separators: two strings are wanted");
        }
        options.item_separator = two[0]->val_str.str();
        options.key_separator = two[1]->val_str.str();
    }
    std::string text = python_dumps(self, options);
    return make_text(std::move(text), is_from_outside(self));
}

/* Its dicts' keys are sorted. What Python would write over several lines is refused. */
value sorted_keys(const value &v)
{
    jinja_step();
    kind k = kind_of(v);
    std::vector<value> items;
    if (k == kind::dict) {
        auto pairs = v->val_obj;
        std::stable_sort(pairs.begin(), pairs.end(), [](const auto &a, const auto &b) {
            return python_order(a.first, b.first) == -1;
        });
        value made = make_dict();
        for (const auto &[key, one] : pairs) {
            dict_set(made, key, sorted_keys(one));
        }
        return made;
    }
    if (!is_listed(v)) {
        return v;
    }
    for (const auto &one : v->val_arr) {
        items.push_back(sorted_keys(one));
    }
    return k == kind::list ? make_list(std::move(items)) : make_tuple(std::move(items));
}

value filter_pprint(run &, const value &self, const call_args &args)
{
    (void)params("pprint", args, {});
    std::string text = python_repr(sorted_keys(self));
    if (count_characters(text) > 80) {
        fail_as_python("pprint: more than a line is not written here");
    }
    return make_text(std::move(text), is_from_outside(self));
}

value refused(run &, const value &, const call_args &)
{
    fail_as_python("this filter is not available here");
}

/* ---- numbers ---- */

/* int(text, base), float(text): nullptr where it is none. */
value whole_of_text(const std::string &given, int base)
{
    size_t from = space_at_begin(given);
    std::string text = given.substr(from, space_at_end(given.substr(from)));
    bool signed_text = !text.empty() && (text[0] == '-' || text[0] == '+');
    size_t digits = signed_text ? 1 : 0;
    std::string mark = text.substr(std::min(digits, text.size()), 2);
    char letter = mark.size() == 2 && mark[0] == '0' ? (char)(mark[1] | 0x20) : '\0';
    int marked = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (marked != 0 && (base == 0 || base == marked)) {
        text.erase(digits, 2);
        base = marked;
    }
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    base = base == 0 ? 10 : base;
    if (text.size() == digits || !std::isalnum((unsigned char)text[digits])) {
        return nullptr;
    }
    char *end = nullptr;
    errno = 0;
    long long number = std::strtoll(text.c_str(), &end, base);
    if (end != text.c_str() + text.size()) {
        return nullptr;
    }
    if (errno != 0) {
        fail_as_python("the number " + text.substr(0, 40) + " is beyond 64 bits");
    }
    return make_int(number);
}

value real_of_text(const std::string &given)
{
    size_t from = space_at_begin(given);
    std::string text = given.substr(from, space_at_end(given.substr(from)));
    bool plain = !text.empty() && text.find_first_of("xXpP(") == std::string::npos &&
                 text.find('\0') == std::string::npos;
    char *end = nullptr;
    double number = plain ? std::strtod(text.c_str(), &end) : 0;
    return plain && end == text.c_str() + text.size() ? make_float(number) : nullptr;
}

value whole_of_real(double number)
{
    if (std::isnan(number) || std::isinf(number)) {
        return nullptr;
    }
    if (std::fabs(number) >= 9.2e18) {
        fail_as_python("the number " + python_float(number) + " is beyond 64 bits");
    }
    return make_int((int64_t)number);
}

value filter_int(run &, const value &self, const call_args &args)
{
    params p("int", args, {"default", "base"});
    value otherwise = p[0] != nullptr ? p[0] : make_int(0), found;
    int64_t base = p.whole(1, 10);
    if (base < 0 || base == 1 || base > 36) {
        fail_as_python("int() base must be >= 2 and <= 36, or 0");
    }
    if (kind_of(self) == kind::text) {
        std::string text = self->val_str.str();
        found = whole_of_text(text, (int)base);
        value real = found == nullptr ? real_of_text(text) : nullptr;
        found = real != nullptr ? whole_of_real(real->val_flt) : found;
    } else if (kind_of(self) == kind::real) {
        found = whole_of_real(self->val_flt);
    } else if (is_whole(self)) {
        found = make_int(self->val_int);
    } else if (self->is_undefined()) {
        fail_undefined(self);
    }
    return found != nullptr ? found : otherwise;
}

value filter_float(run &, const value &self, const call_args &args)
{
    params p("float", args, {"default"});
    value found;
    if (kind_of(self) == kind::text) {
        found = real_of_text(self->val_str.str());
    } else if (is_number(self)) {
        found = make_float(number_of(self));
    } else if (self->is_undefined()) {
        fail_undefined(self);
    }
    return found != nullptr ? found : p[0] != nullptr ? p[0] : make_float(0);
}

value filter_abs(run &, const value &self, const call_args &args)
{
    (void)params("abs", args, {});
    if (self->is_undefined()) {
        fail_undefined(self);
    }
    if (!is_number(self)) {
        fail_as_python("bad operand type for abs(): '" + type_name(self) + "'");
    }
    if (kind_of(self) == kind::real) {
        return make_float(std::fabs(self->val_flt));
    }
    return self->val_int < 0 ? python_arithmetic("-", make_int(0), self) : make_int(self->val_int);
}

/* Python's round(): half to even, of the number as it is. */
double rounded(double number, int64_t precision)
{
    if (precision < 0) {
        double unit = std::pow(10.0, (double)-precision);
        return std::nearbyint(number / unit) * unit;
    }
    char text[512];
    (void)std::snprintf(text, sizeof text, "%.*f", (int)std::min<int64_t>(precision, 100), number);
    return std::strtod(text, nullptr);
}

value filter_round(run &, const value &self, const call_args &args)
{
    params p("round", args, {"precision", "method"});
    int64_t precision = p.whole(0, 0);
    std::string method = p.text(1, "common");
    if (method != "common" && method != "ceil" && method != "floor") {
        fail_as_python("method must be common, ceil or floor");
    }
    if (self->is_undefined()) {
        fail_undefined(self);
    }
    if (!is_number(self) || precision < -300 || precision > 300) {
        fail_as_python("type " + type_name(self) + " doesn't define __round__ method");
    }
    if (method == "common") {
        return is_whole(self) && precision >= 0 ? make_int(self->val_int)
                                                : make_float(rounded(number_of(self), precision));
    }
    double unit = std::pow(10.0, (double)precision), scaled = number_of(self) * unit;
    return make_float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

const named_builtin filters[] = {
    {"abs", filter_abs},
    {"attr", filter_attr},
    {"capitalize", filter_capitalize},
    {"center", filter_center},
    {"d", filter_default},
    {"default", filter_default},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"filesizeformat", refused},
    {"float", filter_float},
    {"forceescape", filter_forceescape},
    {"format", filter_format},
    {"indent", filter_indent},
    {"int", filter_int},
    {"lower", filter_lower},
    {"pprint", filter_pprint},
    {"random", refused},
    {"replace", filter_replace},
    {"round", filter_round},
    {"safe", filter_safe},
    {"string", filter_string},
    {"striptags", refused},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"upper", filter_upper},
    {"urlencode", filter_urlencode},
    {"urlize", refused},
    {"wordcount", filter_wordcount},
    {"wordwrap", filter_wordwrap},
    {"xmlattr", filter_xmlattr},
};

} // namespace

builtin find_filter(const std::string &name)
{
    builtin found = find_in(filters, std::size(filters), name);
    return found != nullptr ? found : find_list_filter(name);
}

} // namespace dw
