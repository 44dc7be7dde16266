/* Every operation of tensor graphs against a reference in double precision, over random shapes;
 * inputs are plain, permuted, or cut out of larger tensors. */
#include <math.h>
#include <string.h>

#include "support.h"
#include "tensor_fixture.h"

#define ROUNDS 60

static tensor_values a;
static tensor_values b;
static tensor_values c;
static tensor_values d;
static tensor_values want;
static double tolerance[TENSOR_VALUES_MAX];

static int open_fixture(void **state)
{
    static tensor_fixture w;
    tensor_fixture_open(&w, (size_t)16 << 20);
    *state = &w;
    return 0;
}

static int close_fixture(void **state)
{
    tensor_fixture_close(*state);
    return 0;
}

static int64_t size_up_to(tensor_fixture *w, uint32_t most)
{
    return 1 + tensors_random(w, most);
}

static void random_shape(tensor_fixture *w, int64_t *ne)
{
    static const uint32_t most[4] = {70, 9, 5, 3};
    for (int i = 0; i < 4; i++) {
        ne[i] = tensors_random(w, 4) == 0 ? 1 : size_up_to(w, most[i]);
    }
}

static void want_shape(int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3)
{
    want.ne[0] = ne0;
    want.ne[1] = ne1;
    want.ne[2] = ne2;
    want.ne[3] = ne3;
}

/* Element i of `v` under the sizes of `ne`, of which v's are divisors. */
static double repeated(tensor_values *v, const int64_t *ne, int64_t i)
{
    int64_t at[4];
    for (int k = 0; k < 4; k++) {
        at[k] = i % ne[k] % v->ne[k];
        i /= ne[k];
    }
    return *values_at(v, at[0], at[1], at[2], at[3]);
}

static int64_t divisor(tensor_fixture *w, int64_t n)
{
    int64_t pick = 1 + tensors_random(w, (uint32_t)n);
    while (n % pick != 0) {
        pick--;
    }
    return pick;
}

/* ---- matmul ---- */

static void matmul_case(tensor_fixture *w, int32_t type, const int64_t *a_ne, const int64_t *b_ne)
{
    int32_t ta = tensors_operand(w, type, a_ne, -1, 1, &a);
    int32_t tb = tensors_operand(w, DW_F32, b_ne, -1, 1, &b);
    /* What the CPU rounds b to for its dot products: halves for halves, blocks of 8 bits for
     * quantised weights. */
    double step = type == DW_F32 ? 2e-6 : type == DW_F16 ? 1e-3 : 1.0 / 128;
    want_shape(a_ne[1], b_ne[1], b_ne[2], b_ne[3]);
    for (int64_t i = 0; i < values_count(&want); i++) {
        int64_t row = i % want.ne[0];
        int64_t column = i / want.ne[0] % want.ne[1];
        int64_t i2 = i / (want.ne[0] * want.ne[1]) % want.ne[2];
        int64_t i3 = i / (want.ne[0] * want.ne[1] * want.ne[2]);
        double sum = 0;
        double sizes = 0;
        for (int64_t k = 0; k < a_ne[0]; k++) {
            double x = *values_at(&a, k, row, i2 / (b_ne[2] / a_ne[2]), i3 / (b_ne[3] / a_ne[3]));
            sum += x * *values_at(&b, k, column, i2, i3);
            sizes += fabs(x);
        }
        want.at[i] = sum;
        tolerance[i] = step * sizes + 1e-6;
    }
    tensors_expect(w, tensors_op(w, DW_OP_MATMUL, ta, tb, 0, NULL), &want, tolerance, 0);
}

