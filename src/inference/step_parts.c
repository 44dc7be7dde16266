#include "inference/step_parts.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "model/adapter_product.h"

/* Multiplications in a part for each thread: one to six milliseconds', by the weights' type. What a
 * part costs beside them was 13 us: 0.8 in a hundred of a prompt's processor time (135 million
 * weights of Q4_1, 512 tokens, one thread). */
#define PART_WORK (UINT64_C(1) << 27)
/* An element of operations that are not products counts as so many: it takes about a nanosecond. */
#define ELEMENT_WORK 32u
/* Products of ggml's are cut into multiples of so many columns, and a rest of fewer than the other
 * goes with those before it: with fewer it takes another way, whose last bits differ. */
#define COLUMNS 64
#define COLUMNS_MIN 16
/* Products with experts are cut into so many of their rows: how many columns each of these has is
 * what decides which way ggml takes. All columns are converted for each part, so parts are larger:
 * that is two in a hundred of their time. */
#define EXPERT_ROWS 64
#define EXPERT_PARTS 8
#define SOURCES_MAX 4

/* How a large node is cut. */
typedef enum cut_kind {
    WHOLE,
    PRODUCT, /* ours: units, as the next two */
    ATTENTION,
    SCATTER,
    COLUMN, /* ggml's product: columns */
    ROW,    /* along the second dimension: each comes of the same row of its sources alone */
    SLAB,   /* likewise along the third */
    EXPERT, /* rows of the experts' matrices */
} cut_kind;

typedef struct cut_node {
    uint64_t work; /* of attention: it depends on the run */
    cut_kind kind;
} cut_node;

struct dw_step_parts {
    struct ggml_context *ggml;
    struct ggml_cgraph *stretch; /* has room for all nodes of the graph */
    cut_node *nodes;             /* [nodes of the graph] */
    /* Some rows of a node, and of what it is made from. */
    struct ggml_tensor node;
    struct ggml_tensor sources[SOURCES_MAX];
};

/* One part. */
typedef struct part {
    dw_step_graph *graph;
    const dw_device_run_options *options;
} part;

static uint64_t part_work = PART_WORK;
static _Atomic uint64_t most_work;

void dw__step_set_part_work(uint64_t work)
{
    part_work = work > 0 ? work : PART_WORK;
}

uint64_t dw__step_take_most_work(void)
{
    return atomic_exchange(&most_work, 0);
}

static uint64_t part_work_of(const dw_step_graph *graph)
{
    return part_work < UINT64_MAX / 2 ? part_work * (uint64_t)dw_device_threads(graph->device)
                                      : part_work;
}

static void note_work(uint64_t work)
{
    uint64_t most = atomic_load_explicit(&most_work, memory_order_relaxed);
    while (work > most && !atomic_compare_exchange_weak(&most_work, &most, work)) {}
}

void dw__step_parts_destroy(dw_step_parts *parts)
{
    if (parts == NULL) {
        return;
    }
    if (parts->ggml != NULL) {
        ggml_free(parts->ggml);
    }
    dw_free(parts->nodes);
    dw_free(parts);
}

/* ---- nodes ---- */

/* Of what is there already. */
static bool names_only(const struct ggml_tensor *node)
{
    return node->op == GGML_OP_NONE || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_VIEW ||
           node->op == GGML_OP_PERMUTE || node->op == GGML_OP_TRANSPOSE;
}

/* Whether `source`, which may be NULL, goes with the node along its last dimension, or is the same
 * for all of that. */
static bool goes_along(const struct ggml_tensor *node, const struct ggml_tensor *source, int along)
{
    return source == NULL || (source->ne[3] == 1 && (along == 2 || source->ne[2] == 1) &&
                              (source->ne[along] == node->ne[along] || source->ne[along] == 1));
}

/* Along which dimension each part of the node comes of the same of its sources alone; 0: none. */
static int dimension_of(const struct ggml_tensor *node)
{
    const int along = node->ne[2] > 1 ? 2 : 1;
    switch (node->op) {
    case GGML_OP_ADD:
    case GGML_OP_MUL:
    case GGML_OP_SCALE:
    case GGML_OP_NORM:
    case GGML_OP_RMS_NORM:
    case GGML_OP_UNARY:
    case GGML_OP_GLU:
        return node->ne[along] > 1 && node->ne[3] == 1 && goes_along(node, node->src[0], along) &&
                       goes_along(node, node->src[1], along)
                   ? along
                   : 0;
    default:
        return 0;
    }
}

