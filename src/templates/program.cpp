/* Templates executed: statements, and the names that they set. */
#include "templates/run_internal.h"

namespace dw
{

using namespace jinja;

run::run(const syntax &of, jinja::context &with)
    : program(of), context(with), here(std::make_shared<scope>(nullptr)), root(here),
      globals(of.symbols.names.size()), out(nullptr)
{
}

/* What holds itself is taken apart. */
run::~run()
{
    for (const auto &one : kept_scopes) {
        one->variables.clear();
    }
    for (const auto &one : kept_spaces) {
        auto *space = static_cast<value_space_t *>(one.get());
        space->unordered.clear();
        space->val_obj.clear();
    }
}

value run::all()
{
    text_builder text;
    out = &text;
    try {
        (void)body(program.body);
    } catch (const rethrown_exception &) {
        throw;
    } catch (const std::bad_alloc &) {
        throw memory_reached("no memory for what the template makes");
    } catch (const std::exception &e) {
        throw placed_error(place_of(program.source, at) + e.what());
    }
    return text.done();
}

value run_template(const syntax &program, jinja::context &context)
{
    return run(program, context).all();
}

/* ---- names ---------------------------------------------------------------------------------- */

void run::set(uint32_t symbol, const value &v)
{
    for (auto &one : here->variables) {
        if (one.first == symbol) {
            one.second = v;
            return;
        }
    }
    jinja_charge(32);
    here->variables.emplace_back(symbol, v);
}

value run::look_up(uint32_t symbol)
{
    for (const scope *s = here.get(); s != nullptr; s = s->around.get()) {
        for (const auto &one : s->variables) {
            if (one.first == symbol) {
                return one.second;
            }
        }
    }
    value &known = globals[symbol];
    if (known == nullptr) {
        known = global(symbol);
    }
    return known;
}

value run::global(uint32_t symbol)
{
    const std::string &name = program.symbols.names[symbol];
    value given = context.get_val(name);
    if (!given->is_undefined()) {
        return given;
    }
    if (symbol == symbol_self && !program.blocks.empty()) {
        return make_blocks(program);
    }
    value found = find_global(name);
    return found != nullptr ? found : make_missing("'" + name + "' is undefined");
}

void run::keep_scope()
{
    for (auto s = here; s != nullptr && !s->is_kept; s = s->around) {
        s->is_kept = true;
        kept_scopes.push_back(s);
    }
}

void run::keep(const value &space)
{
    kept_spaces.push_back(space);
}

void run::assign(const node &target, const value &v)
{
    if (target.is == form::name) {
        set(target.symbol, v);
    } else if (target.is == form::space_attribute) {
        value space = look_up(target.symbol);
        if (kind_of(space) != kind::space) {
            at = target.at;
            fail_as_python("cannot assign attribute on non-namespace object");
        }
        dict_set(space, target.constant, v);
    } else {
        unpack(target, v);
    }
}

void run::unpack(const node &target, const value &v)
{
    std::vector<value> items = iterate(v);
    size_t wanted = target.items.size();
    if (items.size() != wanted) {
        at = target.at;
        fail_as_python((items.size() < wanted
                            ? "not enough values to unpack (expected " + std::to_string(wanted) +
                                  ", got " + std::to_string(items.size())
                            : "too many values to unpack (expected " + std::to_string(wanted)) +
                       ")");
    }
    for (size_t i = 0; i < wanted; i++) {
        assign(*target.items[i], items[i]);
    }
}

/* ---- statements ----------------------------------------------------------------------------- */

flow run::body(const node_list &nodes)
{
    for (const auto &one : nodes) {
        flow goes = statement(*one);
        if (goes != flow::goes_on) {
            return goes;
        }
    }
    return flow::goes_on;
}

/* In a scope of its own. */
flow run::inner(const node_list &nodes)
{
    scope_change change(*this, std::make_shared<scope>(here));
    return body(nodes);
}

flow run::statement(const node &n)
{
    jinja_step();
    at = n.at;
    switch (n.is) {
    case form::output:
        output(n);
        return flow::goes_on;
    case form::branch:
        return branch(n);
    case form::loop:
        return loop(n);
    case form::assign:
        assign(*n.items[0], evaluate(*n.items[1]));
        return flow::goes_on;
    case form::assign_body:
        assign_body(n);
        return flow::goes_on;
    case form::macro:
        define_macro(n);
        return flow::goes_on;
    case form::call_body:
        call_with_body(n);
        return flow::goes_on;
    case form::filter_body:
        filter_body(n);
        return flow::goes_on;
    case form::with:
        return with(n);
    case form::block:
        out->add(block_text(n));
        return flow::goes_on;
    case form::autoescape:
        return escaping(n);
    case form::breaks:
        return flow::breaks;
    case form::continues:
        return flow::continues;
    default:
        fail_as_python(n.text);
    }
}

void run::write(const value &v)
{
    if (autoescape) {
        out->add(escape_text(v));
    } else {
        add_str(*out, v);
    }
}

void run::output(const node &n)
{
    for (const auto &one : n.items) {
        if (one->is == form::constant && one->flag) {
            out->add(one->constant);
        } else {
            write(evaluate(*one));
        }
    }
}

flow run::branch(const node &n)
{
    for (size_t i = 0; i < n.items.size(); i++) {
        if (is_true(evaluate(*n.items[i]))) {
            return body(n.bodies[i]);
        }
    }
    return n.bodies.size() > n.items.size() ? body(n.bodies.back()) : flow::goes_on;
}

flow run::loop(const node &n)
{
    value over = evaluate(*n.items[1]);
    note(over, kind_of(over) == kind::dict ? "object_access" : "array_access");
    note(over, "array_access");
    at = n.items[1]->at;
    return loop_over(n, over, 1);
}

/* Those for which the condition holds. */
std::vector<value> run::chosen(const node &n, std::vector<value> items)
{
    std::vector<value> found;
    for (auto &one : items) {
        scope_change change(*this, std::make_shared<scope>(here));
        assign(*n.items[0], one);
        if (is_true(evaluate(*n.items[2]))) {
            found.push_back(std::move(one));
        }
    }
    return found;
}

flow run::loop_over(const node &n, const value &over, int64_t depth)
{
    std::vector<value> items = iterate(over);
    if (n.items[2] != nullptr) {
        items = chosen(n, std::move(items));
    }
    if (items.empty()) {
        return inner(n.bodies[1]);
    }
    jinja_charge(value_bytes);
    auto state = std::make_shared<value_loop_t>(std::move(items), depth);
    if (n.flag) {
        state->recursive = &n;
        state->from = here;
    }
    auto around = here;
    std::shared_ptr<scope> mine;
    bool any_ended = false; /* a body that broke off counts for nothing */
    for (; state->index < state->items.size(); state->index++) {
        jinja_step();
        if (mine == nullptr || mine.use_count() > 1) {
            mine = std::make_shared<scope>(around);
        }
        mine->variables.clear();
        scope_change change(*this, mine);
        set(symbol_loop, state);
        assign(*n.items[0], state->items[state->index]);
        flow goes = body(n.bodies[0]);
        any_ended = any_ended || goes == flow::goes_on;
        if (goes == flow::breaks) {
            break;
        }
    }
    return any_ended ? flow::goes_on : inner(n.bodies[1]);
}

value run::loop_text(const node &n, const std::shared_ptr<scope> &from, const value &over,
                     int64_t depth)
{
    jinja_step();
    text_builder text;
    text_builder *before = std::exchange(out, &text);
    {
        scope_change change(*this, from);
        (void)loop_over(n, over, depth);
    }
    out = before;
    return text.done(autoescape);
}

value run::text_in(const std::shared_ptr<scope> &where, const node_list &nodes)
{
    jinja_step();
    text_builder text;
    text_builder *before = std::exchange(out, &text);
    {
        scope_change change(*this, where);
        (void)body(nodes);
    }
    out = before;
    return text.done(autoescape);
}

void run::assign_body(const node &n)
{
    value text = text_in(std::make_shared<scope>(here), n.bodies[0]);
    if (n.items[1] != nullptr) {
        text = filtered(*n.items[1], &text);
    }
    assign(*n.items[0], text);
}

void run::filter_body(const node &n)
{
    value text = text_in(std::make_shared<scope>(here), n.bodies[0]);
    write(filtered(*n.items[0], &text));
}

flow run::with(const node &n)
{
    auto mine = std::make_shared<scope>(here);
    for (size_t i = 0; i < n.items.size(); i += 2) {
        value v = evaluate(*n.items[i + 1]);
        scope_change change(*this, mine);
        assign(*n.items[i], v);
    }
    scope_change change(*this, mine);
    return body(n.bodies[0]);
}

flow run::escaping(const node &n)
{
    bool before = std::exchange(autoescape, is_true(evaluate(*n.items[0])));
    flow goes = inner(n.bodies[0]);
    autoescape = before;
    return goes;
}

value run::block_text(const node &n)
{
    return text_in(std::make_shared<scope>(root), n.bodies[0]);
}

/* ---- macros --------------------------------------------------------------------------------- */

void run::define_macro(const node &n)
{
    jinja_charge(value_bytes);
    keep_scope();
    set(n.symbol, std::make_shared<value_macro_t>(&n, n.text, here));
}

void run::call_with_body(const node &n)
{
    jinja_charge(value_bytes);
    keep_scope();
    const node &call_node = *n.items[0];
    value callee = evaluate(*call_node.items[0]);
    call_args args = arguments(call_node);
    args.named.emplace_back("caller", std::make_shared<value_macro_t>(&n, "caller", here));
    at = call_node.at;
    write(call(callee, args));
}

value run::call_macro(const node &n, const std::shared_ptr<scope> &from, const std::string &name,
                      const call_args &args)
{
    jinja_step();
    auto mine = std::make_shared<scope>(from);
    {
        scope_change change(*this, mine);
        bind_arguments(n, name, args);
    }
    return text_in(mine, n.bodies[0]);
}

void run::bind_arguments(const node &n, const std::string &name, const call_args &args)
{
    for (size_t i = 0; i < n.parameters.size(); i++) {
        const parameter &one = n.parameters[i];
        std::string called = one.name->val_str.str();
        value given = i < args.positional.size() ? args.positional[i] : nullptr;
        for (const auto &named : args.named) {
            if (named.first == called) {
                if (given != nullptr) {
                    fail_as_python("macro '" + name + "' got multiple values for argument '" +
                                   called + "'");
                }
                given = named.second;
            }
        }
        if (given == nullptr) {
            given = one.otherwise != nullptr
                        ? evaluate(*one.otherwise)
                        : make_missing("parameter '" + called + "' was not provided");
        }
        set(one.symbol, given);
    }
    bind_rest(n, name, args);
}

/* What no parameter takes. */
void run::bind_rest(const node &n, const std::string &name, const call_args &args)
{
    size_t taken = n.parameters.size();
    if (n.uses_varargs) {
        size_t from = std::min(taken, args.positional.size());
        set(symbol_varargs,
            make_tuple({args.positional.begin() + (long)from, args.positional.end()}));
    } else if (args.positional.size() > taken) {
        fail_as_python("macro '" + name + "' takes not more than " + std::to_string(taken) +
                       " argument(s)");
    }
    value rest = make_dict();
    if (n.uses_caller) {
        set(symbol_caller, make_missing("No caller defined"));
    }
    for (const auto &[key, v] : args.named) {
        const std::string &wanted = key; /* lambdas do not capture bindings in C++17 */
        bool known = std::any_of(n.parameters.begin(), n.parameters.end(), [&](const auto &one) {
            return one.name->val_str.str() == wanted;
        });
        if (known) {
            continue;
        }
        if (n.uses_caller && key == "caller") {
            set(symbol_caller, v);
        } else if (n.uses_kwargs) {
            dict_set(rest, make_text(key), v);
        } else {
            fail_as_python("macro '" + name + "' takes no keyword argument '" + key + "'");
        }
    }
    if (n.uses_kwargs) {
        set(symbol_kwargs, rest);
    }
}

} // namespace dw

