/* Which function a request goes to. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dashboard/dashboard.h"
#include "hosting/host.h"
#include "routes/anthropic.h"
#include "routes/ollama.h"
#include "routes/routes.h"
#include "server/openapi.h"
#include "server/server_internal.h"
#include "serving/metrics.h"
#include "serving/openai.h"
#include "serving/url.h"
#include "serving/reply.h"

typedef struct route {
    dw_http_method method;
    const char *path;
    void (*handle)(dw_server *server, dw_exchange *exchange);
} route;

static void health(dw_server *server, dw_exchange *exchange)
{
    static const char well[] = "{\"status\":\"ok\"}";
    (void)server;
    dw_exchange_answer(exchange, 200, "application/json", well, sizeof well - 1);
}

/* Requests are taken: not while it is shutting down. */
static void ready(dw_server *server, dw_exchange *exchange)
{
    if (server->leaving) {
        dw_openai_fail(exchange, 503, NULL, NULL, "the server is shutting down");
    } else {
        health(server, exchange);
    }
}

static void models(dw_server *server, dw_exchange *exchange)
{
    dw_openai_models(server, exchange, NULL);
}

static void metrics(dw_server *server, dw_exchange *exchange)
{
    dw_metrics_show(server, exchange, dw_host_held_bytes(server->host));
}

static const route routes[] = {
    {DW_HTTP_GET, "/health", health},
    {DW_HTTP_GET, "/v1/health", health},
    {DW_HTTP_GET, "/ready", ready},
    {DW_HTTP_GET, "/openapi.json", dw__openapi_show},
    {DW_HTTP_GET, "/metrics", metrics},
    {DW_HTTP_GET, "/v1/models", models},
    {DW_HTTP_GET, "/models", models},
    {DW_HTTP_POST, "/models/load", dw_models_load},
    {DW_HTTP_POST, "/models/unload", dw_models_unload},
    {DW_HTTP_POST, "/v1/chat/completions", dw_openai_chat},
    {DW_HTTP_POST, "/chat/completions", dw_openai_chat},
    {DW_HTTP_POST, "/v1/completions", dw_openai_completions},
    {DW_HTTP_POST, "/v1/embeddings", dw_openai_embeddings},
    {DW_HTTP_POST, "/embeddings", dw_openai_embeddings},
    {DW_HTTP_POST, "/v1/responses", dw_responses_create},
    {DW_HTTP_POST, "/responses", dw_responses_create},
    {DW_HTTP_POST, "/v1/conversations", dw_conversations_create},
    {DW_HTTP_POST, "/v1/messages", dw_anthropic_messages},
    {DW_HTTP_POST, "/v1/messages/count_tokens", dw_anthropic_count_tokens},
    {DW_HTTP_GET, "/v1/links", dw_links_show},
    {DW_HTTP_POST, "/tokenize", dw_tokenize},
    {DW_HTTP_POST, "/detokenize", dw_detokenize},
    {DW_HTTP_POST, "/apply-template", dw_apply_template},
    {DW_HTTP_POST, "/completion", dw_llama_completion},
    {DW_HTTP_POST, "/completions", dw_llama_completion},
    {DW_HTTP_GET, "/props", dw_llama_props},
    {DW_HTTP_GET, "/slots", dw_llama_slots},
    {DW_HTTP_GET, "/lora-adapters", dw_llama_adapters},
    {DW_HTTP_POST, "/lora-adapters", dw_llama_set_adapters},
    {DW_HTTP_POST, "/api/chat", dw_ollama_chat_route},
    {DW_HTTP_POST, "/api/generate", dw_ollama_generate},
    {DW_HTTP_POST, "/api/embed", dw_ollama_embed},
    {DW_HTTP_POST, "/api/embeddings", dw_ollama_embeddings},
    {DW_HTTP_GET, "/api/tags", dw_ollama_tags},
    {DW_HTTP_GET, "/api/ps", dw_ollama_ps},
    {DW_HTTP_POST, "/api/show", dw_ollama_show},
    {DW_HTTP_GET, "/api/version", dw_ollama_version},
    {DW_HTTP_DELETE, "/api/delete", dw_ollama_refuse},
    {DW_HTTP_POST, "/api/pull", dw_ollama_pull},
    {DW_HTTP_POST, "/api/push", dw_ollama_refuse},
    {DW_HTTP_POST, "/api/copy", dw_ollama_refuse},
    {DW_HTTP_POST, "/api/create", dw_ollama_refuse},
};

/* Routes of which the path goes on: with an id, and what is to be done with it. */
typedef struct long_route {
    const char *path;
    void (*handle)(dw_server *server, dw_exchange *exchange, const char *rest);
} long_route;

static const long_route long_routes[] = {
    {"/v1/responses/", dw_responses_one},
    {"/responses/", dw_responses_one},
    {"/v1/conversations/", dw_conversations_one},
    {"/v1/streams/", dw_streams_one},
};

