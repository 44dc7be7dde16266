/* Watches. In a folder they are rows, and what they bring is put into mail by the transaction in
 * which it happens (src/store/folder_watches.c); here it is put into mailboxes in memory. Without a
 * folder they are here altogether, with what is remembered of those that ended. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "driftwood_abi.h"
#include "runtime/runtime_internal.h"

struct dw__ended {
    uint64_t *ids; /* [count] */
    struct dw__ended_one {
        uint64_t head; /* of its tree */
        dw_watch_event event;
    } * items; /* [count] */
    size_t count;
    size_t capacity[2];
    size_t next; /* once there are as many as may be: the oldest */
};

dw_watch_event dw__watch_event_of(dw_watch_kind kind, dw_watch_why why, dw_status status,
                                  const char *reason)
{
    dw_watch_event event = {.kind = kind, .why = why, .status = status};
    (void)snprintf(event.reason, sizeof event.reason, "%s", reason);
    return event;
}

/* ---- in a folder ----------------------------------------------------------------------------- */

void dw__notices_begin(dw_runtime *runtime, dw_notices *notices)
{
    dw_notices_release(notices);
    *notices = (dw_notices){.room = offsetof(dw__mail, content),
                            .now_ms = runtime->platform.wall_ms(runtime->platform.user)};
}

void dw__ending_begin(dw_runtime *runtime, dw_ending *ending, dw_watch_event event)
{
    ending->event = event;
    dw__notices_begin(runtime, &ending->notices);
}

/* The mail that was made room for. */
static dw__mail *mail_of(const dw_notice *notice)
{
    dw__mail *mail = notice->memory;
    mail->notice.kind = DW__TELL_MAIL;
    mail->bytes = (size_t)notice->message.bytes;
    mail->from.is_actor = dw__id_parse(notice->message.from, &mail->from.id);
    mail->cause = notice->message.cause;
    mail->caused = notice->message.caused;
    mail->at_ms = notice->message.at_ms;
    mail->kind = notice->message.kind;
    mail->row = notice->message.number;
    return mail;
}

void dw__notices_arrive(dw_runtime *runtime, dw_notices *notices)
{
    for (size_t i = 0; i < notices->count; i++) {
        uint64_t id = 0;
        dw_notice *notice = &notices->list[i];
        (void)dw__id_parse(notice->to, &id);
        dw__record *record = dw__find_any(runtime, id);
        if (record != NULL) {
            dw__arrive(runtime, record, mail_of(notice));
        } else { /* in the folder alone */
            dw_free(notice->memory);
            dw__bring_in(runtime, id);
        }
        notice->memory = NULL;
    }
    dw_notices_release(notices);
}

/* ---- who may watch whom ---------------------------------------------------------------------- */

/* How the actor stands to another, and whether it may know of it. */
typedef struct watch_look {
    dw_watch_look counts;
    bool visible;
} watch_look;

/* One that is no more. */
static bool may_know(const dw__record *record, const char *tenant, const char *head)
{
    dw_error error;
    dw_actor_row row = {.depth = 0};
    (void)snprintf(row.traits.tenant, sizeof row.traits.tenant, "%s", tenant);
    (void)snprintf(row.head, sizeof row.head, "%s", head);
    return dw__may_send_to(record, &row, &error) == DW_OK;
}

static dw_status look_in_folder(dw_runtime *runtime, const dw__record *record, uint64_t id,
                                watch_look *look, dw_error *err)
{
    char own[DW_ACTOR_ID_CHARS + 1];
    char text[DW_ACTOR_ID_CHARS + 1];
    dw__record *target = NULL;
    dw_actor_row row;
    dw_error error = {.message = ""};
    dw__id_text(own, record->id);
    dw__id_text(text, id);
    dw_status status = dw__look(runtime, text, &target, &row, &error);
    if (status == DW_OK && target != NULL) { /* one that is being made may never be */
        look->visible = dw__check_made(target, &error) == DW_OK &&
                        dw__may_send(record, target, &error) == DW_OK;
    } else if (status == DW_OK) {
        look->visible = dw__may_send_to(record, &row, &error) == DW_OK;
    } else if (status != DW_E_NOT_FOUND) {
        return dw_fail(err, status, "%s", error.message);
    }
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status read =
        runtime->keeper->look_at_watch(runtime->keeper->user, own, text, &look->counts, err);
    dw__lock_again(runtime, scope);
    if (read == DW_OK && status == DW_E_NOT_FOUND) {
        look->visible =
            look->counts.ended && may_know(record, look->counts.tenant, look->counts.head);
    }
    return read;
}

