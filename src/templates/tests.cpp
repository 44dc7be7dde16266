/* Tests (x is y), globals, and how functions take their arguments. */
#include <algorithm>
#include <ctime>
#include <iomanip>
#include <sstream>

#include "templates/run_internal.h"

namespace dw
{

using namespace jinja;

/* ---- arguments ------------------------------------------------------------------------------ */

params::params(const char *called, const call_args &args,
               std::initializer_list<const char *> wanted, size_t required)
    : function(called), names(wanted), values(wanted.size())
{
    std::string of = std::string(function) + "()";
    if (args.positional.size() > names.size()) {
        fail_as_python(of + " takes at most " + std::to_string(names.size()) + " arguments (" +
                       std::to_string(args.positional.size()) + " given)");
    }
    std::copy(args.positional.begin(), args.positional.end(), values.begin());
    for (const auto &[name, v] : args.named) {
        auto found = std::find_if(names.begin(), names.end(),
                                  [&, &key = name](const char *one) { return key == one; });
        if (found == names.end()) {
            fail_as_python(of + " got an unexpected keyword argument '" + name + "'");
        }
        value &place = values[(size_t)(found - names.begin())];
        if (place != nullptr) {
            fail_as_python(of + " got multiple values for argument '" + name + "'");
        }
        place = v;
    }
    for (size_t i = 0; i < required; i++) {
        if (values[i] == nullptr) {
            fail_as_python(of + " missing 1 required positional argument: '" + names[i] + "'");
        }
    }
}

bool params::flag(size_t i, bool otherwise) const
{
    return values[i] != nullptr ? is_true(values[i]) : otherwise;
}

int64_t params::whole(size_t i, int64_t otherwise) const
{
    if (values[i] == nullptr) {
        return otherwise;
    }
    if (values[i]->is_undefined()) {
        fail_undefined(values[i]);
    }
    if (!is_whole(values[i])) {
        fail_as_python(std::string(function) + "(): " + names[i] + ": '" + type_name(values[i]) +
                       "' object cannot be interpreted as an integer");
    }
    return values[i]->val_int;
}

std::string params::text(size_t i, const std::string &otherwise) const
{
    if (values[i] == nullptr) {
        return otherwise;
    }
    if (kind_of(values[i]) != kind::text) {
        fail_as_python(std::string(function) + "(): " + names[i] + ": str is wanted, not " +
                       type_name(values[i]));
    }
    return values[i]->val_str.str();
}

builtin find_in(const named_builtin *table, size_t count, const std::string &name)
{
    const auto *found = std::find_if(table, table + count,
                                     [&](const named_builtin &one) { return name == one.name; });
    return found != table + count ? found->function : nullptr;
}

namespace
{

/* ---- tests ---- */

template <bool (*holds)(const value &)>
value simple(run &, const value &self, const call_args &args)
{
    (void)params("the test", args, {});
    return make_bool(holds(self));
}

template <kind wanted> bool is_kind(const value &v)
{
    return kind_of(v) == wanted;
}

bool is_defined(const value &v)
{
    return !v->is_undefined();
}

bool is_the_truth(const value &v)
{
    return kind_of(v) == kind::boolean && v->val_int != 0;
}

bool is_the_untruth(const value &v)
{
    return kind_of(v) == kind::boolean && v->val_int == 0;
}

bool has_items(const value &v)
{
    kind k = kind_of(v);
    return k == kind::text || k == kind::list || k == kind::tuple || k == kind::series ||
           k == kind::dict || k == kind::undefined;
}

/* It has a length, and items by number or key. */
bool is_sequence(const value &v)
{
    kind k = kind_of(v);
    if (k == kind::series) {
        return cast_val<value_series_t>(v)->is == value_series_t::form::range;
    }
    /* Jinja2's Undefined has both methods. */
    return k == kind::text || k == kind::list || k == kind::tuple || k == kind::dict ||
           k == kind::undefined;
}

bool is_callable(const value &v)
{
    kind k = kind_of(v);
    return k == kind::callable || k == kind::loop || k == kind::other || k == kind::undefined;
}

bool is_escaped(const value &v)
{
    return kind_of(v) == kind::text && is_markup(v);
}

value remainder(const value &v, int64_t by)
{
    return python_arithmetic("%", v, make_int(by));
}

value test_odd(run &, const value &self, const call_args &)
{
    return make_bool(python_equal(remainder(self, 2), make_int(1)));
}

value test_even(run &, const value &self, const call_args &)
{
    return make_bool(python_equal(remainder(self, 2), make_int(0)));
}

value test_divisibleby(run &, const value &self, const call_args &args)
{
    params p("divisibleby", args, {"num"}, 1);
    return make_bool(python_equal(python_arithmetic("%", self, p[0]), make_int(0)));
}

value test_eq(run &, const value &self, const call_args &args)
{
    return make_bool(python_equal(self, params("eq", args, {"other"}, 1)[0]));
}

value test_ne(run &, const value &self, const call_args &args)
{
    return make_bool(!python_equal(self, params("ne", args, {"other"}, 1)[0]));
}

template <int first, int second> value ordered(run &, const value &self, const call_args &args)
{
    int order = python_order(self, params("the test", args, {"other"}, 1)[0]);
    return make_bool(order == first || order == second);
}

value test_in(run &, const value &self, const call_args &args)
{
    return make_bool(python_contains(params("in", args, {"seq"}, 1)[0], self));
}

value test_sameas(run &, const value &self, const call_args &args)
{
    params p("sameas", args, {"other"}, 1);
    bool small = kind_of(self) == kind_of(p[0]) && (is_whole(self) || self->is_none());
    return make_bool(self == p[0] || (small && python_equal(self, p[0])));
}

value test_lower(run &r, const value &self, const call_args &)
{
    return find_text_method("islower")(r, text_of(self), {});
}

value test_upper(run &r, const value &self, const call_args &)
{
    return find_text_method("isupper")(r, text_of(self), {});
}

value test_filter(run &, const value &self, const call_args &)
{
    return make_bool(kind_of(self) == kind::text && find_filter(self->val_str.str()) != nullptr);
}

value test_test(run &, const value &self, const call_args &)
{
    return make_bool(kind_of(self) == kind::text && find_test(self->val_str.str()) != nullptr);
}

const named_builtin tests[] = {
    {"boolean", simple<is_kind<kind::boolean>>},
    {"callable", simple<is_callable>},
    {"defined", simple<is_defined>},
    {"divisibleby", test_divisibleby},
    {"eq", test_eq},
    {"equalto", test_eq},
    {"==", test_eq},
    {"escaped", simple<is_escaped>},
    {"even", test_even},
    {"false", simple<is_the_untruth>},
    {"filter", test_filter},
    {"float", simple<is_kind<kind::real>>},
    {"ge", ordered<1, 0>},
    {">=", ordered<1, 0>},
    {"gt", ordered<1, 1>},
    {"greaterthan", ordered<1, 1>},
    {">", ordered<1, 1>},
    {"in", test_in},
    {"integer", simple<is_kind<kind::integer>>},
    {"iterable", simple<has_items>},
    {"le", ordered<-1, 0>},
    {"<=", ordered<-1, 0>},
    {"lower", test_lower},
    {"lt", ordered<-1, -1>},
    {"lessthan", ordered<-1, -1>},
    {"<", ordered<-1, -1>},
    {"mapping", simple<is_kind<kind::dict>>},
    {"ne", test_ne},
    {"!=", test_ne},
    {"none", simple<is_kind<kind::none>>},
    {"number", simple<is_number>},
    {"odd", test_odd},
    {"sameas", test_sameas},
    {"sequence", simple<is_sequence>},
    {"string", simple<is_kind<kind::text>>},
    {"test", test_test},
    {"true", simple<is_the_truth>},
    {"undefined", simple<is_kind<kind::undefined>>},
    {"upper", test_upper},
};

/* ---- globals ---- */

constexpr int64_t range_max = 100000; /* the sandbox's */

value global_range(run &, const value &, const call_args &args)
{
    params p("range", args, {"start", "stop", "step"}, 1);
    bool alone = p[1] == nullptr;
    int64_t from = alone ? 0 : p.whole(0, 0), to = p.whole(alone ? 0 : 1, 0), step = p.whole(2, 1);
    if (step == 0) {
        fail_as_python("range() arg 3 must not be zero");
    }
    bool empty = step > 0 ? from >= to : from <= to;
    uint64_t span = step > 0 ? (uint64_t)to - (uint64_t)from : (uint64_t)from - (uint64_t)to;
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    uint64_t count = empty ? 0 : (span - 1) / stride + 1;
    if (count > (uint64_t)range_max) {
        fail_as_python("Range too big. The sandbox blocks ranges larger than MAX_RANGE (" +
                       std::to_string(range_max) + ").");
    }
    std::vector<value> items;
    for (uint64_t i = 0; i < count; i++) {
        jinja_step();
        items.push_back(make_int(from + (int64_t)i * step));
    }
    std::string written = "range(" + std::to_string(from) + ", " + std::to_string(to) +
                          (step != 1 ? ", " + std::to_string(step) : "") + ")";
    return make_series(value_series_t::form::range, std::move(items), written);
}

/* dict(...) and namespace(...). */
void fill(run &r, const value &made, const call_args &args, const char *name)
{
    if (args.positional.size() > 1) {
        fail_as_python(std::string(name) + " expected at most 1 argument, got " +
                       std::to_string(args.positional.size()));
    }
    if (!args.positional.empty() && kind_of(args.positional[0]) == kind::dict) {
        for (const auto &[key, one] : args.positional[0]->val_obj) {
            dict_set(made, key, one);
        }
    } else if (!args.positional.empty()) {
        for (const auto &pair : r.iterate(args.positional[0])) {
            std::vector<value> two = r.iterate(pair);
            if (two.size() != 2) {
                fail_as_python("dictionary update sequence element has length " +
                               std::to_string(two.size()) + "; 2 is required");
            }
            dict_set(made, two[0], two[1]);
        }
    }
    for (const auto &[key, one] : args.named) {
        dict_set(made, make_text(key), one);
    }
}

value global_dict(run &r, const value &, const call_args &args)
{
    value made = make_dict();
    fill(r, made, args, "dict");
    return made;
}

/* Python's dict is a class: an attribute or item that it has not gives dict[...], which makes dicts
 * as it does. Templates rely on dict.from_keys(pairs). */
struct value_dict_class_t : value_callable_t, std::enable_shared_from_this<value_dict_class_t> {
    value_dict_class_t() : value_callable_t("<class 'dict'>")
    {
    }
    value call(run &r, const call_args &args) override
    {
        return global_dict(r, nullptr, args);
    }
    value attribute(run &r, const std::string &what) override
    {
        bool own =
            what[0] == '_' || what == "fromkeys" || find_method(make_dict(), what) != nullptr;
        return own ? value_callable_t::attribute(r, what) : shared_from_this();
    }
};

value global_namespace(run &r, const value &, const call_args &args)
{
    jinja_charge(2 * value_bytes);
    value made = std::make_shared<value_space_t>();
    r.keep(made);
    fill(r, made, args, "namespace");
    return made;
}

value global_raise(run &, const value &, const call_args &args)
{
    params p("raise_exception", args, {"message"}, 1);
    fail_as_python(python_str(p[0]).str());
}

/* One letter of strftime's; `plain`: without what fills it up. */
std::string time_part(const std::tm &when, char letter, bool plain)
{
    const char form[] = {'%', letter, '\0'};
    std::ostringstream out;
    out << std::put_time(&when, form);
    std::string text = out.str();
    size_t begin = plain ? std::min(text.find_first_not_of("0 "), text.size()) : 0;
    return begin == text.size() && begin > 0 ? "0" : text.substr(begin);
}

/* As the C library has it, with %- and %f. */
value global_strftime(run &r, const value &, const call_args &args)
{
    params p("strftime_now", args, {"format"}, 1);
    std::string format = p.text(0, "");
    std::time_t when = (std::time_t)r.now();
    std::tm local = {};
    if (localtime_r(&when, &local) == nullptr || format.size() > 1024) {
        fail_as_python("strftime_now: the time cannot be written");
    }
    std::string out;
    for (size_t i = 0; i < format.size(); i++) {
        if (format[i] != '%' || i + 1 == format.size()) {
            out += format[i];
            continue;
        }
        bool plain = format[++i] == '-' && i + 1 < format.size();
        i += plain ? 1 : 0;
        out += format[i] == 'f' ? "000000" : time_part(local, format[i], plain);
    }
    return make_text(out, is_from_outside(p[0]));
}

struct value_joiner_t : value_callable_t {
    value separator;
    bool used = false;

