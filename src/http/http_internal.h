/* What http.c and exchange.c share. */
#ifndef DW_HTTP_HTTP_INTERNAL_H
#define DW_HTTP_HTTP_INTERNAL_H

#include <llhttp.h>

#include "base/os.h"
#include "http/http.h"
#include "http/text.h"

#define DW__HEADERS_MAX 128
#define DW__ANSWER_HEADERS_BYTES 4096

typedef struct dw__connection dw__connection;

struct dw_exchange {
    dw__connection *connection;
    uint8_t method; /* llhttp's */
    bool http_1_0;
    dw_text target; /* the path, and behind a NUL the query */
    const char *query;
    const char *label;
    dw_text head; /* names and values, each with a NUL behind */
    struct {
        size_t name; /* where they begin in it */
        size_t value;
    } headers[DW__HEADERS_MAX]; /* [header_count] */
    size_t header_count;
    bool open_name; /* of the header that is being read */
    bool open_value;
    dw_text body;
    bool drops_body;
    uint64_t body_bytes; /* that came, wherever they went */
    uint64_t body_bytes_max;
    bool has_body_file;
    int body_file;
    char answer_headers[DW__ANSWER_HEADERS_BYTES]; /* [answer_header_bytes] */
    size_t answer_header_bytes;
    bool begun; /* its head is out */
    bool chunked;
    bool sized; /* the head said how long it is */
    void (*on_gone)(void *owner);
    void (*on_taken)(void *owner);
    void *owner;
};

struct dw__connection {
    dw_http *http;
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } stream;
    llhttp_t parser;
    dw_exchange exchange; /* one at a time */
    dw_text pending;      /* read, and not parsed yet */
    dw_text out;          /* to be written before the loop waits */
    bool is_dirty;        /* in the list of those that have such */
    bool ends;            /* it closes when all is out */
    bool is_broken;       /* a piece is missing: it closes */
    size_t head_bytes;    /* of the request that is being read */
    uint64_t began_ms;
    uint64_t progress_ms; /* when something last came or went */
    uint64_t given_bytes; /* to the system, waiting or not */
    uint64_t taken_bytes; /* of them, when it was last looked at */
    uint64_t taken_ms;    /* when that last grew, or nothing waited */
    int refusal;          /* the status of what the parser's callbacks ending */
    bool in_body;
    bool complete; /* a request is */
    bool working;  /* a request is being answered */
    bool ending;   /* and told so: nothing is read any more */
    bool lingers;  /* refused amid its request: when all is out, it is read on for a while */
    bool is_shut;  /* and this side has said its end */
    uint64_t shut_ms;
    uv_shutdown_t shutdown;
    bool keep_alive;
    bool closing;
    bool pumping;
    bool read_stopped;
    dw__connection *before;
    dw__connection *next;
    dw__connection *dirty_before;
    dw__connection *dirty_next;
};

struct dw_http {
    dw_http_options options;
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } listener;
    dw_os_local local; /* of unix: */
    int local_fd;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_idle_t idle;
    dw__connection *first_dirty;
    dw__connection *last_dirty;
    bool is_unix;
    bool listening;
    bool finishing;
    char address[512];
    dw__connection *first;
    size_t count;
    uint64_t body_bytes;  /* of bodies in memory */
    bool owes_accept;     /* a connection waits for memory; until it is taken, none comes */
    char incoming[65536]; /* of whoever is being read */
};

void dw__connection_close(dw__connection *connection);
/* All that it was told is out, and nothing follows. */
void dw__connection_ended(dw__connection *connection);
/* Copied, and written before the loop waits. `last`: the connection closes when it is out. Nothing
 * is called. */
void dw__connection_send(dw__connection *connection, const void *bytes, size_t count, bool last);
/* Written now. It may be closed by then, or its owner told that there is room. */
void dw__connection_flush(dw__connection *connection);
void dw__connection_forget_out(dw__connection *connection);
/* Bytes that the system has not taken yet. */
size_t dw__connection_backlog(const dw__connection *connection);
void dw__http_begin_sending(dw_http *http);
void dw__http_end_sending(dw_http *http);
/* Its request is answered: the next one. */
void dw__connection_answered(dw__connection *connection);
void dw__connection_pump(dw__connection *connection);
void dw__connection_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer);
void dw__connection_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer);

#endif
