#include "inference/step_parts.h"

#include "base/alloc.h"
#include "device/device_run.h"

/* Multiplications in a part: one to six milliseconds' of a core, by the weights' type. */
#define PART_WORK (UINT64_C(1) << 27)
/* An element of operations that are not products counts as so many: it takes about a nanosecond. */
#define ELEMENT_WORK 32u
/* Products of ggml's are cut into multiples of so many columns, and a rest of fewer than the other
 * goes with those before it: with fewer it takes another way, whose last bits differ. */
#define COLUMNS 64
#define COLUMNS_MIN 16
#define SOURCES_MAX 2

struct dw_step_parts {
    struct ggml_context *ggml;
    struct ggml_cgraph *stretch; /* has room for all nodes of the graph */
    /* Some rows of a node, and of what it is made from. */
    struct ggml_tensor node;
    struct ggml_tensor sources[SOURCES_MAX];
};

/* One run. */
typedef struct parts_run {
    dw_step_graph *graph;
    dw_step_parts *parts;
    dw_device_run_options options;
    dw_stop *stop;
} parts_run;

static uint64_t part_work = PART_WORK;

void dw__step_set_part_work(uint64_t work)
{
    part_work = work > 0 ? work : PART_WORK;
}

void dw__step_parts_destroy(dw_step_parts *parts)
{
    if (parts == NULL) {
        return;
    }
    if (parts->ggml != NULL) {
        ggml_free(parts->ggml);
    }
    dw_free(parts);
}

static dw_status create(dw_step_parts **out, struct ggml_cgraph *graph, dw_error *err)
{
    const size_t nodes = (size_t)ggml_graph_n_nodes(graph);
    const struct ggml_init_params params = {.mem_size = ggml_graph_overhead_custom(nodes, false) +
                                                        ggml_tensor_overhead(),
                                            .no_alloc = true};
    dw_step_parts *parts = dw_alloc(1, sizeof *parts);
    if (parts != NULL) {
        parts->ggml = ggml_init(params);
    }
    if (parts != NULL && parts->ggml != NULL) {
        parts->stretch = ggml_new_graph_custom(parts->ggml, nodes, false);
    }
    if (parts == NULL || parts->stretch == NULL) {
        dw__step_parts_destroy(parts);
        return dw_fail(err, DW_E_MEMORY, "no memory for the parts of a graph");
    }
    *out = parts;
    return DW_OK;
}

/* ---- work ---- */

/* Of what is there already. */
static bool names_only(const struct ggml_tensor *node)
{
    return node->op == GGML_OP_NONE || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_VIEW ||
           node->op == GGML_OP_PERMUTE || node->op == GGML_OP_TRANSPOSE;
}

static uint64_t work_of(const dw_step_graph *graph, const struct ggml_tensor *node)
{
    uint64_t work = 0;
    if (names_only(node)) {
        return 0;
    }
    if (dw_matmul_units(graph->matmul, node, &work) > 0 ||
        dw_attention_units(graph->attention, node, &work) > 0) {
        return work;
    }
    const uint64_t elements = (uint64_t)ggml_nelements(node);
    return node->op == GGML_OP_MUL_MAT ? elements * (uint64_t)node->src[0]->ne[0]
                                       : elements * ELEMENT_WORK;
}

/* Whether it is more than one part's. */
static bool is_long(const dw_step_graph *graph)
{
    uint64_t work = 0;
    const int count = ggml_graph_n_nodes(graph->forward.graph);
    for (int i = 0; i < count && work <= part_work; i++) {
        work += work_of(graph, ggml_graph_node(graph->forward.graph, i));
    }
    return work > part_work;
}

/* ---- parts ---- */

/* Others have their turns before what follows. */
static dw_status let_others(const parts_run *run, dw_error *err)
{
    dw_stop_pause(run->stop);
    return dw_stop_check(run->stop, "embed", err);
}

static dw_status run_one(const parts_run *run, struct ggml_tensor *node, dw_error *err)
{
    ggml_graph_clear(run->parts->stretch);
    ggml_graph_add_node(run->parts->stretch, node);
    return dw_device_run(run->graph->device, run->parts->stretch, &run->options, err);
}

/* A node of ours, which is in units. */
static dw_status run_units(const parts_run *run, struct ggml_tensor *node, dw_error *err)
{
    uint64_t work = 0;
    uint32_t units = dw_matmul_units(run->graph->matmul, node, &work);
    const bool is_product = units > 0;
    units = is_product ? units : dw_attention_units(run->graph->attention, node, &work);
    const uint64_t wanted = work / part_work + 1;
    const uint32_t each = wanted < units ? (uint32_t)((units + wanted - 1) / wanted) : 1;
    dw_status status = DW_OK;
    for (uint32_t from = 0; status == DW_OK && from < units; from += each) {
        const uint32_t to = units - from < each ? units : from + each;
        if (is_product) {
            dw_matmul_set_units(run->graph->matmul, node, from, to);
        } else {
            dw_attention_set_units(run->graph->attention, node, from, to);
        }
        status = from > 0 ? let_others(run, err) : DW_OK;
        status = status == DW_OK ? run_one(run, node, err) : status;
    }
    return status;
}

/* Whether `source` goes with the node row by row, or is one row for all. */
static bool goes_by_rows(const struct ggml_tensor *node, const struct ggml_tensor *source)
{
    return source->ne[2] == 1 && source->ne[3] == 1 &&
           (source->ne[1] == node->ne[1] || source->ne[1] == 1);
}

