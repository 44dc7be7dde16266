/* What a command that has a runtime leaves to be seen: a log, a trace, a socket for `driftwood
 * top`. */
#ifndef DW_CLI_ACTOR_SEEING_H
#define DW_CLI_ACTOR_SEEING_H

#include "cli/cli.h"

/* As it was asked for. */
typedef struct dw_cli_seeing {
    const char *log;    /* a file that is appended to, -: standard error; NULL: none */
    dw_log_level level; /* DW_LOG_NONE: the usual one */
    const char *trace;  /* a file that is written anew; NULL: none */
    bool control;       /* a socket in the state folder */
} dw_cli_seeing;

typedef struct dw_cli_seen {
    int log_fd; /* -1: none, as the next */
    int trace_fd;
    bool tracing;
    char control[DW_CLI_PATH_MAX + 16]; /* "": none */
    char trace[DW_CLI_PATH_MAX];
} dw_cli_seen;

/* error, warn, info or debug. Errors: DW_E_ARG. */
dw_status dw_cli_seeing_level(dw_cli_seeing *seeing, const char *text, dw_error *err);
/* Open the files, and have the runtime in the state folder `place` use them; `seen` is as long as
 * that. To be closed also on failure. Errors: DW_E_IO, DW_E_LIMIT. */
dw_status dw_cli_seen_open(dw_cli_seen *seen, const dw_cli_seeing *seeing, const char *place,
                           dw_runtime_options *options, dw_error *err);
/* The runtime is open; it is about to be closed (NULL: there is none). Errors: those of
 * dw_runtime_trace_begin and _end. */
dw_status dw_cli_seen_begin(dw_cli_seen *seen, dw_runtime *runtime, dw_error *err);
dw_status dw_cli_seen_end(dw_cli_seen *seen, dw_runtime *runtime, dw_error *err);
void dw_cli_seen_close(dw_cli_seen *seen);

#endif
