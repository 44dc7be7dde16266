/* Connections: bytes into requests, answers into bytes. */
#include "http/http_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define PENDING_MAX ((size_t)65536)   /* of what comes behind a request that is being answered */
#define BACKLOG_MAX ((size_t)1 << 20) /* of answers: beyond, the next request waits */
#define SMALL_BODY ((size_t)65536)    /* taken however much others have */
#define TICK_MS 1000
#define LINGER_MS 2000

/* ---- buffers -------------------------------------------------------------------------------- */

bool dw_text_add(dw_text *to, const void *bytes, size_t count)
{
    if (to->count + count + 1 > to->capacity) {
        size_t capacity = to->capacity < 256 ? 256 : to->capacity;
        while (capacity < to->count + count + 1) {
            capacity *= 2;
        }
        char *larger = dw_realloc(to->bytes, capacity, 1);
        if (larger == NULL) {
            return false;
        }
        to->bytes = larger;
        to->capacity = capacity;
    }
    if (count > 0) {
        memcpy(to->bytes + to->count, bytes, count);
    }
    to->count += count;
    to->bytes[to->count] = '\0';
    return true;
}

void dw_text_free(dw_text *text)
{
    dw_free(text->bytes);
    *text = (dw_text){.bytes = NULL};
}

/* ---- ends of connections -------------------------------------------------------------------- */

static void forget_request(dw_exchange *exchange)
{
    exchange->connection->http->body_bytes -= exchange->body.count;
    dw_text_free(&exchange->target);
    dw_text_free(&exchange->head);
    dw_text_free(&exchange->body);
    if (exchange->has_body_file) {
        dw_os_close(exchange->body_file);
        exchange->has_body_file = false;
    }
    exchange->drops_body = false;
    exchange->body_bytes = exchange->body_bytes_max = 0;
    exchange->header_count = 0;
    exchange->open_name = exchange->open_value = false;
    exchange->query = exchange->label = NULL;
    exchange->answer_header_bytes = 0;
    exchange->on_gone = NULL;
    exchange->on_taken = NULL;
    exchange->owner = NULL;
    exchange->begun = exchange->chunked = exchange->sized = false;
}

static void on_closed(uv_handle_t *handle)
{
    dw__connection *c = handle->data;
    dw_http *http = c->http;
    if (c->before != NULL) {
        c->before->next = c->next;
    } else {
        http->first = c->next;
    }
    if (c->next != NULL) {
        c->next->before = c->before;
    }
    http->count--;
    forget_request(&c->exchange);
    dw_text_free(&c->pending);
    dw_free(c);
}

void dw__connection_close(dw__connection *c)
{
    if (c->closing) {
        return;
    }
    c->closing = true;
    if (c->working && c->exchange.on_gone != NULL) {
        void (*on_gone)(void *) = c->exchange.on_gone;
        c->exchange.on_gone = NULL;
        on_gone(c->exchange.owner);
    }
    dw__connection_forget_out(c);
    uv_close((uv_handle_t *)&c->stream, on_closed);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown; /* the connection's; it goes with that */
    (void)status;
}

/* A socket that is closed with bytes in it that nobody read resets, and the other side may lose why
 * it was refused: these are read and thrown away until it ends as well, for a while. */
void dw__connection_ended(dw__connection *c)
{
    if (!c->lingers || c->is_shut || c->http->finishing ||
        uv_shutdown(&c->shutdown, &c->stream.stream, on_shut) < 0) {
        dw__connection_close(c);
        return;
    }
    c->is_shut = true;
    c->shut_ms = uv_now(c->http->options.loop);
}

/* ---- parsing -------------------------------------------------------------------------------- */

/* Tell why before the end: what came was no request that can be answered. */
static void refuse(dw__connection *c, int status, const char *what)
{
    if (c->exchange.begun || c->closing || c->ending) {
        if (!c->ending) {
            dw__connection_close(c);
        }
        return;
    }
    char body[1024];
    c->ending = true;
    c->lingers = c->in_body || c->head_bytes > 0;
    c->keep_alive = false;
    size_t bytes = c->http->options.error_body(status, what, body, sizeof body);
    c->working = true;
    c->exchange.on_gone = NULL;
    dw_exchange_answer(&c->exchange, status, "application/json", body, bytes);
}

