/* A context: a token history and its KV log, and the forward step that extends both.
 * Thread: one at a time a context; steps on one model wait for each other. */
#ifndef DW_INFERENCE_CONTEXT_H
#define DW_INFERENCE_CONTEXT_H

#include "base/counters.h"
#include "base/stop.h"
#include "base/status.h"
#include "device/device_view.h"
#include "kv/kv_log.h"
#include "model/forward_graph.h"
#include "model/model.h"
#include "sampling/sampler.h"

typedef struct dw_context dw_context;

typedef struct dw_context_options {
    uint32_t tokens_max; /* 0: the model's own length */
    dw_kv_type kv_type;
    bool adapters_given;      /* those below; else the model's usual ones */
    dw_adapter_set *adapters; /* counted by the context; NULL: none */
} dw_context_options;

/* An empty context of `model` (counted while it lives). `options` NULL: all zero.
 * Reserves address space; memory is committed as the context grows.
 * Errors: DW_E_RANGE (tokens_max beyond the model's length), DW_E_UNSUPPORTED (kv_type does not
 * suit the model's heads; an encoder, which has no log), DW_E_MEMORY. */
dw_status dw_context_create(dw_context **out, dw_model *model, const dw_context_options *options,
                            dw_error *err);
/* A context that holds what `parent` holds, without computing or copying it (src/kv/kv_log.h says
 * what that costs). Neither sees what the other does from now on. Counts the model.
 * Errors: DW_E_MEMORY, DW_E_DEVICE; the parent is as it was in any case. */
dw_status dw_context_fork(dw_context **out, dw_context *parent, dw_error *err);

/* What a context was frozen as. */
typedef struct dw_context_thaw_options {
    uint32_t tokens_max;       /* 0: the model's own length */
    dw_kv_type kv_type;        /* wanted */
    dw_kv_type stored_kv_type; /* of the segments' records */
    dw_adapter_set *adapters;  /* that it was computed with; NULL: none */
    const int32_t *tokens;     /* [frozen.length], copied */
    dw_kv_frozen frozen;       /* its `like` is not looked at */
    dw_context *like;          /* one of the same model and stored type, or NULL: frozen.like's */
    /* Under which the same log may have been kept (dw_context_keep_log), for frozen.length tokens,
     * to be taken in the place of the segments; its model is not looked at. NULL: it was not. */
    const struct dw_kv_key *kept;
} dw_context_thaw_options;

/* A context as it was frozen. Where the stored type is the wanted one, records are mapped; else
 * `*converted` (may be NULL) becomes true: all are read, and each head's row is converted by way of
 * float. Errors: dw_context_create's, dw_kv_log_thaw's, DW_E_RANGE (a token outside the
 * vocabulary). */
dw_status dw_context_thaw(dw_context **out, dw_model *model, const dw_context_thaw_options *options,
                          bool *converted, dw_error *err);
/* Of one that is only to be destroyed from now on: let its log stay in device memory under the key,
 * but for `model`, which is its own, where it can (kv/kv_kept.h). */
void dw_context_keep_log(dw_context *context, const struct dw_kv_key *key);
void dw_context_destroy(dw_context *context);

dw_model *dw_context_model(const dw_context *context);
uint32_t dw_context_length(const dw_context *context);
uint32_t dw_context_capacity(const dw_context *context);
/* The context's own, while it lives: to be read and marked as saved, not to be changed. */
dw_kv_log *dw_context_log(dw_context *context);
dw_kv_type dw_context_kv_type(const dw_context *context);
/* [length], until the next step or trim. */
const int32_t *dw_context_tokens(const dw_context *context);
/* What is added to the model's weights in its steps: NULL: nothing. A fork has the same. Until the
 * next dw_context_set_adapters. */
const dw_adapter_set *dw_context_adapters(const dw_context *context);
/* From now on those, [count], of the model's; 0: none. Errors: DW_E_STATE (it holds tokens, whose
 * keys and values are of the adapters before), dw_adapter_set_get's, DW_E_MEMORY: as it was. */
dw_status dw_context_set_adapters(dw_context *context, const dw_adapter_choice *choices,
                                  uint32_t count, dw_error *err);
