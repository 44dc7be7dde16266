/* The threads that make, fork and destroy actors: their time is shared out among tenants by weight,
 * as that of guests is (src/scheduler/lanes.h). What they had of the processor counts as time of
 * the tenant's guests, too: else who has its actors made and restarted all the time would have that
 * beside its share. */
#include <string.h>

#include "base/os.h"
#include "runtime/guests.h"
#include "runtime/runtime_internal.h"

/* A tenant's time is counted in nanoseconds * SCALE / weight. */
#define SCALE UINT64_C(10000)
/* What is made and destroyed here costs others more than the processor's time: mappings of the
 * process change, for which the system stops the threads that guests are on (0.8 of the workers'
 * time on theirs, by perf of bench_hostile), and caches are others' afterwards. Of twice and four
 * times, the latter kept what weights promise: 95.4 % of the good ones' processor time in place of
 * 94.1 %, beside a crowd of a thirtieth of their weight. */
#define COST UINT64_C(4)

void dw__host_submit(void *user, dw__operation *operation)
{
    dw__host *host = user;
    dw__tenant *tenant = operation->tenant;
    dw__work_queue *queue = &tenant->work;
    operation->next = NULL;
    (void)pthread_mutex_lock(&host->work_lock);
    queue->weight = operation->weight;
    if (queue->first == NULL) { /* who had nothing to do has saved nothing up */
        queue->pass = queue->pass > host->work_pass ? queue->pass : host->work_pass;
        queue->next = host->working;
        host->working = tenant;
        queue->first = operation;
    } else {
        queue->last->next = operation;
    }
    queue->last = operation;
    (void)pthread_cond_signal(&host->work_wanted);
    (void)pthread_mutex_unlock(&host->work_lock);
}

/* The next operation, and whose it is; NULL: there is none. With the lock. */
static dw__operation *take_work(dw__host *host, dw__tenant **of)
{
    dw__tenant **best = NULL;
    for (dw__tenant **at = &host->working; *at != NULL; at = &(*at)->work.next) {
        best = best == NULL || (*at)->work.pass < (*best)->work.pass ? at : best;
    }
    if (best == NULL) {
        return NULL;
    }
    *of = *best;
    dw__work_queue *queue = &(*of)->work;
    dw__operation *operation = queue->first;
    queue->first = operation->next;
    host->work_pass = queue->pass;
    if (queue->first == NULL) {
        *best = queue->next;
    }
    return operation;
}

void *dw__host_run_worker(void *arg)
{
    dw__host *host = arg;
    dw__runtime_own_thread(host->runtime);
    const dw_os_thread_clock clock = dw_os_thread_clock_of_this();
    (void)pthread_mutex_lock(&host->work_lock);
    while (!host->workers_end) {
        dw__tenant *tenant = NULL;
        dw__operation *operation = take_work(host, &tenant);
        if (operation == NULL) {
            (void)pthread_cond_wait(&host->work_wanted, &host->work_lock);
            continue;
        }
        uint32_t weight = tenant->work.weight;
        (void)pthread_mutex_unlock(&host->work_lock);
        uint64_t from_ns = dw_os_clock_ns();
        uint64_t worked_ns = dw_os_thread_clock_ns(clock);
        dw__operation_run(operation); /* it may be gone: the tenant is not */
        uint64_t took_ns = dw_os_clock_ns() - from_ns;
        worked_ns = dw_os_thread_clock_ns(clock) - worked_ns;
        dw_scheduler_charge(host->scheduler, tenant->number, COST * worked_ns);
        (void)pthread_mutex_lock(&host->work_lock);
        tenant->work.pass += took_ns * SCALE / weight;
    }
    (void)pthread_mutex_unlock(&host->work_lock);
    return NULL;
}

dw_status dw__host_wait_begin(dw__host *host, dw_error *err)
{
    dw_status status = DW_OK;
    (void)pthread_mutex_lock(&host->work_lock);
    bool all_wait = host->workers_waiting + 1 >= host->worker_count;
    if (all_wait && (host->worker_count == DW__WORKERS_MAX || host->workers_end)) {
        status = dw_fail(err, DW_E_BUSY, "%zu actors wait for models", host->workers_waiting);
    } else if (all_wait) {
        int failed =
            dw_os_start_thread(&host->workers[host->worker_count], dw__host_run_worker, host);
        host->worker_count += failed == 0;
        status = failed == 0
                     ? DW_OK
                     : dw_fail(err, DW_E_MEMORY, "a thread of a runtime: %s", strerror(failed));
    }
    host->workers_waiting += status == DW_OK;
    (void)pthread_mutex_unlock(&host->work_lock);
    return status;
}

void dw__host_wait_end(dw__host *host)
{
    (void)pthread_mutex_lock(&host->work_lock);
    host->workers_waiting--;
    (void)pthread_mutex_unlock(&host->work_lock);
}