static dw__connection *of_parser(llhttp_t *parser)
{
    return parser->data;
}

static int grow_head(dw__connection *c, dw_text *to, const char *at, size_t length)
{
    c->head_bytes += length;
    if (c->head_bytes > c->http->options.head_bytes_max) {
        c->refusal = 431;
        return HPE_USER;
    }
    if (!dw_text_add(to, at, length)) {
        c->refusal = 503;
        return HPE_USER;
    }
    return HPE_OK;
}

static int on_url(llhttp_t *parser, const char *at, size_t length)
{
    dw__connection *c = of_parser(parser);
    return grow_head(c, &c->exchange.target, at, length);
}

/* Behind a body, where a proxy did not look for headers: none of them counts. */
static int pass_trailer(dw__connection *c, size_t length)
{
    c->head_bytes += length;
    c->refusal = c->head_bytes > c->http->options.head_bytes_max ? 431 : 0;
    return c->refusal != 0 ? HPE_USER : HPE_OK;
}

static int on_field(llhttp_t *parser, const char *at, size_t length)
{
    dw__connection *c = of_parser(parser);
    dw_exchange *exchange = &c->exchange;
    if (c->in_body) {
        return pass_trailer(c, length);
    }
    if (!exchange->open_name) {
        if (exchange->header_count == DW__HEADERS_MAX) {
            c->refusal = 431;
            return HPE_USER;
        }
        exchange->open_name = true;
        exchange->open_value = false;
        exchange->headers[exchange->header_count].name = exchange->head.count;
    }
    return grow_head(c, &exchange->head, at, length);
}

/* The name has ended: a NUL behind it, in small letters. */
static int on_field_complete(llhttp_t *parser)
{
    dw__connection *c = of_parser(parser);
    dw_exchange *exchange = &c->exchange;
    if (c->in_body) {
        return HPE_OK;
    }
    char *name = exchange->head.bytes + exchange->headers[exchange->header_count].name;
    for (char *at = name; *at != '\0'; at++) {
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
    }
    int result = grow_head(c, &exchange->head, "", 1);
    exchange->headers[exchange->header_count].value = exchange->head.count;
    exchange->open_value = true;
    return result;
}

static int on_value(llhttp_t *parser, const char *at, size_t length)
{
    dw__connection *c = of_parser(parser);
    return c->in_body ? pass_trailer(c, length) : grow_head(c, &c->exchange.head, at, length);
}

static int on_value_complete(llhttp_t *parser)
{
    dw__connection *c = of_parser(parser);
    if (c->in_body) {
        return HPE_OK;
    }
    c->exchange.header_count++;
    c->exchange.open_name = c->exchange.open_value = false;
    return grow_head(c, &c->exchange.head, "", 1);
}

/* Where the body goes. -> the most bytes that it may have */
static uint64_t choose_body(dw__connection *c, const llhttp_t *parser)
{
    const dw_http_options *options = &c->http->options;
    dw_exchange *exchange = &c->exchange;
    uint64_t file_max = 0;
    exchange->method = parser->method;
    exchange->drops_body =
        options->takes_body != NULL && !options->takes_body(options->user, exchange);
    if (options->body_file == NULL || exchange->drops_body) {
        return options->body_bytes_max;
    }
    exchange->body_file = options->body_file(options->user, exchange, &file_max);
    exchange->has_body_file = exchange->body_file >= 0;
    return exchange->has_body_file ? file_max : options->body_bytes_max;
}

static int on_head_complete(llhttp_t *parser)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    dw__connection *c = of_parser(parser);
    c->in_body = true;
    c->exchange.body_bytes_max = choose_body(c, parser);
    if (parser->content_length > c->exchange.body_bytes_max &&
        (parser->flags & F_CONTENT_LENGTH) != 0) {
        c->refusal = 413;
        return HPE_USER;
    }
    const char *expect = dw_exchange_header(&c->exchange, "expect");
    if (expect != NULL && strcmp(expect, "100-continue") == 0) {
        dw__connection_send(c, go_on, sizeof go_on - 1, false);
    }
    return HPE_OK;
}

