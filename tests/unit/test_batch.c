/* Steps over several contexts: the same results as one by one, whatever else is in the batch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "device/device_view.h"
#include "inference/batch.h"
#include "device/cuda_node.h"
#include "kernels/matmul_kernel.h"
#include "kv/kv_pool.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

#define CONTEXTS 9u
#define ROUNDS 5u

static char tiny_path[] = "/tmp/dw-batch-XXXXXX";

static void open_tiny(model_fixture *fixture, enum ggml_type type)
{
    tiny_options options = tiny_defaults();
    options.matrix_type = type;
    options.own_output = type != GGML_TYPE_F32; /* its halves round more */
    (void)snprintf(tiny_path, sizeof tiny_path, "/tmp/dw-batch-XXXXXX");
    int fd = mkstemp(tiny_path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(tiny_path, &options);
    model_fixture_open(fixture, tiny_path);
}

static void close_tiny(model_fixture *fixture)
{
    model_fixture_close(fixture);
    (void)unlink(tiny_path);
}

/* Context c's step in round r: prompts of many lengths first, then mostly single tokens. */
static uint32_t length_of(uint32_t c, uint32_t r)
{
    static const uint32_t prompts[CONTEXTS] = {1, 7, 300, 64, 2, 33, 600, 5, 128};
    return r == 0 ? prompts[c] : (c + r) % 4 == 0 ? 3 : 1;
}

static void fill_tokens(model_fixture *fixture, uint32_t c, uint32_t r, int32_t *tokens)
{
    for (uint32_t i = 0; i < length_of(c, r); i++) {
        tokens[i] = (int32_t)((c * 131 + r * 57 + i * 29 + i * i) % fixture->vocab_count);
    }
}

