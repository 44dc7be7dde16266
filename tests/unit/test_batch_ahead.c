/* Runs that begin before the last one's results are looked at: each context gets the tokens, and
 * keeps the records, that it gets where none does, whoever comes, ends, leaves or is stopped
 * meanwhile. On the CPU a run computes as it is launched; DW_TEST_DEVICE: another device.
 * DW_TEST_SEED chooses who does what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "inference/generation.h"
#include "inference/step_flight.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

#define CROWD 24u
#define TOKENS 40u
#define PROMPT_MAX 90u
#define CAPACITY 160u

static char path[64];
static uint64_t seed;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static int set_up(void **state)
{
    static model_fixture fixture;
    const char *given = getenv("DW_TEST_SEED");
    tiny_options options = tiny_defaults();
    options.matrix_type = GGML_TYPE_Q8_0; /* nobody's bits depend on who else is there */
    options.own_output = true;
    seed = given != NULL ? strtoull(given, NULL, 10) : dw_os_clock_ns();
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)snprintf(path, sizeof path, "/tmp/dw-ahead-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, &options);
    model_fixture_open(&fixture, path);
    dw__step_let_fly(true);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    dw__step_let_fly(false);
    model_fixture_close(*state);
    (void)unlink(path);
    return 0;
}

/* Somebody who generates. */
typedef struct talker {
    dw_context *context;
    dw_sampler *sampler;
    dw_generation *generation;
    dw_stop stop;
    int32_t prompt[PROMPT_MAX];
    uint32_t prompt_count;
    uint32_t tokens_max;
    uint32_t capacity;
    float temperature;
    int32_t stop_token; /* -1: none */
    bool ends;          /* at tokens that end a text */
    /* What it got, where the guest's memory would be. */
    int32_t tokens[TOKENS];
    uint32_t count;
    int32_t end;
    int32_t stop_index;
    bool through;
} talker;

static void choose_what(const model_fixture *fixture, talker *t, bool greedy)
{
    *t = (talker){.prompt_count = 1 + next_random(PROMPT_MAX),
                  .tokens_max = 1 + next_random(TOKENS),
                  .capacity = next_random(8) == 0 ? PROMPT_MAX + next_random(20) : CAPACITY,
                  .temperature = greedy || next_random(6) > 0 ? 0.0F : 0.9F,
                  .stop_token = -1};
    for (uint32_t i = 0; i < t->prompt_count; i++) {
        t->prompt[i] = (int32_t)next_random(fixture->vocab_count);
    }
}

