/* Templates as programs that are bounded and that do as Jinja2 does. The engine's parser hands each
 * program over here (deps/chat.cmake renames it so), and nodes of the tree are replaced by ones of
 * the same kind which count, refuse what grows too large, keep marks of text from outside, and
 * call functions of jinja_builtins.cpp. */
#include "chat/jinja_internal.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace jinja
{

program common_parse_from_tokens(const lexer_result &lexed);

} // namespace jinja

namespace dw
{
namespace
{

using namespace jinja;

constexpr size_t tokens_max = 200000;     /* of a template */
constexpr size_t tokens_a_tag_max = 8192; /* what one tag holds, which the parser recurses on */
constexpr size_t blocks_max = 512;        /* ifs and fors within each other, and elifs in a row */

/* A value that was made: what it newly holds is charged. */
value made(value result)
{
    jinja_charge(jinja_bytes_of(result));
    return result;
}

value text_value(const jinja::string &text)
{
    return mk_val<value_string>(text);
}

/* Evaluates its child and charges the value: put where the engine copies it. */
struct charged : expression {
    statement_ptr inner;
    explicit charged(statement_ptr &&node) : inner(std::move(node))
    {
    }
    std::string type() const override
    {
        return inner->type();
    }
    value execute_impl(context &ctx) const override
    {
        return made(inner->execute(ctx));
    }
};

/* `{{ ... }}`: prints as str() does. */
struct printed : expression {
    statement_ptr inner;
    explicit printed(statement_ptr &&node) : inner(std::move(node))
    {
    }
    std::string type() const override
    {
        return inner->type();
    }
    value execute_impl(context &ctx) const override
    {
        jinja_step();
        value result = inner->execute(ctx);
        if (!is_val<value_string>(result)) {
            result = text_value(python_str(result));
        }
        return made(result);
    }
};

/* At the front of bodies that run again. */
struct counted : statement {
    std::string type() const override
    {
        return "Noop";
    }
    value execute_impl(context &) const override
    {
        jinja_step();
        return mk_val<value_undefined>();
    }
};

struct quick_identifier : identifier {
    explicit quick_identifier(identifier &&node) : identifier(std::move(node))
    {
    }

