#include "model/matmul.h"

#include <ggml-cpu.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "device/graph_work.h"
#include "kernels/matmul_kernel.h"

#define SEGMENT_BYTES_MAX (DW_SEGMENT * 4u) /* of DW_SEGMENT elements as ggml has them */
#define FEW_COLUMNS 8u                      /* up to so many, a unit of work is several panels */
#define FEW_PANELS 4u
#define OWN_COLUMNS DW_MATMUL_OWN_COLUMNS /* each thread for itself: it waits for nobody */
#define ALIGN_BYTES 64u

typedef struct product {
    dw_matmul *matmul;
    dw_column_layout layout;
    /* NULL: by the kernel. Else each row and column by ggml's vec_dot of the weights' type, columns
     * as ggml has them: its own products take other ways, whose last bits differ, for more. */
    ggml_vec_dot_t dot;
    dw_linear with[DW_MATMUL_GROUP_MAX];
    uint32_t count;
    uint32_t panels[DW_MATMUL_GROUP_MAX]; /* of each matrix; its last may reach back into another */
    uint32_t panel_count;
    /* x is normed before: by the root of its mean square and these weights. NULL: it is not. */
    const struct ggml_tensor *norm;
    float epsilon;
    bool adds;             /* the node's src[1] is added */
    bool own;              /* its node makes the columns: src[0] is x */
    dw_matmul_store store; /* NULL: into the node's own result */
    void *user;
    const struct ggml_tensor *node;
    _Atomic uint32_t next; /* unit to be taken */
    uint32_t end;          /* of the units that a run of the node takes */
    _Atomic int through;   /* threads of the run */
    /* With a crew: */
    unsigned char *made;  /* [n][layout.bytes]: this node's columns alone */
    uint32_t *cuts;       /* [cut_count + 1]: panels [cuts[i], cuts[i + 1]) are unit i */
    uint32_t cut_count;   /* 0: without a crew */
    _Atomic bool stopped; /* by who may, in this run */
} product;

struct dw_matmul {
    const dw_matmul_kernel *kernel;
    product *products;
    uint32_t product_count;
    uint32_t product_capacity;
    unsigned char *places; /* [threads][place_bytes] and what aligns it */
    size_t place_bytes;
    uint32_t length_max;
    const dw_stops *stops; /* of the run; NULL: nobody stops it */
    dw_crew *crew;         /* NULL: none */
    int threads;
    unsigned char *made; /* the products' columns, and what aligns them */
    uint32_t *cuts;      /* the products' */
};

/* Multiplications between two looks at the stops: about a tenth of a millisecond's. */
#define LOOK_WORK ((uint64_t)1 << 21)

/* A thread's own memory: the kernel's, its output, a normed row, columns. */
#define OUT_BYTES (DW_TILE_COLUMNS_MAX * DW_PANEL_ROWS_MAX * sizeof(float))
#define ROW_AT (DW_MATMUL_SCRATCH_BYTES + OUT_BYTES)

static size_t row_bytes_of(uint32_t length)
{
    return ((size_t)length * sizeof(float) + ALIGN_BYTES) / ALIGN_BYTES * ALIGN_BYTES;
}

dw_status dw_matmul_create(dw_matmul **out, const dw_matmul_options *options, dw_error *err)
{
    *out = NULL;
    const dw_matmul_kernel *kernel = dw_matmul_kernel_best();
    if (kernel == NULL) {
        return DW_OK;
    }
    DW_ASSERT(options->threads > 0);
    dw_matmul *matmul = dw_alloc(1, sizeof *matmul);
    if (matmul != NULL) {
        matmul->kernel = kernel;
        matmul->length_max = options->length_max;
        matmul->threads = options->threads;
        /* No column has more bytes than one of floats, and what aligns its three parts. */
        matmul->place_bytes = ROW_AT + row_bytes_of(options->length_max) +
                              OWN_COLUMNS * (row_bytes_of(options->length_max) + 3 * ALIGN_BYTES);
        matmul->product_capacity = options->product_count;
        matmul->products = dw_alloc(options->product_count, sizeof *matmul->products);
        matmul->places = dw_alloc((size_t)options->threads * matmul->place_bytes + ALIGN_BYTES, 1);
    }
    if (matmul == NULL || matmul->products == NULL || matmul->places == NULL) {
        dw_matmul_destroy(matmul);
        return dw_fail(err, DW_E_MEMORY, "no memory for products with %d threads",
                       options->threads);
    }
    *out = matmul;
    return DW_OK;
}

