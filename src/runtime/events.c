/* Who is told of what happens. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "runtime/runtime_internal.h"

static bool wants(const dw__subscription *subscription, uint64_t actor)
{
    return subscription->to_all || subscription->actor == actor;
}

static bool anybody_wants(const dw_runtime *runtime, uint64_t actor)
{
    const dw__subscription *subscription = runtime->subscriptions;
    while (subscription != NULL && !wants(subscription, actor)) {
        subscription = subscription->next;
    }
    return subscription != NULL;
}

/* Kept until it is told; NULL: there is no room. */
static dw__event *keep(dw_runtime *runtime, uint64_t actor, size_t bytes)
{
    dw__event *event = NULL;
    if (runtime->event_count < DW__EVENTS_MAX && bytes <= SIZE_MAX / 2) {
        event = dw_alloc(1, sizeof *event + bytes);
    }
    if (event == NULL) {
        runtime->lost_events++;
        runtime->counts.lost_events++;
        return NULL;
    }
    event->notice.kind = DW__TELL_EVENT;
    event->actor = actor;
    event->byte_count = bytes;
    event->time_ms = runtime->platform.wall_ms(runtime->platform.user);
    event->lost = runtime->lost_events;
    runtime->lost_events = 0;
    runtime->event_count++;
    return event;
}

/* `record` may be NULL: there is none any more. */
static void tell_subscribers(dw_runtime *runtime, const dw__record *record, uint64_t id,
                             const dw__happening *happening)
{
    if (runtime->subscriptions == NULL || !anybody_wants(runtime, id)) {
        return;
    }
    dw__event *event = keep(runtime, id, happening->byte_count);
    if (event == NULL) {
        return;
    }
    event->kind = happening->kind;
    event->has_tenant = record != NULL && record->tenant != NULL;
    if (event->has_tenant) {
        (void)snprintf(event->tenant, sizeof event->tenant, "%s", record->tenant->name);
    }
    event->other = happening->other;
    event->number = happening->number;
    if (happening->error != NULL) {
        event->status = happening->error->code;
        (void)snprintf(event->text, sizeof event->text, "%s",
                       event->status != DW_OK ? happening->error->message : "");
    }
    if (happening->byte_count > 0) {
        memcpy(event->bytes, happening->bytes, happening->byte_count);
    }
    dw__tell(runtime, &event->notice);
}

void dw__happened(dw_runtime *runtime, const dw__record *record, const dw__happening *happening)
{
    dw__log_happening(runtime, record, record->id, happening);
    tell_subscribers(runtime, record, record->id, happening);
}

void dw__happened_to(dw_runtime *runtime, uint64_t id, const dw__happening *happening)
{
    const dw__record *record = dw__find_any(runtime, id);
    dw__log_happening(runtime, record, id, happening);
    tell_subscribers(runtime, record, id, happening);
}

void dw__tell_problem(dw_runtime *runtime, uint64_t id, const dw_error *problem)
{
    if (runtime->options.on_problem == NULL) {
        return;
    }
    dw__event *event = keep(runtime, id, 0);
    if (event == NULL) {
        return;
    }
    event->problem = true;
    event->status = problem->code;
    (void)snprintf(event->text, sizeof event->text, "%s", problem->message);
    dw__tell(runtime, &event->notice);
}

void dw__problem(dw_runtime *runtime, uint64_t id, const dw_error *problem)
{
    dw__log_problem(runtime, id, problem);
    dw__tell_problem(runtime, id, problem);
}

/* Without the lock. */
static void tell_problem(const dw_runtime *runtime, const dw__event *event)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error = {.code = event->status};
    dw__id_text(id, event->actor);
    (void)snprintf(error.message, sizeof error.message, "%s", event->text);
    runtime->options.on_problem(runtime->options.user, id, &error);
}

/* The subscription after `number` that wants it; NULL: there is no other. */
static const dw__subscription *next_for(const dw_runtime *runtime, const dw__event *event,
                                        uint64_t number)
{
    const dw__subscription *subscription = runtime->subscriptions;
    while (subscription != NULL &&
           (subscription->number <= number || !wants(subscription, event->actor))) {
        subscription = subscription->next;
    }
    return subscription;
}

void dw__event_tell(dw_runtime *runtime, dw__event *event)
{
    char actor[DW_ACTOR_ID_CHARS + 1];
    char other[DW_ACTOR_ID_CHARS + 1];
    dw_event told = {.struct_bytes = sizeof told,
                     .kind = event->kind,
                     .actor = actor,
                     .other = other,
                     .number = event->number,
                     .time_ms = event->time_ms,
                     .status = event->status,
                     .text = event->text,
                     .bytes = event->bytes,
                     .byte_count = event->byte_count,
                     .lost = event->lost,
                     .tenant = event->has_tenant ? event->tenant : NULL};
    if (event->problem) {
        tell_problem(runtime, event);
        dw_free(event);
        return;
    }
    dw__id_text(actor, event->actor);
    dw__sender_text(other, &event->other);
    (void)pthread_mutex_lock(&runtime->lock);
    const dw__subscription *to = next_for(runtime, event, 0);
    while (to != NULL) {
        dw__subscription copy = *to;
        runtime->telling_number = copy.number;
        (void)pthread_mutex_unlock(&runtime->lock);
        copy.on_event(copy.user, &told);
        (void)pthread_mutex_lock(&runtime->lock);
        runtime->telling_number = 0;
        (void)pthread_cond_broadcast(&runtime->changed);
        to = next_for(runtime, event, copy.number);
    }
    (void)pthread_mutex_unlock(&runtime->lock);
    dw_free(event);
}

/* ---- from outside ---------------------------------------------------------------------------- */

dw_status dw_runtime_subscribe(dw_runtime *runtime, const char *id,
                               void (*on_event)(void *user, const dw_event *event), void *user,
                               uint64_t *subscription, dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    uint64_t actor = 0;
    dw__subscription *made = NULL;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = id != NULL ? dw__look(runtime, id, &record, &row, err) : DW_OK;
    if (status == DW_OK && id != NULL) {
        (void)dw__id_parse(row.id, &actor);
    }
    if (status == DW_OK && runtime->subscription_count >= DW__SUBSCRIPTIONS_MAX) {
        status = dw_fail(err, DW_E_LIMIT, "subscriptions: %zu, which is the limit",
                         runtime->subscription_count);
    } else if (status == DW_OK && (made = dw_alloc(1, sizeof *made)) == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for a subscription");
    }
    if (status == DW_OK) {
        dw__subscription **link = &runtime->subscriptions;
        while (*link != NULL) {
            link = &(*link)->next;
        }
        *made = (dw__subscription){.number = ++runtime->subscription_number,
                                   .to_all = id == NULL,
                                   .actor = actor,
                                   .on_event = on_event,
                                   .user = user};
        *link = made;
        runtime->subscription_count++;
        *subscription = made->number;
    }
    dw__leave(runtime, false);
    return status;
}

void dw_runtime_unsubscribe(dw_runtime *runtime, uint64_t subscription)
{
    dw__enter(runtime);
    dw__subscription **link = &runtime->subscriptions;
    while (*link != NULL && (*link)->number != subscription) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        dw__subscription *removed = *link;
        *link = removed->next;
        runtime->subscription_count--;
        dw_free(removed);
    }
    while (subscription != 0 && runtime->telling_number == subscription &&
           !pthread_equal(runtime->teller, pthread_self())) {
        (void)pthread_cond_wait(&runtime->changed, &runtime->lock);
    }
    dw__leave(runtime, false);
}
