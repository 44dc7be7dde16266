/* Perplexity of a text by our engine and by libllama, on the same tokens in the same windows, and
 * how far apart the two are. Prints CSV: which, perplexity, tokens/s; then the difference.
 *   bench_perplexity MODEL.gguf TEXT [CONTEXT [TOKENS [THREADS]]] */
#include <llama.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/os.h"
#include "driftwood_abi.h"
#include "inference/score.h"

#define TEXT_BYTES_MAX ((size_t)16 << 20)

typedef struct bench {
    dw_device *device;
    dw_model *model;
    int32_t *tokens;
    size_t count;
    uint32_t window;
    int threads;
} bench;

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_perplexity: %s\n", what);
    exit(1);
}

static void open_bench(bench *b, const char *model, const char *text_path, size_t tokens_max)
{
    dw_error err = {0};
    char *text = NULL;
    size_t bytes = 0;
    if (dw_device_open(&b->device, "CPU", b->threads, &err) != DW_OK ||
        dw_model_load(&b->model, b->device, model, &err) != DW_OK ||
        dw_os_read_file(text_path, TEXT_BYTES_MAX, &text, &bytes, &err) != DW_OK) {
        die(err.message);
    }
    b->tokens = dw_alloc(bytes + 8, sizeof *b->tokens);
    if (b->tokens == NULL ||
        dw_vocab_tokenize(dw_model_vocab(b->model), text, bytes, b->tokens, bytes + 8,
                          DW_TOKENIZE_SPECIAL, &b->count, &err) != DW_OK) {
        die("the text cannot be tokenised");
    }
    dw_free(text);
    b->count = b->count < tokens_max ? b->count : tokens_max;
}

static double ours(bench *b)
{
    dw_scorer *scorer = NULL;
    dw_perplexity result;
    dw_error err = {0};
    uint64_t start = dw_os_clock_ns();
    if (dw_scorer_create(&scorer, b->model, b->window, b->window, DW_KV_F16, &err) != DW_OK ||
        dw_scorer_perplexity(scorer, b->tokens, b->count, &result, &err) != DW_OK) {
        die(err.message);
    }
    double seconds = (double)(dw_os_clock_ns() - start) * 1e-9;
    printf("driftwood,%.6f,%.1f\n", result.value, result.windows * b->window / seconds);
    (void)fflush(stdout);
    dw_scorer_destroy(scorer);
    return result.value;
}

/* The tokens are those that `ours` has scored: with BOS in front of each window. */
static double theirs(bench *b, const char *path)
{
    struct llama_model_params model_params = llama_model_default_params();
    struct llama_context_params params = llama_context_default_params();
    model_params.n_gpu_layers = 0;
    model_params.use_extra_bufts = false; /* AMX traps on some virtual machines that show it */
    params.n_ctx = params.n_batch = params.n_ubatch = b->window;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.n_threads = params.n_threads_batch = b->threads;
    struct llama_model *model = llama_model_load_from_file(path, model_params);
    struct llama_context *context = model != NULL ? llama_init_from_model(model, params) : NULL;
    if (context == NULL) {
        die("libllama cannot load the model");
    }
    uint32_t vocab_count = dw_vocab_count(dw_model_vocab(b->model));
    struct llama_batch batch = llama_batch_init((int32_t)b->window, 0, 1);
    double sum = 0;
    uint64_t scored = 0;
    uint64_t start = dw_os_clock_ns();
    for (size_t at = 0; at + b->window <= b->count; at += b->window) {
        llama_memory_clear(llama_get_memory(context), true);
        batch.n_tokens = (int32_t)b->window;
        for (uint32_t i = 0; i < b->window; i++) {
            batch.token[i] = b->tokens[at + i];
            batch.pos[i] = (int32_t)i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = 1;
        }
        if (llama_decode(context, batch) != 0) {
            die("llama_decode");
        }
        for (uint32_t i = b->window / 2; i + 1 < b->window; i++, scored++) {
            sum += dw_score_token(llama_get_logits_ith(context, (int32_t)i), vocab_count,
                                  b->tokens[at + i + 1]);
        }
    }
    double seconds = (double)(dw_os_clock_ns() - start) * 1e-9;
    double value = exp(sum / (double)scored);
    printf("libllama,%.6f,%.1f\n", value, (double)(b->count / b->window * b->window) / seconds);
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
    return value;
}

int main(int argc, char **argv)
{
    bench b = {.window = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 512,
               .threads = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 2};
    if (argc < 3) {
        (void)fprintf(stderr, "usage: bench_perplexity MODEL TEXT [CONTEXT [TOKENS [THREADS]]]\n");
        return argc == 1 ? 0 : 2; /* `make bench` runs what needs no arguments */
    }
    open_bench(&b, argv[1], argv[2], argc > 4 ? strtoul(argv[4], NULL, 10) : SIZE_MAX);
    printf("which,perplexity,tokens_per_s\n");
    double own = ours(&b);
    double other = theirs(&b, argv[1]);
    printf("difference,%.6f%%,\n", 100.0 * (own / other - 1.0));
    dw_free(b.tokens);
    dw_model_unref(b.model);
    dw_device_close(b.device);
    return 0;
}
