#include "inference/context.h"

#include "base/alloc.h"
#include "base/os.h"
#include "inference/context_internal.h"
#include "inference/context_tree.h"
#include "inference/step.h"

dw_status dw__context_make(dw_context **out, dw_model *model, const dw_context_options *options,
                           dw_kv_log_options *log, dw_error *err)
{
    static const dw_context_options defaults = {0};
    *out = NULL;
    options = options != NULL ? options : &defaults;
    const dw_model_shape *shape = dw_model_shape_of(model);
    if (shape->architecture->encoder) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "context: a model of architecture '%s' has none: it gives embeddings of "
                       "whole texts",
                       shape->architecture->name);
    }
    uint32_t tokens_max = options->tokens_max > 0 ? options->tokens_max : shape->context_length;
    if (tokens_max > shape->context_length) {
        return dw_fail(err, DW_E_RANGE, "context: %u tokens, the model was made for %u", tokens_max,
                       shape->context_length);
    }
    if ((unsigned)options->kv_type > DW_KV_F32) {
        return dw_fail(err, DW_E_ARG, "kv_type: %d, from %d to %d is allowed",
                       (int)options->kv_type, (int)DW_KV_F16, (int)DW_KV_F32);
    }
    size_t record_bytes = dw_model_kv_layout(shape, options->kv_type).record_bytes;
    if (record_bytes == 0) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "context: keys and values in %s want heads of a multiple of %lld, the "
                       "model's have %u",
                       ggml_type_name(dw_kv_ggml_type(options->kv_type)),
                       (long long)ggml_blck_size(dw_kv_ggml_type(options->kv_type)),
                       shape->head_dim);
    }
    dw_context *context = dw_alloc(1, sizeof *context);
    if (context == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a context");
    }
    context->model = dw_model_ref(model);
    context->kv_type = options->kv_type;
    dw_status status =
        options->adapters_given
            ? DW_OK
            : dw_adapter_set_usual(&context->adapters, dw_model_adapters(model), err);
    if (status != DW_OK) {
        dw_context_destroy(context);
        return status;
    }
    if (options->adapters_given) {
        context->adapters = dw_adapter_set_ref(options->adapters);
    }
    *log = (dw_kv_log_options){.record_bytes = record_bytes, .capacity_tokens = tokens_max};
    *out = context;
    return DW_OK;
}

dw_status dw_context_create(dw_context **out, dw_model *model, const dw_context_options *options,
                            dw_error *err)
{
    dw_context *context = NULL;
    dw_kv_log_options log;
    *out = NULL;
    dw_status status = dw__context_make(&context, model, options, &log, err);
    if (status == DW_OK) {
        status = dw_kv_log_create(&context->log, dw_model_device(model), &log, err);
    }
    if (status != DW_OK) {
        dw_context_destroy(context);
        return status;
    }
    *out = context;
    return DW_OK;
}

dw_status dw_context_fork(dw_context **out, dw_context *parent, dw_error *err)
{
    *out = NULL;
    dw_context *context = dw_alloc(1, sizeof *context);
    if (context == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a context");
    }
    context->model = dw_model_ref(parent->model);
    context->kv_type = parent->kv_type;
    context->adapters = dw_adapter_set_ref(parent->adapters);
    context->sink = parent->sink;
    context->window = parent->window;
    dw_status status = DW_OK;
    do { /* of a page that is filled in part there is a copy */
        status = dw_kv_log_fork(&context->log, parent->log, err);
    } while (dw__context_relieved(parent, status));
    if (status == DW_OK) {
        status = dw__kept_rows_fork(&context->kept, parent->kept, err);
    }
    if (status != DW_OK) {
        dw_context_destroy(context);
        return status;
    }
    dw__token_history_fork(&context->history, &parent->history, dw_kv_log_length(parent->log));
    dw__prefix_share_fork(&context->prefixes, &parent->prefixes);
    *out = context;
    return DW_OK;
}

void dw_context_destroy(dw_context *context)
{
    if (context == NULL) {
        return;
    }
    dw_kv_log_destroy(context->log);
    dw__prefix_share_release(&context->prefixes);
    dw_adapter_set_unref(context->adapters);
    dw_model_unref(context->model);
    dw__token_history_release(&context->history);
    dw__kept_rows_destroy(context->kept);
    dw_context_drop_tree(context);
    dw_free(context);
}

