/* Mixtures of experts by nodes of our own (dw_cuda_mixture_node), with DW_TEST_DEVICE=CUDA0: each
 * type and form against doubles; the same bits in every run, with kernels that begin early and
 * without, for a row alone and among others; the same again as on devices that can less. Elsewhere
 * all are skipped. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/device_memory.h"
#include "kernels/cuda_experts.h"
#include "model/cuda_products.h"
#include "cuda_fixture.h"

#define EPSILON 1e-5f
#define RUNS 100
#define RUNS_SHORT 11
#define POOL_ROWS 61        /* of weights, quantised once: rows are drawn from them */
#define SMALL_SHARED 101376 /* bytes that a block has on devices of sm_86, sm_89, sm_120 */
#define CLOSE 1e-4          /* logits so close to each other may change their places */
#define CHECKED_ROWS 37     /* every so manieth of the result is checked */

typedef struct mixture_case {
    enum ggml_type type;
    enum ggml_type down_type;
    enum ggml_type router_type;
    int64_t columns, length, experts, used, n;
    bool norm, added, sum_to_one;
    dw_cuda_activation activation;
} mixture_case;

enum { ROUTER, GATE, UP, DOWN, MATRICES };

typedef struct bench {
    const mixture_case *of;
    struct ggml_context *weights_ggml;
    struct ggml_context *ggml;
    struct ggml_cgraph *graph;
    ggml_backend_buffer_t weights_buffer;
    ggml_backend_buffer_t buffer;
    dw_cuda_products *products;
    struct ggml_tensor *weight[MATRICES];
    float *values[MATRICES]; /* dequantised */
    struct ggml_tensor *norm;
    float *norm_values;
    struct ggml_tensor *x, *added, *y;
    float *x_values, *added_values;
} bench;

/* The caller's to free. */
static float *random_floats(size_t count, float largest)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = cuda_random(-largest, largest);
    }
    return values;
}

static void store(enum ggml_type type, const float *from, void *to, int64_t rows, int64_t columns)
{
    if (type == GGML_TYPE_F32) {
        memcpy(to, from, (size_t)(rows * columns) * sizeof *from);
    } else {
        ggml_quantize_chunk(type, from, to, 0, rows, columns, NULL);
    }
}

/* Random weights of the tensor's type; what they stand for is kept. */
static void fill_weight(bench *b, int i)
{
    struct ggml_tensor *weight = b->weight[i];
    const enum ggml_type type = weight->type;
    const size_t columns = (size_t)weight->ne[0], rows = (size_t)ggml_nrows(weight);
    const size_t row_bytes = ggml_row_size(type, weight->ne[0]);
    float *pool = random_floats(POOL_ROWS * columns, 0.06f);
    unsigned char *stored_pool = malloc(POOL_ROWS * row_bytes);
    float *values = malloc(rows * columns * sizeof *values);
    unsigned char *stored = malloc(ggml_nbytes(weight));
    assert_true(stored_pool != NULL && values != NULL && stored != NULL);
    store(type, pool, stored_pool, POOL_ROWS, weight->ne[0]);
    if (type != GGML_TYPE_F32) {
        ggml_get_type_traits(type)->to_float(stored_pool, pool, (int64_t)(POOL_ROWS * columns));
    }
    for (size_t row = 0; row < rows; row++) {
        size_t from = (size_t)cuda_random(0, POOL_ROWS - 0.01f);
        if (i == ROUTER) { /* no two alike: of more experts, values of their own */
            from = row % POOL_ROWS;
            if (row >= POOL_ROWS && from == 0) {
                float *more = random_floats(POOL_ROWS * columns, 0.06f);
                store(type, more, stored_pool, POOL_ROWS, weight->ne[0]);
                memcpy(pool, more, POOL_ROWS * columns * sizeof *pool);
                if (type != GGML_TYPE_F32) {
                    ggml_get_type_traits(type)->to_float(stored_pool, pool,
                                                         (int64_t)(POOL_ROWS * columns));
                }
                free(more);
            }
        }
        memcpy(values + row * columns, pool + from * columns, columns * sizeof *values);
        memcpy(stored + row * row_bytes, stored_pool + from * row_bytes, row_bytes);
    }
    cuda_set(weight, stored);
    free(stored);
    free(stored_pool);
    free(pool);
    b->values[i] = values;
}

