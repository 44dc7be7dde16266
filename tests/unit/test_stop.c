/* When work for a guest has to end: limits, requests, and locks that can be left. */
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "base/stop.h"
#include "base/turn.h"
#include "support.h"

#define MS UINT64_C(1000000)

/* Let `ns` pass by the monotonic clock, busy. */
static void pass(uint64_t ns)
{
    for (uint64_t end = dw_os_clock_ns() + ns; dw_os_clock_ns() < end;) {}
}

static void test_stop_without_limits_asks_for_nothing(void **state)
{
    (void)state;
    dw_stop stop = {0};
    assert_false(dw_stop_asked(NULL));
    assert_false(dw_stop_asked(&stop));
    dw_stop_begin(&stop, &(dw_stop_limits){0});
    dw_stop_run(&stop);
    pass(2 * MS);
    assert_false(dw_stop_asked(&stop));
    assert_false(dw_stop_ends(&stop));
    assert_int_equal(dw_stop_check(&stop, "work", NULL), DW_OK);
    dw_stop_rest(&stop);
}

static void test_stop_cancelled_and_interrupted(void **state)
{
    (void)state;
    dw_error err;
    dw_stop stop = {0};
    dw_stop_begin(&stop, &(dw_stop_limits){.time_ns = 3600 * UINT64_C(1000000000)});
    dw_stop_cancel(&stop);
    assert_true(dw_stop_asked(&stop));
    assert_false(dw_stop_ends(&stop));
    assert_int_equal(dw_stop_check(&stop, "work", &err), DW_E_CANCELLED);
    assert_string_equal(err.message, "work: cancelled");
    dw_stop_take(&stop);
    assert_false(dw_stop_asked(&stop));
    dw_stop_interrupt(&stop);
    dw_stop_take(&stop); /* it stays */
    assert_true(dw_stop_asked(&stop));
    assert_true(dw_stop_ends(&stop));
}

static void test_stop_at_the_deadline(void **state)
{
    (void)state;
    dw_error err;
    dw_stop stop = {0};
    dw_stop_begin(&stop, &(dw_stop_limits){.time_ns = 5 * MS});
    pass(6 * MS);
    assert_true(dw_stop_asked(&stop));
    assert_true(dw_stop_ends(&stop));
    dw_stop_take(&stop);
    assert_true(dw_stop_ends(&stop)); /* no cancellation to be taken back */
    assert_int_equal(dw_stop_check(&stop, "work", &err), DW_E_CANCELLED);
    assert_string_equal(err.message, "work: the guest's time is over");
    dw_stop_begin(&stop, &(dw_stop_limits){.time_ns = UINT64_MAX}); /* the next call */
    assert_false(dw_stop_asked(&stop));
}

/* Only what passes while it runs counts, wherever it rests. */
static void test_stop_at_the_processor_time(void **state)
{
    (void)state;
    dw_error err;
    dw_stop stop = {0};
    dw_stop_begin(&stop, &(dw_stop_limits){.processor_ns = 20 * MS});
    pass(40 * MS); /* it does not run yet */
    assert_false(dw_stop_ends(&stop));
    dw_stop_run(&stop);
    (void)poll(NULL, 0, 40); /* nobody computes */
    assert_false(dw_stop_ends(&stop));
    dw_stop_rest(&stop);
    pass(40 * MS);
    assert_false(dw_stop_ends(&stop));
    dw_stop_run(&stop);
    uint64_t used = dw_stop_processor_ns(&stop);
    assert_true(used < 20 * MS);
    while (!dw_stop_asked(&stop)) { /* comes to an end */
        pass(MS);
    }
    assert_true(dw_stop_processor_ns(&stop) > 20 * MS);
    assert_true(dw_stop_ends(&stop));
    assert_int_equal(dw_stop_check(&stop, "work", &err), DW_E_CANCELLED);
    assert_string_equal(err.message, "work: the guest's processor time is over");
    dw_stop_rest(&stop);
}

static void test_stops_of_several(void **state)
{
    (void)state;
    dw_stop one = {0};
    dw_stop other = {0};
    dw_stop *const items[] = {&one, NULL, &other};
    const dw_stops stops = {.items = items, .count = 3};
    dw_stop_begin(&one, &(dw_stop_limits){.time_ns = UINT64_MAX});
    assert_false(dw_stops_asked(NULL));
    assert_false(dw_stops_asked(&stops));
    dw_stop_begin(&other, &(dw_stop_limits){.time_ns = MS});
    pass(2 * MS);
    assert_true(dw_stops_asked(&stops));
    dw_stop_begin(&other, &(dw_stop_limits){0});
    assert_false(dw_stops_asked(&stops));
    dw_stop_cancel(&other);
    assert_true(dw_stops_asked(&stops));
}

/* A waker ends a poll, from a request that comes before it or meanwhile. */
static void test_stop_wakes_who_waits(void **state)
{
    (void)state;
    dw_waker waker;
    dw_stop stop = {0};
    assert_int_equal(dw_waker_open(&waker, NULL), DW_OK);
    struct pollfd fd = {.fd = waker.read_fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    stop.waker = &waker;
    for (int i = 0; i < 100000; i++) { /* more than a pipe holds: nobody blocks */
        dw_stop_cancel(&stop);
    }
    assert_int_equal(poll(&fd, 1, -1), 1);
    dw_waker_drain(&waker);
    assert_int_equal(poll(&fd, 1, 0), 0);
    dw_waker_close(&waker);
}

typedef struct holder {
    dw_turn *turn;
    _Atomic bool holds;
    _Atomic bool enough;
} holder;

static void *hold(void *user)
{
    holder *h = user;
    assert_true(dw_turn_take(h->turn, NULL));
    atomic_store(&h->holds, true);
    while (!atomic_load(&h->enough)) {
        (void)poll(NULL, 0, 1);
    }
    dw_turn_give(h->turn);
    return NULL;
}

/* Others hold it for as long as they like: who waits for it leaves when his time is over. */
static void test_turn_can_be_left(void **state)
{
    (void)state;
    dw_turn turn;
    dw_stop stop = {0};
    pthread_t thread;
    dw_turn_init(&turn);
    holder h = {.turn = &turn};
    assert_int_equal(pthread_create(&thread, NULL, hold, &h), 0);
    while (!atomic_load(&h.holds)) {
        (void)poll(NULL, 0, 1);
    }
    dw_stop_begin(&stop, &(dw_stop_limits){.time_ns = 20 * MS});
    assert_false(dw_turn_take(&turn, &stop));
    assert_true(dw_stop_ends(&stop));
    atomic_store(&h.enough, true);
    dw_stop_begin(&stop, &(dw_stop_limits){0});
    assert_true(dw_turn_take(&turn, &stop));
    dw_turn_give(&turn);
    assert_int_equal(pthread_join(thread, NULL), 0);
    dw_turn_release(&turn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_without_limits_asks_for_nothing),
        cmocka_unit_test(test_stop_cancelled_and_interrupted),
        cmocka_unit_test(test_stop_at_the_deadline),
        cmocka_unit_test(test_stop_at_the_processor_time),
        cmocka_unit_test(test_stops_of_several),
        cmocka_unit_test(test_stop_wakes_who_waits),
        cmocka_unit_test(test_turn_can_be_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
