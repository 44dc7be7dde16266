#include "inference/generation.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "model/model.h"
#include "text/token_texts.h"

static_assert(DW_STOP_STRING_BYTES_MAX <= UINT8_MAX, "what a fallback can say");

/* ---- what it stops at ----------------------------------------------------------------------- */

/* Where a match goes on when the next byte is another: the longest of its ends that it begins with
 * (Knuth, Morris, Pratt: Fast pattern matching in strings, 1977). */
static void fill_fallback(dw__stop_match *stop)
{
    uint32_t matched = 0;
    stop->fallback[0] = 0;
    for (uint32_t i = 1; i < stop->count; i++) {
        while (matched > 0 && stop->bytes[i] != stop->bytes[matched]) {
            matched = stop->fallback[matched - 1];
        }
        matched += stop->bytes[i] == stop->bytes[matched];
        stop->fallback[i] = (uint8_t)matched;
    }
}

/* How many of the bytes [count] it takes until the string is in the text; 0: it is not. */
static size_t feed(dw__stop_match *stop, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        while (stop->matched > 0 && byte != stop->bytes[stop->matched]) {
            stop->matched = stop->fallback[stop->matched - 1];
        }
        stop->matched += byte == stop->bytes[stop->matched];
        if (stop->matched == stop->count) {
            return i + 1;
        }
    }
    return 0;
}

/* The stop string that the text has first with `token` behind it; -1: none. */
static int32_t find_stop_string(dw_generation *generation, int32_t token)
{
    const dw_token_texts *texts = generation->texts;
    bool shown = (generation->flags & DW_GENERATE_SPECIAL) != 0;
    int32_t found = -1;
    size_t first = SIZE_MAX;
    if (texts == NULL || (texts->is_control[token] && !shown)) {
        return -1;
    }
    size_t bytes = texts->starts[token + 1] - texts->starts[token];
    for (uint32_t i = 0; i < generation->stop_count; i++) {
        size_t end = feed(&generation->stops[i], texts->bytes + texts->starts[token], bytes);
        if (end > 0 && end < first) {
            first = end;
            found = (int32_t)i;
        }
    }
    return found;
}

static int32_t find_stop_token(const dw_generation *generation, int32_t token)
{
    for (uint32_t i = 0; i < generation->stop_token_count; i++) {
        if (generation->stop_tokens[i] == token) {
            return (int32_t)i;
        }
    }
    return -1;
}

/* What it has no room for goes. */
static bool has_window(const dw_context *context)
{
    uint32_t sink;
    uint32_t window;
    dw_context_window(context, &sink, &window);
    return window > 0;
}

/* Why it is over behind the token chosen last. */
static int32_t reason_to_end(dw_generation *generation, int32_t *stop_index)
{
    const dw_context *context = generation->context;
    const dw_vocab *vocab = dw_model_vocab(dw_context_model(context));
    int32_t token = generation->token;
    int32_t string = find_stop_string(generation, token); /* whatever else it is */
    *stop_index = -1;
    if ((generation->flags & DW_GENERATE_PAST_END) == 0 && dw_vocab_is_end(vocab, token)) {
        return DW_GENERATE_END_TOKEN;
    }
    *stop_index = find_stop_token(generation, token);
    if (*stop_index >= 0) {
        return DW_GENERATE_STOP_TOKEN;
    }
    *stop_index = string;
    if (string >= 0) {
        return DW_GENERATE_STOP_STRING;
    }
    if (generation->token_count == generation->tokens_max) {
        return DW_GENERATE_MAXIMUM;
    }
    return dw_context_length(context) >= dw_context_capacity(context) && !has_window(context)
               ? DW_GENERATE_FULL
               : DW_GENERATE_GOES_ON;
}

/* ---- its life ------------------------------------------------------------------------------- */

