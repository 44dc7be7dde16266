/* Attention over KV logs on CUDA devices: for steps of few tokens a log, above all decoding.
 *
 * A block takes one token, one head of keys and values with up to four of the heads of queries
 * that share it, and a part of the log's records. Each of its lanes holds eight dimensions of a
 * row; as many lanes as make a row take a record, so that a warp reads whole rows, each once for
 * all queries of the block. Softmax is online (Milakov and Gimelshein, 2018); where a log is cut
 * into parts, the block that is done last merges them (flash decoding, Dao and others, 2023), so
 * that a layer is one launch. Nothing in a launch depends on a log's length: the blocks compute how
 * many parts there are, and a graph always has the same number of blocks.
 *
 * A launch is bound by latency: so records are read before the queries are, and the next while
 * these are computed with, and a merge reads all that it needs in one trip. */
#include <cfloat>
#include <cuda_fp16.h>
#include <ggml-backend.h>
#include <math_constants.h>

extern "C" {
#include "kernels/cuda_launch.h"
}
#include "kernels/cuda_hopper.inc.h"
#include "kernels/cuda_log_rows.inc.h"

#define THREADS 128
#define WARP 32
#define WARPS (THREADS / WARP)
#define ROWS_AHEAD 2              /* records of a turn: read while those before are computed with */
#define PART_RECORDS 64u          /* at least */
#define ROW_RECORDS 512u          /* the same where there are rows enough: */
#define ROWS_MANY 256u            /* parts of one that meet in memory cost more than they gain */
#define CLUSTER_PART_RECORDS 128u /* the same, of clusters, where there are several; in one: */
#define FEW_RECORDS 16u
#define PARTS_AHEAD 8 /* parts that a thread reads before it merges the first */
#define CLUSTER DW_CUDA_PARTS_CLUSTER
#define HEAD_SUMS (2 * DW_CUDA_GROUP_MAX) /* floats of a part before its values */

/* Element `at` of what a token appends for a head: its keys, turned, then its values. */
static __device__ __forceinline__ float new_element(const attend_args &a, int token, int kv_head,
                                                    int at)
{
    int head_dim = a.p.head_dim;
    return at < head_dim
               ? turned(a, a.k + token * a.k_token_stride + kv_head * a.k_head_stride, token, at)
               : a.v[token * a.v_token_stride + (size_t)kv_head * head_dim + at - head_dim];
}

/* Write a head's keys and values of a token as the log keeps them; by all threads of the block. */
static __device__ void append_token(const attend_args &a, int token, int kv_head)
{
    const dw_cuda_token &at = a.table[token];
    const int head_dim = a.p.head_dim;
    unsigned char *keys = (unsigned char *)at.records + at.position * a.record_bytes +
                          a.layer_offset + kv_head * a.head_bytes;
    if (a.p.kv_type == DW_KV_Q8_0) {
        int lane = threadIdx.x % WARP;
        for (int block = threadIdx.x / WARP; block < head_dim / 16; block += blockDim.x / WARP) {
            float value = new_element(a, token, kv_head, block * 32 + lane);
            float largest = fabsf(value);
            for (int mask = 16; mask > 0; mask /= 2) {
                largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, mask));
            }
            float scale = largest / 127.0f;
            float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
            int of_row = block % (head_dim / 32);
            unsigned char *to = keys + (block == of_row ? 0 : a.p.part_bytes) + of_row * 34;
            ((signed char *)to)[2 + lane] = (signed char)roundf(value * inverse);
            if (lane == 0) {
                *(__half *)to = __float2half(scale);
            }
        }
        return;
    }
    for (int i = threadIdx.x; i < 2 * head_dim; i += blockDim.x) {
        float value = new_element(a, token, kv_head, i);
        unsigned char *row = keys + (i < head_dim ? 0 : a.p.part_bytes);
        if (a.p.kv_type == DW_KV_F16) {
            ((__half *)row)[i % head_dim] = __float2half(value);
        } else {
            ((float *)row)[i % head_dim] = value;
        }
    }
}

