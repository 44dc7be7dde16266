/* Trees of tokens behind a context: many continuations in one step, of which one path is kept.
 * A token sees the context and its own forefathers, and stands as far behind the context as it has
 * of those; or what the caller's mask says. (SpecInfer, Miao et al. 2023, arXiv:2305.09781, calls
 * this tree attention.)
 * While the step is under way the tree's records lie behind the context's; then they are taken out
 * of the log, which is as it was: whoever keeps a path has its records appended. */
#include "inference/context_tree.h"

#include <string.h>

#include "base/alloc.h"
#include "inference/context_internal.h"

void dw_context_drop_tree(dw_context *context)
{
    dw__tree *tree = context->tree;
    if (tree != NULL) {
        dw_free(tree->tokens);
        dw_free(tree->records);
        dw_free(tree);
        context->tree = NULL;
    }
}

uint32_t dw_context_tree_count(const dw_context *context)
{
    return context->tree != NULL && context->tree->computed ? context->tree->count : 0;
}

static dw_status make_tree(dw_context *context, uint32_t count, dw_error *err)
{
    dw__tree *tree = dw_alloc(1, sizeof *tree);
    context->tree = tree;
    if (tree != NULL) {
        *tree = (dw__tree){.past = dw_kv_log_length(context->log), .count = count};
        tree->tokens = dw_alloc((size_t)3 * count, sizeof *tree->tokens);
        tree->records = dw_alloc(count, dw_kv_log_record_bytes(context->log));
    }
    if (tree == NULL || tree->tokens == NULL || tree->records == NULL) {
        dw_context_drop_tree(context);
        return dw_fail(err, DW_E_MEMORY, "tree: no memory for %u tokens", count);
    }
    tree->parents = tree->tokens + count;
    tree->positions = tree->parents + count;
    return DW_OK;
}

static dw_status take_tokens(const dw_context *context, const dw_step *step, dw_error *err)
{
    const dw__tree *tree = context->tree;
    const uint32_t vocab_count = dw_model_shape_of(context->model)->vocab_count;
    for (uint32_t i = 0; i < tree->count; i++) {
        tree->tokens[i] = step->tokens[i];
        if (tree->tokens[i] < 0 || (uint32_t)tree->tokens[i] >= vocab_count) {
            return dw_fail(err, DW_E_RANGE, "tree: token %d at %u, the vocabulary has %u",
                           tree->tokens[i], i, vocab_count);
        }
    }
    return DW_OK;
}

static dw_status take_places(const dw_context *context, const dw_tree *given, dw_error *err)
{
    const dw__tree *tree = context->tree;
    const int32_t capacity = (int32_t)dw_kv_log_capacity(context->log);
    for (uint32_t i = 0; i < tree->count; i++) {
        const int32_t parent = given->parents != NULL ? given->parents[i] : (int32_t)i - 1;
        if (parent < -1 || parent >= (int32_t)i) {
            return dw_fail(err, DW_E_RANGE, "parents: %d at %u, allowed are -1 to %d", parent, i,
                           (int32_t)i - 1);
        }
        const int32_t depth = parent < 0 ? (int32_t)tree->past : tree->positions[parent] + 1;
        tree->parents[i] = parent;
        tree->positions[i] = given->positions != NULL ? given->positions[i] : depth;
        if (tree->positions[i] < 0 || tree->positions[i] >= capacity) {
            return dw_fail(err, DW_E_RANGE, "positions: %d at %u, the context has %d",
                           tree->positions[i], i, capacity);
        }
    }
    return DW_OK;
}

/* What each token of a guest's mask sees, as whole 0 and 1, and itself: attention over nothing is
 * none. */
static dw_status check_mask(const dw__tree *tree, dw_error *err)
{
    const size_t width = (size_t)tree->past + tree->count;
    for (uint32_t i = 0; tree->mask != NULL && i < tree->count; i++) {
        const uint8_t *row = tree->mask + i * width;
        for (size_t j = 0; j < width; j++) {
            const uint8_t most = j <= (size_t)tree->past + i ? 1 : 0;
            if (row[j] > most) {
                return dw_fail(err, DW_E_ARG, "mask: %u for record %zu of token %u, allowed is %s",
                               row[j], j, i, most > 0 ? "0 or 1" : "0: it comes later");
            }
        }
        if (row[(size_t)tree->past + i] != 1) {
            return dw_fail(err, DW_E_ARG, "mask: token %u does not see itself", i);
        }
    }
    return DW_OK;
}

