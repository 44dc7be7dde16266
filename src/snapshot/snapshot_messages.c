/* Messages, timers and effects in snapshots: lists that describe them, one tensor of all bytes. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "snapshot/snapshot_parts_internal.h"

/* ---- saving ------------------------------------------------------------------------------- */

bool dw__messages_describe(const dw_mailbox *mailbox, json_t *to)
{
    for (const dw_message *message = mailbox->first; message != NULL; message = message->next) {
        json_t *entry =
            json_pack("{s:s, s:s%, s:i, s:I, s:I}", "actor", message->actor, "guest",
                      message->guest, strlen(message->guest), "kind", (int)message->kind, "number",
                      (json_int_t)message->number, "bytes", (json_int_t)message->bytes);
        if (!dw__json_append(to, entry)) {
            return false;
        }
        if (message->cause != 0 &&
            (!dw__json_put(entry, "cause", dw__json_number(message->cause)) ||
             !dw__json_put(entry, "caused", dw__json_number(message->caused)))) {
            return false;
        }
        if (message->at_ms != 0 && !dw__json_put(entry, "at", dw__json_number(message->at_ms))) {
            return false;
        }
        if (message->events != 0 &&
            !dw__json_put(entry, "events", dw__json_number(message->events))) {
            return false;
        }
        if (message->ticket != 0 &&
            (!dw__json_put(entry, "ticket", dw__json_number(message->ticket)) ||
             !dw__json_put(entry, "last", json_boolean(message->last)))) {
            return false;
        }
    }
    return true;
}

/* The messages' bytes, one behind the other, in the order of their lists. */
dw_status dw__messages_save(dw__freeze *f, dw_error *err)
{
    const dw_mailbox *lists[] = {&f->actor->mailbox, &f->actor->timers, &f->actor->effects,
                                 &f->actor->tickets};
    dw_snapshot_tensor tensor = {.name = DW__TENSOR_MESSAGES, .dtype = "U8", .dimension_count = 1};
    size_t at = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const dw_message *message = lists[i]->first; message != NULL;
             message = message->next) {
            f->message_bytes += message->bytes;
        }
    }
    if (f->message_bytes == 0) {
        return DW_OK;
    }
    f->messages = dw_alloc(f->message_bytes, 1);
    if (f->messages == NULL) {
        return dw__freeze_no_memory(err);
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const dw_message *message = lists[i]->first; message != NULL;
             message = message->next) {
            if (message->bytes > 0) {
                memcpy(f->messages + at, message->content, message->bytes);
            }
            at += message->bytes;
        }
    }
    tensor.shape[0] = f->message_bytes;
    tensor.bytes = f->messages;
    return dw__freeze_tensor(f, &tensor, err);
}

/* ---- loading ------------------------------------------------------------------------------ */

/* A cursor over the messages' bytes. */
typedef struct messages {
    const unsigned char *bytes; /* [count] */
    size_t count;
    size_t used;
} messages;

/* No bytes at all are no memory, in which there is no place either. */
static const unsigned char *next_bytes(const messages *from)
{
    return from->bytes != NULL ? from->bytes + from->used : NULL;
}

/* What it came of; earlier programs did not say. */
static dw_status read_cause(const json_t *entry, uint64_t *cause, uint64_t *caused, dw_error *err)
{
    *cause = 0;
    *caused = 0;
    if (json_object_get(entry, "cause") == NULL) {
        return DW_OK;
    }
    dw_status status = dw__json_whole(entry, "messages", "cause", INT64_MAX, cause, err);
    return status == DW_OK ? dw__json_whole(entry, "messages", "caused", INT64_MAX, caused, err)
                           : status;
}

/* When it was accepted; earlier programs did not say. */
static dw_status read_time(const json_t *entry, dw_message *message, dw_error *err)
{
    return json_object_get(entry, "at") != NULL
               ? dw__json_whole(entry, "messages", "at", DW_ACTOR_AT_MS_MAX, &message->at_ms, err)
               : DW_OK;
}

/* Of answers that come later; others have none. */
static dw_status read_ticket(const json_t *entry, dw_message *message, dw_error *err)
{
    const bool needed = message->kind == DW_EFFECT_LATER || message->kind == DW_EFFECT_ANSWER;
    if (json_object_get(entry, "ticket") == NULL && !needed) {
        return DW_OK;
    }
    dw_status status =
        dw__json_whole(entry, "messages", "ticket", DW_ACTOR_COUNTER_MAX, &message->ticket, err);
    message->last = json_is_true(json_object_get(entry, "last"));
    return status;
}

