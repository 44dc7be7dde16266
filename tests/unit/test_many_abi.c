/* What forward_many, forward_top and sampler_fork refuse, step by step and field by field. What
 * they compute: test_forward_many.c. */
#include <string.h>

#include "abi_fixture.h"
#include "support.h"

#define AT_STEPS AT_INFO
#define AT_TOP (AT_WORDS + 4096u)
#define AT_CHANCES (AT_WORDS + 8192u)

static int32_t sampler;
static int32_t other; /* a second context */

static dw_forward_step *steps(void)
{
    return (dw_forward_step *)(void *)(abi.memory + AT_STEPS);
}

static int set_up(void **state)
{
    int failed = abi_set_up(state);
    sampler = CALL("sampler_create", U(abi.model_handle), 0);
    other = CALL("context_create", U(abi.model_handle), 0);
    assert_true(sampler > 0 && other > 0);
    return failed;
}

/* Two that go well: rows, and a token with the likeliest. */
static void set_steps(void)
{
    (void)CALL("context_trim", U(abi.context_handle), 0);
    (void)CALL("context_trim", U(other), 0);
    steps()[0] = (dw_forward_step){.context = abi.context_handle,
                                   .tokens = AT_TOKENS,
                                   .token_count = 4,
                                   .rows = AT_LOGITS,
                                   .row_count = 2};
    steps()[1] = (dw_forward_step){.context = other,
                                   .flags = DW_FORWARD_LOG_PROBABILITY,
                                   .tokens = AT_TOKENS,
                                   .token_count = 3,
                                   .sampler = sampler,
                                   .top_count = 4,
                                   .top_tokens = AT_TOP,
                                   .top_log_probabilities = AT_CHANCES};
}

static int32_t many(void)
{
    return CALL("forward_many", AT_STEPS, 2);
}

/* The second step as it should be but for one field: it is refused, and the first goes well. */
#define REFUSED(field, value, code, words)                                                         \
    do {                                                                                           \
        set_steps();                                                                               \
        steps()[1].field = (value);                                                                \
        assert_int_equal(many(), 1);                                                               \
        abi_expect_message("steps[1]: ");                                                          \
        abi_expect_message(words);                                                                 \
        assert_int_equal(steps()[0].status, 4);                                                    \
        assert_int_equal(steps()[1].status, (code));                                               \
        assert_int_equal(steps()[1].token, -1);                                                    \
        assert_int_equal(CALL("context_length", U(abi.context_handle)), 4);                        \
        assert_int_equal(CALL("context_length", U(other)), 0);                                     \
    } while (0)

static void test_many_abi_takes_several(void **state)
{
    (void)state;
    const int32_t *top = (const int32_t *)(const void *)(abi.memory + AT_TOP);
    const float *chances = (const float *)(const void *)(abi.memory + AT_CHANCES);
    set_steps();
    assert_int_equal(many(), 2);
    assert_int_equal(steps()[0].status, 4);
    assert_int_equal(steps()[0].token, -1);
    assert_int_equal(steps()[1].status, 3);
    assert_int_equal(steps()[1].token, top[0]); /* greedily */
    assert_true(steps()[1].log_probability == chances[0] && chances[0] < 0.0F);
    for (int i = 1; i < 4; i++) {
        assert_true(chances[i] <= chances[i - 1]);
    }
    set_steps(); /* nothing is wanted of it */
    steps()[1] = (dw_forward_step){.context = other, .tokens = AT_TOKENS, .token_count = 2};
    assert_int_equal(many(), 2);
    assert_int_equal(steps()[1].status, 2);
    assert_int_equal(steps()[1].token, -1);
}

static void test_many_abi_refuses_calls(void **state)
{
    (void)state;
    set_steps();
    assert_int_equal(CALL("forward_many", AT_STEPS, 0), DW_E_ARG);
    assert_int_equal(CALL("forward_many", AT_STEPS, 257), DW_E_LIMIT);
    abi_expect_message("257 steps, limit 256");
    assert_int_equal(CALL("forward_many", AT_STEPS + 2, 2), DW_E_ALIGN);
    assert_int_equal(CALL("forward_many", MEMORY_BYTES - 64, 2), DW_E_RANGE);
    assert_int_equal(CALL("forward_many", 0xffffffffu, 256), DW_E_RANGE);
    assert_int_equal(CALL("context_length", U(other)), 0);
}

