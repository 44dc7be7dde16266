/* Actors that mean harm, beside good ones of another tenant: those lose no message, and come
 * through while the others are at it. DW_HOSTILE_ACTORS=2000: so many of them. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

#define GOOD 16
#define MESSAGES 100 /* to each good one */

typedef struct good_actor {
    runtime_fixture *f;
    runtime_id id;
    uint32_t answered; /* the last number */
    unsigned ended;
    unsigned failed;
} good_actor;

static good_actor good[GOOD];

static ptrdiff_t on_number(void *user, const unsigned char *bytes, size_t count)
{
    good_actor *g = user;
    g->failed += count != sizeof g->answered;
    memcpy(&g->answered, bytes, sizeof g->answered);
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_runtime_end *end);

static void tell_good(good_actor *g)
{
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "+",
                                .message_bytes = 1,
                                .on_answer = on_number,
                                .on_end = on_end,
                                .user = g};
    g->failed += dw_runtime_send(g->f->runtime, g->id.text, &request, NULL, NULL) != DW_OK;
}

/* In a closed loop: each answer is one more than the last. */
static void on_end(void *user, const dw_runtime_end *end)
{
    good_actor *g = user;
    g->failed += end->status != DW_OK || g->answered != ++g->ended;
    if (g->ended < MESSAGES) {
        tell_good(g);
    }
}

static runtime_id spawn_bad(runtime_fixture *f, dw_module *villain)
{
    static const dw_limits limits = {.struct_bytes = sizeof limits,
                                     .memory_bytes = (uint64_t)64 << 20,
                                     .linear_bytes = (uint64_t)8 << 20,
                                     .message_timeout_ms = 60,
                                     .mail = 50};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &f->actors->model,
                                    .model_count = 1,
                                    .limits = &limits};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {.struct_bytes = sizeof options,
                                      .tenant = "bad",
                                      .actor = &actor,
                                      .capabilities = DW_MAY_ALL,
                                      .failures_max = 3};
    return runtime_spawned(f, villain, &options);
}

static void be_hostile(runtime_fixture *f, const runtime_id *id, size_t number)
{
    static const char acts[] = "l!rmhpwxsfntov";
    for (size_t i = 0; i < 3; i++) {
        const dw_request request = {.struct_bytes = sizeof request,
                                    .message = acts + (number + i) % (sizeof acts - 1),
                                    .message_bytes = 1};
        (void)!dw_runtime_send(f->runtime, id->text, &request, NULL, NULL);
    }
}

static void test_runtime_good_beside_hostile(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    const char *wanted = getenv("DW_HOSTILE_ACTORS");
    size_t count = wanted != NULL ? strtoul(wanted, NULL, 10) : 130;
    dw_module *villain = actor_module(f->actors, "actor_villain.wasm");
    const dw_tenant_options bad = {
        .struct_bytes = sizeof bad, .capabilities = DW_MAY_ALL, .actors_max = count + 100};
    const dw_tenant_options own = {
        .struct_bytes = sizeof own, .weight = 2000, .capabilities = DW_MAY_ALL};
    f->limits =
        (dw_limits){.struct_bytes = sizeof f->limits, .descendants = 5, .caused_messages = 200};
    f->working_max = 32;
    runtime_open(f);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "bad", &bad, &error), DW_OK);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "", &own, &error), DW_OK);
    for (size_t i = 0; i < GOOD; i++) {
        good[i] = (good_actor){.f = f, .id = runtime_spawned(f, villain, NULL)};
    }
    runtime_id *ids = dw_alloc(count, sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        ids[i] = spawn_bad(f, villain);
    }
    for (size_t i = 0; i < count; i++) {
        be_hostile(f, &ids[i], i);
        if (i * GOOD / count != (i + 1) * GOOD / count) {
            tell_good(&good[i * GOOD / count]);
        }
    }
    assert_int_equal(dw_runtime_wait(f->runtime, 0, &error), DW_OK);
    for (size_t i = 0; i < GOOD; i++) {
        assert_int_equal(good[i].failed, 0);
        assert_int_equal(good[i].ended, MESSAGES);
        assert_int_equal(runtime_told(f, &good[i].id, "+"), MESSAGES + 1);
    }
    dw_free(ids);
    runtime_close(f);
    dw_module_unref(villain);
}

static _Atomic unsigned spinners_ended;

static void on_spinner_end(void *user, const dw_runtime_end *end)
{
    (void)user;
    (void)end;
    spinners_ended++;
}

/* One who only computes makes way for whoever has had less of the time: were it left at the end of
 * its time slice, those would be over before the calls are. */
static void test_runtime_loops_make_way(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    dw_module *villain = actor_module(f->actors, "actor_villain.wasm");
    const dw_tenant_options bad = {.struct_bytes = sizeof bad, .capabilities = DW_MAY_ALL};
    const dw_tenant_options own = {
        .struct_bytes = sizeof own, .weight = 2000, .capabilities = DW_MAY_ALL};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .tenant = "bad"};
    const dw_request loop = {.struct_bytes = sizeof loop,
                             .message = "l",
                             .message_bytes = 1,
                             .timeout_ms = 20000,
                             .on_end = on_spinner_end};
    runtime_open(f);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "bad", &bad, &error), DW_OK);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "", &own, &error), DW_OK);
    runtime_id id = runtime_spawned(f, villain, NULL);
    spinners_ended = 0;
    for (int i = 0; i < 4; i++) {
        runtime_id spinner = runtime_spawned(f, villain, &options);
        assert_int_equal(dw_runtime_send(f->runtime, spinner.text, &loop, NULL, &error), DW_OK);
    }
    for (uint32_t i = 1; i <= 4000; i++) {
        assert_int_equal(runtime_told(f, &id, "+"), i);
    }
    assert_int_equal(spinners_ended, 0);
    runtime_close(f);
    assert_int_equal(spinners_ended, 4);
    dw_module_unref(villain);
}

int main(void)
{
    wasm_signals_save();
    (void)setenv("DW_TEST_THREADS", "1", 0);
    const struct CMUnitTest tests[] = {runtime_test(test_runtime_good_beside_hostile),
                                       runtime_test(test_runtime_loops_make_way)};
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