/* One batch of the contexts that have a bit in `members`. */
static void step_together(model_fixture *fixture, dw_context *const *contexts, uint32_t r,
                          uint32_t members)
{
    dw_batch_item items[CONTEXTS];
    uint32_t count = 0;
    int32_t *tokens = fixture->tokens;
    for (uint32_t c = 0; c < CONTEXTS; c++) {
        if ((members >> c & 1) == 0) {
            continue;
        }
        fill_tokens(fixture, c, r, tokens);
        items[count++] =
            (dw_batch_item){.context = contexts[c],
                            .step = {.view = fixture->view,
                                     .tokens = tokens,
                                     .token_count = length_of(c, r),
                                     .logits = fixture->logits + (size_t)c * fixture->vocab_count,
                                     .logits_rows = 1,
                                     .counters = &fixture->counters}};
        tokens += length_of(c, r);
    }
    dw_error err = {0};
    if (dw_batch_forward(items, count, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(items[i].status, DW_OK);
    }
}

/* The last logits of each context after each round, [ROUNDS][CONTEXTS][vocab_count]; in each round
 * one batch for each of `batches`, ended by 0. */
static void run(model_fixture *fixture, const uint32_t *batches, float *results)
{
    dw_context *contexts[CONTEXTS];
    for (uint32_t c = 0; c < CONTEXTS; c++) {
        contexts[c] = model_fixture_context(fixture, 0);
    }
    for (uint32_t r = 0; r < ROUNDS; r++) {
        for (uint32_t i = 0; batches[i] != 0; i++) {
            step_together(fixture, contexts, r, batches[i]);
        }
        memcpy(results + (size_t)r * CONTEXTS * fixture->vocab_count, fixture->logits,
               (size_t)CONTEXTS * fixture->vocab_count * sizeof *results);
    }
    for (uint32_t c = 0; c < CONTEXTS; c++) {
        dw_context_destroy(contexts[c]);
    }
}

static double worst_difference(const model_fixture *fixture, const float *a, const float *b)
{
    double worst = 0;
    for (uint32_t i = 0; i < ROUNDS * CONTEXTS; i++) {
        size_t at = (size_t)i * fixture->vocab_count;
        worst = fmax(worst, logits_difference(a + at, b + at, fixture->vocab_count));
    }
    return worst;
}

/* On the CPU the same bits, where products are ours (test_same_bits); else within 1e-5, and 5e-2
 * with weights that are quantised. */
static void compare(enum ggml_type type, dw_kv_type kv_type)
{
    static const uint32_t each[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 0};
    static const uint32_t all[] = {(1u << CONTEXTS) - 1, 0};
    static const uint32_t some[] = {0x49, 0x92, 0x124, 0};
    model_fixture fixture;
    open_tiny(&fixture, type);
    fixture.kv_type = kv_type;
    size_t count = (size_t)ROUNDS * CONTEXTS * fixture.vocab_count;
    float *results = calloc(3 * count, sizeof *results);
    assert_non_null(results);
    run(&fixture, each, results);
    run(&fixture, all, results + count);
    run(&fixture, some, results + 2 * count);
    double with_alone = worst_difference(&fixture, results, results + count);
    double among = worst_difference(&fixture, results + count, results + 2 * count);
    print_message("weights %s, keys and values %s: batch against alone %.3g, one batch against "
                  "another %.3g\n",
                  ggml_type_name(type), ggml_type_name(dw_kv_ggml_type(kv_type)), with_alone,
                  among);
    const bool cpu = dw_device_info_of(fixture.device)->kind == DW_DEVICE_CPU;
    if (cpu && dw_matmul_kernel_best() != NULL) {
        assert_memory_equal(results, results + count, count * sizeof *results);
        assert_memory_equal(results, results + 2 * count, count * sizeof *results);
    }
    const double limit = ggml_is_quantized(type) ? 5e-2 : 1e-5;
    assert_true(with_alone < model_fixture_tolerance(&fixture, limit));
    assert_true(among < model_fixture_tolerance(&fixture, limit));
    free(results);
    close_tiny(&fixture);
}

static void test_batch_equals_one_by_one(void **state)
{
    (void)state;
    compare(GGML_TYPE_F32, DW_KV_F32);
    compare(GGML_TYPE_F32, DW_KV_F16);
    compare(GGML_TYPE_Q8_0, DW_KV_F16);
    compare(GGML_TYPE_Q8_0, DW_KV_Q8_0);
}

/* Who does which part of the work cannot be seen in what comes out. */
static void test_batch_on_any_number_of_threads(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* ggml's barriers are invisible to it: minutes of reports that are suppressed */
#endif
    static const uint32_t all[] = {(1u << CONTEXTS) - 1, 0};
    static const char *const threads[] = {"1", "2", "5"};
    float *results[3];
    size_t count = 0;
    for (int i = 0; i < 3; i++) {
        model_fixture fixture;
        (void)setenv("DW_TEST_THREADS", threads[i], 1);
        open_tiny(&fixture, GGML_TYPE_Q8_0);
        count = (size_t)ROUNDS * CONTEXTS * fixture.vocab_count;
        results[i] = calloc(count, sizeof *results[i]);
        assert_non_null(results[i]);
        run(&fixture, all, results[i]);
        close_tiny(&fixture);
    }
    (void)unsetenv("DW_TEST_THREADS");
    assert_memory_equal(results[0], results[1], count * sizeof *results[0]);
    assert_memory_equal(results[0], results[2], count * sizeof *results[0]);
    for (int i = 0; i < 3; i++) {
        free(results[i]);
    }
}

/* One item fails, the others do not notice; the failed context is as it was. */
static void test_batch_items_fail_alone(void **state)
{
    (void)state;
    model_fixture fixture;
    open_tiny(&fixture, GGML_TYPE_F32);
    dw_context *contexts[3];
    dw_batch_item items[3];
    static dw_stop cancel = {.cancelled = true};
    for (uint32_t c = 0; c < 3; c++) {
        contexts[c] = model_fixture_context(&fixture, 0);
        for (uint32_t i = 0; i < 4; i++) {
            fixture.tokens[c * 4 + i] = (int32_t)(c + i);
        }
        items[c] = (dw_batch_item){.context = contexts[c],
                                   .step = {.view = fixture.view,
                                            .tokens = fixture.tokens + c * 4,
                                            .token_count = 4,
                                            .counters = &fixture.counters}};
    }
    fixture.tokens[4] = -3;
    items[2].step.stop = &cancel;
    assert_int_equal(dw_batch_forward(items, 3, NULL), DW_OK);
    assert_int_equal(items[0].status, DW_OK);
    assert_int_equal(items[1].status, DW_E_RANGE);
    assert_non_null(strstr(items[1].error.message, "-3"));
    assert_int_equal(items[2].status, DW_E_CANCELLED);
    assert_int_equal(dw_context_length(contexts[0]), 4);
    assert_int_equal(dw_context_length(contexts[1]), 0);
    assert_int_equal(dw_context_length(contexts[2]), 0);
    items[1].context = contexts[0];
    assert_int_equal(dw_batch_forward(items, 2, NULL), DW_E_ARG);
    assert_int_equal(dw_batch_forward(items, 0, NULL), DW_E_ARG);
    for (uint32_t c = 0; c < 3; c++) {
        dw_context_destroy(contexts[c]);
    }
    close_tiny(&fixture);
}

/* All rows of a prompt that goes through in several slices beside others. */
static void test_batch_all_rows(void **state)
{
    (void)state;
    model_fixture fixture;
    open_tiny(&fixture, GGML_TYPE_F32);
    const uint32_t count = 700;
    for (uint32_t i = 0; i < count + 1; i++) {
        fixture.tokens[i] = (int32_t)((i * 7 + 3) % fixture.vocab_count);
    }
    dw_context *alone = model_fixture_context(&fixture, 0);
    model_fixture_forward(&fixture, alone, 0, count, count);
    size_t bytes = (size_t)count * fixture.vocab_count * sizeof(float);
    float *wanted = malloc(bytes);
    assert_non_null(wanted);
    memcpy(wanted, fixture.logits, bytes);
    dw_context *first = model_fixture_context(&fixture, 0);
    dw_context *second = model_fixture_context(&fixture, 0);
    dw_step step = {.view = fixture.view,
                    .tokens = fixture.tokens,
                    .token_count = count,
                    .logits = fixture.logits,
                    .logits_rows = count,
                    .counters = &fixture.counters};
    dw_batch_item items[2] = {{.context = first, .step = step}, {.context = second, .step = step}};
    items[1].step.tokens = fixture.tokens + count;
    items[1].step.token_count = 1;
    items[1].step.logits = NULL;
    items[1].step.logits_rows = 0;
    assert_int_equal(dw_batch_forward(items, 2, NULL), DW_OK);
    assert_int_equal(items[0].status, DW_OK);
    assert_int_equal(items[1].status, DW_OK);
    double worst = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t at = (size_t)i * fixture.vocab_count;
        worst =
            fmax(worst, logits_difference(wanted + at, fixture.logits + at, fixture.vocab_count));
    }
    print_message("700 rows: worst relative difference %.3g\n", worst);
    assert_true(worst < model_fixture_tolerance(&fixture, 1e-5));
    free(wanted);
    dw_context_destroy(alone);
    dw_context_destroy(first);
    dw_context_destroy(second);
    close_tiny(&fixture);
}

