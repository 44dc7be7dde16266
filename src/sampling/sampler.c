/* A sampler's life and its state. Penalties are Driftwood's: libllama's look each of the
 * vocabulary's tokens up in a hash map, once a token generated; these touch only those seen. */
#include "sampling/sampler.h"

#include <llama.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "sampling/sampler_internal.h"
#include "text/llama_guard.h"

#define BIASES_MAX 1024
#define BIAS_MAX 10000.0F
#define FILTER_BYTES 512
#define DRY_TOKEN_BYTES 12

/* ---- creation ------------------------------------------------------------------------------- */

static bool penalises(const dw_sampler_params *params)
{
    return (params->repeat_penalty != 0.0F && params->repeat_penalty != 1.0F) ||
           params->frequency_penalty != 0.0F || params->presence_penalty != 0.0F;
}

static struct llama_sampler *make_filter(const dw_sampler_params *params, filter_kind kind)
{
    switch (kind) {
    case FILTER_DRY:
        return llama_sampler_init_dry(NULL, params->dry_multiplier, params->dry_base,
                                      params->dry_allowed_length, params->dry_tokens, NULL, 0);
    case FILTER_TOP_N_SIGMA:
        return llama_sampler_init_top_n_sigma(params->top_n_sigma);
    case FILTER_TOP_K:
        return llama_sampler_init_top_k(params->top_k);
    case FILTER_TYPICAL_P:
        return llama_sampler_init_typical(params->typical_p, 1);
    case FILTER_TOP_P:
        return llama_sampler_init_top_p(params->top_p, 1);
    case FILTER_MIN_P:
        return llama_sampler_init_min_p(params->min_p, 1);
    case FILTER_XTC:
        /* Whether it acts is drawn here, so that libllama's own generator decides nothing. */
        return llama_sampler_init_xtc(1.0F, params->xtc_threshold, 1, 0);
    default:
        return llama_sampler_init_temp_ext(params->temperature, params->temperature_range,
                                           params->temperature_exponent);
    }
}

static bool add_filters(dw_sampler *sampler)
{
    const dw_sampler_params *params = &sampler->params;
    /* Mirostat sets the cut: the other cuts are off, as in llama.cpp. */
    bool cuts = params->mirostat_tau == 0.0F;
    const bool wanted[FILTER_COUNT] = {
        [FILTER_DRY] = params->dry_multiplier > 0.0F,
        [FILTER_TOP_N_SIGMA] = cuts && params->top_n_sigma > 0.0F,
        [FILTER_TOP_K] = cuts && params->top_k > 0,
        [FILTER_TYPICAL_P] = cuts && params->typical_p > 0.0F && params->typical_p < 1.0F,
        [FILTER_TOP_P] = cuts && params->top_p > 0.0F && params->top_p < 1.0F,
        [FILTER_MIN_P] = cuts && params->min_p > 0.0F,
        [FILTER_XTC] = cuts && params->xtc_probability > 0.0F && params->xtc_threshold <= 0.5F,
        [FILTER_TEMPERATURE] = true,
    };
    for (filter_kind kind = 0; kind < FILTER_COUNT; kind++) {
        if (wanted[kind]) {
            sampler->filters[kind] = make_filter(params, kind);
            if (sampler->filters[kind] == NULL) {
                return false;
            }
        }
    }
    return true;
}

/* What libllama takes for its filters: some words each, and of DRY's a few a token. */
static bool charge_filters(dw_sampler *sampler)
{
    const dw_sampler_params *params = &sampler->params;
    uint64_t bytes = (uint64_t)FILTER_COUNT * FILTER_BYTES;
    if (params->dry_multiplier > 0.0F) {
        bytes += (uint64_t)params->dry_tokens * DRY_TOKEN_BYTES;
    }
    if (!dw_account_take(dw_account_entered(), DW_PART_SAMPLERS, bytes)) {
        return false;
    }
    sampler->payer = dw_account_ref(dw_account_entered());
    sampler->filter_bytes = bytes;
    return true;
}

/* Whether a filter sorts more than a few. */
static bool sorts(const dw_sampler *sampler)
{
    return sampler->filters[FILTER_TYPICAL_P] != NULL || sampler->filters[FILTER_TOP_P] != NULL ||
           sampler->filters[FILTER_XTC] != NULL || sampler->params.temperature_range > 0.0F;
}

static bool make_order(dw_sampler *sampler)
{
    sampler_order *order = dw_alloc(1, sizeof *order);
    if (order == NULL) {
        return false;
    }
    sampler->order = order;
    order->list = dw_alloc(sampler->vocab_count, sizeof *order->list);
    if (sampler->filters[FILTER_TYPICAL_P] != NULL) {
        order->near = dw_alloc(sampler->vocab_count, sizeof *order->near);
    }
    return order->list != NULL &&
           (order->near != NULL || sampler->filters[FILTER_TYPICAL_P] == NULL);
}

