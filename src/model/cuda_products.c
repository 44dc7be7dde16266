#include "model/cuda_products.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/counters.h"
#include "device/cuda_node.h"
#include "device/device_memory.h"
#include "device/device_run.h"
#include "kernels/cuda_experts.h"
#include "kernels/cuda_wide.h"

#define MATRICES_PER_LAYER 10u /* with experts and shared ones */
/* So many rows of x use each expert, at most, if they share them evenly: each row reads its experts
 * by itself. */
#define ROWS_PER_EXPERT 2u
#define ALIGN_BYTES 256u
#define ROOM_SHARE 3u /* second forms take at most this part of what is free */

/* A matrix that has a kernel. */
typedef struct matrix {
    const struct ggml_tensor *weight;
    struct ggml_tensor *read; /* what the kernel reads: the weight, or its second form */
    uint32_t rows;            /* of x, at most */
    bool mixed;               /* of a layer's experts, which have kernels for all or for none */
    bool repacked;            /* it, or one of its layer's experts, has a second form */
} matrix;

struct dw_cuda_products {
    dw_device *device;
    matrix *matrices; /* [count], by address */
    uint32_t count;
    uint32_t candidates;
    uint32_t wide;             /* of the candidates: nodes of many rows have them */
    uint32_t mixed;            /* of the candidates: all of a layer's experts */
    struct ggml_context *ggml; /* of the second forms */
    ggml_backend_buffer_t buffer;
    uint64_t repacked_bytes;
    bool counted; /* in the device's counters */
};

/* ---- a model's matrices ---- */

/* Rows from which on there are nodes for products of many with it; 0: never. */
static uint32_t wide_from(const struct ggml_tensor *weight)
{
    const bool serves =
        ggml_is_contiguous(weight) && weight->ne[2] == 1 && weight->ne[0] % DW_CUDA_WIDE_CHUNK == 0;
    return serves ? dw_cuda_wide_rows((int)weight->type, (uint64_t)ggml_nelements(weight)) : 0;
}

/* Of its second form; 0: it needs none. */
static size_t second_bytes(const struct ggml_tensor *weight)
{
    size_t bytes = dw_cuda_repacked_bytes((int)weight->type, (uint32_t)weight->ne[0],
                                          (uint32_t)ggml_nrows(weight));
    return (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

static void add(dw_cuda_products *products, struct ggml_tensor *weight)
{
    if (weight == NULL) {
        return;
    }
    products->candidates++;
    products->wide += wide_from(weight) > 0;
    if (ggml_is_contiguous(weight) && weight->ne[2] == 1 && weight->ne[0] <= UINT32_MAX &&
        weight->ne[1] <= UINT32_MAX && weight->ne[1] % DW_CUDA_TILE_ROWS == 0) {
        const uint32_t rows = dw_cuda_product_rows((int)weight->type, (uint32_t)weight->ne[0]);
        if (rows > 0) {
            products->matrices[products->count++] = (matrix){.weight = weight,
                                                             .read = weight,
                                                             .rows = rows,
                                                             .repacked = second_bytes(weight) > 0};
        }
    }
}

static dw_cuda_experts_size experts_size(const struct ggml_tensor *weight, uint32_t used)
{
    return (dw_cuda_experts_size){.columns = (uint32_t)weight->ne[0],
                                  .rows = (uint32_t)weight->ne[1],
                                  .experts = (uint32_t)weight->ne[2],
                                  .used = used};
}

/* Rows of x that a layer's experts take, at most; 0: ggml's serve. */
static uint32_t mixture_rows(const dw_layer_weights *layer, uint32_t used)
{
    const struct ggml_tensor *gate = layer->gate_experts;
    const struct ggml_tensor *down = layer->down_experts;
    const struct ggml_tensor *all[] = {layer->router, gate, layer->up_experts, down};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!ggml_is_contiguous(all[i])) {
            return 0;
        }
    }
    const dw_cuda_experts_size first = experts_size(gate, used);
    const dw_cuda_experts_size last = experts_size(down, used);
    if (layer->up_experts->type != gate->type ||
        !dw_cuda_router_serves((int)layer->router->type, first.columns) ||
        !dw_cuda_experts_serve((int)gate->type, &first, false) ||
        !dw_cuda_experts_serve((int)down->type, &last, true)) {
        return 0;
    }
    const uint32_t rows = first.experts * ROWS_PER_EXPERT / used;
    return rows < DW_CUDA_PRODUCT_ROWS ? rows : DW_CUDA_PRODUCT_ROWS;
}

