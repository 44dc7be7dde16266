/* Sampling: the same seed the same tokens, the right distribution, what each filter does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/sampler.h"

#define DRAWS 20000

static dw_sampler *make(uint32_t vocab_count, const dw_sampler_params *params)
{
    dw_sampler *sampler = NULL;
    dw_error err;
    if (dw_sampler_create(&sampler, vocab_count, params, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return sampler;
}

static int32_t choose(dw_sampler *sampler, const float *logits)
{
    int32_t token = -1;
    dw_error err;
    if (dw_sampler_choose(sampler, logits, &token, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return token;
}

static void count_draws(const dw_sampler_params *params, const float *logits, uint32_t count,
                        uint32_t *drawn)
{
    dw_sampler *sampler = make(count, params);
    memset(drawn, 0, count * sizeof *drawn);
    for (int i = 0; i < DRAWS; i++) {
        int32_t token = choose(sampler, logits);
        assert_in_range(token, 0, count - 1);
        drawn[token]++;
    }
    dw_sampler_destroy(sampler);
}

static void test_sampler_same_seed_same_tokens(void **state)
{
    float logits[1000];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        logits[i] = sinf((float)i);
    }
    dw_sampler_params params = {.temperature = 1.0F, .seed = 42};
    dw_sampler *a = make(1000, &params);
    dw_sampler *b = make(1000, &params);
    params.seed = 43;
    dw_sampler *c = make(1000, &params);
    int differ = 0;
    for (int i = 0; i < 200; i++) {
        int32_t token = choose(a, logits);
        assert_int_equal(choose(b, logits), token);
        differ += choose(c, logits) != token;
    }
    assert_true(differ > 150);
    dw_sampler_destroy(a);
    dw_sampler_destroy(b);
    dw_sampler_destroy(c);
}

/* Chi-square with 7 degrees of freedom: 24.3 is exceeded once in a thousand. The seed is fixed. */
static void test_sampler_distribution(void **state)
{
    static const float weights[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    float logits[8];
    uint32_t drawn[8];
    (void)state;
    for (int temperature = 1; temperature <= 2; temperature++) {
        double total = 0.0;
        double chi_square = 0.0;
        for (int i = 0; i < 8; i++) {
            logits[i] = logf(weights[i]) + 3.0F;
            total += pow((double)weights[i], 1.0 / temperature);
        }
        dw_sampler_params params = {.temperature = (float)temperature, .seed = 7};
        count_draws(&params, logits, 8, drawn);
        for (int i = 0; i < 8; i++) {
            double expected = pow((double)weights[i], 1.0 / temperature) / total * DRAWS;
            chi_square += (drawn[i] - expected) * (drawn[i] - expected) / expected;
        }
        assert_true(chi_square < 24.3);
    }
}

/* Probabilities 0.4, 0.3, 0.2, 0.06, 0.04 for tokens 3, 1, 4, 0, 2. */
static const float five[5] = {0.06F, 0.3F, 0.04F, 0.4F, 0.2F};

static void five_logits(float *logits)
{
    for (int i = 0; i < 5; i++) {
        logits[i] = logf(five[i]);
    }
}

static void expect_support(const dw_sampler_params *params, const bool *wanted)
{
    float logits[5];
    uint32_t drawn[5];
    five_logits(logits);
    count_draws(params, logits, 5, drawn);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(drawn[i] > 0, wanted[i]);
    }
}

static void test_sampler_filters(void **state)
{
    (void)state;
    expect_support(&(dw_sampler_params){.temperature = 1.0F},
                   (bool[]){true, true, true, true, true});
    expect_support(&(dw_sampler_params){.temperature = 1.0F, .top_k = 2},
                   (bool[]){false, true, false, true, false});
    expect_support(&(dw_sampler_params){.temperature = 1.0F, .top_k = 100},
                   (bool[]){true, true, true, true, true});
    expect_support(&(dw_sampler_params){.temperature = 1.0F, .top_p = 0.65F},
                   (bool[]){false, true, false, true, false});
    expect_support(&(dw_sampler_params){.temperature = 1.0F, .top_p = 1.0F},
                   (bool[]){true, true, true, true, true});
    /* 0.12 of 0.4 is 0.048: above token 2 alone. */
    expect_support(&(dw_sampler_params){.temperature = 1.0F, .min_p = 0.12F},
                   (bool[]){true, true, false, true, true});
    /* The filters come before the temperature, so a high one brings nobody back. */
    expect_support(
        &(dw_sampler_params){.temperature = 50.0F, .top_k = 4, .top_p = 0.95F, .min_p = 0.5F},
        (bool[]){false, true, false, true, true});
}