static void make_weights(bench *b)
{
    dw_error err = {0};
    const mixture_case *of = b->of;
    struct ggml_context *ggml = b->weights_ggml = cuda_new_context();
    b->weight[ROUTER] = ggml_new_tensor_2d(ggml, of->router_type, of->columns, of->experts);
    b->weight[GATE] = ggml_new_tensor_3d(ggml, of->type, of->columns, of->length, of->experts);
    b->weight[UP] = ggml_new_tensor_3d(ggml, of->type, of->columns, of->length, of->experts);
    b->weight[DOWN] = ggml_new_tensor_3d(ggml, of->down_type, of->length, of->columns, of->experts);
    b->norm = ggml_new_tensor_1d(ggml, GGML_TYPE_F32, of->columns);
    cuda_check(dw_device_buffer_for_tensors(&b->weights_buffer, cuda, DW_USE_WEIGHTS, ggml, &err),
               &err);
    for (int i = 0; i < MATRICES; i++) {
        fill_weight(b, i);
    }
    b->norm_values = random_floats((size_t)of->columns, 0.1f);
    for (int64_t i = 0; i < of->columns; i++) {
        b->norm_values[i] += 1.0f;
    }
    cuda_set(b->norm, b->norm_values);
    static const dw_architecture plain = {.name = "test"};
    const dw_model_shape shape = {.architecture = &plain,
                                  .layer_count = 1,
                                  .expert_count = (uint32_t)of->experts,
                                  .expert_used_count = (uint32_t)of->used};
    dw_layer_weights layer = {.router = b->weight[ROUTER],
                              .gate_experts = b->weight[GATE],
                              .up_experts = b->weight[UP],
                              .down_experts = b->weight[DOWN]};
    const dw_model_weights weights = {.layers = &layer};
    cuda_check(dw_cuda_products_create(&b->products, cuda, &shape, &weights, 0, &err), &err);
    assert_non_null(b->products);
    assert_int_equal(dw_device_counters_of(cuda)->expert_matrices_served, 3);
}

/* NULL: there is none of ours for it. */
static struct ggml_tensor *make_node(bench *b)
{
    const mixture_case *of = b->of;
    struct ggml_tensor *x = b->x;
    if (of->norm) {
        x = ggml_mul(b->ggml, ggml_rms_norm(b->ggml, x, EPSILON), b->norm);
    }
    const dw_cuda_mixture mixture = {.router = b->weight[ROUTER],
                                     .gate = b->weight[GATE],
                                     .up = b->weight[UP],
                                     .down = b->weight[DOWN],
                                     .used = (uint32_t)of->used,
                                     .sum_to_one = of->sum_to_one,
                                     .activation = of->activation};
    struct ggml_tensor *y = dw_cuda_mixture_node(b->products, b->ggml, &mixture, x);
    if (y != NULL && of->added) {
        assert_true(dw_cuda_product_add(y, b->added));
        assert_false(dw_cuda_product_add(y, b->added));
    }
    if (y != NULL) {
        cuda_name_anew(y);
    }
    return y;
}

static void make_graph(bench *b)
{
    dw_error err = {0};
    const mixture_case *of = b->of;
    b->ggml = cuda_new_context();
    b->graph = ggml_new_graph(b->ggml);
    b->x = ggml_new_tensor_2d(b->ggml, GGML_TYPE_F32, of->columns, of->n);
    b->added = ggml_new_tensor_2d(b->ggml, GGML_TYPE_F32, of->columns, of->n);
    b->y = make_node(b);
    assert_non_null(b->y);
    ggml_build_forward_expand(b->graph, b->y);
    cuda_check(dw_device_buffer_for_tensors(&b->buffer, cuda, DW_USE_WORK, b->ggml, &err), &err);
}

static void bench_open(bench *b, const mixture_case *of)
{
    *b = (bench){.of = of};
    make_weights(b);
    make_graph(b);
    b->x_values = random_floats((size_t)(of->columns * of->n), 1.0f);
    b->added_values = random_floats((size_t)(of->columns * of->n), 1.0f);
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
    for (int i = 0; i < MATRICES; i++) {
        free(b->values[i]);
    }
    free(b->norm_values);
    free(b->x_values);
    free(b->added_values);
}

/* ---- in doubles ---- */

static double dot(const float *weights, const double *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += weights[i] * x[i];
    }
    return sum;
}

