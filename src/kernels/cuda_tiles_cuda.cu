/* Attention of prompts over KV logs on CUDA devices, alone and beside tokens of other sequences.
 *
 * A tile is as many neighbouring tokens of one sequence as make, with all heads of queries that
 * share a head of keys and values, 64 rows. A block has a tile, a head of keys and values, and a
 * part of the log's records; each of its warps has 16 of the rows. Scores and sums are products of
 * halves by tensor cores, summed in floats, with softmax online (flash attention: Dao, 2023):
 * records come by asynchronous copies while those before are computed with. Where there are few
 * tiles a log is cut into parts, and the block that is done last merges them. The table's rows say
 * which tokens are a tile, so that a graph serves every set of prompts and every length. */
#include <cfloat>
#include <ggml-backend.h>
#include <math_constants.h>

extern "C" {
#include "kernels/cuda_launch.h"
}
#include "kernels/cuda_hopper.inc.h"
#include "kernels/cuda_log_rows.inc.h"

#define WARP 32
#define WARPS 4
#define THREADS (WARPS * WARP)
#define ROWS DW_CUDA_TILE_QUERIES
#define WARP_ROWS 16
#define PAD 8            /* halves behind a row in shared memory: rows then lie in other banks */
#define PART_RECORDS 512 /* of a part, where there are several, about */
#define LOG2E 1.4426950408889634f

static_assert(ROWS == WARPS * WARP_ROWS, "each warp has its rows");

/* Records of a turn: fewer of longer rows, so that two turns fit. */
template <int DIM> struct turn_of {
    static constexpr int records = DIM <= 64 ? 64 : DIM <= 128 ? 32 : 16;
    static constexpr int pitch = DIM + PAD;
    static constexpr int halves = records * pitch; /* of keys, or of values */
};

template <int DIM> static constexpr size_t shared_bytes()
{
    return (ROWS * turn_of<DIM>::pitch + 4 * turn_of<DIM>::halves) * sizeof(__half);
}

/* What a block computes. */
struct tile_share {
    int first; /* token */
    int count;
    int kv_head;
    int group;
    const unsigned char *keys; /* of record 0, of the head */
    uint32_t past;             /* the first token's position */
    uint32_t end;              /* behind the last record that the last token sees */
    uint32_t from;             /* records [from, to) are the block's; from is a turn's beginning */
    uint32_t to;
    uint32_t parts;
};

template <int DIM>
static __device__ __forceinline__ tile_share share_of(const attend_args &a, uint32_t tile)
{
    const uint32_t turn = turn_of<DIM>::records;
    tile_share s;
    s.first = tile & 0xffff;
    s.count = tile >> 16;
    const dw_cuda_token at = a.table[s.first];
    s.kv_head = blockIdx.y;
    s.group = a.p.head_count / a.p.kv_head_count;
    s.keys = at.records == 0
                 ? nullptr
                 : (const unsigned char *)at.records + a.layer_offset + s.kv_head * a.head_bytes;
    s.past = at.position;
    s.end = at.position + s.count;
    const uint32_t seen = a.p.window > 0 && s.past + 1 > a.p.window ? s.past + 1 - a.p.window : 0;
    const uint32_t begin = seen / turn;
    const uint32_t turns = (s.end + turn - 1) / turn - begin;
    const uint32_t wanted = min(gridDim.z, max(turns * turn / PART_RECORDS, 1u));
    const uint32_t part = (turns + wanted - 1) / wanted;
    s.parts = (turns + part - 1) / part;
    s.from = (begin + min(blockIdx.z * part, turns)) * turn;
    s.to = min((begin + min((blockIdx.z + 1) * part, turns)) * turn, s.end);
    return s;
}

/* ---- shared memory ---- */

static __device__ __forceinline__ void copy_ahead(__half *to, const void *from, bool there)
{
    const int bytes = there ? 16 : 0; /* the rest is zero */
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(bytes)
                 : "memory");
}

