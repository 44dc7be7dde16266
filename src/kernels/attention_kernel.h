/* The inner part of attention on the CPU: some rows of queries that share one head of keys and
 * values, over a range of a KV log's records. Softmax online, block by block (Milakov and
 * Gimelshein, 2018; Dao and others, 2022), so that scores are never kept, and a range can be cut
 * and its parts merged.
 *
 * One source, attention_kernel.inc.h, is compiled once for each instruction set; the best that the
 * machine has is chosen when it starts. Thread: any. */
#ifndef DW_KERNELS_ATTENTION_KERNEL_H
#define DW_KERNELS_ATTENTION_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driftwood.h"

#define DW_TILE_ROWS_MAX 96u /* a multiple of every vector's length */

typedef struct dw_attention_tile {
    const unsigned char *keys;   /* of record 0; record t's stand t * stride behind */
    const unsigned char *values; /* the same */
    size_t stride;
    dw_kv_type type;
    uint32_t head_dim;
    uint32_t row_count;   /* 1 to DW_TILE_ROWS_MAX */
    const float *queries; /* [rows][head_dim], times the scale */
    uint32_t from;        /* the records that are looked at: [from, to) */
    uint32_t to;
    const uint32_t *first; /* [rows]: of those, a row sees [first, end) */
    const uint32_t *end;
    float cap;      /* scores are capped: cap * tanh(score / cap); 0: not */
    float *maxima;  /* out, [rows]: the largest score; -infinity where none is seen */
    float *sums;    /* out, [rows]: of exp(score - maximum) */
    float *output;  /* out, [rows][head_dim]: sums of exp(score - maximum) * value */
    float *scratch; /* [dw_attention_scratch_floats(head_dim)], 64-byte aligned */
} dw_attention_tile;

typedef struct dw_attention_kernel {
    const char *name;
    uint32_t head_dim_step;  /* it takes multiples of this */
    bool (*runs_here)(void); /* the machine has the instructions */
    void (*attend)(const dw_attention_tile *tile);
} dw_attention_kernel;

/* NULL past the end; the best first, the plain one last. */
const dw_attention_kernel *dw_attention_kernel_at(size_t index);
/* The best for this machine; never NULL for multiples of 8. */
const dw_attention_kernel *dw_attention_kernel_for(uint32_t head_dim);

size_t dw_attention_scratch_floats(uint32_t head_dim);

#endif
