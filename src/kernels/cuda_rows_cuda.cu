/* A step's table, masks, and what becomes of logits, on CUDA devices. */
#include <cuda_fp16.h>
#include <ggml-backend.h>
#include <math_constants.h>

extern "C" {
#include "kernels/cuda_launch.h"
}
#include "kernels/cuda_hopper.inc.h"

#define THREADS 256
#define SORT_THREADS 256
#define OWN (DW_CUDA_PIECE / SORT_THREADS) /* keys that a thread has of a piece */
#define SELECTED                                                                                   \
    256u /* of a piece, at most, are put in order: as many as are asked for, or some more */
#define PLACE_BLOCKS 32

/* Nanoseconds, of a clock that all kernels share. */
static __device__ unsigned long long clock_ns()
{
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    return now;
}

/* ---- the table ---- */

/* The largest position of `count` rows, and one: by all threads of the block. */
static __device__ unsigned longest_of(const dw_cuda_token *rows, int count)
{
    __shared__ unsigned longest;
    unsigned own = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        own = max(own, rows[i].position + 1);
    }
    if (threadIdx.x == 0) {
        longest = 0;
    }
    __syncthreads();
    atomicMax(&longest, own);
    __syncthreads();
    return longest;
}

static __global__ void table_kernel(const dw_cuda_token *from, int count, unsigned char *to)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    size_t n = (size_t)count;
    if (blockIdx.x == 0) {
        const unsigned long long began = clock_ns();
        const unsigned longest = longest_of(from, count);
        if (threadIdx.x == 0) {
            unsigned long long *behind = (unsigned long long *)(to + n * DW_CUDA_TABLE_ROW);
            behind[DW_CUDA_TABLE_BEGAN] = began;
            behind[DW_CUDA_TABLE_LONGEST] = longest;
        }
    }
    if (i >= count) {
        return;
    }
    dw_cuda_token row = from[i];
    ((dw_cuda_token *)to)[i] = row;
    ((long long *)(to + n * 32))[i] = row.position;
    ((int *)(to + n * 40))[i] = row.token != 0 ? *(const int *)row.token : 0;
    ((int *)(to + n * 44))[i] = (int)row.position;
}

extern "C" void dw_cuda_launch_table(const struct ggml_tensor *node, void *stream)
{
    int count = (int)node->src[0]->ne[1];
    int blocks = (count + THREADS - 1) / THREADS;
    table_kernel<<<blocks, THREADS, 0, (cudaStream_t)stream>>>(
        (const dw_cuda_token *)node->src[0]->data, count, (unsigned char *)node->data);
}

/* ---- turns by position ---- */

/* As ggml computes them, so that steps through either's attention agree. */
static __global__ void rope_kernel(const dw_cuda_token *table, const float *factors,
                                   dw_cuda_rope_params p, float *turns)
{
    unsigned pair = blockIdx.x * blockDim.x + threadIdx.x;
    if (pair >= p.dims / 2) {
        return;
    }
    float step = powf(p.base, -2.0f / (float)p.dims);
    float plain = (float)table[blockIdx.y].position * powf(step, (float)pair);
    plain /= factors != nullptr ? factors[pair] : 1.0f;
    float angle = p.scale * plain;
    float magnitude = p.attn_factor;
    if (p.ext_factor != 0.0f) {
        float at = ((float)pair - p.low) / fmaxf(0.001f, p.high - p.low);
        float mix = (1.0f - fminf(1.0f, fmaxf(0.0f, at))) * p.ext_factor;
        angle = angle * (1.0f - mix) + plain * mix;
        magnitude *= 1.0f + 0.1f * logf(1.0f / p.scale);
    }
    float *to = turns + 2 * ((size_t)blockIdx.y * (p.dims / 2) + pair);
    to[0] = cosf(angle) * magnitude;
    to[1] = sinf(angle) * magnitude;
}

extern "C" void dw_cuda_launch_rope(const struct ggml_tensor *node, void *stream)
{
    const dw_cuda_rope_params *p = (const dw_cuda_rope_params *)dw_cuda_node_params(node);
    dim3 grid((p->dims / 2 + 63) / 64, (unsigned)node->ne[2]);
    rope_kernel<<<grid, 64, 0, (cudaStream_t)stream>>>(
        (const dw_cuda_token *)node->src[0]->data,
        node->src[1] != nullptr ? (const float *)node->src[1]->data : nullptr, *p,
        (float *)node->data);
}

/* ---- the mask ---- */

static __global__ void mask_kernel(const dw_cuda_token *table, unsigned kv_count, unsigned window,
                                   __half *mask)
{
    unsigned end = table[blockIdx.y].position + 1;
    unsigned first = window > 0 && end > window ? end - window : 0;
    unsigned record = blockIdx.x * blockDim.x + threadIdx.x;
    if (record < kv_count) {
        bool seen = record >= first && record < end;
        mask[(size_t)blockIdx.y * kv_count + record] =
            seen ? __float2half(0.0f) : __float2half(-CUDART_INF_F);
    }
}

