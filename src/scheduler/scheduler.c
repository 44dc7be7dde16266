/* The scheduler's life, what other threads reach, and its loop. */
#include <string.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/log.h"
#include "base/public_struct.h"
#include "base/stack.h"
#include "device/cuda_node.h"
#include "scheduler/device_side.h"
#include "scheduler/lanes.h"
#include "scheduler/worker.h"

#define GUEST_COUNT_DEFAULT 4096u
#define GUEST_THREADS_MAX 64u
/* Tokens of prompts next to each that is decoded on a CPU: a token then waits for some three times
 * what it takes among decoding ones alone at most (bench/results/many.md). */
#define CPU_PROMPT_TOKENS_EACH 2u
/* Tokens of prompts in a run that decodes on CUDA: one that decodes 64 sequences takes less than
 * twice as long with so many beside them (bench/results/cuda.md). */
#define CUDA_PROMPT_TOKENS 256u

static dw_batch_limits limits_of(const dw_scheduler_options *options, dw_device *device)
{
    dw_batch_limits limits = {.sequences_max = options->step_sequences_max,
                              .tokens_max = options->step_tokens_max,
                              .prompt_tokens_max = options->prompt_tokens_max};
    if (limits.prompt_tokens_max > 0) {
        return limits;
    }
    if (dw_device_info_of(device)->kind == DW_DEVICE_CPU) {
        limits.prompt_tokens_each = CPU_PROMPT_TOKENS_EACH;
    } else if (dw_cuda_node_served(device)) {
        limits.prompt_tokens_max = CUDA_PROMPT_TOKENS;
    }
    return limits;
}

static void release(dw_scheduler *scheduler)
{
    dw__workers_close(scheduler);
    dw__device_close(scheduler);
    dw__shares_free(scheduler);
    (void)pthread_cond_destroy(&scheduler->changed);
    (void)pthread_mutex_destroy(&scheduler->lock);
    dw_free(scheduler);
}

dw_status dw_scheduler_create_on(dw_scheduler **out, dw_wasm_host *host, dw_device *device,
                                 const dw_scheduler_options *options, dw_error *err)
{
    dw_scheduler_options own;
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_scheduler_options", err);
    if (status != DW_OK) {
        return status;
    }
    options = &own;
    if (options->guest_threads > GUEST_THREADS_MAX) {
        return dw_fail(err, DW_E_RANGE, "guest_threads: %u, at most %u are allowed",
                       options->guest_threads, GUEST_THREADS_MAX);
    }
    status = dw_fibers_prepare(host, err);
    if (status != DW_OK) {
        return status;
    }
    dw_scheduler *scheduler = dw_alloc(1, sizeof *scheduler);
    if (scheduler == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a scheduler");
    }
    scheduler->host = host;
    scheduler->limits = limits_of(options, device);
    scheduler->guest_count_max =
        options->guest_count_max > 0 ? options->guest_count_max : GUEST_COUNT_DEFAULT;
    DW_ASSERT(pthread_mutex_init(&scheduler->lock, NULL) == 0);
    dw_os_cond_init(&scheduler->changed);
    bool several = options->guest_threads > 1;
    status =
        dw__device_open(scheduler, several || options->device_thread == DW_DEVICE_THREAD_OWN, err);
    if (status == DW_OK) {
        status = dw__workers_open(scheduler, several ? options->guest_threads : 1, err);
    }
    if (status != DW_OK) {
        release(scheduler);
        return status;
    }
    *out = scheduler;
    return DW_OK;
}

void dw_scheduler_set_watch(dw_scheduler *scheduler, const dw_scheduler_watch *watch)
{
    DW_ASSERT(!scheduler->running && scheduler->started == 0);
    scheduler->watch = *watch;
}

void dw_scheduler_set_relief(dw_scheduler *scheduler, bool (*relieve)(void *user), void *user)
{
    DW_ASSERT(!scheduler->running && scheduler->started == 0);
    scheduler->relieve = relieve;
    scheduler->relieve_user = user;
}

