/* The kernel itself, for whatever vectors the including file defines:
 *   W                    rows of a panel: the 32-bit lanes of a vector
 *   VF VI VU VB          a vector of float, int32, uint32, uint8, with operators by the
 *                        compiler
 *   V_STORE V_ZERO V_SET1 V_SET1_I V_FMA(a, b, c) (a * b + c)
 *   V_DOT4 V_DOT2, V_ZIP4 V_ZIP8 and _HIGH, V_HALVES, load_lanes, load_fours
 *   WEIGHTS_UNSIGNED     whether signed weights are kept plus 128, for which V_DOT4 starts from the
 *                        column's sums; else with V_ABS_BYTES and V_SIGN_BYTES
 *   V_ADD_RAW            products of unsigned weights are added up for as many vectors as
 *   V_RAW_VECTORS(type)  before V_ADD_SCALED multiplies them with a V_SCALE (of int32) and adds
 *   COLUMNS SUPER_COLUMNS at a time, what fits the registers
 *   WHOLE_BLOCKS         whether blocks of 32 are summed as whole numbers, as those of 256 are, by
 *   dot_fours dot_pairs  of its own (below); signed weights are then kept as they are packed, and
 *                        products start from the column's sums
 *   OUT_ROWS             rows of a tile's results, if more than W, for a KERNEL_MULTIPLY of its own
 *   lay_out_small lay_out_super
 *   V_LOAD V_LOAD_F16 V_LOAD_BF16 (of bytes) V_HSUM, FLOAT_COLUMNS; multiplies_pairs and
 *   multiply_pairs       BF16 with BF16, if the machine has that
 *   V_LOOK_UP(v)         of iq4_nl, by the low four bits of bytes
 *   NEAR_BYTES           panels of at most so many are brought into the first cache
 *   KERNEL KERNEL_NAME
 * Element i of a row lies in byte i % 4 of vector i % 32 / 4, which is where ggml's kernels have
 * it: in 32-bit lane i % 32 / 4. */
#include <string.h>

/* What IQ4_NL's four bits mean, as the format has it. */
static const int8_t iq4_nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

#define INLINE static inline __attribute__((always_inline))
#define CHUNK 1024u /* elements that are unpacked at once: they stay in the first cache */
#define STATE 9     /* vectors of sums that a column has at most */
#define AHEAD_BYTES 4096u
#define COLUMNS_MAX (SUPER_COLUMNS > COLUMNS ? SUPER_COLUMNS : COLUMNS)
#define NIBBLES 0x0f0f0f0fu
#define ONE_BITS 0x01010101u
#ifndef OUT_ROWS
#define OUT_ROWS W
#define KERNEL_MULTIPLY multiply
#endif

/* 32 elements of each row; types whose blocks are of 32 */
typedef struct small_block {
    VU w[8];
    VF scale;
    VF min;
} small_block;

/* 256 elements of each row, in eight groups of 32 */
typedef struct super_block {
    VU w[8][8];   /* [group][vector] */
    VU scale[16]; /* as V_ADD_SCALED wants it: of each group, or with Q6_K of each half of one */
    VU pair[8];   /* two int16: what goes with the column's sums; the minima, or with Q6_K -32 *
                   * the scales */
    VF d;
    VF d_min;
} super_block;

#define STATE_BYTES (STATE * DW_TILE_COLUMNS_MAX * sizeof(VF))
#define PANEL_BYTES (CHUNK / 256 * sizeof(super_block))
_Static_assert(CHUNK / 32 * sizeof(small_block) <= PANEL_BYTES, "the larger");
_Static_assert(PANEL_BYTES + STATE_BYTES <= DW_MATMUL_SCRATCH_BYTES, "scratch");

INLINE uint32_t block_bytes(enum ggml_type type)
{
    switch (type) {
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_IQ4_NL:
        return 18;
    case GGML_TYPE_Q4_1:
        return 20;
    case GGML_TYPE_Q5_0:
        return 22;
    case GGML_TYPE_Q5_1:
        return 24;
    case GGML_TYPE_Q8_0:
        return 34;
    case GGML_TYPE_Q4_K:
        return 144;
    case GGML_TYPE_Q5_K:
        return 176;
    default: /* Q6_K */
        return 210;
    }
}

INLINE bool has_minima(enum ggml_type type)
{
    return type == GGML_TYPE_Q4_1 || type == GGML_TYPE_Q5_1;
}

INLINE bool is_super(enum ggml_type type)
{
    return type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K || type == GGML_TYPE_Q6_K;
}

/* Vectors of sums that a column has. */
INLINE int state_count(enum ggml_type type)
{
    return WHOLE_BLOCKS || is_super(type) ? 1 : has_minima(type) ? 9 : 8;
}

/* Columns at a time. */
INLINE int column_step(enum ggml_type type)
{
    return is_super(type) ? SUPER_COLUMNS : COLUMNS;
}

/* Blocks [from, from + count) of a tile's panel. */
typedef struct part {
    const dw_matmul_tile *tile;
    const void *panel;           /* [count] small_block or super_block */
    const unsigned char *packed; /* of one super_block and one column, its numbers; NULL: in it */
    uint32_t from;
    uint32_t count;
    VF *states; /* [columns][STATE]: sums between one part and the next */
} part;

