/* What each operation accepts and what it gives: the one place that knows. The comments at dw_op
 * in guest/driftwood_abi.h are the specification. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "tensor/tensor_ops.h"

#define BIT(type) (UINT32_C(1) << (type))
#define F32 BIT(DW_F32)
#define I32 BIT(DW_I32)
#define HALVES (BIT(DW_F16) | BIT(DW_BF16))
#define FLOATS (F32 | HALVES)
/* Blocks of 32 with a scale each: the device can make them as well as read them. */
#define SIMPLE_QUANTS (BIT(DW_Q4_0) | BIT(DW_Q4_1) | BIT(DW_Q5_0) | BIT(DW_Q5_1) | BIT(DW_Q8_0))
#define QUANTS                                                                                     \
    (SIMPLE_QUANTS | BIT(DW_Q2_K) | BIT(DW_Q3_K) | BIT(DW_Q4_K) | BIT(DW_Q5_K) | BIT(DW_Q6_K))
#define ANY (FLOATS | I32 | QUANTS)

/* dw_type's numbers are ggml's. */
_Static_assert((int)DW_F32 == (int)GGML_TYPE_F32 && (int)DW_F16 == (int)GGML_TYPE_F16 &&
                   (int)DW_I32 == (int)GGML_TYPE_I32 && (int)DW_BF16 == (int)GGML_TYPE_BF16,
               "element types");
_Static_assert((int)DW_Q4_0 == (int)GGML_TYPE_Q4_0 && (int)DW_Q4_1 == (int)GGML_TYPE_Q4_1 &&
                   (int)DW_Q5_0 == (int)GGML_TYPE_Q5_0 && (int)DW_Q5_1 == (int)GGML_TYPE_Q5_1 &&
                   (int)DW_Q8_0 == (int)GGML_TYPE_Q8_0,
               "quantised types");
_Static_assert((int)DW_Q2_K == (int)GGML_TYPE_Q2_K && (int)DW_Q3_K == (int)GGML_TYPE_Q3_K &&
                   (int)DW_Q4_K == (int)GGML_TYPE_Q4_K && (int)DW_Q5_K == (int)GGML_TYPE_Q5_K &&
                   (int)DW_Q6_K == (int)GGML_TYPE_Q6_K,
               "K types");
_Static_assert(sizeof(dw_op_params) == 64 && sizeof(dw_shape) == 24, "ABI structs");

bool dw__type_known(int32_t type)
{
    return type >= 0 && type < 32 && (ANY & BIT(type)) != 0;
}

bool dw__op_is_view(int32_t op)
{
    return op == DW_OP_TRANSPOSE || op == DW_OP_PERMUTE || op == DW_OP_RESHAPE || op == DW_OP_VIEW;
}

/* ---- results, one function a kind of operation ---- */

typedef struct inference {
    const dw_tensor_graph *graph;
    const char *name; /* the operation's */
    const dw__node *in[DW__INPUTS];
    dw__node *node;
    dw_error *err;
} inference;

static dw_status two_shapes(const inference *at, const char *rule)
{
    return dw_fail(at->err, DW_E_SHAPE, "%s: %s and %s: %s", at->name, dw__describe(at->in[0]).text,
                   dw__describe(at->in[1]).text, rule);
}

static dw_status result(const inference *at, int32_t type, int64_t ne0, int64_t ne1, int64_t ne2,
                        int64_t ne3)
{
    return dw__node_shape(at->node, at->name, type, (int64_t[DW_MAX_DIMS]){ne0, ne1, ne2, ne3},
                          at->err);
}

static dw_status like_a(const inference *at)
{
    return dw__node_shape(at->node, at->name, at->in[0]->type, at->in[0]->ne, at->err);
}

static bool repeats_into(const dw__node *small, const int64_t *ne)
{
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        if (ne[i] % small->ne[i] != 0) {
            return false;
        }
    }
    return true;
}

static dw_status infer_binary(const inference *at)
{
    if (!repeats_into(at->in[1], at->in[0]->ne)) {
        return two_shapes(at, "the second's sizes must divide the first's");
    }
    return like_a(at);
}

