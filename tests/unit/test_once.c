/* Work that is done once for everybody: who waits for it can leave, and the next has it. */
#include <pthread.h>
#include <unistd.h>

#include "base/once.h"
#include "support.h"

#define WAITERS 6

typedef struct job {
    dw_once once;
    atomic_int begun;
    atomic_bool may_end;
    int failures; /* of the first tries */
} job;

static dw_status work(void *arg, dw_error *err)
{
    job *j = arg;
    int tries = atomic_fetch_add(&j->begun, 1);
    while (!atomic_load(&j->may_end)) {
        (void)usleep(100);
    }
    return tries < j->failures ? dw_fail(err, DW_E_MEMORY, "no memory, try %d", tries) : DW_OK;
}

/* It has not ended when somebody leaves who must: work and all go on. */
static void test_once_can_be_left(void **state)
{
    job j = {.failures = 0};
    dw_stop stop = {0};
    dw_error err;
    (void)state;
    dw_once_init(&j.once, work, &j);
    dw_stop_begin(&stop, &(dw_stop_limits){.time_ns = 1000000});
    assert_int_equal(dw_once_do(&j.once, &stop, &err), DW_E_CANCELLED);
    assert_string_equal(err.message,
                        "tables of the model are being made: the guest's time is over");
    assert_int_equal(dw_once_do(&j.once, &stop, &err), DW_E_CANCELLED);
    atomic_store(&j.may_end, true);
    assert_int_equal(dw_once_do(&j.once, NULL, &err), DW_OK);
    assert_int_equal(dw_once_do(&j.once, &stop, &err), DW_OK); /* nothing to wait for */
    assert_int_equal(atomic_load(&j.begun), 1);
    dw_once_release(&j.once);
}

/* Also where everybody has left. */
static void test_once_is_waited_for_in_the_end(void **state)
{
    job j = {.failures = 1};
    dw_stop stop = {0};
    dw_error err;
    (void)state;
    dw_once_init(&j.once, work, &j);
    dw_stop_cancel(&stop);
    assert_int_equal(dw_once_do(&j.once, &stop, &err), DW_E_CANCELLED);
    atomic_store(&j.may_end, true);
    dw_once_release(&j.once);
    assert_int_equal(atomic_load(&j.begun), 1);
}

static void test_once_is_tried_again(void **state)
{
    job j = {.failures = 2, .may_end = true};
    dw_stop stop = {0};
    dw_error err;
    (void)state;
    dw_once_init(&j.once, work, &j);
    assert_int_equal(dw_once_do(&j.once, NULL, &err), DW_E_MEMORY);
    assert_string_equal(err.message, "no memory, try 0");
    assert_int_equal(dw_once_do(&j.once, &stop, &err), DW_E_MEMORY);
    assert_string_equal(err.message, "no memory, try 1");
    assert_int_equal(dw_once_do(&j.once, &stop, &err), DW_OK);
    assert_int_equal(atomic_load(&j.begun), 3);
    dw_once_release(&j.once);
}

typedef struct waiter {
    pthread_t thread;
    job *job;
    bool has_stop;
    dw_status status;
} waiter;

static void *wait_for(void *user)
{
    waiter *w = user;
    dw_stop stop = {0};
    w->status = dw_once_do(&w->job->once, w->has_stop ? &stop : NULL, NULL);
    return NULL;
}

static void test_once_for_many(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        job j = {.failures = 0};
        waiter waiters[WAITERS];
        dw_once_init(&j.once, work, &j);
        for (int i = 0; i < WAITERS; i++) {
            waiters[i] = (waiter){.job = &j, .has_stop = (i + round) % 3 > 0};
            assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_for, &waiters[i]), 0);
        }
        (void)usleep(1000);
        atomic_store(&j.may_end, true);
        for (int i = 0; i < WAITERS; i++) {
            assert_int_equal(pthread_join(waiters[i].thread, NULL), 0);
            assert_int_equal(waiters[i].status, DW_OK);
        }
        assert_int_equal(atomic_load(&j.begun), 1);
        dw_once_release(&j.once);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_can_be_left),
        cmocka_unit_test(test_once_is_waited_for_in_the_end),
        cmocka_unit_test(test_once_is_tried_again),
        cmocka_unit_test(test_once_for_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
