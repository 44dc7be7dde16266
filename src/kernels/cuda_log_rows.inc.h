/* What attention's kernels over KV logs share: their arguments, and rows of keys and values as logs
 * keep them. For CUDA sources, after cuda_launch.h. */
#ifndef DW_KERNELS_CUDA_LOG_ROWS_INC_H
#define DW_KERNELS_CUDA_LOG_ROWS_INC_H

#include <cuda_fp16.h>
#include <type_traits>

#define LANE_DIMS 8 /* dimensions of a row that a lane holds */

static_assert(sizeof(dw_cuda_attention_params) <= DW_CUDA_PARAM_BYTES, "kept with the node");

struct attend_args {
    const float *q;
    const float *k;
    const float *v;
    const dw_cuda_token *table;
    unsigned char *scratch;
    const float *rope;                 /* [tokens][rope_dims / 2][cosine, sine] */
    const unsigned long long *longest; /* records of the longest of all tokens' logs */
    float *y;
    size_t q_head_stride; /* in floats, as all strides */
    size_t q_token_stride;
    size_t k_head_stride;
    size_t k_token_stride;
    size_t v_token_stride;
    size_t record_bytes;
    size_t layer_offset;
    uint32_t head_bytes;
    uint32_t counter_bytes;
    bool meets; /* of single tokens: parts are cut for meetings of a cluster's blocks */
    bool
        spreads; /* of single tokens: a block has the first part of a row, and all share the rest */
    dw_cuda_attention_params p;
};

/* ---- rows of keys and values ---- */

/* A lane's eight dimensions of a row, as they lie in a log. */
template <int TYPE> struct row_dims;

template <> struct row_dims<DW_KV_F16> {
    uint4 halves;
};

template <> struct row_dims<DW_KV_F32> {
    float4 low, high;
};

template <> struct row_dims<DW_KV_Q8_0> {
    unsigned short pairs[LANE_DIMS / 2];
    __half scale;
};

/* Dimensions [8 * chunk, 8 * chunk + 8) of a row; zeros behind its end. */
template <int TYPE>
static __device__ __forceinline__ void load_dims(const unsigned char *row, int chunk, int head_dim,
                                                 row_dims<TYPE> &out)
{
    int first = chunk * LANE_DIMS;
    if constexpr (TYPE == DW_KV_Q8_0) { /* a half and 32 bytes; its heads are multiples of 32 */
        const unsigned char *block = row + (first / 32) * 34;
        bool there = first < head_dim;
        const unsigned short *pairs = (const unsigned short *)(block + 2 + first % 32);
        out.scale = there ? *(const __half *)block : __float2half(0.0f);
#pragma unroll
        for (int i = 0; i < LANE_DIMS / 2; i++) { /* two bytes are aligned, no more */
            out.pairs[i] = there ? pairs[i] : (unsigned short)0;
        }
    } else if (head_dim % LANE_DIMS != 0 || first >= head_dim) {
        typedef typename std::conditional<TYPE == DW_KV_F16, __half, float>::type element;
        element *to = (element *)&out;
#pragma unroll
        for (int i = 0; i < LANE_DIMS; i++) {
            to[i] = first + i < head_dim ? ((const element *)row)[first + i] : element(0.0f);
        }
    } else if constexpr (TYPE == DW_KV_F16) {
        out.halves = *(const uint4 *)(row + first * sizeof(__half));
    } else {
        out.low = ((const float4 *)row)[chunk * 2];
        out.high = ((const float4 *)row)[chunk * 2 + 1];
    }
}

template <int TYPE>
static __device__ __forceinline__ void widen(const row_dims<TYPE> &from, float out[LANE_DIMS])
{
    if constexpr (TYPE == DW_KV_F16) {
        const __half2 *pairs = (const __half2 *)&from.halves;
#pragma unroll
        for (int i = 0; i < LANE_DIMS / 2; i++) {
            float2 two = __half22float2(pairs[i]);
            out[2 * i] = two.x;
            out[2 * i + 1] = two.y;
        }
    } else if constexpr (TYPE == DW_KV_F32) {
        out[0] = from.low.x, out[1] = from.low.y, out[2] = from.low.z, out[3] = from.low.w;
        out[4] = from.high.x, out[5] = from.high.y, out[6] = from.high.z, out[7] = from.high.w;
    } else {
        float scale = __half2float(from.scale);
#pragma unroll
        for (int i = 0; i < LANE_DIMS / 2; i++) {
            out[2 * i] = scale * (float)(signed char)(from.pairs[i] & 0xff);
            out[2 * i + 1] = scale * (float)(signed char)(from.pairs[i] >> 8);
        }
    }
}

/* A dimension of a head's row, the other of its pair, and the pair's turn. */
struct dim_reads {
    float own, other;
    float2 turn; /* cosine, sine; of what is not turned 1 and 0 */
    bool is_first;
};

/* Reads dimension `dim` where it is `there`, and zeros else; nothing is computed with what was
 * read, so that many reads are on their way together. */
static __device__ __forceinline__ void read_dim(const attend_args &a, const float *row, int token,
                                                int dim, bool there, dim_reads &to)
{
    const int half = a.p.rope_dims / 2;
    const bool turns = there && dim < a.p.rope_dims;
    const int pair = a.p.rope_halves ? (dim < half ? dim : dim - half) : dim / 2;
    const int other = a.p.rope_halves ? (dim < half ? dim + half : dim - half) : dim ^ 1;
    to.is_first = a.p.rope_halves ? dim < half : dim % 2 == 0;
    to.own = there ? row[dim] : 0.0f;
    to.other = turns ? row[other] : 0.0f;
    to.turn =
        turns ? ((const float2 *)a.rope)[(size_t)token * half + pair] : make_float2(1.0f, 0.0f);
}

static __device__ __forceinline__ float turned(const dim_reads &of)
{
    return fmaf(of.own, of.turn.x, of.other * (of.is_first ? -of.turn.y : of.turn.y));
}

/* Dimension `dim` of a head's row, turned by its token's position. */
static __device__ __forceinline__ float turned(const attend_args &a, const float *row, int token,
                                               int dim)
{
    dim_reads of;
    read_dim(a, row, token, dim, true, of);
    return turned(of);
}

/* Whether this block is the last of `part_count` that are done with a row. */
static __device__ __forceinline__ bool is_last(unsigned *counter, uint32_t part_count)
{
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) { /* its fences stand for the block's, which the barriers order with it */
        __threadfence();
        last = atomicAdd(counter, 1u) == part_count - 1;
        __threadfence();
        if (last) {
            *counter = 0; /* as the next layer and the next run must find it */
        }
    }
    __syncthreads();
    return last;
}

/* ---- launches ---- */

static inline attend_args args_of(const struct ggml_tensor *node)
{
    attend_args a = {};
    a.p = *(const dw_cuda_attention_params *)dw_cuda_node_params(node);
    a.head_bytes = a.p.part_bytes / a.p.kv_head_count;
    a.record_bytes = (size_t)a.p.part_bytes * 2 * a.p.layer_count;
    a.layer_offset = (size_t)a.p.part_bytes * 2 * a.p.layer;
    return a;
}

#endif
