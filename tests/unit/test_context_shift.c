/* Tokens forgotten in the middle of a context, against libllama's way of doing it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "inference/context_internal.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

static const tiny_architecture kinds[] = {
    {.name = "llama"},
    {.name = "qwen3", .qk_norm = TINY_QK_HEADS},
    {.name = "gemma3", .norms = TINY_AROUND, .qk_norm = TINY_QK_HEADS, .window = 48},
    {.name = "phi3",
     .fused_qkv = true,
     .fused_ffn = true,
     .rope_dims = 24,
     .rope_scaling = "longrope",
     .rope_context = 4096,
     .long_factors = true},
    {.name = "starcoder2", .layer_norm = true, .plain_ffn = true},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

typedef struct shift {
    uint32_t prompt;
    uint32_t keep;
    uint32_t drop;
    uint32_t more; /* tokens behind */
} shift;

static void write_model(char *path, const tiny_architecture *kind)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_options options = tiny_defaults();
    options.kind = kind;
    options.architecture = kind->name;
    options.layer_count = kind->window > 0 ? 7 : 3;
    options.embedding_length = options.head_count * options.head_dim;
    tiny_model_write(path, &options);
}

static void shift_oracle(model_oracle *oracle, const shift *how)
{
    llama_memory_t memory = llama_get_memory(oracle->context);
    int32_t from = (int32_t)(how->keep + how->drop);
    assert_true(llama_memory_can_shift(memory));
    assert_true(llama_memory_seq_rm(memory, 0, (int32_t)how->keep, from));
    llama_memory_seq_add(memory, 0, from, -1, -(int32_t)how->drop);
}

