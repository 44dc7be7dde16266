#include "model/adapter_product.h"

#include <string.h>

#include "base/alloc.h"
#include "device/graph_work.h"

/* Rows of the result that a thread takes at a time. */
#define UNIT_ROWS 8

static const char first_name[] = "adapter A";
static const char second_name[] = "adapter B";

/* Four floats, wherever floats may stand: what the least processor has vectors of. */
typedef float quad __attribute__((vector_size(16), aligned(4)));
#define QUADS 4

/* Row by column: sums in 16 lanes, then of these by halves. */
static float dot(const float *a, const float *b, int64_t count)
{
    quad sums[QUADS] = {{0.0F}};
    int64_t i = 0;
    for (; i + 4 * QUADS <= count; i += 4 * QUADS) {
        const quad *left = (const quad *)(const void *)(a + i);
        const quad *right = (const quad *)(const void *)(b + i);
        sums[0] += left[0] * right[0];
        sums[1] += left[1] * right[1];
        sums[2] += left[2] * right[2];
        sums[3] += left[3] * right[3];
    }
    for (int k = 0; i + 4 <= count; i += 4, k++) { /* of low ranks all there is */
        sums[k] += *(const quad *)(const void *)(a + i) * *(const quad *)(const void *)(b + i);
    }
    for (int k = 0; i < count; i++, k++) {
        sums[0][k] += a[i] * b[i];
    }
    const quad half = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    return (half[0] + half[2]) + (half[1] + half[3]);
}

static const float *row_of(const struct ggml_tensor *tensor, int64_t row)
{
    const char *data = tensor->data;
    return (const float *)(const void *)(data + row * (int64_t)tensor->nb[1]);
}

/* What a unit has: rows [from, to) of column `column`. */
typedef struct unit {
    int64_t column;
    int64_t from;
    int64_t to;
} unit;

static unit unit_at(const struct ggml_tensor *dst, int64_t index)
{
    const int64_t per_column = (dst->ne[0] + UNIT_ROWS - 1) / UNIT_ROWS;
    unit at = {.column = index / per_column, .from = index % per_column * UNIT_ROWS};
    at.to = at.from + UNIT_ROWS < dst->ne[0] ? at.from + UNIT_ROWS : dst->ne[0];
    return at;
}

static int64_t unit_count(const struct ggml_tensor *dst)
{
    return (dst->ne[0] + UNIT_ROWS - 1) / UNIT_ROWS * dst->ne[1];
}

/* A x */
static void multiply_first(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const dw_adapter_use *use = user;
    const struct ggml_tensor *x = dst->src[0];
    for (int64_t i = ith; i < unit_count(dst); i += nth) {
        const unit at = unit_at(dst, i);
        const float *column = row_of(x, at.column);
        float *to = (float *)(uintptr_t)row_of(dst, at.column);
        for (int64_t row = at.from; row < at.to; row++) {
            to[row] = dot(row_of(use->pair->a, row), column, x->ne[0]);
        }
    }
    dw_graph_work_give();
}

/* y + scale * B z */
static void multiply_second(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const dw_adapter_use *use = user;
    const struct ggml_tensor *z = dst->src[0];
    const struct ggml_tensor *y = dst->src[1];
    for (int64_t i = ith; i < unit_count(dst); i += nth) {
        const unit at = unit_at(dst, i);
        const float *column = row_of(z, at.column);
        const float *before = row_of(y, at.column);
        float *to = (float *)(uintptr_t)row_of(dst, at.column);
        for (int64_t row = at.from; row < at.to; row++) {
            to[row] = before[row] + use->scale * dot(row_of(use->pair->b, row), column, z->ne[0]);
        }
    }
    dw_graph_work_give();
}

struct ggml_tensor *dw_adapter_second(struct ggml_context *ggml, const dw_adapter_use *use,
                                      struct ggml_tensor *z, struct ggml_tensor *y)
{
    struct ggml_tensor *from[] = {z, y};
    DW_ASSERT(z->ne[0] == use->pair->b->ne[0] && y->ne[0] == use->pair->b->ne[1]);
    DW_ASSERT(z->ne[1] == y->ne[1] && z->ne[2] == 1 && y->ne[2] == 1);
    struct ggml_tensor *node =
        ggml_custom_4d(ggml, GGML_TYPE_F32, y->ne[0], y->ne[1], 1, 1, from, 2, multiply_second,
                       GGML_N_TASKS_MAX, (void *)(uintptr_t)use);
    return ggml_set_name(node, second_name);
}