static void add_mixture(dw_cuda_products *products, const dw_layer_weights *layer, uint32_t used)
{
    struct ggml_tensor *const all[] = {layer->gate_experts, layer->up_experts, layer->down_experts};
    const uint32_t rows = mixture_rows(layer, used);
    const bool repacked = rows > 0 && (second_bytes(all[0]) > 0 || second_bytes(all[2]) > 0);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        products->candidates++;
        products->mixed++;
        if (rows > 0) {
            products->matrices[products->count++] = (matrix){.weight = all[i],
                                                             .read = all[i],
                                                             .rows = rows,
                                                             .mixed = true,
                                                             .repacked = repacked};
        }
    }
    add(products, layer->gate_shared);
    add(products, layer->up_shared);
    add(products, layer->down_shared);
}

static void add_layer(dw_cuda_products *products, const dw_layer_weights *layer, uint32_t used)
{
    if (layer->qkv.weight != NULL) {
        add(products, layer->qkv.weight);
    } else {
        add(products, layer->q.weight);
        add(products, layer->k.weight);
        add(products, layer->v.weight);
    }
    add(products, layer->attn_out.weight);
    add(products, layer->gate.weight);
    add(products, layer->up.weight);
    add(products, layer->down.weight);
    if (layer->router != NULL) {
        add_mixture(products, layer, used);
    }
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const matrix *)a)->weight;
    uintptr_t y = (uintptr_t)((const matrix *)b)->weight;
    return (x > y) - (x < y);
}

static const matrix *find(const dw_cuda_products *products, const struct ggml_tensor *weight)
{
    const matrix key = {.weight = weight};
    return products == NULL ? NULL
                            : bsearch(&key, products->matrices, products->count,
                                      sizeof *products->matrices, by_address);
}

/* ---- second forms ---- */

/* Leave out what needs a second form: all, or matrices of experts, which are the most by far. */
static void drop_quantised(dw_cuda_products *products, bool experts_alone)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < products->count; i++) {
        const matrix *m = &products->matrices[i];
        if (!m->repacked || (experts_alone && !m->mixed)) {
            products->matrices[kept++] = *m;
        } else {
            products->repacked_bytes -= second_bytes(m->weight);
        }
    }
    products->count = kept;
}

static bool has_room(const dw_cuda_products *products, uint64_t room_bytes)
{
    size_t total = 0;
    size_t available = 0;
    dw_device_memory(products->device, &total, &available);
    return products->repacked_bytes <= available / ROOM_SHARE && room_bytes <= available &&
           products->repacked_bytes <= available - room_bytes;
}

/* One graph of all: a node each. */
static dw_status repack(dw_cuda_products *products, dw_error *err)
{
    const size_t nodes = products->count;
    struct ggml_init_params params = {.mem_size = nodes * ggml_tensor_overhead() +
                                                  ggml_graph_overhead_custom(nodes, false),
                                      .no_alloc = true};
    products->ggml = ggml_init(params);
    if (products->ggml == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu matrices", nodes);
    }
    struct ggml_cgraph *graph = ggml_new_graph_custom(products->ggml, nodes, false);
    unsigned char *at = ggml_backend_buffer_get_base(products->buffer);
    for (uint32_t i = 0; i < products->count; i++) {
        matrix *m = &products->matrices[i];
        struct ggml_tensor *source = m->read;
        const size_t bytes = second_bytes(source);
        if (bytes == 0) {
            continue;
        }
        m->read =
            dw_cuda_node_make(ggml_new_tensor_1d(products->ggml, GGML_TYPE_I8, (int64_t)bytes),
                              dw_cuda_launch_repack, &source, 1, NULL, 0);
        m->read->buffer = products->buffer;
        m->read->data = at;
        at += bytes;
        ggml_build_forward_expand(graph, m->read);
    }
    dw_status status = dw_device_run(products->device, graph, NULL, err);
    /* From here on they are weights, which no graph makes. */
    for (uint32_t i = 0; i < products->count; i++) {
        struct ggml_tensor *read = products->matrices[i].read;
        if (read != products->matrices[i].weight) {
            read->op = GGML_OP_NONE;
            read->src[0] = NULL;
        }
    }
    return status;
}

