/* Products of a few rows with matrices of weights on CUDA devices: what decoding is made of.
 *
 * A block takes tiles of 16 rows of weights; its warps share the columns of a tile out among
 * themselves, a stage at a time, and their sums meet in shared memory. Each warp has a ring of
 * stages of its own, filled by asynchronous copies: nobody waits for anybody but at a tile's end.
 * With dependent launch (Hopper and newer) its filling begins before the kernel in front has ended,
 * since weights do not depend on it: only then are the rows read, normed and packed.
 *
 * Tensor cores multiply also for one row. The weights are the A operand; a row of x is two columns
 * of B, its values rounded and what that lost, rounded again, so that next to nothing is lost: of
 * 16 bits each with BF16 and F16, of eight bits and a scale for each 32 columns with quantised
 * weights, which go in as the whole numbers that they are. Each of their blocks has its sums to
 * itself, which its scale is applied to. A row's sums are added in an order that does not depend on
 * how many rows there are, nor on the launch. */
#include <ggml-backend.h>

extern "C" {
#include "kernels/cuda_launch.h"
}
#include "kernels/cuda_hopper.inc.h"
#include "kernels/cuda_product_stage.inc.h"

#define WARPS 8
#define THREADS (WARP * WARPS)
#define TABLES DW_CUDA_PRODUCT_TABLES
#define CLUSTER_MAX 8u
#define BLOCK_RESERVE 1024u                 /* of shared memory, the driver's */
#define BLOCK_COLUMNS 4096u                 /* of a block of a cluster, at most */
#define SUMS(groups) (ROWS * 4u * (groups)) /* of a tile with all rows of x that there may be */

static_assert(sizeof(dw_cuda_product_params) <= DW_CUDA_PARAM_BYTES, "kept with the node");

struct product_args {
    const float *x;    /* [rows][columns] */
    const float *norm; /* [columns]; NULL: x is not normed */
    const unsigned char *weights[TABLES];
    const float *bias[TABLES]; /* NULL: none */
    const float *residual;     /* as y; NULL: none */
    float *y;                  /* [rows][y_length] */
    uint32_t tiles[TABLES];    /* of 16 rows */
    uint32_t columns;
    uint32_t y_length;
    uint32_t rows; /* of x */
    uint32_t tile_count;
    uint32_t block_stages; /* of a tile's, that a block of its cluster takes */
    float epsilon;
    uint32_t activation; /* dw_cuda_activation */
};

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

