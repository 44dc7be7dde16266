/* Where text that is told as it comes may end: the bytes with which something else can begin in an
 * answer of a format. */
#include "chat/chat_internal.h"

#include <chat-peg-parser.h>

#include <type_traits>
#include <variant>
#include <vector>

namespace
{

struct marker {
    const common_peg_arena &arena;
    bool *marks;                             /* [256] */
    std::vector<common_peg_parser_id> ahead; /* what is looked ahead for, and was not looked at */

    void mark(const std::string &text)
    {
        if (!text.empty()) {
            marks[static_cast<unsigned char>(text.front())] = true;
        }
    }

    /* Of a class of characters; those beyond ASCII by all bytes that they may begin with. */
    void mark(const std::vector<common_peg_chars_parser::char_range> &ranges)
    {
        for (const auto &range : ranges) {
            for (uint32_t c = range.start; c <= range.end && c < 0x80; c++) {
                marks[c] = true;
            }
            for (uint32_t byte = 0x80; range.end >= 0x80 && byte < 0x100; byte++) {
                marks[byte] = true;
            }
        }
    }

    /* What ends text by itself. */
    void operator()(const common_peg_until_parser &until)
    {
        for (const auto &text : until.delimiters) {
            mark(text);
        }
    }
    void operator()(const common_peg_ac_parser &search)
    {
        for (const auto &text : search.delimiters) {
            mark(text);
        }
    }
    void operator()(const common_peg_and_parser &next)
    {
        ahead.push_back(next.child);
    }
    void operator()(const common_peg_not_parser &next)
    {
        ahead.push_back(next.child);
    }
    void operator()(const common_peg_chars_parser &chars)
    {
        if (chars.negated) {
            mark(chars.ranges);
        }
    }
    template <typename other> void operator()(const other &)
    {
    }
};

/* The words at the front of what is looked ahead for, and some more. Characters are looked ahead
 * for behind numbers alone, of which text has none. */
struct front {
    marker &to;

    void operator()(const common_peg_literal_parser &literal)
    {
        to.mark(literal.literal);
    }
    void operator()(const common_peg_ref_parser &ref)
    {
        to.ahead.push_back(to.arena.get_rule(ref.name));
    }
    template <typename other> void operator()(const other &parser)
    {
        if constexpr (std::is_same_v<other, common_peg_sequence_parser> ||
                      std::is_same_v<other, common_peg_choice_parser>) {
            to.ahead.insert(to.ahead.end(), parser.children.begin(), parser.children.end());
        } else if constexpr (std::is_same_v<other, common_peg_repetition_parser> ||
                             std::is_same_v<other, common_peg_schema_parser> ||
                             std::is_same_v<other, common_peg_rule_parser> ||
                             std::is_same_v<other, common_peg_atomic_parser> ||
                             std::is_same_v<other, common_peg_tag_parser> ||
                             std::is_same_v<other, common_peg_gbnf_parser> ||
                             std::is_same_v<other, common_peg_ac_parser>) {
            to.ahead.push_back(parser.child);
        }
    }
};

} // namespace

void dw::find_marks(const common_peg_arena &arena, bool (&marks)[256])
{
    marker found = {arena, marks, {}};
    std::vector<bool> seen(arena.size());
    for (size_t id = 0; id < arena.size(); id++) {
        std::visit(found, arena.get(id));
    }
    while (!found.ahead.empty()) {
        common_peg_parser_id id = found.ahead.back();
        found.ahead.pop_back();
        if (id < seen.size() && !seen[id]) {
            seen[id] = true;
            std::visit(front{found}, arena.get(id));
        }
    }
}
