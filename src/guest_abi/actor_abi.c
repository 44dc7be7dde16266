/* What actors ask for beside the answer to a message: other actors, forks, timers. Effects are only
 * noted here; the host carries them out when the message has ended well. */
#include <stdio.h>
#include <string.h>

#include "actor/actor.h"
#include "base/alloc.h"
#include "base/utf8.h"
#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_strings.h"
#include "wasm/repeatable.h"

/* The actor that calls; NULL with dw_instance_error filled: the guest is none. */
static dw_actor *actor_of(dw_instance *instance)
{
    dw_actor *actor = dw_instance_actor(instance);
    if (actor == NULL) {
        (void)dw_fail(dw_instance_error(instance), DW_E_STATE,
                      "this guest is no actor, or not yet");
    }
    return actor;
}

static int32_t give_id(dw_instance *instance, const char *id, uint32_t pointer, uint32_t capacity)
{
    dw_error *err = dw_instance_error(instance);
    size_t length = strlen(id);
    void *buffer;
    dw_status status = dw_instance_range(instance, "id", pointer, capacity, 1, 1, &buffer, err);
    if (status != DW_OK) {
        return status;
    }
    if (capacity <= length) {
        return dw_fail(err, DW_E_SPACE, "id: %u bytes, %zu are needed", capacity, length + 1);
    }
    memcpy(buffer, id, length + 1);
    return (int32_t)length;
}

/* buffer, capacity */
static int32_t actor_id(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    return give_id(instance, dw_actor_id(actor), dw__u32(&args[0]), dw__u32(&args[1]));
}
DW__GUEST_CALL(i32, actor_id)

/* buffer, capacity */
static int32_t message_from(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    return give_id(instance, dw_actor_sender(actor), dw__u32(&args[0]), dw__u32(&args[1]));
}
DW__GUEST_CALL(i32, message_from)

static int32_t message_kind(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    (void)args;
    return actor != NULL ? dw_actor_message_kind(actor) : dw_instance_error(instance)->code;
}
DW__GUEST_CALL(i32, message_kind)

/* bytes, count */
static int32_t reply(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_error *err = dw_instance_error(instance);
    void *bytes;
    dw_status status = dw_instance_range(instance, "reply", dw__u32(&args[0]), dw__u32(&args[1]), 1,
                                         1, &bytes, err);
    return status == DW_OK ? dw_actor_reply(actor, bytes, dw__u32(&args[1]), err) : status;
}
DW__GUEST_CALL(i32, reply)

/* -> i64 */
static int64_t reply_later(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    uint64_t ticket = 0;
    (void)args;
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_account_scope before = dw__taking_begin(instance, DW_PART_MAIL);
    dw_status status = dw_actor_take_ticket(actor, &ticket, dw_instance_error(instance));
    status = dw__taking_end(instance, before, status);
    return status == DW_OK ? (int64_t)ticket : status;
}
DW__GUEST_CALL(i64, reply_later)

/* ticket (i64), bytes, count, flags */
static int32_t reply_to(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_error *err = dw_instance_error(instance);
    void *bytes;
    if ((dw__u32(&args[3]) & ~(uint32_t)DW_REPLY_LAST) != 0) {
        return dw_fail(err, DW_E_ARG, "flags: 0x%x, only 1 is known", dw__u32(&args[3]));
    }
    dw_status status = dw_instance_range(instance, "reply", dw__u32(&args[1]), dw__u32(&args[2]), 1,
                                         1, &bytes, err);
    return status == DW_OK ? dw_actor_answer(actor, (uint64_t)args[0].i64, bytes, dw__u32(&args[2]),
                                             (dw__u32(&args[3]) & DW_REPLY_LAST) != 0, err)
                           : status;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, reply_to)

/* A message whose content lies at [pointer, pointer + bytes). */
static dw_status message_of(dw_instance *instance, const char *actor, uint32_t pointer,
                            uint32_t bytes, dw_message **message)
{
    dw_error *err = dw_instance_error(instance);
    void *content;
    *message = NULL;
    dw_status status = dw_instance_range(instance, "message", pointer, bytes, 1, 1, &content, err);
    return status == DW_OK ? dw_message_create(message, actor, content, bytes, err) : status;
}

/* Text of a guest's, which stands where names of guests do in messages. Names stand in snapshots,
 * whose texts are JSON's. */
