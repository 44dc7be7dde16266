/* Whose turn it is on a worker. Guests' time is shared out among tenants by their weights: who has
 * had the least of it, for its weight, is next (start-time fair queueing: Goyal, Vin, Cheng 1996).
 * So a tenant that wants less than its share waits for one turn at most, however much others want,
 * and what it leaves is theirs. In a tenant the same among three priorities and three kinds of
 * turns. Nobody saves time up while there is nothing to do for it.
 * Private to src/scheduler. Thread: the worker's, but for what a comment says. */
#ifndef DW_SCHEDULER_LANES_H
#define DW_SCHEDULER_LANES_H

#include "scheduler/task.h"

/* A share of a scheduler's time, for DW_SCHEDULER_WEIGHT_USUAL where it is new. With the
 * scheduler's lock. Errors: DW_E_MEMORY. */
dw_status dw__share_get(dw_scheduler *scheduler, uint32_t number, dw__share **out, dw_error *err);
/* Of all. No worker has tasks. */
void dw__shares_free(dw_scheduler *scheduler);

/* The task can have a turn of that kind. */
void dw__lane_put(dw__task *task, dw__turn_kind kind);
/* Take out who is next of those that wait for one of `kinds` (bits, by dw__turn_kind); NULL: nobody
 * does. Until dw__lane_charge the lane is this turn's. */
dw__task *dw__lane_take(dw__worker *worker, unsigned kinds, dw__turn *turn);
/* The turn took so long. */
void dw__lane_charge(dw__worker *worker, const dw__turn *turn, uint64_t took_ns);
/* Those that were passed over for their kinds are not any more. */
void dw__lanes_renew(dw__worker *worker);
/* Of each lane and queue of the worker's, in turn: take out those for which `is_wanted`. */
void dw__lanes_sweep(dw__worker *worker, bool (*is_wanted)(const dw__task *task),
                     dw__task_queue *out);

#endif
