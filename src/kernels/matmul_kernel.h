/* The inner part of products of matrices on the CPU: some rows of weights, side by side
 * in a vector, times many columns. ggml's kernel unpacks a row's numbers again for every column;
 * this one unpacks a panel of rows once, transposed, so that what belongs to a row lies in the same
 * lane of each vector, and sums need no shuffles.
 *
 * Types with blocks of 32: each number that comes out is the same, bit by bit, as from ggml's AVX2
 * vec_dot of the type. The eight partial sums that it has in the lanes of a vector are eight
 * vectors here, added to in the same order and in the end summed in the same order. Low-bit models
 * are sensitive to that. Types with blocks of 256 (Q4_K, Q5_K, Q6_K): a block's products are summed
 * as whole numbers, exactly, and then the blocks as floats; vec_dot rounds more often, and ggml's
 * own products of matrices with those types are not summed as in vec_dot either. Floats (F32, F16,
 * BF16; the other factor is rounded as ggml does): a sum for each lane of a vector.
 *
 * One source, matmul_kernel.inc.h, is compiled once for each instruction set. Thread: any. */
#ifndef DW_KERNELS_MATMUL_KERNEL_H
#define DW_KERNELS_MATMUL_KERNEL_H

#include <ggml.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DW_PANEL_ROWS_MAX 16u
#define DW_TILE_COLUMNS_MAX 64u
#define DW_SEGMENT 512u /* elements of a column that are made at once; of the last maybe fewer */

/* What a column, an input row of the product, is quantised to: the type that ggml wants with the
 * weights, laid out anew. First all of its bytes, then behind each other, from `scales` on:
 *   F32, F16, BF16: floats that are that, or BF16 itself, as the kernel has it; then zeros
 *   Q8_0: float scale [blocks], int32 -128 * sum of each four bytes [length / 4]
 *   Q8_1: float scale [blocks], float scale * sum of the block [blocks]
 *   Q8_K: float scale [blocks], int16 sums of 16 bytes [length / 16], int16 of 32 [length / 32] */
typedef struct dw_column_layout {
    enum ggml_type type;
    uint32_t length; /* elements */
    uint32_t per_block;
    size_t scales; /* byte offsets, multiples of 64 */
    size_t sums;
    size_t pair_sums; /* Q8_K: those of 32 */
    size_t bytes;
} dw_column_layout;

/* A panel of rows times some columns. */
typedef struct dw_matmul_tile {
    enum ggml_type type;
    const unsigned char *weights; /* kernel->rows rows, row_stride bytes apart */
    size_t row_stride;
    const dw_column_layout *layout;
    const unsigned char *columns; /* layout->bytes apart */
    uint32_t column_count;        /* 1 to DW_TILE_COLUMNS_MAX */
    float *out;                   /* [columns][kernel->rows] */
    unsigned char *scratch;       /* [DW_MATMUL_SCRATCH_BYTES], 64-byte aligned */
} dw_matmul_tile;

typedef struct dw_matmul_kernel {
    const char *name;
    uint32_t rows;           /* of a panel */
    bool (*runs_here)(void); /* the machine has the instructions */
    /* Lay out `blocks`, ggml's, which start at element `from` of a column. */
    void (*lay_out)(const dw_column_layout *layout, const void *blocks, uint32_t from,
                    uint32_t count, unsigned char *column);
    void (*multiply)(const dw_matmul_tile *tile);
} dw_matmul_kernel;

/* A panel's part of 1,024 elements unpacked, and the sums of 64 columns. */
#define DW_MATMUL_SCRATCH_BYTES ((size_t)(4 * 92 + 9 * DW_TILE_COLUMNS_MAX) * 64)

/* NULL past the end; the best first. */
const dw_matmul_kernel *dw_matmul_kernel_at(size_t index);
/* The best for this machine; NULL: it has none. */
const dw_matmul_kernel *dw_matmul_kernel_best(void);

/* For tests and benchmarks: none of the first `count`. Thread: while no graph is there. */
void dw_matmul_kernels_pass_over(size_t count);

/* Whether kernels multiply with weights of `type`, in rows of `length`; if so, how columns are laid
 * out. */
bool dw_column_layout_for(enum ggml_type type, int64_t length, dw_column_layout *layout);

#endif
