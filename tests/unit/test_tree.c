/* Trees of tokens and rows of embeddings behind a context: what they give is what the same path,
 * or the tokens of the rows, give alone, and what libllama gives for them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "device/cuda_node.h"
#include "kernels/matmul_kernel.h"
#include "model/token_rows.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

#define NODES 48u
#define PATH_MAX_NODES NODES

typedef struct pair {
    model_fixture fixture;
    model_oracle oracle;
    char path[32];
    bool on_cpu;
} pair;

static void open_pair(pair *at, const tiny_architecture *kind)
{
    tiny_options options = tiny_options_of(kind, GGML_TYPE_F32);
    *at = (pair){.path = "/tmp/dw-tree-XXXXXX", .oracle.kv_type = DW_KV_F32};
    int fd = mkstemp(at->path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(at->path, &options);
    model_fixture_open(&at->fixture, at->path);
    at->on_cpu = dw_device_info_of(at->fixture.device)->kind == DW_DEVICE_CPU;
    at->fixture.kv_type = at->on_cpu ? DW_KV_F32 : DW_KV_F16;
    oracle_open(&at->oracle, at->path, dw_device_threads(at->fixture.device));
}

static void close_pair(pair *at)
{
    oracle_close(&at->oracle);
    model_fixture_close(&at->fixture);
    (void)unlink(at->path);
}

/* GELU goes through ggml's table of halves, where the smallest difference picks the next entry. */
static double limit_of(const pair *at, const tiny_architecture *kind)
{
    bool table = strncmp(kind->name, "gemma", 5) == 0 || strcmp(kind->name, "starcoder2") == 0;
    return !at->on_cpu ? 5e-2 : table ? 1e-3 : 1e-5;
}

/* Whether the device has attention with a mask for the model's heads: what it lacks is refused. */
static bool has_masks(const pair *at)
{
    const dw_model_shape *shape = dw_model_shape_of(at->fixture.model);
    return !dw_cuda_node_served(at->fixture.device) || shape->attn_logit_softcap <= 0 ||
           shape->head_dim == 128 || shape->head_dim == 256;
}

/* Whether the step went well; else it was refused by name, as it must be. */
static bool went_well(const pair *at, dw_status status, const dw_error *err)
{
    if (status == DW_E_UNSUPPORTED && !has_masks(at)) {
        assert_non_null(strstr(err->message, "capped scores with heads of"));
        return false;
    }
    if (status != DW_OK) {
        fail_msg("%s", err->message);
    }
    return true;
}

static void set_prompt(pair *at, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        at->fixture.tokens[i] = (int32_t)((i * i * 31 + i * 17 + 5) % at->fixture.vocab_count);
    }
}

static bool run_tree(pair *at, dw_context *context, int32_t *tokens, uint32_t count,
                     const dw_tree *tree)
{
    dw_error err = {.message = ""};
    dw_step step = {.view = at->fixture.view,
                    .tokens = tokens,
                    .token_count = count,
                    .logits = at->fixture.logits,
                    .logits_rows = count,
                    .counters = &at->fixture.counters};
    dw_status status = dw_context_tree_begin(context, &step, tree, &err);
    if (status == DW_OK) {
        status = dw_context_forward(context, &step, &err);
    }
    if (!went_well(at, status, &err)) {
        return false;
    }
    assert_int_equal(dw_context_tree_count(context), count);
    return true;
}

/* The path that ends with node `leaf`, its first node first: indices, and their tokens behind the
 * prompt. */
static uint32_t path_of(pair *at, const int32_t *parents, const int32_t *nodes, uint32_t past,
                        uint32_t leaf, int32_t *path)
{
    uint32_t length = 0;
    for (int32_t i = (int32_t)leaf; i >= 0; i = parents[i]) {
        length++;
    }
    uint32_t place = length;
    for (int32_t i = (int32_t)leaf; i >= 0; i = parents[i]) {
        path[--place] = i;
        at->fixture.tokens[past + place] = nodes[i];
    }
    return length;
}

