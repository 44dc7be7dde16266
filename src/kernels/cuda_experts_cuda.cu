/* Mixtures of experts (Shazeer and others, 2017; Fedus and others, 2021) of few rows on CUDA
 * devices: a router's product, then gate and up of the experts that a row uses, then the last
 * product, summed over them. Weights lie and are multiplied as in cuda_products_cuda.cu: a block
 * takes tiles of 16 rows, its warps share a tile's columns out among themselves.
 *
 * Every row is by itself, with blocks of its own: its bits depend on no other's. Each warp chooses
 * its row's experts itself, from the router's logits; the choice therefore needs no kernel, nobody
 * waits for it to be handed over, and what is launched is the same whichever are chosen. They are
 * taken in the order of their numbers, so that rows which share an expert read it at about the same
 * time, the later ones from the cache. The first kernel multiplies what an expert gives with its
 * weight: to the last product the experts of a row are one matrix, of which each has some columns.
 *
 * With dependent launch the first kernel lets the next begin when the router is done, not before:
 * that reads the logits, and has its first weights on their way, before it waits. */
#include "kernels/cuda_product_block.inc.h"

extern "C" {
#include "kernels/cuda_experts.h"
}

#define ROUTER_THREADS 128u
#define ROUTER_AHEAD 4u /* fours of columns that a thread reads before it waits */
#define USED_MAX DW_CUDA_EXPERTS_USED_MAX
#define LEAST_SUM 6.103515625e-5f /* the least normal half, as ggml's graphs have it */

static_assert(sizeof(dw_cuda_experts_params) <= DW_CUDA_PARAM_BYTES, "kept with the node");
static_assert(WARP >= USED_MAX, "a lane each");

struct expert_args {
    const float *x;      /* [rows][x_columns] */
    const float *norm;   /* [x_columns]; NULL: x is not normed */
    const float *logits; /* [rows][experts] */
    const unsigned char *weights[2];
    const float *residual; /* as y; NULL: none */
    float *y;              /* [rows][y_length] */
    uint64_t expert_bytes; /* of a matrix */
    uint32_t columns;      /* of a matrix */
    uint32_t x_columns;    /* as many, or those of all that a row uses */
    uint32_t tiles;        /* of a matrix, of 16 rows */
    uint32_t y_length;
    uint32_t experts, used;
    uint32_t ring; /* ring_size */
    float epsilon;
    uint32_t activation; /* dw_cuda_activation */
    uint32_t sum_to_one;
};

/* ---- the router ---- */

static __device__ __forceinline__ float4 read_fours(const float *from, uint32_t four)
{
    return ((const float4 *)from)[four];
}

static __device__ __forceinline__ float4 read_fours(const __half *from, uint32_t four)
{
    const uint2 bits = ((const uint2 *)from)[four];
    const float2 a = __half22float2(as_halves(bits.x)), b = __half22float2(as_halves(bits.y));
    return make_float4(a.x, a.y, b.x, b.y);
}

static __device__ __forceinline__ float4 read_fours(const __nv_bfloat16 *from, uint32_t four)
{
    const uint2 bits = ((const uint2 *)from)[four];
    return make_float4(__uint_as_float(bits.x << 16), __uint_as_float(bits.x & 0xffff0000u),
                       __uint_as_float(bits.y << 16), __uint_as_float(bits.y & 0xffff0000u));
}

struct router_args {
    const float *x, *norm;
    const void *weights;
    float *y;
    uint32_t columns;
    float epsilon;
};

/* Weights, times the norm's. */
template <typename T>
static __device__ __forceinline__ void read_router(const router_args &a, uint32_t at,
                                                   float4 out[ROUTER_AHEAD])
{
    const T *weights = (const T *)a.weights + (size_t)blockIdx.x * a.columns;
#pragma unroll
    for (uint32_t i = 0; i < ROUTER_AHEAD; i++) {
        const uint32_t four = at + i * ROUTER_THREADS + threadIdx.x;
        out[i] = make_float4(0, 0, 0, 0);
        if (four < a.columns / 4) {
            out[i] = read_fours(weights, four);
            if (a.norm != NULL) {
                const float4 n = read_fours(a.norm, four);
                out[i].x *= n.x, out[i].y *= n.y, out[i].z *= n.z, out[i].w *= n.w;
            }
        }
    }
}

