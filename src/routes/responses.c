/* OpenAI's /v1/responses: an answer as items, whole or as events, kept so that others go on from
 * it. */
#include "routes/responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nettle/base64.h>

#include "base/alloc.h"
#include "routes/logprobs.h"
#include "routes/routes.h"

#define STREAM_KEPT_MS 300000 /* of one in the background, behind its end */

/* What kind of item is open. */
typedef enum item_kind { ITEM_NONE, ITEM_REASONING, ITEM_MESSAGE } item_kind;

typedef struct response {
    dw_reply reply;
    json_t *request;          /* its body */
    json_t *head;             /* members of the response that are the request's */
    json_t *before;           /* items that it goes on from */
    json_t *referred;         /* ids that its input refers to: members, until found */
    json_t *known;            /* what they name, by them */
    json_t *input;            /* items */
    json_t *output;           /* items that are whole */
    json_t *tools;            /* dw__response_tools */
    const char *previous;     /* the request's; NULL: none */
    const char *conversation; /* likewise */
    bool stores;
    bool background;
    bool seals; /* reasoning as encrypted_content too */
    int64_t created_s;
    int64_t completed_s; /* 0: not yet */
    const char *state;   /* static: OpenAI's status */
    bool cut;            /* by max_output_tokens */
    item_kind open;
    char item[64];    /* id of the one that is open */
    dw_text text;     /* of it */
    json_t *logprobs; /* of it; NULL: none are asked for */
    dw_status status; /* of loading and keeping */
    dw_error error;
} response;

static response *response_of(dw_reply *reply)
{
    return (response *)(void *)reply;
}