/* Keys and values of records [first, first + a turn's): zeros behind `to` and a row's end. */
template <int TYPE, int DIM>
static __device__ __forceinline__ void read_turn(const attend_args &a, const tile_share &s,
                                                 uint32_t first, __half *keys, __half *values)
{
    constexpr int chunks = DIM / LANE_DIMS;
    for (int i = threadIdx.x; i < turn_of<DIM>::records * chunks; i += THREADS) {
        const uint32_t record = first + i / chunks;
        const int chunk = i % chunks;
        const int at = i / chunks * turn_of<DIM>::pitch + chunk * LANE_DIMS;
        const unsigned char *row = s.keys + min(record, s.to - 1) * a.record_bytes;
        const bool there = record < s.to && chunk * LANE_DIMS < a.p.head_dim;
        if constexpr (TYPE == DW_KV_F16) {
            const size_t offset = there ? chunk * LANE_DIMS * sizeof(__half) : 0;
            copy_ahead(keys + at, row + offset, there);
            copy_ahead(values + at, row + a.p.part_bytes + offset, there);
        } else {
            for (int part = 0; part < 2; part++) {
                row_dims<TYPE> dims;
                float wide[LANE_DIMS];
                uint4 packed;
                load_dims<TYPE>(row + part * a.p.part_bytes, chunk, a.p.head_dim, dims);
                widen<TYPE>(dims, wide);
                __half2 *pairs = (__half2 *)&packed;
#pragma unroll
                for (int k = 0; k < LANE_DIMS / 2; k++) {
                    pairs[k] = there ? __floats2half2_rn(wide[2 * k], wide[2 * k + 1])
                                     : __floats2half2_rn(0.0f, 0.0f);
                }
                *(uint4 *)((part == 0 ? keys : values) + at) = packed;
            }
        }
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* The tile's queries, turned and scaled, as rows of halves: row r is token r / group's head
 * r % group. */
template <int DIM>
static __device__ __forceinline__ void read_queries(const attend_args &a, const tile_share &s,
                                                    __half *queries)
{
    for (int i = threadIdx.x; i < ROWS * DIM; i += THREADS) {
        const int row = i / DIM, dim = i % DIM;
        const int token = s.first + row / s.group;
        const int head = s.kv_head * s.group + row % s.group;
        float value = 0.0f;
        if (row < s.count * s.group && dim < a.p.head_dim) {
            const float *from = a.q + token * a.q_token_stride + head * a.q_head_stride;
            value = turned(a, from, token, dim) * a.p.scale;
        }
        queries[row * turn_of<DIM>::pitch + dim] = __float2half(value);
    }
}

/* ---- products of a warp ---- */

/* Four matrices of 8 x 8 halves, of which each lane names a row. */
static __device__ __forceinline__ void load_matrices(uint32_t out[4], const __half *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

static __device__ __forceinline__ void load_transposed(uint32_t out[4], const __half *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* c [16][8] += a [16][16] * b [16][8] */
static __device__ __forceinline__ void multiply(float c[4], const uint32_t a[4], uint32_t b0,
                                                uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ uint32_t packed(float a, float b)
{
    __half2 two = __floats2half2_rn(a, b);
    return *(uint32_t *)&two;
}

/* What a lane has of its warp's 16 rows: of rows lane / 4 and that + 8. */
template <int DIM> struct tile_sums {
    float largest[2];
    float total[2]; /* its own columns' */
    float value[DIM / 8][4];
};

/* The warp's queries by 16 dimensions: in registers where rows are short. */
template <int DIM> struct tile_queries {
    static constexpr bool kept = DIM <= 128;
    uint32_t of[kept ? DIM / 16 : 1][4];
    const __half *row; /* the lane's, as load_matrices names it */
};

template <int DIM>
static __device__ __forceinline__ void keep_queries(tile_queries<DIM> &q, const __half *queries)
{
    const int lane = threadIdx.x % WARP;
    const int row = threadIdx.x / WARP * WARP_ROWS + lane % 16;
    q.row = queries + row * turn_of<DIM>::pitch + lane / 16 * 8;
    if constexpr (tile_queries<DIM>::kept) {
#pragma unroll
        for (int k = 0; k < DIM / 16; k++) {
            load_matrices(q.of[k], q.row + k * 16);
        }
    }
}

/* score [16][a turn's records] = queries times keys */
template <int DIM>
static __device__ __forceinline__ void score_turn(tile_queries<DIM> &q, const __half *keys,
                                                  float score[turn_of<DIM>::records / 8][4])
{
    const int lane = threadIdx.x % WARP;
    const __half *row = keys + (lane / 16 * 8 + lane % 8) * turn_of<DIM>::pitch + lane / 8 % 2 * 8;
#pragma unroll
    for (int n = 0; n < turn_of<DIM>::records / 8; n++) {
        score[n][0] = score[n][1] = score[n][2] = score[n][3] = 0.0f;
    }
#pragma unroll
    for (int k = 0; k < DIM / 16; k++) {
        uint32_t *own = q.of[tile_queries<DIM>::kept ? k : 0];
        if constexpr (!tile_queries<DIM>::kept) {
            load_matrices(own, q.row + k * 16);
        }
#pragma unroll
        for (int n = 0; n < turn_of<DIM>::records / 16; n++) {
            uint32_t b[4];
            load_matrices(b, row + n * 16 * turn_of<DIM>::pitch + k * 16);
            multiply(score[2 * n], own, b[0], b[1]);
            multiply(score[2 * n + 1], own, b[2], b[3]);
        }
    }
}

/* The scores of records that a row does not see are minus infinity. `row`: 0, or 1 for the second
 * of the lane's rows. */
static __device__ __forceinline__ void limits_of(const attend_args &a, const tile_share &s, int row,
                                                 uint32_t &from, uint32_t &end)
{
    const int at = threadIdx.x / WARP * WARP_ROWS + threadIdx.x % WARP / 4 + 8 * row;
    const bool there = at < s.count * s.group;
    end = there ? s.past + at / s.group + 1 : 0;
    from = a.p.window > 0 && end > a.p.window ? end - a.p.window : 0;
}

template <int DIM>
static __device__ __forceinline__ void mask_turn(const attend_args &a, const tile_share &s,
                                                 uint32_t first,
                                                 float score[turn_of<DIM>::records / 8][4])
{
    if (a.p.cap > 0.0f) {
#pragma unroll
        for (int n = 0; n < turn_of<DIM>::records / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                score[n][i] = a.p.cap * tanhf(score[n][i] / a.p.cap);
            }
        }
    }
    const bool seen = first + turn_of<DIM>::records <= s.past + 1 &&
                      (a.p.window == 0 || s.end <= first + a.p.window);
    if (seen) {
        return; /* rows that are no token's are nobody's */
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
        uint32_t from, end;
        limits_of(a, s, row, from, end);
#pragma unroll
        for (int n = 0; n < turn_of<DIM>::records / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint32_t record = first + n * 8 + threadIdx.x % 4 * 2 + i;
                if (record < from || record >= end) {
                    score[n][2 * row + i] = -CUDART_INF_F;
                }
            }
        }
    }
}

/* Scores become weights, against the largest so far, to which the sums are brought. */
template <int DIM>
static __device__ __forceinline__ void weigh_turn(float score[turn_of<DIM>::records / 8][4],
                                                  tile_sums<DIM> &sums)
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float largest = sums.largest[row];
#pragma unroll
        for (int n = 0; n < turn_of<DIM>::records / 8; n++) {
            largest = fmaxf(largest, fmaxf(score[n][2 * row], score[n][2 * row + 1]));
        }
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
        const float against = fmaxf(largest * LOG2E, -FLT_MAX); /* nothing is seen yet: no NaN */
        const float shrink = exp2f(sums.largest[row] * LOG2E - against);
        sums.largest[row] = largest;
        sums.total[row] *= shrink;
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
            sums.value[d][2 * row] *= shrink;
            sums.value[d][2 * row + 1] *= shrink;
        }
#pragma unroll
        for (int n = 0; n < turn_of<DIM>::records / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float &one = score[n][2 * row + i];
                one = exp2f(one * LOG2E - against);
                sums.total[row] += one;
            }
        }
    }
}

