/* The device's side of a scheduler: the batches in which steps wait, and their runs. Either it has
 * its turn in each round, on the scheduler's thread, or a thread of its own, so that it computes
 * steps while guests run.
 * Private to src/scheduler. Thread: the first worker's for its life, the worker's for the rest. */
#ifndef DW_SCHEDULER_DEVICE_SIDE_H
#define DW_SCHEDULER_DEVICE_SIDE_H

#include "scheduler/task.h"

/* With a thread, which rests until dw__device_resume. Errors: DW_E_MEMORY (no thread). */
dw_status dw__device_open(dw_scheduler *scheduler, bool own_thread, dw_error *err);
/* No step waits. */
void dw__device_close(dw_scheduler *scheduler);
/* Its thread goes on; or rests, once the run under way is over. */
void dw__device_resume(dw_scheduler *scheduler);
void dw__device_pause(dw_scheduler *scheduler);

/* Let steps [count] of one `owner` wait for their runs: a task's own, or a generation's, which is
 * then their `user`. What comes of them, dw__device_take takes. */
void dw__device_add(dw_scheduler *scheduler, dw_batch_item *items, uint32_t count);
/* Guests have had their turns: run once each kind of step that waits, unless it has a thread of its
 * own, which is at it. */
void dw__device_run(dw__worker *worker);
/* Steps whose guests were asked to stop do not run any more. */
void dw__device_drop_stopped(dw__worker *worker);
/* Let the worker's guests run whose steps are through, and those who await what was generated. */
void dw__device_take(dw__worker *worker);
/* Whether there is anything to run or to take on the worker's thread. */
bool dw__device_is_wanted(const dw__worker *worker);
/* Of the times in which it was idle, to a fifth. Thread: any. */
uint64_t dw__device_idle_median_ns(const dw_scheduler *scheduler);
/* The worker is about to sleep. */
void dw__device_note_sleep(dw__worker *worker);

#endif
