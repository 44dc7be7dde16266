/* Whose turn it is: states of records, the lock, and what is done when it is given back. */
#include <stddef.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/callback.h"
#include "runtime/runtime_internal.h"
#include "runtime/shares.h"

/* A turn costs its tenant STRIDE / weight; in a tenant a queue STRIDE / its share. */
#define STRIDE UINT64_C(1000000)
/* What could not begin for lack of memory is tried again so much later. */
#define AGAIN_NS UINT64_C(100000000)

static const uint32_t shares[DW__PRIORITIES] = {16, 4, 1};

/* Who paid for allocations when this thread took the lock. */
static __thread dw_account_scope entered;

uint8_t dw__queue_of(dw_priority priority)
{
    return priority == DW_PRIORITY_HIGH ? 0 : priority == DW_PRIORITY_NORMAL ? 1 : 2;
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void put_ready(dw_runtime *runtime, dw__record *record)
{
    dw__tenant *tenant = record->tenant;
    dw__ready_queue *queue = &tenant->ready[record->priority];
    if (tenant->ready_count == 0) { /* who had nothing to do has saved nothing up */
        tenant->pass = tenant->pass > runtime->pass ? tenant->pass : runtime->pass;
        tenant->next_active = runtime->active;
        runtime->active = tenant;
    }
    if (queue->first == NULL) {
        queue->pass = queue->pass > tenant->queue_pass ? queue->pass : tenant->queue_pass;
        queue->first = record;
    } else {
        queue->last->next_ready = record;
    }
    record->next_ready = NULL;
    queue->last = record;
    tenant->ready_count++;
    runtime->may_begin = true;
}

static dw__ready_queue *next_queue(dw__tenant *tenant)
{
    dw__ready_queue *best = NULL;
    for (int i = 0; i < DW__PRIORITIES; i++) {
        dw__ready_queue *queue = &tenant->ready[i];
        if (queue->first != NULL && (best == NULL || queue->pass < best->pass)) {
            best = queue;
        }
    }
    DW_ASSERT(best != NULL);
    return best;
}

/* Whether one more of the tenant's actors may work: while there is room, and where others have it
 * all, up to its share of it. So who keeps its actors at work for long takes nobody's turns. */
static bool may_work(const dw_runtime *runtime, const dw__tenant *tenant)
{
    if (runtime->working_count < runtime->working_max) {
        return true;
    }
    const bool for_each = runtime->working_max >= runtime->peopled_count;
    return (for_each && tenant->working == 0) ||
           dw__within_share(runtime, tenant, tenant->working + 1, runtime->working_max);
}

/* The next whose turn it is; NULL: nobody may begin. Looked for whenever the lock is given back, so
 * not once more where nothing has changed. */
static dw__record *take_ready(dw_runtime *runtime)
{
    dw__tenant **link = NULL;
    if (!runtime->may_begin) {
        return NULL;
    }
    for (dw__tenant **at = &runtime->active; *at != NULL; at = &(*at)->next_active) {
        if ((link == NULL || (*at)->pass < (*link)->pass) && may_work(runtime, *at)) {
            link = at;
        }
    }
    if (link == NULL) {
        runtime->may_begin = false;
        return NULL;
    }
    dw__tenant *tenant = *link;
    dw__ready_queue *queue = next_queue(tenant);
    dw__record *record = queue->first;
    queue->first = record->next_ready;
    tenant->queue_pass = queue->pass;
    queue->pass += STRIDE / shares[queue - tenant->ready];
    runtime->pass = tenant->pass;
    tenant->pass += STRIDE / tenant->weight;
    if (--tenant->ready_count == 0) {
        *link = tenant->next_active;
    }
    record->next_ready = NULL;
    return record;
}

/* The record is READY, and will not have its turn. */
static void leave_queue(dw_runtime *runtime, dw__record *record)
{
    dw__tenant *tenant = record->tenant;
    dw__ready_queue *queue = &tenant->ready[record->priority];
    dw__record *before = NULL;
    for (dw__record *at = queue->first; at != record; at = at->next_ready) {
        before = at;
    }
    if (before == NULL) {
        queue->first = record->next_ready;
    } else {
        before->next_ready = record->next_ready;
    }
    queue->last = queue->last == record ? before : queue->last;
    record->next_ready = NULL;
    if (--tenant->ready_count == 0) {
        dw__tenant **link = &runtime->active;
        while (*link != tenant) {
            link = &(*link)->next_active;
        }
        *link = tenant->next_active;
    }
}

void dw__set_state(dw_runtime *runtime, dw__record *record, dw__record_state state)
{
    if (record->state == state) {
        return;
    }
    if (record->state == DW__READY && state != DW__WORKING) {
        leave_queue(runtime, record);
    }
    if (record->state == DW__WORKING) {
        runtime->working_count--;
        record->tenant->working--;
        runtime->may_begin = true;
    }
    runtime->busy_count += record->state == DW__RESTING;
    runtime->busy_count -= state == DW__RESTING;
    if (state == DW__READY) {
        put_ready(runtime, record);
    } else if (state == DW__WORKING) {
        runtime->working_count++;
        record->tenant->working++;
    }
    record->state = state;
    dw__note_rest(runtime, record);
}

/* ---- what comes next ------------------------------------------------------------------------- */

void dw__ring_timer(dw_runtime *runtime, dw__alarm *alarm)
{
    dw__record *record = (dw__record *)(void *)((char *)alarm - offsetof(dw__record, alarm));
    if (record->state == DW__DOWN && record->waits) {
        record->waits = false;
        dw__rest(runtime, record);
        return;
    }
    if (record->state == DW__DOWN) {
        dw__restart(runtime, record);
        return;
    }
    record->timer_due = true;
    dw__rouse(runtime, record);
}

static void set_timer(dw_runtime *runtime, dw__record *record)
{
    record->alarm.ring = dw__ring_timer;
    if (record->timer_ms == 0 || record->timer_due ||
        (runtime->options.works_on_request && runtime->later_count == 0)) {
        dw__alarm_clear(runtime, &record->alarm);
        return;
    }
    uint64_t now_ms = runtime->platform.wall_ms(runtime->platform.user);
    uint64_t wait_ms = record->timer_ms > now_ms ? record->timer_ms - now_ms : 0;
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    dw__alarm_set(runtime, &record->alarm, now_ns + wait_ms * 1000000);
}

static bool has_work(const dw_runtime *runtime, const dw__record *record)
{
    return (record->inside > 0 || record->timer_due || record->mail.count > 0) &&
           dw__may_begin(runtime, record);
}

void dw__rest(dw_runtime *runtime, dw__record *record)
{
    DW_ASSERT(record->state != DW__RESTING && record->state != DW__LEAVING);
    if (record->renews) {
        dw__renew(runtime, record);
    }
    if (dw__wants_write(runtime, record)) {
        dw__set_state(runtime, record, DW__BUSY);
        dw__write(runtime, record);
        return;
    }
    if (record->stopping) {
        dw__bury(runtime, record);
        return;
    }
    if (dw__park_on(runtime, record)) {
        return;
    }
    if (record->operations != NULL) {
        dw__operation *operation = record->operations;
        record->operations = operation->next;
        record->operation_count--;
        dw__set_state(runtime, record, DW__BUSY);
        dw__submit(runtime, operation);
        return;
    }
    if (record->ends) {
        dw__set_state(runtime, record, DW__RESTING);
        dw__stop(runtime, record);
        return;
    }
    set_timer(runtime, record);
    if (record->state == DW__WORKING) { /* behind all others that are ready */
        dw__set_state(runtime, record, DW__RESTING);
    }
    dw__set_state(runtime, record, has_work(runtime, record) ? DW__READY : DW__RESTING);
}

void dw__rouse(dw_runtime *runtime, dw__record *record)
{
    if (record->state == DW__RESTING && record->operations != NULL) {
        dw__set_state(runtime, record, DW__BUSY);
        dw__rest(runtime, record);
    } else if (record->state == DW__RESTING && dw__wants_write(runtime, record)) {
        dw__set_state(runtime, record, DW__BUSY);
        dw__write(runtime, record);
    } else if (record->state == DW__RESTING && has_work(runtime, record)) {
        dw__set_state(runtime, record, DW__READY);
    }
}

void dw__rouse_all(dw_runtime *runtime)
{
    for (dw__record *record = runtime->all; record != NULL; record = record->after) {
        if (record->state == DW__RESTING && record->listed && !record->stopping) {
            set_timer(runtime, record);
            dw__rouse(runtime, record);
        }
    }
}

void dw__submit(dw_runtime *runtime, dw__operation *operation)
{
    operation->next = NULL;
    operation->pending = true;
    operation->tenant =
        operation->record != NULL ? operation->record->tenant : dw__find_tenant(runtime, "");
    operation->weight = operation->tenant->weight;
    if (runtime->submits == NULL) {
        runtime->submits = operation;
    } else {
        runtime->last_submit->next = operation;
    }
    runtime->last_submit = operation;
}

void dw__tell(dw_runtime *runtime, dw__notice *notice)
{
    notice->next = NULL;
    if (runtime->notices == NULL) {
        runtime->notices = notice;
    } else {
        runtime->last_notice->next = notice;
    }
    runtime->last_notice = notice;
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* What the record works on; the lock is held. false: there is nothing. */
static bool choose(dw_runtime *runtime, dw__record *record)
{
    record->current = NULL;
    record->due_ns = 0;
    record->work_weight = record->tenant->weight;
    if (record->inside == 0) {
        record->current = dw__mailbox_take(&record->mail);
        if (record->current == NULL) {
            return false;
        }
        record->current->working = true;
        record->begun_row = record->current->row;
        record->due_ns = record->current->timeout_ms != 0 ? record->current->alarm.due_ns : 0;
        record->current->begun = true;
        runtime->counts.waiting--;
    }
    record->began_ns = runtime->platform.clock_ns(runtime->platform.user);
    dw__happening began = {.kind = DW_EVENT_BEGAN};
    record->context = (dw_trace_context){.trace_id = ""};
    if (record->current != NULL) {
        began.number = record->current->number;
        began.other = record->current->from;
        began.context = &record->current->context;
        record->context = record->current->context;
        dw__sum(runtime, record,
                &(dw__sums){.queue_ns = record->began_ns - record->current->queued_ns});
    }
    record->began_with = record->sums;
    dw__trace_began(runtime, record);
    dw__happened(runtime, record, &began);
    return true;
}

/* Let those that are ready work, as far as there is room: they go to runtime->starts. */
static void dispatch(dw_runtime *runtime)
{
    dw__record *record = NULL;
    while ((record = take_ready(runtime)) != NULL) {
        dw__set_state(runtime, record, DW__WORKING);
        if (runtime->working_count > runtime->counts.most_working) {
            runtime->counts.most_working = runtime->working_count;
        }
        record->fires = record->timer_due;
        record->timer_due = false;
        record->has_turn = false;
        if (!record->fires && !choose(runtime, record)) {
            dw__set_state(runtime, record, DW__RESTING);
            continue;
        }
        if (runtime->starts == NULL) {
            runtime->starts = record;
        } else {
            runtime->last_start->next_ready = record;
        }
        runtime->last_start = record;
    }
}

/* It could not begin, which is no fault of its own where memory is short. */
static void not_begun(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    if (runtime->keeper != NULL) {
        dw__settle_refused(runtime, record, error);
        return;
    }
    dw__mail *mail = record->current;
    record->current = NULL;
    if (mail != NULL) {
        dw__mail_failed(runtime, record, mail, error);
    } else if (!record->stopping) {
        dw__problem(runtime, record->id, error);
        uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
        record->alarm.ring = dw__ring_timer;
        dw__alarm_set(runtime, &record->alarm, now_ns + AGAIN_NS);
        dw__set_state(runtime, record, DW__RESTING);
        return;
    }
    dw__rest(runtime, record);
}

/* Its timers' messages are inside of it now. false: it has nothing to do after all. */
static bool fire_timers(dw_runtime *runtime, dw__record *record)
{
    const dw__platform *platform = &runtime->platform;
    uint64_t now_ms = record->tried_ms != 0 ? record->tried_ms : platform->wall_ms(platform->user);
    platform->fire_timers(platform->user, record->body, now_ms);
    size_t inside = platform->waiting(platform->user, record->body);
    uint64_t timer_ms = platform->timer_ms(platform->user, record->body);
    (void)pthread_mutex_lock(&runtime->lock);
    record->inside = inside;
    record->timer_ms = timer_ms;
    bool any = !record->stopping && choose(runtime, record);
    record->tried_ms = any && record->current == NULL && runtime->keeper != NULL ? now_ms : 0;
    if (!any) {
        dw__rest(runtime, record);
    }
    (void)pthread_mutex_unlock(&runtime->lock);
    return any;
}

/* Without the lock, as the record's body is ours until `receive` has it. */
static void start(dw_runtime *runtime, dw__record *record)
{
    const dw__platform *platform = &runtime->platform;
    dw_error error = {.message = ""};
    dw__delivery delivery = {.bytes = 0};
    if (record->fires && !fire_timers(runtime, record)) {
        return;
    }
    const dw__mail *mail = record->current;
    dw_status status = DW_OK;
    if (runtime->keeper != NULL) {
        status = dw__turn_try(runtime, record, &error);
        bool spent = dw__is_spent(runtime, record);
        if (status == DW_OK && (spent || dw__gives_up(runtime, record))) {
            (void)pthread_mutex_lock(&runtime->lock);
            (spent ? dw__give_up_message : dw__give_up_inside)(runtime, record);
            (void)pthread_mutex_unlock(&runtime->lock);
            return;
        }
    }
    if (mail != NULL) {
        delivery = (dw__delivery){.from = mail->from,
                                  .content = mail->content,
                                  .bytes = mail->bytes,
                                  .cause = mail->cause,
                                  .caused = mail->caused,
                                  .at_ms = mail->at_ms,
                                  .kind = mail->kind};
    }
    if (status == DW_OK) {
        status = platform->receive(platform->user, record->body, record,
                                   mail != NULL ? &delivery : NULL, &error);
    }
    if (status != DW_OK) {
        error.code = status;
        (void)pthread_mutex_lock(&runtime->lock);
        not_begun(runtime, record, &error);
        (void)pthread_mutex_unlock(&runtime->lock);
    }
}

/* ---- the lock -------------------------------------------------------------------------------- */

void dw__enter(dw_runtime *runtime)
{
    dw_account_scope payer = dw_account_pause();
    (void)pthread_mutex_lock(&runtime->lock);
    entered = payer;
}

dw_status dw__enter_open(dw_runtime *runtime, dw_error *err)
{
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    dw__enter(runtime);
    if (!runtime->closing) {
        return DW_OK;
    }
    dw_account_leave(dw__unlock(runtime));
    return dw_fail(err, DW_E_STATE, "the runtime is being closed");
}

dw_status dw__enter_to_change(dw_runtime *runtime, dw_error *err)
{
    return !runtime->options.read_only
               ? dw__enter_open(runtime, err)
               : dw_fail(err, DW_E_DENIED, "runtime: it was opened for looking only (read_only)");
}

dw__lock_scope dw__unlock(dw_runtime *runtime)
{
    dw__lock_scope scope = entered;
    (void)pthread_mutex_unlock(&runtime->lock);
    return scope;
}

void dw__lock_again(dw_runtime *runtime, dw__lock_scope scope)
{
    (void)pthread_mutex_lock(&runtime->lock);
    entered = scope;
}

/* Without the lock. */
static void tell_end(const dw_error *error, uint64_t about, dw_runtime_end end,
                     dw_runtime_end_fn on_end, void *user)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__id_text(id, about);
    end.struct_bytes = sizeof end;
    end.status = error->code;
    end.error = error;
    end.actor = id;
    if (on_end != NULL) {
        on_end(user, &end);
    }
}

static void tell_operation(const dw__operation *operation)
{
    const dw_runtime_end end = {
        .number = operation->number,
        .written = operation->written.struct_bytes != 0 ? &operation->written : NULL};
    tell_end(&operation->error, operation->about, end, operation->on_end, operation->user);
}

static void tell_mail(dw_runtime *runtime, dw__mail *mail)
{
    tell_end(&mail->error, mail->to, (dw_runtime_end){.number = mail->number}, mail->on_end,
             mail->user);
    (void)pthread_mutex_lock(&runtime->lock);
    if (mail->working) { /* whoever ends that frees it */
        mail->told = true;
    } else {
        dw__mail_free(runtime, mail);
    }
}

/* Call all callbacks that there are to call, unless another thread does. */
static void tell_all(dw_runtime *runtime)
{
    if (runtime->telling) {
        return;
    }
    const dw_runtime *before = dw__callbacks_begin(runtime);
    runtime->telling = true;
    runtime->teller = pthread_self();
    while (runtime->notices != NULL) {
        dw__notice *notice = runtime->notices;
        runtime->notices = notice->next;
        if (notice->kind == DW__TELL_EVENT) {
            runtime->event_count--;
        }
        (void)pthread_mutex_unlock(&runtime->lock);
        if (notice->kind == DW__TELL_MAIL) {
            tell_mail(runtime, (dw__mail *)(void *)notice);
            continue;
        }
        if (notice->kind == DW__TELL_PIECES) {
            dw__later_tell(runtime,
                           (dw__mail *)(void *)((char *)notice - offsetof(dw__mail, piece_notice)));
            continue;
        }
        if (notice->kind == DW__TELL_OPERATION) {
            dw__operation *operation = (dw__operation *)(void *)notice;
            tell_operation(operation);
            dw_free(operation);
        } else {
            dw__event_tell(runtime, (dw__event *)(void *)notice);
        }
        (void)pthread_mutex_lock(&runtime->lock);
    }
    runtime->telling = false;
    dw__callbacks_end(before);
    (void)pthread_cond_broadcast(&runtime->changed);
}

void dw__leave(dw_runtime *runtime, bool tells)
{
    dw_account_scope payer = entered;
    for (;;) {
        dw__keep_bounds(runtime);
        dispatch(runtime);
        dw__record *record = runtime->starts;
        dw__operation *operation = runtime->submits;
        if (record != NULL) {
            runtime->starts = record->next_ready;
            record->next_ready = NULL;
            (void)pthread_mutex_unlock(&runtime->lock);
            start(runtime, record);
        } else if (operation != NULL) {
            runtime->submits = operation->next;
            (void)pthread_mutex_unlock(&runtime->lock);
            runtime->platform.submit(runtime->platform.user, operation);
        } else if (tells && runtime->notices != NULL && !runtime->telling) {
            tell_all(runtime);
            continue;
        } else {
            break;
        }
        (void)pthread_mutex_lock(&runtime->lock);
    }
    if (runtime->notices != NULL && !runtime->telling) {
        runtime->platform.wake(runtime->platform.user, 0);
    }
    if (runtime->busy_count == 0 && runtime->in_flight == 0) {
        (void)pthread_cond_broadcast(&runtime->changed);
    }
    (void)pthread_mutex_unlock(&runtime->lock);
    dw_account_leave(payer);
}