    value execute_impl(context &ctx) const override
    {
        jinja_step();
        value found = ctx.get_val(val);
        if (!found->is_undefined()) {
            if (ctx.is_get_stats) {
                value_t::stats_t::mark_used(found);
            }
            return found;
        }
        const auto &functions = global_builtins();
        auto at = functions.find(val);
        if (at != functions.end() && val.rfind("test_is_", 0) != 0 && val != "tojson") {
            return mk_val<value_func>(val, at->second);
        }
        return mk_val<value_undefined>(val);
    }
};

/* ---- operators ------------------------------------------------------------------------------ */

bool is_number(const value &v)
{
    return is_val<value_int>(v) || is_val<value_float>(v) || is_val<value_bool>(v);
}

const char *python_type(const value &v)
{
    return v->is_none()              ? "NoneType"
           : is_val<value_string>(v) ? "str"
           : is_val<value_bool>(v)   ? "bool"
           : is_val<value_int>(v)    ? "int"
           : is_val<value_float>(v)  ? "float"
           : is_val<value_tuple>(v)  ? "tuple"
           : is_val<value_array>(v)  ? "list"
           : is_val<value_object>(v) ? "dict"
                                     : "function";
}

[[noreturn]] void fail_operands(const std::string &op, const value &left, const value &right)
{
    if (left->is_undefined() || right->is_undefined()) {
        fail_as_python("'" + op + "' of an undefined value");
    }
    fail_as_python(std::string("unsupported operand types for ") + op + ": '" + python_type(left) +
                   "' and '" + python_type(right) + "'");
}

value add(const value &left, const value &right)
{
    if (is_val<value_string>(left) && is_val<value_string>(right)) {
        jinja::string text = left->val_str;
        return text_value(text.append(right->val_str));
    }
    if (is_val<value_array>(left) && is_val<value_array>(right) &&
        is_val<value_tuple>(left) == is_val<value_tuple>(right)) {
        std::vector<value> items = left->as_array();
        items.insert(items.end(), right->as_array().begin(), right->as_array().end());
        return is_val<value_tuple>(left) ? (value)mk_val<value_tuple>(items)
                                         : (value)mk_val<value_array>(items);
    }
    return nullptr;
}

value repeat(const value &left, const value &right)
{
    bool turned = is_val<value_int>(left);
    const value &what = turned ? right : left;
    const value &times = turned ? left : right;
    if (!is_val<value_int>(times) || !(is_val<value_string>(what) || is_val<value_array>(what))) {
        return nullptr;
    }
    uint64_t count = times->as_int() > 0 ? (uint64_t)times->as_int() : 0;
    jinja_charge_product(jinja_bytes_of(what) + 8, count);
    if (is_val<value_string>(what)) {
        bool outside = is_from_outside(what);
        std::string once = what->val_str.str(), all;
        for (uint64_t i = 0; i < count && !once.empty(); i++) {
            all += once;
        }
        return text_value(jinja::string(all, outside));
    }
    std::vector<value> items;
    for (uint64_t i = 0; i < count && !what->as_array().empty(); i++) {
        jinja_step();
        items.insert(items.end(), what->as_array().begin(), what->as_array().end());
    }
    return is_val<value_tuple>(what) ? (value)mk_val<value_tuple>(items)
                                     : (value)mk_val<value_array>(items);
}

double as_double(const value &v)
{
    return is_val<value_float>(v) ? v->as_float() : (double)v->as_int();
}

/* Python's % and //: the rest has the sign of the divisor. */
int64_t divided(bool rest_wanted, int64_t a, int64_t b)
{
    int64_t quotient = a / b, rest = a % b;
    bool down = rest != 0 && ((rest < 0) != (b < 0));
    return rest_wanted ? rest + (down ? b : 0) : quotient - (down ? 1 : 0);
}

value of_integers(const std::string &op, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool overflows = false;
    if (op == "%" || op == "//") {
        if (b == 0) {
            fail_as_python("integer division or modulo by zero");
        }
        overflows = a == INT64_MIN && b == -1;
        result = overflows ? 0 : divided(op == "%", a, b);
    } else {
        overflows = op == "+"   ? __builtin_add_overflow(a, b, &result)
                    : op == "-" ? __builtin_sub_overflow(a, b, &result)
                                : __builtin_mul_overflow(a, b, &result);
    }
    if (overflows) {
        fail_as_python("a whole number beyond 64 bits");
    }
    return mk_val<value_int>(result);
}

value arithmetic(const std::string &op, const value &left, const value &right)
{
    double a = as_double(left), b = as_double(right);
    if ((op == "/" || op == "%" || op == "//") && b == 0) {
        fail_as_python("division by zero");
    }
    if (op == "/") {
        return mk_val<value_float>(a / b);
    }
    if (!is_val<value_float>(left) && !is_val<value_float>(right)) {
        return of_integers(op, left->as_int(), right->as_int());
    }
    double rest = op == "%" || op == "//" ? std::fmod(a, b) : 0;
    rest += rest != 0 && ((rest < 0) != (b < 0)) ? b : 0;
    return mk_val<value_float>(op == "+"   ? a + b
                               : op == "-" ? a - b
                               : op == "*" ? a * b
                               : op == "%" ? rest
                                           : std::floor((a - rest) / b + 0.5));
}

/* Negative, 0 or positive; fails where Python has no order between them. */
int order_of(const std::string &op, const value &left, const value &right)
{
    if (is_number(left) && is_number(right)) {
        double a = as_double(left), b = as_double(right);
        return a < b ? -1 : a > b ? 1 : 0;
    }
    if (is_val<value_string>(left) && is_val<value_string>(right)) {
        return left->val_str.str().compare(right->val_str.str());
    }
    fail_operands(op, left, right);
}

struct checked_binary : binary_expression {
    explicit checked_binary(binary_expression &&node) : binary_expression(std::move(node))
    {
    }

