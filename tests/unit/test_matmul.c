/* Products: each kernel that this machine can run, against ggml's vec_dot. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ggml-cpu.h>

#include "kernels/matmul_kernel.h"
#include "support.h"

#define COLUMNS_MAX 64u
#define ROWS DW_PANEL_ROWS_MAX

static uint64_t random_state = 7;

static uint32_t random_below(uint32_t count)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % count);
}

static float next_random(void)
{
    return (float)random_below(1u << 24) / (float)(1u << 23) - 1.0f;
}

static void *must_alloc(size_t bytes)
{
    void *block = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(block);
    return block;
}

/* Halves that stand in a block: any bits but those of infinities and what is no number. */
static void tame_half(unsigned char *at)
{
    at[1] &= 0xbf;
}

static void tame_block(enum ggml_type type, unsigned char *block)
{
    tame_half(block + (type == GGML_TYPE_Q6_K ? 208 : 0));
    if (type == GGML_TYPE_Q4_1 || type == GGML_TYPE_Q5_1 || type == GGML_TYPE_Q4_K ||
        type == GGML_TYPE_Q5_K) {
        tame_half(block + 2);
    }
}

/* What a quantiser makes, or any bits. */
static unsigned char *make_weights(enum ggml_type type, uint32_t length, bool wild)
{
    size_t bytes = ggml_row_size(type, length);
    unsigned char *weights = must_alloc(bytes * ROWS);
    if (!wild) {
        float *row = must_alloc(length * sizeof *row);
        for (uint32_t r = 0; r < ROWS; r++) {
            for (uint32_t i = 0; i < length; i++) {
                row[i] = next_random();
            }
            (void)ggml_quantize_chunk(type, row, weights + r * bytes, 0, 1, length, NULL);
        }
        free(row);
        return weights;
    }
    for (size_t i = 0; i < bytes * ROWS; i++) {
        weights[i] = (unsigned char)random_below(256);
    }
    for (size_t i = 0; i < bytes * ROWS; i += ggml_type_size(type)) {
        tame_block(type, weights + i);
    }
    return weights;
}

typedef struct columns {
    dw_column_layout layout;
    size_t theirs_bytes;
    unsigned char *theirs; /* as ggml quantises them */
    unsigned char *ours;
} columns;

static void lay_out(const dw_matmul_kernel *kernel, const columns *of, unsigned char *to)
{
    const dw_column_layout *layout = &of->layout;
    for (uint32_t c = 0; c < COLUMNS_MAX; c++) {
        for (uint32_t from = 0; from < layout->length; from += DW_SEGMENT) {
            uint32_t count =
                layout->length - from < DW_SEGMENT ? layout->length - from : DW_SEGMENT;
            const unsigned char *at =
                of->theirs + c * of->theirs_bytes + ggml_row_size(layout->type, from);
            kernel->lay_out(layout, at, from, count / layout->per_block, to + c * layout->bytes);
        }
    }
}

static columns make_columns(enum ggml_type type, uint32_t length, const dw_matmul_kernel *kernel)
{
    columns made = {0};
    assert_true(dw_column_layout_for(type, length, &made.layout));
    made.theirs_bytes = ggml_row_size(made.layout.type, length);
    made.theirs = must_alloc(made.theirs_bytes * COLUMNS_MAX);
    made.ours = must_alloc(made.layout.bytes * COLUMNS_MAX);
    float *x = must_alloc(length * sizeof *x);
    for (uint32_t c = 0; c < COLUMNS_MAX; c++) {
        for (uint32_t i = 0; i < length; i++) {
            x[i] = random_below(50) == 0 ? 8.0f * next_random() : next_random();
        }
        unsigned char *at = made.theirs + c * made.theirs_bytes;
        if (made.layout.type == GGML_TYPE_F32) {
            memcpy(at, x, length * sizeof *x);
        } else {
            ggml_get_type_traits_cpu(made.layout.type)->from_float(x, at, length);
        }
    }
    lay_out(kernel, &made, made.ours);
    free(x);
    return made;
}

