#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gguf.h>

#include "gguf/gguf.h"
#include "support.h"

typedef struct writer {
    struct ggml_context *ggml;
    struct gguf_context *gguf;
    const tiny_options *options;
    uint64_t random;
} writer;

tiny_options tiny_defaults(void)
{
    return (tiny_options){.architecture = "llama",
                          .vocab_count = 320,
                          .layer_count = 2,
                          .embedding_length = 128,
                          .head_count = 4,
                          .kv_head_count = 2,
                          .head_dim = 64, /* what CUDA's attention has too */
                          .ff_length = 192,
                          .context_length = 2048,
                          .matrix_type = GGML_TYPE_F32,
                          .tokenizer = true};
}

const tiny_architecture tiny_kinds[] = {
    {.name = "llama"},
    {.name = "llama", .expert_count = 6, .expert_used_count = 2},
    {.name = "llama", .rope_scaling = "yarn", .rope_factor = 4.0f, .rope_context = 512},
    {.name = "llama", .fused_qkv = true},
    {.name = "qwen2", .own_output = true},
    {.name = "qwen2", .rope_scaling = "yarn", .rope_factor = 2.0f, .rope_context = 64},
    {.name = "qwen3", .qk_norm = TINY_QK_HEADS},
    {.name = "qwen3moe",
     .qk_norm = TINY_QK_HEADS,
     .expert_count = 8,
     .expert_used_count = 3,
     .expert_ff_length = 64},
    {.name = "gemma", .tied = true},
    {.name = "gemma2", .norms = TINY_AROUND, .tied = true, .window = 32},
    {.name = "gemma2",
     .norms = TINY_AROUND,
     .tied = true,
     .attn_logit_softcap = 20.0f,
     .final_logit_softcap = 10.0f},
    {.name = "gemma3", .norms = TINY_AROUND, .qk_norm = TINY_QK_HEADS, .window = 48},
    {.name = "gemma3",
     .norms = TINY_AROUND,
     .qk_norm = TINY_QK_HEADS,
     .window = 32,
     .rope_factor = 8.0f,
     .final_logit_softcap = 15.0f},
    {.name = "phi3", .fused_qkv = true, .fused_ffn = true, .window = 64},
    {.name = "phi3",
     .fused_qkv = true,
     .fused_ffn = true,
     .rope_dims = 24,
     .rope_scaling = "longrope",
     .yarn_attn_factor = 1.19f,
     .rope_context = 512,
     .long_factors = true},
    {.name = "phi3",
     .fused_qkv = true,
     .fused_ffn = true,
     .rope_scaling = "longrope",
     .rope_context = 4096,
     .long_factors = true},
    {.name = "granite", .scales = true},
    {.name = "granitemoe",
     .scales = true,
     .expert_count = 5,
     .expert_used_count = 2,
     .shared_ff_length = 96},
    {.name = "olmo2", .norms = TINY_AFTER, .qk_norm = TINY_QK_WHOLE, .own_output = true},
    {.name = "olmo2",
     .norms = TINY_AFTER,
     .qk_norm = TINY_QK_WHOLE,
     .own_output = true,
     .window = 40,
     .window_list = true,
     .rope_scaling = "yarn",
     .rope_factor = 8.0f,
     .rope_context = 256},
    {.name = "olmoe",
     .qk_norm = TINY_QK_WHOLE,
     .own_output = true,
     .expert_count = 4,
     .expert_used_count = 1},
    {.name = "starcoder2", .layer_norm = true, .plain_ffn = true},
};

const size_t tiny_kind_count = sizeof tiny_kinds / sizeof tiny_kinds[0];

tiny_options tiny_options_of(const tiny_architecture *kind, enum ggml_type type)
{
    tiny_options options = tiny_defaults();
    options.kind = kind;
    options.architecture = kind->name;
    options.layer_count = kind->window > 0 ? 7 : 3;
    options.head_dim = 64;
    options.matrix_type = type;
    bool square = strcmp(kind->name, "olmoe") == 0 || strcmp(kind->name, "olmo2") == 0 ||
                  strcmp(kind->name, "phi3") == 0 || strcmp(kind->name, "qwen2") == 0 ||
                  strcmp(kind->name, "starcoder2") == 0;
    options.embedding_length = square ? options.head_count * options.head_dim : 128;
    if (type != GGML_TYPE_F32) { /* K and IQ types have blocks of 256 */
        options.embedding_length = 256;
        options.ff_length = 256;
    }
    if (strcmp(kind->name, "olmoe") == 0) {
        options.kv_head_count = options.head_count;
    }
    return options;
}

