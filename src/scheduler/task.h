/* Tasks, the queues that they wait in, and the scheduler that has them.
 * Private to src/scheduler. Thread: the scheduler's, but for what a comment says. */
#ifndef DW_SCHEDULER_TASK_H
#define DW_SCHEDULER_TASK_H

#include <pthread.h>
#include <stdatomic.h>

#include "actor/actor.h"
#include "inference/batch.h"
#include "scheduler/batch_turns.h"
#include "scheduler/scheduler.h"
#include "wasm/instance_fiber.h"

/* How long guests run before others do: an epoch (src/wasm/wasm_host.c). */
#define DW__TIME_SLICE_NS DW_STOP_TURN_NS

typedef enum dw__task_state {
    DW__TASK_RUNS,     /* or can: it is in its lane, or just resumed */
    DW__TASK_STEPS,    /* its step is in a batch */
    DW__TASK_COMPUTES, /* it is in its lane, for work that cannot be batched */
    DW__TASK_WAITS,    /* for a time or a stream: it is in `waiting` */
    DW__TASK_AWAITS,   /* what is generated ahead of it */
} dw__task_state;

/* A call of a guest, from its start to its end; or, without an instance, a function to be called on
 * the scheduler's thread. */
typedef struct dw__task {
    struct dw__task *next;   /* in the one queue that it is in */
    struct dw__task *before; /* of all that were taken in and have not ended */
    struct dw__task *after;
    dw_scheduler *scheduler;
    struct dw__worker *worker; /* which its fiber is on */
    struct dw__share *share;   /* whose time it takes */
    uint8_t priority;          /* 0: the highest */
    uint64_t due_ns;           /* of its message, beside the guest's own; 0: none */
    uint64_t turn_ns;          /* had since it waited last */
    dw_instance *instance;
    dw_actor *actor; /* NULL: `instance` is a command */
    dw_write_fn on_answer;
    dw_call_end_fn on_end;
    void (*on_turn)(void *user); /* without an instance */
    void *user;
    bool begun;
    bool through;   /* its code is, what was generated ahead of it had not ended */
    bool flushes;   /* the actor's message is worked on, what its guest has buffered is written */
    int32_t result; /* of that message */
    dw__task_state state;
    dw_batch_item item;           /* while it steps: one step */
    uint32_t steps_left;          /* of those it waits for */
    bool computes;                /* it is in the middle of work that cannot be batched */
    uint64_t work_from_ns;        /* of that: since when it goes on */
    dw_wait *wait;                /* while it waits: on its fiber */
    bool left;                    /* the wait ended since it was asked to stop */
    const dw_generation *awaited; /* while it awaits; NULL: all of its own */
    uint64_t left_ns;             /* when its last turn ended, and in what; 0: it had none */
    dw__task_state left_in;
} dw__task;

/* First in, first out. */
typedef struct dw__task_queue {
    dw__task *first;
    dw__task *last;
} dw__task_queue;

#define DW__PRIORITY_COUNT 3

/* What a guest has its turn for. */
typedef enum dw__turn_kind {
    DW__TURN_SHORT, /* it begins, or goes on behind what it waited for */
    DW__TURN_WORK,  /* work that cannot be batched */
    DW__TURN_LONG,  /* it has used up a time slice */
    DW__TURN_KINDS,
} dw__turn_kind;

/* Tasks of a tenant, of one priority and kind. */
typedef struct dw__class {
    dw__task_queue tasks;
    uint64_t pass; /* of time had, by its part */
} dw__class;

/* A tenant's tasks on one worker. */
typedef struct dw__lane {
    struct dw__share *share;
    struct dw__lane *next; /* of all that the worker knows */
    struct dw__lane *left; /* in the heap; or the next of those set aside */
    struct dw__lane *right;
    bool known;
    bool queued;         /* in the heap, set aside, or having its turn */
    uint64_t pass;       /* of time had, by weight */
    uint64_t class_pass; /* of the class that had the last turn */
    uint64_t owed_ns;    /* had beyond its turns */
    size_t counts[DW__TURN_KINDS];
    dw__class classes[DW__PRIORITY_COUNT][DW__TURN_KINDS];
} dw__lane;

