/* The ends of actors, and of the runtime, whose actors in a folder stay there. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "runtime/runtime_internal.h"

#define LISTED 1024u /* actors at a time */

static const dw_watch_event was_stopped = {.kind = DW_WATCH_ENDED, .why = DW_WATCH_STOPPED};

/* ---- one record ------------------------------------------------------------------------------ */

static void bury_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    const dw__keeper *keeper = operation->runtime->keeper;
    dw__record *record = operation->record;
    if (record->removes && !record->ends_in_folder) {
        dw_actor_name name;
        dw__id_text(name.id, record->id);
        dw__ending_begin(operation->runtime, &record->turn->ending, was_stopped);
        operation->error.code =
            keeper->remove(keeper->user, &name, 1, &record->turn->ending, &operation->error);
    }
    platform->destroy(platform->user, record->body);
    record->body = NULL;
    if (keeper != NULL && keeper->forget_logs != NULL) { /* it may have left memory meanwhile */
        char id[DW_ACTOR_ID_CHARS + 1];
        dw__id_text(id, record->id);
        keeper->forget_logs(keeper->user, id);
    }
    for (size_t i = 0; i < record->freeze_count; i++) {
        platform->destroy(platform->user, record->freezes[i].body);
    }
    record->freeze_count = 0;
    if (record->seed != NULL) {
        platform->seed_unref(platform->user, record->seed);
    }
    record->seed = NULL;
}

static void bury_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    if (operation->error.code != DW_OK) { /* it is there when the folder is opened next */
        dw__problem(runtime, operation->record->id, &operation->error);
    }
    if (operation->record->turn != NULL) {
        dw__notices_arrive(runtime, &operation->record->turn->ending.notices);
    }
    dw__record_free(runtime, operation->record);
    if (runtime->record_count == 0) {
        (void)pthread_cond_broadcast(&runtime->changed);
    }
}

void dw__bury(dw_runtime *runtime, dw__record *record)
{
    DW_ASSERT(!record->listed && record->mail.count == 0 && record->operations == NULL);
    DW_ASSERT(record->later.count == 0);
    dw__set_state(runtime, record, DW__LEAVING);
    dw__begin_own(runtime, record, bury_work, bury_finish);
    record->own->name = "destroy";
}

void dw__part(dw_runtime *runtime, dw__record *record, const dw_error *error, bool ends)
{
    DW_ASSERT(record->listed && !record->stopping);
    record->stopping = true;
    dw__come_no_more(runtime, record);
    dw__park_no_more(runtime, record, error);
    if (record->state == DW__WORKING && record->body != NULL) {
        runtime->platform.cancel(runtime->platform.user, record->body, true);
        if (record->current != NULL) {
            record->current->row = 0; /* gone, or it goes on waiting */
            dw__mail_detach(runtime, record, error);
        }
    }
    dw__mail_end_all(runtime, record, error);
    dw__end_operations(runtime, record, error);
    dw__unlist(runtime, record, ends);
}

static bool is_idle(const dw__record *record)
{
    return record->state == DW__RESTING || record->state == DW__READY || record->state == DW__DOWN;
}

void dw__stop(dw_runtime *runtime, dw__record *record)
{
    dw_error error;
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__id_text(id, record->id);
    (void)dw_fail(&error, DW_E_CANCELLED, "actor %s was stopped", id);
    record->removes = record->in_folder && !record->ends_in_folder;
    const dw_watch_event finished = {.kind = DW_WATCH_ENDED, .why = DW_WATCH_FINISHED};
    dw__watch_end(runtime, record, record->ends ? &finished : &was_stopped);
    dw__part(runtime, record, &error, true);
    if (is_idle(record)) {
        dw__bury(runtime, record);
    }
}

/* The runtime closes, and the actor stays in its folder. */
static void retire(dw_runtime *runtime, dw__record *record)
{
    dw_error error;
    (void)dw_fail(&error, DW_E_STATE,
                  "the runtime is being closed: the message waits in the state folder");
    dw__part(runtime, record, &error, false);
    if (is_idle(record)) {
        dw__set_state(runtime, record, DW__BUSY);
        dw__rest(runtime, record);
    }
}

