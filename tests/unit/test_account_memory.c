/* What guests that take all they can cost their process, beyond what their accounts say: at most a
 * tenth and 8 MB, while they hold it and at the worst moment. */
#include <fcntl.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "actor_fixture.h"
#include "support.h"

#define SPARE_BYTES 8000000

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

/* What it costs to do something, and what the account of who did it says. */
typedef struct measure {
    uint64_t before;
    uint64_t peak;
    uint64_t taken;
} measure;

static measure measure_begin(void)
{
#if defined(__GLIBC__)
    (void)malloc_trim(0); /* what others have freed would be taken again, and not be seen */
#endif
    assert_true(reset_peak());
    return (measure){.before = memory_of_process("VmRSS")};
}

static void measure_end(measure *m, const dw_instance *instance)
{
    m->peak = memory_of_process("VmHWM");
    m->taken = most_taken(instance);
}

static void check(const measure *m, const char *what, int32_t times)
{
    if (times <= 0 || m->peak > m->before + m->taken + m->taken / 10 + SPARE_BYTES) {
        fail_msg("%s: %d times, %.1f MB of the process, %.1f MB of the account", what, times,
                 (double)(m->peak - m->before) / 1e6, (double)m->taken / 1e6);
    }
    print_message("%s: %d times, %.1f MB of the process, %.1f MB of the account\n", what, times,
                  (double)(m->peak - m->before) / 1e6, (double)m->taken / 1e6);
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
                                   .chat_template = "chatml",
                                   .limits = &limits};
    measure m = measure_begin();
    if (dw_instance_create(&instance, module, &options, &error) != DW_OK ||
        dw_instance_call(instance, function, &times, &error) != DW_OK) {
        fail_msg("%s: %s", function, error.message);
    }
    measure_end(&m, instance);
    dw_instance_destroy(instance);
    if (counts) {
        check(&m, function, times);
    }
}

/* ---- tables --------------------------------------------------------------------------------- */

/* Sixteen, of a million elements each, of which every one is set. */
#define TABLE "(table 1000000 1000000 funcref)"
#define FILL(i) "(table.fill " #i " (i32.const 0) (ref.func $f) (i32.const 1000000))"
#define FOUR(x) x x x x
static const char tables[] = "(module (memory (export \"memory\") 1)" FOUR(
    FOUR(TABLE)) "(elem declare func $f)"
                 "(func $f (export \"tables\") (result i32)" FILL(0) FILL(1) FILL(2) FILL(3) FILL(4)
                     FILL(5) FILL(6) FILL(7) FILL(8) FILL(9) FILL(10) FILL(11) FILL(12) FILL(13)
                         FILL(14) FILL(15) " (i32.const 16)))";

static void test_account_memory_of_tables(void **state)
{
    actor_fixture *fixture = *state;
    wasm_byte_vec_t wasm;
    dw_module *module = NULL;
    dw_error error = {.message = ""};
    if (SANITIZED || !reset_peak()) {
        skip();
    }
    assert_null(wasmtime_wat2wasm(tables, sizeof tables - 1, &wasm));
    dw_status status = dw_module_create(&module, fixture->engine, wasm.data, wasm.size, &error);
    wasm_byte_vec_delete(&wasm);
    if (status != DW_OK) {
        fail_msg("%s", error.message);
    }
    hog(fixture, module, "tables", false);
    hog(fixture, module, "tables", true);
    dw_module_unref(module);
}

/* ---- mail ----------------------------------------------------------------------------------- */

/* tests/guest/limits.c: do `what` as often, with so many bytes. */
typedef struct order {
    char what[4];
    uint32_t count;
    uint32_t size;
} order;

static dw_actor *spawn(dw_module *module, const dw_limits *limits)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = limits};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    if (dw_actor_spawn(&actor, module, &options, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    return actor;
}

/* Messages of `size` bytes, until no more may wait. */
static void hog_mail(dw_module *module, const dw_limits *limits, uint32_t size, bool counts)
{
    static char message[1 << 20];
    dw_error error = {.message = ""};
    measure m = measure_begin();
    dw_actor *actor = spawn(module, limits);
    int32_t times = 0;
    dw_status status = DW_OK;
    for (; status == DW_OK; times += status == DW_OK) {
        status = dw_actor_send(actor, NULL, message, size, &error);
    }
    measure_end(&m, dw_actor_instance(actor));
    dw_actor_destroy(actor);
    if (strstr(error.message, "memory_bytes") == NULL) {
        fail_msg("%s", error.message);
    }
    if (counts) {
        check(&m, size > 1 ? "large messages" : "small messages", times);
    }
}

/* What an actor asks for while it works on one message. */
static void hog_effects(dw_module *module, const dw_limits *limits, const order *wanted,
                        bool counts)
{
    dw_error error = {.message = ""};
    measure m = measure_begin();
    dw_actor *actor = spawn(module, limits);
    if (dw_actor_send(actor, NULL, wanted, sizeof *wanted, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    dw_status status = dw_actor_receive(actor, NULL, NULL, &error);
    measure_end(&m, dw_actor_instance(actor));
    dw_actor_destroy(actor);
    if (status == DW_OK || strstr(error.message, "memory_bytes") == NULL) {
        fail_msg("%s: %s", wanted->what, error.message);
    }
    if (counts) {
        check(&m, wanted->what, 1);
    }
}

static void test_account_memory_of_mail(void **state)
{
    static const uint32_t sizes[] = {1, 1 << 20};
    static const order orders[] = {{"s", 1000000, 1}, {"s", 100000, 4096}, {"t", 100000, 4096}};
    actor_fixture *fixture = *state;
    const dw_limits limits = {.struct_bytes = sizeof limits,
                              .memory_bytes = UINT64_C(100) << 20,
                              .messages = 1000000,
                              .timers = 1000000,
                              .effects = 1000000};
    if (SANITIZED || !reset_peak()) {
        skip();
    }
    dw_module *module = actor_module(fixture, "limits.wasm");
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            hog_mail(module, &limits, sizes[i], round == 1);
        }
        for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
            hog_effects(module, &limits, &orders[i], round == 1);
        }
    }
    dw_module_unref(module);
}

static void test_account_memory_is_what_it_costs(void **state)
{
    static const char *const functions[] = {"pages",   "samplers", "grammars", "contexts", "forks",
                                            "graphs",  "words",    "one_word", "chat",     "values",
                                            "objects", "answer",   "handles"};
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
        cmocka_unit_test(test_account_memory_of_tables),
        cmocka_unit_test(test_account_memory_of_mail),
    };
    return cmocka_run_group_tests(tests, actor_fixture_open, actor_fixture_close);
}
