/* What nearly every guest in C begins with: results that are checked, memory that tensors, tokens
 * and logits may lie in, a prompt as a chat's turn, text in whole characters, settings from the
 * environment. Over wasi-libc; everything is static, and a failure ends the guest with the host's
 * words on standard error.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIFTWOOD_HELPERS_H
#define DRIFTWOOD_HELPERS_H

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"

#define DW_HELPER __attribute__((unused)) static

/* "what: the host's words", and the end. */
DW_HELPER _Noreturn void dw_die(const char *what)
{
    char words[256] = "";
    (void)dw_last_error(words, sizeof words);
    fprintf(stderr, "%s%s%s\n", what, words[0] != '\0' ? ": " : "", words);
    exit(1);
}

/* A host function's result, which is not negative. */
DW_HELPER int32_t dw_must(int32_t result, const char *what)
{
    if (result < 0) {
        dw_die(what);
    }
    return result;
}

/* Zeroed memory for tokens, logits and tensors: free() takes it. */
DW_HELPER void *dw_aligned(size_t count, size_t bytes)
{
    size_t size = (count * bytes + DW_TENSOR_ALIGN - 1) / DW_TENSOR_ALIGN * DW_TENSOR_ALIGN;
    void *memory = aligned_alloc(DW_TENSOR_ALIGN, size > 0 ? size : DW_TENSOR_ALIGN);
    if (memory == NULL) {
        fprintf(stderr, "out of memory: %zu bytes\n", size);
        exit(1);
    }
    return memset(memory, 0, size);
}

/* A whole number of the environment, at most `max`; `fallback` where it is not set. */
DW_HELPER uint64_t dw_setting_max(const char *name, uint64_t fallback, uint64_t max)
{
    const char *text = getenv(name);
    if (text == NULL || text[0] == '\0') {
        return fallback;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == '-' || errno != 0 || value > max) {
        fprintf(stderr, "%s: '%s' is not a number from 0 to %llu\n", name, text,
                (unsigned long long)max);
        exit(1);
    }
    return value;
}

DW_HELPER uint32_t dw_setting(const char *name, uint32_t fallback)
{
    return (uint32_t)dw_setting_max(name, fallback, UINT32_MAX);
}

/* The first granted model, and what it is. */
DW_HELPER int32_t dw_first_model(dw_abi_model_info *info)
{
    int32_t model = dw_must(dw_model_open(NULL, 0), "model");
    dw_must(dw_model_info(model, info), "model");
    return model;
}

/* Tokens [*count] of text [bytes], in memory of their own. */
DW_HELPER int32_t *dw_tokens_in(int32_t model, const char *text, size_t bytes, uint32_t flags,
                                uint32_t *count)
{
    uint32_t capacity = (uint32_t)bytes + 16;
    for (;;) {
        int32_t *tokens = dw_aligned(capacity, sizeof *tokens);
        int32_t result = dw_tokenize(model, text, (uint32_t)bytes, tokens, capacity, flags);
        if (result != DW_E_SPACE) {
            *count = (uint32_t)dw_must(result, "tokenize");
            return tokens;
        }
        capacity = (uint32_t)tokens[0];
        free(tokens);
    }
}

DW_HELPER int32_t *dw_tokens_of(int32_t model, const char *text, uint32_t flags, uint32_t *count)
{
    return dw_tokens_in(model, text, strlen(text), flags, count);
}

/* Tokens [*count] of a chat's first turn: the user's message, behind a system message or NULL, and
 * the opening of the answer; of the message alone where the model has no template. */
DW_HELPER int32_t *dw_turn_of(int32_t model, const char *system, const char *user, uint32_t *count)
{
    dw_message messages[] = {{"system", system}, {"user", user}};
    const dw_message *first = system != NULL ? messages : messages + 1;
    uint32_t capacity = (uint32_t)(strlen(user) + (system != NULL ? strlen(system) : 0)) + 4096;
    char *text = dw_aligned(capacity, 1);
    dw_abi_model_info info;
    dw_must(dw_model_info(model, &info), "model");
    if (!info.has_chat_template) {
        free(text);
        return dw_tokens_of(model, user, DW_TOKENIZE_SPECIAL, count);
    }
    int32_t bytes =
        dw_must(dw_chat_template(model, first, system != NULL ? 2 : 1, 1, text, capacity - 1),
                "chat template");
    text[bytes] = '\0';
    int32_t *tokens = dw_tokens_of(model, text, DW_TOKENIZE_SPECIAL | DW_TOKENIZE_PARSE, count);
    free(text);
    return tokens;
}

