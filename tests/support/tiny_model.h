/* Small random models of every architecture, written with ggml's own GGUF writer: what a test
 * wants to be in a file, or wrong with it. */
#ifndef DW_TESTS_TINY_MODEL_H
#define DW_TESTS_TINY_MODEL_H

#include <ggml.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tiny_norms { TINY_BEFORE, TINY_AFTER, TINY_AROUND, TINY_SUM } tiny_norms;
typedef enum tiny_qk_norm { TINY_QK_PLAIN, TINY_QK_HEADS, TINY_QK_WHOLE } tiny_qk_norm;

/* What libllama wants of a file of this architecture beyond what the llama one has. */
typedef struct tiny_architecture {
    const char *name;
    tiny_norms norms;
    tiny_qk_norm qk_norm;
    bool layer_norm; /* with biases everywhere */
    bool fused_qkv;
    bool fused_ffn;
    bool plain_ffn;
    bool tied; /* must not have an output matrix */
    bool own_output;
    uint32_t window;
    bool window_list; /* the pattern as a list of booleans: all but layer 1 */
    float attn_logit_softcap;
    float final_logit_softcap;
    bool scales; /* Granite's */
    uint32_t expert_count;
    uint32_t expert_used_count;
    uint32_t expert_ff_length; /* in a key of its own; 0: ff_length, without one */
    uint32_t shared_ff_length;
    uint32_t rope_dims; /* 0: head_dim */
    const char *rope_scaling;
    float rope_factor;
    float yarn_attn_factor;
    uint32_t rope_context;
    bool long_factors;
    bool encoder; /* with token types and a norm behind the embeddings */
    bool learned_positions;
    const char *tokenizer; /* "bert" or "t5"; NULL: "llama" */
} tiny_architecture;

typedef struct tiny_options {
    const tiny_architecture *kind; /* NULL: llama */
    const char *name;              /* NULL: tiny */
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
    bool nan_weights;    /* the output norm holds NaN */
    uint32_t expert_key; /* an expert_count without the rest */
    uint32_t split_count;
    uint32_t pooling;           /* an encoder's pooling_type; 0: no key */
    const char *extra_tensor;   /* one more, of this name */
    const char *missing_tensor; /* one left out */
} tiny_options;

tiny_options tiny_defaults(void);
/* At least one of each architecture that has logits, and sizes that suit it. */
extern const tiny_architecture tiny_kinds[];
extern const size_t tiny_kind_count;
tiny_options tiny_options_of(const tiny_architecture *kind, enum ggml_type type);
void tiny_model_write(const char *path, const tiny_options *options);

#endif
