/* NEON with dot products and products of matrices of bytes (i8mm): panels of 8 rows.
 *
 * An instruction multiplies two rows with two columns, eight elements of each: weights are woven,
 * eight of a row and eight of the next, when they are unpacked, columns as they are read, for all
 * eight rows. What it makes, row 0 times columns 0 and 1, row 1 times columns 0 and 1, stays so
 * until the end. One column, and floats, go as with dot products alone, four rows at a time. */
#include "kernels/matmul_kernel.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8)
#include <arm_neon.h>

#include "base/os.h"

#define DOT(sum, w, x, lane) vdotq_laneq_s32(sum, w, x, lane)

static bool runs_here(void)
{
    return dw_os_has_dot_products() && dw_os_has_byte_matrices();
}

#define KERNEL dw_matmul_i8mm
#define KERNEL_NAME "i8mm"
#define OUT_ROWS 8u
#define KERNEL_MULTIPLY multiply_eight
static void multiply_eight(const dw_matmul_tile *tile);
#include "kernels/matmul_neon.inc.h"

#define PAIRS 4  /* of rows */
#define EIGHTS 4 /* of elements, in 32 */

/* 32 elements of eight rows; scales and minima twice, for a pair's two columns */
typedef struct woven_block {
    VU w[PAIRS][EIGHTS];
    VF scale[PAIRS];
    VF min[PAIRS];
} woven_block;

/* 256 elements of eight rows */
typedef struct woven_super {
    VU w[8][PAIRS][EIGHTS];
    VU scale[16][PAIRS];
    VU pair[2][8]; /* of rows 0 to 3, 4 to 7, not woven */
    VF d[PAIRS];
    VF d_min[PAIRS];
} woven_super;

#define WOVEN_BYTES (CHUNK / 256 * sizeof(woven_super))
#define COLUMN_PAIRS_MAX 2
#define SUMS_BYTES (DW_TILE_COLUMNS_MAX * OUT_ROWS * sizeof(float))
_Static_assert(CHUNK / 32 * sizeof(woven_block) <= WOVEN_BYTES, "the larger");
_Static_assert(WOVEN_BYTES + PANEL_BYTES + SUMS_BYTES <= DW_MATMUL_SCRATCH_BYTES, "scratch");

/* ---- weaving ---- */

/* Of four rows, `half` of the eight. */
INLINE void weave(const VU from[8], int half, VU to[PAIRS][EIGHTS])
{
#pragma GCC unroll 4
    for (int k = 0; k < EIGHTS; k++) {
        to[2 * half][k] = V_ZIP4(from[2 * k], from[2 * k + 1]);
        to[2 * half + 1][k] = V_ZIP4_HIGH(from[2 * k], from[2 * k + 1]);
    }
}

INLINE void weave_numbers(VU from, int half, VU to[PAIRS])
{
    to[2 * half] = V_ZIP4(from, from);
    to[2 * half + 1] = V_ZIP4_HIGH(from, from);
}

INLINE void weave_floats(VF from, int half, VF to[PAIRS])
{
    VU woven[PAIRS];
    weave_numbers((VU)from, half, woven);
    to[2 * half] = (VF)woven[2 * half];
    to[2 * half + 1] = (VF)woven[2 * half + 1];
}

INLINE void weave_small(const enum ggml_type type, const small_block *from, uint32_t count,
                        int half, woven_block *to)
{
    for (uint32_t i = 0; i < count; i++) {
        weave(from[i].w, half, to[i].w);
        weave_floats(from[i].scale, half, to[i].scale);
        if (has_minima(type)) {
            weave_floats(from[i].min, half, to[i].min);
        }
    }
}

INLINE void weave_super(const enum ggml_type type, const super_block *from, uint32_t count,
                        int half, woven_super *to)
{
    const bool six = type == GGML_TYPE_Q6_K;
    for (uint32_t i = 0; i < count; i++) {
        for (int group = 0; group < 8; group++) {
            weave(from[i].w[group], half, to[i].w[group]);
        }
        for (int k = 0; k < (six ? 16 : 8); k++) {
            weave_numbers(from[i].scale[k], half, to[i].scale[k]);
        }
        memcpy(to[i].pair[half], from[i].pair, (six ? 8 : 4) * sizeof(VU));
        weave_floats(from[i].d, half, to[i].d);
        if (!six) {
            weave_floats(from[i].d_min, half, to[i].d_min);
        }
    }
}

