/* The numbers and structs that guests and the host share. Version 2: 1 had
 * no dw_generate.
 *
 * All functions are imports of module "driftwood". Pointers are 32-bit addresses in the guest's
 * linear memory. docs/guest-abi.md describes the functions one by one. A function that returns i32
 * returns a negative status on failure.
 * Structs have the same layout in wasm32 and on the host: fixed-width fields, no padding.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIFTWOOD_ABI_H
#define DRIFTWOOD_ABI_H

#include <stdint.h>

#define DW_ABI_VERSION 2

/* Every status: X(name without DW_, value). Guests get the enum from driftwood_guest.h; the host's
 * is in include/driftwood.h, and src/base/status.c checks that the two are the same. */
#define DW_ABI_STATUSES(X) \
    X(OK, 0)               \
    X(E_ARG, -1)           \
    X(E_RANGE, -2)         \
    X(E_ALIGN, -3)         \
    X(E_HANDLE, -4)        \
    X(E_TYPE, -5)          \
    X(E_SHAPE, -6)         \
    X(E_OVERLAP, -7)       \
    X(E_LIMIT, -8)         \
    X(E_MEMORY, -9)        \
    X(E_BUSY, -10)         \
    X(E_STATE, -11)        \
    X(E_UNSUPPORTED, -12)  \
    X(E_FORMAT, -13)       \
    X(E_NOT_FOUND, -14)    \
    X(E_IO, -15)           \
    X(E_DEVICE, -16)       \
    X(E_TRAP, -17)         \
    X(E_NUMERIC, -18)      \
    X(E_CANCELLED, -19)    \
    X(E_SPACE, -20)        \
    X(E_DENIED, -21)       \
    X(E_END, -22)

/* Tensor data, token lists and logits start at a multiple of this: every device can then use them
 * where they are. */
#define DW_MODEL_NAME_MAX 200 /* bytes of a name that a model is opened by */
#define DW_TENSOR_ALIGN 64
#define DW_MAX_DIMS 4

/* Element types. The numbers are GGUF's, so that weights can be used as they are in a file. */
typedef enum dw_type {
    DW_F32 = 0,
    DW_F16 = 1,
    DW_Q4_0 = 2,
    DW_Q4_1 = 3,
    DW_Q5_0 = 6,
    DW_Q5_1 = 7,
    DW_Q8_0 = 8,
    DW_Q2_K = 10,
    DW_Q3_K = 11,
    DW_Q4_K = 12,
    DW_Q5_K = 13,
    DW_Q6_K = 14,
    DW_I32 = 26,
    DW_BF16 = 30
} dw_type;

/* Operations of a tensor graph. Shapes are written [ne0, ne1, ne2, ne3], ne0 varying fastest.
 * a, b, c, d are the inputs in order; `p` is dw_op_params. Inputs and results are F32 where
 * not stated otherwise. docs/guest-abi-tensors.md has the rules in full. */
