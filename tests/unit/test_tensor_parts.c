/* Large operations of tensor graphs in parts: the same bits as in one node. DW_TEST_SEED chooses
 * the shapes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "support.h"
#include "tensor_fixture.h"

#define ROUNDS 200

static int set_up(void **state)
{
    static tensor_fixture w;
    tensor_fixture_open(&w, (size_t)64 << 20);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    tensor_fixture_close(*state);
    dw_tensor_set_parts(0, 0);
    return 0;
}

/* A graph with one operation on tensors that lie in the region from its beginning on; the result
 * lies behind them. */
typedef struct trial {
    int32_t op;
    int32_t type; /* of a */
    int64_t a[4];
    int64_t b[4]; /* none: b[0] is 0 */
    dw_op_params params;
} trial;

/* Build and run it with parts of `work` multiplications, `elements` elements: a copy of the result,
 * [*bytes]. */
static float *result_of(tensor_fixture *w, const trial *t, uint64_t seed, int64_t work,
                        int64_t elements, size_t *bytes)
{
    static tensor_values values;
    tensors_restart(w, seed);
    int32_t a = tensors_leaf(w, t->type, t->a, -1.0, 1.0, &values);
    int32_t b = t->b[0] != 0 ? tensors_leaf(w, DW_F32, t->b, -1.0, 1.0, &values) : 0;
    int32_t c = tensors_op(w, t->op, a, b, 0, &t->params);
    dw_shape shape;
    assert_int_equal(dw_tensor_graph_shape(w->graph, c, &shape, &w->err), DW_OK);
    *bytes = sizeof(float) * shape.ne[0] * shape.ne[1] * shape.ne[2] * shape.ne[3];
    uint64_t at = tensors_take(w, *bytes);
    memset(tensors_bytes(w, at), 0xee, *bytes);
    assert_int_equal(dw_tensor_graph_output(w->graph, c, at, &w->err), DW_OK);
    dw_tensor_set_parts(work, elements);
    if (dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err) != DW_OK ||
        dw_tensor_graph_run(w->graph, NULL, &w->err) != DW_OK) {
        fail_msg("%s", w->err.message);
    }
    dw_tensor_set_parts(0, 0);
    float *copy = malloc(*bytes);
    assert_non_null(copy);
    memcpy(copy, tensors_bytes(w, at), *bytes);
    return copy;
}

static void same_bits(tensor_fixture *w, const trial *t, uint64_t seed, int64_t work,
                      int64_t elements)
{
    size_t bytes = 0;
    float *whole = result_of(w, t, seed, INT64_MAX / 8, INT64_MAX / 8, &bytes);
    float *parts = result_of(w, t, seed, work, elements, &bytes);
    if (memcmp(whole, parts, bytes) != 0) {
        fail_msg("op %d, type %d, a [%d %d %d %d], b [%d %d %d %d], work %lld, elements %lld",
                 (int)t->op, (int)t->type, (int)t->a[0], (int)t->a[1], (int)t->a[2], (int)t->a[3],
                 (int)t->b[0], (int)t->b[1], (int)t->b[2], (int)t->b[3], (long long)work,
                 (long long)elements);
    }
    free(whole);
    free(parts);
}

static uint64_t seed_of(tensor_fixture *w)
{
    const char *given = getenv("DW_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : dw_os_clock_ns();
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)seed);
    w->random = seed;
    return seed;
}

static void test_tensor_parts_of_products(void **state)
{
    static const int32_t types[] = {DW_F32, DW_F16, DW_Q8_0, DW_F32};
    tensor_fixture *w = *state;
    uint64_t seed = seed_of(w);
    if (!tensors_on_cpu(w)) {
        skip();
    }
    for (uint64_t i = 0; i < ROUNDS; i++) {
        w->random = seed + i;
        trial t = {.op = DW_OP_MATMUL, .type = types[tensors_random(w, 4)]};
        bool blocks = t.type == DW_Q8_0 || tensors_random(w, 2) == 0;
        int64_t shared_2 = 1 + tensors_random(w, 3);
        int64_t shared_3 = 1 + tensors_random(w, 2);
        t.a[0] = t.b[0] = blocks ? 32 * (1 + tensors_random(w, 3)) : 1 + tensors_random(w, 90);
        t.a[1] = tensors_random(w, 2) == 0 ? 4 * (1 + tensors_random(w, 40))
                                           : 1 + tensors_random(w, 150);
        t.b[1] = 1 + tensors_random(w, 100);
        t.a[2] = 1 + tensors_random(w, 3);
        t.a[3] = 1 + tensors_random(w, 2);
        t.b[2] = t.a[2] * shared_2;
        t.b[3] = t.a[3] * shared_3;
        if (t.a[0] * t.a[1] * t.a[2] * t.a[3] <= TENSOR_VALUES_MAX &&
            t.b[0] * t.b[1] * t.b[2] * t.b[3] <= TENSOR_VALUES_MAX) {
            same_bits(w, &t, seed + i, 1 << tensors_random(w, 22), INT64_MAX / 8);
        }
    }
}

