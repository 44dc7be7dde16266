#include "model/architecture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CONTEXT_LENGTH_MAX (16u << 20)
#define HEAD_DIM_MAX 1024u
#define EXPERT_COUNT_MAX 512u
#define LENGTH_MAX (1u << 20) /* of an embedding or a feed-forward layer */

/* As libllama's graphs of the same names have it. */
static const dw_architecture architectures[] = {
    {.name = "llama", /* Mistral, Mixtral, SmolLM and many more too */
     .rope_mode = GGML_ROPE_TYPE_NORMAL,
     .experts = DW_EXPERTS_MAYBE,
     .experts_sum_to_one = true},
    {.name = "qwen2", .rope_mode = GGML_ROPE_TYPE_NEOX},
    {.name = "qwen3", .rope_mode = GGML_ROPE_TYPE_NEOX, .qk_norm = DW_QK_EACH_HEAD},
    {.name = "qwen3moe",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .qk_norm = DW_QK_EACH_HEAD,
     .experts = DW_EXPERTS_ALWAYS,
     .experts_sum_to_one = true},
    {.name = "gemma",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .activation = DW_GELU,
     .scales_queries = true,
     .embedding_times_root = true},
    {.name = "gemma2",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .norm_place = DW_NORM_AROUND,
     .activation = DW_GELU,
     .scales_queries = true,
     .embedding_times_root = true,
     .attn_logit_softcap = 50.0f,
     .final_logit_softcap = 30.0f,
     .window_every = 2,
     .window_default = 4096,
     .wide_layers = 46},
    {.name = "gemma3",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .norm_place = DW_NORM_AROUND,
     .qk_norm = DW_QK_EACH_HEAD,
     .activation = DW_GELU,
     .scales_queries = true,
     .embedding_times_root = true,
     .window_every = 6,
     .window_rope_base = 10000.0f,
     .window_rope_plain = true,
     .wide_layers = 62},
    {.name = "phi3",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .ffn = DW_FFN_FUSED,
     .scales_queries = true,
     .ignores_window = true},
    {.name = "granite",
     .rope_mode = GGML_ROPE_TYPE_NORMAL,
     .experts = DW_EXPERTS_MAYBE,
     .experts_sum_to_one = true,
     .scales = true},
    {.name = "granitemoe",
     .rope_mode = GGML_ROPE_TYPE_NORMAL,
     .experts = DW_EXPERTS_ALWAYS,
     .experts_sum_to_one = true,
     .scales = true},
    {.name = "olmo2",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .norm_place = DW_NORM_AFTER,
     .qk_norm = DW_QK_WHOLE,
     .window_every = 4,
     .window_rope_plain = true},
    {.name = "olmoe",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .qk_norm = DW_QK_WHOLE,
     .experts = DW_EXPERTS_ALWAYS},
    {.name = "starcoder2",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .norm = DW_NORM_LAYER,
     .ffn = DW_FFN_PLAIN,
     .activation = DW_GELU},
    {.name = "bert",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .norm = DW_NORM_LAYER,
     .norm_place = DW_NORM_SUM,
     .ffn = DW_FFN_PLAIN,
     .activation = DW_GELU,
     .encoder = true,
     .learned_positions = true},
    {.name = "nomic-bert",
     .rope_mode = GGML_ROPE_TYPE_NEOX,
     .norm = DW_NORM_LAYER,
     .norm_place = DW_NORM_SUM,
     .encoder = true},
};
#define ARCHITECTURE_COUNT (sizeof architectures / sizeof architectures[0])