/* Eight of a row's columns to their place; `v` are zero where there are none. */
template <int TYPE>
static __device__ __forceinline__ void pack_chunk(const product_args &a, const packed &to,
                                                  uint32_t chunk, uint32_t row, float v[8],
                                                  bool there)
{
    typedef form<TYPE> f;
    typedef typename lane_values<TYPE>::type values;
    float scale = 1.0f, inverse = 1.0f, sum = 0.0f;
    if constexpr (f::scaled) {
        float largest = largest_of(v, sum);
        if constexpr (f::in_file) {
            scale = power_for(largest, inverse);
        } else {
            scale = largest * (1.0f / (127.0f * LOW_STEPS)); /* a step of what is joined */
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
        split<TYPE == GGML_TYPE_BF16>(v[0], v[1], high.x, low.x);
        split<TYPE == GGML_TYPE_BF16>(v[2], v[3], high.y, low.y);
        split<TYPE == GGML_TYPE_BF16>(v[4], v[5], high.z, low.z);
        split<TYPE == GGML_TYPE_BF16>(v[6], v[7], high.w, low.w);
    } else {
        split_bytes(v, high.x, low.x);
        split_bytes(v + 4, high.y, low.y);
    }
    uint32_t block = chunk / 4;
    values *place = (values *)to.values + (block * 2 * a.rows + 2 * row) * 4 + chunk % 4;
    place[0] = high;
    place[4] = low;
    if (f::scaled && chunk % 4 == 0) {
        to.scales[block * a.rows + row] = scale;
        if (f::has_min) {
            to.sums[block * a.rows + row] = sum;
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

#define AHEAD 2 /* chunks that a thread reads before it packs the first */

/* A thread's chunks of a row from chunk `at` on. */
struct chunks {
    float v[AHEAD][8];
};

/* Of a row of x, and of the weights that it is normed with. */
struct read_ahead {
    chunks x, norm;
};

template <int TYPE>
static __device__ __forceinline__ void read_chunks(const float *row, uint32_t at, uint32_t end,
                                                   chunks &out)
{
#pragma unroll
    for (uint32_t i = 0; i < AHEAD; i++) {
        uint32_t chunk = at + i * THREADS + threadIdx.x;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            out.v[i][j] = 0.0f;
        }
        if (chunk < end) {
            read_chunk<TYPE>(row, chunk, out.v[i]);
        }
    }
}

/* Chunks of x that a block reads: with a norm all, else its own. */
struct chunk_range {
    uint32_t first, end;         /* read */
    uint32_t own_first, own_end; /* packed */
};

static __device__ __forceinline__ float warp_sum(float value)
{
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, d);
    }
    return value;
}

/* Chunks from `at` on, times the norm's weights, to their place. Returns this thread's part of the
 * row's sum of squares. */
template <int TYPE>
static __device__ __forceinline__ float pack_chunks(const product_args &a, const packed &to,
                                                    const chunk_range &range, uint32_t at,
                                                    uint32_t row, read_ahead &ahead)
{
    float square = 0.0f;
#pragma unroll
    for (uint32_t i = 0; i < AHEAD; i++) {
        uint32_t chunk = at + i * THREADS + threadIdx.x;
        if (at + i * THREADS >= range.end) { /* the same for all threads */
            break;
        }
        if (a.norm != NULL) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                square += ahead.x.v[i][j] * ahead.x.v[i][j];
                ahead.x.v[i][j] *= ahead.norm.v[i][j];
            }
        }
        bool own = chunk >= range.own_first && chunk < range.own_end;
        pack_chunk<TYPE>(a, to, own ? chunk - range.own_first : 0, row, ahead.x.v[i], own);
    }
    return square;
}

/* All rows; `ahead` holds the first chunks. `squares` [WARPS][rows] get each warp's part of
 * the whole rows' sums of squares. */
template <int TYPE>
static __device__ __forceinline__ void pack(const product_args &a, const packed &to,
                                            const chunk_range &range, read_ahead &ahead,
                                            float *squares)
{
    const bool once = range.end - range.first <= AHEAD * THREADS;
#pragma unroll 1
    for (uint32_t row = 0; row < a.rows; row++) {
        float square = 0.0f;
#pragma unroll 1
        for (uint32_t at = range.first; at < range.end; at += AHEAD * THREADS) {
            if (row > 0 || at > range.first) {
                read_chunks<TYPE>(a.x + (size_t)row * a.columns, at, range.end, ahead.x);
                if (a.norm != NULL && !once) {
                    read_chunks<TYPE>(a.norm, at, range.end, ahead.norm);
                }
            }
            square += pack_chunks<TYPE>(a, to, range, at, row, ahead);
        }
        if (a.norm != NULL) {
            square = warp_sum(square);
            if (threadIdx.x % WARP == 0) {
                squares[threadIdx.x / WARP * a.rows + row] = square;
            }
        }
    }
}

/* ---- the way through ---- */

/* What a warp goes through: stages of tiles, of one or both matrices of a gated product. */
struct place {
    const unsigned char *from; /* the lane's bytes of the next stage */
    uint32_t tile;
    uint32_t part; /* matrix of a gated product */
    uint32_t left; /* stages of this tile and part */
};

