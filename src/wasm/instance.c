/* One guest: its store, what it was granted, and its memory. */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/log.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "base/stack.h"
#include "device/device_view.h"
#include "wasm/instance_internal.h"

#define CODE_BYTES_FREE ((size_t)1 << 20)
#define INSTANCES_MAX 3 /* the guest, what fibers are left through, and wasi_through.c's */

/* ---- creation --------------------------------------------------------------------------- */

static ptrdiff_t write_stdout(void *user, const unsigned char *bytes, size_t count)
{
    dw_instance *instance = user;
    return instance->on_stdout(instance->user, bytes, count);
}

static ptrdiff_t write_stderr(void *user, const unsigned char *bytes, size_t count)
{
    dw_instance *instance = user;
    return instance->on_stderr(instance->user, bytes, count);
}

/* WASI's argument lists are not const in its C interface but only read. */
static const char **wasi_list(const char *const *list)
{
    return (const char **)(uintptr_t)list;
}

/* Of a name that stands several times the last value counts; a guest would find the first. */
static dw_status set_env(wasi_config_t *wasi, const dw_instance_options *options, dw_error *err)
{
    size_t count = options->env_count;
    size_t kept = 0;
    const char **list = dw_alloc(2 * count + 1, sizeof *list);
    if (list == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the guest's environment");
    }
    for (size_t i = 0; i < count; i++) {
        size_t later = i + 1;
        while (later < count && strcmp(options->env_names[later], options->env_names[i]) != 0) {
            later++;
        }
        if (later >= count) {
            list[kept] = options->env_names[i];
            list[count + kept++] = options->env_values[i];
        }
    }
    bool good = wasi_config_set_env(wasi, kept, list, list + count);
    dw_free(list);
    return good ? DW_OK : dw_fail(err, DW_E_ARG, "an environment value is not UTF-8");
}

/* What lies in the module cache is run as the host's own code. */
static dw_status check_dir(const dw_wasm_host *host, const dw_dir *dir, dw_error *err)
{
    if (host->modules == NULL || !dir->writable ||
        !dw_module_cache_is_reached(host->modules, dir->host_path)) {
        return DW_OK;
    }
    return dw_fail(err, DW_E_DENIED,
                   "folder %.80s: through it a guest could write in the module cache %.80s: grant "
                   "it read-only, or keep the cache elsewhere",
                   dir->host_path, dw_module_cache_path(host->modules));
}

static dw_status fill_wasi(dw_instance *instance, wasi_config_t *wasi,
                           const dw_instance_options *options, dw_error *err)
{
    if (!wasi_config_set_argv(wasi, options->arg_count, wasi_list(options->args))) {
        return dw_fail(err, DW_E_ARG, "an argument is not UTF-8");
    }
    dw_status status = set_env(wasi, options, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < options->dir_count; i++) {
        const dw_dir *dir = &options->dirs[i];
        if (dir->host_path == NULL) { /* not granted: nothing is run in it */
            continue;
        }
        status = check_dir(instance->host, dir, err);
        if (status != DW_OK) {
            return status;
        }
        if (!wasi_config_preopen_dir(wasi, dir->host_path, dir->guest_path, dir->writable)) {
            return dw_fail(err, DW_E_NOT_FOUND, "%.160s: not a folder that can be granted",
                           dir->host_path);
        }
    }
    /* One that is closed now may become any file's later. */
    if (options->inherit_stdin && dw_os_is_open(STDIN_FILENO)) {
        wasi_config_inherit_stdin(wasi); /* what it is; it is read in wasi_streams.c */
        instance->reads_input = true;
    }
    if (instance->on_stdout != NULL) {
        wasi_config_set_stdout_custom(wasi, write_stdout, instance, NULL);
    } else {
        wasi_config_inherit_stdout(wasi);
    }
    if (instance->on_stderr != NULL) {
        wasi_config_set_stderr_custom(wasi, write_stderr, instance, NULL);
    } else {
        wasi_config_inherit_stderr(wasi);
    }
    return DW_OK;
}

