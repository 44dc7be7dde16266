/* Templates' expressions evaluated. */
#include <algorithm>

#include "templates/run_internal.h"

namespace dw
{

using namespace jinja;

/* The engine's own mark_used goes over what is shared once for each way to it, for ever. */
static void mark_deeply(const value &v)
{
    jinja_step();
    v->stats.used = true;
    for (const auto &one : v->val_arr) {
        mark_deeply(one);
    }
    for (const auto &pair : v->val_obj) {
        mark_deeply(pair.second);
    }
}

/* llama.cpp's code looks at what its examples' values were used for. */
void run::note(const value &v, const std::string &op, bool deep)
{
    kind k = context.is_get_stats ? kind_of(v) : kind::other;
    if (k == kind::text || k == kind::list || k == kind::dict) {
        v->stats.used = true;
        if (deep) {
            mark_deeply(v);
        }
        if (!op.empty()) {
            v->stats.ops.insert(op);
        }
    }
}

value run::evaluate_or_none(const node_ptr &n)
{
    return n != nullptr ? evaluate(*n) : make_none();
}

value run::evaluate(const node &n)
{
    jinja_step();
    switch (n.is) {
    case form::constant:
        return n.constant;
    case form::name: {
        value found = look_up(n.symbol);
        note(found, "");
        return found;
    }
    case form::list:
    case form::tuple:
    case form::dict:
        return collection(n);
    case form::unary:
        return unary(n);
    case form::arithmetic: {
        value a = evaluate(*n.items[0]), b = evaluate(*n.items[1]);
        at = n.at;
        return python_arithmetic(n.text, a, b);
    }
    case form::concat:
        return concat(n);
    case form::both: {
        value a = evaluate(*n.items[0]);
        return is_true(a) ? evaluate(*n.items[1]) : a;
    }
    case form::either: {
        value a = evaluate(*n.items[0]);
        return is_true(a) ? a : evaluate(*n.items[1]);
    }
    case form::comparison:
        return compare(n);
    case form::conditional:
        return conditional(n);
    case form::attribute:
        return attribute_of(n);
    case form::item:
        return item_of(n);
    case form::slice:
        return slice(n);
    case form::call:
        return calls(n);
    case form::filter:
        return filtered(n, nullptr);
    case form::test:
        return tested(n);
    default:
        at = n.at;
        fail_as_python("this is no expression");
    }
}

value run::collection(const node &n)
{
    if (n.is == form::dict) {
        value made = make_dict();
        for (size_t i = 0; i < n.items.size(); i += 2) {
            value key = evaluate(*n.items[i]);
            value item = evaluate(*n.items[i + 1]);
            at = n.at;
            dict_set(made, key, item);
        }
        return made;
    }
    std::vector<value> items;
    for (const auto &one : n.items) {
        items.push_back(evaluate(*one));
    }
    at = n.at;
    return n.is == form::list ? make_list(std::move(items)) : make_tuple(std::move(items));
}

value run::unary(const node &n)
{
    value v = evaluate(*n.items[0]);
    at = n.at;
    if (n.text == "not") {
        return make_bool(!is_true(v));
    }
    if (v->is_undefined()) {
        fail_undefined(v);
    }
    if (!is_number(v)) {
        fail_as_python("bad operand type for unary " + n.text + ": '" + type_name(v) + "'");
    }
    if (kind_of(v) == kind::real) {
        return n.text == "-" ? make_float(-v->val_flt) : v;
    }
    return n.text == "-" ? python_arithmetic("-", make_int(0), v) : make_int(v->val_int);
}

value run::concat(const node &n)
{
    std::vector<value> items;
    bool markup = false; /* as in Jinja2, only where text is escaped at all */
    for (const auto &one : n.items) {
        items.push_back(evaluate(*one));
        markup = markup || (autoescape && is_markup(items.back()));
    }
    at = n.at;
    text_builder text;
    for (const auto &one : items) {
        add_str(text, markup ? escape_text(one) : one);
    }
    return text.done(markup);
}

bool run::holds(const std::string &op, const value &a, const value &b)
{
    if (op == "==" || op == "!=") {
        return python_equal(a, b) == (op == "==");
    }
    if (op == "in" || op == "not in") {
        return python_contains(b, a) == (op == "in");
    }
    int order = python_order(a, b, op.c_str());
    return op == "<"    ? order == -1
           : op == ">"  ? order == 1
           : op == "<=" ? order == -1 || order == 0
                        : order == 1 || order == 0;
}

value run::compare(const node &n)
{
    value left = evaluate(*n.items[0]);
    for (size_t i = 0; i < n.texts.size(); i++) {
        value right = evaluate(*n.items[i + 1]);
        at = n.at;
        if (!holds(n.texts[i], left, right)) {
            return make_bool(false);
        }
        left = right;
    }
    return make_bool(true);
}

value run::conditional(const node &n)
{
    if (is_true(evaluate(*n.items[0]))) {
        return evaluate(*n.items[1]);
    }
    return n.items[2] != nullptr
               ? evaluate(*n.items[2])
               : make_missing("the inline if-expression evaluated to false and no else section "
                              "was defined.");
}

/* ---- members -------------------------------------------------------------------------------- */

static value missing_member(const value &self, const value &name)
{
    std::string of = type_name(self) + " object";
    if (kind_of(name) != kind::text) {
        return make_missing(of + " has no element " + python_repr(name));
    }
    return make_missing("'" + of + "' has no attribute '" + name->val_str.str() + "'");
}

/* Of lists and dicts: those that change them. */
static bool is_mutator(kind k, const std::string &name)
{
    static const char *const of_lists[] = {"append", "clear",  "extend",  "insert",
                                           "pop",    "remove", "reverse", "sort"};
    static const char *const of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
    auto same = [&](const char *one) { return name == one; };
    return (k == kind::list && std::any_of(std::begin(of_lists), std::end(of_lists), same)) ||
           (k == kind::dict && std::any_of(std::begin(of_dicts), std::end(of_dicts), same));
}

/* What Python's getattr finds; nullptr: nothing. */
static value own_attribute(run &r, const value &self, const std::string &name)
{
    kind k = kind_of(self);
    if (k == kind::callable || k == kind::loop) {
        value found = static_cast<value_callable_t *>(self.get())->attribute(r, name);
        return found->is_undefined() ? nullptr : found;
    }
    if (name.compare(0, 2, "__") == 0 || is_mutator(k, name)) {
        return make_missing("access to attribute '" + name + "' of '" + type_name(self) +
                            "' object is unsafe.");
    }
    builtin method = find_method(self, name);
    return method != nullptr ? make_method(name, method, self) : nullptr;
}

/* What self[key] finds; nullptr: nothing. */
static value own_item(const value &self, const value &key)
{
    kind k = kind_of(self);
    if (k == kind::dict || k == kind::space) {
        bool hashable = kind_of(key) == kind::text || key->is_hashable();
        const value *found = hashable && kind_of(key) != kind::list && kind_of(key) != kind::dict
                                 ? dict_get(self, key)
                                 : nullptr;
        return found != nullptr ? *found : nullptr;
    }
    if (!is_whole(key)) {
        return nullptr;
    }
    int64_t index = key->val_int;
    if (k == kind::text) {
        flat_text text(self);
        int64_t count = index < 0 ? (int64_t)count_characters(text.view) : 0;
        if (index + count < 0) {
            return nullptr;
        }
        size_t from = bytes_of_characters(text.view, (size_t)(index + count));
        return from < text.view.size() ? text.cut(from, from + character_at(text.view, from).bytes)
                                       : nullptr;
    }
    bool indexed = is_listed(self) || (k == kind::series && cast_val<value_series_t>(self)->is ==
                                                                value_series_t::form::range);
    int64_t count = (int64_t)self->val_arr.size();
    index += index < 0 ? count : 0;
    return indexed && index >= 0 && index < count ? self->val_arr[(size_t)index] : nullptr;
}

value run::attribute(const value &self, const value &name)
{
    if (self->is_undefined()) {
        fail_undefined(self);
    }
    kind k = kind_of(self);
    value found = k != kind::space ? own_attribute(*this, self, name->val_str.str()) : nullptr;
    if (found == nullptr && (k == kind::dict || k == kind::space)) {
        found = own_item(self, name);
    }
    return found != nullptr ? found : missing_member(self, name);
}

value run::attribute_alone(const value &self, const value &name)
{
    if (self->is_undefined()) {
        fail_undefined(self);
    }
    value found = kind_of(self) == kind::space ? own_item(self, name)
                                               : own_attribute(*this, self, name->val_str.str());
    return found != nullptr ? found : missing_member(self, name);
}

value run::item(const value &self, const value &key)
{
    if (self->is_undefined()) {
        fail_undefined(self);
    }
    value found = own_item(self, key);
    if (found == nullptr && kind_of(key) == kind::text && kind_of(self) != kind::space) {
        found = own_attribute(*this, self, key->val_str.str());
    }
    return found != nullptr ? found : missing_member(self, key);
}

value run::attribute_of(const node &n)
{
    value self = evaluate(*n.items[0]);
    at = n.at;
    value found = attribute(self, n.constant);
    note(self, "object_access");
    note(found, "");
    return found;
}

value run::item_of(const node &n)
{
    value self = evaluate(*n.items[0]);
    value key = evaluate(*n.items[1]);
    at = n.at;
    value found = item(self, key);
    note(self, kind_of(key) == kind::text ? "object_access" : "array_access");
    note(found, "");
    return found;
}

value run::slice(const node &n)
{
    value self = evaluate(*n.items[0]);
    value parts[3];
    for (size_t i = 0; i < 3; i++) {
        parts[i] = evaluate_or_none(n.items[i + 1]);
    }
    at = n.at;
    if (self->is_undefined()) {
        fail_undefined(self);
    }
    note(self, "array_access");
    return python_slice(self, parts);
}

/* ---- calls ---------------------------------------------------------------------------------- */

call_args run::arguments(const node &n)
{
    call_args args;
    for (const auto &one : n.arguments) {
        args.positional.push_back(evaluate(*one));
    }
    if (n.more != nullptr) {
        for (auto &one : iterate(evaluate(*n.more))) {
            args.positional.push_back(std::move(one));
        }
    }
    for (const auto &[name, one] : n.named) {
        args.named.emplace_back(name, evaluate(*one));
    }
    if (n.more_named != nullptr) {
        value more = evaluate(*n.more_named);
        if (kind_of(more) != kind::dict) {
            fail_as_python("argument after ** must be a mapping, not " + type_name(more));
        }
        for (const auto &[key, one] : more->val_obj) {
            if (kind_of(key) != kind::text) {
                fail_as_python("keywords must be strings");
            }
            args.named.emplace_back(key->val_str.str(), one);
        }
    }
    return args;
}

value run::call(const value &callee, const call_args &args)
{
    jinja_step();
    if (callee->is_undefined()) {
        fail_undefined(callee);
    }
    kind k = kind_of(callee);
    if (k == kind::callable || k == kind::loop) {
        return static_cast<value_callable_t *>(callee.get())->call(*this, args);
    }
    if (k == kind::other && is_val<value_func>(callee)) { /* the engine's own */
        func_args given(context);
        for (const auto &one : args.positional) {
            given.push_back(one);
        }
        return callee->invoke(given);
    }
    fail_as_python("'" + type_name(callee) + "' object is not callable");
}

value run::calls(const node &n)
{
    const node &callee = *n.items[0];
    if (callee.is == form::attribute) {
        value self = evaluate(*callee.items[0]);
        at = callee.at;
        if (self->is_undefined()) {
            fail_undefined(self);
        }
        const std::string &name = callee.constant->val_str.parts[0].val;
        builtin method = find_method(self, name);
        if (method != nullptr) {
            note(self, name);
            call_args args = arguments(n);
            at = callee.at;
            return method(*this, self, args);
        }
        value found = attribute(self, callee.constant);
        call_args args = arguments(n);
        at = callee.at;
        return call(found, args);
    }
    value found = evaluate(callee);
    call_args args = arguments(n);
    at = n.at;
    return call(found, args);
}

/* ---- filters and tests ---------------------------------------------------------------------- */

/* subject: the filter block's text, which the innermost filter takes. */
value run::filtered(const node &n, const value *subject)
{
    jinja_step();
    value self = n.items[0] == nullptr ? *subject
                 : subject != nullptr && n.items[0]->is == form::filter
                     ? filtered(*n.items[0], subject)
                     : evaluate(*n.items[0]);
    call_args args = arguments(n);
    at = n.at;
    if (n.function == nullptr) {
        fail_as_python("No filter named '" + n.text + "' found.");
    }
    note(self, n.text, n.text == "tojson" || n.text == "string");
    return n.function(*this, self, args);
}

value run::tested(const node &n)
{
    value self = evaluate(*n.items[0]);
    call_args args = arguments(n);
    at = n.at;
    if (n.function == nullptr) {
        fail_as_python("No test named '" + n.text + "' found.");
    }
    note(self, "test_is_" + n.text);
    return make_bool(is_true(n.function(*this, self, args)) != n.flag);
}

value run::filter(const std::string &name, const value &self, const call_args &args)
{
    builtin found = find_filter(name);
    if (found == nullptr) {
        fail_as_python("No filter named '" + name + "'.");
    }
    jinja_step();
    return found(*this, self, args);
}

bool run::test(const std::string &name, const value &self, const call_args &args)
{
    builtin found = find_test(name);
    if (found == nullptr) {
        fail_as_python("No test named '" + name + "'.");
    }
    jinja_step();
    return is_true(found(*this, self, args));
}

/* ---- what `for` goes over ------------------------------------------------------------------- */

static std::vector<value> characters_of(const value &v)
{
    flat_text text(v);
    std::vector<value> items;
    for (size_t i = 0; i < text.view.size();) {
        size_t bytes = character_at(text.view, i).bytes;
        jinja_grow(items.size() * value_bytes, value_bytes);
        text_builder one;
        text.cut(one, i, i + bytes);
        items.push_back(one.done());
        i += bytes;
    }
    return items;
}

std::vector<value> run::iterate(const value &v)
{
    switch (kind_of(v)) {
    case kind::undefined:
        return {};
    case kind::text:
        return characters_of(v);
    case kind::dict: {
        std::vector<value> keys;
        jinja_charge(16 * v->val_obj.size());
        for (const auto &pair : v->val_obj) {
            keys.push_back(pair.first);
        }
        return keys;
    }
    case kind::series: {
        auto *series = static_cast<value_series_t *>(v.get());
        if (series->is == value_series_t::form::generator && std::exchange(series->used, true)) {
            return {};
        }
        [[fallthrough]];
    }
    case kind::list:
    case kind::tuple:
        jinja_charge(16 * v->val_arr.size());
        return v->val_arr;
    default:
        fail_as_python("'" + type_name(v) + "' object is not iterable");
    }
}

} // namespace dw
