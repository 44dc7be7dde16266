/* Models, vocabulary, contexts and samplers for guests. Each function checks in this order:
 * handles, counts, ranges, overlap; then it acts. A context counts its model by itself, so a guest
 * may close a model while contexts of it are open. */
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_strings.h"
#include "inference/context.h"
#include "inference/embeddings.h"
#include "sampling/sampler.h"
#include "text/chat_template.h"
#include "text/json_grammar.h"

#define NAME_BYTES_MAX 200
#define BREAKERS_MAX 16
#define BREAKER_BYTES_MAX 4096

/* Structs that lie in guest memory are read and written where they lie. */
static_assert(sizeof(dw_sampler_params) == 96, "the layout that guests were compiled with");
static_assert(offsetof(dw_sampler_params, struct_bytes) == 40, "the same in every version");
static_assert(offsetof(dw_sampler_params, temperature_range) == DW_SAMPLER_PARAMS_BYTES_MIN,
              "what the first guests give");
static_assert(sizeof(dw_logit_bias) == 8, "the layout that guests were compiled with");
static_assert(sizeof(dw_abi_model_info) == 64, "the layout that guests were compiled with");
static_assert(DW_POOLING_NONE == (int)DW_POOL_NONE && DW_POOLING_LAST == (int)DW_POOL_LAST,
              "the numbers that guests were compiled with");

/* A host function of the table: it gets the arguments and answers a result or a status. */
#define DW_MODEL_CALL(name)                                                                        \
    static wasm_trap_t *call_##name(void *env, wasmtime_caller_t *caller,                          \
                                    wasmtime_val_raw_t *args, size_t count)                        \
    {                                                                                              \
        (void)env;                                                                                 \
        (void)count;                                                                               \
        args[0].i32 = name(dw_instance_of(caller), args);                                          \
        return NULL;                                                                               \
    }

static uint32_t u32(const wasmtime_val_raw_t *arg)
{
    return (uint32_t)arg->i32;
}

/* ---- handles ------------------------------------------------------------------------------ */

static dw_model *model_of(dw_instance *instance, int32_t handle)
{
    return dw_handle_get(dw_instance_handles(instance), DW_HANDLE_MODEL, "model", handle,
                         dw_instance_error(instance));
}

static dw_context *context_of(dw_instance *instance, int32_t handle)
{
    return dw_handle_get(dw_instance_handles(instance), DW_HANDLE_CONTEXT, "context", handle,
                         dw_instance_error(instance));
}

static dw_sampler *sampler_of(dw_instance *instance, int32_t handle)
{
    dw_guest_sampler *found = dw_handle_get(dw_instance_handles(instance), DW_HANDLE_SAMPLER,
                                            "sampler", handle, dw_instance_error(instance));
    return found != NULL ? found->sampler : NULL;
}

/* ---- models ------------------------------------------------------------------------------- */

static int32_t model_open(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    uint32_t name_bytes = u32(&args[1]);
    char name[NAME_BYTES_MAX + 1];
    void *bytes;
    if (name_bytes > NAME_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "name: %u bytes, limit %d", name_bytes, NAME_BYTES_MAX);
    }
    dw_status status =
        dw_instance_range(instance, "name", u32(&args[0]), name_bytes, 1, 1, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    if (name_bytes > 0) {
        memcpy(name, bytes, name_bytes);
    }
    name[name_bytes] = '\0';
    if (strlen(name) != name_bytes) {
        return dw_fail(err, DW_E_ARG, "name: a zero byte in it");
    }
    dw_model *model;
    int32_t handle;
    status = dw_instance_model(instance, name, &model, err);
    if (status == DW_OK) {
        status = dw_handle_add(dw_instance_handles(instance), DW_HANDLE_MODEL, "model", model,
                               &handle, err);
    }
    if (status != DW_OK) {
        return status;
    }
    (void)dw_model_ref(model); /* the handle's own */
    return handle;
}
DW_MODEL_CALL(model_open)

static int32_t model_close(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model =
        dw_handle_take(dw_instance_handles(instance), DW_HANDLE_MODEL, "model", args[0].i32, err);
    if (model == NULL) {
        return err->code;
    }
    dw_model_unref(model);
    return DW_OK;
}
DW_MODEL_CALL(model_close)

