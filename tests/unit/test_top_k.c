/* Choosing from a row's likeliest alone: the very token that the whole row gives, or no decision
 * and nothing changed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sampling/sampler.h"
#include "support.h"
#include "tiny_model.h"

#define VOCAB_MAX 49152
#define DRAWS 60

static float logits[VOCAB_MAX];
static dw_top_k_entry sorted[VOCAB_MAX];

/* ---- rows, and their likeliest found by sorting ---- */

static uint64_t random_state;

static float random_unit(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(random_state >> 40) * 0x1p-24F;
}

typedef enum row_kind { ROW_SHARP, ROW_USUAL, ROW_FLAT, ROW_TIES, ROW_RULED_OUT } row_kind;
#define ROW_KINDS 5

/* The odds of the usual ones fall with a power of their rank, as those of models do. */
static void make_row(row_kind kind, uint32_t vocab_count)
{
    for (uint32_t i = 0; i < vocab_count; i++) {
        float u = random_unit();
        switch (kind) {
        case ROW_SHARP:
            logits[i] = 12.0F * u - (u < 0.999F ? 14.0F : 0.0F);
            break;
        case ROW_USUAL:
            logits[i] = -1.6F * logf(u + 1e-7F) - 20.0F;
            break;
        case ROW_FLAT:
            logits[i] = 0.01F * u;
            break;
        case ROW_TIES: /* zeros of either sign among them */
            logits[i] = floorf(8.0F * u) - 7.0F;
            logits[i] = logits[i] == 0.0F && i % 2 == 0 ? -0.0F : logits[i];
            break;
        case ROW_RULED_OUT:
            logits[i] = u < 0.9F && i > 0 ? -INFINITY : u * 200.0F;
            break;
        }
    }
}

static int likelier_first(const void *a, const void *b)
{
    const dw_top_k_entry *first = a;
    const dw_top_k_entry *second = b;
    if (first->logit != second->logit) {
        return first->logit > second->logit ? -1 : 1;
    }
    return first->token < second->token ? -1 : 1;
}

/* `rounding` is how far the total is off, as that of a device is. */
static void find(dw_top_k *out, uint32_t vocab_count, uint32_t count, double rounding)
{
    uint32_t kept = 0;
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < vocab_count; i++) {
        if (isnan(logits[i])) {
            out->nan_count++;
        } else {
            sorted[kept++] = (dw_top_k_entry){logits[i], (int32_t)i};
        }
    }
    qsort(sorted, kept, sizeof *sorted, likelier_first);
    out->count = kept < count ? kept : count;
    memcpy(out->list, sorted, out->count * sizeof *sorted);
    out->largest = kept > 0 ? sorted[0].logit : -INFINITY;
    for (uint32_t i = 0; i < kept; i++) {
        out->total += exp((double)sorted[i].logit - (double)out->largest);
    }
    out->total *= 1.0 + rounding;
}

/* ---- the host's own search ---- */

static void expect_found(uint32_t vocab_count)
{
    dw_top_k ours;
    dw_top_k theirs;
    find(&theirs, vocab_count, DW_TOP_K_MAX, 0.0);
    dw_top_k_find(&ours, logits, vocab_count, true);
    assert_int_equal(ours.count, theirs.count);
    assert_int_equal(ours.nan_count, theirs.nan_count);
    assert_true(ours.largest == theirs.largest);
    for (uint32_t i = 0; i < ours.count; i++) {
        assert_int_equal(ours.list[i].token, theirs.list[i].token);
        assert_true(ours.list[i].logit == theirs.list[i].logit);
    }
    if (ours.nan_count == 0 && isfinite(ours.largest)) {
        assert_true(fabs(ours.total - theirs.total) < 1e-6 * theirs.total);
    }
}

static void test_top_k_found_in_rows(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 100, 127, 128, 129, 1000, VOCAB_MAX};
    (void)state;
    random_state = 1;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (int kind = 0; kind < ROW_KINDS; kind++) {
            make_row((row_kind)kind, counts[i]);
            expect_found(counts[i]);
            logits[counts[i] / 2] = NAN;
            expect_found(counts[i]);
            for (uint32_t t = 0; t < counts[i]; t++) {
                logits[t] = (float)t; /* the worst order */
            }
            expect_found(counts[i]);
        }
    }
}

/* ---- the same choice ---- */

