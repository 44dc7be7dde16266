/* Filters of lists, dicts and what else is gone over. */
#include <algorithm>

#include "templates/run_internal.h"

namespace dw
{

using namespace jinja;

namespace
{

value generator(std::vector<value> items, const char *name)
{
    return make_series(value_series_t::form::generator, std::move(items),
                       "<generator object " + std::string(name) + ">");
}

/* `a.b.0`, or a number: what is asked of each item. */
class getter
{
  public:
    getter(run &of, const value &path, value instead = nullptr)
        : r(of), otherwise(std::move(instead))
    {
        if (path == nullptr || path->is_none()) {
            return;
        }
        if (kind_of(path) != kind::text) {
            parts.push_back(path);
            return;
        }
        std::string text = path->val_str.str();
        for (size_t from = 0; from <= text.size();) {
            size_t end = std::min(text.find('.', from), text.size());
            std::string part = text.substr(from, end - from);
            bool number = !part.empty() && part.size() < 18 &&
                          part.find_first_not_of("0123456789") == std::string::npos;
            parts.push_back(number ? make_int(std::stoll(part)) : make_text(part));
            from = end + 1;
        }
    }

    value operator()(value item) const
    {
        for (const auto &part : parts) {
            item = r.item(item, part);
            if (otherwise != nullptr && item->is_undefined()) {
                item = otherwise;
            }
        }
        return item;
    }

  private:
    run &r;
    value otherwise;
    std::vector<value> parts;
};

value lowered(const value &v)
{
    return kind_of(v) == kind::text ? make_text(lower_text(flat_text(v).view)) : v;
}

/* What items are ordered by: `a,b` asks for several. */
class sort_key
{
  public:
    sort_key(run &r, const value &attribute, bool case_sensitive) : keeps_case(case_sensitive)
    {
        if (attribute == nullptr || kind_of(attribute) != kind::text) {
            getters.emplace_back(r, attribute);
            return;
        }
        std::string text = attribute->val_str.str();
        for (size_t from = 0; from <= text.size();) {
            size_t end = std::min(text.find(',', from), text.size());
            getters.emplace_back(r, make_text(text.substr(from, end - from)));
            from = end + 1;
        }
    }

    value operator()(const value &item) const
    {
        std::vector<value> keys;
        for (const auto &get : getters) {
            value key = get(item);
            keys.push_back(keeps_case ? key : lowered(key));
        }
        return keys.size() == 1 ? keys[0] : make_list(std::move(keys));
    }

