/* The values that a schema allows by its type: constants, strings, numbers, arrays. Objects are in
 * json_object.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "schema/json_grammar_internal.h"

#define CHOICE_MAX 300    /* values of which an array holds each once */
#define EXCLUDED_MAX 2000 /* numbers */

/* ---- counts ------------------------------------------------------------------------------- */

/* A whole number from 0 under `key`, or `fallback`. Such as a JSON writer may make it: 2.0 is 2. */
static dw_status count_of(dw__schema_converter *c, json_t *schema, const char *key, int fallback,
                          int *out)
{
    json_t *value = json_object_get(schema, key);
    *out = fallback;
    if (value == NULL) {
        return DW_OK;
    }
    if (json_is_number(value)) {
        dw__decimal number = dw__numbers_get(&c->numbers, value);
        *out = dw__decimal_as_int(&number);
        if (dw__decimal_is_whole(&number) && !number.negative) {
            return DW_OK;
        }
    }
    return dw__schema_wrong(c, key, "a whole number from 0 is needed");
}

dw_status dw__schema_counts(dw__schema_converter *c, json_t *schema, const char *const *keys,
                            int *least, int *most)
{
    dw_status status = count_of(c, schema, keys[0], 0, least);
    if (status != DW_OK) {
        return status;
    }
    status = count_of(c, schema, keys[1], INT32_MAX, most);
    if (status != DW_OK) {
        return status;
    }
    if (*least > DW_GRAMMAR_REPETITIONS_MAX) {
        return dw__schema_refuse(c, keys[0], "above 10000 is not supported");
    }
    if (*most != INT32_MAX && *most > DW_GRAMMAR_REPETITIONS_MAX) {
        *most = DW_GRAMMAR_REPETITIONS_MAX;
    }
    return DW_OK;
}

/* {least,most} behind an item, less `taken` of both. */
void dw__schema_repeat(dw__schema_converter *c, dw__gbnf *to, int least, int most, int taken)
{
    least = least > taken ? least - taken : 0;
    c->repeated += (uint64_t)(most == INT32_MAX ? least : most - taken);
    if (most == INT32_MAX) {
        dw__gbnf_add(to, "{%d,}", least);
    } else {
        dw__gbnf_add(to, "{%d,%d}", least, most - taken);
    }
}

/* ---- values ------------------------------------------------------------------------------- */

dw_status dw__schema_literal(dw__schema_converter *c, const json_t *value, dw__gbnf *to)
{
    dw_status status = dw__schema_look(c);
    if (status != DW_OK) {
        return status;
    }
    char *places = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    char *json = places != NULL ? dw__numbers_restore(&c->numbers, places) : NULL;
    free(places);
    if (json == NULL) {
        return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema's value");
    }
    dw__gbnf_literal(to, json);
    dw_free(json);
    return DW_OK;
}

/* Those values of enum that what stands beside it allows. */
dw_status dw__schema_values(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    json_t *list = json_object_get(schema, "enum");
    bool any = false;
    bool unknown = false;
    if (!json_is_array(list)) {
        return dw__schema_wrong(c, "enum", "a list is needed");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *value = json_array_get(list, i);
        dw__verdict verdict;
        c->listed_at = i;
        dw_status status = dw__schema_judge_flat(c, schema, value, &verdict);
        unknown = unknown || verdict == DW__UNKNOWN;
        if (status == DW_OK && verdict == DW__VALID) {
            dw__gbnf_add(to, "%s", any ? " |" : "");
            status = dw__schema_literal(c, value, to);
            any = true;
        }
        if (status != DW_OK) {
            return status;
        }
    }
    if (!any && unknown) {
        return dw__schema_refuse(c, "enum", "beside such keywords is not supported");
    }
    dw__gbnf_add(to, "%s", any ? "" : " []");
    return DW_OK;
}

