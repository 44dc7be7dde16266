/* The GGUF reader and what the model makes of a file's head, on any bytes. */
#include <stdint.h>

#include "model/weights.h"
#include "text/tokenizer_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const dw_gguf *gguf)
{
    static dw_layer_weights layers[512];
    dw_model_shape shape;
    dw_error err;
    if (dw_architecture_shape(gguf, &shape, &err) != DW_OK) {
        return;
    }
    (void)dw_tokenizer_check(gguf, shape.vocab_count, &err);
    struct ggml_init_params params = {
        .mem_size = (dw_gguf_tensor_count(gguf) + 1) * ggml_tensor_overhead(), .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    dw_model_weights weights = {.layers = layers};
    (void)dw_model_weights_make(gguf, &shape, ggml, &weights, &err);
    ggml_free(ggml);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dw_gguf *gguf = NULL;
    dw_error err;
    if (dw_gguf_parse(&gguf, data, size, &err) == DW_OK) {
        read_all(gguf);
        for (size_t i = 0; i < dw_gguf_tensor_count(gguf); i++) {
            const dw_gguf_tensor *tensor = dw_gguf_tensor_at(gguf, i);
            DW_ASSERT(tensor->file_offset <= size && tensor->bytes <= size - tensor->file_offset);
        }
        dw_gguf_close(gguf);
    }
    return 0;
}
