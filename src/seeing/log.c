#include "seeing/log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/json_text.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/os.h"
#include "seeing/outlet.h"

#define NOTES 1024u
#define RATE_DEFAULT 1000u
#define SECOND_NS UINT64_C(1000000000)

typedef struct kept {
    dw_event_log_note note;
    uint64_t time_ms;
    uint64_t lost; /* before it */
} kept;

struct dw_event_log {
    dw_log_level level;
    uint32_t rate_max;
    void (*on_log)(void *user, const dw_log_entry *entry);
    void *user;
    dw_outlet outlet; /* its fd is -1: none */
    void (*begins)(const dw_runtime *runtime);
    const dw_runtime *runtime;
    pthread_t thread;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wanted;
    bool ends;
    kept *notes; /* [NOTES], a ring */
    size_t first;
    size_t count;
    uint64_t second_ns; /* since when `in_second` counts */
    uint32_t in_second;
    uint64_t lost; /* since the last that was kept */
    uint64_t all_lost;
};

static const char *const level_names[] = {"none", "error", "warn", "info", "debug"};

/* ---- noting ---------------------------------------------------------------------------------- */

bool dw_event_log_wants(const dw_event_log *log, dw_log_level level)
{
    return log != NULL && level <= log->level;
}

/* With the lock. Room for one more, and not too many in this second. */
static bool has_room(dw_event_log *log)
{
    uint64_t now = dw_os_clock_ns();
    if (now - log->second_ns >= SECOND_NS) {
        log->second_ns = now;
        log->in_second = 0;
    }
    return log->count < NOTES && log->in_second < log->rate_max;
}

void dw_event_log_put(dw_event_log *log, const dw_event_log_note *note)
{
    if (!dw_event_log_wants(log, note->level)) {
        return;
    }
    uint64_t time_ms = dw_os_wall_ms();
    (void)pthread_mutex_lock(&log->lock);
    if (has_room(log)) {
        kept *place = &log->notes[(log->first + log->count) % NOTES];
        *place = (kept){.note = *note, .time_ms = time_ms, .lost = log->lost};
        log->lost = 0;
        log->in_second++;
        if (log->count++ == 0) {
            (void)pthread_cond_signal(&log->wanted);
        }
    } else {
        log->lost++;
        log->all_lost++;
    }
    (void)pthread_mutex_unlock(&log->lock);
}

uint64_t dw_event_log_lost(dw_event_log *log)
{
    if (log == NULL) {
        return 0;
    }
    (void)pthread_mutex_lock(&log->lock);
    uint64_t lost = log->all_lost;
    (void)pthread_mutex_unlock(&log->lock);
    return lost;
}

const char *dw_limit_in(const char *text)
{
    /* What ends a guest says it in words (src/wasm/instance_call.c). */
    if (strstr(text, "the guest ran longer than its ") != NULL) {
        return "timeout_ms";
    }
    if (strstr(text, " ms of processor time") != NULL) {
        return "cpu_timeout_ms";
    }
    for (size_t i = 0; i < dw_limit_count(); i++) {
        dw_limit_info info = {.struct_bytes = sizeof info};
        char named[64];
        (void)!dw_limit_get_info(i, &info, NULL);
        (void)snprintf(named, sizeof named, "(%s)", info.name);
        size_t length = strlen(info.name);
        if (strstr(text, named) != NULL ||
            (strncmp(text, info.name, length) == 0 && text[length] == ':')) {
            return info.name;
        }
    }
    return "";
}

/* ---- handing on ------------------------------------------------------------------------------ */

static void add_time(dw_json_text *json, uint64_t time_ms)
{
    char text[40];
    char zone[48];
    struct tm parts;
    time_t seconds = (time_t)(time_ms / 1000);
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
        return;
    }
    (void)snprintf(zone, sizeof zone, "%s.%03uZ", text, (unsigned)(time_ms % 1000));
    dw_json_add_string(json, "time", zone);
}

static void write_line(dw_event_log *log, const dw_log_entry *entry)
{
    char room[4096]; /* a note has less in JSON, where each byte of its text is escaped */
    dw_json_text json = dw_json_text_in(room, sizeof room - 1);
    dw_json_open(&json, '{');
    add_time(&json, entry->time_ms);
    dw_json_add_whole(&json, "time_ms", entry->time_ms);
    dw_json_add_string(&json, "level", level_names[entry->level]);
    dw_json_add_string(&json, "event", entry->event);
    if (entry->actor[0] != '\0') {
        dw_json_add_string(&json, "actor", entry->actor);
        dw_json_add_string(&json, "tenant", entry->tenant);
    }
    if (entry->message != 0) {
        dw_json_add_whole(&json, "message", entry->message);
    }
    if (entry->trace_id[0] != '\0') {
        dw_json_add_string(&json, "trace_id", entry->trace_id);
        dw_json_add_string(&json, "span_id", entry->span_id);
    }
    if (entry->status != DW_OK) {
        dw_json_add_string(&json, "status", dw_status_name(entry->status));
    }
    if (entry->limit[0] != '\0') {
        dw_json_add_string(&json, "limit", entry->limit);
    }
    if (entry->text[0] != '\0') {
        dw_json_add_string(&json, "text", entry->text);
    }
    for (size_t i = 0; i < entry->field_count; i++) {
        dw_json_add_whole(&json, entry->fields[i].name, entry->fields[i].value);
    }
    if (entry->lost != 0) {
        dw_json_add_whole(&json, "lost", entry->lost);
    }
    dw_json_close(&json, '}');
    DW_ASSERT(dw_json_text_is_whole(&json));
    room[json.count] = '\n';
    if (log->outlet.failed == 0 && !dw_outlet_write(&log->outlet, room, json.count + 1)) {
        dw_log(DW_LOG_ERROR, "log_fd: %s: no more is written to it", strerror(log->outlet.failed));
    }
}

