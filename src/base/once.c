#include "base/once.h"

#include <time.h>

#include "base/account.h"

static const struct timespec a_while = {.tv_nsec = 500000};

void dw_once_init(dw_once *once, dw_once_work work, void *arg)
{
    *once = (dw_once){.work = work, .arg = arg};
    DW_ASSERT(pthread_mutex_init(&once->lock, NULL) == 0);
}

void dw_once_release(dw_once *once)
{
    if (once->has_thread) {
        (void)pthread_join(once->thread, NULL);
    }
    (void)pthread_mutex_destroy(&once->lock);
}

static void *run(void *user)
{
    dw_once *once = user;
    dw_error error = {.message = ""};
    dw_account_scope payer = dw_account_pause();
    dw_status status = once->work(once->arg, &error);
    dw_account_leave(payer);
    (void)pthread_mutex_lock(&once->lock);
    once->status = status;
    once->error = error;
    once->ended = true;
    atomic_store_explicit(&once->done, status == DW_OK, memory_order_release);
    (void)pthread_mutex_unlock(&once->lock);
    return NULL;
}

/* Whether the caller is to do it. */
static bool begin(dw_once *once, const dw_stop *stop)
{
    bool is_first = !once->begun;
    if (is_first) {
        once->begun = true;
        once->ended = false;
        once->has_thread = stop != NULL && dw_os_start_thread(&once->thread, run, once) == 0;
    }
    return is_first && !once->has_thread;
}

/* Of work that has ended; where it failed whoever comes next begins anew. */
static dw_status conclude(dw_once *once, dw_error *err)
{
    dw_status status = once->status;
    if (once->has_thread) {
        (void)pthread_join(once->thread, NULL);
        once->has_thread = false;
    }
    if (status == DW_OK) {
        return DW_OK;
    }
    once->begun = false;
    once->ended = false;
    return dw_fail(err, status, "%s", once->error.message);
}

dw_status dw_once_do(dw_once *once, dw_stop *stop, dw_error *err)
{
    while (!atomic_load_explicit(&once->done, memory_order_acquire)) {
        (void)pthread_mutex_lock(&once->lock);
        bool is_ours = begin(once, stop);
        bool ended = once->ended;
        dw_status status = ended ? conclude(once, err) : DW_OK;
        (void)pthread_mutex_unlock(&once->lock);
        if (ended) {
            return status;
        }
        if (is_ours) {
            (void)run(once);
            continue;
        }
        status = dw_stop_check(stop, "tables of the model are being made", err);
        if (status != DW_OK) {
            return status;
        }
        (void)nanosleep(&a_while, NULL);
        (void)dw_stop_pause_now(stop);
    }
    return DW_OK;
}
