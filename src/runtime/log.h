/* The runtime's log: entries that are noted wherever something happens, and handed to the embedder
 * by a thread of the log's own. To note one waits for nobody: what finds no room, or comes too
 * often, is counted and told of in the next.
 * Private to src/runtime. Thread: any, but for open and close; its lock comes after all others. */
#ifndef DW_RUNTIME_LOG_H
#define DW_RUNTIME_LOG_H

#include "base/status.h"

#define DW__LOG_FIELDS 6u

typedef struct dw__log dw__log;

/* Names and `tenant` stay as long as the log. */
typedef struct dw__log_note {
    dw_log_level level;
    const char *event;
    bool has_actor;
    uint64_t actor;
    const char *tenant; /* NULL: none */
    uint64_t message;   /* 0: none */
    dw_status status;
    const char *limit; /* "": none */
    char text[248];
    size_t field_count;
    dw_log_field fields[DW__LOG_FIELDS];
} dw__log_note;

/* NULL with DW_OK: the options ask for none. `own_thread_of`: callbacks are called as that
 * runtime's are. Errors: DW_E_RANGE (log_level, log_fd), DW_E_MEMORY. */
dw_status dw__log_open(dw__log **out, const dw_runtime *own_thread_of,
                       const dw_runtime_options *options, dw_error *err);
/* What was noted is handed on first, to a descriptor that does not take it for a second at most.
 * NULL is fine, here and below. */
void dw__log_close(dw__log *log);
/* Whether anybody wants entries of this level. */
bool dw__log_wants(const dw__log *log, dw_log_level level);
void dw__log_put(dw__log *log, const dw__log_note *note);
/* Entries that were not handed on. */
uint64_t dw__log_lost(dw__log *log);

/* The limit that an error names: "(name)", or "name:" at its front; "": none. */
const char *dw__limit_in(const char *text);

#endif