static dw_batch_item item_of(model_fixture *fixture, dw_context *context, uint32_t row,
                             uint32_t count)
{
    return (dw_batch_item){.context = context,
                           .step = {.view = fixture->view,
                                    .tokens = fixture->tokens,
                                    .token_count = count,
                                    .logits = fixture->logits + (size_t)row * fixture->vocab_count,
                                    .logits_rows = 1,
                                    .counters = &fixture->counters}};
}

/* Rows of logits that a device computes in one place and brings to each guest's are counted: on
 * CUDA, where several sequences decode. Others write them where they belong. */
static void test_batch_counts_placed_rows(void **state)
{
    (void)state;
    model_fixture fixture;
    dw_context *contexts[3];
    dw_batch_item items[3];
    open_tiny(&fixture, GGML_TYPE_F32);
    const dw_device *device = dw_model_device(fixture.model);
    bool places = dw_cuda_node_served(device) && !dw_device_view_is_staged(fixture.view);
    for (uint32_t c = 0; c < 3; c++) {
        contexts[c] = model_fixture_context(&fixture, 0);
        model_fixture_forward(&fixture, contexts[c], 0, 4, 1);
    }
    assert_int_equal(fixture.counters.device_placed_bytes, 0);
    for (uint32_t c = 0; c < 3; c++) {
        items[c] = item_of(&fixture, contexts[c], c, 1);
    }
    items[2].step.logits = NULL;
    items[2].step.logits_rows = 0;
    assert_int_equal(dw_batch_forward(items, 3, NULL), DW_OK);
    size_t rows = places ? 2 : 0;
    assert_int_equal(fixture.counters.device_placed_bytes,
                     rows * fixture.vocab_count * sizeof *fixture.logits);
    for (uint32_t c = 0; c < 3; c++) {
        dw_context_destroy(contexts[c]);
    }
    close_tiny(&fixture);
}

/* Tokens lie in the guest's memory. Steps whose tokens have become others since they were checked
 * are refused, and harm nobody else. */
static void test_batch_refuses_other_tokens(void **state)
{
    (void)state;
    model_fixture fixture;
    dw_context *contexts[2];
    dw_batch_item items[2];
    dw_batch batch;
    open_tiny(&fixture, GGML_TYPE_F32);
    size_t bytes = fixture.vocab_count * sizeof *fixture.logits;
    if (dw_device_info_of(dw_model_device(fixture.model))->kind != DW_DEVICE_CPU) {
        close_tiny(&fixture);
        return;
    }
    float *expected = malloc(bytes);
    assert_non_null(expected);
    for (int pass = 0; pass < 2; pass++) {
        dw_batch_init(&batch, NULL);
        for (uint32_t c = 0; c < 2; c++) {
            contexts[c] = model_fixture_context(&fixture, 0);
            items[c] = item_of(&fixture, contexts[c], c, 1);
            items[c].step.tokens = fixture.tokens + c;
            fixture.tokens[c] = 5;
            dw_batch_add(&batch, &items[c]);
        }
        fixture.tokens[0] = pass == 0 ? 5 : INT32_MIN;
        dw_batch_run(&batch);
        assert_int_equal(batch.waiting_count, 0);
        assert_int_equal(items[1].status, DW_OK);
        float *row = fixture.logits + fixture.vocab_count;
        if (pass == 0) {
            memcpy(expected, row, bytes);
            assert_memory_equal(fixture.logits, expected, bytes);
        } else {
            assert_memory_equal(row, expected, bytes);
            assert_int_equal(items[0].status, DW_E_STATE);
            assert_non_null(strstr(items[0].error.message, "token 5 at 0 has become -2147483648"));
            assert_int_equal(dw_context_length(contexts[0]), 0);
        }
        dw_context_destroy(contexts[0]);
        dw_context_destroy(contexts[1]);
    }
    free(expected);
    close_tiny(&fixture);
}

/* Likewise of one whose results no batch takes, also in the middle of it; then it is as it was, and
 * so is the device. */
static void test_batch_refuses_other_tokens_of_one_alone(void **state)
{
    (void)state;
    enum { COUNT = 100, SLICE = 64 };
    model_fixture fixture;
    open_tiny(&fixture, GGML_TYPE_F32);
    for (uint32_t place = 1; place < COUNT; place += COUNT - 2) {
        dw_context *context = model_fixture_context(&fixture, 0);
        dw_batch_item item = item_of(&fixture, context, 0, COUNT);
        dw_batch batch;
        item.step.result = DW_RESULT_HIDDEN;
        dw_batch_init(&batch, &(dw_batch_limits){.tokens_max = SLICE});
        for (int pass = 0; pass < 2; pass++) {
            const int32_t before = fixture.tokens[place];
            dw_batch_add(&batch, &item);
            while (pass == 0 && item.done + SLICE <= place) {
                dw_batch_run(&batch);
            }
            fixture.tokens[place] = pass == 0 ? -1 : before;
            while (batch.waiting_count > 0) {
                dw_batch_run(&batch);
            }
            assert_ptr_equal(dw_batch_take(&batch), &item);
            assert_int_equal(item.status, pass == 0 ? DW_E_STATE : DW_OK);
            assert_int_equal(dw_context_length(context), pass == 0 ? 0 : COUNT);
            fixture.tokens[place] = before;
        }
        dw_context_destroy(context);
    }
    close_tiny(&fixture);
}

