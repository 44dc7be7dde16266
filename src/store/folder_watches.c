/* Watches: an actor is told once, by a message, what became of another. The message is put into its
 * mail by the transaction in which that happens, so that it is there whatever the process is killed
 * in. How actors ended is remembered for a while, for those that ask too late. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/json_text.h"
#include "driftwood_abi.h"
#include "store/actor_folder_internal.h"

#define ANEW_MS 1000u /* what a watch that is older brings begins anew */

/* ---- messages -------------------------------------------------------------------------------- */

static size_t write_text(char *text, const char *id, const dw_watch_event *event, bool tells_why,
                         size_t reason_bytes)
{
    static const char *const kinds[] = {"ended", "failed", "set_aside", "not_made"};
    static const char *const whys[] = {"finished", "stopped", "failed", "gone"};
    dw_json_text json = dw_json_text_in(text, DW_WATCH_MESSAGE_BYTES);
    dw_json_open(&json, '{');
    dw_json_add_string(&json, "event", kinds[event->kind]);
    dw_json_add_string(&json, "actor", id);
    if (event->kind == DW_WATCH_ENDED) {
        dw_json_add_string(&json, "why", whys[event->why]);
    }
    if (tells_why && event->status != DW_OK) {
        dw_json_add_string(&json, "status", dw_status_name(event->status));
    }
    if (tells_why && event->reason[0] != '\0') {
        dw_json_key(&json, "reason");
        dw_json_string_of(&json, event->reason, reason_bytes);
    }
    dw_json_close(&json, '}');
    return json.count;
}

size_t dw_watch_text(char text[DW_WATCH_MESSAGE_BYTES], const char *id, const dw_watch_event *event,
                     bool tells_why)
{
    size_t reason_bytes = strnlen(event->reason, sizeof event->reason);
    size_t count = write_text(text, id, event, tells_why, reason_bytes);
    while (count > DW_WATCH_MESSAGE_BYTES) { /* of characters that JSON writes as six */
        reason_bytes /= 2;
        count = write_text(text, id, event, tells_why, reason_bytes);
    }
    return count;
}

bool dw_watch_wants(uint32_t events, dw_watch_kind kind)
{
    return kind == DW_WATCH_FAILED      ? (events & DW_WATCH_ON_FAILURE) != 0
           : kind == DW_WATCH_SET_ASIDE ? (events & DW_WATCH_ON_ASIDE) != 0
                                        : true;
}

void dw_watch_cause(uint64_t *cause, uint64_t *caused, uint64_t since_ms, uint64_t now_ms)
{
    if (now_ms < since_ms || now_ms - since_ms >= ANEW_MS) {
        *cause = *caused = 0;
    }
}

void dw__notices_clear(dw_notices *notices)
{
    for (size_t i = 0; i < notices->count; i++) {
        dw_free(notices->list[i].memory);
    }
    notices->count = 0;
}

void dw_notices_release(dw_notices *notices)
{
    dw__notices_clear(notices);
    dw_free(notices->list);
    notices->list = NULL;
    notices->capacity = 0;
}

/* Who it is for, with what the watch says of its cause. */
typedef struct watcher {
    char id[DW_ACTOR_ID_CHARS + 1];
    uint64_t cause;
    uint64_t caused;
    bool tells_why;
} watcher;

