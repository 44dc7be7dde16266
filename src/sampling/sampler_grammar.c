/* A sampler that chooses only what a grammar allows, from the beginning or from a trigger on. */
#include <inttypes.h>
#include <llama.h>
#include <math.h>
#include <string.h>

#include "base/account.h"
#include "base/array.h"
#include "sampling/sampler_internal.h"
#include "grammar/grammar.h"

/* ---- setting ------------------------------------------------------------------------------ */

/* What a sampler is about to get. */
typedef struct guide {
    dw_grammar *grammar;
    const dw_token_texts *texts;
    dw_triggers *triggers;
    char *text;
    char *start;
} guide;

static int32_t find_token(const void *user, const char *text, size_t bytes)
{
    return dw_vocab_find(user, text, bytes);
}

static dw_status make_grammar(dw_sampler *sampler, const dw_vocab *vocab, const char *text,
                              size_t bytes, guide *g, dw_error *err)
{
    const dw_grammar_tokens tokens = {
        .count = sampler->vocab_count, .find = find_token, .user = vocab, .stop = sampler->stop};
    if (dw_vocab_count(vocab) != sampler->vocab_count) {
        return dw_fail(err, DW_E_ARG, "grammar: a vocabulary of %u tokens, the sampler has %u",
                       dw_vocab_count(vocab), sampler->vocab_count);
    }
    if (sampler->candidates == NULL) {
        sampler->candidates = dw_alloc(sampler->vocab_count, sizeof *sampler->candidates);
    }
    if (sampler->candidates == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar over %u tokens",
                       sampler->vocab_count);
    }
    dw_status status = dw_vocab_token_texts_for(vocab, sampler->stop, &g->texts, err);
    if (status == DW_OK) {
        status = dw_grammar_create(&g->grammar, g->texts, text, bytes, &tokens, err);
    }
    if (status != DW_OK || sampler->steps_max == 0) {
        return status;
    }
    dw_grammar_limit_steps(g->grammar, sampler->steps_max);
    uint64_t steps = dw_grammar_steps(g->grammar);
    return steps <= sampler->steps_max
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT,
                         "grammar: it takes %" PRIu64 " steps to begin, limit %" PRIu64
                         " (grammar_steps)",
                         steps, sampler->steps_max);
}

static void release_guide(guide *g)
{
    dw_grammar_destroy(g->grammar);
    dw_triggers_destroy(g->triggers);
    dw_free(g->text);
    dw_free(g->start);
}

