#include "scheduler/device_side.h"

#include "base/array.h"
#include "base/os.h"
#include "scheduler/generations.h"

/* How long steps that wait are kept for those of guests that are about to ask, as a part of the
 * last run: weights are read once for all that take part, so that two runs take nearly twice as
 * long. Where steps follow one another without guests, less is lost by going on. */
#define GATHER_PART 4u
#define GATHER_PART_OF_ITS_OWN 16u
/* Batches kept in which nothing waits. */
#define EMPTY_MAX 4u

/* Without a thread there is nobody to be kept out. */
static void lock(dw__device_side *side)
{
    if (side->own_thread) {
        DW_ASSERT(pthread_mutex_lock(&side->lock) == 0);
    }
}

static void unlock(dw__device_side *side)
{
    if (side->own_thread) {
        (void)pthread_mutex_unlock(&side->lock);
    }
}

/* ---- batches: the device's thread ----------------------------------------------------------- */

static dw__task *task_of(const dw_batch_item *item)
{
    return item->owner;
}

/* A guest's part of the run that is counted next. */
static void on_part(void *user, const dw_batch_item *item, uint32_t token_count, uint64_t from_ns,
                    uint64_t to_ns)
{
    const dw_scheduler *scheduler = user;
    if (dw__is_watched(scheduler)) {
        uint64_t runs = atomic_load_explicit(&scheduler->counts.steps, memory_order_relaxed);
        dw__watched(scheduler, task_of(item),
                    &(dw_scheduler_span){.kind = DW_SPAN_STEP,
                                         .from_ns = from_ns,
                                         .to_ns = to_ns,
                                         .run = runs + 1,
                                         .tokens = token_count});
    }
}

static dw_status add_batch(dw_scheduler *scheduler, dw_batch **out, dw_error *err)
{
    dw_batch *batch = NULL;
    if (DW_ARRAY_RESERVE(scheduler->batches, scheduler->batch_capacity, scheduler->batch_count + 1,
                         SIZE_MAX)) {
        batch = dw_alloc(1, sizeof *batch);
    }
    if (batch == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a batch");
    }
    dw_batch_init(batch, &scheduler->limits);
    dw_status status = dw_batch_look_ahead(batch, err);
    if (status != DW_OK) {
        dw_free(batch);
        return status;
    }
    batch->others = &scheduler->workers[0].others;
    batch->on_part = on_part;
    batch->part_user = scheduler;
    batch->relieve = scheduler->relieve;
    batch->relieve_user = scheduler->relieve_user;
    scheduler->batches[scheduler->batch_count++] = batch;
    *out = batch;
    return DW_OK;
}

/* Batches in which nothing waits go, but for a few: steps of most kinds come again. */
static void drop_empty(dw_scheduler *scheduler)
{
    size_t empty = 0;
    for (size_t i = scheduler->batch_count; i-- > 0;) {
        dw_batch *batch = scheduler->batches[i];
        if (!dw_batch_is_busy(batch) && ++empty > EMPTY_MAX) {
            dw_batch_release(batch);
            dw_free(batch);
            scheduler->batches[i] = scheduler->batches[--scheduler->batch_count];
        }
    }
}

/* The batch in which steps of `context` wait: one where others of its kind wait, an empty one, or a
 * new one. A kind is a model, a type of keys and values, adapters that mix and rope factors: since
 * guests choose sets, there may be as many kinds as contexts. */
static dw_status batch_for(dw_scheduler *scheduler, const dw_context *context, dw_batch **out,
                           dw_error *err)
{
    dw_batch *empty = NULL;
    for (size_t i = 0; i < scheduler->batch_count; i++) {
        dw_batch *batch = scheduler->batches[i];
        if (dw_batch_admits(batch, context, NULL) != DW_OK) {
            continue;
        }
        if (batch->waiting_count > 0) {
            *out = batch;
            return DW_OK;
        }
        empty = batch;
    }
    if (empty != NULL) {
        *out = empty;
        return DW_OK;
    }
    return add_batch(scheduler, out, err);
}

