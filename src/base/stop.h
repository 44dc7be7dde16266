/* When what is done for a guest has to end: by its deadline, by its processor time, or because
 * somebody asked. One object a guest, which the host work that it causes is handed, and which all
 * loops of it look at that may take longer than some milliseconds.
 *
 * A look costs a load, and where there is a limit the reading of the monotonic clock: 25 ns.
 * Setting the system's clock changes nothing. Until the call ends an answer of "stop" stays: work
 * that was left half done is found to be so by whoever looks next.
 *
 * Thread: dw_stop_begin, _run, _rest, _pause and dw_stop_take belong to the guest's thread; looks
 * are for any thread that works for it; dw_stop_cancel and dw_stop_interrupt for any, and for
 * signal handlers. */
#ifndef DW_BASE_STOP_H
#define DW_BASE_STOP_H

#include "base/os.h"

/* A pipe that ends waits in poll(2). What is written to it says nothing but that somebody should
 * look. */
typedef struct dw_waker {
    int read_fd;
    int write_fd;
    bool asked; /* atomic: it was woken since dw_waker_take_asked */
} dw_waker;

/* Errors: DW_E_LIMIT (descriptors). */
dw_status dw_waker_open(dw_waker *waker, dw_error *err);
void dw_waker_close(dw_waker *waker);
/* Thread: any. Async-signal-safe. */
void dw_waker_wake(dw_waker *waker);
/* Forget what was written so far. */
void dw_waker_drain(const dw_waker *waker);
/* Whether it was woken since this was called last: what woke it, who looks now sees. */
bool dw_waker_take_asked(dw_waker *waker);

typedef enum dw_stop_limit {
    DW_STOP_NONE,
    DW_STOP_TIME,
    DW_STOP_PROCESSOR_TIME,
} dw_stop_limit;

/* Zeroed: without limits, and nobody has asked. */
typedef struct dw_stop {
    bool cancelled;   /* atomic; also where it is interrupted */
    bool interrupted; /* atomic; it stays */
    uint8_t reached;  /* atomic, a dw_stop_limit, since the call began */
    uint64_t look_ns; /* atomic: no limit is reached before the clock says so; UINT64_MAX: none is
                         set; 0: not known yet */
    dw_waker *waker;  /* atomic: of who waits for this guest; NULL: nobody does */

    uint64_t deadline_ns;         /* by dw_os_clock_ns; 0: none */
    uint64_t processor_ns_max;    /* 0: no limit */
    uint64_t processor_ns;        /* used before it last began to run */
    uint64_t processor_from_ns;   /* by `processor`, when it last began to run */
    dw_os_thread_clock processor; /* of the thread that runs it */
    bool runs;
    bool processor_taken; /* atomic: the four above are being read or written */

    void (*on_pause)(
        void *user); /* of who lets several take turns on a thread; NULL: nobody does */
    void *pause_user;
    uint64_t pause_ns; /* when the turn is over; 0: not known yet */
} dw_stop;

/* Of one call; 0: no limit. */
typedef struct dw_stop_limits {
    uint64_t time_ns;
    uint64_t processor_ns;
} dw_stop_limits;

/* A call begins: its time starts. It does not run yet. */
void dw_stop_begin(dw_stop *stop, const dw_stop_limits *limits);
/* It runs on the calling thread from now on, whose processor time counts; and does not. */
void dw_stop_run(dw_stop *stop);
void dw_stop_rest(dw_stop *stop);
/* Processor time of the call so far, where there is a limit on it; else 0. */
uint64_t dw_stop_processor_ns(dw_stop *stop);

/* Who is woken when somebody asks, until another call: NULL for nobody. It must stay open as long
 * as anybody may ask. */
void dw_stop_set_waker(dw_stop *stop, dw_waker *waker);

/* Who waits for this guest looks what has come. Thread: any, while the guest cannot go. */
void dw_stop_wake(dw_stop *stop);
/* What is under way should stop: host functions answer DW_E_CANCELLED until it is taken back. */
void dw_stop_cancel(dw_stop *stop);
/* The guest ends. */
void dw_stop_interrupt(dw_stop *stop);
/* Take a cancellation back; an interruption stays. */
void dw_stop_take(dw_stop *stop);

/* Whether a limit is reached, which is noted. For the next two. */
bool dw__stop_reached(dw_stop *stop);