/* In (-1, 1), the same at each run. */
static float next_random(writer *w)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(w->random >> 33) / 1073741824.0 - 1.0);
}

/* Random values: how large, around what. */
typedef struct spread {
    float centre;
    float size;
} spread;

static const tiny_architecture llama = {.name = "llama"};

static const tiny_architecture *kind_of(const tiny_options *options)
{
    return options->kind != NULL ? options->kind : &llama;
}

/* A matrix, or with no rows a vector, in the type asked for. */
static void add(writer *w, const char *name, enum ggml_type type, int64_t columns, int64_t rows,
                spread values_in)
{
    if (w->options->missing_tensor != NULL && strcmp(w->options->missing_tensor, name) == 0) {
        return;
    }
    struct ggml_tensor *tensor = rows > 0 ? ggml_new_tensor_2d(w->ggml, type, columns, rows)
                                          : ggml_new_tensor_1d(w->ggml, type, columns);
    ggml_set_name(tensor, name);
    size_t count = (size_t)ggml_nelements(tensor);
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = values_in.centre + values_in.size * next_random(w);
    }
    if (type == GGML_TYPE_F32) {
        memcpy(tensor->data, values, count * sizeof *values);
    } else {
        /* Some types want to know how much each column matters: all the same here. */
        float *importance = calloc((size_t)columns, sizeof *importance);
        assert_non_null(importance);
        for (int64_t i = 0; i < columns; i++) {
            importance[i] = 1.0f;
        }
        (void)ggml_quantize_chunk(type, values, tensor->data, 0, rows, columns, importance);
        free(importance);
    }
    free(values);
    gguf_add_tensor(w->gguf, tensor);
}

static void add_in_layer(writer *w, uint32_t layer, const char *suffix, int64_t columns,
                         int64_t rows)
{
    char name[GGML_MAX_NAME];
    (void)snprintf(name, sizeof name, "blk.%u.%s.weight", layer, suffix);
    if (rows == 0) {
        add(w, name, GGML_TYPE_F32, columns, 0, (spread){1.0f, 0.2f});
        return;
    }
    add(w, name, w->options->matrix_type, columns, rows,
        (spread){0.0f, 1.5f / sqrtf((float)columns)});
    const tiny_architecture *kind = kind_of(w->options);
    bool plain_encoder = kind->encoder && !kind->learned_positions; /* nomic-bert has no biases */
    if (w->options->biases || (kind->layer_norm && !plain_encoder)) {
        (void)snprintf(name, sizeof name, "blk.%u.%s.bias", layer, suffix);
        add(w, name, GGML_TYPE_F32, rows, 0, (spread){0.0f, 0.3f});
    }
}

static void add_norm_in_layer(writer *w, uint32_t layer, const char *suffix)
{
    add_in_layer(w, layer, suffix, w->options->embedding_length, 0);
    if (kind_of(w->options)->layer_norm) {
        char name[GGML_MAX_NAME];
        (void)snprintf(name, sizeof name, "blk.%u.%s.bias", layer, suffix);
        add(w, name, GGML_TYPE_F32, w->options->embedding_length, 0, (spread){0.0f, 0.2f});
    }
}

static void add_experts(writer *w, uint32_t layer, const char *suffix, int64_t columns,
                        int64_t rows)
{
    char name[GGML_MAX_NAME];
    (void)snprintf(name, sizeof name, "blk.%u.%s.weight", layer, suffix);
    int64_t count = kind_of(w->options)->expert_count;
    struct ggml_tensor *tensor = ggml_new_tensor_3d(w->ggml, GGML_TYPE_F32, columns, rows, count);
    ggml_set_name(tensor, name);
    float *values = tensor->data;
    for (int64_t i = 0; i < columns * rows * count; i++) {
        values[i] = 1.5f / sqrtf((float)columns) * next_random(w);
    }
    gguf_add_tensor(w->gguf, tensor);
}

