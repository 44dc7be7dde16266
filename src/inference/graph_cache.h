/* Graphs of forward steps, kept beside their model: building and planning one costs about as much
 * as decoding a token of a small model, and a decode loop needs the same one again and again.
 * Thread: under the model's lock (dw_model_lock). */
#ifndef DW_INFERENCE_GRAPH_CACHE_H
#define DW_INFERENCE_GRAPH_CACHE_H

#include "inference/step_graph.h"
#include "memory/region.h"

typedef struct dw_graph_cache dw_graph_cache;

/* Memory of the host's that devices reach, for a run: one that goes in parts has it to its end. */
typedef struct dw_scratch dw_scratch;

/* The model's cache, made at the first call; `extra` is what dw_model_lock gave, and owns it.
 * Errors: DW_E_MEMORY. */
dw_status dw__graph_cache_open(dw_graph_cache **out, dw_model_extra *extra, dw_error *err);
bool dw__forward_size_same(const dw_forward_size *a, const dw_forward_size *b);
/* The graph of `kind` and `size`: one that is kept, or a new one in the place of the longest
 * unused; none that is taken. The cache's, until it is asked for another; a taken one the taker's.
 * Errors: dw__step_graph_create's, DW_E_BUSY (all places are taken). */
dw_status dw__graph_cache_find(dw_step_graph **out, dw_graph_cache *cache, dw_model *model,
                               const dw_graph_kind *kind, const dw_forward_size *size,
                               dw_error *err);
/* The graph and the scratch are the run's alone, which gives the model's lock up, until
 * dw__graph_cache_give. Not the last place that there is, unless `any`: others have runs as well.
 * Errors: DW_E_BUSY. */
dw_status dw__graph_cache_take(dw_graph_cache *cache, dw_step_graph *graph, dw_scratch *scratch,
                               bool any, dw_error *err);
/* Thread: any, without the lock. */
void dw__graph_cache_give(dw_step_graph *graph, dw_scratch *scratch);

/* Scratch that no run has; it is the caller's while it has the lock, and that of a run that takes
 * it beyond. */
dw_scratch *dw__graph_cache_scratch(dw_graph_cache *cache);
/* It is a run's that gives the lock up, and not the next one's; or is nobody's again. */
void dw__scratch_take(dw_scratch *scratch, bool taken);
/* Rows [count][vocab_count] of logits in it, for the run; `*view` is of their region, which the
 * host reads too; NULL where no graph writes there (CUDA) and pages cannot be locked.
 * Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__scratch_rows(dw_scratch *scratch, dw_model *model, uint32_t count,
                           dw_device_view **view, float **rows, dw_error *err);
/* The same for tokens [count] of a slice that are in no region. */
dw_status dw__scratch_tokens(dw_scratch *scratch, dw_model *model, uint32_t count,
                             dw_device_view **view, int32_t **tokens, dw_error *err);

#endif
