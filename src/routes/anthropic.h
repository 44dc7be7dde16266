/* Anthropic's routes: what their files share. */
#ifndef DW_ROUTES_ANTHROPIC_H
#define DW_ROUTES_ANTHROPIC_H

#include "serving/job.h"

/* The request's chat as dw_chat_render reads it; the caller's. NULL: `fault` says why. */
json_t *dw_anthropic_chat(const json_t *body, dw_fault *fault);
/* {"type": "error", "error": {"type", "message"}}; the caller's. */
json_t *dw_anthropic_error(int status, const char *what);
void dw_anthropic_fail(dw_exchange *exchange, int status, const char *what);

#endif