/* ---- in memory alone ------------------------------------------------------------------------- */

/* The last of its descendants, which has none. */
static dw__record *deepest(dw__record *record)
{
    while (record->first_child != NULL) {
        record = record->first_child;
    }
    return record;
}

static uint64_t stop_tree(dw_runtime *runtime, dw__record *head)
{
    uint64_t stopped = 0;
    for (bool more = true; more; stopped++) {
        dw__record *record = deepest(head);
        more = record != head;
        dw__stop(runtime, record);
    }
    return stopped;
}

/* With the lock. */
static uint64_t stop_all(dw_runtime *runtime)
{
    uint64_t stopped = 0;
    for (dw__record *record = runtime->all; record != NULL; record = record->after) {
        if (!record->stopping) {
            dw__stop(runtime, record);
            stopped++;
        }
    }
    return stopped;
}

/* ---- in a folder ----------------------------------------------------------------------------- */

/* The rows are gone: so are those that are in memory. */
static void take_leave(dw_runtime *runtime, const dw_actor_row *rows, size_t count)
{
    runtime->removals++;
    for (size_t i = 0; i < count; i++) {
        uint64_t id = 0;
        (void)dw__id_parse(rows[i].id, &id);
        dw__record *record = dw__find_any(runtime, id);
        if (record == NULL) {
            dw__forget_dormant(runtime, &rows[i]);
            continue;
        }
        /* One that is being made may get its row yet. */
        record->ends_in_folder = record->state != DW__MAKING;
        if (!record->stopping) {
            dw__stop(runtime, record);
        }
    }
}

/* Of those that are in no memory any more; who is, does so when its body has gone. Gives the lock
 * back meanwhile. */
static void forget_logs(dw_runtime *runtime, const dw_actor_row *rows, size_t count)
{
    const dw__keeper *keeper = runtime->keeper;
    dw__lock_scope scope = dw__unlock(runtime);
    for (size_t i = 0; i < count && keeper->forget_logs != NULL; i++) {
        keeper->forget_logs(keeper->user, rows[i].id);
    }
    dw__lock_again(runtime, scope);
}

/* Actors [count], of which those that are not there are left out: on the disk in one transaction,
 * then in memory. Gives the lock back meanwhile. */
static dw_status remove_some(dw_runtime *runtime, const dw_actor_name *names, size_t count,
                             uint64_t *stopped, dw_error *err)
{
    dw_ending ending = {.event = was_stopped};
    const dw__keeper *keeper = runtime->keeper;
    dw_actor_row *rows = dw_alloc(count, sizeof *rows);
    size_t found = 0;
    dw_status status =
        rows != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        dw__record *record = NULL;
        status = dw__look(runtime, names[i].id, &record, &rows[found], err);
        found += status == DW_OK;
        status = status == DW_E_NOT_FOUND ? DW_OK : status;
    }
    if (status == DW_OK && found > 0) {
        dw__ending_begin(runtime, &ending, was_stopped);
        dw__lock_scope scope = dw__unlock(runtime);
        status = keeper->remove(keeper->user, names, count, &ending, err);
        dw__lock_again(runtime, scope);
    }
    if (status == DW_OK) {
        take_leave(runtime, rows, found);
        forget_logs(runtime, rows, found);
        *stopped += found;
    }
    dw__notices_arrive(runtime, &ending.notices);
    dw_free(rows);
    return status;
}

static dw_status remove_tree(dw_runtime *runtime, const char *id, uint64_t *stopped, dw_error *err)
{
    dw_actor_name *names = NULL;
    size_t count = 0;
    uint64_t number = 0;
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status = runtime->keeper->list_tree(runtime->keeper->user, id, &names, &count, err);
    dw__lock_again(runtime, scope);
    if (status == DW_OK && count > 0) {
        status = remove_some(runtime, names, count, stopped, err);
    }
    dw_free(names);
    (void)dw__id_parse(id, &number);
    dw__record *head = dw__find(runtime, number);
    if (status == DW_OK && head != NULL) { /* those that were made meanwhile, or are being made */
        *stopped += stop_tree(runtime, head);
    }
    return status;
}