/* ---- where llama.cpp's code parses a template ------------------------------------------------ */

namespace jinja
{

namespace
{

/* The whole of a template, as a node of the engine's tree. */
struct whole_template : statement {
    std::shared_ptr<const dw::syntax> program;

    std::string type() const override
    {
        return "Template";
    }
    value execute_impl(context &ctx) const override
    {
        return dw::run_template(*program, ctx);
    }
};

} // namespace

/* Ends of lines as Jinja2 has them; the words are parse_from_tokens' affair. */
lexer_result lexer::tokenize(const std::string &source)
{
    lexer_result made;
    made.source.reserve(source.size());
    for (size_t i = 0; i < source.size(); i++) {
        if (source[i] != '\r') {
            made.source += source[i];
        } else if (i + 1 >= source.size() || source[i + 1] != '\n') {
            made.source += '\n';
        }
    }
    if (!made.source.empty() && made.source.back() == '\n') {
        made.source.pop_back();
    }
    return made;
}

program parse_from_tokens(const lexer_result &lexed)
{
    auto whole = std::make_unique<whole_template>();
    whole->pos = 0;
    try {
        whole->program = dw::parse_template(lexed.source);
    } catch (const dw::syntax_error &e) {
        throw dw::placed_error(dw::place_of(lexed.source, e.at) + e.what());
    }
    program made;
    made.body.push_back(std::move(whole));
    return made;
}

} // namespace jinja
