/* Quantised weights as BF16, for products by cuBLAS (cuda_wide_cuda.cu). A thread makes eight
 * values at a time, neighbours in turn. Numbers become floats without conversions, which run at a
 * quarter of the rate: as the last bits of 2^23. How values lie in blocks is as ggml-common.h has
 * it. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <ggml-backend.h>

extern "C" {
#include "device/cuda_gemm.h"
#include "kernels/cuda_wide.h"
}
#include "kernels/cuda_hopper.inc.h"

#define THREADS 256u
#define CHUNK DW_CUDA_WIDE_CHUNK /* values that a thread makes at once */
#define CHUNKS 4u                /* of a thread */
#define UNIT 8388608.0f          /* 2^23 */

/* Eight bytes, the first the lowest. */
struct bytes8 {
    uint32_t low, high;
};

static __device__ __forceinline__ uint32_t two_bytes(const unsigned char *from)
{
    return __ldg((const unsigned short *)from);
}

static __device__ __forceinline__ bytes8 read_by_two(const unsigned char *from)
{
    return {two_bytes(from) | two_bytes(from + 2) << 16, two_bytes(from + 4) | two_bytes(from + 6)
                                                                                   << 16};
}

static __device__ __forceinline__ bytes8 read_by_four(const unsigned char *from)
{
    return {__ldg((const uint32_t *)from), __ldg((const uint32_t *)(from + 4))};
}

static __device__ __forceinline__ float half_at(const unsigned char *from)
{
    return __half2float(__ushort_as_half((unsigned short)two_bytes(from)));
}

/* Of each byte `mask`, `shift` bits up. */
static __device__ __forceinline__ bytes8 bits_of(bytes8 from, uint32_t shift, uint32_t mask)
{
    return {from.low >> shift & mask, from.high >> shift & mask};
}

/* What stands for value i is v[i] * scale + least, where v[i] is byte i less `middle`. */
struct chunk_of_block {
    bytes8 bytes;
    float middle, scale, least;
};

/* Six bits of the scale, and of the minimum, of block `i` of eight: those of the last four stand in
 * the upper halves of bytes, and their upper bits over the first four's. */
static __device__ __forceinline__ void read_six_bits(const unsigned char *packed, uint32_t i,
                                                     float &scale, float &least)
{
    const uint32_t a = __ldg(packed + i % 4), b = __ldg(packed + 4 + i % 4);
    const uint32_t c = __ldg(packed + 8 + i % 4);
    scale = (float)(i < 4 ? a & 63 : (c & 15) | (a >> 6) << 4);
    least = (float)(i < 4 ? b & 63 : c >> 4 | (b >> 6) << 4);
}

/* Chunk `at` of a block. */
template <int TYPE> struct block;

template <> struct block<GGML_TYPE_Q4_0> {
    static constexpr uint32_t values = 32, bytes = 18;
    static __device__ __forceinline__ chunk_of_block read(const unsigned char *from, uint32_t at)
    {
        const bytes8 both = read_by_two(from + 2 + at % 2 * 8);
        return {bits_of(both, at / 2 * 4, 0x0f0f0f0fu), UNIT + 8, half_at(from), 0};
    }
};

template <> struct block<GGML_TYPE_Q4_1> {
    static constexpr uint32_t values = 32, bytes = 20;
    static __device__ __forceinline__ chunk_of_block read(const unsigned char *from, uint32_t at)
    {
        const bytes8 both = read_by_four(from + 4 + at % 2 * 8);
        return {bits_of(both, at / 2 * 4, 0x0f0f0f0fu), UNIT, half_at(from), half_at(from + 2)};
    }
};

template <> struct block<GGML_TYPE_Q8_0> {
    static constexpr uint32_t values = 32, bytes = 34;
    static __device__ __forceinline__ chunk_of_block read(const unsigned char *from, uint32_t at)
    {
        const bytes8 all = read_by_two(from + 2 + at * 8);
        return {{all.low ^ 0x80808080u, all.high ^ 0x80808080u}, UNIT + 128, half_at(from), 0};
    }
};

template <> struct block<GGML_TYPE_Q4_K> {
    static constexpr uint32_t values = 256, bytes = 144;
    static __device__ __forceinline__ chunk_of_block read(const unsigned char *from, uint32_t at)
    {
        float scale, least;
        read_six_bits(from + 4, at / 4, scale, least);
        const bytes8 both = read_by_four(from + 16 + at / 8 * 32 + at % 4 * 8);
        return {bits_of(both, at / 4 % 2 * 4, 0x0f0f0f0fu), UNIT, half_at(from) * scale,
                -half_at(from + 2) * least};
    }
};