static void spoil_last(void *user, uint32_t done, uint32_t all)
{
    int32_t *tokens = user;
    tokens[all - 1] = done < all ? -1 : tokens[all - 1];
}

/* And of one without a batch. */
static void test_context_refuses_other_tokens(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    model_fixture fixture;
    dw_error err = {0};
    open_tiny(&fixture, GGML_TYPE_F32);
    dw_context *context = model_fixture_context(&fixture, 0);
    dw_step step = item_of(&fixture, context, 0, COUNT).step;
    step.in_short_slices = true;
    step.on_progress = spoil_last;
    step.user = fixture.tokens;
    const bool in_slices = dw_device_info_of(dw_model_device(fixture.model))->kind == DW_DEVICE_CPU;
    assert_int_equal(dw_context_forward(context, &step, &err), in_slices ? DW_E_STATE : DW_OK);
    assert_int_equal(dw_context_length(context), in_slices ? 0 : COUNT);
    assert_true(!in_slices || strstr(err.message, "at 99 has become -1") != NULL);
    dw_context_destroy(context);
    close_tiny(&fixture);
}

/* However many decode, a prompt gets its slices; also where a run has room for one of them. */
static void check_prompts_get_on(uint32_t sequences_max, uint32_t tokens_max)
{
    model_fixture fixture;
    enum { DECODING = 4, PROMPT = 130, RUNS = 400 };
    dw_context *contexts[DECODING + 1];
    dw_batch_item items[DECODING + 1];
    dw_batch batch;
    uint32_t runs = 0;
    open_tiny(&fixture, GGML_TYPE_F32);
    for (uint32_t i = 0; i < PROMPT; i++) {
        fixture.tokens[i] = (int32_t)(i % fixture.vocab_count);
    }
    dw_batch_init(&batch,
                  &(dw_batch_limits){.sequences_max = sequences_max, .tokens_max = tokens_max});
    for (uint32_t c = 0; c <= DECODING; c++) {
        contexts[c] = model_fixture_context(&fixture, 0);
        items[c] = item_of(&fixture, contexts[c], c, c < DECODING ? 1 : PROMPT);
        dw_batch_add(&batch, &items[c]);
    }
    uint32_t decoded = 0;
    for (bool over = false; !over; runs++) {
        assert_true(runs < RUNS);
        dw_batch_run(&batch);
        for (dw_batch_item *item = dw_batch_take(&batch); item != NULL;
             item = dw_batch_take(&batch)) {
            assert_int_equal(item->status, DW_OK);
            over = over || item == &items[DECODING];
            if (item != &items[DECODING]) { /* the next token at once */
                decoded++;
                dw_batch_add(&batch, item);
            }
        }
    }
    assert_true(decoded >= runs / 2);
    assert_int_equal(dw_context_length(contexts[DECODING]), PROMPT);
    while (batch.waiting_count > 0) {
        dw_batch_run(&batch);
    }
    for (uint32_t c = 0; c <= DECODING; c++) {
        dw_context_destroy(contexts[c]);
    }
    close_tiny(&fixture);
}

static void test_batch_prompts_get_on(void **state)
{
    (void)state;
    check_prompts_get_on(4, 0);
    check_prompts_get_on(1, 0);
    check_prompts_get_on(0, 4);
    check_prompts_get_on(0, 1);
}

typedef struct owner {
    dw_device *device;
    unsigned asked;
    unsigned gives; /* memory, so often */
} owner;

static bool relieve(void *user)
{
    owner *o = user;
    dw_error err;
    o->asked++;
    return o->asked <= o->gives && dw_kv_pool_limit(o->device, 0, &err) == DW_OK;
}

/* One that lacks memory, and there is nobody to wait for: who owns the batch is asked. */
static void test_batch_asks_for_memory(void **state)
{
    (void)state;
    enum { TOKENS = 300 };
    dw_error err = {0};
    for (unsigned gives = 0; gives < 2; gives++) {
        model_fixture fixture;
        dw_batch_item item;
        dw_batch batch;
        open_tiny(&fixture, GGML_TYPE_F32);
        owner o = {.device = dw_model_device(fixture.model), .gives = gives};
        size_t unit = dw_os_page_bytes();
        dw_kv_pool_options options = {.emulation = {.granularity_bytes = unit},
                                      .allocation_bytes_max = 16 * unit,
                                      .buffer_bytes = (size_t)64 << 10,
                                      .threads = 1,
                                      .grows_in_step = true,
                                      .takes_all = true};
        if (dw_device_info_of(o.device)->kind != DW_DEVICE_CPU) {
            close_tiny(&fixture);
            skip();
        }
        assert_int_equal(dw_kv_pool_open(o.device, &options, &err), DW_OK);
        assert_int_equal(dw_kv_pool_limit(o.device, unit, &err), DW_OK);
        for (uint32_t i = 0; i < TOKENS; i++) {
            fixture.tokens[i] = (int32_t)(i % fixture.vocab_count);
        }
        dw_context *context = model_fixture_context(&fixture, 0);
        dw_batch_init(&batch, &(dw_batch_limits){.tokens_max = 64});
        batch.relieve = relieve;
        batch.relieve_user = &o;
        item = item_of(&fixture, context, 0, TOKENS);
        dw_batch_add(&batch, &item);
        while (batch.waiting_count > 0) {
            dw_batch_run(&batch);
        }
        assert_int_equal(o.asked, 1);
        assert_int_equal(item.status, gives > 0 ? DW_OK : DW_E_MEMORY);
        assert_int_equal(dw_context_length(context), gives > 0 ? TOKENS : 0);
        dw_context_destroy(context);
        close_tiny(&fixture);
    }
}