static double activated(dw_cuda_activation activation, double x)
{
    if (activation == DW_CUDA_SILU) {
        return x / (1 + exp(-x));
    }
    return 0.5 * x * (1 + tanh(0.79788456080286535588 * x * (1 + 0.044715 * x * x)));
}

/* The experts of a row and their weights. False: two are too close to tell which comes first. */
static bool choose(const bench *b, const double *x, int64_t *chosen, double *weight)
{
    const mixture_case *of = b->of;
    double logits[DW_CUDA_EXPERTS_MAX];
    double largest = -INFINITY, sum = 0, kept = 0, last = INFINITY, next = -INFINITY;
    for (int64_t i = 0; i < of->experts; i++) {
        logits[i] = dot(b->values[ROUTER] + i * of->columns, x, of->columns);
        largest = fmax(largest, logits[i]);
    }
    for (int64_t i = 0; i < of->experts; i++) {
        sum += exp(logits[i] - largest);
    }
    for (int64_t k = 0; k <= of->used && k < of->experts; k++) {
        int64_t best = 0;
        for (int64_t i = 1; i < of->experts; i++) {
            best = logits[i] > logits[best] ? i : best;
        }
        if (k == of->used) {
            next = logits[best];
            break;
        }
        last = logits[best];
        chosen[k] = best;
        weight[k] = exp(last - largest) / sum;
        kept += weight[k];
        logits[best] = -INFINITY;
    }
    for (int64_t k = 0; k < of->used && of->sum_to_one; k++) {
        weight[k] /= kept;
    }
    return last - next > CLOSE;
}

/* Row `at` of the result to y [columns]: every CHECKED_ROWS-th. False: it is not known. */
static bool expect_row(const bench *b, int64_t at, double *y)
{
    const mixture_case *of = b->of;
    int64_t chosen[DW_CUDA_EXPERTS_USED_MAX] = {0};
    double weight[DW_CUDA_EXPERTS_USED_MAX] = {0};
    double square = 0;
    double *x = malloc((size_t)of->columns * sizeof *x);
    double *joined = malloc((size_t)of->length * sizeof *joined);
    assert_true(x != NULL && joined != NULL);
    for (int64_t i = 0; i < of->columns; i++) {
        x[i] = b->x_values[at * of->columns + i];
        square += x[i] * x[i];
    }
    for (int64_t i = 0; i < of->columns && of->norm; i++) {
        x[i] *= b->norm_values[i] / sqrt(square / (double)of->columns + EPSILON);
    }
    for (int64_t row = 0; row < of->columns; row += CHECKED_ROWS) {
        y[row] = of->added ? b->added_values[at * of->columns + row] : 0.0;
    }
    const bool known = choose(b, x, chosen, weight);
    for (int64_t k = 0; k < of->used && known; k++) {
        for (int64_t i = 0; i < of->length; i++) {
            const int64_t from = (chosen[k] * of->length + i) * of->columns;
            joined[i] = activated(of->activation, dot(b->values[GATE] + from, x, of->columns)) *
                        dot(b->values[UP] + from, x, of->columns);
        }
        for (int64_t row = 0; row < of->columns; row += CHECKED_ROWS) {
            const int64_t from = (chosen[k] * of->columns + row) * of->length;
            y[row] += weight[k] * dot(b->values[DOWN] + from, joined, of->length);
        }
    }
    free(x);
    free(joined);
    return known;
}

/* What rounding x and what is joined twice may make, of the largest element of a row's sum. */
static double bound_of(const mixture_case *of)
{
    return ggml_is_quantized(of->type) || ggml_is_quantized(of->down_type) ? 1e-3 : 2e-4;
}

static void check_values(const bench *b, const float *y)
{
    const mixture_case *of = b->of;
    double *want = malloc((size_t)of->columns * sizeof *want);
    int64_t unknown = 0;
    assert_non_null(want);
    for (int64_t at = 0; at < of->n; at++) {
        double largest = 0;
        if (!expect_row(b, at, want)) {
            unknown++;
            continue;
        }
        for (int64_t row = 0; row < of->columns; row += CHECKED_ROWS) {
            const double added = of->added ? b->added_values[at * of->columns + row] : 0;
            largest = fmax(largest, fabs(want[row] - added));
        }
        for (int64_t row = 0; row < of->columns; row += CHECKED_ROWS) {
            const double got = y[at * of->columns + row];
            if (!(fabs(got - want[row]) <= bound_of(of) * largest)) {
                fail_msg("%s, %d columns, %d of %d experts, row %d with row %d of %d of x: %.9g, "
                         "not %.9g (largest %.3g)",
                         ggml_type_name(of->type), (int)of->columns, (int)of->used,
                         (int)of->experts, (int)row, (int)at, (int)of->n, got, want[row], largest);
            }
        }
    }
    assert_true(unknown <= 1 && (unknown == 0 || of->n > 1));
    free(want);
}

