/* JSON that a strict parser refuses whole for one character or number in it. */
#include <string.h>

#include <jansson.h>

#include "base/alloc.h"
#include "base/json_mend.h"
#include "support.h"

static void expect(const char *text, const char *mended)
{
    size_t count = 1;
    char *own = dw_json_mend(text, strlen(text), &count);
    if (mended == NULL) {
        assert_null(own);
        assert_int_equal(count, 0);
        return;
    }
    assert_non_null(own);
    assert_int_equal(count, strlen(mended));
    assert_memory_equal(own, mended, count);
    dw_free(own);
}

static void test_json_mend_escapes(void **state)
{
    (void)state;
    expect("\"a\\ud83d b\"", "\"a\\ufffd b\"");
    expect("\"\\ude00\"", "\"\\ufffd\"");
    expect("\"\\uD83D\\uDE00\"", NULL);
    expect("\"\\ud83d\\ud83d\\ude00\"", "\"\\ufffd\\ud83d\\ude00\"");
    expect("\"\\u0000\\u0001\"", "\"\\ufffd\\u0001\"");
    expect("\"\\\\ud83d\"", NULL); /* a backslash, and letters */
    expect("\"\\\\\\ud83d\\\"\"", "\"\\\\\\ufffd\\\"\"");
    expect("\"\\ud83\"", NULL);
    expect("\\ud83d", NULL); /* in no string: no JSON either way */
    expect("\"\\", NULL);
}

static void test_json_mend_numbers(void **state)
{
    (void)state;
    expect("[9223372036854775807, -9223372036854775808]", NULL);
    expect("{\"a\":9223372036854775808}", "{\"a\":9223372036854775808.0}");
    expect("[18446744073709551615,1]", "[18446744073709551615.0,1]");
    expect("-92233720368547758090", "-92233720368547758090.0");
    expect("[1.18446744073709551615, 1e-18446744073709551615, 12345678901234567890.5]", NULL);
    expect("\"18446744073709551615\"", NULL);
    expect("[99999999999999999999,99999999999999999999]",
           "[99999999999999999999.0,99999999999999999999.0]");
    char digits[402];
    memset(digits, '7', 400);
    digits[400] = ']';
    digits[401] = '\0';
    digits[0] = '[';
    expect(digits, "[1e308]");
    expect("[1e999,-7.5E+400, 2e308]", "[1e308,-1e308, 1e308]");
    expect("[1e308,1.7e308,0e999,7.5E-400,1e99]", NULL);
    expect("[1.7976931348623157e308,17.976931348623157E307,-1.797e308]", NULL);
    expect("[1.8e308,1.7976931348623159e+308,-17.98E307,3e307]", "[1e308,1e308,-1e308,3e307]");
    expect("[0.5e400,-0.001E312,0.18e309,0.5e309]", "[1e308,-1e308,1e308,1e308]");
    expect("[0.1e309,0.0017e311,0.000e999,0.0,0]", NULL);
    expect("[1.e999,01e999, 00.1e999]", NULL); /* no numbers of JSON either way */
    size_t count = 0;
    json_error_t problem;
    char *own = dw_json_mend("[18446744073709551615]", 22, &count);
    json_t *list = json_loadb(own, count, 0, &problem);
    assert_true(json_real_value(json_array_get(list, 0)) == 18446744073709551616.0);
    json_decref(list);
    dw_free(own);
}

static void test_json_mend_halves(void **state)
{
    (void)state;
    static const char text[] = "[\"a\\ud83d\\u0000\",18446744073709551615,1e999]";
    static const char mended[] = "[\"a\\ufffd\\u0000\",18446744073709551615,1e999]";
    size_t count = 0;
    char *own = dw_json_mend_halves(text, sizeof text - 1, &count);
    assert_string_equal(own, mended);
    assert_int_equal(count, sizeof mended - 1);
    dw_free(own);
    assert_null(dw_json_mend_halves(mended, sizeof mended - 1, &count));
}

/* Any bytes, in a block of just their number: what was JSON stays what it was. */
static void test_json_mend_any_bytes(void **state)
{
    static const char letters[] = "\"\\u0dD8cf9999,[]-.e ";
    uint32_t random = 5;
    (void)state;
    for (int i = 0; i < 200000; i++) {
        random = random * 1664525U + 1013904223U;
        size_t bytes = random >> 26;
        char *text = dw_alloc(bytes, 1);
        for (size_t k = 0; k < bytes; k++) {
            random = random * 1664525U + 1013904223U;
            text[k] = letters[(random >> 16) % (sizeof letters - 1)];
        }
        size_t count = 0;
        char *own = dw_json_mend(text, bytes, &count);
        json_t *value = json_loadb(text, bytes, JSON_DECODE_ANY, NULL);
        assert_true(value == NULL || own == NULL);
        json_decref(value);
        dw_free(own);
        dw_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_mend_escapes),
        cmocka_unit_test(test_json_mend_numbers),
        cmocka_unit_test(test_json_mend_halves),
        cmocka_unit_test(test_json_mend_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
