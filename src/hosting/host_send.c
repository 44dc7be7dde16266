/* Messages to actors, and their answers as they come. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "hosting/host.h"

#define KEPT_MAX ((size_t)1 << 20)    /* bytes of an answer that are not yet on their way */
#define BACKLOG_MAX ((size_t)1 << 20) /* and of those that are, and were not taken */
#define TIMEOUT_MAX_MS UINT64_C(86400000)

/* op->extra */
typedef struct message {
    char traceparent[64];
    unsigned char held[4]; /* [held_bytes]: the start of a character, until its end is there */
    size_t held_bytes;
    size_t bytes;
    char text[];
} message;

/* On the thread that runs the guest. */
static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    dw__op *op = user;
    ptrdiff_t taken = (ptrdiff_t)count;
    (void)pthread_mutex_lock(&op->lock);
    if (op->news.count > KEPT_MAX) {
        taken = -EAGAIN; /* the guest waits until some of it is on its way */
    } else if (!dw_text_add(&op->news, bytes, count)) {
        taken = -ENOMEM;
    }
    (void)pthread_mutex_unlock(&op->lock);
    if (taken > 0) {
        dw__op_stir(op);
    }
    return taken;
}

static dw_status send_work(dw__op *op, dw_error *err)
{
    const message *from = op->extra;
    uint64_t number = 0;
    dw_request request = {.struct_bytes = sizeof request,
                          .message = from->text,
                          .message_bytes = from->bytes,
                          .timeout_ms = op->timeout_ms,
                          .on_answer = op->flag ? on_answer : NULL,
                          .on_end = op->flag ? dw__op_on_end : NULL,
                          .user = op,
                          .traceparent = from->traceparent[0] != '\0' ? from->traceparent : NULL};
    dw_status status = dw__op_find(op, err);
    if (status != DW_OK) {
        return status;
    }
    if (!op->flag) {
        status = dw_runtime_send(op->runtime, op->actor, &request, &op->number, err);
        return status;
    }
    dw__op_expect(op);
    (void)pthread_mutex_lock(&op->lock); /* nothing of the answer is told before its number is */
    status = dw_runtime_send(op->runtime, op->actor, &request, &number, err);
    op->subscription = number;
    bool gone = op->lost != 0;
    (void)pthread_mutex_unlock(&op->lock);
    if (status != DW_OK) {
        dw__op_part(op);
    } else if (gone) {
        (void)!dw_runtime_cancel(op->runtime, op->actor, number, NULL);
    }
    return status;
}

/* Nobody waits for the answer: the actor need not go on with it. */
static void on_gone(dw__op *op)
{
    (void)pthread_mutex_lock(&op->lock);
    uint64_t number = op->subscription;
    op->lost = 1;
    (void)pthread_mutex_unlock(&op->lock);
    if (number != 0) {
        (void)!dw_runtime_cancel(op->runtime, op->actor, number, NULL);
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

/* How many bytes at the end are the start of a character that is not whole. */
static size_t broken_off(const unsigned char *bytes, size_t count)
{
    for (size_t back = 1; back <= 3 && back <= count; back++) {
        unsigned char c = bytes[count - back];
        if (c > 0xF4) {
            return 0;
        }
        if (c >= 0xC2) {
            size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
            return length > back ? back : 0;
        }
        if (c < 0x80) {
            return 0;
        }
    }
    return 0;
}

static void put_piece(dw__op *op, const unsigned char *bytes, size_t count)
{
    const char *member = NULL;
    json_t *value = dw__bytes_json(bytes, count, &member);
    json_t *event = json_pack("{s:o}", member, value);
    char *text = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;
    if (text != NULL) {
        dw__op_put_event(op, "answer", text, strlen(text));
    }
    free(text);
    json_decref(event);
}

static void put_answer(dw__op *op, const dw_text *news, bool last)
{
    message *from = op->extra;
    dw_text whole = {.bytes = NULL};
    if (dw_text_add(&whole, from->held, from->held_bytes) &&
        dw_text_add(&whole, news->bytes, news->count)) {
        const unsigned char *bytes = (const unsigned char *)whole.bytes;
        from->held_bytes = last ? 0 : broken_off(bytes, whole.count);
        memcpy(from->held, bytes + whole.count - from->held_bytes, from->held_bytes);
        if (whole.count > from->held_bytes) {
            put_piece(op, bytes, whole.count - from->held_bytes);
        }
    }
    dw_text_free(&whole);
}

static void note_number(const dw__op *op)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)op->subscription);
    dw_exchange_set_header(op->exchange, "X-Driftwood-Message", text);
}