/* ---- unpacking ---- */

/* 16 bytes of each row: t[k] has the rows' k-th four. */
INLINE void load_sixteens(const unsigned char *at, size_t stride, VU t[4])
{
    VU a = load_lanes(at, stride);
    VU b = load_lanes(at + stride, stride);
    VU c = load_lanes(at + 2 * stride, stride);
    VU d = load_lanes(at + 3 * stride, stride);
    VU ab = V_ZIP4(a, b);
    VU cd = V_ZIP4(c, d);
    VU ab_high = V_ZIP4_HIGH(a, b);
    VU cd_high = V_ZIP4_HIGH(c, d);
    t[0] = V_ZIP8(ab, cd);
    t[1] = V_ZIP8_HIGH(ab, cd);
    t[2] = V_ZIP8(ab_high, cd_high);
    t[3] = V_ZIP8_HIGH(ab_high, cd_high);
}

/* The rows of the next panel lie behind these: bring what corresponds to these bytes, and somewhat
 * further ahead, since the first bytes of all of them are wanted at once. It goes to the second
 * cache: few lines are on their way to the first at once, and that has no room for two panels of
 * more than NEAR_BYTES. */
INLINE void prefetch_next(const unsigned char *weights, size_t stride, uint32_t from,
                          uint32_t bytes)
{
    const unsigned char *next = weights + W * (stride + from);
    if (W * stride >= AHEAD_BYTES && W * stride <= NEAR_BYTES) {
        for (uint32_t i = 0; i < W * bytes; i += 64) {
            __builtin_prefetch(next + i, 0, 3);
        }
    } else {
        for (uint32_t i = 0; i < W * bytes; i += 64) {
            __builtin_prefetch(next + AHEAD_BYTES + i, 0, 2);
        }
    }
}

/* Bytes `zero` above what they mean. */
INLINE VU as_signed(VU bytes, int zero)
{
    return WHOLE_BLOCKS ? bytes
                        : (VU)((VB)bytes + (uint8_t)(WEIGHTS_UNSIGNED ? 128 - zero : 256 - zero));
}

/* Four bits to bit 4 of four bytes: each comes to lie there in one of four copies, which do not
 * touch. */
INLINE VU fifth_bits(VU high, int vector)
{
    VU four = (high >> (unsigned)(4 * vector)) & 15u;
    return four * (1u << 4 | 1u << 11 | 1u << 18 | 1u << 25) & ONE_BITS << 4;
}

/* The low four bits of bytes, and of `high` what belongs to a block's vector of that number. */
INLINE VU widen_fours(const enum ggml_type type, VU low, VU high, int vector)
{
    const bool fives = type == GGML_TYPE_Q5_0 || type == GGML_TYPE_Q5_1;
    VU w = low & NIBBLES;
    if (type == GGML_TYPE_IQ4_NL) {
        return as_signed(V_LOOK_UP(w), 0);
    }
    w |= fives ? fifth_bits(high, vector) : (VU){0};
    return has_minima(type) ? w : as_signed(w, fives ? 16 : 8);
}

INLINE void unpack_small(const enum ggml_type type, const unsigned char *at, size_t stride,
                         small_block *to)
{
    const bool fives = type == GGML_TYPE_Q5_0 || type == GGML_TYPE_Q5_1;
    const bool minima = has_minima(type);
    VU head = load_fours(at, stride);
    to->scale = V_HALVES(head);
    at += 2;
    if (minima) {
        to->min = V_HALVES(head >> 16);
        at += 2;
    }
    VU t[4];
    if (type == GGML_TYPE_Q8_0) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            load_sixteens(at + half * 16, stride, t);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                to->w[half * 4 + k] = as_signed(t[k], 0);
            }
        }
        return;
    }
    VU high = {0};
    if (fives) {
        high = load_fours(at, stride);
        at += 4;
    }
    load_sixteens(at, stride, t);
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        to->w[k] = widen_fours(type, k < 4 ? t[k % 4] : t[k % 4] >> 4, high, k);
    }
}

/* Blocks of small types that are unpacked together: their bytes are a multiple of four. */
INLINE uint32_t run_of(const enum ggml_type type)
{
    switch (type) {
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_IQ4_NL:
        return 4;
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
        return 2;
    default:
        return 1;
    }
}

#define RUN_FOURS 20u

/* Four bytes of each row from byte `at` on, which is even. */
INLINE VU fours_at(const VU t[RUN_FOURS], const uint32_t at)
{
    return at % 4 == 0 ? t[at / 4] : t[at / 4] >> 16 | t[at / 4 + 1] << 16;
}

/* A run's bytes are brought in sixteens, the last of which may reach back, and scales come with
 * them: four bytes alone of each row take as long as eight times as many. */
