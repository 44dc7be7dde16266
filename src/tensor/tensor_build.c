/* From a checked description to a ggml graph. Whatever reaches a ggml function here has been
 * checked against its asserts by tensor_ops.c; the comments name what a kernel asks for beyond
 * that. */
#include <ggml-cpu.h>
#include <math.h>
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "device/device_memory.h"
#include "device/device_run.h"
#include "device/device_view.h"
#include "tensor/tensor_build_internal.h"
#include "tensor/tensor_ops.h"
#include "tensor/tensor_parts_internal.h"

/* ggml tensors that a node can take: the result, ordinary strides for it, its output. */
#define TENSORS_PER_NODE 4
#define TENSORS_PER_ATTENTION 20
#define TENSORS_PER_SUM 24

/* Elements that one group of a GPU's threads adds up. */
#define SUM_ROW 4096

typedef struct builder {
    dw_tensor_graph *graph;
    dw__built *built;
    struct ggml_context *context;
    size_t scratch_bytes_max;
    dw_error *err;
} builder;

/* ---- what is needed ---- */

/* ---- work in parts: on the CPU alone, whose runs are left between nodes ---- */

static size_t product_parts(const int64_t *a_ne, const int64_t *b_ne)
{
    dw__product_cut cut = dw__cut_product(a_ne, b_ne);
    return cut.count > 1 ? cut.count : 0;
}

/* Whether every row of the result comes of one row of the first input, in F32 of the same sizes. */
static bool goes_by_rows(const dw__node *node)
{
    switch (node->op) {
    case DW_OP_SCALE:
    case DW_OP_RMS_NORM:
    case DW_OP_NORM:
    case DW_OP_GELU:
    case DW_OP_SILU:
    case DW_OP_RELU:
    case DW_OP_TANH:
    case DW_OP_SIGMOID:
    case DW_OP_EXP:
    case DW_OP_SQRT:
    case DW_OP_SQR:
    case DW_OP_NEG:
        return true;
    case DW_OP_SOFTMAX:
        return node->inputs[1] == 0;
    default:
        return false;
    }
}

static size_t part_count(const dw_tensor_graph *graph, const dw__node *node)
{
    size_t count = 1;
    if (!graph->on_cpu || node->op == 0) {
        return 0;
    }
    const int64_t *a_ne = dw__node_of(graph, node->inputs[0])->ne;
    if (goes_by_rows(node)) {
        (void)dw__cut_rows(node->ne, &count);
        return count > 1 ? count : 0;
    }
    if (node->op != DW_OP_MATMUL && node->op != DW_OP_ATTENTION) {
        return 0;
    }
    const int64_t *b_ne = dw__node_of(graph, node->inputs[1])->ne;
    if (node->op == DW_OP_MATMUL) {
        return product_parts(a_ne, b_ne);
    }
    /* Of attention: keys with queries; then values, turned, with weights. */
    const int64_t turned[] = {b_ne[1], b_ne[0], b_ne[2], b_ne[3]};
    const int64_t weights[] = {b_ne[1], a_ne[1], a_ne[2], a_ne[3]};
    return product_parts(b_ne, a_ne) + product_parts(turned, weights);
}

/* Inputs come before their users, so one pass backwards finds all that outputs depend on; the
 * tensors and parts that building them takes are counted. */
static size_t mark_needed(dw_tensor_graph *graph, size_t *parts)
{
    size_t tensors = 0;
    for (int32_t i = 0; i < graph->count; i++) {
        dw__node *node = &graph->nodes[i];
        node->needed = node->op != 0 && node->placed;
        node->tensor = NULL;
        node->dense = NULL;
        node->outcome = NULL;
    }
    for (int32_t i = graph->count - 1; i >= 0; i--) {
        const dw__node *node = &graph->nodes[i];
        if (!node->needed) {
            continue;
        }
        size_t count = part_count(graph, node);
        *parts += count;
        tensors += 3 * count;
        tensors += node->op == DW_OP_ATTENTION ? TENSORS_PER_ATTENTION
                   : node->op == DW_OP_SUM     ? TENSORS_PER_SUM
                                               : TENSORS_PER_NODE;
        for (int input = 0; input < DW__INPUTS; input++) {
            if (node->inputs[input] != 0) {
                dw__node_of(graph, node->inputs[input])->needed = true;
            }
        }
    }
    return tensors;
}

