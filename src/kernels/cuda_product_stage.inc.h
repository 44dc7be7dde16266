/* A stage of a product (cuda_products_cuda.cu): some columns of a tile of 16 rows of weights, as
 * they lie, on their way, unpacked, and multiplied with x. For CUDA sources. */
#ifndef DW_KERNELS_CUDA_PRODUCT_STAGE_INC_H
#define DW_KERNELS_CUDA_PRODUCT_STAGE_INC_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <type_traits>

#include "kernels/cuda_product_form.inc.h"

#define BLOCK 32 /* columns that a scale of x is for */

/* What a kernel is compiled for. A group is the eight columns of B that one multiplication takes:
 * of four rows of x with their low parts (what rounding lost), or of eight without. */
template <int TYPE, int GROUPS, bool LOW> struct work_of {
    static constexpr int type = TYPE, groups = GROUPS;
    static constexpr bool low = LOW;
    static constexpr uint32_t row_columns = LOW ? 2 : 1; /* of B, of a row of x */
    static constexpr uint32_t group_rows = 8 / row_columns;
    static constexpr uint32_t lane_rows = 2 / row_columns; /* of a group, whose sums a lane has */
    static constexpr uint32_t rows = GROUPS * group_rows;
    static constexpr uint32_t lane_sums = GROUPS * 2 * lane_rows;
    static constexpr uint32_t tile_sums = WARP * lane_sums;
};

/* Sizes of a warp's ring: by what a block has room for. */
enum ring_size { RING_LARGE, RING_MIDDLE, RING_SMALL, RING_SIZES };

#define FIRST_FILL 4608 /* bytes, filled before the kernel in front has ended: more hinders x */

template <int TYPE> static constexpr __host__ __device__ int stages_in(int bytes)
{
    return bytes / form<TYPE>::bytes < 2 ? 2 : bytes / form<TYPE>::bytes;
}

/* Stages of each size, and of what is filled first. */
template <int TYPE> struct ring_of {
    static constexpr int large = stages_in<TYPE>(form<TYPE>::in_file ? 10240 : 9216);
    static constexpr int middle = stages_in<TYPE>(8192);
    static constexpr int small = stages_in<TYPE>(4096);
    static constexpr int few = stages_in<TYPE>(FIRST_FILL);
    static constexpr int first = few < small ? few : small;
    static __host__ __device__ __forceinline__ uint32_t bytes(uint32_t size)
    {
        int stages = size == RING_LARGE ? large : size == RING_MIDDLE ? middle : small;
        return (uint32_t)(stages * form<TYPE>::bytes);
    }
};

/* ---- instructions ---- */

static __device__ __forceinline__ uint64_t read_once_policy()
{
    uint64_t policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

static __device__ __forceinline__ void copy_16(uint32_t to, const void *from, uint64_t policy)
{
    asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(to),
                 "l"(from), "l"(policy)
                 : "memory");
}

static __device__ __forceinline__ void end_copy()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int PENDING> static __device__ __forceinline__ void wait_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/* A ring's oldest stage is there. */
template <int TYPE> static __device__ __forceinline__ void wait_stage(uint32_t size)
{
    typedef ring_of<TYPE> ring;
    if (size == RING_LARGE) {
        wait_copies<ring::large - 1>();
    } else if (size == RING_MIDDLE) {
        wait_copies<ring::middle - 1>();
    } else {
        wait_copies<ring::small - 1>();
    }
}

/* c += a b: a 16 x 16 of weights, rows g's two pairs and rows g + 8's in turn, b 16 x 8 of x. */
template <bool BF16>
static __device__ __forceinline__ void multiply(float c[4], uint2 a, uint2 upper, uint2 b)
{
    if constexpr (BF16) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
            "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a.x), "r"(upper.x), "r"(a.y), "r"(upper.y), "r"(b.x), "r"(b.y));
    } else {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
            "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a.x), "r"(upper.x), "r"(a.y), "r"(upper.y), "r"(b.x), "r"(b.y));
    }
}