/* Contexts that do not fit into the device's memory together: one is worked on after the other,
 * instead of a failure for those that came when others' steps held it. */
static void test_batch_waits_for_memory(void **state)
{
    (void)state;
    enum { COUNT = 5, TOKENS = 300 };
    model_fixture fixture;
    dw_context *contexts[COUNT];
    dw_batch_item items[COUNT];
    dw_batch batch;
    dw_error err = {0};
    open_tiny(&fixture, GGML_TYPE_F32);
    dw_device *device = dw_model_device(fixture.model);
    size_t unit = dw_os_page_bytes();
    dw_kv_pool_options options = {.emulation = {.granularity_bytes = unit},
                                  .allocation_bytes_max = 16 * unit,
                                  .buffer_bytes = (size_t)64 << 10,
                                  .threads = 1,
                                  .grows_in_step = true,
                                  .takes_all = true};
    if (dw_device_info_of(device)->kind != DW_DEVICE_CPU) {
        close_tiny(&fixture);
        skip();
    }
    assert_int_equal(dw_kv_pool_open(device, &options, &err), DW_OK);
    contexts[0] = model_fixture_context(&fixture, 0);
    for (uint32_t i = 0; i < TOKENS; i++) {
        fixture.tokens[i] = (int32_t)(i % fixture.vocab_count);
    }
    model_fixture_forward(&fixture, contexts[0], 0, TOKENS, 0);
    dw_kv_stats memory = {.struct_bytes = sizeof memory};
    assert_true(dw_kv_pool_get_stats(device, &memory));
    dw_context_destroy(contexts[0]);
    uint64_t one = memory.device_bytes;
    assert_int_equal(dw_kv_pool_limit(device, 2 * one + unit, &err), DW_OK); /* of COUNT */
    dw_batch_init(&batch, &(dw_batch_limits){.tokens_max = 64});
    for (uint32_t c = 0; c < COUNT; c++) {
        contexts[c] = model_fixture_context(&fixture, 0);
        items[c] = item_of(&fixture, contexts[c], c, TOKENS);
        dw_batch_add(&batch, &items[c]);
    }
    dw_stop cancel = {.cancelled = true}; /* of one that has not begun */
    assert_true(batch.parked.first != NULL);
    items[COUNT - 1].step.stop = &cancel;
    while (batch.waiting_count > 0) {
        dw_batch_run(&batch);
    }
    assert_null(batch.parked.first);
    for (uint32_t c = 0; c + 1 < COUNT; c++) {
        if (items[c].status != DW_OK) {
            fail_msg("item %u: %s", c, items[c].error.message);
        }
        assert_int_equal(dw_context_length(contexts[c]), TOKENS);
    }
    assert_int_equal(items[COUNT - 1].status, DW_E_CANCELLED);
    assert_int_equal(dw_context_length(contexts[COUNT - 1]), 0);
    for (uint32_t c = 0; c < COUNT; c++) {
        dw_context_destroy(contexts[c]);
    }
    close_tiny(&fixture);
}

/* One run at a time: who is alone goes first, prompts take turns at what the limits leave them. */
static void test_batch_runs_in_slices(void **state)
{
    (void)state;
    model_fixture fixture;
    open_tiny(&fixture, GGML_TYPE_F32);
    for (uint32_t i = 0; i < 300; i++) {
        fixture.tokens[i] = (int32_t)(i % fixture.vocab_count);
    }
    dw_context *contexts[4];
    for (uint32_t c = 0; c < 4; c++) {
        contexts[c] = model_fixture_context(&fixture, 0);
    }
    dw_batch batch;
    dw_batch_init(&batch, &(dw_batch_limits){.tokens_max = 100, .prompt_tokens_max = 40});
    dw_batch_item items[4] = {
        item_of(&fixture, contexts[0], 0, 130), item_of(&fixture, contexts[1], 1, 50),
        item_of(&fixture, contexts[2], 2, 1), item_of(&fixture, contexts[3], 3, 1)};
    for (uint32_t i = 0; i < 3; i++) {
        dw_batch_add(&batch, &items[i]);
    }
    assert_null(dw_batch_take(&batch));
    dw_batch_run(&batch); /* 1 + 40 of the first prompt */
    assert_ptr_equal(dw_batch_take(&batch), &items[2]);
    assert_int_equal(items[2].status, DW_OK);
    assert_int_equal(dw_context_length(contexts[0]), 40);
    assert_int_equal(dw_context_length(contexts[1]), 0);
    dw_batch_add(&batch, &items[3]);
    dw_batch_run(&batch); /* 1 + 40 of the second, whose turn it is */
    assert_ptr_equal(dw_batch_take(&batch), &items[3]);
    assert_int_equal(dw_context_length(contexts[1]), 40);
    dw_batch_run(&batch); /* none decodes: 90 of the first and 10 of the second */
    assert_ptr_equal(dw_batch_take(&batch), &items[0]);
    assert_ptr_equal(dw_batch_take(&batch), &items[1]);
    assert_null(dw_batch_take(&batch));
    assert_int_equal(batch.waiting_count, 0);
    assert_int_equal(batch.counts.runs, 3);
    assert_int_equal(batch.counts.tokens, 182);
    assert_int_equal(batch.counts.most_sequences, 2);
    dw_batch_run(&batch); /* nothing to do */
    assert_int_equal(batch.counts.runs, 3);
    for (uint32_t c = 0; c < 4; c++) {
        assert_int_equal(dw_context_length(contexts[c]), items[c].step.token_count);
        dw_context_destroy(contexts[c]);
    }
    close_tiny(&fixture);
}

