/* Stacks of our own: what runs on one is on the same thread, as deep on every thread, and leaves
 * nothing behind. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/os.h"
#include "base/stack.h"
#include "small_thread.h"
#include "support.h"

#define FRAME_BYTES 4096
#define DEEP_FRAMES 1500 /* 6 MiB and more */

static _Thread_local int of_thread;

typedef struct visit {
    pthread_t thread;
    const char *at;
    int seen;
    size_t frames;
    dw_status status;
    dw_status inner;
} visit;

static dw_status look(void *arg, dw_error *err)
{
    visit *v = arg;
    v->thread = pthread_self();
    v->at = __builtin_frame_address(0);
    v->seen = of_thread;
    of_thread++;
    errno = EDOM;
    return v->status != DW_OK ? dw_fail(err, v->status, "asked for") : DW_OK;
}

static void test_stack_is_of_the_same_thread(void **state)
{
    (void)state;
    const char *here = __builtin_frame_address(0);
    visit v = {.at = NULL};
    dw_error err = {.message = ""};
    of_thread = 7;
    errno = 0;
    assert_int_equal(dw_stack_run(look, &v, &err), DW_OK);
    assert_true(pthread_equal(v.thread, pthread_self()));
    assert_int_equal(v.seen, 7);
    assert_int_equal(of_thread, 8);
    assert_int_equal(errno, EDOM);
    assert_true(v.at < here - DW_STACK_BYTES / 2 || v.at > here);
    v.status = DW_E_RANGE;
    assert_int_equal(dw_stack_run_apart(look, &v, &err), DW_E_RANGE);
    assert_string_equal(err.message, "asked for");
    assert_int_equal(dw_stack_run(look, &v, NULL), DW_E_RANGE);
}

static void fill_frames(visit *v, size_t left) /* NOLINT(misc-no-recursion) */
{
    volatile char frame[FRAME_BYTES];
    frame[0] = (char)left;
    frame[FRAME_BYTES - 1] = (char)left;
    v->frames++;
    if (left > 1) {
        fill_frames(v, left - 1);
    }
    assert_int_equal(frame[0], (char)left);
}

static dw_status dive(void *arg, dw_error *err)
{
    (void)err;
    fill_frames(arg, DEEP_FRAMES);
    return DW_OK;
}

static void dive_from_here(void *arg)
{
    visit *v = arg;
    v->status = dw_stack_run(dive, v, NULL);
}

static void test_stack_is_deep_on_small_threads(void **state)
{
    static const size_t sizes[] = {0, 64 << 10, 8 << 20};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        visit v = {.frames = 0};
        small_thread_run(sizes[i] > 0 ? sizes[i] : 1, dive_from_here, &v);
        assert_int_equal(v.status, DW_OK);
        assert_int_equal(v.frames, DEEP_FRAMES);
    }
}

/* What a deep call touched goes back to the system. */
static void test_stack_gives_memory_back(void **state)
{
    (void)state;
    visit v = {.frames = 0};
    if (emulated()) {
        skip();
    }
    dive_from_here(&v);
    size_t before = dw_os_rss_bytes();
    for (int i = 0; i < 100; i++) {
        dive_from_here(&v);
    }
    assert_true(dw_os_rss_bytes() < before + ((size_t)2 << 20));
    assert_true(dw_stack_kept_count() <= 4);
}

static dw_status look_inside(void *arg, dw_error *err)
{
    visit *v = arg;
    const char *here = __builtin_frame_address(0);
    v->inner = dw_stack_run(look, v, err);
    bool on_this = v->at < here && v->at > here - 4096;
    (void)dw_stack_run_apart(look, v, err);
    bool apart = v->at > here || v->at < here - 4096;
    v->seen = on_this && apart;
    return DW_OK;
}

/* One of ours with enough left is used on, and another where it is asked for. */
static void test_stack_is_used_on(void **state)
{
    (void)state;
    visit v = {.at = NULL};
    assert_int_equal(dw_stack_run(look_inside, &v, NULL), DW_OK);
    assert_int_equal(v.inner, DW_OK);
#if !defined(__SANITIZE_ADDRESS__) /* whose frames are larger */
    assert_int_equal(v.seen, 1);
#endif
}

static void fill_then_dive(visit *v, size_t left) /* NOLINT(misc-no-recursion) */
{
    volatile char frame[FRAME_BYTES];
    frame[0] = 0;
    if (left > 0) {
        fill_then_dive(v, left - 1);
    } else {
        v->inner = dw_stack_run(dive, v, NULL);
    }
    assert_int_equal(frame[0], 0);
}

static dw_status dive_twice(void *arg, dw_error *err)
{
    (void)err;
    fill_then_dive(arg, DEEP_FRAMES - 100);
    return DW_OK;
}

/* Where too little is left, there is another. */
static void test_stack_that_is_nearly_full(void **state)
{
    (void)state;
    visit v = {.frames = 0};
    assert_int_equal(dw_stack_run(dive_twice, &v, NULL), DW_OK);
    assert_int_equal(v.inner, DW_OK);
    assert_int_equal(v.frames, DEEP_FRAMES);
}

static void look_surely(void *arg)
{
    (void)look(arg, NULL);
}

static void test_stack_that_is_not_to_be_had(void **state)
{
    (void)state;
    visit v = {.at = NULL};
    dw_error err = {.message = ""};
    dw_stack_set_failing(true);
    dw_status status = dw_stack_run(look, &v, &err);
    bool ran = v.at != NULL;
    dw_stack_run_surely(look_surely, &v);
    bool ran_surely = v.at != NULL;
    dw_stack_set_failing(false);
    assert_int_equal(status, DW_E_MEMORY);
    assert_non_null(strstr(err.message, "stack"));
    assert_false(ran);
    assert_true(ran_surely);
    v.at = NULL;
    const char *here = __builtin_frame_address(0);
    dw_stack_run_surely(look_surely, &v);
    assert_true(v.at > here || v.at < here - DW_STACK_NEED_BYTES);
}

#define THREADS 16
#define CALLS 2000

static dw_status call_again(void *arg, dw_error *err)
{
    visit *v = arg;
    v->frames++;
    return v->frames % 3 == 0 ? dw_stack_run_apart(look, v, err) : DW_OK;
}

static void *call_much(void *arg)
{
    for (int i = 0; i < CALLS; i++) {
        (void)dw_stack_run(call_again, arg, NULL);
    }
    return NULL;
}

static void test_stack_of_many_threads(void **state)
{
    pthread_t threads[THREADS];
    visit visits[THREADS];
    (void)state;
    memset(visits, 0, sizeof visits);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_much, &visits[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(visits[i].frames, CALLS);
        assert_true(pthread_equal(visits[i].thread, threads[i]));
    }
    assert_true(dw_stack_kept_count() <= 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stack_is_of_the_same_thread),
        cmocka_unit_test(test_stack_is_deep_on_small_threads),
        cmocka_unit_test(test_stack_gives_memory_back),
        cmocka_unit_test(test_stack_is_used_on),
        cmocka_unit_test(test_stack_that_is_nearly_full),
        cmocka_unit_test(test_stack_that_is_not_to_be_had),
        cmocka_unit_test(test_stack_of_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
