/* What batch.c and batch_ahead.c know of each other. */
#ifndef DW_INFERENCE_BATCH_INTERNAL_H
#define DW_INFERENCE_BATCH_INTERNAL_H

#include "inference/batch.h"
#include "inference/step_slice.h"

/* ---- batch.c ---- */

/* Let the item wait for its turn, as dw_batch_add does. */
void dw__batch_begin(dw_batch *batch, dw_batch_item *item);
/* The result of a run for one of its slices. */
void dw__batch_conclude(dw_batch *batch, dw_batch_item *item, const dw_step_slice *slice,
                        dw_status status, const dw_error *error);
/* How long the device was idle before the run of which `first` is the first slice. */
void dw__batch_note_idle(dw_batch *batch, const dw_step_slice *first);
/* A run since `from_ns`. */
void dw__batch_count_run(dw_batch *batch, uint32_t tokens, uint32_t sequences, uint64_t from_ns);

/* ---- batch_ahead.c ---- */

/* Whether a run of all that wait may go on to another without its results being looked at: each of
 * `owners` [count] says what follows, and the likeliest does for some. */
bool dw__ahead_may_begin(const dw_batch *batch, dw_batch_item *const *owners, uint32_t count);
/* Do that run, of slices [count], and leave the next under way. */
void dw__ahead_begin(dw_batch *batch, dw_batch_item *const *owners, const dw_step_slice *slices,
                     uint32_t count);
/* What is under way lands; before that the next begins, where nobody else waits. */
void dw__ahead_go_on(dw_batch *batch);
/* The item's step is what the run under way computes for it, or waits until that has landed. */
void dw__ahead_add(dw_batch *batch, dw_batch_item *item);
/* Whose step is under way; NULL: nobody's. */
const dw_batch_item *dw__ahead_any(const dw_batch *batch);
/* Of those whose steps are under way, as dw_batch_each_share. */
void dw__ahead_each_share(const dw_batch *batch, void (*fn)(void *user, dw_batch_share *share),
                          void *user);

#endif
