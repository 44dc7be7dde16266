/* Runs in parts on the CPU: the same numbers as whole ones, to the bit, and the same records;
 * nobody is longer in anybody's way than one part; who is ended in the middle leaves no trace.
 * DW_TEST_SEED chooses where runs are cut. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inference/batch.h"
#include "inference/embeddings.h"
#include "inference/step_parts.h"
#include "kv/kv_log.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

#define WHOLE (UINT64_MAX / 2)
#define MEMBERS 4u
#define SMALL ((uint64_t)1 << 22)

static uint64_t seed;
static bool is_short; /* fewer of what makes no difference to most */

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void open_model(model_fixture *fixture, const tiny_options *options)
{
    char path[] = "/tmp/dw-parts-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, options);
    model_fixture_open(fixture, path);
    (void)unlink(path);
    for (uint32_t i = 0; i < FIXTURE_TOKENS; i++) {
        fixture->tokens[i] = (int32_t)((i * i * 31 + i * 17) % fixture->vocab_count);
    }
}

static bool is_on_cpu(const model_fixture *fixture)
{
    return dw_device_info_of(dw_model_device(fixture->model))->kind == DW_DEVICE_CPU;
}

/* Blocks of 256 fit, and there are heads enough to be cut by. */
static tiny_options options_of(const tiny_architecture *kind, enum ggml_type type)
{
    tiny_options options = tiny_defaults();
    if (kind != NULL) {
        options = tiny_options_of(kind, type);
    } else {
        options.embedding_length = 256;
        options.head_count = 4;
        options.kv_head_count = 2;
        options.head_dim = 64;
        options.ff_length = 512;
    }
    options.matrix_type = type;
    options.context_length = FIXTURE_TOKENS;
    return options;
}

/* ---- alone ----------------------------------------------------------------------------------- */

/* What a context holds and gives: its records, and rows of logits. */
typedef struct outcome {
    unsigned char *bytes;
    size_t count;
} outcome;

static outcome outcome_of(const model_fixture *fixture, dw_context *context, uint32_t rows)
{
    const dw_kv_log *log = dw_context_log(context);
    const size_t records =
        dw_kv_log_length(log) *
        dw_model_kv_layout(dw_model_shape_of(fixture->model), fixture->kv_type).record_bytes;
    const size_t logits = (size_t)rows * fixture->vocab_count * sizeof(float);
    outcome made = {.bytes = malloc(records + logits), .count = records + logits};
    assert_non_null(made.bytes);
    memcpy(made.bytes, dw_kv_log_base(log), records);
    memcpy(made.bytes + records, fixture->logits, logits);
    return made;
}

static outcome forward(model_fixture *fixture, uint32_t past, uint32_t count, uint32_t rows,
                       uint64_t work)
{
    dw_context *context = model_fixture_context(fixture, FIXTURE_TOKENS);
    dw__step_set_part_work(WHOLE);
    if (past > 0) {
        model_fixture_forward(fixture, context, 0, past, 0);
    }
    dw__step_set_part_work(work);
    memset(fixture->logits, 0xee, (size_t)rows * fixture->vocab_count * sizeof(float));
    model_fixture_forward(fixture, context, past, count, rows);
    dw__step_set_part_work(0);
    outcome made = outcome_of(fixture, context, rows);
    dw_context_destroy(context);
    return made;
}

static void same_alone(model_fixture *fixture, const char *what)
{
    static const struct {
        uint32_t past;
        uint32_t count;
        uint32_t rows;
    } steps[] = {{0, 2, 1},    {0, 63, 1},    {0, 127, 127}, {0, 200, 1},
                 {0, 384, 3},  {0, 385, 1},   {300, 17, 1},  {300, 129, 5},
                 {900, 80, 0}, {5, 700, 300}, {383, 64, 64}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (is_short && SANITIZED && steps[i].count > 200) {
            continue;
        }
        outcome whole = forward(fixture, steps[i].past, steps[i].count, steps[i].rows, WHOLE);
        for (int round = 0; round < (is_short ? 1 : 2); round++) {
            const uint64_t work = (uint64_t)1 << (12 + next_random(14));
            outcome cut = forward(fixture, steps[i].past, steps[i].count, steps[i].rows, work);
            if (memcmp(whole.bytes, cut.bytes, whole.count) != 0) {
                fail_msg("%s: %u tokens behind %u, in parts of %llu", what, steps[i].count,
                         steps[i].past, (unsigned long long)work);
            }
            free(cut.bytes);
        }
        free(whole.bytes);
    }
}

