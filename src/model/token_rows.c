#include "model/token_rows.h"

#include <string.h>

#include "base/alloc.h"
#include "device/device_memory.h"

static void to_floats(const struct ggml_tensor *embedding, const void *row, float *to, float scale)
{
    if (embedding->type == GGML_TYPE_F32) {
        memcpy(to, row, (size_t)embedding->ne[0] * sizeof *to);
    } else {
        ggml_get_type_traits(embedding->type)->to_float(row, to, embedding->ne[0]);
    }
    for (int64_t i = 0; scale != 1.0F && i < embedding->ne[0]; i++) {
        to[i] *= scale;
    }
}

dw_status dw_model_token_rows(dw_model *model, const int32_t *tokens, uint32_t count, float *rows,
                              dw_error *err)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    const struct ggml_tensor *embedding = dw_model_weights_of(model)->token_embedding;
    dw_status status = DW_OK;
    if (shape->architecture->encoder) {
        return dw_fail(err, DW_E_UNSUPPORTED, "embeddings: '%s' is an encoder, which takes tokens",
                       shape->architecture->name);
    }
    void *row = dw_alloc(1, embedding->nb[1]);
    if (row == NULL) {
        return dw_fail(err, DW_E_MEMORY, "embeddings: no memory for a row");
    }
    for (uint32_t i = 0; status == DW_OK && i < count; i++) {
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= shape->vocab_count) {
            status = dw_fail(err, DW_E_RANGE, "embeddings: token %d at %u, the vocabulary has %u",
                             tokens[i], i, shape->vocab_count);
            break;
        }
        status = dw_device_tensor_get(dw_model_device(model), embedding, row,
                                      (size_t)tokens[i] * embedding->nb[1], embedding->nb[1], err);
        if (status == DW_OK) {
            to_floats(embedding, row, rows + (size_t)i * shape->embedding_length,
                      shape->embedding_scale);
        }
    }
    dw_free(row);
    return status == DW_OK ? dw_model_check_files(model, err) : status;
}