static dw_status check(const dw_generation_options *options, dw_error *err)
{
    const uint32_t known = DW_GENERATE_PAST_END | DW_GENERATE_SPECIAL;
    if ((options->flags & ~known) != 0) {
        return dw_fail(err, DW_E_ARG, "flags: 0x%x, only 0x%x are known", options->flags, known);
    }
    if (options->prompt_count == 0) {
        return dw_fail(err, DW_E_ARG, "prompt_count: 0 tokens");
    }
    if (options->tokens_max == 0) {
        return dw_fail(err, DW_E_ARG, "tokens_max: 0 tokens");
    }
    if (options->stop_token_count > DW_STOP_TOKENS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "stop_tokens: %u, limit %u", options->stop_token_count,
                       DW_STOP_TOKENS_MAX);
    }
    if (options->stop_count > DW_STOP_STRINGS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "stop_strings: %u, limit %u", options->stop_count,
                       DW_STOP_STRINGS_MAX);
    }
    for (uint32_t i = 0; i < options->stop_count; i++) {
        size_t bytes = options->stops[i].count;
        if (bytes == 0 || bytes > DW_STOP_STRING_BYTES_MAX) {
            return dw_fail(err, bytes == 0 ? DW_E_ARG : DW_E_LIMIT,
                           "stop_strings[%u]: %zu bytes, from 1 to %u are allowed", i, bytes,
                           DW_STOP_STRING_BYTES_MAX);
        }
    }
    return DW_OK;
}

/* Each is looked at where it is copied: it lies in guest memory. */
static dw_status copy_tokens(int32_t **out, const char *what, const int32_t *tokens, uint32_t count,
                             uint32_t vocab_count, dw_error *err)
{
    int32_t *copy = dw_alloc(count, sizeof *copy);
    *out = copy;
    if (copy == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %u tokens", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = tokens[i];
        if (copy[i] < 0 || (uint32_t)copy[i] >= vocab_count) {
            return dw_fail(err, DW_E_RANGE, "%s[%u]: token %d, the vocabulary has %u", what, i,
                           copy[i], vocab_count);
        }
    }
    return DW_OK;
}

static dw_status copy_stops(dw_generation *generation, const dw_generation_options *options,
                            const dw_vocab *vocab, dw_error *err)
{
    generation->stops = dw_alloc(options->stop_count, sizeof *generation->stops);
    if (generation->stops == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %u stop strings", options->stop_count);
    }
    generation->stop_count = options->stop_count;
    for (uint32_t i = 0; i < options->stop_count; i++) {
        dw__stop_match *stop = &generation->stops[i];
        stop->count = (uint32_t)options->stops[i].count;
        stop->bytes = dw_alloc(2, stop->count);
        if (stop->bytes == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a stop string");
        }
        memcpy(stop->bytes, options->stops[i].bytes, stop->count);
        stop->fallback = stop->bytes + stop->count;
        fill_fallback(stop);
    }
    return dw_vocab_token_texts(vocab, &generation->texts, err);
}

static dw_status copy_all(dw_generation *generation, const dw_generation_options *options,
                          dw_error *err)
{
    const dw_vocab *vocab = dw_model_vocab(dw_context_model(generation->context));
    uint32_t vocab_count = dw_sampler_vocab_count(generation->sampler);
    dw_status status = copy_tokens(&generation->prompt, "prompt", options->prompt,
                                   options->prompt_count, vocab_count, err);
    if (status == DW_OK && options->stop_token_count > 0) {
        generation->stop_token_count = options->stop_token_count;
        status = copy_tokens(&generation->stop_tokens, "stop_tokens", options->stop_tokens,
                             options->stop_token_count, vocab_count, err);
    }
    if (status == DW_OK && options->stop_count > 0) {
        status = copy_stops(generation, options, vocab, err);
    }
    return status;
}

