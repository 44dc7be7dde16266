/* Lines of an answer are read as jansson reads them. DW_TEST_SEED chooses the random ones. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serving/line.h"
#include "support.h"

/* What jansson makes of it, if it is such a line. */
static bool is_such(const char *bytes, size_t count, json_t **value)
{
    *value = json_loadb(bytes, count, 0, NULL);
    json_t *choice = json_object_get(*value, "c");
    json_t *tokens = json_object_get(*value, "k");
    return json_is_integer(choice) && json_is_integer(tokens) &&
           json_is_string(json_object_get(*value, "t"));
}

/* Whatever is read so, is what jansson reads. */
static bool read_one(const char *bytes, size_t count)
{
    dw_text text = {.bytes = NULL};
    dw_line line = {.text = &text};
    bool read = dw_line_read(&line, bytes, count);
    json_t *value = NULL;
    if (read) {
        assert_true(is_such(bytes, count, &value));
        const json_t *said = json_object_get(value, "t");
        assert_int_equal(json_object_size(value), 3);
        assert_int_equal(json_integer_value(json_object_get(value, "c")), line.choice);
        assert_int_equal(json_integer_value(json_object_get(value, "k")), line.tokens);
        assert_int_equal(json_string_length(said), text.count);
        assert_memory_equal(json_string_value(said), text.bytes, text.count);
        json_decref(value);
    }
    dw_text_free(&text);
    return read;
}

static bool read_text(const char *text)
{
    return read_one(text, strlen(text));
}

static void test_line_read(void **state)
{
    (void)state;
    assert_true(read_text("{\"c\":0,\"k\":1,\"t\":\" sea\"}"));
    assert_true(read_text("{\"c\":15,\"k\":4294967280,\"t\":\"\"}"));
    assert_true(
        read_text("{\"c\":0,\"k\":1,\"t\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u00e9\\u20AC\"}"));
    assert_true(read_text("{\"c\":0,\"k\":1,\"t\":\"Gr\u00fc\u00dfe \U0001f642\"}"));
}

static void test_line_others(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        "{}",
        "{\"c\":0,\"k\":1,\"t\":\" sea\"",
        "{\"c\":0,\"k\":1,\"t\":\" sea",
        "{\"c\":0,\"k\":1,\"t\":\" sea\\",
        "{\"c\":0,\"k\":1,\"t\":\" sea\"} ",
        "{\"c\":0,\"k\":1,\"t\":\" sea\",\"l\":[]}",
        "{\"c\":00,\"k\":1,\"t\":\"x\"}",
        "{\"c\":-1,\"k\":1,\"t\":\"x\"}",
        "{\"c\":,\"k\":1,\"t\":\"x\"}",
        "{\"c\":0,\"k\":4294967296,\"t\":\"x\"}",
        "{\"k\":1,\"c\":0,\"t\":\"x\"}",
        "{\"c\":0,\"k\":1,\"t\":7}",
        "{\"c\":0,\"k\":1,\"t\":\"a\nb\"}",
        "{\"c\":0,\"k\":1,\"t\":\"\\x\"}",
        "{\"c\":0,\"k\":1,\"t\":\"\\u00g0\"}",
        "{\"c\":0,\"k\":1,\"t\":\"\\u12\"}",
        "{\"c\":0,\"k\":1,\"t\":\"\\u0000\"}",
        "{\"c\":0,\"k\":1,\"t\":\"\\ud83d\\ude42\"}", /* jansson reads it: left to it */
        "{\"c\":0,\"k\":1,\"t\":\"\xff\"}",
        "{\"c\":0,\"k\":1,\"t\":\"\xed\xa0\x80\"}",
        "{\"c\":0,\"k\":1,\"t\":\"\xc3\"}",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(read_text(others[i]));
    }
}

static uint64_t next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Characters that matter, written by jansson: all are read; changed anyhow: none wrongly. */
static void test_line_random(void **state)
{
    (void)state;
    static const char *const parts[] = {"a",      " ",      "\"",         "\\", "\n", "\t",
                                        "/",      "\x01",   "\x7f",       "u0", "{}", ",",
                                        "\u00e9", "\u20ac", "\U0001f642", "\\n"};
    const char *given = getenv("DW_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)seed);
    size_t changed = 0;
    for (int round = 0; round < 20000; round++) {
        char text[64] = "";
        for (uint64_t left = next(&seed) % 12; left > 0; left--) {
            const char *part = parts[next(&seed) % (sizeof parts / sizeof parts[0])];
            size_t length = strlen(text);
            (void)snprintf(text + length, sizeof text - length, "%s", part);
        }
        json_t *value = json_pack("{s:i, s:i, s:s}", "c", (int)(next(&seed) % 20), "k",
                                  (int)(next(&seed) % 100000), "t", text);
        char *line = json_dumps(value, JSON_COMPACT | JSON_PRESERVE_ORDER);
        json_decref(value);
        assert_non_null(line);
        size_t count = strlen(line);
        assert_true(read_one(line, count));
        line[next(&seed) % count] = (char)next(&seed);
        changed += read_one(line, next(&seed) % 4 == 0 ? next(&seed) % count : count);
        free(line);
    }
    assert_true(changed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_read),
        cmocka_unit_test(test_line_others),
        cmocka_unit_test(test_line_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
