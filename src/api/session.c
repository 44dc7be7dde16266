/* dw_session: a context, a sampler, and a region of the host's own that the device reads tokens
 * from and writes logits to. */
#include "api/session.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/checked.h"
#include "base/public_struct.h"
#include "device/device_view.h"
#include "inference/context.h"
#include "inference/score.h"
#include "schema/json_grammar.h"

#define PLACE_ALIGN ((size_t)65536) /* a multiple that every device takes */
#define PERPLEXITY_WINDOW 512

struct dw_session {
    dw_context *context;
    bool borrowed; /* the context is an actor's */
    dw_model *model;
    dw_region *region; /* tokens [dw_context_capacity], then logits [rows_max][vocab_count] */
    dw_device_view *view;
    dw_counters counters;
    dw_sampler *sampler;
    uint32_t vocab_count;
    uint32_t rows_max;
    uint32_t rows; /* that the last step returned */
    size_t logits_offset;
};

static float *logits_of(const dw_session *session)
{
    return (float *)(void *)((unsigned char *)dw_region_base(session->region) +
                             session->logits_offset);
}

static dw_status make_region(dw_session *session, dw_error *err)
{
    size_t tokens = 0;
    size_t logits = 0;
    bool fits = dw_mul_size(&tokens, dw_context_capacity(session->context), sizeof(int32_t)) &&
                dw_round_up(&session->logits_offset, tokens, PLACE_ALIGN) &&
                dw_mul_size(&logits, session->rows_max, session->vocab_count * sizeof(float)) &&
                logits <= SIZE_MAX / 4 && dw_round_up(&logits, logits, PLACE_ALIGN);
    if (!fits) {
        return dw_fail(err, DW_E_MEMORY, "logits of %u tokens do not fit", session->rows_max);
    }
    size_t bytes = session->logits_offset + logits;
    dw_region_options options = {.reserve_bytes = bytes, .commit_bytes = bytes, .label = "session"};
    dw_status status = dw_region_create(&session->region, &options, err);
    if (status != DW_OK) {
        return status;
    }
    return dw_device_view_create(&session->view, dw_model_device(session->model), session->region,
                                 DW_VIEW_STAGEABLE, err);
}

/* `context` is taken, also where this fails; a borrowed one stays whose it is. */
static dw_status wrap(dw_session **out, dw_context *context, bool borrowed, uint32_t rows_max,
                      dw_error *err)
{
    dw_session *session = dw_alloc(1, sizeof *session);
    if (session == NULL) {
        dw_context_destroy(borrowed ? NULL : context);
        return dw_fail(err, DW_E_MEMORY, "no memory for a session");
    }
    session->context = context;
    session->borrowed = borrowed;
    session->model = dw_model_ref(dw_context_model(context));
    session->vocab_count = dw_model_shape_of(session->model)->vocab_count;
    session->rows_max = rows_max > 0 ? rows_max : 1;
    dw_status status = make_region(session, err);
    if (status == DW_OK) {
        status = dw_sampler_create(&session->sampler, session->vocab_count, NULL, err);
    }
    if (status != DW_OK) {
        dw_session_destroy(session);
        return status;
    }
    *out = session;
    return DW_OK;
}

dw_status dw_session_create(dw_session **out, dw_model *model, const dw_session_options *options,
                            dw_error *err)
{
    dw_session_options own;
    dw_context *context = NULL;
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_session_options", err);
    if (status != DW_OK) {
        return status;
    }
    if ((unsigned)own.kv_type > DW_KV_F32) {
        return dw_fail(err, DW_E_ARG, "kv_type: %d, from %d to %d is allowed", (int)own.kv_type,
                       (int)DW_KV_F16, (int)DW_KV_F32);
    }
    const dw_context_options wanted = {.tokens_max = own.tokens_max, .kv_type = own.kv_type};
    status = dw_context_create(&context, model, &wanted, err);
    return status == DW_OK ? wrap(out, context, false, own.rows_max, err) : status;
}

dw_status dw_session_borrow(dw_session **out, dw_context *context, dw_error *err)
{
    *out = NULL;
    return wrap(out, context, true, 1, err);
}

