/* Who leaves memory, and who may come into it, of actors that live in a folder.
 *
 * An actor is at rest when it has nothing to do, is not pinned, and none of its children in memory
 * is anything else but at rest. Those are in lists, the least recently used first: one a priority,
 * and one of each parent. Who leaves is the first of the lowest priority, or the first of its
 * children, of theirs and so on: children leave before their parents. All of it takes as long
 * whatever is in memory, but for the depth of a tree. */
#include <inttypes.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/os.h"
#include "runtime/runtime_internal.h"

/* So many leave where memory is short, and somebody waits so long for one of them to have left. */
#define AT_ONCE 8u
#define RELIEF_NS UINT64_C(2000000000)

/* ---- lists ----------------------------------------------------------------------------------- */

enum { OF_ALL, OF_PARENT };

static void put_last(dw__rest_list *list, dw__record *record, int links)
{
    record->rest[links].before = list->last;
    record->rest[links].after = NULL;
    *(list->last != NULL ? &list->last->rest[links].after : &list->first) = record;
    list->last = record;
}

static void take_out(dw__rest_list *list, dw__record *record, int links)
{
    dw__record *before = record->rest[links].before;
    dw__record *after = record->rest[links].after;
    *(before != NULL ? &before->rest[links].after : &list->first) = after;
    *(after != NULL ? &after->rest[links].before : &list->last) = before;
    record->rest[links].before = record->rest[links].after = NULL;
}

/* ---- at rest --------------------------------------------------------------------------------- */

static bool may_rest(const dw__record *record)
{
    return record->state == DW__RESTING && record->listed && !record->stopping &&
           record->in_folder && record->loaded && record->body != NULL && !record->pinned &&
           !record->leaves && !record->unkept && record->restless_count == 0 &&
           record->held.count + record->coming.count + record->later.count == 0 &&
           record->operations == NULL;
}

static uint64_t idle_ns_of(const dw_runtime *runtime, const dw__record *record)
{
    uint32_t own = record->tenant->park_idle_s;
    own = own != 0 ? own : runtime->options.park_idle_s;
    own = own != 0 ? own : DW__PARK_IDLE_S;
    return own != DW_PARK_NEVER ? own * UINT64_C(1000000000) : UINT64_MAX;
}

static void begin_rest(dw_runtime *runtime, dw__record *record)
{
    uint64_t idle_ns = idle_ns_of(runtime, record);
    record->used_ns = runtime->platform.clock_ns(runtime->platform.user);
    put_last(&runtime->rests[record->priority], record, OF_ALL);
    if (record->parent != NULL) {
        put_last(&record->parent->rests, record, OF_PARENT);
    }
    if (record->idle_alarm.place == 0 && idle_ns != UINT64_MAX) {
        record->idle_alarm.ring = dw__ring_idle;
        dw__alarm_set(runtime, &record->idle_alarm, record->used_ns + idle_ns);
    }
}

static void end_rest(dw_runtime *runtime, dw__record *record)
{
    take_out(&runtime->rests[record->priority], record, OF_ALL);
    if (record->parent != NULL) {
        take_out(&record->parent->rests, record, OF_PARENT);
    }
}

void dw__note_rest(dw_runtime *runtime, dw__record *record)
{
    while (runtime->keeper != NULL && record != NULL) {
        bool rests = may_rest(record);
        bool restless =
            record->listed && !rests && !record->pinned && !record->leaves && !record->queued;
        dw__record *parent = record->parent;
        if (rests != record->at_rest) {
            (rests ? begin_rest : end_rest)(runtime, record);
            record->at_rest = rests;
        }
        if (restless == record->restless) {
            return;
        }
        record->restless = restless;
        if (parent != NULL) {
            parent->restless_count += restless;
            parent->restless_count -= !restless;
        }
        record = parent; /* which may rest now, or no more */
    }
}

void dw__rest_join(dw_runtime *runtime, dw__record *record)
{
    dw__record *parent = record->parent;
    if (record->at_rest) {
        put_last(&parent->rests, record, OF_PARENT);
    }
    parent->restless_count += record->restless;
    dw__note_rest(runtime, parent);
}