static dw_status set_wasi(dw_instance *instance, const dw_instance_options *options, dw_error *err)
{
    wasi_config_t *wasi = wasi_config_new();
    if (wasi == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the guest's WASI");
    }
    dw_status status = fill_wasi(instance, wasi, options, err);
    if (status != DW_OK) {
        wasi_config_delete(wasi);
        return status;
    }
    wasmtime_error_t *error =
        wasmtime_context_set_wasi(wasmtime_store_context(instance->store), wasi);
    return error == NULL ? DW_OK : dw__wasm_error(err, DW_E_STATE, "WASI", error);
}

dw_status dw_instance_reset_files(dw_instance *instance, const dw_instance_options *options,
                                  dw_error *err)
{
    DW_ASSERT(!instance->calling);
    if (options->dir_count == 0 || !instance->files_changed) {
        return DW_OK;
    }
    dw_status status = set_wasi(instance, options, err);
    if (status == DW_OK) {
        for (int i = 0; i < 3; i++) {
            instance->streams[i] = i;
        }
        instance->files = 0;
        instance->files_changed = false;
    }
    return status;
}

/* Called by Wasmtime when the epoch has moved on: go on, end the guest, or, where it runs on a
 * fiber, let others run. Also called on the way out of a fiber (dw_fiber_suspend). */
static wasmtime_error_t *at_epoch(const wasmtime_context_t *context, void *user, uint64_t *delta,
                                  wasmtime_update_deadline_kind_t *kind)
{
    (void)context;
    dw_instance *instance = user;
    if (instance->profile != NULL && !instance->fiber.suspending) {
        dw__instance_sample(instance);
    }
    if (!instance->fiber.suspending && dw_stop_ends(&instance->stop)) {
        instance->ended = true;
        return wasmtime_error_new("ended");
    }
    *delta = 1;
    *kind = instance->fiber.future != NULL ? WASMTIME_UPDATE_DEADLINE_YIELD
                                           : WASMTIME_UPDATE_DEADLINE_CONTINUE;
    return NULL;
}

static dw_status name_models(dw_instance *instance, const dw_instance_options *options,
                             dw_error *err)
{
    if (options->model_names == NULL) {
        return DW_OK;
    }
    instance->model_names = dw_alloc(options->model_count, sizeof(char *));
    if (instance->model_names == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu models", options->model_count);
    }
    for (size_t i = 0; i < options->model_count; i++) {
        const char *name = options->model_names[i];
        if (name == NULL || name[0] == '\0') {
            continue;
        }
        for (const char *c = name; *c != '\0'; c++) {
            if (*c <= ' ' || *c > '~' || c - name >= DW_MODEL_NAME_MAX) {
                return dw_fail(err, DW_E_ARG,
                               "model_names[%zu]: at most %d characters of ASCII that are no "
                               "blanks are allowed",
                               i, DW_MODEL_NAME_MAX);
            }
        }
        if ((instance->model_names[i] = dw_strdup(name)) == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for %zu models", options->model_count);
        }
    }
    return DW_OK;
}

/* That of the first model takes longer to load than all else that comes before it is needed. */
static void begin_vocab(const dw_instance *instance)
{
    const dw_vocab *vocab = instance->model_count > 0 ? dw_model_vocab(instance->models[0]) : NULL;
    if (vocab != NULL && !dw_vocab_loaded(vocab) && dw_module_uses_vocab(instance->module)) {
        dw_vocab_begin(vocab);
    }
}

static dw_status grant_models(dw_instance *instance, const dw_instance_options *options,
                              dw_error *err)
{
    if (options->model_count == 0) {
        return DW_OK;
    }
    instance->models = dw_alloc(options->model_count, sizeof(dw_model *));
    if (instance->models == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu models", options->model_count);
    }
    for (size_t i = 0; i < options->model_count; i++) {
        instance->models[i] = dw_model_ref(options->models[i]);
        instance->model_count++;
    }
    begin_vocab(instance);
    return name_models(instance, options, err);
}

