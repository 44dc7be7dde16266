/* Our graphs against libllama's on the same file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model_fixture.h"
#include "reference_forward.h"
#include "support.h"
#include "tiny_model.h"

#define PROMPT_TOKENS 200u
#define CONTINUATION_TOKENS 64u

static void test_parity_logits_of_every_position(void **state)
{
    (void)state;
    model_fixture fixture;
    model_oracle oracle = {0};
    model_fixture_open(&fixture, model_fixture_path());
    oracle_open(&oracle, model_fixture_path(), dw_device_threads(fixture.device));
    assert_int_equal(oracle.vocab_count, fixture.vocab_count);
    char *text = model_fixture_data("alice.txt");
    assert_true(model_fixture_tokenize(&fixture, text) >= PROMPT_TOKENS);

    dw_context *context = model_fixture_context(&fixture, 0);
    model_fixture_forward(&fixture, context, 0, PROMPT_TOKENS, PROMPT_TOKENS);
    oracle_forward(&oracle, fixture.tokens, 0, PROMPT_TOKENS, true);

    uint32_t same_top = 0;
    double divergence = 0;
    for (uint32_t i = 0; i < PROMPT_TOKENS; i++) {
        const float *theirs = oracle_logits(&oracle, (int32_t)i);
        const float *ours = fixture.logits + (size_t)i * fixture.vocab_count;
        same_top +=
            logits_argmax(theirs, fixture.vocab_count) == logits_argmax(ours, fixture.vocab_count)
                ? 1
                : 0;
        divergence += logits_divergence(theirs, ours, fixture.vocab_count);
    }
    divergence /= PROMPT_TOKENS;
    print_message("top-1 equal on %u of %u positions, mean KL %.3g\n", same_top, PROMPT_TOKENS,
                  divergence);
    /* Half of what libllama differs from itself, below. */
    assert_true(same_top * 100 >= PROMPT_TOKENS * 97);
    assert_true(divergence < 1e-2 && divergence > -1e-9);

    dw_context_destroy(context);
    free(text);
    oracle_close(&oracle);
    model_fixture_close(&fixture);
}

/* Both go on from the same prompt by themselves. Where they part, the two candidates must have
 * been so close that rounding could decide. */
static bool continues(model_fixture *fixture, model_oracle *oracle, uint32_t length)
{
    assert_true(length > 0 && length + CONTINUATION_TOKENS < FIXTURE_TOKENS);
    dw_context *context = model_fixture_context(fixture, 0);
    bool equal = true;
    uint32_t start = 0;
    for (uint32_t i = 0; i < CONTINUATION_TOKENS && equal; i++) {
        uint32_t count = start == 0 ? length : 1;
        model_fixture_forward(fixture, context, start, count, 1);
        oracle_forward(oracle, fixture->tokens + start, start, count, false);
        start += count;
        const float *theirs = oracle_logits(oracle, -1);
        int32_t their_choice = logits_argmax(theirs, fixture->vocab_count);
        int32_t our_choice = logits_argmax(fixture->logits, fixture->vocab_count);
        if (their_choice != our_choice) {
            float their_gap = theirs[their_choice] - theirs[our_choice];
            float our_gap = fixture->logits[our_choice] - fixture->logits[their_choice];
            print_message("parted at token %u: gaps %g and %g\n", i, (double)their_gap,
                          (double)our_gap);
            assert_true(their_gap < 0.5f && our_gap < 0.5f);
            equal = false;
        }
        fixture->tokens[start] = our_choice;
    }
    dw_context_destroy(context);
    return equal;
}

static void test_parity_greedy_continuations(void **state)
{
    (void)state;
    model_fixture fixture;
    model_oracle oracle = {0};
    model_fixture_open(&fixture, model_fixture_path());
    oracle_open(&oracle, model_fixture_path(), dw_device_threads(fixture.device));
    char *prompts = model_fixture_data("prompts.txt");
    uint32_t count = 0;
    uint32_t equal = 0;
    char *rest = NULL;
    for (char *prompt = strtok_r(prompts, "\n", &rest); prompt != NULL;
         prompt = strtok_r(NULL, "\n", &rest)) {
        const uint32_t length = model_fixture_tokenize(&fixture, prompt);
        equal += continues(&fixture, &oracle, length) ? 1 : 0;
        count++;
    }
    print_message("%u of %u continuations equal\n", equal, count);
    assert_int_equal(count, 10);
    /* Attention adds in another order than libllama's, and weights of few bits make more of it
     * (docs/numerics.md): choices part, but only close ones. */
    free(prompts);
    oracle_close(&oracle);
    model_fixture_close(&fixture);
}

