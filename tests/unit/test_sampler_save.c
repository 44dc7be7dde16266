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

/* ---- grammars that wait ------------------------------------------------------------------- */

static const char call_grammar[] = "root ::= \"<call>{\" [a-z]{3} \"}<|im_start|>\"";

static dw_status set_lazy(dw_sampler *sampler, const dw_vocab *vocab)
{
    static const dw_trigger list[] = {
        {DW_TRIGGER_PATTERN, "^never(?!x)", 11},
        {DW_TRIGGER_WORD, "<call>", 6},
    };
    static const dw_trigger_options triggers = {.list = list,
                                                .count = 2,
                                                .pause = "<think>",
                                                .pause_bytes = 7,
                                                .resume = "</think>",
                                                .resume_bytes = 8};
    const dw_tool_grammar grammar = {
        .text = call_grammar, .bytes = strlen(call_grammar), .triggers = &triggers};
    return dw_sampler_set_tool_grammar(sampler, vocab, &grammar, NULL);
}

/* Remember text's tokens, one character at a time, so that words are cut everywhere; each time the
 * sampler is replaced by what it saves, or by a fork. */
static dw_sampler *say(dw_sampler *sampler, const dw_vocab *vocab, const char *text)
{
    for (size_t i = 0; text[i] != '\0'; i++) {
        int32_t token = dw_vocab_find(vocab, text + i, 1);
        dw_error error = {.message = ""};
        dw_sampler *next;
        assert_true(token >= 0);
        dw_status status = dw_sampler_remember(sampler, token, &error);
        assert_string_equal(error.message, "");
        assert_int_equal(status, DW_OK);
        if (i % 2 == 0) {
            next = through_text(sampler, vocab);
        } else {
            assert_int_equal(dw_sampler_fork(&next, sampler, vocab, &error), DW_OK);
        }
        assert_int_equal(dw_sampler_awaits_trigger(next), dw_sampler_awaits_trigger(sampler));
        dw_sampler_destroy(sampler);
        sampler = next;
    }
    return sampler;
}

static void expect_next(dw_sampler *sampler, const dw_vocab *vocab, float *logits, const char *yes,
                        const char *no)
{
    memset(logits, 0, dw_vocab_count(vocab) * sizeof *logits);
    assert_int_equal(dw_sampler_mask(sampler, logits, NULL), DW_OK);
    int32_t allowed = dw_vocab_find(vocab, yes, strlen(yes));
    int32_t refused = dw_vocab_find(vocab, no, strlen(no));
    assert_true(allowed >= 0 && refused >= 0);
    if (logits[allowed] != 0.0f || logits[refused] == 0.0f) {
        fail_msg("'%s': %f, '%s': %f", yes, (double)logits[allowed], no, (double)logits[refused]);
    }
}

static void test_sampler_waits_for_a_trigger_through_save_and_fork(void **state)
{
    (void)state;
    static model_fixture fixture;
    dw_sampler *sampler;
    model_fixture_open(&fixture, model_fixture_path());
    const dw_vocab *vocab = dw_model_vocab(fixture.model);
    float *logits = fixture.logits;
    assert_int_equal(dw_sampler_create(&sampler, dw_vocab_count(vocab), NULL, NULL), DW_OK);
    assert_int_equal(set_lazy(sampler, vocab), DW_OK);
    sampler = say(sampler, vocab, "hm <think>so <call> is</think> a <cal");
    assert_true(dw_sampler_awaits_trigger(sampler));
    /* What would begin the grammar with what it does not allow is refused already. */
    int32_t wrong = dw_vocab_find(vocab, ">>", 2);
    assert_true(wrong >= 0);
    assert_int_equal(dw_sampler_remember(sampler, wrong, NULL), DW_OK);
    sampler = say(sampler, vocab, " <call");
    expect_next(sampler, vocab, logits, ">", ">>");
    expect_next(sampler, vocab, logits, "e", ">>");
    assert_int_equal(dw_sampler_remember(sampler, wrong, NULL), DW_E_ARG);
    sampler = say(sampler, vocab, ">");
    assert_false(dw_sampler_awaits_trigger(sampler));
    expect_next(sampler, vocab, logits, "{", "a");
    sampler = say(sampler, vocab, "{ab");
    expect_next(sampler, vocab, logits, "c", "}");
    sampler = say(sampler, vocab, "c}");
    /* A control token by its text, or spelled; then the end. */
    expect_next(sampler, vocab, logits, "<|im_start|>", "a");
    expect_next(sampler, vocab, logits, "<", "<|im_end|>");
    int32_t marker = dw_vocab_find(vocab, "<|im_start|>", 12);
    assert_int_equal(dw_sampler_remember(sampler, marker, NULL), DW_OK);
    expect_next(sampler, vocab, logits, "<|im_end|>", "<");
    dw_sampler_destroy(sampler);
    model_fixture_close(&fixture);
}

