#include "reference_forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ggml.h>

#include "support.h"

typedef struct pass {
    const dw_model_shape *shape;
    uint32_t count; /* tokens */
} pass;

static double *rows_of(const pass *p, size_t length)
{
    double *rows = calloc(p->count * length, sizeof *rows);
    assert_non_null(rows);
    return rows;
}

static void to_floats(const struct ggml_tensor *tensor, int64_t row, float *to)
{
    const unsigned char *from = (const unsigned char *)tensor->data + row * (int64_t)tensor->nb[1];
    if (tensor->type == GGML_TYPE_F32) {
        memcpy(to, from, (size_t)tensor->ne[0] * sizeof *to);
    } else {
        ggml_get_type_traits(tensor->type)->to_float(from, to, tensor->ne[0]);
    }
}

/* [count][rows of the matrix] */
static double *multiply(const pass *p, const struct ggml_tensor *weight, const double *x)
{
    const size_t columns = (size_t)weight->ne[0];
    const size_t rows = (size_t)weight->ne[1];
    double *y = rows_of(p, rows);
    float *w = malloc(columns * sizeof *w);
    assert_non_null(w);
    for (size_t r = 0; r < rows; r++) {
        to_floats(weight, (int64_t)r, w);
        for (uint32_t t = 0; t < p->count; t++) {
            double sum = 0;
            for (size_t i = 0; i < columns; i++) {
                sum += (double)w[i] * x[t * columns + i];
            }
            y[t * rows + r] = sum;
        }
    }
    free(w);
    return y;
}

static double *norm(const pass *p, const struct ggml_tensor *weight, const double *x)
{
    const size_t length = (size_t)weight->ne[0];
    const float *w = weight->data;
    double *y = rows_of(p, length);
    for (uint32_t t = 0; t < p->count; t++) {
        double squares = 0;
        for (size_t i = 0; i < length; i++) {
            squares += x[t * length + i] * x[t * length + i];
        }
        const double scale = 1.0 / sqrt(squares / (double)length + (double)p->shape->norm_epsilon);
        for (size_t i = 0; i < length; i++) {
            y[t * length + i] = x[t * length + i] * scale * (double)w[i];
        }
    }
    return y;
}

/* Pairs of neighbours turn by position * base ^ (-2 pair / dims). */
static void rotate(const pass *p, double *x, uint32_t heads)
{
    const uint32_t dims = p->shape->rope_dims;
    for (uint32_t t = 0; t < p->count; t++) {
        for (uint32_t head = 0; head < heads; head++) {
            double *row = x + ((size_t)t * heads + head) * p->shape->head_dim;
            for (uint32_t i = 0; i < dims; i += 2) {
                const double angle = (double)t * (double)p->shape->rope_scale *
                                     pow((double)p->shape->rope_base, -(double)i / dims);
                const double a = row[i];
                const double b = row[i + 1];
                row[i] = a * cos(angle) - b * sin(angle);
                row[i + 1] = a * sin(angle) + b * cos(angle);
            }
        }
    }
}

/* One head's row of one token. */
static void attend(const pass *p, const double *q, const double *k, const double *v, uint32_t last,
                   double *to)
{
    const size_t stride = (size_t)p->shape->kv_head_count * p->shape->head_dim;
    const uint32_t dims = p->shape->head_dim;
    double top = -INFINITY;
    double sum = 0;
    double *scores = calloc(last + 1, sizeof *scores);
    assert_non_null(scores);
    for (uint32_t t = 0; t <= last; t++) {
        for (uint32_t i = 0; i < dims; i++) {
            scores[t] += q[i] * k[t * stride + i];
        }
        scores[t] *= (double)p->shape->attention_scale;
        top = fmax(top, scores[t]);
    }
    for (uint32_t t = 0; t <= last; t++) {
        scores[t] = exp(scores[t] - top);
        sum += scores[t];
    }
    for (uint32_t t = 0; t <= last; t++) {
        for (uint32_t i = 0; i < dims; i++) {
            to[i] += scores[t] / sum * v[t * stride + i];
        }
    }
    free(scores);
}

static double *attention(const pass *p, const dw_layer_weights *layer, const double *x)
{
    const dw_model_shape *shape = p->shape;
    const size_t q_row = (size_t)shape->head_count * shape->head_dim;
    double *q = multiply(p, layer->q.weight, x);
    double *k = multiply(p, layer->k.weight, x);
    double *v = multiply(p, layer->v.weight, x);
    double *heads = rows_of(p, q_row);
    rotate(p, q, shape->head_count);
    rotate(p, k, shape->kv_head_count);
    for (uint32_t t = 0; t < p->count; t++) {
        for (uint32_t head = 0; head < shape->head_count; head++) {
            const size_t at = t * q_row + (size_t)head * shape->head_dim;
            const size_t shared =
                (size_t)(head / (shape->head_count / shape->kv_head_count)) * shape->head_dim;
            attend(p, q + at, k + shared, v + shared, t, heads + at);
        }
    }
    double *y = multiply(p, layer->attn_out.weight, heads);
    free(q);
    free(k);
    free(v);
    free(heads);
    return y;
}

static double *feed_forward(const pass *p, const dw_layer_weights *layer, const double *x)
{
    double *gate = multiply(p, layer->gate.weight, x);
    double *up = multiply(p, layer->up.weight, x);
    for (size_t i = 0; i < (size_t)p->count * p->shape->ff_length; i++) {
        up[i] *= gate[i] / (1.0 + exp(-gate[i]));
    }
    double *y = multiply(p, layer->down.weight, up);
    free(gate);
    free(up);
    return y;
}

static void add(const pass *p, double *x,
                double *(*part)(const pass *, const dw_layer_weights *, const double *),
                const dw_layer_weights *layer, const struct ggml_tensor *norm_weight)
{
    double *normed = norm(p, norm_weight, x);
    double *y = part(p, layer, normed);
    for (size_t i = 0; i < (size_t)p->count * p->shape->embedding_length; i++) {
        x[i] += y[i];
    }
    free(normed);
    free(y);
}

void reference_forward(dw_model *model, const int32_t *tokens, uint32_t count, double *logits)
{
    const dw_model_weights *weights = dw_model_weights_of(model);
    const pass p = {.shape = dw_model_shape_of(model), .count = count};
    const uint32_t length = p.shape->embedding_length;
    assert_string_equal(p.shape->architecture->name, "llama");
    assert_true(weights->rope_factors == NULL && p.shape->expert_count == 0);
    double *x = rows_of(&p, length);
    float *row = malloc(length * sizeof *row);
    assert_non_null(row);
    for (uint32_t t = 0; t < count; t++) {
        to_floats(weights->token_embedding, tokens[t], row);
        for (uint32_t i = 0; i < length; i++) {
            x[(size_t)t * length + i] = (double)row[i];
        }
    }
    for (uint32_t i = 0; i < p.shape->layer_count; i++) {
        const dw_layer_weights *layer = &weights->layers[i];
        assert_true(layer->q.bias == NULL && layer->q.weight != NULL);
        add(&p, x, attention, layer, layer->attn_norm.weight);
        add(&p, x, feed_forward, layer, layer->ffn_norm.weight);
    }
    double *normed = norm(&p, weights->output_norm.weight, x);
    double *result = multiply(&p, weights->output.weight, normed);
    memcpy(logits, result, (size_t)count * p.shape->vocab_count * sizeof *logits);
    free(row);
    free(x);
    free(normed);
    free(result);
}
