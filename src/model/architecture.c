#include "model/architecture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LAYER_COUNT_MAX 512u
#define CONTEXT_LENGTH_MAX (16u << 20)
#define HEAD_DIM_MAX 1024u
#define LENGTH_MAX (1u << 20) /* of an embedding or a feed-forward layer */

static const dw_architecture architectures[] = {
    {.name = "llama",
     .rope_mode = GGML_ROPE_TYPE_NORMAL,
     .attention_bias = true,
     .ffn_bias = true,
     .rope_factors = true},
};
#define ARCHITECTURE_COUNT (sizeof architectures / sizeof architectures[0])

/* Reading the keys of one architecture: the first failure stays, the rest is skipped. */
typedef struct key_reader {
    const dw_gguf *gguf;
    const char *prefix;
    dw_error *err;
    dw_status status;
    char key[96];
} key_reader;

static void name_key(key_reader *in, const char *suffix)
{
    (void)snprintf(in->key, sizeof in->key, "%s.%s", in->prefix, suffix);
}

/* An integer in [least, most]; without `required` a missing key leaves *value as it is. */
static void read_u32(key_reader *in, const char *suffix, bool required, uint32_t most,
                     uint32_t *value)
{
    if (in->status != DW_OK) {
        return;
    }
    name_key(in, suffix);
    dw_status status = dw_gguf_u32(in->gguf, in->key, value, in->err);
    if (status == DW_E_NOT_FOUND) {
        in->status =
            required ? dw_fail(in->err, DW_E_FORMAT, "key '%s' is missing", in->key) : DW_OK;
        return;
    }
    if (status == DW_OK && (*value == 0 || *value > most)) {
        status = dw_fail(in->err, DW_E_FORMAT, "key '%s' is %u, allowed are 1 to %u", in->key,
                         *value, most);
    }
    in->status = status;
}

static void read_f32(key_reader *in, const char *suffix, bool required, float *value)
{
    if (in->status != DW_OK) {
        return;
    }
    name_key(in, suffix);
    dw_status status = dw_gguf_f32(in->gguf, in->key, value, in->err);
    if (status == DW_E_NOT_FOUND) {
        in->status =
            required ? dw_fail(in->err, DW_E_FORMAT, "key '%s' is missing", in->key) : DW_OK;
        return;
    }
    if (status == DW_OK && *value < 0) {
        status = dw_fail(in->err, DW_E_FORMAT, "key '%s' is %g, it must not be negative", in->key,
                         (double)*value);
    }
    in->status = status;
}

static dw_status find_architecture(const dw_gguf *gguf, const dw_architecture **out, dw_error *err)
{
    dw_gguf_string name;
    dw_status status = dw_gguf_text(gguf, "general.architecture", &name, err);
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_FORMAT, "key 'general.architecture' is missing: not a model");
    }
    if (status != DW_OK) {
        return status;
    }
    char known[128] = "";
    for (size_t i = 0; i < ARCHITECTURE_COUNT; i++) {
        const char *candidate = architectures[i].name;
        if (name.bytes == strlen(candidate) && memcmp(name.text, candidate, name.bytes) == 0) {
            *out = &architectures[i];
            return DW_OK;
        }
        size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", candidate);
    }
    return dw_fail(err, DW_E_UNSUPPORTED, "architecture '%.*s' is not supported; there are: %s",
                   name.bytes < 64 ? (int)name.bytes : 64, name.text, known);
}

/* What changes the computation but is not in the table: better refused than wrong. */
static void refuse_unknown(key_reader *in)
{
    static const char *const unknown[] = {"expert_count", "attention.sliding_window",
                                          "nextn_predict_layers"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0] && in->status == DW_OK; i++) {
        uint32_t value = 0;
        name_key(in, unknown[i]);
        dw_status status = dw_gguf_u32(in->gguf, in->key, &value, in->err);
        if (status != DW_OK && status != DW_E_NOT_FOUND) {
            in->status = status;
        } else if (value != 0) {
            in->status = dw_fail(in->err, DW_E_UNSUPPORTED, "key '%s' is %u: not supported, only 0",
                                 in->key, value);
        }
    }
}

