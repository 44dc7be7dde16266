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
#include "kernels/cuda_product_block.inc.h"

#define CLUSTER_MAX 8u
#define BLOCK_COLUMNS 4096u /* of a block of a cluster, at most */
#define BLOCK_ROWS 8u       /* of x, at most */
#define QUANTISED_ROWS 4u   /* with more, blocks that share x's columns are faster; 16 bits: all */
#define LAUNCHES_MAX 2u     /* of a product: with more, ggml's are as fast */

static_assert(sizeof(dw_cuda_product_params) <= DW_CUDA_PARAM_BYTES, "kept with the node");

/* ---- x ---- */

/* A thread's chunks of a row from chunk `at` on. */
template <int COUNT> struct chunks {
    float v[COUNT][8];
};

template <int TYPE, int COUNT>
static __device__ __forceinline__ void read_chunks(const float *row, uint32_t at, uint32_t end,
                                                   chunks<COUNT> &out)
{
#pragma unroll
    for (uint32_t i = 0; i < COUNT; i++) {
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

/* Chunks of x from `at` on, times the norm's weights, to their place; `square` += their squares. */
template <typename WORK, int COUNT>
static __device__ __forceinline__ void
pack_chunks(const product_args &a, const packed &to, const chunk_range &range, uint32_t at,
            uint32_t row, chunks<COUNT> &x, const chunks<2> &norm, float &square)
{
#pragma unroll
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t chunk = at + i * THREADS + threadIdx.x;
        if (at + i * THREADS >= range.end) { /* the same for all threads */
            break;
        }
        if (a.norm != NULL) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                square += x.v[i][j] * x.v[i][j];
                x.v[i][j] *= norm.v[i][j];
            }
        }
        bool own = chunk >= range.own_first && chunk < range.own_end;
        pack_chunk<WORK>(to, own ? chunk - range.own_first : 0, row, a.rows, x.v[i], own);
    }
}

/* A row's sum of squares, in parts, to `squares` [SQUARES][rows]. */
static __device__ __forceinline__ void leave_square(const product_args &a, uint32_t row,
                                                    float square, float *squares)
{
    if (a.norm != NULL) {
        square = eighth_sum(square);
        if (threadIdx.x % 8 == 0) {
            squares[threadIdx.x / 8 * a.rows + row] = square;
        }
    }
}

/* ---- the way through ---- */

/* What a block works with. */
struct block_state {
    packed x;
    weight_ring weights;             /* the warp's */
    float *sent;                     /* [turn][cluster - 1][part][sums of a tile] */
    float *squares;                  /* [SQUARES][row of x] */
    float *partial;                  /* [turn][part][warp][sums of a tile] */
    uint32_t first_stage, end_stage; /* of the block */
    float factor; /* that norms the row whose sums are this thread's in the end */
    float added;  /* to the tile's */
};

/* Shared memory: what the cluster's other blocks send to the first, rings, x, its scales and sums,
 * sums of squares, sums of two tiles. */
struct shared_sizes {
    size_t sent, ring;
    packed_sizes x;
    size_t squares, partial;
};

/* What a launch is like: how many blocks share a tile's columns, stages that each takes, rows of x,
 * the rings' size. */
struct launch_plan {
    uint32_t cluster, stages, rows, ring;
};

template <typename WORK>
static __host__ __device__ __forceinline__ shared_sizes sizes_of(const launch_plan &plan)
{
    typedef form<WORK::type> f;
    shared_sizes s;
    s.sent = (size_t)2 * 2 * (plan.cluster - 1) * WORK::tile_sums * 4;
    s.ring = (size_t)WARPS * ring_of<WORK::type>::bytes(plan.ring);
    s.x = packed_bytes<WORK>(plan.stages * f::columns, plan.rows);
    s.squares = rounded_16(SQUARES * plan.rows * 4);
    s.partial = (size_t)2 * 2 * WARPS * WORK::tile_sums * 4;
    return s;
}

static size_t total_of(const shared_sizes &s)
{
    return s.sent + s.ring + s.x.values + s.x.scales + s.x.sums + s.squares + s.partial;
}