bool dw__route_at(size_t index, dw__route_about *about)
{
    const size_t plain = sizeof routes / sizeof routes[0];
    const size_t open = sizeof long_routes / sizeof long_routes[0];
    *about = (dw__route_about){.method = DW_HTTP_OTHER, .path = "/v1/models/"};
    if (index < plain) {
        about->method = routes[index].method;
        about->path = routes[index].path;
        about->takes = routes[index].handle == metrics ? DW_GIVES_TEXT : 0;
    } else if (index < plain + open) {
        about->path = long_routes[index - plain].path;
    } else if (index > plain + open) {
        const dw_route_row *row = dw_host_row(index - plain - open - 1);
        if (row == NULL) {
            return false;
        }
        *about = (dw__route_about){.method = row->method, .path = row->path, .takes = row->takes};
    }
    return true;
}

void dw__count_answer(void *user, const dw_exchange *exchange, int status)
{
    const dw_server *server = user;
    const char *label = dw_exchange_label(exchange);
    dw_metrics_request(server->metrics, label != NULL ? label : "none", status);
}

/* Answers stay between this server and who asked: no page of another site reads them. */
static void set_headers(dw_exchange *exchange)
{
    dw_exchange_set_header(exchange, "X-Content-Type-Options", "nosniff");
    dw_exchange_set_header(exchange, "Cache-Control", "no-store");
}

/* To anybody: it holds nothing of the server's. */
static void send_file(dw_exchange *exchange, const dw_dashboard_file *file)
{
    dw_exchange_set_header(exchange, "Content-Security-Policy", dw_dashboard_policy);
    dw_exchange_set_header(exchange, "Referrer-Policy", "no-referrer");
    dw_exchange_answer(exchange, 200, file->type, file->bytes, file->count);
}

/* What browsers alone ask, and what no page of another site may. false: it waits for an answer. */
static bool answer_browser(dw_server *server, dw_exchange *exchange)
{
    const char *fault = dw_origin_fault(&server->origins, exchange);
    dw_http_method method = dw_exchange_method(exchange);
    const dw_dashboard_file *file = dw_dashboard_find(dw_exchange_path(exchange));
    if (fault != NULL) {
        dw_openai_fail(exchange, 403, NULL, "origin", fault);
        return true;
    }
    dw_origin_headers(&server->origins, exchange);
    if (method == DW_HTTP_OPTIONS && dw_exchange_header(exchange, "origin") != NULL) {
        dw_exchange_answer(exchange, 200, "text/plain", "", 0); /* before a page's own request */
        return true;
    }
    if (file != NULL && (method == DW_HTTP_GET || method == DW_HTTP_HEAD)) {
        send_file(exchange, file);
        return true;
    }
    return false;
}

/* What a load balancer asks, without a key. */
static bool is_open_to_all(const char *path)
{
    return strcmp(path, "/health") == 0 || strcmp(path, "/v1/health") == 0 ||
           strcmp(path, "/ready") == 0;
}

/* Of those who may ask nothing, not even what a body may be. */
bool dw__takes_body(void *user, const dw_exchange *exchange)
{
    const dw_server *server = user;
    return dw_tenant_of(server, exchange) != NULL &&
           dw_origin_fault(&server->origins, exchange) == NULL;
}

static void refuse(dw_exchange *exchange, const char *path, int status, const char *code,
                   const char *what)
{
    static const char messages[] = "/v1/messages";
    static const char ollama[] = "/api/";
    if (strncmp(path, messages, sizeof messages - 1) == 0) {
        dw_anthropic_fail(exchange, status, what);
    } else if (strncmp(path, ollama, sizeof ollama - 1) == 0) {
        dw_ollama_fail(exchange, status, what);
    } else {
        dw_openai_fail(exchange, status, NULL, code, what);
    }
}

/* ---- limits of keys ------------------------------------------------------------------------- */

static void tell_room(dw_exchange *exchange, const char *of, const dw_key_room *room)
{
    char name[64];
    char value[40];
    if (room->limit == 0) {
        return;
    }
    const unsigned long long values[] = {room->limit, room->left};
    static const char *const openai[] = {"x-ratelimit-limit-", "x-ratelimit-remaining-"};
    static const char *const anthropic[] = {"-limit", "-remaining"};
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(value, sizeof value, "%llu", values[i]);
        (void)snprintf(name, sizeof name, "%s%s", openai[i], of);
        dw_exchange_set_header(exchange, name, value);
        (void)snprintf(name, sizeof name, "anthropic-ratelimit-%s%s", of, anthropic[i]);
        dw_exchange_set_header(exchange, name, value);
    }
    (void)snprintf(name, sizeof name, "x-ratelimit-reset-%s", of);
    (void)snprintf(value, sizeof value, "%llums", (unsigned long long)room->full_ms);
    dw_exchange_set_header(exchange, name, value);
    time_t full = time(NULL) + (time_t)((room->full_ms + 999) / 1000);
    struct tm parts;
    (void)gmtime_r(&full, &parts);
    (void)strftime(value, sizeof value, "%Y-%m-%dT%H:%M:%SZ", &parts);
    (void)snprintf(name, sizeof name, "anthropic-ratelimit-%s-reset", of);
    dw_exchange_set_header(exchange, name, value);
}

