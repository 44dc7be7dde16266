/* Contexts: steps in slices, trimming, and steps that fail leave them as they were. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "device/device_run.h"
#include "inference/step.h"
#include "kv/kv_pool.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

typedef struct fixture {
    char path[64];
    model_fixture test_state;
} fixture;

static int open_with(void **state, const tiny_options *options)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->path, sizeof f->path, "/tmp/dw-context-XXXXXX");
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(f->path, options);
    model_fixture_open(&f->test_state, f->path);
    for (uint32_t i = 0; i < FIXTURE_TOKENS; i++) {
        f->test_state.tokens[i] = (int32_t)((i * 31 + i / 7) % f->test_state.vocab_count);
    }
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    tiny_options options = tiny_defaults();
    return open_with(state, &options);
}

/* Of experts: their products are ggml's. */
static tiny_options expert_options(enum ggml_type type)
{
    const tiny_architecture *kind = tiny_kinds;
    while (kind->expert_count == 0) {
        kind++;
    }
    return tiny_options_of(kind, type);
}

static int set_up_experts(void **state)
{
    tiny_options options = expert_options(GGML_TYPE_F32);
    return open_with(state, &options);
}

static int set_up_nan(void **state)
{
    tiny_options options = tiny_defaults();
    options.nan_weights = true;
    return open_with(state, &options);
}

static int tear_down(void **state)
{
    fixture *f = *state;
    model_fixture_close(&f->test_state);
    (void)unlink(f->path);
    free(f);
    return 0;
}

static float *copy_row(const model_fixture *test_state, uint32_t row)
{
    size_t bytes = test_state->vocab_count * sizeof(float);
    float *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, test_state->logits + (size_t)row * test_state->vocab_count, bytes);
    return copy;
}

static void assert_close_logits(const model_fixture *test_state, const float *expected,
                                const float *found, double limit)
{
    limit = model_fixture_tolerance(test_state, limit);
    double difference = logits_difference(expected, found, test_state->vocab_count);
    if (!(difference < limit)) {
        fail_msg("logits differ by %g, limit %g", difference, limit);
    }
}

static void assert_same_logits(const model_fixture *test_state, const float *expected,
                               const float *found)
{
    assert_close_logits(test_state, expected, found, 1e-4);
}

/* Forward the first 1,300 tokens in calls of these lengths, logits of the last. */
static void forward_in_parts(model_fixture *test_state, const uint32_t *lengths, size_t count)
{
    dw_context *context = model_fixture_context(test_state, 0);
    uint32_t at = 0;
    for (size_t i = 0; i < count; i++) {
        model_fixture_forward(test_state, context, at, lengths[i], i + 1 == count ? 1 : 0);
        at += lengths[i];
        assert_int_equal(dw_context_length(context), at);
    }
    assert_int_equal(at, 1300);
    assert_memory_equal(dw_context_tokens(context), test_state->tokens, 1300 * sizeof(int32_t));
    dw_context_destroy(context);
}

/* 1,300 tokens in one call (slices of 512, growths of the log at 256, 512 and 1,024) against the
 * same in calls of odd lengths. For few queries ggml's CPU attention sums values in F16, for many
 * in F32: a last token decoded alone differs by that rounding. */
static void test_context_slices_equal_one_step(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    const uint32_t whole[] = {1300};
    const uint32_t parts[] = {100, 411, 600, 189};
    const uint32_t single[] = {1, 99, 411, 600, 188, 1};
    forward_in_parts(test_state, whole, 1);
    float *expected = copy_row(test_state, 0);
    forward_in_parts(test_state, parts, 4);
    assert_same_logits(test_state, expected, test_state->logits);
    forward_in_parts(test_state, single, 6);
    assert_close_logits(test_state, expected, test_state->logits, 2e-3);
    free(expected);
}

/* Rows that begin in one slice and end in another stand in one block, each at its place. */
static void test_context_rows_over_slices(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    dw_context *context = model_fixture_context(test_state, 0);
    model_fixture_forward(test_state, context, 0, 700, 700);
    float *early = copy_row(test_state, 400);
    float *late = copy_row(test_state, 699);
    assert_int_equal(dw_context_trim(context, 0, NULL), DW_OK);
    memset(test_state->logits, 0x7f, (size_t)700 * test_state->vocab_count * sizeof(float));
    model_fixture_forward(test_state, context, 0, 700, 300);
    assert_same_logits(test_state, early, test_state->logits);
    assert_same_logits(test_state, late,
                       test_state->logits + (size_t)299 * test_state->vocab_count);
    /* and nothing behind the last row was touched */
    const unsigned char *behind =
        (const unsigned char *)(test_state->logits + (size_t)300 * test_state->vocab_count);
    assert_int_equal(behind[0], 0x7f);
    free(early);
    free(late);
    dw_context_destroy(context);
}

