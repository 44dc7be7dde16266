#include "scheduler/generations.h"

#include "scheduler/device_side.h"

dw_status dw__generate(void *user, dw_generation *generation, dw_error *err)
{
    dw__task *task = user;
    (void)err;
    generation->owner = task;
    generation->item.owner = task;
    dw__device_add(task->scheduler, &generation->item, 1);
    return DW_OK;
}

static void await(dw__task *task, const dw_generation *generation)
{
    DW_ASSERT(task->state == DW__TASK_RUNS);
    task->awaited = generation;
    task->state = DW__TASK_AWAITS;
}

void dw__generated(void *user, dw_generation *generation)
{
    dw__task *task = user;
    await(task, generation);
    dw_fiber_suspend(task->instance);
    DW_ASSERT(task->state == DW__TASK_RUNS);
}

bool dw__generations_hold(dw__task *task)
{
    if (!dw_instance_leave_generations(task->instance)) {
        return false;
    }
    task->through = true;
    await(task, NULL);
    return true;
}

void dw__generation_came(dw_generation *generation)
{
    dw__task *task = generation->owner;
    if (task->state != DW__TASK_AWAITS) {
        return;
    }
    bool come = task->awaited != NULL
                    ? task->awaited == generation && dw_generation_wakes(generation)
                    : !dw_instance_leave_generations(task->instance);
    if (come) {
        task->state = DW__TASK_RUNS;
        dw__task_ready(task);
    }
}
