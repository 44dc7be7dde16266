/* Rows of logits that a context keeps: context_rows and context_logits give, after whatever a guest
 * does with its contexts, exactly the rows that the steps had given. */
#include <string.h>

#include "abi_fixture.h"
#include "base/alloc.h"
#include "support.h"

#define AT_AGAIN (AT_LOGITS + (1u << 20))
#define LENGTHS (CONTEXT_TOKENS_MAX + 1)
#define WALKS 40
#define MOVES 60

/* What the test expects of a context: rows by length, of which `max` are kept. */
typedef struct expected {
    uint32_t max;
    uint32_t length;
    bool there[LENGTHS];
    float *rows; /* [LENGTHS][vocab_count] */
} expected;

static float *again(void)
{
    return (float *)(void *)(abi.memory + AT_AGAIN);
}

static float *row_of(expected *of, uint32_t length)
{
    return of->rows + (size_t)length * abi.vocab_count;
}

static void limit(expected *of)
{
    uint32_t kept = 0;
    for (uint32_t i = LENGTHS; i > 0; i--) {
        if (of->there[i - 1]) {
            of->there[i - 1] = kept++ < of->max;
        }
    }
}

static void forget(expected *of, uint32_t beyond)
{
    for (uint32_t i = beyond + 1; i < LENGTHS; i++) {
        of->there[i] = false;
    }
}

static void check(expected *of, int32_t context)
{
    assert_int_equal(CALL("context_length", U(context)), of->length);
    int32_t result = CALL("context_logits", U(context), AT_AGAIN);
    if (!of->there[of->length]) {
        assert_int_equal(result, DW_E_NOT_FOUND);
        return;
    }
    assert_int_equal(result, of->length);
    assert_memory_equal(again(), row_of(of, of->length), abi.vocab_count * sizeof(float));
}

static uint32_t drawn(uint64_t *seed, uint32_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33) % below;
}

static void append(expected *of, int32_t context, uint32_t count, uint32_t rows)
{
    if (count > CONTEXT_TOKENS_MAX - of->length) { /* refused: all is as it was */
        assert_int_equal(
            CALL("forward", U(context), AT_TOKENS, count, rows > 0 ? AT_LOGITS : 0, rows),
            DW_E_LIMIT);
        return;
    }
    of->length += count;
    assert_int_equal(CALL("forward", U(context), AT_TOKENS, count, rows > 0 ? AT_LOGITS : 0, rows),
                     of->length);
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t length = of->length - rows + i + 1;
        of->there[length] = true;
        memcpy(row_of(of, length), abi_logits() + (size_t)i * abi.vocab_count,
               abi.vocab_count * sizeof(float));
    }
    limit(of);
}

/* A token chosen in the context, from the row that a fork of it gives. */
static void choose(expected *of, int32_t context, int32_t sampler)
{
    if (of->length == CONTEXT_TOKENS_MAX) {
        return;
    }
    int32_t fork = CALL("context_fork", U(context));
    assert_true(fork > 0);
    of->length++;
    assert_int_equal(CALL("forward", U(fork), AT_TOKENS, 1, AT_LOGITS, 1), of->length);
    assert_int_equal(CALL("context_close", U(fork)), DW_OK);
    assert_true(CALL("forward_sample", U(context), AT_TOKENS, 1, U(sampler)) >= 0);
    of->there[of->length] = true;
    memcpy(row_of(of, of->length), abi_logits(), abi.vocab_count * sizeof(float));
    limit(of);
}

/* On in a fork, which has the same rows; what the first one does then is its own. */
static void go_on_in_fork(expected *of, int32_t *context)
{
    int32_t fork = CALL("context_fork", U(*context));
    assert_true(fork > 0);
    check(of, fork);
    (void)CALL("context_trim", U(*context), of->length / 2);
    (void)CALL("forward", U(*context), AT_TOKENS, 3, AT_LOGITS, 3);
    assert_int_equal(CALL("context_close", U(*context)), DW_OK);
    *context = fork;
}

static void move(expected *of, int32_t *context, int32_t sampler, uint64_t *seed)
{
    uint32_t many = drawn(seed, 7) + 1;
    switch (drawn(seed, 7)) {
    case 0:
    case 1:
        append(of, *context, many, drawn(seed, many + 1));
        break;
    case 2:
        choose(of, *context, sampler);
        break;
    case 3:
        many = many < of->length ? many : of->length;
        of->length -= many;
        forget(of, of->length);
        assert_int_equal(CALL("context_trim", U(*context), of->length), DW_OK);
        break;
    case 4: {
        uint32_t keep = drawn(seed, of->length + 1);
        uint32_t drop = drawn(seed, of->length - keep + 1);
        assert_int_equal(CALL("context_shift", U(*context), keep, drop), of->length - drop);
        if (drop > 0) {
            of->length -= drop;
            forget(of, keep);
        }
        break;
    }
    case 5:
        of->max = drawn(seed, 6);
        limit(of);
        assert_int_equal(CALL("context_rows", U(*context), of->max), DW_OK);
        break;
    default:
        go_on_in_fork(of, context);
    }
}