/* All in the folder, the caller's to dw_free. Gives the lock back meanwhile. */
static dw_status list_all(dw_runtime *runtime, dw_actor_name **names, size_t *count, dw_error *err)
{
    const dw__keeper *keeper = runtime->keeper;
    char from[DW_ACTOR_ID_CHARS + 1] = "0000000000000000";
    size_t capacity = 0;
    size_t got = LISTED;
    uint64_t last = 0;
    dw_status status = DW_OK;
    dw__lock_scope scope = dw__unlock(runtime);
    while (status == DW_OK && got == LISTED && last != UINT64_MAX) {
        if (!DW_ARRAY_RESERVE(*names, capacity, *count + LISTED, SIZE_MAX)) {
            status = dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
            break;
        }
        status = keeper->list(keeper->user, from, *names + *count, LISTED, &got, err);
        *count += status == DW_OK ? got : 0;
        if (status == DW_OK && got == LISTED) {
            (void)dw__id_parse((*names)[*count - 1].id, &last);
            dw__id_text(from, last + 1);
        }
    }
    dw__lock_again(runtime, scope);
    return status;
}

static dw_status remove_all(dw_runtime *runtime, uint64_t *stopped, dw_error *err)
{
    dw_actor_name *names = NULL;
    size_t count = 0;
    dw_status status = list_all(runtime, &names, &count, err);
    if (status == DW_OK && count > 0) {
        status = remove_some(runtime, names, count, stopped, err);
    }
    dw_free(names);
    if (status == DW_OK) { /* those that were made meanwhile, or are being made */
        *stopped += stop_all(runtime);
    }
    return status;
}

/* ---- from outside ---------------------------------------------------------------------------- */

dw_status dw_runtime_stop(dw_runtime *runtime, const char *id, dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    uint64_t stopped = 0;
    dw_status status = dw__enter_to_change(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__look(runtime, id, &record, &row, err);
    if (status == DW_OK && runtime->keeper != NULL) {
        dw_actor_name name;
        memcpy(name.id, row.id, sizeof name.id);
        status = remove_some(runtime, &name, 1, &stopped, err);
        if (status == DW_OK && stopped == 0) {
            status = dw_fail(err, DW_E_NOT_FOUND, "no actor '%s'", row.id);
        }
    } else if (status == DW_OK) {
        dw__stop(runtime, record);
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_stop_tree(dw_runtime *runtime, const char *id, uint64_t *count, dw_error *err)
{
    dw__record *head = NULL;
    dw_actor_row row;
    uint64_t stopped = 0;
    dw_status status = dw__enter_to_change(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__look(runtime, id, &head, &row, err);
    if (status == DW_OK && runtime->keeper != NULL) {
        status = remove_tree(runtime, row.id, &stopped, err);
    } else if (status == DW_OK) {
        stopped = stop_tree(runtime, head);
    }
    if (count != NULL) {
        *count = stopped;
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_stop_all(dw_runtime *runtime, uint64_t *count, dw_error *err)
{
    uint64_t stopped = 0;
    dw_status status = dw__enter_to_change(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (runtime->keeper != NULL) {
        status = remove_all(runtime, &stopped, err);
    } else {
        stopped = stop_all(runtime);
    }
    if (count != NULL) {
        *count = stopped;
    }
    dw__leave(runtime, false);
    return status;
}

void dw__runtime_begin_close(dw_runtime *runtime)
{
    dw__enter(runtime);
    runtime->closing = true;
    if (runtime->keeper == NULL) {
        (void)stop_all(runtime);
    }
    for (dw__record *record = runtime->all; record != NULL; record = record->after) {
        if (!record->stopping) {
            retire(runtime, record);
        }
    }
    dw__later_close(runtime);
    dw__leave(runtime, false);
}
