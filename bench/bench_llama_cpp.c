/* Our engine against libllama on the same file, device, threads and kernels, in one run and taking
 * turns: tokens a second, the best round of each, and the ratio. libllama here is built for its
 * vocabulary (-O1); the kernels, ggml's, are the same for both. */
#include <ggml-cpu.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include "base/os.h"
#include "inference/batch.h"
#include "sides.h"

#define BATCH_STEPS 8
#define DECODE_TOKENS 32
#define PROMPT_TOKENS_CPU 512u

/* Tokens per second of `steps` steps of `count` tokens behind `depth`. */
static double measure(sides *s, const side *e, uint32_t depth, uint32_t count, uint32_t steps)
{
    e->trim(s, depth);
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < steps; i++) {
        e->step(s, depth + i * count, count);
    }
    return (double)(count * steps) * 1e9 / (double)(dw_os_clock_ns() - started);
}

typedef struct test {
    const char *name;
    uint32_t depth;
    uint32_t count; /* tokens a step */
    uint32_t steps;
    bool beside; /* another program runs on one of the cores */
} test;

/* ---- another program ---- */

/* It computes for as long as this process is there. */
static void keep_busy(pid_t parent)
{
#if defined(__linux__)
    cpu_set_t last;
    CPU_ZERO(&last);
    CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
    (void)sched_setaffinity(0, sizeof last, &last);
#endif
    while (getppid() == parent) {
        for (volatile int i = 0; i < 1000000; i++) {}
    }
    _exit(0);
}

static pid_t start_other(void)
{
    const pid_t parent = getpid();
    const pid_t other = fork();
    if (other < 0) {
        bench_die("cannot start another program");
    }
    if (other == 0) {
        keep_busy(parent);
    }
    return other;
}

static void end_other(pid_t other)
{
    (void)kill(other, SIGKILL);
    (void)waitpid(other, NULL, 0);
}

/* ---- one sequence ---- */

static void run_test(sides *s, const test *t)
{
    if (!bench_wants(s->options, t->name)) {
        return;
    }
    const bench_options *o = s->options;
    const int first = o->sides == BENCH_THEIRS ? 1 : 0;
    const int end = o->sides == BENCH_OURS ? 1 : 2;
    double *rates[2] = {calloc((size_t)o->rounds, sizeof(double)),
                        calloc((size_t)o->rounds, sizeof(double))};
    if (rates[0] == NULL || rates[1] == NULL) {
        bench_die("no memory for the rounds");
    }
    for (int e = first; e < end; e++) { /* fill up to the depth, and warm up */
        sides_fill(s, &sides_both[e], t->depth);
        (void)measure(s, &sides_both[e], t->depth, t->count, t->steps > 4 ? 4 : 1);
    }
    sides_rest(s);
    const pid_t other = t->beside ? start_other() : 0;
    for (int round = 0; round < o->rounds; round++) {
        for (int e = first; e < end; e++) {
            rates[e][round] = measure(s, &sides_both[e], t->depth, t->count, t->steps);
            sides_rest(s);
        }
    }
    if (t->beside) {
        end_other(other);
    }
    bench_rounds(o, t->name, "tokens/s", rates, o->rounds);
    free(rates[0]);
    free(rates[1]);
}

/* ---- several sequences ---- */

typedef struct crowd {
    sides *s;
    uint32_t count;
    uint32_t depth;
    dw_context *contexts[SIDES_SEQUENCES_MAX];
    struct llama_context *llama;
} crowd;

/* One token for each sequence, each at `position`. */
static void crowd_step_ours(crowd *c, uint32_t position)
{
    dw_batch_item items[SIDES_SEQUENCES_MAX];
    for (uint32_t i = 0; i < c->count; i++) {
        items[i] = (dw_batch_item){.context = c->contexts[i],
                                   .step = {.view = c->s->view,
                                            .tokens = c->s->tokens + position + i,
                                            .token_count = 1,
                                            .counters = &c->s->counters}};
        sides_end_step(c->s, &items[i].step, i);
    }
    dw_error err = {0};
    if (dw_batch_forward(items, c->count, &err) != DW_OK || items[0].status != DW_OK) {
        bench_die(items[0].status != DW_OK ? items[0].error.message : err.message);
    }
}

static void put_token(struct llama_batch *batch, int32_t token, uint32_t position,
                      uint32_t sequence)
{
    int32_t at = batch->n_tokens++;
    batch->token[at] = token;
    batch->pos[at] = (int32_t)position;
    batch->n_seq_id[at] = 1;
    batch->seq_id[at][0] = (int32_t)sequence;
    batch->logits[at] = 1;
}

static void crowd_step_theirs(crowd *c, uint32_t position)
{
    struct llama_batch batch = llama_batch_init((int32_t)c->count, 0, 1);
    for (uint32_t i = 0; i < c->count; i++) {
        put_token(&batch, c->s->tokens[position + i], position, i);
    }
    if (llama_decode(c->llama, batch) != 0) {
        bench_die("libllama cannot compute a batch");
    }
    for (uint32_t i = 0; i < c->count; i++) {
        sides_end_their_step(c->s, c->llama, (int32_t)i);
    }
    llama_batch_free(batch);
}

static void crowd_reset(crowd *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        (void)dw_context_trim(c->contexts[i], c->depth, NULL);
        (void)llama_memory_seq_rm(llama_get_memory(c->llama), (int32_t)i, (int32_t)c->depth, -1);
    }
}

