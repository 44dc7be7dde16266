/* Running graphs on a device, with the views that their tensors lie in. */
#ifndef DW_DEVICE_DEVICE_RUN_H
#define DW_DEVICE_DEVICE_RUN_H

#include "base/stop.h"
#include "device/device_view.h"

/* Whether the device can do every node of `graph`; if not, DW_E_UNSUPPORTED names the first that
 * it cannot, with types and shapes. */
dw_status dw_device_check_graph(dw_device *device, struct ggml_cgraph *graph, dw_error *err);

/* Bytes that go with a graph, between the front of `tensor`, in the device's memory, and `host`:
 * page-locked, on devices that know such memory. */
typedef struct dw_device_copy {
    struct ggml_tensor *tensor; /* NULL: none go */
    void *host;
    size_t bytes;
} dw_device_copy;

typedef struct dw_device_run_options {
    /* That tensors of the graph lie in: where it is staged, what the graph reads is brought to the
     * device before, and what it writes fetched afterwards. NULL: none do. */
    dw_device_view *view;
    /* The run is given up once one of these asks: on the CPU between nodes, and within those of
     * ours (src/model); other devices finish what they have begun. NULL: nobody does. */
    const dw_stops *stops;
    /* On the CPU: on the calling thread alone; nodes have themselves helped (dw_device_crew). */
    bool alone;
    dw_device_copy before; /* to the device */
    dw_device_copy after;  /* to the host */
} dw_device_run_options;

/* Compute `graph`, all of whose tensors have their data, and wait until it is done. `options` NULL:
 * all NULL. Thread: any; computes one graph at a time, others wait.
 * Errors: DW_E_MEMORY (the next graph may find some), DW_E_DEVICE, DW_E_CANCELLED. What the graph
 * writes is unspecified then. */
dw_status dw_device_run(dw_device *device, struct ggml_cgraph *graph,
                        const dw_device_run_options *options, dw_error *err);

/* The end of a graph that was launched. */
typedef struct dw_device_mark dw_device_mark;

/* Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_device_mark_create(dw_device_mark **out, dw_device *device, dw_error *err);
/* NULL is fine. */
void dw_device_mark_destroy(dw_device_mark *mark);
/* Have the device compute `graph` behind what it has been given so far, `mark` being its end, and
 * do not wait for it, where it can go on by itself: until then what the graph and its copies read
 * stays as it is. `options`: without a view, and nobody stops it. Errors: dw_device_run's. */
dw_status dw_device_launch(dw_device *device, struct ggml_cgraph *graph,
                           const dw_device_run_options *options, dw_device_mark *mark,
                           dw_error *err);
/* Wait for the end of what was launched last with that mark. Errors: DW_E_DEVICE, DW_E_MEMORY. */
dw_status dw_device_land(dw_device *device, const dw_device_mark *mark, dw_error *err);

/* Test hook: the `graphs`-th graph from now on runs out of memory, as on CUDA; 0: none does. */
void dw_device_fail_after(dw_device *device, uint32_t graphs);

#endif
