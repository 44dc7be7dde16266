#include "guest_abi/nn_steps.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_steps.h"
#include "nn/nn_settings.h"
#include "wasm/repeatable.h"

/* The plugin keeps so many tokens of a context free for what follows a prompt. */
#define TOKENS_BEHIND_PROMPT 4u
#define PIECE_BYTES 256u /* of a token's text, at first */

/* ---- handles -------------------------------------------------------------------------------- */

static const void *object_of(dw_instance *instance, dw_handle_kind kind, int32_t handle)
{
    const void *object = handle != 0 ? dw_instance_get_object(instance, kind, handle) : NULL;
    return object != NULL && kind == DW_HANDLE_SAMPLER ? ((const dw_guest_sampler *)object)->sampler
                                                       : object;
}

dw_status dw__nn_may_close(dw_instance *instance, dw_handle_kind kind, int32_t handle,
                           dw_error *err)
{
    const void *object = object_of(instance, kind, handle);
    return object != NULL && dw_instance_generation_of(instance, object) != NULL
               ? dw_fail(err, DW_E_STATE, "%s: %d is taken until generate_wait has told of the end",
                         kind == DW_HANDLE_SAMPLER ? "sampler" : "context", handle)
               : DW_OK;
}

void dw__nn_close(dw_instance *instance, dw_handle_kind kind, int32_t handle)
{
    if (handle != 0) {
        (void)dw_instance_close_handle(instance, kind, handle);
    }
}

/* ---- the prompt ----------------------------------------------------------------------------- */

dw_status dw__nn_take_prompt(dw_instance *instance, dw_nn_execution *execution, const char *text,
                             size_t bytes, dw_error *err)
{
    const dw_text_piece piece = {.text = text, .bytes = bytes};
    size_t capacity = bytes + 8; /* a token for each byte and those in front are mostly enough */
    dw_token_list list = {.tokens = NULL};
    dw_status status = dw__check_bytes("prompt", bytes, dw_instance_limits(instance)->text_bytes,
                                       "text_bytes", err);
    if (status != DW_OK) {
        return status;
    }
    do { /* once more where a normaliser makes more of a text than it has bytes */
        dw_free(list.tokens);
        list = (dw_token_list){.tokens = dw_alloc(capacity, sizeof(int32_t)),
                               .capacity = capacity,
                               .stop = dw_instance_stop(instance)};
        if (list.tokens == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a prompt of %zu bytes", bytes);
        }
        status = dw_vocab_tokenize_pieces(dw_model_vocab(execution->model), &piece, 1,
                                          DW_TOKENIZE_SPECIAL | DW_TOKENIZE_PARSE, &list, err);
        capacity = list.count;
    } while (status == DW_E_SPACE && list.count > list.capacity && list.count <= INT32_MAX);
    for (size_t i = 0; status == DW_OK && i < list.count; i++) {
        if (list.tokens[i] < 0) {
            status = dw_fail(err, DW_E_ARG, "prompt: the vocabulary has no token for part of it");
        }
    }
    if (status == DW_OK) {
        status = dw_nn_execution_restart(execution, list.tokens, (uint32_t)list.count, err);
    }
    dw_free(list.tokens);
    return status;
}

/* ---- what it computes with ------------------------------------------------------------------ */

static dw_status close_context(dw_instance *instance, int32_t handle, dw_error *err)
{
    int32_t status = dw_instance_close_handle(instance, DW_HANDLE_CONTEXT, handle);
    return status < 0 ? dw_fail(err, (dw_status)status, "the graph's context was closed") : DW_OK;
}

