/* What plans do alike. */
#include "inference/step_plan.h"

#include <string.h>

#include "device/device_view.h"
#include "inference/context_tree.h"

/* In the order in which they are asked; the last takes whatever goes alone on a GPU. */
static const dw_step_plan *const plans[] = {&dw__cuda_plan, &dw__cpu_plan, &dw__ggml_plan};

const dw_step_plan *dw__plan_for(const dw_step_work *work)
{
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        if (plans[i]->accepts(work)) {
            return plans[i];
        }
    }
    return NULL;
}

dw_status dw__plan_ready(const dw_step_plan *plan, dw_step_graph *graph, const dw_step_work *work,
                         dw_error *err)
{
    dw_status status = plan->prepare(graph, work, err);
    if (status != DW_OK) {
        return status;
    }
    if (graph->allocator == NULL) {
        status = dw__step_graph_allocate(graph, err);
    }
    return status == DW_OK ? plan->fill(graph, work, err) : status;
}

uint32_t dw__plan_row_count(const dw_step_slice *slice)
{
    return slice->step->result == DW_RESULT_POOLED ? slice->token_count : slice->row_count;
}

/* The graph's rows in the place of tokens. */
static dw_status place_embeddings(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    const dw_step_slice *slice = &work->slices[0];
    const size_t length = dw_model_shape_of(work->model)->embedding_length;
    return dw_device_view_place(slice->step->view, graph->forward.embeddings,
                                slice->step->embeddings + slice->first * length, err);
}

/* What a guest's memory has become since they were checked ends a program in ggml's rows. */
static dw_status check_copy(const int32_t *tokens, const dw_step_work *work, dw_error *err)
{
    const uint32_t vocab_count = dw_model_shape_of(work->model)->vocab_count;
    for (uint32_t i = 0; i < work->slices[0].token_count; i++) {
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= vocab_count) {
            return dw_fail(err, DW_E_RANGE, "token %d at %u, the vocabulary has %u", tokens[i],
                           work->slices[0].first + i, vocab_count);
        }
    }
    return DW_OK;
}

/* The graph's tokens where the step has them; in scratch those of the host's own memory, since the
 * device reads from regions alone, and those that nobody has noted, as of a text to embed: results
 * of what its guest generates meanwhile go wherever it wanted them. */
static dw_status place_tokens(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    dw_step_slice *slice = &work->slices[0];
    dw_device_view *view = slice->step->view;
    if (slice->step->embeddings != NULL) {
        return place_embeddings(graph, work, err);
    }
    int32_t *tokens = dw__step_slice_tokens(slice);
    if (view == NULL || slice->noted == NULL) {
        dw_status status =
            dw__scratch_tokens(work->scratch, work->model, slice->token_count, &view, &tokens, err);
        if (status != DW_OK) {
            return status;
        }
        memcpy(tokens, dw__step_slice_tokens(slice), slice->token_count * sizeof *tokens);
        status = check_copy(tokens, work, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return dw_device_view_place(view, graph->forward.tokens, tokens, err);
}

dw_status dw__plan_place_one(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    dw_step_slice *slice = &work->slices[0];
    const dw_step *step = slice->step;
    dw_device_view *scratch;
    dw_status status = dw__step_slices_scratch(work->scratch, work->model, slice, 1, &scratch, err);
    if (status != DW_OK) {
        return status;
    }
    status = place_tokens(graph, work, err);
    if (status != DW_OK || slice->row_count == 0) {
        return status;
    }
    return dw__step_graph_place_rows(graph, scratch != NULL ? scratch : step->view, slice->rows,
                                     err);
}

/* A step's pooled hidden states: each of the first `pooled_count` times 1 / pooled_count. The row
 * that they are added to begins at zero. */
dw_status dw__plan_fill_weights(dw_step_graph *graph, const dw_step_slice *slice, dw_error *err)
{
    const dw_step *step = slice->step;
    struct ggml_tensor *input = graph->forward.pool_weights;
    if (!dw__input_is_used(input)) {
        return DW_OK;
    }
    if (slice->first == 0) {
        memset(slice->rows, 0, ggml_nbytes(graph->forward.pooled));
    }
    uint32_t count = step->pooled_count > 0 ? step->pooled_count : step->token_count;
    float *weights = dw__input_begin(graph, input);
    for (uint32_t i = 0; i < graph->size.token_count; i++) {
        weights[i] = slice->first + i < count ? 1.0f / (float)count : 0.0f;
    }
    return dw__input_done(graph, input, err);
}

dw_status dw__plan_fill_tree_positions(dw_step_graph *graph, const dw_step_slice *slice,
                                       dw_error *err)
{
    struct ggml_tensor *input = graph->forward.positions;
    if (!dw__input_is_used(input)) {
        return DW_OK;
    }
    int32_t *positions = dw__input_begin(graph, input);
    memcpy(positions, slice->step->tree->positions + slice->first,
           slice->token_count * sizeof *positions);
    return dw__input_done(graph, input, err);
}

dw_status dw__plan_conclude(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    const dw_stops stops = {.others = work->others};
    bool chose = false;
    (void)graph;
    (void)err;
    for (uint32_t i = 0; i < work->count; i++) {
        dw_step_slice *slice = &work->slices[i];
        slice->postponed = slice->choice != NULL && chose && dw_stops_asked(&stops);
        if (!slice->postponed) {
            dw__step_slice_conclude(slice, dw_model_shape_of(work->model));
            chose = chose || slice->choice != NULL;
        }
    }
    return DW_OK;
}
