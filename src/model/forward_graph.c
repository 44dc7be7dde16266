#include "model/forward_graph.h"

#include <math.h>

#define NODES_PER_LAYER 72u /* counted: at most 60, with every bias and scale */
#define NODES_PER_EXPERT 2u /* of those that a token uses */
#define NODES_BESIDE 32u
#define PRODUCTS_PER_LAYER 10u /* counted: at most 8, with shared experts */
#define NODES_PER_USE 5u       /* of an adapter: counted: at most 4 */

/* What the parts of a graph share. */
typedef struct builder {
    struct ggml_context *ggml;
    const dw_model_shape *shape;
    const dw_model_weights *weights;
    dw_forward_graph *out;
    int64_t token_count;
    int64_t kv_count;
    int64_t row_count;
    bool rows_first;
    bool long_context;
    dw_kv_layout kv;
    dw_forward_result result;
    dw_attention *attention; /* NULL: ggml's */
    dw_token_gather *token_gather;
    dw_logits_scatter *logits_scatter;
    dw_matmul *matmul;                /* NULL: ggml's products */
    const dw_cuda_products *products; /* NULL: likewise */
    const dw_adapter_set *adapters;   /* NULL: none */
    dw_adapter_mix *mix;              /* NULL: all rows have `adapters` */
    struct ggml_tensor *which;        /* with that: sets of the rows that are computed on */
    dw_token_gather *table_gathers;   /* of several sequences, as token_gather */
    bool on_cpu;
    dw_cuda_table table;
    dw_cuda_attention cuda;            /* its shape NULL: without CUDA operations (cuda_ops.h) */
    struct ggml_tensor *cuda_turns[2]; /* of layers without and with a window; NULL: none yet */
} builder;

