/* Sequences with as many LoRA adapters, one token each at a time: all in one run, against runs of
 * their own, and against libllama, which has the adapters of a run as a whole. The adapters are
 * made here: of random numbers, rank 16, of all matrices of the layers. Prints CSV. */
#include <ggml-cpu.h>
#include <gguf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "inference/batch.h"
#include "sides.h"

#define RANK 16
#define DEPTH 128u
#define TOKENS 8u /* of each sequence, a round */
#define ADAPTERS_MAX 16u
#define ROUNDS_MAX 64

typedef struct crowd {
    sides s;
    uint32_t count;
    dw_context *contexts[ADAPTERS_MAX];
    struct llama_adapter_lora *theirs[ADAPTERS_MAX];
} crowd;

/* ---- adapters ------------------------------------------------------------------------------ */

static void add_matrix(struct ggml_context *ggml, struct gguf_context *gguf, const char *name,
                       const int64_t ne[2], uint64_t *random)
{
    struct ggml_tensor *tensor = ggml_new_tensor_2d(ggml, GGML_TYPE_F32, ne[0], ne[1]);
    float *values = tensor->data;
    for (int64_t i = 0; i < ggml_nelements(tensor); i++) {
        *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        values[i] =
            (float)((double)(*random >> 40) / (double)(1 << 23) - 1.0) / sqrtf((float)ne[0]) / 4;
    }
    ggml_set_name(tensor, name);
    gguf_add_tensor(gguf, tensor);
}

static void add_pairs(struct ggml_context *ggml, struct gguf_context *to, const dw_gguf *model,
                      uint64_t seed)
{
    char name[GGML_MAX_NAME];
    for (size_t i = 0; i < dw_gguf_tensor_count(model); i++) {
        const dw_gguf_tensor *of = dw_gguf_tensor_at(model, i);
        const int64_t a[2] = {of->ne[0], RANK};
        const int64_t b[2] = {RANK, of->ne[1]};
        if (strncmp(of->name, "blk.", 4) != 0 || of->ne[1] == 1 || of->ne[2] > 1) {
            continue;
        }
        (void)snprintf(name, sizeof name, "%.50s.lora_a", of->name);
        add_matrix(ggml, to, name, a, &seed);
        (void)snprintf(name, sizeof name, "%.50s.lora_b", of->name);
        add_matrix(ggml, to, name, b, &seed);
    }
}

/* path: a name for mkstemp. */
static void write_adapter(const char *path, const char *model, uint64_t seed)
{
    const struct ggml_init_params params = {.mem_size = (size_t)512 << 20};
    struct ggml_context *ggml = ggml_init(params);
    struct gguf_context *gguf = gguf_init_empty();
    dw_gguf *of = NULL;
    dw_gguf_string architecture;
    char text[64];
    if (ggml == NULL || dw_gguf_open(&of, model, NULL) != DW_OK ||
        dw_gguf_text(of, "general.architecture", &architecture, NULL) != DW_OK) {
        bench_die("cannot make an adapter");
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)architecture.bytes, architecture.text);
    gguf_set_val_str(gguf, "general.type", "adapter");
    gguf_set_val_str(gguf, "adapter.type", "lora");
    gguf_set_val_str(gguf, "general.architecture", text);
    gguf_set_val_f32(gguf, "adapter.lora.alpha", RANK);
    add_pairs(ggml, gguf, of, seed);
    if (!gguf_write_to_file(gguf, path, false)) {
        bench_die("cannot write an adapter");
    }
    dw_gguf_close(of);
    gguf_free(gguf);
    ggml_free(ggml);
}

static void give_adapter(crowd *c, uint32_t index)
{
    char path[BENCH_PATH_BYTES];
    char name[16];
    dw_error err = {0};
    const dw_adapter_choice choice = {index, 1.0F};
    const dw_context_options options = {.tokens_max = DEPTH + TOKENS};
    bench_temporary(path, "adapter");
    write_adapter(path, c->s.options->model, 1000 + index);
    (void)snprintf(name, sizeof name, "a%u", index);
    const dw_adapter_options adapter = {
        .struct_bytes = sizeof adapter, .name = name, .path = path, .scale = 0};
    if (dw_model_add_adapter(c->s.model, &adapter, &err) != DW_OK ||
        dw_context_create(&c->contexts[index], c->s.model, &options, &err) != DW_OK ||
        dw_context_set_adapters(c->contexts[index], &choice, 1, &err) != DW_OK) {
        bench_die(err.message);
    }
    c->theirs[index] = llama_adapter_lora_init(c->s.llama, path);
    if (c->theirs[index] == NULL) {
        bench_die("libllama cannot read an adapter");
    }
    (void)unlink(path);
}

/* ---- steps --------------------------------------------------------------------------------- */