static dw_status make_context(builder *at, size_t tensors)
{
    dw__built *built = at->built;
    size_t bytes = tensors * ggml_tensor_overhead() + ggml_graph_overhead_custom(tensors, false);
    size_t count = (size_t)at->graph->count;
    if (bytes > at->scratch_bytes_max) {
        return dw_fail(at->err, DW_E_LIMIT,
                       "graph: %zu bytes for its %zu nodes, limit %zu of scratch memory", bytes,
                       tensors, at->scratch_bytes_max);
    }
    built->context_memory = dw_alloc(1, bytes);
    built->checks = dw_alloc(count, sizeof *built->checks);
    built->masks = dw_alloc(count, sizeof *built->masks);
    if (built->context_memory == NULL || built->checks == NULL || built->masks == NULL) {
        return dw_fail(at->err, DW_E_MEMORY, "no memory for a graph of %zu tensors", count);
    }
    struct ggml_init_params params = {
        .mem_size = bytes, .mem_buffer = built->context_memory, .no_alloc = true};
    built->context = ggml_init(params);
    built->cgraph = ggml_new_graph_custom(built->context, tensors, false);
    built->scratch_bytes = bytes;
    at->context = built->context;
    return DW_OK;
}

static dw_status take_scratch(builder *at, size_t bytes, const char *what)
{
    size_t sum;
    if (!dw_add_size(&sum, at->built->scratch_bytes, bytes) || sum > at->scratch_bytes_max) {
        return dw_fail(at->err, DW_E_LIMIT,
                       "graph: %zu bytes for %s and %zu so far, limit %zu of scratch memory", bytes,
                       what, at->built->scratch_bytes, at->scratch_bytes_max);
    }
    /* Memory of ggml's; the rest has dw_alloc seen. */
    dw_status status = dw_account_charge(dw_account_entered(), DW_PART_GRAPHS, bytes, at->err);
    if (status != DW_OK) {
        return status;
    }
    if (at->built->payer == NULL) {
        at->built->payer = dw_account_ref(dw_account_entered());
    }
    at->built->charged_bytes += bytes;
    at->built->scratch_bytes = sum;
    return DW_OK;
}

/* ---- inputs of operations ---- */

/* The node's values with ordinary strides. Kernels assert strides even of sizes of 1, so a tensor
 * that is contiguous but oddly labelled gets a reshape, which costs nothing. GPUs want vectors
 * aligned, which a view that starts in the middle of a row is not. */
static struct ggml_tensor *dense(builder *at, int32_t number)
{
    dw__node *node = dw__node_of(at->graph, number);
    if (node->dense != NULL) {
        return node->dense;
    }
    bool aligned = at->graph->on_cpu || node->root_offset % DW_TENSOR_ALIGN == 0;
    if (aligned && dw__node_ordinary(node)) {
        node->dense = node->tensor;
    } else if (aligned && dw__node_contiguous(node)) {
        node->dense = ggml_reshape_4d(at->context, node->tensor, node->ne[0], node->ne[1],
                                      node->ne[2], node->ne[3]);
    } else {
        node->dense = ggml_cont(at->context, node->tensor);
    }
    return node->dense;
}

static struct ggml_tensor *input(builder *at, const dw__node *node, int index)
{
    return node->inputs[index] != 0 ? dense(at, node->inputs[index]) : NULL;
}

/* ---- operations ---- */

static struct ggml_tensor *emit_binary(builder *at, const dw__node *node)
{
    struct ggml_tensor *a = input(at, node, 0);
    struct ggml_tensor *b = input(at, node, 1);
    switch (node->op) {
    case DW_OP_ADD:
        return ggml_add(at->context, a, b);
    case DW_OP_SUB:
        return ggml_sub(at->context, a, b);
    case DW_OP_MUL:
        return ggml_mul(at->context, a, b);
    default:
        return ggml_div(at->context, a, b);
    }
}