static dw_status make_second_forms(dw_cuda_products *products, uint64_t room_bytes, dw_error *err)
{
    for (uint32_t i = 0; i < products->count; i++) {
        products->repacked_bytes += second_bytes(products->matrices[i].weight);
    }
    if (products->repacked_bytes == 0) {
        return DW_OK;
    }
    dw_error none = {0};
    if (!has_room(products, room_bytes)) {
        drop_quantised(products, true);
    }
    if (products->repacked_bytes == 0) {
        return DW_OK;
    }
    if (!has_room(products, room_bytes) ||
        dw_device_buffer_create(&products->buffer, products->device, DW_USE_WEIGHTS,
                                products->repacked_bytes, &none) != DW_OK) {
        drop_quantised(products, false);
        return DW_OK;
    }
    ggml_backend_buffer_set_usage(products->buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    return repack(products, err);
}

/* `by`: dw_count or dw_uncount. */
static void count(const dw_cuda_products *products, void (*by)(_Atomic uint64_t *, uint64_t))
{
    dw_device_counters *counters = dw_device_counters_of(products->device);
    uint64_t mixed = 0;
    for (uint32_t i = 0; i < products->count; i++) {
        mixed += products->matrices[i].mixed;
    }
    by(&counters->matrices, products->candidates);
    by(&counters->matrices_served, products->count);
    by(&counters->matrices_wide, products->wide);
    by(&counters->repacked_bytes, products->repacked_bytes);
    by(&counters->expert_matrices, products->mixed);
    by(&counters->expert_matrices_served, mixed);
}

dw_status dw_cuda_products_create(dw_cuda_products **out, dw_device *device,
                                  const dw_model_shape *shape, const dw_model_weights *weights,
                                  uint64_t room_bytes, dw_error *err)
{
    *out = NULL;
    if (!dw_cuda_node_served(device) || shape->architecture->encoder) {
        return DW_OK;
    }
    dw_cuda_products *products = dw_alloc(1, sizeof *products);
    if (products != NULL) {
        products->device = device;
        products->matrices =
            dw_alloc(shape->layer_count * MATRICES_PER_LAYER + 1, sizeof *products->matrices);
    }
    if (products == NULL || products->matrices == NULL) {
        dw_cuda_products_destroy(products);
        return dw_fail(err, DW_E_MEMORY, "no memory for the products of %u layers",
                       shape->layer_count);
    }
    for (uint32_t i = 0; i < shape->layer_count; i++) {
        add_layer(products, &weights->layers[i], shape->expert_used_count);
    }
    add(products, weights->output.weight);
    dw_status status = make_second_forms(products, room_bytes, err);
    if (status != DW_OK || products->candidates == 0) {
        dw_cuda_products_destroy(products);
        return status;
    }
    qsort(products->matrices, products->count, sizeof *products->matrices, by_address);
    count(products, dw_count);
    products->counted = true;
    *out = products;
    return DW_OK;
}

void dw_cuda_products_destroy(dw_cuda_products *products)
{
    if (products == NULL) {
        return;
    }
    if (products->counted) {
        count(products, dw_uncount);
    }
    dw_device_buffer_destroy(products->device, DW_USE_WEIGHTS, products->buffer);
    if (products->ggml != NULL) {
        ggml_free(products->ggml);
    }
    dw_free(products->matrices);
    dw_free(products);
}

/* ---- nodes ---- */

/* x as the kernel is to read it: before its norm, where it can do that. */
static struct ggml_tensor *take_norm(struct ggml_tensor *x, struct ggml_tensor **norm,
                                     float *epsilon)
{
    const struct ggml_tensor *by = x->op == GGML_OP_MUL ? x->src[0] : NULL;
    if (by == NULL || by->op != GGML_OP_RMS_NORM || ggml_nrows(x->src[1]) != 1 ||
        x->src[1]->ne[0] != x->ne[0] || x->src[1]->type != GGML_TYPE_F32) {
        return x;
    }
    *norm = x->src[1];
    memcpy(epsilon, by->op_params, sizeof *epsilon);
    return by->src[0];
}

/* What a product is of. */
typedef struct factors {
    const dw_linear *with; /* matrices [count] */
    uint32_t count;
    bool gated;
    struct ggml_tensor *x;
} factors;

static int64_t rows_of(const factors *of)
{
    int64_t rows = 0;
    for (uint32_t i = 0; i < of->count; i++) {
        rows += of->with[i].weight->ne[1];
    }
    return rows;
}

/* Sources and parameters; false: there is no kernel for them together. */
static bool gather(const dw_cuda_products *products, const factors *of,
                   struct ggml_tensor **sources, dw_cuda_product_params *params)
{
    const dw_linear *with = of->with;
    for (uint32_t i = 0; i < of->count; i++) {
        const matrix *m = find(products, with[i].weight);
        if (m == NULL || of->x->ne[1] > m->rows || m->weight->type != with[0].weight->type ||
            m->weight->ne[0] != with[0].weight->ne[0]) {
            return false;
        }
        sources[DW_CUDA_PRODUCT_WEIGHT + i] = m->read;
        sources[DW_CUDA_PRODUCT_BIAS + i] = with[i].bias;
        params->tiles[i] = (uint32_t)m->weight->ne[1] / DW_CUDA_TILE_ROWS;
    }
    params->type = (uint8_t)with[0].weight->type;
    return true;
}

/* By kernels of few rows, whose weights are read once for all. */
static struct ggml_tensor *make_few(const dw_cuda_products *products, struct ggml_context *ggml,
                                    const factors *of, dw_cuda_activation activation)
{
    struct ggml_tensor *sources[DW_CUDA_PRODUCT_SOURCES] = {NULL};
    dw_cuda_product_params params = {.activation = (uint8_t)activation};
    struct ggml_tensor *x = of->x;
    if ((of->gated && of->count != 2) || x->type != GGML_TYPE_F32 ||
        !gather(products, of, sources, &params)) {
        return NULL;
    }
    sources[DW_CUDA_PRODUCT_X] = take_norm(x, &sources[DW_CUDA_PRODUCT_NORM], &params.epsilon);
    if (!ggml_is_contiguous(sources[DW_CUDA_PRODUCT_X])) {
        return NULL;
    }
    const int64_t rows = rows_of(of) / (of->gated ? 2 : 1);
    return dw_cuda_node_make(ggml_new_tensor_2d(ggml, GGML_TYPE_F32, rows, x->ne[1]),
                             dw_cuda_launch_product, sources, DW_CUDA_PRODUCT_SOURCES, &params,
                             sizeof params);
}

/* ---- mixtures of experts ---- */

struct ggml_tensor *dw_cuda_mixture_node(const dw_cuda_products *products,
                                         struct ggml_context *ggml, const dw_cuda_mixture *of,
                                         struct ggml_tensor *x)
{
    const matrix *gate = find(products, of->gate);
    const matrix *up = find(products, of->up);
    const matrix *down = find(products, of->down);
    DW_ASSERT(of->activation != DW_CUDA_LINEAR);
    if (gate == NULL || up == NULL || down == NULL || x->type != GGML_TYPE_F32 || x->ne[2] != 1 ||
        x->ne[1] > gate->rows) {
        return NULL;
    }
    dw_cuda_experts_params params = {.size = experts_size(of->gate, of->used),
                                     .type = (uint8_t)of->gate->type,
                                     .activation = (uint8_t)of->activation,
                                     .sum_to_one = of->sum_to_one};
    struct ggml_tensor *norm = NULL;
    struct ggml_tensor *from = take_norm(x, &norm, &params.epsilon);
    if (!ggml_is_contiguous(from)) {
        return NULL;
    }
    struct ggml_tensor *router[DW_CUDA_ROUTER_SOURCES] = {from, norm, of->router};
    struct ggml_tensor *logits =
        dw_cuda_node_make(ggml_new_tensor_2d(ggml, GGML_TYPE_F32, params.size.experts, x->ne[1]),
                          dw_cuda_launch_router, router, DW_CUDA_ROUTER_SOURCES, &params.epsilon,
                          sizeof params.epsilon);
    struct ggml_tensor *sources[DW_CUDA_EXPERTS_SOURCES] = {[DW_CUDA_EXPERTS_X] = from,
                                                            [DW_CUDA_EXPERTS_NORM] = norm,
                                                            [DW_CUDA_EXPERTS_WEIGHT] = gate->read,
                                                            [DW_CUDA_EXPERTS_UP] = up->read,
                                                            [DW_CUDA_EXPERTS_LOGITS] = logits};
    struct ggml_tensor *joined =
        ggml_new_tensor_3d(ggml, GGML_TYPE_F32, params.size.rows, params.size.used, x->ne[1]);
    (void)dw_cuda_node_make(joined, dw_cuda_launch_experts, sources, DW_CUDA_EXPERTS_SOURCES,
                            &params, sizeof params);
    dw_cuda_experts_params last = {.size = experts_size(of->down, of->used),
                                   .type = (uint8_t)of->down->type,
                                   .sum_to_one = of->sum_to_one};
    struct ggml_tensor *then[DW_CUDA_EXPERTS_SOURCES] = {[DW_CUDA_EXPERTS_X] = joined,
                                                         [DW_CUDA_EXPERTS_WEIGHT] = down->read,
                                                         [DW_CUDA_EXPERTS_LOGITS] = logits};
    return dw_cuda_node_make(ggml_new_tensor_2d(ggml, GGML_TYPE_F32, last.size.rows, x->ne[1]),
                             dw_cuda_launch_experts, then, DW_CUDA_EXPERTS_SOURCES, &last,
                             sizeof last);
}

/* ---- nodes of many rows ---- */

/* What x is rounded to for the matrix. */
static enum ggml_type factor_type(const struct ggml_tensor *weight)
{
    return weight->type == GGML_TYPE_F16 ? GGML_TYPE_F16 : GGML_TYPE_BF16;
}

static bool is_wide(const factors *of)
{
    for (uint32_t i = 0; i < of->count; i++) {
        const struct ggml_tensor *weight = of->with[i].weight;
        const uint32_t from = wide_from(weight);
        if (from == 0 || of->x->ne[1] < from || weight->ne[0] != of->with[0].weight->ne[0] ||
            factor_type(weight) != factor_type(of->with[0].weight)) {
            return false;
        }
    }
    return rows_of(of) <= INT32_MAX;
}

/* x, rounded, and where it is normed by ggml's nodes normed; NULL: that there is no kernel for. */
static struct ggml_tensor *packed(struct ggml_context *ggml, struct ggml_tensor *x,
                                  enum ggml_type type)
{
    struct ggml_tensor *sources[2] = {NULL};
    float epsilon = 0;
    if (x->type != GGML_TYPE_F32) {
        return x->type == type ? x : NULL;
    }
    sources[0] = take_norm(x, &sources[1], &epsilon);
    if (!ggml_is_contiguous(sources[0])) {
        return NULL;
    }
    return dw_cuda_node_make(ggml_new_tensor_2d(ggml, type, x->ne[0], x->ne[1]),
                             dw_cuda_launch_pack, sources, 2, &epsilon, sizeof epsilon);
}

/* Room for quantised weights as BF16, of all matrices or as many rows as are widened at once. */
static struct ggml_tensor *scratch_for(struct ggml_context *ggml, const factors *of)
{
    const int64_t columns = of->with[0].weight->ne[0];
    int64_t most = DW_CUDA_SCRATCH_VALUES / columns / DW_CUDA_TILE_ROWS * DW_CUDA_TILE_ROWS;
    int64_t rows = 0;
    for (uint32_t i = 0; i < of->count; i++) {
        const struct ggml_tensor *weight = of->with[i].weight;
        rows += ggml_is_quantized(weight->type) ? weight->ne[1] : 0;
    }
    most = most > 0 ? most : DW_CUDA_TILE_ROWS;
    rows = rows < most ? rows : most;
    return rows == 0 ? NULL
                     : dw_cuda_node_make(ggml_new_tensor_1d(ggml, GGML_TYPE_BF16, rows * columns),
                                         dw_cuda_launch_scratch, NULL, 0, NULL, 0);
}

static struct ggml_tensor *make_wide(struct ggml_context *ggml, const factors *of,
                                     enum ggml_type type)
{
    struct ggml_tensor *sources[DW_CUDA_PRODUCT_SOURCES] = {NULL};
    if (!is_wide(of)) {
        return NULL;
    }
    sources[DW_CUDA_PRODUCT_X] = packed(ggml, of->x, factor_type(of->with[0].weight));
    if (sources[DW_CUDA_PRODUCT_X] == NULL) {
        return NULL;
    }
    sources[DW_CUDA_PRODUCT_SCRATCH] = scratch_for(ggml, of);
    for (uint32_t i = 0; i < of->count; i++) {
        sources[DW_CUDA_PRODUCT_WEIGHT + i] = of->with[i].weight;
        sources[DW_CUDA_PRODUCT_BIAS + i] = of->gated ? NULL : of->with[i].bias;
    }
    return dw_cuda_node_make(ggml_new_tensor_2d(ggml, type, rows_of(of), of->x->ne[1]),
                             dw_cuda_launch_wide, sources, DW_CUDA_PRODUCT_SOURCES, NULL, 0);
}

/* What takes x next can take it rounded, as the gate's own factors are. */
static bool takes_rounded(const dw_cuda_products *products, const factors *of,
                          const dw_linear *next)
{
    const factors then = {next, 1, false, of->x};
    struct ggml_tensor *sources[DW_CUDA_PRODUCT_SOURCES];
    dw_cuda_product_params params;
    return next != NULL && factor_type(next->weight) == factor_type(of->with[0].weight) &&
           !gather(products, &then, sources, &params) && is_wide(&then);
}

/* What is joined is BF16, too, where x is; halves might not hold it. */
static struct ggml_tensor *make_wide_gate(const dw_cuda_products *products,
                                          struct ggml_context *ggml, const factors *of,
                                          dw_cuda_activation activation, const dw_linear *next)
{
    const int64_t length = rows_of(of) / 2;
    const bool apart = of->count == 2;
    const uint32_t how = activation;
    if (length % DW_CUDA_WIDE_CHUNK != 0 || (apart && of->with[0].weight->ne[1] != length) ||
        (!apart && of->with[0].bias != NULL)) {
        return NULL;
    }
    const enum ggml_type factor = factor_type(of->with[0].weight);
    struct ggml_tensor *both =
        make_wide(ggml, of, factor == GGML_TYPE_F16 ? GGML_TYPE_F32 : factor);
    if (both == NULL) {
        return NULL;
    }
    const enum ggml_type type = takes_rounded(products, of, next) ? factor : GGML_TYPE_F32;
    struct ggml_tensor *sources[] = {both, of->with[0].bias, apart ? of->with[1].bias : NULL};
    return dw_cuda_node_make(ggml_new_tensor_2d(ggml, type, length, of->x->ne[1]),
                             dw_cuda_launch_gate, sources, 3, &how, sizeof how);
}

struct ggml_tensor *dw_cuda_product_node(const dw_cuda_products *products,
                                         struct ggml_context *ggml, const dw_linear *with,
                                         uint32_t count, struct ggml_tensor *x)
{
    const factors of = {with, count, false, x};
    if (products == NULL || count > DW_CUDA_PRODUCT_TABLES || x->ne[2] != 1) {
        return NULL;
    }
    struct ggml_tensor *y = make_few(products, ggml, &of, DW_CUDA_LINEAR);
    return y != NULL ? y : make_wide(ggml, &of, GGML_TYPE_F32);
}

struct ggml_tensor *dw_cuda_gated_node(const dw_cuda_products *products, struct ggml_context *ggml,
                                       const dw_cuda_gate *gate, struct ggml_tensor *x)
{
    const factors of = {gate->with, gate->count, true, x};
    DW_ASSERT(gate->activation != DW_CUDA_LINEAR && (gate->count == 1 || gate->count == 2));
    if (products == NULL || x->ne[2] != 1) {
        return NULL;
    }
    struct ggml_tensor *y = make_few(products, ggml, &of, gate->activation);
    return y != NULL ? y : make_wide_gate(products, ggml, &of, gate->activation, gate->next);
}

/* Into the memory of what is added, which is some node's result and wanted no more: nothing is to
 * be brought over then. */
static void write_over(struct ggml_tensor *node, struct ggml_tensor *x)
{
    struct ggml_tensor *root = x->view_src != NULL ? x->view_src : x;
    if (root->op == GGML_OP_NONE ||
        (root->flags & (GGML_TENSOR_FLAG_INPUT | GGML_TENSOR_FLAG_OUTPUT))) {
        return;
    }
    node->view_src = root;
    node->view_offs = x->view_src != NULL ? x->view_offs : 0;
}

bool dw_cuda_product_add(struct ggml_tensor *node, struct ggml_tensor *x)
{
    const dw_cuda_launch launch = dw_cuda_node_is(node) ? dw_cuda_node_launch(node) : NULL;
    const bool last = launch == dw_cuda_launch_experts && node->src[DW_CUDA_EXPERTS_UP] == NULL;
    if ((launch != dw_cuda_launch_product && launch != dw_cuda_launch_wide && !last) ||
        node->src[DW_CUDA_PRODUCT_ADDED] != NULL || !ggml_are_same_shape(node, x) ||
        !ggml_is_contiguous(x) || x->type != GGML_TYPE_F32) {
        return false;
    }
    node->src[DW_CUDA_PRODUCT_ADDED] = x;
    if (launch == dw_cuda_launch_wide) {
        write_over(node, x);
    }
    return true;
}
