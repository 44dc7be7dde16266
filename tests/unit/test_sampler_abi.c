/* The sampler functions as a guest reaches them, and steps that end with a token. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi_fixture.h"
#include "support.h"
#include "tiny_model.h"

/* ---- samplers ------------------------------------------------------------------------------- */

static void test_sampler_abi_samples(void **state)
{
    const uint32_t m = U(abi.model_handle);
    dw_sampler_params *params = (dw_sampler_params *)(void *)(abi.memory + AT_PARAMS);
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    (void)state;
    *params = (dw_sampler_params){.temperature = 0.8F, .top_k = 5, .seed = 1};
    int32_t sampler = CALL("sampler_create", m, AT_PARAMS);
    int32_t plain = CALL("sampler_create", m, 0);
    assert_true(sampler > 0 && plain > 0);
    assert_int_equal(CALL("forward", U(abi.context_handle), AT_TOKENS, 4, AT_LOGITS, 1), 4);
    assert_int_equal(CALL("sample", U(plain), AT_LOGITS), CALL("greedy", m, AT_LOGITS));
    assert_in_range(CALL("sample", U(sampler), AT_LOGITS), 0, abi.vocab_count - 1);
    dw_instance_get_stats(abi.instance, &stats);
    assert_int_equal(stats.generated_tokens, 3);
    assert_int_equal(CALL("sample", U(sampler), AT_LOGITS + 2), DW_E_ALIGN);
    assert_int_equal(CALL("sample", U(sampler), MEMORY_BYTES - 4), DW_E_RANGE);
    assert_int_equal(CALL("sample", m, AT_LOGITS), DW_E_HANDLE);
    assert_int_equal(CALL("greedy", m, MEMORY_BYTES - 4), DW_E_RANGE);
    assert_int_equal(CALL("sampler_accept", U(sampler), 5), DW_OK);
    assert_int_equal(CALL("sampler_accept", U(sampler), abi.vocab_count), DW_E_RANGE);
    abi_logits()[7] = NAN;
    assert_int_equal(CALL("sample", U(sampler), AT_LOGITS), DW_E_NUMERIC);
    assert_int_equal(CALL("greedy", m, AT_LOGITS), DW_E_NUMERIC);
    abi_expect_message("NaN");
    assert_int_equal(CALL("sampler_close", U(sampler)), DW_OK);
    assert_int_equal(CALL("sample", U(sampler), AT_LOGITS), DW_E_HANDLE);
}

static void test_sampler_abi_refuses(void **state)
{
    const uint32_t m = U(abi.model_handle);
    dw_sampler_params *params = (dw_sampler_params *)(void *)(abi.memory + AT_PARAMS);
    (void)state;
    *params = (dw_sampler_params){.temperature = NAN};
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS), DW_E_NUMERIC);
    abi_expect_message("temperature");
    *params = (dw_sampler_params){.temperature = 1.0F, .top_p = 2.0F};
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS), DW_E_RANGE);
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS + 4), DW_E_ALIGN);
    assert_int_equal(CALL("sampler_create", m, MEMORY_BYTES - 8), DW_E_RANGE);
    assert_int_equal(CALL("sampler_create", 0, AT_PARAMS), DW_E_HANDLE);
}

