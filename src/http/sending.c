/* What goes out: gathered while the loop has something to do, and written before it waits. An
 * answer's head, the pieces that came meanwhile and its end are thus one write of the system's. */
#include <string.h>

#include "base/alloc.h"
#include "http/http_internal.h"

#define KEPT_BYTES ((size_t)16 << 10) /* of a buffer, for the next pieces */

/* What the system did not take at once. */
typedef struct rest {
    uv_write_t write;
    dw__connection *connection;
    char *bytes;
} rest;

static void mark_dirty(dw__connection *c)
{
    dw_http *http = c->http;
    if (c->is_dirty) {
        return;
    }
    c->is_dirty = true;
    c->dirty_before = http->last_dirty;
    c->dirty_next = NULL;
    if (http->last_dirty != NULL) {
        http->last_dirty->dirty_next = c;
    } else {
        http->first_dirty = c;
    }
    http->last_dirty = c;
}

void dw__connection_forget_out(dw__connection *c)
{
    dw_http *http = c->http;
    dw_text_free(&c->out);
    if (!c->is_dirty) {
        return;
    }
    c->is_dirty = false;
    if (c->dirty_before != NULL) {
        c->dirty_before->dirty_next = c->dirty_next;
    } else {
        http->first_dirty = c->dirty_next;
    }
    if (c->dirty_next != NULL) {
        c->dirty_next->dirty_before = c->dirty_before;
    } else {
        http->last_dirty = c->dirty_before;
    }
}

void dw__connection_send(dw__connection *c, const void *bytes, size_t count, bool last)
{
    if (c->closing) {
        return;
    }
    mark_dirty(c);
    c->ends = c->ends || last;
    /* Whose piece it is, is not told of the end in its own call. */
    c->is_broken = c->is_broken || !dw_text_add(&c->out, bytes, count);
}

/* All that was given is out: the connection ends, or its owner may give more. */
static void on_out(dw__connection *c)
{
    /* Of several pieces this may be the first: the others are closed away with the connection. */
    if (c->ends && !c->is_dirty && uv_stream_get_write_queue_size(&c->stream.stream) == 0) {
        dw__connection_ended(c);
        return;
    }
    c->progress_ms = uv_now(c->http->options.loop);
    if (c->working && !c->closing && c->exchange.on_taken != NULL) {
        c->exchange.on_taken(c->exchange.owner);
    }
    if (!c->closing && c->pending.count > 0) {
        dw__connection_pump(c); /* requests that waited for it */
    }
}

static void on_rest_out(uv_write_t *write, int status)
{
    rest *piece = write->data;
    dw__connection *c = piece->connection;
    dw_free(piece->bytes);
    dw_free(piece);
    if (status < 0) {
        dw__connection_close(c);
    } else {
        on_out(c);
    }
}

/* The buffer from byte `taken` on, which is the loop's until it is out. */
static void write_rest(dw__connection *c, size_t taken)
{
    rest *piece = dw_alloc(1, sizeof *piece);
    if (piece == NULL) {
        dw__connection_close(c);
        return;
    }
    uv_buf_t buffer = uv_buf_init(c->out.bytes + taken, (unsigned)(c->out.count - taken));
    piece->write.data = piece;
    piece->connection = c;
    piece->bytes = c->out.bytes;
    c->out = (dw_text){.bytes = NULL};
    if (uv_write(&piece->write, &c->stream.stream, &buffer, 1, on_rest_out) < 0) {
        dw_free(piece->bytes);
        dw_free(piece);
        dw__connection_close(c);
    }
}

void dw__connection_flush(dw__connection *c)
{
    dw_text out = c->out;
    c->out = (dw_text){.bytes = NULL};
    dw__connection_forget_out(c);
    c->out = out;
    if (c->closing || c->is_broken) {
        dw__connection_close(c);
        return;
    }
    c->given_bytes += c->out.count;
    uv_buf_t buffer = uv_buf_init(c->out.bytes, (unsigned)c->out.count);
    bool waits = uv_stream_get_write_queue_size(&c->stream.stream) > 0;
    int taken = waits || c->out.count == 0 ? 0 : uv_try_write(&c->stream.stream, &buffer, 1);
    if (taken < 0 && taken != UV_EAGAIN) {
        dw__connection_close(c);
        return;
    }
    taken = taken < 0 ? 0 : taken;
    if ((size_t)taken < c->out.count) {
        write_rest(c, (size_t)taken);
        return;
    }
    c->out.count = 0;
    if (c->out.capacity > KEPT_BYTES) {
        dw_text_free(&c->out);
    }
    if (!waits) { /* else whoever takes the rest comes here */
        on_out(c);
    }
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* while it is active, the loop does not wait */
}

/* Before the loop waits. What owners give when they are told that theirs is out goes in the next
 * round, behind what others have to do. */
static void on_prepare(uv_prepare_t *prepare)
{
    dw_http *http = prepare->data;
    dw__connection *last = http->last_dirty;
    for (bool goes_on = last != NULL; goes_on && http->first_dirty != NULL;) {
        dw__connection *c = http->first_dirty;
        goes_on = c != last;
        dw__connection_flush(c);
    }
    if (http->first_dirty != NULL) {
        (void)uv_idle_start(&http->idle, on_idle);
    } else {
        (void)uv_idle_stop(&http->idle);
    }
}

void dw__http_begin_sending(dw_http *http)
{
    (void)uv_prepare_init(http->options.loop, &http->prepare);
    (void)uv_idle_init(http->options.loop, &http->idle);
    http->prepare.data = http->idle.data = http;
    (void)uv_prepare_start(&http->prepare, on_prepare);
    uv_unref((uv_handle_t *)&http->prepare); /* connections keep the loop, not this */
}

void dw__http_end_sending(dw_http *http)
{
    if (!uv_is_closing((uv_handle_t *)&http->prepare)) {
        uv_close((uv_handle_t *)&http->prepare, NULL);
        uv_close((uv_handle_t *)&http->idle, NULL);
    }
}

size_t dw__connection_backlog(const dw__connection *c)
{
    return c->out.count + uv_stream_get_write_queue_size(&c->stream.stream);
}
