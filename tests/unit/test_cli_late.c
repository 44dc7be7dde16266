/* Libraries found when a command needs them: here the one of C, which is always there. */
#include <string.h>

#include "cli/late.h"
#include "support.h"

#ifdef __APPLE__
#define LIBRARY "libSystem.B.dylib"
#else
#define LIBRARY "libc.so.6"
#endif

static size_t (*length_of)(const char *);
static int (*compare)(const char *, const char *);

static void test_cli_late_finds_functions(void **state)
{
    const dw_cli_late_function functions[] = {{"strlen", &length_of}, {"strcmp", &compare}};
    dw_error err = {.message = ""};
    (void)state;
    assert_int_equal(dw_cli_late_find(LIBRARY, "nothing", functions, 2, &err), DW_OK);
    assert_int_equal(length_of("late"), 4);
    assert_int_equal(compare("late", "late"), 0);
}

/* Whoever asks whether one of them is there gets the answer for all. */
static void test_cli_late_leaves_none_of_them(void **state)
{
    const dw_cli_late_function functions[] = {{"strlen", &length_of}, {"dw_no_such", &compare}};
    dw_error err = {.message = ""};
    (void)state;
    assert_int_equal(dw_cli_late_find(LIBRARY, "no lengths", functions, 2, &err), DW_E_UNSUPPORTED);
    assert_null(length_of);
    assert_null(compare);
    assert_non_null(strstr(err.message, "no lengths: "));
    assert_non_null(strstr(err.message, "dw_no_such"));
    assert_int_equal(dw_cli_late_find("libdw-none.so", "no lengths", functions, 2, &err),
                     DW_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "libdw-none.so"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_late_finds_functions),
        cmocka_unit_test(test_cli_late_leaves_none_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