const char *dw_architecture_name(size_t index)
{
    return index < ARCHITECTURE_COUNT ? architectures[index].name : NULL;
}

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
    if (status == DW_OK && !(*value >= 0 && isfinite(*value))) {
        status = dw_fail(in->err, DW_E_FORMAT, "key '%s' is %g, it must be a number of at least 0",
                         in->key, (double)*value);
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
    char known[256] = "";
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
    static const char *const unknown[] = {"nextn_predict_layers", "expert_group_count",
                                          "moe_every_n_layers"};
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

/* ---- rotary positions ---- */

typedef enum rope_scaling { SCALING_NONE, SCALING_LINEAR, SCALING_YARN, SCALING_LONG } rope_scaling;

static rope_scaling read_scaling_type(key_reader *in)
{
    static const char *const names[] = {"none", "linear", "yarn", "longrope"};
    if (in->status != DW_OK) {
        return SCALING_NONE;
    }
    dw_gguf_string type = {.text = "linear", .bytes = 6};
    name_key(in, "rope.scaling.type");
    dw_status status = dw_gguf_text(in->gguf, in->key, &type, in->err);
    if (status != DW_OK && status != DW_E_NOT_FOUND) {
        in->status = status;
        return SCALING_NONE;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (type.bytes == strlen(names[i]) && memcmp(type.text, names[i], type.bytes) == 0) {
            return (rope_scaling)i;
        }
    }
    in->status = dw_fail(in->err, DW_E_UNSUPPORTED,
                         "key '%s' is '%.*s': supported are none, linear, yarn and longrope",
                         in->key, type.bytes < 32 ? (int)type.bytes : 32, type.text);
    return SCALING_NONE;
}

static void read_rope_scaling(key_reader *in, dw_model_shape *shape)
{
    float factor = 0;
    shape->rope_scale = 1.0f;
    shape->yarn_attn_factor = 1.0f;
    shape->yarn_beta_fast = 32.0f; /* the paper's, for models like LLaMA */
    shape->yarn_beta_slow = 1.0f;
    read_u32(in, "rope.scaling.original_context_length", false, CONTEXT_LENGTH_MAX,
             &shape->rope_context);
    read_f32(in, "rope.scale_linear", false, &factor); /* the older name; the newer one wins */
    read_f32(in, "rope.scaling.factor", false, &factor);
    read_f32(in, "rope.scaling.attn_factor", false, &shape->yarn_attn_factor);
    rope_scaling type = read_scaling_type(in);
    if (type != SCALING_NONE && factor > 0) {
        shape->rope_scale = 1.0f / factor;
    }
    if (type == SCALING_YARN) {
        shape->yarn_ext_factor = 1.0f;
    }
}

/* Granite's key says whether positions are rotated at all. */
static bool has_rope(key_reader *in, const dw_model_shape *shape)
{
    bool finetuned = true;
    if (in->status == DW_OK && shape->architecture->scales) {
        name_key(in, "rope.scaling.finetuned");
        dw_status status = dw_gguf_bool(in->gguf, in->key, &finetuned, in->err);
        in->status = status == DW_E_NOT_FOUND ? DW_OK : status;
    }
    return finetuned;
}

static void read_rope(key_reader *in, dw_model_shape *shape)
{
    shape->rope_base = 10000.0f;
    shape->rope_dims = shape->head_dim;
    shape->rope_context = shape->context_length;
    read_u32(in, "rope.dimension_count", false, HEAD_DIM_MAX, &shape->rope_dims);
    read_f32(in, "rope.freq_base", false, &shape->rope_base);
    read_rope_scaling(in, shape);
    bool rotates = has_rope(in, shape);
    if (in->status != DW_OK) {
        return;
    }
    if (shape->rope_dims > shape->head_dim || shape->rope_dims % 2 != 0) {
        in->status =
            dw_fail(in->err, DW_E_FORMAT,
                    "%s.rope.dimension_count is %u, must be even and at most the head's %u",
                    in->prefix, shape->rope_dims, shape->head_dim);
    } else if (shape->rope_base <= 0) {
        in->status = dw_fail(in->err, DW_E_FORMAT, "%s.rope.freq_base is %g, must be above 0",
                             in->prefix, (double)shape->rope_base);
    } else if (!rotates || shape->architecture->learned_positions) {
        shape->rope_dims = 0;
    }
}

/* ---- attention ---- */

static void read_attention(key_reader *in, dw_model_shape *shape)
{
    read_u32(in, "attention.head_count", true, 4096, &shape->head_count);
    shape->kv_head_count = shape->head_count;
    read_u32(in, "attention.head_count_kv", false, 4096, &shape->kv_head_count);
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
        return;
    }
    if (shape->attention_scale <= 0) {
        bool wide = shape->layer_count == shape->architecture->wide_layers;
        uint32_t length = wide ? shape->embedding_length / shape->head_count : shape->head_dim;
        shape->attention_scale = 1.0f / sqrtf((float)length);
    }
}

static void set_windowed(dw_model_shape *shape, uint32_t layer, bool windowed)
{
    uint64_t bit = (uint64_t)1 << (layer % 64);
    shape->windowed[layer / 64] =
        windowed ? shape->windowed[layer / 64] | bit : shape->windowed[layer / 64] & ~bit;
}