/* Whether the schema excludes the value by name. */
static bool is_excluded(json_t *schema, const json_t *value)
{
    json_t *list = json_object_get(schema, DW__KEY_OTHER_VALUES);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), value)) {
            return true;
        }
    }
    return false;
}

void dw__schema_boolean(json_t *schema, dw__gbnf *to)
{
    bool no = !is_excluded(schema, json_false());
    bool yes = !is_excluded(schema, json_true());
    dw__gbnf_add(to, "%s", yes && no ? " boolean" : yes ? " \"true\"" : no ? " \"false\"" : " []");
}

bool dw__schema_excludes_kind(json_t *schema, uint32_t type)
{
    json_t *list = json_object_get(schema, DW__KEY_OTHER_VALUES);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *value = json_array_get(list, i);
        if ((type == DW__TYPE_NULL && json_is_null(value)) ||
            (type == DW__TYPE_ARRAY && json_is_array(value)) ||
            (type == DW__TYPE_OBJECT && json_is_object(value))) {
            return true;
        }
    }
    return false;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static dw_status bound_of(dw__schema_converter *c, json_t *schema, const char *key, bool excluded,
                          bool low, dw__bound *bound)
{
    json_t *number = json_object_get(schema, key);
    if (number == NULL) {
        return DW_OK;
    }
    if (!json_is_number(number)) {
        return dw__schema_wrong(c, key, "a number is needed");
    }
    dw__decimal at = dw__numbers_get(&c->numbers, number);
    int order = bound->given ? dw__decimal_compare(&at, &bound->at) * (low ? 1 : -1) : 1;
    if (order >= 0) {
        *bound = (dw__bound){.at = at, .given = true, .excluded = excluded};
    }
    return DW_OK;
}

static dw_status bounds_of(dw__schema_converter *c, json_t *schema, dw__bounds *bounds)
{
    dw_status status = bound_of(c, schema, "minimum", false, true, &bounds->low);
    if (status == DW_OK) {
        status = bound_of(c, schema, "exclusiveMinimum", true, true, &bounds->low);
    }
    if (status == DW_OK) {
        status = bound_of(c, schema, "maximum", false, false, &bounds->high);
    }
    if (status == DW_OK) {
        status = bound_of(c, schema, "exclusiveMaximum", true, false, &bounds->high);
    }
    if (status == DW_OK) {
        status = bound_of(c, schema, "multipleOf", false, false, &bounds->step);
    }
    if (status == DW_OK && bounds->step.given &&
        (bounds->step.at.count == 0 || bounds->step.at.negative)) {
        return dw__schema_wrong(c, "multipleOf", "a number above 0 is needed");
    }
    return status;
}

/* The least number that the schema excludes by name, and that is above `low` (NULL: any). */
static bool next_excluded(const dw__schema_converter *c, json_t *schema, const dw__decimal *low,
                          dw__decimal *out)
{
    json_t *list = json_object_get(schema, DW__KEY_OTHER_VALUES);
    bool found = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_is_integer(json_array_get(list, i))) {
            dw__decimal at = dw__numbers_get(&c->numbers, json_array_get(list, i));
            if ((low == NULL || dw__decimal_compare(&at, low) > 0) &&
                (!found || dw__decimal_compare(&at, out) < 0)) {
                *out = at;
                found = true;
            }
        }
    }
    return found;
}

