/* Connections as src/http holds them, by a client that misbehaves. The loop has a thread. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "http/http.h"
#include "support.h"

#define BODY_MAX ((size_t)1 << 20)
#define BODIES_MAX ((size_t)3 << 19) /* of two as large, one */
#define LONG_BYTES ((size_t)16 << 20)
#define SHORT_MS 1200

typedef struct served {
    uv_loop_t loop;
    uv_async_t stop;
    dw_http *http;
    pthread_t thread;
    char path[64];
    char *whole; /* [LONG_BYTES] */
    atomic_int gone;
    uv_timer_t beat; /* of "/stuck" */
    dw_exchange *stuck;
} served;

static void on_gone(void *owner)
{
    served *s = owner;
    (void)uv_timer_stop(&s->beat);
    s->gone++;
}

static void on_beat(uv_timer_t *beat)
{
    dw_exchange_write(((served *)beat->data)->stuck, "beat", 4);
}

/* "/long": many bytes; "/stuck": as many, more now and then, and no end; else how long the body
 * was, and whether a header "late" was seen. */
static void on_request(void *user, dw_exchange *exchange)
{
    served *s = user;
    char text[64];
    size_t bytes = 0;
    const char *path = dw_exchange_path(exchange);
    if (strcmp(path, "/long") == 0) {
        dw_exchange_answer(exchange, 200, "text/plain", s->whole, LONG_BYTES);
    } else if (strcmp(path, "/stuck") == 0) {
        dw_exchange_watch(exchange, on_gone, NULL, s);
        dw_exchange_begin(exchange, 200, "text/plain");
        dw_exchange_write(exchange, s->whole, LONG_BYTES);
        s->stuck = exchange;
        (void)uv_timer_start(&s->beat, on_beat, 100, 100);
    } else {
        (void)dw_exchange_body(exchange, &bytes);
        int count = snprintf(text, sizeof text, "%zu %s", bytes,
                             dw_exchange_header(exchange, "late") != NULL ? "late" : "none");
        dw_exchange_answer(exchange, 200, "text/plain", text, (size_t)count);
    }
}

static bool takes_body(void *user, const dw_exchange *exchange)
{
    (void)user;
    return dw_exchange_header(exchange, "key") != NULL;
}

static size_t error_body(int status, const char *what, char *text, size_t capacity)
{
    return (size_t)snprintf(text, capacity, "%d %s", status, what);
}

static void on_stop(uv_async_t *stop)
{
    served *s = stop->data;
    dw_http_close(s->http);
    uv_close((uv_handle_t *)stop, NULL);
    uv_close((uv_handle_t *)&s->beat, NULL);
}

static void *serve(void *user)
{
    (void)uv_run(&((served *)user)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int setup(void **state)
{
    static served s;
    char address[80];
    dw_error err;
    s = (served){.whole = dw_alloc(LONG_BYTES, 1)};
    const dw_http_options options = {.loop = &s.loop,
                                     .connections_max = 64,
                                     .head_bytes_max = 4096,
                                     .body_bytes_max = BODY_MAX,
                                     .bodies_bytes_max = BODIES_MAX,
                                     .head_ms = SHORT_MS,
                                     .body_ms = 60000,
                                     .idle_ms = SHORT_MS,
                                     .on_request = on_request,
                                     .takes_body = takes_body,
                                     .error_body = error_body,
                                     .user = &s};
    (void)snprintf(s.path, sizeof s.path, "/tmp/dw-http-%ld", (long)getpid());
    (void)snprintf(address, sizeof address, "unix:%s", s.path);
    memset(s.whole, 'x', LONG_BYTES);
    assert_int_equal(uv_loop_init(&s.loop), 0);
    assert_int_equal(uv_async_init(&s.loop, &s.stop, on_stop), 0);
    assert_int_equal(uv_timer_init(&s.loop, &s.beat), 0);
    s.stop.data = s.beat.data = &s;
    assert_int_equal(dw_http_create(&s.http, &options, &err), DW_OK);
    assert_int_equal(dw_http_listen(s.http, address, &err), DW_OK);
    assert_int_equal(pthread_create(&s.thread, NULL, serve, &s), 0);
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    served *s = *state;
    (void)uv_async_send(&s->stop);
    (void)pthread_join(s->thread, NULL);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    dw_http_destroy(s->http);
    dw_free(s->whole);
    (void)unlink(s->path);
    return 0;
}

/* ---- the client ----------------------------------------------------------------------------- */

static int reach(const served *s)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    (void)snprintf(where.sun_path, sizeof where.sun_path, "%s", s->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&where, sizeof where), 0);
    return fd;
}

static void say(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t taken = send(fd, bytes, count, MSG_NOSIGNAL);
        if (taken <= 0) {
            return; /* it was refused meanwhile */
        }
        bytes += taken;
        count -= (size_t)taken;
    }
}

static void say_head(int fd, const char *head, size_t body_bytes)
{
    char text[256];
    int count =
        snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n",
                 head, body_bytes);
    say(fd, text, (size_t)count);
}

