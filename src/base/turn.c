#include "base/turn.h"

/* How often one that waits looks whether it should leave. */
#define LOOK_NS UINT64_C(5000000)

void dw_turn_init(dw_turn *turn)
{
    DW_ASSERT(pthread_mutex_init(&turn->lock, NULL) == 0);
    dw_os_cond_init(&turn->given);
    turn->taken = false;
    turn->first = NULL;
}

void dw_turn_release(dw_turn *turn)
{
    DW_ASSERT(!turn->taken && turn->first == NULL);
    (void)pthread_cond_destroy(&turn->given);
    (void)pthread_mutex_destroy(&turn->lock);
}

static void leave(dw_turn *turn, dw__turn_waiter *waiter)
{
    dw__turn_waiter **at = &turn->first;
    while (*at != waiter) {
        at = &(*at)->next;
    }
    *at = waiter->next;
}

static bool wait_for(dw_turn *turn, dw_stop *stop)
{
    dw__turn_waiter own = {.granted = false};
    dw__turn_waiter **last = &turn->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = &own;
    while (!own.granted) {
        if (stop == NULL) {
            (void)pthread_cond_wait(&turn->given, &turn->lock);
            continue;
        }
        (void)dw_os_cond_wait_until(&turn->given, &turn->lock, dw_os_clock_ns() + LOOK_NS);
        if (!own.granted && dw_stop_asked(stop)) {
            leave(turn, &own);
            return false;
        }
    }
    return true;
}

bool dw_turn_take(dw_turn *turn, dw_stop *stop)
{
    DW_ASSERT(pthread_mutex_lock(&turn->lock) == 0);
    bool got = !turn->taken || wait_for(turn, stop);
    turn->taken = turn->taken || got;
    (void)pthread_mutex_unlock(&turn->lock);
    return got;
}

void dw_turn_give(dw_turn *turn)
{
    DW_ASSERT(pthread_mutex_lock(&turn->lock) == 0);
    DW_ASSERT(turn->taken);
    dw__turn_waiter *next = turn->first;
    turn->taken = next != NULL;
    if (next != NULL) {
        turn->first = next->next;
        next->granted = true; /* its frame is there until it has seen this */
        (void)pthread_cond_broadcast(&turn->given);
    }
    (void)pthread_mutex_unlock(&turn->lock);
}
