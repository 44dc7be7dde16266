/* Embeddings and hidden states against libllama, on small random models: encoders with both of
 * their tokenizers, and models that generate. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driftwood_abi.h"
#include "inference/embeddings.h"
#include "inference/step.h"
#include "inference/step_parts.h"
#include "inference/step_slice.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

#define CONTEXT_TOKENS 1024u

static const tiny_architecture encoders[] = {
    {.name = "bert",
     .norms = TINY_SUM,
     .layer_norm = true,
     .plain_ffn = true,
     .encoder = true,
     .learned_positions = true,
     .tokenizer = "bert"},
    {.name = "bert",
     .norms = TINY_SUM,
     .layer_norm = true,
     .plain_ffn = true,
     .fused_qkv = true,
     .encoder = true,
     .learned_positions = true,
     .tokenizer = "t5"},
    {.name = "nomic-bert",
     .norms = TINY_SUM,
     .layer_norm = true,
     .fused_qkv = true,
     .encoder = true,
     .tokenizer = "bert"},
    {.name = "nomic-bert",
     .norms = TINY_SUM,
     .layer_norm = true,
     .encoder = true,
     .tokenizer = "bert"},
};
#define ENCODER_COUNT (sizeof encoders / sizeof encoders[0])

/* GPUs round otherwise, and choose other kernels. */
static double limit(const model_fixture *fixture, double on_cpu)
{
    return dw_device_info_of(dw_model_device(fixture->model))->kind == DW_DEVICE_CPU ? on_cpu
                                                                                     : 5e-2;
}

static void write_model(char *path, const tiny_architecture *kind, uint32_t pooling)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_options options = tiny_defaults();
    options.kind = kind;
    options.architecture = kind->name;
    options.layer_count = 3;
    options.head_dim = 32;
    options.context_length = CONTEXT_TOKENS;
    options.pooling = pooling;
    if (kind->encoder) {
        options.kv_head_count = options.head_count;
    }
    tiny_model_write(path, &options);
}

typedef struct llama {
    struct llama_model *model;
    struct llama_context *context;
    bool encodes;
} llama;

static void llama_start(llama *with, const char *path, enum llama_pooling_type pooling,
                        enum ggml_type kv_type)
{
    struct llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    model_params.use_extra_bufts = false;
    with->model = llama_model_load_from_file(path, model_params);
    assert_non_null(with->model);
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = CONTEXT_TOKENS;
    params.n_batch = CONTEXT_TOKENS;
    params.n_ubatch = CONTEXT_TOKENS; /* an encoder's text, or what is pooled, is one batch */
    params.n_threads = 1;
    params.n_threads_batch = 1;
    params.embeddings = true;
    params.pooling_type = pooling;
    params.flash_attn_type =
        kv_type == GGML_TYPE_F32 ? LLAMA_FLASH_ATTN_TYPE_DISABLED : LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.type_k = kv_type;
    params.type_v = kv_type;
    params.no_perf = true;
    with->context = llama_init_from_model(with->model, params);
    assert_non_null(with->context);
}

/* With these adapters [count] at these scales. */
static void llama_adapt(llama *with, char (*files)[32], float *scales, size_t count)
{
    struct llama_adapter_lora *theirs[2];
    for (size_t i = 0; i < count; i++) {
        theirs[i] = llama_adapter_lora_init(with->model, files[i]);
        assert_non_null(theirs[i]);
    }
    if (count > 0) {
        assert_int_equal(llama_set_adapters_lora(with->context, theirs, count, scales), 0);
    }
}

static void llama_stop(llama *with)
{
    llama_free(with->context);
    llama_model_free(with->model);
}

static void llama_run(llama *with, const int32_t *tokens, uint32_t count)
{
    llama_memory_t memory = llama_get_memory(with->context);
    if (memory != NULL) {
        llama_memory_clear(memory, true);
    }
    struct llama_batch batch = llama_batch_init((int32_t)count, 0, 1);
    batch.n_tokens = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = (int32_t)i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    int result =
        with->encodes ? llama_encode(with->context, batch) : llama_decode(with->context, batch);
    assert_int_equal(result, 0);
    llama_synchronize(with->context);
    llama_batch_free(batch);
}

static void fill_tokens(model_fixture *fixture, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        fixture->tokens[i] = (int32_t)((i * i * 31 + i * 17 + 7) % fixture->vocab_count);
    }
}