static void release(dw_reply *reply)
{
    response *r = response_of(reply);
    json_decref(r->request);
    json_decref(r->head);
    json_decref(r->before);
    json_decref(r->known);
    json_decref(r->referred);
    json_decref(r->input);
    json_decref(r->output);
    json_decref(r->tools);
    json_decref(r->logprobs);
    dw_text_free(&r->text);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static json_t *usage_json(const response *r)
{
    const dw_reply *reply = &r->reply;
    return json_pack("{s:I, s:{s:I, s:i}, s:I, s:{s:I}, s:I}", "input_tokens",
                     (json_int_t)reply->prompt_tokens, "input_tokens_details", "cached_tokens",
                     (json_int_t)reply->cached_tokens, "cache_write_tokens", 0, "output_tokens",
                     (json_int_t)reply->answer_tokens, "output_tokens_details", "reasoning_tokens",
                     (json_int_t)reply->reasoning_tokens, "total_tokens",
                     (json_int_t)(reply->prompt_tokens + reply->answer_tokens));
}

static json_t *error_json(const response *r)
{
    const dw_reply *reply = &r->reply;
    bool told = reply->status != DW_OK && reply->status != DW_E_CANCELLED;
    if (!told) {
        return json_null();
    }
    return json_pack("{s:s, s:o}", "code",
                     dw_http_status(reply->status) < 500 ? "invalid_prompt" : "server_error",
                     "message", dw_message_json(reply->error.message));
}

static json_t *response_json(const response *r)
{
    json_t *body = json_deep_copy(r->head);
    bool ended = strcmp(r->state, "completed") == 0 || strcmp(r->state, "incomplete") == 0;
    json_t *members =
        json_pack("{s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:o, s:s, s:o}", "id", r->reply.id, "object",
                  "response", "created_at", (json_int_t)r->created_s, "status", r->state,
                  "completed_at", r->completed_s > 0 ? json_integer(r->completed_s) : json_null(),
                  "error", error_json(r), "incomplete_details",
                  r->cut ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null(),
                  "output", json_deep_copy(r->output), "model", r->reply.model, "usage",
                  ended ? usage_json(r) : json_null());
    (void)json_object_update(body, members);
    json_decref(members);
    (void)json_object_set_new(body, "conversation",
                              r->conversation != NULL ? json_pack("{s:s}", "id", r->conversation)
                                                      : json_null());
    return body;
}

/* ---- events --------------------------------------------------------------------------------- */

/* An event, which is released, with its number. */
static void put(response *r, const char *type, json_t *event)
{
    if (!r->reply.streams) {
        json_decref(event);
        return;
    }
    (void)json_object_set_new(event, "type", json_string(type));
    (void)json_object_set_new(event, "sequence_number",
                              json_integer((json_int_t)r->reply.event_count));
    dw_reply_put(&r->reply, type, event);
}

static void put_state(response *r, const char *type)
{
    put(r, type, json_pack("{s:o}", "response", response_json(r)));
}

/* Of the item that is open; `members` is released. */
static void put_part(response *r, const char *type, json_t *members)
{
    (void)json_object_set_new(members, "item_id", json_string(r->item));
    (void)json_object_set_new(members, "output_index",
                              json_integer((json_int_t)json_array_size(r->output)));
    put(r, type, members);
}

static void put_item(response *r, const char *type, json_t *item)
{
    put(r, type,
        json_pack("{s:I, s:O}", "output_index", (json_int_t)json_array_size(r->output), "item",
                  item));
}

static json_t *part_json(const response *r)
{
    json_t *text = json_stringn(r->text.bytes != NULL ? r->text.bytes : "", r->text.count);
    text = text != NULL ? text : json_string("");
    if (r->open == ITEM_REASONING) {
        return json_pack("{s:s, s:o}", "type", "reasoning_text", "text", text);
    }
    return json_pack("{s:s, s:o, s:[], s:o}", "type", "output_text", "text", text, "annotations",
                     "logprobs", r->logprobs != NULL ? json_deep_copy(r->logprobs) : json_array());
}

/* The text of reasoning for clients that keep all themselves; nothing that they may not know. */
static json_t *sealed(const response *r)
{
    size_t length = BASE64_ENCODE_RAW_LENGTH(r->text.count);
    char *text = dw_alloc(length + 1, 1);
    json_t *value = NULL;
    if (text != NULL) {
        base64_encode_raw(text, r->text.count, (const uint8_t *)r->text.bytes);
        value = json_stringn(text, length);
    }
    dw_free(text);
    return value != NULL ? value : json_null();
}

static json_t *item_json(const response *r, const char *state, bool whole)
{
    json_t *content = whole ? json_pack("[o]", part_json(r)) : json_array();
    if (r->open == ITEM_REASONING) {
        json_t *item = json_pack("{s:s, s:s, s:[], s:o, s:s}", "id", r->item, "type", "reasoning",
                                 "summary", "content", content, "status", state);
        if (r->seals && whole) {
            (void)json_object_set_new(item, "encrypted_content", sealed(r));
        }
        return item;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", r->item, "type", "message", "status", state,
                     "role", "assistant", "content", content);
}

static void close_item(response *r)
{
    bool is_message = r->open == ITEM_MESSAGE;
    if (r->open == ITEM_NONE) {
        return;
    }
    json_t *part = part_json(r);
    json_t *done =
        json_pack("{s:i, s:O}", "content_index", 0, "text", json_object_get(part, "text"));
    if (is_message) {
        (void)json_object_set(done, "logprobs", json_object_get(part, "logprobs"));
    }
    put_part(r, is_message ? "response.output_text.done" : "response.reasoning_text.done", done);
    put_part(r, "response.content_part.done",
             json_pack("{s:i, s:o}", "content_index", 0, "part", part));
    json_t *item = item_json(r, r->cut && is_message ? "incomplete" : "completed", true);
    put_item(r, "response.output_item.done", item);
    (void)json_array_append_new(r->output, item);
    r->open = ITEM_NONE;
    r->text.count = 0;
    if (r->logprobs != NULL) {
        (void)json_array_clear(r->logprobs);
    }
}

static void open_item(response *r, item_kind kind)
{
    if (r->open == kind) {
        return;
    }
    close_item(r);
    r->open = kind;
    dw_make_id(r->item, sizeof r->item, kind == ITEM_MESSAGE ? "msg_" : "rs_");
    json_t *item = item_json(r, "in_progress", false);
    put_item(r, "response.output_item.added", item);
    json_decref(item);
    put_part(r, "response.content_part.added",
             json_pack("{s:i, s:o}", "content_index", 0, "part", part_json(r)));
}

static void put_text(response *r, item_kind kind, const json_t *text, const json_t *logprobs)
{
    size_t bytes = json_string_length(text);
    if (bytes == 0) {
        return;
    }
    open_item(r, kind);
    json_t *event = json_pack("{s:i, s:O}", "content_index", 0, "delta", text);
    if (kind == ITEM_MESSAGE) {
        json_t *list = json_array();
        dw_logprobs_add(list, r->logprobs != NULL ? logprobs : NULL);
        (void)json_array_extend(r->logprobs, list);
        (void)json_object_set_new(event, "logprobs", list);
    }
    put_part(r,
             kind == ITEM_MESSAGE ? "response.output_text.delta" : "response.reasoning_text.delta",
             event);
    if (!dw_text_add(&r->text, json_string_value(text), bytes)) {
        dw_reply_cancel(&r->reply);
    }
}

/* `tool`: of dw__response_tools, or NULL. */
static json_t *call_json(const char *id, const char *state, const json_t *call, json_t *said,
                         const json_t *tool)
{
    const json_t *function = json_object_get(call, "function");
    bool is_custom = json_is_true(json_object_get(tool, "custom"));
    json_t *space = json_object_get(tool, "namespace");
    json_t *item =
        json_pack("{s:s, s:s, s:s, s:O?, s:O?, s:o}", "id", id, "type",
                  is_custom ? "custom_tool_call" : "function_call", "status", state, "call_id",
                  json_object_get(call, "id"), "name", json_object_get(function, "name"),
                  is_custom ? "input" : "arguments", said);
    if (json_is_string(space)) {
        (void)json_object_set(item, "namespace", space);
    }
    return item;
}

/* A call is whole when it comes. */
static void put_call(response *r, const json_t *call)
{
    const json_t *function = json_object_get(call, "function");
    const char *name = json_string_value(json_object_get(function, "name"));
    json_t *said = json_incref(json_object_get(function, "arguments"));
    const json_t *tool = name != NULL ? json_object_get(r->tools, name) : NULL;
    bool is_custom = json_is_true(json_object_get(tool, "custom"));
    if (is_custom) {
        json_t *object = dw_params_said(json_string_value(said), JSON_ALLOW_NUL);
        json_decref(said);
        said = json_incref(json_object_get(object, "input"));
        json_decref(object);
    }
    said = said != NULL ? said : json_string("");
    close_item(r);
    dw_make_id(r->item, sizeof r->item, is_custom ? "ctc_" : "fc_");
    json_t *begun = call_json(r->item, "in_progress", call, json_string(""), tool);
    put_item(r, "response.output_item.added", begun);
    put_part(r,
             is_custom ? "response.custom_tool_call_input.delta"
                       : "response.function_call_arguments.delta",
             json_pack("{s:O}", "delta", said));
    put_part(r,
             is_custom ? "response.custom_tool_call_input.done"
                       : "response.function_call_arguments.done",
             json_pack("{s:O, s:s}", is_custom ? "input" : "arguments", said, "name",
                       name != NULL ? name : ""));
    json_t *item = call_json(r->item, "completed", call, said, tool);
    put_item(r, "response.output_item.done", item);
    (void)json_array_append_new(r->output, item);
    json_decref(begun);
}

/* ---- what the reply tells ------------------------------------------------------------------- */

static void on_begin(dw_reply *reply, uint32_t first)
{
    response *r = response_of(reply);
    (void)first;
    r->state = "in_progress";
    if (!r->background) {
        put_state(r, "response.created");
    }
    put_state(r, "response.in_progress");
}

static void on_piece(dw_reply *reply, uint32_t choice, const dw_reply_piece *piece)
{
    response *r = response_of(reply);
    (void)choice;
    const json_t *calls = json_object_get(piece->delta, "tool_calls");
    put_text(r, ITEM_REASONING, json_object_get(piece->delta, "reasoning_content"), NULL);
    put_text(r, ITEM_MESSAGE, json_object_get(piece->delta, "content"), piece->logprobs);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        put_call(r, json_array_get(calls, i));
    }
}

