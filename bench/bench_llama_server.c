/* Many chats at once: actors of the runtime that run the chat guest, against llama.cpp's server
 * with as many slots. Each client asks, waits for its answer and asks again, in a conversation of
 * its own each time; both sides are asked the same, in turn, with the likeliest tokens chosen. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "chats.h"
#include "common.h"
#include "llama_server.h"
#include "texts.h"

#define CLIENTS_MAX 256u
#define ROUNDS_MAX 32
#define ROOM 128u           /* tokens of a context besides those that are counted */
#define TEMPLATE_TOKENS 38u /* of a prompt, that the template adds */
#define TEXT_BYTES 65536

typedef struct settings {
    const char *server;
    const char *model;
    const char *text;
    const char *device;
    uint32_t clients;
    uint32_t chats;  /* of each, in a round, behind the first, which is not counted */
    uint32_t prompt; /* tokens, about */
    uint32_t answer;
    uint32_t system; /* tokens that all begin with; 0: the template's own */
    uint32_t prompt_slice;
    bool together; /* all begin at once, and the first chats count */
    int threads;
    int rounds;
} settings;

/* What is asked in one round. */
typedef struct plan {
    const settings *s;
    const bench_text *text;
    int round;
    char system[TEXT_BYTES / 4];
} plan;

typedef struct client {
    const plan *plan;
    bench_chats *ours;
    uint32_t number;
    uint32_t asked;
    bool warms; /* its chat under way is not counted */
    bench_watch watch;
    char id[DW_ACTOR_ID_CHARS + 1];
    char body[TEXT_BYTES];
} client;

/* Of a side, a round each. */
typedef struct results {
    double tokens_per_s[ROUNDS_MAX];
    double whole_per_s[ROUNDS_MAX]; /* with the first chats, which no row else counts */
    double first_ms[2][ROUNDS_MAX]; /* that half, and 99 of 100, do not exceed */
    double gap_ms[2][ROUNDS_MAX];
    double prompt_tokens[ROUNDS_MAX];
    double tokens[ROUNDS_MAX];
} results;

/* ---- what is asked ---- */

/* Clients come one after the other, as in the middle of a long day: their first answers are of
 * all lengths. */
static uint32_t next_answer(client *c)
{
    const settings *s = c->plan->s;
    c->warms = c->asked == 0 && !s->together;
    return c->warms ? (c->number + 1) * s->answer / s->clients + 1 : s->answer;
}

static uint32_t chats_of(const settings *s)
{
    return s->chats + !s->together;
}

static size_t write_question(const client *c, char *text, size_t capacity)
{
    const settings *s = c->plan->s;
    uint64_t seed = ((uint64_t)c->plan->round * CLIENTS_MAX + c->number) * 128 + c->asked + 1;
    uint32_t overhead = s->system > 0 ? 14 : TEMPLATE_TOKENS;
    return bench_text_passage(c->plan->text, seed, s->prompt > overhead ? s->prompt - overhead : 1,
                              text, capacity);
}

static void make_plan(plan *p, const settings *s, const bench_text *text, int round)
{
    *p = (plan){.s = s, .text = text, .round = round};
    if (s->system > 0) {
        (void)bench_text_passage(text, 1000000 + (uint64_t)round, s->system, p->system,
                                 sizeof p->system);
    }
}

/* ---- theirs ---- */

static const char *next_body(void *user, bool *warms)
{
    client *c = user;
    char question[TEXT_BYTES / 2];
    char system[TEXT_BYTES / 3] = "";
    if (c->asked == chats_of(c->plan->s)) {
        return NULL;
    }
    uint32_t answer = next_answer(c);
    (void)write_question(c, question, sizeof question);
    if (c->plan->system[0] != '\0') {
        (void)snprintf(system, sizeof system, "{\"role\":\"system\",\"content\":\"%s\"},",
                       c->plan->system);
    }
    c->asked++;
    *warms = c->warms;
    (void)snprintf(c->body, sizeof c->body,
                   "{\"messages\":[%s{\"role\":\"user\",\"content\":\"%s\"}],"
                   "\"temperature\":0,\"max_tokens\":%u,\"ignore_eos\":true,\"stream\":true}",
                   system, question, answer);
    return c->body;
}

