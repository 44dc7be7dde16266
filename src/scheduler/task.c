#include "scheduler/task.h"

#include "base/alloc.h"

void dw__task_add(dw_scheduler *scheduler, dw__task *task)
{
    task->after = scheduler->tasks;
    if (task->after != NULL) {
        task->after->before = task;
    }
    scheduler->tasks = task;
    dw__put(&scheduler->ready, task);
}

void dw__task_end(dw__task *task, dw_status status, int exit_code, const dw_error *error)
{
    dw_scheduler *scheduler = task->scheduler;
    if (task->before != NULL) {
        task->before->after = task->after;
    } else {
        scheduler->tasks = task->after;
    }
    if (task->after != NULL) {
        task->after->before = task->before;
    }
    (void)pthread_mutex_lock(&scheduler->lock);
    DW_ASSERT(scheduler->guest_count > 0);
    scheduler->guest_count--;
    (void)pthread_mutex_unlock(&scheduler->lock);
    dw__bump(&scheduler->counts.ended, 1);
    dw_call_end call_end = {
        .struct_bytes = sizeof call_end, .status = status, .exit_code = exit_code, .error = error};
    dw_call_end_fn on_end = task->on_end;
    void *user = task->user;
    dw_free(task);
    if (on_end != NULL) {
        on_end(user, &call_end);
    }
}
