#include "inference/embeddings.h"

#include <math.h>

#include "base/os.h"
#include "inference/step.h"

static uint32_t row_count_of(const dw_embed_step *step)
{
    return step->pooling == DW_POOL_NONE ? step->token_count : 1;
}

static dw_status check(const dw_model_shape *shape, const dw_embed_step *step, dw_error *err)
{
    if (step->token_count == 0 || step->tokens == NULL || step->rows == NULL) {
        return dw_fail(err, DW_E_ARG, "embed: no tokens, or no place for the embedding");
    }
    if (step->token_count > shape->context_length) {
        return dw_fail(err, DW_E_LIMIT, "embed: %u tokens, the model was made for %u",
                       step->token_count, shape->context_length);
    }
    for (uint32_t i = 0; i < step->token_count; i++) {
        if (step->tokens[i] < 0 || (uint32_t)step->tokens[i] >= shape->vocab_count) {
            return dw_fail(err, DW_E_RANGE, "embed: token %d at %u, the vocabulary has %u",
                           step->tokens[i], i, shape->vocab_count);
        }
    }
    uintptr_t tokens = (uintptr_t)step->tokens;
    uintptr_t rows = (uintptr_t)step->rows;
    size_t rows_bytes = (size_t)row_count_of(step) * shape->embedding_length * sizeof(float);
    if (tokens < rows + rows_bytes && rows < tokens + step->token_count * sizeof(int32_t)) {
        return dw_fail(err, DW_E_OVERLAP, "embed: %zu bytes of embedding lie over the %u tokens",
                       rows_bytes, step->token_count);
    }
    return DW_OK;
}

/* All of the text at once, since each token attends to each. */
static dw_status encode(dw_model *model, const dw_embed_step *step, dw_error *err)
{
    /* On the CPU it is asked for while the graph runs as well; a GPU is not interrupted. */
    if (dw_stop_asked(step->stop)) {
        return dw_fail(err, DW_E_CANCELLED, "embed: cancelled before the first of %u tokens",
                       step->token_count);
    }
    bool pooled = step->pooling == DW_POOL_MEAN || step->pooling == DW_POOL_FIRST;
    dw_step whole = {.view = step->view,
                     .tokens = step->tokens,
                     .token_count = step->token_count,
                     .logits = step->rows,
                     .logits_rows = row_count_of(step),
                     .result = pooled ? DW_RESULT_POOLED : DW_RESULT_HIDDEN,
                     .pooled_count = step->pooling == DW_POOL_FIRST ? 1 : 0,
                     .counters = step->counters,
                     .stop = step->stop};
    dw_step_slice slice =
        dw__step_slice_cut(&whole, dw_model_shape_of(model), 0, step->token_count);
    slice.kv_type = DW_KV_F32;
    dw_status status = dw_adapter_set_usual(&slice.adapters, dw_model_adapters(model), err);
    if (status == DW_OK) {
        status = dw__step_run(model, &slice, NULL, err);
    }
    if (status == DW_OK) {
        status = dw__step_slice_check(&slice, err);
    }
    dw_adapter_set_unref(slice.adapters);
    return status;
}

/* In a context of its own, in slices that are short whether others have their turns between them or
 * not: numbers are the same alone and in company. The first token sees itself only, so nothing else
 * is needed for it. */
static dw_status decode(dw_model *model, const dw_embed_step *step, dw_error *err)
{
    bool first = step->pooling == DW_POOL_FIRST;
    dw_context *context = NULL;
    dw_step forward = {.view = step->view,
                       .tokens = step->tokens,
                       .token_count = first ? 1 : step->token_count,
                       .logits = step->rows,
                       .logits_rows = row_count_of(step),
                       .result =
                           step->pooling == DW_POOL_MEAN ? DW_RESULT_POOLED : DW_RESULT_HIDDEN,
                       .counters = step->counters,
                       .in_short_slices = true,
                       .stop = step->stop};
    dw_context_options options = {.tokens_max = step->token_count};
    dw_status status = dw_context_create(&context, model, &options, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_context_forward(context, &forward, err);
    dw_context_destroy(context);
    return status;
}

static void normalize(float *row, uint32_t length)
{
    double sum = 0;
    for (uint32_t i = 0; i < length; i++) {
        sum += (double)row[i] * (double)row[i];
    }
    double scale = sum > 0 ? 1.0 / sqrt(sum) : 0.0;
    for (uint32_t i = 0; i < length; i++) {
        row[i] = (float)((double)row[i] * scale);
    }
}

dw_status dw_embed(dw_model *model, const dw_embed_step *step, dw_error *err)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    dw_status status = check(shape, step, err);
    if (status != DW_OK) {
        return status;
    }
    uint64_t started = dw_os_clock_ns();
    if (shape->architecture->encoder) {
        status = encode(model, step, err);
        if (status == DW_OK) {
            dw_count(&step->counters->prompt_tokens, step->token_count);
            dw_count(&step->counters->prompt_ns, dw_os_clock_ns() - started);
        }
    } else {
        status = decode(model, step, err);
    }
    for (uint32_t i = 0; status == DW_OK && step->normalize && i < row_count_of(step); i++) {
        normalize(step->rows + (size_t)i * shape->embedding_length, shape->embedding_length);
    }
    return status;
}
