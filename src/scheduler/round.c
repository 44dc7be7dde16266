/* One round: guests run until each waits for the device, then the device runs. A round takes no
 * lock, allocates nothing per step, and does not visit guests that have nothing to do in it. */
#include "scheduler/round.h"

#include "base/os.h"
#include "scheduler/device_side.h"
#include "scheduler/generations.h"
#include "scheduler/lanes.h"
#include "scheduler/worker.h"
#include "wasm/wasm_binary.h"

/* ---- what guests ask of the device -------------------------------------------------------- */

/* The guest does not run while it waits, and its pages are pinned for the device. */
static void wait_for_device(dw__task *task, dw__task_state state)
{
    DW_ASSERT(task->state == DW__TASK_RUNS);
    dw_region *region = dw_instance_region(task->instance);
    task->state = state;
    dw_region_pin(region);
    dw_fiber_suspend(task->instance);
    dw_region_unpin(region);
    DW_ASSERT(task->state == DW__TASK_RUNS);
}

static void forward_many(void *user, dw_batch_item *items, uint32_t count)
{
    dw__task *task = user;
    for (uint32_t i = 0; i < count; i++) {
        items[i].user = NULL;
        items[i].owner = task;
    }
    task->steps_left = count;
    dw_region_pin(dw_instance_region(task->instance)); /* from now on it may be at work */
    dw__device_add(task->scheduler, items, count);
    wait_for_device(task, DW__TASK_STEPS);
    dw_region_unpin(dw_instance_region(task->instance));
}

static dw_status forward(void *user, dw_context *context, const dw_step *step, dw_error *err)
{
    dw__task *task = user;
    task->item.context = context;
    task->item.step = *step;
    forward_many(task, &task->item, 1);
    if (task->item.status != DW_OK) {
        *err = task->item.error;
    }
    return task->item.status;
}

/* Work of the task's has gone on until now: the device's time, and not the guest's. */
static void count_work(dw__task *task, uint64_t now)
{
    uint64_t took_ns = now - task->work_from_ns;
    dw__bump(&task->worker->counts.job_ns, took_ns);
    dw_count(&dw_instance_counters(task->instance)->device_ns, took_ns);
    task->worker->turn_job_ns += took_ns;
    if (dw__is_watched(task->scheduler)) {
        dw__watched(task->scheduler, task,
                    &(dw_scheduler_span){
                        .kind = DW_SPAN_WORK, .from_ns = task->work_from_ns, .to_ns = now});
    }
}

/* On the guest's own fiber, once its turn has come: so that it can be left in the middle. */
static dw_status compute(void *user, dw_work_fn work, void *arg, dw_error *err)
{
    dw__task *task = user;
    dw__lane_put(task, DW__TURN_WORK);
    wait_for_device(task, DW__TASK_COMPUTES);
    task->computes = true;
    task->work_from_ns = dw_os_clock_ns();
    dw_status status = work(arg, err);
    count_work(task, dw_os_clock_ns());
    dw__bump(&task->worker->counts.jobs, 1);
    task->computes = false;
    return status;
}

/* Host work for a guest, in the middle of a host function: others have their turn first. */
static void pause_work(void *user)
{
    dw__task *task = user;
    const dw__worker *worker = task->worker;
    DW_ASSERT(pthread_equal(worker->thread, pthread_self()));
    if (worker->tasks == task && task->after == NULL && !dw__worker_has_work(worker) &&
        !atomic_load_explicit(&worker->has_inbox, memory_order_relaxed)) {
        return; /* there are none, nor is anything generated ahead */
    }
    if (task->computes) {
        count_work(task, dw_os_clock_ns());
        dw__lane_put(task, DW__TURN_WORK);
    }
    wait_for_device(task, task->computes ? DW__TASK_COMPUTES : DW__TASK_RUNS);
    task->work_from_ns = dw_os_clock_ns();
}

static bool wait_for(void *user, dw_wait *wait)
{
    dw__task *task = user;
    if (!wait->to_end && dw_stop_asked(dw_instance_stop(task->instance))) {
        return false; /* from now on it wakes the loop */
    }
    task->wait = wait;
    task->left = false;
    task->state = DW__TASK_WAITS;
    dw__put(&task->worker->waiting, task);
    task->worker->look_ns = 0;
    dw_fiber_suspend(task->instance);
    DW_ASSERT(task->state == DW__TASK_RUNS);
    return !task->left;
}

