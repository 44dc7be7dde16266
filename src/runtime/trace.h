/* Traces: what becomes of each message, as a file that Perfetto reads. Whoever does something notes
 * it in a ring of bounded size; a thread of the trace's own writes it out. While no trace is under
 * way a note costs a look at one flag.
 * Private to src/runtime. Thread: any; its lock comes after all others. */
#ifndef DW_RUNTIME_TRACE_H
#define DW_RUNTIME_TRACE_H

#include <stdatomic.h>

#include "base/status.h"

typedef enum dw__trace_kind {
    DW__TRACE_SLICE,      /* on the actor's track, [from, to] */
    DW__TRACE_STEP,       /* on the track of the actor's steps */
    DW__TRACE_RUN,        /* on the device's track, of no actor */
    DW__TRACE_MARK,       /* on the actor's track, at `from` */
    DW__TRACE_WAIT_BEGIN, /* of message `number`, at `from` */
    DW__TRACE_WAIT_END,
    DW__TRACE_CAUSES, /* message `number`, from within what the actor does at `from` */
    DW__TRACE_CAUSED, /* by that, what the actor does at `from` */
} dw__trace_kind;

/* Names are static; a value is told under its name, where that is not NULL. */
typedef struct dw__trace_note {
    dw__trace_kind kind;
    const char *name;
    uint64_t actor;
    uint32_t tenant_number; /* and name, both of one that stays */
    const char *tenant;
    uint64_t from_ns;
    uint64_t to_ns;
    uint64_t number;
    const char *names[3];
    uint64_t values[3];
} dw__trace_note;

typedef struct dw__trace dw__trace;

/* Errors: DW_E_MEMORY. */
dw_status dw__trace_create(dw__trace **out, dw_error *err);
/* None is under way. NULL is fine. */
void dw__trace_destroy(dw__trace *trace);
/* `*on` is set while it is under way. Errors: DW_E_STATE (one is), DW_E_RANGE, DW_E_MEMORY. */
dw_status dw__trace_begin(dw__trace *trace, _Atomic bool *on, const dw_trace_options *options,
                          uint64_t now_ns, dw_error *err);
/* What was noted is written first. Errors: DW_E_STATE (none is under way), DW_E_IO. */
dw_status dw__trace_end(dw__trace *trace, dw_trace_stats *stats, dw_error *err);
void dw__trace_put(dw__trace *trace, const dw__trace_note *note);

#endif