static void test_tensor_ops_matmul(void **state)
{
    static const int32_t types[] = {DW_F32,  DW_F16,  DW_BF16, DW_Q4_0, DW_Q4_1, DW_Q5_0, DW_Q5_1,
                                    DW_Q8_0, DW_Q2_K, DW_Q3_K, DW_Q4_K, DW_Q5_K, DW_Q6_K};
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS * 3; round++) {
        tensors_restart(w, round + 1);
        int32_t type = types[round % (sizeof types / sizeof types[0])];
        int64_t block = type >= DW_Q2_K && type <= DW_Q6_K   ? 256
                        : type >= DW_Q4_0 && type <= DW_Q8_0 ? 32
                                                             : 1;
        int64_t k = block * (block == 1 ? size_up_to(w, 100) : size_up_to(w, 2));
        int64_t a_ne[4] = {k, size_up_to(w, 20), size_up_to(w, 2), size_up_to(w, 2)};
        int64_t b_ne[4] = {k, size_up_to(w, 8), a_ne[2] * size_up_to(w, 2),
                           a_ne[3] * size_up_to(w, 2)};
        matmul_case(w, type, a_ne, b_ne);
    }
}

/* ---- elementwise ---- */

static void test_tensor_ops_binary_with_broadcast(void **state)
{
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS * 2; round++) {
        tensors_restart(w, round + 1);
        int32_t op = DW_OP_ADD + (int32_t)(round % 4);
        int64_t ne[4];
        int64_t b_ne[4];
        random_shape(w, ne);
        for (int i = 0; i < 4; i++) {
            b_ne[i] = divisor(w, ne[i]);
        }
        int32_t ta = tensors_operand(w, DW_F32, ne, -2, 2, &a);
        int32_t tb = tensors_operand(w, DW_F32, b_ne, 0.5, 2, &b);
        memcpy(want.ne, ne, sizeof ne);
        for (int64_t i = 0; i < values_count(&want); i++) {
            double x = a.at[i];
            double y = repeated(&b, ne, i);
            want.at[i] = op == DW_OP_ADD   ? x + y
                         : op == DW_OP_SUB ? x - y
                         : op == DW_OP_MUL ? x * y
                                           : x / y;
        }
        tensors_expect(w, tensors_op(w, op, ta, tb, 0, NULL), &want, NULL, 2e-6);
    }
}

static double unary(int32_t op, double x)
{
    switch (op) {
    case DW_OP_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2.0)));
    case DW_OP_SILU:
        return x / (1 + exp(-x));
    case DW_OP_RELU:
        return x > 0 ? x : 0;
    case DW_OP_TANH:
        return tanh(x);
    case DW_OP_SIGMOID:
        return 1 / (1 + exp(-x));
    case DW_OP_EXP:
        return exp(x);
    case DW_OP_SQRT:
        return sqrt(x);
    case DW_OP_SQR:
        return x * x;
    case DW_OP_NEG:
        return -x;
    case DW_OP_CONT:
        return x;
    default:
        fail();
        return 0;
    }
}

static void test_tensor_ops_unary(void **state)
{
    static const int32_t ops[] = {DW_OP_GELU, DW_OP_SILU, DW_OP_RELU, DW_OP_TANH, DW_OP_SIGMOID,
                                  DW_OP_EXP,  DW_OP_SQRT, DW_OP_SQR,  DW_OP_NEG,  DW_OP_CONT};
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS * 3; round++) {
        tensors_restart(w, round + 1);
        int32_t op = ops[round % (sizeof ops / sizeof ops[0])];
        int64_t ne[4];
        random_shape(w, ne);
        int32_t ta = tensors_operand(w, DW_F32, ne, op == DW_OP_SQRT ? 0 : -4, 4, &a);
        memcpy(want.ne, ne, sizeof ne);
        for (int64_t i = 0; i < values_count(&want); i++) {
            want.at[i] = unary(op, a.at[i]);
            tolerance[i] = 2e-6 * (1 + fabs(want.at[i]));
        }
        tensors_expect(w, tensors_op(w, op, ta, 0, 0, NULL), &want, tolerance, 0);
    }
}

static void test_tensor_ops_scale(void **state)
{
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        int64_t ne[4];
        random_shape(w, ne);
        int32_t ta = tensors_operand(w, DW_F32, ne, -2, 2, &a);
        dw_op_params p = {.f = {(float)tensors_uniform(w, -3, 3),
                                round % 2 == 0 ? 0 : (float)tensors_uniform(w, -3, 3)}};
        memcpy(want.ne, ne, sizeof ne);
        for (int64_t i = 0; i < values_count(&want); i++) {
            want.at[i] = a.at[i] * (double)p.f[0] + (double)p.f[1];
        }
        tensors_expect(w, tensors_op(w, DW_OP_SCALE, ta, 0, 0, &p), &want, NULL, 2e-6);
    }
}