/* Of one that is to be watched. */
static dw_status read_events(const json_t *entry, dw_message *message, dw_error *err)
{
    uint64_t events = 0;
    if (json_object_get(entry, "events") == NULL) {
        return DW_OK;
    }
    dw_status status = dw__json_whole(entry, "messages", "events", UINT32_MAX, &events, err);
    message->events = (uint32_t)events;
    return status;
}

static dw_status read_message(const json_t *entry, messages *from, size_t bytes_max,
                              dw_message **message, dw_error *err)
{
    const char *actor;
    const char *guest;
    uint64_t kind;
    uint64_t number;
    uint64_t bytes;
    uint64_t cause;
    uint64_t caused;
    dw_status status = dw__json_text(entry, "messages", "actor", &actor, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_text(entry, "messages", "guest", &guest, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_whole(entry, "messages", "kind", DW_EFFECT_UNWATCH, &kind, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_whole(entry, "messages", "number", DW_ACTOR_COUNTER_MAX, &number, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_whole(entry, "messages", "bytes", bytes_max, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    if (bytes > from->count - from->used || (actor[0] != '\0' && !dw_actor_id_good(actor)) ||
        strlen(guest) > DW_GUEST_NAME_MAX) {
        return dw_fail(err, DW_E_FORMAT, "messages: more bytes than there are, or no actor's id");
    }
    status = read_cause(entry, &cause, &caused, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_message_create(message, actor, next_bytes(from), (size_t)bytes, err);
    if (status != DW_OK) {
        return status;
    }
    (*message)->cause = cause;
    (*message)->caused = caused;
    (void)snprintf((*message)->guest, sizeof(*message)->guest, "%s", guest);
    (*message)->kind = (int32_t)kind;
    (*message)->number = number;
    from->used += (size_t)bytes;
    status = read_ticket(entry, *message, err);
    if (status == DW_OK) {
        status = read_time(entry, *message, err);
    }
    if (status == DW_OK) {
        status = read_events(entry, *message, err);
    }
    if (status != DW_OK) {
        dw_free(*message);
    }
    return status;
}

static dw_status read_list(const dw__thaw *t, const char *key, messages *from, dw_mailbox *to,
                           dw_error *err)
{
    const json_t *list;
    if (json_object_get(t->about, key) == NULL && strcmp(key, "tickets") == 0) {
        return DW_OK; /* earlier programs knew none */
    }
    dw_status status = dw__json_array(t->about, "actor", key, 1000000, &list, err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        dw_message *message;
        status = read_message(json_array_get(list, i), from, t->settings->options.message_bytes_max,
                              &message, err);
        if (status == DW_OK) {
            dw_mailbox_put(to, message);
        }
    }
    return status;
}

/* The bytes of all messages, the caller's to free; NULL and 0: there are none. */
static dw_status read_bytes(const dw__thaw *t, unsigned char **bytes, size_t *count, dw_error *err)
{
    const dw_snapshot_file *file = dw__thaw_last_file(t);
    const dw_snapshot_entry *tensor;
    *bytes = NULL;
    *count = 0;
    dw_status status = dw__thaw_find_tensor(file, DW__TENSOR_MESSAGES, "U8", 1, &tensor, err);
    if (status != DW_OK || tensor == NULL) {
        return status;
    }
    *count = (size_t)tensor->bytes;
    *bytes = tensor->bytes <= SIZE_MAX / 2 ? dw_alloc((size_t)tensor->bytes + 1, 1) : NULL;
    return *bytes != NULL
               ? dw_snapshot_file_read(file, tensor, 0, *count, *bytes, err)
               : dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of messages", *count);
}

dw_status dw__messages_load(const dw__thaw *t, dw_error *err)
{
    dw_actor *actor = t->actor;
    messages from = {.count = 0};
    unsigned char *bytes = NULL;
    dw_status status = read_bytes(t, &bytes, &from.count, err);
    if (status != DW_OK) {
        goto out;
    }
    from.bytes = bytes;
    status = read_list(t, "mailbox", &from, &actor->mailbox, err);
    if (status != DW_OK) {
        goto out;
    }
    status = read_list(t, "timers", &from, &actor->timers, err);
    if (status != DW_OK) {
        goto out;
    }
    status = read_list(t, "effects", &from, &actor->effects, err);
    if (status != DW_OK) {
        goto out;
    }
    status = read_list(t, "tickets", &from, &actor->tickets, err);
    if (status != DW_OK) {
        goto out;
    }
    status = dw__json_whole(t->about, "actor", "effect_number", DW_ACTOR_COUNTER_MAX,
                            &actor->effect_number, err);
    if (status != DW_OK) {
        goto out;
    }
    status =
        dw__json_whole(t->about, "actor", "received", DW_ACTOR_COUNTER_MAX, &actor->received, err);
out:
    dw_free(bytes);
    return status;
}
