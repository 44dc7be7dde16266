/* What the kernels of products (cuda_products_cuda.cu, cuda_shares_cuda.cu) have in common: x's way
 * into shared memory, the weights', and what becomes of sums. For CUDA sources. */
#ifndef DW_KERNELS_CUDA_PRODUCT_BLOCK_INC_H
#define DW_KERNELS_CUDA_PRODUCT_BLOCK_INC_H

#include "kernels/cuda_product_launch.inc.h"
#include "kernels/cuda_product_stage.inc.h"

#define WARPS 8u
#define THREADS (WARP * WARPS)
#define TABLES DW_CUDA_PRODUCT_TABLES
#define SQUARES 32u /* parts of the sum of a row's squares, each of eight threads */

/* ---- x, packed for B ---- */

/* Two values as 16 bits each, and what that lost. */
template <bool BF16>
static __device__ __forceinline__ void split(float a, float b, uint32_t &high, uint32_t &low)
{
    if constexpr (BF16) {
        __nv_bfloat162 h = __floats2bfloat162_rn(a, b);
        __nv_bfloat162 l = __floats2bfloat162_rn(a - __low2float(h), b - __high2float(h));
        memcpy(&high, &h, sizeof high);
        memcpy(&low, &l, sizeof low);
    } else {
        __half2 h = __floats2half2_rn(a, b);
        high = as_bits(h);
        low = as_bits(__floats2half2_rn(a - __low2float(h), b - __high2float(h)));
    }
}

/* The power of two that brings values of at most `largest` below 2^15, as a half may be 65,504. */
static __device__ __forceinline__ float power_for(float largest, float &inverse)
{
    uint32_t exponent = __float_as_uint(largest) >> 23;
    exponent = exponent < 64 ? 64 : exponent; /* NaN and infinity stay what they are */
    inverse = __uint_as_float((254 - (exponent - 14)) << 23);
    return __uint_as_float((exponent - 14) << 23);
}

/* Four values in steps of a byte, and what that lost in steps of 1 / LOW_STEPS. */
static __device__ __forceinline__ void split_bytes(const float v[4], uint32_t &high, uint32_t &low)
{
    high = low = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float whole = rintf(v[i]);
        float rest = fminf(rintf((v[i] - whole) * LOW_STEPS), 127.0f);
        high |= ((uint32_t)(int)whole & 0xffu) << (8 * i);
        low |= ((uint32_t)(int)rest & 0xffu) << (8 * i);
    }
}

template <int TYPE>
static __device__ __forceinline__ uint32_t lane_column(uint32_t chunk, uint32_t half)
{
    uint32_t t = chunk % 4, first = chunk / 4 * BLOCK;
    return form<TYPE>::in_file ? first + 8 * t + 4 * half : first + 4 * t + 16 * half;
}

/* The largest of a block's 32 values without their signs, and their sum. */
static __device__ __forceinline__ float largest_of(const float v[8], float &sum)
{
    float largest = 0.0f;
    sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        largest = fabsf(v[i]) > largest || v[i] != v[i] ? fabsf(v[i]) : largest;
        sum += v[i];
    }
#pragma unroll
    for (int d = 1; d < 4; d *= 2) {
        float other = __shfl_xor_sync(0xffffffffu, largest, d);
        largest = other > largest || other != other ? other : largest;
        sum += __shfl_xor_sync(0xffffffffu, sum, d);
    }
    return largest;
}

/* Eight of a row's columns to their place, of which `chunk` counts those that the block has; `v`
 * are zero where there are none. */
template <typename WORK>
static __device__ __forceinline__ void pack_chunk(const packed &to, uint32_t chunk, uint32_t row,
                                                  uint32_t rows, float v[8], bool there)
{
    typedef form<WORK::type> f;
    typedef typename lane_values<WORK::type>::type values;
    float scale = 1.0f, inverse = 1.0f, sum = 0.0f;
    if constexpr (f::scaled) {
        float largest = largest_of(v, sum);
        if constexpr (f::in_file) {
            scale = power_for(largest, inverse);
        } else { /* a step of what is joined */
            scale = largest * (1.0f / (127.0f * (WORK::low ? LOW_STEPS : 1)));
            inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
        }
    }
    if (!there) {
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        v[i] *= inverse;
    }
    values high, low;
    if constexpr (f::in_file) {
        split<WORK::type == GGML_TYPE_BF16>(v[0], v[1], high.x, low.x);
        split<WORK::type == GGML_TYPE_BF16>(v[2], v[3], high.y, low.y);
        split<WORK::type == GGML_TYPE_BF16>(v[4], v[5], high.z, low.z);
        split<WORK::type == GGML_TYPE_BF16>(v[6], v[7], high.w, low.w);
    } else {
        split_bytes(v, high.x, low.x);
        split_bytes(v + 4, high.y, low.y);
    }
    const uint32_t block = chunk / 4;
    values *place =
        (values *)to.values + (block * rows + row) * (4 * WORK::row_columns) + chunk % 4;
    place[0] = high;
    if constexpr (WORK::low) {
        place[4] = low;
    }
    if (f::scaled && chunk % 4 == 0) {
        to.scales[block * rows + row] = scale;
        if (f::has_min) {
            to.sums[block * rows + row] = sum;
        }
    }
}

