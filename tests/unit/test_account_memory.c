/* What guests that take all they can cost their process, beyond what their accounts say: at most a
 * tenth and 8 MB, while they hold it and at the worst moment. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "support.h"

#define SPARE_BYTES 8000000

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* Let the system's peak begin anew; false: it cannot. */
static bool reset_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    if (fd < 0) {
        return false;
    }
    bool good = write(fd, "5", 1) == 1;
    (void)close(fd);
    return good;
}

static uint64_t memory_of_process(const char *key)
{
    char line[256];
    unsigned long long kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            assert_int_equal(sscanf(line + strlen(key), ": %llu", &kb), 1);
        }
    }
    (void)fclose(file);
    return kb * 1024;
}

static uint64_t most_taken(const dw_instance *instance)
{
    dw_account_info all = {.struct_bytes = sizeof all};
    dw_error error;
    assert_int_equal(dw_instance_get_account(instance, 0, &all, &error), DW_OK);
    return all.most;
}

/* One that has run before: what the model makes at the first need is no guest's. */
static void hog(actor_fixture *fixture, dw_module *module, const char *function, bool counts)
{
    dw_instance *instance = NULL;
    dw_error error = {.message = ""};
    int32_t times = 0;
    const dw_limits limits = {.struct_bytes = sizeof limits, .memory_bytes = UINT64_C(600) << 20};
    dw_instance_options options = {.struct_bytes = sizeof options,
                                   .models = &fixture->model,
                                   .model_count = 1,
                                   .limits = &limits};
    assert_true(reset_peak());
    uint64_t before = memory_of_process("VmRSS");
    if (dw_instance_create(&instance, module, &options, &error) != DW_OK ||
        dw_instance_call(instance, function, &times, &error) != DW_OK) {
        fail_msg("%s: %s", function, error.message);
    }
    uint64_t peak = memory_of_process("VmHWM");
    uint64_t taken = most_taken(instance);
    dw_instance_destroy(instance);
    bool served = times > 0 || times == DW_E_UNSUPPORTED; /* a model without a template */
    if (counts && (!served || peak > before + taken + taken / 10 + SPARE_BYTES)) {
        fail_msg("%s: %d times, %.1f MB of the process, %.1f MB of the account", function, times,
                 (double)(peak - before) / 1e6, (double)taken / 1e6);
    }
}

static void test_account_memory_is_what_it_costs(void **state)
{
    static const char *const functions[] = {"pages",  "samplers", "grammars", "contexts", "forks",
                                            "graphs", "words",    "one_word", "chat",     "values"};
    actor_fixture *fixture = *state;
    if (SANITIZED || emulated() || !reset_peak()) {
        skip();
    }
    dw_module *module = actor_module(fixture, "hogs.wasm");
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        hog(fixture, module, functions[i], false);
        hog(fixture, module, functions[i], true);
    }
    dw_module_unref(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_account_memory_is_what_it_costs),
    };
    return cmocka_run_group_tests(tests, actor_fixture_open, actor_fixture_close);
}