/* How many tokens of a prompt a run takes beside so many that are decoded. */
static uint32_t prompt_tokens_beside(model_fixture *fixture, const dw_batch_limits *limits,
                                     uint32_t decoding)
{
    enum { MOST = 40 };
    dw_context *contexts[MOST + 1];
    dw_batch_item items[MOST + 1];
    dw_batch batch;
    dw_batch_init(&batch, limits);
    for (uint32_t c = 0; c <= decoding; c++) {
        contexts[c] = model_fixture_context(fixture, 0);
        items[c] = item_of(fixture, contexts[c], c, c == 0 ? 300 : 1);
        dw_batch_add(&batch, &items[c]);
    }
    dw_batch_run(&batch);
    uint32_t taken = dw_context_length(contexts[0]);
    for (uint32_t c = 1; c <= decoding; c++) {
        assert_int_equal(dw_context_length(contexts[c]), 1);
    }
    while (batch.waiting_count > 0) {
        dw_batch_run(&batch);
    }
    for (uint32_t c = 0; c <= decoding; c++) {
        assert_int_equal(items[c].status, DW_OK);
        dw_context_destroy(contexts[c]);
    }
    return taken;
}

/* A slice grows with those that wait for it, between the least and the most. */
static void test_batch_slices_by_those_that_decode(void **state)
{
    (void)state;
    model_fixture fixture;
    open_tiny(&fixture, GGML_TYPE_F32);
    for (uint32_t i = 0; i < 300; i++) {
        fixture.tokens[i] = (int32_t)(i % fixture.vocab_count);
    }
    dw_batch_limits each = {.prompt_tokens_each = 2};
    assert_int_equal(prompt_tokens_beside(&fixture, &each, 1), DW_BATCH_PROMPT_TOKENS_LEAST);
    assert_int_equal(prompt_tokens_beside(&fixture, &each, 16), 32);
    assert_int_equal(prompt_tokens_beside(&fixture, &each, 20), 40);
    assert_int_equal(prompt_tokens_beside(&fixture, &each, 40), 64); /* 80 in whole cuts */
    each.prompt_tokens_max = 24;
    assert_int_equal(prompt_tokens_beside(&fixture, &each, 20), 24);
    assert_int_equal(prompt_tokens_beside(&fixture, &each, 1), 24);
    close_tiny(&fixture);
}

/* Hidden states go alone, beside logits that go together; a bad step is through at once. */
static void test_batch_mixes_results(void **state)
{
    (void)state;
    model_fixture fixture;
    open_tiny(&fixture, GGML_TYPE_F32);
    for (uint32_t i = 0; i < 9; i++) {
        fixture.tokens[i] = (int32_t)i;
    }
    dw_context *contexts[3];
    dw_batch_item items[3];
    dw_batch batch;
    dw_batch_init(&batch, NULL);
    for (uint32_t c = 0; c < 3; c++) {
        contexts[c] = model_fixture_context(&fixture, 0);
        items[c] = item_of(&fixture, contexts[c], c, c == 2 ? 0 : 9);
        items[c].step.result = c == 0 ? DW_RESULT_HIDDEN : DW_RESULT_LOGITS;
        dw_batch_add(&batch, &items[c]);
    }
    assert_ptr_equal(dw_batch_take(&batch), &items[2]);
    assert_int_equal(items[2].status, DW_E_ARG);
    dw_batch_run(&batch);
    assert_ptr_equal(dw_batch_take(&batch), &items[0]);
    assert_ptr_equal(dw_batch_take(&batch), &items[1]);
    assert_int_equal(items[0].status, DW_OK);
    assert_int_equal(items[1].status, DW_OK);
    fixture.kv_type = DW_KV_F32;
    dw_context *other = model_fixture_context(&fixture, 0);
    dw_error err;
    assert_int_equal(dw_batch_admits(&batch, other, &err), DW_OK);
    dw_batch_add(&batch, &items[1]);
    assert_int_equal(dw_batch_admits(&batch, other, &err), DW_E_ARG);
    assert_non_null(strstr(err.message, "keys and values"));
    dw_batch_run(&batch);
    assert_ptr_equal(dw_batch_take(&batch), &items[1]);
    dw_context_destroy(other);
    for (uint32_t c = 0; c < 3; c++) {
        dw_context_destroy(contexts[c]);
    }
    close_tiny(&fixture);
}

