/* What stands between llama.cpp's Jinja engine and templates (C++): programs that are bounded, and
 * that behave as Jinja2 does where the engine does otherwise. */
#ifndef DW_CHAT_JINJA_INTERNAL_H
#define DW_CHAT_JINJA_INTERNAL_H

#include <jinja/parser.h>
#include <jinja/runtime.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dw
{

/* ---- bounds: jinja_bounds.cpp --------------------------------------------------------------- */

/* What one use of the engine may take. A use that goes beyond throws limit_reached. */
struct jinja_limits {
    uint64_t steps = 20u << 20;       /* nodes executed */
    uint64_t bytes = 2048ull << 20;   /* of all values made, one after another */
    uint64_t value_bytes = 64u << 20; /* of one value */
    uint64_t milliseconds = 5000;     /* monotonic */
    size_t stack_bytes = 0;           /* that the thread has below the scope */
};

struct limit_reached : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* Bounds what this thread does with the engine until the scope ends. */
class jinja_scope
{
  public:
    explicit jinja_scope(const jinja_limits &limits);
    ~jinja_scope();
    jinja_scope(const jinja_scope &) = delete;
    jinja_scope &operator=(const jinja_scope &) = delete;

  private:
    void *outer;
    void *state;
};

/* One node executed. */
void jinja_step();
/* A value of `bytes` was made, or will be. */
void jinja_charge(uint64_t bytes);
/* Before a call that makes up to `one` x `other` bytes. */
void jinja_charge_product(uint64_t one, uint64_t other);
/* Bytes of the text in it and in what it directly holds, 8 for other values. */
uint64_t jinja_bytes_of(const jinja::value &value);

/* ---- values as Python has them: jinja_values.cpp -------------------------------------------- */

/* str(value), repr(value). Strings that came in from outside stay marked. */
jinja::string python_str(const jinja::value &value);
jinja::string python_repr(const jinja::value &value);
/* json.dumps(value, ensure_ascii, indent, separators, sort_keys). indent < 0: None. */
struct dumps_options {
    bool ensure_ascii = false;
    bool sort_keys = false;
    int indent = -1;
    std::string item_separator = ", ";
    std::string key_separator = ": ";
};
std::string python_dumps(const jinja::value &value, const dumps_options &options);
std::string python_float(double number);
/* Whether it is, or holds, text that came in from outside. */
bool is_from_outside(const jinja::value &value);
/* The same text with every part marked as from outside, in strings and in lists of them. */
jinja::value mark_as_outside(const jinja::value &value);
/* a == b; item in container (a string, a list, an object). */
bool python_equal(const jinja::value &a, const jinja::value &b);
bool python_contains(const jinja::value &container, const jinja::value &item);
/* text % values */
jinja::value python_format(const jinja::value &text, const jinja::value &values);
[[noreturn]] void fail_as_python(const std::string &message);

/* ---- functions: jinja_builtins.cpp ---------------------------------------------------------- */

struct call_args {
    std::vector<jinja::value> positional;
    std::vector<std::pair<std::string, jinja::value>> named;
    /* The argument at `index`, or named so; nullptr: not given. */
    jinja::value get(size_t index, const char *name) const;
};

using builtin = jinja::value (*)(jinja::context &, const jinja::value &self, const call_args &);

/* Ours in place of the engine's; nullptr: the engine's. */
builtin find_filter(const std::string &name);
builtin find_test(const std::string &name);
builtin find_method(const jinja::value &self, const std::string &name);
/* `range`, `strftime_now` (by `seconds` since 1970, local time), `raise_exception` and so on. */
void set_globals(jinja::context &context, int64_t seconds);

} // namespace dw

#endif