/* Of every path its last row, against the same path in a fork, and against libllama. */
static void compare_paths(pair *at, dw_context *context, const int32_t *parents,
                          const int32_t *nodes, uint32_t past, double limit)
{
    const size_t row = at->fixture.vocab_count;
    float *tree = dw_alloc(NODES * row, sizeof *tree);
    int32_t path[PATH_MAX_NODES];
    uint32_t equal = 0;
    double worst = 0;
    memcpy(tree, at->fixture.logits, NODES * row * sizeof *tree);
    for (uint32_t i = 0; i < NODES; i++) {
        dw_context *fork = NULL;
        uint32_t length = path_of(at, parents, nodes, past, i, path);
        assert_int_equal(dw_context_fork(&fork, context, NULL), DW_OK);
        model_fixture_forward(&at->fixture, fork, past, length, 1);
        dw_context_destroy(fork);
        equal += memcmp(tree + i * row, at->fixture.logits, row * sizeof *tree) == 0;
        worst = fmax(worst, logits_difference(at->fixture.logits, tree + i * row, (uint32_t)row));
        if (i % 7 == 0) {
            oracle_forward(&at->oracle, at->fixture.tokens, 0, past + length, false);
            worst = fmax(worst, logits_difference(oracle_logits(&at->oracle, -1), tree + i * row,
                                                  (uint32_t)row));
        }
    }
    print_message("behind %u: %u of %u rows equal to the bit, worst relative difference %.3g\n",
                  past, equal, NODES, worst);
    assert_true(worst < limit);
    assert_true(!at->on_cpu || dw_matmul_kernel_best() == NULL || equal == NODES);
    dw_free(tree);
}

/* Keep a path: what comes behind is as if it had been computed alone, and the history is. */
static void keep_path(pair *at, dw_context *context, const int32_t *parents, const int32_t *nodes,
                      uint32_t past, double limit)
{
    int32_t path[PATH_MAX_NODES];
    dw_context *alone = NULL;
    const size_t row = at->fixture.vocab_count;
    float *kept = dw_alloc(row, sizeof *kept);
    uint32_t length = path_of(at, parents, nodes, past, NODES - 1, path);
    assert_int_equal(dw_context_fork(&alone, context, NULL), DW_OK);
    assert_int_equal(dw_context_keep(context, path, length, NULL), DW_OK);
    assert_int_equal(dw_context_tree_count(context), 0);
    assert_int_equal(dw_context_keep(context, path, length, NULL), DW_E_STATE);
    assert_int_equal(dw_context_length(context), past + length);
    model_fixture_forward(&at->fixture, alone, past, length, 1);
    assert_memory_equal(dw_context_tokens(context), dw_context_tokens(alone),
                        (past + length) * sizeof(int32_t));
    at->fixture.tokens[past + length] = 7;
    model_fixture_forward(&at->fixture, context, past + length, 1, 1);
    memcpy(kept, at->fixture.logits, row * sizeof *kept);
    model_fixture_forward(&at->fixture, alone, past + length, 1, 1);
    assert_true(logits_difference(at->fixture.logits, kept, (uint32_t)row) < limit);
    dw_context_destroy(alone);
    dw_free(kept);
}

static void check_tree(const tiny_architecture *kind, uint32_t past)
{
    pair at;
    int32_t parents[NODES];
    open_pair(&at, kind);
    int32_t *nodes = at.fixture.tokens + FIXTURE_TOKENS - NODES;
    set_prompt(&at, past);
    for (uint32_t i = 0; i < NODES; i++) { /* several roots, wide and deep */
        parents[i] = i % 11 == 0 ? -1 : (int32_t)(i - 1 - (i * 7919 % (i < 5 ? i : 5)));
        nodes[i] = (int32_t)((i * 977 + 31) % at.fixture.vocab_count);
    }
    dw_context *context = model_fixture_context(&at.fixture, 0);
    model_fixture_forward(&at.fixture, context, 0, past, 1);
    const dw_tree tree = {.parents = parents};
    if (run_tree(&at, context, nodes, NODES, &tree)) {
        assert_int_equal(dw_context_length(context), past);
        compare_paths(&at, context, parents, nodes, past, limit_of(&at, kind));
        keep_path(&at, context, parents, nodes, past, limit_of(&at, kind));
    }
    dw_context_destroy(context);
    close_pair(&at);
}