static __global__ void append_kernel(attend_args a)
{
    if (a.table[blockIdx.y].records != 0) {
        append_token(a, blockIdx.y, blockIdx.x);
    }
}

/* ---- attention ---- */

/* What a block has of its queries: in each lane its own share of eight dimensions. */
template <int GROUP> struct sums {
    float largest[GROUP];
    float total[GROUP];
    float value[GROUP][LANE_DIMS];
};

template <int GROUP>
static __device__ __forceinline__ void rescale(sums<GROUP> &s, int g, float largest, float against)
{
    float shrink = __expf(s.largest[g] - against);
    s.largest[g] = largest;
    s.total[g] *= shrink;
#pragma unroll
    for (int i = 0; i < LANE_DIMS; i++) {
        s.value[g][i] *= shrink;
    }
}

/* Keys and values of the next records of each lane group, on their way from memory. */
template <int TYPE> struct rows {
    row_dims<TYPE> k[ROWS_AHEAD];
    row_dims<TYPE> v[ROWS_AHEAD];
};

/* The first of the records that this lane has in a turn which begins at `base`: each lane group has
 * its own, THREADS / LANES apart. */
template <int LANES> static __device__ __forceinline__ uint32_t first_record(uint32_t base)
{
    return base + threadIdx.x / WARP * (WARP / LANES) + threadIdx.x % WARP / LANES;
}

/* Records from `first` on; instead of what is not below `to` the last one. */
template <int TYPE, int LANES>
static __device__ __forceinline__ void read_rows(const attend_args &a, const unsigned char *keys,
                                                 uint32_t first, uint32_t to, rows<TYPE> &out)
{
    const int chunk = threadIdx.x % LANES;
#pragma unroll
    for (int r = 0; r < ROWS_AHEAD; r++) {
        uint32_t record = min(first + r * (THREADS / LANES), to - 1);
        const unsigned char *row = keys + record * a.record_bytes;
        load_dims<TYPE>(row, chunk, a.p.head_dim, out.k[r]);
        load_dims<TYPE>(row + a.p.part_bytes, chunk, a.p.head_dim, out.v[r]);
    }
}

/* Read the record before `to` again, wherever it stands in these. */
template <int TYPE, int LANES>
static __device__ __forceinline__ void reread_last(const attend_args &a, const unsigned char *keys,
                                                   uint32_t first, uint32_t to, rows<TYPE> &out)
{
    const int chunk = threadIdx.x % LANES;
    const unsigned char *row = keys + (to - 1) * a.record_bytes;
#pragma unroll
    for (int r = 0; r < ROWS_AHEAD; r++) {
        if (first + r * (THREADS / LANES) >= to - 1) {
            load_dims<TYPE>(row, chunk, a.p.head_dim, out.k[r]);
            load_dims<TYPE>(row + a.p.part_bytes, chunk, a.p.head_dim, out.v[r]);
        }
    }
}

/* The part of a log's records that a block takes. */
struct log_part {
    const unsigned char *keys; /* of record 0, of the block's head */
    uint32_t from;             /* records [from, to) */
    uint32_t to;
};

/* A turn's scores: the queries' products with its keys, capped; no record's is -inf. */
template <int TYPE, int LANES, int GROUP>
static __device__ __forceinline__ void
score_rows(const attend_args &a, const rows<TYPE> &now, uint32_t first, uint32_t to,
           const float q[GROUP][LANE_DIMS], float score[GROUP][ROWS_AHEAD])
{
#pragma unroll
    for (int r = 0; r < ROWS_AHEAD; r++) {
        const bool there = first + r * (THREADS / LANES) < to;
        float k[LANE_DIMS];
        widen<TYPE>(now.k[r], k);
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            float dot = 0.0f;
#pragma unroll
            for (int i = 0; i < LANE_DIMS; i++) {
                dot += q[g][i] * k[i];
            }
#pragma unroll
            for (int mask = LANES / 2; mask > 0; mask /= 2) {
                dot += __shfl_xor_sync(0xffffffffu, dot, mask);
            }
            if (a.p.cap > 0.0f) {
                dot = a.p.cap * tanhf(dot / a.p.cap);
            }
            score[g][r] = there ? dot : -CUDART_INF_F;
        }
    }
}

