/* Programs that were compiled against an older or a newer header: their structs are shorter or
 * longer than the library's. And the version, which tells such a program what it runs with. */
#include <stdio.h>
#include <string.h>

#include "driftwood.h"
#include "support.h"

/* dw_engine_options as if it had ended behind `threads`. */
typedef struct old_options {
    size_t struct_bytes;
    const char *device;
    int threads;
} old_options;

/* As if two members had been added. */
typedef struct new_options {
    dw_engine_options known;
    uint64_t later;
    uint64_t latest;
} new_options;

typedef struct old_stats {
    size_t struct_bytes;
    uint64_t memory_bytes;
    uint64_t beyond; /* not the library's to write */
} old_stats;

typedef struct new_stats {
    dw_engine_stats known;
    uint64_t later;
} new_stats;

static size_t error_lines;

static void on_line(void *user, dw_log_level level, const char *line)
{
    assert_int_equal(level, DW_LOG_ERROR);
    assert_non_null(strstr(line, user));
    error_lines++;
}

static dw_engine *open_engine(const void *options)
{
    dw_engine *engine = NULL;
    dw_error error = {.message = ""};
    dw_status status = dw_engine_create(&engine, options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return engine;
}

static void test_public_struct_shorter_options(void **state)
{
    (void)state;
    _Static_assert(offsetof(old_options, threads) == offsetof(dw_engine_options, threads), "");
    old_options old = {.struct_bytes = offsetof(old_options, threads) + sizeof(int),
                       .device = "CPU",
                       .threads = 1};
    dw_engine_destroy(open_engine(&old));
}

static void test_public_struct_longer_options(void **state)
{
    (void)state;
    new_options later = {.known = {.struct_bytes = sizeof later, .device = "CPU", .threads = 1}};
    dw_engine_destroy(open_engine(&later));
    dw_engine *engine = NULL;
    dw_error error;
    later.latest = 1;
    assert_int_equal(dw_engine_create(&engine, &later.known, &error), DW_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "dw_engine_options"));
    assert_null(engine);
}

static void test_public_struct_without_size(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, sizeof(size_t) - 1, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        dw_engine *engine = NULL;
        dw_error error;
        dw_engine_options options = {.struct_bytes = sizes[i], .device = "CPU", .threads = 1};
        assert_int_equal(dw_engine_create(&engine, &options, &error), DW_E_ARG);
        assert_non_null(strstr(error.message, "dw_engine_options.struct_bytes"));
        dw_device_info info = {.struct_bytes = sizes[i], .name = "as it was"};
        assert_int_equal(dw_device_get_info(0, &info, &error), DW_E_ARG);
        assert_string_equal(info.name, "as it was");
    }
}

static void test_public_struct_stats(void **state)
{
    (void)state;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    dw_engine *engine = open_engine(&options);
    dw_engine_stats same = {.struct_bytes = sizeof same};
    assert_int_equal(dw_engine_get_stats(engine, &same), DW_OK);
    assert_int_equal(same.struct_bytes, sizeof same);

    old_stats old = {.struct_bytes = offsetof(old_stats, beyond), .beyond = 77};
    dw_engine_get_stats(engine, (dw_engine_stats *)(void *)&old);
    assert_int_equal(old.struct_bytes, offsetof(old_stats, beyond));
    assert_int_equal(old.memory_bytes, same.memory_bytes);
    assert_int_equal(old.beyond, 77);

    new_stats later = {.known = {.struct_bytes = sizeof later}, .later = 77};
    dw_engine_get_stats(engine, &later.known);
    assert_int_equal(later.known.memory_bytes, same.memory_bytes);
    assert_int_equal(later.later, 0);

    dw_engine_stats unset = {.struct_bytes = 0, .memory_bytes = 77};
    error_lines = 0;
    assert_int_equal(dw_engine_get_stats(engine, &unset), DW_E_ARG);
    assert_int_equal(error_lines, 0); /* the log is off */
    dw_log_set(DW_LOG_ERROR, on_line, "dw_engine_stats.struct_bytes");
    assert_int_equal(dw_engine_get_stats(engine, &unset), DW_E_ARG);
    assert_int_equal(error_lines, 1);
    assert_int_equal(unset.memory_bytes, 77);
    assert_int_equal(dw_engine_get_stats(engine, &same), DW_OK);
    assert_int_equal(error_lines, 1);
    dw_log_set(DW_LOG_NONE, NULL, NULL);
    dw_engine_destroy(engine);
}

/* Each getter whose only failure a missing struct_bytes is. */
static void test_public_struct_getters(void **state)
{
    (void)state;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    dw_engine *engine = open_engine(&options);
    dw_device_info device = {.struct_bytes = 0, .name = "as it was"};
    assert_int_equal(dw_engine_get_device_info(engine, &device), DW_E_ARG);
    assert_string_equal(device.name, "as it was");
    device.struct_bytes = sizeof device;
    assert_int_equal(dw_engine_get_device_info(engine, &device), DW_OK);
    assert_string_equal(device.name, "CPU");

    dw_kv_stats kv = {.struct_bytes = 0, .limit_bytes = 77};
    assert_int_equal(dw_engine_get_kv_stats(engine, &kv), DW_E_ARG);
    assert_int_equal(kv.limit_bytes, 77);
    kv.struct_bytes = sizeof kv;
    assert_int_equal(dw_engine_get_kv_stats(engine, &kv), DW_OK);
    assert_true(kv.limit_bytes > 0 && kv.pages_bytes == 0); /* of host memory not all */

    dw_scheduler *scheduler = NULL;
    dw_scheduler_stats stats = {.struct_bytes = 0, .started = 77};
    dw_error error;
    assert_int_equal(dw_scheduler_create(&scheduler, engine, NULL, &error), DW_OK);
    assert_int_equal(dw_scheduler_get_stats(scheduler, &stats), DW_E_ARG);
    assert_int_equal(stats.started, 77);
    stats.struct_bytes = sizeof stats;
    assert_int_equal(dw_scheduler_get_stats(scheduler, &stats), DW_OK);
    assert_int_equal(stats.started, 0);
    dw_scheduler_destroy(scheduler);
    dw_engine_destroy(engine);
}

static void test_public_struct_version(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(dw_version(), DW_VERSION);
    assert_int_equal(dw_version_number(), DW_VERSION_NUMBER);
    (void)snprintf(text, sizeof text, "%u.%u.%u", dw_version_number() / 1000000,
                   dw_version_number() / 1000 % 1000, dw_version_number() % 1000);
    assert_string_equal(text, DW_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_struct_shorter_options),
        cmocka_unit_test(test_public_struct_longer_options),
        cmocka_unit_test(test_public_struct_without_size),
        cmocka_unit_test(test_public_struct_stats),
        cmocka_unit_test(test_public_struct_getters),
        cmocka_unit_test(test_public_struct_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