/* Whether the work should be left: cancelled, interrupted, or beyond a limit. NULL: no. */
static inline bool dw_stop_asked(dw_stop *stop)
{
    if (stop == NULL) {
        return false;
    }
    if (__atomic_load_n(&stop->cancelled, __ATOMIC_RELAXED)) {
        return true;
    }
    uint64_t look_ns = __atomic_load_n(&stop->look_ns, __ATOMIC_RELAXED);
    return look_ns != UINT64_MAX && dw_os_clock_ns() >= look_ns && dw__stop_reached(stop);
}

/* Whether the guest was interrupted, in a call or before one. */
static inline bool dw_stop_was_interrupted(const dw_stop *stop)
{
    return __atomic_load_n(&stop->interrupted, __ATOMIC_RELAXED);
}

/* Whether the guest must end: interrupted, or beyond a limit. */
static inline bool dw_stop_ends(dw_stop *stop)
{
    return dw_stop_was_interrupted(stop) || dw__stop_reached(stop);
}

/* dw_stop_asked, once in so many calls: for loops whose rounds take less than a look. */
#define DW_STOP_ROUNDS 1024u
static inline bool dw_stop_asked_seldom(dw_stop *stop, uint32_t *round)
{
    return ++*round % DW_STOP_ROUNDS == 0 && dw_stop_asked(stop);
}

/* How long work for one guest goes on while others wait for the thread. */
#define DW_STOP_TURN_NS UINT64_C(10000000)

/* `on_pause` (NULL: there is nobody else) is called in host work that is not over when the turn is,
 * and returns when it is to go on. */
void dw_stop_set_pause(dw_stop *stop, void (*on_pause)(void *user), void *user);
/* A turn begins on the calling thread, which works for this guest alone until dw_stop_end_turn:
 * only there it may wait. Returns whose turn it was, for dw_stop_end_turn. */
dw_stop *dw_stop_begin_turn(dw_stop *stop);
void dw_stop_end_turn(dw_stop *before);
extern _Thread_local dw_stop *dw__stop_in_turn;
void dw__stop_pause(dw_stop *stop);

/* Let others have their turn, where there are any and this one's is over: for loops of host work on
 * the guest's thread, where it holds no lock and nothing that others may wait for. */
static inline void dw_stop_pause(dw_stop *stop)
{
    if (stop != NULL && stop == dw__stop_in_turn) {
        dw__stop_pause(stop);
    }
}

/* The same, whether the turn is over or not: another thread works for this guest. Whether there is
 * anybody who takes turns. */
bool dw_stop_pause_now(dw_stop *stop);

/* dw_stop_asked_seldom, and dw_stop_pause as often. */
static inline bool dw_stop_pauses_seldom(dw_stop *stop, uint32_t *round)
{
    if (++*round % DW_STOP_ROUNDS != 0) {
        return false;
    }
    dw_stop_pause(stop);
    return dw_stop_asked(stop);
}

/* Guests who have no part in some work, and who cannot end before it does. */
typedef struct dw_stop_others {
    uint64_t due_ns; /* atomic: when the first of them has to end; UINT64_MAX: none has */
    dw_waker *waker; /* of all of them: woken when one is asked to stop */
    bool may_leave;  /* they do wait for it; else they only want it to be short */
    const struct dw_stop_others *next; /* guests of another thread, likewise; NULL: none */
} dw_stop_others;

/* Of all, from these on. */
static inline uint64_t dw_stop_others_due_ns(const dw_stop_others *others)
{
    uint64_t first_ns = UINT64_MAX;
    for (; others != NULL; others = others->next) {
        uint64_t due_ns = __atomic_load_n(&others->due_ns, __ATOMIC_RELAXED);
        first_ns = due_ns < first_ns ? due_ns : first_ns;
    }
    return first_ns;
}

/* Those of several guests whose work goes through the device together. */
typedef struct dw_stops {
    dw_stop *const *items; /* [count], some may be NULL */
    uint32_t count;
    const dw_stop_others *others; /* for whom it is left as well; NULL: for nobody */
} dw_stops;

/* Whether any of them asks, or has to end of the others; `stops` may be NULL. */
bool dw_stops_asked(const dw_stops *stops);

/* dw_stop_asked as a status. Errors: DW_E_CANCELLED, "what: cancelled", or which limit it was. */
dw_status dw_stop_check(dw_stop *stop, const char *what, dw_error *err);

#endif
