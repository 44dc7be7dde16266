/* Products of more rows than a few with matrices of weights, on devices with clusters of blocks.
 *
 * The eight blocks of a cluster share x's columns out among themselves, every eighth stage to each:
 * so each reads, norms and packs an eighth of x, and holds no more of it. A warp takes a tile of 16
 * rows of weights, by itself, over its block's columns. What comes of that is sent to one of the
 * blocks, the tile's own, which adds up the eight in order; while it does, the next tiles'
 * multiplications go on. A block's columns are those that a warp has in cuda_products_cuda.cu, and
 * are added in the same order: up to DW_CUDA_PRODUCT_ROWS rows, a row's result is the same bits. */
#include <atomic>

#include "kernels/cuda_product_block.inc.h"

#define SHARES WARPS    /* blocks of a cluster */
#define AHEAD 2u        /* chunks of x that a thread reads before it packs the first */
#define TURNS 2u        /* tiles' sums that may be on their way */
#define MANY_TILES 256u /* from so many on two blocks a multiprocessor share them */

/* Sums that a thread adds up. */
template <typename WORK> struct own_sums {
    static constexpr uint32_t count = (WORK::tile_sums + THREADS - 1) / THREADS;
};

/* What a block works with. */
struct share_state {
    packed x;
    weight_ring weights;       /* the warp's */
    float *sent;               /* [turn][block of the cluster][sums of a tile] */
    float *squares;            /* [SQUARES][row of x] */
    float *kept;               /* [sums of a tile, at least THREADS]: what has been added up */
    uint64_t *came;            /* barriers: of each turn what is sent, and of the squares */
    uint32_t share;            /* the block's place in its cluster */
    uint32_t first;            /* tile of the cluster, with those behind it one for each warp */
    uint32_t rounds;           /* of so many */
    uint32_t rest, rest_count; /* then of these, which may be fewer or none */
    uint32_t piece;            /* stages of the block in a piece of a tile's */
    uint32_t pieces;
};

#define BARRIER_BYTES 32u

/* Shared memory: sums that are sent, rings, x, its scales and sums, sums of squares, sums that were
 * added up, barriers. */
struct share_sizes {
    size_t sent, ring;
    packed_sizes x;
    size_t squares, kept;
};

template <typename WORK>
static __host__ __device__ __forceinline__ share_sizes sizes_of(const product_args &a)
{
    typedef form<WORK::type> f;
    const uint32_t stages = (a.columns / f::columns + SHARES - 1) / SHARES;
    share_sizes s;
    s.sent = (size_t)TURNS * SHARES * WORK::tile_sums * 4;
    s.ring = (size_t)WARPS * ring_of<WORK::type>::bytes(a.ring);
    s.x = packed_bytes<WORK>(stages * f::columns, a.rows);
    s.squares = a.norm != NULL ? rounded_16(SQUARES * a.rows * 4) : 0;
    s.kept = (size_t)THREADS * own_sums<WORK>::count * 4;
    return s;
}

static size_t total_of(const share_sizes &s)
{
    return s.sent + s.ring + s.x.values + s.x.scales + s.x.sums + s.squares + s.kept +
           BARRIER_BYTES;
}

/* Clusters take tiles that are beside each other at the same time: tiles far apart are likely to be
 * in the same banks of the memory. What is left in the end they share evenly. */
static __device__ __forceinline__ void take_tiles(const product_args &a, share_state &b)
{
    const uint32_t all = gridDim.y * WARPS, rounds = a.tile_count / all;
    const uint32_t left = a.tile_count - rounds * all, begin = left * blockIdx.y / gridDim.y;
    b.first = blockIdx.y * WARPS;
    b.rounds = rounds;
    b.rest = rounds * all + begin;
    b.rest_count = left * (blockIdx.y + 1) / gridDim.y - begin;
}