static void test_sampler_filters_large_vocabulary(void **state)
{
    static float logits[5000];
    dw_error err;
    (void)state;
    for (int i = 0; i < 5000; i++) {
        logits[i] = (float)((i * 7919) % 5000) * 0.01F;
    }
    dw_sampler_params params = {.temperature = 1.0F, .top_k = 300, .top_p = 0.9F, .seed = 1};
    dw_sampler *sampler = make(5000, &params);
    uint64_t allocations = dw_alloc_count();
    for (int i = 0; i < 100; i++) {
        int32_t token = choose(sampler, logits);
        assert_true(logits[token] >= 49.99F - 3.0F);
        assert_int_equal(dw_sampler_remember(sampler, token, &err), DW_OK);
    }
    assert_int_equal(dw_alloc_count(), allocations);
    dw_sampler_destroy(sampler);
}

static void test_sampler_penalties(void **state)
{
    float logits[5];
    uint32_t drawn[5] = {0};
    dw_error err;
    (void)state;
    five_logits(logits);
    dw_sampler_params params = {.temperature = 1.0F,
                                .presence_penalty = 10.0F,
                                .frequency_penalty = 10.0F,
                                .penalty_tokens = 2};
    dw_sampler *sampler = make(5, &params);
    assert_int_equal(dw_sampler_remember(sampler, 3, &err), DW_OK);
    assert_int_equal(dw_sampler_remember(sampler, 1, &err), DW_OK);
    for (int i = 0; i < 2000; i++) {
        drawn[choose(sampler, logits)]++;
    }
    assert_int_equal(drawn[3], 0);
    assert_int_equal(drawn[1], 0);
    /* Two more push both out of the window. */
    assert_int_equal(dw_sampler_remember(sampler, 4, &err), DW_OK);
    assert_int_equal(dw_sampler_remember(sampler, 4, &err), DW_OK);
    memset(drawn, 0, sizeof drawn);
    for (int i = 0; i < 2000; i++) {
        drawn[choose(sampler, logits)]++;
    }
    assert_true(drawn[3] > 500 && drawn[1] > 400);
    assert_int_equal(drawn[4], 0);
    dw_sampler_destroy(sampler);
}

static void test_sampler_repeat_penalty_signs(void **state)
{
    /* Divided where positive, multiplied where negative: less likely both ways. */
    const float logits[3] = {2.0F, 1.9F, -5.0F};
    uint32_t before[3];
    uint32_t after[3] = {0};
    dw_error err;
    (void)state;
    dw_sampler_params params = {.temperature = 1.0F, .repeat_penalty = 2.0F, .seed = 5};
    count_draws(&params, logits, 3, before);
    dw_sampler *sampler = make(3, &params);
    assert_int_equal(dw_sampler_remember(sampler, 0, &err), DW_OK);
    assert_int_equal(dw_sampler_remember(sampler, 2, &err), DW_OK);
    for (int i = 0; i < DRAWS; i++) {
        after[choose(sampler, logits)]++;
    }
    double expected = DRAWS * exp(1.0) / (exp(1.0) + exp(1.9) + exp(-10.0));
    assert_true(fabs(after[0] - expected) < 400.0);
    assert_true(after[2] < 5 && before[2] > 0);
    dw_sampler_destroy(sampler);
}

static void test_sampler_remember_refuses_outside(void **state)
{
    dw_error err;
    (void)state;
    dw_sampler *sampler = make(5, &(dw_sampler_params){.temperature = 1, .presence_penalty = 1});
    assert_int_equal(dw_sampler_remember(sampler, 5, &err), DW_E_RANGE);
    assert_int_equal(dw_sampler_remember(sampler, -1, &err), DW_E_RANGE);
    dw_sampler_destroy(sampler);
}

static void expect_refused(const dw_sampler_params *params, dw_status status, const char *word)
{
    dw_sampler *sampler = NULL;
    dw_error err = {0};
    assert_int_equal(dw_sampler_create(&sampler, 100, params, &err), status);
    assert_null(sampler);
    assert_non_null(strstr(err.message, word));
}

