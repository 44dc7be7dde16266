/* The trace of an agent: 43 turns with tools between, 40,000 tokens at its end, a quarter of the
 * turns by subagents that fork. An actor that runs the chat guest, and its forks, against
 * llama.cpp's server with its own cache and as many slots as it has by default, which is sent the
 * conversation again with each turn. A turn is a message (a tool's result) and its answer; counted
 * is the time from messages to ends of answers, with forks, without what tools take. */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "chats.h"
#include "common.h"
#include "llama_server.h"
#include "texts.h"

#define MAIN_TURNS 32
#define SUBAGENTS 4 /* after every 8th turn */
#define SUB_TURNS 11
#define SYSTEM_TOKENS 3000u
#define MESSAGE_TOKENS 1030u /* a tool's result */
#define SUB_TOKENS 500u      /* that of a subagent's */
#define ANSWER_TOKENS 120u
#define TOKEN_BYTES 16u /* no text has as many for each */
#define ROUNDS_MAX 16

typedef struct settings {
    const char *server;
    const char *model;
    const char *text;
    const char *device;
    double scale;
    uint32_t tool_ms;
    int threads;
    int rounds;
} settings;

typedef struct agent {
    const settings *s;
    const bench_text *text;
    char *room; /* for a passage */
    size_t room_bytes;
    int round;
    int told; /* passages */
    int turns;
    uint64_t took_ns;
    uint64_t forks_ns;
    uint64_t prompt_tokens;
    uint64_t tokens;
} agent;

static uint32_t scaled(const settings *s, uint32_t tokens)
{
    uint32_t count = (uint32_t)((double)tokens * s->scale);
    return count > 4 ? count : 4;
}

static uint32_t context_of(const settings *s)
{
    uint32_t turns = MAIN_TURNS * (scaled(s, MESSAGE_TOKENS) + scaled(s, ANSWER_TOKENS) + 32);
    return scaled(s, SYSTEM_TOKENS) * 17 / 16 + turns * 17 / 16 + 1024;
}

/* The next that a side is told: the same to both. */
static const char *passage(agent *a, uint32_t tokens)
{
    uint64_t number = (uint64_t)a->round * 100 + (uint64_t)++a->told;
    (void)bench_text_passage(a->text, number, scaled(a->s, tokens), a->room, a->room_bytes);
    return a->room;
}

/* What the tools take: neither side's time. */
static void wait_for_tools(const agent *a)
{
    if (a->turns > 0) {
        (void)poll(NULL, 0, (int)a->s->tool_ms);
    }
}

static int turns_of_subagent(int number)
{
    return SUB_TURNS / SUBAGENTS + (number < SUB_TURNS % SUBAGENTS);
}

/* ---- ours ---- */

typedef struct ours {
    agent agent;
    bench_chats *chats;
    char *said; /* the last answer */
    size_t said_bytes;
    size_t said_capacity;
} ours;

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    ours *o = user;
    if (o->said_bytes + count + 1 > o->said_capacity) {
        return -1;
    }
    memcpy(o->said + o->said_bytes, bytes, count);
    o->said_bytes += count;
    return (ptrdiff_t)count;
}

static void our_turn(ours *o, const char *id, const char *message)
{
    dw_error error;
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = message,
                                .message_bytes = strlen(message),
                                .on_answer = on_answer,
                                .user = o};
    wait_for_tools(&o->agent);
    o->said_bytes = 0;
    uint64_t began = dw_os_clock_ns();
    bench_must(dw_runtime_call(o->chats->runtime, id, &request, &error), &error);
    o->agent.took_ns += dw_os_clock_ns() - began;
    o->agent.turns++;
}

static void count_ours(ours *o, const char *id)
{
    dw_error error;
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    bench_must(dw_runtime_get_actor_info(o->chats->runtime, id, &info, &error), &error);
    o->agent.prompt_tokens += info.prompt_tokens;
    o->agent.tokens += info.generated_tokens;
    bench_must(dw_runtime_stop(o->chats->runtime, id, &error), &error);
}

static void our_subagent(ours *o, const char *parent, int number)
{
    dw_error error;
    char child[DW_ACTOR_ID_CHARS + 1];
    uint64_t began = dw_os_clock_ns();
    bench_must(dw_runtime_fork(o->chats->runtime, parent, child, &error), &error);
    o->agent.forks_ns += dw_os_clock_ns() - began;
    for (int i = 0; i < turns_of_subagent(number); i++) {
        our_turn(o, child, passage(&o->agent, SUB_TOKENS));
    }
    count_ours(o, child);
}