/* Over a block of ROUTER_THREADS; the result is thread 0's. */
static __device__ __forceinline__ float2 sum_block(float2 v)
{
    __shared__ float2 sums[ROUTER_THREADS / WARP];
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) {
        v.x += __shfl_xor_sync(0xffffffffu, v.x, d);
        v.y += __shfl_xor_sync(0xffffffffu, v.y, d);
    }
    if (threadIdx.x % WARP == 0) {
        sums[threadIdx.x / WARP] = v;
    }
    __syncthreads();
    v = sums[0];
#pragma unroll
    for (uint32_t i = 1; i < ROUTER_THREADS / WARP; i++) {
        v.x += sums[i].x;
        v.y += sums[i].y;
    }
    return v;
}

/* Blocks [x] are experts, [y] rows of x. */
template <typename T>
static __global__ void __launch_bounds__(ROUTER_THREADS) router_kernel(const router_args a)
{
    float4 weights[ROUTER_AHEAD];
    float2 sum = make_float2(0.0f, 0.0f); /* of products, of squares */
    const float *x = a.x + (size_t)blockIdx.y * a.columns;
    let_next_begin();
    read_router<T>(a, 0, weights);
    wait_for_front();
#pragma unroll 1
    for (uint32_t at = 0; at < a.columns / 4; at += ROUTER_AHEAD * ROUTER_THREADS) {
        if (at > 0) {
            read_router<T>(a, at, weights);
        }
        float4 v[ROUTER_AHEAD];
#pragma unroll
        for (uint32_t i = 0; i < ROUTER_AHEAD; i++) {
            const uint32_t four = at + i * ROUTER_THREADS + threadIdx.x;
            v[i] = four < a.columns / 4 ? read_fours(x, four) : make_float4(0, 0, 0, 0);
        }
#pragma unroll
        for (uint32_t i = 0; i < ROUTER_AHEAD; i++) {
            sum.x += v[i].x * weights[i].x + v[i].y * weights[i].y + v[i].z * weights[i].z +
                     v[i].w * weights[i].w;
            sum.y += v[i].x * v[i].x + v[i].y * v[i].y + v[i].z * v[i].z + v[i].w * v[i].w;
        }
    }
    sum = sum_block(sum);
    if (threadIdx.x == 0) {
        const float factor = a.norm != NULL ? rsqrtf(sum.y / (float)a.columns + a.epsilon) : 1.0f;
        a.y[(size_t)blockIdx.y * gridDim.x + blockIdx.x] = sum.x * factor;
    }
}

/* ---- the choice ---- */

/* A row's experts in the order of their numbers, and their weights; each warp has it to itself. */
struct choice {
    uint32_t expert[USED_MAX];
    float weight[USED_MAX];
};

/* Whole numbers in the order of the floats, none of them 0; and back. */
static __device__ __forceinline__ uint32_t key_of(float value)
{
    const uint32_t bits = __float_as_uint(value);
    const uint32_t key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return key > 0 ? key : 1;
}

static __device__ __forceinline__ float value_of(uint32_t key)
{
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

static __device__ __forceinline__ float warp_sum(float value)
{
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, d);
    }
    return value;
}

/* The experts with the largest keys, of equals the first: a lane's is that of its number. Returns
 * it and its key. */
template <int KEYS>
static __device__ __forceinline__ uint2 pick_largest(uint32_t key[KEYS], uint32_t used)
{
    const uint32_t lane = threadIdx.x % WARP;
    uint2 own = make_uint2(0, 1);
#pragma unroll 1
    for (uint32_t i = 0; i < used; i++) {
        uint32_t best = 0, at = 0;
#pragma unroll
        for (uint32_t j = 0; j < KEYS; j++) {
            at = key[j] > best ? j : at;
            best = key[j] > best ? key[j] : best;
        }
        const uint32_t top = __reduce_max_sync(0xffffffffu, best);
        const uint32_t expert =
            __reduce_min_sync(0xffffffffu, best == top ? at * WARP + lane : 0xffffffffu);
        if (lane == i) {
            own = make_uint2(expert, top);
        }
#pragma unroll
        for (uint32_t j = 0; j < KEYS; j++) {
            key[j] = expert == j * WARP + lane ? 0 : key[j];
        }
    }
    return own;
}