/* NULL: it is not remembered. */
static const struct dw__ended_one *find_ended(const dw_runtime *runtime, uint64_t id,
                                              const dw__tenant **of)
{
    for (const dw__tenant *tenant = runtime->tenants; tenant != NULL; tenant = tenant->next) {
        const dw__ended *ended = tenant->ended;
        for (size_t i = 0; ended != NULL && i < ended->count; i++) {
            if (ended->ids[i] == id) {
                *of = tenant;
                return &ended->items[i];
            }
        }
    }
    return NULL;
}

static bool may_know_ended(const dw__record *record, const struct dw__ended_one *ended,
                           const dw__tenant *tenant)
{
    char head[DW_ACTOR_ID_CHARS + 1];
    dw__id_text(head, ended->head);
    return may_know(record, tenant->name, head);
}

static const dw__watch *find_watch(const dw__record *record, const dw__record *watched)
{
    const dw__watch *watch = record->watches;
    while (watch != NULL && watch->watched != watched) {
        watch = watch->next;
    }
    return watch;
}

static void look_in_memory(const dw_runtime *runtime, const dw__record *record, uint64_t id,
                           watch_look *look)
{
    dw_error error;
    const dw__tenant *tenant = NULL;
    const dw__record *target = dw__find(runtime, id);
    for (const dw__watch *watch = record->watches; watch != NULL; watch = watch->next) {
        look->counts.watches++;
    }
    if (target == NULL) {
        const struct dw__ended_one *ended = find_ended(runtime, id, &tenant);
        look->visible = ended != NULL && may_know_ended(record, ended, tenant);
        return;
    }
    for (const dw__watch *watch = target->watchers; watch != NULL; watch = watch->next_watcher) {
        look->counts.watchers++;
    }
    look->counts.set = find_watch(record, target) != NULL;
    look->visible = dw__may_send(record, target, &error) == DW_OK;
}

