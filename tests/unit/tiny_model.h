/* Small random models of the llama architecture, written with ggml's own GGUF writer: what a test
 * wants to be in a file, or wrong with it. Needs cmocka included first. */
#ifndef DW_TESTS_TINY_MODEL_H
#define DW_TESTS_TINY_MODEL_H

#include <ggml.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct tiny_options {
    const char *architecture;
    uint32_t vocab_count; /* at least 300 */
    uint32_t layer_count;
    uint32_t embedding_length; /* a multiple of 32 */
    uint32_t head_count;
    uint32_t kv_head_count;
    uint32_t head_dim;
    uint32_t ff_length;
    uint32_t context_length;
    bool biases;
    bool own_output;
    bool rope_factors;
    float rope_linear; /* 0: none */
    enum ggml_type matrix_type;
    bool misaligned; /* the data start at a multiple of 8, not of 32 */
    bool tokenizer;
    bool nan_weights;      /* the output norm holds NaN */
    uint32_t expert_count; /* a key without the tensors */
    uint32_t split_count;
    const char *extra_tensor;   /* one more, of this name */
    const char *missing_tensor; /* one left out */
} tiny_options;

tiny_options tiny_defaults(void);
void tiny_model_write(const char *path, const tiny_options *options);

#endif