/* Blocks [from, from + count) of eight rows; `panel` is work memory for four. */
INLINE void unpack_woven(const enum ggml_type type, const dw_matmul_tile *tile, uint32_t from,
                         uint32_t count, void *panel, void *woven)
{
#pragma GCC unroll 1
    for (int half = 0; half < 2; half++) {
        dw_matmul_tile four = *tile;
        four.weights += (size_t)half * W * tile->row_stride;
        unpack(type, &four, from, count, panel);
        if (is_super(type)) {
            weave_super(type, panel, count, half, woven);
        } else {
            weave_small(type, panel, count, half, woven);
        }
    }
}

/* ---- multiplying ---- */

/* Two numbers, of two columns, as woven ones lie. */
INLINE VU two_columns(const unsigned char *a, const unsigned char *b)
{
    return V_ZIP4((VU)spread(a), (VU)spread(b));
}

/* Two columns' products with all pairs of rows: some of one part of a row. */
typedef VI pair_sums[COLUMN_PAIRS_MAX][PAIRS];

/* `eights`, 2 or 4, from each pair of rows, EIGHTS vectors apart, and from each column. */
INLINE void add_eights(const int column_pairs, const int eights, const VU *w,
                       const unsigned char *const x[2 * COLUMN_PAIRS_MAX], size_t at,
                       pair_sums sums)
{
#pragma GCC unroll 2
    for (int k = 0; k < eights; k += 2) {
#pragma GCC unroll 2
        for (int c = 0; c < column_pairs; c++) {
            const VU a = (VU)vld1q_u8(x[2 * c] + at + (size_t)k * 8);
            const VU b = (VU)vld1q_u8(x[2 * c + 1] + at + (size_t)k * 8);
            const int8x16_t low = (int8x16_t)V_ZIP8(a, b);
            const int8x16_t high = (int8x16_t)V_ZIP8_HIGH(a, b);
#pragma GCC unroll 4
            for (int p = 0; p < PAIRS; p++) {
                int32x4_t sum = (int32x4_t)sums[c][p];
                sum = vmmlaq_s32(sum, (int8x16_t)w[p * EIGHTS + k], low);
                sums[c][p] = (VI)vmmlaq_s32(sum, (int8x16_t)w[p * EIGHTS + k + 1], high);
            }
        }
    }
}

typedef VF pair_floats[COLUMN_PAIRS_MAX][PAIRS];

INLINE void add_woven_blocks(const enum ggml_type type, const int column_pairs, const part *of,
                             const unsigned char *const x[2 * COLUMN_PAIRS_MAX], pair_floats sums)
{
    const dw_column_layout *layout = of->tile->layout;
    const woven_block *woven = of->panel;
    for (uint32_t i = of->from; i < of->from + of->count; i++, woven++) {
        const size_t scale_at = layout->scales + (size_t)i * 4;
        const size_t sum_at = layout->sums + (size_t)i * 4;
        pair_sums dots;
#pragma GCC unroll 2
        for (int c = 0; c < column_pairs; c++) {
            const VI a = first_of_sum(type, x[2 * c] + sum_at);
            const VI b = first_of_sum(type, x[2 * c + 1] + sum_at);
#pragma GCC unroll 4
            for (int p = 0; p < PAIRS; p++) {
                dots[c][p] = (VI)V_ZIP4(a, b);
            }
        }
        add_eights(column_pairs, EIGHTS, woven->w[0], x, (size_t)i * 32, dots);
#pragma GCC unroll 2
        for (int c = 0; c < column_pairs; c++) {
            const VF scale = (VF)two_columns(x[2 * c] + scale_at, x[2 * c + 1] + scale_at);
#pragma GCC unroll 4
            for (int p = 0; p < PAIRS; p++) {
                const VF dot = __builtin_convertvector(dots[c][p], VF);
                sums[c][p] = V_FMA(woven->scale[p] * scale, dot, sums[c][p]);
            }
            if (has_minima(type)) {
                const VF sum = (VF)two_columns(x[2 * c] + sum_at, x[2 * c + 1] + sum_at);
#pragma GCC unroll 4
                for (int p = 0; p < PAIRS; p++) {
                    sums[c][p] = V_FMA(woven->min[p], sum, sums[c][p]);
                }
            }
        }
    }
}