static void run_ours(ours *o)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    const bench_chat chat = {.system = passage(&o->agent, SYSTEM_TOKENS),
                             .answer = scaled(o->agent.s, ANSWER_TOKENS),
                             .context_tokens = context_of(o->agent.s)};
    bench_chats_spawn(o->chats, &chat, id);
    for (int i = 0; i < MAIN_TURNS; i++) {
        our_turn(o, id, passage(&o->agent, MESSAGE_TOKENS));
        if (i % (MAIN_TURNS / SUBAGENTS) == MAIN_TURNS / SUBAGENTS - 1) {
            our_subagent(o, id, i / (MAIN_TURNS / SUBAGENTS));
        }
    }
    count_ours(o, id);
    o->agent.took_ns += o->agent.forks_ns;
}

/* ---- theirs ---- */

/* Messages as JSON, each behind a comma but the first. */
typedef struct theirs {
    agent agent;
    bench_server *server;
    char *messages;
    size_t bytes;
    size_t capacity;
    char *body;
    bool asked;
} theirs;

static void append(theirs *t, const char *text, size_t bytes)
{
    if (t->bytes + bytes + 1 > t->capacity) {
        bench_die("a conversation is too long for its room");
    }
    memcpy(t->messages + t->bytes, text, bytes);
    t->bytes += bytes;
    t->messages[t->bytes] = '\0';
}

static void append_message(theirs *t, const char *role, const char *text)
{
    char head[64];
    int bytes = snprintf(head, sizeof head, "%s{\"role\":\"%s\",\"content\":\"",
                         t->bytes > 0 ? "," : "", role);
    append(t, head, (size_t)bytes);
    append(t, text, strlen(text));
}

static const char *next_body(void *user, bool *warms)
{
    theirs *t = user;
    const char *body = t->asked ? NULL : t->body;
    *warms = false;
    t->asked = true;
    return body;
}

static void on_text(void *user, const char *escaped, size_t bytes)
{
    append(user, escaped, bytes);
}

static void their_turn(theirs *t, const char *message)
{
    bench_watch watch;
    const bench_client client = {.next = next_body, .on_text = on_text, .user = t, .watch = &watch};
    append_message(t, "user", message);
    append(t, "\"}", 2);
    (void)snprintf(t->body, t->capacity + 256,
                   "{\"messages\":[%s],\"temperature\":0,\"max_tokens\":%u,\"ignore_eos\":true,"
                   "\"stream\":true}",
                   t->messages, scaled(t->agent.s, ANSWER_TOKENS));
    append_message(t, "assistant", "");
    wait_for_tools(&t->agent);
    bench_watch_open(&watch, 1);
    t->asked = false;
    uint64_t began = dw_os_clock_ns();
    bench_server_ask(t->server, &client, 1);
    t->agent.took_ns += dw_os_clock_ns() - began;
    append(t, "\"}", 2);
    t->agent.prompt_tokens += watch.prompt_tokens;
    t->agent.tokens += watch.tokens;
    t->agent.turns++;
    bench_watch_close(&watch);
}

static void run_theirs(theirs *t)
{
    t->bytes = 0;
    append_message(t, "system", passage(&t->agent, SYSTEM_TOKENS));
    append(t, "\"}", 2);
    for (int i = 0; i < MAIN_TURNS; i++) {
        their_turn(t, passage(&t->agent, MESSAGE_TOKENS));
        if (i % (MAIN_TURNS / SUBAGENTS) == MAIN_TURNS / SUBAGENTS - 1) {
            size_t parent = t->bytes;
            for (int k = 0; k < turns_of_subagent(i / (MAIN_TURNS / SUBAGENTS)); k++) {
                their_turn(t, passage(&t->agent, SUB_TOKENS));
            }
            t->bytes = parent;
        }
    }
}

/* ---- both ---- */

typedef struct results {
    double seconds[ROUNDS_MAX];
    double prompt_tokens[ROUNDS_MAX];
    double tokens[ROUNDS_MAX];
} results;

static void *must_have(void *memory)
{
    if (memory == NULL) {
        bench_die("no memory");
    }
    return memory;
}

static void begin_round(agent *a, int round)
{
    a->round = round;
    a->told = a->turns = 0;
    a->took_ns = a->forks_ns = a->prompt_tokens = a->tokens = 0;
}

