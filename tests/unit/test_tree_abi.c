/* What forward_tree, context_keep, forward_embeddings and token_embeddings refuse, field by field.
 * What they compute: test_tree.c. */
#include <string.h>

#include "abi_fixture.h"
#include "support.h"

#define AT_STEP AT_INFO
#define AT_PARENTS (AT_WORDS + 1024u)
#define AT_POSITIONS (AT_WORDS + 2048u)
#define AT_PATH (AT_WORDS + 3072u)
#define AT_MASK (AT_LOGITS + (1u << 20))
#define AT_ROWS (AT_LOGITS + (2u << 20))

static dw_forward_tree_step *step(void)
{
    return (dw_forward_tree_step *)(void *)(abi.memory + AT_STEP);
}

static int32_t *numbers(uint32_t at)
{
    return (int32_t *)(void *)(abi.memory + at);
}

/* Four tokens behind five: two that hang on the context, one on each of them. */
static void set_step(void)
{
    static const int32_t parents[] = {-1, -1, 0, 1};
    static const int32_t positions[] = {5, 5, 6, 6};
    memcpy(numbers(AT_PARENTS), parents, sizeof parents);
    memcpy(numbers(AT_POSITIONS), positions, sizeof positions);
    memset(abi.memory + AT_MASK, 0, 4 * 9);
    for (uint32_t i = 0; i < 4; i++) {
        memset(abi.memory + AT_MASK + i * 9, 1, 5);
        abi.memory[AT_MASK + i * 9 + 5 + i] = 1;
    }
    *step() = (dw_forward_tree_step){.context = abi.context_handle,
                                     .tokens = AT_TOKENS,
                                     .token_count = 4,
                                     .parents = AT_PARENTS,
                                     .rows = AT_LOGITS,
                                     .row_count = 4};
}

static int set_up(void **state)
{
    int failed = abi_set_up(state);
    assert_int_equal(CALL("forward", U(abi.context_handle), AT_TOKENS, 5, 0, 0), 5);
    return failed;
}

/* The step as it should be but for one field is refused, and the context stays. */
#define REFUSED(field, value, code, words)                                                         \
    do {                                                                                           \
        set_step();                                                                                \
        step()->field = (value);                                                                   \
        assert_int_equal(CALL("forward_tree", AT_STEP), (code));                                   \
        abi_expect_message(words);                                                                 \
        assert_int_equal(CALL("context_length", U(abi.context_handle)), 5);                        \
        assert_int_equal(CALL("context_keep", U(abi.context_handle), AT_PATH, 0), DW_E_STATE);     \
    } while (0)

static void test_tree_abi_keeps_a_path(void **state)
{
    const uint32_t c = U(abi.context_handle);
    (void)state;
    set_step();
    assert_int_equal(CALL("forward_tree", AT_STEP), 5);
    numbers(AT_PATH)[0] = 1;
    numbers(AT_PATH)[1] = 3;
    assert_int_equal(CALL("context_keep", c, AT_PATH, 2), DW_E_STATE); /* its call is over */
    abi_expect_message("no tree");
    assert_int_equal(CALL("context_length", c), 5);
}

static void test_tree_abi_refuses_fields(void **state)
{
    (void)state;
    REFUSED(context, 0, DW_E_HANDLE, "not an open context");
    REFUSED(context, abi.model_handle, DW_E_HANDLE, "context");
    REFUSED(flags, 1, DW_E_ARG, "flags: 0x1");
    REFUSED(reserved[6], 1, DW_E_UNSUPPORTED, "reserved");
    REFUSED(token_count, 0, DW_E_ARG, "token_count");
    REFUSED(token_count, 257, DW_E_LIMIT, "257, limit 256");
    REFUSED(token_count, 0xffffffffu, DW_E_LIMIT, "limit 256");
    REFUSED(token_count, CONTEXT_TOKENS_MAX - 4, DW_E_LIMIT, "44 tokens behind 5");
    REFUSED(tokens, AT_TOKENS + 2, DW_E_ALIGN, "tokens");
    REFUSED(tokens, MEMORY_BYTES - 8, DW_E_RANGE, "tokens");
    REFUSED(parents, AT_PARENTS + 1, DW_E_ALIGN, "parents");
    REFUSED(parents, MEMORY_BYTES - 12, DW_E_RANGE, "parents");
    REFUSED(positions, MEMORY_BYTES - 12, DW_E_RANGE, "positions");
    REFUSED(mask, MEMORY_BYTES - 35, DW_E_RANGE, "mask");
    REFUSED(rows, 0, DW_E_ARG, "both or neither");
    REFUSED(row_count, 0, DW_E_ARG, "both or neither");
    REFUSED(row_count, 5, DW_E_RANGE, "5 rows for 4 tokens");
    REFUSED(rows, MEMORY_BYTES - 64, DW_E_RANGE, "rows");
    REFUSED(rows, AT_TOKENS, DW_E_OVERLAP, "tokens");
    REFUSED(rows, AT_PARENTS - 8, DW_E_OVERLAP, "parents");
    assert_int_equal(CALL("forward_tree", AT_STEP + 2), DW_E_ALIGN);
    assert_int_equal(CALL("forward_tree", MEMORY_BYTES - 60), DW_E_RANGE);
}

