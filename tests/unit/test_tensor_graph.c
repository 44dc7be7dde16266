/* Tensor graphs: life, places, what is refused and how. tests/unit/test_tensor_ops.c has what the
 * operations compute. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "device/device_view.h"
#include "support.h"
#include "tensor/tensor_ops.h"
#include "tensor_fixture.h"

#define BYTES ((size_t)1 << 20)

static int open_fixture(void **state)
{
    static tensor_fixture w;
    tensor_fixture_open(&w, BYTES);
    *state = &w;
    return 0;
}

static int close_fixture(void **state)
{
    tensor_fixture_close(*state);
    return 0;
}

static dw_status tensor_at(tensor_fixture *w, int32_t type, uint32_t ne0, uint32_t ne1,
                           uint64_t offset, int32_t *out)
{
    return dw_tensor_graph_tensor(w->graph, type, (uint32_t[]){ne0, ne1, 1, 1}, offset, out,
                                  &w->err);
}

static int32_t leaf(tensor_fixture *w, int32_t type, uint32_t ne0, uint32_t ne1)
{
    int32_t out;
    size_t bytes = tensors_type_bytes(type, (int64_t)ne0 * ne1);
    assert_int_equal(tensor_at(w, type, ne0, ne1, tensors_take(w, bytes), &out), DW_OK);
    return out;
}

static dw_status op4(tensor_fixture *w, int32_t op, const int32_t *inputs, const dw_op_params *p)
{
    int32_t out;
    dw_status status = dw_tensor_graph_op(w->graph, op, inputs, p, &out, &w->err);
    assert_true((status == DW_OK) == (out > 0));
    return status;
}

typedef struct pair {
    int32_t a, b;
} pair;

/* The operation is refused with `code`, and the message has `part` in it. */
static void refuse(tensor_fixture *w, int32_t op, pair in, const dw_op_params *p, dw_status code,
                   const char *part)
{
    dw_status status = op4(w, op, (int32_t[]){in.a, in.b, 0, 0}, p);
    if (status != code || strstr(w->err.message, part) == NULL) {
        fail_msg("%s: status %d, '%s', should be %d with '%s'", dw_tensor_op_name(op), status,
                 status == DW_OK ? "" : w->err.message, code, part);
    }
}

/* ---- places ---- */

/* product [m, n] = a [k, m] * b [k, n] of small whole numbers; how many elements are wrong. */
static int wrong_products(const float *a, const float *b, const float *product, int k, int m, int n)
{
    int wrong = 0;
    for (int column = 0; column < n; column++) {
        for (int row = 0; row < m; row++) {
            float sum = 0;
            for (int i = 0; i < k; i++) {
                sum += a[row * k + i] * b[column * k + i];
            }
            /* Written so that NaN counts. */
            wrong += product[column * m + row] == sum ? 0 : 1;
        }
    }
    return wrong;
}

static void fill(float *values, int count, int step)
{
    for (int i = 0; i < count; i++) {
        values[i] = (float)((i * step) % 15 - 7);
    }
}

enum { SIDE = 32 };

typedef struct product {
    uint64_t a, b, out;
    int32_t ta, tb, tp;
} product;

static product describe_product(tensor_fixture *w)
{
    product p = {.a = tensors_take(w, SIDE * SIDE * 4),
                 .b = tensors_take(w, SIDE * SIDE * 4),
                 .out = tensors_take(w, SIDE * SIDE * 4)};
    assert_int_equal(tensor_at(w, DW_F32, SIDE, SIDE, p.a, &p.ta), DW_OK);
    assert_int_equal(tensor_at(w, DW_F32, SIDE, SIDE, p.b, &p.tb), DW_OK);
    p.tp = tensors_op(w, DW_OP_MATMUL, p.ta, p.tb, 0, NULL);
    assert_int_equal(dw_tensor_graph_output(w->graph, p.tp, p.out, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err), DW_OK);
    return p;
}

static void run_product(tensor_fixture *w, const product *p, int seed)
{
    fill(tensors_bytes(w, p->a), SIDE * SIDE, seed);
    fill(tensors_bytes(w, p->b), SIDE * SIDE, seed + 4);
    memset(tensors_bytes(w, p->out), 0xff, SIDE * SIDE * 4);
    if (dw_tensor_graph_run(w->graph, NULL, &w->err) != DW_OK) {
        fail_msg("%s", w->err.message);
    }
    assert_int_equal(wrong_products(tensors_bytes(w, p->a), tensors_bytes(w, p->b),
                                    tensors_bytes(w, p->out), SIDE, SIDE, SIDE),
                     0);
}

