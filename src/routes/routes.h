/* Requests as the makers of clients have them: each answers its exchange, now or later.
 * Thread: the loop's. */
#ifndef DW_ROUTES_ROUTES_H
#define DW_ROUTES_ROUTES_H

#include "serving/serving.h"

void dw_openai_chat(dw_server *server, dw_exchange *exchange);
void dw_openai_embeddings(dw_server *server, dw_exchange *exchange);
void dw_anthropic_messages(dw_server *server, dw_exchange *exchange);
void dw_anthropic_count_tokens(dw_server *server, dw_exchange *exchange);
void dw_links_show(dw_server *server, dw_exchange *exchange);
void dw_tokenize(dw_server *server, dw_exchange *exchange);
void dw_detokenize(dw_server *server, dw_exchange *exchange);
void dw_apply_template(dw_server *server, dw_exchange *exchange);
void dw_openai_completions(dw_server *server, dw_exchange *exchange);
void dw_responses_create(dw_server *server, dw_exchange *exchange);
/* `rest`: behind the route's '/'. */
void dw_responses_one(dw_server *server, dw_exchange *exchange, const char *rest);
void dw_conversations_create(dw_server *server, dw_exchange *exchange);
void dw_conversations_one(dw_server *server, dw_exchange *exchange, const char *rest);
void dw_llama_completion(dw_server *server, dw_exchange *exchange);
void dw_llama_props(dw_server *server, dw_exchange *exchange);
void dw_llama_slots(dw_server *server, dw_exchange *exchange);
void dw_llama_adapters(dw_server *server, dw_exchange *exchange);
void dw_llama_set_adapters(dw_server *server, dw_exchange *exchange);
/* A model begins to be loaded; is unloaded once nobody uses it. */
void dw_models_load(dw_server *server, dw_exchange *exchange);
void dw_models_unload(dw_server *server, dw_exchange *exchange);
void dw_ollama_chat_route(dw_server *server, dw_exchange *exchange);
void dw_ollama_generate(dw_server *server, dw_exchange *exchange);
void dw_ollama_embed(dw_server *server, dw_exchange *exchange);
void dw_ollama_embeddings(dw_server *server, dw_exchange *exchange);
void dw_ollama_tags(dw_server *server, dw_exchange *exchange);
void dw_ollama_ps(dw_server *server, dw_exchange *exchange);
void dw_ollama_show(dw_server *server, dw_exchange *exchange);
void dw_ollama_version(dw_server *server, dw_exchange *exchange);
/* What Ollama does with models by their names, and this does not. */
void dw_ollama_pull(dw_server *server, dw_exchange *exchange);
void dw_ollama_refuse(dw_server *server, dw_exchange *exchange);

/* ---- links.c ---- */

/* `guest`: doctor_chain.wasm's path, copied; NULL: nobody can ask. Errors: DW_E_MEMORY. */
dw_status dw_links_create(dw_links **out, const char *guest, dw_error *err);
/* Once the loop has ended. NULL: nothing. */
void dw_links_destroy(dw_links *links);

#endif
