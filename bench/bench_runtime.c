/* What a message costs that is no work: an actor that answers nothing, in memory only. One caller
 * that waits for each end, then actors whose messages follow each other, then callers at once. Then
 * the same in a folder, made where $TMPDIR says: messages are on the disk when they are accepted,
 * and what they did when the actor is parked, or before each is told of. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "common.h"
#include "driftwood.h"

#define ACTORS_MAX 1024u
#define CALLERS_MAX 16u

typedef struct settings {
    uint32_t actors;
    uint32_t durable_actors; /* as many messages wait for the disk together */
    uint32_t callers;
    uint32_t messages; /* of each row, altogether; fewer of durable ones */
    int rounds;
} settings;

typedef struct crowd crowd;

/* One of the actors, which gets its next message at the end of the last. */
typedef struct member {
    crowd *of;
    char id[DW_ACTOR_ID_CHARS + 1];
    uint32_t left;
} member;

struct crowd {
    dw_runtime *runtime;
    dw_module *module;
    member members[ACTORS_MAX];
};

static void must(dw_status status, const dw_error *error)
{
    if (status != DW_OK) {
        bench_die(error->message);
    }
}

static void send_next(member *m);

static void on_end(void *user, const dw_runtime_end *end)
{
    member *m = user;
    must(end->status, end->error);
    if (m->left > 0) {
        send_next(m);
    }
}

static void send_next(member *m)
{
    dw_error error;
    const dw_request request = {.struct_bytes = sizeof request, .on_end = on_end, .user = m};
    m->left--;
    must(dw_runtime_send(m->of->runtime, m->id, &request, NULL, &error), &error);
}

static void call_often(member *m, uint32_t count)
{
    dw_error error;
    const dw_request request = {.struct_bytes = sizeof request};
    for (uint32_t i = 0; i < count; i++) {
        must(dw_runtime_call(m->of->runtime, m->id, &request, &error), &error);
    }
}

static void *run_caller(void *arg)
{
    member *m = arg;
    call_often(m, m->left);
    return NULL;
}

/* Nanoseconds a message. */
static double round_trip(crowd *c, uint32_t messages)
{
    uint64_t started = dw_os_clock_ns();
    call_often(&c->members[0], messages);
    return (double)(dw_os_clock_ns() - started) / messages;
}

static double together(crowd *c, uint32_t messages, uint32_t actors)
{
    dw_error error;
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < actors; i++) {
        c->members[i].left = messages / actors;
        send_next(&c->members[i]);
    }
    must(dw_runtime_wait(c->runtime, 0, &error), &error);
    return (double)(dw_os_clock_ns() - started) / (messages / actors * actors);
}

static double callers_at_once(crowd *c, const settings *s, uint32_t messages)
{
    pthread_t threads[CALLERS_MAX];
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < s->callers; i++) {
        c->members[i].left = messages / s->callers;
        if (dw_os_start_thread(&threads[i], run_caller, &c->members[i]) != 0) {
            bench_die("no thread");
        }
    }
    for (uint32_t i = 0; i < s->callers; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return (double)(dw_os_clock_ns() - started) / (messages / s->callers * s->callers);
}