static void test_sampler_abi_extensions(void **state)
{
    const uint32_t m = U(abi.model_handle);
    dw_sampler_params *params = (dw_sampler_params *)(void *)(abi.memory + AT_PARAMS);
    dw_logit_bias *biases = (dw_logit_bias *)(void *)(abi.memory + AT_INFO);
    uint32_t *words = (uint32_t *)(void *)(abi.memory + AT_WORDS);
    (void)state;
    /* Fields behind the first 48 bytes are read where struct_bytes covers them. */
    *params = (dw_sampler_params){.temperature = 1.0F, .typical_p = 2.0F};
    int32_t sampler = CALL("sampler_create", m, AT_PARAMS);
    assert_true(sampler > 0);
    params->struct_bytes = sizeof *params;
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS), DW_E_RANGE);
    abi_expect_message("typical_p");
    params->struct_bytes = UINT32_MAX;
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS), DW_E_RANGE);
    *params = (dw_sampler_params){
        .temperature = 1.0F, .dry_multiplier = 1.0F, .struct_bytes = sizeof *params};
    int32_t dry = CALL("sampler_create", m, AT_PARAMS);
    assert_true(dry > 0);
    memcpy(abi.memory + AT_TEXT, ":", 2);
    words[0] = AT_TEXT;
    words[1] = MEMORY_BYTES;
    assert_int_equal(CALL("sampler_dry_breakers", U(dry), m, AT_WORDS, 1), DW_OK);
    assert_int_equal(CALL("sampler_dry_breakers", U(dry), m, AT_WORDS, 2), DW_E_RANGE);
    assert_int_equal(CALL("sampler_dry_breakers", U(dry), m, AT_WORDS, 17), DW_E_LIMIT);
    abi.memory[AT_TEXT] = '\0';
    assert_int_equal(CALL("sampler_dry_breakers", U(dry), m, AT_WORDS, 1), DW_E_RANGE);
    for (uint32_t i = 0; i < abi.vocab_count; i++) {
        abi_logits()[i] = 0.0F;
    }
    biases[0] = (dw_logit_bias){7, 100.0F};
    assert_int_equal(CALL("sampler_logit_bias", U(sampler), AT_INFO, 1), DW_OK);
    assert_int_equal(CALL("sample", U(sampler), AT_LOGITS), 7);
    assert_int_equal(CALL("sampler_logit_bias", U(sampler), AT_INFO + 1, 1), DW_E_ALIGN);
    assert_int_equal(CALL("sampler_logit_bias", U(sampler), AT_INFO, UINT32_MAX), DW_E_RANGE);
    assert_int_equal(CALL("sampler_logit_bias", m, AT_INFO, 1), DW_E_HANDLE);
    static const char grammar[] = "root ::= <[9]> | <[11]>";
    uint32_t bytes = sizeof grammar - 1;
    memcpy(abi.memory + AT_TEXT, grammar, bytes);
    assert_int_equal(CALL("sampler_grammar", U(sampler), m, AT_TEXT, bytes), DW_OK);
    assert_int_equal(CALL("sampler_grammar", U(sampler), m, AT_TEXT, 5), DW_E_ARG);
    abi_expect_message("line 1, column 6");
    assert_int_equal(CALL("sampler_grammar", U(sampler), m, MEMORY_BYTES, 1), DW_E_RANGE);
    assert_int_equal(CALL("sampler_grammar", U(sampler), U(sampler), AT_TEXT, 1), DW_E_HANDLE);
    abi_logits()[11] = 1.0F;
    assert_int_equal(CALL("sampler_mask", U(sampler), AT_LOGITS + 1), DW_E_ALIGN);
    assert_int_equal(CALL("sampler_mask", U(sampler), AT_LOGITS), DW_OK);
    assert_true(abi_logits()[9] == 0.0F && abi_logits()[11] == 1.0F && abi_logits()[7] < -1e30F);
    assert_int_equal(CALL("sampler_accept", U(sampler), 7), DW_E_ARG);
    assert_int_equal(CALL("sample", U(dry), AT_LOGITS), 11);
    assert_true(CALL("sample", U(sampler), AT_LOGITS) % 2 == 1);
    static const char schema[] = "{\"type\":\"null\"}";
    memcpy(abi.memory + AT_TEXT, schema, sizeof schema - 1);
    assert_int_equal(CALL("sampler_json_schema", U(sampler), m, AT_TEXT, sizeof schema - 1), DW_OK);
    assert_int_equal(CALL("sampler_json_schema", U(sampler), m, AT_TEXT, 4), DW_E_FORMAT);
    abi_expect_message("schema: line 1");
    assert_int_equal(CALL("sampler_grammar", U(sampler), m, 0, 0), DW_OK);
    assert_int_equal(CALL("sampler_accept", U(sampler), 7), DW_OK);
}

/* ---- steps that end with a token ------------------------------------------------------------ */

#define CHOSEN_TOKENS 40

typedef struct sampling {
    const char *name;
    dw_sampler_params params;
    bool biased;
    const char *grammar;
} sampling;

