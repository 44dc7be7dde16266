/* Asking a server that works in a state folder, at its socket there: HTTP/1.1, a connection for
 * each request. Whoever answers is not trusted to speak it well. */
#ifndef DW_CLI_REMOTE_H
#define DW_CLI_REMOTE_H

#include <jansson.h>

#include "cli/cli.h"

typedef struct dw_cli_remote {
    char path[DW_CLI_PATH_MAX]; /* of the socket */
    unsigned patience_s;        /* at most so long without a byte of an answer; 0: any time */
    uint64_t message;           /* of the answer that is read, or was last: its number; 0: none */
    /* A signal came while an answer is waited for, which goes on. NULL: nothing. */
    void (*on_signal)(void *user);
    void *user;
} dw_cli_remote;

/* Whether somebody answers for the state folder at `folder`. */
bool dw_cli_remote_find(dw_cli_remote *remote, const char *folder);

typedef struct dw_cli_asked {
    const char *method;
    const char *path;   /* with its query */
    const char *accept; /* NULL: anything */
    const char *type;   /* of the body; NULL: bytes */
    const void *body;   /* [bytes], unless fd >= 0; NULL: none */
    size_t bytes;
    int fd; /* a file that is the body, from its beginning on; -1: none */
    /* What is answered, piece by piece, where it is no failure; NULL: it is kept. A negative value
     * ends it. */
    ptrdiff_t (*on_piece)(void *user, const unsigned char *bytes, size_t count);
    void *user;
} dw_cli_asked;
/* `*answer` (may be NULL) is the JSON that came, the caller's. A failure that the server tells has
 * its code and message. Errors: also DW_E_IO (nobody answers, or not to the end), DW_E_FORMAT,
 * DW_E_MEMORY. */
dw_status dw_cli_remote_ask(dw_cli_remote *remote, const dw_cli_asked *what, json_t **answer,
                            dw_error *err);
/* The same with a body of JSON, which is released; NULL: none. */
dw_status dw_cli_remote_call(dw_cli_remote *remote, const char *method, const char *path,
                             json_t *body, json_t **answer, dw_error *err);
/* A failure as the server tells it -> its code. */
dw_status dw_cli_remote_failure(const json_t *failure, dw_error *err);
/* A text as a part of a path or a query -> to [capacity]; what does not fit is cut. */
void dw_cli_escape(const char *text, char *to, size_t capacity);

#endif
