/* The runtime's bookkeeping as a whole: begun, ticked, ended, whatever it runs on. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "runtime/engine_of.h"
#include "runtime/runtime_internal.h"

static __thread const dw_runtime *own_thread_of;

void dw__runtime_own_thread(const dw_runtime *runtime)
{
    own_thread_of = runtime;
}

const dw_runtime *dw__callbacks_begin(const dw_runtime *runtime)
{
    const dw_runtime *before = own_thread_of;
    own_thread_of = runtime;
    return before;
}

void dw__callbacks_end(const dw_runtime *before)
{
    own_thread_of = before;
}

bool dw__runtime_is_own_thread(const dw_runtime *runtime)
{
    return own_thread_of == runtime;
}

void *dw__runtime_platform(const dw_runtime *runtime)
{
    return runtime->platform.user;
}

/* What the tenant "" has at first. */
static void begin_tenant(dw__tenant *tenant)
{
    tenant->absent = false;
    tenant->weight = 100;
    tenant->capabilities = DW_MAY_ALL;
    tenant->actors_max = UINT64_MAX;
}

dw_status dw__runtime_create(dw_runtime **out, const dw__platform *platform,
                             const dw_runtime_options *options, dw_error *err)
{
    dw_limits limits;
    dw__tenant *tenant = NULL;
    *out = NULL;
    dw_status status = dw_limits_take(&limits, options->limits, err);
    if (status != DW_OK) {
        return status;
    }
    dw_runtime *runtime = dw_alloc(1, sizeof *runtime);
    if (runtime == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a runtime");
    }
    status = dw__tenant_create(runtime, "", &tenant, err);
    if (status != DW_OK) {
        dw_free(runtime);
        return status;
    }
    begin_tenant(tenant);
    status = dw__folders_create(&tenant->folders, options->dirs, options->dir_count, err);
    if (status != DW_OK) {
        dw__tenant_free(tenant);
        dw_free(runtime);
        return status;
    }
    runtime->platform = *platform;
    runtime->options = *options;
    runtime->options.limits = NULL;
    runtime->limits = limits;
    runtime->own_limits = limits;
    dw_limits_fill(&runtime->own_limits, &dw_limits_usual);
    runtime->working_max = options->working_max != 0 ? options->working_max : DW__WORKING_DEFAULT;
    runtime->resident_max =
        options->resident_actors != 0 ? options->resident_actors : DW__RESIDENT_ACTORS;
    runtime->resident_bytes_max =
        options->resident_bytes != 0 ? options->resident_bytes : dw_os_memory_bytes() / 2;
    platform->random(platform->user, &runtime->session, sizeof runtime->session);
    runtime->opened_ns = platform->clock_ns(platform->user);
    DW_ASSERT(pthread_mutex_init(&runtime->lock, NULL) == 0);
    DW_ASSERT(pthread_mutex_init(&runtime->landing_lock, NULL) == 0);
    DW_ASSERT(pthread_mutex_init(&runtime->traits_lock, NULL) == 0);
    dw_os_cond_init(&runtime->changed);
    *out = runtime;
    return DW_OK;
}

dw_status dw__runtime_keep(dw_runtime *runtime, const dw__keeper *keeper, dw_error *err)
{
    dw__enter(runtime);
    runtime->keeper = keeper;
    dw_status status = dw__scan_create(runtime, err);
    dw__leave(runtime, false);
    return status;
}

/* One that is not there, where the options say with what. */
static void make_tenant(dw_runtime *runtime, const char *name)
{
    const dw_tenant_options *made = runtime->options.made_tenants;
    dw_error error;
    dw__enter(runtime);
    bool there = dw__find_any_tenant(runtime, name) != NULL;
    dw__leave(runtime, false);
    if (made != NULL && !there && dw_runtime_set_tenant(runtime, name, made, &error) != DW_OK) {
        dw__enter(runtime);
        dw__problem(runtime, 0, &error);
        dw__leave(runtime, false);
    }
}