static bool allocate(dw_sampler *sampler)
{
    if (!charge_filters(sampler)) {
        return false;
    }
    sampler->candidates = dw_alloc(sampler->vocab_count, sizeof *sampler->candidates);
    if (sampler->candidates == NULL || !add_filters(sampler) ||
        (sorts(sampler) && !make_order(sampler))) {
        return false;
    }
    if (sampler->filters[FILTER_DRY] != NULL) {
        sampler->dry_recent = dw_alloc((size_t)sampler->params.dry_tokens, sizeof(int32_t));
        if (sampler->dry_recent == NULL) {
            return false;
        }
    }
    if (!penalises(&sampler->params)) {
        return true;
    }
    sampler->recent = dw_alloc((size_t)sampler->params.penalty_tokens, sizeof *sampler->recent);
    sampler->seen_counts = dw_alloc(sampler->vocab_count, sizeof *sampler->seen_counts);
    return sampler->recent != NULL && sampler->seen_counts != NULL;
}

dw_status dw_sampler_create(dw_sampler **out, uint32_t vocab_count, const dw_sampler_params *params,
                            dw_error *err)
{
    static const dw_sampler_params defaults = {0};
    *out = NULL;
    params = params != NULL ? params : &defaults;
    if (vocab_count == 0 || vocab_count > INT32_MAX) {
        return dw_fail(err, DW_E_RANGE, "vocab_count: %u, from 1 to %d is allowed", vocab_count,
                       INT32_MAX);
    }
    dw_status status = dw__sampler_params_check(params, err);
    if (status != DW_OK) {
        return status;
    }
    dw_sampler *sampler = dw_alloc(1, sizeof *sampler);
    if (sampler == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a sampler");
    }
    sampler->params = *params;
    sampler->vocab_count = vocab_count;
    dw__sampler_params_fill(&sampler->params);
    sampler->mirostat_mu = 2.0F * params->mirostat_tau;
    if (params->temperature > 0.0F && !allocate(sampler)) {
        dw_sampler_destroy(sampler);
        return dw_fail(err, DW_E_MEMORY, "no memory for a sampler of %u tokens", vocab_count);
    }
    *out = sampler;
    return DW_OK;
}

void dw_sampler_destroy(dw_sampler *sampler)
{
    if (sampler == NULL) {
        return;
    }
    for (size_t i = 0; i < FILTER_COUNT; i++) {
        llama_sampler_free(sampler->filters[i]); /* NULL is fine */
    }
    dw_account_give(sampler->payer, DW_PART_SAMPLERS, sampler->filter_bytes);
    dw_account_unref(sampler->payer);
    dw_grammar_destroy(sampler->grammar);
    dw_triggers_destroy(sampler->triggers);
    dw_free(sampler->grammar_text);
    dw_free(sampler->grammar_start);
    dw_free(sampler->grammar_tokens);
    dw_free(sampler->dry_recent);
    dw_free(sampler->unwaiting);
    if (sampler->order != NULL) {
        dw_free(sampler->order->list);
        dw_free(sampler->order->near);
        dw_free(sampler->order);
    }
    dw_free(sampler->candidates);
    dw_free(sampler->biases);
    dw_free(sampler->recent);
    dw_free(sampler->seen_counts);
    dw_free(sampler);
}

uint32_t dw_sampler_vocab_count(const dw_sampler *sampler)
{
    return sampler->vocab_count;
}

dw_status dw_sampler_set_biases(dw_sampler *sampler, const dw_logit_bias *biases, size_t count,
                                dw_error *err)
{
    if (count > BIASES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "logit_bias: %zu of them, limit %d", count, BIASES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (biases[i].token < 0 || (uint32_t)biases[i].token >= sampler->vocab_count) {
            return dw_fail(err, DW_E_RANGE, "logit_bias[%zu].token: %d, the vocabulary has %u", i,
                           biases[i].token, sampler->vocab_count);
        }
        if (isnan(biases[i].bias)) {
            return dw_fail(err, DW_E_NUMERIC, "logit_bias[%zu].bias: NaN", i);
        }
        if (biases[i].bias > BIAS_MAX || (biases[i].bias < -BIAS_MAX && isfinite(biases[i].bias))) {
            return dw_fail(err, DW_E_RANGE,
                           "logit_bias[%zu].bias: %g, minus infinity or from %g to %g is allowed",
                           i, (double)biases[i].bias, -(double)BIAS_MAX, (double)BIAS_MAX);
        }
    }
    if (count > 0 && sampler->candidates == NULL) {
        sampler->candidates = dw_alloc(sampler->vocab_count, sizeof *sampler->candidates);
    }
    dw_logit_bias *copy = count > 0 ? dw_alloc(count, sizeof *copy) : NULL;
    if (count > 0 && (copy == NULL || sampler->candidates == NULL)) {
        dw_free(copy);
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu biases", count);
    }
    if (count > 0) {
        memcpy(copy, biases, count * sizeof *copy);
    }
    dw_free(sampler->biases);
    sampler->biases = copy;
    sampler->bias_count = count;
    return DW_OK;
}