static void add_attention(writer *w, uint32_t layer)
{
    const tiny_options *o = w->options;
    const tiny_architecture *kind = kind_of(o);
    int64_t embedding = o->embedding_length;
    int64_t q = (int64_t)o->head_count * o->head_dim;
    int64_t kv = (int64_t)o->kv_head_count * o->head_dim;
    if (kind->fused_qkv) {
        add_in_layer(w, layer, "attn_qkv", embedding, q + 2 * kv);
    } else {
        add_in_layer(w, layer, "attn_q", embedding, q);
        add_in_layer(w, layer, "attn_k", embedding, kv);
        add_in_layer(w, layer, "attn_v", embedding, kv);
    }
    if (kind->qk_norm != TINY_QK_PLAIN) {
        bool whole = kind->qk_norm == TINY_QK_WHOLE;
        add_in_layer(w, layer, "attn_q_norm", whole ? q : o->head_dim, 0);
        add_in_layer(w, layer, "attn_k_norm", whole ? kv : o->head_dim, 0);
    }
    add_in_layer(w, layer, "attn_output", q, embedding);
}

static void add_feed_forward(writer *w, uint32_t layer)
{
    const tiny_options *o = w->options;
    const tiny_architecture *kind = kind_of(o);
    int64_t embedding = o->embedding_length;
    int64_t ff = o->ff_length;
    if (kind->expert_count > 0) {
        int64_t expert_ff = kind->expert_ff_length > 0 ? kind->expert_ff_length : ff;
        add_in_layer(w, layer, "ffn_gate_inp", embedding, kind->expert_count);
        add_experts(w, layer, "ffn_gate_exps", embedding, expert_ff);
        add_experts(w, layer, "ffn_up_exps", embedding, expert_ff);
        add_experts(w, layer, "ffn_down_exps", expert_ff, embedding);
        if (kind->shared_ff_length > 0) {
            int64_t shared = kind->shared_ff_length;
            add_in_layer(w, layer, "ffn_gate_shexp", embedding, shared);
            add_in_layer(w, layer, "ffn_up_shexp", embedding, shared);
            add_in_layer(w, layer, "ffn_down_shexp", shared, embedding);
        }
        return;
    }
    if (!kind->fused_ffn && !kind->plain_ffn) {
        add_in_layer(w, layer, "ffn_gate", embedding, ff);
    }
    add_in_layer(w, layer, "ffn_up", embedding, kind->fused_ffn ? 2 * ff : ff);
    add_in_layer(w, layer, "ffn_down", ff, embedding);
}

static void add_rope_factors(writer *w)
{
    const tiny_architecture *kind = kind_of(w->options);
    int64_t half = (kind->rope_dims > 0 ? kind->rope_dims : w->options->head_dim) / 2;
    if (w->options->rope_factors) {
        add(w, "rope_freqs.weight", GGML_TYPE_F32, half, 0, (spread){3.0f, 1.5f});
    }
    if (kind->long_factors) {
        add(w, "rope_factors_long.weight", GGML_TYPE_F32, half, 0, (spread){5.0f, 3.0f});
        add(w, "rope_factors_short.weight", GGML_TYPE_F32, half, 0, (spread){1.5f, 0.5f});
    }
}

static void add_encoder(writer *w)
{
    const tiny_options *o = w->options;
    int64_t embedding = o->embedding_length;
    add(w, "token_types.weight", GGML_TYPE_F32, embedding, 2, (spread){0.0f, 0.5f});
    if (kind_of(o)->learned_positions) {
        add(w, "position_embd.weight", GGML_TYPE_F32, embedding, o->context_length,
            (spread){0.0f, 0.5f});
    }
    add(w, "token_embd_norm.weight", GGML_TYPE_F32, embedding, 0, (spread){1.0f, 0.2f});
    add(w, "token_embd_norm.bias", GGML_TYPE_F32, embedding, 0, (spread){0.0f, 0.2f});
    for (uint32_t i = 0; i < o->layer_count; i++) {
        add_attention(w, i);
        add_norm_in_layer(w, i, "attn_output_norm");
        add_feed_forward(w, i);
        add_norm_in_layer(w, i, "layer_output_norm");
    }
}

