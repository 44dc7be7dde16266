/* Penalties, filters, one draw. Penalties are ours: libllama's look each of the vocabulary's
 * tokens up in a hash map, once a token generated; ours touch only the tokens seen. */
#include "sampling/sampler.h"

#include <llama.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sampling/sampler_internal.h"
#include "text/llama_guard.h"

#define PENALTY_TOKENS_DEFAULT 64
#define PENALTY_TOKENS_MAX 4096
#define BIASES_MAX 1024
#define BIAS_MAX 10000.0F
/* libllama sorts into buckets by int(6.4 * logit): beyond this the conversion would overflow. */
#define LOGIT_MAX 1.0e8F
/* Smaller temperatures would turn logits into infinities; 0 says greedy. */
#define TEMPERATURE_MIN 0.001F
#define TEMPERATURE_MAX 100.0F
/* Below this libllama's typical_p takes the logarithm of a probability that is 0. */
#define TYPICAL_DEPTH 70.0F
#define GREEDY_LANES 16

/* ---- parameters ----------------------------------------------------------------------------- */

typedef struct number_rule {
    const char *name;
    float value;
    float min;
    float max;
} number_rule;

static dw_status check_number(const number_rule *rule, dw_error *err)
{
    if (!isfinite(rule->value)) {
        return dw_fail(err, DW_E_NUMERIC, "%s: %f, a number from %g to %g is needed", rule->name,
                       (double)rule->value, (double)rule->min, (double)rule->max);
    }
    if (rule->value < rule->min || rule->value > rule->max) {
        return dw_fail(err, DW_E_RANGE, "%s: %g, from %g to %g is allowed", rule->name,
                       (double)rule->value, (double)rule->min, (double)rule->max);
    }
    return DW_OK;
}

