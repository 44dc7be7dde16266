/* OpenAI's routes: what their files share. */
#ifndef DW_SERVING_OPENAI_H
#define DW_SERVING_OPENAI_H

#include "serving/params.h"

/* What went wrong as a text of JSON, whatever bytes it quotes; the caller's. */
json_t *dw_message_json(const char *what);
/* {"error": {"message", "type", "param", "code"}}; the caller's. */
json_t *dw_openai_error(int status, const char *param, const char *code, const char *what);
void dw_openai_fault(dw_exchange *exchange, const dw_fault *fault);
/* `prefix` and the random bytes as hexadecimal digits -> id [capacity]. */
#define DW_ID_RANDOM_BYTES 12
void dw_make_id(char *id, size_t capacity, const char *prefix);
/* Answer with `body`, which is released. */
void dw_send_json(dw_exchange *exchange, int status, json_t *body);

/* /v1/models; `name`: one of them, or NULL. */
void dw_openai_models(dw_server *server, dw_exchange *exchange, const char *name);

#endif
