#include "scheduler/generations.h"

#include "base/array.h"

static dw_status add_batch(dw_scheduler *scheduler, dw_batch **out, dw_error *err)
{
    dw_batch *batch = NULL;
    if (DW_ARRAY_RESERVE(scheduler->batches, scheduler->batch_capacity, scheduler->batch_count + 1,
                         SIZE_MAX)) {
        batch = dw_alloc(1, sizeof *batch);
    }
    if (batch == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a batch");
    }
    dw_batch_init(batch, &scheduler->limits);
    scheduler->batches[scheduler->batch_count++] = batch;
    *out = batch;
    return DW_OK;
}

dw_status dw__batch_for(dw_scheduler *scheduler, const dw_context *context, dw_batch **out,
                        dw_error *err)
{
    dw_batch *empty = NULL;
    for (size_t i = 0; i < scheduler->batch_count; i++) {
        dw_batch *batch = scheduler->batches[i];
        if (dw_batch_admits(batch, context, NULL) != DW_OK) {
            continue;
        }
        if (batch->waiting_count > 0) {
            *out = batch;
            return DW_OK;
        }
        empty = batch;
    }
    if (empty != NULL) {
        *out = empty;
        return DW_OK;
    }
    return add_batch(scheduler, out, err);
}

dw_status dw__generate(void *user, dw_generation *generation, dw_error *err)
{
    dw__task *task = user;
    dw_batch *batch = NULL;
    dw_status status = dw__batch_for(task->scheduler, generation->context, &batch, err);
    if (status != DW_OK) {
        return status;
    }
    generation->owner = task;
    dw_batch_add(batch, &generation->item);
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

/* Whether what `task` awaits has come, now that `generation` has gone on. */
static bool has_come(dw__task *task, const dw_generation *generation)
{
    if (task->state != DW__TASK_AWAITS) {
        return false;
    }
    return task->awaited != NULL ? task->awaited == generation && dw_generation_wakes(generation)
                                 : !dw_instance_leave_generations(task->instance);
}

void dw__generation_go_on(dw_batch *batch, dw_generation *generation)
{
    dw__task *task = generation->owner;
    if (dw_generation_take(generation)) {
        DW_ASSERT(dw_batch_admits(batch, generation->context, NULL) == DW_OK);
        dw_batch_add(batch, &generation->item);
    }
    if (has_come(task, generation)) {
        task->state = DW__TASK_RUNS;
        dw__put(&task->scheduler->ready, task);
    }
}
