/* What each operation accepts and gives. */
#ifndef DW_TENSOR_TENSOR_OPS_H
#define DW_TENSOR_TENSOR_OPS_H

#include "tensor/tensor_node_internal.h"

/* "MATMUL"; "?" for a number that is no operation. Static storage. */
const char *dw_tensor_op_name(int32_t op);
bool dw__type_known(int32_t type);
bool dw__op_is_view(int32_t op);
/* Check a new operation whose op, inputs and params are filled, and fill in its result. */
dw_status dw__op_infer(const dw_tensor_graph *graph, dw__node *node, dw_error *err);

#endif