static void end_round(const agent *a, results *r)
{
    r->seconds[a->round] = (double)a->took_ns / 1e9;
    r->prompt_tokens[a->round] = (double)a->prompt_tokens;
    r->tokens[a->round] = (double)a->tokens;
}

static void show(const char *name, const char *unit, double *o, double *t, int rounds)
{
    bench_row(name, unit, bench_quantile(o, (size_t)rounds, 0.5),
              bench_quantile(t, (size_t)rounds, 0.5));
}

static void open_sides(ours *o, theirs *t, const settings *s)
{
    size_t room = (size_t)context_of(s) * TOKEN_BYTES;
    agent both = {.s = s, .room_bytes = room};
    both.room = must_have(malloc(room));
    both.text = bench_text_open(s->text, o->chats->model);
    *o = (ours){.agent = both, .chats = o->chats, .said_capacity = room};
    *t = (theirs){.agent = both, .capacity = room};
    o->said = must_have(malloc(room));
    t->messages = must_have(malloc(room));
    t->body = must_have(malloc(room + 256));
    const bench_server_options options = {.program = s->server,
                                          .model = s->model,
                                          .device = s->device,
                                          .context_tokens = 2 * context_of(s),
                                          .model_tokens = context_of(s),
                                          .threads = s->threads};
    t->server = s->server != NULL ? bench_server_start(&options) : NULL;
    bench_chats_run(o->chats, NULL);
}

static void close_sides(ours *o, theirs *t)
{
    if (t->server != NULL) {
        bench_server_stop(t->server);
    }
    bench_text_close((bench_text *)(uintptr_t)o->agent.text);
    free(o->agent.room);
    free(o->said);
    free(t->messages);
    free(t->body);
    bench_chats_close(o->chats);
}

static void measure(const settings *s)
{
    static results our;
    static results their;
    bench_chats chats;
    ours o = {.chats = &chats};
    theirs t;
    double forks_ns = 0;
    bench_chats_open(&chats, s->model, s->device, s->threads);
    open_sides(&o, &t, s);
    for (int round = 0; round < s->rounds; round++) {
        begin_round(&o.agent, round);
        begin_round(&t.agent, round);
        run_ours(&o);
        if (t.server != NULL) {
            run_theirs(&t);
        }
        forks_ns += (double)o.agent.forks_ns;
        end_round(&o.agent, &our);
        end_round(&t.agent, &their);
    }
    close_sides(&o, &t);
    bench_header();
    show("agent_of_43_turns", "s", our.seconds, their.seconds, s->rounds);
    show("prompt_tokens_computed", "1", our.prompt_tokens, their.prompt_tokens, s->rounds);
    show("tokens", "1", our.tokens, their.tokens, s->rounds);
    bench_figure("fork", "us", forks_ns / 1000 / SUBAGENTS / s->rounds);
}

static double number_of(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most)) {
        bench_die("a number is out of range");
    }
    return value;
}

static settings read_settings(int argc, char **argv)
{
    settings s = {.server = getenv("DRIFTWOOD_LLAMA_SERVER"),
                  .model = bench_default_model(),
                  .device = "CPU",
                  .scale = 0.1,
                  .tool_ms = 20,
                  .threads = dw_os_core_count(),
                  .rounds = 1};
    static const struct option options[] = {{"server", required_argument, NULL, 'S'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"text", required_argument, NULL, 'x'},
                                            {"device", required_argument, NULL, 'd'},
                                            {"scale", required_argument, NULL, 's'},
                                            {"tool-ms", required_argument, NULL, 'g'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"rounds", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'S':
            s.server = optarg;
            break;
        case 'm':
            s.model = optarg;
            break;
        case 'x':
            s.text = optarg;
            break;
        case 'd':
            s.device = optarg;
            break;
        case 's':
            s.scale = number_of(optarg, 0.001, 4);
            break;
        case 'g':
            s.tool_ms = (uint32_t)number_of(optarg, 0, 60000);
            break;
        case 't':
            s.threads = (int)number_of(optarg, 1, 512);
            break;
        case 'n':
            s.rounds = (int)number_of(optarg, 1, ROUNDS_MAX);
            break;
        default:
            bench_die("bench_agent [--server FILE] [--model FILE] [--text FILE] [--device NAME] "
                      "[--scale N] [--tool-ms N] [--threads N] [--rounds N]");
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
