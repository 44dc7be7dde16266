/* A guest's time ends it, whatever it is in: each act of tests/guest/hostile.c in one host call
 * that takes far longer than the bound which is asserted. That is wide, since no test asserts a
 * time: it tells a call that was left from one that was not. */
#include <fcntl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "hostile_fixture.h"
#include "scheduler/scheduler.h"
#include "support.h"

#define MS UINT64_C(1000000)
#define TIMEOUT_MS 300
/* What the acts take without an end is over this many times as long, on any machine. */
#define BOUND_NS (5000 * MS)
#define WENT_ON 9

#define GUESTS 64
#define LONG_TEMPLATE                                                                              \
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
#define HOUR_MS "3600000"

static void expect(const char *act, const hostile_ending *end, dw_status status,
                   const char *message)
{
    print_message("%s: %.1f ms beyond its end\n", act, (double)end->took_ns / 1e6 - TIMEOUT_MS);
    if (end->status != status || strcmp(end->message, message) != 0 || end->took_ns > BOUND_NS) {
        fail_msg("%s: status %d, code %d, %llu ms: %s", act, (int)end->status, end->code,
                 (unsigned long long)(end->took_ns / MS), end->message);
    }
}

/* Run it for its time, and look that it ended for that. */
static void ends_in_time(const char *act, const char *n)
{
    const dw_instance_options options = {
        .struct_bytes = sizeof options, .timeout_ms = TIMEOUT_MS, .inherit_stdin = true};
    dw_instance *instance = hostile_start(act, n, &options);
    hostile_ending end = hostile_run(instance);
    dw_instance_destroy(instance);
    expect(act, &end, DW_E_LIMIT, "the guest ran longer than its 300 ms");
}

static void *interrupt_later(void *user)
{
    (void)usleep(TIMEOUT_MS * 1000);
    dw_instance_interrupt(user);
    return NULL;
}

/* The same for one who is interrupted by another thread. */
static void ends_when_interrupted(const char *act, const char *n)
{
    const dw_instance_options options = {.struct_bytes = sizeof options, .inherit_stdin = true};
    dw_instance *instance = hostile_start(act, n, &options);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_later, instance), 0);
    hostile_ending end = hostile_run(instance);
    assert_int_equal(pthread_join(thread, NULL), 0);
    dw_instance_destroy(instance);
    expect(act, &end, DW_E_CANCELLED, "the guest was interrupted");
}

static void ends(const char *act, const char *n)
{
    ends_in_time(act, n);
    ends_when_interrupted(act, n);
}

static void test_deadline_in_a_loop(void **state)
{
    (void)state;
    ends("spin", "0");
}

static void test_deadline_in_a_forward_step(void **state)
{
    (void)state;
    ends("forward", "16000");
}

static void test_deadline_in_an_embedding(void **state)
{
    (void)state;
    ends("embed", "16000");
    ends("encode", "4096");
}

static void test_deadline_in_one_product(void **state)
{
    (void)state;
    ends("product", "7000");
}

static void test_deadline_in_large_operations(void **state)
{
    (void)state;
    ends_in_time("exp", "600");
    ends_in_time("softmax", "600");
}

static void test_deadline_in_text(void **state)
{
    (void)state;
    ends("tokenize", "16000000");
    ends("detokenize", "4000000");
    ends("word", "16000000");
    ends("word_pieces", "16000000");
    ends("unigrams", "16000000");
}

static void test_deadline_in_bulk_memory(void **state)
{
    (void)state;
    ends("fill", "1000");
    ends("copy", "1000");
}

static void test_deadline_in_chats_and_grammars(void **state)
{
    (void)state;
    const dw_instance_options options = {
        .struct_bytes = sizeof options, .timeout_ms = TIMEOUT_MS, .chat_template = LONG_TEMPLATE};
    dw_instance *instance = hostile_start("render", "0", &options);
    hostile_ending end = hostile_run(instance);
    dw_instance_destroy(instance);
    expect("render", &end, DW_E_LIMIT, "the guest ran longer than its 300 ms");
    ends_in_time("grammar", "0");
    ends_in_time("schema", "80000");
}