void dw_matmul_destroy(dw_matmul *matmul)
{
    if (matmul == NULL) {
        return;
    }
    dw_free(matmul->products);
    dw_free(matmul->places);
    dw_free(matmul->made);
    dw_free(matmul->cuts);
    dw_free(matmul);
}

void dw_matmul_set_stops(dw_matmul *matmul, const dw_stops *stops)
{
    if (matmul != NULL) {
        matmul->stops = stops;
    }
}

/* ---- rows of floats ---- */

/* A panel's results are 8 or 16 for a column, and there are many columns: neither a call nor a loop
 * over single ones is worth it. */
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));

static inline void copy_floats(float *to, const float *from, uint32_t count)
{
    uint32_t i = 0;
    for (; i + 8 <= count; i += 8) {
        *(eight *)(void *)(to + i) = *(const eight *)(const void *)(from + i);
    }
    for (; i < count; i++) {
        to[i] = from[i];
    }
}

static inline void add_floats(float *to, const float *more, uint32_t count)
{
    uint32_t i = 0;
    for (; i + 8 <= count; i += 8) {
        *(eight *)(void *)(to + i) += *(const eight *)(const void *)(more + i);
    }
    for (; i < count; i++) {
        to[i] += more[i];
    }
}

/* ---- columns ---- */

/* A segment of a row of x: quantised as ggml does it, then laid out for the kernel. */
static void convert_segment(const product *of, const float *row, uint32_t from,
                            unsigned char *column)
{
    uint32_t count = of->layout.length - from;
    count = count < DW_SEGMENT ? count : DW_SEGMENT;
    _Alignas(16) unsigned char place[SEGMENT_BYTES_MAX];
    DW_ASSERT(ggml_row_size(of->layout.type, count) <= sizeof place);
    void *blocks = of->dot != NULL ? column + ggml_row_size(of->layout.type, from) : place;
    if (of->layout.type == GGML_TYPE_F32) {
        memcpy(blocks, row + from, count * sizeof *row);
    } else {
        ggml_get_type_traits_cpu(of->layout.type)->from_float(row + from, blocks, count);
    }
    if (of->dot != NULL) {
        return;
    }
    of->matmul->kernel->lay_out(&of->layout, blocks, from, count / of->layout.per_block, column);
}

static unsigned char *place_of(const dw_matmul *matmul, int thread)
{
    uintptr_t base = (uintptr_t)matmul->places;
    size_t aside = (ALIGN_BYTES - base % ALIGN_BYTES) % ALIGN_BYTES;
    return matmul->places + aside + (size_t)thread * matmul->place_bytes;
}

static const float *plain_row(const struct ggml_tensor *x, int64_t index)
{
    const unsigned char *at = (const unsigned char *)x->data + (size_t)index * x->nb[1];
    return (const float *)(const void *)at;
}

/* What the rows [first, end) of x, or the first NORM_ROWS of them, are normed by; as ggml norms, to
 * the bit. Each addition waits for the one before it: rows go side by side. */
#define NORM_ROWS 4
static void find_scales(const product *of, const struct ggml_tensor *x, int64_t first, int64_t end,
                        float scales[NORM_ROWS])
{
    const uint32_t length = of->layout.length;
    const float *rows[NORM_ROWS];
    double sums[NORM_ROWS] = {0};
    for (int r = 0; r < NORM_ROWS; r++) {
        rows[r] = plain_row(x, first + r < end ? first + r : first);
    }
    for (uint32_t i = 0; i < length; i++) {
#pragma GCC unroll 4
        for (int r = 0; r < NORM_ROWS; r++) {
            sums[r] += (double)(rows[r][i] * rows[r][i]);
        }
    }
    for (int r = 0; r < NORM_ROWS; r++) {
        const float mean = (float)(sums[r] / length);
        scales[r] = 1.0f / sqrtf(mean + of->epsilon);
    }
}

/* In the thread's place. */
static const float *norm_row(const product *of, const float *row, float scale, int thread)
{
    const uint32_t length = of->layout.length;
    const float *weights = of->norm->data;
    float *normed = (float *)(void *)(place_of(of->matmul, thread) + ROW_AT);
    uint32_t i = 0;
    for (; i + 8 <= length; i += 8) {
        *(eight *)(void *)(normed + i) = *(const eight *)(const void *)(row + i) * scale *
                                         *(const eight *)(const void *)(weights + i);
    }
    for (; i < length; i++) {
        normed[i] = row[i] * scale * weights[i];
    }
    return normed;
}

