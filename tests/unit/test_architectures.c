/* Every row of the architecture table against libllama on a small random model of it: prefill,
 * decode, trim, and lengths beyond a sliding window. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

/* What is run: a prompt, tokens one by one, a part of it again. */
typedef struct lengths {
    uint32_t prompt;
    uint32_t decoded;
    uint32_t trimmed_to;
    uint32_t again;
} lengths;

/* GPUs choose kernels by shapes, and keep keys and values in halves. */
static bool on_cpu;
static double far_share; /* of the rows last compared */

static const lengths few = {40, 3, 20, 5};      /* attention is ggml's */
static const lengths wide = {300, 3, 250, 20};  /* GPUs widen quantised weights */
static const lengths many = {400, 5, 390, 10};  /* and ours */
static const lengths more = {600, 20, 560, 40}; /* cut into parts when decoding */

typedef struct pair {
    model_fixture fixture;
    model_oracle oracle;
    dw_context *context;
    double worst; /* relative difference so far */
    uint32_t rows;
    uint32_t far_rows; /* beyond FAR */
} pair;

#define FAR 5e-2

/* One step on both sides, all logits compared. */
static void step(pair *at, uint32_t start, uint32_t count)
{
    model_fixture_forward(&at->fixture, at->context, start, count, count);
    oracle_forward(&at->oracle, at->fixture.tokens + start, start, count, true);
    for (uint32_t i = 0; i < count; i++) {
        double difference = logits_difference(
            oracle_logits(&at->oracle, (int32_t)i),
            at->fixture.logits + (size_t)i * at->fixture.vocab_count, at->fixture.vocab_count);
        at->worst = fmax(at->worst, difference);
        at->far_rows += difference > FAR;
        at->rows++;
    }
}

static double run_all(const char *path, const lengths *run)
{
    pair at = {.oracle.kv_type = DW_KV_F32};
    model_fixture_open(&at.fixture, path);
    on_cpu = dw_device_info_of(at.fixture.device)->kind == DW_DEVICE_CPU;
    at.fixture.kv_type = on_cpu ? DW_KV_F32 : DW_KV_F16;
    oracle_open(&at.oracle, path, dw_device_threads(at.fixture.device));
    for (uint32_t i = 0; i < run->prompt + run->decoded; i++) {
        at.fixture.tokens[i] = (int32_t)((i * i * 31 + i * 17 + 5) % at.fixture.vocab_count);
    }
    at.context = model_fixture_context(&at.fixture, 0);
    step(&at, 0, run->prompt);
    for (uint32_t i = 0; i < run->decoded; i++) {
        step(&at, run->prompt + i, 1);
    }
    assert_int_equal(dw_context_trim(at.context, run->trimmed_to, NULL), DW_OK);
    step(&at, run->trimmed_to, run->again);
    dw_context_destroy(at.context);
    oracle_close(&at.oracle);
    model_fixture_close(&at.fixture);
    far_share = (double)at.far_rows / at.rows;
    return at.worst;
}

static double compare(const tiny_architecture *kind, enum ggml_type type, const lengths *run)
{
    tiny_options options = tiny_options_of(kind, type);
    char path[] = "/tmp/dw-arch-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, &options);
    double worst = run_all(path, run);
    (void)unlink(path);
    return worst;
}

/* In floats throughout, keys and values too: what is left is the order of sums. GELU goes through
 * ggml's table of halves, where the smallest difference can pick the next entry. */
static double limit_of(const tiny_architecture *kind)
{
    bool table = strncmp(kind->name, "gemma", 5) == 0 || strcmp(kind->name, "starcoder2") == 0;
    if (!on_cpu) { /* a close choice of experts can fall otherwise: few rows then are far off */
        return kind->expert_count > 0 ? 1.0 : FAR;
    }
    return table ? 1e-3 : 1e-5;
}

static void test_architectures_match_libllama(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny_kind_count; i++) {
        if (emulated() && i % 4 != 0) {
            continue; /* what differs between processors is the kernels, which all share */
        }
        double worst = compare(&tiny_kinds[i], GGML_TYPE_F32, i == 0 ? &more : &many);
        print_message("%-12s %-2zu worst relative difference %.3g\n", tiny_kinds[i].name, i, worst);
        assert_true(worst < limit_of(&tiny_kinds[i]));
        assert_true(far_share <= (on_cpu ? 0.0 : 0.05));
    }
}

/* On GPUs, in halves: products of many rows have nodes of their own there, with what each
 * architecture has beside them. */
static void test_architectures_in_halves(void **state)
{
    (void)state;
    if (on_cpu) {
        skip();
    }
    for (size_t i = 0; i < tiny_kind_count; i++) {
        double worst = compare(&tiny_kinds[i], GGML_TYPE_BF16, &few);
        print_message("%-12s %-2zu worst relative difference %.3g\n", tiny_kinds[i].name, i, worst);
        assert_true(worst < (tiny_kinds[i].expert_count > 0 ? 1.0 : 1e-1));
    }
}

/* Each name of the table has been compared. */
static void test_architectures_are_all_there(void **state)
{
    (void)state;
    for (size_t i = 0; dw_architecture_name(i) != NULL; i++) {
        bool found = strstr(dw_architecture_name(i), "bert") != NULL; /* test_embeddings has them */
        for (size_t k = 0; k < tiny_kind_count; k++) {
            found = found || strcmp(tiny_kinds[k].name, dw_architecture_name(i)) == 0;
        }
        if (!found) {
            fail_msg("no model of '%s'", dw_architecture_name(i));
        }
    }
}

/* Every type of matrix that a file may have. Products with them round the other side to halves or
 * bytes first, and so make small differences larger. */
static void test_architectures_weight_types(void **state)
{
    (void)state;
    static const enum ggml_type types[] = {
        GGML_TYPE_F16,    GGML_TYPE_BF16,  GGML_TYPE_Q4_0,    GGML_TYPE_Q4_1,  GGML_TYPE_Q5_0,
        GGML_TYPE_Q5_1,   GGML_TYPE_Q8_0,  GGML_TYPE_Q2_K,    GGML_TYPE_Q3_K,  GGML_TYPE_Q4_K,
        GGML_TYPE_Q5_K,   GGML_TYPE_Q6_K,  GGML_TYPE_IQ1_S,   GGML_TYPE_IQ1_M, GGML_TYPE_IQ2_XXS,
        GGML_TYPE_IQ2_XS, GGML_TYPE_IQ2_S, GGML_TYPE_IQ3_XXS, GGML_TYPE_IQ3_S, GGML_TYPE_IQ4_NL,
        GGML_TYPE_IQ4_XS};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        /* Searching for the best of so many grids takes minutes under an emulator. */
        bool slow = ggml_quantize_requires_imatrix(types[i]) || types[i] == GGML_TYPE_IQ1_M ||
                    types[i] == GGML_TYPE_IQ2_S || types[i] == GGML_TYPE_IQ3_XXS ||
                    types[i] == GGML_TYPE_IQ3_S;
        if (slow && emulated()) {
            continue;
        }
        double worst = compare(&tiny_kinds[0], types[i], on_cpu ? &few : &wide);
        print_message("%-8s worst relative difference %.3g\n", ggml_type_name(types[i]), worst);
        assert_true(worst < (on_cpu ? 2e-2 : 1e-1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_architectures_match_libllama),
        cmocka_unit_test(test_architectures_in_halves),
        cmocka_unit_test(test_architectures_are_all_there),
        cmocka_unit_test(test_architectures_weight_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
