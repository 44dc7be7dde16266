/* A lock that whoever waits for it can leave: what it guards may take seconds, and a guest's time
 * may be over before.
 * Thread: any. */
#ifndef DW_BASE_TURN_H
#define DW_BASE_TURN_H

#include <pthread.h>

#include "base/stop.h"

typedef struct dw_turn {
    pthread_mutex_t lock;
    pthread_cond_t given; /* somebody has given it back */
    bool taken;           /* guarded by lock */
} dw_turn;

void dw_turn_init(dw_turn *turn);
void dw_turn_release(dw_turn *turn);
/* Wait until it is free, and take it; with `stop` (may be NULL) until that asks. False: it did, and
 * the turn is not the caller's. */
bool dw_turn_take(dw_turn *turn, dw_stop *stop);
/* Give back what the calling thread has taken. */
void dw_turn_give(dw_turn *turn);

#endif
