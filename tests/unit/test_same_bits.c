/* On the CPU a sequence's logits are the same bits however and with whom they are computed: in one
 * piece or in many, alone or in batches of others, by any number of threads, in a fork, after a
 * trim, in a context that was frozen and thawed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inference/batch.h"
#include "kernels/attention_kernel.h"
#include "kernels/matmul_kernel.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

#define LENGTH 320u /* more than a part of attention's */
#define OTHERS_MAX 16u
#define OTHERS_AT 1024u /* their tokens in the fixture's */
#define OTHERS_LENGTH 340u

typedef struct world {
    model_fixture fixture;
    char path[40];
    uint32_t length;
    float *expected; /* [length][vocab_count] */
    dw_context *others[OTHERS_MAX];
    uint64_t random;
    const char *name;
} world;

static uint32_t below(world *w, uint32_t count)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((w->random >> 33) % count);
}

static void check_rows(const world *w, uint32_t first, uint32_t count, const char *how)
{
    const size_t vocab_count = w->fixture.vocab_count;
    for (uint32_t i = 0; i < count; i++) {
        const float *expected = w->expected + (first + i) * vocab_count;
        const float *found = w->fixture.logits + i * vocab_count;
        if (memcmp(expected, found, vocab_count * sizeof *found) != 0) {
            fail_msg("%s: token %u of %u %s: off by %g", w->name, first + i, w->length, how,
                     logits_difference(expected, found, (uint32_t)vocab_count));
        }
    }
}

/* All in one step, every row. */
static void expect(world *w)
{
    dw_context *context = model_fixture_context(&w->fixture, 0);
    const size_t bytes = (size_t)w->length * w->fixture.vocab_count * sizeof(float);
    model_fixture_forward(&w->fixture, context, 0, w->length, w->length);
    w->expected = malloc(bytes);
    assert_non_null(w->expected);
    memcpy(w->expected, w->fixture.logits, bytes);
    dw_context_destroy(context);
}

/* ---- alone ---- */

static void step_alone(world *w, dw_context *context, uint32_t count, const char *how)
{
    const uint32_t length = dw_context_length(context);
    count = count < w->length - length ? count : w->length - length;
    model_fixture_forward(&w->fixture, context, length, count, count);
    check_rows(w, length, count, how);
}

static dw_context *refork(dw_context *context)
{
    dw_context *fork = NULL;
    assert_int_equal(dw_context_fork(&fork, context, NULL), DW_OK);
    dw_context_destroy(context);
    return fork;
}

