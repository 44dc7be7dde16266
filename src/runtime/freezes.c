/* Freezes of actors in a folder: each is a file there, which a rewind reads. */
#include <inttypes.h>

#include "runtime/runtime_internal.h"

/* The body's state, as the turn says, into the folder; on a worker. */
static dw_status write_state(dw_runtime *runtime, dw__record *record, void *body, dw_error *err)
{
    const dw__keeper *keeper = runtime->keeper;
    dw__turn *turn = record->turn;
    dw__turn_take_done(record);
    dw__enter(runtime);
    dw__turn_count(runtime, record, record->failures);
    dw__leave(runtime, false);
    dw_status status = keeper->try(keeper->user, turn->folder.id, NULL, err);
    if (status == DW_OK) {
        turn->wrote = true;
        status = keeper->freeze(keeper->user, turn, body, err);
    }
    if (status == DW_OK) {
        status = keeper->commit_waiting(keeper->user, turn, err);
    }
    if (status == DW_OK) {
        keeper->committed(keeper->user, turn);
    } else if (turn->wrote) {
        keeper->take_back(keeper->user, &turn->folder);
    }
    return status;
}

void dw__freeze_kept_work(dw__operation *operation)
{
    dw__record *record = operation->record;
    dw__turn_reset(operation->runtime, record);
    record->turn->whole = record->turn->keeps = true;
    operation->error.code =
        write_state(operation->runtime, record, record->body, &operation->error);
}

void dw__freeze_kept_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    bool undone = operation->error.code != DW_OK && record->turn->wrote;
    if (operation->error.code == DW_OK) {
        dw__turn_written(runtime, record);
        operation->number = record->kept.sequence;
        operation->written = record->turn->written.last;
        record->freeze_number = operation->number;
        dw__happened(runtime, record,
                     &(dw__happening){.kind = DW_EVENT_FROZEN, .number = operation->number});
    }
    dw__operation_end(runtime, operation);
    if (undone && !record->stopping) { /* the next is no delta upon a file that is gone */
        dw__stay(runtime, record);
    } else if (undone) {
        dw__go_back(runtime, record, false);
    } else {
        dw__rest(runtime, record);
    }
}

/* ---- going back ------------------------------------------------------------------------------ */

/* The body at freeze `number`; 0: the last that is kept, or what it was at first. */
static dw_status read_freeze(dw__operation *operation, const char *id, dw_error *err)
{
    const dw__platform *platform = &operation->runtime->platform;
    const dw__keeper *keeper = operation->runtime->keeper;
    dw__record *record = operation->record;
    uint64_t numbers[DW_FOLDER_KEPT_MAX];
    size_t count = 0;
    size_t at = 0;
    dw__thawed thawed = {.given = NULL};
    dw_status status = keeper->list_kept(keeper->user, id, numbers, &count, err);
    if (status != DW_OK) {
        return status;
    }
    while (at < count && numbers[at] != operation->number) {
        at++;
    }
    at = operation->number == 0 && count > 0 ? count - 1 : at;
    if (at == count && operation->number != 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "freeze %" PRIu64 " is not kept", operation->number);
    }
    if (at == count) {
        return platform->spawn(platform->user, &operation->body, record->seed, record, record->id,
                               err);
    }
    status = keeper->thaw(keeper->user, record, id, numbers[at], &thawed, err);
    if (status == DW_OK) {
        operation->number = numbers[at];
        operation->seed = thawed.seed;
        status = platform->adopt(platform->user, &operation->body, thawed.given, record, record->id,
                                 err);
    }
    if (status == DW_OK && platform->renews != NULL) {
        platform->renews(platform->user, operation->body);
    }
    return status;
}

void dw__rewind_kept_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    dw__turn *turn = record->turn;
    dw_error *err = &operation->error;
    dw__turn_reset(operation->runtime, record);
    turn->whole = true;
    dw_status status = read_freeze(operation, turn->folder.id, err);
    if (status == DW_OK) {
        platform->replaces(platform->user, operation->body, record->body);
        status = write_state(operation->runtime, record, operation->body, err);
    }
    if (status == DW_OK) {
        platform->destroy(platform->user, record->body);
    } else {
        platform->destroy(platform->user, operation->body);
        operation->body = NULL;
    }
    err->code = status;
}

void dw__rewind_kept_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    const dw__platform *platform = &runtime->platform;
    dw__record *record = operation->record;
    if (operation->seed != NULL) { /* of the same module and grants as the one that it has */
        platform->seed_unref(platform->user, operation->seed);
        operation->seed = NULL;
    }
    if (operation->error.code == DW_OK) {
        record->body = operation->body;
        operation->body = NULL;
        dw__turn_written(runtime, record);
        record->timer_due = false;
        record->own_attempts = 0;
        record->inside = platform->waiting(platform->user, record->body);
        record->timer_ms = platform->timer_ms(platform->user, record->body);
        dw__measure(runtime, record);
        dw__happened(runtime, record,
                     &(dw__happening){.kind = DW_EVENT_REWOUND, .number = operation->number});
    }
    dw__operation_end(runtime, operation);
    dw__rest(runtime, record);
}

/* ---- another module -------------------------------------------------------------------------- */

void dw__upgrade_kept_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    dw__turn *turn = record->turn;
    if (!dw__upgrade_make(operation)) {
        return;
    }
    dw__turn_reset(operation->runtime, record);
    turn->whole = turn->keeps = turn->upgrades = true;
    platform->replaces(platform->user, operation->body, record->body);
    operation->error.code =
        write_state(operation->runtime, record, operation->body, &operation->error);
    if (operation->error.code == DW_OK) {
        platform->destroy(platform->user, record->body);
    } else {
        dw__upgrade_undo(operation);
    }
}

void dw__upgrade_kept_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    if (operation->error.code == DW_OK) {
        dw__turn_written(runtime, record);
        operation->number = record->kept.sequence;
        record->freeze_number = operation->number;
        dw__upgrade_take(operation);
    }
    dw__operation_end(runtime, operation);
    dw__rest(runtime, record);
}
