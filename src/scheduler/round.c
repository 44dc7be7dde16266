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

/* On the guest's own fiber, once its turn has come: so that it can be left in the middle. */
static dw_status compute(void *user, dw_work_fn work, void *arg, dw_error *err)
{
    dw__task *task = user;
    dw__scheduler_counts *counts = &task->scheduler->counts;
    dw__put(&task->scheduler->jobs, task);
    wait_for_device(task, DW__TASK_COMPUTES);
    task->computes = true;
    task->work_from_ns = dw_os_clock_ns();
    dw_status status = work(arg, err);
    dw__bump(&counts->job_ns, dw_os_clock_ns() - task->work_from_ns);
    dw__bump(&counts->jobs, 1);
    task->computes = false;
    return status;
}

/* Host work for a guest, in the middle of a host function: others have their turn first. */
static void pause_work(void *user)
{
    dw__task *task = user;
    const dw_scheduler *scheduler = task->scheduler;
    DW_ASSERT(pthread_equal(scheduler->thread, pthread_self()));
    if (scheduler->tasks == task && task->after == NULL && !dw__scheduler_has_work(scheduler) &&
        !atomic_load_explicit(&scheduler->has_inbox, memory_order_relaxed)) {
        return; /* there are none, nor is anything generated ahead */
    }
    uint64_t now = dw_os_clock_ns();
    if (task->computes) {
        dw__bump(&task->scheduler->counts.job_ns, now - task->work_from_ns);
        dw__put(&task->scheduler->jobs, task);
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
    dw__put(&task->scheduler->waiting, task);
    task->scheduler->look_ns = 0;
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
static uint32_t wanted_streams(dw_scheduler *scheduler)
{
    uint32_t wanted = 0;
    scheduler->look_ns = UINT64_MAX;
    for (const dw__task *task = scheduler->waiting.first; task != NULL; task = task->next) {
        uint64_t due = due_of(task);
        wanted |= task->wait->wanted;
        scheduler->look_ns = due < scheduler->look_ns ? due : scheduler->look_ns;
    }
    return wanted;
}

/* Those whose time or stream has come, or who were asked to stop, can run. Each that waits for a
 * stream is told; the first to come takes what there is, and others may have to wait again. */
static void end_waits(dw_scheduler *scheduler, uint32_t ready)
{
    dw__task_queue before = scheduler->waiting;
    uint64_t now = dw_os_clock_ns();
    scheduler->waiting = (dw__task_queue){NULL, NULL};
    for (dw__task *task = dw__take(&before); task != NULL; task = dw__take(&before)) {
        uint32_t hangup = (task->wait->wanted & DW_WAIT_INPUT) != 0 ? DW_WAIT_HANGUP : 0;
        task->wait->ready = ready & (task->wait->wanted | hangup);
        task->left = dw_stop_asked(dw_instance_stop(task->instance));
        if (!task->left && (task->wait->ready & task->wait->wanted) == 0 &&
            now < task->wait->until_ns) {
            dw__put(&scheduler->waiting, task);
            continue;
        }
        task->state = DW__TASK_RUNS;
        dw__put(&scheduler->ready, task);
    }
    scheduler->looked_ns = now;
    (void)wanted_streams(scheduler);
}

void dw__scheduler_look(dw_scheduler *scheduler)
{
    if (scheduler->waiting.first == NULL) {
        return;
    }
    uint64_t now = dw_os_clock_ns();
    if (now < scheduler->look_ns && now - scheduler->looked_ns < LOOK_NS) {
        return;
    }
    end_waits(scheduler, dw_wait_poll(wanted_streams(scheduler), 0, scheduler->waker));
}

void dw__scheduler_sleep(dw_scheduler *scheduler)
{
    uint32_t wanted = wanted_streams(scheduler);
    end_waits(scheduler, dw_wait_poll(wanted, scheduler->look_ns, scheduler->waker));
}

/* ---- guests ------------------------------------------------------------------------------- */

/* Its call has: whoever asks it to stop wakes the loop, and the first who has to end is known. */
static void note_begun(dw__task *task)
{
    dw_stop *stop = dw_instance_stop(task->instance);
    dw_stop_others *others = &task->scheduler->others;
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
    if (stop->deadline_ns == task->scheduler->others.due_ns) {
        task->scheduler->due_is_old = true;
    }
}

/* When the first of those has to end who do not yet. While that is far away it may have been some
 * other's who has ended since. */
static void renew_due(dw_scheduler *scheduler, uint64_t now)
{
    uint64_t due_ns = scheduler->others.due_ns;
    if (due_ns == UINT64_MAX ||
        (due_ns > now && (!scheduler->due_is_old || due_ns - now > DUE_FAR_NS))) {
        return;
    }
    due_ns = UINT64_MAX;
    for (const dw__task *task = scheduler->tasks; task != NULL; task = task->after) {
        uint64_t deadline_ns = task->begun ? dw_instance_stop(task->instance)->deadline_ns : 0;
        due_ns = deadline_ns > now && deadline_ns < due_ns ? deadline_ns : due_ns;
    }
    scheduler->due_is_old = false;
    __atomic_store_n(&scheduler->others.due_ns, due_ns, __ATOMIC_RELAXED);
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
        dw__put(&task->scheduler->ready, task); /* as long as it likes, and others meanwhile */
        return;
    }
    if (task->actor != NULL) {
        dw_actor_receive_flushed(task->actor);
        status = dw_actor_receive_end(task->actor, status, result, exit_code, &error);
        exit_code = 0;
    }
    dw__task_end(task, status, exit_code, &error);
}

/* Let a guest run until it waits, has used up its time slice, or its call ends. */
static void run_task(dw_scheduler *scheduler, dw__task *task)
{
    DW_ASSERT(task->state == DW__TASK_RUNS);
    if (!task->begun && !begin(task)) {
        return;
    }
    if (task->through) {
        end(task);
        return;
    }
    dw__bump(&scheduler->counts.resumes, 1);
    dw_instance_stop(task->instance)->pause_ns = 0;
    if (dw_fiber_resume(task->instance)) {
        end(task);
    } else if (task->state == DW__TASK_RUNS) {
        dw__bump(&scheduler->counts.preemptions, 1);
        dw__put(&scheduler->preempted, task);
    }
}

/* ---- guests whose time is over ------------------------------------------------------------- */

static bool must_end(const dw__task *task)
{
    dw_stop *stop = dw_instance_stop(task->instance);
    return task->begun && dw_stop_asked(stop) && dw_stop_ends(stop);
}

/* Run those of the queue who must end: what is left for them to do is little. */
static void run_ending(dw_scheduler *scheduler, dw__task_queue *queue)
{
    dw__task_queue before = *queue;
    dw__task_queue ending = {NULL, NULL};
    *queue = (dw__task_queue){NULL, NULL};
    for (dw__task *task = dw__take(&before); task != NULL; task = dw__take(&before)) {
        dw__put(must_end(task) ? &ending : queue, task);
    }
    for (dw__task *task = dw__take(&ending); task != NULL; task = dw__take(&ending)) {
        task->state = DW__TASK_RUNS; /* also one whose work has not begun, which sees that */
        run_task(scheduler, task);
    }
}

/* Half a time slice after it was asked last, or when somebody has to: whose time is over, or who
 * was interrupted, ends before others have their turns. So that takes a slice and a step at most,
 * however many there are and whatever they do. */
static void end_who_must(dw_scheduler *scheduler)
{
    uint64_t now = dw_os_clock_ns();
    bool asked = dw_waker_take_asked(scheduler->waker);
    if (!asked && now <= scheduler->others.due_ns &&
        now - scheduler->ended_ns < DW__TIME_SLICE_NS / 2) {
        return;
    }
    scheduler->ended_ns = now;
    dw__scheduler_look(scheduler);
    dw__device_drop_stopped(scheduler);
    dw__task_queue *const queues[] = {&scheduler->turn, &scheduler->ready, &scheduler->preempted,
                                      &scheduler->jobs};
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        run_ending(scheduler, queues[i]);
    }
    renew_due(scheduler, now);
}

