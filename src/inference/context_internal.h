/* What src/inference's own files know of a context. */
#ifndef DW_INFERENCE_CONTEXT_INTERNAL_H
#define DW_INFERENCE_CONTEXT_INTERNAL_H

#include "inference/context.h"
#include "inference/step_slice.h"
#include "inference/token_history.h"
#include "kv/kv_log.h"

struct dw_context {
    dw_model *model; /* counted */
    dw_kv_log *log;  /* its length is the context's */
    dw_kv_type kv_type;
    dw__token_history history; /* its length is the log's */
};

/* What the making of a context begins with: its own record, no log yet.
 * Errors: dw_context_create's; also where `tokens_max` is no length for the model. */
dw_status dw__context_make(dw_context **out, dw_model *model, const dw_context_options *options,
                           dw_kv_log_options *log, dw_error *err);
/* Check a step, make room for it in the log, and note its tokens behind the history. The length
 * stays as it is. Errors: dw_context_forward's. */
dw_status dw__context_begin(dw_context *context, const dw_step *step, dw_error *err);
/* Tokens [first, first + count) of a step that has begun, the log holding those before. */
dw_step_slice dw__context_slice(const dw_context *context, const dw_step *step, uint32_t first,
                                uint32_t count);
/* Made for more tokens than the model's rope factors change at. */
bool dw__context_is_long(const dw_context *context);
/* After `status`, back to `length`. */
void dw__context_undo(dw_context *context, uint32_t length, dw_status status);
/* Count a step that is through; `before`: the length when it began. */
void dw__context_count(const dw_step *step, uint32_t before, uint64_t took_ns);

#endif