static dw_status choose_template(dw_instance *instance, const char *chosen, dw_error *err)
{
    dw_status status = DW_OK;
    if (chosen == NULL || instance->model_count == 0) {
        return DW_OK;
    }
    instance->chats = dw_alloc(instance->model_count, sizeof(dw_chats *));
    if (instance->chats == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu models", instance->model_count);
    }
    for (size_t i = 0; status == DW_OK && i < instance->model_count; i++) {
        status = dw_chats_by(&instance->chats[i], dw_model_chats(instance->models[i]), chosen, err);
    }
    return status;
}

static dw_status make_store(dw_instance *instance, const dw_instance_options *options,
                            dw_error *err)
{
    const dw_limits *limits = &instance->limits;
    uint64_t limit =
        limits->memory_bytes < limits->linear_bytes ? limits->memory_bytes : limits->linear_bytes;
    if (instance->module->memory_bytes_min > limit) {
        return dw_fail(
            err, DW_E_LIMIT, "the guest starts with %llu bytes of memory, limit %llu (%s)",
            (unsigned long long)instance->module->memory_bytes_min, (unsigned long long)limit,
            limit == limits->memory_bytes ? "memory_bytes" : "linear_bytes");
    }
    instance->store = wasmtime_store_new(instance->host->engine, instance, NULL);
    if (instance->store == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a guest");
    }
    wasmtime_store_limiter(instance->store, (int64_t)limit, (int64_t)limits->table_elements,
                           INSTANCES_MAX, (int64_t)limits->tables, (int64_t)limits->memories);
    wasmtime_store_epoch_deadline_callback(instance->store, at_epoch, instance, NULL);
    wasmtime_context_set_epoch_deadline(wasmtime_store_context(instance->store), 1);
    return set_wasi(instance, options, err);
}

typedef struct start_call {
    dw_instance *instance;
    const wasmtime_instance_pre_t *linked;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
} start_call;

static dw_status start_here(void *arg, dw_error *err)
{
    start_call *c = arg;
    (void)err;
    dw_account_forget(c->instance->account);
    dw_account_scope before = dw_account_enter(c->instance->account, DW_PART_LINEAR);
    c->error = wasmtime_instance_pre_instantiate(
        c->linked, wasmtime_store_context(c->instance->store), &c->instance->instance, &c->trap);
    dw_account_leave(before);
    return DW_OK;
}

/* With the module's start function, which is the guest's. */
static dw_status start(dw_instance *instance, bool for_actor, dw_error *err)
{
    const dw_module *module = instance->module;
    int exit_code = 0;
    start_call call = {.instance = instance,
                       .linked = for_actor && module->actor_linked != NULL ? module->actor_linked
                                                                           : module->linked};
    dw__instance_enter(instance, false);
    dw_stop_run(&instance->stop);
    dw_status status = dw_stack_run_apart(start_here, &call, err);
    dw__instance_leave(instance);
    if (status != DW_OK) {
        return status;
    }
    bool failed = call.error != NULL || call.trap != NULL;
    status = dw__instance_outcome(instance, call.error, call.trap, &exit_code, err);
    return status == DW_OK && failed
               ? dw_fail(err, DW_E_TRAP, "the guest left with code %d before it began", exit_code)
               : status;
}

/* Nobody is asked when a table grows, so it counts as what it may grow to. Wasmtime's vectors
 * double when they do. */
static dw_status charge_tables(dw_instance *instance, dw_error *err)
{
    const dw_wasm_needs *needs = &instance->module->needs;
    const dw_limits *limits = &instance->limits;
    uint64_t bytes = 0;
    if (needs->memory_count > limits->memories) {
        return dw_fail(err, DW_E_LIMIT, "the module has %u memories, limit %llu",
                       needs->memory_count, (unsigned long long)limits->memories);
    }
    if (needs->table_count > limits->tables) {
        return dw_fail(err, DW_E_LIMIT, "the module has %u tables, limit %llu", needs->table_count,
                       (unsigned long long)limits->tables);
    }
    size_t count = needs->known ? needs->table_count : limits->tables;
    for (size_t i = 0; i < count; i++) {
        const dw_wasm_table_size unknown = {.most = UINT64_MAX};
        const dw_wasm_table_size *size = needs->known ? &needs->tables[i] : &unknown;
        uint64_t most = size->most < limits->table_elements ? size->most : limits->table_elements;
        if (size->least > limits->table_elements) {
            return dw_fail(err, DW_E_LIMIT, "table %zu: %llu elements, limit %llu (table_elements)",
                           i, (unsigned long long)size->least,
                           (unsigned long long)limits->table_elements);
        }
        bytes += most * sizeof(void *) * (size->least < size->most ? 2 : 1);
    }
    dw_status status = dw_account_charge(instance->account, DW_PART_TABLES, bytes, err);
    instance->tables_bytes = status == DW_OK ? bytes : 0;
    return status;
}