static const sampling samplings[] = {
    {.name = "greedy"},
    {.name = "greedy, biased", .biased = true},
    {.name = "temperature", .params = {.temperature = 1.0F, .seed = 3}},
    {.name = "top-k, top-p",
     .params = {.temperature = 0.8F, .top_k = 40, .top_p = 0.95F, .min_p = 0.05F, .seed = 4}},
    {.name = "penalties",
     .params = {.temperature = 0.9F,
                .top_k = 20,
                .repeat_penalty = 1.3F,
                .frequency_penalty = 0.2F,
                .presence_penalty = 0.1F,
                .penalty_tokens = 16,
                .seed = 5}},
    {.name = "mirostat", .params = {.temperature = 1.0F, .mirostat_tau = 4.0F, .seed = 6}},
    {.name = "dry, xtc",
     .params = {.temperature = 1.0F,
                .top_k = 30,
                .dry_multiplier = 1.0F,
                .xtc_probability = 0.5F,
                .xtc_threshold = 0.05F,
                .seed = 7}},
    {.name = "grammar",
     .params = {.temperature = 1.0F, .top_k = 50, .seed = 8},
     .grammar = "root ::= (<[9]> <[11]> | <[40]> <[41]>?)*"},
};

/* A sampler that knows the prompt, as a guest makes one. */
static int32_t make_sampler(const sampling *how, uint32_t prompt_count)
{
    const uint32_t m = U(abi.model_handle);
    dw_sampler_params *params = (dw_sampler_params *)(void *)(abi.memory + AT_PARAMS);
    *params = how->params;
    params->struct_bytes = sizeof *params;
    int32_t sampler = CALL("sampler_create", m, AT_PARAMS);
    assert_true(sampler > 0);
    if (how->biased) {
        const dw_logit_bias biases[] = {{7, -INFINITY}, {8, -INFINITY}, {21, 2.5F}};
        memcpy(abi.memory + AT_INFO, biases, sizeof biases);
        assert_int_equal(CALL("sampler_logit_bias", U(sampler), AT_INFO, 3), DW_OK);
    }
    for (uint32_t i = 0; i < prompt_count; i++) {
        assert_int_equal(CALL("sampler_accept", U(sampler), U(abi_tokens()[i])), DW_OK);
    }
    if (how->grammar != NULL) {
        uint32_t bytes = (uint32_t)strlen(how->grammar);
        memcpy(abi.memory + AT_TEXT, how->grammar, bytes);
        assert_int_equal(CALL("sampler_grammar", U(sampler), m, AT_TEXT, bytes), DW_OK);
    }
    return sampler;
}

/* What forward and sample choose, and what forward_sample does: tokens and memory alike. */
static void test_sampler_abi_forward_sample(void **state)
{
    int32_t expected[CHOSEN_TOKENS];
    const uint32_t c = U(abi.context_handle);
    const uint32_t next = AT_TOKENS + 1024;
    int32_t *const token = (int32_t *)(void *)(abi.memory + next);
    (void)state;
    for (size_t i = 0; i < sizeof samplings / sizeof samplings[0]; i++) {
        uint32_t other = U(make_sampler(&samplings[i], 6));
        assert_int_equal(CALL("forward", c, AT_TOKENS, 6, AT_LOGITS, 1), 6);
        for (int k = 0; k < CHOSEN_TOKENS; k++) {
            expected[k] = *token = CALL("sample", other, AT_LOGITS);
            assert_int_equal(CALL("forward", c, next, 1, AT_LOGITS, 1), 7 + k);
        }
        assert_int_equal(CALL("context_trim", c, 0), DW_OK);
        uint32_t sampler = U(make_sampler(&samplings[i], 6));
        memset(abi_logits(), 0, abi.vocab_count * sizeof(float));
        for (int k = 0; k < CHOSEN_TOKENS; k++) {
            *token = k == 0 ? CALL("forward_sample", c, AT_TOKENS, 6, sampler)
                            : CALL("forward_sample", c, next, 1, sampler);
            if (*token != expected[k]) {
                fail_msg("%s: token %d is %d, not %d", samplings[i].name, k, *token, expected[k]);
            }
            assert_int_equal(CALL("context_length", c), 6 + k);
        }
        /* The logits stayed where they were, and the samplers go on alike. */
        assert_true(abi_logits()[0] == 0.0F && abi_logits()[abi.vocab_count - 1] == 0.0F);
        assert_int_equal(CALL("forward", c, next, 1, AT_LOGITS, 1), 6 + CHOSEN_TOKENS);
        assert_int_equal(CALL("sample", other, AT_LOGITS), CALL("sample", sampler, AT_LOGITS));
        assert_int_equal(CALL("context_trim", c, 0), DW_OK);
        assert_int_equal(CALL("sampler_close", other), DW_OK);
        assert_int_equal(CALL("sampler_close", sampler), DW_OK);
    }
    assert_int_equal(CALL("host_copied_bytes", 0), 0);
}