static void add_tensors(writer *w)
{
    const tiny_options *o = w->options;
    const tiny_architecture *kind = kind_of(o);
    int64_t embedding = o->embedding_length;
    add(w, "token_embd.weight", o->matrix_type, embedding, o->vocab_count, (spread){0.0f, 1.0f});
    if (kind->encoder) {
        add_encoder(w);
        return;
    }
    add(w, "output_norm.weight", GGML_TYPE_F32, embedding, 0,
        (spread){o->nan_weights ? NAN : 1.0f, 0.2f});
    if (kind->layer_norm) {
        add(w, "output_norm.bias", GGML_TYPE_F32, embedding, 0, (spread){0.0f, 0.2f});
    }
    if (o->own_output || kind->own_output) {
        add(w, "output.weight", kind->own_output ? GGML_TYPE_F32 : GGML_TYPE_F16, embedding,
            o->vocab_count, (spread){0.0f, 0.3f});
    }
    add_rope_factors(w);
    for (uint32_t i = 0; i < o->layer_count; i++) {
        if (kind->norms != TINY_AFTER) {
            add_norm_in_layer(w, i, "attn_norm");
            add_norm_in_layer(w, i, "ffn_norm");
        }
        if (kind->norms != TINY_BEFORE) {
            add_norm_in_layer(w, i, "post_attention_norm");
            add_norm_in_layer(w, i, "post_ffw_norm");
        }
        add_attention(w, i);
        add_feed_forward(w, i);
    }
    if (o->extra_tensor != NULL) {
        add(w, o->extra_tensor, GGML_TYPE_F32, 32, 0, (spread){0.0f, 1.0f});
    }
}

static void set_u32(writer *w, const char *suffix, uint32_t value)
{
    char key[128];
    (void)snprintf(key, sizeof key, "%s.%s", w->options->architecture, suffix);
    gguf_set_val_u32(w->gguf, key, value);
}

static void set_f32(writer *w, const char *suffix, float value)
{
    char key[128];
    (void)snprintf(key, sizeof key, "%s.%s", w->options->architecture, suffix);
    gguf_set_val_f32(w->gguf, key, value);
}

/* A SentencePiece-like list: <unk>, <s>, </s>, all bytes, then words without meaning. */
static void set_tokenizer(writer *w)
{
    uint32_t count = w->options->vocab_count;
    char(*texts)[16] = calloc(count, sizeof *texts);
    const char **tokens = calloc(count, sizeof *tokens);
    int32_t *types = calloc(count, sizeof *types);
    float *scores = calloc(count, sizeof *scores);
    assert_true(texts != NULL && tokens != NULL && types != NULL && scores != NULL);
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    for (uint32_t i = 0; i < count; i++) {
        if (i < 3) {
            (void)snprintf(texts[i], sizeof texts[i], "%s", special[i]);
        } else if (i < 259) {
            (void)snprintf(texts[i], sizeof texts[i], "<0x%02X>", i - 3);
        } else {
            (void)snprintf(texts[i], sizeof texts[i], "w%u", i);
        }
        tokens[i] = texts[i];
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        scores[i] = -(float)i;
    }
    gguf_set_val_str(w->gguf, "tokenizer.ggml.model", "llama");
    gguf_set_arr_str(w->gguf, "tokenizer.ggml.tokens", tokens, count);
    gguf_set_arr_data(w->gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, count);
    gguf_set_arr_data(w->gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, count);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.bos_token_id", 1);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.eos_token_id", 2);
    free(scores);
    free(types);
    free(tokens);
    free(texts);
}

static void set_lists(writer *w, const char *kind, char (*texts)[16], const int32_t *types)
{
    uint32_t count = w->options->vocab_count;
    const char **tokens = calloc(count, sizeof *tokens);
    float *scores = calloc(count, sizeof *scores);
    assert_true(tokens != NULL && scores != NULL);
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = texts[i];
        scores[i] = -1.0f - 0.01f * (float)i;
    }
    gguf_set_val_str(w->gguf, "tokenizer.ggml.model", kind);
    gguf_set_arr_str(w->gguf, "tokenizer.ggml.tokens", tokens, count);
    gguf_set_arr_data(w->gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, count);
    gguf_set_arr_data(w->gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, count);
    free(scores);
    free(tokens);
}