static const dw_step_runner runner = {.forward = forward,
                                      .forward_many = forward_many,
                                      .compute = compute,
                                      .wait = wait_for,
                                      .generate = dw__generate,
                                      .generated = dw__generated};

/* ---- guests that wait ---------------------------------------------------------------------- */

/* A time that this is far away need not be that of somebody who is still there. */
#define DUE_FAR_NS UINT64_C(1000000000)

/* Streams are looked at no more often while guests run. */
#define LOOK_NS UINT64_C(1000000)

/* When `task` is to be looked at again. */
static uint64_t due_of(const dw__task *task)
{
    uint64_t deadline_ns = dw_instance_stop(task->instance)->deadline_ns;
    bool sooner = !task->wait->to_end && deadline_ns != 0 && deadline_ns < task->wait->until_ns;
    return sooner ? deadline_ns + 1 : task->wait->until_ns;
}

/* Of all that wait: what streams they want, and when the first is due. */
static uint32_t wanted_streams(dw__worker *worker)
{
    uint32_t wanted = 0;
    worker->look_ns = UINT64_MAX;
    for (const dw__task *task = worker->waiting.first; task != NULL; task = task->next) {
        uint64_t due = due_of(task);
        wanted |= task->wait->wanted;
        worker->look_ns = due < worker->look_ns ? due : worker->look_ns;
    }
    return wanted;
}

/* Those whose time or stream has come, or who were asked to stop, can run. Each that waits for a
 * stream is told; the first to come takes what there is, and others may have to wait again. */
static void end_waits(dw__worker *worker, uint32_t ready)
{
    dw__task_queue before = worker->waiting;
    uint64_t now = dw_os_clock_ns();
    worker->waiting = (dw__task_queue){NULL, NULL};
    for (dw__task *task = dw__take(&before); task != NULL; task = dw__take(&before)) {
        uint32_t hangup = (task->wait->wanted & DW_WAIT_INPUT) != 0 ? DW_WAIT_HANGUP : 0;
        task->wait->ready = ready & (task->wait->wanted | hangup);
        task->left = !task->wait->to_end && dw_stop_asked(dw_instance_stop(task->instance));
        if (!task->left && !dw_wait_flagged(task->wait) &&
            (task->wait->ready & task->wait->wanted) == 0 && now < task->wait->until_ns) {
            dw__put(&worker->waiting, task);
            continue;
        }
        task->state = DW__TASK_RUNS;
        dw__task_ready(task);
    }
    worker->looked_ns = now;
    (void)wanted_streams(worker);
}

void dw__worker_look(dw__worker *worker)
{
    if (worker->waiting.first == NULL) {
        return;
    }
    uint64_t now = dw_os_clock_ns();
    if (now < worker->look_ns && now - worker->looked_ns < LOOK_NS) {
        return;
    }
    end_waits(worker, dw_wait_poll(wanted_streams(worker), 0, worker->waker));
}

void dw__worker_sleep(dw__worker *worker)
{
    uint32_t wanted = wanted_streams(worker);
    end_waits(worker, dw_wait_poll(wanted, worker->look_ns, worker->waker));
}

/* ---- guests ------------------------------------------------------------------------------- */

/* Its call has: whoever asks it to stop wakes the loop, and the first who has to end is known. */
static void note_begun(dw__task *task)
{
    dw_stop *stop = dw_instance_stop(task->instance);
    dw_stop_others *others = &task->worker->others;
    dw_stop_set_waker(stop, others->waker);
    dw_stop_set_pause(stop, pause_work, task);
    if (stop->deadline_ns != 0 && stop->deadline_ns < others->due_ns) {
        __atomic_store_n(&others->due_ns, stop->deadline_ns, __ATOMIC_RELAXED);
    }
}

static void note_ended(dw__task *task)
{
    dw_stop *stop = dw_instance_stop(task->instance);
    dw_stop_set_pause(stop, NULL, NULL);
    dw_stop_set_waker(stop, NULL);
    if (stop->deadline_ns == task->worker->others.due_ns) {
        task->worker->due_is_old = true;
    }
}

