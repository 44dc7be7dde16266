/* Text of templates: characters of UTF-8, and strings whose parts stay marked as from
 * outside (C++). */
#ifndef DW_VALUES_TEXT_H
#define DW_VALUES_TEXT_H

#include <jinja/value.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dw
{

/* ---- characters ----------------------------------------------------------------------------- */

/* A character of UTF-8 text; damaged bytes are characters of their own, with code 0xfffd. */
struct character {
    uint32_t code;
    size_t bytes;
};

character character_at(std::string_view text, size_t at);
/* Where the character that ends before `at` begins; at > 0. */
size_t character_before(std::string_view text, size_t at);
void append_character(std::string &text, uint32_t code);
size_t count_characters(std::string_view text);
/* Bytes of the first `count` characters, or of all. */
size_t bytes_of_characters(std::string_view text, size_t count);

/* As Python's str methods of the same names have them. */
bool is_space(uint32_t code);
bool is_alphabetic(uint32_t code);
bool is_decimal(uint32_t code);
bool is_digit(uint32_t code);
bool is_numeric(uint32_t code);
bool is_printable(uint32_t code);
bool is_lower(uint32_t code);
bool is_upper(uint32_t code);

enum class letter_case { lower, upper, title };
void append_in_case(std::string &text, uint32_t code, letter_case wanted);
/* str.lower(): a sigma that ends a word is written otherwise. */
std::string lower_text(std::string_view text);
std::string upper_text(std::string_view text);

/* Bytes of white space at the beginning, and where that at the end begins. */
size_t space_at_begin(std::string_view text);
size_t space_at_end(std::string_view text);
/* Where `what` is in text at or behind `from`; npos: nowhere. Linear. */
size_t find_text(std::string_view text, std::string_view what, size_t from = 0);
size_t find_text_last(std::string_view text, std::string_view what);

/* ---- strings with marks --------------------------------------------------------------------- */

/* Text made piece by piece; what it grows by is charged. */
class text_builder
{
  public:
    void add(std::string_view text, bool marked);
    void add(const jinja::string &text);
    void add(const jinja::value &text); /* a string's */
    size_t size() const
    {
        return total;
    }
    bool is_marked() const
    {
        return any_marked;
    }
    jinja::string take();
    /* A string, of Markup where that is said. */
    jinja::value done(bool markup = false);

  private:
    jinja::string made;
    size_t total = 0;
    bool any_marked = false;
};

/* A string in one piece, and its marks. Borrows the value. */
class flat_text
{
  public:
    explicit flat_text(const jinja::value &text);
    flat_text(const flat_text &) = delete;
    flat_text &operator=(const flat_text &) = delete;
    std::string_view view;

    /* Bytes from..to with their marks. */
    void cut(text_builder &out, size_t from, size_t to) const;
    jinja::value cut(size_t from, size_t to) const;

  private:
    jinja::value source;
    std::string joined;
    std::vector<size_t> ends; /* of parts, where there are several */
    bool markup;
};

jinja::value make_text(std::string text, bool marked = false);
jinja::value make_text(jinja::string text, bool markup);
bool is_markup(const jinja::value &value);

} // namespace dw

#endif
