/* Running graphs on a device, with the views that their tensors lie in. */
#ifndef DW_DEVICE_DEVICE_RUN_H
#define DW_DEVICE_DEVICE_RUN_H

#include "base/stop.h"
#include "device/device_view.h"

/* Whether the device can do every node of `graph`; if not, DW_E_UNSUPPORTED names the first that
 * it cannot, with types and shapes. */
dw_status dw_device_check_graph(dw_device *device, struct ggml_cgraph *graph, dw_error *err);

typedef struct dw_device_run_options {
    /* That tensors of the graph lie in: where it is staged, what the graph reads is brought to the
     * device before, and what it writes fetched afterwards. NULL: none do. */
    dw_device_view *view;
    /* The run is given up once one of these asks: on the CPU between nodes, and within those of
     * ours (src/model); other devices finish what they have begun. NULL: nobody does. */
    const dw_stops *stops;
} dw_device_run_options;

/* Compute `graph`, all of whose tensors have their data, and wait until it is done. `options` NULL:
 * all NULL. Thread: any; computes one graph at a time, others wait.
 * Errors: DW_E_MEMORY (the next graph may find some), DW_E_DEVICE, DW_E_CANCELLED. What the graph
 * writes is unspecified then. */
dw_status dw_device_run(dw_device *device, struct ggml_cgraph *graph,
                        const dw_device_run_options *options, dw_error *err);

/* Test hook: the `graphs`-th graph from now on runs out of memory, as on CUDA; 0: none does. */
void dw_device_fail_after(dw_device *device, uint32_t graphs);

#endif
