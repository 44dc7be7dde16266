#include "scheduler/worker.h"

#include "base/alloc.h"
#include "base/os.h"
#include "scheduler/device_side.h"

/* How long a worker without guests looks for some before it sleeps: to be woken takes as long. */
#define LOOK_NS UINT64_C(50000)

void dw__worker_empty_inbox(dw__worker *worker)
{
    dw_scheduler *scheduler = worker->scheduler;
    if (!atomic_load_explicit(&worker->has_inbox, memory_order_acquire)) {
        return;
    }
    (void)pthread_mutex_lock(&scheduler->lock);
    dw__task_queue inbox = worker->inbox;
    worker->inbox = (dw__task_queue){NULL, NULL};
    atomic_store(&worker->has_inbox, false);
    (void)pthread_mutex_unlock(&scheduler->lock);
    for (dw__task *task = dw__take(&inbox); task != NULL; task = dw__take(&inbox)) {
        if (task->instance == NULL) {
            task->on_turn(task->user);
            dw_free(task);
            continue;
        }
        dw__task_add(worker, task);
    }
}

/* What others say to a worker that is about to sleep, they say before they look whether it does. */
static bool was_told(const dw__worker *worker, bool for_calls)
{
    dw_scheduler *scheduler = worker->scheduler;
    bool stops = worker == &scheduler->workers[0] ? atomic_load(&scheduler->is_stopping)
                                                  : !atomic_load(&scheduler->is_going);
    return stops || atomic_load(&worker->has_inbox) || atomic_load(&worker->has_done) ||
           (for_calls && atomic_load(&scheduler->calls) == 0);
}

/* Whether something has come while nobody had to be woken. With guests that wait, who may wait for
 * the device, the processor is theirs. */
static bool comes_soon(const dw__worker *worker, bool for_calls)
{
    uint64_t until_ns = worker->tasks == NULL ? dw_os_clock_ns() + LOOK_NS : 0;
    bool told = was_told(worker, for_calls);
    while (!told && dw_os_clock_ns() < until_ns) {
        told = was_told(worker, for_calls);
    }
    return told;
}

void dw__worker_rest(dw__worker *worker, bool for_calls)
{
    if (comes_soon(worker, for_calls)) {
        return;
    }
    atomic_store(&worker->sleeps, true);
    if (!was_told(worker, for_calls)) {
        dw__device_note_sleep(worker);
        dw__worker_sleep(worker);
    }
    atomic_store(&worker->sleeps, false);
}

static void run_guests(dw__worker *worker)
{
    while (atomic_load_explicit(&worker->scheduler->is_going, memory_order_relaxed)) {
        dw__worker_empty_inbox(worker);
        if (dw__worker_has_work(worker)) {
            dw__worker_round(worker);
        } else {
            dw__worker_rest(worker, false);
        }
    }
}

static void *run_thread(void *arg)
{
    dw__worker *worker = arg;
    dw_scheduler *scheduler = worker->scheduler;
    (void)pthread_mutex_lock(&scheduler->lock);
    while (!scheduler->quits) {
        if (!scheduler->goes) {
            (void)pthread_cond_wait(&scheduler->changed, &scheduler->lock);
            continue;
        }
        worker->at_work = true;
        (void)pthread_mutex_unlock(&scheduler->lock);
        run_guests(worker);
        (void)pthread_mutex_lock(&scheduler->lock);
        worker->at_work = false;
        (void)pthread_cond_broadcast(&scheduler->changed);
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
    return NULL;
}

static dw_status open_one(dw_scheduler *scheduler, dw__worker *worker, dw_error *err)
{
    worker->scheduler = scheduler;
    dw_status status = dw_wakers_take(scheduler->host, &worker->waker, err);
    worker->others = (dw_stop_others){
        .due_ns = UINT64_MAX, .waker = worker->waker, .may_leave = !scheduler->device.own_thread};
    if (status != DW_OK || worker == &scheduler->workers[0]) {
        return status;
    }
    int failed = dw_os_start_thread(&worker->thread, run_thread, worker);
    if (failed != 0) {
        dw_wakers_give(scheduler->host, worker->waker);
        return dw_fail(err, DW_E_MEMORY, "scheduler: no thread for guests: error %d", failed);
    }
    return DW_OK;
}

dw_status dw__workers_open(dw_scheduler *scheduler, size_t count, dw_error *err)
{
    dw_status status = DW_OK;
    scheduler->workers = dw_alloc(count, sizeof *scheduler->workers);
    if (scheduler->workers == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu threads of guests", count);
    }
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        status = open_one(scheduler, &scheduler->workers[i], err);
        scheduler->worker_count += status == DW_OK;
    }
    for (size_t i = 1; i < scheduler->worker_count; i++) { /* no batch is there yet to look */
        scheduler->workers[i - 1].others.next = &scheduler->workers[i].others;
    }
    return status;
}

void dw__workers_close(dw_scheduler *scheduler)
{
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->quits = true;
    (void)pthread_cond_broadcast(&scheduler->changed);
    (void)pthread_mutex_unlock(&scheduler->lock);
    for (size_t i = 0; i < scheduler->worker_count; i++) {
        if (i > 0) {
            (void)pthread_join(scheduler->workers[i].thread, NULL);
        }
        DW_ASSERT(scheduler->workers[i].tasks == NULL);
        dw_wakers_give(scheduler->host, scheduler->workers[i].waker);
    }
    dw_free(scheduler->workers);
}

static void set_going(dw_scheduler *scheduler, bool goes)
{
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->goes = goes;
    atomic_store(&scheduler->is_going, goes);
    (void)pthread_cond_broadcast(&scheduler->changed);
    (void)pthread_mutex_unlock(&scheduler->lock);
}

void dw__workers_go(dw_scheduler *scheduler)
{
    if (scheduler->worker_count > 1) {
        set_going(scheduler, true);
    }
}

void dw__workers_halt(dw_scheduler *scheduler)
{
    if (scheduler->worker_count == 1) {
        return;
    }
    set_going(scheduler, false);
    (void)pthread_mutex_lock(&scheduler->lock);
    for (size_t i = 1; i < scheduler->worker_count; i++) {
        dw__wake(&scheduler->workers[i]);
        while (scheduler->workers[i].at_work) {
            (void)pthread_cond_wait(&scheduler->changed, &scheduler->lock);
        }
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
}
