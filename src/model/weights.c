#include "model/weights.h"

#include <stdio.h>

/* Types that a matrix of weights may have: those that ggml multiplies with. */
static bool multiplies(enum ggml_type type)
{
    switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q8_0:
    case GGML_TYPE_Q2_K:
    case GGML_TYPE_Q3_K:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q6_K:
    case GGML_TYPE_IQ2_XXS:
    case GGML_TYPE_IQ2_XS:
    case GGML_TYPE_IQ2_S:
    case GGML_TYPE_IQ3_XXS:
    case GGML_TYPE_IQ3_S:
    case GGML_TYPE_IQ1_S:
    case GGML_TYPE_IQ1_M:
    case GGML_TYPE_IQ4_NL:
    case GGML_TYPE_IQ4_XS:
        return true;
    default:
        return false;
    }
}

/* Making the tensors: the first failure stays, the rest is skipped. */
typedef struct tensor_maker {
    const dw_gguf *gguf;
    const dw_model_shape *shape;
    struct ggml_context *ggml;
    dw_error *err;
    dw_status status;
    size_t made;
    uint32_t layer; /* for the names of its tensors */
} tensor_maker;

typedef enum tensor_need { REQUIRED, OPTIONAL } tensor_need;

/* [columns, rows, experts]; rows 0: a vector, in F32; experts 0: one matrix. */
typedef struct tensor_sizes {
    uint32_t columns;
    uint32_t rows;
    uint32_t experts;
} tensor_sizes;

static bool fits(const dw_gguf_tensor *entry, const tensor_sizes *sizes)
{
    return entry->ne[0] == (int64_t)sizes->columns &&
           entry->ne[1] == (sizes->rows == 0 ? 1 : (int64_t)sizes->rows) &&
           entry->ne[2] == (sizes->experts == 0 ? 1 : (int64_t)sizes->experts) && entry->ne[3] == 1;
}

static struct ggml_tensor *make(tensor_maker *maker, const char *name, tensor_need need,
                                tensor_sizes sizes)
{
    if (maker->status != DW_OK) {
        return NULL;
    }
    const dw_gguf_tensor *entry = dw_gguf_tensor_find(maker->gguf, name);
    if (entry == NULL) {
        if (need == REQUIRED) {
            maker->status = dw_fail(maker->err, DW_E_FORMAT, "tensor '%s' is missing", name);
        }
        return NULL;
    }
    if (!fits(entry, &sizes)) {
        maker->status =
            dw_fail(maker->err, DW_E_FORMAT,
                    "tensor '%s' has the sizes %lld x %lld x %lld x %lld, wanted is %u x %u x %u",
                    name, (long long)entry->ne[0], (long long)entry->ne[1], (long long)entry->ne[2],
                    (long long)entry->ne[3], sizes.columns, sizes.rows == 0 ? 1 : sizes.rows,
                    sizes.experts == 0 ? 1 : sizes.experts);
        return NULL;
    }
    if (sizes.rows == 0 ? entry->type != GGML_TYPE_F32 : !multiplies(entry->type)) {
        maker->status = dw_fail(maker->err, DW_E_UNSUPPORTED,
                                "tensor '%s' is of type %s, which is not supported there", name,
                                ggml_type_name(entry->type));
        return NULL;
    }
    struct ggml_tensor *tensor = ggml_new_tensor(maker->ggml, entry->type, 4, entry->ne);
    if (tensor == NULL) {
        maker->status = dw_fail(maker->err, DW_E_MEMORY, "no memory for tensor '%s'", name);
        return NULL;
    }
    ggml_set_name(tensor, name);
    maker->made++;
    return tensor;
}

/* blk.LAYER.NAME.KIND */
static struct ggml_tensor *make_part(tensor_maker *maker, const char *name, const char *kind,
                                     tensor_need need, tensor_sizes sizes)
{
    char full[GGML_MAX_NAME];
    (void)snprintf(full, sizeof full, "blk.%u.%s.%s", maker->layer, name, kind);
    return make(maker, full, need, sizes);
}

static struct ggml_tensor *make_vector(tensor_maker *maker, const char *name, uint32_t length)
{
    return make_part(maker, name, "weight", REQUIRED, (tensor_sizes){.columns = length});
}

static struct ggml_tensor *make_matrix(tensor_maker *maker, const char *name, uint32_t columns,
                                       uint32_t rows)
{
    return make_part(maker, name, "weight", REQUIRED,
                     (tensor_sizes){.columns = columns, .rows = rows});
}