/* Bounds, cut at each number that is excluded. */
static dw_status number_ranges(dw__schema_converter *c, json_t *schema, dw__bounds bounds,
                               dw__gbnf *to)
{
    const dw__bound high = bounds.high;
    dw__decimal cut;
    dw__decimal last;
    bool any = false;
    if (json_array_size(json_object_get(schema, DW__KEY_OTHER_VALUES)) > EXCLUDED_MAX) {
        return dw__schema_refuse(c, "not", "of so many values is not supported");
    }
    for (bool more = next_excluded(c, schema, NULL, &cut);;
         more = next_excluded(c, schema, &last, &cut)) {
        dw__gbnf body = {.bytes = NULL};
        uint32_t rule = 0;
        bool written;
        bool inside = more && (!high.given || dw__decimal_compare(&cut, &high.at) <= 0);
        bounds.high = inside ? (dw__bound){.at = cut, .given = true, .excluded = true} : high;
        dw_status status = dw__number_grammar(c, &bounds, &body, &written);
        if (status == DW_OK && written) {
            status = dw__schema_shared_rule(c, &body, &rule);
        }
        dw__gbnf_release(&body);
        if (status != DW_OK) {
            return status;
        }
        if (written) {
            dw__gbnf_add(to, "%s s%u", any ? " |" : "", rule);
            any = true;
        }
        if (!inside) {
            break;
        }
        last = cut;
        if (!bounds.low.given || dw__decimal_compare(&cut, &bounds.low.at) >= 0) {
            bounds.low = (dw__bound){.at = cut, .given = true, .excluded = true};
        }
    }
    if (!any) {
        dw__gbnf_add(to, " []");
        return dw__schema_note(c, bounds.step.given ? "multipleOf" : "minimum",
                               "no number lies within the bounds");
    }
    return DW_OK;
}

dw_status dw__schema_number(dw__schema_converter *c, json_t *schema, bool whole, dw__gbnf *to)
{
    dw__bounds bounds = {.whole = whole};
    dw__decimal excluded;
    dw_status status = bounds_of(c, schema, &bounds);
    if (status != DW_OK) {
        return status;
    }
    if (!bounds.low.given && !bounds.high.given && !bounds.step.given &&
        !next_excluded(c, schema, NULL, &excluded)) {
        dw__gbnf_add(to, whole ? " integer" : " number");
        return DW_OK;
    }
    status = number_ranges(c, schema, bounds, to);
    return status == DW_OK || status == DW_E_MEMORY
               ? status
               : dw_fail_within(c->err, status, "schema: %s", c->path);
}

/* ---- arrays ------------------------------------------------------------------------------- */

typedef struct array {
    json_t *leading; /* of all arrays: a list of its own */
    json_t *items;   /* of further items; NULL: any value */
    int least;
    int most;
} array;

/* Items that `contains` asks for come behind those of prefixItems; where there is a limit to them,
 * further ones are none. */
static dw_status take_contains(dw__schema_converter *c, json_t *schema, array *a, json_t **owned)
{
    static const char *const keys[] = {"minContains", "maxContains"};
    json_t *contains = json_object_get(schema, "contains");
    json_t *items = a->items != NULL ? a->items : json_true();
    int least;
    int most;
    if (contains == NULL) {
        return DW_OK;
    }
    dw_status status = dw__schema_counts(c, schema, keys, &least, &most);
    if (status != DW_OK) {
        return status;
    }
    least = json_object_get(schema, keys[0]) != NULL ? least : 1;
    if (most < INT32_MAX) {
        json_t *opposite = NULL;
        status = dw__schema_negate(c, contains, &opposite);
        if (status == DW_OK && (opposite == NULL || json_array_size(a->leading) > 0)) {
            status = dw__schema_refuse(c, "maxContains", "of such a schema is not supported");
        }
        if (status != DW_OK) {
            json_decref(opposite);
            return status;
        }
        *owned = json_pack("{s:[O,o]}", "allOf", items, opposite);
    }
    if (most < least) {
        a->most = -1;
    }
    for (int i = 0; i < least; i++) {
        (void)json_array_append_new(a->leading, json_pack("{s:[O,O]}", "allOf", items, contains));
    }
    if (a->least < (int)json_array_size(a->leading)) {
        a->least = (int)json_array_size(a->leading);
    }
    if (a->items == NULL && least > 0) {
        a->items = json_true();
    }
    a->items = *owned != NULL ? *owned : a->items;
    return DW_OK;
}

