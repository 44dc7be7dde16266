/* Actors that are told what becomes of others: a watch brings one message, and is over.
 * Private to src/runtime, and part of runtime_internal.h, which says what holds of its functions.
 */
#ifndef DW_RUNTIME_WATCHES_H
#define DW_RUNTIME_WATCHES_H

#include "runtime/runtime_internal.h"

/* In memory alone: in the lists of both. */
typedef struct dw__watch {
    struct dw__record *watcher;
    struct dw__record *watched;
    struct dw__watch *next;         /* of the watcher's */
    struct dw__watch *next_watcher; /* of the watched one's */
    uint32_t events;
    uint64_t cause;
    uint64_t caused;
    uint64_t since_ms;
    struct dw__mail *mail; /* what it brings; there before, so that memory is not short then */
} dw__watch;

/* Those of a tenant's that ended last, in memory alone. */
typedef struct dw__ended dw__ended;

/* Whether the actor may watch that one. Fills wish->found. The lock is given back meanwhile.
 * Errors: DW_E_NOT_FOUND (there is none that it may watch), DW_E_ARG (itself), DW_E_LIMIT
 * (watches), DW_E_DENIED (it may send to nobody), DW_E_IO. */
dw_status dw__watch_admit(dw_runtime *runtime, const dw__record *record, dw__wish *wish,
                          dw_error *err);
/* Without the lock, on a worker: one that was asked for becomes part of the turn; likewise that one
 * to be made was not, and why. Errors: DW_E_IO. */
dw_status dw__watch_prepare(dw_runtime *runtime, dw__record *record, const dw__ask *asked,
                            dw_error *err);
void dw__watch_prepare_unmade(dw__turn *turn, const dw__ask *asked, dw_status status,
                              const dw_error *why);
/* What transactions have told is in mailboxes in memory as well; empties the list. */
void dw__notices_arrive(dw_runtime *runtime, dw_notices *notices);
/* Ready for a transaction. */
void dw__notices_begin(dw_runtime *runtime, dw_notices *notices);
void dw__ending_begin(dw_runtime *runtime, dw_ending *ending, dw_watch_event event);
/* An event with the reason. */
dw_watch_event dw__watch_event_of(dw_watch_kind kind, dw_watch_why why, dw_status status,
                                  const char *reason);

/* ---- in memory alone; nothing where actors are in a folder ---- */

dw_status dw__watch_set(dw_runtime *runtime, dw__record *record, const dw__ask *asked,
                        dw_error *err);
/* What it watches, the last first, into `watches`, which is empty before; the caller's also where
 * that fails. Errors: DW_E_MEMORY. */
dw_status dw__watch_list(const dw__record *record, dw_actor_watches *watches, dw_error *err);
void dw__watch_clear(dw_runtime *runtime, dw__record *record, uint64_t watched);
/* Those that watch it and want to know of such are told. */
void dw__watch_tell(dw_runtime *runtime, dw__record *record, const dw_watch_event *event);
/* It ends, or was never made: the same, which is remembered; what it watches is over. */
void dw__watch_end(dw_runtime *runtime, dw__record *record, const dw_watch_event *event);
/* One that `record` asked for was not even begun. */
void dw__watch_unmade(dw_runtime *runtime, const dw__record *record, uint64_t id, dw_status status,
                      const dw_error *why);
void dw__ended_free(dw__ended *ended);

#endif