/* Weights that ggml multiplies, that our kernels do, and blocks of both kinds. */
static const enum ggml_type types[] = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16,
                                       GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K};
#define TYPES (sizeof types / sizeof types[0])

/* Where there is little time, with sanitizers, one of each: ggml's and ours. */
static size_t type_step(void)
{
    return is_short && SANITIZED ? 3 : 1;
}

static void test_parts_of_a_prompt_are_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPES; i += type_step()) {
        model_fixture fixture;
        const tiny_options options = options_of(NULL, types[i]);
        open_model(&fixture, &options);
        if (!is_on_cpu(&fixture)) {
            model_fixture_close(&fixture);
            skip();
        }
        same_alone(&fixture, ggml_type_name(types[i]));
        fixture.kv_type = DW_KV_Q8_0;
        if (!is_short || types[i] == GGML_TYPE_Q8_0) {
            same_alone(&fixture, ggml_type_name(types[i]));
        }
        model_fixture_close(&fixture);
    }
}

/* Experts, windows, caps, norms and biases: whatever a graph may hold. */
static void test_parts_of_each_architecture_are_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny_kind_count; i++) {
        model_fixture fixture;
        const tiny_options options =
            options_of(&tiny_kinds[i], i % 2 == 0 ? GGML_TYPE_F32 : GGML_TYPE_Q8_0);
        if (tiny_kinds[i].encoder || (is_short && i % 6 != 0 && tiny_kinds[i].expert_count == 0)) {
            continue;
        }
        open_model(&fixture, &options);
        if (!is_on_cpu(&fixture)) {
            model_fixture_close(&fixture);
            skip();
        }
        same_alone(&fixture, tiny_kinds[i].name);
        model_fixture_close(&fixture);
    }
}

/* ---- several --------------------------------------------------------------------------------- */

typedef struct together {
    model_fixture *fixture;
    dw_context *contexts[MEMBERS];
    dw_batch_item items[MEMBERS];
    dw_stop stops[MEMBERS];
    dw_batch batch;
} together;

static const uint32_t lengths[MEMBERS] = {130, 1, 200, 90};
static const uint32_t wanted[MEMBERS] = {130, 1, 1, 0};

static uint32_t first_of(const uint32_t *counts, uint32_t member)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < member; i++) {
        first += counts[i];
    }
    return first;
}

static dw_batch_item item_of(model_fixture *fixture, dw_context *context, uint32_t member)
{
    float *rows = fixture->logits + (size_t)first_of(wanted, member) * fixture->vocab_count;
    return (dw_batch_item){.context = context,
                           .step = {.view = fixture->view,
                                    .tokens = fixture->tokens + first_of(lengths, member),
                                    .token_count = lengths[member],
                                    .logits = wanted[member] > 0 ? rows : NULL,
                                    .logits_rows = wanted[member],
                                    .counters = &fixture->counters}};
}

/* All wait, the last one behind 600 others' tokens. */
static void open_together(together *t, model_fixture *fixture)
{
    memset(t, 0, sizeof *t);
    t->fixture = fixture;
    dw_batch_init(&t->batch, NULL);
    memset(fixture->logits, 0, (size_t)FIXTURE_ROWS / 4 * fixture->vocab_count * sizeof(float));
    for (uint32_t i = 0; i < MEMBERS; i++) {
        t->contexts[i] = model_fixture_context(fixture, FIXTURE_TOKENS);
        if (i + 1 == MEMBERS) {
            model_fixture_forward(fixture, t->contexts[i], 0, 600, 0);
        }
        t->items[i] = item_of(fixture, t->contexts[i], i);
        t->stops[i] = (dw_stop){.look_ns = UINT64_MAX};
        t->items[i].step.stop = &t->stops[i];
        dw_batch_add(&t->batch, &t->items[i]);
    }
}

static void close_together(together *t)
{
    for (uint32_t i = 0; i < MEMBERS; i++) {
        dw_context_destroy(t->contexts[i]);
    }
}

static outcome of_member(const together *t, uint32_t member)
{
    model_fixture at = *t->fixture;
    at.logits += (size_t)first_of(wanted, member) * at.vocab_count;
    return outcome_of(&at, t->contexts[member], wanted[member]);
}