/* GPU backends give a whole sum to one group of threads, which is slow, and wrong where a driver
 * bounds a shader's loops (Mesa's llvmpipe: 65,536 rounds). So: sums of rows, then their sum. */
static struct ggml_tensor *emit_sum(builder *at, struct ggml_tensor *a)
{
    struct ggml_tensor *tails = NULL;
    while (!at->graph->on_cpu && ggml_nelements(a) > SUM_ROW) {
        const size_t row_bytes = SUM_ROW * sizeof(float);
        int64_t rows = ggml_nelements(a) / SUM_ROW;
        int64_t over = ggml_nelements(a) % SUM_ROW;
        if (over > 0) {
            struct ggml_tensor *tail =
                ggml_sum(at->context, ggml_view_1d(at->context, a, over, (size_t)rows * row_bytes));
            tails = tails != NULL ? ggml_add(at->context, tails, tail) : tail;
        }
        a = ggml_sum_rows(at->context, ggml_view_2d(at->context, a, SUM_ROW, rows, row_bytes, 0));
    }
    struct ggml_tensor *sum = ggml_sum(at->context, a);
    return tails != NULL ? ggml_add(at->context, tails, sum) : sum;
}

/* A dw__row_operation; `user` is the node. */
static struct ggml_tensor *row_node(struct ggml_context *context, struct ggml_tensor *a,
                                    const void *user)
{
    const dw__node *node = user;
    const dw_op_params *p = &node->params;
    switch (node->op) {
    case DW_OP_SCALE:
        return ggml_scale_bias(context, a, p->f[0], p->f[1]);
    case DW_OP_SOFTMAX:
        return ggml_soft_max_ext(context, a, NULL, p->f[0] != 0.0f ? p->f[0] : 1.0f, 0.0f);
    case DW_OP_RMS_NORM:
        return ggml_rms_norm(context, a, p->f[0]);
    case DW_OP_NORM:
        return ggml_norm(context, a, p->f[0]);
    case DW_OP_GELU:
        return ggml_gelu_erf(context, a); /* ggml_gelu goes through a table of halves */
    case DW_OP_SILU:
        return ggml_silu(context, a);
    case DW_OP_RELU:
        return ggml_relu(context, a);
    case DW_OP_TANH:
        return ggml_tanh(context, a);
    case DW_OP_SIGMOID:
        return ggml_sigmoid(context, a);
    case DW_OP_EXP:
        return ggml_exp(context, a);
    case DW_OP_SQRT:
        return ggml_sqrt(context, a);
    case DW_OP_SQR:
        return ggml_sqr(context, a);
    default:
        DW_ASSERT(node->op == DW_OP_NEG);
        return ggml_neg(context, a);
    }
}

static struct ggml_tensor *emit_by_rows(builder *at, const dw__node *node)
{
    size_t count = 1;
    int64_t rows = dw__cut_rows(node->ne, &count);
    struct ggml_tensor *a = input(at, node, 0);
    if (!at->graph->on_cpu || count <= 1) {
        return row_node(at->context, a, node);
    }
    const dw__parts parts = {.context = at->context, .built = at->built};
    return dw__rows_in_parts(&parts, rows, a, row_node, node);
}

static struct ggml_tensor *emit_reduction(builder *at, const dw__node *node)
{
    struct ggml_tensor *a = input(at, node, 0);
    switch (node->op) {
    case DW_OP_SUM:
        return emit_sum(at, a);
    case DW_OP_SUM_ROWS:
        return ggml_sum_rows(at->context, a);
    case DW_OP_MEAN:
        return ggml_mean(at->context, a);
    default:
        DW_ASSERT(node->op == DW_OP_ARGMAX);
        return ggml_argmax(at->context, a);
    }
}

