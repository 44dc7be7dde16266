/* Ollama's /api/chat and /api/generate. */
#include "routes/ollama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "routes/logprobs.h"
#include "routes/routes.h"

typedef struct answer {
    dw_reply reply;
    bool is_chat;
    bool is_raw;      /* a text that goes on, no chat */
    bool loads_only;  /* there is no prompt: the model is to be there, or to go */
    json_t *logprobs; /* NULL: none are asked for */
    const char *reason;
    char *message; /* the whole answer, as OpenAI's has it: JSON; NULL: a raw one's is `text` */
    dw_text text;
    dw_model_waiter waiter;
} answer;

static answer *answer_of(dw_reply *reply)
{
    return (answer *)(void *)reply;
}

static void release(dw_reply *reply)
{
    answer *a = answer_of(reply);
    dw_free(a->message);
    dw_text_free(&a->text);
    json_decref(a->logprobs);
}

void dw_ollama_fail(dw_exchange *exchange, int status, const char *what)
{
    dw_send_json(exchange, status, json_pack("{s:o}", "error", dw_message_json(what)));
}

void dw_ollama_now(char text[40])
{
    struct timespec now;
    struct tm parts;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &parts);
    size_t count = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + count, 40 - count, ".%06ldZ", (long)(now.tv_nsec / 1000) % 1000000);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Calls as Ollama has them: their arguments are objects. */
static json_t *calls_json(answer *a, const json_t *calls)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *function = json_object_get(call, "function");
        const char *said = json_string_value(json_object_get(function, "arguments"));
        json_t *arguments = dw_reply_raw(&a->reply, dw_params_object_said(said));
        (void)json_array_append_new(
            list, json_pack("{s:O?, s:{s:i, s:O?, s:o}}", "id", json_object_get(call, "id"),
                            "function", "index", (int)i, "name", json_object_get(function, "name"),
                            "arguments", arguments));
    }
    return list;
}

/* A line, or the whole: what `piece` says, a delta or a message of OpenAI's; NULL: nothing. */
static json_t *line_json(answer *a, const json_t *piece, bool done)
{
    char now[40];
    dw_ollama_now(now);
    json_t *line =
        json_pack("{s:s?, s:s, s:b}", "model", a->reply.model, "created_at", now, "done", done);
    json_t *content = json_incref(json_object_get(piece, "content"));
    json_t *thinking = json_object_get(piece, "reasoning_content");
    const json_t *calls = json_object_get(piece, "tool_calls");
    if (!json_is_string(content)) {
        json_decref(content);
        content = json_string("");
    }
    json_t *holder = a->is_chat ? json_pack("{s:s}", "role", "assistant") : line;
    (void)json_object_set_new(holder, a->is_chat ? "content" : "response", content);
    if (json_string_length(thinking) > 0) {
        (void)json_object_set(holder, "thinking", thinking);
    }
    if (json_array_size(calls) > 0) {
        (void)json_object_set_new(holder, "tool_calls", calls_json(a, calls));
    }
    if (a->is_chat) {
        (void)json_object_set_new(line, "message", holder);
    }
    return line;
}

static void add_end(const answer *a, json_t *line)
{
    const dw_reply *reply = &a->reply;
    uint64_t now = uv_hrtime();
    uint64_t prompt = reply->prompt_ns != 0 ? reply->prompt_ns : now;
    uint64_t first = reply->first_ns != 0 ? reply->first_ns : now;
    json_t *end = json_pack("{s:s, s:I, s:I}", "done_reason", a->reason, "total_duration",
                            (json_int_t)(now - reply->begin_ns), "load_duration",
                            (json_int_t)(prompt - reply->begin_ns));
    if (!a->loads_only) {
        json_t *more =
            json_pack("{s:I, s:I, s:I, s:I}", "prompt_eval_count", (json_int_t)reply->prompt_tokens,
                      "prompt_eval_duration", (json_int_t)(first - prompt), "eval_count",
                      (json_int_t)reply->answer_tokens, "eval_duration", (json_int_t)(now - first));
        (void)json_object_update(end, more);
        json_decref(more);
    }
    (void)json_object_update(line, end);
    json_decref(end);
}

static void on_piece(dw_reply *reply, uint32_t choice, const dw_reply_piece *piece)
{
    answer *a = answer_of(reply);
    json_t *news = a->logprobs != NULL ? json_array() : NULL;
    (void)choice;
    if (news != NULL) {
        dw_logprobs_add(news, piece->logprobs);
        (void)json_array_extend(a->logprobs, news);
    }
    if (a->is_raw && !reply->streams) {
        (void)dw_text_add(&a->text, piece->text, piece->bytes);
    }
    if (reply->streams) {
        json_t *text = a->is_raw ? json_stringn(piece->text, piece->bytes) : NULL;
        json_t *raw = text != NULL ? json_pack("{s:o}", "content", text) : NULL;
        json_t *line = line_json(a, a->is_raw ? raw : piece->delta, false);
        if (news != NULL && json_array_size(news) > 0) {
            (void)json_object_set(line, "logprobs", news);
        }
        dw_reply_put_line(reply, line);
        json_decref(raw);
    }
    json_decref(news);
}

static void on_choice_end(dw_reply *reply, uint32_t choice, const dw_choice_end *end)
{
    answer *a = answer_of(reply);
    (void)choice;
    a->reason = strcmp(end->reason, "length") == 0 ? "length" : "stop";
    a->message = end->message != NULL ? dw_strdup(end->message) : NULL;
}

