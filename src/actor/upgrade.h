/* The change of an actor's module: what the old one hands over, and what the new one takes of it.
 * docs/guest-abi.md has the guests' side.
 * Thread: the actor's. */
#ifndef DW_ACTOR_UPGRADE_H
#define DW_ACTOR_UPGRADE_H

#include "actor/actor.h"

/* What guests may export for it. */
#define DW_ACTOR_STATE_EXPORT "driftwood_state"
#define DW_ACTOR_UPGRADE_EXPORT "driftwood_upgrade"

/* For host functions; on failure with a status below 0 and its message. Errors of all: DW_E_STATE
 * (not called from the function that it is for). */

/* Append to what is handed over. Errors: DW_E_LIMIT (upgrade_bytes), DW_E_MEMORY. */
dw_status dw_actor_give_state(dw_actor *actor, const void *bytes, size_t count, dw_error *err);
/* How much was handed over. Errors: DW_E_NOT_FOUND (the old module hands over nothing). */
int64_t dw_actor_state_bytes(const dw_actor *actor, dw_error *err);
/* The next bytes, at most [capacity]: how many; 0: there are no more. Errors: as above. */
int64_t dw_actor_take_state(dw_actor *actor, void *buffer, size_t capacity, dw_error *err);
/* An object of the old module's stays open, under this handle. Errors: DW_E_HANDLE (it had no such
 * object that can be taken over). */
dw_status dw_actor_keep_handle(dw_actor *actor, int32_t handle, dw_error *err);

#endif