static void ask_theirs(bench_server *server, client *clients, const settings *s)
{
    static bench_client asking[CLIENTS_MAX];
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
    bench_must(end->status, end->error);
    bench_must(dw_runtime_get_actor_info(c->ours->runtime, c->id, &info, &error), &error);
    bench_watch_end(&c->watch, info.prompt_tokens, info.generated_tokens);
    bench_must(dw_runtime_stop(c->ours->runtime, c->id, &error), &error);
    ask_ours_next(c);
}

static uint32_t context_of(const settings *s)
{
    return s->system + s->system / 16 + s->prompt + s->answer + ROOM;
}

/* A new actor with its first message. */
static void ask_ours_next(client *c)
{
    const settings *s = c->plan->s;
    char question[TEXT_BYTES / 2];
    dw_error error;
    if (c->asked == chats_of(s)) {
        return;
    }
    const bench_chat chat = {
        .system = c->plan->system, .answer = next_answer(c), .context_tokens = context_of(s)};
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = question,
                                .message_bytes = write_question(c, question, sizeof question),
                                .on_answer = on_answer,
                                .on_end = on_end,
                                .user = c};
    c->asked++;
    bench_watch_ask(&c->watch, c->warms);
    bench_chats_spawn(c->ours, &chat, c->id);
    bench_must(dw_runtime_send(c->ours->runtime, c->id, &request, NULL, &error), &error);
}

static void ask_ours(bench_chats *chats, client *clients, const settings *s)
{
    dw_error error;
    for (uint32_t i = 0; i < s->clients; i++) {
        ask_ours_next(&clients[i]);
    }
    bench_must(dw_runtime_wait(chats->runtime, 0, &error), &error);
}

static void open_ours(bench_chats *chats, const settings *s)
{
    bench_chats_open(chats, s->model, s->device, s->threads);
    const dw_scheduler_options scheduler = {.struct_bytes = sizeof scheduler,
                                            .prompt_tokens_max = s->prompt_slice};
    const dw_runtime_options runtime = {.struct_bytes = sizeof runtime, .scheduler = &scheduler};
    bench_chats_run(chats, s->prompt_slice > 0 ? &runtime : NULL);
}

/* ---- both ---- */

static void take_results(const client *clients, const plan *p, uint64_t began_ns, results *r)
{
    static const bench_watch *watches[CLIENTS_MAX];
    const settings *s = p->s;
    uint64_t from_ns = UINT64_MAX;
    uint64_t to_ns = 0;
    double tokens = 0;
    double prompt = 0;
    double uncounted = 0;
    for (uint32_t i = 0; i < s->clients; i++) {
        const bench_watch *watch = watches[i] = &clients[i].watch;
        from_ns = watch->began_ns < from_ns ? watch->began_ns : from_ns;
        to_ns = watch->ended_ns > to_ns ? watch->ended_ns : to_ns;
        tokens += (double)watch->tokens;
        prompt += (double)watch->prompt_tokens;
        uncounted += s->together ? 0 : (i + 1) * s->answer / s->clients + 1;
    }
    r->tokens[p->round] = tokens;
    r->prompt_tokens[p->round] = prompt;
    r->tokens_per_s[p->round] = tokens * 1e9 / (double)(to_ns - from_ns);
    r->whole_per_s[p->round] = (tokens + uncounted) * 1e9 / (double)(to_ns - began_ns);
    for (int i = 0; i < 2; i++) {
        double share = i == 0 ? 0.5 : 0.99;
        r->first_ms[i][p->round] = bench_watches_ms(watches, s->clients, true, share);
        r->gap_ms[i][p->round] = bench_watches_ms(watches, s->clients, false, share);
    }
}

/* A round of one side; `server` NULL: of ours. */
static void run_round(bench_chats *chats, bench_server *server, const plan *p, results *r)
{
    static client clients[CLIENTS_MAX];
    const settings *s = p->s;
    for (uint32_t i = 0; i < s->clients; i++) {
        clients[i] = (client){.plan = p, .ours = chats, .number = i};
        bench_watch_open(&clients[i].watch, chats_of(s));
    }
    uint64_t began_ns = dw_os_clock_ns();
    if (server != NULL) {
        ask_theirs(server, clients, s);
    } else {
        ask_ours(chats, clients, s);
    }
    take_results(clients, p, began_ns, r);
    for (uint32_t i = 0; i < s->clients; i++) {
        bench_watch_close(&clients[i].watch);
    }
}