/* ---- over rows ---- */

static void softmax_row(const double *in, const double *mask, double scale, int64_t count,
                        double *out)
{
    double most = -INFINITY;
    for (int64_t i = 0; i < count; i++) {
        out[i] = in[i] * scale + (mask != NULL ? mask[i] : 0);
        most = out[i] > most ? out[i] : most;
    }
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        out[i] = exp(out[i] - most);
        sum += out[i];
    }
    for (int64_t i = 0; i < count; i++) {
        out[i] /= sum;
    }
}

static void test_tensor_ops_softmax(void **state)
{
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        int64_t ne[4];
        random_shape(w, ne);
        bool masked = round % 2 == 0;
        int64_t mask_ne[4] = {ne[0], ne[1], divisor(w, ne[2]), divisor(w, ne[3])};
        int32_t ta = tensors_operand(w, DW_F32, ne, -4, 4, &a);
        int32_t tb = masked ? tensors_operand(w, DW_F32, mask_ne, -4, 4, &b) : 0;
        dw_op_params p = {.f = {round % 3 == 0 ? 0 : (float)tensors_uniform(w, -2, 2)}};
        double scale = p.f[0] != 0 ? (double)p.f[0] : 1;
        memcpy(want.ne, ne, sizeof ne);
        for (int64_t row = 0; row < values_count(&a) / ne[0]; row++) {
            double mask[70];
            for (int64_t i = 0; i < ne[0] && masked; i++) {
                mask[i] = repeated(&b, ne, row * ne[0] + i);
            }
            softmax_row(&a.at[row * ne[0]], masked ? mask : NULL, scale, ne[0],
                        &want.at[row * ne[0]]);
        }
        tensors_expect(w, tensors_op(w, DW_OP_SOFTMAX, ta, tb, 0, &p), &want, NULL, 2e-6);
    }
}

static void test_tensor_ops_norms(void **state)
{
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        bool rms = round % 2 == 0;
        int64_t ne[4];
        random_shape(w, ne);
        int32_t ta = tensors_operand(w, DW_F32, ne, -2, 3, &a);
        dw_op_params p = {.f = {1e-2f}};
        memcpy(want.ne, ne, sizeof ne);
        for (int64_t row = 0; row < values_count(&a) / ne[0]; row++) {
            const double *x = &a.at[row * ne[0]];
            double mean = 0;
            double squares = 0;
            for (int64_t i = 0; i < ne[0] && !rms; i++) {
                mean += x[i] / (double)ne[0];
            }
            for (int64_t i = 0; i < ne[0]; i++) {
                squares += (x[i] - mean) * (x[i] - mean) / (double)ne[0];
            }
            for (int64_t i = 0; i < ne[0]; i++) {
                want.at[row * ne[0] + i] = (x[i] - mean) / sqrt(squares + (double)p.f[0]);
            }
        }
        int32_t op = rms ? DW_OP_RMS_NORM : DW_OP_NORM;
        tensors_expect(w, tensors_op(w, op, ta, 0, 0, &p), &want, NULL, 2e-5);
    }
}

static void test_tensor_ops_sums(void **state)
{
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        int64_t ne[4];
        random_shape(w, ne);
        int32_t ta = tensors_operand(w, DW_F32, ne, -1, 1, &a);
        int64_t rows = values_count(&a) / ne[0];
        int32_t op = round % 3 == 0 ? DW_OP_SUM : round % 3 == 1 ? DW_OP_SUM_ROWS : DW_OP_MEAN;
        want_shape(1, ne[1], ne[2], ne[3]);
        double all = 0;
        for (int64_t row = 0; row < rows; row++) {
            double sum = 0;
            for (int64_t i = 0; i < ne[0]; i++) {
                sum += a.at[row * ne[0] + i];
            }
            want.at[row] = op == DW_OP_MEAN ? sum / (double)ne[0] : sum;
            all += sum;
        }
        if (op == DW_OP_SUM) {
            want_shape(1, 1, 1, 1);
            want.at[0] = all;
        }
        tensors_expect(w, tensors_op(w, op, ta, 0, 0, NULL), &want, NULL, 2e-4);
    }
}