    explicit value_joiner_t(value between)
        : value_callable_t("<Joiner>"), separator(std::move(between))
    {
    }
    value call(run &, const call_args &args) override
    {
        (void)params("joiner", args, {});
        return std::exchange(used, true) ? separator : make_text("");
    }
};

value global_joiner(run &, const value &, const call_args &args)
{
    params p("joiner", args, {"sep"});
    return std::make_shared<value_joiner_t>(p[0] != nullptr ? p[0] : make_text(", "));
}

struct value_cycler_t : value_callable_t, std::enable_shared_from_this<value_cycler_t> {
    std::vector<value> items;
    size_t at = 0;

    explicit value_cycler_t(std::vector<value> over)
        : value_callable_t("<Cycler>"), items(std::move(over))
    {
    }
    value call(run &, const call_args &) override
    {
        fail_as_python("'Cycler' object is not callable");
    }
    value attribute(run &r, const std::string &what) override
    {
        if (what == "current") {
            return items[at];
        }
        if (what != "next" && what != "reset") {
            return value_callable_t::attribute(r, what);
        }
        return make_method(what, what == "next" ? next : reset, shared_from_this());
    }
    static value next(run &, const value &self, const call_args &)
    {
        auto *c = static_cast<value_cycler_t *>(self.get());
        value now = c->items[c->at];
        c->at = (c->at + 1) % c->items.size();
        return now;
    }
    static value reset(run &, const value &self, const call_args &)
    {
        static_cast<value_cycler_t *>(self.get())->at = 0;
        return make_none();
    }
};

value global_cycler(run &, const value &, const call_args &args)
{
    if (args.positional.empty()) {
        fail_as_python("at least one item has to be provided");
    }
    return std::make_shared<value_cycler_t>(args.positional);
}

value global_lipsum(run &, const value &, const call_args &)
{
    fail_as_python("lipsum: there is no made-up text here");
}

const named_builtin globals[] = {
    {"range", global_range},           {"dict", global_dict},     {"namespace", global_namespace},
    {"raise_exception", global_raise}, {"joiner", global_joiner}, {"strftime_now", global_strftime},
    {"cycler", global_cycler},         {"lipsum", global_lipsum},
};

} // namespace

builtin find_test(const std::string &name)
{
    return find_in(tests, std::size(tests), name);
}

value find_global(const std::string &name)
{
    builtin found = find_in(globals, std::size(globals), name);
    if (found == global_dict) {
        return std::make_shared<value_dict_class_t>();
    }
    if (found != nullptr) {
        return make_function(name.c_str(), found);
    }
    /* Hugging Face's library always passes them. */
    return name == "tools" || name == "documents" ? make_none() : nullptr;
}

} // namespace dw