/* When the first of those has to end who do not yet. While that is far away it may have been some
 * other's who has ended since. */
static void renew_due(dw__worker *worker, uint64_t now)
{
    uint64_t due_ns = worker->others.due_ns;
    if (due_ns == UINT64_MAX ||
        (due_ns > now && (!worker->due_is_old || due_ns - now > DUE_FAR_NS))) {
        return;
    }
    due_ns = UINT64_MAX;
    for (const dw__task *task = worker->tasks; task != NULL; task = task->after) {
        uint64_t deadline_ns = task->begun ? dw_instance_stop(task->instance)->deadline_ns : 0;
        due_ns = deadline_ns > now && deadline_ns < due_ns ? deadline_ns : due_ns;
    }
    worker->due_is_old = false;
    __atomic_store_n(&worker->others.due_ns, due_ns, __ATOMIC_RELAXED);
}

static bool begin(dw__task *task)
{
    dw_error error = {.message = ""};
    dw_status status = DW_OK;
    const char *function = task->actor != NULL ? DW_ACTOR_EXPORT : "_start";
    if (task->scheduler->closing) {
        status = dw_fail(&error, DW_E_CANCELLED, "the scheduler is going");
    } else if (task->actor != NULL) {
        status = dw_actor_receive_begin(task->actor, task->on_answer, task->user, &error);
    }
    if (status == DW_OK) {
        status = dw_fiber_begin(task->instance, function, &runner, task, &error);
        if (task->actor != NULL && (status == DW_E_NOT_FOUND || status == DW_E_TYPE)) {
            status = dw_actor_receive_end(task->actor, status, 0, -1, &error);
        } else if (task->actor != NULL && status != DW_OK) {
            dw_actor_receive_undo(task->actor); /* no memory, say: the message waits again */
        }
    }
    if (status != DW_OK) {
        dw__task_end(task, status, 0, &error);
        return false;
    }
    task->begun = true;
    note_begun(task);
    return true;
}

static void end(dw__task *task)
{
    dw_error error = {.message = ""};
    int32_t result = 0;
    int exit_code = 0;
    if (dw__generations_hold(task)) {
        return; /* it comes back when the device has let go of them */
    }
    task->through = false;
    dw_status status = dw_fiber_end(task->instance, &result, &exit_code, &error);
    note_ended(task);
    bool left = dw_instance_has_left(task->instance);
    if (task->flushes) {
        result = task->result;
        status = status == DW_OK && left
                     ? dw_fail(&error, DW_E_TRAP, "the guest left with code %d while it flushed",
                               exit_code)
                     : status;
    } else if (task->actor != NULL && status == DW_OK && !left &&
               dw_fiber_begin_flush(task->instance, &runner, task)) {
        task->flushes = true;
        task->result = result;
        note_begun(task);
        dw__task_ready(task); /* as long as it likes, and others meanwhile */
        return;
    }
    if (task->actor != NULL) {
        dw_actor_receive_flushed(task->actor);
        status = dw_actor_receive_end(task->actor, status, result, exit_code, &error);
        exit_code = 0;
    }
    dw__task_end(task, status, exit_code, &error);
}

static dw_scheduler_wait wait_of(dw__task_state state)
{
    switch (state) {
    case DW__TASK_STEPS:
        return DW_WAIT_FOR_STEP;
    case DW__TASK_COMPUTES:
        return DW_WAIT_FOR_DEVICE;
    case DW__TASK_AWAITS:
        return DW_WAIT_FOR_TOKENS;
    case DW__TASK_WAITS:
        return DW_WAIT_FOR_TIME;
    case DW__TASK_RUNS:
        break;
    }
    return DW_WAIT_FOR_TURN;
}

/* A turn is over, and what it waited for before. */
static void tell_turn(dw__task *task, uint64_t from_ns, uint64_t to_ns)
{
    dw_scheduler_span span = {.kind = DW_SPAN_WAIT,
                              .wait = wait_of(task->left_in),
                              .from_ns = task->left_ns,
                              .to_ns = from_ns};
    if (task->left_ns != 0 && task->left_ns < from_ns) {
        dw__watched(task->scheduler, task, &span);
    }
    span = (dw_scheduler_span){.kind = DW_SPAN_TURN, .from_ns = from_ns, .to_ns = to_ns};
    dw__watched(task->scheduler, task, &span);
    task->left_ns = to_ns;
    task->left_in = task->state;
}