/* The task's worker is to be told of `done`, or of tokens that have come. With the lock. */
static void tell(const dw__task *task)
{
    dw__worker *worker = task->worker;
    dw__device_side *side = &worker->scheduler->device;
    side->askers += !worker->asks;
    worker->asks = true;
    atomic_store(&worker->has_done, true);
    dw__wake(worker);
    dw__task_ask_way(task);
}

/* With the lock. */
static void give_back(dw_batch_item *item)
{
    const dw__task *task = task_of(item);
    dw_batch_queue_put(&task->worker->done, item);
    tell(task);
}

static void enter_batch(dw_scheduler *scheduler, dw_batch_item *item)
{
    dw_batch *batch = NULL;
    const dw__task *task = task_of(item);
    item->share = &task->share->device;
    item->share->weight = atomic_load_explicit(&task->share->weight, memory_order_relaxed);
    item->priority = task->priority;
    item->due_ns = task->due_ns;
    item->error = (dw_error){0};
    item->status = batch_for(scheduler, item->context, &batch, &item->error);
    if (item->status == DW_OK) {
        dw_batch_add(batch, item);
        return;
    }
    item->before = dw_context_length(item->context);
    if (item->step.tree != NULL) {
        dw_context_drop_tree(item->context);
    }
    dw_generation *generation = item->user;
    if (generation != NULL) {
        (void)dw_generation_take(generation); /* it ends with that */
    }
    lock(&scheduler->device);
    give_back(item);
    unlock(&scheduler->device);
}

/* It has as many tokens as its guest waits for. */
static void note(dw_scheduler *scheduler, dw_generation *generation)
{
    const dw__task *task = generation->owner;
    dw__worker *worker = task->worker;
    lock(&scheduler->device);
    if (!generation->noted) {
        generation->noted = true;
        generation->noted_next = worker->noted;
        worker->noted = generation;
        tell(task);
    }
    unlock(&scheduler->device);
}

/* Steps that are through: those of generations make their next, which wait at once. */
static void settle(dw_scheduler *scheduler, dw_batch *batch)
{
    dw__device_side *side = &scheduler->device;
    dw_batch_queue done = {NULL, NULL};
    for (dw_batch_item *item = dw_batch_take(batch); item != NULL; item = dw_batch_take(batch)) {
        dw_generation *generation = item->user;
        if (generation == NULL || !dw_generation_take(generation)) {
            dw_batch_leave(batch, item);
            continue;
        }
        side->feeds_itself = true;
        if (dw_generation_slides(generation)) {
            dw_batch_leave(batch, item);
        } else {
            DW_ASSERT(dw_batch_admits(batch, item->context, NULL) == DW_OK);
            dw_batch_add(batch, item);
        }
        if (dw_generation_has_come(generation)) {
            note(scheduler, generation);
        }
    }
    for (dw_batch_item *item = dw_batch_take_left(batch); item != NULL;
         item = dw_batch_take_left(batch)) {
        dw_generation *generation = item->user;
        const bool slides = generation != NULL && dw_generation_slides(generation);
        dw_batch_queue_put(slides ? &side->sliding : &done, item);
    }
    if (done.first == NULL) {
        return;
    }
    lock(side);
    for (dw_batch_item *item = dw_batch_queue_take(&done); item != NULL;
         item = dw_batch_queue_take(&done)) {
        give_back(item);
    }
    unlock(side);
}

static void count_run(dw__device_counts *counts, const dw_batch_stats *before,
                      const dw_batch_stats *after)
{
    dw__bump(&counts->steps, after->runs - before->runs);
    dw__bump(&counts->step_tokens, after->tokens - before->tokens);
    dw__bump(&counts->step_sequences, after->sequences - before->sequences);
    if (after->most_sequences >
        atomic_load_explicit(&counts->most_step_sequences, memory_order_relaxed)) {
        atomic_store_explicit(&counts->most_step_sequences, after->most_sequences,
                              memory_order_relaxed);
    }
}

static void tell_run(const dw_scheduler *scheduler, const dw_batch_stats *before,
                     const dw_batch_stats *after, uint64_t ended)
{
    if (after->runs != before->runs && dw__is_watched(scheduler)) {
        dw__watched(scheduler, NULL,
                    &(dw_scheduler_span){
                        .kind = DW_SPAN_RUN,
                        .from_ns = after->from_ns,
                        .to_ns = ended,
                        .run = atomic_load_explicit(&scheduler->counts.steps, memory_order_relaxed),
                        .tokens = (uint32_t)(after->tokens - before->tokens),
                        .sequences = (uint32_t)(after->sequences - before->sequences)});
    }
}

