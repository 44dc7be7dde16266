/* Filters over a list of candidates, and draws from it. */
#include <llama.h>
#include <math.h>

#include "sampling/sampler_internal.h"
#include "text/llama_guard.h"

/* Below this libllama's typical_p takes the logarithm of a probability that is 0. */
#define TYPICAL_DEPTH 70.0F

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

void dw__sampler_compact(llama_token_data_array *list, float depth)
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
            dw__sampler_compact(list, TYPICAL_DEPTH);
            dw__sampler_typical(sampler, list);
            continue;
        }
        if (kind == FILTER_TOP_P) {
            dw__sampler_top_p(sampler, list);
            continue;
        }
        if (kind == FILTER_XTC ||
            (kind == FILTER_TEMPERATURE && sampler->params.temperature_range > 0.0F)) {
            dw__sampler_sort(sampler, list); /* in a tenth of the time that libllama takes */
        }
        if (!dw_llama_sampler_apply(sampler->filters[kind], list)) {
            return dw_fail(err, DW_E_MEMORY, "no memory to choose among %zu tokens", list->size);
        }
        if (kind == FILTER_DRY) {
            for (size_t i = 0; i < list->size; i++) { /* its penalty may be infinite */
                list->data[i].logit = fmaxf(list->data[i].logit, -SAMPLER_LOGIT_MAX);
            }
        } else if (kind == FILTER_TOP_N_SIGMA) {
            dw__sampler_compact(list, INFINITY);
        }
        DW_ASSERT(list->size > 0);
    }
    return DW_OK;
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

/* Mirostat 2 (Basu et al. 2021): leave out what surprises more than mu; mu then follows the
 * surprise of the token drawn. Not libllama's, which hides mu and draws by itself. */
int32_t dw__sampler_draw_mirostat(dw_sampler *sampler, llama_token_data_array *list)
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
