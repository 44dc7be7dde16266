/* What the system takes for a token that is told a client, without any server: a thread waits for
 * an eventfd, as a loop does, and writes as many bytes as an event of a chat has to each client's
 * socket, whose reader, in another process, waits for them. Beside it run threads that read
 * memory on every core, as a model's do, the first of which wakes the writer; or none.
 *
 * `loop`: processor time of the thread that waits and writes, a token; `write`: of its calls of
 * send() alone; `direct`: of the same calls where the thread that made the token writes itself,
 * which nobody wakes. Microseconds. `unix_`: sockets of the file system's kind for TCP's. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "base/stop.h"
#include "common.h"

enum { CLIENTS_MAX = 64, CORES_MAX = 64, EVENT_BYTES = 230, TOKENS = 300, TOKEN_US = 7000 };
#define MEMORY_BYTES ((size_t)64 << 20)

typedef struct trial {
    bool busy;
    bool local; /* sockets of the file system's kind */
    bool direct;
    int clients;
    int sockets[CLIENTS_MAX];
    dw_waker waker;
    _Atomic bool ends;
    _Atomic int tokens; /* made */
    double write_us;
    double loop_us;
    const unsigned char *memory; /* [MEMORY_BYTES] */
    _Atomic unsigned sum;        /* of it, so that it is read */
} trial;

