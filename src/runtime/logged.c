/* What of all that happens is worth an entry of the log, and what such an entry says. */
#include <stdio.h>
#include <string.h>

#include "runtime/runtime_internal.h"

/* A limit that an actor meets again and again is told once in so long. */
#define AGAIN_NS UINT64_C(1000000000)

static dw_event_log_note note_of(const dw__record *record, dw_log_level level, const char *event)
{
    return (dw_event_log_note){.level = level,
                               .event = event,
                               .has_actor = true,
                               .actor = record->id,
                               .tenant = record->tenant->name};
}

/* `record` may be NULL: the actor is not in memory. */
static dw_event_log_note note_of_id(const dw__record *record, uint64_t id, dw_log_level level,
                                    const char *event)
{
    return record != NULL ? note_of(record, level, event)
                          : (dw_event_log_note){
                                .level = level, .event = event, .has_actor = true, .actor = id};
}

static void add_error(dw_event_log_note *note, const dw_error *error)
{
    note->status = error->code;
    note->limit = dw_limit_in(error->message);
    (void)snprintf(note->text, sizeof note->text, "%s", error->message);
}

/* What it works on. */
static void add_message(dw_event_log_note *note, const dw__record *record)
{
    if (record->current != NULL) {
        note->message = record->current->number;
        note->context = record->current->context;
    }
}

static void add_field(dw_event_log_note *note, const char *name, uint64_t value)
{
    DW_ASSERT(note->field_count < DW_EVENT_LOG_FIELDS);
    note->fields[note->field_count++] = (dw_log_field){.name = name, .value = value};
}

/* How an event is told; `event` NULL: not here. */
typedef struct telling {
    const char *event;
    dw_log_level level;
} telling;

static telling telling_of(const dw__happening *happening)
{
    bool failed = happening->error != NULL && happening->error->code != DW_OK;
    switch (happening->kind) {
    case DW_EVENT_MADE:
        return (telling){"actor-made", DW_LOG_INFO};
    case DW_EVENT_ACCEPTED:
        return (telling){"message-accepted", DW_LOG_DEBUG};
    case DW_EVENT_BEGAN:
        return (telling){"message-began", DW_LOG_DEBUG};
    case DW_EVENT_ENDED:
        if (!failed) {
            return (telling){"message-ended", DW_LOG_DEBUG};
        }
        return happening->error->code == DW_E_CANCELLED
                   ? (telling){"message-cancelled", DW_LOG_INFO}
                   : (telling){"message-failed", DW_LOG_WARN};
    case DW_EVENT_SET_ASIDE:
        return (telling){"message-set-aside", DW_LOG_WARN};
    case DW_EVENT_RESTARTED:
        return (telling){"actor-restarted", DW_LOG_WARN};
    case DW_EVENT_FROZEN:
        return (telling){"actor-frozen", DW_LOG_INFO};
    case DW_EVENT_REWOUND:
        return (telling){"actor-rewound", DW_LOG_INFO};
    case DW_EVENT_STOPPED:
        return (telling){"actor-stopped", DW_LOG_INFO};
    default: /* a piece of an answer */
        return (telling){NULL, DW_LOG_NONE};
    }
}

static bool is_of_message(dw_event_kind kind)
{
    return kind == DW_EVENT_ACCEPTED || kind == DW_EVENT_BEGAN || kind == DW_EVENT_ENDED ||
           kind == DW_EVENT_SET_ASIDE;
}