static struct ggml_tensor *emit_view(builder *at, const dw__node *node)
{
    const dw__node *source = dw__node_of(at->graph, node->inputs[0]);
    struct ggml_tensor *a = source->tensor;
    const int64_t *ne = node->ne;
    const int32_t *p = node->params.i;
    if (node->op == DW_OP_TRANSPOSE) {
        return ggml_transpose(at->context, a);
    }
    if (node->op == DW_OP_PERMUTE) {
        return ggml_permute(at->context, a, p[0], p[1], p[2], p[3]);
    }
    if (node->op == DW_OP_RESHAPE) {
        return ggml_reshape_4d(at->context, a, ne[0], ne[1], ne[2], ne[3]);
    }
    size_t offset = node->root_offset - source->root_offset;
    struct ggml_tensor *view = ggml_view_4d(at->context, a, ne[0], ne[1], ne[2], ne[3], node->nb[1],
                                            node->nb[2], node->nb[3], offset);
    view->nb[0] = node->nb[0]; /* of a transposed source; ggml_view_4d has no argument for it */
    return view;
}

static struct ggml_tensor *emit_matmul(builder *at, struct ggml_tensor *a, struct ggml_tensor *b)
{
    dw__product_cut cut = dw__cut_product(a->ne, b->ne);
    if (at->graph->on_cpu && cut.count > 1) {
        const dw__parts parts = {.context = at->context, .built = at->built};
        return dw__product_in_parts(&parts, &cut, a, b);
    }
    struct ggml_tensor *product = ggml_mul_mat(at->context, a, b);
    (void)ggml_prec_set_acc(product, GGML_PREC_F32); /* CUDA sums halves in halves otherwise */
    return product;
}

static void add_check(builder *at, const dw__node *node, int32_t number, int64_t limit)
{
    const dw__node *index = dw__node_of(at->graph, node->inputs[1]);
    if (dw__node_of(at->graph, index->root)->op == 0) {
        at->built->checks[at->built->check_count++] =
            (dw__index_check){.node = node->inputs[1], .consumer = number, .limit = limit};
    }
}

static struct ggml_tensor *emit_rope(builder *at, const dw__node *node, int32_t number)
{
    const dw_op_params *p = &node->params;
    float base = p->f[0] != 0.0f ? p->f[0] : 10000.0f;
    float scale = p->f[1] != 0.0f ? p->f[1] : 1.0f;
    add_check(at, node, number, (int64_t)INT32_MAX + 1);
    return ggml_rope_ext(at->context, input(at, node, 0), input(at, node, 1), NULL, p->i[0],
                         p->i[1], 0, base, scale, 0.0f, 1.0f, 32.0f, 1.0f);
}

/* ---- attention ---- */

static dw_status fill_causal_mask(builder *at, struct ggml_tensor *mask)
{
    int64_t keys = mask->ne[0];
    int64_t queries = mask->ne[1];
    float *row = dw_alloc((size_t)keys, sizeof *row);
    if (row == NULL) {
        return dw_fail(at->err, DW_E_MEMORY, "no memory for a mask of %lld keys", (long long)keys);
    }
    dw_status status = DW_OK;
    for (int64_t query = 0; query < queries && status == DW_OK; query++) {
        for (int64_t key = 0; key < keys; key++) {
            row[key] = key <= query + keys - queries ? 0.0f : -INFINITY;
        }
        status = dw_device_tensor_set(at->graph->device, mask, row, (size_t)query * mask->nb[1],
                                      mask->nb[1], at->err);
    }
    dw_free(row);
    return status;
}

/* A mask as a tensor of its own rather than ggml's DIAG_MASK_INF: not every device has that. It
 * is made once, and shared by all attentions of its shape. */
static dw_status causal_mask(builder *at, int64_t keys, int64_t queries, struct ggml_tensor **out)
{
    dw__built *built = at->built;
    for (size_t i = 0; i < built->mask_count; i++) {
        *out = built->masks[i].tensor;
        if ((*out)->ne[0] == keys && (*out)->ne[1] == queries) {
            return DW_OK;
        }
    }
    struct ggml_tensor *mask = ggml_new_tensor_2d(at->context, GGML_TYPE_F32, keys, queries);
    ggml_backend_buffer_type_t type = dw_device_buffer_type(at->graph->device);
    size_t bytes = ggml_backend_buft_get_alloc_size(type, mask);
    dw_status status = take_scratch(at, bytes, "a causal mask");
    if (status != DW_OK) {
        return status;
    }
    ggml_backend_buffer_t buffer = NULL;
    status = dw_device_buffer_create(&buffer, at->graph->device, DW_USE_WORK, bytes, at->err);
    if (status != DW_OK) {
        return dw_fail_within(at->err, status, "a mask of %lld keys", (long long)keys);
    }
    built->masks[built->mask_count++] = (dw__causal_mask){.tensor = mask, .buffer = buffer};
    if (ggml_backend_tensor_alloc(buffer, mask, ggml_backend_buffer_get_base(buffer)) !=
        GGML_STATUS_SUCCESS) {
        return dw_fail(at->err, DW_E_DEVICE, "the device refused a mask of %zu bytes", bytes);
    }
    *out = mask;
    return fill_causal_mask(at, mask);
}

