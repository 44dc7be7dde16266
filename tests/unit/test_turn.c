/* Turns: whoever waits gets them in order, and can leave. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/turn.h"
#include "support.h"

#define TAKERS 4

static dw_turn turn;
static _Atomic uint32_t taken_by_greedy;
static _Atomic bool over;

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* Takes it again as soon as it is free, as a scheduler's device does. */
static void *greedy(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        (void)dw_turn_take(&turn, NULL);
        pause_ms(1);
        atomic_fetch_add(&taken_by_greedy, 1);
        dw_turn_give(&turn);
    }
    return NULL;
}

/* One who asks has it when the present turn is over. */
static void test_turn_starves_nobody(void **state)
{
    (void)state;
    pthread_t thread;
    dw_turn_init(&turn);
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&thread, NULL, greedy, NULL), 0);
    for (int i = 0; i < 20; i++) {
        pause_ms(3);
        uint32_t before = atomic_load(&taken_by_greedy);
        assert_true(dw_turn_take(&turn, NULL));
        /* It may have given and taken once more before this one stood in line. */
        assert_in_range(atomic_load(&taken_by_greedy) - before, 0, 2);
        dw_turn_give(&turn);
    }
    atomic_store(&over, true);
    (void)pthread_join(thread, NULL);
    dw_turn_release(&turn);
}

typedef struct taker {
    uint32_t place;
    pthread_t thread;
} taker;

static _Atomic uint32_t served;

static void *take_once(void *arg)
{
    taker *own = arg;
    (void)dw_turn_take(&turn, NULL);
    own->place = atomic_fetch_add(&served, 1);
    dw_turn_give(&turn);
    return NULL;
}

/* In the order in which they came, one in the middle having left. */
static void test_turn_keeps_the_order(void **state)
{
    (void)state;
    taker takers[TAKERS];
    dw_turn_init(&turn);
    assert_true(dw_turn_take(&turn, NULL));
    for (uint32_t i = 0; i < TAKERS; i++) {
        assert_int_equal(pthread_create(&takers[i].thread, NULL, take_once, &takers[i]), 0);
        pause_ms(30); /* it stands in line by now */
        if (i == 1) {
            dw_stop stop = {.cancelled = true};
            assert_false(dw_turn_take(&turn, &stop));
        }
    }
    dw_turn_give(&turn);
    for (uint32_t i = 0; i < TAKERS; i++) {
        (void)pthread_join(takers[i].thread, NULL);
        assert_int_equal(takers[i].place, i);
    }
    dw_turn_release(&turn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turn_starves_nobody),
        cmocka_unit_test(test_turn_keeps_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