INLINE void unpack_whole_run(const enum ggml_type type, const unsigned char *at, size_t stride,
                             small_block to[4])
{
    const uint32_t bytes = block_bytes(type);
    const uint32_t all = bytes * run_of(type);
    const bool fives = type == GGML_TYPE_Q5_0 || type == GGML_TYPE_Q5_1;
    const bool minima = has_minima(type);
    const uint32_t head = (minima ? 4u : 2u) + (fives ? 4u : 0u);
    VU t[RUN_FOURS];
#pragma GCC unroll 4
    for (uint32_t b = 0; b < run_of(type); b++) {
        const uint32_t sixteens = ((b + 1) * bytes + 15) / 16;
#pragma GCC unroll 4
        for (uint32_t i = (b * bytes + 15) / 16; i < sixteens; i++) {
            const uint32_t from = i * 16 + 16 <= all ? i * 16 : all - 16;
            load_sixteens(at + from, stride, &t[from / 4]);
        }
        const VU first = t[b * bytes / 4];
        const VU high = fives ? fours_at(t, b * bytes + head - 4) : (VU){0};
        to[b].scale = V_HALVES(b * bytes % 4 == 0 ? first : first >> 16);
        if (minima) {
            to[b].min = V_HALVES(first >> 16);
        }
#pragma GCC unroll 4
        for (uint32_t k = 0; k < 4; k++) {
            const VU four = fours_at(t, b * bytes + head + 4 * k);
            to[b].w[k] = widen_fours(type, four, high, (int)k);
            to[b].w[k + 4] = widen_fours(type, four >> 4, high, (int)k + 4);
        }
    }
}

/* `count` blocks, those of a run or one. */
INLINE void unpack_run(const enum ggml_type type, const unsigned char *at, size_t stride,
                       uint32_t count, small_block *to)
{
    if (count > 1) {
        unpack_whole_run(type, at, stride, to);
    } else {
        unpack_small(type, at, stride, to);
    }
}

/* Six bits each: eight scales, then eight minima. */
INLINE void unpack_k_scales(const VU head[4], super_block *to)
{
    VU packed[4]; /* bytes: scales 0 to 3, 4 to 7, minima likewise */
    packed[0] = head[1] & 0x3f3f3f3fu;
    packed[1] = (head[3] & NIBBLES) | (head[1] >> 6 & 0x03030303u) << 4;
    packed[2] = head[2] & 0x3f3f3f3fu;
    packed[3] = (head[3] >> 4 & NIBBLES) | (head[2] >> 6 & 0x03030303u) << 4;
    for (unsigned i = 0; i < 8; i++) {
        to->scale[i] = V_SCALE(packed[i / 4] >> (8 * (i % 4)) & 0xffu);
    }
    for (unsigned i = 0; i < 4; i++) {
        VU two = packed[2 + i / 2] >> (16 * (i % 2));
        to->pair[i] = (two & 0xffu) | (two & 0xff00u) << 8;
    }
    to->d = V_HALVES(head[0]);
    to->d_min = V_HALVES(head[0] >> 16);
}

INLINE void unpack_q45_k_head(const unsigned char *at, size_t stride, super_block *to)
{
    VU head[4];
    load_sixteens(at, stride, head);
    unpack_k_scales(head, to);
}

/* Bits of Q5_K: the fifths of all groups, four bytes of each row a vector. */
INLINE void load_fifths(const enum ggml_type type, const unsigned char *at, size_t stride,
                        VU high[8])
{
    if (type == GGML_TYPE_Q5_K) {
        load_sixteens(at + 16, stride, high);
        load_sixteens(at + 32, stride, high + 4);
    }
}

/* Of a block of Q4_K or Q5_K at `at` the groups 2 * j and 2 * j + 1. */
INLINE void unpack_q45_k_groups(const enum ggml_type type, const unsigned char *at, size_t stride,
                                const unsigned j, const VU high[8], VU w[2][8])
{
    const unsigned char *low = at + (type == GGML_TYPE_Q5_K ? 48 : 16) + (size_t)j * 32;
    VU t[8];
    load_sixteens(low, stride, t);
    load_sixteens(low + 16, stride, t + 4);
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        w[0][k] = t[k] & NIBBLES;
        w[1][k] = t[k] >> 4 & NIBBLES;
        if (type == GGML_TYPE_Q5_K) {
            w[0][k] |= (high[k] >> (2 * j) & ONE_BITS) << 4;
            w[1][k] |= (high[k] >> (2 * j + 1) & ONE_BITS) << 4;
        }
    }
}

INLINE void unpack_q45_k(const enum ggml_type type, const unsigned char *at, size_t stride,
                         super_block *to)
{
    VU high[8];
    unpack_q45_k_head(at, stride, to);
    load_fifths(type, at, stride, high);
#pragma GCC unroll 4
    for (unsigned j = 0; j < 4; j++) {
        unpack_q45_k_groups(type, at, stride, j, high, to->w + (size_t)2 * j);
    }
}