static void test_tensor_graph_runs_again_with_new_inputs(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    product p = describe_product(w);
    for (int seed = 3; seed < 13; seed++) {
        run_product(w, &p, seed);
    }
}

static void test_tensor_graph_uses_the_regions_own_addresses(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    product p = describe_product(w);
    run_product(w, &p, 3);
    bool same;
    (void)dw_device_view_base(w->view, &same);
    if (!same) {
        skip();
    }
    assert_ptr_equal(dw_tensor_graph_device_data(w->graph, p.ta), tensors_bytes(w, p.a));
    assert_ptr_equal(dw_tensor_graph_device_data(w->graph, p.tb), tensors_bytes(w, p.b));
    assert_ptr_equal(dw_tensor_graph_device_data(w->graph, p.tp), tensors_bytes(w, p.out));
}

static void test_tensor_graph_allocates_nothing_in_a_run(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    product p = describe_product(w);
    run_product(w, &p, 3);
    uint64_t before = dw_alloc_count();
    run_product(w, &p, 4);
    assert_int_equal(dw_alloc_count(), before);
}

static void test_tensor_graph_follows_growth(void **state)
{
    tensor_fixture w;
    (void)state;
    tensor_fixture_open(&w, BYTES);
    product p = describe_product(&w);
    for (int round = 0; round < 5; round++) {
        run_product(&w, &p, 3 + round);
        assert_int_equal(dw_region_commit(w.region, BYTES * (size_t)(round + 2), &w.err), DW_OK);
        run_product(&w, &p, 4 + round);
    }
    /* The new pages serve as well as the old, views of them included. */
    tensors_restart(&w, 2);
    w.next = BYTES + 64;
    int32_t a = leaf(&w, DW_F32, 8, 4);
    float *values = tensors_bytes(&w, BYTES + 64);
    fill(values, 32, 3);
    int32_t sum =
        tensors_op(&w, DW_OP_SUM_ROWS, tensors_op(&w, DW_OP_TRANSPOSE, a, 0, 0, NULL), 0, 0, NULL);
    uint64_t out = tensors_take(&w, 32);
    assert_int_equal(dw_tensor_graph_output(w.graph, sum, out, &w.err), DW_OK);
    assert_int_equal(dw_tensor_graph_build(w.graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w.err), DW_OK);
    for (size_t more = 7; more < 9; more++) {
        assert_int_equal(dw_tensor_graph_run(w.graph, NULL, &w.err), DW_OK);
        for (int i = 0; i < 8; i++) {
            float expected = values[i] + values[8 + i] + values[16 + i] + values[24 + i];
            assert_true(((float *)tensors_bytes(&w, out))[i] == expected);
        }
        memset(tensors_bytes(&w, out), 0xff, 32);
        values[0] += 1;
        assert_int_equal(dw_region_commit(w.region, BYTES * more, &w.err), DW_OK);
    }
    tensor_fixture_close(&w);
}

static void test_tensor_graph_leaves_inputs_and_the_rest_alone(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    unsigned char *all = tensors_bytes(w, 0);
    memset(all, 0, BYTES);
    int32_t a = leaf(w, DW_F32, 64, 4);
    fill(tensors_bytes(w, 0), 256, 3);
    int32_t x = tensors_op(w, DW_OP_RELU, a, 0, 0, NULL);
    x = tensors_op(w, DW_OP_SCALE, x, 0, 0, &(dw_op_params){.f = {2, 1}});
    x = tensors_op(w, DW_OP_ADD, x, a, 0, NULL);
    uint64_t out = tensors_take(w, 1024);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, out, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err), DW_OK);
    static unsigned char before[BYTES];
    memcpy(before, all, BYTES);
    assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
    assert_memory_equal(before, all, (size_t)out);
    assert_memory_not_equal(before + out, all + out, 1024);
    assert_memory_equal(before + out + 1024, all + out + 1024, BYTES - (size_t)out - 1024);
}

