/* What a guest's decode loop costs over the same loop in C, on the same engine and device.
 *
 *   bench_guest_loop [--device NAME] [MODEL.gguf [ROUNDS [THREADS]]]
 *
 * Both sides in one process, turn about: each round rewinds to the same prompt and decodes 64
 * tokens greedily; first by steps that end with logits, then by steps that end with a token
 * (forward_sample, dw_step.choice). Prints a line a round, and the medians of the ratios guest / C
 * in wall-clock and in processor time (goal: <= 1.01). One thread (the default) keeps ggml's
 * waiting for its workers, which swamps a percent on a busy machine, out of the comparison. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/os.h"
#include "common.h"
#include "driftwood.h"
#include "driftwood_abi.h"
#include "device/device_view.h"
#include "inference/context.h"
#include "sampling/sampler.h"
#include "text/vocab.h"
#include "wasm/guest_instance.h"

#define DECODE_TOKENS 64
#define ROUNDS_MAX 1000

static const char prompt_text[] =
    "The Mole had been working very hard all the morning, spring-cleaning his little home. "
    "First with brooms, then with dusters; then on ladders and steps and chairs, with a brush "
    "and a pail of whitewash; till he had dust in his throat and eyes";

/* The C side: the same engine, model and graphs, and buffers in a region of its own. */
typedef struct c_side {
    dw_region *region;
    dw_device_view *view;
    dw_model *model;
    dw_context *context;
    dw_sampler *sampler; /* greedy */
    dw_counters counters;
    int32_t *token;  /* [1] */
    int32_t *prompt; /* [prompt_count] */
    float *logits;   /* [vocab_count] */
    size_t prompt_count;
    uint32_t vocab_count;
    int32_t decoded[DECODE_TOKENS];
} c_side;

static void must(dw_status status, const dw_error *error)
{
    if (status != DW_OK) {
        (void)fprintf(stderr, "bench_guest_loop: %s\n", error->message);
        exit(1);
    }
}

static void c_forward(c_side *c, int32_t *tokens, size_t count)
{
    dw_step step = {.view = c->view,
                    .tokens = tokens,
                    .token_count = (uint32_t)count,
                    .logits = c->logits,
                    .logits_rows = 1,
                    .counters = &c->counters};
    dw_error error;
    must(dw_context_forward(c->context, &step, &error), &error);
}

static int32_t c_forward_choosing(c_side *c)
{
    dw_choice choice = {.sampler = c->sampler};
    dw_step step = {.view = c->view,
                    .tokens = c->token,
                    .token_count = 1,
                    .choice = &choice,
                    .counters = &c->counters};
    dw_error error;
    must(dw_context_forward(c->context, &step, &error), &error);
    must(choice.status, &choice.error);
    must(dw_sampler_remember(c->sampler, choice.token, &error), &error);
    return choice.token;
}

static void c_prepare(c_side *c, dw_model *model)
{
    dw_error error;
    dw_device *device = dw_model_device(model);
    c->model = model;
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(c->model, &info);
    c->vocab_count = info.vocab_count;
    dw_region_options options = {
        .reserve_bytes = 64 << 20, .commit_bytes = 16 << 20, .label = "bench"};
    must(dw_region_create(&c->region, &options, &error), &error);
    must(dw_device_view_create(&c->view, device, c->region, DW_VIEW_STAGEABLE, &error), &error);
    c->token = dw_region_base(c->region);
    c->prompt = c->token + 16;
    c->logits = (float *)(c->token + 4096);
    must(dw_vocab_tokenize(dw_model_vocab(c->model), prompt_text, strlen(prompt_text), c->prompt,
                           512, DW_TOKENIZE_SPECIAL, &c->prompt_count, &error),
         &error);
    must(dw_sampler_create(&c->sampler, c->vocab_count, NULL, &error), &error);
    must(dw_context_create(&c->context, c->model, &(dw_context_options){.tokens_max = 512}, &error),
         &error);
    c_forward(c, c->prompt, c->prompt_count);
}

static void c_rewind(c_side *c, bool choosing)
{
    dw_error error;
    must(dw_context_trim(c->context, (uint32_t)c->prompt_count - 1, &error), &error);
    c->token[0] = c->prompt[c->prompt_count - 1];
    if (!choosing) {
        c_forward(c, c->token, 1);
    }
}

static void c_decode(c_side *c)
{
    dw_error error;
    for (int i = 0; i < DECODE_TOKENS; i++) {
        int32_t chosen = 0;
        must(dw_greedy_choose(c->logits, c->vocab_count, &chosen, &error), &error);
        c->decoded[i] = c->token[0] = chosen;
        c_forward(c, c->token, 1);
    }
}

static void c_decode_choosing(c_side *c)
{
    for (int i = 0; i < DECODE_TOKENS; i++) {
        c->decoded[i] = c->token[0] = c_forward_choosing(c);
    }
}

static int32_t c_digest(const c_side *c)
{
    uint32_t hash = 2166136261u;
    for (int i = 0; i < DECODE_TOKENS; i++) {
        hash = (hash ^ (uint32_t)c->decoded[i]) * 16777619u;
    }
    return (int32_t)(hash & 0x7fffffff);
}