static void test_deadline_in_a_shift(void **state)
{
    (void)state;
    ends("shift", "1000");
}

static void test_deadline_in_a_sleep(void **state)
{
    (void)state;
    ends("sleep", HOUR_MS);
    ends("poll_input", HOUR_MS);
    ends("poll_input", "0");
}

static void test_deadline_while_nobody_writes(void **state)
{
    (void)state;
    ends("read", "0");
    ends("read_renumbered", "0");
}

static void test_deadline_while_nobody_reads(void **state)
{
    (void)state;
    ends("write", "1");
    ends("write", "1000000");
    ends("poll_output", "0");
}

static void test_deadline_among_random_bytes(void **state)
{
    (void)state;
    ends_in_time("random", "1000000000");
}

/* Opening a FIFO would wait for whoever opens its other end: it is refused. */
static void test_deadline_at_a_fifo(void **state)
{
    static const char *const ways[] = {"0", "1", "2"};
    char folder[] = "/tmp/dw-fifo-XXXXXX";
    char path[64];
    char link[64];
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/fifo", folder);
    (void)snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(symlink("fifo", link), 0);
    const dw_dir dir = {.host_path = folder, .guest_path = "/d", .writable = true};
    const dw_instance_options options = {
        .struct_bytes = sizeof options, .timeout_ms = TIMEOUT_MS, .dirs = &dir, .dir_count = 1};
    for (size_t i = 0; i < 3; i++) {
        dw_instance *instance = hostile_start("open_fifo", ways[i], &options);
        hostile_ending end = hostile_run(instance);
        dw_instance_destroy(instance);
        assert_int_equal(end.status, DW_OK);
        assert_int_equal(end.code, 8); /* refused */
    }
    (void)unlink(link);
    (void)unlink(path);
    (void)rmdir(folder);
}

static void test_deadline_of_one_who_yields(void **state)
{
    (void)state;
    ends("yield", "0");
}

/* ---- from a signal handler ------------------------------------------------------------------ */

static dw_instance *volatile signalled;

static void on_alarm(int number)
{
    (void)number;
    dw_instance_interrupt(signalled);
}

/* As Ctrl-C does it: on the thread that runs the guest, or on any other. */
static void test_interrupt_from_a_signal_handler(void **state)
{
    (void)state;
    static const char *const acts[] = {"sleep", "read", "write", "spin", "forward"};
    const struct itimerval soon = {.it_value = {.tv_usec = TIMEOUT_MS * 1000}};
    const dw_instance_options options = {.struct_bytes = sizeof options, .inherit_stdin = true};
    struct sigaction action = {.sa_handler = on_alarm};
    (void)sigaction(SIGALRM, &action, NULL);
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        signalled = hostile_start(acts[i], i == 4 ? "16000" : HOUR_MS, &options);
        assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
        hostile_ending end = hostile_run(signalled);
        expect(acts[i], &end, DW_E_CANCELLED, "the guest was interrupted");
        dw_instance_destroy(signalled);
    }
    (void)signal(SIGALRM, SIG_DFL);
}

/* ---- waits that are not left ---------------------------------------------------------------- */

/* What tests/guest/waits.c looks at. */
static void check_waits(bool on_fiber);

static void test_waits_as_wasi_has_them(void **state)
{
    (void)state;
    check_waits(false);
    check_waits(true);
}

/* ---- under a scheduler ---------------------------------------------------------------------- */

typedef struct guest {
    dw_instance *instance;
    hostile_ending end;
    uint32_t ended;
    uint64_t started_ns;
} guest;

static void on_end(void *user, const dw_call_end *end)
{
    guest *g = user;
    g->ended++;
    g->end.status = end->status;
    g->end.code = end->exit_code;
    g->end.took_ns = dw_os_clock_ns() - g->started_ns;
    (void)snprintf(g->end.message, sizeof g->end.message, "%s",
                   end->error != NULL ? end->error->message : "");
}