/* Which layers: a list of booleans, or a number as in window_every. */
static void read_window_pattern(key_reader *in, dw_model_shape *shape)
{
    uint32_t every = shape->architecture->window_every;
    name_key(in, "attention.sliding_window_pattern");
    if (dw_gguf_array_type(in->gguf, in->key) == DW_GGUF_TYPE_COUNT) {
        read_u32(in, "attention.sliding_window_pattern", false, DW_LAYER_COUNT_MAX, &every);
        for (uint32_t i = 0; i < shape->layer_count && in->status == DW_OK; i++) {
            set_windowed(shape, i, i % every < every - 1);
        }
        return;
    }
    dw_gguf_array pattern = {0};
    in->status = dw_gguf_array_of(in->gguf, in->key, DW_GGUF_BOOL, &pattern, in->err);
    if (in->status == DW_OK && pattern.count < shape->layer_count) {
        in->status = dw_fail(in->err, DW_E_FORMAT, "key '%s' has %zu items for %u layers", in->key,
                             pattern.count, shape->layer_count);
    }
    for (uint32_t i = 0; i < shape->layer_count && in->status == DW_OK; i++) {
        set_windowed(shape, i, pattern.elements[i] != 0);
    }
}

static void read_window(key_reader *in, dw_model_shape *shape)
{
    const dw_architecture *architecture = shape->architecture;
    uint32_t window = architecture->window_default;
    if (in->status != DW_OK) {
        return;
    }
    name_key(in, "attention.sliding_window");
    dw_status status = dw_gguf_u32(in->gguf, in->key, &window, in->err);
    if (status != DW_OK && status != DW_E_NOT_FOUND) {
        in->status = status;
        return;
    }
    if (window == 0 || architecture->ignores_window) {
        return;
    }
    if (architecture->window_every == 0) {
        if (window < shape->context_length) {
            in->status =
                dw_fail(in->err, DW_E_UNSUPPORTED,
                        "key '%s' is %u: '%s' has no windows, only the context's %u is supported",
                        in->key, window, in->prefix, shape->context_length);
        }
        return;
    }
    shape->window = window;
    float base = architecture->window_rope_base;
    shape->window_rope_base = base > 0 ? base : shape->rope_base;
    shape->window_rope_scale = architecture->window_rope_plain ? 1.0f : shape->rope_scale;
    read_f32(in, "rope.freq_base_swa", false, &shape->window_rope_base);
    if (in->status == DW_OK && shape->window_rope_base <= 0) {
        in->status = dw_fail(in->err, DW_E_FORMAT, "%s.rope.freq_base_swa is %g, must be above 0",
                             in->prefix, (double)shape->window_rope_base);
    }
    if (in->status == DW_OK) {
        read_window_pattern(in, shape);
    }
}

/* ---- experts and scales ---- */

static void read_experts(key_reader *in, dw_model_shape *shape)
{
    dw_experts kind = shape->architecture->experts;
    if (in->status != DW_OK) {
        return;
    }
    name_key(in, "expert_count");
    dw_status status = dw_gguf_u32(in->gguf, in->key, &shape->expert_count, in->err);
    in->status = status == DW_E_NOT_FOUND ? DW_OK : status;
    if (in->status != DW_OK || (shape->expert_count == 0 && kind != DW_EXPERTS_ALWAYS)) {
        return;
    }
    if (kind == DW_EXPERTS_NONE) {
        in->status = dw_fail(in->err, DW_E_UNSUPPORTED, "key '%s' is %u: '%s' has no experts",
                             in->key, shape->expert_count, in->prefix);
        return;
    }
    read_u32(in, "expert_count", true, EXPERT_COUNT_MAX, &shape->expert_count);
    read_u32(in, "expert_used_count", true, EXPERT_COUNT_MAX, &shape->expert_used_count);
    shape->expert_ff_length = shape->ff_length;
    read_u32(in, "expert_feed_forward_length", false, LENGTH_MAX, &shape->expert_ff_length);
    read_u32(in, "expert_shared_feed_forward_length", false, LENGTH_MAX, &shape->shared_ff_length);
    if (in->status == DW_OK && shape->expert_used_count > shape->expert_count) {
        in->status = dw_fail(in->err, DW_E_FORMAT, "%s.expert_used_count is %u, there are %u",
                             in->prefix, shape->expert_used_count, shape->expert_count);
    }
}

