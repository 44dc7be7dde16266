/* Running slices of steps on a model's device: alone, or those of many contexts together.
 * Thread: any; runs on one model take turns. */
#ifndef DW_INFERENCE_STEP_H
#define DW_INFERENCE_STEP_H

#include "inference/step_parts.h"
#include "inference/step_plan.h"

/* Prompt tokens computed at a time: as many as llama.cpp's default, so that the two compare, and
 * few enough that work memory stays small and a cancellation is seen soon. */
#define DW__SLICE_TOKENS_MAX 512u
/* On CUDA devices, which compute more of them in the same time: a cancellation is seen as soon. */
#define DW__SLICE_TOKENS_MAX_CUDA 2048u

/* Prompts are cut where our attention's tiles end (src/model/attention.c), and no rest is left that
 * it would take in its form for few rows, wherever there is room: beside few that decode slices are
 * shorter, and their bits are the same where docs/numerics.md says so. */
#define DW__CUT_TOKENS 64u
#define DW__REST_TOKENS_MIN 8u

/* Tokens that a slice which goes alone has at most, and those of prompts in a batch: so few that no
 * product takes long which nobody leaves, but at least DW__CUT_TOKENS. */
uint32_t dw__slice_tokens_max(dw_model *model);
/* The same on GPUs, where prompts have ggml's attention: it rounds in another way with fewer. */
#define DW__REST_COLUMNS_MIN 64u
/* For tests: how many multiplications that is; 0: the usual number. */
void dw__step_set_product_work(uint64_t work);
/* Whether the slice can go through the device with those of other contexts. */
bool dw__step_takes_in_batch(dw_model *model, dw_step_slice *slice);
/* Whether the only slice of a batch's run is better off as one that goes alone: a prompt's on a
 * GPU, where ggml's attention takes it. */
bool dw__step_prefers_alone(dw_model *model, const dw_step_slice *slice);

/* A run of slices of different contexts of one model, each one's tokens as those that follow its
 * log's length, which stays as it is. All logs hold the same type, and use the same rope factors.
 * In a batch numbers may not depend on who else is in the run (but as docs/numerics.md says of
 * GPUs): also where there is one slice now, and only for slices that dw__step_takes_in_batch; else
 * there is one.
 * `slices[i].nan` tells of NaN in a slice's results.
 *
 * Long ones with prompts go in parts on the CPU, without the model's lock: between these others
 * have their runs, and one of several may leave. Steps of one token each, and short ones, go
 * through at once. What a run has written beyond its logs' lengths until it is ended means nothing,
 * as if it had not begun. */
typedef struct dw_step_run {
    dw_step_work work;    /* the caller's, but for its scratch; slices stay where they are */
    dw_step_graph *graph; /* of a run in parts, taken; NULL: none is under way */
    /* step.c's: */
    const dw_step_plan *plan;
    const dw_stops *stops;
    dw_step_at at;
} dw_step_run;

/* Begin a run whose `work` is set, and go through with it unless it goes in parts.
 *   stops  who may stop it, and others for whom it is left; alone also between its parts. NULL:
 *          nobody. Borrowed until the run is over
 * Errors: those of dw_device_view_place, DW_E_UNSUPPORTED (the device lacks an operation),
 * DW_E_MEMORY, DW_E_CANCELLED, DW_E_DEVICE; DW_E_BUSY (runs in parts have all the graphs: nothing
 * was begun, and it may be tried again). */
dw_status dw__step_begin(dw_step_run *run, const dw_stops *stops, dw_error *err);
/* The next part of a run under way, which is over with its last, or an error: run->graph is NULL
 * then. Errors: DW_E_MEMORY, DW_E_CANCELLED, DW_E_DEVICE. */
dw_status dw__step_go_on(dw_step_run *run, dw_error *err);
/* The slice at `index` of a batch's run under way takes no part in what follows: nothing of its
 * owner's is touched any more, nor is the slice's step. */
void dw__step_leave(dw_step_run *run, uint32_t index);
/* The run is over, whatever is left of it. */
void dw__step_end(dw_step_run *run);

/* A run of one slice alone from its beginning to its end: between parts its stop (may be NULL) is
 * asked, and others have their turns. Where runs have all the graphs it waits for one.
 *   others  for whom the run is left as well; NULL: for nobody
 * Errors: dw__step_begin's, but for DW_E_BUSY. */
dw_status dw__step_run(dw_model *model, dw_step_slice *slice, const dw_stop_others *others,
                       dw_error *err);

#endif
