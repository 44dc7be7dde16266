/* Actors under a scheduler: the answers they give when they are called one by one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor_fixture.h"
#include "support.h"
#include "wasm/instance_fiber.h"

#define ACTORS 8

typedef struct talk {
    dw_scheduler *scheduler;
    dw_actor *actor;
    actor_answer answer;
    uint32_t told;  /* messages that ended */
    uint32_t count; /* to be sent */
    dw_status status;
    char message[248];
} talk;

typedef struct spoken {
    char what;
    uint32_t number;
} spoken;

/* What each is told, in order: tests/guest/actor_talker.c. The number of 'n' and 'q' is the actor's
 * own. */
#define LINES 8
static const spoken lines[LINES] = {{'m', 0}, {'n', 0}, {'s', 77}, {'g', 6},
                                    {'+', 5}, {'k', 2}, {'g', 4},  {'i', 0}};
/* The same with steps that end with a token instead of logits. */
static const spoken choosing[LINES] = {{'m', 0}, {'s', 77}, {'q', 0}, {'G', 6},
                                       {'+', 5}, {'k', 2},  {'G', 4}, {'i', 0}};

static void say(dw_actor *actor, const spoken *line, uint32_t k)
{
    char text[32];
    dw_error err;
    uint32_t number = line->what == 'n' || line->what == 'q' ? 10 + 40 * k : line->number;
    int bytes = snprintf(text, sizeof text, "%c%u", line->what, number);
    assert_int_equal(dw_actor_send(actor, NULL, text, (size_t)bytes, &err), DW_OK);
}

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    talk *t = user;
    assert_true(count <= sizeof t->answer.data - t->answer.bytes);
    memcpy(t->answer.data + t->answer.bytes, bytes, count);
    t->answer.bytes += count;
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_call_end *end)
{
    talk *t = user;
    t->told++;
    t->status = end->status;
    (void)snprintf(t->message, sizeof t->message, "%s",
                   end->status != DW_OK ? end->error->message : "");
    if (end->status == DW_OK && t->told < t->count) {
        assert_int_equal(dw_scheduler_receive(t->scheduler, t->actor, on_answer, on_end, t, NULL),
                         DW_OK);
    }
}

static void listen(dw_scheduler *scheduler, talk *t)
{
    t->scheduler = scheduler;
    t->count = (uint32_t)dw_actor_waiting(t->actor);
    assert_int_equal(dw_scheduler_receive(scheduler, t->actor, on_answer, on_end, t, NULL), DW_OK);
}

static dw_scheduler *make_scheduler(actor_fixture *fixture)
{
    dw_scheduler *scheduler = NULL;
    dw_error err;
    dw_scheduler_options options = {.struct_bytes = sizeof options};
    const char *threads = getenv("DW_TEST_GUEST_THREADS");
    options.guest_threads = threads != NULL ? (uint32_t)strtoul(threads, NULL, 10) : 0;
    if (getenv("DW_TEST_DEVICE_THREAD") != NULL) {
        options.device_thread = DW_DEVICE_THREAD_OWN;
    }
    assert_int_equal(dw_scheduler_create(&scheduler, fixture->engine, &options, &err), DW_OK);
    return scheduler;
}

/* A conversation's every byte, but for the id at its end; digests of logits are among them. A lone
 * actor under a scheduler and several give the same bits where the weights are quantised; here they
 * are floats, whose last bits may differ, so tokens are compared and digests left out. */
static void assert_same_talk(const talk *a, const talk *b)
{
    assert_int_equal(a->answer.bytes, b->answer.bytes);
    const uint32_t *left = (const uint32_t *)(const void *)a->answer.data;
    const uint32_t *right = (const uint32_t *)(const void *)b->answer.data;
    size_t words = (a->answer.bytes - DW_ACTOR_ID_CHARS) / sizeof(uint32_t);
    assert_int_equal(words, 2 * 6 + 1 + 2 * 4);
    for (size_t i = 0; i < words; i += i == 12 ? 1 : 2) {
        assert_int_equal(left[i], right[i]);
    }
}

static void answer_as_alone(actor_fixture *fixture, const spoken *told)
{
    static talk alone[ACTORS];
    static talk together[ACTORS];
    dw_instance_options instance = {.struct_bytes = sizeof instance, .kv_type = DW_KV_F32};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_scheduler *scheduler = make_scheduler(fixture);
    for (uint32_t k = 0; k < ACTORS; k++) {
        alone[k] = (talk){.actor = actor_spawned(fixture, &options)};
        together[k] = (talk){.actor = actor_spawned(fixture, &options)};
        for (uint32_t line = 0; line < LINES; line++) {
            say(alone[k].actor, &lines[line], k);
            say(together[k].actor, &told[line], k);
            dw_error err = {.message = ""};
            dw_status status = dw_actor_receive(alone[k].actor, on_answer, &alone[k], &err);
            assert_string_equal(err.message, "");
            assert_int_equal(status, DW_OK);
        }
        listen(scheduler, &together[k]);
    }
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
    dw_scheduler_stats counts = {.struct_bytes = sizeof counts};
    dw_scheduler_get_stats(scheduler, &counts);
    assert_int_equal(counts.ended, ACTORS * LINES);
    assert_int_equal(counts.jobs, ACTORS); /* a context shift each */
    assert_true(getenv("DW_TEST_DEVICE") != NULL || counts.most_step_sequences > 2);
    for (uint32_t k = 0; k < ACTORS; k++) {
        assert_string_equal(together[k].message, "");
        assert_int_equal(together[k].told, LINES);
        assert_same_talk(&alone[k], &together[k]);
        dw_actor_destroy(alone[k].actor);
        dw_actor_destroy(together[k].actor);
    }
    dw_scheduler_destroy(scheduler);
}