static void to_floats(enum ggml_type type, const unsigned char *row, uint32_t length, float *to)
{
    if (type == GGML_TYPE_F32) {
        memcpy(to, row, length * sizeof *to);
        return;
    }
    if (type == GGML_TYPE_Q8_1) { /* a half, another, 32 bytes */
        for (uint32_t i = 0; i < length; i++) {
            const unsigned char *block = row + i / 32 * ggml_type_size(type);
            ggml_fp16_t scale;
            memcpy(&scale, block, sizeof scale);
            to[i] = ggml_fp16_to_fp32(scale) * (float)(int8_t)block[4 + i % 32];
        }
        return;
    }
    if (type != GGML_TYPE_Q8_K) {
        ggml_get_type_traits(type)->to_float(row, to, length);
        return;
    }
    for (uint32_t i = 0; i < length; i++) { /* blocks of Q8_K: a float, 256 bytes, sums */
        const unsigned char *block = row + i / 256 * ggml_type_size(GGML_TYPE_Q8_K);
        float scale;
        memcpy(&scale, block, sizeof scale);
        to[i] = scale * (float)(int8_t)block[4 + i % 256];
    }
}

#if defined(__x86_64__)
#define IN_GGMLS_ORDER 1 /* that of its AVX2 forms */
#else
#define IN_GGMLS_ORDER 0
#endif

/* What stands beside the numbers of a block of 32, times its column's: minima. */
static double beside(enum ggml_type type, const unsigned char *row, const unsigned char *theirs,
                     uint32_t block)
{
    ggml_fp16_t min;
    ggml_fp16_t sum;
    if (type != GGML_TYPE_Q4_1 && type != GGML_TYPE_Q5_1) {
        return 0;
    }
    memcpy(&min, row + block * ggml_type_size(type) + 2, sizeof min);
    memcpy(&sum, theirs + block * ggml_type_size(GGML_TYPE_Q8_1) + 2, sizeof sum);
    return fabs((double)ggml_fp16_to_fp32(min) * (double)ggml_fp16_to_fp32(sum));
}

/* On x86, blocks of 32: the same bits. Others, IQ4_NL, and all elsewhere are summed in another
 * order, so within 1e-6 of the sum of what is added, each without its sign. */
static void check_number(enum ggml_type type, const void *row, const columns *x, uint32_t column,
                         float got)
{
    uint32_t length = x->layout.length;
    const unsigned char *theirs = x->theirs + column * x->theirs_bytes;
    float wanted = 0;
    ggml_get_type_traits_cpu(type)->vec_dot((int)length, &wanted, 0, row, 0, theirs, 0, 1);
    bool same = memcmp(&got, &wanted, sizeof got) == 0;
    double allowed = 0;
    if (!same && (!IN_GGMLS_ORDER || x->layout.per_block != 32 || type == GGML_TYPE_IQ4_NL)) {
        float *w = must_alloc(2 * length * sizeof *w);
        to_floats(type, row, length, w);
        to_floats(x->layout.type, theirs, length, w + length);
        for (uint32_t i = 0; i < length; i++) {
            allowed += 1e-6 * fabs((double)w[i] * (double)w[length + i]);
            allowed += i % 32 == 0 ? 2e-6 * beside(type, row, theirs, i / 32) : 0;
        }
        free(w);
        same = fabs((double)got - (double)wanted) <= allowed;
    }
    if (!same) {
        fail_msg("%s, length %u, column %u: %.9g, not %.9g; allowed is %g", ggml_type_name(type),
                 length, column, (double)got, (double)wanted, allowed);
    }
}

/* The last that runs here. */
static const dw_matmul_kernel *last_kernel(void)
{
    const dw_matmul_kernel *last = NULL;
    for (size_t k = 0; dw_matmul_kernel_at(k) != NULL; k++) {
        const dw_matmul_kernel *kernel = dw_matmul_kernel_at(k);
        last = kernel->multiply != NULL && kernel->runs_here() ? kernel : last;
    }
    return last;
}

/* Kernels of one processor give the same bits, x86's but for floats, which lie in other lanes:
 * `results` are another's of all rows, [COLUMNS_MAX][rows]. */