/* A sequence of our own: the long context's first tokens, so that filling it costs no computing. */
static dw_context *copy_ours(sides *s, uint32_t depth)
{
    dw_error err = {0};
    dw_context *copy = NULL;
    if (dw_context_fork(&copy, s->context, &err) != DW_OK ||
        dw_context_trim(copy, depth, &err) != DW_OK) {
        bench_die(err.message);
    }
    return copy;
}

static void crowd_open(crowd *c)
{
    sides *s = c->s;
    struct llama_context_params params =
        bench_their_params(c->count * (c->depth + 256), s->options->threads);
    sides_their_kv(s->options, &params);
    params.n_seq_max = c->count;
    params.n_batch = 2048;
    c->llama = bench_their_context(s->llama, &params, &s->pool);
    sides_fill(s, &sides_both[0], c->depth);
    struct llama_batch batch = llama_batch_init((int32_t)c->depth, 0, 1);
    for (uint32_t k = 0; k < c->depth; k++) {
        put_token(&batch, s->tokens[k], k, 0);
        batch.logits[k] = k + 1 == c->depth;
    }
    if (llama_decode(c->llama, batch) != 0) {
        bench_die("libllama cannot fill a sequence");
    }
    llama_batch_free(batch);
    for (uint32_t i = 0; i < c->count; i++) {
        c->contexts[i] = copy_ours(s, c->depth);
        if (i > 0) {
            llama_memory_seq_cp(llama_get_memory(c->llama), 0, (int32_t)i, -1, -1);
        }
    }
}

static double crowd_measure(crowd *c, void (*step)(crowd *c, uint32_t position))
{
    crowd_reset(c);
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < BATCH_STEPS; i++) {
        step(c, c->depth + i);
    }
    return (double)(c->count * BATCH_STEPS) * 1e9 / (double)(dw_os_clock_ns() - started);
}

/* `count` sequences decode together, each `depth` tokens long. */
static void run_crowd(sides *s, uint32_t count, uint32_t depth)
{
    crowd c = {.s = s, .count = count, .depth = depth};
    char name[64];
    (void)snprintf(name, sizeof name, "decode_%u_sequences_depth_%u", count, depth);
    if (!bench_wants(s->options, name)) {
        return;
    }
    const int rounds = s->options->rounds;
    double *rates[2] = {calloc((size_t)rounds, sizeof(double)),
                        calloc((size_t)rounds, sizeof(double))};
    if (rates[0] == NULL || rates[1] == NULL) {
        bench_die("no memory for the rounds");
    }
    crowd_open(&c);
    for (int round = -1; round < rounds; round++) { /* the first warms up */
        for (int e = 0; e < 2; e++) {
            if (s->options->sides == (e == 0 ? BENCH_THEIRS : BENCH_OURS)) {
                continue;
            }
            double rate = crowd_measure(&c, e == 0 ? crowd_step_ours : crowd_step_theirs);
            sides_rest(s);
            rates[e][round < 0 ? 0 : round] = rate;
        }
    }
    bench_rounds(s->options, name, "tokens/s", rates, rounds);
    free(rates[0]);
    free(rates[1]);
    for (uint32_t i = 0; i < count; i++) {
        dw_context_destroy(c.contexts[i]);
    }
    llama_free(c.llama);
}

/* What a decoded token makes the cores read: all weights but the embedding's rows where these are
 * not the output's too, and a record for each token before it. */
static void tell_bytes(const sides *s)
{
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(s->model, &info);
    const dw_model_weights *weights = dw_model_weights_of(s->model);
    uint64_t read = info.weights_bytes;
    if (weights->output.weight != weights->token_embedding) {
        read -= ggml_nbytes(weights->token_embedding);
    }
    bench_figure("weights_read", "bytes", (double)read);
    bench_figure("kv_record", "bytes", (double)dw_model_record_bytes(s->model));
}

int main(int argc, char **argv)
{
    static const test tests[] = {{"prefill_128", 0, 128, 1, false},
                                 {"prefill_512", 0, 512, 1, false},
                                 {"prefill_4096", 0, 4096, 1, false},
                                 {"decode_depth_0", 1, 1, DECODE_TOKENS, false},
                                 {"decode_depth_128", 128, 1, DECODE_TOKENS, false},
                                 {"beside_decode_depth_0", 1, 1, DECODE_TOKENS, true},
                                 {"beside_decode_depth_128", 128, 1, DECODE_TOKENS, true},
                                 {"decode_depth_1024", 1024, 1, DECODE_TOKENS, false},
                                 {"decode_depth_4096", 4096, 1, DECODE_TOKENS, false},
                                 {"decode_depth_32768", 32768, 1, DECODE_TOKENS, false}};
    bench_options options = {.rounds = 5, .context = 4608};
    bench_read_options(&options, argc, argv,
                       "Prompts, decoding and several sequences, by both engines.");
    if (options.context < 4096 + 2 * DECODE_TOKENS) {
        bench_die("--context: at least 4160 is needed here");
    }
    sides s;
    sides_open(&s, &options, NULL);
    bench_header();
    tell_bytes(&s);
    bool gpu = dw_device_info_of(s.device)->kind != DW_DEVICE_CPU;
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (tests[i].depth + tests[i].count + 2 * DECODE_TOKENS > options.context) {
            continue; /* --context says so */
        }
        if (gpu ? !tests[i].beside : tests[i].count <= PROMPT_TOKENS_CPU) {
            run_test(&s, &tests[i]);
        }
    }
    run_crowd(&s, 8, 128);
    run_crowd(&s, 32, 128);
    run_crowd(&s, 8, 1024);
    if (gpu) {
        run_crowd(&s, 16, 128);
        run_crowd(&s, 64, 128);
        run_crowd(&s, 256, 128);
    }
    sides_close(&s);
    return 0;
}