static void test_tensor_ops_argmax(void **state)
{
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        int64_t ne[4] = {size_up_to(w, 200), size_up_to(w, 9), 1, 1};
        int32_t ta = tensors_operand(w, DW_F32, ne, -1, 1, &a);
        want_shape(ne[1], 1, 1, 1);
        for (int64_t row = 0; row < ne[1]; row++) {
            int64_t best = 0;
            for (int64_t i = 1; i < ne[0]; i++) {
                best = a.at[row * ne[0] + i] > a.at[row * ne[0] + best] ? i : best;
            }
            want.at[row] = (double)best;
        }
        tensors_expect(w, tensors_op(w, DW_OP_ARGMAX, ta, 0, 0, NULL), &want, NULL, 0);
    }
}

/* ---- shapes and places ---- */

static void test_tensor_ops_views_as_outputs(void **state)
{
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        int64_t ne[4];
        random_shape(w, ne);
        int32_t type = round % 2 == 0 ? DW_F32 : round % 4 == 1 ? DW_I32 : DW_F16;
        /* tensors_operand's own PERMUTE or VIEW is the tensor asked for. */
        int32_t tensor = tensors_operand(w, type, ne, -9, 9, &want);
        if (round % 3 == 0) {
            int32_t count = (int32_t)values_count(&want);
            tensor = tensors_op(w, DW_OP_CONT, tensor, 0, 0, NULL);
            tensor =
                tensors_op(w, DW_OP_RESHAPE, tensor, 0, 0, &(dw_op_params){.i = {1, count, 1, 1}});
            want_shape(1, count, 1, 1);
            tensor = tensors_op(w, DW_OP_TRANSPOSE, tensor, 0, 0, NULL);
            want_shape(count, 1, 1, 1);
        } else {
            tensor = tensors_op(w, DW_OP_TRANSPOSE, tensor, 0, 0, NULL);
            tensor = tensors_op(w, DW_OP_TRANSPOSE, tensor, 0, 0, NULL);
            tensor =
                tensors_op(w, DW_OP_RESHAPE, tensors_op(w, DW_OP_CONT, tensor, 0, 0, NULL), 0, 0,
                           &(dw_op_params){.i = {(int32_t)ne[0], (int32_t)ne[1], (int32_t)ne[2],
                                                 (int32_t)ne[3]}});
        }
        tensors_expect(w, tensor, &want, NULL, 0);
    }
}

static void test_tensor_ops_view_of_a_view(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 3);
    int32_t ta = tensors_leaf(w, DW_F32, (int64_t[]){7, 5, 3, 2}, -1, 1, &a);
    int32_t turned = tensors_op(w, DW_OP_PERMUTE, ta, 0, 0, &(dw_op_params){.i = {2, 0, 3, 1}});
    /* [5, 2, 7, 3] now; cut [3, 1, 4, 2] from (1, 1, 2, 1), then [2, 1, 3, 1] from (1, 0, 1, 1) */
    int32_t cut =
        tensors_op(w, DW_OP_VIEW, turned, 0, 0, &(dw_op_params){.i = {3, 1, 4, 2, 1, 1, 2, 1}});
    int32_t small =
        tensors_op(w, DW_OP_VIEW, cut, 0, 0, &(dw_op_params){.i = {2, 1, 3, 1, 1, 0, 1, 1}});
    want_shape(2, 1, 3, 1);
    for (int64_t i = 0; i < 6; i++) {
        int64_t i0 = i % 2 + 1 + 1; /* along a's axis 1 */
        int64_t i2 = i / 2 + 1 + 2; /* along a's axis 0 */
        want.at[i] = 2 * *values_at(&a, i2, i0, 0 + 1 + 1, 0 + 1);
    }
    int32_t sum = tensors_op(w, DW_OP_ADD, small, small, 0, NULL);
    tensors_expect(w, sum, &want, NULL, 1e-6);
}

