/* What is generated ahead of guests: steps that follow one another in a batch without their guest.
 * Private to src/scheduler. Thread: the scheduler's. */
#ifndef DW_SCHEDULER_GENERATIONS_H
#define DW_SCHEDULER_GENERATIONS_H

#include "scheduler/task.h"

/* The batch in which steps of `context` wait: one where others of its kind wait, an empty one, or a
 * new one. There are as many batches as kinds of steps have waited at once: few.
 * Errors: DW_E_MEMORY. */
dw_status dw__batch_for(dw_scheduler *scheduler, const dw_context *context, dw_batch **out,
                        dw_error *err);

/* dw_step_runner's, of a task. */
dw_status dw__generate(void *user, dw_generation *generation, dw_error *err);
void dw__generated(void *user, dw_generation *generation);

/* A step of it is through in `batch`: the next one waits there, or who awaits it can run. */
void dw__generation_go_on(dw_batch *batch, dw_generation *generation);
/* The guest's code is through. Whether its end has to wait for what was generated ahead of it. */
bool dw__generations_hold(dw__task *task);

#endif
