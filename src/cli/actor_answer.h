/* An answer of any length as a member of a JSON object, without holding it in memory. */
#ifndef DW_CLI_ACTOR_ANSWER_H
#define DW_CLI_ACTOR_ANSWER_H

#include "cli/cli.h"

/* Where a character is broken off. */
typedef struct dw_cli_utf8 {
    unsigned char left; /* bytes that it still needs */
    unsigned char low;  /* the next one's limits */
    unsigned char high;
} dw_cli_utf8;

typedef struct dw_cli_answer {
    const char *id; /* of the actor; borrowed */
    uint64_t bytes; /* of all that was added */
    bool text;      /* so far it is UTF-8 */
    dw_cli_utf8 utf8;
    unsigned char *piece; /* [used]: the end, which is not in the file */
    size_t used;
    int fd; /* of a temporary file at `path`; -1: none yet */
    char path[DW_CLI_PATH_MAX];
} dw_cli_answer;

/* Errors: DW_E_MEMORY; close it also then. */
dw_status dw_cli_answer_open(dw_cli_answer *answer, const char *id, dw_error *err);
void dw_cli_answer_close(dw_cli_answer *answer);
/* Errors: DW_E_IO. */
dw_status dw_cli_answer_add(dw_cli_answer *answer, const unsigned char *bytes, size_t count,
                            dw_error *err);
/* {"id", "answer", "bytes"} to standard output; an answer that is no UTF-8 is null, and stands in
 * "answer_base64". Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_cli_answer_print(dw_cli_answer *answer, dw_error *err);

#endif
