/* What actors have asked for: looked at, by what the message under way has asked for, or by what is
 * to be carried out. */
#include <string.h>

#include "actor/actor_state.h"
#include "base/alloc.h"
#include "base/public_struct.h"

size_t dw_actor_asked_to_make(const dw_actor *actor)
{
    size_t count = 0;
    for (const dw_message *message = actor->new_effects.first; message != NULL;
         message = message->next) {
        count += message->kind == DW_EFFECT_SPAWN || message->kind == DW_EFFECT_FORK;
    }
    return count;
}

size_t dw_actor_asked_to_watch(const dw_actor *actor)
{
    size_t count = 0;
    for (const dw_message *message = actor->new_effects.first; message != NULL;
         message = message->next) {
        count += message->kind == DW_EFFECT_WATCH;
    }
    return count;
}

bool dw_actor_asked_for(const dw_actor *actor, const char *id)
{
    const dw_message *message = actor->new_effects.first;
    while (message != NULL &&
           ((message->kind != DW_EFFECT_SPAWN && message->kind != DW_EFFECT_FORK) ||
            strcmp(message->actor, id) != 0)) {
        message = message->next;
    }
    return message != NULL;
}

void dw_actor_effect_cause(const dw_actor *actor, uint64_t number, uint64_t *cause,
                           uint64_t *caused)
{
    *cause = 0;
    *caused = 0;
    for (const dw_message *message = actor->effects.first; message != NULL;
         message = message->next) {
        if (message->number == number) {
            *cause = message->cause;
            *caused = message->caused;
            return;
        }
    }
}

size_t dw_actor_effect_count(const dw_actor *actor)
{
    return actor->effects.count;
}

dw_status dw_actor_effect_at(const dw_actor *actor, size_t index, dw_actor_effect *effect,
                             dw_error *err)
{
    dw_status status = dw_struct_check(effect, "dw_actor_effect", err);
    if (status != DW_OK) {
        return status;
    }
    if (index >= actor->effects.count) {
        return dw_fail(err, DW_E_RANGE, "effect %zu: there are %zu", index, actor->effects.count);
    }
    const dw_message *message = actor->effects.first;
    for (size_t i = 0; i < index; i++) {
        message = message->next;
    }
    const dw_actor_effect found = {.kind = (dw_effect_kind)message->kind,
                                   .number = message->number,
                                   .actor = message->actor,
                                   .guest = message->guest,
                                   .message = message->content,
                                   .message_bytes = message->bytes,
                                   .ticket = message->ticket,
                                   .last = message->last,
                                   .events = message->events};
    dw_struct_write(effect, &found, sizeof found);
    return DW_OK;
}

void dw_actor_drop_effects(dw_actor *actor, size_t count)
{
    for (size_t i = 0; i < count && actor->effects.count > 0; i++) {
        dw_free(dw_mailbox_take(&actor->effects));
    }
}
