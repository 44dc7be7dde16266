/* Many chats at once: actors of the runtime that run the chat guest, against llama.cpp's server
 * with as many slots. Each client asks, waits for its answer and asks again, in a conversation of
 * its own each time; both sides are asked the same, in turn, with the likeliest tokens chosen. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "common.h"
#include "driftwood.h"
#include "llama_server.h"

#define CLIENTS_MAX 256u
#define ROUNDS_MAX 32
#define ROOM 64u /* tokens of a context besides those that are counted */

typedef struct settings {
    const char *server;
    const char *model;
    const char *device;
    uint32_t clients;
    uint32_t chats; /* of each, in a round */
    uint32_t words; /* of a question; about as many tokens */
    uint32_t answer;
    uint32_t system; /* words that all begin with; 0: the template's own */
    int threads;
    int rounds;
} settings;

/* What is asked in one round. */
typedef struct plan {
    const settings *s;
    int round;
    char system[BENCH_TEXT_BYTES / 2];
    char tokens_max[16];
} plan;

typedef struct ours {
    dw_engine *engine;
    dw_model *model;
    dw_module *chat;
    dw_runtime *runtime;
} ours;

typedef struct client {
    const plan *plan;
    ours *ours;
    uint32_t number;
    uint32_t asked;
    bench_watch watch;
    char id[DW_ACTOR_ID_CHARS + 1];
} client;

/* Of a side, a round each. */
typedef struct results {
    double tokens_per_s[ROUNDS_MAX];
    double first_ms[ROUNDS_MAX]; /* median */
    double gap_ms[ROUNDS_MAX];   /* 99 of 100 are no longer */
    double prompt_tokens[ROUNDS_MAX];
    double tokens[ROUNDS_MAX];
} results;

static void must(dw_status status, const dw_error *error)
{
    if (status != DW_OK) {
        bench_die(error->message);
    }
}

/* ---- what is asked ---- */

/* Words that follow from `seed`, so that both sides are asked the same and no two chats are. */
static size_t write_words(char *text, size_t capacity, uint32_t seed, uint32_t count)
{
    static const char *const words[] = {
        "river",  "stone",  "evening", "garden", "letter",  "winter", "morning", "window",
        "market", "silver", "summer",  "island", "harbour", "forest", "shadow",  "candle"};
    size_t filled = 0;
    uint32_t state = seed * 2654435761u + 12345u;
    text[0] = '\0';
    for (uint32_t i = 0; i < count && filled + 16 < capacity; i++) {
        state = state * 1664525u + 1013904223u;
        filled += (size_t)snprintf(text + filled, capacity - filled, "%s%s", i > 0 ? " " : "",
                                   words[state >> 28]);
    }
    return filled;
}

static size_t write_question(const client *c, char *text, size_t capacity)
{
    const settings *s = c->plan->s;
    uint32_t seed = ((uint32_t)c->plan->round * CLIENTS_MAX + c->number) * 64 + c->asked;
    size_t filled = write_words(text, capacity, seed, s->words);
    filled += (size_t)snprintf(text + filled, capacity - filled,
                               ". Write a long story with these words.");
    return filled;
}

static void make_plan(plan *p, const settings *s, int round)
{
    *p = (plan){.s = s, .round = round};
    (void)write_words(p->system, sizeof p->system, 977u + (uint32_t)round, s->system);
    (void)snprintf(p->tokens_max, sizeof p->tokens_max, "%u", s->answer);
}

/* ---- theirs ---- */

static size_t next_body(void *user, char *body, size_t capacity)
{
    client *c = user;
    char question[BENCH_TEXT_BYTES / 4];
    char system[BENCH_TEXT_BYTES / 2 + 64] = "";
    if (c->asked == c->plan->s->chats) {
        return 0;
    }
    (void)write_question(c, question, sizeof question);
    if (c->plan->system[0] != '\0') {
        (void)snprintf(system, sizeof system, "{\"role\":\"system\",\"content\":\"%s\"},",
                       c->plan->system);
    }
    c->asked++;
    return (size_t)snprintf(body, capacity,
                            "{\"messages\":[%s{\"role\":\"user\",\"content\":\"%s\"}],"
                            "\"temperature\":0,\"max_tokens\":%s,\"stream\":true}",
                            system, question, c->plan->tokens_max);
}

static void ask_theirs(bench_server *server, client *clients, const settings *s)
{
    bench_client asking[CLIENTS_MAX];
    for (uint32_t i = 0; i < s->clients; i++) {
        asking[i] =
            (bench_client){.next = next_body, .user = &clients[i], .watch = &clients[i].watch};
    }
    bench_server_ask(server, asking, s->clients);
}

