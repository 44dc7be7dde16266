/* Guests on fibers, each with a decode loop of its own that asks for one token at a time, against
 * libllama with as many sequences in one llama_decode a step. Both choose greedily, in one process,
 * taking turns; the best round of each counts. Then the same tokens generated ahead of the guests
 * against guests that ask for each, and what a fiber costs: left and resumed. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "wasm/instance_fiber.h"
#include "base/os.h"
#include "common.h"
#include "sampling/sampler.h"

#define GUESTS_MAX 256
#define WAITS 2000u

typedef struct settings {
    const char *model;
    const char *device;
    uint32_t sequences[8]; /* [sequence_count] */
    uint32_t sequence_count;
    uint32_t depth;
    uint32_t tokens;
    bool choose; /* guests' steps end with a token, not with logits */
    bool ahead;  /* no libllama: generations against guests that ask, and how idle the device is */
    bool device_thread;
    uint32_t guest_threads;
    int threads;
    int rounds;
} settings;

/* One message to tests/guest/decode_actor.c. */
typedef struct order {
    uint32_t what;
    uint32_t number;
    uint32_t depth;
} order;

typedef struct crowd {
    const settings *s;
    uint32_t count;
    dw_engine *engine;
    dw_scheduler *scheduler;
    dw_actor *actors[GUESTS_MAX];
    struct llama_context *llama;
    struct ggml_threadpool *pool;
    struct llama_batch batch;
    uint32_t vocab_count;
} crowd;

static void must(dw_status status, const dw_error *error)
{
    if (status != DW_OK) {
        bench_die(error->message);
    }
}

/* ---- ours --------------------------------------------------------------------------------- */

static void on_end(void *user, const dw_call_end *end)
{
    (void)user;
    must(end->status, end->error);
}

static void tell(dw_actor *actor, uint32_t what, uint32_t number, uint32_t depth)
{
    order one = {what, number, depth};
    dw_error error;
    must(dw_actor_send(actor, NULL, &one, sizeof one, &error), &error);
}

static dw_scheduler *open_scheduler(const settings *s, dw_engine *engine)
{
    dw_scheduler *scheduler = NULL;
    dw_error error;
    bool own = s->device_thread || s->guest_threads > 1;
    const dw_scheduler_options options = {.struct_bytes = sizeof options,
                                          .guest_threads = s->guest_threads,
                                          .device_thread =
                                              own ? DW_DEVICE_THREAD_OWN : DW_DEVICE_THREAD_SHARED};
    must(dw_scheduler_create(&scheduler, engine, &options, &error), &error);
    return scheduler;
}

/* All do the same; nanoseconds until the last is through. */
static uint64_t tell_all(crowd *c, uint32_t what)
{
    dw_error error;
    for (uint32_t i = 0; i < c->count; i++) {
        tell(c->actors[i], what, c->s->tokens, c->s->depth);
    }
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < c->count; i++) {
        must(dw_scheduler_receive(c->scheduler, c->actors[i], NULL, on_end, NULL, &error), &error);
    }
    must(dw_scheduler_run(c->scheduler, DW_RUN_UNTIL_IDLE, &error), &error);
    return dw_os_clock_ns() - started;
}

/* ---- theirs ------------------------------------------------------------------------------- */

static void put_token(struct llama_batch *batch, int32_t token, uint32_t position,
                      uint32_t sequence, bool wanted)
{
    int32_t at = batch->n_tokens++;
    batch->token[at] = token;
    batch->pos[at] = (int32_t)position;
    batch->n_seq_id[at] = 1;
    batch->seq_id[at][0] = (int32_t)sequence;
    batch->logits[at] = wanted;
}

static void fill_theirs(crowd *c, struct llama_model *model)
{
    const settings *s = c->s;
    struct llama_context_params params =
        bench_their_params(c->count * (s->depth + s->tokens + 1), s->threads);
    params.n_seq_max = c->count;
    params.n_batch = s->depth > 2048 ? s->depth : 2048;
    c->llama = bench_their_context(model, &params, &c->pool);
    uint32_t most = s->depth > c->count ? s->depth : c->count;
    c->batch = llama_batch_init((int32_t)most, 0, 1);
    for (uint32_t k = 0; k < s->depth; k++) {
        put_token(&c->batch, (int32_t)((k * 7919 + 13) % c->vocab_count), k, 0, false);
    }
    if (llama_decode(c->llama, c->batch) != 0) {
        bench_die("libllama cannot fill a sequence");
    }
    for (uint32_t i = 1; i < c->count; i++) {
        llama_memory_seq_cp(llama_get_memory(c->llama), 0, (int32_t)i, -1, -1);
    }
}

