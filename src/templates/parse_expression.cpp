/* Expressions, by Jinja2's grammar. */
#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "templates/parser_internal.h"

namespace dw
{

using jinja::value;

/* ---- expressions ---- */
bool parser::at_tuple_end(bool conditional) const
{
    bool ends = now().is == word::end_print || now().is == word::end_statement || is_sign(")");
    return ends || (!conditional && (is_name("if") || is_name("recursive")));
}

/* `conditional`: whether x if y is one; behind `for` it is a filter. */
node_ptr parser::tuple_or_one(bool conditional, bool in_brackets)
{
    auto made = make(form::tuple);
    bool is_tuple = false;
    while (!at_tuple_end(conditional)) {
        made->items.push_back(conditional ? expression() : either());
        if (!skip_sign(",")) {
            break;
        }
        is_tuple = true;
    }
    if (is_tuple) {
        return made;
    }
    if (!made->items.empty()) {
        return std::move(made->items[0]);
    }
    if (!in_brackets) {
        fail("Expected an expression, got '" + described(now()) + "'");
    }
    return made;
}

node_ptr parser::expression()
{
    deeper level(*this);
    auto made = either();
    while (is_name("if")) {
        next++;
        auto whole = std::make_unique<node>(form::conditional, made->at);
        whole->items.push_back(either());
        whole->items.push_back(std::move(made));
        whole->items.push_back(skip_name("else") ? expression() : nullptr);
        made = std::move(whole);
    }
    return made;
}

node_ptr parser::either()
{
    auto made = both();
    while (is_name("or")) {
        next++;
        made = make_over(form::either, std::move(made));
        made->items.push_back(both());
    }
    return made;
}

node_ptr parser::both()
{
    auto made = negated();
    while (is_name("and")) {
        next++;
        made = make_over(form::both, std::move(made));
        made->items.push_back(negated());
    }
    return made;
}

node_ptr parser::negated()
{
    if (!is_name("not")) {
        return comparison();
    }
    deeper level(*this);
    auto made = make(form::unary);
    made->text = "not";
    next++;
    made->items.push_back(negated());
    return made;
}

std::string parser::comparison_operator()
{
    static const char *const signs[] = {"==", "!=", "<=", ">=", "<", ">"};
    for (const char *sign : signs) {
        if (skip_sign(sign)) {
            return sign;
        }
    }
    if (skip_name("in")) {
        return "in";
    }
    if (is_name("not") && ahead().is == word::name && ahead().text == "in") {
        next += 2;
        return "not in";
    }
    return "";
}

node_ptr parser::comparison()
{
    auto made = sum();
    std::string sign = comparison_operator();
    if (sign.empty()) {
        return made;
    }
    made = make_over(form::comparison, std::move(made));
    for (; !sign.empty(); sign = comparison_operator()) {
        made->texts.push_back(sign);
        made->items.push_back(sum());
    }
    return made;
}

node_ptr parser::sum()
{
    return arithmetic({"+", "-"}, [&] { return concat(); });
}

node_ptr parser::concat()
{
    auto made = product();
    if (!is_sign("~")) {
        return made;
    }
    made = make_over(form::concat, std::move(made));
    while (skip_sign("~")) {
        made->items.push_back(product());
    }
    return made;
}

node_ptr parser::product()
{
    return arithmetic({"*", "/", "//", "%"}, [&] { return power(); });
}

node_ptr parser::power()
{
    return arithmetic({"**"}, [&] { return unary(true); });
}

node_ptr parser::unary(bool with_filter)
{
    node_ptr made;
    if (is_sign("-") || is_sign("+")) {
        deeper level(*this);
        made = make(form::unary);
        made->text = now().text;
        next++;
        made->items.push_back(unary(false));
    } else {
        made = primary();
    }
    made = postfix(std::move(made));
    return with_filter ? filtered(std::move(made)) : std::move(made);
}

node_ptr parser::primary()
{
    auto made = make(form::constant);
    const token &t = now();
    if (t.is == word::name) {
        return name_or_constant(std::move(made));
    }
    if (t.is == word::string) {
        std::string text;
        for (; now().is == word::string; next++) {
            text += now().text;
        }
        made->constant = make_text(text);
    } else if (t.is == word::integer || t.is == word::real) {
        made->constant = number(t);
        next++;
    } else if (skip_sign("(")) {
        deeper level(*this);
        made = tuple_or_one(true, true);
        expect_sign(")");
    } else if (is_sign("[")) {
        made = list();
    } else if (is_sign("{")) {
        made = dict();
    } else {
        fail("unexpected '" + described(t) + "'");
    }
    return made;
}

node_ptr parser::name_or_constant(node_ptr made)
{
    std::string name = words[next++].text;
    if (name == "true" || name == "True" || name == "false" || name == "False") {
        made->constant = make_bool(name[0] == 't' || name[0] == 'T');
    } else if (name == "none" || name == "None") {
        made->constant = make_none();
    } else {
        made->is = form::name;
        made->symbol = program.symbols.of(name);
        if (in_macro != nullptr) {
            in_macro->uses_varargs |= made->symbol == symbol_varargs;
            in_macro->uses_kwargs |= made->symbol == symbol_kwargs;
            in_macro->uses_caller |= made->symbol == symbol_caller;
        }
    }
    return made;
}

value parser::number(const token &t)
{
    if (t.is == word::real) {
        return make_float(std::strtod(t.text.c_str(), nullptr));
    }
    int base = t.text.size() < 3  ? 10
               : t.text[1] == 'x' ? 16
               : t.text[1] == 'o' ? 8
               : t.text[1] == 'b' ? 2
                                  : 10;
    errno = 0;
    long long whole = std::strtoll(t.text.c_str() + (base != 10 ? 2 : 0), nullptr, base);
    if (errno != 0) {
        fail_syntax("the number " + t.text.substr(0, 40) + " is beyond 64 bits", t.at);
    }
    return make_int(whole);
}

node_ptr parser::list()
{
    deeper level(*this);
    auto made = make(form::list);
    next++;
    while (!is_sign("]")) {
        made->items.push_back(expression());
        if (!is_sign("]")) {
            expect_sign(",");
        }
    }
    next++;
    return made;
}

node_ptr parser::dict()
{
    deeper level(*this);
    auto made = make(form::dict);
    next++;
    while (!is_sign("}")) {
        made->items.push_back(expression());
        expect_sign(":");
        made->items.push_back(expression());
        if (!is_sign("}")) {
            expect_sign(",");
        }
    }
    next++;
    return made;
}

node_ptr parser::postfix(node_ptr made)
{
    while (true) {
        if (is_sign(".")) {
            made = attribute(std::move(made));
        } else if (is_sign("[")) {
            made = subscript(std::move(made));
        } else if (is_sign("(")) {
            made = call(std::move(made));
        } else {
            return made;
        }
    }
}

node_ptr parser::filtered(node_ptr made)
{
    while (true) {
        if (is_sign("|")) {
            made = filters(std::move(made));
        } else if (is_name("is")) {
            made = test(std::move(made));
        } else if (is_sign("(")) { /* as Jinja2 has it */
            made = call(std::move(made));
        } else {
            return made;
        }
    }
}

node_ptr parser::attribute(node_ptr of)
{
    auto made = make_over(form::attribute, std::move(of));
    next++;
    made->at = now().at;
    if (now().is == word::integer) {
        made->is = form::item;
        auto index = make(form::constant);
        index->constant = number(now());
        made->items.push_back(std::move(index));
        next++;
    } else {
        if (now().is != word::name) {
            fail("expected name or number");
        }
        made->constant = make_text(expect_name());
    }
    return made;
}

node_ptr parser::slice_part()
{
    return is_sign(":") || is_sign("]") || is_sign(",") ? nullptr : expression();
}

node_ptr parser::index_or_slice()
{
    auto made = make(form::slice);
    made->items.push_back(slice_part());
    if (!skip_sign(":")) {
        if (made->items[0] == nullptr) {
            fail("Expected an expression, got '" + described(now()) + "'");
        }
        return std::move(made->items[0]);
    }
    made->items.push_back(slice_part());
    made->items.push_back(skip_sign(":") ? slice_part() : nullptr);
    return made;
}

node_ptr parser::subscript(node_ptr of)
{
    deeper level(*this);
    auto made = make_over(form::item, std::move(of));
    made->at = now().at;
    next++;
    auto index = index_or_slice();
    if (is_sign(",")) {
        index = make_over(form::tuple, std::move(index));
        while (skip_sign(",")) {
            if (is_sign("]")) {
                break;
            }
            index->items.push_back(index_or_slice());
        }
    }
    expect_sign("]");
    if (index->is == form::slice) {
        index->items.insert(index->items.begin(), std::move(made->items[0]));
        index->at = made->at;
        return index;
    }
    made->items.push_back(std::move(index));
    return made;
}

/* Behind the opening bracket. */
void parser::call_arguments(node &made)
{
    deeper level(*this);
    bool first = true;
    while (!is_sign(")")) {
        if (!first) {
            expect_sign(",");
            if (is_sign(")")) {
                break;
            }
        }
        first = false;
        one_argument(made);
    }
    next++;
}

void parser::one_argument(node &made)
{
    static const char wrong[] = "invalid syntax for function call expression";
    if (is_sign("*") || is_sign("**")) {
        node_ptr &place = is_sign("*") ? made.more : made.more_named;
        if (place != nullptr || made.more_named != nullptr) {
            fail(wrong);
        }
        next++;
        place = expression();
    } else if (now().is == word::name && ahead().is == word::sign && ahead().text == "=") {
        if (made.more_named != nullptr) {
            fail(wrong);
        }
        std::string name = words[next].text;
        next += 2;
        made.named.emplace_back(name, expression());
    } else {
        if (made.more != nullptr || made.more_named != nullptr || !made.named.empty()) {
            fail(wrong);
        }
        made.arguments.push_back(expression());
    }
}

node_ptr parser::call(node_ptr of)
{
    auto made = make_over(form::call, std::move(of));
    made->at = now().at;
    next++;
    call_arguments(*made);
    return made;
}

std::string parser::dotted_name()
{
    std::string name = expect_name();
    while (skip_sign(".")) {
        name += "." + expect_name();
    }
    return name;
}

/* One filter; of a block, which begins without its |, all of them. */
node_ptr parser::filters(node_ptr of, bool begins)
{
    while (begins || is_sign("|")) {
        next += begins ? 0 : 1;
        begins = false;
        auto made = make(form::filter);
        made->items.push_back(std::move(of));
        made->text = dotted_name();
        made->function = find_filter(made->text);
        if (skip_sign("(")) {
            call_arguments(*made);
        }
        of = std::move(made);
    }
    return of;
}

node_ptr parser::test(node_ptr of)
{
    next++;
    auto made = make(form::test);
    made->items.push_back(std::move(of));
    made->flag = skip_name("not");
    made->text = dotted_name();
    made->function = find_test(made->text);
    if (skip_sign("(")) {
        call_arguments(*made);
        return made;
    }
    const token &t = now();
    bool takes = t.is == word::name || t.is == word::string || t.is == word::integer ||
                 t.is == word::real || is_sign("(") || is_sign("[") || is_sign("{");
    if (takes && !is_name("else") && !is_name("or") && !is_name("and")) {
        if (is_name("is")) {
            fail("You cannot chain multiple tests with is");
        }
        made->arguments.push_back(postfix(primary()));
    }
    return made;
}

} // namespace dw