static void test_context_trim_and_append_again(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    dw_context *context = model_fixture_context(test_state, 0);
    model_fixture_forward(test_state, context, 0, 300, 1);
    float *expected = copy_row(test_state, 0);
    dw_error err = {0};
    assert_int_equal(dw_context_trim(context, 301, &err), DW_E_RANGE);
    assert_non_null(strstr(err.message, "301"));
    assert_int_equal(dw_context_trim(context, 200, &err), DW_OK);
    model_fixture_forward(test_state, context, 1000, 90,
                          0); /* others in between, to be forgotten */
    assert_int_equal(dw_context_trim(context, 200, &err), DW_OK);
    model_fixture_forward(test_state, context, 200, 100, 1);
    assert_same_logits(test_state, expected, test_state->logits);
    assert_memory_equal(dw_context_tokens(context), test_state->tokens, 300 * sizeof(int32_t));
    free(expected);
    dw_context_destroy(context);
}

static void test_context_contexts_do_not_mix(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    dw_context *alone = model_fixture_context(test_state, 0);
    model_fixture_forward(test_state, alone, 0, 50, 0);
    model_fixture_forward(test_state, alone, 50, 1, 1);
    float *expected = copy_row(test_state, 0);
    dw_context *a = model_fixture_context(test_state, 0);
    dw_context *b = model_fixture_context(test_state, 0);
    model_fixture_forward(test_state, a, 0, 50, 0);
    model_fixture_forward(test_state, b, 700, 50, 0);
    model_fixture_forward(test_state, b, 750, 1, 1);
    model_fixture_forward(test_state, a, 50, 1, 1);
    assert_same_logits(test_state, expected, test_state->logits);
    free(expected);
    dw_context_destroy(a);
    dw_context_destroy(b);
    dw_context_destroy(alone);
}

static void refuses(model_fixture *test_state, dw_context *context, const dw_step *step,
                    dw_status code, const char *words)
{
    uint32_t length = dw_context_length(context);
    dw_error err = {0};
    assert_int_equal(model_fixture_try_forward(test_state, context, step, &err), code);
    if (strstr(err.message, words) == NULL) {
        fail_msg("'%s' is not in: %s", words, err.message);
    }
    assert_int_equal(dw_context_length(context), length);
}

static void test_context_bad_steps_change_nothing(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    dw_error err = {0};
    dw_context *context = NULL;
    assert_int_equal(dw_context_create(&context, test_state->model,
                                       &(dw_context_options){.tokens_max = 4000}, &err),
                     DW_E_RANGE);
    assert_non_null(strstr(err.message, "4000"));
    context = model_fixture_context(test_state, 400);
    assert_int_equal(dw_context_capacity(context), 400);
    model_fixture_forward(test_state, context, 0, 20, 1);
    float *expected = copy_row(test_state, 0);

    dw_step step = {.tokens = test_state->tokens, .token_count = 381};
    refuses(test_state, context, &step, DW_E_LIMIT, "381 tokens behind 20, the context takes 400");
    step.token_count = 0;
    refuses(test_state, context, &step, DW_E_ARG, "no tokens");
    step.token_count = 4;
    step.logits = test_state->logits;
    step.logits_rows = 5;
    refuses(test_state, context, &step, DW_E_RANGE, "5 rows of logits for 4 tokens");
    step.logits_rows = 1;
    step.logits = (float *)(void *)(test_state->tokens + 3);
    refuses(test_state, context, &step, DW_E_OVERLAP, "over the 4 tokens");
    step.logits = (float *)(void *)((char *)test_state->logits + 2);
    refuses(test_state, context, &step, DW_E_ALIGN, "multiple of");
    step.logits = test_state->logits;
    int32_t kept = test_state->tokens[2];
    test_state->tokens[2] = (int32_t)test_state->vocab_count;
    refuses(test_state, context, &step, DW_E_RANGE, "token 320 at 2, the vocabulary has 320");
    test_state->tokens[2] = -1;
    refuses(test_state, context, &step, DW_E_RANGE, "token -1 at 2");
    test_state->tokens[2] = kept;
    dw_stop cancel = {.cancelled = true};
    step.stop = &cancel;
    refuses(test_state, context, &step, DW_E_CANCELLED, "cancelled");

    assert_int_equal(dw_context_trim(context, 19, NULL), DW_OK);
    model_fixture_forward(test_state, context, 19, 1, 1);
    assert_same_logits(test_state, expected, test_state->logits);
    free(expected);
    dw_context_destroy(context);
}