static double least(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

/* `one_by_one`: messages of the rows in which one waits for another. */
static void measure(crowd *c, const settings *s, uint32_t one_by_one, const char *prefix)
{
    static const char *const names[] = {"message_round_trip", "message_after_message",
                                        "messages_of_all_actors", "messages_of_all_callers"};
    double took[4] = {0, 0, 0, 0};
    for (int i = 0; i < s->rounds; i++) {
        took[0] = least(took[0], round_trip(c, one_by_one));
        took[1] = least(took[1], together(c, one_by_one, 1));
        took[2] = least(took[2], together(c, s->messages, s->actors));
        took[3] = least(took[3], callers_at_once(c, s, one_by_one));
    }
    for (int i = 0; i < 4; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        bench_figure(name, i < 2 ? "us" : "1/s", i < 2 ? took[i] / 1000 : 1e9 / took[i]);
    }
}

static void open_crowd(crowd *c, dw_engine *engine, const settings *s, const char *path,
                       dw_durability durability)
{
    dw_error error;
    dw_spawn_options options = {.struct_bytes = sizeof options};
    const dw_runtime_options runtime = {
        .struct_bytes = sizeof runtime, .path = path, .durability = durability};
    must(dw_module_open(&c->module, engine, DW_TEST_GUESTS_DIR "/actor_nothing.wasm", &error),
         &error);
    must(dw_runtime_open(&c->runtime, engine, path != NULL ? &runtime : NULL, &error), &error);
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < s->actors; i++) {
        c->members[i].of = c;
        must(dw_runtime_begin_spawn(c->runtime, c->module, &options, c->members[i].id, &error),
             &error);
    }
    must(dw_runtime_wait(c->runtime, 0, &error), &error);
    bench_figure(path != NULL ? "durable_spawn" : "spawn", "us",
                 (double)(dw_os_clock_ns() - started) / 1000 / s->actors);
}

static void close_crowd(crowd *c)
{
    dw_runtime_close(c->runtime);
    dw_module_unref(c->module);
}

static void measure_durable(crowd *c, dw_engine *engine, const settings *s,
                            dw_durability durability)
{
    bool each = durability == DW_DURABLE_EACH;
    char folder[512];
    char command[600];
    settings fewer = *s;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/dw-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(folder) == NULL) {
        bench_die("no folder in $TMPDIR");
    }
    fewer.actors = s->durable_actors;
    fewer.messages = s->messages / (each ? 50 : 4);
    fewer.messages = fewer.messages > fewer.actors ? fewer.messages : fewer.actors;
    open_crowd(c, engine, &fewer, folder, durability);
    measure(c, &fewer, s->messages / 1000 + s->callers, each ? "durable_each_" : "durable_");
    close_crowd(c);
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    if (system(command) != 0) {
        bench_die("the folder stays");
    }
}

static uint32_t number_of(const char *text, uint32_t most)
{
    unsigned long value = strtoul(text, NULL, 10);
    if (value < 1 || value > most) {
        bench_die("a number is out of range");
    }
    return (uint32_t)value;
}

static settings read_settings(int argc, char **argv)
{
    settings s = {
        .actors = 64, .durable_actors = 512, .callers = 2, .messages = 200000, .rounds = 3};
    static const struct option options[] = {
        {"actors", required_argument, NULL, 'a'},  {"durable-actors", required_argument, NULL, 'd'},
        {"callers", required_argument, NULL, 'c'}, {"messages", required_argument, NULL, 'm'},
        {"rounds", required_argument, NULL, 'r'},  {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'a':
            s.actors = number_of(optarg, ACTORS_MAX);
            break;
        case 'd':
            s.durable_actors = number_of(optarg, ACTORS_MAX);
            break;
        case 'c':
            s.callers = number_of(optarg, CALLERS_MAX);
            break;
        case 'm':
            s.messages = number_of(optarg, 1u << 30);
            break;
        case 'r':
            s.rounds = (int)number_of(optarg, 1000);
            break;
        default:
            bench_die("bench_runtime [--actors N] [--durable-actors N] [--callers N] "
                      "[--messages N] [--rounds N]");
        }
    }
    s.actors = s.actors > s.callers ? s.actors : s.callers;
    s.durable_actors = s.durable_actors > s.callers ? s.durable_actors : s.callers;
    return s;
}

int main(int argc, char **argv)
{
    static crowd c;
    settings s = read_settings(argc, argv);
    dw_engine *engine = NULL;
    dw_error error;
    const dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU"};
    must(dw_engine_create(&engine, &options, &error), &error);
    bench_header();
    open_crowd(&c, engine, &s, NULL, DW_DURABLE_DEFAULT);
    measure(&c, &s, s.messages, "");
    close_crowd(&c);
    measure_durable(&c, engine, &s, DW_DURABLE_PARK);
    measure_durable(&c, engine, &s, DW_DURABLE_EACH);
    dw_engine_destroy(engine);
    return 0;
}
