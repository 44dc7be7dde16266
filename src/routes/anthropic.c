/* Anthropic's /v1/messages and /v1/messages/count_tokens. */
#include "routes/anthropic.h"

#include <string.h>

#include "base/alloc.h"
#include "routes/routes.h"
#include "serving/reply.h"

/* What kind of block is open in a stream. */
typedef enum block_kind { BLOCK_NONE, BLOCK_THINKING, BLOCK_TEXT } block_kind;

typedef struct answer {
    dw_reply reply;
    char id[48];
    block_kind open;
    int index;          /* of the block that is open, or comes next */
    bool prompt_only;   /* max_tokens 0: it is read, nothing is said */
    const char *reason; /* static */
    char *stop;         /* the stop sequence that it met */
    char *message;      /* the whole answer, as OpenAI's has it: JSON */
} answer;

static answer *answer_of(dw_reply *reply)
{
    return (answer *)(void *)reply;
}

static void release(dw_reply *reply)
{
    dw_free(answer_of(reply)->stop);
    dw_free(answer_of(reply)->message);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void put(answer *a, json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    dw_reply_put(&a->reply, type, event);
}

static void on_silence(dw_reply *reply)
{
    if (reply->event_count > 0) {
        put(answer_of(reply), json_pack("{s:s}", "type", "ping"));
    } else {
        dw_reply_put_comment(reply); /* message_start is the first event */
    }
}

static json_t *usage_json(const answer *a)
{
    return json_pack("{s:i, s:i, s:i, s:i}", "input_tokens",
                     (int)(a->reply.prompt_tokens - a->reply.cached_tokens),
                     "cache_creation_input_tokens", 0, "cache_read_input_tokens",
                     (int)a->reply.cached_tokens, "output_tokens",
                     a->prompt_only ? 0 : (int)a->reply.answer_tokens);
}

static json_t *message_json(const answer *a, json_t *content)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s?, s:s?, s:o}", "id", a->id, "type", "message",
                     "role", "assistant", "model", a->reply.model, "content", content,
                     "stop_reason", a->reason, "stop_sequence", a->stop, "usage", usage_json(a));
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

static json_t *content_json(answer *a)
{
    json_t *message = json_loads(a->message != NULL ? a->message : "{}", JSON_ALLOW_NUL, NULL);
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
        json_t *input = dw_reply_raw(&a->reply, dw_params_object_said(arguments));
        (void)json_array_append_new(content,
                                    json_pack("{s:s, s:O?, s:O?, s:o}", "type", "tool_use", "id",
                                              json_object_get(call, "id"), "name",
                                              json_object_get(function, "name"), "input", input));
    }
    json_decref(message);
    return content;
}

/* ---- what the reply tells -------------------------------------------------------------------- */

static void on_begin(dw_reply *reply, uint32_t first)
{
    (void)first;
    if (reply->streams) {
        answer *a = answer_of(reply);
        put(a, json_pack("{s:s, s:o}", "type", "message_start", "message",
                         message_json(a, json_array())));
    }
}

static void on_piece(dw_reply *reply, uint32_t choice, const dw_reply_piece *piece)
{
    answer *a = answer_of(reply);
    (void)choice;
    if (a->prompt_only) {
        return;
    }
    const json_t *calls = json_object_get(piece->delta, "tool_calls");
    put_text(a, BLOCK_THINKING, json_object_get(piece->delta, "reasoning_content"));
    put_text(a, BLOCK_TEXT, json_object_get(piece->delta, "content"));
    for (size_t i = 0; i < json_array_size(calls); i++) {
        put_call(a, json_array_get(calls, i));
    }
}

static void on_choice_end(dw_reply *reply, uint32_t choice, const dw_choice_end *end)
{
    answer *a = answer_of(reply);
    (void)choice;
    a->stop = end->stop != NULL ? dw_strdup(end->stop) : NULL;
    a->message = end->message != NULL && !a->prompt_only ? dw_strdup(end->message) : NULL;
    a->reason = strcmp(end->reason, "length") == 0 || a->prompt_only ? "max_tokens"
                : strcmp(end->reason, "tool_calls") == 0             ? "tool_use"
                : end->stop != NULL                                  ? "stop_sequence"
                                                                     : "end_turn";
    if (reply->streams) {
        end_block(a);
    }
}

static void fail(dw_reply *reply)
{
    int status = dw_http_status(reply->status);
    json_t *error = dw_anthropic_error(status, reply->error.message);
    if (reply->begun) {
        put(answer_of(reply), error);
        dw_reply_end_stream(reply);
    } else {
        dw_reply_send(reply, status, error);
    }
}

static void finish(dw_reply *reply)
{
    answer *a = answer_of(reply);
    if (!reply->streams) {
        dw_reply_send(reply, 200, message_json(a, content_json(a)));
        return;
    }
    put(a, json_pack("{s:s, s:{s:s?, s:s?}, s:o}", "type", "message_delta", "delta", "stop_reason",
                     a->reason, "stop_sequence", a->stop, "usage", usage_json(a)));
    put(a, json_pack("{s:s}", "type", "message_stop"));
    dw_reply_end_stream(reply);
}

static const dw_writer writer = {
    .stream_type = DW_EVENT_STREAM,
    .on_begin = on_begin,
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .finish = finish,
    .fail = fail,
    .on_silence = on_silence,
    .release = release,
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
    int64_t most = dw_params_whole(body, "max_tokens", 0, 2147483647, 0, fault);
    if (!dw_params_has(body, "max_tokens")) {
        dw_fault_set(fault, 400, "max_tokens", "max_tokens: Field required");
    }
    (void)json_object_set_new(message, "max", json_integer(most > 0 ? most : 1));
    return message;
}

void dw_anthropic_messages(dw_server *server, dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    json_t *body = dw_params_body(exchange, &fault);
    json_t *chat = NULL;
    json_t *message = NULL;
    dw_reply *reply = dw_reply_create(sizeof(answer), &writer, server, exchange);
    if (reply == NULL) {
        dw_fault_set(&fault, 503, NULL, "no memory for a request");
    } else if (body != NULL) {
        message = read_generation(body, &fault);
        chat = dw_anthropic_chat(body, &fault);
        answer_of(reply)->prompt_only = json_number_value(json_object_get(body, "max_tokens")) == 0;
        dw_reply_read(reply, body, 1, false, &fault);
        dw_make_id(answer_of(reply)->id, sizeof answer_of(reply)->id, "msg_");
        dw_reply_read_linger(reply, answer_of(reply)->id, &fault);
    }
    if (!dw_fault_is_set(&fault)) {
        dw_reply_ask(reply, chat, message);
        dw_reply_go(reply);
    } else {
        dw_anthropic_fail(exchange, fault.status, fault.what);
        if (reply != NULL) {
            dw_reply_drop(reply);
        }
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

void dw_anthropic_count_tokens(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin(server, exchange, count_tokens, dw_anthropic_fail);
}
