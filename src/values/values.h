/* Values of templates, as Python has them (C++): those of llama.cpp's Jinja engine, which its code
 * for chats makes and looks at, and what Python has besides. Text from outside stays marked. */
#ifndef DW_VALUES_VALUES_H
#define DW_VALUES_VALUES_H

#include <jinja/value.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "values/bounds.h"
#include "values/text.h"

namespace dw
{

/* What a value takes beside its text. */
constexpr uint64_t value_bytes = 192;
/* Lists within lists; what walks values recurses so deep. */
constexpr int64_t value_depth_max = 1000;

class run;

enum class kind {
    undefined,
    none,
    boolean,
    integer,
    real,
    text,
    list,
    tuple,
    series, /* what Python has beside lists: dict's views, ranges, generators */
    dict,
    space, /* namespace() */
    callable,
    loop,
    other,
};
kind kind_of(const jinja::value &v);
bool is_number(const jinja::value &v); /* a boolean too */
bool is_whole(const jinja::value &v);  /* a boolean too */
bool is_listed(const jinja::value &v); /* a list or a tuple */
/* As Python names its type. */
std::string type_name(const jinja::value &v);

/* Text that is escaped already. */
struct value_markup_t : jinja::value_string_t {
    std::string type() const override
    {
        return "Text";
    }
};

/* Nothing, and why. */
struct value_missing_t : jinja::value_undefined_t {
    using jinja::value_undefined_t::value_undefined_t;
    std::string type() const override
    {
        return "Undefined";
    }
};

struct value_series_t : jinja::value_array_t {
    enum class form { keys, values, items, range, generator };
    form is;
    std::string name;  /* what it is written as, where not as its items */
    bool used = false; /* a generator gives its items once */

    value_series_t(form what, std::vector<jinja::value> items, std::string written = "")
        : value_array_t(std::move(items)), is(what), name(std::move(written))
    {
    }
    std::string type() const override
    {
        return "Series";
    }
};

struct value_space_t : jinja::value_object_t {
    std::string type() const override
    {
        return "Namespace";
    }
};

struct call_args {
    std::vector<jinja::value> positional;
    std::vector<std::pair<std::string, jinja::value>> named;
};

/* Something that is called: a function, a method of a value, a macro. */
struct value_callable_t : jinja::value_t {
    std::string name;

    explicit value_callable_t(std::string called) : name(std::move(called))
    {
    }
    virtual jinja::value call(run &r, const call_args &args) = 0;
    /* Undefined: it has no such attribute. */
    virtual jinja::value attribute(run &r, const std::string &what);
    virtual std::string written() const
    {
        return name;
    }
    std::string type() const override
    {
        return "Callable";
    }
    bool as_bool() const override
    {
        return true;
    }
    jinja::hasher unique_hash() const noexcept override
    {
        return jinja::hasher(typeid(*this));
    }

  protected:
    bool equivalent(const jinja::value_t &other) const override
    {
        return this == &other;
    }
};

jinja::value make_bool(bool holds);
jinja::value make_int(int64_t number);
jinja::value make_float(double number);
jinja::value make_none();
/* why: what using it says. */
jinja::value make_missing(std::string why);
/* Their depth is bounded. */
jinja::value make_list(std::vector<jinja::value> items);
jinja::value make_tuple(std::vector<jinja::value> items);
jinja::value make_series(value_series_t::form form, std::vector<jinja::value> items,
                         std::string written = "");
jinja::value make_dict();
/* Throws where the key is none. */
void dict_set(const jinja::value &dict, const jinja::value &key, const jinja::value &item);
/* nullptr: it has none. */
const jinja::value *dict_get(const jinja::value &dict, const jinja::value &key);

bool is_true(const jinja::value &v);
/* str(value), repr(value). Strings that came in from outside stay marked. */
jinja::string python_str(const jinja::value &value);
jinja::value text_of(const jinja::value &value); /* str(), where it is no text */
std::string python_repr(const jinja::value &value);
void add_str(text_builder &out, const jinja::value &value);
/* json.dumps(value, ensure_ascii, indent, separators, sort_keys). */
struct dumps_options {
    bool ensure_ascii = false;
    bool sort_keys = false;
    bool has_indent = false;
    std::string indent;
    std::string item_separator = ", ";
    std::string key_separator = ": ";
};
std::string python_dumps(const jinja::value &value, const dumps_options &options);
std::string python_float(double number);
double number_of(const jinja::value &v);
/* Whether it is, or holds, text that came in from outside. */
bool is_from_outside(const jinja::value &value);
bool python_equal(const jinja::value &a, const jinja::value &b);
/* -1, 0, 1; 2: neither (a NaN). Throws where Python has no order; `op` is in the message. */
int python_order(const jinja::value &a, const jinja::value &b, const char *op = "<");
bool python_contains(const jinja::value &container, const jinja::value &item);
[[noreturn]] void fail_as_python(const std::string &message);
/* Using an undefined value, as Jinja2's Undefined has it. */
[[noreturn]] void fail_undefined(const jinja::value &v);
/* '&', '<', '>', quotes written for HTML. Markup stays. */
jinja::value escape_text(const jinja::value &v);

/* text % values. */
jinja::value python_percent(const jinja::value &text, const jinja::value &values);
/* What {0.name[key]} finds; undefined where there is none. */
class member_finder
{
  public:
    virtual jinja::value attribute(const jinja::value &self, const jinja::value &name) = 0;
    virtual jinja::value item(const jinja::value &self, const jinja::value &key) = 0;

  protected:
    ~member_finder() = default;
};
/* text.format(...) */
jinja::value python_format(member_finder &finder, const jinja::value &text, const call_args &args);
/* a op b for + - * / // % **. */
jinja::value python_arithmetic(const std::string &op, const jinja::value &a, const jinja::value &b);
/* value[from:to:step], nullptr or none where left out. */
jinja::value python_slice(const jinja::value &self, const jinja::value parts[3]);

} // namespace dw

#endif
