/* Values as Python has them: their kinds, how they are written, compared and ordered. */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "values/values.h"

namespace dw
{

using namespace jinja;

/* ---- kinds ---------------------------------------------------------------------------------- */

/* By the names that the engine's classes and ours give themselves: their first letters differ. */
kind kind_of(const value &v)
{
    if (v->is_undefined()) {
        return kind::undefined;
    }
    std::string name = v->type();
    char second = name.size() > 1 ? name[1] : '\0';
    switch (name.empty() ? '\0' : name[0]) {
    case 'N':
        return second == 'o' ? kind::none : kind::space;
    case 'B':
        return kind::boolean;
    case 'I':
        return kind::integer;
    case 'F':
        return second == 'l' ? kind::real : kind::other;
    case 'S':
        return second == 't' ? kind::text : kind::series;
    case 'T':
        return second == 'e' ? kind::text : kind::tuple;
    case 'A':
        return kind::list;
    case 'O':
        return kind::dict;
    case 'C':
        return kind::callable;
    case 'L':
        return kind::loop;
    default:
        return kind::other;
    }
}

bool is_whole(const value &v)
{
    kind k = kind_of(v);
    return k == kind::integer || k == kind::boolean;
}

bool is_number(const value &v)
{
    return is_whole(v) || kind_of(v) == kind::real;
}

bool is_listed(const value &v)
{
    kind k = kind_of(v);
    return k == kind::list || k == kind::tuple;
}

double number_of(const value &v)
{
    return kind_of(v) == kind::real ? v->val_flt : (double)v->val_int;
}

static std::string series_name(const value &v)
{
    static const char *const names[] = {"dict_keys", "dict_values", "dict_items", "range",
                                        "generator"};
    return names[(int)cast_val<value_series_t>(v)->is];
}

std::string type_name(const value &v)
{
    switch (kind_of(v)) {
    case kind::undefined:
        return "Undefined";
    case kind::none:
        return "NoneType";
    case kind::boolean:
        return "bool";
    case kind::integer:
        return "int";
    case kind::real:
        return "float";
    case kind::text:
        return is_markup(v) ? "Markup" : "str";
    case kind::list:
        return "list";
    case kind::tuple:
        return "tuple";
    case kind::series:
        return series_name(v);
    case kind::dict:
        return "dict";
    case kind::space:
        return "Namespace";
    case kind::callable:
        return "function";
    case kind::loop:
        return "LoopContext";
    case kind::other:
        break;
    }
    return "object";
}

value make_bool(bool holds)
{
    static const value yes = mk_val<value_bool>(true), no = mk_val<value_bool>(false);
    return holds ? yes : no;
}

value make_none()
{
    static const value none = mk_val<value_none>();
    return none;
}

value make_int(int64_t number)
{
    jinja_charge(value_bytes);
    return mk_val<value_int>(number);
}

value make_float(double number)
{
    jinja_charge(value_bytes);
    auto made = mk_val<value_float>(0.0);
    /* The engine's own conversion is undefined beyond what 64 bits hold. */
    bool fits = number >= -9.2e18 && number <= 9.2e18;
    made->val_flt = number;
    made->val_int = fits ? (int64_t)number : 0;
    made->val = mk_val<value_int>(made->val_int);
    return made;
}

value make_missing(std::string why)
{
    jinja_charge(value_bytes);
    return mk_val<value_missing_t>(why);
}

/* How deep lists hold lists is kept where they have no use for a number. */
static int64_t depth_over(const std::vector<value> &items)
{
    int64_t depth = 0;
    for (const auto &item : items) {
        if (!item->val_arr.empty() || !item->val_obj.empty()) {
            kind k = kind_of(item);
            depth = std::max(depth, k == kind::space || k == kind::loop ? 0 : item->val_int);
        }
    }
    if (depth >= value_depth_max) {
        throw limit_reached("lists within each other, more than " +
                            std::to_string(value_depth_max) + " deep");
    }
    return depth + 1;
}

value make_list(std::vector<value> items)
{
    jinja_charge(value_bytes + 16 * items.size());
    auto made = mk_val<value_array>();
    made->val_int = depth_over(items);
    made->val_arr = std::move(items);
    return made;
}

value make_tuple(std::vector<value> items)
{
    jinja_charge(value_bytes + 16 * items.size());
    auto made = mk_val<value_tuple>(std::vector<value>());
    made->val_int = depth_over(items);
    made->val_arr = std::move(items);
    return made;
}

value make_series(value_series_t::form form, std::vector<value> items, std::string written)
{
    jinja_charge(value_bytes + 16 * items.size());
    int64_t depth = depth_over(items);
    auto made = std::make_shared<value_series_t>(form, std::move(items), std::move(written));
    made->val_int = depth;
    return made;
}

value make_dict()
{
    jinja_charge(value_bytes);
    auto made = mk_val<value_object>();
    made->val_int = 1;
    return made;
}

/* Keys that are equal in Python are equal to the engine. */
static value key_of(const value &key)
{
    kind k = kind_of(key);
    if (k == kind::text && is_markup(key)) {
        return make_text(key->val_str, false);
    }
    bool hashable = k == kind::text || k == kind::integer || k == kind::boolean ||
                    k == kind::real || k == kind::none || (k == kind::tuple && key->is_hashable());
    if (!hashable) {
        fail_as_python("unhashable type: '" + type_name(key) + "'");
    }
    return key;
}

void dict_set(const value &dict, const value &key, const value &item)
{
    jinja_charge(2 * value_bytes);
    if (kind_of(dict) == kind::dict) {
        dict->val_int = std::max(dict->val_int, depth_over({item}));
    }
    auto *object = static_cast<value_object_t *>(dict.get());
    value plain = key_of(key);
    auto found = object->unordered.find(plain);
    if (found != object->unordered.end()) {
        found->second = item;
        jinja_work(object->val_obj.size() * 8);
        for (auto &pair : object->val_obj) {
            if (*pair.first == *plain) {
                pair.second = item;
                return;
            }
        }
    }
    object->unordered.emplace(plain, item);
    object->val_obj.emplace_back(plain, item);
}

const value *dict_get(const value &dict, const value &key)
{
    const auto *object = static_cast<const value_object_t *>(dict.get());
    auto found = object->unordered.find(key_of(key));
    return found != object->unordered.end() ? &found->second : nullptr;
}

bool is_true(const value &v)
{
    switch (kind_of(v)) {
    case kind::undefined:
    case kind::none:
        return false;
    case kind::boolean:
    case kind::integer:
        return v->val_int != 0;
    case kind::real:
        return v->val_flt != 0.0;
    case kind::text:
        return std::any_of(v->val_str.parts.begin(), v->val_str.parts.end(),
                           [](const string_part &part) { return !part.val.empty(); });
    case kind::list:
    case kind::tuple:
        return !v->val_arr.empty();
    case kind::series:
        return cast_val<value_series_t>(v)->is == value_series_t::form::generator ||
               !v->val_arr.empty();
    case kind::dict:
        return !v->val_obj.empty();
    default:
        return true;
    }
}

void fail_as_python(const std::string &message)
{
    throw raised_exception(message);
}

void fail_undefined(const value &v)
{
    const auto *missing = dynamic_cast<const value_undefined_t *>(v.get());
    fail_as_python(missing != nullptr && !missing->hint.empty() ? missing->hint
                                                                : "a value is undefined");
}

/* ---- how they are written ------------------------------------------------------------------- */

static std::string escaped(uint32_t code)
{
    char text[16];
    int digits = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
    char letter = digits == 2 ? 'x' : digits == 4 ? 'u' : 'U';
    (void)std::snprintf(text, sizeof text, "\\%c%0*x", letter, digits, code);
    return text;
}

static void repr_of_text(std::string &out, std::string_view text)
{
    bool doubled = text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
    char quote = doubled ? '"' : '\'';
    jinja_work(4 * text.size());
    out += quote;
    for (size_t i = 0; i < text.size();) {
        character c = character_at(text, i);
        if (c.code == (unsigned char)quote || c.code == '\\') {
            out += '\\';
            out += (char)c.code;
        } else if (c.code == '\n' || c.code == '\r' || c.code == '\t') {
            out += c.code == '\n' ? "\\n" : c.code == '\r' ? "\\r" : "\\t";
        } else if (c.code != 0xfffd && !is_printable(c.code)) {
            out += escaped(c.code);
        } else {
            out.append(text.substr(i, c.bytes));
        }
        i += c.bytes;
    }
    out += quote;
}

static void repr_into(std::string &out, const value &v);

static void repr_items(std::string &out, const std::vector<value> &items)
{
    for (size_t i = 0; i < items.size(); i++) {
        out += i > 0 ? ", " : "";
        repr_into(out, items[i]);
    }
}

static void repr_of_series(std::string &out, const value &v)
{
    const auto *series = cast_val<value_series_t>(v);
    if (series->is == value_series_t::form::range ||
        series->is == value_series_t::form::generator) {
        out += series->name;
        return;
    }
    out += series_name(v) + "([";
    repr_items(out, v->val_arr);
    out += "])";
}

static void repr_of_dict(std::string &out, const value &v)
{
    bool first = true;
    out += '{';
    for (const auto &[key, item] : v->val_obj) {
        out += first ? "" : ", ";
        repr_into(out, key);
        out += ": ";
        repr_into(out, item);
        first = false;
    }
    out += '}';
}

static void repr_of_callable(std::string &out, const value &v)
{
    const auto *callable = dynamic_cast<const value_callable_t *>(v.get());
    out += callable != nullptr ? callable->written() : "<function>";
}

static void repr_into(std::string &out, const value &v)
{
    jinja_step();
    size_t before = out.size();
    switch (kind_of(v)) {
    case kind::undefined:
        out += "Undefined";
        break;
    case kind::none:
        out += "None";
        break;
    case kind::boolean:
        out += v->val_int != 0 ? "True" : "False";
        break;
    case kind::integer:
        out += std::to_string(v->val_int);
        break;
    case kind::real:
        out += python_float(v->val_flt);
        break;
    case kind::text: {
        flat_text text(v);
        out += is_markup(v) ? "Markup(" : "";
        repr_of_text(out, text.view);
        out += is_markup(v) ? ")" : "";
        break;
    }
    case kind::list:
        out += '[';
        repr_items(out, v->val_arr);
        out += ']';
        break;
    case kind::tuple:
        out += '(';
        repr_items(out, v->val_arr);
        out += v->val_arr.size() == 1 ? ",)" : ")";
        break;
    case kind::series:
        repr_of_series(out, v);
        break;
    case kind::dict:
        repr_of_dict(out, v);
        break;
    case kind::space:
        out += "<Namespace ";
        repr_of_dict(out, v);
        out += '>';
        break;
    case kind::loop:
        out += "<LoopContext>";
        break;
    default:
        repr_of_callable(out, v);
    }
    if (v->val_arr.empty() && v->val_obj.empty()) {
        jinja_grow(before, out.size() - before);
    }
}

std::string python_repr(const value &v)
{
    std::string out;
    repr_into(out, v);
    return out;
}

jinja::string python_str(const value &v)
{
    kind k = kind_of(v);
    if (k == kind::text) {
        return v->val_str;
    }
    if (k == kind::undefined) {
        return {};
    }
    bool may_hold = k != kind::none && k != kind::boolean && k != kind::integer && k != kind::real;
    return jinja::string(python_repr(v), may_hold && is_from_outside(v));
}

value text_of(const value &v)
{
    return kind_of(v) == kind::text ? v : make_text(python_str(v), false);
}

void add_str(text_builder &out, const value &v)
{
    if (kind_of(v) == kind::text) {
        out.add(v);
    } else {
        out.add(python_str(v));
    }
}

std::string python_float(double number)
{
    if (std::isnan(number)) {
        return "nan";
    }
    if (std::isinf(number)) {
        return number > 0 ? "inf" : "-inf";
    }
    char digits[32];
    int precision = 1;
    do {
        (void)std::snprintf(digits, sizeof digits, "%.*e", precision - 1, number);
    } while (std::strtod(digits, nullptr) != number && ++precision <= 17);
    int exponent = (int)std::strtol(std::strchr(digits, 'e') + 1, nullptr, 10);
    char text[64];
    if (exponent >= -4 && exponent < 16) {
        int decimals = std::max(precision - 1 - exponent, 1);
        (void)std::snprintf(text, sizeof text, "%.*f", decimals, number);
        return text;
    }
    (void)std::snprintf(text, sizeof text, "%.*e", precision - 1, number);
    return text;
}

value escape_text(const value &v)
{
    if (kind_of(v) == kind::text && is_markup(v)) {
        return v;
    }
    static const std::pair<char, const char *> entities[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    text_builder out;
    for (const auto &part : python_str(v).parts) {
        std::string_view text = part.val;
        size_t from = 0;
        for (size_t i = 0; i < text.size(); i++) {
            for (const auto &[sign, written] : entities) {
                if (text[i] == sign) {
                    out.add(text.substr(from, i - from), part.is_input);
                    out.add(written, part.is_input);
                    from = i + 1;
                }
            }
        }
        out.add(text.substr(from), part.is_input);
    }
    return out.done(true);
}

/* ---- marks ---------------------------------------------------------------------------------- */

bool is_from_outside(const value &v)
{
    jinja_step();
    if (!v->val_str.parts.empty()) {
        const auto &parts = v->val_str.parts;
        return std::any_of(parts.begin(), parts.end(),
                           [](const string_part &part) { return part.is_input; });
    }
    if (!v->val_arr.empty()) {
        return std::any_of(v->val_arr.begin(), v->val_arr.end(), is_from_outside);
    }
    return std::any_of(v->val_obj.begin(), v->val_obj.end(), [](const auto &pair) {
        return is_from_outside(pair.first) || is_from_outside(pair.second);
    });
}

/* ---- equality and order --------------------------------------------------------------------- */

static bool lists_equal(const value &a, const value &b)
{
    return a->val_arr.size() == b->val_arr.size() &&
           std::equal(a->val_arr.begin(), a->val_arr.end(), b->val_arr.begin(), python_equal);
}

static bool dicts_equal(const value &a, const value &b)
{
    if (a->val_obj.size() != b->val_obj.size()) {
        return false;
    }
    return std::all_of(a->val_obj.begin(), a->val_obj.end(), [&](const auto &pair) {
        const value *other = dict_get(b, pair.first);
        return other != nullptr && python_equal(pair.second, *other);
    });
}

static int order_of_numbers(const value &a, const value &b)
{
    if (is_whole(a) && is_whole(b)) {
        return a->val_int < b->val_int ? -1 : a->val_int > b->val_int ? 1 : 0;
    }
    double left = number_of(a), right = number_of(b);
    return left < right ? -1 : left > right ? 1 : left == right ? 0 : 2;
}

static int order_of_texts(const value &a, const value &b)
{
    flat_text left(a), right(b);
    jinja_work(std::min(left.view.size(), right.view.size()));
    int order = left.view.compare(right.view); /* UTF-8 has the order of its characters */
    return order < 0 ? -1 : order > 0 ? 1 : 0;
}

static bool texts_equal(const value &a, const value &b)
{
    return a->val_str.length() == b->val_str.length() && order_of_texts(a, b) == 0;
}

bool python_equal(const value &a, const value &b)
{
    jinja_step();
    if (a == b) {
        return true;
    }
    kind left = kind_of(a), right = kind_of(b);
    if (is_number(a) && is_number(b)) {
        return order_of_numbers(a, b) == 0;
    }
    if (left != right) {
        return false;
    }
    switch (left) {
    case kind::undefined:
    case kind::none:
        return true;
    case kind::text:
        return texts_equal(a, b);
    case kind::list:
    case kind::tuple:
        return lists_equal(a, b);
    case kind::series:
        return cast_val<value_series_t>(a)->is != value_series_t::form::generator &&
               cast_val<value_series_t>(a)->is == cast_val<value_series_t>(b)->is &&
               lists_equal(a, b);
    case kind::dict:
        return dicts_equal(a, b);
    default:
        return false;
    }
}

int python_order(const value &a, const value &b, const char *op)
{
    jinja_step();
    kind left = kind_of(a), right = kind_of(b);
    if (left == kind::undefined || right == kind::undefined) {
        fail_undefined(left == kind::undefined ? a : b);
    }
    if (is_number(a) && is_number(b)) {
        return order_of_numbers(a, b);
    }
    if (left == kind::text && right == kind::text) {
        return order_of_texts(a, b);
    }
    if (left != right || !is_listed(a)) {
        fail_as_python("'" + std::string(op) + "' not supported between instances of '" +
                       type_name(a) + "' and '" + type_name(b) + "'");
    }
    for (size_t i = 0; i < a->val_arr.size() && i < b->val_arr.size(); i++) {
        if (!python_equal(a->val_arr[i], b->val_arr[i])) {
            return python_order(a->val_arr[i], b->val_arr[i], op);
        }
    }
    return a->val_arr.size() < b->val_arr.size()   ? -1
           : a->val_arr.size() > b->val_arr.size() ? 1
                                                   : 0;
}

bool python_contains(const value &container, const value &item)
{
    switch (kind_of(container)) {
    case kind::undefined:
        return false;
    case kind::text: {
        if (item->is_undefined()) {
            fail_undefined(item);
        }
        if (kind_of(item) != kind::text) {
            fail_as_python("'in <string>' requires string as left operand, not " + type_name(item));
        }
        flat_text text(container), what(item);
        return find_text(text.view, what.view) != std::string_view::npos;
    }
    case kind::list:
    case kind::tuple:
    case kind::series:
        return std::any_of(container->val_arr.begin(), container->val_arr.end(),
                           [&](const value &one) { return python_equal(one, item); });
    case kind::dict:
        return !item->is_undefined() && dict_get(container, item) != nullptr;
    default:
        fail_as_python("argument of type '" + type_name(container) + "' is not iterable");
    }
}

} // namespace dw