static void test_tensor_graph_gives_intermediate_outputs(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t a = leaf(w, DW_F32, 64, 4);
    float *values = tensors_bytes(w, 0);
    fill(values, 256, 3);
    /* rms_norm followed by mul is what backends fuse: the first result is wanted all the same. */
    int32_t scale = leaf(w, DW_F32, 64, 1);
    fill(tensors_bytes(w, 1024), 64, 5);
    int32_t normal = tensors_op(w, DW_OP_RMS_NORM, a, 0, 0, &(dw_op_params){.f = {1e-5f}});
    int32_t scaled = tensors_op(w, DW_OP_MUL, normal, scale, 0, NULL);
    uint64_t out_normal = tensors_take(w, 1024);
    uint64_t out_scaled = tensors_take(w, 1024);
    memset(tensors_bytes(w, out_normal), 0xff, 2048);
    assert_int_equal(dw_tensor_graph_output(w->graph, scaled, out_scaled, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_output(w->graph, normal, out_normal, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
    const float *got_normal = tensors_bytes(w, out_normal);
    const float *got_scaled = tensors_bytes(w, out_scaled);
    const float *factors = tensors_bytes(w, 1024);
    for (int i = 0; i < 256; i++) {
        assert_true(isfinite(got_normal[i]));
        assert_true(fabsf(got_scaled[i] - got_normal[i] * factors[i % 64]) < 1e-5f);
    }
}

static void test_tensor_graph_reads_indices_anew_and_checks_them(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t table = leaf(w, DW_F32, 4, 10);
    fill(tensors_bytes(w, 0), 40, 3);
    uint64_t at = tensors_take(w, 64);
    int32_t index;
    assert_int_equal(tensor_at(w, DW_I32, 8, 1, at, &index), DW_OK);
    /* Every other index counts: the check must look at the same ones as the device. */
    int32_t some = tensors_op(w, DW_OP_RESHAPE, index, 0, 0, &(dw_op_params){.i = {2, 4, 1, 1}});
    some = tensors_op(w, DW_OP_VIEW, some, 0, 0, &(dw_op_params){.i = {1, 4, 1, 1, 1, 0, 0, 0}});
    some = tensors_op(w, DW_OP_TRANSPOSE, some, 0, 0, NULL);
    int32_t rows = tensors_op(w, DW_OP_GET_ROWS, table, some, 0, NULL);
    uint64_t out = tensors_take(w, 64);
    assert_int_equal(dw_tensor_graph_output(w->graph, rows, out, &w->err), DW_OK);
    dw_status status = dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err);
    if (status == DW_E_UNSUPPORTED && !tensors_on_cpu(w)) {
        skip(); /* the device cannot bring integers in order */
    }
    assert_int_equal(status, DW_OK);
    int32_t *values = tensors_bytes(w, at);
    for (int32_t round = 0; round < 6; round++) {
        for (int32_t i = 0; i < 8; i++) {
            values[i] = i % 2 == 0 ? -1000000 : (round + i) % 10;
        }
        assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
        for (int i = 0; i < 4; i++) {
            assert_memory_equal((float *)tensors_bytes(w, out) + i * 4,
                                (float *)tensors_bytes(w, 0) + values[2 * i + 1] * 4, 16);
        }
    }
    static const int32_t bad[] = {10, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        values[2 * i + 1] = bad[i];
        assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_E_RANGE);
        assert_non_null(strstr(w->err.message, "allowed are 0 to 9"));
        values[2 * i + 1] = 0;
    }
    assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
}

static void test_tensor_graph_refuses_negative_positions(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t a = leaf(w, DW_F32, 8, 1);
    uint64_t at = tensors_take(w, 4);
    int32_t position;
    assert_int_equal(tensor_at(w, DW_I32, 1, 1, at, &position), DW_OK);
    int32_t rope = tensors_op(w, DW_OP_ROPE, a, position, 0, &(dw_op_params){.i = {8}});
    assert_int_equal(dw_tensor_graph_output(w->graph, rope, tensors_take(w, 32), &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err), DW_OK);
    *(int32_t *)tensors_bytes(w, at) = -1;
    assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_E_RANGE);
    *(int32_t *)tensors_bytes(w, at) = INT32_MAX;
    assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
}

static void test_tensor_graph_takes_argmax_as_index_where_it_is_safe(void **state)
{
    tensor_fixture *w = *state;
    if (!tensors_on_cpu(w)) {
        skip();
    }
    tensors_restart(w, 1);
    int32_t scores = leaf(w, DW_F32, 10, 3);
    float *values = tensors_bytes(w, 0);
    int32_t table = leaf(w, DW_F32, 4, 10);
    int32_t short_table = leaf(w, DW_F32, 4, 9);
    fill(tensors_bytes(w, 128), 40, 3);
    int32_t best = tensors_op(w, DW_OP_ARGMAX, scores, 0, 0, NULL);
    refuse(w, DW_OP_GET_ROWS, (pair){short_table, best}, NULL, DW_E_SHAPE, "beyond 9");
    int32_t rows = tensors_op(w, DW_OP_GET_ROWS, table, best, 0, NULL);
    uint64_t out = tensors_take(w, 48);
    assert_int_equal(dw_tensor_graph_output(w->graph, rows, out, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err), DW_OK);
    for (int i = 0; i < 30; i++) {
        values[i] = i < 20 ? (float)-i : NAN; /* a row of NaN must not lead outside */
    }
    assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
    assert_memory_equal(tensors_bytes(w, out), tensors_bytes(w, 128), 16);
}