/* Four classes an octave: those of (4 + k) << n nanoseconds are alike. */
static unsigned idle_class(uint64_t ns)
{
    unsigned octave = 0;
    while (ns >= 8) {
        ns >>= 1;
        octave++;
    }
    return octave * 4 + (unsigned)ns;
}

uint64_t dw__device_idle_median_ns(const dw_scheduler *scheduler)
{
    const _Atomic uint64_t *counts = scheduler->counts.idle_counts;
    uint64_t all = 0;
    uint64_t before = 0;
    unsigned i = 0;
    for (unsigned k = 0; k < DW__IDLE_CLASSES; k++) {
        all += atomic_load_explicit(&counts[k], memory_order_relaxed);
    }
    while (i < DW__IDLE_CLASSES - 1 &&
           2 * (before += atomic_load_explicit(&counts[i], memory_order_relaxed)) < all) {
        i++;
    }
    return i < 8 ? i : (uint64_t)(i % 4 + 4) << (i / 4 - 1);
}

/* What lies between two runs is idle time, unless there was nothing to be done for anybody: by the
 * device's own clock, where it tells and has no runs of others. */
static void count_time(dw_scheduler *scheduler, const dw_batch *batch, uint64_t started,
                       uint64_t ended)
{
    dw__device_side *side = &scheduler->device;
    uint64_t naps = atomic_load_explicit(&side->naps, memory_order_relaxed);
    if (side->ended_ns != 0 && naps == side->naps_seen && !side->amid) {
        bool known = batch->idle_ns != UINT64_MAX && scheduler->batch_count == 1;
        uint64_t idle_ns = known ? batch->idle_ns : side->flies ? 0 : started - side->ended_ns;
        dw__bump(&scheduler->counts.idle_ns, idle_ns);
        dw__bump(&scheduler->counts.idle_times, 1);
        dw__bump(&scheduler->counts.idle_counts[idle_class(idle_ns)], 1);
    }
    side->flies = dw_batch_flies(batch);
    side->naps_seen = naps;
    side->ended_ns = ended;
    side->last_run_ns = ended - started;
    dw__bump(&scheduler->counts.run_ns, ended - started);
}

/* A part for each context whose window moves on; those that are through wait for their runs. */
static void slide(dw_scheduler *scheduler)
{
    dw__device_side *side = &scheduler->device;
    dw_batch_queue before = side->sliding;
    side->sliding = (dw_batch_queue){NULL, NULL};
    for (dw_batch_item *item = dw_batch_queue_take(&before); item != NULL;
         item = dw_batch_queue_take(&before)) {
        dw_generation *generation = item->user;
        if (!dw_generation_slide(generation)) {
            lock(side);
            give_back(item);
            unlock(side);
        } else if (dw_generation_slides(generation)) {
            dw_batch_queue_put(&side->sliding, item);
        } else {
            enter_batch(scheduler, item);
        }
    }
}

/* One run, or a part of one, of the kind of step whose turn it is. */
static void run_batches(dw_scheduler *scheduler)
{
    dw__device_side *side = &scheduler->device;
    bool amid = false;
    slide(scheduler);
    side->feeds_itself = side->sliding.first != NULL;
    dw_batch *next = dw__turns_next(&side->turns, scheduler->batches, scheduler->batch_count);
    if (next != NULL) {
        dw_batch_stats before = next->counts;
        uint64_t started = dw_os_clock_ns();
        dw_batch_run(next);
        uint64_t ended = dw_os_clock_ns();
        dw__turns_charge(&side->turns, ended - started);
        count_time(scheduler, next, started, ended);
        count_run(&scheduler->counts, &before, &next->counts);
        tell_run(scheduler, &before, &next->counts, ended);
    }
    for (size_t i = 0; i < scheduler->batch_count; i++) {
        amid = amid || dw_batch_is_amid(scheduler->batches[i]);
        settle(scheduler, scheduler->batches[i]);
    }
    drop_empty(scheduler);
    side->parts_ns = amid ? side->parts_ns + side->last_run_ns : 0;
    side->amid = amid;
}

