/* Sleeping and waiting, as WASI's poll_oneoff has it, and what else a guest can spend time in. Of
 * what can be polled the standard streams and clocks are answered here; files are always ready, and
 * a call about them alone is Wasmtime's. */
#include <string.h>

#include "base/os.h"
#include "wasm/wasi_internal.h"

#define RANDOM_PIECE_BYTES ((uint32_t)1 << 20)
/* While a guest waits for a time of day, the clock of which may be set, it looks so often. */
#define DAY_LOOK_NS UINT64_C(1000000000)

enum { CLOCK_IS_ABSOLUTE = 1 };
enum { ON_CLOCK = 0, ON_READ = 1, ON_WRITE = 2 };
enum { READ_HANGUP = 1 };

typedef struct wasi_subscription {
    uint64_t user;
    uint8_t kind;
    uint8_t pad_1[7];
    uint32_t id; /* of a clock, or a descriptor */
    uint32_t pad_2;
    uint64_t timeout_ns;
    uint64_t precision_ns;
    uint16_t flags;
    uint8_t pad_3[6];
} wasi_subscription;
static_assert(sizeof(wasi_subscription) == 48, "WASI's size");

typedef struct wasi_event {
    uint64_t user;
    uint16_t error;
    uint8_t kind;
    uint8_t pad_1[5];
    uint64_t bytes;
    uint16_t flags;
    uint8_t pad_2[6];
} wasi_event;
static_assert(sizeof(wasi_event) == 32, "WASI's size");

/* A call, and what its subscriptions come to. */
typedef struct poll_call {
    dw_instance *instance;
    const wasi_subscription *wanted; /* [count], in guest memory, as the next two */
    wasi_event *events;              /* [count]; may lie over `wanted` */
    uint32_t *event_count;
    uint32_t count;
    uint32_t events_at;       /* where `events` is for the guest */
    uint64_t started_ns;      /* from when relative times run */
    uint64_t steady_ahead_ns; /* of the guest's steady clock before ours; modulo 2^64 */
    uint32_t round;
    bool own_clock; /* times are by the guest's own clock, not by dw_os_clock_ns */

    /* Found anew before each wait: */
    dw_wait wait;
    bool any_stream;
    bool any_file;
    bool any_day;   /* a time of day is waited for */
    bool any_ready; /* whatever the wait comes to */
} poll_call;

/* ---- clocks -------------------------------------------------------------------------------- */

static uint64_t add(uint64_t a, uint64_t b)
{
    return a < UINT64_MAX - b ? a + b : UINT64_MAX;
}

/* By the clock that the call's times are of. */
static uint64_t now_of(const poll_call *call)
{
    return call->own_clock ? call->instance->repeatable.clock_ns : dw_os_clock_ns();
}

/* When a clock's subscription comes true; `now` where it has. */
static uint64_t due_ns(const poll_call *call, const wasi_subscription *one, uint64_t now)
{
    uint64_t clock = now - call->started_ns;
    if ((one->flags & CLOCK_IS_ABSOLUTE) != 0 && call->own_clock) {
        clock = now;
    } else if ((one->flags & CLOCK_IS_ABSOLUTE) != 0) {
        clock = one->id == DW__CLOCK_DAY ? dw_os_wall_ms() * 1000000 : now + call->steady_ahead_ns;
    }
    uint64_t due = one->timeout_ns > clock ? add(now, one->timeout_ns - clock) : now;
    return call->own_clock && due > DW_CLOCK_NS_MAX ? DW_CLOCK_NS_MAX : due; /* where it stands */
}

/* What the guest's steady clock says beyond ours: Wasmtime's begins with its store. `events`, which
 * nothing is in yet, serves as the place for the answer. */
static wasm_trap_t *find_steady(poll_call *call)
{
    wasmtime_val_raw_t values[3];
    uint64_t theirs = 0;
    uint64_t kept;
    memcpy(&kept, call->events, sizeof kept); /* the subscriptions may lie there */
    values[0].i32 = DW__CLOCK_STEADY;
    values[1].i64 = 0;
    values[2].i32 = (int32_t)call->events_at;
    wasm_trap_t *trap = dw__wasi_through(call->instance, DW__WASI_CLOCK_TIME_GET, values);
    memcpy(&theirs, call->events, sizeof theirs);
    memcpy(call->events, &kept, sizeof kept);
    call->steady_ahead_ns = theirs - dw_os_clock_ns();
    return trap;
}

/* ---- reading what is wanted ------------------------------------------------------------------ */

static int32_t want_clock(poll_call *call, const wasi_subscription *one, uint64_t now)
{
    if (one->id > DW__CLOCK_STEADY) {
        return DW__WASI_INVAL;
    }
    bool absolute = (one->flags & CLOCK_IS_ABSOLUTE) != 0 && !call->own_clock;
    call->any_day = call->any_day || (absolute && one->id == DW__CLOCK_DAY);
    uint64_t due = due_ns(call, one, now);
    call->wait.until_ns = due < call->wait.until_ns ? due : call->wait.until_ns;
    return DW__WASI_SUCCESS;
}

