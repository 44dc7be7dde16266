/* What the NEON forms of the products share: panels of 4 rows. The including file says
 *   DOT(sum, w, x, lane)  sum + of each four bytes of w with the lane's four of x; a constant
 * Sums of blocks of 32 are whole numbers here, and the blocks are added up as floats one after the
 * other: there is no order of ggml's to follow, which has one for every form. All our NEON forms
 * give the same bits. */
#include <arm_neon.h>
#include <string.h>

#define W 4u
#define COLUMNS 8
#define SUPER_COLUMNS 8
#define WEIGHTS_UNSIGNED 0
#define WHOLE_BLOCKS 1
#define FLOAT_COLUMNS 4
#define NEAR_BYTES 0u

typedef float VF __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));
typedef uint32_t VU __attribute__((vector_size(16)));
typedef uint8_t VB __attribute__((vector_size(16)));

#define V_STORE(p, v) vst1q_f32(p, (float32x4_t)(v))
#define V_ZERO() ((VI){0})
#define V_SET1(x) ((VF)vdupq_n_f32(x))
#define V_SET1_I(x) ((VI)vdupq_n_s32(x))
#define V_FMA(a, b, c) ((VF)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define V_RAW_VECTORS(type) ((type) == GGML_TYPE_Q6_K ? 4 : 8) /* those of a scale */
#define V_SCALE(v) (v)
#define V_ADD_SCALED(sum, raw, scale) ((sum) + (VI)((VU)(raw) * (scale)))
#define V_ZIP4(a, b) ((VU)vzip1q_u32((uint32x4_t)(a), (uint32x4_t)(b)))
#define V_ZIP4_HIGH(a, b) ((VU)vzip2q_u32((uint32x4_t)(a), (uint32x4_t)(b)))
#define V_ZIP8(a, b) ((VU)vzip1q_u64((uint64x2_t)(a), (uint64x2_t)(b)))
#define V_ZIP8_HIGH(a, b) ((VU)vzip2q_u64((uint64x2_t)(a), (uint64x2_t)(b)))
#define V_HALVES(v) ((VF)vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32((uint32x4_t)(v)))))

#define V_LOAD(p) ((VF)vreinterpretq_f32_u8(vld1q_u8(p)))
#define V_LOAD_F16(p) ((VF)vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))))
#define V_LOAD_BF16(p) ((VF)vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16))
#define V_LOOK_UP(v) ((VU)vqtbl1q_s8(vld1q_s8(iq4_nl), (uint8x16_t)(v)))