/* Softmax over all experts, the largest kept. Read past the first cache: a kernel that begins
 * before the one in front has ended might find what stood there before. */
template <int KEYS>
static __device__ __forceinline__ void choose_of(const expert_args &a, choice &out)
{
    const uint32_t lane = threadIdx.x % WARP;
    const float *logits = a.logits + (size_t)blockIdx.y * a.experts;
    float value[KEYS], largest = -INFINITY, sum = 0.0f;
    uint32_t key[KEYS];
#pragma unroll
    for (uint32_t j = 0; j < KEYS; j++) {
        const uint32_t expert = j * WARP + lane;
        value[j] = expert < a.experts ? __ldcg(logits + expert) : -INFINITY;
    }
#pragma unroll
    for (uint32_t j = 0; j < KEYS; j++) {
        key[j] = j * WARP + lane < a.experts ? key_of(value[j]) : 0;
        largest = fmaxf(largest, value[j]);
    }
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, d));
    }
#pragma unroll
    for (uint32_t j = 0; j < KEYS; j++) {
        sum += j * WARP + lane < a.experts ? expf(value[j] - largest) : 0.0f;
    }
    sum = warp_sum(sum);
    const uint2 own = pick_largest<KEYS>(key, a.used);
    float weight = lane < a.used ? expf(value_of(own.y) - largest) / sum : 0.0f;
    const float kept = warp_sum(weight);
    if (a.sum_to_one) { /* what is no number stays that */
        weight /= kept < LEAST_SUM ? LEAST_SUM : kept;
    }
    uint32_t place = 0;
#pragma unroll 1
    for (uint32_t i = 0; i < a.used; i++) {
        place += __shfl_sync(0xffffffffu, own.x, (int)i) < own.x;
    }
    if (lane < a.used) {
        out.expert[place] = own.x;
        out.weight[place] = weight;
    }
    __syncwarp();
}

static __device__ __forceinline__ void choose(const expert_args &a, choice &out)
{
    if (a.experts <= 4 * WARP) {
        choose_of<4>(a, out);
    } else {
        choose_of<DW_CUDA_EXPERTS_MAX / WARP>(a, out);
    }
}

/* ---- the weights' way ---- */

/* A warp's: every WARPS-th stage of each of a unit's segments. A unit is a tile: of an expert, with
 * its gate and its up for segments; or of the last product, with the row's experts for segments,
 * whose stages are counted on from one to the next. */
struct expert_ring {
    const unsigned char *ring; /* in shared memory */
    const unsigned char *from; /* the lane's bytes of the next stage to be fetched */
    uint64_t policy;
    uint32_t bytes, filled, taken; /* where its next are, in bytes */
    uint32_t unit, segment, stage; /* to be fetched */
    uint32_t units, stages;        /* of all, of a segment */
};

template <int TYPE, bool DOWN>
static __device__ __forceinline__ void find_stage(const expert_args &a, const choice &chosen,
                                                  expert_ring &r)
{
    typedef form<TYPE> f;
    const uint32_t lane = threadIdx.x % WARP;
    if (r.unit >= r.units) {
        return;
    }
    const uint32_t slot = DOWN ? r.segment : r.unit / a.tiles;
    const uint32_t tile = DOWN ? r.unit : r.unit - slot * a.tiles;
    const unsigned char *weights = DOWN || r.segment == 0 ? a.weights[0] : a.weights[1];
    weights += chosen.expert[slot] * a.expert_bytes;
    if constexpr (f::in_file) {
        r.from = weights + (size_t)(tile * ROWS + lane / 8) * (a.columns * 2) + r.stage * 128 +
                 lane % 8 * 16;
    } else {
        r.from = weights + ((size_t)tile * r.stages + r.stage) * f::bytes + lane * 16;
    }
}

