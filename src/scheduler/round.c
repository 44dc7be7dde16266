/* One round: guests run until each waits for the device, then the device runs. A round takes no
 * lock, allocates nothing per step, and does not visit guests that have nothing to do in it. */
#include "scheduler/round.h"

#include "base/os.h"
#include "scheduler/device_side.h"
#include "scheduler/generations.h"
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

static dw_status forward(void *user, dw_context *context, const dw_step *step, dw_error *err)
{
    dw__task *task = user;
    task->item.context = context;
    task->item.step = *step;
    dw_region_pin(dw_instance_region(task->instance)); /* from now on it may be at work */
    dw__device_add(task->scheduler, &task->item);
    wait_for_device(task, DW__TASK_STEPS);
    dw_region_unpin(dw_instance_region(task->instance));
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
}

/* On the guest's own fiber, once its turn has come: so that it can be left in the middle. */
static dw_status compute(void *user, dw_work_fn work, void *arg, dw_error *err)
{
    dw__task *task = user;
    dw__put(&task->worker->jobs, task);
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
        dw__put(&task->worker->jobs, task);
    }
    wait_for_device(task, task->computes ? DW__TASK_COMPUTES : DW__TASK_RUNS);
    task->work_from_ns = dw_os_clock_ns();
}

static bool wait_for(void *user, dw_wait *wait)
{
    dw__task *task = user;
    if (dw_stop_asked(dw_instance_stop(task->instance))) {
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
    bool sooner = deadline_ns != 0 && deadline_ns < task->wait->until_ns;
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
        task->left = dw_stop_asked(dw_instance_stop(task->instance));
        if (!task->left && (task->wait->ready & task->wait->wanted) == 0 &&
            now < task->wait->until_ns) {
            dw__put(&worker->waiting, task);
            continue;
        }
        task->state = DW__TASK_RUNS;
        dw__put(&worker->ready, task);
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
        dw__put(&task->worker->ready, task); /* as long as it likes, and others meanwhile */
        return;
    }
    if (task->actor != NULL) {
        dw_actor_receive_flushed(task->actor);
        status = dw_actor_receive_end(task->actor, status, result, exit_code, &error);
        exit_code = 0;
    }
    dw__task_end(task, status, exit_code, &error);
}

/* Whether its call is through. Counts the turn as the guest's, which takes one look at the clock:
 * it began when the last one was looked for who must end. */
static bool resume(dw__worker *worker, dw__task *task)
{
    dw__bump(&worker->counts.resumes, 1);
    worker->turn_job_ns = 0;
    dw_stop *before = dw_stop_begin_turn(dw_instance_stop(task->instance));
    bool through = dw_fiber_resume(task->instance);
    dw_stop_end_turn(before);
    uint64_t now = dw_os_clock_ns();
    dw_count(&dw_instance_counters(task->instance)->guest_ns,
             now - worker->turn_ns - worker->turn_job_ns);
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
    } else if (task->state == DW__TASK_RUNS) {
        dw__bump(&worker->counts.preemptions, 1);
        dw__put(&worker->preempted, task);
    }
}

/* ---- guests whose time is over ------------------------------------------------------------- */

static bool must_end(const dw__task *task)
{
    dw_stop *stop = dw_instance_stop(task->instance);
    return task->begun && dw_stop_asked(stop) && dw_stop_ends(stop);
}

/* Run those of the queue who must end: what is left for them to do is little. */
static void run_ending(dw__worker *worker, dw__task_queue *queue)
{
    dw__task_queue before = *queue;
    dw__task_queue ending = {NULL, NULL};
    *queue = (dw__task_queue){NULL, NULL};
    for (dw__task *task = dw__take(&before); task != NULL; task = dw__take(&before)) {
        dw__put(must_end(task) ? &ending : queue, task);
    }
    for (dw__task *task = dw__take(&ending); task != NULL; task = dw__take(&ending)) {
        task->state = DW__TASK_RUNS; /* also one whose work has not begun, which sees that */
        run_task(worker, task);
    }
}