static dw_embed_step step_of(model_fixture *fixture, uint32_t count, dw_pooling pooling)
{
    return (dw_embed_step){.view = fixture->view,
                           .tokens = fixture->tokens,
                           .token_count = count,
                           .pooling = pooling,
                           .rows = fixture->logits,
                           .counters = &fixture->counters};
}

static void embed(model_fixture *fixture, uint32_t count, dw_pooling pooling)
{
    dw_error err = {0};
    dw_embed_step step = step_of(fixture, count, pooling);
    if (dw_embed(fixture->model, &step, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

/* The worst relative difference over all kinds of pooling and lengths. */
static double compare_embeddings(const char *path, bool encodes, const uint32_t *counts,
                                 size_t count_count)
{
    static const enum llama_pooling_type theirs[] = {
        LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_MEAN, LLAMA_POOLING_TYPE_CLS,
        LLAMA_POOLING_TYPE_LAST};
    double worst = 0;
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    uint32_t length = dw_model_shape_of(fixture.model)->embedding_length;
    for (int pooling = DW_POOL_NONE; pooling <= DW_POOL_LAST; pooling++) {
        llama with = {.encodes = encodes};
        llama_start(&with, path, theirs[pooling], encodes ? GGML_TYPE_F32 : GGML_TYPE_F16);
        for (size_t i = 0; i < count_count; i++) {
            /* Long texts take minutes under an emulator. */
            if (counts[i] > 100 && emulated()) {
                break;
            }
            fill_tokens(&fixture, counts[i]);
            embed(&fixture, counts[i], (dw_pooling)pooling);
            llama_run(&with, fixture.tokens, counts[i]);
            uint32_t rows = pooling == DW_POOL_NONE ? counts[i] : 1;
            for (uint32_t row = 0; row < rows; row++) {
                const float *expected = pooling == DW_POOL_NONE
                                            ? llama_get_embeddings_ith(with.context, (int32_t)row)
                                            : llama_get_embeddings_seq(with.context, 0);
                assert_non_null(expected);
                worst = fmax(worst, logits_difference(
                                        expected, fixture.logits + (size_t)row * length, length));
            }
        }
        llama_stop(&with);
    }
    assert_true(worst < limit(&fixture, encodes ? 1e-3 : 3e-3));
    model_fixture_close(&fixture);
    return worst;
}

static void test_embeddings_of_encoders_match_libllama(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 7, 33, 100, 600, 1024};
    for (size_t i = 0; i < ENCODER_COUNT; i++) {
        char path[] = "/tmp/dw-embed-XXXXXX";
        write_model(path, &encoders[i], 0);
        double worst = compare_embeddings(path, true, counts, sizeof counts / sizeof counts[0]);
        print_message("%s %zu: worst relative difference %.3g\n", encoders[i].name, i, worst);
        (void)unlink(path);
    }
}

/* ---- with adapters ---- */

typedef struct adapted {
    char model[32];
    char files[2][32];
    float scales[2];
} adapted;

static void write_adapted(adapted *of, const tiny_architecture *kind)
{
    *of = (adapted){.model = "/tmp/dw-embed-XXXXXX", .scales = {1.0F, -0.75F}};
    write_model(of->model, kind, 0);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(of->files[i], sizeof of->files[i], "/tmp/dw-embed-XXXXXX");
        int fd = mkstemp(of->files[i]);
        assert_true(fd >= 0);
        (void)close(fd);
        const tiny_adapter options = {.rank = i == 0 ? 8 : 5,
                                      .seed = 3 + (uint64_t)i,
                                      .alpha = 12,
                                      .type = GGML_TYPE_F32,
                                      .only = i == 0 ? NULL : "attn_",
                                      .table = i == 0};
        tiny_adapter_write(of->files[i], of->model, &options);
    }
}

static void remove_adapted(const adapted *of)
{
    (void)unlink(of->model);
    (void)unlink(of->files[0]);
    (void)unlink(of->files[1]);
}

static void add_adapters(model_fixture *fixture, const adapted *of, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dw_error err = {0};
        const dw_adapter_options options = {.struct_bytes = sizeof options,
                                            .name = i == 0 ? "first" : "second",
                                            .path = of->files[i],
                                            .scale = of->scales[i]};
        if (dw_model_add_adapter(fixture->model, &options, &err) != DW_OK) {
            fail_msg("%s", err.message);
        }
    }
}