static dw_context *rethaw(world *w, dw_context *context)
{
    dw_error err = {.message = ""};
    const uint32_t length = dw_context_length(context);
    const size_t bytes = length * dw_kv_log_record_bytes(dw_context_log(context));
    FILE *file = tmpfile();
    void *records = malloc(bytes);
    dw_context *thawed = NULL;
    assert_true(file != NULL && records != NULL);
    assert_int_equal(dw_kv_log_read(dw_context_log(context), 0, bytes, records, NULL), DW_OK);
    assert_int_equal(fwrite(records, 1, bytes, file), bytes);
    assert_int_equal(fflush(file), 0);
    free(records);
    const dw_kv_segment segment = {fileno(file), 0, 0, bytes};
    const dw_context_thaw_options options = {
        .kv_type = w->fixture.kv_type,
        .stored_kv_type = w->fixture.kv_type,
        .tokens = w->fixture.tokens,
        .frozen = {.segments = &segment, .segment_count = 1, .length = length}};
    if (dw_context_thaw(&thawed, w->fixture.model, &options, NULL, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    (void)fclose(file);
    dw_context_destroy(context);
    return thawed;
}

/* Pieces of random lengths, and in between the context becomes another. */
static void in_pieces(world *w)
{
    dw_context *context = model_fixture_context(&w->fixture, 0);
    while (dw_context_length(context) < w->length) {
        step_alone(w, context, below(w, 3) > 0 ? 1 + below(w, 5) : 1 + below(w, 150), "in pieces");
        switch (below(w, 24)) {
        case 0:
            context = refork(context);
            step_alone(w, context, 1, "in a fork");
            break;
        case 1:
            assert_int_equal(dw_context_trim(context, below(w, dw_context_length(context)), NULL),
                             DW_OK);
            step_alone(w, context, 1 + below(w, 70), "after a trim");
            break;
        case 2:
            context = rethaw(w, context);
            step_alone(w, context, 1, "after a thaw");
            break;
        default:
            break;
        }
    }
    dw_context_destroy(context);
}

/* ---- in company ---- */

static dw_batch_item item_of(world *w, dw_context *context, uint32_t tokens_at, uint32_t count,
                             uint32_t row)
{
    model_fixture *f = &w->fixture;
    return (dw_batch_item){.context = context,
                           .step = {.view = f->view,
                                    .tokens = f->tokens + tokens_at,
                                    .token_count = count,
                                    .logits = f->logits + (size_t)row * f->vocab_count,
                                    .logits_rows = row == 0 ? count : 1,
                                    .counters = &f->counters}};
}

static dw_batch_item other_of(world *w, uint32_t index, uint32_t row)
{
    dw_context *other = w->others[index];
    const uint32_t count = below(w, 3) > 0 ? 1 : 1 + below(w, 60);
    if (dw_context_length(other) + count > OTHERS_LENGTH) {
        assert_int_equal(dw_context_trim(other, below(w, 100), NULL), DW_OK);
    }
    return item_of(w, other, OTHERS_AT + below(w, FIXTURE_TOKENS - OTHERS_AT - count), count, row);
}

#define TREE_MAX 60u

/* A tree whose even nodes are the sequence's next tokens, one behind the other; odd ones hang
 * anywhere. Node i's row is the sequence's of token i / 2. */
typedef struct draft {
    int32_t *tokens; /* [TREE_MAX], in the fixture's */
    int32_t parents[TREE_MAX];
    uint32_t count;
} draft;

/* Rows from `row` on. */
static dw_batch_item tree_item(world *w, dw_context *context, draft *of, uint32_t most,
                               uint32_t row)
{
    const uint32_t length = dw_context_length(context);
    dw_batch_item item = item_of(w, context, 0, 1, row);
    of->count = 1 + below(w, most);
    of->count = of->count < TREE_MAX ? of->count : TREE_MAX;
    of->tokens = w->fixture.tokens + OTHERS_AT + row; /* no two have rows in common */
    for (uint32_t i = 0; i < of->count; i++) {
        of->tokens[i] = w->fixture.tokens[i % 2 == 0 ? length + i / 2 : below(w, OTHERS_AT)];
        of->parents[i] = i % 2 == 0 ? (int32_t)i - 2 : (int32_t)below(w, i + 1) - 1;
        of->parents[i] = i == 0 ? -1 : of->parents[i];
    }
    item.step.tokens = of->tokens;
    item.step.token_count = item.step.logits_rows = of->count;
    const dw_tree tree = {.parents = of->parents};
    assert_int_equal(dw_context_tree_begin(context, &item.step, &tree, NULL), DW_OK);
    return item;
}

/* The sequence's path of it, whose rows are as computed one after another. */
static void keep_draft(world *w, dw_context *context, const draft *of)
{
    const size_t vocab_count = w->fixture.vocab_count;
    const uint32_t length = dw_context_length(context);
    int32_t path[TREE_MAX];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < of->count; i += 2) {
        path[kept++] = (int32_t)i;
    }
    for (uint32_t i = 0; i < kept; i++) { /* to where check_rows looks */
        memmove(w->fixture.logits + i * vocab_count, w->fixture.logits + 2 * i * vocab_count,
                vocab_count * sizeof(float));
    }
    check_rows(w, length, kept, "in a tree in company");
    assert_int_equal(dw_context_keep(context, path, kept, NULL), DW_OK);
}

/* The sequence's tokens as a tree, others beside it that are trees as well. */
static void draft_together(world *w, dw_context *context)
{
    dw_batch_item items[1 + OTHERS_MAX];
    draft drafts[1 + OTHERS_MAX];
    dw_error err = {.message = ""};
    uint32_t all = 1;
    uint32_t row = TREE_MAX;
    items[0] =
        tree_item(w, context, &drafts[0], 2 * (w->length - dw_context_length(context)) - 1, 0);
    for (uint32_t left = below(w, OTHERS_MAX / 2); left > 0; left--, all++) {
        if (below(w, 2) == 0) {
            items[all] = other_of(w, all - 1, row++);
            continue;
        }
        dw_context *other = w->others[all - 1];
        (void)dw_context_trim(other, dw_context_length(other) / 2, NULL);
        items[all] = tree_item(w, other, &drafts[all], 20, row);
        row += drafts[all].count;
    }
    if (dw_batch_forward(items, all, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    for (uint32_t i = 0; i < all; i++) {
        assert_int_equal(items[i].status, DW_OK);
    }
    keep_draft(w, context, &drafts[0]);
}

static void step_together(world *w, dw_context *context)
{
    dw_batch_item items[1 + OTHERS_MAX];
    dw_error err = {.message = ""};
    const uint32_t length = dw_context_length(context);
    uint32_t count = below(w, 4) > 0 ? 1 + below(w, 3) : 1 + below(w, 120);
    count = count < w->length - length ? count : w->length - length;
    uint32_t all = 1;
    items[0] = item_of(w, context, length, count, 0);
    for (uint32_t i = below(w, OTHERS_MAX), left = below(w, OTHERS_MAX + 1); left > 0; left--) {
        items[all] = other_of(w, i, count + all);
        all++;
        i = (i + 1) % OTHERS_MAX;
    }
    if (dw_batch_forward(items, all, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    for (uint32_t i = 0; i < all; i++) {
        assert_int_equal(items[i].status, DW_OK);
    }
    check_rows(w, length, count, "in company");
}

static void in_company(world *w)
{
    dw_context *context = model_fixture_context(&w->fixture, 0);
    for (uint32_t i = 0; i < OTHERS_MAX; i++) {
        w->others[i] = model_fixture_context(&w->fixture, 0);
    }
    while (dw_context_length(context) < w->length) {
        if (below(w, 4) == 0) {
            draft_together(w, context);
        } else {
            step_together(w, context);
        }
    }
    for (uint32_t i = 0; i < OTHERS_MAX; i++) {
        dw_context_destroy(w->others[i]);
    }
    dw_context_destroy(context);
}

/* ---- models ---- */

/* False: nothing is promised there. */
static bool promises(const model_fixture *fixture)
{
    return dw_device_info_of(fixture->device)->kind == DW_DEVICE_CPU &&
           dw_matmul_kernel_best() != NULL; /* docs/numerics.md */
}

static void set_tokens(world *w)
{
    for (uint32_t i = 0; i < FIXTURE_TOKENS; i++) {
        w->fixture.tokens[i] = (int32_t)((i * i * 7 + i * 31 + 3) % w->fixture.vocab_count);
    }
}

static void check_model(world *w)
{
    expect(w);
    in_pieces(w);
    in_company(w);
    free(w->expected);
}

static bool check_tiny(const tiny_options *options, dw_kv_type kv_type, const char *name)
{
    world w = {.path = "/tmp/dw-bits-XXXXXX", .random = 11, .name = name};
    int fd = mkstemp(w.path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(w.path, options);
    model_fixture_open(&w.fixture, w.path);
    w.fixture.kv_type = kv_type;
    w.length = LENGTH;
    const bool promised = promises(&w.fixture);
    if (promised) {
        set_tokens(&w);
        check_model(&w);
    }
    model_fixture_close(&w.fixture);
    (void)unlink(w.path);
    return promised;
}

static void test_same_bits_of_each_architecture(void **state)
{
    (void)state;
    static const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_Q8_0, GGML_TYPE_F16,
                                           GGML_TYPE_BF16, GGML_TYPE_Q4_0};
    for (size_t i = 0; i < tiny_kind_count; i++) {
        const tiny_options options = tiny_options_of(&tiny_kinds[i], types[i % 5]);
        if (!tiny_kinds[i].encoder &&
            !check_tiny(&options, i % 2 == 0 ? DW_KV_F16 : DW_KV_F32, tiny_kinds[i].name)) {
            skip();
        }
    }
}

static void check_weight_types(void)
{
    static const enum ggml_type types[] = {
        GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q4_0,   GGML_TYPE_Q4_1,
        GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0, GGML_TYPE_Q2_K,   GGML_TYPE_Q3_K,
        GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const tiny_options options = tiny_options_of(&tiny_kinds[0], types[i]);
        if (!check_tiny(&options, i % 2 == 0 ? DW_KV_F16 : DW_KV_Q8_0, ggml_type_name(types[i]))) {
            skip();
        }
    }
}

static void test_same_bits_of_each_weight_type(void **state)
{
    (void)state;
    check_weight_types();
}

/* What processors without AVX-512 run. (ARM's kernels have the same bits as one another.) */
static void test_same_bits_with_avx2(void **state)
{
    (void)state;
    const dw_attention_kernel *attention = dw_attention_kernel_for(64);
    const dw_matmul_kernel *matmul = dw_matmul_kernel_best();
    if (strcmp(attention->name, "avx512") != 0 || matmul == NULL ||
        strcmp(matmul->name, "avx512vnni") != 0) {
        skip(); /* the others' tests were that */
    }
    dw_attention_kernels_pass_over(1);
    dw_matmul_kernels_pass_over(1);
    check_weight_types();
    dw_attention_kernels_pass_over(0);
    dw_matmul_kernels_pass_over(0);
}

static void test_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* ggml's barriers are invisible to it */
#endif
    static const char *const threads[] = {"1", "2", "3", "5"};
    float *first = NULL;
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        world w = {.length = 420, .random = 11, .name = "threads"};
        (void)setenv("DW_TEST_THREADS", threads[i], 1);
        model_fixture_open(&w.fixture, model_fixture_path());
        (void)unsetenv("DW_TEST_THREADS");
        if (!promises(&w.fixture)) {
            model_fixture_close(&w.fixture);
            skip();
        }
        const size_t row = w.fixture.vocab_count * sizeof(float);
        set_tokens(&w);
        dw_context *context = model_fixture_context(&w.fixture, 0);
        model_fixture_forward(&w.fixture, context, 0, w.length, 0);
        model_fixture_forward(&w.fixture, context, w.length, 1, 1);
        first = first == NULL ? malloc(row) : first;
        assert_non_null(first);
        if (i == 0) {
            memcpy(first, w.fixture.logits, row);
        }
        assert_memory_equal(first, w.fixture.logits, row);
        dw_context_destroy(context);
        model_fixture_close(&w.fixture);
    }
    free(first);
}

static void test_same_bits_of_the_default_model(void **state)
{
    (void)state;
    world w = {.length = 300, .random = 5, .name = "default model"};
    model_fixture_open(&w.fixture, model_fixture_path());
    const bool promised = promises(&w.fixture);
    if (promised) {
        set_tokens(&w);
        check_model(&w);
    }
    model_fixture_close(&w.fixture);
    if (!promised) {
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_of_each_architecture),
        cmocka_unit_test(test_same_bits_of_each_weight_type),
        cmocka_unit_test(test_same_bits_with_avx2),
        cmocka_unit_test(test_same_bits_on_any_number_of_threads),
        cmocka_unit_test(test_same_bits_of_the_default_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