static dw_status give_name(dw_instance *instance, dw_message *message, const char *text,
                           uint32_t bytes)
{
    if (bytes > DW_GUEST_NAME_MAX || memchr(text, '\0', bytes) != NULL ||
        !dw_text_is_utf8(text, bytes)) {
        return dw_fail(dw_instance_error(instance), DW_E_ARG,
                       "name: %u bytes that are no name of at most %d", bytes, DW_NAME_MAX);
    }
    memcpy(message->guest, text, bytes);
    message->guest[bytes] = '\0';
    return DW_OK;
}

/* A message whose content lies at [pointer, pointer + bytes) to the actor that [id, id + id_bytes)
 * names. */
static dw_status message_to(dw_instance *instance, const wasmtime_val_raw_t *id_args,
                            uint32_t pointer, uint32_t bytes, dw_message **message)
{
    dw_error *err = dw_instance_error(instance);
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    uint32_t id_bytes = dw__u32(&id_args[1]);
    void *given;
    dw_status status =
        dw_instance_range(instance, "id", dw__u32(&id_args[0]), id_bytes, 1, 1, &given, err);
    if (status != DW_OK) {
        return status;
    }
    const char *text = given;
    const bool named = id_bytes > 0 && (text[0] == '@' || text[0] == '#');
    if (id_bytes == DW_ACTOR_ID_CHARS && !named) {
        memcpy(id, given, DW_ACTOR_ID_CHARS);
    }
    if (!named && !dw_actor_id_good(id)) {
        return dw_fail(err, DW_E_ARG, "id: %u bytes that are no actor's id, which has %d digits",
                       id_bytes, DW_ACTOR_ID_CHARS);
    }
    status = message_of(instance, id, pointer, bytes, message);
    if (status == DW_OK && named) {
        status = give_name(instance, *message, text, id_bytes);
        if (status != DW_OK) {
            dw_free(*message);
        }
    }
    return status;
}

/* id, id_bytes, message, bytes */
static int32_t actor_send(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    dw_message *message;
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_status status = message_to(instance, args, dw__u32(&args[2]), dw__u32(&args[3]), &message);
    return status == DW_OK
               ? dw_actor_add_effect(actor, DW_EFFECT_SEND, message, dw_instance_error(instance))
               : status;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, actor_send)

static int32_t change_watch(dw_instance *instance, const wasmtime_val_raw_t *args,
                            dw_effect_kind kind, uint32_t events)
{
    dw_error *err = dw_instance_error(instance);
    dw_actor *actor = actor_of(instance);
    dw_message *message;
    if (actor == NULL) {
        return err->code;
    }
    dw_status status = message_to(instance, args, 0, 0, &message);
    if (status != DW_OK) {
        return status;
    }
    if (message->guest[0] == '#') {
        status = dw_fail(err, DW_E_ARG, "id: '%.80s' is a group; its members are watched by theirs",
                         message->guest);
        dw_free(message);
        return status;
    }
    message->events = events;
    return dw_actor_add_effect(actor, kind, message, err);
}

/* id, id_bytes, events */
static int32_t actor_watch(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const uint32_t known = DW_WATCH_ON_FAILURE | DW_WATCH_ON_ASIDE;
    uint32_t events = dw__u32(&args[2]);
    if ((events & ~known) != 0) {
        return dw_fail(dw_instance_error(instance), DW_E_ARG,
                       "events: 0x%x, only those of 0x%x are known", events, known);
    }
    return change_watch(instance, args, DW_EFFECT_WATCH, events);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, actor_watch)

/* id, id_bytes */
static int32_t actor_unwatch(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return change_watch(instance, args, DW_EFFECT_UNWATCH, 0);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, actor_unwatch)

/* name, bytes */
static int32_t change_group(dw_instance *instance, const wasmtime_val_raw_t *args,
                            dw_effect_kind kind)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_error *err = dw_instance_error(instance);
    uint32_t bytes = dw__u32(&args[1]);
    void *name = NULL;
    dw_message *message = NULL;
    dw_status status =
        dw_instance_range(instance, "group", dw__u32(&args[0]), bytes, 1, 1, &name, err);
    if (status == DW_OK && bytes == 0) {
        status = dw_fail(err, DW_E_ARG, "group: a name of 0 bytes");
    }
    if (status == DW_OK) {
        status = message_of(instance, NULL, 0, 0, &message);
    }
    if (status != DW_OK) {
        return status;
    }
    status = give_name(instance, message, name, bytes);
    if (status != DW_OK) {
        dw_free(message);
        return status;
    }
    return dw_actor_add_effect(actor, kind, message, err);
}

static int32_t group_join(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return change_group(instance, args, DW_EFFECT_JOIN);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, group_join)