/* 32 columns. */
template <bool BF16>
static __device__ __forceinline__ void multiply_32(float c[4], uint4 a, uint4 upper, uint4 b)
{
    multiply<BF16>(c, make_uint2(a.x, a.y), make_uint2(upper.x, upper.y), make_uint2(b.x, b.y));
    multiply<BF16>(c, make_uint2(a.z, a.w), make_uint2(upper.z, upper.w), make_uint2(b.z, b.w));
}

static __device__ __forceinline__ uint32_t as_bits(__half2 pair)
{
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

static __device__ __forceinline__ __half2 as_halves(uint32_t bits)
{
    __half2 pair;
    memcpy(&pair, &bits, sizeof pair);
    return pair;
}

/* c += a b of signed bytes: a 16 x 32 of weights, b 32 x 8 of x. */
static __device__ __forceinline__ void multiply_bytes(int c[4], const uint32_t a[4], uint2 b)
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
}

/* The same of 16 columns. */
static __device__ __forceinline__ void multiply_half(int c[4], uint32_t a0, uint32_t a1, uint32_t b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
}

template <int SHIFT> static __device__ __forceinline__ uint32_t shifted(uint32_t w)
{
    return SHIFT >= 0 ? w << (SHIFT >= 0 ? SHIFT : 0) : w >> (SHIFT < 0 ? -SHIFT : 0);
}

/* Eight numbers of four bits: those of columns [4 t, 4 t + 4), then of 16 more. */
static __device__ __forceinline__ void unpack_4(uint32_t w, uint32_t &first, uint32_t &second)
{
    first = w & 0x0f0f0f0fu;
    second = w >> 4 & 0x0f0f0f0fu;
}

/* The same with a fifth bit: bits FIRST and FIRST + 1 of the bytes of `high`. */
template <int FIRST>
static __device__ __forceinline__ void unpack_5(uint32_t w, uint32_t high, uint32_t &first,
                                                uint32_t &second)
{
    first = (w & 0x0f0f0f0fu) | (shifted<4 - FIRST>(high) & 0x10101010u);
    second = (w >> 4 & 0x0f0f0f0fu) | (shifted<3 - FIRST>(high) & 0x10101010u);
}

/* Bytes of six bits, less 32. */
static __device__ __forceinline__ uint32_t less_32(uint32_t w)
{
    return ((w | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
}

/* With a fifth and a sixth: bits [FIRST, FIRST + 2) and the next two. */
template <int FIRST>
static __device__ __forceinline__ void unpack_6(uint32_t w, uint32_t high, uint32_t &first,
                                                uint32_t &second)
{
    first = less_32((w & 0x0f0f0f0fu) | (shifted<4 - FIRST>(high) & 0x30303030u));
    second = less_32((w >> 4 & 0x0f0f0f0fu) | (shifted<2 - FIRST>(high) & 0x30303030u));
}

/* Byte `index` of a word, less `bias`, without a conversion, which takes four times as long. */
static __device__ __forceinline__ float byte_of(uint32_t word, int index, float bias)
{
    return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7540u | (uint32_t)index)) -
           (8388608.0f + bias);
}

static __device__ __forceinline__ float low_half(uint32_t pair)
{
    return __low2float(as_halves(pair));
}

static __device__ __forceinline__ float high_half(uint32_t pair)
{
    return __high2float(as_halves(pair));
}

/* ---- x ---- */

#define LOW_STEPS 256 /* of the rest, in one step of a byte */

/* In shared memory, for the columns that the block has: for each 32 of them, for each row its
 * values and, with low parts, what rounding lost, for each of four lanes eight. Of 16 bits they are
 * columns [8 t, 8 t + 8), as many bytes of a row of the file as a lane reads at once; of eight bits
 * [4 t, 4 t + 4) and the same behind 16, since that is where they go in B. */
struct packed {
    unsigned char *values; /* [columns / 32][rows][1 or 2][4] of 16 bytes or 8 */
    float *scales;         /* [columns / 32][rows]; with SCALED alone */
    float *sums;           /* the same, of the row's values; with HAS_MIN alone */
};

template <int TYPE> struct lane_values {
    typedef typename std::conditional<form<TYPE>::in_file, uint4, uint2>::type type;
};

/* ---- a stage ---- */