static void run_to_end(together *t)
{
    while (t->batch.waiting_count > 0) {
        dw_batch_run(&t->batch);
    }
    while (dw_batch_take(&t->batch) != NULL) {}
}

/* Members [MEMBERS], as they are of one run at once. */
static void expect(model_fixture *fixture, outcome *expected)
{
    together t;
    dw__step_set_part_work(WHOLE);
    open_together(&t, fixture);
    run_to_end(&t);
    assert_int_equal(t.batch.counts.parts, 0);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_int_equal(t.items[i].status, DW_OK);
        expected[i] = of_member(&t, i);
    }
    close_together(&t);
    dw__step_set_part_work(0);
}

static void assert_member(const together *t, const outcome *expected, uint32_t member)
{
    outcome made = of_member(t, member);
    assert_int_equal(t->items[member].status, DW_OK);
    assert_int_equal(made.count, expected[member].count);
    assert_memory_equal(made.bytes, expected[member].bytes, made.count);
    free(made.bytes);
}

/* One is ended when `parts` are done; all that was its own is gone at once, and the rest of the run
 * is what it is without that. The one that left begins again, as if it had not begun before. */
static void leave_after(model_fixture *fixture, const outcome *expected, uint32_t member,
                        uint64_t parts, bool same_in_company)
{
    together t;
    bool left = false;
    dw__step_set_part_work(WHOLE);
    open_together(&t, fixture);
    dw__step_set_part_work(SMALL);
    const uint32_t before = t.items[member].before;
    while (t.batch.waiting_count > 0 && t.batch.counts.parts < parts) {
        dw_batch_run(&t.batch);
    }
    const bool amid = dw_batch_is_amid(&t.batch);
    dw_stop_cancel(&t.stops[member]);
    dw_batch_drop_stopped(&t.batch);
    if (amid) {
        left = true;
        assert_ptr_equal(dw_batch_take(&t.batch), &t.items[member]);
        assert_int_equal(t.items[member].status, DW_E_CANCELLED);
        assert_int_equal(dw_context_length(t.contexts[member]), before);
        const size_t row = (size_t)first_of(wanted, member) * fixture->vocab_count;
        const size_t bytes = (size_t)wanted[member] * fixture->vocab_count * sizeof(float);
        memset(&t.items[member], 0xee, sizeof t.items[member]);
        memset(fixture->tokens + first_of(lengths, member), 0xee, lengths[member] * 4);
        memset(fixture->logits + row, 0xee, bytes);
        const bool again = member + 1 == MEMBERS;
        if (!again) {
            dw_context_destroy(t.contexts[member]);
        }
        run_to_end(&t);
        for (size_t i = 0; i < bytes; i++) {
            assert_int_equal(((unsigned char *)(fixture->logits + row))[i], 0xee);
        }
        for (uint32_t i = 0; i < lengths[member]; i++) {
            const uint32_t at = first_of(lengths, member) + i;
            fixture->tokens[at] = (int32_t)((at * at * 31 + at * 17) % fixture->vocab_count);
        }
        if (!again) {
            t.contexts[member] = model_fixture_context(fixture, FIXTURE_TOKENS);
        }
        t.items[member] = item_of(fixture, t.contexts[member], member);
        dw_batch_add(&t.batch, &t.items[member]);
        run_to_end(&t);
    } else {
        run_to_end(&t);
    }
    dw__step_set_part_work(0);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        if (i != member || !left || same_in_company) {
            assert_member(&t, expected, i);
        }
    }
    close_together(&t);
}

static void test_parts_of_several_are_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPES; i += type_step()) {
        model_fixture fixture;
        outcome expected[MEMBERS];
        tiny_options options = options_of(NULL, types[i]);
        options.layer_count = 2;
        open_model(&fixture, &options);
        if (!is_on_cpu(&fixture)) {
            model_fixture_close(&fixture);
            skip();
        }
        expect(&fixture, expected);
        const bool same = types[i] == GGML_TYPE_Q8_0; /* alone and in company: docs/numerics.md */
        leave_after(&fixture, expected, 0, UINT64_MAX, same); /* nobody does */
        uint64_t parts = 1;
        for (uint32_t round = 0; round < (is_short ? MEMBERS : 12); round++) {
            leave_after(&fixture, expected, round % MEMBERS, parts, same);
            parts += 1 + next_random(8);
        }
        for (uint32_t m = 0; m < MEMBERS; m++) {
            free(expected[m].bytes);
        }
        model_fixture_close(&fixture);
    }
}

