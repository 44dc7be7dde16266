#include "server/completion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "server/events.h"

#define COMMENT_MS 10000

/* ---- beginnings and ends -------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *timer)
{
    dw_completion *c = timer->data;
    for (uint32_t i = 0; i < c->part_count * c->n; i++) {
        dw_free(c->choices[i].message);
        dw__text_free(&c->choices[i].text);
        json_decref(c->choices[i].logprobs);
    }
    for (uint32_t i = 0; i < DW_PROMPTS_MAX; i++) {
        dw_free(c->prompts[i]);
    }
    dw_free(c->model);
    dw_free(c);
}

static void release(dw_completion *c)
{
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

/* The client went: nothing more is generated for it. */
static void on_gone(void *owner)
{
    dw_completion *c = owner;
    c->exchange = NULL;
    for (uint32_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].turn != NULL) {
            dw_turn_leave(c->parts[i].turn);
        }
    }
    release(c);
}

static void pause_all(dw_completion *c, bool paused)
{
    c->paused = paused;
    for (uint32_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].turn != NULL) {
            dw_turn_pause(c->parts[i].turn, paused);
        }
    }
}

static void on_taken(void *owner)
{
    dw_completion *c = owner;
    if (c->paused && dw_events_caught_up(c->exchange)) {
        pause_all(c, false);
    }
}

/* ---- events --------------------------------------------------------------------------------- */

/* A client that reads slowly makes its answer wait. */
static void put_event(dw_completion *c, json_t *event)
{
    if (dw_events_put(c->exchange, &c->begun, NULL, event) && !c->paused) {
        pause_all(c, true);
    }
}

/* A client that waits long for its first token, or between two, sees that somebody is there. */
static void on_timer(uv_timer_t *timer)
{
    static const char comment[] = ": working\n\n";
    dw_completion *c = timer->data;
    if (c->exchange != NULL && c->streams) {
        dw_events_begin(c->exchange, &c->begun);
        dw_exchange_write(c->exchange, comment, sizeof comment - 1);
    }
}

static void begin_choice(dw_completion *c, uint32_t index)
{
    dw_choice_state *choice = &c->choices[index];
    if (choice->begun) {
        return;
    }
    choice->begun = true;
    if (c->is_chat) {
        put_event(c, dw__completion_event(
                         c, index, json_pack("{s:s, s:s}", "role", "assistant", "content", ""),
                         NULL, NULL));
    } else if (c->echoes) {
        put_event(
            c, dw__completion_event(c, index, json_string(c->prompts[index / c->n]), NULL, NULL));
    }
}

/* ---- what a turn tells ---------------------------------------------------------------------- */

static void on_begin(void *user, uint32_t prompt_tokens, uint32_t cached_tokens)
{
    dw_completion_part *part = user;
    dw_completion *c = part->completion;
    c->prompt_tokens += prompt_tokens;
    c->cached_tokens += cached_tokens;
    for (uint32_t i = 0; i < c->n && c->streams; i++) {
        begin_choice(c, part->first + i);
    }
}

static void on_piece(void *user, uint32_t choice, const char *delta, const char *text, size_t bytes,
                     json_t *logprobs)
{
    dw_completion_part *part = user;
    dw_completion *c = part->completion;
    uint32_t index = part->first + choice;
    dw_choice_state *state = &c->choices[index];
    size_t before = json_array_size(state->logprobs);
    dw__completion_note_logprobs(state, logprobs);
    if (!c->is_chat && !c->streams) {
        (void)dw__text_add(&state->text, text, bytes);
    }
    if (!c->streams) {
        return;
    }
    json_t *content =
        c->is_chat ? json_loads(delta != NULL ? delta : "{}", 0, NULL) : json_stringn(text, bytes);
    if (content != NULL) {
        put_event(c, dw__completion_event(
                         c, index, content,
                         state->logprobs != NULL ? dw__completion_logprobs(c, state, before) : NULL,
                         NULL));
    }
    (void)uv_timer_again(&c->timer);
}

