#include "base/turn.h"

/* How often one that waits looks whether it should leave. */
#define LOOK_NS UINT64_C(5000000)

void dw_turn_init(dw_turn *turn)
{
    DW_ASSERT(pthread_mutex_init(&turn->lock, NULL) == 0);
    dw_os_cond_init(&turn->given);
    turn->taken = false;
}

void dw_turn_release(dw_turn *turn)
{
    DW_ASSERT(!turn->taken);
    (void)pthread_cond_destroy(&turn->given);
    (void)pthread_mutex_destroy(&turn->lock);
}

bool dw_turn_take(dw_turn *turn, dw_stop *stop)
{
    DW_ASSERT(pthread_mutex_lock(&turn->lock) == 0);
    bool leaves = false;
    while (turn->taken && !leaves) {
        if (stop == NULL) {
            (void)pthread_cond_wait(&turn->given, &turn->lock);
        } else {
            (void)dw_os_cond_wait_until(&turn->given, &turn->lock, dw_os_clock_ns() + LOOK_NS);
            leaves = turn->taken && dw_stop_asked(stop);
        }
    }
    if (!leaves) {
        turn->taken = true;
    }
    (void)pthread_mutex_unlock(&turn->lock);
    return !leaves;
}

void dw_turn_give(dw_turn *turn)
{
    DW_ASSERT(pthread_mutex_lock(&turn->lock) == 0);
    DW_ASSERT(turn->taken);
    turn->taken = false;
    (void)pthread_cond_signal(&turn->given);
    (void)pthread_mutex_unlock(&turn->lock);
}
