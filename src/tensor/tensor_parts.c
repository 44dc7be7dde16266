#include "tensor/tensor_parts_internal.h"

#include "base/alloc.h"
#include "tensor/tensor_graph.h"

/* Multiplications in a part of a product, and elements in one of other operations: some
 * milliseconds' on one core. */
#define PART_WORK ((int64_t)1 << 25)
#define PART_ELEMENTS ((int64_t)1 << 21)
/* More parts than this cost more than they are worth: then parts are larger. */
#define PARTS_MAX 8192
/* Of rows and columns, where a part has as many: ggml's kernels take them in tiles. */
#define TILE 64

/* ggml takes another way through products of less: parts have as many columns, or all there are. */
#define COLUMNS_MIN 16
/* Its way also depends on whether this divides the rows. */
#define ROWS_STEP 4

static int64_t part_work = PART_WORK;
static int64_t part_elements = PART_ELEMENTS;

void dw_tensor_set_parts(int64_t work, int64_t elements)
{
    part_work = work > 0 ? work : PART_WORK;
    part_elements = elements > 0 ? elements : PART_ELEMENTS;
}

/* ---- where to cut -------------------------------------------------------------------------- */

static int64_t bounded(int64_t wanted, int64_t least, int64_t most)
{
    wanted = wanted > TILE ? wanted / TILE * TILE : least;
    return wanted > most ? most : wanted;
}

static int64_t pieces(int64_t all, int64_t each)
{
    return (all + each - 1) / each;
}

/* Columns of the part that begins at `at`: a rest of a few goes with those in front of it. */
static int64_t columns_at(const dw__product_cut *cut, int64_t all, int64_t at)
{
    return all - at < cut->columns + COLUMNS_MIN ? all - at : cut->columns;
}

static int64_t column_pieces(const dw__product_cut *cut, int64_t all)
{
    int64_t whole = all / cut->columns;
    return all % cut->columns >= COLUMNS_MIN || whole == 0 ? whole + 1 : whole;
}

/* Planes of b's third dimension that share one of a's go together, or such groups do. */
static int64_t planes_of(const int64_t *a_ne, const int64_t *b_ne, int64_t wanted)
{
    int64_t shared = b_ne[2] / a_ne[2];
    if (wanted >= b_ne[2]) {
        return b_ne[2];
    }
    if (wanted >= shared) {
        return wanted / shared * shared;
    }
    while (wanted > 1 && shared % wanted != 0) {
        wanted--;
    }
    return wanted < 1 ? 1 : wanted;
}

/* Sizes are below 2^31: two of them multiply without overflow. */
static dw__product_cut cut_by(const int64_t *a_ne, const int64_t *b_ne, int64_t work)
{
    int64_t k = a_ne[0];
    int64_t m = a_ne[1];
    int64_t n = b_ne[1];
    dw__product_cut cut = {.rows = m, .columns = n, .planes = b_ne[2]};
    if (k * m > work / COLUMNS_MIN) {
        bool cuts_rows = m % ROWS_STEP == 0 && k * m > work;
        cut.rows = cuts_rows ? bounded(work / COLUMNS_MIN / k, TILE, m) : m;
        cut.columns = COLUMNS_MIN < n ? COLUMNS_MIN : n;
        cut.planes = 1;
    } else if (n > work / (k * m)) {
        cut.columns = bounded(work / (k * m), COLUMNS_MIN, n);
        cut.planes = 1;
    } else {
        cut.planes = planes_of(a_ne, b_ne, work / (k * m * n));
    }
    cut.count = (size_t)(pieces(m, cut.rows) * column_pieces(&cut, n)) *
                (size_t)(pieces(b_ne[2], cut.planes) * b_ne[3]);
    return cut;
}

dw__product_cut dw__cut_product(const int64_t *a_ne, const int64_t *b_ne)
{
    double work =
        (double)a_ne[0] * (double)a_ne[1] * (double)b_ne[1] * (double)b_ne[2] * (double)b_ne[3];
    int64_t each = part_work;
    dw__product_cut cut = {.rows = a_ne[1], .columns = b_ne[1], .planes = b_ne[2], .count = 1};
    if (work <= (double)part_work || b_ne[3] > PARTS_MAX) {
        return cut;
    }
    for (cut = cut_by(a_ne, b_ne, each); cut.count > PARTS_MAX && each < INT64_MAX / 4;
         cut = cut_by(a_ne, b_ne, each)) {
        each *= 2;
    }
    return cut;
}

int64_t dw__cut_rows(const int64_t *ne, size_t *count)
{
    int64_t rows = ne[1] * ne[2] * ne[3];
    int64_t each = part_elements / ne[0] > 1 ? part_elements / ne[0] : 1;
    each = pieces(rows, each) > PARTS_MAX ? pieces(rows, PARTS_MAX) : each;
    *count = ne[0] * rows > 2 * part_elements ? (size_t)pieces(rows, each) : 1;
    return *count > 1 ? each : rows;
}

/* ---- stretches of a graph -------------------------------------------------------------------- */

/* In multiplications, an element of other operations as so many. */
static int64_t work_of(const struct ggml_tensor *node)
{
    int64_t elements = ggml_nelements(node);
    return node->op == GGML_OP_MUL_MAT ? elements * node->src[0]->ne[0]
                                       : elements * (PART_WORK / PART_ELEMENTS);
}

int dw__stretch_end(struct ggml_cgraph *graph, int from)
{
    int count = ggml_graph_n_nodes(graph);
    int64_t work = 0;
    int end = from;
    while (end < count && work < part_work) {
        int64_t more = work_of(ggml_graph_node(graph, end));
        work = more < part_work ? work + more : part_work;
        end++;
    }
    return end;
}

/* ---- results in parts ----------------------------------------------------------------------- */