static void hand_on(dw_event_log *log, const kept *one)
{
    const dw_event_log_note *note = &one->note;
    char actor[DW_ACTOR_ID_CHARS + 1] = "";
    dw_log_entry entry = {.struct_bytes = sizeof entry,
                          .level = note->level,
                          .time_ms = one->time_ms,
                          .event = note->event,
                          .actor = actor,
                          .tenant = note->tenant != NULL ? note->tenant : "",
                          .message = note->message,
                          .status = note->status,
                          .limit = note->limit != NULL ? note->limit : "",
                          .text = note->text,
                          .fields = note->fields,
                          .field_count = note->field_count,
                          .lost = one->lost,
                          .trace_id = note->context.trace_id,
                          .span_id = note->context.span_id};
    if (note->has_actor) {
        dw_actor_id_write(actor, note->actor);
    }
    if (log->on_log != NULL) {
        log->on_log(log->user, &entry);
    }
    if (log->outlet.fd >= 0) {
        write_line(log, &entry);
    }
}

static void *run(void *arg)
{
    dw_event_log *log = arg;
    dw_outlet_prepare();
    log->begins(log->runtime);
    (void)pthread_mutex_lock(&log->lock);
    while (!log->ends || log->count > 0) {
        if (log->count == 0) {
            (void)pthread_cond_wait(&log->wanted, &log->lock);
            continue;
        }
        kept one = log->notes[log->first];
        log->first = (log->first + 1) % NOTES;
        log->count--;
        (void)pthread_mutex_unlock(&log->lock);
        hand_on(log, &one);
        (void)pthread_mutex_lock(&log->lock);
        log->all_lost += log->outlet.fd >= 0 && log->outlet.failed != 0;
    }
    (void)pthread_mutex_unlock(&log->lock);
    return NULL;
}

/* ---- its life -------------------------------------------------------------------------------- */

static dw_status check(const dw_runtime_options *options, dw_error *err)
{
    if ((unsigned)options->log_level > DW_LOG_DEBUG) {
        return dw_fail(err, DW_E_RANGE, "log_level: %d, at most %d", (int)options->log_level,
                       DW_LOG_DEBUG);
    }
    if (options->log_fd < 0 || (options->log_fd > 0 && !dw_os_is_open(options->log_fd))) {
        return dw_fail(err, DW_E_RANGE, "log_fd: %d is no open descriptor", options->log_fd);
    }
    return DW_OK;
}

static void release(dw_event_log *log)
{
    (void)pthread_cond_destroy(&log->wanted);
    (void)pthread_mutex_destroy(&log->lock);
    dw_free(log->notes);
    dw_free(log);
}

dw_status dw_event_log_open(dw_event_log **out, const dw_runtime_options *options,
                            void (*begins)(const dw_runtime *runtime), const dw_runtime *runtime,
                            dw_error *err)
{
    *out = NULL;
    dw_status status = check(options, err);
    if (status != DW_OK || (options->on_log == NULL && options->log_fd == 0)) {
        return status;
    }
    dw_event_log *log = dw_alloc(1, sizeof *log);
    if (log == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a log");
    }
    log->level = options->log_level != DW_LOG_NONE ? options->log_level : DW_LOG_WARN;
    log->rate_max = options->log_rate_max != 0 ? options->log_rate_max : RATE_DEFAULT;
    log->on_log = options->on_log;
    log->user = options->user;
    log->outlet.fd = options->log_fd > 0 ? options->log_fd : -1;
    log->begins = begins;
    log->runtime = runtime;
    DW_ASSERT(pthread_mutex_init(&log->lock, NULL) == 0);
    dw_os_cond_init(&log->wanted);
    log->notes = dw_alloc(NOTES, sizeof *log->notes);
    int failed = log->notes != NULL ? dw_os_start_thread(&log->thread, run, log) : -1;
    if (failed != 0) {
        release(log);
        return dw_fail(err, DW_E_MEMORY, "no memory for a log");
    }
    *out = log;
    return DW_OK;
}

void dw_event_log_close(dw_event_log *log)
{
    if (log == NULL) {
        return;
    }
    atomic_store(&log->outlet.hurries, true);
    (void)pthread_mutex_lock(&log->lock);
    log->ends = true;
    (void)pthread_cond_signal(&log->wanted);
    (void)pthread_mutex_unlock(&log->lock);
    (void)pthread_join(log->thread, NULL);
    release(log);
}