/* sums += weights times values */
template <int DIM>
static __device__ __forceinline__ void add_turn(const float weight[turn_of<DIM>::records / 8][4],
                                                const __half *values, tile_sums<DIM> &sums)
{
    const int lane = threadIdx.x % WARP;
    const __half *row =
        values + (lane / 8 % 2 * 8 + lane % 8) * turn_of<DIM>::pitch + lane / 16 * 8;
#pragma unroll
    for (int n = 0; n < turn_of<DIM>::records / 16; n++) {
        const uint32_t own[4] = {packed(weight[2 * n][0], weight[2 * n][1]),
                                 packed(weight[2 * n][2], weight[2 * n][3]),
                                 packed(weight[2 * n + 1][0], weight[2 * n + 1][1]),
                                 packed(weight[2 * n + 1][2], weight[2 * n + 1][3])};
#pragma unroll
        for (int d = 0; d < DIM / 16; d++) {
            uint32_t b[4];
            load_transposed(b, row + n * 16 * turn_of<DIM>::pitch + d * 16);
            multiply(sums.value[2 * d], own, b[0], b[1]);
            multiply(sums.value[2 * d + 1], own, b[2], b[3]);
        }
    }
}

/* ---- a block ---- */

/* All of the block's records: while a turn is computed with, the next is on its way. */
template <int TYPE, int DIM>
static __device__ __forceinline__ void walk(const attend_args &a, const tile_share &s,
                                            __half *shared, tile_sums<DIM> &sums)
{
    constexpr int stage = 2 * turn_of<DIM>::halves;
    __half *stages = shared + ROWS * turn_of<DIM>::pitch;
    tile_queries<DIM> q;
    read_turn<TYPE, DIM>(a, s, s.from, stages, stages + stage / 2);
    read_queries<DIM>(a, s, shared);
    __syncthreads();
    keep_queries<DIM>(q, shared);
    int turn = 0;
    for (uint32_t first = s.from; first < s.to; first += turn_of<DIM>::records, turn ^= 1) {
        __half *keys = stages + turn * stage;
        __half *next = stages + (turn ^ 1) * stage;
        asm volatile("cp.async.wait_group 0;" ::: "memory");
        __syncthreads(); /* all of it is there, and nobody reads the other stage any more */
        if (first + turn_of<DIM>::records < s.to) {
            read_turn<TYPE, DIM>(a, s, first + turn_of<DIM>::records, next, next + stage / 2);
        }
        float score[turn_of<DIM>::records / 8][4];
        score_turn<DIM>(q, keys, score);
        mask_turn<DIM>(a, s, first, score);
        weigh_turn<DIM>(score, sums);
        add_turn<DIM>(score, keys + stage / 2, sums);
    }
}

