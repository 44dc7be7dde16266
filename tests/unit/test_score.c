/* Perplexity against the same sum over libllama's logits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/score.h"
#include "model_fixture.h"
#include "support.h"

#define WINDOW 96u
#define WINDOWS 2u

/* Of the tokens that are scored, from the logits of a context. */
static double own_sum(model_fixture *fixture)
{
    double sum = 0;
    for (uint32_t start = 0; start < WINDOW * WINDOWS; start += WINDOW) {
        dw_context *context = model_fixture_context(fixture, WINDOW);
        model_fixture_forward(fixture, context, start, WINDOW, WINDOW / 2);
        for (uint32_t i = 0; i + 1 < WINDOW / 2; i++) {
            sum +=
                dw_score_token(fixture->logits + (size_t)i * fixture->vocab_count,
                               fixture->vocab_count, fixture->tokens[start + WINDOW / 2 + i + 1]);
        }
        dw_context_destroy(context);
    }
    return sum;
}

static void test_score_agrees_with_libllama(void **state)
{
    (void)state;
    model_fixture fixture;
    model_oracle oracle = {0};
    model_fixture_open(&fixture, model_fixture_path());
    oracle_open(&oracle, model_fixture_path(), dw_device_threads(fixture.device));
    char *text = model_fixture_data("alice.txt");
    uint32_t count = model_fixture_tokenize(&fixture, text);
    assert_true(count >= WINDOW * WINDOWS);
    int32_t tokens[WINDOW * WINDOWS];
    memcpy(tokens, fixture.tokens, sizeof tokens);

    dw_error err = {0};
    dw_scorer *scorer = NULL;
    dw_perplexity result;
    assert_int_equal(dw_scorer_create(&scorer, fixture.model, WINDOW, WINDOW, DW_KV_F16, &err),
                     DW_OK);
    if (dw_scorer_perplexity(scorer, tokens, WINDOW * WINDOWS, &result, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(result.windows, WINDOWS);
    assert_int_equal(result.scored, WINDOWS * (WINDOW / 2 - 1));

    double sum = 0;
    for (uint32_t start = 0; start < WINDOW * WINDOWS; start += WINDOW) {
        oracle_forward(&oracle, tokens + start, 0, WINDOW, true);
        for (uint32_t i = WINDOW / 2; i + 1 < WINDOW; i++) {
            sum += dw_score_token(oracle_logits(&oracle, (int32_t)i), fixture.vocab_count,
                                  tokens[start + i + 1]);
        }
    }
    double theirs = exp(sum / (double)result.scored);
    double same = exp(own_sum(&fixture) / (double)result.scored);
    print_message("perplexity %.6f, with our logits %.6f, with libllama's %.6f\n", result.value,
                  same, theirs);
    assert_true(fabs(result.value - same) < same * model_fixture_tolerance(&fixture, 1e-9));
    /* Roundings of single activations, which go one way here and the other way there. */
    assert_true(fabs(result.value - theirs) < theirs * 5e-3);
    assert_int_equal(dw_scorer_perplexity(scorer, tokens, WINDOW - 1, &result, &err), DW_E_ARG);
    dw_scorer_destroy(scorer);
    assert_int_equal(dw_scorer_create(&scorer, fixture.model, 0, 1, DW_KV_F16, &err), DW_E_RANGE);
    assert_int_equal(dw_scorer_create(&scorer, fixture.model, 1u << 30, 1, DW_KV_F16, &err),
                     DW_E_RANGE);
    free(text);
    oracle_close(&oracle);
    model_fixture_close(&fixture);
}

static void test_score_of_one_token(void **state)
{
    (void)state;
    float logits[] = {1000.0f, 1000.0f, -1000.0f};
    assert_true(fabs(dw_score_token(logits, 3, 0) - log(2.0)) < 1e-12);
    assert_true(fabs(dw_score_token(logits, 3, 2) - 2000.0 - log(2.0)) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_score_agrees_with_libllama),
        cmocka_unit_test(test_score_of_one_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
