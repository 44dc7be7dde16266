/* Work with actors' bodies that is done on workers: making, forking, freezing, restarting and
 * destroying them. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/public_struct.h"
#include "runtime/runtime_internal.h"

/* ---- all of them ----------------------------------------------------------------------------- */

static const char *name_of(const dw__operation *operation);

void dw__operation_run(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    uint64_t from_ns = runtime->platform.clock_ns(runtime->platform.user);
    operation->work(operation);
    dw__enter(runtime);
    operation->pending = false;
    if (operation->record != NULL) {
        dw__trace_span(
            runtime, operation->record, name_of(operation), from_ns, "status",
            operation->error.code == DW_OK ? 0 : (uint64_t) - (int64_t)operation->error.code);
    }
    operation->finish(operation);
    dw__leave(runtime, true);
}

dw_status dw__operation_create(dw_runtime *runtime, dw__record *record, dw__operation **out,
                               dw_error *err)
{
    *out = NULL;
    if (record->operation_count >= DW__OPERATIONS_MAX) {
        return dw_fail(err, DW_E_BUSY, "%zu calls wait for the actor, which is the limit",
                       record->operation_count);
    }
    dw__operation *operation = dw_alloc(1, sizeof *operation);
    if (operation == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a call");
    }
    operation->notice.kind = DW__TELL_OPERATION;
    operation->runtime = runtime;
    operation->record = record;
    operation->about = record->id;
    *out = operation;
    return DW_OK;
}

void dw__operation_add(dw_runtime *runtime, dw__operation *operation, bool first)
{
    dw__record *record = operation->record;
    if (first || record->operations == NULL) {
        operation->next = record->operations;
        record->last_operation = record->operations == NULL ? operation : record->last_operation;
        record->operations = operation;
    } else {
        operation->next = NULL;
        record->last_operation->next = operation;
        record->last_operation = operation;
    }
    record->operation_count++;
    if (record->state == DW__READY) { /* calls go before messages */
        dw__set_state(runtime, record, DW__RESTING);
    }
    dw__rouse(runtime, record);
}

void dw__operation_end(dw_runtime *runtime, dw__operation *operation)
{
    if (operation->effect && operation->error.code != DW_OK) {
        dw__problem(runtime, operation->record->id, &operation->error);
    }
    if (operation->module != NULL) {
        runtime->platform.module_unref(runtime->platform.user, operation->module);
        operation->module = NULL;
    }
    if (operation->on_end == NULL) {
        dw_free(operation);
        return;
    }
    dw__tell(runtime, &operation->notice);
}

void dw__begin_own(dw_runtime *runtime, dw__record *record, void (*work)(dw__operation *operation),
                   void (*finish)(dw__operation *operation))
{
    dw__operation *own = record->own;
    DW_ASSERT(!own->pending);
    own->runtime = runtime;
    own->record = record;
    own->work = work;
    own->finish = finish;
    own->about = record->id;
    own->error = (dw_error){.code = DW_OK};
    own->body = NULL;
    own->name = NULL;
    dw__submit(runtime, own);
}

/* It never was. */
static void end_unmade(dw_runtime *runtime, dw__record *record, const dw_error *why)
{
    const dw_watch_event event =
        dw__watch_event_of(DW_WATCH_NOT_MADE, DW_WATCH_FINISHED, why->code, why->message);
    dw__watch_end(runtime, record, &event);
    dw__stop(runtime, record);
}

void dw__end_operations(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    while (record->operations != NULL) {
        dw__operation *operation = record->operations;
        record->operations = operation->next;
        record->operation_count--;
        operation->error = *error;
        operation->effect = false;
        dw__record *child = operation->child;
        if (child != NULL) {
            child->ends_in_folder = runtime->keeper != NULL;
            if (!child->stopping) {
                end_unmade(runtime, child, error);
            }
            dw__bury(runtime, child);
        }
        dw__operation_end(runtime, operation);
    }
}

/* ---- making ---------------------------------------------------------------------------------- */

