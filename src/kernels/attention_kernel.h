/* The inner part of attention on the CPU: some rows of queries that share one head of keys and
 * values, over a range of a KV log's records. Softmax online, block by block (Milakov and
 * Gimelshein, 2018; Dao and others, 2022), so that scores are never kept, and parts of
 * a range can be merged.
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
/* A row's records are summed in parts of so many, counted from record 0, and then merged. */
#define DW_ATTENTION_PART 256u
#define DW_ATTENTION_BLOCK 64u /* and in blocks within them */
#define DW_FEW_ROWS 8u         /* up to so many, records' numbers are read straight from the log */

/* Records of a head of keys and values. */
typedef struct dw_attention_range {
    const unsigned char *keys;   /* of record 0; record t's stand t * stride behind */
    const unsigned char *values; /* the same */
    uint32_t from;               /* [from, to) */
    uint32_t to;
} dw_attention_range;

typedef struct dw_attention_tile {
    dw_attention_range records; /* what is looked at; from a multiple of DW_ATTENTION_BLOCK on */
    /* What this thread is likely to look at next, in the same stride: its first block is brought
     * near meanwhile. `keys` NULL: it is not known. */
    dw_attention_range next;
    size_t stride;
    dw_kv_type type;
    uint32_t head_dim;
    uint32_t row_count;    /* 1 to DW_TILE_ROWS_MAX */
    const float *queries;  /* [rows][head_dim], times the scale */
    const uint32_t *first; /* [rows]: of the records, a row sees [first, end) */
    const uint32_t *end;
    /* Of a tree: in the place of record t from path_from on stands record path[t - path_from].
     * NULL: none does. */
    const uint32_t *path;
    uint32_t path_from;
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
    /* A row's bits are the same whichever rows are with it, and whether its parts are attended to
     * one by one and merged in their order, or all at once. */
    void (*attend)(const dw_attention_tile *tile);
    /* What a later part of the same rows gave, into what those before it did: of both only
     * row_count, head_dim, maxima, sums, output are looked at. */
    void (*merge)(const dw_attention_tile *into, const dw_attention_tile *part);
} dw_attention_kernel;

/* NULL past the end; the best first, the plain one last. */
const dw_attention_kernel *dw_attention_kernel_at(size_t index);
/* The best for this machine; never NULL for multiples of 8. */
const dw_attention_kernel *dw_attention_kernel_for(uint32_t head_dim);

/* For tests and benchmarks: none of the first `count`. Thread: while no graph is there. */
void dw_attention_kernels_pass_over(size_t count);

size_t dw_attention_scratch_floats(uint32_t head_dim);

#endif