struct ggml_tensor *dw_adapter_product(struct ggml_context *ggml, const dw_adapter_use *use,
                                       struct ggml_tensor *x, struct ggml_tensor *y)
{
    const struct ggml_tensor *a = use->pair->a;
    DW_ASSERT(x->type == GGML_TYPE_F32 && x->nb[0] == sizeof(float));
    DW_ASSERT(x->ne[0] == a->ne[0] && x->ne[2] == 1 && a->ne[2] == 1);
    struct ggml_tensor *z =
        ggml_custom_4d(ggml, GGML_TYPE_F32, a->ne[1], x->ne[1], 1, 1, &x, 1, multiply_first,
                       GGML_N_TASKS_MAX, (void *)(uintptr_t)use);
    return dw_adapter_second(ggml, use, ggml_set_name(z, first_name), y);
}

/* ---- rows with different sets ---------------------------------------------------------------- */

dw_status dw_adapter_mix_create(dw_adapter_mix **out, const dw_adapter_set *all, uint32_t set_count,
                                dw_error *err)
{
    *out = NULL;
    dw_adapter_mix *mix = dw_alloc(1, sizeof *mix);
    if (mix != NULL) {
        mix->all = all;
        mix->set_count = set_count;
        mix->sets = dw_alloc(set_count, sizeof *mix->sets);
        mix->nodes = dw_alloc(all->use_count + all->table_count + 1, sizeof *mix->nodes);
    }
    if (mix == NULL || mix->sets == NULL || mix->nodes == NULL) {
        dw_adapter_mix_destroy(mix);
        return dw_fail(err, DW_E_MEMORY, "no memory for sets of adapters in one graph");
    }
    *out = mix;
    return DW_OK;
}

void dw_adapter_mix_destroy(dw_adapter_mix *mix)
{
    if (mix != NULL) {
        dw_free(mix->sets);
        dw_free(mix->nodes);
        dw_free(mix);
    }
}

/* What the row's set adds to products with the node's weight: [*count]. */
static const dw_adapter_use *uses_of(const dw_adapter_mixed *node, const struct ggml_tensor *which,
                                     int64_t row, size_t *count)
{
    const int32_t number = *(const int32_t *)(const void *)row_of(which, row);
    DW_ASSERT(number < (int32_t)node->mix->set_count);
    return dw_adapter_set_find(number < 0 ? NULL : node->mix->sets[number], node->weight, count);
}

/* The A x of the row's uses, one behind the other; what is behind them nobody reads. */
static void mix_first(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const struct ggml_tensor *x = dst->src[0];
    for (int64_t i = ith; i < unit_count(dst); i += nth) {
        const unit at = unit_at(dst, i);
        const float *column = row_of(x, at.column);
        float *to = (float *)(uintptr_t)row_of(dst, at.column);
        size_t count;
        int64_t first = 0;
        const dw_adapter_use *uses = uses_of(user, dst->src[1], at.column, &count);
        for (size_t k = 0; k < count; k++) {
            const int64_t end = first + uses[k].pair->a->ne[1];
            for (int64_t row = at.from > first ? at.from : first; row < at.to && row < end; row++) {
                to[row] = dot(row_of(uses[k].pair->a, row - first), column, x->ne[0]);
            }
            first = end;
        }
    }
    dw_graph_work_give();
}

/* y, then of each use in its turn + scale * B z */
static void mix_second(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    for (int64_t i = ith; i < unit_count(dst); i += nth) {
        const unit at = unit_at(dst, i);
        const float *z = row_of(dst->src[0], at.column);
        const float *before = row_of(dst->src[1], at.column);
        float *to = (float *)(uintptr_t)row_of(dst, at.column);
        size_t count;
        const dw_adapter_use *uses = uses_of(user, dst->src[2], at.column, &count);
        memcpy(to + at.from, before + at.from, (size_t)(at.to - at.from) * sizeof *to);
        for (size_t k = 0; k < count; k++) {
            const struct ggml_tensor *b = uses[k].pair->b;
            for (int64_t row = at.from; row < at.to; row++) {
                to[row] = to[row] + uses[k].scale * dot(row_of(b, row), z, b->ne[0]);
            }
            z += b->ne[0];
        }
    }
    dw_graph_work_give();
}

