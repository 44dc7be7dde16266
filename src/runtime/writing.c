/* What came of a turn of an actor in a folder is written, on a worker: its state, the actors that
 * it makes, the messages that it sends. It counts once it is committed (settle.c). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/name.h"
#include "runtime/runtime_internal.h"

/* Room for what the effects may need. */
static dw_status reserve(dw__turn *turn, dw_error *err)
{
    size_t count = 0;
    size_t makes = 0;
    size_t changes = 0;
    for (const dw__ask *asked = turn->asks; asked != NULL; asked = asked->next) {
        count++;
        makes += asked->kind == DW_EFFECT_SPAWN || asked->kind == DW_EFFECT_FORK;
        changes += asked->kind == DW_EFFECT_JOIN || asked->kind == DW_EFFECT_LEAVE;
    }
    if (count == 0) {
        return DW_OK;
    }
    dw_turn *folder = &turn->folder;
    folder->sent = dw_alloc(count, sizeof *folder->sent);
    folder->made = makes > 0 ? dw_alloc(makes, sizeof *folder->made) : NULL;
    folder->changes = changes > 0 ? dw_alloc(changes, sizeof *folder->changes) : NULL;
    folder->watches = dw_alloc(count, sizeof *folder->watches);
    turn->descent = makes > 0 ? dw_alloc(1, sizeof *turn->descent) : NULL;
    return folder->sent != NULL && folder->watches != NULL &&
                   (changes == 0 || folder->changes != NULL) &&
                   (makes == 0 || (folder->made != NULL && turn->descent != NULL))
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for %zu effects", count);
}

