/* Products by nodes of our own (model/cuda_products.h), with
 * DW_TEST_DEVICE=CUDA0: each type and form against doubles; the same bits in every run, with
 * kernels that begin early and without, by either kernel, and for a row alone and among others;
 * the same again as on devices that can less. Elsewhere all are skipped. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/device_memory.h"
#include "kernels/cuda_wide.h"
#include "model/cuda_products.h"
#include "cuda_fixture.h"

#define EPSILON 1e-5f
#define RUNS 20
#define POOL_ROWS 61        /* of weights, quantised once: rows are drawn from them */
#define SMALL_SHARED 101376 /* bytes that a block has on devices of sm_86, sm_89, sm_120 */

/* The caller's to free. Some are much larger than the others, as activations are. */
static float *random_floats(size_t count, float largest)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        float scale = cuda_random(0, 1) > 0.98f ? 20.0f : 1.0f;
        values[i] = scale * cuda_random(-largest, largest);
    }
    return values;
}

typedef struct product_case {
    enum ggml_type type;
    int64_t columns;
    int64_t rows[2]; /* of two matrices */
    int64_t n;       /* rows of x */
    bool norm;
    bool bias;
    bool added;
    dw_cuda_activation activation;
    bool rounded; /* the result, for another product; of many rows */
} product_case;

/* A model of one layer whose q and k, or gate and up, are the case's matrices. */
typedef struct bench {
    const product_case *of;
    struct ggml_context *weights_ggml;
    struct ggml_context *ggml;
    struct ggml_cgraph *graph;
    ggml_backend_buffer_t weights_buffer;
    ggml_backend_buffer_t buffer;
    dw_layer_weights layer;
    dw_cuda_products *products;
    struct ggml_tensor *weight[2];
    struct ggml_tensor *bias[2];
    struct ggml_tensor *norm;
    struct ggml_tensor *x;
    struct ggml_tensor *added;
    struct ggml_tensor *y;
    float *weight_values[2]; /* dequantised */
    float *bias_values[2];
    float *norm_values;
    float *x_values;
    float *added_values;
} bench;

static int64_t length_of_y(const product_case *of)
{
    return of->activation == DW_CUDA_LINEAR ? of->rows[0] + of->rows[1] : of->rows[0];
}

/* Random weights of the type; what they stand for is kept. */
static void fill_weight(bench *b, int i)
{
    const product_case *of = b->of;
    const size_t columns = (size_t)of->columns;
    const size_t row_bytes = ggml_row_size(of->type, of->columns);
    float *pool = random_floats(POOL_ROWS * columns, 0.05f);
    unsigned char *stored_pool = malloc(POOL_ROWS * row_bytes);
    float *values = malloc((size_t)of->rows[i] * columns * sizeof *values);
    unsigned char *stored = malloc(ggml_nbytes(b->weight[i]));
    assert_true(stored_pool != NULL && values != NULL && stored != NULL);
    ggml_quantize_chunk(of->type, pool, stored_pool, 0, POOL_ROWS, of->columns, NULL);
    ggml_get_type_traits(of->type)->to_float(stored_pool, pool, (int64_t)(POOL_ROWS * columns));
    for (int64_t row = 0; row < of->rows[i]; row++) {
        const size_t from = (size_t)cuda_random(0, POOL_ROWS - 0.01f);
        memcpy(values + (size_t)row * columns, pool + from * columns, columns * sizeof *values);
        memcpy(stored + (size_t)row * row_bytes, stored_pool + from * row_bytes, row_bytes);
    }
    cuda_set(b->weight[i], stored);
    free(stored);
    free(stored_pool);
    free(pool);
    b->weight_values[i] = values;
}

