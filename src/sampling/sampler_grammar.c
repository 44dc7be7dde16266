/* A sampler that chooses only what a grammar allows. */
#include <llama.h>
#include <math.h>
#include <string.h>

#include "base/array.h"
#include "sampling/sampler_internal.h"
#include "text/grammar.h"

static int32_t find_token(const void *user, const char *text, size_t bytes)
{
    return dw_vocab_find(user, text, bytes);
}

static dw_status make_grammar(dw_sampler *sampler, const dw_vocab *vocab, const char *text,
                              size_t bytes, dw_grammar **out, dw_error *err)
{
    const dw_token_texts *texts;
    const dw_grammar_tokens tokens = {sampler->vocab_count, find_token, vocab};
    if (dw_vocab_count(vocab) != sampler->vocab_count) {
        return dw_fail(err, DW_E_ARG, "grammar: a vocabulary of %u tokens, the sampler has %u",
                       dw_vocab_count(vocab), sampler->vocab_count);
    }
    if (sampler->candidates == NULL) {
        sampler->candidates = dw_alloc(sampler->vocab_count, sizeof *sampler->candidates);
    }
    if (sampler->allowed == NULL) {
        sampler->allowed = dw_alloc(sampler->vocab_count, sizeof *sampler->allowed);
    }
    if (sampler->candidates == NULL || sampler->allowed == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar over %u tokens",
                       sampler->vocab_count);
    }
    dw_status status = dw_vocab_token_texts(vocab, &texts, err);
    return status == DW_OK ? dw_grammar_create(out, texts, text, bytes, &tokens, err) : status;
}

dw_status dw_sampler_set_grammar(dw_sampler *sampler, const dw_vocab *vocab, const char *text,
                                 size_t bytes, dw_error *err)
{
    dw_grammar *grammar = NULL;
    if (bytes > 0) {
        dw_status status = make_grammar(sampler, vocab, text, bytes, &grammar, err);
        if (status != DW_OK) {
            return status;
        }
    }
    char *copy = dw_alloc(bytes + 1, 1);
    if (copy == NULL) {
        dw_grammar_destroy(grammar);
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar of %zu bytes", bytes);
    }
    if (bytes > 0) {
        memcpy(copy, text, bytes);
    }
    dw_grammar_destroy(sampler->grammar);
    dw_free(sampler->grammar_text);
    sampler->grammar = grammar;
    sampler->grammar_text = copy;
    sampler->grammar_bytes = bytes;
    sampler->grammar_count = 0;
    return DW_OK;
}

dw_status dw_sampler_mask(dw_sampler *sampler, float *logits, dw_error *err)
{
    if (sampler->grammar == NULL) {
        return DW_OK;
    }
    dw_status status = dw_grammar_mask(sampler->grammar, sampler->allowed, err);
    if (status != DW_OK) {
        return status;
    }
    for (uint32_t i = 0; i < sampler->vocab_count; i++) {
        logits[i] = sampler->allowed[i] ? logits[i] : -INFINITY;
    }
    return DW_OK;
}

/* The tokens are kept: a copy of the sampler brings its grammar to the same place with them. */
dw_status dw__sampler_accept_in_grammar(dw_sampler *sampler, int32_t token, dw_error *err)
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