/* Bytes from a stage to the next of the same tile. */
template <int TYPE> struct stride_of {
    static constexpr uint32_t bytes = form<TYPE>::in_file ? 128 : form<TYPE>::bytes;
};

/* A stage's bytes on their way into `to`. */
template <int TYPE>
static __device__ __forceinline__ void fetch(uint32_t to, const unsigned char *from,
                                             uint32_t columns, uint64_t policy)
{
    typedef form<TYPE> f;
    const uint32_t lane = threadIdx.x % WARP;
    if constexpr (f::in_file) {
        /* Rows of odd number have their halves swapped: eight lanes then meet all banks. */
        to += lane / 8 * 128 + (lane % 8 ^ (lane / 8 % 2 * 4)) * 16;
        size_t four_rows = (size_t)columns * 8;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            copy_16(to + i * 4 * 128, from + i * four_rows, policy);
        }
    } else {
        to += lane * 16;
#pragma unroll
        for (uint32_t i = 0; i < (f::bytes / 16 + WARP - 1) / WARP; i++) {
            if ((i + 1) * WARP <= f::bytes / 16 || lane + i * WARP < f::bytes / 16) {
                copy_16(to + i * 512, from + i * 512, policy);
            }
        }
    }
}

/* What a lane has of x's rows: of 32 columns. Scales are its own sums' rows'. */
template <typename WORK> struct columns_of {
    typename lane_values<WORK::type>::type values[WORK::groups];
    float scale[WORK::groups][WORK::lane_rows];
    float sum[WORK::groups][WORK::lane_rows];
};

template <typename WORK>
static __device__ __forceinline__ void take(const packed &x, uint32_t rows, uint32_t block,
                                            columns_of<WORK> &out)
{
    typedef typename lane_values<WORK::type>::type values;
    typedef form<WORK::type> f;
    const uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const uint32_t columns = WORK::row_columns * rows;
#pragma unroll
    for (uint32_t i = 0; i < WORK::groups; i++) {
        /* Columns of B that no row is for: another's, since nothing reads what they give. */
        uint32_t column = min(8 * i + g, columns - 1);
        out.values[i] = ((const values *)x.values)[(block * columns + column) * 4 + t];
#pragma unroll
        for (uint32_t j = 0; j < WORK::lane_rows; j++) {
            uint32_t row = min(WORK::group_rows * i + WORK::lane_rows * t + j, rows - 1);
            if constexpr (f::scaled) {
                out.scale[i][j] = x.scales[block * rows + row];
            }
            if constexpr (f::has_min) {
                out.sum[i][j] = x.sums[block * rows + row];
            }
        }
    }
}

/* Sums of a lane: of rows g and g + 8 of the tile, with row 4 i + t of x, or with rows 8 i + 2 t
 * and the next where they have no low parts. */
template <typename WORK> struct sums_of {
    float c[WORK::groups][4]; /* of mma, of weights without scales of blocks */
    float y[WORK::groups][2][WORK::lane_rows];
};

/* 32 columns of halves: `a` row g's, `b` row g + 8's. */
template <typename WORK>
static __device__ __forceinline__ void add_halves(sums_of<WORK> &s, const columns_of<WORK> &x,
                                                  const uint4 &a, const uint4 &b)
{
#pragma unroll
    for (int i = 0; i < WORK::groups; i++) {
        const uint4 v = x.values[i];
        float c[4] = {0};
        multiply_32<false>(c, a, b, v);
#pragma unroll
        for (int half = 0; half < 2; half++) {
#pragma unroll
            for (uint32_t j = 0; j < WORK::lane_rows; j++) {
                float whole = WORK::low ? c[2 * half] + c[2 * half + 1] : c[2 * half + j];
                s.y[i][half][j] += x.scale[i][j] * whole;
            }
        }
    }
}

/* A row's sum of bytes: with low parts, x's values in steps of a byte and what that lost. */
template <typename WORK>
static __device__ __forceinline__ float whole_of(const int pair[2], uint32_t j)
{
    return WORK::low ? (float)(pair[0] * LOW_STEPS + pair[1]) : (float)pair[j];
}