static void begin(model_fixture *fixture, talker *t)
{
    dw_error err = {.message = ""};
    const dw_sampler_params params = {.temperature = t->temperature, .seed = t->prompt_count};
    t->count = 0;
    t->through = false;
    t->stop = (dw_stop){.look_ns = UINT64_MAX};
    t->context = model_fixture_context(fixture, t->capacity);
    assert_int_equal(dw_sampler_create(&t->sampler, fixture->vocab_count, &params, &err), DW_OK);
    const dw_generation_options options = {
        .prompt = t->prompt,
        .prompt_count = t->prompt_count,
        .tokens_max = t->tokens_max,
        .flags = t->ends ? 0 : DW_GENERATE_PAST_END,
        .stop_tokens = &t->stop_token,
        .stop_token_count = t->stop_token >= 0 ? 1 : 0,
        .place = {t->tokens, &t->count, &t->end, &t->stop_index},
        .step = {.counters = &fixture->counters, .stop = &t->stop}};
    dw_status status = dw_generation_create(&t->generation, t->context, t->sampler, &options, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
}

static void end(talker *t)
{
    dw_generation_destroy(t->generation);
    dw_sampler_destroy(t->sampler);
    dw_context_destroy(t->context);
}

/* What it gets in a batch where nothing begins ahead. */
static void run_alone(model_fixture *fixture, const talker *like, talker *t)
{
    dw_batch batch;
    *t = *like;
    begin(fixture, t);
    dw_batch_init(&batch, NULL);
    dw_batch_add(&batch, &t->generation->item);
    while (batch.waiting_count > 0) {
        dw_batch_run(&batch);
        while (dw_batch_take(&batch) != NULL) {
            if (dw_generation_take(t->generation)) {
                dw_batch_add(&batch, &t->generation->item);
            }
        }
    }
    dw_generation_end(t->generation);
}

/* One run, and what comes of it; how many are through. */
static uint32_t run_once(dw_batch *batch)
{
    uint32_t through = 0;
    dw_batch_run(batch);
    for (dw_batch_item *item = dw_batch_take(batch); item != NULL; item = dw_batch_take(batch)) {
        if (dw_generation_take(item->user)) {
            dw_batch_add(batch, item);
        } else {
            dw_batch_leave(batch, item);
        }
    }
    for (dw_batch_item *item = dw_batch_take_left(batch); item != NULL;
         item = dw_batch_take_left(batch)) {
        dw_generation *generation = item->user;
        dw_generation_end(generation);
        ((talker *)item->owner)->through = true;
        through++;
    }
    return through;
}

static void join(dw_batch *batch, talker *t)
{
    t->generation->item.owner = t;
    dw_batch_add(batch, &t->generation->item);
}

/* Of `alone`, which went on to its end, `t` has the front, and all where nobody made it leave. */
static void check_same(const model_fixture *fixture, talker *t, talker *alone, bool whole)
{
    uint32_t length = dw_context_length(t->context);
    if (model_fixture_tolerance(fixture, 0) > 0) {
        return; /* docs/numerics.md: other shapes, other bits */
    }
    assert_true(t->count <= alone->count && (!whole || t->count == alone->count));
    assert_memory_equal(t->tokens, alone->tokens, t->count * sizeof(int32_t));
    assert_memory_equal(dw_context_tokens(t->context), dw_context_tokens(alone->context),
                        length * sizeof(int32_t));
    size_t bytes = length * dw_kv_log_record_bytes(dw_context_log(t->context));
    unsigned char *records = malloc(2 * bytes + 1);
    assert_non_null(records);
    assert_int_equal(dw_kv_log_read(dw_context_log(t->context), 0, bytes, records, NULL), DW_OK);
    assert_int_equal(
        dw_kv_log_read(dw_context_log(alone->context), 0, bytes, records + bytes, NULL), DW_OK);
    assert_memory_equal(records, records + bytes, bytes);
    free(records);
    if (whole) {
        assert_int_equal(t->generation->end, alone->generation->end);
        assert_int_equal(t->generation->stop_index, alone->generation->stop_index);
    }
}

/* Where it chooses a token for the first time, when all have begun; 0: nowhere. */
static uint32_t late_token(const talker *alone)
{
    for (uint32_t at = TOKENS / 2; at < alone->generation->token_count; at++) {
        uint32_t first = 0;
        while (alone->tokens[first] != alone->tokens[at]) {
            first++;
        }
        if (first == at) {
            return at;
        }
    }
    return 0;
}

/* Where all are greedy, every run but the first of those that decode begins ahead. */
static void test_ahead_all_greedy(void **state)
{
    model_fixture *fixture = *state;
    static talker talkers[CROWD];
    static talker alone[CROWD];
    dw_batch batch;
    uint32_t through = 0;
    dw_batch_init(&batch, NULL);
    assert_int_equal(dw_batch_look_ahead(&batch, NULL), DW_OK);
    for (uint32_t i = 0; i < CROWD; i++) {
        choose_what(fixture, &talkers[i], true);
        talkers[i].capacity = CAPACITY;
        talkers[i].tokens_max = TOKENS - i % 2;
        run_alone(fixture, &talkers[i], &alone[i]);
        const uint32_t late = i % 3 == 0 ? late_token(&alone[i]) : 0;
        if (late > 0) { /* ends as nobody knows before */
            talkers[i].stop_token = alone[i].tokens[late];
            end(&alone[i]);
            run_alone(fixture, &talkers[i], &alone[i]);
        }
        begin(fixture, &talkers[i]);
        join(&batch, &talkers[i]);
    }
    while (dw_batch_is_busy(&batch)) {
        through += run_once(&batch);
    }
    assert_int_equal(through, CROWD);
    if (model_fixture_tolerance(fixture, 0) == 0) { /* elsewhere others may be stopped at once */
        assert_true(batch.counts.ahead >= TOKENS - 3);
        assert_int_equal(batch.counts.most_sequences, CROWD);
    }
    assert_true(batch.counts.ahead > 0);
    for (uint32_t i = 0; i < CROWD; i++) {
        check_same(fixture, &talkers[i], &alone[i], true);
        end(&alone[i]);
        end(&talkers[i]);
    }
    dw_batch_release(&batch);
}

/* They come whenever they like, some choose by chance, some leave, some are stopped. */
static void test_ahead_any_order(void **state)
{
    model_fixture *fixture = *state;
    static talker talkers[CROWD];
    static talker alone[CROWD];
    bool whole[CROWD];
    uint64_t ahead = 0;
    for (int round = 0; round < 12; round++) {
        dw_batch batch;
        uint32_t joined = 0;
        uint32_t through = 0;
        dw_batch_init(&batch, &(dw_batch_limits){.sequences_max = round % 4 == 3 ? 5 : 0});
        assert_int_equal(dw_batch_look_ahead(&batch, NULL), DW_OK);
        for (uint32_t i = 0; i < CROWD; i++) {
            choose_what(fixture, &talkers[i], round % 2 == 0);
            run_alone(fixture, &talkers[i], &alone[i]);
            if (next_random(3) == 0) {
                talkers[i].stop_token = alone[i].tokens[next_random(alone[i].count)];
                end(&alone[i]);
                run_alone(fixture, &talkers[i], &alone[i]);
            }
            begin(fixture, &talkers[i]);
            whole[i] = true;
        }
        while (through < CROWD) {
            while (joined < CROWD && next_random(4) == 0) {
                join(&batch, &talkers[joined++]);
            }
            uint32_t who = next_random(CROWD);
            if (who < joined && !talkers[who].through && next_random(12) == 0) {
                whole[who] = false;
                if (next_random(2) == 0) {
                    atomic_store(&talkers[who].generation->item.leaves, true);
                } else {
                    dw_stop_cancel(&talkers[who].stop);
                }
            }
            through += run_once(&batch);
        }
        while (dw_batch_is_busy(&batch)) {
            assert_int_equal(run_once(&batch), 0);
        }
        ahead += batch.counts.ahead;
        dw_batch_release(&batch);
        for (uint32_t i = 0; i < CROWD; i++) {
            check_same(fixture, &talkers[i], &alone[i], whole[i]);
            end(&alone[i]);
            end(&talkers[i]);
        }
    }
    assert_true(ahead > 0);
}

/* A device that fails: whoever was in either run is told so, and the batch can be used again. */
/* Who reads the count before the end is told does not take the token that ends it for text. */
static void test_ahead_counts_what_ends_it_with_the_end(void **state)
{
    model_fixture *fixture = *state;
    const int32_t end_token = dw_vocab_eos(dw_model_vocab(fixture->model));
    const dw_logit_bias bias = {end_token, 1000.0F};
    talker t;
    dw_batch batch;
    assert_true(end_token >= 0);
    choose_what(fixture, &t, true);
    t.ends = true;
    t.tokens_max = 4;
    t.capacity = CAPACITY;
    begin(fixture, &t);
    assert_int_equal(dw_sampler_set_biases(t.sampler, &bias, 1, NULL), DW_OK);
    dw_batch_init(&batch, NULL);
    dw_batch_add(&batch, &t.generation->item);
    dw_batch_run(&batch);
    assert_non_null(dw_batch_take(&batch));
    assert_false(dw_generation_take(t.generation));
    assert_int_equal(t.count, 0);
    assert_int_equal(t.end, DW_GENERATE_GOES_ON);
    assert_false(
        dw_generation_has_come(t.generation)); /* who asks now is told of none, and waits */
    assert_int_equal(dw_generation_tell(t.generation), 0);
    dw_generation_end(t.generation);
    assert_true(dw_generation_wakes(t.generation));
    assert_int_equal(dw_generation_tell(t.generation), 1);
    dw_generation_tell_end(t.generation);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.tokens[0], end_token);
    assert_int_equal(t.end, DW_GENERATE_END_TOKEN);
    end(&t);
}

