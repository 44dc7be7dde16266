#include "actor/mailbox.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

bool dw_actor_id_good(const char *id)
{
    return strspn(id, "0123456789abcdef") == DW_ACTOR_ID_CHARS && id[DW_ACTOR_ID_CHARS] == '\0';
}

dw_status dw_letter_create(dw_letter **out, const char *actor, const void *message, size_t bytes,
                           dw_error *err)
{
    dw_letter *letter = bytes <= SIZE_MAX / 2 ? dw_alloc(1, sizeof *letter + bytes) : NULL;
    *out = letter;
    if (letter == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a message of %zu bytes", bytes);
    }
    (void)snprintf(letter->actor, sizeof letter->actor, "%s", actor != NULL ? actor : "");
    letter->bytes = bytes;
    if (bytes > 0) {
        memcpy(letter->message, message, bytes);
    }
    return DW_OK;
}

void dw_mailbox_put(dw_mailbox *mailbox, dw_letter *letter)
{
    letter->next = NULL;
    if (mailbox->last != NULL) {
        mailbox->last->next = letter;
    } else {
        mailbox->first = letter;
    }
    mailbox->last = letter;
    mailbox->count++;
}

void dw_mailbox_put_first(dw_mailbox *mailbox, dw_letter *letter)
{
    letter->next = mailbox->first;
    mailbox->first = letter;
    mailbox->last = mailbox->last != NULL ? mailbox->last : letter;
    mailbox->count++;
}

void dw_mailbox_put_sorted(dw_mailbox *mailbox, dw_letter *letter)
{
    dw_letter **link = &mailbox->first;
    while (*link != NULL && (*link)->number <= letter->number) {
        link = &(*link)->next;
    }
    letter->next = *link;
    *link = letter;
    if (letter->next == NULL) {
        mailbox->last = letter;
    }
    mailbox->count++;
}

dw_letter *dw_mailbox_take(dw_mailbox *mailbox)
{
    dw_letter *letter = mailbox->first;
    if (letter == NULL) {
        return NULL;
    }
    mailbox->first = letter->next;
    if (mailbox->first == NULL) {
        mailbox->last = NULL;
    }
    mailbox->count--;
    letter->next = NULL;
    return letter;
}

void dw_mailbox_join(dw_mailbox *mailbox, dw_mailbox *more)
{
    for (dw_letter *letter = dw_mailbox_take(more); letter != NULL;
         letter = dw_mailbox_take(more)) {
        dw_mailbox_put(mailbox, letter);
    }
}

void dw_mailbox_release(dw_mailbox *mailbox)
{
    for (dw_letter *letter = dw_mailbox_take(mailbox); letter != NULL;
         letter = dw_mailbox_take(mailbox)) {
        dw_free(letter);
    }
}
