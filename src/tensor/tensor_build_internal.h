/* The device's graph of a description. */
#ifndef DW_TENSOR_TENSOR_BUILD_INTERNAL_H
#define DW_TENSOR_TENSOR_BUILD_INTERNAL_H

#include "tensor/tensor_node_internal.h"

dw_status dw__graph_build(dw_tensor_graph *graph, size_t scratch_bytes_max, dw_error *err);
void dw__built_release(dw__built *built, dw_device *device);
/* Put inputs, outputs and the views of them over the device's present buffer. */
dw_status dw__graph_place(dw_tensor_graph *graph, dw_error *err);

#endif
