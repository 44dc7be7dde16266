/* Ollama's routes: what their files share. */
#ifndef DW_ROUTES_OLLAMA_H
#define DW_ROUTES_OLLAMA_H

#include "serving/job.h"
#include "serving/reply.h"

/* {"error": what}. */
void dw_ollama_fail(dw_exchange *exchange, int status, const char *what);
/* Now, as "2026-01-31T10:20:30.123456Z" -> text [40]. */
void dw_ollama_now(char text[40]);
/* The chat that a request asks for; the caller's. NULL: `fault` says why. */
json_t *dw__ollama_chat(const json_t *body, dw_fault *fault);
/* How long the request's model is to stay behind its last use, by keep_alive. false: it does not
 * say, may not say so, or `fault` is set. */
bool dw__ollama_keep(dw_server *server, const dw_exchange *exchange, const json_t *body,
                     uint64_t *keep_ms, dw_fault *fault);
/* The guest's message of a request's `options`, and its logprobs. */
json_t *dw__ollama_message(const json_t *body, dw_fault *fault);

#endif
