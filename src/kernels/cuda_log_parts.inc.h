/* What the kernels of attention of single tokens over KV logs share: how a log's records are cut
 * into parts, which block has which, what a token appends, and how parts are merged. For CUDA
 * sources, after cuda_log_rows.inc.h.
 *
 * Softmax is online (Milakov and Gimelshein, 2018), in powers of two: scores are multiplied by
 * log2(e) beforehand. Where a log is cut into parts, blocks of a cluster merge them through their
 * shared memory, and the block that is done last those that meet in memory (flash decoding, Dao
 * and others, 2023), so that a layer is one launch. Nothing in a launch depends on a log's length:
 * the blocks compute how many parts there are, and a graph always has the same number of blocks. */
#ifndef DW_KERNELS_CUDA_LOG_PARTS_INC_H
#define DW_KERNELS_CUDA_LOG_PARTS_INC_H

#include <cfloat>
#include <math_constants.h>

#define WARP 32
#define LOG2E 1.4426950408889634f
#define PART_RECORDS 64u /* at least */
#define ROW_RECORDS 512u /* the same where there are rows enough (spreads): */
#define ROWS_MANY 256u   /* parts of one that meet in memory cost more than they gain */
#define ROWS_VERY_MANY 1056u
#define CLUSTER_PART_RECORDS 128u /* the same, where they meet, of several meetings; of one: */
#define FEW_RECORDS 64u
#define CLUSTER DW_CUDA_PARTS_CLUSTER
#define CLUSTERS_MAX 40u
#define CLUSTER_PROCESSORS 110u /* that clusters have of a large device, and all run at once */

/* ---- what a token appends ---- */

/* Reads element `at` of what a token appends for a head: its keys, turned, then its values. */
static __device__ __forceinline__ void read_new(const attend_args &a, int token, int kv_head,
                                                uint32_t at, dim_reads &to)
{
    const uint32_t head_dim = a.p.head_dim;
    const bool there = at < 2 * head_dim, is_key = at < head_dim;
    const float *keys = a.k + token * a.k_token_stride + kv_head * a.k_head_stride;
    const float *values = a.v + token * a.v_token_stride + (size_t)kv_head * head_dim;
    read_dim(a, keys, token, at, is_key, to);
    to.own = there && !is_key ? values[at - head_dim] : to.own;
}

/* Where a token's record is, and a copy of it: keys, then values; null: none. */
struct new_record {
    unsigned char *keys; /* of the head; its values are behind all heads' keys */
    unsigned char *copy;
};

/* A block of 32 values, one a lane: a scale, and bytes. */
static __device__ __forceinline__ void place_block(const attend_args &a, const new_record &to,
                                                   uint32_t at, float value)
{
    float largest = fabsf(value);
    for (int mask = 16; mask > 0; mask /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, mask));
    }
    const float scale = largest / 127.0f;
    const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    const signed char quantised = (signed char)roundf(value * inverse);
    const bool is_key = at < a.p.head_dim;
    const uint32_t lane = at % 32, block = (is_key ? at : at - a.p.head_dim) / 32 * 34;
    unsigned char *rows[2] = {to.keys + (is_key ? 0 : a.p.part_bytes) + block,
                              to.copy + (is_key ? 0 : a.head_bytes) + block};
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (i == 0 || to.copy != nullptr) {
            ((signed char *)rows[i])[2 + lane] = quantised;
            if (lane == 0) {
                *(__half *)rows[i] = __float2half(scale);
            }
        }
    }
}