static void test_many_abi_refuses_fields(void **state)
{
    (void)state;
    REFUSED(context, 0, DW_E_HANDLE, "not an open context");
    REFUSED(context, sampler, DW_E_HANDLE, "context");
    REFUSED(context, abi.context_handle, DW_E_ARG, "is in steps[0] as well");
    REFUSED(flags, 4, DW_E_ARG, "flags: 0x4");
    REFUSED(reserved, 1, DW_E_UNSUPPORTED, "reserved");
    REFUSED(token_count, 0, DW_E_ARG, "token_count");
    REFUSED(token_count, 1u << 30, DW_E_RANGE, "tokens");
    REFUSED(token_count, CONTEXT_TOKENS_MAX + 1, DW_E_LIMIT, "tokens");
    REFUSED(tokens, AT_TOKENS + 2, DW_E_ALIGN, "tokens");
    REFUSED(tokens, MEMORY_BYTES - 8, DW_E_RANGE, "tokens");
    REFUSED(rows, AT_LOGITS, DW_E_ARG, "both or neither");
    REFUSED(row_count, 1, DW_E_ARG, "both or neither");
    REFUSED(sampler, other, DW_E_HANDLE, "sampler");
    REFUSED(sampler, 0, DW_E_ARG, "without a sampler");
    REFUSED(top_count, 0, DW_E_ARG, "top_count");
    REFUSED(top_count, 129, DW_E_LIMIT, "top_count: 129");
    REFUSED(top_count, 0xffffffffu, DW_E_LIMIT, "top_count");
    REFUSED(top_tokens, 0, DW_E_ARG, "top_tokens");
    REFUSED(top_tokens, AT_TOP + 1, DW_E_ALIGN, "top_tokens");
    REFUSED(top_tokens, MEMORY_BYTES - 12, DW_E_RANGE, "top_tokens");
    REFUSED(top_log_probabilities, MEMORY_BYTES - 12, DW_E_RANGE, "top_log_probabilities");
    abi_tokens()[2] = (int32_t)abi.vocab_count;
    set_steps();
    steps()[0].token_count = 2;
    assert_int_equal(many(), 1);
    assert_int_equal(steps()[1].status, DW_E_RANGE);
    abi_expect_message("steps[1]: ");
}

static void test_many_abi_refuses_overlaps(void **state)
{
    (void)state;
    REFUSED(top_tokens, AT_STEPS + 60, DW_E_OVERLAP, "the steps");
    REFUSED(top_log_probabilities, AT_STEPS - 12, DW_E_OVERLAP, "the steps");
    REFUSED(top_tokens, AT_TOKENS, DW_E_OVERLAP, "tokens");
    REFUSED(top_tokens, AT_LOGITS + 8, DW_E_OVERLAP, "rows of steps[0]");
    REFUSED(tokens, AT_LOGITS, DW_E_OVERLAP, "rows of steps[0]");
    REFUSED(top_log_probabilities, AT_TOP + 8, DW_E_OVERLAP, "top_tokens of steps[1]");
    set_steps(); /* what only others read may be shared; what one writes not */
    steps()[0].rows = AT_TOKENS;
    assert_int_equal(many(), 1);
    assert_int_equal(steps()[0].status, DW_E_OVERLAP);
    set_steps();
    steps()[1].rows = AT_LOGITS;
    steps()[1].row_count = 1;
    assert_int_equal(many(), 1);
    abi_expect_message("one or the other");
}

#define AT_SHAPE (AT_WORDS + 12288u)
#define AT_PARENTS (AT_SHAPE + 64u)

static dw_tree_shape *shape(void)
{
    return (dw_tree_shape *)(void *)(abi.memory + AT_SHAPE);
}

/* The second step is a tree: of three tokens, all behind the context's end. */
static void set_tree(void)
{
    static const int32_t parents[] = {-1, -1, -1};
    set_steps();
    memcpy(abi.memory + AT_PARENTS, parents, sizeof parents);
    *shape() = (dw_tree_shape){.parents = AT_PARENTS};
    steps()[0].row_count = 1;
    steps()[1] = (dw_forward_step){.context = other,
                                   .tokens = AT_TOKENS,
                                   .token_count = 3,
                                   .rows = AT_LOGITS + abi.vocab_count * (uint32_t)sizeof(float),
                                   .row_count = 1,
                                   .tree = AT_SHAPE};
}

#define TREE_REFUSED(place, value, code, words)                                                    \
    do {                                                                                           \
        set_tree();                                                                                \
        (place) = (value);                                                                         \
        assert_int_equal(many(), 1);                                                               \
        abi_expect_message("steps[1]: ");                                                          \
        abi_expect_message(words);                                                                 \
        assert_int_equal(steps()[1].status, (code));                                               \
    } while (0)

