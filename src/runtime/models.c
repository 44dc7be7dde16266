/* Which actors in memory have a model, and what lets it go: those at rest leave memory, and so do
 * the beginnings of prompts that were computed with it. Which one an actor is to have that is read
 * from a folder. */
#include "base/public_struct.h"
#include "runtime/engine_of.h"
#include "runtime/guests.h"
#include "runtime/runtime_internal.h"

static bool has_model(const dw_runtime *runtime, const dw__record *record, const dw_model *model)
{
    return record->seed != NULL &&
           runtime->platform.seed_has(runtime->platform.user, record->seed, model);
}

/* Those that have nothing to do leave first whom nobody descends from; who is left for that is
 * parked by the next call. */
static void look(dw_runtime *runtime, const dw_model *model, bool parks, dw_runtime_model_use *use)
{
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    uint64_t used_ns = 0;
    dw__record *next = NULL;
    for (dw__record *record = runtime->all; record != NULL; record = next) {
        next = record->after;
        if (!has_model(runtime, record, model)) {
            continue;
        }
        if (record->leaves || record->state == DW__LEAVING) {
            use->leaving++;
        } else if (!record->at_rest) {
            use->working++;
        } else {
            used_ns = record->used_ns > used_ns ? record->used_ns : used_ns;
            use->resting++;
        }
    }
    use->idle_ms = used_ns != 0 && now_ns > used_ns ? (now_ns - used_ns) / 1000000 : 0;
    use->idle_ms = used_ns == 0 ? UINT64_MAX : use->idle_ms;
    for (dw__record *record = runtime->all; parks && use->working == 0 && record != NULL;
         record = next) {
        next = record->after;
        if (record->at_rest && record->rests.first == NULL && has_model(runtime, record, model)) {
            dw__park(runtime, record);
        }
    }
}

static dw_status use_of(dw_runtime *runtime, const dw_model *model, bool parks,
                        dw_runtime_model_use *own, dw_error *err)
{
    *own = (dw_runtime_model_use){.idle_ms = UINT64_MAX};
    dw_status status = dw__enter_open(runtime, err);
    if (status == DW_OK) {
        look(runtime, model, parks && runtime->keeper != NULL, own);
        dw__leave(runtime, false);
    }
    return status;
}

dw_status dw_runtime_get_model_use(dw_runtime *runtime, const dw_model *model,
                                   dw_runtime_model_use *use, dw_error *err)
{
    dw_runtime_model_use own;
    dw_status status = use_of(runtime, model, false, &own, err);
    return status == DW_OK ? dw_struct_fill(use, &own, sizeof own, "dw_runtime_model_use") : status;
}

dw_status dw_runtime_park_model(dw_runtime *runtime, const dw_model *model,
                                dw_runtime_model_use *use, dw_error *err)
{
    dw_runtime_model_use own;
    const dw__host *host = dw__runtime_platform(runtime);
    dw_status status = use_of(runtime, model, true, &own, err);
    if (status == DW_OK && own.working + own.resting + own.leaving == 0) {
        status = dw__prefixes_leave(host->prefixes, host->engine, model, err);
    }
    return status == DW_OK ? dw_struct_fill(use, &own, sizeof own, "dw_runtime_model_use") : status;
}

/* ---- for actors that are read --------------------------------------------------------------- */

static bool may_have(const dw_model_wanted *wanted, const char *own_name, const char *served_name)
{
    const dw__model_search *search = (const dw__model_search *)(const void *)wanted;
    const dw_model_names names = {.own = own_name, .served = served_name};
    return dw_runtime_may_have_model(search->runtime, wanted->tenant, &names, NULL) != DW_E_DENIED;
}

void dw__model_search_begin(dw__model_search *search, dw_runtime *runtime, const char *tenant)
{
    *search = (dw__model_search){
        .wanted = {.struct_bytes = sizeof search->wanted, .tenant = tenant, .may_have = may_have},
        .runtime = runtime};
}

dw_status dw__model_search_find(void *user, const dw_model_wanted *wanted, dw_model **model,
                                dw_error *err)
{
    dw__model_search *search = user;
    const dw_runtime_options *options = search->options;
    dw_status status = DW_OK;
    if (options->find_model == NULL && options->find_granted == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "the actor's model '%.80s' (%.60s): there are none",
                       wanted->name, wanted->fingerprint);
    }
    if (search->host != NULL) {
        status = dw__host_wait_begin(search->host, err);
        if (status != DW_OK) {
            return status;
        }
    }
    search->wanted.name = wanted->name;
    search->wanted.fingerprint = wanted->fingerprint;
    search->wanted.base_fingerprint = wanted->base_fingerprint;
    search->wanted.adapters = wanted->adapters;
    search->wanted.adapter_count = wanted->adapter_count;
    status =
        options->find_granted != NULL
            ? options->find_granted(options->user, &search->wanted, model, err)
            : options->find_model(options->user, wanted->name, wanted->fingerprint, model, err);
    if (search->host != NULL) {
        dw__host_wait_end(search->host);
    }
    return status;
}