/* Element `at` as logs keep it. In Q8_0 by a warp, whose elements are 32 neighbours. */
template <int TYPE>
static __device__ __forceinline__ void place_new(const attend_args &a, const new_record &to,
                                                 uint32_t at, float value)
{
    const uint32_t head_dim = a.p.head_dim;
    if (at >= 2 * head_dim) {
        return;
    }
    if constexpr (TYPE == DW_KV_Q8_0) {
        place_block(a, to, at, value);
    } else {
        unsigned char *row = to.keys + (at < head_dim ? 0 : a.p.part_bytes);
        const uint32_t dim = at < head_dim ? at : at - head_dim;
        if constexpr (TYPE == DW_KV_F16) {
            ((__half *)row)[dim] = __float2half(value);
            if (to.copy != nullptr) {
                ((__half *)to.copy)[at] = __float2half(value);
            }
        } else {
            ((float *)row)[dim] = value;
        }
    }
}

/* Write a head's keys and values of a token to its log. By all threads of the block. */
template <int TYPE>
static __device__ __forceinline__ void append_token(const attend_args &a, int token, int kv_head)
{
    const dw_cuda_token &at = a.table[token];
    const new_record to = {(unsigned char *)at.records + at.position * a.record_bytes +
                               a.layer_offset + kv_head * a.head_bytes,
                           nullptr};
    for (uint32_t i = threadIdx.x; i < 2u * a.p.head_dim; i += blockDim.x) {
        dim_reads of;
        read_new(a, token, kv_head, i, of);
        place_new<TYPE>(a, to, i, turned(of));
    }
}

/* ---- scores ---- */

static __device__ __forceinline__ float power_of_2(float exponent)
{
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(exponent));
    return power;
}

/* What queries are multiplied by, so that their products with keys are exponents of two; where
 * these are capped, capped_score makes them that. */
static __device__ __forceinline__ float query_factor(const attend_args &a)
{
    return a.p.cap > 0.0f ? a.p.scale : a.p.scale * LOG2E;
}

static __device__ __forceinline__ float capped_score(const attend_args &a, float product)
{
    return a.p.cap > 0.0f ? a.p.cap * LOG2E * tanhf(product / a.p.cap) : product;
}

/* ---- parts ---- */

/* Records [from, to) of a log: a part of it. */
struct log_part {
    const unsigned char *keys; /* of record 0, of the block's head */
    uint32_t from, to;
};

/* How a log is cut. */
struct log_cut {
    uint32_t first, end; /* records that the token sees */
    uint32_t records;    /* of a part */
    uint32_t parts;
};

/* Records of a part. What a meeting's blocks can do within a few turns they share evenly: beyond
 * that there are more meetings, which takes as long as some turns. */
static __device__ __forceinline__ uint32_t part_records(const attend_args &a, uint32_t records)
{
    if (a.meets && records <= CLUSTER * CLUSTER_PART_RECORDS) {
        return max((records + CLUSTER - 1) / CLUSTER, FEW_RECORDS);
    }
    return max((records + a.p.part_count_max - 1) / a.p.part_count_max, a.meets
                                                                            ? CLUSTER_PART_RECORDS
                                                                        : a.spreads ? ROW_RECORDS
                                                                                    : PART_RECORDS);
}

static __device__ __forceinline__ log_cut cut_of(const attend_args &a, uint32_t position)
{
    log_cut c;
    c.end = position + 1;
    c.first = a.p.window > 0 && c.end > a.p.window ? c.end - a.p.window : 0;
    c.records = part_records(a, c.end - c.first);
    c.parts = (c.end - c.first + c.records - 1) / c.records;
    return c;
}

/* ---- blocks ---- */

/* A launch has blocks for each token and row, of heads of queries that one block takes. In clusters
 * those of a row are neighbours; else those of a token's rows, which read the same records. */
static __device__ __forceinline__ uint32_t grid_rows()
{
    return cluster_blocks() > 1 ? gridDim.y : gridDim.x;
}

static __device__ __forceinline__ uint32_t grid_row()
{
    return cluster_blocks() > 1 ? blockIdx.y : blockIdx.x;
}

/* Clusters of a row, or blocks, and which of them this is. */
static __device__ __forceinline__ uint32_t row_clusters()
{
    return cluster_blocks() > 1 ? gridDim.x / cluster_blocks() : gridDim.y;
}