/* The graph's KV cache, as large as the settings say. NULL with dw_instance_error filled. */
static dw_context *kv_of(dw_instance *instance, const dw_nn_execution *execution,
                         const dw_nn_settings *settings)
{
    dw_error *err = dw_instance_error(instance);
    dw_nn_graph *graph = dw_instance_get_object(instance, DW_HANDLE_NN_GRAPH, execution->graph);
    dw_model_info info = {.struct_bytes = sizeof info};
    if (graph == NULL) {
        return NULL;
    }
    if (graph->model != execution->model) { /* another graph has its number by now */
        (void)dw_fail(err, DW_E_HANDLE, "the execution's graph was unloaded");
        return NULL;
    }
    dw_model_get_info(graph->model, &info);
    uint64_t limit = dw_instance_limits(instance)->context_tokens;
    uint64_t wanted = settings->context_tokens != 0 ? settings->context_tokens : UINT64_MAX;
    wanted = wanted < info.context_length ? wanted : info.context_length;
    wanted = wanted < limit ? wanted : limit;
    dw_context *context = graph->kv != 0 ? dw__context_of(instance, graph->kv) : NULL;
    if (graph->kv != 0 && context == NULL) {
        return NULL;
    }
    if (context != NULL && dw_context_model(context) != graph->model) {
        (void)dw_fail(err, DW_E_HANDLE, "the graph's context was closed");
        return NULL;
    }
    if (context != NULL && dw_context_capacity(context) == wanted) {
        return context;
    }
    if (context != NULL && close_context(instance, graph->kv, err) != DW_OK) {
        return NULL;
    }
    graph->kv = 0;
    dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_KV);
    int32_t handle = dw__open_context(instance, graph->model, (uint32_t)wanted);
    dw_account_leave(before);
    if (handle < 0) {
        return NULL;
    }
    graph->kv = handle;
    return dw__context_of(instance, handle);
}

/* Ends of generations, ruled out. */
static dw_status ignore_ends(dw_sampler *sampler, const dw_vocab *vocab, dw_error *err)
{
    dw_logit_bias biases[64];
    size_t count = 0;
    uint32_t tokens = dw_vocab_count(vocab);
    for (uint32_t i = 0; i < tokens && count < sizeof biases / sizeof biases[0]; i++) {
        if (dw_vocab_is_end(vocab, (int32_t)i)) {
            biases[count++] = (dw_logit_bias){(int32_t)i, -HUGE_VALF};
        }
    }
    return dw_sampler_set_biases(sampler, biases, count, err);
}

static dw_status prepare_sampler(dw_instance *instance, dw_guest_sampler *own,
                                 const dw_nn_settings *settings, dw_error *err)
{
    const char *text = settings->grammar != NULL ? settings->grammar : settings->json_schema;
    dw_status status = DW_OK;
    dw_sampler_set_stop(own->sampler, dw_instance_stop(instance));
    dw_sampler_limit_steps(own->sampler, dw_instance_limits(instance)->grammar_steps);
    if (settings->ignores_end) {
        status = ignore_ends(own->sampler, dw_model_vocab(own->model), err);
    }
    if (status == DW_OK && text != NULL) {
        status = dw__hold_to(instance, own, text, strlen(text), text == settings->json_schema, err);
    }
    return status;
}

/* A fresh sampler of the settings, in the place of the one that the execution had. */
static dw_status renew_sampler(dw_instance *instance, dw_nn_execution *execution,
                               const dw_nn_settings *settings, dw_error *err)
{
    dw_sampler_params params = settings->sampler;
    dw_sampler *sampler = NULL;
    dw_guest_sampler *own = NULL;
    dw_status may = dw__nn_may_close(instance, DW_HANDLE_SAMPLER, execution->sampler, err);
    if (may != DW_OK) {
        return may;
    }
    if (!settings->has_seed) {
        dw_instance_draw(instance, &params.seed, sizeof params.seed);
    }
    dw__nn_close(instance, DW_HANDLE_SAMPLER, execution->sampler);
    execution->sampler = 0;
    dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_SAMPLERS);
    dw_status status =
        dw_sampler_create(&sampler, dw_vocab_count(dw_model_vocab(execution->model)), &params, err);
    if (status == DW_OK) {
        status = dw_guest_sampler_create(&own, sampler, execution->model, err);
    }
    if (status == DW_OK) {
        status = prepare_sampler(instance, own, settings, err);
    }
    if (status != DW_OK) {
        dw_guest_sampler_destroy(own);
    } else {
        int32_t handle = dw_instance_add_handle(instance, DW_HANDLE_SAMPLER, own);
        execution->sampler = handle > 0 ? handle : 0;
        status = handle > 0 ? DW_OK : (dw_status)handle;
    }
    dw_account_leave(before);
    return status;
}