static void make_weights(bench *b)
{
    dw_error err = {0};
    const product_case *of = b->of;
    b->weights_ggml = cuda_new_context();
    for (int i = 0; i < 2; i++) {
        b->weight[i] = ggml_new_tensor_2d(b->weights_ggml, of->type, of->columns, of->rows[i]);
        b->bias[i] = ggml_new_tensor_1d(b->weights_ggml, GGML_TYPE_F32, of->rows[i]);
        b->bias_values[i] = random_floats((size_t)of->rows[i], 0.5f);
    }
    b->norm = ggml_new_tensor_1d(b->weights_ggml, GGML_TYPE_F32, of->columns);
    cuda_check(dw_device_buffer_for_tensors(&b->weights_buffer, cuda, DW_USE_WEIGHTS,
                                            b->weights_ggml, &err),
               &err);
    for (int i = 0; i < 2; i++) {
        fill_weight(b, i);
        cuda_set(b->bias[i], b->bias_values[i]);
    }
    b->norm_values = random_floats((size_t)of->columns, 0.05f);
    for (int64_t i = 0; i < of->columns; i++) {
        b->norm_values[i] = 1.0f + 0.1f * b->norm_values[i];
    }
    cuda_set(b->norm, b->norm_values);
    static const dw_architecture plain = {.name = "test"};
    const dw_model_shape shape = {.architecture = &plain, .layer_count = 1};
    b->layer.gate.weight = b->weight[0];
    b->layer.up.weight = b->weight[1];
    const dw_model_weights weights = {.layers = &b->layer};
    cuda_check(dw_cuda_products_create(&b->products, cuda, &shape, &weights, 0, &err), &err);
    assert_non_null(b->products);
    assert_int_equal(dw_device_counters_of(cuda)->matrices_served, 2);
}

static struct ggml_tensor *make_node(bench *b)
{
    const product_case *of = b->of;
    const dw_linear with[2] = {{b->weight[0], of->bias ? b->bias[0] : NULL},
                               {b->weight[1], of->bias ? b->bias[1] : NULL}};
    struct ggml_tensor *x = b->x;
    if (of->norm) {
        x = ggml_mul(b->ggml, ggml_rms_norm(b->ggml, x, EPSILON), b->norm);
    }
    const dw_cuda_gate gate = {with, 2, of->activation, of->rounded ? &with[0] : NULL};
    /* A leaf, or what may be written over. */
    struct ggml_tensor *to = of->n % 2 == 1 ? b->added : ggml_scale(b->ggml, b->added, 1.0f);
    struct ggml_tensor *y = of->activation == DW_CUDA_LINEAR
                                ? dw_cuda_product_node(b->products, b->ggml, with, 2, x)
                                : dw_cuda_gated_node(b->products, b->ggml, &gate, x);
    assert_non_null(y);
    assert_true(of->rounded == (y->type != GGML_TYPE_F32));
    if (of->added) {
        assert_true(dw_cuda_product_add(y, to));
    }
    y = of->rounded ? ggml_cast(b->ggml, y, GGML_TYPE_F32) : y;
    cuda_name_anew(y);
    return y;
}

static void bench_open(bench *b, const product_case *of)
{
    dw_error err = {0};
    *b = (bench){.of = of};
    make_weights(b);
    b->ggml = cuda_new_context();
    b->graph = ggml_new_graph(b->ggml);
    b->x = ggml_new_tensor_2d(b->ggml, GGML_TYPE_F32, of->columns, of->n);
    b->added = ggml_new_tensor_2d(b->ggml, GGML_TYPE_F32, length_of_y(of), of->n);
    b->y = make_node(b);
    ggml_build_forward_expand(b->graph, b->y);
    cuda_check(dw_device_buffer_for_tensors(&b->buffer, cuda, DW_USE_WORK, b->ggml, &err), &err);
    b->x_values = random_floats((size_t)(of->columns * of->n), 1.0f);
    b->added_values = random_floats((size_t)(length_of_y(of) * of->n), 1.0f);
    cuda_set(b->x, b->x_values);
    cuda_set(b->added, b->added_values);
}

static void bench_close(bench *b)
{
    dw_cuda_products_destroy(b->products);
    dw_device_buffer_destroy(cuda, DW_USE_WORK, b->buffer);
    dw_device_buffer_destroy(cuda, DW_USE_WEIGHTS, b->weights_buffer);
    ggml_free(b->ggml);
    ggml_free(b->weights_ggml);
    for (int i = 0; i < 2; i++) {
        free(b->weight_values[i]);
        free(b->bias_values[i]);
    }
    free(b->norm_values);
    free(b->x_values);
    free(b->added_values);
}

/* ---- in doubles ---- */

/* A value, and how far ours may be off. */
typedef struct bounded {
    double value;
    double bound;
} bounded;

/* What a value of x may lose, of its own size and of the largest of 32: rounded twice, to 16 bits
 * each, or to steps of 1 / (127 * 256) of the largest; of more rows once, to BF16, to halves, or to
 * 1 / 127; of many x and quantised weights to BF16. */
