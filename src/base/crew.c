#include "base/crew.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/os.h"

#define LINE_BYTES 64
#define HELPERS_MAX 511
/* How long a helper looks for work: longer than the small nodes between two products take. */
#define LOOK_NS 40000
/* How long who has the work waits for units that others have begun, before it does them too: longer
 * than the last and smallest units take, which all begin at about the same time. */
#define PATIENCE_NS 4000
/* And before it lets others have its core, where there is nothing that it could do. */
#define YIELD_NS 50000
#define LOOKS 16 /* between two readings of the clock */

/* What is taken: the job's number, how many units it has, how many were taken. One that was taken
 * says of which job it is, and that job is not over before the unit is delivered. */
#define COUNT_BITS 16
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
_Static_assert(DW_CREW_UNITS_MAX + HELPERS_MAX + 1 < COUNT_MASK, "taken too often");

/* What a helper does: the job's number, the unit, and how far it is. It alone goes from one to the
 * next, but that who has the work can take away what it computes. */
typedef enum stage { IDLE, COMPUTES, DELIVERS, TAKEN_AWAY } stage;

/* Apart from others', whose threads write theirs as often. */
typedef struct helper {
    _Atomic uint64_t does;
    _Atomic uint64_t delivered; /* units, since the crew is there */
    _Atomic bool busy;          /* may look at a job */
    int index;                  /* of the thread */
    dw_crew *crew;
    pthread_t thread;
    char apart[LINE_BYTES];
} helper;

/* As dw_crew_job, read by helpers that are late while the next is written: they find out behind. */
typedef struct shared_job {
    _Atomic(void (*)(void *user, uint32_t unit, int thread)) compute;
    _Atomic(void (*)(void *user, uint32_t unit, int thread)) deliver;
    _Atomic(void *) user;
} shared_job;

struct dw_crew {
    _Atomic uint64_t ticket;
    char apart_from_ticket[LINE_BYTES];
    shared_job job;
    char apart_from_job[LINE_BYTES];
    uint32_t number;    /* of the job */
    uint64_t wanted;    /* units of all jobs */
    uint64_t delivered; /* by who has the work */
    int helper_count;   /* that have a thread */
    helper *helpers;
    _Atomic uint64_t delay_ns;
    _Atomic bool asleep; /* somebody may be */
    _Atomic bool ends;
    pthread_mutex_t lock; /* guards `wakes` */
    pthread_cond_t changed;
    uint64_t wakes;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool has_units(uint64_t ticket)
{
    return (ticket & COUNT_MASK) < (ticket >> COUNT_BITS & COUNT_MASK);
}

static uint32_t number_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> 2 * COUNT_BITS);
}

/* A unit of whatever job there is, and which; false: all are taken. */
static bool take(dw_crew *crew, uint32_t *number, uint32_t *unit)
{
    if (!has_units(atomic_load_explicit(&crew->ticket, memory_order_relaxed))) {
        return false;
    }
    const uint64_t taken = atomic_fetch_add_explicit(&crew->ticket, 1, memory_order_acq_rel);
    *number = number_of(taken);
    *unit = (uint32_t)(taken & COUNT_MASK);
    return has_units(taken);
}

static uint64_t doing(uint32_t number, uint32_t unit, stage how_far)
{
    return (uint64_t)number << 2 * COUNT_BITS | (uint64_t)unit << COUNT_BITS | (uint64_t)how_far;
}

/* ---- helpers ---- */

/* The job with that number. False: it is over, others did the unit. */
static bool read_job(dw_crew *crew, uint32_t number, dw_crew_job *to)
{
    to->compute = atomic_load_explicit(&crew->job.compute, memory_order_acquire);
    to->deliver = atomic_load_explicit(&crew->job.deliver, memory_order_acquire);
    to->user = atomic_load_explicit(&crew->job.user, memory_order_acquire);
    return number_of(atomic_load_explicit(&crew->ticket, memory_order_relaxed)) == number;
}

static void stand_still(dw_crew *crew)
{
    const uint64_t delay_ns = atomic_load_explicit(&crew->delay_ns, memory_order_relaxed);
    if (delay_ns > 0) {
        const struct timespec still = {.tv_nsec = (long)delay_ns};
        (void)nanosleep(&still, NULL);
    }
}