static dw_sampler *make(uint32_t vocab_count, const dw_sampler_params *params)
{
    dw_sampler *sampler = NULL;
    dw_error err;
    if (dw_sampler_create(&sampler, vocab_count, params, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return sampler;
}

/* One draw of `asked` from the likeliest, else from all; of `twin` from all at once. Both must be
 * the same. Returns whether the likeliest decided. */
static bool draw_both(dw_sampler *asked, dw_sampler *twin, const dw_top_k *from, int32_t *chosen)
{
    bool decided = false;
    int32_t token = -1;
    int32_t expected = -1;
    dw_error err = {0};
    assert_int_equal(dw_sampler_choose(twin, logits, &expected, &err), DW_OK);
    assert_int_equal(dw_sampler_choose_from_top_k(asked, from, &decided, &token, &err), DW_OK);
    if (!decided) {
        assert_int_equal(dw_sampler_choose(asked, logits, &token, &err), DW_OK);
    }
    assert_int_equal(token, expected);
    *chosen = token;
    return decided;
}

/* How many of DRAWS over rows of a kind the likeliest decided. */
static int count_decided(const dw_sampler_params *params, row_kind kind, uint32_t vocab_count)
{
    int count = 0;
    dw_sampler *asked = make(vocab_count, params);
    dw_sampler *twin = make(vocab_count, params);
    uint32_t wanted = dw_sampler_top_k_count(asked);
    assert_true(wanted == 1 || wanted == DW_TOP_K_MAX);
    dw_top_k from;
    for (int i = 0; i < DRAWS; i++) {
        int32_t token;
        if (i % 10 == 0) {
            make_row(kind, vocab_count);
            find(&from, vocab_count, wanted, i % 20 == 0 ? 2e-6 : -2e-6);
        }
        count += draw_both(asked, twin, &from, &token);
    }
    dw_sampler_destroy(asked);
    dw_sampler_destroy(twin);
    return count;
}

static void expect_decided(const dw_sampler_params *params, uint32_t vocab_count)
{
    for (int kind = 0; kind < ROW_KINDS; kind++) {
        assert_int_equal(count_decided(params, (row_kind)kind, vocab_count), DRAWS);
    }
}

static void test_top_k_greedy(void **state)
{
    (void)state;
    random_state = 2;
    expect_decided(NULL, 5000);
    expect_decided(&(dw_sampler_params){.top_k = 40, .top_p = 0.5F}, 300);
    expect_decided(NULL, 1);
}

static void test_top_k_filter_top_k(void **state)
{
    static const int32_t cuts[] = {1, 5, 40, 128};
    (void)state;
    random_state = 3;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        dw_sampler_params plain = {.temperature = 0.8F, .top_k = cuts[i], .seed = 30 + i};
        expect_decided(&plain, 5000);
        dw_sampler_params more = plain;
        more.top_p = 0.9F;
        expect_decided(&more, 3000);
        more.min_p = 0.02F;
        expect_decided(&more, 3000);
        more.xtc_probability = 0.5F;
        more.xtc_threshold = 0.05F;
        expect_decided(&more, 3000);
        more.temperature_range = 0.5F;
        more.temperature_exponent = 1.5F;
        expect_decided(&more, 3000);
    }
    dw_sampler_params beyond = {.temperature = 0.8F, .top_k = 129, .seed = 9};
    assert_int_equal(count_decided(&beyond, ROW_SHARP, 3000), 0);
    assert_int_equal(count_decided(&beyond, ROW_TIES, 129), 0);
}

static void test_top_k_filter_top_p(void **state)
{
    (void)state;
    random_state = 4;
    dw_sampler_params params = {.temperature = 1.0F, .top_p = 0.9F, .seed = 5};
    assert_int_equal(count_decided(&params, ROW_SHARP, 5000), DRAWS);
    assert_int_equal(count_decided(&params, ROW_FLAT, 5000), 0);
    (void)count_decided(&params, ROW_TIES, 5000);
    (void)count_decided(&params, ROW_RULED_OUT, 5000);
    params.top_p = 0.5F;
    assert_true(count_decided(&params, ROW_USUAL, VOCAB_MAX) > DRAWS / 2);
    params.min_p = 0.05F;
    params.xtc_probability = 0.3F;
    params.temperature_range = 0.9F;
    assert_true(count_decided(&params, ROW_USUAL, VOCAB_MAX) > DRAWS / 2);
}

/* A total that is off by as little as a device's must not move the cut: where it might, the
 * likeliest do not decide. */
static void test_top_k_filter_top_p_at_the_limit(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        logits[i] = i < 4 ? 10.0F : -100.0F;
    }
    dw_sampler_params params = {.temperature = 1.0F, .top_p = 0.5F, .seed = 6};
    dw_sampler *sampler = make(1000, &params);
    for (int sign = -1; sign <= 1; sign++) {
        dw_top_k from;
        bool decided = true;
        int32_t token;
        find(&from, 1000, DW_TOP_K_MAX, 2e-6 * sign);
        assert_int_equal(dw_sampler_choose_from_top_k(sampler, &from, &decided, &token, NULL),
                         DW_OK);
        assert_false(decided);
    }
    dw_sampler_destroy(sampler);
}

