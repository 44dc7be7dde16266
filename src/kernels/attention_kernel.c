#include "kernels/attention_kernel.h"

#include "base/status.h"

extern const dw_attention_kernel dw__attention_avx512;
extern const dw_attention_kernel dw__attention_avx2;
extern const dw_attention_kernel dw__attention_neon;
extern const dw_attention_kernel dw__attention_plain;

const dw_attention_kernel *dw_attention_kernel_at(size_t index)
{
    static const dw_attention_kernel *const kernels[] = {&dw__attention_avx512, &dw__attention_avx2,
                                                         &dw__attention_neon, &dw__attention_plain};
    return index < sizeof kernels / sizeof kernels[0] ? kernels[index] : NULL;
}

static size_t passed_over;

void dw_attention_kernels_pass_over(size_t count)
{
    passed_over = count;
}

const dw_attention_kernel *dw_attention_kernel_for(uint32_t head_dim)
{
    for (size_t i = passed_over; dw_attention_kernel_at(i) != NULL; i++) {
        const dw_attention_kernel *kernel = dw_attention_kernel_at(i);
        /* Those of other machines were compiled to nothing. */
        if (kernel->attend != NULL && kernel->runs_here() &&
            head_dim % kernel->head_dim_step == 0) {
            return kernel;
        }
    }
    return NULL;
}

size_t dw_attention_scratch_floats(uint32_t head_dim)
{
    /* Another part's output, two numbers a row; queries, a block of keys or values, its scores,
     * three numbers a row. */
    return (size_t)head_dim * (2 * DW_TILE_ROWS_MAX + DW_ATTENTION_BLOCK) +
           (size_t)(DW_ATTENTION_BLOCK + 5) * DW_TILE_ROWS_MAX;
}
