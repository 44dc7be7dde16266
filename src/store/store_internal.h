/* What the files of dw_store share. One actor at a time is the current one: the one that was last
 * thawed with dw__store_thaw, whose snapshots are in store->chain. */
#ifndef DW_STORE_STORE_INTERNAL_H
#define DW_STORE_STORE_INTERNAL_H

#include "actor/actor.h"
#include "base/limits.h"
#include "store/actor_folder.h"

/* How many messages came of one from outside. */
typedef struct dw__store_cause {
    uint64_t cause;
    uint64_t count;
} dw__store_cause;
#define DW__STORE_CAUSES 1024

struct dw_store {
    dw_engine *engine;
    dw_store_options options; /* path is not kept; limits are: */
    dw_limits limits;         /* what was set, 0 elsewhere */
    dw_actor_folder *folder;
    dw_snapshot_chain chain; /* of the current actor */
    dw_snapshot_chain shown; /* what dw_store_get_info and dw_store_paths have read */
    bool working;            /* there is a current actor; the embedder's callbacks may run */
    dw_module **modules;     /* [module_count]: compiled so far; counted */
    size_t module_count;
    size_t module_capacity;
    dw_descent descent; /* of the actor `descent_of`, whose it is for ever; "": none */
    char descent_of[DW_ACTOR_ID_CHARS + 1];
    dw_descent childs;                        /* of an actor that is being made */
    dw_limits own_limits;                     /* every member is set */
    dw__store_cause causes[DW__STORE_CAUSES]; /* by cause; what is forgotten is in messages */
    uint64_t now_ms;     /* when the call under way began: timers due then are fired in it */
    dw_actor_name *todo; /* [todo_count], from todo_first on: actors that wait for a turn */
    size_t todo_first;
    size_t todo_count;
    size_t todo_capacity;
    dw_actor_name *failed; /* [failed_count]: whose turn failed in this call; they have no more */
    size_t failed_count;
    size_t failed_capacity;
};

/* ---- store.c ---- */

/* Errors: DW_E_DENIED (the store was opened for looking only). */
dw_status dw__store_check_writable(const dw_store *store, dw_error *err);
/* From here on until dw__store_leave there is a current actor. Errors: DW_E_STATE (there is one:
 * the call comes from one of the embedder's callbacks). */
dw_status dw__store_enter(dw_store *store, dw_error *err);
/* The same for what changes actors. Errors: also DW_E_DENIED. */
dw_status dw__store_enter_to_change(dw_store *store, dw_error *err);
void dw__store_leave(dw_store *store);
/* Thaw an actor, which is the current one then: its chain is in store->chain. Errors:
 * dw_store_thaw's. */
dw_status dw__store_thaw(dw_store *store, const char *id, const dw_kv_type *kv_type,
                         dw_actor **actor, dw_thaw_stats *stats, dw_error *err);

/* Write the current actor, whose state includes messages up to turn->snapshot.done, as a full
 * snapshot or where a delta is possible and short: turn and store->chain have it, the folder once
 * the turn is committed. After a failure as well the turn is to be committed or taken back. */
dw_status dw__store_write_state(dw_store *store, dw_actor *actor, dw_turn *turn, dw_error *err);
/* Write the files of a new actor: a delta upon `chain`, or all of it where that is NULL;
 * made->descent is the caller's. After a failure too, if made->id is set, they are to be taken
 * back. */
dw_status dw__store_write_new_actor(dw_store *store, dw_actor *actor,
                                    const dw_snapshot_chain *chain, dw_new_actor *made,
                                    dw_error *err);
/* The same for a fork of the current actor, which must be in the state that store->chain has. */
dw_status dw__store_write_fork(dw_store *store, dw_actor *parent, const char *id,
                               dw_new_actor *made, dw_error *err);
/* What children of the actor descend from, into store->childs. Errors: DW_E_IO. */
dw_status dw__store_descend(dw_store *store, const char *parent, bool from_outside, dw_error *err);
/* What the actor descends from; borrowed, until it is asked for another. Errors: DW_E_IO. */
dw_status dw__store_descent(dw_store *store, const char *id, const dw_descent **descent,
                            dw_error *err);
/* Hand the embedder a failure that is not the result of its call (on_problem). */
void dw__store_report(const dw_store *store, const char *id, const dw_error *problem);
/* Messages may wait for the actor: it has a turn, behind all others; where it has one already, or
 * one has failed in this call, nothing changes. Errors: DW_E_MEMORY. */
dw_status dw__store_add_todo(dw_store *store, const char *id, dw_error *err);
bool dw__store_any_todo(const dw_store *store);
size_t dw__store_todo_count(const dw_store *store);
/* Whose turn it is; there is one. */
dw_actor_name dw__store_take_todo(dw_store *store);
/* The actor's turn failed: it has no more until dw__store_end_failed, or what it sent to itself
 * before that would have it fail for ever. Errors: DW_E_MEMORY. */
dw_status dw__store_add_failed(dw_store *store, const char *id, dw_error *err);
void dw__store_end_failed(dw_store *store);

/* ---- store_limits.c ---- */

/* A message was seen, the `caused`-th of its cause. */
void dw__store_note_cause(dw_store *store, uint64_t cause, uint64_t caused);
/* Whether so many more actors may be made in the folder. Errors: DW_E_LIMIT, DW_E_IO. */
dw_status dw__store_check_folder(dw_store *store, size_t more, bool exactly, dw_error *err);
/* The same for children of an actor. Errors: also DW_E_MEMORY. */
dw_status dw__store_check_room(dw_store *store, const dw_actor *parent, size_t more, dw_error *err);
/* dw_effect_guard_fn; `user` is the store. */
dw_status dw__store_guard(void *user, dw_actor *actor, dw_message *message, dw_error *err);

/* ---- store_effects.c ---- */

/* Whether the failure is the folder's or the process's, not the effect's or the message's: it may
 * succeed another time. */
bool dw__store_is_transient(dw_status status);
/* What came of a turn is written: the current actor's state without its effects, `turn->message`
 * and `turn->aside`, which are the caller's, and what it asked for. An effect that is refused is
 * reported and dropped, since it would be again. `*stop`: the actor has ended. Errors: those of
 * dw_actor_freeze and dw_actor_folder_commit; nothing was done, and the actor in memory is to be
 * given up. */
dw_status dw__store_conclude(dw_store *store, dw_actor *actor, dw_turn *turn, bool *stop,
                             dw_error *err);

#endif
