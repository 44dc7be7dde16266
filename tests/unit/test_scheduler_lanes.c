/* Whose turn it is, counted in virtual time: no guest runs. */
#include "base/alloc.h"
#include "scheduler/lanes.h"
#include "scheduler/scheduler.h"
#include "support.h"

#define MS UINT64_C(1000000)
#define ALL ((1u << DW__TURN_KINDS) - 1)

typedef struct fixture {
    dw_scheduler *scheduler;
    dw__worker worker;
    uint64_t now;
} fixture;

static int open_fixture(void **state)
{
    fixture *f = dw_alloc(1, sizeof *f);
    f->scheduler = dw_alloc(1, sizeof *f->scheduler);
    f->scheduler->workers = &f->worker;
    f->scheduler->worker_count = 1;
    f->worker.scheduler = f->scheduler;
    *state = f;
    return pthread_mutex_init(&f->scheduler->lock, NULL);
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    dw__shares_free(f->scheduler);
    (void)pthread_mutex_destroy(&f->scheduler->lock);
    dw_free(f->scheduler);
    dw_free(f);
    return 0;
}

static dw__task make(fixture *f, uint32_t tenant, uint32_t weight, uint8_t priority)
{
    dw_error error = {.message = ""};
    dw__task task = {.scheduler = f->scheduler, .worker = &f->worker, .priority = priority};
    assert_int_equal(dw__share_get(f->scheduler, tenant, &task.share, &error), DW_OK);
    atomic_store(&task.share->weight, weight);
    return task;
}

/* The next has a turn of so long, and waits again if it is to. Who it was. */
static dw__task *turn(fixture *f, uint64_t took_ns, bool again, dw__turn_kind kind)
{
    dw__turn turn;
    dw__task *task = dw__lane_take(&f->worker, ALL, &turn);
    if (task == NULL) {
        return NULL;
    }
    f->now += took_ns;
    if (again) {
        dw__lane_put(task, kind);
    }
    dw__lane_charge(&f->worker, &turn, took_ns);
    return task;
}

/* Two that always want: time by weight, however long their turns are. */
static void test_lanes_time_by_weight(void **state)
{
    fixture *f = *state;
    dw__task good = make(f, 1, 1900, 1);
    dw__task bad[20];
    uint64_t had[2] = {0, 0};
    dw__lane_put(&good, DW__TURN_SHORT);
    for (int i = 0; i < 20; i++) {
        bad[i] = make(f, 2, 100, 1);
        dw__lane_put(&bad[i], DW__TURN_SHORT);
    }
    while (f->now < 20000 * MS) {
        const dw__share *share = f->worker.heap->share;
        bool is_good = share == good.share;
        uint64_t took = is_good ? MS / 20 : 10 * MS;
        (void)turn(f, took, true, is_good ? DW__TURN_SHORT : DW__TURN_LONG);
        had[!is_good] += took;
    }
    assert_in_range(had[0], 18990 * MS, 19010 * MS); /* of 20,000: 95 % */
    assert_in_range(had[1], 990 * MS, 1010 * MS);
}

/* What is done for a tenant elsewhere counts as its guests' time, up to a second between turns. */
static void test_lanes_time_elsewhere_counts(void **state)
{
    fixture *f = *state;
    dw__task plain = make(f, 1, 100, 1);
    dw__task helped = make(f, 2, 100, 1);
    uint64_t had[2] = {0, 0};
    dw_scheduler_charge(f->scheduler, 3, MS); /* nobody's: no guest of it was here */
    dw__lane_put(&plain, DW__TURN_SHORT);
    dw__lane_put(&helped, DW__TURN_SHORT);
    while (f->now < 9000 * MS) {
        const bool is_helped = turn(f, MS, true, DW__TURN_SHORT) == &helped;
        had[is_helped] += MS;
        if (is_helped) {
            dw_scheduler_charge(f->scheduler, 2, MS);
        }
    }
    assert_in_range(had[0], 5990 * MS, 6010 * MS);
    assert_in_range(had[1], 2990 * MS, 3010 * MS);
    for (int i = 0; i < 10; i++) {
        dw_scheduler_charge(f->scheduler, 2, 900 * MS);
    }
    unsigned turns = 0; /* of the other, until it has paid for a second */
    while (turn(f, MS, true, DW__TURN_SHORT) != &helped) {
        assert_in_range(++turns, 0, 3);
    }
    for (turns = 0; turn(f, MS, true, DW__TURN_SHORT) != &helped; turns++) {}
    assert_in_range(turns, 999, 1003);
}

/* One of less than its share waits for one turn at most, whatever its weight and the crowd. */
static void test_lanes_who_wants_little_waits_for_one_turn(void **state)
{
    fixture *f = *state;
    dw__task good = make(f, 1, 100, 1);
    dw__task bad[50];
    for (int i = 0; i < 50; i++) {
        bad[i] = make(f, 2, 100, 1);
        dw__lane_put(&bad[i], DW__TURN_SHORT);
    }
    for (int i = 0; i < 1000; i++) { /* it wants 1 ms in 11: less than a half */
        assert_ptr_not_equal(turn(f, 10 * MS, true, DW__TURN_LONG), &good);
        dw__lane_put(&good, DW__TURN_SHORT);
        assert_ptr_equal(turn(f, MS, false, DW__TURN_SHORT), &good);
    }
}