template <typename WORK>
static __device__ __forceinline__ void begin_block(const product_args &a, share_state &b,
                                                   unsigned char *shared)
{
    typedef form<WORK::type> f;
    const uint32_t all = a.columns / f::columns, warp = threadIdx.x / WARP;
    const share_sizes sizes = sizes_of<WORK>(a);
    b.share = blockIdx.x;
    take_tiles(a, b);
    b.piece = (a.piece_stages + SHARES - 1) / SHARES;
    b.pieces = (all + a.piece_stages - 1) / a.piece_stages;
    b.sent = (float *)shared;
    shared += sizes.sent;
    const unsigned char *ring = shared + warp * ring_of<WORK::type>::bytes(a.ring);
    shared += sizes.ring;
    b.x.values = shared;
    shared += sizes.x.values;
    b.x.scales = (float *)shared;
    shared += sizes.x.scales;
    b.x.sums = (float *)shared;
    shared += sizes.x.sums;
    b.squares = (float *)shared;
    b.kept = (float *)(shared + sizes.squares);
    b.came = (uint64_t *)(shared + sizes.squares + sizes.kept);
    b.weights.first_stage = b.share;
    b.weights.stages = all > b.share ? (all - b.share + SHARES - 1) / SHARES : 0;
    b.weights.rounds = b.rounds;
    b.weights.step = gridDim.y * WARPS;
    b.weights.rest = warp < b.rest_count ? b.rest + warp : a.tile_count;
    b.weights.end = a.tile_count;
    begin_ring<WORK::type>(a, b.weights, ring, b.rounds > 0 ? b.first + warp : b.weights.rest);
}

/* ---- x ---- */

/* The chunks of a row that a lane packs: every 256th, so that eight lanes have those of eight
 * threads that sum squares in the other kernel. */
template <int TYPE> static __device__ __forceinline__ uint32_t first_chunk(uint32_t share)
{
    const uint32_t lane = threadIdx.x % WARP;
    return form<TYPE>::columns == 64 ? (share + SHARES * (lane / 8)) * 8 + lane % 8
                                     : share * WARP + lane;
}

/* Where it goes, counting those of the block alone. */
template <int TYPE> static __device__ __forceinline__ uint32_t own_chunk(uint32_t chunk)
{
    constexpr uint32_t stage = form<TYPE>::columns / 8;
    return chunk / stage / SHARES * stage + chunk % stage;
}

/* A row's sum of squares over this block's columns, to all blocks of the cluster. */
template <int TYPE>
static __device__ __forceinline__ void send_squares(const product_args &a, const share_state &b,
                                                    uint32_t row, float square)
{
    const uint32_t lane = threadIdx.x % WARP, part = lane % 4;
    const uint32_t at = form<TYPE>::columns == 64 ? b.share + SHARES * part : b.share * 4 + part;
    float sum = __shfl_sync(0xffffffffu, eighth_sum(square), part * 8);
    send_counted(address_in(b.squares + at * a.rows + row, lane / 4), sum,
                 address_in(b.came + TURNS, lane / 4));
}

/* What a lane has read of x and of what it is normed with. */
struct read_ahead {
    float x[AHEAD][8], norm[AHEAD][8];
};

/* Items of a warp: of its rows, each WARPS-th, the chunks of its lanes. */
template <int TYPE>
static __device__ __forceinline__ void read_items(const product_args &a, const share_state &b,
                                                  uint32_t at, uint32_t turns, read_ahead &out)
{
#pragma unroll
    for (uint32_t i = 0; i < AHEAD; i++) {
        const uint32_t row = threadIdx.x / WARP + (at + i) / turns * WARPS;
        const uint32_t chunk = first_chunk<TYPE>(b.share) + (at + i) % turns * THREADS;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            out.x[i][j] = 0.0f;
            out.norm[i][j] = 0.0f;
        }
        if (row < a.rows && chunk < a.columns / 8) {
            read_chunk<TYPE>(a.x + (size_t)row * a.columns, chunk, out.x[i]);
            if (a.norm != NULL) {
                read_chunk<TYPE>(a.norm, chunk, out.norm[i]);
            }
        }
    }
}

template <typename WORK>
static __device__ __forceinline__ void pack_share(const product_args &a, const share_state &b,
                                                  read_ahead &ahead)
{
    constexpr int TYPE = WORK::type;
    const uint32_t turns = (a.columns / 8 + THREADS - 1) / THREADS, warp = threadIdx.x / WARP;
    const uint32_t items = a.rows > warp ? (a.rows - warp + WARPS - 1) / WARPS * turns : 0;
    float square = 0.0f;
#pragma unroll 1
    for (uint32_t at = 0; at < items; at += AHEAD) {
        read_ahead now = ahead;
        read_items<TYPE>(a, b, at + AHEAD, turns, ahead);
#pragma unroll
        for (uint32_t i = 0; i < AHEAD; i++) {
            const uint32_t row = warp + (at + i) / turns * WARPS, turn = (at + i) % turns;
            const uint32_t chunk = first_chunk<TYPE>(b.share) + turn * THREADS;
            if (at + i >= items) { /* the same for all lanes */
                break;
            }
            if (a.norm != NULL) {
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    square += now.x[i][j] * now.x[i][j];
                    now.x[i][j] *= now.norm[i][j];
                }
            }
            pack_chunk<WORK>(b.x, own_chunk<TYPE>(chunk), row, a.rows, now.x[i],
                             chunk < a.columns / 8);
            if (a.norm != NULL && turn + 1 == turns) {
                send_squares<TYPE>(a, b, row, square);
                square = 0.0f;
            }
        }
    }
}