INLINE void unpack_q6_k_head(const unsigned char *at, size_t stride, super_block *to)
{
    VU scales[4];
    load_sixteens(at + 192, stride, scales);
#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; i++) {
        unsigned shift = 16 * (i % 2);
        VU even = (VU)((VI)(scales[i / 2] << (24 - shift)) >> 24);
        VU odd = (VU)((VI)(scales[i / 2] << (16 - shift)) >> 24);
        to->scale[2 * i] = V_SCALE(even);
        to->scale[2 * i + 1] = V_SCALE(odd);
        to->pair[i] = (-(even << 5) & 0xffffu) | -(odd << 5) << 16;
    }
    to->d = V_HALVES(load_fours(at + 206, stride) >> 16);
}

/* All but the numbers themselves. */
INLINE void unpack_super_head(const enum ggml_type type, const unsigned char *at, size_t stride,
                              super_block *to)
{
    if (type == GGML_TYPE_Q6_K) {
        unpack_q6_k_head(at, stride, to);
    } else {
        unpack_q45_k_head(at, stride, to);
    }
}

/* Of a block of Q6_K the groups 4 * j to 4 * j + 3, of each the half of its vectors that begins
 * with `first`. */
INLINE void unpack_q6_k_groups(const unsigned char *at, size_t stride, const int j, const int first,
                               VU w[4][8])
{
    VU a[4];
    VU b[4];
    VU high[4];
    load_sixteens(at + j * 64 + first * 4, stride, a);
    load_sixteens(at + j * 64 + 32 + first * 4, stride, b);
    load_sixteens(at + 128 + j * 32 + first * 4, stride, high);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        w[0][first + k] = (a[k] & NIBBLES) | (high[k] & 0x03030303u) << 4;
        w[1][first + k] = (b[k] & NIBBLES) | (high[k] & 0x0c0c0c0cu) << 2;
        w[2][first + k] = (a[k] >> 4 & NIBBLES) | (high[k] & 0x30303030u);
        w[3][first + k] = (b[k] >> 4 & NIBBLES) | (high[k] & 0xc0c0c0c0u) >> 2;
    }
}

INLINE void unpack_q6_k(const unsigned char *at, size_t stride, super_block *to)
{
    unpack_q6_k_head(at, stride, to);
#pragma GCC unroll 4
    for (int piece = 0; piece < 4; piece++) {
        unpack_q6_k_groups(at, stride, piece / 2, piece % 2 * 4, to->w + piece / 2 * 4);
    }
}

/* Blocks [from, from + count) of the panel. */
INLINE void unpack(const enum ggml_type type, const dw_matmul_tile *tile, uint32_t from,
                   uint32_t count, void *panel)
{
    const uint32_t bytes = block_bytes(type);
    for (uint32_t i = 0, n = 1; i < count; i += n) {
        const unsigned char *at = tile->weights + (size_t)(from + i) * bytes;
        n = count - i < run_of(type) ? 1 : run_of(type);
        prefetch_next(tile->weights, tile->row_stride, (from + i) * bytes, n * bytes);
        if (type == GGML_TYPE_Q6_K) {
            unpack_q6_k(at, tile->row_stride, (super_block *)panel + i);
        } else if (is_super(type)) {
            unpack_q45_k(type, at, tile->row_stride, (super_block *)panel + i);
        } else {
            unpack_run(type, at, tile->row_stride, n, (small_block *)panel + i);
        }
    }
}

/* ---- multiplying ---- */

/* Four bytes of a column, for all rows. */
INLINE VI spread(const unsigned char *at)
{
    int32_t four;
    memcpy(&four, at, sizeof four);
    return V_SET1_I(four);
}

INLINE VF spread_float(const unsigned char *at)
{
    float one;
    memcpy(&one, at, sizeof one);
    return V_SET1(one);
}

#if WHOLE_BLOCKS
/* A number is the sum over its row's blocks in their order, each product of whole numbers exact. */
INLINE void add_small_blocks(const enum ggml_type type, const int columns, const part *of,
                             const unsigned char *column, VF sums[COLUMNS_MAX][STATE])
{
    const dw_column_layout *layout = of->tile->layout;
    const small_block *panel = of->panel;
    for (uint32_t i = of->from; i < of->from + of->count; i++, panel++) {
        const unsigned char *x = column + (size_t)i * 32;
        const unsigned char *scale = column + layout->scales + (size_t)i * 4;
        const unsigned char *sum = column + layout->sums + (size_t)i * 4;
#pragma GCC unroll 8
        for (int c = 0; c < columns; c++) {
            const size_t at = (size_t)c * layout->bytes;
            VI dot = dot_fours(first_of_sum(type, sum + at), panel->w, x + at, 8);
            VF d = panel->scale * spread_float(scale + at);
            sums[c][0] = V_FMA(d, __builtin_convertvector(dot, VF), sums[c][0]);
            if (has_minima(type)) {
                sums[c][0] = V_FMA(panel->min, spread_float(sum + at), sums[c][0]);
            }
        }
    }
}
#else
/* sum + of each two int16, `count` vectors and a column's */
INLINE VI dot_pairs(VI sum, const VU *pairs, const unsigned char *x, const int count)
{
#pragma GCC unroll 8
    for (int k = 0; k < count; k++) {
        sum = V_DOT2(sum, pairs[k], spread(x + k * 4));
    }
    return sum;
}