static void help_with(helper *h, uint32_t number, uint32_t unit)
{
    dw_crew_job job;
    if (!read_job(h->crew, number, &job)) {
        return;
    }
    if (job.compute != NULL) {
        job.compute(job.user, unit, h->index);
        stand_still(h->crew);
    }
    uint64_t expected = doing(number, unit, COMPUTES);
    if (atomic_compare_exchange_strong_explicit(&h->does, &expected, doing(number, unit, DELIVERS),
                                                memory_order_acq_rel, memory_order_relaxed)) {
        job.deliver(job.user, unit, h->index);
        const uint64_t before = atomic_load_explicit(&h->delivered, memory_order_relaxed);
        atomic_store_explicit(&h->delivered, before + 1, memory_order_release);
    }
}

/* Whether there was a unit. Where this thread stands still between taking one and saying so, it is
 * waited for: that is a few instructions of some thousands. */
static bool help(helper *h)
{
    uint32_t number;
    uint32_t unit;
    if (!take(h->crew, &number, &unit)) {
        return false;
    }
    atomic_store_explicit(&h->does, doing(number, unit, COMPUTES), memory_order_release);
    help_with(h, number, unit);
    atomic_store_explicit(&h->does, doing(0, 0, IDLE), memory_order_release);
    return true;
}

static void sleep_until_work(dw_crew *crew)
{
    (void)pthread_mutex_lock(&crew->lock);
    const uint64_t wakes = crew->wakes;
    atomic_store(&crew->asleep, true);
    if (!has_units(atomic_load(&crew->ticket))) {
        while (crew->wakes == wakes && !atomic_load(&crew->ends)) {
            (void)pthread_cond_wait(&crew->changed, &crew->lock);
        }
    }
    (void)pthread_mutex_unlock(&crew->lock);
}

/* Look for units; sleep where there were none for long. */
static void look(helper *h)
{
    dw_crew *crew = h->crew;
    uint64_t since_ns = 0;
    for (uint32_t looks = 1;; looks++) {
        if (has_units(atomic_load_explicit(&crew->ticket, memory_order_relaxed))) {
            return;
        }
        relax();
        if (looks % LOOKS != 0) {
            continue;
        }
        const uint64_t now_ns = dw_os_clock_ns();
        since_ns = since_ns == 0 ? now_ns : since_ns;
        if (now_ns - since_ns > LOOK_NS) {
            sleep_until_work(crew);
            return;
        }
    }
}

static void *run_helper(void *user)
{
    helper *h = user;
    while (!atomic_load_explicit(&h->crew->ends, memory_order_relaxed)) {
        atomic_store_explicit(&h->busy, true, memory_order_relaxed);
        while (help(h)) {}
        atomic_store_explicit(&h->busy, false, memory_order_release);
        look(h);
    }
    return NULL;
}

static void wake(dw_crew *crew)
{
    (void)pthread_mutex_lock(&crew->lock);
    atomic_store(&crew->asleep, false);
    crew->wakes++;
    (void)pthread_cond_broadcast(&crew->changed);
    (void)pthread_mutex_unlock(&crew->lock);
}

/* ---- who has the work ---- */

/* Helpers that are late with an earlier job see that it is over before they see anything of this
 * one: what is stored is stored in this order. */
static void begin(dw_crew *crew, const dw_crew_job *job)
{
    DW_ASSERT(job->units > 0 && job->units <= DW_CREW_UNITS_MAX);
    if (++crew->number == 0) { /* a day of the fastest: nobody may mistake it for the last one */
        dw_crew_settle(crew);
        crew->number = 1;
    }
    crew->wanted += job->units;
    const uint64_t none = (uint64_t)crew->number << 2 * COUNT_BITS;
    atomic_store_explicit(&crew->ticket, none, memory_order_release);
    atomic_store_explicit(&crew->job.compute, job->compute, memory_order_release);
    atomic_store_explicit(&crew->job.deliver, job->deliver, memory_order_release);
    atomic_store_explicit(&crew->job.user, job->user, memory_order_release);
    atomic_store(&crew->ticket, none | (uint64_t)job->units << COUNT_BITS);
    if (atomic_load(&crew->asleep)) {
        wake(crew);
    }
}

static void do_unit(dw_crew *crew, const dw_crew_job *job, uint32_t unit)
{
    if (job->compute != NULL) {
        job->compute(job->user, unit, 0);
    }
    job->deliver(job->user, unit, 0);
    crew->delivered++;
}