/* ---- others who wait for a run to be over --------------------------------------------------- */

#define PROMPT 300u

typedef struct hurried {
    model_fixture fixture;
    dw_context *context;
    dw_batch batch;
    dw_batch_item item;
    dw_waker waker;
    dw_stop_others others;
} hurried;

static void open_hurried(hurried *h)
{
    dw_error err;
    open_tiny(&h->fixture, GGML_TYPE_Q8_0);
    dw__step_set_part_work(UINT64_MAX / 2); /* runs at once: in parts nobody has to leave any */
    for (uint32_t i = 0; i < PROMPT; i++) {
        h->fixture.tokens[i] = (int32_t)(i % h->fixture.vocab_count);
    }
    assert_int_equal(dw_waker_open(&h->waker, &err), DW_OK);
    h->others = (dw_stop_others){.due_ns = UINT64_MAX, .waker = &h->waker, .may_leave = true};
    h->context = model_fixture_context(&h->fixture, 0);
    dw_batch_init(&h->batch, NULL);
    h->batch.others = &h->others;
    h->item = item_of(&h->fixture, h->context, 0, PROMPT);
    dw_batch_add(&h->batch, &h->item);
}

/* The rest is run; what came of it is what comes of it at once. */
static void close_hurried(hurried *h)
{
    model_fixture *fixture = &h->fixture;
    h->batch.others = NULL;
    while (h->batch.waiting_count > 0) {
        dw_batch_run(&h->batch);
    }
    assert_ptr_equal(dw_batch_take(&h->batch), &h->item);
    assert_int_equal(h->item.status, DW_OK);
    size_t bytes = fixture->vocab_count * sizeof *fixture->logits;
    float *cut = malloc(bytes);
    assert_non_null(cut);
    memcpy(cut, h->item.step.logits, bytes);
    dw_context *context = model_fixture_context(fixture, 0);
    dw_batch_item whole = item_of(fixture, context, 0, PROMPT);
    dw_batch_add(&h->batch, &whole);
    while (h->batch.waiting_count > 0) {
        dw_batch_run(&h->batch);
    }
    assert_ptr_equal(dw_batch_take(&h->batch), &whole);
    assert_memory_equal(cut, whole.step.logits, bytes);
    free(cut);
    dw_context_destroy(context);
    dw_context_destroy(h->context);
    dw_waker_close(&h->waker);
    dw__step_set_part_work(0);
    close_tiny(fixture);
}

/* A run is left where one who has no part in it is asked to stop, or has to end; the next is not,
 * and short: so all get on. */
static void test_batch_is_left_for_others(void **state)
{
    (void)state;
    hurried h;
    open_hurried(&h);
    if (dw_device_info_of(dw_model_device(h.fixture.model))->kind != DW_DEVICE_CPU) {
        close_hurried(&h);
        skip();
    }
    dw_waker_wake(&h.waker);
    dw_batch_run(&h.batch);
    assert_int_equal(h.item.done, 0);
    assert_int_equal(h.batch.waiting_count, 1);
    dw_batch_run(&h.batch);
    assert_int_equal(h.item.done, 64);
    assert_true(dw_waker_take_asked(&h.waker));
    assert_false(dw_waker_take_asked(&h.waker));
    h.others.due_ns = 1; /* long ago */
    dw_batch_run(&h.batch);
    assert_int_equal(h.item.done, 64);
    h.batch.token_ns = 1000000;
    dw_batch_run(&h.batch);
    assert_int_equal(h.item.done, 128);
    h.others.may_leave = false;
    h.batch.token_ns = 1000000;
    dw_batch_run(&h.batch);
    assert_int_equal(h.item.done, 192);
    h.others.due_ns = UINT64_MAX;
    dw_batch_run(&h.batch);
    assert_int_equal(h.item.done, PROMPT);
    close_hurried(&h);
}

/* So is one whose results no batch takes. */
static void test_batch_of_one_alone_is_left(void **state)
{
    (void)state;
    hurried h;
    open_hurried(&h);
    if (dw_device_info_of(dw_model_device(h.fixture.model))->kind != DW_DEVICE_CPU) {
        close_hurried(&h);
        skip();
    }
    dw_context *context = model_fixture_context(&h.fixture, 0);
    dw_batch_item alone = item_of(&h.fixture, context, 1, 9);
    alone.step.result = DW_RESULT_HIDDEN;
    dw_batch batch;
    dw_batch_init(&batch, NULL);
    batch.others = &h.others;
    dw_batch_add(&batch, &alone);
    dw_waker_wake(&h.waker);
    dw_batch_run(&batch);
    assert_int_equal(alone.done, 0);
    assert_int_equal(batch.waiting_count, 1);
    dw_batch_run(&batch);
    assert_ptr_equal(dw_batch_take(&batch), &alone);
    assert_int_equal(alone.status, DW_OK);
    dw_context_destroy(context);
    close_hurried(&h);
}