  private:
    std::vector<getter> getters;
    bool keeps_case;
};

/* Undefined goes over nothing; a number is an error. */
std::vector<value> sorted(run &r, const value &self, const sort_key &key, bool reverse)
{
    std::vector<std::pair<value, value>> keyed;
    for (auto &one : r.iterate(self)) {
        keyed.emplace_back(key(one), one);
    }
    std::stable_sort(keyed.begin(), keyed.end(), [&](const auto &a, const auto &b) {
        return reverse ? python_order(b.first, a.first) == -1
                       : python_order(a.first, b.first) == -1;
    });
    std::vector<value> items;
    for (auto &pair : keyed) {
        items.push_back(pair.second);
    }
    return items;
}

value filter_sort(run &r, const value &self, const call_args &args)
{
    params p("sort", args, {"reverse", "case_sensitive", "attribute"});
    return make_list(sorted(r, self, sort_key(r, p[2], p.flag(1)), p.flag(0)));
}

value filter_dictsort(run &r, const value &self, const call_args &args)
{
    params p("dictsort", args, {"case_sensitive", "by", "reverse"});
    std::string by = p.text(1, "key");
    if (by != "key" && by != "value") {
        fail_as_python("You can only sort by either \"key\" or \"value\"");
    }
    if (self->is_undefined()) {
        fail_undefined(self);
    }
    if (kind_of(self) != kind::dict) {
        fail_as_python("'" + type_name(self) + " object' has no attribute 'items'");
    }
    value pairs = find_method(self, "items")(r, self, {});
    return make_list(
        sorted(r, pairs, sort_key(r, make_int(by == "key" ? 0 : 1), p.flag(0)), p.flag(2)));
}

value filter_unique(run &r, const value &self, const call_args &args)
{
    params p("unique", args, {"case_sensitive", "attribute"});
    getter get(r, p[1]);
    value seen = make_dict();
    std::vector<value> items;
    for (const auto &one : r.iterate(self)) {
        value key = p.flag(0) ? get(one) : lowered(get(one));
        if (dict_get(seen, key) == nullptr) {
            dict_set(seen, key, make_none());
            items.push_back(one);
        }
    }
    return generator(std::move(items), "do_unique");
}

value filter_groupby(run &r, const value &self, const call_args &args)
{
    params p("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
    getter get(r, p[0], p[1]);
    bool keeps_case = p.flag(2);
    std::vector<std::pair<value, value>> keyed;
    for (const auto &one : r.iterate(self)) {
        value key = get(one);
        keyed.emplace_back(keeps_case ? key : lowered(key), one);
    }
    std::stable_sort(keyed.begin(), keyed.end(), [](const auto &a, const auto &b) {
        return python_order(a.first, b.first) == -1;
    });
    std::vector<value> groups;
    for (size_t i = 0; i < keyed.size();) {
        std::vector<value> members;
        size_t first = i;
        for (; i < keyed.size() && python_equal(keyed[i].first, keyed[first].first); i++) {
            members.push_back(keyed[i].second);
        }
        i += i == first ? 1 : 0; /* what is not equal to itself */
        groups.push_back(make_tuple({get(keyed[first].second), make_list(std::move(members))}));
    }
    return make_list(std::move(groups));
}

/* ---- of one: some, or what of it ---- */

value filter_map(run &r, const value &self, const call_args &args)
{
    std::vector<value> items;
    if (!is_true(self)) {
        return generator({}, "sync_do_map");
    }
    if (args.positional.empty()) {
        params p("map", args, {"attribute", "default"}, 1);
        getter get(r, p[0], p[1]);
        for (const auto &one : r.iterate(self)) {
            items.push_back(get(one));
        }
        return generator(std::move(items), "sync_do_map");
    }
    call_args rest{{args.positional.begin() + 1, args.positional.end()}, args.named};
    std::string name = python_str(args.positional[0]).str();
    for (const auto &one : r.iterate(self)) {
        items.push_back(r.filter(name, one, rest));
    }
    return generator(std::move(items), "sync_do_map");
}

value selected(run &r, const value &self, const call_args &args, bool by_attribute, bool wanted)
{
    size_t off = by_attribute ? 1 : 0;
    const char *name = by_attribute ? "select_or_reject_attr" : "select_or_reject";
    if (!is_true(self)) {
        return generator({}, name);
    }
    if (args.positional.size() < off) {
        fail_as_python("Missing parameter for attribute name");
    }
    getter get(r, by_attribute ? args.positional[0] : nullptr);
    bool tests = args.positional.size() > off;
    call_args rest;
    std::string test;
    if (tests) {
        test = python_str(args.positional[off]).str();
        rest.positional.assign(args.positional.begin() + (long)off + 1, args.positional.end());
        rest.named = args.named;
    }
    std::vector<value> items;
    for (const auto &one : r.iterate(self)) {
        value of = get(one);
        if ((tests ? r.test(test, of, rest) : is_true(of)) == wanted) {
            items.push_back(one);
        }
    }
    return generator(std::move(items), name);
}

template <bool by_attribute, bool wanted>
value filter_select(run &r, const value &self, const call_args &args)
{
    return selected(r, self, args, by_attribute, wanted);
}

/* ---- of all: one ---- */

value filter_first(run &r, const value &self, const call_args &args)
{
    (void)params("first", args, {});
    if (kind_of(self) == kind::text) {
        value first = r.item(self, make_int(0));
        return first->is_undefined() ? make_missing("No first item, sequence was empty.") : first;
    }
    std::vector<value> items = r.iterate(self);
    return items.empty() ? make_missing("No first item, sequence was empty.") : items.front();
}

bool is_generator(const value &v)
{
    return kind_of(v) == kind::series &&
           cast_val<value_series_t>(v)->is == value_series_t::form::generator;
}

value filter_last(run &r, const value &self, const call_args &args)
{
    (void)params("last", args, {});
    if (is_generator(self)) {
        fail_as_python("'generator' object is not reversible");
    }
    if (kind_of(self) == kind::text) {
        value last = r.item(self, make_int(-1));
        return last->is_undefined() ? make_missing("No last item, sequence was empty.") : last;
    }
    std::vector<value> items = r.iterate(self);
    return items.empty() ? make_missing("No last item, sequence was empty.") : items.back();
}

value filter_length(run &, const value &self, const call_args &args)
{
    (void)params("length", args, {});
    switch (kind_of(self)) {
    case kind::undefined:
        return make_int(0);
    case kind::text:
        return make_int((int64_t)count_characters(flat_text(self).view));
    case kind::dict:
        return make_int((int64_t)self->val_obj.size());
    case kind::list:
    case kind::tuple:
    case kind::series:
        if (!is_generator(self)) {
            return make_int((int64_t)self->val_arr.size());
        }
        [[fallthrough]];
    default:
        fail_as_python("object of type '" + type_name(self) + "' has no len()");
    }
}

value extreme(run &r, const value &self, const call_args &args, int wanted)
{
    params p("min", args, {"case_sensitive", "attribute"});
    getter get(r, p[1]);
    value found, found_key;
    for (const auto &one : r.iterate(self)) {
        value key = p.flag(0) ? get(one) : lowered(get(one));
        if (found == nullptr || python_order(key, found_key) == wanted) {
            found = one;
            found_key = key;
        }
    }
    return found != nullptr ? found : make_missing("No aggregated item, sequence was empty.");
}

value filter_min(run &r, const value &self, const call_args &args)
{
    return extreme(r, self, args, -1);
}

value filter_max(run &r, const value &self, const call_args &args)
{
    return extreme(r, self, args, 1);
}

value filter_sum(run &r, const value &self, const call_args &args)
{
    params p("sum", args, {"attribute", "start"});
    getter get(r, p[0]);
    value sum = p[1] != nullptr ? p[1] : make_int(0);
    if (kind_of(sum) == kind::text) {
        fail_as_python("sum() can't sum strings [use ''.join(seq) instead]");
    }
    for (const auto &one : r.iterate(self)) {
        sum = python_arithmetic("+", sum, get(one));
    }
    return sum;
}

value filter_join(run &r, const value &self, const call_args &args)
{
    params p("join", args, {"d", "attribute"});
    getter get(r, p[1]);
    value between = p[0] != nullptr ? text_of(p[0]) : make_text("");
    text_builder out;
    bool first = true;
    auto add = [&](const value &v) { add_str(out, r.autoescape ? escape_text(v) : v); };
    for (const auto &one : r.iterate(self)) {
        if (!first) {
            add(between);
        }
        first = false;
        add(get(one));
    }
    return out.done(r.autoescape);
}

/* ---- of all: all, otherwise ---- */

value filter_list(run &r, const value &self, const call_args &args)
{
    (void)params("list", args, {});
    return make_list(r.iterate(self));
}

value filter_reverse(run &r, const value &self, const call_args &args)
{
    (void)params("reverse", args, {});
    if (kind_of(self) == kind::text) {
        value backwards[3] = {make_none(), make_none(), make_int(-1)};
        return python_slice(self, backwards);
    }
    std::vector<value> items = r.iterate(self);
    std::reverse(items.begin(), items.end());
    return is_generator(self) ? make_list(std::move(items))
                              : make_series(value_series_t::form::generator, std::move(items),
                                            "<list_reverseiterator object>");
}

value filter_items(run &r, const value &self, const call_args &args)
{
    (void)params("items", args, {});
    if (self->is_undefined()) {
        return generator({}, "do_items");
    }
    if (kind_of(self) != kind::dict) {
        fail_as_python("Can only get item pairs from a mapping.");
    }
    return generator(r.iterate(find_method(self, "items")(r, self, {})), "do_items");
}

value filter_batch(run &r, const value &self, const call_args &args)
{
    params p("batch", args, {"linecount", "fill_with"}, 1);
    int64_t count = std::max<int64_t>(p.whole(0, 1), 1);
    std::vector<value> batches, line;
    for (auto &one : r.iterate(self)) {
        line.push_back(std::move(one));
        if ((int64_t)line.size() >= count) {
            batches.push_back(make_list(std::exchange(line, {})));
        }
    }
    if (!line.empty()) {
        if (p.given(1)) {
            jinja_charge_product(16, (uint64_t)count);
            line.resize((size_t)count, p[1]);
        }
        batches.push_back(make_list(std::move(line)));
    }
    return generator(std::move(batches), "do_batch");
}

value filter_slice(run &r, const value &self, const call_args &args)
{
    params p("slice", args, {"slices", "fill_with"}, 1);
    int64_t slices = p.whole(0, 1);
    std::vector<value> items = r.iterate(self), made;
    if (slices <= 0) {
        fail_as_python("integer division or modulo by zero");
    }
    jinja_charge_product(value_bytes, (uint64_t)slices);
    int64_t each = (int64_t)items.size() / slices, more = (int64_t)items.size() % slices;
    for (int64_t i = 0, from = 0; i < slices; i++) {
        int64_t to = from + each + (i < more ? 1 : 0);
        std::vector<value> part(items.begin() + from, items.begin() + to);
        if (p.given(1) && i >= more) {
            part.push_back(p[1]);
        }
        made.push_back(make_list(std::move(part)));
        from = to;
    }
    return generator(std::move(made), "do_slice");
}

const named_builtin list_filters[] = {
    {"batch", filter_batch},
    {"count", filter_length},
    {"dictsort", filter_dictsort},
    {"first", filter_first},
    {"groupby", filter_groupby},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"map", filter_map},
    {"max", filter_max},
    {"min", filter_min},
    {"reject", filter_select<false, false>},
    {"rejectattr", filter_select<true, false>},
    {"reverse", filter_reverse},
    {"select", filter_select<false, true>},
    {"selectattr", filter_select<true, true>},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"sum", filter_sum},
    {"unique", filter_unique},
};

} // namespace

builtin find_list_filter(const std::string &name)
{
    return find_in(list_filters, std::size(list_filters), name);
}

} // namespace dw