static struct ggml_tensor *as_f32(builder *at, struct ggml_tensor *tensor)
{
    return tensor->type == GGML_TYPE_F32 ? tensor : ggml_cast(at->context, tensor, GGML_TYPE_F32);
}

/* Scores and values in F32 throughout; ggml's flash attention wants its mask and, on some
 * devices, its keys in halves. */
static dw_status emit_attention(builder *at, const dw__node *node, struct ggml_tensor **out)
{
    struct ggml_context *context = at->context;
    struct ggml_tensor *q = input(at, node, 0);             /* [head_dim, queries, heads] */
    struct ggml_tensor *k = as_f32(at, input(at, node, 1)); /* [head_dim, keys, kv_heads] */
    struct ggml_tensor *v = as_f32(at, input(at, node, 2)); /* the same */
    struct ggml_tensor *mask = input(at, node, 3);          /* [keys, queries] or NULL */
    float scale = node->params.f[0] != 0.0f ? node->params.f[0] : 1.0f / sqrtf((float)q->ne[0]);
    if (node->params.i[0] == 1) {
        struct ggml_tensor *causal = NULL;
        dw_status status = causal_mask(at, k->ne[1], q->ne[1], &causal);
        if (status != DW_OK) {
            return status;
        }
        mask = mask != NULL ? ggml_add(context, mask, causal) : causal;
    }
    struct ggml_tensor *scores = emit_matmul(at, k, q); /* [keys, queries, heads] */
    struct ggml_tensor *weights = ggml_soft_max_ext(context, scores, mask, scale, 0.0f);
    struct ggml_tensor *turned = ggml_cont(context, ggml_transpose(context, v));
    struct ggml_tensor *values = emit_matmul(at, turned, weights); /* [head_dim, queries, heads] */
    *out = ggml_cont(context, ggml_permute(context, values, 0, 2, 1, 3));
    return DW_OK;
}

static struct ggml_tensor *emit_softmax(builder *at, const dw__node *node)
{
    float scale = node->params.f[0] != 0.0f ? node->params.f[0] : 1.0f;
    return ggml_soft_max_ext(at->context, input(at, node, 0), input(at, node, 1), scale, 0.0f);
}

/* ---- one node ---- */

static dw_status emit_op(builder *at, const dw__node *node, int32_t number,
                         struct ggml_tensor **out)
{
    const int64_t *ne = node->ne;
    const dw_op_params *p = &node->params;
    struct ggml_context *context = at->context;
    if (goes_by_rows(node)) {
        *out = emit_by_rows(at, node);
        return DW_OK;
    }
    switch (node->op) {
    case DW_OP_MATMUL:
        *out = emit_matmul(at, input(at, node, 0), input(at, node, 1));
        return DW_OK;
    case DW_OP_ADD:
    case DW_OP_SUB:
    case DW_OP_MUL:
    case DW_OP_DIV:
        *out = emit_binary(at, node);
        return DW_OK;
    case DW_OP_SOFTMAX:
        *out = emit_softmax(at, node);
        return DW_OK;
    case DW_OP_TRANSPOSE:
    case DW_OP_PERMUTE:
    case DW_OP_RESHAPE:
    case DW_OP_VIEW:
        *out = emit_view(at, node);
        return DW_OK;
    case DW_OP_CONT:
        *out = ggml_cont(context, input(at, node, 0));
        return DW_OK;
    case DW_OP_CONVERT:
        *out = ggml_cast(context, input(at, node, 0), (enum ggml_type)node->type);
        return DW_OK;
    case DW_OP_GET_ROWS:
        add_check(at, node, number, dw__node_of(at->graph, node->inputs[0])->ne[1]);
        *out = ggml_get_rows(context, input(at, node, 0), input(at, node, 1));
        return DW_OK;
    case DW_OP_ROPE:
        *out = emit_rope(at, node, number);
        return DW_OK;
    case DW_OP_ATTENTION:
        return emit_attention(at, node, out);
    case DW_OP_CONCAT:
        *out = ggml_concat(context, input(at, node, 0), input(at, node, 1), p->i[0]);
        return DW_OK;
    case DW_OP_REPEAT:
        *out = ggml_repeat_4d(context, input(at, node, 0), ne[0], ne[1], ne[2], ne[3]);
        return DW_OK;
    default:
        *out = emit_reduction(at, node);
        return DW_OK;
    }
}

