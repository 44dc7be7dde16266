/* The file is of Chrome's trace event format, as Perfetto reads it: one object with a list of
 * events, whose `ph` says what each is: X a slice of [ts, ts + dur] microseconds on the track
 * (pid, tid), i a mark, b and e the two ends of something beside the tracks, s and f an arrow from
 * one slice to another, M a name.
 * Source: "Trace Event Format", Google, as docs/seeing.md has it. */
#include "seeing/trace.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/json_text.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "seeing/outlet.h"

#define NOTES 16384u
#define TRACKS_MAX 65536u /* actors that have tracks of their own */
#define TRACK_BITS 17u    /* of the table that finds them */
#define BYTES_DEFAULT (UINT64_C(256) << 20)
#define BYTES_LEAST 4096u
#define DEVICE_PID 1u
#define TENANT_PID 10u /* that of the first */

typedef enum stage { IDLE, GOING, ENDING } stage;

struct dw_tracer {
    pthread_mutex_t lock; /* guards all down to `lost` */
    pthread_cond_t wanted;
    stage phase;
    _Atomic bool *on;
    dw_tracer_note *notes; /* [NOTES], a ring */
    size_t first;
    size_t count;
    uint64_t lost;

    /* The thread's own, while it goes. */
    pthread_t thread;
    dw_outlet outlet;
    uint64_t from_ns;
    uint64_t bytes_max;
    uint64_t bytes;
    uint64_t events;
    bool any;         /* event was written */
    uint64_t *actors; /* [1 << TRACK_BITS], by hash; which of them are taken `tracks` says */
    uint32_t *tracks; /* [1 << TRACK_BITS]; 0: free */
    uint32_t track_count;
    bool tenants[DW_TRACER_TENANTS_MAX + 1]; /* whose names were written */
};

/* ---- noting ---------------------------------------------------------------------------------- */

void dw_tracer_put(dw_tracer *trace, const dw_tracer_note *note)
{
    (void)pthread_mutex_lock(&trace->lock);
    if (trace->phase == GOING && trace->count < NOTES) {
        trace->notes[(trace->first + trace->count) % NOTES] = *note;
        if (trace->count++ == 0) {
            (void)pthread_cond_signal(&trace->wanted);
        }
    } else if (trace->phase == GOING) {
        trace->lost++;
    }
    (void)pthread_mutex_unlock(&trace->lock);
}

/* ---- writing: the thread --------------------------------------------------------------------- */

/* What closes the file always has room. */
static bool write_out(dw_tracer *trace, const char *bytes, size_t count)
{
    if (trace->outlet.failed != 0 || count + BYTES_LEAST / 4 > trace->bytes_max - trace->bytes) {
        return false;
    }
    trace->bytes += count;
    return dw_outlet_write(&trace->outlet, bytes, count);
}

static bool write_event(dw_tracer *trace, const dw_json_text *json)
{
    char room[1024];
    DW_ASSERT(dw_json_text_is_whole(json) && json->count + 2 <= sizeof room);
    size_t count = 0;
    if (trace->any) {
        room[count++] = ',';
    }
    room[count++] = '\n';
    memcpy(room + count, json->items, json->count);
    bool written = write_out(trace, room, count + json->count);
    trace->any = trace->any || written;
    return written;
}

static void begin_event(dw_json_text *json, const char *phase, const char *name, uint32_t pid,
                        uint32_t tid)
{
    dw_json_open(json, '{');
    dw_json_add_string(json, "ph", phase);
    dw_json_add_string(json, "name", name);
    dw_json_add_whole(json, "pid", pid);
    dw_json_add_whole(json, "tid", tid);
}

/* `what`: process_name or thread_name. */
static bool write_name(dw_tracer *trace, const char *what, uint32_t pid, uint32_t tid,
                       const char *name)
{
    char room[768];
    dw_json_text json = dw_json_text_in(room, sizeof room);
    begin_event(&json, "M", what, pid, tid);
    dw_json_key(&json, "args");
    dw_json_open(&json, '{');
    dw_json_add_string(&json, "name", name);
    dw_json_close(&json, '}');
    dw_json_close(&json, '}');
    return write_event(trace, &json);
}

/* The actor's track: 2 * n, and 2 * n + 1 that of its steps. 0: there is no room for another. */
static uint32_t track_of(dw_tracer *trace, const dw_tracer_note *note, uint32_t pid)
{
    size_t at = (size_t)((note->actor * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - TRACK_BITS));
    char name[48];
    char id[DW_ACTOR_ID_CHARS + 1];
    while (trace->tracks[at] != 0) {
        if (trace->actors[at] == note->actor) {
            return trace->tracks[at];
        }
        at = (at + 1) % ((size_t)1 << TRACK_BITS);
    }
    if (trace->track_count >= TRACKS_MAX) {
        return 0;
    }
    uint32_t track = 2 * (trace->track_count + 1);
    dw_actor_id_write(id, note->actor);
    (void)snprintf(name, sizeof name, "actor %s", id);
    bool named = write_name(trace, "thread_name", pid, track, name);
    (void)snprintf(name, sizeof name, "steps of %s", id);
    named = named && write_name(trace, "thread_name", pid, track + 1, name);
    if (!named) {
        return 0;
    }
    trace->track_count++;
    trace->actors[at] = note->actor;
    trace->tracks[at] = track;
    return track;
}

