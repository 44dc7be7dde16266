/* A slice of a step: the part of a sequence that one run of the device computes, and which rows of
 * the step's result come of it.
 * Thread: the caller's; a slice lives for one run. */
#ifndef DW_INFERENCE_STEP_SLICE_H
#define DW_INFERENCE_STEP_SLICE_H

#include "inference/context.h"
#include "inference/graph_cache.h"
#include "inference/kept_rows.h"

/* Slices in one run at most. */
#define DW__SLICES_MAX 256u

typedef struct dw_step_slice {
    const dw_step *step; /* borrowed; NULL: it has left the run */
    dw_kv_log *log;      /* of its length the slice follows; has room for it. NULL: an encoder's */
    dw_kv_type kv_type;  /* the log's */
    dw_adapter_set *adapters; /* the context's; NULL: none. Those of a run mix (step_graph.h) */
    uint32_t first;           /* of the step's tokens */
    uint32_t token_count;
    const int32_t *noted; /* its tokens as they were checked; NULL: nobody keeps them */
    /* Where its rows [row_count][dw__result_length] of the result go; NULL with none. With
     * DW_RESULT_POOLED one row, to which each slice adds. */
    float *rows;
    uint32_t row_count;
    dw_choice *choice;   /* from the last token's logits: then one row, of scratch; NULL: none */
    dw__kept_rows *kept; /* the context's, which get copies of rows of logits; NULL: none */
    bool nan;            /* out: its rows hold NaN, and no choice was made */
    bool postponed;      /* out: its choice was not made, since others had to end: it runs again */
    /* One token, behind a run that has not landed (step_flight.h): the likeliest of that run's
     * slice `behind` - 1; 0: its step says which. */
    uint32_t behind;
    int32_t token;     /* where the host is told it: that token */
    int32_t likeliest; /* out, of a slice that flies with a choice: what the next would append */
    /* Out, of a run's first slice: when it began and ended by the device's clock, modulo 2^32; both
     * 0: not known. */
    uint32_t began_ns;
    uint32_t ended_ns;
} dw_step_slice;

/* Floats in a row of a result. */
uint32_t dw__result_length(const dw_model_shape *shape, dw_forward_result result);

/* Tokens [first, first + count) of a step, with the rows that are theirs; without a log. */
dw_step_slice dw__step_slice_cut(const dw_step *step, const dw_model_shape *shape, uint32_t first,
                                 uint32_t count);
/* Records before the slice's own. */
uint32_t dw__step_slice_past(const dw_step_slice *slice);
/* Where its tokens stand: [token_count], in the step's view. */
int32_t *dw__step_slice_tokens(dw_step_slice *slice);
/* Whether these still are what was noted: they lie in a guest's memory, to which results of what it
 * generates meanwhile go, wherever it wanted them. To be asked where nobody writes any more until
 * the run has read them. Errors: DW_E_STATE. */
dw_status dw__step_slice_check_tokens(dw_step_slice *slice, dw_error *err);
/* Whether its context may grow beyond the length that the model's rope factors change at. */
bool dw__step_slice_is_long(const dw_step_slice *slice, const dw_model_shape *shape);
/* DW_E_NUMERIC if its rows hold NaN. */
dw_status dw__step_slice_check(const dw_step_slice *slice, dw_error *err);

/* Rows of scratch for the slices [count] that end in a choice; `*view` is of their region, NULL
 * with none. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__step_slices_scratch(dw_scratch *scratch, dw_model *model, dw_step_slice *slices,
                                  uint32_t count, dw_device_view **view, dw_error *err);
/* Where a copy of the slice's row `index` is kept: [vocab_count], to be written at once; NULL: it
 * is not. Of a slice's rows in their order, once. */
float *dw__step_slice_kept(const dw_step_slice *slice, uint32_t index);
/* After a run whose rows the host can read: look for NaN in them, then choose. Nothing for one
 * that has left the run: its step is NULL. */
void dw__step_slice_conclude(dw_step_slice *slice, const dw_model_shape *shape);

#endif
