/* The runtime's log: entries that are noted wherever something happens, and handed to the embedder
 * by a thread of the log's own. To note one waits for nobody: what finds no room, or comes too
 * often, is counted and told of in the next.
 * Thread: any, but for open and close; its lock comes after all others. */
#ifndef DW_SEEING_LOG_H
#define DW_SEEING_LOG_H

#include "base/status.h"
#include "seeing/context.h"

#define DW_EVENT_LOG_FIELDS 6u

typedef struct dw_event_log dw_event_log;

/* Names and `tenant` stay as long as the log. */
typedef struct dw_event_log_note {
    dw_log_level level;
    const char *event;
    bool has_actor;
    uint64_t actor;
    const char *tenant; /* NULL: none */
    uint64_t message;   /* 0: none */
    dw_trace_context context;
    dw_status status;
    const char *limit; /* "": none */
    char text[248];
    size_t field_count;
    dw_log_field fields[DW_EVENT_LOG_FIELDS];
} dw_event_log_note;

/* NULL with DW_OK: the options ask for none. `begins` is called with `runtime` when its thread
 * does. Errors: DW_E_RANGE (log_level, log_fd), DW_E_MEMORY. */
dw_status dw_event_log_open(dw_event_log **out, const dw_runtime_options *options,
                            void (*begins)(const dw_runtime *runtime), const dw_runtime *runtime,
                            dw_error *err);
/* What was noted is handed on first, to a descriptor that does not take it for a second at most.
 * NULL is fine, here and below. */
void dw_event_log_close(dw_event_log *log);
/* Whether anybody wants entries of this level. */
bool dw_event_log_wants(const dw_event_log *log, dw_log_level level);
void dw_event_log_put(dw_event_log *log, const dw_event_log_note *note);
/* Entries that were not handed on. */
uint64_t dw_event_log_lost(dw_event_log *log);

/* The limit that an error names: "(name)", or "name:" at its front; "": none. */
const char *dw_limit_in(const char *text);

#endif