static uint64_t decode_theirs(crowd *c)
{
    int32_t tokens[GUESTS_MAX];
    for (uint32_t i = 0; i < c->count; i++) {
        tokens[i] = 13;
        (void)llama_memory_seq_rm(llama_get_memory(c->llama), (int32_t)i, (int32_t)c->s->depth, -1);
    }
    uint64_t started = dw_os_clock_ns();
    for (uint32_t step = 0; step < c->s->tokens; step++) {
        c->batch.n_tokens = 0;
        for (uint32_t i = 0; i < c->count; i++) {
            put_token(&c->batch, tokens[i], c->s->depth + step, i, true);
        }
        if (llama_decode(c->llama, c->batch) != 0) {
            bench_die("libllama cannot compute a batch");
        }
        for (uint32_t i = 0; i < c->count; i++) {
            const float *logits = llama_get_logits_ith(c->llama, (int32_t)i);
            dw_error error;
            must(dw_greedy_choose(logits, c->vocab_count, &tokens[i], &error), &error);
        }
    }
    return dw_os_clock_ns() - started;
}

/* ---- one row ------------------------------------------------------------------------------ */

static void run_crowd(crowd *c)
{
    const settings *s = c->s;
    char name[64];
    (void)tell_all(c, 'p');
    double tokens = (double)c->count * s->tokens;
    double best[2] = {0, 0};
    double guest_ns = 0;
    double cost = 0;
    for (int round = 0; round <= s->rounds; round++) { /* the first warms up */
        dw_scheduler_stats before = {.struct_bytes = sizeof before};
        dw_scheduler_stats after = {.struct_bytes = sizeof after};
        dw_scheduler_get_stats(c->scheduler, &before);
        double ours = tokens * 1e9 / (double)tell_all(c, s->choose ? 'c' : 'd');
        dw_scheduler_get_stats(c->scheduler, &after);
        double theirs = tokens * 1e9 / (double)decode_theirs(c);
        if (round > 0 && ours > best[0]) {
            best[0] = ours;
            guest_ns = (double)(after.guest_ns - before.guest_ns) / tokens;
            cost = (double)(after.guest_ns - before.guest_ns) /
                   (double)(after.device_ns - before.device_ns);
        }
        best[1] = round > 0 && theirs > best[1] ? theirs : best[1];
    }
    (void)snprintf(name, sizeof name, "guests_%u_depth_%u", c->count, s->depth);
    bench_row(name, "tokens/s", best[0], best[1]);
    (void)snprintf(name, sizeof name, "guests_%u_choosing_and_switching", c->count);
    bench_figure(name, "ns/token", guest_ns);
    (void)snprintf(name, sizeof name, "guests_%u_cost_of_a_step", c->count);
    bench_figure(name, "%", 100 * cost);
    dw_scheduler_stats before = {.struct_bytes = sizeof before};
    dw_scheduler_stats after = {.struct_bytes = sizeof after};
    (void)tell_all(c, 's');
    dw_scheduler_get_stats(c->scheduler, &before);
    (void)tell_all(c, 's');
    dw_scheduler_get_stats(c->scheduler, &after);
    (void)snprintf(name, sizeof name, "guests_%u_switching", c->count);
    bench_figure(name, "ns/token", (double)(after.guest_ns - before.guest_ns) / tokens);
}

/* What one way of generating came to. */
typedef struct way {
    uint32_t what;
    const char *name;
    dw_scheduler *scheduler;
    double best;
    double idle_ns;
    double cost; /* of a run: what the device was idle behind it */
} way;

static void run_way(crowd *c, way *w, bool counts)
{
    dw_scheduler_stats before = {.struct_bytes = sizeof before};
    dw_scheduler_stats after = {.struct_bytes = sizeof after};
    c->scheduler = w->scheduler;
    dw_scheduler_get_stats(w->scheduler, &before);
    double rate = (double)c->count * c->s->tokens * 1e9 / (double)tell_all(c, w->what);
    dw_scheduler_get_stats(w->scheduler, &after);
    double times = (double)(after.device_idle_times - before.device_idle_times);
    double idle_ns = (double)(after.device_idle_ns - before.device_idle_ns);
    if (counts && rate > w->best && times > 0) {
        w->best = rate;
        w->idle_ns = idle_ns / times;
        w->cost = idle_ns / (double)(after.device_ns - before.device_ns);
    }
}

/* The device by itself, against guests that are woken for each token: how fast, and how long the
 * device is idle between two runs, in the best round of each. */