static void test_many_abi_takes_trees(void **state)
{
    (void)state;
    set_tree();
    assert_int_equal(many(), 2);
    assert_int_equal(steps()[0].status, 4);
    assert_int_equal(steps()[1].status, 0); /* the context stays as it is */
    TREE_REFUSED(shape()->reserved, 1, DW_E_UNSUPPORTED, "reserved");
    TREE_REFUSED(shape()->parents, AT_PARENTS + 2, DW_E_ALIGN, "parents");
    TREE_REFUSED(shape()->parents, MEMORY_BYTES - 8, DW_E_RANGE, "parents");
    TREE_REFUSED(shape()->positions, MEMORY_BYTES - 8, DW_E_RANGE, "positions");
    TREE_REFUSED(shape()->mask, MEMORY_BYTES - 8, DW_E_RANGE, "mask");
    TREE_REFUSED(shape()->mask, AT_PARENTS, DW_E_ARG, "mask");
    TREE_REFUSED(steps()[1].tree, AT_SHAPE + 1, DW_E_ALIGN, "tree");
    TREE_REFUSED(steps()[1].tree, MEMORY_BYTES - 8, DW_E_RANGE, "tree");
    TREE_REFUSED(steps()[1].flags, DW_FORWARD_HIDDEN, DW_E_ARG, "nothing but rows");
    TREE_REFUSED(steps()[1].token_count, 257, DW_E_LIMIT, "limit 256");
    TREE_REFUSED(*(int32_t *)(void *)(abi.memory + AT_PARENTS), 0, DW_E_RANGE, "parents: 0 at 0");
    TREE_REFUSED(steps()[1].rows, AT_SHAPE, DW_E_OVERLAP, "tree: ");
    TREE_REFUSED(steps()[1].rows, AT_PARENTS, DW_E_OVERLAP, "parents: ");
    set_tree();
    steps()[1].sampler = sampler;
    steps()[1].rows = steps()[1].row_count = 0;
    assert_int_equal(many(), 1);
    abi_expect_message("nothing but rows");
    set_tree(); /* what a step before writes */
    shape()->parents = AT_LOGITS;
    assert_int_equal(many(), 1);
    abi_expect_message("parents");
    abi_expect_message("rows of steps[0]");
}

static void test_many_abi_refuses_shared_samplers(void **state)
{
    (void)state;
    set_steps();
    steps()[0].rows = steps()[0].row_count = 0;
    steps()[0].sampler = sampler;
    assert_int_equal(many(), 1);
    assert_int_equal(steps()[1].status, DW_E_ARG);
    abi_expect_message("sampler: ");
    int32_t copy = CALL("sampler_fork", U(sampler), 7);
    assert_true(copy > 0);
    set_steps();
    steps()[0].rows = steps()[0].row_count = 0;
    steps()[0].sampler = copy;
    assert_int_equal(many(), 2);
    assert_int_equal(CALL("sampler_close", U(copy)), DW_OK);
    assert_int_equal(CALL("sampler_fork", U(copy), 0), DW_E_HANDLE);
    assert_int_equal(CALL("sampler_fork", U(other), 0), DW_E_HANDLE);
}

static void test_forward_top_abi_refuses(void **state)
{
    (void)state;
    uint32_t context = U(abi.context_handle);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, AT_TOP, AT_CHANCES, 5), 4);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, AT_TOP, 0, 5), 8);
    assert_int_equal(CALL("forward_top", U(sampler), AT_TOKENS, 4, AT_TOP, 0, 5), DW_E_HANDLE);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, AT_TOP, 0, 0), DW_E_ARG);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 0, AT_TOP, 0, 5), DW_E_ARG);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, AT_TOP, 0, 129), DW_E_LIMIT);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, AT_TOP + 2, 0, 5), DW_E_ALIGN);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, MEMORY_BYTES - 16, 0, 5),
                     DW_E_RANGE);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, AT_TOKENS, 0, 5), DW_E_OVERLAP);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, AT_TOP, AT_TOP + 16, 5),
                     DW_E_OVERLAP);
    assert_int_equal(CALL("forward_top", context, AT_TOKENS, 4, AT_TOP, AT_TOKENS + 8, 5),
                     DW_E_OVERLAP);
    assert_int_equal(CALL("context_length", context), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_abi_takes_several, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_many_abi_refuses_calls, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_many_abi_refuses_fields, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_many_abi_refuses_overlaps, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_many_abi_takes_trees, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_many_abi_refuses_shared_samplers, set_up,
                                        abi_tear_down),
        cmocka_unit_test_setup_teardown(test_forward_top_abi_refuses, set_up, abi_tear_down),
    };
    return cmocka_run_group_tests(tests, abi_fixture_open, abi_fixture_close);
}
