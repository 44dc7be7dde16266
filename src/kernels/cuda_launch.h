/* The CUDA kernels, and what each is launched with. src/model/cuda_ops.c makes graph nodes of them.
 * Thread: the one that computes the graph. */
#ifndef DW_KERNELS_CUDA_LAUNCH_H
#define DW_KERNELS_CUDA_LAUNCH_H

#include "device/cuda_node.h"
#include "kernels/top_k.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Heads of queries that a block takes for one of keys and values, of attention of single tokens: at
 * most; and where it is not by tensor cores. */
#define DW_CUDA_BLOCK_HEADS_MAX 8u
#define DW_CUDA_PLAIN_HEADS_MAX 4u
#define DW_CUDA_HEAD_DIM_MAX 256u /* of attention: a warp holds a row */
#define DW_CUDA_BLOCKS 264u       /* wanted, for devices of some 100 multiprocessors: two each */
#define DW_CUDA_PARTS_MIN 4u
#define DW_CUDA_PARTS_MAX 64u
#define DW_CUDA_PARTS_CLUSTER 8u /* of so many the sums meet in shared memory */
/* What a part leaves of its records: maximum and sum of each of a block's heads, with room for the
 * most, then values [heads][head_dim]. */
#define DW_CUDA_PART_FLOATS(heads, head_dim)                                                       \
    ((size_t)DW_CUDA_BLOCK_HEADS_MAX * 2u + ((size_t)(heads) * (head_dim) + 3u) / 4u * 4u)
#define DW_CUDA_PIECE 4096      /* logits that a block sorts */
#define DW_CUDA_PIECE_SUMMARY 2 /* beside the best: largest and NaNs, then the sum */

/* A token of a step, in page-locked memory that the device reads. Addresses are the device's. */
typedef struct dw_cuda_token {
    uint64_t records;  /* its log's first record; 0: padding, nothing is read or written for it */
    uint64_t token;    /* where its number stands, int32 */
    uint64_t logits;   /* where its logits go, float [vocab]; 0: nowhere */
    uint32_t position; /* records of its sequence before it */
    /* Not of this token: the i-th tile of a step is what row i says, DW_CUDA_TILE; 0: none. */
    uint32_t tile;
} dw_cuda_token;

/* Tokens of one sequence that attend together, `first` in the table and those behind it. */
#define DW_CUDA_TILE(first, count) ((uint32_t)(count) << 16 | (uint32_t)(first))
#define DW_CUDA_TILE_QUERIES 64u /* rows of queries in one, of all heads that share keys */
#define DW_CUDA_TILE_PARTS_MAX 8u
/* What a part of a log leaves for a tile and a head of keys: of each row maximum and sum, and its
 * values. */
#define DW_CUDA_TILE_FLOATS(head_dim) ((size_t)DW_CUDA_TILE_QUERIES * (2u + (head_dim)))
/* Bytes of the counters of those that are done. */
#define DW_CUDA_TILE_COUNTERS(tiles, kv_heads)                                                     \
    (((uint32_t)(tiles) * (uint32_t)(kv_heads)*4u + 255u) / 256u * 256u)

/* Bytes of a token in what the table's node makes: the row, its log, token and position apart.
 * Behind all stand two numbers of 8 bytes: when that began, and how many records the longest log
 * has. */
#define DW_CUDA_TABLE_ROW 48u
#define DW_CUDA_TABLE_BEGAN 0u
#define DW_CUDA_TABLE_LONGEST 1u
#define DW_CUDA_TABLE_BEHIND 2u

/* Where they are. */
static inline const unsigned long long *dw_cuda_table_behind(const struct ggml_tensor *table)
{
    return (const unsigned long long *)table->data + (table->ne[0] - DW_CUDA_TABLE_BEHIND);
}

typedef struct dw_cuda_attention_params {
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
    uint8_t block_heads;     /* of queries, that a block takes; none of tiles */
    uint16_t tile_count;     /* of tiles, as the next */
    uint32_t scratch_offset; /* where theirs begins */
} dw_cuda_attention_params;

/* Whether attention of single tokens is by tensor cores. */
static inline bool dw_cuda_attends_by_tensor_cores(uint8_t kv_type, uint32_t head_dim)
{
    return kv_type == DW_KV_F16 ? head_dim % 8 == 0 : kv_type == DW_KV_Q8_0;
}