static void run_ahead(crowd *c)
{
    way ways[] = {{.what = 'a', .name = "ahead"}, {.what = 'c', .name = "asking"}};
    dw_scheduler *own = c->scheduler;
    char name[64];
    for (int i = 0; i < 2; i++) {
        ways[i].scheduler = open_scheduler(c->s, c->engine);
    }
    for (int round = 0; round <= c->s->rounds; round++) { /* the first warms up */
        for (int i = 0; i < 2; i++) {
            run_way(c, &ways[i], round > 0);
        }
    }
    c->scheduler = own;
    (void)snprintf(name, sizeof name, "guests_%u_ahead_against_asking", c->count);
    bench_row(name, "tokens/s", ways[0].best, ways[1].best);
    for (int i = 0; i < 2; i++) {
        dw_scheduler_stats all = {.struct_bytes = sizeof all};
        dw_scheduler_get_stats(ways[i].scheduler, &all);
        (void)snprintf(name, sizeof name, "guests_%u_%s_device_idle", c->count, ways[i].name);
        bench_figure(name, "ns/run", ways[i].idle_ns);
        (void)snprintf(name, sizeof name, "guests_%u_%s_device_idle_median", c->count,
                       ways[i].name);
        bench_figure(name, "ns", (double)all.device_idle_median_ns);
        (void)snprintf(name, sizeof name, "guests_%u_%s_cost_of_a_step", c->count, ways[i].name);
        bench_figure(name, "%", 100 * ways[i].cost);
        dw_scheduler_destroy(ways[i].scheduler);
    }
}

static dw_status leave(void *user, dw_work_fn work, void *arg, dw_error *err)
{
    (void)work;
    (void)arg;
    (void)err;
    dw_fiber_suspend(user);
    return DW_OK;
}

/* What it costs to leave a fiber and come back, the host call that asks for it with it. */
static void run_fibers(crowd *c)
{
    static const dw_step_runner runner = {.compute = leave};
    bool through[GUESTS_MAX] = {false};
    uint32_t left = c->count;
    uint64_t resumes = 0;
    char name[64];
    dw_error error;
    for (uint32_t i = 0; i < c->count; i++) {
        tell(c->actors[i], 'w', WAITS, 0);
        dw_instance *instance = dw_actor_instance(c->actors[i]);
        must(dw_actor_receive_begin(c->actors[i], NULL, NULL, &error), &error);
        must(dw_fiber_begin(instance, "driftwood_receive", &runner, instance, &error), &error);
        (void)dw_fiber_resume(instance); /* the first turn makes the stack */
    }
    uint64_t started = dw_os_clock_ns();
    while (left > 0) {
        for (uint32_t i = 0; i < c->count; i++) {
            if (!through[i]) {
                through[i] = dw_fiber_resume(dw_actor_instance(c->actors[i]));
                left -= through[i];
                resumes++;
            }
        }
    }
    double took = (double)(dw_os_clock_ns() - started);
    for (uint32_t i = 0; i < c->count; i++) {
        int32_t result = 0;
        int exit_code = -1;
        dw_status status =
            dw_fiber_end(dw_actor_instance(c->actors[i]), &result, &exit_code, &error);
        must(dw_actor_receive_end(c->actors[i], status, result, exit_code, &error), &error);
    }
    (void)snprintf(name, sizeof name, "fiber_left_and_resumed_%u", c->count);
    bench_figure(name, "ns", took / (double)resumes);
}

static void run(const settings *s)
{
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_module *module = NULL;
    dw_error error;
    dw_engine_options options = {
        .struct_bytes = sizeof options, .device = s->device, .threads = s->threads};
    must(dw_engine_create(&engine, &options, &error), &error);
    must(dw_model_open(&model, engine, s->model, &error), &error);
    must(dw_module_open(&module, engine, DW_TEST_GUESTS_DIR "/decode_actor.wasm", &error), &error);
    struct llama_model *theirs =
        s->ahead ? NULL : bench_their_model(s->model, s->device, BENCH_EXTRA_NONE);
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(model, &info);
    static crowd c;
    bench_header();
    for (uint32_t k = 0; k < s->sequence_count; k++) {
        c = (crowd){.s = s,
                    .count = s->sequences[k],
                    .engine = engine,
                    .pool = c.pool,
                    .vocab_count = info.vocab_count};
        dw_instance_options instance = {.struct_bytes = sizeof instance,
                                        .models = &model,
                                        .model_count = 1,
                                        .context_tokens_max = s->depth + s->tokens + 1};
        dw_actor_options wanted = {.struct_bytes = sizeof wanted, .instance = &instance};
        c.scheduler = open_scheduler(s, engine);
        for (uint32_t i = 0; i < c.count; i++) {
            must(dw_actor_spawn(&c.actors[i], module, &wanted, &error), &error);
        }
        if (s->ahead) {
            (void)tell_all(&c, 'p');
            run_ahead(&c);
        } else {
            fill_theirs(&c, theirs);
            run_crowd(&c);
            run_ahead(&c);
            run_fibers(&c);
        }
        for (uint32_t i = 0; i < c.count; i++) {
            dw_actor_destroy(c.actors[i]);
        }
        dw_scheduler_destroy(c.scheduler);
        if (!s->ahead) {
            llama_batch_free(c.batch);
            llama_free(c.llama);
        }
    }
    if (!s->ahead) {
        ggml_threadpool_free(c.pool);
        llama_model_free(theirs);
    }
    dw_module_unref(module);
    dw_model_unref(model);
    dw_engine_destroy(engine);
}

