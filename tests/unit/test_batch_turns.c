/* Whose batch runs next, counted in given times: batches of fake items, of which none runs. */
#include <string.h>

#include "scheduler/batch_turns.h"
#include "support.h"

#define BATCHES 16
#define ITEMS 128
#define RUN_NS UINT64_C(1000)

typedef struct bench {
    dw__batch_turns turns;
    dw_batch_share shares[ITEMS];
    dw_batch_item items[ITEMS];
    size_t item_count;
    dw_batch batches[BATCHES];
    dw_batch *list[BATCHES];
    size_t count;
    unsigned ran[BATCHES];
} bench;

static bench b;

static int clear(void **state)
{
    (void)state;
    memset(&b, 0, sizeof b);
    for (size_t i = 0; i < ITEMS; i++) {
        b.shares[i].weight = 1;
    }
    return 0;
}

static size_t add_batch(void)
{
    dw_batch_init(&b.batches[b.count], NULL);
    b.list[b.count] = &b.batches[b.count];
    return b.count++;
}

/* A step of the share's waits in the batch, of one token or of a prompt. */
static void add(size_t batch, size_t share, bool is_prompt)
{
    dw_batch_item *item = &b.items[b.item_count++];
    item->share = &b.shares[share];
    dw_batch_queue_put(is_prompt ? &b.batches[batch].prompts : &b.batches[batch].decoding, item);
    b.batches[batch].waiting_count++;
}

static dw_batch *run(uint64_t took_ns)
{
    dw_batch *batch = dw__turns_next(&b.turns, b.list, b.count);
    if (batch != NULL) {
        b.ran[batch - b.batches]++;
        dw__turns_charge(&b.turns, took_ns);
    }
    return batch;
}

static void run_many(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_non_null(run(RUN_NS));
    }
}

static void assert_near(unsigned value, unsigned wanted)
{
    if (value + 2 < wanted || value > wanted + 2) {
        fail_msg("%u runs, %u are due", value, wanted);
    }
}

/* One has steps of eight kinds, the other of one: each has half, and the eight take turns. */
static void test_batch_turns_by_tenants(void **state)
{
    (void)state;
    for (size_t i = 0; i < 9; i++) {
        add(add_batch(), i == 8, false);
    }
    run_many(1600);
    assert_near(b.ran[8], 800);
    for (size_t i = 0; i < 8; i++) {
        assert_near(b.ran[i], 100);
    }
}

static void test_batch_turns_by_weights(void **state)
{
    (void)state;
    b.shares[1].weight = 3;
    for (size_t i = 0; i < 9; i++) {
        add(add_batch(), i == 8, false);
    }
    run_many(1600);
    assert_near(b.ran[8], 1200);
}

/* What counts is time: runs that take longer are fewer. */
static void test_batch_turns_by_time(void **state)
{
    (void)state;
    add(add_batch(), 0, false);
    add(add_batch(), 1, false);
    uint64_t had[2] = {0, 0};
    for (unsigned i = 0; i < 1000; i++) {
        const size_t next = (size_t)(dw__turns_next(&b.turns, b.list, b.count) - b.batches);
        const uint64_t took_ns = next == 0 ? 7 * RUN_NS : RUN_NS;
        dw__turns_charge(&b.turns, took_ns);
        had[next] += took_ns;
    }
    assert_true(had[0] <= had[1] + 7 * RUN_NS && had[1] <= had[0] + 7 * RUN_NS);
}

/* Who waits in another's batch too is not kept from the one that is its own. */
static void test_batch_turns_shared_batch(void **state)
{
    (void)state;
    const size_t common = add_batch();
    const size_t own = add_batch();
    add(common, 0, false);
    add(common, 1, false);
    add(own, 0, false);
    run_many(900);
    assert_true(b.ran[own] >= 290 && b.ran[common] >= 445);
}

/* A hundred share a batch, one has another: that one does not wait for a hundred runs. */
static void test_batch_turns_crowd(void **state)
{
    (void)state;
    const size_t common = add_batch();
    const size_t own = add_batch();
    for (size_t i = 0; i < 100; i++) {
        add(common, i, false);
    }
    add(own, 100, false);
    run_many(1000);
    assert_near(b.ran[common], 500);
    assert_near(b.ran[own], 500);
}

/* Time alone is not paid for later, and time away saves nothing up. */
static void test_batch_turns_save_nothing(void **state)
{
    (void)state;
    const size_t first = add_batch();
    add(first, 0, false);
    run_many(500);
    const size_t second = add_batch();
    add(second, 1, false);
    run_many(100);
    assert_near(b.ran[second], 50);
    dw_batch_item *gone = dw_batch_queue_take(&b.batches[first].decoding);
    b.batches[first].waiting_count = 0;
    const size_t third = add_batch();
    add(third, 2, false);
    run_many(1000);
    dw_batch_queue_put(&b.batches[first].decoding, gone);
    b.batches[first].waiting_count = 1;
    memset(b.ran, 0, sizeof b.ran);
    run_many(300);
    assert_near(b.ran[first], 100);
    assert_null(b.turns.riders);
}

/* Prompts whose runs go in parts: few are under way at once, of one tenant and of all; those go on,
 * and another tenant's decoding does meanwhile. */
static void test_batch_turns_long_runs(void **state)
{
    (void)state;
    static int graph;
    unsigned most = 0;
    for (size_t i = 0; i < 10; i++) {
        add(add_batch(), i % 5, true);
        add(i, i % 5, false);
    }
    const size_t decodes = add_batch();
    add(decodes, 5, false);
    for (unsigned i = 0; i < 2000; i++) {
        dw_batch *batch = run(RUN_NS);
        assert_non_null(batch);
        unsigned amid = 0;
        if (batch->prompts.first != NULL) { /* it begins its run */
            batch->long_run.owners[0] = dw_batch_queue_take(&batch->prompts);
            batch->long_run.count = 1;
            batch->long_run.step.graph = (void *)&graph;
        } else if (dw_batch_is_amid(batch) && b.ran[batch - b.batches] % 7 == 0) { /* it ends */
            batch->long_run.step.graph = NULL;
            dw_batch_queue_put(&batch->prompts, batch->long_run.owners[0]);
        }
        for (size_t k = 0; k < 10; k++) {
            amid += dw_batch_is_amid(&b.batches[k]);
        }
        most = amid > most ? amid : most;
    }
    assert_int_equal(most, 4);
    assert_true(b.ran[decodes] >= 300);
    for (size_t i = 0; i < 10; i++) {
        assert_true(b.ran[i] >= 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_batch_turns_by_tenants, clear),
        cmocka_unit_test_setup(test_batch_turns_by_weights, clear),
        cmocka_unit_test_setup(test_batch_turns_by_time, clear),
        cmocka_unit_test_setup(test_batch_turns_shared_batch, clear),
        cmocka_unit_test_setup(test_batch_turns_crowd, clear),
        cmocka_unit_test_setup(test_batch_turns_save_nothing, clear),
        cmocka_unit_test_setup(test_batch_turns_long_runs, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