/* The worst relative difference of the logits of what follows the shift. */
static double compare(const tiny_architecture *kind, dw_kv_type type, const shift *how)
{
    char path[] = "/tmp/dw-shift-XXXXXX";
    write_model(path, kind);
    model_fixture fixture;
    model_oracle oracle = {.kv_type = type};
    model_fixture_open(&fixture, path);
    fixture.kv_type = type;
    oracle_open(&oracle, path, 1);
    uint32_t length = how->prompt - how->drop;
    for (uint32_t i = 0; i < how->prompt + how->more; i++) {
        fixture.tokens[i] = (int32_t)((i * i * 31 + i * 17 + 5) % fixture.vocab_count);
    }
    dw_context *context = model_fixture_context(&fixture, 0);
    dw_error err = {0};
    model_fixture_forward(&fixture, context, 0, how->prompt, 1);
    oracle_forward(&oracle, fixture.tokens, 0, how->prompt, false);
    if (dw_context_shift(context, how->keep, how->drop, NULL, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    shift_oracle(&oracle, how);
    assert_int_equal(dw_context_length(context), length);
    for (uint32_t i = 0; i < length; i++) {
        uint32_t source = i < how->keep ? i : i + how->drop;
        assert_int_equal(dw_context_tokens(context)[i], fixture.tokens[source]);
    }
    double worst = 0;
    for (uint32_t i = 0; i < how->more; i++) {
        model_fixture_forward(&fixture, context, how->prompt + i, 1, 1);
        oracle_forward(&oracle, fixture.tokens + how->prompt + i, length + i, 1, false);
        worst = fmax(worst, logits_difference(oracle_logits(&oracle, -1), fixture.logits,
                                              fixture.vocab_count));
    }
    dw_context_destroy(context);
    oracle_close(&oracle);
    model_fixture_close(&fixture);
    (void)unlink(path);
    return worst;
}

static void test_context_shift_matches_libllama(void **state)
{
    (void)state;
    static const shift ways[] = {{100, 4, 30, 5}, {100, 0, 50, 3}, {300, 10, 289, 3}};
    for (size_t i = 0; i < KIND_COUNT; i += emulated() ? 2 : 1) {
        for (size_t k = 0; k < 3; k++) {
            double worst = compare(&kinds[i], DW_KV_F32, &ways[k]);
            print_message("%s, %zu: worst relative difference %.3g\n", kinds[i].name, k, worst);
            assert_true(worst < 1e-3);
        }
    }
    double halves = compare(&kinds[0], DW_KV_F16, &ways[0]);
    double bytes = compare(&kinds[0], DW_KV_Q8_0, &ways[0]);
    print_message("F16 %.3g, Q8_0 %.3g\n", halves, bytes);
    assert_true(halves < 1e-2 && bytes < 1e-1);
}

/* Shifted by all that is there, in several parts, and with YaRN, whose keys are scaled as well: a
 * context of one repeated token looks the same wherever it begins. */
static void test_context_shift_keeps_what_repeats(void **state)
{
    (void)state;
    static const tiny_architecture yarn = {
        .name = "llama", .rope_scaling = "yarn", .rope_factor = 4.0f, .rope_context = 512};
    char path[] = "/tmp/dw-shift-XXXXXX";
    write_model(path, &yarn);
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    fixture.kv_type = DW_KV_F32;
    for (uint32_t i = 0; i < FIXTURE_TOKENS; i++) {
        fixture.tokens[i] = 7;
    }
    dw_context *long_one = model_fixture_context(&fixture, 0);
    dw_context *short_one = model_fixture_context(&fixture, 0);
    model_fixture_forward(&fixture, long_one, 0, 1900, 0);
    assert_int_equal(dw_context_shift(long_one, 100, 500, NULL, NULL), DW_OK);
    model_fixture_forward(&fixture, long_one, 0, 1, 1);
    float *first = malloc(fixture.vocab_count * sizeof *first);
    assert_non_null(first);
    memcpy(first, fixture.logits, fixture.vocab_count * sizeof *first);
    model_fixture_forward(&fixture, short_one, 0, 1400, 0);
    model_fixture_forward(&fixture, short_one, 0, 1, 1);
    double difference = logits_difference(first, fixture.logits, fixture.vocab_count);
    print_message("difference %.3g\n", difference);
    assert_true(difference < 1e-4);
    free(first);
    dw_context_destroy(long_one);
    dw_context_destroy(short_one);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

/* In several parts too: either all is moved or nothing is. */
/* However few records are moved at once: the same bits. */
static void test_context_shift_in_parts(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-shift-XXXXXX";
    model_fixture fixture;
    static const uint32_t numbers[] = {0, 1, 100000}; /* 1024 records, 32, and some */
    float *first = NULL;
    write_model(path, &kinds[0]);
    model_fixture_open(&fixture, path);
    for (uint32_t i = 0; i < FIXTURE_TOKENS; i++) {
        fixture.tokens[i] = (int32_t)((i * i * 31 + i * 17 + 5) % fixture.vocab_count);
    }
    const size_t bytes = fixture.vocab_count * sizeof *first;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        dw_context *context = model_fixture_context(&fixture, 0);
        model_fixture_forward(&fixture, context, 0, 700, 0);
        dw__context_set_moved(numbers[i]);
        assert_int_equal(dw_context_shift(context, 3, 50 + 5 * 32, NULL, NULL), DW_OK);
        dw__context_set_moved(0);
        model_fixture_forward(&fixture, context, 700, 1, 1);
        if (first == NULL) {
            first = malloc(bytes);
            assert_non_null(first);
            memcpy(first, fixture.logits, bytes);
        }
        assert_memory_equal(first, fixture.logits, bytes);
        dw_context_destroy(context);
    }
    free(first);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

static void test_context_shift_survives_no_memory(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-shift-XXXXXX";
    write_model(path, &kinds[0]);
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    for (uint32_t i = 0; i < FIXTURE_TOKENS; i++) {
        fixture.tokens[i] = (int32_t)((i * 31 + 5) % fixture.vocab_count);
    }
    dw_context *context = model_fixture_context(&fixture, 0);
    model_fixture_forward(&fixture, context, 0, 1900, 0);
    dw_status status = DW_E_MEMORY;
    int64_t failed = 0;
    for (; status == DW_E_MEMORY; failed++) {
        dw_error err = {0};
        assert_int_equal(dw_context_length(context), 1900);
        assert_memory_equal(dw_context_tokens(context), fixture.tokens, 1900 * sizeof(int32_t));
        dw_alloc_fail_after(failed);
        status = dw_context_shift(context, 100, 500, NULL, &err);
        dw_alloc_fail_after(-1);
    }
    assert_int_equal(status, DW_OK);
    assert_true(failed > 4); /* two parts, two lists each */
    assert_int_equal(dw_context_length(context), 1400);
    dw_context_destroy(context);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_context_shift_matches_libllama),
        cmocka_unit_test(test_context_shift_keeps_what_repeats),
        cmocka_unit_test(test_context_shift_in_parts),
        cmocka_unit_test(test_context_shift_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