/* What is known of the step behind one of `count` tokens. */
static dw_batch_follows what_follows(const dw_generation *generation, uint32_t count)
{
    const dw_context *context = generation->context;
    if (!dw_sampler_takes_likeliest(generation->sampler) || has_window(context)) {
        return DW_BATCH_FOLLOWS_ANYTHING;
    }
    return generation->token_count + 1 >= generation->tokens_max ||
                   count >= dw_context_capacity(context) - dw_context_length(context)
               ? DW_BATCH_FOLLOWS_NOTHING
               : DW_BATCH_FOLLOWS_LIKELIEST;
}

static void set_step(dw_generation *generation, int32_t *tokens, uint32_t count)
{
    dw_step *step = &generation->item.step;
    generation->item.follows = what_follows(generation, count);
    generation->choice = (dw_choice){.sampler = generation->sampler, .status = DW_OK};
    step->tokens = tokens;
    step->token_count = count;
    step->choice = &generation->choice;
}

/* Who reads of a token, or of the end, finds written what it speaks of. */
static void publish_tokens(dw_generation *generation)
{
    uint32_t count = atomic_load(&generation->token_count);
    __atomic_store_n(generation->place.token_count, count, __ATOMIC_RELEASE);
    atomic_store(&generation->shown_count, count);
}

uint32_t dw_generation_tell(dw_generation *generation)
{
    bool goes_on = generation->end == DW_GENERATE_GOES_ON;
    uint32_t count = goes_on ? generation->shown_count : generation->token_count;
    generation->told = count;
    return count;
}

void dw_generation_tell_end(dw_generation *generation)
{
    const dw_generation_place *place = &generation->place;
    publish_tokens(generation);
    __atomic_store_n(place->stop_index, generation->stop_index, __ATOMIC_RELAXED);
    __atomic_store_n(place->end, generation->end, __ATOMIC_RELEASE);
}

dw_status dw_generation_create(dw_generation **out, dw_context *context, dw_sampler *sampler,
                               const dw_generation_options *options, dw_error *err)
{
    *out = NULL;
    dw_status status = check(options, err);
    if (status != DW_OK) {
        return status;
    }
    dw_generation *generation = dw_alloc(1, sizeof *generation);
    if (generation == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a generation");
    }
    generation->context = context;
    generation->sampler = sampler;
    generation->tokens_max = options->tokens_max;
    generation->wake_tokens = options->wake_tokens;
    generation->flags = options->flags;
    generation->place = options->place;
    generation->account = options->account;
    status = copy_all(generation, options, err);
    if (status != DW_OK) {
        dw_generation_destroy(generation);
        return status;
    }
    generation->item.context = context;
    generation->item.user = generation;
    generation->item.step = options->step;
    set_step(generation, generation->prompt, options->prompt_count);
    generation->stop_index = -1;
    dw_generation_tell_end(generation);
    *out = generation;
    return DW_OK;
}

void dw_generation_destroy(dw_generation *generation)
{
    if (generation == NULL) {
        return;
    }
    for (uint32_t i = 0; i < generation->stop_count; i++) {
        dw_free(generation->stops[i].bytes);
    }
    dw_shift_destroy(generation->shift);
    dw_free(generation->stops);
    dw_free(generation->stop_tokens);
    dw_free(generation->prompt);
    dw_free(generation);
}

/* ---- token by token ------------------------------------------------------------------------- */

static bool end_as(dw_generation *generation, int32_t end, int32_t stop_index)
{
    DW_ASSERT(generation->end_to_be == DW_GENERATE_GOES_ON && end != DW_GENERATE_GOES_ON);
    generation->end_to_be = end;
    generation->stop_index = stop_index;
    return false;
}

void dw_generation_end(dw_generation *generation)
{
    DW_ASSERT(generation->end == DW_GENERATE_GOES_ON);
    DW_ASSERT(generation->end_to_be != DW_GENERATE_GOES_ON);
    generation->end = generation->end_to_be;
}

