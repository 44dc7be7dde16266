#include "serving/reply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "serving/metrics.h"
#include "serving/openai.h"
#include "serving/raw.h"
#include "serving/url.h"

#define BACKLOG_MAX ((size_t)1 << 20) /* that a client has not read */
#define BACKLOG_LOW ((size_t)1 << 18)
#define LOG_MAX ((size_t)16 << 20)   /* of one that can be taken up */
#define LOGS_MAX ((size_t)512 << 20) /* of all of them */

static void on_gone(void *owner);
static void on_taken(void *owner);
static void conclude(dw_reply *reply);

/* ---- beginnings and ends -------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *timer)
{
    dw_reply *reply = timer->data;
    if (--reply->handles > 0) {
        return;
    }
    reply->writer->release(reply);
    reply->server->log_bytes -= reply->log.count;
    dw_text_free(&reply->log);
    dw_text_free(&reply->lines);
    json_decref(reply->raws);
    dw_free(reply->starts);
    dw_free(reply->model);
    dw_free(reply);
}

static void release(dw_reply *reply)
{
    uint64_t answered = reply->answer_tokens > 0 ? reply->answer_tokens : reply->piece_count;
    dw_keys_spend(reply->server->keys, reply->key, reply->prompt_tokens + answered);
    if (reply->before != NULL) {
        reply->before->next = reply->next;
    } else {
        reply->server->replies = reply->next;
    }
    if (reply->next != NULL) {
        reply->next->before = reply->before;
    }
    uv_close((uv_handle_t *)&reply->timer, on_timer_closed);
    uv_close((uv_handle_t *)&reply->patience, on_timer_closed);
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

static void pause_all(dw_reply *reply, bool paused)
{
    reply->paused = paused;
    for (uint32_t i = 0; i < reply->part_count; i++) {
        if (reply->parts[i].task != NULL) {
            dw_task_pause(reply->parts[i].task, paused);
        }
    }
}

static void on_patience(uv_timer_t *timer)
{
    dw_reply *reply = timer->data;
    if (reply->exchange == NULL && !reply->works) {
        leave_tasks(reply);
        release(reply);
    }
}

static bool may_come_back(const dw_reply *reply)
{
    return reply->linger_ms > 0 && reply->begun && !reply->log_lost && !reply->server->leaving;
}

/* The client went. */
static void on_gone(void *owner)
{
    dw_reply *reply = owner;
    reply->exchange = NULL;
    if (reply->works) {
        return;
    }
    if (reply->endures || may_come_back(reply)) {
        pause_all(reply, false);
        if (!reply->endures) {
            (void)uv_timer_start(&reply->patience, on_patience, reply->linger_ms, 0);
        }
        return;
    }
    leave_tasks(reply);
    release(reply);
}

static void on_taken(void *owner)
{
    dw_reply *reply = owner;
    if (reply->paused && dw_exchange_backlog(reply->exchange) < BACKLOG_LOW) {
        pause_all(reply, false);
    }
}

