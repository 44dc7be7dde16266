/* Our engine against libllama on the same file, device, threads and kernels, in one run and taking
 * turns. Prints CSV: test, which, tokens/s of each round's best, and the ratio.
 *   bench_llama_cpp [MODEL.gguf [THREADS [ROUNDS]]]
 * libllama here is built for its vocabulary (-O1); the kernels, ggml's, are the same for both. */
#include <ggml-cpu.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/counters.h"
#include "base/os.h"
#include "device/device.h"
#include "engine/batch.h"
#include "memory/device_view.h"
#include "model/model.h"

#define TOKENS_MAX 4608
#define SEQUENCES_MAX 32
#define BATCH_STEPS 8
#define DECODE_TOKENS 32

typedef struct bench {
    dw_device *device;
    dw_model *model;
    dw_region *region;
    dw_device_view *view;
    dw_context *context;
    int32_t *tokens;
    float *logits;
    dw_counters counters;
    struct llama_model *llama;
    struct llama_context *llama_context;
    struct ggml_threadpool *their_threads; /* as llama.cpp's own tools keep one */
} bench;

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_llama_cpp: %s\n", what);
    exit(1);
}

static void open_ours(bench *b, const char *path, int threads)
{
    dw_error err = {0};
    if (dw_device_open(&b->device, "CPU", threads, &err) != DW_OK ||
        dw_model_load(&b->model, b->device, path, &err) != DW_OK ||
        dw_context_create(&b->context, b->model, &(dw_context_options){.tokens_max = TOKENS_MAX},
                          &err) != DW_OK) {
        die(err.message);
    }
    size_t vocab_count = dw_model_shape_of(b->model)->vocab_count;
    size_t bytes = (TOKENS_MAX + SEQUENCES_MAX * vocab_count) * 4;
    bytes = (bytes + 65535) / 65536 * 65536;
    dw_region_options options = {.reserve_bytes = bytes, .commit_bytes = bytes, .label = "bench"};
    if (dw_region_create(&b->region, &options, &err) != DW_OK ||
        dw_device_view_create(&b->view, b->region, dw_device_handle(b->device), &err) != DW_OK) {
        die(err.message);
    }
    b->tokens = dw_region_base(b->region);
    b->logits = (float *)(void *)(b->tokens + TOKENS_MAX);
    for (size_t i = 0; i < TOKENS_MAX; i++) {
        b->tokens[i] = (int32_t)((i * 7919 + 13) % vocab_count);
    }
}

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)level;
    (void)text;
    (void)user;
}

static void open_theirs(bench *b, const char *path, int threads)
{
    llama_log_set(quiet, NULL);
    struct llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    /* Kernels over repacked copies of the weights: not for Q4_1, but for AMX, which traps on
     * virtual machines that show it without allowing it. BENCH_REPACK=1 lets them in. */
    model_params.use_extra_bufts = getenv("BENCH_REPACK") != NULL;
    b->llama = llama_model_load_from_file(path, model_params);
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = TOKENS_MAX;
    params.n_batch = TOKENS_MAX;
    params.n_ubatch = 512;
    params.n_threads = threads;
    params.n_threads_batch = threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.no_perf = true;
    b->llama_context = b->llama != NULL ? llama_init_from_model(b->llama, params) : NULL;
    if (b->llama_context == NULL) {
        die("libllama cannot load the model");
    }
    struct ggml_threadpool_params pool;
    ggml_threadpool_params_init(&pool, threads);
    b->their_threads = ggml_threadpool_new(&pool);
    if (b->their_threads == NULL) {
        die("no threads");
    }
    llama_attach_threadpool(b->llama_context, b->their_threads, b->their_threads);
}

static void step_ours(bench *b, uint32_t start, uint32_t count)
{
    dw_error err = {0};
    dw_step step = {.view = b->view,
                    .tokens = b->tokens + start,
                    .token_count = count,
                    .logits = b->logits,
                    .logits_rows = 1,
                    .counters = &b->counters};
    if (dw_context_forward(b->context, &step, &err) != DW_OK) {
        die(err.message);
    }
}

