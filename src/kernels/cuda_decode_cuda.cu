/* Attention of single tokens over KV logs on CUDA devices by tensor cores: of decoding.
 *
 * A block takes one token, one head of keys and values with up to eight of the heads of queries
 * that share it, and a part of the log's records; each of its warps 16 of these at a time. Scores
 * and sums are products of halves, summed in floats. A product has 16 rows: eight for the heads'
 * queries, or weights, as halves, and eight for what is lost by that, LOW times as large; so next
 * to nothing is lost.
 *
 * In which order dimensions and records stand in a product is free where both factors have the
 * same: so each lane reads 16 bytes of a row as they lie. Short rows in halves go from memory to
 * registers, the next while a turn is computed with; others by way of shared memory. */
#include <cuda_fp16.h>
#include <ggml-backend.h>

extern "C" {
#include "kernels/cuda_launch.h"
}
#include "kernels/cuda_hopper.inc.h"
#include "kernels/cuda_log_rows.inc.h"
#include "kernels/cuda_log_parts.inc.h"

#define TURN 16     /* records that a warp takes at once */
#define LOW 2048.0f /* what halves lose is as much smaller */
#define PIECE 64    /* dimensions whose values a warp takes at once */

/* Heads of DIM dimensions at most. */
template <int DIM> struct form {
    static constexpr int steps = DIM / 16;  /* products in a row, of a score */
    static constexpr int pitch = DIM + 4;   /* floats of a row of queries */
    static constexpr int sums = 2 + DIM;    /* floats of a row that a warp leaves */
    static constexpr bool kept = DIM <= 64; /* queries in registers */
};

/* A lane's place in a product: its row of one factor and the result, or column of the other; and
 * which of four neighbours it is there. */
struct lane_place {
    int row, column;
};

static __device__ __forceinline__ lane_place place_of_lane()
{
    return {(int)threadIdx.x % WARP / 4, (int)threadIdx.x % 4};
}

/* c [16][8] += a [16][16] * b [16][8] */
static __device__ __forceinline__ void multiply(float c[4], const uint32_t a[4], uint32_t b0,
                                                uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Two floats as halves, and what these lose. */
static __device__ __forceinline__ void split(float a, float b, uint32_t &high, uint32_t &low)
{
    const __half2 halves = __floats2half2_rn(a, b);
    const float2 had = __half22float2(halves);
    const __half2 lost = __floats2half2_rn((a - had.x) * LOW, (b - had.y) * LOW);
    high = *(const uint32_t *)&halves;
    low = *(const uint32_t *)&lost;
}

/* ---- keys and values in registers ---- */

/* A lane's share of a turn's rows: of keys 2 x 8 dimensions of records row and row + 8; of values
 * eight of each of the records whose weights it has. */
struct turn_rows {
    uint4 keys[2][2];
    uint4 values[4];
};

/* Which of a turn's records the i-th of a lane's values are of. */
static __device__ __forceinline__ uint32_t value_record(const lane_place &lane, int i)
{
    return i / 2 * 8 + lane.column * 2 + i % 2;
}

/* The dimension of the i-th of a lane's pieces of keys. */
static __device__ __forceinline__ int key_dim(const lane_place &lane, int i)
{
    return i * 32 + lane.column * LANE_DIMS;
}

/* 16 bytes of a row, from dimension `dim` on; zeros behind its end. The last record is read in the
 * place of those that are not there. */
static __device__ __forceinline__ uint4 read_dims(const attend_args &a, const log_part &part,
                                                  uint32_t record, uint32_t offset, int dim)
{
    const unsigned char *row =
        part.keys + offset + (uint64_t)min(record, part.to - 1) * (uint32_t)a.record_bytes;
    return dim < a.p.head_dim ? __ldcg((const uint4 *)row + dim / LANE_DIMS)
                              : make_uint4(0, 0, 0, 0);
}

static __device__ __forceinline__ void read_keys(const attend_args &a, const log_part &part,
                                                 uint32_t first, turn_rows &to)
{
    const lane_place lane = place_of_lane();
#pragma unroll
    for (int t = 0; t < 2; t++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            to.keys[t][i] = read_dims(a, part, first + t * 8 + lane.row, 0, key_dim(lane, i));
        }
    }
}

static __device__ __forceinline__ void read_values(const attend_args &a, const log_part &part,
                                                   uint32_t first, turn_rows &to)
{
    const lane_place lane = place_of_lane();
#pragma unroll
    for (int i = 0; i < 4; i++) {
        to.values[i] =
            read_dims(a, part, first + value_record(lane, i), a.p.part_bytes, lane.row * LANE_DIMS);
    }
}

