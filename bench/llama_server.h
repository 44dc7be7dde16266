/* llama.cpp's server as the other side: started, asked by many clients at once, stopped. */
#ifndef BENCH_LLAMA_SERVER_H
#define BENCH_LLAMA_SERVER_H

#include <stddef.h>
#include <stdint.h>

#define BENCH_TEXT_BYTES 16384

/* What one client saw of its answers, on either side. */
typedef struct bench_watch {
    uint64_t asked_ns;   /* when the message under way was */
    uint64_t last_ns;    /* its last piece; 0: there was none yet */
    uint64_t *firsts_ns; /* [first_count]: from asking to the first piece */
    size_t first_count;
    uint64_t *gaps_ns; /* [gap_count]: from piece to piece */
    size_t gap_count;
    size_t gap_capacity;
    uint64_t prompt_tokens; /* that were computed */
    uint64_t tokens;        /* generated */
} bench_watch;

/* For at most so many messages. */
void bench_watch_open(bench_watch *watch, size_t messages);
void bench_watch_close(bench_watch *watch);
void bench_watch_ask(bench_watch *watch);
/* A piece of the answer has come. */
void bench_watch_piece(bench_watch *watch);

/* One who asks, and asks again at the end of each answer. */
typedef struct bench_client {
    /* The body of the next request, JSON without a NUL's need -> its bytes; 0: no more. */
    size_t (*next)(void *user, char *body, size_t capacity);
    void *user;
    bench_watch *watch;
} bench_client;

typedef struct bench_server bench_server;

/* With so many slots of `slot_tokens` each; ends the program where it does not come up. */
bench_server *bench_server_start(const char *program, const char *model, unsigned slots,
                                 unsigned slot_tokens, int threads);
void bench_server_stop(bench_server *server);
/* Streamed chats by `clients` [count] at once, until none has more to ask. */
void bench_server_ask(bench_server *server, const bench_client *clients, size_t count);

#endif