static bounded rounding(const product_case *of)
{
    const bool twice = of->n <= DW_CUDA_PRODUCT_ROWS;
    if (ggml_is_quantized(of->type) && of->n > DW_CUDA_PRODUCT_ROWS_MANY) {
        return (bounded){.value = 0x1p-8, .bound = 0x1p-30};
    }
    if (ggml_is_quantized(of->type)) {
        return (bounded){.value = 0, .bound = twice ? 1.0 / (127 * 256) : 0.5 / 127};
    }
    const double once = of->type == GGML_TYPE_BF16 ? 0x1p-9 : 0x1p-11;
    return (bounded){.value = twice ? 0x1p-16 : once, .bound = 0x1p-30};
}

/* Whether numbers are multiplied as they are stored, without what is taken off them: then their
 * sizes count, not those of the weights. */
static bool has_minima(enum ggml_type type)
{
    return type == GGML_TYPE_Q4_0 || type == GGML_TYPE_Q4_1 || type == GGML_TYPE_Q4_K ||
           type == GGML_TYPE_Q5_K;
}

/* Sums are floats. */
static bounded dot(const bench *b, int matrix, int64_t row, int64_t at)
{
    const product_case *of = b->of;
    const bounded lost = rounding(of);
    const float *w = b->weight_values[matrix] + row * of->columns;
    const float *x = b->x_values + at * of->columns;
    bounded all = {0, 0};
    double square = 0;
    for (int64_t block = 0; block < of->columns; block += 32) {
        double largest = 0;
        double heaviest = 0;
        double weights = 0;
        for (int64_t i = block; i < block + 32; i++) {
            double value = (double)x[i] * (of->norm ? b->norm_values[i] : 1.0f);
            all.value += w[i] * value;
            all.bound += fabs(w[i] * value) * (lost.value + 1e-5);
            largest = fabs(value) > largest ? fabs(value) : largest;
            weights += fabs((double)w[i]);
            heaviest = fabs((double)w[i]) > heaviest ? fabs((double)w[i]) : heaviest;
            square += (double)x[i] * x[i];
        }
        weights += has_minima(of->type) ? 32 * 1.1 * heaviest : 0; /* at least a minimum's size */
        all.bound += weights * largest * (lost.bound + 1e-6);
    }
    double factor = of->norm ? 1 / sqrt(square / (double)of->columns + EPSILON) : 1;
    all.value = all.value * factor + (of->bias ? b->bias_values[matrix][row] : 0.0f);
    all.bound *= factor;
    return all;
}

/* The same of what is joined with another, which is rounded itself where there are many rows. */
static bounded factor(const bench *b, int matrix, int64_t row, int64_t at)
{
    const product_case *of = b->of;
    bounded y = dot(b, matrix, row, at);
    if (of->type != GGML_TYPE_F16 && of->n > DW_CUDA_PRODUCT_ROWS_MANY) {
        double bias = of->bias ? fabs((double)b->bias_values[matrix][row]) : 0;
        y.bound += 0x1p-9 * (fabs(y.value) + y.bound + bias);
    }
    return y;
}

static double activated(dw_cuda_activation activation, double x)
{
    if (activation == DW_CUDA_SILU) {
        return x / (1 + exp(-x));
    }
    return 0.5 * x * (1 + tanh(0.79788456080286535588 * x * (1 + 0.044715 * x * x)));
}

static bounded expected(const bench *b, int64_t row, int64_t at)
{
    const product_case *of = b->of;
    bounded y;
    if (of->activation != DW_CUDA_LINEAR) {
        bounded gate = factor(b, 0, row, at);
        bounded up = factor(b, 1, row, at);
        double active = activated(of->activation, gate.value);
        double off = 1.2 * gate.bound + 1e-5 * fabs(active); /* no slope is steeper */
        y.value = active * up.value;
        y.bound = off * fabs(up.value) + fabs(active) * up.bound + off * up.bound;
        y.bound += of->rounded ? 0x1p-9 * (fabs(y.value) + y.bound) : 0;
    } else {
        bool second = row >= of->rows[0];
        y = dot(b, second, second ? row - of->rows[0] : row, at);
    }
    double added = of->added ? b->added_values[at * length_of_y(of) + row] : 0.0f;
    y.value += added;
    y.bound += 1e-6 * (fabs(y.value) + fabs(added)) + 1e-6;
    return y;
}