static cut_kind kind_of(const dw_step_graph *graph, const struct ggml_tensor *node, uint64_t *work)
{
    const struct ggml_tensor *with = node->src[0];
    const uint64_t elements = (uint64_t)ggml_nelements(node);
    int along = 0;
    *work = names_only(node) ? 0 : elements * ELEMENT_WORK;
    if (dw_matmul_units(graph->matmul, node, work) > 0) {
        return PRODUCT;
    }
    if (dw_matmul_is_columns(graph->matmul, node)) {
        return ROW;
    }
    if (dw_attention_units(graph->attention, node, work) > 0) {
        return ATTENTION;
    }
    if (dw_logits_scatter_units(graph->scatter, node, work) > 0) {
        return SCATTER;
    }
    const uint64_t of_adapter = dw_adapter_product_work(node);
    if (of_adapter > 0) {
        *work = of_adapter;
        return ROW;
    }
    switch (node->op) {
    case GGML_OP_MUL_MAT:
        *work = elements * (uint64_t)with->ne[0];
        return node->ne[2] == 1 && node->ne[3] == 1 && with->ne[2] == 1 && with->ne[3] == 1 ? COLUMN
                                                                                            : WHOLE;
    case GGML_OP_MUL_MAT_ID:
        *work = elements * (uint64_t)with->ne[0];
        return EXPERT;
    default:
        along = dimension_of(node);
        return along == 0 ? WHOLE : along == 1 ? ROW : SLAB;
    }
}

static uint64_t work_of(const dw_step_graph *graph, int index)
{
    const cut_node *node = &graph->parts->nodes[index];
    uint64_t work = node->work;
    if (node->kind == ATTENTION) {
        (void)dw_attention_units(graph->attention, ggml_graph_node(graph->forward.graph, index),
                                 &work);
    }
    return work;
}

dw_status dw__step_parts_open(dw_step_graph *graph, dw_error *err)
{
    if (graph->parts != NULL) {
        return DW_OK;
    }
    const int count = ggml_graph_n_nodes(graph->forward.graph);
    const struct ggml_init_params params = {
        .mem_size = ggml_graph_overhead_custom((size_t)count, false) + ggml_tensor_overhead(),
        .no_alloc = true};
    dw_step_parts *parts = dw_alloc(1, sizeof *parts);
    if (parts != NULL) {
        parts->nodes = dw_alloc((size_t)count, sizeof *parts->nodes);
        parts->ggml = ggml_init(params);
    }
    if (parts != NULL && parts->ggml != NULL) {
        parts->stretch = ggml_new_graph_custom(parts->ggml, (size_t)count, false);
    }
    if (parts == NULL || parts->nodes == NULL || parts->stretch == NULL) {
        dw__step_parts_destroy(parts);
        return dw_fail(err, DW_E_MEMORY, "no memory for the parts of a graph");
    }
    for (int i = 0; i < count; i++) {
        parts->nodes[i].kind =
            kind_of(graph, ggml_graph_node(graph->forward.graph, i), &parts->nodes[i].work);
    }
    graph->parts = parts;
    return DW_OK;
}

bool dw__step_parts_is_long(const dw_step_graph *graph)
{
    uint64_t work = 0;
    const uint64_t most = part_work_of(graph);
    const int count = ggml_graph_n_nodes(graph->forward.graph);
    for (int i = 0; i < count && work <= most; i++) {
        work += work_of(graph, i);
    }
    return work > most;
}

/* ---- large nodes ---- */

static void take_along(struct ggml_tensor *tensor, int along, int64_t from, int64_t count)
{
    tensor->data = (unsigned char *)tensor->data + (size_t)from * tensor->nb[along];
    tensor->ne[along] = count;
    for (int i = along + 1; i < GGML_MAX_DIMS; i++) { /* as dense as it was */
        const bool is_dense = tensor->ne[i] == 1;
        tensor->nb[i] = is_dense ? tensor->nb[i - 1] * (size_t)tensor->ne[i - 1] : tensor->nb[i];
    }
}

/* Some of a node, as a node: [from, from + count) of its dimension `along`, and of its source
 * `index` along `source_along`. */
static void cut_source(dw_step_parts *parts, int index, int along, int64_t from, int64_t count)
{
    DW_ASSERT(index < SOURCES_MAX);
    parts->sources[index] = *parts->node.src[index];
    take_along(&parts->sources[index], along, from, count);
    parts->node.src[index] = &parts->sources[index];
}

static struct ggml_tensor *some_of(dw_step_parts *parts, const struct ggml_tensor *node,
                                   cut_kind kind, int64_t from, int64_t count)
{
    const int along = kind == SLAB ? 2 : kind == EXPERT ? 0 : 1;
    parts->node = *node;
    take_along(&parts->node, along, from, count);
    switch (kind) {
    case COLUMN:
        cut_source(parts, 1, 1, from, count);
        break;
    case EXPERT:
        cut_source(parts, 0, 1, from, count);
        break;
    default:
        /* Of products of adapters a third one says which set a row has. */
        for (int i = 0; i < (dw_adapter_product_work(node) > 0 ? 3 : 2); i++) {
            if (node->src[i] != NULL && node->src[i]->ne[along] > 1) {
                cut_source(parts, i, along, from, count);
            }
        }
    }
    return &parts->node;
}

/* In how many pieces a node may be cut, in steps of how many of these, and how many there are in
 * the last at least. */