static dw_status infer_matmul(const inference *at)
{
    const int64_t *a = at->in[0]->ne;
    const int64_t *b = at->in[1]->ne;
    if (a[0] != b[0]) {
        return two_shapes(at, "their first sizes must be equal");
    }
    if (b[2] % a[2] != 0 || b[3] % a[3] != 0) {
        return two_shapes(at, "the first's outer sizes must divide the second's");
    }
    return result(at, GGML_TYPE_F32, a[1], b[1], b[2], b[3]);
}

static dw_status infer_softmax(const inference *at)
{
    const dw__node *mask = at->in[1];
    if (mask != NULL) {
        const int64_t *a = at->in[0]->ne;
        if (mask->ne[0] != a[0] || mask->ne[1] != a[1] || a[2] % mask->ne[2] != 0 ||
            a[3] % mask->ne[3] != 0) {
            return two_shapes(at, "a mask has the same first two sizes, and outer ones that "
                                  "divide");
        }
    }
    return like_a(at);
}

static dw_status infer_norm(const inference *at)
{
    float epsilon = at->node->params.f[0];
    if (epsilon < 0.0f) {
        return dw_fail(at->err, DW_E_RANGE, "%s: epsilon (f[0]) is %g, must be 0 or more", at->name,
                       (double)epsilon);
    }
    return like_a(at);
}

static dw_status infer_sum(const inference *at)
{
    return result(at, GGML_TYPE_F32, 1, 1, 1, 1);
}

static dw_status infer_over_rows(const inference *at)
{
    const int64_t *a = at->in[0]->ne;
    return result(at, GGML_TYPE_F32, 1, a[1], a[2], a[3]);
}

static dw_status infer_argmax(const inference *at)
{
    const int64_t *a = at->in[0]->ne;
    if (a[2] != 1 || a[3] != 1) {
        return dw_fail(at->err, DW_E_SHAPE, "%s: %s has more than two sizes", at->name,
                       dw__describe(at->in[0]).text);
    }
    return result(at, GGML_TYPE_I32, a[1], 1, 1, 1);
}

/* ---- views: the input's bytes under other sizes and strides ---- */

static void become_view(const inference *at, size_t byte_offset)
{
    at->node->type = at->in[0]->type;
    at->node->root = at->in[0]->root;
    at->node->root_offset = at->in[0]->root_offset + byte_offset;
}

static dw_status permute_axes(const inference *at, const int32_t *to)
{
    const dw__node *a = at->in[0];
    unsigned seen = 0;
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        if (to[i] < 0 || to[i] >= DW_MAX_DIMS || (seen & (1u << to[i])) != 0) {
            return dw_fail(at->err, DW_E_ARG,
                           "%s: axes %d, %d, %d, %d: each of 0 to 3 must stand once", at->name,
                           to[0], to[1], to[2], to[3]);
        }
        seen |= 1u << to[i];
    }
    if (to[0] != 0 && ggml_is_quantized((enum ggml_type)a->type)) {
        return dw_fail(at->err, DW_E_TYPE, "%s: the rows of %s are blocks and cannot be turned",
                       at->name, dw__describe(a).text);
    }
    become_view(at, 0);
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        at->node->ne[to[i]] = a->ne[i];
        at->node->nb[to[i]] = a->nb[i];
    }
    return DW_OK;
}

static dw_status infer_transpose(const inference *at)
{
    return permute_axes(at, (const int32_t[]){1, 0, 2, 3});
}

static dw_status infer_permute(const inference *at)
{
    return permute_axes(at, at->node->params.i);
}

static dw_status infer_reshape(const inference *at)
{
    const dw__node *a = at->in[0];
    const int32_t *to = at->node->params.i;
    if (!dw__node_contiguous(a)) {
        return dw_fail(at->err, DW_E_SHAPE, "%s: %s is not contiguous: use CONT first", at->name,
                       dw__describe(a).text);
    }
    dw_status status = result(at, a->type, to[0], to[1], to[2], to[3]);
    if (status != DW_OK) {
        return status;
    }
    if (dw__node_elements(at->node) != dw__node_elements(a)) {
        return dw_fail(at->err, DW_E_SHAPE,
                       "%s: %s has %" PRId64 " elements, [%d, %d, %d, %d] %" PRId64, at->name,
                       dw__describe(a).text, dw__node_elements(a), to[0], to[1], to[2], to[3],
                       dw__node_elements(at->node));
    }
    become_view(at, 0);
    return DW_OK;
}

