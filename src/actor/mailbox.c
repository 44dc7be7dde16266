#include "actor/mailbox.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

bool dw_actor_id_good(const char *id)
{
    return strspn(id, "0123456789abcdef") == DW_ACTOR_ID_CHARS && id[DW_ACTOR_ID_CHARS] == '\0';
}

void dw_actor_id_write(char text[DW_ACTOR_ID_CHARS + 1], uint64_t id)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < DW_ACTOR_ID_CHARS; i++) {
        text[i] = digits[(id >> (60 - 4 * i)) & 15];
    }
    text[DW_ACTOR_ID_CHARS] = '\0';
}

dw_status dw_message_create(dw_message **out, const char *actor, const void *content, size_t bytes,
                            dw_error *err)
{
    dw_message *message = bytes <= SIZE_MAX / 2 ? dw_alloc(1, sizeof *message + bytes) : NULL;
    *out = message;
    if (message == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a message of %zu bytes", bytes);
    }
    (void)snprintf(message->actor, sizeof message->actor, "%s", actor != NULL ? actor : "");
    message->bytes = bytes;
    if (bytes > 0) {
        memcpy(message->content, content, bytes);
    }
    return DW_OK;
}

void dw_mailbox_put(dw_mailbox *mailbox, dw_message *message)
{
    message->next = NULL;
    if (mailbox->last != NULL) {
        mailbox->last->next = message;
    } else {
        mailbox->first = message;
    }
    mailbox->last = message;
    mailbox->count++;
}

void dw_mailbox_put_first(dw_mailbox *mailbox, dw_message *message)
{
    message->next = mailbox->first;
    mailbox->first = message;
    mailbox->last = mailbox->last != NULL ? mailbox->last : message;
    mailbox->count++;
}

void dw_mailbox_put_sorted(dw_mailbox *mailbox, dw_message *message)
{
    dw_message **link = &mailbox->first;
    while (*link != NULL && (*link)->number <= message->number) {
        link = &(*link)->next;
    }
    message->next = *link;
    *link = message;
    if (message->next == NULL) {
        mailbox->last = message;
    }
    mailbox->count++;
}

dw_message *dw_mailbox_take(dw_mailbox *mailbox)
{
    dw_message *message = mailbox->first;
    if (message == NULL) {
        return NULL;
    }
    mailbox->first = message->next;
    if (mailbox->first == NULL) {
        mailbox->last = NULL;
    }
    mailbox->count--;
    message->next = NULL;
    return message;
}

void dw_mailbox_release(dw_mailbox *mailbox)
{
    for (dw_message *message = dw_mailbox_take(mailbox); message != NULL;
         message = dw_mailbox_take(mailbox)) {
        dw_free(message);
    }
}
