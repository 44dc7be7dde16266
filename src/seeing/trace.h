/* Traces: what becomes of each message, as a file that Perfetto reads. Whoever does something notes
 * it in a ring of bounded size; a thread of the trace's own writes it out. While no trace is under
 * way a note costs a look at one flag.
 * Thread: any; its lock comes after all others. */
#ifndef DW_SEEING_TRACE_H
#define DW_SEEING_TRACE_H

#include <stdatomic.h>

#include "base/status.h"
#include "seeing/context.h"

#define DW_TRACER_TENANTS_MAX 1024u

typedef enum dw_tracer_kind {
    DW_TRACER_SLICE,      /* on the actor's track, [from, to] */
    DW_TRACER_STEP,       /* on the track of the actor's steps */
    DW_TRACER_RUN,        /* on the device's track, of no actor */
    DW_TRACER_MARK,       /* on the actor's track, at `from` */
    DW_TRACER_WAIT_BEGIN, /* of message `number`, at `from` */
    DW_TRACER_WAIT_END,
    DW_TRACER_CAUSES, /* message `number`, from within what the actor does at `from` */
    DW_TRACER_CAUSED, /* by that, what the actor does at `from` */
} dw_tracer_kind;

/* Names are static; a value is told under its name, where that is not NULL. */
typedef struct dw_tracer_note {
    dw_tracer_kind kind;
    const char *name;
    uint64_t actor;
    uint32_t tenant_number; /* at most DW_TRACER_TENANTS_MAX; and name, both of one that stays */
    const char *tenant;
    uint64_t from_ns;
    uint64_t to_ns;
    uint64_t number;
    const char *names[3];
    uint64_t values[3];
    dw_trace_context context;
} dw_tracer_note;

typedef struct dw_tracer dw_tracer;

/* Errors: DW_E_MEMORY. */
dw_status dw_tracer_create(dw_tracer **out, dw_error *err);
/* None is under way. NULL is fine. */
void dw_tracer_destroy(dw_tracer *trace);
/* `*on` is set while it is under way. Errors: DW_E_STATE (one is), DW_E_RANGE, DW_E_MEMORY. */
dw_status dw_tracer_begin(dw_tracer *trace, _Atomic bool *on, const dw_trace_options *options,
                          uint64_t now_ns, dw_error *err);
/* What was noted is written first. Errors: DW_E_STATE (none is under way), DW_E_IO. */
dw_status dw_tracer_end(dw_tracer *trace, dw_trace_stats *stats, dw_error *err);
void dw_tracer_put(dw_tracer *trace, const dw_tracer_note *note);

#endif