static dw_status infer_view(const inference *at)
{
    const dw__node *a = at->in[0];
    const int32_t *size = at->node->params.i;
    const int32_t *from = at->node->params.i + DW_MAX_DIMS;
    int64_t block = ggml_blck_size((enum ggml_type)a->type);
    size_t byte_offset = 0;
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        if (size[i] < 1 || from[i] < 0 || (int64_t)from[i] + size[i] > a->ne[i]) {
            return dw_fail(at->err, DW_E_RANGE,
                           "%s: %d elements from %d on along axis %d: the tensor is %s", at->name,
                           size[i], from[i], i, dw__describe(a).text);
        }
        byte_offset += (size_t)(i == 0 ? from[i] / block : from[i]) * a->nb[i];
    }
    if (from[0] % block != 0 || size[0] % block != 0) {
        return dw_fail(at->err, DW_E_SHAPE,
                       "%s: %d elements from %d on are not whole blocks of %" PRId64, at->name,
                       size[0], from[0], block);
    }
    become_view(at, byte_offset);
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        at->node->ne[i] = size[i];
        at->node->nb[i] = a->nb[i];
    }
    return DW_OK;
}

static dw_status infer_convert(const inference *at)
{
    const dw__node *a = at->in[0];
    int32_t to = at->node->params.i[0];
    uint32_t allowed = 0;
    if (BIT(a->type) & FLOATS) {
        allowed = FLOATS | SIMPLE_QUANTS | (a->type == DW_F32 ? I32 : 0);
    } else if (a->type == DW_I32) {
        allowed = F32 | I32;
    } else {
        allowed = F32 | BIT(a->type);
    }
    if (!dw__type_known(to)) {
        return dw_fail(at->err, DW_E_TYPE, "%s: %d is not a type", at->name, to);
    }
    if ((allowed & BIT(to)) == 0) {
        return dw_fail(at->err, DW_E_TYPE, "%s: %s cannot become %s", at->name,
                       dw__describe(a).text, ggml_type_name((enum ggml_type)to));
    }
    return dw__node_shape(at->node, at->name, to, a->ne, at->err);
}

/* ---- indices ---- */

/* Values in the region are checked before each run. Those that the device computes
 * cannot be, and ggml's kernels do not look: only ARGMAX's are known to be good, and on the CPU
 * alone (a GPU gives -1 for a row of NaN). */
static dw_status check_indices(const inference *at, const dw__node *index, int64_t limit)
{
    const dw__node *root = dw__node_of(at->graph, index->root);
    if (root->op == 0) {
        return DW_OK;
    }
    if (root->op != DW_OP_ARGMAX || !at->graph->on_cpu) {
        return dw_fail(at->err, DW_E_UNSUPPORTED,
                       "%s: indices must stand in memory; these are computed (%s)", at->name,
                       dw_tensor_op_name(root->op));
    }
    int64_t values = dw__node_of(at->graph, root->inputs[0])->ne[0];
    if (values > limit) {
        return dw_fail(at->err, DW_E_SHAPE,
                       "%s: ARGMAX over %" PRId64 " can name rows beyond %" PRId64, at->name,
                       values, limit);
    }
    return DW_OK;
}

static bool is_list(const dw__node *node)
{
    return node->ne[1] == 1 && node->ne[2] == 1 && node->ne[3] == 1;
}

static dw_status infer_get_rows(const inference *at)
{
    const int64_t *a = at->in[0]->ne;
    if (a[2] != 1 || a[3] != 1 || !is_list(at->in[1])) {
        return two_shapes(at, "needed are [n, rows] and [count]");
    }
    dw_status status = check_indices(at, at->in[1], a[1]);
    return status != DW_OK ? status : result(at, GGML_TYPE_F32, a[0], at->in[1]->ne[0], 1, 1);
}