static void show(const char *what, const char *unit, double *o, double *t, int rounds)
{
    bench_row(what, unit, bench_quantile(o, (size_t)rounds, 0.5),
              bench_quantile(t, (size_t)rounds, 0.5));
}

static void show_all(results *our, results *their, const settings *s)
{
    bench_header();
    show("tokens_per_second", "1/s", our->tokens_per_s, their->tokens_per_s, s->rounds);
    show("tokens_per_second_from_the_start", "1/s", our->whole_per_s, their->whole_per_s,
         s->rounds);
    show("first_token_50", "ms", our->first_ms[0], their->first_ms[0], s->rounds);
    show("first_token_99", "ms", our->first_ms[1], their->first_ms[1], s->rounds);
    show("between_tokens_50", "ms", our->gap_ms[0], their->gap_ms[0], s->rounds);
    show("between_tokens_99", "ms", our->gap_ms[1], their->gap_ms[1], s->rounds);
    show("tokens", "1", our->tokens, their->tokens, s->rounds);
    show("prompt_tokens_computed", "1", our->prompt_tokens, their->prompt_tokens, s->rounds);
}

static void measure(const settings *s)
{
    static plan p;
    static results our;
    static results their;
    bench_chats chats;
    open_ours(&chats, s);
    bench_text *text = bench_text_open(s->text, chats.model);
    const bench_server_options theirs = {.program = s->server,
                                         .model = s->model,
                                         .device = s->device,
                                         .slots = s->clients,
                                         .context_tokens = s->clients * context_of(s),
                                         .threads = s->threads};
    bench_server *server = s->server != NULL ? bench_server_start(&theirs) : NULL;
    for (int round = 0; round < s->rounds; round++) {
        make_plan(&p, s, text, round);
        for (int turn = 0; turn < 2; turn++) { /* who goes first changes */
            bool is_ours = (turn + round) % 2 == 0;
            if (is_ours || server != NULL) {
                run_round(&chats, is_ours ? NULL : server, &p, is_ours ? &our : &their);
            }
        }
    }
    if (server != NULL) {
        bench_server_stop(server);
    }
    bench_text_close(text);
    bench_chats_close(&chats);
    show_all(&our, &their, s);
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
    case 'p':
        s->prompt = number_of(optarg, 1, 4096);
        break;
    case 'l':
        s->prompt_slice = number_of(optarg, 1, 4096);
        break;
    case 'a':
        s->answer = number_of(optarg, 1, 4096);
        break;
    case 's':
        s->system = number_of(optarg, 0, 2048);
        break;
    case 't':
        s->threads = (int)number_of(optarg, 1, 512);
        break;
    case 'n':
        s->rounds = (int)number_of(optarg, 1, ROUNDS_MAX);
        break;
    default:
        bench_die("bench_llama_server [--server FILE] [--model FILE] [--text FILE] [--device NAME] "
                  "[--clients N] [--chats N] [--prompt TOKENS] [--answer TOKENS] "
                  "[--system TOKENS] [--together] [--prompt-slice TOKENS] [--threads N] "
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
                  .prompt = 128,
                  .answer = 64,
                  .threads = dw_os_core_count(),
                  .rounds = 5};
    static const struct option options[] = {
        {"server", required_argument, NULL, 'S'},       {"model", required_argument, NULL, 'm'},
        {"text", required_argument, NULL, 'x'},         {"together", no_argument, NULL, 'T'},
        {"prompt-slice", required_argument, NULL, 'l'}, {"device", required_argument, NULL, 'd'},
        {"clients", required_argument, NULL, 'c'},      {"chats", required_argument, NULL, 'k'},
        {"prompt", required_argument, NULL, 'p'},       {"answer", required_argument, NULL, 'a'},
        {"system", required_argument, NULL, 's'},       {"threads", required_argument, NULL, 't'},
        {"rounds", required_argument, NULL, 'n'},       {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'S') {
            s.server = optarg;
        } else if (option == 'm') {
            s.model = optarg;
        } else if (option == 'd') {
            s.device = optarg;
        } else if (option == 'x') {
            s.text = optarg;
        } else if (option == 'T') {
            s.together = true;
        } else {
            read_number(&s, option);
        }
    }
    return s;
}

int main(int argc, char **argv)
{
    settings s = read_settings(argc, argv);
    measure(&s);
    return 0;
}
