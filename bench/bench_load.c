/* From a file in the page cache to the first logits: opening the device or the threads, loading
 * the model, making a context and one step; what follows is not timed. The step is of one token,
 * or in the rows with `text` of a word's tokens, for which the vocabulary must be there: ours is
 * loaded beside all else. Both sides take turns, the best round counts. Milliseconds; less is
 * better. */
#include <ggml-cpu.h>
#include <stdio.h>
#include <string.h>

#include "base/counters.h"
#include "base/os.h"
#include "common.h"
#include "device/device.h"
#include "device/device_view.h"
#include "inference/context.h"

#define LLAMA_DEFAULT_CONTEXT 512 /* llama_context_default_params */
#define TOKENS_MAX 64
#define LOGITS_AT 16384 /* in floats: behind the tokens, aligned as any device wants it */

static const char word[] = "driftwood";

static double ms_since(uint64_t started)
{
    return (double)(dw_os_clock_ns() - started) / 1e6;
}

/* Where the guest's memory would be: made beforehand, as a guest makes it once. */
typedef struct memory {
    dw_region *region;
    size_t bytes;
} memory;

static void open_memory(memory *m, const char *path)
{
    dw_error err = {0};
    dw_gguf *gguf = NULL;
    if (dw_gguf_open(&gguf, path, &err) != DW_OK) {
        bench_die(err.message);
    }
    const dw_gguf_tensor *embedding = dw_gguf_tensor_find(gguf, "token_embd.weight");
    m->bytes = (size_t)(embedding != NULL ? embedding->ne[1] : 0) * 4 + LOGITS_AT * 4;
    m->bytes = (m->bytes + 65535) / 65536 * 65536;
    dw_gguf_close(gguf);
    dw_region_options options = {
        .reserve_bytes = m->bytes, .commit_bytes = m->bytes, .label = "bench"};
    if (dw_region_create(&m->region, &options, &err) != DW_OK) {
        bench_die(err.message);
    }
}

/* How one round goes. */
typedef struct way {
    uint32_t tokens_max;
    bool text;
} way;

static uint32_t tokenize_ours(const dw_model *model, int32_t *tokens)
{
    dw_error err = {0};
    size_t count = 0;
    if (dw_vocab_tokenize(dw_model_vocab(model), word, strlen(word), tokens, TOKENS_MAX, 0, &count,
                          &err) != DW_OK) {
        bench_die(err.message);
    }
    return (uint32_t)count;
}

static double load_ours(const bench_options *o, const memory *m, way how)
{
    dw_error err = {0};
    dw_device *device = NULL;
    dw_model *model = NULL;
    dw_context *context = NULL;
    dw_device_view *view = NULL;
    dw_counters counters = {0};
    uint64_t started = dw_os_clock_ns();
    int32_t *tokens = dw_region_base(m->region);
    dw_context_options options = {.tokens_max = how.tokens_max};
    dw_step step = {.tokens = tokens,
                    .token_count = 1,
                    .logits = (float *)(void *)(tokens + LOGITS_AT),
                    .logits_rows = 1,
                    .counters = &counters};
    tokens[0] = 1;
    bool opened = dw_device_open(&device, "CPU", o->threads, &err) == DW_OK &&
                  dw_model_load(&model, device, o->model, &err) == DW_OK &&
                  dw_context_create(&context, model, &options, &err) == DW_OK &&
                  dw_device_view_create(&view, device, m->region, DW_VIEW_STAGEABLE, &err) == DW_OK;
    step.view = view;
    if (opened && how.text) {
        step.token_count = tokenize_ours(model, tokens);
    }
    if (!opened || dw_context_forward(context, &step, &err) != DW_OK) {
        bench_die(err.message);
    }
    double took = ms_since(started);
    dw_context_destroy(context);
    dw_device_view_destroy(view);
    dw_model_unref(model);
    dw_device_close(device);
    return took;
}

static double load_theirs(const bench_options *o, way how)
{
    uint64_t started = dw_os_clock_ns();
    struct ggml_threadpool *pool = NULL;
    struct llama_model *model = bench_their_model(o->model, o->device, o->extra);
    struct llama_context_params params = bench_their_params(how.tokens_max, o->threads);
    struct llama_context *context = bench_their_context(model, &params, &pool);
    int32_t tokens[TOKENS_MAX] = {1};
    int32_t count = 1;
    if (how.text) {
        count = llama_tokenize(llama_model_get_vocab(model), word, (int32_t)strlen(word), tokens,
                               TOKENS_MAX, false, false);
    }
    if (llama_decode(context, llama_batch_get_one(tokens, count)) != 0 ||
        llama_get_logits_ith(context, -1) == NULL) {
        bench_die("libllama cannot compute");
    }
    double took = ms_since(started);
    llama_free(context);
    llama_model_free(model);
    ggml_threadpool_free(pool);
    return took;
}

static void run(const bench_options *o, const memory *m, way how)
{
    char name[64];
    (void)snprintf(name, sizeof name, "load%s_context_%u", how.text ? "_text" : "", how.tokens_max);
    if (!bench_wants(o, name)) {
        return;
    }
    double ours_best = 0;
    double theirs_best = 0;
    for (int round = 0; round <= o->rounds; round++) { /* the first warms up */
        double ours = load_ours(o, m, how);
        double theirs = load_theirs(o, how);
        ours_best = round <= 1 || ours < ours_best ? ours : ours_best;
        theirs_best = round <= 1 || theirs < theirs_best ? theirs : theirs_best;
    }
    bench_row(name, "ms", ours_best, theirs_best);
}

int main(int argc, char **argv)
{
    bench_options options = {.rounds = 7, .context = 4096};
    bench_read_options(&options, argc, argv,
                       "From a file in the page cache to the first logits, both sides.");
    memory m = {0};
    open_memory(&m, options.model);
    bench_header();
    for (int text = 0; text < 2; text++) {
        run(&options, &m, (way){.tokens_max = LLAMA_DEFAULT_CONTEXT, .text = text == 1});
        run(&options, &m, (way){.tokens_max = options.context, .text = text == 1});
    }
    dw_region_destroy(m.region);
    return 0;
}