static dw_status infer_rope(const inference *at)
{
    const dw__node *a = at->in[0];
    const dw_op_params *p = &at->node->params;
    if (!is_list(at->in[1]) || at->in[1]->ne[0] != a->ne[2]) {
        return two_shapes(at, "needed are [head_dim, heads, tokens] and [tokens]");
    }
    if (a->ne[0] % 2 != 0) {
        return dw_fail(at->err, DW_E_SHAPE, "%s: %s: rows must be even", at->name,
                       dw__describe(a).text);
    }
    if (p->i[0] < 2 || p->i[0] % 2 != 0 || p->i[0] > a->ne[0]) {
        return dw_fail(at->err, DW_E_RANGE, "%s: dims (i[0]) is %d, must be even and 2 to %" PRId64,
                       at->name, p->i[0], a->ne[0]);
    }
    if (p->i[1] != GGML_ROPE_TYPE_NORMAL && p->i[1] != GGML_ROPE_TYPE_NEOX) {
        return dw_fail(at->err, DW_E_RANGE, "%s: mode (i[1]) is %d, must be 0 or 2", at->name,
                       p->i[1]);
    }
    if (p->f[0] < 0.0f || p->f[1] < 0.0f) {
        return dw_fail(at->err, DW_E_RANGE,
                       "%s: base (f[0]) %g and scale (f[1]) %g must not be negative", at->name,
                       (double)p->f[0], (double)p->f[1]);
    }
    dw_status status = check_indices(at, at->in[1], INT64_MAX);
    return status != DW_OK ? status : like_a(at);
}

static dw_status infer_attention(const inference *at)
{
    const int64_t *q = at->in[0]->ne;
    const int64_t *k = at->in[1]->ne;
    const int64_t *v = at->in[2]->ne;
    const dw__node *mask = at->in[3];
    const dw_op_params *p = &at->node->params;
    if (q[3] != 1 || k[3] != 1 || v[3] != 1) {
        return two_shapes(at, "only three sizes are allowed");
    }
    if (q[0] != k[0] || q[2] % k[2] != 0) {
        return two_shapes(at, "head_dim must be equal and kv_heads divide heads");
    }
    if (memcmp(k, v, sizeof at->in[1]->ne) != 0) {
        return dw_fail(at->err, DW_E_SHAPE, "%s: keys are %s, values %s: must be alike", at->name,
                       dw__describe(at->in[1]).text, dw__describe(at->in[2]).text);
    }
    if (mask != NULL &&
        (mask->ne[0] != k[1] || mask->ne[1] != q[1] || mask->ne[2] != 1 || mask->ne[3] != 1)) {
        return dw_fail(at->err, DW_E_SHAPE,
                       "%s: the mask is %s, must be [%" PRId64 ", %" PRId64 "]", at->name,
                       dw__describe(mask).text, k[1], q[1]);
    }
    if (p->i[0] != 0 && p->i[0] != 1) {
        return dw_fail(at->err, DW_E_RANGE, "%s: causal (i[0]) is %d, must be 0 or 1", at->name,
                       p->i[0]);
    }
    if (p->i[0] == 1 && q[1] > k[1]) {
        return two_shapes(at, "causal with more queries than keys");
    }
    /* The scores and a causal mask are tensors too. */
    dw__node scores;
    dw_status status = dw__node_shape(&scores, "ATTENTION: scores", GGML_TYPE_F32,
                                      (const int64_t[]){k[1], q[1], q[2], 1}, at->err);
    return status != DW_OK ? status : result(at, GGML_TYPE_F32, q[0], q[2], q[1], 1);
}

static dw_status infer_concat(const inference *at)
{
    const dw__node *a = at->in[0];
    const dw__node *b = at->in[1];
    int32_t axis = at->node->params.i[0];
    if (axis < 0 || axis >= DW_MAX_DIMS) {
        return dw_fail(at->err, DW_E_RANGE, "%s: axis (i[0]) is %d, must be 0 to 3", at->name,
                       axis);
    }
    if (a->type != b->type) {
        return dw_fail(at->err, DW_E_TYPE, "%s: %s and %s: must be of one type", at->name,
                       dw__describe(a).text, dw__describe(b).text);
    }
    int64_t ne[DW_MAX_DIMS];
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        if (i != axis && a->ne[i] != b->ne[i]) {
            return two_shapes(at, "only the joined axis may differ");
        }
        ne[i] = i == axis ? a->ne[i] + b->ne[i] : a->ne[i];
    }
    return dw__node_shape(at->node, at->name, a->type, ne, at->err);
}