/* Products of signed weights: `sums` are the column's, of fours. */
INLINE VI dot_signed(VU w, const unsigned char *x, const unsigned char *sums)
{
#if WEIGHTS_UNSIGNED
    return V_DOT4(spread(sums), w, spread(x));
#else
    (void)sums;
    return V_DOT4((VI){0}, V_ABS_BYTES(w), V_SIGN_BYTES(spread(x), w));
#endif
}

INLINE void add_small_blocks(const enum ggml_type type, const int columns, const part *of,
                             const unsigned char *column, VF sums[COLUMNS_MAX][STATE])
{
    const dw_column_layout *layout = of->tile->layout;
    const small_block *panel = of->panel;
    const bool minima = has_minima(type);
    for (uint32_t i = of->from; i < of->from + of->count; i++, panel++) {
        const unsigned char *x = column + (size_t)i * 32;
        const unsigned char *scale = column + layout->scales + (size_t)i * 4;
        const unsigned char *sum = column + layout->sums + (size_t)i * (minima ? 4 : 32);
        VF d[COLUMNS_MAX];
#pragma GCC unroll 2
        for (int c = 0; c < columns; c++) {
            d[c] = panel->scale * spread_float(scale + (size_t)c * layout->bytes);
        }
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            VU w = panel->w[k];
#pragma GCC unroll 2
            for (int c = 0; c < columns; c++) {
                const unsigned char *four = x + (size_t)c * layout->bytes + k * 4;
                VI dot = minima ? V_DOT4(V_ZERO(), w, spread(four))
                                : dot_signed(w, four, sum + (size_t)c * layout->bytes + k * 4);
                sums[c][k] = V_FMA(d[c], __builtin_convertvector(dot, VF), sums[c][k]);
            }
        }
        if (minima) { /* a product of halves is exact: fused or not is the same */
#pragma GCC unroll 2
            for (int c = 0; c < columns; c++) {
                sums[c][8] =
                    V_FMA(panel->min, spread_float(sum + (size_t)c * layout->bytes), sums[c][8]);
            }
        }
    }
}
#endif

/* V_RAW_VECTORS vectors of a group, and what goes with them. */
typedef struct vectors {
    const VU *w;
    VU scale;
    const unsigned char *x; /* of the first column, the others stride apart */
    size_t stride;
} vectors;

INLINE void sum_vectors(const enum ggml_type type, const int columns, const vectors *of,
                        VI sums[COLUMNS_MAX])
{
    const int each = V_RAW_VECTORS(type);
    VI raw[COLUMNS_MAX];
#if WHOLE_BLOCKS
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) {
        raw[c] = dot_fours(V_ZERO(), of->w, of->x + (size_t)c * of->stride, each);
    }
#else
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) {
        raw[c] = V_ZERO();
    }
#pragma GCC unroll 8
    for (int k = 0; k < each; k++) {
#pragma GCC unroll 8
        for (int c = 0; c < columns; c++) {
            VI four = spread(of->x + (size_t)c * of->stride + k * 4);
            raw[c] = V_ADD_RAW(raw[c], of->w[k], four);
        }
    }
#endif
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) {
        sums[c] = V_ADD_SCALED(sums[c], raw[c], of->scale);
    }
}

/* The sum over a block's groups of scale * products, whole numbers, for each column. */
INLINE void sum_groups(const enum ggml_type type, const int columns, const super_block *panel,
                       const unsigned char *x, size_t stride, VI sums[COLUMNS_MAX])
{
#pragma GCC unroll 8
    for (int group = 0; group < 8; group++) {
#pragma GCC unroll 4
        for (int first = 0; first < 8; first += V_RAW_VECTORS(type)) {
            const int scale = type == GGML_TYPE_Q6_K ? 2 * group + first / 4 : group;
            sum_vectors(type, columns,
                        &(vectors){.w = &panel->w[group][first],
                                   .scale = panel->scale[scale],
                                   .x = x + group * 32 + first * 4,
                                   .stride = stride},
                        sums);
        }
    }
}

/* The same for one column of a block that lies packed at `at`. */
INLINE void sum_packed(const enum ggml_type type, const unsigned char *at, size_t row_stride,
                       const super_block *scales, const unsigned char *x, VI sums[COLUMNS_MAX])
{
    const int each = V_RAW_VECTORS(type);
    if (type == GGML_TYPE_Q6_K) {
#pragma GCC unroll 4
        for (int piece = 0; piece < 4; piece++) {
            VU w[4][8];
            const int j = piece / 2;
            const int half = piece % 2 * 4;
            unpack_q6_k_groups(at, row_stride, j, half, w);
#pragma GCC unroll 4
            for (int g = 0; g < 4; g++) {
#pragma GCC unroll 2
                for (int first = half; first < half + 4; first += each) {
                    sum_vectors(type, 1,
                                &(vectors){.w = &w[g][first],
                                           .scale = scales->scale[8 * j + 2 * g + half / 4],
                                           .x = x + (4 * j + g) * 32 + first * 4},
                                sums);
                }
            }
        }
        return;
    }
    VU high[8];
    load_fifths(type, at, row_stride, high);
#pragma GCC unroll 4
    for (unsigned j = 0; j < 4; j++) {
        VU w[2][8];
        unpack_q45_k_groups(type, at, row_stride, j, high, w);
#pragma GCC unroll 2
        for (unsigned g = 0; g < 2; g++) {
#pragma GCC unroll 2
            for (int first = 0; first < 8; first += each) {
                sum_vectors(type, 1,
                            &(vectors){.w = &w[g][first],
                                       .scale = scales->scale[2 * j + g],
                                       .x = x + (2 * j + g) * 32 + first * 4},
                            sums);
            }
        }
    }
}