/* Whether its call is through. Counts the turn as the guest's, which takes one look at the clock:
 * it began when the last one was over. */
static bool resume(dw__worker *worker, dw__task *task)
{
    dw__bump(&worker->counts.resumes, 1);
    worker->turn_job_ns = 0;
    atomic_store_explicit(&worker->turn_from_ns, worker->turn_ns, memory_order_relaxed);
    atomic_store_explicit(&worker->way_asked, false, memory_order_relaxed);
    atomic_store_explicit(&worker->turn_share, task->share, memory_order_relaxed);
    dw_stop *before = dw_stop_begin_turn(dw_instance_stop(task->instance));
    bool through = dw_fiber_resume(task->instance);
    dw_stop_end_turn(before);
    atomic_store_explicit(&worker->turn_share, NULL, memory_order_relaxed);
    uint64_t now = dw_os_clock_ns();
    uint64_t took_ns = now - worker->turn_ns;
    task->turn_ns += took_ns;
    dw_count(&dw_instance_counters(task->instance)->guest_ns, took_ns - worker->turn_job_ns);
    if (dw__is_watched(worker->scheduler)) {
        tell_turn(task, worker->turn_ns, now);
    }
    worker->turn_ns = now;
    return through;
}

/* Let a guest run until it waits, has used up its time slice, or its call ends. */
static void run_task(dw__worker *worker, dw__task *task)
{
    DW_ASSERT(task->state == DW__TASK_RUNS);
    if (!task->begun && !begin(task)) {
        return;
    }
    if (task->through) {
        end(task);
        return;
    }
    bool through = resume(worker, task);
    if (through) {
        end(task);
    } else if (task->state == DW__TASK_RUNS) { /* its slice is over, or it made way */
        bool used_up = task->turn_ns >= DW__TIME_SLICE_NS / 2;
        dw__bump(&worker->counts.preemptions, used_up);
        dw__lane_put(task, used_up ? DW__TURN_LONG : DW__TURN_SHORT);
    }
}

/* ---- guests whose time is over ------------------------------------------------------------- */

/* Before its first turn a call has no limits yet, but it may have been interrupted. */
static bool must_end(const dw__task *task)
{
    dw_stop *stop = dw_instance_stop(task->instance);
    return task->begun ? dw_stop_asked(stop) && dw_stop_ends(stop) : dw_stop_was_interrupted(stop);
}

/* Run those who must end: what is left for them to do is little. */
static void run_ending(dw__worker *worker)
{
    dw__task_queue ending = {NULL, NULL};
    dw__lanes_sweep(worker, must_end, &ending);
    for (dw__task *task = dw__take(&ending); task != NULL; task = dw__take(&ending)) {
        dw__lane *lane = &task->share->lanes[worker - worker->scheduler->workers];
        uint64_t from_ns = worker->turn_ns;
        task->state = DW__TASK_RUNS; /* also one whose work has not begun, which sees that */
        run_task(worker, task);
        worker->turn_ns = dw_os_clock_ns();
        lane->owed_ns += worker->turn_ns - from_ns;
    }
}

/* Looking for those who must end goes through all that wait for a turn: with many whose time is
 * limited there is always one whose has just passed. */
#define END_NS UINT64_C(1000000)

/* Half a time slice after it was asked last, or when somebody has to: whose time is over, or who
 * was interrupted, ends before others have their turns. So that takes a slice and a step at most,
 * however many there are and whatever they do. */
static void end_who_must(dw__worker *worker, uint64_t now)
{
    worker->turn_ns = now;
    bool asked = dw_waker_take_asked(worker->waker);
    uint64_t wait_ns = now > worker->others.due_ns ? END_NS : DW__TIME_SLICE_NS / 2;
    if (!asked && now - worker->ended_ns < wait_ns) {
        return;
    }
    worker->ended_ns = now;
    dw__worker_look(worker);
    dw__device_drop_stopped(worker);
    run_ending(worker);
    renew_due(worker, now);
}

/* ---- turns --------------------------------------------------------------------------------- */