/* The last record's rows are `fresh`, keys and then values, in the place of what was read. */
static __device__ __forceinline__ void replace_last(const attend_args &a, const log_part &part,
                                                    uint32_t first, const unsigned char *fresh,
                                                    turn_rows &rows)
{
    const lane_place lane = place_of_lane();
    const int value = lane.row * LANE_DIMS;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int key = key_dim(lane, i % 2);
        if (first + i / 2 * 8 + lane.row >= part.to - 1 && key < a.p.head_dim) {
            rows.keys[i / 2][i % 2] = ((const uint4 *)fresh)[key / LANE_DIMS];
        }
        if (first + value_record(lane, i) >= part.to - 1 && value < a.p.head_dim) {
            rows.values[i] = ((const uint4 *)(fresh + a.head_bytes))[value / LANE_DIMS];
        }
    }
}

/* ---- a turn ---- */

/* What a lane has of its head's sums, row: of 16 of every 64 dimensions. */
template <int DIM> struct head_sums {
    float largest;
    float total;             /* of its own columns */
    float value[DIM / 8][4]; /* two of high halves, two of low ones */
};

/* The queries of all heads in steps of 16 dimensions, as products take them: in registers, or, of
 * long rows, in shared memory. */
template <int DIM> struct head_queries {
    uint32_t of[form<DIM>::kept ? form<DIM>::steps : 1][4];
    const uint4 *shared;
};

template <int DIM>
static __device__ __forceinline__ const uint32_t *step_of(head_queries<DIM> &q, int step)
{
    if constexpr (form<DIM>::kept) {
        return q.of[step];
    } else {
        *(uint4 *)q.of[0] = q.shared[step * WARP + threadIdx.x % WARP];
        return q.of[0];
    }
}

/* Scores of records that are not there are minus infinity. */
static __device__ __forceinline__ void cap_scores(const attend_args &a, const log_part &part,
                                                  uint32_t first, float score[2][2])
{
    const uint32_t record = first + place_of_lane().column * 2;
#pragma unroll
    for (int t = 0; t < 2; t++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            score[t][i] = capped_score(a, score[t][i]);
            if (first + TURN > part.to && record + t * 8 + i >= part.to) {
                score[t][i] = -CUDART_INF_F;
            }
        }
    }
}

/* Of the products of high and low halves. */
static __device__ __forceinline__ void join_scores(const attend_args &a, const log_part &part,
                                                   uint32_t first, const float sum[2][4],
                                                   float score[2][2])
{
#pragma unroll
    for (int t = 0; t < 2; t++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            score[t][i] = sum[t][i] + sum[t][2 + i] * (1.0f / LOW);
        }
    }
    cap_scores(a, part, first, score);
}

/* sum[t] += the queries' products with 32 dimensions of keys, of the t-th eight records. */
template <int DIM>
static __device__ __forceinline__ void add_scores(head_queries<DIM> &q, int piece,
                                                  const uint4 &first, const uint4 &second,
                                                  float sum[2][4])
{
    const uint32_t *even = step_of<DIM>(q, 2 * piece);
    multiply(sum[0], even, first.x, first.y);
    multiply(sum[1], even, second.x, second.y);
    const uint32_t *odd = step_of<DIM>(q, 2 * piece + 1);
    multiply(sum[0], odd, first.z, first.w);
    multiply(sum[1], odd, second.z, second.w);
}

/* Scores become weights, against the largest so far, to which the sums are brought. */
template <int DIM>
static __device__ __forceinline__ void weigh_turn(float score[2][2], head_sums<DIM> &s)
{
    float largest = fmaxf(fmaxf(score[0][0], score[0][1]), fmaxf(score[1][0], score[1][1]));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
    if (__any_sync(0xffffffffu, largest > s.largest)) {
        largest = fmaxf(largest, s.largest);
        const float shrink = power_of_2(s.largest - fmaxf(largest, -FLT_MAX));
        s.largest = largest;
        s.total *= shrink;
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                s.value[d][i] *= shrink;
            }
        }
    }
    const float against = fmaxf(s.largest, -FLT_MAX); /* no NaN where nothing is seen */
#pragma unroll
    for (int t = 0; t < 2; t++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            score[t][i] = power_of_2(score[t][i] - against);
            s.total += score[t][i];
        }
    }
}

/* The same dimension of two records, of two dimensions of each. */
static __device__ __forceinline__ uint32_t first_of(uint32_t a, uint32_t b)
{
    return __byte_perm(a, b, 0x5410);
}

static __device__ __forceinline__ uint32_t second_of(uint32_t a, uint32_t b)
{
    return __byte_perm(a, b, 0x7632);
}