extern "C" void dw_cuda_launch_mask(const struct ggml_tensor *node, void *stream)
{
    unsigned kv_count = (unsigned)node->ne[0];
    dim3 grid((kv_count + THREADS - 1) / THREADS, (unsigned)node->ne[1]);
    mask_kernel<<<grid, THREADS, 0, (cudaStream_t)stream>>>(
        (const dw_cuda_token *)node->src[0]->data, kv_count,
        *(const uint32_t *)dw_cuda_node_params(node), (__half *)node->data);
}

/* ---- rows of logits to their owners ---- */

static __global__ void place_kernel(const float *logits, long long vocab_count,
                                    const dw_cuda_token *table)
{
    float *to = (float *)table[blockIdx.y].logits;
    const float *from = logits + blockIdx.y * vocab_count;
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (; to != nullptr && i < vocab_count; i += (long long)gridDim.x * blockDim.x) {
        to[i] = from[i];
    }
}

extern "C" void dw_cuda_launch_place_rows(const struct ggml_tensor *node, void *stream)
{
    const struct ggml_tensor *logits = node->src[0];
    place_kernel<<<dim3(PLACE_BLOCKS, (unsigned)logits->ne[1]), THREADS, 0, (cudaStream_t)stream>>>(
        (const float *)logits->data, logits->ne[0], (const dw_cuda_token *)node->src[1]->data);
}

/* ---- the likeliest ---- */

/* A logit and its token as a number that is larger where the logit is, or the token lower; 0 is
 * less than any, and NaN's. Zeros are equal, whatever their sign. */
static __device__ unsigned long long key_of(float logit, unsigned token)
{
    unsigned bits = logit == 0.0f ? 0u : __float_as_uint(logit);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return logit != logit ? 0ull : (unsigned long long)bits << 32 | (0xffffffffu - token);
}

static __device__ float logit_of(unsigned long long key)
{
    unsigned bits = (unsigned)(key >> 32);
    return __uint_as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

template <typename T> static __device__ T sum_of_block(T value, T *shared)
{
    for (int mask = 16; mask > 0; mask /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, mask);
    }
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = value;
    }
    __syncthreads();
    T sum = 0;
    for (unsigned i = 0; i < blockDim.x / 32; i++) {
        sum += shared[i];
    }
    __syncthreads();
    return sum;
}

static __device__ unsigned long long largest_of_block(unsigned long long key,
                                                      unsigned long long *shared)
{
    for (int mask = 16; mask > 0; mask /= 2) {
        unsigned long long other = __shfl_xor_sync(0xffffffffu, key, mask);
        key = other > key ? other : key;
    }
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = key;
    }
    __syncthreads();
    for (unsigned i = 0; i < blockDim.x / 32; i++) {
        key = shared[i] > key ? shared[i] : key;
    }
    __syncthreads();
    return key;
}

/* ---- the largest of a block's keys, in order ---- */

struct selection {
    unsigned long long keys[SELECTED]; /* the largest first, then 0 */
    unsigned counts[2][SORT_THREADS / 32];
    unsigned taken;
};

static_assert(SELECTED >= DW_TOP_K_MAX && SELECTED >= SORT_THREADS, "a thread has a place or more");

/* How many of all threads' keys are not less. `turn` 0 and 1 by turns: then one barrier will do. */
static __device__ unsigned count_from(const unsigned long long (&own)[OWN],
                                      unsigned long long least, unsigned turn, selection &to)
{
    unsigned count = 0, all = 0;
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) {
        count += own[i] >= least;
    }
    for (int mask = 16; mask > 0; mask /= 2) {
        count += __shfl_xor_sync(0xffffffffu, count, mask);
    }
    if (threadIdx.x % 32 == 0) {
        to.counts[turn][threadIdx.x / 32] = count;
    }
    __syncthreads();
#pragma unroll
    for (unsigned i = 0; i < SORT_THREADS / 32; i++) {
        all += to.counts[turn][i];
    }
    return all;
}

/* A key from which on there are `count` keys at least and SELECTED at most; of fewer than `count`,
 * all. Keys are different, but for those that are 0 and stand for nothing: so halving finds one. */
static __device__ unsigned long long find_least(const unsigned long long (&own)[OWN],
                                                unsigned count, unsigned long long largest,
                                                selection &to)
{
    unsigned long long low = 1, high = largest + 1; /* too many, and too few */
    unsigned turn = 0;
    if (count_from(own, low, turn, to) <= SELECTED) {
        return low;
    }
    for (;;) {
        const unsigned long long middle = low + (high - low) / 2;
        turn ^= 1;
        const unsigned found = count_from(own, middle, turn, to);
        if (found > SELECTED) {
            low = middle;
        } else if (found < count) {
            high = middle;
        } else {
            return middle;
        }
    }
}

