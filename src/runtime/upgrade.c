/* A new module under a living actor's state. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

/* The upgraded body, a seed of the new module, and a freeze: what a restart goes back to is not of
 * the module before. The actor's own body stays until all are there. */
static void upgrade_work(dw__operation *operation)
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
    if (error->code == DW_OK) {
        error->code = platform->fork(platform->user, &operation->freeze, operation->body, record,
                                     record->id, error);
    }
    if (error->code != DW_OK) {
        platform->destroy(platform->user, operation->body);
        operation->body = NULL;
        if (operation->seed != NULL) {
            platform->seed_unref(platform->user, operation->seed);
            operation->seed = NULL;
        }
        return;
    }
    platform->destroy(platform->user, record->body);
    dw__freeze_make_room(operation);
}

static void upgrade_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    const dw__platform *platform = &runtime->platform;
    dw__record *record = operation->record;
    if (operation->error.code == DW_OK) {
        void *before = record->seed;
        record->body = operation->body;
        operation->body = NULL;
        record->seed = operation->seed;
        operation->seed = before; /* dropped with the operation */
        record->limits = platform->seed_limits(platform->user, record->seed);
        record->inside = platform->waiting(platform->user, record->body);
        record->timer_ms = platform->timer_ms(platform->user, record->body);
        dw__freeze_add(operation, operation->freeze);
        operation->freeze = NULL;
        dw__happened(runtime, record,
                     &(dw__happening){.kind = DW_EVENT_UPGRADED, .number = operation->number});
    }
    if (operation->seed != NULL) {
        platform->seed_unref(platform->user, operation->seed);
        operation->seed = NULL;
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
    if (runtime->keeper != NULL) {
        return dw_fail(err, DW_E_UNSUPPORTED, "upgrade: not of an actor in a state folder");
    }
    const dw__call_of_one call = {.work = upgrade_work,
                                  .finish = upgrade_finish,
                                  .module = module,
                                  .on_end = on_end,
                                  .user = user};
    return dw__begin_call(runtime, id, &call, err);
}