/* What has to come before a stream can be used. Whether a reader is slow is no guest's to know
 * whose time is its own: it can always write, and that takes as long as it takes. */
static uint32_t stream_events(const poll_call *call, int stream)
{
    return call->own_clock && stream != 0 ? 0 : dw__wasi_stream_events(call->instance, stream);
}

static int32_t want_stream(poll_call *call, const wasi_subscription *one)
{
    int stream = dw__wasi_stream_of(call->instance, one->id);
    if (stream < 0) {
        call->any_file = true;
        call->any_ready = true;
        return DW__WASI_SUCCESS;
    }
    if ((stream == 0) != (one->kind == ON_READ)) {
        return DW__WASI_BADF;
    }
    uint32_t events = stream_events(call, stream);
    call->any_stream = true;
    call->wait.wanted |= events;
    call->any_ready = call->any_ready || events == 0;
    return DW__WASI_SUCCESS;
}

/* Everything that is wanted, into call->wait. Once the guest is asked to stop it is left: the wait
 * then says so. */
static int32_t read_wanted(poll_call *call, uint64_t now)
{
    int32_t error = DW__WASI_SUCCESS;
    call->wait = (dw_wait){.until_ns = UINT64_MAX};
    call->any_stream = call->any_file = call->any_day = call->any_ready = false;
    for (uint32_t i = 0; i < call->count && error == DW__WASI_SUCCESS; i++) {
        const wasi_subscription *one = &call->wanted[i];
        error = one->kind == ON_CLOCK   ? want_clock(call, one, now)
                : one->kind <= ON_WRITE ? want_stream(call, one)
                                        : DW__WASI_INVAL;
        if (dw_stop_pauses_seldom(&call->instance->stop, &call->round)) {
            break;
        }
    }
    uint64_t latest = call->any_ready ? now : call->any_day ? now + DAY_LOOK_NS : UINT64_MAX;
    call->wait.until_ns = latest < call->wait.until_ns ? latest : call->wait.until_ns;
    return error;
}

/* ---- telling --------------------------------------------------------------------------------- */

/* Whether a file is there; a folder is none. The event's own place takes the answer. */
static bool file_is_open(const poll_call *call, uint32_t fd, uint32_t index)
{
    wasmtime_val_raw_t values[2];
    values[0].i32 = (int32_t)fd;
    values[1].i32 = (int32_t)(call->events_at + index * (uint32_t)sizeof(wasi_event));
    wasm_trap_t *trap = dw__wasi_through(call->instance, DW__WASI_FD_TELL, values);
    if (trap != NULL) {
        wasm_trap_delete(trap);
        return false;
    }
    return values[0].i32 == DW__WASI_SUCCESS;
}

/* Whether `one` has come true, which event number `index` then tells. */
static bool has_come(const poll_call *call, const wasi_subscription *one, uint64_t now,
                     uint32_t index, wasi_event *event)
{
    *event = (wasi_event){.user = one->user, .kind = one->kind};
    if (one->kind == ON_CLOCK) {
        return due_ns(call, one, now) <= now;
    }
    event->bytes = 1;
    int stream = dw__wasi_stream_of(call->instance, one->id);
    if (stream < 0) {
        event->error = file_is_open(call, one->id, index) ? DW__WASI_SUCCESS : DW__WASI_BADF;
        return true;
    }
    uint32_t events = stream_events(call, stream);
    event->flags = stream == 0 && (call->wait.ready & DW_WAIT_HANGUP) != 0 ? READ_HANGUP : 0;
    return events == 0 || (call->wait.ready & events) != 0;
}

/* The events of what has come true, in order; 0: nothing has. */
static uint32_t tell(poll_call *call, uint64_t now)
{
    uint32_t told = 0;
    for (uint32_t i = 0; i < call->count; i++) {
        wasi_subscription one = call->wanted[i]; /* the events may lie over it */
        wasi_event event;
        if (one.kind <= ON_WRITE && has_come(call, &one, now, told, &event)) {
            call->events[told++] = event;
        }
        if (dw_stop_pauses_seldom(&call->instance->stop, &call->round)) {
            break;
        }
    }
    *call->event_count = told;
    return told;
}

/* ---- the calls ------------------------------------------------------------------------------- */

/* wanted, events, count, where their number goes. False: Wasmtime is to say what is wrong. */
static bool read_call(poll_call *call, dw_instance *instance, const wasmtime_val_raw_t *values)
{
    uint32_t count = (uint32_t)values[2].i32;
    void *wanted = NULL;
    void *events = NULL;
    void *event_count = NULL;
    bool good =
        count > 0 &&
        dw_instance_range(instance, "in", (uint32_t)values[0].i32, count, sizeof(wasi_subscription),
                          sizeof(uint64_t), &wanted, NULL) == DW_OK &&
        dw_instance_range(instance, "out", (uint32_t)values[1].i32, count, sizeof(wasi_event),
                          sizeof(uint64_t), &events, NULL) == DW_OK &&
        dw_instance_range(instance, "size", (uint32_t)values[3].i32, 1, sizeof(uint32_t),
                          sizeof(uint32_t), &event_count, NULL) == DW_OK;
    *call = (poll_call){.instance = instance,
                        .wanted = wanted,
                        .events = events,
                        .event_count = event_count,
                        .count = count,
                        .events_at = (uint32_t)values[1].i32,
                        .own_clock = instance->repeatable.own_clock};
    call->started_ns = now_of(call);
    return good;
}