static __device__ __forceinline__ float4 read_4(const float *from)
{
    return *(const float4 *)from;
}

/* A chunk's eight columns. */
template <int TYPE>
static __device__ __forceinline__ void read_chunk(const float *from, uint32_t chunk, float v[8])
{
    float4 p = read_4(from + lane_column<TYPE>(chunk, 0));
    float4 q = read_4(from + lane_column<TYPE>(chunk, 1));
    v[0] = p.x, v[1] = p.y, v[2] = p.z, v[3] = p.w;
    v[4] = q.x, v[5] = q.y, v[6] = q.z, v[7] = q.w;
}

/* A thread's part of a row's sum of squares, over the eight threads that are one of the row's
 * SQUARES: which columns these have is the same in all kernels, so that the bits are. */
static __device__ __forceinline__ float eighth_sum(float value)
{
#pragma unroll
    for (int d = 1; d < 8; d *= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, d);
    }
    return value;
}

/* What x's row is multiplied with to be normed: of `squares` [SQUARES][rows]. */
static __device__ __forceinline__ float factor_of(const product_args &a, const float *squares,
                                                  uint32_t row)
{
    if (a.norm == NULL || row >= a.rows) {
        return 1.0f;
    }
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (uint32_t i = 0; i < SQUARES; i++) {
        sums[i % 4] += squares[i * a.rows + row];
    }
    float square = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    return rsqrtf(square / (float)a.columns + a.epsilon);
}

/* ---- the weights' way ---- */

/* What a warp goes through: stages of tiles, of one or both matrices of a gated product. */
struct place {
    const unsigned char *from; /* the lane's bytes of the next stage */
    uint32_t tile;
    uint32_t part; /* matrix of a gated product */
    uint32_t left; /* stages of this tile and part */
};

/* A warp's: every WARPS-th stage, from its first on, of `rounds` tiles that are `step` apart, and
 * then of one more. There are `end` in all: what is not before that is none. */
struct weight_ring {
    const unsigned char *ring; /* in shared memory */
    uint32_t bytes;
    uint32_t filled, taken; /* where its next are, in bytes */
    uint32_t first_stage;
    uint32_t stages; /* of each tile and part */
    uint32_t parts;  /* 2: gated */
    uint32_t rounds; /* from the next to be fetched on */
    uint32_t step, rest, end;
    place ahead; /* the next stage to be fetched */
    uint64_t policy;
};

/* Which matrix a tile is of, and its number there. */
static __device__ __forceinline__ uint32_t table_of(const product_args &a, uint32_t part,
                                                    uint32_t &tile)
{
    if (a.activation != DW_CUDA_LINEAR) {
        return part;
    }
    uint32_t table = 0;
    if (tile >= a.tiles[0]) {
        tile -= a.tiles[0];
        table = 1;
        if (tile >= a.tiles[1]) {
            tile -= a.tiles[1];
            table = 2;
        }
    }
    return table;
}

/* The lane's first bytes of a tile and part. */
template <int TYPE>
static __device__ __forceinline__ void find_source(const product_args &a, weight_ring &r)
{
    typedef form<TYPE> f;
    uint32_t tile = r.ahead.tile;
    const uint32_t table = table_of(a, r.ahead.part, tile);
    const unsigned char *weights = table == 0   ? a.weights[0]
                                   : table == 1 ? a.weights[1]
                                                : a.weights[2];
    const uint32_t lane = threadIdx.x % WARP;
    if constexpr (f::in_file) {
        r.ahead.from = weights + (size_t)(tile * ROWS + lane / 8) * (a.columns * 2) +
                       r.first_stage * 128 + lane % 8 * 16;
    } else {
        r.ahead.from = weights + (size_t)tile * (a.columns / f::columns * f::bytes) +
                       r.first_stage * f::bytes + lane * 16;
    }
    r.ahead.left = r.stages;
}

/* `ring` is the warp's; it begins with `tile`, where it has stages. */
template <int TYPE>
static __device__ __forceinline__ void begin_ring(const product_args &a, weight_ring &r,
                                                  const unsigned char *ring, uint32_t tile)
{
    r.ring = ring;
    r.bytes = ring_of<TYPE>::bytes(a.ring);
    r.filled = r.taken = 0;
    r.parts = a.activation != DW_CUDA_LINEAR ? 2 : 1;
    r.policy = read_once_policy();
    r.ahead.tile = r.stages > 0 ? tile : r.end;
    r.ahead.part = 0;
    find_source<TYPE>(a, r);
}

static __device__ __forceinline__ void next_tile(weight_ring &r)
{
    r.ahead.tile = r.rounds > 1 ? r.ahead.tile + r.step : r.rounds == 1 ? r.rest : r.end;
    r.rounds--;
}