/* What the array is made of. An item that may not be there ends it. */
static dw_status read_array(dw__schema_converter *c, json_t *schema, array *a, json_t **owned)
{
    static const char *const keys[] = {"minItems", "maxItems"};
    json_t *list = json_object_get(schema, "prefixItems");
    dw_status status = dw__schema_counts(c, schema, keys, &a->least, &a->most);
    a->items = json_object_get(schema, "items");
    a->items = a->items != NULL ? a->items : json_object_get(schema, "unevaluatedItems");
    if (status != DW_OK) {
        return status;
    }
    if (list != NULL && !json_is_array(list)) {
        return dw__schema_wrong(c, "prefixItems", "a list is needed");
    }
    if (a->items != NULL && !json_is_object(a->items) && !json_is_boolean(a->items)) {
        return dw__schema_wrong(c, "items", "a schema is needed");
    }
    for (size_t i = 0; i < json_array_size(list) && i < DW_GRAMMAR_REPETITIONS_MAX; i++) {
        (void)json_array_append(a->leading, json_array_get(list, i));
    }
    status = take_contains(c, schema, a, owned);
    for (size_t i = 0; i < json_array_size(a->leading) && (int)i < a->most; i++) {
        a->most = json_is_false(json_array_get(a->leading, i)) ? (int)i : a->most;
    }
    if (json_is_false(a->items) && (int)json_array_size(a->leading) < a->most) {
        a->most = (int)json_array_size(a->leading);
    }
    return status;
}

/* Different values of which each may be there or not, in the order of the list. Items are counted
 * as far as a bound asks. */
static dw_status write_choice(dw__schema_converter *c, json_t *values, const array *a, dw__gbnf *to)
{
    int count = (int)json_array_size(values);
    int most = a->most < count ? a->most : count;
    int counted = most < count ? most : a->least > 1 ? a->least : 1;
    uint32_t *chain = dw_alloc((size_t)counted + 1, sizeof *chain); /* by items so far */
    dw_status status =
        chain != NULL ? DW_OK : dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
    for (int i = count; status == DW_OK && i >= 0; i--) {
        uint32_t last = chain[counted];
        for (int so_far = 0; status == DW_OK && so_far <= counted; so_far++) {
            dw__gbnf body = {.bytes = NULL};
            if (i == count) {
                dw__gbnf_add(&body, so_far < a->least ? " []" : " \"\"");
            } else {
                dw__gbnf_add(&body, " s%u", chain[so_far]);
            }
            if (i < count && so_far < most) {
                dw__gbnf_add(&body, " |%s", so_far > 0 ? " \",\" ws" : "");
                status = dw__schema_literal(c, json_array_get(values, (size_t)i), &body);
                dw__gbnf_add(&body, " s%u", so_far < counted ? chain[so_far + 1] : last);
            }
            status = status == DW_OK ? dw__schema_shared_rule(c, &body, &chain[so_far]) : status;
        }
    }
    if (status == DW_OK) {
        dw__gbnf_add(to, " \"[\" ws s%u ws \"]\"", chain[0]);
    }
    dw_free(chain);
    return status;
}

/* The different values that a flat schema lists, as enum or by its type. NULL: it lists none. */
static dw_status listed_values(dw__schema_converter *c, json_t *flat, json_t **out)
{
    json_t *list = json_object_get(flat, "enum");
    json_t *type = json_object_get(flat, "type");
    uint32_t types;
    dw_status status = dw__schema_types(c, type, &types);
    *out = NULL;
    if (status != DW_OK || flat == NULL || !json_is_object(flat)) {
        return status;
    }
    json_t *all = list != NULL ? json_incref(list) : json_pack("[n,b,b]", 0, 1);
    json_t *kept = json_array();
    for (size_t i = 0; status == DW_OK && i < json_array_size(all); i++) {
        json_t *value = json_array_get(all, i);
        dw__verdict verdict;
        bool again = false;
        c->listed_at = i;
        status = dw__schema_judge_flat(c, flat, value, &verdict);
        for (size_t k = 0; !again && k < json_array_size(kept) && k <= CHOICE_MAX; k++) {
            again = json_equal(json_array_get(kept, k), value);
        }
        if (status == DW_OK && verdict == DW__VALID && !again) {
            (void)json_array_append(kept, value);
        }
    }
    json_decref(all);
    if (list != NULL || (types & ~(uint32_t)(DW__TYPE_NULL | DW__TYPE_BOOLEAN)) == 0) {
        *out = json_incref(kept);
    }
    json_decref(kept);
    return status;
}