/* ---- what is refused ---- */

static void test_tensor_graph_refuses_bad_tensors(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t out;
    assert_int_equal(tensor_at(w, 99, 4, 4, 0, &out), DW_E_TYPE);
    assert_int_equal(tensor_at(w, -1, 4, 4, 0, &out), DW_E_TYPE);
    assert_int_equal(tensor_at(w, 4, 4, 4, 0, &out), DW_E_TYPE);  /* ggml's old Q4_2 */
    assert_int_equal(tensor_at(w, 27, 4, 4, 0, &out), DW_E_TYPE); /* I64 */
    assert_int_equal(tensor_at(w, DW_F32, 0, 4, 0, &out), DW_E_SHAPE);
    assert_int_equal(tensor_at(w, DW_F32, UINT32_MAX, 4, 0, &out), DW_E_SHAPE);
    assert_int_equal(tensor_at(w, DW_F32, 65536, 65536, 0, &out), DW_E_SHAPE);
    assert_int_equal(tensor_at(w, DW_Q4_0, 33, 1, 0, &out), DW_E_SHAPE);
    assert_int_equal(tensor_at(w, DW_Q4_K, 128, 1, 0, &out), DW_E_SHAPE);
    assert_int_equal(tensor_at(w, DW_F32, 4, 4, 2, &out), DW_E_ALIGN);
    assert_int_equal(tensor_at(w, DW_F32, 4, 4, BYTES, &out), DW_E_RANGE);
    assert_int_equal(tensor_at(w, DW_F32, 4, 4, UINT64_MAX - 63, &out), DW_E_RANGE);
    assert_int_equal(tensor_at(w, DW_F32, 1024, 1024, 0, &out), DW_E_RANGE);
    assert_int_equal(out, 0);
    assert_non_null(strstr(w->err.message, "1048576"));
}

static void test_tensor_graph_refuses_overlap(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t a;
    int32_t again;
    assert_int_equal(tensor_at(w, DW_F32, 64, 1, 256, &a), DW_OK);
    assert_int_equal(tensor_at(w, DW_F32, 64, 1, 320, &again), DW_OK); /* two inputs may */
    int32_t x = tensors_op(w, DW_OP_NEG, a, 0, 0, NULL);
    int32_t y = tensors_op(w, DW_OP_SQR, a, 0, 0, NULL);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, 256, &w->err), DW_E_OVERLAP);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, 64, &w->err), DW_E_OVERLAP);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, 512, &w->err), DW_E_OVERLAP);
    assert_non_null(strstr(w->err.message, "tensor 2"));
    assert_int_equal(dw_tensor_graph_output(w->graph, x, 576, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_output(w->graph, y, 768, &w->err), DW_E_OVERLAP);
    assert_non_null(strstr(w->err.message, "output 3"));
    assert_int_equal(dw_tensor_graph_output(w->graph, y, 0, &w->err), DW_OK);
    assert_int_equal(tensor_at(w, DW_F32, 1, 1, 192, &again), DW_E_OVERLAP);
    assert_int_equal(tensor_at(w, DW_F32, 1, 1, 832, &again), DW_OK);
}

static void test_tensor_graph_refuses_bad_outputs(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t a = leaf(w, DW_F32, 64, 1);
    int32_t x = tensors_op(w, DW_OP_NEG, a, 0, 0, NULL);
    assert_int_equal(dw_tensor_graph_output(w->graph, a, 4096, &w->err), DW_E_STATE);
    assert_int_equal(dw_tensor_graph_output(w->graph, 0, 4096, &w->err), DW_E_HANDLE);
    assert_int_equal(dw_tensor_graph_output(w->graph, 3, 4096, &w->err), DW_E_HANDLE);
    assert_int_equal(dw_tensor_graph_output(w->graph, -3, 4096, &w->err), DW_E_HANDLE);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, 4097, &w->err), DW_E_ALIGN);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, BYTES - 192, &w->err), DW_E_RANGE);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, 4096, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, 8192, &w->err), DW_E_STATE);
}