/* 32 columns of bytes: `a` as multiply_bytes takes them, `scale` and `min` of rows g and g + 8. */
template <typename WORK>
static __device__ __forceinline__ void add_block(sums_of<WORK> &s, const columns_of<WORK> &x,
                                                 const uint32_t a[4], const float scale[2],
                                                 const float min[2])
{
#pragma unroll
    for (int i = 0; i < WORK::groups; i++) {
        int c[4] = {0};
        multiply_bytes(c, a, x.values[i]);
#pragma unroll
        for (int half = 0; half < 2; half++) {
#pragma unroll
            for (uint32_t j = 0; j < WORK::lane_rows; j++) {
                float &y = s.y[i][half][j];
                y += scale[half] * x.scale[i][j] * whole_of<WORK>(c + 2 * half, j);
                if constexpr (form<WORK::type>::has_min) {
                    y += min[half] * x.sum[i][j];
                }
            }
        }
    }
}

/* Scales and minima of Q4_K's and Q5_K's eight blocks, as bytes in order. */
struct k_scales {
    uint32_t scale[2];
    uint32_t min[2];
    float d, dmin;
};

static __device__ __forceinline__ k_scales k_scales_of(const unsigned char *at)
{
    uint4 raw = *(const uint4 *)at;
    k_scales s;
    s.d = low_half(raw.x);
    s.dmin = -high_half(raw.x);
    s.scale[0] = raw.y & 0x3f3f3f3fu;
    s.min[0] = raw.z & 0x3f3f3f3fu;
    s.scale[1] = (raw.w & 0x0f0f0f0fu) | ((raw.y >> 2) & 0x30303030u);
    s.min[1] = ((raw.w >> 4) & 0x0f0f0f0fu) | ((raw.z >> 2) & 0x30303030u);
    return s;
}

template <typename WORK>
static __device__ __forceinline__ void add_plain(sums_of<WORK> &s, const unsigned char *at,
                                                 const packed &x, uint32_t rows, uint32_t block)
{
    const uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        const unsigned char *row = at + g * 128 + ((half * 4 + t) ^ (g % 2 * 4)) * 16;
        uint4 a = *(const uint4 *)row, b = *(const uint4 *)(row + 8 * 128);
        columns_of<WORK> c;
        take<WORK>(x, rows, block + half, c);
        if constexpr (form<WORK::type>::scaled) {
            add_halves<WORK>(s, c, a, b);
        } else {
#pragma unroll
            for (int i = 0; i < WORK::groups; i++) {
                multiply_32<true>(s.c[i], a, b, c.values[i]);
            }
        }
    }
}

template <typename WORK>
static __device__ __forceinline__ void add_blocks_of_32(sums_of<WORK> &s, const unsigned char *at,
                                                        const packed &x, uint32_t rows,
                                                        uint32_t block)
{
    constexpr int TYPE = WORK::type;
    const uint32_t lane = threadIdx.x % WARP, g = lane / 4;
    const uint32_t planes = TYPE == GGML_TYPE_Q8_0 ? 1024 : 512;
    uint32_t d[2], m[2] = {0};
    if constexpr (TYPE == GGML_TYPE_Q4_1) {
        uint2 low = *(const uint2 *)(at + planes + g * 8);
        uint2 high = *(const uint2 *)(at + planes + (g + 8) * 8);
        d[0] = low.x, m[0] = low.y, d[1] = high.x, m[1] = high.y;
    } else {
        d[0] = *(const uint32_t *)(at + planes + g * 4);
        d[1] = *(const uint32_t *)(at + planes + (g + 8) * 4);
    }
    uint4 first = *(const uint4 *)(at + lane * 16);
    uint4 second = first;
    if constexpr (TYPE == GGML_TYPE_Q8_0) {
        second = *(const uint4 *)(at + 512 + lane * 16);
    }
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t a[4];
        if constexpr (TYPE == GGML_TYPE_Q8_0) {
            const uint4 &w = i == 0 ? first : second;
            a[0] = w.x, a[1] = w.y, a[2] = w.z, a[3] = w.w;
        } else {
            unpack_4(i == 0 ? first.x : first.z, a[0], a[2]);
            unpack_4(i == 0 ? first.y : first.w, a[1], a[3]);
        }
        const float scale[2] = {i == 0 ? low_half(d[0]) : high_half(d[0]),
                                i == 0 ? low_half(d[1]) : high_half(d[1])};
        float min[2] = {-8.0f * scale[0], -8.0f * scale[1]};
        if constexpr (TYPE == GGML_TYPE_Q4_1) {
            min[0] = i == 0 ? low_half(m[0]) : high_half(m[0]);
            min[1] = i == 0 ? low_half(m[1]) : high_half(m[1]);
        }
        columns_of<WORK> c;
        take<WORK>(x, rows, block + i, c);
        add_block<WORK>(s, c, a, scale, min);
    }
}