/* Whether there is a prompt, and room behind it. DW__NN_OK, DW__NN_PROMPT_TOO_LONG or a status. */
static int32_t check_prompt(const dw_nn_execution *execution, uint32_t capacity, dw_error *err)
{
    if (execution->token_count == 0) {
        return dw_fail(err, DW_E_ARG, "no prompt: set_input(0) gives it");
    }
    if ((uint64_t)execution->token_count + TOKENS_BEHIND_PROMPT > capacity) {
        (void)dw_fail(err, DW_E_LIMIT, "the prompt has %u tokens, the context %u, less %u",
                      execution->token_count, capacity, TOKENS_BEHIND_PROMPT);
        return DW__NN_PROMPT_TOO_LONG;
    }
    return DW__NN_OK;
}

/* How many of the execution's tokens the context has at its beginning already: the rest is to be
 * computed, the last at least. What it has beyond is dropped. */
static dw_status align(dw_context *context, const dw_nn_execution *execution, uint32_t *from,
                       dw_error *err)
{
    const int32_t *there = dw_context_tokens(context);
    uint32_t most = dw_context_length(context);
    most = most < execution->token_count ? most : execution->token_count - 1;
    uint32_t same = 0;
    while (same < most && there[same] == execution->tokens[same]) {
        same++;
    }
    *from = same;
    return dw_context_trim(context, same, err);
}

/* ---- texts ---------------------------------------------------------------------------------- */

static dw_status add_text_of(dw_instance *instance, dw_nn_execution *execution, int32_t token,
                             dw_error *err)
{
    char first[PIECE_BYTES];
    char *text = first;
    size_t bytes = 0;
    const dw_vocab *vocab = dw_model_vocab(execution->model);
    dw_status status =
        dw_vocab_detokenize(vocab, &token, 1, first, sizeof first, DW_DETOKENIZE_SPECIAL, &bytes,
                            dw_instance_stop(instance), err);
    if (status == DW_E_SPACE) {
        text = dw_alloc(bytes, 1);
        status = text == NULL
                     ? dw_fail(err, DW_E_MEMORY, "no memory for a token's text of %zu bytes", bytes)
                     : dw_vocab_detokenize(vocab, &token, 1, text, bytes, DW_DETOKENIZE_SPECIAL,
                                           &bytes, dw_instance_stop(instance), err);
    }
    if (status == DW_OK) {
        status = dw_nn_execution_add_token(execution, token, err);
    }
    if (status == DW_OK) {
        status = dw_nn_execution_add_text(execution, text, bytes, err);
    }
    if (text != first) {
        dw_free(text);
    }
    return status;
}

/* Charged to the guest as its texts are. */
static dw_status take_token(dw_instance *instance, dw_nn_execution *execution, int32_t token,
                            bool streams, dw_error *err)
{
    dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_TEXTS);
    dw_status status = add_text_of(instance, execution, token, err);
    dw_account_leave(before);
    if (status == DW_OK && streams) {
        status = dw_instance_write(instance, STDOUT_FILENO, execution->text + execution->last_text,
                                   execution->text_bytes - execution->last_text, err);
    }
    return status;
}

/* ---- generation ----------------------------------------------------------------------------- */

/* A generation's results, which stay where they are while it goes on. */
typedef struct generated {
    int32_t *tokens; /* [room] */
    uint32_t room;
    uint32_t count;
    int32_t end;
    int32_t stop_index;
    bool streams; /* to the guest's standard output, too */
} generated;

/* What is there of tokens and was not taken yet becomes text. */
static dw_status take_new(dw_instance *instance, dw_nn_execution *execution,
                          dw_generation *generation, const generated *results, uint32_t *taken,
                          dw_error *err)
{
    dw_status status = DW_OK;
    uint32_t count = dw_generation_tell(generation);
    while (*taken < count && status == DW_OK) {
        status =
            take_token(instance, execution, results->tokens[(*taken)++], results->streams, err);
    }
    return status;
}