/* to [8][4] += weights times values, of a piece's eight dimensions of each lane. */
static __device__ __forceinline__ void add_piece(const uint32_t w[4], const uint4 values[4],
                                                 float (*to)[4])
{
#pragma unroll
    for (int d = 0; d < 4; d++) {
        const uint32_t v[4] = {((const uint32_t *)&values[0])[d], ((const uint32_t *)&values[1])[d],
                               ((const uint32_t *)&values[2])[d],
                               ((const uint32_t *)&values[3])[d]};
        multiply(to[2 * d], w, first_of(v[0], v[1]), first_of(v[2], v[3]));
        multiply(to[2 * d + 1], w, second_of(v[0], v[1]), second_of(v[2], v[3]));
    }
}

/* Weights as a product takes them: of records 2 * column and the next high, low; then of those 8
 * behind. */
static __device__ __forceinline__ void split_weights(const float weight[2][2], uint32_t out[4])
{
    split(weight[0][0], weight[0][1], out[0], out[1]);
    split(weight[1][0], weight[1][1], out[2], out[3]);
}

/* ---- a block ---- */

/* Shared memory of a block: what its token appends, of long rows queries as products take them,
 * and queries as floats, [block_heads][pitch], in whose place the sums of warps come. */
template <int DIM> struct block_memory {
    unsigned char *fresh;
    uint4 *packed;
    float *rows;

    static constexpr size_t fresh_bytes = 2 * DIM * sizeof(__half);
    static constexpr size_t packed_bytes =
        form<DIM>::kept ? 0 : form<DIM>::steps * WARP * sizeof(uint4);

    __device__ explicit block_memory(float *own)
    {
        fresh = (unsigned char *)own;
        packed = (uint4 *)(fresh + fresh_bytes);
        rows = (float *)(fresh + fresh_bytes + packed_bytes);
    }
};

/* Bytes of what a block's warps leave, and of what merges. */
template <int DIM, int THREADS> static size_t sums_bytes(const attend_args &a)
{
    const size_t warps =
        (size_t)(THREADS / WARP) * a.p.block_heads * form<DIM>::sums * sizeof(float);
    const size_t merging = THREADS * sizeof(merged<4>);
    return warps < merging ? merging : warps;
}

/* What a thread reads of the block's queries, and of what its token appends. All of it is on its
 * way at once: one wait for memory, where the chain of kernels has nothing else to do. */
template <int DIM, int THREADS> struct new_reads {
    static constexpr int query_count = DW_CUDA_BLOCK_HEADS_MAX * DIM / THREADS;
    static constexpr int record_count = 2 * DIM / THREADS;
    dim_reads query[query_count];
    dim_reads record[record_count];
};

template <int DIM, int THREADS>
static __device__ __forceinline__ void read_all(const attend_args &a, const block_share &share,
                                                bool appending, new_reads<DIM, THREADS> &to)
{
    typedef new_reads<DIM, THREADS> reads;
    const float *queries =
        a.q + share.token * a.q_token_stride + share.first_head * a.q_head_stride;
#pragma unroll
    for (int i = 0; i < reads::query_count; i++) {
        const int at = threadIdx.x + i * THREADS, dim = at % DIM;
        read_dim(a, queries + at / DIM * a.q_head_stride, share.token, dim,
                 at / DIM < share.heads && dim < a.p.head_dim, to.query[i]);
    }
    if (appending) {
#pragma unroll
        for (int i = 0; i < reads::record_count; i++) {
            read_new(a, share.token, share.kv_head, threadIdx.x + i * THREADS, to.record[i]);
        }
    }
}

/* Queries, turned and scaled, to `to`; zeros behind a row's end. */
template <int DIM, int THREADS>
static __device__ __forceinline__ void share_queries(const attend_args &a, const block_share &share,
                                                     const new_reads<DIM, THREADS> &from, float *to)
{
    const float factor = query_factor(a);
#pragma unroll
    for (int i = 0; i < new_reads<DIM, THREADS>::query_count; i++) {
        const int at = threadIdx.x + i * THREADS;
        if (at / DIM < share.heads) {
            to[at / DIM * form<DIM>::pitch + at % DIM] = turned(from.query[i]) * factor;
        }
    }
}

/* The block's token's record, whose place is the last that it sees. */
template <int TYPE, int DIM, int THREADS>
static __device__ __forceinline__ void append_new(const attend_args &a, const block_share &share,
                                                  const new_reads<DIM, THREADS> &from,
                                                  unsigned char *fresh)
{
    unsigned char *log = const_cast<unsigned char *>(share.records.keys);
    const new_record to = {log + (uint64_t)(share.cut.end - 1) * a.record_bytes, fresh};
#pragma unroll
    for (int i = 0; i < new_reads<DIM, THREADS>::record_count; i++) {
        place_new<TYPE>(a, to, threadIdx.x + i * THREADS, turned(from.record[i]));
    }
}

