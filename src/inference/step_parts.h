/* A graph's run in parts: a slice of a prompt, or an encoder's text, which goes through whole, may
 * be seconds of work, and what is one run of the device for so long keeps others from it. A part is
 * a stretch of small nodes, or some units or rows of a large one, and computes every number as the
 * whole would.
 * Thread: any, one at a time for a graph. */
#ifndef DW_INFERENCE_STEP_PARTS_H
#define DW_INFERENCE_STEP_PARTS_H

#include "device/device_run.h"
#include "inference/step_graph.h"

typedef struct dw_step_parts dw_step_parts;

/* Where a run is: before which node, and how much of that one is done. Zeroed: at its beginning. */
typedef struct dw_step_at {
    int node;
    int64_t done; /* of its units, or rows */
} dw_step_at;

/* What a run in parts needs beside the graph, once: graph->parts. Errors: DW_E_MEMORY. */
dw_status dw__step_parts_open(dw_step_graph *graph, dw_error *err);
void dw__step_parts_destroy(dw_step_parts *parts);

/* Whether a run of the graph, which is ready for it, is more than one part's work. */
bool dw__step_parts_is_long(const dw_step_graph *graph);
/* Compute the part that begins at *at, which is moved on; `*through`: it was the last. The inputs
 * are in place, and the graph is the run's alone (`taken` of dw_step_graph). On the CPU. `options`
 * as dw_device_run has them. Errors: DW_E_MEMORY, DW_E_CANCELLED, DW_E_DEVICE. */
dw_status dw__step_parts_run(dw_step_graph *graph, const dw_device_run_options *options,
                             dw_step_at *at, bool *through, dw_error *err);

/* For tests: multiplications in a part for each thread; 0: the usual number. And of all parts so
 * far the one with the most of them, since it was asked for last. */
void dw__step_set_part_work(uint64_t work);
uint64_t dw__step_take_most_work(void);

#endif
