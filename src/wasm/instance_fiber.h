/* Calls into guests on fibers: on a stack of their own, so that they can be left in the middle of a
 * host function and gone on with. Thread: all of one call on one. */
#ifndef DW_WASM_INSTANCE_FIBER_H
#define DW_WASM_INSTANCE_FIBER_H

#include "wasm/guest_instance.h"

/* Once a host, before the first of the calls below. Errors: DW_E_MEMORY. Thread: any. */
dw_status dw_fibers_prepare(dw_wasm_host *host, dw_error *err);
/* Begin a call of an exported function of type () -> i32 or () -> (); nothing of it runs yet. Until
 * dw_fiber_end, `runner` carries out its work. Errors: DW_E_NOT_FOUND, DW_E_TYPE, DW_E_STATE (a
 * call is under way; `_start` has run). */
dw_status dw_fiber_begin(dw_instance *instance, const char *function, const dw_step_runner *runner,
                         void *user, dw_error *err);
/* The same behind a call that has ended, in its time: let the guest's C library write what its
 * buffers hold. False: it is not known how, and nothing has begun. */
bool dw_fiber_begin_flush(dw_instance *instance, const dw_step_runner *runner, void *user);
/* Let it run until it waits, has used up its time slice (false), or is through (true). */
bool dw_fiber_resume(dw_instance *instance);
/* The result of a call that has ended, as dw_instance_run has it. `result` is 0 if it gave none. */
dw_status dw_fiber_end(dw_instance *instance, int32_t *result, int *exit_code, dw_error *err);
/* From under a host function: leave the fiber; returns when it is resumed. */
void dw_fiber_suspend(dw_instance *instance);

/* For tests: while `failing`, an instance's first call on a fiber fails with DW_E_MEMORY. */
void dw_fibers_set_failing(dw_wasm_host *host, bool failing);

#endif
