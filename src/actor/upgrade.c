/* A new module under an old actor's state. Nothing is done to the actor itself: a fork of it hands
 * over, and a new one takes. */
#include "actor/upgrade.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actor/actor_state.h"
#include "base/alloc.h"
#include "base/array.h"
#include "wasm/instance_state.h"
#include "wasm/repeatable.h"

typedef enum upgrade_phase { GIVING, TAKING } upgrade_phase;

/* While one of the two exports is called; both actors refer to it. */
struct dw_upgrade {
    upgrade_phase phase;
    bool declared;        /* the old module hands something over */
    unsigned char *bytes; /* [count] */
    size_t count;
    size_t capacity;
    size_t taken;
    uint16_t
        *unkept; /* [slot_count] generations of objects that nobody asked for so far; 0: none */
    size_t slot_count;
};

/* ---- what guests call ---------------------------------------------------------------------- */

static dw_status check_phase(const dw_actor *actor, upgrade_phase phase, dw_error *err)
{
    return actor->upgrade != NULL && actor->upgrade->phase == phase
               ? DW_OK
               : dw_fail(err, DW_E_STATE, "only possible in '%s'",
                         phase == GIVING ? DW_ACTOR_STATE_EXPORT : DW_ACTOR_UPGRADE_EXPORT);
}

dw_status dw_actor_give_state(dw_actor *actor, const void *bytes, size_t count, dw_error *err)
{
    dw_status status = check_phase(actor, GIVING, err);
    if (status != DW_OK) {
        return status;
    }
    struct dw_upgrade *upgrade = actor->upgrade;
    uint64_t limit = dw_instance_limits(actor->instance)->upgrade_bytes;
    if (count > limit || upgrade->count > limit - count) {
        return dw_fail(err, DW_E_LIMIT,
                       "state: %zu bytes behind %zu, limit %" PRIu64 " (upgrade_bytes)", count,
                       upgrade->count, limit);
    }
    if (!DW_ARRAY_RESERVE(upgrade->bytes, upgrade->capacity, upgrade->count + count, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "state: no memory for %zu bytes", upgrade->count + count);
    }
    if (count > 0) {
        memcpy(upgrade->bytes + upgrade->count, bytes, count);
    }
    upgrade->count += count;
    return DW_OK;
}

static dw_status check_declared(const dw_actor *actor, dw_error *err)
{
    dw_status status = check_phase(actor, TAKING, err);
    return status != DW_OK || actor->upgrade->declared
               ? status
               : dw_fail(err, DW_E_NOT_FOUND,
                         "state: the module before exports no '" DW_ACTOR_STATE_EXPORT "'");
}

int64_t dw_actor_state_bytes(const dw_actor *actor, dw_error *err)
{
    dw_status status = check_declared(actor, err);
    return status == DW_OK ? (int64_t)actor->upgrade->count : status;
}

int64_t dw_actor_take_state(dw_actor *actor, void *buffer, size_t capacity, dw_error *err)
{
    dw_status status = check_declared(actor, err);
    if (status != DW_OK) {
        return status;
    }
    struct dw_upgrade *upgrade = actor->upgrade;
    size_t left = upgrade->count - upgrade->taken;
    size_t count = left < capacity ? left : capacity;
    if (count > 0) {
        memcpy(buffer, upgrade->bytes + upgrade->taken, count);
    }
    upgrade->taken += count;
    return (int64_t)count;
}