/* The children's, once for all of them. */
dw_status dw__read_descent(dw_runtime *runtime, const char *parent, bool from_outside,
                           dw_descent **descent, dw_error *err)
{
    dw_descent *own = dw_alloc(1, sizeof *own);
    *descent = *descent != NULL ? *descent : dw_alloc(1, sizeof **descent);
    dw_status status = own != NULL && *descent != NULL
                           ? runtime->keeper->descent(runtime->keeper->user, parent, own, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    if (status == DW_OK) {
        dw_descent_of_child(*descent, own, parent, from_outside);
    }
    dw_free(own);
    return status;
}

/* Whether the actor may send there: to one in memory, in the folder, or that it is making. */
static dw_status check_send(dw_runtime *runtime, dw__record *record, const dw__ask *asked,
                            dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__record *target = NULL;
    dw_actor_row row;
    dw__id_text(id, asked->actor);
    dw__enter(runtime);
    dw_status status = dw__look(runtime, id, &target, &row, err);
    if (status == DW_OK && target != NULL) {
        status = dw__may_send(record, target, err);
        if (status == DW_OK) { /* it was granted while there was room: others may have come */
            status = dw__mail_check(target, asked->mail->bytes, 2, err);
        }
    } else if (status == DW_OK) {
        status = dw__may_send_to(record, &row, err);
    } else if (status == DW_E_NOT_FOUND) {
        status = dw_fail(err, DW_E_NOT_FOUND, "send: no actor %s", id);
    }
    dw__leave(runtime, false);
    return status;
}

static dw_status make_record(dw_runtime *runtime, dw__record *record, dw__ask *asked, dw_error *err)
{
    const dw__wanted wanted = dw__wanted_of(record, asked->actor);
    dw__enter(runtime);
    dw_status status = DW_OK;
    if (dw__find_any(runtime, asked->actor) != NULL) {
        status = dw_fail(err, DW_E_STATE, "spawn: there is an actor %016" PRIx64, asked->actor);
    } else if (record->stopping) {
        status = dw_fail(err, DW_E_CANCELLED, "spawn: the actor was stopped");
    } else {
        status = dw__record_create(runtime, &wanted, &asked->child, err);
    }
    if (status == DW_OK) {
        asked->child->in_folder = true;
    }
    dw__leave(runtime, false);
    return status;
}

static dw_status make_body(dw_runtime *runtime, dw__record *record, dw__ask *asked, dw_error *err)
{
    const dw__platform *platform = &runtime->platform;
    dw_status status = DW_OK;
    if (asked->kind == DW_EFFECT_FORK) {
        return platform->fork(platform->user, &asked->body, record->body, asked->child,
                              asked->actor, err);
    }
    if (asked->guest[0] != '\0') {
        status =
            platform->seed_of_guest(platform->user, &asked->seed, record->seed, asked->guest, err);
        /* Whatever the reason, it will be the same the next time. */
        status = status == DW_OK ? DW_OK : DW_E_NOT_FOUND;
    } else {
        asked->seed = platform->seed_ref(platform->user, record->seed);
    }
    return status == DW_OK ? platform->spawn(platform->user, &asked->body, asked->seed,
                                             asked->child, asked->actor, err)
                           : status;
}

/* A child that comes to nothing, alone. */
void dw__unmake(dw_runtime *runtime, dw__ask *asked)
{
    const dw__platform *platform = &runtime->platform;
    platform->destroy(platform->user, asked->body);
    asked->body = NULL;
    if (asked->seed != NULL) {
        platform->seed_unref(platform->user, asked->seed);
        asked->seed = NULL;
    }
    if (asked->child == NULL) {
        return;
    }
    dw__enter(runtime);
    dw__record_unmade(runtime, asked->child);
    if (!asked->child->stopping) {
        dw__stop(runtime, asked->child);
    }
    dw__rest(runtime, asked->child);
    asked->child = NULL;
    dw__leave(runtime, false);
}

static dw_status make_child(dw_runtime *runtime, dw__record *record, dw__ask *asked, dw_error *err)
{
    dw__turn *turn = record->turn;
    const dw__keeper *keeper = runtime->keeper;
    dw_new_actor *made = &turn->folder.made[turn->folder.made_count];
    dw_status status = make_record(runtime, record, asked, err);
    if (status == DW_OK) {
        status = make_body(runtime, record, asked, err);
    }
    if (status == DW_OK && turn->folder.made_count == 0) {
        status = dw__read_descent(runtime, turn->folder.id, false, &turn->descent, err);
    }
    if (status == DW_OK) {
        dw__traits_of(record, &turn->traits);
        dw__counts_fresh(runtime, &turn->fresh);
        *made = (dw_new_actor){
            .descent = turn->descent, .traits = &turn->traits, .counts = &turn->fresh};
        dw__id_text(made->id, asked->actor);
        const bool forks = asked->kind == DW_EFFECT_FORK;
        const dw__making making = {.made = made,
                                   .body = asked->body,
                                   .parent = forks ? turn->folder.id : NULL,
                                   .turn = &turn->folder,
                                   .kept = &asked->kept,
                                   .written = &turn->written};
        status = keeper->make(keeper->user, &making, err);
        if (status != DW_OK) {
            const dw_turn half = {.made = made, .made_count = 1};
            keeper->take_back(keeper->user, &half);
        }
    }
    if (status != DW_OK) {
        dw__unmake(runtime, asked);
        return status;
    }
    turn->folder.made_count++;
    return DW_OK;
}

static void prepare_change(const dw_runtime *runtime, dw__turn *turn, const dw__ask *asked)
{
    dw_group_change *change = &turn->folder.changes[turn->folder.change_count++];
    *change = dw__group_change_of(runtime, asked->guest, asked->kind == DW_EFFECT_JOIN);
    change->status = dw_name_check("group", asked->guest, &change->problem);
    change->skip = change->status != DW_OK; /* of an actor that was imported */
}

/* One effect becomes part of the turn. What is refused is told once that is committed. */
static dw_status prepare(dw_runtime *runtime, dw__record *record, dw__ask *asked, dw_error *err)
{
    dw__turn *turn = record->turn;
    dw_status status = DW_OK;
    if (asked->kind == DW_EFFECT_STOP) {
        turn->folder.ends = true;
        return DW_OK;
    }
    if (asked->kind == DW_EFFECT_LATER || asked->kind == DW_EFFECT_ANSWER) {
        return DW_OK; /* told once the turn is committed */
    }
    if (asked->kind == DW_EFFECT_JOIN || asked->kind == DW_EFFECT_LEAVE) {
        prepare_change(runtime, turn, asked);
        return DW_OK;
    }
    if (asked->kind == DW_EFFECT_WATCH || asked->kind == DW_EFFECT_UNWATCH) {
        return dw__watch_prepare(runtime, record, asked, err);
    }
    dw_sent *sent = &turn->folder.sent[turn->folder.sent_count++];
    asked->sent = turn->folder.sent_count;
    *sent = (dw_sent){.message = {.effect = asked->number,
                                  .cause = asked->mail->cause,
                                  .caused = asked->mail->caused,
                                  .at_ms = asked->mail->at_ms,
                                  .bytes = asked->mail->bytes},
                      .content = asked->mail->content,
                      .mail_max = 3 * runtime->own_limits.mail};
    dw__id_text(sent->message.from, record->id);
    dw__id_text(sent->to, asked->actor);
    if (turn->folder.repeats && runtime->keeper->was_delivered(runtime->keeper->user, sent)) {
        sent->skip = true; /* carried out before, and the receiver may have ended since */
        return DW_OK;
    }
    bool mine = false; /* a child that this turn makes */
    const dw__ask *other = turn->folder.made_count > 0 ? turn->asks : asked;
    for (; other != asked; other = other->next) {
        mine = mine || (other->child != NULL && other->actor == asked->actor);
    }
    if (asked->kind != DW_EFFECT_SEND) {
        status = make_child(runtime, record, asked, &sent->problem);
    } else if (asked->guest[0] != '\0') { /* a name that nobody has, a group without members */
        status = dw_fail(&sent->problem, DW_E_NOT_FOUND, "send: no %s '%.80s'",
                         asked->guest[0] == '#' ? "group" : "actor", asked->guest);
    } else if (!mine) {
        status = check_send(runtime, record, asked, &sent->problem);
    }
    if (dw__is_transient(status) && status != DW_E_BUSY) {
        return dw_fail(err, status, "%s", sent->problem.message);
    }
    sent->skip = status != DW_OK;
    sent->status = status;
    if (status != DW_OK && asked->kind != DW_EFFECT_SEND) {
        dw__watch_prepare_unmade(turn, asked, status, &sent->problem);
    }
    return DW_OK;
}

/* What is inside and failed too often: taken out of the state, and kept in the folder. */
static dw_status give_own_up(dw_runtime *runtime, dw__record *record, dw_error *err)
{
    dw__turn *turn = record->turn;
    const dw__platform *platform = &runtime->platform;
    const dw__keeper *keeper = runtime->keeper;
    dw_status status =
        keeper->get_attempts(keeper->user, turn->folder.id, &turn->work, &turn->why, err);
    if (status == DW_OK) {
        turn->given_up = platform->take_inside(platform->user, record->body);
        turn->own_aside = (dw_own_aside){.message = turn->given_up, .why = &turn->why};
        turn->folder.aside = turn->given_up != NULL ? &turn->own_aside : NULL;
    }
    return status;
}

void dw__write_work(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__turn *turn = record->turn;
    dw_error *err = &operation->error;
    dw_status status = DW_OK;
    turn->folder.repeats = record->kept.pending;
    if (turn->folder.repeats && turn->asks == NULL) {
        turn->asks = dw__take_effects(runtime, record, err);
        status = err->code;
    }
    if (status == DW_OK) {
        status = dw__address(runtime, record, err);
    }
    if (status == DW_OK) {
        status = reserve(turn, err);
    }
    if (status == DW_OK && turn->gives_up) {
        status = give_own_up(runtime, record, err);
    }
    if (status == DW_OK) {
        turn->wrote = true;
        status = runtime->keeper->freeze(runtime->keeper->user, turn, record->body, err);
    }
    for (dw__ask *asked = turn->asks; asked != NULL && status == DW_OK; asked = asked->next) {
        status = prepare(runtime, record, asked, err);
    }
    err->code = status;
}