static void test_ahead_of_a_failure(void **state)
{
    model_fixture *fixture = *state;
    talker talkers[4];
    dw_batch batch;
    if (model_fixture_tolerance(fixture, 0) > 0) {
        skip(); /* a failure is made there by other tests */
    }
    for (uint32_t fails_after = 1; fails_after < 8; fails_after++) {
        dw_batch_init(&batch, NULL);
        assert_int_equal(dw_batch_look_ahead(&batch, NULL), DW_OK);
        for (uint32_t i = 0; i < 4; i++) {
            choose_what(fixture, &talkers[i], true);
            talkers[i].prompt_count = 1;
            talkers[i].tokens_max = TOKENS;
            talkers[i].capacity = CAPACITY;
            begin(fixture, &talkers[i]);
            join(&batch, &talkers[i]);
        }
        dw_device_fail_after(fixture->device, fails_after);
        while (dw_batch_is_busy(&batch)) {
            (void)run_once(&batch);
        }
        dw_device_fail_after(fixture->device, 0);
        for (uint32_t i = 0; i < 4; i++) {
            bool failed = talkers[i].generation->end == DW_E_MEMORY;
            assert_true(talkers[i].through);
            assert_true(failed || talkers[i].count == TOKENS);
            assert_int_equal(dw_context_length(talkers[i].context), talkers[i].count);
            end(&talkers[i]);
        }
        dw_batch_release(&batch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ahead_all_greedy),
        cmocka_unit_test(test_ahead_any_order),
        cmocka_unit_test(test_ahead_counts_what_ends_it_with_the_end),
        cmocka_unit_test(test_ahead_of_a_failure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