static const float *row_at(const product *of, const struct ggml_tensor *x, int64_t index,
                           int thread)
{
    float scales[NORM_ROWS];
    if (of->norm == NULL) {
        return plain_row(x, index);
    }
    find_scales(of, x, index, index + 1, scales);
    return norm_row(of, plain_row(x, index), scales[0], thread);
}

static void convert_normed(const product *of, struct ggml_tensor *dst, int64_t first, int64_t end,
                           int thread)
{
    const struct ggml_tensor *x = dst->src[0];
    float scales[NORM_ROWS];
    for (int64_t i = first; i < end; i++) {
        const int64_t place = (i - first) % NORM_ROWS;
        if (place == 0) {
            find_scales(of, x, i, end, scales);
        }
        const float *row = norm_row(of, plain_row(x, i), scales[place], thread);
        for (uint32_t from = 0; from < of->layout.length; from += DW_SEGMENT) {
            convert_segment(of, row, from, (unsigned char *)dst->data + (size_t)i * dst->nb[1]);
        }
    }
}

static void convert(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const product *of = user;
    const struct ggml_tensor *x = dst->src[0];
    const int64_t segments = (of->layout.length + DW_SEGMENT - 1) / DW_SEGMENT;
    const int64_t all = (of->norm != NULL ? 1 : segments) * x->ne[1];
    const int64_t first = all * ith / nth;
    const int64_t end = all * (ith + 1) / nth;
    if (of->norm != NULL) {
        convert_normed(of, dst, first, end, ith);
    }
    for (int64_t i = first; of->norm == NULL && i < end; i++) {
        convert_segment(of, plain_row(x, i / segments), (uint32_t)(i % segments) * DW_SEGMENT,
                        (unsigned char *)dst->data + (size_t)(i / segments) * dst->nb[1]);
    }
    dw_graph_work_give();
}

static void make_columns(const product *of, const struct ggml_tensor *x, int thread,
                         unsigned char *columns)
{
    for (int64_t i = 0; i < x->ne[1]; i++) {
        const float *row = row_at(of, x, i, thread);
        for (uint32_t from = 0; from < of->layout.length; from += DW_SEGMENT) {
            convert_segment(of, row, from, columns + (size_t)i * of->layout.bytes);
        }
    }
}

/* The columns of a product, [n][layout.bytes]: made before, or here, for this thread alone. */
static const unsigned char *columns_of(const product *of, const struct ggml_tensor *node,
                                       int thread)
{
    const struct ggml_tensor *x = node->src[0];
    if (!of->own) {
        return x->data;
    }
    unsigned char *columns =
        place_of(of->matmul, thread) + ROW_AT + row_bytes_of(of->matmul->length_max);
    make_columns(of, x, thread, columns);
    return columns;
}

/* ---- products ---- */

/* One panel of one matrix, with a bias. */
typedef struct panel {
    const struct ggml_tensor *weight;
    const struct ggml_tensor *bias;
    int64_t first_row; /* among all matrices' */
    int64_t row;       /* the kernel's first; before `first` where the last panel reaches back */
    int64_t first;     /* whose results are wanted: [first, end) */
    int64_t end;
} panel;

static panel panel_at(const product *of, uint32_t index)
{
    panel at = {0};
    uint32_t i = 0;
    while (index >= of->panels[i]) {
        at.first_row += of->with[i].weight->ne[1];
        index -= of->panels[i++];
    }
    int64_t rows = of->matmul->kernel->rows;
    at.weight = of->with[i].weight;
    at.bias = of->with[i].bias;
    at.first = index * rows;
    at.end = at.first + rows < at.weight->ne[1] ? at.first + rows : at.weight->ne[1];
    at.row = of->dot != NULL ? at.first : at.end - rows;
    return at;
}