    value execute_impl(context &ctx) const override
    {
        jinja_step();
        const std::string &name = op.value;
        value a = left->execute(ctx);
        if (name == "and" || name == "or") {
            return a->as_bool() == (name == "and") ? right->execute(ctx) : a;
        }
        value b = right->execute(ctx);
        if (name == "==" || name == "!=") {
            return mk_val<value_bool>(python_equal(a, b) == (name == "=="));
        }
        if (name == "in" || name == "not in") {
            return mk_val<value_bool>(python_contains(b, a) == (name == "in"));
        }
        if (name == "<" || name == "<=" || name == ">" || name == ">=") {
            int order = order_of(name, a, b);
            return mk_val<value_bool>(name[0] == '<' ? order < (name.size() > 1 ? 1 : 0)
                                                     : order > (name.size() > 1 ? -1 : 0));
        }
        return made(joined(name, a, b));
    }

  private:
    static value joined(const std::string &name, const value &a, const value &b)
    {
        if (name == "~") {
            jinja::string text = python_str(a);
            return text_value(text.append(python_str(b)));
        }
        value result = name == "+" ? add(a, b) : name == "*" ? repeat(a, b) : nullptr;
        if (result == nullptr && name == "%" && is_val<value_string>(a)) {
            result = python_format(a, b);
        }
        if (result == nullptr && is_number(a) && is_number(b)) {
            result = arithmetic(name, a, b);
        }
        if (result == nullptr) {
            fail_operands(name, a, b);
        }
        return result;
    }
};

/* ---- calls and filters ---------------------------------------------------------------------- */

call_args arguments_of(const statements &args, context &ctx)
{
    call_args out;
    for (const auto &arg : args) {
        value v = arg->execute(ctx);
        if (is_val<value_kwarg>(v)) {
            const auto *named = cast_val<value_kwarg>(v);
            out.named.emplace_back(named->key, named->val);
        } else {
            out.positional.push_back(v);
        }
    }
    return out;
}

/* Before a function of the engine: what it makes is at most its subject for each unit of its
 * largest argument. */
void charge_call(const value &subject, const call_args &args)
{
    uint64_t largest = 1;
    auto look = [&](const value &v) {
        uint64_t size = is_val<value_int>(v)      ? (uint64_t)std::max<int64_t>(v->as_int(), 0)
                        : is_val<value_string>(v) ? v->val_str.length()
                                                  : 1;
        largest = std::max(largest, size);
    };
    std::for_each(args.positional.begin(), args.positional.end(), look);
    for (const auto &named : args.named) {
        look(named.second);
    }
    jinja_charge_product(jinja_bytes_of(subject) + 8, largest);
}

bool any_from_outside(const value &subject, const call_args &args)
{
    bool found = is_from_outside(subject) ||
                 std::any_of(args.positional.begin(), args.positional.end(), is_from_outside);
    return found || std::any_of(args.named.begin(), args.named.end(),
                                [](const auto &named) { return is_from_outside(named.second); });
}

/* The engine forgets marks in some functions. */
value keep_marks(const value &result, const value &subject, const call_args &args)
{
    bool holds_text = is_val<value_string>(result) || is_val<value_array>(result);
    if (!holds_text || is_from_outside(result) || !any_from_outside(subject, args)) {
        return result;
    }
    return mark_as_outside(result);
}

func_args engine_args(context &ctx, const call_args &args)
{
    func_args out(ctx);
    for (const auto &v : args.positional) {
        out.push_back(v);
    }
    for (const auto &[name, v] : args.named) {
        out.push_back(mk_val<value_kwarg>(name, v));
    }
    return out;
}

value call_function(context &ctx, const value &callee, const call_args &args)
{
    if (!is_val<value_func>(callee)) {
        fail_as_python(callee->is_undefined()
                           ? "an undefined value is called"
                           : std::string("'") + python_type(callee) + "' object is not callable");
    }
    const auto *function = cast_val<value_func>(callee);
    charge_call(function->arg0, args);
    value result = function->invoke(engine_args(ctx, args));
    return function->arg0 != nullptr ? keep_marks(result, function->arg0, args) : result;
}

struct checked_call : call_expression {
    explicit checked_call(call_expression &&node) : call_expression(std::move(node))
    {
    }