static __device__ __forceinline__ uint32_t row_cluster()
{
    return cluster_blocks() > 1 ? blockIdx.x / cluster_blocks() : blockIdx.y;
}

/* Which queries and records a block has. */
struct block_share {
    int token;
    int row; /* of the token's: of heads of queries that one block takes */
    int kv_head;
    int heads; /* of queries */
    int first_head;
    bool padding;
    log_cut cut;
    uint32_t part;     /* the block's, now */
    uint32_t clusters; /* of blocks that have a part, or are of one that does */
    log_part records;
};

static __device__ __forceinline__ block_share share_of(const attend_args &a, int token, int row)
{
    const dw_cuda_token at = a.table[token];
    const int group_size = a.p.head_count / a.p.kv_head_count;
    const int group_blocks = grid_rows() / a.p.kv_head_count;
    const int first_in_group = row % group_blocks * a.p.block_heads;
    block_share s;
    s.token = token;
    s.row = row;
    s.kv_head = row / group_blocks;
    s.heads = min((int)a.p.block_heads, group_size - first_in_group);
    s.first_head = s.kv_head * group_size + first_in_group;
    s.padding = at.records == 0;
    s.cut = cut_of(a, at.position);
    s.clusters = (s.cut.parts + cluster_blocks() - 1) / cluster_blocks();
    s.records.keys = (const unsigned char *)at.records + a.layer_offset + s.kv_head * a.head_bytes;
    return s;
}

/* A block's records are those of one part; there may be none. */
static __device__ __forceinline__ void take_part(block_share &s, uint32_t part)
{
    s.part = part;
    s.records.from = min(s.cut.first + part * s.cut.records, s.cut.end);
    s.records.to = min(s.records.from + s.cut.records, s.cut.end);
}

/* Blocks of one head's queries may all append it: they write the same, each reads its own. */
static __device__ __forceinline__ bool appends(const attend_args &a, const block_share &s)
{
    return a.p.append && s.part == s.cut.parts - 1;
}

/* ---- sums ---- */

/* Floats of a part before its values: of each head the largest score and the total. */
#define HEAD_SUMS (2 * DW_CUDA_BLOCK_HEADS_MAX)

/* A block's sums in shared memory, [heads][largest, total] and [heads][head_dim]. */
static __host__ __device__ __forceinline__ int block_floats(const attend_args &a)
{
    return a.p.block_heads * (2 + a.p.head_dim);
}

/* A value of a head, with the head's largest score and total: over the records of a warp, a block
 * or a part. */
struct head_value {
    float largest, total, value;
};

/* Of the block's warps' sums: [warps][block_heads][KIND::row], a head's largest and total, then
 * its values. */
template <typename KIND>
static __device__ __forceinline__ head_value sum_warps(const attend_args &a, const float *warps,
                                                       int head, int dim)
{
    const float *of_head = warps + head * KIND::row;
    const int stride = a.p.block_heads * KIND::row;
    head_value s = {-FLT_MAX, 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < KIND::threads / WARP; i++) {
        s.largest = fmaxf(s.largest, of_head[i * stride]);
    }
#pragma unroll
    for (int i = 0; i < KIND::threads / WARP; i++) {
        const float *from = of_head + i * stride;
        const float weight = power_of_2(from[0] - s.largest);
        s.total += weight * from[1];
        s.value += weight * from[2 + dim];
    }
    return s;
}

/* Calls `what` with each head and dimension that is this thread's. */
template <typename KIND, typename WHAT>
static __device__ __forceinline__ void with_values(const attend_args &a, int heads, WHAT what)
{
    for (int at = threadIdx.x; at < heads * KIND::dims; at += KIND::threads) {
        if (at % KIND::dims < a.p.head_dim) {
            what(at / KIND::dims, at % KIND::dims);
        }
    }
}

