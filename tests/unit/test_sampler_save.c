/* Samplers saved, loaded and forked in mid-stream choose what the original goes on to choose. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model_fixture.h"
#include "sampling/sampler.h"
#include "support.h"

#define STEPS 40
#define FURTHER 60

typedef struct variant {
    const char *name;
    dw_sampler_params params;
    bool biased;
    bool breakers;
    const char *grammar;
} variant;

static const variant variants[] = {
    {.name = "greedy"},
    {.name = "greedy, biased", .biased = true},
    {.name = "temperature", .params = {.temperature = 0.8f, .seed = UINT64_MAX}},
    {.name = "penalties",
     .params = {.temperature = 1.0f,
                .repeat_penalty = 1.3f,
                .frequency_penalty = 0.2f,
                .presence_penalty = -0.1f,
                .penalty_tokens = 20,
                .seed = 3}},
    {.name = "cuts",
     .params = {.temperature = 0.7f,
                .top_k = 50,
                .top_p = 0.9f,
                .min_p = 0.01f,
                .typical_p = 0.95f,
                .top_n_sigma = 3.0f,
                .temperature_range = 0.3f,
                .seed = 4}},
    {.name = "xtc",
     .params = {.temperature = 1.0f, .xtc_probability = 0.5f, .xtc_threshold = 0.05f, .seed = 5}},
    {.name = "dry",
     .params =
         {.temperature = 0.5f, .top_k = 3, .dry_multiplier = 1.5f, .dry_tokens = 30, .seed = 6},
     .breakers = true},
    {.name = "mirostat", .params = {.temperature = 1.0f, .mirostat_tau = 5.0f, .seed = 7}},
    {.name = "grammar", .params = {.temperature = 1.0f, .seed = 8}, .grammar = "root ::= [a-z ]+"},
};

/* Logits that favour few tokens, so that repetitions come. */
static void make_logits(float *logits, uint32_t count, uint32_t step)
{
    uint64_t state = step * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (uint32_t i = 0; i < count; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        logits[i] = (float)(state >> 40) / (float)(1 << 22) + (i < 400 ? 6.0f : 0.0f);
    }
}

static int32_t choose(dw_sampler *sampler, const float *logits)
{
    int32_t token = -1;
    dw_error error = {.message = ""};
    dw_status status = dw_sampler_choose(sampler, logits, &token, &error);
    if (status == DW_OK) {
        status = dw_sampler_remember(sampler, token, &error);
    }
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return token;
}

static dw_sampler *make(const variant *of, const dw_vocab *vocab)
{
    static const char *const breakers[] = {"\n", "e"};
    const dw_logit_bias biases[] = {{5, -INFINITY}, {17, 3.25f}};
    dw_sampler *sampler = NULL;
    dw_sampler_params params = of->params;
    params.struct_bytes = sizeof params;
    assert_int_equal(dw_sampler_create(&sampler, dw_vocab_count(vocab), &params, NULL), DW_OK);
    if (of->biased) {
        assert_int_equal(dw_sampler_set_biases(sampler, biases, 2, NULL), DW_OK);
    }
    if (of->breakers) {
        assert_int_equal(dw_sampler_set_breakers(sampler, vocab, breakers, 2, NULL), DW_OK);
    }
    if (of->grammar != NULL) {
        assert_int_equal(
            dw_sampler_set_grammar(sampler, vocab, of->grammar, strlen(of->grammar), NULL), DW_OK);
    }
    return sampler;
}

static dw_sampler *through_text(const dw_sampler *sampler, const dw_vocab *vocab)
{
    dw_sampler *loaded = NULL;
    dw_error error = {.message = ""};
    json_t *saved = dw_sampler_save(sampler);
    char *text = json_dumps(saved, JSON_COMPACT);
    json_t *again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    dw_status status = dw_sampler_load(&loaded, vocab, again, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    /* Every member matters: without it, or with another type, it is refused. */
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(saved, next, key, value)
    {
        dw_sampler *none = NULL;
        json_t *less = json_copy(saved);
        (void)value;
        assert_int_equal(json_object_del(less, key), 0);
        assert_int_equal(dw_sampler_load(&none, vocab, less, &error), DW_E_FORMAT);
        assert_int_equal(json_object_set_new(less, key, json_true()), 0);
        assert_int_equal(dw_sampler_load(&none, vocab, less, &error), DW_E_FORMAT);
        assert_null(none);
        json_decref(less);
    }
    json_decref(saved);
    json_decref(again);
    free(text);
    return loaded;
}

static void test_sampler_goes_on_after_save_and_fork(void **state)
{
    (void)state;
    static model_fixture fixture;
    dw_error error;
    model_fixture_open(&fixture, model_fixture_path());
    const dw_vocab *vocab = dw_model_vocab(fixture.model);
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        dw_sampler *fork = NULL;
        dw_sampler *sampler = make(&variants[v], vocab);
        for (uint32_t i = 0; i < STEPS; i++) {
            make_logits(fixture.logits, fixture.vocab_count, i);
            (void)choose(sampler, fixture.logits);
        }
        dw_sampler *loaded = through_text(sampler, vocab);
        assert_int_equal(dw_sampler_fork(&fork, sampler, vocab, &error), DW_OK);
        for (uint32_t i = STEPS; i < STEPS + FURTHER; i++) {
            make_logits(fixture.logits, fixture.vocab_count, i);
            int32_t token = choose(sampler, fixture.logits);
            if (choose(loaded, fixture.logits) != token || choose(fork, fixture.logits) != token) {
                fail_msg("%s: another token at step %u", variants[v].name, i);
            }
        }
        dw_sampler_destroy(fork);
        dw_sampler_destroy(loaded);
        dw_sampler_destroy(sampler);
    }
    model_fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler_goes_on_after_save_and_fork),
    };
    return cmocka_run_group_tests_name("sampler_save", tests, NULL, NULL);
}