/* Special tokens, letters at and within words, then words of two letters. "\xe2\x96\x81" stands for
 * the space before a word. */
static void set_pieces(writer *w, const char *kind, const char *const *special, uint32_t specials)
{
    uint32_t count = w->options->vocab_count;
    char(*texts)[16] = calloc(count, sizeof *texts);
    int32_t *types = calloc(count, sizeof *types);
    assert_true(texts != NULL && types != NULL);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t letter = i - specials;
        if (i < specials) {
            (void)snprintf(texts[i], sizeof texts[i], "%s", special[i]);
        } else if (letter < 52) {
            (void)snprintf(texts[i], sizeof texts[i], "%s%c", letter < 26 ? "\xe2\x96\x81" : "",
                           (char)('a' + letter % 26));
        } else {
            (void)snprintf(texts[i], sizeof texts[i], "\xe2\x96\x81%c%c", (char)('a' + letter % 26),
                           (char)('a' + letter / 26));
        }
        types[i] = i < specials ? 3 : 1;
    }
    set_lists(w, kind, texts, types);
    free(types);
    free(texts);
}

static void set_word_pieces(writer *w)
{
    static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    set_pieces(w, "bert", special, 5);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.unknown_token_id", 1);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.bos_token_id", 2);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.seperator_token_id", 3);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.mask_token_id", 4);
}

static void set_unigrams(writer *w)
{
    static const char *const special[] = {"<s>", "<pad>", "</s>", "<unk>"};
    set_pieces(w, "t5", special, 4);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.bos_token_id", 0);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.padding_token_id", 1);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.eos_token_id", 2);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.unknown_token_id", 3);
    gguf_set_val_bool(w->gguf, "tokenizer.ggml.add_bos_token", true);
    gguf_set_val_bool(w->gguf, "tokenizer.ggml.add_eos_token", true);
    gguf_set_val_bool(w->gguf, "tokenizer.ggml.add_space_prefix", true);
    gguf_set_val_bool(w->gguf, "tokenizer.ggml.remove_extra_whitespaces", true);
}

static void set_scaling_keys(writer *w, const tiny_architecture *kind)
{
    if (kind->rope_scaling != NULL) {
        char key[128];
        (void)snprintf(key, sizeof key, "%s.rope.scaling.type", w->options->architecture);
        gguf_set_val_str(w->gguf, key, kind->rope_scaling);
    }
    if (kind->rope_factor > 0) {
        set_f32(w, "rope.scaling.factor", kind->rope_factor);
    }
    if (kind->yarn_attn_factor > 0) {
        set_f32(w, "rope.scaling.attn_factor", kind->yarn_attn_factor);
    }
    if (kind->rope_context > 0) {
        set_u32(w, "rope.scaling.original_context_length", kind->rope_context);
    }
    if (kind->scales) {
        set_f32(w, "logit_scale", 3.0f);
        set_f32(w, "residual_scale", 0.7f);
        set_f32(w, "embedding_scale", 2.5f);
        set_f32(w, "attention.scale", 0.11f);
    }
}

static void set_kind_keys(writer *w, const tiny_architecture *kind)
{
    set_scaling_keys(w, kind);
    if (kind->window > 0) {
        set_u32(w, "attention.sliding_window", kind->window);
    }
    if (kind->window_list) {
        bool windowed[16];
        char key[128];
        for (uint32_t i = 0; i < 16; i++) {
            windowed[i] = i != 1;
        }
        (void)snprintf(key, sizeof key, "%s.attention.sliding_window_pattern",
                       w->options->architecture);
        gguf_set_arr_data(w->gguf, key, GGUF_TYPE_BOOL, windowed, w->options->layer_count);
    }
    if (kind->attn_logit_softcap > 0) {
        set_f32(w, "attn_logit_softcapping", kind->attn_logit_softcap);
    }
    if (kind->final_logit_softcap > 0) {
        set_f32(w, "final_logit_softcapping", kind->final_logit_softcap);
    }
    if (kind->expert_count > 0) {
        set_u32(w, "expert_count", kind->expert_count);
        set_u32(w, "expert_used_count", kind->expert_used_count);
    }
    if (kind->expert_ff_length > 0) {
        set_u32(w, "expert_feed_forward_length", kind->expert_ff_length);
    }
    if (kind->shared_ff_length > 0) {
        set_u32(w, "expert_shared_feed_forward_length", kind->shared_ff_length);
    }
    if (kind->encoder) {
        char key[128];
        (void)snprintf(key, sizeof key, "%s.attention.causal", w->options->architecture);
        gguf_set_val_bool(w->gguf, key, false);
        gguf_set_val_u32(w->gguf, "tokenizer.ggml.token_type_count", 2);
        if (w->options->pooling > 0) {
            set_u32(w, "pooling_type", w->options->pooling);
        }
    }
}