/* Until the generation has ended. */
static int32_t follow(dw_instance *instance, dw_nn_execution *execution, dw_generation *generation,
                      const generated *results)
{
    dw_error *err = dw_instance_error(instance);
    dw_error failure = {.code = DW_OK};
    uint32_t taken = 0;
    dw_status status = DW_OK;
    while (status == DW_OK && generation->end == DW_GENERATE_GOES_ON) {
        dw_instance_generation_wait(instance, generation);
        status = take_new(instance, execution, generation, results, &taken, &failure);
        if (generation->end == DW_GENERATE_GOES_ON && dw_instance_cancelled(instance)) {
            break;
        }
    }
    dw_instance_generation_end(instance, generation);
    if (status == DW_OK) { /* what came with its end */
        status = take_new(instance, execution, generation, results, &taken, &failure);
    }
    int32_t end = generation->end;
    failure = status == DW_OK ? generation->error : failure;
    dw_instance_generation_drop(instance, generation);
    if (status != DW_OK || end < 0) {
        *err = failure;
        return status != DW_OK ? (int32_t)status : end;
    }
    if (end == DW_GENERATE_LEFT) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    return end == DW_GENERATE_FULL ? DW__NN_FULL : DW__NN_OK;
}

static dw_status begin(dw_instance *instance, const dw_nn_execution *execution, dw_context *context,
                       const dw_nn_settings *settings, generated *results, dw_generation **out)
{
    dw_error *err = dw_instance_error(instance);
    const char *reverse = settings->reverse_prompt;
    const dw_stop_text stop = {.bytes = reverse, .count = reverse != NULL ? strlen(reverse) : 0};
    dw_sampler *sampler = dw__sampler_of(instance, execution->sampler);
    uint32_t from = 0;
    if (sampler == NULL) {
        return err->code;
    }
    dw_status status = dw__check_sampler_fits(sampler, context, err);
    if (status == DW_OK) {
        status = align(context, execution, &from, err);
    }
    dw_generation_options options = {
        .prompt = execution->tokens + from,
        .prompt_count = execution->token_count - from,
        .tokens_max = results->room,
        .wake_tokens = settings->streams_stdout ? 1 : 0,
        .flags = DW_GENERATE_SPECIAL,
        .stops = &stop,
        .stop_count = reverse != NULL,
        .place = {results->tokens, &results->count, &results->end, &results->stop_index},
        .step = dw__step_of(instance),
        .account = dw_instance_account(instance),
    };
    *out = NULL;
    dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_TEXTS);
    if (status == DW_OK) {
        status = dw_generation_create(out, context, sampler, &options, err);
    }
    dw_account_leave(before);
    return status == DW_OK ? dw_instance_generate(instance, *out, err) : status;
}

static int32_t generate(dw_instance *instance, dw_nn_execution *execution,
                        const dw_nn_settings *settings)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = kv_of(instance, execution, settings);
    if (context == NULL) {
        return err->code;
    }
    uint32_t capacity = dw_context_capacity(context);
    int32_t fits = check_prompt(execution, capacity, err);
    if (fits != DW__NN_OK) {
        return fits;
    }
    /* The last is chosen when the context is full; one more, so that this is what ends it. */
    uint32_t room = capacity - execution->token_count + 2;
    if (settings->tokens_max >= 0 && settings->tokens_max < room) {
        room = (uint32_t)settings->tokens_max;
    }
    dw_status status = room > 0 ? renew_sampler(instance, execution, settings, err) : DW_OK;
    if (status != DW_OK || room == 0) {
        return status;
    }
    dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_TEXTS);
    generated results = {.tokens = dw_alloc(room, sizeof(int32_t)),
                         .room = room,
                         .streams = settings->streams_stdout};
    dw_account_leave(before);
    if (results.tokens == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %u tokens", room);
    }
    dw_generation *generation = NULL;
    status = begin(instance, execution, context, settings, &results, &generation);
    int32_t answer =
        status == DW_OK ? follow(instance, execution, generation, &results) : (int32_t)status;
    dw_free(results.tokens);
    return answer;
}

/* ---- by one token --------------------------------------------------------------------------- */

