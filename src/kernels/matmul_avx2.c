/* AVX2, FMA, F16C: panels of 8 rows. */
#include "kernels/matmul_kernel.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>
#include <string.h>

#define W 8u
#define COLUMNS 1
#define SUPER_COLUMNS 4
#define WEIGHTS_UNSIGNED 0
#define WHOLE_BLOCKS 0
#define FLOAT_COLUMNS 3
#define NEAR_BYTES 8192u

typedef float VF __attribute__((vector_size(32)));
typedef int32_t VI __attribute__((vector_size(32)));
typedef uint32_t VU __attribute__((vector_size(32)));
typedef uint8_t VB __attribute__((vector_size(32)));

#define V_STORE(p, v) _mm256_storeu_ps(p, (__m256)(v))
#define V_ZERO() ((VI){0})
#define V_SET1(x) ((VF)_mm256_set1_ps(x))
#define V_SET1_I(x) ((VI)_mm256_set1_epi32(x))
#define V_FMA(a, b, c) ((VF)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define V_PAIRS(w, x) ((VI)_mm256_maddubs_epi16((__m256i)(w), (__m256i)(x)))
#define V_DOT2(sum, a, b) ((sum) + (VI)_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#define V_DOT4(sum, w, x) V_DOT2(sum, V_PAIRS(w, x), _mm256_set1_epi16(1))
/* Sums of two products stay in 16 bits: of weights below 16 eight of them, below 32 four, below 64
 * two. */
#define V_ADD_RAW(sum, w, x) ((VI)_mm256_add_epi16((__m256i)(sum), (__m256i)V_PAIRS(w, x)))
#define V_RAW_VECTORS(type) ((type) == GGML_TYPE_Q6_K ? 2 : (type) == GGML_TYPE_Q5_K ? 4 : 8)
#define V_SCALE(v) (((v)&0xffffu) | (v) << 16)
#define V_ADD_SCALED(sum, raw, scale) V_DOT2(sum, raw, scale)
#define V_ABS_BYTES(v) ((VU)_mm256_abs_epi8((__m256i)(v)))
#define V_SIGN_BYTES(v, by) ((VI)_mm256_sign_epi8((__m256i)(v), (__m256i)(by)))
#define V_ZIP4(a, b) ((VU)_mm256_unpacklo_epi32((__m256i)(a), (__m256i)(b)))
#define V_ZIP4_HIGH(a, b) ((VU)_mm256_unpackhi_epi32((__m256i)(a), (__m256i)(b)))
#define V_ZIP8(a, b) ((VU)_mm256_unpacklo_epi64((__m256i)(a), (__m256i)(b)))
#define V_ZIP8_HIGH(a, b) ((VU)_mm256_unpackhi_epi64((__m256i)(a), (__m256i)(b)))

#define V_LOAD(p) ((VF)_mm256_loadu_ps((const void *)(p)))
#define V_LOAD_F16(p) ((VF)_mm256_cvtph_ps(_mm_loadu_si128((const void *)(p))))
#define V_LOAD_BF16(p)                                                                             \
    ((VF)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p))), 16))
#define V_LOOK_UP(v)                                                                               \
    ((VU)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)iq4_nl)),   \
                             (__m256i)(v)))

static inline float hsum(VF v)
{
    __m128 four =
        _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
#define V_HSUM hsum

static inline bool multiplies_pairs(void)
{
    return false;
}

static inline void multiply_pairs(const dw_matmul_tile *tile)
{
    (void)tile;
}

static inline VF halves(VU v)
{
    __m256i low = _mm256_and_si256((__m256i)v, _mm256_set1_epi32(0xffff));
    __m128i packed =
        _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    return (VF)_mm256_cvtph_ps(packed);
}
#define V_HALVES(v) halves(v)

/* 16 bytes of two rows that are 4 * stride apart */
static inline VU load_lanes(const unsigned char *at, size_t stride)
{
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const void *)at));
    return (VU)_mm256_inserti128_si256(v, _mm_loadu_si128((const void *)(at + 4 * stride)), 1);
}

/* Four bytes of each row. (Gathering is slow on many machines that have AVX2 alone.) */
static inline VU load_fours(const unsigned char *at, size_t stride)
{
    VU v;
    for (unsigned i = 0; i < W; i++) {
        uint32_t one;
        memcpy(&one, at + i * stride, sizeof one);
        v[i] = one;
    }
    return v;
}

static bool runs_here(void)
{
    /* F16C, which not every compiler can ask for, came before AVX2. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#define KERNEL dw_matmul_avx2
#define KERNEL_NAME "avx2"
#include "kernels/matmul_x86.inc.h"
#include "kernels/matmul_kernel.inc.h"
#else
const dw_matmul_kernel dw_matmul_avx2 = {.name = "avx2"};
#endif
