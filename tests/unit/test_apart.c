/* Work on a thread of its own: others have their turns meanwhile, and all else is as it is here. */
#include <pthread.h>
#include <unistd.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/apart.h"
#include "base/limits.h"
#include "support.h"

#define TURNS 3
#define PATIENCE_NS (UINT64_C(20) * 1000000000)

typedef struct fixture {
    dw_stop stop;
    pthread_t caller;
    bool waits;     /* until others had TURNS turns */
    uint32_t turns; /* atomic */
    bool was_elsewhere;
    dw_account *payer;
    dw_status answer;
} fixture;

static void on_pause(void *user)
{
    fixture *f = user;
    assert_true(pthread_equal(pthread_self(), f->caller));
    __atomic_fetch_add(&f->turns, 1, __ATOMIC_RELAXED);
}

static dw_status work(void *arg, dw_error *err)
{
    fixture *f = arg;
    uint64_t until_ns = dw_os_clock_ns() + PATIENCE_NS;
    f->was_elsewhere = !pthread_equal(pthread_self(), f->caller);
    f->payer = dw_account_entered();
    while (f->waits && __atomic_load_n(&f->turns, __ATOMIC_RELAXED) < TURNS &&
           dw_os_clock_ns() < until_ns) {
        (void)usleep(100);
    }
    return f->answer == DW_OK ? DW_OK : dw_fail(err, f->answer, "as it was told");
}

static void test_apart_others_have_their_turns(void **state)
{
    (void)state;
    fixture f = {.caller = pthread_self(), .waits = true};
    dw_error err = {.message = ""};
    dw_stop_set_pause(&f.stop, on_pause, &f);
    dw_stop *before = dw_stop_begin_turn(&f.stop);
    assert_int_equal(dw_apart_run(&f.stop, work, &f, &err), DW_OK);
    dw_stop_end_turn(before);
    assert_true(f.was_elsewhere);
    assert_true(f.turns >= TURNS);
}

static void test_apart_is_here_where_nobody_waits(void **state)
{
    (void)state;
    fixture f = {.caller = pthread_self()};
    assert_int_equal(dw_apart_run(NULL, work, &f, NULL), DW_OK);
    assert_false(f.was_elsewhere);
    dw_stop_set_pause(&f.stop, on_pause, &f); /* but it is not its turn */
    assert_int_equal(dw_apart_run(&f.stop, work, &f, NULL), DW_OK);
    assert_false(f.was_elsewhere);
    assert_int_equal(f.turns, 0);
}

static void test_apart_fails_as_here(void **state)
{
    (void)state;
    fixture f = {.caller = pthread_self(), .answer = DW_E_LIMIT};
    dw_error err = {.message = ""};
    dw_stop_set_pause(&f.stop, on_pause, &f);
    dw_stop *before = dw_stop_begin_turn(&f.stop);
    assert_int_equal(dw_apart_run(&f.stop, work, &f, &err), DW_E_LIMIT);
    assert_string_equal(err.message, "as it was told");
    assert_int_equal(dw_apart_run(&f.stop, work, &f, NULL), DW_E_LIMIT);
    dw_stop_end_turn(before);
}

/* What it allocates is charged to whom it would be here. */
static void test_apart_the_same_pays(void **state)
{
    (void)state;
    fixture f = {.caller = pthread_self()};
    dw_account *account = NULL;
    dw_error err;
    assert_int_equal(dw_account_create(&account, &dw_limits_usual, &err), DW_OK);
    dw_stop_set_pause(&f.stop, on_pause, &f);
    dw_stop *before = dw_stop_begin_turn(&f.stop);
    dw_account_scope scope = dw_account_enter(account, DW_PART_SAMPLERS);
    assert_int_equal(dw_apart_run(&f.stop, work, &f, &err), DW_OK);
    dw_account_leave(scope);
    dw_stop_end_turn(before);
    assert_true(f.was_elsewhere);
    assert_ptr_equal(f.payer, account);
    dw_account_unref(account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apart_others_have_their_turns),
        cmocka_unit_test(test_apart_is_here_where_nobody_waits),
        cmocka_unit_test(test_apart_fails_as_here),
        cmocka_unit_test(test_apart_the_same_pays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
