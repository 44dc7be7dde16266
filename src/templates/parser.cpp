/* Words to a tree, by Jinja2's grammar. */
#include <algorithm>
#include <set>

#include "templates/parser_internal.h"

namespace dw
{
namespace
{

constexpr size_t words_max = 1u << 20;
/* Operators in a row lie in each other: what walks the tree recurses. */
constexpr size_t words_a_tag_max = 20000;

} // namespace

/* ---- words ---- */
const token &parser::now() const
{
    return words[next];
}

const token &parser::ahead() const
{
    return words[std::min(next + 1, words.size() - 1)];
}

bool parser::is_sign(const char *text) const
{
    return now().is == word::sign && now().text == text;
}

bool parser::is_name(const char *text) const
{
    return now().is == word::name && now().text == text;
}

bool parser::skip_sign(const char *text)
{
    bool found = is_sign(text);
    next += found ? 1 : 0;
    return found;
}

bool parser::skip_name(const char *text)
{
    bool found = is_name(text);
    next += found ? 1 : 0;
    return found;
}

std::string parser::described(const token &t)
{
    switch (t.is) {
    case word::text:
        return "template data";
    case word::begin_statement:
        return "begin of statement block";
    case word::end_statement:
        return "end of statement block";
    case word::begin_print:
        return "begin of print statement";
    case word::end_print:
        return "end of print statement";
    case word::end_of_source:
        return "end of template";
    default:
        return t.text.substr(0, 60);
    }
}

void parser::fail(const std::string &why) const
{
    fail_syntax(why, now().at);
}

void parser::fail_expected(const std::string &what) const
{
    fail("expected token '" + what + "', got '" + described(now()) + "'");
}

void parser::expect_sign(const char *text)
{
    if (!skip_sign(text)) {
        fail_expected(text);
    }
}

void parser::expect_end()
{
    if (now().is != word::end_statement) {
        fail_expected("end of statement block");
    }
    next++;
}

std::string parser::expect_name()
{
    if (now().is != word::name) {
        fail_expected("name");
    }
    return words[next++].text;
}

node_ptr parser::make(form is) const
{
    return std::make_unique<node>(is, now().at);
}

node_ptr parser::make_over(form is, node_ptr operand)
{
    auto made = std::make_unique<node>(is, operand->at);
    made->items.push_back(std::move(operand));
    return made;
}

/* ---- statements ---- */
/* Up to a statement of one of the names, which is not taken; none: to the end. */
node_list parser::statements(std::initializer_list<const char *> ends, const std::string &block)
{
    deeper level(*this);
    node_list body;
    size_t begin = now().at;
    while (now().is != word::end_of_source) {
        if (now().is == word::text) {
            auto text = make(form::constant);
            text->constant = make_text(now().text);
            text->flag = true; /* it is no expression */
            next++;
            output_of(body).items.push_back(std::move(text));
        } else if (now().is == word::begin_print) {
            next++;
            node &out = output_of(body);
            out.items.push_back(tuple_or_one());
            if (now().is != word::end_print) {
                fail_expected("end of print statement");
            }
            next++;
        } else {
            next++;
            auto ended = [&](const char *name) { return is_name(name); };
            if (std::any_of(ends.begin(), ends.end(), ended)) {
                return body;
            }
            body.push_back(statement(block));
        }
    }
    if (ends.size() != 0) {
        fail_syntax("Unexpected end of template. The innermost block that needs to be closed "
                    "is '" +
                        block + "'",
                    begin);
    }
    return body;
}

node &parser::output_of(node_list &body) const
{
    if (body.empty() || body.back()->is != form::output) {
        body.push_back(make(form::output));
    }
    return *body.back();
}

node_list parser::body_until(const char *end, const std::string &block)
{
    expect_end();
    node_list body = statements({end}, block);
    next++;
    return body;
}

node_ptr parser::statement(const std::string &block)
{
    using reader = node_ptr (parser::*)();
    static const std::unordered_map<std::string, reader> readers = {
        {"for", &parser::for_loop},
        {"if", &parser::branch},
        {"set", &parser::set},
        {"macro", &parser::macro},
        {"call", &parser::call_block},
        {"filter", &parser::filter_block},
        {"with", &parser::with},
        {"block", &parser::block},
        {"autoescape", &parser::autoescape},
        {"generation", &parser::generation},
        {"print", &parser::print},
        {"include", &parser::include},
        {"import", &parser::include},
        {"from", &parser::include},
        {"extends", &parser::include},
    };
    if (now().is != word::name) {
        fail("tag name expected");
    }
    size_t at = now().at;
    std::string name = now().text;
    node_ptr made;
    if (name == "break" || name == "continue") {
        made = make(name == "break" ? form::breaks : form::continues);
        next++;
    } else {
        auto found = readers.find(name);
        if (found == readers.end()) {
            fail("Encountered unknown tag '" + name.substr(0, 60) + "'." +
                 (block.empty()
                      ? ""
                      : " The innermost block that needs to be closed is '" + block + "'."));
        }
        next++;
        made = (this->*found->second)();
    }
    made->at = at;
    expect_end();
    return made;
}

node_ptr parser::for_loop()
{
    auto made = make(form::loop);
    made->items.push_back(target(true));
    if (!skip_name("in")) {
        fail_expected("in");
    }
    made->items.push_back(tuple_or_one(false));
    made->items.push_back(skip_name("if") ? expression() : nullptr);
    made->flag = skip_name("recursive");
    expect_end();
    made->bodies.push_back(statements({"endfor", "else"}, "for"));
    made->bodies.emplace_back();
    if (skip_name("else")) {
        made->bodies[1] = body_until("endfor", "for");
    } else {
        next++;
    }
    return made;
}

node_ptr parser::branch()
{
    auto made = make(form::branch);
    while (true) {
        made->items.push_back(tuple_or_one(false));
        expect_end();
        made->bodies.push_back(statements({"elif", "else", "endif"}, "if"));
        if (skip_name("elif")) {
            continue;
        }
        if (skip_name("else")) {
            made->bodies.push_back(body_until("endif", "if"));
        } else {
            next++;
        }
        return made;
    }
}

node_ptr parser::set()
{
    auto made = make(form::assign);
    made->items.push_back(target(false));
    if (skip_sign("=")) {
        made->items.push_back(tuple_or_one());
        return made;
    }
    made->is = form::assign_body;
    made->items.push_back(is_sign("|") ? filters(nullptr) : nullptr);
    made->bodies.push_back(body_until("endset", "set"));
    return made;
}

void parser::signature(node &made)
{
    expect_sign("(");
    while (!is_sign(")")) {
        if (!made.parameters.empty()) {
            expect_sign(",");
        }
        size_t at = now().at;
        std::string name = expect_name();
        check_assigned(name, at);
        parameter one = {program.symbols.of(name), make_text(name), nullptr};
        if (skip_sign("=")) {
            one.otherwise = expression();
        } else if (!made.parameters.empty() && made.parameters.back().otherwise != nullptr) {
            fail("non-default argument follows default argument");
        }
        made.parameters.push_back(std::move(one));
    }
    next++;
}

void parser::macro_body(node &made, const char *end, const char *block)
{
    node *outer = in_macro;
    in_macro = &made;
    signature_of(made, block);
    made.bodies.push_back(body_until(end, block));
    in_macro = outer;
}

void parser::signature_of(node &made, const std::string &block)
{
    if (block == "macro" || is_sign("(")) {
        signature(made);
    }
    if (block == "call") {
        made.items.push_back(expression());
        if (made.items.back()->is != form::call) {
            fail("expected call");
        }
    }
}

node_ptr parser::macro()
{
    auto made = make(form::macro);
    made->text = expect_name();
    made->symbol = program.symbols.of(made->text);
    macro_body(*made, "endmacro", "macro");
    return made;
}

node_ptr parser::call_block()
{
    auto made = make(form::call_body);
    macro_body(*made, "endcall", "call");
    return made;
}

/* A scope of its own, and nothing else. */
node_ptr parser::generation()
{
    auto made = make(form::with);
    made->bodies.push_back(body_until("endgeneration", "generation"));
    return made;
}

node_ptr parser::filter_block()
{
    auto made = make(form::filter_body);
    made->items.push_back(filters(nullptr, true));
    made->bodies.push_back(body_until("endfilter", "filter"));
    return made;
}

node_ptr parser::with()
{
    auto made = make(form::with);
    while (now().is != word::end_statement) {
        if (!made->items.empty()) {
            expect_sign(",");
        }
        made->items.push_back(target(false));
        expect_sign("=");
        made->items.push_back(expression());
    }
    made->bodies.push_back(body_until("endwith", "with"));
    return made;
}

node_ptr parser::block()
{
    auto made = make(form::block);
    made->text = expect_name();
    (void)(skip_name("scoped") || skip_name("required"));
    expect_end();
    if (!program.blocks.emplace(made->text, made.get()).second) {
        fail("block '" + made->text + "' defined twice");
    }
    made->bodies.push_back(statements({"endblock"}, "block"));
    next++;
    (void)skip_name(made->text.c_str());
    return made;
}

node_ptr parser::autoescape()
{
    auto made = make(form::autoescape);
    made->items.push_back(expression());
    made->bodies.push_back(body_until("endautoescape", "autoescape"));
    return made;
}

node_ptr parser::print()
{
    auto made = make(form::output);
    while (now().is != word::end_statement) {
        if (!made->items.empty()) {
            expect_sign(",");
        }
        made->items.push_back(expression());
    }
    return made;
}

/* Other templates: there are none. */
node_ptr parser::include()
{
    auto made = make(form::refuses);
    made->text = "no loader for this environment specified";
    while (now().is != word::end_statement && now().is != word::end_of_source) {
        next++;
    }
    return made;
}

/* ---- what is assigned to ---- */
void parser::check_assigned(const std::string &name, size_t at) const
{
    static const std::set<std::string> constants = {"true", "false", "none",
                                                    "True", "False", "None"};
    if (constants.count(name) != 0) {
        fail_syntax("can't assign to '" + name + "'", at);
    }
}

node_ptr parser::one_target(bool in_loop)
{
    deeper level(*this);
    auto made = make(form::name);
    if (skip_sign("(")) {
        made = targets(in_loop, true);
        expect_sign(")");
        return made;
    }
    made->text = expect_name();
    check_assigned(made->text, made->at);
    made->symbol = program.symbols.of(made->text);
    if (in_loop && made->text == "loop") {
        fail_syntax("can't assign to special loop variable in for-loop target", made->at);
    }
    if (!in_loop && is_sign(".")) {
        next++;
        made->is = form::space_attribute;
        made->constant = make_text(expect_name());
    }
    return made;
}

node_ptr parser::targets(bool in_loop, bool in_brackets)
{
    auto first = one_target(in_loop);
    if (!is_sign(",")) {
        return first;
    }
    auto made = make_over(form::tuple, std::move(first));
    while (skip_sign(",")) {
        if (in_brackets ? is_sign(")") : is_name("in") || is_sign("=")) {
            break;
        }
        made->items.push_back(one_target(in_loop));
    }
    return made;
}

node_ptr parser::target(bool in_loop)
{
    return targets(in_loop, false);
}

/* ---- names of filters and tests ---- */
/* Jinja2 looks for them when it compiles, but in what may not be reached of a branch. */
void parser::check_names(const node_list &nodes, bool may_miss)
{
    for (const auto &one : nodes) {
        if (one != nullptr) {
            check_names(*one, may_miss);
        }
    }
}

void parser::check_names(const node &n, bool may_miss)
{
    jinja_step();
    bool names = n.is == form::filter || n.is == form::test;
    if (names && n.function == nullptr && !may_miss) {
        fail_syntax(std::string("No ") + (n.is == form::filter ? "filter" : "test") + " named '" +
                        n.text.substr(0, 60) + "'.",
                    n.at);
    }
    bool branches = n.is == form::branch || n.is == form::conditional;
    bool encloses = n.is == form::loop || n.is == form::macro || n.is == form::call_body ||
                    n.is == form::filter_body || n.is == form::with || n.is == form::block ||
                    n.is == form::assign_body;
    check_names(n.items, may_miss || branches);
    for (const auto &body : n.bodies) {
        check_names(body, branches || (may_miss && !encloses));
    }
    check_names(n.arguments, may_miss);
    for (const auto &named : n.named) {
        check_names(*named.second, may_miss);
    }
    for (const node_ptr *one : {&n.more, &n.more_named}) {
        if (*one != nullptr) {
            check_names(**one, may_miss);
        }
    }
    for (const auto &one : n.parameters) {
        if (one.otherwise != nullptr) {
            check_names(*one.otherwise, may_miss);
        }
    }
}

uint32_t symbol_table::of(const std::string &name)
{
    auto made = numbers.emplace(name, (uint32_t)names.size());
    if (made.second) {
        names.push_back(name);
    }
    return made.first->second;
}

syntax::syntax()
{
    for (const char *name : {"loop", "caller", "varargs", "kwargs", "self"}) {
        (void)symbols.of(name);
    }
}

/* What walks an expression recurses on no more than its tag's words. */
static void check_size(const std::vector<token> &words)
{
    size_t in_tag = 0;
    if (words.size() > words_max) {
        throw limit_reached("the template has " + std::to_string(words.size()) + " words, limit " +
                            std::to_string(words_max));
    }
    for (const auto &t : words) {
        bool begins = t.is == word::begin_print || t.is == word::begin_statement;
        in_tag = begins ? 0 : in_tag + 1;
        if (in_tag > words_a_tag_max) {
            fail_syntax("more than " + std::to_string(words_a_tag_max) + " words in one tag", t.at);
        }
    }
}

std::shared_ptr<const syntax> parse_template(const std::string &source)
{
    auto made = std::make_shared<syntax>();
    made->source = source;
    std::vector<token> words = tokens_of(made->source);
    check_size(words);
    parser(*made, std::move(words)).all();
    return made;
}

} // namespace dw