static void check_values(const bench *b, const float *y)
{
    const product_case *of = b->of;
    for (int64_t at = 0; at < of->n; at++) {
        for (int64_t row = 0; row < length_of_y(of); row += 37) {
            bounded want = expected(b, row, at);
            float got = y[at * length_of_y(of) + row];
            if (!(fabs(got - want.value) <= want.bound)) {
                fail_msg("%s, %d columns, row %d with row %d of %d of x: %.9g, not %.9g +- %.2g",
                         ggml_type_name(of->type), (int)of->columns, (int)row, (int)at, (int)of->n,
                         (double)got, want.value, want.bound);
            }
        }
    }
}

/* ---- bits ---- */

static void check_same(bench *b, const float *y, const dw_cuda_product_limits *limits, int number)
{
    dw_cuda_products_force(limits);
    float *again = cuda_run(b->graph, b->y);
    for (int64_t i = 0; i < ggml_nelements(b->y); i++) {
        if (memcmp(again + i, y + i, sizeof *y) != 0) {
            fail_msg("%s, %d columns: row %d of %d: %d is %.9g, then %.9g in run %d",
                     ggml_type_name(b->of->type), (int)b->of->columns,
                     (int)(i / length_of_y(b->of)), (int)b->of->n, (int)(i % length_of_y(b->of)),
                     y[i], again[i], number);
        }
    }
    free(again);
}

/* Early or one after the other, recorded or not, and where there is a choice by either kernel. */
static void check_runs(bench *b, const float *y, const dw_cuda_product_limits *here)
{
    dw_cuda_product_limits limits = *here;
    for (int i = 0; i < RUNS; i++) {
        limits.plain = here->plain || i / 5 % 2 == 0;
        if (i % 5 == 0) {
            cuda_name_anew(b->y);
        }
        check_same(b, y, &limits, i);
    }
    for (int i = 0; i < 4 && b->of->n <= DW_CUDA_PRODUCT_ROWS; i++) {
        limits.plain = here->plain || i % 2 == 0;
        limits.shares_from = i < 2 ? 1 : DW_CUDA_PRODUCT_ROWS + 1;
        cuda_name_anew(b->y);
        check_same(b, y, &limits, RUNS + i);
    }
    dw_cuda_products_force(here);
}

/* Each row of x by itself, in the place of the first. */
static void check_alone(const bench *b, const float *y)
{
    product_case one = *b->of;
    one.n = 1;
    bench alone = *b;
    dw_error err = {0};
    alone.of = &one;
    alone.ggml = cuda_new_context();
    alone.graph = ggml_new_graph(alone.ggml);
    alone.x = ggml_new_tensor_2d(alone.ggml, GGML_TYPE_F32, one.columns, 1);
    alone.added = ggml_new_tensor_2d(alone.ggml, GGML_TYPE_F32, length_of_y(&one), 1);
    alone.y = make_node(&alone);
    ggml_build_forward_expand(alone.graph, alone.y);
    cuda_check(dw_device_buffer_for_tensors(&alone.buffer, cuda, DW_USE_WORK, alone.ggml, &err),
               &err);
    for (int64_t at = 0; at < b->of->n; at++) {
        cuda_set(alone.x, b->x_values + at * one.columns);
        cuda_set(alone.added, b->added_values + at * length_of_y(&one));
        float *row = cuda_run(alone.graph, alone.y);
        if (memcmp(row, y + at * length_of_y(&one), ggml_nbytes(alone.y)) != 0) {
            fail_msg("%s: row %d of %d differs alone: begins with %.9g, not %.9g (%.9g)",
                     ggml_type_name(one.type), (int)at, (int)b->of->n, row[0],
                     y[at * length_of_y(&one)], expected(b, 0, at).value);
        }
        free(row);
    }
    dw_device_buffer_destroy(cuda, DW_USE_WORK, alone.buffer);
    ggml_free(alone.ggml);
}

static void check_case(const product_case *of, const dw_cuda_product_limits *here)
{
    bench b;
    dw_cuda_products_force(here);
    bench_open(&b, of);
    float *y = cuda_run(b.graph, b.y);
    check_values(&b, y);
    if (of->n <= DW_CUDA_PRODUCT_ROWS) {
        check_alone(&b, y);
    }
    check_runs(&b, y, here);
    free(y);
    bench_close(&b);
    dw_cuda_products_force(NULL);
}

static const enum ggml_type types[] = {GGML_TYPE_BF16, GGML_TYPE_F16,  GGML_TYPE_Q8_0,
                                       GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q4_K,
                                       GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};

