/* How well a model predicts a text: whole windows of tokens computed at once, and what the logits
 * say of the token that follows. */
#ifndef DW_INFERENCE_SCORE_H
#define DW_INFERENCE_SCORE_H

#include "inference/context.h"

typedef struct dw_scorer dw_scorer;

/* A context of `window_tokens`, its KV cache in `kv_type`, and room for the logits of `rows_max`
 * tokens. Errors: DW_E_RANGE (window_tokens of 0, or beyond the model's length), DW_E_UNSUPPORTED
 * (kv_type does not suit the model), DW_E_MEMORY, those of dw_device_view_create. */
dw_status dw_scorer_create(dw_scorer **out, dw_model *model, uint32_t window_tokens,
                           uint32_t rows_max, dw_kv_type kv_type, dw_error *err);
void dw_scorer_destroy(dw_scorer *scorer);

/* Compute tokens [count] <= rows_max behind those so far. `*logits` is [count][vocab_count], until
 * the next call. Errors: dw_context_forward's. */
dw_status dw_scorer_append(dw_scorer *scorer, const int32_t *tokens, uint32_t count,
                           const float **logits, dw_error *err);
/* The same from an empty context on. */
dw_status dw_scorer_window(dw_scorer *scorer, const int32_t *tokens, uint32_t count,
                           const float **logits, dw_error *err);

/* -log softmax(logits [count])[token], in double precision. */
double dw_score_token(const float *logits, uint32_t count, int32_t token);

/* As llama-perplexity has it: of each whole window of tokens [count] the second half is predicted,
 * with the first token replaced by BOS where the model adds one. For a scorer with room for a
 * whole window. Errors: DW_E_ARG (less than one window, or a window below 4), DW_E_NUMERIC, those
 * of dw_scorer_window. */
dw_status dw_scorer_perplexity(dw_scorer *scorer, int32_t *tokens, size_t count,
                               dw_perplexity *result, dw_error *err);

#endif
