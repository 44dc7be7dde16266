/* Anthropic's /v1/messages and /v1/messages/count_tokens. */
#include "server/anthropic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/events.h"
#include "server/turn.h"

#define PING_MS 10000

/* What kind of block is open in a stream. */
typedef enum block_kind { BLOCK_NONE, BLOCK_THINKING, BLOCK_TEXT } block_kind;

typedef struct answer {
    dw_server *server;
    dw_exchange *exchange; /* NULL: nobody is there any more */
    dw_turn *turn;
    uv_timer_t timer;
    bool streams;
    bool begun;
    bool paused;
    char id[48];
    char *model;
    block_kind open;
    int index; /* of the block that is open, or comes next */
    uint32_t prompt_tokens;
    uint32_t cached_tokens;
    uint32_t tokens;
    const char *reason; /* static */
    char *stop;         /* the stop sequence that it met */
    char *message;      /* the whole answer, as OpenAI's has it: JSON */
} answer;

/* ---- beginnings and ends --------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *timer)
{
    answer *a = timer->data;
    dw_free(a->model);
    dw_free(a->stop);
    dw_free(a->message);
    dw_free(a);
}

static void release(answer *a)
{
    uv_close((uv_handle_t *)&a->timer, on_timer_closed);
}

static void on_gone(void *owner)
{
    answer *a = owner;
    a->exchange = NULL;
    if (a->turn != NULL) {
        dw_turn_leave(a->turn);
    }
    release(a);
}

static void on_taken(void *owner)
{
    answer *a = owner;
    if (a->paused && dw_events_caught_up(a->exchange)) {
        a->paused = false;
        dw_turn_pause(a->turn, false);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static void put(answer *a, json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    if (dw_events_put(a->exchange, &a->begun, type, event) && !a->paused && a->turn != NULL) {
        a->paused = true;
        dw_turn_pause(a->turn, true);
    }
}

static void on_timer(uv_timer_t *timer)
{
    answer *a = timer->data;
    if (a->exchange != NULL && a->streams && a->begun) {
        put(a, json_pack("{s:s}", "type", "ping"));
    }
}

static json_t *usage_json(const answer *a)
{
    return json_pack("{s:i, s:i, s:i, s:i}", "input_tokens",
                     (int)(a->prompt_tokens - a->cached_tokens), "cache_creation_input_tokens", 0,
                     "cache_read_input_tokens", (int)a->cached_tokens, "output_tokens",
                     (int)a->tokens);
}

static json_t *message_json(const answer *a, json_t *content)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s?, s:s?, s:o}", "id", a->id, "type", "message",
                     "role", "assistant", "model", a->model, "content", content, "stop_reason",
                     a->reason, "stop_sequence", a->stop, "usage", usage_json(a));
}

static void end_block(answer *a)
{
    if (a->open == BLOCK_NONE) {
        return;
    }
    if (a->open == BLOCK_THINKING) {
        put(a, json_pack("{s:s, s:i, s:{s:s, s:s}}", "type", "content_block_delta", "index",
                         a->index, "delta", "type", "signature_delta", "signature", ""));
    }
    put(a, json_pack("{s:s, s:i}", "type", "content_block_stop", "index", a->index));
    a->open = BLOCK_NONE;
    a->index++;
}

static void begin_block(answer *a, block_kind kind)
{
    if (a->open == kind) {
        return;
    }
    end_block(a);
    a->open = kind;
    json_t *block = kind == BLOCK_TEXT ? json_pack("{s:s, s:s}", "type", "text", "text", "")
                                       : json_pack("{s:s, s:s, s:s}", "type", "thinking",
                                                   "thinking", "", "signature", "");
    put(a, json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index", a->index,
                     "content_block", block));
}

static void put_text(answer *a, block_kind kind, const json_t *text)
{
    if (json_string_length(text) == 0) {
        return;
    }
    bool is_text = kind == BLOCK_TEXT;
    begin_block(a, kind);
    put(a, json_pack("{s:s, s:i, s:{s:s, s:O}}", "type", "content_block_delta", "index", a->index,
                     "delta", "type", is_text ? "text_delta" : "thinking_delta",
                     is_text ? "text" : "thinking", text));
}

/* A call is whole when it comes. */
static void put_call(answer *a, const json_t *call)
{
    const json_t *function = json_object_get(call, "function");
    end_block(a);
    put(a,
        json_pack("{s:s, s:i, s:{s:s, s:O?, s:O?, s:{}}}", "type", "content_block_start", "index",
                  a->index, "content_block", "type", "tool_use", "id", json_object_get(call, "id"),
                  "name", json_object_get(function, "name"), "input"));
    put(a, json_pack("{s:s, s:i, s:{s:s, s:O?}}", "type", "content_block_delta", "index", a->index,
                     "delta", "type", "input_json_delta", "partial_json",
                     json_object_get(function, "arguments")));
    put(a, json_pack("{s:s, s:i}", "type", "content_block_stop", "index", a->index));
    a->index++;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static json_t *content_json(const answer *a)
{
    json_t *message = json_loads(a->message != NULL ? a->message : "{}", 0, NULL);
    json_t *content = json_array();
    const json_t *text = json_object_get(message, "content");
    const json_t *thinking = json_object_get(message, "reasoning_content");
    const json_t *calls = json_object_get(message, "tool_calls");
    if (json_string_length(thinking) > 0) {
        (void)json_array_append_new(content, json_pack("{s:s, s:O, s:s}", "type", "thinking",
                                                       "thinking", thinking, "signature", ""));
    }
    if (json_string_length(text) > 0) {
        (void)json_array_append_new(content, json_pack("{s:s, s:O}", "type", "text", "text", text));
    }
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *function = json_object_get(call, "function");
        const char *arguments = json_string_value(json_object_get(function, "arguments"));
        json_t *input = json_loads(arguments != NULL ? arguments : "{}", 0, NULL);
        (void)json_array_append_new(content, json_pack("{s:s, s:O?, s:O?, s:o}", "type", "tool_use",
                                                       "id", json_object_get(call, "id"), "name",
                                                       json_object_get(function, "name"), "input",
                                                       input != NULL ? input : json_object()));
    }
    json_decref(message);
    return content;
}