/* A lane's totals of its columns become those of the rows. */
template <int DIM> static __device__ __forceinline__ void add_columns(tile_sums<DIM> &sums)
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        sums.total[row] += __shfl_xor_sync(0xffffffffu, sums.total[row], 1);
        sums.total[row] += __shfl_xor_sync(0xffffffffu, sums.total[row], 2);
    }
}

/* Where row `at` of a tile goes in the result. */
static __device__ __forceinline__ float *row_of(const attend_args &a, const tile_share &s, int at)
{
    const size_t token = s.first + at / s.group;
    const int head = s.kv_head * s.group + at % s.group;
    return a.y + (token * a.p.head_count + head) * a.p.head_dim;
}

/* To the result, or, where `part` is not null, to a part's [ROWS][largest, total] and
 * [ROWS][head_dim]. */
template <int DIM>
static __device__ __forceinline__ void write_sums(const attend_args &a, const tile_share &s,
                                                  const tile_sums<DIM> &sums, float *part)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const int at = threadIdx.x / WARP * WARP_ROWS + lane / 4 + 8 * row;
        if (at >= s.count * s.group) {
            continue;
        }
        float *to = part != nullptr ? part + 2 * ROWS + at * a.p.head_dim : row_of(a, s, at);
        const float factor = part != nullptr ? 1.0f : 1.0f / sums.total[row];
        if (part != nullptr && lane % 4 == 0) {
            part[2 * at] = sums.largest[row];
            part[2 * at + 1] = sums.total[row];
        }
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
            const int dim = d * 8 + lane % 4 * 2;
            if (dim < a.p.head_dim) {
                *(float2 *)(to + dim) = make_float2(sums.value[d][2 * row] * factor,
                                                    sums.value[d][2 * row + 1] * factor);
            }
        }
    }
}

static __device__ __forceinline__ void merge_parts(const attend_args &a, const tile_share &s,
                                                   const float *parts, size_t part_floats)
{
    const int rows = s.count * s.group;
    for (int i = threadIdx.x; i < rows * a.p.head_dim; i += THREADS) {
        const int row = i / a.p.head_dim;
        float largest = -FLT_MAX, total = 0.0f, value = 0.0f;
        for (uint32_t p = 0; p < s.parts; p++) {
            largest = fmaxf(largest, __ldcg(parts + p * part_floats + 2 * row));
        }
        for (uint32_t p = 0; p < s.parts; p++) {
            const float *part = parts + p * part_floats;
            const float2 sums = __ldcg((const float2 *)(part + 2 * row));
            const float weight = exp2f((sums.x - largest) * LOG2E);
            total += weight * sums.y;
            value += weight * __ldcg(part + 2 * ROWS + i);
        }
        row_of(a, s, row)[i % a.p.head_dim] = value / total;
    }
}