static __device__ __forceinline__ uint32_t word_of(const uint4 &v, int i)
{
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/* What a lane has of a stage beside the numbers' lower four bits. */
struct k_stage {
    k_scales scales[2]; /* of rows g and g + 8 */
    uint4 fifth;        /* bits of Q5_K */
};

/* Q4_K and Q5_K: four planes of two blocks each; the fifth bits of two blocks are a word. */
template <typename WORK, int PLANE>
static __device__ __forceinline__ void add_k_plane(sums_of<WORK> &s, const unsigned char *at,
                                                   const k_stage &k, const packed &x, uint32_t rows,
                                                   uint32_t block)
{
    uint4 w = *(const uint4 *)(at + PLANE * 512 + threadIdx.x % WARP * 16);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t low = i == 0 ? w.x : w.z, high = i == 0 ? w.y : w.w;
        uint32_t a[4];
        if constexpr (WORK::type == GGML_TYPE_Q5_K) {
            uint32_t bits = word_of(k.fifth, PLANE);
            if (i == 0) {
                unpack_5<0>(low, bits, a[0], a[2]);
                unpack_5<2>(high, bits, a[1], a[3]);
            } else {
                unpack_5<4>(low, bits, a[0], a[2]);
                unpack_5<6>(high, bits, a[1], a[3]);
            }
        } else {
            unpack_4(low, a[0], a[2]);
            unpack_4(high, a[1], a[3]);
        }
        const int index = 2 * PLANE + i;
        float scale[2], min[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            scale[r] = k.scales[r].d * byte_of(k.scales[r].scale[index / 4], index % 4, 0);
            min[r] = k.scales[r].dmin * byte_of(k.scales[r].min[index / 4], index % 4, 0);
        }
        columns_of<WORK> c;
        take<WORK>(x, rows, block + index, c);
        add_block<WORK>(s, c, a, scale, min);
    }
}

template <typename WORK>
static __device__ __forceinline__ void add_k(sums_of<WORK> &s, const unsigned char *at,
                                             const packed &x, uint32_t rows, uint32_t block)
{
    const uint32_t lane = threadIdx.x % WARP, g = lane / 4;
    const uint32_t planes = WORK::type == GGML_TYPE_Q5_K ? 2560 : 2048;
    k_stage k = {{k_scales_of(at + planes + g * 16), k_scales_of(at + planes + (g + 8) * 16)},
                 make_uint4(0, 0, 0, 0)};
    if constexpr (WORK::type == GGML_TYPE_Q5_K) {
        k.fifth = *(const uint4 *)(at + 2048 + lane * 16);
    }
    add_k_plane<WORK, 0>(s, at, k, x, rows, block);
    add_k_plane<WORK, 1>(s, at, k, x, rows, block);
    add_k_plane<WORK, 2>(s, at, k, x, rows, block);
    add_k_plane<WORK, 3>(s, at, k, x, rows, block);
}