/* ---- what the turn tells --------------------------------------------------------------------- */

static void on_begin(void *user, uint32_t prompt_tokens, uint32_t cached_tokens)
{
    answer *a = user;
    a->prompt_tokens = prompt_tokens;
    a->cached_tokens = cached_tokens;
    if (a->streams) {
        put(a, json_pack("{s:s, s:o}", "type", "message_start", "message",
                         message_json(a, json_array())));
    }
}

static void on_piece(void *user, uint32_t choice, const char *delta, const char *text, size_t bytes,
                     json_t *logprobs)
{
    answer *a = user;
    (void)choice;
    (void)text;
    (void)bytes;
    (void)logprobs;
    json_t *piece = a->streams && delta != NULL ? json_loads(delta, 0, NULL) : NULL;
    const json_t *calls = json_object_get(piece, "tool_calls");
    put_text(a, BLOCK_THINKING, json_object_get(piece, "reasoning_content"));
    put_text(a, BLOCK_TEXT, json_object_get(piece, "content"));
    for (size_t i = 0; i < json_array_size(calls); i++) {
        put_call(a, json_array_get(calls, i));
    }
    json_decref(piece);
}

static void on_choice_end(void *user, uint32_t choice, const char *reason, const char *stop,
                          const char *message, uint32_t tokens)
{
    answer *a = user;
    (void)choice;
    a->tokens = tokens;
    a->stop = stop != NULL ? dw_strdup(stop) : NULL;
    a->message = message != NULL ? dw_strdup(message) : NULL;
    a->reason = strcmp(reason, "length") == 0       ? "max_tokens"
                : strcmp(reason, "tool_calls") == 0 ? "tool_use"
                : stop != NULL                      ? "stop_sequence"
                                                    : "end_turn";
    if (a->streams) {
        end_block(a);
    }
}

static void on_end(void *user, dw_status status, const dw_error *error)
{
    answer *a = user;
    a->turn = NULL;
    if (a->exchange == NULL) {
        return;
    }
    dw_exchange_watch(a->exchange, NULL, NULL, NULL);
    if (status != DW_OK && !a->begun) {
        dw_anthropic_fail(a->exchange, dw__http_status(status), error->message);
    } else if (status != DW_OK) {
        put(a, dw_anthropic_error(dw__http_status(status), error->message));
        dw_exchange_end(a->exchange);
    } else if (a->streams) {
        put(a,
            json_pack("{s:s, s:{s:s?, s:s?}, s:o}", "type", "message_delta", "delta", "stop_reason",
                      a->reason, "stop_sequence", a->stop, "usage", usage_json(a)));
        put(a, json_pack("{s:s}", "type", "message_stop"));
        dw_exchange_end(a->exchange);
    } else {
        dw__send_json(a->exchange, 200, message_json(a, content_json(a)));
    }
    a->exchange = NULL;
    release(a);
}

