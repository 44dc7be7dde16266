/* What of all that happens is in a trace. */
#include "base/public_struct.h"
#include "runtime/runtime_internal.h"
#include "scheduler/scheduler.h"

static dw_tracer_note note_of(const dw__record *record, dw_tracer_kind kind, const char *name,
                              uint64_t from_ns)
{
    return (dw_tracer_note){.kind = kind,
                            .name = name,
                            .actor = record->id,
                            .tenant_number = record->tenant->number,
                            .tenant = record->tenant->name,
                            .from_ns = from_ns,
                            .to_ns = from_ns};
}

static uint64_t now_of(const dw_runtime *runtime)
{
    return runtime->platform.clock_ns(runtime->platform.user);
}

void dw__trace_span(dw_runtime *runtime, const dw__record *record, const char *what,
                    uint64_t from_ns, const char *value_name, uint64_t value)
{
    if (!dw__traces(runtime)) {
        return;
    }
    dw_tracer_note note = note_of(record, DW_TRACER_SLICE, what, from_ns);
    note.to_ns = now_of(runtime);
    note.names[0] = value_name;
    note.values[0] = value;
    dw_tracer_put(runtime->trace, &note);
}

/* ---- messages -------------------------------------------------------------------------------- */

void dw__trace_queued(dw_runtime *runtime, const dw__record *record, const dw__mail *mail)
{
    if (!dw__traces(runtime)) {
        return;
    }
    const dw__record *from = mail->from.is_actor ? dw__find(runtime, mail->from.id) : NULL;
    dw_tracer_note note = note_of(record, DW_TRACER_WAIT_BEGIN, "queue", mail->queued_ns);
    note.number = mail->number;
    note.names[0] = "bytes";
    note.values[0] = mail->bytes;
    dw_tracer_put(runtime->trace, &note);
    if (from != NULL && from->state == DW__WORKING) {
        note = note_of(from, DW_TRACER_CAUSES, "causes", mail->queued_ns);
        note.number = mail->number;
        dw_tracer_put(runtime->trace, &note);
    }
}

static void put_wait_end(dw_runtime *runtime, const dw__record *record, uint64_t number,
                         uint64_t at_ns)
{
    dw_tracer_note note = note_of(record, DW_TRACER_WAIT_END, "queue", at_ns);
    note.number = number;
    dw_tracer_put(runtime->trace, &note);
}

void dw__trace_left(dw_runtime *runtime, const dw__mail *mail)
{
    const dw__record *record = dw__traces(runtime) ? dw__find_any(runtime, mail->to) : NULL;
    if (record != NULL) {
        put_wait_end(runtime, record, mail->number, now_of(runtime));
    }
}

void dw__trace_began(dw_runtime *runtime, const dw__record *record)
{
    const dw__mail *mail = record->current;
    if (!dw__traces(runtime) || mail == NULL) {
        return;
    }
    put_wait_end(runtime, record, mail->number, record->began_ns);
    if (mail->from.is_actor) {
        dw_tracer_note note = note_of(record, DW_TRACER_CAUSED, "causes", record->began_ns);
        note.number = mail->number;
        dw_tracer_put(runtime->trace, &note);
    }
}

void dw__trace_ended(dw_runtime *runtime, const dw__record *record, uint64_t number,
                     dw_status status)
{
    if (!dw__traces(runtime)) {
        return;
    }
    const dw__sums *before = &record->began_with;
    dw_tracer_note note =
        note_of(record, DW_TRACER_SLICE, number != 0 ? "message" : "timer", record->began_ns);
    note.to_ns = now_of(runtime);
    note.number = number;
    note.names[0] = "prompt_tokens";
    note.values[0] = record->sums.prompt_tokens - before->prompt_tokens;
    note.names[1] = "generated_tokens";
    note.values[1] = record->sums.generated_tokens - before->generated_tokens;
    note.names[2] = "failed";
    note.values[2] = status != DW_OK;
    note.context = record->context;
    dw_tracer_put(runtime->trace, &note);
}