static const char *kept_reason(const char *reason)
{
    return strcmp(reason, "length") == 0       ? "length"
           : strcmp(reason, "tool_calls") == 0 ? "tool_calls"
                                               : "stop";
}

static void on_choice_end(void *user, uint32_t choice, const char *reason, const char *stop,
                          const char *message, uint32_t tokens)
{
    dw_completion_part *part = user;
    dw_completion *c = part->completion;
    uint32_t index = part->first + choice;
    dw_choice_state *state = &c->choices[index];
    (void)stop;
    c->answer_tokens += tokens;
    state->reason = kept_reason(reason);
    state->message = message != NULL ? dw_strdup(message) : NULL;
    if (c->streams) {
        put_event(c, dw__completion_event(c, index, c->is_chat ? json_object() : json_string(""),
                                          NULL, state->reason));
    }
}

static void fail(dw_completion *c)
{
    int status = dw__http_status(c->status);
    const char *code = c->status == DW_E_NOT_FOUND ? "model_not_found"
                       : status == 400 && strstr(c->error.message, "context takes") != NULL
                           ? "context_length_exceeded"
                           : NULL;
    const char *param = c->status == DW_E_NOT_FOUND ? "model" : c->is_chat ? "messages" : "prompt";
    param = status >= 500 ? NULL : param;
    if (!c->begun) {
        dw__openai_fail(c->exchange, status, param, code, c->error.message);
        return;
    }
    put_event(c, dw_openai_error(status, param, code, c->error.message));
    dw_exchange_end(c->exchange);
}

static void conclude(dw_completion *c)
{
    static const char done[] = "data: [DONE]\n\n";
    if (c->exchange == NULL) {
        return; /* on_gone has released it */
    }
    dw_exchange_watch(c->exchange, NULL, NULL, NULL);
    if (c->status != DW_OK) {
        fail(c);
    } else if (c->streams) {
        if (c->tells_usage) {
            put_event(c, dw__completion_usage_event(c));
        }
        dw_events_begin(c->exchange, &c->begun);
        dw_exchange_write(c->exchange, done, sizeof done - 1);
        dw_exchange_end(c->exchange);
    } else {
        dw__send_json(c->exchange, 200, dw__completion_whole(c));
    }
    c->exchange = NULL;
    release(c);
}

static void on_end(void *user, dw_status status, const dw_error *error)
{
    dw_completion_part *part = user;
    dw_completion *c = part->completion;
    part->turn = NULL;
    c->open--;
    if (status != DW_OK && c->status == DW_OK) {
        c->status = status;
        c->error = *error;
        for (uint32_t i = 0; i < c->part_count; i++) { /* the others are of no use any more */
            if (c->parts[i].turn != NULL) {
                dw_turn_leave(c->parts[i].turn);
                c->parts[i].turn = NULL;
                c->open--;
            }
        }
    }
    if (c->open == 0) {
        conclude(c);
    }
}

static const dw_turn_ops turn_ops = {
    .on_begin = on_begin,
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .on_end = on_end,
};

/* ---- requests ------------------------------------------------------------------------------- */

static dw_completion *create(dw_server *server, dw_exchange *exchange, bool is_chat)
{
    dw_completion *c = dw_alloc(1, sizeof *c);
    if (c == NULL) {
        dw__openai_fail(exchange, 503, NULL, NULL, "no memory for a request");
        return NULL;
    }
    c->server = server;
    c->exchange = exchange;
    c->is_chat = is_chat;
    c->created = (int64_t)time(NULL);
    dw__make_id(c->id, sizeof c->id, is_chat ? "chatcmpl-" : "cmpl-");
    (void)uv_timer_init(&server->loop, &c->timer);
    c->timer.data = c;
    (void)uv_timer_start(&c->timer, on_timer, COMMENT_MS, COMMENT_MS);
    return c;
}

