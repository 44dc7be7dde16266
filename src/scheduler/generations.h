/* What is generated ahead of guests: steps that follow one another without their guest.
 * Private to src/scheduler. Thread: the guest's worker. */
#ifndef DW_SCHEDULER_GENERATIONS_H
#define DW_SCHEDULER_GENERATIONS_H

#include "scheduler/task.h"

/* dw_step_runner's, of a task. */
dw_status dw__generate(void *user, dw_generation *generation, dw_error *err);
void dw__generated(void *user, dw_generation *generation);

/* It has more tokens, or has ended: whoever awaits that can run. */
void dw__generation_came(dw_generation *generation);
/* The guest's code is through. Whether its end has to wait for what was generated ahead of it. */
bool dw__generations_hold(dw__task *task);

#endif