/* A message about actor `from` into the watcher's mail. */
static dw_status put(dw_journal_tx *tx, const watcher *to, const char *from,
                     const dw_watch_event *event, dw_notices *notices, dw_error *err)
{
    char text[DW_WATCH_MESSAGE_BYTES];
    dw_notice notice = {.message = {.cause = to->cause,
                                    .caused = to->caused,
                                    .at_ms = notices->now_ms,
                                    .kind = DW_MESSAGE_WATCH}};
    memcpy(notice.to, to->id, sizeof notice.to);
    (void)snprintf(notice.message.from, sizeof notice.message.from, "%s", from);
    notice.message.bytes = dw_watch_text(text, from, event, to->tells_why);
    if (!DW_ARRAY_RESERVE(notices->list, notices->capacity, notices->count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a message of a watch");
    }
    dw_status status = dw__mail_number(tx, to->id, &notice.message.number, err);
    if (status == DW_OK) {
        status = dw__mail_add(tx, to->id, &notice.message, text, NULL, err);
    }
    if (status != DW_OK) {
        return status;
    }
    notice.memory = dw_alloc(1, notices->room + notice.message.bytes);
    if (notice.memory == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a message of a watch");
    }
    memcpy((char *)notice.memory + notices->room, text, notice.message.bytes);
    notices->list[notices->count++] = notice;
    return DW_OK;
}

/* ---- those that watch ------------------------------------------------------------------------ */

typedef struct watchers {
    watcher *list; /* [count]; to be freed */
    size_t count;
    size_t capacity;
} watchers;

static int64_t mask_of(dw_watch_kind kind)
{
    return kind == DW_WATCH_FAILED      ? DW_WATCH_ON_FAILURE
           : kind == DW_WATCH_SET_ASIDE ? DW_WATCH_ON_ASIDE
                                        : 0;
}

static dw_status read_watchers(dw_journal_tx *tx, const dw_actor_row *of, dw_watch_kind kind,
                               uint64_t now_ms, watchers *all, dw_error *err)
{
    bool found = false;
    dw_status status = DW_OK;
    dw_query *query = dw_journal_query(tx, DW__SQL_WATCHERS);
    dw_query_u64(query, dw__id_number(of->id));
    dw_query_i64(query, mask_of(kind));
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        if (!DW_ARRAY_RESERVE(all->list, all->capacity, all->count + 1, SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
        }
        watcher *one = &all->list[all->count++];
        *one = (watcher){.cause = dw_query_get_u64(query, 2),
                         .caused = dw_query_get_u64(query, 3),
                         .tells_why = strcmp(dw_query_get_text(query, 5), of->traits.tenant) == 0};
        dw__id_write(one->id, dw_query_get_u64(query, 0));
        dw_watch_cause(&one->cause, &one->caused, (uint64_t)dw_query_get_i64(query, 4), now_ms);
    }
    return status;
}

static dw_status clear(dw_journal_tx *tx, const char *id, const char *actor, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_UNWATCH);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, dw__id_number(actor));
    return dw_query_run(query, err);
}

static dw_status tell(dw_journal_tx *tx, const dw_actor_row *row, const dw_watch_event *event,
                      dw_notices *notices, dw_error *err)
{
    watchers all = {.count = 0};
    dw_status status = read_watchers(tx, row, event->kind, notices->now_ms, &all, err);
    for (size_t i = 0; i < all.count && status == DW_OK; i++) {
        status = put(tx, &all.list[i], row->id, event, notices, err);
        if (status == DW_E_LIMIT) { /* it has had as many messages as there are numbers */
            status = DW_OK;
        }
        if (status == DW_OK) {
            status = clear(tx, all.list[i].id, row->id, err);
        }
    }
    dw_free(all.list);
    return status;
}

dw_status dw__watchers_tell(dw_journal_tx *tx, const char *id, const dw_watch_event *event,
                            dw_notices *notices, dw_error *err)
{
    dw_actor_row row;
    dw_status status = dw__row_read(tx, id, &row, NULL, err);
    return status == DW_OK ? tell(tx, &row, event, notices, err) : status;
}

static dw_status remember(dw_journal_tx *tx, const dw_actor_row *of, const char *id,
                          const dw_watch_event *event, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_ADD_ENDED);
    dw_query_u64(query, dw__id_number(id));
    dw_query_text(query, of->traits.tenant);
    dw_query_u64(query, dw__id_number(of->head));
    dw_query_i64(query, event->kind);
    dw_query_i64(query, event->why);
    dw_query_i64(query, event->status);
    dw_query_text(query, event->reason);
    dw_status status = dw_query_run(query, err);
    if (status != DW_OK) {
        return status;
    }
    query = dw_journal_query(tx, DW__SQL_PRUNE_ENDED);
    dw_query_i64(query, DW_ENDED_MAX);
    return dw_query_run(query, err);
}

dw_status dw__watchers_end(dw_journal_tx *tx, const char *id, const dw_watch_event *event,
                           dw_notices *notices, dw_error *err)
{
    dw_actor_row row;
    dw_status status = dw__row_read(tx, id, &row, NULL, err);
    if (status == DW_OK) {
        status = tell(tx, &row, event, notices, err);
    }
    return status == DW_OK ? remember(tx, &row, id, event, err) : status;
}