static void check_others_bits(const dw_matmul_kernel *kernel, const dw_matmul_tile *tile,
                              const columns *x, const float *results)
{
    const dw_matmul_kernel *last = last_kernel();
    if (x->layout.per_block == 1 && IN_GGMLS_ORDER) {
        return;
    }
    unsigned char *laid_out = must_alloc(COLUMNS_MAX * x->layout.bytes);
    float *out = must_alloc(COLUMNS_MAX * ROWS * sizeof *out);
    lay_out(last, x, laid_out);
    dw_matmul_tile other = *tile;
    other.columns = laid_out;
    other.column_count = COLUMNS_MAX;
    other.out = out;
    for (uint32_t row = 0; row + last->rows <= kernel->rows; row += last->rows) {
        other.weights = tile->weights + row * tile->row_stride;
        last->multiply(&other);
        for (uint32_t c = 0; c < COLUMNS_MAX; c++) {
            assert_memory_equal(out + c * last->rows, results + c * kernel->rows + row,
                                last->rows * sizeof *out);
        }
    }
    free(laid_out);
    free(out);
}

static void check(const dw_matmul_kernel *kernel, enum ggml_type type, uint32_t length, bool wild)
{
    static const uint32_t counts[] = {64, 1, 2, 3, 4, 5, 8, 13, 33};
    size_t row_bytes = ggml_row_size(type, length);
    unsigned char *weights = make_weights(type, length, wild);
    columns x = make_columns(type, length, kernel);
    size_t out_bytes = COLUMNS_MAX * ROWS * sizeof(float);
    float *first = must_alloc(out_bytes);
    float *out = must_alloc(out_bytes);
    unsigned char *scratch = must_alloc(DW_MATMUL_SCRATCH_BYTES);
    dw_matmul_tile tile = {.type = type,
                           .weights = weights,
                           .row_stride = row_bytes,
                           .layout = &x.layout,
                           .columns = x.ours,
                           .scratch = scratch};
    for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
        tile.column_count = counts[n];
        tile.out = n == 0 ? first : out;
        memset(tile.out, 0xff, out_bytes);
        kernel->multiply(&tile);
        /* However many columns there are, a column's numbers are the same. */
        assert_memory_equal(tile.out, first, counts[n] * kernel->rows * sizeof *out);
    }
    check_others_bits(kernel, &tile, &x, first);
    for (uint32_t c = 0; c < counts[0]; c++) {
        for (uint32_t r = 0; r < kernel->rows; r++) {
            check_number(type, weights + r * row_bytes, &x, c, first[c * kernel->rows + r]);
        }
    }
    free(weights);
    free(x.theirs);
    free(x.ours);
    free(first);
    free(out);
    free(scratch);
}

static const enum ggml_type types[] = {GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0,
                                       GGML_TYPE_Q5_1, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K,
                                       GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL,
                                       GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16};

static void test_matmul_kernels(void **state)
{
    (void)state;
    ggml_cpu_init();
    static const uint32_t blocks[] = {1, 2, 3, 5, 18, 31, 32, 33, 48, 64, 70};
    for (size_t k = 0; dw_matmul_kernel_at(k) != NULL; k++) {
        const dw_matmul_kernel *kernel = dw_matmul_kernel_at(k);
        if (kernel->multiply == NULL || !kernel->runs_here()) {
            continue;
        }
        print_message("%s\n", kernel->name);
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
                uint32_t per_block = (uint32_t)ggml_blck_size(types[t]);
                if (per_block > 32 && blocks[i] > 20) {
                    break;
                }
                if (emulated() && i % 3 != 0) { /* 1, 5, 32 and 64 */
                    continue;
                }
                if (per_block == 1) { /* any bits may be no number */
                    check(kernel, types[t], blocks[i], false);
                    check(kernel, types[t], blocks[i] * 37, false);
                    continue;
                }
                check(kernel, types[t], blocks[i] * per_block, false);
                check(kernel, types[t], blocks[i] * per_block, true);
            }
        }
    }
}

static void test_matmul_column_layouts(void **state)
{
    (void)state;
    dw_column_layout layout;
    assert_false(dw_column_layout_for(GGML_TYPE_IQ4_XS, 256, &layout));
    assert_false(dw_column_layout_for(GGML_TYPE_Q4_1, 48, &layout));
    assert_false(dw_column_layout_for(GGML_TYPE_Q4_K, 128, &layout));
    assert_false(dw_column_layout_for(GGML_TYPE_Q8_0, (int64_t)1 << 40, &layout));
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        assert_true(dw_column_layout_for(types[t], 4096, &layout));
        assert_true(layout.per_block == 1 ||
                    (layout.scales >= 4096 && layout.sums > layout.scales));
        assert_int_equal(layout.bytes % 64, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul_kernels),
        cmocka_unit_test(test_matmul_column_layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