static void test_context_rows_after_any_moves(void **state)
{
    (void)state;
    int32_t sampler = CALL("sampler_create", U(abi.model_handle), 0);
    expected of = {.rows = dw_alloc((size_t)LENGTHS * abi.vocab_count, sizeof(float))};
    assert_true(of.rows != NULL && sampler > 0);
    for (uint32_t walk = 0; walk < WALKS; walk++) {
        uint64_t seed = walk;
        int32_t context = abi.context_handle;
        of.length = 0;
        of.max = walk % 5;
        forget(&of, 0);
        assert_int_equal(CALL("context_trim", U(context), 0), DW_OK);
        assert_int_equal(CALL("context_rows", U(context), of.max), DW_OK);
        for (uint32_t i = 0; i < MOVES; i++) {
            move(&of, &context, sampler, &seed);
            check(&of, context);
        }
        abi.context_handle = context;
    }
    dw_free(of.rows);
}

/* Steps of several contexts, and one whose results hold NaN or that is refused. */
static void test_context_rows_of_many(void **state)
{
    (void)state;
    static float rows[2 * 4096];
    dw_forward_step *steps = (dw_forward_step *)(void *)(abi.memory + AT_INFO);
    int32_t other = CALL("context_create", U(abi.model_handle), 0);
    int32_t sampler = CALL("sampler_create", U(abi.model_handle), 0);
    const size_t bytes = abi.vocab_count * sizeof(float);
    assert_true(abi.vocab_count <= 4096);
    assert_int_equal(CALL("context_rows", U(abi.context_handle), 2), DW_OK);
    assert_int_equal(CALL("context_rows", U(other), 1), DW_OK);
    steps[0] = (dw_forward_step){.context = abi.context_handle,
                                 .tokens = AT_TOKENS,
                                 .token_count = 4,
                                 .rows = AT_LOGITS,
                                 .row_count = 3};
    steps[1] = (dw_forward_step){
        .context = other, .tokens = AT_TOKENS, .token_count = 4, .sampler = sampler};
    assert_int_equal(CALL("forward_many", AT_INFO, 2), 2);
    memcpy(rows, abi_logits() + abi.vocab_count, 2 * bytes);
    assert_int_equal(CALL("context_logits", U(other), AT_AGAIN), 4);
    assert_memory_equal(again(), rows + abi.vocab_count, bytes);
    assert_int_equal(CALL("context_logits", U(abi.context_handle), AT_AGAIN), 4);
    assert_memory_equal(again(), rows + abi.vocab_count, bytes);
    assert_int_equal(CALL("context_trim", U(abi.context_handle), 3), DW_OK);
    assert_int_equal(CALL("context_logits", U(abi.context_handle), AT_AGAIN), 3);
    assert_memory_equal(again(), rows, bytes);
    abi_tokens()[1] = -1;
    assert_int_equal(CALL("forward", U(abi.context_handle), AT_TOKENS, 2, AT_LOGITS, 2),
                     DW_E_RANGE);
    assert_int_equal(CALL("context_logits", U(abi.context_handle), AT_AGAIN), 3);
    assert_memory_equal(again(), rows, bytes);
}

static void test_context_rows_refuses(void **state)
{
    (void)state;
    const uint32_t c = U(abi.context_handle);
    assert_int_equal(CALL("context_logits", c, AT_AGAIN), DW_E_NOT_FOUND);
    abi_expect_message("keeps no rows");
    assert_int_equal(CALL("context_rows", c, 17), DW_E_LIMIT);
    abi_expect_message("17, limit 16");
    assert_int_equal(CALL("context_rows", c, 0xffffffffu), DW_E_LIMIT);
    assert_int_equal(CALL("context_rows", U(abi.model_handle), 1), DW_E_HANDLE);
    assert_int_equal(CALL("context_logits", U(abi.model_handle), AT_AGAIN), DW_E_HANDLE);
    assert_int_equal(CALL("context_rows", c, 1), DW_OK);
    assert_int_equal(CALL("context_logits", c, AT_AGAIN), DW_E_NOT_FOUND);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, 0, 0), 4); /* nothing asked, none computed */
    assert_int_equal(CALL("context_logits", c, AT_AGAIN), DW_E_NOT_FOUND);
    abi_expect_message("of token 4");
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), 8);
    assert_int_equal(CALL("context_logits", c, AT_AGAIN + 2), DW_E_ALIGN);
    assert_int_equal(CALL("context_logits", c, MEMORY_BYTES - 4), DW_E_RANGE);
    assert_int_equal(CALL("context_logits", c, AT_AGAIN), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_context_rows_after_any_moves, abi_set_up,
                                        abi_tear_down),
        cmocka_unit_test_setup_teardown(test_context_rows_of_many, abi_set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_context_rows_refuses, abi_set_up, abi_tear_down),
    };
    return cmocka_run_group_tests(tests, abi_fixture_open, abi_fixture_close);
}