static void read_common(dw_completion *c, const json_t *body, json_t *message, dw_fault *fault)
{
    const json_t *options = json_object_get(body, "stream_options");
    const char *model = dw_params_string(body, "model", fault);
    c->model = dw_strdup(model != NULL ? model : "");
    c->streams = dw_params_truth(body, "stream", false, fault);
    c->tells_usage = dw_params_truth(options, "include_usage", false, fault);
    dw_params_generation(body, message, fault);
    c->n = (uint32_t)json_integer_value(json_object_get(message, "n"));
    dw_named_model *named = dw_models_find(c->server, c->model);
    if (named == NULL) {
        fault->code = "model_not_found";
        dw_fault_set(fault, 404, "model", "The model '%.100s' does not exist", c->model);
    } else if (c->model != NULL && c->model[0] == '\0') {
        dw_free(c->model);
        c->model = dw_strdup(named->name);
    }
    if (c->model == NULL) {
        dw_fault_set(fault, 503, NULL, "no memory for a request");
    }
}

static void begin_part(dw_completion *c, uint32_t index, const char *chat, json_t *message)
{
    dw_completion_part *part = &c->parts[index];
    char *rest = dw__members_of(message);
    dw_turn_request request = {.tenant = dw__tenant_of(c->server, c->exchange),
                               .model = c->model,
                               .chat = chat,
                               .rest = rest,
                               .n = c->n,
                               .ops = &turn_ops,
                               .user = part};
    part->completion = c;
    part->first = index * c->n;
    c->part_count = index + 1;
    for (uint32_t i = 0; i < c->n; i++) {
        dw_choice_state *choice = &c->choices[part->first + i];
        choice->completion = c;
        choice->logprobs = c->logprobs >= 0 ? json_array() : NULL;
    }
    dw_error error;
    dw_status status = rest != NULL ? dw_turn_begin(&part->turn, c->server, &request, &error)
                                    : dw_fail(&error, DW_E_MEMORY, "no memory for a request");
    if (status == DW_OK) {
        c->open++;
    } else if (c->status == DW_OK) {
        c->status = status;
        c->error = error;
    }
    free(rest);
}

/* All parts are under way, or what failed is told at once. */
static void go_on(dw_completion *c)
{
    dw_exchange_watch(c->exchange, on_gone, on_taken, c);
    if (c->status != DW_OK) {
        for (uint32_t i = 0; i < c->part_count; i++) {
            if (c->parts[i].turn != NULL) {
                dw_turn_leave(c->parts[i].turn);
            }
        }
        conclude(c);
    }
}

static void refuse(dw_completion *c, const dw_fault *fault)
{
    dw__openai_fault(c->exchange, fault);
    c->exchange = NULL;
    release(c);
}

/* ---- /v1/chat/completions ------------------------------------------------------------------- */

