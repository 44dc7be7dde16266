/* The architectures that there are, what a file says about its model's shape, and the weights such
 * a model must have. A file whose architecture is outside the table is refused by name. */
#ifndef DW_MODEL_ARCHITECTURE_H
#define DW_MODEL_ARCHITECTURE_H

#include "model/gguf.h"

/* What sets one architecture apart from another. */
typedef struct dw_architecture {
    const char *name;    /* general.architecture, and the prefix of its keys */
    int rope_mode;       /* GGML_ROPE_TYPE_NORMAL (pairs side by side) or _NEOX (halves) */
    bool attention_bias; /* q, k, v, o may have biases */
    bool ffn_bias;
    bool rope_factors; /* rope_freqs.weight may be there */
} dw_architecture;

/* A model's sizes. Embedding is what each layer takes and gives. */
typedef struct dw_model_shape {
    const dw_architecture *architecture;
    uint32_t vocab_count;
    uint32_t layer_count;
    uint32_t embedding_length;
    uint32_t context_length;
    uint32_t head_count;
    uint32_t kv_head_count;
    uint32_t head_dim;
    uint32_t ff_length;
    uint32_t rope_dims;
    uint32_t rope_context; /* the length that the rope scaling starts from */
    float rms_epsilon;
    float rope_base;
    float rope_scale;      /* positions are multiplied by it */
    float attention_scale; /* scores are multiplied by it */
} dw_model_shape;

/* One layer's tensors; those that are optional may be NULL. Sizes as ggml's ne. */
typedef struct dw_layer_weights {
    struct ggml_tensor *attn_norm; /* [embedding] */
    struct ggml_tensor *q;         /* [embedding, heads * head_dim] */
    struct ggml_tensor *q_bias;    /* [heads * head_dim], optional */
    struct ggml_tensor *k;         /* [embedding, kv_heads * head_dim] */
    struct ggml_tensor *k_bias;
    struct ggml_tensor *v; /* [embedding, kv_heads * head_dim] */
    struct ggml_tensor *v_bias;
    struct ggml_tensor *attn_out; /* [heads * head_dim, embedding] */
    struct ggml_tensor *attn_out_bias;
    struct ggml_tensor *ffn_norm; /* [embedding] */
    struct ggml_tensor *gate;     /* [embedding, ff] */
    struct ggml_tensor *gate_bias;
    struct ggml_tensor *up; /* [embedding, ff] */
    struct ggml_tensor *up_bias;
    struct ggml_tensor *down; /* [ff, embedding] */
    struct ggml_tensor *down_bias;
} dw_layer_weights;

typedef struct dw_model_weights {
    struct ggml_tensor *token_embedding; /* [embedding, vocab] */
    struct ggml_tensor *output_norm;     /* [embedding] */
    struct ggml_tensor *output;          /* [embedding, vocab]; token_embedding where tied */
    struct ggml_tensor *rope_factors;    /* [rope_dims / 2], optional */
    dw_layer_weights *layers;            /* [layer_count] */
} dw_model_weights;

/* Fill `shape` from the file's keys. Errors: DW_E_UNSUPPORTED (an architecture, a number of
 * experts, a rope scaling that are not in the table), DW_E_FORMAT (a key missing, of another type,
 * or with a value that cannot be). */
dw_status dw_architecture_shape(const dw_gguf *gguf, dw_model_shape *shape, dw_error *err);

/* Make a tensor in `ggml` (which must not allocate) for each of the file's, check that all that the
 * architecture needs are there with the right type and sizes and that none is left over, and point
 * `weights` at them. `weights->layers` holds shape->layer_count items.
 * Errors: DW_E_FORMAT, DW_E_UNSUPPORTED (a type that cannot be multiplied with), DW_E_MEMORY. */
dw_status dw_architecture_weights(const dw_gguf *gguf, const dw_model_shape *shape,
                                  struct ggml_context *ggml, dw_model_weights *weights,
                                  dw_error *err);

/* Check the file's tokenizer so that libllama, which parses it again, finds nothing that it would
 * abort over. Errors: DW_E_UNSUPPORTED (no tokenizer, or another kind), DW_E_FORMAT. */
dw_status dw_architecture_vocab(const dw_gguf *gguf, const dw_model_shape *shape, dw_error *err);

#endif