static void test_top_k_filter_min_p(void **state)
{
    (void)state;
    random_state = 5;
    dw_sampler_params params = {.temperature = 1.0F, .min_p = 0.1F, .seed = 5};
    assert_int_equal(count_decided(&params, ROW_SHARP, 5000), DRAWS);
    assert_int_equal(count_decided(&params, ROW_RULED_OUT, 5000), DRAWS);
    assert_int_equal(count_decided(&params, ROW_FLAT, 5000), 0);
    assert_int_equal(count_decided(&params, ROW_TIES, 5000), 0);
    params.xtc_probability = 0.5F;
    params.temperature_range = 0.4F;
    assert_int_equal(count_decided(&params, ROW_SHARP, 5000), DRAWS);
}

/* Without a cut the likeliest decide where they are all that there are. */
static void test_top_k_of_small_vocabularies(void **state)
{
    static const uint32_t counts[] = {1, 2, 100, 128};
    (void)state;
    random_state = 6;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        expect_decided(&(dw_sampler_params){.temperature = 1.3F, .seed = 1}, counts[i]);
        expect_decided(&(dw_sampler_params){.temperature = 1.0F, .top_k = 1000, .seed = 1},
                       counts[i]);
        expect_decided(&(dw_sampler_params){.temperature = 1.0F, .top_p = 0.7F, .seed = 1},
                       counts[i]);
        expect_decided(&(dw_sampler_params){.temperature = 1.0F, .min_p = 0.3F, .seed = 1},
                       counts[i]);
    }
    assert_int_equal(
        count_decided(&(dw_sampler_params){.temperature = 1.0F, .seed = 1}, ROW_SHARP, 129), 0);
}

/* What top_p is said to leave is what is drawn. */
static void test_top_k_filter_top_p_support(void **state)
{
    (void)state;
    random_state = 7;
    make_row(ROW_SHARP, 5000);
    dw_top_k all;
    find(&all, 5000, DW_TOP_K_MAX, 0.0);
    for (int i = 1; i < 20; i++) {
        float p = 0.05F * (float)i;
        dw_sampler_params params = {.temperature = 50.0F, .top_p = p, .seed = 3};
        dw_sampler *sampler = make(5000, &params);
        double sum = 0.0;
        uint32_t kept = 0;
        while (sum < (double)p) {
            sum += exp((double)(all.list[kept++].logit - all.largest)) / all.total;
        }
        bool drawn[DW_TOP_K_MAX] = {false};
        uint32_t different = 0;
        for (int n = 0; n < 4000; n++) {
            int32_t token;
            assert_int_equal(dw_sampler_choose(sampler, logits, &token, NULL), DW_OK);
            uint32_t rank = 0;
            while (rank < kept && all.list[rank].token != token) {
                rank++;
            }
            assert_true(rank < kept);
            different += !drawn[rank];
            drawn[rank] = true;
        }
        assert_int_equal(different, kept); /* all are nearly as likely when it is so hot */
        dw_sampler_destroy(sampler);
    }
}

/* ---- what never decides, and what is refused ---- */

static void test_top_k_never_decide(void **state)
{
    static const dw_sampler_params all[] = {
        {.temperature = 1.0F, .top_k = 5, .mirostat_tau = 3.0F},
        {.temperature = 1.0F, .top_k = 5, .dry_multiplier = 0.8F},
        {.temperature = 1.0F, .top_k = 5, .typical_p = 0.9F},
        {.temperature = 1.0F, .top_k = 5, .top_n_sigma = 2.0F},
        {.temperature = 1.0F},
    };
    (void)state;
    random_state = 8;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        dw_sampler *sampler = make(3000, &all[i]);
        assert_int_equal(dw_sampler_top_k_count(sampler), 1);
        dw_sampler_destroy(sampler);
        for (int kind = 0; kind < ROW_KINDS; kind++) {
            assert_int_equal(count_decided(&all[i], (row_kind)kind, 3000), 0);
        }
    }
}