void dw_context_keep_log(dw_context *context, const dw_kv_key *key)
{
    dw_kv_key own = *key;
    own.model = context->model;
    dw_context_drop_tree(context);
    dw_kv_log_keep(context->log, &own);
    context->log = NULL;
}

dw_model *dw_context_model(const dw_context *context)
{
    return context->model;
}

uint32_t dw_context_length(const dw_context *context)
{
    return dw_kv_log_length(context->log);
}

bool dw__context_is_long(const dw_context *context)
{
    return dw_kv_log_capacity(context->log) > dw_model_shape_of(context->model)->rope_context;
}

uint32_t dw_context_capacity(const dw_context *context)
{
    return dw_kv_log_capacity(context->log);
}

const int32_t *dw_context_tokens(const dw_context *context)
{
    return context->history.tokens;
}

dw_kv_log *dw_context_log(dw_context *context)
{
    return context->log;
}

dw_kv_type dw_context_kv_type(const dw_context *context)
{
    return context->kv_type;
}

static void trim(dw_context *context, uint32_t length)
{
    dw_context_drop_tree(context);
    dw_kv_log_trim(context->log, length);
    dw__prefix_share_trim(&context->prefixes, length);
    dw__kept_rows_trim(context->kept, length);
}

dw_status dw_context_trim(dw_context *context, uint32_t length, dw_error *err)
{
    uint32_t held = dw_kv_log_length(context->log);
    if (length > held) {
        return dw_fail(err, DW_E_RANGE, "trim: to %u tokens, the context holds %u", length, held);
    }
    trim(context, length);
    return DW_OK;
}

const dw_adapter_set *dw_context_adapters(const dw_context *context)
{
    return context->adapters;
}

dw_status dw_context_set_adapters(dw_context *context, const dw_adapter_choice *choices,
                                  uint32_t count, dw_error *err)
{
    const uint32_t held = dw_kv_log_length(context->log);
    dw_adapter_set *set = NULL;
    if (held > 0) {
        return dw_fail(err, DW_E_STATE,
                       "adapters: the context holds %u tokens, computed with those it has; trim it "
                       "to 0 first",
                       held);
    }
    dw_status status =
        dw_adapter_set_get(&set, dw_model_adapters(context->model), choices, count, err);
    if (status == DW_OK && set != context->adapters) {
        status = dw__prefix_share_adapt(context, set, err);
    }
    if (status != DW_OK || set == context->adapters) {
        dw_adapter_set_unref(set);
        return status;
    }
    dw_context_drop_tree(context);
    dw_adapter_set_unref(context->adapters);
    context->adapters = set;
    return DW_OK;
}

dw_status dw_context_keep_rows(dw_context *context, uint32_t count, dw_error *err)
{
    dw__kept_rows *kept = NULL;
    if (count > DW_KEPT_ROWS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "rows: %u, limit %d", count, DW_KEPT_ROWS_MAX);
    }
    if (count > 0) {
        dw_status status =
            dw__kept_rows_create(&kept, dw_model_shape_of(context->model)->vocab_count, count, err);
        if (status != DW_OK) {
            return status;
        }
    }
    if (kept != NULL && context->kept != NULL) {
        dw__kept_rows_move(kept, context->kept);
    }
    dw__kept_rows_destroy(context->kept);
    context->kept = kept;
    return DW_OK;
}

dw_status dw_context_logits(const dw_context *context, const float **row, dw_error *err)
{
    uint32_t length = dw_kv_log_length(context->log);
    *row = dw__kept_rows_at(context->kept, length);
    if (*row != NULL) {
        return DW_OK;
    }
    return context->kept == NULL
               ? dw_fail(err, DW_E_NOT_FOUND, "logits: the context keeps no rows")
               : dw_fail(err, DW_E_NOT_FOUND,
                         "logits: of token %u none are kept, only of the last %u tokens whose "
                         "logits were computed",
                         length, context->kept->max);
}

uint32_t dw_context_rows_max(const dw_context *context)
{
    return context->kept != NULL ? context->kept->max : 0;
}

uint32_t dw_context_row_count(const dw_context *context)
{
    return context->kept != NULL ? context->kept->count : 0;
}

