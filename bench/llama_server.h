/* llama.cpp's server as the other side: started, asked by many clients at once, stopped. */
#ifndef BENCH_LLAMA_SERVER_H
#define BENCH_LLAMA_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one client saw of its answers, on either side. */
typedef struct bench_watch {
    bool warms;          /* the message under way does not count */
    uint64_t began_ns;   /* when the first that counts was asked */
    uint64_t ended_ns;   /* when the last answer that counts was whole */
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
/* It is asked; `warms`: to bring the side into its stride, nothing of it is counted. */
void bench_watch_ask(bench_watch *watch, bool warms);
/* A piece of the answer has come. */
void bench_watch_piece(bench_watch *watch);
/* The answer is whole, of so many tokens behind so many that were computed. */
void bench_watch_end(bench_watch *watch, uint64_t prompt_tokens, uint64_t tokens);
/* All of `watches` [count]: of their first pieces or their gaps that which the `share` does not
 * exceed, in milliseconds; NaN: there are none. */
double bench_watches_ms(const bench_watch *const *watches, size_t count, bool firsts, double share);

/* One who asks, and asks again at the end of each answer. */
typedef struct bench_client {
    /* The body of the next request, JSON, which stays until the next is asked for, and whether it
     * is not to be counted; NULL: no more. */
    const char *(*next)(void *user, bool *warms);
    /* A piece of the answer as it stands in the JSON of it; may be NULL. */
    void (*on_text)(void *user, const char *escaped, size_t bytes);
    void *user;
    bench_watch *watch;
} bench_client;

typedef struct bench_server_options {
    const char *program;
    const char *model;
    const char *device;      /* NULL or "CPU": that */
    unsigned slots;          /* 0: as many as it has by default */
    unsigned context_tokens; /* of all slots */
    unsigned model_tokens;   /* how many it is to believe the model was made for; 0: the file's */
    int threads;
} bench_server_options;

typedef struct bench_server bench_server;

/* With flash attention, and its defaults; ends the program where it does not come up. */
bench_server *bench_server_start(const bench_server_options *options);
void bench_server_stop(bench_server *server);
/* Streamed chats by `clients` [count] at once, until none has more to ask. */
void bench_server_ask(bench_server *server, const bench_client *clients, size_t count);

#endif
