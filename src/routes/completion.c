#include "routes/completion.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "routes/routes.h"

static dw_completion *completion_of(dw_reply *reply)
{
    return (dw_completion *)(void *)reply;
}

static void put_event(dw_completion *c, json_t *event)
{
    dw_reply_put(&c->reply, NULL, event);
}

static void release(dw_reply *reply)
{
    dw_completion *c = completion_of(reply);
    for (uint32_t i = 0; i < reply->part_count * reply->n; i++) {
        dw_free(c->choices[i].message);
        dw_text_free(&c->choices[i].text);
        dw_text_free(&c->choices[i].start);
        json_decref(c->choices[i].logprobs);
    }
    for (uint32_t i = 0; i < DW_PROMPTS_MAX; i++) {
        dw_free(c->prompts[i]);
    }
    dw_text_free(&c->event);
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
        put_event(c, dw__completion_event(c, index, json_string(c->prompts[index / c->reply.n]),
                                          NULL, NULL));
    }
}

/* ---- what the reply tells ------------------------------------------------------------------- */

static void on_begin(dw_reply *reply, uint32_t first)
{
    for (uint32_t i = 0; i < reply->n && reply->streams; i++) {
        begin_choice(completion_of(reply), first + i);
    }
}

/* The model's text as JSON, for free(); NULL: it is no UTF-8, or there is no memory. */
static char *text_of(const dw_reply_piece *piece)
{
    json_t *text = json_stringn(piece->text, piece->bytes);
    char *dumped = json_dumps(text, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(text);
    return dumped;
}

static void on_piece(dw_reply *reply, uint32_t choice, const dw_reply_piece *piece)
{
    dw_completion *c = completion_of(reply);
    dw_choice_state *state = &c->choices[choice];
    size_t before = json_array_size(state->logprobs);
    dw__completion_note_logprobs(state, piece->logprobs);
    if (!c->is_chat && !reply->streams) {
        (void)dw_text_add(&state->text, piece->text, piece->bytes);
    }
    if (!reply->streams) {
        return;
    }
    const char *content = piece->delta_text != NULL ? piece->delta_text : "{}";
    char *text = c->is_chat ? NULL : text_of(piece);
    if (c->is_chat || text != NULL) {
        const dw_text *event = dw__completion_piece(
            c, choice, c->is_chat ? content : text,
            state->logprobs != NULL ? dw__completion_logprobs(c, state, before) : NULL);
        if (event != NULL) {
            dw_reply_put_text(reply, NULL, event->bytes, event->count);
        }
    }
    free(text);
}

static void on_choice_end(dw_reply *reply, uint32_t choice, const dw_choice_end *end)
{
    dw_completion *c = completion_of(reply);
    dw_choice_state *state = &c->choices[choice];
    state->reason = end->reason;
    state->message = end->message != NULL ? dw_strdup(end->message) : NULL;
    if (reply->streams) {
        put_event(c, dw__completion_event(c, choice, c->is_chat ? json_object() : json_string(""),
                                          NULL, state->reason));
    }
}

static void fail(dw_reply *reply)
{
    int status = dw_http_status(reply->status);
    const char *code = dw_reply_fault_code(reply);
    const char *param = reply->fault_param != NULL        ? reply->fault_param
                        : reply->status == DW_E_NOT_FOUND ? "model"
                        : completion_of(reply)->is_chat   ? "messages"
                                                          : "prompt";
    json_t *error =
        dw_openai_error(status, status >= 500 ? NULL : param, code, reply->error.message);
    if (!reply->begun) {
        dw_reply_send(reply, status, error);
    } else {
        dw_reply_put(reply, NULL, error);
        dw_reply_end_stream(reply);
    }
}

static void finish(dw_reply *reply)
{
    static const char done[] = "data: [DONE]\n\n";
    dw_completion *c = completion_of(reply);
    if (!reply->streams) {
        dw_reply_send(reply, 200, dw__completion_whole(c));
        return;
    }
    if (c->tells_usage) {
        put_event(c, dw__completion_usage_event(c));
    }
    dw_reply_write_event(reply, done, sizeof done - 1);
    dw_reply_end_stream(reply);
}

static const dw_writer writer = {
    .stream_type = DW_EVENT_STREAM,
    .takes_text = true,
    .on_begin = on_begin,
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .finish = finish,
    .fail = fail,
    .on_silence = dw_reply_put_comment,
    .release = release,
};

/* ---- requests ------------------------------------------------------------------------------- */

static dw_completion *create(dw_server *server, dw_exchange *exchange, bool is_chat)
{
    dw_reply *reply = dw_reply_create(sizeof(dw_completion), &writer, server, exchange);
    if (reply == NULL) {
        dw_openai_fail(exchange, 503, NULL, NULL, "no memory for a request");
        return NULL;
    }
    dw_completion *c = completion_of(reply);
    c->is_chat = is_chat;
    c->created = (int64_t)time(NULL);
    dw_make_id(c->id, sizeof c->id, is_chat ? "chatcmpl-" : "cmpl-");
    return c;
}

static void read_common(dw_completion *c, const json_t *body, json_t *message, dw_fault *fault)
{
    const json_t *options = json_object_get(body, "stream_options");
    c->tells_usage = dw_params_truth(options, "include_usage", false, fault);
    dw_params_generation(body, message, fault);
    dw_reply_read(&c->reply, body, (uint32_t)json_integer_value(json_object_get(message, "n")),
                  false, fault);
    dw_reply_read_linger(&c->reply, c->id, fault);
}

static void ask(dw_completion *c, const json_t *chat, const json_t *message)
{
    for (uint32_t i = 0; i < c->reply.n; i++) {
        dw_choice_state *choice = &c->choices[c->reply.part_count * c->reply.n + i];
        choice->logprobs = c->logprobs >= 0 ? json_array() : NULL;
    }
    dw_reply_ask(&c->reply, chat, message);
}

static void refuse(dw_completion *c, const dw_fault *fault)
{
    dw_openai_fault(c->reply.exchange, fault);
    dw_reply_drop(&c->reply);
}

/* ---- /v1/chat/completions ------------------------------------------------------------------- */

static void read_chat(dw_completion *c, const json_t *body, json_t *message, dw_fault *fault)
{
    const char *most =
        dw_params_has(body, "max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
    int64_t tokens = dw_params_most(body, most, 0, fault);
    bool logprobs = dw_params_truth(body, "logprobs", false, fault);
    int64_t likeliest = dw_params_whole(body, "top_logprobs", 0, 20, 0, fault);
    if (likeliest > 0 && !logprobs) {
        dw_fault_set(fault, 400, "top_logprobs", "top_logprobs needs logprobs to be true");
    }
    c->logprobs = logprobs ? (int)likeliest : -1;
    (void)json_object_set_new(message, "max", json_integer(tokens));
    (void)json_object_set_new(message, "logprobs", json_integer(c->logprobs));
}

void dw_openai_chat(dw_server *server, dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    dw_completion *c = create(server, exchange, true);
    if (c == NULL) {
        return;
    }
    json_t *message = json_object();
    json_t *body = dw_params_body(exchange, &fault);
    json_t *chat = NULL;
    if (body != NULL) {
        read_common(c, body, message, &fault);
        read_chat(c, body, message, &fault);
        chat = dw_params_chat(body, &fault);
    }
    if (!dw_fault_is_set(&fault)) {
        ask(c, chat, message);
        dw_reply_go(&c->reply);
    } else {
        refuse(c, &fault);
    }
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
    ask(c, NULL, message);
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
    if (json_string_length(json_object_get(body, "suffix")) > 0) {
        dw_fault_set(fault, 400, "suffix", "suffix is not supported");
    }
    if (dw_params_whole(body, "best_of", 1, 20, 1, fault) > (int64_t)c->reply.n) {
        dw_fault_set(fault, 400, "best_of", "best_of above n is not supported");
    }
    if (c->echoes && c->logprobs >= 0) {
        dw_fault_set(fault, 400, "echo", "echo beside logprobs is not supported");
    }
    (void)json_object_set_new(message, "max",
                              json_integer(dw_params_most(body, "max_tokens", 16, fault)));
    (void)json_object_set_new(message, "logprobs", json_integer(c->logprobs));
}

void dw_openai_completions(dw_server *server, dw_exchange *exchange)
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
        refuse(c, &fault);
    } else {
        dw_reply_go(&c->reply);
    }
    json_decref(body);
    json_decref(message);
}
