/* Crews: every unit of every job is delivered once, whoever is late. */
#include <setjmp.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/crew.h"
#include "support.h"

#define THREADS 4
#define UNITS 300u

/* A job whose unit i gives the sum of from to from + i. */
typedef struct sums {
    uint64_t from;
    uint64_t mine[THREADS]; /* by thread: what it computed last */
    uint64_t result[UNITS];
    _Atomic uint32_t delivered[UNITS];
    bool computes;
} sums;

static uint64_t sum_of(uint64_t from, uint32_t unit)
{
    uint64_t sum = 0;
    for (uint64_t i = from; i <= from + unit; i++) {
        sum += i;
    }
    return sum;
}

static void compute(void *user, uint32_t unit, int thread)
{
    sums *s = user;
    s->mine[thread] = sum_of(s->from, unit);
}

static void deliver(void *user, uint32_t unit, int thread)
{
    sums *s = user;
    atomic_fetch_add(&s->delivered[unit], 1);
    s->result[unit] = s->computes ? s->mine[thread] : sum_of(s->from, unit);
}

static void run_and_check(dw_crew *crew, sums *s, uint32_t units)
{
    memset(s->result, 0, sizeof s->result);
    for (uint32_t i = 0; i < UNITS; i++) {
        atomic_store(&s->delivered[i], 0);
    }
    dw_crew_run(crew, &(dw_crew_job){.units = units,
                                     .compute = s->computes ? compute : NULL,
                                     .deliver = deliver,
                                     .user = s});
    for (uint32_t i = 0; i < UNITS; i++) {
        assert_int_equal(atomic_load(&s->delivered[i]), i < units ? 1 : 0);
        assert_true(s->result[i] == (i < units ? sum_of(s->from, i) : 0));
    }
}

/* Jobs follow one another at once, as the products of a token do: each has its own memory until
 * the crew is settled. */
static void test_crew_delivers_each_unit_once(void **state)
{
    (void)state;
    static sums jobs[8];
    for (int threads = 2; threads <= THREADS; threads++) {
        dw_crew *crew = NULL;
        assert_int_equal(dw_crew_create(&crew, threads, NULL), DW_OK);
        for (uint64_t round = 0; round < 400; round++) {
            for (size_t i = 0; i < 8; i++) {
                jobs[i].from = round * 1000 + i;
                jobs[i].computes = (round + i) % 3 != 0;
                run_and_check(crew, &jobs[i], 1 + (uint32_t)((round * 37 + i * 11) % UNITS));
            }
            dw_crew_settle(crew);
        }
        dw_crew_destroy(crew);
    }
}

/* Helpers that stand still in the middle of a unit hold up nobody, and what they bring late is not
 * taken: neither for the job that they began with, nor for one behind it. */
static void test_crew_does_not_wait_for_helpers(void **state)
{
    (void)state;
    static sums jobs[64];
    dw_crew *crew = NULL;
    assert_int_equal(dw_crew_create(&crew, THREADS, NULL), DW_OK);
    dw_crew_set_delay_ns(crew, 20000000);
    for (uint64_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 64; i++) {
            jobs[i].from = round * 1000 + i;
            jobs[i].computes = true;
            run_and_check(crew, &jobs[i], 1 + (uint32_t)i * 4);
        }
        dw_crew_settle(crew);
        for (size_t i = 0; i < 64; i++) { /* nor did they write later */
            for (uint32_t unit = 0; unit < 1 + (uint32_t)i * 4; unit++) {
                assert_int_equal(atomic_load(&jobs[i].delivered[unit]), 1);
                assert_true(jobs[i].result[unit] == sum_of(jobs[i].from, unit));
            }
        }
    }
    dw_crew_destroy(crew);
}

static jmp_buf away;

static void leave(void *user, uint32_t unit, int thread)
{
    if (thread == 0 && unit >= UNITS / 2) {
        longjmp(away, 1);
    }
    compute(user, unit, thread);
}

/* As an assert of ggml's does: the next job finds nothing of it. */
static void test_crew_goes_on_behind_a_job_that_was_left(void **state)
{
    (void)state;
    static sums left;
    static sums next;
    static dw_crew *crew;
    static int round;
    assert_int_equal(dw_crew_create(&crew, 3, NULL), DW_OK);
    for (round = 0; round < 50; round++) {
        if (setjmp(away) == 0) {
            dw_crew_run(crew,
                        &(dw_crew_job){
                            .units = UNITS, .compute = leave, .deliver = deliver, .user = &left});
        }
        dw_crew_settle(crew);
        next.from = 7;
        next.computes = true;
        run_and_check(crew, &next, UNITS);
    }
    dw_crew_destroy(crew);
}

/* Helpers sleep, and are woken. */
static void test_crew_wakes_helpers(void **state)
{
    (void)state;
    static sums job;
    dw_crew *crew = NULL;
    assert_int_equal(dw_crew_create(&crew, 2, NULL), DW_OK);
    for (int round = 0; round < 20; round++) {
        job.from = (uint64_t)round;
        job.computes = true;
        run_and_check(crew, &job, UNITS);
        dw_crew_settle(crew);
        const struct timespec rest = {.tv_nsec = 1000000};
        (void)nanosleep(&rest, NULL);
    }
    dw_crew_destroy(crew);
    dw_crew_destroy(NULL);
}

static void test_crew_without_memory(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 2; n++) {
        dw_crew *crew = NULL;
        dw_error err = {0};
        dw_alloc_fail_after(n);
        const dw_status status = dw_crew_create(&crew, 2, &err);
        dw_alloc_fail_after(-1);
        assert_int_equal(status, DW_E_MEMORY);
        assert_null(crew);
        assert_non_null(strstr(err.message, "2 threads"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crew_delivers_each_unit_once),
        cmocka_unit_test(test_crew_does_not_wait_for_helpers),
        cmocka_unit_test(test_crew_goes_on_behind_a_job_that_was_left),
        cmocka_unit_test(test_crew_wakes_helpers),
        cmocka_unit_test(test_crew_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