/* A step's queries as a product takes them. */
template <int DIM>
static __device__ __forceinline__ void pack_step(const float *queries, int heads, int step,
                                                 uint32_t out[4])
{
    const lane_place lane = place_of_lane();
    const int dim = (step / 2 * 4 + lane.column) * LANE_DIMS + step % 2 * 4;
    float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (lane.row < heads) {
        x = *(const float4 *)(queries + lane.row * form<DIM>::pitch + dim);
    }
    split(x.x, x.y, out[0], out[1]);
    split(x.z, x.w, out[2], out[3]);
}

/* Behind it nobody reads the floats any more, where all threads have passed a barrier. */
template <int DIM, int THREADS>
static __device__ __forceinline__ void pack_queries(const block_memory<DIM> &memory, int heads,
                                                    head_queries<DIM> &q)
{
    q.shared = memory.packed;
    if constexpr (form<DIM>::kept) {
#pragma unroll
        for (int step = 0; step < form<DIM>::steps; step++) {
            pack_step<DIM>(memory.rows, heads, step, q.of[step]);
        }
    } else {
        for (int step = threadIdx.x / WARP; step < form<DIM>::steps; step += THREADS / WARP) {
            uint32_t packed[4];
            pack_step<DIM>(memory.rows, heads, step, packed);
            memory.packed[step * WARP + threadIdx.x % WARP] = *(const uint4 *)packed;
        }
    }
    __syncthreads();
}

/* What a block does once the kernel in front has ended: reads queries, appends. */
template <int TYPE, int DIM, int THREADS>
static __device__ __forceinline__ void begin_block(const attend_args &a, const block_share &share,
                                                   const block_memory<DIM> &memory,
                                                   head_queries<DIM> &q)
{
    const bool appending = appends(a, share);
    new_reads<DIM, THREADS> reads;
    wait_for_front(); /* for queries and what is new; records are of steps before */
    read_all(a, share, appending, reads);
    share_queries(a, share, reads, memory.rows);
    if (appending) {
        append_new<TYPE>(a, share, reads, memory.fresh);
    }
    __syncthreads();
    pack_queries<DIM, THREADS>(memory, share.heads, q);
}

/* A warp's sums to where sum_warps finds them. A column of a product has the same of each WIDE
 * neighbouring dimensions. */
template <int DIM, int WIDE>
static __device__ __forceinline__ void leave_warp(head_sums<DIM> &s, int heads, int block_heads,
                                                  float *rows)
{
    const lane_place lane = place_of_lane();
    s.total += __shfl_xor_sync(0xffffffffu, s.total, 1);
    s.total += __shfl_xor_sync(0xffffffffu, s.total, 2);
    if (lane.row >= heads) {
        return;
    }
    float *to = rows + (threadIdx.x / WARP * block_heads + lane.row) * form<DIM>::sums;
    if (lane.column == 0) {
        to[0] = s.largest;
        to[1] = s.total;
    }
#pragma unroll
    for (int p = 0; p < DIM / 8 / WIDE; p++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float *values = to + 2 + (p * 8 + lane.column * 2 + i) * WIDE;
#pragma unroll
            for (int d = 0; d < WIDE; d += 2) {
                const float *even = s.value[p * WIDE + d], *odd = s.value[p * WIDE + d + 1];
                *(float2 *)(values + d) = make_float2(even[i] + even[2 + i] * (1.0f / LOW),
                                                      odd[i] + odd[2 + i] * (1.0f / LOW));
            }
        }
    }
}

/* Keys and values in halves, of at most 64 dimensions. */
template <int WARPS> struct halves_kind {
    static constexpr int DIM = 64;
    static constexpr int threads = WARPS * WARP, blocks = 16 / WARPS;
    static constexpr int dims = DIM, row = form<DIM>::sums;
    typedef block_memory<DIM> memory_of;

    static size_t own_bytes(const attend_args &a)
    {
        return memory_of::fresh_bytes + memory_of::packed_bytes + sums_bytes<DIM, threads>(a);
    }

    static __device__ __forceinline__ const float *attend(const attend_args &a,
                                                          const block_share &share, float *own)
    {
        const log_part part = share.records;
        const memory_of memory(own);
        uint32_t first = part.from + threadIdx.x / WARP * TURN;
        turn_rows rows;
        if (first < part.to) {
            read_keys(a, part, first, rows);
            read_values(a, part, first, rows);
        }
        head_queries<DIM> q;
        begin_block<DW_KV_F16, DIM, threads>(a, share, memory, q);
        if (appends(a, share)) { /* what was read of the new record was not there yet */
            replace_last(a, part, first, memory.fresh, rows);
        }
        head_sums<DIM> s = {-CUDART_INF_F, 0.0f, {}};
        for (; first < part.to; first += threads / WARP * TURN) {
            const uint32_t next = first + threads / WARP * TURN;
            float sum[2][4] = {}, score[2][2];
            add_scores<DIM>(q, 0, rows.keys[0][0], rows.keys[1][0], sum);
            add_scores<DIM>(q, 1, rows.keys[0][1], rows.keys[1][1], sum);
            if (next < part.to) {
                read_keys(a, part, next, rows);
            }
            join_scores(a, part, first, sum, score);
            weigh_turn<DIM>(score, s);
            uint32_t weights[4];
            split_weights(score, weights);
            add_piece(weights, rows.values, s.value);
            if (next < part.to) {
                read_values(a, part, next, rows);
            }
        }
        leave_warp<DIM, 8>(s, share.heads, a.p.block_heads, memory.rows);
        return memory.rows;
    }
};