static void run_together(guest *guests, size_t count, dw_scheduler_stats *stats)
{
    dw_scheduler *scheduler = NULL;
    dw_error err;
    wasm_signals_restore();
    assert_int_equal(dw_scheduler_create(&scheduler, hostile_engine, NULL, &err), DW_OK);
    hostile_replace_streams();
    for (size_t i = 0; i < count; i++) {
        guests[i].started_ns = dw_os_clock_ns();
        if (dw_scheduler_start(scheduler, guests[i].instance, on_end, &guests[i], &err) != DW_OK) {
            fail_msg("%s", err.message);
        }
    }
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    hostile_restore_streams();
    *stats = (dw_scheduler_stats){.struct_bytes = sizeof *stats};
    assert_int_equal(dw_scheduler_get_stats(scheduler, stats), DW_OK);
    dw_scheduler_destroy(scheduler);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(guests[i].ended, 1);
        dw_instance_destroy(guests[i].instance);
    }
}

/* One guest's sleep stops nobody else: together they take as long as one, and meanwhile nothing
 * turns. */
static void test_scheduler_guests_sleep_together(void **state)
{
    (void)state;
    static guest guests[GUESTS];
    dw_scheduler_stats stats;
    uint64_t started = dw_os_clock_ns();
    for (size_t i = 0; i < GUESTS; i++) {
        guests[i] = (guest){.instance = hostile_start("sleep", "500", NULL)};
    }
    run_together(guests, GUESTS, &stats);
    uint64_t took = dw_os_clock_ns() - started;
    print_message("%d sleeps of 500 ms: %.0f ms, %llu rounds\n", GUESTS, (double)took / 1e6,
                  (unsigned long long)stats.rounds);
    assert_true(took < GUESTS * 500 * MS / 2);
    assert_true(stats.rounds <= 4 * GUESTS);
    for (size_t i = 0; i < GUESTS; i++) {
        assert_int_equal(guests[i].end.status, DW_OK);
        assert_int_equal(guests[i].end.code, WENT_ON);
    }
}

/* Everyone's time ends him where he waits, while others compute. */
static void test_scheduler_deadlines_of_who_waits(void **state)
{
    (void)state;
    static const char *const acts[] = {"sleep", "poll_input", "read",    "write", "poll_output",
                                       "yield", "spin",       "forward", "sleep", "read"};
    enum { COUNT = sizeof acts / sizeof acts[0] };
    const dw_instance_options options = {
        .struct_bytes = sizeof options, .timeout_ms = TIMEOUT_MS, .inherit_stdin = true};
    static guest guests[COUNT];
    dw_scheduler_stats stats;
    for (size_t i = 0; i < COUNT; i++) {
        const char *n = strcmp(acts[i], "forward") == 0 ? "16000" : HOUR_MS;
        guests[i] = (guest){.instance = hostile_start(acts[i], n, &options)};
    }
    run_together(guests, COUNT, &stats);
    for (size_t i = 0; i < COUNT; i++) {
        expect(acts[i], &guests[i].end, DW_E_LIMIT, "the guest ran longer than its 300 ms");
    }
}

/* Long work of the host for one guest holds nobody up: who has to end meanwhile does, and then lets
 * the other go. Without turns he would end behind it, seconds later. */
typedef struct held_up {
    guest works;
    guest spins;
    bool works_ended_first;
} held_up;

static void on_work_end(void *user, const dw_call_end *end)
{
    held_up *h = user;
    on_end(&h->works, end);
    h->works_ended_first = h->spins.ended == 0;
}

static void on_spin_end(void *user, const dw_call_end *end)
{
    held_up *h = user;
    on_end(&h->spins, end);
    dw_instance_interrupt(h->works.instance);
}