/* ---- sums ---- */

/* What all warps go through together: a piece of a part of `count` tiles from `tile` on, one
 * each. */
struct unit {
    uint32_t round, tile, count, part, piece;
};

static __device__ __forceinline__ void begin_round(const share_state &b, unit &u)
{
    u.part = u.piece = 0;
    if (u.round < b.rounds) {
        u.tile = b.first + u.round * gridDim.y * WARPS;
        u.count = WARPS;
    } else {
        u.tile = b.rest;
        u.count = u.round == b.rounds ? b.rest_count : 0;
    }
}

static __device__ __forceinline__ void advance(const share_state &b, unit &u)
{
    if (++u.piece == b.pieces) {
        u.piece = 0;
        if (++u.part == b.weights.parts) {
            u.round++;
            begin_round(b, u);
        }
    }
}

template <typename WORK>
static __device__ __forceinline__ void add_unit(const product_args &a, share_state &b,
                                                const unit &u, sums_of<WORK> &s)
{
    const uint32_t blocks = form<WORK::type>::columns / BLOCK;
    const uint32_t first = u.piece * b.piece, end = min(first + b.piece, b.weights.stages);
    if (threadIdx.x / WARP < u.count && first < end) {
        const stage_range range = {end - first, first * blocks, blocks};
        add_stages<WORK>(a, b.weights, b.x, range, s);
    }
}

/* To the tile's own block, that of the warp's number. */
template <typename WORK>
static __device__ __forceinline__ void send_unit(const share_state &b, const unit &u, uint32_t turn,
                                                 const sums_of<WORK> &s)
{
    const uint32_t warp = threadIdx.x / WARP;
    if (warp < u.count) {
        const float *at = b.sent + (turn * SHARES + b.share) * WORK::tile_sums;
        const uint32_t to = address_in(at + threadIdx.x % WARP, warp);
        const uint32_t came = address_in(b.came + turn, warp);
#pragma unroll
        for (uint32_t i = 0; i < WORK::lane_sums; i++) {
            send_counted(to + i * WARP * sizeof(float), lane_sum<WORK>(s, i), came);
        }
    }
}

/* What a thread adds up, of parts, over their pieces; what norms the rows that it has, and what is
 * added to them. */
template <typename WORK> struct totals {
    float sums[own_sums<WORK>::count][2];
    float factor[own_sums<WORK>::count];
    float added[own_sums<WORK>::count];
};

/* Whether there is a sum `i` of a thread's of this unit. */
template <typename WORK>
static __device__ __forceinline__ bool own_sum(const product_args &a, const share_state &b,
                                               const unit &u, uint32_t i, sum_of &of)
{
    const uint32_t at = threadIdx.x + i * THREADS;
    const sum_place<WORK> place(at);
    of = {u.tile + b.share, place.in_tile, place.row};
    return b.share < u.count && at < WORK::tile_sums && of.row < a.rows;
}

static __device__ __forceinline__ bool is_whole(const share_state &b, const unit &u)
{
    return u.piece + 1 == b.pieces && u.part + 1 == b.weights.parts;
}

/* What is added to a unit's sums is on its way before they are there. */
template <typename WORK>
static __device__ __forceinline__ void expect_unit(const product_args &a, const share_state &b,
                                                   const unit &u, totals<WORK> &total)
{
    sum_of of;
#pragma unroll
    for (uint32_t i = 0; i < own_sums<WORK>::count; i++) {
        if (is_whole(b, u) && own_sum<WORK>(a, b, u, i, of)) {
            total.added[i] = read_added(a, of);
        }
    }
}

/* The eight blocks' sums of a unit that all have sent. */
template <typename WORK>
static __device__ __forceinline__ void gather_unit(const product_args &a, const share_state &b,
                                                   const unit &u, uint32_t turn,
                                                   totals<WORK> &total)
{
    const float *sent = b.sent + turn * SHARES * WORK::tile_sums + threadIdx.x;
    sum_of of;
#pragma unroll
    for (uint32_t i = 0; i < own_sums<WORK>::count; i++) {
        if (!own_sum<WORK>(a, b, u, i, of)) {
            continue;
        }
        float sum = 0.0f;
#pragma unroll
        for (uint32_t share = 0; share < SHARES; share++) {
            sum += sent[share * WORK::tile_sums + i * THREADS];
        }
        *(volatile float *)(b.kept + i * THREADS + threadIdx.x) = sum;
        if (u.part == 0) { /* a variable index would put them into memory */
            total.sums[i][0] = u.piece == 0 ? sum : total.sums[i][0] + sum;
        } else {
            total.sums[i][1] = u.piece == 0 ? sum : total.sums[i][1] + sum;
        }
        if (u.round + u.part + u.piece == 0) {
            total.factor[i] = factor_of(a, b.squares, of.row); /* squares came with these */
        }
    }
}

