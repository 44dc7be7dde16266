/* Inside of src/api: dw_session over a context that is somebody else's. */
#ifndef DW_API_SESSION_H
#define DW_API_SESSION_H

#include "inference/context.h"

/* `context` outlives the session. Errors: those of dw_session_create. */
dw_status dw_session_borrow(dw_session **out, dw_context *context, dw_error *err);

#endif