static int32_t single(dw_instance *instance, dw_nn_execution *execution,
                      const dw_nn_settings *settings)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = kv_of(instance, execution, settings);
    uint32_t from = 0;
    if (context == NULL) {
        return err->code;
    }
    uint32_t capacity = dw_context_capacity(context);
    int32_t fits = execution->begun ? DW__NN_OK : check_prompt(execution, capacity, err);
    if (fits != DW__NN_OK) {
        return fits;
    }
    if (execution->token_count > capacity) {
        return DW__NN_FULL;
    }
    dw_status status = execution->begun ? DW_OK : renew_sampler(instance, execution, settings, err);
    if (status != DW_OK) {
        return status;
    }
    execution->begun = true;
    dw_choice choice = {.sampler = dw__sampler_of(instance, execution->sampler)};
    if (choice.sampler == NULL) {
        return err->code;
    }
    status = dw__check_sampler_fits(choice.sampler, context, err);
    if (status == DW_OK) {
        status = align(context, execution, &from, err);
    }
    dw_step step = dw__step_of(instance);
    step.tokens = execution->tokens + from;
    step.token_count = execution->token_count - from;
    step.choice = &choice;
    if (status == DW_OK) {
        status = dw_instance_forward(instance, context, &step, err);
    }
    if (status == DW_OK && choice.status != DW_OK) {
        *err = choice.error;
        status = choice.status;
    }
    if (status == DW_OK) {
        status = dw_sampler_remember(choice.sampler, choice.token, err);
    }
    if (status == DW_OK) {
        dw_count(&dw_instance_counters(instance)->sampled_tokens, 1);
        status = take_token(instance, execution, choice.token, false, err);
    }
    if (status != DW_OK) {
        return status;
    }
    execution->ended = dw_vocab_is_end(dw_model_vocab(execution->model), choice.token);
    return execution->ended ? DW__NN_END : DW__NN_OK;
}

/* ---- embeddings ----------------------------------------------------------------------------- */

/* The row as the plugin writes it. */
static dw_status write_row(dw_nn_execution *execution, const float *row, uint32_t length,
                           dw_error *err)
{
    char text[64];
    int bytes = snprintf(text, sizeof text, "{\"n_embedding\": %u, \"embedding\": [", length);
    dw_status status = dw_nn_execution_add_text(execution, text, (size_t)bytes, err);
    for (uint32_t i = 0; i < length && status == DW_OK; i++) {
        bytes = snprintf(text, sizeof text, "%s%.9g", i > 0 ? "," : "", (double)row[i]);
        status = dw_nn_execution_add_text(execution, text, (size_t)bytes, err);
    }
    return status == DW_OK ? dw_nn_execution_add_text(execution, "]}", 2, err) : status;
}

/* Tokens and row lie in a region of their own, as the device wants them: it is charged to the
 * guest meanwhile. */
static dw_status embed_in(dw_instance *instance, dw_nn_execution *execution,
                          const dw_nn_settings *settings, dw_region *region, dw_error *err)
{
    const dw_model_shape *shape = dw_model_shape_of(execution->model);
    char *base = dw_region_base(region);
    dw__embed_work work = {.model = execution->model,
                           .step = {.tokens = (int32_t *)(void *)base,
                                    .token_count = execution->prompt_count,
                                    .pooling = settings->pooling == DW_POOLING_MODEL
                                                   ? shape->pooling
                                                   : (dw_pooling)settings->pooling,
                                    .normalize = true,
                                    .counters = dw_instance_counters(instance),
                                    .stop = dw_instance_stop(instance)}};
    size_t tokens_bytes = execution->prompt_count * sizeof(int32_t);
    tokens_bytes = (tokens_bytes + DW_TENSOR_ALIGN - 1) / DW_TENSOR_ALIGN * DW_TENSOR_ALIGN;
    work.step.rows = (float *)(void *)(base + tokens_bytes);
    memcpy(base, execution->tokens, execution->prompt_count * sizeof(int32_t));
    if (work.step.pooling == DW_POOL_NONE) { /* one row is what the interface can answer */
        work.step.pooling = DW_POOL_MEAN;
    }
    dw_status status = dw_device_view_create(&work.step.view, dw_instance_device(instance), region,
                                             DW_VIEW_STAGEABLE, err);
    if (status == DW_OK) {
        status = dw_instance_compute(instance, dw__do_embed, &work, err);
    }
    if (status == DW_OK) {
        dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_TEXTS);
        status = write_row(execution, work.step.rows, shape->embedding_length, err);
        dw_account_leave(before);
    }
    dw_device_view_destroy(work.step.view);
    return status;
}