/* Bitonic (Batcher, 1968). */
static __device__ void sort_selection(selection &to)
{
    for (unsigned size = 2; size <= SELECTED; size *= 2) {
        for (unsigned stride = size / 2; stride > 0; stride /= 2) {
            __syncthreads();
            for (unsigned i = threadIdx.x; i < SELECTED / 2; i += SORT_THREADS) {
                const unsigned low = 2 * i - (i & (stride - 1));
                const unsigned long long a = to.keys[low], b = to.keys[low + stride];
                if ((a < b) == ((low & size) == 0)) {
                    to.keys[low] = b;
                    to.keys[low + stride] = a;
                }
            }
        }
    }
    __syncthreads();
}

/* The `count` largest of all threads' keys, and perhaps more, in order. */
static __device__ void select_largest(const unsigned long long (&own)[OWN], unsigned count,
                                      unsigned long long largest, selection &to)
{
    const unsigned long long least = find_least(own, count, largest, to);
    for (unsigned i = threadIdx.x; i < SELECTED; i += SORT_THREADS) {
        to.keys[i] = 0;
    }
    if (threadIdx.x == 0) {
        to.taken = 0;
    }
    __syncthreads();
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) {
        if (own[i] >= least) {
            to.keys[atomicAdd(&to.taken, 1u)] = own[i];
        }
    }
    sort_selection(to);
}

/* A piece's summary: [0] its largest key, [1] the sum of exp(logit - largest) and the count of
 * NaN. */
struct piece_summary {
    unsigned long long largest;
    float total;
    unsigned nan_count;
};

static_assert(sizeof(piece_summary) == DW_CUDA_PIECE_SUMMARY * sizeof(long long),
              "in front of keys");
#define PIECE_ROW (DW_TOP_K_MAX + DW_CUDA_PIECE_SUMMARY)

/* One piece of one row: the `count` largest, in order. */
static __global__ void __launch_bounds__(SORT_THREADS, 4)
    pieces_kernel(const float *logits, long long vocab_count, unsigned count,
                  unsigned long long *best)
{
    __shared__ selection selected;
    __shared__ unsigned long long wide[SORT_THREADS / 32];
    __shared__ float narrow[SORT_THREADS / 32];
    __shared__ unsigned counts[SORT_THREADS / 32];
    const long long first = (long long)blockIdx.x * DW_CUDA_PIECE;
    const float *piece = logits + blockIdx.y * vocab_count + first;
    const unsigned length = (unsigned)min(vocab_count - first, (long long)DW_CUDA_PIECE);
    float logit[OWN];
    unsigned long long own[OWN], largest = 0;
    unsigned nan_count = 0;
    let_next_begin();
    wait_for_front();
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) {
        const unsigned at = i * SORT_THREADS + threadIdx.x;
        logit[i] = at < length ? piece[at] : 0.0f;
    }
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) {
        const unsigned at = i * SORT_THREADS + threadIdx.x;
        const bool there = at < length;
        nan_count += there && logit[i] != logit[i];
        own[i] = there ? key_of(logit[i], (unsigned)first + at) : 0ull;
        largest = own[i] > largest ? own[i] : largest;
    }
    largest = largest_of_block(largest, wide);
    nan_count = sum_of_block(nan_count, counts);
    const float top = logit_of(largest);
    float total = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) {
        const float value = logit_of(own[i]);
        const bool finite = own[i] != 0 && value > -CUDART_INF_F && top < CUDART_INF_F;
        total += finite ? expf(value - top) : 0.0f;
    }
    total = sum_of_block(total, narrow);
    unsigned long long *out = best + ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * PIECE_ROW;
    if (threadIdx.x == 0) {
        piece_summary summary = {largest, total, nan_count};
        *(piece_summary *)out = summary;
    }
    out += DW_CUDA_PIECE_SUMMARY;
    if (count == 1) {
        if (threadIdx.x == 0) {
            out[0] = largest;
        }
        return;
    }
    select_largest(own, count, largest, selected);
    for (unsigned i = threadIdx.x; i < count; i += SORT_THREADS) {
        out[i] = selected.keys[i];
    }
}

/* What is known of all of a row, from the summaries of its pieces; by the threads of one warp,
 * since one by itself would wait for each of them. */