/* With the first `count` of the adapters: how far from libllama, and from the model alone. */
static double compare_adapted(adapted *of, size_t count, double *changed)
{
    static const uint32_t counts[] = {1, 2, 33, 300};
    static float plain[1024];
    double worst = 0;
    model_fixture fixture;
    llama with = {.encodes = true};
    model_fixture_open(&fixture, of->model);
    const uint32_t length = dw_model_shape_of(fixture.model)->embedding_length;
    assert_true(length <= 1024);
    llama_start(&with, of->model, LLAMA_POOLING_TYPE_MEAN, GGML_TYPE_F32);
    llama_adapt(&with, of->files, of->scales, count);
    fill_tokens(&fixture, 300);
    embed(&fixture, 33, DW_POOL_MEAN);
    memcpy(plain, fixture.logits, length * sizeof *plain);
    add_adapters(&fixture, of, count);
    for (size_t i = 0; i < (emulated() ? 2 : 4); i++) {
        embed(&fixture, counts[i], DW_POOL_MEAN);
        if (counts[i] == 33) {
            *changed = logits_difference(plain, fixture.logits, length);
        }
        llama_run(&with, fixture.tokens, counts[i]);
        worst = fmax(worst, logits_difference(llama_get_embeddings_seq(with.context, 0),
                                              fixture.logits, length));
    }
    assert_true(worst < limit(&fixture, 1e-3));
    llama_stop(&with);
    model_fixture_close(&fixture);
    return worst;
}

static void test_embeddings_with_adapters_match_libllama(void **state)
{
    (void)state;
    for (size_t i = 0; i < ENCODER_COUNT; i++) {
        adapted of;
        double one = 1;
        double two = 1;
        write_adapted(&of, &encoders[i]);
        const double first = compare_adapted(&of, 1, &one);
        const double both = compare_adapted(&of, 2, &two);
        print_message("%s %zu: changes %.3g and %.3g, worst relative difference %.3g and %.3g\n",
                      encoders[i].name, i, one, two, first, both);
        assert_true(emulated() || (one > 0.02 && two > 0.02));
        remove_adapted(&of);
    }
}

static void test_embeddings_of_decoders_match_libllama(void **state)
{
    (void)state;
    static const tiny_architecture kinds[] = {{.name = "llama"},
                                              {.name = "qwen3", .qk_norm = TINY_QK_HEADS}};
    static const uint32_t counts[] = {1, 5, 100, 380, 1000}; /* the last three in several slices */
    for (size_t i = 0; i < 2; i++) {
        char path[] = "/tmp/dw-embed-XXXXXX";
        write_model(path, &kinds[i], 0);
        double worst = compare_embeddings(path, false, counts, sizeof counts / sizeof counts[0]);
        print_message("%s: worst relative difference %.3g\n", kinds[i].name, worst);
        (void)unlink(path);
    }
}

static void on_pause(void *user)
{
    ++*(int *)user;
}

/* The same bits alone, and where others have their turns between slices. */
static void test_embeddings_are_the_same_in_company(void **state)
{
    (void)state;
    static const dw_pooling kinds[] = {DW_POOL_MEAN, DW_POOL_LAST};
    static const tiny_architecture kind = {.name = "llama"};
    char path[] = "/tmp/dw-embed-XXXXXX";
    model_fixture fixture;
    float alone[1024];
    int pauses = 0;
    write_model(path, &kind, 0);
    model_fixture_open(&fixture, path);
    size_t bytes = dw_model_shape_of(fixture.model)->embedding_length * sizeof *alone;
    assert_true(bytes <= sizeof alone);
    fill_tokens(&fixture, 1000);
    for (size_t i = 0; i < 2; i++) {
        dw_error err = {0};
        dw_stop stop = {.look_ns = UINT64_MAX};
        dw_embed_step step = step_of(&fixture, 1000, kinds[i]);
        embed(&fixture, 1000, kinds[i]);
        memcpy(alone, fixture.logits, bytes);
        step.stop = &stop;
        dw_stop_set_pause(&stop, on_pause, &pauses);
        dw_stop *before = dw_stop_begin_turn(&stop);
        assert_int_equal(dw_embed(fixture.model, &step, &err), DW_OK);
        dw_stop_end_turn(before);
        assert_memory_equal(alone, fixture.logits, bytes);
    }
    print_message("%d turns of others\n", pauses);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

/* ---- in parts ------------------------------------------------------------------------------- */

/* Weights that ggml multiplies, that our kernels do, and blocks of both kinds. */
static const enum ggml_type part_types[] = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16,
                                            GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q5_1,
                                            GGML_TYPE_Q4_K, GGML_TYPE_Q6_K};
