/* Random hostile runs: acts of tests/guest/hostile.c that would take hours, ended at a random
 * moment by the guest's time, its processor time or an interruption, alone or several under a
 * scheduler. Every one has to end as it was ended. By how much the host's time went beyond is told:
 * no time is asserted. DW_TEST_RUNS says how many runs (100), DW_TEST_SEED which,
 * DW_TEST_ACT that all are of one act, DW_TEST_TOGETHER that all run beside others. */
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
#define WORST 10

typedef enum how { BY_TIME, BY_PROCESSOR_TIME, BY_INTERRUPTION, HOW_COUNT } how;

static const struct {
    const char *act;
    const char *n;
    bool waits; /* takes no processor time */
} acts[] = {
    {"spin", "0", false},
    {"forward", "16000", false},
    {"embed", "16000", false},
    {"encode", "4096", false},
    {"product", "6000", false},
    {"exp", "300", false},
    {"tokenize", "16000000", false},
    {"word", "16000000", false},
    {"word_pieces", "16000000", false},
    {"unigrams", "16000000", false},
    {"fill", "1000", false},
    {"copy", "1000", false},
    {"detokenize", "4000000", false},
    {"random", "1000000000", false},
    {"parse", "4000000", false},
    {"schema", "60000", false},
    {"grammar", "0", false},
    {"yield", "0", false},
    {"sleep", "3600000", true},
    {"poll_input", "3600000", true},
    {"read", "0", true},
    {"write", "100000", true},
    {"poll_output", "0", true},
};
#define ACT_COUNT (sizeof acts / sizeof acts[0])

typedef struct trial {
    size_t act;
    how by;
    uint32_t after_ms;
    dw_instance *instance;
    dw_os_thread_clock processor; /* of the thread that runs it */
    uint64_t due_ns;              /* when it had to end, and that thread's processor time then */
    uint64_t due_processor_ns;
    uint64_t ended_ns;
    uint64_t ended_processor_ns;
    hostile_ending end;
    bool done;
} trial;

static uint64_t seed;
/* Alone and together, by the clock and by the processor time of the thread that runs the guests:
 * on a busy machine the first is the machine's as well. */
typedef struct late_end {
    double ms;
    const char *act;
    uint32_t after_ms;
    how by;
    const char *others[GUESTS_MAX]; /* what those beside it did; NULL: nobody more */
} late_end;
typedef struct lateness {
    late_end ends[50000]; /* [count] */
    size_t count;
} lateness;
static lateness late[2][2];

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void prepare(trial *t, bool together)
{
    const char *only = getenv("DW_TEST_ACT");
    do {
        t->act = next_random(ACT_COUNT);
    } while (only != NULL && strcmp(acts[t->act].act, only) != 0);
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

/* At the moment when it has to end: see what the time is, and interrupt it if that is the way. */
static void *watch(void *user)
{
    trial *t = user;
    uint64_t until = dw_os_clock_ns() + t->after_ms * UINT64_C(1000000);
    for (uint64_t now = dw_os_clock_ns(); now < until; now = dw_os_clock_ns()) {
        (void)usleep((useconds_t)((until - now) / 1000 + 1));
    }
    t->due_ns = dw_os_clock_ns();
    t->due_processor_ns = dw_os_thread_clock_ns(t->processor);
    if (t->by == BY_INTERRUPTION) {
        dw_instance_interrupt(t->instance);
    }
    return NULL;
}

static void add(lateness *to, double ms, const trial *t, const trial *all, uint32_t count)
{
    late_end end = {ms > 0 ? ms : 0, acts[t->act].act, t->after_ms, t->by, {NULL}};
    size_t others = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (&all[i] != t) {
            end.others[others++] = acts[all[i].act].act;
        }
    }
    to->ends[to->count++] = end;
}