static void drop_stopped(dw_scheduler *scheduler)
{
    for (size_t i = 0; i < scheduler->batch_count; i++) {
        dw_batch_drop_stopped(scheduler->batches[i]);
        settle(scheduler, scheduler->batches[i]);
    }
}

static bool any_waits(const dw_scheduler *scheduler)
{
    bool any = scheduler->device.sliding.first != NULL;
    for (size_t i = 0; i < scheduler->batch_count; i++) {
        const dw_batch *batch = scheduler->batches[i];
        any = any || dw_batch_is_busy(batch);
    }
    return any;
}

/* ---- its own thread ------------------------------------------------------------------------- */

/* Wait a little for guests that are about to ask. With the lock. */
static void gather(dw__device_side *side)
{
    uint64_t part = side->feeds_itself ? GATHER_PART_OF_ITS_OWN : GATHER_PART;
    uint64_t until = dw_os_clock_ns() + side->last_run_ns / part;
    side->gathers = true;
    while (side->askers > 0 && !side->paused && !side->stops && dw_os_clock_ns() < until) {
        (void)dw_os_cond_wait_until(&side->changed, &side->lock, until);
    }
    side->gathers = false;
}

/* With the lock, which is given back meanwhile. */
static void pass(dw_scheduler *scheduler)
{
    dw__device_side *side = &scheduler->device;
    dw_batch_queue arrivals = side->arrivals;
    side->arrivals = (dw_batch_queue){NULL, NULL};
    unlock(side);
    for (dw_batch_item *item = dw_batch_queue_take(&arrivals); item != NULL;
         item = dw_batch_queue_take(&arrivals)) {
        enter_batch(scheduler, item);
    }
    uint64_t now = dw_os_clock_ns();
    if (now - side->dropped_ns >= DW__TIME_SLICE_NS / 2) {
        side->dropped_ns = now;
        drop_stopped(scheduler);
    }
    run_batches(scheduler);
    lock(side);
}

static void *run_thread(void *arg)
{
    dw_scheduler *scheduler = arg;
    dw__device_side *side = &scheduler->device;
    lock(side);
    while (!side->stops) {
        if (side->paused || (side->arrivals.first == NULL && !any_waits(scheduler))) {
            side->rests = true;
            (void)pthread_cond_broadcast(&side->changed);
            (void)pthread_cond_wait(&side->changed, &side->lock);
            side->rests = false;
            continue;
        }
        /* Else the device has something to do meanwhile. */
        if (!side->amid && !side->flies && !side->turns.several) {
            gather(side);
        }
        if (!side->paused) {
            pass(scheduler);
        }
    }
    unlock(side);
    return NULL;
}

dw_status dw__device_open(dw_scheduler *scheduler, bool own_thread, dw_error *err)
{
    dw__device_side *side = &scheduler->device;
    if (!own_thread) {
        return DW_OK;
    }
    side->own_thread = true;
    side->paused = true;
    DW_ASSERT(pthread_mutex_init(&side->lock, NULL) == 0);
    dw_os_cond_init(&side->changed);
    int failed = dw_os_start_thread(&side->thread, run_thread, scheduler);
    if (failed != 0) {
        (void)pthread_cond_destroy(&side->changed);
        (void)pthread_mutex_destroy(&side->lock);
        side->own_thread = false;
        return dw_fail(err, DW_E_MEMORY, "scheduler: no thread for the device: error %d", failed);
    }
    return DW_OK;
}

void dw__device_close(dw_scheduler *scheduler)
{
    dw__device_side *side = &scheduler->device;
    if (side->own_thread) {
        lock(side);
        side->stops = true;
        (void)pthread_cond_broadcast(&side->changed);
        unlock(side);
        (void)pthread_join(side->thread, NULL);
        (void)pthread_cond_destroy(&side->changed);
        (void)pthread_mutex_destroy(&side->lock);
    }
    for (size_t i = 0; i < scheduler->batch_count; i++) {
        dw_batch_release(scheduler->batches[i]);
        dw_free(scheduler->batches[i]);
    }
    dw_free(scheduler->batches);
}

