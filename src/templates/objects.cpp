/* What templates call: loops, macros, blocks; functions and methods as values. */
#include <algorithm>

#include "templates/run_internal.h"

namespace dw
{

using namespace jinja;

value value_callable_t::attribute(run &r, const std::string &what)
{
    (void)r;
    return make_missing("'" + name + "' has no attribute '" + what + "'");
}

namespace
{

struct value_builtin_t : value_callable_t {
    builtin function;
    value self; /* nullptr: of none */

    value_builtin_t(std::string called, builtin what, value of)
        : value_callable_t(std::move(called)), function(what), self(std::move(of))
    {
    }
    value call(run &r, const call_args &args) override
    {
        return function(r, self != nullptr ? self : make_none(), args);
    }
};

struct value_block_t : value_callable_t {
    const node *is;

    explicit value_block_t(const node *what) : value_callable_t("<block>"), is(what)
    {
    }
    value call(run &r, const call_args &args) override
    {
        (void)params("block", args, {});
        return r.block_text(*is);
    }
};

struct value_blocks_t : value_callable_t {
    const syntax &program;

    explicit value_blocks_t(const syntax &of) : value_callable_t("<TemplateReference>"), program(of)
    {
    }
    value call(run &r, const call_args &args) override
    {
        (void)r;
        (void)args;
        fail_as_python("'TemplateReference' object is not callable");
    }
    value attribute(run &r, const std::string &what) override
    {
        auto found = program.blocks.find(what);
        return found != program.blocks.end() ? std::make_shared<value_block_t>(found->second)
                                             : value_callable_t::attribute(r, what);
    }
};

value loop_cycle(run &r, const value &self, const call_args &args)
{
    (void)r;
    const auto *loop = dynamic_cast<const value_loop_t *>(self.get());
    if (args.positional.empty()) {
        fail_as_python("no items for cycling given");
    }
    return args.positional[loop->index % args.positional.size()];
}

value loop_changed(run &r, const value &self, const call_args &args)
{
    (void)r;
    auto *loop = dynamic_cast<value_loop_t *>(self.get());
    const auto &seen = loop->last_seen;
    bool same = loop->has_seen && seen.size() == args.positional.size() &&
                std::equal(seen.begin(), seen.end(), args.positional.begin(), python_equal);
    loop->last_seen = args.positional;
    loop->has_seen = true;
    return make_bool(!same);
}

} // namespace

value make_function(const char *name, builtin function)
{
    jinja_charge(value_bytes);
    return std::make_shared<value_builtin_t>("<function " + std::string(name) + ">", function,
                                             nullptr);
}

value make_method(std::string name, builtin function, const value &self)
{
    jinja_charge(value_bytes);
    return std::make_shared<value_builtin_t>("<built-in method " + name + ">", function, self);
}

value make_blocks(const syntax &program)
{
    return std::make_shared<value_blocks_t>(program);
}

/* ---- loops ---------------------------------------------------------------------------------- */

value value_loop_t::call(run &r, const call_args &args)
{
    if (recursive == nullptr) {
        fail_as_python("The loop must have the 'recursive' marker to be called recursively.");
    }
    params p("loop", args, {"iterable"}, 1);
    return r.loop_text(*recursive, from, p[0], depth + 1);
}

value value_loop_t::attribute(run &r, const std::string &what)
{
    int64_t here = (int64_t)index, count = (int64_t)items.size();
    const std::pair<const char *, int64_t> numbers[] = {
        {"index", here + 1},        {"index0", here},
        {"revindex", count - here}, {"revindex0", count - here - 1},
        {"length", count},          {"depth", depth},
        {"depth0", depth - 1}};
    for (const auto &[called, number] : numbers) {
        if (what == called) {
            return make_int(number);
        }
    }
    if (what == "first" || what == "last") {
        return make_bool(what == "first" ? here == 0 : here == count - 1);
    }
    if (what == "previtem" || what == "nextitem") {
        bool there = what == "previtem" ? here > 0 : here + 1 < count;
        return there ? items[(size_t)(what == "previtem" ? here - 1 : here + 1)]
                     : make_missing("there is no " + what.substr(0, 4) + " item");
    }
    if (what == "cycle" || what == "changed") {
        return make_method(what, what == "cycle" ? loop_cycle : loop_changed, shared_from_this());
    }
    return value_callable_t::attribute(r, what);
}

/* ---- macros --------------------------------------------------------------------------------- */

value value_macro_t::call(run &r, const call_args &args)
{
    return r.call_macro(*is, from, name, args);
}

value value_macro_t::attribute(run &r, const std::string &what)
{
    if (what == "name") {
        return make_text(name);
    }
    if (what == "arguments") {
        std::vector<value> names;
        for (const auto &one : is->parameters) {
            names.push_back(one.name);
        }
        return make_tuple(std::move(names));
    }
    if (what == "catch_kwargs" || what == "catch_varargs" || what == "caller") {
        return make_bool(what == "caller"         ? is->uses_caller
                         : what == "catch_kwargs" ? is->uses_kwargs
                                                  : is->uses_varargs);
    }
    return value_callable_t::attribute(r, what);
}

} // namespace dw
