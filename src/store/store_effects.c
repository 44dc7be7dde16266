/* What actors asked for, carried out: messages, spawned and forked actors. Each effect is carried
 * out so that a second time changes nothing (store/actor_folder.h). */
#include <stdio.h>

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

static dw_status spawn(dw_store *store, const dw_actor *parent, const dw_actor_effect *effect,
                       dw_error *err)
{
    dw_module *module = dw_actor_module(parent);
    dw_actor *actor = NULL;
    const dw_descent *descent = NULL;
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
    status = dw__store_descent(store, dw_actor_id(parent), &descent, err);
    if (status == DW_OK) {
        dw_descent_of_child(&store->childs, descent, dw_actor_id(parent), false);
        status = dw__store_write_new_actor(store, actor, NULL, &store->childs, err);
    }
    dw_actor_destroy(actor);
    return status;
}

/* A new actor's first code runs: an attempt, as at a message. */
static dw_status try_spawn(dw_store *store, const dw_actor *parent, const dw_actor_effect *effect,
                           dw_error *err)
{
    const char *id = dw_actor_id(parent);
    const dw_attempted work = {.kind = DW_ATTEMPTED_EFFECT, .number = effect->number};
    dw_attempts attempts;
    dw_actor_folder_get_attempts(store->folder, id, &work, &attempts);
    if (attempts.count >= store->own_limits.attempts) {
        (void)dw_actor_folder_forget_attempts(store->folder, id, NULL);
        return dw_fail(err, DW_E_STATE, "spawn: given up after %u attempts: %s", attempts.count,
                       attempts.reason);
    }
    dw_status status = dw_actor_folder_try(store->folder, id, &work, err);
    if (status == DW_OK) {
        status = spawn(store, parent, effect, err);
        dw_actor_folder_tried(store->folder);
    }
    if (status == DW_OK && attempts.count > 0) {
        (void)dw_actor_folder_forget_attempts(store->folder, id, NULL);
    }
    return status;
}

/* An actor that the effect names is made, unless that happened before. */
static dw_status make_actor(dw_store *store, dw_actor *actor, const dw_actor_effect *effect,
                            dw_error *err)
{
    if (dw_actor_folder_has(store->folder, effect->actor) || effect->kind == DW_EFFECT_SEND) {
        return DW_OK;
    }
    dw_status status = dw__store_check_room(store, actor, 1, err);
    if (status != DW_OK) {
        return status;
    }
    switch (effect->kind) {
    case DW_EFFECT_SPAWN:
        return try_spawn(store, actor, effect, err);
    case DW_EFFECT_FORK:
        return dw__store_write_fork(store, actor, effect->actor, false, err);
    default:
        return DW_OK;
    }
}

static dw_status carry_out(dw_store *store, dw_actor *actor, const dw_actor_effect *effect,
                           bool *stop, dw_error *err)
{
    uint64_t cause = 0;
    uint64_t caused = 0;
    dw_actor_effect_cause(actor, effect->number, &cause, &caused);
    dw_message_file message = {.effect = effect->number, .cause = cause, .caused = caused};
    const dw_mail_content content = {.bytes = effect->message, .count = effect->message_bytes};
    (void)snprintf(message.from, sizeof message.from, "%s", dw_actor_id(actor));
    if (effect->kind == DW_EFFECT_STOP) {
        *stop = true;
        return DW_OK;
    }
    if (dw_actor_folder_was_delivered(store->folder, effect->actor, &message)) {
        return DW_OK; /* carried out before, and the receiver has ended since */
    }
    dw_status status = make_actor(store, actor, effect, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_folder_accept(store->folder, effect->actor, &message, &content,
                                    store->own_limits.mail, err);
    if (status != DW_OK) {
        return status;
    }
    dw_actor_folder_begin(store->folder, effect->actor); /* until it has worked on the message */
    return dw__store_add_todo(store, effect->actor, err);
}

dw_status dw__store_carry_out_all(dw_store *store, dw_actor *actor, uint64_t done, bool *stop,
                                  dw_error *err)
{
    size_t count = dw_actor_effect_count(actor);
    for (size_t i = 0; i < count; i++) {
        dw_actor_effect effect = {.struct_bytes = sizeof effect};
        dw_error problem;
        dw_status status = dw_actor_effect_at(actor, i, &effect, err);
        if (status != DW_OK) {
            return status;
        }
        status = carry_out(store, actor, &effect, stop, &problem);
        if (dw__store_is_transient(status)) {
            *stop = false;
            return dw_fail(err, status, "what the actor asked for waits: %s", problem.message);
        }
        if (status != DW_OK) {
            dw__store_report(store, dw_actor_id(actor), &problem);
        }
    }
    if (count == 0 || *stop) {
        return DW_OK;
    }
    dw_actor_drop_effects(actor, count);
    return dw__store_freeze(store, actor, done, err);
}
