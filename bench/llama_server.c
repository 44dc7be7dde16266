#include "llama_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
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
#ifdef __linux__
#include <sys/prctl.h>
#endif

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
    uint64_t tokens;
    uint64_t prompt_tokens;
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

void bench_watch_ask(bench_watch *watch, bool warms)
{
    watch->warms = warms;
    watch->asked_ns = dw_os_clock_ns();
    watch->last_ns = 0;
    if (!warms && watch->began_ns == 0) {
        watch->began_ns = watch->asked_ns;
    }
}

void bench_watch_end(bench_watch *watch, uint64_t prompt_tokens, uint64_t tokens)
{
    if (!watch->warms) {
        watch->prompt_tokens += prompt_tokens;
        watch->tokens += tokens;
        watch->ended_ns = dw_os_clock_ns();
    }
}

double bench_watches_ms(const bench_watch *const *watches, size_t count, bool firsts, double share)
{
    size_t all = 0;
    size_t filled = 0;
    for (size_t i = 0; i < count; i++) {
        all += firsts ? watches[i]->first_count : watches[i]->gap_count;
    }
    double *values = must_have(calloc(all + 1, sizeof *values));
    for (size_t i = 0; i < count; i++) {
        const uint64_t *times = firsts ? watches[i]->firsts_ns : watches[i]->gaps_ns;
        size_t of_it = firsts ? watches[i]->first_count : watches[i]->gap_count;
        for (size_t k = 0; k < of_it; k++) {
            values[filled++] = (double)times[k] / 1e6;
        }
    }
    double value = bench_quantile(values, filled, share);
    free(values);
    return value;
}

void bench_watch_piece(bench_watch *watch)
{
    uint64_t now = dw_os_clock_ns();
    if (watch->warms) {
        return;
    }
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
#ifdef __linux__
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a benchmark that is stopped leaves none behind */
#endif
    (void)dup2(nowhere, STDOUT_FILENO);
    (void)dup2(nowhere, STDERR_FILENO);
    (void)execv(program, arguments);
    _exit(127);
}

/* What the server is started with. */
typedef struct words {
    const char *at[48];
    size_t count;
    char numbers[8][96];
    size_t number_count;
} words;

static void add_word(words *w, const char *word)
{
    if (w->count + 1 >= sizeof w->at / sizeof w->at[0]) {
        bench_die("too many words for llama-server");
    }
    w->at[w->count++] = word;
}

static void add_number(words *w, const char *option, const char *format, unsigned value)
{
    char *text = w->numbers[w->number_count++];
    (void)snprintf(text, sizeof w->numbers[0], "%s%u", format, value);
    add_word(w, option);
    add_word(w, text);
}

static void write_words(words *w, const bench_server_options *o, uint16_t port)
{
    static const char *const always[] = {"--host",       "127.0.0.1", "--threads-http", "4",
                                         "--flash-attn", "on",        "--no-webui"};
    bool on_cpu = o->device == NULL || strcmp(o->device, "CPU") == 0;
    add_word(w, o->program);
    add_word(w, "--model");
    add_word(w, o->model);
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        add_word(w, always[i]);
    }
    add_word(w, "--device");
    add_word(w, on_cpu ? "none" : o->device);
    add_number(w, "--gpu-layers", "", on_cpu ? 0 : 999);
    add_number(w, "--port", "", port);
    add_number(w, "--ctx-size", "", o->context_tokens);
    add_number(w, "--threads", "", (unsigned)o->threads);
    if (o->slots > 0) {
        add_number(w, "--parallel", "", o->slots);
    }
    if (o->model_tokens > 0) {
        add_number(w, "--override-kv", "llama.context_length=int:", o->model_tokens);
    }
}

bench_server *bench_server_start(const bench_server_options *options)
{
    static words w;
    bench_server *server = must_have(calloc(1, sizeof *server));
    server->port = free_port();
    w = (words){.count = 0};
    write_words(&w, options, server->port);
    server->process = fork();
    if (server->process == 0) {
        become_server(options->program, (char *const *)(uintptr_t)w.at);
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
    char head[256];
    bool warms = false;
    const char *body = s->client->next(s->client->user, &warms);
    s->filled = 0;
    s->tokens = s->prompt_tokens = 0;
    s->fd = -1;
    if (body == NULL) {
        return;
    }
    size_t bytes = strlen(body);
    int count = snprintf(head, sizeof head,
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                         "Content-Type: application/json\r\nConnection: close\r\n"
                         "Content-Length: %zu\r\n\r\n",
                         bytes);
    s->fd = connect_to(server);
    if (s->fd < 0) {
        bench_die("llama-server does not listen");
    }
    bench_watch_ask(s->client->watch, warms);
    send_whole(s->fd, head, (size_t)count);
    send_whole(s->fd, body, bytes);
}

static uint64_t number_behind(const char *line, const char *name)
{
    const char *at = strstr(line, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* Up to the quote that ends it. */
static size_t string_bytes(const char *text)
{
    size_t count = 0;
    while (text[count] != '\0' && text[count] != '"') {
        count += text[count] == '\\' && text[count + 1] != '\0' ? 2 : 1;
    }
    return count;
}

/* True: it was the answer's last. */
static bool take_line(stream *s, const char *line)
{
    static const char content[] = "\"delta\":{\"content\":\"";
    const bench_client *client = s->client;
    if (strncmp(line, "HTTP/1.1 ", 9) == 0 && strncmp(line + 9, "200", 3) != 0) {
        bench_die(line);
    }
    if (strncmp(line, "data: ", 6) != 0) {
        return false;
    }
    const char *text = strstr(line, content);
    if (text != NULL) {
        bench_watch_piece(client->watch);
        text += sizeof content - 1;
        if (client->on_text != NULL) {
            client->on_text(client->user, text, string_bytes(text));
        }
    }
    s->tokens += number_behind(line, "\"predicted_n\":");
    s->prompt_tokens += number_behind(line, "\"prompt_n\":");
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
                bench_watch_end(clients[i].watch, streams[i].prompt_tokens, streams[i].tokens);
                ask_next(server, &streams[i]);
                polls[i].fd = streams[i].fd;
                open -= streams[i].fd < 0;
            }
        }
    }
    free(polls);
    free(streams);
}