static void test_scheduler_actors_answer_as_alone(void **state)
{
    answer_as_alone(*state, lines);
}

static void test_scheduler_actors_choose_as_alone(void **state)
{
    answer_as_alone(*state, choosing);
}

/* One that traps is left alone, one with nothing to do is told so, one that answers an error lives
 * on, and all can be forked afterwards as after any message. */
static void test_scheduler_actors_end_as_alone(void **state)
{
    actor_fixture *fixture = *state;
    static talk talks[4];
    static const char *const messages[] = {"!", "e", "+5", NULL};
    static const dw_status wanted[] = {DW_E_TRAP, DW_E_HANDLE, DW_OK, DW_E_END};
    dw_scheduler *scheduler = make_scheduler(fixture);
    dw_error err;
    wasm_signals_restore();
    for (uint32_t k = 0; k < 4; k++) {
        talks[k] = (talk){.actor = actor_spawned(fixture, NULL)};
        if (messages[k] != NULL) {
            assert_int_equal(
                dw_actor_send(talks[k].actor, NULL, messages[k], strlen(messages[k]), &err), DW_OK);
        }
        listen(scheduler, &talks[k]);
    }
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
    for (uint32_t k = 0; k < 4; k++) {
        dw_actor *child = NULL;
        assert_int_equal(talks[k].told, 1);
        assert_int_equal(talks[k].status, wanted[k]);
        assert_int_equal(dw_actor_fork(&child, talks[k].actor, NULL, &err),
                         k == 0 ? DW_E_STATE : DW_OK);
        dw_actor_destroy(child);
    }
    /* Called while it is at work: refused, and the work goes on. */
    say(talks[2].actor, &lines[4], 0);
    listen(scheduler, &talks[2]);
    assert_int_equal(
        dw_scheduler_receive(scheduler, talks[2].actor, on_answer, on_end, &talks[3], &err), DW_OK);
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
    assert_int_equal(talks[2].status, DW_OK);
    assert_int_equal(talks[3].status, DW_E_END);
    for (uint32_t k = 0; k < 4; k++) {
        dw_actor_destroy(talks[k].actor);
    }
    dw_scheduler_destroy(scheduler);
}

/* A call that could not be begun has not been one: the message waits, and the actor is sound. */
static void test_scheduler_actors_begin_another_time(void **state)
{
    actor_fixture *fixture = *state;
    static talk t;
    dw_error err;
    dw_scheduler *scheduler = make_scheduler(fixture);
    t = (talk){.actor = actor_spawned(fixture, NULL)};
    dw_wasm_host *host = dw_instance_host(dw_actor_instance(t.actor));
    for (uint32_t k = 1; k <= 2; k++) {
        char text[4];
        int bytes = snprintf(text, sizeof text, "+%u", k);
        assert_int_equal(dw_actor_send(t.actor, NULL, text, (size_t)bytes, &err), DW_OK);
    }
    dw_fibers_set_failing(host, true);
    listen(scheduler, &t);
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
    dw_fibers_set_failing(host, false);
    assert_int_equal(t.told, 1);
    assert_int_not_equal(t.status, DW_OK);
    assert_int_equal(dw_actor_waiting(t.actor), 2);
    t.told = 0;
    listen(scheduler, &t);
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
    assert_string_equal(t.message, "");
    assert_int_equal(t.told, 2);
    assert_int_equal(((const uint32_t *)(const void *)t.answer.data)[0], 1);
    assert_int_equal(((const uint32_t *)(const void *)t.answer.data)[1], 3);
    dw_actor_destroy(t.actor);
    dw_scheduler_destroy(scheduler);
}

int main(void)
{
    wasm_signals_save();
    (void)setenv("DW_TEST_THREADS", "1", 0); /* as in test_scheduler.c */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scheduler_actors_answer_as_alone),
        cmocka_unit_test(test_scheduler_actors_choose_as_alone),
        cmocka_unit_test(test_scheduler_actors_end_as_alone),
        cmocka_unit_test(test_scheduler_actors_begin_another_time),
    };
    return cmocka_run_group_tests(tests, actor_fixture_open, actor_fixture_close);
}