dw_status dw_session_fork(dw_session **out, dw_session *parent, dw_error *err)
{
    dw_context *context = NULL;
    dw_sampler *sampler = NULL;
    dw_session *child = NULL;
    *out = NULL;
    dw_status status = dw_callback_check(err);
    if (status == DW_OK) {
        status = dw_context_fork(&context, parent->context, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = wrap(&child, context, false, parent->rows_max, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_sampler_fork(&sampler, parent->sampler, dw_model_vocab(parent->model), err);
    if (status != DW_OK) {
        dw_session_destroy(child);
        return status;
    }
    dw_sampler_destroy(child->sampler);
    child->sampler = sampler;
    /* The rows go along, so that both may sample what follows. */
    memcpy(logits_of(child), logits_of(parent),
           (size_t)parent->rows * parent->vocab_count * sizeof(float));
    child->rows = parent->rows;
    *out = child;
    return DW_OK;
}

void dw_session_destroy(dw_session *session)
{
    if (session == NULL || dw_callback_under_way()) {
        return;
    }
    dw_sampler_destroy(session->sampler);
    dw_context_destroy(session->borrowed ? NULL : session->context);
    dw_device_view_destroy(session->view);
    dw_region_destroy(session->region);
    dw_model_unref(session->model);
    dw_free(session);
}

uint32_t dw_session_length(const dw_session *session)
{
    return dw_context_length(session->context);
}

const int32_t *dw_session_tokens(const dw_session *session)
{
    return dw_context_tokens(session->context);
}

uint32_t dw_session_vocab_count(const dw_session *session)
{
    return session->vocab_count;
}

dw_status dw_session_trim(dw_session *session, uint32_t length, dw_error *err)
{
    dw_status status = dw_callback_check(err);
    if (status == DW_OK) {
        status = dw_context_trim(session->context, length, err);
    }
    session->rows = status == DW_OK ? 0 : session->rows;
    return status;
}

dw_status dw_session_set_adapters(dw_session *session, const dw_adapter_scale *adapters,
                                  size_t count, dw_error *err)
{
    dw_adapter_choice choices[DW_ADAPTERS_MAX];
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    if (count > DW_ADAPTERS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "adapters: %zu, limit %u", count, DW_ADAPTERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        choices[i] = (dw_adapter_choice){adapters[i].adapter, adapters[i].scale};
    }
    return dw_context_set_adapters(session->context, choices, (uint32_t)count, err);
}

size_t dw_session_adapters(const dw_session *session, dw_adapter_scale *adapters, size_t capacity)
{
    const dw_adapter_set *set = dw_context_adapters(session->context);
    const size_t count = set != NULL ? set->count : 0;
    for (size_t i = 0; i < count && i < capacity; i++) {
        adapters[i] = (dw_adapter_scale){set->choices[i].index, set->choices[i].scale};
    }
    return count;
}

dw_status dw_session_forward(dw_session *session, const int32_t *tokens, uint32_t count,
                             uint32_t rows, const float **logits, dw_error *err)
{
    uint32_t room = dw_context_capacity(session->context) - dw_context_length(session->context);
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    if (rows > session->rows_max || rows > count) {
        return dw_fail(err, DW_E_RANGE, "%u rows of %u tokens: at most %u are returned", rows,
                       count, session->rows_max);
    }
    if (count > room) {
        return dw_fail(err, DW_E_LIMIT, "%u tokens: the context has room for %u", count, room);
    }
    unsigned char *base = dw_region_base(session->region);
    memcpy(base, tokens, count * sizeof *tokens);
    dw_step step = {.view = session->view,
                    .tokens = (int32_t *)(void *)base,
                    .token_count = count,
                    .logits = rows > 0 ? logits_of(session) : NULL,
                    .logits_rows = rows,
                    .counters = &session->counters};
    session->rows = 0;
    status = dw_context_forward(session->context, &step, err);
    if (status != DW_OK) {
        return status;
    }
    session->rows = rows;
    if (logits != NULL) {
        *logits = step.logits;
    }
    return DW_OK;
}

/* ---- sampling ----------------------------------------------------------------------------- */

static dw_sampler_params params_of(const dw_sampler_options *o)
{
    return (dw_sampler_params){
        .temperature = o->temperature,
        .top_k = o->top_k,
        .top_p = o->top_p,
        .min_p = o->min_p,
        .repeat_penalty = o->repeat_penalty,
        .frequency_penalty = o->frequency_penalty,
        .presence_penalty = o->presence_penalty,
        .penalty_tokens = o->penalty_tokens,
        .seed = o->seed,
        .struct_bytes = sizeof(dw_sampler_params),
        .temperature_range = o->temperature_range,
        .temperature_exponent = o->temperature_exponent,
        .typical_p = o->typical_p,
        .top_n_sigma = o->top_n_sigma,
        .xtc_probability = o->xtc_probability,
        .xtc_threshold = o->xtc_threshold,
        .dry_multiplier = o->dry_multiplier,
        .dry_base = o->dry_base,
        .dry_allowed_length = o->dry_allowed_length,
        .dry_tokens = o->dry_tokens,
        .mirostat_tau = o->mirostat_tau,
        .mirostat_eta = o->mirostat_eta,
    };
}

static dw_status set_biases(dw_sampler *sampler, const dw_sampler_options *options, dw_error *err)
{
    dw_logit_bias *list = dw_alloc(options->bias_count, sizeof *list);
    if (list == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu biases", options->bias_count);
    }
    for (size_t i = 0; i < options->bias_count; i++) {
        list[i] = (dw_logit_bias){.token = options->bias_tokens[i], .bias = options->biases[i]};
    }
    dw_status status = dw_sampler_set_biases(sampler, list, options->bias_count, err);
    dw_free(list);
    return status;
}

dw_status dw_json_schema_check(const char *schema, char *notes, size_t capacity, dw_error *err)
{
    char *grammar;
    char *lines;
    dw_status status = dw_json_grammar_make_noted(&grammar, &lines, schema, strlen(schema), err);
    if (capacity > 0) {
        (void)snprintf(notes, capacity, "%s", lines != NULL ? lines : "");
    }
    dw_free(grammar);
    dw_free(lines);
    return status;
}

static dw_status set_grammar(dw_sampler *sampler, const dw_vocab *vocab,
                             const dw_sampler_options *options, dw_error *err)
{
    if (options->grammar != NULL && options->json_schema != NULL) {
        return dw_fail(err, DW_E_ARG, "dw_sampler_options: both a grammar and a JSON Schema");
    }
    if (options->grammar != NULL) {
        return dw_sampler_set_grammar(sampler, vocab, options->grammar, strlen(options->grammar),
                                      err);
    }
    if (options->json_schema == NULL) {
        return DW_OK;
    }
    char *grammar = NULL;
    dw_status status =
        dw_json_grammar_make(&grammar, options->json_schema, strlen(options->json_schema), err);
    if (status == DW_OK) {
        status = dw_sampler_set_grammar(sampler, vocab, grammar, strlen(grammar), err);
    }
    dw_free(grammar);
    return status;
}

static dw_status configure(dw_sampler *sampler, const dw_vocab *vocab,
                           const dw_sampler_options *options, dw_error *err)
{
    dw_status status = DW_OK;
    if (options->bias_count > 0) {
        status = set_biases(sampler, options, err);
    }
    if (status == DW_OK && options->dry_breaker_count > 0) {
        status = dw_sampler_set_breakers(sampler, vocab, options->dry_breakers,
                                         options->dry_breaker_count, err);
    }
    return status == DW_OK ? set_grammar(sampler, vocab, options, err) : status;
}

dw_status dw_session_set_sampler(dw_session *session, const dw_sampler_options *options,
                                 dw_error *err)
{
    dw_sampler_options own;
    dw_sampler *sampler = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_sampler_options", err);
    if (status != DW_OK) {
        return status;
    }
    dw_sampler_params params = params_of(&own);
    status = dw_sampler_create(&sampler, session->vocab_count, &params, err);
    if (status != DW_OK) {
        return status;
    }
    status = configure(sampler, dw_model_vocab(session->model), &own, err);
    if (status != DW_OK) {
        dw_sampler_destroy(sampler);
        return status;
    }
    dw_sampler_destroy(session->sampler);
    session->sampler = sampler;
    return DW_OK;
}

dw_status dw_session_hold_to_chat(dw_session *session, const char *request, size_t bytes,
                                  bool *held, dw_error *err)
{
    dw_chats *chats = dw_model_chats(session->model);
    const dw_chat_format *format = NULL;
    dw_status status = dw_callback_check(err);
    if (status == DW_OK) {
        status = dw_chats_format(chats, (dw_chat_request){.json = request, .bytes = bytes}, &format,
                                 err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (held != NULL) {
        *held = dw_chat_format_info_of(format).grammar[0] != '\0';
    }
    status =
        dw_sampler_set_chat_format(session->sampler, dw_model_vocab(session->model), format, err);
    dw_chats_release(chats, format);
    return status;
}

dw_status dw_session_sample(dw_session *session, int32_t *token, dw_error *err)
{
    if (session->rows == 0) {
        return dw_fail(err, DW_E_STATE, "sample: the last step returned no logits");
    }
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    const float *last = logits_of(session) + (size_t)(session->rows - 1) * session->vocab_count;
    status = dw_sampler_choose(session->sampler, last, token, err);
    return status == DW_OK ? dw_sampler_remember(session->sampler, *token, err) : status;
}

/* ---- scoring ------------------------------------------------------------------------------ */

dw_status dw_model_perplexity(dw_model *model, const int32_t *tokens, size_t count,
                              const dw_session_options *options, dw_perplexity *result,
                              dw_error *err)
{
    dw_session_options own;
    dw_scorer *scorer = NULL;
    int32_t *copy = NULL; /* the scorer puts BOS into it */
    dw_perplexity found;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_session_options", err);
    if (status == DW_OK) {
        status = dw_struct_check(result, "dw_perplexity", err);
    }
    if (status != DW_OK) {
        return status;
    }
    uint32_t window = own.tokens_max > 0 ? own.tokens_max : PERPLEXITY_WINDOW;
    status = dw_scorer_create(&scorer, model, window, window, own.kv_type, err);
    if (status != DW_OK) {
        return status;
    }
    copy = dw_alloc(count, sizeof *copy);
    if (copy == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for %zu tokens", count);
        goto out;
    }
    memcpy(copy, tokens, count * sizeof *copy);
    status = dw_scorer_perplexity(scorer, copy, count, &found, err);
    if (status == DW_OK) {
        dw_struct_write(result, &found, sizeof found);
    }
out:
    dw_free(copy);
    dw_scorer_destroy(scorer);
    return status;
}