/* The panel's results for a tile of columns to where they belong. */
static void put(const product *of, struct ggml_tensor *dst, const panel *at, int64_t first_column,
                const dw_matmul_tile *tile)
{
    uint32_t rows = of->matmul->kernel->rows;
    uint32_t count = (uint32_t)(at->end - at->first);
    const int64_t first = at->first_row + at->first;
    for (uint32_t c = 0; c < tile->column_count; c++) {
        const size_t place = c * rows + (size_t)(at->first - at->row);
        const float *values = tile->out + place;
        int64_t column = first_column + c;
        if (of->store != NULL) {
            of->store(of->user, column, at->first, count, values);
            continue;
        }
        float *to = (float *)dst->data + column * dst->ne[0] + first;
        copy_floats(to, values, count);
        if (at->bias != NULL) {
            add_floats(to, (const float *)at->bias->data + at->first, count);
        }
        if (of->adds) {
            const struct ggml_tensor *x = dst->src[1];
            const unsigned char *row = (const unsigned char *)x->data + (size_t)column * x->nb[1];
            add_floats(to, (const float *)(const void *)row + first, count);
        }
    }
}

static dw_matmul_tile tile_for(const product *of, int thread)
{
    unsigned char *place = place_of(of->matmul, thread);
    return (dw_matmul_tile){.layout = &of->layout,
                            .scratch = place,
                            .out = (float *)(void *)(place + DW_MATMUL_SCRATCH_BYTES)};
}

/* How a product of n columns is cut: tiles of columns, and in each tile panels of rows. */
typedef struct grid {
    uint32_t width; /* of a tile */
    uint32_t tiles;
    uint32_t per_unit; /* panels */
    uint32_t units;    /* in a tile */
} grid;

static grid grid_of(const product *of, uint32_t n)
{
    grid of_n = {.per_unit = n <= FEW_COLUMNS ? FEW_PANELS : 1};
    of_n.tiles = (n + DW_TILE_COLUMNS_MAX - 1) / DW_TILE_COLUMNS_MAX;
    of_n.width = ((n + of_n.tiles - 1) / of_n.tiles + 1) / 2 * 2;
    of_n.units = (of->panel_count + of_n.per_unit - 1) / of_n.per_unit;
    return of_n;
}

/* The panel times the tile's columns. */
static void multiply_panel(const product *of, const panel *at, dw_matmul_tile *tile)
{
    tile->type = at->weight->type;
    tile->row_stride = at->weight->nb[1];
    tile->weights = at->weight->data;
    tile->weights += (size_t)at->row * tile->row_stride;
    if (of->dot == NULL) {
        of->matmul->kernel->multiply(tile);
        return;
    }
    for (uint32_t row = 0; row < (uint32_t)(at->end - at->row); row++) {
        for (uint32_t c = 0; c < tile->column_count; c++) {
            of->dot((int)of->layout.length, tile->out + c * of->matmul->kernel->rows + row, 0,
                    tile->weights + row * tile->row_stride, 0, tile->columns + c * of->layout.bytes,
                    0, 1);
        }
    }
}

/* All units are there again for the next run, once no thread of this one looks at them. */
static void begin_anew(product *of, int threads)
{
    if (atomic_fetch_add_explicit(&of->through, 1, memory_order_acq_rel) + 1 < threads) {
        return;
    }
    atomic_store_explicit(&of->next, 0, memory_order_relaxed);
    of->end = UINT32_MAX;
    atomic_store_explicit(&of->through, 0, memory_order_relaxed);
}

/* ---- with a crew ---- */

/* Panels of a unit, so that their results for one or two columns have room in a thread's place. */
#define CUT_PANELS_MAX (DW_TILE_COLUMNS_MAX / OWN_COLUMNS)
#define CUT_WORK_MIN 10000u /* multiplications */

/* Every so many multiplications somebody looks at the stops. */
static bool is_stopped(product *of, uint32_t unit)
{
    const uint64_t each = (uint64_t)of->layout.length * of->matmul->kernel->rows;
    if (each * of->cuts[unit] / LOOK_WORK != each * of->cuts[unit + 1] / LOOK_WORK &&
        dw_stops_asked(of->matmul->stops)) {
        atomic_store_explicit(&of->stopped, true, memory_order_relaxed);
    }
    return atomic_load_explicit(&of->stopped, memory_order_relaxed);
}

static size_t outs_of(const product *of)
{
    return (size_t)of->node->src[0]->ne[1] * of->matmul->kernel->rows;
}

static void compute_cut(void *user, uint32_t unit, int thread)
{
    product *of = user;
    dw_matmul_tile tile = tile_for(of, thread);
    tile.columns = of->made;
    tile.column_count = (uint32_t)of->node->src[0]->ne[1];
    const uint32_t end = is_stopped(of, unit) ? 0 : of->cuts[unit + 1];
    for (uint32_t i = of->cuts[unit]; i < end; i++) {
        panel at = panel_at(of, i);
        multiply_panel(of, &at, &tile);
        tile.out += outs_of(of);
    }
}