static dw_linear make_linear(tensor_maker *maker, const char *name, uint32_t columns, uint32_t rows)
{
    dw_linear linear = {.weight = make_matrix(maker, name, columns, rows)};
    linear.bias = make_part(maker, name, "bias", OPTIONAL, (tensor_sizes){.columns = rows});
    return linear;
}

static tensor_need norm_bias_need(const tensor_maker *maker)
{
    return maker->shape->architecture->norm == DW_NORM_LAYER ? REQUIRED : OPTIONAL;
}

static dw_linear make_norm(tensor_maker *maker, const char *name)
{
    uint32_t length = maker->shape->embedding_length;
    dw_linear norm = {.weight = make_vector(maker, name, length)};
    if (norm_bias_need(maker) == REQUIRED) {
        norm.bias = make_part(maker, name, "bias", REQUIRED, (tensor_sizes){.columns = length});
    }
    return norm;
}

static void make_attention(tensor_maker *maker, dw_layer_weights *layer)
{
    const dw_model_shape *shape = maker->shape;
    uint32_t embedding = shape->embedding_length;
    uint32_t q = shape->head_count * shape->head_dim;
    uint32_t kv = shape->kv_head_count * shape->head_dim;
    layer->qkv.weight = make_part(maker, "attn_qkv", "weight", OPTIONAL,
                                  (tensor_sizes){.columns = embedding, .rows = q + 2 * kv});
    if (layer->qkv.weight != NULL) {
        layer->qkv.bias =
            make_part(maker, "attn_qkv", "bias", OPTIONAL, (tensor_sizes){.columns = q + 2 * kv});
    } else {
        layer->q = make_linear(maker, "attn_q", embedding, q);
        layer->k = make_linear(maker, "attn_k", embedding, kv);
        layer->v = make_linear(maker, "attn_v", embedding, kv);
    }
    dw_qk_norm qk_norm = shape->architecture->qk_norm;
    if (qk_norm != DW_QK_PLAIN) {
        bool whole = qk_norm == DW_QK_WHOLE;
        layer->q_norm = make_vector(maker, "attn_q_norm", whole ? q : shape->head_dim);
        layer->k_norm = make_vector(maker, "attn_k_norm", whole ? kv : shape->head_dim);
    }
    layer->attn_out = make_linear(maker, "attn_output", q, embedding);
}

static struct ggml_tensor *make_expert(tensor_maker *maker, const char *name, uint32_t columns,
                                       uint32_t rows)
{
    tensor_sizes sizes = {.columns = columns, .rows = rows, .experts = maker->shape->expert_count};
    return make_part(maker, name, "weight", REQUIRED, sizes);
}

static void make_experts(tensor_maker *maker, dw_layer_weights *layer)
{
    const dw_model_shape *shape = maker->shape;
    uint32_t embedding = shape->embedding_length;
    uint32_t ff = shape->expert_ff_length;
    uint32_t shared = shape->shared_ff_length;
    layer->router = make_matrix(maker, "ffn_gate_inp", embedding, shape->expert_count);
    layer->gate_experts = make_expert(maker, "ffn_gate_exps", embedding, ff);
    layer->up_experts = make_expert(maker, "ffn_up_exps", embedding, ff);
    layer->down_experts = make_expert(maker, "ffn_down_exps", ff, embedding);
    if (shared > 0) {
        layer->gate_shared = make_matrix(maker, "ffn_gate_shexp", embedding, shared);
        layer->up_shared = make_matrix(maker, "ffn_up_shexp", embedding, shared);
        layer->down_shared = make_matrix(maker, "ffn_down_shexp", shared, embedding);
    }
}

static void make_feed_forward(tensor_maker *maker, dw_layer_weights *layer)
{
    uint32_t embedding = maker->shape->embedding_length;
    uint32_t ff = maker->shape->ff_length;
    switch (maker->shape->architecture->ffn) {
    case DW_FFN_GATED:
        layer->gate = make_linear(maker, "ffn_gate", embedding, ff);
        layer->up = make_linear(maker, "ffn_up", embedding, ff);
        break;
    case DW_FFN_FUSED:
        layer->up = make_linear(maker, "ffn_up", embedding, 2 * ff);
        break;
    case DW_FFN_PLAIN:
        layer->up = make_linear(maker, "ffn_up", embedding, ff);
        break;
    }
    layer->down = make_linear(maker, "ffn_down", ff, embedding);
}

