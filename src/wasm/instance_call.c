/* Calls into a guest, each on a stack of its own, and their results. */
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "base/stack.h"
#include "wasm/instance_internal.h"
#include "wasm/tool_call.h"

/* Why `stop` has ended the guest. */
static dw_status ended(const dw_instance *instance, dw_error *err)
{
    switch (instance->stop.reached) {
    case DW_STOP_TIME:
        return dw_fail(err, DW_E_LIMIT, "the guest ran longer than its %llu ms",
                       (unsigned long long)instance->limits.timeout_ms);
    case DW_STOP_PROCESSOR_TIME:
        return dw_fail(err, DW_E_LIMIT, "the guest took more than its %llu ms of processor time",
                       (unsigned long long)instance->limits.cpu_timeout_ms);
    default:
        return dw_fail(err, DW_E_CANCELLED, "the guest was interrupted");
    }
}

wasm_trap_t *dw_instance_end_call(dw_instance *instance)
{
    static const char reason[] = "ended";
    if (!dw_stop_ends(&instance->stop)) {
        return NULL;
    }
    instance->ended = true;
    return wasmtime_trap_new(reason, sizeof reason - 1);
}

wasm_trap_t *dw_instance_failed_call(dw_instance *instance, int64_t status)
{
    if (status == DW_E_CANCELLED) {
        return dw_instance_end_call(instance);
    }
    bool refused = status == DW_E_LIMIT || status == DW_E_BUSY || status == DW_E_DENIED;
    if (refused && instance->on_refused != NULL) {
        instance->on_refused(instance->on_refused_user, &instance->error);
    }
    return NULL;
}

void dw_instance_set_on_refused(dw_instance *instance,
                                void (*on_refused)(void *user, const dw_error *error), void *user)
{
    instance->on_refused = on_refused;
    instance->on_refused_user = user;
}

/* A guest leaves by a trap, which no code of its own can catch; dw__instance_outcome takes it for
 * what it is. */
static wasm_trap_t *proc_exit(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                              size_t count)
{
    static const char reason[] = "it left";
    dw_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    (void)env;
    (void)count;
    instance->left = true;
    instance->exit_code = values[0].i32;
    return wasmtime_trap_new(reason, sizeof reason - 1);
}

dw_status dw__define_proc_exit(wasmtime_linker_t *linker, bool traces, dw_error *err)
{
    static const char module[] = "wasi_snapshot_preview1";
    static const char name[] = "proc_exit";
    static dw_host_import told = {name, "i:", proc_exit};
    wasm_functype_t *type = dw__function_type("i:");
    wasmtime_linker_allow_shadowing(linker, true);
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        linker, module, sizeof module - 1, name, sizeof name - 1, type,
        traces ? dw__traced_call : proc_exit, traces ? &told : NULL, NULL);
    wasmtime_linker_allow_shadowing(linker, false);
    wasm_functype_delete(type);
    return error == NULL ? DW_OK : dw__wasm_error(err, DW_E_STATE, name, error);
}

static void drop(wasmtime_error_t *error, wasm_trap_t *trap)
{
    if (error != NULL) {
        wasmtime_error_delete(error);
    }
    if (trap != NULL) {
        wasm_trap_delete(trap);
    }
}

dw_status dw__instance_outcome(dw_instance *instance, wasmtime_error_t *error, wasm_trap_t *trap,
                               int *exit_code, dw_error *err)
{
    bool failed = error != NULL || trap != NULL;
    if (failed && instance->left) {
        drop(error, trap);
        *exit_code = instance->exit_code;
        return DW_OK;
    }
    if (failed && instance->ended) {
        drop(error, trap);
        return ended(instance, err);
    }
    if (failed && instance->import_error.code != DW_OK) {
        /* An own import made the guest trap. Wasmtime has its message between a backtrace's
         * lines. */
        drop(error, trap);
        return dw_fail(err, DW_E_TRAP, "the guest trapped: %s", instance->import_error.message);
    }
    if (error != NULL) {
        return dw__wasm_error(err, DW_E_TRAP, "the guest failed", error);
    }
    return trap != NULL ? dw__instance_trapped(instance, trap, err) : DW_OK;
}

/* 0 where there is no limit. Where it cannot be told in nanoseconds, it is 584 years. */
static uint64_t ns_of_ms(uint64_t ms)
{
    if (ms == DW_LIMIT_NONE) {
        return 0;
    }
    return ms < UINT64_MAX / 1000000 ? ms * 1000000 : UINT64_MAX;
}

