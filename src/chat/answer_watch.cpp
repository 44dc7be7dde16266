/* The characters that llama.cpp's code for chats reads from an answer, one at a time. Defined here,
 * they take the place of its own unicode.cpp, which the linker then leaves in the archive: thus a
 * parser that looks at nothing else while it works can be left when its guest's time is over.
 *
 * The declarations are those of common/unicode.h, which is not installed. */
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_internal.h"
#include "values/bounds.h"

struct utf8_parse_result {
    uint32_t codepoint;
    size_t bytes_consumed; /* where it is no character, of what could begin one */
    enum status { SUCCESS, INCOMPLETE, INVALID } status;
};

size_t common_utf8_sequence_length(unsigned char first_byte);
bool common_utf8_is_complete(const std::string &text);
utf8_parse_result common_parse_utf8_codepoint(std::string_view input, size_t offset);
std::string common_unicode_cpts_to_utf8(const std::vector<uint32_t> &characters);
std::string common_unicode_cpt_to_utf8(uint32_t character);

namespace
{

/* One look at the clock in so many characters, which take some 20 ns each. */
constexpr uint32_t characters_a_look = 4096;
constexpr uint64_t work_a_look = 1u << 20; /* what dw::jinja_work looks after */

thread_local uint32_t characters_seen;

/* By the first byte; 0: none begins so. Overlong forms are the parsers' to judge. */
size_t length_of(unsigned char first)
{
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc0 || first >= 0xf8) {
        return 0;
    }
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

} // namespace

void dw::answer_watch_begin()
{
    characters_seen = 0;
}

utf8_parse_result common_parse_utf8_codepoint(std::string_view input, size_t offset)
{
    if (++characters_seen % characters_a_look == 0) {
        dw::jinja_work(work_a_look);
    }
    if (offset >= input.size()) {
        return {0, 0, utf8_parse_result::INCOMPLETE};
    }
    const auto first = (unsigned char)input[offset];
    const size_t length = length_of(first);
    if (length <= 1) {
        return {length == 1 ? first : 0u, 1,
                length == 1 ? utf8_parse_result::SUCCESS : utf8_parse_result::INVALID};
    }
    uint32_t character = first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (offset + i >= input.size()) {
            return {0, i, utf8_parse_result::INCOMPLETE};
        }
        const auto next = (unsigned char)input[offset + i];
        if ((next & 0xc0) != 0x80) {
            return {0, i, utf8_parse_result::INVALID};
        }
        character = character << 6 | (next & 0x3fu);
    }
    return {character, length, utf8_parse_result::SUCCESS};
}

/* What a byte that begins no character counts as is one. */
size_t common_utf8_sequence_length(unsigned char first_byte)
{
    const size_t length = length_of(first_byte);
    return length != 0 ? length : first_byte < 0xc0 ? 1 : 4;
}

bool common_utf8_is_complete(const std::string &text)
{
    for (size_t back = 1; back <= 4 && back <= text.size(); back++) {
        const auto byte = (unsigned char)text[text.size() - back];
        if ((byte & 0xc0) != 0x80) {
            return back >= common_utf8_sequence_length(byte);
        }
    }
    return text.empty();
}

std::string common_unicode_cpt_to_utf8(uint32_t character)
{
    if (character > 0x10ffff) {
        throw std::invalid_argument("a character beyond Unicode's");
    }
    const int more = character < 0x80 ? 0 : character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
    static const unsigned char marks[] = {0, 0xc0, 0xe0, 0xf0};
    std::string text(1, (char)(marks[more] | character >> 6 * more));
    for (int left = more - 1; left >= 0; left--) {
        text.push_back((char)(0x80 | (character >> 6 * left & 0x3f)));
    }
    return text;
}

std::string common_unicode_cpts_to_utf8(const std::vector<uint32_t> &characters)
{
    std::string text;
    for (uint32_t character : characters) {
        text += common_unicode_cpt_to_utf8(character);
    }
    return text;
}