typedef struct progress {
    uint32_t calls;
    uint32_t done;
    dw_stop stop;
} progress;

static void on_progress(void *user, uint32_t done, uint32_t total)
{
    progress *p = user;
    assert_true(done > p->done && done <= total);
    p->calls++;
    p->done = done;
    p->stop.cancelled = done >= 1024;
}

static void test_context_cancelled_between_slices(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    if (dw__slice_tokens_max(test_state->model) != 512) {
        skip(); /* one slice is all of it */
    }
    dw_context *context = model_fixture_context(test_state, 0);
    model_fixture_forward(test_state, context, 0, 10, 0);
    progress p = {0};
    dw_step step = {.tokens = test_state->tokens,
                    .token_count = 1500,
                    .stop = &p.stop,
                    .on_progress = on_progress,
                    .user = &p};
    refuses(test_state, context, &step, DW_E_CANCELLED, "cancelled at token 1024 of 1500");
    assert_int_equal(p.calls, 2);
    dw_context_destroy(context);
}

/* Of weights with which ggml multiplies, slices are as short as its products must be; what they
 * make is the same, whatever is left for the last. */
static void test_context_slices_of_large_products(void **state)
{
    static const uint32_t lengths[] = {64, 127, 128, 143, 191, 192, 300, 500};
    static const int slices[] = {1, 2, 2, 3, 3, 3, 5, 8};
    model_fixture *test_state = &((fixture *)*state)->test_state;
    if (dw__slice_tokens_max(test_state->model) != 512) {
        skip();
    }
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        dw_context *context = model_fixture_context(test_state, 0);
        model_fixture_forward(test_state, context, 0, lengths[i], 1);
        float *expected = copy_row(test_state, 0);
        assert_int_equal(dw_context_trim(context, 0, NULL), DW_OK);
        dw__step_set_product_work(1);
        assert_int_equal(dw__slice_tokens_max(test_state->model), 64);
        progress p = {.calls = 0};
        const dw_step step = {.tokens = test_state->tokens,
                              .token_count = lengths[i],
                              .logits = test_state->logits,
                              .logits_rows = 1,
                              .on_progress = on_progress,
                              .user = &p};
        dw_error err = {.message = ""};
        assert_int_equal(model_fixture_try_forward(test_state, context, &step, &err), DW_OK);
        dw__step_set_product_work(0);
        assert_int_equal(p.calls, slices[i]);
        assert_memory_equal(expected, test_state->logits,
                            test_state->vocab_count * sizeof *expected);
        free(expected);
        dw_context_destroy(context);
    }
}

/* A last slice may be short, and its product so: to the bit what a longer one makes, whatever the
 * weights that ggml multiplies. */
static void test_context_last_slices_are_short(void **state)
{
    (void)state;
    static const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};
    static const uint32_t rests[] = {72, 73, 80, 95, 100, 127, 128};
    for (size_t i = 0; i < 3 * sizeof rests / sizeof rests[0]; i++) {
        void *opened = NULL;
        tiny_options options = expert_options(types[i % 3]);
        (void)open_with(&opened, &options);
        model_fixture *f = &((fixture *)opened)->test_state;
        const uint64_t each = dw_model_product_work(f->model);
        if (dw__slice_tokens_max(f->model) != 512 || each == 0) {
            (void)tear_down(&opened);
            skip();
        }
        dw_context *context = model_fixture_context(f, 0);
        dw__step_set_product_work(128 * each);
        assert_int_equal(dw__slice_tokens_max(f->model), 128);
        model_fixture_forward(f, context, 0, 384 + rests[i / 3], rests[i / 3]);
        const size_t bytes = (size_t)rests[i / 3] * f->vocab_count * sizeof(float);
        float *expected = malloc(bytes);
        assert_non_null(expected);
        memcpy(expected, f->logits, bytes);
        assert_int_equal(dw_context_trim(context, 0, NULL), DW_OK);
        memset(f->logits, 0xee, bytes);
        dw__step_set_product_work(1);
        progress p = {.calls = 0};
        const dw_step step = {.tokens = f->tokens,
                              .token_count = 384 + rests[i / 3],
                              .logits = f->logits,
                              .logits_rows = rests[i / 3],
                              .on_progress = on_progress,
                              .user = &p};
        assert_int_equal(model_fixture_try_forward(f, context, &step, NULL), DW_OK);
        dw__step_set_product_work(0);
        assert_int_equal(p.calls, 8); /* six of 64, one more, and the rest */
        assert_memory_equal(f->logits, expected, bytes);
        free(expected);
        dw_context_destroy(context);
        (void)tear_down(&opened);
    }
}

