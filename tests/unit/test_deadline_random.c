/* Random hostile runs: acts of tests/guest/hostile.c that would take hours, ended at a random
 * moment by the guest's time, its processor time or an interruption, alone or several under a
 * scheduler. Every one has to end as it was ended. By how much the host's time went beyond is told:
 * no time is asserted. DW_TEST_RUNS says how many runs (100), DW_TEST_SEED which. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hostile_fixture.h"
#include "scheduler/scheduler.h"
#include "support.h"

#define RUNS_DEFAULT 100
#define GUESTS_MAX 4
#define MS_MAX 200 /* when it is ended, at the latest */

typedef enum how { BY_TIME, BY_PROCESSOR_TIME, BY_INTERRUPTION, HOW_COUNT } how;

static const struct {
    const char *act;
    const char *n;
    bool waits;   /* takes no processor time */
    bool is_work; /* that cannot be batched: under a scheduler others wait for it */
} acts[] = {
    {"spin", "0", false, false},
    {"forward", "16000", false, false},
    {"embed", "16000", false, true},
    {"product", "6000", false, true},
    {"exp", "300", false, true},
    {"tokenize", "16000000", false, false},
    {"detokenize", "4000000", false, false},
    {"random", "1000000000", false, false},
    {"yield", "0", false, false},
    {"sleep", "3600000", true, false},
    {"poll_input", "3600000", true, false},
    {"read", "0", true, false},
    {"write", "100000", true, false},
    {"poll_output", "0", true, false},
};
#define ACT_COUNT (sizeof acts / sizeof acts[0])

typedef struct trial {
    size_t act;
    how by;
    uint32_t after_ms;
    dw_instance *instance;
    uint64_t begun_ns; /* when its time began to run, or the interrupter */
    uint64_t ended_ns;
    hostile_ending end;
    bool done;
} trial;

static uint64_t seed;
/* Alone and together. Of those together many hold each other up: their time runs from their first
 * turn, which is not known here. */
typedef struct lateness {
    double ms[50000]; /* [count] */
    size_t count;
    double latest_ms;
    const char *latest_act;
} lateness;
static lateness late[2];

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void prepare(trial *t, bool together)
{
    do {
        t->act = next_random(ACT_COUNT);
    } while (together && acts[t->act].is_work);
    do {
        t->by = (how)next_random(HOW_COUNT);
    } while (t->by == BY_PROCESSOR_TIME && (acts[t->act].waits || together));
    t->after_ms = 1 + next_random(MS_MAX);
    t->done = false;
    const dw_instance_options options = {.struct_bytes = sizeof options,
                                         .inherit_stdin = true,
                                         .timeout_ms = t->by == BY_TIME ? t->after_ms : 0,
                                         .cpu_timeout_ms =
                                             t->by == BY_PROCESSOR_TIME ? t->after_ms : 0};
    t->instance = hostile_start(acts[t->act].act, acts[t->act].n, &options);
}

static void *interrupt_later(void *user)
{
    trial *t = user;
    (void)usleep(t->after_ms * 1000);
    t->begun_ns = dw_os_clock_ns() - t->after_ms * UINT64_C(1000000);
    dw_instance_interrupt(t->instance);
    return NULL;
}

static void judge(const trial *t, bool together)
{
    lateness *to = &late[together ? 1 : 0];
    dw_status wanted = t->by == BY_INTERRUPTION ? DW_E_CANCELLED : DW_E_LIMIT;
    if (t->end.status != wanted) {
        fail_msg("%s, ended by %d after %u ms: status %d, code %d: %s", acts[t->act].act,
                 (int)t->by, t->after_ms, (int)t->end.status, t->end.code, t->end.message);
    }
    double ms = (double)(int64_t)(t->ended_ns - t->begun_ns) / 1e6 - t->after_ms;
    if (t->by == BY_PROCESSOR_TIME) {
        return; /* how long that takes is the machine's */
    }
    if (ms > to->latest_ms) {
        to->latest_ms = ms;
        to->latest_act = acts[t->act].act;
    }
    to->ms[to->count++] = ms;
}

