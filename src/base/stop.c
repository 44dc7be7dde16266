#include "base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* While processor time is left, the clock that tells of it is read at most so often: it costs a
 * system call. */
#define PROCESSOR_LOOK_NS UINT64_C(1000000)

/* ---- wakers ------------------------------------------------------------------------------- */

static bool set_up(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

dw_status dw_waker_open(dw_waker *waker, dw_error *err)
{
    int fds[2];
    *waker = (dw_waker){.read_fd = -1, .write_fd = -1};
    if (pipe(fds) != 0) {
        return dw_fail(err, DW_E_LIMIT, "a pipe for waits: %s", strerror(errno));
    }
    waker->read_fd = dw_os_clear_of_standard(fds[0]);
    waker->write_fd = dw_os_clear_of_standard(fds[1]);
    if (waker->read_fd < 0 || waker->write_fd < 0 || !set_up(waker->read_fd) ||
        !set_up(waker->write_fd)) {
        dw_status status = dw_fail(err, DW_E_LIMIT, "a pipe for waits: %s", strerror(errno));
        dw_waker_close(waker);
        return status;
    }
    return DW_OK;
}

void dw_waker_close(dw_waker *waker)
{
    dw_os_close(waker->read_fd);
    dw_os_close(waker->write_fd);
    *waker = (dw_waker){.read_fd = -1, .write_fd = -1};
}

void dw_waker_wake(dw_waker *waker)
{
    int kept = errno;
    __atomic_store_n(&waker->asked, true, __ATOMIC_RELEASE);
    ssize_t written = write(waker->write_fd, "", 1); /* full: it is awake */
    (void)written;
    errno = kept;
}

void dw_waker_drain(const dw_waker *waker)
{
    char bytes[64];
    while (read(waker->read_fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes) {} /* less: all */
}

bool dw_waker_take_asked(dw_waker *waker)
{
    return __atomic_load_n(&waker->asked, __ATOMIC_RELAXED) &&
           __atomic_exchange_n(&waker->asked, false, __ATOMIC_ACQUIRE);
}

/* ---- calls -------------------------------------------------------------------------------- */

/* What the guest's thread notes of its processor time, others look at while it runs: for some
 * nanoseconds, and where there is a limit alone. */
static void take_processor(dw_stop *stop)
{
    while (__atomic_test_and_set(&stop->processor_taken, __ATOMIC_ACQUIRE)) {}
}

static void give_processor(dw_stop *stop)
{
    __atomic_clear(&stop->processor_taken, __ATOMIC_RELEASE);
}

static uint64_t used_now(const dw_stop *stop)
{
    uint64_t now = stop->runs ? dw_os_thread_clock_ns(stop->processor) : stop->processor_from_ns;
    return stop->processor_ns + (now > stop->processor_from_ns ? now - stop->processor_from_ns : 0);
}

static uint64_t used_ns(dw_stop *stop)
{
    take_processor(stop);
    uint64_t used = used_now(stop);
    give_processor(stop);
    return used;
}

uint64_t dw_stop_processor_ns(dw_stop *stop)
{
    return stop->processor_ns_max != 0 ? used_ns(stop) : 0;
}

static void set_look(dw_stop *stop, uint64_t look_ns)
{
    __atomic_store_n(&stop->look_ns, look_ns, __ATOMIC_RELAXED);
}

void dw_stop_begin(dw_stop *stop, const dw_stop_limits *limits)
{
    uint64_t now = dw_os_clock_ns();
    __atomic_store_n(&stop->reached, DW_STOP_NONE, __ATOMIC_RELAXED);
    stop->deadline_ns = 0;
    if (limits->time_ns != 0) {
        stop->deadline_ns = limits->time_ns < UINT64_MAX - now ? now + limits->time_ns : UINT64_MAX;
    }
    stop->processor_ns_max = limits->processor_ns;
    stop->processor_ns = 0;
    stop->processor_from_ns = 0;
    stop->runs = false;
    set_look(stop, 0);
}

void dw_stop_run(dw_stop *stop)
{
    if (stop->processor_ns_max != 0 && !stop->runs) {
        take_processor(stop);
        stop->processor = dw_os_thread_clock_of_this();
        stop->processor_from_ns = dw_os_thread_clock_ns(stop->processor);
        stop->runs = true;
        give_processor(stop);
        set_look(stop, 0);
    }
}

void dw_stop_rest(dw_stop *stop)
{
    if (stop->runs) {
        take_processor(stop);
        stop->processor_ns = used_now(stop);
        stop->processor_from_ns = 0;
        stop->runs = false;
        give_processor(stop);
    }
}

/* ---- asking ------------------------------------------------------------------------------- */

static void wake(const dw_stop *stop)
{
    dw_waker *waker = __atomic_load_n(&stop->waker, __ATOMIC_SEQ_CST);
    if (waker != NULL) {
        dw_waker_wake(waker);
    }
}

/* Who waits sets it and then looks; who asks says so and then looks for it: one sees the other. */
void dw_stop_set_waker(dw_stop *stop, dw_waker *waker)
{
    __atomic_store_n(&stop->waker, waker, __ATOMIC_SEQ_CST);
    /* Later looks at it, of any order, see no less than this one. A fence would do as well, but
     * ThreadSanitizer knows none. */
    (void)__atomic_load_n(&stop->cancelled, __ATOMIC_SEQ_CST);
}

void dw_stop_wake(dw_stop *stop)
{
    wake(stop);
}

void dw_stop_cancel(dw_stop *stop)
{
    __atomic_store_n(&stop->cancelled, true, __ATOMIC_SEQ_CST);
    wake(stop);
}

void dw_stop_interrupt(dw_stop *stop)
{
    __atomic_store_n(&stop->interrupted, true, __ATOMIC_SEQ_CST);
    dw_stop_cancel(stop);
}

void dw_stop_take(dw_stop *stop)
{
    bool ending = __atomic_load_n(&stop->interrupted, __ATOMIC_RELAXED);
    __atomic_store_n(&stop->cancelled, ending, __ATOMIC_RELAXED);
}

/* ---- looking ------------------------------------------------------------------------------ */

/* Several threads may look at once: each comes to an answer that was right when it was given. */
bool dw__stop_reached(dw_stop *stop)
{
    if (__atomic_load_n(&stop->reached, __ATOMIC_RELAXED) != DW_STOP_NONE) {
        return true;
    }
    uint64_t next = UINT64_MAX;
    uint64_t now = dw_os_clock_ns();
    if (stop->deadline_ns != 0) {
        if (now > stop->deadline_ns) {
            __atomic_store_n(&stop->reached, DW_STOP_TIME, __ATOMIC_RELAXED);
            return true;
        }
        next = stop->deadline_ns;
    }
    if (stop->processor_ns_max != 0) {
        uint64_t used = used_ns(stop);
        if (used > stop->processor_ns_max) {
            __atomic_store_n(&stop->reached, DW_STOP_PROCESSOR_TIME, __ATOMIC_RELAXED);
            return true;
        }
        /* A thread's processor time passes no faster than time. */
        uint64_t left = stop->processor_ns_max - used;
        left = left > PROCESSOR_LOOK_NS ? left : PROCESSOR_LOOK_NS;
        next = left < next - now ? now + left : next;
    }
    set_look(stop, next);
    return false;
}

void dw_stop_set_pause(dw_stop *stop, void (*on_pause)(void *user), void *user)
{
    stop->on_pause = on_pause;
    stop->pause_user = user;
    stop->pause_ns = 0;
}

_Thread_local dw_stop *dw__stop_in_turn;

dw_stop *dw_stop_begin_turn(dw_stop *stop)
{
    dw_stop *before = dw__stop_in_turn;
    dw__stop_in_turn = stop->on_pause != NULL ? stop : NULL;
    stop->pause_ns = 0;
    return before;
}

void dw_stop_end_turn(dw_stop *before)
{
    dw__stop_in_turn = before;
}

bool dw_stop_pause_now(dw_stop *stop)
{
    if (stop == NULL || stop != dw__stop_in_turn) {
        return false;
    }
    stop->on_pause(stop->pause_user);
    stop->pause_ns = 0;
    return true;
}

/* A turn is counted from the first look on: what the guest itself did before is bounded as well. */
void dw__stop_pause(dw_stop *stop)
{
    uint64_t now = dw_os_clock_ns();
    if (stop->pause_ns == 0) {
        stop->pause_ns = now + DW_STOP_TURN_NS;
    } else if (now >= stop->pause_ns) {
        stop->on_pause(stop->pause_user);
        stop->pause_ns = 0;
    }
}

static bool others_ask(const dw_stop_others *others, uint64_t now)
{
    uint64_t due_ns = dw_stop_others_due_ns(others);
    bool asked = due_ns != UINT64_MAX && (now != 0 ? now : dw_os_clock_ns()) > due_ns;
    for (; others != NULL && !asked; others = others->next) {
        asked = __atomic_load_n(&others->waker->asked, __ATOMIC_RELAXED);
    }
    return asked;
}

bool dw_stops_asked(const dw_stops *stops)
{
    uint64_t now = 0;
    bool asked = false;
    for (uint32_t i = 0; stops != NULL && i < stops->count && !asked; i++) {
        dw_stop *stop = stops->items[i];
        if (stop == NULL) {
            continue;
        }
        uint64_t look_ns = __atomic_load_n(&stop->look_ns, __ATOMIC_RELAXED);
        asked = __atomic_load_n(&stop->cancelled, __ATOMIC_RELAXED);
        if (!asked && look_ns != UINT64_MAX) {
            now = now != 0 ? now : dw_os_clock_ns();
            asked = now >= look_ns && dw__stop_reached(stop);
        }
    }
    if (!asked && stops != NULL && stops->others != NULL) {
        asked = others_ask(stops->others, now);
    }
    return asked;
}

dw_status dw_stop_check(dw_stop *stop, const char *what, dw_error *err)
{
    if (!dw_stop_asked(stop)) {
        return DW_OK;
    }
    switch (__atomic_load_n(&stop->reached, __ATOMIC_RELAXED)) {
    case DW_STOP_TIME:
        return dw_fail(err, DW_E_CANCELLED, "%s: the guest's time is over", what);
    case DW_STOP_PROCESSOR_TIME:
        return dw_fail(err, DW_E_CANCELLED, "%s: the guest's processor time is over", what);
    default:
        return dw_fail(err, DW_E_CANCELLED, "%s: cancelled", what);
    }
}