/* A choice is from the step's own logits, wherever these are. */
static void test_context_chooses_from_logits(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    dw_context *context = model_fixture_context(test_state, 0);
    dw_sampler_params greedy = {.struct_bytes = sizeof greedy};
    dw_sampler *sampler = NULL;
    assert_int_equal(dw_sampler_create(&sampler, test_state->vocab_count, &greedy, NULL), DW_OK);
    static const uint32_t lengths[] = {7, 1, 400, 1};
    for (uint32_t i = 0, at = 0; i < 4; at += lengths[i], i++) {
        dw_choice choice = {.sampler = sampler};
        dw_step step = {
            .tokens = test_state->tokens + at, .token_count = lengths[i], .choice = &choice};
        model_fixture_forward(test_state, context, at, lengths[i], 1);
        int32_t expected = logits_argmax(test_state->logits, test_state->vocab_count);
        assert_int_equal(dw_context_trim(context, at, NULL), DW_OK);
        assert_int_equal(model_fixture_try_forward(test_state, context, &step, NULL), DW_OK);
        assert_int_equal(choice.status, DW_OK);
        assert_int_equal(choice.token, expected);
    }
    dw_sampler_destroy(sampler);
    dw_context_destroy(context);
}

static void test_context_counts_prompts_and_decoding(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    dw_context *context = model_fixture_context(test_state, 0);
    model_fixture_forward(test_state, context, 0, 1, 1);
    model_fixture_forward(test_state, context, 1, 40, 0);
    model_fixture_forward(test_state, context, 41, 1, 1);
    model_fixture_forward(test_state, context, 42, 1, 1);
    assert_int_equal(test_state->counters.prompt_tokens, 41);
    assert_int_equal(test_state->counters.decoded_tokens, 2);
    assert_true(test_state->counters.prompt_ns > 0 && test_state->counters.decode_ns > 0);
    dw_context_destroy(context);
}

/* After the first, a decoded token asks our heap for nothing. */
static void test_context_decoding_allocates_nothing(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    dw_context *context = model_fixture_context(test_state, 0);
    dw_error err;
    /* The vocabulary loads beside, and allocates. */
    assert_int_equal(dw_vocab_wait(dw_model_vocab(test_state->model), &err), DW_OK);
    model_fixture_forward(test_state, context, 0, 20, 1);
    model_fixture_forward(test_state, context, 20, 1, 1);
    uint64_t before = dw_alloc_count();
    for (uint32_t i = 21; i < 120; i++) {
        model_fixture_forward(test_state, context, i, 1, 1);
    }
    assert_int_equal(dw_alloc_count(), before);
    dw_context_destroy(context);
}

static void test_context_survives_no_memory(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    for (int64_t n = 0; n < 8; n++) {
        dw_error err = {0};
        dw_context *context = NULL;
        dw_alloc_fail_after(n);
        dw_status status = dw_context_create(&context, test_state->model, NULL, &err);
        if (status == DW_OK) {
            dw_step step = {.tokens = test_state->tokens, .token_count = (uint32_t)(5 + n)};
            status = model_fixture_try_forward(test_state, context, &step, &err);
            assert_int_equal(dw_context_length(context), status == DW_OK ? 5 + n : 0);
        }
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_MEMORY);
        dw_context_destroy(context);
    }
}

/* The device's memory runs out in the first, second, ... graph of a step of several slices: the
 * context holds what it held, the step again gives the same. */
/* All contexts are gone: no step that failed has left anything in the device's memory for logs. */
static void assert_no_logs(dw_device *device)
{
    dw_kv_stats stats = {.struct_bytes = sizeof stats};
    dw_kv_pool_settle(device);
    if (dw_kv_pool_get_stats(device, &stats)) {
        assert_int_equal(stats.context_count, 0);
        assert_int_equal(stats.device_bytes, 0);
        assert_int_equal(stats.host_bytes, 0);
    }
}