/* The block's sums, in shared memory. */
template <typename KIND>
static __device__ __forceinline__ void add_warps(const attend_args &a, const float *warps,
                                                 int heads, float *block)
{
    with_values<KIND>(a, heads, [&](int head, int dim) {
        const head_value s = sum_warps<KIND>(a, warps, head, dim);
        if (dim == 0) {
            block[2 * head] = s.largest;
            block[2 * head + 1] = s.total;
        }
        block[2 * a.p.block_heads + head * a.p.head_dim + dim] = s.value;
    });
}

/* The sums of a cluster's blocks, merged through their shared memory, each block a share of them:
 * as the result's rows, or, where `part` is not null, as a part of those. */
template <int BLOCK>
static __device__ __forceinline__ void merge_cluster(const attend_args &a, const float *block,
                                                     int heads, float *y, float *part)
{
    const int count = cluster_blocks(), rank = cluster_rank(), head_dim = a.p.head_dim;
    cluster_arrive();
    cluster_wait();
    for (int at = rank * BLOCK + threadIdx.x; at < heads * head_dim; at += count * BLOCK) {
        const int g = at / head_dim;
        const float *of_head = block + 2 * g, *of_value = block + 2 * a.p.block_heads + at;
        float largest[CLUSTER], total[CLUSTER], value[CLUSTER];
#pragma unroll
        for (int i = 0; i < CLUSTER; i++) {
            const bool there = i < count;
            largest[i] = there ? read_of(of_head, i) : -CUDART_INF_F;
            total[i] = there ? read_of(of_head + 1, i) : 0.0f;
            value[i] = there ? read_of(of_value, i) : 0.0f;
        }
        float most = -FLT_MAX, sum = 0.0f, result = 0.0f;
#pragma unroll
        for (int i = 0; i < CLUSTER; i++) {
            most = fmaxf(most, largest[i]);
        }
#pragma unroll
        for (int i = 0; i < CLUSTER; i++) {
            const float weight = power_of_2(largest[i] - most);
            sum += weight * total[i];
            result += weight * value[i];
        }
        if (part == nullptr) {
            y[at] = result / sum;
            continue;
        }
        if (at % head_dim == 0) {
            part[2 * g] = most;
            part[2 * g + 1] = sum;
        }
        part[HEAD_SUMS + at] = result;
    }
    cluster_arrive(); /* nobody leaves while others read its memory */
    cluster_wait();
}

/* The same of one block, of its warps' sums. */
template <typename KIND>
static __device__ __forceinline__ void leave_block(const attend_args &a, const float *warps,
                                                   int heads, float *y, float *part)
{
    with_values<KIND>(a, heads, [&](int head, int dim) {
        const head_value s = sum_warps<KIND>(a, warps, head, dim);
        const int at = head * a.p.head_dim + dim;
        if (part == nullptr) {
            y[at] = s.value / s.total;
            return;
        }
        if (dim == 0) {
            *(float2 *)(part + head * 2) = make_float2(s.largest, s.total);
        }
        part[HEAD_SUMS + at] = s.value;
    });
    __syncthreads(); /* the same memory is used again */
}

/* WIDE values of a row of sums, with the row's largest score and total. */
template <int WIDE> struct merged {
    float largest;
    float total;
    float value[WIDE];
};

template <int WIDE, int COUNT>
static __device__ __forceinline__ void merge(merged<WIDE> &s, const merged<WIDE> from[COUNT])
{
    float largest = s.largest;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        largest = fmaxf(largest, from[i].largest);
    }
    float shrink = power_of_2(s.largest - largest);
    s.largest = largest;
    s.total *= shrink;
#pragma unroll
    for (int w = 0; w < WIDE; w++) {
        s.value[w] *= shrink;
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        float weight = power_of_2(from[i].largest - largest);
        s.total += weight * from[i].total;
#pragma unroll
        for (int w = 0; w < WIDE; w++) {
            s.value[w] += weight * from[i].value[w];
        }
    }
}