static void deliver_cut(void *user, uint32_t unit, int thread)
{
    product *of = user;
    dw_matmul_tile tile = tile_for(of, thread);
    tile.column_count = (uint32_t)of->node->src[0]->ne[1];
    if (atomic_load_explicit(&of->stopped, memory_order_relaxed)) {
        return;
    }
    for (uint32_t i = of->cuts[unit]; i < of->cuts[unit + 1]; i++) {
        panel at = panel_at(of, i);
        put(of, (struct ggml_tensor *)(uintptr_t)of->node, &at, 0, &tile);
        tile.out += outs_of(of);
    }
}

static void multiply_by_crew(product *of)
{
    atomic_store_explicit(&of->stopped, dw_stops_asked(of->matmul->stops), memory_order_relaxed);
    make_columns(of, of->node->src[0], 0, of->made);
    dw_crew_run(of->matmul->crew, &(dw_crew_job){.units = of->cut_count,
                                                 .compute = compute_cut,
                                                 .deliver = deliver_cut,
                                                 .user = of});
}

/* The larger units come first, so that all end at about the same time: each is a share of what is
 * left, but takes a microsecond: taking one is a tenth of that. `to` NULL: they are counted. */
static uint32_t cut_panels(const product *of, uint32_t *to)
{
    uint32_t count = 0;
    const uint32_t least = CUT_WORK_MIN / (of->layout.length * of->matmul->kernel->rows) + 1;
    for (uint32_t at = 0; at < of->panel_count; count++) {
        const uint32_t left = of->panel_count - at;
        uint32_t each = left / (2 * (uint32_t)of->matmul->threads);
        each = each > least ? each : least < left ? least : left;
        each = each > CUT_PANELS_MAX ? CUT_PANELS_MAX : each;
        if (to != NULL) {
            to[count] = at;
            to[count + 1] = at + each;
        }
        at += each;
    }
    return count;
}