#define PART_TYPES (sizeof part_types / sizeof part_types[0])
#define PART_LENGTH 256u /* of embeddings: blocks of K types fit */

static void write_encoder(char *path, const tiny_architecture *kind, enum ggml_type type)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_options options = tiny_defaults();
    options.kind = kind;
    options.architecture = kind->name;
    options.layer_count = 2;
    options.embedding_length = PART_LENGTH;
    options.head_count = options.kv_head_count = 4;
    options.head_dim = 64;
    options.ff_length = 512;
    options.context_length = CONTEXT_TOKENS;
    options.matrix_type = type;
    tiny_model_write(path, &options);
}

/* A step in parts of about `work` multiplications. */
static void embed_in_parts(model_fixture *fixture, uint32_t count, dw_pooling pooling,
                           uint64_t work)
{
    dw__step_set_part_work(work);
    embed(fixture, count, pooling);
    dw__step_set_part_work(0);
}

static void same_bits_in_parts(model_fixture *fixture, uint64_t *random)
{
    static const uint32_t lengths[] = {1, 2, 15, 16, 17, 63, 64, 65, 79, 80, 127, 128, 500, 1024};
    static float whole[CONTEXT_TOKENS * PART_LENGTH];
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const uint32_t count = lengths[i];
        const dw_pooling pooling = (dw_pooling)(i % (DW_POOL_LAST + 1));
        const size_t rows = pooling == DW_POOL_NONE ? count : 1;
        if ((count > 100 && emulated()) || (count > 500 && getenv("DW_TEST_SHORT") != NULL)) {
            break;
        }
        fill_tokens(fixture, count);
        embed_in_parts(fixture, count, pooling, UINT64_MAX / 2);
        memcpy(whole, fixture->logits, rows * PART_LENGTH * sizeof *whole);
        for (int round = 0; round < (getenv("DW_TEST_SHORT") != NULL ? 2 : 4); round++) {
            *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            const uint64_t work = (uint64_t)1 << (14 + (*random >> 33) % 14);
            memset(fixture->logits, 0xee, rows * PART_LENGTH * sizeof *whole);
            embed_in_parts(fixture, count, pooling, work);
            if (memcmp(whole, fixture->logits, rows * PART_LENGTH * sizeof *whole) != 0) {
                fail_msg("%u tokens, pooled by %d, in parts of %llu", count, (int)pooling,
                         (unsigned long long)work);
            }
        }
    }
}

/* To the bit what one run of the device computes, whatever the weights, wherever it is cut.
 * DW_TEST_SEED chooses where. */
static void test_embeddings_in_parts_are_the_same(void **state)
{
    (void)state;
    const char *given = getenv("DW_TEST_SEED");
    uint64_t random = given != NULL ? (uint64_t)strtoull(given, NULL, 10) : (uint64_t)getpid();
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)random);
    for (size_t i = 0; i < ENCODER_COUNT * PART_TYPES; i++) {
        char path[] = "/tmp/dw-embed-XXXXXX";
        model_fixture fixture;
        if (i % PART_TYPES >= ENCODER_COUNT && i / PART_TYPES != i % ENCODER_COUNT) {
            continue; /* each kind with floats, each other type with one kind */
        }
        write_encoder(path, &encoders[i / PART_TYPES], part_types[i % PART_TYPES]);
        model_fixture_open(&fixture, path);
        same_bits_in_parts(&fixture, &random);
        model_fixture_close(&fixture);
        (void)unlink(path);
    }
}

typedef struct inner {
    model_fixture *fixture;
    float *row;
    uint32_t calls;
    bool within;
} inner;

/* In the middle of an embedding somebody else's, of the same model and as long. */
static void embed_within(void *user)
{
    inner *in = user;
    dw_error err = {0};
    in->calls++;
    if (in->within) {
        return;
    }
    in->within = true;
    dw_embed_step step = step_of(in->fixture, 700, DW_POOL_MEAN);
    step.rows = in->row;
    assert_int_equal(dw_embed(in->fixture->model, &step, &err), DW_OK);
    in->within = false;
}

