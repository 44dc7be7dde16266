/* AVX-512 F, BW, DQ, VL: vectors of 16. */
#include "kernels/attention_kernel.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>

#define W 16u
#define SCORE_ROWS 4
#define SUM_VECTORS 4

typedef float VF __attribute__((vector_size(64)));
typedef int32_t VI __attribute__((vector_size(64)));

#define V_LOAD(p) ((VF)_mm512_loadu_ps(p))
#define V_STORE(p, v) _mm512_storeu_ps(p, (__m512)(v))
#define V_SET1(x) ((VF)_mm512_set1_ps(x))
#define V_FMA(a, b, c) ((VF)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define V_MAX(a, b) ((VF)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define V_HSUM(v) _mm512_reduce_add_ps((__m512)(v))
#define V_LOAD_F16(p) ((VF)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p))))
#define V_LOAD_I8(p)                                                                               \
    ((VF)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(p)))))

static inline float half_at(const unsigned char *p)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(p[0] | p[1] << 8)));
}
#define F16_TO_F32(p) half_at(p)

static inline __m256 fold(VF v)
{
    return _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
}

static inline void hsum4(float *to, VF a, VF b, VF c, VF d)
{
    __m256 ab = _mm256_hadd_ps(fold(a), fold(b));
    __m256 cd = _mm256_hadd_ps(fold(c), fold(d));
    __m256 all = _mm256_hadd_ps(ab, cd);
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}
#define V_HSUM4 hsum4

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
