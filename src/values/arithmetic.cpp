/* Python's operators on values, and its slices. */
#include <algorithm>
#include <cmath>

#include "values/values.h"

namespace dw
{

using namespace jinja;

namespace
{

[[noreturn]] void fail_operands(const std::string &op, const value &a, const value &b)
{
    if (a->is_undefined() || b->is_undefined()) {
        fail_undefined(a->is_undefined() ? a : b);
    }
    fail_as_python("unsupported operand type(s) for " + op + ": '" + type_name(a) + "' and '" +
                   type_name(b) + "'");
}

[[noreturn]] void fail_beyond(const std::string &op)
{
    fail_as_python("the result of " + op + " is beyond 64 bits");
}

/* Rounded down, as Python does. */
int64_t divided(int64_t a, int64_t b)
{
    int64_t quotient = a / b;
    return a % b != 0 && (a % b < 0) != (b < 0) ? quotient - 1 : quotient;
}

value whole_power(int64_t base, int64_t exponent)
{
    int64_t result = 1;
    if (exponent < 0) {
        if (base == 0) {
            fail_as_python("0.0 cannot be raised to a negative power");
        }
        return make_float(std::pow((double)base, (double)exponent));
    }
    if (base == 0 || base == 1 || base == -1) {
        return make_int(exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base);
    }
    for (; exponent > 0; exponent--) {
        if (__builtin_mul_overflow(result, base, &result)) {
            fail_beyond("**");
        }
    }
    return make_int(result);
}

value whole_arithmetic(const std::string &op, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool beyond = false;
    if (op == "**") {
        return whole_power(a, b);
    }
    if (op == "+") {
        beyond = __builtin_add_overflow(a, b, &result);
    } else if (op == "-") {
        beyond = __builtin_sub_overflow(a, b, &result);
    } else if (op == "*") {
        beyond = __builtin_mul_overflow(a, b, &result);
    } else if (b == 0) {
        fail_as_python(op == "/" ? "division by zero" : "integer division or modulo by zero");
    } else if (op == "/") {
        return make_float((double)a / (double)b);
    } else if (b == -1) {
        beyond = op == "//" && __builtin_sub_overflow((int64_t)0, a, &result);
    } else {
        result = op == "//" ? divided(a, b) : a - divided(a, b) * b;
    }
    if (beyond) {
        fail_beyond(op);
    }
    return make_int(result);
}

value real_arithmetic(const std::string &op, double a, double b)
{
    if ((op == "/" || op == "//" || op == "%") && b == 0) {
        fail_as_python(op == "/"    ? "float division by zero"
                       : op == "//" ? "float floor division by zero"
                                    : "float modulo");
    }
    if (op == "+" || op == "-" || op == "*" || op == "/") {
        return make_float(op == "+" ? a + b : op == "-" ? a - b : op == "*" ? a * b : a / b);
    }
    if (op == "**") {
        if ((a == 0 && b < 0) || (a < 0 && b != std::floor(b))) {
            fail_as_python(a == 0 ? "0.0 cannot be raised to a negative power"
                                  : "complex numbers are not supported");
        }
        return make_float(std::pow(a, b));
    }
    double rest = std::fmod(a, b);
    rest += rest != 0 && (rest < 0) != (b < 0) ? b : 0;
    return make_float(op == "%" ? (rest == 0 ? std::copysign(0.0, b) : rest)
                                : std::floor((a - rest) / b + 0.5));
}

value joined_lists(const value &a, const value &b)
{
    jinja_charge(16 * (a->val_arr.size() + b->val_arr.size()));
    std::vector<value> items = a->val_arr;
    items.insert(items.end(), b->val_arr.begin(), b->val_arr.end());
    return kind_of(a) == kind::list ? make_list(std::move(items)) : make_tuple(std::move(items));
}

value joined_texts(const value &a, const value &b)
{
    text_builder text;
    bool markup = is_markup(a) || is_markup(b);
    text.add(markup ? escape_text(a) : a);
    text.add(markup ? escape_text(b) : b);
    return text.done(markup);
}

value repeated(const value &of, int64_t count)
{
    uint64_t times = (uint64_t)std::max<int64_t>(count, 0);
    if (kind_of(of) == kind::text) {
        text_builder text;
        times = of->val_str.length() == 0 ? 0 : times;
        jinja_charge_product(of->val_str.length(), times);
        for (; times > 0; times--) {
            text.add(of);
        }
        return text.done(is_markup(of));
    }
    std::vector<value> items;
    times = of->val_arr.empty() ? 0 : times;
    jinja_charge_product(16 * of->val_arr.size(), times);
    for (; times > 0; times--) {
        items.insert(items.end(), of->val_arr.begin(), of->val_arr.end());
    }
    return kind_of(of) == kind::list ? make_list(std::move(items)) : make_tuple(std::move(items));
}

bool is_repeated(const value &v)
{
    return kind_of(v) == kind::text || is_listed(v);
}

/* Python's PySlice_AdjustIndices. */
struct slice_bounds {
    int64_t from, step, count;
};

slice_bounds bounds_of(const value parts[3], int64_t length)
{
    for (size_t i = 0; i < 3; i++) {
        if (!parts[i]->is_none() && !is_whole(parts[i])) {
            fail_as_python("slice indices must be integers or None or have an __index__ method");
        }
    }
    int64_t step = parts[2]->is_none() ? 1 : parts[2]->val_int;
    if (step == 0) {
        fail_as_python("slice step cannot be zero");
    }
    step = std::max(step, -INT64_MAX);
    auto adjusted = [&](const value &part, int64_t otherwise) {
        if (part->is_none()) {
            return otherwise;
        }
        int64_t at = part->val_int;
        at += at < 0 ? length : 0;
        return at < 0         ? (step < 0 ? (int64_t)-1 : (int64_t)0)
               : at >= length ? (step < 0 ? length - 1 : length)
                              : at;
    };
    int64_t from = adjusted(parts[0], step < 0 ? length - 1 : 0);
    int64_t to = adjusted(parts[1], step < 0 ? -1 : length);
    int64_t count = step < 0 ? (to < from ? (from - to - 1) / -step + 1 : 0)
                             : (from < to ? (to - from - 1) / step + 1 : 0);
    return {from, step, count};
}

value slice_of_text(const value &self, const value parts[3])
{
    flat_text text(self);
    int64_t length = (int64_t)count_characters(text.view);
    slice_bounds s = bounds_of(parts, length);
    if (s.step == 1) {
        size_t from = bytes_of_characters(text.view, (size_t)s.from);
        return text.cut(from, from + bytes_of_characters(text.view.substr(from), (size_t)s.count));
    }
    jinja_charge(8 * (uint64_t)length);
    std::vector<size_t> begins; /* of characters */
    for (size_t i = 0; i < text.view.size();) {
        begins.push_back(i);
        i += bytes_of_characters(text.view.substr(i, 8), 1);
    }
    begins.push_back(text.view.size());
    text_builder out;
    for (int64_t i = 0; i < s.count; i++) {
        auto at = (size_t)(s.from + i * s.step);
        if (at + 1 < begins.size()) {
            text.cut(out, begins[at], begins[at + 1]);
        }
    }
    return out.done(is_markup(self));
}

} // namespace

value python_slice(const value &self, const value parts[3])
{
    kind k = kind_of(self);
    if (k == kind::text) {
        return slice_of_text(self, parts);
    }
    bool range =
        k == kind::series && cast_val<value_series_t>(self)->is == value_series_t::form::range;
    if (!is_listed(self) && !range) {
        /* Jinja2 asks for an item, and there is none. */
        return make_missing(type_name(self) + " object has no element slice");
    }
    slice_bounds s = bounds_of(parts, (int64_t)self->val_arr.size());
    std::vector<value> items;
    jinja_charge(16 * (uint64_t)s.count);
    for (int64_t i = 0; i < s.count; i++) {
        items.push_back(self->val_arr[(size_t)(s.from + i * s.step)]);
    }
    return k == kind::tuple ? make_tuple(std::move(items)) : make_list(std::move(items));
}

value python_arithmetic(const std::string &op, const value &a, const value &b)
{
    if (is_number(a) && is_number(b)) {
        return is_whole(a) && is_whole(b) ? whole_arithmetic(op, a->val_int, b->val_int)
                                          : real_arithmetic(op, number_of(a), number_of(b));
    }
    kind left = kind_of(a), right = kind_of(b);
    if (op == "+" && left == kind::text && right == kind::text) {
        return joined_texts(a, b);
    }
    if (op == "+" && left == right && is_listed(a)) {
        return joined_lists(a, b);
    }
    if (op == "*" && is_repeated(a) && is_whole(b)) {
        return repeated(a, b->val_int);
    }
    if (op == "*" && is_whole(a) && is_repeated(b)) {
        return repeated(b, a->val_int);
    }
    if (op == "%" && left == kind::text && !b->is_undefined()) {
        return python_percent(a, b);
    }
    if (op == "+" && left == kind::text && !b->is_undefined()) {
        fail_as_python("can only concatenate str (not \"" + type_name(b) + "\") to str");
    }
    if (op == "+" && is_listed(a) && !b->is_undefined()) {
        fail_as_python("can only concatenate " + type_name(a) + " (not \"" + type_name(b) +
                       "\") to " + type_name(a));
    }
    fail_operands(op, a, b);
}

} // namespace dw
