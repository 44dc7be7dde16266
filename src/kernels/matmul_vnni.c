/* AVX-512 F, BW, DQ, VL with VNNI: panels of 16 rows. */
#include "kernels/matmul_kernel.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) &&                      \
    defined(__AVX512VL__) && defined(__AVX512VNNI__)
#include <immintrin.h>

#define W 16u
#define COLUMNS 2
#define SUPER_COLUMNS 8
#define WEIGHTS_UNSIGNED 1
#define SLOW_ALONE 0

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

/* Four bytes of each row. */
static inline VU load_fours(const unsigned char *at, size_t stride)
{
    __m512i rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i index = _mm512_mullo_epi32(rows, _mm512_set1_epi32((int)stride));
    return (VU)_mm512_i32gather_epi32(index, (const void *)at, 1);
}

static bool runs_here(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

#define KERNEL dw_matmul_vnni
#define KERNEL_NAME "avx512vnni"
#include "kernels/matmul_kernel.inc.h"
#else
const dw_matmul_kernel dw_matmul_vnni = {.name = "avx512vnni"};
#endif