uint64_t dw__fuel_put_aside(dw_instance *instance)
{
    uint64_t left = 0;
    if (instance->host->counts_fuel) {
        wasmtime_context_t *context = wasmtime_store_context(instance->store);
        DW_ASSERT(wasmtime_context_get_fuel(context, &left) == NULL);
        DW_ASSERT(wasmtime_context_set_fuel(context, UINT64_MAX) == NULL);
    }
    return left;
}

void dw__fuel_give_back(dw_instance *instance, uint64_t fuel)
{
    if (instance->host->counts_fuel) {
        DW_ASSERT(wasmtime_context_set_fuel(wasmtime_store_context(instance->store), fuel) == NULL);
    }
}

void dw__instance_enter(dw_instance *instance, bool goes_on)
{
    const dw_stop_limits limits = {.time_ns = ns_of_ms(instance->limits.timeout_ms),
                                   .processor_ns = ns_of_ms(instance->limits.cpu_timeout_ms)};
    dw__instance_forget_backtrace(instance);
    instance->ended = false;
    instance->left = false;
    instance->import_error.code = DW_OK;
    if (!goes_on) {
        dw_stop_begin(&instance->stop, &limits);
        dw__fuel_give_back(instance, instance->limits.fuel);
    }
    uint64_t turns = dw_stop_was_interrupted(&instance->stop) ? 0 : 1; /* 0: it ends at once */
    wasmtime_context_set_epoch_deadline(wasmtime_store_context(instance->store), turns);
    instance->calling = true;
    dw__wasm_host_guest_enters(instance->host);
}

void dw__instance_leave(dw_instance *instance)
{
    dw_stop_rest(&instance->stop);
    dw__instance_drop_generations(instance);
    dw__instance_drop_trees(instance);
    dw_instance_drop_answer(instance);
    dw__wasm_host_guest_leaves(instance->host);
    instance->calling = false;
}

/* "i32, f64", cut where it is longer. */
static void write_types(char *text, size_t capacity, const wasm_valtype_vec_t *types)
{
    static const char *const names[] = {
        [WASM_I32] = "i32", [WASM_I64] = "i64", [WASM_F32] = "f32", [WASM_F64] = "f64"};
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < types->size && used < capacity; i++) {
        wasm_valkind_t kind = wasm_valtype_kind(types->data[i]);
        int length = snprintf(text + used, capacity - used, "%s%s", i > 0 ? ", " : "",
                              kind <= WASM_F64 ? names[kind] : "ref");
        used += length > 0 ? (size_t)length : 0;
    }
}

dw_status dw__check_callable(const wasm_functype_t *type, const char *name, dw_error *err)
{
    char parameters[48];
    char gives[48];
    const wasm_valtype_vec_t *results = wasm_functype_results(type);
    if (wasm_functype_params(type)->size == 0 &&
        (results->size == 0 ||
         (results->size == 1 && wasm_valtype_kind(results->data[0]) == WASM_I32))) {
        return DW_OK;
    }
    write_types(parameters, sizeof parameters, wasm_functype_params(type));
    write_types(gives, sizeof gives, results);
    return dw_fail(
        err, DW_E_TYPE, "the guest's function '%.80s' is (%s) -> %s%s%s, () or () -> i32 is needed",
        name, parameters, results->size == 1 ? "" : "(", gives, results->size == 1 ? "" : ")");
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
    dw_status status = dw__check_callable(type, name, err);
    wasm_functype_delete(type);
    return status;
}

typedef struct guest_call {
    wasmtime_context_t *context;
    const wasmtime_func_t *function;
    const wasmtime_val_t *args;
    size_t arg_count;
    wasmtime_val_t *result; /* [result_count] */
    size_t result_count;
    bool goes_on; /* in the time of the call before */
    wasm_trap_t *trap;
    wasmtime_error_t *error;
} guest_call;

static dw_status call_here(void *arg, dw_error *err)
{
    guest_call *c = arg;
    (void)err;
    c->error = wasmtime_func_call(c->context, c->function, c->args, c->arg_count, c->result,
                                  c->result_count, &c->trap);
    return DW_OK;
}

/* A stack of its own each, so that a guest is as deep as max_wasm_stack says on every thread, and
 * from under another guest's import as well. */