static const dw_turn_ops turn_ops = {
    .on_begin = on_begin,
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .on_end = on_end,
};

/* ---- /v1/messages ---------------------------------------------------------------------------- */

static json_t *read_generation(const json_t *body, dw_fault *fault)
{
    json_t *message = json_object();
    json_t *sampled = json_object();
    static const char *const kept[] = {"temperature", "top_p", "top_k"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (dw_params_has(body, kept[i])) {
            (void)json_object_set(sampled, kept[i], json_object_get(body, kept[i]));
        }
    }
    if (dw_params_has(body, "stop_sequences")) {
        (void)json_object_set(sampled, "stop", json_object_get(body, "stop_sequences"));
    }
    dw_params_generation(sampled, message, fault);
    json_decref(sampled);
    int64_t most = dw_params_whole(body, "max_tokens", 1, 2147483647, 0, fault);
    if (most == 0) {
        dw_fault_set(fault, 400, "max_tokens", "max_tokens: Field required");
    }
    (void)json_object_set_new(message, "max", json_integer(most));
    return message;
}

static answer *create(dw_server *server, dw_exchange *exchange, const json_t *body, dw_fault *fault)
{
    const char *model = dw_params_string(body, "model", fault);
    dw_named_model *named = dw_models_find(server, model);
    bool streams = dw_params_truth(body, "stream", false, fault);
    if (named == NULL) {
        dw_fault_set(fault, 404, "model", "model: %.100s", model != NULL ? model : "");
    }
    answer *a = dw_fault_is_set(fault) ? NULL : dw_alloc(1, sizeof *a);
    if (a == NULL) {
        dw_fault_set(fault, 503, NULL, "no memory for a request");
        return NULL;
    }
    dw__make_id(a->id, sizeof a->id, "msg_");
    a->server = server;
    a->exchange = exchange;
    a->streams = streams;
    a->model = dw_strdup(named->name);
    (void)uv_timer_init(&server->loop, &a->timer);
    a->timer.data = a;
    (void)uv_timer_start(&a->timer, on_timer, PING_MS, PING_MS);
    if (a->model == NULL) {
        dw_fault_set(fault, 503, NULL, "no memory for a request");
        release(a);
        return NULL;
    }
    return a;
}

static void begin(answer *a, json_t *chat, json_t *message)
{
    dw_error error;
    char *text = json_dumps(chat, JSON_COMPACT);
    char *rest = dw__members_of(message);
    dw_turn_request request = {.tenant = dw__tenant_of(a->server, a->exchange),
                               .model = a->model,
                               .chat = text,
                               .rest = rest,
                               .n = 1,
                               .ops = &turn_ops,
                               .user = a};
    dw_exchange_watch(a->exchange, on_gone, on_taken, a);
    dw_status status = text != NULL && rest != NULL
                           ? dw_turn_begin(&a->turn, a->server, &request, &error)
                           : dw_fail(&error, DW_E_MEMORY, "no memory for a request");
    if (status != DW_OK) {
        on_end(a, status, &error);
    }
    free(text);
    free(rest);
}

void dw__anthropic_messages(dw_server *server, dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    json_t *body = dw_params_body(exchange, &fault);
    json_t *chat = NULL;
    json_t *message = NULL;
    answer *a = NULL;
    if (body != NULL) {
        message = read_generation(body, &fault);
        chat = dw_anthropic_chat(body, &fault);
        a = create(server, exchange, body, &fault);
    }
    if (a != NULL) {
        begin(a, chat, message);
    } else {
        dw_anthropic_fail(exchange, fault.status, fault.what);
    }
    json_decref(chat);
    json_decref(message);
    json_decref(body);
}

/* ---- /v1/messages/count_tokens --------------------------------------------------------------- */

static dw_status count_tokens(dw_job *job, dw_error *err)
{
    dw_fault fault = {.status = 0};
    dw_chat_prompt *prompt = NULL;
    json_t *chat = dw_anthropic_chat(job->input, &fault);
    dw_status status = dw_job_render(job, chat, &fault, &prompt, err);
    if (status != DW_OK) {
        return status;
    }
    dw_token_room tokens = {.items = NULL};
    status = dw_chat_prompt_tokens(prompt, 0, &tokens, err);
    dw_chat_prompt_destroy(prompt);
    if (status == DW_OK || status == DW_E_SPACE) { /* how many they are is told all the same */
        job->result = json_pack("{s:I}", "input_tokens", (json_int_t)tokens.count);
        status = DW_OK;
    }
    return status;
}

void dw__anthropic_count_tokens(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin(server, exchange, count_tokens, dw_anthropic_fail);
}
