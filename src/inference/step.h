/* Running slices of steps on a model's device: alone, or those of many contexts together.
 * Thread: any; runs on one model take turns. */
#ifndef DW_INFERENCE_STEP_H
#define DW_INFERENCE_STEP_H

#include "inference/step_slice.h"

/* Prompt tokens computed at a time: as many as llama.cpp's default, so that the two compare, and
 * few enough that work memory stays small and a cancellation is seen soon. */
#define DW__SLICE_TOKENS_MAX 512u
/* On CUDA devices, which compute more of them in the same time: a cancellation is seen as soon. */
#define DW__SLICE_TOKENS_MAX_CUDA 2048u

/* Prompts are cut where our attention's tiles end (src/model/attention.c), and no rest is left that
 * it would take in its form for few rows: so a prompt's results do not depend, to the bit, on where
 * it is cut. */
#define DW__CUT_TOKENS 64u
#define DW__REST_TOKENS_MIN 8u

/* Tokens that a slice which goes alone has at most, and those of prompts in a batch: so few that no
 * product takes long which nobody leaves, but at least DW__CUT_TOKENS. */
uint32_t dw__slice_tokens_max(dw_model *model);
/* ggml's attention rounds in another way with fewer tokens: where slices are cut for products, a
 * smaller rest goes with the slice before it. With our attention DW__REST_TOKENS_MIN is enough. */
#define DW__REST_COLUMNS_MIN 64u
/* For tests: how many multiplications that is; 0: the usual number. */
void dw__step_set_product_work(uint64_t work);
/* Whether the slice can go through the device with those of other contexts. */
bool dw__step_takes_in_batch(dw_model *model, dw_step_slice *slice);

/* Who else is in a run. */
typedef enum dw_run_kind {
    DW__RUN_ALONE,        /* one slice, which may be stopped */
    DW__RUN_BATCH,        /* several; the first whose stop asks ends it for all */
    DW__RUN_BATCH_TO_END, /* several; nobody stops it */
} dw_run_kind;

/* Compute slices [count] of different contexts of `model` in one run: each one's tokens as those
 * that follow its log's length, which stays as it is. All logs hold the same type, and use the same
 * rope factors. `slices[i].nan` tells of NaN in a slice's results.
 *   kind  in a batch numbers may not depend on who else is in the run: also where there is one
 *         slice now, and only for slices that dw__step_takes_in_batch; else `count` is 1
 *   others  for whom the run is left as well, unless it is DW__RUN_BATCH_TO_END; NULL: for nobody
 * Errors: those of dw_device_view_place, DW_E_UNSUPPORTED (the device lacks an operation),
 * DW_E_MEMORY, DW_E_CANCELLED, DW_E_DEVICE. */
dw_status dw__step_run(dw_model *model, dw_step_slice *slices, uint32_t count, dw_run_kind kind,
                       const dw_stop_others *others, dw_error *err);

#endif
