/* What a message costs that is no work: an actor that answers nothing, in memory only. One caller
 * that waits for each end, then actors whose messages follow each other, then callers at once. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "common.h"
#include "driftwood.h"

#define ACTORS_MAX 1024u
#define CALLERS_MAX 16u

typedef struct settings {
    uint32_t actors;
    uint32_t callers;
    uint32_t messages; /* of each row, altogether */
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
static double round_trip(crowd *c, const settings *s)
{
    uint64_t started = dw_os_clock_ns();
    call_often(&c->members[0], s->messages);
    return (double)(dw_os_clock_ns() - started) / s->messages;
}

static double together(crowd *c, const settings *s, uint32_t actors)
{
    dw_error error;
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < actors; i++) {
        c->members[i].left = s->messages / actors;
        send_next(&c->members[i]);
    }
    must(dw_runtime_wait(c->runtime, 0, &error), &error);
    return (double)(dw_os_clock_ns() - started) / (s->messages / actors * actors);
}

static double callers_at_once(crowd *c, const settings *s)
{
    pthread_t threads[CALLERS_MAX];
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < s->callers; i++) {
        c->members[i].left = s->messages / s->callers;
        if (dw_os_start_thread(&threads[i], run_caller, &c->members[i]) != 0) {
            bench_die("no thread");
        }
    }
    for (uint32_t i = 0; i < s->callers; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return (double)(dw_os_clock_ns() - started) / (s->messages / s->callers * s->callers);
}

static double least(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

static void measure(crowd *c, const settings *s)
{
    double took[4] = {0, 0, 0, 0};
    for (int i = 0; i < s->rounds; i++) {
        took[0] = least(took[0], round_trip(c, s));
        took[1] = least(took[1], together(c, s, 1));
        took[2] = least(took[2], together(c, s, s->actors));
        took[3] = least(took[3], callers_at_once(c, s));
    }
    bench_figure("message_round_trip", "us", took[0] / 1000);
    bench_figure("message_after_message", "us", took[1] / 1000);
    bench_figure("messages_of_all_actors", "1/s", 1e9 / took[2]);
    bench_figure("messages_of_all_callers", "1/s", 1e9 / took[3]);
}

static void open_crowd(crowd *c, dw_engine *engine, const settings *s)
{
    dw_error error;
    dw_spawn_options options = {.struct_bytes = sizeof options};
    must(dw_module_open(&c->module, engine, DW_TEST_GUESTS_DIR "/actor_nothing.wasm", &error),
         &error);
    must(dw_runtime_open(&c->runtime, engine, NULL, &error), &error);
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < s->actors; i++) {
        c->members[i].of = c;
        must(dw_runtime_begin_spawn(c->runtime, c->module, &options, c->members[i].id, &error),
             &error);
    }
    must(dw_runtime_wait(c->runtime, 0, &error), &error);
    bench_figure("spawn", "us", (double)(dw_os_clock_ns() - started) / 1000 / s->actors);
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
    settings s = {.actors = 64, .callers = 2, .messages = 200000, .rounds = 3};
    static const struct option options[] = {{"actors", required_argument, NULL, 'a'},
                                            {"callers", required_argument, NULL, 'c'},
                                            {"messages", required_argument, NULL, 'm'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'a':
            s.actors = number_of(optarg, ACTORS_MAX);
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
            bench_die("bench_runtime [--actors N] [--callers N] [--messages N] [--rounds N]");
        }
    }
    s.actors = s.actors > s.callers ? s.actors : s.callers;
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
    open_crowd(&c, engine, &s);
    measure(&c, &s);
    dw_runtime_close(c.runtime);
    dw_module_unref(c.module);
    dw_engine_destroy(engine);
    return 0;
}