static void test_tensor_graph_refuses_bad_operations(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t m = leaf(w, DW_F32, 64, 4);
    int32_t n = leaf(w, DW_F32, 32, 4);
    int32_t h = leaf(w, DW_F16, 64, 4);
    int32_t q = leaf(w, DW_Q4_0, 64, 4);
    int32_t i = leaf(w, DW_I32, 4, 1);
    dw_op_params nan = {.f = {NAN}};
    dw_op_params inf = {.f = {0, INFINITY}};
    dw_op_params stray = {.i = {0, 0, 0, 0, 0, 0, 0, 7}};
    refuse(w, 0, (pair){m, 0}, NULL, DW_E_ARG, "no operation 0");
    refuse(w, 34, (pair){m, 0}, NULL, DW_E_ARG, "no operation 34");
    refuse(w, -5, (pair){m, 0}, NULL, DW_E_ARG, "no operation");
    refuse(w, DW_OP_ADD, (pair){m, 0}, NULL, DW_E_ARG, "input b is missing");
    refuse(w, DW_OP_NEG, (pair){m, n}, NULL, DW_E_ARG, "no input b");
    refuse(w, DW_OP_NEG, (pair){6, 0}, NULL, DW_E_HANDLE, "tensor 6");
    refuse(w, DW_OP_NEG, (pair){-1, 0}, NULL, DW_E_HANDLE, "tensor -1");
    refuse(w, DW_OP_SCALE, (pair){m, 0}, &nan, DW_E_NUMERIC, "f[0]");
    refuse(w, DW_OP_SCALE, (pair){m, 0}, &inf, DW_E_NUMERIC, "f[1]");
    refuse(w, DW_OP_NEG, (pair){m, 0}, &nan, DW_E_NUMERIC, "f[0]");
    refuse(w, DW_OP_NEG, (pair){m, 0}, &stray, DW_E_ARG, "i[7]");
    refuse(w, DW_OP_NEG, (pair){m, 0}, &(dw_op_params){.f = {1}}, DW_E_ARG, "f[0]");
    refuse(w, DW_OP_NEG, (pair){h, 0}, NULL, DW_E_TYPE, "F16 [64, 4]");
    refuse(w, DW_OP_ADD, (pair){m, i}, NULL, DW_E_TYPE, "I32");
    refuse(w, DW_OP_ADD, (pair){q, m}, NULL, DW_E_TYPE, "Q4_0");
    refuse(w, DW_OP_ADD, (pair){n, m}, NULL, DW_E_SHAPE, "F32 [32, 4] and F32 [64, 4]");
    refuse(w, DW_OP_MATMUL, (pair){m, n}, NULL, DW_E_SHAPE, "first sizes");
    refuse(w, DW_OP_MATMUL, (pair){m, h}, NULL, DW_E_TYPE, "input b");
    refuse(w, DW_OP_SOFTMAX, (pair){m, n}, NULL, DW_E_SHAPE, "mask");
    refuse(w, DW_OP_RMS_NORM, (pair){m, 0}, &(dw_op_params){.f = {-1}}, DW_E_RANGE, "epsilon");
}