static dw_status emit_node(builder *at, int32_t number)
{
    dw__node *node = dw__node_of(at->graph, number);
    if (node->op == 0) {
        node->tensor =
            ggml_new_tensor(at->context, (enum ggml_type)node->type, DW_MAX_DIMS, node->ne);
        node->outcome = node->tensor;
        return DW_OK;
    }
    struct ggml_tensor *tensor = NULL;
    dw_status status = emit_op(at, node, number, &tensor);
    if (status != DW_OK) {
        return status;
    }
    node->tensor = tensor;
    DW_ASSERT(memcmp(tensor->ne, node->ne, sizeof node->ne) == 0 &&
              (int32_t)tensor->type == node->type);
    /* Expanded node by node: ggml walks back recursively, here never deeper than one node. */
    ggml_build_forward_expand(at->built->cgraph, tensor);
    if (node->placed) {
        node->outcome = dw__op_is_view(node->op) ? ggml_cont(at->context, tensor) : tensor;
        /* Or a backend may fuse it into its user and never write it. */
        ggml_set_output(node->outcome);
        ggml_build_forward_expand(at->built->cgraph, node->outcome);
    }
    return DW_OK;
}

/* ---- places ---- */

dw_status dw__graph_place(dw_tensor_graph *graph, dw_error *err)
{
    unsigned char *base = dw_region_base(graph->region);
    ggml_backend_buffer_t buffer = NULL;
    for (int32_t i = 0; i < graph->count; i++) {
        dw__node *node = &graph->nodes[i];
        if (node->outcome == NULL) {
            continue;
        }
        dw_status status =
            dw_device_view_place(graph->view, node->outcome, base + node->offset, err);
        if (status != DW_OK) {
            return status;
        }
        buffer = node->outcome->buffer;
    }
    struct ggml_context *context = graph->built.context;
    for (struct ggml_tensor *tensor = ggml_get_first_tensor(context); tensor != NULL;
         tensor = ggml_get_next_tensor(context, tensor)) {
        if (tensor->view_src != NULL && tensor->view_src->buffer == buffer) {
            tensor->buffer = NULL;
            tensor->data = NULL;
            if (ggml_backend_view_init(tensor) != GGML_STATUS_SUCCESS) {
                return dw_fail(err, DW_E_DEVICE, "the device refused a view of guest memory");
            }
        }
    }
    dw__parts_place(&graph->built);
    graph->built.view_generation = dw_device_view_generation(graph->view);
    return DW_OK;
}

/* CUDA reads quantised rows in steps of 512 elements and expects cleared bytes behind them: in
 * its own buffers there is room, in the guest's memory other data. */
static dw_status check_padding(const builder *at)
{
    ggml_backend_buffer_type_t type = dw_device_buffer_type(at->graph->device);
    for (int32_t i = 0; i < at->graph->count; i++) {
        const dw__node *node = &at->graph->nodes[i];
        if (node->outcome == NULL) {
            continue;
        }
        size_t wanted = ggml_backend_buft_get_alloc_size(type, node->outcome);
        if (wanted > ggml_nbytes(node->outcome)) {
            return dw_fail(at->err, DW_E_UNSUPPORTED,
                           "%s: reads tensor %d, %s, with %zu bytes of padding, which guest "
                           "memory has not: use rows of a multiple of 512",
                           dw_device_info_of(at->graph->device)->name, i + 1,
                           dw__describe(node).text, wanted - ggml_nbytes(node->outcome));
        }
    }
    return DW_OK;
}