static void spawn_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    void *seed = platform->seed_ref(platform->user, record->seed);
    dw_status status = DW_OK;
    if (operation->guest[0] != '\0') {
        platform->seed_unref(platform->user, seed);
        status = platform->seed_of_guest(platform->user, &seed, record->seed, operation->guest,
                                         &operation->error);
    }
    const bool imported = operation->given != NULL;
    if (status == DW_OK && imported) {
        operation->seed = seed;
        status = platform->adopt(platform->user, &operation->body, operation->given, record,
                                 record->id, &operation->error);
        operation->given = NULL;
        if (status == DW_OK && operation->runtime->keeper == NULL) { /* for a restart */
            status = platform->fork(platform->user, &operation->freeze, operation->body, record,
                                    record->id, &operation->error);
        }
    } else if (status == DW_OK) {
        operation->seed = seed;
        status = platform->spawn(platform->user, &operation->body, seed, record, record->id,
                                 &operation->error);
    }
    if (status == DW_OK && operation->runtime->keeper != NULL) {
        status = dw__make_files(operation->runtime, record, operation->body, 0, imported,
                                &operation->error);
    }
    operation->error.code = status;
}

static void spawn_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    const dw__platform *platform = &runtime->platform;
    dw__record *record = operation->record;
    record->body = operation->body;
    operation->body = NULL;
    if (operation->freeze != NULL) {
        record->freezes[0].number = ++record->freeze_number;
        record->freezes[0].body = operation->freeze;
        record->freeze_count = 1;
        record->inside = platform->waiting(platform->user, record->body);
        record->timer_ms = platform->timer_ms(platform->user, record->body);
        operation->freeze = NULL;
    }
    if (operation->seed != NULL) {
        platform->seed_unref(platform->user, record->seed);
        record->seed = operation->seed;
        record->limits = platform->seed_limits(platform->user, record->seed);
        operation->seed = NULL;
    }
    if (operation->error.code == DW_OK && runtime->keeper != NULL) {
        dw__enter_folder(runtime, record);
        return;
    }
    record->ends_in_folder = runtime->keeper != NULL;
    if (operation->error.code != DW_OK && !record->stopping) {
        if (operation->effect) {
            dw__problem(runtime, record->made_by.id, &operation->error);
        }
        end_unmade(runtime, record, &operation->error);
    }
    if (record->made != NULL) {
        record->made->error = operation->error;
        dw__operation_end(runtime, record->made);
        record->made = NULL;
    }
    dw__rest(runtime, record);
}

void dw__make(dw_runtime *runtime, dw__record *record)
{
    dw__begin_own(runtime, record, spawn_work, spawn_finish);
}

/* ---- restarting ------------------------------------------------------------------------------ */

/* A body that is what the record's was at `freeze`, but for the random numbers it will draw. */
static dw_status take_back(dw__operation *operation, void *freeze, dw_error *err)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    dw_status status =
        platform->fork(platform->user, &operation->body, freeze, record, record->id, err);
    if (status == DW_OK && platform->renews != NULL) {
        platform->renews(platform->user, operation->body);
    }
    return status;
}

/* Its last freeze, or what it was at first. */
static void restart_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    dw_error *error = &operation->error;
    platform->destroy(platform->user, record->body);
    record->body = NULL;
    error->code = record->freeze_count > 0
                      ? take_back(operation, record->freezes[record->freeze_count - 1].body, error)
                      : platform->spawn(platform->user, &operation->body, record->seed, record,
                                        record->id, error);
}

static void restart_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    record->body = operation->body;
    operation->body = NULL;
    if (record->stopping) {
        dw__rest(runtime, record);
        return;
    }
    if (operation->error.code == DW_OK) {
        record->restarts++;
        runtime->counts.restarts++;
        record->timer_ms = runtime->platform.timer_ms(runtime->platform.user, record->body);
        dw__happened(runtime, record, &(dw__happening){.kind = DW_EVENT_RESTARTED});
        dw__rest(runtime, record);
        return;
    }
    dw__problem(runtime, record->id, &operation->error);
    if (operation->error.code != DW_E_MEMORY && operation->error.code != DW_E_IO) {
        const dw_watch_event event = dw__watch_event_of(
            DW_WATCH_ENDED, DW_WATCH_GAVE_UP, operation->error.code, operation->error.message);
        dw__watch_end(runtime, record, &event);
        dw__stop(runtime, record); /* it would be the same the next time */
        dw__bury(runtime, record);
        return;
    }
    dw__set_state(runtime, record, DW__DOWN);
    dw__alarm_set(runtime, &record->alarm,
                  runtime->platform.clock_ns(runtime->platform.user) + DW__RESTART_NS);
}