typedef enum dw_op {
    DW_OP_MATMUL = 1,    /* a [k, m, ..], b [k, n, ..] -> [m, n, ..]; a of any type but I32, its
                            outer sizes divide b's */
    DW_OP_ADD = 2,       /* a + b, b repeated over a where its sizes divide a's */
    DW_OP_SUB = 3,       /* a - b, likewise */
    DW_OP_MUL = 4,       /* a * b, elementwise, likewise */
    DW_OP_DIV = 5,       /* a / b, likewise */
    DW_OP_SCALE = 6,     /* a * p.f[0] + p.f[1] */
    DW_OP_SOFTMAX = 7,   /* over ne0 of a * p.f[0] (0 counts as 1) + b; b: mask, F32, optional */
    DW_OP_RMS_NORM = 8,  /* over ne0, epsilon p.f[0] */
    DW_OP_NORM = 9,      /* layer norm over ne0, epsilon p.f[0]; scale and shift with MUL, ADD */
    DW_OP_GELU = 10,     /* a times the normal distribution's mass below a (erf, not tanh) */
    DW_OP_SILU = 11,
    DW_OP_RELU = 12,
    DW_OP_TANH = 13,
    DW_OP_SIGMOID = 14,
    DW_OP_EXP = 15,
    DW_OP_SQRT = 16,
    DW_OP_SQR = 17,
    DW_OP_NEG = 18,
    DW_OP_SUM = 19,      /* all of a -> [1] */
    DW_OP_SUM_ROWS = 20, /* over ne0 -> [1, ne1, ..] */
    DW_OP_MEAN = 21,     /* over ne0 -> [1, ne1, ..] */
    DW_OP_ARGMAX = 22,   /* a [n, m] -> I32 [m]; any of equals */
    DW_OP_TRANSPOSE = 23, /* ne0 and ne1 exchanged; a view. Views take every type; the rows of
                             quantised tensors stay whole */
    DW_OP_PERMUTE = 24,  /* axis i of a becomes axis p.i[i]; a view */
    DW_OP_RESHAPE = 25,  /* to p.i[0..3], a must be contiguous; a view */
    DW_OP_VIEW = 26,     /* p.i[0..3] elements from a, starting at element offsets p.i[4..7] */
    DW_OP_CONT = 27,     /* a, made contiguous */
    DW_OP_CONVERT = 28,  /* a as type p.i[0]: F32, F16, BF16 to each other and to Q4_0 .. Q8_0;
                            F32 to I32 and back; quantised to F32 */
    DW_OP_GET_ROWS = 29, /* rows of a [n, r], any type but I32, named by b I32 [m] -> F32 [n, m];
                            b stands in memory (or is an ARGMAX, on the CPU): it is checked */
    DW_OP_ROPE = 30,     /* a [head_dim, heads, tokens], b I32 [tokens]: positions;
                            p.i[0] dims (even), p.i[1] mode (0 adjacent pairs, 2 halves),
                            p.f[0] base (0 counts as 10000), p.f[1] scale (0 counts as 1) */
    DW_OP_ATTENTION = 31, /* a: q [head_dim, q_tokens, heads], b: k [head_dim, kv_tokens, kv_heads],
                            c: v [head_dim, kv_tokens, kv_heads] -> [head_dim, heads, q_tokens];
                            k and v also F16 or BF16; kv_heads divides heads;
                            d: mask F32 [kv_tokens, q_tokens], optional, added to the scores;
                            p.f[0] scale (0 counts as 1/sqrt(head_dim)), p.i[0] 1: causal, the last
                            query being at the last key */
    DW_OP_CONCAT = 32,   /* a and b of one type, not quantised, along axis p.i[0] */
    DW_OP_REPEAT = 33    /* a, not quantised, repeated to p.i[0..3], multiples of its sizes */
} dw_op;

/* Parameters of an operation, all finite; those that it does not use must be 0. 64 bytes. */
typedef struct dw_op_params {
    int32_t i[8];
    float f[8];
} dw_op_params;

/* A tensor's shape as dw_tensor_shape gives it. 24 bytes. */
typedef struct dw_shape {
    int32_t type; /* dw_type */
    int32_t dims; /* 1 to 4: the number of sizes up to the last that is not 1 */
    uint32_t ne[DW_MAX_DIMS];
} dw_shape;

/* How a sampler chooses. Zero everywhere means greedy. The first 48 bytes are what every host
 * knows; `struct_bytes` says how many there are, so that fields can be added at the end: a guest
 * sets it to sizeof(dw_sampler_params), and 0 stands for 48. 96 bytes. */
typedef struct dw_sampler_params {
    float temperature;       /* 0: greedy, the others are then ignored */
    int32_t top_k;           /* 0: off */
    float top_p;             /* 0 or 1: off */
    float min_p;             /* 0: off */
    float repeat_penalty;    /* 0 or 1: off */
    float frequency_penalty; /* 0: off */
    float presence_penalty;  /* 0: off */
    int32_t penalty_tokens;  /* how far back the penalties look; 0: 64; at most 4096 */
    uint64_t seed;           /* the same seed and logits give the same tokens */
    uint32_t struct_bytes;   /* sizeof(dw_sampler_params) */
    uint32_t reserved;       /* 0 */

    float temperature_range;    /* 0: off, else temperature +- this, by entropy */
    float temperature_exponent; /* of that; 0: 1 */
    float typical_p;            /* 0 or 1: off */
    float top_n_sigma;          /* 0: off */
    float xtc_probability;      /* 0: off */
    float xtc_threshold;        /* 0: 0.1; over 0.5 XTC does nothing */
    float dry_multiplier;       /* 0: off */
    float dry_base;             /* 0: 1.75 */
    int32_t dry_allowed_length; /* 0: 2 */
    int32_t dry_tokens;         /* how far back DRY looks; 0: 4096, the most */
    float mirostat_tau;         /* 0: off, else mirostat 2 takes the place of the cuts */
    float mirostat_eta;         /* 0: 0.1 */
} dw_sampler_params;

/* One of a list: `bias` is added to the token's logit; minus infinity rules it out. 8 bytes. */
typedef struct dw_logit_bias {
    int32_t token;
    float bias;
} dw_logit_bias;

/* A pointer in a struct that both sides know: for the host a number. */
#ifdef __wasm32__
#define DW_GUEST_POINTER(type) type *
#else
#define DW_GUEST_POINTER(type) uint32_t
#endif

/* A text at which a generation stops, of 1 to 255 bytes. 8 bytes. */
typedef struct dw_stop_string {
    DW_GUEST_POINTER(const char) text;
    uint32_t bytes;
} dw_stop_string;

