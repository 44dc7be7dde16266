/* Computing for guests: forward steps that end with logits, hidden states or a token, and
 * embeddings. Each function checks handles, counts and ranges in this order, then acts. */
#include <assert.h>

#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_steps.h"
#include "model/token_rows.h"

static_assert(DW_POOLING_NONE == (int)DW_POOL_NONE && DW_POOLING_LAST == (int)DW_POOL_LAST,
              "the numbers that guests were compiled with");

/* ---- forward steps ------------------------------------------------------------------------ */

/* context, tokens, count, ... */
static dw_status step_tokens(dw_instance *instance, const wasmtime_val_raw_t *args, dw_step *step,
                             dw_error *err)
{
    void *tokens;
    uint32_t count = dw__u32(&args[2]);
    if (count == 0) {
        return dw_fail(err, DW_E_ARG, "count: 0 tokens");
    }
    dw_status status = dw_instance_range(instance, "tokens", dw__u32(&args[1]), count,
                                         sizeof(int32_t), sizeof(int32_t), &tokens, err);
    if (status == DW_OK) {
        step->tokens = tokens;
        step->token_count = count;
    }
    return status;
}

/* context, embeddings, count, ... */
static dw_status step_embeddings(dw_instance *instance, const dw_context *context,
                                 const wasmtime_val_raw_t *args, dw_step *step, dw_error *err)
{
    void *rows;
    uint32_t count = dw__u32(&args[2]);
    uint32_t length = dw_model_shape_of(dw_context_model(context))->embedding_length;
    if (count == 0) {
        return dw_fail(err, DW_E_ARG, "count: 0 embeddings");
    }
    dw_status status =
        dw_instance_range(instance, "embeddings", dw__u32(&args[1]), (uint64_t)count * length,
                          sizeof(float), sizeof(float), &rows, err);
    if (status == DW_OK) {
        step->embeddings = rows;
        step->token_count = count;
    }
    return status;
}

static dw_status forward_ranges(dw_instance *instance, const dw_context *context,
                                const wasmtime_val_raw_t *args, bool takes_tokens, dw_step *step,
                                dw_error *err)
{
    uint32_t rows = dw__u32(&args[4]);
    bool wants_rows = args[3].i32 != 0;
    bool hidden = step->result == DW_RESULT_HIDDEN;
    if (wants_rows != (rows > 0)) {
        return dw_fail(err, DW_E_ARG, "rows: %u, %s at %u: both or neither", rows,
                       hidden ? "hidden" : "logits", dw__u32(&args[3]));
    }
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(dw_context_model(context), &info);
    uint32_t row_length = hidden ? info.embedding_length : info.vocab_count;
    void *logits;
    dw_status status = takes_tokens ? step_tokens(instance, args, step, err)
                                    : step_embeddings(instance, context, args, step, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, hidden ? "hidden" : "logits", dw__u32(&args[3]),
                                   (uint64_t)rows * row_length, sizeof(float), sizeof(float),
                                   &logits, err);
    }
    if (status != DW_OK) {
        return status;
    }
    step->logits = logits;
    step->logits_rows = rows;
    return DW_OK;
}

/* context, tokens or embeddings, count, logits or hidden states, rows */
static int32_t forward_for(dw_instance *instance, const wasmtime_val_raw_t *args, bool takes_tokens,
                           dw_forward_result result)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    if (context == NULL) {
        return err->code;
    }
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_step step = dw__step_of(instance);
    step.result = result;
    dw_status status = forward_ranges(instance, context, args, takes_tokens, &step, err);
    if (status == DW_OK) {
        status = dw_instance_view(instance, &step.view, err);
    }
    if (status == DW_OK) {
        status = dw__make_window(instance, context, step.token_count, err);
    }
    if (status == DW_OK) {
        status = dw_instance_forward(instance, context, &step, err);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)dw_context_length(context);
}

static int32_t forward(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return forward_for(instance, args, true, DW_RESULT_LOGITS);
}
DW__GUEST_CALL_GROWING(i32, forward)

static int32_t forward_hidden(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return forward_for(instance, args, true, DW_RESULT_HIDDEN);
}
DW__GUEST_CALL_GROWING(i32, forward_hidden)

static int32_t forward_embeddings(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return forward_for(instance, args, false, DW_RESULT_LOGITS);
}
DW__GUEST_CALL_GROWING(i32, forward_embeddings)