dw_status dw__watchers_drop(dw_journal_tx *tx, const char *id, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_UNWATCH_ALL);
    dw_query_u64(query, dw__id_number(id));
    return dw_query_run(query, err);
}

/* ---- changes --------------------------------------------------------------------------------- */

static dw_status read_look(dw_journal_tx *tx, const char *id, const char *actor,
                           dw_watch_look *look, dw_error *err)
{
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_WATCH_LOOK);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, dw__id_number(actor));
    *look = (dw_watch_look){.watches = 0};
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && found) {
        look->watches = (uint64_t)dw_query_get_i64(query, 0);
        look->watchers = (uint64_t)dw_query_get_i64(query, 1);
        look->set = dw_query_get_i64(query, 2) != 0;
    }
    return status;
}

/* Of one that is no more; `event` (may be NULL) is how. */
static dw_status read_ended(dw_journal_tx *tx, const char *actor, dw_watch_look *look,
                            dw_watch_event *event, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_ENDED);
    dw_query_u64(query, dw__id_number(actor));
    dw_status status = dw_query_next(query, &look->ended, err);
    if (status != DW_OK || !look->ended) {
        return status;
    }
    (void)snprintf(look->tenant, sizeof look->tenant, "%s", dw_query_get_text(query, 0));
    dw__id_write(look->head, dw_query_get_u64(query, 1));
    if (event != NULL) {
        *event = (dw_watch_event){.kind = (dw_watch_kind)dw_query_get_i64(query, 2),
                                  .why = (dw_watch_why)dw_query_get_i64(query, 3),
                                  .status = (dw_status)dw_query_get_i64(query, 4)};
        (void)snprintf(event->reason, sizeof event->reason, "%s", dw_query_get_text(query, 5));
    }
    return DW_OK;
}

/* It is not there any more: that is told at once. */
static dw_status tell_gone(dw_journal_tx *tx, const dw_actor_row *row,
                           const dw_watch_change *change, dw_notices *notices, dw_error *err)
{
    dw_watch_look look = {.ended = false};
    dw_watch_event event = {.kind = DW_WATCH_ENDED, .why = DW_WATCH_GONE};
    dw_status status = change->hidden ? DW_OK : read_ended(tx, change->actor, &look, &event, err);
    if (status != DW_OK) {
        return status;
    }
    watcher self = {.cause = change->cause,
                    .caused = change->caused,
                    .tells_why = look.ended && strcmp(look.tenant, row->traits.tenant) == 0};
    memcpy(self.id, row->id, sizeof self.id);
    return put(tx, &self, change->actor, &event, notices, err);
}

/* What admission granted is kept, even where others were granted the same meanwhile. */
static dw_status check_room(const dw_watch_look *look, const dw_watch_change *change, dw_error *err)
{
    if (!look->set && look->watches >= change->watches_max) {
        return dw_fail(err, DW_E_LIMIT,
                       "watch: %" PRIu64 " actors are watched, limit %" PRIu64 " (watches)",
                       look->watches, change->watches_max);
    }
    if (!look->set && look->watchers / 2 >= change->watchers_max) {
        return dw_fail(err, DW_E_LIMIT,
                       "watch: %" PRIu64 " watch actor %s, limit %" PRIu64 " (watches)",
                       look->watchers, change->actor, change->watchers_max);
    }
    return DW_OK;
}

static dw_status add(dw_journal_tx *tx, const char *id, dw_watch_change *change, uint64_t now_ms,
                     dw_error *err)
{
    dw_watch_look look;
    dw_status status = read_look(tx, id, change->actor, &look, err);
    if (status != DW_OK) {
        return status;
    }
    change->status = check_room(&look, change, &change->problem);
    if (change->status != DW_OK) {
        return DW_OK;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_WATCH);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, dw__id_number(change->actor));
    dw_query_i64(query, change->events);
    dw_query_u64(query, change->cause);
    dw_query_u64(query, change->caused);
    dw_query_i64(query, (int64_t)now_ms);
    return dw_query_run(query, err);
}