static __device__ void note_row(const unsigned long long *pieces, unsigned piece_count,
                                unsigned long long best, dw_top_k *out)
{
    float top = best != 0 ? logit_of(best) : -CUDART_INF_F;
    double total = 0.0;
    unsigned nan_count = 0;
    for (unsigned i = threadIdx.x; i < piece_count; i += 32) {
        const piece_summary *summary = (const piece_summary *)(pieces + (size_t)i * PIECE_ROW);
        float largest = logit_of(summary->largest);
        bool counts = summary->largest != 0 && largest > -CUDART_INF_F;
        total += counts ? (double)summary->total * exp((double)(largest - top)) : 0.0;
        nan_count += summary->nan_count;
    }
    for (int mask = 16; mask > 0; mask /= 2) {
        total += __shfl_xor_sync(0xffffffffu, total, mask);
        nan_count += __shfl_xor_sync(0xffffffffu, nan_count, mask);
    }
    out->total = total;
    out->largest = top;
    out->nan_count = nan_count;
}

/* The key `at` of those that all pieces of a row have left, `count` each. */
static __device__ unsigned long long piece_key(const unsigned long long *pieces, unsigned count,
                                               unsigned at)
{
    return pieces[(size_t)(at / count) * PIECE_ROW + DW_CUDA_PIECE_SUMMARY + at % count];
}

/* All pieces of one row: the best so far stay while further pieces' are looked at. */
static __global__ void __launch_bounds__(SORT_THREADS)
    candidates_kernel(const unsigned long long *best, unsigned piece_count, unsigned count,
                      long long vocab_count, const unsigned long long *began, unsigned char *to,
                      long long to_bytes)
{
    __shared__ selection selected;
    __shared__ unsigned long long wide[SORT_THREADS / 32];
    const unsigned long long *pieces = best + (size_t)blockIdx.x * piece_count * PIECE_ROW;
    dw_top_k *out = (dw_top_k *)(to + blockIdx.x * to_bytes);
    wait_for_front();
    const unsigned all = count * piece_count;
    const unsigned long long *keys = selected.keys;
    unsigned kept = 0;
    for (unsigned taken = 0; taken < all;) {
        const unsigned more = min(all - taken, DW_CUDA_PIECE - kept);
        unsigned long long own[OWN], largest = 0;
#pragma unroll
        for (unsigned i = 0; i < OWN; i++) {
            const unsigned at = i * SORT_THREADS + threadIdx.x;
            own[i] = at < kept          ? keys[at]
                     : at - kept < more ? piece_key(pieces, count, taken + at - kept)
                                        : 0ull;
            largest = own[i] > largest ? own[i] : largest;
        }
        largest = largest_of_block(largest, wide);
        if (count == 1 && more == all) { /* needs no order */
            if (threadIdx.x == 0) {
                selected.keys[0] = largest;
            }
            __syncthreads();
        } else {
            select_largest(own, count, largest, selected);
        }
        taken += more;
        kept = count;
    }
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
        dw_top_k_entry one = {logit_of(keys[i]), (int)(0xffffffffu - (unsigned)keys[i])};
        out->list[i] = one;
    }
    if (threadIdx.x < 32) {
        note_row(pieces, piece_count, keys[0], out);
    }
    if (threadIdx.x == 0) {
        out->count = (unsigned)min((long long)count, vocab_count - out->nan_count);
        if (began != nullptr) {
            out->began_ns = (unsigned)*began;
            out->ended_ns = (unsigned)clock_ns();
        }
    }
}

static launch_shape sorting(dim3 grid)
{
    launch_shape shape = {};
    shape.grid = grid;
    shape.block = dim3(SORT_THREADS);
    shape.dependent = true;
    return shape;
}

extern "C" void dw_cuda_launch_pieces(const struct ggml_tensor *node, void *stream)
{
    const struct ggml_tensor *logits = node->src[0];
    dim3 grid((unsigned)node->ne[1], (unsigned)node->ne[2]);
    launch_kernel(pieces_kernel, sorting(grid), (cudaStream_t)stream, (const float *)logits->data,
                  (long long)logits->ne[0], (unsigned)*(const uint32_t *)dw_cuda_node_params(node),
                  (unsigned long long *)node->data);
}

extern "C" void dw_cuda_launch_top_k(const struct ggml_tensor *node, void *stream)
{
    const struct ggml_tensor *best = node->src[0];
    const struct ggml_tensor *table = node->src[3];
    const unsigned long long *began =
        table != nullptr ? dw_cuda_table_behind(table) + DW_CUDA_TABLE_BEGAN : nullptr;
    launch_kernel(candidates_kernel, sorting(dim3((unsigned)best->ne[2])), (cudaStream_t)stream,
                  (const unsigned long long *)best->data, (unsigned)best->ne[1],
                  (unsigned)*(const uint32_t *)dw_cuda_node_params(node),
                  (long long)node->src[2]->ne[0], began, (unsigned char *)node->src[1]->data,
                  (long long)node->src[1]->ne[0]);
}