void dw__log_happening(dw_runtime *runtime, const dw__record *record, uint64_t id,
                       const dw__happening *happening)
{
    const telling how = telling_of(happening);
    if (how.event == NULL || !dw_event_log_wants(runtime->log, how.level)) {
        return;
    }
    dw_event_log_note note = note_of_id(record, id, how.level, how.event);
    if (happening->error != NULL && happening->error->code != DW_OK) {
        add_error(&note, happening->error);
    }
    if (happening->context != NULL) {
        note.context = *happening->context;
    }
    if (is_of_message(happening->kind)) {
        note.message = happening->number;
    } else if (happening->number != 0) {
        add_field(&note, "freeze", happening->number);
    }
    if (record == NULL) {
        dw_event_log_put(runtime->log, &note);
        return;
    }
    if (happening->kind == DW_EVENT_MADE) {
        add_field(&note, "depth", record->depth);
    } else if (happening->kind == DW_EVENT_STOPPED || happening->kind == DW_EVENT_RESTARTED) {
        add_field(&note, "messages", record->sums.messages);
        add_field(&note, "failed", record->sums.failed);
        add_field(&note, "restarts", record->restarts);
    }
    dw_event_log_put(runtime->log, &note);
}

void dw__log_failed_try(dw_runtime *runtime, const dw__record *record, const dw__mail *mail)
{
    if (!dw_event_log_wants(runtime->log, DW_LOG_WARN)) {
        return;
    }
    dw_event_log_note note = note_of(record, DW_LOG_WARN, "message-failed");
    add_error(&note, &mail->error);
    note.message = mail->number;
    note.context = mail->context;
    add_field(&note, "attempts", mail->attempts);
    dw_event_log_put(runtime->log, &note);
}

void dw__log_problem(dw_runtime *runtime, uint64_t id, const dw_error *problem)
{
    if (!dw_event_log_wants(runtime->log, DW_LOG_WARN)) {
        return;
    }
    dw_event_log_note note = note_of_id(dw__find_any(runtime, id), id, DW_LOG_WARN, "problem");
    add_error(&note, problem);
    dw_event_log_put(runtime->log, &note);
}

void dw__log_refused(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    bool limit = error->code == DW_E_LIMIT || error->code == DW_E_BUSY;
    if (!dw_event_log_wants(runtime->log, DW_LOG_WARN) ||
        (record->refused_ns != 0 && now_ns - record->refused_ns < AGAIN_NS)) {
        return;
    }
    record->refused_ns = now_ns;
    dw_event_log_note note = note_of(record, DW_LOG_WARN, limit ? "limit-reached" : "refused");
    add_error(&note, error);
    add_message(&note, record);
    dw_event_log_put(runtime->log, &note);
}

void dw__log_guest(dw_runtime *runtime, const dw__record *record, dw_log_level level,
                   const char *text, uint64_t lost)
{
    dw_event_log_note note = note_of(record, level, "guest-log");
    (void)snprintf(note.text, sizeof note.text, "%s", text);
    add_message(&note, record);
    if (lost > 0) {
        add_field(&note, "lines_lost", lost);
    }
    dw_event_log_put(runtime->log, &note);
}

void dw__log_slow(dw_runtime *runtime, const dw__record *record, uint64_t took_ns)
{
    const uint32_t slow_ms = runtime->options.slow_message_ms;
    if (took_ns / 1000000 < (slow_ms != 0 ? slow_ms : DW__SLOW_MS) ||
        !dw_event_log_wants(runtime->log, DW_LOG_WARN)) {
        return;
    }
    const dw__sums *before = &record->began_with;
    dw_event_log_note note = note_of(record, DW_LOG_WARN, "message-slow");
    add_message(&note, record);
    add_field(&note, "work_ns", took_ns);
    add_field(&note, "guest_ns", record->sums.guest_ns - before->guest_ns);
    add_field(&note, "device_ns", record->sums.device_ns - before->device_ns);
    add_field(&note, "prompt_tokens", record->sums.prompt_tokens - before->prompt_tokens);
    add_field(&note, "generated_tokens", record->sums.generated_tokens - before->generated_tokens);
    dw_event_log_put(runtime->log, &note);
}

void dw__log_simple(dw_runtime *runtime, const dw__record *record, dw_log_level level,
                    const char *event)
{
    if (dw_event_log_wants(runtime->log, level)) {
        const dw_event_log_note note = note_of(record, level, event);
        dw_event_log_put(runtime->log, &note);
    }
}