static void step_theirs(bench *b, uint32_t start, uint32_t count)
{
    struct llama_batch batch = llama_batch_get_one(b->tokens + start, (int32_t)count);
    if (llama_decode(b->llama_context, batch) != 0 ||
        llama_get_logits_ith(b->llama_context, -1) == NULL) {
        die("libllama cannot compute");
    }
}

static void reset_ours(bench *b, uint32_t length)
{
    if (dw_context_trim(b->context, length, NULL) != DW_OK) {
        die("cannot trim");
    }
}

static void reset_theirs(bench *b, uint32_t length)
{
    (void)llama_memory_seq_rm(llama_get_memory(b->llama_context), 0, (int32_t)length, -1);
}

/* One way to compute, ours or theirs. */
typedef struct engine {
    const char *name;
    void (*step)(bench *b, uint32_t start, uint32_t count);
    void (*reset)(bench *b, uint32_t length);
} engine;

static const engine engines[2] = {{"driftwood", step_ours, reset_ours},
                                  {"llama.cpp", step_theirs, reset_theirs}};

/* Tokens per second of `steps` steps of `count` tokens behind `depth`. */
static double measure(bench *b, const engine *e, uint32_t depth, uint32_t count, uint32_t steps)
{
    e->reset(b, depth);
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < steps; i++) {
        e->step(b, depth + i * count, count);
    }
    return (double)(count * steps) * 1e9 / (double)(dw_os_clock_ns() - started);
}

static void run_test(bench *b, const char *name, uint32_t depth, uint32_t count, uint32_t steps,
                     int rounds)
{
    double best[2] = {0, 0};
    for (int e = 0; e < 2; e++) { /* fill up to the depth, and warm up */
        engines[e].reset(b, 0);
        if (depth > 0) {
            engines[e].step(b, 0, depth);
        }
        (void)measure(b, &engines[e], depth, count, steps > 4 ? 4 : 1);
    }
    for (int round = 0; round < rounds; round++) {
        for (int e = 0; e < 2; e++) {
            double rate = measure(b, &engines[e], depth, count, steps);
            best[e] = rate > best[e] ? rate : best[e];
        }
    }
    (void)printf("%s,%s,%.1f\n%s,%s,%.1f\n%s,ratio,%.3f\n", name, engines[0].name, best[0], name,
                 engines[1].name, best[1], name, best[0] / best[1]);
    (void)fflush(stdout);
}

/* ---- several sequences ---- */

typedef struct crowd {
    bench *b;
    uint32_t count;
    uint32_t depth;
    dw_context *contexts[SEQUENCES_MAX];
    struct llama_context *llama;
} crowd;