static void expect_undecided(dw_sampler *asked, dw_sampler *twin, uint32_t vocab_count)
{
    assert_int_equal(dw_sampler_top_k_count(asked), 1);
    for (int i = 0; i < DRAWS; i++) {
        dw_top_k from;
        int32_t token;
        make_row(ROW_SHARP, vocab_count);
        find(&from, vocab_count, DW_TOP_K_MAX, 0.0);
        assert_false(draw_both(asked, twin, &from, &token));
        assert_int_equal(dw_sampler_remember(asked, token, NULL), DW_OK);
        assert_int_equal(dw_sampler_remember(twin, token, NULL), DW_OK);
    }
    dw_sampler_destroy(asked);
    dw_sampler_destroy(twin);
}

static void test_top_k_penalties_and_biases(void **state)
{
    dw_sampler_params penalties[] = {
        {.temperature = 1.0F, .top_k = 20, .repeat_penalty = 1.2F},
        {.temperature = 1.0F, .top_k = 20, .presence_penalty = 0.5F},
        {.temperature = 1.0F, .top_k = 20, .frequency_penalty = 0.5F},
    };
    const dw_logit_bias biases[] = {{7, 3.0F}, {8, -INFINITY}};
    (void)state;
    random_state = 9;
    for (size_t i = 0; i < sizeof penalties / sizeof penalties[0]; i++) {
        dw_sampler *asked = make(1000, &penalties[i]);
        dw_sampler *twin = make(1000, &penalties[i]);
        assert_int_equal(dw_sampler_remember(asked, 3, NULL), DW_OK);
        assert_int_equal(dw_sampler_remember(twin, 3, NULL), DW_OK);
        expect_undecided(asked, twin, 1000);
    }
    for (int hot = 0; hot < 2; hot++) {
        dw_sampler_params params = {.temperature = (float)hot, .top_k = 20};
        dw_sampler *asked = make(1000, &params);
        dw_sampler *twin = make(1000, &params);
        assert_int_equal(dw_sampler_set_biases(asked, biases, 2, NULL), DW_OK);
        assert_int_equal(dw_sampler_set_biases(twin, biases, 2, NULL), DW_OK);
        expect_undecided(asked, twin, 1000);
    }
}

static void expect_refused(const dw_sampler_params *params, uint32_t vocab_count)
{
    dw_top_k from;
    bool decided = true;
    int32_t token = -1;
    dw_error err = {0};
    dw_sampler *sampler = make(vocab_count, params);
    find(&from, vocab_count, dw_sampler_top_k_count(sampler), 0.0);
    assert_int_equal(dw_sampler_choose_from_top_k(sampler, &from, &decided, &token, &err),
                     DW_E_NUMERIC);
    assert_false(decided);
    assert_non_null(strstr(err.message, "logits"));
    assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_E_NUMERIC);
    dw_sampler_destroy(sampler);
}

static void test_top_k_refuse_rows(void **state)
{
    static const dw_sampler_params all[] = {
        {.temperature = 0.0F},
        {.temperature = 1.0F, .top_k = 5},
        {.temperature = 1.0F, .top_p = 0.5F},
        {.temperature = 1.0F, .min_p = 0.5F},
        {.temperature = 1.0F, .typical_p = 0.5F},
    };
    (void)state;
    random_state = 10;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        make_row(ROW_SHARP, 1000);
        logits[500] = NAN;
        expect_refused(&all[i], 1000);
        logits[500] = INFINITY;
        expect_refused(&all[i], 1000);
        for (int t = 0; t < 1000; t++) {
            logits[t] = -INFINITY;
        }
        expect_refused(&all[i], 1000);
        for (int t = 0; t < 1000; t++) {
            logits[t] = NAN;
        }
        expect_refused(&all[i], 1000);
    }
}

/* Beyond 1e8 logits are made as large as each other: the largest may then be more. */
static void test_top_k_extreme_logits(void **state)
{
    static const float sizes[] = {3e38F, 1e9F, -1e9F, -3e38F};
    (void)state;
    random_state = 11;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        static const dw_sampler_params all[] = {{.temperature = 1.0F, .top_k = 5, .seed = 4},
                                                {.temperature = 1.0F, .top_p = 0.5F, .seed = 4},
                                                {.temperature = 1.0F, .min_p = 0.5F, .seed = 4}};
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
            dw_sampler *asked = make(1000, &all[k]);
            dw_sampler *twin = make(1000, &all[k]);
            dw_top_k from;
            int32_t token;
            for (int t = 0; t < 1000; t++) {
                logits[t] = sizes[i] * (0.5F + 0.5F * random_unit());
            }
            find(&from, 1000, DW_TOP_K_MAX, 0.0);
            assert_false(draw_both(asked, twin, &from, &token));
            dw_sampler_destroy(asked);
            dw_sampler_destroy(twin);
        }
    }
}