typedef struct bad_step {
    uint32_t args[5];
    int32_t status;
} bad_step;

static void test_sampler_abi_forward_sample_refuses(void **state)
{
    const uint32_t c = U(abi.context_handle);
    const uint32_t m = U(abi.model_handle);
    const uint32_t s = U(CALL("sampler_create", m, 0));
    const uint32_t closed = U(CALL("sampler_create", m, 0));
    const uint32_t gone = U(CALL("context_create", m, 8));
    const bad_step steps[] = {
        {{0, AT_TOKENS, 4, s}, DW_E_HANDLE},
        {{s, AT_TOKENS, 4, s}, DW_E_HANDLE},
        {{gone, AT_TOKENS, 4, s}, DW_E_HANDLE},
        {{c, AT_TOKENS, 4, 0}, DW_E_HANDLE},
        {{c, AT_TOKENS, 4, c}, DW_E_HANDLE},
        {{c, AT_TOKENS, 4, closed}, DW_E_HANDLE},
        {{c, AT_TOKENS, 0, s}, DW_E_ARG},
        {{c, AT_TOKENS, UINT32_MAX, s}, DW_E_RANGE},
        {{c, MEMORY_BYTES - 8, 4, s}, DW_E_RANGE},
        {{c, UINT32_MAX - 3, 1, s}, DW_E_RANGE},
        {{c, AT_TOKENS + 2, 4, s}, DW_E_ALIGN},
        {{c, AT_TOKENS, CONTEXT_TOKENS_MAX - 2, s}, DW_E_LIMIT},
    };
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    (void)state;
    assert_int_equal(CALL("sampler_close", closed), DW_OK);
    assert_int_equal(CALL("context_close", gone), DW_OK);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 3, 0, 0), 3);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int32_t status = abi_call("forward_sample", steps[i].args, 4);
        if (status != steps[i].status) {
            fail_msg("step %zu: %d, not %d", i, status, steps[i].status);
        }
        assert_int_equal(CALL("context_length", c), 3);
    }
    abi_tokens()[2] = (int32_t)abi.vocab_count;
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 4, s), DW_E_RANGE);
    abi_tokens()[2] = -1;
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 4, s), DW_E_RANGE);
    abi.input_text = "next";
    dw_instance_cancel(abi.instance);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 1, s), DW_E_CANCELLED);
    assert_int_equal(CALL("context_length", c), 3);
    dw_instance_get_stats(abi.instance, &stats);
    assert_int_equal(stats.generated_tokens, 0);
    assert_int_equal(CALL("input", AT_TEXT, 64), 4);
    abi_tokens()[2] = 22;
    assert_true(CALL("forward_sample", c, AT_TOKENS, 3, s) >= 0); /* not decoded, but chosen */
    dw_instance_get_stats(abi.instance, &stats);
    assert_int_equal(stats.generated_tokens, 1);
}

/* Where the sampler finds nothing to choose, the context is as before the step, and what it goes
 * on to is what it would have gone on to. */