static void make_layer(tensor_maker *maker, dw_layer_weights *layer)
{
    dw_norm_place place = maker->shape->architecture->norm_place;
    if (place == DW_NORM_BEFORE || place == DW_NORM_AROUND) {
        layer->attn_norm = make_norm(maker, "attn_norm");
        layer->ffn_norm = make_norm(maker, "ffn_norm");
    }
    if (place == DW_NORM_AFTER || place == DW_NORM_AROUND) {
        layer->attn_post_norm = make_norm(maker, "post_attention_norm");
        layer->ffn_post_norm = make_norm(maker, "post_ffw_norm");
    }
    if (place == DW_NORM_SUM) {
        layer->attn_post_norm = make_norm(maker, "attn_output_norm");
        layer->ffn_post_norm = make_norm(maker, "layer_output_norm");
    }
    make_attention(maker, layer);
    if (maker->shape->expert_count > 0) {
        make_experts(maker, layer);
    } else {
        make_feed_forward(maker, layer);
    }
}

/* What an encoder has round its layers. */
static void make_encoder(tensor_maker *maker, dw_model_weights *weights)
{
    const dw_model_shape *shape = maker->shape;
    tensor_sizes norm = {.columns = shape->embedding_length};
    tensor_sizes positions = {.columns = shape->embedding_length, .rows = shape->context_length};
    tensor_sizes types = {.columns = shape->embedding_length, .rows = shape->token_type_count};
    if (shape->architecture->learned_positions) {
        weights->position_embedding = make(maker, "position_embd.weight", REQUIRED, positions);
    }
    if (shape->token_type_count > 0) {
        weights->type_embedding = make(maker, "token_types.weight", REQUIRED, types);
        if (maker->status == DW_OK && weights->type_embedding->type != GGML_TYPE_F32) {
            maker->status = dw_fail(maker->err, DW_E_UNSUPPORTED,
                                    "tensor 'token_types.weight' is of type %s, only f32 is "
                                    "supported there",
                                    ggml_type_name(weights->type_embedding->type));
        }
    }
    weights->embedding_norm.weight = make(maker, "token_embd_norm.weight", REQUIRED, norm);
    weights->embedding_norm.bias = make(maker, "token_embd_norm.bias", REQUIRED, norm);
}

static void make_outer(tensor_maker *maker, dw_model_weights *weights)
{
    const dw_model_shape *shape = maker->shape;
    tensor_sizes matrix = {.columns = shape->embedding_length, .rows = shape->vocab_count};
    tensor_sizes norm = {.columns = shape->embedding_length};
    tensor_sizes factors = {.columns = shape->rope_dims / 2};
    weights->token_embedding = make(maker, "token_embd.weight", REQUIRED, matrix);
    if (shape->architecture->encoder) {
        make_encoder(maker, weights);
        return;
    }
    weights->output_norm.weight = make(maker, "output_norm.weight", REQUIRED, norm);
    if (norm_bias_need(maker) == REQUIRED) {
        weights->output_norm.bias = make(maker, "output_norm.bias", REQUIRED, norm);
    }
    weights->output.weight = make(maker, "output.weight", OPTIONAL, matrix);
    weights->output.bias =
        make(maker, "output.bias", OPTIONAL, (tensor_sizes){.columns = shape->vocab_count});
    if (weights->output.weight == NULL) {
        weights->output.weight = weights->token_embedding;
    }
    weights->rope_factors = make(maker, "rope_freqs.weight", OPTIONAL, factors);
    weights->rope_factors_long = make(maker, "rope_factors_long.weight", OPTIONAL, factors);
    weights->rope_factors_short = make(maker, "rope_factors_short.weight", OPTIONAL, factors);
}

/* A tensor that nothing uses means a computation that is unknown here. */
static dw_status refuse_unused(const dw_gguf *gguf, struct ggml_context *ggml,
                               const dw_model_shape *shape, dw_error *err)
{
    for (size_t i = 0; i < dw_gguf_tensor_count(gguf); i++) {
        const dw_gguf_tensor *entry = dw_gguf_tensor_at(gguf, i);
        if (ggml_get_tensor(ggml, entry->name) == NULL) {
            return dw_fail(err, DW_E_UNSUPPORTED,
                           "tensor '%s' has no place in a model of %u layers of architecture '%s'",
                           entry->name, shape->layer_count, shape->architecture->name);
        }
    }
    return DW_OK;
}

dw_status dw_model_weights_make(const dw_gguf *gguf, const dw_model_shape *shape,
                                struct ggml_context *ggml, dw_model_weights *weights, dw_error *err)
{
    tensor_maker maker = {.gguf = gguf, .shape = shape, .ggml = ggml, .err = err};
    make_outer(&maker, weights);
    for (uint32_t i = 0; i < shape->layer_count; i++) {
        maker.layer = i;
        make_layer(&maker, &weights->layers[i]);
    }
    if (maker.status == DW_OK && maker.made != dw_gguf_tensor_count(gguf)) {
        return refuse_unused(gguf, ggml, shape, err);
    }
    return maker.status;
}