void dw__trace_answered(dw_runtime *runtime, const dw__record *record, uint64_t bytes)
{
    if (!dw__traces(runtime)) {
        return;
    }
    dw_tracer_note note = note_of(record, DW_TRACER_MARK, "answer", now_of(runtime));
    note.number = record->current != NULL ? record->current->number : 0;
    note.names[0] = "bytes";
    note.values[0] = bytes;
    dw_tracer_put(runtime->trace, &note);
}

/* ---- guests and the device ------------------------------------------------------------------- */

static const char *name_of_wait(dw_scheduler_wait wait)
{
    switch (wait) {
    case DW_WAIT_FOR_STEP:
        return "waits for a step";
    case DW_WAIT_FOR_DEVICE:
        return "waits for the device";
    case DW_WAIT_FOR_TOKENS:
        return "waits for tokens";
    case DW_WAIT_FOR_TIME:
        return "sleeps";
    case DW_WAIT_FOR_TURN:
        return "waits for a turn";
    }
    return "waits";
}

static void put_run(dw_runtime *runtime, const dw_scheduler_span *span)
{
    const dw_tracer_note note = {.kind = DW_TRACER_RUN,
                                 .name = "run",
                                 .from_ns = span->from_ns,
                                 .to_ns = span->to_ns,
                                 .names = {"run", "tokens", "sequences"},
                                 .values = {span->run, span->tokens, span->sequences}};
    dw_tracer_put(runtime->trace, &note);
}

/* Turns are the scheduler's, and may have begun with what it did before this message. */
void dw__trace_scheduled(dw_runtime *runtime, const dw__record *record,
                         const dw_scheduler_span *span)
{
    if (!dw__traces(runtime)) {
        return;
    }
    if (span->kind == DW_SPAN_RUN) {
        put_run(runtime, span);
        return;
    }
    uint64_t from_ns = span->from_ns > record->began_ns ? span->from_ns : record->began_ns;
    dw_tracer_kind kind = span->kind == DW_SPAN_STEP ? DW_TRACER_STEP : DW_TRACER_SLICE;
    dw_tracer_note note = note_of(record, kind, "guest", from_ns);
    note.to_ns = span->to_ns > from_ns ? span->to_ns : from_ns;
    note.number = record->current != NULL ? record->current->number : 0;
    switch (span->kind) {
    case DW_SPAN_WAIT:
        note.name = name_of_wait(span->wait);
        break;
    case DW_SPAN_WORK:
        note.name = "device work";
        break;
    case DW_SPAN_STEP:
        note.name = "step";
        note.names[0] = "tokens";
        note.values[0] = span->tokens;
        note.names[1] = "run";
        note.values[1] = span->run;
        break;
    default:
        break;
    }
    dw_tracer_put(runtime->trace, &note);
}

/* ---- from outside ---------------------------------------------------------------------------- */

dw_status dw_runtime_trace_begin(dw_runtime *runtime, const dw_trace_options *options,
                                 dw_error *err)
{
    dw_trace_options own;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_trace_options", err);
    if (status == DW_OK && options == NULL) {
        status = dw_fail(err, DW_E_ARG, "trace: no options");
    }
    if (status == DW_OK) {
        status = dw__enter_to_change(runtime, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw_tracer_begin(runtime->trace, &runtime->tracing, &own, now_of(runtime), err);
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_trace_end(dw_runtime *runtime, dw_trace_stats *stats, dw_error *err)
{
    dw_trace_stats own = {.events = 0};
    dw_status status = dw_struct_check(stats, "dw_trace_stats", err);
    if (status == DW_OK && runtime->trace == NULL) {
        status = dw_fail(err, DW_E_STATE, "trace: the runtime only looks (read_only)");
    }
    if (status == DW_OK) {
        status = dw_tracer_end(runtime->trace, &own, err);
    }
    if (status == DW_OK || status == DW_E_IO) {
        dw_struct_write(stats, &own, sizeof own);
    }
    return status;
}