static void test_tensor_graph_refuses_bad_shapes(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t m = leaf(w, DW_F32, 64, 4);
    int32_t n = leaf(w, DW_F32, 32, 4);
    int32_t h = leaf(w, DW_F16, 64, 4);
    int32_t q = leaf(w, DW_Q4_0, 64, 4);
    int32_t i = leaf(w, DW_I32, 4, 1);
    refuse(w, DW_OP_PERMUTE, (pair){m, 0}, &(dw_op_params){.i = {0, 0, 2, 3}}, DW_E_ARG, "axes");
    refuse(w, DW_OP_PERMUTE, (pair){m, 0}, &(dw_op_params){.i = {0, 1, 2, 4}}, DW_E_ARG, "axes");
    refuse(w, DW_OP_PERMUTE, (pair){q, 0}, &(dw_op_params){.i = {1, 0, 2, 3}}, DW_E_TYPE, "blocks");
    refuse(w, DW_OP_TRANSPOSE, (pair){q, 0}, NULL, DW_E_TYPE, "blocks");
    refuse(w, DW_OP_RESHAPE, (pair){m, 0}, &(dw_op_params){.i = {64, 5, 1, 1}}, DW_E_SHAPE, "256");
    refuse(w, DW_OP_RESHAPE, (pair){m, 0}, &(dw_op_params){.i = {-64, -4, 1, 1}}, DW_E_SHAPE,
           "-64");
    refuse(w, DW_OP_RESHAPE, (pair){q, 0}, &(dw_op_params){.i = {16, 16, 1, 1}}, DW_E_SHAPE,
           "blocks");
    refuse(w, DW_OP_RESHAPE, (pair){tensors_op(w, DW_OP_TRANSPOSE, m, 0, 0, NULL), 0},
           &(dw_op_params){.i = {256, 1, 1, 1}}, DW_E_SHAPE, "CONT");
    refuse(w, DW_OP_VIEW, (pair){m, 0}, &(dw_op_params){.i = {64, 4, 1, 1, 1}}, DW_E_RANGE,
           "axis 0");
    refuse(w, DW_OP_VIEW, (pair){m, 0}, &(dw_op_params){.i = {8, 4, 1, 1, -1}}, DW_E_RANGE,
           "axis 0");
    refuse(w, DW_OP_VIEW, (pair){m, 0}, &(dw_op_params){.i = {INT32_MAX, 4, 1, 1, INT32_MAX}},
           DW_E_RANGE, "axis 0");
    refuse(w, DW_OP_VIEW, (pair){q, 0}, &(dw_op_params){.i = {32, 4, 1, 1, 16}}, DW_E_SHAPE,
           "blocks");
    refuse(w, DW_OP_CONVERT, (pair){m, 0}, &(dw_op_params){.i = {77}}, DW_E_TYPE, "77");
    refuse(w, DW_OP_CONVERT, (pair){m, 0}, &(dw_op_params){.i = {DW_Q4_K}}, DW_E_TYPE,
           "cannot become");
    refuse(w, DW_OP_CONVERT, (pair){q, 0}, &(dw_op_params){.i = {DW_F16}}, DW_E_TYPE,
           "cannot become");
    refuse(w, DW_OP_CONVERT, (pair){i, 0}, &(dw_op_params){.i = {DW_F16}}, DW_E_TYPE,
           "cannot become");
    int32_t odd = leaf(w, DW_F32, 33, 1);
    refuse(w, DW_OP_CONVERT, (pair){odd, 0}, &(dw_op_params){.i = {DW_Q8_0}}, DW_E_SHAPE, "blocks");
    refuse(w, DW_OP_GET_ROWS, (pair){m, m}, NULL, DW_E_TYPE, "input b");
    int32_t made = tensors_op(w, DW_OP_CONVERT, m, 0, 0, &(dw_op_params){.i = {DW_I32}});
    made = tensors_op(w, DW_OP_RESHAPE, made, 0, 0, &(dw_op_params){.i = {256, 1, 1, 1}});
    refuse(w, DW_OP_GET_ROWS, (pair){m, made}, NULL, DW_E_UNSUPPORTED, "CONVERT");
    refuse(w, DW_OP_ROPE, (pair){m, i}, NULL, DW_E_SHAPE, "tokens");
    refuse(w, DW_OP_CONCAT, (pair){m, n}, &(dw_op_params){.i = {1}}, DW_E_SHAPE, "joined");
    refuse(w, DW_OP_CONCAT, (pair){m, h}, NULL, DW_E_TYPE, "one type");
    refuse(w, DW_OP_CONCAT, (pair){m, m}, &(dw_op_params){.i = {4}}, DW_E_RANGE, "axis");
    refuse(w, DW_OP_REPEAT, (pair){m, 0}, &(dw_op_params){.i = {65, 4, 1, 1}}, DW_E_SHAPE,
           "multiple");
    refuse(w, DW_OP_REPEAT, (pair){m, 0}, &(dw_op_params){.i = {64, 4, 1, 0}}, DW_E_SHAPE,
           "size 3");
    refuse(w, DW_OP_REPEAT, (pair){m, 0}, &(dw_op_params){.i = {64 << 10, 4 << 10, 1 << 10, 1}},
           DW_E_SHAPE, "elements");
}