/* One of much work is run in stretches of its nodes, between which others may have their turn. */
static dw_status make_stretch(builder *at)
{
    dw__built *built = at->built;
    size_t nodes = (size_t)ggml_graph_n_nodes(built->cgraph);
    if (!at->graph->on_cpu || (size_t)dw__stretch_end(built->cgraph, 0) == nodes) {
        return DW_OK;
    }
    size_t bytes = ggml_graph_overhead_custom(nodes, false);
    dw_status status = take_scratch(at, bytes, "stretches of it");
    if (status != DW_OK) {
        return status;
    }
    built->stretch_memory = dw_alloc(1, bytes);
    if (built->stretch_memory == NULL) {
        return dw_fail(at->err, DW_E_MEMORY, "no memory for a graph of %zu tensors", nodes);
    }
    struct ggml_init_params params = {
        .mem_size = bytes, .mem_buffer = built->stretch_memory, .no_alloc = true};
    built->stretch_context = ggml_init(params);
    built->stretch = ggml_new_graph_custom(built->stretch_context, nodes, false);
    return DW_OK;
}

static dw_status allocate(builder *at)
{
    dw__built *built = at->built;
    dw_device *device = at->graph->device;
    if (at->graph->on_cpu) {
        struct ggml_cplan plan = ggml_graph_plan(built->cgraph, dw_device_threads(device), NULL);
        dw_status status = take_scratch(at, plan.work_size, "the CPU's work");
        if (status != DW_OK) {
            return status;
        }
    }
    ggml_backend_buffer_type_t type = dw_device_buffer_type(device);
    size_t bytes = 0;
    ggml_gallocr_t measure = ggml_gallocr_new(type); /* it counts, and takes nothing */
    ggml_gallocr_reserve_n_size(measure, built->cgraph, NULL, NULL, &bytes);
    ggml_gallocr_free(measure);
    dw_status status = take_scratch(at, bytes, "intermediate results");
    if (status != DW_OK) {
        return status;
    }
    status = dw_device_graph_allocate(&built->allocator, device, built->cgraph, at->err);
    if (status != DW_OK) {
        return dw_fail_within(at->err, status, "%zu bytes of intermediate results", bytes);
    }
    dw__parts_place(built);
    return make_stretch(at);
}

dw_status dw__graph_build(dw_tensor_graph *graph, size_t scratch_bytes_max, dw_error *err)
{
    builder at = {
        .graph = graph, .built = &graph->built, .scratch_bytes_max = scratch_bytes_max, .err = err};
    size_t parts = 0;
    size_t tensors = mark_needed(graph, &parts);
    dw_status status = make_context(&at, tensors);
    if (status == DW_OK) {
        status = dw__parts_reserve(&graph->built, parts, err);
    }
    for (int32_t number = 1; number <= graph->count && status == DW_OK; number++) {
        if (dw__node_of(graph, number)->needed) {
            status = emit_node(&at, number);
        }
    }
    if (status == DW_OK) {
        status = check_padding(&at);
    }
    if (status == DW_OK) {
        status = dw_device_check_graph(graph->device, graph->built.cgraph, err);
    }
    if (status == DW_OK) {
        status = dw__graph_place(graph, err);
    }
    return status != DW_OK ? status : allocate(&at);
}

void dw__built_release(dw__built *built, dw_device *device)
{
    dw_device_graph_free(device, built->allocator);
    for (size_t i = 0; i < built->mask_count; i++) {
        dw_device_buffer_destroy(device, DW_USE_WORK, built->masks[i].buffer);
    }
    if (built->context != NULL) {
        ggml_free(built->context);
    }
    if (built->stretch_context != NULL) {
        ggml_free(built->stretch_context);
    }
    dw_account_give(built->payer, DW_PART_GRAPHS, built->charged_bytes);
    dw_account_unref(built->payer);
    dw_free(built->context_memory);
    dw_free(built->stretch_memory);
    dw_free(built->checks);
    dw_free(built->masks);
    dw_free(built->parts);
    *built = (dw__built){0};
}