/* A block of Q6_K, whose halves have scales [row of the tile][half] of their own. */
template <typename WORK>
static __device__ __forceinline__ void add_halved_block(sums_of<WORK> &s, const columns_of<WORK> &x,
                                                        const uint32_t a[4],
                                                        const float scale[2][2])
{
#pragma unroll
    for (uint32_t i = 0; i < WORK::groups; i++) {
        int p[4] = {0}, q[4] = {0};
        multiply_half(p, a[0], a[1], x.values[i].x);
        multiply_half(q, a[2], a[3], x.values[i].y);
#pragma unroll
        for (int r = 0; r < 2; r++) {
#pragma unroll
            for (uint32_t j = 0; j < WORK::lane_rows; j++) {
                s.y[i][r][j] += x.scale[i][j] * (scale[r][0] * whole_of<WORK>(p + 2 * r, j) +
                                                 scale[r][1] * whole_of<WORK>(q + 2 * r, j));
            }
        }
    }
}

/* Q6_K: four planes of two blocks each, then two of their upper bits, a word a block; a scale for
 * each 16 columns, that is, for each of a block's two multiplications. */
template <typename WORK>
static __device__ __forceinline__ void add_q6_k(sums_of<WORK> &s, const unsigned char *at,
                                                const packed &x, uint32_t rows, uint32_t block)
{
    const uint32_t lane = threadIdx.x % WARP, g = lane / 4;
    const unsigned char *scales_at = at + 3072;
    uint4 scales[2] = {*(const uint4 *)(scales_at + g * 16),
                       *(const uint4 *)(scales_at + (g + 8) * 16)};
    const float d[2] = {__half2float(*(const __half *)(scales_at + 256 + g * 2)),
                        __half2float(*(const __half *)(scales_at + 256 + (g + 8) * 2))};
#pragma unroll
    for (int index = 0; index < 8; index++) {
        uint2 w = *(const uint2 *)(at + index / 2 * 512 + lane * 16 + index % 2 * 8);
        uint32_t bits =
            *(const uint32_t *)(at + 2048 + index / 4 * 512 + lane * 16 + index % 4 * 4);
        uint32_t a[4];
        unpack_6<0>(w.x, bits, a[0], a[2]);
        unpack_6<4>(w.y, bits, a[1], a[3]);
        columns_of<WORK> c;
        take<WORK>(x, rows, block + index, c);
        float scale[2][2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t word = word_of(scales[r], index / 2);
            scale[r][0] = d[r] * byte_of(word, index % 2 * 2, 128.0f);
            scale[r][1] = d[r] * byte_of(word, index % 2 * 2 + 1, 128.0f);
        }
        add_halved_block<WORK>(s, c, a, scale);
    }
}

template <typename WORK>
static __device__ __forceinline__ void add_stage(sums_of<WORK> &s, const unsigned char *at,
                                                 const packed &x, uint32_t rows, uint32_t block)
{
    if constexpr (form<WORK::type>::in_file) {
        add_plain<WORK>(s, at, x, rows, block);
    } else if constexpr (WORK::type == GGML_TYPE_Q6_K) {
        add_q6_k<WORK>(s, at, x, rows, block);
    } else if constexpr (form<WORK::type>::columns == 256) {
        add_k<WORK>(s, at, x, rows, block);
    } else {
        add_blocks_of_32<WORK>(s, at, x, rows, block);
    }
}

/* ---- where a lane's sums are ---- */

/* Of a tile's [lane_sums][WARP]. */
template <typename WORK> struct sum_place {
    uint32_t in_tile; /* the row of weights */
    uint32_t row;     /* of x; there may be none */
    __device__ __forceinline__ sum_place(uint32_t at)
    {
        const uint32_t lane = at % WARP, sum = at / WARP, j = sum % WORK::lane_rows;
        in_tile = lane / 4 + 8 * (sum / WORK::lane_rows % 2);
        row = WORK::group_rows * (sum / (2 * WORK::lane_rows)) + WORK::lane_rows * (lane % 4) + j;
    }
};

/* Sum `at` of a lane. */
template <typename WORK>
static __device__ __forceinline__ float lane_sum(const sums_of<WORK> &s, uint32_t at)
{
    const uint32_t i = at / (2 * WORK::lane_rows), half = at / WORK::lane_rows % 2,
                   j = at % WORK::lane_rows;
    if constexpr (form<WORK::type>::scaled) {
        return s.y[i][half][j];
    } else {
        return WORK::low ? s.c[i][2 * half] + s.c[i][2 * half + 1] : s.c[i][2 * half + j];
    }
}

#endif
