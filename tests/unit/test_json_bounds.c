/* JSON counted before it is parsed: exactly at each bound, and never beyond the bytes there are. */
#include <string.h>

#include "base/alloc.h"
#include "base/json_bounds.h"
#include "support.h"

static const char *excess_of(const char *text, size_t bytes, const dw_json_bounds *most)
{
    dw_json_excess excess;
    return dw_json_within(text, bytes, most, &excess) ? "" : excess.what;
}

static void test_json_bounds_are_met_exactly(void **state)
{
    static const struct {
        const char *text;
        uint64_t values;
        uint32_t depth;
    } cases[] = {
        {"1", 1, 0},
        {"[]", 2, 1},
        {"[1,2,3]", 4, 1},
        {"{\"a\":1,\"b\":[2]}", 13, 2},
        {"[\"[{,,\\\"[[\",\"\\\\\"]", 3, 1},
        {"[[[]]]", 4, 3},
        {"[{},{},{}]", 34, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t bytes = strlen(cases[i].text);
        dw_json_bounds most = {bytes, cases[i].values, cases[i].depth, 9};
        assert_string_equal(excess_of(cases[i].text, bytes, &most), "");
        most.values--;
        assert_string_equal(excess_of(cases[i].text, bytes, &most), "values");
        most.values++;
        most.bytes--;
        assert_string_equal(excess_of(cases[i].text, bytes, &most), "bytes");
        most.bytes++;
        if (cases[i].depth > 0) {
            most.depth--;
            assert_string_equal(excess_of(cases[i].text, bytes, &most), "levels");
        }
    }
}

static void test_json_bounds_messages(void **state)
{
    static const dw_json_bounds most = {10, 4, 2, 0};
    dw_error err;
    (void)state;
    assert_int_equal(dw_json_check("tools", "[1,2,3,4]", 9, &most, &err), DW_E_LIMIT);
    assert_string_equal(err.message, "tools: JSON of more than 4 values at byte 6");
    assert_int_equal(dw_json_check("tools", "[1\0]", 4, &most, &err), DW_E_FORMAT);
    assert_int_equal(dw_json_check("tools", "[\"a\0\"]", 6, &most, &err), DW_E_FORMAT);
    assert_int_equal(dw_json_check("tools", "[[[", 3, &most, &err), DW_E_LIMIT);
    assert_int_equal(dw_json_check("tools", "", 0, &most, &err), DW_OK);
}

/* Any bytes, in a block of just their number. */
static void test_json_bounds_of_any_bytes(void **state)
{
    static const char letters[] = "{}[],:\"\\a1 \n";
    static const dw_json_bounds most = {64, 20, 6, 3};
    uint32_t random = 3;
    (void)state;
    for (int i = 0; i < 50000; i++) {
        random = random * 1664525U + 1013904223U;
        size_t bytes = random >> 26;
        char *text = dw_alloc(bytes, 1);
        for (size_t k = 0; k < bytes; k++) {
            random = random * 1664525U + 1013904223U;
            text[k] = letters[(random >> 16) % sizeof letters];
        }
        dw_json_excess excess = {0};
        if (!dw_json_within(text, bytes, &most, &excess)) {
            assert_true(excess.at <= bytes && excess.what != NULL);
        }
        dw_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_bounds_are_met_exactly),
        cmocka_unit_test(test_json_bounds_messages),
        cmocka_unit_test(test_json_bounds_of_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