/* Padding: zeros, which the layers behind can bear. */
static __device__ __forceinline__ void write_zeros(const attend_args &a, const tile_share &s)
{
    for (int i = threadIdx.x; i < s.count * s.group * a.p.head_dim; i += THREADS) {
        row_of(a, s, i / a.p.head_dim)[i % a.p.head_dim] = 0.0f;
    }
}

template <int TYPE, int DIM>
static __global__ void __launch_bounds__(THREADS) tiles_kernel(attend_args a)
{
    extern __shared__ uint4 shared[];
    const uint32_t tile = a.table[blockIdx.x].tile;
    if (tile == 0) {
        return;
    }
    const tile_share s = share_of<DIM>(a, tile);
    if (s.keys == nullptr || blockIdx.z >= s.parts) {
        if (s.keys == nullptr && blockIdx.z == 0) {
            write_zeros(a, s);
        }
        return;
    }
    tile_sums<DIM> sums;
    sums.largest[0] = sums.largest[1] = -CUDART_INF_F;
    sums.total[0] = sums.total[1] = 0.0f;
#pragma unroll
    for (int d = 0; d < DIM / 8; d++) {
        sums.value[d][0] = sums.value[d][1] = sums.value[d][2] = sums.value[d][3] = 0.0f;
    }
    walk<TYPE, DIM>(a, s, (__half *)shared, sums);
    add_columns<DIM>(sums);
    if (s.parts == 1) {
        write_sums<DIM>(a, s, sums, nullptr);
        return;
    }
    const size_t part_floats = DW_CUDA_TILE_FLOATS(a.p.head_dim);
    const size_t row = (size_t)blockIdx.x * gridDim.y + blockIdx.y;
    float *parts = (float *)(a.scratch + a.counter_bytes) + row * gridDim.z * part_floats;
    write_sums<DIM>(a, s, sums, parts + blockIdx.z * part_floats);
    if (is_last((unsigned *)a.scratch + row, s.parts)) {
        merge_parts(a, s, parts, part_floats);
    }
}

/* ---- launches ---- */

template <int TYPE, int DIM>
static void launch(const attend_args &a, dim3 grid, cudaStream_t stream)
{
    const size_t bytes = shared_bytes<DIM>();
    if (bytes > 48 * 1024) {
        (void)cudaFuncSetAttribute(tiles_kernel<TYPE, DIM>,
                                   cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    }
    tiles_kernel<TYPE, DIM><<<grid, THREADS, bytes, stream>>>(a);
}

template <int TYPE> static void launch_dims(const attend_args &a, dim3 grid, cudaStream_t stream)
{
    if (a.p.head_dim <= 64) {
        launch<TYPE, 64>(a, grid, stream);
    } else if (a.p.head_dim <= 128) {
        launch<TYPE, 128>(a, grid, stream);
    } else {
        launch<TYPE, 256>(a, grid, stream);
    }
}

extern "C" void dw_cuda_launch_tiles(const struct ggml_tensor *node, void *stream)
{
    attend_args a = args_of(node);
    const struct ggml_tensor *q = node->src[0];
    a.q = (const float *)q->data;
    a.q_head_stride = q->nb[1] / sizeof(float);
    a.q_token_stride = q->nb[2] / sizeof(float);
    a.table = (const dw_cuda_token *)node->src[1]->data;
    a.scratch = (unsigned char *)node->src[2]->data + a.p.scratch_offset;
    a.y = (float *)node->data;
    a.rope = node->src[3] != nullptr ? (const float *)node->src[3]->data : nullptr;
    a.counter_bytes = DW_CUDA_TILE_COUNTERS(a.p.tile_count, a.p.kv_head_count);
    dim3 grid(a.p.tile_count, a.p.kv_head_count, a.p.part_count_max);
    if (a.p.kv_type == DW_KV_F16) {
        launch_dims<DW_KV_F16>(a, grid, (cudaStream_t)stream);
    } else {
        launch_dims<DW_KV_Q8_0>(a, grid, (cudaStream_t)stream);
    }
}