/* Its code, of which the first MiB is what any guest costs. Others may use the same module. */
static dw_status charge_module(dw_instance *instance, dw_error *err)
{
    void *start = NULL;
    void *end = NULL;
    wasmtime_module_image_range(instance->module->module, &start, &end);
    size_t bytes = (size_t)((const char *)end - (const char *)start);
    bytes = bytes > CODE_BYTES_FREE ? bytes - CODE_BYTES_FREE : 0;
    dw_status status = dw_account_charge(instance->account, DW_PART_CODE, bytes, err);
    instance->code_bytes = status == DW_OK ? bytes : 0;
    return status == DW_OK ? charge_tables(instance, err) : status;
}

static dw_status instantiate(dw_instance *instance, bool for_actor, dw_error *err)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    dw_status status = start(instance, for_actor, err);
    if (status != DW_OK) { /* its memories may be more than it may have */
        return dw_account_refused(instance->account, err) ? DW_E_LIMIT : status;
    }
    wasmtime_extern_t item;
    if (wasmtime_instance_export_get(context, &instance->instance, "memory", strlen("memory"),
                                     &item)) {
        DW_ASSERT(item.kind == WASMTIME_EXTERN_MEMORY); /* dw_module_compile has seen to it */
        instance->region = dw_wasm_memories_find(instance->host->memories,
                                                 wasmtime_memory_data(context, &item.of.memory));
        wasmtime_extern_delete(&item);
    }
    DW_ASSERT(instance->region != NULL);
    return DW_OK;
}

/* A WASI reactor begins with `_initialize`. */
dw_status dw_instance_initialize(dw_instance *instance, dw_error *err)
{
    wasmtime_extern_t item;
    int exit_code = 0;
    if (!wasmtime_instance_export_get(wasmtime_store_context(instance->store), &instance->instance,
                                      "_initialize", strlen("_initialize"), &item)) {
        return DW_OK;
    }
    wasmtime_extern_delete(&item);
    dw_status status = dw_instance_call_export(instance, "_initialize", NULL, &exit_code, err);
    return status == DW_OK && instance->left
               ? dw_fail(err, DW_E_TRAP, "the guest left with code %d before it began", exit_code)
               : status;
}

/* Members of the options that bound the same as limits do were there before these. */
dw_status dw_instance_limits_of(dw_limits *limits, const dw_instance_options *options,
                                dw_error *err)
{
    dw_status status = dw_limits_take(limits, options->limits, err);
    if (status != DW_OK) {
        return status;
    }
    const struct {
        uint64_t value;
        uint64_t *to;
    } members[] = {
        {options->memory_bytes_max, &limits->memory_bytes},
        {options->context_tokens_max, &limits->context_tokens},
        {options->context_count_max, &limits->contexts},
        {options->timeout_ms, &limits->timeout_ms},
        {options->cpu_timeout_ms, &limits->cpu_timeout_ms},
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (members[i].value != 0) {
            *members[i].to = members[i].value;
        }
    }
    dw_limits_fill(limits, &dw_limits_usual);
    return DW_OK;
}

static dw_status take_limits(dw_instance *instance, const dw_instance_options *options,
                             dw_error *err)
{
    const dw_limits *limits = &instance->limits;
    dw_status status = dw_instance_limits_of(&instance->limits, options, err);
    if (status == DW_OK && limits->fuel != DW_LIMIT_NONE && !instance->host->counts_fuel) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "fuel: a limit of %llu instructions, which this engine does not count "
                       "(dw_engine_options.counts_fuel)",
                       (unsigned long long)limits->fuel);
    }
    return status;
}

