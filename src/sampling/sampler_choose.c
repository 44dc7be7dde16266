/* A token chosen from a whole row of logits: biases, penalties, filters, one draw. */
#include <llama.h>
#include <math.h>

#include "sampling/sampler_internal.h"
#include "text/llama_guard.h"

/* Below this libllama's typical_p takes the logarithm of a probability that is 0. */
#define TYPICAL_DEPTH 70.0F
#define GREEDY_LANES 16

/* ---- candidates ----------------------------------------------------------------------------- */

/* The candidates that are finite; -inf is a token that the guest has ruled out. */
static dw_status gather(dw_sampler *sampler, const float *logits, size_t *count, dw_error *err)
{
    DW_ASSERT(sampler->candidates != NULL && (!sampler->masked || sampler->allowed != NULL));
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
        logit = fminf(fmaxf(logit, -SAMPLER_LOGIT_MAX), SAMPLER_LOGIT_MAX);
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
    return fminf(fmaxf(logit, -SAMPLER_LOGIT_MAX), SAMPLER_LOGIT_MAX);
}

/* Candidates stand in the order of their ids, and where none was ruled out id == place. */
static void penalise(dw_sampler *sampler, size_t count)
{
    DW_ASSERT(count <= sampler->vocab_count);
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
            candidate->logit = isfinite(logit) ? fminf(logit, SAMPLER_LOGIT_MAX) : -INFINITY;
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
            list->data[kept++].logit = fmaxf(list->data[i].logit, -SAMPLER_LOGIT_MAX);
        }
    }
    list->size = kept;
}

/* ---- filters and draws ---------------------------------------------------------------------- */

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

int32_t dw__sampler_draw(dw_sampler *sampler, const llama_token_data_array *list)
{
    DW_ASSERT(list->size > 0 && list->size <= sampler->vocab_count);
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

dw_status dw__sampler_filter(dw_sampler *sampler, filter_kind kind, llama_token_data_array *list,
                             dw_error *err)
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
        if (!dw_llama_sampler_apply(sampler->filters[kind], list)) {
            return dw_fail(err, DW_E_MEMORY, "no memory to choose among %zu tokens", list->size);
        }
        if (kind == FILTER_DRY) {
            for (size_t i = 0; i < list->size; i++) { /* its penalty may be infinite */
                list->data[i].logit = fmaxf(list->data[i].logit, -SAMPLER_LOGIT_MAX);
            }
        } else if (kind == FILTER_TOP_N_SIGMA) {
            compact(list, INFINITY);
        }
        DW_ASSERT(list->size > 0);
    }
    return DW_OK;
}

/* Mirostat 2 (Basu et al. 2021): leave out what surprises more than mu; mu then follows the
 * surprise of the token drawn. Not libllama's, which hides mu and draws by itself. */
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
    int32_t token = dw__sampler_draw(sampler, list);
    double left = 0.0;
    double drawn = 0.0;
    for (size_t i = 0; i < kept; i++) {
        double weight = exp((double)(list->data[i].logit - largest));
        left += weight;
        drawn = list->data[i].id == token ? weight : drawn;
    }
    DW_ASSERT(drawn > 0.0);
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

/* ---- the choice ----------------------------------------------------------------------------- */

static dw_status choose(dw_sampler *sampler, const float *logits, int32_t *token, dw_error *err)
{
    if (dw__sampler_is_greedy(sampler)) {
        return dw_greedy_choose(logits, sampler->vocab_count, token, err);
    }
    bool decided = false;
    dw_status status = DW_OK;
    if (!sampler->masked && dw__sampler_decides_by_likeliest(sampler)) {
        status = dw__sampler_choose_by_likeliest(sampler, logits, &decided, token, err);
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
    status = dw__sampler_filter(sampler, 0, &list, err);
    if (status != DW_OK) {
        return status;
    }
    bool mirostat = sampler->params.mirostat_tau > 0.0F;
    *token = mirostat ? draw_mirostat(sampler, &list) : dw__sampler_draw(sampler, &list);
    return DW_OK;
}

/* The grammar looks at one token first, at all of them only where it refuses that one: most steps
 * cost it next to nothing. A refused draw followed by one among the allowed gives each of these the
 * same odds as a single draw among them. */
dw_status dw_sampler_choose(dw_sampler *sampler, const float *logits, int32_t *token, dw_error *err)
{
    float mu = sampler->mirostat_mu;
    bool allowed = false;
    DW_ASSERT(!sampler->masked);
    dw_status status = choose(sampler, logits, token, err);
    if (status != DW_OK || sampler->grammar == NULL) {
        return status;
    }
    status = dw_grammar_allows(sampler->grammar, *token, &allowed, err);
    if (status != DW_OK || allowed) {
        return status;
    }
    sampler->mirostat_mu = mu;
    status = dw_grammar_mask(sampler->grammar, sampler->allowed, err);
    if (status != DW_OK) {
        return status;
    }
    sampler->masked = true;
    status = choose(sampler, logits, token, err);
    sampler->masked = false;
    return status;
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