/* WIDE values of parts [first, first + CLUSTER) that are below `count`: those that meet. As
 * merge_cluster merges them. `at`: where the part `first` has them, behind those of its heads. */
template <int WIDE>
static __device__ __forceinline__ merged<WIDE> meet(const float *parts, size_t part_floats,
                                                    int first, int count, int head, int at)
{
    merged<WIDE> its[CLUSTER];
#pragma unroll
    for (int i = 0; i < CLUSTER; i++) {
        const bool there = first + i < count;
        const float *part = parts + (there ? first + i : first) * part_floats;
        const float2 pair = __ldcg((const float2 *)(part + 2 * head));
        its[i].largest = there ? pair.x : -CUDART_INF_F;
        its[i].total = there ? pair.y : 0.0f;
        if constexpr (WIDE == 4) {
            const float4 four = __ldcg((const float4 *)(part + HEAD_SUMS + at));
            its[i].value[0] = four.x, its[i].value[1] = four.y;
            its[i].value[2] = four.z, its[i].value[3] = four.w;
        } else {
            its[i].value[0] = __ldcg(part + HEAD_SUMS + at);
        }
    }
    merged<WIDE> s = {-FLT_MAX, 0.0f, {}};
#pragma unroll
    for (int i = 0; i < CLUSTER; i++) {
        s.largest = fmaxf(s.largest, its[i].largest);
    }
#pragma unroll
    for (int i = 0; i < CLUSTER; i++) {
        const float weight = power_of_2(its[i].largest - s.largest);
        s.total += weight * its[i].total;
#pragma unroll
        for (int w = 0; w < WIDE; w++) {
            s.value[w] += weight * its[i].value[w];
        }
    }
    return s;
}

/* Parts [count] into the result's rows of heads. Threads take WIDE values each, and where there are
 * more threads than that, a share of the meetings. `shared` has room for a merged<WIDE> of each
 * thread. `met`: what is there are meetings of blocks of clusters, one part each. */
template <int BLOCK, int WIDE>
static __device__ void merge_parts(const attend_args &a, const float *parts, int count, int heads,
                                   float *y, float *shared)
{
    const int head_dim = a.p.head_dim;
    const size_t part_floats = DW_CUDA_PART_FLOATS(a.p.block_heads, head_dim);
    const bool met = a.meets && cluster_blocks() > 1;
    const int each = met ? 1 : CLUSTER, meetings = (count + each - 1) / each;
    const int quads = heads * head_dim / WIDE;
    const int shares = max(1, min(BLOCK / quads, meetings));
    const int share = threadIdx.x / quads;
    merged<WIDE> *of_shares = (merged<WIDE> *)shared;
    for (int quad = threadIdx.x % quads; quad < quads && share < shares; quad += BLOCK) {
        const int head = quad * WIDE / head_dim;
        merged<WIDE> s = {-FLT_MAX, 0.0f, {}};
        for (int i = share; i < meetings; i += shares) {
            const merged<WIDE> its = meet<WIDE>(parts, part_floats, i * each,
                                                min(count, (i + 1) * each), head, quad * WIDE);
            merge<WIDE, 1>(s, &its);
        }
        if (shares > 1) {
            of_shares[threadIdx.x] = s;
            continue;
        }
#pragma unroll
        for (int w = 0; w < WIDE; w++) {
            y[quad * WIDE + w] = s.value[w] / s.total;
        }
    }
    if (shares == 1) {
        return;
    }
    __syncthreads();
    if (threadIdx.x < quads) {
        merged<WIDE> s = of_shares[threadIdx.x];
        for (int i = 1; i < shares; i++) {
            merge<WIDE, 1>(s, of_shares + i * quads + threadIdx.x);
        }
#pragma unroll
        for (int w = 0; w < WIDE; w++) {
            y[threadIdx.x * WIDE + w] = s.value[w] / s.total;
        }
    }
}