/* ---- grammars ---- */

static dw_vocab *open_vocab(uint32_t *count)
{
    dw_vocab *vocab = NULL;
    dw_error err = {0};
    char path[] = "/tmp/dw-top-k-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_options options = tiny_defaults();
    tiny_model_write(path, &options);
    dw_status status = dw_vocab_open(&vocab, path, options.vocab_count, &err);
    (void)unlink(path);
    if (status != DW_OK) {
        fail_msg("%s", err.message);
    }
    *count = options.vocab_count;
    return vocab;
}

/* Digits alone are allowed; they are `lead` likelier than the rest. Returns how often the likeliest
 * decided, of DRAWS. */
static int draw_digits(const dw_sampler_params *params, dw_vocab *vocab, uint32_t count, float lead)
{
    static const char digits[] = "root ::= [0-9]+";
    int decided = 0;
    dw_sampler *asked = make(count, params);
    dw_sampler *twin = make(count, params);
    dw_error err = {0};
    assert_int_equal(dw_sampler_set_grammar(asked, vocab, digits, strlen(digits), &err), DW_OK);
    assert_int_equal(dw_sampler_set_grammar(twin, vocab, digits, strlen(digits), &err), DW_OK);
    for (int i = 0; i < DRAWS; i++) {
        dw_top_k from;
        int32_t token;
        make_row(ROW_SHARP, count);
        logits[dw_vocab_eos(vocab)] = -INFINITY; /* allowed behind digits */
        for (char c = '0'; c <= '9'; c++) {
            int32_t digit = dw_vocab_find(vocab, &c, 1);
            if (digit >= 0) {
                logits[digit] += lead;
            } else {
                logits[(unsigned char)c + 3] += lead; /* "<0x30>" and so on */
            }
        }
        find(&from, count, dw_sampler_top_k_count(asked), 0.0);
        decided += draw_both(asked, twin, &from, &token);
        assert_int_equal(dw_sampler_remember(asked, token, &err), DW_OK);
        assert_int_equal(dw_sampler_remember(twin, token, &err), DW_OK);
    }
    dw_sampler_destroy(asked);
    dw_sampler_destroy(twin);
    return decided;
}

static void test_top_k_and_grammars(void **state)
{
    static const dw_sampler_params all[] = {
        {.temperature = 0.0F},
        {.temperature = 1.0F, .top_k = 20, .seed = 1},
        {.temperature = 1.0F, .top_p = 0.9F, .seed = 2},
        {.temperature = 1.0F, .min_p = 0.01F, .xtc_probability = 0.5F, .seed = 3},
    };
    uint32_t count;
    dw_vocab *vocab = open_vocab(&count);
    (void)state;
    random_state = 12;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int refused = draw_digits(&all[i], vocab, count, -100.0F);
        int mixed = draw_digits(&all[i], vocab, count, i == 0 ? 5.0F : 4.0F);
        int allowed = draw_digits(&all[i], vocab, count, 100.0F);
        assert_int_equal(refused, 0);
        assert_in_range(mixed, 1, DRAWS - 1);
        assert_int_equal(allowed, DRAWS);
    }
    dw_vocab_close(vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top_k_found_in_rows),
        cmocka_unit_test(test_top_k_greedy),
        cmocka_unit_test(test_top_k_filter_top_k),
        cmocka_unit_test(test_top_k_filter_top_p),
        cmocka_unit_test(test_top_k_filter_top_p_at_the_limit),
        cmocka_unit_test(test_top_k_filter_min_p),
        cmocka_unit_test(test_top_k_of_small_vocabularies),
        cmocka_unit_test(test_top_k_filter_top_p_support),
        cmocka_unit_test(test_top_k_never_decide),
        cmocka_unit_test(test_top_k_penalties_and_biases),
        cmocka_unit_test(test_top_k_refuse_rows),
        cmocka_unit_test(test_top_k_extreme_logits),
        cmocka_unit_test(test_top_k_and_grammars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
