/* Sampling: the same seed the same tokens, the right distribution, what each filter does. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "sampling/sampler.h"
#include "support.h"

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
    expect_refused(&(dw_sampler_params){.reserved = 1}, DW_E_ARG, "reserved");
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

/* Draws against probabilities worked out by hand: `weights` need not sum to 1. */
static void expect_draws(const dw_sampler_params *params, const float *logits, uint32_t count,
                         const double *weights)
{
    uint32_t drawn[8] = {0};
    double total = 0.0;
    count_draws(params, logits, count, drawn);
    for (uint32_t i = 0; i < count; i++) {
        total += weights[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        double p = weights[i] / total;
        double spread = sqrt(DRAWS * p * (1.0 - p));
        if (fabs(drawn[i] - DRAWS * p) > 5.0 * spread + 1e-9) {
            fail_msg("token %u: %u draws of %d, wanted %g", i, drawn[i], DRAWS, DRAWS * p);
        }
    }
}

/* Logits of these probabilities: 0.4, 0.3, 0.15, 0.1, 0.05. */
static const double five_p[5] = {0.4, 0.3, 0.15, 0.1, 0.05};

static void logits_of_five(float *logits)
{
    for (int i = 0; i < 5; i++) {
        logits[i] = (float)log(five_p[i]);
    }
}

static void test_sampler_typical_p(void **state)
{
    float logits[5];
    double entropy = 0.0;
    double weights[5] = {0};
    double sum = 0.0;
    (void)state;
    logits_of_five(logits);
    for (int i = 0; i < 5; i++) {
        entropy -= five_p[i] * log(five_p[i]);
    }
    while (sum <= 0.5) { /* the next nearest to the entropy */
        int best = -1;
        for (int i = 0; i < 5; i++) {
            if (weights[i] == 0.0 && (best < 0 || fabs(-log(five_p[i]) - entropy) <
                                                      fabs(-log(five_p[best]) - entropy))) {
                best = i;
            }
        }
        weights[best] = five_p[best];
        sum += five_p[best];
    }
    expect_draws(&(dw_sampler_params){.temperature = 1.0F, .typical_p = 0.5F, .seed = 3}, logits, 5,
                 weights);
    /* Far below the likeliest a probability rounds to 0. */
    const float far[3] = {0.0F, -1000.0F, 0.0F};
    expect_draws(&(dw_sampler_params){.temperature = 1.0F, .typical_p = 0.9F, .seed = 3}, far, 3,
                 (double[]){1.0, 0.0, 1.0});
}

static void test_sampler_top_n_sigma(void **state)
{
    float logits[5];
    double mean = 0.0;
    double variance = 0.0;
    double weights[5] = {0};
    (void)state;
    logits_of_five(logits);
    for (int i = 0; i < 5; i++) {
        mean += log(five_p[i]) / 5.0;
    }
    for (int i = 0; i < 5; i++) {
        variance += (log(five_p[i]) - mean) * (log(five_p[i]) - mean) / 5.0;
    }
    for (int i = 0; i < 5; i++) {
        weights[i] = log(five_p[i]) < log(0.4) - 1.5 * sqrt(variance) ? 0.0 : five_p[i];
    }
    assert_true(weights[2] > 0.0 && weights[4] == 0.0);
    /* top_k sorts what is left. */
    expect_draws(
        &(dw_sampler_params){.temperature = 1.0F, .top_n_sigma = 1.5F, .top_k = 5, .seed = 4},
        logits, 5, weights);
}

static void test_sampler_xtc(void **state)
{
    float logits[5];
    double weights[5];
    (void)state;
    logits_of_five(logits);
    /* From 0.12 on there are three: half of the time only the last of them stays. */
    for (int i = 0; i < 5; i++) {
        weights[i] = 0.5 * five_p[i] + 0.5 * (i < 2 ? 0.0 : five_p[i] / 0.3);
    }
    expect_draws(
        &(dw_sampler_params){
            .temperature = 1.0F, .xtc_probability = 0.5F, .xtc_threshold = 0.12F, .seed = 5},
        logits, 5, weights);
}

static void test_sampler_dynamic_temperature(void **state)
{
    float logits[5];
    double weights[5];
    double entropy = 0.0;
    (void)state;
    logits_of_five(logits);
    for (int i = 0; i < 5; i++) {
        entropy -= five_p[i] * log(five_p[i]);
    }
    double temperature = 0.5 + (1.5 - 0.5) * pow(entropy / log(5.0), 2.0);
    for (int i = 0; i < 5; i++) {
        weights[i] = pow(five_p[i], 1.0 / temperature);
    }
    expect_draws(&(dw_sampler_params){.temperature = 1.0F,
                                      .temperature_range = 0.5F,
                                      .temperature_exponent = 2.0F,
                                      .seed = 6},
                 logits, 5, weights);
}

static void test_sampler_mirostat_reaches_its_surprise(void **state)
{
    float logits[64];
    double total = 0.0;
    double surprise = 0.0;
    (void)state;
    for (int i = 0; i < 64; i++) {
        logits[i] = -0.1F * (float)i;
        total += exp((double)logits[i]);
    }
    dw_sampler_params params = {
        .temperature = 1.0F, .mirostat_tau = 3.0F, .mirostat_eta = 0.1F, .seed = 7};
    dw_sampler *sampler = make(64, &params);
    uint32_t largest = 0;
    for (int i = 0; i < 4000; i++) {
        uint32_t token = (uint32_t)choose(sampler, logits);
        largest = i > 500 && token > largest ? token : largest;
        surprise += log2(total / exp((double)logits[token])) / 4000.0;
    }
    /* Without it the mean is the entropy, 4.7 bits, and all 64 occur. */
    assert_true(surprise > 2.5 && surprise < 4.0);
    assert_true(largest < 32);
    dw_sampler_destroy(sampler);
}

static void test_sampler_dry(void **state)
{
    const float logits[5] = {0};
    dw_error err;
    (void)state;
    dw_sampler_params params = {.temperature = 1.0F,
                                .dry_multiplier = 0.8F,
                                .dry_base = 1.75F,
                                .dry_allowed_length = 2,
                                .seed = 8};
    /* 0 1 2 3 | 0 1 2: a 3 would make four of a row, one more than seen three times. */
    const int32_t said[] = {0, 1, 2, 3, 0, 1, 2};
    dw_sampler *sampler = make(5, &params);
    uint32_t drawn[5] = {0};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        assert_int_equal(dw_sampler_remember(sampler, said[i], &err), DW_OK);
    }
    for (int i = 0; i < DRAWS; i++) {
        drawn[choose(sampler, logits)]++;
    }
    double weight = exp(-0.8 * 1.75);
    double p = weight / (4.0 + weight);
    assert_true(fabs(drawn[3] - DRAWS * p) < 5.0 * sqrt(DRAWS * p * (1.0 - p)));
    dw_sampler_destroy(sampler);
    /* A penalty that is infinite leaves a token to choose. */
    params.dry_multiplier = 100.0F;
    params.dry_base = 100.0F;
    params.dry_allowed_length = 1;
    const float only[5] = {-INFINITY, -INFINITY, -INFINITY, 0.0F, -INFINITY};
    sampler = make(5, &params);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(choose(sampler, only), 3);
        assert_int_equal(dw_sampler_remember(sampler, 3, &err), DW_OK);
    }
    dw_sampler_destroy(sampler);
}

