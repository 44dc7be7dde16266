/* No instruction set in particular: the compiler's own vectors of 4. */
#include "kernels/attention_kernel.h"

#include <ggml.h>
#include <string.h>

#define W 4u
#define SCORE_ROWS 3
#define SCORE_GROUPS 2
#define SUM_VECTORS 2
#define FEW_SUM_VECTORS 2

typedef float VF __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));

static inline VF load(const float *p)
{
    VF v;
    memcpy(&v, p, sizeof v);
    return v;
}
#define V_LOAD(p) load(p)

static inline void store(float *p, VF v)
{
    memcpy(p, &v, sizeof v);
}
#define V_STORE(p, v) store(p, v)
#define V_SET1(x) ((VF){x, x, x, x})
#define V_FMA(a, b, c) ((a) * (b) + (c))

static inline VF max_of(VF a, VF b)
{
    VI left = a > b;
    return (VF)(((VI)a & left) | ((VI)b & ~left));
}
#define V_MAX(a, b) max_of(a, b)

static inline float hsum(VF v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}
#define V_HSUM hsum
#define V_HADD(a, b) ((VF){a[0] + a[1], a[2] + a[3], b[0] + b[1], b[2] + b[3]})
#define V_FOURS(p) load(p)

static inline float half_at(const unsigned char *p)
{
    ggml_fp16_t half;
    memcpy(&half, p, sizeof half);
    return ggml_fp16_to_fp32(half);
}
#define F16_TO_F32(p) half_at(p)

static inline VF load_halves(const unsigned char *p)
{
    return (VF){half_at(p), half_at(p + 2), half_at(p + 4), half_at(p + 6)};
}
#define V_LOAD_F16(p) load_halves(p)

static inline void fours_of_halves(const unsigned char *const at[1], unsigned i, VF to[1])
{
    to[0] = load_halves(at[0] + (size_t)i * 2);
}

static inline void fours_of_floats(const unsigned char *const at[1], unsigned i, VF to[1])
{
    to[0] = load((const float *)(const void *)at[0] + i);
}

static inline VF load_bytes(const unsigned char *p)
{
    int8_t four[4];
    memcpy(four, p, sizeof four);
    return (VF){four[0], four[1], four[2], four[3]};
}
#define V_LOAD_I8(p) load_bytes(p)

static bool runs_here(void)
{
    return true;
}

#define KERNEL dw__attention_plain
#define KERNEL_NAME "plain"
#include "kernels/attention_kernel.inc.h"