/* What there was in a round so far. */
typedef struct dw__round {
    unsigned long_turns;
    uint64_t work_ns;
} dw__round;

/* Whether the device, which has no thread of its own, is in the middle of a run in parts. */
static bool device_is_amid(const dw__worker *worker)
{
    const dw__device_side *side = &worker->scheduler->device;
    return !side->own_thread && side->amid;
}

/* Who may have a turn now. Where the device has no thread of its own and steps wait for it, it has
 * its turn after one of each kind that takes long, or after as much work as its last run took; so a
 * step comes at most a time slice later, however many guests only compute. In the middle of a run
 * these have their turn after as many parts as take a time slice. */
static unsigned kinds_in_turn(const dw__worker *worker, const dw__round *round)
{
    unsigned kinds = (1u << DW__TURN_KINDS) - 1;
    if (dw__device_is_wanted(worker)) {
        const dw__device_side *side = &worker->scheduler->device;
        bool in_parts = device_is_amid(worker) && side->parts_ns < DW__TIME_SLICE_NS;
        bool worked = round->work_ns > 0 && round->work_ns >= side->last_run_ns;
        kinds &= in_parts || round->long_turns > 0 ? ~(1u << DW__TURN_LONG) : kinds;
        kinds &= in_parts || worked ? ~(1u << DW__TURN_WORK) : kinds;
    }
    return kinds;
}

/* Whether anybody had a turn. */
static bool run_next(dw__worker *worker, dw__round *round)
{
    dw__turn turn;
    dw__task *task = dw__lane_take(worker, kinds_in_turn(worker, round), &turn);
    if (task == NULL) {
        return false;
    }
    uint64_t from_ns = worker->turn_ns;
    if (turn.kind != DW__TURN_SHORT && worker->scheduler->device.own_thread) {
        dw__device_run(worker); /* it need not wait for this one */
    }
    task->state = DW__TASK_RUNS;
    run_task(worker, task);
    uint64_t now = dw_os_clock_ns();
    dw__lane_charge(worker, &turn, now - from_ns);
    round->long_turns += turn.kind == DW__TURN_LONG;
    round->work_ns += turn.kind == DW__TURN_WORK ? now - from_ns : 0;
    if (turn.kind != DW__TURN_SHORT && device_is_amid(worker)) {
        worker->scheduler->device.parts_ns = 0;
    }
    end_who_must(worker, now);
    return true;
}

/* How long guests have turns before the device has its own, or others are looked after. Between two
 * parts of a run as long as one takes. */
static uint64_t guests_ns(const dw__worker *worker)
{
    const dw__device_side *side = &worker->scheduler->device;
    uint64_t run_ns = side->own_thread ? 0 : side->last_run_ns;
    return run_ns > DW__TIME_SLICE_NS || device_is_amid(worker) ? run_ns : DW__TIME_SLICE_NS;
}

/* Those that can run, one after another, and who comes meanwhile. */
static void run_guests(dw__worker *worker)
{
    dw__round round = {.long_turns = 0};
    uint64_t until_ns = worker->turn_ns + guests_ns(worker);
    while (run_next(worker, &round) && worker->turn_ns < until_ns) {
        dw__worker_empty_inbox(worker);
        dw__worker_look(worker);
        dw__device_take(worker);
    }
    dw__lanes_renew(worker);
}

/* ---- rounds --------------------------------------------------------------------------------- */

bool dw__worker_has_work(const dw__worker *worker)
{
    return worker->runnable > 0 || dw__device_is_wanted(worker);
}

void dw__worker_round(dw__worker *worker)
{
    uint64_t started = dw_os_clock_ns();
    uint64_t job_ns = atomic_load_explicit(&worker->counts.job_ns, memory_order_relaxed);
    dw__worker_look(worker);
    dw__device_take(worker);
    end_who_must(worker, started);
    run_guests(worker);
    job_ns = atomic_load_explicit(&worker->counts.job_ns, memory_order_relaxed) - job_ns;
    dw__bump(&worker->counts.guest_ns, dw_os_clock_ns() - started - job_ns);
    dw__device_run(worker);
    dw__bump(&worker->counts.rounds, 1);
}

void dw__scheduler_round(dw_scheduler *scheduler)
{
    dw__worker_round(&scheduler->workers[0]);
}