static double clock_us(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* ---- the clients, in a process of their own ---- */

static void *read_all(void *user)
{
    char bytes[4096];
    int *fd = user;
    while (recv(*fd, bytes, sizeof bytes, 0) > 0) {}
    return NULL;
}

static _Noreturn void be_clients(trial *t)
{
    pthread_t threads[CLIENTS_MAX];
    for (int i = 0; i < t->clients; i++) {
        if (pthread_create(&threads[i], NULL, read_all, &t->sockets[i]) != 0) {
            _exit(1);
        }
    }
    for (int i = 0; i < t->clients; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    _exit(0);
}

/* A connection over the loopback -> both ends. */
static bool connect_tcp(int pair[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    const int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    bool good = bind(listener, (struct sockaddr *)&at, bytes) == 0 && listen(listener, 1) == 0 &&
                getsockname(listener, (struct sockaddr *)&at, &bytes) == 0 &&
                connect(pair[1], (struct sockaddr *)&at, bytes) == 0;
    pair[0] = good ? accept(listener, NULL, NULL) : -1;
    good = pair[0] >= 0 && setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0;
    (void)close(listener);
    return good;
}

static pid_t begin_clients(trial *t)
{
    int others[CLIENTS_MAX];
    for (int i = 0; i < t->clients; i++) {
        int pair[2];
        if (t->local ? socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 : !connect_tcp(pair)) {
            bench_die("no sockets");
        }
        t->sockets[i] = pair[0];
        others[i] = pair[1];
    }
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < t->clients; i++) {
            (void)close(t->sockets[i]);
            t->sockets[i] = others[i];
        }
        be_clients(t);
    }
    for (int i = 0; i < t->clients; i++) {
        (void)close(others[i]);
    }
    return pid;
}

/* ---- the server ---- */

static void tell(trial *t)
{
    static const char event[EVENT_BYTES] = "data: ";
    double begin = clock_us(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < t->clients; i++) {
        if (send(t->sockets[i], event, sizeof event, MSG_NOSIGNAL) != EVENT_BYTES) {
            bench_die("a client does not read");
        }
    }
    t->write_us += clock_us(CLOCK_THREAD_CPUTIME_ID) - begin;
}

static void *wait_and_write(void *user)
{
    trial *t = user;
    struct pollfd wanted = {.fd = t->waker.read_fd, .events = POLLIN};
    double begin = clock_us(CLOCK_THREAD_CPUTIME_ID);
    int told = 0;
    while (told < TOKENS && poll(&wanted, 1, -1) >= 0) {
        dw_waker_drain(&t->waker);
        for (int made = atomic_load(&t->tokens); told < made; told++) {
            tell(t);
        }
    }
    t->loop_us = clock_us(CLOCK_THREAD_CPUTIME_ID) - begin;
    return NULL;
}

static void *read_memory(void *user)
{
    trial *t = user;
    unsigned sum = 0;
    for (size_t at = 0; !atomic_load(&t->ends); at = (at + 64) % MEMORY_BYTES) {
        sum += t->memory[at];
    }
    t->sum = sum;
    return NULL;
}

/* A token each TOKEN_US, with memory read between where it is busy. */
static void make_tokens(trial *t)
{
    unsigned sum = 0;
    size_t at = 0;
    for (int made = 0; made < TOKENS; made++) {
        const double until = clock_us(CLOCK_MONOTONIC) + TOKEN_US;
        for (double now = 0; t->busy && now < until; now = clock_us(CLOCK_MONOTONIC)) {
            for (int i = 0; i < 1024; i++, at = (at + 64) % MEMORY_BYTES) {
                sum += t->memory[at];
            }
        }
        if (!t->busy) {
            (void)usleep(TOKEN_US);
        }
        if (t->direct) {
            tell(t);
        } else {
            atomic_store(&t->tokens, made + 1);
            dw_waker_wake(&t->waker);
        }
    }
    t->sum = sum;
}

static void run(trial *t, int cores)
{
    pthread_t writer;
    pthread_t crew[CORES_MAX];
    pid_t clients = begin_clients(t);
    int helpers = t->busy ? cores - 1 : 0;
    if (dw_waker_open(&t->waker, NULL) != DW_OK ||
        (!t->direct && pthread_create(&writer, NULL, wait_and_write, t) != 0)) {
        bench_die("no thread");
    }
    for (int i = 0; i < helpers; i++) {
        if (pthread_create(&crew[i], NULL, read_memory, t) != 0) {
            bench_die("no thread");
        }
    }
    make_tokens(t);
    if (!t->direct) {
        (void)pthread_join(writer, NULL);
    }
    atomic_store(&t->ends, true);
    for (int i = 0; i < helpers; i++) {
        (void)pthread_join(crew[i], NULL);
    }
    for (int i = 0; i < t->clients; i++) {
        (void)close(t->sockets[i]);
    }
    (void)waitpid(clients, NULL, 0);
    dw_waker_close(&t->waker);
}

static void row(trial *t, int cores)
{
    char name[64];
    run(t, cores);
    const double told = (double)TOKENS * t->clients;
    (void)snprintf(name, sizeof name, "%s%s_%d_%s", t->local ? "unix_" : "",
                   t->busy ? "busy" : "rest", t->clients, t->direct ? "direct" : "write");
    bench_figure(name, "us", t->write_us / told);
    if (!t->direct) {
        (void)snprintf(name, sizeof name, "%s%s_%d_loop", t->local ? "unix_" : "",
                       t->busy ? "busy" : "rest", t->clients);
        bench_figure(name, "us", t->loop_us / told);
    }
    (void)fflush(stdout);
}

int main(void)
{
    static const int clients[] = {1, 16, 64};
    unsigned char *memory = calloc(MEMORY_BYTES, 1);
    int cores = dw_os_core_count();
    cores = cores < CORES_MAX ? cores : CORES_MAX;
    if (memory == NULL) {
        bench_die("no memory");
    }
    memset(memory, 1, MEMORY_BYTES); /* pages of its own, not one of zeros */
    bench_header();
    for (int busy = 0; busy < 2; busy++) {
        for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
            for (int way = 0; way < 3; way++) {
                trial t = {.busy = busy != 0,
                           .direct = way == 1,
                           .local = way == 2,
                           .clients = clients[i],
                           .memory = memory};
                row(&t, cores);
            }
        }
    }
    free(memory);
    return 0;
}