static dw_status call_guest(dw_instance *instance, guest_call *c, dw_error *err)
{
    c->context = wasmtime_store_context(instance->store);
    dw__instance_enter(instance, c->goes_on);
    dw_stop_run(&instance->stop);
    dw_status status = dw_stack_run_apart(call_here, c, err);
    dw__instance_leave(instance);
    return status;
}

dw_status dw_instance_call_export(dw_instance *instance, const char *name, int32_t *result,
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
    guest_call call = {.function = &function, .result = &value, .result_count = result_count};
    status = call_guest(instance, &call, err);
    if (status != DW_OK) {
        return status;
    }
    if (result != NULL) {
        *result = result_count > 0 && call.error == NULL && call.trap == NULL ? value.of.i32 : 0;
    }
    return dw__instance_outcome(instance, call.error, call.trap, exit_code, err);
}

/* An export that flushes: () -> () like __stdio_exit, or (i32) -> i32 like fflush. */
static bool find_flush(dw_instance *instance, const char *name, wasmtime_func_t *function,
                       size_t *parameter_count, size_t *result_count)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(context, &instance->instance, name, strlen(name), &item)) {
        return false;
    }
    if (item.kind != WASMTIME_EXTERN_FUNC) {
        wasmtime_extern_delete(&item);
        return false;
    }
    *function = item.of.func;
    wasm_functype_t *type = wasmtime_func_type(context, function);
    const wasm_valtype_vec_t *parameters = wasm_functype_params(type);
    *parameter_count = parameters->size;
    const wasm_valtype_vec_t *results = wasm_functype_results(type);
    *result_count = results->size;
    bool fits = *parameter_count == *result_count && *result_count <= 1;
    for (size_t i = 0; fits && i < *result_count; i++) {
        fits = wasm_valtype_kind(parameters->data[i]) == WASM_I32 &&
               wasm_valtype_kind(results->data[i]) == WASM_I32;
    }
    wasm_functype_delete(type);
    return fits;
}

bool dw__instance_find_flush(dw_instance *instance, dw__flush *flush)
{
    static const char *const names[] = {DW_WASM_FLUSH_EXPORT, "fflush"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++) {
        found = find_flush(instance, names[i], &flush->function, &flush->parameter_count,
                           &flush->result_count);
    }
    return found;
}

dw_status dw_instance_flush(dw_instance *instance, dw_error *err)
{
    dw__flush flush;
    int exit_code = 0;
    if (!dw__instance_find_flush(instance, &flush)) {
        return DW_OK;
    }
    const wasmtime_val_t all = {.kind = WASMTIME_I32}; /* NULL: of every stream */
    wasmtime_val_t result = {.kind = WASMTIME_I32};
    guest_call call = {.function = &flush.function,
                       .args = &all,
                       .arg_count = flush.parameter_count,
                       .result = &result,
                       .result_count = flush.result_count,
                       .goes_on = true};
    dw_status status = call_guest(instance, &call, err);
    if (status == DW_OK) {
        status = dw__instance_outcome(instance, call.error, call.trap, &exit_code, err);
    }
    return status == DW_OK && instance->left
               ? dw_fail(err, DW_E_TRAP, "the guest left with code %d while it flushed", exit_code)
               : status;
}

dw_status dw_instance_run(dw_instance *instance, int *exit_code, dw_error *err)
{
    int code = 0;
    if (instance->started) {
        return dw_fail(err, DW_E_STATE, "the guest has run already: a command runs once");
    }
    dw_status status = dw_instance_call_export(instance, "_start", NULL, &code, err);
    if (status != DW_E_NOT_FOUND && status != DW_E_TYPE && status != DW_E_STATE) {
        instance->started = true;
    }
    if (exit_code != NULL) {
        *exit_code = code;
    }
    return status;
}

dw_status dw_instance_call(dw_instance *instance, const char *function, int32_t *result,
                           dw_error *err)
{
    int code = 0;
    dw_status status = dw_instance_call_export(instance, function, result, &code, err);
    if (status == DW_OK && code != 0) {
        return dw_fail(err, DW_E_TRAP, "the guest left with code %d in '%.80s'", code, function);
    }
    return status;
}

bool dw_instance_has_left(const dw_instance *instance)
{
    return instance->left;
}

void dw_instance_cancel(dw_instance *instance)
{
    dw_stop_cancel(&instance->stop);
}

void dw_instance_interrupt(dw_instance *instance)
{
    dw_stop_interrupt(&instance->stop);
}
