/* The architectures that there are, and what a file says about its model's shape. A file whose
 * architecture is outside the table is refused by name. */
#ifndef DW_MODEL_ARCHITECTURE_H
#define DW_MODEL_ARCHITECTURE_H

#include "gguf/gguf.h"
#include "kv/kv_layout.h"

#define DW_LAYER_COUNT_MAX 512u

typedef enum dw_norm {
    DW_NORM_RMS,  /* of RMS, with weights (Zhang and Sennrich, 2019) */
    DW_NORM_LAYER /* of mean and variance, with weights and biases (Ba and others, 2016) */
} dw_norm;

/* Which side of attention and of the feed-forward part is normed; or what comes of adding their
 * results to what they were given (Vaswani and others, 2017). */
typedef enum dw_norm_place {
    DW_NORM_BEFORE,
    DW_NORM_AFTER,
    DW_NORM_AROUND,
    DW_NORM_SUM
} dw_norm_place;

/* How queries and keys are normed before they are rotated. */
typedef enum dw_qk_norm {
    DW_QK_PLAIN,     /* not at all */
    DW_QK_EACH_HEAD, /* each head by itself, with the weights [head_dim] */
    DW_QK_WHOLE      /* all heads as one row */
} dw_qk_norm;

typedef enum dw_ffn {
    DW_FFN_GATED, /* down(act(gate(x)) * up(x)) */
    DW_FFN_FUSED, /* the same, gate and up in one matrix, gate first */
    DW_FFN_PLAIN  /* down(act(up(x))) */
} dw_ffn;

typedef enum dw_activation { DW_SILU, DW_GELU } dw_activation;

/* How the hidden states of a text's tokens become one embedding: the numbers are GGUF's. */
typedef enum dw_pooling {
    DW_POOL_NONE = 0, /* not at all: each token's */
    DW_POOL_MEAN = 1,
    DW_POOL_FIRST = 2, /* the first token's, CLS in BERT's words */
    DW_POOL_LAST = 3
} dw_pooling;

typedef enum dw_experts {
    DW_EXPERTS_NONE,
    DW_EXPERTS_MAYBE, /* where the file has a count of them */
    DW_EXPERTS_ALWAYS
} dw_experts;

/* What sets one architecture apart from another. All may have biases, one matrix for queries, keys
 * and values, an output matrix of their own, and any scaling of rotary positions. */
typedef struct dw_architecture {
    const char *name; /* general.architecture, and the prefix of its keys */
    int rope_mode;    /* GGML_ROPE_TYPE_NORMAL (pairs side by side) or _NEOX (halves) */
    dw_norm norm;
    dw_norm_place norm_place;
    dw_qk_norm qk_norm;
    dw_ffn ffn;
    dw_activation activation;
    dw_experts experts;
    bool encoder;              /* tokens attend to all others; embeddings come of it, no logits */
    bool learned_positions;    /* a row a position is added to the embeddings */
    bool experts_sum_to_one;   /* the chosen experts' weights are scaled to that */
    bool embedding_times_root; /* embeddings are multiplied by the root of their length */
    bool scales_queries;       /* and not scores: it rounds otherwise */
    bool scales;               /* keys scale embeddings, scores, residuals and logits (Granite) */
    bool ignores_window;       /* the key is there, and libllama attends to everything */
    float attn_logit_softcap;  /* scores are capped: cap * tanh(score / cap); the key's default */
    float final_logit_softcap;
    uint32_t window_every;   /* of so many layers all but the last attend to a window; 0: none */
    uint32_t window_default; /* where the key is missing; 0: no windows then */
    float window_rope_base;  /* of layers with a window; 0: that of the others */
    bool window_rope_plain;  /* there without scaling */
    uint32_t wide_layers;    /* a model of so many layers scales scores by embedding / heads */
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
    float norm_epsilon;
    dw_pooling pooling;        /* the file's, else the last token's, or the mean with an encoder */
    uint32_t token_type_count; /* an encoder's; 0: it tells no types of token apart */

    uint32_t expert_count;      /* 0: the feed-forward part is one */
    uint32_t expert_used_count; /* each token's */
    uint32_t expert_ff_length;
    uint32_t shared_ff_length; /* of the expert that all tokens go through; 0: none */

    uint32_t rope_dims;    /* of a head's, the first so many are rotated; 0: none */
    uint32_t rope_context; /* the length that the scaling starts from */
    float rope_base;
    float rope_scale; /* positions are multiplied by it */
    /* YaRN (Peng and others, 2023): the weight of extrapolation, the attention factor, the turns
     * within rope_context between which it sets in. 0 and 1 without. */
    float yarn_ext_factor;
    float yarn_attn_factor;
    float yarn_beta_fast;
    float yarn_beta_slow;

    uint32_t window; /* tokens that layers in `windowed` attend to, their own included; 0: all */
    float window_rope_base;
    float window_rope_scale;
    uint64_t windowed[DW_LAYER_COUNT_MAX / 64]; /* a bit a layer */

    float attention_scale;    /* scores are multiplied by it */
    float attn_logit_softcap; /* 0: none */
    float final_logit_softcap;
    float embedding_scale; /* 1: none */
    float residual_scale;
    float logit_scale; /* logits are multiplied by it */
} dw_model_shape;

static inline bool dw_layer_windowed(const dw_model_shape *shape, uint32_t layer)
{
    return shape->window > 0 && (shape->windowed[layer / 64] >> (layer % 64) & 1) != 0;
}

/* Of the records that the model's contexts keep in `type`. */
static inline dw_kv_layout dw_model_kv_layout(const dw_model_shape *shape, dw_kv_type type)
{
    return dw_kv_layout_of(type, shape->layer_count, shape->kv_head_count, shape->head_dim);
}

/* The table's names, in its order; NULL past its end. */
const char *dw_architecture_name(size_t index);

/* Fill `shape` from the file's keys. Errors: DW_E_UNSUPPORTED (an architecture, a number of
 * experts, a rope scaling that are not in the table), DW_E_FORMAT (a key missing, of another type,
 * or with a value that cannot be). */
dw_status dw_architecture_shape(const dw_gguf *gguf, dw_model_shape *shape, dw_error *err);

#endif
