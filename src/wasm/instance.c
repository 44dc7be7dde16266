/* One guest: its store, its memory, its handles, and calls into it. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "wasm/instance_internal.h"

/* Most handles that a guest may have open, of all kinds together. */
#define HANDLES_MAX 4096
#define CONTEXT_COUNT_DEFAULT 16
#define TABLE_ELEMENTS_MAX 1000000
#define TABLES_MAX 16
#define MEMORIES_MAX 16
#define INSTANCES_MAX 2 /* the guest, and what fibers are left through */

/* ---- what host functions ask ------------------------------------------------------------ */

static void find_memory(dw_instance *instance, wasmtime_caller_t *caller)
{
    wasmtime_extern_t item;
    if (!wasmtime_caller_export_get(caller, "memory", strlen("memory"), &item)) {
        return;
    }
    if (item.kind == WASMTIME_EXTERN_MEMORY) {
        wasmtime_context_t *context = wasmtime_caller_context(caller);
        instance->region = dw_wasm_memories_find(instance->host->memories,
                                                 wasmtime_memory_data(context, &item.of.memory));
    }
    wasmtime_extern_delete(&item);
}

dw_instance *dw_instance_of(wasmtime_caller_t *caller)
{
    dw_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    dw_count(&instance->counters.host_calls, 1);
    if (instance->region == NULL) {
        find_memory(instance, caller); /* called from the module's start function */
    }
    return instance;
}

dw_status dw_instance_range(dw_instance *instance, const char *what, uint32_t pointer,
                            uint64_t count, size_t item_bytes, size_t align_bytes, void **out,
                            dw_error *err)
{
    *out = NULL;
    if (count == 0) {
        return DW_OK;
    }
    size_t memory_bytes =
        instance->region != NULL ? dw_region_committed_bytes(instance->region) : 0;
    uint64_t bytes;
    uint64_t end;
    if (!dw_mul_u64(&bytes, count, item_bytes) || !dw_add_u64(&end, pointer, bytes) ||
        end > memory_bytes) {
        return dw_fail(err, DW_E_RANGE, "%s: %llu items of %zu bytes at %u: memory has %zu bytes",
                       what, (unsigned long long)count, item_bytes, pointer, memory_bytes);
    }
    if ((pointer & (align_bytes - 1)) != 0) {
        return dw_fail(err, DW_E_ALIGN, "%s: %u is not a multiple of %zu", what, pointer,
                       align_bytes);
    }
    *out = (unsigned char *)dw_region_base(instance->region) + pointer;
    return DW_OK;
}

dw_error *dw_instance_error(dw_instance *instance)
{
    return &instance->error;
}

dw_actor *dw_instance_actor(const dw_instance *instance)
{
    return instance->actor;
}

dw_handle_table *dw_instance_handles(dw_instance *instance)
{
    return &instance->handles;
}

dw_counters *dw_instance_counters(dw_instance *instance)
{
    return &instance->counters;
}

dw_device *dw_instance_device(const dw_instance *instance)
{
    return instance->host->parts.device;
}

dw_wasm_host *dw_instance_host(const dw_instance *instance)
{
    return instance->host;
}

dw_region *dw_instance_region(const dw_instance *instance)
{
    return instance->region;
}

dw_status dw_instance_view(dw_instance *instance, dw_device_view **out, dw_error *err)
{
    *out = NULL;
    if (instance->region == NULL) {
        return dw_fail(err, DW_E_STATE, "the guest has no memory yet");
    }
    dw_status status = DW_OK;
    if (instance->view == NULL) {
        status = dw_device_open_view(instance->host->parts.device, &instance->view,
                                     instance->region, err);
    } else {
        status = dw_device_view_follow(instance->view, err);
    }
    *out = status == DW_OK ? instance->view : NULL;
    return status;
}

dw_status dw_instance_model(dw_instance *instance, const char *name, dw_model **out, dw_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < instance->model_count; i++) {
        dw_model_info info;
        dw_model_get_info(instance->models[i], &info);
        if (name[0] == '\0' || strcmp(info.name, name) == 0) {
            *out = instance->models[i];
            return DW_OK;
        }
    }
    if (instance->model_count == 0) {
        return dw_fail(err, DW_E_DENIED, "model '%.60s': this guest was granted no model", name);
    }
    return dw_fail(err, DW_E_DENIED, "model '%.60s': not among the %zu granted to this guest", name,
                   instance->model_count);
}