void dw__device_resume(dw_scheduler *scheduler)
{
    dw__device_side *side = &scheduler->device;
    atomic_fetch_add(&side->naps, 1); /* what lies behind it is nobody's time */
    if (side->own_thread) {
        lock(side);
        side->paused = false;
        (void)pthread_cond_broadcast(&side->changed);
        unlock(side);
    }
}

void dw__device_pause(dw_scheduler *scheduler)
{
    dw__device_side *side = &scheduler->device;
    if (side->own_thread) {
        lock(side);
        side->paused = true;
        (void)pthread_cond_broadcast(&side->changed);
        while (!side->rests) {
            (void)pthread_cond_wait(&side->changed, &side->lock);
        }
        unlock(side);
    }
}

/* ---- workers' threads ----------------------------------------------------------------------- */

void dw__device_add(dw_scheduler *scheduler, dw_batch_item *items, uint32_t count)
{
    dw__device_side *side = &scheduler->device;
    for (uint32_t i = 0; !side->own_thread && i < count; i++) {
        enter_batch(scheduler, &items[i]);
    }
    if (!side->own_thread) {
        return;
    }
    lock(side);
    for (uint32_t i = 0; i < count; i++) {
        dw_batch_queue_put(&side->arrivals, &items[i]);
    }
    if (side->rests) {
        (void)pthread_cond_broadcast(&side->changed);
    }
    unlock(side);
}

/* Nobody of this worker's is about to ask any more. Whether nobody is at all, and the device has
 * nothing to do either. */
static bool note_turns(dw__worker *worker)
{
    dw__device_side *side = &worker->scheduler->device;
    lock(side);
    if (worker->asks && worker->done.first == NULL && worker->noted == NULL) {
        worker->asks = false;
        side->askers--;
        if (side->askers == 0 && side->gathers) {
            (void)pthread_cond_broadcast(&side->changed);
        }
    }
    bool rests =
        !side->own_thread || (side->rests && side->arrivals.first == NULL && side->askers == 0);
    unlock(side);
    return rests;
}

void dw__device_run(dw__worker *worker)
{
    if (worker->scheduler->device.own_thread) {
        (void)note_turns(worker);
        return;
    }
    run_batches(worker->scheduler);
    dw__device_take(worker);
}

void dw__device_drop_stopped(dw__worker *worker)
{
    if (!worker->scheduler->device.own_thread) { /* it does so by itself */
        drop_stopped(worker->scheduler);
    }
    dw__device_take(worker);
}

static void take_item(dw_batch_item *item)
{
    dw_generation *generation = item->user;
    if (generation != NULL) {
        dw_generation_end(generation);
        dw__generation_came(generation);
        return;
    }
    dw__task *task = task_of(item);
    DW_ASSERT(task->state == DW__TASK_STEPS && task->steps_left > 0);
    if (--task->steps_left > 0) {
        return;
    }
    task->state = DW__TASK_RUNS;
    dw__task_ready(task);
}

void dw__device_take(dw__worker *worker)
{
    dw__device_side *side = &worker->scheduler->device;
    if (!atomic_load_explicit(&worker->has_done, memory_order_acquire)) {
        return;
    }
    lock(side);
    atomic_store(&worker->has_done, false);
    while (worker->noted != NULL) { /* before ends: none is noted whose guest may drop it */
        dw_generation *generation = worker->noted;
        worker->noted = generation->noted_next;
        generation->noted = false;
        dw__generation_came(generation);
    }
    dw_batch_queue done = worker->done;
    worker->done = (dw_batch_queue){NULL, NULL};
    unlock(side);
    for (dw_batch_item *item = dw_batch_queue_take(&done); item != NULL;
         item = dw_batch_queue_take(&done)) {
        take_item(item);
    }
}

bool dw__device_is_wanted(const dw__worker *worker)
{
    const dw_scheduler *scheduler = worker->scheduler;
    return atomic_load(&worker->has_done) ||
           (!scheduler->device.own_thread && any_waits(scheduler));
}

void dw__device_note_sleep(dw__worker *worker)
{
    if (note_turns(worker)) {
        atomic_fetch_add(&worker->scheduler->device.naps, 1);
    }
}
