/* A chat whose conversation is an actor. */
#ifndef DW_CLI_CHAT_ACTOR_H
#define DW_CLI_CHAT_ACTOR_H

#include "cli/session.h"

typedef struct dw_cli_chat_source {
    /* The next line [*length], for free(); false: there is none. */
    bool (*read)(void *user, char **line, size_t *length);
    void *user;
} dw_cli_chat_source;

typedef struct dw_cli_chat_where {
    const char *state; /* the folder; NULL: the usual one */
    const char *actor; /* the one to go on with; NULL: a new one */
} dw_cli_chat_where;

/* Whether a server works in the state folder. */
bool dw_cli_chat_server(const char *state);
/* To the end of the lines; the exit status. */
int dw_cli_chat_with_actor(dw_cli_session *session, const dw_cli_chat_where *where,
                           const dw_cli_chat_source *source);

#endif
