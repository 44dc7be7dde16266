/* The doctor's report on this machine. */
#include <stdlib.h>
#include <string.h>

#include "api/doctor.h"
#include "support.h"

#define GUEST DW_TEST_GUESTS_DIR "/doctor_chain.wasm"

static const dw_doctor_check *find(const dw_doctor_report *report, const char *name)
{
    for (size_t i = 0; i < report->check_count; i++) {
        if (strcmp(report->checks[i].name, name) == 0) {
            return &report->checks[i];
        }
    }
    fail_msg("no check '%s'", name);
    return NULL;
}

static void test_doctor_finds_the_chain_whole(void **state)
{
    (void)state;
    dw_doctor_report *found = NULL;
    dw_error error = {0};
    const char *device = getenv("DW_TEST_DEVICE");
    dw_status status = dw_doctor_examine(&found, device != NULL ? device : "CPU", GUEST, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    dw_doctor_report report = *found;
    dw_doctor_info info = {.struct_bytes = sizeof info};
    dw_doctor_get_info(found, &info);
    assert_int_equal(info.check_count, report.check_count);
    assert_string_equal(info.device, report.device.name);
    dw_doctor_check_info check_info = {.struct_bytes = sizeof check_info};
    assert_int_equal(dw_doctor_get_check(found, info.check_count, &check_info, &error), DW_E_RANGE);
    assert_int_equal(dw_doctor_get_check(found, 1, &check_info, &error), DW_OK);
    assert_string_equal(check_info.name, report.checks[1].name);
    const char *const links[] = {"link 1", "link 2", "link 3", "chain"};
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        size_t count = 0;
        for (size_t j = 0; j < report.check_count; j++) {
            count += strcmp(report.checks[j].link, links[i]) == 0;
        }
        assert_true(count >= 2);
    }
    for (size_t i = 0; i < report.check_count; i++) {
        const dw_doctor_check *check = &report.checks[i];
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        if (strcmp(check->name, "rss_growth_16mib") == 0) {
            continue; /* the sanitizers' shadow pages count as resident */
        }
#endif
        if (!check->ok) {
            print_error("%s: %f %s %s\n", check->name, check->value, check->unit, check->note);
        }
        assert_true(check->ok);
    }
    assert_true(find(&report, "gemm")->value == 0);
    assert_true(find(&report, "gemm_after_grow")->value == 0);
    assert_true(find(&report, "device_staged_bytes")->value == 0);
    assert_true(find(&report, "pointer_identity")->value == 0);
    assert_true(find(&report, "guest_to_host_call")->value > 0);
    dw_doctor_report_destroy(found);
}

static void test_doctor_names_what_keeps_it_from_checking(void **state)
{
    (void)state;
    dw_doctor_report *report = NULL;
    dw_error error;
    assert_int_equal(dw_doctor_examine(&report, "TPU7", GUEST, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "TPU7"));
    assert_int_equal(dw_doctor_examine(&report, "CPU", "/nonexistent.wasm", &error),
                     DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "/nonexistent.wasm"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doctor_finds_the_chain_whole),
        cmocka_unit_test(test_doctor_names_what_keeps_it_from_checking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
