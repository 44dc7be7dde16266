#include "inference/score.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "device/device_view.h"

#define TOKENS_ALIGN 65536u /* logits begin at a multiple that every device takes */

struct dw_scorer {
    dw_context *context;
    dw_region *region; /* tokens, then logits */
    dw_device_view *view;
    dw_counters counters;
    uint32_t window_tokens;
    uint32_t rows_max;
    uint32_t vocab_count;
    size_t logits_offset;
};

static dw_status make_region(dw_scorer *scorer, dw_model *model, dw_error *err)
{
    size_t bytes = 0;
    bool fits = dw_round_up(&scorer->logits_offset, (size_t)scorer->rows_max * sizeof(int32_t),
                            TOKENS_ALIGN) &&
                dw_mul_size(&bytes, scorer->rows_max, scorer->vocab_count * sizeof(float)) &&
                bytes <= SIZE_MAX / 2 && dw_round_up(&bytes, bytes, TOKENS_ALIGN);
    if (!fits) {
        return dw_fail(err, DW_E_MEMORY, "logits of %u tokens do not fit", scorer->rows_max);
    }
    bytes += scorer->logits_offset;
    dw_region_options options = {.reserve_bytes = bytes, .commit_bytes = bytes, .label = "score"};
    dw_status status = dw_region_create(&scorer->region, &options, err);
    if (status == DW_OK) {
        status = dw_device_view_create(&scorer->view, dw_model_device(model), scorer->region,
                                       DW_VIEW_STAGEABLE, err);
    }
    return status;
}

dw_status dw_scorer_create(dw_scorer **out, dw_model *model, uint32_t window_tokens,
                           uint32_t rows_max, dw_kv_type kv_type, dw_error *err)
{
    *out = NULL;
    if (window_tokens == 0 || rows_max == 0) {
        return dw_fail(err, DW_E_RANGE, "a window of %u tokens, %u at a time: at least 1 is needed",
                       window_tokens, rows_max);
    }
    dw_scorer *scorer = dw_alloc(1, sizeof *scorer);
    if (scorer == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to score a text");
    }
    scorer->window_tokens = window_tokens;
    scorer->rows_max = rows_max;
    scorer->vocab_count = dw_model_shape_of(model)->vocab_count;
    dw_status status = dw_context_create(
        &scorer->context, model,
        &(dw_context_options){.tokens_max = window_tokens, .kv_type = kv_type}, err);
    if (status == DW_OK) {
        status = make_region(scorer, model, err);
    }
    if (status != DW_OK) {
        dw_scorer_destroy(scorer);
        return status;
    }
    *out = scorer;
    return DW_OK;
}

void dw_scorer_destroy(dw_scorer *scorer)
{
    if (scorer == NULL) {
        return;
    }
    dw_context_destroy(scorer->context);
    dw_device_view_destroy(scorer->view);
    dw_region_destroy(scorer->region);
    dw_free(scorer);
}

dw_status dw_scorer_window(dw_scorer *scorer, const int32_t *tokens, uint32_t count,
                           const float **logits, dw_error *err)
{
    dw_status status = dw_context_trim(scorer->context, 0, err);
    return status == DW_OK ? dw_scorer_append(scorer, tokens, count, logits, err) : status;
}

dw_status dw_scorer_append(dw_scorer *scorer, const int32_t *tokens, uint32_t count,
                           const float **logits, dw_error *err)
{
    DW_ASSERT(count <= scorer->rows_max);
    unsigned char *base = dw_region_base(scorer->region);
    memcpy(base, tokens, count * sizeof *tokens);
    dw_step step = {.view = scorer->view,
                    .tokens = (int32_t *)(void *)base,
                    .token_count = count,
                    .logits = (float *)(void *)(base + scorer->logits_offset),
                    .logits_rows = count,
                    .counters = &scorer->counters};
    *logits = step.logits;
    return dw_context_forward(scorer->context, &step, err);
}

double dw_score_token(const float *logits, uint32_t count, int32_t token)
{
    double top = -INFINITY;
    for (uint32_t i = 0; i < count; i++) {
        top = fmax(top, (double)logits[i]);
    }
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += exp((double)logits[i] - top);
    }
    return top + log(sum) - (double)logits[token];
}

dw_status dw_scorer_perplexity(dw_scorer *scorer, int32_t *tokens, size_t count,
                               dw_perplexity *result, dw_error *err)
{
    const dw_vocab *vocab = dw_model_vocab(dw_context_model(scorer->context));
    uint32_t window = scorer->window_tokens;
    if (window < 4 || scorer->rows_max < window) {
        return dw_fail(err, DW_E_ARG, "a window of %u tokens, at least 4 are needed", window);
    }
    if (count < window) {
        return dw_fail(err, DW_E_ARG, "the text has %zu tokens, one window takes %u", count,
                       window);
    }
    double sum = 0;
    double squares = 0;
    *result = (dw_perplexity){.struct_bytes = sizeof *result};
    for (size_t start = 0; start + window <= count; start += window) {
        int32_t *own = tokens + start;
        const float *logits = NULL;
        if (dw_vocab_adds_bos(vocab) && dw_vocab_bos(vocab) >= 0) {
            own[0] = dw_vocab_bos(vocab);
        }
        dw_status status = dw_scorer_window(scorer, own, window, &logits, err);
        if (status != DW_OK) {
            return status;
        }
        for (uint32_t i = window / 2; i + 1 < window; i++) {
            double loss = dw_score_token(logits + (size_t)i * scorer->vocab_count,
                                         scorer->vocab_count, own[i + 1]);
            sum += loss;
            squares += loss * loss;
            result->scored++;
        }
        result->windows++;
    }
    double mean = sum / (double)result->scored;
    double variance = fmax(squares / (double)result->scored - mean * mean, 0);
    result->value = exp(mean);
    result->error =
        result->scored > 1 ? result->value * sqrt(variance / (double)(result->scored - 1)) : 0;
    if (!isfinite(result->value)) {
        return dw_fail(err, DW_E_NUMERIC, "the perplexity is %f", result->value);
    }
    return DW_OK;
}
