/* Whether a value of a schema (of its enum or const) is valid by a schema. What is not known is
 * taken for neither: such a value is not written, and says of no two schemas that they are
 * apart. */
#include <string.h>

#include "schema/json_grammar_internal.h"

#define AND(verdict, other) ((verdict) < (other) ? (verdict) : (other))

/* As many as 4,096 values of an enum with as many of another: some 200 ms. */
#define COMPARED_MAX ((uint64_t)16 << 20)

dw_status dw__schema_compare(dw__schema_converter *c, uint64_t count)
{
    c->compared += count;
    return c->compared <= COMPARED_MAX
               ? dw__schema_look(c)
               : dw_fail(c->err, DW_E_LIMIT, "schema: over %llu comparisons of its values",
                         (unsigned long long)COMPARED_MAX);
}

static dw__verdict verdict_of(bool valid)
{
    return valid ? DW__VALID : DW__INVALID;
}

static dw_status judge_in(dw__schema_converter *c, json_t *list, json_t *value, size_t *valid,
                          size_t *unknown)
{
    *valid = 0;
    *unknown = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        dw__verdict one;
        dw_status status = dw__schema_judge(c, json_array_get(list, i), value, &one);
        if (status != DW_OK) {
            return status;
        }
        *valid += one == DW__VALID;
        *unknown += one == DW__UNKNOWN;
    }
    return DW_OK;
}

static dw_status judge_choices(dw__schema_converter *c, json_t *schema, json_t *value,
                               dw__verdict *verdict)
{
    json_t *any = json_object_get(schema, "anyOf");
    json_t *one = json_object_get(schema, "oneOf");
    json_t *no = json_object_get(schema, "not");
    size_t valid;
    size_t unknown;
    dw_status status = DW_OK;
    if (any != NULL) {
        status = judge_in(c, any, value, &valid, &unknown);
        *verdict = AND(*verdict, valid > 0 ? DW__VALID : unknown > 0 ? DW__UNKNOWN : DW__INVALID);
    }
    if (status == DW_OK && one != NULL) {
        status = judge_in(c, one, value, &valid, &unknown);
        *verdict = AND(*verdict, valid > 1 || valid + unknown == 0 ? DW__INVALID
                                 : unknown > 0                     ? DW__UNKNOWN
                                                                   : DW__VALID);
    }
    if (status == DW_OK && no != NULL) {
        dw__verdict inner;
        status = dw__schema_judge(c, no, value, &inner);
        *verdict = AND(*verdict, inner == DW__VALID     ? DW__INVALID
                                 : inner == DW__INVALID ? DW__VALID
                                                        : DW__UNKNOWN);
    }
    return status;
}

static void judge_number(dw__schema_converter *c, json_t *schema, json_t *value,
                         dw__verdict *verdict)
{
    static const char *const keys[] = {"minimum", "exclusiveMinimum", "maximum",
                                       "exclusiveMaximum"};
    dw__decimal number = dw__numbers_get(&c->numbers, value);
    for (size_t i = 0; i < 4; i++) {
        json_t *bound = json_object_get(schema, keys[i]);
        if (json_is_number(bound)) {
            dw__decimal at = dw__numbers_get(&c->numbers, bound);
            int order = dw__decimal_compare(&number, &at) * (i < 2 ? 1 : -1);
            *verdict = AND(*verdict, verdict_of(order > 0 || (order == 0 && i % 2 == 0)));
        }
    }
    if (json_object_get(schema, "multipleOf") != NULL && number.count > 0) {
        *verdict = AND(*verdict, DW__UNKNOWN);
    }
}

static void judge_count(dw__schema_converter *c, json_t *schema, const char *least,
                        const char *most, size_t count, dw__verdict *verdict)
{
    const char *const keys[] = {least, most};
    for (size_t i = 0; i < 2; i++) {
        json_t *bound = json_object_get(schema, keys[i]);
        if (json_is_number(bound)) {
            dw__decimal at = dw__numbers_get(&c->numbers, bound);
            size_t limit = (size_t)dw__decimal_as_int(&at);
            *verdict = AND(*verdict, verdict_of(i == 0 ? count >= limit : count <= limit));
        }
    }
}

static size_t characters_of(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static dw_status judge_string(dw__schema_converter *c, json_t *schema, json_t *value,
                              dw__verdict *verdict)
{
    static const char *const lists[] = {DW__KEY_PATTERNS, DW__KEY_OTHER_PATTERNS};
    const char *text = json_string_value(value);
    json_t *pattern = json_object_get(schema, "pattern");
    bool matches = true;
    dw_status status = DW_OK;
    judge_count(c, schema, "minLength", "maxLength", characters_of(text), verdict);
    if (json_is_string(pattern)) {
        status = dw__pattern_matches(c, json_string_value(pattern), text, &matches);
        *verdict = AND(*verdict, verdict_of(matches));
    }
    for (size_t i = 0; i < 2; i++) {
        json_t *list = json_object_get(schema, lists[i]);
        for (size_t k = 0; status == DW_OK && k < json_array_size(list); k++) {
            const char *other = json_string_value(json_array_get(list, k));
            status = other != NULL ? dw__pattern_matches(c, other, text, &matches) : DW_OK;
            *verdict = AND(*verdict, verdict_of(matches == (i == 0)));
        }
    }
    return status;
}

static dw_status judge_array(dw__schema_converter *c, json_t *schema, json_t *value,
                             dw__verdict *verdict)
{
    json_t *list = json_object_get(schema, "prefixItems");
    json_t *items = json_object_get(schema, "items");
    size_t leading = json_array_size(list);
    judge_count(c, schema, "minItems", "maxItems", json_array_size(value), verdict);
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *by = i < leading ? json_array_get(list, i) : items;
        dw__verdict one = DW__VALID;
        dw_status status =
            by != NULL ? dw__schema_judge(c, by, json_array_get(value, i), &one) : DW_OK;
        if (status != DW_OK) {
            return status;
        }
        *verdict = AND(*verdict, one);
    }
    size_t count =
        json_is_true(json_object_get(schema, "uniqueItems")) ? json_array_size(value) : 0;
    dw_status status = dw__schema_compare(c, (uint64_t)count * count / 2);
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        for (size_t k = i + 1; k < json_array_size(value); k++) {
            bool same = json_equal(json_array_get(value, i), json_array_get(value, k));
            *verdict = AND(*verdict, verdict_of(!same));
        }
    }
    if (json_object_get(schema, "contains") != NULL) {
        *verdict = AND(*verdict, DW__UNKNOWN);
    }
    return status;
}