/* With the last of them a run is over, and what it had is free for others. */
static void test_parts_end_when_all_have_left(void **state)
{
    (void)state;
    model_fixture fixture;
    const tiny_options options = options_of(NULL, GGML_TYPE_Q8_0);
    open_model(&fixture, &options);
    if (!is_on_cpu(&fixture)) {
        model_fixture_close(&fixture);
        skip();
    }
    for (int round = 0; round < 40; round++) { /* more than there are places for graphs */
        together t;
        dw__step_set_part_work(WHOLE);
        open_together(&t, &fixture);
        dw__step_set_part_work(SMALL);
        dw_batch_run(&t.batch);
        assert_true(dw_batch_is_amid(&t.batch));
        assert_int_equal(t.batch.waiting_count, MEMBERS);
        for (uint32_t i = 0; i < MEMBERS; i++) {
            dw_stop_cancel(&t.stops[i]);
        }
        dw_batch_run(&t.batch);
        assert_false(dw_batch_is_amid(&t.batch));
        assert_int_equal(t.batch.waiting_count, 0);
        for (uint32_t i = 0; i < MEMBERS; i++) {
            assert_non_null(dw_batch_take(&t.batch));
            assert_int_equal(t.items[i].status, DW_E_CANCELLED);
            assert_int_equal(dw_context_length(t.contexts[i]), t.items[i].before);
        }
        close_together(&t);
    }
    dw__step_set_part_work(0);
    model_fixture_close(&fixture);
}

/* ---- who is in the way ----------------------------------------------------------------------- */

/* One who decodes comes when a long prompt is under way: for each of his tokens there is one part
 * of the prompt's at most between his asking and his run, and no part is larger than it may be. */
static void test_parts_let_others_decode(void **state)
{
    (void)state;
    model_fixture fixture;
    const tiny_options options = options_of(NULL, GGML_TYPE_Q8_0);
    open_model(&fixture, &options);
    if (!is_on_cpu(&fixture)) {
        model_fixture_close(&fixture);
        skip();
    }
    dw_batch batch;
    dw_batch_init(&batch, NULL);
    dw_context *prompts = model_fixture_context(&fixture, 0);
    dw_context *decodes = model_fixture_context(&fixture, 0);
    dw_batch_item prompt = {.context = prompts,
                            .step = {.view = fixture.view,
                                     .tokens = fixture.tokens,
                                     .token_count = 512,
                                     .logits = fixture.logits,
                                     .logits_rows = 1,
                                     .counters = &fixture.counters}};
    dw_batch_item token = prompt;
    token.context = decodes;
    token.step.token_count = 1;
    token.step.logits += fixture.vocab_count;
    dw__step_set_part_work(SMALL);
    (void)dw__step_take_most_work();
    dw_batch_add(&batch, &prompt);
    dw_batch_run(&batch);
    uint32_t tokens = 0;
    while (dw_batch_is_amid(&batch)) {
        batch.owed_ns = 0; /* it is not time that is counted */
        const uint64_t parts = batch.counts.parts;
        dw_batch_add(&batch, &token);
        while (dw_batch_take(&batch) != &token) {
            dw_batch_run(&batch);
        }
        assert_int_equal(token.status, DW_OK);
        assert_int_equal(prompt.done, 0);
        assert_true(batch.counts.parts - parts <= 1);
        tokens++;
        if (dw_batch_is_amid(&batch)) {
            dw_batch_run(&batch);
        }
    }
    print_message("%u tokens of another in %llu parts of a prompt\n", tokens,
                  (unsigned long long)batch.counts.parts);
    assert_int_equal(prompt.status, DW_OK);
    assert_int_equal(prompt.done, 512);
    assert_true(tokens >= batch.counts.parts - 1 && tokens > 50);
    assert_true(dw__step_take_most_work() <=
                2 * SMALL * (uint64_t)dw_device_threads(fixture.device));
    dw__step_set_part_work(0);
    dw_context_destroy(decodes);
    dw_context_destroy(prompts);
    model_fixture_close(&fixture);
}