static void test_cuda_products_of_each_type(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    static const dw_cuda_product_limits all = {.shared = 0};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const int64_t narrow = ggml_blck_size(types[i]) == 256 ? 768 : 576;
        const int64_t many = ggml_is_quantized(types[i]) ? 32 : 16; /* of a gated product */
        const product_case cases[] = {
            {types[i], narrow, {192, 64}, 1, true, false, false, DW_CUDA_LINEAR, false},
            {types[i], narrow, {192, 192}, 3, true, false, false, DW_CUDA_SILU, false},
            {types[i], 2048, {512, 128}, 1, true, true, false, DW_CUDA_LINEAR, false},
            {types[i], 2048, {256, 256}, 2, true, true, false, DW_CUDA_GELU, false},
            {types[i], 2048, {256, 16}, 4, false, false, true, DW_CUDA_LINEAR, false},
            {types[i], 2048, {128, 128}, 8, true, false, true, DW_CUDA_SILU, false},
            {types[i], 8192, {128, 64}, 1, false, false, true, DW_CUDA_LINEAR, false},
            {types[i], 8192, {64, 64}, 5, false, true, true, DW_CUDA_LINEAR, false},
            {types[i], 14336, {64, 32}, 8, false, false, true, DW_CUDA_LINEAR, false},
            {types[i], 28672, {32, 16}, 8, false, false, true, DW_CUDA_LINEAR, false},
            /* More tiles than blocks, in turns, and norms of more columns than a block has. */
            {types[i], 1024, {4096, 1008}, 2, true, false, true, DW_CUDA_LINEAR, false},
            {types[i], 1024, {4496, 4496}, 1, true, false, false, DW_CUDA_SILU, false},
            {types[i], 5120, {2048, 512}, 1, true, false, true, DW_CUDA_LINEAR, false},
            {types[i], 8192, {1504, 1504}, 3, true, false, false, DW_CUDA_SILU, false},
            {types[i], 8192, {2064, 16}, 6, true, true, true, DW_CUDA_LINEAR, false},
            /* More rows, in one launch and in two; fewer columns than a cluster's blocks have. */
            {types[i], 256, {16, 32}, 9, true, false, true, DW_CUDA_LINEAR, false},
            {types[i], narrow, {192, 64}, 16, true, false, false, DW_CUDA_LINEAR, false},
            {types[i], 2048, {2560, 512}, 16, true, true, false, DW_CUDA_LINEAR, false},
            {types[i], 2048, {4112, 4112}, 13, true, true, false, DW_CUDA_GELU, false},
            {types[i], 11008 / 256 * 256, {512, 16}, 11, true, false, true, DW_CUDA_LINEAR, false},
            {types[i], 8192, {2048, 64}, 16, false, false, true, DW_CUDA_LINEAR, false},
            {types[i], 28672, {32, 16}, 16, false, false, true, DW_CUDA_LINEAR, false},
            {types[i], narrow, {192, 192}, 17, true, false, true, DW_CUDA_LINEAR, false},
            {types[i], 2048, {2560, 512}, 32, true, true, false, DW_CUDA_LINEAR, false},
            {types[i], 8192, {2048, 64}, 32, true, false, true, DW_CUDA_LINEAR, false},
            {types[i], 14336, {64, 16}, 27, false, false, true, DW_CUDA_LINEAR, false},
            {types[i], 2048, {2560, 2560}, many, true, true, false, DW_CUDA_SILU, false},
            {types[i], 2048, {2560, 512}, 31, true, true, true, DW_CUDA_LINEAR, false},
        };
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            check_case(&cases[c], &all);
        }
    }
}

/* By cuBLAS, between kernels of ours. Quantised weights take several turns of the scratch, or
 * one. */
static void test_cuda_products_of_many_rows(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    static const dw_cuda_product_limits all = {.shared = 0};
    dw_cuda_wide_force(DW_CUDA_PRODUCT_ROWS_MANY + 1); /* in place of more, of large matrices */
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const bool rounded = true;
        const product_case cases[] = {
            {types[i], 768, {192, 64}, 65, true, false, false, DW_CUDA_LINEAR, false},
            {types[i], 768, {192, 64}, 130, true, true, true, DW_CUDA_LINEAR, false},
            {types[i], 2048, {2560, 512}, 97, true, true, false, DW_CUDA_LINEAR, false},
            {types[i], 2048, {512, 512}, 256, false, false, true, DW_CUDA_LINEAR, false},
            {types[i], 9216, {1504, 512}, 67, true, false, true, DW_CUDA_LINEAR, false},
            {types[i], 1024, {512, 512}, 128, true, false, false, DW_CUDA_SILU, false},
            {types[i], 1024, {1504, 1504}, 66, true, true, false, DW_CUDA_GELU, rounded},
            {types[i], 4096, {2576, 2576}, 70, false, false, false, DW_CUDA_SILU, rounded},
        };
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            check_case(&cases[c], &all);
        }
    }
    dw_cuda_wide_force(0);
}