static dw_status judge_object(dw__schema_converter *c, json_t *schema, json_t *value,
                              dw__verdict *verdict)
{
    static const char *const not_known[] = {"dependentRequired", "dependentSchemas", "dependencies",
                                            "unevaluatedProperties", NULL};
    json_t *required = json_object_get(schema, "required");
    json_t *names = json_object_get(schema, "propertyNames");
    const char *name;
    json_t *member;
    dw_status status = DW_OK;
    judge_count(c, schema, "minProperties", "maxProperties", json_object_size(value), verdict);
    for (size_t i = 0; i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        *verdict = AND(*verdict, verdict_of(name != NULL && json_object_get(value, name) != NULL));
    }
    for (size_t i = 0; not_known[i] != NULL; i++) {
        if (json_object_get(schema, not_known[i]) != NULL) {
            *verdict = AND(*verdict, DW__UNKNOWN);
        }
    }
    json_object_foreach(value, name, member)
    {
        json_t *by = NULL;
        dw__verdict one = DW__VALID;
        status = status == DW_OK ? dw__schema_of_property(c, schema, name, &by) : status;
        if (status == DW_OK && by != NULL) {
            status = dw__schema_judge(c, by, member, &one);
            *verdict = AND(*verdict, one);
        }
        json_decref(by);
        if (status == DW_OK && names != NULL) {
            json_t *text = json_string(name);
            status = dw__schema_judge(c, names, text, &one);
            json_decref(text);
            *verdict = AND(*verdict, one);
        }
    }
    return status;
}

static dw_status judge_listed(dw__schema_converter *c, json_t *schema, json_t *value,
                              dw__verdict *verdict)
{
    static const char *const keys[] = {"enum", DW__KEY_OTHER_VALUES};
    uint32_t types;
    dw_status status = dw__schema_types(c, json_object_get(schema, "type"), &types);
    if (status == DW_OK) {
        *verdict = verdict_of(dw__value_has_type(c, value, types));
    }
    for (size_t i = 0; i < 2; i++) {
        json_t *list = json_object_get(schema, keys[i]);
        bool there = i == 0 && json_array_get(list, c->listed_at) == value;
        if (!there && status == DW_OK) {
            status = dw__schema_compare(c, json_array_size(list));
        }
        if (status != DW_OK) {
            return status;
        }
        for (size_t k = 0; !there && k < json_array_size(list); k++) {
            there = json_equal(json_array_get(list, k), value);
        }
        if (list != NULL) {
            *verdict = AND(*verdict, verdict_of(there == (i == 0)));
        }
    }
    if (json_object_get(schema, "if") != NULL || json_object_get(schema, DW__KEY_MORE) != NULL) {
        *verdict = AND(*verdict, DW__UNKNOWN);
    }
    return status;
}

dw_status dw__schema_judge_flat(dw__schema_converter *c, json_t *schema, json_t *value,
                                dw__verdict *verdict)
{
    dw_status status = judge_listed(c, schema, value, verdict);
    if (status == DW_OK) {
        status = judge_choices(c, schema, value, verdict);
    }
    if (status != DW_OK || *verdict == DW__INVALID) {
        return status;
    }
    if (json_is_integer(value)) {
        judge_number(c, schema, value, verdict);
    } else if (json_is_string(value)) {
        status = judge_string(c, schema, value, verdict);
    } else if (json_is_array(value)) {
        status = judge_array(c, schema, value, verdict);
    } else if (json_is_object(value)) {
        status = judge_object(c, schema, value, verdict);
    }
    return status;
}

dw_status dw__schema_judge(dw__schema_converter *c, json_t *schema, json_t *value,
                           dw__verdict *verdict)
{
    json_t *flat = NULL;
    *verdict = DW__UNKNOWN;
    dw_status status = dw__schema_enter_depth(c);
    if (status != DW_OK) {
        return status;
    }
    status = dw__schema_flat(c, schema, &flat);
    if (status == DW_OK && json_is_boolean(flat)) {
        *verdict = verdict_of(json_is_true(flat));
    } else if (status == DW_OK) {
        status = dw__schema_judge_flat(c, flat, value, verdict);
    }
    json_decref(flat);
    c->depth--;
    return status;
}
