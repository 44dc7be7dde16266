/* What src/inference's own files know of a context. */
#ifndef DW_INFERENCE_CONTEXT_INTERNAL_H
#define DW_INFERENCE_CONTEXT_INTERNAL_H

#include "inference/context.h"
#include "inference/prefix_cache.h"
#include "inference/step_slice.h"
#include "inference/token_history.h"
#include "kv/kv_kept.h"
#include "kv/kv_log.h"

struct dw_context {
    dw_model *model; /* counted */
    dw_kv_log *log;  /* its length is the context's */
    dw_kv_type kv_type;
    dw_adapter_set *adapters;  /* counted; NULL: none */
    dw__token_history history; /* its length is the log's */
    dw__prefix_share prefixes;
    dw__kept_rows *kept; /* NULL: none */
    uint32_t sink;       /* as of dw_context_set_window, as the next; window 0: none */
    uint32_t window;
    struct dw__tree *tree; /* hangs on it; NULL: none */
};

/* What the making of a context begins with: its own record, no log yet.
 * Errors: dw_context_create's; also where `tokens_max` is no length for the model. */
dw_status dw__context_make(dw_context **out, dw_model *model, const dw_context_options *options,
                           dw_kv_log_options *log, dw_error *err);
/* Check a step, make room for it in the log, and note its tokens behind the history. The length
 * stays as it is, but for tokens [*found] whose records others had computed: those are not to be
 * computed. Errors: dw_context_forward's. */
dw_status dw__context_begin(dw_context *context, const dw_step *step, uint32_t *found,
                            dw_error *err);
/* Tokens [first, first + count) of a step that has begun, the log holding those before. */
dw_step_slice dw__context_slice(const dw_context *context, const dw_step *step, uint32_t first,
                                uint32_t count);
/* Made for more tokens than the model's rope factors change at. */
bool dw__context_is_long(const dw_context *context);
/* After `status`, back to `length`. */
void dw__context_undo(dw_context *context, uint32_t length, dw_status status);
/* A step is through: count it, and keep its prompt for others; or take a tree out of the log, which
 * it hangs on from now on. `before`: the length when it began; `found` as dw__context_begin gave
 * it. Errors, of a tree's step: DW_E_DEVICE; it is not through then. */
dw_status dw__context_end(dw_context *context, const dw_step *step, uint32_t before, uint32_t found,
                          uint64_t took_ns, dw_error *err);
/* That of a tree's. */
dw_status dw__context_tree_end(dw_context *context, const dw_step *step, uint64_t took_ns,
                               dw_error *err);
/* Tokens of the step's prompt that may be found (prefix_cache.h), with those held before; 0: it is
 * no prompt, or wants results of all. */
uint32_t dw__context_findable(const dw_context *context, const dw_step *step);
/* Room for tokens up to `room` in the history, of which `length` are held.
 * Errors: DW_E_MEMORY. */
dw_status dw__context_note_at(dw_context *context, uint32_t length, uint32_t room, dw_error *err);
/* dw_kv_log_reserve, for which the prefix cache gives up what it holds. Errors: its own. */
dw_status dw__context_reserve(dw_context *context, uint32_t tokens, dw_error *err);
/* What failed with `status` may go well now: it was memory for records, and the prefix cache has
 * given some up. */
bool dw__context_relieved(const dw_context *context, dw_status status);
/* For tests: of how many numbers the records have that are moved at once; 0: the usual number. */
void dw__context_set_moved(uint32_t numbers);
/* Check the step, and note its tokens behind the history, which stays as long as it is.
 * Errors: dw_context_forward's. */
dw_status dw__context_note(dw_context *context, const dw_step *step, dw_error *err);

#endif