dw_status dw__watch_list(const dw__record *record, dw_actor_watches *watches, dw_error *err)
{
    for (const dw__watch *watch = record->watchers; watch != NULL; watch = watch->next_watcher) {
        watches->watchers++;
    }
    for (const dw__watch *watch = record->watches; watch != NULL; watch = watch->next) {
        if (!DW_ARRAY_RESERVE(watches->list, watches->capacity, watches->count + 1, SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of watches");
        }
        dw_watched_actor *one = &watches->list[watches->count++];
        dw__id_text(one->actor, watch->watched->id);
        one->events = watch->events;
    }
    return DW_OK;
}

static dw_status look_at(dw_runtime *runtime, const dw__record *record, uint64_t id,
                         watch_look *look, dw_error *err)
{
    *look = (watch_look){.visible = false};
    if (runtime->keeper != NULL) {
        return look_in_folder(runtime, record, id, look, err);
    }
    look_in_memory(runtime, record, id, look);
    return DW_OK;
}

/* Room for one watch beside `more` of the actor's own; as many watch another as the runtime says,
 * and `granted` times as many where that was granted before. */
static dw_status check_room(const dw_runtime *runtime, const dw__record *record,
                            const dw_watch_look *counts, uint64_t more, uint64_t granted,
                            dw_error *err)
{
    if (!counts->set && counts->watches + more >= record->limits->watches) {
        return dw_fail(err, DW_E_LIMIT,
                       "watch: %" PRIu64 " actors are watched, limit %" PRIu64 " (watches)",
                       counts->watches + more, record->limits->watches);
    }
    if (!counts->set && counts->watchers / granted >= runtime->own_limits.watches) {
        return dw_fail(err, DW_E_LIMIT,
                       "watch: %" PRIu64 " watch the actor, limit %" PRIu64 " (watches)",
                       counts->watchers, runtime->own_limits.watches);
    }
    return DW_OK;
}

static dw_status check_limits(const dw_runtime *runtime, const dw__record *record,
                              const dw__wish *wish, const dw_watch_look *counts, dw_error *err)
{
    dw_error full;
    dw_status status = dw__mail_check(record, DW_WATCH_MESSAGE_BYTES, 1, &full);
    if (status != DW_OK) { /* it may come at once */
        return dw_fail(err, status, "watch: for what it brings: %s", full.message);
    }
    return check_room(runtime, record, counts, wish->watched, 1, err);
}

dw_status dw__watch_admit(dw_runtime *runtime, const dw__record *record, dw__wish *wish,
                          dw_error *err)
{
    watch_look look;
    dw_status status = DW_OK;
    wish->found = wish->actor;
    if (wish->to != NULL && wish->to[0] == '@') {
        dw_error error;
        status = dw__name_find(runtime, record->tenant, wish->to + 1, &wish->found, &error);
        if (status == DW_E_NOT_FOUND) {
            return dw_fail(err, DW_E_NOT_FOUND, "watch: its tenant has no actor '%.80s'",
                           wish->to + 1);
        }
        if (status != DW_OK) {
            return dw_fail(err, status, "%s", error.message);
        }
    }
    if (wish->kind == DW_EFFECT_UNWATCH) {
        return DW_OK;
    }
    if (wish->found == record->id) {
        return dw_fail(err, DW_E_ARG, "watch: an actor cannot watch itself");
    }
    status = look_at(runtime, record, wish->found, &look, err);
    if (status == DW_OK && !look.visible && !wish->own) {
        status = dw_fail(err, DW_E_NOT_FOUND,
                         "watch: no actor %016" PRIx64 " that this one could send to", wish->found);
    }
    return status == DW_OK ? check_limits(runtime, record, wish, &look.counts, err) : status;
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* One that an earlier effect of the turn makes, or was to. */
static bool is_own(const dw__turn *turn, const dw__ask *asked)
{
    const dw__ask *other = turn->asks;
    while (other != asked && (other->actor != asked->actor ||
                              (other->kind != DW_EFFECT_SPAWN && other->kind != DW_EFFECT_FORK))) {
        other = other->next;
    }
    return other != asked;
}

dw_status dw__watch_prepare(dw_runtime *runtime, dw__record *record, const dw__ask *asked,
                            dw_error *err)
{
    dw__turn *turn = record->turn;
    watch_look look = {.visible = true};
    dw_status status = DW_OK;
    dw_watch_change change = {.kind =
                                  asked->kind == DW_EFFECT_WATCH ? DW_WATCH_SET : DW_WATCH_CLEAR,
                              .events = asked->events,
                              .cause = asked->mail->cause,
                              .caused = asked->mail->caused,
                              .watches_max = record->limits->watches,
                              .watchers_max = runtime->own_limits.watches};
    dw__id_text(change.actor, asked->actor);
    if (asked->guest[0] != '\0') { /* of a snapshot that was imported: nobody looked for the name */
        change.kind = DW_WATCH_CLEAR;
    }
    if (change.kind == DW_WATCH_SET && !is_own(turn, asked)) {
        dw__enter(runtime);
        status = look_at(runtime, record, asked->actor, &look, err);
        dw__leave(runtime, false);
    }
    change.hidden = !look.visible;
    if (status == DW_OK) {
        turn->folder.watches[turn->folder.watch_count++] = change;
    }
    return status;
}

void dw__watch_prepare_unmade(dw__turn *turn, const dw__ask *asked, dw_status status,
                              const dw_error *why)
{
    dw_watch_change *change = &turn->folder.watches[turn->folder.watch_count++];
    *change = (dw_watch_change){.kind = DW_WATCH_UNMADE, .status = status, .problem = *why};
    dw__id_text(change->actor, asked->actor);
}

/* ---- in memory alone: those that ended ------------------------------------------------------- */

void dw__ended_free(dw__ended *ended)
{
    if (ended != NULL) {
        dw_free(ended->ids);
        dw_free(ended->items);
        dw_free(ended);
    }
}

/* Where memory is short it is not. */
static void remember(dw_runtime *runtime, const dw__record *of, uint64_t id,
                     const dw_watch_event *event)
{
    const dw__tenant *before = NULL;
    if (find_ended(runtime, id, &before) != NULL) { /* how it ended is known already */
        return;
    }
    dw__tenant *tenant = of->tenant;
    tenant->ended = tenant->ended != NULL ? tenant->ended : dw_alloc(1, sizeof *tenant->ended);
    dw__ended *ended = tenant->ended;
    if (ended == NULL) {
        return;
    }
    size_t place = ended->count;
    if (place == DW_ENDED_MAX) {
        place = ended->next;
        ended->next = (place + 1) % DW_ENDED_MAX;
    } else if (DW_ARRAY_RESERVE(ended->ids, ended->capacity[0], place + 1, DW_ENDED_MAX) &&
               DW_ARRAY_RESERVE(ended->items, ended->capacity[1], place + 1, DW_ENDED_MAX)) {
        ended->count++;
    } else {
        return;
    }
    ended->ids[place] = id;
    ended->items[place] = (struct dw__ended_one){.head = of->tree->head, .event = *event};
}

/* ---- in memory alone: watches ---------------------------------------------------------------- */

/* Out of both lists. */
static void unlink_watch(dw__watch *watch)
{
    dw__watch **link = &watch->watcher->watches;
    while (*link != watch) {
        link = &(*link)->next;
    }
    *link = watch->next;
    link = &watch->watched->watchers;
    while (*link != watch) {
        link = &(*link)->next_watcher;
    }
    *link = watch->next_watcher;
}

static void drop(dw_runtime *runtime, dw__watch *watch)
{
    unlink_watch(watch);
    dw__mail_free(runtime, watch->mail);
    dw_free(watch);
}

/* Into the watcher's mailbox, whatever waits there: it was granted with the watch. */
static void bring(dw_runtime *runtime, dw__record *to, dw__mail *mail, uint64_t from,
                  const dw_watch_event *event, bool tells_why)
{
    char text[DW_WATCH_MESSAGE_BYTES];
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__id_text(id, from);
    mail->bytes = dw_watch_text(text, id, event, tells_why);
    memcpy(mail->content, text, mail->bytes);
    mail->from = (dw__sender){.is_actor = true, .id = from};
    mail->at_ms = runtime->platform.wall_ms(runtime->platform.user);
    mail->kind = DW_MESSAGE_WATCH;
    dw__mail_accept(runtime, to, mail);
}

static dw_status new_mail(const dw__ask *asked, dw__mail **mail, dw_error *err)
{
    static const char empty[DW_WATCH_MESSAGE_BYTES];
    dw_status status = dw__mail_create(mail, empty, sizeof empty, err);
    if (status == DW_OK) {
        (*mail)->cause = asked->mail->cause;
        (*mail)->caused = asked->mail->caused;
    }
    return status;
}

/* It is not there any more: that is told at once. */
static void tell_gone(dw_runtime *runtime, dw__record *record, const dw__ask *asked, dw__mail *mail)
{
    const dw__tenant *tenant = NULL;
    const struct dw__ended_one *ended = find_ended(runtime, asked->actor, &tenant);
    dw_watch_event event = {.kind = DW_WATCH_ENDED, .why = DW_WATCH_GONE};
    if (ended != NULL && may_know_ended(record, ended, tenant)) {
        event = ended->event;
    }
    bring(runtime, record, mail, asked->actor, &event, tenant == record->tenant);
}

dw_status dw__watch_set(dw_runtime *runtime, dw__record *record, const dw__ask *asked,
                        dw_error *err)
{
    watch_look look = {.visible = false};
    dw__mail *mail = NULL;
    dw__record *target = dw__find(runtime, asked->actor);
    look_in_memory(runtime, record, asked->actor, &look);
    dw_status status = check_room(runtime, record, &look.counts, 0, 2, err);
    if (status == DW_OK) {
        status = new_mail(asked, &mail, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (target == NULL || !look.visible) {
        tell_gone(runtime, record, asked, mail);
        return DW_OK;
    }
    dw__watch *watch = dw_alloc(1, sizeof *watch);
    if (watch == NULL) {
        dw__mail_free(runtime, mail);
        return dw_fail(err, DW_E_MEMORY, "no memory for a watch");
    }
    dw__watch_clear(runtime, record, asked->actor);
    *watch = (dw__watch){.watcher = record,
                         .watched = target,
                         .next = record->watches,
                         .next_watcher = target->watchers,
                         .events = asked->events,
                         .cause = asked->mail->cause,
                         .caused = asked->mail->caused,
                         .since_ms = runtime->platform.wall_ms(runtime->platform.user),
                         .mail = mail};
    record->watches = watch;
    target->watchers = watch;
    return DW_OK;
}

void dw__watch_clear(dw_runtime *runtime, dw__record *record, uint64_t watched)
{
    dw__watch *watch = record->watches;
    while (watch != NULL && watch->watched->id != watched) {
        watch = watch->next;
    }
    if (watch != NULL) {
        drop(runtime, watch);
    }
}

void dw__watch_tell(dw_runtime *runtime, dw__record *record, const dw_watch_event *event)
{
    const uint64_t now_ms = runtime->platform.wall_ms(runtime->platform.user);
    dw__watch *next = NULL;
    for (dw__watch *watch = record->watchers; watch != NULL; watch = next) {
        next = watch->next_watcher;
        if (!dw_watch_wants(watch->events, event->kind)) {
            continue;
        }
        dw__record *watcher = watch->watcher;
        dw__mail *mail = watch->mail;
        unlink_watch(watch);
        mail->cause = watch->cause;
        mail->caused = watch->caused;
        dw_watch_cause(&mail->cause, &mail->caused, watch->since_ms, now_ms);
        dw_free(watch);
        bring(runtime, watcher, mail, record->id, event, watcher->tenant == record->tenant);
    }
}

void dw__watch_end(dw_runtime *runtime, dw__record *record, const dw_watch_event *event)
{
    if (runtime->keeper != NULL) {
        return;
    }
    while (record->watches != NULL) {
        drop(runtime, record->watches);
    }
    if (runtime->closing) { /* all end, and nobody works on anything any more */
        while (record->watchers != NULL) {
            drop(runtime, record->watchers);
        }
        return;
    }
    dw__watch_tell(runtime, record, event);
    remember(runtime, record, record->id, event);
}

void dw__watch_unmade(dw_runtime *runtime, const dw__record *record, uint64_t id, dw_status status,
                      const dw_error *why)
{
    const dw_watch_event event =
        dw__watch_event_of(DW_WATCH_NOT_MADE, DW_WATCH_FINISHED, status, why->message);
    remember(runtime, record, id, &event);
}