void dw__runtime_count(dw_runtime *runtime, const char *tenant, uint64_t actors)
{
    make_tenant(runtime, tenant);
    dw__enter(runtime);
    dw__tenant *own = dw__find_any_tenant(runtime, tenant);
    dw_error error;
    if (own == NULL) { /* else it may be made later */
        if (dw__tenant_create(runtime, tenant, &own, &error) == DW_OK) {
            begin_tenant(own);
            own->unasked = runtime->options.makes_tenants;
            own->absent = !own->unasked || runtime->options.made_tenants != NULL;
            own->folders = dw__folders_ref(dw__find_tenant(runtime, "")->folders);
        } else if (!runtime->options.read_only) { /* where nobody tells it */
            dw__problem(runtime, 0, &error);
        }
    }
    if (own != NULL) {
        own->actors += actors;
    }
    runtime->dormant_count += actors;
    dw__leave(runtime, false);
}

bool dw_runtime_tenant_is_set(dw_runtime *runtime, const char *name)
{
    dw__enter(runtime);
    const dw__tenant *tenant = dw__find_tenant(runtime, name);
    bool set = tenant != NULL && !tenant->unasked;
    dw__leave(runtime, false);
    return set;
}

void dw__runtime_begin_scan(dw_runtime *runtime)
{
    dw__enter(runtime);
    dw__scan_folder(runtime);
    dw__leave(runtime, false);
}

dw_status dw__tenant_limits(dw_runtime *runtime, const char *name, dw_limits *limits, dw_error *err)
{
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    const dw__tenant *tenant = dw__find_tenant(runtime, name);
    if (tenant != NULL) {
        *limits = tenant->limits;
        dw_limits_fill(limits, &runtime->limits);
    } else {
        status = dw_fail(err, DW_E_NOT_FOUND, "no tenant '%.80s'", name);
    }
    dw__leave(runtime, false);
    return status;
}

/* Whether a list of names that are granted, NULL: any, has this one. */
static bool may_have(char *const *granted, size_t count, const char *name)
{
    size_t i = 0;
    while (i < count && strcmp(granted[i], name) != 0) {
        i++;
    }
    return granted == NULL || i < count;
}

dw_status dw__tenant_may_call(dw_runtime *runtime, const dw__record *record, const char *tool,
                              dw_error *err)
{
    dw__enter(runtime);
    const dw__tenant *tenant = record->tenant;
    dw_status status =
        may_have(tenant->tools, tenant->tool_count, tool)
            ? DW_OK
            : dw_fail(err, DW_E_DENIED, "tenant '%s' may not call '%.63s'", tenant->name, tool);
    dw__leave(runtime, false);
    return status;
}

dw_status dw__tenant_may_use_context(dw_runtime *runtime, const dw__record *record,
                                     dw_context_place *place, bool saves, dw_error *err)
{
    dw__enter(runtime);
    const dw__tenant *tenant = record->tenant;
    const char *name = place->name;
    dw_limits limits = tenant->limits;
    dw_limits_fill(&limits, &runtime->own_limits);
    if (limits.saved_contexts < place->count_max) {
        place->count_max = limits.saved_contexts;
    }
    if (limits.saved_context_bytes < place->bytes_max) {
        place->bytes_max = limits.saved_context_bytes;
    }
    const bool may = dw_context_name_granted(
        (const char *const *)(saves ? tenant->context_writes : tenant->context_reads),
        saves ? tenant->context_write_count : tenant->context_read_count, name);
    dw_status status = may ? DW_OK
                           : dw_fail(err, DW_E_DENIED, "context '%.63s': tenant '%s' may not %s it",
                                     name, tenant->name, saves ? "save" : "open");
    dw__leave(runtime, false);
    return status;
}

/* With the lock. */
static dw_status check_model(const dw_runtime *runtime, const char *name,
                             const dw_model_names *model, dw_error *err)
{
    const dw__tenant *tenant = dw__find_tenant(runtime, name);
    const char *names[] = {model->served, model->own};
    bool may = tenant == NULL || tenant->models == NULL;
    const char *called = NULL;
    for (size_t i = 0; i < 2 && !may; i++) {
        may = names[i] != NULL && may_have(tenant->models, tenant->model_count, names[i]);
        called = called == NULL ? names[i] : called;
    }
    return may ? DW_OK
               : dw_fail(err, DW_E_DENIED, "tenant '%s' may not have model '%.100s'", name,
                         called != NULL ? called : "");
}

dw_status dw_runtime_may_have_model(dw_runtime *runtime, const char *tenant,
                                    const dw_model_names *model, dw_error *err)
{
    dw_status status = dw__enter_open(runtime, err);
    if (status == DW_OK) {
        status = check_model(runtime, tenant, model, err);
        dw__leave(runtime, false);
    }
    return status;
}

