/* Graphs of forward steps, kept beside their model: building and planning one costs about as much
 * as decoding a token of a small model, and a decode loop needs the same one again and again.
 * Before each run a graph is pointed at its context's KV log and at the guest's memory.
 * Thread: under the model's lock (dw_model_lock). */
#ifndef DW_INFERENCE_STEP_GRAPH_H
#define DW_INFERENCE_STEP_GRAPH_H

#include "inference/context.h"

#define DW__SHARES_MAX 256u

typedef struct dw_step_graph dw_step_graph;

/* A slice of a step: what one run of a graph reads and writes. */
typedef struct dw_slice {
    dw_kv_log *log;              /* with room for all of the slice's tokens; NULL: an encoder */
    struct dw_device_view *view; /* of the memory that tokens and logits lie in */
    int32_t *tokens;             /* [token_count] */
    uint32_t token_count;
    dw_kv_type kv_type; /* the log's */
    dw_forward_result result;
    float *rows; /* the result, [row_count][dw_result_length]; NULL with 0 rows */
    uint32_t row_count;
    /* With DW_RESULT_POOLED `rows` is one row, added to what stands there: the hidden states of
     * the first share_count tokens, each times `share`. */
    float share;
    uint32_t share_count;
    const volatile bool *cancel; /* may be NULL */
    dw_choice *choice;           /* instead of rows: of one row's logits; NULL: none */
} dw_slice;

/* Floats in a row of a result. */
uint32_t dw_result_length(const dw_model_shape *shape, dw_forward_result result);

/* Compute a slice's tokens as those that follow the log's length, which stays as it is.
 * `extra` is what dw_model_lock gave. Errors: those of dw_device_view_place, DW_E_UNSUPPORTED (the
 * device lacks an operation), DW_E_MEMORY, DW_E_CANCELLED, DW_E_DEVICE, DW_E_NUMERIC (NaN). */
dw_status dw__slice_compute(dw_model *model, dw_model_extra *extra, const dw_slice *slice,
                            dw_error *err);

/* Whether NaN in the slice's rows has been looked for by dw__slice_compute. */
bool dw__logits_checked(dw_model *model, const dw_slice *slice);

/* One sequence's share of a step of several: tokens that follow its log's length. */
typedef struct dw_share {
    dw_kv_log *log;        /* with room reserved */
    const int32_t *tokens; /* [token_count], the context's own */
    uint32_t token_count;
    struct dw_device_view *view; /* of the memory that `given` and logits lie in */
    const int32_t *given;        /* the same tokens, for devices that read them there */
    float *logits; /* [row_count][vocab_count], of the last tokens; NULL with 0 rows */
    uint32_t row_count;
    dw_choice *choice; /* from the last token's logits, which are then one row, of none; or NULL */
    bool nan;          /* out: among its logits */
    /* out: of logits that the device computed elsewhere and wrote to their place itself */
    uint64_t placed_bytes;
} dw_share;

/* Whether a device takes many contexts' tokens in one run, and of each context more than one. */
bool dw__shares_served(const dw_device *device, bool several_tokens);
/* The same for shares [count] at once. All logs hold `kv_type`. Errors: those of
 * dw_device_view_place, DW_E_MEMORY, DW_E_CANCELLED, DW_E_DEVICE. */
dw_status dw__shares_compute(dw_model *model, dw_model_extra *extra, dw_kv_type kv_type,
                             dw_share *shares, uint32_t count, dw_error *err);

#endif