static int32_t group_leave(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return change_group(instance, args, DW_EFFECT_LEAVE);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, group_leave)

/* A new actor's first message as an effect; its id to the guest. */
static int32_t make_actor(dw_instance *instance, dw_actor *actor, dw_effect_kind kind,
                          dw_message *message, uint32_t id_pointer, uint32_t id_capacity)
{
    dw_actor_draw_id(actor, message->actor);
    int32_t given = give_id(instance, message->actor, id_pointer, id_capacity);
    if (given < 0) {
        dw_free(message);
        return given;
    }
    return dw_actor_add_effect(actor, kind, message, dw_instance_error(instance));
}

/* name, name_bytes, message, bytes, id, id_capacity */
static int32_t actor_spawn(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_error *err = dw_instance_error(instance);
    uint32_t name_bytes = dw__u32(&args[1]);
    void *name;
    dw_message *message;
    if (name_bytes > DW_GUEST_NAME_MAX) {
        return dw_fail(err, DW_E_LIMIT, "name: %u bytes, limit %d", name_bytes, DW_GUEST_NAME_MAX);
    }
    dw_status status =
        dw_instance_range(instance, "name", dw__u32(&args[0]), name_bytes, 1, 1, &name, err);
    if (status == DW_OK && name_bytes > 0 && !dw_text_is_utf8(name, name_bytes)) {
        status = dw_fail(err, DW_E_ARG, "name: %u bytes that are no UTF-8", name_bytes);
    }
    if (status == DW_OK) {
        status = message_of(instance, NULL, dw__u32(&args[2]), dw__u32(&args[3]), &message);
    }
    if (status != DW_OK) {
        return status;
    }
    if (name_bytes > 0) {
        memcpy(message->guest, name, name_bytes);
    }
    return make_actor(instance, actor, DW_EFFECT_SPAWN, message, dw__u32(&args[4]),
                      dw__u32(&args[5]));
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, actor_spawn)

/* message, bytes, id, id_capacity */
static int32_t actor_fork(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_message *message;
    dw_status status = message_of(instance, NULL, dw__u32(&args[0]), dw__u32(&args[1]), &message);
    return status == DW_OK ? make_actor(instance, actor, DW_EFFECT_FORK, message, dw__u32(&args[2]),
                                        dw__u32(&args[3]))
                           : status;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, actor_fork)

/* wait_ms (i64), message, bytes */
static int32_t actor_timer(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_error *err = dw_instance_error(instance);
    uint64_t wait_ms = (uint64_t)args[0].i64;
    dw_message *message;
    uint64_t longest_ms = dw_instance_limits(instance)->timer_ms;
    if (wait_ms > longest_ms) {
        return dw_fail(err, DW_E_RANGE, "wait_ms: %llu, at most %llu are allowed (timer_ms)",
                       (unsigned long long)wait_ms, (unsigned long long)longest_ms);
    }
    dw_status status =
        message_of(instance, dw_actor_id(actor), dw__u32(&args[1]), dw__u32(&args[2]), &message);
    if (status != DW_OK) {
        return status;
    }
    return dw_actor_add_timer(actor, message, wait_ms, err);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, actor_timer)

static int32_t actor_stop(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_actor *actor = actor_of(instance);
    if (actor == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_message *message;
    (void)args;
    dw_status status = message_of(instance, NULL, 0, 0, &message);
    return status == DW_OK
               ? dw_actor_add_effect(actor, DW_EFFECT_STOP, message, dw_instance_error(instance))
               : status;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_MAIL, actor_stop)

const dw_host_import dw_actor_imports[] = {
    {"actor_id", "ii:i", call_actor_id},           {"message_from", "ii:i", call_message_from},
    {"message_kind", ":i", call_message_kind},     {"reply", "ii:i", call_reply},
    {"reply_later", ":I", call_reply_later},       {"reply_to", "Iiii:i", call_reply_to},
    {"actor_send", "iiii:i", call_actor_send},     {"actor_watch", "iii:i", call_actor_watch},
    {"actor_unwatch", "ii:i", call_actor_unwatch}, {"actor_spawn", "iiiiii:i", call_actor_spawn},
    {"actor_fork", "iiii:i", call_actor_fork},     {"actor_timer", "Iii:i", call_actor_timer},
    {"actor_stop", ":i", call_actor_stop},         {"group_join", "ii:i", call_group_join},
    {"group_leave", "ii:i", call_group_leave},     {NULL, NULL, NULL},
};