static bool name_tenant(dw_tracer *trace, const dw_tracer_note *note, uint32_t pid)
{
    char name[DW_TENANT_NAME_MAX + 16];
    DW_ASSERT(note->tenant_number <= DW_TRACER_TENANTS_MAX);
    if (!trace->tenants[note->tenant_number]) {
        (void)snprintf(name, sizeof name, "tenant \"%s\"", note->tenant);
        trace->tenants[note->tenant_number] = write_name(trace, "process_name", pid, 0, name);
    }
    return trace->tenants[note->tenant_number];
}

static const char *phase_of(dw_tracer_kind kind)
{
    switch (kind) {
    case DW_TRACER_MARK:
        return "i";
    case DW_TRACER_WAIT_BEGIN:
        return "b";
    case DW_TRACER_WAIT_END:
        return "e";
    case DW_TRACER_CAUSES:
        return "s";
    case DW_TRACER_CAUSED:
        return "f";
    default:
        return "X";
    }
}

static void add_particulars(dw_json_text *json, const dw_tracer_note *note, uint64_t from_ns)
{
    uint64_t at = note->from_ns > from_ns ? note->from_ns - from_ns : 0;
    dw_json_key(json, "ts");
    dw_json_micros(json, at);
    switch (note->kind) {
    case DW_TRACER_SLICE:
    case DW_TRACER_STEP:
    case DW_TRACER_RUN:
        dw_json_key(json, "dur");
        dw_json_micros(json, note->to_ns - from_ns > at ? note->to_ns - from_ns - at : 0);
        dw_json_add_string(json, "cat", note->kind == DW_TRACER_SLICE ? "actor" : "device");
        break;
    case DW_TRACER_MARK:
        dw_json_add_string(json, "s", "t"); /* of its track */
        dw_json_add_string(json, "cat", "actor");
        break;
    case DW_TRACER_CAUSED:
        dw_json_add_string(json, "bp", "e"); /* it ends at the slice around it */
        dw_json_add_string(json, "cat", "cause");
        dw_json_add_whole(json, "id", note->number);
        break;
    default:
        dw_json_add_string(json, "cat", note->kind == DW_TRACER_CAUSES ? "cause" : "queue");
        dw_json_add_whole(json, "id", note->number);
    }
}

static void add_values(dw_json_text *json, const dw_tracer_note *note)
{
    dw_json_key(json, "args");
    dw_json_open(json, '{');
    if (note->number != 0) {
        dw_json_add_whole(json, "message", note->number);
    }
    for (size_t i = 0; i < sizeof note->names / sizeof note->names[0]; i++) {
        if (note->names[i] != NULL) {
            dw_json_add_whole(json, note->names[i], note->values[i]);
        }
    }
    if (note->context.trace_id[0] != '\0') {
        dw_json_add_string(json, "trace_id", note->context.trace_id);
        dw_json_add_string(json, "span_id", note->context.span_id);
    }
    dw_json_close(json, '}');
}

static bool write_note(dw_tracer *trace, const dw_tracer_note *note)
{
    char room[768];
    dw_json_text json = dw_json_text_in(room, sizeof room);
    uint32_t pid = DEVICE_PID;
    uint32_t tid = 1;
    if (note->to_ns < trace->from_ns) {
        return true; /* it was over before the trace began */
    }
    if (note->kind != DW_TRACER_RUN) {
        pid = TENANT_PID + note->tenant_number;
        if (!name_tenant(trace, note, pid)) {
            return false;
        }
        tid = track_of(trace, note, pid);
        if (tid == 0) {
            return false;
        }
        tid += note->kind == DW_TRACER_STEP;
    }
    begin_event(&json, phase_of(note->kind), note->name, pid, tid);
    add_particulars(&json, note, trace->from_ns);
    add_values(&json, note);
    dw_json_close(&json, '}');
    return write_event(trace, &json);
}

static void write_head(dw_tracer *trace)
{
    static const char head[] = "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"program\":"
                               "\"driftwood\",\"version\":\"" DW_VERSION "\"},\"traceEvents\":[";
    (void)write_out(trace, head, sizeof head - 1);
    (void)write_name(trace, "process_name", DEVICE_PID, 0, "device");
    (void)write_name(trace, "thread_name", DEVICE_PID, 1, "runs");
}

static void write_tail(dw_tracer *trace)
{
    char text[96];
    int length =
        snprintf(text, sizeof text, "\n],\"lostEvents\":%llu}\n", (unsigned long long)trace->lost);
    (void)dw_outlet_write(&trace->outlet, text, (size_t)length);
    trace->bytes += (uint64_t)length;
}

