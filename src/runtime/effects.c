/* What becomes of a message that was worked on: effects are carried out, failures supervised. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

/* ---- without the lock ------------------------------------------------------------------------ */

static void free_ask(dw__ask *asked)
{
    if (asked != NULL) {
        dw_free(asked->mail);
        dw_free(asked);
    }
}

void dw__free_asks(dw__ask *asked)
{
    while (asked != NULL) {
        dw__ask *next = asked->next;
        free_ask(asked);
        asked = next;
    }
}

static dw__ask *copy_ask(const dw__record *record, const dw__asked *effect, dw_error *err)
{
    dw__ask *asked = dw_alloc(1, sizeof *asked);
    if (asked == NULL) {
        (void)dw_fail(err, DW_E_MEMORY, "no memory for what the actor asked for");
        return NULL;
    }
    asked->kind = effect->kind;
    asked->actor = effect->actor;
    asked->number = effect->number;
    asked->ticket = effect->ticket;
    asked->last = effect->last;
    asked->events = effect->events;
    (void)snprintf(asked->guest, sizeof asked->guest, "%s",
                   effect->guest != NULL ? effect->guest : "");
    if (effect->kind != DW_EFFECT_STOP &&
        dw__mail_create(&asked->mail, effect->message, effect->bytes, err) != DW_OK) {
        free_ask(asked);
        return NULL;
    }
    if (asked->mail != NULL) {
        asked->mail->from = (dw__sender){.is_actor = true, .id = record->id};
        asked->mail->cause = effect->cause;
        asked->mail->caused = effect->caused;
    }
    return asked;
}

dw__ask *dw__take_effects(dw_runtime *runtime, dw__record *record, dw_error *failed)
{
    const dw__platform *platform = &runtime->platform;
    dw__ask *first = NULL;
    dw__ask **link = &first;
    dw__asked effect;
    for (size_t i = 0; platform->effect_at(platform->user, record->body, i, &effect); i++) {
        dw__ask *asked = copy_ask(record, &effect, failed);
        if (asked != NULL) {
            if (asked->mail != NULL) {
                asked->mail->at_ms = platform->wall_ms(platform->user);
            }
            *link = asked;
            link = &asked->next;
        }
    }
    if (first != NULL || failed->code != DW_OK) {
        platform->drop_effects(platform->user, record->body);
    }
    return first;
}

/* ---- carrying out ---------------------------------------------------------------------------- */

static dw_status may_send(uint32_t has, bool kin, bool same, dw_error *err)
{
    if ((kin && (has & DW_MAY_SEND_KIN) != 0) || (same && (has & DW_MAY_SEND_TENANT) != 0) ||
        (has & DW_MAY_SEND_ANY) != 0) {
        return DW_OK;
    }
    return dw_fail(err, DW_E_DENIED, "send: the actor may not send to %s",
                   kin    ? "its kin"
                   : same ? "others of its tenant"
                          : "other tenants' actors");
}

dw_status dw__may_send(const dw__record *from, const dw__record *to, dw_error *err)
{
    return may_send(from->capabilities, from->tree == to->tree, from->tenant == to->tenant, err);
}

dw_status dw__may_send_to(const dw__record *from, const dw_actor_row *to, dw_error *err)
{
    uint64_t head = 0;
    bool kin = dw__id_parse(to->head, &head) && head == from->tree->head;
    return may_send(from->capabilities, kin, strcmp(from->tenant->name, to->traits.tenant) == 0,
                    err);
}

/* A copy of the message for one member of a group. */
static dw_status send_copy(dw_runtime *runtime, dw__record *record, dw__record *member,
                           const dw__mail *mail, dw_error *err)
{
    dw__mail *copy = NULL;
    dw_status status = dw__may_send(record, member, err);
    if (status == DW_OK) {
        status = dw__mail_check(member, mail->bytes, 2, err);
    }
    if (status == DW_OK) {
        status = dw__mail_create(&copy, mail->content, mail->bytes, err);
    }
    if (status == DW_OK) {
        copy->from = mail->from;
        copy->cause = mail->cause;
        copy->caused = mail->caused;
        copy->at_ms = mail->at_ms;
        dw__mail_accept(runtime, member, copy);
    }
    return status;
}

/* To each member as a message of its own: what one refuses the others still get. */
static dw_status send_to_group(dw_runtime *runtime, dw__record *record, const dw__ask *asked,
                               dw_error *err)
{
    const char *group = asked->guest + 1;
    size_t count = (size_t)dw__group_count(runtime, record->tenant, group);
    dw__record **members = dw_alloc(count + 1, sizeof(dw__record *));
    if (members == NULL) {
        return dw_fail(err, DW_E_MEMORY, "send: no memory for a group of %zu", count);
    }
    count = dw__group_members(runtime, record->tenant, group, members, count);
    for (size_t i = 0; i < count; i++) {
        dw_error error = {.message = ""};
        if (send_copy(runtime, record, members[i], asked->mail, &error) != DW_OK) {
            dw__problem(runtime, record->id, &error);
        }
    }
    dw_free(members);
    return count > 0 ? DW_OK : dw_fail(err, DW_E_NOT_FOUND, "send: no group '%.80s'", group);
}

