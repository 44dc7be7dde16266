#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tiny_model.h"

#include <gguf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"

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
                          .head_dim = 32,
                          .ff_length = 192,
                          .context_length = 2048,
                          .matrix_type = GGML_TYPE_F32,
                          .tokenizer = true};
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
        (void)ggml_quantize_chunk(type, values, tensor->data, 0, rows, columns, NULL);
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
    if (w->options->biases) {
        (void)snprintf(name, sizeof name, "blk.%u.%s.bias", layer, suffix);
        add(w, name, GGML_TYPE_F32, rows, 0, (spread){0.0f, 0.3f});
    }
}

static void add_tensors(writer *w)
{
    const tiny_options *o = w->options;
    int64_t embedding = o->embedding_length;
    int64_t q = (int64_t)o->head_count * o->head_dim;
    int64_t kv = (int64_t)o->kv_head_count * o->head_dim;
    int64_t ff = o->ff_length;
    add(w, "token_embd.weight", o->matrix_type, embedding, o->vocab_count, (spread){0.0f, 1.0f});
    add(w, "output_norm.weight", GGML_TYPE_F32, embedding, 0,
        (spread){o->nan_weights ? NAN : 1.0f, 0.2f});
    if (o->own_output) {
        add(w, "output.weight", GGML_TYPE_F16, embedding, o->vocab_count, (spread){0.0f, 0.3f});
    }
    if (o->rope_factors) {
        add(w, "rope_freqs.weight", GGML_TYPE_F32, o->head_dim / 2, 0, (spread){3.0f, 1.5f});
    }
    for (uint32_t i = 0; i < o->layer_count; i++) {
        add_in_layer(w, i, "attn_norm", embedding, 0);
        add_in_layer(w, i, "attn_q", embedding, q);
        add_in_layer(w, i, "attn_k", embedding, kv);
        add_in_layer(w, i, "attn_v", embedding, kv);
        add_in_layer(w, i, "attn_output", q, embedding);
        add_in_layer(w, i, "ffn_norm", embedding, 0);
        add_in_layer(w, i, "ffn_gate", embedding, ff);
        add_in_layer(w, i, "ffn_up", embedding, ff);
        add_in_layer(w, i, "ffn_down", ff, embedding);
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

static void set_keys(writer *w)
{
    const tiny_options *o = w->options;
    gguf_set_val_str(w->gguf, "general.architecture", o->architecture);
    gguf_set_val_str(w->gguf, "general.name", "tiny");
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
    set_u32(w, "rope.dimension_count", o->head_dim);
    set_f32(w, "attention.layer_norm_rms_epsilon", 1e-5f);
    set_f32(w, "rope.freq_base", 50000.0f);
    if (o->rope_linear > 0) {
        set_f32(w, "rope.scaling.factor", o->rope_linear);
    }
    if (o->expert_count > 0) {
        set_u32(w, "expert_count", o->expert_count);
    }
    if (o->split_count > 0) {
        gguf_set_val_u16(w->gguf, "split.count", (uint16_t)o->split_count);
    }
    if (o->tokenizer) {
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
    struct ggml_init_params params = {.mem_size = (size_t)64 << 20};
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
