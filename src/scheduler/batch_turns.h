/* Which batch runs next, where several wait: each is of another kind of steps (another model, other
 * adapters), and each run is a whole one, which reads the weights. A tenant chooses how many kinds
 * its steps are of, so that runs go by tenants: the one that has had the least time in runs made
 * for it, by its weight, chooses among the batches it waits in the one that has waited longest
 * (start-time fair queueing: Goyal, Vin, Cheng 1996). Others who wait in that batch pay as well,
 * but never so much that they would be behind the one who chose. Nothing is saved up, and while
 * one batch waits alone its runs cost nothing.
 * Private to src/scheduler. Thread: the device's. */
#ifndef DW_SCHEDULER_BATCH_TURNS_H
#define DW_SCHEDULER_BATCH_TURNS_H

#include "inference/batch.h"

/* Zeroed at first. */
typedef struct dw__batch_turns {
    uint64_t pass;          /* of the share that chose last, the most so far */
    uint64_t choices;       /* made so far */
    uint64_t runs;          /* chosen so far */
    dw_batch_share *chose;  /* the run that dw__turns_charge counts; NULL: it costs nothing */
    dw_batch_share *riders; /* all that wait in it */
    bool several;           /* more than one batch waited */
} dw__batch_turns;

/* Of batches [count], the one to run; NULL: nothing waits. Long runs under way are few: while they
 * are, a batch that would begin another waits for one of them to end. */
dw_batch *dw__turns_next(dw__batch_turns *turns, dw_batch *const *batches, size_t count);
/* That run, or its part, took so long. */
void dw__turns_charge(dw__batch_turns *turns, uint64_t took_ns);

#endif
