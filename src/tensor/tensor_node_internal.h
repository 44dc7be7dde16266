/* A description, node by node, and what is built of it. */
#ifndef DW_TENSOR_TENSOR_NODE_INTERNAL_H
#define DW_TENSOR_TENSOR_NODE_INTERNAL_H

#include <ggml-alloc.h>
#include <ggml.h>

#include "base/account.h"
#include "device/device_view.h"
#include "driftwood_abi.h"

#define DW__INPUTS 4
#define DW__ELEMENTS_MAX ((int64_t)INT32_MAX) /* of one tensor: ggml's kernels count in int */

typedef struct dw__node {
    int32_t op;   /* dw_op; 0: a tensor of the region */
    int32_t type; /* ggml_type, the same numbers as dw_type */
    int64_t ne[DW_MAX_DIMS];
    size_t nb[DW_MAX_DIMS];     /* strides in bytes, as ggml counts them */
    int32_t inputs[DW__INPUTS]; /* numbers of other nodes, 0: none */
    dw_op_params params;
    int32_t root;       /* whose bytes these are: a view's source, else the node itself */
    size_t root_offset; /* bytes from the root's first */
    bool placed;        /* is in the region: an input or an output */
    uint64_t offset;    /* then from the region's base */

    bool needed;                 /* some output depends on it */
    struct ggml_tensor *tensor;  /* once built */
    struct ggml_tensor *dense;   /* the same values with ordinary strides; made on demand */
    struct ggml_tensor *outcome; /* what stands at `offset` */
} dw__node;

/* An index input in the region, whose values are looked at before every run. */
typedef struct dw__index_check {
    int32_t node;     /* the index tensor */
    int32_t consumer; /* for the message */
    int64_t limit;    /* values are 0 to limit - 1 */
} dw__index_check;

/* A causal mask: F32 [kv_tokens, q_tokens], 0 or -inf. */
typedef struct dw__causal_mask {
    struct ggml_tensor *tensor;
    ggml_backend_buffer_t buffer;
} dw__causal_mask;

/* A node that writes part of another's result, at [offset, ..) of its bytes. */
typedef struct dw__part {
    struct ggml_tensor *node;
    struct ggml_tensor *result;
    size_t offset;
} dw__part;
#define DW__PART_SOURCE                                                                            \
    3 /* which of its sources is the result: no operation in parts has so many */

/* What building makes; zero before and after a failure. */
typedef struct dw__built {
    void *context_memory;
    struct ggml_context *context;
    struct ggml_cgraph *cgraph;
    void *stretch_memory;
    struct ggml_context *stretch_context;
    struct ggml_cgraph *stretch; /* of some of its nodes, while it runs; NULL: it runs as a whole */
    ggml_gallocr_t allocator;
    dw__index_check *checks; /* [check_count] */
    size_t check_count;
    dw__causal_mask *masks; /* [mask_count] */
    size_t mask_count;
    dw__part *parts; /* [part_count] */
    size_t part_count;
    size_t part_capacity;
    size_t scratch_bytes;
    dw_account *payer; /* counted; of charged_bytes, a part of these */
    size_t charged_bytes;
    uint64_t view_generation;
} dw__built;

typedef struct dw_tensor_graph {
    dw_device *device;
    dw_region *region;
    dw_device_view *view;
    bool on_cpu;
    size_t align_bytes; /* of every tensor in the region; elements may need more */
    dw__node *nodes;    /* [capacity]; number n is nodes[n - 1] */
    int32_t count;
    size_t capacity;
    int32_t output_count;
    bool is_built;
    dw__built built;
} dw_tensor_graph;

/* "F32 [64, 32]", for messages. */
typedef struct dw__text {
    char text[72];
} dw__text;
dw__text dw__describe(const dw__node *node);

static inline dw__node *dw__node_of(const dw_tensor_graph *graph, int32_t number)
{
    return number == 0 ? NULL : &graph->nodes[number - 1];
}

/* Ordinary strides for type and ne, which must be of whole blocks. */
void dw__node_strides(dw__node *node);
/* Type and sizes from outside or computed: each size at least 1, rows of whole blocks, elements
 * and bytes within bounds; fills strides. `what` names the tensor. Errors: DW_E_SHAPE. */
dw_status dw__node_shape(dw__node *node, const char *what, int32_t type, const int64_t *ne,
                         dw_error *err);
int64_t dw__node_elements(const dw__node *node);
/* With ordinary strides; elements are bounded, so this cannot overflow. */
size_t dw__node_bytes(const dw__node *node);
/* Elements follow each other in order; sizes of 1 may have any stride. */
bool dw__node_contiguous(const dw__node *node);
/* The strides are exactly the ordinary ones: ggml's kernels assert that even where a size is 1. */
bool dw__node_ordinary(const dw__node *node);

#endif