/* As on devices without clusters, whose blocks have less shared memory. */
static void test_cuda_products_of_small_devices(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    static const dw_cuda_product_limits devices[] = {
        {.shared = SMALL_SHARED, .no_clusters = true, .plain = true},
        {.shared = 166912, .no_clusters = true, .plain = true}, /* sm_80's */
        {.shared = SMALL_SHARED},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (size_t d = 0; d < sizeof devices / sizeof devices[0]; d++) {
            dw_cuda_products_force(&devices[d]);
            const int64_t wide = dw_cuda_product_rows((int)types[i], 8192);
            const product_case cases[] = {
                {types[i], 2048, {512, 128}, 1, true, true, false, DW_CUDA_LINEAR, false},
                {types[i], 2048, {2048, 2048}, 3, true, false, true, DW_CUDA_SILU, false},
                {types[i], 2048, {4096, 16}, 8, false, true, true, DW_CUDA_LINEAR, false},
                {types[i], 8192, {2048, 16}, 1, true, false, true, DW_CUDA_LINEAR, false},
                {types[i], 8192, {128, 16}, wide, false, false, true, DW_CUDA_LINEAR, false},
                {types[i], 14336, {128, 16}, 1, false, false, true, DW_CUDA_LINEAR, false},
            };
            for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
                check_case(&cases[c], &devices[d]);
            }
        }
    }
}

/* What is no number stays that, in its own row alone; zeros are no trouble. */
static void test_cuda_products_of_odd_values(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    const size_t count = sizeof types / sizeof types[0];
    for (size_t i = 0; i < 2 * count; i++) {
        const product_case of = {
            types[i % count], 1024, {64, 64}, i < count ? 3 : 20, false, false, false,
            DW_CUDA_LINEAR,   false};
        bench b;
        bench_open(&b, &of);
        b.x_values[100] = NAN;
        memset(b.x_values + 1024, 0, 1024 * sizeof(float));
        b.x_values[2048 + 5] = 3e30f;
        cuda_set(b.x, b.x_values);
        float *y = cuda_run(b.graph, b.y);
        for (int row = 0; row < 128; row++) {
            assert_true(isnan(y[row]));
            assert_true(y[128 + row] == 0);
            const bool halves = of.type == GGML_TYPE_F16 && of.n > DW_CUDA_PRODUCT_ROWS;
            assert_true(halves || isfinite(y[256 + row])); /* which do not hold as much */
        }
        free(y);
        bench_close(&b);
    }
}

/* What there is no kernel for is left to ggml. */
static void test_cuda_products_refused(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    assert_int_equal(dw_cuda_product_rows(GGML_TYPE_BF16, 64), DW_CUDA_PRODUCT_ROWS);
    assert_int_equal(dw_cuda_product_rows(GGML_TYPE_Q8_0, 64), DW_CUDA_PRODUCT_ROWS_MANY);
    assert_true(dw_cuda_product_rows(GGML_TYPE_BF16, 28672) >= DW_CUDA_PRODUCT_ROWS);
    assert_int_equal(dw_cuda_product_rows(GGML_TYPE_BF16, 96), 0);
    assert_int_equal(dw_cuda_product_rows(GGML_TYPE_Q4_K, 576), 0);
    assert_int_equal(dw_cuda_product_rows(GGML_TYPE_Q2_K, 2048), 0);
    assert_int_equal(dw_cuda_product_rows(GGML_TYPE_F32, 2048), 0);
    assert_int_equal(dw_cuda_product_rows(GGML_TYPE_BF16, 64 * 1024 * 1024), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuda_products_of_each_type),
        cmocka_unit_test(test_cuda_products_of_many_rows),
        cmocka_unit_test(test_cuda_products_of_small_devices),
        cmocka_unit_test(test_cuda_products_of_odd_values),
        cmocka_unit_test(test_cuda_products_refused),
    };
    return cmocka_run_group_tests(tests, cuda_open, cuda_close);
}