/* ---- by way of shared memory ---- */

/* Keys and values come into shared memory by asynchronous copies of 16 bytes, those of the next
 * turns while one is computed with. Rows of Q8_0 begin anywhere: the 16 bytes in which they lie are
 * copied. What is in them are halves exactly; scales are multiplied by where floats are. */
#define BLOCK_DIMS 32
#define BLOCK_BYTES 34u

template <int TYPE, int DIM> struct stage_of {
    static constexpr bool halves = TYPE == DW_KV_F16;
    static constexpr int row_bytes = halves ? DIM * 2 : DIM / BLOCK_DIMS * (int)BLOCK_BYTES;
    static constexpr int pitch = halves ? row_bytes : (row_bytes + 14 + 15) / 16 * 16;
    static constexpr int bytes = 2 * TURN * pitch; /* keys, then values */
    static constexpr int count = halves && DIM > 128 ? 1 : 2;
};

/* Where the 16 bytes `chunk` of a row of halves stand: those that a product takes at once are in
 * other banks. `part_of_record`: 0 or 1, keys or values. */
static __device__ __forceinline__ int place_of_chunk(int part_of_record, int row, int chunk)
{
    return (chunk ^ (part_of_record == 0 ? row % 2 * 4 : row / 2 % 4 * 2)) * 16;
}

static __device__ __forceinline__ void copy_ahead(unsigned char *to, const unsigned char *from,
                                                  int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(bytes) /* the rest is zero */
                 : "memory");
}

/* The last record stands for those behind it. */
static __device__ __forceinline__ uint32_t there_of(const log_part &part, uint32_t record)
{
    return min(record, part.to - 1);
}

/* Bytes from a 16th one in memory to a record's row. */
static __device__ __forceinline__ uint32_t shift_of(const attend_args &a, const log_part &part,
                                                    uint32_t record, int part_of_record)
{
    return ((uint32_t)(uintptr_t)part.keys + part_of_record * a.p.part_bytes +
            there_of(part, record) * (uint32_t)a.record_bytes) %
           16;
}

/* 16 bytes of a row `from`, which is that of a record that is `there`, to its row of a stage. */
template <int TYPE, int DIM>
static __device__ __forceinline__ void copy_chunk(const attend_args &a, const unsigned char *from,
                                                  bool there, int part_of_record, int row,
                                                  unsigned char *stage)
{
    typedef stage_of<TYPE, DIM> f;
    const int chunk = threadIdx.x % WARP % (DIM / 8);
    unsigned char *to = stage + (part_of_record * TURN + row) * f::pitch;
    if constexpr (f::halves) {
        const bool within = chunk * LANE_DIMS < a.p.head_dim;
        copy_ahead(to + place_of_chunk(part_of_record, row, chunk),
                   from + (within ? chunk * 16 : 0), there && within ? 16 : 0);
    } else {
        const int row_bytes = a.p.head_dim / BLOCK_DIMS * (int)BLOCK_BYTES;
        const int shift = (int)((uintptr_t)from % 16);
        const int rest = shift + row_bytes - chunk * 16;
        if (rest > 0 && chunk * 16 < f::pitch) {
            copy_ahead(to + chunk * 16, from - shift + chunk * 16, there ? min(rest, 16) : 0);
        }
    }
}