/* Here ggml's vec_dot has eight sums of floats where one is enough: within a block all numbers are
 * whole. What is done with them is what ggml's own product of matrices does. The part's first block
 * alone. */
INLINE void add_super_block(const enum ggml_type type, const int columns, const part *of,
                            const unsigned char *column, VF sums[COLUMNS_MAX][STATE])
{
    const uint32_t i = of->from;
    const dw_column_layout *layout = of->tile->layout;
    const bool six = type == GGML_TYPE_Q6_K;
    const int pairs = six ? 8 : 4;
    const super_block *panel = of->panel;
    const unsigned char *x = column + (size_t)i * 256;
    const unsigned char *scale = column + layout->scales + (size_t)i * 4;
    const unsigned char *pair = column + (six ? layout->sums : layout->pair_sums);
    pair += (size_t)i * (unsigned)pairs * 4;
    VI whole[COLUMNS_MAX];
    VI minima[COLUMNS_MAX];
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) {
        minima[c] = dot_pairs(V_ZERO(), panel->pair, pair + (size_t)c * layout->bytes, pairs);
        whole[c] = six ? minima[c] : V_ZERO();
    }
    if (of->packed != NULL) {
        sum_packed(type, of->packed, of->tile->row_stride, panel, x, whole);
    } else {
        sum_groups(type, columns, panel, x, layout->bytes, whole);
    }
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) {
        VF all = panel->d * __builtin_convertvector(whole[c], VF);
        if (!six) {
            all = V_FMA(-panel->d_min, __builtin_convertvector(minima[c], VF), all);
        }
        sums[c][0] = V_FMA(all, spread_float(scale + (size_t)c * layout->bytes), sums[c][0]);
    }
}

INLINE void add_super_blocks(const enum ggml_type type, const int columns, const part *of,
                             const unsigned char *column, VF sums[COLUMNS_MAX][STATE])
{
    part at = *of;
    const super_block *panel = of->panel;
    for (uint32_t i = 0; i < of->count; i++) {
        at.panel = panel + i;
        at.from = of->from + i;
        add_super_block(type, columns, &at, column, sums);
    }
}

/* In the order in which ggml sums the lanes of a vector. */
INLINE VF whole_sum(const enum ggml_type type, const VF sums[STATE])
{
    if (state_count(type) == 1) {
        return sums[0];
    }
    VF a = (sums[4] + sums[0]) + (sums[6] + sums[2]);
    VF b = (sums[5] + sums[1]) + (sums[7] + sums[3]);
    VF all = a + b;
    return has_minima(type) ? all + sums[8] : all;
}

/* A part of the panel times `columns` columns from `first` on. */
INLINE void add_part(const enum ggml_type type, const int columns, const part *of, uint32_t first)
{
    const dw_matmul_tile *tile = of->tile;
    const uint32_t all = tile->layout->length / tile->layout->per_block;
    const int per_column = state_count(type);
    VF sums[COLUMNS_MAX][STATE];
    VF *state = of->states + (size_t)first * STATE;
#pragma GCC unroll 18
    for (int i = 0; i < columns * per_column; i++) {
        sums[i / per_column][i % per_column] = of->from > 0 ? state[i] : (VF){0};
    }
    const unsigned char *column = tile->columns + first * tile->layout->bytes;
    if (is_super(type)) {
        add_super_blocks(type, columns, of, column, sums);
    } else {
        add_small_blocks(type, columns, of, column, sums);
    }
    if (of->from + of->count < all) {
#pragma GCC unroll 18
        for (int i = 0; i < columns * per_column; i++) {
            state[i] = sums[i / per_column][i % per_column];
        }
        return;
    }
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) {
        V_STORE(tile->out + (first + (uint32_t)c) * OUT_ROWS, whole_sum(type, sums[c]));
    }
}

INLINE void add_run(const enum ggml_type type, const uint32_t count, const dw_matmul_tile *tile,
                    uint32_t from, VF sums[COLUMNS_MAX][STATE])
{
    const uint32_t bytes = block_bytes(type);
    const unsigned char *at = tile->weights + (size_t)from * bytes;
    prefetch_next(tile->weights, tile->row_stride, from * bytes, count * bytes);
    if (is_super(type)) {
        super_block scales; /* without its numbers */
        part one = {.tile = tile, .panel = &scales, .packed = at, .from = from, .count = 1};
        unpack_super_head(type, at, tile->row_stride, &scales);
        add_super_block(type, 1, &one, tile->columns, sums);
        return;
    }
    small_block run[4];
    unpack_run(type, at, tile->row_stride, count, run);
#pragma GCC unroll 4
    for (uint32_t i = 0; i < count; i++) {
        part one = {.tile = tile, .panel = &run[i], .from = from + i, .count = 1};
        add_small_blocks(type, 1, &one, tile->columns, sums);
    }
}