static void test_tree_paths_are_as_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny_kind_count; i++) {
        if (tiny_kinds[i].window > 0 || i % 5 == 0) {
            print_message("%s: ", tiny_kinds[i].name);
            check_tree(&tiny_kinds[i], 40);
        }
    }
    check_tree(&tiny_kinds[0], 450); /* where attention is ours otherwise */
}

/* A mask that says what parents say gives the same bits; one with a gap gives what a shorter
 * context gives. */
static void test_tree_masks(void **state)
{
    (void)state;
    pair at;
    enum { PAST = 20, COUNT = 12, WIDTH = PAST + COUNT };
    open_pair(&at, &tiny_kinds[0]);
    const size_t row = at.fixture.vocab_count;
    int32_t parents[COUNT];
    int32_t positions[COUNT];
    uint8_t mask[COUNT * WIDTH] = {0};
    float *rows = dw_alloc(COUNT * row, sizeof *rows);
    set_prompt(&at, WIDTH);
    for (int32_t i = 0; i < COUNT; i++) {
        parents[i] = i < 3 ? -1 : i - 3;
        positions[i] = PAST + i / 3;
        memset(mask + i * WIDTH, 1, PAST);
        for (int32_t k = i; k >= 0; k -= 3) {
            mask[i * WIDTH + PAST + k] = 1;
        }
    }
    dw_context *context = model_fixture_context(&at.fixture, 0);
    model_fixture_forward(&at.fixture, context, 0, PAST, 0);
    int32_t *nodes = at.fixture.tokens + PAST;
    const dw_tree plain = {.parents = parents};
    const dw_tree masked = {.mask = mask, .positions = positions};
    assert_true(run_tree(&at, context, nodes, COUNT, &plain));
    memcpy(rows, at.fixture.logits, COUNT * row * sizeof *rows);
    assert_true(run_tree(&at, context, nodes, COUNT, &masked));
    assert_memory_equal(rows, at.fixture.logits, COUNT * row * sizeof *rows);
    assert_int_equal(dw_context_keep(context, (int32_t[]){1, 4, 7}, 3, NULL), DW_OK);
    assert_int_equal(dw_context_length(context), PAST + 3);

    /* The first token alone, its context being all but seen: as behind an empty context. */
    assert_int_equal(dw_context_trim(context, PAST, NULL), DW_OK);
    memset(mask, 0, sizeof mask);
    mask[PAST] = 1;
    const dw_tree blind = {.mask = mask, .positions = (int32_t[]){0}};
    const dw_tree alone = {.mask = mask, .positions = blind.positions};
    assert_true(run_tree(&at, context, nodes, 1, &alone));
    memcpy(rows, at.fixture.logits, row * sizeof *rows);
    assert_int_equal(dw_context_keep(context, (int32_t[]){0}, 1, NULL), DW_E_ARG);
    dw_context *empty = model_fixture_context(&at.fixture, 0);
    model_fixture_forward(&at.fixture, empty, PAST, 1, 1);
    assert_true(logits_difference(at.fixture.logits, rows, (uint32_t)row) <
                limit_of(&at, &tiny_kinds[0]));
    dw_context_destroy(empty);
    dw_context_destroy(context);
    dw_free(rows);
    close_pair(&at);
}

/* A mask lies in a guest's memory: what becomes of it once it was checked stops no program. */
static void test_tree_mask_that_changes(void **state)
{
    (void)state;
    pair at;
    enum { PAST = 20, COUNT = 3, WIDTH = PAST + COUNT };
    uint8_t mask[COUNT * WIDTH] = {0};
    const int32_t positions[COUNT] = {PAST, PAST, PAST};
    const dw_tree tree = {.mask = mask, .positions = positions};
    open_pair(&at, &tiny_kinds[0]);
    set_prompt(&at, WIDTH);
    dw_context *context = model_fixture_context(&at.fixture, 0);
    model_fixture_forward(&at.fixture, context, 0, PAST, 0);
    for (size_t i = 0; i < COUNT; i++) {
        mask[i * WIDTH + PAST + i] = 1;
    }
    dw_step step = {.view = at.fixture.view,
                    .tokens = at.fixture.tokens + PAST,
                    .token_count = COUNT,
                    .counters = &at.fixture.counters};
    assert_int_equal(dw_context_tree_begin(context, &step, &tree, NULL), DW_OK);
    memset(mask, 0, sizeof mask);
    const dw_status status = dw_context_forward(context, &step, NULL);
    assert_true(status == DW_OK || (!at.on_cpu && status == DW_E_NUMERIC));
    dw_context_destroy(context);
    close_pair(&at);
}

