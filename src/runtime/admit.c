/* What actors may ask for: it is granted, or refused with an error that the guest gets, while it
 * works on a message. */
#include <inttypes.h>

#include "base/name.h"
#include "runtime/runtime_internal.h"

/* A timer that waits so long begins anew: what one message from outside has caused is bounded by
 * time then, not by number. */
#define TIMER_ANEW_MS 1000

static dw_status check_capability(const dw__record *record, uint32_t needed, const char *what,
                                  dw_error *err)
{
    return (record->capabilities & needed) != 0
               ? DW_OK
               : dw_fail(err, DW_E_DENIED, "%s: the actor was not granted it", what);
}

/* `more` messages for the same cause. The count travels with each message; the largest of those
 * that were seen counts. */
static dw_status count_caused(dw_runtime *runtime, dw__wish *wish, uint64_t more, dw_error *err)
{
    const uint64_t limit = runtime->own_limits.caused_messages;
    while (*wish->cause == 0) {
        runtime->platform.random(runtime->platform.user, wish->cause, sizeof *wish->cause);
        *wish->cause &= INT64_MAX; /* a whole number of JSON */
    }
    uint64_t cause = *wish->cause;
    uint64_t count = wish->caused;
    if (runtime->causes[cause % DW__CAUSES].cause == cause &&
        runtime->causes[cause % DW__CAUSES].count > count) {
        count = runtime->causes[cause % DW__CAUSES].count;
    }
    if (more > limit || count > limit - more) {
        return dw_fail(err, DW_E_LIMIT,
                       "message: one from outside has caused %" PRIu64 ", limit %" PRIu64
                       " (caused_messages)",
                       count, limit);
    }
    runtime->causes[cause % DW__CAUSES].cause = cause;
    runtime->causes[cause % DW__CAUSES].count = count + more;
    wish->new_cause = cause;
    wish->new_caused = count + more;
    return DW_OK;
}

static dw_status admit_child(dw_runtime *runtime, const dw__record *record, const dw__wish *wish,
                             dw_error *err)
{
    const bool forks = wish->kind == DW_EFFECT_FORK;
    dw_status status =
        check_capability(record, forks ? DW_MAY_FORK : DW_MAY_SPAWN, forks ? "fork" : "spawn", err);
    if (status == DW_OK && wish->made >= runtime->own_limits.spawns) {
        status = dw_fail(err, DW_E_LIMIT,
                         "spawns and forks: %zu for one message, which is the limit (spawns)",
                         wish->made);
    }
    return status == DW_OK ? dw__check_room(runtime, record->tenant, record, wish->made + 1, err)
                           : status;
}

#define MAY_SEND (DW_MAY_SEND_KIN | DW_MAY_SEND_TENANT | DW_MAY_SEND_ANY)

/* To a group: each member gets one, and refuses it by itself where there is no room. */
static dw_status admit_group(dw_runtime *runtime, const dw__record *record, const dw__wish *wish,
                             uint64_t *messages, dw_error *err)
{
    const char *name = wish->to + 1;
    dw_group_look look = {.members = 0};
    dw_status status = check_capability(record, MAY_SEND, "send", err);
    if (status == DW_OK && runtime->keeper != NULL) {
        status = dw__group_look_kept(runtime, record, name, &look, err);
        *messages = look.members;
    } else {
        *messages = dw__group_count(runtime, record->tenant, name);
    }
    if (status == DW_OK && *messages == 0) {
        status = dw_fail(err, DW_E_NOT_FOUND, "send: its tenant has no group '%.80s'", name);
    }
    if (status == DW_OK && wish->bytes > record->limits->message_bytes) {
        status = dw_fail(err, DW_E_LIMIT, "message: %zu bytes, limit %" PRIu64 " (message_bytes)",
                         wish->bytes, record->limits->message_bytes);
    }
    return status;
}

/* To one that is in the folder alone, or that nobody has. */
static dw_status admit_far(dw_runtime *runtime, const dw__record *record, const dw__wish *wish,
                           uint64_t id, dw_error *err)
{
    char text[DW_ACTOR_ID_CHARS + 1];
    dw__record *target = NULL;
    dw_actor_row row;
    dw__id_text(text, id);
    dw_status status = dw__look(runtime, text, &target, &row, err);
    if (status == DW_OK) {
        status =
            target != NULL ? dw__may_send(record, target, err) : dw__may_send_to(record, &row, err);
    }
    if (status == DW_OK && target != NULL) {
        status = dw__mail_check(target, wish->bytes, 1, err);
    }
    return status;
}