static bool any_steady_time(const poll_call *call)
{
    bool any = false;
    for (uint32_t i = 0; i < call->count && !any; i++) {
        const wasi_subscription *one = &call->wanted[i];
        any = one->kind == ON_CLOCK && one->id == DW__CLOCK_STEADY &&
              (one->flags & CLOCK_IS_ABSOLUTE) != 0;
    }
    return any;
}

/* Wait for what is wanted. A clock of the guest's own goes on by what it sleeps, whatever that
 * took. False: the guest was asked to stop. */
static bool wait_for(poll_call *call)
{
    uint64_t sleep_ns = 0;
    if (!call->own_clock) {
        return dw_instance_wait(call->instance, &call->wait);
    }
    if (call->wait.until_ns != UINT64_MAX) {
        sleep_ns = call->wait.until_ns - now_of(call);
        call->wait.until_ns = add(dw_os_clock_ns(), sleep_ns);
    }
    if (!dw_instance_wait(call->instance, &call->wait)) {
        return false;
    }
    dw_instance_clock_sleep(call->instance, call->wait.ready == 0 ? sleep_ns : 0);
    return true;
}

/* in, out, count, size */
static wasm_trap_t *poll_oneoff(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                                size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    poll_call call;
    (void)env;
    (void)count;
    if (!read_call(&call, instance, values)) {
        return dw__wasi_through(instance, DW__WASI_POLL_ONEOFF, values);
    }
    wasm_trap_t *trap = !call.own_clock && any_steady_time(&call) ? find_steady(&call) : NULL;
    if (trap != NULL) {
        return trap;
    }
    for (;;) {
        int32_t error = read_wanted(&call, now_of(&call));
        if (error != DW__WASI_SUCCESS) {
            values[0].i32 = error;
            return NULL;
        }
        if (call.any_file && !call.any_stream && !call.own_clock) {
            return dw__wasi_through(instance, DW__WASI_POLL_ONEOFF, values);
        }
        if (!wait_for(&call)) {
            return dw__wasi_left(instance, values);
        }
        if (tell(&call, now_of(&call)) > 0) {
            values[0].i32 = DW__WASI_SUCCESS;
            return NULL;
        }
    }
}

/* Under a scheduler others run; else there is nobody to make way for. */
static wasm_trap_t *make_way(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                             size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    dw_wait none = {.until_ns = 0};
    (void)env;
    (void)count;
    if (instance->runner != NULL && !dw_instance_wait(instance, &none)) {
        return dw__wasi_left(instance, values);
    }
    values[0].i32 = DW__WASI_SUCCESS;
    return NULL;
}

/* buffer, bytes: in pieces. */
static wasm_trap_t *random_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                               size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    const uint32_t begin = (uint32_t)values[0].i32;
    uint32_t at = begin;
    uint32_t left = (uint32_t)values[1].i32;
    void *place;
    (void)env;
    (void)count;
    if (dw_instance_range(instance, "buffer", at, left, 1, 1, &place, NULL) != DW_OK) {
        return dw__wasi_through(instance, DW__WASI_RANDOM_GET, values);
    }
    values[0].i32 = DW__WASI_SUCCESS;
    while (left > 0) {
        uint32_t piece = left < RANDOM_PIECE_BYTES ? left : RANDOM_PIECE_BYTES;
        wasmtime_val_raw_t part[2];
        part[0].i32 = (int32_t)at;
        part[1].i32 = (int32_t)piece;
        dw_stop_pause(&instance->stop);
        if (dw_instance_cancelled(instance)) {
            return dw__wasi_left(instance, values);
        }
        if (instance->repeatable.own_random) {
            dw_instance_draw(instance, (unsigned char *)place + (at - begin), piece);
            at += piece;
            left -= piece;
            continue;
        }
        wasm_trap_t *trap = dw__wasi_through(instance, DW__WASI_RANDOM_GET, part);
        if (trap != NULL || part[0].i32 != DW__WASI_SUCCESS) {
            values[0].i32 = part[0].i32;
            return trap;
        }
        at += piece;
        left -= piece;
    }
    return NULL;
}

dw_status dw__wasi_poll_define(dw_wasm_host *host, dw_error *err)
{
    dw_status status = dw__wasi_replace(host, DW__WASI_POLL_ONEOFF, poll_oneoff, err);
    if (status == DW_OK) {
        status = dw__wasi_replace(host, DW__WASI_RANDOM_GET, random_get, err);
    }
    return status == DW_OK ? dw__wasi_replace(host, DW__WASI_SCHED_YIELD, make_way, err) : status;
}