static void *run(void *arg)
{
    dw_tracer *trace = arg;
    dw_outlet_prepare();
    write_head(trace);
    (void)pthread_mutex_lock(&trace->lock);
    while (trace->phase == GOING || trace->count > 0) {
        if (trace->count == 0) {
            (void)pthread_cond_wait(&trace->wanted, &trace->lock);
            continue;
        }
        dw_tracer_note note = trace->notes[trace->first];
        trace->first = (trace->first + 1) % NOTES;
        trace->count--;
        (void)pthread_mutex_unlock(&trace->lock);
        bool written = write_note(trace, &note);
        trace->events += written;
        (void)pthread_mutex_lock(&trace->lock);
        trace->lost += !written;
    }
    (void)pthread_mutex_unlock(&trace->lock);
    write_tail(trace);
    return NULL;
}

/* ---- its life -------------------------------------------------------------------------------- */

dw_status dw_tracer_create(dw_tracer **out, dw_error *err)
{
    dw_tracer *trace = dw_alloc(1, sizeof *trace);
    *out = trace;
    if (trace == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for traces");
    }
    DW_ASSERT(pthread_mutex_init(&trace->lock, NULL) == 0);
    dw_os_cond_init(&trace->wanted);
    return DW_OK;
}

void dw_tracer_destroy(dw_tracer *trace)
{
    if (trace == NULL) {
        return;
    }
    DW_ASSERT(trace->phase == IDLE);
    (void)pthread_cond_destroy(&trace->wanted);
    (void)pthread_mutex_destroy(&trace->lock);
    dw_free(trace);
}

static void free_tables(dw_tracer *trace)
{
    dw_free(trace->notes);
    dw_free(trace->actors);
    dw_free(trace->tracks);
    trace->notes = NULL;
    trace->actors = NULL;
    trace->tracks = NULL;
}

/* With the lock; nothing goes. */
static dw_status start(dw_tracer *trace, const dw_trace_options *options, uint64_t now_ns,
                       dw_error *err)
{
    trace->notes = dw_alloc(NOTES, sizeof *trace->notes);
    trace->actors = dw_alloc((size_t)1 << TRACK_BITS, sizeof *trace->actors);
    trace->tracks = dw_alloc((size_t)1 << TRACK_BITS, sizeof *trace->tracks);
    if (trace->notes == NULL || trace->actors == NULL || trace->tracks == NULL) {
        free_tables(trace);
        return dw_fail(err, DW_E_MEMORY, "no memory for a trace");
    }
    trace->first = trace->count = 0;
    trace->lost = trace->bytes = trace->events = 0;
    trace->any = false;
    trace->track_count = 0;
    memset(trace->tenants, 0, sizeof trace->tenants);
    trace->outlet = (dw_outlet){.fd = options->fd};
    trace->from_ns = now_ns;
    trace->bytes_max = options->bytes_max != 0 ? options->bytes_max : BYTES_DEFAULT;
    trace->phase = GOING;
    if (dw_os_start_thread(&trace->thread, run, trace) != 0) {
        trace->phase = IDLE;
        free_tables(trace);
        return dw_fail(err, DW_E_MEMORY, "no thread for a trace");
    }
    return DW_OK;
}

dw_status dw_tracer_begin(dw_tracer *trace, _Atomic bool *on, const dw_trace_options *options,
                          uint64_t now_ns, dw_error *err)
{
    if (!dw_os_is_open(options->fd)) {
        return dw_fail(err, DW_E_RANGE, "fd: %d is no open descriptor", options->fd);
    }
    if (options->bytes_max != 0 && options->bytes_max < BYTES_LEAST) {
        return dw_fail(err, DW_E_RANGE, "bytes_max: %llu, at least %u",
                       (unsigned long long)options->bytes_max, BYTES_LEAST);
    }
    (void)pthread_mutex_lock(&trace->lock);
    dw_status status = trace->phase == IDLE ? start(trace, options, now_ns, err)
                                            : dw_fail(err, DW_E_STATE, "a trace is under way");
    if (status == DW_OK) {
        trace->on = on;
        atomic_store(on, true);
    }
    (void)pthread_mutex_unlock(&trace->lock);
    return status;
}

dw_status dw_tracer_end(dw_tracer *trace, dw_trace_stats *stats, dw_error *err)
{
    (void)pthread_mutex_lock(&trace->lock);
    if (trace->phase != GOING) {
        (void)pthread_mutex_unlock(&trace->lock);
        return dw_fail(err, DW_E_STATE, "no trace is under way");
    }
    atomic_store(trace->on, false);
    atomic_store(&trace->outlet.hurries, true);
    trace->phase = ENDING;
    (void)pthread_cond_signal(&trace->wanted);
    (void)pthread_mutex_unlock(&trace->lock);
    (void)pthread_join(trace->thread, NULL);
    int failed = trace->outlet.failed;
    *stats = (dw_trace_stats){.events = trace->events, .lost = trace->lost, .bytes = trace->bytes};
    (void)pthread_mutex_lock(&trace->lock);
    free_tables(trace);
    trace->phase = IDLE;
    (void)pthread_mutex_unlock(&trace->lock);
    return failed == 0 ? DW_OK : dw_fail(err, DW_E_IO, "trace: %s", strerror(failed));
}
