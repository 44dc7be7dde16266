#include "base/callback.h"

static _Thread_local unsigned depth;

void dw_callback_enter(void)
{
    depth++;
}

void dw_callback_leave(void)
{
    DW_ASSERT(depth > 0);
    depth--;
}

bool dw_callback_under_way(void)
{
    return depth > 0;
}

dw_status dw_callback_check(dw_error *err)
{
    return depth == 0
               ? DW_OK
               : dw_fail(err, DW_E_STATE, "not from the callbacks of the log and the allocator");
}