static dw_status infer_repeat(const inference *at)
{
    const int32_t *to = at->node->params.i;
    dw_status status = result(at, at->in[0]->type, to[0], to[1], to[2], to[3]);
    if (status == DW_OK && !repeats_into(at->in[0], at->node->ne)) {
        return dw_fail(at->err, DW_E_SHAPE, "%s: [%d, %d, %d, %d] is no multiple of %s", at->name,
                       to[0], to[1], to[2], to[3], dw__describe(at->in[0]).text);
    }
    return status;
}

/* ---- the table ---- */

typedef struct op_rule {
    const char *name;
    int needed;                 /* inputs it must have */
    uint32_t types[DW__INPUTS]; /* allowed of each input; 0: there is no such input */
    unsigned ints;              /* how many of params.i it has */
    unsigned floats;            /* how many of params.f */
    dw_status (*infer)(const inference *at);
} op_rule;

static const op_rule rules[] = {
    [DW_OP_MATMUL] = {"MATMUL", 2, {FLOATS | QUANTS, F32}, 0, 0, infer_matmul},
    [DW_OP_ADD] = {"ADD", 2, {F32, F32}, 0, 0, infer_binary},
    [DW_OP_SUB] = {"SUB", 2, {F32, F32}, 0, 0, infer_binary},
    [DW_OP_MUL] = {"MUL", 2, {F32, F32}, 0, 0, infer_binary},
    [DW_OP_DIV] = {"DIV", 2, {F32, F32}, 0, 0, infer_binary},
    [DW_OP_SCALE] = {"SCALE", 1, {F32}, 0, 2, like_a},
    [DW_OP_SOFTMAX] = {"SOFTMAX", 1, {F32, F32}, 0, 1, infer_softmax},
    [DW_OP_RMS_NORM] = {"RMS_NORM", 1, {F32}, 0, 1, infer_norm},
    [DW_OP_NORM] = {"NORM", 1, {F32}, 0, 1, infer_norm},
    [DW_OP_GELU] = {"GELU", 1, {F32}, 0, 0, like_a},
    [DW_OP_SILU] = {"SILU", 1, {F32}, 0, 0, like_a},
    [DW_OP_RELU] = {"RELU", 1, {F32}, 0, 0, like_a},
    [DW_OP_TANH] = {"TANH", 1, {F32}, 0, 0, like_a},
    [DW_OP_SIGMOID] = {"SIGMOID", 1, {F32}, 0, 0, like_a},
    [DW_OP_EXP] = {"EXP", 1, {F32}, 0, 0, like_a},
    [DW_OP_SQRT] = {"SQRT", 1, {F32}, 0, 0, like_a},
    [DW_OP_SQR] = {"SQR", 1, {F32}, 0, 0, like_a},
    [DW_OP_NEG] = {"NEG", 1, {F32}, 0, 0, like_a},
    [DW_OP_SUM] = {"SUM", 1, {F32}, 0, 0, infer_sum},
    [DW_OP_SUM_ROWS] = {"SUM_ROWS", 1, {F32}, 0, 0, infer_over_rows},
    [DW_OP_MEAN] = {"MEAN", 1, {F32}, 0, 0, infer_over_rows},
    [DW_OP_ARGMAX] = {"ARGMAX", 1, {F32}, 0, 0, infer_argmax},
    [DW_OP_TRANSPOSE] = {"TRANSPOSE", 1, {ANY}, 0, 0, infer_transpose},
    [DW_OP_PERMUTE] = {"PERMUTE", 1, {ANY}, 4, 0, infer_permute},
    [DW_OP_RESHAPE] = {"RESHAPE", 1, {ANY}, 4, 0, infer_reshape},
    [DW_OP_VIEW] = {"VIEW", 1, {ANY}, 8, 0, infer_view},
    [DW_OP_CONT] = {"CONT", 1, {ANY}, 0, 0, like_a},
    [DW_OP_CONVERT] = {"CONVERT", 1, {ANY}, 1, 0, infer_convert},
    [DW_OP_GET_ROWS] = {"GET_ROWS", 2, {FLOATS | QUANTS, I32}, 0, 0, infer_get_rows},
    [DW_OP_ROPE] = {"ROPE", 2, {F32, I32}, 2, 2, infer_rope},
    [DW_OP_ATTENTION] = {"ATTENTION", 3, {F32, FLOATS, FLOATS, F32}, 1, 1, infer_attention},
    [DW_OP_CONCAT] = {"CONCAT", 2, {FLOATS | I32, FLOATS | I32}, 1, 0, infer_concat},
    [DW_OP_REPEAT] = {"REPEAT", 1, {FLOATS | I32}, 4, 0, infer_repeat},
};