static void test_sampler_refuses_parameters(void **state)
{
    (void)state;
    expect_refused(&(dw_sampler_params){.temperature = NAN}, DW_E_NUMERIC, "temperature");
    expect_refused(&(dw_sampler_params){.temperature = INFINITY}, DW_E_NUMERIC, "temperature");
    expect_refused(&(dw_sampler_params){.temperature = -0.1F}, DW_E_RANGE, "temperature");
    expect_refused(&(dw_sampler_params){.temperature = 1e-6F}, DW_E_RANGE, "0.001");
    expect_refused(&(dw_sampler_params){.temperature = 101.0F}, DW_E_RANGE, "100");
    expect_refused(&(dw_sampler_params){.temperature = 1, .top_k = -1}, DW_E_RANGE, "top_k");
    expect_refused(&(dw_sampler_params){.temperature = 1, .top_p = NAN}, DW_E_NUMERIC, "top_p");
    expect_refused(&(dw_sampler_params){.temperature = 1, .top_p = 1.5F}, DW_E_RANGE, "top_p: 1.5");
    expect_refused(&(dw_sampler_params){.temperature = 1, .min_p = -1.0F}, DW_E_RANGE, "min_p");
    expect_refused(&(dw_sampler_params){.repeat_penalty = NAN}, DW_E_NUMERIC, "repeat_penalty");
    expect_refused(&(dw_sampler_params){.repeat_penalty = -1.0F}, DW_E_RANGE, "repeat_penalty");
    expect_refused(&(dw_sampler_params){.frequency_penalty = INFINITY}, DW_E_NUMERIC, "frequency");
    expect_refused(&(dw_sampler_params){.presence_penalty = 11.0F}, DW_E_RANGE, "presence");
    expect_refused(&(dw_sampler_params){.penalty_tokens = -1}, DW_E_RANGE, "penalty_tokens");
    expect_refused(&(dw_sampler_params){.penalty_tokens = 4097}, DW_E_RANGE, "4096");
    expect_refused(&(dw_sampler_params){.reserved = {0, 1}}, DW_E_ARG, "reserved");
}

static void test_sampler_refuses_logits(void **state)
{
    dw_error err;
    int32_t token;
    float logits[5];
    (void)state;
    for (int greedy = 0; greedy < 2; greedy++) {
        dw_sampler *sampler = make(5, &(dw_sampler_params){.temperature = greedy ? 0.0F : 1.0F});
        five_logits(logits);
        logits[2] = NAN;
        assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_E_NUMERIC);
        logits[2] = INFINITY;
        assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_E_NUMERIC);
        for (int i = 0; i < 5; i++) {
            logits[i] = -INFINITY;
        }
        assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_E_NUMERIC);
        logits[4] = -1e30F; /* all others ruled out */
        assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_OK);
        assert_int_equal(token, 4);
        dw_sampler_destroy(sampler);
    }
}

static void test_sampler_takes_extreme_logits(void **state)
{
    const float logits[4] = {3e38F, -3e38F, 0.0F, 1e9F};
    (void)state;
    dw_sampler_params params = {.temperature = 0.001F,
                                .top_k = 3,
                                .top_p = 0.5F,
                                .min_p = 0.5F,
                                .repeat_penalty = 0.01F,
                                .seed = 3};
    dw_sampler *sampler = make(4, &params);
    for (int i = 0; i < 100; i++) {
        dw_error err;
        int32_t token = choose(sampler, logits);
        assert_true(token == 0 || token == 3);
        assert_int_equal(dw_sampler_remember(sampler, 1, &err), DW_OK);
    }
    dw_sampler_destroy(sampler);
}

static void test_greedy_takes_the_first_largest(void **state)
{
    float logits[100];
    int32_t token;
    dw_error err;
    (void)state;
    for (uint32_t count = 1; count <= 100; count++) {
        for (uint32_t best = 0; best < count; best++) {
            for (uint32_t i = 0; i < count; i++) {
                logits[i] = -2.0F - (float)((i * 31) % 17);
            }
            logits[best] = -1.0F;
            logits[count - 1] = -1.0F;
            assert_int_equal(dw_greedy_choose(logits, count, &token, &err), DW_OK);
            assert_int_equal(token, best);
            logits[count / 2] = NAN;
            assert_int_equal(dw_greedy_choose(logits, count, &token, &err), DW_E_NUMERIC);
        }
    }
}

static void test_sampler_survives_failed_allocations(void **state)
{
    dw_sampler_params params = {.temperature = 1.0F, .presence_penalty = 1.0F};
    (void)state;
    for (int n = 0; n < 4; n++) {
        dw_sampler *sampler = NULL;
        dw_error err;
        dw_alloc_fail_after(n);
        assert_int_equal(dw_sampler_create(&sampler, 100, &params, &err), DW_E_MEMORY);
        dw_alloc_fail_after(-1);
        assert_null(sampler);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler_same_seed_same_tokens),
        cmocka_unit_test(test_sampler_distribution),
        cmocka_unit_test(test_sampler_filters),
        cmocka_unit_test(test_sampler_filters_large_vocabulary),
        cmocka_unit_test(test_sampler_penalties),
        cmocka_unit_test(test_sampler_repeat_penalty_signs),
        cmocka_unit_test(test_sampler_remember_refuses_outside),
        cmocka_unit_test(test_sampler_refuses_parameters),
        cmocka_unit_test(test_sampler_refuses_logits),
        cmocka_unit_test(test_sampler_takes_extreme_logits),
        cmocka_unit_test(test_greedy_takes_the_first_largest),
        cmocka_unit_test(test_sampler_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
