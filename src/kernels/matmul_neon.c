/* NEON, as every 64-bit ARM has it: panels of 4 rows. */
#include "kernels/matmul_kernel.h"

#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>

/* Sums of two products fit 16 bits: a column's bytes are -127 to 127. */
static inline __attribute__((always_inline)) int32x4_t add_products(int32x4_t sum, int8x16_t w,
                                                                    int32x4_t spread)
{
    const int8x16_t x = vreinterpretq_s8_s32(spread);
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(w, x)));
}
#define DOT(sum, w, x, lane) add_products(sum, w, vdupq_laneq_s32(vreinterpretq_s32_s8(x), lane))

static bool runs_here(void)
{
    return true;
}

#define KERNEL dw_matmul_neon
#define KERNEL_NAME "neon"
#include "kernels/matmul_neon.inc.h"
#else
const dw_matmul_kernel dw_matmul_neon = {.name = "neon"};
#endif