static dw_status send(dw_runtime *runtime, dw__record *record, dw__ask *asked, dw_error *err)
{
    if (asked->guest[0] == '#') {
        return send_to_group(runtime, record, asked, err);
    }
    dw__record *target = asked->guest[0] == '@'
                             ? dw__find_name(runtime, record->tenant, asked->guest + 1)
                             : dw__find(runtime, asked->actor);
    if (target == NULL && asked->guest[0] == '@') {
        return dw_fail(err, DW_E_NOT_FOUND, "send: no actor '%.80s'", asked->guest);
    }
    if (target == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "send: no actor %016" PRIx64, asked->actor);
    }
    dw_status status = dw__may_send(record, target, err);
    if (status == DW_OK) {
        /* It was granted while there was room: others may have come before. */
        status = dw__mail_check(target, asked->mail->bytes, 2, err);
    }
    if (status == DW_OK) {
        dw__mail_accept(runtime, target, asked->mail);
        asked->mail = NULL;
    }
    return status;
}

static dw_status make_child(dw_runtime *runtime, dw__record *record, dw__ask *asked,
                            dw__record **child, dw_error *err)
{
    if (dw__find(runtime, asked->actor) != NULL) {
        return dw_fail(err, DW_E_STATE, "spawn: there is an actor %016" PRIx64, asked->actor);
    }
    const dw__wanted wanted = dw__wanted_of(record, asked->actor);
    dw_status status = dw__record_create(runtime, &wanted, child, err);
    if (status == DW_OK) {
        dw__mail_accept(runtime, *child, asked->mail);
        asked->mail = NULL;
    }
    return status;
}

static dw_status spawn(dw_runtime *runtime, dw__record *record, dw__ask *asked, dw_error *err)
{
    dw__record *child = NULL;
    dw_status status = make_child(runtime, record, asked, &child, err);
    if (status == DW_OK) {
        child->own->effect = true;
        (void)snprintf(child->own->guest, sizeof child->own->guest, "%s", asked->guest);
        dw__make(runtime, child);
    }
    return status;
}

/* `forks`: those of this message, the last first. */
static dw_status fork_child(dw_runtime *runtime, dw__record *record, dw__ask *asked,
                            dw__operation **forks, dw_error *err)
{
    dw__operation *operation = NULL;
    dw__record *child = NULL;
    dw_status status = dw__operation_create(runtime, record, &operation, err);
    if (status == DW_OK) {
        status = make_child(runtime, record, asked, &child, err);
    }
    if (status != DW_OK) {
        dw_free(operation);
        return status;
    }
    operation->child = child;
    operation->effect = true;
    operation->work = dw__fork_work;
    operation->finish = dw__fork_finish;
    operation->next = *forks;
    *forks = operation;
    return DW_OK;
}

static void carry_out(dw_runtime *runtime, dw__record *record, dw__ask *first)
{
    dw__operation *forks = NULL;
    for (dw__ask *asked = first; asked != NULL;) {
        dw__ask *next = asked->next;
        dw_error error = {.message = ""};
        dw_status status = DW_OK;
        switch (asked->kind) {
        case DW_EFFECT_SEND:
            status = send(runtime, record, asked, &error);
            break;
        case DW_EFFECT_SPAWN:
            status = spawn(runtime, record, asked, &error);
            break;
        case DW_EFFECT_FORK:
            status = fork_child(runtime, record, asked, &forks, &error);
            break;
        case DW_EFFECT_STOP:
            record->ends = true;
            break;
        case DW_EFFECT_JOIN:
            status = dw__group_join(runtime, record, asked->guest, &error);
            break;
        case DW_EFFECT_LEAVE:
            status = dw__group_leave(runtime, record, asked->guest, &error);
            break;
        case DW_EFFECT_WATCH:
            status = dw__watch_set(runtime, record, asked, &error);
            break;
        case DW_EFFECT_UNWATCH:
            dw__watch_clear(runtime, record, asked->actor);
            break;
        case DW_EFFECT_LATER: /* its message has ended, and is answered by a ticket now */
            break;
        case DW_EFFECT_ANSWER:
            dw__later_answer(runtime, record, asked);
            break;
        }
        if (status != DW_OK && (asked->kind == DW_EFFECT_SPAWN || asked->kind == DW_EFFECT_FORK)) {
            dw__watch_unmade(runtime, record, asked->actor, status, &error);
        }
        if (status != DW_OK) {
            dw__problem(runtime, record->id, &error);
        }
        free_ask(asked);
        asked = next;
    }
    while (forks != NULL) { /* before all else that is to be done with it, in their order */
        dw__operation *operation = forks;
        forks = operation->next;
        dw__operation_add(runtime, operation, true);
    }
}

/* ---- a message is through -------------------------------------------------------------------- */

