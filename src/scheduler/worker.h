/* The threads that guests run on: the first is whoever is in dw_scheduler_run, the others are the
 * scheduler's own. A guest is on one of them for the whole of its call.
 * Private to src/scheduler. Thread: the worker's, but for what a comment says. */
#ifndef DW_SCHEDULER_WORKER_H
#define DW_SCHEDULER_WORKER_H

#include "scheduler/round.h"

/* Errors: DW_E_MEMORY, DW_E_LIMIT (descriptors). Thread, of these four: the first worker's. */
dw_status dw__workers_open(dw_scheduler *scheduler, size_t count, dw_error *err);
/* Without guests. Also of those that dw__workers_open has not got to. */
void dw__workers_close(dw_scheduler *scheduler);
/* All but the first run their guests; or stop after the round under way, and leave guests where
 * they are. */
void dw__workers_go(dw_scheduler *scheduler);
void dw__workers_halt(dw_scheduler *scheduler);

/* Empty the inbox: guests become ready, functions are called. */
void dw__worker_empty_inbox(dw__worker *worker);
/* Block until something is in the inbox, a guest's wait is over, something has come of the device,
 * or it is to stop; with `for_calls` until the last call of any worker has ended as well. */
void dw__worker_rest(dw__worker *worker, bool for_calls);

#endif