/* What a block works with. */
struct block_state {
    packed x;
    unsigned char *ring;             /* the warp's */
    float *sent;                     /* [turn][cluster - 1][part][row of the tile][row of x] */
    float *squares;                  /* [warp][row of x] */
    float *partial;                  /* [turn][part][warp][row of the tile][row of x] */
    uint32_t parts;                  /* 2: gated */
    uint32_t first_stage, end_stage; /* of the block */
    uint32_t stages;                 /* of the warp, of each tile and part */
    place ahead;                     /* the next stage to be fetched */
    uint32_t filled, taken;          /* where the ring's next are, in bytes */
    float factor; /* that norms the row whose sums are this thread's in the end */
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
static __device__ __forceinline__ void find_source(const product_args &a, block_state &b)
{
    typedef form<TYPE> f;
    uint32_t tile = b.ahead.tile;
    const uint32_t table = table_of(a, b.ahead.part, tile);
    const unsigned char *weights = table == 0   ? a.weights[0]
                                   : table == 1 ? a.weights[1]
                                                : a.weights[2];
    const uint32_t stage = b.first_stage + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if constexpr (f::in_file) {
        b.ahead.from = weights + (size_t)(tile * ROWS + lane / 8) * (a.columns * 2) + stage * 128 +
                       lane % 8 * 16;
    } else {
        b.ahead.from = weights + (size_t)tile * (a.columns / f::columns * f::bytes) +
                       stage * f::bytes + lane * 16;
    }
    b.ahead.left = b.stages;
}

template <int TYPE>
static __device__ __forceinline__ void fetch_next(const product_args &a, block_state &b)
{
    typedef form<TYPE> f;
    if (b.ahead.tile < a.tile_count) {
        fetch<TYPE>(shared_address(b.ring) + b.filled, b.ahead.from, a.columns, b.policy);
        b.filled = b.filled + f::bytes == ring_of<TYPE>::bytes ? 0 : b.filled + f::bytes;
        b.ahead.from += WARPS * stride_of<TYPE>::bytes;
        if (--b.ahead.left == 0) {
            if (++b.ahead.part == b.parts) {
                b.ahead.part = 0;
                b.ahead.tile += gridDim.x;
            }
            find_source<TYPE>(a, b); /* behind the last it is not read from */
        }
    }
    end_copy(); /* an empty group where nothing is left: groups are counted */
}

static __device__ __forceinline__ float activated(float gate, uint32_t activation)
{
    if (activation == DW_CUDA_SILU) {
        return __fdividef(gate, 1.0f + __expf(-gate));
    }
    const float root = 0.79788456080286535587989211986876f; /* of 2 / pi */
    return 0.5f * gate * (1.0f + tanhf(root * gate * (1.0f + 0.044715f * gate * gate)));
}

/* One row of a tile with one row of x: sums [part], over the whole row of weights. */
static __device__ __forceinline__ void finish_row(const product_args &a, uint32_t tile_at,
                                                  uint32_t in_tile, uint32_t x_row,
                                                  const float sums[2], float factor)
{
    const uint32_t at = tile_at * ROWS + in_tile;
    uint32_t tile = tile_at;
    const uint32_t table = table_of(a, 0, tile);
    const float *bias = table == 0 ? a.bias[0] : table == 1 ? a.bias[1] : a.bias[2];
    float value = sums[0] * factor;
    if (bias != NULL) {
        value += bias[tile * ROWS + in_tile];
    }
    if (a.activation != DW_CUDA_LINEAR) {
        float up = sums[1] * factor;
        if (a.bias[1] != NULL) {
            up += a.bias[1][at];
        }
        value = activated(value, a.activation) * up;
    }
    const size_t to = (size_t)x_row * a.y_length + at;
    if (a.residual != NULL) {
        value += a.residual[to];
    }
    a.y[to] = value;
}

/* Shared memory: what the cluster's other blocks send to the first, rings, x, its scales and sums,
 * sums of squares, sums of two tiles. */
struct shared_sizes {
    size_t sent, ring, values, scales, sums, squares, partial;
};

static __host__ __device__ size_t rounded_16(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

/* `columns` are the most that a block of the cluster has. */
template <int TYPE, int GROUPS>
static __host__ __device__ __forceinline__ shared_sizes sizes_of(uint32_t columns, uint32_t rows,
                                                                 uint32_t cluster)
{
    typedef form<TYPE> f;
    const size_t blocks = columns / BLOCK;
    shared_sizes s;
    s.sent = (size_t)2 * 2 * (cluster - 1) * SUMS(GROUPS) * 4;
    s.ring = (size_t)WARPS * ring_of<TYPE>::bytes;
    s.values = blocks * 2 * rows * (f::in_file ? 64 : 32);
    s.scales = f::scaled ? rounded_16(blocks * rows * 4) : 0;
    s.sums = f::has_min ? rounded_16(blocks * rows * 4) : 0;
    s.squares = rounded_16(WARPS * rows * 4);
    s.partial = (size_t)2 * 2 * WARPS * SUMS(GROUPS) * 4;
    return s;
}

static __host__ __device__ size_t total_of(const shared_sizes &s)
{
    return s.sent + s.ring + s.values + s.scales + s.sums + s.squares + s.partial;
}

/* ---- a kernel ---- */

template <int TYPE, int GROUPS>
static __device__ __forceinline__ void begin_block(const product_args &a, block_state &b,
                                                   unsigned char *shared)
{
    typedef form<TYPE> f;
    const uint32_t all = a.columns / f::columns, warp = threadIdx.x / WARP;
    const shared_sizes sizes =
        sizes_of<TYPE, GROUPS>(a.block_stages * f::columns, a.rows, gridDim.y);
    b.parts = a.activation != DW_CUDA_LINEAR ? 2 : 1;
    b.first_stage = blockIdx.y * a.block_stages;
    b.end_stage = min(b.first_stage + a.block_stages, all);
    b.stages = b.end_stage > b.first_stage + warp
                   ? (b.end_stage - b.first_stage - warp + WARPS - 1) / WARPS
                   : 0;
    b.sent = (float *)shared;
    shared += sizes.sent;
    b.ring = shared + warp * ring_of<TYPE>::bytes;
    shared += sizes.ring;
    b.x.values = shared;
    b.x.scales = (float *)(shared + sizes.values);
    b.x.sums = (float *)(shared + sizes.values + sizes.scales);
    b.squares = (float *)(shared + sizes.values + sizes.scales + sizes.sums);
    b.partial = b.squares + sizes.squares / sizeof(float);
    b.filled = b.taken = 0;
    b.policy = read_once_policy();
    b.ahead.tile = b.stages > 0 ? blockIdx.x : a.tile_count;
    b.ahead.part = 0;
    find_source<TYPE>(a, b);
}

/* A warp's stages of one tile and part; its sums to `own` [row of the tile][row of x]. */
template <int TYPE, int GROUPS>
static __device__ __forceinline__ void add_stages(const product_args &a, block_state &b, float *own)
{
    typedef form<TYPE> f;
    sums_of<GROUPS> s = {};
    uint32_t block = threadIdx.x / WARP * (f::columns / BLOCK);
#pragma unroll 1
    for (uint32_t i = 0; i < b.stages; i++) {
        wait_copies<ring_of<TYPE>::stages - 1>();
        __syncwarp();
        add_stage<TYPE>(s, b.ring + b.taken, b.x, a.rows, block);
        __syncwarp(); /* all have read the slot, and used what they read */
        fetch_next<TYPE>(a, b);
        b.taken = b.taken + f::bytes == ring_of<TYPE>::bytes ? 0 : b.taken + f::bytes;
        block += WARPS * (f::columns / BLOCK);
    }
    const uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (uint32_t i = 0; i < GROUPS; i++) {
        if constexpr (!f::scaled) {
            s.y[i][0] = s.c[i][0] + s.c[i][1];
            s.y[i][1] = s.c[i][2] + s.c[i][3];
        }
        own[g * 4 * GROUPS + 4 * i + t] = s.y[i][0];
        own[(g + 8) * 4 * GROUPS + 4 * i + t] = s.y[i][1];
    }
}

/* What x's row is multiplied with to be normed. */
static __device__ __forceinline__ float factor_of(const product_args &a, const block_state &b,
                                                  uint32_t row)
{
    if (a.norm == NULL || row >= a.rows) {
        return 1.0f;
    }
    float square = 0.0f;
#pragma unroll
    for (uint32_t w = 0; w < WARPS; w++) {
        square += b.squares[w * a.rows + row];
    }
    return rsqrtf(square / (float)a.columns + a.epsilon);
}

/* A tile's sums over the warps, then over the cluster's blocks, and what becomes of them. */
template <int GROUPS>
static __device__ __forceinline__ void finish_tile(const product_args &a, const block_state &b,
                                                   uint32_t tile, uint32_t turn)
{
    constexpr uint32_t count = SUMS(GROUPS); /* at most THREADS: a thread has one */
    const uint32_t others = gridDim.y - 1, i = threadIdx.x, row = i % (4 * GROUPS);
    const float *partial = b.partial + turn * (2 * WARPS * count) + i;
    float *sent = b.sent + turn * 2 * others * count + i;
    const bool works = i < count && row < a.rows;
    float sums[2] = {0.0f, 0.0f};
    if (works) {
#pragma unroll
        for (uint32_t part = 0; part < 2; part++) {
            if (part < b.parts) {
#pragma unroll
                for (uint32_t w = 0; w < WARPS; w++) {
                    sums[part] += partial[(part * WARPS + w) * count];
                }
                if (blockIdx.y > 0) {
                    send_first(sent + ((blockIdx.y - 1) * 2 + part) * count, sums[part]);
                }
            }
        }
    }
    if (others > 0) {
        __syncwarp();
        if (i < count) { /* warps as a whole: what they sent, or have read */
            cluster_arrive();
        } else {
            cluster_arrive_bare();
        }
        cluster_wait();
    }
    if (!works || blockIdx.y > 0) {
        return;
    }
#pragma unroll 1
    for (uint32_t other = 0; other < others; other++) {
        sums[0] += sent[other * 2 * count];
        sums[1] += b.parts > 1 ? sent[(other * 2 + 1) * count] : 0.0f;
    }
    finish_row(a, tile, i / (4 * GROUPS), row, sums, b.factor);
}

/* The ring's first, then x, then all of the ring: its copies would stand in x's way. */
template <int TYPE>
static __device__ __forceinline__ void begin_copies(const product_args &a, block_state &b)
{
    const uint32_t chunk = form<TYPE>::columns / 8;
    chunk_range range;
    range.own_first = b.first_stage * chunk;
    range.own_end = b.end_stage * chunk;
    range.first = a.norm != NULL ? 0 : range.own_first;
    range.end = a.norm != NULL ? a.columns / 8 : range.own_end;
    read_ahead ahead;
    if (a.norm != NULL) {
        read_chunks<TYPE>(a.norm, range.first, range.end, ahead.norm);
    }
#pragma unroll 1
    for (int i = 0; i < ring_of<TYPE>::first; i++) {
        fetch_next<TYPE>(a, b);
    }
    wait_for_front();
    read_chunks<TYPE>(a.x, range.first, range.end, ahead.x);
#pragma unroll 1
    for (int i = ring_of<TYPE>::first; i < ring_of<TYPE>::stages; i++) {
        fetch_next<TYPE>(a, b);
    }
    pack<TYPE>(a, b.x, range, ahead, b.squares);
}

/* Blocks [x] share the tiles, [y] a tile's columns: those of one tile are a cluster. */
template <int TYPE, int GROUPS>
static __global__ void __launch_bounds__(THREADS, 2) product_kernel(const product_args a)
{
    extern __shared__ __align__(128) unsigned char shared[];
    block_state b;
    let_next_begin();
    begin_block<TYPE, GROUPS>(a, b, shared);
    if (gridDim.y > 1) {
        cluster_arrive_bare();
    }
    begin_copies<TYPE>(a, b);
    __syncthreads();
    b.factor = factor_of(a, b, threadIdx.x % (4 * GROUPS));
    if (gridDim.y > 1) {
        cluster_wait(); /* the first block runs: its memory can be written */
    }
    uint32_t turn = 0;
#pragma unroll 1
    for (uint32_t tile = blockIdx.x; tile < a.tile_count; tile += gridDim.x) {
        float *own = b.partial + (turn * 2 * WARPS + threadIdx.x / WARP) * SUMS(GROUPS);
#pragma unroll 1
        for (uint32_t part = 0; part < b.parts; part++) {
            add_stages<TYPE, GROUPS>(a, b, own + part * WARPS * SUMS(GROUPS));
        }
        __syncthreads();
        finish_tile<GROUPS>(a, b, tile, turn);
        turn ^= 1;
    }
}

/* ---- launches ---- */

/* What the devices here have in common: the least of each. */
struct device_summary {
    int major;
    int multiprocessors;
    size_t shared; /* bytes that a block may have */
    bool hopper;   /* this program has code for them that knows of clusters and early launches */
};

/* Whether a device runs code that was compiled for its own generation, and that is Hopper or newer.
 * What a driver makes of code for an older one does not know what cuda_hopper.inc.h asks for. */
static bool runs_hopper_code(int major, int minor)
{
    static const int compiled[] = {__CUDA_ARCH_LIST__};
    for (int architecture : compiled) {
        if (major >= 9 && architecture / 100 == major && architecture % 100 / 10 <= minor) {
            return true;
        }
    }
    return false;
}

static int attribute_of(cudaDeviceAttr attribute, int device)
{
    int value = 0;
    return cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess ? value : 0;
}

static device_summary find_devices(void)
{
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        count = 0;
    }
    device_summary found = {};
    for (int i = 0; i < count; i++) {
        int major = attribute_of(cudaDevAttrComputeCapabilityMajor, i);
        int minor = attribute_of(cudaDevAttrComputeCapabilityMinor, i);
        int processors = attribute_of(cudaDevAttrMultiProcessorCount, i);
        size_t shared = (size_t)attribute_of(cudaDevAttrMaxSharedMemoryPerBlockOptin, i);
        found.hopper = (i == 0 || found.hopper) && runs_hopper_code(major, minor);
        found.major = i == 0 || major < found.major ? major : found.major;
        found.shared = i == 0 || shared < found.shared ? shared : found.shared;
        found.multiprocessors =
            i == 0 || processors < found.multiprocessors ? processors : found.multiprocessors;
    }
    return found;
}

static const device_summary &devices_here(void)
{
    static const device_summary found = find_devices();
    return found;
}

template <int TYPE, int GROUPS>
static size_t shared_bytes(uint32_t columns, uint32_t rows, uint32_t cluster)
{
    typedef form<TYPE> f;
    uint32_t stages = (columns / f::columns + cluster - 1) / cluster;
    return total_of(sizes_of<TYPE, GROUPS>(stages * f::columns, rows, cluster));
}

/* Blocks that share a tile's columns: few enough columns each, and as many rows of x as may come
 * find room. The same for all numbers of rows, since a row's sums depend on it. 0: none will do. */
template <int TYPE> static uint32_t cluster_for(uint32_t columns)
{
    const uint32_t most = devices_here().hopper ? CLUSTER_MAX : 1;
    uint32_t cluster = 1;
    while (cluster < most && columns / cluster > BLOCK_COLUMNS) {
        cluster *= 2;
    }
    while (cluster <= most && shared_bytes<TYPE, DW_CUDA_PRODUCT_ROWS / 4>(
                                  columns, DW_CUDA_PRODUCT_ROWS, cluster) > devices_here().shared) {
        cluster *= 2;
    }
    return cluster <= most ? cluster : 0;
}

static bool launches_plain;

extern "C" void dw_cuda_products_set_plain(bool plain)
{
    launches_plain = plain;
}

extern "C" bool dw_cuda_dependent_launch(void)
{
    return devices_here().hopper && !launches_plain;
}

extern "C" bool dw_cuda_cluster_launch(void)
{
    return devices_here().hopper;
}

template <int TYPE, int GROUPS> static void launch(product_args a, cudaStream_t stream)
{
    auto kernel = product_kernel<TYPE, GROUPS>;
    const uint32_t cluster = cluster_for<TYPE>(a.columns);
    const size_t shared = shared_bytes<TYPE, GROUPS>(a.columns, a.rows, cluster);
    /* As many as run at once: the others would begin late, and those of the next kernel too. */
    const uint32_t per_processor = 2 * (shared + BLOCK_RESERVE) <= devices_here().shared ? 2 : 1;
    const uint32_t wanted = per_processor * (uint32_t)devices_here().multiprocessors / cluster;
    a.block_stages = (a.columns / form<TYPE>::columns + cluster - 1) / cluster;
    /* Always the same: it is the kernel's for all threads of the process that launch it. */
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         (int)devices_here().shared);
    launch_shape shape = {};
    shape.grid = dim3(a.tile_count < wanted ? a.tile_count : wanted, cluster);
    shape.block = dim3(THREADS);
    shape.cluster = dim3(1, cluster);
    shape.shared = shared;
    shape.dependent = true;
    launch_kernel(kernel, shape, stream, a);
}

