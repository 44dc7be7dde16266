/* A runtime's life and its threads: one runs the guests, one looks after what is due, some make and
 * fork actors. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "inference/prefix_cache.h"
#include "kv/kv_kept.h"
#include "runtime/engine_of.h"
#include "runtime/folder.h"
#include "runtime/guests.h"
#include "runtime/runtime_internal.h"

#define WORKERS_DEFAULT 2u
/* Where the device is not the CPU: so many threads of guests, on as many fourths of the cores. */
#define GUEST_THREADS_MOST 4u

/* ---- the loop -------------------------------------------------------------------------------- */

static void *run_loop(void *arg)
{
    dw__host *host = arg;
    dw_error error;
    dw__runtime_own_thread(host->runtime);
    while (!atomic_load(&host->loop_ends)) {
        if (dw_scheduler_run(host->scheduler, DW_RUN_UNTIL_STOPPED, &error) != DW_OK) {
            const struct timespec again = {.tv_nsec = 10000000};
            dw_log(DW_LOG_ERROR, "runtime: %s", error.message); /* no stack: it is tried again */
            (void)nanosleep(&again, NULL);
        }
    }
    return NULL;
}

/* ---- what is due ----------------------------------------------------------------------------- */

void dw__host_wake(void *user, uint64_t due_ns)
{
    dw__host *host = user;
    (void)pthread_mutex_lock(&host->ticker_lock);
    if (due_ns < host->wake_ns) {
        host->wake_ns = due_ns;
        (void)pthread_cond_signal(&host->ticker_wanted);
    }
    (void)pthread_mutex_unlock(&host->ticker_lock);
}