/* What lies between a run's parts is its own. */
static void test_embeddings_within_one_another(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-embed-XXXXXX";
    model_fixture fixture;
    float alone[PART_LENGTH];
    write_encoder(path, &encoders[0], GGML_TYPE_F32);
    model_fixture_open(&fixture, path);
    fill_tokens(&fixture, 700);
    embed(&fixture, 700, DW_POOL_MEAN);
    memcpy(alone, fixture.logits, sizeof alone);
    memset(fixture.logits, 0, sizeof alone);
    inner in = {.fixture = &fixture, .row = fixture.logits + 4096};
    dw_stop stop = {.look_ns = UINT64_MAX};
    dw_error err = {0};
    dw_embed_step step = step_of(&fixture, 700, DW_POOL_MEAN);
    step.stop = &stop;
    dw_stop_set_pause(&stop, embed_within, &in);
    dw_stop *before = dw_stop_begin_turn(&stop);
    dw__step_set_part_work((uint64_t)1 << 20);
    while (in.calls == 0) { /* a turn is 10 ms: one embedding may take less */
        assert_int_equal(dw_embed(fixture.model, &step, &err), DW_OK);
    }
    dw__step_set_part_work(0);
    dw_stop_end_turn(before);
    assert_memory_equal(alone, fixture.logits, sizeof alone);
    assert_memory_equal(alone, in.row, sizeof alone);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

/* Of a guest that generates on another context into the text that is embedded: what has become of
 * a token since it was looked at is looked at again, where nobody writes any more. */
static void test_embeddings_of_a_text_that_has_changed(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-embed-XXXXXX";
    model_fixture fixture;
    write_encoder(path, &encoders[0], GGML_TYPE_F32);
    model_fixture_open(&fixture, path);
    fill_tokens(&fixture, 40);
    const dw_embed_step embedded = step_of(&fixture, 40, DW_POOL_MEAN);
    const dw_step whole = {.view = embedded.view,
                           .tokens = embedded.tokens,
                           .token_count = 40,
                           .logits = embedded.rows,
                           .logits_rows = 1,
                           .result = DW_RESULT_POOLED};
    const int32_t texts[] = {1 << 28, -1, 5};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        dw_error err = {0};
        dw_step_slice slice =
            dw__step_slice_cut(&whole, dw_model_shape_of(fixture.model), 0, whole.token_count);
        slice.kv_type = DW_KV_F32;
        assert_int_equal(
            dw_adapter_set_usual(&slice.adapters, dw_model_adapters(fixture.model), &err), DW_OK);
        fixture.tokens[20] = texts[i];
        assert_int_equal(dw__step_run(fixture.model, &slice, NULL, &err),
                         texts[i] == 5 ? DW_OK : DW_E_RANGE);
        dw_adapter_set_unref(slice.adapters);
    }
    model_fixture_close(&fixture);
    (void)unlink(path);
}