static void run_alone(void)
{
    trial t = {.done = false};
    pthread_t thread;
    prepare(&t, false);
    t.begun_ns = dw_os_clock_ns();
    bool interrupts = t.by == BY_INTERRUPTION;
    if (interrupts) {
        assert_int_equal(pthread_create(&thread, NULL, interrupt_later, &t), 0);
    }
    t.end = hostile_run(t.instance);
    t.ended_ns = dw_os_clock_ns();
    if (interrupts) {
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    dw_instance_destroy(t.instance);
    judge(&t, false);
}

static void on_end(void *user, const dw_call_end *end)
{
    trial *t = user;
    t->ended_ns = dw_os_clock_ns();
    t->end.status = end->status;
    t->end.code = end->exit_code;
    (void)snprintf(t->end.message, sizeof t->end.message, "%s",
                   end->error != NULL ? end->error->message : "");
}

static void run_together(void)
{
    trial trials[GUESTS_MAX];
    pthread_t threads[GUESTS_MAX];
    dw_scheduler *scheduler = NULL;
    dw_error err;
    uint32_t count = 2 + next_random(GUESTS_MAX - 1);
    assert_int_equal(dw_scheduler_create(&scheduler, hostile_engine, NULL, &err), DW_OK);
    for (uint32_t i = 0; i < count; i++) {
        prepare(&trials[i], true);
    }
    hostile_replace_streams();
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(
            dw_scheduler_start(scheduler, trials[i].instance, on_end, &trials[i], &err), DW_OK);
        trials[i].begun_ns = dw_os_clock_ns();
        if (trials[i].by == BY_INTERRUPTION) {
            assert_int_equal(pthread_create(&threads[i], NULL, interrupt_later, &trials[i]), 0);
        }
    }
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    hostile_restore_streams();
    dw_scheduler_destroy(scheduler);
    for (uint32_t i = 0; i < count; i++) {
        if (trials[i].by == BY_INTERRUPTION) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        }
        dw_instance_destroy(trials[i].instance);
        judge(&trials[i], true);
    }
}

static int by_value(const void *a, const void *b)
{
    double one = *(const double *)a;
    double other = *(const double *)b;
    return (one > other) - (one < other);
}

static void test_deadline_random_runs(void **state)
{
    (void)state;
    const char *given = getenv("DW_TEST_SEED");
    const char *runs_given = getenv("DW_TEST_RUNS");
    unsigned long runs = runs_given != NULL ? strtoul(runs_given, NULL, 10) : RUNS_DEFAULT;
    seed = given != NULL ? strtoull(given, NULL, 10) : dw_os_clock_ns();
    print_message("DW_TEST_SEED=%llu, %lu runs\n", (unsigned long long)seed, runs);
    size_t most = sizeof late[0].ms / sizeof late[0].ms[0] / GUESTS_MAX;
    runs = runs < most ? runs : most;
    for (unsigned long i = 0; i < runs; i++) {
        if (next_random(4) == 0) {
            run_together();
        } else {
            run_alone();
        }
    }
    for (int i = 0; i < 2; i++) {
        lateness *of = &late[i];
        qsort(of->ms, of->count, sizeof of->ms[0], by_value);
        if (of->count > 0) {
            print_message("%s: %zu ends, late by %.1f ms in the middle, %.1f ms in 99 of 100, "
                          "%.1f ms at most (%s)\n",
                          i == 0 ? "alone" : "together", of->count, of->ms[of->count / 2],
                          of->ms[of->count * 99 / 100], of->ms[of->count - 1],
                          of->latest_act != NULL ? of->latest_act : "");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deadline_random_runs)};
    wasm_signals_save();
    return cmocka_run_group_tests(tests, hostile_open, hostile_close);
}