static void read_scales(key_reader *in, dw_model_shape *shape)
{
    const dw_architecture *architecture = shape->architecture;
    shape->embedding_scale =
        architecture->embedding_times_root ? sqrtf((float)shape->embedding_length) : 1.0f;
    shape->residual_scale = 1.0f;
    shape->logit_scale = 1.0f;
    shape->attn_logit_softcap = architecture->attn_logit_softcap;
    shape->final_logit_softcap = architecture->final_logit_softcap;
    if (architecture->attn_logit_softcap > 0) {
        read_f32(in, "attn_logit_softcapping", false, &shape->attn_logit_softcap);
    }
    read_f32(in, "final_logit_softcapping", false, &shape->final_logit_softcap);
    if (!architecture->scales) {
        return;
    }
    float logit_divisor = 0;
    read_f32(in, "logit_scale", true, &logit_divisor);
    read_f32(in, "residual_scale", false, &shape->residual_scale);
    read_f32(in, "embedding_scale", false, &shape->embedding_scale);
    if (in->status == DW_OK && logit_divisor <= 0) {
        in->status = dw_fail(in->err, DW_E_FORMAT, "%s.logit_scale is %g, must be above 0",
                             in->prefix, (double)logit_divisor);
        return;
    }
    shape->logit_scale = 1.0f / logit_divisor;
    /* 0 is how libllama spells "none". */
    shape->residual_scale = shape->residual_scale > 0 ? shape->residual_scale : 1.0f;
    shape->embedding_scale = shape->embedding_scale > 0 ? shape->embedding_scale : 1.0f;
}

/* Whether tokens see those behind them is the architecture's affair: a file that says otherwise is
 * another model under its name. */
static void read_causal(key_reader *in, const dw_model_shape *shape)
{
    bool encoder = shape->architecture->encoder;
    bool causal = !encoder;
    if (in->status != DW_OK) {
        return;
    }
    name_key(in, "attention.causal");
    dw_status status = dw_gguf_bool(in->gguf, in->key, &causal, in->err);
    in->status = status == DW_E_NOT_FOUND ? DW_OK : status;
    if (in->status == DW_OK && causal == encoder) {
        in->status =
            dw_fail(in->err, DW_E_UNSUPPORTED, "key '%s' is %s: with '%s' only %s is supported",
                    in->key, causal ? "true" : "false", in->prefix, encoder ? "false" : "true");
    }
}

static void read_embedding(key_reader *in, dw_model_shape *shape)
{
    bool encoder = shape->architecture->encoder;
    uint32_t pooling = encoder ? DW_POOL_MEAN : DW_POOL_LAST;
    if (in->status != DW_OK) {
        return;
    }
    name_key(in, "pooling_type");
    dw_status status = dw_gguf_u32(in->gguf, in->key, &pooling, in->err);
    in->status = status == DW_E_NOT_FOUND ? DW_OK : status;
    if (in->status == DW_OK && pooling > DW_POOL_LAST) {
        in->status = dw_fail(in->err, DW_E_UNSUPPORTED,
                             "key '%s' is %u: supported are 0 (none), 1 (mean), 2 (first) and 3 "
                             "(last)",
                             in->key, pooling);
    }
    shape->pooling = (dw_pooling)pooling;
    const dw_gguf_tensor *types = dw_gguf_tensor_find(in->gguf, "token_types.weight");
    if (encoder && types != NULL && types->ne[1] > 0 && types->ne[1] <= UINT16_MAX) {
        shape->token_type_count = (uint32_t)types->ne[1];
    }
}

dw_status dw_architecture_shape(const dw_gguf *gguf, dw_model_shape *shape, dw_error *err)
{
    *shape = (dw_model_shape){0};
    dw_status status = find_architecture(gguf, &shape->architecture, err);
    if (status != DW_OK) {
        return status;
    }
    bool rms = shape->architecture->norm == DW_NORM_RMS;
    key_reader in = {.gguf = gguf, .prefix = shape->architecture->name, .err = err};
    read_u32(&in, "block_count", true, DW_LAYER_COUNT_MAX, &shape->layer_count);
    read_u32(&in, "embedding_length", true, LENGTH_MAX, &shape->embedding_length);
    read_u32(&in, "feed_forward_length", true, LENGTH_MAX, &shape->ff_length);
    read_u32(&in, "context_length", true, CONTEXT_LENGTH_MAX, &shape->context_length);
    read_f32(&in, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", true,
             &shape->norm_epsilon);
    refuse_unknown(&in);
    read_attention(&in, shape);
    read_rope(&in, shape);
    read_window(&in, shape);
    read_experts(&in, shape);
    read_scales(&in, shape);
    read_causal(&in, shape);
    read_embedding(&in, shape);
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
