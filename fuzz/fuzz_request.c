/* Any bytes as what a client sends, to a server on a loop of its own: requests are parsed, their
 * paths, queries and bodies read as routes read them, and answered whole, in pieces or in part. The
 * input: a byte that chooses where it is cut in two, one for the kinds of answers, what is sent.
 * Whatever comes, the connection ends when its client has, and what was answered is HTTP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/status.h"
#include "base/os.h"
#include "serving/openai.h"
#include "serving/terms.h"
#include "serving/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROUNDS_MAX 10000 /* of the loop, for one input */
#define BODY_BYTES_MAX 4096

static uv_loop_t loop;
static dw_http *http;
static struct sockaddr_un place = {.sun_family = AF_UNIX};
static unsigned answers; /* which kinds, two bits each */
static size_t count;     /* of requests of this input */

/* ---- the server ----------------------------------------------------------------------------- */

static void check_fault(const dw_fault *fault)
{
    DW_ASSERT(!dw_fault_is_set(fault) || (fault->status >= 400 && fault->status < 500));
}

static void read_url(const dw_exchange *exchange)
{
    static const char *const names[] = {"limit", "after", "stream", "a"};
    const char *path = dw_exchange_path(exchange);
    char value[64];
    DW_ASSERT(strchr(path, '?') == NULL);
    const char *why = dw_percent_decode(path, strlen(path), value, sizeof value);
    DW_ASSERT(why != NULL || strlen(value) <= strlen(path));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        dw_fault fault = {.status = 0};
        bool there = dw_url_text(exchange, names[i], value, sizeof value, &fault);
        DW_ASSERT(!there || (!dw_fault_is_set(&fault) && strlen(value) < sizeof value));
        DW_ASSERT(!dw_fault_is_set(&fault) || fault.param == names[i]);
        uint64_t number = dw_url_whole(exchange, names[i], 1, 100, 7, &fault);
        DW_ASSERT(number >= 1 && number <= 100);
        (void)dw_url_truth(exchange, names[i], true, &fault);
        check_fault(&fault);
    }
}

static void read_body(const dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    json_t *body = dw_params_body(exchange, &fault);
    DW_ASSERT((body == NULL) == dw_fault_is_set(&fault));
    if (body != NULL) {
        dw_terms terms;
        json_t *into = json_object();
        json_t *chat = dw_params_chat(body, &fault);
        DW_ASSERT(chat != NULL || dw_fault_is_set(&fault));
        dw_params_generation(body, into, &fault);
        dw_terms_read(&terms, exchange, body, &fault);
        char *members = dw_members_of(into);
        DW_ASSERT(members != NULL && (members[0] == '\0' || members[0] == '"'));
        free(members);
        json_decref(chat);
        json_decref(into);
        json_decref(body);
    }
    check_fault(&fault);
}

static void on_request(void *user, dw_exchange *exchange)
{
    (void)user;
    count++;
    read_url(exchange);
    read_body(exchange);
    unsigned kind = answers & 3;
    answers = answers >> 2 | kind << 6;
    if (kind == 0) {
        dw_exchange_answer(exchange, 200, "text/plain", "whole", 5);
        return;
    }
    dw_exchange_begin(exchange, 200, "text/plain");
    dw_exchange_write(exchange, "in ", 3);
    dw_exchange_write(exchange, "pieces", 6);
    if (kind == 3) {
        dw_exchange_break_off(exchange);
    } else {
        dw_exchange_end(exchange);
    }
}

static size_t error_body(int status, const char *what, char *text, size_t capacity)
{
    return dw_openai_error_text(status, NULL, NULL, what, text, capacity);
}

static void leave(void)
{
    (void)unlink(place.sun_path);
}

static void open_server(void)
{
    const dw_http_options options = {.loop = &loop,
                                     .connections_max = 4,
                                     .head_bytes_max = 2048,
                                     .body_bytes_max = BODY_BYTES_MAX,
                                     .bodies_bytes_max = BODY_BYTES_MAX,
                                     .head_ms = 60000,
                                     .body_ms = 60000,
                                     .idle_ms = 60000,
                                     .on_request = on_request,
                                     .error_body = error_body};
    char address[sizeof place.sun_path + 8];
    dw_error err;
    (void)snprintf(place.sun_path, sizeof place.sun_path, "/tmp/dw-fuzz-%ld", (long)getpid());
    (void)snprintf(address, sizeof address, "unix:%s", place.sun_path);
    DW_ASSERT(uv_loop_init(&loop) == 0);
    DW_ASSERT(dw_http_create(&http, &options, &err) == DW_OK);
    DW_ASSERT(dw_http_listen(http, address, &err) == DW_OK);
    (void)atexit(leave);
}

/* ---- the client ----------------------------------------------------------------------------- */

/* What it is told, of which the beginning is kept. */
static size_t take(int fd, char *told, size_t kept, size_t capacity)
{
    char rest[4096];
    for (;;) {
        char *to = kept < capacity ? told + kept : rest;
        ssize_t got = recv(fd, to, kept < capacity ? capacity - kept : sizeof rest, MSG_DONTWAIT);
        if (got <= 0) {
            return kept;
        }
        kept += kept < capacity ? (size_t)got : 0;
    }
}

static void converse(const uint8_t *bytes, size_t size, size_t cut)
{
    char told[256];
    size_t kept = 0;
    size_t sent = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    DW_ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&place, sizeof place) == 0);
    for (size_t round = 0; round < ROUNDS_MAX; round++) {
        size_t until = round == 0 ? cut : size;
        while (sent < until) {
            ssize_t gone = send(fd, bytes + sent, until - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (gone <= 0) {
                break;
            }
            sent += (size_t)gone;
        }
        if (round == 1) {
            (void)shutdown(fd, SHUT_WR);
        }
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        kept = take(fd, told, kept, sizeof told);
        if (round > 1 && dw_http_connection_count(http) == 0) {
            break;
        }
    }
    DW_ASSERT(dw_http_connection_count(http) == 0);
    DW_ASSERT(dw_http_backlog(http) == 0);
    DW_ASSERT(kept == 0 || (kept >= 9 && memcmp(told, "HTTP/1.1 ", 9) == 0));
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (http == NULL) {
        open_server();
    }
    if (size >= 2) {
        count = 0;
        answers = data[1];
        converse(data + 2, size - 2, data[0] * (size - 2) / 255);
    }
    return 0;
}
