/* A token chosen from the likeliest of a row alone, where these decide: a device finds them where
 * the logits are, and the row need not be brought here. */
#include <llama.h>
#include <math.h>
#include <stdlib.h>

#include "kernels/top_k.h"
#include "sampling/sampler_internal.h"

/* A device's total is of floats: nearer to a limit than this, it does not say on which side. */
#define TOTAL_MARGIN 1.0e-5

/* Whether anything that is asked for looks at logits that are not among the largest. */
static bool looks_at_all(const dw_sampler *sampler)
{
    return sampler->bias_count > 0 || sampler->recent_count > 0 ||
           sampler->params.mirostat_tau > 0.0F || sampler->filters[FILTER_DRY] != NULL ||
           sampler->filters[FILTER_TOP_N_SIGMA] != NULL ||
           sampler->filters[FILTER_TYPICAL_P] != NULL;
}

/* Whether the likeliest can decide at all, whatever the row is. */
bool dw__sampler_decides_by_likeliest(const dw_sampler *sampler)
{
    if (looks_at_all(sampler) || sampler->params.temperature == 0.0F) {
        return false;
    }
    return sampler->vocab_count <= DW_TOP_K_MAX ||
           (sampler->filters[FILTER_TOP_K] != NULL
                ? (uint32_t)sampler->params.top_k <= DW_TOP_K_MAX
                : sampler->filters[FILTER_TOP_P] != NULL || sampler->filters[FILTER_MIN_P] != NULL);
}

uint32_t dw_sampler_top_k_count(const dw_sampler *sampler)
{
    return dw__sampler_decides_by_likeliest(sampler) ? DW_TOP_K_MAX : 1;
}

bool dw_sampler_takes_likeliest(const dw_sampler *sampler)
{
    return dw__sampler_is_greedy(sampler) && !looks_at_all(sampler) && sampler->grammar == NULL;
}

/* The candidates that make up `top_p` of all tokens' odds; 0: not known. */
static size_t cut_by_mass(const dw_top_k *from, double top_p, double margin)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < from->count; i++) {
        sum += (double)expf(from->list[i].logit - from->largest) / from->total;
        if (fabs(sum - top_p) < margin) {
            return 0;
        }
        if (sum >= top_p) {
            return i + 1;
        }
    }
    return 0;
}

/* How many of the candidates the first cut leaves, and the filter that comes next; 0: it leaves
 * more than there are. */
static size_t first_cut(const dw_sampler *sampler, const dw_top_k *from, double margin,
                        filter_kind *next)
{
    const dw_sampler_params *params = &sampler->params;
    bool all = from->count == sampler->vocab_count;
    *next = FILTER_TOP_K;
    if (sampler->filters[FILTER_TOP_K] != NULL) {
        return all || (uint32_t)params->top_k <= from->count ? from->count : 0;
    }
    if (all) {
        return from->count;
    }
    if (sampler->filters[FILTER_TOP_P] != NULL) {
        *next = FILTER_MIN_P;
        return cut_by_mass(from, (double)params->top_p, margin);
    }
    bool below = sampler->filters[FILTER_MIN_P] != NULL &&
                 from->list[from->count - 1].logit < from->largest + logf(params->min_p);
    return below ? from->count : 0;
}

static int by_token(const void *a, const void *b)
{
    llama_token first = ((const llama_token_data *)a)->id;
    llama_token second = ((const llama_token_data *)b)->id;
    return (first > second) - (first < second);
}

/* The result is the same whether a device found the candidates or dw_top_k_find: where a token
 * stands in the list decides which draws choose it, so the order of equals is never left open. */
static dw_status choose_among(dw_sampler *sampler, const dw_top_k *from, double margin,
                              bool *decided, int32_t *token, dw_error *err)
{
    filter_kind next = FILTER_TOP_K;
    size_t count = first_cut(sampler, from, margin, &next);
    /* Logits beyond the limit are cut to it, and no longer differ. */
    *decided = count > 0 && fabsf(from->largest) <= SAMPLER_LOGIT_MAX;
    if (!*decided) {
        return DW_OK;
    }
    llama_token_data_array list = {
        .data = sampler->candidates, .size = 0, .selected = -1, .sorted = true};
    for (size_t i = 0; i < count && from->list[i].logit > -INFINITY; i++) {
        float logit = fmaxf(from->list[i].logit, -SAMPLER_LOGIT_MAX);
        list.data[list.size++] = (llama_token_data){.id = from->list[i].token, .logit = logit};
    }
    if (sampler->filters[FILTER_TOP_K] == NULL && sampler->filters[FILTER_TOP_P] == NULL) {
        qsort(list.data, list.size, sizeof *list.data, by_token); /* as without a cut by rank */
        list.sorted = false;
    }
    dw_status status = dw__sampler_filter(sampler, next, &list, err);
    if (status == DW_OK) {
        *token = dw__sampler_draw(sampler, &list);
    }
    return status;
}

/* In a row by its likeliest alone, where these decide. */
dw_status dw__sampler_choose_by_likeliest(dw_sampler *sampler, const float *logits, bool *decided,
                                          int32_t *token, dw_error *err)
{
    dw_top_k likeliest;
    bool of_mass = sampler->filters[FILTER_TOP_K] == NULL && sampler->filters[FILTER_TOP_P] != NULL;
    dw_top_k_find(&likeliest, logits, sampler->vocab_count, of_mass);
    *decided = false;
    if (likeliest.nan_count > 0 || !isfinite(likeliest.largest)) {
        return DW_OK; /* the message about the whole row says where */
    }
    return choose_among(sampler, &likeliest, 0.0, decided, token, err);
}

dw_status dw_sampler_choose_from_top_k(dw_sampler *sampler, const dw_top_k *candidates,
                                       bool *decided, int32_t *token, dw_error *err)
{
    *decided = false;
    if (candidates->nan_count > 0) {
        return dw_fail(err, DW_E_NUMERIC, "logits: NaN among the %u", sampler->vocab_count);
    }
    if (candidates->count == 0 || !isfinite(candidates->largest)) {
        return dw_fail(err, DW_E_NUMERIC, "logits: %s among the %u",
                       candidates->largest > 0.0F ? "infinity" : "nothing finite",
                       sampler->vocab_count);
    }
    if (looks_at_all(sampler)) {
        return DW_OK;
    }
    uint64_t draw_count = sampler->draw_count;
    dw_status status = DW_OK;
    if (dw__sampler_is_greedy(sampler)) {
        *token = candidates->list[0].token;
        *decided = true;
    } else {
        status = choose_among(sampler, candidates, TOTAL_MARGIN, decided, token, err);
    }
    if (status == DW_OK && *decided && sampler->grammar != NULL) {
        status = dw__sampler_allows(sampler, *token, decided, err);
    }
    if (status != DW_OK || !*decided) {
        sampler->draw_count = draw_count; /* it is drawn again, from all */
    }
    return status;
}
