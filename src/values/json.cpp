/* json.dumps, as Hugging Face's filter `tojson` calls it. */
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "values/values.h"

namespace dw
{
namespace
{

using namespace jinja;

void append_unit(std::string &out, uint32_t code)
{
    char unit[16];
    (void)std::snprintf(unit, sizeof unit, "\\u%04x", code);
    out += unit;
}

void append_json_text(std::string &out, std::string_view text, bool ensure_ascii)
{
    static const char plain[] = "\"\\\n\r\t\b\f";
    static const char letters[] = "\"\\nrtbf";
    jinja_work(4 * text.size());
    out += '"';
    for (size_t i = 0; i < text.size();) {
        character c = character_at(text, i);
        const char *found = c.code != 0 && c.code < 0x80
                                ? std::char_traits<char>::find(plain, 7, (char)c.code)
                                : nullptr;
        if (found != nullptr) {
            out += '\\';
            out += letters[found - plain];
        } else if (c.code < 0x20 || (ensure_ascii && c.code > 0x7f && c.code < 0x10000)) {
            append_unit(out, c.code);
        } else if (ensure_ascii && c.code >= 0x10000) {
            append_unit(out, 0xd800 + ((c.code - 0x10000) >> 10));
            append_unit(out, 0xdc00 + ((c.code - 0x10000) & 0x3ff));
        } else {
            out.append(text.substr(i, c.bytes));
        }
        i += c.bytes;
    }
    out += '"';
}

struct dumper {
    const dumps_options &options;
    std::string out;

    void new_line(size_t depth)
    {
        if (options.has_indent) {
            jinja_grow(out.size(), options.indent.size() * depth + 1);
            out += '\n';
            for (size_t i = 0; i < depth; i++) {
                out += options.indent;
            }
        }
    }

    void list(const value &v, size_t depth)
    {
        out += '[';
        for (size_t i = 0; i < v->val_arr.size(); i++) {
            out += i > 0 ? options.item_separator : "";
            new_line(depth + 1);
            dump(v->val_arr[i], depth + 1);
        }
        if (!v->val_arr.empty()) {
            new_line(depth);
        }
        out += ']';
    }

    static std::string key_text(const value &key)
    {
        switch (kind_of(key)) {
        case kind::text:
            return key->val_str.str();
        case kind::boolean:
            return key->val_int != 0 ? "true" : "false";
        case kind::none:
            return "null";
        case kind::integer:
        case kind::real:
            return python_repr(key);
        default:
            fail_as_python("keys must be str, int, float, bool or None, not " + type_name(key));
        }
    }

    void dict(const value &v, size_t depth)
    {
        auto items = v->val_obj;
        if (options.sort_keys) {
            std::stable_sort(items.begin(), items.end(), [](const auto &a, const auto &b) {
                return python_order(a.first, b.first) == -1;
            });
        }
        out += '{';
        for (size_t i = 0; i < items.size(); i++) {
            out += i > 0 ? options.item_separator : "";
            new_line(depth + 1);
            append_json_text(out, key_text(items[i].first), options.ensure_ascii);
            out += options.key_separator;
            dump(items[i].second, depth + 1);
        }
        if (!items.empty()) {
            new_line(depth);
        }
        out += '}';
    }

    void number(double n)
    {
        out += std::isnan(n)   ? "NaN"
               : std::isinf(n) ? (n > 0 ? "Infinity" : "-Infinity")
                               : python_float(n);
    }

    void dump(const value &v, size_t depth)
    {
        jinja_step();
        size_t before = out.size();
        switch (kind_of(v)) {
        case kind::none:
            out += "null";
            break;
        case kind::boolean:
            out += v->val_int != 0 ? "true" : "false";
            break;
        case kind::integer:
            out += std::to_string(v->val_int);
            break;
        case kind::real:
            number(v->val_flt);
            break;
        case kind::text:
            append_json_text(out, flat_text(v).view, options.ensure_ascii);
            break;
        case kind::list:
        case kind::tuple:
            list(v, depth);
            return;
        case kind::dict:
            dict(v, depth);
            return;
        default:
            fail_as_python("Object of type " + type_name(v) + " is not JSON serializable");
        }
        jinja_grow(before, out.size() - before);
    }
};

} // namespace

std::string python_dumps(const value &v, const dumps_options &options)
{
    dumper d{options, ""};
    d.dump(v, 0);
    jinja_charge(d.out.size());
    return std::move(d.out);
}

} // namespace dw