/* Weights that round nothing on the way: no choice is close enough to fall otherwise. */
static void test_parity_greedy_continuations_of_floats(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-tiny-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_options options = tiny_defaults();
    options.own_output = true;
    tiny_model_write(path, &options);
    model_fixture fixture;
    model_oracle oracle = {.kv_type = DW_KV_F32};
    model_fixture_open(&fixture, path);
    fixture.kv_type = DW_KV_F32;
    oracle_open(&oracle, path, dw_device_threads(fixture.device));
    const bool cpu = dw_device_info_of(fixture.device)->kind == DW_DEVICE_CPU;
    for (uint32_t i = 0; i < 10; i++) {
        for (uint32_t k = 0; k < 20 + 40 * i; k++) {
            fixture.tokens[k] = (int32_t)((k * k * 7 + k * 31 + i) % fixture.vocab_count);
        }
        assert_true(continues(&fixture, &oracle, 20 + 40 * i) || !cpu);
    }
    oracle_close(&oracle);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

/* The mean over tokens of the largest difference, relative to the largest logit. */
static double mean_error(const double *exact, const float *logits, uint32_t count,
                         uint32_t vocab_count)
{
    double sum = 0;
    for (uint32_t t = 0; t < count; t++) {
        double worst = 0;
        double largest = 0;
        for (size_t i = (size_t)t * vocab_count; i < (size_t)(t + 1) * vocab_count; i++) {
            worst = fmax(worst, fabs(exact[i] - (double)logits[i]));
            largest = fmax(largest, fabs(exact[i]));
        }
        sum += worst / largest;
    }
    return sum / count;
}

/* Both beside double precision: what the first `count` tokens' logits are off by. */
static void compare_with_exact(model_fixture *fixture, model_oracle *oracle, uint32_t count,
                               double *ours, double *theirs)
{
    const uint32_t vocab_count = fixture->vocab_count;
    double *exact = malloc((size_t)count * vocab_count * sizeof *exact);
    float *rows = malloc((size_t)count * vocab_count * sizeof *rows);
    assert_true(exact != NULL && rows != NULL);
    reference_forward(fixture->model, fixture->tokens, count, exact);
    dw_context *context = model_fixture_context(fixture, 0);
    model_fixture_forward(fixture, context, 0, count, count);
    dw_context_destroy(context);
    oracle_forward(oracle, fixture->tokens, 0, count, true);
    for (uint32_t t = 0; t < count; t++) {
        memcpy(rows + (size_t)t * vocab_count, oracle_logits(oracle, (int32_t)t),
               vocab_count * sizeof *rows);
    }
    *ours = mean_error(exact, fixture->logits, count, vocab_count);
    *theirs = mean_error(exact, rows, count, vocab_count);
    print_message("off from double precision: ours %.3g, libllama %.3g\n", *ours, *theirs);
    free(exact);
    free(rows);
}

static void test_parity_double_precision(void **state)
{
    (void)state;
    model_fixture fixture;
    model_oracle oracle = {0};
    double ours = 0;
    double theirs = 0;
    model_fixture_open(&fixture, model_fixture_path());
    if (dw_device_info_of(fixture.device)->kind != DW_DEVICE_CPU ||
        getenv("DW_TEST_MODEL") != NULL) {
        model_fixture_close(&fixture);
        skip();
    }
    oracle_open(&oracle, model_fixture_path(), dw_device_threads(fixture.device));
    char *text = model_fixture_data("alice.txt");
    assert_true(model_fixture_tokenize(&fixture, text) >= 24);
    compare_with_exact(&fixture, &oracle, 24, &ours, &theirs);
    assert_true(ours < 1.15 * theirs); /* what 4-bit weights and 8-bit activations round */
    free(text);
    oracle_close(&oracle);
    model_fixture_close(&fixture);
}

/* With nothing rounded but sums of floats. */
static void test_parity_double_precision_of_floats(void **state)
{
    (void)state;
    if (!tests_on_cpu()) {
        skip(); /* the pass reads the weights where they lie */
    }
    char path[] = "/tmp/dw-tiny-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_options options = tiny_defaults();
    tiny_model_write(path, &options);
    model_fixture fixture;
    model_oracle oracle = {.kv_type = DW_KV_F32};
    double ours = 0;
    double theirs = 0;
    model_fixture_open(&fixture, path);
    fixture.kv_type = DW_KV_F32;
    oracle_open(&oracle, path, dw_device_threads(fixture.device));
    for (uint32_t i = 0; i < 600; i++) {
        fixture.tokens[i] = (int32_t)((i * i * 7 + i * 31) % fixture.vocab_count);
    }
    compare_with_exact(&fixture, &oracle, 600, &ours, &theirs);
    assert_true(ours < model_fixture_tolerance(&fixture, 2e-6));
    oracle_close(&oracle);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

/* A model that has all that the default one lacks: biases, an output matrix of its own, rope
 * factors, scaled positions, matrices in several types. */
static void check_tiny(const tiny_options *options)
{
    char path[] = "/tmp/dw-tiny-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, options);
    model_fixture fixture;
    model_oracle oracle = {0};
    model_fixture_open(&fixture, path);
    oracle_open(&oracle, path, dw_device_threads(fixture.device));
    uint32_t count = 100;
    for (uint32_t i = 0; i < count; i++) {
        fixture.tokens[i] = (int32_t)((i * 37 + 11) % fixture.vocab_count);
    }
    dw_context *context = model_fixture_context(&fixture, 0);
    model_fixture_forward(&fixture, context, 0, count, count);
    oracle_forward(&oracle, fixture.tokens, 0, count, true);
    double worst = 0;
    for (uint32_t i = 0; i < count; i++) {
        double difference = logits_difference(oracle_logits(&oracle, (int32_t)i),
                                              fixture.logits + (size_t)i * fixture.vocab_count,
                                              fixture.vocab_count);
        worst = fmax(worst, difference);
    }
    print_message("tiny model, head_dim %u, %u kv heads: worst relative difference %.3g\n",
                  options->head_dim, options->kv_head_count, worst);
    const bool quantised = ggml_is_quantized(options->matrix_type);
    assert_true(worst < model_fixture_tolerance(&fixture, quantised ? 2e-2 : 1e-3));
    dw_context_destroy(context);
    oracle_close(&oracle);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

static void test_parity_biases_factors_and_own_output(void **state)
{
    (void)state;
    tiny_options options = tiny_defaults();
    options.biases = true;
    options.own_output = true;
    options.rope_factors = true;
    check_tiny(&options);
    options.head_dim = 64;
    options.rope_linear = 4.0f;
    check_tiny(&options);
}

static void test_parity_heads_of_their_own(void **state)
{
    (void)state;
    tiny_options options = tiny_defaults();
    options.kv_head_count = options.head_count;
    options.matrix_type = GGML_TYPE_Q8_0;
    check_tiny(&options);
    options.kv_head_count = 1;
    options.matrix_type = GGML_TYPE_F16;
    options.head_dim = 48; /* heads * head_dim is not the embedding's length */
    check_tiny(&options);
}

static float *logits_of_tiny(const tiny_options *options, bool mapped, uint32_t *vocab_count)
{
    char path[] = "/tmp/dw-tiny-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, options);
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(fixture.model, &info);
    assert_int_equal(info.weights_mapped, mapped && dw_device_unified(fixture.device));
    dw_context *context = model_fixture_context(&fixture, 0);
    fixture.tokens[0] = 7;
    fixture.tokens[1] = 11;
    model_fixture_forward(&fixture, context, 0, 2, 1);
    *vocab_count = fixture.vocab_count;
    float *logits = malloc(fixture.vocab_count * sizeof *logits);
    assert_non_null(logits);
    memcpy(logits, fixture.logits, fixture.vocab_count * sizeof *logits);
    dw_context_destroy(context);
    model_fixture_close(&fixture);
    (void)unlink(path);
    return logits;
}

/* Tensors that start where the device cannot use them are uploaded, the others mapped. Against the
 * same model in an aligned file: libllama would abort over this one. */
static void test_parity_misaligned_weights(void **state)
{
    (void)state;
    tiny_options options = tiny_defaults();
    options.matrix_type = GGML_TYPE_Q8_0;
    uint32_t vocab_count = 0;
    float *aligned = logits_of_tiny(&options, true, &vocab_count);
    options.misaligned = true;
    float *misaligned = logits_of_tiny(&options, false, &vocab_count);
    assert_true(logits_difference(aligned, misaligned, vocab_count) < 1e-6);
    free(aligned);
    free(misaligned);
}

/* A first token attends to itself alone, and what attention gives is its value on both sides: all
 * the rest, with the default model's weights, is the same bits. Behind others the order of
 * attention's sums shows (docs/numerics.md). */
static void test_parity_bits(void **state)
{
    (void)state;
    static const uint32_t depths[] = {2, 100, 256, 257, 300, 384, 385, 440};
    model_fixture fixture;
    model_oracle oracle = {0};
    model_fixture_open(&fixture, model_fixture_path());
    bool cpu = dw_device_info_of(fixture.device)->kind == DW_DEVICE_CPU;
    if (!cpu || getenv("DW_TEST_MODEL") != NULL) {
        model_fixture_close(&fixture);
        skip();
    }
    oracle_open(&oracle, model_fixture_path(), dw_device_threads(fixture.device));
    char *text = model_fixture_data("alice.txt");
    size_t bytes = strlen(text);
    memmove(text + bytes, text, bytes); /* twice: once has too few tokens */
    assert_true(model_fixture_tokenize(&fixture, text) >= 440);
    dw_context *context = model_fixture_context(&fixture, 0);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(dw_context_trim(context, 0, NULL), DW_OK);
        model_fixture_forward(&fixture, context, i, 1, 1);
        oracle_forward(&oracle, fixture.tokens + i, 0, 1, false);
        assert_memory_equal(oracle_logits(&oracle, -1), fixture.logits,
                            fixture.vocab_count * sizeof *fixture.logits);
    }
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        uint32_t last = depths[i] - 1;
        assert_int_equal(dw_context_trim(context, 0, NULL), DW_OK);
        model_fixture_forward(&fixture, context, 0, last, 0);
        oracle_forward(&oracle, fixture.tokens, 0, last, false);
        model_fixture_forward(&fixture, context, last, 1, 1);
        oracle_forward(&oracle, fixture.tokens + last, last, 1, false);
        const double difference =
            logits_difference(oracle_logits(&oracle, -1), fixture.logits, fixture.vocab_count);
        print_message("token %u decoded: relative difference %.3g\n", depths[i], difference);
        assert_true(difference < 0.12);
    }
    dw_context_destroy(context);
    free(text);
    oracle_close(&oracle);
    model_fixture_close(&fixture);
}

/* What to hold differences against: libllama beside itself, a prompt in one step and in four. */
static void test_parity_libllama_with_itself(void **state)
{
    (void)state;
    enum { PIECE = 50 };
    model_fixture fixture;
    model_oracle oracle = {0};
    model_fixture_open(&fixture, model_fixture_path());
    oracle_open(&oracle, model_fixture_path(), dw_device_threads(fixture.device));
    char *text = model_fixture_data("alice.txt");
    assert_true(model_fixture_tokenize(&fixture, text) >= PROMPT_TOKENS);
    float *whole = malloc((size_t)PROMPT_TOKENS * fixture.vocab_count * sizeof *whole);
    assert_non_null(whole);
    oracle_forward(&oracle, fixture.tokens, 0, PROMPT_TOKENS, true);
    for (uint32_t i = 0; i < PROMPT_TOKENS; i++) {
        memcpy(whole + (size_t)i * fixture.vocab_count, oracle_logits(&oracle, (int32_t)i),
               fixture.vocab_count * sizeof *whole);
    }
    uint32_t other_top = 0;
    double divergence = 0;
    double worst = 0;
    for (uint32_t i = 0; i < PROMPT_TOKENS; i++) {
        if (i % PIECE == 0) {
            oracle_forward(&oracle, fixture.tokens + i, i, PIECE, true);
        }
        const float *row = whole + (size_t)i * fixture.vocab_count;
        const float *piece = oracle_logits(&oracle, (int32_t)(i % PIECE));
        other_top +=
            logits_argmax(row, fixture.vocab_count) != logits_argmax(piece, fixture.vocab_count);
        divergence += logits_divergence(row, piece, fixture.vocab_count) / PROMPT_TOKENS;
        worst = fmax(worst, logits_difference(row, piece, fixture.vocab_count));
    }
    print_message("libllama, pieces of %d against %u: top-1 differs on %u, mean KL %.3g, worst "
                  "relative difference %.3g\n",
                  PIECE, PROMPT_TOKENS, other_top, divergence, worst);
    assert_true(divergence < 0.1);
    free(whole);
    free(text);
    oracle_close(&oracle);
    model_fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity_logits_of_every_position),
        cmocka_unit_test(test_parity_greedy_continuations),
        cmocka_unit_test(test_parity_greedy_continuations_of_floats),
        cmocka_unit_test(test_parity_double_precision),
        cmocka_unit_test(test_parity_double_precision_of_floats),
        cmocka_unit_test(test_parity_biases_factors_and_own_output),
        cmocka_unit_test(test_parity_heads_of_their_own),
        cmocka_unit_test(test_parity_misaligned_weights),
        cmocka_unit_test(test_parity_bits),
        cmocka_unit_test(test_parity_libllama_with_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