dw_status dw__parts_reserve(dw__built *built, size_t count, dw_error *err)
{
    built->parts = dw_alloc(count, sizeof *built->parts);
    built->part_capacity = count;
    return built->parts != NULL ? DW_OK
                                : dw_fail(err, DW_E_MEMORY, "no memory for %zu parts", count);
}

static void nothing(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    (void)dst;
    (void)ith;
    (void)nth;
    (void)user;
}

/* What the parts of an operation on `a` (and `b`, or NULL) write into: a node that does nothing,
 * but has memory from here until its last user. */
static struct ggml_tensor *make_result(const dw__parts *parts, const int64_t *ne,
                                       struct ggml_tensor *a, struct ggml_tensor *b)
{
    struct ggml_tensor *args[] = {a, b};
    struct ggml_tensor *result = ggml_custom_4d(parts->context, GGML_TYPE_F32, ne[0], ne[1], ne[2],
                                                ne[3], args, b != NULL ? 2 : 1, nothing, 1, NULL);
    ggml_build_forward_expand(parts->built->cgraph, result);
    return result;
}

/* `node` writes to `result` from `offset` on, with its strides. Until it has an address another one
 * stands for it, so that it gets no memory of its own. */
static void add_part(const dw__parts *parts, struct ggml_tensor *result, struct ggml_tensor *node,
                     size_t offset)
{
    dw__built *built = parts->built;
    static unsigned char somewhere;
    for (int i = 1; i < DW_MAX_DIMS; i++) {
        node->nb[i] = result->nb[i];
    }
    node->data = &somewhere;
    node->src[DW__PART_SOURCE] = result; /* after it, and before its users */
    ggml_build_forward_expand(built->cgraph, node);
    DW_ASSERT(built->part_count < built->part_capacity);
    built->parts[built->part_count++] =
        (dw__part){.node = node, .result = result, .offset = offset};
}

void dw__parts_place(const dw__built *built)
{
    for (size_t i = 0; i < built->part_count; i++) {
        const dw__part *part = &built->parts[i];
        if (part->result->data != NULL) {
            part->node->data = (unsigned char *)part->result->data + part->offset;
            part->node->buffer = part->result->buffer;
        }
    }
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows [row, ..) and columns [column, ..) of planes [plane, ..) of one of the fourth dimension. */
static void add_product(const dw__parts *parts, const dw__product_cut *cut,
                        struct ggml_tensor *result, const int64_t *at)
{
    struct ggml_tensor *a = result->src[0];
    struct ggml_tensor *b = result->src[1];
    int64_t shared = b->ne[2] / a->ne[2];
    int64_t rows = least(cut->rows, a->ne[1] - at[0]);
    int64_t columns = columns_at(cut, b->ne[1], at[1]);
    int64_t planes = least(cut->planes, b->ne[2] - at[2]);
    int64_t a_planes = planes > shared ? planes / shared : 1;
    int64_t a_block = at[3] / (b->ne[3] / a->ne[3]);
    struct ggml_tensor *a_part =
        ggml_view_4d(parts->context, a, a->ne[0], rows, a_planes, 1, a->nb[1], a->nb[2], a->nb[3],
                     (size_t)at[0] * a->nb[1] + (size_t)(at[2] / shared) * a->nb[2] +
                         (size_t)a_block * a->nb[3]);
    struct ggml_tensor *b_part = ggml_view_4d(
        parts->context, b, b->ne[0], columns, planes, 1, b->nb[1], b->nb[2], b->nb[3],
        (size_t)at[1] * b->nb[1] + (size_t)at[2] * b->nb[2] + (size_t)at[3] * b->nb[3]);
    struct ggml_tensor *node = ggml_mul_mat(parts->context, a_part, b_part);
    (void)ggml_prec_set_acc(node, GGML_PREC_F32);
    add_part(parts, result, node,
             (size_t)at[0] * result->nb[0] + (size_t)at[1] * result->nb[1] +
                 (size_t)at[2] * result->nb[2] + (size_t)at[3] * result->nb[3]);
}

struct ggml_tensor *dw__product_in_parts(const dw__parts *parts, const dw__product_cut *cut,
                                         struct ggml_tensor *a, struct ggml_tensor *b)
{
    const int64_t ne[] = {a->ne[1], b->ne[1], b->ne[2], b->ne[3]};
    struct ggml_tensor *result = make_result(parts, ne, a, b);
    int64_t at[DW_MAX_DIMS]; /* in the result */
    for (at[3] = 0; at[3] < ne[3]; at[3]++) {
        for (at[2] = 0; at[2] < ne[2]; at[2] += cut->planes) {
            for (at[1] = 0; at[1] < ne[1]; at[1] += columns_at(cut, ne[1], at[1])) {
                for (at[0] = 0; at[0] < ne[0]; at[0] += cut->rows) {
                    add_product(parts, cut, result, at);
                }
            }
        }
    }
    return result;
}

struct ggml_tensor *dw__rows_in_parts(const dw__parts *parts, int64_t part_rows,
                                      struct ggml_tensor *a, dw__row_operation one,
                                      const void *user)
{
    struct ggml_tensor *result = make_result(parts, a->ne, a, NULL);
    int64_t all = ggml_nrows(a);
    for (int64_t row = 0; row < all; row += part_rows) {
        struct ggml_tensor *rows =
            ggml_view_2d(parts->context, a, a->ne[0], least(part_rows, all - row), a->nb[1],
                         (size_t)row * a->nb[1]);
        struct ggml_tensor *node = one(parts->context, rows, user);
        DW_ASSERT(node->type == GGML_TYPE_F32 && node->ne[0] == a->ne[0]);
        add_part(parts, result, node, (size_t)row * result->nb[1]);
    }
    return result;
}
