/* Limits as they are told and set: by name from text, many from a manifest, in options, and in
 * snapshots. That each of them holds is tests/unit/test_limits.c. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "support.h"

static dw_limits fresh(void)
{
    return (dw_limits){.struct_bytes = sizeof(dw_limits)};
}

static void test_limit_rows_are_plausible(void **state)
{
    (void)state;
    dw_error error;
    for (size_t i = 0; i < dw_limit_count(); i++) {
        dw_limit_info info = {.struct_bytes = sizeof info};
        assert_int_equal(dw_limit_get_info(i, &info, &error), DW_OK);
        assert_true(info.lowest > 0 && info.lowest <= info.usual && info.usual <= info.highest);
        assert_int_equal(dw_limit_find(info.name), i);
        assert_int_equal(dw_limits_at(&dw_limits_usual, i), info.usual);
        assert_true(strlen(info.what) > 10 && strlen(info.what) < 90);
        assert_true(info.option[0] == '\0' || strncmp(info.option, "--", 2) == 0);
        assert_string_not_equal(dw_limit_unit_name(info.unit), "?");
        /* What is told can be set. */
        const uint64_t values[] = {info.usual, info.lowest, info.highest};
        for (size_t k = 0; k < 3; k++) {
            char text[DW_LIMIT_TEXT_BYTES];
            dw_limits limits = fresh();
            dw_limit_format(info.unit, values[k], text);
            assert_int_equal(dw_limits_set(&limits, info.name, text, &error), DW_OK);
            assert_true(dw_limits_at(&limits, i) == values[k]);
        }
    }
    dw_limit_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_limit_get_info(dw_limit_count(), &info, &error), DW_E_RANGE);
    info.struct_bytes = 0;
    assert_int_equal(dw_limit_get_info(0, &info, &error), DW_E_ARG);
}

typedef struct reading {
    const char *name;
    const char *text;
    dw_status status;
    uint64_t value;
    const char *says;
} reading;

static void test_limit_values_from_text(void **state)
{
    (void)state;
    static const reading readings[] = {
        {"memory_bytes", "65536", DW_OK, 65536, NULL},
        {"memory_bytes", "64K", DW_OK, 65536, NULL},
        {"memory_bytes", "256M", DW_OK, UINT64_C(256) << 20, NULL},
        {"memory_bytes", "3T", DW_OK, UINT64_C(3) << 40, NULL},
        {"timeout_ms", "1500", DW_OK, 1500, NULL},
        {"timeout_ms", "1500ms", DW_OK, 1500, NULL},
        {"timeout_ms", "30s", DW_OK, 30000, NULL},
        {"timeout_ms", "2h", DW_OK, 7200000, NULL},
        {"timeout_ms", "none", DW_OK, DW_LIMIT_NONE, NULL},
        {"timers", "8", DW_OK, 8, NULL},
        {"timers", "8K", DW_E_ARG, 0, "limit timers: '8K' is not a whole number"},
        {"timers", "none", DW_E_ARG, 0, "'none'"},
        {"timers", "", DW_E_ARG, 0, "''"},
        {"timers", "-1", DW_E_ARG, 0, "'-1'"},
        {"timers", " 1", DW_E_ARG, 0, "' 1'"},
        {"timers", "0", DW_E_RANGE, 0, "limit timers: 0, from 1 to 1000000"},
        {"timers", "1000001", DW_E_RANGE, 0, "1000001, from 1 to 1000000"},
        {"timers", "18446744073709551616", DW_E_ARG, 0, "18446744073709551616"},
        {"memory_bytes", "64k", DW_E_ARG, 0, "bytes such as 256M"},
        {"memory_bytes", "1Kx", DW_E_ARG, 0, "1Kx"},
        {"memory_bytes", "63K", DW_E_RANGE, 0, "63K, from 64K to"},
        {"memory_bytes", "18446744073709551615T", DW_E_RANGE, 0, "limit memory_bytes"},
        {"timeout_ms", "30x", DW_E_ARG, 0, "a time such as 30s or 500ms, or none"},
        {"timeout_ms", "18446744073709551614", DW_E_RANGE, 0, "limit timeout_ms"},
        {"Timers", "8", DW_E_NOT_FOUND, 0, "limit 'Timers'"},
        {"", "8", DW_E_NOT_FOUND, 0, "limit ''"},
    };
    for (size_t i = 0; i < sizeof readings / sizeof readings[0]; i++) {
        const reading *of = &readings[i];
        dw_limits limits = fresh();
        const dw_limits before = limits;
        dw_error error = {.message = ""};
        assert_int_equal(dw_limits_set(&limits, of->name, of->text, &error), of->status);
        if (of->status == DW_OK) {
            assert_true(dw_limits_at(&limits, dw_limit_find(of->name)) == of->value);
        } else {
            assert_non_null(strstr(error.message, of->says));
            assert_memory_equal(&limits, &before, sizeof limits);
        }
    }
    dw_limits unset = {.struct_bytes = 0};
    assert_int_equal(dw_limits_set(&unset, "timers", "8", NULL), DW_E_ARG);
}