/* Half a time slice after it was asked last, or when somebody has to: whose time is over, or who
 * was interrupted, ends before others have their turns. So that takes a slice and a step at most,
 * however many there are and whatever they do. */
static void end_who_must(dw__worker *worker)
{
    uint64_t now = dw_os_clock_ns();
    worker->turn_ns = now;
    bool asked = dw_waker_take_asked(worker->waker);
    if (!asked && now <= worker->others.due_ns && now - worker->ended_ns < DW__TIME_SLICE_NS / 2) {
        return;
    }
    worker->ended_ns = now;
    dw__worker_look(worker);
    dw__device_drop_stopped(worker);
    dw__task_queue *const queues[] = {&worker->turn, &worker->ready, &worker->preempted,
                                      &worker->jobs};
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        run_ending(worker, queues[i]);
    }
    renew_due(worker, now);
}

/* ---- turns --------------------------------------------------------------------------------- */

/* The tasks that are in the queue now, each once. */
static void run_queue(dw__worker *worker, dw__task_queue *queue)
{
    DW_ASSERT(worker->turn.first == NULL);
    worker->turn = *queue;
    *queue = (dw__task_queue){NULL, NULL};
    for (dw__task *task = dw__take(&worker->turn); task != NULL; task = dw__take(&worker->turn)) {
        run_task(worker, task);
        end_who_must(worker);
    }
}

/* Guests that only compute take turns with the device: while any other waits for it, one of them
 * runs in each round, so that a step comes at most a time slice later, however many they are. */
static void run_guests(dw__worker *worker)
{
    run_queue(worker, &worker->ready);
    bool wanted = worker->jobs.first != NULL || worker->scheduler->device.own_thread ||
                  dw__device_is_wanted(worker);
    if (!wanted && worker->ready.first == NULL) {
        run_queue(worker, &worker->preempted);
    } else if (worker->preempted.first != NULL) {
        run_task(worker, dw__take(&worker->preempted));
        end_who_must(worker);
    }
}

/* ---- rounds --------------------------------------------------------------------------------- */

/* Work that cannot be batched: at least one job, then for as long as the steps took, or a time
 * slice where there were none. The guest that asked runs at once, so that short work does not wait
 * for long steps. */
static void run_jobs(dw__worker *worker, uint64_t started, uint64_t budget_ns)
{
    uint64_t spent = 0;
    do {
        dw__task *task = dw__take(&worker->jobs);
        if (task == NULL) {
            return;
        }
        DW_ASSERT(task->state == DW__TASK_COMPUTES);
        task->state = DW__TASK_RUNS;
        run_task(worker, task);
        end_who_must(worker);
        spent = dw_os_clock_ns() - started;
    } while (spent < budget_ns);
}

bool dw__worker_has_work(const dw__worker *worker)
{
    return worker->ready.first != NULL || worker->preempted.first != NULL ||
           worker->jobs.first != NULL || dw__device_is_wanted(worker);
}

void dw__worker_round(dw__worker *worker)
{
    uint64_t started = dw_os_clock_ns();
    dw__worker_look(worker);
    dw__device_take(worker);
    end_who_must(worker);
    run_guests(worker);
    uint64_t computed = dw_os_clock_ns();
    bool stepped = dw__device_run(worker);
    uint64_t now = dw_os_clock_ns();
    dw__bump(&worker->counts.rounds, 1);
    dw__bump(&worker->counts.guest_ns, computed - started);
    worker->turn_ns = now;
    run_jobs(worker, now,
             stepped                                ? now - computed
             : worker->scheduler->device.own_thread ? 0
                                                    : DW__TIME_SLICE_NS);
}

void dw__scheduler_round(dw_scheduler *scheduler)
{
    dw__worker_round(&scheduler->workers[0]);
}