static void test_context_survives_a_device_without_memory(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    bool cpu = dw_device_info_of(test_state->device)->kind == DW_DEVICE_CPU;
    if (cpu && dw_device_threads(test_state->device) > 1) {
        skip(); /* its threads would be left waiting for each other */
    }
    dw_context *context = model_fixture_context(test_state, 2000);
    dw_error err = {0};
    model_fixture_forward(test_state, context, 0, 20, 1);
    model_fixture_forward(test_state, context, 20, 1200, 1);
    float *wanted = copy_row(test_state, 0);
    uint32_t failures = 0;
    /* A slice is a graph. */
    uint32_t slices = 1 + (1200 - 1) / dw__slice_tokens_max(test_state->model);
    dw_step step = {.tokens = test_state->tokens + 20,
                    .token_count = 1200,
                    .logits = test_state->logits,
                    .logits_rows = 1};
    for (uint32_t graph = 1;; graph++) {
        assert_int_equal(dw_context_trim(context, 20, &err), DW_OK);
        dw_device_fail_after(test_state->device, graph);
        dw_status status = model_fixture_try_forward(test_state, context, &step, &err);
        dw_device_fail_after(test_state->device, 0);
        if (status == DW_OK) {
            break;
        }
        failures++;
        assert_int_equal(status, DW_E_MEMORY);
        assert_non_null(strstr(err.message, "out of memory"));
        assert_int_equal(dw_context_length(context), 20);
        assert_false(dw_device_lost(test_state->device));
        model_fixture_forward(test_state, context, 20, 1200, 1);
        assert_same_logits(test_state, wanted, test_state->logits);
    }
    free(wanted);
    dw_context_destroy(context);
    assert_true(failures >= slices);
    assert_no_logs(test_state->device);
}

static void test_context_nan_is_refused(void **state)
{
    model_fixture *test_state = &((fixture *)*state)->test_state;
    dw_context *context = model_fixture_context(test_state, 0);
    model_fixture_forward(test_state, context, 0, 5,
                          0); /* no logits are asked for: nothing to refuse */
    dw_step step = {.tokens = test_state->tokens,
                    .token_count = 3,
                    .logits = test_state->logits,
                    .logits_rows = 1};
    refuses(test_state, context, &step, DW_E_NUMERIC, "NaN");
    dw_context_destroy(context);
}

static double cpu_ms(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Between steps nobody computes: the cores are the guests'. Spinning threads would use up as much
 * of the processor as time goes by. */
static void test_context_threads_sleep_between_steps(void **state)
{
    char path[] = "/tmp/dw-idle-XXXXXX";
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_options options = tiny_defaults();
    tiny_model_write(path, &options);
    const char *threads = getenv("DW_TEST_THREADS");
    char *before = threads != NULL ? strdup(threads) : NULL;
    assert_int_equal(setenv("DW_TEST_THREADS", "2", 1), 0);
    model_fixture test_state;
    model_fixture_open(&test_state, path);
    dw_context *context = model_fixture_context(&test_state, 0);
    for (int32_t i = 0; i < 8; i++) {
        test_state.tokens[i] = i;
    }
    model_fixture_forward(&test_state, context, 0, 8, 1);
    double used = cpu_ms();
    struct timespec pause = {0, 300000000};
    (void)nanosleep(&pause, NULL);
    assert_true(cpu_ms() - used < 60.0);
    dw_context_destroy(context);
    model_fixture_close(&test_state);
    if (before != NULL) {
        assert_int_equal(setenv("DW_TEST_THREADS", before, 1), 0);
    } else {
        assert_int_equal(unsetenv("DW_TEST_THREADS"), 0);
    }
    free(before);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_context_slices_equal_one_step, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_rows_over_slices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_trim_and_append_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_contexts_do_not_mix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_bad_steps_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_cancelled_between_slices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_slices_of_large_products, set_up_experts,
                                        tear_down),
        cmocka_unit_test(test_context_last_slices_are_short),
        cmocka_unit_test_setup_teardown(test_context_chooses_from_logits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_counts_prompts_and_decoding, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_context_decoding_allocates_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_survives_no_memory, set_up, tear_down),
        cmocka_unit_test(test_context_threads_sleep_between_steps),
        cmocka_unit_test_setup_teardown(test_context_survives_a_device_without_memory, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_context_nan_is_refused, set_up_nan, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