static const op_rule *rule_of(int32_t op)
{
    bool known = op > 0 && (size_t)op < sizeof rules / sizeof rules[0] && rules[op].infer != NULL;
    return known ? &rules[op] : NULL;
}

const char *dw_tensor_op_name(int32_t op)
{
    const op_rule *rule = rule_of(op);
    return rule != NULL ? rule->name : "?";
}

static dw_status check_inputs(const op_rule *rule, const dw__node *node, inference *at)
{
    for (int i = 0; i < DW__INPUTS; i++) {
        char letter = (char)('a' + i);
        int32_t number = node->inputs[i];
        if (number != 0 && rule->types[i] == 0) {
            return dw_fail(at->err, DW_E_ARG, "%s: has no input %c: %d is given, must be 0",
                           rule->name, letter, number);
        }
        if (number == 0 && i < rule->needed) {
            return dw_fail(at->err, DW_E_ARG, "%s: input %c is missing", rule->name, letter);
        }
        if (number < 0 || number > at->graph->count) {
            return dw_fail(at->err, DW_E_HANDLE, "%s: input %c is tensor %d: there are %d",
                           rule->name, letter, number, at->graph->count);
        }
        at->in[i] = dw__node_of(at->graph, number);
        if (number != 0 && (rule->types[i] & BIT(at->in[i]->type)) == 0) {
            return dw_fail(at->err, DW_E_TYPE, "%s: input %c is %s: not a type for it%s",
                           rule->name, letter, dw__describe(at->in[i]).text,
                           rule->types[i] == F32 ? " (F32 is; CONVERT makes it)" : "");
        }
    }
    return DW_OK;
}

static dw_status check_params(const op_rule *rule, const dw_op_params *params, dw_error *err)
{
    for (unsigned i = 0; i < 8; i++) {
        if (!isfinite(params->f[i])) {
            return dw_fail(err, DW_E_NUMERIC, "%s: parameter f[%u] is %g", rule->name, i,
                           (double)params->f[i]);
        }
        if (i >= rule->ints && params->i[i] != 0) {
            return dw_fail(err, DW_E_ARG, "%s: has no parameter i[%u]: %d is given, must be 0",
                           rule->name, i, params->i[i]);
        }
        if (i >= rule->floats && params->f[i] != 0.0f) {
            return dw_fail(err, DW_E_ARG, "%s: has no parameter f[%u]: %g is given, must be 0",
                           rule->name, i, (double)params->f[i]);
        }
    }
    return DW_OK;
}

dw_status dw__op_infer(const dw_tensor_graph *graph, dw__node *node, dw_error *err)
{
    const op_rule *rule = rule_of(node->op);
    if (rule == NULL) {
        return dw_fail(err, DW_E_ARG, "no operation %d: there are 1 to %zu", node->op,
                       sizeof rules / sizeof rules[0] - 1);
    }
    inference at = {.graph = graph, .name = rule->name, .node = node, .err = err};
    dw_status status = check_inputs(rule, node, &at);
    if (status == DW_OK) {
        status = check_params(rule, &node->params, err);
    }
    return status != DW_OK ? status : rule->infer(&at);
}