static dw_status check_numbers(const dw_sampler_params *params, dw_error *err)
{
    const number_rule rules[] = {
        {"temperature", params->temperature, 0.0F, TEMPERATURE_MAX},
        {"top_p", params->top_p, 0.0F, 1.0F},
        {"min_p", params->min_p, 0.0F, 1.0F},
        {"repeat_penalty", params->repeat_penalty, 0.0F, 10.0F},
        {"frequency_penalty", params->frequency_penalty, -10.0F, 10.0F},
        {"presence_penalty", params->presence_penalty, -10.0F, 10.0F},
        {"temperature_range", params->temperature_range, 0.0F, TEMPERATURE_MAX},
        {"temperature_exponent", params->temperature_exponent, 0.0F, 10.0F},
        {"typical_p", params->typical_p, 0.0F, 1.0F},
        {"top_n_sigma", params->top_n_sigma, 0.0F, 100.0F},
        {"xtc_probability", params->xtc_probability, 0.0F, 1.0F},
        {"xtc_threshold", params->xtc_threshold, 0.0F, 1.0F},
        {"dry_multiplier", params->dry_multiplier, 0.0F, 100.0F},
        {"dry_base", params->dry_base, 0.0F, 100.0F},
        {"mirostat_tau", params->mirostat_tau, 0.0F, 100.0F},
        {"mirostat_eta", params->mirostat_eta, 0.0F, 1.0F},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        dw_status status = check_number(&rules[i], err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

static dw_status check_wholes(const dw_sampler_params *params, dw_error *err)
{
    const struct {
        const char *name;
        int32_t value;
        int32_t max;
    } rules[] = {
        {"top_k", params->top_k, INT32_MAX},
        {"penalty_tokens", params->penalty_tokens, PENALTY_TOKENS_MAX},
        {"dry_allowed_length", params->dry_allowed_length, PENALTY_TOKENS_MAX},
        {"dry_tokens", params->dry_tokens, PENALTY_TOKENS_MAX},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].value < 0 || rules[i].value > rules[i].max) {
            return dw_fail(err, DW_E_RANGE, "%s: %d, from 0 to %d is allowed", rules[i].name,
                           rules[i].value, rules[i].max);
        }
    }
    return DW_OK;
}

/* Rules with a hole in them: 0 says off, the smallest numbers above it make no sense. */
static dw_status check_params(const dw_sampler_params *params, dw_error *err)
{
    dw_status status = check_numbers(params, err);
    if (status == DW_OK) {
        status = check_wholes(params, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (params->temperature > 0.0F && params->temperature < TEMPERATURE_MIN) {
        return dw_fail(err, DW_E_RANGE, "temperature: %g, 0 or from %g to %g is allowed",
                       (double)params->temperature, (double)TEMPERATURE_MIN,
                       (double)TEMPERATURE_MAX);
    }
    if (params->temperature > 0.0F &&
        params->temperature - params->temperature_range < TEMPERATURE_MIN) {
        return dw_fail(err, DW_E_RANGE, "temperature_range: %g, from 0 to %g is allowed (%g less)",
                       (double)params->temperature_range,
                       (double)(params->temperature - TEMPERATURE_MIN), (double)TEMPERATURE_MIN);
    }
    if (params->repeat_penalty > 0.0F && params->repeat_penalty < 0.01F) {
        return dw_fail(err, DW_E_RANGE, "repeat_penalty: %g, 0 or from 0.01 to 10 is allowed",
                       (double)params->repeat_penalty);
    }
    if (params->dry_base > 0.0F && params->dry_base < 1.0F) {
        return dw_fail(err, DW_E_RANGE, "dry_base: %g, 0 or from 1 to 100 is allowed",
                       (double)params->dry_base);
    }
    if (params->reserved != 0) {
        return dw_fail(err, DW_E_ARG, "sampler parameters: the reserved field must be 0");
    }
    return DW_OK;
}

/* Guests of earlier headers give fewer bytes, those of later ones more: what is missing is off,
 * what we do not know must be. */
dw_status dw_sampler_params_read(dw_sampler_params *to, const void *from, size_t bytes,
                                 dw_error *err)
{
    const unsigned char *source = from;
    size_t known = bytes < sizeof *to ? bytes : sizeof *to;
    memset(to, 0, sizeof *to);
    if (bytes < DW_SAMPLER_PARAMS_BYTES_MIN || bytes > DW_SAMPLER_PARAMS_BYTES_MAX) {
        return dw_fail(err, DW_E_RANGE, "struct_bytes: %zu, from %d to %d is allowed", bytes,
                       DW_SAMPLER_PARAMS_BYTES_MIN, DW_SAMPLER_PARAMS_BYTES_MAX);
    }
    for (size_t i = known; i < bytes; i++) {
        if (source[i] != 0) {
            return dw_fail(err, DW_E_UNSUPPORTED,
                           "sampler parameters: byte %zu is set, this host knows %zu", i,
                           sizeof *to);
        }
    }
    memcpy(to, source, known);
    return DW_OK;
}

/* ---- creation ------------------------------------------------------------------------------- */

static bool greedy(const dw_sampler *sampler)
{
    return sampler->params.temperature == 0.0F && sampler->bias_count == 0 && !sampler->masked;
}

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
    /* Mirostat sets the cut by itself: the other cuts are off, as in llama.cpp. */
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

static bool allocate(dw_sampler *sampler)
{
    sampler->candidates = dw_alloc(sampler->vocab_count, sizeof *sampler->candidates);
    if (sampler->candidates == NULL || !add_filters(sampler)) {
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

static void set_defaults(dw_sampler_params *params)
{
    params->penalty_tokens =
        params->penalty_tokens == 0 ? PENALTY_TOKENS_DEFAULT : params->penalty_tokens;
    params->temperature_exponent =
        params->temperature_exponent == 0.0F ? 1.0F : params->temperature_exponent;
    params->xtc_threshold = params->xtc_threshold == 0.0F ? 0.1F : params->xtc_threshold;
    params->dry_base = params->dry_base == 0.0F ? 1.75F : params->dry_base;
    params->dry_allowed_length = params->dry_allowed_length == 0 ? 2 : params->dry_allowed_length;
    params->dry_tokens = params->dry_tokens == 0 ? PENALTY_TOKENS_MAX : params->dry_tokens;
    params->mirostat_eta = params->mirostat_eta == 0.0F ? 0.1F : params->mirostat_eta;
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
    dw_status status = check_params(params, err);
    if (status != DW_OK) {
        return status;
    }
    dw_sampler *sampler = dw_alloc(1, sizeof *sampler);
    if (sampler == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a sampler");
    }
    sampler->params = *params;
    sampler->vocab_count = vocab_count;
    set_defaults(&sampler->params);
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
    dw_grammar_destroy(sampler->grammar);
    dw_free(sampler->grammar_text);
    dw_free(sampler->grammar_tokens);
    dw_free(sampler->dry_recent);
    dw_free(sampler->allowed);
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
    if (dw__vocab_llama(vocab) == NULL) {
        return dw_vocab_wait(vocab, err);
    }
    struct llama_sampler *dry = dw__llama_dry(dw__vocab_llama(vocab), params, breakers, count);
    if (dry == NULL) {
        return dw_fail(err, DW_E_ARG, "dry breakers: %s", dw__llama_why());
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

/* ---- the grammar ---------------------------------------------------------------------------- */

static int32_t find_token(const void *user, const char *text, size_t bytes)
{
    return dw_vocab_find(user, text, bytes);
}

static dw_status make_grammar(dw_sampler *sampler, const dw_vocab *vocab, const char *text,
                              size_t bytes, dw_grammar **out, dw_error *err)
{
    const dw_vocab_pieces *pieces;
    const dw_grammar_tokens tokens = {sampler->vocab_count, find_token, vocab};
    if (dw_vocab_count(vocab) != sampler->vocab_count) {
        return dw_fail(err, DW_E_ARG, "grammar: a vocabulary of %u tokens, the sampler has %u",
                       dw_vocab_count(vocab), sampler->vocab_count);
    }
    if (sampler->candidates == NULL) {
        sampler->candidates = dw_alloc(sampler->vocab_count, sizeof *sampler->candidates);
    }
    if (sampler->allowed == NULL) {
        sampler->allowed = dw_alloc(sampler->vocab_count, sizeof *sampler->allowed);
    }
    if (sampler->candidates == NULL || sampler->allowed == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar over %u tokens",
                       sampler->vocab_count);
    }
    dw_status status = dw_vocab_pieces_of(vocab, &pieces, err);
    return status == DW_OK ? dw_grammar_create(out, pieces, text, bytes, &tokens, err) : status;
}

dw_status dw_sampler_set_grammar(dw_sampler *sampler, const dw_vocab *vocab, const char *text,
                                 size_t bytes, dw_error *err)
{
    dw_grammar *grammar = NULL;
    dw_status status = bytes > 0 ? make_grammar(sampler, vocab, text, bytes, &grammar, err) : DW_OK;
    char *copy = status == DW_OK ? dw_alloc(bytes + 1, 1) : NULL;
    if (status == DW_OK && copy == NULL) {
        dw_grammar_destroy(grammar);
        status = dw_fail(err, DW_E_MEMORY, "no memory for a grammar of %zu bytes", bytes);
    }
    if (status != DW_OK) {
        return status;
    }
    if (bytes > 0) {
        memcpy(copy, text, bytes);
    }
    dw_grammar_destroy(sampler->grammar);
    dw_free(sampler->grammar_text);
    sampler->grammar = grammar;
    sampler->grammar_text = copy;
    sampler->grammar_bytes = bytes;
    sampler->grammar_count = 0;
    return DW_OK;
}

dw_status dw_sampler_mask(dw_sampler *sampler, float *logits, dw_error *err)
{
    if (sampler->grammar == NULL) {
        return DW_OK;
    }
    dw_status status = dw_grammar_mask(sampler->grammar, sampler->allowed, err);
    for (uint32_t i = 0; status == DW_OK && i < sampler->vocab_count; i++) {
        logits[i] = sampler->allowed[i] ? logits[i] : -INFINITY;
    }
    return status;
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* The candidates that are finite; -inf is a token that the guest has ruled out. */
static dw_status gather(dw_sampler *sampler, const float *logits, size_t *count, dw_error *err)
{
    size_t kept = 0;
    for (uint32_t i = 0; i < sampler->vocab_count; i++) {
        float logit = logits[i];
        if (!isfinite(logit)) {
            if (isnan(logit) || logit > 0.0F) {
                return dw_fail(err, DW_E_NUMERIC, "logits[%u]: %f", i, (double)logit);
            }
            continue;
        }
        if (sampler->masked && !sampler->allowed[i]) {
            continue;
        }
        logit = fminf(fmaxf(logit, -LOGIT_MAX), LOGIT_MAX);
        sampler->candidates[kept++] = (llama_token_data){.id = (int32_t)i, .logit = logit};
    }
    *count = kept;
    if (kept == 0) {
        return dw_fail(err, DW_E_NUMERIC, "logits: all %u are -inf%s", sampler->vocab_count,
                       sampler->masked ? " or against the grammar" : "");
    }
    return DW_OK;
}

/* Repetition as in CTRL (Keskar et al. 2019), with negative logits multiplied so that they too
 * become less likely; frequency and presence as OpenAI documents them. */
static float penalised(const dw_sampler_params *params, float logit, uint16_t seen_count)
{
    if (params->repeat_penalty != 0.0F) {
        logit = logit > 0.0F ? logit / params->repeat_penalty : logit * params->repeat_penalty;
    }
    logit -= (float)seen_count * params->frequency_penalty + params->presence_penalty;
    return fminf(fmaxf(logit, -LOGIT_MAX), LOGIT_MAX);
}

/* Candidates stand in the order of their ids, and where none was ruled out id == place. */
static void penalise(dw_sampler *sampler, size_t count)
{
    if (sampler->recent_count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        llama_token_data *candidate = &sampler->candidates[i];
        uint16_t seen_count = sampler->seen_counts[candidate->id];
        if (seen_count > 0) {
            candidate->logit = penalised(&sampler->params, candidate->logit, seen_count);
        }
    }
}

/* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): its
 * n-th output is a function of the seed and n alone. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static double uniform(uint64_t seed, uint64_t draw)
{
    uint64_t start = mix(seed + UINT64_C(0x9e3779b97f4a7c15));
    uint64_t bits = mix(start + (draw + 1) * UINT64_C(0x9e3779b97f4a7c15));
    return (double)(bits >> 11) * 0x1.0p-53;
}

static int32_t draw(dw_sampler *sampler, const llama_token_data_array *list)
{
    float largest = list->data[0].logit;
    for (size_t i = 1; i < list->size; i++) {
        largest = fmaxf(largest, list->data[i].logit);
    }
    double total = 0.0;
    for (size_t i = 0; i < list->size; i++) {
        list->data[i].p = expf(list->data[i].logit - largest);
        total += (double)list->data[i].p;
    }
    double goal = uniform(sampler->params.seed, sampler->draw_count++) * total;
    double sum = 0.0;
    size_t last = 0;
    for (size_t i = 0; i < list->size; i++) {
        if (list->data[i].p > 0.0F) {
            last = i;
            sum += (double)list->data[i].p;
            if (sum > goal) {
                break;
            }
        }
    }
    return list->data[last].id;
}

/* Candidates stand in the order of their ids, some of them missing. */
static llama_token_data *candidate_of(const dw_sampler *sampler, size_t count, int32_t token)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sampler->candidates[middle].id < token) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < count && sampler->candidates[low].id == token;
    return found ? &sampler->candidates[low] : NULL;
}

static void bias(dw_sampler *sampler, size_t count)
{
    for (size_t i = 0; i < sampler->bias_count; i++) {
        llama_token_data *candidate = candidate_of(sampler, count, sampler->biases[i].token);
        if (candidate != NULL) {
            float logit = candidate->logit + sampler->biases[i].bias;
            candidate->logit = isfinite(logit) ? fminf(logit, LOGIT_MAX) : -INFINITY;
        }
    }
}

/* Leave out what is ruled out, or less likely than the likeliest by a factor of e^depth. */
static void compact(llama_token_data_array *list, float depth)
{
    float largest = -INFINITY;
    size_t kept = 0;
    for (size_t i = 0; i < list->size; i++) {
        largest = fmaxf(largest, list->data[i].logit);
    }
    for (size_t i = 0; i < list->size; i++) {
        if (list->data[i].logit != -INFINITY && list->data[i].logit >= largest - depth) {
            list->data[kept] = list->data[i];
            list->data[kept++].logit = fmaxf(list->data[i].logit, -LOGIT_MAX);
        }
    }
    list->size = kept;
}

static dw_status apply_filters_from(dw_sampler *sampler, filter_kind kind,
                                    llama_token_data_array *list, dw_error *err)
{
    for (; kind < FILTER_COUNT; kind++) {
        if (sampler->filters[kind] == NULL ||
            (kind == FILTER_XTC && uniform(~sampler->params.seed, sampler->draw_count) >=
                                       (double)sampler->params.xtc_probability)) {
            continue;
        }
        if (kind == FILTER_TYPICAL_P) {
            compact(list, TYPICAL_DEPTH);
        }
        if (!dw__llama_sampler_apply(sampler->filters[kind], list)) {
            return dw_fail(err, DW_E_MEMORY, "no memory to choose among %zu tokens", list->size);
        }
        if (kind == FILTER_DRY) {
            for (size_t i = 0; i < list->size; i++) { /* its penalty may be infinite */
                list->data[i].logit = fmaxf(list->data[i].logit, -LOGIT_MAX);
            }
        } else if (kind == FILTER_TOP_N_SIGMA) {
            compact(list, INFINITY);
        }
        DW_ASSERT(list->size > 0);
    }
    return DW_OK;
}

/* Mirostat 2 (Basu et al. 2021): leave out what surprises more than mu; mu then follows the
 * surprise of the token drawn. Ours, since libllama's hides mu and draws by itself. */
static int32_t draw_mirostat(dw_sampler *sampler, llama_token_data_array *list)
{
    float largest = -INFINITY;
    double total = 0.0;
    size_t kept = 0;
    for (size_t i = 0; i < list->size; i++) {
        largest = fmaxf(largest, list->data[i].logit);
    }
    for (size_t i = 0; i < list->size; i++) {
        total += exp((double)(list->data[i].logit - largest));
    }
    double depth = (double)sampler->mirostat_mu * log(2.0) - log(total);
    for (size_t i = 0; i < list->size; i++) {
        if (list->data[i].logit == largest || (double)(largest - list->data[i].logit) <= depth) {
            list->data[kept++] = list->data[i];
        }
    }
    list->size = kept;
    int32_t token = draw(sampler, list);
    double left = 0.0;
    double drawn = 0.0;
    for (size_t i = 0; i < kept; i++) {
        double weight = exp((double)(list->data[i].logit - largest));
        left += weight;
        drawn = list->data[i].id == token ? weight : drawn;
    }
    double surprise = log2(left / drawn);
    sampler->mirostat_mu -=
        sampler->params.mirostat_eta * (float)(surprise - (double)sampler->params.mirostat_tau);
    return token;
}

static int32_t likeliest(const llama_token_data_array *list)
{
    size_t best = 0;
    for (size_t i = 1; i < list->size; i++) {
        best = list->data[i].logit > list->data[best].logit ? i : best;
    }
    return list->data[best].id;
}

/* ---- choosing among the likeliest ---- */

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
static bool decides_among(const dw_sampler *sampler)
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
    return decides_among(sampler) ? DW_TOP_K_MAX : 1;
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

/* The same candidates decide whether a device has found them or we in a row: where a token stands
 * in the list says which draws it is for, so that order among equals must not be left to chance. */
static dw_status choose_among(dw_sampler *sampler, const dw_top_k *from, double margin,
                              bool *decided, int32_t *token, dw_error *err)
{
    filter_kind next = FILTER_TOP_K;
    size_t count = first_cut(sampler, from, margin, &next);
    /* What is beyond is made as large as what is not, and no longer told apart. */
    *decided = count > 0 && fabsf(from->largest) <= LOGIT_MAX;
    if (!*decided) {
        return DW_OK;
    }
    llama_token_data_array list = {
        .data = sampler->candidates, .size = 0, .selected = -1, .sorted = true};
    for (size_t i = 0; i < count && from->list[i].logit > -INFINITY; i++) {
        float logit = fmaxf(from->list[i].logit, -LOGIT_MAX);
        list.data[list.size++] = (llama_token_data){.id = from->list[i].token, .logit = logit};
    }
    if (sampler->filters[FILTER_TOP_K] == NULL && sampler->filters[FILTER_TOP_P] == NULL) {
        qsort(list.data, list.size, sizeof *list.data, by_token); /* as without a cut by rank */
        list.sorted = false;
    }
    dw_status status = apply_filters_from(sampler, next, &list, err);
    if (status == DW_OK) {
        *token = draw(sampler, &list);
    }
    return status;
}

/* In a row by its likeliest alone, where these decide. */
static dw_status choose_by_likeliest(dw_sampler *sampler, const float *logits, bool *decided,
                                     int32_t *token, dw_error *err)
{
    dw_top_k likeliest;
    bool of_mass = sampler->filters[FILTER_TOP_K] == NULL && sampler->filters[FILTER_TOP_P] != NULL;
    dw_top_k_find(&likeliest, logits, sampler->vocab_count, of_mass);
    *decided = false;
    if (likeliest.nan_count > 0 || !isfinite(likeliest.largest)) {
        return DW_OK; /* the whole row tells where */
    }
    return choose_among(sampler, &likeliest, 0.0, decided, token, err);
}

static dw_status choose(dw_sampler *sampler, const float *logits, int32_t *token, dw_error *err)
{
    if (greedy(sampler)) {
        return dw_greedy_choose(logits, sampler->vocab_count, token, err);
    }
    bool decided = false;
    dw_status status = DW_OK;
    if (!sampler->masked && decides_among(sampler)) {
        status = choose_by_likeliest(sampler, logits, &decided, token, err);
    }
    if (status != DW_OK || decided) {
        return status;
    }
    size_t count = 0;
    status = gather(sampler, logits, &count, err);
    if (status != DW_OK) {
        return status;
    }
    llama_token_data_array list = {
        .data = sampler->candidates, .size = count, .selected = -1, .sorted = false};
    if (sampler->bias_count > 0) {
        bias(sampler, count);
        compact(&list, INFINITY);
        if (list.size == 0) {
            return dw_fail(err, DW_E_NUMERIC, "logits: biases rule all %u out",
                           sampler->vocab_count);
        }
    }
    if (sampler->params.temperature == 0.0F) {
        *token = likeliest(&list);
        return DW_OK;
    }
    penalise(sampler, list.size);
    status = apply_filters_from(sampler, 0, &list, err);
    if (status != DW_OK) {
        return status;
    }
    bool mirostat = sampler->params.mirostat_tau > 0.0F;
    *token = mirostat ? draw_mirostat(sampler, &list) : draw(sampler, &list);
    return DW_OK;
}

/* The grammar looks at one token first, at all of them only where it refuses that one: most steps
 * cost it next to nothing. A refused draw followed by one among the allowed gives each of these the
 * same odds as a single draw among them. */
dw_status dw_sampler_choose(dw_sampler *sampler, const float *logits, int32_t *token, dw_error *err)
{
    float mu = sampler->mirostat_mu;
    bool allowed = true;
    dw_status status = choose(sampler, logits, token, err);
    if (status == DW_OK && sampler->grammar != NULL) {
        status = dw_grammar_allows(sampler->grammar, *token, &allowed, err);
    }
    if (status != DW_OK || allowed) {
        return status;
    }
    sampler->mirostat_mu = mu;
    status = dw_grammar_mask(sampler->grammar, sampler->allowed, err);
    if (status == DW_OK) {
        sampler->masked = true;
        status = choose(sampler, logits, token, err);
        sampler->masked = false;
    }
    return status;
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
    if (greedy(sampler)) {
        *token = candidates->list[0].token;
        *decided = true;
    } else {
        status = choose_among(sampler, candidates, TOTAL_MARGIN, decided, token, err);
    }
    if (status == DW_OK && *decided && sampler->grammar != NULL) {
        status = dw_grammar_allows(sampler->grammar, *token, decided, err);
    }
    if (status != DW_OK || !*decided) {
        sampler->draw_count = draw_count; /* it is drawn again, from all */
    }
    return status;
}

/* The tokens are kept, since a copy of the grammar gets to where it is by them. */
dw_status dw__sampler_accept_in_grammar(dw_sampler *sampler, int32_t token, dw_error *err)
{
    if (sampler->grammar_count == sampler->grammar_capacity) {
        size_t capacity = sampler->grammar_capacity == 0 ? 64 : sampler->grammar_capacity * 2;
        int32_t *grown = dw_realloc(sampler->grammar_tokens, capacity, sizeof *grown);
        if (grown == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory to remember %zu tokens", capacity);
        }
        sampler->grammar_tokens = grown;
        sampler->grammar_capacity = capacity;
    }
    dw_status status = dw_grammar_accept(sampler->grammar, token, err);
    if (status == DW_OK) {
        sampler->grammar_tokens[sampler->grammar_count++] = token;
    }
    return status;
}

void dw__sampler_remember_dry(dw_sampler *sampler, int32_t token)
{
    if (sampler->filters[FILTER_DRY] == NULL) {
        return;
    }
    llama_sampler_accept(sampler->filters[FILTER_DRY], token);
    uint32_t capacity = (uint32_t)sampler->params.dry_tokens;
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
    if (sampler->recent_count == capacity) {
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

/* Lanes, so that the compiler can use vector instructions: 38 us over 49,152 logits, where a plain
 * loop takes 190, 2 % of a decode step of the smallest models. */
dw_status dw_greedy_choose(const float *logits, uint32_t count, int32_t *token, dw_error *err)
{
    float best[GREEDY_LANES];
    int bad[GREEDY_LANES] = {0};
    uint32_t i = 0;
    for (uint32_t lane = 0; lane < GREEDY_LANES; lane++) {
        best[lane] = -INFINITY;
    }
    for (; i + GREEDY_LANES <= count; i += GREEDY_LANES) {
        for (uint32_t lane = 0; lane < GREEDY_LANES; lane++) {
            float logit = logits[i + lane];
            best[lane] = logit > best[lane] ? logit : best[lane];
            bad[lane] |= logit != logit;
        }
    }
    for (; i < count; i++) {
        best[0] = logits[i] > best[0] ? logits[i] : best[0];
        bad[0] |= logits[i] != logits[i];
    }
    for (uint32_t lane = 1; lane < GREEDY_LANES; lane++) {
        best[0] = best[lane] > best[0] ? best[lane] : best[0];
        bad[0] |= bad[lane];
    }
    if (bad[0] || !isfinite(best[0])) {
        return dw_fail(err, DW_E_NUMERIC, "logits: %s among the %u",
                       bad[0]           ? "NaN"
                       : best[0] > 0.0F ? "infinity"
                                        : "nothing finite",
                       count);
    }
    for (i = 0; logits[i] != best[0]; i++) {}
    *token = (int32_t)i;
    return DW_OK;
}
