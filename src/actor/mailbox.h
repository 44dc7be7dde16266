/* Lists of messages: what waits for an actor, what its timers will bring, what it asked for.
 * Thread: the actor's. */
#ifndef DW_ACTOR_MAILBOX_H
#define DW_ACTOR_MAILBOX_H

#include "base/status.h"

#define DW_GUEST_NAME_MAX 200

typedef struct dw_message {
    struct dw_message *next;
    char actor[DW_ACTOR_ID_CHARS + 1]; /* from, or to; "" for outside and none */
    char guest[DW_GUEST_NAME_MAX + 1]; /* of a DW_EFFECT_SPAWN */
    int32_t kind;                      /* dw_effect_kind; in mailboxes DW_MESSAGE_* */
    uint64_t number;                   /* of an effect; of a timer, when it is due in ms */
    uint64_t cause;  /* what began it all, a message from outside; 0: this one, or it is unknown */
    uint64_t caused; /* how many messages came of that, with this one */
    uint64_t at_ms;  /* in mailboxes: when it was accepted, or its timer rang; 0: it is not known */
    uint64_t ticket; /* of DW_EFFECT_LATER, DW_EFFECT_ANSWER; of a ticket itself; 0: none */
    bool last;       /* of DW_EFFECT_ANSWER */
    uint32_t events; /* of DW_EFFECT_WATCH */
    size_t bytes;
    unsigned char content[]; /* [bytes] */
} dw_message;

typedef struct dw_mailbox {
    dw_message *first;
    dw_message *last;
    size_t count;
} dw_mailbox;

/* 16 lower-case hexadecimal digits and nothing behind them. */
bool dw_actor_id_good(const char *id);
void dw_actor_id_write(char text[DW_ACTOR_ID_CHARS + 1], uint64_t id);

/* A message with a copy of `content` [bytes]; `actor` NULL: "". Errors: DW_E_MEMORY. */
dw_status dw_message_create(dw_message **out, const char *actor, const void *content, size_t bytes,
                            dw_error *err);
/* Takes the message. */
void dw_mailbox_put(dw_mailbox *mailbox, dw_message *message);
/* The same, before all others. */
void dw_mailbox_put_first(dw_mailbox *mailbox, dw_message *message);
/* The same, before the first whose number is larger. */
void dw_mailbox_put_sorted(dw_mailbox *mailbox, dw_message *message);
/* The first, the caller's to dw_free; NULL: there is none. */
dw_message *dw_mailbox_take(dw_mailbox *mailbox);
void dw_mailbox_release(dw_mailbox *mailbox);

#endif
