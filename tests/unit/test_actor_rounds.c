/* A thousand lives one after the other: nothing of an actor that has gone stays, in the host's
 * memory or in the device's. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/os.h"
#include "support.h"

#define ROUNDS 1000
#define WARM_ROUNDS 80 /* as many lengths of prompts as there are, twice: graphs are kept */

static char path[] = "/tmp/dw-rounds-XXXXXX";

static void live(actor_fixture *fixture, uint32_t round)
{
    static actor_answer answer;
    dw_error error = {.message = ""};
    const char *paths[] = {path};
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = paths,
                               .path_count = 1,
                               .models = &fixture->model,
                               .model_count = 1,
                               .module = fixture->module,
                               .trusted = round % 2 == 0};
    dw_actor *actor = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n%u", 1 + round % 40), DW_OK);
    assert_int_equal(dw_actor_freeze(actor, path, NULL, NULL, &error), DW_OK);
    dw_actor_destroy(actor);
    assert_int_equal(dw_actor_thaw(&actor, fixture->engine, &options, NULL, &error), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "g1"), DW_OK);
    dw_actor_destroy(actor);
}

static void test_actor_rounds_leave_nothing(void **state)
{
    actor_fixture *fixture = *state;
    dw_engine_stats before = {.struct_bytes = sizeof before};
    dw_engine_stats after = {.struct_bytes = sizeof after};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    dw_os_close(fd);
    for (uint32_t i = 0; i < WARM_ROUNDS; i++) {
        live(fixture, i);
    }
    dw_engine_get_stats(fixture->engine, &before);
    size_t rss = dw_os_rss_bytes();
    uint32_t rounds = emulated() ? 40 : ROUNDS;
    for (uint32_t i = 0; i < rounds; i++) {
        live(fixture, i);
    }
    dw_engine_get_stats(fixture->engine, &after);
    size_t more = dw_os_rss_bytes();
    more = more > rss ? more - rss : 0;
    print_message("%u rounds: %zu KiB more resident, device memory free %llu -> %llu\n", rounds,
                  more / 1024, (unsigned long long)before.memory_free_bytes,
                  (unsigned long long)after.memory_free_bytes);
    assert_int_equal(after.contexts, before.contexts);
    assert_int_equal(after.kv_bytes, before.kv_bytes);
    assert_int_equal(after.kv_host_bytes, before.kv_host_bytes);
    assert_int_equal(after.work_bytes, before.work_bytes);
    assert_int_equal(after.view_bytes, before.view_bytes);
    assert_int_equal(after.registered_bytes, before.registered_bytes);
    dw_device_info device = {.struct_bytes = sizeof device};
    dw_engine_get_device_info(fixture->engine, &device);
    /* A device's own memory is this process's alone in a test; a host's is everybody's. */
    assert_true(device.unified ||
                after.memory_free_bytes + ((uint64_t)4 << 20) >= before.memory_free_bytes);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_actor_rounds_leave_nothing)};
    return cmocka_run_group_tests(tests, actor_fixture_open, actor_fixture_close);
}
