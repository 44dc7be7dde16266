/* One round of guests and device.
 * Private to src/scheduler. Thread: the scheduler's. */
#ifndef DW_SCHEDULER_ROUND_H
#define DW_SCHEDULER_ROUND_H

#include "scheduler/task.h"

/* Whether any task can run, or waits for the device. */
bool dw__scheduler_has_work(const dw_scheduler *scheduler);
/* Run each guest that can run until it waits, then the device once for each kind of step. */
void dw__scheduler_round(dw_scheduler *scheduler);

#endif