    value execute_impl(context &ctx) const override
    {
        jinja_step();
        const auto *member = dynamic_cast<const member_expression *>(callee.get());
        const auto *name = member != nullptr && !member->computed
                               ? dynamic_cast<const identifier *>(member->property.get())
                               : nullptr;
        if (name != nullptr) {
            value self = member->object->execute(ctx);
            builtin ours = find_method(self, name->val);
            if (ours != nullptr) {
                note_use(ctx, self, name->val);
                return made(ours(ctx, self, arguments_of(args, ctx)));
            }
        }
        value function = callee->execute(ctx);
        return made(call_function(ctx, function, arguments_of(args, ctx)));
    }

    static void note_use(context &ctx, value &self, const std::string &name)
    {
        if (ctx.is_get_stats) {
            value_t::stats_t::mark_used(self);
            self->stats.ops.insert(name);
        }
    }
};

struct checked_filter : filter_expression {
    explicit checked_filter(filter_expression &&node) : filter_expression(std::move(node))
    {
    }

    value execute_impl(context &ctx) const override
    {
        jinja_step();
        value subject = operand->execute(ctx);
        const auto *call = dynamic_cast<const call_expression *>(filter.get());
        const auto *name =
            dynamic_cast<const identifier *>(call != nullptr ? call->callee.get() : filter.get());
        if (name == nullptr) {
            fail_as_python("the name of a filter is wanted");
        }
        call_args args;
        if (call != nullptr) {
            args = arguments_of(call->args, ctx);
        }
        builtin ours = find_filter(name->val);
        if (ours != nullptr) {
            if (ctx.is_get_stats) {
                value_t::stats_t::mark_used(subject, name->val == "tojson");
                subject->stats.ops.insert(name->val);
            }
            return made(ours(ctx, subject, args));
        }
        charge_call(subject, args);
        return made(keep_marks(by_engine(ctx, name->val, subject, args), subject, args));
    }

  private:
    static value by_engine(context &ctx, const std::string &name, value subject,
                           const call_args &args)
    {
        static const std::map<std::string, std::string> aliases = {
            {"count", "length"}, {"d", "default"}, {"e", "escape"}, {"trim", "strip"}};
        static const std::set<std::string> of_text = {"capitalize", "lower", "replace",  "strip",
                                                      "title",      "upper", "wordcount"};
        auto alias = aliases.find(name);
        const std::string &id = alias != aliases.end() ? alias->second : name;
        if (of_text.count(id) != 0 && !is_val<value_string>(subject)) {
            subject = text_value(python_str(subject));
        }
        const auto &functions = subject->get_builtins();
        auto found = functions.find(id);
        if (found == functions.end()) {
            fail_as_python("no filter '" + name + "' for '" + python_type(subject) + "'");
        }
        return mk_val<value_func>(id, found->second, subject)->invoke(engine_args(ctx, args));
    }
};

struct checked_test : test_expression {
    explicit checked_test(test_expression &&node) : test_expression(std::move(node))
    {
    }