static void set_keys(writer *w)
{
    const tiny_options *o = w->options;
    const tiny_architecture *kind = kind_of(o);
    gguf_set_val_str(w->gguf, "general.architecture", o->architecture);
    gguf_set_val_str(w->gguf, "general.name", o->name != NULL ? o->name : "tiny");
    if (o->misaligned) {
        gguf_set_val_u32(w->gguf, "general.alignment", 8);
    }
    set_u32(w, "block_count", o->layer_count);
    set_u32(w, "context_length", o->context_length);
    set_u32(w, "embedding_length", o->embedding_length);
    set_u32(w, "feed_forward_length", o->ff_length);
    set_u32(w, "attention.head_count", o->head_count);
    set_u32(w, "attention.head_count_kv", o->kv_head_count);
    set_u32(w, "attention.key_length", o->head_dim);
    set_u32(w, "attention.value_length", o->head_dim);
    set_u32(w, "rope.dimension_count", kind->rope_dims > 0 ? kind->rope_dims : o->head_dim);
    set_f32(w,
            kind->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
            1e-5f);
    set_f32(w, "rope.freq_base", 50000.0f);
    if (o->rope_linear > 0) {
        set_f32(w, "rope.scaling.factor", o->rope_linear);
    }
    set_kind_keys(w, kind);
    if (o->expert_key > 0) {
        set_u32(w, "expert_count", o->expert_key);
    }
    if (o->split_count > 0) {
        gguf_set_val_u16(w->gguf, "split.count", (uint16_t)o->split_count);
    }
    const char *tokenizer = kind->tokenizer;
    if (o->tokenizer && tokenizer != NULL && strcmp(tokenizer, "bert") == 0) {
        set_word_pieces(w);
    } else if (o->tokenizer && tokenizer != NULL) {
        set_unigrams(w);
    } else if (o->tokenizer) {
        set_tokenizer(w);
    }
}

/* ggml's writer pads to 32 whatever general.alignment says: take out what is too much, after which
 * the data start at a multiple of 8 that is none of 32. */
static void move_data(const char *path)
{
    static unsigned char content[1 << 20];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t count = fread(content, 1, sizeof content, file);
    (void)fclose(file);
    assert_true(count < sizeof content);
    dw_gguf *gguf = NULL;
    assert_int_equal(dw_gguf_parse(&gguf, content, count, NULL), DW_OK);
    size_t start = dw_gguf_tensor_at(gguf, 0)->file_offset;
    dw_gguf_close(gguf);
    size_t padded = (start + 31) / 32 * 32;
    assert_true(padded > start);
    memmove(content + start, content + padded, count - padded);
    file = fopen(path, "wb");
    assert_non_null(file);
    count -= padded - start;
    assert_int_equal(fwrite(content, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

void tiny_model_write(const char *path, const tiny_options *options)
{
    struct ggml_init_params params = {.mem_size = (size_t)256 << 20};
    writer w = {
        .ggml = ggml_init(params), .gguf = gguf_init_empty(), .options = options, .random = 1};
    assert_true(w.ggml != NULL && w.gguf != NULL);
    set_keys(&w);
    add_tensors(&w);
    assert_true(gguf_write_to_file(w.gguf, path, false));
    gguf_free(w.gguf);
    ggml_free(w.ggml);
    if (options->misaligned) {
        move_data(path);
    }
}