/* Add a turn's values to the sums, each weighted by its score. */
template <int TYPE, int GROUP>
static __device__ __forceinline__ void add_rows(const rows<TYPE> &now,
                                                float score[GROUP][ROWS_AHEAD], sums<GROUP> &s)
{
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        float largest = s.largest[g];
#pragma unroll
        for (int r = 0; r < ROWS_AHEAD; r++) {
            largest = fmaxf(largest, score[g][r]);
        }
        float against = fmaxf(largest, -FLT_MAX); /* none of this lane group's yet: no NaN */
        rescale(s, g, largest, against);
#pragma unroll
        for (int r = 0; r < ROWS_AHEAD; r++) {
            score[g][r] = __expf(score[g][r] - against);
            s.total[g] += score[g][r];
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS_AHEAD; r++) {
        float v[LANE_DIMS];
        widen<TYPE>(now.v[r], v);
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
#pragma unroll
            for (int i = 0; i < LANE_DIMS; i++) {
                s.value[g][i] += score[g][r] * v[i];
            }
        }
    }
}

/* All records of a part, of which `ahead` has the first turn's. */
template <int TYPE, int LANES, int GROUP>
static __device__ __forceinline__ void walk(const attend_args &a, const log_part &part,
                                            rows<TYPE> &ahead, const float q[GROUP][LANE_DIMS],
                                            sums<GROUP> &s)
{
    const uint32_t turn = THREADS / LANES * ROWS_AHEAD;
    for (uint32_t base = part.from; base < part.to; base += turn) {
        const uint32_t first = first_record<LANES>(base);
        const rows<TYPE> now = ahead;
        if (base + turn < part.to) {
            read_rows<TYPE, LANES>(a, part.keys, first + turn, part.to, ahead);
        }
        float score[GROUP][ROWS_AHEAD];
        score_rows<TYPE, LANES, GROUP>(a, now, first, part.to, q, score);
        add_rows<TYPE, GROUP>(now, score, s);
    }
}

/* Add up what the lane groups of a warp have; each then has the warp's. */
template <int LANES, int GROUP> static __device__ __forceinline__ void reduce_warp(sums<GROUP> &s)
{
#pragma unroll
    for (int mask = LANES; mask < WARP; mask *= 2) {
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            float other = __shfl_xor_sync(0xffffffffu, s.largest[g], mask);
            float largest = fmaxf(s.largest[g], other);
            rescale(s, g, largest, fmaxf(largest, -FLT_MAX));
            s.total[g] += __shfl_xor_sync(0xffffffffu, s.total[g], mask);
#pragma unroll
            for (int i = 0; i < LANE_DIMS; i++) {
                s.value[g][i] += __shfl_xor_sync(0xffffffffu, s.value[g][i], mask);
            }
        }
    }
}

/* The block's sums, of all its warps, to `block`: [GROUP][largest, total], then
 * [GROUP][head_dim]. */