/* dw_generate_request flags */
/* Go on behind tokens at which generations end (dw_token_is_end), too. */
#define DW_GENERATE_PAST_END 1
/* Stop strings are looked for in the text with its special tokens (DW_DETOKENIZE_SPECIAL). */
#define DW_GENERATE_SPECIAL 2

/* Why a generation has ended: dw_generate_request.end. On failure it is the negative status. */
#define DW_GENERATE_GOES_ON 0
#define DW_GENERATE_END_TOKEN 1   /* the last token is one that generations end at */
#define DW_GENERATE_STOP_TOKEN 2  /* it is stop_tokens[stop_index] */
#define DW_GENERATE_STOP_STRING 3 /* with it the text has stop_strings[stop_index] */
#define DW_GENERATE_MAXIMUM 4     /* there are tokens_max */
#define DW_GENERATE_FULL 5        /* the context is full */
#define DW_GENERATE_LEFT 6        /* dw_generate_end, or the guest's call was over */

/* What the device is to generate by itself. `tokens`, and this struct for what is written to it,
 * stay where they are until the generation has ended; all else is read at the beginning.
 * 64 bytes, of which `struct_bytes` says how many there are. */
typedef struct dw_generate_request {
    uint32_t struct_bytes; /* sizeof(dw_generate_request) */
    uint32_t flags;        /* DW_GENERATE_... */
    DW_GUEST_POINTER(const int32_t) prompt; /* [prompt_count]: appended first */
    uint32_t prompt_count;                  /* at least 1 */
    DW_GUEST_POINTER(int32_t) tokens;       /* [tokens_max]: gets the tokens chosen */
    uint32_t tokens_max;                    /* at least 1 */
    uint32_t wake_tokens; /* dw_generate_wait waits for so many new ones; 0: for the end */
    DW_GUEST_POINTER(const int32_t) stop_tokens; /* [stop_token_count], at most 1024 */
    uint32_t stop_token_count;
    DW_GUEST_POINTER(const dw_stop_string) stop_strings; /* [stop_string_count], at most 64 */
    uint32_t stop_string_count;
    uint32_t reserved[2]; /* 0 */

    /* Written by the host. */
    uint32_t token_count; /* tokens chosen so far; a DW_GENERATE_END_TOKEN with `end` */
    int32_t end;          /* DW_GENERATE_... */
    int32_t stop_index;   /* of the stop token or string, else -1 */
} dw_generate_request;

/* dw_forward_step flags */
/* `rows` gets hidden states [row_count][embedding_length] in the place of logits. */
#define DW_FORWARD_HIDDEN 1
/* log_probability is wanted: the chosen token's, by the logits alone. */
#define DW_FORWARD_LOG_PROBABILITY 2

#define DW_FORWARD_STEPS_MAX 256 /* in one call */
#define DW_TOP_COUNT_MAX 128     /* likeliest tokens of a row */
#define DW_LORAS_MAX 64          /* adapters of a model, and of a context at once */
#define DW_LORA_NAME_MAX 200     /* bytes of their names */
#define DW_CONTEXT_ROWS_MAX 16   /* rows of logits that a context can keep */

/* How the tokens of a tree hang on one another, and what each sees. What is not there is NULL. 16
 * bytes. */
typedef struct dw_tree_shape {
    /* [token_count]: the earlier token that each hangs on, -1: the context's end. It sees its
     * forefathers, and stands one behind its parent. NULL: each hangs on the one before. */
    DW_GUEST_POINTER(const int32_t) parents;
    /* [token_count]: positions, in the place of those that follow from the parents. */
    DW_GUEST_POINTER(const int32_t) positions;
    /* [token_count][the context's length + token_count], in the place of what the parents say. 1:
     * the token sees that token of the context, or of the tree; 0: not. It sees itself, and none
     * behind it. */
    DW_GUEST_POINTER(const uint8_t) mask;
    uint32_t reserved; /* 0 */
} dw_tree_shape;

/* One context's step among several of dw_forward_many: its tokens, and what is wanted of them. That
 * is `rows`, or any of a token, its log probability, and the likeliest; or nothing. 64 bytes. */