static void holds_nobody_up(const char *act, const char *n, const char *template)
{
    dw_scheduler *scheduler = NULL;
    dw_error err;
    const dw_instance_options options = {.struct_bytes = sizeof options, .timeout_ms = TIMEOUT_MS};
    const dw_instance_options with = {.struct_bytes = sizeof with, .chat_template = template};
    static held_up h;
    h = (held_up){.works.instance = hostile_start(act, n, &with),
                  .spins.instance = hostile_start("spin", "0", &options)};
    h.works.started_ns = h.spins.started_ns = dw_os_clock_ns();
    assert_int_equal(dw_scheduler_create(&scheduler, hostile_engine, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_start(scheduler, h.works.instance, on_work_end, &h, &err), DW_OK);
    assert_int_equal(dw_scheduler_start(scheduler, h.spins.instance, on_spin_end, &h, &err), DW_OK);
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    dw_scheduler_destroy(scheduler);
    dw_instance_destroy(h.works.instance);
    dw_instance_destroy(h.spins.instance);
    assert_false(h.works_ended_first);
    expect(act, &h.spins.end, DW_E_LIMIT, "the guest ran longer than its 300 ms");
    assert_int_equal(h.works.end.status, DW_E_CANCELLED);
}

static void test_scheduler_work_holds_nobody_up(void **state)
{
    (void)state;
    holds_nobody_up("product", "7000", NULL);
    holds_nobody_up("exp", "600", NULL);
    holds_nobody_up("embed", "16000", NULL);
    holds_nobody_up("encode", "4096", NULL);
    holds_nobody_up("tokenize", "16000000", NULL);
    holds_nobody_up("word", "16000000", NULL);
    holds_nobody_up("unigrams", "16000000", NULL);
    holds_nobody_up("fill", "1000", NULL);
    holds_nobody_up("copy", "1000", NULL);
    holds_nobody_up("random", "2000000000", NULL);
    holds_nobody_up("render", "0", LONG_TEMPLATE);
    holds_nobody_up("parse", "4000000", "chatml");
    holds_nobody_up("grammar", "0", NULL);
    holds_nobody_up("schema", "60000", NULL);
}

/* However many others compute, who is interrupted ends before they all had their turns. All is told
 * by their slices: how long one is, is the machine's business. */
#define SPINNERS 48
typedef struct hurry {
    dw_scheduler *scheduler;
    guest guests[SPINNERS];
    uint64_t after;       /* so many slices the last is interrupted */
    uint64_t preemptions; /* when it was */
    uint64_t passed;      /* until it ended */
} hurry;

static uint64_t preemptions_of(dw_scheduler *scheduler)
{
    dw_scheduler_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_scheduler_get_stats(scheduler, &stats), DW_OK);
    return stats.preemptions;
}

/* Between two turns, so that what it counts is what had passed when the last was interrupted. */
static void interrupt_last(void *user)
{
    hurry *h = user;
    h->preemptions = preemptions_of(h->scheduler);
    if (h->preemptions < h->after) {
        assert_int_equal(dw_scheduler_submit(h->scheduler, interrupt_last, h, NULL), DW_OK);
    } else {
        dw_instance_interrupt(h->guests[SPINNERS - 1].instance);
    }
}

static void on_hurry_end(void *user, const dw_call_end *end)
{
    hurry *h = user;
    on_end(&h->guests[SPINNERS - 1], end);
    h->passed = preemptions_of(h->scheduler) - h->preemptions;
    for (size_t i = 0; i + 1 < SPINNERS; i++) {
        dw_instance_interrupt(h->guests[i].instance);
    }
}