/* The text of tokens [count], with a NUL, in memory of its own. */
DW_HELPER char *dw_text_of(int32_t model, const int32_t *tokens, uint32_t count)
{
    for (uint32_t capacity = count * 16 + 64;; capacity *= 2) {
        char *text = dw_aligned(capacity, 1);
        int32_t bytes = count > 0 ? dw_detokenize(model, tokens, count, text, capacity - 1, 0) : 0;
        if (bytes != DW_E_SPACE) {
            text[dw_must(bytes, "detokenize")] = '\0';
            return text;
        }
        free(text);
    }
}

/* How many bytes at the end of text [count] are the start of a longer UTF-8 character. */
DW_HELPER size_t dw_text_unfinished(const char *text, size_t count)
{
    for (size_t back = 1; back <= 3 && back <= count; back++) {
        unsigned char byte = (unsigned char)text[count - back];
        if ((byte & 0xc0) != 0x80) {
            size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
            return length > back ? back : 0;
        }
    }
    return 0;
}

/* Text that comes token by token, printed in whole characters: zero it first. */
typedef struct dw_text_stream {
    char held[512];
    size_t count; /* bytes of a character that goes on */
} dw_text_stream;

DW_HELPER void dw_text_put(dw_text_stream *stream, int32_t model, int32_t token)
{
    int32_t bytes = dw_must(dw_detokenize(model, &token, 1, stream->held + stream->count,
                                          (uint32_t)(sizeof stream->held - stream->count), 0),
                            "detokenize");
    size_t count = stream->count + (size_t)bytes;
    stream->count = dw_text_unfinished(stream->held, count);
    fwrite(stream->held, 1, count - stream->count, stdout);
    fflush(stdout);
    memmove(stream->held, stream->held + count - stream->count, stream->count);
}

/* A token drawn once more from the row that the context keeps of its last token (dw_context_rows):
 * who forks at a decision point draws in each branch, and computes nothing. `row` is of
 * vocab_count floats. */
DW_HELPER int32_t dw_sample_again(int32_t context, int32_t sampler, float *row)
{
    dw_must(dw_context_logits(context, row), "context_logits");
    return dw_must(dw_sample(sampler, row), "sample");
}

/* Another context that holds what `context` does. */
DW_HELPER int32_t dw_fork_of(int32_t context)
{
    return dw_must(dw_context_fork(context), "context_fork");
}

/* All steps [count] went through: in one run of the device, or with ONE_BY_ONE=1 in the environment
 * in one each, to see what that costs. */
DW_HELPER void dw_forward_all(dw_forward_step *steps, uint32_t count)
{
    const uint32_t most = dw_setting("ONE_BY_ONE", 0) != 0 ? 1 : count;
    for (uint32_t at = 0; at < count; at += most) {
        if (dw_must(dw_forward_many(steps + at, most), "forward_many") != (int32_t)most) {
            dw_die("forward_many");
        }
    }
}

/* A tree of drafts behind a context: add tokens, compute it, go down by what was found. */
typedef struct dw_draft_tree {
    int32_t *tokens;  /* [count], of at most `room` */
    int32_t *parents; /* [count]: -1: the context's end */
    uint32_t count;
    uint32_t room;
} dw_draft_tree;

DW_HELPER dw_draft_tree dw_draft_tree_of(uint32_t room)
{
    return (dw_draft_tree){.tokens = dw_aligned(room, sizeof(int32_t)),
                           .parents = dw_aligned(room, sizeof(int32_t)),
                           .room = room};
}

/* `token` behind node `parent`, or behind the context with -1. Returns the node. */
DW_HELPER int32_t dw_draft_add(dw_draft_tree *tree, int32_t parent, int32_t token)
{
    if (tree->count == tree->room) {
        fprintf(stderr, "a tree of more than %u tokens\n", tree->room);
        exit(1);
    }
    tree->tokens[tree->count] = token;
    tree->parents[tree->count] = parent;
    return (int32_t)tree->count++;
}

/* The node behind `parent` with `token`; -1: none has it. */
DW_HELPER int32_t dw_draft_find(const dw_draft_tree *tree, int32_t parent, int32_t token)
{
    for (uint32_t i = 0; i < tree->count; i++) {
        if (tree->parents[i] == parent && tree->tokens[i] == token) {
            return (int32_t)i;
        }
    }
    return -1;
}

/* Logits [count][vocab_count] of all its nodes, the context staying as it is. */
DW_HELPER void dw_draft_forward(const dw_draft_tree *tree, int32_t context, float *rows)
{
    dw_forward_tree_step step = {.context = context,
                                 .tokens = tree->tokens,
                                 .token_count = tree->count,
                                 .parents = tree->parents,
                                 .rows = rows,
                                 .row_count = tree->count};
    dw_must(dw_forward_tree(&step), "forward_tree");
}

