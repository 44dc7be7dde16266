/* HTTP/1.1 on one libuv loop: connections are taken, requests read whole, answers written whole or
 * piece by piece. What is done with a request is the handler's.
 *
 * Parsing is llhttp's, strict: a message with both Content-Length and Transfer-Encoding, or with
 * anything else that two readers could take for two things, ends the connection with 400.
 * Thread: the loop's, for all of it. */
#ifndef DW_HTTP_HTTP_H
#define DW_HTTP_HTTP_H

#include <stdbool.h>
#include <uv.h>

#include "base/status.h"

typedef struct dw_http dw_http;
typedef struct dw_exchange dw_exchange; /* a request and its answer */

typedef enum dw_http_method {
    DW_HTTP_OTHER,
    DW_HTTP_GET,
    DW_HTTP_HEAD,
    DW_HTTP_POST,
    DW_HTTP_PUT,
    DW_HTTP_DELETE,
    DW_HTTP_OPTIONS,
} dw_http_method;

typedef struct dw_http_options {
    uv_loop_t *loop;
    uint32_t connections_max; /* at a time; further ones are told 503 and closed */
    size_t head_bytes_max;    /* of a request's line and headers; 431 */
    size_t body_bytes_max;    /* 413 */
    /* Of bodies in memory, together: beyond, one of more than 64 KiB is told 503. */
    uint64_t bodies_bytes_max;
    uint64_t head_ms;   /* for a request's head, from the end of the one before on; 408 */
    uint64_t body_ms;   /* between two pieces of a body; 408 */
    uint64_t idle_ms;   /* between two requests, and without a byte of an answer taken; closed */
    bool own_user_only; /* of unix:PATH: whoever is not this process's user is left */
    /* A request is there. It is answered now or later, once. */
    void (*on_request)(void *user, dw_exchange *exchange);
    /* An answer begins, with this status; may be NULL. */
    void (*on_answer)(void *user, const dw_exchange *exchange, int status);
    /* What is refused before it is a request: an answer's body, JSON, for this status. */
    size_t (*error_body)(int status, const char *what, char *text, size_t capacity);
    /* A request's head is there, and a body is to come: an open file that it goes into, with the
     * most bytes that it may have, in the place of memory; the exchange's then. -1: memory. May be
     * NULL. */
    int (*body_file)(void *user, const dw_exchange *exchange, uint64_t *bytes_max);
    /* The same moment: false: it will be refused whatever its body has, which is thrown away as it
     * comes; on_request finds it empty. May be NULL. */
    bool (*takes_body)(void *user, const dw_exchange *exchange);
    void *user;
} dw_http_options;

/* Options are copied. Errors: DW_E_MEMORY. */
dw_status dw_http_create(dw_http **out, const dw_http_options *options, dw_error *err);
/* "HOST:PORT", "[IPV6]:PORT" or "unix:PATH". A socket file that nobody answers at is replaced; it
 * is made for its user alone. Errors: DW_E_ARG (no such form; the path is something else),
 * DW_E_STATE (in use), DW_E_LIMIT (too long for a socket), DW_E_IO. */
dw_status dw_http_listen(dw_http *http, const char *address, dw_error *err);
/* Where it listens, as the form above has it, with the port that the system chose. */
const char *dw_http_address(const dw_http *http);
/* No more connections; those that wait for a request are closed. Others close when they have been
 * answered. */
void dw_http_finish(dw_http *http);
/* All connections and the listener close now; those that wait for answers are told on_gone. */
void dw_http_close(dw_http *http);
/* Once the loop has run until nothing was open. */
void dw_http_destroy(dw_http *http);
size_t dw_http_connection_count(const dw_http *http);
/* Bytes of answers that were written and that no other side has taken yet, of all connections. */
size_t dw_http_backlog(const dw_http *http);

/* ---- a request; what is returned is borrowed until it is answered ---- */

dw_http_method dw_exchange_method(const dw_exchange *exchange);
/* Without the query, percent-decoded parts as they came. */
const char *dw_exchange_path(const dw_exchange *exchange);
const char *dw_exchange_query(const dw_exchange *exchange); /* behind the '?'; "" */
/* What its handler calls it, for on_answer; NULL: nothing. Static. */
void dw_exchange_set_label(dw_exchange *exchange, const char *label);
const char *dw_exchange_label(const dw_exchange *exchange);
/* The first header of that name, in small letters; NULL: there is none. */
const char *dw_exchange_header(const dw_exchange *exchange, const char *name);
const char *dw_exchange_body(const dw_exchange *exchange, size_t *bytes);
/* The file that the body is in, as options.body_file gave it; -1: it is in memory. */
int dw_exchange_body_file(const dw_exchange *exchange);
/* The same; it is the caller's to close from now on. */
int dw_exchange_take_body_file(dw_exchange *exchange);
bool dw_exchange_is_unix(const dw_exchange *exchange); /* it came over unix:PATH */
/* It came over a socket at which only this process's user is answered (own_user_only). */
bool dw_exchange_is_own_user(const dw_exchange *exchange);

/* ---- its answer ---- */

/* A header of the answer, before it begins; beyond 16 of them, or of 4 KiB, they are left out. */
void dw_exchange_set_header(dw_exchange *exchange, const char *name, const char *value);
/* The whole answer; the body is copied. The exchange is no longer the caller's. */
void dw_exchange_answer(dw_exchange *exchange, int status, const char *type, const void *body,
                        size_t bytes);
/* An answer that comes piece by piece: begun, written, ended. */
void dw_exchange_begin(dw_exchange *exchange, int status, const char *type);
/* The same of an answer of so many bytes. */
void dw_exchange_begin_sized(dw_exchange *exchange, int status, const char *type, size_t bytes);
void dw_exchange_write(dw_exchange *exchange, const void *piece, size_t bytes);
void dw_exchange_end(dw_exchange *exchange);
/* The answer ends without being whole, and so that the other side sees it: the connection breaks
 * off. Nothing is called any more. */
void dw_exchange_break_off(dw_exchange *exchange);
/* Only the head of the answer is wanted. */
bool dw_exchange_is_head(const dw_exchange *exchange);
/* Bytes written that the other side has not taken yet. */
size_t dw_exchange_backlog(const dw_exchange *exchange);
/* The owner of an exchange that is answered later: on_gone when the other side goes first, after
 * which the exchange must not be used; on_taken when the backlog has shrunk. */
void dw_exchange_watch(dw_exchange *exchange, void (*on_gone)(void *owner),
                       void (*on_taken)(void *owner), void *owner);

#endif
