/* Work that input chooses: what a grammar or a pattern makes of a text is not told by its size. It
 * is counted in steps, each at most a few dozen nanoseconds, and ends at a limit. Steps are had in
 * portions, so that counting costs a subtraction, and there is one place where more are asked for.
 * Thread: one at a time. */
#ifndef DW_BASE_WORK_H
#define DW_BASE_WORK_H

#include "base/stop.h"

#define DW_WORK_PORTION 65536U /* about a millisecond */

typedef struct dw_work {
    uint64_t portion; /* steps left of it */
    uint64_t rest;    /* steps that may be asked for beside it */
    uint64_t limit;   /* of steps in all; 0: not begun */
    dw_stop *stop;    /* looked at once a portion, when others have their turns; may be NULL; stays
                         when work begins anew */
    bool stopped;     /* it asked: nothing is left */
} dw_work;

/* Begin, with `limit` steps to be taken. */
void dw_work_begin(dw_work *work, uint64_t limit);
/* Take steps of which the portion has too few. false: the limit is passed, or the stop
 * asked; nothing is left. */
bool dw_work_ask(dw_work *work, uint64_t steps);
/* Whether the limit has been passed, or been met to the step. */
static inline bool dw_work_done(const dw_work *work)
{
    return work->portion == 0 && work->rest == 0;
}
/* Steps taken since the beginning. */
uint64_t dw_work_taken(const dw_work *work);

static inline bool dw_work_take(dw_work *work, uint64_t steps)
{
    if (steps > work->portion) {
        return dw_work_ask(work, steps);
    }
    work->portion -= steps;
    return true;
}

#endif