const float *dw_context_row(const dw_context *context, uint32_t index, uint32_t *length)
{
    *length = context->kept->list[index].length;
    return dw__kept_row_values(context->kept, index);
}

dw_status dw_context_add_row(dw_context *context, uint32_t length, float **row, dw_error *err)
{
    dw__kept_rows *kept = context->kept;
    const uint32_t last = kept != NULL && kept->count > 0 ? kept->list[kept->count - 1].length : 0;
    *row = NULL;
    if (kept == NULL || kept->count == kept->max) {
        return dw_fail(err, DW_E_RANGE, "rows: more than the %u that the context keeps",
                       dw_context_rows_max(context));
    }
    if (length <= last || length > dw_kv_log_length(context->log)) {
        return dw_fail(err, DW_E_RANGE, "rows: one of token %u, behind %u of a context of %u",
                       length, last, dw_kv_log_length(context->log));
    }
    dw_status status = dw__kept_rows_reserve(kept, 1, err);
    *row = status == DW_OK ? dw__kept_rows_add(kept, length) : NULL;
    return status;
}

static bool overlaps(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    uintptr_t left = (uintptr_t)a;
    uintptr_t right = (uintptr_t)b;
    return left < right + b_bytes && right < left + a_bytes;
}

static dw_status check_step(const dw_context *context, const dw_step *step, dw_error *err)
{
    uint32_t held = dw_kv_log_length(context->log);
    uint32_t capacity = dw_kv_log_capacity(context->log);
    const dw_model_shape *shape = dw_model_shape_of(context->model);
    if (step->token_count == 0 || (step->tokens == NULL) == (step->embeddings == NULL)) {
        return dw_fail(err, DW_E_ARG, "forward: no tokens");
    }
    if ((step->logits == NULL) != (step->logits_rows == 0)) {
        return dw_fail(err, DW_E_ARG, "forward: %u rows of logits, at %s address",
                       step->logits_rows, step->logits == NULL ? "no" : "an");
    }
    if (step->result == DW_RESULT_POOLED && step->logits_rows != 1) {
        return dw_fail(err, DW_E_ARG, "forward: %u rows for one pooled embedding",
                       step->logits_rows);
    }
    if (step->logits_rows > step->token_count) {
        return dw_fail(err, DW_E_RANGE, "forward: %u rows of logits for %u tokens",
                       step->logits_rows, step->token_count);
    }
    if (step->token_count > capacity - held) {
        return dw_fail(err, DW_E_LIMIT, "forward: %u tokens behind %u, the context takes %u",
                       step->token_count, held, capacity);
    }
    const void *given = step->tokens;
    size_t given_bytes = (size_t)step->token_count * sizeof *step->tokens;
    if (step->embeddings != NULL) {
        given = step->embeddings;
        given_bytes = (size_t)step->token_count * shape->embedding_length * sizeof(float);
    }
    size_t logits_bytes =
        (size_t)step->logits_rows * dw__result_length(shape, step->result) * sizeof *step->logits;
    if (overlaps(given, given_bytes, step->logits, logits_bytes)) {
        return dw_fail(err, DW_E_OVERLAP, "forward: %zu bytes of results lie over the %u %s",
                       logits_bytes, step->token_count,
                       step->embeddings != NULL ? "embeddings" : "tokens");
    }
    return DW_OK;
}

bool dw__context_relieved(const dw_context *context, dw_status status)
{
    return status == DW_E_MEMORY && dw_kv_log_in_host_memory(context->log) &&
           dw__prefix_relieve(&context->prefixes);
}

dw_status dw__context_reserve(dw_context *context, uint32_t tokens, dw_error *err)
{
    dw_status status = DW_OK;
    do {
        status = dw_kv_log_reserve(context->log, tokens, err);
    } while (dw__context_relieved(context, status));
    return status;
}

/* `noted`: tokens of the history, at least the length. */
static dw_status make_room(dw_context *context, uint32_t noted, uint32_t tokens, dw_error *err)
{
    dw_status status = dw__context_reserve(context, tokens, err);
    if (status != DW_OK) {
        return status;
    }
    return dw__token_history_reserve(&context->history, noted, noted,
                                     dw_kv_log_committed(context->log), err);
}

