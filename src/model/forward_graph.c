#include "model/forward_graph.h"

#define NODES_PER_LAYER 48u /* counted: at most 40, with every bias */
#define NODES_BESIDE 32u

/* What the parts of a graph share. */
typedef struct builder {
    struct ggml_context *ggml;
    const dw_model_shape *shape;
    const dw_model_weights *weights;
    dw_forward_graph *out;
    int64_t token_count;
    int64_t kv_count;
    int64_t row_count;
} builder;

static uint32_t node_count_max(const dw_model_shape *shape)
{
    return shape->layer_count * NODES_PER_LAYER + NODES_BESIDE;
}

size_t dw_forward_graph_bytes(const dw_model_shape *shape)
{
    size_t nodes = node_count_max(shape);
    return nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(nodes, false);
}

static struct ggml_tensor *linear(builder *b, struct ggml_tensor *weight, struct ggml_tensor *bias,
                                  struct ggml_tensor *x)
{
    struct ggml_tensor *y = ggml_mul_mat(b->ggml, weight, x);
    return bias != NULL ? ggml_add(b->ggml, y, bias) : y;
}

static struct ggml_tensor *rms_norm(builder *b, struct ggml_tensor *weight, struct ggml_tensor *x)
{
    return ggml_mul(b->ggml, ggml_rms_norm(b->ggml, x, b->shape->rms_epsilon), weight);
}

static struct ggml_tensor *rope(builder *b, struct ggml_tensor *x)
{
    const dw_model_shape *shape = b->shape;
    return ggml_rope_ext(b->ggml, x, b->out->positions, b->weights->rope_factors,
                         (int)shape->rope_dims, shape->architecture->rope_mode,
                         (int)shape->rope_context, shape->rope_base, shape->rope_scale, 0.0f, 1.0f,
                         32.0f, 1.0f);
}

/* Byte offset in a record of a layer's keys (part 0) or values (part 1). */
static size_t record_offset(const builder *b, uint32_t layer, uint32_t part)
{
    size_t part_bytes = (size_t)b->shape->kv_head_count * b->shape->head_dim * sizeof(ggml_fp16_t);
    return ((size_t)layer * 2 + part) * part_bytes;
}

/* Write rows [kv_heads * head_dim, tokens] into their records. Put into the graph at once, so that
 * it stands before the attention that reads the log: that reads it through another view, and the
 * order of the nodes is the only tie between the two. */
static void append(builder *b, struct ggml_tensor *rows, uint32_t layer, uint32_t part)
{
    struct ggml_tensor *kv = b->out->kv;
    struct ggml_tensor *target =
        ggml_view_2d(b->ggml, kv, (int64_t)b->shape->kv_head_count * b->shape->head_dim,
                     b->kv_count, kv->nb[1], record_offset(b, layer, part));
    ggml_build_forward_expand(b->out->graph, ggml_set_rows(b->ggml, target, rows, b->out->records));
}

/* The log's keys or values of a layer as attention takes them: [head_dim, kv, kv_heads]. */
static struct ggml_tensor *recall(builder *b, uint32_t layer, uint32_t part)
{
    struct ggml_tensor *kv = b->out->kv;
    return ggml_view_3d(b->ggml, kv, b->shape->head_dim, b->kv_count, b->shape->kv_head_count,
                        kv->nb[1], b->shape->head_dim * sizeof(ggml_fp16_t),
                        record_offset(b, layer, part));
}

static void append_keys_and_values(builder *b, const dw_layer_weights *layer, uint32_t index,
                                   struct ggml_tensor *x)
{
    int64_t head_dim = b->shape->head_dim;
    int64_t kv_heads = b->shape->kv_head_count;
    struct ggml_tensor *k = linear(b, layer->k, layer->k_bias, x);
    k = rope(b, ggml_reshape_3d(b->ggml, k, head_dim, kv_heads, b->token_count));
    append(b, ggml_reshape_2d(b->ggml, k, head_dim * kv_heads, b->token_count), index, 0);
    append(b, linear(b, layer->v, layer->v_bias, x), index, 1);
}

