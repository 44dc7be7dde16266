#include "server/reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/openai.h"

#define SILENCE_MS 10000
#define BACKLOG_MAX ((size_t)1 << 20) /* that a client has not read */
#define BACKLOG_LOW ((size_t)1 << 18)

/* ---- beginnings and ends -------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *timer)
{
    dw_reply *reply = timer->data;
    reply->writer->release(reply);
    dw_free(reply->model);
    dw_free(reply);
}

static void release(dw_reply *reply)
{
    uv_close((uv_handle_t *)&reply->timer, on_timer_closed);
}

/* Nothing more is generated for it. */
static void leave_tasks(dw_reply *reply)
{
    for (uint32_t i = 0; i < reply->part_count; i++) {
        if (reply->parts[i].task != NULL) {
            dw_task_leave(reply->parts[i].task);
            reply->parts[i].task = NULL;
        }
    }
    reply->open = 0;
}

static void on_gone(void *owner)
{
    dw_reply *reply = owner;
    reply->exchange = NULL;
    leave_tasks(reply);
    release(reply);
}

static void pause_all(dw_reply *reply, bool paused)
{
    reply->paused = paused;
    for (uint32_t i = 0; i < reply->part_count; i++) {
        if (reply->parts[i].task != NULL) {
            dw_task_pause(reply->parts[i].task, paused);
        }
    }
}

static void on_taken(void *owner)
{
    dw_reply *reply = owner;
    if (reply->paused && dw_exchange_backlog(reply->exchange) < BACKLOG_LOW) {
        pause_all(reply, false);
    }
}

static void on_timer(uv_timer_t *timer)
{
    dw_reply *reply = timer->data;
    if (reply->exchange != NULL && reply->streams) {
        reply->writer->on_silence(reply);
    }
}

dw_reply *dw_reply_create(size_t bytes, const dw_writer *writer, dw_server *server,
                          dw_exchange *exchange)
{
    dw_reply *reply = dw_alloc(1, bytes);
    if (reply == NULL) {
        return NULL;
    }
    reply->writer = writer;
    reply->server = server;
    reply->exchange = exchange;
    reply->n = 1;
    reply->begin_ns = uv_hrtime();
    (void)uv_timer_init(&server->loop, &reply->timer);
    reply->timer.data = reply;
    (void)uv_timer_start(&reply->timer, on_timer, SILENCE_MS, SILENCE_MS);
    return reply;
}

void dw_reply_drop(dw_reply *reply)
{
    leave_tasks(reply);
    reply->exchange = NULL;
    release(reply);
}

void dw_reply_read(dw_reply *reply, const json_t *body, uint32_t n, bool streams, dw_fault *fault)
{
    const char *model = dw_params_string(body, "model", fault);
    dw_named_model *named = dw_models_find(reply->server, model);
    reply->streams = dw_params_truth(body, "stream", streams, fault);
    reply->n = n;
    if (named == NULL) {
        fault->code = dw_fault_is_set(fault) ? fault->code : "model_not_found";
        dw_fault_set(fault, 404, "model", "The model '%.100s' does not exist", model);
        return;
    }
    reply->model = dw_strdup(named->name);
    if (reply->model == NULL) {
        dw_fault_set(fault, 503, NULL, "no memory for a request");
    }
}

/* ---- what goes out -------------------------------------------------------------------------- */

/* A client that reads slowly makes its answer wait. */
void dw_reply_write(dw_reply *reply, const char *bytes, size_t count)
{
    if (reply->exchange == NULL) {
        return;
    }
    if (!reply->begun) {
        reply->begun = true;
        dw_exchange_begin(reply->exchange, 200, reply->writer->stream_type);
    }
    dw_exchange_write(reply->exchange, bytes, count);
    if (!reply->paused && dw_exchange_backlog(reply->exchange) > BACKLOG_MAX) {
        pause_all(reply, true);
    }
}

static bool add(dw__text *to, const char *text)
{
    return dw__text_add(to, text, strlen(text));
}

void dw_reply_put(dw_reply *reply, const char *type, json_t *event)
{
    dw__text lines = {.bytes = NULL};
    char *text = json_dumps(event, JSON_COMPACT);
    bool typed = type == NULL || (add(&lines, "event: ") && add(&lines, type) && add(&lines, "\n"));
    if (text != NULL && typed && add(&lines, "data: ") && add(&lines, text) &&
        add(&lines, "\n\n")) {
        dw_reply_write(reply, lines.bytes, lines.count);
    }
    free(text);
    json_decref(event);
    dw__text_free(&lines);
}

void dw_reply_put_line(dw_reply *reply, json_t *line)
{
    dw__text text = {.bytes = NULL};
    char *dumped = json_dumps(line, JSON_COMPACT);
    if (dumped != NULL && add(&text, dumped) && add(&text, "\n")) {
        dw_reply_write(reply, text.bytes, text.count);
    }
    free(dumped);
    json_decref(line);
    dw__text_free(&text);
}

