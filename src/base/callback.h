/* The embedder's callbacks that must not call Driftwood: the log's and the allocator's, which are
 * called in the middle of anything, with locks held. What would wait there, or change an object, is
 * refused. Thread: any; each is in its own. */
#ifndef DW_BASE_CALLBACK_H
#define DW_BASE_CALLBACK_H

#include "base/status.h"

/* Around a call of such a callback. */
void dw_callback_enter(void);
void dw_callback_leave(void);
/* Whether this thread is in one. */
bool dw_callback_under_way(void);
/* Errors: DW_E_STATE (this thread is in one). */
dw_status dw_callback_check(dw_error *err);

#endif