/* ---- a kernel ---- */

template <typename WORK>
static __device__ __forceinline__ void begin_block(const product_args &a, block_state &b,
                                                   unsigned char *shared)
{
    typedef form<WORK::type> f;
    const uint32_t all = a.columns / f::columns, warp = threadIdx.x / WARP;
    const launch_plan plan = {gridDim.y, a.piece_stages, a.rows, a.ring};
    const shared_sizes sizes = sizes_of<WORK>(plan);
    b.first_stage = blockIdx.y * a.piece_stages;
    b.end_stage = min(b.first_stage + a.piece_stages, all);
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
    b.partial = (float *)(shared + sizes.squares);
    b.weights.first_stage = b.first_stage + warp;
    b.weights.stages = b.end_stage > b.weights.first_stage
                           ? (b.end_stage - b.weights.first_stage + WARPS - 1) / WARPS
                           : 0;
    b.weights.step = gridDim.x;
    b.weights.rounds = a.tile_count; /* or fewer: up to the end */
    b.weights.rest = b.weights.end = a.tile_count;
    begin_ring<WORK::type>(a, b.weights, ring, blockIdx.x);
}

/* A warp's stages of one tile and part; its sums to `own`. */
template <typename WORK>
static __device__ __forceinline__ void add_part(const product_args &a, block_state &b, float *own)
{
    const uint32_t blocks = form<WORK::type>::columns / BLOCK, warp = threadIdx.x / WARP;
    const stage_range range = {b.weights.stages, warp * blocks, WARPS * blocks};
    sums_of<WORK> s = {};
    add_stages<WORK>(a, b.weights, b.x, range, s);
#pragma unroll
    for (uint32_t i = 0; i < WORK::lane_sums; i++) {
        own[i * WARP + threadIdx.x % WARP] = lane_sum<WORK>(s, i);
    }
}