static __device__ __forceinline__ float *parts_of(const attend_args &a, size_t row)
{
    const size_t floats = a.p.part_count_max * DW_CUDA_PART_FLOATS(a.p.block_heads, a.p.head_dim);
    return (float *)(a.scratch + a.counter_bytes) + row * floats;
}

/* ---- a kernel ---- */

/* How a kernel attends, KIND:
 *   threads, blocks   of a block, and of a multiprocessor
 *   dims, row         dimensions of a head at most, and floats of what a warp leaves of one
 *   attend(a, share, own)
 *                     sums of the block's warps over its part (sum_warps), without a barrier behind
 *                     them; in it all threads wait for the kernel in front
 *   own_bytes(a)      of `own`: shared memory, room for a merged<4> of each thread */
template <typename KIND>
static __device__ __forceinline__ void attend_cluster(const attend_args &a, block_share &share,
                                                      uint32_t cluster, float *shared)
{
    float *y = a.y + ((size_t)share.token * a.p.head_count + share.first_head) * a.p.head_dim;
    float *own = shared + (block_floats(a) + 3) / 4 * 4;
    const size_t row = (size_t)share.token * grid_rows() + share.row;
    float *parts = parts_of(a, row);
    float *part = share.clusters > 1
                      ? parts + cluster * DW_CUDA_PART_FLOATS(a.p.block_heads, a.p.head_dim)
                      : nullptr;
    take_part(share, cluster * cluster_blocks() + cluster_rank());
    const float *warps = KIND::attend(a, share, own);
    __syncthreads();
    if (share.cut.parts > 1 && cluster_blocks() > 1) {
        add_warps<KIND>(a, warps, share.heads, shared);
        merge_cluster<KIND::threads>(a, shared, share.heads, y, part);
    } else {
        leave_block<KIND>(a, warps, share.heads, y, part);
    }
    if (part == nullptr || cluster_rank() != 0 ||
        !is_last((unsigned *)a.scratch + row, share.clusters)) {
        return;
    }
    if (a.p.head_dim % 4 == 0) {
        merge_parts<KIND::threads, 4>(a, parts, share.clusters, share.heads, y, own);
    } else {
        merge_parts<KIND::threads, 1>(a, parts, share.clusters, share.heads, y, own);
    }
    __syncthreads(); /* the same memory is used again */
}

/* A part of a log behind its first. */
struct further_part {
    int token, row;
    uint32_t part;
};

/* The `item`-th of all logs'; false: there are fewer. The same for all lanes of a warp. */
static __device__ bool find_further(const attend_args &a, uint32_t item, further_part &out)
{
    const uint32_t lane = threadIdx.x % WARP;
    uint32_t before = 0;
    for (uint32_t first = 0; first < gridDim.z; first += WARP) {
        uint32_t own = 0;
        if (first + lane < gridDim.z && a.table[first + lane].records != 0) {
            own = (cut_of(a, a.table[first + lane].position).parts - 1) * grid_rows();
        }
        uint32_t sum = own;
#pragma unroll
        for (int distance = 1; distance < WARP; distance *= 2) {
            const uint32_t other = __shfl_up_sync(0xffffffffu, sum, distance);
            sum += lane >= distance ? other : 0;
        }
        const unsigned reached = __ballot_sync(0xffffffffu, before + sum > item);
        if (reached != 0) {
            const int who = __ffs(reached) - 1;
            const uint32_t at = item - before - __shfl_sync(0xffffffffu, sum - own, who);
            out.token = first + who;
            out.row = at % grid_rows();
            out.part = 1 + at / grid_rows();
            return true;
        }
        before += __shfl_sync(0xffffffffu, sum, WARP - 1);
    }
    return false;
}

