/* Tensor graphs over a region: what guests describe with dw_graph_*, with no WebAssembly in it.
 *
 * A graph is described (tensors in the region, operations on them, which results are wanted at
 * which offset), built once and run many times. Everything that comes in is checked here, shapes,
 * types, strides, ranges and index values alike, so that no assert of ggml's can be reached.
 *
 * Invariants:
 *   - Inputs and outputs are in the region at the caller's offsets; the device reads and writes
 *     them there. Intermediates are in a buffer of the device.
 *   - The graph holds offsets from the region's base. Memory may grow between runs: tensors are
 *     then placed again over the device's new buffer.
 *   - No output overlaps an input or another output, so the order of operations cannot be seen.
 *   - A run allocates nothing on the heap.
 * Thread: one at a time, the region's. */
#ifndef DW_TENSOR_TENSOR_GRAPH_H
#define DW_TENSOR_TENSOR_GRAPH_H

#include <jansson.h>

#include "base/stop.h"
#include "base/status.h"
#include "device/device.h"
#include "device/device_view.h"
#include "driftwood_abi.h"

#define DW_GRAPH_TENSORS_MAX 4096
#define DW_GRAPH_SCRATCH_BYTES_MAX ((size_t)1 << 30)

typedef struct dw_tensor_graph dw_tensor_graph;

/* An empty graph on `view`'s region; all three must outlive it. Errors: DW_E_MEMORY. */
dw_status dw_tensor_graph_create(dw_tensor_graph **out, dw_device *device, dw_region *region,
                                 dw_device_view *view, dw_error *err);
/* For tests: how much work graphs that are built from now on have in a part, on the CPU:
 * multiplications of a product, elements of other operations; 0: as much as usual. */
void dw_tensor_set_parts(int64_t work, int64_t elements);
void dw_tensor_graph_destroy(dw_tensor_graph *graph);

/* A contiguous tensor of the region at `offset`. ne [4]. `*tensor` is its number, from 1 on.
 * Errors: DW_E_STATE (built already), DW_E_TYPE, DW_E_SHAPE (a size of 0 or too large, rows that
 * are not whole blocks), DW_E_RANGE, DW_E_ALIGN, DW_E_OVERLAP (an output stands there),
 * DW_E_LIMIT (tensors), DW_E_MEMORY. */
dw_status dw_tensor_graph_tensor(dw_tensor_graph *graph, int32_t type, const uint32_t *ne,
                                 uint64_t offset, int32_t *tensor, dw_error *err);

/* An operation (dw_op) on inputs [4], 0 where unused. `params` may be NULL: all zero.
 * Errors: DW_E_STATE, DW_E_ARG (no such operation, an input too many or missing, a parameter that
 * it does not have), DW_E_HANDLE (no such tensor), DW_E_TYPE, DW_E_SHAPE, DW_E_RANGE and
 * DW_E_NUMERIC (parameters), DW_E_UNSUPPORTED, DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_tensor_graph_op(dw_tensor_graph *graph, int32_t op, const int32_t *inputs,
                             const dw_op_params *params, int32_t *tensor, dw_error *err);

/* The operation's result shall stand at `offset`, contiguous.
 * Errors: DW_E_STATE (built, an input, or placed already), DW_E_HANDLE, DW_E_RANGE, DW_E_ALIGN,
 * DW_E_OVERLAP (naming both). */
dw_status dw_tensor_graph_output(dw_tensor_graph *graph, int32_t tensor, uint64_t offset,
                                 dw_error *err);

/* Errors: DW_E_HANDLE. */
dw_status dw_tensor_graph_shape(const dw_tensor_graph *graph, int32_t tensor, dw_shape *shape,
                                dw_error *err);

/* Close the description and make the device's graph; intermediates and the device's own work may
 * take `scratch_bytes_max`. On an error the graph is as it was before.
 * Errors: DW_E_STATE (built, or without an output), DW_E_UNSUPPORTED (the device lacks an
 * operation: which, with types and shapes), DW_E_LIMIT (scratch), DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_tensor_graph_build(dw_tensor_graph *graph, size_t scratch_bytes_max, dw_error *err);

/* Compute every output from what is in the region now. Index values are checked first.
 * `stop` may be NULL. Blocks: until all outputs are in the region.
 * Errors: DW_E_STATE (not built), DW_E_RANGE (an index: which and its limit), DW_E_CANCELLED
 * (outputs then hold anything), DW_E_DEVICE, DW_E_MEMORY. */
dw_status dw_tensor_graph_run(dw_tensor_graph *graph, dw_stop *stop, dw_error *err);

/* The description as JSON (docs/snapshot.md), the caller's. NULL: no memory. */
json_t *dw_tensor_graph_save(const dw_tensor_graph *graph);
/* A graph of such a description, which is untrusted: made by the calls above, and built where the
 * saved one was, with `scratch_bytes_max`. Errors: DW_E_FORMAT, and those of the calls above. */
typedef struct dw_tensor_graph_place {
    dw_device *device;
    dw_region *region;
} dw_tensor_graph_place;
dw_status dw_tensor_graph_load(dw_tensor_graph **out, dw_device_view *view,
                               const dw_tensor_graph_place *place, size_t scratch_bytes_max,
                               const json_t *saved, dw_error *err);

/* What a built graph holds beside the region; 0 before. */
size_t dw_tensor_graph_scratch_bytes(const dw_tensor_graph *graph);

/* Where the device finds the tensor of the region, an input or output of a built graph; NULL for
 * others. For tests and doctor: on a device that shares the host's addresses it is the region's
 * own. */
const void *dw_tensor_graph_device_data(const dw_tensor_graph *graph, int32_t tensor);

#endif
