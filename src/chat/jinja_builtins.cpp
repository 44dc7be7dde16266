/* Filters, tests, methods and globals that do as Jinja2's and Python's do, where the engine's do
 * otherwise or are missing. */
#include "chat/jinja_internal.h"

#include <algorithm>
#include <ctime>
#include <iomanip>
#include <map>
#include <sstream>

namespace dw
{
namespace
{

using namespace jinja;

int whole_argument(const value &v, const char *name, int64_t low, int64_t high)
{
    if (!is_val<value_int>(v) || v->as_int() < low || v->as_int() > high) {
        fail_as_python(std::string(name) + ": a whole number from " + std::to_string(low) + " to " +
                       std::to_string(high) + " is wanted");
    }
    return (int)v->as_int();
}

/* As Hugging Face's environment has it: not HTML-safe, characters kept. */
value filter_tojson(context &, const value &self, const call_args &args)
{
    dumps_options options;
    value ascii = args.get(0, "ensure_ascii"), indent = args.get(1, "indent");
    value separators = args.get(2, "separators"), sorted = args.get(3, "sort_keys");
    options.ensure_ascii = ascii != nullptr && ascii->as_bool();
    options.sort_keys = sorted != nullptr && sorted->as_bool();
    if (indent != nullptr && !indent->is_none()) {
        options.indent = whole_argument(indent, "indent", 0, 64);
        options.item_separator = ",";
    }
    if (separators != nullptr && is_val<value_array>(separators)) {
        const auto &two = separators->as_array();
        if (two.size() != 2 || !is_val<value_string>(two[0]) || !is_val<value_string>(two[1])) {
            fail_as_python("separators: two strings are wanted");
        }
        options.item_separator = two[0]->val_str.str();
        options.key_separator = two[1]->val_str.str();
    }
    bool outside = is_from_outside(self);
    return mk_val<value_string>(jinja::string(python_dumps(self, options), outside));
}

value filter_string(context &, const value &self, const call_args &)
{
    return mk_val<value_string>(python_str(self));
}

value global_range(const func_args &args)
{
    int64_t parts[3] = {0, 0, 1};
    size_t count = args.count();
    if (count < 1 || count > 3) {
        fail_as_python("range expected 1 to 3 arguments");
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_val<value_int>(args.get_pos(i)) && !is_val<value_bool>(args.get_pos(i))) {
            fail_as_python("range: whole numbers are wanted");
        }
        parts[count == 1 ? 1 : i] = args.get_pos(i)->as_int();
    }
    if (parts[2] == 0) {
        fail_as_python("range() arg 3 must not be zero");
    }
    auto list = mk_val<value_array>();
    for (int64_t i = parts[0]; parts[2] > 0 ? i < parts[1] : i > parts[1];) {
        jinja_step();
        jinja_charge(16);
        list->push_back(mk_val<value_int>(i));
        if (__builtin_add_overflow(i, parts[2], &i)) {
            break;
        }
    }
    return list;
}

std::string time_text(const std::string &format, int64_t seconds)
{
    std::time_t when = (std::time_t)seconds;
    std::tm local = {};
    if (localtime_r(&when, &local) == nullptr || format.size() > 128) {
        fail_as_python("strftime_now: the time cannot be written");
    }
    std::ostringstream out;
    out << std::put_time(&local, format.c_str());
    return out.str();
}

} // namespace

value call_args::get(size_t index, const char *name) const
{
    if (index < positional.size()) {
        return positional[index];
    }
    for (const auto &[key, v] : named) {
        if (key == name) {
            return v;
        }
    }
    return nullptr;
}

builtin find_filter(const std::string &name)
{
    static const std::map<std::string, builtin> filters = {
        {"tojson", filter_tojson},
        {"string", filter_string},
    };
    auto found = filters.find(name);
    return found != filters.end() ? found->second : nullptr;
}

builtin find_test(const std::string &name)
{
    (void)name;
    return nullptr;
}

builtin find_method(const value &self, const std::string &name)
{
    (void)self;
    (void)name;
    return nullptr;
}

void set_globals(context &context, int64_t seconds)
{
    context.set_val("range", mk_val<value_func>("range", global_range));
    context.set_val("strftime_now", mk_val<value_func>("strftime_now", [=](const func_args &args) {
                        if (args.count() != 1 || !is_val<value_string>(args.get_pos(0))) {
                            fail_as_python("strftime_now: one format is wanted");
                        }
                        std::string text = time_text(args.get_pos(0)->val_str.str(), seconds);
                        return (value)mk_val<value_string>(text);
                    }));
}

} // namespace dw