/* What goes with the columns' sums. */
INLINE void add_minima(const int pairs, const woven_super *woven, const unsigned char *a,
                       const unsigned char *b, VI to[PAIRS])
{
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        const VI of_a = dot_pairs(V_ZERO(), woven->pair[half], a, pairs);
        const VI of_b = dot_pairs(V_ZERO(), woven->pair[half], b, pairs);
        to[2 * half] = (VI)V_ZIP4(of_a, of_b);
        to[2 * half + 1] = (VI)V_ZIP4_HIGH(of_a, of_b);
    }
}

/* The sum over a block's groups of scale * products. */
INLINE void add_woven_groups(const enum ggml_type type, const int column_pairs,
                             const woven_super *woven,
                             const unsigned char *const x[2 * COLUMN_PAIRS_MAX], size_t at,
                             pair_sums whole)
{
    const int eights = type == GGML_TYPE_Q6_K ? 2 : 4; /* those of a scale */
    for (int group = 0; group < 8; group++) {
#pragma GCC unroll 2
        for (int k = 0; k < EIGHTS; k += eights) {
            pair_sums raw = {{{0}}};
            add_eights(column_pairs, eights, woven->w[group][0] + k, x,
                       at + (size_t)group * 32 + (size_t)k * 8, raw);
            const VU *scale = woven->scale[(group * EIGHTS + k) / eights];
#pragma GCC unroll 2
            for (int c = 0; c < column_pairs; c++) {
#pragma GCC unroll 4
                for (int p = 0; p < PAIRS; p++) {
                    whole[c][p] = V_ADD_SCALED(whole[c][p], raw[c][p], scale[p]);
                }
            }
        }
    }
}

INLINE void add_woven_super(const enum ggml_type type, const int column_pairs, const part *of,
                            const unsigned char *const x[2 * COLUMN_PAIRS_MAX], pair_floats sums)
{
    const dw_column_layout *layout = of->tile->layout;
    const bool six = type == GGML_TYPE_Q6_K;
    const int pairs = six ? 8 : 4;
    const woven_super *woven = of->panel;
    for (uint32_t i = of->from; i < of->from + of->count; i++, woven++) {
        const size_t scale_at = layout->scales + (size_t)i * 4;
        const size_t pair_at =
            (six ? layout->sums : layout->pair_sums) + (size_t)i * (unsigned)pairs * 4;
        pair_sums whole = {{{0}}};
        pair_sums minima;
        for (int c = 0; c < column_pairs; c++) {
            add_minima(pairs, woven, x[2 * c] + pair_at, x[2 * c + 1] + pair_at,
                       six ? whole[c] : minima[c]);
        }
        add_woven_groups(type, column_pairs, woven, x, (size_t)i * 256, whole);
        for (int c = 0; c < column_pairs; c++) {
            const VF scale = (VF)two_columns(x[2 * c] + scale_at, x[2 * c + 1] + scale_at);
            for (int p = 0; p < PAIRS; p++) {
                VF all = woven->d[p] * __builtin_convertvector(whole[c][p], VF);
                if (!six) {
                    all = V_FMA(-woven->d_min[p], __builtin_convertvector(minima[c][p], VF), all);
                }
                sums[c][p] = V_FMA(all, scale, sums[c][p]);
            }
        }
    }
}

/* ---- a tile ---- */

INLINE void store_columns(const dw_matmul_tile *tile, uint32_t first, const VF sums[PAIRS])
{
    float *out = tile->out + (size_t)first * OUT_ROWS;
    for (int half = 0; half < 2; half++) {
        const float32x4_t a = (float32x4_t)sums[2 * half];
        const float32x4_t b = (float32x4_t)sums[2 * half + 1];
        vst1q_f32(out + (size_t)half * W, vuzp1q_f32(a, b));
        if (first + 1 < tile->column_count) {
            vst1q_f32(out + OUT_ROWS + (size_t)half * W, vuzp2q_f32(a, b));
        }
    }
}

/* A part times 2 * column_pairs columns from `first` on; where the last is missing, the one before
 * it stands in. */