/* The warp's first stage of unit `unit`. */
template <bool DOWN>
static __device__ __forceinline__ void begin_unit(const expert_args &a, expert_ring &r,
                                                  uint32_t unit)
{
    r.unit = unit;
    r.segment = 0;
    r.stage = threadIdx.x / WARP;
    while (DOWN && r.stage >= r.stages) {
        r.stage -= r.stages;
        r.segment++;
    }
}

template <int TYPE, bool DOWN>
static __device__ __forceinline__ void begin_ring(const expert_args &a, const choice &chosen,
                                                  expert_ring &r, const unsigned char *ring)
{
    r.ring = ring;
    r.bytes = ring_of<TYPE>::bytes(a.ring);
    r.filled = r.taken = 0;
    r.policy = read_once_policy();
    r.stages = a.columns / form<TYPE>::columns;
    r.units = DOWN ? a.tiles : a.tiles * a.used;
    begin_unit<DOWN>(a, r, blockIdx.x);
    if (threadIdx.x / WARP >= (DOWN ? a.used : 1) * r.stages) {
        r.unit = r.units; /* it has none */
    }
    find_stage<TYPE, DOWN>(a, chosen, r);
}

template <int TYPE, bool DOWN>
static __device__ __forceinline__ void advance(const expert_args &a, const choice &chosen,
                                               expert_ring &r)
{
    r.stage += WARPS;
    r.from += WARPS * stride_of<TYPE>::bytes;
    if (r.stage < r.stages) {
        return;
    }
    do {
        r.segment++;
        r.stage = DOWN ? r.stage - r.stages : threadIdx.x / WARP;
    } while (DOWN && r.stage >= r.stages);
    if (r.segment >= (DOWN ? a.used : 2)) {
        begin_unit<DOWN>(a, r, r.unit + gridDim.x);
    }
    find_stage<TYPE, DOWN>(a, chosen, r);
}

template <int TYPE, bool DOWN>
static __device__ __forceinline__ void fetch_next(const expert_args &a, const choice &chosen,
                                                  expert_ring &r)
{
    typedef form<TYPE> f;
    if (r.unit < r.units) {
        fetch<TYPE>(shared_address(r.ring) + r.filled, r.from, a.columns, r.policy);
        r.filled = r.filled + f::bytes == r.bytes ? 0 : r.filled + f::bytes;
        advance<TYPE, DOWN>(a, chosen, r);
    }
    end_copy(); /* an empty group where nothing is left: groups are counted */
}

/* Stages [first, end) of the ring's, where it is empty. */
template <int TYPE, bool DOWN>
static __device__ __forceinline__ void fill(const expert_args &a, const choice &chosen,
                                            expert_ring &r, uint32_t first, uint32_t end)
{
#pragma unroll 1
    for (uint32_t i = first; i < end; i++) {
        fetch_next<TYPE, DOWN>(a, chosen, r);
    }
}

/* ---- x ---- */

/* Chunks of x that a thread reads before it packs the first: of the last product more, whose x is
 * longer, and has nothing beside it. */
template <bool DOWN> struct x_ahead {
    static constexpr uint32_t chunks = DOWN ? 3 : 2;
    float x[chunks][8], norm[DOWN ? 1 : chunks][8];
};

template <int TYPE, bool DOWN>
static __device__ __forceinline__ void read_ahead(const expert_args &a, uint32_t at, bool x,
                                                  bool norm, x_ahead<DOWN> &out)
{
    const float *row = a.x + (size_t)blockIdx.y * a.x_columns;
#pragma unroll
    for (uint32_t i = 0; i < x_ahead<DOWN>::chunks; i++) {
        const uint32_t chunk = at + i * THREADS + threadIdx.x;
        const bool there = chunk < a.x_columns / 8;
        if (x) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                out.x[i][j] = 0.0f;
            }
            if (there) {
                read_chunk<TYPE>(row, chunk, out.x[i]);
            }
        }
        if (!DOWN && norm && there && a.norm != NULL) {
            read_chunk<TYPE>(a.norm, chunk, out.norm[i]);
        }
    }
}

