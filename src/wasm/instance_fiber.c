/* Calls into guests on fibers: stacks of their own, on which a call can wait in the middle of a
 * host function while others run.
 *
 * Wasmtime leaves a fiber where an epoch check says so, and only wasm has those. So a host function
 * that must wait calls an empty wasm function with an epoch deadline that has passed: on its way in
 * it asks at_epoch (instance.c), which answers to yield, and the whole fiber is left, host frames
 * and all. When it is resumed the empty function returns. Measured on two cores of an EPYC: 0.24 us
 * there and back, 0.36 with 256 fibers taking turns. Next to Wasmtime's async host functions this
 * allocates nothing, and asks nothing of an instance beforehand: any can be called directly or on a
 * fiber.
 *
 * Wasmtime's Rust documentation rules the call out on a fiber, since it cannot see there that what
 * the frames hold stays on one thread, nor that the stack suffices. Both are seen to here: a fiber
 * is resumed by the thread that began it (instance_fiber.h), and the empty function needs no stack
 * beyond the check that is made when it is entered. Activations above one another on one fiber are
 * something that Wasmtime saves and restores as a list. Should a version of it refuse,
 * tests/unit/test_scheduler.c notices. */
#include "wasm/instance_fiber.h"

#include <string.h>

#include "base/stack.h"
#include "wasm/wasi_internal.h"

/* (module (func (export "y"))) */
static const unsigned char yield_wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, /* magic, version */
    0x01, 0x04, 0x01, 0x60, 0x00, 0x00,             /* types: () -> () */
    0x03, 0x02, 0x01, 0x00,                         /* functions: one of that type */
    0x07, 0x05, 0x01, 0x01, 'y',  0x00, 0x00,       /* exports: y is function 0 */
    0x0a, 0x04, 0x01, 0x02, 0x00, 0x0b,             /* code: end */
};

static dw_status prepare(void *arg, dw_error *err)
{
    dw_wasm_host *host = arg;
    wasmtime_error_t *error = NULL;
    (void)pthread_mutex_lock(&host->lock);
    if (host->yield == NULL) {
        error = dw__host_compile(host, yield_wasm, sizeof yield_wasm, &host->yield);
    }
    (void)pthread_mutex_unlock(&host->lock);
    return error == NULL ? DW_OK : dw__wasm_error(err, DW_E_MEMORY, "fibers", error);
}

dw_status dw_fibers_prepare(dw_wasm_host *host, dw_error *err)
{
    return dw_stack_run(prepare, host, err);
}

void dw_fibers_set_failing(dw_wasm_host *host, bool failing)
{
    host->fibers_fail = failing;
}

/* What this store's fibers are left through; it stays as long as the store. */
static dw_status make_yield(dw_instance *instance, dw_error *err)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasmtime_instance_t holder;
    wasm_trap_t *trap = NULL;
    int exit_code = 0;
    if (instance->host->fibers_fail) {
        return dw_fail(err, DW_E_MEMORY, "fibers: failing, as a test asked");
    }
    wasmtime_error_t *error =
        wasmtime_instance_new(context, instance->host->yield, NULL, 0, &holder, &trap);
    dw_status status = dw__instance_outcome(instance, error, trap, &exit_code, err);
    if (status != DW_OK) {
        return status;
    }
    wasmtime_extern_t item;
    DW_ASSERT(wasmtime_instance_export_get(context, &holder, "y", 1, &item) &&
              item.kind == WASMTIME_EXTERN_FUNC);
    instance->fiber.yield = item.of.func;
    instance->fiber.can_yield = true;
    return DW_OK;
}

/* With `argument_count` zeros. */
static void begin(dw_instance *instance, const dw_step_runner *runner, void *user,
                  size_t argument_count)
{
    static const wasmtime_val_t zero = {.kind = WASMTIME_I32};
    dw__fiber *fiber = &instance->fiber;
    DW_ASSERT(argument_count <= 1);
    fiber->value = (wasmtime_val_t){.kind = WASMTIME_I32};
    fiber->trap = NULL;
    fiber->error = NULL;
    instance->runner = runner;
    instance->runner_user = user;
    fiber->future = wasmtime_func_call_async(wasmtime_store_context(instance->store),
                                             &fiber->function, &zero, argument_count, &fiber->value,
                                             fiber->result_count, &fiber->trap, &fiber->error);
    DW_ASSERT(fiber->future != NULL);
}

