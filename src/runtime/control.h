/* A local socket at which other programs of the same user may look at a runtime: `driftwood top`.
 * One line in asks, one line of JSON answers: docs/seeing.md. A thread of its own serves it; who
 * asks slowly or does not read holds nobody up.
 * Private to src/runtime. Thread: one at a time. */
#ifndef DW_RUNTIME_CONTROL_H
#define DW_RUNTIME_CONTROL_H

#include "base/status.h"

typedef struct dw__control dw__control;

/* At `path`, for its user alone; what is left there of a process that has ended goes. Errors:
 * DW_E_LIMIT (the path is too long for a socket), DW_E_STATE (somebody answers there), DW_E_ARG
 * (something else is there), DW_E_IO, DW_E_MEMORY. */
dw_status dw__control_open(dw__control **out, dw_runtime *runtime, const char *path, dw_error *err);
/* Who is connected is left. NULL is fine. */
void dw__control_close(dw__control *control);

#endif