typedef struct dw_cuda_rope_params {
    float base;
    float scale;
    float ext_factor; /* YaRN's, as all that follows */
    float attn_factor;
    float low;
    float high;
    uint32_t dims;
} dw_cuda_rope_params;

/* ---- products of a few rows (cuda_products_cuda.cu) ---- */

/* Rows of x, at most: up to so many as float, a row's result being the same bits whatever is beside
 * it; with quantised weights up to so many more, where each value is rounded as ggml's products
 * round it. With more still cuBLAS's are faster (cuda_wide.h). */
#define DW_CUDA_PRODUCT_ROWS 16u
#define DW_CUDA_PRODUCT_ROWS_MANY 32u
#define DW_CUDA_PRODUCT_TABLES 3u /* matrices that share x, at most */
#define DW_CUDA_TILE_ROWS 16u     /* a matrix has a multiple of so many */

typedef enum dw_cuda_activation { DW_CUDA_LINEAR, DW_CUDA_SILU, DW_CUDA_GELU } dw_cuda_activation;

/* Sources: x [columns, n] F32; what its rows are normed with; matrices; biases; what is added: at
 * these places, NULL where there is none. The result: [rows of all matrices, n], or with an
 * activation, of two matrices, what the first gives, activated, times what the second does. */
enum {
    DW_CUDA_PRODUCT_X,
    DW_CUDA_PRODUCT_NORM,
    DW_CUDA_PRODUCT_WEIGHT,
    DW_CUDA_PRODUCT_BIAS = DW_CUDA_PRODUCT_WEIGHT + DW_CUDA_PRODUCT_TABLES,
    DW_CUDA_PRODUCT_ADDED = DW_CUDA_PRODUCT_BIAS + DW_CUDA_PRODUCT_TABLES,
    DW_CUDA_PRODUCT_SOURCES
};

typedef struct dw_cuda_product_params {
    float epsilon;                          /* of the norm */
    uint32_t tiles[DW_CUDA_PRODUCT_TABLES]; /* of DW_CUDA_TILE_ROWS rows of each matrix */
    uint8_t type;                           /* ggml's, of all matrices */
    uint8_t activation;                     /* dw_cuda_activation */
} dw_cuda_product_params;

/* Rows of x that products with such matrices may have on every CUDA device here; 0: none. */
uint32_t dw_cuda_product_rows(int type, uint32_t columns);
/* Bytes of such a matrix as the kernel reads it; 0: it reads it as it is. */
size_t dw_cuda_repacked_bytes(int type, uint32_t columns, uint32_t rows);
/* Whether kernels are launched so that they begin before those in front have ended. */
bool dw_cuda_dependent_launch(void);
/* Whether blocks may be clusters. */
bool dw_cuda_cluster_launch(void);
/* Test hook: as on devices that can less; NULL: what those here can. */
typedef struct dw_cuda_product_limits {
    size_t shared;        /* bytes of shared memory a block; 0: all there is */
    bool plain;           /* no kernel begins before those in front have ended */
    bool no_clusters;     /* older than Hopper */
    uint32_t shares_from; /* rows of x from which on blocks share its columns; 0: as is best */
} dw_cuda_product_limits;
void dw_cuda_products_force(const dw_cuda_product_limits *limits);
void dw_cuda_launch_product(const struct ggml_tensor *node, void *stream);
/* The source, a matrix of dw_cuda_repacked_bytes or several one behind another, repacked into the
 * result. */
void dw_cuda_launch_repack(const struct ggml_tensor *node, void *stream);

void dw_cuda_launch_table(const struct ggml_tensor *node, void *stream);
void dw_cuda_launch_rope(const struct ggml_tensor *node, void *stream);
void dw_cuda_launch_append(const struct ggml_tensor *node, void *stream);
void dw_cuda_launch_attend(const struct ggml_tensor *node, void *stream);
void dw_cuda_launch_tiles(const struct ggml_tensor *node, void *stream);
void dw_cuda_launch_mask(const struct ggml_tensor *node, void *stream);
void dw_cuda_launch_place_rows(const struct ggml_tensor *node, void *stream);
void dw_cuda_launch_pieces(const struct ggml_tensor *node, void *stream);
void dw_cuda_launch_top_k(const struct ggml_tensor *node, void *stream);

#ifdef __cplusplus
}
#endif
#endif