static int32_t embed(dw_instance *instance, dw_nn_execution *execution,
                     const dw_nn_settings *settings)
{
    dw_error *err = dw_instance_error(instance);
    uint64_t limit = dw_instance_limits(instance)->context_tokens;
    uint32_t length = dw_model_shape_of(execution->model)->embedding_length;
    uint64_t bytes = ((uint64_t)execution->prompt_count + length) * sizeof(float) + DW_TENSOR_ALIGN;
    dw_region *region = NULL;
    if (execution->prompt_count == 0) {
        return dw_fail(err, DW_E_ARG, "no text: set_input(0) gives it");
    }
    if (execution->prompt_count > limit) {
        (void)dw_fail(err, DW_E_LIMIT, "the text has %u tokens, limit %" PRIu64 " (context_tokens)",
                      execution->prompt_count, limit);
        return DW__NN_PROMPT_TOO_LONG;
    }
    const dw_region_options options = {
        .reserve_bytes = (size_t)bytes, .commit_bytes = (size_t)bytes, .label = "text to embed"};
    dw_account *account = dw_instance_account(instance);
    dw_status status = dw_account_charge(account, DW_PART_TEXTS, bytes, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_region_create(&region, &options, err);
    if (status == DW_OK) {
        status = embed_in(instance, execution, settings, region, err);
        dw_region_destroy(region);
    }
    dw_account_give(account, DW_PART_TEXTS, bytes);
    return status;
}

/* ---- what the guest asks for ---------------------------------------------------------------- */

static dw_status read_settings(dw_instance *instance, const dw_nn_execution *execution,
                               dw_nn_settings *settings, dw_error *err)
{
    *settings = (dw_nn_settings){.object = NULL};
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    return dw_nn_settings_read(settings, execution->settings, err);
}

/* A line for who asked for a log. */
static void log_run(dw_instance *instance, const dw_nn_execution *execution, uint64_t ns)
{
    char line[160];
    double seconds = (double)ns / 1e9;
    uint32_t generated_count = execution->token_count - execution->prompt_count;
    int bytes = snprintf(line, sizeof line,
                         "driftwood: wasi-nn: %u tokens of prompt, %u generated in %.3f s\n",
                         execution->prompt_count, generated_count, seconds);
    (void)dw_instance_write(instance, STDERR_FILENO, line, (size_t)bytes, NULL);
}

int32_t dw__nn_compute(dw_instance *instance, dw_nn_execution *execution)
{
    dw_nn_settings settings;
    uint64_t start_ns = dw_os_clock_ns();
    dw_status status = read_settings(instance, execution, &settings, dw_instance_error(instance));
    int32_t answer = status;
    if (status == DW_OK) {
        dw_nn_execution_rewind(execution);
        dw_model_info info = {.struct_bytes = sizeof info};
        dw_model_get_info(execution->model, &info);
        bool embeds = settings.embedding || info.encoder;
        answer = embeds ? embed(instance, execution, &settings)
                        : generate(instance, execution, &settings);
        if (settings.logs && answer >= 0) {
            log_run(instance, execution, dw_os_clock_ns() - start_ns);
        }
    }
    dw_nn_settings_release(&settings);
    return answer;
}

int32_t dw__nn_compute_single(dw_instance *instance, dw_nn_execution *execution)
{
    dw_nn_settings settings;
    if (execution->ended) {
        return DW__NN_END;
    }
    dw_status status = read_settings(instance, execution, &settings, dw_instance_error(instance));
    int32_t answer = status == DW_OK ? single(instance, execution, &settings) : (int32_t)status;
    dw_nn_settings_release(&settings);
    return answer;
}