/* ---- from any thread ---------------------------------------------------------------------- */

/* Where the guest is already, or else where the fewest are. With the lock. */
static dw__worker *worker_for(dw_scheduler *scheduler, dw_instance_place *place)
{
    size_t best = place->thread;
    if (place->calls == 0 || best >= scheduler->worker_count) {
        best = 0;
        for (size_t i = 1; i < scheduler->worker_count; i++) {
            bool fewer = scheduler->workers[i].guest_count < scheduler->workers[best].guest_count;
            best = fewer ? i : best;
        }
    }
    place->thread = (uint32_t)best;
    place->calls++;
    return &scheduler->workers[best];
}

/* It waits for its first turn. With the lock. */
static void add_call(dw_scheduler *scheduler, dw__task *task)
{
    task->worker = worker_for(scheduler, dw_instance_place_of(task->instance));
    task->worker->guest_count++;
    scheduler->started++;
    scheduler->guest_count++;
    if (scheduler->guest_count > scheduler->most_guests) {
        scheduler->most_guests = scheduler->guest_count;
    }
    atomic_fetch_add(&scheduler->calls, 1);
}

/* Whether the task may begin, on the time of terms->tenant. With the lock. */
static dw_status admit(dw_scheduler *scheduler, dw__task *task, const dw_call_terms *terms,
                       dw_error *err)
{
    if (scheduler->refusing) {
        return dw_fail(err, DW_E_STATE, "the scheduler is going");
    }
    if (task->instance == NULL) {
        return DW_OK;
    }
    if (scheduler->guest_count >= scheduler->guest_count_max) {
        return dw_fail(err, DW_E_BUSY, "scheduler: %zu guests run, which is the limit",
                       scheduler->guest_count);
    }
    dw_status status = dw__share_get(scheduler, terms->tenant, &task->share, err);
    if (status == DW_OK) {
        DW_ASSERT(terms->weight > 0 && terms->priority < DW__PRIORITY_COUNT);
        atomic_store_explicit(&task->share->weight, terms->weight, memory_order_relaxed);
        task->priority = terms->priority;
        task->due_ns = terms->due_ns;
    }
    return status;
}