static void test_tensor_ops_convert(void **state)
{
    static const int32_t pairs[][2] = {
        {DW_F32, DW_F16},  {DW_F32, DW_BF16},  {DW_F32, DW_F32},   {DW_F16, DW_F32},
        {DW_F16, DW_BF16}, {DW_BF16, DW_F16},  {DW_BF16, DW_F32},  {DW_I32, DW_F32},
        {DW_F32, DW_I32},  {DW_I32, DW_I32},   {DW_F32, DW_Q8_0},  {DW_F16, DW_Q4_0},
        {DW_F32, DW_Q5_1}, {DW_BF16, DW_Q8_0}, {DW_Q4_0, DW_F32},  {DW_Q8_0, DW_F32},
        {DW_Q6_K, DW_F32}, {DW_Q2_K, DW_F32},  {DW_F32, DW_Q4_1},  {DW_F32, DW_Q5_0},
        {DW_Q4_1, DW_F32}, {DW_Q3_K, DW_F32},  {DW_Q4_K, DW_Q4_K}, {DW_Q5_K, DW_F32}};
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < 4 * sizeof pairs / sizeof pairs[0]; round++) {
        tensors_restart(w, round + 1);
        int32_t from = pairs[round % (sizeof pairs / sizeof pairs[0])][0];
        int32_t to = pairs[round % (sizeof pairs / sizeof pairs[0])][1];
        bool to_blocks = to >= DW_Q4_0 && to <= DW_Q8_0;
        int64_t ne[4];
        random_shape(w, ne);
        ne[0] = from >= DW_Q2_K && from <= DW_Q6_K                  ? 256 * size_up_to(w, 2)
                : (from >= DW_Q4_0 && from <= DW_Q8_0) || to_blocks ? 32 * size_up_to(w, 3)
                                                                    : ne[0];
        double most = from == DW_I32 || to == DW_I32 ? 9 : 1;
        int32_t ta = tensors_operand(w, from, ne, -most, most, &want);
        for (int64_t i = 0; i < values_count(&want); i++) {
            want.at[i] = to == DW_I32 ? trunc(want.at[i]) : want.at[i];
        }
        double step = to == DW_BF16                    ? 1.0 / 256
                      : to == DW_F16                   ? 1.0 / 2048
                      : to == DW_Q8_0                  ? 1.0 / 127
                      : to == DW_Q5_0 || to == DW_Q5_1 ? 1.0 / 14
                      : to_blocks                      ? 1.0 / 6
                                                       : 0;
        tensors_expect(w, tensors_op(w, DW_OP_CONVERT, ta, 0, 0, &(dw_op_params){.i = {to}}), &want,
                       NULL, step);
    }
}

static void test_tensor_ops_concat_and_repeat(void **state)
{
    static const int32_t types[] = {DW_F32, DW_I32, DW_F16, DW_BF16};
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        int32_t type = types[round % 4];
        int64_t ne[4];
        random_shape(w, ne);
        int32_t ta = tensors_operand(w, type, ne, -9, 9, &a);
        memcpy(want.ne, ne, sizeof ne);
        if (round % 2 == 0) {
            dw_op_params p = {0};
            for (int i = 0; i < 4; i++) {
                want.ne[i] = ne[i] * size_up_to(w, 2);
                p.i[i] = (int32_t)want.ne[i];
            }
            for (int64_t i = 0; i < values_count(&want); i++) {
                want.at[i] = repeated(&a, want.ne, i);
            }
            tensors_expect(w, tensors_op(w, DW_OP_REPEAT, ta, 0, 0, &p), &want, NULL, 0);
            continue;
        }
        int32_t axis = (int32_t)tensors_random(w, 4);
        int64_t b_ne[4];
        memcpy(b_ne, ne, sizeof ne);
        b_ne[axis] = size_up_to(w, 5);
        want.ne[axis] += b_ne[axis];
        int32_t tb = tensors_operand(w, type, b_ne, -9, 9, &b);
        for (int64_t i = 0; i < values_count(&want); i++) {
            int64_t at[4];
            int64_t rest = i;
            for (int k = 0; k < 4; k++) {
                at[k] = rest % want.ne[k];
                rest /= want.ne[k];
            }
            bool first = at[axis] < ne[axis];
            at[axis] -= first ? 0 : ne[axis];
            want.at[i] = *values_at(first ? &a : &b, at[0], at[1], at[2], at[3]);
        }
        tensors_expect(w, tensors_op(w, DW_OP_CONCAT, ta, tb, 0, &(dw_op_params){.i = {axis}}),
                       &want, NULL, 0);
    }
}