dw_status dw_sampler_set_breakers(dw_sampler *sampler, const dw_vocab *vocab,
                                  const char *const *breakers, size_t count, dw_error *err)
{
    const dw_sampler_params *params = &sampler->params;
    if (count > SAMPLER_BREAKERS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "dry breakers: %zu, limit %d", count, SAMPLER_BREAKERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(breakers[i]);
        if (bytes == 0 || bytes > SAMPLER_BREAKER_BYTES_MAX) {
            return dw_fail(err, DW_E_RANGE, "dry breakers[%zu]: %zu bytes, from 1 to %d is allowed",
                           i, bytes, SAMPLER_BREAKER_BYTES_MAX);
        }
    }
    if (sampler->filters[FILTER_DRY] == NULL) {
        return DW_OK;
    }
    if (dw_vocab_llama(vocab) == NULL) {
        return dw_vocab_wait(vocab, err);
    }
    struct llama_sampler *dry = dw_llama_dry(dw_vocab_llama(vocab), params, breakers, count);
    if (dry == NULL) {
        return dw_fail(err, DW_E_ARG, "dry breakers: %s", dw_llama_why());
    }
    llama_sampler_free(sampler->filters[FILTER_DRY]);
    sampler->filters[FILTER_DRY] = dry;
    for (size_t i = 0; i < count; i++) {
        memcpy(sampler->breakers[i], breakers[i], strlen(breakers[i]) + 1);
    }
    sampler->breaker_count = count;
    sampler->breakers_set = true;
    sampler->dry_count = 0;
    sampler->dry_first = 0;
    return DW_OK;
}

/* ---- tokens that were chosen ---------------------------------------------------------------- */

void dw__sampler_remember_dry(dw_sampler *sampler, int32_t token)
{
    if (sampler->filters[FILTER_DRY] == NULL) {
        return;
    }
    llama_sampler_accept(sampler->filters[FILTER_DRY], token);
    uint32_t capacity = (uint32_t)sampler->params.dry_tokens;
    DW_ASSERT(sampler->dry_count <= capacity && sampler->dry_first < capacity);
    sampler->dry_recent[(sampler->dry_first + sampler->dry_count) % capacity] = token;
    if (sampler->dry_count == capacity) {
        sampler->dry_first = (sampler->dry_first + 1) % capacity;
    } else {
        sampler->dry_count++;
    }
}

void dw__sampler_remember_recent(dw_sampler *sampler, int32_t token)
{
    if (sampler->recent == NULL) {
        return;
    }
    uint32_t capacity = (uint32_t)sampler->params.penalty_tokens;
    uint32_t place = (sampler->recent_first + sampler->recent_count) % capacity;
    DW_ASSERT(sampler->recent_count <= capacity);
    if (sampler->recent_count == capacity) {
        DW_ASSERT(place == sampler->recent_first &&
                  sampler->seen_counts[sampler->recent[place]] > 0);
        sampler->seen_counts[sampler->recent[place]]--;
        sampler->recent_first = (place + 1) % capacity;
    } else {
        sampler->recent_count++;
    }
    sampler->recent[place] = token;
    sampler->seen_counts[token]++;
}

dw_status dw_sampler_remember(dw_sampler *sampler, int32_t token, dw_error *err)
{
    if (token < 0 || (uint32_t)token >= sampler->vocab_count) {
        return dw_fail(err, DW_E_RANGE, "token: %d, the vocabulary has %u", token,
                       sampler->vocab_count);
    }
    if (sampler->grammar != NULL) {
        dw_status status = dw__sampler_accept_in_grammar(sampler, token, err);
        if (status != DW_OK) {
            return status;
        }
    }
    dw__sampler_remember_dry(sampler, token);
    dw__sampler_remember_recent(sampler, token);
    return DW_OK;
}

void dw_sampler_reseed(dw_sampler *sampler, uint64_t seed)
{
    sampler->params.seed = seed;
}