static inline float hsum(VF v)
{
    float32x2_t two = vadd_f32(vget_low_f32((float32x4_t)v), vget_high_f32((float32x4_t)v));
    return vget_lane_f32(vpadd_f32(two, two), 0);
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

static inline VU load_lanes(const unsigned char *at, size_t stride)
{
    (void)stride;
    return (VU)vld1q_u8(at);
}

/* Four bytes of each row. */
static inline VU load_fours(const unsigned char *at, size_t stride)
{
    VU v = {0};
    for (unsigned i = 0; i < W; i++) {
        uint32_t one;
        memcpy(&one, at + i * stride, sizeof one);
        v[i] = one;
    }
    return v;
}

#define OWN_INLINE static inline __attribute__((always_inline))

/* sum + the products of `count` vectors, a multiple of four, with as many fours of a column. */
OWN_INLINE VI dot_fours(VI sum, const VU *w, const unsigned char *x, const int count)
{
    int32x4_t all = (int32x4_t)sum;
#pragma GCC unroll 2
    for (int k = 0; k < count; k += 4) {
        const int8x16_t fours = vreinterpretq_s8_u8(vld1q_u8(x + k * 4));
        all = DOT(all, (int8x16_t)w[k], fours, 0);
        all = DOT(all, (int8x16_t)w[k + 1], fours, 1);
        all = DOT(all, (int8x16_t)w[k + 2], fours, 2);
        all = DOT(all, (int8x16_t)w[k + 3], fours, 3);
    }
    return (VI)all;
}

/* sum + of each two int16, of `count` vectors, a multiple of four, and a column's. */
OWN_INLINE VI dot_pairs(VI sum, const VU *pairs, const unsigned char *x, const int count)
{
#define ADD_PAIR(k)                                                                                \
    all = vmlal_laneq_s16(all, vmovn_s32((int32x4_t)pairs[i + (k)]), eight, 2 * (k));              \
    all = vmlal_laneq_s16(all, vshrn_n_s32((int32x4_t)pairs[i + (k)], 16), eight, 2 * (k) + 1)
    int32x4_t all = (int32x4_t)sum;
#pragma GCC unroll 2
    for (int i = 0; i < count; i += 4) {
        const int16x8_t eight = vreinterpretq_s16_u8(vld1q_u8(x + i * 4));
        ADD_PAIR(0);
        ADD_PAIR(1);
        ADD_PAIR(2);
        ADD_PAIR(3);
    }
    return (VI)all;
#undef ADD_PAIR
}

/* What a sum begins with whose weights are kept as they are packed, 8 or 16 above what they mean:
 * `sum` is -8 times the column's of the block. */
OWN_INLINE VI first_of_sum(const enum ggml_type type, const unsigned char *sum)
{
    int32_t eights;
    if (type != GGML_TYPE_Q4_0 && type != GGML_TYPE_Q5_0) {
        return V_ZERO();
    }
    memcpy(&eights, sum, sizeof eights);
    return V_SET1_I(type == GGML_TYPE_Q5_0 ? 2 * eights : eights);
}

static inline float half_at(const unsigned char *p)
{
    __fp16 half;
    memcpy(&half, p, sizeof half);
    return (float)half;
}

/* Blocks of a half, with Q8_1 another, and 32 bytes. */
static void lay_out_small(const dw_column_layout *layout, const unsigned char *from, uint32_t first,
                          uint32_t count, unsigned char *column)
{
    const bool minima = layout->type == GGML_TYPE_Q8_1;
    for (uint32_t i = first; i < first + count; i++, from += minima ? 36 : 34) {
        const uint8x16_t low = vld1q_u8(from + (minima ? 4 : 2));
        const uint8x16_t high = vld1q_u8(from + (minima ? 20 : 18));
        vst1q_u8(column + (size_t)i * 32, low);
        vst1q_u8(column + (size_t)i * 32 + 16, high);
        const float scale = half_at(from);
        memcpy(column + layout->scales + (size_t)i * 4, &scale, 4);
        const float sum = half_at(from + 2); /* Q8_1's */
        const int32_t eights =
            -8 * (vaddlvq_s8(vreinterpretq_s8_u8(low)) + vaddlvq_s8(vreinterpretq_s8_u8(high)));
        memcpy(column + layout->sums + (size_t)i * 4, minima ? (const void *)&sum : &eights, 4);
    }
}

/* Blocks of a float, 256 bytes, and 16 sums. */
static void lay_out_super(const dw_column_layout *layout, const unsigned char *from, uint32_t first,
                          uint32_t count, unsigned char *column)
{
    for (uint32_t i = first; i < first + count; i++, from += 292) {
        memcpy(column + layout->scales + (size_t)i * 4, from, 4);
        memcpy(column + (size_t)i * 256, from + 4, 256);
        memcpy(column + layout->sums + (size_t)i * 32, from + 260, 32);
        const int16x8_t low = vreinterpretq_s16_u8(vld1q_u8(from + 260));
        const int16x8_t high = vreinterpretq_s16_u8(vld1q_u8(from + 276));
        vst1q_u8(column + layout->pair_sums + (size_t)i * 16,
                 vreinterpretq_u8_s16(vpaddq_s16(low, high)));
    }
}

#include "kernels/matmul_kernel.inc.h"