/* ---- indices, rope, attention ---- */

static void test_tensor_ops_get_rows(void **state)
{
    static const int32_t types[] = {DW_F32, DW_F16, DW_BF16, DW_Q4_0, DW_Q8_0, DW_Q6_K};
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        int32_t type = types[round % 6];
        int64_t n = type == DW_Q6_K                      ? 256
                    : type >= DW_Q4_0 && type <= DW_Q8_0 ? 64
                                                         : size_up_to(w, 50);
        int64_t rows = size_up_to(w, 12);
        int64_t count = size_up_to(w, 9);
        int32_t ta = tensors_operand(w, type, (int64_t[]){n, rows, 1, 1}, -1, 1, &a);
        int32_t tb =
            tensors_operand(w, DW_I32, (int64_t[]){count, 1, 1, 1}, 0, (double)rows - 0.01, &b);
        want_shape(n, count, 1, 1);
        for (int64_t i = 0; i < values_count(&want); i++) {
            want.at[i] = *values_at(&a, i % n, (int64_t)b.at[i / n], 0, 0);
        }
        tensors_expect(w, tensors_op(w, DW_OP_GET_ROWS, ta, tb, 0, NULL), &want, NULL, 1e-6);
    }
}

static void test_tensor_ops_rope(void **state)
{
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tensors_restart(w, round + 1);
        int64_t ne[4] = {2 * size_up_to(w, 20), size_up_to(w, 4), size_up_to(w, 6),
                         size_up_to(w, 2)};
        int32_t ta = tensors_operand(w, DW_F32, ne, -1, 1, &a);
        int32_t tb = tensors_operand(w, DW_I32, (int64_t[]){ne[2], 1, 1, 1}, 0, 500, &b);
        dw_op_params p = {
            .i = {2 * (int32_t)size_up_to(w, (uint32_t)ne[0] / 2), round % 2 == 0 ? 0 : 2},
            .f = {round % 3 == 0 ? 0 : 500000.0f, round % 5 == 0 ? 0.25f : 0}};
        double base = p.f[0] != 0 ? (double)p.f[0] : 10000;
        double scale = p.f[1] != 0 ? (double)p.f[1] : 1;
        want = a;
        for (int64_t row = 0; row < values_count(&a) / ne[0]; row++) {
            double position = b.at[row / ne[1] % ne[2]];
            for (int32_t pair = 0; pair < p.i[0] / 2; pair++) {
                double angle = position * scale * pow(base, -2.0 * pair / p.i[0]);
                int64_t first = row * ne[0] + (p.i[1] == 0 ? 2 * pair : pair);
                int64_t second = p.i[1] == 0 ? first + 1 : first + p.i[0] / 2;
                double x = a.at[first];
                double y = a.at[second];
                want.at[first] = x * cos(angle) - y * sin(angle);
                want.at[second] = x * sin(angle) + y * cos(angle);
            }
        }
        /* An angle of 500 is known to 3e-5 in F32, and powers of the base add to that. */
        tensors_expect(w, tensors_op(w, DW_OP_ROPE, ta, tb, 0, &p), &want, NULL, 1e-3);
    }
}

