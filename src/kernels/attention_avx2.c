/* AVX2, FMA, F16C: vectors of 8. */
#include "kernels/attention_kernel.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

#define W 8u
#define SCORE_ROWS 3
#define SCORE_GROUPS 1
#define SUM_VECTORS 2
#define FEW_SUM_VECTORS 4

typedef float VF __attribute__((vector_size(32)));
typedef int32_t VI __attribute__((vector_size(32)));

#define V_LOAD(p) ((VF)_mm256_loadu_ps(p))
#define V_STORE(p, v) _mm256_storeu_ps(p, (__m256)(v))
#define V_SET1(x) ((VF)_mm256_set1_ps(x))
#define V_FMA(a, b, c) ((VF)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define V_MAX(a, b) ((VF)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define V_LOAD_F16(p) ((VF)_mm256_cvtph_ps(_mm_loadu_si128((const void *)(p))))
#define V_LOAD_I8(p)                                                                               \
    ((VF)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(p)))))

static inline float half_at(const unsigned char *p)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(p[0] | p[1] << 8)));
}
#define F16_TO_F32(p) half_at(p)

static inline float hsum(VF v)
{
    __m128 four =
        _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
#define V_HSUM hsum
#define V_HADD(a, b) ((VF)_mm256_hadd_ps((__m256)(a), (__m256)(b)))
#define V_FOURS(p) ((VF)_mm256_broadcast_ps((const void *)(p)))

static inline void fours_of_halves(const unsigned char *const at[2], unsigned i, VF to[2])
{
    __m128i a = _mm_loadu_si128((const void *)(at[0] + (size_t)i * 2));
    __m128i b = _mm_loadu_si128((const void *)(at[1] + (size_t)i * 2));
    to[0] = (VF)_mm256_cvtph_ps(_mm_unpacklo_epi64(a, b));
    to[1] = (VF)_mm256_cvtph_ps(_mm_unpackhi_epi64(a, b));
}

static inline void fours_of_floats(const unsigned char *const at[2], unsigned i, VF to[2])
{
    for (unsigned c = 0; c < 2; c++) {
        const size_t place = ((size_t)i + 4 * c) * sizeof(float);
        to[c] = (VF)_mm256_insertf128_ps(
            _mm256_castps128_ps256(_mm_loadu_ps((const void *)(at[0] + place))),
            _mm_loadu_ps((const void *)(at[1] + place)), 1);
    }
}

static bool runs_here(void)
{
    /* F16C, which not every compiler can ask for, came before AVX2. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#define KERNEL dw__attention_avx2
#define KERNEL_NAME "avx2"
#include "kernels/attention_kernel.inc.h"
#else
const dw_attention_kernel dw__attention_avx2 = {.name = "avx2"};
#endif