/* The block's row; the sum of its squares to `squares` [WARPS]. */
template <typename WORK, bool DOWN>
static __device__ __forceinline__ void pack(const expert_args &a, const packed &to,
                                            x_ahead<DOWN> &ahead, float *squares)
{
    constexpr uint32_t turn = x_ahead<DOWN>::chunks * THREADS;
    const uint32_t chunks = a.x_columns / 8;
    float square = 0.0f;
#pragma unroll 1
    for (uint32_t at = 0; at < chunks; at += turn) {
        x_ahead<DOWN> now = ahead;
        read_ahead<WORK::type, DOWN>(a, at + turn, true, true, ahead);
#pragma unroll
        for (uint32_t i = 0; i < x_ahead<DOWN>::chunks; i++) {
            const uint32_t chunk = at + i * THREADS + threadIdx.x;
            if (at + i * THREADS >= chunks) { /* the same for all threads */
                break;
            }
            if (!DOWN && a.norm != NULL && chunk < chunks) {
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    square += now.x[i][j] * now.x[i][j];
                    now.x[i][j] *= now.norm[i][j];
                }
            }
            pack_chunk<WORK>(to, chunk, 0, 1, now.x[i], chunk < chunks);
        }
    }
    if constexpr (!DOWN) {
        square = warp_sum(square);
        if (threadIdx.x % WARP == 0) {
            squares[threadIdx.x / WARP] = square;
        }
    }
}

static __device__ __forceinline__ float factor_of(const expert_args &a, const float *squares)
{
    float square = 0.0f;
    if (a.norm == NULL) {
        return 1.0f;
    }
#pragma unroll
    for (uint32_t i = 0; i < WARPS; i++) {
        square += squares[i];
    }
    return rsqrtf(square / (float)a.x_columns + a.epsilon);
}

/* ---- a block ---- */

/* What a block works with. */
struct expert_state {
    choice *chosen; /* the warp's */
    packed x;
    expert_ring weights; /* the warp's */
    float *partial;      /* [turn][segment of gate and up][warp][row of the tile] */
    float *squares;      /* [warp] */
};

/* Shared memory: choices, rings, x, its scales and sums, sums of two tiles, sums of squares. */
struct expert_sizes {
    size_t chosen, ring;
    packed_sizes x;
    size_t partial, squares;
};

template <typename WORK>
static __host__ __device__ __forceinline__ expert_sizes sizes_of(const expert_args &a)
{
    expert_sizes s;
    s.chosen = WARPS * sizeof(choice);
    s.ring = (size_t)WARPS * ring_of<WORK::type>::bytes(a.ring);
    s.x = packed_bytes<WORK>(a.x_columns, 1);
    s.partial = (size_t)2 * 2 * WARPS * ROWS * 4;
    s.squares = WARPS * 4;
    return s;
}

static size_t total_of(const expert_sizes &s)
{
    return s.chosen + s.ring + s.x.values + s.x.scales + s.x.sums + s.partial + s.squares;
}

template <typename WORK>
static __device__ __forceinline__ const unsigned char *
begin_block(const expert_args &a, expert_state &b, unsigned char *shared)
{
    const uint32_t warp = threadIdx.x / WARP;
    const expert_sizes sizes = sizes_of<WORK>(a);
    b.chosen = (choice *)shared + warp;
    shared += sizes.chosen;
    const unsigned char *ring = shared + warp * ring_of<WORK::type>::bytes(a.ring);
    shared += sizes.ring;
    b.x.values = shared;
    shared += sizes.x.values;
    b.x.scales = (float *)shared;
    shared += sizes.x.scales;
    b.x.sums = (float *)shared;
    shared += sizes.x.sums;
    b.partial = (float *)shared;
    b.squares = (float *)(shared + sizes.partial);
    return ring;
}

/* A warp's stages of a segment of gate and up, or of all of the last product's; what they give to
 * `own` [row of the tile]. */