static void count(dw_runtime *runtime, dw__record *record, dw_status status)
{
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    dw__sum_usage(runtime, record);
    dw__log_slow(runtime, record, now_ns - record->began_ns);
    dw__sum(runtime, record,
            &(dw__sums){
                .messages = 1, .failed = status != DW_OK, .work_ns = now_ns - record->began_ns});
}

/* `broken`: the message is not done. */
void dw__end_message(dw_runtime *runtime, dw__record *record, const dw_error *error, bool broken)
{
    dw__mail *mail = record->current;
    if (runtime->keeper != NULL) { /* what it asked for is done already */
        dw__trace_ended(runtime, record, mail != NULL ? mail->number : 0, error->code);
    }
    record->current = NULL;
    if (error->code != DW_OK && (mail == NULL || !mail->awaited) && !record->stopping) {
        dw__tell_problem(runtime, record->id, error);
    }
    if (mail == NULL) {
        dw__happened(runtime, record, &(dw__happening){.kind = DW_EVENT_ENDED, .error = error});
    } else if (broken) {
        dw__mail_failed(runtime, record, mail, error);
    } else if (mail->ticket != 0 && error->code == DW_OK && !mail->detached) {
        dw__later_begin(runtime, record, mail);
    } else {
        dw__mail_end(runtime, mail, error);
    }
}

bool dw__has_failed_enough(const dw__record *record)
{
    return (record->failures_max > 0 && record->failures >= record->failures_max) ||
           (record->supervision == DW_SUPERVISE_STOP && record->failures > 0);
}

void dw__end_failed(dw_runtime *runtime, dw__record *record)
{
    dw_error error;
    (void)dw_fail(&error, DW_E_STATE, "it broke off %u times in a row, and ends", record->failures);
    dw__problem(runtime, record->id, &error);
    const dw_watch_event event =
        dw__watch_event_of(DW_WATCH_ENDED, DW_WATCH_GAVE_UP, DW_E_STATE, error.message);
    dw__watch_end(runtime, record, &event);
    dw__end_actor(runtime, record, &event);
}

/* The actor broke off. */
void dw__supervise(dw_runtime *runtime, dw__record *record)
{
    record->failures++;
    if (record->stopping) {
        dw__rest(runtime, record);
    } else if (dw__has_failed_enough(record)) {
        dw__end_failed(runtime, record);
    } else {
        dw__restart(runtime, record);
    }
}

/* Without a folder. Takes what was asked for; `failed`: why that is not all of it. */
static void settle_in_memory(dw_runtime *runtime, dw__record *record, dw__ask *asked,
                             const dw_error *own, const dw_error *failed, bool broken)
{
    uint64_t number = record->current != NULL ? record->current->number : 0;
    dw__end_message(runtime, record, own, broken);
    if (failed->code != DW_OK) {
        dw__problem(runtime, record->id, failed);
    }
    if (record->stopping || broken) {
        dw__free_asks(asked);
        dw__later_cut(runtime, record);
    } else {
        carry_out(runtime, record, asked);
    }
    dw__trace_ended(runtime, record, number, own->code);
    if (broken) {
        const dw_watch_event event =
            dw__watch_event_of(DW_WATCH_FAILED, DW_WATCH_FINISHED, own->code, own->message);
        dw__watch_tell(runtime, record, &event);
        dw__supervise(runtime, record);
    } else {
        record->failures = 0;
        dw__rest(runtime, record);
    }
}

void dw__worked(dw_runtime *runtime, dw__record *record, dw_status status, const dw_error *error)
{
    const dw__platform *platform = &runtime->platform;
    dw_error failed = {.code = DW_OK};
    dw_error own = {.code = DW_OK};
    dw__ask *asked = NULL;
    size_t inside = 0;
    uint64_t timer_ms = 0;
    if (status != DW_OK) {
        own = *error;
        own.code = status;
    }
    bool broken = platform->is_broken(platform->user, record->body);
    bool unheard = false;
    if (!broken) {
        asked = dw__take_effects(runtime, record, &failed);
        unheard = !dw__answers_later(asked) && !dw__answer_ends(runtime, record, &own);
        inside = platform->waiting(platform->user, record->body);
        timer_ms = platform->timer_ms(platform->user, record->body);
    }
    dw__enter(runtime);
    DW_ASSERT(record->state == DW__WORKING);
    if (record->interrupted && !broken) { /* when it was about to end; it cannot go on */
        broken = true;
        (void)dw_fail(&own, DW_E_CANCELLED, "interrupted");
    }
    record->interrupted = false;
    record->inside = inside;
    record->timer_ms = timer_ms;
    count(runtime, record, own.code);
    if (!broken && failed.code == DW_OK) {
        dw__later_note(record, asked);
    }
    if (runtime->keeper != NULL) {
        if (failed.code != DW_OK && !broken) { /* what it asked for is part of its turn */
            record->turn->undone = broken = true;
            own = failed;
        } else if (unheard) { /* it is given up with the answer */
            record->turn->undone = broken = true;
        }
        dw__settle(runtime, record, asked, &own, broken);
        dw__leave(runtime, true);
        return;
    }
    settle_in_memory(runtime, record, asked, &own, &failed, broken);
    dw__leave(runtime, true);
}