/* ---- bits ---- */

static void check_bits(const bench *b, const float *want, const float *got, const char *when)
{
    const mixture_case *of = b->of;
    for (int64_t i = 0; i < of->columns; i++) {
        if (memcmp(want + i, got + i, sizeof *want) != 0) {
            fail_msg("%s, %d of %d experts, element %d: %.9g, then %.9g %s",
                     ggml_type_name(of->type), (int)of->used, (int)of->experts, (int)i,
                     (double)want[i], (double)got[i], when);
        }
    }
}

/* Early or one after the other, recorded or not. */
static void check_runs(bench *b, const float *y, const dw_cuda_product_limits *here)
{
    dw_cuda_product_limits limits = *here;
    const int runs = getenv("DW_TEST_SHORT") != NULL ? RUNS_SHORT : RUNS;
    for (int i = 0; i < runs; i++) {
        limits.plain = here->plain || i / 10 % 2 == 0;
        dw_cuda_products_force(&limits);
        if (i % 10 == 0) {
            cuda_name_anew(b->y);
        }
        float *again = cuda_run(b->graph, b->y);
        for (int64_t at = 0; at < b->of->n; at++) {
            check_bits(b, y + at * b->of->columns, again + at * b->of->columns, "again");
        }
        free(again);
    }
    dw_cuda_products_force(here);
}

/* Each row of x by itself, in the place of the first, in one graph for whichever experts. */
static void check_alone(const bench *b, const float *y)
{
    mixture_case one = *b->of;
    bench alone = *b;
    one.n = 1;
    alone.of = &one;
    make_graph(&alone);
    for (int64_t at = 0; at < b->of->n; at++) {
        cuda_set(alone.x, b->x_values + at * one.columns);
        cuda_set(alone.added, b->added_values + at * one.columns);
        float *row = cuda_run(alone.graph, alone.y);
        check_bits(b, y + at * one.columns, row, "alone");
        free(row);
    }
    dw_device_buffer_destroy(cuda, DW_USE_WORK, alone.buffer);
    ggml_free(alone.ggml);
}

static void check_case(const mixture_case *of, const dw_cuda_product_limits *here)
{
    bench b;
    dw_cuda_products_force(here);
    bench_open(&b, of);
    float *y = cuda_run(b.graph, b.y);
    check_values(&b, y);
    check_alone(&b, y);
    check_runs(&b, y, here);
    free(y);
    bench_close(&b);
    dw_cuda_products_force(NULL);
}

static const enum ggml_type types[] = {GGML_TYPE_BF16, GGML_TYPE_F16,  GGML_TYPE_Q8_0,
                                       GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q4_K,
                                       GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};

static void test_cuda_experts_of_each_type(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    static const dw_cuda_product_limits all = {.shared = 0};
    const enum ggml_type f32 = GGML_TYPE_F32, f16 = GGML_TYPE_F16, bf16 = GGML_TYPE_BF16;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const enum ggml_type t = types[i];
        const enum ggml_type down = t == GGML_TYPE_Q4_K ? GGML_TYPE_Q6_K : t;
        const int64_t block = ggml_blck_size(t) == 256 ? 256 : 64;
        const mixture_case cases[] = {
            {t, down, f32, 1024, 768, 24, 8, 1, true, true, true, DW_CUDA_SILU},
            {t, down, f32, 512, 3 * block, 128, 8, 7, true, true, true, DW_CUDA_SILU},
            {t, down, bf16, block, block, 8, 3, 4, false, false, false, DW_CUDA_GELU},
            {t, t, f16, 1024, 256, 160, 5, 16, true, false, true, DW_CUDA_SILU},
            {t, t, f32, 256, 256, 4, 4, 2, true, true, false, DW_CUDA_SILU},
            {t, down, f32, 512, 2048, 3, 1, 3, false, true, true, DW_CUDA_SILU},
        };
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            check_case(&cases[c], &all);
        }
    }
}

