/* ggml ends the process where it cannot go on: at an assert, and on CUDA at every error that a
 * call answers (out of memory, a fault, a lost device). Calls that may meet one are made through a
 * guard, which turns that end into a status. Outside of a guard, and on threads of ggml's own, an
 * abort stays one: it is a bug then.
 * Thread: any; a guard is the calling thread's, and guards nest. */
#ifndef DW_BASE_GGML_GUARD_H
#define DW_BASE_GGML_GUARD_H

#include <ggml.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Call `work(user)`. Where ggml aborts in it, or throws, the call ends there; what lies between is
 * unwound, so that its locks are open again and its temporary memory is back.
 * `work` must leave nothing of its own half done: it is C, and frees nothing when it is left.
 * Errors: DW_E_MEMORY (the device has none, or the host), DW_E_DEVICE; the message is ggml's. */
dw_status dw_ggml_guarded(void (*work)(void *user), void *user, dw_error *err);

/* The same for calls that free something. ggml does that in destructors, which nothing may be
 * thrown out of: such a call is left without being unwound, and what it had not freed yet stays,
 * locked locks too.
 * Errors: likewise. */
dw_status dw_ggml_let_go(void (*work)(void *user), void *user, dw_error *err);

/* For log callbacks: what ggml says on this thread. It tells the reason for an abort in its log. */
void dw_ggml_heard(enum ggml_log_level level, const char *text);

#ifdef __cplusplus
}
#endif
#endif