/* context, tokens, count, sampler */
static int32_t forward_sample(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    dw_sampler *sampler = context != NULL ? dw__sampler_of(instance, args[3].i32) : NULL;
    if (sampler == NULL) {
        return err->code;
    }
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_choice choice = {.sampler = sampler, .status = DW_OK};
    dw_step step = dw__step_of(instance);
    step.choice = &choice;
    uint32_t before = 0;
    dw_status status = dw__check_sampler_fits(sampler, context, err);
    if (status == DW_OK) {
        status = step_tokens(instance, args, &step, err);
    }
    if (status == DW_OK) {
        status = dw_instance_view_of_tokens(instance, &step.view, err);
    }
    if (status == DW_OK) {
        status = dw__make_window(instance, context, step.token_count, err);
    }
    before = dw_context_length(context);
    if (status == DW_OK) {
        status = dw_instance_forward(instance, context, &step, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = choice.status;
    if (status != DW_OK) {
        *err = choice.error;
    } else {
        status = dw_sampler_remember(sampler, choice.token, err);
    }
    if (status != DW_OK) { /* the step went through, what it was for did not */
        (void)dw_context_trim(context, before, NULL);
        return status;
    }
    dw_count(&dw_instance_counters(instance)->sampled_tokens, 1);
    return choice.token;
}
DW__GUEST_CALL_GROWING(i32, forward_sample)

static dw_status forward_top_ranges(dw_instance *instance, const dw_context *context,
                                    const wasmtime_val_raw_t *args, dw_step *step, dw_error *err)
{
    const uint32_t top[] = {dw__u32(&args[3]), dw__u32(&args[4])};
    uint64_t bytes = (uint64_t)dw__u32(&args[5]) * sizeof(float);
    if (bytes == 0) {
        return dw_fail(err, DW_E_ARG, "top_count: 0 tokens");
    }
    dw_status status = step_tokens(instance, args, step, err);
    if (status == DW_OK) {
        step->choice->top_count = dw__u32(&args[5]);
        status = dw__top_ranges(instance, context, top[0], top[1], step->choice, err);
    }
    for (int i = 0; status == DW_OK && i < 2; i++) {
        uint64_t its_bytes = top[i] != 0 || i == 0 ? bytes : 0;
        if (dw__ranges_meet(top[i], its_bytes, dw__u32(&args[1]),
                            (uint64_t)step->token_count * sizeof(int32_t))) {
            return dw_fail(err, DW_E_OVERLAP, "%s: %u lie over the tokens at %u",
                           i == 0 ? "top_tokens" : "top_log_probabilities", top[i],
                           dw__u32(&args[1]));
        }
    }
    if (status == DW_OK && top[1] != 0 && dw__ranges_meet(top[0], bytes, top[1], bytes)) {
        return dw_fail(err, DW_E_OVERLAP, "top_log_probabilities: %u lie over top_tokens at %u",
                       top[1], top[0]);
    }
    return status;
}

/* context, tokens, count, tokens of the likeliest, their log probabilities, how many */
static int32_t forward_top(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    if (context == NULL) {
        return err->code;
    }
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_choice choice = {.status = DW_OK};
    dw_step step = dw__step_of(instance);
    uint32_t before = 0;
    step.choice = &choice;
    dw_status status = forward_top_ranges(instance, context, args, &step, err);
    if (status == DW_OK) {
        status = dw_instance_view_of_tokens(instance, &step.view, err);
    }
    if (status == DW_OK) {
        status = dw__make_window(instance, context, step.token_count, err);
    }
    before = dw_context_length(context);
    if (status == DW_OK) {
        status = dw_instance_forward(instance, context, &step, err);
    }
    if (status == DW_OK && choice.status != DW_OK) {
        (void)dw_context_trim(context, before, NULL);
        *err = choice.error;
        status = choice.status;
    }
    return status != DW_OK ? (int32_t)status : (int32_t)dw_context_length(context);
}
DW__GUEST_CALL_GROWING(i32, forward_top)

/* ---- embeddings --------------------------------------------------------------------------- */

static dw_status embed_ranges(dw_instance *instance, const wasmtime_val_raw_t *args,
                              uint32_t row_length, dw_embed_step *step, dw_error *err)
{
    uint32_t count = dw__u32(&args[2]);
    uint32_t rows = step->pooling == DW_POOL_NONE ? count : 1;
    void *tokens;
    void *embedding;
    uint64_t limit = dw_instance_limits(instance)->context_tokens;
    if (count == 0) {
        return dw_fail(err, DW_E_ARG, "count: 0 tokens");
    }
    if (count > limit) {
        return dw_fail(err, DW_E_LIMIT,
                       "count: %u tokens, this guest may use %llu at a time (context_tokens)",
                       count, (unsigned long long)limit);
    }
    dw_status status = dw_instance_range(instance, "tokens", dw__u32(&args[1]), count,
                                         sizeof(int32_t), sizeof(int32_t), &tokens, err);
    if (status == DW_OK) {
        status =
            dw_instance_range(instance, "embedding", dw__u32(&args[5]), (uint64_t)rows * row_length,
                              sizeof(float), sizeof(float), &embedding, err);
    }
    if (status != DW_OK) {
        return status;
    }
    step->tokens = tokens;
    step->token_count = count;
    step->rows = embedding;
    return DW_OK;
}

/* model, tokens, count, pooling, flags, embedding */
static int32_t embed(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model = dw__model_of(instance, args[0].i32);
    int32_t pooling = args[3].i32;
    if (model == NULL) {
        return err->code;
    }
    if (pooling < DW_POOLING_MODEL || pooling > DW_POOLING_LAST) {
        return dw_fail(err, DW_E_ARG, "pooling: %d, allowed are %d to %d", pooling,
                       DW_POOLING_MODEL, DW_POOLING_LAST);
    }
    if ((dw__u32(&args[4]) & ~(uint32_t)DW_EMBED_NORMALIZE) != 0) {
        return dw_fail(err, DW_E_ARG, "flags: 0x%x, only 1 is known", dw__u32(&args[4]));
    }
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    const dw_model_shape *shape = dw_model_shape_of(model);
    dw__embed_work work = {
        .model = model,
        .step = {.pooling = pooling == DW_POOLING_MODEL ? shape->pooling : (dw_pooling)pooling,
                 .normalize = dw__u32(&args[4]) == DW_EMBED_NORMALIZE,
                 .counters = dw_instance_counters(instance),
                 .stop = dw_instance_stop(instance)},
    };
    dw_status status = embed_ranges(instance, args, shape->embedding_length, &work.step, err);
    if (status == DW_OK) {
        status = dw_instance_view(instance, &work.step.view, err);
    }
    if (status == DW_OK) {
        status = dw_instance_compute(instance, dw__do_embed, &work, err);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)shape->embedding_length;
}
DW__GUEST_CALL(i32, embed)

typedef struct rows_work {
    dw_model *model;
    const int32_t *tokens;
    uint32_t count;
    float *rows; /* [count][length] */
    uint32_t length;
    dw_stop *stop;
} rows_work;

#define ROWS_IN_PART 256u /* between which whoever must end does */

static dw_status do_rows(void *arg, dw_error *err)
{
    const rows_work *work = arg;
    dw_status status = DW_OK;
    for (uint32_t i = 0; i < work->count && status == DW_OK; i += ROWS_IN_PART) {
        uint32_t left = work->count - i;
        status = dw_stop_check(work->stop, "embeddings", err);
        if (status == DW_OK) {
            status = dw_model_token_rows(work->model, work->tokens + i,
                                         left < ROWS_IN_PART ? left : ROWS_IN_PART,
                                         work->rows + (size_t)i * work->length, err);
        }
    }
    return status;
}

/* model, tokens, count, embeddings */
static int32_t token_embeddings(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model = dw__model_of(instance, args[0].i32);
    const uint32_t count = dw__u32(&args[2]);
    void *tokens;
    void *rows;
    if (model == NULL) {
        return err->code;
    }
    const uint32_t length = dw_model_shape_of(model)->embedding_length;
    const uint64_t bytes = (uint64_t)count * length * sizeof(float);
    dw_status status = dw_instance_range(instance, "tokens", dw__u32(&args[1]), count,
                                         sizeof(int32_t), sizeof(int32_t), &tokens, err);
    if (status == DW_OK) {
        status =
            dw_instance_range(instance, "embeddings", dw__u32(&args[3]), (uint64_t)count * length,
                              sizeof(float), sizeof(float), &rows, err);
    }
    if (status == DW_OK && dw__ranges_meet(dw__u32(&args[1]), (uint64_t)count * sizeof(int32_t),
                                           dw__u32(&args[3]), bytes)) {
        status = dw_fail(err, DW_E_OVERLAP, "embeddings: %u lie over the tokens at %u",
                         dw__u32(&args[3]), dw__u32(&args[1]));
    }
    if (status == DW_OK && count > 0) {
        rows_work work = {model, tokens, count, rows, (uint32_t)length, dw_instance_stop(instance)};
        status = dw_instance_compute(instance, do_rows, &work, err);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)length;
}
DW__GUEST_CALL(i32, token_embeddings)

const dw_host_import dw_forward_imports[] = {
    {"forward", "iiiii:i", call_forward},
    {"forward_hidden", "iiiii:i", call_forward_hidden},
    {"embed", "iiiiii:i", call_embed},
    {"forward_sample", "iiii:i", call_forward_sample},
    {"forward_top", "iiiiii:i", call_forward_top},
    {"forward_embeddings", "iiiii:i", call_forward_embeddings},
    {"token_embeddings", "iiii:i", call_token_embeddings},
    {NULL, NULL, NULL},
};