/* Whether the key may ask for more now; false: the client was told when. */
static bool has_room(dw_server *server, dw_exchange *exchange, const char *path)
{
    char wait[24];
    char what[128];
    dw_key_room requests;
    dw_key_room tokens;
    size_t index = dw_keys_find(server->keys, exchange);
    bool admitted = dw_keys_admit(server->keys, index, uv_now(&server->loop), &requests, &tokens);
    tell_room(exchange, "requests", &requests);
    tell_room(exchange, "tokens", &tokens);
    if (admitted) {
        return true;
    }
    bool of_tokens = tokens.wait_ms > requests.wait_ms;
    uint64_t ms = of_tokens ? tokens.wait_ms : requests.wait_ms;
    (void)snprintf(wait, sizeof wait, "%llu", (unsigned long long)(ms + 999) / 1000);
    dw_exchange_set_header(exchange, "Retry-After", wait);
    (void)snprintf(what, sizeof what,
                   "%llu %s a minute, the key's limit, are used up; in %s s again",
                   (unsigned long long)(of_tokens ? tokens.limit : requests.limit),
                   of_tokens ? "tokens" : "requests", wait);
    refuse(exchange, path, 429, "rate_limit_exceeded", what);
    return false;
}

/* Where a request goes. */
typedef struct target {
    const char *form; /* of its path; NULL: there is no such route */
    const route *plain;
    const long_route *open;
    const dw_route_row *row;
    const char *rest; /* of an open one's path */
    bool is_model;
    bool of_host; /* row NULL: it has no such method */
} target;

static target find_plain(const char *path, dw_http_method method)
{
    target found = {.form = NULL};
    for (size_t i = 0; i < sizeof routes / sizeof routes[0] && found.plain == NULL; i++) {
        if (strcmp(routes[i].path, path) == 0) {
            found.form = routes[i].path;
            found.plain = routes[i].method == method ? &routes[i] : NULL;
        }
    }
    return found;
}

static target find_open(const char *path, dw_http_method method)
{
    static const char one_model[] = "/v1/models/";
    if (strncmp(path, one_model, sizeof one_model - 1) == 0 && method == DW_HTTP_GET) {
        return (target){.form = one_model, .is_model = true, .rest = path + sizeof one_model - 1};
    }
    for (size_t i = 0; i < sizeof long_routes / sizeof long_routes[0]; i++) {
        size_t length = strlen(long_routes[i].path);
        if (strncmp(path, long_routes[i].path, length) == 0) {
            return (target){
                .form = long_routes[i].path, .open = &long_routes[i], .rest = path + length};
        }
    }
    return (target){.form = NULL};
}

static target find_target(const dw_exchange *exchange)
{
    const char *path = dw_exchange_path(exchange);
    dw_http_method method = dw_exchange_method(exchange);
    method = method == DW_HTTP_HEAD ? DW_HTTP_GET : method;
    target found = find_plain(path, method);
    if (found.form == NULL) {
        found = find_open(path, method);
    }
    if (found.form == NULL) {
        found.row = dw_host_find(exchange, &found.form);
        found.of_host = found.form != NULL;
    }
    return found;
}

static void show_model(dw_server *server, dw_exchange *exchange, const char *rest)
{
    char name[512];
    const char *why = dw_percent_decode(rest, strlen(rest), name, sizeof name);
    if (why != NULL) {
        dw_openai_fail(exchange, 404, "model", "model_not_found",
                       "there is no model of that name: it cannot be decoded, or is too long");
        return;
    }
    dw_openai_models(server, exchange, name);
}

static void hand_over(dw_server *server, dw_exchange *exchange, const target *to)
{
    if (to->plain != NULL) {
        to->plain->handle(server, exchange);
    } else if (to->is_model) {
        show_model(server, exchange, to->rest);
    } else if (to->open != NULL) {
        to->open->handle(server, exchange, to->rest);
    } else if (to->of_host) {
        dw_host_handle(server, exchange, to->row);
    } else if (to->form != NULL) {
        dw_exchange_set_header(exchange, "Allow", "GET, HEAD, POST");
        refuse(exchange, dw_exchange_path(exchange), 405, NULL, "this route has no such method");
    } else {
        refuse(exchange, dw_exchange_path(exchange), 404, "unknown_url", "there is no such route");
    }
}

void dw__route(void *user, dw_exchange *exchange)
{
    dw_server *server = user;
    const char *path = dw_exchange_path(exchange);
    target to = find_target(exchange);
    server->requests++;
    dw_exchange_set_label(exchange, to.form);
    set_headers(exchange);
    if (answer_browser(server, exchange)) {
        return;
    }
    if (!is_open_to_all(path) && dw_tenant_of(server, exchange) == NULL) {
        refuse(exchange, path, 401, "invalid_api_key", "the key is missing, or none that is known");
        return;
    }
    if (dw_exchange_method(exchange) != DW_HTTP_POST || has_room(server, exchange, path)) {
        hand_over(server, exchange, &to);
    }
}