static void test_tensor_graph_refuses_bad_rope_and_attention(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t odd = leaf(w, DW_F32, 7, 1);
    int32_t a = leaf(w, DW_F32, 8, 1);
    int32_t one = leaf(w, DW_I32, 1, 1);
    refuse(w, DW_OP_ROPE, (pair){odd, one}, &(dw_op_params){.i = {2}}, DW_E_SHAPE, "even");
    refuse(w, DW_OP_ROPE, (pair){a, one}, NULL, DW_E_RANGE, "dims");
    refuse(w, DW_OP_ROPE, (pair){a, one}, &(dw_op_params){.i = {3}}, DW_E_RANGE, "dims");
    refuse(w, DW_OP_ROPE, (pair){a, one}, &(dw_op_params){.i = {10}}, DW_E_RANGE, "dims");
    refuse(w, DW_OP_ROPE, (pair){a, one}, &(dw_op_params){.i = {8, 1}}, DW_E_RANGE, "mode");
    refuse(w, DW_OP_ROPE, (pair){a, one}, &(dw_op_params){.i = {8, 8}}, DW_E_RANGE, "mode");
    refuse(w, DW_OP_ROPE, (pair){a, one}, &(dw_op_params){.i = {8}, .f = {-1}}, DW_E_RANGE, "base");
    int32_t q = leaf(w, DW_F32, 8, 4);
    int32_t k = leaf(w, DW_F32, 8, 3);
    int32_t v = leaf(w, DW_F32, 8, 2);
    int32_t mask = leaf(w, DW_F32, 3, 3);
    dw_op_params causal = {.i = {1}};
    dw_op_params odd_flag = {.i = {2}};
    assert_int_equal(op4(w, DW_OP_ATTENTION, (int32_t[]){q, k, k, 0}, NULL), DW_OK);
    assert_int_equal(op4(w, DW_OP_ATTENTION, (int32_t[]){q, k, v, 0}, NULL), DW_E_SHAPE);
    assert_int_equal(op4(w, DW_OP_ATTENTION, (int32_t[]){q, k, 0, 0}, NULL), DW_E_ARG);
    assert_int_equal(op4(w, DW_OP_ATTENTION, (int32_t[]){odd, k, k, 0}, NULL), DW_E_SHAPE);
    assert_int_equal(op4(w, DW_OP_ATTENTION, (int32_t[]){q, k, k, mask}, NULL), DW_E_SHAPE);
    assert_int_equal(op4(w, DW_OP_ATTENTION, (int32_t[]){q, k, k, 0}, &causal), DW_E_SHAPE);
    assert_int_equal(op4(w, DW_OP_ATTENTION, (int32_t[]){q, k, k, 0}, &odd_flag), DW_E_RANGE);
}

static void test_tensor_graph_keeps_its_states_apart(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t out;
    assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_E_STATE);
    assert_int_equal(dw_tensor_graph_build(w->graph, BYTES, &w->err), DW_E_STATE);
    product p = describe_product(w);
    assert_int_equal(dw_tensor_graph_build(w->graph, BYTES, &w->err), DW_E_STATE);
    assert_int_equal(tensor_at(w, DW_F32, 4, 4, 65536, &out), DW_E_STATE);
    assert_int_equal(op4(w, DW_OP_NEG, (int32_t[]){p.ta, 0, 0, 0}, NULL), DW_E_STATE);
    assert_int_equal(dw_tensor_graph_output(w->graph, p.tp, 65536, &w->err), DW_E_STATE);
    run_product(w, &p, 3);
}

static void test_tensor_graph_holds_to_its_limits(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t a = leaf(w, DW_F32, 1024, 16);
    int32_t x = a;
    /* As deep as it may be: nothing in building may recurse along it. */
    for (int i = 1; i < DW_GRAPH_TENSORS_MAX; i++) {
        x = tensors_op(w, DW_OP_NEG, x, 0, 0, NULL);
    }
    refuse(w, DW_OP_NEG, (pair){x, 0}, NULL, DW_E_LIMIT, "4096");
    float *values = tensors_bytes(w, 0);
    fill(values, 1024 * 16, 3);
    uint64_t out = tensors_take(w, 65536);
    assert_int_equal(dw_tensor_graph_output(w->graph, x, out, &w->err), DW_OK);
    assert_int_equal(dw_tensor_graph_build(w->graph, 65536, &w->err), DW_E_LIMIT);
    assert_non_null(strstr(w->err.message, "scratch"));
    assert_int_equal(dw_tensor_graph_build(w->graph, (size_t)64 << 20, &w->err), DW_OK);
    assert_in_range(dw_tensor_graph_scratch_bytes(w->graph), 65536, (size_t)64 << 20);
    assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
    for (int i = 0; i < 1024 * 16; i++) {
        assert_true(((float *)tensors_bytes(w, out))[i] == -values[i]);
    }
}

static void test_tensor_graph_refuses_too_much_scratch(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t a = leaf(w, DW_F32, 1, 1);
    /* 2 GiB of ones, never made. */
    dw_op_params p = {.i = {1 << 29, 1, 1, 1}};
    int32_t x = tensors_op(w, DW_OP_REPEAT, a, 0, 0, &p);
    int32_t sum = tensors_op(w, DW_OP_SUM, x, 0, 0, NULL);
    assert_int_equal(dw_tensor_graph_output(w->graph, sum, tensors_take(w, 4), &w->err), DW_OK);
    dw_status status = dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err);
    /* A device may find the tensor too large for itself before we do. */
    assert_true(status == DW_E_LIMIT || (status == DW_E_UNSUPPORTED && !tensors_on_cpu(w)));
}

