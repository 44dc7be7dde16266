/* Stacks of our own: work that runs on one is as deep as it is on any thread, whatever the caller's
 * thread has. The thread stays the same, with its thread-local storage, locks and signal mask; a
 * call returns where it was made, as if nothing but the stack pointer had changed.
 *
 * A stack is address space of which only what was touched takes memory, behind a guard page. Those
 * that are not in use are kept for the next call. Thread: any. */
#ifndef DW_BASE_STACK_H
#define DW_BASE_STACK_H

#include "base/status.h"

#define DW_STACK_BYTES ((size_t)8 << 20)
/* What work that is not a guest's needs at most: where as much is left of one of our stacks, it
 * goes on there. tests/unit/test_stack.c measures it. */
#define DW_STACK_NEED_BYTES ((size_t)3 << 20)

#ifdef __cplusplus
extern "C" {
#endif

typedef dw_status (*dw_stack_work)(void *arg, dw_error *err);

/* work(arg, err), on one of our stacks: the present one if it is such and enough is left of it,
 * else another. No exception may leave it. Errors: those of `work`; and where it did not run
 * DW_E_MEMORY (no stack), DW_E_STATE (dw_callback_check). */
dw_status dw_stack_run(dw_stack_work work, void *arg, dw_error *err);
/* The same, always on another stack, so that it is equally deep wherever it is called from. */
dw_status dw_stack_run_apart(dw_stack_work work, void *arg, dw_error *err);
/* For work that must be done: where there is no stack for it, on the caller's. */
void dw_stack_run_surely(void (*work)(void *arg), void *arg);

/* Stacks that wait to be used again. */
size_t dw_stack_kept_count(void);
/* For tests: while `failing`, there is no stack to be had. */
void dw_stack_set_failing(bool failing);

/* Call work(arg) with the stack pointer at `top`, a multiple of 16; `low` is the lowest byte that
 * it may use. src/base/os_stack.c, for stack.c alone. */
void dw_os_call_on_stack(void *low, void *top, void (*work)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
