#include "base/alloc.h"
#include "base/os.h"
#include "scheduler/lanes.h"

/* So long a guest goes on for which others of more weight do not wait. */
#define HARDLY_BEGUN_NS UINT64_C(200000)

void dw__task_add(dw__worker *worker, dw__task *task)
{
    task->after = worker->tasks;
    if (task->after != NULL) {
        task->after->before = task;
    }
    worker->tasks = task;
    dw__task_ready(task);
}

void dw__task_ready(dw__task *task)
{
    task->turn_ns = 0;
    dw__lane_put(task, DW__TURN_SHORT);
}

void dw__task_ask_way(const dw__task *task)
{
    dw__worker *worker = task->worker;
    const dw__share *runs = atomic_load_explicit(&worker->turn_share, memory_order_relaxed);
    if (runs == NULL || runs == task->share) {
        return;
    }
    uint32_t own = atomic_load_explicit(&task->share->weight, memory_order_relaxed);
    uint32_t others = atomic_load_explicit(&runs->weight, memory_order_relaxed);
    uint64_t from_ns = atomic_load_explicit(&worker->turn_from_ns, memory_order_relaxed);
    if ((own > others || dw_os_clock_ns() - from_ns > HARDLY_BEGUN_NS) &&
        !atomic_exchange(&worker->way_asked, true)) {
        dw_wasm_host_end_turns(worker->scheduler->host);
    }
}

void dw__task_end(dw__task *task, dw_status status, int exit_code, const dw_error *error)
{
    dw_scheduler *scheduler = task->scheduler;
    dw__worker *worker = task->worker;
    if (task->before != NULL) {
        task->before->after = task->after;
    } else {
        worker->tasks = task->after;
    }
    if (task->after != NULL) {
        task->after->before = task->before;
    }
    (void)pthread_mutex_lock(&scheduler->lock);
    DW_ASSERT(scheduler->guest_count > 0);
    scheduler->guest_count--;
    worker->guest_count--;
    dw_instance_place_of(task->instance)->calls--;
    (void)pthread_mutex_unlock(&scheduler->lock);
    dw__bump(&worker->counts.ended, 1);
    dw_call_end call_end = {
        .struct_bytes = sizeof call_end, .status = status, .exit_code = exit_code, .error = error};
    dw_call_end_fn on_end = task->on_end;
    void *user = task->user;
    dw_free(task);
    if (on_end != NULL) {
        on_end(user, &call_end);
    }
    if (atomic_fetch_sub(&scheduler->calls, 1) == 1) { /* whoever waits for the last */
        dw__wake(&scheduler->workers[0]);
    }
}