dw_status dw_actor_keep_handle(dw_actor *actor, int32_t handle, dw_error *err)
{
    dw_status status = check_phase(actor, TAKING, err);
    if (status != DW_OK) {
        return status;
    }
    struct dw_upgrade *upgrade = actor->upgrade;
    const dw_handle_table *table = dw_instance_handles(actor->instance);
    for (size_t slot = 0; slot < upgrade->slot_count && handle > 0; slot++) {
        if (upgrade->unkept[slot] != 0 && table->slots[slot].object != NULL &&
            dw_handle_number(slot, upgrade->unkept[slot]) == handle) {
            upgrade->unkept[slot] = 0;
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_HANDLE,
                   "%d is no model, context or sampler of the module before that waits to be kept",
                   handle);
}

/* ---- calls --------------------------------------------------------------------------------- */

/* Call an export of the two; the guest refuses with a negative result. */
static dw_status call(dw_actor *actor, const char *name, dw_error *err)
{
    dw_error local = {.message = ""};
    int32_t result = 0;
    int exit_code = 0;
    dw_status status = dw_instance_call_export(actor->instance, name, &result, &exit_code, &local);
    status = dw_actor_call_ended(actor, status, exit_code, &local);
    if (status != DW_OK) {
        return dw_fail(err, status, "upgrade: %s: %s", name, local.message);
    }
    if (result < 0) {
        char who[64];
        (void)snprintf(who, sizeof who, "upgrade: %s", name);
        return dw_actor_fail_with(actor, who, result, err);
    }
    return DW_OK;
}

/* The old module hands over, in a fork of the actor. */
static dw_status give(dw_actor *copy, struct dw_upgrade *upgrade, dw_error *err)
{
    upgrade->declared = dw_module_exports(copy->module, DW_ACTOR_STATE_EXPORT);
    if (!upgrade->declared) {
        return DW_OK;
    }
    copy->upgrade = upgrade;
    dw_status status = call(copy, DW_ACTOR_STATE_EXPORT, err);
    copy->upgrade = NULL;
    return status;
}

/* Copies of the old module's objects wait in the new one's handles. Tensor graphs stand over the
 * old memory: they stay behind. */
static dw_status offer_handles(dw_actor *made, const dw_actor *copy, struct dw_upgrade *upgrade,
                               dw_error *err)
{
    dw_status status = dw_instance_fork_handles(made->instance, copy->instance, false, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "upgrade");
    }
    const dw_handle_table *table = dw_instance_handles(made->instance);
    upgrade->unkept = dw_alloc(table->capacity + 1, sizeof *upgrade->unkept);
    if (upgrade->unkept == NULL) {
        return dw_fail(err, DW_E_MEMORY, "upgrade: no memory for a list of handles");
    }
    upgrade->slot_count = table->capacity;
    for (size_t slot = 0; slot < table->capacity; slot++) {
        upgrade->unkept[slot] =
            table->slots[slot].object != NULL ? table->slots[slot].generation : 0;
    }
    return DW_OK;
}

static void close_unkept(dw_actor *made, const struct dw_upgrade *upgrade)
{
    for (size_t slot = 0; slot < upgrade->slot_count; slot++) {
        const dw_handle_slot *at = &dw_instance_handles(made->instance)->slots[slot];
        if (at->object != NULL && at->generation == upgrade->unkept[slot]) {
            (void)dw_instance_close_handle(made->instance, (dw_handle_kind)at->kind,
                                           dw_handle_number(slot, at->generation));
        }
    }
}

static dw_status take(dw_actor *made, const dw_actor *copy, struct dw_upgrade *upgrade,
                      dw_error *err)
{
    dw_status status = offer_handles(made, copy, upgrade, err);
    if (status == DW_OK) {
        status = dw_instance_initialize(made->instance, err);
        status = status == DW_OK ? status : dw_fail_within(err, status, "upgrade: _initialize");
    }
    if (status == DW_OK) {
        upgrade->phase = TAKING;
        made->upgrade = upgrade;
        status = call(made, DW_ACTOR_UPGRADE_EXPORT, err);
        made->upgrade = NULL;
    }
    if (status == DW_OK) { /* what it printed is no answer */
        status = dw_instance_flush(made->instance, err);
    }
    if (status == DW_OK) {
        close_unkept(made, upgrade);
    }
    return status;
}

/* ---- what the host keeps for it ------------------------------------------------------------ */