/* What becomes of a unit's sums, where they are whole. */
template <typename WORK>
static __device__ __forceinline__ void finish_unit(const product_args &a, const share_state &b,
                                                   const unit &u, const totals<WORK> &total)
{
    sum_of of;
#pragma unroll
    for (uint32_t i = 0; i < own_sums<WORK>::count; i++) {
        if (is_whole(b, u) && own_sum<WORK>(a, b, u, i, of)) {
            finish_row(a, of, total.sums[i], total.factor[i], total.added[i]);
        }
    }
}

/* The unit's sums, `number` of which came before it, are expected where the block has a tile. */
template <typename WORK>
static __device__ __forceinline__ void await_unit(const share_state &b, const unit &u,
                                                  uint32_t number)
{
    if (threadIdx.x == 0 && b.share < u.count) {
        expect_bytes(b.came + number % TURNS, SHARES * WORK::tile_sums * sizeof(float));
    }
}

template <typename WORK>
static __device__ __forceinline__ void end_unit(const product_args &a, const share_state &b,
                                                const unit &u, uint32_t number, totals<WORK> &total)
{
    if (number == 0 && a.norm != NULL) {
        wait_bytes(b.came + TURNS, 0);
    }
    if (b.share < u.count) {
        wait_bytes(b.came + number % TURNS, number / TURNS % 2);
        gather_unit<WORK>(a, b, u, number % TURNS, total);
        finish_unit<WORK>(a, b, u, total);
    }
}

/* Each unit is added up before that in front of it is finished, so that nobody waits for long for
 * what others send. No fence stands between: it would wait for the weights that are on their way.
 * What is sent is counted where it comes; and all wait for each other before a place is used again,
 * behind having stored what they have read there. */
template <typename WORK>
static __device__ __forceinline__ void add_tiles(const product_args &a, share_state &b)
{
    totals<WORK> total = {};
    unit now = {}, before = now;
    uint32_t number = 0;
    begin_round(b, now);
#pragma unroll 1
    while (now.count > 0) {
        sums_of<WORK> s = {};
        await_unit<WORK>(b, now, number);
        add_unit<WORK>(a, b, now, s);
        if (number > 0) {
            end_unit<WORK>(a, b, before, number - 1, total);
            cluster_wait();
        }
        send_unit<WORK>(b, now, number % TURNS, s);
        cluster_arrive_bare();
        expect_unit<WORK>(a, b, now, total);
        number++;
        before = now;
        advance(b, now);
    }
    end_unit<WORK>(a, b, before, number - 1, total);
    cluster_wait();
}

static __device__ __forceinline__ void begin_barriers(const product_args &a, const share_state &b)
{
    if (threadIdx.x == 0) {
        for (uint32_t i = 0; i <= TURNS; i++) {
            begin_counting(b.came + i);
        }
        if (a.norm != NULL) {
            expect_bytes(b.came + TURNS, SQUARES * a.rows * (uint32_t)sizeof(float));
        }
    }
    __syncwarp();
}

/* Blocks [x] are a cluster, which shares x's columns; clusters [y] share the tiles. */
template <typename WORK>
static __global__ void __launch_bounds__(THREADS, 2) shares_kernel(const product_args a)
{
    extern __shared__ __align__(128) unsigned char shared[];
    constexpr int TYPE = WORK::type;
    share_state b;
    read_ahead ahead;
    let_next_begin();
    begin_block<WORK>(a, b, shared);
    begin_barriers(a, b);
    cluster_arrive_bare();
    fetch_first<TYPE>(a, b.weights);
    wait_for_front();
    read_items<TYPE>(a, b, 0, (a.columns / 8 + THREADS - 1) / THREADS, ahead);
    fetch_rest<TYPE>(a, b.weights);
    cluster_wait(); /* the others run: their memory can be written */
    pack_share<WORK>(a, b, ahead);
    __syncthreads();
    add_tiles<WORK>(a, b);
}

/* ---- launches ---- */

