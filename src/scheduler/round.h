/* One round of guests and device.
 * Private to src/scheduler. Thread: the scheduler's. */
#ifndef DW_SCHEDULER_ROUND_H
#define DW_SCHEDULER_ROUND_H

#include "scheduler/task.h"

/* Whether any task can run, or waits for the device. */
bool dw__scheduler_has_work(const dw_scheduler *scheduler);
/* Let guests run whose waits are over; cheap where it was asked a moment ago. */
void dw__scheduler_look(dw_scheduler *scheduler);
/* Wait until a guest's wait is over, or the scheduler's waker was written to. Blocks. */
void dw__scheduler_sleep(dw_scheduler *scheduler);
/* Run each guest that can run until it waits, then the device once for each kind of step. */
void dw__scheduler_round(dw_scheduler *scheduler);

#endif
