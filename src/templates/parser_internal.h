/* Words to a tree (C++). */
#ifndef DW_TEMPLATES_PARSER_INTERNAL_H
#define DW_TEMPLATES_PARSER_INTERNAL_H

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "templates/syntax_internal.h"

namespace dw
{

constexpr size_t parse_depth_max = 1000;

class parser
{
  public:
    parser(syntax &made, std::vector<token> tokens) : program(made), words(std::move(tokens))
    {
    }

    void all()
    {
        program.body = statements({}, "");
        check_names(program.body, false);
    }

  private:
    syntax &program;
    std::vector<token> words;
    size_t next = 0;
    size_t depth = 0;
    node *in_macro = nullptr;

    /* ---- words ---- */
    const token &now() const;
    const token &ahead() const;
    bool is_sign(const char *text) const;
    bool is_name(const char *text) const;
    bool skip_sign(const char *text);
    bool skip_name(const char *text);
    static std::string described(const token &t);
    [[noreturn]] void fail(const std::string &why) const;
    [[noreturn]] void fail_expected(const std::string &what) const;
    void expect_sign(const char *text);
    void expect_end();
    std::string expect_name();
    node_ptr make(form is) const;
    static node_ptr make_over(form is, node_ptr operand);
    struct deeper {
        parser &p;
        explicit deeper(parser &of) : p(of)
        {
            jinja_step();
            if (++p.depth > parse_depth_max) {
                p.fail("more than " + std::to_string(parse_depth_max) +
                       " levels within each other");
            }
        }
        ~deeper()
        {
            p.depth--;
        }
        deeper(const deeper &) = delete;
        deeper &operator=(const deeper &) = delete;
    };

    /* ---- statements ---- */
    /* Up to a statement of one of the names, which is not taken; none: to the end. */
    node_list statements(std::initializer_list<const char *> ends, const std::string &block);
    node &output_of(node_list &body) const;
    node_list body_until(const char *end, const std::string &block);
    node_ptr statement(const std::string &block);
    node_ptr for_loop();
    node_ptr branch();
    node_ptr set();
    void signature(node &made);
    void macro_body(node &made, const char *end, const char *block);
    void signature_of(node &made, const std::string &block);
    node_ptr macro();
    node_ptr call_block();
    /* A scope of its own, and nothing else. */
    node_ptr generation();
    node_ptr filter_block();
    node_ptr with();
    node_ptr block();
    node_ptr autoescape();
    node_ptr print();
    /* Other templates: there are none. */
    node_ptr include();
    /* ---- what is assigned to ---- */
    void check_assigned(const std::string &name, size_t at) const;
    node_ptr one_target(bool in_loop);
    node_ptr targets(bool in_loop, bool in_brackets);
    node_ptr target(bool in_loop);

    /* ---- expressions ---- */
    bool at_tuple_end(bool conditional) const;
    /* `conditional`: whether x if y is one; behind `for` it is a filter. */
    node_ptr tuple_or_one(bool conditional = true, bool in_brackets = false);
    node_ptr expression();
    node_ptr either();
    node_ptr both();
    node_ptr negated();
    std::string comparison_operator();
    node_ptr comparison();
    template <typename Operand>
    node_ptr arithmetic(std::initializer_list<const char *> signs, Operand operand)
    {
        auto made = operand();
        while (true) {
            const auto *sign =
                std::find_if(signs.begin(), signs.end(), [&](const char *s) { return is_sign(s); });
            if (sign == signs.end()) {
                return made;
            }
            made = make_over(form::arithmetic, std::move(made));
            made->at = now().at;
            made->text = *sign;
            next++;
            made->items.push_back(operand());
        }
    }

    node_ptr sum();
    node_ptr concat();
    node_ptr product();
    node_ptr power();
    node_ptr unary(bool with_filter);
    node_ptr primary();
    node_ptr name_or_constant(node_ptr made);
    static jinja::value number(const token &t);
    node_ptr list();
    node_ptr dict();
    node_ptr postfix(node_ptr made);
    node_ptr filtered(node_ptr made);
    node_ptr attribute(node_ptr of);
    node_ptr slice_part();
    node_ptr index_or_slice();
    node_ptr subscript(node_ptr of);
    /* Behind the opening bracket. */
    void call_arguments(node &made);
    void one_argument(node &made);
    node_ptr call(node_ptr of);
    std::string dotted_name();
    /* One filter; of a block, which begins without its |, all of them. */
    node_ptr filters(node_ptr of, bool begins = false);
    node_ptr test(node_ptr of);

    /* ---- names of filters and tests ---- */
    /* Jinja2 looks for them when it compiles, but in what may not be reached of a branch. */
    void check_names(const node_list &nodes, bool may_miss);
    void check_names(const node &n, bool may_miss);
};

} // namespace dw

#endif
