/* A guest that could be an actor, and never is one: it traps when it begins. */
#include "driftwood_guest.h"

__attribute__((constructor)) static void begin(void)
{
    __builtin_trap();
}

DW_ACTOR_RECEIVE
{
    return 0;
}