/* Check the tokens where they lie, and note them behind the history: it is the context's own
 * record, which the guest's memory, changing as it does, cannot be. */
static dw_status note_tokens(dw_context *context, const dw_step *step, dw_error *err)
{
    uint32_t vocab_count = dw_model_shape_of(context->model)->vocab_count;
    int32_t *history = context->history.tokens + dw_kv_log_length(context->log);
    for (uint32_t i = 0; i < step->token_count; i++) {
        if (step->embeddings != NULL) {
            history[i] = DW_TOKEN_NONE;
            continue;
        }
        int32_t token = step->tokens[i];
        if (token < 0 || (uint32_t)token >= vocab_count) {
            return dw_fail(err, DW_E_RANGE, "forward: token %d at %u, the vocabulary has %u", token,
                           i, vocab_count);
        }
        history[i] = token;
    }
    return DW_OK;
}

dw_step_slice dw__context_slice(const dw_context *context, const dw_step *step, uint32_t first,
                                uint32_t count)
{
    dw_step_slice slice = dw__step_slice_cut(step, dw_model_shape_of(context->model), first, count);
    slice.log = context->log;
    slice.kv_type = context->kv_type;
    slice.adapters = context->adapters;
    slice.kept = step->tree == NULL ? context->kept : NULL;
    if (step->tree != NULL) {
        slice.noted = step->tree->tokens + first;
    } else if (step->embeddings == NULL) {
        slice.noted = context->history.tokens + dw_kv_log_length(context->log);
    }
    return slice;
}

uint32_t dw__context_findable(const dw_context *context, const dw_step *step)
{
    uint32_t rest = step->logits_rows > DW_PREFIX_REST ? step->logits_rows : DW_PREFIX_REST;
    if (context->prefixes.root == NULL || step->result == DW_RESULT_POOLED ||
        step->embeddings != NULL || step->tree != NULL ||
        step->token_count < DW_PREFIX_BLOCK + rest) {
        return 0;
    }
    uint32_t all = dw_kv_log_length(context->log) + step->token_count;
    return (all - rest) / DW_PREFIX_BLOCK * DW_PREFIX_BLOCK;
}

dw_status dw__context_note_at(dw_context *context, uint32_t length, uint32_t room, dw_error *err)
{
    return dw__token_history_reserve(&context->history, length, length, room, err);
}

/* Note a checked step's tokens before there is room for them in the log. */
static dw_status note_ahead(dw_context *context, const dw_step *step, dw_error *err)
{
    uint32_t before = dw_kv_log_length(context->log);
    dw_status status = dw__context_note_at(context, before, before + step->token_count, err);
    return status == DW_OK ? note_tokens(context, step, err) : status;
}

dw_status dw__context_note(dw_context *context, const dw_step *step, dw_error *err)
{
    dw_status status = check_step(context, step, err);
    return status == DW_OK ? note_ahead(context, step, err) : status;
}

dw_status dw__context_begin(dw_context *context, const dw_step *step, uint32_t *found,
                            dw_error *err)
{
    *found = 0;
    if (step->tree != NULL) { /* it was checked; its tokens are noted when a path is kept */
        DW_ASSERT(step->tree == context->tree && !context->tree->computed);
        return dw__context_reserve(context, context->tree->past + context->tree->count, err);
    }
    dw_status status = check_step(context, step, err);
    if (status != DW_OK) {
        return status;
    }
    dw_context_drop_tree(context);
    uint32_t before = dw_kv_log_length(context->log);
    uint32_t all = before + step->token_count;
    uint32_t findable = dw__context_findable(context, step);
    if (findable > 0) {
        status = note_ahead(context, step, err);
    }
    if (status == DW_OK && findable > 0) {
        *found = dw__prefix_take(context, context->history.tokens, before, findable) - before;
    }
    if (status == DW_OK) {
        status = make_room(context, findable > 0 ? all : before, all, err);
    }
    if (status == DW_OK && findable == 0) {
        status = note_tokens(context, step, err);
    }
    if (status == DW_OK && step->result == DW_RESULT_LOGITS) {
        status =
            dw__kept_rows_reserve(context->kept, step->choice != NULL ? 1 : step->logits_rows, err);
    }
    if (status != DW_OK) { /* the step that was begun does not come */
        dw_kv_log_trim(context->log, before);
    }
    return status;
}