dw_kv_type dw_instance_kv_type(const dw_instance *instance)
{
    return instance->kv_type;
}

uint32_t dw_instance_context_tokens_max(const dw_instance *instance)
{
    return instance->context_tokens_max;
}

uint32_t dw_instance_context_count_max(const dw_instance *instance)
{
    return instance->context_count_max;
}

bool dw_instance_cancelled(const dw_instance *instance)
{
    return __atomic_load_n(&instance->cancelled, __ATOMIC_RELAXED) ||
           __atomic_load_n(&instance->interrupted, __ATOMIC_RELAXED);
}

const volatile bool *dw_instance_cancel_flag(const dw_instance *instance)
{
    return &instance->cancelled;
}

void dw_instance_take_cancellation(dw_instance *instance)
{
    /* An interruption is not taken back: it ends the guest. */
    bool ending = __atomic_load_n(&instance->interrupted, __ATOMIC_RELAXED);
    __atomic_store_n(&instance->cancelled, ending, __ATOMIC_RELAXED);
}

ptrdiff_t dw_instance_input(dw_instance *instance, char *buffer, size_t capacity)
{
    return instance->on_input != NULL ? instance->on_input(instance->user, buffer, capacity) : -1;
}

void dw_instance_progress(dw_instance *instance, uint32_t done, uint32_t total)
{
    if (instance->on_progress != NULL) {
        instance->on_progress(instance->user, done, total);
    }
}

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