dw_status dw_context_tree_begin(dw_context *context, dw_step *step, const dw_tree *given,
                                dw_error *err)
{
    const uint32_t held = dw_kv_log_length(context->log);
    const uint32_t room = dw_kv_log_capacity(context->log) - held;
    DW_ASSERT(step->choice == NULL && step->embeddings == NULL);
    dw_context_drop_tree(context);
    if (step->token_count == 0) {
        return dw_fail(err, DW_E_ARG, "tree: no tokens");
    }
    if (step->logits_rows > step->token_count) {
        return dw_fail(err, DW_E_RANGE, "tree: %u rows for %u tokens", step->logits_rows,
                       step->token_count);
    }
    if (step->token_count > DW_TREE_COUNT_MAX || step->token_count > room) {
        return dw_fail(err, DW_E_LIMIT,
                       "tree: %u tokens behind %u, the context takes %u, a tree has at most %d",
                       step->token_count, held, held + room, DW_TREE_COUNT_MAX);
    }
    dw_status status = make_tree(context, step->token_count, err);
    if (status == DW_OK) {
        context->tree->mask = given->mask;
        status = take_tokens(context, step, err);
    }
    if (status == DW_OK) {
        status = take_places(context, given, err);
    }
    if (status == DW_OK) {
        status = check_mask(context->tree, err);
    }
    if (status != DW_OK) {
        dw_context_drop_tree(context);
    }
    step->tree = context->tree;
    return status;
}

dw_status dw__context_tree_end(dw_context *context, const dw_step *step, uint64_t took_ns,
                               dw_error *err)
{
    dw__tree *tree = context->tree;
    DW_ASSERT(tree != NULL && step->tree == tree && !tree->computed);
    DW_ASSERT(dw_kv_log_length(context->log) == tree->past + tree->count);
    const size_t record_bytes = dw_kv_log_record_bytes(context->log);
    dw_status status = dw_kv_log_read(context->log, (uint64_t)tree->past * record_bytes,
                                      tree->count * record_bytes, tree->records, err);
    if (status != DW_OK) {
        return status;
    }
    dw_kv_log_trim(context->log, tree->past);
    tree->masked = tree->mask != NULL;
    tree->mask = NULL; /* it was the caller's */
    tree->computed = true;
    dw_count(&step->counters->prompt_tokens, tree->count);
    dw_count(&step->counters->prompt_ns, took_ns);
    return DW_OK;
}

static dw_status check_path(const dw__tree *tree, const int32_t *path, uint32_t count,
                            dw_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const int32_t before = i > 0 ? path[i - 1] : -1;
        if (path[i] <= before || path[i] >= (int32_t)tree->count) {
            return dw_fail(err, DW_E_RANGE, "path: %d at %u, behind %d, the tree has %u", path[i],
                           i, before, tree->count);
        }
        if (!tree->masked && tree->parents[path[i]] != before) {
            return dw_fail(err, DW_E_ARG, "path: %d at %u hangs on %d, not on %d", path[i], i,
                           tree->parents[path[i]], before);
        }
        if (tree->positions[path[i]] != (int32_t)(tree->past + i)) {
            return dw_fail(err, DW_E_ARG, "path: %d at %u was computed for position %d, not %u",
                           path[i], i, tree->positions[path[i]], tree->past + i);
        }
    }
    return DW_OK;
}

dw_status dw_context_keep(dw_context *context, const int32_t *path, uint32_t count, dw_error *err)
{
    const dw__tree *tree = context->tree;
    if (tree == NULL || !tree->computed) {
        return dw_fail(err, DW_E_STATE, "keep: no tree hangs on the context");
    }
    DW_ASSERT(tree->past == dw_kv_log_length(context->log));
    dw_status status = check_path(tree, path, count, err);
    if (status == DW_OK && count > 0) {
        status = dw__context_note_at(context, tree->past, tree->past + count, err);
    }
    if (status == DW_OK && count > 0) {
        status = dw__context_reserve(context, tree->past + count, err);
    }
    const size_t record_bytes = dw_kv_log_record_bytes(context->log);
    for (uint32_t i = 0; status == DW_OK && i < count; i++) {
        context->history.tokens[tree->past + i] = tree->tokens[path[i]];
        status =
            dw_kv_log_append(context->log, tree->records + (size_t)path[i] * record_bytes, 1, err);
    }
    if (status != DW_OK) {
        dw_kv_log_trim(context->log, tree->past);
        return status;
    }
    context->prefixes.impure = context->prefixes.impure || (count > 0 && tree->masked);
    dw_context_drop_tree(context);
    return DW_OK;
}