/* ---- the command line --------------------------------------------------------------------- */

static uint32_t number_of(const char *option, const char *text, uint32_t most)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || (*end != '\0' && *end != ',') || value < 1 || value > most) {
        (void)fprintf(stderr, "bench: --%s: '%s', a number from 1 to %u is needed\n", option, text,
                      most);
        exit(2);
    }
    return (uint32_t)value;
}

static void take_sequences(settings *s, const char *text)
{
    s->sequence_count = 0;
    while (*text != '\0' && s->sequence_count < sizeof s->sequences / sizeof s->sequences[0]) {
        s->sequences[s->sequence_count++] = number_of("sequences", text, GUESTS_MAX);
        text += strcspn(text, ",");
        text += *text == ',';
    }
}

static void show_help(const char *program)
{
    (void)printf("usage: %s [OPTION...]\n\n"
                 "Guests on fibers that decode together, against sequences of libllama.\n\n"
                 "  --model FILE      a GGUF file (default: the model of `make model`)\n"
                 "  --device NAME     for both sides (default: CPU)\n"
                 "  --threads N       of each side (default: the real cores)\n"
                 "  --sequences A,B   how many guests (default: 8,32; at most %d)\n"
                 "  --depth N         tokens that each holds before it decodes (default: 128)\n"
                 "  --tokens N        tokens that each decodes a round (default: 16)\n"
                 "  --choose          the guests' steps end with the token instead of logits\n"
                 "  --ahead           only ours: tokens generated ahead against guests that ask\n"
                 "  --device-thread   our device runs on a thread of its own\n"
                 "  --guest-threads N our guests run on so many (default: 1; more: as above)\n"
                 "  --rounds N        rounds, of which the best counts (default: 3)\n"
                 "  --help            this text\n",
                 program, GUESTS_MAX);
}

static const struct option known[] = {{"model", required_argument, NULL, 'm'},
                                      {"device", required_argument, NULL, 'd'},
                                      {"threads", required_argument, NULL, 't'},
                                      {"sequences", required_argument, NULL, 's'},
                                      {"depth", required_argument, NULL, 'k'},
                                      {"tokens", required_argument, NULL, 'o'},
                                      {"choose", no_argument, NULL, 'g'},
                                      {"ahead", no_argument, NULL, 'a'},
                                      {"rounds", required_argument, NULL, 'n'},
                                      {"device-thread", no_argument, NULL, 'e'},
                                      {"guest-threads", required_argument, NULL, 'u'},
                                      {"help", no_argument, NULL, 'h'},
                                      {NULL, 0, NULL, 0}};

/* false: help is asked for, or there is no such option. */
static bool take_option(settings *s, int option)
{
    switch (option) {
    case 'm':
        s->model = optarg;
        break;
    case 'd':
        s->device = optarg;
        break;
    case 't':
        s->threads = (int)number_of("threads", optarg, 512);
        break;
    case 's':
        take_sequences(s, optarg);
        break;
    case 'k':
        s->depth = number_of("depth", optarg, 65536);
        break;
    case 'o':
        s->tokens = number_of("tokens", optarg, 65536);
        break;
    case 'a':
        s->ahead = true;
        break;
    case 'g':
        s->choose = true;
        break;
    case 'e':
        s->device_thread = true;
        break;
    case 'u':
        s->guest_threads = number_of("guest-threads", optarg, 64);
        break;
    case 'n':
        s->rounds = (int)number_of("rounds", optarg, 1000);
        break;
    default:
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    settings s = {.model = bench_default_model(),
                  .device = "CPU",
                  .sequences = {8, 32},
                  .sequence_count = 2,
                  .depth = 128,
                  .tokens = 16,
                  .threads = dw_os_core_count(),
                  .rounds = 3};
    int option;
    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (!take_option(&s, option)) {
            show_help(argv[0]);
            return option == 'h' ? 0 : 2;
        }
    }
    run(&s);
    return 0;
}