static dw_status fill_wasi(dw_instance *instance, wasi_config_t *wasi,
                           const dw_instance_options *options, dw_error *err)
{
    if (!wasi_config_set_argv(wasi, options->arg_count, wasi_list(options->args)) ||
        !wasi_config_set_env(wasi, options->env_count, wasi_list(options->env_names),
                             wasi_list(options->env_values))) {
        return dw_fail(err, DW_E_ARG, "an argument or environment value is not UTF-8");
    }
    for (size_t i = 0; i < options->dir_count; i++) {
        const dw_dir *dir = &options->dirs[i];
        if (!wasi_config_preopen_dir(wasi, dir->host_path, dir->guest_path, dir->writable)) {
            return dw_fail(err, DW_E_NOT_FOUND, "%.160s: not a folder that can be granted",
                           dir->host_path);
        }
    }
    if (options->inherit_stdin) {
        wasi_config_inherit_stdin(wasi);
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

bool dw__instance_must_end(dw_instance *instance)
{
    if (__atomic_load_n(&instance->interrupted, __ATOMIC_RELAXED)) {
        return true;
    }
    if (instance->deadline_ns != 0 && dw_os_clock_ns() > instance->deadline_ns) {
        instance->over_time = true;
    }
    return instance->over_time;
}

/* Called by Wasmtime when the epoch has moved on: go on, end the guest, or, where it runs on a
 * fiber, let others run. Also called on the way out of a fiber (dw_fiber_suspend). */
static wasmtime_error_t *at_epoch(const wasmtime_context_t *context, void *user, uint64_t *delta,
                                  wasmtime_update_deadline_kind_t *kind)
{
    (void)context;
    dw_instance *instance = user;
    if (!instance->fiber.suspending && dw__instance_must_end(instance)) {
        return wasmtime_error_new(instance->over_time ? "over its time" : "interrupted");
    }
    *delta = 1;
    *kind = instance->fiber.future != NULL ? WASMTIME_UPDATE_DEADLINE_YIELD
                                           : WASMTIME_UPDATE_DEADLINE_CONTINUE;
    return NULL;
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
    return DW_OK;
}

static dw_status make_store(dw_instance *instance, const dw_instance_options *options,
                            dw_error *err)
{
    uint64_t limit = options->memory_bytes_max;
    if (limit != 0 && instance->module->memory_bytes_min > limit) {
        return dw_fail(err, DW_E_LIMIT, "the guest starts with %llu bytes of memory, limit %llu",
                       (unsigned long long)instance->module->memory_bytes_min,
                       (unsigned long long)limit);
    }
    instance->store = wasmtime_store_new(instance->host->engine, instance, NULL);
    if (instance->store == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a guest");
    }
    wasmtime_store_limiter(instance->store, limit == 0 ? -1 : (int64_t)limit, TABLE_ELEMENTS_MAX,
                           INSTANCES_MAX, TABLES_MAX, MEMORIES_MAX);
    wasmtime_store_epoch_deadline_callback(instance->store, at_epoch, instance, NULL);
    wasmtime_context_set_epoch_deadline(wasmtime_store_context(instance->store), 1);
    return set_wasi(instance, options, err);
}

/* ---- calls ------------------------------------------------------------------------------ */

static const char *trap_text(wasmtime_trap_code_t code)
{
    switch (code) {
    case WASMTIME_TRAP_CODE_STACK_OVERFLOW:
        return "its call stack is exhausted";
    case WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS:
        return "it reached outside its memory";
    case WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS:
        return "it reached outside a table";
    case WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL:
        return "it called a null function";
    case WASMTIME_TRAP_CODE_BAD_SIGNATURE:
        return "it called a function of another type";
    case WASMTIME_TRAP_CODE_INTEGER_OVERFLOW:
        return "an integer overflowed";
    case WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO:
        return "it divided by zero";
    case WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER:
        return "it converted a number that no integer can hold";
    case WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED:
        return "it reached `unreachable` (an abort or a failed assertion)";
    default:
        return NULL;
    }
}

static dw_status trapped(wasm_trap_t *trap, dw_error *err)
{
    wasmtime_trap_code_t code = 0;
    const char *text = wasmtime_trap_code(trap, &code) ? trap_text(code) : NULL;
    dw_status status;
    if (text != NULL) {
        status = dw_fail(err, DW_E_TRAP, "the guest trapped: %s", text);
    } else {
        wasm_message_t message;
        wasm_trap_message(trap, &message);
        status = dw_fail(err, DW_E_TRAP, "the guest trapped: %.180s", message.data);
        wasm_byte_vec_delete(&message);
    }
    wasm_trap_delete(trap);
    return status;
}

static dw_status call_failed(dw_instance *instance, wasmtime_error_t *error, int *exit_code,
                             dw_error *err)
{
    int code = 0;
    if (wasmtime_error_exit_status(error, &code)) {
        wasmtime_error_delete(error);
        *exit_code = code;
        return DW_OK;
    }
    if (instance->over_time) {
        wasmtime_error_delete(error);
        return dw_fail(err, DW_E_LIMIT, "the guest ran longer than its %llu ms",
                       (unsigned long long)instance->timeout_ms);
    }
    if (__atomic_load_n(&instance->interrupted, __ATOMIC_RELAXED)) {
        wasmtime_error_delete(error);
        return dw_fail(err, DW_E_CANCELLED, "the guest was interrupted");
    }
    return dw__wasm_error(err, DW_E_TRAP, "the guest failed", error);
}

dw_status dw__instance_outcome(dw_instance *instance, wasmtime_error_t *error, wasm_trap_t *trap,
                               int *exit_code, dw_error *err)
{
    if (error != NULL) {
        return call_failed(instance, error, exit_code, err);
    }
    return trap != NULL ? trapped(trap, err) : DW_OK;
}

void dw__instance_enter(dw_instance *instance)
{
    instance->over_time = false;
    instance->deadline_ns = 0;
    if (instance->timeout_ms != 0) {
        instance->deadline_ns = dw_os_clock_ns() + instance->timeout_ms * UINT64_C(1000000);
    }
    wasmtime_context_set_epoch_deadline(wasmtime_store_context(instance->store), 1);
    instance->calling = true;
    dw__wasm_host_guest_enters(instance->host);
}

void dw__instance_leave(dw_instance *instance)
{
    dw__wasm_host_guest_leaves(instance->host);
    instance->calling = false;
}

dw_status dw__instance_find(dw_instance *instance, const char *name, wasmtime_func_t *function,
                            size_t *result_count, dw_error *err)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(context, &instance->instance, name, strlen(name), &item)) {
        return dw_fail(err, DW_E_NOT_FOUND, "the guest exports no function '%.80s'", name);
    }
    if (item.kind != WASMTIME_EXTERN_FUNC) {
        wasmtime_extern_delete(&item);
        return dw_fail(err, DW_E_TYPE, "the guest's export '%.80s' is no function", name);
    }
    *function = item.of.func;
    wasm_functype_t *type = wasmtime_func_type(context, function);
    const wasm_valtype_vec_t *results = wasm_functype_results(type);
    *result_count = results->size;
    bool fits = wasm_functype_params(type)->size == 0 &&
                (results->size == 0 ||
                 (results->size == 1 && wasm_valtype_kind(results->data[0]) == WASM_I32));
    wasm_functype_delete(type);
    if (!fits) {
        return dw_fail(err, DW_E_TYPE,
                       "the guest's function '%.80s' is of another type than () or () -> i32",
                       name);
    }
    return DW_OK;
}

