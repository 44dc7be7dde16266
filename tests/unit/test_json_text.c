/* JSON written piece by piece is JSON, whatever bytes it is given. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "support.h"

static char *text_of(const char *bytes, size_t count)
{
    dw_json_text json = dw_json_text_growing();
    json_error_t error;
    dw_json_open(&json, '[');
    dw_json_string_of(&json, bytes, count);
    dw_json_close(&json, ']');
    assert_true(dw_json_text_is_whole(&json));
    for (size_t i = 0; i < json.count; i++) { /* a line of its own, without controls */
        assert_true((unsigned char)json.items[i] >= ' ' && json.items[i] != 0x7f);
    }
    json_t *root = json_loadb(json.items, json.count, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    json_t *value = json_array_get(root, 0);
    char *copy = malloc(json_string_length(value) + 1);
    assert_non_null(copy);
    memcpy(copy, json_string_value(value), json_string_length(value) + 1);
    json_decref(root);
    dw_json_text_release(&json);
    return copy;
}

static void assert_told(const char *bytes, size_t count, const char *expected)
{
    char *text = text_of(bytes, count);
    assert_string_equal(text, expected);
    free(text);
}

static void test_json_text_escapes(void **state)
{
    (void)state;
    assert_told("plain", 5, "plain");
    assert_told("\"},{\"\\", 6, "\"},{\"\\");
    assert_told("a\nb\t\x1b[31m\x7f", strlen("a\nb\t\x1b[31m\x7f"), "a\nb\t\x1b[31m\x7f");
    assert_told("Grüße 🙂", strlen("Grüße 🙂"), "Grüße 🙂");
    assert_told("\xc2\x9b"
                "2J",
                4,
                "\xc2\x9b"
                "2J"); /* a control of 8 bits, by its number */
    assert_told("\xff", 1, "\xef\xbf\xbd");
    assert_told("a\xc3", 2, "a\xef\xbf\xbd");                               /* cut */
    assert_told("\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd");                 /* longer than needed */
    assert_told("\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* half a pair */
    assert_told("\xf4\x90\x80\x80", 4, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    assert_told("", 0, "");
}

static void test_json_text_takes_any_bytes(void **state)
{
    (void)state;
    uint32_t chance = 7;
    for (int round = 0; round < 20000; round++) {
        char bytes[24];
        size_t count = (chance >> 8) % sizeof bytes + 1;
        for (size_t i = 0; i < count; i++) {
            chance = chance * 1664525u + 1013904223u;
            /* Leads of sequences and their ends more often than others. */
            bytes[i] = (char)((chance >> 30) == 0 ? chance >> 16 : 0x80 | (chance >> 17 & 0x7f));
        }
        if (memchr(bytes, 0, count) == NULL) { /* jansson wants to be asked for those */
            free(text_of(bytes, count));
        }
    }
}

static void test_json_text_has_commas(void **state)
{
    (void)state;
    char room[128];
    dw_json_text json = dw_json_text_in(room, sizeof room);
    dw_json_open(&json, '{');
    dw_json_add_whole(&json, "a", UINT64_MAX);
    dw_json_key(&json, "b");
    dw_json_open(&json, '[');
    dw_json_open(&json, '{');
    dw_json_close(&json, '}');
    dw_json_micros(&json, 1234005);
    dw_json_truth(&json, false);
    dw_json_close(&json, ']');
    dw_json_add_string(&json, "c", "[");
    dw_json_add_truth(&json, "d", true);
    dw_json_close(&json, '}');
    const char *expected =
        "{\"a\":18446744073709551615,\"b\":[{},1234.005,false],\"c\":\"[\",\"d\":true}";
    assert_true(dw_json_text_is_whole(&json));
    assert_int_equal(json.count, strlen(expected));
    assert_memory_equal(room, expected, json.count);
    json = dw_json_text_in(room, 3); /* counted, where it has no room */
    dw_json_string(&json, "four");
    assert_false(dw_json_text_is_whole(&json));
    assert_int_equal(json.count, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_text_escapes),
        cmocka_unit_test(test_json_text_takes_any_bytes),
        cmocka_unit_test(test_json_text_has_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