static dw_status create(dw_instance **out, dw_module *module, const dw_instance_options *options,
                        bool for_actor, dw_error *err)
{
    dw_instance_options own;
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_instance_options", err);
    if (status != DW_OK) {
        return status;
    }
    options = &own;
    if ((unsigned)options->kv_type > DW_KV_F32) {
        return dw_fail(err, DW_E_ARG, "kv_type: %d, from %d to %d is allowed",
                       (int)options->kv_type, (int)DW_KV_F16, (int)DW_KV_F32);
    }
    dw_instance *instance = dw_alloc(1, sizeof *instance);
    if (instance == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a guest");
    }
    instance->module = dw_module_ref(module);
    instance->host = module->host;
    instance->kv_type = options->kv_type;
    instance->on_stdout = options->on_stdout;
    instance->on_stderr = options->on_stderr;
    instance->on_input = options->on_input;
    instance->on_progress = options->on_progress;
    instance->on_call = options->on_call;
    instance->on_trace = options->on_trace;
    instance->trace_user = options->trace_user;
    instance->user = options->user;
    instance->import_user = options->user;
    for (int i = 0; i < 3; i++) {
        instance->streams[i] = i;
    }
    status = take_limits(instance, options, err);
    if (status == DW_OK) {
        dw_handle_table_init(&instance->handles, instance->limits.handles);
        status = grant_models(instance, options, err);
    }
    if (status == DW_OK) {
        status = choose_template(instance, options->chat_template, err);
    }
    if (status == DW_OK) {
        status = dw_account_create(&instance->account, &instance->limits, err);
    }
    if (status == DW_OK) {
        status = charge_module(instance, err);
    }
    if (status == DW_OK) {
        status = make_store(instance, options, err);
    }
    if (status == DW_OK) {
        status = instantiate(instance, for_actor, err);
    }
    if (status != DW_OK) {
        dw_instance_destroy(instance);
        return status;
    }
    *out = instance;
    return DW_OK;
}

dw_status dw_instance_create_bare(dw_instance **out, dw_module *module,
                                  const dw_instance_options *options, dw_error *err)
{
    return create(out, module, options, true, err);
}

dw_status dw_instance_create(dw_instance **out, dw_module *module,
                             const dw_instance_options *options, dw_error *err)
{
    dw_instance *instance = NULL;
    *out = NULL;
    dw_status status = create(&instance, module, options, false, err);
    if (status == DW_OK) {
        status = dw_instance_initialize(instance, err);
    }
    if (status != DW_OK) {
        dw_instance_destroy(instance);
        return status;
    }
    *out = instance;
    return DW_OK;
}

void dw_instance_destroy(dw_instance *instance)
{
    if (instance == NULL) {
        return;
    }
    /* Its stack would be torn from under it, and from under the device. */
    if (instance->calling || dw_callback_under_way()) {
        dw_log(DW_LOG_ERROR, "dw_instance_destroy: the guest runs: it stays");
        return;
    }
    dw__instance_destroy_handles(instance);
    dw_free(instance->through);
    dw_free(instance->functions);
    dw__instance_forget_backtrace(instance);
    dw__instance_drop_profile(instance);
    dw_device_view_destroy(instance->view); /* before the pages go with the store */
    if (instance->store != NULL) {
        wasmtime_store_delete(instance->store);
    }
    for (size_t i = 0; instance->chats != NULL && i < instance->model_count; i++) {
        dw_chats_close(instance->chats[i]);
    }
    dw_free(instance->chats);
    for (size_t i = 0; i < instance->model_count; i++) {
        dw_model_unref(instance->models[i]);
        dw_free(instance->model_names != NULL ? instance->model_names[i] : NULL);
    }
    dw_free(instance->model_names);
    dw_free(instance->models);
    dw_free(instance->prefix_scope);
    dw_context_grants_unref(instance->contexts);
    dw_module_unref(instance->module);
    dw_free(instance->room);
    dw_account_give(instance->account, DW_PART_CODE, instance->code_bytes);
    dw_account_give(instance->account, DW_PART_TABLES, instance->tables_bytes);
    dw_account_unref(instance->account);
    dw_free(instance);
}