/* What one leaves is the others'; nobody saves up what it left. */
static void test_lanes_nothing_is_saved_up(void **state)
{
    fixture *f = *state;
    dw__task idle = make(f, 1, 100, 1);
    dw__task busy = make(f, 2, 100, 1);
    unsigned turns[2] = {0, 0};
    dw__lane_put(&busy, DW__TURN_SHORT);
    for (int i = 0; i < 1000; i++) {
        assert_ptr_equal(turn(f, 10 * MS, true, DW__TURN_LONG), &busy);
    }
    dw__lane_put(&idle, DW__TURN_SHORT);
    for (int i = 0; i < 100; i++) {
        turns[turn(f, 10 * MS, true, DW__TURN_LONG) == &busy]++;
    }
    assert_in_range(turns[0], 50, 51);
    assert_in_range(turns[1], 49, 50);
}

/* In a tenant: 16 to 4 to 1 by priority; and none of the kinds starves. */
static void test_lanes_priorities_and_kinds(void **state)
{
    fixture *f = *state;
    dw__task tasks[3];
    unsigned turns[3] = {0, 0, 0};
    for (uint8_t i = 0; i < 3; i++) {
        tasks[i] = make(f, 1, 100, i);
        dw__lane_put(&tasks[i], DW__TURN_SHORT);
    }
    for (int i = 0; i < 2100; i++) {
        turns[turn(f, MS, true, DW__TURN_SHORT) - tasks]++;
    }
    assert_in_range(turns[0], 1598, 1602);
    assert_in_range(turns[1], 398, 402);
    assert_in_range(turns[2], 98, 102);
    dw__task_queue all = {NULL, NULL};
    dw__turn had;
    for (int i = 0; i < 3; i++) {
        dw__task *task = dw__lane_take(&f->worker, ALL, &had);
        dw__lane_charge(&f->worker, &had, 0);
        dw__put(&all, task);
        task->priority = 1;
    }
    assert_int_equal(f->worker.runnable, 0);
    for (int i = 0; i < 3; i++) {
        turns[i] = 0;
        dw__lane_put(&tasks[i], (dw__turn_kind)i);
    }
    for (int i = 0; i < 700; i++) {
        dw__task *task = dw__lane_take(&f->worker, ALL, &had);
        turns[task - tasks]++;
        dw__lane_put(task, had.kind);
        dw__lane_charge(&f->worker, &had, MS);
    }
    assert_in_range(turns[DW__TURN_SHORT], 395, 405);
    assert_in_range(turns[DW__TURN_WORK], 195, 205);
    assert_in_range(turns[DW__TURN_LONG], 95, 105);
}

static const dw__task *wanted;

static bool is_wanted(const dw__task *task)
{
    return task == wanted;
}

/* Those of kinds that have no turn now stay, in their places; those swept out are gone. */
static void test_lanes_passed_over_and_swept(void **state)
{
    fixture *f = *state;
    dw__task tasks[3] = {make(f, 1, 100, 0), make(f, 2, 100, 1), make(f, 3, 100, 2)};
    dw__turn had;
    for (int i = 0; i < 3; i++) {
        dw__lane_put(&tasks[i], i == 1 ? DW__TURN_SHORT : DW__TURN_LONG);
    }
    assert_ptr_equal(dw__lane_take(&f->worker, 1u << DW__TURN_SHORT, &had), &tasks[1]);
    dw__lane_charge(&f->worker, &had, MS);
    assert_null(dw__lane_take(&f->worker, 1u << DW__TURN_SHORT, &had));
    dw__lanes_renew(&f->worker);
    assert_int_equal(f->worker.runnable, 2);
    dw__task_queue out = {NULL, NULL};
    wanted = &tasks[0];
    dw__lanes_sweep(&f->worker, is_wanted, &out);
    assert_ptr_equal(dw__take(&out), &tasks[0]);
    assert_null(dw__take(&out));
    assert_ptr_equal(turn(f, MS, false, DW__TURN_LONG), &tasks[2]);
    assert_null(turn(f, MS, false, DW__TURN_LONG));
    assert_int_equal(f->worker.runnable, 0);
    dw__lane_put(&tasks[0], DW__TURN_SHORT); /* its lane is found again */
    assert_ptr_equal(turn(f, MS, false, DW__TURN_LONG), &tasks[0]);
}

/* Hundreds of tenants: each has its part. */
static void test_lanes_many_tenants(void **state)
{
    fixture *f = *state;
    static dw__task tasks[DW_SCHEDULER_TENANTS_MAX];
    static unsigned turns[DW_SCHEDULER_TENANTS_MAX];
    for (uint32_t i = 0; i < DW_SCHEDULER_TENANTS_MAX; i++) {
        tasks[i] = make(f, i, 1 + i % 2, 1);
        dw__lane_put(&tasks[i], DW__TURN_SHORT);
    }
    for (uint32_t i = 0; i < DW_SCHEDULER_TENANTS_MAX * 30; i++) {
        turns[turn(f, MS, true, DW__TURN_SHORT) - tasks]++;
    }
    for (uint32_t i = 0; i < DW_SCHEDULER_TENANTS_MAX; i++) {
        assert_in_range(turns[i], 20 * (1 + i % 2) - 1, 20 * (1 + i % 2) + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lanes_time_by_weight, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_lanes_time_elsewhere_counts, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(test_lanes_who_wants_little_waits_for_one_turn,
                                        open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_lanes_nothing_is_saved_up, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(test_lanes_priorities_and_kinds, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(test_lanes_passed_over_and_swept, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(test_lanes_many_tenants, open_fixture, close_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
