/* What the nodes of cuda_ops.c and their kernels know of each other. Private to src/model. */
#ifndef DW_KERNELS_CUDA_LAUNCH_H
#define DW_KERNELS_CUDA_LAUNCH_H

#include "model/attention.h"
#include "model/cuda_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DW__CUDA_GROUP_MAX 4u /* heads of queries that a block takes for one of keys and values */
#define DW__CUDA_BLOCKS 264u  /* wanted, for devices of some 100 multiprocessors: two each */
#define DW__CUDA_PARTS_MIN 4u
#define DW__CUDA_PARTS_MAX 64u
/* What a part leaves of its records, for each of a block's heads: [2] facts, [head_dim] values. */
#define DW__CUDA_PART_FLOATS(head_dim) ((size_t)DW__CUDA_GROUP_MAX * (2u + (head_dim)))
#define DW__CUDA_PIECE 4096    /* logits that a block sorts */
#define DW__CUDA_PIECE_FACTS 2 /* beside the best: largest and NaNs, then the sum */

typedef struct dw__cuda_attention_params {
    uint32_t part_bytes; /* a layer's keys, or its values, in a record */
    uint32_t window;
    float scale;
    float cap;
    uint16_t layer;
    uint16_t layer_count;
    uint16_t head_dim;
    uint16_t head_count;
    uint16_t kv_head_count;
    uint16_t part_count_max;
    uint16_t rope_dims;  /* 0: queries and keys are not rotated here */
    uint8_t rope_halves; /* pairs are half of these apart, else neighbours */
    uint8_t kv_type;
    uint8_t append;
} dw__cuda_attention_params;

typedef struct dw__cuda_rope_params {
    float base;
    float scale;
    float share; /* YaRN's, as all that follows */
    float magnitude;
    float low;
    float high;
    uint32_t dims;
} dw__cuda_rope_params;

void dw__cuda_launch_table(const struct ggml_tensor *node, void *stream);
void dw__cuda_launch_rope(const struct ggml_tensor *node, void *stream);
void dw__cuda_launch_append(const struct ggml_tensor *node, void *stream);
void dw__cuda_launch_attend(const struct ggml_tensor *node, void *stream);
void dw__cuda_launch_mask(const struct ggml_tensor *node, void *stream);
void dw__cuda_launch_place_rows(const struct ggml_tensor *node, void *stream);
void dw__cuda_launch_pieces(const struct ggml_tensor *node, void *stream);
void dw__cuda_launch_candidates(const struct ggml_tensor *node, void *stream);

#ifdef __cplusplus
}
#endif
#endif