extern "C" bool dw_cuda_product_served(int type, uint32_t columns, uint32_t rows)
{
    bool served = false;
    if (devices_here().major < 8) {
        return false;
    }
    with_type(type, [&](auto constant) {
        constexpr int TYPE = decltype(constant)::value;
        served = rows % ROWS == 0 && columns % form<TYPE>::columns == 0 &&
                 cluster_for<TYPE>(columns) > 0;
    });
    return served;
}

static const void *data_of(const struct ggml_tensor *tensor)
{
    return tensor != NULL ? tensor->data : NULL;
}

extern "C" void dw_cuda_launch_product(const struct ggml_tensor *node, void *stream)
{
    const dw_cuda_product_params *p = (const dw_cuda_product_params *)dw_cuda_node_params(node);
    const struct ggml_tensor *x = node->src[DW_CUDA_PRODUCT_X];
    product_args a = {};
    a.x = (const float *)x->data;
    a.norm = (const float *)data_of(node->src[DW_CUDA_PRODUCT_NORM]);
    a.residual = (const float *)data_of(node->src[DW_CUDA_PRODUCT_ADDED]);
    for (uint32_t i = 0; i < TABLES; i++) {
        a.weights[i] = (const unsigned char *)data_of(node->src[DW_CUDA_PRODUCT_WEIGHT + i]);
        a.bias[i] = (const float *)data_of(node->src[DW_CUDA_PRODUCT_BIAS + i]);
        a.tiles[i] = p->tiles[i];
        a.tile_count += i == 0 || p->activation == DW_CUDA_LINEAR ? p->tiles[i] : 0;
    }
    a.y = (float *)node->data;
    a.y_length = (uint32_t)node->ne[0];
    a.columns = (uint32_t)x->ne[0];
    a.rows = (uint32_t)x->ne[1];
    a.epsilon = p->epsilon;
    a.activation = p->activation;
    with_type(p->type, [&](auto constant) {
        constexpr int TYPE = decltype(constant)::value;
        if (a.rows <= 4) {
            launch<TYPE, 1>(a, (cudaStream_t)stream);
        } else {
            launch<TYPE, 2>(a, (cudaStream_t)stream);
        }
    });
}
