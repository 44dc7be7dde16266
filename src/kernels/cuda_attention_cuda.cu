/* Attention of single tokens over KV logs on CUDA devices, of keys and values that tensor cores do
 * not take as they are (cuda_decode_cuda.cu has the others).
 *
 * A block takes one token, one head of keys and values with up to four of the heads of queries
 * that share it, and a part of the log's records. Each of its lanes holds eight dimensions of a
 * row; as many lanes as make a row take a record, so that a warp reads whole rows, each once for
 * all queries of the block.
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
#include "kernels/cuda_log_parts.inc.h"

#define THREADS 128
#define WARPS (THREADS / WARP)
#define ROWS_AHEAD 2 /* records of a turn: read while those before are computed with */

template <int TYPE> static __global__ void append_kernel(attend_args a)
{
    if (a.table[blockIdx.y].records != 0) {
        append_token<TYPE>(a, blockIdx.y, blockIdx.x);
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
    float shrink = power_of_2(s.largest[g] - against);
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
            score[g][r] = there ? capped_score(a, dot) : -CUDART_INF_F;
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
            score[g][r] = power_of_2(score[g][r] - against);
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

/* A warp's sums to where sum_warps finds them. */
template <int LANES, int GROUP>
static __device__ __forceinline__ void leave_warp(sums<GROUP> &s, float *warps)
{
    const int row = 2 + LANES * LANE_DIMS;
    const int lane = threadIdx.x % WARP;
    reduce_warp<LANES, GROUP>(s);
    if (lane < LANES) {
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            float *to = warps + (threadIdx.x / WARP * GROUP + g) * row;
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
}

/* A thread's share of the queries of the block's heads, rotated and scaled. */
template <int GROUP> struct own_queries {
    static constexpr int most = (GROUP * DW_CUDA_HEAD_DIM_MAX + THREADS - 1) / THREADS;
    float v[most];
};

template <int GROUP>
static __device__ __forceinline__ void read_queries(const attend_args &a, const block_share &share,
                                                    own_queries<GROUP> &q)
{
    const float factor = query_factor(a);
#pragma unroll
    for (int i = 0; i < own_queries<GROUP>::most; i++) {
        const int at = threadIdx.x + i * THREADS;
        if (at < share.heads * a.p.head_dim) {
            const int head = share.first_head + at / a.p.head_dim;
            const float *row = a.q + share.token * a.q_token_stride + head * a.q_head_stride;
            q.v[i] = turned(a, row, share.token, at % a.p.head_dim) * factor;
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

/* A block's sums over its records; it may have none. */
template <int TYPE, int LANES, int GROUP> struct plain_kind {
    static constexpr int threads = THREADS, blocks = 3;
    static constexpr int dims = LANES * LANE_DIMS, row = 2 + dims;

    static size_t own_bytes(const attend_args &)
    {
        const size_t warps = (size_t)WARPS * GROUP * (2 + LANES * LANE_DIMS) * sizeof(float);
        const size_t merging = THREADS * sizeof(merged<4>);
        return warps < merging ? merging : warps;
    }

    static __device__ __forceinline__ const float *attend(const attend_args &a,
                                                          const block_share &share, float *own)
    {
        const log_part &part = share.records;
        const bool works = part.from < part.to;
        const uint32_t first = first_record<LANES>(part.from);
        sums<GROUP> s;
        rows<TYPE> ahead;
        if (works) {
            read_rows<TYPE, LANES>(a, part.keys, first, part.to, ahead);
        }
        wait_for_front(); /* for queries and what is new; records are of steps before */
        own_queries<GROUP> of_thread;
        read_queries<GROUP>(a, share, of_thread);
        if (appends(a, share)) {
            append_token<TYPE>(a, share.token, share.kv_head);
        }
        share_queries<GROUP>(a, share.heads, of_thread, own);
        float q[GROUP][LANE_DIMS];
        begin<LANES, GROUP>(own, share.heads, a.p.head_dim, q, s);
        if (appends(a, share)) { /* what was read of the new record was not there yet */
            reread_last<TYPE, LANES>(a, part.keys, first, part.to, ahead);
        }
        __syncthreads(); /* the same memory is used again */
        if (works) {
            walk<TYPE, LANES, GROUP>(a, part, ahead, q, s);
        }
        leave_warp<LANES, GROUP>(s, own);
        return own;
    }
};

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
    auto kernel = a.p.kv_type == DW_KV_F16    ? append_kernel<DW_KV_F16>
                  : a.p.kv_type == DW_KV_Q8_0 ? append_kernel<DW_KV_Q8_0>
                                              : append_kernel<DW_KV_F32>;
    kernel<<<grid, THREADS, 0, (cudaStream_t)stream>>>(a);
}

template <int TYPE, int LANES>
static void launch_group(const attend_args &a, unsigned tokens, cudaStream_t stream)
{
    switch (a.p.block_heads) {
    case 1:
        launch_kind<plain_kind<TYPE, LANES, 1>>(a, tokens, stream);
        break;
    case 2:
        launch_kind<plain_kind<TYPE, LANES, 2>>(a, tokens, stream);
        break;
    case 3:
        launch_kind<plain_kind<TYPE, LANES, 3>>(a, tokens, stream);
        break;
    default:
        launch_kind<plain_kind<TYPE, LANES, 4>>(a, tokens, stream);
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
    const struct ggml_tensor *q = node->src[0], *table = node->src[1];
    const unsigned tokens = (unsigned)q->ne[2];
    const unsigned rows = rows_of(a) * tokens;
    a.q = (const float *)q->data;
    a.q_head_stride = q->nb[1] / sizeof(float);
    a.q_token_stride = q->nb[2] / sizeof(float);
    a.table = (const dw_cuda_token *)table->data;
    a.longest = dw_cuda_table_behind(table) + DW_CUDA_TABLE_LONGEST;
    a.scratch = (unsigned char *)node->src[2]->data;
    a.counter_bytes = (uint32_t)((rows * sizeof(unsigned) + 255) / 256 * 256);
    a.spreads = tokens > DW_CUDA_PRODUCT_ROWS && rows >= ROWS_MANY;
    a.meets = tokens <= DW_CUDA_PRODUCT_ROWS;
    a.y = (float *)node->data;
    take_new(&a, node->src[3], node->src[4]);
    a.rope = node->src[5] != nullptr ? (const float *)node->src[5]->data : nullptr;
    if (dw_cuda_attends_by_tensor_cores(a.p.kv_type, a.p.head_dim)) {
        dw_cuda_launch_decode(a, tokens, (cudaStream_t)stream);
        return;
    }
    switch (a.p.kv_type) {
    case DW_KV_F16:
        launch_lanes<DW_KV_F16>(a, tokens, (cudaStream_t)stream);
        break;
    default:
        launch_lanes<DW_KV_F32>(a, tokens, (cudaStream_t)stream);
        break;
    }
}
