#include "inference/step_slice.h"

#include <string.h>

#include "inference/choice.h"

uint32_t dw__result_length(const dw_model_shape *shape, dw_forward_result result)
{
    return result == DW_RESULT_LOGITS ? shape->vocab_count : shape->embedding_length;
}

dw_step_slice dw__step_slice_cut(const dw_step *step, const dw_model_shape *shape, uint32_t first,
                                 uint32_t count)
{
    DW_ASSERT(count > 0 && first < step->token_count && count <= step->token_count - first);
    DW_ASSERT(step->choice == NULL || (step->logits_rows == 0 && step->result == DW_RESULT_LOGITS));
    dw_step_slice slice = {.step = step, .first = first, .token_count = count};
    uint32_t end = first + count;
    uint32_t first_row = step->token_count - step->logits_rows; /* the token of row 0 */
    if (step->result == DW_RESULT_POOLED) {
        slice.rows = step->logits;
        slice.row_count = 1;
    } else if (end > first_row) {
        uint32_t from = first > first_row ? first : first_row;
        size_t length = dw__result_length(shape, step->result);
        slice.rows = step->logits + (size_t)(from - first_row) * length;
        slice.row_count = end - from;
    }
    if (step->choice != NULL && end == step->token_count) {
        slice.choice = step->choice;
        slice.row_count = 1;
    }
    DW_ASSERT(slice.row_count <= count);
    return slice;
}

uint32_t dw__step_slice_past(const dw_step_slice *slice)
{
    uint32_t on_their_way = slice->behind > 0 ? 1 : 0;
    return slice->log != NULL ? dw_kv_log_length(slice->log) + on_their_way : 0;
}

int32_t *dw__step_slice_tokens(dw_step_slice *slice)
{
    return slice->behind > 0 ? &slice->token : slice->step->tokens + slice->first;
}

dw_status dw__step_slice_check_tokens(dw_step_slice *slice, dw_error *err)
{
    const int32_t *tokens = dw__step_slice_tokens(slice);
    const bool known = slice->noted != NULL && slice->behind == 0;
    for (uint32_t i = 0; known && i < slice->token_count; i++) {
        if (tokens[i] != slice->noted[i]) {
            return dw_fail(err, DW_E_STATE,
                           "forward: token %d at %u has become %d since the step began",
                           slice->noted[i], slice->first + i, tokens[i]);
        }
    }
    return DW_OK;
}

bool dw__step_slice_is_long(const dw_step_slice *slice, const dw_model_shape *shape)
{
    return slice->log != NULL && dw_kv_log_capacity(slice->log) > shape->rope_context;
}

dw_status dw__step_slice_check(const dw_step_slice *slice, dw_error *err)
{
    if (slice->log != NULL) { /* zeros in the place of records come before what they lead to */
        dw_status status = dw_kv_log_check_files(slice->log, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return slice->nan ? dw_fail(err, DW_E_NUMERIC, "forward: the model's results hold NaN") : DW_OK;
}

dw_status dw__step_slices_scratch(dw_scratch *scratch, dw_model *model, dw_step_slice *slices,
                                  uint32_t count, dw_device_view **view, dw_error *err)
{
    uint32_t chosen = 0;
    float *rows = NULL;
    *view = NULL;
    for (uint32_t i = 0; i < count; i++) {
        chosen += slices[i].choice != NULL;
    }
    if (chosen == 0) {
        return DW_OK;
    }
    dw_status status = dw__scratch_rows(scratch, model, chosen, view, &rows, err);
    if (status != DW_OK) {
        return status;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (slices[i].choice != NULL) {
            DW_ASSERT(slices[i].row_count == 1);
            slices[i].rows = rows;
            rows += dw_model_shape_of(model)->vocab_count;
        }
    }
    return DW_OK;
}

/* NaN in one of numbers [count]. An infinity may be meant: a model can rule a token out. */
static bool has_nan(const float *numbers, size_t count)
{
    unsigned found = 0;
    for (size_t i = 0; i < count; i++) {
        found |= (unsigned)(numbers[i] != numbers[i]);
    }
    return found != 0;
}

float *dw__step_slice_kept(const dw_step_slice *slice, uint32_t index)
{
    uint32_t end = slice->token_count - slice->row_count + index + 1; /* behind the row's token */
    if (slice->kept == NULL || slice->step->result != DW_RESULT_LOGITS ||
        slice->step->token_count - slice->first - end >= slice->kept->max) {
        return NULL;
    }
    return dw__kept_rows_add(slice->kept, dw__step_slice_past(slice) + end);
}

static void keep_rows(const dw_step_slice *slice, size_t length)
{
    for (uint32_t i = 0; slice->kept != NULL && i < slice->row_count; i++) {
        float *copy = dw__step_slice_kept(slice, i);
        if (copy != NULL) {
            memcpy(copy, slice->rows + i * length, length * sizeof *copy);
        }
    }
}

void dw__step_slice_conclude(dw_step_slice *slice, const dw_model_shape *shape)
{
    if (slice->step == NULL) {
        return;
    }
    size_t length = dw__result_length(shape, slice->step->result);
    dw_choice *choice = slice->choice;
    DW_ASSERT(slice->row_count == 0 || slice->rows != NULL);
    slice->nan = has_nan(slice->rows, slice->row_count * length);
    if (!slice->nan) {
        keep_rows(slice, length);
    }
    if (choice != NULL && !slice->nan) {
        dw__choice_from_row(choice, slice->rows, shape->vocab_count);
        slice->likeliest = choice->token;
    }
}
