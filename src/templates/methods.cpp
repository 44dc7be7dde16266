/* Methods of strings, lists and dicts, as Python's. */
#include <algorithm>

#include "templates/run_internal.h"

namespace dw
{

using namespace jinja;

namespace
{

constexpr size_t nowhere = std::string_view::npos;

const value &wanted_text(const value &v, const char *what)
{
    if (v->is_undefined()) {
        fail_undefined(v);
    }
    if (kind_of(v) != kind::text) {
        fail_as_python(std::string(what) + ": str is wanted, not " + type_name(v));
    }
    return v;
}

/* ---- white space ---- */

bool is_one_of(std::string_view set, std::string_view c)
{
    return find_text(set, c) != nowhere;
}

value stripped(const value &self, const value &chars, bool left, bool right)
{
    flat_text text(self);
    std::string_view view = text.view;
    size_t from = 0, to = view.size();
    jinja_work(view.size() / 8);
    if (chars == nullptr || chars->is_none()) {
        from = left ? space_at_begin(view) : 0;
        to = right ? from + space_at_end(view.substr(from)) : to;
        return text.cut(from, to);
    }
    flat_text set(wanted_text(chars, "strip arg must be None or str"));
    while (left && from < to) {
        size_t bytes = character_at(view, from).bytes;
        if (!is_one_of(set.view, view.substr(from, bytes))) {
            break;
        }
        from += bytes;
    }
    while (right && from < to) {
        size_t before = character_before(view, to);
        if (before < from || !is_one_of(set.view, view.substr(before, to - before))) {
            break;
        }
        to = before;
    }
    return text.cut(from, to);
}

value method_strip(run &, const value &self, const call_args &args)
{
    return stripped(self, params("strip", args, {"chars"})[0], true, true);
}

value method_lstrip(run &, const value &self, const call_args &args)
{
    return stripped(self, params("lstrip", args, {"chars"})[0], true, false);
}

value method_rstrip(run &, const value &self, const call_args &args)
{
    return stripped(self, params("rstrip", args, {"chars"})[0], false, true);
}

/* ---- pieces ---- */

/* At white space, at most `most` times. */
std::vector<value> split_at_space(const flat_text &text, int64_t most)
{
    std::vector<value> items;
    std::string_view view = text.view;
    size_t at = space_at_begin(view);
    while (at < view.size()) {
        size_t end = at;
        if ((int64_t)items.size() == most) {
            end = at + space_at_end(view.substr(at));
        }
        while (end < view.size() && (int64_t)items.size() != most) {
            character c = character_at(view, end);
            if (is_space(c.code)) {
                break;
            }
            end += c.bytes;
        }
        jinja_grow(items.size() * value_bytes, value_bytes);
        items.push_back(text.cut(at, end));
        at = (int64_t)items.size() > most ? view.size() : end + space_at_begin(view.substr(end));
    }
    return items;
}

std::vector<value> split_at(const flat_text &text, std::string_view separator, int64_t most)
{
    std::vector<value> items;
    size_t from = 0, found;
    while ((int64_t)items.size() < most &&
           (found = find_text(text.view, separator, from)) != nowhere) {
        jinja_grow(items.size() * value_bytes, value_bytes);
        items.push_back(text.cut(from, found));
        from = found + separator.size();
    }
    items.push_back(text.cut(from, text.view.size()));
    return items;
}

std::vector<value> split_from_end(const flat_text &text, std::string_view separator, int64_t most)
{
    std::vector<value> items;
    size_t to = text.view.size(), found;
    while ((int64_t)items.size() < most &&
           (found = text.view.substr(0, to).rfind(separator)) != nowhere) {
        jinja_grow(items.size() * value_bytes, value_bytes);
        jinja_work(to - found);
        items.push_back(text.cut(found + separator.size(), to));
        to = found;
    }
    items.push_back(text.cut(0, to));
    std::reverse(items.begin(), items.end());
    return items;
}

std::vector<value> split_space_from_end(const flat_text &text, int64_t most)
{
    std::vector<value> items;
    std::string_view view = text.view;
    size_t to = space_at_end(view);
    while (to > 0) {
        size_t from = to;
        if ((int64_t)items.size() == most) {
            from = std::min(space_at_begin(view), to);
        }
        while (from > 0 && (int64_t)items.size() != most) {
            size_t before = character_before(view, from);
            if (is_space(character_at(view, before).code)) {
                break;
            }
            from = before;
        }
        jinja_grow(items.size() * value_bytes, value_bytes);
        items.push_back(text.cut(from, to));
        to = (int64_t)items.size() > most ? 0 : space_at_end(view.substr(0, from));
    }
    std::reverse(items.begin(), items.end());
    return items;
}

value split(const value &self, const call_args &args, bool from_end)
{
    params p("split", args, {"sep", "maxsplit"});
    flat_text text(self);
    int64_t most = p.whole(1, -1);
    most = most < 0 ? INT64_MAX : most;
    if (!p.given(0)) {
        return make_list(from_end ? split_space_from_end(text, most) : split_at_space(text, most));
    }
    flat_text separator(wanted_text(p[0], "split"));
    if (separator.view.empty()) {
        fail_as_python("empty separator");
    }
    return make_list(from_end ? split_from_end(text, separator.view, most)
                              : split_at(text, separator.view, most));
}

value method_split(run &, const value &self, const call_args &args)
{
    return split(self, args, false);
}

value method_rsplit(run &, const value &self, const call_args &args)
{
    return split(self, args, true);
}

bool ends_line(uint32_t code)
{
    return (code >= 0xa && code <= 0xd) || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
}

value method_splitlines(run &, const value &self, const call_args &args)
{
    params p("splitlines", args, {"keepends"});
    flat_text text(self);
    std::vector<value> items;
    size_t from = 0;
    for (size_t i = 0; i < text.view.size();) {
        character c = character_at(text.view, i);
        size_t end = i + c.bytes;
        if (ends_line(c.code)) {
            end += c.code == '\r' && end < text.view.size() && text.view[end] == '\n' ? 1 : 0;
            jinja_grow(items.size() * value_bytes, value_bytes);
            items.push_back(text.cut(from, p.flag(0) ? end : i));
            from = end;
        }
        i = end;
    }
    if (from < text.view.size()) {
        items.push_back(text.cut(from, text.view.size()));
    }
    return make_list(std::move(items));
}

value partition(const value &self, const call_args &args, bool last)
{
    params p("partition", args, {"sep"}, 1);
    flat_text text(self), separator(wanted_text(p[0], "partition"));
    if (separator.view.empty()) {
        fail_as_python("empty separator");
    }
    size_t found =
        last ? find_text_last(text.view, separator.view) : find_text(text.view, separator.view);
    if (found == nowhere) {
        value none = make_text("");
        return last ? make_tuple({none, none, self}) : make_tuple({self, none, none});
    }
    return make_tuple(
        {text.cut(0, found), p[0], text.cut(found + separator.view.size(), text.view.size())});
}

value method_partition(run &, const value &self, const call_args &args)
{
    return partition(self, args, false);
}

value method_rpartition(run &, const value &self, const call_args &args)
{
    return partition(self, args, true);
}

/* ---- looking ---- */

/* What text[start:end] is, in bytes. */
struct part {
    std::string_view view;
    size_t before; /* characters */
    bool is_there;
};

part part_of(const flat_text &text, const params &p, size_t first)
{
    if (!p.given(first) && !p.given(first + 1)) {
        return {text.view, 0, true};
    }
    int64_t length = (int64_t)count_characters(text.view);
    auto adjusted = [&](int64_t at) { return std::max<int64_t>(at < 0 ? at + length : at, 0); };
    int64_t start = adjusted(p.given(first) ? p.whole(first, 0) : 0);
    int64_t end = std::min(adjusted(p.given(first + 1) ? p.whole(first + 1, 0) : length), length);
    if (start > end) {
        return {std::string_view(), (size_t)start, false};
    }
    size_t from = bytes_of_characters(text.view, (size_t)start);
    std::string_view rest = text.view.substr(from);
    return {rest.substr(0, bytes_of_characters(rest, (size_t)(end - start))), (size_t)start, true};
}

int64_t position(const value &self, const call_args &args, bool last)
{
    params p("find", args, {"sub", "start", "end"}, 1);
    flat_text text(self), what(wanted_text(p[0], "find"));
    part in = part_of(text, p, 1);
    size_t found = !in.is_there ? nowhere
                   : last       ? find_text_last(in.view, what.view)
                                : find_text(in.view, what.view);
    return found == nowhere ? -1
                            : (int64_t)(in.before + count_characters(in.view.substr(0, found)));
}

value method_find(run &, const value &self, const call_args &args)
{
    return make_int(position(self, args, false));
}

value method_rfind(run &, const value &self, const call_args &args)
{
    return make_int(position(self, args, true));
}

value found_or_fail(int64_t at)
{
    if (at < 0) {
        fail_as_python("substring not found");
    }
    return make_int(at);
}

value method_index(run &, const value &self, const call_args &args)
{
    return found_or_fail(position(self, args, false));
}

value method_rindex(run &, const value &self, const call_args &args)
{
    return found_or_fail(position(self, args, true));
}

value method_count(run &, const value &self, const call_args &args)
{
    params p("count", args, {"sub", "start", "end"}, 1);
    flat_text text(self), what(wanted_text(p[0], "count"));
    part in = part_of(text, p, 1);
    if (!in.is_there) {
        return make_int(0);
    }
    if (what.view.empty()) {
        return make_int((int64_t)count_characters(in.view) + 1);
    }
    int64_t count = 0;
    for (size_t at = 0; (at = find_text(in.view, what.view, at)) != nowhere; count++) {
        at += what.view.size();
    }
    return make_int(count);
}

bool begins_or_ends(std::string_view text, std::string_view what, bool ends)
{
    return what.size() <= text.size() &&
           text.substr(ends ? text.size() - what.size() : 0, what.size()) == what;
}

value starts_or_ends(const value &self, const call_args &args, bool ends)
{
    params p(ends ? "endswith" : "startswith", args, {"prefix", "start", "end"}, 1);
    flat_text text(self);
    part in = part_of(text, p, 1);
    std::vector<value> all =
        kind_of(p[0]) == kind::tuple ? p[0]->val_arr : std::vector<value>{p[0]};
    return make_bool(std::any_of(all.begin(), all.end(), [&](const value &one) {
        flat_text what(wanted_text(one, ends ? "endswith" : "startswith"));
        return in.is_there && begins_or_ends(in.view, what.view, ends);
    }));
}

value method_startswith(run &, const value &self, const call_args &args)
{
    return starts_or_ends(self, args, false);
}

value method_endswith(run &, const value &self, const call_args &args)
{
    return starts_or_ends(self, args, true);
}

value method_removeprefix(run &, const value &self, const call_args &args)
{
    params p("removeprefix", args, {"prefix"}, 1);
    flat_text text(self), what(wanted_text(p[0], "removeprefix"));
    bool there = begins_or_ends(text.view, what.view, false);
    return there ? text.cut(what.view.size(), text.view.size()) : self;
}

value method_removesuffix(run &, const value &self, const call_args &args)
{
    params p("removesuffix", args, {"suffix"}, 1);
    flat_text text(self), what(wanted_text(p[0], "removesuffix"));
    bool there = begins_or_ends(text.view, what.view, true);
    return there ? text.cut(0, text.view.size() - what.view.size()) : self;
}

/* ---- changed ---- */

value method_replace(run &, const value &self, const call_args &args)
{
    params p("replace", args, {"old", "new", "count"}, 2);
    flat_text text(self), what(wanted_text(p[0], "replace"));
    value by = is_markup(self) ? escape_text(p[1]) : wanted_text(p[1], "replace");
    int64_t most = p.whole(2, -1);
    most = most < 0 ? INT64_MAX : most;
    text_builder out;
    size_t from = 0, at = 0;
    for (; most > 0; most--) {
        size_t found = find_text(text.view, what.view, at);
        if (found == nowhere) {
            break;
        }
        text.cut(out, from, found);
        out.add(by);
        from = found + what.view.size();
        if (!what.view.empty()) {
            at = from;
        } else if (found < text.view.size()) { /* between characters */
            at = found + character_at(text.view, found).bytes;
        } else {
            break;
        }
    }
    text.cut(out, from, text.view.size());
    return out.done(is_markup(self));
}

value joined(run &r, const value &self, const call_args &args)
{
    params p("join", args, {"iterable"}, 1);
    text_builder out;
    bool first = true;
    size_t i = 0;
    bool markup = is_markup(self);
    if (p[0]->is_undefined() || !(kind_of(p[0]) != kind::none)) {
        fail_as_python("can only join an iterable");
    }
    for (const auto &one : r.iterate(p[0])) {
        if (!first) {
            out.add(self);
        }
        first = false;
        if (kind_of(one) != kind::text) {
            fail_as_python("sequence item " + std::to_string(i) + ": expected str instance, " +
                           type_name(one) + " found");
        }
        out.add(markup ? escape_text(one) : one);
        i++;
    }
    return out.done(markup);
}

value in_parts(const value &self, std::string (*change)(std::string_view))
{
    text_builder out;
    for (const auto &part : self->val_str.parts) {
        out.add(change(part.val), part.is_input);
    }
    return out.done(is_markup(self));
}

value method_upper(run &, const value &self, const call_args &args)
{
    (void)params("upper", args, {});
    return in_parts(self, upper_text);
}

value method_lower(run &, const value &self, const call_args &args)
{
    (void)params("lower", args, {});
    return in_parts(self, lower_text);
}

value method_swapcase(run &, const value &self, const call_args &args)
{
    (void)params("swapcase", args, {});
    return in_parts(self, [](std::string_view text) {
        std::string out;
        jinja_work(8 * text.size());
        for (size_t i = 0; i < text.size();) {
            character c = character_at(text, i);
            if (is_upper(c.code) || is_lower(c.code)) {
                append_in_case(out, c.code,
                               is_upper(c.code) ? letter_case::lower : letter_case::upper);
            } else {
                out.append(text.substr(i, c.bytes));
            }
            i += c.bytes;
        }
        return out;
    });
}

/* Words' first letters, or only the first of all. */
value titled(const value &self, bool words)
{
    text_builder out;
    bool inside = false; /* of a word */
    for (const auto &part : self->val_str.parts) {
        std::string made;
        std::string_view text = part.val;
        jinja_work(8 * text.size());
        for (size_t i = 0; i < text.size();) {
            character c = character_at(text, i);
            if (c.code == 0xfffd) {
                made.append(text.substr(i, c.bytes));
            } else {
                append_in_case(made, c.code, inside ? letter_case::lower : letter_case::title);
            }
            inside = words ? is_lower(c.code) || is_upper(c.code) : true;
            i += c.bytes;
        }
        out.add(made, part.is_input);
    }
    return out.done(is_markup(self));
}

value method_title(run &, const value &self, const call_args &args)
{
    (void)params("title", args, {});
    return titled(self, true);
}

value method_capitalize(run &, const value &self, const call_args &args)
{
    (void)params("capitalize", args, {});
    return titled(self, false);
}

value padded(const value &self, const params &p, bool left, bool right)
{
    int64_t width = p.whole(0, 0);
    std::string fill = p.text(1, " ");
    if (count_characters(fill) != 1) {
        fail_as_python("The fill character must be exactly one character long");
    }
    int64_t length = (int64_t)count_characters(flat_text(self).view);
    int64_t room = std::max<int64_t>(width - length, 0);
    /* As Python centres: what is left over goes to the left where the width is odd. */
    int64_t before = left && right ? room / 2 + (room & width & 1) : left ? room : 0;
    jinja_charge_product((uint64_t)room, fill.size());
    text_builder out;
    for (int64_t i = 0; i < before; i++) {
        out.add(fill, false);
    }
    out.add(self);
    for (int64_t i = before; i < room; i++) {
        out.add(fill, false);
    }
    return out.done(is_markup(self));
}

value method_ljust(run &, const value &self, const call_args &args)
{
    return padded(self, params("ljust", args, {"width", "fillchar"}, 1), false, true);
}

value method_rjust(run &, const value &self, const call_args &args)
{
    return padded(self, params("rjust", args, {"width", "fillchar"}, 1), true, false);
}

value method_center(run &, const value &self, const call_args &args)
{
    return padded(self, params("center", args, {"width", "fillchar"}, 1), true, true);
}

value method_zfill(run &, const value &self, const call_args &args)
{
    params p("zfill", args, {"width"}, 1);
    flat_text text(self);
    int64_t room = p.whole(0, 0) - (int64_t)count_characters(text.view);
    bool has_sign = !text.view.empty() && (text.view[0] == '-' || text.view[0] == '+');
    jinja_charge((uint64_t)std::max<int64_t>(room, 0));
    text_builder out;
    text.cut(out, 0, has_sign ? 1 : 0);
    for (; room > 0; room--) {
        out.add("0", false);
    }
    text.cut(out, has_sign ? 1 : 0, text.view.size());
    return out.done(is_markup(self));
}

value method_expandtabs(run &, const value &self, const call_args &args)
{
    params p("expandtabs", args, {"tabsize"});
    int64_t size = std::max<int64_t>(p.whole(0, 8), 0);
    flat_text text(self);
    text_builder out;
    int64_t column = 0;
    for (size_t i = 0; i < text.view.size();) {
        size_t bytes = character_at(text.view, i).bytes;
        char c = text.view[i];
        if (c == '\t') {
            int64_t room = size > 0 ? size - column % size : 0;
            jinja_charge((uint64_t)room);
            out.add(std::string((size_t)room, ' '), false);
            column += room;
        } else {
            text.cut(out, i, i + bytes);
            column = c == '\n' || c == '\r' ? 0 : column + 1;
        }
        i += bytes;
    }
    return out.done(is_markup(self));
}

value method_format(run &r, const value &self, const call_args &args)
{
    return python_format(r, self, args);
}

/* ---- what characters are ---- */

value all_are(const value &self, const call_args &args, bool (*holds)(uint32_t))
{
    (void)params("is...", args, {});
    flat_text text(self);
    jinja_work(8 * text.view.size());
    for (size_t i = 0; i < text.view.size();) {
        character c = character_at(text.view, i);
        if (!holds(c.code)) {
            return make_bool(false);
        }
        i += c.bytes;
    }
    return make_bool(!text.view.empty());
}

template <bool (*holds)(uint32_t)> value method_all(run &, const value &self, const call_args &args)
{
    return all_are(self, args, holds);
}

bool is_alphanumeric(uint32_t code)
{
    return is_alphabetic(code) || is_decimal(code) || is_digit(code) || is_numeric(code);
}

bool is_ascii(uint32_t code)
{
    return code < 0x80;
}

/* isprintable() and isascii() hold for nothing at all. */
template <bool (*holds)(uint32_t)>
value method_none_but(run &r, const value &self, const call_args &args)
{
    return is_true(self) ? method_all<holds>(r, self, args) : make_bool(true);
}

/* Some letter has the case, and none the other. */
value in_case(const value &self, bool (*wanted)(uint32_t), bool (*other)(uint32_t))
{
    flat_text text(self);
    bool found = false;
    jinja_work(8 * text.view.size());
    for (size_t i = 0; i < text.view.size();) {
        character c = character_at(text.view, i);
        if (other(c.code)) {
            return make_bool(false);
        }
        found = found || wanted(c.code);
        i += c.bytes;
    }
    return make_bool(found);
}

value method_isupper(run &, const value &self, const call_args &args)
{
    (void)params("isupper", args, {});
    return in_case(self, is_upper, is_lower);
}

value method_islower(run &, const value &self, const call_args &args)
{
    (void)params("islower", args, {});
    return in_case(self, is_lower, is_upper);
}

value method_istitle(run &, const value &self, const call_args &args)
{
    (void)params("istitle", args, {});
    flat_text text(self), title(titled(self, true));
    bool letters = std::any_of(text.view.begin(), text.view.end(),
                               [](char c) { return std::isalpha((unsigned char)c) != 0; });
    return make_bool(letters && text.view == title.view);
}

value method_isidentifier(run &, const value &self, const call_args &args)
{
    (void)params("isidentifier", args, {});
    flat_text text(self);
    bool begins = !text.view.empty() && !is_decimal(character_at(text.view, 0).code);
    for (size_t i = 0; i < text.view.size() && begins;) {
        character c = character_at(text.view, i);
        begins = c.code == '_' || is_alphanumeric(c.code);
        i += c.bytes;
    }
    return make_bool(begins);
}

/* ---- lists and dicts ---- */

value list_index(run &, const value &self, const call_args &args)
{
    params p("index", args, {"value"}, 1);
    for (size_t i = 0; i < self->val_arr.size(); i++) {
        if (python_equal(self->val_arr[i], p[0])) {
            return make_int((int64_t)i);
        }
    }
    fail_as_python(python_repr(p[0]) + " is not in list");
}

value list_count(run &, const value &self, const call_args &args)
{
    params p("count", args, {"value"}, 1);
    return make_int((int64_t)std::count_if(self->val_arr.begin(), self->val_arr.end(),
                                           [&](const value &v) { return python_equal(v, p[0]); }));
}

value list_copy(run &, const value &self, const call_args &args)
{
    (void)params("copy", args, {});
    return make_list(self->val_arr);
}

value dict_get_method(run &, const value &self, const call_args &args)
{
    params p("get", args, {"key", "default"}, 1);
    if (p[0]->is_undefined()) {
        return p[1] != nullptr ? p[1] : make_none();
    }
    const value *found = dict_get(self, p[0]);
    return found != nullptr ? *found : p[1] != nullptr ? p[1] : make_none();
}

value dict_view(const value &self, const call_args &args, value_series_t::form form)
{
    (void)params("items", args, {});
    std::vector<value> items;
    jinja_charge(16 * self->val_obj.size());
    for (const auto &[key, one] : self->val_obj) {
        items.push_back(form == value_series_t::form::keys     ? key
                        : form == value_series_t::form::values ? one
                                                               : make_tuple({key, one}));
    }
    return make_series(form, std::move(items));
}

value dict_keys(run &, const value &self, const call_args &args)
{
    return dict_view(self, args, value_series_t::form::keys);
}

value dict_values(run &, const value &self, const call_args &args)
{
    return dict_view(self, args, value_series_t::form::values);
}

value dict_items(run &, const value &self, const call_args &args)
{
    return dict_view(self, args, value_series_t::form::items);
}

value dict_copy(run &, const value &self, const call_args &args)
{
    (void)params("copy", args, {});
    value made = make_dict();
    for (const auto &[key, one] : self->val_obj) {
        dict_set(made, key, one);
    }
    return made;
}

value float_is_integer(run &, const value &self, const call_args &args)
{
    (void)params("is_integer", args, {});
    return make_bool(self->val_flt == (double)self->val_int);
}

const named_builtin text_methods[] = {
    {"capitalize", method_capitalize},
    {"center", method_center},
    {"count", method_count},
    {"endswith", method_endswith},
    {"expandtabs", method_expandtabs},
    {"find", method_find},
    {"format", method_format},
    {"index", method_index},
    {"isalnum", method_all<is_alphanumeric>},
    {"isalpha", method_all<is_alphabetic>},
    {"isascii", method_none_but<is_ascii>},
    {"isdecimal", method_all<is_decimal>},
    {"isdigit", method_all<is_digit>},
    {"isidentifier", method_isidentifier},
    {"islower", method_islower},
    {"isnumeric", method_all<is_numeric>},
    {"isprintable", method_none_but<is_printable>},
    {"isspace", method_all<is_space>},
    {"istitle", method_istitle},
    {"isupper", method_isupper},
    {"join", joined},
    {"ljust", method_ljust},
    {"lower", method_lower},
    {"casefold", method_lower},
    {"lstrip", method_lstrip},
    {"partition", method_partition},
    {"removeprefix", method_removeprefix},
    {"removesuffix", method_removesuffix},
    {"replace", method_replace},
    {"rfind", method_rfind},
    {"rindex", method_rindex},
    {"rjust", method_rjust},
    {"rpartition", method_rpartition},
    {"rsplit", method_rsplit},
    {"rstrip", method_rstrip},
    {"split", method_split},
    {"splitlines", method_splitlines},
    {"startswith", method_startswith},
    {"strip", method_strip},
    {"swapcase", method_swapcase},
    {"title", method_title},
    {"upper", method_upper},
    {"zfill", method_zfill},
};

const named_builtin list_methods[] = {
    {"index", list_index}, {"count", list_count}, {"copy", list_copy}};

const named_builtin dict_methods[] = {{"get", dict_get_method},
                                      {"keys", dict_keys},
                                      {"values", dict_values},
                                      {"items", dict_items},
                                      {"copy", dict_copy}};

const named_builtin float_methods[] = {{"is_integer", float_is_integer}};

} // namespace

builtin find_text_method(const std::string &name)
{
    return find_in(text_methods, std::size(text_methods), name);
}

builtin find_method(const value &self, const std::string &name)
{
    switch (kind_of(self)) {
    case kind::text:
        return find_text_method(name);
    case kind::list:
        return find_in(list_methods, std::size(list_methods), name);
    case kind::tuple:
        return find_in(list_methods, 2, name);
    case kind::dict:
        return find_in(dict_methods, std::size(dict_methods), name);
    case kind::real:
        return find_in(float_methods, std::size(float_methods), name);
    default:
        return nullptr;
    }
}

} // namespace dw