static void read_rope(key_reader *in, dw_model_shape *shape)
{
    shape->rope_base = 10000.0f;
    shape->rope_scale = 1.0f;
    shape->rope_dims = shape->head_dim;
    shape->rope_context = shape->context_length;
    read_u32(in, "rope.dimension_count", false, HEAD_DIM_MAX, &shape->rope_dims);
    read_f32(in, "rope.freq_base", false, &shape->rope_base);
    read_u32(in, "rope.scaling.original_context_length", false, CONTEXT_LENGTH_MAX,
             &shape->rope_context);
    float factor = 0;
    read_f32(in, "rope.scale_linear", false, &factor); /* the older name; the newer one wins */
    read_f32(in, "rope.scaling.factor", false, &factor);
    if (in->status != DW_OK) {
        return;
    }
    if (shape->rope_dims != shape->head_dim) {
        in->status = dw_fail(in->err, DW_E_UNSUPPORTED,
                             "%s.rope.dimension_count is %u, only the head's own %u is supported",
                             in->prefix, shape->rope_dims, shape->head_dim);
        return;
    }
    if (shape->rope_base <= 0) {
        in->status = dw_fail(in->err, DW_E_FORMAT, "%s.rope.freq_base is %g, must be above 0",
                             in->prefix, (double)shape->rope_base);
        return;
    }
    dw_gguf_string type = {.text = "linear", .bytes = 6};
    name_key(in, "rope.scaling.type");
    dw_status status = dw_gguf_text(in->gguf, in->key, &type, in->err);
    if (status != DW_OK && status != DW_E_NOT_FOUND) {
        in->status = status;
        return;
    }
    bool linear = type.bytes == 6 && memcmp(type.text, "linear", 6) == 0;
    bool none = type.bytes == 4 && memcmp(type.text, "none", 4) == 0;
    if (!linear && !none) {
        in->status =
            dw_fail(in->err, DW_E_UNSUPPORTED, "key '%s' is '%.*s': supported are none and linear",
                    in->key, type.bytes < 32 ? (int)type.bytes : 32, type.text);
        return;
    }
    if (linear && factor > 0) {
        shape->rope_scale = 1.0f / factor;
    }
}

static void read_attention(key_reader *in, dw_model_shape *shape)
{
    read_u32(in, "attention.head_count", true, 4096, &shape->head_count);
    shape->kv_head_count = shape->head_count;
    read_u32(in, "attention.head_count_kv", false, 4096, &shape->kv_head_count);
    read_f32(in, "attention.layer_norm_rms_epsilon", true, &shape->rms_epsilon);
    if (in->status != DW_OK) {
        return;
    }
    if (shape->head_count % shape->kv_head_count != 0) {
        in->status = dw_fail(in->err, DW_E_FORMAT,
                             "%s.attention: %u heads cannot share %u key and value heads",
                             in->prefix, shape->head_count, shape->kv_head_count);
        return;
    }
    shape->head_dim = shape->embedding_length / shape->head_count;
    read_u32(in, "attention.key_length", false, HEAD_DIM_MAX, &shape->head_dim);
    uint32_t value_dim = shape->head_dim;
    read_u32(in, "attention.value_length", false, HEAD_DIM_MAX, &value_dim);
    read_f32(in, "attention.scale", false, &shape->attention_scale);
    if (in->status != DW_OK) {
        return;
    }
    if (value_dim != shape->head_dim || shape->head_dim == 0 || shape->head_dim % 8 != 0 ||
        shape->head_dim > HEAD_DIM_MAX) {
        in->status = dw_fail(in->err, DW_E_UNSUPPORTED,
                             "%s.attention: keys of %u and values of %u elements; supported are "
                             "equal multiples of 8 up to %u",
                             in->prefix, shape->head_dim, value_dim, HEAD_DIM_MAX);
    }
    if (shape->attention_scale <= 0) {
        shape->attention_scale = 1.0f / sqrtf((float)shape->head_dim);
    }
}

dw_status dw_architecture_shape(const dw_gguf *gguf, dw_model_shape *shape, dw_error *err)
{
    *shape = (dw_model_shape){0};
    dw_status status = find_architecture(gguf, &shape->architecture, err);
    if (status != DW_OK) {
        return status;
    }
    key_reader in = {.gguf = gguf, .prefix = shape->architecture->name, .err = err};
    read_u32(&in, "block_count", true, LAYER_COUNT_MAX, &shape->layer_count);
    read_u32(&in, "embedding_length", true, LENGTH_MAX, &shape->embedding_length);
    read_u32(&in, "feed_forward_length", true, LENGTH_MAX, &shape->ff_length);
    read_u32(&in, "context_length", true, CONTEXT_LENGTH_MAX, &shape->context_length);
    refuse_unknown(&in);
    read_attention(&in, shape);
    read_rope(&in, shape);
    if (in.status != DW_OK) {
        return in.status;
    }
    const dw_gguf_tensor *embedding = dw_gguf_tensor_find(gguf, "token_embd.weight");
    if (embedding == NULL) {
        return dw_fail(err, DW_E_FORMAT, "tensor 'token_embd.weight' is missing");
    }
    shape->vocab_count = (uint32_t)embedding->ne[1];
    return DW_OK;
}

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
    struct ggml_context *ggml;
    dw_error *err;
    dw_status status;
    size_t made;
    uint32_t layer; /* for names that hold a %u */
} tensor_maker;

typedef enum tensor_need { REQUIRED, OPTIONAL } tensor_need;