/* Clusters take parts in turns; where there are rows enough (spreads), a block has the first part
 * of one, and all share what else there is of logs that are longer. Every block waits, also where
 * it does nothing: whoever waits for this kernel's end then knows that those in front of it have
 * ended too. */
template <typename KIND>
static __global__ void __launch_bounds__(KIND::threads, KIND::blocks) attend_kernel(attend_args a)
{
    extern __shared__ __align__(16) float shared[];
    let_next_begin();
    const bool further = a.spreads && *a.longest > ROW_RECORDS;
    block_share share = share_of(a, blockIdx.z, grid_row());
    uint32_t cluster = row_cluster();
    uint32_t item = blockIdx.z * grid_rows() + grid_row();
    bool works =
        !share.padding && cluster < share.clusters && (share.cut.parts > 1 || cluster_rank() == 0);
    if (!works) {
        wait_for_front();
        float *y = a.y + ((size_t)share.token * a.p.head_count + share.first_head) * a.p.head_dim;
        /* Padding: zeros, which the layers behind can bear. */
        for (int i = threadIdx.x;
             share.padding && cluster + cluster_rank() == 0 && i < share.heads * a.p.head_dim;
             i += KIND::threads) {
            y[i] = 0.0f;
        }
    }
    while (works || further) {
        if (works) {
            attend_cluster<KIND>(a, share, cluster, shared);
        }
        if (!a.spreads) {
            cluster += row_clusters();
            works = cluster < share.clusters;
            continue;
        }
        further_part at;
        if (!further || !find_further(a, item, at)) {
            return;
        }
        share = share_of(a, at.token, at.row);
        cluster = at.part;
        works = true;
        item += grid_rows() * gridDim.z;
    }
}

/* ---- launches ---- */

/* Blocks for a row's parts: of few rows all, of more as many as fill a device; they take them in
 * turns, since blocks that find nothing to do take their time, too. */
static unsigned parts_at_once(const attend_args &a, unsigned rows)
{
    const unsigned parts = a.p.part_count_max, wanted = 2 * DW_CUDA_BLOCKS / rows;
    if (a.spreads) {
        return 1;
    }
    return !a.meets || wanted >= parts ? parts : wanted < 4 ? 4 : wanted;
}

/* Rows of a token. */
static unsigned rows_of(const attend_args &a)
{
    const unsigned group = a.p.head_count / a.p.kv_head_count;
    return a.p.kv_head_count * ((group + a.p.block_heads - 1) / a.p.block_heads);
}

/* Clusters where they are few: each begins once there is room for all of its blocks. Sums are the
 * same bits without. */
template <typename KIND>
static void launch_kind(const attend_args &a, unsigned tokens, cudaStream_t stream)
{
    const unsigned rows = rows_of(a), blocks = parts_at_once(a, rows * tokens);
    const unsigned all = rows * blocks * tokens;
    const bool clusters = a.meets && blocks % CLUSTER == 0 && all <= CLUSTERS_MAX * CLUSTER &&
                          all <= CLUSTER_PROCESSORS * KIND::blocks && dw_cuda_cluster_launch();
    launch_shape shape = {};
    shape.grid = clusters ? dim3(blocks, rows, tokens) : dim3(rows, blocks, tokens);
    shape.block = dim3(KIND::threads);
    shape.cluster = dim3(clusters ? CLUSTER : 1);
    shape.shared = (block_floats(a) + 3) / 4 * 4 * sizeof(float) + KIND::own_bytes(a);
    /* Records that a kernel in front appends may not be read before it has ended. */
    shape.dependent = a.p.append;
    if (shape.shared > 48 * 1024) {
        (void)cudaFuncSetAttribute(attend_kernel<KIND>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   (int)shape.shared);
    }
    launch_kernel(attend_kernel<KIND>, shape, stream, a);
}

/* By tensor cores (dw_cuda_attends_by_tensor_cores). */
void dw_cuda_launch_decode(const attend_args &a, unsigned tokens, cudaStream_t stream);

#endif