template <int LANES, int GROUP>
static __device__ __forceinline__ void reduce_block(sums<GROUP> &s, float *shared, int head_dim,
                                                    float *block)
{
    const int row = 2 + LANES * LANE_DIMS;
    const int warp = threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    reduce_warp<LANES, GROUP>(s);
    if (lane < LANES) {
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            float *to = shared + (warp * GROUP + g) * row;
            if (lane == 0) {
                to[0] = s.largest[g];
                to[1] = s.total[g];
            }
#pragma unroll
            for (int i = 0; i < LANE_DIMS; i++) {
                to[2 + lane * LANE_DIMS + i] = s.value[g][i];
            }
        }
    }
    __syncthreads();
    for (int at = threadIdx.x; at < GROUP * head_dim; at += THREADS) {
        int g = at / head_dim;
        int dim = at % head_dim;
        float largest = -FLT_MAX;
#pragma unroll
        for (int i = 0; i < WARPS; i++) {
            largest = fmaxf(largest, shared[(i * GROUP + g) * row]);
        }
        float total = 0.0f;
        float value = 0.0f;
#pragma unroll
        for (int i = 0; i < WARPS; i++) {
            const float *from = shared + (i * GROUP + g) * row;
            float weight = __expf(from[0] - largest);
            total += weight * from[1];
            value += weight * from[2 + dim];
        }
        if (dim == 0) {
            block[2 * g] = largest;
            block[2 * g + 1] = total;
        }
        block[2 * GROUP + at] = value;
    }
}

/* The sums of a cluster's blocks, merged through their shared memory, each block a share of them:
 * as the result's rows of `heads` heads, or, where `part` is not null, as a part of those. */