/* A turn's rows; zeros of records that are not there. Nothing of `but`. */
template <int TYPE, int DIM>
static __device__ __forceinline__ void copy_turn(const attend_args &a, const log_part &part,
                                                 uint32_t first, uint32_t but, unsigned char *stage)
{
    constexpr int lanes = DIM / 8; /* that take a row together */
#pragma unroll
    for (int i = 0; i < TURN * lanes / WARP; i++) {
        const int row = threadIdx.x % WARP / lanes + i * (WARP / lanes);
        const uint32_t record = first + row;
        if (record == but) {
            continue;
        }
        const unsigned char *from =
            part.keys + (uint64_t)there_of(part, record) * (uint32_t)a.record_bytes;
        copy_chunk<TYPE, DIM>(a, from, record < part.to, 0, row, stage);
        copy_chunk<TYPE, DIM>(a, from + a.p.part_bytes, record < part.to, 1, row, stage);
    }
}

/* The record that the block's token appends, from `fresh` to where its turn's rows are. */
template <int TYPE, int DIM>
static __device__ __forceinline__ void place_fresh(const attend_args &a, const log_part &part,
                                                   uint32_t first, const unsigned char *fresh,
                                                   unsigned char *stage)
{
    const int lane = threadIdx.x % WARP, row = (int)(part.to - 1 - first);
    for (int p = 0; p < 2; p++, fresh += a.head_bytes) {
        unsigned char *to = stage + (p * TURN + row) * stage_of<TYPE, DIM>::pitch;
        if constexpr (stage_of<TYPE, DIM>::halves) {
            for (int chunk = lane; chunk < DIM / LANE_DIMS; chunk += WARP) {
                *(uint4 *)(to + place_of_chunk(p, row, chunk)) = chunk * LANE_DIMS < a.p.head_dim
                                                                     ? ((const uint4 *)fresh)[chunk]
                                                                     : make_uint4(0, 0, 0, 0);
            }
        } else {
            to += shift_of(a, part, part.to - 1, p);
            for (uint32_t i = lane; i < a.head_bytes / 2; i += WARP) {
                ((unsigned short *)to)[i] = ((const unsigned short *)fresh)[i];
            }
        }
    }
    __syncwarp();
}

/* score[t][i]: of the lane's head with record 8 * t + 2 * column + i, as an exponent of two. */
template <int DIM>
static __device__ __forceinline__ void score_halves(const attend_args &a, const log_part &part,
                                                    uint32_t first, head_queries<DIM> &q,
                                                    const unsigned char *stage, float score[2][2])
{
    const lane_place lane = place_of_lane();
    float sum[2][4] = {};
#pragma unroll
    for (int i = 0; i < DIM / 32; i++) {
        uint4 keys[2];
#pragma unroll
        for (int t = 0; t < 2; t++) {
            const int row = t * 8 + lane.row;
            keys[t] = *(const uint4 *)(stage + row * stage_of<DW_KV_F16, DIM>::pitch +
                                       place_of_chunk(0, row, i * 4 + lane.column));
        }
        add_scores<DIM>(q, i, keys[0], keys[1], sum);
    }
    join_scores(a, part, first, sum, score);
}

/* sums += weights times values. */
template <int DIM>
static __device__ __forceinline__ void add_halves(const float weight[2][2],
                                                  const unsigned char *stage, head_sums<DIM> &s)
{
    const lane_place lane = place_of_lane();
    uint32_t w[4];
    split_weights(weight, w);
#pragma unroll
    for (int p = 0; p < DIM / PIECE; p++) {
        uint4 values[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = value_record(lane, i);
            values[i] = *(const uint4 *)(stage + (TURN + row) * stage_of<DW_KV_F16, DIM>::pitch +
                                         place_of_chunk(1, row, p * 8 + lane.row));
        }
        add_piece(w, values, s.value + p * 8);
    }
}

/* Two of four bytes, 128 more than they stand for, as halves of what they stand for. */
static __device__ __forceinline__ uint32_t halves_of(uint32_t bytes, uint32_t which)
{
    const uint32_t large = __byte_perm(bytes, 0x64646464u, which); /* 1,024 and the byte */
    const uint32_t off = 0x64806480u;
    const __half2 exact = __hsub2(*(const __half2 *)&large, *(const __half2 *)&off);
    return *(const uint32_t *)&exact;
}

#define LOW_BYTES 0x4140
#define HIGH_BYTES 0x4342

/* Eight bytes at an even address, 128 more each. */
static __device__ __forceinline__ uint2 read_bytes(const unsigned char *at)
{
    const uint32_t *words = (const uint32_t *)((uintptr_t)at & ~(uintptr_t)3);
    const uint32_t shift = (uintptr_t)at % 4 * 8;
    const uint32_t middle = words[1];
    return make_uint2(__funnelshift_r(words[0], middle, shift) ^ 0x80808080u,
                      __funnelshift_r(middle, words[2], shift) ^ 0x80808080u);
}

/* The rows of the records whose scores a lane has: keys, or values. */
struct column_rows {
    const unsigned char *at[4];
};

