/* NEON with dot products: panels of 4 rows. */
#include "kernels/matmul_kernel.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>

#include "base/os.h"

#define DOT(sum, w, x, lane) vdotq_laneq_s32(sum, w, x, lane)

static bool runs_here(void)
{
    return dw_os_has_dot_products();
}

#define KERNEL dw_matmul_dotprod
#define KERNEL_NAME "dotprod"
#include "kernels/matmul_neon.inc.h"
#else
const dw_matmul_kernel dw_matmul_dotprod = {.name = "dotprod"};
#endif