static int32_t guest_call(dw_instance *guest, const char *name)
{
    int32_t result = 0;
    dw_error error;
    must(dw_instance_call(guest, name, &result, &error), &error);
    if (result < 0) {
        (void)fprintf(stderr, "bench_guest_loop: %s: %s\n", name,
                      dw_instance_error(guest)->message);
        exit(1);
    }
    return result;
}

/* One side's 64 tokens. */
typedef struct timing {
    double wall_ns;
    double cpu_ns;
} timing;

static double cpu_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static timing timed(dw_instance *guest, c_side *c, bool in_guest, bool choosing)
{
    if (in_guest) {
        (void)guest_call(guest, choosing ? "rewind_to_choose" : "rewind");
    } else {
        c_rewind(c, choosing);
    }
    double cpu = cpu_now_ns();
    uint64_t start = dw_os_clock_ns();
    if (in_guest) {
        (void)guest_call(guest, choosing ? "decode_choosing" : "decode");
    } else if (choosing) {
        c_decode_choosing(c);
    } else {
        c_decode(c);
    }
    return (timing){.wall_ns = (double)(dw_os_clock_ns() - start), .cpu_ns = cpu_now_ns() - cpu};
}

/* Whether both sides decoded the same tokens. */
static bool compare(dw_instance *guest, c_side *c, int rounds, bool choosing)
{
    const char *loop = choosing ? "token" : "logits";
    static double wall[ROUNDS_MAX];
    static double cpu[ROUNDS_MAX];
    (void)timed(guest, c, true, choosing); /* warm both */
    (void)timed(guest, c, false, choosing);
    for (int i = 0; i < rounds; i++) {
        bool guest_first = i % 2 == 0; /* whoever goes first finds other caches */
        timing first = timed(guest, c, guest_first, choosing);
        timing second = timed(guest, c, !guest_first, choosing);
        timing g = guest_first ? first : second;
        timing h = guest_first ? second : first;
        wall[i] = g.wall_ns / h.wall_ns;
        cpu[i] = g.cpu_ns / h.cpu_ns;
        printf("%s,%d,%.1f,%.1f,%.4f,%.4f\n", loop, i, g.wall_ns / DECODE_TOKENS / 1e3,
               h.wall_ns / DECODE_TOKENS / 1e3, wall[i], cpu[i]);
    }
    printf("%s,median,,,%.4f,%.4f\n", loop, bench_quantile(wall, (size_t)rounds, 0.5),
           bench_quantile(cpu, (size_t)rounds, 0.5));
    bool same = guest_call(guest, "digest") == c_digest(c);
    printf("same tokens: %s\n", same ? "yes" : "NO");
    return same;
}

static const char *default_model(void)
{
    static char path[4096];
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    (void)snprintf(path, sizeof path, "%s%s/driftwood/SmolLM2-135M-Instruct.Q4_1.gguf",
                   cache != NULL  ? cache
                   : home != NULL ? home
                                  : "",
                   cache != NULL ? "" : "/.cache");
    return path;
}

/* NULL: as dw_engine_create chooses. */
static const char *take_device(int argc, char **argv)
{
    static const struct option known[] = {{"device", required_argument, NULL, 'd'},
                                          {NULL, 0, NULL, 0}};
    const char *device = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "d:", known, NULL)) != -1) {
        if (option != 'd') {
            (void)fprintf(stderr, "usage: %s [--device NAME] [MODEL.gguf [ROUNDS [THREADS]]]\n",
                          argv[0]);
            exit(2);
        }
        device = optarg;
    }
    return device;
}

int main(int argc, char **argv)
{
    const char *device = take_device(argc, argv);
    char **rest = argv + optind;
    int rest_count = argc - optind;
    const char *path = rest_count > 0 ? rest[0] : default_model();
    long rounds = rest_count > 1 ? strtol(rest[1], NULL, 10) : 20;
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    int threads = rest_count > 2 ? (int)strtol(rest[2], NULL, 10) : 1;
    static c_side c;
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_module *module = NULL;
    dw_instance *guest = NULL;
    dw_error error;
    dw_engine_options engine_options = {
        .struct_bytes = sizeof engine_options, .device = device, .threads = threads};
    must(dw_engine_create(&engine, &engine_options, &error), &error);
    must(dw_model_open(&model, engine, path, &error), &error);
    c_prepare(&c, model);
    must(dw_module_open(&module, engine, DW_TEST_GUESTS_DIR "/decode_loop.wasm", &error), &error);
    dw_instance_options options = {
        .struct_bytes = sizeof options, .models = &model, .model_count = 1};
    must(dw_instance_create(&guest, module, &options, &error), &error);
    (void)guest_call(guest, "prepare");
    printf("ends_with,round,guest_us_per_token,c_us_per_token,wall_ratio,cpu_ratio\n");
    bool same = compare(guest, &c, (int)rounds, false);
    same = compare(guest, &c, (int)rounds, true) && same;
    dw_sampler_destroy(c.sampler);
    dw_context_destroy(c.context);
    dw_device_view_destroy(c.view);
    dw_region_destroy(c.region);
    dw_instance_destroy(guest);
    dw_module_unref(module);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    return same ? 0 : 1;
}