void dw__rest_leave(dw_runtime *runtime, dw__record *record, dw__record *parent)
{
    if (record->at_rest) {
        take_out(&parent->rests, record, OF_PARENT);
    }
    parent->restless_count -= record->restless;
    dw__note_rest(runtime, parent);
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* Who of these goes first. */
static dw__record *first_of(dw__record *record)
{
    while (record != NULL && record->rests.first != NULL) {
        record = record->rests.first;
    }
    return record;
}

static dw__record *choose(const dw_runtime *runtime)
{
    dw__record *record = NULL;
    for (int i = DW__PRIORITIES - 1; i >= 0 && record == NULL; i--) {
        record = first_of(runtime->rests[i].first);
    }
    return record;
}

void dw__park(dw_runtime *runtime, dw__record *record)
{
    DW_ASSERT(record->state == DW__RESTING && record->body != NULL && !record->leaves);
    record->leaves = true;
    record->leaving_bytes = record->memory_bytes;
    runtime->leaving_count++;
    runtime->leaving_bytes += record->leaving_bytes;
    dw__note_rest(runtime, record);
    if (record->dirty || record->kept.pending) {
        record->keep_due = true;
        dw__rouse(runtime, record);
    } else {
        dw__leave_memory(runtime, record);
    }
}

void dw__park_no_more(dw_runtime *runtime, dw__record *record, const dw_error *why)
{
    dw__operation *call = record->park_call;
    if (record->leaves) {
        record->leaves = false;
        runtime->leaving_count--;
        runtime->leaving_bytes -= record->leaving_bytes;
        dw__note_rest(runtime, record);
        (void)pthread_cond_broadcast(&runtime->changed);
    }
    record->park_call = NULL;
    if (call != NULL) {
        call->error = why != NULL ? *why : (dw_error){.code = DW_OK};
        dw__operation_end(runtime, call);
    }
}

static bool has_come(const dw__record *record)
{
    return record->inside > 0 || record->timer_due || record->operations != NULL ||
           record->mail.count + record->held.count + record->coming.count + record->later.count > 0;
}

bool dw__park_on(dw_runtime *runtime, dw__record *record)
{
    dw_error why;
    if (!record->leaves) {
        return false;
    }
    if (record->unkept || record->dirty) {
        (void)dw_fail(&why, DW_E_IO, "park: the actor could not be written: %.200s",
                      record->turn->own.message);
        why.code = record->turn->own.code != DW_OK ? record->turn->own.code : DW_E_IO;
    } else if (record->pinned) {
        (void)dw_fail(&why, DW_E_STATE, "park: the actor is pinned");
    } else if (has_come(record)) {
        (void)dw_fail(&why, DW_E_BUSY, "park: the actor has work");
    } else {
        dw__set_state(runtime, record, DW__RESTING);
        dw__leave_memory(runtime, record);
        return true;
    }
    dw__park_no_more(runtime, record, &why);
    return false;
}

/* Of a tree where nobody has had anything to do for so long, the first to go. */
void dw__ring_idle(dw_runtime *runtime, dw__alarm *alarm)
{
    dw__record *record = (dw__record *)(void *)((char *)alarm - offsetof(dw__record, idle_alarm));
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    uint64_t idle_ns = idle_ns_of(runtime, record);
    if (!record->at_rest || runtime->closing || idle_ns == UINT64_MAX) {
        return; /* set again when it rests */
    }
    dw__record *first = first_of(record);
    uint64_t due_ns = record->used_ns + idle_ns;
    if (first != record && first->used_ns + idle_ns > due_ns) {
        due_ns = first->used_ns + idle_ns;
    }
    if (due_ns <= now_ns) {
        dw__park(runtime, first);
    }
    if (due_ns > now_ns || first != record) {
        dw__alarm_set(runtime, &record->idle_alarm, due_ns > now_ns ? due_ns : now_ns + 1000000);
    }
}

/* ---- coming ---------------------------------------------------------------------------------- */

static uint64_t resident(const dw_runtime *runtime)
{
    return runtime->record_count - runtime->queued_count;
}

static bool has_room(const dw_runtime *runtime)
{
    return resident(runtime) < runtime->resident_max &&
           runtime->resident_bytes < runtime->resident_bytes_max;
}

/* Nobody of those in memory will make room: they are pinned, or cannot be written. */
static bool is_stuck(const dw_runtime *runtime)
{
    return runtime->busy_count == runtime->queued_count && runtime->in_flight == 0 &&
           choose(runtime) == NULL;
}

dw_status dw__may_queue(const dw_runtime *runtime, const dw__tenant *tenant, dw_error *err)
{
    if (tenant->queued_count < DW__QUEUED_MAX || runtime->keeper == NULL) {
        return DW_OK;
    }
    return dw_fail(err, DW_E_BUSY,
                   "memory: %zu actors of tenant '%s' wait for room (resident_actors %" PRIu64
                   ", resident_bytes %" PRIu64 "), which is the limit",
                   tenant->queued_count, tenant->name, runtime->resident_max,
                   runtime->resident_bytes_max);
}

static void enqueue(dw_runtime *runtime, dw__record *record)
{
    dw__tenant *tenant = record->tenant;
    record->queued = true;
    put_last(&tenant->queued, record, OF_ALL);
    runtime->queued_count++;
    if (tenant->queued_count++ == 0) {
        tenant->next_queued = NULL;
        *(runtime->last_queued != NULL ? &runtime->last_queued->next_queued
                                       : &runtime->queued_tenants) = tenant;
        runtime->last_queued = tenant;
    }
    if (record->made == NULL) { /* it has no body, and nobody makes one */
        dw__set_state(runtime, record, DW__DOWN);
    }
    dw__note_rest(runtime, record);
}

static void forget_tenant(dw_runtime *runtime, const dw__tenant *tenant)
{
    dw__tenant *before = NULL;
    for (dw__tenant *at = runtime->queued_tenants; at != tenant; at = at->next_queued) {
        before = at;
    }
    *(before != NULL ? &before->next_queued : &runtime->queued_tenants) = tenant->next_queued;
    runtime->last_queued = runtime->last_queued == tenant ? before : runtime->last_queued;
}

static void dequeue(dw_runtime *runtime, dw__record *record)
{
    dw__tenant *tenant = record->tenant;
    record->queued = false;
    take_out(&tenant->queued, record, OF_ALL);
    runtime->queued_count--;
    if (--tenant->queued_count == 0) {
        forget_tenant(runtime, tenant);
    }
    dw__note_rest(runtime, record);
}

static void begin(dw_runtime *runtime, dw__record *record)
{
    if (record->made != NULL) {
        dw__make(runtime, record);
    } else {
        dw__load(runtime, record);
    }
}

void dw__come(dw_runtime *runtime, dw__record *record)
{
    bool more = resident(runtime) > runtime->resident_max ||
                runtime->resident_bytes >= runtime->resident_bytes_max;
    if (runtime->keeper != NULL && (more || runtime->queued_count > 0) && !runtime->closing) {
        enqueue(runtime, record);
    } else {
        begin(runtime, record);
    }
}

void dw__come_no_more(dw_runtime *runtime, dw__record *record)
{
    if (record->queued) {
        dequeue(runtime, record);
        if (record->made != NULL) { /* who asked for it is told by that */
            dw__make(runtime, record);
        }
    }
}

/* The next of the tenant whose turn it is. */
static void admit(dw_runtime *runtime)
{
    dw__tenant *tenant = runtime->queued_tenants;
    dw__record *record = tenant->queued.first;
    dequeue(runtime, record);
    if (tenant->queued_count > 0 && tenant->next_queued != NULL) { /* behind the others */
        runtime->queued_tenants = tenant->next_queued;
        runtime->last_queued->next_queued = tenant;
        runtime->last_queued = tenant;
        tenant->next_queued = NULL;
    }
    begin(runtime, record);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* Whether one more is to leave. Where none waits for room, those above the bound go until there
 * are some less than that, so that not each that comes sends one out. */
static bool is_crowded(dw_runtime *runtime)
{
    uint64_t staying = resident(runtime) - runtime->leaving_count;
    uint64_t bytes = runtime->resident_bytes - runtime->leaving_bytes;
    uint64_t most = runtime->resident_max;
    uint64_t spare = most / 8;
    runtime->crowded = runtime->crowded || staying > most || bytes >= runtime->resident_bytes_max;
    if (runtime->crowded) {
        runtime->crowded = staying > most - spare ||
                           bytes > runtime->resident_bytes_max - runtime->resident_bytes_max / 8;
    }
    uint64_t wanted = runtime->queued_count < spare ? runtime->queued_count : spare;
    wanted = wanted > 0 || runtime->queued_count == 0 ? wanted : 1;
    return runtime->crowded || staying + wanted > most;
}

void dw__keep_bounds(dw_runtime *runtime)
{
    if (runtime->keeper == NULL || runtime->closing) {
        return;
    }
    while (is_crowded(runtime)) {
        dw__record *record = choose(runtime);
        if (record == NULL) {
            break;
        }
        dw__park(runtime, record);
    }
    while (runtime->queued_count > 0 && (has_room(runtime) || is_stuck(runtime))) {
        admit(runtime);
    }
}

void dw__note_memory(dw_runtime *runtime, dw__record *record, uint64_t bytes)
{
    runtime->resident_bytes += bytes;
    runtime->resident_bytes -= record->memory_bytes;
    record->memory_bytes = bytes;
}

/* ---- memory that is short -------------------------------------------------------------------- */

size_t dw__make_room(dw_runtime *runtime)
{
    size_t count = 0;
    dw__record *record = NULL;
    while (runtime->keeper != NULL && !runtime->closing && count < AT_ONCE &&
           (record = choose(runtime)) != NULL) {
        dw__park(runtime, record);
        count++;
    }
    return count;
}

bool dw__relieve(dw_runtime *runtime)
{
    uint64_t until_ns = dw_os_clock_ns() + RELIEF_NS;
    dw__enter(runtime);
    uint64_t before = runtime->sums.parks;
    (void)dw__make_room(runtime);
    dw__leave(runtime, false);
    dw__enter(runtime);
    while (runtime->sums.parks == before && runtime->leaving_count > 0 &&
           dw_os_cond_wait_until(&runtime->changed, &runtime->lock, until_ns)) {}
    bool any = runtime->sums.parks != before;
    dw__leave(runtime, false);
    return any;
}

/* ---- from outside ---------------------------------------------------------------------------- */

static void park_work(dw__operation *operation)
{
    (void)operation;
}

static void park_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw_error *error = &operation->error;
    if (record->pinned) {
        error->code = dw_fail(error, DW_E_STATE, "park: the actor is pinned");
    } else if (has_come(record) || record->stopping || runtime->closing) {
        error->code = dw_fail(error, DW_E_BUSY, "park: the actor has work");
    }
    if (error->code != DW_OK) {
        dw__operation_end(runtime, operation);
        dw__rest(runtime, record);
        return;
    }
    record->park_call = operation;
    dw__set_state(runtime, record, DW__RESTING);
    dw__park(runtime, record);
}

/* `*operation`: of one in memory, or NULL. */
static dw_status begin_park(dw_runtime *runtime, const char *id, dw__operation **operation,
                            dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    dw_status status = dw__look(runtime, id, &record, &row, err);
    if (status != DW_OK) {
        return status;
    }
    if (record != NULL) {
        status = dw__operation_create(runtime, record, operation, err);
        if (status == DW_OK) {
            (*operation)->work = park_work;
            (*operation)->finish = park_finish;
        }
        return status;
    }
    *operation = dw_alloc(1, sizeof **operation); /* it has left, which is told */
    if (*operation == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a call");
    }
    (*operation)->notice.kind = DW__TELL_OPERATION;
    (void)dw__id_parse(row.id, &(*operation)->about);
    return DW_OK;
}

dw_status dw_runtime_begin_park(dw_runtime *runtime, const char *id, dw_runtime_end_fn on_end,
                                void *user, dw_error *err)
{
    dw__operation *operation = NULL;
    dw_status status = dw__enter_to_change(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = runtime->keeper != NULL
                 ? begin_park(runtime, id, &operation, err)
                 : dw_fail(err, DW_E_STATE, "park: the runtime has no path to keep actors in");
    if (status == DW_OK) {
        operation->on_end = on_end;
        operation->user = user;
        if (operation->record != NULL) {
            dw__operation_add(runtime, operation, false);
        } else {
            dw__operation_end(runtime, operation);
        }
    }
    dw__leave(runtime, false);
    return status;
}

/* What is to change; NULL: it stays. */
typedef struct change {
    const dw_priority *priority;
    const bool *pinned;
} change;

static void apply(dw_runtime *runtime, dw__record *record, uint8_t queue, bool pinned)
{
    bool ready = record->state == DW__READY;
    if (ready) {
        dw__set_state(runtime, record, DW__RESTING);
    }
    record->pinned = true; /* out of the lists, into those of its priority */
    dw__note_rest(runtime, record);
    record->priority = queue;
    record->pinned = pinned;
    dw__note_rest(runtime, record);
    if (ready) {
        dw__rouse(runtime, record);
    }
}

/* In the folder, without the lock. */
static dw_status write_traits(dw_runtime *runtime, const dw_actor_row *row,
                              const dw_actor_traits *traits, dw_error *err)
{
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status = runtime->keeper->set_traits(runtime->keeper->user, row->id, traits, err);
    dw__lock_again(runtime, scope);
    return status;
}

static dw_status change_one(dw_runtime *runtime, const char *id, const change *wanted,
                            dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    uint64_t number = 0;
    dw_status status = dw__look(runtime, id, &record, &row, err);
    if (status == DW_OK && runtime->keeper != NULL) {
        status = dw__check_made(record, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_actor_traits traits = row.traits;
    traits.priority = wanted->priority != NULL ? (int32_t)*wanted->priority : traits.priority;
    traits.pinned = wanted->pinned != NULL ? *wanted->pinned : traits.pinned;
    status = runtime->keeper != NULL ? write_traits(runtime, &row, &traits, err) : DW_OK;
    (void)dw__id_parse(row.id, &number);
    record = dw__find(runtime, number); /* it may have come, or gone, meanwhile */
    if (status == DW_OK && record != NULL) {
        apply(runtime, record, dw__queue_of((dw_priority)traits.priority), traits.pinned);
    }
    return status;
}

static dw_status change_traits(dw_runtime *runtime, const char *id, const change *wanted,
                               dw_error *err)
{
    /* One at a time: each writes all of an actor's. */
    (void)pthread_mutex_lock(&runtime->traits_lock);
    dw_status status = dw__enter_to_change(runtime, err);
    if (status == DW_OK) {
        status = change_one(runtime, id, wanted, err);
        dw__leave(runtime, false);
    }
    (void)pthread_mutex_unlock(&runtime->traits_lock);
    return status;
}

dw_status dw_runtime_set_priority(dw_runtime *runtime, const char *id, dw_priority priority,
                                  dw_error *err)
{
    if ((unsigned)priority > DW_PRIORITY_LOW) {
        return dw_fail(err, DW_E_ARG, "priority %d: there are %d", (int)priority,
                       (int)DW_PRIORITY_LOW + 1);
    }
    return change_traits(runtime, id, &(change){.priority = &priority}, err);
}

dw_status dw_runtime_set_pinned(dw_runtime *runtime, const char *id, bool pinned, dw_error *err)
{
    return change_traits(runtime, id, &(change){.pinned = &pinned}, err);
}