static void test_sampler_logit_bias(void **state)
{
    float logits[5];
    uint32_t drawn[5] = {0};
    int32_t token;
    dw_error err;
    (void)state;
    logits_of_five(logits);
    const dw_logit_bias biases[] = {{0, -INFINITY}, {4, (float)log(9.0)}};
    for (int sampled = 0; sampled < 2; sampled++) {
        dw_sampler *sampler =
            make(5, &(dw_sampler_params){.temperature = sampled ? 1.0F : 0.0F, .seed = 9});
        assert_int_equal(dw_sampler_set_biases(sampler, biases, 2, &err), DW_OK);
        for (int i = 0; i < DRAWS && sampled; i++) {
            drawn[choose(sampler, logits)]++;
        }
        assert_true(sampled || choose(sampler, logits) == 4);
        dw_logit_bias bad = {5, 0.0F};
        assert_int_equal(dw_sampler_set_biases(sampler, &bad, 1, &err), DW_E_RANGE);
        bad = (dw_logit_bias){1, NAN};
        assert_int_equal(dw_sampler_set_biases(sampler, &bad, 1, &err), DW_E_NUMERIC);
        bad = (dw_logit_bias){1, 10001.0F};
        assert_int_equal(dw_sampler_set_biases(sampler, &bad, 1, &err), DW_E_RANGE);
        dw_logit_bias all[5];
        for (int i = 0; i < 5; i++) {
            all[i] = (dw_logit_bias){i, -INFINITY};
        }
        assert_int_equal(dw_sampler_set_biases(sampler, all, 5, &err), DW_OK);
        assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_E_NUMERIC);
        dw_sampler_destroy(sampler);
    }
    assert_int_equal(drawn[0], 0);
    assert_true(fabs(drawn[4] - DRAWS * 0.45) < 500.0); /* 9 * 0.05 of 1.0 */
}