    value execute_impl(context &ctx) const override
    {
        jinja_step();
        const auto *call = dynamic_cast<const call_expression *>(test.get());
        const auto *name =
            dynamic_cast<const identifier *>(call != nullptr ? call->callee.get() : test.get());
        builtin ours = name != nullptr ? find_test(name->val) : nullptr;
        if (ours == nullptr) {
            return test_expression::execute_impl(ctx);
        }
        value subject = operand->execute(ctx);
        checked_call::note_use(ctx, subject, "test_is_" + name->val);
        value result =
            ours(ctx, subject, call != nullptr ? arguments_of(call->args, ctx) : call_args());
        return negate ? (value)mk_val<value_bool>(!result->as_bool()) : result;
    }
};

/* ---- the tree ------------------------------------------------------------------------------- */

void rewrite(statement_ptr &node);

void rewrite_all(statements &nodes)
{
    for (auto &node : nodes) {
        rewrite(node);
    }
}

/* Bodies print their expressions. */
void rewrite_body(statements &body, bool runs_again)
{
    for (auto &node : body) {
        bool prints = is_stmt<expression>(node) && !is_stmt<string_literal>(node);
        size_t pos = node->pos;
        rewrite(node);
        if (prints) {
            node = std::make_unique<printed>(std::move(node));
            node->pos = pos;
        }
    }
    if (runs_again) {
        body.insert(body.begin(), std::make_unique<counted>());
        body.front()->pos = 0;
    }
}

void charge_value_of(statement_ptr &node)
{
    size_t pos = node->pos;
    node = std::make_unique<charged>(std::move(node));
    node->pos = pos;
}

template <typename Checked, typename Node> void replace(statement_ptr &node, Node *old)
{
    size_t pos = node->pos;
    auto checked = std::make_unique<Checked>(std::move(*old));
    node = std::move(checked);
    node->pos = pos;
}

bool rewrite_statement(statement_ptr &node)
{
    if (auto *branch = cast_stmt<if_statement>(node)) {
        rewrite(branch->test);
        rewrite_body(branch->body, false);
        rewrite_body(branch->alternate, false);
    } else if (auto *loop = cast_stmt<for_statement>(node)) {
        if (auto *select = cast_stmt<select_expression>(loop->iterable)) {
            rewrite(select->lhs);
            rewrite(select->test);
            charge_value_of(select->lhs);
        } else {
            rewrite(loop->iterable);
            charge_value_of(loop->iterable);
        }
        rewrite_body(loop->body, true);
        rewrite_body(loop->default_block, false);
    } else if (auto *set = cast_stmt<set_statement>(node)) {
        rewrite(set->val);
        rewrite_body(set->body, false);
        if (auto *member = cast_stmt<member_expression>(set->assignee)) {
            rewrite(member->object);
        }
    } else if (auto *macro = cast_stmt<macro_statement>(node)) {
        rewrite_all(macro->args);
        rewrite_body(macro->body, true);
    } else if (auto *filtered = cast_stmt<filter_statement>(node)) {
        rewrite(filtered->filter);
        rewrite_body(filtered->body, false);
    } else if (auto *call = cast_stmt<call_statement>(node)) {
        rewrite(call->call);
        rewrite_all(call->caller_args);
        rewrite_body(call->body, true);
    } else {
        return false;
    }
    return true;
}

bool rewrite_parts(statement_ptr &node)
{
    if (auto *list = cast_stmt<array_literal>(node)) {
        rewrite_all(list->val);
    } else if (auto *tuple = cast_stmt<tuple_literal>(node)) {
        rewrite_all(tuple->val);
    } else if (auto *object = cast_stmt<object_literal>(node)) {
        for (auto &[key, item] : object->val) {
            rewrite(key);
            rewrite(item);
        }
    } else if (auto *slice = cast_stmt<slice_expression>(node)) {
        rewrite(slice->start_expr);
        rewrite(slice->stop_expr);
        rewrite(slice->step_expr);
    } else if (auto *named = cast_stmt<keyword_argument_expression>(node)) {
        rewrite(named->val);
    } else if (auto *unary = cast_stmt<unary_expression>(node)) {
        rewrite(unary->argument);
    } else if (auto *spread = cast_stmt<spread_expression>(node)) {
        rewrite(spread->argument);
    } else if (auto *ternary = cast_stmt<ternary_expression>(node)) {
        rewrite(ternary->condition);
        rewrite(ternary->true_expr);
        rewrite(ternary->false_expr);
    } else if (auto *select = cast_stmt<select_expression>(node)) {
        rewrite(select->lhs);
        rewrite(select->test);
    } else {
        return false;
    }
    return true;
}

void rewrite_expression(statement_ptr &node)
{
    if (auto *name = cast_stmt<identifier>(node)) {
        replace<quick_identifier>(node, name);
    } else if (auto *binary = cast_stmt<binary_expression>(node)) {
        rewrite(binary->left);
        rewrite(binary->right);
        replace<checked_binary>(node, binary);
    } else if (auto *member = cast_stmt<member_expression>(node)) {
        rewrite(member->object);
        if (member->computed) {
            rewrite(member->property);
        }
        charge_value_of(member->object);
    } else if (auto *called = cast_stmt<call_expression>(node)) {
        rewrite(called->callee);
        rewrite_all(called->args);
        replace<checked_call>(node, called);
    } else if (auto *filter = cast_stmt<filter_expression>(node)) {
        rewrite(filter->operand);
        if (auto *call = cast_stmt<call_expression>(filter->filter)) {
            rewrite_all(call->args);
        }
        replace<checked_filter>(node, filter);
    } else if (auto *test = cast_stmt<test_expression>(node)) {
        rewrite(test->operand);
        if (auto *call = cast_stmt<call_expression>(test->test)) {
            rewrite_all(call->args);
        }
        replace<checked_test>(node, test);
    }
}

void rewrite(statement_ptr &node)
{
    if (node != nullptr && !rewrite_statement(node) && !rewrite_parts(node)) {
        rewrite_expression(node);
    }
}

/* Counts blocks that are open, tag by tag. An elif nests as an if in an else does. */
class block_counter
{
  public:
    size_t open = 0;