static void on_choice_end(dw_reply *reply, uint32_t choice, const dw_choice_end *end)
{
    response *r = response_of(reply);
    (void)choice;
    r->cut = strcmp(end->reason, "length") == 0;
    close_item(r);
}

/* ---- keeping it ----------------------------------------------------------------------------- */

static void keep(dw_reply *reply)
{
    response *r = response_of(reply);
    dw_archive *archive = reply->server->archive;
    json_t *body = response_json(r);
    dw_archive_response kept = {.tenant = reply->tenant,
                                .id = reply->id,
                                .previous = r->previous,
                                .body = body,
                                .input = r->input};
    r->status = DW_OK;
    if (r->conversation != NULL && r->completed_s > 0) {
        json_t *items = json_deep_copy(r->input);
        (void)json_array_extend(items, r->output);
        r->status = dw_archive_add_items(archive, reply->tenant, r->conversation, items, &r->error);
        json_decref(items);
    }
    if (r->status == DW_OK && r->stores) {
        r->status = dw_archive_put(archive, &kept, &r->error);
        (void)!dw_archive_trim(archive, reply->server->responses_max, NULL);
    }
    json_decref(body);
}

static void tell_end(dw_reply *reply)
{
    response *r = response_of(reply);
    if (r->status != DW_OK && reply->status == DW_OK) {
        reply->status = r->status;
        reply->error = r->error;
        r->state = "failed";
    }
    if (reply->begun && reply->event_count == 0) { /* comments alone came before it failed */
        const char *state = r->state;
        r->state = "in_progress";
        put_state(r, "response.created");
        r->state = state;
    }
    if (reply->begun || reply->log.count > 0) {
        put_state(r, strcmp(r->state, "completed") == 0    ? "response.completed"
                     : strcmp(r->state, "incomplete") == 0 ? "response.incomplete"
                                                           : "response.failed");
        dw_reply_end_stream(reply);
    } else if (reply->status != DW_OK && !r->background && reply->status != DW_E_CANCELLED) {
        int status = dw_http_status(reply->status);
        dw_reply_send(reply, status,
                      dw_openai_error(status, status >= 500 ? NULL : "input",
                                      dw_reply_fault_code(reply), reply->error.message));
    } else {
        dw_reply_send(reply, 200, response_json(r));
    }
}