template <int GROUP>
static __device__ __forceinline__ void merge_cluster(const float *block, int head_dim, float *y,
                                                     int heads, float *part)
{
    const int count = cluster_blocks(), rank = cluster_rank();
    cluster_arrive();
    cluster_wait();
    for (int at = rank * THREADS + threadIdx.x; at < GROUP * head_dim; at += count * THREADS) {
        const int g = at / head_dim;
        float largest[CLUSTER], total[CLUSTER], value[CLUSTER];
#pragma unroll
        for (int i = 0; i < CLUSTER; i++) {
            const bool there = i < count;
            largest[i] = there ? read_of(block + 2 * g, i) : -CUDART_INF_F;
            total[i] = there ? read_of(block + 2 * g + 1, i) : 0.0f;
            value[i] = there ? read_of(block + 2 * GROUP + at, i) : 0.0f;
        }
        float most = -FLT_MAX, sum = 0.0f, result = 0.0f;
#pragma unroll
        for (int i = 0; i < CLUSTER; i++) {
            most = fmaxf(most, largest[i]);
        }
#pragma unroll
        for (int i = 0; i < CLUSTER; i++) {
            const float weight = __expf(largest[i] - most);
            sum += weight * total[i];
            result += weight * value[i];
        }
        if (part == nullptr) {
            if (g < heads) {
                y[at] = result / sum;
            }
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
    float shrink = __expf(s.largest - largest);
    s.largest = largest;
    s.total *= shrink;
#pragma unroll
    for (int w = 0; w < WIDE; w++) {
        s.value[w] *= shrink;
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        float weight = __expf(from[i].largest - largest);
        s.total += weight * from[i].total;
#pragma unroll
        for (int w = 0; w < WIDE; w++) {
            s.value[w] += weight * from[i].value[w];
        }
    }
}

/* Parts [part_count] into the result's rows of heads. Threads take WIDE values each, and where
 * there are more threads than that, a share of the parts, of which they read several at once:
 * nothing waits for the parts' weights. `shared` has room for a merged<WIDE> of each thread. */
template <int WIDE>
static __device__ void merge_parts(const float *parts, int part_count, int head_dim, float *y,
                                   int heads, float *shared)
{
    const size_t part_floats = DW_CUDA_PART_FLOATS(head_dim);
    const int quads = heads * head_dim / WIDE;
    const int shares = max(1, min(THREADS / quads, part_count));
    const int share = threadIdx.x / quads;
    merged<WIDE> *of_shares = (merged<WIDE> *)shared;
    for (int quad = threadIdx.x % quads; quad < quads && share < shares; quad += THREADS) {
        const float *maxima_and_sums = parts + quad * WIDE / head_dim * 2;
        const float *values = parts + HEAD_SUMS + quad * WIDE;
        merged<WIDE> s = {-FLT_MAX, 0.0f, {}};
        for (int first = share; first < part_count; first += PARTS_AHEAD * shares) {
            merged<WIDE> its[PARTS_AHEAD];
#pragma unroll
            for (int i = 0; i < PARTS_AHEAD; i++) {
                const int part = first + i * shares;
                const bool there = part < part_count;
                const size_t offset = (there ? part : first) * part_floats;
                float2 pair = __ldcg((const float2 *)(maxima_and_sums + offset));
                its[i].largest = there ? pair.x : -CUDART_INF_F;
                its[i].total = pair.y;
                if constexpr (WIDE == 4) {
                    float4 four = __ldcg((const float4 *)(values + offset));
                    its[i].value[0] = four.x, its[i].value[1] = four.y;
                    its[i].value[2] = four.z, its[i].value[3] = four.w;
                } else {
                    its[i].value[0] = __ldcg(values + offset);
                }
            }
            merge<WIDE, PARTS_AHEAD>(s, its);
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

/* A thread's share of the queries of the block's heads, rotated and scaled. */
template <int GROUP> struct own_queries {
    static constexpr int most = (GROUP * DW_CUDA_HEAD_DIM_MAX + THREADS - 1) / THREADS;
    float v[most];
};

template <int GROUP>
static __device__ __forceinline__ void read_queries(const attend_args &a, int first_head, int heads,
                                                    own_queries<GROUP> &q)
{
    const int token = blockIdx.z;
#pragma unroll
    for (int i = 0; i < own_queries<GROUP>::most; i++) {
        const int at = threadIdx.x + i * THREADS;
        if (at < heads * a.p.head_dim) {
            const int head = first_head + at / a.p.head_dim;
            const float *row = a.q + token * a.q_token_stride + head * a.q_head_stride;
            q.v[i] = turned(a, row, token, at % a.p.head_dim) * a.p.scale;
        }
    }
}

template <int GROUP>
static __device__ __forceinline__ void share_queries(const attend_args &a, int heads,
                                                     const own_queries<GROUP> &q, float *shared)
{
#pragma unroll
    for (int i = 0; i < own_queries<GROUP>::most; i++) {
        const int at = threadIdx.x + i * THREADS;
        if (at < heads * a.p.head_dim) {
            shared[at] = q.v[i];
        }
    }
    __syncthreads();
}

/* A lane's dimensions of the queries, and sums of nothing yet. */
template <int LANES, int GROUP>
static __device__ __forceinline__ void begin(const float *shared, int heads, int head_dim,
                                             float q[GROUP][LANE_DIMS], sums<GROUP> &s)
{
    const int chunk = threadIdx.x % LANES;
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        s.largest[g] = -CUDART_INF_F;
        s.total[g] = 0.0f;
#pragma unroll
        for (int i = 0; i < LANE_DIMS; i++) {
            int dim = chunk * LANE_DIMS + i;
            q[g][i] = g < heads && dim < head_dim ? shared[g * head_dim + dim] : 0.0f;
            s.value[g][i] = 0.0f;
        }
    }
}

/* Which queries and records a block has. */
struct block_share {
    int kv_head;
    int heads; /* of queries */
    int first_head;
    uint32_t first, end, part_records; /* of the log's */
    uint32_t part;                     /* the block's, now */
    uint32_t parts;                    /* of the log's records */
    uint32_t clusters;                 /* of blocks that have one, or are of one that does */
    log_part records;
};

/* Records of a part. What one cluster's blocks can do within a few turns stays in it, and they
 * share it evenly: beyond that sums meet in memory, which takes as long as some turns. */
static __device__ __forceinline__ uint32_t part_records(uint32_t records, uint32_t parts_max)
{
    const uint32_t blocks = cluster_blocks();
    if (blocks > 1 && records <= blocks * CLUSTER_PART_RECORDS) {
        return max((records + blocks - 1) / blocks, FEW_RECORDS);
    }
    return max((records + parts_max - 1) / parts_max,
               blocks > 1 ? CLUSTER_PART_RECORDS
               : gridDim.z <= DW_CUDA_PRODUCT_ROWS || gridDim.y * gridDim.z < ROWS_MANY
                   ? PART_RECORDS
                   : ROW_RECORDS);
}

template <int GROUP>
static __device__ __forceinline__ block_share share_of(const attend_args &a,
                                                       const dw_cuda_token &at)
{
    const int group_size = a.p.head_count / a.p.kv_head_count;
    const int group_blocks = gridDim.y / a.p.kv_head_count;
    const int first_in_group = blockIdx.y % group_blocks * GROUP;
    block_share s;
    s.kv_head = blockIdx.y / group_blocks;
    s.heads = min(GROUP, group_size - first_in_group);
    s.first_head = s.kv_head * group_size + first_in_group;
    const uint32_t end = at.position + 1;
    const uint32_t first = a.p.window > 0 && end > a.p.window ? end - a.p.window : 0;
    s.first = first;
    s.end = end;
    s.part_records = part_records(end - first, a.p.part_count_max);
    s.parts = (end - first + s.part_records - 1) / s.part_records;
    s.clusters = (s.parts + cluster_blocks() - 1) / cluster_blocks();
    s.records.keys = (const unsigned char *)at.records + a.layer_offset + s.kv_head * a.head_bytes;
    return s;
}

/* A block's records are those of one part. */
static __device__ __forceinline__ void take_part(block_share &s, uint32_t part)
{
    s.part = part;
    s.records.from = min(s.first + part * s.part_records, s.end);
    s.records.to = min(s.records.from + s.part_records, s.end);
}

/* A block's sums over its records; it may have none. */
template <int TYPE, int LANES, int GROUP>
static __device__ __forceinline__ void attend_part(const attend_args &a, const block_share &share,
                                                   float *shared, sums<GROUP> &s)
{
    const log_part &part = share.records;
    const bool works = part.from < part.to;
    const uint32_t first = first_record<LANES>(part.from);
    rows<TYPE> ahead;
    if (works) {
        read_rows<TYPE, LANES>(a, part.keys, first, part.to, ahead);
    }
    wait_for_front(); /* for queries and what is new; records are of steps before */
    /* Blocks of one head's queries may all append it: they write the same, each reads its own. */
    const bool appends = a.p.append && share.part == share.parts - 1;
    own_queries<GROUP> own;
    read_queries<GROUP>(a, share.first_head, share.heads, own);
    if (appends) {
        append_token(a, blockIdx.z, share.kv_head);
    }
    share_queries<GROUP>(a, share.heads, own, shared);
    float q[GROUP][LANE_DIMS];
    begin<LANES, GROUP>(shared, share.heads, a.p.head_dim, q, s);
    if (appends) { /* what was read of the new record was not there yet */
        reread_last<TYPE, LANES>(a, part.keys, first, part.to, ahead);
    }
    __syncthreads(); /* the same memory is used again */
    if (works) {
        walk<TYPE, LANES, GROUP>(a, part, ahead, q, s);
    }
}

static __device__ __forceinline__ float *parts_of(const attend_args &a, size_t row)
{
    const size_t floats = a.p.part_count_max * DW_CUDA_PART_FLOATS(a.p.head_dim);
    return (float *)(a.scratch + a.counter_bytes) + row * floats;
}

/* A part that is the cluster's, of the `cluster`-th of the log's. Whether all are done, and this
 * block is to merge them. */
template <int TYPE, int LANES, int GROUP>
static __device__ __forceinline__ bool attend_cluster(const attend_args &a, block_share &share,
                                                      uint32_t cluster, float *shared)
{
    const int token = blockIdx.z;
    float *y = a.y + ((size_t)token * a.p.head_count + share.first_head) * a.p.head_dim;
    float *block = shared + WARPS * GROUP * (2 + LANES * LANE_DIMS);
    const size_t row = (size_t)token * gridDim.y + blockIdx.y;
    sums<GROUP> s;
    take_part(share, cluster * cluster_blocks() + blockIdx.x % cluster_blocks());
    attend_part<TYPE, LANES, GROUP>(a, share, shared, s);
    reduce_block<LANES, GROUP>(s, shared, a.p.head_dim, block);
    float *parts = parts_of(a, row) + cluster * DW_CUDA_PART_FLOATS(a.p.head_dim);
    merge_cluster<GROUP>(block, a.p.head_dim, y, share.heads, share.clusters > 1 ? parts : nullptr);
    return share.clusters > 1 && cluster_rank() == 0 &&
           is_last((unsigned *)a.scratch + row, share.clusters);
}

/* Clusters take parts in turns. Every block waits, also where it does nothing: whoever waits for
 * this kernel's end then knows that those in front of it have ended too. */
template <int TYPE, int LANES, int GROUP>
static __global__ void __launch_bounds__(THREADS) attend_kernel(attend_args a)
{
    extern __shared__ float shared[];
    const int token = blockIdx.z;
    let_next_begin();
    const dw_cuda_token at = a.table[token];
    block_share share = share_of<GROUP>(a, at);
    float *y = a.y + ((size_t)token * a.p.head_count + share.first_head) * a.p.head_dim;
    uint32_t cluster = blockIdx.x / cluster_blocks();
    if (at.records == 0 || cluster >= share.clusters) {
        wait_for_front();
        /* Padding: zeros, which the layers behind can bear. */
        for (int i = threadIdx.x;
             at.records == 0 && blockIdx.x == 0 && i < share.heads * a.p.head_dim; i += THREADS) {
            y[i] = 0.0f;
        }
        return;
    }
    bool merges = false;
    for (; cluster < share.clusters; cluster += gridDim.x / cluster_blocks()) {
        merges = attend_cluster<TYPE, LANES, GROUP>(a, share, cluster, shared);
    }
    if (!merges) {
        return;
    }
    float *parts = parts_of(a, (size_t)token * gridDim.y + blockIdx.y);
    if (a.p.head_dim % 4 == 0) {
        merge_parts<4>(parts, share.clusters, a.p.head_dim, y, share.heads, shared);
    } else {
        merge_parts<1>(parts, share.clusters, a.p.head_dim, y, share.heads, shared);
    }
}

/* ---- launches ---- */

static void take_new(attend_args *a, const struct ggml_tensor *k, const struct ggml_tensor *v)
{
    a->k = (const float *)k->data;
    a->k_head_stride = k->nb[1] / sizeof(float);
    a->k_token_stride = k->nb[2] / sizeof(float);
    a->v = (const float *)v->data;
    a->v_token_stride = v->nb[1] / sizeof(float);
}

extern "C" void dw_cuda_launch_append(const struct ggml_tensor *node, void *stream)
{
    attend_args a = args_of(node);
    const struct ggml_tensor *k = node->src[0];
    take_new(&a, k, node->src[1]);
    a.table = (const dw_cuda_token *)node->src[2]->data;
    a.rope = node->src[3] != nullptr ? (const float *)node->src[3]->data : nullptr;
    dim3 grid(a.p.kv_head_count, (unsigned)k->ne[2]);
    append_kernel<<<grid, THREADS, 0, (cudaStream_t)stream>>>(a);
}

template <int TYPE, int LANES, int GROUP>
static void launch(const attend_args &a, dim3 grid, cudaStream_t stream)
{
    size_t warps = (size_t)WARPS * GROUP * (2 + LANES * LANE_DIMS) * sizeof(float);
    size_t block = (size_t)GROUP * (2 + a.p.head_dim) * sizeof(float);
    size_t merging = THREADS * sizeof(merged<4>);
    const bool clusters = grid.x % CLUSTER == 0 && dw_cuda_cluster_launch();
    launch_shape shape = {};
    shape.grid = grid;
    shape.block = dim3(THREADS);
    shape.cluster = dim3(clusters ? CLUSTER : 1);
    shape.shared = warps + block < merging ? merging : warps + block;
    /* Records that a kernel in front appends may not be read before it has ended. */
    shape.dependent = a.p.append;
    launch_kernel(attend_kernel<TYPE, LANES, GROUP>, shape, stream, a);
}

/* Blocks for a row's parts: of few rows all, of more as many as fill a device; they take them in
 * turns, since blocks that find nothing to do take their time, too. */
static unsigned parts_at_once(const attend_args &a, unsigned rows)
{
    const unsigned parts = a.p.part_count_max, wanted = 2 * DW_CUDA_BLOCKS / rows;
    if (parts % CLUSTER != 0 || wanted >= parts) {
        return parts;
    }
    return wanted < CLUSTER ? CLUSTER : wanted / CLUSTER * CLUSTER;
}

template <int TYPE, int LANES>
static void launch_group(const attend_args &a, unsigned tokens, cudaStream_t stream)
{
    unsigned group = a.p.head_count / a.p.kv_head_count;
    unsigned blocks = (group + DW_CUDA_GROUP_MAX - 1) / DW_CUDA_GROUP_MAX;
    dim3 grid(parts_at_once(a, a.p.kv_head_count * blocks * tokens), a.p.kv_head_count * blocks,
              tokens);
    switch (group) {
    case 1:
        launch<TYPE, LANES, 1>(a, grid, stream);
        break;
    case 2:
        launch<TYPE, LANES, 2>(a, grid, stream);
        break;
    case 3:
        launch<TYPE, LANES, 3>(a, grid, stream);
        break;
    default:
        launch<TYPE, LANES, DW_CUDA_GROUP_MAX>(a, grid, stream);
        break;
    }
}

template <int TYPE>
static void launch_lanes(const attend_args &a, unsigned tokens, cudaStream_t stream)
{
    int chunks = (a.p.head_dim + LANE_DIMS - 1) / LANE_DIMS;
    if (chunks <= 4) {
        launch_group<TYPE, 4>(a, tokens, stream);
    } else if (chunks <= 8) {
        launch_group<TYPE, 8>(a, tokens, stream);
    } else if (chunks <= 16) {
        launch_group<TYPE, 16>(a, tokens, stream);
    } else {
        launch_group<TYPE, 32>(a, tokens, stream);
    }
}

extern "C" void dw_cuda_launch_attend(const struct ggml_tensor *node, void *stream)
{
    attend_args a = args_of(node);
    const struct ggml_tensor *q = node->src[0];
    unsigned tokens = (unsigned)q->ne[2];
    unsigned group = a.p.head_count / a.p.kv_head_count;
    unsigned blocks = (group + DW_CUDA_GROUP_MAX - 1) / DW_CUDA_GROUP_MAX;
    a.q = (const float *)q->data;
    a.q_head_stride = q->nb[1] / sizeof(float);
    a.q_token_stride = q->nb[2] / sizeof(float);
    a.table = (const dw_cuda_token *)node->src[1]->data;
    a.scratch = (unsigned char *)node->src[2]->data;
    a.counter_bytes =
        (uint32_t)((tokens * a.p.kv_head_count * blocks * sizeof(unsigned) + 255) / 256 * 256);
    a.y = (float *)node->data;
    take_new(&a, node->src[3], node->src[4]);
    a.rope = node->src[5] != nullptr ? (const float *)node->src[5]->data : nullptr;
    switch (a.p.kv_type) {
    case DW_KV_F16:
        launch_lanes<DW_KV_F16>(a, tokens, (cudaStream_t)stream);
        break;
    case DW_KV_Q8_0:
        launch_lanes<DW_KV_Q8_0>(a, tokens, (cudaStream_t)stream);
        break;
    default:
        launch_lanes<DW_KV_F32>(a, tokens, (cudaStream_t)stream);
        break;
    }
}