/* Calls `what` with the kernel for so many rows. */
template <int TYPE, typename WHAT> static void with_work(uint32_t rows, bool low, WHAT what)
{
    if constexpr (!form<TYPE>::in_file) {
        if (!low) {
            what(work_of<TYPE, 4, false>());
            return;
        }
    }
    if (rows <= work_of<TYPE, 2, true>::rows) {
        what(work_of<TYPE, 2, true>());
    } else {
        what(work_of<TYPE, 4, true>());
    }
}

template <int TYPE> static size_t shared_bytes(product_args a, bool low, uint32_t ring)
{
    size_t bytes = 0;
    a.ring = ring;
    with_work<TYPE>(a.rows, low, [&](auto work) { bytes = total_of(sizes_of<decltype(work)>(a)); });
    return bytes;
}

uint32_t dw_cuda_shares_rows(int type, const product_args &of, bool low)
{
    const device_summary here = dw_cuda_devices_here();
    const uint32_t most = low ? DW_CUDA_PRODUCT_ROWS : DW_CUDA_PRODUCT_ROWS_MANY;
    product_args a = of;
    a.rows = !here.hopper ? 0 : a.rows < most ? a.rows : most;
    with_type(type, [&](auto constant) {
        constexpr int TYPE = decltype(constant)::value;
        while (a.rows > 0 && shared_bytes<TYPE>(a, low, RING_SMALL) > here.shared) {
            a.rows--;
        }
    });
    return a.rows;
}

/* A ring that leaves room for another block beside this one, or else the largest there is room
 * for. */
template <int TYPE> static uint32_t ring_for(const product_args &a, bool low, size_t shared)
{
    const size_t half = shared / 2 - BLOCK_RESERVE;
    for (uint32_t ring = RING_LARGE; ring < RING_SMALL; ring++) {
        if (shared_bytes<TYPE>(a, low, ring) <= half) {
            return ring;
        }
    }
    uint32_t ring = RING_LARGE;
    while (ring < RING_SMALL && shared_bytes<TYPE>(a, low, ring) > shared) {
        ring++;
    }
    return ring;
}

/* Clusters of a kernel that a device runs at once; asked for once for each amount of memory. */
template <typename WORK> static uint32_t clusters_at_once(size_t shared)
{
    static std::atomic<uint64_t> known; /* bytes, then clusters */
    const uint64_t found = known.load(std::memory_order_relaxed);
    if (found >> 32 == shared) {
        return (uint32_t)found;
    }
    cudaLaunchAttribute cluster = {};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = SHARES;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(SHARES);
    config.blockDim = dim3(THREADS);
    config.dynamicSmemBytes = shared;
    config.attrs = &cluster;
    config.numAttrs = 1;
    int count = 0;
    if (cudaOccupancyMaxActiveClusters(&count, shares_kernel<WORK>, &config) != cudaSuccess) {
        (void)cudaGetLastError();
        count = 0;
    }
    count = count > 0 ? count : 1;
    known.store((uint64_t)shared << 32 | (uint32_t)count, std::memory_order_relaxed);
    return (uint32_t)count;
}

template <typename WORK> static void launch(const product_args &a, cudaStream_t stream)
{
    const device_summary here = dw_cuda_devices_here();
    const size_t shared = total_of(sizes_of<WORK>(a));
    /* Always the same: it is the kernel's for all threads of the process that launch it. */
    cudaFuncSetAttribute(shares_kernel<WORK>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         (int)here.shared);
    const uint32_t at_once = clusters_at_once<WORK>(shared);
    const uint32_t parts = a.activation != DW_CUDA_LINEAR ? 2 : 1;
    uint32_t clusters =
        a.tile_count * parts >= MANY_TILES ? at_once : (uint32_t)here.multiprocessors / SHARES;
    clusters = clusters < at_once ? clusters : at_once;
    launch_shape shape = {};
    shape.grid = dim3(SHARES, a.tile_count < clusters ? a.tile_count : clusters);
    shape.block = dim3(THREADS);
    shape.cluster = dim3(SHARES);
    shape.shared = shared;
    shape.dependent = true;
    launch_kernel(shares_kernel<WORK>, shape, stream, a);
}

void dw_cuda_shares_launch(int type, product_args a, bool low, cudaStream_t stream)
{
    with_type(type, [&](auto constant) {
        constexpr int TYPE = decltype(constant)::value;
        a.ring = ring_for<TYPE>(a, low, dw_cuda_devices_here().shared);
        with_work<TYPE>(a.rows, low, [&](auto work) { launch<decltype(work)>(a, stream); });
    });
}