static void test_sampler_params_of_other_versions(void **state)
{
    unsigned char bytes[128] = {0};
    dw_sampler_params params = {.temperature = 0.5F, .typical_p = 0.5F};
    dw_error err;
    (void)state;
    memcpy(bytes, &params, sizeof params);
    assert_int_equal(dw_sampler_params_read(&params, bytes, 48, &err), DW_OK);
    assert_true(params.temperature == 0.5F && params.typical_p == 0.0F);
    assert_int_equal(dw_sampler_params_read(&params, bytes, 128, &err), DW_OK);
    assert_true(params.typical_p == 0.5F);
    bytes[100] = 1;
    assert_int_equal(dw_sampler_params_read(&params, bytes, 128, &err), DW_E_UNSUPPORTED);
    assert_int_equal(dw_sampler_params_read(&params, bytes, 47, &err), DW_E_RANGE);
}

static void test_sampler_refuses_more_parameters(void **state)
{
    (void)state;
    expect_refused(&(dw_sampler_params){.temperature = 1, .temperature_range = 1.0F}, DW_E_RANGE,
                   "temperature_range");
    expect_refused(&(dw_sampler_params){.typical_p = 1.1F}, DW_E_RANGE, "typical_p");
    expect_refused(&(dw_sampler_params){.top_n_sigma = -1.0F}, DW_E_RANGE, "top_n_sigma");
    expect_refused(&(dw_sampler_params){.xtc_probability = 2.0F}, DW_E_RANGE, "xtc_probability");
    expect_refused(&(dw_sampler_params){.xtc_threshold = NAN}, DW_E_NUMERIC, "xtc_threshold");
    expect_refused(&(dw_sampler_params){.dry_multiplier = -1.0F}, DW_E_RANGE, "dry_multiplier");
    expect_refused(&(dw_sampler_params){.dry_base = 0.5F}, DW_E_RANGE, "dry_base");
    expect_refused(&(dw_sampler_params){.dry_allowed_length = -1}, DW_E_RANGE, "dry_allowed");
    expect_refused(&(dw_sampler_params){.dry_tokens = 5000}, DW_E_RANGE, "dry_tokens");
    expect_refused(&(dw_sampler_params){.mirostat_tau = -1.0F}, DW_E_RANGE, "mirostat_tau");
    expect_refused(&(dw_sampler_params){.mirostat_eta = 2.0F}, DW_E_RANGE, "mirostat_eta");
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
        cmocka_unit_test(test_sampler_typical_p),
        cmocka_unit_test(test_sampler_top_n_sigma),
        cmocka_unit_test(test_sampler_xtc),
        cmocka_unit_test(test_sampler_dynamic_temperature),
        cmocka_unit_test(test_sampler_mirostat_reaches_its_surprise),
        cmocka_unit_test(test_sampler_dry),
        cmocka_unit_test(test_sampler_logit_bias),
        cmocka_unit_test(test_sampler_params_of_other_versions),
        cmocka_unit_test(test_sampler_refuses_more_parameters),
        cmocka_unit_test(test_greedy_takes_the_first_largest),
        cmocka_unit_test(test_sampler_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