/* A tenant. */
typedef struct dw__share {
    _Atomic uint32_t weight;
    _Atomic uint64_t outside_ns; /* dw_scheduler_charge, since the last turn; added to by one */
    dw_batch_share device;       /* the device's thread's: of places in runs */
    dw__lane lanes[];            /* [worker_count], each its worker's alone */
} dw__share;

typedef struct dw__turn {
    dw__lane *lane;
    uint8_t priority;
    dw__turn_kind kind;
} dw__turn;

/* Each written by one thread alone, read by any. */
typedef struct dw__worker_counts {
    _Atomic uint64_t ended;
    _Atomic uint64_t rounds;
    _Atomic uint64_t resumes;
    _Atomic uint64_t preemptions;
    _Atomic uint64_t jobs;
    _Atomic uint64_t job_ns;
    _Atomic uint64_t guest_ns;
} dw__worker_counts;

#define DW__IDLE_CLASSES 256

typedef struct dw__device_counts {
    _Atomic uint64_t steps;
    _Atomic uint64_t step_tokens;
    _Atomic uint64_t step_sequences;
    _Atomic uint64_t most_step_sequences;
    _Atomic uint64_t run_ns;
    _Atomic uint64_t idle_ns;
    _Atomic uint64_t idle_times;
    _Atomic uint64_t idle_counts[DW__IDLE_CLASSES]; /* by length: device_side.c */
} dw__device_counts;

/* A thread that guests run on, each on one for the whole of its call. The first is whoever is in
 * dw_scheduler_run. */
typedef struct dw__worker {
    dw_scheduler *scheduler;
    pthread_t thread;
    dw_waker *waker; /* the host's: of guests that wait, and of the loop */

    /* The thread's own. */
    dw__task *tasks;        /* all that were taken in and have not ended */
    dw__lane *lanes;        /* all that have had tasks */
    dw__lane *heap;         /* those that have some, the least pass first */
    dw__lane *aside;        /* of those, passed over in this round */
    uint64_t pass;          /* of the lane that had the last turn */
    size_t runnable;        /* tasks in lanes */
    dw__task_queue waiting; /* for times and streams */
    uint64_t look_ns;       /* when the next of these is due, at the latest; 0: not known */
    uint64_t looked_ns;     /* when they were looked at last */
    uint64_t ended_ns;      /* when those were looked for last who must end */
    uint64_t turn_ns;       /* since when the next turn counts */
    uint64_t turn_job_ns;   /* of it: what was the device's time */
    dw_stop_others others;  /* all guests that have begun; its due_ns read by the device's thread */
    bool due_is_old;        /* who set that has ended */
    dw__worker_counts counts;

    /* Of any thread. */
    dw__task_queue inbox;   /* guarded by the scheduler's lock */
    size_t guest_count;     /* guarded by the scheduler's lock */
    bool at_work;           /* guarded by the scheduler's lock: of all but the first */
    dw_batch_queue done;    /* guarded by the device's lock: steps that are through */
    dw_generation *noted;   /* likewise: their guests have something to look at */
    bool asks;              /* likewise: guests can run, and may ask for steps */
    _Atomic bool has_inbox; /* whether `inbox` holds anything, without the lock */
    _Atomic bool has_done;  /* whether `done` or `noted` do */
    _Atomic bool sleeps;    /* the loop waits for the waker, and for what guests wait for */
    _Atomic(dw__share *) turn_share; /* whose guest runs; NULL: none does */
    _Atomic uint64_t turn_from_ns;   /* since when */
    _Atomic bool way_asked;          /* it was asked to make way */
} dw__worker;

