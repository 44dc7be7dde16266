/* NEON, as every 64-bit ARM has it: vectors of 4. */
#include "kernels/attention_kernel.h"

#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>

#define W 4u
#define SCORE_ROWS 4
#define SCORE_GROUPS 4
#define SUM_VECTORS 4
#define FEW_SUM_VECTORS 4

typedef float32x4_t VF;
typedef int32x4_t VI;

#define V_LOAD(p) vld1q_f32(p)
#define V_STORE(p, v) vst1q_f32(p, v)
#define V_SET1(x) vdupq_n_f32(x)
#define V_FMA(a, b, c) vfmaq_f32(c, a, b)
#define V_MAX(a, b) vmaxnmq_f32(a, b)

static inline float32x4_t load_halves(const unsigned char *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
#define V_LOAD_F16(p) load_halves(p)

static inline float32x4_t load_bytes(const unsigned char *p)
{
    int32_t four = 0;
    __builtin_memcpy(&four, p, sizeof four);
    int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}
#define V_LOAD_I8(p) load_bytes(p)

static inline float half_at(const unsigned char *p)
{
    __fp16 half;
    __builtin_memcpy(&half, p, sizeof half);
    return (float)half;
}
#define F16_TO_F32(p) half_at(p)

static inline float hsum(float32x4_t v)
{
    float32x2_t two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(vpadd_f32(two, two), 0);
}
#define V_HSUM(v) hsum(v)
#define V_HADD(a, b) vpaddq_f32(a, b)
#define V_FOURS(p) vld1q_f32(p)

static inline void fours_of_halves(const unsigned char *const at[1], unsigned i, VF to[1])
{
    to[0] = load_halves(at[0] + (size_t)i * 2);
}

static inline void fours_of_floats(const unsigned char *const at[1], unsigned i, VF to[1])
{
    to[0] = vld1q_f32((const float *)(const void *)at[0] + i);
}

static bool runs_here(void)
{
    return true;
}

#define KERNEL dw__attention_neon
#define KERNEL_NAME "neon"
#include "kernels/attention_kernel.inc.h"
#else
const dw_attention_kernel dw__attention_neon = {.name = "neon"};
#endif
