/* Who takes part in runs that cannot take all, counted without any: items of batches alone. */
#include <string.h>

#include "inference/batch.h"
#include "support.h"

#define ITEMS 40

typedef struct crowd {
    dw_batch_share shares[2];
    dw_batch_item items[ITEMS];
    unsigned had[ITEMS];
    dw_batch_queue queue;
    uint64_t pass;
    uint64_t turn;
} crowd;

static void add(crowd *c, size_t i, size_t share, uint8_t priority, uint64_t due_ns)
{
    c->items[i].share = &c->shares[share];
    c->items[i].priority = priority;
    c->items[i].due_ns = due_ns;
    c->items[i].turn = ++c->turn;
    dw_batch_queue_put(&c->queue, &c->items[i]);
}

/* A run with so many places; who had one waits again, behind the others, or with `leaves` not. */
static void run(crowd *c, unsigned places, bool by_deadline, bool leaves)
{
    dw__places given;
    dw_batch_queue again = {NULL, NULL};
    dw__places_open(&given, &c->queue, &c->pass, by_deadline);
    for (unsigned i = 0; i < places; i++) {
        dw_batch_item *item = dw__places_next(&given);
        if (item == NULL) {
            break;
        }
        dw__places_take(&given, 1);
        c->had[item - c->items]++;
        dw_batch_queue_put(&again, item);
    }
    assert_true(places >= ITEMS || dw__places_next(&given) != NULL || again.first == NULL ||
                c->queue.first == NULL);
    dw__places_close(&given, &c->queue);
    for (dw_batch_item *item = c->queue.first; item != NULL && item->next != NULL;
         item = item->next) {
        assert_true(item->turn < item->next->turn);
    }
    for (dw_batch_item *item = dw_batch_queue_take(&again); item != NULL && !leaves;
         item = dw_batch_queue_take(&again)) {
        item->turn = ++c->turn;
        dw_batch_queue_put(&c->queue, item);
    }
}

static unsigned sum(const crowd *c, size_t from, size_t to)
{
    unsigned all = 0;
    for (size_t i = from; i < to; i++) {
        all += c->had[i];
    }
    return all;
}

static crowd crowd_of(uint32_t first, uint32_t second)
{
    return (crowd){.shares = {{.weight = first}, {.weight = second}}};
}

/* Three items of one tenant against 37 of another: places by weight, as far as it can use them. */
static void test_places_by_weight(void **state)
{
    (void)state;
    static crowd c;
    c = crowd_of(300, 100);
    for (size_t i = 0; i < ITEMS; i++) {
        add(&c, i, i >= 8, 1, 0);
    }
    for (int i = 0; i < 100; i++) {
        run(&c, 8, i % 2 == 0, false);
    }
    assert_in_range(sum(&c, 0, 8), 598, 602); /* of 800 */
    for (size_t i = 1; i < ITEMS; i++) {      /* in a tenant all alike */
        size_t as = i < 8 ? 0 : 8;
        assert_in_range(c.had[i] + 1, c.had[as], c.had[as] + 2);
    }
    for (int i = 0; i < 100; i++) {
        run(&c, 36, false, false); /* more than the first can use: the others have the rest */
    }
    assert_in_range(sum(&c, 0, 8), 1398, 1402);
}

static void test_places_by_priority(void **state)
{
    (void)state;
    static crowd c;
    c = crowd_of(100, 100);
    for (size_t i = 0; i < 30; i++) {
        add(&c, i, 0, (uint8_t)(i / 10), 0);
    }
    for (int i = 0; i < 420; i++) {
        run(&c, 5, i % 2 == 0, false);
    }
    assert_in_range(sum(&c, 0, 10), 1596, 1604); /* of 2,100: 16 to 4 to 1 */
    assert_in_range(sum(&c, 10, 20), 396, 404);
    assert_in_range(sum(&c, 20, 30), 96, 104);
}

/* The earliest first, and who has none in turns with those. */
static void test_places_by_deadline(void **state)
{
    (void)state;
    static crowd c;
    c = crowd_of(100, 100);
    for (size_t i = 0; i < 20; i++) {
        add(&c, i, 0, 1, i % 4 == 0 ? 0 : 1000 - i);
    }
    run(&c, 5, true, true);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(c.had[i], i == 19 || i == 18 || i == 17 || i == 15 || i == 14);
    }
    run(&c, 3, false, true); /* by the order in which they came */
    assert_true(c.had[0] == 1 && c.had[1] == 1 && c.had[2] == 1 && c.had[4] == 0);
    run(&c, 1, true, true);
    assert_int_equal(c.had[13], 1);
}

/* One that comes later has not saved up what it did not want. */
static void test_places_nothing_is_saved_up(void **state)
{
    (void)state;
    static crowd c;
    c = crowd_of(100, 100);
    for (size_t i = 0; i < 20; i++) {
        add(&c, i, 0, 1, 0);
    }
    for (int i = 0; i < 1000; i++) {
        run(&c, 10, false, false);
    }
    for (size_t i = 20; i < ITEMS; i++) {
        add(&c, i, 1, 1, 0);
    }
    for (int i = 0; i < 10; i++) {
        run(&c, 10, false, false);
    }
    assert_in_range(sum(&c, 20, ITEMS), 49, 51);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_places_by_weight),
                                       cmocka_unit_test(test_places_by_priority),
                                       cmocka_unit_test(test_places_by_deadline),
                                       cmocka_unit_test(test_places_nothing_is_saved_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
