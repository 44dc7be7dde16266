#include "model/logits_scatter.h"

#include <ggml-cpu.h>
#include <math.h>
#include <string.h>

#include "device/graph_work.h"

#define UNIT_TOKENS 64 /* of the vocabulary */

/* x's rows in the type that the weights' kernel wants them in. */
static void convert(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    dw_logits_scatter *into = user;
    const struct ggml_tensor *x = dst->src[0];
    if (ith == 0) { /* the product's node comes behind a barrier */
        dw_logits_scatter_set_units(into, 0, UINT32_MAX);
    }
    enum ggml_type wanted = ggml_get_type_traits_cpu(into->output->weight->type)->vec_dot_type;
    for (int64_t row = ith; row < x->ne[1]; row += nth) {
        const float *from =
            (const float *)(const void *)((const char *)x->data + row * (int64_t)x->nb[1]);
        char *to = (char *)dst->data + row * (int64_t)dst->nb[1];
        if (wanted == GGML_TYPE_F32) {
            memcpy(to, from, (size_t)x->ne[0] * sizeof *from);
        } else {
            ggml_get_type_traits_cpu(wanted)->from_float(from, to, x->ne[0]);
        }
    }
    dw_graph_work_give();
}

static float finish(const dw_logits_scatter *into, int64_t token, float logit)
{
    const dw_model_shape *shape = into->shape;
    if (into->output->bias != NULL) {
        logit += ((const float *)into->output->bias->data)[token];
    }
    logit *= shape->logit_scale;
    return shape->final_logit_softcap > 0
               ? shape->final_logit_softcap * tanhf(logit * (1.0f / shape->final_logit_softcap))
               : logit;
}

/* Each thread takes a share of the vocabulary, and reads a token's weights once for all rows. */
static void multiply(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const dw_logits_scatter *into = user;
    const struct ggml_tensor *weight = into->output->weight;
    const struct ggml_tensor *x = dst->src[0];
    const struct ggml_type_traits_cpu *traits = ggml_get_type_traits_cpu(weight->type);
    const int64_t first = (int64_t)into->from * UNIT_TOKENS;
    int64_t count = (int64_t)(into->to - into->from) * UNIT_TOKENS;
    count = count < weight->ne[1] - first ? count : weight->ne[1] - first;
    const int64_t end = first + count * (ith + 1) / nth;
    for (int64_t token = first + count * ith / nth; token < end; token++) {
        const char *of_token = (const char *)weight->data + token * (int64_t)weight->nb[1];
        for (int64_t row = 0; row < x->ne[1]; row++) {
            float logit = 0.0f;
            if (into->rows[row] == NULL) {
                continue;
            }
            traits->vec_dot((int)weight->ne[0], &logit, 0, of_token, 0,
                            (const char *)x->data + row * (int64_t)x->nb[1], 0, 1);
            into->rows[row][token] = finish(into, token, logit);
        }
    }
    dw_graph_work_give();
}

static void store(void *user, int64_t column, int64_t row, uint32_t count, const float *values)
{
    const dw_logits_scatter *into = user;
    for (uint32_t i = 0; into->rows[column] != NULL && i < count; i++) {
        into->rows[column][row + i] = finish(into, row + i, values[i]);
    }
}

/* The same into the node's own result, without what stands beside the product. */
static void multiply_plain(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const dw_logits_scatter *into = user;
    const struct ggml_tensor *weight = into->output->weight;
    const struct ggml_tensor *x = dst->src[0];
    const struct ggml_type_traits_cpu *traits = ggml_get_type_traits_cpu(weight->type);
    const int64_t end = weight->ne[1] * (ith + 1) / nth;
    for (int64_t token = weight->ne[1] * ith / nth; token < end; token++) {
        const char *of_token = (const char *)weight->data + token * (int64_t)weight->nb[1];
        for (int64_t row = 0; row < x->ne[1]; row++) {
            traits->vec_dot((int)weight->ne[0], (float *)dst->data + row * dst->ne[0] + token, 0,
                            of_token, 0, (const char *)x->data + row * (int64_t)x->nb[1], 0, 1);
        }
    }
    dw_graph_work_give();
}

/* x in the type that the weights' kernel wants. */
static struct ggml_tensor *converted_node(dw_logits_scatter *into, struct ggml_context *ggml,
                                          struct ggml_tensor *x)
{
    enum ggml_type wanted = ggml_get_type_traits_cpu(into->output->weight->type)->vec_dot_type;
    return ggml_custom_4d(ggml, GGML_TYPE_I8, (int64_t)ggml_row_size(wanted, x->ne[0]), x->ne[1], 1,
                          1, &x, 1, convert, GGML_N_TASKS_MAX, into);
}

struct ggml_tensor *dw_logits_scatter_product(dw_logits_scatter *into, dw_matmul *matmul,
                                              struct ggml_context *ggml, struct ggml_tensor *x)
{
    const dw_linear plain = {.weight = into->output->weight};
    struct ggml_tensor *node = dw_matmul_node(matmul, ggml, &plain, 1, x);
    if (node != NULL) {
        return node;
    }
    struct ggml_tensor *converted = converted_node(into, ggml, x);
    return ggml_custom_4d(ggml, GGML_TYPE_F32, plain.weight->ne[1], x->ne[1], 1, 1, &converted, 1,
                          multiply_plain, GGML_N_TASKS_MAX, into);
}

struct ggml_tensor *dw_logits_scatter_node(dw_logits_scatter *into, dw_matmul *matmul,
                                           struct ggml_context *ggml, struct ggml_tensor *x)
{
    struct ggml_tensor *node =
        dw_matmul_store_node(matmul, ggml, into->output->weight, x, store, into);
    if (node != NULL) {
        return node;
    }
    struct ggml_tensor *converted = converted_node(into, ggml, x);
    node = ggml_custom_4d(ggml, GGML_TYPE_F32, 1, 1, 1, 1, &converted, 1, multiply,
                          GGML_N_TASKS_MAX, into);
    into->node = node;
    return node;
}

static void place(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const struct ggml_tensor *logits = dst->src[0];
    const int64_t count = logits->ne[0];
    const int64_t from = count * ith / nth;
    const int64_t end = count * (ith + 1) / nth;
    for (int64_t row = 0; row < logits->ne[1]; row++) {
        const char *values = (const char *)logits->data + row * (int64_t)logits->nb[1];
        store(user, row, from, (uint32_t)(end - from), (const float *)(const void *)values + from);
    }
    dw_graph_work_give();
}

struct ggml_tensor *dw_logits_scatter_rows_node(dw_logits_scatter *into, struct ggml_context *ggml,
                                                struct ggml_tensor *logits)
{
    return ggml_custom_4d(ggml, GGML_TYPE_F32, 1, 1, 1, 1, &logits, 1, place, GGML_N_TASKS_MAX,
                          into);
}

uint32_t dw_logits_scatter_units(const dw_logits_scatter *scatter, const struct ggml_tensor *node,
                                 uint64_t *work)
{
    if (scatter == NULL || scatter->node != node) {
        return 0;
    }
    const struct ggml_tensor *weight = scatter->output->weight;
    *work = (uint64_t)weight->ne[0] * (uint64_t)weight->ne[1] * (uint64_t)node->src[0]->ne[1];
    return (uint32_t)((weight->ne[1] + UNIT_TOKENS - 1) / UNIT_TOKENS);
}

void dw_logits_scatter_set_units(dw_logits_scatter *scatter, uint32_t from, uint32_t to)
{
    scatter->from = from;
    scatter->to = to;
}