static void test_tensor_graph_survives_failed_allocations(void **state)
{
    tensor_fixture *w = *state;
    int failures = 0;
    for (int64_t n = 0; n < 100; n++) {
        tensors_restart(w, 1);
        int32_t q = leaf(w, DW_F32, 8, 4);
        int32_t out;
        dw_op_params causal = {.i = {1}};
        dw_alloc_fail_after(n);
        dw_status status = dw_tensor_graph_op(w->graph, DW_OP_ATTENTION, (int32_t[]){q, q, q, 0},
                                              &causal, &out, &w->err);
        if (status == DW_OK) {
            status = dw_tensor_graph_output(w->graph, out, tensors_take(w, 128), &w->err);
        }
        if (status == DW_OK) {
            status = dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err);
        }
        dw_alloc_fail_after(-1);
        if (status == DW_OK) {
            assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
            break;
        }
        assert_int_equal(status, DW_E_MEMORY);
        failures++;
    }
    assert_in_range(failures, 3, 20);
}

static void test_tensor_graph_can_be_cancelled(void **state)
{
    tensor_fixture *w = *state;
    if (!tensors_on_cpu(w)) {
        skip();
    }
    tensors_restart(w, 1);
    product p = describe_product(w);
    dw_stop cancel = {.cancelled = true};
    assert_int_equal(dw_tensor_graph_run(w->graph, &cancel, &w->err), DW_E_CANCELLED);
    run_product(w, &p, 5);
}

static void test_tensor_graph_tells_shapes(void **state)
{
    tensor_fixture *w = *state;
    tensors_restart(w, 1);
    int32_t a = leaf(w, DW_F32, 64, 4);
    int32_t turned = tensors_op(w, DW_OP_TRANSPOSE, a, 0, 0, NULL);
    int32_t sum = tensors_op(w, DW_OP_SUM, turned, 0, 0, NULL);
    dw_shape shape;
    assert_int_equal(dw_tensor_graph_shape(w->graph, turned, &shape, &w->err), DW_OK);
    assert_int_equal(shape.type, DW_F32);
    assert_int_equal(shape.dims, 2);
    assert_int_equal(shape.ne[0], 4);
    assert_int_equal(shape.ne[1], 64);
    assert_int_equal(dw_tensor_graph_shape(w->graph, sum, &shape, &w->err), DW_OK);
    assert_int_equal(shape.dims, 1);
    assert_int_equal(shape.ne[0], 1);
    assert_int_equal(dw_tensor_graph_shape(w->graph, 4, &shape, &w->err), DW_E_HANDLE);
    assert_int_equal(dw_tensor_graph_shape(w->graph, INT32_MIN, &shape, &w->err), DW_E_HANDLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_graph_runs_again_with_new_inputs),
        cmocka_unit_test(test_tensor_graph_uses_the_regions_own_addresses),
        cmocka_unit_test(test_tensor_graph_allocates_nothing_in_a_run),
        cmocka_unit_test(test_tensor_graph_follows_growth),
        cmocka_unit_test(test_tensor_graph_leaves_inputs_and_the_rest_alone),
        cmocka_unit_test(test_tensor_graph_gives_intermediate_outputs),
        cmocka_unit_test(test_tensor_graph_reads_indices_anew_and_checks_them),
        cmocka_unit_test(test_tensor_graph_refuses_negative_positions),
        cmocka_unit_test(test_tensor_graph_takes_argmax_as_index_where_it_is_safe),
        cmocka_unit_test(test_tensor_graph_refuses_bad_tensors),
        cmocka_unit_test(test_tensor_graph_refuses_overlap),
        cmocka_unit_test(test_tensor_graph_refuses_bad_outputs),
        cmocka_unit_test(test_tensor_graph_refuses_bad_operations),
        cmocka_unit_test(test_tensor_graph_refuses_bad_shapes),
        cmocka_unit_test(test_tensor_graph_refuses_bad_rope_and_attention),
        cmocka_unit_test(test_tensor_graph_keeps_its_states_apart),
        cmocka_unit_test(test_tensor_graph_holds_to_its_limits),
        cmocka_unit_test(test_tensor_graph_refuses_too_much_scratch),
        cmocka_unit_test(test_tensor_graph_survives_failed_allocations),
        cmocka_unit_test(test_tensor_graph_can_be_cancelled),
        cmocka_unit_test(test_tensor_graph_tells_shapes),
    };
    return cmocka_run_group_tests_name("tensor_graph", tests, open_fixture, close_fixture);
}
