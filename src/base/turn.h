/* A lock that whoever waits for it can leave: what it guards may take seconds, and a guest's time
 * may be over before. It goes to those that wait in the order in which they came: one that takes it
 * again and again, as a scheduler's device does, keeps nobody from it.
 * Thread: any. */
#ifndef DW_BASE_TURN_H
#define DW_BASE_TURN_H

#include <pthread.h>

#include "base/stop.h"

/* One that waits, on its own stack. */
typedef struct dw__turn_waiter {
    struct dw__turn_waiter *next;
    bool granted; /* the turn was handed to it */
} dw__turn_waiter;

typedef struct dw_turn {
    pthread_mutex_t lock;
    pthread_cond_t given;   /* it was handed to somebody */
    bool taken;             /* guarded by lock */
    dw__turn_waiter *first; /* those that wait, in order; guarded by lock */
} dw_turn;

void dw_turn_init(dw_turn *turn);
void dw_turn_release(dw_turn *turn);
/* Wait until it is free, and take it; with `stop` (may be NULL) until that asks. False: it did, and
 * the turn is not the caller's. */
bool dw_turn_take(dw_turn *turn, dw_stop *stop);
/* Give back what the calling thread has taken. */
void dw_turn_give(dw_turn *turn);

#endif