void dw__restart(dw_runtime *runtime, dw__record *record)
{
    if (runtime->keeper != NULL) {
        dw__load(runtime, record);
        return;
    }
    /* What it goes back to has no tickets, and may give their numbers again. */
    dw_error why;
    (void)dw_fail(&why, DW_E_STATE, "its actor broke off, and was restarted without it");
    dw__later_end_all(runtime, record, &why);
    record->inside = 0;
    record->timer_ms = 0;
    record->timer_due = false;
    dw__alarm_clear(runtime, &record->alarm);
    dw__set_state(runtime, record, DW__BUSY);
    dw__begin_own(runtime, record, restart_work, restart_finish);
}

/* ---- forking --------------------------------------------------------------------------------- */

void dw__fork_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    operation->error.code =
        platform->fork(platform->user, &operation->body, operation->record->body, operation->child,
                       operation->child->id, &operation->error);
    if (operation->error.code == DW_OK && operation->runtime->keeper != NULL) {
        operation->error.code =
            dw__make_files(operation->runtime, operation->child, operation->body,
                           operation->record->id, false, &operation->error);
    }
}

void dw__fork_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *child = operation->child;
    dw__record *record = operation->record;
    const dw__platform *platform = &runtime->platform;
    child->body = operation->body;
    operation->body = NULL;
    operation->about = child->id;
    if (child->seed == NULL && record->seed != NULL) { /* which was not read yet */
        child->seed = platform->seed_ref(platform->user, record->seed);
        child->limits = platform->seed_limits(platform->user, child->seed);
    }
    if (operation->error.code == DW_OK && runtime->keeper != NULL) {
        child->made = operation; /* told when it is in the folder */
        dw__enter_folder(runtime, child);
        dw__rest(runtime, record);
        return;
    }
    child->ends_in_folder = runtime->keeper != NULL;
    if (operation->error.code != DW_OK && !child->stopping) {
        end_unmade(runtime, child, &operation->error);
    }
    dw__rest(runtime, child);
    dw__operation_end(runtime, operation);
    dw__rest(runtime, record);
}

static dw_status begin_fork(dw_runtime *runtime, const char *id, dw__operation **out, dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__reach(runtime, id, &record, err);
    if (status == DW_OK) {
        status = dw__operation_create(runtime, record, out, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__wanted wanted = dw__wanted_of(record, 0);
    wanted.from_outside = true;
    status = dw__record_create(runtime, &wanted, &(*out)->child, err);
    if (status != DW_OK) {
        dw_free(*out);
        return status;
    }
    (*out)->work = dw__fork_work;
    (*out)->finish = dw__fork_finish;
    (*out)->about = (*out)->child->id;
    return DW_OK;
}

dw_status dw_runtime_begin_fork(dw_runtime *runtime, const char *id,
                                char child[DW_ACTOR_ID_CHARS + 1], dw_runtime_end_fn on_end,
                                void *user, dw_error *err)
{
    dw__operation *operation = NULL;
    dw_status status = dw__enter_to_change(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = begin_fork(runtime, id, &operation, err);
    if (status == DW_OK) {
        operation->on_end = on_end;
        operation->user = user;
        dw__id_text(child, operation->child->id);
        dw__operation_add(runtime, operation, false);
    }
    dw__leave(runtime, false);
    return status;
}

/* ---- freezing -------------------------------------------------------------------------------- */

void dw__freeze_make_room(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    if (record->freeze_count == DW__FREEZES_MAX) {
        platform->destroy(platform->user, record->freezes[0].body);
        record->freeze_count--;
        memmove(record->freezes, record->freezes + 1,
                record->freeze_count * sizeof record->freezes[0]);
    }
}

void dw__freeze_add(dw__operation *operation, void *body)
{
    dw__record *record = operation->record;
    operation->number = ++record->freeze_number;
    record->freezes[record->freeze_count].number = operation->number;
    record->freezes[record->freeze_count++].body = body;
    dw__happened(operation->runtime, record,
                 &(dw__happening){.kind = DW_EVENT_FROZEN, .number = operation->number});
}

static void freeze_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    operation->error.code = platform->fork(platform->user, &operation->body, record->body, record,
                                           record->id, &operation->error);
    if (operation->error.code == DW_OK) {
        dw__freeze_make_room(operation);
    }
}

static void freeze_finish(dw__operation *operation)
{
    if (operation->error.code == DW_OK) {
        dw__freeze_add(operation, operation->body);
        operation->body = NULL;
    }
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__operation_end(runtime, operation);
    dw__rest(runtime, record);
}

static const struct dw__freeze *find_freeze(const dw__record *record, uint64_t number)
{
    for (size_t i = 0; i < record->freeze_count; i++) {
        if (record->freezes[i].number == number || (number == 0 && i + 1 == record->freeze_count)) {
            return &record->freezes[i];
        }
    }
    return NULL;
}

static void rewind_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    dw_error *error = &operation->error;
    const struct dw__freeze *freeze = find_freeze(record, operation->number);
    if (freeze == NULL && operation->number != 0) {
        error->code =
            dw_fail(error, DW_E_NOT_FOUND, "freeze %" PRIu64 " is not kept", operation->number);
        return;
    }
    error->code = freeze != NULL ? take_back(operation, freeze->body, error)
                                 : platform->spawn(platform->user, &operation->body, record->seed,
                                                   record, record->id, error);
    if (error->code == DW_OK) {
        platform->destroy(platform->user, record->body);
    }
}

static void rewind_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    if (operation->error.code == DW_OK) {
        record->body = operation->body;
        operation->body = NULL;
        record->inside = 0;
        record->timer_due = false;
        record->timer_ms = runtime->platform.timer_ms(runtime->platform.user, record->body);
        dw__happened(runtime, record,
                     &(dw__happening){.kind = DW_EVENT_REWOUND, .number = operation->number});
    }
    dw__operation_end(runtime, operation);
    dw__rest(runtime, record);
}

