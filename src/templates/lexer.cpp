/* Templates' source in words, as Jinja2's lexer has them. */
#include <algorithm>

#include "templates/syntax_internal.h"

namespace dw
{
namespace
{

bool is_name_byte(char c)
{
    unsigned char b = (unsigned char)c;
    return (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || b == '_' ||
           b >= 0x80;
}

bool is_number_byte(char c)
{
    return c >= '0' && c <= '9';
}

class lexer
{
  public:
    explicit lexer(std::string_view text) : source(text)
    {
    }

    std::vector<token> all()
    {
        while (at < source.size()) {
            text_and_tag();
        }
        words.push_back({word::end_of_source, "", source.size()});
        return std::move(words);
    }

  private:
    std::string_view source;
    size_t at = 0;
    bool line_starts = true;
    std::vector<token> words;

    char peek(size_t ahead = 0) const
    {
        return at + ahead < source.size() ? source[at + ahead] : '\0';
    }

    bool follows(std::string_view what, size_t where) const
    {
        return source.substr(std::min(where, source.size()), what.size()) == what;
    }

    void skip_space()
    {
        at += space_at_begin(source.substr(at));
    }

    /* ---- text ---- */

    size_t next_tag() const
    {
        size_t found = at;
        while ((found = source.find('{', found)) != std::string_view::npos) {
            char next = found + 1 < source.size() ? source[found + 1] : '\0';
            if (next == '%' || next == '{' || next == '#') {
                return found;
            }
            found++;
        }
        return source.size();
    }

    /* Text before a tag; sign: '-', '+' or none behind the tag's beginning. */
    void add_text(size_t begin, size_t end, char sign, bool is_print)
    {
        std::string_view text = source.substr(begin, end - begin);
        if (sign == '-') {
            text = text.substr(0, space_at_end(text));
        } else if (sign != '+' && !is_print) {
            size_t line = text.rfind('\n');
            size_t from = line == std::string_view::npos ? 0 : line + 1;
            bool blank = from + space_at_begin(text.substr(from)) == text.size();
            if ((from > 0 || line_starts) && blank) {
                text = text.substr(0, from);
            }
        }
        if (!text.empty()) {
            words.push_back({word::text, std::string(text), begin});
        }
    }

    void text_and_tag()
    {
        size_t begin = at, tag = next_tag();
        if (tag == source.size()) {
            words.push_back({word::text, std::string(source.substr(begin)), begin});
            at = tag;
            return;
        }
        char kind = source[tag + 1];
        char sign = tag + 2 < source.size() ? source[tag + 2] : '\0';
        sign = sign == '-' || sign == '+' ? sign : '\0';
        add_text(begin, tag, sign, kind == '{');
        at = tag + 2 + (sign != '\0' ? 1 : 0);
        line_starts = false;
        if (kind == '#') {
            comment(tag);
        } else if (kind == '%' && begins_raw()) {
            raw(tag);
        } else {
            words.push_back({kind == '%' ? word::begin_statement : word::begin_print, "", tag});
            tag_words(tag, kind == '%');
        }
    }

    /* Behind the end of a tag: what is left out of the text that follows. `statement`: one end of
     * line is. */
    void after_tag(bool strips, bool statement)
    {
        size_t before = at;
        if (strips) {
            skip_space();
        } else if (statement && peek() == '\n') {
            at++;
        }
        line_starts = at > before && source[at - 1] == '\n';
    }

    void comment(size_t tag)
    {
        size_t end = source.find("#}", at);
        if (end == std::string_view::npos) {
            fail_syntax("Missing end of comment tag", tag);
        }
        char sign = end > at ? source[end - 1] : '\0';
        at = end + 2;
        if (sign == '+') {
            line_starts = false;
        } else {
            after_tag(sign == '-', true);
        }
    }

    bool begins_raw()
    {
        size_t word_at = at + space_at_begin(source.substr(at));
        if (!follows("raw", word_at)) {
            return false;
        }
        size_t end = word_at + 3 + space_at_begin(source.substr(word_at + 3));
        bool strips = follows("-%}", end);
        if (!strips && !follows("%}", end)) {
            return false;
        }
        at = end + (strips ? 3 : 2);
        after_tag(strips, false);
        return true;
    }

    void raw(size_t tag)
    {
        size_t begin = at;
        for (size_t found = at;; found += 2) {
            found = source.find("{%", found);
            if (found == std::string_view::npos) {
                fail_syntax("Missing end of raw directive", tag);
            }
            char sign = found + 2 < source.size() ? source[found + 2] : '\0';
            sign = sign == '-' || sign == '+' ? sign : '\0';
            size_t inside = found + 2 + (sign != '\0' ? 1 : 0);
            size_t name = inside + space_at_begin(source.substr(inside));
            if (!follows("endraw", name)) {
                continue;
            }
            size_t end = name + 6 + space_at_begin(source.substr(name + 6));
            char closes = end < source.size() ? source[end] : '\0';
            size_t mark = end + (closes == '-' || closes == '+' ? 1 : 0);
            if (!follows("%}", mark)) {
                continue;
            }
            add_text(begin, found, sign, false);
            at = mark + 2;
            line_starts = false;
            if (closes != '+') {
                after_tag(closes == '-', true);
            }
            return;
        }
    }

    /* ---- what is within a tag ---- */

    bool ends_tag(bool statement)
    {
        std::string_view end = statement ? "%}" : "}}";
        char sign = peek();
        bool signed_end = (sign == '-' || (sign == '+' && statement)) && follows(end, at + 1);
        if (!signed_end && !follows(end, at)) {
            return false;
        }
        words.push_back({statement ? word::end_statement : word::end_print, "", at});
        at += signed_end ? 3 : 2;
        line_starts = false;
        if (!(signed_end && sign == '+')) {
            after_tag(signed_end, statement);
        }
        return true;
    }

    void tag_words(size_t tag, bool statement)
    {
        std::string brackets; /* that are open */
        while (true) {
            skip_space();
            if (at >= source.size()) {
                fail_syntax(statement
                                ? "unexpected end of template, expected 'end of statement block'"
                                : "unexpected end of template, expected 'end of print "
                                  "statement'",
                            tag);
            }
            if (brackets.empty() && ends_tag(statement)) {
                return;
            }
            char c = source[at];
            if (is_number_byte(c)) {
                number();
            } else if (is_name_byte(c)) {
                size_t begin = at;
                while (at < source.size() && is_name_byte(source[at])) {
                    at++;
                }
                words.push_back({word::name, std::string(source.substr(begin, at - begin)), begin});
            } else if (c == '\'' || c == '"') {
                string();
            } else {
                sign(brackets);
            }
        }
    }

    void sign(std::string &brackets)
    {
        static const std::string_view pairs[] = {"//", "**", "==", "!=", ">=", "<="};
        static const std::string_view singles = "+-/*%~[](){}<>=.:|,;";
        char c = source[at];
        size_t bytes = 1;
        for (std::string_view pair : pairs) {
            bytes = follows(pair, at) ? 2 : bytes;
        }
        if (bytes == 1 && singles.find(c) == std::string_view::npos) {
            fail_syntax(std::string("unexpected char '") + c + "'", at);
        }
        if (c == '(' || c == '[' || c == '{') {
            brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (c == ')' || c == ']' || c == '}') {
            if (brackets.empty()) {
                fail_syntax(std::string("unexpected '") + c + "'", at);
            }
            if (brackets.back() != c) {
                fail_syntax(
                    std::string("unexpected '") + c + "', expected '" + brackets.back() + "'", at);
            }
            brackets.pop_back();
        }
        words.push_back({word::sign, std::string(source.substr(at, bytes)), at});
        at += bytes;
    }

    /* Digits with single _ between them. */
    void digits(std::string &out, const char *allowed)
    {
        auto holds = [&](char c) {
            return c != '\0' && std::string_view(allowed).find(c) != std::string_view::npos;
        };
        while (holds(peek()) || (peek() == '_' && holds(peek(1)))) {
            if (peek() != '_') {
                out += peek();
            }
            at++;
        }
    }

    void number()
    {
        static const char decimal[] = "0123456789";
        size_t begin = at;
        std::string text;
        char base = (char)(peek(1) | 0x20);
        if (peek() == '0' && (base == 'x' || base == 'o' || base == 'b')) {
            at += 2;
            at += peek() == '_' ? 1 : 0;
            text = std::string("0") + base;
            digits(text, base == 'x' ? "0123456789abcdefABCDEF" : base == 'o' ? "01234567" : "01");
            words.push_back({word::integer, text, begin});
            return;
        }
        digits(text, decimal);
        bool real = false;
        bool follows_dot = begin > 0 && source[begin - 1] == '.';
        if (!follows_dot && peek() == '.' && is_number_byte(peek(1))) {
            text += '.';
            at++;
            digits(text, decimal);
            real = true;
        }
        size_t sign_bytes = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
        if (!follows_dot && (peek() | 0x20) == 'e' && is_number_byte(peek(1 + sign_bytes))) {
            text += std::string(source.substr(at, 1 + sign_bytes));
            at += 1 + sign_bytes;
            digits(text, decimal);
            real = true;
        }
        words.push_back({real ? word::real : word::integer, text, begin});
    }

    /* ---- strings ---- */

    void string()
    {
        char quote = source[at];
        size_t begin = at++;
        std::string text;
        while (at < source.size() && source[at] != quote) {
            if (source[at] == '\\' && at + 1 < source.size()) {
                at++;
                escape(text);
            } else {
                text += source[at++];
            }
        }
        if (at >= source.size()) {
            fail_syntax(std::string("unexpected char '") + quote + "', the string has no end",
                        begin);
        }
        at++;
        words.push_back({word::string, text, begin});
    }

    uint32_t escape_code(size_t most, int base)
    {
        uint32_t code = 0;
        size_t count = 0;
        for (; count < most; count++) {
            char c = peek();
            int n = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : 99;
            if (n >= base) {
                break;
            }
            code = code * (uint32_t)base + (uint32_t)n;
            at++;
        }
        if (base == 16 && count < most) {
            fail_syntax("truncated escape in a string", at);
        }
        return code;
    }

    /* Behind the backslash. */
    void escape(std::string &text)
    {
        static const char letters[] = "abfnrtv\\'\"";
        static const char meanings[] = "\a\b\f\n\r\t\v\\'\"";
        size_t begin = at;
        char c = source[at];
        const char *found = c != '\0' ? std::char_traits<char>::find(letters, 10, c) : nullptr;
        if (found != nullptr) {
            text += meanings[found - letters];
            at++;
        } else if (c == '\n') {
            at++;
        } else if (c >= '0' && c <= '7') {
            append_character(text, escape_code(3, 8));
        } else if (c == 'x' || c == 'u' || c == 'U') {
            at++;
            uint32_t code = escape_code(c == 'x' ? 2 : c == 'u' ? 4 : 8, 16);
            if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
                fail_syntax("an escape in a string stands for no character", begin);
            }
            append_character(text, code);
        } else {
            text += '\\';
        }
    }
};

} // namespace

void fail_syntax(const std::string &why, size_t at)
{
    throw syntax_error(why, at);
}

std::vector<token> tokens_of(std::string_view source)
{
    return lexer(source).all();
}

} // namespace dw
