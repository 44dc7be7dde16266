/* Tools that guests call by name, each on a thread of its own, for which the guest waits.
 * Thread: the guest's. */
#ifndef DW_WASM_TOOL_CALL_H
#define DW_WASM_TOOL_CALL_H

#include "wasm/guest_instance.h"

#define DW_TOOL_NAME_MAX 63
#define DW_TOOL_ANSWER_MAX ((size_t)1 << 20)

/* Call the tool `name` of the instance's, and wait for its end: also where the guest was asked to
 * stop. `request` [bytes] stays where it is. The answer is the instance's until the next call, or
 * until the guest's call ends. Errors: DW_E_DENIED (there is no such tool), DW_E_CANCELLED,
 * DW_E_MEMORY (no thread), what the tool returned. */
dw_status dw_instance_call_tool(dw_instance *instance, const char *name, const void *request,
                                size_t bytes, dw_error *err);
/* For who stands between an actor's guest and its embedder, in on_call: who asks, borrowed; and
 * what was answered so far [*bytes]. Thread: the call's. */
void dw_tool_call_set_actor(dw_tool_call *call, const char *id);
const void *dw_tool_call_answered(const dw_tool_call *call, size_t *bytes);
/* [*bytes] of the last call; NULL: there was none that went well. */
const unsigned char *dw_instance_answer(const dw_instance *instance, size_t *bytes);
void dw_instance_drop_answer(dw_instance *instance);

#endif
