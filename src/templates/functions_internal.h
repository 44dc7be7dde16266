/* Filters, tests, methods and globals (C++). */
#ifndef DW_TEMPLATES_FUNCTIONS_INTERNAL_H
#define DW_TEMPLATES_FUNCTIONS_INTERNAL_H

#include <initializer_list>
#include <string>
#include <vector>

#include "values/values.h"

namespace dw
{

/* A function's arguments by its parameters' names; throws where they do not fit. */
class params
{
  public:
    params(const char *function, const call_args &args, std::initializer_list<const char *> names,
           size_t required = 0);
    /* nullptr: not given. */
    const jinja::value &operator[](size_t i) const
    {
        return values[i];
    }
    bool flag(size_t i, bool otherwise = false) const;
    int64_t whole(size_t i, int64_t otherwise) const;
    /* Text, given as such. */
    std::string text(size_t i, const std::string &otherwise) const;
    bool given(size_t i) const
    {
        return values[i] != nullptr && !values[i]->is_none();
    }

  private:
    const char *function;
    std::vector<const char *> names;
    std::vector<jinja::value> values;
};

/* self is the filter's subject, the test's, or the method's object. */
using builtin = jinja::value (*)(run &r, const jinja::value &self, const call_args &args);

struct named_builtin {
    const char *name;
    builtin function;
};

builtin find_in(const named_builtin *table, size_t count, const std::string &name);
/* nullptr: there is none. */
builtin find_filter(const std::string &name);
builtin find_list_filter(const std::string &name);
builtin find_test(const std::string &name);
/* nullptr: a value of this kind has none. Those that change values are refused when called. */
builtin find_method(const jinja::value &self, const std::string &name);
builtin find_text_method(const std::string &name);
/* nullptr: there is none. */
jinja::value find_global(const std::string &name);
jinja::value make_function(const char *name, builtin function);
jinja::value make_method(std::string name, builtin function, const jinja::value &self);

} // namespace dw

#endif