typedef struct dw_forward_step {
    int32_t context;                  /* another one in each step of a call */
    uint32_t flags;                   /* DW_FORWARD_... */
    DW_GUEST_POINTER(const int32_t) tokens; /* [token_count]: appended and computed */
    uint32_t token_count;                   /* at least 1 */
    DW_GUEST_POINTER(float) rows;           /* [row_count][...], of the last tokens; NULL: none */
    uint32_t row_count;
    int32_t sampler;    /* chooses a token and records it; 0: none. Another one in each step */
    uint32_t top_count; /* the likeliest, at most DW_TOP_COUNT_MAX and the vocabulary; 0: none */
    DW_GUEST_POINTER(int32_t) top_tokens;          /* [top_count], the likeliest first */
    DW_GUEST_POINTER(float) top_log_probabilities; /* [top_count], or NULL */
    /* The tokens are a tree (dw_forward_tree), of which only `rows` may be wanted: it is computed,
     * and the context stays as it is. NULL: they are appended. */
    DW_GUEST_POINTER(const dw_tree_shape) tree;
    uint32_t reserved; /* 0 */

    /* Written by the host. */
    int32_t status;        /* the context's new length; negative: why it is as it was */
    int32_t token;         /* chosen; -1: none */
    float log_probability; /* 0 where it was not wanted */
    uint32_t unused;       /* 0 */
} dw_forward_step;

#define DW_TREE_TOKENS_MAX 256 /* in one tree */

/* A tree of tokens behind a context, for dw_forward_tree: many continuations in one step. What is
 * beside the tokens may be NULL. 64 bytes. */
typedef struct dw_forward_tree_step {
    int32_t context;
    uint32_t flags;                         /* 0 */
    DW_GUEST_POINTER(const int32_t) tokens; /* [token_count] */
    uint32_t token_count;                   /* 1 to DW_TREE_TOKENS_MAX */
    /* [token_count]: the earlier token that each hangs on, -1: the context's end. It sees its
     * forefathers, and stands one behind its parent. NULL: each hangs on the one before. */
    DW_GUEST_POINTER(const int32_t) parents;
    /* [token_count]: positions, in the place of those that follow from the parents. */
    DW_GUEST_POINTER(const int32_t) positions;
    /* [token_count][the context's length + token_count], in the place of what the parents say. 1:
     * the token sees that token of the context, or of the tree; 0: not. It sees itself, and none
     * behind it. */
    DW_GUEST_POINTER(const uint8_t) mask;
    DW_GUEST_POINTER(float) rows; /* [row_count][vocab_count], of the last tokens; NULL: none */
    uint32_t row_count;
    uint32_t reserved[7]; /* 0 */
} dw_forward_tree_step;

/* What a model is. 64 bytes. */
typedef struct dw_abi_model_info {
    uint32_t vocab_count;
    uint32_t context_length;
    uint32_t embedding_length;
    uint32_t layer_count;
    int32_t bos_token; /* -1: none, so for all of these */
    int32_t eos_token;
    int32_t eot_token;
    int32_t newline_token;
    uint32_t adds_bos; /* 1: dw_tokenize with DW_TOKENIZE_SPECIAL puts it in front */
    uint32_t has_chat_template;
    uint64_t parameter_count;
    uint64_t kv_bytes_per_token; /* 0: an encoder */
    uint32_t is_encoder;         /* 1: a model for dw_embed, without contexts */
    int32_t pooling;             /* what DW_POOLING_MODEL stands for */
} dw_abi_model_info;

/* How dw_embed makes one embedding of the hidden states of all tokens. */
#define DW_POOLING_MODEL (-1) /* as the model's file says; else the mean with an encoder, the last
                                 token's with others */
#define DW_POOLING_NONE 0     /* each token's, [count][embedding_length] */
#define DW_POOLING_MEAN 1
#define DW_POOLING_FIRST 2 /* the first token's: BERT's CLS */
#define DW_POOLING_LAST 3
/* dw_embed flags */
#define DW_EMBED_NORMALIZE 1 /* each embedding to a length of 1 */

/* dw_reply_to flags */
#define DW_REPLY_LAST 1 /* the answer is whole with this piece */

/* dw_actor_watch events, beside the end of the actor, which is always told */
#define DW_WATCH_ON_FAILURE 1 /* it breaks off in a message: traps, or runs into a limit */
#define DW_WATCH_ON_ASIDE 2   /* a message of its is set aside, after attempts that failed */

/* dw_message_kind */
#define DW_MESSAGE_PLAIN 0 /* of whoever dw_message_from says */
#define DW_MESSAGE_WATCH 1 /* the host's: what became of an actor that is watched */

/* dw_tokenize flags */
/* Add what the model wants in front (BOS), and behind where texts are whole: an encoder's SEP, the
 * EOS of a model for embeddings. Nothing goes behind a prompt, which the model is to continue. */
#define DW_TOKENIZE_SPECIAL 1
#define DW_TOKENIZE_PARSE 2   /* text such as <|im_start|> stands for its special token */
/* dw_detokenize flags */
#define DW_CHAT_PARTIAL 1 /* chat_parse: the answer's beginning alone */
#define DW_DETOKENIZE_SPECIAL 1 /* show special tokens as text */

#endif