template <int TYPE>
static __device__ __forceinline__ void fetch_next(const product_args &a, weight_ring &r)
{
    typedef form<TYPE> f;
    if (r.ahead.tile < r.end) {
        fetch<TYPE>(shared_address(r.ring) + r.filled, r.ahead.from, a.columns, r.policy);
        r.filled = r.filled + f::bytes == r.bytes ? 0 : r.filled + f::bytes;
        r.ahead.from += WARPS * stride_of<TYPE>::bytes;
        if (--r.ahead.left == 0) {
            if (++r.ahead.part == r.parts) {
                r.ahead.part = 0;
                next_tile(r);
            }
            find_source<TYPE>(a, r); /* behind the last it is not read from */
        }
    }
    end_copy(); /* an empty group where nothing is left: groups are counted */
}

/* Before the kernel in front has ended, and the rest of the ring behind that. */
template <int TYPE>
static __device__ __forceinline__ void fetch_first(const product_args &a, weight_ring &r)
{
#pragma unroll 1
    for (int i = 0; i < ring_of<TYPE>::first; i++) {
        fetch_next<TYPE>(a, r);
    }
}

template <int TYPE>
static __device__ __forceinline__ void fetch_rest(const product_args &a, weight_ring &r)
{
#pragma unroll 1
    for (uint32_t at = ring_of<TYPE>::first * form<TYPE>::bytes; at < r.bytes;
         at += form<TYPE>::bytes) {
        fetch_next<TYPE>(a, r);
    }
}

/* Stages of a warp that follow one another: x's columns of the first begin with `block`, and those
 * of the next are `step` blocks further on. */
struct stage_range {
    uint32_t count, block, step;
};

template <typename WORK>
static __device__ __forceinline__ void add_stages(const product_args &a, weight_ring &r,
                                                  const packed &x, stage_range range,
                                                  sums_of<WORK> &s)
{
    typedef form<WORK::type> f;
#pragma unroll 1
    for (uint32_t i = 0; i < range.count; i++) {
        wait_stage<WORK::type>(a.ring);
        __syncwarp();
        add_stage<WORK>(s, r.ring + r.taken, x, a.rows, range.block);
        __syncwarp(); /* all have read the slot, and used what they read */
        fetch_next<WORK::type>(a, r);
        r.taken = r.taken + f::bytes == r.bytes ? 0 : r.taken + f::bytes;
        range.block += range.step;
    }
}

/* ---- what becomes of sums ---- */

static __device__ __forceinline__ float activated(float gate, uint32_t activation)
{
    if (activation == DW_CUDA_SILU) {
        return __fdividef(gate, 1.0f + __expf(-gate));
    }
    const float root = 0.79788456080286535587989211986876f; /* of 2 / pi */
    return 0.5f * gate * (1.0f + tanhf(root * gate * (1.0f + 0.044715f * gate * gate)));
}

/* Where a sum is of: a row of a tile of weights with a row of x. */
struct sum_of {
    uint32_t tile, in_tile, row;
};

static __device__ __forceinline__ size_t y_place(const product_args &a, const sum_of &of)
{
    return (size_t)of.row * a.y_length + of.tile * ROWS + of.in_tile;
}

/* What is added to it, if anything: read before it is wanted. */
static __device__ __forceinline__ float read_added(const product_args &a, const sum_of &of)
{
    return a.residual != NULL ? a.residual[y_place(a, of)] : 0.0f;
}

/* Sums [part], over the whole row of weights, of x normed by `factor`. */
static __device__ __forceinline__ void finish_row(const product_args &a, const sum_of &of,
                                                  const float sums[2], float factor, float added)
{
    uint32_t tile = of.tile;
    const uint32_t table = table_of(a, 0, tile);
    const float *bias = table == 0 ? a.bias[0] : table == 1 ? a.bias[1] : a.bias[2];
    float value = sums[0] * factor;
    if (bias != NULL) {
        value += bias[tile * ROWS + of.in_tile];
    }
    if (a.activation != DW_CUDA_LINEAR) {
        float up = sums[1] * factor;
        if (a.bias[1] != NULL) {
            up += a.bias[1][of.tile * ROWS + of.in_tile];
        }
        value = activated(value, a.activation) * up;
    }
    a.y[y_place(a, of)] = a.residual != NULL ? value + added : value;
}

static __host__ __device__ __forceinline__ size_t rounded_16(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

/* Bytes of x in shared memory. */
struct packed_sizes {
    size_t values, scales, sums;
};

template <typename WORK>
static __host__ __device__ __forceinline__ packed_sizes packed_bytes(uint32_t columns,
                                                                     uint32_t rows)
{
    typedef form<WORK::type> f;
    const size_t blocks = columns / BLOCK;
    packed_sizes s;
    s.values = blocks * WORK::row_columns * rows * (f::in_file ? 64 : 32);
    s.scales = f::scaled ? rounded_16(blocks * rows * 4) : 0;
    s.sums = f::has_min ? rounded_16(blocks * rows * 4) : 0;
    return s;
}

#endif