dw_status dw__watch_take(dw_journal_tx *tx, const char *id, dw_watch_change *change,
                         dw_notices *notices, dw_error *err)
{
    dw_actor_row row;
    dw_actor_row other;
    dw_error absent;
    if (change->kind == DW_WATCH_CLEAR) {
        return clear(tx, id, change->actor, err);
    }
    dw_status status = dw__row_read(tx, id, &row, NULL, err);
    if (status == DW_OK && change->kind == DW_WATCH_UNMADE) {
        dw_watch_event event = {.kind = DW_WATCH_NOT_MADE, .status = change->status};
        (void)snprintf(event.reason, sizeof event.reason, "%s", change->problem.message);
        return remember(tx, &row, change->actor, &event, err);
    }
    if (status != DW_OK) {
        return status;
    }
    change->status = DW_OK;
    status =
        change->hidden ? DW_E_NOT_FOUND : dw__row_read(tx, change->actor, &other, NULL, &absent);
    if (status == DW_E_NOT_FOUND) {
        return tell_gone(tx, &row, change, notices, err);
    }
    return status == DW_OK ? add(tx, id, change, notices->now_ms, err)
                           : dw_fail(err, status, "%s", absent.message);
}

/* ---- from outside ---------------------------------------------------------------------------- */

typedef struct watch_search {
    const char *watcher;
    const char *watched;
    dw_watch_look *look;
} watch_search;

static dw_status look_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const watch_search *search = user;
    dw_status status = read_look(tx, search->watcher, search->watched, search->look, err);
    return status == DW_OK ? read_ended(tx, search->watched, search->look, NULL, err) : status;
}

dw_status dw_actor_folder_look_at_watch(dw_actor_folder *folder, const char *id,
                                        const char *watched, dw_watch_look *look, dw_error *err)
{
    watch_search search = {.watcher = id, .watched = watched, .look = look};
    return dw_journal_read(folder->journal, look_work, &search, err);
}

typedef struct watches_search {
    const char *id;
    dw_actor_watches *watches;
} watches_search;

static dw_status watches_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const watches_search *search = user;
    dw_actor_watches *watches = search->watches;
    dw_watch_look look;
    bool found = false;
    watches->count = 0;
    dw_status status = read_look(tx, search->id, search->id, &look, err);
    if (status != DW_OK) {
        return status;
    }
    watches->watchers = look.watchers;
    dw_query *query = dw_journal_query(tx, DW__SQL_WATCHES);
    dw_query_u64(query, dw__id_number(search->id));
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        if (!DW_ARRAY_RESERVE(watches->list, watches->capacity, watches->count + 1, SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of watches");
        }
        dw_watched_actor *one = &watches->list[watches->count++];
        dw__id_write(one->actor, dw_query_get_u64(query, 0));
        one->events = (uint32_t)dw_query_get_i64(query, 1);
    }
    return status;
}

dw_status dw_actor_folder_read_watches(dw_actor_folder *folder, const char *id,
                                       dw_actor_watches *watches, dw_error *err)
{
    watches_search search = {.id = id, .watches = watches};
    *watches = (dw_actor_watches){.count = 0};
    dw_status status = dw_journal_read(folder->journal, watches_work, &search, err);
    if (status != DW_OK) {
        dw_free(watches->list);
        *watches = (dw_actor_watches){.count = 0};
    }
    return status;
}

typedef struct telling {
    const char *id;
    dw_ending *event;
    bool any;
} telling;

static dw_status any_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    telling *one = user;
    dw_query *query = dw_journal_query(tx, DW__SQL_WATCHED);
    dw_query_u64(query, dw__id_number(one->id));
    dw_query_i64(query, mask_of(one->event->event.kind));
    return dw_query_next(query, &one->any, err);
}

static dw_status tell_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const telling *one = user;
    dw__notices_clear(&one->event->notices);
    return dw__watchers_tell(tx, one->id, &one->event->event, &one->event->notices, err);
}

dw_status dw_actor_folder_tell_watchers(dw_actor_folder *folder, const char *id, dw_ending *event,
                                        dw_error *err)
{
    telling one = {.id = id, .event = event};
    dw_status status = dw_journal_read(folder->journal, any_work, &one, err);
    if (status == DW_OK && one.any) { /* else nothing is written */
        status = dw_journal_write(folder->journal, tell_work, &one, false, err);
    }
    if (status != DW_OK) {
        dw__notices_clear(&event->notices);
    }
    return status;
}