/* What helpers have begun. */
static void take_away(dw_crew *crew, const dw_crew_job *job)
{
    for (int i = 0; i < crew->helper_count; i++) {
        helper *h = &crew->helpers[i];
        uint64_t does = atomic_load_explicit(&h->does, memory_order_relaxed);
        const uint32_t unit = (uint32_t)(does >> COUNT_BITS & COUNT_MASK);
        if (does == doing(crew->number, unit, COMPUTES) &&
            atomic_compare_exchange_strong_explicit(&h->does, &does,
                                                    doing(crew->number, unit, TAKEN_AWAY),
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            do_unit(crew, job, unit);
        }
    }
}

/* Units of all jobs so far. */
static uint64_t delivered_by_all(const dw_crew *crew)
{
    uint64_t delivered = crew->delivered;
    for (int i = 0; i < crew->helper_count; i++) {
        delivered += atomic_load_explicit(&crew->helpers[i].delivered, memory_order_acquire);
    }
    return delivered;
}

static bool is_over(const dw_crew *crew)
{
    return delivered_by_all(crew) == crew->wanted;
}

static void wait_for_others(dw_crew *crew, const dw_crew_job *job)
{
    uint64_t since_ns = 0;
    for (uint32_t looks = 1; !is_over(crew); looks++) {
        relax();
        if (looks % LOOKS != 0) {
            continue;
        }
        const uint64_t now_ns = dw_os_clock_ns();
        since_ns = since_ns == 0 ? now_ns : since_ns;
        if (job->compute != NULL && now_ns - since_ns > PATIENCE_NS) {
            take_away(crew, job);
        }
        if (now_ns - since_ns > YIELD_NS) {
            (void)sched_yield();
        }
    }
}

void dw_crew_run(dw_crew *crew, const dw_crew_job *job)
{
    uint32_t number;
    uint32_t unit;
    begin(crew, job);
    while (take(crew, &number, &unit)) {
        do_unit(crew, job, unit);
    }
    wait_for_others(crew, job);
}

void dw_crew_settle(dw_crew *crew)
{
    const uint64_t none = (uint64_t)crew->number << 2 * COUNT_BITS;
    /* Also where a job was left in the middle. By an exchange: who took a unit before it has said
     * that it is busy, and who comes behind it takes none. */
    (void)atomic_exchange(&crew->ticket, none);
    for (int i = 0; i < crew->helper_count; i++) {
        for (uint32_t looks = 1; atomic_load_explicit(&crew->helpers[i].busy, memory_order_acquire);
             looks++) {
            relax();
            if (looks % 256 == 0) {
                (void)sched_yield();
            }
        }
    }
    crew->wanted = delivered_by_all(crew); /* what was left is not wanted any more */
}

void dw_crew_set_delay_ns(dw_crew *crew, uint64_t delay_ns)
{
    atomic_store(&crew->delay_ns, delay_ns);
}

/* ---- life ---- */

static dw_status start(dw_crew *crew, int threads, dw_error *err)
{
    for (int i = 0; i + 1 < threads; i++) {
        helper *h = &crew->helpers[i];
        h->crew = crew;
        h->index = i + 1;
        const int failed = dw_os_start_thread(&h->thread, run_helper, h);
        if (failed != 0) {
            return dw_fail(err, DW_E_MEMORY, "cannot start thread %d of %d: %s", i + 2, threads,
                           strerror(failed));
        }
        crew->helper_count++;
    }
    return DW_OK;
}

dw_status dw_crew_create(dw_crew **out, int threads, dw_error *err)
{
    *out = NULL;
    DW_ASSERT(threads > 1 && threads <= HELPERS_MAX + 1);
    dw_crew *crew = dw_alloc(1, sizeof *crew);
    if (crew == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %d threads", threads);
    }
    DW_ASSERT(pthread_mutex_init(&crew->lock, NULL) == 0);
    dw_os_cond_init(&crew->changed);
    crew->helpers = dw_alloc((size_t)threads - 1, sizeof *crew->helpers);
    dw_status status = crew->helpers != NULL
                           ? start(crew, threads, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for %d threads", threads);
    if (status != DW_OK) {
        dw_crew_destroy(crew);
        return status;
    }
    *out = crew;
    return DW_OK;
}

void dw_crew_destroy(dw_crew *crew)
{
    if (crew == NULL) {
        return;
    }
    atomic_store(&crew->ends, true);
    wake(crew);
    for (int i = 0; i < crew->helper_count; i++) {
        (void)pthread_join(crew->helpers[i].thread, NULL);
    }
    (void)pthread_cond_destroy(&crew->changed);
    (void)pthread_mutex_destroy(&crew->lock);
    dw_free(crew->helpers);
    dw_free(crew);
}
