/* A new module under a living actor's state. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

void dw__upgrade_undo(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    platform->destroy(platform->user, operation->body);
    operation->body = NULL;
    if (operation->seed != NULL) {
        platform->seed_unref(platform->user, operation->seed);
        operation->seed = NULL;
    }
}

bool dw__upgrade_make(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    dw_error *error = &operation->error;
    error->code = platform->upgrade(platform->user, &operation->body, record->body,
                                    operation->module, record, error);
    if (error->code == DW_OK) {
        error->code = platform->seed_of_module(platform->user, &operation->seed, record->seed,
                                               operation->module, error);
    }
    if (error->code != DW_OK) {
        dw__upgrade_undo(operation);
    }
    return error->code == DW_OK;
}

void dw__upgrade_take(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    const dw__platform *platform = &runtime->platform;
    dw__record *record = operation->record;
    record->body = operation->body;
    operation->body = NULL;
    platform->seed_unref(platform->user, record->seed);
    record->seed = operation->seed;
    operation->seed = NULL;
    record->limits = platform->seed_limits(platform->user, record->seed);
    record->inside = platform->waiting(platform->user, record->body);
    record->timer_ms = platform->timer_ms(platform->user, record->body);
    dw__happened(runtime, record,
                 &(dw__happening){.kind = DW_EVENT_UPGRADED, .number = operation->number});
}

/* With a freeze: what a restart goes back to is not of the module before. The actor's own body
 * stays until all are there. */
static void upgrade_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    dw__record *record = operation->record;
    if (!dw__upgrade_make(operation)) {
        return;
    }
    operation->error.code = platform->fork(platform->user, &operation->freeze, operation->body,
                                           record, record->id, &operation->error);
    if (operation->error.code != DW_OK) {
        dw__upgrade_undo(operation);
        return;
    }
    platform->destroy(platform->user, record->body);
    dw__freeze_make_room(operation);
}

static void upgrade_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    if (operation->error.code == DW_OK) {
        dw__freeze_add(operation, operation->freeze);
        operation->freeze = NULL;
        dw__upgrade_take(operation);
    }
    dw__operation_end(runtime, operation);
    dw__rest(runtime, record);
}

dw_status dw_runtime_begin_upgrade(dw_runtime *runtime, const char *id, dw_module *module,
                                   dw_runtime_end_fn on_end, void *user, dw_error *err)
{
    if (module == NULL) {
        return dw_fail(err, DW_E_ARG, "upgrade: no module");
    }
    const bool kept = runtime->keeper != NULL;
    const dw__call_of_one call = {.work = kept ? dw__upgrade_kept_work : upgrade_work,
                                  .finish = kept ? dw__upgrade_kept_finish : upgrade_finish,
                                  .module = module,
                                  .on_end = on_end,
                                  .user = user};
    return dw__begin_call(runtime, id, &call, err);
}