static void read_chat(dw_completion *c, const json_t *body, json_t *message, dw_fault *fault)
{
    const char *most =
        dw_params_has(body, "max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
    int64_t tokens = dw_params_whole(body, most, 1, 2147483647, 0, fault);
    bool logprobs = dw_params_truth(body, "logprobs", false, fault);
    int64_t likeliest = dw_params_whole(body, "top_logprobs", 0, 20, 0, fault);
    if (likeliest > 0 && !logprobs) {
        dw_fault_set(fault, 400, "top_logprobs", "top_logprobs needs logprobs to be true");
    }
    c->logprobs = logprobs ? (int)likeliest : -1;
    (void)json_object_set_new(message, "max", json_integer(tokens));
    (void)json_object_set_new(message, "logprobs", json_integer(c->logprobs));
}

void dw__openai_chat(dw_server *server, dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    dw_completion *c = create(server, exchange, true);
    if (c == NULL) {
        return;
    }
    json_t *message = json_object();
    json_t *body = dw_params_body(exchange, &fault);
    json_t *chat = NULL;
    char *text = NULL;
    if (body != NULL) {
        read_common(c, body, message, &fault);
        read_chat(c, body, message, &fault);
        chat = dw_params_chat(body, &fault);
    }
    if (!dw_fault_is_set(&fault)) {
        text = json_dumps(chat, JSON_COMPACT);
        begin_part(c, 0, text != NULL ? text : "{}", message);
        go_on(c);
    } else {
        refuse(c, &fault);
    }
    free(text);
    json_decref(chat);
    json_decref(body);
    json_decref(message);
}

/* ---- /v1/completions ------------------------------------------------------------------------ */

/* Whether the list is of tokens: then it is one prompt. */
static bool is_tokens(const json_t *prompt)
{
    bool all = json_array_size(prompt) > 0;
    for (size_t i = 0; i < json_array_size(prompt) && all; i++) {
        all = json_is_integer(json_array_get(prompt, i));
    }
    return all;
}

static void begin_prompt(dw_completion *c, uint32_t index, json_t *prompt, json_t *message,
                         dw_fault *fault)
{
    (void)json_object_del(message, "prompt");
    (void)json_object_del(message, "tokens");
    if (json_is_string(prompt)) {
        (void)json_object_set(message, "prompt", prompt);
        c->prompts[index] = dw_strdup(json_string_value(prompt));
    } else if (is_tokens(prompt) && !c->echoes) {
        (void)json_object_set(message, "tokens", prompt);
    } else {
        dw_fault_set(fault, 400, "prompt",
                     "prompt: a text, a list of tokens, or a list of up to %d of these%s",
                     DW_PROMPTS_MAX, c->echoes ? "; with echo, texts" : "");
        return;
    }
    begin_part(c, index, NULL, message);
}

static void begin_prompts(dw_completion *c, const json_t *body, json_t *message, dw_fault *fault)
{
    json_t *prompt = json_object_get(body, "prompt");
    bool several = json_is_array(prompt) && !is_tokens(prompt);
    size_t count = several ? json_array_size(prompt) : 1;
    if (count == 0 || count > DW_PROMPTS_MAX) {
        dw_fault_set(fault, 400, "prompt", "prompt: %zu of them, from 1 to %d are allowed", count,
                     DW_PROMPTS_MAX);
    }
    for (size_t i = 0; i < count && !dw_fault_is_set(fault); i++) {
        begin_prompt(c, (uint32_t)i, several ? json_array_get(prompt, i) : prompt, message, fault);
    }
}

static void read_completion(dw_completion *c, const json_t *body, json_t *message, dw_fault *fault)
{
    c->logprobs = (int)dw_params_whole(body, "logprobs", 0, 20, -1, fault);
    c->echoes = dw_params_truth(body, "echo", false, fault);
    if (dw_params_has(body, "suffix")) {
        dw_fault_set(fault, 400, "suffix", "suffix is not supported");
    }
    if (dw_params_whole(body, "best_of", 1, 20, 1, fault) > (int64_t)c->n) {
        dw_fault_set(fault, 400, "best_of", "best_of above n is not supported");
    }
    if (c->echoes && c->logprobs >= 0) {
        dw_fault_set(fault, 400, "echo", "echo beside logprobs is not supported");
    }
    (void)json_object_set_new(
        message, "max",
        json_integer(dw_params_whole(body, "max_tokens", 1, 2147483647, 16, fault)));
    (void)json_object_set_new(message, "logprobs", json_integer(c->logprobs));
}

void dw__openai_completions(dw_server *server, dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    dw_completion *c = create(server, exchange, false);
    if (c == NULL) {
        return;
    }
    json_t *message = json_object();
    json_t *body = dw_params_body(exchange, &fault);
    if (body != NULL) {
        read_common(c, body, message, &fault);
        read_completion(c, body, message, &fault);
    }
    if (!dw_fault_is_set(&fault)) {
        begin_prompts(c, body, message, &fault);
    }
    if (dw_fault_is_set(&fault)) {
        for (uint32_t i = 0; i < c->part_count; i++) {
            if (c->parts[i].turn != NULL) {
                dw_turn_leave(c->parts[i].turn);
            }
        }
        refuse(c, &fault);
    } else {
        go_on(c);
    }
    json_decref(body);
    json_decref(message);
}