/* A grammar that begins at once, behind what the template has written already. */
static void test_sampler_begins_a_tool_grammar_behind_a_prefix(void **state)
{
    (void)state;
    static model_fixture fixture;
    dw_sampler *sampler;
    dw_error error;
    model_fixture_open(&fixture, model_fixture_path());
    const dw_vocab *vocab = dw_model_vocab(fixture.model);
    dw_tool_grammar grammar = {.text = call_grammar,
                               .bytes = strlen(call_grammar),
                               .prefix = "<call>{a",
                               .prefix_bytes = 8};
    assert_int_equal(dw_sampler_create(&sampler, dw_vocab_count(vocab), NULL, NULL), DW_OK);
    assert_int_equal(dw_sampler_set_tool_grammar(sampler, vocab, &grammar, NULL), DW_OK);
    assert_false(dw_sampler_awaits_trigger(sampler));
    sampler = say(sampler, vocab, "bc");
    expect_next(sampler, vocab, fixture.logits, "}", "d");
    grammar.prefix_bytes = 5;
    grammar.prefix = "<cat>";
    assert_int_equal(dw_sampler_set_tool_grammar(sampler, vocab, &grammar, &error), DW_E_ARG);
    assert_non_null(strstr(error.message, "byte 4 of what it begins with, '<cat>'"));
    expect_next(sampler, vocab, fixture.logits, "}", "d");
    dw_sampler_destroy(sampler);
    model_fixture_close(&fixture);
}

/* A grammar as it was saved before there were triggers. */
static void test_sampler_loads_grammars_of_older_files(void **state)
{
    (void)state;
    static model_fixture fixture;
    dw_sampler *sampler;
    model_fixture_open(&fixture, model_fixture_path());
    const dw_vocab *vocab = dw_model_vocab(fixture.model);
    assert_int_equal(dw_sampler_create(&sampler, dw_vocab_count(vocab), NULL, NULL), DW_OK);
    json_t *saved = dw_sampler_save(sampler);
    dw_sampler_destroy(sampler);
    json_t *grammar = json_pack("{s:s, s:[i]}", "text", "726f6f74203a3a3d2022616222", "tokens",
                                (int)dw_vocab_find(vocab, "a", 1));
    assert_int_equal(json_object_set_new(saved, "grammar", grammar), 0);
    assert_int_equal(dw_sampler_load(&sampler, vocab, saved, NULL), DW_OK);
    expect_next(sampler, vocab, fixture.logits, "b", "a");
    dw_sampler_destroy(sampler);
    json_decref(saved);
    model_fixture_close(&fixture);
}

static void test_sampler_refuses_damaged_waiting(void **state)
{
    (void)state;
    static const char *const keys[] = {"text", "start", "triggers", "waiting"};
    static const char *const inner[] = {"text", "whole", "paused", "marker_bytes"};
    static model_fixture fixture;
    dw_sampler *sampler;
    dw_sampler *none;
    model_fixture_open(&fixture, model_fixture_path());
    const dw_vocab *vocab = dw_model_vocab(fixture.model);
    assert_int_equal(dw_sampler_create(&sampler, dw_vocab_count(vocab), NULL, NULL), DW_OK);
    assert_int_equal(set_lazy(sampler, vocab), DW_OK);
    for (size_t i = 0; i < 8; i++) {
        json_t *saved = dw_sampler_save(sampler);
        json_t *tool = json_object_get(json_object_get(saved, "grammar"), "tool");
        json_t *of = i < 4 ? tool : json_object_get(tool, "waiting");
        assert_int_equal(json_object_set_new(of, i < 4 ? keys[i] : inner[i - 4], json_real(1.5)),
                         0);
        assert_int_equal(dw_sampler_load(&none, vocab, saved, NULL), DW_E_FORMAT);
        assert_null(none);
        json_decref(saved);
    }
    dw_sampler_destroy(sampler);
    model_fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler_goes_on_after_save_and_fork),
        cmocka_unit_test(test_sampler_waits_for_a_trigger_through_save_and_fork),
        cmocka_unit_test(test_sampler_begins_a_tool_grammar_behind_a_prefix),
        cmocka_unit_test(test_sampler_loads_grammars_of_older_files),
        cmocka_unit_test(test_sampler_refuses_damaged_waiting),
    };
    return cmocka_run_group_tests_name("sampler_save", tests, NULL, NULL);
}
