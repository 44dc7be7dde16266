/* Several contexts of one guest in one run of the device: the bits of one by one, called directly,
 * under a scheduler, alone and in company; on GPUs, where prompts' products depend on how many
 * tokens go together, within a tolerance. Hidden states go alone in any case (docs/numerics.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/actor.h"
#include "base/os.h"
#include "support.h"
#include "tiny_model.h"

#define CROWD 8
#define BRANCHES 6 /* tests/guest/many.c's */

typedef struct told {
    dw_actor *actor;
    char answer[512];
    size_t answer_bytes;
    bool ended;
    dw_status status;
    dw_error error;
} told;

static dw_engine *engine;
static dw_model *model;
static dw_module *module;
static char model_path[40];

static int open_fixture(void **state)
{
    (void)state;
    dw_error err;
    const char *device = getenv("DW_TEST_DEVICE");
    dw_engine_options options = {
        .struct_bytes = sizeof options, .device = device != NULL ? device : "CPU", .threads = 1};
    assert_int_equal(dw_engine_create(&engine, &options, &err), DW_OK);
    tiny_options tiny = tiny_defaults();
    tiny.matrix_type = GGML_TYPE_Q8_0; /* nobody's bits depend on who else is there */
    tiny.own_output = true;
    (void)snprintf(model_path, sizeof model_path, "/tmp/dw-many-XXXXXX");
    int fd = mkstemp(model_path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(model_path, &tiny);
    assert_int_equal(dw_model_open(&model, engine, model_path, &err), DW_OK);
    if (dw_module_open(&module, engine, DW_TEST_GUESTS_DIR "/many.wasm", &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    dw_module_unref(module);
    dw_model_unref(model);
    (void)unlink(model_path);
    dw_engine_destroy(engine);
    return 0;
}

static dw_actor *spawn(uint64_t timeout_ms)
{
    dw_error err;
    dw_actor *actor = NULL;
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &model,
                                    .model_count = 1,
                                    .timeout_ms = timeout_ms};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    if (dw_actor_spawn(&actor, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return actor;
}

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    told *t = user;
    assert_true(t->answer_bytes + count < sizeof t->answer);
    memcpy(t->answer + t->answer_bytes, bytes, count);
    t->answer_bytes += count;
    t->answer[t->answer_bytes] = '\0';
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_call_end *end)
{
    told *t = user;
    t->status = end->status;
    t->error = *end->error;
    t->ended = true;
}

static void send(told *t, const char *letter)
{
    dw_error err;
    t->answer_bytes = 0;
    t->answer[0] = '\0';
    t->ended = false;
    assert_int_equal(dw_actor_send(t->actor, NULL, letter, 1, &err), DW_OK);
}

static const char *receive(told *t, const char *letter)
{
    send(t, letter);
    t->error = (dw_error){0};
    t->status = dw_actor_receive(t->actor, on_answer, t, &t->error);
    return t->answer;
}

static const char *one_by_one(void)
{
    return tests_on_cpu() ? "f" : "F";
}

static const char *one_step_each(void)
{
    return tests_on_cpu() ? "m" : "M";
}

static dw_scheduler *make_scheduler(void)
{
    const char *given = getenv("DW_TEST_GUEST_THREADS");
    uint32_t threads = given != NULL ? (uint32_t)strtoul(given, NULL, 10) : 0;
    bool own = getenv("DW_TEST_DEVICE_THREAD") != NULL || threads > 1;
    dw_scheduler *scheduler = NULL;
    dw_error err;
    dw_scheduler_options options = {.struct_bytes = sizeof options,
                                    .guest_threads = threads,
                                    .device_thread =
                                        own ? DW_DEVICE_THREAD_OWN : DW_DEVICE_THREAD_SHARED};
    if (dw_scheduler_create(&scheduler, engine, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return scheduler;
}

/* All at once; `stats` may be NULL. */
static void run_all(told *all, int count, const char *letter, dw_scheduler_stats *stats)
{
    dw_error err;
    dw_scheduler *scheduler = make_scheduler();
    for (int i = 0; i < count; i++) {
        send(&all[i], letter);
        if (dw_scheduler_receive(scheduler, all[i].actor, on_answer, on_end, &all[i], &err) !=
            DW_OK) {
            fail_msg("%s", err.message);
        }
    }
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
    if (stats != NULL) {
        *stats = (dw_scheduler_stats){.struct_bytes = sizeof *stats};
        dw_scheduler_get_stats(scheduler, stats);
    }
    dw_scheduler_destroy(scheduler);
    for (int i = 0; i < count; i++) {
        assert_true(all[i].ended);
    }
}

static void test_forward_many_alone(void **state)
{
    (void)state;
    told one = {.actor = spawn(0)};
    assert_string_equal(receive(&one, one_step_each()), "same");
    assert_int_equal(one.status, DW_OK);
    dw_actor_destroy(one.actor);
}

static void test_forward_many_scheduled(void **state)
{
    (void)state;
    told one = {.actor = spawn(0)};
    dw_scheduler_stats stats;
    run_all(&one, 1, "n", &stats);
    assert_int_equal(stats.most_step_sequences, BRANCHES); /* all in one run */
    run_all(&one, 1, one_by_one(), NULL);
    assert_string_equal(one.answer, "same");
    run_all(&one, 1, one_step_each(), NULL);
    assert_string_equal(one.answer, "same");
    dw_actor_destroy(one.actor);
}

/* With others' branches in the same runs, and the bits of one alone. */
static void test_forward_many_in_company(void **state)
{
    (void)state;
    told all[CROWD];
    told one = {.actor = spawn(0)};
    dw_scheduler_stats stats;
    for (int i = 0; i < CROWD; i++) {
        all[i] = (told){.actor = spawn(0)};
    }
    run_all(&one, 1, "n", NULL);
    run_all(all, CROWD, "n", &stats);
    for (int i = 0; i < CROWD; i++) {
        if (tests_on_cpu()) {
            assert_string_equal(all[i].answer, one.answer);
        } else { /* a draw between two that are nearly as likely may go the other way */
            assert_true(all[i].answer_bytes >= 2 * BRANCHES);
        }
    }
    assert_true(stats.most_step_sequences > BRANCHES);
    run_all(all, CROWD, one_by_one(), NULL);
    for (int i = 0; i < CROWD; i++) {
        assert_string_equal(all[i].answer, "same");
        dw_actor_destroy(all[i].actor);
    }
    dw_actor_destroy(one.actor);
}

/* Trees, beside steps without, in one run of the device. */
static void test_forward_many_trees(void **state)
{
    (void)state;
    told one = {.actor = spawn(0)};
    dw_scheduler_stats stats;
    assert_string_equal(receive(&one, "t"), "same");
    run_all(&one, 1, "t", &stats);
    assert_string_equal(one.answer, "same");
    assert_int_equal(stats.most_step_sequences, BRANCHES); /* on GPUs the trees one by one */
    dw_actor_destroy(one.actor);
}

/* Guests each with one tree at a time: about as many runs as for one of them, and its bits. */
static void test_forward_many_trees_in_company(void **state)
{
    (void)state;
    told all[CROWD];
    told one = {.actor = spawn(0)};
    dw_scheduler_stats alone;
    dw_scheduler_stats stats;
    for (int i = 0; i < CROWD; i++) {
        all[i] = (told){.actor = spawn(0)};
    }
    run_all(&one, 1, "u", &alone);
    run_all(all, CROWD, "u", &stats);
    for (int i = 0; i < CROWD; i++) {
        if (tests_on_cpu()) {
            assert_string_equal(all[i].answer, one.answer);
        } else { /* the trees are as alone, what is before them is not to the bit */
            assert_true(all[i].answer_bytes > 0 && all[i].answer[0] != '-');
        }
        dw_actor_destroy(all[i].actor);
    }
    print_message("%llu runs for one guest, %llu for %d\n", (unsigned long long)alone.steps,
                  (unsigned long long)stats.steps, CROWD);
    if (tests_on_cpu() && getenv("DW_TEST_GUEST_THREADS") == NULL &&
        getenv("DW_TEST_DEVICE_THREAD") == NULL) { /* else who comes when is chance */
        /* A guest whose turn was long, on a loaded machine, comes with the next run. */
        assert_true(stats.most_step_sequences > CROWD / 2);
        assert_true(stats.steps < 2 * alone.steps);
    }
    dw_actor_destroy(one.actor);
}

static void test_forward_many_fork_goes_on_alike(void **state)
{
    (void)state;
    dw_error err;
    told one = {.actor = spawn(0)};
    told copy = {.actor = NULL};
    char first[64];
    (void)snprintf(first, sizeof first, "%.63s", receive(&one, "n"));
    assert_int_equal(one.status, DW_OK);
    assert_int_equal(dw_actor_fork(&copy.actor, one.actor, NULL, &err), DW_OK);
    assert_string_not_equal(receive(&one, "n"), first);
    assert_string_equal(receive(&copy, "n"), one.answer);
    dw_actor_destroy(copy.actor);
    dw_actor_destroy(one.actor);
}

static void test_forward_many_ends_with_its_time(void **state)
{
    (void)state;
    for (int scheduled = 0; scheduled < 2; scheduled++) {
        told one = {.actor = spawn(200)};
        uint64_t from_ns = dw_os_clock_ns();
        if (scheduled) {
            run_all(&one, 1, "l", NULL);
        } else {
            (void)receive(&one, "l");
        }
        assert_int_equal(one.status, DW_E_LIMIT);
        assert_non_null(strstr(one.error.message, "ran longer than its 200 ms"));
        assert_true(dw_os_clock_ns() - from_ns < UINT64_C(5000000000));
        dw_actor_destroy(one.actor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_many_alone),
        cmocka_unit_test(test_forward_many_scheduled),
        cmocka_unit_test(test_forward_many_in_company),
        cmocka_unit_test(test_forward_many_trees),
        cmocka_unit_test(test_forward_many_trees_in_company),
        cmocka_unit_test(test_forward_many_fork_goes_on_alike),
        cmocka_unit_test(test_forward_many_ends_with_its_time),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