/* ---- ours ---- */

static void ask_ours_next(client *c);

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    client *c = user;
    (void)bytes;
    bench_watch_piece(&c->watch);
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_runtime_end *end)
{
    client *c = user;
    dw_error error;
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    must(end->status, end->error);
    must(dw_runtime_get_actor_info(c->ours->runtime, c->id, &info, &error), &error);
    c->watch.tokens += info.generated_tokens;
    c->watch.prompt_tokens += info.prompt_tokens;
    must(dw_runtime_stop(c->ours->runtime, c->id, &error), &error);
    ask_ours_next(c);
}

/* A new actor with its first message. */
static void ask_ours_next(client *c)
{
    const settings *s = c->plan->s;
    char question[BENCH_TEXT_BYTES / 4];
    dw_error error;
    const char *const names[] = {"DRIFTWOOD_TEMP", "DRIFTWOOD_MAX_TOKENS", "DRIFTWOOD_SYSTEM"};
    const char *const values[] = {"0", c->plan->tokens_max, c->plan->system};
    if (c->asked == s->chats) {
        return;
    }
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &c->ours->model,
                                    .model_count = 1,
                                    .env_names = names,
                                    .env_values = values,
                                    .env_count = s->system > 0 ? 3 : 2,
                                    .context_tokens_max =
                                        s->system * 2 + s->words * 2 + s->answer + ROOM};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .actor = &actor};
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = question,
                                .message_bytes = write_question(c, question, sizeof question),
                                .on_answer = on_answer,
                                .on_end = on_end,
                                .user = c};
    c->asked++;
    bench_watch_ask(&c->watch);
    must(dw_runtime_begin_spawn(c->ours->runtime, c->ours->chat, &options, c->id, &error), &error);
    must(dw_runtime_send(c->ours->runtime, c->id, &request, NULL, &error), &error);
}

static void ask_ours(ours *o, client *clients, const settings *s)
{
    dw_error error;
    for (uint32_t i = 0; i < s->clients; i++) {
        ask_ours_next(&clients[i]);
    }
    must(dw_runtime_wait(o->runtime, 0, &error), &error);
}

static void open_ours(ours *o, const settings *s)
{
    dw_error error;
    const dw_engine_options engine = {
        .struct_bytes = sizeof engine, .device = s->device, .threads = s->threads};
    must(dw_engine_create(&o->engine, &engine, &error), &error);
    must(dw_model_open(&o->model, o->engine, s->model, &error), &error);
    must(dw_module_open(&o->chat, o->engine, DW_TEST_GUESTS_DIR "/chat.wasm", &error), &error);
    must(dw_runtime_open(&o->runtime, o->engine, NULL, &error), &error);
}

static void close_ours(ours *o)
{
    dw_runtime_close(o->runtime);
    dw_module_unref(o->chat);
    dw_model_unref(o->model);
    dw_engine_destroy(o->engine);
}

/* ---- both ---- */

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

/* The value that `share` of them do not exceed. */
static double quantile(double *values, size_t count, double share)
{
    if (count == 0) {
        return NAN;
    }
    qsort(values, count, sizeof *values, by_value);
    return values[(size_t)((double)(count - 1) * share + 0.5)];
}

static double quantile_ms(client *clients, uint32_t count, bool firsts, double share)
{
    size_t all = 0;
    for (uint32_t i = 0; i < count; i++) {
        all += firsts ? clients[i].watch.first_count : clients[i].watch.gap_count;
    }
    double *values = calloc(all + 1, sizeof *values);
    size_t filled = 0;
    for (uint32_t i = 0; i < count && values != NULL; i++) {
        const bench_watch *watch = &clients[i].watch;
        size_t of_it = firsts ? watch->first_count : watch->gap_count;
        for (size_t k = 0; k < of_it; k++) {
            values[filled++] = (double)(firsts ? watch->firsts_ns : watch->gaps_ns)[k] / 1e6;
        }
    }
    double value = values != NULL ? quantile(values, filled, share) : NAN;
    free(values);
    return value;
}