static dw_status admit_named(dw_runtime *runtime, const dw__record *record, const dw__wish *wish,
                             dw_error *err)
{
    uint64_t id = 0;
    dw_status status = check_capability(record, MAY_SEND, "send", err);
    if (status == DW_OK) {
        status = dw__name_find(runtime, record->tenant, wish->to + 1, &id, err);
    }
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_NOT_FOUND, "send: its tenant has no actor '%.80s'", wish->to + 1);
    }
    return status == DW_OK ? admit_far(runtime, record, wish, id, err) : status;
}

static dw_status admit_message(dw_runtime *runtime, const dw__record *record, const dw__wish *wish,
                               uint64_t *messages, dw_error *err)
{
    if (wish->to != NULL && wish->to[0] == '#') {
        return admit_group(runtime, record, wish, messages, err);
    }
    if (wish->to != NULL && wish->to[0] == '@') {
        return admit_named(runtime, record, wish, err);
    }
    const dw__record *target = dw__find(runtime, wish->actor);
    if (target == NULL) { /* a child that is not made yet; else it comes to nothing */
        return check_capability(record, MAY_SEND, "send", err);
    }
    dw_status status = dw__may_send(record, target, err);
    return status == DW_OK ? dw__mail_check(target, wish->bytes, 1, err) : status;
}

/* The same that committing it will say, as far as it is known. */
static dw_status admit_change_kept(dw_runtime *runtime, const dw__record *record,
                                   const dw__wish *wish, bool joins, dw_error *err)
{
    dw_group_look look = {.members = 0};
    dw_status status = dw_name_check("group", wish->to, err);
    if (status == DW_OK) {
        status = dw__group_look_kept(runtime, record, wish->to, &look, err);
    }
    const dw_group_change change = dw__group_change_of(runtime, wish->to, joins);
    return status == DW_OK ? dw_group_change_check(&change, &look, err) : status;
}

static dw_status admit_group_change(dw_runtime *runtime, dw__record *record, const dw__wish *wish,
                                    dw_error *err)
{
    const bool joins = wish->kind == DW_EFFECT_JOIN;
    dw_status status = check_capability(record, DW_MAY_JOIN, joins ? "join" : "leave", err);
    if (status == DW_OK && runtime->keeper != NULL) {
        return admit_change_kept(runtime, record, wish, joins, err);
    }
    return status == DW_OK ? dw__group_check(runtime, record, wish->to, joins, err) : status;
}

static dw_status admit(dw_runtime *runtime, dw__record *record, dw__wish *wish, dw_error *err)
{
    dw_status status = DW_OK;
    uint64_t messages = 1;
    switch (wish->kind) {
    case DW_EFFECT_STOP:
    case DW_EFFECT_LATER:
    case DW_EFFECT_ANSWER:
        return DW_OK;
    case DW_EFFECT_SPAWN:
    case DW_EFFECT_FORK:
        status = admit_child(runtime, record, wish, err);
        break;
    case DW_EFFECT_SEND:
        status = admit_message(runtime, record, wish, &messages, err);
        break;
    case DW_EFFECT_JOIN:
    case DW_EFFECT_LEAVE:
        return admit_group_change(runtime, record, wish, err);
    case DW_EFFECT_UNWATCH:
        return dw__watch_admit(runtime, record, wish, err);
    case DW_EFFECT_WATCH: /* what it brings is caused by this */
        status = check_capability(record, MAY_SEND, "watch", err);
        status = status == DW_OK ? dw__watch_admit(runtime, record, wish, err) : status;
        break;
    default:
        status = check_capability(record, DW_MAY_SET_TIMERS, "timer", err);
        if (status == DW_OK && wish->wait_ms >= TIMER_ANEW_MS) {
            return DW_OK;
        }
    }
    return status == DW_OK ? count_caused(runtime, wish, messages, err) : status;
}

/* Whether there is a guest of that name, and it could be an actor: who may not spawn is not told.
 * Its module is looked up, and compiled where nobody had it yet, without the lock. */
static dw_status admit_guest(dw_runtime *runtime, const dw__record *record, const char *guest,
                             dw_error *err)
{
    dw__enter(runtime);
    dw_status status = check_capability(record, DW_MAY_SPAWN, "spawn", err);
    dw__leave(runtime, false);
    return status == DW_OK && runtime->platform.check_guest != NULL
               ? runtime->platform.check_guest(runtime->platform.user, guest, err)
               : status;
}

dw_status dw__admit(dw_runtime *runtime, dw__record *record, dw__wish *wish, dw_error *err)
{
    dw_status status = DW_OK;
    if (wish->kind == DW_EFFECT_SPAWN && wish->guest != NULL && wish->guest[0] != '\0') {
        status = admit_guest(runtime, record, wish->guest, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__enter(runtime);
    status = admit(runtime, record, wish, err);
    dw__leave(runtime, false);
    return status;
}
