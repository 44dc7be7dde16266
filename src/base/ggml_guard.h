/* ggml ends the process where it cannot go on: at an assert, and on CUDA at every error that a
 * call answers (out of memory, a fault, a lost device). Calls that may meet one are made through a
 * guard, which turns the abort into a status. Outside of a guard, and on ggml's own threads, an
 * abort still ends the process.
 * Thread: any; a guard is the calling thread's, and guards nest. */
#ifndef DW_BASE_GGML_GUARD_H
#define DW_BASE_GGML_GUARD_H

#include <ggml.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Call `work(user)`. Where ggml aborts in it, or throws, the call returns at once. The frames in
 * between are unwound, which releases ggml's locks and temporary memory.
 * `work` is C, in which unwinding frees nothing: it must leave nothing of its own half done.
 * Errors: DW_E_MEMORY (the device has none, or the host), DW_E_DEVICE; the message is ggml's. */
dw_status dw_ggml_guarded(void (*work)(void *user), void *user, dw_error *err);

/* The same on the stack that the caller is on: for threads that have a deeper one than ours. */
dw_status dw_ggml_guarded_here(void (*work)(void *user), void *user, dw_error *err);

/* The same for calls that free something. ggml does that in destructors, out of which nothing
 * may be thrown: such a call is aborted without being unwound. What it had not freed yet leaks;
 * locks that it held stay locked.
 * Errors: likewise. */
dw_status dw_ggml_let_go(void (*work)(void *user), void *user, dw_error *err);

/* For log callbacks: note a line that ggml logs on this thread, if it is an error. ggml logs the
 * reason for an abort before it aborts. */
void dw_ggml_note_error(enum ggml_log_level level, const char *text);

#ifdef __cplusplus
}
#endif
#endif