static dw_text take_news(dw__op *op)
{
    (void)pthread_mutex_lock(&op->lock);
    dw_text news = op->news;
    op->news = (dw_text){.bytes = NULL};
    (void)pthread_mutex_unlock(&op->lock);
    return news;
}

static void on_news(dw__op *op)
{
    if (op->exchange == NULL || dw_exchange_backlog(op->exchange) > BACKLOG_MAX) {
        return; /* what is there is looked at when some of that was taken */
    }
    dw_text news = take_news(op);
    if (news.count > 0) {
        if (!op->begun) {
            note_number(op);
        }
        if (op->is_stream) {
            put_answer(op, &news, false);
        } else {
            if (!op->begun) {
                dw_exchange_begin(op->exchange, 200, "application/octet-stream");
                op->begun = true;
            }
            dw_exchange_write(op->exchange, news.bytes, news.count);
        }
    }
    dw_text_free(&news);
}

static void end_stream(dw__op *op, const dw_text *news)
{
    if (news->count > 0 || ((message *)op->extra)->held_bytes > 0) {
        put_answer(op, news, true);
    }
    json_t *event =
        op->status == DW_OK
            ? json_pack("{s:s, s:o}", "id", op->actor, "message", dw__count_json(op->subscription))
            : json_pack("{s:{s:s, s:s}}", "error", "message", op->error.message, "code",
                        dw_status_name(op->status));
    char *text = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;
    dw__op_put_event(op, op->status == DW_OK ? "end" : "error", text != NULL ? text : "{}",
                     text != NULL ? strlen(text) : 2);
    free(text);
    json_decref(event);
    dw_exchange_end(op->exchange);
}

static void on_end(dw__op *op)
{
    dw_text news = take_news(op);
    if (op->status != DW_OK && !op->begun) {
        dw__op_answer_failure(op);
    } else if (op->is_stream) {
        if (!op->begun) {
            note_number(op);
        }
        end_stream(op, &news);
    } else if (!op->begun) {
        note_number(op);
        dw_exchange_answer(op->exchange, 200, "application/octet-stream",
                           news.bytes != NULL ? news.bytes : "", news.count);
    } else if (op->status != DW_OK) { /* what came is not the whole */
        dw_exchange_write(op->exchange, news.bytes, news.count);
        dw_exchange_break_off(op->exchange);
    } else {
        dw_exchange_write(op->exchange, news.bytes, news.count);
        dw_exchange_end(op->exchange);
    }
    dw_text_free(&news);
}

size_t dw_host_held_bytes(dw_host *host)
{
    size_t bytes = 0;
    for (dw__op *op = dw__host_first(host); op != NULL; op = op->next) {
        if (op->on_news == on_news) { /* of others `news` is something else */
            (void)pthread_mutex_lock(&op->lock);
            bytes += op->news.count;
            (void)pthread_mutex_unlock(&op->lock);
        }
    }
    return bytes;
}

static void answer_accepted(dw__op *op)
{
    if (op->status == DW_OK) {
        op->http = 202;
        op->result =
            json_pack("{s:s, s:o}", "id", op->actor, "message", dw__count_json(op->number));
    }
    dw__op_answer(op);
}

DW__HANDLER(dw__on_actors_send)
{
    size_t bytes = 0;
    dw_fault fault = {.status = 0};
    const char *body = dw_exchange_body(exchange, &bytes);
    const char *accept = dw_exchange_header(exchange, "accept");
    const char *trace = dw_exchange_header(exchange, "traceparent");
    (void)server;
    op->timeout_ms = dw_url_whole(exchange, "timeout_ms", 0, TIMEOUT_MAX_MS, 0, &fault);
    op->flag = dw_url_truth(exchange, "wait", true, &fault);
    message *copy = dw_alloc(1, sizeof *copy + bytes + 1);
    op->extra = copy;
    if (copy == NULL) {
        dw_fault_set(&fault, 503, NULL, "no memory for a message of %zu bytes", bytes);
    }
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    memcpy(copy->text, body, bytes);
    copy->bytes = bytes;
    if (trace != NULL && strlen(trace) < sizeof copy->traceparent) {
        (void)snprintf(copy->traceparent, sizeof copy->traceparent, "%s", trace);
    }
    op->is_stream = accept != NULL && strstr(accept, "text/event-stream") != NULL && op->flag;
    op->work = send_work;
    if (op->flag) {
        op->on_news = on_news;
        op->on_gone = on_gone;
        op->on_end = on_end;
    } else {
        op->on_end = answer_accepted;
    }
    dw__op_begin(op);
}
