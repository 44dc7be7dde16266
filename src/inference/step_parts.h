/* A graph's run in parts: an encoder takes a text whole, since each token attends to each, and what
 * is one run of the device for seconds keeps others from it. A part is a stretch of small nodes, or
 * some units or rows of a large one, and computes every number as the whole would.
 * Thread: any, one at a time for a graph. */
#ifndef DW_INFERENCE_STEP_PARTS_H
#define DW_INFERENCE_STEP_PARTS_H

#include "inference/step_graph.h"

typedef struct dw_step_parts dw_step_parts;

void dw__step_parts_destroy(dw_step_parts *parts);

/* Run a graph on the CPU whose inputs are in place. Between parts `stop` (may be NULL) is asked,
 * and others have their turns: the caller holds no lock, and the graph is his alone (`taken` of
 * dw_step_graph). `view` as dw_device_run_options have it.
 * Errors: DW_E_MEMORY, DW_E_CANCELLED, DW_E_DEVICE. */
dw_status dw__step_parts_run(dw_step_graph *graph, dw_device_view *view, dw_stop *stop,
                             dw_error *err);

/* For tests: multiplications in a part; 0: the usual number. */
void dw__step_set_part_work(uint64_t work);

#endif