dw_status dw_fiber_begin(dw_instance *instance, const char *function, const dw_step_runner *runner,
                         void *user, dw_error *err)
{
    dw__fiber *fiber = &instance->fiber;
    bool start = strcmp(function, "_start") == 0;
    DW_ASSERT(instance->host->yield != NULL);
    if (instance->calling) {
        return dw_fail(err, DW_E_STATE, "a call into the guest is under way");
    }
    if (start && instance->started) {
        return dw_fail(err, DW_E_STATE, "the guest has run already: a command runs once");
    }
    dw_status status =
        dw__instance_find(instance, function, &fiber->function, &fiber->result_count, err);
    if (status == DW_OK && !fiber->can_yield) {
        status = make_yield(instance, err);
    }
    if (status == DW_OK && instance->module->wants_wasi && instance->through == NULL) {
        status = dw__wasi_through_make(instance, err);
    }
    if (status != DW_OK) {
        return status;
    }
    instance->started = instance->started || start;
    dw__instance_enter(instance, false);
    begin(instance, runner, user, 0);
    return DW_OK;
}

bool dw_fiber_begin_flush(dw_instance *instance, const dw_step_runner *runner, void *user)
{
    dw__fiber *fiber = &instance->fiber;
    dw__flush flush;
    DW_ASSERT(fiber->future == NULL && fiber->can_yield && !instance->calling);
    if (!dw__instance_find_flush(instance, &flush)) {
        return false;
    }
    fiber->function = flush.function;
    fiber->result_count = flush.result_count;
    dw__instance_enter(instance, true);
    begin(instance, runner, user, flush.parameter_count);
    return true;
}

bool dw_fiber_resume(dw_instance *instance)
{
    DW_ASSERT(instance->fiber.future != NULL);
    dw_stop_run(&instance->stop);
    bool through = wasmtime_call_future_poll(instance->fiber.future);
    dw_stop_rest(&instance->stop);
    return through;
}

dw_status dw_fiber_end(dw_instance *instance, int32_t *result, int *exit_code, dw_error *err)
{
    dw__fiber *fiber = &instance->fiber;
    DW_ASSERT(fiber->future != NULL && !fiber->suspending);
    wasmtime_call_future_delete(fiber->future);
    fiber->future = NULL;
    instance->runner = NULL;
    instance->runner_user = NULL;
    dw__instance_leave(instance);
    bool gave = fiber->result_count > 0 && fiber->error == NULL && fiber->trap == NULL;
    *result = gave ? fiber->value.of.i32 : 0;
    return dw__instance_outcome(instance, fiber->error, fiber->trap, exit_code, err);
}

void dw_fiber_suspend(dw_instance *instance)
{
    dw__fiber *fiber = &instance->fiber;
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasmtime_val_raw_t none;
    wasm_trap_t *trap = NULL;
    DW_ASSERT(fiber->future != NULL && !fiber->suspending);
    uint64_t fuel = dw__fuel_put_aside(instance);
    fiber->suspending = true;
    dw_account_scope payer = dw_account_pause(); /* others run on this thread meanwhile */
    wasmtime_context_set_epoch_deadline(context, 0);
    const wasmtime_error_t *error =
        wasmtime_func_call_unchecked(context, &fiber->yield, &none, 0, &trap);
    fiber->suspending = false;
    dw_account_leave(payer);
    dw__fuel_give_back(instance, fuel);
    /* It fails in a future that is deleted in the middle, which dw_fiber_end never does. */
    DW_ASSERT(error == NULL && trap == NULL);
    if (dw_stop_ends(&instance->stop)) {
        wasmtime_context_set_epoch_deadline(context, 0); /* at the guest's next loop or call */
    }
}

dw_status dw_instance_forward(dw_instance *instance, dw_context *context, const dw_step *step,
                              dw_error *err)
{
    const dw_step_runner *runner = instance->runner;
    return runner == NULL ? dw_context_forward(context, step, err)
                          : runner->forward(instance->runner_user, context, step, err);
}

void dw_instance_forward_many(dw_instance *instance, dw_batch_item *items, uint32_t count)
{
    const dw_step_runner *runner = instance->runner;
    if (runner == NULL) {
        dw_batch_forward_all(items, count);
    } else {
        runner->forward_many(instance->runner_user, items, count);
    }
}

dw_status dw_instance_compute(dw_instance *instance, dw_work_fn work, void *arg, dw_error *err)
{
    const dw_step_runner *runner = instance->runner;
    return runner == NULL ? work(arg, err) : runner->compute(instance->runner_user, work, arg, err);
}
