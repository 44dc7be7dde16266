/* Cuts by an order of the candidates against the same with everything sorted: bit for bit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sampling/sampler_internal.h"
#include "support.h"

#define TOKENS_MAX 40000

/* ---- the sorted form ----------------------------------------------------------------------- */

/* Merge sort: of equals the first stays first. */
static void sort_stably(llama_token_data *list, llama_token_data *other, size_t count)
{
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t at = 0; at < count; at += 2 * width) {
            size_t middle = at + width < count ? at + width : count;
            size_t end = at + 2 * width < count ? at + 2 * width : count;
            size_t left = at;
            size_t right = middle;
            for (size_t i = at; i < end; i++) {
                bool first =
                    left < middle && (right >= end || list[left].logit >= list[right].logit);
                other[i] = first ? list[left++] : list[right++];
            }
        }
        memcpy(list, other, count * sizeof *list);
    }
}

static llama_token_data scratch[TOKENS_MAX];

static void sorted_top_p(llama_token_data_array *list, float top_p)
{
    float largest = -INFINITY;
    float total = 0.0F;
    float sum = 0.0F;
    for (size_t i = 0; i < list->size; i++) {
        largest = fmaxf(largest, list->data[i].logit);
    }
    for (size_t i = 0; i < list->size; i++) {
        list->data[i].p = expf(list->data[i].logit - largest);
        total += list->data[i].p;
    }
    if (!list->sorted) {
        sort_stably(list->data, scratch, list->size);
    }
    for (size_t i = 0; i < list->size; i++) {
        list->data[i].p /= total;
        sum += list->data[i].p;
        if (sum >= top_p) {
            list->size = i + 1;
        }
    }
    list->sorted = true;
}

static void sorted_typical(llama_token_data_array *list, float typical_p)
{
    static llama_token_data distances[TOKENS_MAX];
    float total = 0.0F;
    float entropy = 0.0F;
    float sum = 0.0F;
    size_t cut = list->size;
    if (!list->sorted) {
        sort_stably(list->data, scratch, list->size);
    }
    for (size_t i = 0; i < list->size; i++) {
        list->data[i].p = expf(list->data[i].logit - list->data[0].logit);
        total += list->data[i].p;
    }
    for (size_t i = 0; i < list->size; i++) {
        list->data[i].p /= total;
    }
    for (size_t i = 0; i < list->size; i++) {
        entropy += -list->data[i].p * logf(list->data[i].p);
    }
    for (size_t i = 0; i < list->size; i++) {
        distances[i] =
            (llama_token_data){.id = (int32_t)i, .logit = -fabsf(-logf(list->data[i].p) - entropy)};
    }
    sort_stably(distances, scratch, list->size);
    for (size_t i = 0; i < list->size && cut == list->size; i++) {
        sum += list->data[distances[i].id].p;
        cut = sum > typical_p ? i + 1 : cut;
    }
    for (size_t i = 0; i < cut; i++) {
        scratch[i] = list->data[distances[i].id];
    }
    memcpy(list->data, scratch, cut * sizeof *scratch);
    list->size = cut;
    list->sorted = false;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static double chance(void)
{
    return rand() / (RAND_MAX + 1.0);
}

/* `kind` 0: a few far above a broad tail; 1: flat; 2: many equals; 3: all equal but one; 4: over
 * the whole range of floats; 5: zeros of both signs among small ones. */
static void fill(llama_token_data *data, size_t count, int kind)
{
    for (size_t i = 0; i < count; i++) {
        double normal = sqrt(-2.0 * log(1.0 - chance())) * cos(6.283185307 * chance());
        double logit = kind == 0   ? normal * 2.5 + (rand() % 1000 == 0 ? 12.0 : 0.0)
                       : kind == 1 ? normal * 0.01
                       : kind == 2 ? floor(normal * 3.0)
                       : kind == 3 ? (i == count / 2)
                       : kind == 4 ? normal * pow(10.0, 30.0 * chance() - 22.0)
                                   : (rand() % 3 - 1) * (double)(rand() % 2) * 1e-3;
        data[i] = (llama_token_data){.id = (int32_t)i, .logit = (float)logit};
        if (kind == 5 && rand() % 4 == 0) {
            data[i].logit = rand() % 2 ? 0.0F : -0.0F;
        }
    }
}

static void expect_same(const llama_token_data_array *a, const llama_token_data_array *b)
{
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->sorted, b->sorted);
    for (size_t i = 0; i < a->size; i++) {
        assert_int_equal(a->data[i].id, b->data[i].id);
        assert_memory_equal(&a->data[i].logit, &b->data[i].logit, sizeof(float));
        assert_memory_equal(&a->data[i].p, &b->data[i].p, sizeof(float));
    }
}

