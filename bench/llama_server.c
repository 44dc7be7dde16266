#include "llama_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "common.h"

#define LINE_BYTES 65536
#define UP_SECONDS 120

struct bench_server {
    pid_t process;
    uint16_t port;
};

/* A request under way. */
typedef struct stream {
    const bench_client *client;
    int fd; /* below 0: its client has no more to ask */
    size_t filled;
    char line[LINE_BYTES]; /* what came of one that is not whole yet */
} stream;

/* ---- what is seen ---- */

static void *must_have(void *memory)
{
    if (memory == NULL) {
        bench_die("no memory");
    }
    return memory;
}

void bench_watch_open(bench_watch *watch, size_t messages)
{
    *watch = (bench_watch){.gap_capacity = 1024};
    watch->firsts_ns = must_have(calloc(messages, sizeof *watch->firsts_ns));
    watch->gaps_ns = must_have(calloc(watch->gap_capacity, sizeof *watch->gaps_ns));
}

void bench_watch_close(bench_watch *watch)
{
    free(watch->firsts_ns);
    free(watch->gaps_ns);
}

void bench_watch_ask(bench_watch *watch)
{
    watch->asked_ns = dw_os_clock_ns();
    watch->last_ns = 0;
}

void bench_watch_piece(bench_watch *watch)
{
    uint64_t now = dw_os_clock_ns();
    if (watch->last_ns == 0) {
        watch->firsts_ns[watch->first_count++] = now - watch->asked_ns;
    } else {
        if (watch->gap_count == watch->gap_capacity) {
            watch->gap_capacity *= 2;
            watch->gaps_ns =
                must_have(realloc(watch->gaps_ns, watch->gap_capacity * sizeof *watch->gaps_ns));
        }
        watch->gaps_ns[watch->gap_count++] = now - watch->last_ns;
    }
    watch->last_ns = now;
}

/* ---- the process ---- */

static struct sockaddr_in address_of(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* One that is free now. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = address_of(0);
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, bytes) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0) {
        bench_die("no port");
    }
    (void)close(fd);
    return ntohs(address.sin_port);
}

/* A connection, below 0 where nobody listens. */
static int connect_to(const bench_server *server)
{
    struct sockaddr_in address = address_of(server->port);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) {
        bench_die("no socket");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void send_whole(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            bench_die("llama-server went away");
        }
        if (sent > 0) {
            bytes += sent;
            count -= (size_t)sent;
        }
    }
}

static bool is_up(const bench_server *server)
{
    static const char ask[] =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char head[16] = "";
    int fd = connect_to(server);
    if (fd < 0) {
        return false;
    }
    send_whole(fd, ask, sizeof ask - 1);
    bool up = recv(fd, head, sizeof head - 1, MSG_WAITALL) > 0 && strstr(head, " 200") != NULL;
    (void)close(fd);
    return up;
}

static void become_server(const char *program, char *const *arguments)
{
    int nowhere = open("/dev/null", O_RDWR);
    (void)dup2(nowhere, STDOUT_FILENO);
    (void)dup2(nowhere, STDERR_FILENO);
    (void)execv(program, arguments);
    _exit(127);
}

bench_server *bench_server_start(const char *program, const char *model, unsigned slots,
                                 unsigned slot_tokens, int threads)
{
    bench_server *server = must_have(calloc(1, sizeof *server));
    char port[8];
    char parallel[12];
    char context[16];
    char workers[12];
    server->port = free_port();
    (void)snprintf(port, sizeof port, "%u", server->port);
    (void)snprintf(parallel, sizeof parallel, "%u", slots);
    (void)snprintf(context, sizeof context, "%u", slots * slot_tokens);
    (void)snprintf(workers, sizeof workers, "%d", threads);
    const char *arguments[] = {program,     "--model",        model,   "--host",
                               "127.0.0.1", "--port",         port,    "--parallel",
                               parallel,    "--ctx-size",     context, "--threads",
                               workers,     "--threads-http", "4",     "--flash-attn",
                               "on",        "--no-webui",     NULL};
    server->process = fork();
    if (server->process == 0) {
        become_server(program, (char *const *)(uintptr_t)arguments);
    }
    for (int tries = 0; tries < UP_SECONDS * 10 && server->process > 0; tries++) {
        if (is_up(server)) {
            return server;
        }
        if (waitpid(server->process, NULL, WNOHANG) != 0) {
            break;
        }
        (void)poll(NULL, 0, 100);
    }
    bench_die("llama-server does not come up");
    return NULL;
}