static int to_file(dw__connection *c, const char *at, size_t length)
{
    const dw_exchange *exchange = &c->exchange;
    if (dw_os_write_at(exchange->body_file, exchange->body_bytes, at, length, NULL) != DW_OK) {
        c->refusal = 507;
        return HPE_USER;
    }
    return HPE_OK;
}

static int to_memory(dw__connection *c, const char *at, size_t length)
{
    dw_http *http = c->http;
    dw_text *body = &c->exchange.body;
    bool is_small = body->count + length <= SMALL_BODY;
    if ((!is_small && http->body_bytes + length > http->options.bodies_bytes_max) ||
        !dw_text_add(body, at, length)) {
        c->refusal = 503;
        return HPE_USER;
    }
    http->body_bytes += length;
    return HPE_OK;
}

static int on_body(llhttp_t *parser, const char *at, size_t length)
{
    dw__connection *c = of_parser(parser);
    dw_exchange *exchange = &c->exchange;
    int result = HPE_OK;
    if (length > exchange->body_bytes_max - exchange->body_bytes) {
        c->refusal = 413;
        return HPE_USER;
    }
    if (exchange->has_body_file) {
        result = to_file(c, at, length);
    } else if (!exchange->drops_body) {
        result = to_memory(c, at, length);
    }
    exchange->body_bytes += length;
    return result;
}

static int on_message_complete(llhttp_t *parser)
{
    dw__connection *c = of_parser(parser);
    c->complete = true;
    c->keep_alive = llhttp_should_keep_alive(parser) != 0;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_head_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static const char *refusal_text(int status)
{
    switch (status) {
    case 408:
        return "the request did not come in time";
    case 413:
        return "the body is too large";
    case 431:
        return "the headers are too large";
    case 503:
        return "too much is going on";
    case 507:
        return "there is no room for the body";
    default:
        return "this is no HTTP request";
    }
}

/* The request is whole: its path ends at the query, and the handler has it. */
static void hand_over(dw__connection *c)
{
    dw_exchange *exchange = &c->exchange;
    c->complete = c->in_body = false;
    c->head_bytes = 0;
    c->working = true;
    if (!dw_text_add(&exchange->target, "", 0) || !dw_text_add(&exchange->body, "", 0)) {
        refuse(c, 503, refusal_text(503));
        return;
    }
    char *query = strchr(exchange->target.bytes, '?');
    if (query != NULL) {
        *query = '\0';
        exchange->query = query + 1;
    }
    exchange->method = llhttp_get_method(&c->parser);
    exchange->http_1_0 = c->parser.http_major == 1 && c->parser.http_minor == 0;
    c->http->options.on_request(c->http->options.user, exchange);
}

/* Feed the parser until a request is being answered, or all is read. -> bytes taken */
static size_t feed(dw__connection *c, const char *bytes, size_t count)
{
    size_t taken = 0;
    while (taken < count && !c->working && !c->closing && !c->ending &&
           dw__connection_backlog(c) < BACKLOG_MAX) {
        enum llhttp_errno result = llhttp_execute(&c->parser, bytes + taken, count - taken);
        if (result == HPE_OK) {
            return count;
        }
        const char *position = llhttp_get_error_pos(&c->parser);
        taken = position != NULL ? (size_t)(position - bytes) : count;
        if (result == HPE_PAUSED_UPGRADE) { /* another protocol is not spoken: this one goes on */
            llhttp_resume_after_upgrade(&c->parser);
        } else if (result == HPE_PAUSED) {
            llhttp_resume(&c->parser);
        } else {
            int status = c->refusal != 0 ? c->refusal : 400;
            refuse(c, status, refusal_text(status));
            return count;
        }
        if (c->complete) {
            hand_over(c);
        }
    }
    return taken;
}

void dw__connection_pump(dw__connection *c)
{
    if (c->pumping) {
        return; /* the loop below goes on with it */
    }
    c->pumping = true;
    while (c->pending.count > 0 && !c->working && !c->closing && !c->ending &&
           dw__connection_backlog(c) < BACKLOG_MAX) {
        dw_text now = c->pending;
        c->pending = (dw_text){.bytes = NULL};
        size_t taken = feed(c, now.bytes, now.count);
        if (taken < now.count && !dw_text_add(&c->pending, now.bytes + taken, now.count - taken)) {
            dw__connection_close(c);
        }
        dw_text_free(&now);
    }
    c->pumping = false;
    if (!c->closing && c->read_stopped && c->pending.count < PENDING_MAX) {
        c->read_stopped = false;
        (void)uv_read_start(&c->stream.stream, dw__connection_alloc, dw__connection_read);
    }
}

/* No more requests: it closes when what was answered is out. */
static void end_behind_answers(dw__connection *c)
{
    c->ending = true;
    dw__connection_send(c, "", 0, true);
}

void dw__connection_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    dw_http *http = ((dw__connection *)handle->data)->http;
    (void)suggested;
    *buffer = uv_buf_init(http->incoming, sizeof http->incoming);
}