template <typename WORK, bool DOWN>
static __device__ __forceinline__ void add_segment(const expert_args &a, expert_state &b,
                                                   float *own)
{
    typedef form<WORK::type> f;
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const uint32_t stages = (DOWN ? a.used : 1) * b.weights.stages;
    sums_of<WORK> s = {};
#pragma unroll 1
    for (uint32_t stage = warp; stage < stages; stage += WARPS) {
        wait_stage<WORK::type>(a.ring);
        __syncwarp();
        add_stage<WORK>(s, b.weights.ring + b.weights.taken, b.x, 1, stage * (f::columns / BLOCK));
        __syncwarp(); /* all have read the slot, and used what they read */
        fetch_next<WORK::type, DOWN>(a, *b.chosen, b.weights);
        b.weights.taken =
            b.weights.taken + f::bytes == b.weights.bytes ? 0 : b.weights.taken + f::bytes;
    }
    if (lane % 4 == 0) { /* the row's column of B; the others are copies of it */
        own[lane / 4] = lane_sum<WORK>(s, 0);
        own[lane / 4 + 8] = lane_sum<WORK>(s, 1);
    }
}

/* One warp: a tile's sums over the warps, and what becomes of them; `added` to the last product. */
template <bool DOWN>
static __device__ __forceinline__ void finish_unit(const expert_args &a, const expert_state &b,
                                                   uint32_t unit, const float *partial,
                                                   float factor, float added)
{
    const uint32_t lane = threadIdx.x % WARP, in_tile = lane % ROWS;
    const float *from = partial + lane / ROWS * (WARPS * ROWS) + in_tile;
    float sum = 0.0f;
    if (!DOWN || lane < ROWS) {
#pragma unroll
        for (uint32_t w = 0; w < WARPS; w++) {
            sum += from[w * ROWS];
        }
    }
    float *y = a.y + (size_t)blockIdx.y * a.y_length + unit * ROWS + in_tile;
    if constexpr (DOWN) {
        if (lane < ROWS) {
            *y = a.residual != NULL ? sum + added : sum;
        }
    } else { /* what stands in y is one expert's behind another's, as units are */
        sum *= factor;
        const float up = __shfl_down_sync(0xffffffffu, sum, ROWS);
        if (lane < ROWS) {
            *y = activated(sum, a.activation) * up * b.chosen->weight[unit / a.tiles];
        }
    }
}

/* What must be there before a stage is multiplied: the choice, x, weights on their way. */
template <typename WORK, bool DOWN>
static __device__ __forceinline__ void begin_copies(const expert_args &a, expert_state &b,
                                                    const unsigned char *ring)
{
    constexpr int TYPE = WORK::type;
    const uint32_t first = ring_of<TYPE>::first;
    x_ahead<DOWN> ahead;
    if constexpr (DOWN) {
        let_next_begin();
        choose(a, *b.chosen);
        begin_ring<TYPE, DOWN>(a, *b.chosen, b.weights, ring);
        fill<TYPE, DOWN>(a, *b.chosen, b.weights, 0, first);
        wait_for_front();
        read_ahead<TYPE, DOWN>(a, 0, true, false, ahead);
        fill<TYPE, DOWN>(a, *b.chosen, b.weights, first, b.weights.bytes / form<TYPE>::bytes);
    } else {
        read_ahead<TYPE, DOWN>(a, 0, false, true, ahead);
        wait_for_front();
        let_next_begin(); /* the router is done: the next kernel relies on it */
        read_ahead<TYPE, DOWN>(a, 0, true, false, ahead);
        choose(a, *b.chosen);
        begin_ring<TYPE, DOWN>(a, *b.chosen, b.weights, ring);
        fill<TYPE, DOWN>(a, *b.chosen, b.weights, 0, b.weights.bytes / form<TYPE>::bytes);
    }
    pack<WORK, DOWN>(a, b.x, ahead, b.squares);
}