/* Whether each row of the node comes of the same rows of its sources alone. */
static bool is_of_rows(const struct ggml_tensor *node)
{
    if (node->ne[1] == 1 || node->ne[2] != 1 || node->ne[3] != 1) {
        return false;
    }
    switch (node->op) {
    case GGML_OP_MUL_MAT:
        return node->src[0]->ne[2] == 1 && node->src[0]->ne[3] == 1;
    case GGML_OP_ADD:
    case GGML_OP_MUL:
    case GGML_OP_SCALE:
    case GGML_OP_NORM:
    case GGML_OP_RMS_NORM:
    case GGML_OP_UNARY:
    case GGML_OP_GLU:
        return goes_by_rows(node, node->src[0]) &&
               (node->src[1] == NULL || goes_by_rows(node, node->src[1]));
    default:
        return false;
    }
}

static void take_rows(struct ggml_tensor *tensor, int64_t from, int64_t count)
{
    tensor->data = (unsigned char *)tensor->data + (size_t)from * tensor->nb[1];
    tensor->ne[1] = count;
    tensor->nb[2] = tensor->nb[1] * (size_t)count;
    tensor->nb[3] = tensor->nb[2];
}

/* Rows [from, from + count) of `node`, as a node. */
static struct ggml_tensor *rows_of(dw_step_parts *parts, const struct ggml_tensor *node,
                                   int64_t from, int64_t count)
{
    parts->node = *node;
    take_rows(&parts->node, from, count);
    for (int i = 0; i < SOURCES_MAX; i++) {
        const bool is_whole = node->op == GGML_OP_MUL_MAT && i == 0;
        if (node->src[i] == NULL || is_whole || node->src[i]->ne[1] == 1) {
            continue;
        }
        parts->sources[i] = *node->src[i];
        take_rows(&parts->sources[i], from, count);
        parts->node.src[i] = &parts->sources[i];
    }
    return &parts->node;
}

static dw_status run_rows(const parts_run *run, const struct ggml_tensor *node, dw_error *err)
{
    const bool is_product = node->op == GGML_OP_MUL_MAT;
    const int64_t least = is_product ? COLUMNS_MIN : 1;
    const int64_t step = is_product ? COLUMNS : 1;
    const int64_t all = node->ne[1];
    const int64_t wanted = (int64_t)(work_of(run->graph, node) / part_work) + 1;
    const int64_t each = ((all + wanted - 1) / wanted + step - 1) / step * step;
    dw_status status = DW_OK;
    for (int64_t from = 0, count = 0; status == DW_OK && from < all; from += count) {
        count = all - from < each + least ? all - from : each;
        status = from > 0 ? let_others(run, err) : DW_OK;
        status =
            status == DW_OK ? run_one(run, rows_of(run->parts, node, from, count), err) : status;
    }
    return status;
}

static dw_status run_large(const parts_run *run, struct ggml_tensor *node, dw_error *err)
{
    uint64_t work = 0;
    if (dw_matmul_units(run->graph->matmul, node, &work) > 0 ||
        dw_attention_units(run->graph->attention, node, &work) > 0) {
        return run_units(run, node, err);
    }
    return is_of_rows(node) ? run_rows(run, node, err) : run_one(run, node, err);
}

/* Nodes from `at` on that are a part together, at least one; *end is behind them. */
static dw_status run_stretch(const parts_run *run, int at, int *end, dw_error *err)
{
    struct ggml_cgraph *all = run->graph->forward.graph;
    uint64_t work = 0;
    ggml_graph_clear(run->parts->stretch);
    for (*end = at; *end < ggml_graph_n_nodes(all); ++*end) {
        struct ggml_tensor *node = ggml_graph_node(all, *end);
        work += work_of(run->graph, node);
        if (work > part_work && *end > at) {
            break;
        }
        ggml_graph_add_node(run->parts->stretch, node);
    }
    return dw_device_run(run->graph->device, run->parts->stretch, &run->options, err);
}

static dw_status run_parts(const parts_run *run, dw_error *err)
{
    struct ggml_cgraph *all = run->graph->forward.graph;
    dw_status status = DW_OK;
    for (int at = 0; status == DW_OK && at < ggml_graph_n_nodes(all);) {
        struct ggml_tensor *node = ggml_graph_node(all, at);
        status = at > 0 ? let_others(run, err) : DW_OK;
        if (status == DW_OK && work_of(run->graph, node) > part_work) {
            status = run_large(run, node, err);
            at++;
        } else if (status == DW_OK) {
            status = run_stretch(run, at, &at, err);
        }
    }
    return status;
}

dw_status dw__step_parts_run(dw_step_graph *graph, dw_device_view *view, dw_stop *stop,
                             dw_error *err)
{
    DW_ASSERT(dw_device_info_of(graph->device)->kind == DW_DEVICE_CPU);
    const dw_stops stops = {.items = &stop, .count = 1};
    parts_run run = {.graph = graph,
                     .options = {.view = view, .stops = stop != NULL ? &stops : NULL},
                     .stop = stop};
    const bool cut = is_long(graph);
    if (cut && graph->parts == NULL) {
        dw_status status = create(&graph->parts, graph->forward.graph, err);
        if (status != DW_OK) {
            return status;
        }
    }
    run.parts = graph->parts;
    dw_matmul_set_stops(graph->matmul, run.options.stops);
    dw_attention_set_stops(graph->attention, run.options.stops);
    dw_status status = cut ? run_parts(&run, err)
                           : dw_device_run(graph->device, graph->forward.graph, &run.options, err);
    dw_matmul_set_stops(graph->matmul, NULL);
    dw_attention_set_stops(graph->attention, NULL);
    return status;
}