void dw__connection_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    dw__connection *c = stream->data;
    if (count == 0) {
        return;
    }
    if (count < 0) {
        if (count != UV_EOF || c->working || c->is_shut) { /* nobody waits for an answer any more */
            dw__connection_close(c);
        } else if (!c->ending) { /* what was answered is still told */
            end_behind_answers(c);
        }
        return;
    }
    c->progress_ms = uv_now(c->http->options.loop);
    if (c->ending) {
        return; /* read, so that the other side reads why */
    }
    if (!dw_text_add(&c->pending, buffer->base, (size_t)count)) {
        dw__connection_close(c);
        return;
    }
    dw__connection_pump(c);
    if (!c->closing && c->pending.count >= PENDING_MAX) { /* it waits for an answer to be out */
        c->read_stopped = true;
        (void)uv_read_stop(&c->stream.stream);
    }
}

/* ---- the next request ----------------------------------------------------------------------- */

void dw__connection_answered(dw__connection *c)
{
    c->working = false;
    forget_request(&c->exchange);
    c->progress_ms = c->began_ms = uv_now(c->http->options.loop);
    if (!c->keep_alive) {
        c->ending = true; /* the piece that was last closes it */
        return;
    }
    dw__connection_pump(c);
}

/* A slow reader is one that takes something: neither what it sends counts, nor what it is given
 * on top. */
static void note_taken(dw__connection *c, uint64_t now)
{
    size_t waiting = uv_stream_get_write_queue_size(&c->stream.stream);
    uint64_t taken = c->given_bytes - waiting;
    if (taken != c->taken_bytes) {
        c->taken_bytes = taken;
        c->taken_ms = c->progress_ms = now;
    } else if (waiting == 0) {
        c->taken_ms = now;
    }
}

static void look_at(dw__connection *c, uint64_t now)
{
    const dw_http_options *options = &c->http->options;
    note_taken(c, now);
    if (now - c->taken_ms > options->idle_ms) {
        dw__connection_close(c); /* it does not read: what waits for it is given up */
    }
    if (c->is_shut && now - c->shut_ms > LINGER_MS) {
        dw__connection_close(c);
    }
    if (c->ending && !c->working && now - c->progress_ms > options->head_ms) {
        dw__connection_close(c); /* it does not take its answer */
    }
    if (c->working || c->closing || c->ending) {
        return;
    }
    if (c->in_body) {
        if (now - c->progress_ms > options->body_ms) {
            refuse(c, 408, refusal_text(408));
        }
    } else if (c->head_bytes > 0) {
        if (now - c->began_ms > options->head_ms) {
            refuse(c, 408, refusal_text(408));
        }
    } else if (now - c->progress_ms > options->idle_ms) {
        dw__connection_close(c);
    }
}

