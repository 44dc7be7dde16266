/* What happens to actors, as server-sent events. */
#include <stdlib.h>
#include <string.h>

#include "hosting/host.h"

#define WAITING_BYTES_MAX ((size_t)1 << 20) /* that a client has not read */
#define PIECE_BYTES_MAX ((size_t)65536)     /* of an answer, in an event */

static const char *const kinds[] = {
    [DW_EVENT_MADE] = "made",           [DW_EVENT_ACCEPTED] = "accepted",
    [DW_EVENT_BEGAN] = "began",         [DW_EVENT_ANSWERED] = "answered",
    [DW_EVENT_ENDED] = "ended",         [DW_EVENT_SET_ASIDE] = "set-aside",
    [DW_EVENT_RESTARTED] = "restarted", [DW_EVENT_FROZEN] = "frozen",
    [DW_EVENT_REWOUND] = "rewound",     [DW_EVENT_STOPPED] = "stopped",
    [DW_EVENT_UPGRADED] = "upgraded",   [DW_EVENT_PARKED] = "parked",
    [DW_EVENT_THAWED] = "thawed",
};

static void put_number(json_t *to, const char *name, uint64_t value)
{
    if (value != 0) {
        (void)json_object_set_new(to, name, json_integer((json_int_t)value));
    }
}

static void put_text(json_t *to, const char *name, const char *text)
{
    json_t *value = text != NULL && text[0] != '\0' ? json_string(text) : NULL;
    if (value != NULL) {
        (void)json_object_set_new(to, name, value);
    }
}

json_t *dw__bytes_json(const unsigned char *bytes, size_t count, const char **member)
{
    json_t *text = json_stringn((const char *)bytes, count);
    *member = "text";
    if (text != NULL) {
        return text;
    }
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    dw_text coded = {.bytes = NULL};
    *member = "base64";
    for (size_t i = 0; i < count; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16 |
                         (i + 1 < count ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (i + 2 < count ? bytes[i + 2] : 0);
        char four[4] = {digits[three >> 18], digits[three >> 12 & 63],
                        i + 1 < count ? digits[three >> 6 & 63] : '=',
                        i + 2 < count ? digits[three & 63] : '='};
        if (!dw_text_add(&coded, four, sizeof four)) {
            break;
        }
    }
    text = json_stringn(coded.bytes != NULL ? coded.bytes : "", coded.count);
    dw_text_free(&coded);
    return text;
}

static json_t *event_json(const dw_event *event, bool with_content)
{
    size_t known = sizeof kinds / sizeof kinds[0];
    json_t *line = json_object();
    put_text(line, "event",
             (size_t)event->kind < known && kinds[event->kind] != NULL ? kinds[event->kind]
                                                                       : "other");
    put_text(line, "actor", event->actor);
    put_text(line, "other", event->other);
    put_text(line, "tenant", event->tenant);
    put_number(line, "number", event->number);
    put_number(line, "time_ms", event->time_ms);
    if (event->status != DW_OK) {
        put_text(line, "status", dw_status_name(event->status));
    }
    put_number(line, "bytes", event->byte_count);
    if (event->byte_count > 0 && with_content) {
        const char *member = NULL;
        size_t count = event->byte_count < PIECE_BYTES_MAX ? event->byte_count : PIECE_BYTES_MAX;
        json_t *bytes = dw__bytes_json(event->bytes, count, &member);
        (void)json_object_set_new(line, member, bytes);
    } else {
        put_text(line, "text", event->text);
    }
    put_number(line, "lost", event->lost);
    return line;
}

/* On a thread of the runtime's. */
static void on_event(void *user, const dw_event *event)
{
    dw__op *op = user;
    if (!op->own_user && (event->tenant == NULL || strcmp(event->tenant, op->tenant) != 0)) {
        return;
    }
    json_t *line = event_json(event, op->number != 0);
    char *text = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    (void)pthread_mutex_lock(&op->lock);
    bool taken = text != NULL && op->news.count < WAITING_BYTES_MAX &&
                 dw_text_add(&op->news, text, strlen(text)) && dw_text_add(&op->news, "\n", 1);
    op->lost += !taken;
    (void)pthread_mutex_unlock(&op->lock);
    free(text);
    dw__op_stir(op);
}

void dw__op_stream_news(dw__op *op)
{
    if (op->exchange == NULL || dw_exchange_backlog(op->exchange) > WAITING_BYTES_MAX) {
        return; /* when it was taken, it is looked at again */
    }
    if (!op->begun) {
        op->begun = true;
        dw_exchange_begin(op->exchange, 200, "text/event-stream; charset=utf-8");
        dw_exchange_write(op->exchange, ": begun\n\n", 9);
    }
    (void)pthread_mutex_lock(&op->lock);
    dw_text news = op->news;
    uint64_t lost = op->lost;
    op->news = (dw_text){.bytes = NULL};
    op->lost = 0;
    (void)pthread_mutex_unlock(&op->lock);
    const char *end = news.bytes + news.count;
    for (const char *at = news.bytes; news.count > 0 && at < end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        dw__op_put_event(op, NULL, at, (size_t)(line_end - at));
        at = line_end + 1;
    }
    dw_text_free(&news);
    if (lost > 0) {
        char text[64];
        int length = snprintf(text, sizeof text, "{\"lost\":%llu}", (unsigned long long)lost);
        dw__op_put_event(op, NULL, text, (size_t)length);
    }
}

static dw_status subscribe_work(dw__op *op, dw_error *err)
{
    uint64_t subscription = 0;
    dw_status status = op->parts[0][0] != '\0' ? dw__op_find(op, err) : DW_OK;
    if (status != DW_OK) {
        return status;
    }
    dw__op_expect(op);
    status = dw_runtime_subscribe(op->runtime, op->actor[0] != '\0' ? op->actor : NULL, on_event,
                                  op, &subscription, err);
    if (status != DW_OK) {
        dw__op_part(op);
        return status;
    }
    (void)pthread_mutex_lock(&op->lock);
    bool gone = op->flag;
    op->subscription = gone ? 0 : subscription;
    (void)pthread_mutex_unlock(&op->lock);
    if (gone) {
        dw_runtime_unsubscribe(op->runtime, subscription);
        dw__op_part(op);
    } else {
        dw__op_stir(op);
    }
    return DW_OK;
}

static void on_gone(dw__op *op)
{
    (void)pthread_mutex_lock(&op->lock);
    uint64_t subscription = op->subscription;
    op->subscription = 0;
    op->flag = true;
    (void)pthread_mutex_unlock(&op->lock);
    if (subscription != 0) {
        dw_runtime_unsubscribe(op->runtime, subscription);
        dw__op_part(op);
    }
}

static void begin(dw_exchange *exchange, dw__op *op)
{
    dw_fault fault = {.status = 0};
    op->number = dw_url_truth(exchange, "content", false, &fault); /* of answers */
    if (dw_exchange_is_head(exchange)) {
        dw_fault_set(&fault, 405, NULL, "a stream without an end has no head alone");
    }
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->work = subscribe_work;
    op->is_stream = op->endless = true;
    op->on_news = dw__op_stream_news;
    op->on_gone = on_gone;
    dw__op_begin(op);
}

DW__HANDLER(dw__on_actors_events)
{
    (void)server;
    begin(exchange, op);
}

DW__HANDLER(dw__on_events)
{
    (void)server;
    begin(exchange, op);
}