template <> struct block<GGML_TYPE_Q5_K> {
    static constexpr uint32_t values = 256, bytes = 176;
    static __device__ __forceinline__ chunk_of_block read(const unsigned char *from, uint32_t at)
    {
        float scale, least;
        read_six_bits(from + 4, at / 4, scale, least);
        const bytes8 fifth = bits_of(read_by_four(from + 16 + at % 4 * 8), at / 4, 0x01010101u);
        const bytes8 four = bits_of(read_by_four(from + 48 + at / 8 * 32 + at % 4 * 8),
                                    at / 4 % 2 * 4, 0x0f0f0f0fu);
        return {{four.low | fifth.low << 4, four.high | fifth.high << 4},
                UNIT,
                half_at(from) * scale,
                -half_at(from + 2) * least};
    }
};

template <> struct block<GGML_TYPE_Q6_K> {
    static constexpr uint32_t values = 256, bytes = 210;
    static __device__ __forceinline__ chunk_of_block read(const unsigned char *from, uint32_t at)
    {
        const uint32_t half = at / 16, quarter = at / 4 % 4, in_quarter = at % 4 * 8;
        const bytes8 four = bits_of(read_by_two(from + half * 64 + quarter % 2 * 32 + in_quarter),
                                    quarter / 2 * 4, 0x0f0f0f0fu);
        const bytes8 two =
            bits_of(read_by_two(from + 128 + half * 32 + in_quarter), quarter * 2, 0x03030303u);
        const int scale = (signed char)__ldg(from + 192 + half * 8 + quarter * 2 + in_quarter / 16);
        return {{four.low | two.low << 4, four.high | two.high << 4},
                UNIT + 32,
                half_at(from + 208) * (float)scale,
                0};
    }
};

static __device__ __forceinline__ uint4 as_bf16(const chunk_of_block &c)
{
    __nv_bfloat162 pairs[CHUNK / 2];
    float v[CHUNK];
#pragma unroll
    for (uint32_t i = 0; i < CHUNK; i++) {
        const uint32_t word = i < 4 ? c.bytes.low : c.bytes.high;
        v[i] = __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440u + i % 4)) - c.middle;
        v[i] = v[i] * c.scale + c.least;
    }
#pragma unroll
    for (uint32_t i = 0; i < CHUNK / 2; i++) {
        pairs[i] = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
    }
    return *(const uint4 *)pairs;
}

template <int TYPE>
static __global__ void __launch_bounds__(THREADS)
    widen_kernel(const unsigned char *__restrict__ from, uint32_t count, uint4 *__restrict__ to)
{
    constexpr uint32_t in_block = block<TYPE>::values / CHUNK;
    const uint32_t first = blockIdx.x * THREADS * CHUNKS + threadIdx.x;
    chunk_of_block read[CHUNKS];
    let_next_begin();
    wait_for_front();
#pragma unroll
    for (uint32_t i = 0; i < CHUNKS; i++) {
        const uint32_t at = first + i * THREADS;
        if (at < count) {
            read[i] = block<TYPE>::read(from + (size_t)(at / in_block) * block<TYPE>::bytes,
                                        at % in_block);
        }
    }
#pragma unroll
    for (uint32_t i = 0; i < CHUNKS; i++) {
        const uint32_t at = first + i * THREADS;
        if (at < count) {
            to[at] = as_bf16(read[i]);
        }
    }
}

template <int TYPE>
static void launch(const void *from, void *to, size_t values, cudaStream_t stream)
{
    const uint32_t count = (uint32_t)(values / CHUNK);
    launch_shape shape = {};
    shape.grid = dim3((count + THREADS * CHUNKS - 1) / (THREADS * CHUNKS));
    shape.block = dim3(THREADS);
    shape.dependent = true;
    launch_kernel(widen_kernel<TYPE>, shape, stream, (const unsigned char *)from, count,
                  (uint4 *)to);
}

extern "C" void dw_cuda_widen_rows(const struct ggml_tensor *weight, uint32_t row, uint32_t count,
                                   void *to, void *stream)
{
    const unsigned char *from = (const unsigned char *)weight->data + row * weight->nb[1];
    const size_t values = (size_t)count * (size_t)weight->ne[0];
    cudaStream_t in = (cudaStream_t)stream;
    switch (weight->type) {
    case GGML_TYPE_Q4_0:
        launch<GGML_TYPE_Q4_0>(from, to, values, in);
        break;
    case GGML_TYPE_Q4_1:
        launch<GGML_TYPE_Q4_1>(from, to, values, in);
        break;
    case GGML_TYPE_Q8_0:
        launch<GGML_TYPE_Q8_0>(from, to, values, in);
        break;
    case GGML_TYPE_Q4_K:
        launch<GGML_TYPE_Q4_K>(from, to, values, in);
        break;
    case GGML_TYPE_Q5_K:
        launch<GGML_TYPE_Q5_K>(from, to, values, in);
        break;
    case GGML_TYPE_Q6_K:
        launch<GGML_TYPE_Q6_K>(from, to, values, in);
        break;
    default:
        dw_cuda_widen(weight->type, from, to, values); /* by ggml */
    }
}
