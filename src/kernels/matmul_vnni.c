/* AVX-512 F, BW, DQ, VL with VNNI: panels of 16 rows. */
#include "kernels/matmul_kernel.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) &&                      \
    defined(__AVX512VL__) && defined(__AVX512VNNI__)
#include <immintrin.h>
#include <string.h>

#define W 16u
#define COLUMNS 2
#define SUPER_COLUMNS 8
#define WEIGHTS_UNSIGNED 1
#define WHOLE_BLOCKS 0
#define FLOAT_COLUMNS 6
#define NEAR_BYTES 0u

typedef float VF __attribute__((vector_size(64)));
typedef int32_t VI __attribute__((vector_size(64)));
typedef uint32_t VU __attribute__((vector_size(64)));
typedef uint8_t VB __attribute__((vector_size(64)));

#define V_STORE(p, v) _mm512_storeu_ps(p, (__m512)(v))
#define V_SET1(x) ((VF)_mm512_set1_ps(x))
#define V_SET1_I(x) ((VI)_mm512_set1_epi32(x))
#define V_FMA(a, b, c) ((VF)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
/* sum + of each four bytes, w unsigned and x signed */
#define V_DOT4(sum, w, x) ((VI)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(w), (__m512i)(x)))
#define V_ADD_RAW(sum, w, x) V_DOT4(sum, w, x)
#define V_RAW_VECTORS(type) ((type) == GGML_TYPE_Q6_K ? 4 : 8) /* those of a scale */
#define V_SCALE(v) (v)
#define V_ADD_SCALED(sum, raw, scale) ((sum) + (VI)((VU)(raw) * (scale)))
/* sum + of each two int16 */
#define V_DOT2(sum, a, b) ((VI)_mm512_dpwssd_epi32((__m512i)(sum), (__m512i)(a), (__m512i)(b)))
#define V_ZIP4(a, b) ((VU)_mm512_unpacklo_epi32((__m512i)(a), (__m512i)(b)))
#define V_ZIP4_HIGH(a, b) ((VU)_mm512_unpackhi_epi32((__m512i)(a), (__m512i)(b)))
#define V_ZIP8(a, b) ((VU)_mm512_unpacklo_epi64((__m512i)(a), (__m512i)(b)))
#define V_ZIP8_HIGH(a, b) ((VU)_mm512_unpackhi_epi64((__m512i)(a), (__m512i)(b)))
#define V_HALVES(v) ((VF)_mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)(v))))

#define V_LOAD(p) ((VF)_mm512_loadu_ps((const void *)(p)))
#define V_LOAD_F16(p) ((VF)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p))))
#define V_LOAD_BF16(p)                                                                             \
    ((VF)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(p))), 16))
#define V_LOOK_UP(v)                                                                               \
    ((VU)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const void *)iq4_nl)),        \
                             (__m512i)(v)))

static inline float hsum(VF v)
{
    __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
#define V_HSUM hsum

/* BF16 in pairs, on machines that have AVX-512 BF16 as well. */
static bool multiplies_pairs(void)
{
    return __builtin_cpu_supports("avx512bf16");
}

#define PAIR_ROWS 4u
#define PAIR_COLUMNS 6
#define TARGET_PAIRS __attribute__((target("avx512bf16")))

TARGET_PAIRS static inline __attribute__((always_inline)) void
pair_block(const int columns, const dw_matmul_tile *tile, uint32_t row, uint32_t first)
{
    const uint32_t length = tile->layout->length;
    const unsigned char *x = tile->columns + (size_t)first * tile->layout->bytes;
    const unsigned char *weights = tile->weights + (size_t)row * tile->row_stride;
    __m512 sum[PAIR_ROWS][PAIR_COLUMNS];
    for (unsigned r = 0; r < PAIR_ROWS; r++) {
        for (int c = 0; c < columns; c++) {
            sum[r][c] = _mm512_setzero_ps();
        }
    }
    for (uint32_t i = 0; i < length; i += 32) {
        const uint32_t count = length - i < 32 ? length - i : 32;
        const __mmask32 mask = count == 32 ? ~(__mmask32)0 : ((__mmask32)1 << count) - 1;
        __m512i right[PAIR_COLUMNS];
        for (int c = 0; c < columns; c++) {
            right[c] = _mm512_loadu_si512(x + (size_t)c * tile->layout->bytes + (size_t)i * 2);
        }
        for (unsigned r = 0; r < PAIR_ROWS; r++) {
            __m512i left =
                _mm512_maskz_loadu_epi16(mask, weights + r * tile->row_stride + (size_t)i * 2);
            for (int c = 0; c < columns; c++) {
                sum[r][c] = _mm512_dpbf16_ps(sum[r][c], (__m512bh)left, (__m512bh)right[c]);
            }
        }
    }
    for (unsigned r = 0; r < PAIR_ROWS; r++) {
        for (int c = 0; c < columns; c++) {
            tile->out[(first + (uint32_t)c) * W + row + r] = hsum((VF)sum[r][c]);
        }
    }
}

TARGET_PAIRS static void multiply_pairs(const dw_matmul_tile *tile)
{
    for (uint32_t row = 0; row < W; row += PAIR_ROWS) {
        uint32_t c = 0;
        for (; c + PAIR_COLUMNS <= tile->column_count; c += PAIR_COLUMNS) {
            pair_block(PAIR_COLUMNS, tile, row, c);
        }
        for (; c + 2 <= tile->column_count; c += 2) {
            pair_block(2, tile, row, c);
        }
        if (c < tile->column_count) {
            pair_block(1, tile, row, c);
        }
    }
}

static inline VI zero(void)
{
    VI v;
    __asm__ volatile("vpxor %x0, %x0, %x0" : "=x"(v));
    return v;
}
#define V_ZERO() zero()

/* 16 bytes of four rows that are 4 * stride apart */
static inline VU load_lanes(const unsigned char *at, size_t stride)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)at));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 4 * stride)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 8 * stride)), 2);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 12 * stride)), 3);
    return (VU)v;
}

static inline __m128i four_at(const unsigned char *at)
{
    int32_t four;
    memcpy(&four, at, sizeof four);
    return _mm_cvtsi32_si128(four);
}

/* Of four rows. */
static inline __m128i load_four_fours(const unsigned char *at, size_t stride)
{
    __m128i low = _mm_unpacklo_epi32(four_at(at), four_at(at + stride));
    __m128i high = _mm_unpacklo_epi32(four_at(at + 2 * stride), four_at(at + 3 * stride));
    return _mm_unpacklo_epi64(low, high);
}

/* Four bytes of each row. (Gathering is slow: Zen 4 has 81 steps for it, and on Intel's it waits
 * where nothing of it may be guessed.) */
static inline VU load_fours(const unsigned char *at, size_t stride)
{
    __m512i v = _mm512_castsi128_si512(load_four_fours(at, stride));
    v = _mm512_inserti32x4(v, load_four_fours(at + 4 * stride, stride), 1);
    v = _mm512_inserti32x4(v, load_four_fours(at + 8 * stride, stride), 2);
    return (VU)_mm512_inserti32x4(v, load_four_fours(at + 12 * stride, stride), 3);
}

static bool runs_here(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

#define KERNEL dw_matmul_vnni
#define KERNEL_NAME "avx512vnni"
#include "kernels/matmul_x86.inc.h"
#include "kernels/matmul_kernel.inc.h"
#else
const dw_matmul_kernel dw_matmul_vnni = {.name = "avx512vnni"};
#endif