void bench_server_stop(bench_server *server)
{
    (void)kill(server->process, SIGKILL);
    (void)waitpid(server->process, NULL, 0);
    free(server);
}

/* ---- the clients ---- */

static void ask_next(const bench_server *server, stream *s)
{
    char body[BENCH_TEXT_BYTES];
    char head[256];
    size_t bytes = s->client->next(s->client->user, body, sizeof body);
    s->filled = 0;
    s->fd = -1;
    if (bytes == 0) {
        return;
    }
    int count = snprintf(head, sizeof head,
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                         "Content-Type: application/json\r\nConnection: close\r\n"
                         "Content-Length: %zu\r\n\r\n",
                         bytes);
    s->fd = connect_to(server);
    if (s->fd < 0) {
        bench_die("llama-server does not listen");
    }
    bench_watch_ask(s->client->watch);
    send_whole(s->fd, head, (size_t)count);
    send_whole(s->fd, body, bytes);
}

static uint64_t number_behind(const char *line, const char *name)
{
    const char *at = strstr(line, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* True: it was the answer's last. */
static bool take_line(stream *s, const char *line)
{
    bench_watch *watch = s->client->watch;
    if (strncmp(line, "HTTP/1.1 ", 9) == 0 && strncmp(line + 9, "200", 3) != 0) {
        bench_die(line);
    }
    if (strncmp(line, "data: ", 6) != 0) {
        return false;
    }
    if (strstr(line, "\"delta\":{\"content\":\"") != NULL) {
        bench_watch_piece(watch);
    }
    watch->tokens += number_behind(line, "\"predicted_n\":");
    watch->prompt_tokens += number_behind(line, "\"prompt_n\":");
    return strncmp(line + 6, "[DONE]", 6) == 0;
}

/* True: the answer is whole. */
static bool take_bytes(stream *s)
{
    ssize_t count = recv(s->fd, s->line + s->filled, LINE_BYTES - 1 - s->filled, 0);
    if (count <= 0) {
        bench_die("llama-server broke off");
    }
    s->filled += (size_t)count;
    s->line[s->filled] = '\0';
    char *from = s->line;
    bool whole = false;
    for (char *end; !whole && (end = strchr(from, '\n')) != NULL; from = end + 1) {
        *end = '\0';
        whole = take_line(s, from);
    }
    s->filled -= (size_t)(from - s->line);
    memmove(s->line, from, s->filled);
    if (s->filled == LINE_BYTES - 1) {
        bench_die("llama-server: a line too long");
    }
    return whole;
}

void bench_server_ask(bench_server *server, const bench_client *clients, size_t count)
{
    stream *streams = must_have(calloc(count, sizeof *streams));
    struct pollfd *polls = must_have(calloc(count, sizeof *polls));
    size_t open = 0;
    for (size_t i = 0; i < count; i++) {
        streams[i].client = &clients[i];
        ask_next(server, &streams[i]);
        polls[i] = (struct pollfd){.fd = streams[i].fd, .events = POLLIN};
        open += streams[i].fd >= 0;
    }
    while (open > 0) {
        if (poll(polls, (nfds_t)count, -1) < 0 && errno != EINTR) {
            bench_die("poll");
        }
        for (size_t i = 0; i < count; i++) {
            if (polls[i].fd >= 0 && polls[i].revents != 0 && take_bytes(&streams[i])) {
                (void)close(streams[i].fd);
                ask_next(server, &streams[i]);
                polls[i].fd = streams[i].fd;
                open -= streams[i].fd < 0;
            }
        }
    }
    free(polls);
    free(streams);
}
