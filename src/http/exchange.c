/* Requests looked at, and answered. */
#include <stdio.h>
#include <string.h>

#include "http/http_internal.h"

#define CHUNK_HEAD 24

dw_http_method dw_exchange_method(const dw_exchange *exchange)
{
    switch (exchange->method) {
    case HTTP_GET:
        return DW_HTTP_GET;
    case HTTP_HEAD:
        return DW_HTTP_HEAD;
    case HTTP_POST:
        return DW_HTTP_POST;
    case HTTP_PUT:
        return DW_HTTP_PUT;
    case HTTP_DELETE:
        return DW_HTTP_DELETE;
    case HTTP_OPTIONS:
        return DW_HTTP_OPTIONS;
    default:
        return DW_HTTP_OTHER;
    }
}

const char *dw_exchange_path(const dw_exchange *exchange)
{
    return exchange->target.bytes;
}

const char *dw_exchange_query(const dw_exchange *exchange)
{
    return exchange->query != NULL ? exchange->query : "";
}

void dw_exchange_set_label(dw_exchange *exchange, const char *label)
{
    exchange->label = label;
}

const char *dw_exchange_label(const dw_exchange *exchange)
{
    return exchange->label;
}

const char *dw_exchange_header(const dw_exchange *exchange, const char *name)
{
    for (size_t i = 0; i < exchange->header_count; i++) {
        if (strcmp(exchange->head.bytes + exchange->headers[i].name, name) == 0) {
            return exchange->head.bytes + exchange->headers[i].value;
        }
    }
    return NULL;
}

const char *dw_exchange_body(const dw_exchange *exchange, size_t *bytes)
{
    *bytes = exchange->body.count;
    return exchange->body.bytes;
}

int dw_exchange_body_file(const dw_exchange *exchange)
{
    return exchange->has_body_file ? exchange->body_file : -1;
}

int dw_exchange_take_body_file(dw_exchange *exchange)
{
    int fd = dw_exchange_body_file(exchange);
    exchange->has_body_file = false;
    return fd;
}

bool dw_exchange_is_unix(const dw_exchange *exchange)
{
    return exchange->connection->http->is_unix;
}

bool dw_exchange_is_own_user(const dw_exchange *exchange)
{
    return exchange->connection->http->options.own_user_only;
}

bool dw_exchange_is_head(const dw_exchange *exchange)
{
    return exchange->method == HTTP_HEAD;
}

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 507:
        return "Insufficient Storage";
    default:
        return "Other";
    }
}

void dw_exchange_set_header(dw_exchange *exchange, const char *name, const char *value)
{
    size_t room = sizeof exchange->answer_headers - exchange->answer_header_bytes;
    int length = snprintf(exchange->answer_headers + exchange->answer_header_bytes, room,
                          "%s: %s\r\n", name, value);
    bool splits = strpbrk(value, "\r\n") != NULL; /* a value must not begin a header */
    if (length > 0 && (size_t)length < room && !splits) {
        exchange->answer_header_bytes += (size_t)length;
    }
}

/* The head of an answer; `bytes` SIZE_MAX: its length is not known. */
static void send_head(dw_exchange *exchange, int status, const char *type, size_t bytes)
{
    dw__connection *c = exchange->connection;
    char head[DW__ANSWER_HEADERS_BYTES + 512];
    char length[64] = "";
    exchange->begun = true;
    if (c->http->options.on_answer != NULL) {
        c->http->options.on_answer(c->http->options.user, exchange, status);
    }
    if (bytes != SIZE_MAX) {
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", bytes);
    } else if (!exchange->http_1_0) {
        exchange->chunked = true;
        (void)snprintf(length, sizeof length, "Transfer-Encoding: chunked\r\n");
    } else {
        c->keep_alive = false;
    }
    if (c->http->finishing) {
        c->keep_alive = false;
    }
    int count = snprintf(head, sizeof head, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s%s%.*s\r\n",
                         status, reason(status), type, length,
                         c->keep_alive ? (exchange->http_1_0 ? "Connection: keep-alive\r\n" : "")
                                       : "Connection: close\r\n",
                         (int)exchange->answer_header_bytes, exchange->answer_headers);
    dw__connection_send(c, head, (size_t)count, false);
}

void dw_exchange_answer(dw_exchange *exchange, int status, const char *type, const void *body,
                        size_t bytes)
{
    dw__connection *c = exchange->connection;
    send_head(exchange, status, type, bytes);
    bool empty = exchange->method == HTTP_HEAD;
    dw__connection_send(c, body, empty ? 0 : bytes, !c->keep_alive);
    dw__connection_answered(c);
}

void dw_exchange_begin(dw_exchange *exchange, int status, const char *type)
{
    send_head(exchange, status, type, SIZE_MAX);
}

void dw_exchange_begin_sized(dw_exchange *exchange, int status, const char *type, size_t bytes)
{
    send_head(exchange, status, type, bytes);
    exchange->sized = true;
}

void dw_exchange_break_off(dw_exchange *exchange)
{
    exchange->on_gone = NULL;
    exchange->on_taken = NULL;
    dw__connection_flush(exchange->connection); /* what there is of it */
    dw__connection_close(exchange->connection);
}

void dw_exchange_write(dw_exchange *exchange, const void *piece, size_t bytes)
{
    dw__connection *c = exchange->connection;
    if (bytes == 0 || exchange->method == HTTP_HEAD) {
        return; /* an empty chunk would be the last; and of HEAD the head is all */
    }
    if (!exchange->chunked) {
        dw__connection_send(c, piece, bytes, false);
        return;
    }
    static const char digits[] = "0123456789abcdef";
    char head[CHUNK_HEAD];
    size_t first = sizeof head - 2;
    memcpy(head + first, "\r\n", 2);
    for (size_t left = bytes; left > 0; left /= 16) {
        head[--first] = digits[left % 16];
    }
    dw__connection_send(c, head + first, sizeof head - first, false);
    dw__connection_send(c, piece, bytes, false);
    dw__connection_send(c, "\r\n", 2, false);
}

void dw_exchange_end(dw_exchange *exchange)
{
    dw__connection *c = exchange->connection;
    if (exchange->method == HTTP_HEAD) {
        dw__connection_send(c, "", 0, !c->keep_alive);
    } else if (exchange->chunked) {
        dw__connection_send(c, "0\r\n\r\n", 5, !c->keep_alive);
    } else {
        dw__connection_send(c, "", 0, !exchange->sized || !c->keep_alive);
    }
    dw__connection_answered(c);
}

size_t dw_exchange_backlog(const dw_exchange *exchange)
{
    return dw__connection_backlog(exchange->connection);
}

void dw_exchange_watch(dw_exchange *exchange, void (*on_gone)(void *owner),
                       void (*on_taken)(void *owner), void *owner)
{
    exchange->on_gone = on_gone;
    exchange->on_taken = on_taken;
    exchange->owner = owner;
}