typedef struct cut_rule {
    int64_t all;
    int64_t step;
    int64_t least;
    uint64_t work; /* of a part */
} cut_rule;

static cut_rule rule_of(const dw_step_graph *graph, const struct ggml_tensor *node, cut_kind kind)
{
    uint64_t work = 0;
    const uint64_t most = part_work_of(graph);
    switch (kind) {
    case PRODUCT:
        return (cut_rule){dw_matmul_units(graph->matmul, node, &work), 1, 1, most};
    case ATTENTION:
        return (cut_rule){dw_attention_units(graph->attention, node, &work), 1, 1, most};
    case SCATTER:
        return (cut_rule){dw_logits_scatter_units(graph->scatter, node, &work), 1, 1, most};
    case COLUMN:
        return (cut_rule){node->ne[1], COLUMNS, COLUMNS_MIN, most};
    case EXPERT:
        return (cut_rule){node->ne[0], EXPERT_ROWS, 1, EXPERT_PARTS * most};
    case ROW:
        return (cut_rule){node->ne[1], 1, 1, most};
    case SLAB:
        return (cut_rule){node->ne[2], 1, 1, most};
    case WHOLE:
        break;
    }
    return (cut_rule){1, 1, 1, most};
}

static dw_status run_one(const part *of, struct ggml_tensor *node, dw_error *err)
{
    ggml_graph_clear(of->graph->parts->stretch);
    ggml_graph_add_node(of->graph->parts->stretch, node);
    return dw_device_run(of->graph->device, of->graph->parts->stretch, of->options, err);
}

static dw_status run_some(const part *of, struct ggml_tensor *node, cut_kind kind, int64_t from,
                          int64_t count, dw_error *err)
{
    dw_step_graph *graph = of->graph;
    const uint32_t first = (uint32_t)from;
    const uint32_t end = (uint32_t)(from + count);
    switch (kind) {
    case WHOLE:
        break;
    case PRODUCT:
        dw_matmul_set_units(graph->matmul, node, first, end);
        break;
    case ATTENTION:
        dw_attention_set_units(graph->attention, node, first, end);
        break;
    case SCATTER:
        dw_logits_scatter_set_units(graph->scatter, first, end);
        break;
    default:
        return run_one(of, some_of(graph->parts, node, kind, from, count), err);
    }
    return run_one(of, node, err);
}

/* The next piece of the node at *at. */
static dw_status run_piece(const part *of, uint64_t work, dw_step_at *at, dw_error *err)
{
    struct ggml_tensor *node = ggml_graph_node(of->graph->forward.graph, at->node);
    const cut_kind kind = of->graph->parts->nodes[at->node].kind;
    const cut_rule rule = rule_of(of->graph, node, kind);
    const int64_t wanted = (int64_t)(work / rule.work) + 1;
    const int64_t each = ((rule.all + wanted - 1) / wanted + rule.step - 1) / rule.step * rule.step;
    const int64_t left = rule.all - at->done;
    const int64_t count = left < each + rule.least ? left : each;
    dw_status status = run_some(of, node, kind, at->done, count, err);
    note_work(work / (uint64_t)rule.all * (uint64_t)count);
    at->done += count;
    if (at->done == rule.all) {
        *at = (dw_step_at){.node = at->node + 1};
    }
    return status;
}

/* Nodes from *at on that are a part together, at least one. */
static dw_status run_stretch(const part *of, dw_step_at *at, dw_error *err)
{
    struct ggml_cgraph *all = of->graph->forward.graph;
    uint64_t work = 0;
    const uint64_t most = part_work_of(of->graph);
    const int first = at->node;
    ggml_graph_clear(of->graph->parts->stretch);
    for (; at->node < ggml_graph_n_nodes(all); at->node++) {
        const uint64_t more = work_of(of->graph, at->node);
        if (work + more > most && at->node > first) {
            break;
        }
        work += more;
        ggml_graph_add_node(of->graph->parts->stretch, ggml_graph_node(all, at->node));
    }
    note_work(work);
    return dw_device_run(of->graph->device, of->graph->parts->stretch, of->options, err);
}

dw_status dw__step_parts_run(dw_step_graph *graph, const dw_device_run_options *options,
                             dw_step_at *at, bool *through, dw_error *err)
{
    DW_ASSERT(dw_device_info_of(graph->device)->kind == DW_DEVICE_CPU);
    const part of = {.graph = graph, .options = options};
    const uint64_t work = work_of(graph, at->node);
    dw_matmul_set_stops(graph->matmul, options->stops);
    dw_attention_set_stops(graph->attention, options->stops);
    dw_status status =
        work > part_work_of(graph) ? run_piece(&of, work, at, err) : run_stretch(&of, at, err);
    dw_matmul_set_stops(graph->matmul, NULL);
    dw_attention_set_stops(graph->attention, NULL);
    *through = at->node == ggml_graph_n_nodes(graph->forward.graph);
    return status;
}
