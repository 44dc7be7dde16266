#include "base/apart.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/account.h"

/* How long the caller's thread waits, until others on it have their turns. */
#define WAIT_NS UINT64_C(1000000)

typedef struct apart {
    dw_stack_work work;
    void *arg;
    dw_account_scope payer;
    dw_status status;
    dw_error error;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended; /* guarded by lock */
} apart;

static void *run(void *user)
{
    apart *a = user;
    dw_account_scope before = dw_account_enter(a->payer.account, a->payer.part);
    a->status = a->work(a->arg, &a->error);
    dw_account_leave(before);
    (void)pthread_mutex_lock(&a->lock);
    a->ended = true;
    (void)pthread_cond_signal(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* Whether it has ended, after a while at most. */
static bool wait_a_while(apart *a)
{
    (void)pthread_mutex_lock(&a->lock);
    if (!a->ended) {
        (void)dw_os_cond_wait_until(&a->changed, &a->lock, dw_os_clock_ns() + WAIT_NS);
    }
    bool ended = a->ended;
    (void)pthread_mutex_unlock(&a->lock);
    return ended;
}

static dw_status run_apart(dw_stop *stop, apart *a, dw_error *err)
{
    pthread_t thread;
    int failed = dw_os_start_thread(&thread, run, a);
    if (failed != 0) {
        return dw_fail(err, DW_E_MEMORY, "no thread for long work: %s", strerror(failed));
    }
    /* Whoever joins the thread waits as well, where nobody takes turns any more. */
    while (!wait_a_while(a) && dw_stop_pause_now(stop)) {}
    (void)pthread_join(thread, NULL);
    if (a->status != DW_OK && err != NULL) {
        *err = a->error;
    }
    return a->status;
}

dw_status dw_apart_run(dw_stop *stop, dw_stack_work work, void *arg, dw_error *err)
{
    if (stop == NULL || stop != dw__stop_in_turn || stop->on_pause == NULL) {
        return work(arg, err);
    }
    apart a = {.work = work, .arg = arg, .payer = dw__account_now, .error = {.message = ""}};
    DW_ASSERT(pthread_mutex_init(&a.lock, NULL) == 0);
    dw_os_cond_init(&a.changed);
    dw_status status = run_apart(stop, &a, err);
    (void)pthread_cond_destroy(&a.changed);
    (void)pthread_mutex_destroy(&a.lock);
    return status;
}
