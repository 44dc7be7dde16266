/* Calls into a guest on the caller's stack, and their results. */
#include <string.h>

#include "base/os.h"
#include "wasm/instance_internal.h"

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

/* An own import made the guest trap. Wasmtime has its message between a backtrace's lines. */
static dw_status import_failed(const dw_instance *instance, wasmtime_error_t *error,
                               wasm_trap_t *trap, dw_error *err)
{
    if (error != NULL) {
        wasmtime_error_delete(error);
    }
    if (trap != NULL) {
        wasm_trap_delete(trap);
    }
    return dw_fail(err, DW_E_TRAP, "the guest trapped: %s", instance->import_error.message);
}

dw_status dw__instance_outcome(dw_instance *instance, wasmtime_error_t *error, wasm_trap_t *trap,
                               int *exit_code, dw_error *err)
{
    if ((error != NULL || trap != NULL) && instance->import_error.code != DW_OK) {
        return import_failed(instance, error, trap, err);
    }
    if (error != NULL) {
        return call_failed(instance, error, exit_code, err);
    }
    return trap != NULL ? trapped(trap, err) : DW_OK;
}

void dw__instance_enter(dw_instance *instance)
{
    instance->over_time = false;
    instance->import_error.code = DW_OK;
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

void dw_instance_cancel(dw_instance *instance)
{
    __atomic_store_n(&instance->cancelled, true, __ATOMIC_RELAXED);
}

void dw_instance_interrupt(dw_instance *instance)
{
    __atomic_store_n(&instance->interrupted, true, __ATOMIC_RELAXED);
    __atomic_store_n(&instance->cancelled, true, __ATOMIC_RELAXED);
}
