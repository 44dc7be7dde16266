/* Templates' source as a tree (C++). The grammar is Jinja2's, with Hugging Face's conventions:
 * trim_blocks and lstrip_blocks, {% break %}, {% continue %} and {% generation %}. */
#ifndef DW_TEMPLATES_SYNTAX_INTERNAL_H
#define DW_TEMPLATES_SYNTAX_INTERNAL_H

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "templates/functions_internal.h"

namespace dw
{

/* ---- words: lexer.cpp ----------------------------------------------------------------- */

enum class word {
    text, /* between tags */
    begin_statement,
    end_statement,
    begin_print,
    end_print,
    name,
    string,
    integer,
    real,
    sign, /* operators and brackets, by their text */
    end_of_source,
};

struct token {
    word is;
    std::string text; /* a string's: what it stands for */
    size_t at;        /* byte of the source */
};

/* A template that cannot be one: why, and where. */
[[noreturn]] void fail_syntax(const std::string &why, size_t at);
struct syntax_error : std::runtime_error {
    size_t at;
    syntax_error(const std::string &why, size_t where) : std::runtime_error(why), at(where)
    {
    }
};

/* source: with its ends of lines as '\n', and without the last one. Throws syntax_error. */
std::vector<token> tokens_of(std::string_view source);

/* ---- the tree: parser.cpp ------------------------------------------------------------- */

enum class form {
    /* expressions: `items` are their operands */
    constant,
    name, /* symbol */
    list,
    tuple,
    dict,        /* key, item, key, item, ... */
    unary,       /* text: not - + */
    arithmetic,  /* text: + - * / // % ** */
    concat,      /* of all items */
    both,        /* and */
    either,      /* or */
    comparison,  /* items[0] text[0] items[1] ..., operators in `texts` */
    conditional, /* test, one, other (may be missing) */
    attribute,   /* items[0].constant */
    item,        /* items[0][items[1]] */
    slice,       /* items[0][from:to:step], missing ones are null */
    call,        /* items[0](...) */
    filter,      /* items[0] | text(...); no items[0]: in a filter block */
    test,        /* items[0] is text(...) */
    /* statements */
    output,      /* texts and expressions */
    branch,      /* items: tests; bodies: theirs, and the else's */
    loop,        /* items: target, iterable, condition (may be null); bodies: each, else */
    assign,      /* items: target, value */
    assign_body, /* items: target, filter (may be null); bodies[0] */
    macro,       /* symbol; `parameters` */
    call_body,   /* items[0]: the call; parameters of its caller; bodies[0] */
    filter_body, /* items[0]: the filter; bodies[0] */
    with,        /* items: target, value, ...; bodies[0] */
    block,       /* text: its name; bodies[0] */
    autoescape,  /* items[0]; bodies[0] */
    breaks,
    continues,
    refuses,         /* text: why, when it is reached */
    space_attribute, /* a target: items[0] of a name . constant */
};

struct node;
using node_ptr = std::unique_ptr<node>;
using node_list = std::vector<node_ptr>;

struct parameter {
    uint32_t symbol;
    jinja::value name;
    node_ptr otherwise; /* its default; null: none */
};

struct node {
    form is;
    size_t at = 0; /* byte of the source */
    uint32_t symbol = 0;
    bool flag = false; /* test: negated; loop: recursive */
    std::string text;
    jinja::value constant;
    node_list items;
    std::vector<node_list> bodies;
    /* A call's, filter's or test's arguments. */
    node_list arguments;
    std::vector<std::pair<std::string, node_ptr>> named;
    node_ptr more, more_named; /* *list, **dict */
    std::vector<std::string> texts;
    std::vector<parameter> parameters;
    bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
    builtin function = nullptr; /* a filter's or test's; null: there is none of this name */

    node(form what, size_t where) : is(what), at(where)
    {
    }
};

/* Names as numbers. */
class symbol_table
{
  public:
    uint32_t of(const std::string &name);
    std::vector<std::string> names;

  private:
    std::unordered_map<std::string, uint32_t> numbers;
};

enum fixed_symbol : uint32_t {
    symbol_loop,
    symbol_caller,
    symbol_varargs,
    symbol_kwargs,
    symbol_self
};

struct syntax {
    std::string source;
    symbol_table symbols;
    node_list body;
    std::unordered_map<std::string, const node *> blocks;
    syntax();
};

/* Throws syntax_error, limit_reached. */
std::shared_ptr<const syntax> parse_template(const std::string &source);

/* What {{ value }} and the rest write; program.cpp. */
jinja::value run_template(const syntax &program, jinja::context &context);

} // namespace dw

#endif