dw_status dw__instance_call(dw_instance *instance, const char *name, int32_t *result,
                            int *exit_code, dw_error *err)
{
    wasmtime_func_t function;
    size_t result_count = 0;
    if (instance->calling) {
        return dw_fail(err, DW_E_STATE, "a call into the guest is under way");
    }
    dw_status status = dw__instance_find(instance, name, &function, &result_count, err);
    if (status != DW_OK) {
        return status;
    }
    wasmtime_val_t value = {.kind = WASMTIME_I32};
    wasm_trap_t *trap = NULL;
    dw__instance_enter(instance);
    wasmtime_error_t *error = wasmtime_func_call(wasmtime_store_context(instance->store), &function,
                                                 NULL, 0, &value, result_count, &trap);
    dw__instance_leave(instance);
    if (result != NULL) {
        *result = result_count > 0 && error == NULL && trap == NULL ? value.of.i32 : 0;
    }
    return dw__instance_outcome(instance, error, trap, exit_code, err);
}

static dw_status instantiate(dw_instance *instance, dw_error *err)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasm_trap_t *trap = NULL;
    int exit_code = 0;
    dw__instance_enter(instance);
    wasmtime_error_t *error = wasmtime_instance_pre_instantiate(instance->module->linked, context,
                                                                &instance->instance, &trap);
    dw__instance_leave(instance);
    bool failed = error != NULL || trap != NULL;
    dw_status status = dw__instance_outcome(instance, error, trap, &exit_code, err);
    if (status == DW_OK && failed) {
        status = dw_fail(err, DW_E_TRAP, "the guest left with code %d before it began", exit_code);
    }
    if (status != DW_OK) {
        return status;
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
static dw_status initialize(dw_instance *instance, dw_error *err)
{
    wasmtime_extern_t item;
    int exit_code = 0;
    if (!wasmtime_instance_export_get(wasmtime_store_context(instance->store), &instance->instance,
                                      "_initialize", strlen("_initialize"), &item)) {
        return DW_OK;
    }
    wasmtime_extern_delete(&item);
    return dw__instance_call(instance, "_initialize", NULL, &exit_code, err);
}

dw_status dw__instance_create_bare(dw_instance **out, dw_module *module,
                                   const dw_instance_options *options, dw_error *err)
{
    static const dw_instance_options defaults = {0};
    *out = NULL;
    options = options != NULL ? options : &defaults;
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
    dw_handle_table_init(&instance->handles, HANDLES_MAX);
    instance->context_tokens_max = options->context_tokens_max;
    instance->kv_type = options->kv_type;
    instance->context_count_max =
        options->context_count_max != 0 ? options->context_count_max : CONTEXT_COUNT_DEFAULT;
    instance->timeout_ms = options->timeout_ms;
    instance->on_stdout = options->on_stdout;
    instance->on_stderr = options->on_stderr;
    instance->on_input = options->on_input;
    instance->on_progress = options->on_progress;
    instance->user = options->user;
    dw_status status = grant_models(instance, options, err);
    if (status == DW_OK) {
        status = make_store(instance, options, err);
    }
    if (status == DW_OK) {
        status = instantiate(instance, err);
    }
    if (status != DW_OK) {
        dw_instance_destroy(instance);
        return status;
    }
    *out = instance;
    return DW_OK;
}

dw_status dw_instance_create(dw_instance **out, dw_module *module,
                             const dw_instance_options *options, dw_error *err)
{
    dw_instance *instance = NULL;
    *out = NULL;
    dw_status status = dw__instance_create_bare(&instance, module, options, err);
    if (status == DW_OK) {
        status = initialize(instance, err);
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
    DW_ASSERT(!instance->calling); /* its fiber would be torn from under the device */
    for (size_t i = 0; i < instance->handles.capacity; i++) {
        dw_handle_slot *slot = &instance->handles.slots[i];
        if (slot->object != NULL) {
            dw_handle_destroy_fn destroy = instance->host->parts.destroy[slot->kind];
            DW_ASSERT(destroy != NULL);
            destroy(slot->object);
        }
    }
    dw_handle_table_release(&instance->handles);
    dw_free(instance->functions);
    dw_device_view_destroy(instance->view); /* before the pages go with the store */
    if (instance->store != NULL) {
        wasmtime_store_delete(instance->store);
    }
    for (size_t i = 0; i < instance->model_count; i++) {
        dw_model_unref(instance->models[i]);
    }
    dw_free(instance->models);
    dw_module_unref(instance->module);
    dw_free(instance);
}

dw_status dw_instance_run(dw_instance *instance, int *exit_code, dw_error *err)
{
    int code = 0;
    if (instance->started) {
        return dw_fail(err, DW_E_STATE, "the guest has run already: a command runs once");
    }
    dw_status status = dw__instance_call(instance, "_start", NULL, &code, err);
    instance->started = status != DW_E_NOT_FOUND && status != DW_E_TYPE;
    if (exit_code != NULL) {
        *exit_code = code;
    }
    return status;
}

dw_status dw_instance_call(dw_instance *instance, const char *function, int32_t *result,
                           dw_error *err)
{
    int code = 0;
    dw_status status = dw__instance_call(instance, function, result, &code, err);
    if (status == DW_OK && code != 0) {
        return dw_fail(err, DW_E_TRAP, "the guest left with code %d in '%.80s'", code, function);
    }
    return status;
}

void dw_instance_cancel(dw_instance *instance)
{
    __atomic_store_n(&instance->cancelled, true, __ATOMIC_RELAXED);
}

void dw_instance_interrupt(dw_instance *instance)
{
    __atomic_store_n(&instance->interrupted, true, __ATOMIC_RELAXED);
    __atomic_store_n(&instance->cancelled, true, __ATOMIC_RELAXED);
}

void *dw_instance_memory(dw_instance *instance)
{
    return dw_region_base(instance->region);
}

size_t dw_instance_memory_bytes(const dw_instance *instance)
{
    return dw_region_committed_bytes(instance->region);
}

void dw_instance_get_stats(const dw_instance *instance, dw_instance_stats *stats)
{
    const dw_counters *counters = &instance->counters;
    uint64_t sampled = atomic_load(&counters->sampled_tokens);
    uint64_t decoded = atomic_load(&counters->decoded_tokens);
    *stats = (dw_instance_stats){
        .prompt_tokens = atomic_load(&counters->prompt_tokens),
        .prompt_ns = atomic_load(&counters->prompt_ns),
        /* A guest that samples for itself is known by its steps of one token. */
        .generated_tokens = sampled > decoded ? sampled : decoded,
        .decoded_tokens = decoded,
        .decode_ns = atomic_load(&counters->decode_ns),
        .host_copied_bytes = atomic_load(&counters->host_copied_bytes),
        .device_placed_bytes = atomic_load(&counters->device_placed_bytes),
        .host_calls = atomic_load(&counters->host_calls),
        .graph_runs = atomic_load(&counters->graph_runs),
    };
    if (instance->view != NULL) {
        stats->device_staged_bytes = dw_device_view_staged_bytes(instance->view);
    }
}

const char *dw_instance_staging(const dw_instance *instance)
{
    if (instance->view == NULL || strcmp(dw_device_view_kind(instance->view), "staged") != 0) {
        return NULL;
    }
    const char *why = dw_device_view_why_staged(instance->view);
    return why[0] != '\0' ? why : "it was asked for";
}