/* Forget tokens from `length` on. Errors: DW_E_RANGE (longer than it is). */
dw_status dw_context_trim(dw_context *context, uint32_t length, dw_error *err);
/* Forget tokens [keep, keep + drop) and move those behind forward: their keys are rotated to the
 * new positions, their values stay as they were computed. Errors: DW_E_RANGE (more than it holds),
 * DW_E_UNSUPPORTED, DW_E_MEMORY, DW_E_CANCELLED (`stop`, which may be NULL): the context is as it
 * was. DW_E_DEVICE, and DW_E_CANCELLED where the guest has to end, which a shift that has begun is
 * left for, and for nothing less: it holds `keep` tokens. */
dw_status dw_context_shift(dw_context *context, uint32_t keep, uint32_t drop, dw_stop *stop,
                           dw_error *err);
/* The same in parts, of some milliseconds on a CPU, for who has others to look after; the context
 * is not used meanwhile. *out is NULL where there is nothing to do. Errors of the first: those that
 * leave the context as it was. Of the second, which is not called again after one: the others;
 * `*through`: that was the last. */
typedef struct dw_shift dw_shift;
dw_status dw_shift_begin(dw_shift **out, dw_context *context, uint32_t keep, uint32_t drop,
                         dw_error *err);
dw_status dw_shift_go_on(dw_shift *shift, dw_stop *stop, bool *through, dw_error *err);
/* NULL is fine. Before the first part the context is as it was; after one, and before the last, it
 * holds `keep` tokens. */
void dw_shift_destroy(dw_shift *shift);

/* From now on the context is to hold its first `sink` tokens and at most `window` more, the last
 * ones: whoever runs a step asks dw_context_slide before it what is to go. A fork has the same.
 * 0, 0: all that there is room for. Errors: DW_E_ARG (a sink alone), DW_E_RANGE (more than the
 * context takes). */
dw_status dw_context_set_window(dw_context *context, uint32_t sink, uint32_t window, dw_error *err);
void dw_context_window(const dw_context *context, uint32_t *sink, uint32_t *window);
/* How many tokens behind the sink dw_context_shift is to drop before a step of `count`; 0: none.
 * An eighth of the window at least, since a shift costs as much for one. Errors: DW_E_LIMIT (the
 * step alone is longer than the window). */
dw_status dw_context_slide(const dw_context *context, uint32_t count, uint32_t *drop,
                           dw_error *err);

/* Rows of logits that a context can keep. */
#define DW_KEPT_ROWS_MAX 16

/* From now on keep rows of logits: of the last `count` tokens whose logits a step gave or chose
 * from, vocab_count floats each. Those of before stay as far as they fit; 0: none. A fork has what
 * its parent has, without a copy. A row goes when its token does (trim, undo, shift).
 * Errors: DW_E_LIMIT, DW_E_MEMORY: as it was. */
dw_status dw_context_keep_rows(dw_context *context, uint32_t count, dw_error *err);
/* The last token's row, [vocab_count], until the next step, trim or shift. Errors: DW_E_NOT_FOUND:
 * none is kept of it. */
dw_status dw_context_logits(const dw_context *context, const float **row, dw_error *err);
/* For who saves them: how many are kept at most, how many are, and one of those, [vocab_count],
 * with the length of the context behind its token; the lengths ascend. */
uint32_t dw_context_rows_max(const dw_context *context);
uint32_t dw_context_row_count(const dw_context *context);
const float *dw_context_row(const dw_context *context, uint32_t index, uint32_t *length);
/* For who loads them: place for a row behind those there are, for the caller to write.
 * Errors: DW_E_RANGE (more than it keeps, or a length that does not ascend or is beyond its own),
 * DW_E_MEMORY. */
dw_status dw_context_add_row(dw_context *context, uint32_t length, float **row, dw_error *err);

/* What is taken from the logits of a step's last token, where these are: the row is not brought to
 * anybody's memory. `status` is DW_OK or what the sampler said; DW_E_NUMERIC, too, where
 * probabilities are wanted and no logit is finite. Log probabilities are those of the logits alone,
 * before biases, penalties and filters. */
typedef struct dw_choice {
    dw_sampler *sampler;        /* NULL: no token is chosen */
    bool wants_log_probability; /* of the token */
    uint32_t top_count;         /* of the likeliest, at most DW_TOP_K_MAX, and not beyond the row */
    int32_t *top_tokens;        /* out: [top_count], the likeliest first, of equals the lower */
    float *top_log_probabilities; /* out: [top_count], or NULL */
    int32_t token;                /* out */
    float log_probability;        /* out */
    dw_status status;
    dw_error error;
} dw_choice;