/* One column: what is unpacked is multiplied at once, and stays in registers. */
INLINE void multiply_alone(const enum ggml_type type, const dw_matmul_tile *tile)
{
    const uint32_t all = tile->layout->length / tile->layout->per_block;
    VF sums[COLUMNS_MAX][STATE];
#pragma GCC unroll 9
    for (int i = 0; i < state_count(type); i++) {
        sums[0][i] = (VF){0};
    }
    uint32_t from = 0;
    for (; from + run_of(type) <= all; from += run_of(type)) {
        add_run(type, run_of(type), tile, from, sums);
    }
    for (; from < all; from++) {
        add_run(type, 1, tile, from, sums);
    }
    V_STORE(tile->out, whole_sum(type, sums[0]));
}

INLINE void multiply_type(const enum ggml_type type, const dw_matmul_tile *tile)
{
    if (tile->column_count == 1) {
        multiply_alone(type, tile);
        return;
    }
    void *panel = tile->scratch;
    const uint32_t all = tile->layout->length / tile->layout->per_block;
    const uint32_t step = CHUNK / (is_super(type) ? 256u : 32u);
    for (uint32_t from = 0; from < all; from += step) {
        uint32_t count = all - from < step ? all - from : step;
        unpack(type, tile, from, count, panel);
        part one = {.tile = tile, .panel = panel, .from = from, .count = count};
        one.states = (VF *)(void *)(tile->scratch + PANEL_BYTES);
        uint32_t c = 0;
        const uint32_t at_once = (uint32_t)column_step(type);
        for (; c + at_once <= tile->column_count; c += at_once) {
            add_part(type, column_step(type), &one, c);
        }
        for (; column_step(type) > 2 && c + 2 <= tile->column_count; c += 2) {
            add_part(type, 2, &one, c);
        }
        if (c < tile->column_count) {
            add_part(type, 1, &one, c);
        }
    }
}

#define ONE_TYPE(name, type)                                                                       \
    static __attribute__((noinline)) void name(const dw_matmul_tile *tile)                         \
    {                                                                                              \
        multiply_type(type, tile);                                                                 \
    }
ONE_TYPE(multiply_q4_0, GGML_TYPE_Q4_0)
ONE_TYPE(multiply_q4_1, GGML_TYPE_Q4_1)
ONE_TYPE(multiply_q5_0, GGML_TYPE_Q5_0)
ONE_TYPE(multiply_q5_1, GGML_TYPE_Q5_1)
ONE_TYPE(multiply_q8_0, GGML_TYPE_Q8_0)
ONE_TYPE(multiply_iq4_nl, GGML_TYPE_IQ4_NL)
ONE_TYPE(multiply_q4_k, GGML_TYPE_Q4_K)
ONE_TYPE(multiply_q5_k, GGML_TYPE_Q5_K)
ONE_TYPE(multiply_q6_k, GGML_TYPE_Q6_K)

/* ---- floats ---- */

/* A number is a sum in each lane, of the elements that lie in it, and then the lanes' by V_HSUM:
 * the order is the same for any tile. Columns end with zeros up to whole vectors. */
#define FLOAT_ROWS 4

/* W weights from element i on; as many as there are at the row's end. */
INLINE VF load_weights(const enum ggml_type type, const unsigned char *row, uint32_t i,
                       uint32_t count)
{
    unsigned char rest[W * 4] = {0};
    const uint32_t bytes = type == GGML_TYPE_F32 ? 4 : 2;
    const unsigned char *at = row + (size_t)i * bytes;
    if (count < W) {
        memcpy(rest, at, (size_t)count * bytes);
        at = rest;
    }
    return type == GGML_TYPE_F32   ? V_LOAD(at)
           : type == GGML_TYPE_F16 ? V_LOAD_F16(at)
                                   : V_LOAD_BF16(at);
}

/* Elements of rows and columns: at most W from `from` on. */
typedef struct float_run {
    const unsigned char *weights;
    const unsigned char *x;
    uint32_t from;
    uint32_t count;
} float_run;

INLINE void add_floats(const enum ggml_type type, const int columns, const dw_matmul_tile *tile,
                       float_run of, VF sum[FLOAT_ROWS][FLOAT_COLUMNS])
{
    VF right[FLOAT_COLUMNS];
    for (int c = 0; c < columns; c++) {
        right[c] = V_LOAD(of.x + (size_t)c * tile->layout->bytes + (size_t)of.from * 4);
    }
    for (int r = 0; r < FLOAT_ROWS; r++) {
        VF left = load_weights(type, of.weights + (size_t)r * tile->row_stride, of.from, of.count);
        for (int c = 0; c < columns; c++) {
            sum[r][c] = V_FMA(left, right[c], sum[r][c]);
        }
    }
}