template <int DIM>
static __device__ __forceinline__ column_rows columns_of(const attend_args &a, const log_part &part,
                                                         uint32_t first, int part_of_record,
                                                         const unsigned char *stage)
{
    const lane_place lane = place_of_lane();
    column_rows rows;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const uint32_t row = value_record(lane, i);
        rows.at[i] = stage + (part_of_record * TURN + row) * stage_of<DW_KV_Q8_0, DIM>::pitch +
                     shift_of(a, part, first + row, part_of_record);
    }
    return rows;
}

static __device__ __forceinline__ float scale_of(const unsigned char *row, int block)
{
    return __half2float(*(const __half *)(row + block * BLOCK_BYTES));
}

/* The same of keys in Q8_0. */
template <int DIM>
static __device__ __forceinline__ void score_bytes(const attend_args &a, const log_part &part,
                                                   uint32_t first, head_queries<DIM> &q,
                                                   const unsigned char *stage, float score[2][2])
{
    const lane_place lane = place_of_lane();
    const column_rows columns = columns_of<DIM>(a, part, first, 0, stage);
    const unsigned char *rows[2];
#pragma unroll
    for (int t = 0; t < 2; t++) {
        const uint32_t row = t * 8 + lane.row;
        rows[t] = stage + row * stage_of<DW_KV_Q8_0, DIM>::pitch +
                  shift_of(a, part, first + row, 0) + 2 + lane.column * LANE_DIMS;
        score[t][0] = score[t][1] = 0.0f;
    }
#pragma unroll
    for (int b = 0; b < DIM / BLOCK_DIMS; b++) {
        if (b * BLOCK_DIMS >= a.p.head_dim) {
            break;
        }
#pragma unroll
        for (int t = 0; t < 2; t++) {
            const uint2 keys = read_bytes(rows[t] + b * BLOCK_BYTES);
            float sum[4] = {};
            multiply(sum, step_of<DIM>(q, 2 * b), halves_of(keys.x, LOW_BYTES),
                     halves_of(keys.x, HIGH_BYTES));
            multiply(sum, step_of<DIM>(q, 2 * b + 1), halves_of(keys.y, LOW_BYTES),
                     halves_of(keys.y, HIGH_BYTES));
#pragma unroll
            for (int i = 0; i < 2; i++) {
                score[t][i] +=
                    (sum[i] + sum[2 + i] * (1.0f / LOW)) * scale_of(columns.at[t * 2 + i], b);
            }
        }
    }
    cap_scores(a, part, first, score);
}

/* sums += weights times values in Q8_0. */
template <int DIM>
static __device__ __forceinline__ void add_bytes(const attend_args &a, const log_part &part,
                                                 uint32_t first, const float weight[2][2],
                                                 const unsigned char *stage, head_sums<DIM> &s)
{
    const lane_place lane = place_of_lane();
    const column_rows rows = columns_of<DIM>(a, part, first, 1, stage);
#pragma unroll
    for (int b = 0; b < DIM / BLOCK_DIMS; b++) {
        if (b * BLOCK_DIMS >= a.p.head_dim) {
            break;
        }
        uint32_t w[4], v[2][4]; /* v: of two records each, four dimensions */
#pragma unroll
        for (int t = 0; t < 2; t++) {
            const unsigned char *one = rows.at[2 * t], *other = rows.at[2 * t + 1];
            split(weight[t][0] * scale_of(one, b), weight[t][1] * scale_of(other, b), w[2 * t],
                  w[2 * t + 1]);
            const int at = b * BLOCK_BYTES + 2 + lane.row * 4;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint32_t pairs =
                    __byte_perm(*(const unsigned short *)(one + at + 2 * i),
                                *(const unsigned short *)(other + at + 2 * i), 0x5140) ^
                    0x80808080u;
                v[t][2 * i] = halves_of(pairs, LOW_BYTES);
                v[t][2 * i + 1] = halves_of(pairs, HIGH_BYTES);
            }
        }
#pragma unroll
        for (int d = 0; d < 4; d++) {
            multiply(s.value[b * 4 + d], w, v[0][d], v[1][d]);
        }
    }
}