static void test_embeddings_hidden_states_match_libllama(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-embed-XXXXXX";
    write_model(path, &(tiny_architecture){.name = "llama"}, 0);
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    bool cpu = limit(&fixture, 0.0) == 0.0;
    fixture.kv_type = cpu ? DW_KV_F32 : DW_KV_F16;
    uint32_t length = dw_model_shape_of(fixture.model)->embedding_length;
    fill_tokens(&fixture, 700);
    llama with = {0};
    llama_start(&with, path, LLAMA_POOLING_TYPE_NONE, GGML_TYPE_F32);
    llama_run(&with, fixture.tokens, 700);
    dw_context *context = model_fixture_context(&fixture, CONTEXT_TOKENS);
    dw_error err = {0};
    dw_step step = {.tokens = fixture.tokens,
                    .token_count = 699,
                    .logits = fixture.logits,
                    .logits_rows = 300,
                    .result = DW_RESULT_HIDDEN};
    assert_int_equal(model_fixture_try_forward(&fixture, context, &step, &err), DW_OK);
    step = (dw_step){.tokens = fixture.tokens + 699,
                     .token_count = 1,
                     .logits = fixture.logits + (size_t)300 * length,
                     .logits_rows = 1,
                     .result = DW_RESULT_HIDDEN};
    assert_int_equal(model_fixture_try_forward(&fixture, context, &step, &err), DW_OK);
    assert_int_equal(dw_context_length(context), 700);
    for (uint32_t row = 0; row < 301; row++) {
        const float *expected = llama_get_embeddings_ith(with.context, (int32_t)(399 + row));
        double difference =
            logits_difference(expected, fixture.logits + (size_t)row * length, length);
        assert_true(difference < limit(&fixture, 1e-5));
    }
    dw_context_destroy(context);
    llama_stop(&with);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

static void test_embeddings_are_normalized(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-embed-XXXXXX";
    write_model(path, &encoders[0], DW_POOL_FIRST);
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    assert_int_equal(dw_model_shape_of(fixture.model)->pooling, DW_POOL_FIRST);
    uint32_t length = dw_model_shape_of(fixture.model)->embedding_length;
    fill_tokens(&fixture, 9);
    embed(&fixture, 9, DW_POOL_NONE);
    float *plain = calloc((size_t)9 * length, sizeof *plain);
    assert_non_null(plain);
    memcpy(plain, fixture.logits, (size_t)9 * length * sizeof *plain);
    dw_embed_step step = step_of(&fixture, 9, DW_POOL_NONE);
    step.normalize = true;
    assert_int_equal(dw_embed(fixture.model, &step, NULL), DW_OK);
    for (uint32_t row = 0; row < 9; row++) {
        double squares = 0;
        double product = 0;
        double plain_squares = 0;
        for (uint32_t i = 0; i < length; i++) {
            double one = (double)fixture.logits[row * length + i];
            double other = (double)plain[row * length + i];
            squares += one * one;
            product += one * other;
            plain_squares += other * other;
        }
        assert_true(fabs(squares - 1.0) < 1e-6);
        assert_true(fabs(product - sqrt(plain_squares)) < 1e-5 * sqrt(plain_squares));
    }
    free(plain);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

static void assert_fails(model_fixture *fixture, const dw_embed_step *step, dw_status status,
                         const char *words)
{
    dw_error err = {0};
    assert_int_equal(dw_embed(fixture->model, step, &err), status);
    if (strstr(err.message, words) == NULL) {
        fail_msg("'%s' lacks '%s'", err.message, words);
    }
}

static void test_embeddings_refuse_what_cannot_be(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-embed-XXXXXX";
    write_model(path, &encoders[0], 0);
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    fill_tokens(&fixture, CONTEXT_TOKENS + 1);
    dw_embed_step step = step_of(&fixture, CONTEXT_TOKENS + 1, DW_POOL_MEAN);
    assert_fails(&fixture, &step, DW_E_LIMIT, "1025 tokens, the model was made for 1024");
    step = step_of(&fixture, 0, DW_POOL_MEAN);
    assert_fails(&fixture, &step, DW_E_ARG, "no tokens");
    fixture.tokens[3] = (int32_t)fixture.vocab_count;
    step = step_of(&fixture, 5, DW_POOL_MEAN);
    assert_fails(&fixture, &step, DW_E_RANGE, "token 320 at 3");
    fixture.tokens[3] = 3;
    step.rows = (float *)(void *)(fixture.tokens + 4);
    assert_fails(&fixture, &step, DW_E_OVERLAP, "over the 5 tokens");
    dw_stop cancel = {.cancelled = true};
    step = step_of(&fixture, 5, DW_POOL_MEAN);
    step.stop = &cancel;
    assert_fails(&fixture, &step, DW_E_CANCELLED, "cancelled");
    dw_error err = {0};
    dw_context *context = NULL;
    assert_int_equal(dw_context_create(&context, fixture.model, NULL, &err), DW_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "architecture 'bert' has none"));
    model_fixture_close(&fixture);
    (void)unlink(path);
}

static void test_embeddings_wrong_files(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-embed-XXXXXX";
    write_model(path, &encoders[0], 4);
    dw_device *device = NULL;
    dw_model *model = NULL;
    dw_error err = {0};
    assert_int_equal(dw_device_open(&device, "CPU", 1, &err), DW_OK);
    assert_int_equal(dw_model_load(&model, device, path, &err), DW_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'bert.pooling_type' is 4"));
    dw_device_close(device);
    (void)unlink(path);
}

/* Words are cut into the longest pieces there are, and put together again. */
static void check_text(const tiny_architecture *kind, const char *text, const int32_t *expected,
                       size_t expected_count)
{
    char path[] = "/tmp/dw-embed-XXXXXX";
    write_model(path, kind, 0);
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    size_t count = 0;
    int32_t tokens[64];
    dw_error err = {0};
    if (dw_vocab_tokenize(dw_model_vocab(fixture.model), text, strlen(text), tokens, 64,
                          DW_TOKENIZE_SPECIAL, &count, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < count && i < expected_count; i++) {
        assert_int_equal(tokens[i], expected[i]);
    }
    assert_int_equal(count, expected_count);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

static void test_embeddings_tokenizers(void **state)
{
    (void)state;
    /* Letters start at 5, in words at 31; "_ac" is 5 + 52 and so on. */
    static const int32_t pieces[] = {2, 5 + 52, 31 + 25, 5 + 1, 1, 3};
    check_text(&encoders[0], "ACz b \xe2\x82\xac", pieces, 6); /* the euro sign is unknown */
    static const int32_t unigrams[] = {0, 4 + 52, 30 + 25, 4 + 1, 2};
    check_text(&encoders[1], "acz b", unigrams, 5);
}

static double cosine(const float *a, const float *b, uint32_t length)
{
    double product = 0;
    for (uint32_t i = 0; i < length; i++) {
        product += (double)a[i] * (double)b[i];
    }
    return product; /* of rows at a length of 1 */
}

/* all-MiniLM-L6-v2 (`make check-models`): what its makers' documentation of semantic search prints
 * for these sentences, and libllama's embeddings. */
static void test_embeddings_of_a_real_encoder(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double score;
    } cases[] = {{"A man is eating pasta.", 1.0},
                 {"A man is eating food.", 0.7035},
                 {"A man is eating a piece of bread.", 0.5272},
                 {"A man is riding a horse.", 0.1889},
                 {"A man is riding a white horse on an enclosed ground.", 0.1047},
                 {"A cheetah is running behind its prey.", 0.0980}};
    const char *path = getenv("DW_TEST_ENCODER");
    if (path == NULL) {
        print_message("DW_TEST_ENCODER is not set\n");
        skip();
    }
    float first[384] = {0};
    model_fixture fixture;
    llama with = {.encodes = true};
    model_fixture_open(&fixture, path);
    llama_start(&with, path, LLAMA_POOLING_TYPE_MEAN, GGML_TYPE_F32);
    assert_int_equal(dw_model_shape_of(fixture.model)->embedding_length, 384);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t count = model_fixture_tokenize(&fixture, cases[i].text);
        dw_embed_step step = step_of(&fixture, count, dw_model_shape_of(fixture.model)->pooling);
        assert_int_equal(dw_embed(fixture.model, &step, NULL), DW_OK);
        llama_run(&with, fixture.tokens, count);
        const float *expected = llama_get_embeddings_seq(with.context, 0);
        assert_true(logits_difference(expected, fixture.logits, 384) < limit(&fixture, 1e-3));
        step.normalize = true;
        assert_int_equal(dw_embed(fixture.model, &step, NULL), DW_OK);
        if (i == 0) {
            memcpy(first, fixture.logits, sizeof first);
        }
        double score = cosine(first, fixture.logits, 384);
        print_message("%.4f, published %.4f: %s\n", score, cases[i].score, cases[i].text);
        assert_true(fabs(score - cases[i].score) < limit(&fixture, 1e-3));
    }
    llama_stop(&with);
    model_fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embeddings_of_encoders_match_libllama),
        cmocka_unit_test(test_embeddings_with_adapters_match_libllama),
        cmocka_unit_test(test_embeddings_of_decoders_match_libllama),
        cmocka_unit_test(test_embeddings_are_the_same_in_company),
        cmocka_unit_test(test_embeddings_in_parts_are_the_same),
        cmocka_unit_test(test_embeddings_within_one_another),
        cmocka_unit_test(test_embeddings_of_a_text_that_has_changed),
        cmocka_unit_test(test_embeddings_hidden_states_match_libllama),
        cmocka_unit_test(test_embeddings_are_normalized),
        cmocka_unit_test(test_embeddings_refuse_what_cannot_be),
        cmocka_unit_test(test_embeddings_wrong_files),
        cmocka_unit_test(test_embeddings_tokenizers),
        cmocka_unit_test(test_embeddings_of_a_real_encoder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