dw_status dw_matmul_set_crew(dw_matmul *matmul, dw_crew *crew, dw_error *err)
{
    size_t bytes = ALIGN_BYTES;
    size_t cuts = 0;
    for (uint32_t i = 0; i < matmul->product_count; i++) {
        const product *of = &matmul->products[i];
        if (of->own) {
            bytes += (size_t)of->node->src[0]->ne[1] * of->layout.bytes + ALIGN_BYTES;
            cuts += cut_panels(of, NULL) + 1;
        }
    }
    matmul->made = dw_alloc(1, bytes);
    matmul->cuts = dw_alloc(cuts, sizeof *matmul->cuts);
    if (matmul->made == NULL || matmul->cuts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the columns of products");
    }
    matmul->crew = crew;
    uintptr_t made = ((uintptr_t)matmul->made + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    uint32_t *at = matmul->cuts;
    for (uint32_t i = 0; i < matmul->product_count; i++) {
        product *of = &matmul->products[i];
        const uint32_t count = of->own ? cut_panels(of, at) : 0;
        if (!of->own || count > DW_CREW_UNITS_MAX) {
            continue;
        }
        of->cuts = at;
        of->cut_count = count;
        of->made = (unsigned char *)made;
        at += count + 1;
        made += (size_t)of->node->src[0]->ne[1] * of->layout.bytes / ALIGN_BYTES * ALIGN_BYTES +
                ALIGN_BYTES;
    }
    return DW_OK;
}

/* ---- as nodes ---- */

/* Units are taken one after the other. */
static void multiply(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    product *of = user;
    if (nth == 1 && of->cut_count > 0) {
        multiply_by_crew(of);
        dw_graph_work_give();
        return;
    }
    const uint32_t n = (uint32_t)dst->src[0]->ne[1];
    const grid cut = grid_of(of, n);
    const uint32_t all = cut.units * cut.tiles;
    const uint32_t end = all < of->end ? all : of->end;
    const unsigned char *columns = columns_of(of, dst, ith);
    dw_matmul_tile tile = tile_for(of, ith);
    uint64_t unit_work =
        (uint64_t)of->layout.length * cut.width * cut.per_unit * of->matmul->kernel->rows;
    uint64_t done = 0;
    for (;;) {
        uint32_t unit = atomic_fetch_add_explicit(&of->next, 1, memory_order_relaxed);
        if (unit >= end || (done >= LOOK_WORK && dw_stops_asked(of->matmul->stops))) {
            break;
        }
        done = done >= LOOK_WORK ? unit_work : done + unit_work;
        uint32_t first_column = unit / cut.units * cut.width;
        tile.column_count = n - first_column < cut.width ? n - first_column : cut.width;
        tile.columns = columns + first_column * of->layout.bytes;
        uint32_t from = unit % cut.units * cut.per_unit;
        for (uint32_t i = from; i < from + cut.per_unit && i < of->panel_count; i++) {
            panel at = panel_at(of, i);
            multiply_panel(of, &at, &tile);
            put(of, dst, &at, first_column, &tile);
        }
    }
    begin_anew(of, nth);
    dw_graph_work_give();
}

/* ---- a part at a time ---- */

static product *product_of(dw_matmul *matmul, const struct ggml_tensor *node)
{
    for (uint32_t i = 0; matmul != NULL && i < matmul->product_count; i++) {
        if (matmul->products[i].node == node) {
            return &matmul->products[i];
        }
    }
    return NULL;
}

bool dw_matmul_is_columns(const dw_matmul *matmul, const struct ggml_tensor *node)
{
    bool found = false;
    for (uint32_t i = 0; matmul != NULL && i < matmul->product_count; i++) {
        const product *of = &matmul->products[i];
        found = found || (of->node != NULL && !of->own && of->node->src[0] == node);
    }
    return found;
}

uint32_t dw_matmul_units(dw_matmul *matmul, const struct ggml_tensor *node, uint64_t *work)
{
    const product *of = product_of(matmul, node);
    if (of == NULL) {
        return 0;
    }
    const grid cut = grid_of(of, (uint32_t)node->src[0]->ne[1]);
    *work = (uint64_t)of->layout.length * of->panel_count * of->matmul->kernel->rows *
            (uint64_t)node->src[0]->ne[1];
    return cut.units * cut.tiles;
}

void dw_matmul_set_units(dw_matmul *matmul, const struct ggml_tensor *node, uint32_t from,
                         uint32_t to)
{
    product *of = product_of(matmul, node);
    DW_ASSERT(of != NULL && from < to);
    atomic_store_explicit(&of->next, from, memory_order_relaxed);
    of->end = to;
}

/* ---- building ---- */

/* Whether a matrix goes with columns laid out as in `layout`. */
static bool fits(const dw_matmul *matmul, const struct ggml_tensor *weight,
                 const dw_column_layout *layout)
{
    dw_column_layout own;
    return weight->ne[1] >= matmul->kernel->rows && weight->ne[2] == 1 &&
           weight->ne[1] < INT32_MAX && dw_column_layout_for(weight->type, weight->ne[0], &own) &&
           own.type == layout->type;
}

/* Whether the kernel takes all matrices; else, with vec_dot, whether their columns are the same. */
static bool find_way(const dw_matmul *matmul, const dw_linear *with, uint32_t count,
                     const struct ggml_tensor *x, product *to)
{
    const enum ggml_type first = with[0].weight->type;
    bool by_kernel = dw_column_layout_for(first, x->ne[0], &to->layout);
    for (uint32_t i = 0; i < count; i++) {
        by_kernel = by_kernel && fits(matmul, with[i].weight, &to->layout);
    }
    if (by_kernel) {
        return true;
    }
    const enum ggml_type wanted = ggml_get_type_traits_cpu(first)->vec_dot_type;
    to->dot = ggml_get_type_traits_cpu(first)->vec_dot;
    if (to->dot == NULL || x->ne[0] >= INT32_MAX / 64 || x->ne[0] % ggml_blck_size(wanted) != 0 ||
        DW_SEGMENT % ggml_blck_size(wanted) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (with[i].weight->type != first || with[i].weight->ne[2] != 1 ||
            with[i].weight->ne[1] >= INT32_MAX) {
            return false;
        }
    }
    to->layout = (dw_column_layout){.type = wanted,
                                    .length = (uint32_t)x->ne[0],
                                    .per_block = (uint32_t)ggml_blck_size(wanted),
                                    .bytes = ggml_row_size(wanted, x->ne[0])};
    return true;
}

/* NULL where there is no way for them. */
static product *add_product(dw_matmul *matmul, const dw_linear *with, uint32_t count,
                            const struct ggml_tensor *x)
{
    product way = {.count = count};
    DW_ASSERT(count > 0 && count <= DW_MATMUL_GROUP_MAX);
    if (matmul == NULL || x->type != GGML_TYPE_F32 || x->nb[0] != sizeof(float) || x->ne[2] != 1 ||
        x->ne[1] > UINT16_MAX || x->ne[0] > matmul->length_max ||
        !find_way(matmul, with, count, x, &way)) {
        return NULL;
    }
    DW_ASSERT(matmul->product_count < matmul->product_capacity);
    product *made = &matmul->products[matmul->product_count++];
    made->matmul = matmul;
    made->layout = way.layout;
    made->dot = way.dot;
    made->count = count;
    made->own = x->ne[1] <= OWN_COLUMNS;
    made->end = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        made->with[i] = with[i];
        int64_t rows = matmul->kernel->rows;
        made->panels[i] = (uint32_t)((with[i].weight->ne[1] + rows - 1) / rows);
        made->panel_count += made->panels[i];
    }
    return made;
}