dw_status dw_instance_share_prefixes(dw_instance *instance, const char *scope, dw_error *err)
{
    char *copy = NULL;
    if (scope != NULL && (copy = dw_strdup(scope)) == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to share prefixes");
    }
    dw_free(instance->prefix_scope);
    instance->prefix_scope = copy;
    for (size_t slot = 0; slot < instance->handles.capacity; slot++) {
        dw_context *context = dw_handle_at(&instance->handles, DW_HANDLE_CONTEXT, slot);
        dw_status status =
            context != NULL
                ? dw_context_share_prefixes(context, instance->host->prefixes, scope, err)
                : DW_OK;
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

dw_status dw_instance_keep_prefixes(dw_instance *instance, unsigned flags, dw_error *err)
{
    if ((flags & ~(unsigned)(DW_PREFIX_PUBLIC | DW_PREFIX_PINNED)) != 0) {
        return dw_fail(err, DW_E_ARG, "prefixes: flags %#x, known are %#x", flags,
                       DW_PREFIX_PUBLIC | DW_PREFIX_PINNED);
    }
    if (instance->prefix_scope == NULL) {
        return dw_fail(err, DW_E_STATE, "prefixes: the guest shares none");
    }
    for (size_t slot = 0; slot < instance->handles.capacity; slot++) {
        dw_context *context = dw_handle_at(&instance->handles, DW_HANDLE_CONTEXT, slot);
        dw_status status = context != NULL ? dw_prefix_cache_keep(context, flags, err) : DW_OK;
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

dw_status dw_instance_share_prefixes_of(dw_instance *instance, dw_context *context, dw_error *err)
{
    return dw_context_share_prefixes(context, instance->host->prefixes, instance->prefix_scope,
                                     err);
}

const char *dw_instance_prefix_scope(const dw_instance *instance)
{
    return instance->prefix_scope;
}

void *dw_instance_memory(dw_instance *instance)
{
    return dw_region_base(instance->region);
}

size_t dw_instance_memory_bytes(const dw_instance *instance)
{
    return dw_region_committed_bytes(instance->region);
}

dw_status dw_instance_get_stats(const dw_instance *instance, dw_instance_stats *stats)
{
    const dw_counters *counters = &instance->counters;
    dw_instance_stats own = {
        .prompt_tokens = atomic_load(&counters->prompt_tokens),
        .prompt_ns = atomic_load(&counters->prompt_ns),
        .found_tokens = atomic_load(&counters->found_tokens),
        .generated_tokens = dw_counters_generated(counters),
        .decoded_tokens = atomic_load(&counters->decoded_tokens),
        .decode_ns = atomic_load(&counters->decode_ns),
        .device_placed_bytes = atomic_load(&counters->device_placed_bytes),
        .host_calls = atomic_load(&counters->host_calls),
        .graph_runs = atomic_load(&counters->graph_runs),
        .guest_ns = atomic_load(&counters->guest_ns),
        .device_ns = atomic_load(&counters->device_ns),
    };
    uint64_t left = 0;
    if (instance->host->counts_fuel &&
        wasmtime_context_get_fuel(wasmtime_store_context(instance->store), &left) == NULL) {
        own.fuel = instance->limits.fuel - left;
    }
    if (instance->view != NULL) {
        own.device_staged_bytes = dw_device_view_staged_bytes(instance->view);
    }
    return dw_struct_fill(stats, &own, sizeof own, "dw_instance_stats");
}

const char *dw_instance_staging(const dw_instance *instance)
{
    if (instance->view == NULL || strcmp(dw_device_view_kind(instance->view), "staged") != 0) {
        return NULL;
    }
    const char *why = dw_device_view_why_staged(instance->view);
    return why[0] != '\0' ? why : "it was asked for";
}