/* It is set anew when it goes off, not for each word. */
static void on_timer(uv_timer_t *timer)
{
    dw_reply *reply = timer->data;
    uint64_t silent_ms = uv_now(&reply->server->loop) - reply->word_ms;
    uint64_t beat_ms = reply->server->heartbeat_ms;
    bool is_due = silent_ms >= beat_ms;
    (void)uv_timer_start(timer, on_timer, is_due ? beat_ms : beat_ms - silent_ms, 0);
    if (is_due && reply->exchange != NULL && reply->streams && !reply->ended) {
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
    reply->key = dw_keys_find(server->keys, exchange);
    (void)snprintf(reply->tenant, sizeof reply->tenant, "%s", dw_tenant_of(server, exchange));
    (void)uv_timer_init(&server->loop, &reply->timer);
    (void)uv_timer_init(&server->loop, &reply->patience);
    reply->handles = 2;
    reply->timer.data = reply->patience.data = reply;
    reply->word_ms = uv_now(&server->loop);
    (void)uv_timer_start(&reply->timer, on_timer, server->heartbeat_ms, 0);
    reply->next = server->replies;
    if (server->replies != NULL) {
        server->replies->before = reply;
    }
    server->replies = reply;
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
    char what[DW_MODELS_MISSING_BYTES];
    const char *model = dw_params_string(body, "model", fault);
    dw_named_model *named = dw_models_find(reply->server, reply->tenant, model);
    reply->streams = dw_params_truth(body, "stream", streams, fault);
    reply->n = n;
    dw_terms_read(&reply->terms, reply->exchange, body, fault);
    if (named == NULL) {
        fault->code = dw_fault_is_set(fault) ? fault->code : "model_not_found";
        dw_fault_set(fault, 404, "model", "%s",
                     dw_models_refusal(reply->server, dw_exchange_is_own_user(reply->exchange),
                                       model, what));
        return;
    }
    reply->model = dw_strdup(named->name);
    if (reply->model == NULL) {
        dw_fault_set(fault, 503, NULL, "no memory for a request");
    }
}

/* It has ended: gone, or kept for a while. */
static void retire(dw_reply *reply)
{
    if (reply->exchange == NULL && reply->ended) {
        if (may_come_back(reply)) {
            (void)uv_timer_start(&reply->patience, on_patience, reply->linger_ms, 0);
        } else {
            release(reply);
        }
    }
}

/* ---- work off the loop ---------------------------------------------------------------------- */

static void work(uv_work_t *queued)
{
    dw_reply *reply = queued->data;
    reply->worker(reply);
}

static void on_worked(uv_work_t *queued, int result)
{
    dw_reply *reply = queued->data;
    (void)result;
    reply->works = false;
    reply->worked(reply);
}

void dw_reply_work(dw_reply *reply, void (*worker)(dw_reply *reply),
                   void (*worked)(dw_reply *reply))
{
    reply->works = true;
    reply->worker = worker;
    reply->worked = worked;
    reply->work.data = reply;
    if (reply->exchange != NULL) {
        dw_exchange_watch(reply->exchange, on_gone, on_taken, reply);
    }
    if (uv_queue_work(&reply->server->loop, &reply->work, work, on_worked) < 0) {
        work(&reply->work);
        on_worked(&reply->work, 0);
    }
}

/* ---- streams that are taken up again -------------------------------------------------------- */

void dw_reply_read_linger(dw_reply *reply, const char *id, dw_fault *fault)
{
    const char *given = dw_exchange_header(reply->exchange, "x-driftwood-linger");
    char *end = NULL;
    if (given == NULL) {
        return;
    }
    long seconds = strtol(given, &end, 10);
    if (end == given || *end != '\0' || seconds < 0 || seconds > DW_LINGER_S_MAX) {
        dw_fault_set(fault, 400, "x-driftwood-linger",
                     "x-driftwood-linger is '%.20s'; seconds from 0 to %d are wanted", given,
                     DW_LINGER_S_MAX);
        return;
    }
    if (seconds > 0 && reply->streams) {
        reply->linger_ms = (uint32_t)seconds * 1000;
        if (id != NULL) {
            (void)snprintf(reply->id, sizeof reply->id, "%s", id);
        } else {
            dw_make_id(reply->id, sizeof reply->id, "stream_");
        }
        dw_exchange_set_header(reply->exchange, "X-Driftwood-Stream", reply->id);
    }
}

dw_reply *dw_reply_find(dw_server *server, const char *tenant, const char *id)
{
    for (dw_reply *reply = server->replies; reply != NULL && id[0] != '\0'; reply = reply->next) {
        if (strcmp(reply->id, id) == 0 && strcmp(reply->tenant, tenant) == 0) {
            return reply;
        }
    }
    return NULL;
}

bool dw_reply_attach(dw_reply *reply, dw_exchange *exchange, int64_t after)
{
    uint64_t first = (uint64_t)(after + 1);
    if (reply->log_lost || first > reply->event_count) {
        return false;
    }
    if (reply->exchange != NULL) { /* its client has come again before it was missed */
        dw_exchange_watch(reply->exchange, NULL, NULL, NULL);
        dw_exchange_end(reply->exchange);
    }
    (void)uv_timer_stop(&reply->patience);
    reply->exchange = exchange;
    reply->begun = true;
    dw_exchange_begin(exchange, 200, reply->writer->stream_type);
    if (first < reply->event_count) {
        size_t start = reply->starts[first];
        dw_exchange_write(exchange, reply->log.bytes + start, reply->log.count - start);
    }
    if (reply->ended) {
        reply->exchange = NULL;
        dw_exchange_end(exchange);
        retire(reply);
    } else {
        dw_exchange_watch(exchange, on_gone, on_taken, reply);
    }
    return true;
}

void dw_reply_cancel(dw_reply *reply)
{
    if (!reply->works && !reply->ended) {
        reply->status = dw_fail(&reply->error, DW_E_CANCELLED, "it was cancelled");
        leave_tasks(reply);
        conclude(reply);
    }
}

void dw_replies_forget(dw_server *server)
{
    dw_reply *next = NULL;
    for (dw_reply *reply = server->replies; reply != NULL; reply = next) {
        next = reply->next;
        if (reply->ended && !reply->works) {
            release(reply);
        }
    }
}

/* An event can be told again. */
static void log_event(dw_reply *reply, const char *bytes, size_t count)
{
    if ((reply->linger_ms == 0 && !reply->endures) || reply->log_lost) {
        return;
    }
    if (reply->event_count == reply->start_room) {
        size_t room = reply->start_room * 2 + 64;
        size_t *starts = dw_realloc(reply->starts, room, sizeof *starts);
        reply->log_lost = starts == NULL;
        reply->starts = starts != NULL ? starts : reply->starts;
        reply->start_room = starts != NULL ? room : reply->start_room;
    }
    if (!reply->log_lost) {
        reply->starts[reply->event_count] = reply->log.count;
    }
    if (reply->log_lost || reply->log.count + count > LOG_MAX ||
        reply->server->log_bytes + count > LOGS_MAX || !dw_text_add(&reply->log, bytes, count)) {
        reply->log_lost = true;
        reply->server->log_bytes -= reply->log.count;
        dw_text_free(&reply->log);
        reply->log = (dw_text){.bytes = NULL};
    } else {
        reply->server->log_bytes += count;
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
    reply->word_ms = uv_now(&reply->server->loop);
    if (!reply->paused && dw_exchange_backlog(reply->exchange) > BACKLOG_MAX) {
        pause_all(reply, true);
    }
}

void dw_reply_write_event(dw_reply *reply, const char *bytes, size_t count)
{
    log_event(reply, bytes, count);
    reply->event_count++;
    dw_reply_write(reply, bytes, count);
}

static bool add(dw_text *to, const char *text)
{
    return dw_text_add(to, text, strlen(text));
}

void dw_reply_put_text(dw_reply *reply, const char *type, const char *text, size_t bytes)
{
    dw_text *lines = &reply->lines;
    char number[32] = "";
    lines->count = 0;
    if (reply->linger_ms > 0) {
        (void)snprintf(number, sizeof number, "id: %llu\n", (unsigned long long)reply->event_count);
    }
    bool typed = type == NULL || (add(lines, "event: ") && add(lines, type) && add(lines, "\n"));
    if (typed && add(lines, number) && add(lines, "data: ") && dw_text_add(lines, text, bytes) &&
        add(lines, "\n\n")) {
        dw_reply_write_event(reply, lines->bytes, lines->count);
    }
}

json_t *dw_reply_raw(dw_reply *reply, char *text)
{
    if (reply->raws == NULL) {
        reply->raws = json_object();
    }
    json_t *value = text != NULL ? dw_raw_add(reply->raws, text) : NULL;
    dw_free(text);
    return value != NULL ? value : json_object();
}

/* `value` as text behind what is there. */
static bool dump(const dw_reply *reply, dw_text *to, const json_t *value)
{
    bool good = dw_raw_dump(to, value, reply->raws);
    (void)json_object_clear(reply->raws);
    return good;
}

void dw_reply_put(dw_reply *reply, const char *type, json_t *event)
{
    dw_text text = {.bytes = NULL};
    if (dump(reply, &text, event)) {
        dw_reply_put_text(reply, type, text.bytes, text.count);
    }
    json_decref(event); /* which `type` may be in */
    dw_text_free(&text);
}

void dw_reply_put_line(dw_reply *reply, json_t *line)
{
    dw_text text = {.bytes = NULL};
    if (dump(reply, &text, line) && add(&text, "\n")) {
        dw_reply_write_event(reply, text.bytes, text.count);
    }
    json_decref(line);
    dw_text_free(&text);
}

void dw_reply_put_comment(dw_reply *reply)
{
    static const char comment[] = ": working\n\n";
    /* OpenAI's library takes an empty line for an event once events had numbers; others that look
     * for empty lines alone would not see an event right behind a comment. */
    dw_reply_write(reply, comment, sizeof comment - (reply->linger_ms > 0 ? 2 : 1));
}

void dw_reply_end_stream(dw_reply *reply)
{
    dw_exchange *exchange = reply->exchange;
    reply->ended = true;
    reply->exchange = NULL;
    if (exchange != NULL) {
        dw_exchange_watch(exchange, NULL, NULL, NULL);
        dw_exchange_end(exchange);
    }
    retire(reply);
}

void dw_reply_send(dw_reply *reply, int status, json_t *body)
{
    dw_exchange *exchange = reply->exchange;
    reply->ended = true;
    reply->exchange = NULL;
    if (exchange != NULL) {
        dw_text text = {.bytes = NULL};
        dw_exchange_watch(exchange, NULL, NULL, NULL);
        bool good = dump(reply, &text, body);
        dw_exchange_answer(exchange, status, "application/json", good ? text.bytes : "",
                           good ? text.count : 0);
        dw_text_free(&text);
    }
    json_decref(body);
    retire(reply);
}

/* ---- what tasks tell ---------------------------------------------------------------------- */

static void on_begin(void *user, uint32_t prompt_tokens, uint32_t cached_tokens)
{
    dw_reply_part *part = user;
    dw_reply *reply = part->reply;
    if (reply->prompt_ns == 0) {
        reply->prompt_ns = uv_hrtime();
        dw_metrics_took(reply->server->metrics, DW_METRICS_QUEUE,
                        reply->prompt_ns - reply->begin_ns);
    }
    reply->prompt_tokens += prompt_tokens;
    reply->cached_tokens += cached_tokens;
    if (reply->writer->on_begin != NULL) {
        reply->writer->on_begin(reply, part->first);
    }
}

/* When this piece came. */
static void note_time(dw_reply *reply)
{
    dw_metrics *metrics = reply->server->metrics;
    uint64_t now = uv_hrtime();
    if (reply->first_ns == 0) {
        reply->first_ns = now;
        dw_metrics_took(metrics, DW_METRICS_FIRST_TOKEN, now - reply->begin_ns);
        dw_metrics_took(metrics, reply->cached_tokens > 0 ? DW_METRICS_REUSE : DW_METRICS_PREFILL,
                        now - reply->prompt_ns);
    } else {
        dw_metrics_took(metrics, DW_METRICS_BETWEEN, now - reply->last_ns);
    }
    reply->last_ns = now;
}

static void on_piece(void *user, uint32_t choice, const char *delta, const char *text, size_t bytes,
                     json_t *logprobs)
{
    dw_reply_part *part = user;
    dw_reply *reply = part->reply;
    bool wanted = (reply->streams || reply->writer->wants_deltas) && !reply->writer->takes_text;
    json_t *read = delta != NULL && wanted ? json_loads(delta, JSON_ALLOW_NUL, NULL) : NULL;
    reply->piece_count++;
    note_time(reply);
    dw_reply_piece piece = {
        .delta = read, .delta_text = delta, .text = text, .bytes = bytes, .logprobs = logprobs};
    reply->writer->on_piece(reply, part->first + choice, &piece);
    json_decref(read);
}

static void on_choice_end(void *user, uint32_t choice, const dw_choice_end *end)
{
    dw_reply_part *part = user;
    dw_reply *reply = part->reply;
    reply->answer_tokens += end->tokens;
    reply->reasoning_tokens += end->reasoning_tokens;
    reply->writer->on_choice_end(reply, part->first + choice, end);
}

static void conclude(dw_reply *reply)
{
    if (reply->status != DW_OK) {
        reply->writer->fail(reply);
    } else {
        reply->writer->finish(reply);
    }
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
        dw_metrics_tokens(reply->server->metrics, reply->prompt_tokens, reply->cached_tokens,
                          reply->answer_tokens);
        conclude(reply);
    }
}

static void on_fault(void *user, const char *param)
{
    dw_reply *reply = ((dw_reply_part *)user)->reply;
    if (reply->status == DW_OK) {
        reply->fault_param = param;
    }
}

static const dw_task_ops task_ops = {
    .on_begin = on_begin,
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .on_fault = on_fault,
    .on_end = on_end,
};

const char *dw_reply_fault_code(const dw_reply *reply)
{
    return reply->status == DW_E_NOT_FOUND ? "model_not_found"
           : dw_http_status(reply->status) == 400 &&
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
    json_t *others = json_copy((json_t *)(uintptr_t)message);
    (void)json_object_del(others, "lora"); /* the task says which the guest is to have */
    char *rest = others != NULL ? dw_members_of(others) : NULL;
    const char *traceparent =
        reply->exchange != NULL ? dw_exchange_header(reply->exchange, "traceparent") : NULL;
    dw_task_request request = {.tenant = reply->tenant,
                               .traceparent = traceparent,
                               .model = reply->model,
                               .chat = text,
                               .rest = rest,
                               .lora = json_object_get(message, "lora"),
                               .n = reply->n,
                               .terms = &reply->terms,
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
    json_decref(others);
    free(text);
    free(rest);
}

void dw_reply_go(dw_reply *reply)
{
    if (reply->exchange != NULL) {
        dw_exchange_watch(reply->exchange, on_gone, on_taken, reply);
    }
    if (reply->status != DW_OK) {
        conclude(reply);
    }
}

/* ---- /v1/streams/ID ------------------------------------------------------------------------- */

/* A number that an event has, -1: before the first. */
static int64_t read_event(const char *name, const char *text, dw_fault *fault)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < -1) {
        dw_fault_set(fault, 400, name, "%s is '%.24s'; the number of an event is wanted", name,
                     text);
    }
    return number;
}

