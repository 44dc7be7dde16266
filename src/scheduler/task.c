#include "scheduler/task.h"

#include "base/alloc.h"

void dw__task_add(dw__worker *worker, dw__task *task)
{
    task->after = worker->tasks;
    if (task->after != NULL) {
        task->after->before = task;
    }
    worker->tasks = task;
    dw__put(&worker->ready, task);
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
