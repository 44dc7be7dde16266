/* Choosing a token from logits. The filters are libllama's; the last draw is ours, from a
 * counter-based generator (seed, number of the draw), so that a sampler's state is a few numbers
 * that can be saved and go on elsewhere. Thread: one at a time. */
#ifndef DW_MODEL_SAMPLER_H
#define DW_MODEL_SAMPLER_H

#include "base/status.h"
#include "driftwood_abi.h"

typedef struct dw_sampler dw_sampler;

/* `params` NULL: greedy. Errors: DW_E_NUMERIC (NaN or infinite), DW_E_RANGE, DW_E_MEMORY; the
 * message names the parameter, its value and the range. */
dw_status dw_sampler_create(dw_sampler **out, uint32_t vocab_count, const dw_sampler_params *params,
                            dw_error *err);
void dw_sampler_destroy(dw_sampler *sampler);
uint32_t dw_sampler_vocab_count(const dw_sampler *sampler);

/* logits [vocab_count], read in place. Errors: DW_E_NUMERIC (NaN among them, or none finite). */
dw_status dw_sampler_choose(dw_sampler *sampler, const float *logits, int32_t *token,
                            dw_error *err);
/* Remember a token for the penalties. Errors: DW_E_RANGE. */
dw_status dw_sampler_remember(dw_sampler *sampler, int32_t token, dw_error *err);
/* The index of the largest of logits [count], the first of equals. Errors: DW_E_NUMERIC. */
dw_status dw_greedy_choose(const float *logits, uint32_t count, int32_t *token, dw_error *err);

#endif
