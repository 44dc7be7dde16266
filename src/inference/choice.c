#include "inference/choice.h"

#include <math.h>

static bool wants_probabilities(const dw_choice *choice)
{
    return choice->wants_log_probability || choice->top_count > 0;
}

uint32_t dw__choice_top_k_count(const dw_choice *choice)
{
    return wants_probabilities(choice) ? DW_TOP_K_MAX : dw_sampler_top_k_count(choice->sampler);
}

/* False: the row has nothing to tell probabilities of. */
static bool check(dw_choice *choice, const dw_top_k *found)
{
    if (isfinite(found->largest) && found->total > 0.0) {
        return true;
    }
    choice->status = dw_fail(&choice->error, DW_E_NUMERIC, "logits: none is finite");
    return false;
}

static float log_probability_of(const dw_top_k *found, float logit)
{
    return (float)((double)logit - (double)found->largest - log(found->total));
}

static void tell_top(dw_choice *choice, const dw_top_k *found)
{
    DW_ASSERT(choice->top_count <= found->count);
    for (uint32_t i = 0; i < choice->top_count; i++) {
        choice->top_tokens[i] = found->list[i].token;
        if (choice->top_log_probabilities != NULL) {
            choice->top_log_probabilities[i] = log_probability_of(found, found->list[i].logit);
        }
    }
}

bool dw__choice_from_top_k(dw_choice *choice, const dw_top_k *candidates)
{
    bool decided = true;
    choice->status = DW_OK;
    if (wants_probabilities(choice) && !check(choice, candidates)) {
        return true;
    }
    if (choice->sampler != NULL) {
        choice->status = dw_sampler_choose_from_top_k(choice->sampler, candidates, &decided,
                                                      &choice->token, &choice->error);
    }
    if (choice->status != DW_OK || !decided) {
        return decided || choice->status != DW_OK;
    }
    for (uint32_t i = 0; choice->wants_log_probability && i < candidates->count; i++) {
        if (candidates->list[i].token == choice->token) {
            choice->log_probability = log_probability_of(candidates, candidates->list[i].logit);
        }
    }
    tell_top(choice, candidates);
    return true;
}

void dw__choice_from_row(dw_choice *choice, const float *logits, uint32_t vocab_count)
{
    dw_top_k found;
    choice->status = DW_OK;
    if (wants_probabilities(choice)) {
        dw_top_k_find(&found, logits, vocab_count, true);
        if (!check(choice, &found)) {
            return;
        }
    }
    if (choice->sampler != NULL) {
        choice->status = dw_sampler_choose(choice->sampler, logits, &choice->token, &choice->error);
    }
    if (choice->status == DW_OK && choice->wants_log_probability) {
        choice->log_probability = log_probability_of(&found, logits[choice->token]);
    }
    if (choice->status == DW_OK && choice->top_count > 0) {
        tell_top(choice, &found);
    }
}