/* What the row's set multiplies by with the node's pair; 0: it has it not. */
static float scale_of(const dw_adapter_mixed *node, const struct ggml_tensor *which, int64_t row)
{
    const int32_t number = *(const int32_t *)(const void *)row_of(which, row);
    DW_ASSERT(number < (int32_t)node->mix->set_count);
    const dw_adapter_set *set = number < 0 ? NULL : node->mix->sets[number];
    for (size_t i = 0; set != NULL && i < set->table_count; i++) {
        if (set->tables[i].pair == node->table) {
            return set->tables[i].scale;
        }
    }
    return 0.0F;
}

static void mix_table(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const dw_adapter_mixed *node = user;
    const struct ggml_tensor *z = dst->src[0];
    for (int64_t i = ith; i < unit_count(dst); i += nth) {
        const unit at = unit_at(dst, i);
        const float *column = row_of(z, at.column);
        const float *before = row_of(dst->src[1], at.column);
        float *to = (float *)(uintptr_t)row_of(dst, at.column);
        const float scale = scale_of(node, dst->src[2], at.column);
        for (int64_t row = at.from; row < at.to; row++) {
            to[row] = scale == 0.0F ? before[row]
                                    : before[row] + scale * dot(row_of(node->table->b, row), column,
                                                                z->ne[0]);
        }
    }
    dw_graph_work_give();
}

static dw_adapter_mixed *add_node(dw_adapter_mix *mix, dw_adapter_mixed node)
{
    DW_ASSERT(mix->node_count < mix->all->use_count + mix->all->table_count);
    node.mix = mix;
    mix->nodes[mix->node_count] = node;
    return &mix->nodes[mix->node_count++];
}

static struct ggml_tensor *mixed_node(struct ggml_context *ggml, const dw_adapter_rows *rows,
                                      struct ggml_tensor *z, ggml_custom_op_t function,
                                      dw_adapter_mixed *node)
{
    struct ggml_tensor *from[] = {z, rows->y, rows->which};
    DW_ASSERT(z->ne[1] == rows->y->ne[1] && rows->which->ne[1] == rows->y->ne[1]);
    DW_ASSERT(z->ne[2] == 1 && rows->y->ne[2] == 1);
    return ggml_set_name(ggml_custom_4d(ggml, GGML_TYPE_F32, rows->y->ne[0], rows->y->ne[1], 1, 1,
                                        from, 3, function, GGML_N_TASKS_MAX, node),
                         second_name);
}

struct ggml_tensor *dw_adapter_mixed_second(dw_adapter_mix *mix, struct ggml_context *ggml,
                                            const dw_adapter_use *use, const dw_adapter_rows *rows)
{
    DW_ASSERT(rows->x->ne[0] == use->pair->b->ne[0] && rows->y->ne[0] == use->pair->b->ne[1]);
    return mixed_node(ggml, rows, rows->x, mix_table,
                      add_node(mix, (dw_adapter_mixed){.table = use->pair}));
}

struct ggml_tensor *dw_adapter_mixed_product(dw_adapter_mix *mix, struct ggml_context *ggml,
                                             const struct ggml_tensor *weight,
                                             const dw_adapter_rows *rows)
{
    size_t count;
    int64_t ranks = 0;
    const dw_adapter_use *uses = dw_adapter_set_find(mix->all, weight, &count);
    for (size_t i = 0; i < count; i++) {
        ranks += uses[i].pair->a->ne[1];
        DW_ASSERT(uses[i].pair->a->ne[0] == rows->x->ne[0]);
        DW_ASSERT(uses[i].pair->b->ne[1] == rows->y->ne[0]);
    }
    DW_ASSERT(ranks > 0 && rows->x->type == GGML_TYPE_F32 && rows->x->nb[0] == sizeof(float));
    dw_adapter_mixed *node = add_node(mix, (dw_adapter_mixed){.weight = weight});
    struct ggml_tensor *from[] = {rows->x, rows->which};
    struct ggml_tensor *z = ggml_custom_4d(ggml, GGML_TYPE_F32, ranks, rows->x->ne[1], 1, 1, from,
                                           2, mix_first, GGML_N_TASKS_MAX, node);
    return mixed_node(ggml, rows, ggml_set_name(z, first_name), mix_second, node);
}

uint64_t dw_adapter_product_work(const struct ggml_tensor *node)
{
    const bool is_first = strcmp(ggml_get_name(node), first_name) == 0;
    if (node->op != GGML_OP_CUSTOM ||
        (!is_first && strcmp(ggml_get_name(node), second_name) != 0)) {
        return 0;
    }
    return (uint64_t)ggml_nelements(node) * (uint64_t)node->src[0]->ne[0];
}