/* [columns] in F32 where rows is 0, else a matrix [columns, rows]. */
static struct ggml_tensor *make(tensor_maker *maker, const char *name, tensor_need need,
                                uint32_t columns, uint32_t rows)
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
    int64_t wanted_rows = rows == 0 ? 1 : (int64_t)rows;
    if (entry->ne[0] != (int64_t)columns || entry->ne[1] != wanted_rows || entry->ne[2] != 1 ||
        entry->ne[3] != 1) {
        maker->status =
            dw_fail(maker->err, DW_E_FORMAT,
                    "tensor '%s' has the sizes %lld x %lld x %lld x %lld, wanted is %u x %lld",
                    name, (long long)entry->ne[0], (long long)entry->ne[1], (long long)entry->ne[2],
                    (long long)entry->ne[3], columns, (long long)wanted_rows);
        return NULL;
    }
    if (rows == 0 ? entry->type != GGML_TYPE_F32 : !multiplies(entry->type)) {
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

static struct ggml_tensor *make_in_layer(tensor_maker *maker, const char *suffix, tensor_need need,
                                         uint32_t columns, uint32_t rows)
{
    char name[GGML_MAX_NAME];
    (void)snprintf(name, sizeof name, "blk.%u.%s", maker->layer, suffix);
    return make(maker, name, need, columns, rows);
}

static void make_layer(tensor_maker *maker, const dw_model_shape *shape, dw_layer_weights *layer)
{
    uint32_t embedding = shape->embedding_length;
    uint32_t q = shape->head_count * shape->head_dim;
    uint32_t kv = shape->kv_head_count * shape->head_dim;
    uint32_t ff = shape->ff_length;
    layer->attn_norm = make_in_layer(maker, "attn_norm.weight", REQUIRED, embedding, 0);
    layer->q = make_in_layer(maker, "attn_q.weight", REQUIRED, embedding, q);
    layer->k = make_in_layer(maker, "attn_k.weight", REQUIRED, embedding, kv);
    layer->v = make_in_layer(maker, "attn_v.weight", REQUIRED, embedding, kv);
    layer->attn_out = make_in_layer(maker, "attn_output.weight", REQUIRED, q, embedding);
    layer->ffn_norm = make_in_layer(maker, "ffn_norm.weight", REQUIRED, embedding, 0);
    layer->gate = make_in_layer(maker, "ffn_gate.weight", REQUIRED, embedding, ff);
    layer->up = make_in_layer(maker, "ffn_up.weight", REQUIRED, embedding, ff);
    layer->down = make_in_layer(maker, "ffn_down.weight", REQUIRED, ff, embedding);
    if (shape->architecture->attention_bias) {
        layer->q_bias = make_in_layer(maker, "attn_q.bias", OPTIONAL, q, 0);
        layer->k_bias = make_in_layer(maker, "attn_k.bias", OPTIONAL, kv, 0);
        layer->v_bias = make_in_layer(maker, "attn_v.bias", OPTIONAL, kv, 0);
        layer->attn_out_bias = make_in_layer(maker, "attn_output.bias", OPTIONAL, embedding, 0);
    }
    if (shape->architecture->ffn_bias) {
        layer->gate_bias = make_in_layer(maker, "ffn_gate.bias", OPTIONAL, ff, 0);
        layer->up_bias = make_in_layer(maker, "ffn_up.bias", OPTIONAL, ff, 0);
        layer->down_bias = make_in_layer(maker, "ffn_down.bias", OPTIONAL, embedding, 0);
    }
}

/* A tensor that nothing uses means a computation that we do not know of. */
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

dw_status dw_architecture_weights(const dw_gguf *gguf, const dw_model_shape *shape,
                                  struct ggml_context *ggml, dw_model_weights *weights,
                                  dw_error *err)
{
    tensor_maker maker = {.gguf = gguf, .ggml = ggml, .err = err};
    uint32_t embedding = shape->embedding_length;
    uint32_t vocab = shape->vocab_count;
    weights->token_embedding = make(&maker, "token_embd.weight", REQUIRED, embedding, vocab);
    weights->output_norm = make(&maker, "output_norm.weight", REQUIRED, embedding, 0);
    weights->output = make(&maker, "output.weight", OPTIONAL, embedding, vocab);
    if (weights->output == NULL) {
        weights->output = weights->token_embedding;
    }
    if (shape->architecture->rope_factors) {
        weights->rope_factors =
            make(&maker, "rope_freqs.weight", OPTIONAL, shape->rope_dims / 2, 0);
    }
    for (uint32_t i = 0; i < shape->layer_count; i++) {
        maker.layer = i;
        make_layer(&maker, shape, &weights->layers[i]);
    }
    if (maker.status == DW_OK && maker.made != dw_gguf_tensor_count(gguf)) {
        return refuse_unused(gguf, ggml, shape, err);
    }
    return maker.status;
}