/* What it owes is paid in parts: a prompt gets on however much others decode. */
static void test_parts_get_on_beside_decoding(void **state)
{
    (void)state;
    model_fixture fixture;
    const tiny_options options = options_of(NULL, GGML_TYPE_Q8_0);
    open_model(&fixture, &options);
    if (!is_on_cpu(&fixture)) {
        model_fixture_close(&fixture);
        skip();
    }
    together t;
    dw__step_set_part_work(WHOLE);
    open_together(&t, &fixture);
    dw__step_set_part_work(SMALL);
    dw_context *decodes = model_fixture_context(&fixture, 0);
    dw_batch_item token = item_of(&fixture, decodes, 1);
    dw_batch_run(&t.batch);
    assert_true(dw_batch_is_amid(&t.batch));
    t.batch.owed_ns = UINT64_MAX;
    dw_batch_add(&t.batch, &token);
    const uint64_t parts = t.batch.counts.parts;
    for (uint64_t i = 1; i <= 10; i++) {
        t.batch.owed_ns = UINT64_MAX;
        dw_batch_run(&t.batch);
        assert_int_equal(t.batch.counts.parts, parts + i);
        assert_int_equal(t.batch.counts.runs, 0);
    }
    run_to_end(&t);
    assert_int_equal(token.status, DW_OK);
    dw__step_set_part_work(0);
    dw_context_destroy(decodes);
    close_together(&t);
    model_fixture_close(&fixture);
}

/* ---- ended in the middle --------------------------------------------------------------------- */

typedef struct ending {
    dw_stop stop;
    uint32_t after_us;
} ending;

static void *end_it(void *user)
{
    ending *e = user;
    (void)usleep(e->after_us);
    dw_stop_cancel(&e->stop);
    return NULL;
}

static dw_status forward_ended(model_fixture *fixture, dw_context *context, uint32_t past,
                               uint32_t after_us)
{
    pthread_t thread;
    ending e = {.stop = {.look_ns = UINT64_MAX}, .after_us = after_us};
    const dw_step step = {.tokens = fixture->tokens + past,
                          .token_count = 200,
                          .logits = fixture->logits,
                          .logits_rows = 2,
                          .stop = &e.stop};
    assert_int_equal(pthread_create(&thread, NULL, end_it, &e), 0);
    dw_status status = model_fixture_try_forward(fixture, context, &step, NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return status;
}

/* Alone, a prompt is ended in the middle of a slice: the context is what it was, and gives what
 * it gives without that. */
static void test_parts_ended_leave_no_trace(void **state)
{
    (void)state;
    for (uint32_t past = 100; past <= 600; past += 500) { /* ggml's attention, and ours */
        model_fixture fixture;
        const tiny_options options = options_of(NULL, GGML_TYPE_F32);
        open_model(&fixture, &options);
        if (!is_on_cpu(&fixture)) {
            model_fixture_close(&fixture);
            skip();
        }
        outcome expected = forward(&fixture, past, 200, 2, WHOLE);
        dw_context *context = model_fixture_context(&fixture, FIXTURE_TOKENS);
        model_fixture_forward(&fixture, context, 0, past, 0);
        dw__step_set_part_work(SMALL);
        uint32_t ended = 0;
        for (uint32_t i = 0; i < 30; i++) {
            dw_status status =
                forward_ended(&fixture, context, past, i % 2 == 0 ? 10 : next_random(20000));
            ended += status == DW_E_CANCELLED;
            assert_int_equal(dw_context_length(context), past + (status == DW_OK ? 200 : 0));
            assert_int_equal(dw_context_trim(context, past, NULL), DW_OK);
        }
        assert_true(ended > 0);
        model_fixture_forward(&fixture, context, past, 200, 2);
        dw__step_set_part_work(0);
        outcome made = outcome_of(&fixture, context, 2);
        assert_int_equal(made.count, expected.count);
        assert_memory_equal(made.bytes, expected.bytes, made.count);
        print_message("ended %u times behind %u tokens\n", ended, past);
        free(made.bytes);
        free(expected.bytes);
        dw_context_destroy(context);
        model_fixture_close(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_of_a_prompt_are_the_same),
        cmocka_unit_test(test_parts_of_each_architecture_are_the_same),
        cmocka_unit_test(test_parts_of_several_are_the_same),
        cmocka_unit_test(test_parts_end_when_all_have_left),
        cmocka_unit_test(test_parts_let_others_decode),
        cmocka_unit_test(test_parts_get_on_beside_decoding),
        cmocka_unit_test(test_parts_ended_leave_no_trace),
    };
    const char *given = getenv("DW_TEST_SEED");
    seed = given != NULL ? (uint64_t)strtoull(given, NULL, 10) : (uint64_t)getpid();
    is_short = getenv("DW_TEST_SHORT") != NULL;
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
