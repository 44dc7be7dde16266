/* What actors asked for, as part of their turn: messages, spawned and forked actors. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "store/store_internal.h"

bool dw__store_is_transient(dw_status status)
{
    return status == DW_E_IO || status == DW_E_MEMORY;
}

static dw_status find_guest(dw_store *store, const char *name, dw_module **module, dw_error *err)
{
    dw_status status = store->options.find_guest != NULL
                           ? store->options.find_guest(store->options.user, name, module, err)
                           : dw_fail(err, DW_E_NOT_FOUND, "no guest '%.80s'", name);
    /* Whatever the reason, it will be the same the next time: no transient failure. */
    return status == DW_OK ? DW_OK : dw_fail_within(err, DW_E_NOT_FOUND, "spawn");
}

static dw_status spawn(dw_store *store, const dw_actor *parent, const dw_message *effect,
                       dw_new_actor *made, dw_error *err)
{
    dw_module *module = dw_actor_module(parent);
    dw_actor *actor = NULL;
    dw_status status = DW_OK;
    if (!dw_actor_id_good(effect->actor)) {
        return dw_fail(err, DW_E_FORMAT, "spawn: '%.40s' is no actor's id", effect->actor);
    }
    if (effect->guest[0] != '\0') {
        status = find_guest(store, effect->guest, &module, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_spawn(&actor, module, dw_actor_granted(parent), err);
    if (status != DW_OK) {
        return status;
    }
    dw_actor_set_id(actor, effect->actor);
    status = dw__store_write_new_actor(store, actor, NULL, made, err);
    dw_actor_destroy(actor);
    return status;
}

/* A new actor's first code runs: an attempt, as at a message. */
static dw_status try_spawn(dw_store *store, const dw_actor *parent, const dw_message *effect,
                           dw_new_actor *made, dw_error *err)
{
    const char *id = dw_actor_id(parent);
    const dw_attempted work = {.kind = DW_ATTEMPTED_EFFECT, .number = effect->number};
    dw_attempts attempts;
    dw_status status = dw_actor_folder_get_attempts(store->folder, id, &work, &attempts, err);
    if (status != DW_OK) {
        return status;
    }
    if (attempts.count >= store->own_limits.attempts) {
        return dw_fail(err, DW_E_STATE, "spawn: given up after %u attempts: %s", attempts.count,
                       attempts.reason);
    }
    status = dw_actor_folder_try(store->folder, id, &work, err);
    if (status == DW_OK) {
        status = spawn(store, parent, effect, made, err);
        (void)dw_actor_folder_try(store->folder, id, NULL, NULL);
    }
    return status;
}

/* An actor that the effect names is made, unless that happened before. */
static dw_status make_actor(dw_store *store, dw_actor *actor, const dw_message *effect,
                            dw_turn *turn, dw_error *err)
{
    dw_new_actor *made = &turn->made[turn->made_count];
    if (effect->kind == DW_EFFECT_SEND || dw_actor_folder_has(store->folder, effect->actor)) {
        return DW_OK;
    }
    dw_status status = dw__store_check_room(store, actor, turn->made_count + 1, err);
    if (status != DW_OK) {
        return status;
    }
    *made = (dw_new_actor){.descent = &store->childs};
    status = dw__store_descend(store, dw_actor_id(actor), false, err);
    if (status == DW_OK) {
        status = effect->kind == DW_EFFECT_SPAWN
                     ? try_spawn(store, actor, effect, made, err)
                     : dw__store_write_fork(store, actor, effect->actor, made, err);
    }
    if (status == DW_OK) {
        turn->made_count++;
    } else if (made->id[0] != '\0') { /* it has files already */
        const dw_turn half = {.made = made, .made_count = 1};
        dw_actor_folder_take_back(store->folder, &half);
    }
    return status;
}

/* One effect becomes part of the turn. What is refused is told once that is committed. */
static dw_status prepare(dw_store *store, dw_actor *actor, const dw_message *effect, dw_turn *turn,
                         dw_error *err)
{
    dw_sent *sent = &turn->sent[turn->sent_count];
    if (effect->kind == DW_EFFECT_STOP) {
        turn->ends = true;
        return DW_OK;
    }
    *sent = (dw_sent){.message = {.effect = effect->number,
                                  .cause = effect->cause,
                                  .caused = effect->caused,
                                  .bytes = effect->bytes},
                      .content = effect->content,
                      .mail_max = store->own_limits.mail};
    (void)snprintf(sent->message.from, sizeof sent->message.from, "%s", dw_actor_id(actor));
    (void)snprintf(sent->to, sizeof sent->to, "%s", effect->actor);
    turn->sent_count++;
    if (turn->repeats && dw_actor_folder_was_delivered(store->folder, sent)) {
        sent->skip = true; /* carried out before, and the receiver may have ended since */
        return DW_OK;
    }
    dw_status status = make_actor(store, actor, effect, turn, &sent->problem);
    if (dw__store_is_transient(status)) {
        return dw_fail(err, status, "%s", sent->problem.message);
    }
    sent->skip = status != DW_OK;
    sent->status = status;
    return DW_OK;
}

/* Room for what the effects may need. */
static dw_status reserve(const dw_mailbox *effects, dw_turn *turn, dw_error *err)
{
    size_t makes = 0;
    if (effects->count == 0) {
        return DW_OK;
    }
    for (const dw_message *effect = effects->first; effect != NULL; effect = effect->next) {
        makes += effect->kind == DW_EFFECT_SPAWN || effect->kind == DW_EFFECT_FORK;
    }
    turn->sent = dw_alloc(effects->count, sizeof *turn->sent);
    turn->made = dw_alloc(makes + 1, sizeof *turn->made); /* one for an effect that makes none */
    return turn->sent != NULL && turn->made != NULL
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for %zu effects", effects->count);
}

/* What was committed is told: refusals, and whose turn it is now. */
static void tell(dw_store *store, const dw_turn *turn)
{
    for (size_t i = 0; i < turn->sent_count; i++) {
        const dw_sent *sent = &turn->sent[i];
        dw_error problem = sent->problem;
        dw_status status = sent->status;
        if (status == DW_OK && !sent->skip) {
            status = dw__store_add_todo(store, sent->to, &problem); /* else it goes on waiting */
        }
        if (status != DW_OK) {
            dw__store_report(store, turn->id, &problem);
        }
    }
}

dw_status dw__store_conclude(dw_store *store, dw_actor *actor, dw_turn *turn, bool *stop,
                             dw_error *err)
{
    dw_mailbox effects;
    memcpy(turn->id, dw_actor_id(actor), sizeof turn->id);
    turn->has_state = true;
    dw_actor_take_effects(actor, &effects);
    dw_status status = reserve(&effects, turn, err);
    if (status == DW_OK) {
        status = dw__store_write_state(store, actor, turn, err);
    }
    for (const dw_message *effect = effects.first; effect != NULL && status == DW_OK;
         effect = effect->next) {
        status = prepare(store, actor, effect, turn, err);
    }
    if (status == DW_OK) {
        status = dw_actor_folder_commit(store->folder, turn, err);
    }
    if (status == DW_OK) {
        tell(store, turn);
    } else {
        dw_actor_folder_take_back(store->folder, turn);
    }
    *stop = status == DW_OK && turn->ends;
    dw_mailbox_release(&effects);
    dw_free(turn->sent);
    dw_free(turn->made);
    turn->sent = NULL;
    turn->made = NULL;
    return status;
}