/* ---- turns --------------------------------------------------------------------------------- */

/* The tasks that are in the queue now, each once. */
static void run_queue(dw_scheduler *scheduler, dw__task_queue *queue)
{
    DW_ASSERT(scheduler->turn.first == NULL);
    scheduler->turn = *queue;
    *queue = (dw__task_queue){NULL, NULL};
    for (dw__task *task = dw__take(&scheduler->turn); task != NULL;
         task = dw__take(&scheduler->turn)) {
        run_task(scheduler, task);
        end_who_must(scheduler);
    }
}

/* Guests that only compute take turns with the device: while any other waits for it, one of them
 * runs in each round, so that a step comes at most a time slice later, however many they are. */
static void run_guests(dw_scheduler *scheduler)
{
    run_queue(scheduler, &scheduler->ready);
    bool wanted = scheduler->jobs.first != NULL || scheduler->device.own_thread ||
                  dw__device_is_wanted(scheduler);
    if (!wanted && scheduler->ready.first == NULL) {
        run_queue(scheduler, &scheduler->preempted);
    } else if (scheduler->preempted.first != NULL) {
        run_task(scheduler, dw__take(&scheduler->preempted));
        end_who_must(scheduler);
    }
}

/* ---- rounds --------------------------------------------------------------------------------- */

/* Work that cannot be batched: at least one job, then for as long as the steps took, or a time
 * slice where there were none. The guest that asked runs at once, so that short work does not wait
 * for long steps. */
static void run_jobs(dw_scheduler *scheduler, uint64_t started, uint64_t budget_ns)
{
    uint64_t spent = 0;
    do {
        dw__task *task = dw__take(&scheduler->jobs);
        if (task == NULL) {
            return;
        }
        DW_ASSERT(task->state == DW__TASK_COMPUTES);
        task->state = DW__TASK_RUNS;
        run_task(scheduler, task);
        end_who_must(scheduler);
        spent = dw_os_clock_ns() - started;
    } while (spent < budget_ns);
}

bool dw__scheduler_has_work(const dw_scheduler *scheduler)
{
    return scheduler->ready.first != NULL || scheduler->preempted.first != NULL ||
           scheduler->jobs.first != NULL || dw__device_is_wanted(scheduler);
}

void dw__scheduler_round(dw_scheduler *scheduler)
{
    uint64_t started = dw_os_clock_ns();
    dw__scheduler_look(scheduler);
    dw__device_take(scheduler);
    end_who_must(scheduler);
    run_guests(scheduler);
    uint64_t computed = dw_os_clock_ns();
    bool stepped = dw__device_run(scheduler);
    uint64_t now = dw_os_clock_ns();
    dw__bump(&scheduler->counts.rounds, 1);
    dw__bump(&scheduler->counts.guest_ns, computed - started);
    run_jobs(scheduler, now,
             stepped                        ? now - computed
             : scheduler->device.own_thread ? 0
                                            : DW__TIME_SLICE_NS);
}