    void see(const token &t)
    {
        if (t.t == token::open_statement) {
            at_name = true;
            return;
        }
        if (at_name && t.t == token::identifier) {
            begin(t.value);
        }
        at_name = false;
        inline_set = inline_set || t.t == token::equals;
        if (t.t == token::close_statement && is_set) {
            open += inline_set ? 0 : 1;
            is_set = false;
        }
    }

  private:
    bool at_name = false, is_set = false, inline_set = false;

    void begin(const std::string &name)
    {
        bool ends = name.rfind("end", 0) == 0;
        bool alone = name == "else" || name == "break" || name == "continue" || name == "set";
        is_set = name == "set";
        inline_set = false;
        open += ends || alone ? 0 : 1;
        open -= ends && open > 0 ? 1 : 0;
    }
};

/* What the parser, and what walks the tree, recurse on is bounded by the tokens of a tag and by
 * blocks within each other. */
void check_tokens(const lexer_result &lexed)
{
    size_t in_tag = 0;
    block_counter blocks;
    if (lexed.tokens.size() > tokens_max) {
        throw limit_reached("the template has " + std::to_string(lexed.tokens.size()) +
                            " words, limit " + std::to_string(tokens_max));
    }
    for (const auto &t : lexed.tokens) {
        bool closes = t.t == token::close_statement || t.t == token::close_expression;
        in_tag = closes || t.t == token::text ? 0 : in_tag + 1;
        blocks.see(t);
        if (in_tag > tokens_a_tag_max || blocks.open > blocks_max) {
            throw jinja::parser_exception(
                in_tag > tokens_a_tag_max
                    ? "more than " + std::to_string(tokens_a_tag_max) + " words in one tag"
                    : "more than " + std::to_string(blocks_max) + " blocks within each other",
                lexed.source, t.pos);
        }
    }
}

} // namespace
} // namespace dw

namespace jinja
{

/* Where llama.cpp's code parses a template, this is called. */
program parse_from_tokens(const lexer_result &lexed)
{
    dw::check_tokens(lexed);
    program parsed = common_parse_from_tokens(lexed);
    dw::rewrite_body(parsed.body, false);
    return parsed;
}

} // namespace jinja
