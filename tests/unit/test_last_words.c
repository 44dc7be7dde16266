/* What is taken for the reason of a failure, of what the languages' own runtimes write. */
#include <stdlib.h>
#include <string.h>

#include "actor/last_words.h"
#include "base/utf8.h"
#include "support.h"

static void check(const char *said, const char *expected)
{
    dw_last_words words = {.bytes = NULL};
    char text[248] = "it";
    dw_last_words_put(&words, (const unsigned char *)said, strlen(said));
    dw_last_words_append(&words, text, sizeof text);
    assert_string_equal(text, expected);
    dw_last_words_release(&words);
}

static void test_last_words_of_languages(void **state)
{
    (void)state;
    check("", "it");
    check("\n\n", "it");
    check("Traceback (most recent call last):\n  File \"main.py\", line 3, in receive\n"
          "    return 1 / 0\nZeroDivisionError: division by zero\n",
          "it: ZeroDivisionError: division by zero");
    check("asked 3 of 4\nError: no tide\n    at sail (main.js:3:9)\n    at receive (main.js:8:3)\n",
          "it: Error: no tide at sail (main.js:3:9) at receive (main.js:8:3)");
    check("panic: no tide\n\ngoroutine 1 [running]:\nmain.sail(...)\n\t/src/main.go:9\n",
          "it: panic: no tide");
    check("\nthread 'main' (1) panicked at src/lib.rs:3:5:\nno tide\n"
          "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
          "it: thread 'main' (1) panicked at src/lib.rs:3:5: no tide");
    check("panic: no sea\nCannot print stack trace\n", "it: panic: no sea");
    check("first\nforward: no room (E_LIMIT)\n", "it: forward: no room (E_LIMIT)");
    check("no end of the line", "it: no end of the line");
    check("a\tb\x01\x7f  c\xff\r\n", "it: a b c");
    check("x\xc2\x9b\xc2\x85y\xc2\xa0z", "it: x y\xc2\xa0z"); /* controls of two bytes */
    check("  all of it is indented\n", "it");
}

static void test_last_words_fit(void **state)
{
    (void)state;
    dw_last_words words = {.bytes = NULL};
    for (int i = 0; i < 100000; i++) {
        dw_last_words_put(&words, (const unsigned char *)"\xc3\xa9", 2);
    }
    for (size_t before = 0; before < 247; before++) {
        char text[248 + 8];
        memset(text, 'x', sizeof text);
        text[before] = '\0';
        dw_last_words_append(&words, text, 248);
        size_t bytes = strlen(text);
        assert_true(bytes < 248 && bytes >= 150);
        assert_true(dw_text_is_utf8(text, bytes));
        assert_true(before <= 40 || text[40] == 'x'); /* what was there is cut, not replaced */
    }
    dw_last_words_release(&words);
}

/* Any bytes in any pieces: what comes is text, ends, and is as long as there is room. */
static void test_last_words_of_anything(void **state)
{
    static const char *const parts[] = {
        "\n", "panic: ", "thread '", ":", "note: ", " ", "\xf0\x9f", "\x80", "e\n"};
    (void)state;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        dw_last_words words = {.bytes = NULL};
        for (int i = rand() % 12; i > 0; i--) {
            const char *part = parts[(size_t)rand() % (sizeof parts / sizeof parts[0])];
            dw_last_words_put(&words, (const unsigned char *)part, strlen(part));
        }
        char text[248] = "the guest left";
        size_t capacity = 184 + (size_t)rand() % 64;
        dw_last_words_append(&words, text, capacity);
        assert_true(strnlen(text, sizeof text) < capacity);
        assert_true(dw_text_is_utf8(text, strlen(text)));
        assert_null(strchr(text, '\n'));
        dw_last_words_release(&words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_words_of_languages),
        cmocka_unit_test(test_last_words_fit),
        cmocka_unit_test(test_last_words_of_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