static void last_comes_first(uint64_t after)
{
    static hurry h;
    dw_error err;
    h = (hurry){.after = after};
    assert_int_equal(dw_scheduler_create(&h.scheduler, hostile_engine, NULL, &err), DW_OK);
    for (size_t i = 0; i < SPINNERS; i++) {
        bool last = i == SPINNERS - 1;
        h.guests[i].instance = hostile_start("spin", "0", NULL);
        assert_int_equal(dw_scheduler_start(h.scheduler, h.guests[i].instance,
                                            last ? on_hurry_end : on_end,
                                            last ? (void *)&h : (void *)&h.guests[i], &err),
                         DW_OK);
    }
    assert_int_equal(dw_scheduler_submit(h.scheduler, interrupt_last, &h, &err), DW_OK);
    assert_int_equal(dw_scheduler_run(h.scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    dw_scheduler_destroy(h.scheduler);
    for (size_t i = 0; i < SPINNERS; i++) {
        assert_int_equal(h.guests[i].ended, 1);
        assert_int_equal(h.guests[i].end.status, DW_E_CANCELLED);
        dw_instance_destroy(h.guests[i].instance);
    }
    print_message("%llu time slices of %d others passed\n", (unsigned long long)h.passed,
                  SPINNERS - 1);
    assert_true(h.passed <= 4);
}

/* Also one who has not had his first turn yet, being behind all the others. */
static void test_scheduler_who_must_end_comes_first(void **state)
{
    (void)state;
    last_comes_first(SPINNERS / 6);
    last_comes_first(SPINNERS * 3);
}

/* A pipe with room for one of several who wait for it: who is not the first waits again. */
static void *read_some(void *user)
{
    char bytes[4096];
    (void)user;
    (void)usleep(TIMEOUT_MS * 1000 / 3);
    while (read(hostile_replaced.output[0], bytes, sizeof bytes) < 0 &&
           (errno == EAGAIN || errno == EINTR)) {
        (void)usleep(1000); /* on a busy machine nobody has written yet */
    }
    return NULL;
}

static void test_scheduler_guests_write_to_one_pipe(void **state)
{
    (void)state;
    const dw_instance_options options = {
        .struct_bytes = sizeof options, .timeout_ms = TIMEOUT_MS, .inherit_stdin = true};
    static guest guests[4];
    dw_scheduler_stats stats;
    pthread_t thread;
    for (size_t i = 0; i < 4; i++) {
        guests[i] = (guest){.instance = hostile_start("write", "100000", &options)};
    }
    assert_int_equal(pthread_create(&thread, NULL, read_some, NULL), 0);
    run_together(guests, 4, &stats);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        expect("write", &guests[i].end, DW_E_LIMIT, "the guest ran longer than its 300 ms");
    }
}

static void *interrupt_all(void *user)
{
    guest *guests = user;
    (void)usleep(TIMEOUT_MS * 1000);
    for (size_t i = 0; i < 4; i++) {
        dw_instance_interrupt(guests[i].instance);
    }
    return NULL;
}

static void test_scheduler_interrupts_who_waits(void **state)
{
    (void)state;
    static const char *const acts[] = {"sleep", "poll_input", "read", "write"};
    const dw_instance_options options = {.struct_bytes = sizeof options, .inherit_stdin = true};
    static guest guests[4];
    dw_scheduler_stats stats;
    pthread_t thread;
    for (size_t i = 0; i < 4; i++) {
        guests[i] = (guest){.instance = hostile_start(acts[i], HOUR_MS, &options)};
    }
    assert_int_equal(pthread_create(&thread, NULL, interrupt_all, guests), 0);
    run_together(guests, 4, &stats);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        expect(acts[i], &guests[i].end, DW_E_CANCELLED, "the guest was interrupted");
    }
    assert_true(stats.rounds <= 64);
}

/* Whoever is interrupted before he waits has nobody to be woken by. */
static void test_scheduler_interrupted_before_it_waits(void **state)
{
    (void)state;
    static const char *const acts[] = {"sleep", "read"};
    const dw_instance_options options = {.struct_bytes = sizeof options, .inherit_stdin = true};
    for (size_t i = 0; i < 2; i++) {
        static guest guests[1];
        dw_scheduler_stats stats;
        guests[0] = (guest){.instance = hostile_start(acts[i], HOUR_MS, &options)};
        dw_instance_interrupt(guests[0].instance);
        run_together(guests, 1, &stats);
        assert_int_equal(guests[0].end.status, DW_E_CANCELLED);
    }
}

/* A scheduler that is destroyed does not wait for its guests' sleep. */
static void test_scheduler_goes_while_guests_wait(void **state)
{
    (void)state;
    dw_scheduler *scheduler = NULL;
    dw_error err;
    guest sleeps = {.instance = hostile_start("sleep", HOUR_MS, NULL)};
    guest ends = {.instance = hostile_start("sleep", "50", NULL)};
    assert_int_equal(dw_scheduler_create(&scheduler, hostile_engine, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_start(scheduler, sleeps.instance, on_end, &sleeps, &err), DW_OK);
    assert_int_equal(dw_scheduler_start(scheduler, ends.instance, on_end, &ends, &err), DW_OK);
    assert_int_equal(
        dw_scheduler_submit(scheduler, (void (*)(void *))dw_scheduler_stop, scheduler, &err),
        DW_OK);
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_STOPPED, &err), DW_OK);
    assert_int_equal(sleeps.ended, 0);
    dw_scheduler_destroy(scheduler);
    assert_int_equal(sleeps.ended, 1);
    assert_int_equal(sleeps.end.status, DW_E_CANCELLED);
    dw_instance_destroy(sleeps.instance);
    dw_instance_destroy(ends.instance);
}