/* ---- connections begin ---------------------------------------------------------------------- */

static bool may_connect(const dw__connection *c)
{
    uv_os_fd_t fd = -1;
    return !c->http->options.own_user_only ||
           (c->http->is_unix && uv_fileno((const uv_handle_t *)&c->stream, &fd) == 0 &&
            dw_os_peer_is_own_user(fd));
}

static void on_connection(uv_stream_t *listener, int status)
{
    dw_http *http = listener->data;
    if (status < 0) {
        return;
    }
    dw__connection *c = dw_alloc(1, sizeof *c);
    if (c == NULL) {
        http->owes_accept = true; /* libuv tells of no other before this one is taken */
        return;
    }
    int result = http->is_unix ? uv_pipe_init(http->options.loop, &c->stream.pipe, 0)
                               : uv_tcp_init(http->options.loop, &c->stream.tcp);
    if (result < 0) {
        http->owes_accept = true;
        dw_free(c);
        return;
    }
    c->http = http;
    c->stream.stream.data = c;
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
    c->exchange.connection = c;
    c->progress_ms = c->began_ms = c->taken_ms = uv_now(http->options.loop);
    c->next = http->first;
    if (http->first != NULL) {
        http->first->before = c;
    }
    http->first = c;
    http->count++;
    if (uv_accept(listener, &c->stream.stream) < 0 || !may_connect(c)) {
        dw__connection_close(c);
        return;
    }
    if (!http->is_unix) {
        (void)uv_tcp_nodelay(&c->stream.tcp, 1);
    }
    if (uv_read_start(&c->stream.stream, dw__connection_alloc, dw__connection_read) < 0) {
        dw__connection_close(c);
    } else if (http->count > http->options.connections_max) {
        refuse(c, 503, "too many connections");
    }
}

static void on_tick(uv_timer_t *timer)
{
    dw_http *http = timer->data;
    uint64_t now = uv_now(http->options.loop);
    if (http->owes_accept && http->listening) {
        http->owes_accept = false;
        on_connection(&http->listener.stream, 0);
    }
    for (dw__connection *c = http->first, *next = NULL; c != NULL; c = next) {
        next = c->next;
        look_at(c, now);
    }
}

/* ---- listening ------------------------------------------------------------------------------ */

dw_status dw_http_create(dw_http **out, const dw_http_options *options, dw_error *err)
{
    dw_http *http = dw_alloc(1, sizeof *http);
    if (http == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a server");
    }
    http->options = *options;
    http->local_fd = -1;
    (void)uv_timer_init(options->loop, &http->timer);
    http->timer.data = http;
    (void)uv_timer_start(&http->timer, on_tick, TICK_MS, TICK_MS);
    dw__http_begin_sending(http);
    *out = http;
    return DW_OK;
}

static dw_status fail_listen(const char *address, int result, dw_error *err)
{
    return dw_fail(err, result == UV_EADDRINUSE ? DW_E_STATE : DW_E_IO, "%s: %s", address,
                   uv_strerror(result));
}

static dw_status listen_unix(dw_http *http, const char *path, dw_error *err)
{
    int fd = -1;
    dw_status status = dw_os_listen_local(&fd, &http->local, path, err);
    if (status != DW_OK) {
        return status;
    }
    http->local_fd = dup(fd); /* the loop's is closed with its handle */
    (void)uv_pipe_init(http->options.loop, &http->listener.pipe, 0);
    http->listening = true;
    int result = uv_pipe_open(&http->listener.pipe, fd);
    return result == 0 ? DW_OK : dw_fail(err, DW_E_IO, "%s: %s", path, uv_strerror(result));
}

/* "HOST:PORT" apart. */
static bool split(const char *address, char host[256], int *port)
{
    const char *colon = strrchr(address, ':');
    size_t length = colon != NULL ? (size_t)(colon - address) : 0;
    int end = 0;
    if (colon == NULL || length >= 256 || sscanf(colon + 1, "%5d%n", port, &end) != 1 ||
        colon[1 + end] != '\0' || *port < 0 || *port > 65535) {
        return false;
    }
    bool bracketed = length >= 2 && address[0] == '[' && address[length - 1] == ']';
    memcpy(host, address + (bracketed ? 1 : 0), length - (bracketed ? 2 : 0));
    host[length - (bracketed ? 2 : 0)] = '\0';
    return true;
}