/* uniqueItems: of values that are listed, each once; of others, one. */
static dw_status write_unique(dw__schema_converter *c, array *a, dw__gbnf *to, bool *written)
{
    json_t *flat = NULL;
    json_t *values = NULL;
    *written = false;
    if (a->most <= 1) {
        return DW_OK;
    }
    dw_status status = a->items != NULL ? dw__schema_flat(c, a->items, &flat) : DW_OK;
    if (status == DW_OK && json_array_size(a->leading) == 0) {
        status = listed_values(c, flat, &values);
    }
    json_decref(flat);
    if (status == DW_OK && values != NULL && json_array_size(values) <= CHOICE_MAX) {
        *written = true;
        status = write_choice(c, values, a, to);
    } else if (status == DW_OK && a->least > 1) {
        status = dw__schema_refuse(c, "uniqueItems", "of two items or more is not supported");
    } else if (status == DW_OK) {
        a->most = 1;
        status = dw__schema_note(c, "uniqueItems", "no more than one item is written");
    }
    json_decref(values);
    return status;
}

static dw_status write_array(dw__schema_converter *c, const array *a, uint32_t rule, dw__gbnf *to)
{
    int leading = (int)json_array_size(a->leading);
    int most = a->most;
    leading = leading < most ? leading : most;
    if (leading > 0 && a->items == NULL) {
        most = a->least > leading ? a->least : leading;
    }
    dw__gbnf_add(to, " \"[\" ws");
    for (int i = 0; i < leading; i++) {
        char step[16];
        uint32_t one;
        (void)snprintf(step, sizeof step, "%d", i);
        dw_status status =
            dw__schema_convert_at(c, step, json_array_get(a->leading, (size_t)i), &one);
        if (status != DW_OK) {
            return status;
        }
        dw__gbnf_add(to, "%s s%u", i > 0 ? " \",\" ws" : "", one);
    }
    char item[24] = "value";
    if (rule != 0) {
        (void)snprintf(item, sizeof item, "s%u", rule);
    }
    if (leading > 0 && most > leading) {
        dw__gbnf_add(to, " (\",\" ws %s)", item);
        dw__schema_repeat(c, to, a->least, most, leading);
    } else if (leading == 0 && most > 0) {
        dw__gbnf_add(to, " (%s (\",\" ws %s)", item, item);
        dw__schema_repeat(c, to, a->least, most, 1);
        dw__gbnf_add(to, ")%s", a->least == 0 ? "?" : "");
    }
    dw__gbnf_add(to, " ws \"]\"");
    return DW_OK;
}

/* All items of the list are always given, further ones only where a schema is given for them or
 * minItems asks for them. */
dw_status dw__schema_array(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    array a = {.leading = json_array()};
    json_t *owned = NULL;
    uint32_t rule = 0;
    bool written = false;
    dw_status status = read_array(c, schema, &a, &owned);
    if (status == DW_OK && a.most >= a.least &&
        json_is_true(json_object_get(schema, "uniqueItems"))) {
        status = write_unique(c, &a, to, &written);
    }
    if (status == DW_OK && !written && a.most < a.least) {
        dw__gbnf_add(to, " []");
        written = true;
    }
    if (status == DW_OK && !written && a.items != NULL && !json_is_true(a.items)) {
        status = dw__schema_convert_at(c, "items", a.items, &rule);
    }
    if (status == DW_OK && !written) {
        status = write_array(c, &a, rule, to);
    }
    json_decref(a.leading);
    json_decref(owned);
    return status;
}