/* The fixture's rows are those expected: to the bit on the CPU. GPUs have other attention for rows
 * that are given than for tokens. */
static void expect_rows(const pair *at, const tiny_architecture *kind, const float *expected,
                        uint32_t count)
{
    const size_t row = at->fixture.vocab_count;
    for (size_t i = 0; i < count; i++) {
        const float *got = at->fixture.logits + i * row;
        assert_true(logits_difference(expected + i * row, got, (uint32_t)row) < limit_of(at, kind));
        assert_true(!at->on_cpu || memcmp(expected + i * row, got, row * sizeof *got) == 0);
    }
}

/* Rows of the model's table give what their tokens give, to the bit, and what libllama gives for
 * the same rows, where that takes them as they are. */
static void check_rows(const tiny_architecture *kind, uint32_t past)
{
    pair at;
    enum { COUNT = 9 };
    open_pair(&at, kind);
    const dw_model_shape *shape = dw_model_shape_of(at.fixture.model);
    const size_t row = at.fixture.vocab_count;
    float *expected = dw_alloc(COUNT * row, sizeof *expected);
    float *rows = at.fixture.logits + (FIXTURE_ROWS / 2) * row;
    dw_error err = {.message = ""};
    set_prompt(&at, past + COUNT + 1);
    dw_context *with_tokens = model_fixture_context(&at.fixture, 0);
    dw_context *with_rows = model_fixture_context(&at.fixture, 0);
    model_fixture_forward(&at.fixture, with_tokens, 0, past, 0);
    model_fixture_forward(&at.fixture, with_rows, 0, past, 0);
    model_fixture_forward(&at.fixture, with_tokens, past, COUNT, COUNT);
    memcpy(expected, at.fixture.logits, COUNT * row * sizeof *expected);
    assert_int_equal(
        dw_model_token_rows(at.fixture.model, at.fixture.tokens + past, COUNT, rows, &err), DW_OK);
    const dw_step step = {.embeddings = rows,
                          .token_count = COUNT,
                          .logits = at.fixture.logits,
                          .logits_rows = COUNT};
    if (!went_well(&at, model_fixture_try_forward(&at.fixture, with_rows, &step, &err), &err)) {
        goto out;
    }
    expect_rows(&at, kind, expected, COUNT);
    assert_int_equal(dw_context_tokens(with_rows)[past], DW_TOKEN_NONE);
    if (at.on_cpu && shape->embedding_scale == 1.0F) {
        oracle_forward(&at.oracle, at.fixture.tokens, 0, past, false);
        oracle_forward_rows(&at.oracle, rows, shape->embedding_length, past, COUNT);
        for (int32_t i = 0; i < COUNT; i++) {
            assert_true(logits_difference(oracle_logits(&at.oracle, i), expected + (size_t)i * row,
                                          (uint32_t)row) < limit_of(&at, kind));
        }
    }
    model_fixture_forward(&at.fixture, with_tokens, past + COUNT, 1, 1);
    memcpy(expected, at.fixture.logits, row * sizeof *expected);
    model_fixture_forward(&at.fixture, with_rows, past + COUNT, 1, 1);
    expect_rows(&at, kind, expected, 1);
out:
    dw_context_destroy(with_tokens);
    dw_context_destroy(with_rows);
    dw_free(expected);
    close_pair(&at);
}

static void test_rows_are_as_their_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny_kind_count; i++) {
        check_rows(&tiny_kinds[i], 12);
    }
    check_rows(&tiny_kinds[0], 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_paths_are_as_alone),
        cmocka_unit_test(test_tree_masks),
        cmocka_unit_test(test_tree_mask_that_changes),
        cmocka_unit_test(test_rows_are_as_their_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