/* In a history: what came as a row of an embedding. */
#define DW_TOKEN_NONE (-1)

/* One step's arguments. `tokens` and `logits` lie in `view`'s region and are read and written by
 * the device at those addresses. Without a view there are no rows, and `tokens` are the host's. */
typedef struct dw_step {
    dw_device_view *view; /* may be NULL */
    int32_t *tokens;      /* [token_count] */
    uint32_t token_count;
    /* In the place of tokens, which are NULL then: rows [token_count][embedding_length] in `view`,
     * times embedding_scale already (dw_model_token_rows). The history has DW_TOKEN_NONE for
     * them, and they and what is behind them are shared with nobody. NULL: tokens. */
    float *embeddings;
    const struct dw__tree *tree; /* dw_context_tree_begin's own; NULL */
    float *logits; /* [logits_rows][vocab_count] for the last rows, or NULL with 0 rows */
    uint32_t logits_rows;
    /* What `logits` gets instead: hidden states [logits_rows][embedding_length], or with
     * DW_RESULT_POOLED one row, their mean. */
    dw_forward_result result;
    uint32_t pooled_count; /* of the first tokens' alone; 0: of all */
    bool in_short_slices;  /* on a CPU; so that others on its thread have their turns soon */
    dw_choice *choice;     /* from the last token's logits; then no rows. NULL: none */
    dw_counters *counters; /* not NULL */
    dw_stop *stop;         /* may be NULL */
    void (*on_progress)(void *user, uint32_t done, uint32_t total); /* may be NULL */
    void *user;
} dw_step;

/* Append the step's tokens: long ones in slices. On any error the context is as it was. Of a tree's
 * step: compute them, and leave the context as it is.
 * Errors: DW_E_RANGE (a token outside the vocabulary, rows > tokens), DW_E_LIMIT (more tokens than
 * the context can hold), DW_E_ALIGN, DW_E_OVERLAP (logits over tokens), DW_E_CANCELLED, DW_E_STATE
 * (a token has become another while the step waited), DW_E_NUMERIC (the model gave NaN),
 * DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_context_forward(dw_context *context, const dw_step *step, dw_error *err);

/* Many continuations of a context in one step, of which one path may be kept. */
#define DW_TREE_COUNT_MAX 256

typedef struct dw_tree {
    /* [token_count]: which earlier token of the tree each one hangs on, -1: the context's last.
     * NULL: each on the one before. It sees its forefathers, and stands one behind its parent. */
    const int32_t *parents;
    const int32_t *positions; /* [token_count], in the place of those; or NULL */
    /* [token_count][length + token_count], in the place of what parents say: 1: the token sees that
     * record of the context, or that token of the tree, none behind itself; or NULL. Borrowed until
     * the step has ended. */
    const uint8_t *mask;
} dw_tree;

/* Make `step` one of a tree of its tokens, and room for that: memory is the caller's account's. It
 * is then run as any other, by dw_context_forward or in a batch, and its rows are of the tree's
 * last tokens in its order. The context stays as it is; the tree hangs on it until a path is kept,
 * or whatever else changes the context. Its rows are not kept.
 * Errors: DW_E_ARG, DW_E_RANGE, DW_E_LIMIT (DW_TREE_COUNT_MAX, more than the context has room for),
 * DW_E_MEMORY. No tree hangs on the context then, nor where the step fails. */
dw_status dw_context_tree_begin(dw_context *context, dw_step *step, const dw_tree *tree,
                                dw_error *err);
/* Append tokens path[count] of the tree, the first of which hangs on the context and each other on
 * the one before, as if they had been computed in a step; the rest goes, also with a count of 0.
 * Errors: DW_E_STATE (there is no tree), DW_E_RANGE, DW_E_ARG (no such path, or one computed for
 * other positions), DW_E_MEMORY; the tree is then still there. */
dw_status dw_context_keep(dw_context *context, const int32_t *path, uint32_t count, dw_error *err);
/* Tokens of the tree that hangs on it; 0: none does. */
uint32_t dw_context_tree_count(const dw_context *context);
void dw_context_drop_tree(dw_context *context);

#endif
