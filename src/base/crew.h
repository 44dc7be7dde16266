/* Threads that help another one with work of some microseconds, cut into units that are the same
 * whoever does them. Who has the work waits for that, not for the threads: a helper that another
 * program keeps from its core holds up no other units. Those that are left are done without it, and
 * the one that it had begun is done again where the work says how, of which whoever is ready first
 * delivers; else that one is waited for.
 *
 * Helpers look for work for some tens of microseconds, then sleep until there is some.
 *
 * Thread: one at a time has work done; it is thread 0. */
#ifndef DW_BASE_CREW_H
#define DW_BASE_CREW_H

#include <stdint.h>

#include "base/status.h"

#define DW_CREW_UNITS_MAX 16000u

typedef struct dw_crew dw_crew;

typedef struct dw_crew_job {
    uint32_t units; /* 1 to DW_CREW_UNITS_MAX; taken in their order */
    /* Do a unit into memory of the thread's own: it may be done twice, the second time until long
     * after the job. What it reads must not change before dw_crew_settle. NULL: `deliver` does all
     * of it, and nobody does again what a thread has begun. */
    void (*compute)(void *user, uint32_t unit, int thread);
    /* What the thread did last goes where it is wanted: once for each unit. */
    void (*deliver)(void *user, uint32_t unit, int thread);
    void *user;
} dw_crew_job;

/* `threads`: with who has the work, at least 2. Errors: DW_E_MEMORY (also: no thread). */
dw_status dw_crew_create(dw_crew **out, int threads, dw_error *err);
/* Thread: any, once nothing is being done. */
void dw_crew_destroy(dw_crew *crew);

/* Have all units delivered. */
void dw_crew_run(dw_crew *crew, const dw_crew_job *job);
/* From here on no helper looks at anything of the jobs so far. Also behind a job that was left in
 * the middle, by a jump or what ggml throws. */
void dw_crew_settle(dw_crew *crew);

/* For tests: each helper stops for so long in the middle of every unit that it computes; 0: not. */
void dw_crew_set_delay_ns(dw_crew *crew, uint64_t delay_ns);

#endif