void dw_reply_end_stream(dw_reply *reply)
{
    if (reply->exchange != NULL) {
        dw_exchange_end(reply->exchange);
        reply->exchange = NULL;
    }
}

void dw_reply_send(dw_reply *reply, int status, json_t *body)
{
    if (reply->exchange != NULL) {
        dw__send_json(reply->exchange, status, json_incref(body));
        reply->exchange = NULL;
    }
    json_decref(body);
}

/* ---- what tasks tell ---------------------------------------------------------------------- */

static void on_begin(void *user, uint32_t prompt_tokens, uint32_t cached_tokens)
{
    dw_reply_part *part = user;
    dw_reply *reply = part->reply;
    reply->prompt_tokens += prompt_tokens;
    reply->cached_tokens += cached_tokens;
    if (reply->writer->on_begin != NULL) {
        reply->writer->on_begin(reply, part->first);
    }
}

static void on_piece(void *user, uint32_t choice, const char *delta, const char *text, size_t bytes,
                     json_t *logprobs)
{
    dw_reply_part *part = user;
    dw_reply *reply = part->reply;
    json_t *read = delta != NULL && reply->streams ? json_loads(delta, 0, NULL) : NULL;
    dw_reply_piece piece = {.delta = read, .text = text, .bytes = bytes, .logprobs = logprobs};
    reply->writer->on_piece(reply, part->first + choice, &piece);
    json_decref(read);
    (void)uv_timer_again(&reply->timer);
}

static void on_choice_end(void *user, uint32_t choice, const char *reason, const char *stop,
                          const char *message, uint32_t tokens)
{
    dw_reply_part *part = user;
    dw_reply *reply = part->reply;
    dw_reply_end end = {.reason = reason, .stop = stop, .message = message, .tokens = tokens};
    reply->answer_tokens += tokens;
    reply->writer->on_choice_end(reply, part->first + choice, &end);
}

static void conclude(dw_reply *reply)
{
    if (reply->exchange != NULL) {
        dw_exchange_watch(reply->exchange, NULL, NULL, NULL);
    }
    if (reply->status != DW_OK) {
        reply->writer->fail(reply);
    } else {
        reply->writer->finish(reply);
    }
    reply->exchange = NULL;
    release(reply);
}

static void note_failure(dw_reply *reply, dw_status status, const dw_error *error)
{
    if (status != DW_OK && reply->status == DW_OK) {
        reply->status = status;
        reply->error = *error;
        leave_tasks(reply); /* the others are of no use any more */
    }
}

static void on_end(void *user, dw_status status, const dw_error *error)
{
    dw_reply_part *part = user;
    dw_reply *reply = part->reply;
    part->task = NULL;
    reply->open--;
    note_failure(reply, status, error);
    if (reply->open == 0) {
        conclude(reply);
    }
}

static const dw_task_ops task_ops = {
    .on_begin = on_begin,
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .on_end = on_end,
};

const char *dw_reply_fault_code(const dw_reply *reply)
{
    return reply->status == DW_E_NOT_FOUND ? "model_not_found"
           : dw__http_status(reply->status) == 400 &&
                   strstr(reply->error.message, "context takes") != NULL
               ? "context_length_exceeded"
               : NULL;
}

/* ---- prompts -------------------------------------------------------------------------------- */

void dw_reply_ask(dw_reply *reply, const json_t *chat, const json_t *message)
{
    dw_error error;
    dw_reply_part *part = &reply->parts[reply->part_count];
    char *text = chat != NULL ? json_dumps(chat, JSON_COMPACT) : NULL;
    char *rest = dw__members_of(message);
    dw_task_request request = {.tenant = dw__tenant_of(reply->server, reply->exchange),
                               .model = reply->model,
                               .chat = text,
                               .rest = rest,
                               .n = reply->n,
                               .ops = &task_ops,
                               .user = part};
    part->reply = reply;
    part->first = reply->part_count * reply->n;
    reply->part_count++;
    dw_status status = DW_OK;
    if (reply->status != DW_OK) {
        status = DW_OK; /* one before it has failed */
    } else if (rest == NULL || (chat != NULL && text == NULL)) {
        status = dw_fail(&error, DW_E_MEMORY, "no memory for a request");
    } else {
        status = dw_task_begin(&part->task, reply->server, &request, &error);
        reply->open += status == DW_OK ? 1 : 0;
    }
    note_failure(reply, status, &error);
    free(text);
    free(rest);
}

void dw_reply_go(dw_reply *reply)
{
    dw_exchange_watch(reply->exchange, on_gone, on_taken, reply);
    if (reply->status != DW_OK) {
        conclude(reply);
    }
}