/* A round of one side; `server` NULL: of ours. */
static void run_round(ours *o, bench_server *server, const plan *p, results *r)
{
    static client clients[CLIENTS_MAX];
    const settings *s = p->s;
    double tokens = 0;
    double prompt = 0;
    for (uint32_t i = 0; i < s->clients; i++) {
        clients[i] = (client){.plan = p, .ours = o, .number = i};
        bench_watch_open(&clients[i].watch, s->chats);
    }
    uint64_t began = dw_os_clock_ns();
    if (server != NULL) {
        ask_theirs(server, clients, s);
    } else {
        ask_ours(o, clients, s);
    }
    double seconds = (double)(dw_os_clock_ns() - began) / 1e9;
    for (uint32_t i = 0; i < s->clients; i++) {
        tokens += (double)clients[i].watch.tokens;
        prompt += (double)clients[i].watch.prompt_tokens;
    }
    r->tokens[p->round] = tokens;
    r->prompt_tokens[p->round] = prompt;
    r->tokens_per_s[p->round] = tokens / seconds;
    r->first_ms[p->round] = quantile_ms(clients, s->clients, true, 0.5);
    r->gap_ms[p->round] = quantile_ms(clients, s->clients, false, 0.99);
    for (uint32_t i = 0; i < s->clients; i++) {
        bench_watch_close(&clients[i].watch);
    }
}

static void show(const char *what, const char *unit, double *o, double *t, int rounds)
{
    bench_row(what, unit, quantile(o, (size_t)rounds, 0.5), quantile(t, (size_t)rounds, 0.5));
}

static void measure(const settings *s)
{
    static plan p;
    static results our;
    static results their;
    ours o = {.engine = NULL};
    open_ours(&o, s);
    bench_server *server =
        bench_server_start(s->server, s->model, s->clients,
                           s->system * 2 + s->words * 2 + s->answer + ROOM, s->threads);
    for (int round = 0; round < s->rounds; round++) {
        make_plan(&p, s, round);
        for (int turn = 0; turn < 2; turn++) { /* who goes first changes */
            bool is_ours = (turn + round) % 2 == 0;
            run_round(&o, is_ours ? NULL : server, &p, is_ours ? &our : &their);
        }
    }
    bench_server_stop(server);
    close_ours(&o);
    bench_header();
    show("tokens_per_second", "1/s", our.tokens_per_s, their.tokens_per_s, s->rounds);
    show("first_token_median", "ms", our.first_ms, their.first_ms, s->rounds);
    show("between_tokens_99", "ms", our.gap_ms, their.gap_ms, s->rounds);
    show("tokens", "1", our.tokens, their.tokens, s->rounds);
    show("prompt_tokens_computed", "1", our.prompt_tokens, their.prompt_tokens, s->rounds);
}

static uint32_t number_of(const char *text, uint32_t least, uint32_t most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value < least || value > most) {
        bench_die("a number is out of range");
    }
    return (uint32_t)value;
}

static void read_number(settings *s, int option)
{
    switch (option) {
    case 'c':
        s->clients = number_of(optarg, 1, CLIENTS_MAX);
        break;
    case 'k':
        s->chats = number_of(optarg, 1, 64);
        break;
    case 'w':
        s->words = number_of(optarg, 1, 512);
        break;
    case 'a':
        s->answer = number_of(optarg, 1, 4096);
        break;
    case 's':
        s->system = number_of(optarg, 0, 1024);
        break;
    case 't':
        s->threads = (int)number_of(optarg, 1, 512);
        break;
    case 'n':
        s->rounds = (int)number_of(optarg, 1, ROUNDS_MAX);
        break;
    default:
        bench_die("bench_llama_server --server FILE [--model FILE] [--device NAME] [--clients N] "
                  "[--chats N] [--words N] [--answer N] [--system WORDS] [--threads N] "
                  "[--rounds N]");
    }
}

static settings read_settings(int argc, char **argv)
{
    settings s = {.server = getenv("DRIFTWOOD_LLAMA_SERVER"),
                  .model = bench_default_model(),
                  .device = "CPU",
                  .clients = 16,
                  .chats = 2,
                  .words = 85,
                  .answer = 64,
                  .threads = dw_os_core_count(),
                  .rounds = 5};
    static const struct option options[] = {{"server", required_argument, NULL, 'S'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"device", required_argument, NULL, 'd'},
                                            {"clients", required_argument, NULL, 'c'},
                                            {"chats", required_argument, NULL, 'k'},
                                            {"words", required_argument, NULL, 'w'},
                                            {"answer", required_argument, NULL, 'a'},
                                            {"system", required_argument, NULL, 's'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"rounds", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'S') {
            s.server = optarg;
        } else if (option == 'm') {
            s.model = optarg;
        } else if (option == 'd') {
            s.device = optarg;
        } else {
            read_number(&s, option);
        }
    }
    if (s.server == NULL) {
        bench_die("--server, or DRIFTWOOD_LLAMA_SERVER: llama.cpp's llama-server is needed");
    }
    return s;
}

int main(int argc, char **argv)
{
    settings s = read_settings(argc, argv);
    measure(&s);
    return 0;
}