int64_t dw_reply_after(const dw_exchange *exchange, const char *name, dw_fault *fault)
{
    char text[32] = "-1";
    bool given = dw_url_text(exchange, name, text, sizeof text, fault);
    return given ? read_event(name, text, fault) : -1;
}

void dw_streams_one(dw_server *server, dw_exchange *exchange, const char *rest)
{
    dw_fault fault = {.status = 0};
    dw_http_method method = dw_exchange_method(exchange);
    dw_reply *reply = dw_reply_find(server, dw_tenant_of(server, exchange), rest);
    const char *last = dw_exchange_header(exchange, "last-event-id");
    int64_t after = last != NULL ? read_event("last-event-id", last, &fault)
                                 : dw_reply_after(exchange, "after", &fault);
    if (reply == NULL || reply->linger_ms == 0 ||
        (method != DW_HTTP_GET && method != DW_HTTP_DELETE)) {
        dw_openai_fail(exchange, 404, NULL, NULL, "there is no such stream, or no more");
    } else if (method == DW_HTTP_DELETE) {
        dw_reply_cancel(reply);
        dw_send_json(exchange, 200, json_pack("{s:s, s:b}", "id", rest, "deleted", 1));
    } else if (dw_fault_is_set(&fault)) {
        dw_openai_fault(exchange, &fault);
    } else if (!dw_reply_attach(reply, exchange, after)) {
        dw_openai_fail(exchange, 400, last != NULL ? "last-event-id" : "after", NULL,
                       "there is no such event, or none is kept");
    }
}