/* `task` is taken on success. */
static dw_status post(dw_scheduler *scheduler, dw__task *task, const dw_call_terms *terms,
                      dw_error *err)
{
    (void)pthread_mutex_lock(&scheduler->lock);
    dw_status status = admit(scheduler, task, terms, err);
    if (status == DW_OK) {
        task->worker = &scheduler->workers[0];
        if (task->instance != NULL) {
            add_call(scheduler, task);
        }
        dw__put(&task->worker->inbox, task);
        atomic_store(&task->worker->has_inbox, true);
        dw__wake(task->worker);
        if (task->instance != NULL) {
            dw__task_ask_way(task);
        }
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
    return status;
}

static dw_status post_copy(dw_scheduler *scheduler, const dw__task *wanted,
                           const dw_call_terms *terms, dw_error *err)
{
    static const dw_call_terms usual = {.weight = DW_SCHEDULER_WEIGHT_USUAL, .priority = 1};
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    dw__task *task = dw_alloc(1, sizeof *task);
    if (task == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a call");
    }
    *task = *wanted;
    task->scheduler = scheduler;
    status = post(scheduler, task, terms != NULL ? terms : &usual, err);
    if (status != DW_OK) {
        dw_free(task);
    }
    return status;
}

dw_status dw_scheduler_start(dw_scheduler *scheduler, dw_instance *instance, dw_call_end_fn on_end,
                             void *user, dw_error *err)
{
    if (dw_instance_host(instance) != scheduler->host) {
        return dw_fail(err, DW_E_ARG, "scheduler: the instance is of another engine");
    }
    dw__task task = {.instance = instance, .on_end = on_end, .user = user};
    return post_copy(scheduler, &task, NULL, err);
}

dw_status dw_scheduler_receive_on(dw_scheduler *scheduler, dw_actor *actor,
                                  const dw_call_terms *terms, const dw_call_hooks *hooks,
                                  dw_error *err)
{
    if (dw_instance_host(dw_actor_instance(actor)) != scheduler->host) {
        return dw_fail(err, DW_E_ARG, "scheduler: the actor is of another engine");
    }
    dw__task task = {.instance = dw_actor_instance(actor),
                     .actor = actor,
                     .on_answer = hooks->on_answer,
                     .on_end = hooks->on_end,
                     .user = hooks->user};
    return post_copy(scheduler, &task, terms, err);
}

dw_status dw_scheduler_receive(dw_scheduler *scheduler, dw_actor *actor, dw_write_fn on_answer,
                               dw_call_end_fn on_end, void *user, dw_error *err)
{
    const dw_call_hooks hooks = {.on_answer = on_answer, .on_end = on_end, .user = user};
    return dw_scheduler_receive_on(scheduler, actor, NULL, &hooks, err);
}

dw_status dw_scheduler_submit(dw_scheduler *scheduler, void (*on_turn)(void *user), void *user,
                              dw_error *err)
{
    dw__task task = {.on_turn = on_turn, .user = user};
    return post_copy(scheduler, &task, NULL, err);
}

void dw_scheduler_charge(dw_scheduler *scheduler, uint32_t tenant, uint64_t cost_ns)
{
    (void)pthread_mutex_lock(&scheduler->lock);
    dw__share *share = scheduler->shares[tenant];
    if (share != NULL) { /* else no guest of it has had a turn, whose time this would count as */
        uint64_t before = atomic_load_explicit(&share->outside_ns, memory_order_relaxed);
        uint64_t most = DW_SCHEDULER_CHARGE_MAX_NS - before;
        atomic_fetch_add(&share->outside_ns, cost_ns < most ? cost_ns : most);
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
}

void dw_scheduler_stop(dw_scheduler *scheduler)
{
    (void)pthread_mutex_lock(&scheduler->lock); /* who destroys it waits for this */
    atomic_store(&scheduler->is_stopping, true);
    dw__wake(&scheduler->workers[0]);
    (void)pthread_mutex_unlock(&scheduler->lock);
}

static uint64_t read_count(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void add_counts(dw_scheduler_stats *all, const dw__worker_counts *own)
{
    all->ended += read_count(&own->ended);
    all->rounds += read_count(&own->rounds);
    all->resumes += read_count(&own->resumes);
    all->preemptions += read_count(&own->preemptions);
    all->jobs += read_count(&own->jobs);
    all->device_ns += read_count(&own->job_ns);
    all->guest_ns += read_count(&own->guest_ns);
}

dw_status dw_scheduler_get_stats(dw_scheduler *scheduler, dw_scheduler_stats *stats)
{
    const dw__device_counts *own = &scheduler->counts;
    dw_scheduler_stats all = {
        .steps = read_count(&own->steps),
        .step_tokens = read_count(&own->step_tokens),
        .step_sequences = read_count(&own->step_sequences),
        .most_step_sequences = read_count(&own->most_step_sequences),
        .device_ns = read_count(&own->run_ns),
        .device_idle_ns = read_count(&own->idle_ns),
        .device_idle_times = read_count(&own->idle_times),
        .device_idle_median_ns = dw__device_idle_median_ns(scheduler),
    };
    for (size_t i = 0; i < scheduler->worker_count; i++) {
        add_counts(&all, &scheduler->workers[i].counts);
    }
    (void)pthread_mutex_lock(&scheduler->lock);
    all.started = scheduler->started;
    all.guests = scheduler->guest_count;
    all.most_guests = scheduler->most_guests;
    (void)pthread_mutex_unlock(&scheduler->lock);
    return dw_struct_fill(stats, &all, sizeof all, "dw_scheduler_stats");
}

/* ---- the life of its runs ------------------------------------------------------------------- */

/* It runs on one thread, and as long as guests' fibers are left in the middle on the same. */
static dw_status enter(dw_scheduler *scheduler, dw_error *err)
{
    dw__worker *first = &scheduler->workers[0];
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&scheduler->lock);
    if (scheduler->running) {
        status = dw_fail(err, DW_E_STATE, "scheduler: it runs already");
    } else if (first->tasks != NULL && !pthread_equal(first->thread, pthread_self())) {
        status = dw_fail(err, DW_E_STATE, "scheduler: its guests belong to another thread");
    } else {
        first->thread = pthread_self();
        scheduler->running = true;
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
    return status;
}

static void leave(dw_scheduler *scheduler)
{
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->running = false;
    (void)pthread_mutex_unlock(&scheduler->lock);
}

typedef struct running {
    dw_scheduler *scheduler;
    dw_run_until until;
} running;

static dw_status run_rounds(void *arg, dw_error *err)
{
    const running *run = arg;
    dw_scheduler *scheduler = run->scheduler;
    dw__worker *first = &scheduler->workers[0];
    (void)err;
    while (!atomic_load_explicit(&scheduler->is_stopping, memory_order_relaxed)) {
        dw__worker_empty_inbox(first);
        if (dw__worker_has_work(first)) {
            dw__worker_round(first);
        } else if (run->until == DW_RUN_UNTIL_STOPPED || atomic_load(&scheduler->calls) > 0) {
            dw__worker_rest(first, run->until == DW_RUN_UNTIL_IDLE);
        } else if (!atomic_load(&first->has_inbox)) {
            break;
        }
    }
    return DW_OK;
}

dw_status dw_scheduler_run(dw_scheduler *scheduler, dw_run_until until, dw_error *err)
{
    running run = {.scheduler = scheduler, .until = until};
    dw_status status = enter(scheduler, err);
    if (status != DW_OK) {
        return status;
    }
    dw__device_resume(scheduler);
    dw__workers_go(scheduler);
    status = dw_stack_run(run_rounds, &run, err); /* what guests end with may be deep */
    dw__workers_halt(scheduler);
    dw__device_pause(scheduler);
    atomic_store(&scheduler->is_stopping, false);
    leave(scheduler);
    return status;
}

/* No worker is at work: what they have may be looked at. */
static void interrupt_all(dw_scheduler *scheduler)
{
    for (size_t i = 0; i < scheduler->worker_count; i++) {
        dw__worker *worker = &scheduler->workers[i];
        dw__worker_empty_inbox(worker);
        for (const dw__task *task = worker->tasks; task != NULL; task = task->after) {
            if (task->begun) {
                dw_instance_interrupt(task->instance);
            }
        }
        worker->look_ns = 0;
    }
}

void dw_scheduler_destroy(dw_scheduler *scheduler)
{
    if (scheduler == NULL) {
        return;
    }
    dw_error error;
    if (enter(scheduler, &error) != DW_OK) {
        dw_log(DW_LOG_ERROR, "dw_scheduler_destroy: %s: it stays", error.message);
        return;
    }
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->refusing = true;
    (void)pthread_mutex_unlock(&scheduler->lock);
    scheduler->closing = true;
    interrupt_all(scheduler);
    dw__device_resume(scheduler);
    dw__workers_go(scheduler);
    dw__worker *first = &scheduler->workers[0];
    while (atomic_load(&scheduler->calls) > 0) {
        dw__worker_empty_inbox(first);
        if (scheduler->device.own_thread && !dw__worker_has_work(first)) {
            dw__worker_rest(first, true);
        }
        dw__worker_round(first);
    }
    dw__worker_empty_inbox(first); /* functions that were submitted */
    dw__workers_halt(scheduler);
    release(scheduler);
}