INLINE void float_block(const enum ggml_type type, const int columns, const dw_matmul_tile *tile,
                        uint32_t row, uint32_t first)
{
    const uint32_t length = tile->layout->length;
    float_run run = {.weights = tile->weights + (size_t)row * tile->row_stride,
                     .x = tile->columns + (size_t)first * tile->layout->bytes,
                     .count = W};
    VF sum[FLOAT_ROWS][FLOAT_COLUMNS];
    for (int r = 0; r < FLOAT_ROWS; r++) {
        for (int c = 0; c < columns; c++) {
            sum[r][c] = (VF){0};
        }
    }
    for (; run.from + W <= length; run.from += W) {
        add_floats(type, columns, tile, run, sum);
    }
    if (run.from < length) {
        run.count = length - run.from;
        add_floats(type, columns, tile, run, sum);
    }
    for (int r = 0; r < FLOAT_ROWS; r++) {
        for (int c = 0; c < columns; c++) {
            tile->out[(first + (uint32_t)c) * OUT_ROWS + row + (uint32_t)r] = V_HSUM(sum[r][c]);
        }
    }
}

INLINE void multiply_floats(const enum ggml_type type, const dw_matmul_tile *tile)
{
    for (uint32_t row = 0; row < W; row += FLOAT_ROWS) {
        uint32_t c = 0;
        for (; c + FLOAT_COLUMNS <= tile->column_count; c += FLOAT_COLUMNS) {
            float_block(type, FLOAT_COLUMNS, tile, row, c);
        }
        for (; c + 2 <= tile->column_count; c += 2) {
            float_block(type, 2, tile, row, c);
        }
        if (c < tile->column_count) {
            float_block(type, 1, tile, row, c);
        }
    }
}

#define FLOAT_TYPE(name, type)                                                                     \
    static __attribute__((noinline)) void name(const dw_matmul_tile *tile)                         \
    {                                                                                              \
        multiply_floats(type, tile);                                                               \
    }
FLOAT_TYPE(multiply_f32, GGML_TYPE_F32)
FLOAT_TYPE(multiply_f16, GGML_TYPE_F16)
FLOAT_TYPE(multiply_bf16, GGML_TYPE_BF16)

static void multiply(const dw_matmul_tile *tile)
{
    switch (tile->type) {
    case GGML_TYPE_F32:
        multiply_f32(tile);
        break;
    case GGML_TYPE_F16:
        multiply_f16(tile);
        break;
    case GGML_TYPE_BF16:
        if (multiplies_pairs()) {
            multiply_pairs(tile);
        } else {
            multiply_bf16(tile);
        }
        break;
    case GGML_TYPE_IQ4_NL:
        multiply_iq4_nl(tile);
        break;
    case GGML_TYPE_Q4_0:
        multiply_q4_0(tile);
        break;
    case GGML_TYPE_Q4_1:
        multiply_q4_1(tile);
        break;
    case GGML_TYPE_Q5_0:
        multiply_q5_0(tile);
        break;
    case GGML_TYPE_Q5_1:
        multiply_q5_1(tile);
        break;
    case GGML_TYPE_Q8_0:
        multiply_q8_0(tile);
        break;
    case GGML_TYPE_Q4_K:
        multiply_q4_k(tile);
        break;
    case GGML_TYPE_Q5_K:
        multiply_q5_k(tile);
        break;
    default:
        multiply_q6_k(tile);
    }
}

/* ---- columns ---- */

/* Floats, of what was rounded as the weights are; or as it is, for pairs. */
static void lay_out_floats(const dw_column_layout *layout, const unsigned char *from,
                           uint32_t first, uint32_t count, unsigned char *column)
{
    const bool pairs = layout->type == GGML_TYPE_BF16 && multiplies_pairs();
    const size_t bytes = pairs ? 2 : 4;
    for (uint32_t i = 0; i < count; i += W) {
        const uint32_t n = count - i < W ? count - i : W;
        unsigned char *to = column + (size_t)(first + i) * bytes;
        if (pairs) {
            memcpy(to, from + (size_t)i * 2, (size_t)n * 2);
        } else {
            VF v = load_weights(layout->type, from, i, n);
            memcpy(to, &v, (size_t)n * 4);
        }
    }
    if (first + count == layout->length) {
        memset(column + (size_t)layout->length * bytes, 0,
               layout->bytes - (size_t)layout->length * bytes);
    }
}

static void lay_out(const dw_column_layout *layout, const void *blocks, uint32_t from,
                    uint32_t count, unsigned char *column)
{
    if (layout->per_block == 1) {
        lay_out_floats(layout, blocks, from, count, column);
        return;
    }
    uint32_t first = from / layout->per_block;
    if (layout->type == GGML_TYPE_Q8_K) {
        lay_out_super(layout, blocks, first, count, column);
    } else {
        lay_out_small(layout, blocks, first, count, column);
    }
}

const dw_matmul_kernel KERNEL = {.name = KERNEL_NAME,
                                 .rows = OUT_ROWS,
                                 .runs_here = runs_here,
                                 .lay_out = lay_out,
                                 .multiply = KERNEL_MULTIPLY};
