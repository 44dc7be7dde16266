#include "scheduler/lanes.h"

#include "base/alloc.h"
#include "base/array.h"

/* A lane's time is counted in nanoseconds * SCALE / weight. */
#define SCALE UINT64_C(10000)
/* A class's in nanoseconds * CLASS_SCALE / its part. */
#define CLASS_SCALE UINT64_C(64)

/* By priority; and by kind: who comes from the device goes on before who only computes. */
static const uint32_t priority_parts[DW__PRIORITY_COUNT] = {16, 4, 1};
static const uint32_t kind_parts[DW__TURN_KINDS] = {4, 2, 1};

static bool is_less(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0; /* whichever of them has run over */
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return is_less(a, b) ? b : a;
}

/* ---- shares ---------------------------------------------------------------------------------- */

dw_status dw__share_get(dw_scheduler *scheduler, uint32_t number, dw__share **out, dw_error *err)
{
    DW_ASSERT(number < DW_SCHEDULER_TENANTS_MAX);
    *out = scheduler->shares[number];
    if (*out != NULL) {
        return DW_OK;
    }
    size_t bytes = sizeof(dw__share) + scheduler->worker_count * sizeof(dw__lane);
    dw__share *share = dw_alloc(1, bytes);
    if (share == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a tenant of a scheduler");
    }
    atomic_init(&share->weight, DW_SCHEDULER_WEIGHT_USUAL);
    atomic_init(&share->outside_ns, 0);
    for (size_t i = 0; i < scheduler->worker_count; i++) {
        share->lanes[i].share = share;
    }
    scheduler->shares[number] = *out = share;
    return DW_OK;
}

void dw__shares_free(dw_scheduler *scheduler)
{
    for (size_t i = 0; i < DW_SCHEDULER_TENANTS_MAX; i++) {
        dw_free(scheduler->shares[i]);
    }
}

/* ---- lanes in the order of their time: a skew heap ------------------------------------------ */

/* As deep as there are lanes, at most: some hundred bytes of stack for each. */
static dw__lane *merge(dw__lane *a, dw__lane *b)
{
    if (a == NULL || b == NULL) {
        return a == NULL ? b : a;
    }
    if (is_less(b->pass, a->pass)) {
        dw__lane *other = a;
        a = b;
        b = other;
    }
    dw__lane *right = merge(a->right, b);
    a->right = a->left;
    a->left = right;
    return a;
}

static void insert(dw__worker *worker, dw__lane *lane)
{
    lane->left = lane->right = NULL;
    worker->heap = merge(worker->heap, lane);
}

static dw__lane *take_first(dw__worker *worker)
{
    dw__lane *lane = worker->heap;
    if (lane != NULL) {
        worker->heap = merge(lane->left, lane->right);
    }
    return lane;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static dw__lane *lane_of(const dw__task *task)
{
    return &task->share->lanes[task->worker - task->scheduler->workers];
}

void dw__lane_put(dw__task *task, dw__turn_kind kind)
{
    dw__worker *worker = task->worker;
    dw__lane *lane = lane_of(task);
    dw__class *class = &lane->classes[task->priority][kind];
    if (!lane->known) {
        lane->known = true;
        lane->next = worker->lanes;
        worker->lanes = lane;
    }
    if (!lane->queued) {
        lane->queued = true;
        lane->pass = later(lane->pass, worker->pass);
        insert(worker, lane);
    }
    if (class->tasks.first == NULL) {
        class->pass = later(class->pass, lane->class_pass);
    }
    dw__put(&class->tasks, task);
    lane->counts[kind]++;
    worker->runnable++;
}

static unsigned kinds_of(const dw__lane *lane)
{
    unsigned kinds = 0;
    for (unsigned kind = 0; kind < DW__TURN_KINDS; kind++) {
        kinds |= (unsigned)(lane->counts[kind] > 0) << kind;
    }
    return kinds;
}

static void choose_class(const dw__lane *lane, unsigned kinds, dw__turn *turn)
{
    const dw__class *best = NULL;
    for (uint8_t priority = 0; priority < DW__PRIORITY_COUNT; priority++) {
        for (unsigned kind = 0; kind < DW__TURN_KINDS; kind++) {
            const dw__class *class = &lane->classes[priority][kind];
            if (class->tasks.first != NULL && (kinds >> kind & 1) != 0 &&
                (best == NULL || is_less(class->pass, best->pass))) {
                best = class;
                turn->priority = priority;
                turn->kind = (dw__turn_kind)kind;
            }
        }
    }
    DW_ASSERT(best != NULL);
}

dw__task *dw__lane_take(dw__worker *worker, unsigned kinds, dw__turn *turn)
{
    dw__lane *lane;
    while ((lane = take_first(worker)) != NULL) {
        unsigned own = kinds_of(lane);
        if ((own & kinds) != 0) {
            break;
        }
        if (own == 0) {
            lane->queued = false;
        } else {
            lane->left = worker->aside;
            worker->aside = lane;
        }
    }
    if (lane == NULL) {
        return NULL;
    }
    turn->lane = lane;
    choose_class(lane, kinds, turn);
    dw__class *class = &lane->classes[turn->priority][turn->kind];
    worker->pass = lane->pass;
    lane->class_pass = class->pass;
    lane->counts[turn->kind]--;
    worker->runnable--;
    return dw__take(&class->tasks);
}

void dw__lane_charge(dw__worker *worker, const dw__turn *turn, uint64_t took_ns)
{
    dw__lane *lane = turn->lane;
    dw__share *share = lane->share;
    uint32_t weight = atomic_load_explicit(&share->weight, memory_order_relaxed);
    if (atomic_load_explicit(&share->outside_ns, memory_order_relaxed) > 0) {
        lane->owed_ns += atomic_exchange_explicit(&share->outside_ns, 0, memory_order_relaxed);
    }
    lane->pass += (took_ns + lane->owed_ns) * SCALE / weight;
    lane->owed_ns = 0;
    lane->classes[turn->priority][turn->kind].pass +=
        took_ns * CLASS_SCALE / (priority_parts[turn->priority] * kind_parts[turn->kind]);
    lane->queued = kinds_of(lane) != 0;
    if (lane->queued) {
        insert(worker, lane);
    }
}

void dw__lanes_renew(dw__worker *worker)
{
    while (worker->aside != NULL) {
        dw__lane *lane = worker->aside;
        worker->aside = lane->left;
        insert(worker, lane);
    }
}

void dw__lanes_sweep(dw__worker *worker, bool (*is_wanted)(const dw__task *task),
                     dw__task_queue *out)
{
    for (dw__lane *lane = worker->lanes; lane != NULL; lane = lane->next) {
        for (unsigned i = 0; i < DW__PRIORITY_COUNT * DW__TURN_KINDS && kinds_of(lane) != 0; i++) {
            unsigned kind = i % DW__TURN_KINDS;
            dw__task_queue *queue = &lane->classes[i / DW__TURN_KINDS][kind].tasks;
            dw__task_queue before = *queue;
            *queue = (dw__task_queue){NULL, NULL};
            for (dw__task *task = dw__take(&before); task != NULL; task = dw__take(&before)) {
                bool wanted = is_wanted(task);
                lane->counts[kind] -= wanted;
                worker->runnable -= wanted;
                dw__put(wanted ? out : queue, task);
            }
        }
    }
}