void dw__context_undo(dw_context *context, uint32_t length, dw_status status)
{
    trim(context, length);
    if (status == DW_E_NUMERIC) {
        (void)dw_kv_log_clear_rest(context->log, NULL);
    }
}

dw_status dw__context_end(dw_context *context, const dw_step *step, uint32_t before, uint32_t found,
                          uint64_t took_ns, dw_error *err)
{
    if (step->tree != NULL) {
        return dw__context_tree_end(context, step, took_ns, err);
    }
    bool prompt = step->token_count > 1 || before == 0;
    dw__kept_rows_settle(context->kept);
    dw_count(prompt ? &step->counters->prompt_tokens : &step->counters->decoded_tokens,
             step->token_count - found);
    dw_count(prompt ? &step->counters->prompt_ns : &step->counters->decode_ns, took_ns);
    if (found > 0) {
        dw_count(&step->counters->found_tokens, found);
    }
    context->prefixes.impure = context->prefixes.impure || step->embeddings != NULL;
    uint32_t all = before + step->token_count;
    if (prompt && all / DW_PREFIX_BLOCK > (before + found) / DW_PREFIX_BLOCK) {
        dw__prefix_give(context);
    }
    return DW_OK;
}

static bool is_on_cpu(const dw_context *context)
{
    return dw_device_info_of(dw_model_device(context->model))->kind == DW_DEVICE_CPU;
}

/* In device memory what the step holds may be what others' steps wait for. */
static void pause_between_slices(const dw_context *context, dw_stop *stop)
{
    if (is_on_cpu(context)) {
        dw_stop_pause(stop);
    }
}

static uint32_t slice_tokens(const dw_context *context, const dw_step *step, uint32_t left)
{
    uint32_t most = dw__slice_tokens_max(context->model);
    if (step->in_short_slices && left >= DW__CUT_TOKENS + DW__REST_TOKENS_MIN &&
        most > DW__CUT_TOKENS && is_on_cpu(context)) {
        return DW__CUT_TOKENS;
    }
    if (most == DW__SLICE_TOKENS_MAX) {
        return left <= most ? left : most;
    }
    const uint32_t rest_min = is_on_cpu(context) ? DW__REST_TOKENS_MIN : DW__REST_COLUMNS_MIN;
    return left < most + rest_min ? left : most;
}

/* The step's slices, one after another. */
static dw_status run_slices(dw_context *context, const dw_step *step, uint32_t found, dw_error *err)
{
    for (uint32_t done = found; done < step->token_count;) {
        uint32_t count = slice_tokens(context, step, step->token_count - done);
        dw_step_slice slice = dw__context_slice(context, step, done, count);
        pause_between_slices(context, step->stop);
        if (dw_stop_asked(step->stop)) {
            return dw_fail(err, DW_E_CANCELLED, "forward: cancelled at token %u of %u", done,
                           step->token_count);
        }
        dw_status status = dw__step_run(context->model, &slice, NULL, err);
        if (status == DW_OK) {
            status = dw__step_slice_check(&slice, err);
        }
        if (status != DW_OK) {
            return status;
        }
        done += slice.token_count;
        dw_kv_log_extend(context->log, dw_kv_log_length(context->log) + slice.token_count);
        if (step->on_progress != NULL && step->token_count > 1) {
            step->on_progress(step->user, done, step->token_count);
        }
    }
    return DW_OK;
}

dw_status dw_context_forward(dw_context *context, const dw_step *step, dw_error *err)
{
    DW_ASSERT(step->view != NULL || step->logits_rows == 0);
    DW_ASSERT(step->counters != NULL);
    uint64_t started = dw_os_clock_ns();
    uint32_t before = dw_kv_log_length(context->log);
    uint32_t found = 0;
    dw_status status = dw__context_begin(context, step, &found, err);
    if (status == DW_OK) {
        status = run_slices(context, step, found, err);
    }
    if (status == DW_OK) {
        status = dw__context_end(context, step, before, found, dw_os_clock_ns() - started, err);
    }
    if (status != DW_OK) {
        dw__context_undo(context, before, status);
    }
    return status;
}