/* A context of `room` more tokens than tokens [count], which holds all of them but the last: that
 * one is the first step's of whoever goes on. */
DW_HELPER int32_t dw_context_of(int32_t model, const int32_t *tokens, uint32_t count, uint32_t room)
{
    int32_t context = dw_must(dw_context_create(model, count + room), "context_create");
    if (count > 1) {
        dw_must(dw_forward(context, tokens, count - 1, NULL), "prompt");
    }
    return context;
}

/* A text that grows token by token in a context of its own. */
typedef struct dw_branch {
    int32_t context;
    int32_t sampler;
    int32_t last;    /* chosen, or of the prompt, and not in the context yet */
    int32_t *tokens; /* [count], of at most `room`: chosen so far */
    uint32_t count;
    uint32_t room;
    double log_probability; /* of them all */
    int32_t ended;          /* at a token that ends texts, which is not counted */
} dw_branch;

/* Takes context and sampler. */
DW_HELPER dw_branch dw_branch_of(int32_t context, int32_t sampler, int32_t last, uint32_t room)
{
    return (dw_branch){.context = context,
                       .sampler = sampler,
                       .last = last,
                       .tokens = dw_aligned(room, sizeof(int32_t)),
                       .room = room};
}

DW_HELPER void dw_branch_close(dw_branch *branch)
{
    dw_must(dw_context_close(branch->context), "context_close");
    dw_must(dw_sampler_close(branch->sampler), "sampler_close");
    free(branch->tokens);
}

/* One token more for each of the branches [count] that has room and has not ended, all in one run
 * of the device. Returns how many there were. */
DW_HELPER uint32_t dw_branches_step(int32_t model, dw_branch *branches, uint32_t count)
{
    static dw_forward_step steps[DW_FORWARD_STEPS_MAX];
    dw_branch *of[DW_FORWARD_STEPS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        dw_branch *one = &branches[i];
        if (one->ended == 0 && one->count < one->room && n < DW_FORWARD_STEPS_MAX) {
            of[n] = one;
            steps[n++] = (dw_forward_step){.context = one->context,
                                           .flags = DW_FORWARD_LOG_PROBABILITY,
                                           .tokens = &one->last,
                                           .token_count = 1,
                                           .sampler = one->sampler};
        }
    }
    if (n > 0) {
        dw_forward_all(steps, n);
    }
    for (uint32_t i = 0; i < n; i++) {
        of[i]->ended = dw_must(dw_token_is_end(model, steps[i].token), "token");
        of[i]->last = steps[i].token;
        if (of[i]->ended == 0) {
            of[i]->tokens[of[i]->count++] = steps[i].token;
            of[i]->log_probability += (double)steps[i].log_probability;
        }
    }
    return n;
}

/* All of them to their ends. Returns how many tokens were computed. */
DW_HELPER uint32_t dw_branches_grow(int32_t model, dw_branch *branches, uint32_t count)
{
    uint32_t all = 0;
    for (uint32_t n = 1; n > 0; all += n) {
        n = dw_branches_step(model, branches, count);
    }
    return all;
}

/* A sampler of `temperature` (0: greedy) and `seed`, the other settings off. */
DW_HELPER int32_t dw_sampler_of(int32_t model, double temperature, uint64_t seed)
{
    dw_sampler_params params = {
        .temperature = (float)temperature, .seed = seed, .struct_bytes = sizeof params};
    return dw_must(dw_sampler_create(model, &params), "sampler_create");
}

/* The logarithm of what token's logit makes of the row [vocab_count]. */
DW_HELPER double dw_log_probability(const float *row, uint32_t vocab_count, int32_t token)
{
    double total = 0.0;
    float largest = row[0];
    for (uint32_t i = 1; i < vocab_count; i++) {
        largest = row[i] > largest ? row[i] : largest;
    }
    for (uint32_t i = 0; i < vocab_count; i++) {
        total += exp((double)(row[i] - largest));
    }
    return (double)(row[token] - largest) - log(total);
}

/* DRIFTWOOD_PROMPT (--prompt), or what the program has in its place. */
DW_HELPER const char *dw_prompt(const char *fallback)
{
    const char *prompt = getenv("DRIFTWOOD_PROMPT");
    return prompt != NULL && prompt[0] != '\0' ? prompt : fallback;
}

DW_HELPER double dw_seconds(void)
{
    return (double)dw_clock_ns() * 1e-9;
}

#endif