/* Keys and values of any type that this is for. */
template <int TYPE, int DIM, int WARPS> struct staged_kind {
    typedef form<DIM> f;
    typedef stage_of<TYPE, DIM> stage;
    static constexpr int threads = WARPS * WARP;
    static constexpr int dims = DIM, row = f::sums;
    static constexpr int blocks = (DIM <= 64 ? 20 : DIM <= 128 ? 12 : 8) / WARPS;
    static constexpr size_t stages_bytes = (size_t)WARPS * stage::count * stage::bytes;

    static __host__ __device__ size_t rows_bytes(const attend_args &a)
    {
        return (size_t)a.p.block_heads * f::pitch * sizeof(float);
    }

    static size_t own_bytes(const attend_args &a)
    {
        const size_t sums = sums_bytes<DIM, threads>(a);
        return block_memory<DIM>::fresh_bytes + block_memory<DIM>::packed_bytes + rows_bytes(a) +
               (sums < stages_bytes ? stages_bytes : sums);
    }

    static __device__ __forceinline__ void take_turn(const attend_args &a, const log_part &part,
                                                     uint32_t first, head_queries<DIM> &q,
                                                     const unsigned char *now, head_sums<DIM> &s)
    {
        float score[2][2];
        if constexpr (stage::halves) {
            score_halves<DIM>(a, part, first, q, now, score);
            weigh_turn<DIM>(score, s);
            add_halves<DIM>(score, now, s);
        } else {
            score_bytes<DIM>(a, part, first, q, now, score);
            weigh_turn<DIM>(score, s);
            add_bytes<DIM>(a, part, first, score, now, s);
        }
    }

    static __device__ __forceinline__ const float *attend(const attend_args &a,
                                                          const block_share &share, float *own)
    {
        constexpr uint32_t stride = WARPS * TURN;
        const log_part part = share.records;
        const block_memory<DIM> memory(own);
        unsigned char *const stages = (unsigned char *)memory.rows + rows_bytes(a);
        unsigned char *const of_warp = stages + threadIdx.x / WARP * (stage::count * stage::bytes);
        uint32_t first = part.from + threadIdx.x / WARP * TURN;
        const bool fresh = appends(a, share);
#pragma unroll
        for (int i = 0; i < stage::count; i++) {
            if (first + i * stride < part.to) {
                copy_turn<TYPE, DIM>(a, part, first + i * stride, fresh ? part.to - 1 : UINT32_MAX,
                                     of_warp + i * stage::bytes);
            }
            asm volatile("cp.async.commit_group;" ::: "memory");
        }
        head_queries<DIM> q;
        begin_block<TYPE, DIM, threads>(a, share, memory, q);
        head_sums<DIM> s = {-CUDART_INF_F, 0.0f, {}};
        for (int turn = 0; first < part.to; first += stride, turn++) {
            unsigned char *now = of_warp + turn % stage::count * stage::bytes;
            asm volatile("cp.async.wait_group %0;" ::"n"(stage::count - 1) : "memory");
            __syncwarp();
            if (fresh && turn < stage::count && part.to - first <= TURN) {
                place_fresh<TYPE, DIM>(a, part, first, memory.fresh, now);
            }
            take_turn(a, part, first, q, now, s);
            __syncwarp();
            if (first + stage::count * stride < part.to) {
                copy_turn<TYPE, DIM>(a, part, first + stage::count * stride, UINT32_MAX, now);
            }
            asm volatile("cp.async.commit_group;" ::: "memory");
        }
        __syncthreads(); /* sums come where rows were */
        leave_warp<DIM, stage::halves ? 8 : 4>(s, share.heads, a.p.block_heads, (float *)stages);
        return (const float *)stages;
    }
};

template <int TYPE, int WARPS>
static void launch_staged(const attend_args &a, unsigned tokens, cudaStream_t stream)
{
    if constexpr (TYPE == DW_KV_Q8_0) { /* halves_kind has short rows of halves */
        if (a.p.head_dim <= 64) {
            launch_kind<staged_kind<TYPE, 64, WARPS>>(a, tokens, stream);
            return;
        }
    }
    if (a.p.head_dim <= 128) {
        launch_kind<staged_kind<TYPE, 128, WARPS>>(a, tokens, stream);
    } else {
        launch_kind<staged_kind<TYPE, 256, WARPS>>(a, tokens, stream);
    }
}

template <int WARPS>
static void launch_warps(const attend_args &a, unsigned tokens, cudaStream_t stream)
{
    if (a.p.kv_type == DW_KV_Q8_0) {
        launch_staged<DW_KV_Q8_0, WARPS>(a, tokens, stream);
    } else if (a.p.head_dim <= 64) {
        launch_kind<halves_kind<WARPS>>(a, tokens, stream);
    } else {
        launch_staged<DW_KV_F16, WARPS>(a, tokens, stream);
    }
}

/* Of very many rows blocks are smaller: as many warps run at once, each waits for fewer others. */
void dw_cuda_launch_decode(const attend_args &a, unsigned tokens, cudaStream_t stream)
{
    if (a.spreads && rows_of(a) * tokens >= ROWS_VERY_MANY) {
        launch_warps<2>(a, tokens, stream);
    } else {
        launch_warps<4>(a, tokens, stream);
    }
}