/* x [embedding, tokens], normed -> [embedding, tokens] */
static struct ggml_tensor *attention(builder *b, const dw_layer_weights *layer, uint32_t index,
                                     struct ggml_tensor *x)
{
    int64_t head_dim = b->shape->head_dim;
    int64_t heads = b->shape->head_count;
    struct ggml_tensor *q = linear(b, layer->q, layer->q_bias, x);
    q = rope(b, ggml_reshape_3d(b->ggml, q, head_dim, heads, b->token_count));
    /* Before K and V, so that q is computed from x while x is still warm. */
    ggml_build_forward_expand(b->out->graph, q);
    append_keys_and_values(b, layer, index, x);
    q = ggml_permute(b->ggml, q, 0, 2, 1, 3); /* [head_dim, tokens, heads] */
    struct ggml_tensor *y =
        ggml_flash_attn_ext(b->ggml, q, recall(b, index, 0), recall(b, index, 1), b->out->mask,
                            b->shape->attention_scale, 0.0f, 0.0f);
    (void)ggml_prec_set_acc(y, GGML_PREC_F32); /* as libllama asks for */
    y = ggml_reshape_2d(b->ggml, y, head_dim * heads, b->token_count);
    return linear(b, layer->attn_out, layer->attn_out_bias, y);
}

/* x [embedding, n], normed -> [embedding, n] */
static struct ggml_tensor *feed_forward(builder *b, const dw_layer_weights *layer,
                                        struct ggml_tensor *x)
{
    struct ggml_tensor *up = linear(b, layer->up, layer->up_bias, x);
    struct ggml_tensor *gate = linear(b, layer->gate, layer->gate_bias, x);
    return linear(b, layer->down, layer->down_bias, ggml_swiglu_split(b->ggml, gate, up));
}

/* The last rows of x [embedding, tokens]: a view, since rows are whole and in order. */
static struct ggml_tensor *last_rows(builder *b, struct ggml_tensor *x)
{
    if (b->row_count == b->token_count) {
        return x;
    }
    return ggml_view_2d(b->ggml, x, x->ne[0], b->row_count, x->nb[1],
                        (size_t)(b->token_count - b->row_count) * x->nb[1]);
}

static void build_layers(builder *b)
{
    uint32_t layer_count = b->shape->layer_count;
    struct ggml_tensor *x = ggml_get_rows(b->ggml, b->weights->token_embedding, b->out->tokens);
    for (uint32_t i = 0; i < layer_count; i++) {
        const dw_layer_weights *layer = &b->weights->layers[i];
        bool last = i + 1 == layer_count;
        struct ggml_tensor *normed = rms_norm(b, layer->attn_norm, x);
        if (last && b->row_count == 0) {
            append_keys_and_values(b, layer, i, normed);
            return;
        }
        struct ggml_tensor *y = attention(b, layer, i, normed);
        if (last) { /* from here on only the rows that are asked for */
            y = last_rows(b, y);
            x = last_rows(b, x);
        }
        x = ggml_add(b->ggml, y, x);
        x = ggml_add(b->ggml, feed_forward(b, layer, rms_norm(b, layer->ffn_norm, x)), x);
    }
    x = rms_norm(b, b->weights->output_norm, x);
    b->out->logits = ggml_mul_mat(b->ggml, b->weights->output, x);
    ggml_set_output(b->out->logits);
    ggml_build_forward_expand(b->out->graph, b->out->logits);
}

static struct ggml_tensor *input(builder *b, enum ggml_type type, const char *name, int64_t ne0,
                                 int64_t ne1)
{
    struct ggml_tensor *tensor = ggml_new_tensor_2d(b->ggml, type, ne0, ne1);
    ggml_set_name(tensor, name);
    ggml_set_input(tensor);
    return tensor;
}

dw_status dw_forward_graph_build(dw_forward_graph *out, struct ggml_context *ggml,
                                 const dw_model_shape *shape, const dw_model_weights *weights,
                                 const dw_forward_size *size, dw_error *err)
{
    DW_ASSERT(size->token_count > 0 && size->row_count <= size->token_count);
    DW_ASSERT(size->kv_count >= size->token_count);
    *out = (dw_forward_graph){0};
    builder b = {.ggml = ggml,
                 .shape = shape,
                 .weights = weights,
                 .out = out,
                 .token_count = size->token_count,
                 .kv_count = size->kv_count,
                 .row_count = size->row_count};
    int64_t record = (int64_t)shape->layer_count * 2 * shape->kv_head_count * shape->head_dim;
    out->graph = ggml_new_graph_custom(ggml, node_count_max(shape), false);
    if (out->graph == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph of %u nodes",
                       node_count_max(shape));
    }
    out->tokens = input(&b, GGML_TYPE_I32, "tokens", b.token_count, 1);
    out->positions = input(&b, GGML_TYPE_I32, "positions", b.token_count, 1);
    out->records = input(&b, GGML_TYPE_I64, "records", b.token_count, 1);
    out->mask = input(&b, GGML_TYPE_F16, "mask", b.kv_count, b.token_count);
    out->kv = input(&b, GGML_TYPE_F16, "kv", record, b.kv_count);
    build_layers(&b);
    return DW_OK;
}