static uint32_t node_count_max(const dw_model_shape *shape, const dw_adapter_set *adapters)
{
    const size_t uses = adapters != NULL ? adapters->use_count + adapters->table_count : 0;
    uint32_t nodes_a_layer = NODES_PER_LAYER + NODES_PER_EXPERT * shape->expert_used_count;
    return shape->layer_count * nodes_a_layer + NODES_BESIDE + (uint32_t)uses * NODES_PER_USE;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

dw_matmul_options dw_forward_products(const dw_model_shape *shape, dw_device *device)
{
    const uint32_t ff =
        larger(larger(shape->ff_length, shape->shared_ff_length), shape->expert_ff_length);
    return (dw_matmul_options){
        .product_count = shape->layer_count * PRODUCTS_PER_LAYER + 1,
        .length_max =
            larger(larger(shape->embedding_length, shape->head_count * shape->head_dim), ff),
        .threads = dw_device_threads(device)};
}

size_t dw_forward_graph_bytes(const dw_model_shape *shape, const dw_adapter_set *adapters)
{
    size_t nodes = node_count_max(shape, adapters);
    return nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(nodes, false);
}

/* ---- products, with what adapters add to them ---- */

static bool is_adapted(const builder *b, const struct ggml_tensor *weight)
{
    size_t count;
    return dw_adapter_set_find(b->adapters, weight, &count) != NULL;
}

/* By ggml: y + scale * delta. */
static struct ggml_tensor *add_scaled(builder *b, struct ggml_tensor *y, struct ggml_tensor *delta,
                                      float scale)
{
    return ggml_add(b->ggml, y, ggml_scale(b->ggml, delta, scale));
}

/* y, the product of x with the weight -> with what adapters add to it */
static struct ggml_tensor *adapted(builder *b, const struct ggml_tensor *weight,
                                   struct ggml_tensor *x, struct ggml_tensor *y)
{
    size_t count;
    const dw_adapter_use *uses = dw_adapter_set_find(b->adapters, weight, &count);
    if (b->mix != NULL && count > 0) {
        const dw_adapter_rows rows = {.which = b->which, .x = x, .y = y};
        return dw_adapter_mixed_product(b->mix, b->ggml, weight, &rows);
    }
    for (size_t i = 0; i < count; i++) {
        const dw_adapter_pair *pair = uses[i].pair;
        y = b->on_cpu
                ? dw_adapter_product(b->ggml, &uses[i], x, y)
                : add_scaled(b, y,
                             ggml_mul_mat(b->ggml, pair->b, ggml_mul_mat(b->ggml, pair->a, x)),
                             uses[i].scale);
    }
    return y;
}

/* The same with the experts [used, n] that are chosen: x [columns, 1 or used, n]. */
static struct ggml_tensor *expert_product(builder *b, struct ggml_tensor *weight,
                                          struct ggml_tensor *x, struct ggml_tensor *chosen)
{
    size_t count;
    const dw_adapter_use *uses = dw_adapter_set_find(b->adapters, weight, &count);
    struct ggml_tensor *y = ggml_mul_mat_id(b->ggml, weight, x, chosen);
    for (size_t i = 0; i < count; i++) {
        const dw_adapter_pair *pair = uses[i].pair;
        struct ggml_tensor *z = ggml_mul_mat_id(b->ggml, pair->a, x, chosen);
        y = add_scaled(b, y, ggml_mul_mat_id(b->ggml, pair->b, z, chosen), uses[i].scale);
    }
    return y;
}

/* x times matrices, biases added, by operations of ours; NULL: there is none for them. */
static struct ggml_tensor *product(builder *b, const dw_linear *with, uint32_t count,
                                   struct ggml_tensor *x)
{
    struct ggml_tensor *y = dw_matmul_node(b->matmul, b->ggml, with, count, x);
    return y != NULL ? y : dw_cuda_product_node(b->products, b->ggml, with, count, x);
}

static struct ggml_tensor *linear(builder *b, const dw_linear *with, struct ggml_tensor *x)
{
    const bool plain = !is_adapted(b, with->weight);
    const dw_linear own = {with->weight, plain ? with->bias : NULL};
    struct ggml_tensor *y = product(b, &own, 1, x);
    if (y != NULL && plain) {
        return y;
    }
    y = y != NULL ? y : ggml_mul_mat(b->ggml, with->weight, x);
    y = adapted(b, with->weight, x, y);
    return with->bias != NULL ? ggml_add(b->ggml, y, with->bias) : y;
}

static struct ggml_tensor *plain_linear(builder *b, struct ggml_tensor *weight,
                                        struct ggml_tensor *x)
{
    return linear(b, &(dw_linear){.weight = weight}, x);
}

static struct ggml_tensor *rms_norm(builder *b, struct ggml_tensor *weight, struct ggml_tensor *x)
{
    return ggml_mul(b->ggml, ggml_rms_norm(b->ggml, x, b->shape->norm_epsilon), weight);
}

/* Before a layer's parts and at the end; without weights x stays as it is. */
static struct ggml_tensor *norm(builder *b, const dw_linear *with, struct ggml_tensor *x)
{
    if (with->weight == NULL) {
        return x;
    }
    if (b->shape->architecture->norm == DW_NORM_RMS) {
        return rms_norm(b, with->weight, x);
    }
    x = ggml_mul(b->ggml, ggml_norm(b->ggml, x, b->shape->norm_epsilon), with->weight);
    return ggml_add(b->ggml, x, with->bias);
}

static struct ggml_tensor *scaled(builder *b, struct ggml_tensor *x, float scale)
{
    return scale == 1.0f ? x : ggml_scale(b->ggml, x, scale);
}

/* The attn_factor with which a rotation keeps the length of what it rotates: YaRN multiplies it by
 * a factor of its own. */
static float unscaled_attn_factor(float ext_factor, float scale)
{
    return ext_factor != 0.0f ? 1.0f / (1.0f + 0.1f * logf(1.0f / scale)) : 1.0f;
}

dw_rope_numbers dw_forward_rope_numbers(const dw_rope_source *source, uint32_t layer)
{
    const dw_model_shape *shape = source->shape;
    const dw_model_weights *weights = source->weights;
    struct ggml_tensor *factors = weights->rope_factors;
    if (factors == NULL) {
        factors = source->long_context ? weights->rope_factors_long : weights->rope_factors_short;
    }
    bool windowed = dw_layer_windowed(shape, layer);
    bool plain = windowed && shape->architecture->window_rope_plain;
    dw_rope_numbers numbers = {.dims = shape->rope_dims,
                               .mode = shape->architecture->rope_mode,
                               .context = shape->rope_context,
                               .base = windowed ? shape->window_rope_base : shape->rope_base,
                               .scale = windowed ? shape->window_rope_scale : shape->rope_scale,
                               .ext_factor = plain ? 0.0f : shape->yarn_ext_factor,
                               .attn_factor = plain ? 1.0f : shape->yarn_attn_factor,
                               .beta_fast = shape->yarn_beta_fast,
                               .beta_slow = shape->yarn_beta_slow,
                               .factors = factors};
    if (source->again) {
        numbers.attn_factor = unscaled_attn_factor(numbers.ext_factor, numbers.scale);
    }
    return numbers;
}

struct ggml_tensor *dw_forward_rope(const dw_rope_source *source, struct ggml_context *ggml,
                                    struct ggml_tensor *x, uint32_t layer)
{
    dw_rope_numbers n = dw_forward_rope_numbers(source, layer);
    if (n.dims == 0) {
        return x;
    }
    return ggml_rope_ext(ggml, x, source->positions, n.factors, (int)n.dims, n.mode, (int)n.context,
                         n.base, n.scale, n.ext_factor, n.attn_factor, n.beta_fast, n.beta_slow);
}

static dw_rope_source rope_source(const builder *b)
{
    return (dw_rope_source){.shape = b->shape,
                            .weights = b->weights,
                            .positions = b->out->positions,
                            .long_context = b->long_context};
}

static struct ggml_tensor *rope(builder *b, struct ggml_tensor *x, uint32_t layer)
{
    dw_rope_source source = rope_source(b);
    return dw_forward_rope(&source, b->ggml, x, layer);
}

/* Write rows [kv_heads * head_dim, tokens] into their records. Put into the graph at once, so that
 * it stands before the attention that reads the log: that reads it through another view, and the
 * order of the nodes is the only tie between the two. */
static void append(builder *b, struct ggml_tensor *rows, uint32_t layer, dw_kv_part part)
{
    struct ggml_tensor *target = dw_kv_layout_part(&b->kv, b->ggml, b->out->kv, layer, part);
    ggml_build_forward_expand(b->out->graph, ggml_set_rows(b->ggml, target, rows, b->out->records));
}

/* Queries, keys and values of one layer, before rope. */
typedef struct projections {
    struct ggml_tensor *q; /* [head_dim, heads, tokens] */
    struct ggml_tensor *k; /* [head_dim, kv_heads, tokens] */
    struct ggml_tensor *v; /* [kv_heads * head_dim, tokens] */
} projections;

/* Rows [offset, offset + heads * head_dim) of the one matrix's result. */
static struct ggml_tensor *cut_heads(builder *b, struct ggml_tensor *qkv, int64_t offset,
                                     int64_t heads)
{
    size_t head_bytes = b->shape->head_dim * sizeof(float);
    return ggml_view_3d(b->ggml, qkv, b->shape->head_dim, heads, b->token_count, head_bytes,
                        qkv->nb[1], (size_t)offset * sizeof(float));
}

static struct ggml_tensor *as_heads(builder *b, struct ggml_tensor *x, int64_t heads)
{
    return ggml_reshape_3d(b->ggml, x, b->shape->head_dim, heads, b->token_count);
}

/* x as a row or as heads, whichever its norm is over, to heads. */
static struct ggml_tensor *qk_norm(builder *b, struct ggml_tensor *weight, struct ggml_tensor *x,
                                   int64_t heads)
{
    switch (b->shape->architecture->qk_norm) {
    case DW_QK_EACH_HEAD:
        return rms_norm(b, weight, x);
    case DW_QK_WHOLE:
        if (x->nb[2] != x->nb[1] * (size_t)heads) {
            x = ggml_cont(b->ggml, x);
        }
        x = ggml_reshape_2d(b->ggml, x, b->shape->head_dim * heads, b->token_count);
        return as_heads(b, rms_norm(b, weight, x), heads);
    default:
        return x;
    }
}

/* Queries, keys and values in one matrix: the file's, or one product with three; NULL: apart. */
static struct ggml_tensor *project_together(builder *b, const dw_layer_weights *layer,
                                            struct ggml_tensor *x)
{
    if (layer->qkv.weight != NULL) {
        return linear(b, &layer->qkv, x);
    }
    const dw_linear three[] = {layer->q, layer->k, layer->v};
    return product(b, three, 3, x);
}

/* Whether an adapter changes one of three matrices: then they go apart, also where they lie
 * together. */
static bool goes_apart(const builder *b, const dw_layer_weights *layer)
{
    return layer->q.weight != NULL &&
           (is_adapted(b, layer->q.weight) || is_adapted(b, layer->k.weight) ||
            is_adapted(b, layer->v.weight));
}

static projections project(builder *b, const dw_layer_weights *layer, struct ggml_tensor *x,
                           bool with_queries)
{
    int64_t heads = b->shape->head_count;
    int64_t kv_heads = b->shape->kv_head_count;
    int64_t head_dim = b->shape->head_dim;
    projections p = {0};
    const bool together = (with_queries || layer->qkv.weight != NULL) && !goes_apart(b, layer);
    struct ggml_tensor *qkv = together ? project_together(b, layer, x) : NULL;
    if (qkv != NULL) {
        p.q = cut_heads(b, qkv, 0, heads);
        p.k = cut_heads(b, qkv, heads * head_dim, kv_heads);
        p.v = ggml_view_2d(b->ggml, qkv, kv_heads * head_dim, b->token_count, qkv->nb[1],
                           (size_t)((heads + kv_heads) * head_dim) * sizeof(float));
    } else {
        p.q = with_queries ? as_heads(b, linear(b, &layer->q, x), heads) : NULL;
        p.k = as_heads(b, linear(b, &layer->k, x), kv_heads);
        p.v = linear(b, &layer->v, x);
    }
    p.q = with_queries ? qk_norm(b, layer->q_norm, p.q, heads) : NULL;
    p.k = qk_norm(b, layer->k_norm, p.k, kv_heads);
    return p;
}

/* The node to attend behind, with dw_attention. */
static struct ggml_tensor *append_keys_and_values(builder *b, const projections *p, uint32_t index)
{
    struct ggml_tensor *k = rope(b, p->k, index);
    if (!ggml_is_contiguous(k)) {
        k = ggml_cont(b->ggml, k);
    }
    if (b->attention != NULL) {
        struct ggml_tensor *appended = dw_attention_append(b->attention, b->ggml, index, k, p->v);
        ggml_build_forward_expand(b->out->graph, appended);
        return appended;
    }
    k = ggml_reshape_2d(b->ggml, k, (int64_t)b->shape->head_dim * b->shape->kv_head_count,
                        b->token_count);
    append(b, k, index, DW_KV_KEYS);
    append(b, p->v, index, DW_KV_VALUES);
    return NULL;
}

/* By ggml: q [head_dim, heads, tokens] -> [heads * head_dim, tokens] */
static struct ggml_tensor *flash_attention(builder *b, struct ggml_tensor *q, uint32_t index)
{
    float scale = b->shape->attention_scale;
    if (b->shape->architecture->scales_queries) {
        q = ggml_scale(b->ggml, q, scale);
        scale = 1.0f;
    }
    q = ggml_permute(b->ggml, q, 0, 2, 1, 3); /* [head_dim, tokens, heads] */
    bool windowed = dw_layer_windowed(b->shape, index);
    struct ggml_tensor *y = ggml_flash_attn_ext(
        b->ggml, q, dw_kv_layout_heads(&b->kv, b->ggml, b->out->kv, index, DW_KV_KEYS),
        dw_kv_layout_heads(&b->kv, b->ggml, b->out->kv, index, DW_KV_VALUES),
        windowed ? b->out->window_mask : b->out->mask, scale, 0.0f, b->shape->attn_logit_softcap);
    (void)ggml_prec_set_acc(y, GGML_PREC_F32); /* as libllama asks for */
    return ggml_reshape_2d(b->ggml, y, (int64_t)b->shape->head_dim * b->shape->head_count,
                           b->token_count);
}

/* An encoder's by ggml, for devices without dw_attention. Each token attends to all:
 * q, k [head_dim, heads, tokens], v [head_dim * heads, tokens] -> [heads * head_dim, tokens] */
static struct ggml_tensor *full_attention(builder *b, struct ggml_tensor *q, struct ggml_tensor *k,
                                          struct ggml_tensor *v)
{
    int64_t head_dim = b->shape->head_dim;
    int64_t kv_heads = b->shape->kv_head_count;
    q = ggml_permute(b->ggml, q, 0, 2, 1, 3);
    k = ggml_permute(b->ggml, k, 0, 2, 1, 3);
    struct ggml_tensor *scores = ggml_mul_mat(b->ggml, k, q); /* [tokens, tokens, heads] */
    (void)ggml_prec_set_acc(scores, GGML_PREC_F32);
    scores = ggml_soft_max_ext(b->ggml, scores, NULL, b->shape->attention_scale, 0.0f);
    v = ggml_view_3d(b->ggml, v, head_dim, kv_heads, b->token_count,
                     (size_t)head_dim * sizeof(float), v->nb[1], 0);
    v = ggml_cont(b->ggml, ggml_permute(b->ggml, v, 1, 2, 0, 3)); /* [tokens, head_dim, heads] */
    struct ggml_tensor *y = ggml_mul_mat(b->ggml, v, scores);     /* [head_dim, tokens, heads] */
    y = ggml_permute(b->ggml, y, 0, 2, 1, 3);
    return ggml_cont_2d(b->ggml, y, head_dim * b->shape->head_count, b->token_count);
}

static struct ggml_tensor *encode(builder *b, const projections *p, struct ggml_tensor *q,
                                  uint32_t index)
{
    struct ggml_tensor *k = rope(b, p->k, index);
    struct ggml_tensor *v = p->v;
    if (k->nb[2] != v->nb[1]) { /* cut from the one matrix's result, and k rotated since */
        v = ggml_cont(b->ggml, v);
    }
    return b->attention != NULL ? dw_attention_encode(b->attention, b->ggml, index,
                                                      (struct ggml_tensor *[]){q, k, v})
                                : full_attention(b, q, k, v);
}

/* The cosines and sines of a layer, which all that rotate alike share. */
static struct ggml_tensor *cuda_rope(builder *b, const dw_rope_numbers *numbers, uint32_t index)
{
    struct ggml_tensor **turns = &b->cuda_turns[dw_layer_windowed(b->shape, index)];
    if (*turns == NULL && numbers->dims > 0) {
        *turns = dw_cuda_rope(b->ggml, &b->table, numbers);
        ggml_build_forward_expand(b->out->graph, *turns); /* not between a layer's kernels */
    }
    return *turns;
}

/* Keys and values into the logs by CUDA operations; with queries attention too, which appends
 * single tokens without a node of their own. */
static struct ggml_tensor *cuda_attention(builder *b, const projections *p, uint32_t index)
{
    dw_rope_source source = rope_source(b);
    dw_rope_numbers numbers = dw_forward_rope_numbers(&source, index);
    dw_cuda_layer layer = {.index = index,
                           .q = p->q,
                           .k = p->k,
                           .v = p->v,
                           .rope = cuda_rope(b, &numbers, index),
                           .rope_dims = numbers.dims,
                           .rope_mode = numbers.mode};
    if (p->q == NULL || !b->cuda.alone) {
        ggml_build_forward_expand(b->out->graph, dw_cuda_append(&b->cuda, b->ggml, &layer));
    }
    return p->q != NULL ? dw_cuda_attend(&b->cuda, b->ggml, &layer) : NULL;
}

/* x [embedding, tokens], normed -> [embedding, tokens] */
static struct ggml_tensor *attention(builder *b, const dw_layer_weights *layer, uint32_t index,
                                     struct ggml_tensor *x)
{
    projections p = project(b, layer, x, true);
    if (b->cuda.shape != NULL) {
        return linear(b, &layer->attn_out, cuda_attention(b, &p, index));
    }
    struct ggml_tensor *q = rope(b, p.q, index);
    if (b->shape->architecture->encoder) {
        return linear(b, &layer->attn_out, encode(b, &p, q, index));
    }
    /* Before K and V, so that q is computed from x while x is still warm. */
    ggml_build_forward_expand(b->out->graph, q);
    struct ggml_tensor *appended = append_keys_and_values(b, &p, index);
    struct ggml_tensor *y = b->attention != NULL
                                ? dw_attention_attend(b->attention, b->ggml, index, q, appended)
                                : flash_attention(b, q, index);
    return linear(b, &layer->attn_out, y);
}

static struct ggml_tensor *gated(builder *b, struct ggml_tensor *gate, struct ggml_tensor *up)
{
    return b->shape->architecture->activation == DW_SILU ? ggml_swiglu_split(b->ggml, gate, up)
                                                         : ggml_geglu_split(b->ggml, gate, up);
}

static struct ggml_tensor *activated(builder *b, struct ggml_tensor *x)
{
    return b->shape->architecture->activation == DW_SILU ? ggml_silu(b->ggml, x)
                                                         : ggml_gelu(b->ggml, x);
}

/* The chosen experts of each token and their weights: softmax over all, the largest kept.
 * (Shazeer and others, 2017; Fedus and others, 2021.) */
static struct ggml_tensor *route(builder *b, const dw_layer_weights *layer, struct ggml_tensor *x,
                                 struct ggml_tensor **chosen)
{
    int64_t used = b->shape->expert_used_count;
    int64_t count = x->ne[1];
    struct ggml_tensor *weights =
        ggml_soft_max(b->ggml, plain_linear(b, layer->router, x)); /* [experts, n] */
    *chosen = ggml_argsort_top_k(b->ggml, weights, (int)used);     /* [used, n] */
    weights = ggml_reshape_3d(b->ggml, weights, 1, b->shape->expert_count, count);
    struct ggml_tensor *kept = ggml_get_rows(b->ggml, weights, *chosen); /* [1, used, n] */
    if (b->shape->architecture->experts_sum_to_one) {
        kept = ggml_reshape_2d(b->ggml, kept, used, count);
        /* The least normal half: what libllama keeps from dividing by zero with. */
        struct ggml_tensor *sum =
            ggml_clamp(b->ggml, ggml_sum_rows(b->ggml, kept), 6.103515625e-5f, INFINITY);
        kept = ggml_reshape_3d(b->ggml, ggml_div(b->ggml, kept, sum), 1, used, count);
    }
    return kept;
}

/* The experts' sum by operations of ours; NULL: there are none for it. */
static struct ggml_tensor *mixture(builder *b, const dw_layer_weights *layer, struct ggml_tensor *x)
{
    const dw_architecture *architecture = b->shape->architecture;
    const dw_cuda_mixture of = {.router = layer->router,
                                .gate = layer->gate_experts,
                                .up = layer->up_experts,
                                .down = layer->down_experts,
                                .used = b->shape->expert_used_count,
                                .sum_to_one = architecture->experts_sum_to_one,
                                .activation = architecture->activation == DW_SILU ? DW_CUDA_SILU
                                                                                  : DW_CUDA_GELU};
    const bool plain = !is_adapted(b, of.router) && !is_adapted(b, of.gate) &&
                       !is_adapted(b, of.up) && !is_adapted(b, of.down);
    return plain ? dw_cuda_mixture_node(b->products, b->ggml, &of, x) : NULL;
}

/* By ggml's. */
static struct ggml_tensor *chosen_experts(builder *b, const dw_layer_weights *layer,
                                          struct ggml_tensor *x)
{
    struct ggml_tensor *chosen = NULL;
    struct ggml_tensor *weights = route(b, layer, x, &chosen);
    ggml_build_forward_expand(b->out->graph, weights);
    struct ggml_tensor *each = ggml_reshape_3d(b->ggml, x, x->ne[0], 1, x->ne[1]);
    struct ggml_tensor *up = expert_product(b, layer->up_experts, each, chosen);
    struct ggml_tensor *gate = expert_product(b, layer->gate_experts, each, chosen);
    struct ggml_tensor *y = expert_product(b, layer->down_experts, gated(b, gate, up), chosen);
    y = ggml_mul(b->ggml, y, weights); /* [embedding, used, n] */
    struct ggml_tensor *sum = NULL;
    for (uint32_t i = 0; i < b->shape->expert_used_count; i++) {
        struct ggml_tensor *one =
            ggml_view_2d(b->ggml, y, y->ne[0], y->ne[2], y->nb[2], i * y->nb[1]);
        sum = sum == NULL ? one : ggml_add(b->ggml, sum, one);
    }
    return b->shape->expert_used_count == 1 ? ggml_cont(b->ggml, sum) : sum;
}

/* Products and what joins their results in few operations; NULL: there are none for it. */
static struct ggml_tensor *gated_product(builder *b, const dw_linear *with, uint32_t count,
                                         const dw_linear *next, struct ggml_tensor *x)
{
    const dw_cuda_gate gate = {
        .with = with,
        .count = count,
        .activation = b->shape->architecture->activation == DW_SILU ? DW_CUDA_SILU : DW_CUDA_GELU,
        .next = is_adapted(b, next->weight) ? NULL : next};
    return dw_cuda_gated_node(b->products, b->ggml, &gate, x);
}

static struct ggml_tensor *gated_halves(builder *b, struct ggml_tensor *gate_and_up)
{
    return b->shape->architecture->activation == DW_SILU ? ggml_swiglu(b->ggml, gate_and_up)
                                                         : ggml_geglu(b->ggml, gate_and_up);
}

/* The expert that all tokens go through. */
static struct ggml_tensor *shared_expert(builder *b, const dw_layer_weights *layer,
                                         struct ggml_tensor *x)
{
    const dw_linear two[] = {{.weight = layer->gate_shared}, {.weight = layer->up_shared}};
    const dw_linear down = {.weight = layer->down_shared};
    const bool apart = is_adapted(b, two[0].weight) || is_adapted(b, two[1].weight);
    struct ggml_tensor *joined = apart ? NULL : gated_product(b, two, 2, &down, x);
    if (joined == NULL) {
        joined = gated(b, linear(b, &two[0], x), linear(b, &two[1], x));
    }
    return linear(b, &down, joined);
}

/* x [embedding, n], normed -> [embedding, n] */
static struct ggml_tensor *experts(builder *b, const dw_layer_weights *layer, struct ggml_tensor *x)
{
    struct ggml_tensor *sum = mixture(b, layer, x);
    sum = sum != NULL ? sum : chosen_experts(b, layer, x);
    if (layer->up_shared == NULL) {
        return sum;
    }
    struct ggml_tensor *shared = shared_expert(b, layer, x);
    return dw_cuda_product_add(sum, shared) ? sum : ggml_add(b->ggml, sum, shared);
}

/* x [embedding, n], normed -> [embedding, n] */
static struct ggml_tensor *feed_forward(builder *b, const dw_layer_weights *layer,
                                        struct ggml_tensor *x)
{
    if (layer->router != NULL) {
        return experts(b, layer, x);
    }
    switch (b->shape->architecture->ffn) {
    case DW_FFN_FUSED: {
        const bool plain = !is_adapted(b, layer->up.weight);
        struct ggml_tensor *joined =
            plain ? gated_product(b, &layer->up, 1, &layer->down, x) : NULL;
        x = joined != NULL ? joined : gated_halves(b, linear(b, &layer->up, x));
        break;
    }
    case DW_FFN_PLAIN:
        x = activated(b, linear(b, &layer->up, x));
        break;
    case DW_FFN_GATED: {
        const dw_linear two[] = {layer->gate, layer->up};
        const bool apart = is_adapted(b, layer->gate.weight) || is_adapted(b, layer->up.weight);
        struct ggml_tensor *joined = apart ? NULL : gated_product(b, two, 2, &layer->down, x);
        struct ggml_tensor *both =
            apart || joined != NULL ? NULL : dw_matmul_node(b->matmul, b->ggml, two, 2, x);
        if (joined != NULL) {
            x = joined;
        } else if (both != NULL) {
            x = gated_halves(b, both);
        } else {
            struct ggml_tensor *up = linear(b, &layer->up, x);
            x = gated(b, linear(b, &layer->gate, x), up);
        }
        break;
    }
    }
    return linear(b, &layer->down, x);
}

/* The rows of x [embedding, tokens] whose logits are wanted: the last, or the first, which are a
 * view, since rows are whole and in order. */
static struct ggml_tensor *wanted_rows(builder *b, struct ggml_tensor *x)
{
    if (b->row_count == b->token_count) {
        return x;
    }
    if (b->out->wanted != NULL) {
        return ggml_get_rows(b->ggml, x, b->out->wanted);
    }
    const int64_t before = b->rows_first ? 0 : b->token_count - b->row_count;
    return ggml_view_2d(b->ggml, x, x->ne[0], b->row_count, x->nb[1], (size_t)before * x->nb[1]);
}

/* What a part gives, as it is added to what it was given. */
static struct ggml_tensor *with_residual(builder *b, const dw_linear *post_norm,
                                         struct ggml_tensor *y, struct ggml_tensor *x)
{
    bool of_sum = b->shape->architecture->norm_place == DW_NORM_SUM;
    y = of_sum ? y : norm(b, post_norm, y);
    y = scaled(b, y, b->shape->residual_scale);
    y = dw_matmul_add(b->matmul, y, x) || dw_cuda_product_add(y, x) ? y : ggml_add(b->ggml, y, x);
    return of_sum ? norm(b, post_norm, y) : y;
}

static struct ggml_tensor *logits(builder *b, struct ggml_tensor *x)
{
    float cap = b->shape->final_logit_softcap;
    x = linear(b, &b->weights->output, norm(b, &b->weights->output_norm, x));
    x = scaled(b, x, b->shape->logit_scale);
    if (cap > 0) {
        x = ggml_scale(b->ggml, ggml_tanh(b->ggml, ggml_scale(b->ggml, x, 1.0f / cap)), cap);
    }
    return x;
}

/* Hidden states x [embedding, tokens] times their weights, added to what stands in `pooled`: over
 * several slices of a text that makes one embedding. */
static struct ggml_tensor *pool(builder *b, struct ggml_tensor *x)
{
    struct ggml_tensor *by_element = ggml_cont(b->ggml, ggml_transpose(b->ggml, x));
    struct ggml_tensor *sum = ggml_mul_mat(b->ggml, by_element, b->out->pool_weights);
    return ggml_add_inplace(b->ggml, b->out->pooled, sum);
}

/* x, rows of the token embeddings -> with what adapters add to these */
static struct ggml_tensor *adapted_rows(builder *b, struct ggml_tensor *x)
{
    const size_t count = b->adapters != NULL ? b->adapters->table_count : 0;
    for (size_t i = 0; i < count; i++) {
        const dw_adapter_use *use = &b->adapters->tables[i];
        struct ggml_tensor *z =
            b->token_gather != NULL
                ? dw_token_gather_node(&b->table_gathers[i], b->ggml, b->token_count)
                : ggml_get_rows(b->ggml, use->pair->a, b->out->tokens);
        const dw_adapter_rows rows = {.which = b->which, .x = z, .y = x};
        x = b->mix != NULL ? dw_adapter_mixed_second(b->mix, b->ggml, use, &rows)
            : b->on_cpu    ? dw_adapter_second(b->ggml, use, z, x)
                           : add_scaled(b, x, ggml_mul_mat(b->ggml, use->pair->b, z), use->scale);
    }
    return x;
}

/* Token embeddings; with an encoder also those of positions and of the first type, all normed. */
static struct ggml_tensor *embeddings(builder *b)
{
    const dw_model_weights *weights = b->weights;
    if (b->out->embeddings != NULL) {
        return norm(b, &weights->embedding_norm, b->out->embeddings);
    }
    struct ggml_tensor *x = b->token_gather != NULL
                                ? dw_token_gather_node(b->token_gather, b->ggml, b->token_count)
                                : ggml_get_rows(b->ggml, weights->token_embedding, b->out->tokens);
    x = scaled(b, adapted_rows(b, x), b->shape->embedding_scale);
    if (weights->type_embedding != NULL) {
        int64_t length = b->shape->embedding_length;
        x = ggml_add(b->ggml, x, ggml_view_1d(b->ggml, weights->type_embedding, length, 0));
    }
    if (weights->position_embedding != NULL) {
        x = ggml_add(b->ggml,
                     ggml_get_rows(b->ggml, weights->position_embedding, b->out->positions), x);
    }
    return norm(b, &weights->embedding_norm, x);
}

static void build_result(builder *b, struct ggml_tensor *x)
{
    switch (b->result) {
    case DW_RESULT_LOGITS:
        b->out->result = logits(b, x);
        break;
    case DW_RESULT_HIDDEN:
        b->out->result = norm(b, &b->weights->output_norm, x);
        break;
    case DW_RESULT_POOLED:
        b->out->result = pool(b, norm(b, &b->weights->output_norm, x));
        break;
    }
    ggml_set_output(b->out->result);
    ggml_build_forward_expand(b->out->graph, b->out->result);
}

static struct ggml_tensor *input(builder *b, enum ggml_type type, const char *name, int64_t ne0,
                                 int64_t ne1)
{
    struct ggml_tensor *tensor = ggml_new_tensor_2d(b->ggml, type, ne0, ne1);
    ggml_set_name(tensor, name);
    ggml_set_input(tensor);
    return tensor;
}

/* What else becomes of the rows of logits. */
static void build_deliveries(builder *b, const dw_forward_size *size)
{
    struct ggml_tensor *rows = b->out->result;
    if (size->place_rows) {
        ggml_build_forward_expand(b->out->graph, dw_cuda_place_rows(b->ggml, &b->table, rows));
    }
    if (size->top_k_count > 0) {
        b->out->candidates = input(b, GGML_TYPE_I8, "candidates",
                                   (int64_t)DW_TOP_K_BYTES(size->top_k_count), rows->ne[1]);
        ggml_build_forward_expand(
            b->out->graph,
            dw_cuda_top_k(b->ggml, &b->table, rows, b->out->candidates, size->top_k_count));
    }
}

/* Logits of several sequences, to where each row goes, with what adapters add to the output. */
static struct ggml_tensor *adapted_logits(builder *b, struct ggml_tensor *x)
{
    struct ggml_tensor *y = dw_logits_scatter_product(b->logits_scatter, b->matmul, b->ggml, x);
    y = adapted(b, b->weights->output.weight, x, y);
    return dw_logits_scatter_rows_node(b->logits_scatter, b->ggml, y);
}

static void build_layers(builder *b)
{
    uint32_t layer_count = b->shape->layer_count;
    struct ggml_tensor *x = embeddings(b);
    for (uint32_t i = 0; i < layer_count; i++) {
        const dw_layer_weights *layer = &b->weights->layers[i];
        bool last = i + 1 == layer_count;
        struct ggml_tensor *normed = norm(b, &layer->attn_norm, x);
        if (last && b->row_count == 0) {
            projections p = project(b, layer, normed, false);
            if (b->cuda.shape != NULL) {
                (void)cuda_attention(b, &p, i);
            } else {
                (void)append_keys_and_values(b, &p, i);
            }
            return;
        }
        struct ggml_tensor *y = attention(b, layer, i, normed);
        if (last) { /* from here on only the rows that are asked for */
            y = wanted_rows(b, y);
            x = wanted_rows(b, x);
            b->which = b->out->row_sets;
        }
        x = with_residual(b, &layer->attn_post_norm, y, x);
        y = feed_forward(b, layer, norm(b, &layer->ffn_norm, x));
        x = with_residual(b, &layer->ffn_post_norm, y, x);
    }
    if (b->logits_scatter != NULL) {
        x = norm(b, &b->weights->output_norm, x);
        struct ggml_tensor *rows =
            is_adapted(b, b->weights->output.weight)
                ? adapted_logits(b, x)
                : dw_logits_scatter_node(b->logits_scatter, b->matmul, b->ggml, x);
        ggml_build_forward_expand(b->out->graph, rows);
        return;
    }
    build_result(b, x);
}

static void make_flash_inputs(builder *b)
{
    const dw_model_shape *shape = b->shape;
    b->out->records = input(b, GGML_TYPE_I64, "records", b->token_count, 1);
    b->out->mask = input(b, GGML_TYPE_F16, "mask", b->kv_count, b->token_count);
    if (shape->window > 0) {
        b->out->window_mask = input(b, GGML_TYPE_F16, "window_mask", b->kv_count, b->token_count);
    }
    b->out->kv = input(b, dw_kv_ggml_type(b->kv.type), "kv", dw_kv_layout_record_length(&b->kv),
                       b->kv_count);
}

/* The same, and tokens and positions, from the table of CUDA operations. */
static void make_cuda_inputs(builder *b, const dw_forward_size *size)
{
    const dw_model_shape *shape = b->shape;
    dw_forward_graph *out = b->out;
    out->table = input(b, GGML_TYPE_I64, "table", 4, b->token_count);
    dw_cuda_table_make(&b->table, b->ggml, out->table);
    out->tokens = b->table.tokens;
    out->positions = b->table.positions;
    if (b->kv_count == 0) {
        size_t bytes = dw_cuda_attention_bytes(
            shape, b->kv.type, size->token_count - size->tiled_count, size->tiled_count);
        out->scratch = input(b, GGML_TYPE_I8, "scratch", (int64_t)bytes, 1);
        b->cuda = (dw_cuda_attention){.shape = shape,
                                      .kv_type = b->kv.type,
                                      .table = &b->table,
                                      .scratch = out->scratch,
                                      .alone = size->alone,
                                      .tiled_count = size->tiled_count};
        return;
    }
    out->records = b->table.records;
    out->mask = dw_cuda_mask(b->ggml, &b->table, size->kv_count, size->token_count, 0);
    if (shape->window > 0) {
        out->window_mask =
            dw_cuda_mask(b->ggml, &b->table, size->kv_count, size->token_count, shape->window);
    }
    out->kv = input(b, dw_kv_ggml_type(b->kv.type), "kv", dw_kv_layout_record_length(&b->kv),
                    b->kv_count);
}

/* What attention and the result read beside positions. */
static void make_inputs(builder *b, const dw_forward_size *size)
{
    bool encoder = b->shape->architecture->encoder;
    dw_forward_graph *out = b->out;
    if (size->cuda) {
        make_cuda_inputs(b, size);
    } else {
        if (size->embeddings) {
            out->embeddings =
                input(b, GGML_TYPE_F32, "embeddings", b->shape->embedding_length, b->token_count);
        } else if (!size->several) {
            out->tokens = input(b, GGML_TYPE_I32, "tokens", b->token_count, 1);
        }
        out->positions = input(b, GGML_TYPE_I32, "positions", b->token_count, 1);
    }
    if (b->attention == NULL && !encoder && !size->cuda) {
        make_flash_inputs(b);
    }
    if (size->result == DW_RESULT_POOLED) {
        out->pooled = input(b, GGML_TYPE_F32, "pooled", b->shape->embedding_length, 1);
        out->pool_weights = input(b, GGML_TYPE_F32, "pool_weights", b->token_count, 1);
    }
    if (size->several && b->row_count < b->token_count && b->row_count > 0) {
        out->wanted = input(b, GGML_TYPE_I32, "wanted", b->row_count, 1);
    }
    if (b->mix != NULL) {
        out->token_sets = input(b, GGML_TYPE_I32, "token_sets", 1, b->token_count);
        out->row_sets = b->row_count == b->token_count ? out->token_sets
                        : b->row_count > 0 ? input(b, GGML_TYPE_I32, "row_sets", 1, b->row_count)
                                           : NULL;
        b->which = out->token_sets;
    }
}

static void check_options(const dw_model_shape *shape, const dw_forward_options *options)
{
    const dw_forward_size *size = &options->size;
    bool encoder = shape->architecture->encoder;
    DW_ASSERT(size->token_count > 0 && size->row_count <= size->token_count);
    DW_ASSERT(encoder || options->attention != NULL || size->cuda ||
              size->kv_count >= size->token_count);
    DW_ASSERT(size->several == (options->token_gather != NULL));
    DW_ASSERT(size->several == (options->logits_scatter != NULL));
    DW_ASSERT(!size->several || (options->attention != NULL && size->result == DW_RESULT_LOGITS));
    DW_ASSERT(size->mixed == (options->mix != NULL) && (!size->mixed || size->several));
    DW_ASSERT(size->cuda || (!size->place_rows && size->top_k_count == 0));
    DW_ASSERT(!size->embeddings || (!size->several && !size->cuda && !encoder));
    DW_ASSERT(!size->alone || size->row_count == 0 || size->row_count == size->token_count);
    DW_ASSERT(size->tiled_count == 0 || (size->cuda && size->kv_count == 0 && !size->alone));
    DW_ASSERT(size->result != DW_RESULT_POOLED || size->row_count == size->token_count);
    DW_ASSERT(!encoder || (size->row_count > 0 && size->result != DW_RESULT_LOGITS));
}

dw_status dw_forward_graph_build(dw_forward_graph *out, struct ggml_context *ggml,
                                 const dw_model_shape *shape, const dw_model_weights *weights,
                                 const dw_forward_options *options, dw_error *err)
{
    const dw_forward_size *size = &options->size;
    check_options(shape, options);
    *out = (dw_forward_graph){0};
    builder b = {.ggml = ggml,
                 .shape = shape,
                 .weights = weights,
                 .out = out,
                 .token_count = size->token_count,
                 .kv_count = size->kv_count,
                 .row_count = size->row_count,
                 .rows_first = size->rows_first,
                 .kv = dw_model_kv_layout(shape, size->kv_type),
                 .result = size->result,
                 .long_context = size->long_context,
                 .attention = options->attention,
                 .token_gather = options->token_gather,
                 .logits_scatter = options->logits_scatter,
                 .matmul = options->matmul,
                 .products = options->products,
                 .adapters = size->adapters,
                 .mix = options->mix,
                 .table_gathers = options->table_gathers,
                 .on_cpu = options->on_cpu};
    const uint32_t nodes = node_count_max(shape, size->adapters);
    out->graph = ggml_new_graph_custom(ggml, nodes, false);
    if (out->graph == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph of %u nodes", nodes);
    }
    make_inputs(&b, size);
    build_layers(&b);
    if (size->cuda && out->result != NULL) {
        build_deliveries(&b, size);
    }
    return DW_OK;
}