static void attention_row(int64_t head, int64_t query, double scale, bool causal, bool masked)
{
    int64_t size = a.ne[0];
    int64_t keys = b.ne[1];
    int64_t kv_head = head / (a.ne[2] / b.ne[2]);
    double scores[64];
    double extra[64];
    for (int64_t key = 0; key < keys; key++) {
        scores[key] = 0;
        for (int64_t i = 0; i < size; i++) {
            scores[key] += *values_at(&a, i, query, head, 0) * *values_at(&b, i, key, kv_head, 0);
        }
        extra[key] = masked ? d.at[query * keys + key] : 0;
        if (causal && key > query + keys - a.ne[1]) {
            extra[key] = -INFINITY;
        }
    }
    double weights[64];
    softmax_row(scores, extra, scale, keys, weights);
    for (int64_t i = 0; i < size; i++) {
        double sum = 0;
        for (int64_t key = 0; key < keys; key++) {
            sum += weights[key] * *values_at(&c, i, key, kv_head, 0);
        }
        *values_at(&want, i, head, query, 0) = sum;
    }
}

static void test_tensor_ops_attention(void **state)
{
    static const int32_t types[] = {DW_F32, DW_F16, DW_BF16};
    tensor_fixture *w = *state;
    for (uint64_t round = 0; round < ROUNDS * 2; round++) {
        tensors_restart(w, round + 1);
        bool causal = round % 2 == 0;
        bool masked = round % 3 == 0;
        int64_t kv_heads = size_up_to(w, 3);
        int64_t keys = size_up_to(w, 60);
        int64_t q_ne[4] = {size_up_to(w, 33), size_up_to(w, (uint32_t)keys),
                           kv_heads * size_up_to(w, 3), 1};
        int64_t k_ne[4] = {q_ne[0], keys, kv_heads, 1};
        int32_t q = tensors_operand(w, DW_F32, q_ne, -1, 1, &a);
        int32_t k = tensors_operand(w, types[round % 3], k_ne, -1, 1, &b);
        int32_t v = tensors_operand(w, types[round / 3 % 3], k_ne, -1, 1, &c);
        int32_t mask = 0;
        if (masked) {
            mask = tensors_operand(w, DW_F32, (int64_t[]){keys, q_ne[1], 1, 1}, -3, 3, &d);
        }
        dw_op_params p = {.i = {causal}, .f = {round % 4 == 0 ? 0.3f : 0}};
        double scale = p.f[0] != 0 ? (double)p.f[0] : 1 / sqrt((double)q_ne[0]);
        want_shape(q_ne[0], q_ne[2], q_ne[1], 1);
        for (int64_t head = 0; head < q_ne[2]; head++) {
            for (int64_t query = 0; query < q_ne[1]; query++) {
                attention_row(head, query, scale, causal, masked);
            }
        }
        int32_t out;
        if (dw_tensor_graph_op(w->graph, DW_OP_ATTENTION, (int32_t[]){q, k, v, mask}, &p, &out,
                               &w->err) != DW_OK) {
            fail_msg("%s", w->err.message);
        }
        tensors_expect(w, out, &want, NULL, 5e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_ops_matmul),
        cmocka_unit_test(test_tensor_ops_binary_with_broadcast),
        cmocka_unit_test(test_tensor_ops_unary),
        cmocka_unit_test(test_tensor_ops_scale),
        cmocka_unit_test(test_tensor_ops_softmax),
        cmocka_unit_test(test_tensor_ops_norms),
        cmocka_unit_test(test_tensor_ops_sums),
        cmocka_unit_test(test_tensor_ops_argmax),
        cmocka_unit_test(test_tensor_ops_views_as_outputs),
        cmocka_unit_test(test_tensor_ops_view_of_a_view),
        cmocka_unit_test(test_tensor_ops_convert),
        cmocka_unit_test(test_tensor_ops_concat_and_repeat),
        cmocka_unit_test(test_tensor_ops_get_rows),
        cmocka_unit_test(test_tensor_ops_rope),
        cmocka_unit_test(test_tensor_ops_attention),
    };
    return cmocka_run_group_tests_name("tensor_ops", tests, open_fixture, close_fixture);
}