static void compare(dw_sampler *sampler, size_t count, int kind, bool presorted)
{
    static llama_token_data rows[2][TOKENS_MAX];
    fill(rows[0], count, kind);
    if (presorted) {
        sort_stably(rows[0], scratch, count);
    }
    memcpy(rows[1], rows[0], sizeof rows[0]);
    llama_token_data_array own = {.data = rows[0], .size = count, .sorted = presorted};
    llama_token_data_array sorted = {.data = rows[1], .size = count, .sorted = presorted};
    if (sampler->params.typical_p > 0.0F) {
        dw__sampler_compact(&own, 70.0F);
        dw__sampler_compact(&sorted, 70.0F);
        dw__sampler_typical(sampler, &own);
        sorted_typical(&sorted, sampler->params.typical_p);
    } else {
        dw__sampler_top_p(sampler, &own);
        sorted_top_p(&sorted, sampler->params.top_p);
    }
    expect_same(&own, &sorted);
}

static void compare_all(bool typical)
{
    static const size_t counts[] = {1, 2, 3, 47, 48, 49, 50, 200, 1023, 1025, 5000, TOKENS_MAX};
    static const float cuts[] = {1e-6F, 0.05F, 0.5F, 0.9F, 0.95F, 0.999F, 0.9999999F};
    srand(11);
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
        dw_error err;
        dw_sampler *sampler;
        dw_sampler_params params = {.temperature = 1.0F};
        *(typical ? &params.typical_p : &params.top_p) = cuts[c];
        assert_int_equal(dw_sampler_create(&sampler, TOKENS_MAX, &params, &err), DW_OK);
        for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
            for (int kind = 0; kind < 6; kind++) {
                compare(sampler, counts[n], kind, false);
                compare(sampler, counts[n], kind, true);
            }
        }
        dw_sampler_destroy(sampler);
    }
}

static void test_sampler_order_top_p_is_that_of_the_sorted_form(void **state)
{
    (void)state;
    compare_all(false);
}

static void test_sampler_order_typical_is_that_of_the_sorted_form(void **state)
{
    (void)state;
    compare_all(true);
}

/* For XTC and a temperature by entropy, which look at all. */
static void test_sampler_order_sorts_as_the_sorted_form(void **state)
{
    (void)state;
    static llama_token_data rows[2][TOKENS_MAX];
    dw_error err;
    dw_sampler *sampler;
    dw_sampler_params params = {.temperature = 1.0F, .temperature_range = 0.5F};
    assert_int_equal(dw_sampler_create(&sampler, TOKENS_MAX, &params, &err), DW_OK);
    for (int kind = 0; kind < 6; kind++) {
        for (size_t count = 1; count <= TOKENS_MAX; count = count * 3 + 1) {
            fill(rows[0], count, kind);
            memcpy(rows[1], rows[0], sizeof rows[0]);
            llama_token_data_array own = {.data = rows[0], .size = count};
            dw__sampler_sort(sampler, &own);
            sort_stably(rows[1], scratch, count);
            assert_true(own.sorted);
            assert_memory_equal(rows[0], rows[1], count * sizeof rows[0][0]);
        }
    }
    dw_sampler_destroy(sampler);
}

/* libllama's own filters choose the same, where no two logits are equal. */
static void test_sampler_order_agrees_with_libllama(void **state)
{
    (void)state;
    static llama_token_data rows[2][TOKENS_MAX];
    dw_error err;
    srand(5);
    for (int round = 0; round < 12; round++) {
        dw_sampler *sampler;
        dw_sampler_params params = {.temperature = 1.0F};
        bool typical = round & 1;
        *(typical ? &params.typical_p : &params.top_p) = round < 6 ? 0.9F : 0.99F;
        assert_int_equal(dw_sampler_create(&sampler, TOKENS_MAX, &params, &err), DW_OK);
        for (size_t i = 0; i < 20000; i++) { /* all different, in no order */
            rows[0][i] = (llama_token_data){
                .id = (int32_t)i, .logit = (float)((i * 7919) % 20000) * 0.0009765625F - 7.0F};
        }
        rows[0][3].logit = 14.0F + (float)round / 4.0F;
        memcpy(rows[1], rows[0], sizeof rows[0]);
        llama_token_data_array own = {.data = rows[0], .size = 20000, .selected = -1};
        llama_token_data_array theirs = {.data = rows[1], .size = 20000, .selected = -1};
        struct llama_sampler *filter = sampler->filters[typical ? FILTER_TYPICAL_P : FILTER_TOP_P];
        llama_sampler_apply(filter, &theirs);
        if (typical) {
            dw__sampler_typical(sampler, &own);
        } else {
            dw__sampler_top_p(sampler, &own);
        }
        expect_same(&own, &theirs);
        dw_sampler_destroy(sampler);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler_order_top_p_is_that_of_the_sorted_form),
        cmocka_unit_test(test_sampler_order_typical_is_that_of_the_sorted_form),
        cmocka_unit_test(test_sampler_order_sorts_as_the_sorted_form),
        cmocka_unit_test(test_sampler_order_agrees_with_libllama),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