/* What the tree itself says. */
static void test_tree_abi_refuses_trees(void **state)
{
    (void)state;
    set_step();
    numbers(AT_PARENTS)[2] = 2;
    assert_int_equal(CALL("forward_tree", AT_STEP), DW_E_RANGE);
    abi_expect_message("parents: 2 at 2, allowed are -1 to 1");
    set_step();
    numbers(AT_PARENTS)[3] = -2;
    assert_int_equal(CALL("forward_tree", AT_STEP), DW_E_RANGE);
    set_step();
    step()->positions = AT_POSITIONS;
    numbers(AT_POSITIONS)[1] = CONTEXT_TOKENS_MAX;
    assert_int_equal(CALL("forward_tree", AT_STEP), DW_E_RANGE);
    abi_expect_message("positions: 48 at 1, the context has 48");
    set_step();
    step()->mask = AT_MASK;
    abi.memory[AT_MASK + 2] = 2;
    assert_int_equal(CALL("forward_tree", AT_STEP), DW_E_ARG);
    abi_expect_message("mask: 2 for record 2 of token 0");
    set_step();
    step()->mask = AT_MASK;
    abi.memory[AT_MASK + 9 + 8] = 1;
    assert_int_equal(CALL("forward_tree", AT_STEP), DW_E_ARG);
    abi_expect_message("it comes later");
    set_step();
    step()->mask = AT_MASK;
    abi.memory[AT_MASK + 2 * 9 + 7] = 0;
    assert_int_equal(CALL("forward_tree", AT_STEP), DW_E_ARG);
    abi_expect_message("token 2 does not see itself");
    set_step();
    abi_tokens()[3] = (int32_t)abi.vocab_count;
    assert_int_equal(CALL("forward_tree", AT_STEP), DW_E_RANGE);
    abi_expect_message("token");
    abi_tokens()[3] = 20;
    set_step();
    assert_int_equal(CALL("forward", U(abi.context_handle), AT_TOKENS, 16, 0, 0), 21);
    assert_int_equal(CALL("forward", U(abi.context_handle), AT_TOKENS, 16, 0, 0), 37);
    assert_int_equal(CALL("forward", U(abi.context_handle), AT_TOKENS, 8, 0, 0), 45);
    assert_int_equal(CALL("forward_tree", AT_STEP), DW_E_LIMIT);
    abi_expect_message("4 tokens behind 45");
}

static void test_rows_abi(void **state)
{
    const uint32_t c = U(abi.context_handle);
    const uint32_t m = U(abi.model_handle);
    (void)state;
    int32_t length = CALL("token_embeddings", m, AT_TOKENS, 4, AT_ROWS);
    assert_true(length > 0);
    assert_int_equal(CALL("token_embeddings", m, AT_TOKENS, 0, AT_ROWS), length);
    assert_int_equal(CALL("token_embeddings", c, AT_TOKENS, 4, AT_ROWS), DW_E_HANDLE);
    assert_int_equal(CALL("token_embeddings", m, AT_TOKENS, 4, AT_TOKENS), DW_E_OVERLAP);
    assert_int_equal(CALL("token_embeddings", m, AT_TOKENS, 4, AT_ROWS + 2), DW_E_ALIGN);
    assert_int_equal(CALL("token_embeddings", m, AT_TOKENS, 0xffffffffu, AT_ROWS), DW_E_RANGE);
    assert_int_equal(CALL("token_embeddings", m, AT_TOKENS, 4, MEMORY_BYTES - 4), DW_E_RANGE);
    assert_int_equal(CALL("forward_embeddings", c, AT_ROWS, 4, AT_LOGITS, 2), 9);
    assert_int_equal(CALL("forward_embeddings", m, AT_ROWS, 4, AT_LOGITS, 2), DW_E_HANDLE);
    assert_int_equal(CALL("forward_embeddings", c, AT_ROWS, 0, AT_LOGITS, 1), DW_E_ARG);
    assert_int_equal(CALL("forward_embeddings", c, AT_ROWS, 4, AT_LOGITS, 0), DW_E_ARG);
    assert_int_equal(CALL("forward_embeddings", c, AT_ROWS, 4, AT_LOGITS, 5), DW_E_RANGE);
    assert_int_equal(CALL("forward_embeddings", c, AT_ROWS, 4, AT_ROWS, 1), DW_E_OVERLAP);
    assert_int_equal(CALL("forward_embeddings", c, AT_ROWS + 2, 4, AT_LOGITS, 1), DW_E_ALIGN);
    assert_int_equal(CALL("forward_embeddings", c, MEMORY_BYTES - 64, 4, AT_LOGITS, 1), DW_E_RANGE);
    assert_int_equal(CALL("forward_embeddings", c, AT_ROWS, 0x40000000u, AT_LOGITS, 1), DW_E_RANGE);
    assert_int_equal(CALL("context_length", c), 9);
    memset(abi.memory + AT_ROWS, 0xff, 64); /* NaN */
    assert_int_equal(CALL("forward_embeddings", c, AT_ROWS, 4, AT_LOGITS, 4), DW_E_NUMERIC);
    assert_int_equal(CALL("context_length", c), 9);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 3, AT_LOGITS, 3), 12);
    abi_tokens()[1] = -1;
    assert_int_equal(CALL("token_embeddings", m, AT_TOKENS, 4, AT_ROWS), DW_E_RANGE);
    abi_expect_message("token -1 at 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tree_abi_keeps_a_path, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_tree_abi_refuses_fields, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_tree_abi_refuses_trees, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_rows_abi, set_up, abi_tear_down),
    };
    return cmocka_run_group_tests(tests, abi_fixture_open, abi_fixture_close);
}