/* A run takes as many tokens of a prompt as there is time for until somebody has to end. */
static void test_batch_is_short_before_others_end(void **state)
{
    (void)state;
    hurried h;
    open_hurried(&h);
    dw_context *first =
        model_fixture_context(&h.fixture, 0); /* a device's first step takes longer */
    model_fixture_forward(&h.fixture, first, 0, 64, 0);
    dw_context_destroy(first);
    h.others.may_leave = false;
    h.others.due_ns = dw_os_clock_ns() + UINT64_C(500000000);
    dw_batch_run(&h.batch); /* nobody knows yet how long a token takes */
    assert_int_equal(h.item.done, 64);
    assert_true(h.batch.token_ns > 0);
    h.batch.token_ns = 1000000;
    h.others.due_ns = dw_os_clock_ns() + UINT64_C(100000000000);
    dw_stop_others behind = h.others; /* of another thread */
    h.others.next = &behind;
    behind.due_ns = 1;
    dw_batch_run(&h.batch);
    assert_int_equal(h.item.done, 128);
    behind.due_ns = UINT64_MAX;
    dw_batch_run(&h.batch);
    assert_int_equal(h.item.done, PROMPT);
    close_hurried(&h);
}

#define CHOOSERS 5u

/* One token for each of several contexts; the tokens that are chosen. Returns how many runs took
 * part, and where somebody has to end lets no more than one choice a run pass. */
static uint32_t choose_together(model_fixture *fixture, const dw_stop_others *others,
                                int32_t chosen[CHOOSERS])
{
    dw_context *contexts[CHOOSERS];
    dw_sampler *samplers[CHOOSERS];
    dw_choice choices[CHOOSERS];
    dw_batch_item items[CHOOSERS];
    dw_batch batch;
    dw_error err;
    uint32_t runs = 0;
    uint32_t done = 0;
    dw_batch_init(&batch, NULL);
    batch.others = others;
    for (uint32_t c = 0; c < CHOOSERS; c++) {
        contexts[c] = model_fixture_context(fixture, 0);
        assert_int_equal(dw_sampler_create(&samplers[c], fixture->vocab_count, NULL, &err), DW_OK);
        choices[c] = (dw_choice){.sampler = samplers[c]};
        items[c] = item_of(fixture, contexts[c], c, 1);
        items[c].step.logits = NULL;
        items[c].step.logits_rows = 0;
        items[c].step.choice = &choices[c];
        dw_batch_add(&batch, &items[c]);
    }
    while (done < CHOOSERS) {
        uint32_t before = done;
        dw_batch_run(&batch);
        for (runs++; dw_batch_take(&batch) != NULL; done++) {}
        assert_true(others == NULL || done - before <= 1);
        assert_true(runs <= 2 * CHOOSERS);
        assert_int_equal(batch.waiting_count, CHOOSERS - done);
    }
    for (uint32_t c = 0; c < CHOOSERS; c++) {
        assert_int_equal(items[c].status, DW_OK);
        assert_int_equal(choices[c].status, DW_OK);
        assert_int_equal(dw_context_length(contexts[c]), 1);
        chosen[c] = choices[c].token;
        dw_sampler_destroy(samplers[c]);
        dw_context_destroy(contexts[c]);
    }
    return runs;
}

/* A choice may take long: where somebody has to end a run makes one, and the others run again. */
static void test_batch_postpones_choices_for_others(void **state)
{
    (void)state;
    model_fixture fixture;
    dw_waker waker;
    dw_error err;
    int32_t together[CHOOSERS];
    int32_t postponed[CHOOSERS];
    open_tiny(&fixture, GGML_TYPE_Q8_0);
    if (dw_device_info_of(dw_model_device(fixture.model))->kind != DW_DEVICE_CPU) {
        close_tiny(&fixture);
        skip();
    }
    for (uint32_t c = 0; c < CHOOSERS; c++) {
        fixture.tokens[c] = (int32_t)(3 + 7 * c);
    }
    assert_int_equal(dw_waker_open(&waker, &err), DW_OK);
    const dw_stop_others others = {.due_ns = 1, .waker = &waker, .may_leave = true};
    assert_int_equal(choose_together(&fixture, NULL, together), 1);
    assert_true(choose_together(&fixture, &others, postponed) >= CHOOSERS);
    assert_memory_equal(together, postponed, sizeof together);
    dw_waker_close(&waker);
    close_tiny(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_counts_placed_rows),
        cmocka_unit_test(test_batch_refuses_other_tokens),
        cmocka_unit_test(test_batch_refuses_other_tokens_of_one_alone),
        cmocka_unit_test(test_context_refuses_other_tokens),
        cmocka_unit_test(test_batch_prompts_get_on),
        cmocka_unit_test(test_batch_asks_for_memory),
        cmocka_unit_test(test_batch_waits_for_memory),
        cmocka_unit_test(test_batch_runs_in_slices),
        cmocka_unit_test(test_batch_slices_by_those_that_decode),
        cmocka_unit_test(test_batch_mixes_results),
        cmocka_unit_test(test_batch_is_left_for_others),
        cmocka_unit_test(test_batch_of_one_alone_is_left),
        cmocka_unit_test(test_batch_is_short_before_others_end),
        cmocka_unit_test(test_batch_postpones_choices_for_others),
        cmocka_unit_test(test_batch_equals_one_by_one),
        cmocka_unit_test(test_batch_on_any_number_of_threads),
        cmocka_unit_test(test_batch_items_fail_alone),
        cmocka_unit_test(test_batch_all_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