/* What there is, until it holds `wanted` or ends -> text */
static void hear(int fd, const char *wanted, char *text, size_t capacity)
{
    size_t count = 0;
    ssize_t got = 1;
    text[0] = '\0';
    while (strstr(text, wanted) == NULL && got > 0) {
        assert_true(count + 1 < capacity);
        got = recv(fd, text + count, capacity - count - 1, 0);
        count += got > 0 ? (size_t)got : 0;
        text[count] = '\0';
    }
    if (strstr(text, wanted) == NULL) {
        fail_msg("'%s' is wanted, heard is: %s", wanted, text);
    }
}

static void rest(long ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

/* ---- tests ---------------------------------------------------------------------------------- */

/* What comes behind a chunked body is no header. */
static void test_http_trailers(void **state)
{
    static const char request[] =
        "POST / HTTP/1.1\r\nHost: a\r\nKey: k\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n0\r\nLate: yes\r\nKey: other\r\n\r\n";
    char text[1024];
    int fd = reach(*state);
    say(fd, request, sizeof request - 1);
    hear(fd, "3 none", text, sizeof text);
    say(fd, request, sizeof request - 1); /* nor is it one of the next request's */
    hear(fd, "3 none", text, sizeof text);
    (void)close(fd);
}

/* The body of who is refused anyway is thrown away as it comes, and no longer than others. */
static void test_http_bodies_nobody_wants(void **state)
{
    const served *s = *state;
    char text[1024];
    int fd = reach(s);
    say_head(fd, "", BODY_MAX);
    say(fd, s->whole, BODY_MAX);
    hear(fd, "0 none", text, sizeof text);
    say_head(fd, "Key: k\r\n", 5);
    say(fd, s->whole, 5);
    hear(fd, "5 none", text, sizeof text);
    say_head(fd, "", BODY_MAX + 1);
    say(fd, s->whole, BODY_MAX); /* much of it is on its way when it is refused: it hears why */
    rest(100);
    hear(fd, "413", text, sizeof text);
    (void)close(fd);
    fd = reach(s);
    say_head(fd, "", BODY_MAX + 1);
    hear(fd, "413", text, sizeof text);
    rest(2 * SHORT_MS); /* and is not waited for any longer */
    rest(SHORT_MS + 400);
    assert_true(send(fd, "x", 1, MSG_NOSIGNAL) < 0 || send(fd, "x", 1, MSG_NOSIGNAL) < 0);
    (void)close(fd);
}

/* Bodies that are under way have a bound together; small ones are taken beside it. */
static void test_http_bodies_together(void **state)
{
    const served *s = *state;
    char text[1024];
    int first = reach(s);
    int second = reach(s);
    say_head(first, "Key: k\r\n", BODY_MAX);
    say(first, s->whole, BODY_MAX - 1);
    rest(100);
    say_head(second, "Key: k\r\n", BODY_MAX);
    say(second, s->whole, BODY_MAX - 1);
    hear(second, "503", text, sizeof text);
    (void)close(second);
    second = reach(s);
    say_head(second, "Key: k\r\n", 60000);
    say(second, s->whole, 60000);
    hear(second, "60000 none", text, sizeof text);
    say(first, s->whole, 1);
    hear(first, "1048576 none", text, sizeof text);
    say_head(second, "Key: k\r\n", BODY_MAX); /* there is room again */
    say(second, s->whole, BODY_MAX);
    hear(second, "1048576 none", text, sizeof text);
    (void)close(first);
    (void)close(second);
}

/* Who reads slowly has it all, however long that takes. */
static void test_http_slow_readers(void **state)
{
    static const char request[] = "GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    static char piece[65536];
    size_t all = 0;
    int fd = reach(*state);
    say(fd, request, sizeof request - 1);
    for (ssize_t got = 1; got > 0; all += got > 0 ? (size_t)got : 0) {
        if (all < (size_t)3 << 20) { /* some 5 s */
            rest(100);
        }
        got = recv(fd, piece, sizeof piece, 0);
    }
    assert_true(all > LONG_BYTES);
    (void)close(fd);
}

/* Who reads nothing is given up, whatever it sends, and however often the server has more. */
static void test_http_readers_of_nothing(void **state)
{
    static const char request[] = "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n";
    served *s = *state;
    int fd = reach(s);
    say(fd, request, sizeof request - 1);
    for (int i = 0; i < 200 && s->gone == 0; i++) {
        say(fd, "x", 1);
        rest(50);
    }
    assert_int_equal(s->gone, 1);
    (void)close(fd);
}

/* A connection for which there was no memory is taken later, and others behind it. */
static void test_http_accept_without_memory(void **state)
{
    char text[1024];
    dw_alloc_fail_after(0);
    int first = reach(*state);
    rest(200);
    dw_alloc_fail_after(-1);
    int second = reach(*state);
    say_head(second, "Key: k\r\n", 2);
    say(second, "ab", 2);
    hear(second, "2 none", text, sizeof text);
    say_head(first, "Key: k\r\n", 1);
    say(first, "a", 1);
    hear(first, "1 none", text, sizeof text);
    (void)close(first);
    (void)close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_http_trailers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_bodies_nobody_wants, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_bodies_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_slow_readers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_readers_of_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_accept_without_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