static void *run_ticker(void *arg)
{
    dw__host *host = arg;
    dw__runtime_own_thread(host->runtime);
    (void)pthread_mutex_lock(&host->ticker_lock);
    while (!host->ticker_ends) {
        host->wake_ns = UINT64_MAX;
        (void)pthread_mutex_unlock(&host->ticker_lock);
        uint64_t due_ns = dw__tick(host->runtime);
        (void)pthread_mutex_lock(&host->ticker_lock);
        host->wake_ns = due_ns < host->wake_ns ? due_ns : host->wake_ns;
        while (!host->ticker_ends && host->wake_ns > dw_os_clock_ns()) {
            if (host->wake_ns == UINT64_MAX) {
                (void)pthread_cond_wait(&host->ticker_wanted, &host->ticker_lock);
            } else {
                (void)dw_os_cond_wait_until(&host->ticker_wanted, &host->ticker_lock,
                                            host->wake_ns);
            }
        }
    }
    (void)pthread_mutex_unlock(&host->ticker_lock);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void end_threads(dw__host *host)
{
    if (host->has_loop) {
        atomic_store(&host->loop_ends, true);
        dw_scheduler_stop(host->scheduler);
        (void)pthread_join(host->loop, NULL);
    }
    (void)pthread_mutex_lock(&host->ticker_lock);
    host->ticker_ends = true;
    (void)pthread_cond_signal(&host->ticker_wanted);
    (void)pthread_mutex_unlock(&host->ticker_lock);
    if (host->has_ticker) {
        (void)pthread_join(host->ticker, NULL);
    }
    (void)pthread_mutex_lock(&host->work_lock);
    host->workers_end = true;
    (void)pthread_cond_broadcast(&host->work_wanted);
    (void)pthread_mutex_unlock(&host->work_lock);
    for (size_t i = 0; i < host->worker_count; i++) {
        (void)pthread_join(host->workers[i], NULL);
    }
}

static void end_trace(dw_runtime *runtime)
{
    dw_error error;
    dw_status status = runtime->trace != NULL ? dw_runtime_trace_end(runtime, NULL, &error) : DW_OK;
    if (status != DW_OK && status != DW_E_STATE) { /* that: there is none */
        dw_log(DW_LOG_ERROR, "dw_runtime_close: %s", error.message);
    }
}

/* Its threads have nothing to do any more. */
static void free_host(dw__host *host)
{
    dw__control_close(host->control);
    end_threads(host);
    if (host->runtime != NULL) {
        end_trace(host->runtime);
        dw_event_log_close(host->runtime->log); /* its callback may still look at the scheduler */
    }
    dw_scheduler_destroy(host->scheduler); /* which looks whether it is watched */
    if (host->runtime != NULL) {
        dw_tracer_destroy(host->runtime->trace);
        dw__runtime_free(host->runtime);
    }
    dw__prefixes_close(host->prefixes);
    dw_contexts_close(host->contexts);
    dw__folder_close(host->folder);
    (void)pthread_cond_destroy(&host->ticker_wanted);
    (void)pthread_mutex_destroy(&host->ticker_lock);
    (void)pthread_cond_destroy(&host->work_wanted);
    (void)pthread_mutex_destroy(&host->work_lock);
    dw_free(host);
}

static dw_status start_threads(dw__host *host, dw_error *err)
{
    int failed = dw_os_start_thread(&host->loop, run_loop, host);
    host->has_loop = failed == 0;
    if (failed == 0) {
        failed = dw_os_start_thread(&host->ticker, run_ticker, host);
        host->has_ticker = failed == 0;
    }
    size_t count =
        host->options.worker_threads != 0 ? host->options.worker_threads : WORKERS_DEFAULT;
    while (failed == 0 && host->worker_count < count) {
        failed = dw_os_start_thread(&host->workers[host->worker_count], dw__host_run_worker, host);
        host->worker_count += failed == 0;
    }
    return failed == 0 ? DW_OK
                       : dw_fail(err, DW_E_MEMORY, "a thread of a runtime: %s", strerror(failed));
}

/* What a device's contexts may have, and may keep, where it was given here. */
static dw_status limit_device(const dw__host *host, const dw_limits *limits, dw_error *err)
{
    if (limits->parked_kv_bytes != 0) {
        dw_kv_kept_limit(dw_engine_device(host->engine), limits->parked_kv_bytes);
    }
    return limits->device_kv_bytes != 0 && limits->device_kv_bytes != DW_LIMIT_NONE
               ? dw_engine_set_kv_limit(host->engine, limits->device_kv_bytes, err)
               : DW_OK;
}

/* The options' own, then the manifest's. */
static dw_status take_limits(dw_runtime_options *options, dw_limits *limits, dw_error *err)
{
    dw_limits given = {.struct_bytes = sizeof given};
    dw_status status = dw_limits_take(limits, options->limits, err);
    if (status == DW_OK && options->manifest != NULL) {
        status = dw__manifest_limits(options->manifest, options->manifest_bytes, &given, err);
    }
    if (status == DW_OK) {
        dw_limits_fill(limits, &given);
        limits->struct_bytes = sizeof *limits;
        options->limits = limits;
    }
    return status;
}

static dw_status open_folder(dw__host *host, const dw_runtime_options *options,
                             const dw_limits *limits, dw_error *err)
{
    dw_status status = dw__folder_open(&host->folder, host->engine, options, limits, err);
    if (status == DW_OK) {
        dw__folder_use_workers(host->folder, options->read_only ? NULL : host);
        host->keeper = dw__folder_keeper(host->folder);
        status = dw__runtime_keep(host->runtime, &host->keeper, err);
    }
    return status;
}

static void count_tenant(void *user, const char *tenant, uint64_t actors)
{
    dw__runtime_count(user, tenant, actors);
}

/* Who is there, and for whom something waits. */
static dw_status count_actors(dw__host *host, dw_error *err)
{
    dw_status status = dw__folder_count(host->folder, count_tenant, host->runtime, err);
    if (status == DW_OK && !host->options.works_on_request && !host->options.read_only) {
        dw__runtime_begin_scan(host->runtime);
    }
    return status;
}

static dw_status open_log(dw_runtime *runtime, const dw_runtime_options *options, dw_error *err)
{
    return dw_event_log_open(&runtime->log, options, dw__runtime_own_thread, runtime, err);
}

/* What looks at the runtime while it works. */
static dw_status open_eyes(dw__host *host, const dw_runtime_options *options, dw_error *err)
{
    dw_runtime *runtime = host->runtime;
    const dw_scheduler_watch watch = {
        .on = &runtime->tracing, .on_span = dw__host_watch, .user = host};
    dw_scheduler_set_watch(host->scheduler, &watch);
    dw_status status = dw_tracer_create(&runtime->trace, err);
    return status == DW_OK ? open_log(runtime, options, err) : status;
}

/* On a CPU guests and device want the same cores, and are at it by turns. Another device computes
 * while guests run. */
static void choose_threads(const dw_engine *engine, dw_scheduler_options *options)
{
    dw_device_info info = {.struct_bytes = sizeof info};
    if (dw_engine_get_device_info(engine, &info) != DW_OK || info.kind == DW_DEVICE_CPU) {
        return;
    }
    uint32_t count = (uint32_t)dw_os_core_count() / 4;
    options->device_thread = DW_DEVICE_THREAD_OWN;
    options->guest_threads = count < GUEST_THREADS_MOST ? count : GUEST_THREADS_MOST;
}

static bool relieve(void *user)
{
    const dw__host *host = user;
    return dw_kv_kept_forget_all(dw_engine_device(host->engine)) || dw__relieve(host->runtime) ||
           dw_prefix_cache_relieve(dw_engine_prefix_cache(host->engine));
}

/* What runs actors. */
static dw_status open_scheduler(dw__host *host, dw_error *err)
{
    dw_scheduler_options options;
    dw_status status = dw_struct_read(&options, sizeof options, host->options.scheduler,
                                      "dw_scheduler_options", err);
    if (status != DW_OK) {
        return status;
    }
    if (host->options.scheduler == NULL) {
        choose_threads(host->engine, &options);
    }
    /* As many again, where each tenant has its share in spite of others. */
    options.guest_count_max =
        2 * (host->options.working_max != 0 ? host->options.working_max : DW__WORKING_DEFAULT) +
        DW__TENANTS_MAX;
    status = dw_scheduler_create(&host->scheduler, host->engine, &options, err);
    if (status == DW_OK) {
        dw_scheduler_set_relief(host->scheduler, relieve, host);
    }
    return status;
}

static dw_status open_contexts(dw__host *host, const dw_runtime_options *own, dw_error *err)
{
    char path[2048];
    if (own->contexts_path != NULL) {
        return own->contexts_path[0] != '\0'
                   ? dw_contexts_open(&host->contexts, own->contexts_path, err)
                   : DW_OK;
    }
    if (own->path == NULL) {
        return DW_OK;
    }
    int length = snprintf(path, sizeof path, "%s/contexts", own->path);
    return length > 0 && (size_t)length < sizeof path
               ? dw_contexts_open(&host->contexts, path, err)
               : dw_fail(err, DW_E_LIMIT, "contexts: a path of %d bytes, limit %zu", length,
                         sizeof path - 1);
}

static dw_status fill_to_work(dw__host *host, const dw_runtime_options *own, dw_error *err)
{
    dw_limits limits = *own->limits;
    dw_limits_fill(&limits, &dw_limits_usual);
    dw_status status = open_scheduler(host, err);
    if (status == DW_OK) {
        status = dw__prefixes_open(&host->prefixes, host->engine, own, limits.prefix_bytes, err);
    }
    if (status == DW_OK) {
        status = open_contexts(host, own, err);
    }
    if (status == DW_OK) {
        status = open_eyes(host, own, err);
    }
    return status == DW_OK ? start_threads(host, err) : status;
}

static dw_status fill_host(dw__host *host, dw_engine *engine, dw_error *err)
{
    dw__platform platform = dw__guests_platform;
    dw_runtime_options own = host->options;
    dw_limits limits;
    platform.user = host;
    host->engine = engine;
    dw_status status = take_limits(&own, &limits, err);
    if (status == DW_OK && own.manifest != NULL) {
        status = dw__manifest_parking(&own, err);
    }
    if (status == DW_OK && !own.read_only) {
        status = limit_device(host, own.limits, err);
    }
    if (status == DW_OK) {
        status = dw__runtime_create(&host->runtime, &platform, &own, err);
    }
    if (status == DW_OK && own.path != NULL) {
        status = open_folder(host, &own, own.limits, err);
    }
    if (status == DW_OK && own.manifest != NULL) {
        status = dw__manifest_tenants(host->runtime, own.manifest, own.manifest_bytes, err);
    }
    if (status == DW_OK) {
        status = own.read_only ? open_log(host->runtime, &own, err) : fill_to_work(host, &own, err);
    }
    if (status == DW_OK && host->folder != NULL) {
        status = count_actors(host, err);
    }
    if (status == DW_OK && own.control_path != NULL) {
        status = dw__control_open(&host->control, host->runtime, own.control_path, err);
    }
    return status;
}

dw_status dw_runtime_open(dw_runtime **out, dw_engine *engine, const dw_runtime_options *options,
                          dw_error *err)
{
    dw_runtime_options own;
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_runtime_options", err);
    if (status != DW_OK) {
        return status;
    }
    if (own.worker_threads > DW__WORKERS_MAX) {
        return dw_fail(err, DW_E_RANGE, "worker_threads: %u, at most %u", own.worker_threads,
                       DW__WORKERS_MAX);
    }
    if (own.working_max > DW__WORKING_MAX) {
        return dw_fail(err, DW_E_RANGE, "working_max: %u, at most %u", own.working_max,
                       DW__WORKING_MAX);
    }
    if (own.path == NULL && (own.works_on_request || own.makes_tenants || own.read_only)) {
        return dw_fail(err, DW_E_ARG, "works_on_request, makes_tenants, read_only: without a path");
    }
    if (own.made_tenants != NULL && !own.makes_tenants) {
        return dw_fail(err, DW_E_ARG, "made_tenants: without makes_tenants");
    }
    if (own.dir_count > 0 && own.manifest != NULL) {
        return dw_fail(err, DW_E_ARG, "dirs: beside a manifest, which says what tenants grant");
    }
    status = dw__durability_check(own.durability, own.durability_s, err);
    if (status != DW_OK) {
        return status;
    }
    dw__host *host = dw_alloc(1, sizeof *host);
    if (host == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a runtime");
    }
    host->options = own;
    DW_ASSERT(pthread_mutex_init(&host->ticker_lock, NULL) == 0);
    DW_ASSERT(pthread_mutex_init(&host->work_lock, NULL) == 0);
    dw_os_cond_init(&host->ticker_wanted);
    dw_os_cond_init(&host->work_wanted);
    status = fill_host(host, engine, err);
    if (status != DW_OK) {
        free_host(host);
        return status;
    }
    *out = host->runtime;
    return DW_OK;
}

void dw_runtime_close(dw_runtime *runtime)
{
    if (runtime == NULL) {
        return;
    }
    if (dw__runtime_is_own_thread(runtime) || dw_callback_under_way()) {
        dw_log(DW_LOG_ERROR, "dw_runtime_close: from a callback of the runtime: it stays open");
        return;
    }
    dw__host *host = dw__runtime_platform(runtime);
    dw__runtime_begin_close(runtime);
    dw__runtime_await_gone(runtime);
    free_host(host);
}

dw_status dw_runtime_get_scheduler_stats(dw_runtime *runtime, dw_scheduler_stats *stats)
{
    static const dw_scheduler_stats none;
    const dw__host *host = dw__runtime_platform(runtime);
    return host->scheduler != NULL
               ? dw_scheduler_get_stats(host->scheduler, stats)
               : dw_struct_fill(stats, &none, sizeof none, "dw_scheduler_stats");
}

static dw_status folder_of(dw_runtime *runtime, struct dw__folder **folder, dw_error *err)
{
    const dw__host *host = dw__runtime_platform(runtime);
    *folder = host->folder;
    return *folder != NULL ? DW_OK : dw_fail(err, DW_E_STATE, "the runtime has no state folder");
}

dw_status dw_runtime_find_id(dw_runtime *runtime, const char *start, char id[DW_ACTOR_ID_CHARS + 1],
                             dw_error *err)
{
    struct dw__folder *folder = NULL;
    dw_status status = folder_of(runtime, &folder, err);
    return status == DW_OK ? dw__folder_find(folder, start, id, err) : status;
}

dw_status dw_runtime_find_module(dw_runtime *runtime, const char *sha256, dw_module **module,
                                 dw_error *err)
{
    struct dw__folder *folder = NULL;
    *module = NULL;
    dw_status status = folder_of(runtime, &folder, err);
    return status == DW_OK ? dw__folder_find_module(folder, sha256, module, err) : status;
}

/* ---- spawning -------------------------------------------------------------------------------- */

/* The actor's options with all limits that bound it; *limits and *instance are theirs. */
static dw_status merge(dw_runtime *runtime, const dw_spawn_options *options,
                       dw_instance_options *instance, dw_limits *limits, dw_actor_options *actor,
                       dw_error *err)
{
    dw_limits usual;
    const char *tenant = options->tenant != NULL ? options->tenant : "";
    dw_status status =
        dw_struct_read(actor, sizeof *actor, options->actor, "dw_actor_options", err);
    if (status == DW_OK) {
        status =
            dw_struct_read(instance, sizeof *instance, actor->instance, "dw_instance_options", err);
    }
    if (status == DW_OK) {
        status = dw_limits_take(limits, instance->limits, err);
    }
    if (status == DW_OK) {
        status = dw__tenant_limits(runtime, tenant, &usual, err);
    }
    if (status == DW_OK) {
        status = dw__tenant_may_have(runtime, tenant, instance->models, instance->model_count, err);
    }
    if (status == DW_OK && limits->clock_ns != 0 && limits->clock_ns < usual.clock_ns) {
        status = dw_fail(
            err, DW_E_DENIED, "clock_ns: %llu, tenant '%.60s' was granted %llu and more",
            (unsigned long long)limits->clock_ns, tenant, (unsigned long long)usual.clock_ns);
    }
    if (status == DW_OK) {
        dw_limits_fill(limits, &usual);
        limits->struct_bytes = sizeof *limits;
        instance->limits = limits;
        actor->instance = instance;
    }
    return status;
}

static bool is_chosen(const dw_spawn_options *options, const char *name)
{
    size_t i = 0;
    while (i < options->folder_count && strcmp(options->folders[i], name) != 0) {
        i++;
    }
    return options->folders == NULL || i < options->folder_count;
}

/* Each that is chosen is one of the tenant's. */
static dw_status check_chosen(const dw_spawn_options *options, const dw__folders *folders,
                              dw_error *err)
{
    for (size_t i = 0; options->folders != NULL && i < options->folder_count; i++) {
        const char *name = options->folders[i];
        size_t k = 0;
        while (name != NULL && folders != NULL && k < folders->count &&
               strcmp(folders->dirs[k].guest_path, name) != 0) {
            k++;
        }
        if (name == NULL || folders == NULL || k == folders->count) {
            return dw_fail(err, name == NULL ? DW_E_ARG : DW_E_DENIED,
                           "folders: '%.80s', which tenant '%.63s' does not grant",
                           name != NULL ? name : "(NULL)",
                           options->tenant != NULL ? options->tenant : "");
        }
    }
    return DW_OK;
}

/* What the tenant grants, or of that what is chosen. */
static dw_status grant_folders(dw_runtime *runtime, const dw_spawn_options *options,
                               dw_actor_settings *settings, dw_error *err)
{
    dw_dir dirs[DW_ACTOR_DIRS_MAX];
    size_t count = 0;
    dw__folders *folders =
        dw__tenant_folders(runtime, options->tenant != NULL ? options->tenant : "");
    dw_status status = check_chosen(options, folders, err);
    for (size_t i = 0; folders != NULL && i < folders->count && status == DW_OK; i++) {
        if (is_chosen(options, folders->dirs[i].guest_path)) {
            dirs[count++] = folders->dirs[i];
        }
    }
    status = status == DW_OK ? dw_actor_settings_grant(settings, dirs, count, err) : status;
    dw__folders_unref(folders);
    return status;
}

static dw_status make_seed(dw_runtime *runtime, dw_module *module, const dw_spawn_options *options,
                           dw__seed **seed, dw_error *err)
{
    dw_actor_options actor;
    dw_instance_options instance;
    dw_limits limits;
    dw_actor_settings *settings = NULL;
    dw_status status = merge(runtime, options, &instance, &limits, &actor, err);
    if (status == DW_OK) {
        status = dw_actor_settings_create(&settings, &actor, err);
    }
    if (status == DW_OK) {
        status = grant_folders(runtime, options, settings, err);
    }
    if (status != DW_OK) {
        dw_actor_settings_unref(settings);
        return status;
    }
    status = dw__seed_create(seed, module, settings, err);
    if (status != DW_OK) {
        dw_actor_settings_unref(settings);
    }
    return status;
}

dw_status dw_runtime_check_spawn(dw_runtime *runtime, const dw_spawn_options *options,
                                 const char *const *names, size_t count, dw_error *err)
{
    dw_spawn_options own;
    dw_actor_options actor;
    dw_instance_options instance;
    dw_limits limits;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_spawn_options", err);
    const char *tenant = own.tenant != NULL ? own.tenant : "";
    if (status == DW_OK) {
        status = dw__may_spawn(runtime, &own, err);
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        const dw_model_names model = {.own = names[i]};
        status = dw_runtime_may_have_model(runtime, tenant, &model, err);
    }
    if (status == DW_OK) {
        status = merge(runtime, &own, &instance, &limits, &actor, err);
    }
    if (status == DW_OK) {
        dw__folders *folders = dw__tenant_folders(runtime, tenant);
        status = check_chosen(&own, folders, err);
        dw__folders_unref(folders);
    }
    return status;
}

dw_status dw_runtime_begin_spawn(dw_runtime *runtime, dw_module *module,
                                 const dw_spawn_options *options, char id[DW_ACTOR_ID_CHARS + 1],
                                 dw_error *err)
{
    dw_spawn_options own;
    dw__seed *seed = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_spawn_options", err);
    if (status == DW_OK && module == NULL) {
        status = dw_fail(err, DW_E_ARG, "spawn: no module");
    }
    if (status == DW_OK) {
        status = make_seed(runtime, module, &own, &seed, err);
    }
    if (status == DW_OK) {
        status = dw__spawn_from_seed(runtime, seed, NULL, &own, id, err);
    }
    dw__seed_release(seed);
    return status;
}

/* ---- importing ------------------------------------------------------------------------------- */

/* `*seed`: the module and the grants of the actor, which the tenant may have. */
static dw_status seed_of(dw_runtime *runtime, const dw_actor *actor, const char *tenant,
                         dw__seed **seed, dw_error *err)
{
    dw_actor_settings *settings = dw_actor_settings_of(actor);
    dw_status status = dw__tenant_may_have(runtime, tenant, settings->instance.models,
                                           settings->instance.model_count, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__seed_create(seed, dw_actor_module(actor), dw_actor_settings_ref(settings), err);
    if (status != DW_OK) {
        dw_actor_settings_unref(settings);
    }
    return status;
}

dw_status dw__begin_import(dw_runtime *runtime, const dw_thaw_options *thaw,
                           const dw_spawn_options *options, char id[DW_ACTOR_ID_CHARS + 1],
                           dw_error *err)
{
    const dw__host *host = dw__runtime_platform(runtime);
    const char *tenant = options->tenant != NULL ? options->tenant : "";
    dw_actor *actor = NULL;
    dw__seed *seed = NULL;
    dw_thaw_options own;
    dw_status status = dw_struct_read(&own, sizeof own, thaw, "dw_thaw_options", err);
    if (status == DW_OK) { /* what the file asks for is the tenant's to grant */
        dw__folders *folders = dw__tenant_folders(runtime, tenant);
        own.dirs = folders != NULL ? folders->dirs : NULL;
        own.dir_count = folders != NULL ? folders->count : 0;
        own.struct_bytes = sizeof own;
        own.unmapped = true; /* the file is another's, who may cut it */
        own.to_look = false; /* it is to work */
        status = dw_actor_thaw(&actor, host->engine, &own, NULL, err);
        dw__folders_unref(folders);
    }
    if (status == DW_OK) { /* whoever has the file knows what it would have drawn */
        dw_actor_renew_random(actor);
        status = seed_of(runtime, actor, tenant, &seed, err);
    }
    if (status == DW_OK) {
        status = dw__spawn_from_seed(runtime, seed, actor, options, id, err);
    }
    if (status != DW_OK) {
        dw_actor_destroy(actor);
    }
    dw__seed_release(seed);
    return status;
}