static bool is_kept(const response *r)
{
    return r->reply.server->archive != NULL && (r->stores || r->conversation != NULL);
}

static void finish(dw_reply *reply)
{
    response *r = response_of(reply);
    r->state = r->cut ? "incomplete" : "completed";
    r->completed_s = (int64_t)time(NULL);
    if (is_kept(r)) {
        dw_reply_work(reply, keep, tell_end);
    } else {
        tell_end(reply);
    }
}

static void fail(dw_reply *reply)
{
    response *r = response_of(reply);
    r->state = reply->status == DW_E_CANCELLED ? "cancelled" : "failed";
    if (r->background && is_kept(r)) {
        dw_reply_work(reply, keep, tell_end);
    } else {
        tell_end(reply);
    }
}

static const dw_writer writer = {
    .stream_type = DW_EVENT_STREAM,
    .wants_deltas = true,
    .on_begin = on_begin,
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .finish = finish,
    .fail = fail,
    .on_silence = dw_reply_put_comment,
    .release = release,
};

json_t *dw__response_now(dw_reply *reply)
{
    return reply->writer == &writer ? response_json(response_of(reply)) : NULL;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void refuse(response *r, const dw_fault *fault)
{
    dw_reply_send(&r->reply, fault->status,
                  dw_openai_error(fault->status, fault->param, fault->code, fault->what));
}

/* The client of one in the background is told that it was taken. */
static void answer_at_once(response *r)
{
    dw_exchange *exchange = r->reply.exchange;
    if (!r->background) {
        return;
    }
    put_state(r, "response.created");
    put_state(r, "response.queued");
    if (!r->reply.streams && exchange != NULL) {
        r->reply.exchange = NULL;
        dw_exchange_watch(exchange, NULL, NULL, NULL);
        dw_send_json(exchange, 200, response_json(r));
    }
}

/* What it goes on from is there. */
static void ask(dw_reply *reply)
{
    response *r = response_of(reply);
    dw_fault fault = {.status = 0};
    json_t *chat = NULL;
    json_t *message = NULL;
    if (r->status != DW_OK) {
        dw_fault_set(&fault, dw_http_status(r->status),
                     r->previous != NULL       ? "previous_response_id"
                     : r->conversation != NULL ? "conversation"
                                               : "input",
                     "%s", r->error.message);
        fault.code = r->status == DW_E_NOT_FOUND && r->previous != NULL
                         ? "previous_response_not_found"
                         : NULL;
    } else {
        r->input = dw__items_read(json_object_get(r->request, "input"), "input", r->known, &fault);
        message = dw__response_message(r->request, &fault);
        chat = r->input != NULL ? dw__response_chat(r->request, r->before, r->input, &fault) : NULL;
    }
    if (dw_fault_is_set(&fault)) {
        refuse(r, &fault);
    } else if (reply->exchange == NULL && !r->background) {
        dw_reply_drop(reply); /* the client has gone meanwhile */
    } else {
        reply->endures = r->background;
        reply->linger_ms = r->background && reply->streams ? STREAM_KEPT_MS : reply->linger_ms;
        if (json_integer_value(json_object_get(message, "logprobs")) >= 0) {
            r->logprobs = json_array();
        }
        answer_at_once(r);
        dw_reply_ask(reply, chat, message);
        dw_reply_go(reply);
    }
    json_decref(chat);
    json_decref(message);
}

/* Clients that send all of a conversation refer to what was answered before: in what it goes on
 * from, or anywhere. What is not there is told when the input is read. */
static void load_referred(response *r)
{
    const dw_reply *reply = &r->reply;
    r->known = json_object();
    for (size_t i = 0; i < json_array_size(r->before); i++) {
        json_t *item = json_array_get(r->before, i);
        const char *id = json_string_value(json_object_get(item, "id"));
        if (id != NULL && json_object_get(r->referred, id) != NULL) {
            (void)json_object_set(r->known, id, item);
            (void)json_object_del(r->referred, id);
        }
    }
    if (r->status == DW_OK && json_object_size(r->referred) > 0 && reply->server->archive != NULL) {
        r->status = dw_archive_find_items(reply->server->archive, reply->tenant, r->referred,
                                          r->known, &r->error);
    }
}

static void load(dw_reply *reply)
{
    response *r = response_of(reply);
    dw_archive *archive = reply->server->archive;
    r->before = json_array();
    if (r->previous == NULL && r->conversation == NULL) {
        return;
    }
    if (archive == NULL) {
        r->status = dw_fail(&r->error, DW_E_NOT_FOUND, "nothing is kept by this server");
    } else if (r->previous != NULL) {
        r->status =
            dw_archive_get_thread(archive, reply->tenant, r->previous, r->before, &r->error);
    } else if (r->conversation != NULL) {
        r->status =
            dw_archive_get_items(archive, reply->tenant, r->conversation, r->before, &r->error);
    }
}

/* Those of the background are kept before they are begun, so that their end is told after a
 * restart, too. */
static void load_or_keep(dw_reply *reply)
{
    response *r = response_of(reply);
    load(reply);
    load_referred(r);
    if (r->background && r->status == DW_OK) {
        dw_fault fault = {.status = 0};
        r->input = dw__items_read(json_object_get(r->request, "input"), "input", r->known, &fault);
        if (r->input != NULL) { /* else `ask` refuses it */
            keep(reply);
        }
        json_decref(r->input);
        r->input = NULL;
    }
}

static void read_request(response *r, dw_fault *fault)
{
    const json_t *conversation = json_object_get(r->request, "conversation");
    r->previous = dw_params_string(r->request, "previous_response_id", fault);
    r->conversation = json_is_object(conversation)
                          ? dw_params_string(conversation, "id", fault)
                          : dw_params_string(r->request, "conversation", fault);
    r->stores = dw_params_truth(r->request, "store", true, fault);
    r->background = dw_params_truth(r->request, "background", false, fault);
    r->seals = dw__response_includes(r->request, "reasoning.encrypted_content");
    if (r->previous != NULL && r->conversation != NULL) {
        dw_fault_set(fault, 400, "previous_response_id",
                     "previous_response_id and conversation: one of the two");
    }
    if (r->background && (!r->stores || r->reply.server->archive == NULL)) {
        dw_fault_set(fault, 400, "background", "background needs store to be true");
    }
    dw_reply_read(&r->reply, r->request, 1, false, fault);
}

void dw_responses_create(dw_server *server, dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    dw_reply *reply = dw_reply_create(sizeof(response), &writer, server, exchange);
    if (reply == NULL) {
        dw_openai_fail(exchange, 503, NULL, NULL, "no memory for a request");
        return;
    }
    response *r = response_of(reply);
    dw_make_id(reply->id, sizeof reply->id, "resp_");
    r->created_s = (int64_t)time(NULL);
    r->state = "queued";
    r->request = dw_params_body(exchange, &fault);
    if (r->request != NULL) {
        read_request(r, &fault);
        r->referred = dw__items_referred(json_object_get(r->request, "input"), "input", &fault);
        dw_reply_read_linger(reply, reply->id, &fault);
    }
    r->head = dw__response_head(r->request);
    r->tools = dw__response_tools(r->request);
    r->output = json_array();
    if (dw_fault_is_set(&fault)) {
        refuse(r, &fault);
    } else if (r->previous != NULL || r->conversation != NULL || r->background ||
               json_object_size(r->referred) > 0) {
        dw_reply_work(reply, load_or_keep, ask);
    } else {
        ask(reply);
    }
}
