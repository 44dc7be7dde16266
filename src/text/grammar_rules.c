/* The parts of a grammar's rules: added one by one while a grammar is parsed, then only read. */
#include <stdlib.h>

#include "base/alloc.h"
#include "text/grammar_rules_internal.h"

dw_status dw__rules_grow(void **block, uint32_t count, size_t item_bytes, uint32_t limit,
                         dw_error *err)
{
    if (count >= limit) {
        return dw_fail(err, DW_E_LIMIT,
                       "grammar: more than %u parts once its repetitions are written out", limit);
    }
    if ((count & (count - 1)) != 0) {
        return DW_OK; /* doubled at powers of two only */
    }
    void *larger = dw_realloc(*block, count == 0 ? 1 : (size_t)count * 2, item_bytes);
    if (larger == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar");
    }
    *block = larger;
    return DW_OK;
}

static dw_status add_symbol(dw_grammar_rules *rules, dw_symbol symbol, dw_error *err)
{
    void *block = rules->symbols;
    dw_status status =
        dw__rules_grow(&block, rules->symbol_count, sizeof *rules->symbols, DW__SYMBOLS_MAX, err);
    rules->symbols = block;
    if (status != DW_OK) {
        return status;
    }
    rules->symbols[rules->symbol_count++] = symbol;
    return DW_OK;
}

dw_status dw__rules_add_rule(dw_grammar_rules *rules, uint32_t *rule, dw_error *err)
{
    void *block = rules->rules;
    dw_status status =
        dw__rules_grow(&block, rules->rule_count, sizeof *rules->rules, DW__RULES_MAX, err);
    rules->rules = block;
    if (status != DW_OK) {
        return status;
    }
    rules->rules[rules->rule_count] = DW_NO_ALTERNATIVE;
    *rule = rules->rule_count++;
    return DW_OK;
}

dw_status dw__rules_add_alternative(dw_grammar_rules *rules, uint32_t rule,
                                    const dw_symbol *symbols, size_t count, dw_error *err)
{
    void *block = rules->alternatives;
    DW_ASSERT(rule < rules->rule_count);
    dw_status status = dw__rules_grow(&block, rules->alternative_count, sizeof *rules->alternatives,
                                      DW__SYMBOLS_MAX, err);
    rules->alternatives = block;
    if (status != DW_OK) {
        return status;
    }
    uint32_t first = rules->symbol_count;
    for (size_t i = 0; i < count; i++) {
        status = add_symbol(rules, symbols[i], err);
        if (status != DW_OK) {
            return status;
        }
    }
    status = add_symbol(rules, (dw_symbol){DW_SYMBOL_END, 0}, err);
    if (status != DW_OK) {
        return status;
    }
    rules->alternatives[rules->alternative_count] = (dw_alternative){first, rules->rules[rule]};
    rules->rules[rule] = rules->alternative_count++;
    return DW_OK;
}

/* ---- sets of characters ------------------------------------------------------------------- */

dw_status dw__rules_add_range(dw_grammar_rules *rules, uint32_t low, uint32_t high, dw_error *err)
{
    void *block = rules->ranges;
    DW_ASSERT(low <= high && high <= DW__CHARACTER_MAX);
    dw_status status =
        dw__rules_grow(&block, rules->range_count, sizeof *rules->ranges, DW__SYMBOLS_MAX, err);
    rules->ranges = block;
    if (status != DW_OK) {
        return status;
    }
    rules->ranges[rules->range_count++] = (dw_char_range){low, high};
    return DW_OK;
}

static int by_low(const void *a, const void *b)
{
    uint32_t x = ((const dw_char_range *)a)->low;
    uint32_t y = ((const dw_char_range *)b)->low;
    return (x > y) - (x < y);
}

void dw__rules_join_ranges(dw_grammar_rules *rules, uint32_t first)
{
    uint32_t count = rules->range_count - first;
    uint32_t kept = 0;
    if (count == 0) {
        return;
    }
    dw_char_range *ranges = rules->ranges + first;
    qsort(ranges, count, sizeof *ranges, by_low);
    for (uint32_t i = 1; i < count; i++) {
        if (ranges[i].low <= ranges[kept].high + 1) {
            ranges[kept].high =
                ranges[i].high > ranges[kept].high ? ranges[i].high : ranges[kept].high;
        } else {
            ranges[++kept] = ranges[i];
        }
    }
    rules->range_count = first + kept + 1;
}

dw_status dw__rules_invert_ranges(dw_grammar_rules *rules, uint32_t first, dw_error *err)
{
    uint32_t count = rules->range_count - first;
    uint32_t next = 0; /* the first character not yet decided */
    uint32_t kept = first;
    for (uint32_t i = 0; i < count; i++) {
        dw_char_range range = rules->ranges[first + i];
        if (range.low > next) {
            /* At most one for each that was read: writing never overtakes reading. */
            rules->ranges[kept++] = (dw_char_range){next, range.low - 1};
        }
        next = range.high + 1;
    }
    rules->range_count = kept;
    return next <= DW__CHARACTER_MAX ? dw__rules_add_range(rules, next, DW__CHARACTER_MAX, err)
                                     : DW_OK;
}

dw_status dw__rules_add_set(dw_grammar_rules *rules, uint32_t first, uint32_t *set, dw_error *err)
{
    void *block = rules->sets;
    DW_ASSERT(first <= rules->range_count);
    dw_status status =
        dw__rules_grow(&block, rules->set_count, sizeof *rules->sets, DW__SYMBOLS_MAX, err);
    rules->sets = block;
    if (status != DW_OK) {
        return status;
    }
    dw_char_set *chars = &rules->sets[rules->set_count];
    *chars = (dw_char_set){.first = first, .count = rules->range_count - first};
    for (uint32_t i = first; i < rules->range_count; i++) {
        for (uint32_t c = rules->ranges[i].low; c < 128 && c <= rules->ranges[i].high; c++) {
            chars->ascii[c / 32] |= (uint32_t)1 << c % 32;
        }
    }
    *set = rules->set_count++;
    return DW_OK;
}

bool dw_char_set_meets(const dw_grammar_rules *rules, uint32_t set, uint32_t low, uint32_t high)
{
    const dw_char_set *chars = &rules->sets[set];
    if (high < 128 && low == high) {
        return (chars->ascii[low / 32] >> low % 32 & 1) != 0;
    }
    if (chars->count == 0) {
        return false;
    }
    const dw_char_range *ranges = rules->ranges + chars->first;
    uint32_t from = 0;
    uint32_t to = chars->count;
    while (from < to) { /* the first range that ends at `low` or later */
        uint32_t middle = from + (to - from) / 2;
        if (ranges[middle].high < low) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from < chars->count && ranges[from].low <= high;
}

void dw_grammar_rules_release(dw_grammar_rules *rules)
{
    dw_free(rules->symbols);
    dw_free(rules->alternatives);
    dw_free(rules->rules);
    dw_free(rules->empties);
    dw_free(rules->components);
    dw_free(rules->sets);
    dw_free(rules->ranges);
    *rules = (dw_grammar_rules){.root = 0};
}