/* Where x is a row that was normed for this product, what is normed: the product does it itself. */
static struct ggml_tensor *take_norm(product *of, struct ggml_tensor *x)
{
    struct ggml_tensor *normed = x->op == GGML_OP_MUL ? x->src[0] : NULL;
    const struct ggml_tensor *weights = x->op == GGML_OP_MUL ? x->src[1] : NULL;
    if (normed == NULL || normed->op != GGML_OP_RMS_NORM || weights->type != GGML_TYPE_F32 ||
        weights->ne[0] != x->ne[0] || weights->ne[1] != 1 ||
        normed->src[0]->nb[0] != sizeof(float)) {
        return x;
    }
    of->norm = weights;
    memcpy(&of->epsilon, normed->op_params, sizeof of->epsilon);
    return normed->src[0];
}

/* What the product's node reads: columns, or x where it makes them itself. */
static struct ggml_tensor *source_of(product *of, struct ggml_context *ggml, struct ggml_tensor *x)
{
    x = take_norm(of, x);
    return of->own
               ? x
               : ggml_set_name(ggml_custom_4d(ggml, GGML_TYPE_I8, (int64_t)of->layout.bytes,
                                              x->ne[1], 1, 1, &x, 1, convert, GGML_N_TASKS_MAX, of),
                               "columns");
}

struct ggml_tensor *dw_matmul_node(dw_matmul *matmul, struct ggml_context *ggml,
                                   const dw_linear *with, uint32_t count, struct ggml_tensor *x)
{
    product *made = add_product(matmul, with, count, x);
    if (made == NULL) {
        return NULL;
    }
    int64_t rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        rows += with[i].weight->ne[1];
    }
    struct ggml_tensor *source = source_of(made, ggml, x);
    struct ggml_tensor *node = ggml_custom_4d(ggml, GGML_TYPE_F32, rows, x->ne[1], 1, 1, &source, 1,
                                              multiply, GGML_N_TASKS_MAX, made);
    made->node = node;
    return ggml_format_name(node, "product %s", ggml_type_name(with[0].weight->type));
}

bool dw_matmul_add(dw_matmul *matmul, struct ggml_tensor *node, struct ggml_tensor *x)
{
    product *of = product_of(matmul, node);
    if (of == NULL || of->store != NULL || of->adds || x->type != GGML_TYPE_F32 ||
        x->nb[0] != sizeof(float) || !ggml_are_same_shape(node, x)) {
        return false;
    }
    of->adds = true;
    node->src[1] = x;
    return true;
}

struct ggml_tensor *dw_matmul_store_node(dw_matmul *matmul, struct ggml_context *ggml,
                                         struct ggml_tensor *weight, struct ggml_tensor *x,
                                         dw_matmul_store store, void *user)
{
    product *made = add_product(matmul, &(dw_linear){.weight = weight}, 1, x);
    if (made == NULL) {
        return NULL;
    }
    made->store = store;
    made->user = user;
    struct ggml_tensor *source = source_of(made, ggml, x);
    struct ggml_tensor *node = ggml_custom_4d(ggml, GGML_TYPE_F32, 1, 1, 1, 1, &source, 1, multiply,
                                              GGML_N_TASKS_MAX, made);
    made->node = node;
    return ggml_set_name(node, "product to rows");
}
