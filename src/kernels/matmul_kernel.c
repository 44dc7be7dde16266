#include "kernels/matmul_kernel.h"

#include <ggml-cpu.h>

extern const dw_matmul_kernel dw_matmul_vnni;
extern const dw_matmul_kernel dw_matmul_avx2;
extern const dw_matmul_kernel dw_matmul_i8mm;
extern const dw_matmul_kernel dw_matmul_dotprod;
extern const dw_matmul_kernel dw_matmul_neon;

const dw_matmul_kernel *dw_matmul_kernel_at(size_t index)
{
    static const dw_matmul_kernel *const kernels[] = {
        &dw_matmul_vnni, &dw_matmul_avx2, &dw_matmul_i8mm, &dw_matmul_dotprod, &dw_matmul_neon};
    return index < sizeof kernels / sizeof kernels[0] ? kernels[index] : NULL;
}

static size_t passed_over;

void dw_matmul_kernels_pass_over(size_t count)
{
    passed_over = count;
}

const dw_matmul_kernel *dw_matmul_kernel_best(void)
{
    for (size_t i = passed_over; dw_matmul_kernel_at(i) != NULL; i++) {
        const dw_matmul_kernel *kernel = dw_matmul_kernel_at(i);
        /* Those of other machines were compiled to nothing. */
        if (kernel->multiply != NULL && kernel->runs_here()) {
            return kernel;
        }
    }
    return NULL;
}

static size_t round_bytes(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static enum ggml_type column_type(enum ggml_type type)
{
    switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
        return type;
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_IQ4_NL:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q8_0:
        return GGML_TYPE_Q8_0;
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_1:
        return GGML_TYPE_Q8_1;
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q6_K:
        return GGML_TYPE_Q8_K;
    default:
        return GGML_TYPE_COUNT;
    }
}

bool dw_column_layout_for(enum ggml_type type, int64_t length, dw_column_layout *layout)
{
    enum ggml_type wanted = column_type(type);
    if (wanted == GGML_TYPE_COUNT || length <= 0 || length > INT32_MAX / 64 ||
        length % ggml_blck_size(wanted) != 0 ||
        ggml_get_type_traits_cpu(type)->vec_dot_type != wanted) {
        return false;
    }
    *layout = (dw_column_layout){.type = wanted, .length = (uint32_t)length};
    layout->per_block = (uint32_t)ggml_blck_size(wanted);
    size_t elements = (size_t)length;
    if (layout->per_block == 1) {
        layout->bytes = round_bytes(elements * sizeof(float));
        return true;
    }
    size_t scale_bytes = round_bytes(elements / layout->per_block * sizeof(float));
    layout->scales = round_bytes(elements);
    layout->sums = layout->scales + scale_bytes;
    if (wanted == GGML_TYPE_Q8_0) {
        layout->bytes = layout->sums + round_bytes(elements);
    } else if (wanted == GGML_TYPE_Q8_1) {
        layout->bytes = layout->sums + scale_bytes;
    } else {
        layout->pair_sums = layout->sums + round_bytes(elements / 16 * sizeof(int16_t));
        layout->bytes = layout->pair_sums + round_bytes(elements / 32 * sizeof(int16_t));
    }
    return true;
}