/* One of `all` [count], which ran together. */
static void judge(trial *t, const trial *all, uint32_t count)
{
    bool together = count > 1;
    dw_status wanted = t->by == BY_INTERRUPTION ? DW_E_CANCELLED : DW_E_LIMIT;
    if (t->end.status != wanted) {
        fail_msg("%s, ended by %d after %u ms: status %d, code %d: %s", acts[t->act].act,
                 (int)t->by, t->after_ms, (int)t->end.status, t->end.code, t->end.message);
    }
    if (t->by == BY_PROCESSOR_TIME) {
        return; /* how long that takes is the machine's */
    }
    if (t->by == BY_TIME) { /* its time runs from its first turn */
        uint64_t due_ns = dw_instance_stop(t->instance)->deadline_ns;
        assert_true(due_ns != 0);
        uint64_t before = t->due_ns;
        t->due_ns = due_ns;
        /* As much processor time as there is time between the two, at the most. */
        t->due_processor_ns += due_ns > before ? due_ns - before : 0;
    }
    add(&late[together ? 1 : 0][0], (double)(int64_t)(t->ended_ns - t->due_ns) / 1e6, t, all,
        count);
    add(&late[together ? 1 : 0][1],
        (double)(int64_t)(t->ended_processor_ns - t->due_processor_ns) / 1e6, t, all, count);
}

static void run_alone(void)
{
    trial t = {.done = false};
    pthread_t thread;
    prepare(&t, false);
    t.processor = dw_os_thread_clock_of_this();
    assert_int_equal(pthread_create(&thread, NULL, watch, &t), 0);
    t.end = hostile_run(t.instance);
    t.ended_ns = dw_os_clock_ns();
    t.ended_processor_ns = dw_os_thread_clock_ns(t.processor);
    assert_int_equal(pthread_join(thread, NULL), 0);
    judge(&t, &t, 1);
    dw_instance_destroy(t.instance);
}

static void on_end(void *user, const dw_call_end *end)
{
    trial *t = user;
    t->ended_ns = dw_os_clock_ns();
    t->ended_processor_ns = dw_os_thread_clock_ns(t->processor);
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
        trials[i].processor = dw_os_thread_clock_of_this();
        assert_int_equal(pthread_create(&threads[i], NULL, watch, &trials[i]), 0);
    }
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    hostile_restore_streams();
    dw_scheduler_destroy(scheduler);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        judge(&trials[i], trials, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        dw_instance_destroy(trials[i].instance);
    }
}

static int by_lateness(const void *a, const void *b)
{
    const late_end *one = a;
    const late_end *other = b;
    return (one->ms > other->ms) - (one->ms < other->ms);
}

static void tell(const char *what, lateness *of)
{
    if (of->count == 0) {
        return;
    }
    qsort(of->ends, of->count, sizeof of->ends[0], by_lateness);
    print_message("%s: %zu ends, late by %.1f ms in the middle, %.1f in 99 of 100, at most %.1f\n",
                  what, of->count, of->ends[of->count / 2].ms, of->ends[of->count * 99 / 100].ms,
                  of->ends[of->count - 1].ms);
    for (size_t i = of->count > WORST ? of->count - WORST : 0; i < of->count; i++) {
        const late_end *end = &of->ends[i];
        print_message("    %.1f ms: %s, %s after %u ms, beside", end->ms, end->act,
                      end->by == BY_TIME ? "its time over" : "interrupted", end->after_ms);
        for (size_t k = 0; k < GUESTS_MAX && end->others[k] != NULL; k++) {
            print_message(" %s", end->others[k]);
        }
        print_message("%s\n", end->others[0] == NULL ? " nobody" : "");
    }
}

static void test_deadline_random_runs(void **state)
{
    (void)state;
    const char *given = getenv("DW_TEST_SEED");
    const char *runs_given = getenv("DW_TEST_RUNS");
    unsigned long runs = runs_given != NULL ? strtoul(runs_given, NULL, 10) : RUNS_DEFAULT;
    seed = given != NULL ? strtoull(given, NULL, 10) : dw_os_clock_ns();
    print_message("DW_TEST_SEED=%llu, %lu runs\n", (unsigned long long)seed, runs);
    size_t most = sizeof late[0][0].ends / sizeof late[0][0].ends[0] / GUESTS_MAX;
    runs = runs < most ? runs : most;
    for (unsigned long i = 0; i < runs; i++) {
        if (next_random(4) == 0 || getenv("DW_TEST_TOGETHER") != NULL) {
            run_together();
        } else {
            run_alone();
        }
    }
    tell("alone", &late[0][0]);
    tell("alone, in processor time", &late[0][1]);
    tell("together", &late[1][0]);
    tell("together, in processor time", &late[1][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deadline_random_runs)};
    wasm_signals_save();
    return cmocka_run_group_tests(tests, hostile_open, hostile_close);
}
