/* Work of tens of milliseconds that has no place to pause, since it is on a stack of its own or in
 * code that knows of none: apart, on a thread of its own, while others on the caller's have their
 * turns (dw_stop_set_pause). */
#ifndef DW_BASE_APART_H
#define DW_BASE_APART_H

#include "base/stack.h"
#include "base/stop.h"

/* work(arg, err), which looks at `stop` itself; where nobody takes turns on this thread, here. What
 * it allocates is charged to whom it would be here. Thread: a guest's, where it may pause.
 * Errors: those of `work`; DW_E_MEMORY (no thread): it did not run. */
dw_status dw_apart_run(dw_stop *stop, dw_stack_work work, void *arg, dw_error *err);

#endif