static void forward(crowd *c, uint32_t first, uint32_t count, uint32_t start, uint32_t tokens)
{
    dw_batch_item items[ADAPTERS_MAX] = {0};
    for (uint32_t i = 0; i < count; i++) {
        items[i].context = c->contexts[first + i];
        items[i].step = (dw_step){.view = c->s.view,
                                  .tokens = c->s.tokens + start,
                                  .token_count = tokens,
                                  .counters = &c->s.counters};
        sides_end_step(&c->s, &items[i].step, first + i);
    }
    dw_batch_forward_all(items, count);
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].status != DW_OK) {
            bench_die(items[i].error.message);
        }
    }
}

static void together(crowd *c, uint32_t start, uint32_t tokens)
{
    forward(c, 0, c->count, start, tokens);
}

static void apart(crowd *c, uint32_t start, uint32_t tokens)
{
    for (uint32_t i = 0; i < c->count; i++) {
        forward(c, i, 1, start, tokens);
    }
}

static void theirs(crowd *c, uint32_t start, uint32_t tokens)
{
    float scale = 1;
    struct llama_batch batch = llama_batch_init((int32_t)tokens, 0, 1);
    for (uint32_t i = 0; i < c->count; i++) {
        batch.n_tokens = (int32_t)tokens;
        for (uint32_t k = 0; k < tokens; k++) {
            batch.token[k] = c->s.tokens[start + k];
            batch.pos[k] = (int32_t)(start + k);
            batch.n_seq_id[k] = 1;
            batch.seq_id[k][0] = (int32_t)i;
            batch.logits[k] = k + 1 == tokens;
        }
        if (llama_set_adapters_lora(c->s.llama_context, &c->theirs[i], 1, &scale) != 0 ||
            llama_decode(c->s.llama_context, batch) != 0) {
            bench_die("libllama cannot compute with an adapter");
        }
        sides_end_their_step(&c->s, c->s.llama_context, -1);
    }
    llama_batch_free(batch);
}

static void trim(crowd *c, uint32_t length)
{
    for (uint32_t i = 0; i < c->count; i++) {
        (void)dw_context_trim(c->contexts[i], length, NULL);
        (void)llama_memory_seq_rm(llama_get_memory(c->s.llama_context), (int32_t)i, (int32_t)length,
                                  -1);
    }
}

/* Tokens a second. */
static double measure(crowd *c, void (*step)(crowd *c, uint32_t start, uint32_t tokens))
{
    trim(c, DEPTH);
    const uint64_t from_ns = dw_os_clock_ns();
    for (uint32_t k = 0; k < TOKENS; k++) {
        step(c, DEPTH + k, 1);
    }
    const uint64_t took_ns = dw_os_clock_ns() - from_ns;
    sides_rest(&c->s);
    return 1e9 * TOKENS * c->count / (double)took_ns;
}

static void several(struct llama_context_params *params)
{
    params->n_seq_max = ADAPTERS_MAX;
    params->n_ctx = ADAPTERS_MAX * (DEPTH + 2 * TOKENS);
}

static void run(crowd *c, uint32_t count)
{
    double all[3][ROUNDS_MAX];
    double copy[ROUNDS_MAX];
    char row[64];
    const int rounds = c->s.options->rounds < ROUNDS_MAX ? c->s.options->rounds : ROUNDS_MAX;
    c->count = count;
    for (int round = 0; round < rounds; round++) {
        all[0][round] = copy[round] = measure(c, together);
        all[1][round] = measure(c, theirs);
        all[2][round] = measure(c, apart);
    }
    (void)snprintf(row, sizeof row, "decode_%u_adapters_depth_%u", count, DEPTH);
    bench_rounds(c->s.options, row, "tokens/s", (double *[2]){all[0], all[1]}, rounds);
    (void)snprintf(row, sizeof row, "decode_%u_adapters_against_apart", count);
    bench_rounds(c->s.options, row, "tokens/s", (double *[2]){copy, all[2]}, rounds);
}

int main(int argc, char **argv)
{
    static crowd c;
    bench_options options = {.rounds = 5, .context = 512, .extra = BENCH_EXTRA_NONE};
    bench_read_options(&options, argc, argv, "Sequences with different LoRA adapters.");
    sides_open(&c.s, &options, several);
    bench_header();
    for (uint32_t i = 0; i < ADAPTERS_MAX; i++) {
        give_adapter(&c, i);
    }
    c.count = ADAPTERS_MAX;
    apart(&c, 0, DEPTH);
    theirs(&c, 0, DEPTH);
    run(&c, 1);
    run(&c, 4);
    run(&c, 8);
    run(&c, 16);
    for (uint32_t i = 0; i < ADAPTERS_MAX; i++) {
        dw_context_destroy(c.contexts[i]);
    }
    sides_close(&c.s);
    return 0;
}