static void test_tensor_parts_of_rows(void **state)
{
    static const int32_t ops[] = {DW_OP_SCALE,   DW_OP_SOFTMAX, DW_OP_RMS_NORM, DW_OP_NORM,
                                  DW_OP_GELU,    DW_OP_SILU,    DW_OP_RELU,     DW_OP_TANH,
                                  DW_OP_SIGMOID, DW_OP_EXP,     DW_OP_SQR,      DW_OP_NEG};
    tensor_fixture *w = *state;
    uint64_t seed = seed_of(w);
    if (!tensors_on_cpu(w)) {
        skip();
    }
    for (uint64_t i = 0; i < ROUNDS; i++) {
        w->random = seed + i;
        trial t = {.op = ops[i % (sizeof ops / sizeof ops[0])],
                   .type = DW_F32,
                   .a = {1 + tensors_random(w, 70), 1 + tensors_random(w, 30),
                         1 + tensors_random(w, 4), 1 + tensors_random(w, 3)}};
        t.params.f[0] = i % (sizeof ops / sizeof ops[0]) < 4 ? 0.5f : 0; /* of the first four */
        same_bits(w, &t, seed + i, INT64_MAX / 8, 1 + tensors_random(w, 500));
    }
}

/* Results in parts that others use, and that use others' parts. */
static void test_tensor_parts_one_after_another(void **state)
{
    tensor_fixture *w = *state;
    static tensor_values values;
    const int64_t ne[4] = {64, 64, 1, 1};
    float *found[2] = {NULL, NULL};
    if (!tensors_on_cpu(w)) {
        skip();
    }
    for (int round = 0; round < 2; round++) {
        tensors_restart(w, 1);
        int32_t a = tensors_leaf(w, DW_F32, ne, -1.0, 1.0, &values);
        int32_t c = a;
        for (int i = 0; i < 6; i++) {
            c = tensors_op(w, DW_OP_MATMUL, a, c, 0, NULL);
            c = tensors_op(w, DW_OP_SOFTMAX, c, 0, 0, NULL);
            c = tensors_op(w, DW_OP_TRANSPOSE, c, 0, 0, NULL);
        }
        c = tensors_op(w, DW_OP_CONT, c, 0, 0, NULL);
        c = tensors_op(w, DW_OP_ADD, c, a, 0, NULL);
        uint64_t at = tensors_take(w, sizeof(float) * 64 * 64);
        assert_int_equal(dw_tensor_graph_output(w->graph, c, at, &w->err), DW_OK);
        dw_tensor_set_parts(round == 0 ? INT64_MAX / 8 : 20000, round == 0 ? INT64_MAX / 8 : 300);
        if (dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err) != DW_OK) {
            fail_msg("%s", w->err.message);
        }
        for (int run = 0; run < 3; run++) {
            assert_int_equal(dw_tensor_graph_run(w->graph, NULL, &w->err), DW_OK);
        }
        found[round] = malloc(sizeof(float) * 64 * 64);
        assert_non_null(found[round]);
        memcpy(found[round], tensors_bytes(w, at), sizeof(float) * 64 * 64);
    }
    assert_memory_equal(found[0], found[1], sizeof(float) * 64 * 64);
    free(found[0]);
    free(found[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_parts_of_products),
        cmocka_unit_test(test_tensor_parts_of_rows),
        cmocka_unit_test(test_tensor_parts_one_after_another),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