static int listen_tcp(dw_http *http, const char *host, int port)
{
    struct sockaddr_storage where;
    int result = uv_ip4_addr(host, port, (struct sockaddr_in *)&where);
    if (result < 0) {
        result = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&where);
    }
    if (result == 0) {
        result = uv_tcp_init(http->options.loop, &http->listener.tcp);
    }
    if (result == 0) {
        http->listening = true;
        result = uv_tcp_bind(&http->listener.tcp, (const struct sockaddr *)&where, 0);
    }
    return result;
}

/* What the system made of it. */
static void note_address(dw_http *http, const char *host)
{
    struct sockaddr_storage where;
    int length = (int)sizeof where;
    if (uv_tcp_getsockname(&http->listener.tcp, (struct sockaddr *)&where, &length) == 0) {
        bool six = where.ss_family == AF_INET6;
        int port = ntohs(six ? ((struct sockaddr_in6 *)&where)->sin6_port
                             : ((struct sockaddr_in *)&where)->sin_port);
        (void)snprintf(http->address, sizeof http->address, six ? "[%s]:%d" : "%s:%d", host, port);
    }
}

dw_status dw_http_listen(dw_http *http, const char *address, dw_error *err)
{
    char host[256];
    int port = 0;
    int result = 0;
    (void)snprintf(http->address, sizeof http->address, "%s", address);
    http->is_unix = strncmp(address, "unix:", 5) == 0;
    if (http->is_unix) {
        dw_status status = listen_unix(http, address + 5, err);
        if (status != DW_OK) {
            return status;
        }
    } else if (!split(address, host, &port)) {
        return dw_fail(err, DW_E_ARG, "'%.200s': HOST:PORT, [IPV6]:PORT or unix:PATH is wanted",
                       address);
    } else {
        result = listen_tcp(http, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, port);
    }
    if (result == 0) {
        http->listener.stream.data = http;
        result = uv_listen(&http->listener.stream, 511, on_connection);
    }
    if (result == 0 && !http->is_unix) {
        note_address(http, host);
    }
    return result == 0 ? DW_OK : fail_listen(address, result, err);
}

const char *dw_http_address(const dw_http *http)
{
    return http->address;
}

size_t dw_http_connection_count(const dw_http *http)
{
    return http->count;
}

size_t dw_http_backlog(const dw_http *http)
{
    size_t bytes = 0;
    for (const dw__connection *c = http->first; c != NULL; c = c->next) {
        bytes += dw__connection_backlog(c);
    }
    return bytes;
}

static void close_listener(dw_http *http)
{
    if (http->listening) {
        http->listening = false;
        uv_close((uv_handle_t *)&http->listener, NULL);
    }
}

void dw_http_finish(dw_http *http)
{
    http->finishing = true;
    close_listener(http);
    for (dw__connection *c = http->first, *next = NULL; c != NULL; c = next) {
        next = c->next;
        if (!c->working) {
            end_behind_answers(c);
        } else {
            c->keep_alive = false;
        }
    }
}

void dw_http_close(dw_http *http)
{
    dw_http_finish(http);
    for (dw__connection *c = http->first, *next = NULL; c != NULL; c = next) {
        next = c->next;
        end_behind_answers(c);
        dw__connection_flush(c);
        dw__connection_close(c);
    }
    if (!uv_is_closing((uv_handle_t *)&http->timer)) {
        uv_close((uv_handle_t *)&http->timer, NULL);
    }
    dw__http_end_sending(http);
}

void dw_http_destroy(dw_http *http)
{
    if (http != NULL && http->local_fd >= 0) {
        dw_os_unlisten_local(http->local_fd, &http->local);
    }
    dw_free(http);
}