static void test_sampler_abi_forward_sample_without_a_choice(void **state)
{
    const uint32_t c = U(abi.context_handle);
    const uint32_t m = U(abi.model_handle);
    static const char grammar[] = "root ::= <[9]>";
    const uint32_t s = U(CALL("sampler_create", m, 0));
    const uint32_t plain = U(CALL("sampler_create", m, 0));
    dw_logit_bias *biases = (dw_logit_bias *)(void *)(abi.memory + AT_INFO);
    (void)state;
    int32_t first = CALL("forward_sample", c, AT_TOKENS, 5, plain);
    int32_t second = CALL("forward_sample", c, AT_TOKENS, 3, plain);
    assert_int_equal(CALL("context_trim", c, 0), DW_OK);
    memcpy(abi.memory + AT_TEXT, grammar, sizeof grammar - 1);
    assert_int_equal(CALL("sampler_grammar", s, m, AT_TEXT, sizeof grammar - 1), DW_OK);
    biases[0] = (dw_logit_bias){9, -INFINITY};
    assert_int_equal(CALL("sampler_logit_bias", s, AT_INFO, 1), DW_OK);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 5, s), DW_E_NUMERIC);
    abi_expect_message("logits");
    assert_int_equal(CALL("context_length", c), 0);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 5, plain), first);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 3, s), DW_E_NUMERIC);
    assert_int_equal(CALL("context_length", c), 5);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 3, plain), second);
}

/* A guest with two models, of which `other` is a second one. */
static dw_instance *instance_of_two(dw_model **other, const tiny_options *options)
{
    char path[] = "/tmp/dw-abi-XXXXXX";
    dw_error err;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_model_write(path, options);
    if (dw_model_open(other, abi.engine, path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    unlink(path);
    dw_model *models[] = {abi.model, *other};
    dw_instance_options with = {.struct_bytes = sizeof with, .models = models, .model_count = 2};
    dw_instance *made = NULL;
    if (dw_instance_create(&made, abi.module, &with, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return made;
}

static uint32_t open_model(const dw_model *which)
{
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(which, &info);
    size_t bytes = strlen(info.name);
    memcpy(abi.memory + AT_TEXT, info.name, bytes);
    return U(CALL("model_open", AT_TEXT, U(bytes)));
}

/* A sampler of another vocabulary is refused, one of a model that has as many tokens is not; and a
 * model that gives NaN leaves the context as it was, which is empty. */
static void test_sampler_abi_forward_sample_of_other_models(void **state)
{
    dw_instance *own = abi.instance;
    (void)state;
    for (int i = 0; i < 2; i++) {
        tiny_options options = tiny_defaults();
        dw_model *other = NULL;
        options.vocab_count += i == 0 ? 32 : 0;
        options.nan_weights = i == 1;
        options.name = "other";
        abi.instance = instance_of_two(&other, &options);
        abi.memory = dw_instance_memory(abi.instance);
        abi_tokens()[0] = 20;
        abi_tokens()[1] = 21;
        uint32_t first = open_model(abi.model);
        uint32_t second = open_model(other);
        uint32_t c = U(CALL("context_create", first, 16));
        uint32_t strange = U(CALL("context_create", second, 16));
        uint32_t s = U(CALL("sampler_create", second, 0));
        int32_t token = CALL("forward_sample", c, AT_TOKENS, 2, s);
        assert_true(i == 0 ? token == DW_E_ARG : token >= 0);
        assert_int_equal(CALL("context_length", c), i == 0 ? 0 : 2);
        if (i == 0) {
            abi_expect_message("352 tokens");
        }
        token = CALL("forward_sample", strange, AT_TOKENS, 2, s);
        assert_true(i == 0 ? token >= 0 : token == DW_E_NUMERIC);
        assert_int_equal(CALL("context_length", strange), i == 0 ? 2 : 0);
        dw_instance_destroy(abi.instance);
        dw_model_unref(other);
    }
    abi.instance = own;
    abi.memory = dw_instance_memory(abi.instance);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, abi_set_up, abi_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sampler_abi_samples),
        TEST(test_sampler_abi_refuses),
        TEST(test_sampler_abi_extensions),
        TEST(test_sampler_abi_forward_sample),
        TEST(test_sampler_abi_forward_sample_refuses),
        TEST(test_sampler_abi_forward_sample_without_a_choice),
        TEST(test_sampler_abi_forward_sample_of_other_models),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, abi_fixture_open, abi_fixture_close);
}