/* Blocks [y] are rows of x, [x] share a row's units. */
template <typename WORK, bool DOWN>
static __global__ void __launch_bounds__(THREADS, 2) experts_kernel(const expert_args a)
{
    extern __shared__ __align__(128) unsigned char shared[];
    constexpr uint32_t SEGMENTS = DOWN ? 1 : 2;
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    expert_state b;
    begin_copies<WORK, DOWN>(a, b, begin_block<WORK>(a, b, shared));
    __syncthreads();
    const float factor = DOWN ? 1.0f : factor_of(a, b.squares);
    uint32_t turn = 0;
#pragma unroll 1
    for (uint32_t unit = blockIdx.x; unit < b.weights.units; unit += gridDim.x) {
        const bool finishes = warp == turn % WARPS; /* each in its turn */
        float *partial = b.partial + turn % 2 * (2 * WARPS * ROWS);
        float added = 0.0f;
        if (DOWN && finishes && lane < ROWS && a.residual != NULL) {
            added = a.residual[(size_t)blockIdx.y * a.y_length + unit * ROWS + lane];
        }
#pragma unroll 1
        for (uint32_t segment = 0; segment < SEGMENTS; segment++) {
            add_segment<WORK, DOWN>(a, b, partial + (segment * WARPS + warp) * ROWS);
        }
        __syncthreads();
        if (finishes) {
            finish_unit<DOWN>(a, b, unit, partial, factor, added);
        }
        turn++;
    }
}

/* ---- launches ---- */

template <int TYPE> static size_t shared_bytes(expert_args a, uint32_t ring)
{
    a.ring = ring;
    return total_of(sizes_of<work_of<TYPE, 1, true>>(a));
}

/* A ring that leaves room for another block beside this one, or else the largest there is room
 * for. */
template <int TYPE> static uint32_t ring_for(const expert_args &a, size_t shared)
{
    const size_t half = shared / 2 - BLOCK_RESERVE;
    for (uint32_t ring = RING_LARGE; ring < RING_SIZES; ring++) {
        if (shared_bytes<TYPE>(a, ring) <= half) {
            return ring;
        }
    }
    uint32_t ring = RING_LARGE;
    while (ring < RING_SMALL && shared_bytes<TYPE>(a, ring) > shared) {
        ring++;
    }
    return ring;
}

template <int TYPE, bool DOWN> static void launch(expert_args a, uint32_t rows, cudaStream_t stream)
{
    auto kernel = experts_kernel<work_of<TYPE, 1, true>, DOWN>;
    const device_summary here = dw_cuda_devices_here();
    const uint32_t units = DOWN ? a.tiles : a.tiles * a.used;
    a.ring = ring_for<TYPE>(a, here.shared);
    launch_shape shape = {};
    shape.shared = shared_bytes<TYPE>(a, a.ring);
    const uint32_t per_processor = 2 * (shape.shared + BLOCK_RESERVE) <= here.shared ? 2 : 1;
    const uint32_t wanted = per_processor * (uint32_t)here.multiprocessors / rows;
    const uint32_t blocks = wanted < 1 ? 1 : wanted;
    /* Always the same: it is the kernel's for all threads of the process that launch it. */
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)here.shared);
    shape.grid = dim3(units < blocks ? units : blocks, rows);
    shape.block = dim3(THREADS);
    shape.cluster = dim3(1);
    shape.dependent = true;
    launch_kernel(kernel, shape, stream, a);
}

/* Columns of x. */
static uint32_t x_columns_of(const dw_cuda_experts_size *size, bool down)
{
    return size->columns * (down ? size->used : 1);
}

extern "C" bool dw_cuda_experts_serve(int type, const dw_cuda_experts_size *size, bool down)
{
    bool serves = false;
    const device_summary here = dw_cuda_devices_here();
    if (here.major < 8 || size->experts > DW_CUDA_EXPERTS_MAX || size->used == 0 ||
        size->used > DW_CUDA_EXPERTS_USED_MAX || size->used > size->experts || size->columns == 0 ||
        size->columns > UINT32_MAX / DW_CUDA_EXPERTS_USED_MAX || size->rows == 0 ||
        size->rows % ROWS != 0) {
        return false;
    }
    with_type(type, [&](auto constant) {
        constexpr int TYPE = decltype(constant)::value;
        expert_args a = {};
        a.x_columns = x_columns_of(size, down);
        serves = size->columns % form<TYPE>::columns == 0 &&
                 shared_bytes<TYPE>(a, RING_SMALL) <= here.shared;
    });
    return serves;
}

