/* One round of guests and device.
 * Private to src/scheduler. Thread: the worker's. */
#ifndef DW_SCHEDULER_ROUND_H
#define DW_SCHEDULER_ROUND_H

#include "scheduler/task.h"

/* Whether any task can run, or something has come of the device. */
bool dw__worker_has_work(const dw__worker *worker);
/* Let guests run whose waits are over; cheap where it was asked a moment ago. */
void dw__worker_look(dw__worker *worker);
/* Wait until a guest's wait is over, or the worker's waker was written to. Blocks. */
void dw__worker_sleep(dw__worker *worker);
/* Run each guest that can run until it waits; and then, unless it has a thread of its own, the
 * device once for each kind of step. */
void dw__worker_round(dw__worker *worker);
/* The first worker's. */
void dw__scheduler_round(dw_scheduler *scheduler);

#endif