/* ---- what waits come to --------------------------------------------------------------------- */

static void check_waits(bool on_fiber)
{
    char folder[] = "/tmp/dw-waits-XXXXXX";
    char command[64];
    dw_module *waits = NULL;
    dw_error err = {.message = ""};
    assert_non_null(mkdtemp(folder));
    const dw_dir dir = {.host_path = folder, .guest_path = "/d", .writable = true};
    const dw_instance_options options = {.struct_bytes = sizeof options,
                                         .inherit_stdin = true,
                                         .dirs = &dir,
                                         .dir_count = 1,
                                         .timeout_ms = 60000};
    guest g = {.instance = NULL};
    dw_scheduler *scheduler = NULL;
    wasm_signals_restore();
    if (dw_module_open(&waits, hostile_engine, DW_TEST_GUESTS_DIR "/waits.wasm", &err) != DW_OK ||
        dw_instance_create(&g.instance, waits, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    dw_module_unref(waits);
    hostile_replace_streams();
    assert_int_equal(write(hostile_replaced.input[1], "ab", 2), 2);
    if (on_fiber) {
        assert_int_equal(dw_scheduler_create(&scheduler, hostile_engine, NULL, &err), DW_OK);
        assert_int_equal(dw_scheduler_start(scheduler, g.instance, on_end, &g, &err), DW_OK);
        assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
        dw_scheduler_destroy(scheduler);
    } else {
        g.end.status = dw_instance_run(g.instance, &g.end.code, &err);
        (void)snprintf(g.end.message, sizeof g.end.message, "%s", err.message);
    }
    hostile_restore_streams();
    dw_instance_destroy(g.instance);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    if (g.end.status != DW_OK || g.end.code != 0) {
        fail_msg("status %d: %s; tests/guest/waits.c:%d", (int)g.end.status, g.end.message,
                 g.end.code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline_in_a_loop),
        cmocka_unit_test(test_deadline_in_a_forward_step),
        cmocka_unit_test(test_deadline_in_an_embedding),
        cmocka_unit_test(test_deadline_in_one_product),
        cmocka_unit_test(test_deadline_in_large_operations),
        cmocka_unit_test(test_deadline_in_text),
        cmocka_unit_test(test_deadline_in_bulk_memory),
        cmocka_unit_test(test_deadline_in_chats_and_grammars),
        cmocka_unit_test(test_deadline_in_a_shift),
        cmocka_unit_test(test_deadline_in_a_sleep),
        cmocka_unit_test(test_deadline_while_nobody_writes),
        cmocka_unit_test(test_deadline_while_nobody_reads),
        cmocka_unit_test(test_deadline_among_random_bytes),
        cmocka_unit_test(test_deadline_of_one_who_yields),
        cmocka_unit_test(test_deadline_at_a_fifo),
        cmocka_unit_test(test_interrupt_from_a_signal_handler),
        cmocka_unit_test(test_waits_as_wasi_has_them),
        cmocka_unit_test(test_scheduler_guests_sleep_together),
        cmocka_unit_test(test_scheduler_deadlines_of_who_waits),
        cmocka_unit_test(test_scheduler_work_holds_nobody_up),
        cmocka_unit_test(test_scheduler_who_must_end_comes_first),
        cmocka_unit_test(test_scheduler_guests_write_to_one_pipe),
        cmocka_unit_test(test_scheduler_interrupts_who_waits),
        cmocka_unit_test(test_scheduler_interrupted_before_it_waits),
        cmocka_unit_test(test_scheduler_goes_while_guests_wait),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, hostile_open, hostile_close);
}