static dw_status copy_mailbox(dw_mailbox *to, const dw_mailbox *from, dw_error *err)
{
    for (const dw_message *message = from->first; message != NULL; message = message->next) {
        dw_message *copy = NULL;
        dw_status status =
            dw_message_create(&copy, message->actor, message->content, message->bytes, err);
        if (status != DW_OK) {
            return status;
        }
        memcpy(copy->guest, message->guest, sizeof copy->guest);
        copy->kind = message->kind;
        copy->number = message->number;
        copy->cause = message->cause;
        copy->caused = message->caused;
        copy->at_ms = message->at_ms;
        copy->ticket = message->ticket;
        copy->events = message->events;
        copy->last = message->last;
        dw_mailbox_put(to, copy);
    }
    return DW_OK;
}

static dw_status copy_mail(dw_actor *made, const dw_actor *actor, dw_error *err)
{
    dw_account *account = dw_instance_account(made->instance);
    dw_account_forget(account);
    dw_account_scope before = dw_account_enter(account, DW_PART_MAIL);
    dw_status status = copy_mailbox(&made->mailbox, &actor->mailbox, err);
    if (status == DW_OK) {
        status = copy_mailbox(&made->timers, &actor->timers, err);
    }
    if (status == DW_OK) {
        status = copy_mailbox(&made->effects, &actor->effects, err);
    }
    if (status == DW_OK) {
        status = copy_mailbox(&made->tickets, &actor->tickets, err);
    }
    dw_account_leave(before);
    made->effect_number = actor->effect_number;
    made->received = actor->received;
    return dw_account_explain(account, status, err);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static dw_status check(const dw_actor *actor, const dw_module *module, dw_error *err)
{
    dw_status status = dw_actor_check_rests(actor, err);
    if (status == DW_OK) {
        status = dw_actor_settings_check(actor->settings, err);
    }
    if (status == DW_OK && dw_module_host(module) != dw_instance_host(actor->instance)) {
        status = dw_fail(err, DW_E_ARG, "upgrade: the module is another engine's");
    }
    if (status == DW_OK) {
        status = dw_module_check_actor(module, err);
    }
    if (status == DW_OK && !dw_module_exports(module, DW_ACTOR_UPGRADE_EXPORT)) {
        status = dw_fail(err, DW_E_UNSUPPORTED,
                         "upgrade: the module exports no function '" DW_ACTOR_UPGRADE_EXPORT "'");
    }
    if (status == DW_OK) {
        status = dw_module_check_callable(module, DW_ACTOR_UPGRADE_EXPORT, err);
    }
    return status;
}

dw_status dw_actor_upgrade(dw_actor **out, dw_actor *actor, dw_module *module, dw_error *err)
{
    struct dw_upgrade upgrade = {.phase = GIVING};
    dw_actor *copy = NULL;
    dw_actor *made = NULL;
    *out = NULL;
    dw_status status = check(actor, module, err);
    if (status == DW_OK) {
        status = dw_actor_fork(&copy, actor, actor->id, err);
    }
    if (status == DW_OK) {
        status = give(copy, &upgrade, err);
    }
    if (status == DW_OK) {
        status = dw_actor_create_bare(&made, module, actor->settings, actor->id, err);
    }
    if (status == DW_OK) { /* where the handing over has left them */
        dw_instance_set_repeatable(made->instance, dw_instance_repeatable(copy->instance));
        status = take(made, copy, &upgrade, err);
    }
    if (status == DW_OK) {
        status = dw_instance_reset_files(made->instance, &made->settings->instance, err);
    }
    if (status == DW_OK) {
        status = copy_mail(made, actor, err);
    }
    dw_free(upgrade.bytes);
    dw_free(upgrade.unkept);
    dw_actor_destroy(copy);
    if (status != DW_OK) {
        dw_actor_destroy(made);
        return status;
    }
    made->guard = actor->guard;
    made->guard_user = actor->guard_user;
    *out = made;
    return DW_OK;
}