/* A tile's sums over the warps, then over the cluster's blocks, and what becomes of them. */
template <typename WORK>
static __device__ __forceinline__ void finish_tile(const product_args &a, const block_state &b,
                                                   uint32_t tile, uint32_t turn)
{
    constexpr uint32_t count = WORK::tile_sums; /* at most THREADS: a thread has one */
    const uint32_t others = gridDim.y - 1, i = threadIdx.x;
    const sum_place<WORK> place(i);
    const float *partial = b.partial + turn * (2 * WARPS * count) + i;
    float *sent = b.sent + turn * 2 * others * count + i;
    const bool works = i < count && place.row < a.rows;
    float sums[2] = {0.0f, 0.0f};
    if (works) {
#pragma unroll
        for (uint32_t part = 0; part < 2; part++) {
            if (part < b.weights.parts) {
#pragma unroll
                for (uint32_t w = 0; w < WARPS; w++) {
                    sums[part] += partial[(part * WARPS + w) * count];
                }
                if (blockIdx.y > 0) {
                    send(address_in(sent + ((blockIdx.y - 1) * 2 + part) * count, 0), sums[part]);
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
        sums[1] += b.weights.parts > 1 ? sent[(other * 2 + 1) * count] : 0.0f;
    }
    finish_row(a, {tile, place.in_tile, place.row}, sums, b.factor, b.added);
}

/* What a thread has of the norm's weights: all of its own, or the first. */
typedef chunks<2> norm_chunks;

/* Rows of x of which a thread has COUNT chunks at most, ROWS_AHEAD of them on their way at once. */
template <typename WORK, int COUNT, uint32_t ROWS_AHEAD>
static __device__ __forceinline__ void pack_rows(const product_args &a, block_state &b,
                                                 const chunk_range &range, const norm_chunks &norm)
{
    constexpr int TYPE = WORK::type;
    chunks<COUNT> x[ROWS_AHEAD];
#pragma unroll
    for (uint32_t i = 0; i < ROWS_AHEAD; i++) {
        if (i < a.rows) {
            read_chunks<TYPE>(a.x + i * a.columns, range.first, range.end, x[i]);
        }
    }
    fetch_rest<TYPE>(a, b.weights);
#pragma unroll 1
    for (uint32_t first = 0; first < a.rows; first += ROWS_AHEAD) {
#pragma unroll
        for (uint32_t i = 0; i < ROWS_AHEAD; i++) {
            const uint32_t row = first + i, next = row + ROWS_AHEAD;
            if (row >= a.rows) {
                break;
            }
            float square = 0.0f;
            pack_chunks<WORK>(a, b.x, range, range.first, row, x[i], norm, square);
            if (next < a.rows) {
                read_chunks<TYPE>(a.x + next * a.columns, range.first, range.end, x[i]);
            }
            leave_square(a, row, square, b.squares);
        }
    }
}

/* Longer rows: one after another, and each a part at a time. */
template <typename WORK>
static __device__ __forceinline__ void pack_long_rows(const product_args &a, block_state &b,
                                                      const chunk_range &range, norm_chunks &norm)
{
    constexpr int TYPE = WORK::type;
    chunks<2> x;
    read_chunks<TYPE>(a.x, range.first, range.end, x);
    fetch_rest<TYPE>(a, b.weights);
#pragma unroll 1
    for (uint32_t row = 0; row < a.rows; row++) {
        const float *from = a.x + row * a.columns;
        float square = 0.0f;
#pragma unroll 1
        for (uint32_t at = range.first; at < range.end; at += 2 * THREADS) {
            const bool last = at + 2 * THREADS >= range.end;
            const uint32_t then = last ? range.first : at + 2 * THREADS;
            chunks<2> next = {};
            if (!last || row + 1 < a.rows) {
                read_chunks<TYPE>(last ? from + a.columns : from, then, range.end, next);
            }
            pack_chunks<WORK>(a, b.x, range, at, row, x, norm, square);
            x = next;
            if (a.norm != NULL) {
                read_chunks<TYPE>(a.norm, then, range.end, norm);
            }
        }
        leave_square(a, row, square, b.squares);
    }
}

/* The ring's first, then x, then all of the ring: its copies would stand in x's way. */
template <typename WORK>
static __device__ __forceinline__ void begin_copies(const product_args &a, block_state &b)
{
    const uint32_t chunk = form<WORK::type>::columns / 8;
    chunk_range range;
    range.own_first = b.first_stage * chunk;
    range.own_end = b.end_stage * chunk;
    range.first = a.norm != NULL ? 0 : range.own_first;
    range.end = a.norm != NULL ? a.columns / 8 : range.own_end;
    norm_chunks norm;
    if (a.norm != NULL) {
        read_chunks<WORK::type>(a.norm, range.first, range.end, norm);
    }
    fetch_first<WORK::type>(a, b.weights);
    wait_for_front();
    if (range.end - range.first <= THREADS) {
        pack_rows<WORK, 1, 2 * WORK::groups>(a, b, range, norm);
    } else if (range.end - range.first <= 2 * THREADS) {
        pack_rows<WORK, 2, WORK::groups>(a, b, range, norm);
    } else {
        pack_long_rows<WORK>(a, b, range, norm);
    }
}

/* Blocks [x] share the tiles, [y] a tile's columns: those of one tile are a cluster. */
template <typename WORK>
static __global__ void __launch_bounds__(THREADS, 2) product_kernel(const product_args a)
{
    extern __shared__ __align__(128) unsigned char shared[];
    block_state b;
    let_next_begin();
    begin_block<WORK>(a, b, shared);
    if (gridDim.y > 1) {
        cluster_arrive_bare();
    }
    begin_copies<WORK>(a, b);
    __syncthreads();
    const sum_place<WORK> place(threadIdx.x);
    b.factor = factor_of(a, b.squares, place.row);
    if (gridDim.y > 1) {
        cluster_wait(); /* the first block runs: its memory can be written */
    }
    uint32_t turn = 0;
#pragma unroll 1
    for (uint32_t tile = blockIdx.x; tile < a.tile_count; tile += gridDim.x) {
        if (blockIdx.y == 0 && threadIdx.x < WORK::tile_sums && place.row < a.rows) {
            b.added = read_added(a, {tile, place.in_tile, place.row});
        }
        float *own = b.partial + (turn * 2 * WARPS + threadIdx.x / WARP) * WORK::tile_sums;
#pragma unroll 1
        for (uint32_t part = 0; part < b.weights.parts; part++) {
            add_part<WORK>(a, b, own + part * WARPS * WORK::tile_sums);
        }
        __syncthreads();
        finish_tile<WORK>(a, b, tile, turn);
        turn ^= 1;
    }
}

/* ---- devices ---- */

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

static dw_cuda_product_limits forced;

device_summary dw_cuda_devices_here(void)
{
    static const device_summary found = find_devices();
    device_summary here = found;
    here.shared = forced.shared > 0 ? forced.shared : here.shared;
    here.hopper = here.hopper && !forced.no_clusters;
    return here;
}

extern "C" void dw_cuda_products_force(const dw_cuda_product_limits *limits)
{
    forced = limits != NULL ? *limits : dw_cuda_product_limits{};
}

extern "C" bool dw_cuda_dependent_launch(void)
{
    return dw_cuda_devices_here().hopper && !forced.plain;
}

extern "C" bool dw_cuda_cluster_launch(void)
{
    return dw_cuda_devices_here().hopper;
}

/* ---- launches ---- */

template <int TYPE> static uint32_t piece_stages(uint32_t columns, uint32_t cluster)
{
    uint32_t stages = columns / form<TYPE>::columns;
    uint32_t warps = (stages + cluster * WARPS - 1) / (cluster * WARPS);
    return cluster > 1 ? warps * WARPS : stages;
}

template <int TYPE, uint32_t RING>
static bool fits(uint32_t columns, uint32_t rows, uint32_t cluster)
{
    const launch_plan plan = {cluster, piece_stages<TYPE>(columns, cluster), rows, RING};
    const bool few = rows <= work_of<TYPE, 1, true>::rows;
    return total_of(few ? sizes_of<work_of<TYPE, 1, true>>(plan)
                        : sizes_of<work_of<TYPE, 2, true>>(plan)) <= dw_cuda_devices_here().shared;
}

/* Blocks that share a tile's columns: few enough columns each, and room for a row of x at least.
 * The same for all numbers of rows, since a row's sums depend on it. 0: none will do. */
template <int TYPE> static uint32_t cluster_for(uint32_t columns)
{
    const uint32_t most = dw_cuda_devices_here().hopper ? CLUSTER_MAX : 1;
    uint32_t cluster = 1;
    while (cluster < most && columns / cluster > BLOCK_COLUMNS) {
        cluster *= 2;
    }
    while (cluster <= most && !fits<TYPE, RING_SMALL>(columns, 1, cluster)) {
        cluster *= 2;
    }
    return cluster <= most ? cluster : 0;
}

/* Rows of x that a launch may have, at most `rows`. */
template <int TYPE> static uint32_t rows_for(uint32_t columns, uint32_t rows, uint32_t cluster)
{
    rows = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
    while (rows > 0 && !fits<TYPE, RING_SMALL>(columns, rows, cluster)) {
        rows--;
    }
    return rows;
}

template <typename WORK>
static void launch_plain(product_args a, uint32_t cluster, cudaStream_t stream)
{
    auto kernel = product_kernel<WORK>;
    const device_summary here = dw_cuda_devices_here();
    launch_plan plan = {cluster, a.piece_stages, a.rows, RING_LARGE};
    while (plan.ring < RING_SMALL && total_of(sizes_of<WORK>(plan)) > here.shared) {
        plan.ring++;
    }
    a.ring = plan.ring;
    /* As many as run at once: the others would begin late, and those of the next kernel too. */
    const size_t shared = total_of(sizes_of<WORK>(plan));
    const uint32_t per_processor = 2 * (shared + BLOCK_RESERVE) <= here.shared ? 2 : 1;
    const uint32_t wanted = per_processor * (uint32_t)here.multiprocessors / cluster;
    /* Always the same: it is the kernel's for all threads of the process that launch it. */
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)here.shared);
    launch_shape shape = {};
    shape.grid = dim3(a.tile_count < wanted ? a.tile_count : wanted, cluster);
    shape.block = dim3(THREADS);
    shape.cluster = dim3(1, cluster);
    shape.shared = shared;
    shape.dependent = true;
    launch_kernel(kernel, shape, stream, a);
}

template <int TYPE> static void launch_few(const product_args &all, cudaStream_t stream)
{
    product_args a = all;
    const uint32_t cluster = cluster_for<TYPE>(a.columns);
    if (a.rows <= work_of<TYPE, 1, true>::rows) {
        launch_plain<work_of<TYPE, 1, true>>(a, cluster, stream);
    } else {
        launch_plain<work_of<TYPE, 2, true>>(a, cluster, stream);
    }
}

/* The kernels' limits for rows of a launch: of a few, and where blocks share columns. */
struct row_limits {
    uint32_t few, shares;
};

template <int TYPE> static row_limits limits_of(const product_args &a, bool low)
{
    const uint32_t cluster = cluster_for<TYPE>(a.columns);
    row_limits limits = {};
    limits.few = low && cluster > 0 ? rows_for<TYPE>(a.columns, a.rows, cluster) : 0;
    limits.shares = cluster > 0 ? dw_cuda_shares_rows(TYPE, a, low) : 0;
    return limits;
}

/* All rows, in as many launches as they need: a row's sums are the same whatever is beside it. */
template <int TYPE> static void launch_rows(product_args a, cudaStream_t stream)
{
    const uint32_t few = form<TYPE>::in_file ? BLOCK_ROWS : QUANTISED_ROWS;
    const uint32_t from = forced.shares_from > 0 ? forced.shares_from : few + 1;
    const bool low = a.rows <= DW_CUDA_PRODUCT_ROWS;
    a.piece_stages = piece_stages<TYPE>(a.columns, cluster_for<TYPE>(a.columns));
    for (uint32_t left = a.rows; left > 0; left -= a.rows) {
        a.rows = left;
        const row_limits limits = limits_of<TYPE>(a, low);
        const bool shares = limits.few == 0 || (left >= from && limits.shares >= limits.few);
        a.rows = shares ? limits.shares : limits.few;
        if (shares) {
            dw_cuda_shares_launch(TYPE, a, low, stream);
        } else {
            launch_few<TYPE>(a, stream);
        }
        a.x += (size_t)a.rows * a.columns;
        a.y += (size_t)a.rows * a.y_length;
        a.residual += a.residual != NULL ? (size_t)a.rows * a.y_length : 0;
    }
}

extern "C" uint32_t dw_cuda_product_rows(int type, uint32_t columns)
{
    uint32_t rows = 0;
    if (dw_cuda_devices_here().major < 8) {
        return 0;
    }
    with_type(type, [&](auto constant) {
        constexpr int TYPE = decltype(constant)::value;
        if (columns == 0 || columns % form<TYPE>::columns != 0) {
            return;
        }
        product_args a = {};
        a.columns = columns;
        a.rows = DW_CUDA_PRODUCT_ROWS;
        const row_limits low = limits_of<TYPE>(a, true);
        const uint32_t most = low.few > low.shares ? low.few : low.shares;
        rows =
            most * LAUNCHES_MAX < DW_CUDA_PRODUCT_ROWS ? most * LAUNCHES_MAX : DW_CUDA_PRODUCT_ROWS;
        if (form<TYPE>::in_file) {
            return;
        }
        a.rows = DW_CUDA_PRODUCT_ROWS_MANY;
        const uint32_t many = LAUNCHES_MAX * limits_of<TYPE>(a, false).shares;
        rows = many < rows                        ? rows
               : many < DW_CUDA_PRODUCT_ROWS_MANY ? many
                                                  : DW_CUDA_PRODUCT_ROWS_MANY;
    });
    return rows;
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
        launch_rows<decltype(constant)::value>(a, (cudaStream_t)stream);
    });
}
