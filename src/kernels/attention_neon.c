/* NEON, as every 64-bit ARM has it: vectors of 4. */
#include "kernels/attention_kernel.h"

#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>

#define W 4u
#define SCORE_ROWS 4
#define SUM_VECTORS 4

typedef float32x4_t VF;
typedef int32x4_t VI;

#define V_LOAD(p) vld1q_f32(p)
#define V_STORE(p, v) vst1q_f32(p, v)
#define V_SET1(x) vdupq_n_f32(x)
#define V_FMA(a, b, c) vfmaq_f32(c, a, b)
#define V_MAX(a, b) vmaxnmq_f32(a, b)
#define V_HSUM(v) vaddvq_f32(v)

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

static inline void hsum4(float *to, VF a, VF b, VF c, VF d)
{
    vst1q_f32(to, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
}
#define V_HSUM4 hsum4

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