INLINE void add_woven_part(const enum ggml_type type, const int column_pairs, const part *of,
                           uint32_t first)
{
    const dw_matmul_tile *tile = of->tile;
    const uint32_t all = tile->layout->length / tile->layout->per_block;
    const unsigned char *x[2 * COLUMN_PAIRS_MAX];
    VF *state = of->states + (size_t)first * OUT_ROWS / W;
    pair_floats sums;
    for (int c = 0; c < 2 * column_pairs; c++) {
        const uint32_t column = first + (uint32_t)c;
        x[c] = tile->columns + (column < tile->column_count ? column : tile->column_count - 1) *
                                   tile->layout->bytes;
    }
    for (int i = 0; i < column_pairs * PAIRS; i++) {
        sums[i / PAIRS][i % PAIRS] = of->from > 0 ? state[i] : (VF){0};
    }
    if (is_super(type)) {
        add_woven_super(type, column_pairs, of, x, sums);
    } else {
        add_woven_blocks(type, column_pairs, of, x, sums);
    }
    for (int c = 0; c < column_pairs; c++) {
        for (int p = 0; p < PAIRS && of->from + of->count < all; p++) {
            state[c * PAIRS + p] = sums[c][p];
        }
        if (of->from + of->count == all) {
            store_columns(tile, first + 2 * (uint32_t)c, sums[c]);
        }
    }
}

INLINE void multiply_woven(const enum ggml_type type, const dw_matmul_tile *tile)
{
    void *woven = tile->scratch;
    void *panel = tile->scratch + WOVEN_BYTES;
    const uint32_t all = tile->layout->length / tile->layout->per_block;
    const uint32_t step = CHUNK / (is_super(type) ? 256u : 32u);
    for (uint32_t from = 0; from < all; from += step) {
        const uint32_t count = all - from < step ? all - from : step;
        unpack_woven(type, tile, from, count, panel, woven);
        part one = {.tile = tile, .panel = woven, .from = from, .count = count};
        one.states = (VF *)(void *)(tile->scratch + WOVEN_BYTES + PANEL_BYTES);
        uint32_t c = 0;
        for (; c + 2 < tile->column_count; c += 2 * COLUMN_PAIRS_MAX) {
            add_woven_part(type, COLUMN_PAIRS_MAX, &one, c);
        }
        if (c < tile->column_count) {
            add_woven_part(type, 1, &one, c);
        }
    }
}

#define WOVEN_TYPE(name, type)                                                                     \
    static __attribute__((noinline)) void name(const dw_matmul_tile *tile)                         \
    {                                                                                              \
        multiply_woven(type, tile);                                                                \
    }
WOVEN_TYPE(woven_q4_0, GGML_TYPE_Q4_0)
WOVEN_TYPE(woven_q4_1, GGML_TYPE_Q4_1)
WOVEN_TYPE(woven_q5_0, GGML_TYPE_Q5_0)
WOVEN_TYPE(woven_q5_1, GGML_TYPE_Q5_1)
WOVEN_TYPE(woven_q8_0, GGML_TYPE_Q8_0)
WOVEN_TYPE(woven_iq4_nl, GGML_TYPE_IQ4_NL)
WOVEN_TYPE(woven_q4_k, GGML_TYPE_Q4_K)
WOVEN_TYPE(woven_q5_k, GGML_TYPE_Q5_K)
WOVEN_TYPE(woven_q6_k, GGML_TYPE_Q6_K)

static void multiply_eight(const dw_matmul_tile *tile)
{
    static void (*const by_type[GGML_TYPE_COUNT])(const dw_matmul_tile *) = {
        [GGML_TYPE_Q4_0] = woven_q4_0, [GGML_TYPE_Q4_1] = woven_q4_1,
        [GGML_TYPE_Q5_0] = woven_q5_0, [GGML_TYPE_Q5_1] = woven_q5_1,
        [GGML_TYPE_Q8_0] = woven_q8_0, [GGML_TYPE_IQ4_NL] = woven_iq4_nl,
        [GGML_TYPE_Q4_K] = woven_q4_k, [GGML_TYPE_Q5_K] = woven_q5_k,
        [GGML_TYPE_Q6_K] = woven_q6_k,
    };
    if (tile->column_count > 1 && by_type[tile->type] != NULL) {
        by_type[tile->type](tile);
        return;
    }
    dw_matmul_tile four = *tile;
    multiply(&four);
    four.weights += W * tile->row_stride;
    four.out += W;
    multiply(&four);
}
#else
const dw_matmul_kernel dw_matmul_i8mm = {.name = "i8mm"};
#endif