/* Many experts, all that a warp can choose; long rows; as on devices that can less. */
static void test_cuda_experts_of_other_sizes(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    static const dw_cuda_product_limits devices[] = {
        {.shared = 0},
        {.shared = SMALL_SHARED, .no_clusters = true, .plain = true},
        {.shared = SMALL_SHARED},
    };
    const enum ggml_type f32 = GGML_TYPE_F32, q8 = GGML_TYPE_Q8_0, bf16 = GGML_TYPE_BF16;
    const mixture_case cases[] = {
        {q8, q8, f32, 128, 64, 512, 32, 3, true, true, true, DW_CUDA_SILU},
        {bf16, bf16, f32, 2880, 64, 40, 2, 2, true, true, true, DW_CUDA_SILU},
        {bf16, q8, f32, 64, 4096, 4, 2, 1, true, true, true, DW_CUDA_SILU},
        {q8, bf16, f32, 5120, 192, 6, 2, 2, true, false, true, DW_CUDA_GELU},
    };
    for (size_t d = 0; d < sizeof devices / sizeof devices[0]; d++) {
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            check_case(&cases[c], &devices[d]);
        }
    }
}

/* What is no number stays that, in its own row alone; zeros are no trouble. */
static void test_cuda_experts_of_odd_values(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const mixture_case of = {types[i], types[i], GGML_TYPE_F32, 256,   256,  9,
                                 2,        3,        false,         false, true, DW_CUDA_SILU};
        bench b;
        bench_open(&b, &of);
        b.x_values[100] = NAN;
        memset(b.x_values + 256, 0, 256 * sizeof(float));
        cuda_set(b.x, b.x_values);
        float *y = cuda_run(b.graph, b.y);
        for (int row = 0; row < 256; row++) {
            assert_true(isnan(y[row]));
            assert_true(y[256 + row] == 0);
            assert_true(isfinite(y[512 + row]));
        }
        free(y);
        bench_close(&b);
    }
}

/* What there is no kernel for is left to ggml; so are more rows than are worth it. */
static void test_cuda_experts_refused(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    const dw_cuda_experts_size good = {.columns = 512, .rows = 64, .experts = 8, .used = 2};
    dw_cuda_experts_size size = good;
    assert_true(dw_cuda_experts_serve(GGML_TYPE_Q4_K, &good, false));
    assert_false(dw_cuda_experts_serve(GGML_TYPE_Q2_K, &good, false));
    assert_false(dw_cuda_experts_serve(GGML_TYPE_F32, &good, true));
    size.columns = 320; /* no multiple of 256 */
    assert_false(dw_cuda_experts_serve(GGML_TYPE_Q4_K, &size, false));
    assert_true(dw_cuda_experts_serve(GGML_TYPE_Q4_0, &size, false));
    size = good, size.rows = 72;
    assert_false(dw_cuda_experts_serve(GGML_TYPE_Q4_K, &size, false));
    size = good, size.used = 33, size.experts = 64;
    assert_false(dw_cuda_experts_serve(GGML_TYPE_Q4_K, &size, false));
    size = good, size.experts = 513;
    assert_false(dw_cuda_experts_serve(GGML_TYPE_Q4_K, &size, false));
    size = good, size.columns = 65536, size.used = 8; /* no room for a row of x */
    assert_false(dw_cuda_experts_serve(GGML_TYPE_BF16, &size, true));
    assert_false(dw_cuda_router_serves(GGML_TYPE_Q8_0, 512));

    const mixture_case of = {GGML_TYPE_BF16, GGML_TYPE_BF16, GGML_TYPE_F32, 64, 64, 8, 4, 4, true,
                             true,           true,           DW_CUDA_SILU};
    mixture_case more = of;
    bench b;
    bench_open(&b, &of);
    more.n = 5; /* times 4 are more than twice 8 */
    b.of = &more;
    b.x = ggml_new_tensor_2d(b.ggml, GGML_TYPE_F32, more.columns, more.n);
    assert_null(make_node(&b));
    b.of = &of;
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuda_experts_of_each_type),
        cmocka_unit_test(test_cuda_experts_of_other_sizes),
        cmocka_unit_test(test_cuda_experts_of_odd_values),
        cmocka_unit_test(test_cuda_experts_refused),
    };
    return cmocka_run_group_tests(tests, cuda_open, cuda_close);
}