static char *copy_of(const char *text, size_t bytes)
{
    char *copy = dw_alloc(bytes + 1, 1);
    if (copy != NULL && bytes > 0) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

static dw_status make_guide(dw_sampler *sampler, const dw_vocab *vocab, const dw_tool_grammar *of,
                            bool of_tools, guide *g, dw_error *err)
{
    dw_status status = DW_OK;
    if (of->triggers != NULL && of->prefix_bytes > 0) {
        return dw_fail(err, DW_E_ARG, "grammar: both triggers and a prefix of %zu bytes",
                       of->prefix_bytes);
    }
    g->text = copy_of(of->text, of->bytes);
    g->start = copy_of(of->prefix, of->prefix_bytes);
    if (g->text == NULL || g->start == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar of %zu bytes", of->bytes);
    }
    if (of->bytes > 0) {
        status = make_grammar(sampler, vocab, of->text, of->bytes, g, err);
    }
    if (status == DW_OK && of_tools && g->grammar != NULL) {
        dw_grammar_spell_control(g->grammar);
        status = dw_grammar_begin(g->grammar, of->prefix, of->prefix_bytes, err);
    }
    if (status == DW_OK && of->triggers != NULL && g->grammar != NULL) {
        status = dw_triggers_create(&g->triggers, of->triggers, err);
    }
    return status;
}

static dw_status set_grammar(dw_sampler *sampler, const dw_vocab *vocab, const dw_tool_grammar *of,
                             bool of_tools, dw_error *err)
{
    guide g = {.grammar = NULL};
    dw_status status = make_guide(sampler, vocab, of, of_tools, &g, err);
    if (status != DW_OK) {
        release_guide(&g);
        return status;
    }
    guide old = {.grammar = sampler->grammar,
                 .triggers = sampler->triggers,
                 .text = sampler->grammar_text,
                 .start = sampler->grammar_start};
    release_guide(&old);
    sampler->grammar = g.grammar;
    sampler->texts = g.texts;
    sampler->grammar_text = g.text;
    sampler->grammar_bytes = of->bytes;
    sampler->of_tools = of_tools;
    sampler->triggers = g.triggers;
    sampler->waiting = g.triggers != NULL;
    sampler->grammar_start = g.start;
    sampler->grammar_start_bytes = of->prefix_bytes;
    sampler->grammar_count = 0;
    return DW_OK;
}

dw_status dw_sampler_set_grammar(dw_sampler *sampler, const dw_vocab *vocab, const char *text,
                                 size_t bytes, dw_error *err)
{
    const dw_tool_grammar of = {.text = text, .bytes = bytes};
    return set_grammar(sampler, vocab, &of, false, err);
}

dw_status dw_sampler_set_tool_grammar(dw_sampler *sampler, const dw_vocab *vocab,
                                      const dw_tool_grammar *grammar, dw_error *err)
{
    return set_grammar(sampler, vocab, grammar, true, err);
}

void dw_sampler_limit_steps(dw_sampler *sampler, uint64_t steps_max)
{
    sampler->steps_max = steps_max;
    if (sampler->grammar != NULL) {
        dw_grammar_limit_steps(sampler->grammar, steps_max);
    }
}

uint64_t dw_sampler_grammar_steps(const dw_sampler *sampler)
{
    return sampler->grammar != NULL ? dw_grammar_accepted_steps(sampler->grammar) : 0;
}

void dw_sampler_set_stop(dw_sampler *sampler, dw_stop *stop)
{
    sampler->stop = stop;
    if (sampler->grammar != NULL) {
        dw_grammar_set_stop(sampler->grammar, stop);
    }
    if (sampler->triggers != NULL) {
        dw_triggers_set_stop(sampler->triggers, stop);
    }
}

bool dw_sampler_awaits_trigger(const dw_sampler *sampler)
{
    return sampler->waiting;
}

dw_status dw__sampler_begin_grammar(dw_sampler *sampler, const char *text, size_t bytes,
                                    dw_error *err)
{
    char *start = copy_of(text, bytes);
    dw_status status = start != NULL ? dw_grammar_begin(sampler->grammar, text, bytes, err)
                                     : dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes", bytes);
    if (status != DW_OK) {
        dw_free(start);
        return status;
    }
    dw_free(sampler->grammar_start);
    sampler->grammar_start = start;
    sampler->grammar_start_bytes = bytes;
    sampler->waiting = false;
    return DW_OK;
}

dw_status dw__sampler_fork_grammar(dw_sampler *sampler, const dw_sampler *parent,
                                   const dw_vocab *vocab, dw_error *err)
{
    if (parent->grammar == NULL) {
        return DW_OK;
    }
    const dw_tool_grammar of = {
        .text = parent->grammar_text,
        .bytes = parent->grammar_bytes,
        .triggers = parent->triggers != NULL ? dw_triggers_options(parent->triggers) : NULL,
    };
    dw_status status = set_grammar(sampler, vocab, &of, parent->of_tools, err);
    if (status == DW_OK && parent->waiting) {
        const dw_trigger_state state = dw_triggers_state(parent->triggers);
        return dw_triggers_restore(sampler->triggers, &state, err);
    }
    if (status == DW_OK) {
        status = dw__sampler_begin_grammar(sampler, parent->grammar_start,
                                           parent->grammar_start_bytes, err);
    }
    for (size_t i = 0; i < parent->grammar_count && status == DW_OK; i++) {
        status = dw__sampler_accept_in_grammar(sampler, parent->grammar_tokens[i], err);
    }
    return status;
}

/* ---- waiting for a trigger ---------------------------------------------------------------- */

static const char *text_of(const dw_sampler *sampler, int32_t token, size_t *bytes)
{
    const dw_token_texts *texts = sampler->texts;
    *bytes = texts->starts[token + 1] - texts->starts[token];
    return texts->bytes + texts->starts[token];
}

/* Whether the token may come: with a trigger in it only where the grammar can go on from there.
 * *steps grows by what it takes to find out. */
static dw_status allows_waiting(dw_sampler *sampler, int32_t token, bool *allowed, uint64_t *steps,
                                dw_error *err)
{
    size_t bytes;
    const char *text = text_of(sampler, token, &bytes);
    const char *found;
    *allowed = true;
    if (sampler->texts->is_end[token]) {
        return DW_OK;
    }
    dw_status status = dw_triggers_try(sampler->triggers, text, bytes, &found, &bytes, err);
    *steps += dw_triggers_steps(sampler->triggers);
    if (status != DW_OK || found == NULL) {
        return status;
    }
    status = dw_grammar_begin(sampler->grammar, found, bytes, err);
    *steps += dw_grammar_steps(sampler->grammar);
    *allowed = status == DW_OK;
    if (status == DW_OK || status == DW_E_ARG) {
        status = dw_grammar_begin(sampler->grammar, NULL, 0, err);
        *steps += dw_grammar_steps(sampler->grammar);
    }
    return status;
}

static dw_status accept_waiting(dw_sampler *sampler, int32_t token, dw_error *err)
{
    size_t bytes;
    const char *text = text_of(sampler, token, &bytes);
    const char *found = NULL;
    size_t found_bytes;
    dw_status status = DW_OK;
    if (!sampler->texts->is_end[token]) {
        status = dw_triggers_try(sampler->triggers, text, bytes, &found, &found_bytes, err);
    }
    if (status != DW_OK || found == NULL) {
        return status == DW_OK ? dw_triggers_read(sampler->triggers, text, bytes, err) : status;
    }
    return dw__sampler_begin_grammar(sampler, found, found_bytes, err);
}

/* ---- what is allowed ---------------------------------------------------------------------- */

/* What a grammar remembers on the way is its sampler's owner's, whoever asks. */
dw_status dw__sampler_allows(dw_sampler *sampler, int32_t token, bool *allowed, dw_error *err)
{
    dw_account_scope payer = dw_account_enter_of(sampler);
    uint64_t steps = 0;
    dw_status status = sampler->waiting ? allows_waiting(sampler, token, allowed, &steps, err)
                                        : dw_grammar_allows(sampler->grammar, token, allowed, err);
    dw_account_leave(payer);
    return status;
}

/* While it waits, a choice is seldom refused: each token is then looked at by itself. */
static dw_status find_waiting(dw_sampler *sampler, dw_error *err)
{
    dw_status status = DW_OK;
    uint32_t word_count = sampler->vocab_count / 64 + 1;
    if (sampler->unwaiting == NULL) {
        sampler->unwaiting = dw_alloc(word_count, sizeof *sampler->unwaiting);
    }
    if (sampler->unwaiting == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %u tokens", sampler->vocab_count);
    }
    memset(sampler->unwaiting, 0, word_count * sizeof *sampler->unwaiting);
    uint64_t steps = 0;
    uint64_t steps_max = sampler->steps_max != 0 ? sampler->steps_max : DW_TRIGGER_STEPS_MAX;
    for (uint32_t i = 0; i < sampler->vocab_count && status == DW_OK; i++) {
        bool allowed;
        status = allows_waiting(sampler, (int32_t)i, &allowed, &steps, err);
        if (status == DW_OK && steps > steps_max) {
            status = dw_fail(err, DW_E_LIMIT,
                             "triggers: trying the first %u of %u tokens took %" PRIu64
                             " steps, limit %" PRIu64 " (grammar_steps)",
                             i + 1, sampler->vocab_count, steps, steps_max);
        }
        sampler->unwaiting[i / 64] |= (uint64_t)allowed << i % 64;
    }
    sampler->allowed = sampler->unwaiting;
    return status;
}

dw_status dw__sampler_find_allowed(dw_sampler *sampler, dw_error *err)
{
    dw_account_scope payer = dw_account_enter_of(sampler);
    dw_status status = sampler->waiting ? find_waiting(sampler, err)
                                        : dw_grammar_mask(sampler->grammar, &sampler->allowed, err);
    dw_account_leave(payer);
    return status;
}

dw_status dw_sampler_mask(dw_sampler *sampler, float *logits, dw_error *err)
{
    if (sampler->grammar == NULL) {
        return DW_OK;
    }
    dw_status status = dw__sampler_find_allowed(sampler, err);
    if (status != DW_OK) {
        return status;
    }
    float none[64];
    for (uint32_t i = 0; i < 64; i++) {
        none[i] = -INFINITY;
    }
    for (uint32_t i = 0; i < sampler->vocab_count; i += 64) {
        uint32_t end = sampler->vocab_count - i > 64 ? i + 64 : sampler->vocab_count;
        uint64_t word = sampler->allowed[i / 64];
        if (word == 0) {
            memcpy(logits + i, none, (end - i) * sizeof *none);
        } else {
            uint64_t refused = end - i < 64 ? ~word & (((uint64_t)1 << (end - i)) - 1) : ~word;
            for (; refused != 0; refused &= refused - 1) {
                logits[i + (uint32_t)__builtin_ctzll(refused)] = -INFINITY;
            }
        }
    }
    return DW_OK;
}

/* The tokens are kept: a copy of the sampler brings its grammar to the same place with them. */
static dw_status accept_begun(dw_sampler *sampler, int32_t token, dw_error *err)
{
    size_t count = sampler->grammar_count + 1;
    if (!DW_ARRAY_RESERVE(sampler->grammar_tokens, sampler->grammar_capacity, count, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory to remember %zu tokens", count);
    }
    dw_status status = dw_grammar_accept(sampler->grammar, token, err);
    if (status != DW_OK) {
        return status;
    }
    sampler->grammar_tokens[sampler->grammar_count++] = token;
    return DW_OK;
}

dw_status dw__sampler_accept_in_grammar(dw_sampler *sampler, int32_t token, dw_error *err)
{
    dw_account_scope payer = dw_account_enter_of(sampler);
    dw_status status =
        sampler->waiting ? accept_waiting(sampler, token, err) : accept_begun(sampler, token, err);
    dw_account_leave(payer);
    return status;
}
