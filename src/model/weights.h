/* The weights that a model of an architecture has: one ggml tensor for each of the file's. */
#ifndef DW_MODEL_WEIGHTS_H
#define DW_MODEL_WEIGHTS_H

#include "model/architecture.h"

/* A matrix [columns, rows] and its bias [rows], which may be NULL. */
typedef struct dw_linear {
    struct ggml_tensor *weight;
    struct ggml_tensor *bias;
} dw_linear;

/* One layer's tensors; those that the architecture lacks are NULL. Sizes as ggml's ne. */
typedef struct dw_layer_weights {
    dw_linear attn_norm; /* [embedding] each; the bias with DW_NORM_LAYER */
    dw_linear qkv;       /* [embedding, (heads + 2 * kv_heads) * head_dim]; else the next three */
    dw_linear q;         /* [embedding, heads * head_dim] */
    dw_linear k;         /* [embedding, kv_heads * head_dim] */
    dw_linear v;
    struct ggml_tensor *q_norm; /* [head_dim], or of the whole row */
    struct ggml_tensor *k_norm;
    dw_linear attn_out; /* [heads * head_dim, embedding] */
    dw_linear attn_post_norm;
    dw_linear ffn_norm;
    dw_linear gate; /* [embedding, ff] */
    dw_linear up;   /* [embedding, ff], or twice that with DW_FFN_FUSED */
    dw_linear down; /* [ff, embedding] */
    dw_linear ffn_post_norm;
    struct ggml_tensor *router;       /* [embedding, experts] */
    struct ggml_tensor *gate_experts; /* [embedding, expert_ff, experts] */
    struct ggml_tensor *up_experts;
    struct ggml_tensor *down_experts; /* [expert_ff, embedding, experts] */
    struct ggml_tensor *gate_shared;  /* [embedding, shared_ff] */
    struct ggml_tensor *up_shared;
    struct ggml_tensor *down_shared;
} dw_layer_weights;

typedef struct dw_model_weights {
    struct ggml_tensor *token_embedding;    /* [embedding, vocab] */
    struct ggml_tensor *position_embedding; /* [embedding, context], where they are learned */
    struct ggml_tensor *type_embedding;     /* [embedding, token types] of an encoder; F32 */
    dw_linear embedding_norm;               /* [embedding], an encoder's */
    dw_linear output_norm;                  /* [embedding], not an encoder's; nor has it: */
    dw_linear output;                       /* [embedding, vocab]; token_embedding where tied */
    struct ggml_tensor *rope_factors;       /* [rope_dims / 2], optional; or the next two: */
    struct ggml_tensor *rope_factors_long;  /* of contexts longer than rope_context */
    struct ggml_tensor *rope_factors_short; /* of others */
    dw_layer_weights *layers;               /* [layer_count] */
} dw_model_weights;

/* Make a tensor in `ggml` (which must not allocate) for each of the file's, check that all that the
 * architecture needs are there with the right type and sizes and that none is left over, and point
 * `weights` at them. `weights->layers` holds shape->layer_count items.
 * Errors: DW_E_FORMAT, DW_E_UNSUPPORTED (a type that cannot be multiplied with), DW_E_MEMORY. */
dw_status dw_model_weights_make(const dw_gguf *gguf, const dw_model_shape *shape,
                                struct ggml_context *ggml, dw_model_weights *weights,
                                dw_error *err);

#endif