static void test_limit_manifests(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        dw_status status;
        const char *says;
    } bad[] = {
        {"{\"timers\": 3, \"foo\": 1}", DW_E_NOT_FOUND, "'foo'"},
        {"{\"timers\": 1.5}", DW_E_FORMAT, "timers: a fraction"},
        {"{\"timers\": true}", DW_E_FORMAT, "timers: true"},
        {"{\"timers\": null}", DW_E_FORMAT, "timers: null"},
        {"{\"timers\": [3]}", DW_E_FORMAT, "timers: a list"},
        {"{\"timers\": -3}", DW_E_RANGE, "timers: -3"},
        {"{\"timers\": 0}", DW_E_RANGE, "timers: 0, from 1"},
        {"{\"timers\": \"3x\"}", DW_E_ARG, "timers: '3x'"},
        {"{\"timers\": \"3\\u0000\"}", DW_E_FORMAT, ""},
        {"{\"timers\": 3, \"timers\": 4}", DW_E_FORMAT, "duplicate"},
        {"{\"timers\": 3", DW_E_FORMAT, "line 1"},
        {"[]", DW_E_FORMAT, "object"},
        {"", DW_E_FORMAT, "line"},
    };
    dw_limits limits = fresh();
    dw_error error = {.message = ""};
    const char *good = "{\"timers\": 3, \"memory_bytes\": \"2G\", \"timeout_ms\": \"none\"}";
    assert_int_equal(dw_limits_read(&limits, good, strlen(good), &error), DW_OK);
    assert_true(limits.timers == 3 && limits.memory_bytes == UINT64_C(2) << 30 &&
                limits.timeout_ms == DW_LIMIT_NONE && limits.messages == 0);
    assert_int_equal(dw_limits_read(&limits, "{}", 2, &error), DW_OK);
    const dw_limits before = limits;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        error.message[0] = '\0';
        assert_int_equal(dw_limits_read(&limits, bad[i].json, strlen(bad[i].json), &error),
                         bad[i].status);
        assert_non_null(strstr(error.message, bad[i].says));
        assert_memory_equal(&limits, &before, sizeof limits);
    }
    assert_int_equal(dw_limits_read(&limits, "{}\0", 3, &error), DW_E_FORMAT);
    assert_int_equal(dw_limits_read(&limits, "{}", (size_t)2 << 20, &error), DW_E_LIMIT);
}

static void test_limits_together(void **state)
{
    (void)state;
    dw_limits given = fresh();
    dw_limits own;
    dw_error error = {.message = ""};
    given.timers = 1000000;
    given.effects = 2;
    assert_int_equal(dw_limits_take(&own, &given, &error), DW_OK);
    dw_limits_lower(&own, &dw_limits_usual);
    assert_true(own.timers == dw_limits_usual.timers && own.effects == 2 && own.messages == 0);
    dw_limits_fill(&own, &dw_limits_usual);
    assert_true(own.messages == dw_limits_usual.messages && own.effects == 2);
    given.timers = 1000001;
    assert_int_equal(dw_limits_take(&own, &given, &error), DW_E_RANGE);
    assert_non_null(strstr(error.message, "limit timers: 1000001"));
    assert_int_equal(dw_limits_take(&own, NULL, &error), DW_OK);
    assert_true(own.struct_bytes == sizeof own && own.timers == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_rows_are_plausible),
        cmocka_unit_test(test_limit_values_from_text),
        cmocka_unit_test(test_limit_manifests),
        cmocka_unit_test(test_limits_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