static void finish(dw_reply *reply)
{
    answer *a = answer_of(reply);
    json_t *message = NULL;
    if (!reply->streams && a->is_raw) {
        json_t *text = json_stringn(a->text.bytes != NULL ? a->text.bytes : "", a->text.count);
        message = json_pack("{s:o}", "content", text != NULL ? text : json_string(""));
    } else if (!reply->streams && a->message != NULL) {
        message = json_loads(a->message, JSON_ALLOW_NUL, NULL);
    }
    json_t *line = line_json(a, message, true);
    add_end(a, line);
    if (reply->streams) {
        dw_reply_put_line(reply, line);
        dw_reply_end_stream(reply);
    } else {
        if (a->logprobs != NULL) {
            (void)json_object_set(line, "logprobs", a->logprobs);
        }
        dw_reply_send(reply, 200, line);
    }
    json_decref(message);
}

static json_t *error_json(const char *what)
{
    return json_pack("{s:o}", "error", dw_message_json(what));
}

static void fail(dw_reply *reply)
{
    json_t *error = error_json(reply->error.message);
    if (reply->begun) {
        dw_reply_put_line(reply, error);
        dw_reply_end_stream(reply);
    } else {
        dw_reply_send(reply, dw_http_status(reply->status), error);
    }
}

/* Its clients read lines of JSON alone, of which an empty one is none, and show what a message
 * without a text would say. A blank in front of the next line is part of its JSON. */
static void on_silence(dw_reply *reply)
{
    dw_reply_write(reply, " ", 1);
}

static const dw_writer writer = {
    .stream_type = "application/x-ndjson",
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .finish = finish,
    .fail = fail,
    .on_silence = on_silence,
    .release = release,
};

/* ---- requests -------------------------------------------------------------------------------- */

static void on_model(dw_model_waiter *waiter)
{
    answer *a = waiter->owner;
    if (waiter->model == NULL) {
        a->reply.status = waiter->status;
        a->reply.error = waiter->error;
        fail(&a->reply);
    } else {
        a->reason = "load";
        dw_models_give(waiter);
        finish(&a->reply);
    }
}

/* No prompt: the model is loaded, or with keep_alive 0 unloaded. The client is not missed while it
 * is. */
static void load_only(answer *a, dw_named_model *named, bool unloads)
{
    a->reply.endures = true;
    a->loads_only = true;
    if (unloads) {
        a->reason = "unload";
        dw_reply_go(&a->reply);
        finish(&a->reply);
        return;
    }
    a->waiter = (dw_model_waiter){.on_model = on_model, .owner = a};
    dw_reply_go(&a->reply);
    dw_models_want(named, &a->waiter);
}

static void begin(answer *a, const json_t *body, dw_fault *fault)
{
    const char *prompt = dw_params_string(body, "prompt", fault);
    json_t *message = dw__ollama_message(body, fault);
    json_t *chat = NULL;
    uint64_t keep_ms = UINT64_MAX;
    dw_exchange *exchange = a->reply.exchange;
    bool keeps = dw__ollama_keep(a->reply.server, exchange, body, &keep_ms, fault);
    bool says = a->is_chat ? json_array_size(json_object_get(body, "messages")) > 0
                           : prompt != NULL && prompt[0] != '\0';
    a->is_raw = !a->is_chat && dw_params_truth(body, "raw", false, fault);
    if (json_integer_value(json_object_get(message, "logprobs")) >= 0) {
        a->logprobs = json_array();
    }
    if (a->is_raw) {
        (void)json_object_set_new(message, "prompt", json_string(prompt != NULL ? prompt : ""));
    } else if (says) {
        chat = dw__ollama_chat(body, fault);
    }
    dw_reply_read(&a->reply, body, 1, true, fault);
    dw_reply_read_linger(&a->reply, NULL, fault);
    dw_named_model *named = dw_fault_is_set(fault)
                                ? NULL
                                : dw_models_find(a->reply.server, a->reply.tenant, a->reply.model);
    if (named != NULL && keeps) {
        dw_pool_keep(a->reply.server->pool, named->index, keep_ms);
    }
    if (dw_fault_is_set(fault)) {
        dw_reply_send(&a->reply, fault->status, error_json(fault->what));
    } else if (!says && named != NULL) {
        load_only(a, named, keeps && keep_ms == 0);
    } else {
        dw_reply_ask(&a->reply, chat, message);
        dw_reply_go(&a->reply);
    }
    json_decref(chat);
    json_decref(message);
}

static void answer_request(dw_server *server, dw_exchange *exchange, bool is_chat)
{
    dw_fault fault = {.status = 0};
    json_t *body = dw_params_body(exchange, &fault);
    dw_reply *reply =
        body != NULL ? dw_reply_create(sizeof(answer), &writer, server, exchange) : NULL;
    if (reply == NULL) {
        dw_fault_set(&fault, 503, NULL, "no memory for a request");
        dw_ollama_fail(exchange, fault.status, fault.what);
    } else {
        answer_of(reply)->is_chat = is_chat;
        answer_of(reply)->reason = "stop";
        begin(answer_of(reply), body, &fault);
    }
    json_decref(body);
}

void dw_ollama_chat_route(dw_server *server, dw_exchange *exchange)
{
    answer_request(server, exchange, true);
}

void dw_ollama_generate(dw_server *server, dw_exchange *exchange)
{
    answer_request(server, exchange, false);
}