static void export_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    operation->error.code =
        platform->export(platform->user, operation->record->body, operation->fd, &operation->error);
}

static void keep_prefixes_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    operation->error.code = platform->keep_prefixes(platform->user, operation->record->body,
                                                    (unsigned)operation->number, &operation->error);
}

/* What changes nothing of the record. */
static void plain_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__operation_end(runtime, operation);
    dw__rest(runtime, record);
}

/* Whoever has its body has it in memory. */
static void thaw_work(dw__operation *operation)
{
    operation->error.code = DW_OK;
}

/* In traces. */
static const char *name_of(const dw__operation *operation)
{
    const struct {
        void (*work)(dw__operation *operation);
        const char *name;
    } names[] = {{spawn_work, "make"},     {restart_work, "restart"}, {dw__fork_work, "fork"},
                 {freeze_work, "freeze"},  {rewind_work, "rewind"},   {export_work, "export"},
                 {dw__write_work, "write"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].work == operation->work && operation->name == NULL) {
            return names[i].name;
        }
    }
    if (operation->name != NULL) {
        return operation->name;
    }
    return "operation";
}

dw_status dw__begin_call(dw_runtime *runtime, const char *id, const dw__call_of_one *call,
                         dw_error *err)
{
    dw__record *record = NULL;
    dw__operation *operation = NULL;
    dw_status status = dw__enter_to_change(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__reach(runtime, id, &record, err);
    if (status == DW_OK) {
        status = dw__operation_create(runtime, record, &operation, err);
    }
    if (status == DW_OK) {
        operation->work = call->work;
        operation->finish = call->finish;
        operation->number = call->number;
        operation->fd = call->fd;
        operation->module = call->module != NULL
                                ? runtime->platform.module_ref(runtime->platform.user, call->module)
                                : NULL;
        operation->on_end = call->on_end;
        operation->user = call->user;
        dw__operation_add(runtime, operation, false);
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_begin_freeze(dw_runtime *runtime, const char *id, dw_runtime_end_fn on_end,
                                  void *user, dw_error *err)
{
    dw__call_of_one call = {
        .work = freeze_work, .finish = freeze_finish, .on_end = on_end, .user = user};
    if (runtime->keeper != NULL) { /* which is as long as the runtime */
        call.work = dw__freeze_kept_work;
        call.finish = dw__freeze_kept_finish;
    }
    return dw__begin_call(runtime, id, &call, err);
}

dw_status dw_runtime_begin_rewind(dw_runtime *runtime, const char *id, uint64_t number,
                                  dw_runtime_end_fn on_end, void *user, dw_error *err)
{
    dw__call_of_one call = {.work = rewind_work,
                            .finish = rewind_finish,
                            .number = number,
                            .on_end = on_end,
                            .user = user};
    if (runtime->keeper != NULL) {
        call.work = dw__rewind_kept_work;
        call.finish = dw__rewind_kept_finish;
    }
    return dw__begin_call(runtime, id, &call, err);
}

dw_status dw_runtime_begin_keep_prefixes(dw_runtime *runtime, const char *id, unsigned flags,
                                         dw_runtime_end_fn on_end, void *user, dw_error *err)
{
    const dw__call_of_one call = {.work = keep_prefixes_work,
                                  .finish = plain_finish,
                                  .number = flags,
                                  .on_end = on_end,
                                  .user = user};
    return dw__begin_call(runtime, id, &call, err);
}

dw_status dw_runtime_begin_export(dw_runtime *runtime, const char *id, int fd,
                                  dw_runtime_end_fn on_end, void *user, dw_error *err)
{
    const dw__call_of_one call = {
        .work = export_work, .finish = plain_finish, .fd = fd, .on_end = on_end, .user = user};
    return dw__begin_call(runtime, id, &call, err);
}

dw_status dw_runtime_begin_thaw(dw_runtime *runtime, const char *id, dw_runtime_end_fn on_end,
                                void *user, dw_error *err)
{
    const dw__call_of_one call = {
        .work = thaw_work, .finish = plain_finish, .on_end = on_end, .user = user};
    return dw__begin_call(runtime, id, &call, err);
}

/* ---- from outside ---------------------------------------------------------------------------- */

static dw_status check_spawn(const dw__tenant *tenant, const dw_spawn_options *options,
                             dw_error *err)
{
    if ((unsigned)options->priority > DW_PRIORITY_LOW ||
        (unsigned)options->supervision > DW_SUPERVISE_STOP) {
        return dw_fail(err, DW_E_ARG, "dw_spawn_options: priority %d, supervision %d",
                       (int)options->priority, (int)options->supervision);
    }
    dw_status status = dw__durability_check(options->durability, options->durability_s, err);
    if (status != DW_OK) {
        return status;
    }
    if (tenant == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "no tenant '%.80s'", options->tenant);
    }
    if ((options->capabilities & ~tenant->capabilities) != 0) {
        return dw_fail(err, DW_E_DENIED, "tenant '%s' may not 0x%x (DW_MAY_*)", tenant->name,
                       options->capabilities & ~tenant->capabilities);
    }
    return DW_OK;
}

dw_status dw__may_spawn(dw_runtime *runtime, const dw_spawn_options *options, dw_error *err)
{
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    const char *name = options->tenant != NULL ? options->tenant : "";
    status = check_spawn(dw__find_tenant(runtime, name), options, err);
    dw__leave(runtime, false);
    return status;
}

dw_status dw__spawn_from_seed(dw_runtime *runtime, void *seed, void *given,
                              const dw_spawn_options *options, char id[DW_ACTOR_ID_CHARS + 1],
                              dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__enter_to_change(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    dw__operation *made = dw_alloc(1, sizeof *made); /* its end is told by this */
    if (made == NULL) {
        dw__leave(runtime, false);
        return dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    }
    made->notice.kind = DW__TELL_OPERATION;
    made->on_end = options->on_end;
    made->user = options->user;
    const char *name = options->tenant != NULL ? options->tenant : "";
    dw__wanted wanted = {.tenant = dw__find_tenant(runtime, name),
                         .capabilities = options->capabilities,
                         .failures_max = options->failures_max,
                         .priority = dw__queue_of(options->priority),
                         .supervision = options->supervision,
                         .durability = options->durability,
                         .durability_s = options->durability_s,
                         .pinned = options->pinned,
                         .seed = seed};
    status = check_spawn(wanted.tenant, options, err);
    if (status == DW_OK && options->name != NULL) {
        status = dw__name_check(runtime, wanted.tenant, options->name, err);
    }
    if (status == DW_OK) {
        status = dw__may_queue(runtime, wanted.tenant, err);
    }
    if (status == DW_OK) {
        status = dw__record_create(runtime, &wanted, &record, err);
    }
    if (status == DW_OK && options->name != NULL) {
        status = dw__name_set(runtime, record, options->name, err);
        if (status != DW_OK) {
            dw__stop(runtime, record);
            dw__bury(runtime, record);
        }
    }
    if (status == DW_OK) {
        dw__id_text(id, record->id);
        record->in_folder = runtime->keeper != NULL;
        record->made = made;
        record->own->given = given;
        made->about = record->id;
        dw__come(runtime, record);
    } else {
        dw_free(made);
    }
    dw__leave(runtime, false);
    return status;
}