static const void *data_of(const struct ggml_tensor *tensor)
{
    return tensor != NULL ? tensor->data : NULL;
}

template <int TYPE> static uint64_t bytes_of(const dw_cuda_experts_size &size)
{
    typedef form<TYPE> f;
    return f::in_file ? (uint64_t)size.rows * size.columns * 2
                      : (uint64_t)(size.rows / ROWS) * (size.columns / f::columns) * f::bytes;
}

extern "C" void dw_cuda_launch_experts(const struct ggml_tensor *node, void *stream)
{
    const dw_cuda_experts_params *p = (const dw_cuda_experts_params *)dw_cuda_node_params(node);
    const bool down = node->src[DW_CUDA_EXPERTS_UP] == NULL;
    expert_args a = {};
    a.x = (const float *)data_of(node->src[DW_CUDA_EXPERTS_X]);
    a.norm = (const float *)data_of(node->src[DW_CUDA_EXPERTS_NORM]);
    a.logits = (const float *)data_of(node->src[DW_CUDA_EXPERTS_LOGITS]);
    a.weights[0] = (const unsigned char *)data_of(node->src[DW_CUDA_EXPERTS_WEIGHT]);
    a.weights[1] = (const unsigned char *)data_of(node->src[DW_CUDA_EXPERTS_UP]);
    a.residual = (const float *)data_of(node->src[DW_CUDA_EXPERTS_ADDED]);
    a.y = (float *)node->data;
    a.columns = p->size.columns;
    a.x_columns = x_columns_of(&p->size, down);
    a.tiles = p->size.rows / ROWS;
    a.y_length = p->size.rows * (down ? 1 : p->size.used);
    a.experts = p->size.experts;
    a.used = p->size.used;
    a.epsilon = p->epsilon;
    a.activation = p->activation;
    a.sum_to_one = p->sum_to_one;
    const uint32_t rows = (uint32_t)node->src[DW_CUDA_EXPERTS_LOGITS]->ne[1];
    with_type(p->type, [&](auto constant) {
        constexpr int TYPE = decltype(constant)::value;
        a.expert_bytes = bytes_of<TYPE>(p->size);
        if (down) {
            launch<TYPE, true>(a, rows, (cudaStream_t)stream);
        } else {
            launch<TYPE, false>(a, rows, (cudaStream_t)stream);
        }
    });
}

/* ---- the router's launch ---- */

template <typename T>
static void launch_router(const router_args &a, dim3 grid, cudaStream_t stream)
{
    launch_shape shape = {};
    shape.grid = grid;
    shape.block = dim3(ROUTER_THREADS);
    shape.cluster = dim3(1);
    shape.dependent = true;
    launch_kernel(router_kernel<T>, shape, stream, a);
}

extern "C" bool dw_cuda_router_serves(int type, uint32_t columns)
{
    return dw_cuda_devices_here().major >= 8 && columns > 0 && columns % 4 == 0 &&
           (type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16);
}

extern "C" void dw_cuda_launch_router(const struct ggml_tensor *node, void *stream)
{
    const struct ggml_tensor *x = node->src[DW_CUDA_ROUTER_X];
    const struct ggml_tensor *weight = node->src[DW_CUDA_ROUTER_WEIGHT];
    router_args a = {};
    a.x = (const float *)x->data;
    a.norm = (const float *)data_of(node->src[DW_CUDA_ROUTER_NORM]);
    a.weights = weight->data;
    a.y = (float *)node->data;
    a.columns = (uint32_t)x->ne[0];
    a.epsilon = *(const float *)dw_cuda_node_params(node);
    const dim3 grid((unsigned)weight->ne[1], (unsigned)x->ne[1]);
    if (weight->type == GGML_TYPE_F32) {
        launch_router<float>(a, grid, (cudaStream_t)stream);
    } else if (weight->type == GGML_TYPE_F16) {
        launch_router<__half>(a, grid, (cudaStream_t)stream);
    } else {
        launch_router<__nv_bfloat16>(a, grid, (cudaStream_t)stream);
    }
}