dw_status dw__tenant_may_have(dw_runtime *runtime, const char *name, dw_model *const *models,
                              size_t count, dw_error *err)
{
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        const dw_model_names names = dw_model_names_of(models[i]);
        status = check_model(runtime, name, &names, err);
    }
    dw__leave(runtime, false);
    return status;
}

bool dw__own_prefixes(dw_runtime *runtime, const dw__record *record)
{
    dw__enter(runtime);
    bool own = record->tenant->own_prefixes;
    dw__leave(runtime, false);
    return own;
}

bool dw__public_prefixes(dw_runtime *runtime, const dw__record *record)
{
    dw__enter(runtime);
    bool all = record->tenant->public_prefixes;
    dw__leave(runtime, false);
    return all;
}

uint64_t dw__clock_ns(dw_runtime *runtime, const dw__record *record)
{
    dw__enter(runtime);
    uint64_t own = record->tenant->limits.clock_ns;
    uint64_t step = own != 0 ? own : runtime->own_limits.clock_ns;
    dw__leave(runtime, false);
    return step;
}

uint64_t dw__tick(dw_runtime *runtime)
{
    dw__enter(runtime);
    dw__land_all(runtime);
    dw__alarms_ring(runtime, runtime->platform.clock_ns(runtime->platform.user));
    uint64_t due_ns = dw__alarms_due(runtime);
    dw__leave(runtime, true);
    return due_ns;
}

/* With the lock. */
static bool is_gone(const dw_runtime *runtime)
{
    return runtime->record_count == 0 && runtime->in_flight == 0 && runtime->notices == NULL &&
           !runtime->telling;
}

bool dw__runtime_is_gone(dw_runtime *runtime)
{
    dw__enter(runtime);
    bool gone = is_gone(runtime);
    dw__leave(runtime, false);
    return gone;
}

void dw__runtime_await_gone(dw_runtime *runtime)
{
    dw__enter(runtime);
    while (!is_gone(runtime)) {
        (void)pthread_cond_wait(&runtime->changed, &runtime->lock);
    }
    dw__leave(runtime, false);
}

void dw__runtime_free(dw_runtime *runtime)
{
    DW_ASSERT(is_gone(runtime));
    while (runtime->subscriptions != NULL) {
        dw__subscription *subscription = runtime->subscriptions;
        runtime->subscriptions = subscription->next;
        dw_free(subscription);
    }
    while (runtime->tenants != NULL) {
        dw__tenant *tenant = runtime->tenants;
        runtime->tenants = tenant->next;
        dw__tenant_free(tenant);
    }
    if (runtime->scan != NULL && runtime->alarm_owners > 0) {
        dw__alarm_unreserve(runtime, &runtime->folder_alarm);
        dw_free(runtime->scan);
    }
    DW_ASSERT(runtime->alarm_owners == 0);
    dw__names_release(&runtime->names);
    dw_free(runtime->alarms);
    dw_free(runtime->buckets);
    (void)pthread_cond_destroy(&runtime->changed);
    (void)pthread_mutex_destroy(&runtime->lock);
    (void)pthread_mutex_destroy(&runtime->landing_lock);
    (void)pthread_mutex_destroy(&runtime->traits_lock);
    dw_free(runtime);
}

/* With the lock. */
static bool is_idle(const dw_runtime *runtime)
{
    return runtime->busy_count == 0 && runtime->in_flight == 0 && runtime->notices == NULL &&
           !runtime->telling;
}

dw_status dw_runtime_wait(dw_runtime *runtime, uint64_t timeout_ms, dw_error *err)
{
    uint64_t until_ns = UINT64_MAX;
    if (dw__runtime_is_own_thread(runtime)) {
        return dw_fail(err, DW_E_STATE, "wait: not from the runtime's callbacks");
    }
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (timeout_ms != 0 && timeout_ms < UINT64_MAX / 4000000) {
        until_ns = dw_os_clock_ns() + timeout_ms * 1000000;
    }
    while (!is_idle(runtime) && status == DW_OK) {
        if (until_ns == UINT64_MAX) {
            (void)pthread_cond_wait(&runtime->changed, &runtime->lock);
        } else if (!dw_os_cond_wait_until(&runtime->changed, &runtime->lock, until_ns)) {
            status = dw_fail(err, DW_E_LIMIT, "%zu actors have work after %llu ms",
                             runtime->busy_count, (unsigned long long)timeout_ms);
        }
    }
    dw__leave(runtime, false);
    return status;
}