/* device_side.c's. The device's thread is the scheduler's where it has none of its own. */
typedef struct dw__device_side {
    bool own_thread;
    pthread_t thread;
    pthread_mutex_t lock; /* with a thread of its own, as the next */
    pthread_cond_t changed;
    dw_batch_queue arrivals; /* guarded by lock: steps that are to wait */
    bool stops;              /* guarded by lock */
    bool paused;             /* guarded by lock */
    bool rests;              /* guarded by lock: the thread waits for something to do */
    bool gathers;            /* guarded by lock: it waits for guests */
    size_t askers;           /* guarded by lock: workers whose guests may ask for steps */
    _Atomic uint64_t naps;   /* times when there was nothing to do for anybody */

    /* The device's thread alone. */
    dw__batch_turns turns;  /* of the batches */
    dw_batch_queue sliding; /* generations' steps, which wait for their contexts' windows */
    bool feeds_itself;      /* steps wait that no guest has asked for */
    bool flies;             /* a run did when the last one was looked at (dw_batch_flies) */
    uint64_t naps_seen;
    uint64_t ended_ns;    /* when the last run did */
    uint64_t last_run_ns; /* of a run in parts, its last part */
    bool amid;            /* a run is under way, in parts */
    uint64_t parts_ns;    /* that such took since a guest had a turn for work, or a long one */
    uint64_t dropped_ns;  /* when those were dropped last who were asked to stop */
} dw__device_side;

struct dw_scheduler {
    dw_wasm_host *host;
    dw_batch_limits limits;
    size_t guest_count_max;
    dw_scheduler_watch watch; /* its on_span NULL: nobody watches */
    bool (*relieve)(void *user);
    void *relieve_user;
    dw__worker *workers; /* [worker_count] */
    size_t worker_count;

    /* The first worker's thread alone, the others being at rest where it is written. */
    bool running; /* dw_scheduler_run is on the stack */
    bool closing;

    /* The device's side. */
    dw_batch **batches; /* [batch_count], one for each kind of step that waits, and few others */
    size_t batch_count;
    size_t batch_capacity;
    dw__device_side device;
    dw__device_counts counts;

    /* Of any thread. */
    dw__share *shares[DW_SCHEDULER_TENANTS_MAX]; /* guarded by lock; NULL: not used so far */
    pthread_mutex_t lock;
    pthread_cond_t changed;   /* of `goes`, `quits` and workers' at_work */
    bool goes;                /* guarded by lock: workers run guests */
    bool quits;               /* guarded by lock: their threads end */
    size_t guest_count;       /* started and not ended; guarded by lock */
    size_t most_guests;       /* guarded by lock */
    uint64_t started;         /* guarded by lock */
    bool refusing;            /* guarded by lock: it is being destroyed */
    _Atomic size_t calls;     /* started, whose callbacks have not returned */
    _Atomic bool is_going;    /* `goes`, without the lock */
    _Atomic bool is_stopping; /* dw_scheduler_stop */
};

static inline void dw__bump(_Atomic uint64_t *count, uint64_t amount)
{
    /* One writer: no locked instruction is needed. */
    uint64_t now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now + amount, memory_order_relaxed);
}

/* Whether somebody wants to be told. */
static inline bool dw__is_watched(const dw_scheduler *scheduler)
{
    return scheduler->watch.on_span != NULL &&
           atomic_load_explicit(scheduler->watch.on, memory_order_relaxed);
}

static inline void dw__watched(const dw_scheduler *scheduler, const dw__task *task,
                               const dw_scheduler_span *span)
{
    scheduler->watch.on_span(scheduler->watch.user, task != NULL ? task->user : NULL, span);
}

/* Somebody has said something to the loop, which may be about to sleep: it says so, and then looks
 * once more. */
static inline void dw__wake(const dw__worker *worker)
{
    if (atomic_load(&worker->sleeps)) {
        dw_waker_wake(worker->waker);
    }
}

static inline void dw__put(dw__task_queue *queue, dw__task *task)
{
    task->next = NULL;
    if (queue->first == NULL) {
        queue->first = task;
    } else {
        queue->last->next = task;
    }
    queue->last = task;
}

static inline dw__task *dw__take(dw__task_queue *queue)
{
    dw__task *task = queue->first;
    if (task != NULL) {
        queue->first = task->next;
        task->next = NULL;
    }
    return task;
}

/* The task was taken from the inbox: it is one of all, and can run. */
void dw__task_add(dw__worker *worker, dw__task *task);
/* It can run: what it waited for has come. */
void dw__task_ready(dw__task *task);
/* The task is, or will be, among those of its worker that can run: should the guest that runs there
 * be of another tenant, it makes way, unless it has hardly begun. Thread: any. */
void dw__task_ask_way(const dw__task *task);
/* The task has ended, or never began: call its callback, and free it. */
void dw__task_end(dw__task *task, dw_status status, int exit_code, const dw_error *error);

#endif
