/* AVX-512 F, BW, DQ, VL: vectors of 16. */
#include "kernels/attention_kernel.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>

#define W 16u
#define SCORE_ROWS 4
#define SCORE_GROUPS 2
#define SUM_VECTORS 4
#define FEW_SUM_VECTORS 4

typedef float VF __attribute__((vector_size(64)));
typedef int32_t VI __attribute__((vector_size(64)));

#define V_LOAD(p) ((VF)_mm512_loadu_ps(p))
#define V_STORE(p, v) _mm512_storeu_ps(p, (__m512)(v))
#define V_SET1(x) ((VF)_mm512_set1_ps(x))
#define V_FMA(a, b, c) ((VF)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define V_MAX(a, b) ((VF)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define V_LOAD_F16(p) ((VF)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p))))
#define V_LOAD_I8(p)                                                                               \
    ((VF)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(p)))))

static inline float half_at(const unsigned char *p)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(p[0] | p[1] << 8)));
}
#define F16_TO_F32(p) half_at(p)

static inline float hsum(VF v)
{
    __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
#define V_HSUM(v) hsum(v)

static inline VF hadd(VF a, VF b)
{
    return (VF)_mm512_add_ps(_mm512_shuffle_ps((__m512)a, (__m512)b, 0x88),
                             _mm512_shuffle_ps((__m512)a, (__m512)b, 0xdd));
}
#define V_HADD(a, b) hadd(a, b)
#define V_FOURS(p) ((VF)_mm512_broadcast_f32x4(_mm_loadu_ps(p)))

static inline void fours_of_halves(const unsigned char *const at[4], unsigned i, VF to[4])
{
    __m256i rows[4];
    for (int k = 0; k < 4; k++) {
        rows[k] = _mm256_loadu_si256((const void *)(at[k] + (size_t)i * 2));
    }
    __m256i even = _mm256_unpacklo_epi64(rows[0], rows[1]);
    __m256i odd = _mm256_unpackhi_epi64(rows[0], rows[1]);
    __m256i even_high = _mm256_unpacklo_epi64(rows[2], rows[3]);
    __m256i odd_high = _mm256_unpackhi_epi64(rows[2], rows[3]);
    to[0] = (VF)_mm512_cvtph_ps(_mm256_permute2x128_si256(even, even_high, 0x20));
    to[1] = (VF)_mm512_cvtph_ps(_mm256_permute2x128_si256(odd, odd_high, 0x20));
    to[2] = (VF)_mm512_cvtph_ps(_mm256_permute2x128_si256(even, even_high, 0x31));
    to[3] = (VF)_mm512_cvtph_ps(_mm256_permute2x128_si256(odd, odd_high, 0x31));
}

static inline void fours_of_floats(const unsigned char *const at[4], unsigned i, VF to[4])
{
    for (unsigned c = 0; c < 4; c++) {
        const size_t place = ((size_t)i + 4 * c) * sizeof(float);
        __m512 v = _mm512_castps128_ps512(_mm_loadu_ps((const void *)(at[0] + place)));
        v = _mm512_insertf32x4(v, _mm_loadu_ps((const void *)(at[1] + place)), 1);
        v = _mm512_insertf32x4(v, _mm_loadu_ps((const void *)(at[2] + place)), 2);
        to[c] = (VF)_mm512_insertf32x4(v, _mm_loadu_ps((const void *)(at[3] + place)), 3);
    }
}

static bool runs_here(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma");
}

#define KERNEL dw__attention_avx512
#define KERNEL_NAME "avx512"
#include "kernels/attention_kernel.inc.h"
#else
const dw_attention_kernel dw__attention_avx512 = {.name = "avx512"};
#endif