/* The step, its choice, and its place in the sampler's memory: all of it or nothing. */
static dw_status conclude(dw_generation *generation, dw_error *err)
{
    const dw_batch_item *item = &generation->item;
    dw_status status = item->status;
    if (status != DW_OK) {
        *err = item->error;
        return status;
    }
    status = generation->choice.status;
    if (status != DW_OK) {
        *err = generation->choice.error;
    } else {
        status = dw_sampler_remember(generation->sampler, generation->choice.token, err);
    }
    if (status != DW_OK) {
        (void)dw_context_trim(generation->context, item->before, NULL);
    }
    return status;
}

/* For one token more. */
static dw_status begin_slide(dw_generation *generation, dw_error *err)
{
    uint32_t drop = 0;
    uint32_t sink;
    uint32_t window;
    dw_status status = dw_context_slide(generation->context, 1, &drop, err);
    dw_context_window(generation->context, &sink, &window);
    return status == DW_OK && drop > 0
               ? dw_shift_begin(&generation->shift, generation->context, sink, drop, err)
               : status;
}

static bool end_failed(dw_generation *generation, dw_status status)
{
    status = dw_account_explain(generation->account, status, &generation->error);
    return end_as(generation, status, -1);
}

bool dw_generation_slide(dw_generation *generation)
{
    bool through = false;
    const uint64_t from_ns = dw_os_clock_ns();
    dw_status status =
        dw_shift_go_on(generation->shift, generation->item.step.stop, &through, &generation->error);
    dw_count(&generation->item.step.counters->device_ns, dw_os_clock_ns() - from_ns);
    if (status == DW_OK && !through) {
        return true;
    }
    dw_shift_destroy(generation->shift);
    generation->shift = NULL;
    return status == DW_OK || end_failed(generation, status);
}

bool dw_generation_take(dw_generation *generation)
{
    dw_batch_item *item = &generation->item;
    int32_t stop_index = -1;
    bool leaves = atomic_load(&item->leaves);
    dw_status status = conclude(generation, &generation->error);
    if (status == DW_E_CANCELLED && leaves) {
        return end_as(generation, DW_GENERATE_LEFT, -1);
    }
    if (status != DW_OK) {
        return end_failed(generation, status);
    }
    uint32_t count = generation->token_count;
    generation->token = generation->choice.token;
    dw_count(&item->step.counters->sampled_tokens, 1);
    __atomic_store_n(&generation->place.tokens[count], generation->token, __ATOMIC_RELAXED);
    atomic_store(&generation->token_count, count + 1);
    int32_t end = reason_to_end(generation, &stop_index);
    if (end != DW_GENERATE_END_TOKEN) { /* which is counted when the end is told: it is no text */
        publish_tokens(generation);
    }
    if (end != DW_GENERATE_GOES_ON || leaves) {
        return end_as(generation, end != DW_GENERATE_GOES_ON ? end : DW_GENERATE_LEFT, stop_index);
    }
    set_step(generation, &generation->token, 1);
    status = begin_slide(generation, &generation->error);
    return status == DW_OK || end_failed(generation, status);
}

void dw_generation_run(dw_generation *generation)
{
    dw_batch_item *item = &generation->item;
    while (!dw_generation_wakes(generation)) {
        if (dw_generation_slides(generation)) {
            if (!dw_generation_slide(generation)) {
                dw_generation_end(generation);
            }
            continue;
        }
        item->before = dw_context_length(generation->context);
        item->status = dw_context_forward(generation->context, &item->step, &item->error);
        if (!dw_generation_take(generation)) {
            dw_generation_end(generation);
        }
    }
}

bool dw_generation_has_come(const dw_generation *generation)
{
    uint32_t fresh = generation->shown_count - generation->told;
    uint32_t wanted = generation->wake_tokens;
    return wanted > 0 && fresh >= wanted;
}

bool dw_generation_wakes(const dw_generation *generation)
{
    return generation->end != DW_GENERATE_GOES_ON || dw_generation_has_come(generation);
}

void dw_generation_leave(dw_generation *generation)
{
    if (generation->end == DW_GENERATE_GOES_ON) {
        (void)end_as(generation, DW_GENERATE_LEFT, -1);
        dw_generation_end(generation);
    }
}
