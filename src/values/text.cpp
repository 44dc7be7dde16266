#include "values/text.h"

#include <algorithm>
#include <cstring>

#include "values/values.h"
#include "values/unicode_data.h"

namespace dw
{
namespace
{

constexpr uint32_t damaged = 0xfffd;
constexpr uint32_t capital_sigma = 0x3a3, small_sigma = 0x3c3, final_sigma = 0x3c2;

template <size_t count> bool is_in(const code_range (&ranges)[count], uint32_t code)
{
    const auto *found =
        std::upper_bound(ranges, ranges + count, code,
                         [](uint32_t c, const code_range &range) { return c < range.first; });
    return found != ranges && code <= (found - 1)->last;
}

template <size_t count> uint32_t mapped(const case_run (&runs)[count], uint32_t code)
{
    const auto *found = std::upper_bound(
        runs, runs + count, code, [](uint32_t c, const case_run &run) { return c < run.first; });
    if (found == runs) {
        return code;
    }
    /* Runs with strides lie within each other by one. */
    for (const auto *run = found - 1; run >= runs && run >= found - 2; run--) {
        if (code <= run->last && (code - run->first) % run->stride == 0) {
            return (uint32_t)((int64_t)code + run->delta);
        }
    }
    return code;
}

template <size_t count>
const special_case *special_of(const special_case (&cases)[count], uint32_t code)
{
    const auto *found =
        std::lower_bound(cases, cases + count, code,
                         [](const special_case &one, uint32_t c) { return one.code < c; });
    return found != cases + count && found->code == code ? found : nullptr;
}

bool is_cased(uint32_t code)
{
    return is_lower(code) || is_upper(code) || mapped(to_title, code) != code;
}

/* Whether the sigma at `at` is the last letter of a word of several. */
bool ends_word(std::string_view text, size_t at)
{
    size_t next = at + 2;
    if (next < text.size() && is_cased(character_at(text, next).code)) {
        return false;
    }
    return at > 0 && is_cased(character_at(text, character_before(text, at)).code);
}

} // namespace

/* ---- characters ----------------------------------------------------------------------------- */

character character_at(std::string_view text, size_t at)
{
    auto byte = [&](size_t i) {
        return at + i < text.size() ? (unsigned char)text[at + i] : (unsigned char)0;
    };
    unsigned char first = byte(0);
    if (first < 0x80) {
        return {first, 1};
    }
    size_t bytes = (first >> 5) == 0x6 ? 2 : (first >> 4) == 0xe ? 3 : (first >> 3) == 0x1e ? 4 : 0;
    if (bytes == 0) {
        return {damaged, 1};
    }
    uint32_t code = first & (0xffu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((byte(i) & 0xc0) != 0x80) {
            return {damaged, 1};
        }
        code = code << 6 | (byte(i) & 0x3fu);
    }
    return {code, bytes};
}

size_t character_before(std::string_view text, size_t at)
{
    for (size_t bytes = 1; bytes <= 4 && bytes <= at; bytes++) {
        if (((unsigned char)text[at - bytes] & 0xc0) != 0x80) {
            return character_at(text, at - bytes).bytes == bytes ? at - bytes : at - 1;
        }
    }
    return at - 1;
}

void append_character(std::string &text, uint32_t code)
{
    if (code < 0x80) {
        text += (char)code;
    } else if (code < 0x800) {
        text += (char)(0xc0 | code >> 6);
        text += (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        text += (char)(0xe0 | code >> 12);
        text += (char)(0x80 | (code >> 6 & 0x3f));
        text += (char)(0x80 | (code & 0x3f));
    } else {
        text += (char)(0xf0 | code >> 18);
        text += (char)(0x80 | (code >> 12 & 0x3f));
        text += (char)(0x80 | (code >> 6 & 0x3f));
        text += (char)(0x80 | (code & 0x3f));
    }
}

size_t count_characters(std::string_view text)
{
    jinja_work(text.size());
    return (size_t)std::count_if(text.begin(), text.end(),
                                 [](char c) { return ((unsigned char)c & 0xc0) != 0x80; });
}

size_t bytes_of_characters(std::string_view text, size_t count)
{
    size_t at = 0;
    for (; count > 0 && at < text.size(); count--) {
        at += 1;
        while (at < text.size() && ((unsigned char)text[at] & 0xc0) == 0x80) {
            at++;
        }
    }
    jinja_work(at);
    return at;
}

bool is_space(uint32_t code)
{
    return (code >= 0x9 && code <= 0xd) || (code >= 0x1c && code <= 0x20) || code == 0x85 ||
           code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool is_alphabetic(uint32_t code)
{
    return is_in(alphabetic, code);
}

bool is_decimal(uint32_t code)
{
    return is_in(decimal, code);
}

bool is_digit(uint32_t code)
{
    return is_in(digit, code);
}

bool is_numeric(uint32_t code)
{
    return is_in(numeric, code);
}

bool is_printable(uint32_t code)
{
    return is_in(printable, code);
}

bool is_lower(uint32_t code)
{
    return mapped(to_upper, code) != code && mapped(to_lower, code) == code
               ? mapped(to_title, code) != code
               : special_of(to_upper_special, code) != nullptr;
}

bool is_upper(uint32_t code)
{
    bool lowers = mapped(to_lower, code) != code || special_of(to_lower_special, code) != nullptr;
    return lowers && mapped(to_upper, code) == code;
}

void append_in_case(std::string &text, uint32_t code, letter_case wanted)
{
    const special_case *special = wanted == letter_case::lower ? special_of(to_lower_special, code)
                                  : wanted == letter_case::upper
                                      ? special_of(to_upper_special, code)
                                      : special_of(to_title_special, code);
    if (special != nullptr) {
        for (uint32_t one : special->becomes) {
            if (one != 0) {
                append_character(text, one);
            }
        }
        return;
    }
    append_character(text, wanted == letter_case::lower   ? mapped(to_lower, code)
                           : wanted == letter_case::upper ? mapped(to_upper, code)
                                                          : mapped(to_title, code));
}

std::string lower_text(std::string_view text)
{
    std::string out;
    jinja_work(8 * text.size());
    for (size_t i = 0; i < text.size();) {
        character c = character_at(text, i);
        if (c.code < 0x80) {
            out += c.code >= 'A' && c.code <= 'Z' ? (char)(c.code + 32) : (char)c.code;
        } else if (c.code == damaged) {
            out.append(text.substr(i, c.bytes));
        } else if (c.code == capital_sigma) {
            append_character(out, ends_word(text, i) ? final_sigma : small_sigma);
        } else {
            append_in_case(out, c.code, letter_case::lower);
        }
        i += c.bytes;
    }
    return out;
}

std::string upper_text(std::string_view text)
{
    std::string out;
    jinja_work(8 * text.size());
    for (size_t i = 0; i < text.size();) {
        character c = character_at(text, i);
        if (c.code < 0x80) {
            out += c.code >= 'a' && c.code <= 'z' ? (char)(c.code - 32) : (char)c.code;
        } else if (c.code == damaged) {
            out.append(text.substr(i, c.bytes));
        } else {
            append_in_case(out, c.code, letter_case::upper);
        }
        i += c.bytes;
    }
    return out;
}

size_t space_at_begin(std::string_view text)
{
    size_t at = 0;
    while (at < text.size()) {
        character c = character_at(text, at);
        if (!is_space(c.code)) {
            break;
        }
        at += c.bytes;
    }
    return at;
}

size_t space_at_end(std::string_view text)
{
    size_t end = text.size();
    while (end > 0) {
        size_t before = character_before(text, end);
        if (!is_space(character_at(text, before).code)) {
            break;
        }
        end = before;
    }
    return end;
}

size_t find_text(std::string_view text, std::string_view what, size_t from)
{
    if (from > text.size()) {
        return std::string_view::npos;
    }
    jinja_work(1);
    if (what.empty()) {
        return from;
    }
    const void *found = memmem(text.data() + from, text.size() - from, what.data(), what.size());
    size_t at =
        found != nullptr ? (size_t)((const char *)found - text.data()) : std::string_view::npos;
    jinja_work((found != nullptr ? at : text.size()) - from);
    return at;
}

size_t find_text_last(std::string_view text, std::string_view what)
{
    if (what.size() <= 64) {
        jinja_work(text.size());
        return text.rfind(what);
    }
    size_t last = std::string_view::npos;
    for (size_t at = 0; (at = find_text(text, what, at)) != std::string_view::npos; at++) {
        last = at;
    }
    return last;
}

/* ---- strings with marks --------------------------------------------------------------------- */

void text_builder::add(std::string_view text, bool marked)
{
    if (text.empty()) {
        return;
    }
    jinja_grow(total, text.size());
    total += text.size();
    any_marked = any_marked || marked;
    if (!made.parts.empty() && made.parts.back().is_input == marked) {
        made.parts.back().val.append(text);
    } else {
        made.parts.push_back({marked, std::string(text)});
    }
}

void text_builder::add(const jinja::string &text)
{
    for (const auto &part : text.parts) {
        add(part.val, part.is_input);
    }
}

void text_builder::add(const jinja::value &text)
{
    add(text->val_str);
}

jinja::string text_builder::take()
{
    total = 0;
    return std::move(made);
}

jinja::value text_builder::done(bool markup)
{
    return make_text(take(), markup);
}

flat_text::flat_text(const jinja::value &text) : source(text), markup(dw::is_markup(text))
{
    const auto &parts = text->val_str.parts;
    if (parts.size() == 1) {
        view = parts[0].val;
        return;
    }
    for (const auto &part : parts) {
        joined += part.val;
        ends.push_back(joined.size());
    }
    jinja_work(joined.size());
    view = joined;
}

void flat_text::cut(text_builder &out, size_t from, size_t to) const
{
    const auto &parts = source->val_str.parts;
    if (from >= to) {
        return;
    }
    if (ends.empty()) {
        out.add(view.substr(from, to - from), parts[0].is_input);
        return;
    }
    size_t i = (size_t)(std::upper_bound(ends.begin(), ends.end(), from) - ends.begin());
    for (; from < to && i < parts.size(); i++) {
        size_t end = std::min(to, ends[i]);
        out.add(view.substr(from, end - from), parts[i].is_input);
        from = end;
    }
}

jinja::value flat_text::cut(size_t from, size_t to) const
{
    text_builder out;
    cut(out, from, to);
    return out.done(markup);
}

jinja::value make_text(std::string text, bool marked)
{
    return make_text(jinja::string(text, marked), false);
}

jinja::value make_text(jinja::string text, bool markup)
{
    jinja_charge(value_bytes);
    jinja::value made = markup ? jinja::value(jinja::mk_val<value_markup_t>())
                               : jinja::value(jinja::mk_val<jinja::value_string>());
    made->val_str = std::move(text);
    return made;
}

bool is_markup(const jinja::value &value)
{
    return dynamic_cast<const value_markup_t *>(value.get()) != nullptr;
}

} // namespace dw