static int32_t model_info(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    void *place;
    dw_status status = dw_instance_range(instance, "info", u32(&args[1]), 1,
                                         sizeof(dw_abi_model_info), sizeof(uint64_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    const dw_vocab *vocab = dw_model_vocab(model);
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(model, &info);
    *(dw_abi_model_info *)place = (dw_abi_model_info){
        .vocab_count = info.vocab_count,
        .context_length = info.context_length,
        .embedding_length = info.embedding_length,
        .layer_count = info.layer_count,
        .bos_token = dw_vocab_bos(vocab),
        .eos_token = dw_vocab_eos(vocab),
        .eot_token = dw_vocab_eot(vocab),
        .newline_token = dw_vocab_newline(vocab),
        .adds_bos = dw_vocab_adds_bos(vocab),
        .has_chat_template = dw_vocab_chat_template(vocab) != NULL,
        .parameter_count = info.parameter_count,
        .kv_bytes_per_token = info.kv_bytes_per_token,
        .is_encoder = info.encoder,
        .pooling = (int32_t)dw_model_shape_of(model)->pooling,
    };
    return DW_OK;
}
DW_MODEL_CALL(model_info)

/* ---- vocabulary --------------------------------------------------------------------------- */

/* model, text, text_bytes, tokens, capacity, flags */
static int32_t tokenize(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    size_t text_bytes = u32(&args[2]);
    size_t capacity = u32(&args[4]);
    void *text;
    void *tokens;
    dw_status status =
        dw_instance_range(instance, "text", u32(&args[1]), text_bytes, 1, 1, &text, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "tokens", u32(&args[3]), capacity, sizeof(int32_t),
                                   sizeof(int32_t), &tokens, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (dw__overlaps(text, text_bytes, tokens, capacity * sizeof(int32_t))) {
        return dw_fail(err, DW_E_OVERLAP, "tokens: [%u..] overlaps the text at %u", u32(&args[3]),
                       u32(&args[1]));
    }
    size_t count = 0;
    status = dw_vocab_tokenize(dw_model_vocab(model), text, text_bytes, tokens, capacity,
                               u32(&args[5]), &count, err);
    if (status == DW_E_SPACE && capacity > 0 && count <= INT32_MAX) {
        *(int32_t *)tokens = (int32_t)count;
    }
    return status != DW_OK ? (int32_t)status : (int32_t)count;
}
DW_MODEL_CALL(tokenize)

/* model, tokens, count, text, capacity, flags */
static int32_t detokenize(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    size_t count = u32(&args[2]);
    size_t capacity = u32(&args[4]);
    void *tokens;
    void *text;
    dw_status status = dw_instance_range(instance, "tokens", u32(&args[1]), count, sizeof(int32_t),
                                         sizeof(int32_t), &tokens, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "text", u32(&args[3]), capacity, 1, 1, &text, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (dw__overlaps(tokens, count * sizeof(int32_t), text, capacity)) {
        return dw_fail(err, DW_E_OVERLAP, "text: [%u..] overlaps the tokens at %u", u32(&args[3]),
                       u32(&args[1]));
    }
    size_t text_bytes = 0;
    status = dw_vocab_detokenize(dw_model_vocab(model), tokens, count, text, capacity,
                                 u32(&args[5]), &text_bytes, err);
    if (status == DW_OK && text_bytes > INT32_MAX) {
        status = dw_fail(err, DW_E_LIMIT, "text: %zu bytes, limit %d", text_bytes, INT32_MAX);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)text_bytes;
}
DW_MODEL_CALL(detokenize)

static int32_t token_is_end(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_model *model = model_of(instance, args[0].i32);
    if (model == NULL) {
        return dw_instance_error(instance)->code;
    }
    return dw_vocab_is_end(dw_model_vocab(model), args[1].i32);
}
DW_MODEL_CALL(token_is_end)

/* model, messages, count, open_answer, text, capacity */
static int32_t chat_template(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = model_of(instance, args[0].i32);
    size_t count = u32(&args[2]);
    size_t capacity = u32(&args[5]);
    void *pointers;
    void *text;
    if (model == NULL) {
        return err->code;
    }
    if (count > DW_CHAT_MESSAGES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "messages: %zu, limit %d", count, DW_CHAT_MESSAGES_MAX);
    }
    if (args[3].i32 != 0 && args[3].i32 != 1) {
        return dw_fail(err, DW_E_ARG, "open_answer: %d, 0 or 1 is allowed", args[3].i32);
    }
    dw_status status = dw_instance_range(instance, "messages", u32(&args[1]), count,
                                         DW__MESSAGE_BYTES, sizeof(uint32_t), &pointers, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "text", u32(&args[4]), capacity, 1, 1, &text, err);
    }
    if (status != DW_OK) {
        return status;
    }
    size_t text_bytes = 0;
    const char **texts = dw_alloc(count * 2, sizeof *texts); /* roles, then contents */
    if (texts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu messages", count);
    }
    dw__guest_chat chat = {pointers, count, texts, text, capacity};
    status = dw__guest_messages(instance, &chat, err);
    if (status == DW_OK) {
        status = dw_vocab_apply_template(dw_model_vocab(model), texts, texts + count, count,
                                         args[3].i32 == 1, text, capacity, &text_bytes, err);
    }
    dw_free(texts);
    return status != DW_OK ? (int32_t)status : (int32_t)text_bytes;
}
DW_MODEL_CALL(chat_template)

/* ---- contexts ----------------------------------------------------------------------------- */

static uint32_t open_contexts(dw_instance *instance)
{
    const dw_handle_table *table = dw_instance_handles(instance);
    uint32_t count = 0;
    for (size_t i = 0; i < table->capacity; i++) {
        count += table->slots[i].object != NULL && table->slots[i].kind == DW_HANDLE_CONTEXT;
    }
    return count;
}

static dw_status may_open_context(dw_instance *instance, dw_error *err)
{
    uint32_t count = open_contexts(instance);
    uint32_t limit = dw_instance_context_count_max(instance);
    return count < limit
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT, "contexts: %u are open, limit %u", count, limit);
}

/* Its handle, or a status; `context` is the guest's or gone. */
static int32_t add_context(dw_instance *instance, dw_context *context, dw_error *err)
{
    int32_t handle = 0;
    dw_status status = dw_handle_add(dw_instance_handles(instance), DW_HANDLE_CONTEXT, "context",
                                     context, &handle, err);
    if (status != DW_OK) {
        dw_context_destroy(context);
        return status;
    }
    return handle;
}

static dw_status context_size(dw_instance *instance, const dw_model *model, uint32_t *tokens_max,
                              dw_error *err)
{
    uint32_t limit = dw_instance_context_tokens_max(instance);
    if (limit == 0) {
        return DW_OK;
    }
    if (*tokens_max > limit) {
        return dw_fail(err, DW_E_LIMIT, "tokens_max: %u, this guest's contexts have at most %u",
                       *tokens_max, limit);
    }
    if (*tokens_max == 0) {
        dw_model_info info = {.struct_bytes = sizeof info};
        dw_model_get_info(model, &info);
        *tokens_max = limit < info.context_length ? limit : info.context_length;
    }
    return DW_OK;
}

static int32_t context_create(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model = model_of(instance, args[0].i32);
    uint32_t tokens_max = u32(&args[1]);
    if (model == NULL) {
        return err->code;
    }
    dw_status status = may_open_context(instance, err);
    if (status == DW_OK) {
        status = context_size(instance, model, &tokens_max, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_context *context = NULL;
    status = dw_context_create(
        &context, model,
        &(dw_context_options){.tokens_max = tokens_max, .kv_type = dw_instance_kv_type(instance)},
        err);
    return status != DW_OK ? (int32_t)status : add_context(instance, context, err);
}
DW_MODEL_CALL(context_create)

static int32_t context_fork(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *parent = context_of(instance, args[0].i32);
    dw_context *context = NULL;
    if (parent == NULL) {
        return err->code;
    }
    dw_status status = may_open_context(instance, err);
    if (status == DW_OK) {
        status = dw_context_fork(&context, parent, err);
    }
    return status != DW_OK ? (int32_t)status : add_context(instance, context, err);
}
DW_MODEL_CALL(context_fork)

static int32_t context_close(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw_handle_take(dw_instance_handles(instance), DW_HANDLE_CONTEXT,
                                         "context", args[0].i32, err);
    if (context == NULL) {
        return err->code;
    }
    dw_context_destroy(context);
    return DW_OK;
}
DW_MODEL_CALL(context_close)

static int32_t context_length(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_context *context = context_of(instance, args[0].i32);
    return context == NULL ? (int32_t)dw_instance_error(instance)->code
                           : (int32_t)dw_context_length(context);
}
DW_MODEL_CALL(context_length)

static int32_t context_capacity(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_context *context = context_of(instance, args[0].i32);
    return context == NULL ? (int32_t)dw_instance_error(instance)->code
                           : (int32_t)dw_context_capacity(context);
}
DW_MODEL_CALL(context_capacity)

static int32_t context_trim(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = context_of(instance, args[0].i32);
    return context == NULL ? (int32_t)err->code
                           : (int32_t)dw_context_trim(context, u32(&args[1]), err);
}
DW_MODEL_CALL(context_trim)

typedef struct shift_work {
    dw_context *context;
    uint32_t keep;
    uint32_t drop;
} shift_work;

static dw_status do_shift(void *arg, dw_error *err)
{
    const shift_work *work = arg;
    return dw_context_shift(work->context, work->keep, work->drop, err);
}

/* context, keep, drop */
static int32_t context_shift(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = context_of(instance, args[0].i32);
    if (context == NULL) {
        return err->code;
    }
    shift_work work = {.context = context, .keep = u32(&args[1]), .drop = u32(&args[2])};
    dw_status status = dw_instance_compute(instance, do_shift, &work, err);
    return status != DW_OK ? (int32_t)status : (int32_t)dw_context_length(context);
}
DW_MODEL_CALL(context_shift)

static void report_progress(void *user, uint32_t done, uint32_t total)
{
    dw_instance_progress(user, done, total);
}

/* context, tokens, count, ... */
static dw_status step_tokens(dw_instance *instance, const wasmtime_val_raw_t *args, dw_step *step,
                             dw_error *err)
{
    void *tokens;
    uint32_t count = u32(&args[2]);
    if (count == 0) {
        return dw_fail(err, DW_E_ARG, "count: 0 tokens");
    }
    dw_status status = dw_instance_range(instance, "tokens", u32(&args[1]), count, sizeof(int32_t),
                                         sizeof(int32_t), &tokens, err);
    if (status == DW_OK) {
        step->tokens = tokens;
        step->token_count = count;
    }
    return status;
}

static dw_status forward_ranges(dw_instance *instance, const dw_context *context,
                                const wasmtime_val_raw_t *args, dw_step *step, dw_error *err)
{
    uint32_t rows = u32(&args[4]);
    bool wants_rows = args[3].i32 != 0;
    bool hidden = step->result == DW_RESULT_HIDDEN;
    if (wants_rows != (rows > 0)) {
        return dw_fail(err, DW_E_ARG, "rows: %u, %s at %u: both or neither", rows,
                       hidden ? "hidden" : "logits", u32(&args[3]));
    }
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(dw_context_model(context), &info);
    uint32_t row_length = hidden ? info.embedding_length : info.vocab_count;
    void *logits;
    dw_status status = step_tokens(instance, args, step, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, hidden ? "hidden" : "logits", u32(&args[3]),
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

static dw_step step_of(dw_instance *instance)
{
    return (dw_step){.counters = dw_instance_counters(instance),
                     .cancel = dw_instance_cancel_flag(instance),
                     .on_progress = report_progress,
                     .user = instance};
}

static dw_status run_step(dw_instance *instance, dw_context *context, dw_step *step, dw_error *err)
{
    dw_status status = dw_instance_view(instance, &step->view, err);
    return status == DW_OK ? dw_instance_forward(instance, context, step, err) : status;
}

/* context, tokens, count, logits or hidden states, rows */
static int32_t forward_for(dw_instance *instance, const wasmtime_val_raw_t *args,
                           dw_forward_result result)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = context_of(instance, args[0].i32);
    if (context == NULL) {
        return err->code;
    }
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_step step = step_of(instance);
    step.result = result;
    dw_status status = forward_ranges(instance, context, args, &step, err);
    if (status == DW_OK) {
        status = run_step(instance, context, &step, err);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)dw_context_length(context);
}

static int32_t forward(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return forward_for(instance, args, DW_RESULT_LOGITS);
}
DW_MODEL_CALL(forward)

static int32_t forward_hidden(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return forward_for(instance, args, DW_RESULT_HIDDEN);
}
DW_MODEL_CALL(forward_hidden)

/* ---- embeddings --------------------------------------------------------------------------- */

static dw_status embed_ranges(dw_instance *instance, const wasmtime_val_raw_t *args,
                              uint32_t row_length, dw_embed_step *step, dw_error *err)
{
    uint32_t count = u32(&args[2]);
    uint32_t rows = step->pooling == DW_POOL_NONE ? count : 1;
    void *tokens;
    void *embedding;
    uint32_t limit = dw_instance_context_tokens_max(instance);
    if (count == 0) {
        return dw_fail(err, DW_E_ARG, "count: 0 tokens");
    }
    if (limit > 0 && count > limit) {
        return dw_fail(err, DW_E_LIMIT, "count: %u tokens, this guest may use %u at a time", count,
                       limit);
    }
    dw_status status = dw_instance_range(instance, "tokens", u32(&args[1]), count, sizeof(int32_t),
                                         sizeof(int32_t), &tokens, err);
    if (status == DW_OK) {
        status =
            dw_instance_range(instance, "embedding", u32(&args[5]), (uint64_t)rows * row_length,
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

typedef struct embed_work {
    dw_model *model;
    dw_embed_step step;
} embed_work;

static dw_status do_embed(void *arg, dw_error *err)
{
    const embed_work *work = arg;
    return dw_embed(work->model, &work->step, err);
}

/* model, tokens, count, pooling, flags, embedding */
static int32_t embed(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model = model_of(instance, args[0].i32);
    int32_t pooling = args[3].i32;
    if (model == NULL) {
        return err->code;
    }
    if (pooling < DW_POOLING_MODEL || pooling > DW_POOLING_LAST) {
        return dw_fail(err, DW_E_ARG, "pooling: %d, allowed are %d to %d", pooling,
                       DW_POOLING_MODEL, DW_POOLING_LAST);
    }
    if ((u32(&args[4]) & ~(uint32_t)DW_EMBED_NORMALIZE) != 0) {
        return dw_fail(err, DW_E_ARG, "flags: 0x%x, only 1 is known", u32(&args[4]));
    }
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    const dw_model_shape *shape = dw_model_shape_of(model);
    embed_work work = {
        .model = model,
        .step = {.pooling = pooling == DW_POOLING_MODEL ? shape->pooling : (dw_pooling)pooling,
                 .normalize = u32(&args[4]) == DW_EMBED_NORMALIZE,
                 .counters = dw_instance_counters(instance),
                 .cancel = dw_instance_cancel_flag(instance)},
    };
    dw_status status = embed_ranges(instance, args, shape->embedding_length, &work.step, err);
    if (status == DW_OK) {
        status = dw_instance_view(instance, &work.step.view, err);
    }
    if (status == DW_OK) {
        status = dw_instance_compute(instance, do_embed, &work, err);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)shape->embedding_length;
}
DW_MODEL_CALL(embed)

/* ---- sampling ----------------------------------------------------------------------------- */

/* struct_bytes says how much of it there is, and stands where it always stood. */
static dw_status guest_params(dw_instance *instance, uint32_t pointer, dw_sampler_params *params,
                              dw_error *err)
{
    void *place;
    uint32_t bytes;
    dw_status status = dw_instance_range(instance, "params", pointer, DW_SAMPLER_PARAMS_BYTES_MIN,
                                         1, sizeof(uint64_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(&bytes, (char *)place + offsetof(dw_sampler_params, struct_bytes), sizeof bytes);
    bytes = bytes == 0 ? DW_SAMPLER_PARAMS_BYTES_MIN : bytes;
    status =
        dw_instance_range(instance, "params", pointer, bytes, 1, sizeof(uint64_t), &place, err);
    return status == DW_OK ? dw_sampler_params_read(params, place, bytes, err) : status;
}

static int32_t sampler_create(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model = model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    dw_sampler_params params = {0}; /* greedy */
    dw_status status = DW_OK;
    if (args[1].i32 != 0) {
        status = guest_params(instance, u32(&args[1]), &params, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_sampler *sampler = NULL;
    dw_guest_sampler *object = NULL;
    int32_t handle;
    status = dw_sampler_create(&sampler, dw_vocab_count(dw_model_vocab(model)), &params, err);
    if (status == DW_OK) {
        status = dw_guest_sampler_create(&object, sampler, model, err);
    }
    if (status == DW_OK) {
        status = dw_handle_add(dw_instance_handles(instance), DW_HANDLE_SAMPLER, "sampler", object,
                               &handle, err);
    }
    if (status != DW_OK) {
        dw_guest_sampler_destroy(object);
        return status;
    }
    return handle;
}
DW_MODEL_CALL(sampler_create)

static int32_t sampler_close(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_guest_sampler *object = dw_handle_take(dw_instance_handles(instance), DW_HANDLE_SAMPLER,
                                              "sampler", args[0].i32, err);
    if (object == NULL) {
        return err->code;
    }
    dw_guest_sampler_destroy(object);
    return DW_OK;
}
DW_MODEL_CALL(sampler_close)

/* sampler, biases, count */
static int32_t sampler_logit_bias(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = sampler_of(instance, args[0].i32);
    if (sampler == NULL) {
        return err->code;
    }
    void *biases;
    dw_status status = dw_instance_range(instance, "biases", u32(&args[1]), u32(&args[2]),
                                         sizeof(dw_logit_bias), sizeof(int32_t), &biases, err);
    return status != DW_OK ? (int32_t)status
                           : (int32_t)dw_sampler_set_biases(sampler, biases, u32(&args[2]), err);
}
DW_MODEL_CALL(sampler_logit_bias)

/* sampler, model, pointers to strings, count */
static int32_t sampler_dry_breakers(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = sampler_of(instance, args[0].i32);
    const dw_model *model = sampler != NULL ? model_of(instance, args[1].i32) : NULL;
    const char *texts[BREAKERS_MAX];
    size_t count = u32(&args[3]);
    void *pointers;
    if (model == NULL) {
        return err->code;
    }
    if (count > BREAKERS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "breakers: %zu, limit %d", count, BREAKERS_MAX);
    }
    if (dw_vocab_count(dw_model_vocab(model)) != dw_sampler_vocab_count(sampler)) {
        return dw_fail(err, DW_E_ARG, "model: not the one of this sampler");
    }
    dw_status status = dw_instance_range(instance, "breakers", u32(&args[2]), count,
                                         sizeof(uint32_t), sizeof(uint32_t), &pointers, err);
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        char what[40];
        (void)snprintf(what, sizeof what, "breakers[%zu]", i);
        status = dw__guest_string(instance, what, ((const uint32_t *)pointers)[i],
                                  BREAKER_BYTES_MAX, &texts[i], err);
    }
    if (status == DW_OK) {
        status = dw_sampler_set_breakers(sampler, dw_model_vocab(model), texts, count, err);
    }
    return status;
}
DW_MODEL_CALL(sampler_dry_breakers)

/* sampler, model, text, bytes: a grammar, or a JSON Schema that becomes one. */
static int32_t set_grammar(dw_instance *instance, const wasmtime_val_raw_t *args, bool is_schema)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = sampler_of(instance, args[0].i32);
    const dw_model *model = sampler != NULL ? model_of(instance, args[1].i32) : NULL;
    size_t bytes = u32(&args[3]);
    if (model == NULL) {
        return err->code;
    }
    if (dw_vocab_count(dw_model_vocab(model)) != dw_sampler_vocab_count(sampler)) {
        return dw_fail(err, DW_E_ARG, "model: not the one of this sampler");
    }
    void *text;
    char *grammar = NULL;
    dw_status status = dw_instance_range(instance, is_schema ? "schema" : "grammar", u32(&args[2]),
                                         bytes, 1, 1, &text, err);
    if (status == DW_OK && is_schema && bytes > 0) {
        status = dw_json_grammar_make(&grammar, text, bytes, err);
        text = grammar;
        bytes = grammar != NULL ? strlen(grammar) : 0;
    }
    if (status == DW_OK) {
        status = dw_sampler_set_grammar(sampler, dw_model_vocab(model), text, bytes, err);
    }
    dw_free(grammar);
    return status;
}

static int32_t sampler_grammar(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return set_grammar(instance, args, false);
}
DW_MODEL_CALL(sampler_grammar)

static int32_t sampler_json_schema(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return set_grammar(instance, args, true);
}
DW_MODEL_CALL(sampler_json_schema)

static dw_status logits_range(dw_instance *instance, uint32_t pointer, uint32_t count, void **out,
                              dw_error *err)
{
    return dw_instance_range(instance, "logits", pointer, count, sizeof(float), sizeof(float), out,
                             err);
}

static int32_t sample(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = sampler_of(instance, args[0].i32);
    if (sampler == NULL) {
        return err->code;
    }
    void *logits;
    int32_t token = 0;
    dw_status status =
        logits_range(instance, u32(&args[1]), dw_sampler_vocab_count(sampler), &logits, err);
    if (status == DW_OK) {
        status = dw_sampler_choose(sampler, logits, &token, err);
    }
    if (status == DW_OK) {
        status = dw_sampler_remember(sampler, token, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_count(&dw_instance_counters(instance)->sampled_tokens, 1);
    return token;
}
DW_MODEL_CALL(sample)

static dw_status check_sampler_fits(const dw_sampler *sampler, const dw_context *context,
                                    dw_error *err)
{
    uint32_t found = dw_sampler_vocab_count(sampler);
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(dw_context_model(context), &info);
    return found == info.vocab_count
               ? DW_OK
               : dw_fail(err, DW_E_ARG,
                         "sampler: it chooses among %u tokens, the context's model "
                         "has %u",
                         found, info.vocab_count);
}

/* context, tokens, count, sampler */
static int32_t forward_sample(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = context_of(instance, args[0].i32);
    dw_sampler *sampler = context != NULL ? sampler_of(instance, args[3].i32) : NULL;
    if (sampler == NULL) {
        return err->code;
    }
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_choice choice = {.sampler = sampler, .status = DW_OK};
    dw_step step = step_of(instance);
    step.choice = &choice;
    uint32_t before = dw_context_length(context);
    dw_status status = check_sampler_fits(sampler, context, err);
    if (status == DW_OK) {
        status = step_tokens(instance, args, &step, err);
    }
    if (status == DW_OK) {
        status = run_step(instance, context, &step, err);
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
DW_MODEL_CALL(forward_sample)

static int32_t sampler_accept(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = sampler_of(instance, args[0].i32);
    return sampler == NULL ? (int32_t)err->code
                           : (int32_t)dw_sampler_remember(sampler, args[1].i32, err);
}
DW_MODEL_CALL(sampler_accept)

/* sampler, logits */
static int32_t sampler_mask(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = sampler_of(instance, args[0].i32);
    void *logits;
    if (sampler == NULL) {
        return err->code;
    }
    dw_status status =
        logits_range(instance, u32(&args[1]), dw_sampler_vocab_count(sampler), &logits, err);
    return status != DW_OK ? (int32_t)status : (int32_t)dw_sampler_mask(sampler, logits, err);
}
DW_MODEL_CALL(sampler_mask)

static int32_t greedy(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    uint32_t count = dw_vocab_count(dw_model_vocab(model));
    void *logits;
    int32_t token = 0;
    dw_status status = logits_range(instance, u32(&args[1]), count, &logits, err);
    if (status == DW_OK) {
        status = dw_greedy_choose(logits, count, &token, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_count(&dw_instance_counters(instance)->sampled_tokens, 1);
    return token;
}
DW_MODEL_CALL(greedy)

const dw_host_import dw_model_imports[] = {
    {"model_open", "ii:i", call_model_open},
    {"model_close", "i:i", call_model_close},
    {"model_info", "ii:i", call_model_info},
    {"model_facts", "ii:i", call_model_info}, /* its name in guests compiled before 0.2 */
    {"tokenize", "iiiiii:i", call_tokenize},
    {"detokenize", "iiiiii:i", call_detokenize},
    {"token_is_end", "ii:i", call_token_is_end},
    {"chat_template", "iiiiii:i", call_chat_template},
    {"context_create", "ii:i", call_context_create},
    {"context_fork", "i:i", call_context_fork},
    {"context_close", "i:i", call_context_close},
    {"context_length", "i:i", call_context_length},
    {"context_capacity", "i:i", call_context_capacity},
    {"context_trim", "ii:i", call_context_trim},
    {"context_shift", "iii:i", call_context_shift},
    {"forward", "iiiii:i", call_forward},
    {"forward_hidden", "iiiii:i", call_forward_hidden},
    {"embed", "iiiiii:i", call_embed},
    {"sampler_create", "ii:i", call_sampler_create},
    {"sampler_close", "i:i", call_sampler_close},
    {"sampler_logit_bias", "iii:i", call_sampler_logit_bias},
    {"sampler_dry_breakers", "iiii:i", call_sampler_dry_breakers},
    {"sampler_grammar", "iiii:i", call_sampler_grammar},
    {"sampler_json_schema", "iiii:i", call_sampler_json_schema},
    {"sampler_mask", "ii:i", call_sampler_mask},
    {"sample", "ii:i", call_sample},
    {"sampler_accept", "ii:i", call_sampler_accept},
    {"greedy", "ii:i", call_greedy},
    {"forward_sample", "iiii:i", call_forward_sample},
    {NULL, NULL, NULL},
};
