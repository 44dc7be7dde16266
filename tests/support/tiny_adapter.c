#include "tiny_adapter.h"

#include <gguf.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gguf/gguf.h"
#include "support.h"

typedef struct writer {
    struct ggml_context *ggml;
    struct gguf_context *gguf;
    const tiny_adapter *options;
    uint64_t random;
    uint32_t pairs;
} writer;

static float next(writer *w)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(w->random >> 40) / (double)(1 << 23) - 1.0);
}

static enum ggml_type type_for(const writer *w, int64_t columns)
{
    const enum ggml_type wanted = w->options->type;
    return columns % ggml_blck_size(wanted) == 0 ? wanted : GGML_TYPE_F16;
}

static void add(writer *w, const char *name, const int64_t ne[3], bool odd)
{
    const enum ggml_type type = odd && w->options->integers ? GGML_TYPE_I32 : type_for(w, ne[0]);
    struct ggml_tensor *floats = ggml_new_tensor_3d(w->ggml, GGML_TYPE_F32, ne[0], ne[1], ne[2]);
    struct ggml_tensor *tensor = ggml_new_tensor_3d(w->ggml, type, ne[0], ne[1], ne[2]);
    const double size = w->options->size > 0 ? w->options->size : 1.0;
    float *values = floats->data;
    for (int64_t i = 0; i < ggml_nelements(floats); i++) {
        values[i] = (float)(size / sqrt((double)ne[0])) * next(w);
    }
    if (w->options->nan && w->pairs == 0) {
        values[1] = NAN;
    }
    if (type == GGML_TYPE_F32 || type == GGML_TYPE_I32) {
        memcpy(tensor->data, values, ggml_nbytes(tensor));
    } else {
        (void)ggml_quantize_chunk(type, values, tensor->data, 0, ne[1] * ne[2], ne[0], NULL);
    }
    ggml_set_name(tensor, name);
    gguf_add_tensor(w->gguf, tensor);
}

static void add_pair(writer *w, const dw_gguf_tensor *of, bool is_table)
{
    const tiny_adapter *options = w->options;
    const bool first = w->pairs == 0;
    const int64_t rank = options->rank;
    const int64_t columns = is_table ? of->ne[1] : of->ne[0];
    const int64_t rows = is_table ? of->ne[0] : of->ne[1];
    const int64_t more_rank = rank + (first && options->other_rank);
    const int64_t a[] = {is_table ? more_rank : columns, is_table ? columns : more_rank, of->ne[2]};
    const int64_t b[] = {rank, rows + (first && options->other_rows), of->ne[2]};
    const char *base = first && options->renamed_to != NULL ? options->renamed_to : of->name;
    char name[GGML_MAX_NAME];
    if (!(first && options->without_a)) {
        (void)snprintf(name, sizeof name, "%.50s.lora_a", base);
        add(w, name, a, false);
    }
    if (!(first && options->without_b)) {
        (void)snprintf(name, sizeof name, "%.50s.lora_b", base);
        add(w, name, b, first);
    }
    w->pairs++;
}

static bool is_matrix(const dw_gguf_tensor *tensor)
{
    const size_t length = strlen(tensor->name);
    return tensor->ne[1] > 1 && length > 7 && strcmp(tensor->name + length - 7, ".weight") == 0 &&
           strcmp(tensor->name, "position_embd.weight") != 0 &&
           strcmp(tensor->name, "token_types.weight") != 0;
}

static void set_keys(writer *w, const dw_gguf *model)
{
    const tiny_adapter *options = w->options;
    dw_gguf_string text;
    char architecture[64];
    assert_int_equal(dw_gguf_text(model, "general.architecture", &text, NULL), DW_OK);
    (void)snprintf(architecture, sizeof architecture, "%.*s", (int)text.bytes, text.text);
    gguf_set_val_str(w->gguf, "general.type",
                     options->general_type != NULL ? options->general_type : "adapter");
    gguf_set_val_str(w->gguf, "adapter.type",
                     options->adapter_type != NULL ? options->adapter_type : "lora");
    gguf_set_val_str(w->gguf, "general.architecture",
                     options->architecture != NULL ? options->architecture : architecture);
    if (options->alpha != 0.0F || options->alpha_nan) {
        gguf_set_val_f32(w->gguf, "adapter.lora.alpha", options->alpha_nan ? NAN : options->alpha);
    }
    if (options->invocation_tokens) {
        const uint32_t tokens[] = {1, 2};
        gguf_set_arr_data(w->gguf, "adapter.alora.invocation_tokens", GGUF_TYPE_UINT32, tokens, 2);
    }
}

static void add_pairs(writer *w, const dw_gguf *model)
{
    const char *only = w->options->only;
    for (size_t i = 0; i < dw_gguf_tensor_count(model) && !w->options->empty; i++) {
        const dw_gguf_tensor *tensor = dw_gguf_tensor_at(model, i);
        const bool is_table = strcmp(tensor->name, "token_embd.weight") == 0;
        if (is_matrix(tensor) && (!is_table || w->options->table) &&
            (only == NULL || strstr(tensor->name, only) != NULL)) {
            add_pair(w, tensor, is_table);
        }
    }
}

void tiny_adapter_write(const char *path, const char *model, const tiny_adapter *options)
{
    const struct ggml_init_params params = {.mem_size = (size_t)512 << 20};
    writer w = {.ggml = ggml_init(params),
                .gguf = gguf_init_empty(),
                .options = options,
                .random = options->seed};
    dw_gguf *of = NULL;
    assert_true(w.ggml != NULL && w.gguf != NULL);
    assert_int_equal(dw_gguf_open(&of, model, NULL), DW_OK);
    set_keys(&w, of);
    add_pairs(&w, of);
    if (options->extra_tensor != NULL) {
        const int64_t ne[] = {32, 1, 1};
        add(&w, options->extra_tensor, ne, false);
    }
    assert_true(gguf_write_to_file(w.gguf, path, false));
    dw_gguf_close(of);
    gguf_free(w.gguf);
    ggml_free(w.ggml);
}
