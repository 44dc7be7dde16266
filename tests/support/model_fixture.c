#include "model_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ggml_guard.h"
#include "device/device_view.h"
#include "driftwood_abi.h"
#include "kv_fixture.h"
#include "support.h"

#define MODEL_FILE "SmolLM2-135M-Instruct.Q4_1.gguf"

const char *model_fixture_path(void)
{
    static char path[1024];
    const char *given = getenv("DW_TEST_MODEL");
    const char *folder = getenv("DW_TEST_MODEL_DIR");
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (given != NULL) {
        (void)snprintf(path, sizeof path, "%s", given);
    } else if (folder != NULL) {
        (void)snprintf(path, sizeof path, "%s/" MODEL_FILE, folder);
    } else if (cache != NULL && cache[0] != '\0') {
        (void)snprintf(path, sizeof path, "%s/driftwood/" MODEL_FILE, cache);
    } else {
        (void)snprintf(path, sizeof path, "%s/.cache/driftwood/" MODEL_FILE,
                       home != NULL ? home : "");
    }
    if (access(path, R_OK) != 0) {
        fail_msg("no model at %s: run `make setup`, or set DW_TEST_MODEL", path);
    }
    return path;
}

void model_fixture_open(model_fixture *fixture, const char *path)
{
    dw_error err = {0};
    memset(fixture, 0, sizeof *fixture);
    /* One thread: on a machine that is busy elsewhere, several spin on each other between nodes. */
    const char *name = getenv("DW_TEST_DEVICE");
    const char *threads = getenv("DW_TEST_THREADS");
    int thread_count = threads != NULL ? (int)strtol(threads, NULL, 10) : 1;
    if (dw_device_open(&fixture->device, name != NULL ? name : "CPU", thread_count, &err) !=
            DW_OK ||
        dw_model_load(&fixture->model, fixture->device, path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    kv_fixture_open(fixture->device, 0);
    fixture->vocab_count = dw_model_shape_of(fixture->model)->vocab_count;
    size_t tokens_bytes = FIXTURE_TOKENS * sizeof(int32_t);
    size_t bytes = tokens_bytes + (size_t)FIXTURE_ROWS * fixture->vocab_count * sizeof(float);
    bytes = (bytes + 65535) / 65536 * 65536;
    dw_region_options options = {.reserve_bytes = bytes, .commit_bytes = bytes, .label = "test"};
    if (getenv("DW_TEST_STAGED") != NULL) {
        dw_device_set_staging(fixture->device);
    }
    if (dw_region_create(&fixture->region, &options, &err) != DW_OK ||
        dw_device_view_create(&fixture->view, fixture->device, fixture->region, DW_VIEW_STAGEABLE,
                              &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    fixture->tokens = dw_region_base(fixture->region);
    fixture->logits = (float *)(void *)(fixture->tokens + FIXTURE_TOKENS);
}

void model_fixture_close(model_fixture *fixture)
{
    dw_device_view_destroy(fixture->view);
    dw_region_destroy(fixture->region);
    dw_model_unref(fixture->model);
    dw_device_close(fixture->device);
}

double model_fixture_tolerance(const model_fixture *fixture, double cpu_limit)
{
    bool cpu = dw_device_info_of(fixture->device)->kind == DW_DEVICE_CPU;
    return cpu ? cpu_limit : fmax(cpu_limit, 2e-2);
}

char *model_fixture_data(const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", DW_TEST_DATA_DIR, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
    }
    char *text = calloc(1, 65536);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, file) > 0);
    (void)fclose(file);
    return text;
}

uint32_t model_fixture_tokenize(model_fixture *fixture, const char *text)
{
    size_t count = 0;
    dw_error err = {0};
    if (dw_vocab_tokenize(dw_model_vocab(fixture->model), text, strlen(text), fixture->tokens,
                          FIXTURE_TOKENS, DW_TOKENIZE_SPECIAL, &count, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return (uint32_t)count;
}

dw_context *model_fixture_context(model_fixture *fixture, uint32_t tokens_max)
{
    dw_error err = {0};
    dw_context *context = NULL;
    dw_context_options options = {.tokens_max = tokens_max, .kv_type = fixture->kv_type};
    if (dw_context_create(&context, fixture->model, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return context;
}

dw_status model_fixture_try_forward(model_fixture *fixture, dw_context *context,
                                    const dw_step *step, dw_error *err)
{
    dw_step filled = *step;
    filled.view = fixture->view;
    filled.counters = &fixture->counters;
    return dw_context_forward(context, &filled, err);
}

void model_fixture_forward(model_fixture *fixture, dw_context *context, uint32_t offset,
                           uint32_t count, uint32_t rows)
{
    assert_true(offset + count <= FIXTURE_TOKENS && rows <= FIXTURE_ROWS);
    dw_error err = {0};
    dw_step step = {.tokens = fixture->tokens + offset,
                    .token_count = count,
                    .logits = rows > 0 ? fixture->logits : NULL,
                    .logits_rows = rows};
    if (model_fixture_try_forward(fixture, context, &step, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

static void ignore_log(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    dw_ggml_note_error(level, text); /* guards in the test's own process tell from it why */
}

void oracle_open(model_oracle *oracle, const char *path, int threads)
{
    llama_log_set(ignore_log, NULL);
    struct llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    /* The plain kernels, as we use them: the repacked ones round otherwise, and the AMX ones trap
     * on virtual machines that show AMX without allowing it. */
    model_params.use_extra_bufts = false;
    oracle->model = llama_model_load_from_file(path, model_params);
    assert_non_null(oracle->model);
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = FIXTURE_TOKENS;
    params.n_batch = FIXTURE_TOKENS;
    params.n_ubatch = 512;
    params.n_seq_max = 1;
    params.n_threads = threads;
    params.n_threads_batch = threads;
    /* Its flash attention turns floats into halves: exact is the other one. */
    params.flash_attn_type = oracle->kv_type == DW_KV_F32 ? LLAMA_FLASH_ATTN_TYPE_DISABLED
                                                          : LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.type_k = dw_kv_ggml_type(oracle->kv_type);
    params.type_v = dw_kv_ggml_type(oracle->kv_type);
    params.no_perf = true;
    oracle->context = llama_init_from_model(oracle->model, params);
    assert_non_null(oracle->context);
    oracle->vocab_count = (uint32_t)llama_vocab_n_tokens(llama_model_get_vocab(oracle->model));
}

void oracle_close(model_oracle *oracle)
{
    llama_free(oracle->context);
    llama_model_free(oracle->model);
}

void oracle_forward(model_oracle *oracle, const int32_t *tokens, uint32_t start, uint32_t count,
                    bool all)
{
    (void)llama_memory_seq_rm(llama_get_memory(oracle->context), 0, (int32_t)start, -1);
    struct llama_batch batch = llama_batch_init((int32_t)count, 0, 1);
    batch.n_tokens = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = (int32_t)(start + i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = all || i + 1 == count;
    }
    assert_int_equal(llama_decode(oracle->context, batch), 0);
    llama_synchronize(oracle->context);
    llama_batch_free(batch);
}

void oracle_forward_rows(model_oracle *oracle, const float *rows, uint32_t embedding_length,
                         uint32_t start, uint32_t count)
{
    (void)llama_memory_seq_rm(llama_get_memory(oracle->context), 0, (int32_t)start, -1);
    struct llama_batch batch = llama_batch_init((int32_t)count, (int32_t)embedding_length, 1);
    batch.n_tokens = (int32_t)count;
    memcpy(batch.embd, rows, (size_t)count * embedding_length * sizeof *rows);
    for (uint32_t i = 0; i < count; i++) {
        batch.pos[i] = (int32_t)(start + i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    assert_int_equal(llama_decode(oracle->context, batch), 0);
    llama_synchronize(oracle->context);
    llama_batch_free(batch);
}

const float *oracle_logits(model_oracle *oracle, int32_t row)
{
    const float *logits = llama_get_logits_ith(oracle->context, row);
    assert_non_null(logits);
    return logits;
}

int32_t logits_argmax(const float *logits, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return (int32_t)best;
}

static double log_sum(const float *logits, uint32_t count)
{
    double top = (double)logits[logits_argmax(logits, count)];
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += exp((double)logits[i] - top);
    }
    return top + log(sum);
}

double logits_divergence(const float *theirs, const float *ours, uint32_t count)
{
    double their_sum = log_sum(theirs, count);
    double our_sum = log_sum(ours, count);
    double divergence = 0;
    for (uint32_t i = 0; i < count; i++) {
        double p = (double)theirs[i] - their_sum;
        double q = (double)ours[i] - our_sum;
        divergence += exp(p) * (p - q);
    }
    return divergence;
}

double logits_difference(const float *theirs, const float *ours, uint32_t count)
{
    double largest = 0;
    double difference = 0;
    for (uint32_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)theirs[i]));
        difference = fmax(difference, fabs((double)theirs[i] - (double)ours[i]));
    }
    return difference / largest;
}