/* One token for each sequence, each at `position`. */
static void crowd_step_ours(crowd *c, uint32_t position)
{
    dw_batch_item items[SEQUENCES_MAX];
    size_t vocab_count = dw_model_shape_of(c->b->model)->vocab_count;
    for (uint32_t i = 0; i < c->count; i++) {
        items[i] = (dw_batch_item){.context = c->contexts[i],
                                   .step = {.view = c->b->view,
                                            .tokens = c->b->tokens + position + i,
                                            .token_count = 1,
                                            .logits = c->b->logits + i * vocab_count,
                                            .logits_rows = 1,
                                            .counters = &c->b->counters}};
    }
    dw_error err = {0};
    if (dw_batch_forward(items, c->count, &err) != DW_OK || items[0].status != DW_OK) {
        die(err.message);
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
        put_token(&batch, c->b->tokens[position + i], position, i);
    }
    if (llama_decode(c->llama, batch) != 0 || llama_get_logits_ith(c->llama, 0) == NULL) {
        die("libllama cannot compute a batch");
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

static void crowd_open(crowd *c, int threads)
{
    dw_error err = {0};
    struct llama_context_params params = llama_context_default_params();
    params.n_seq_max = c->count;
    params.n_ctx = c->count * (c->depth + 256);
    params.n_batch = 2048;
    params.n_ubatch = 512;
    params.n_threads = threads;
    params.n_threads_batch = threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.no_perf = true;
    c->llama = llama_init_from_model(c->b->llama, params);
    if (c->llama == NULL) {
        die("libllama cannot make a context");
    }
    llama_attach_threadpool(c->llama, c->b->their_threads, c->b->their_threads);
    for (uint32_t i = 0; i < c->count; i++) {
        dw_context_options options = {.tokens_max = c->depth + 256};
        dw_step step = {.view = c->b->view,
                        .tokens = c->b->tokens,
                        .token_count = c->depth,
                        .counters = &c->b->counters};
        if (dw_context_create(&c->contexts[i], c->b->model, &options, &err) != DW_OK ||
            dw_context_forward(c->contexts[i], &step, &err) != DW_OK) {
            die(err.message);
        }
        struct llama_batch batch = llama_batch_init((int32_t)c->depth, 0, 1);
        for (uint32_t k = 0; k < c->depth; k++) {
            put_token(&batch, c->b->tokens[k], k, i);
            batch.logits[k] = k + 1 == c->depth;
        }
        if (llama_decode(c->llama, batch) != 0) {
            die("libllama cannot fill a batch");
        }
        llama_batch_free(batch);
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
static void run_crowd(bench *b, uint32_t count, uint32_t depth, int threads, int rounds)
{
    crowd c = {.b = b, .count = count, .depth = depth};
    char name[64];
    (void)snprintf(name, sizeof name, "decode_%u_sequences_depth_%u", count, depth);
    crowd_open(&c, threads);
    double best[2] = {0, 0};
    for (int round = 0; round <= rounds; round++) { /* the first warms up */
        double ours = crowd_measure(&c, crowd_step_ours);
        double theirs = crowd_measure(&c, crowd_step_theirs);
        best[0] = round > 0 && ours > best[0] ? ours : best[0];
        best[1] = round > 0 && theirs > best[1] ? theirs : best[1];
    }
    (void)printf("%s,%s,%.1f\n%s,%s,%.1f\n%s,ratio,%.3f\n", name, engines[0].name, best[0], name,
                 engines[1].name, best[1], name, best[0] / best[1]);
    (void)fflush(stdout);
    for (uint32_t i = 0; i < count; i++) {
        dw_context_destroy(c.contexts[i]);
    }
    llama_free(c.llama);
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

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : default_model();
    bench b;
    memset(&b, 0, sizeof b);
    int threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : dw_os_core_count();
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 5;
    open_ours(&b, path, threads);
    open_theirs(&b, path, threads);
    (void)printf("test,engine,tokens_per_s\n");
    run_test(&b, "prefill_128", 0, 128, 1, rounds);
    run_test(&b, "prefill_512", 0, 512, 1, rounds);
    run_test(&b, "decode_depth_0", 1, 1, DECODE_TOKENS, rounds);
    run_test(&b, "decode_depth_1024", 1024, 1, DECODE_TOKENS, rounds);
    run_test(&b, "decode_depth_4096", 4096, 1, DECODE_TOKENS, rounds);
    run_crowd(&b, 8, 128, threads, rounds);
    run_crowd(&b, 32, 128, threads, rounds);
    run_crowd(&b, 8, 1024, threads, rounds);
    llama_free(b.llama_context);
    llama_model_free(b.llama);
    ggml_threadpool_free(b.their_threads);
    dw_context_destroy(b.context);
    dw_device_view_destroy(b.view);
    dw_region_destroy(b.region);
    dw_model_unref(b.model);
    dw_device_close(b.device);
    return 0;
}
