/* KV logs that nobody has for now, kept in device memory while there is room (kv/kv_kept.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "kv/kv_kept.h"
#include "kv_model_check.h"
#include "support.h"

#define ALL 500u /* records of a log, unless a test says otherwise */

static dw_kv_key key_of(const char *owner, int32_t number)
{
    static const int model;
    dw_kv_key key = {.state = "00112233445566778899aabbccddeeff", .number = number};
    (void)snprintf(key.owner, sizeof key.owner, "%s", owner);
    key.model = &model;
    return key;
}

/* A device with one log of `ALL` records, and others of as many on request; a step of records is
 * one allocation. */
static kv_check opened(uint64_t limit_units)
{
    size_t unit = kv_check_granularity();
    dw_kv_pool_options options = kv_check_pool(limit_units * unit, true);
    kv_check t = kv_check_with_log(&options, unit / DW_KV_STEP_TOKENS, ALL, true);
    dw_kv_kept_limit(t.device, UINT64_MAX);
    return t;
}

static reference *add_log(kv_check *t)
{
    dw_kv_log_options log = kv_check_log_options(t, false);
    reference *r = kv_check_add(t);
    assert_int_equal(dw_kv_log_create(&r->log, t->device, &log, NULL), DW_OK);
    kv_check_fill(t, r->bytes, ALL * t->record_bytes);
    assert_int_equal(dw_kv_log_append(r->log, r->bytes, ALL, NULL), DW_OK);
    r->length = ALL;
    return r;
}

static void keep(reference *r, const dw_kv_key *key)
{
    dw_kv_log_begin_saving(r->log);
    dw_kv_log_end_saving(r->log, true);
    dw_kv_log_keep(r->log, key);
    r->log = NULL;
}

static bool find(kv_check *t, reference *r, const dw_kv_key *key)
{
    dw_kv_log_options options = kv_check_log_options(t, false);
    dw_error err = {0};
    assert_null(r->log);
    assert_int_equal(dw_kv_log_find_kept(&r->log, t->device, &options, key, r->length, &err),
                     DW_OK);
    return r->log != NULL;
}

/* As it was, at its address, and able to go on; in between it is no context's. */
static void test_kv_kept_comes_back(void **state)
{
    (void)state;
    kv_check t = opened(0);
    reference *r = &t.logs[0];
    dw_kv_key key = key_of("an owner", 65537);
    const void *base = dw_kv_log_base(r->log);
    uint64_t bytes = kv_check_stats(t.device).device_bytes;
    keep(r, &key);
    dw_kv_stats stats = kv_check_stats(t.device);
    assert_int_equal(stats.context_count, 0);
    assert_int_equal(stats.kept_count, 1);
    assert_int_equal(stats.kept_bytes, 2 * kv_check_granularity());
    assert_int_equal(stats.device_bytes, bytes);
    assert_true(find(&t, r, &key));
    assert_ptr_equal(dw_kv_log_base(r->log), base);
    assert_int_equal(dw_kv_log_saved_bytes(r->log), ALL * t.record_bytes);
    kv_check_check(&t, r);
    stats = kv_check_stats(t.device);
    assert_int_equal(stats.context_count, 1);
    assert_int_equal(stats.kept_count + stats.kept_bytes + stats.kept_lost_count, 0);
    assert_int_equal(stats.kept_found_count, 1);
    for (int i = 0; i < 20; i++) {
        kv_check_append(&t, r);
        kv_check_check(&t, r);
    }
    assert_int_equal(stats.restored_bytes, 0);
    kv_check_end(&t);
}

/* Each part of the key tells two apart, and so do length and options; what does not fit goes. */
static void test_kv_kept_is_found_by_all_of_its_key(void **state)
{
    (void)state;
    kv_check t = opened(0);
    reference *r = &t.logs[0];
    const dw_kv_key key = key_of("an owner", 1);
    dw_kv_key others[] = {key, key, key, key, key};
    memcpy(others[0].owner, "another", sizeof "another");
    others[1].state[0] = 'f';
    others[2].number = 2;
    others[3].model = &t;
    others[4].home = &t;
    keep(r, &key);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(find(&t, r, &others[i]));
    }
    assert_true(find(&t, r, &key));
    keep(r, &key);
    r->length = ALL - 1;
    assert_false(find(&t, r, &key));
    r->length = ALL;
    assert_false(find(&t, r, &key)); /* it is gone */
    assert_int_equal(kv_check_stats(t.device).kept_count, 0);
    kv_check_drop(&t, r);
    dw_kv_log_options options = kv_check_log_options(&t, false);
    options.capacity_tokens--;
    for (int i = 0; i < 2; i++) {
        dw_kv_log *log = NULL;
        r = add_log(&t);
        keep(r, &key);
        assert_int_equal(dw_kv_log_find_kept(&log, t.device, &options, &key, ALL, NULL), DW_OK);
        assert_null(log);
        assert_false(find(&t, r, &key));
        kv_check_drop(&t, r);
        options.capacity_tokens++;
        options.record_bytes /= 2;
    }
    kv_check_end(&t);
}

/* What its owner has not written whole may be another than the one that is asked for. */
static void test_kv_kept_is_what_was_saved(void **state)
{
    (void)state;
    kv_check t = opened(0);
    reference *r = &t.logs[0];
    dw_kv_key key = key_of("an owner", 1);
    dw_kv_log_keep(r->log, &key); /* nothing of it is */
    r->log = NULL;
    assert_false(find(&t, r, &key));
    kv_check_drop(&t, r);
    r = add_log(&t);
    dw_kv_log_begin_saving(r->log);
    dw_kv_log_end_saving(r->log, true);
    dw_kv_log_trim(r->log, ALL - 1);
    assert_int_equal(dw_kv_log_append(r->log, r->bytes, 1, NULL), DW_OK); /* as long as it was */
    dw_kv_log_keep(r->log, &key);
    r->log = NULL;
    assert_false(find(&t, r, &key));
    assert_int_equal(kv_check_stats(t.device).kept_found_count, 0);
    kv_check_drop(&t, r);
    kv_check_end(&t);
}

/* Whoever wants room has it, the longest kept first, without a byte on the bus; those in use do not
 * leave for it. */
static void test_kv_kept_goes_first(void **state)
{
    (void)state;
    kv_check t = opened(8); /* four logs of two allocations */
    (void)add_log(&t);
    (void)add_log(&t);
    (void)add_log(&t);
    const dw_kv_key keys[] = {key_of("a", 1), key_of("b", 1)};
    keep(&t.logs[1], &keys[1]);
    keep(&t.logs[0], &keys[0]);
    reference *fresh = add_log(&t);
    assert_false(find(&t, &t.logs[1], &keys[1]));
    assert_true(find(&t, &t.logs[0], &keys[0]));
    dw_kv_stats stats = kv_check_stats(t.device);
    assert_int_equal(stats.kept_lost_count, 1);
    assert_int_equal(stats.eviction_count + stats.evicted_bytes, 0);
    keep(&t.logs[0], &keys[0]);
    assert_int_equal(dw_kv_pool_limit(t.device, 6 * kv_check_granularity(), NULL), DW_OK);
    assert_int_equal(kv_check_stats(t.device).kept_count, 0);
    assert_false(find(&t, &t.logs[0], &keys[0]));
    kv_check_check(&t, fresh);
    kv_check_check(&t, &t.logs[2]);
    kv_check_drop(&t, &t.logs[1]);
    kv_check_drop(&t, &t.logs[0]);
    kv_check_end(&t);
}

/* Others than logs that want the device's memory. */
static void test_kv_kept_goes_for_others(void **state)
{
    (void)state;
    kv_check t = opened(0);
    const dw_kv_key key = key_of("a", 1);
    dw_device_extra extra = *dw_device_lock_extra(t.device);
    dw_device_unlock_extra(t.device);
    keep(&t.logs[0], &key);
    assert_true(extra.relieve(extra.object));
    assert_int_equal(kv_check_stats(t.device).device_bytes, 0);
    assert_false(extra.relieve(extra.object));
    assert_false(find(&t, &t.logs[0], &key));
    kv_check_end(&t);
}

/* Also when it is contexts in use that grow: what is kept leaves others their share of the device's
 * memory, as long as there is any. */
static void test_kv_kept_leaves_others_their_share(void **state)
{
    enum { UNITS = 32, SHARE = 16, KEPT = 4 };
    (void)state;
    if (strcmp(kv_check_device_name(), "CPU") != 0) {
        skip(); /* a card has as much as it has */
    }
    const size_t unit = kv_check_granularity();
    dw_kv_pool_options options = kv_check_pool(0, true);
    options.emulation.memory_bytes = UNITS * unit;
    kv_check t = kv_check_with_log(&options, unit / DW_KV_STEP_TOKENS, ALL, true);
    dw_kv_kept_limit(t.device, UINT64_MAX);
    for (int32_t i = 0; i < KEPT; i++) {
        dw_kv_key key = key_of("a", i);
        reference *r = add_log(&t);
        keep(r, &key);
        kv_check_drop(&t, r);
    }
    assert_int_equal(kv_check_stats(t.device).kept_count, KEPT);
    bool gave = false;
    while (t.count < LOGS_MAX) {
        (void)add_log(&t);
        size_t left = 0;
        size_t all = 0;
        dw_vram_memory(dw_kv_pool_vram(t.device), &left, &all);
        const uint64_t kept = kv_check_stats(t.device).kept_count;
        assert_int_equal(all, UNITS * unit);
        assert_true(kept == 0 || left >= all / SHARE);
        gave = gave || kept < KEPT;
    }
    assert_true(gave);
    assert_int_equal(kv_check_stats(t.device).eviction_count, 0);
    kv_check_end(&t);
}

/* Addresses are short as well: each has those of all that its context might hold. */
static void test_kv_kept_gives_up_addresses(void **state)
{
    (void)state;
    kv_check t = opened(0);
    const dw_kv_key keys[] = {key_of("a", 1), key_of("b", 1)};
    (void)add_log(&t);
    keep(&t.logs[0], &keys[0]);
    keep(&t.logs[1], &keys[1]);
    dw_vram_fail_after(dw_kv_pool_vram(t.device), DW_VRAM_RESERVE, 0);
    reference *fresh = add_log(&t);
    dw_vram_fail_after(dw_kv_pool_vram(t.device), 0, -1);
    assert_int_equal(kv_check_stats(t.device).kept_lost_count, 1);
    assert_false(find(&t, &t.logs[0], &keys[0]));
    assert_true(find(&t, &t.logs[1], &keys[1]));
    kv_check_check(&t, fresh);
    kv_check_drop(&t, &t.logs[0]);
    kv_check_end(&t);
}

static void test_kv_kept_limit(void **state)
{
    (void)state;
    kv_check t = opened(0);
    size_t unit = kv_check_granularity();
    (void)add_log(&t);
    (void)add_log(&t);
    const dw_kv_key keys[] = {key_of("a", 1), key_of("b", 1), key_of("c", 1)};
    dw_kv_kept_limit(t.device, 5 * unit);
    for (size_t i = 0; i < 3; i++) {
        keep(&t.logs[i], &keys[i]);
    }
    assert_int_equal(kv_check_stats(t.device).kept_bytes, 4 * unit);
    assert_false(find(&t, &t.logs[0], &keys[0]));
    dw_kv_kept_limit(t.device, 2 * unit);
    assert_false(find(&t, &t.logs[1], &keys[1]));
    assert_true(find(&t, &t.logs[2], &keys[2]));
    dw_kv_kept_limit(t.device, 0);
    keep(&t.logs[2], &keys[2]);
    assert_int_equal(kv_check_stats(t.device).kept_count, 0);
    assert_false(find(&t, &t.logs[2], &keys[2]));
    kv_check_end(&t);
}

/* One that is beyond the limit by itself leaves the others where they are. */
static void test_kv_kept_limit_of_one(void **state)
{
    (void)state;
    kv_check t = opened(0);
    const size_t unit = kv_check_granularity();
    const dw_kv_key keys[] = {key_of("a", 1), key_of("b", 1)};
    reference *large = add_log(&t);
    assert_int_equal(dw_kv_log_append(large->log, large->bytes, RECORDS_MAX - ALL, NULL), DW_OK);
    keep(&t.logs[0], &keys[0]);
    assert_int_equal(kv_check_stats(t.device).kept_bytes, 2 * unit);
    dw_kv_kept_limit(t.device, 3 * unit);
    keep(large, &keys[1]);
    assert_int_equal(kv_check_stats(t.device).kept_count, 1);
    assert_true(find(&t, &t.logs[0], &keys[0]));
    kv_check_check(&t, &t.logs[0]);
    kv_check_drop(&t, large);
    kv_check_end(&t);
}

/* An owner's, a model's, all, and those of an owner's earlier state. */
static void test_kv_kept_is_forgotten(void **state)
{
    (void)state;
    kv_check t = opened(0);
    dw_kv_key keys[] = {key_of("a", 1), key_of("a", 2), key_of("b", 1), key_of("c", 1)};
    keys[2].model = &t;
    for (size_t i = 0; i < 4; i++) {
        reference *r = i > 0 ? add_log(&t) : &t.logs[0];
        keep(r, &keys[i]);
    }
    dw_kv_kept_forget(t.device, NULL, "d");
    assert_int_equal(kv_check_stats(t.device).kept_count, 4);
    dw_kv_kept_forget(t.device, NULL, "a");
    assert_int_equal(kv_check_stats(t.device).kept_count, 2);
    dw_kv_kept_forget_model(t.device, &t);
    assert_int_equal(kv_check_stats(t.device).kept_count, 1);
    assert_true(find(&t, &t.logs[3], &keys[3]));
    keep(&t.logs[3], &keys[3]);
    keys[3].state[3] = 'e';
    keep(add_log(&t), &keys[3]);
    assert_int_equal(kv_check_stats(t.device).kept_count, 1);
    assert_true(find(&t, &t.logs[4], &keys[3]));
    assert_false(dw_kv_kept_forget_all(t.device));
    keep(&t.logs[4], &keys[3]);
    assert_true(dw_kv_kept_forget_all(t.device));
    assert_int_equal(kv_check_stats(t.device).kept_lost_count, 0); /* nobody took their room */
    kv_check_end(&t);
}

/* Two that keep logs of the same owner, as of copies of one folder: none takes the other's away. */
static void test_kv_kept_at_two_homes(void **state)
{
    (void)state;
    kv_check t = opened(0);
    const int homes[2] = {0};
    dw_kv_key keys[] = {key_of("a", 1), key_of("a", 1), key_of("b", 1)};
    for (size_t i = 0; i < 3; i++) {
        keys[i].home = &homes[i % 2];
        keys[i].state[0] = (char)('0' + i);
        keep(i > 0 ? add_log(&t) : &t.logs[0], &keys[i]);
    }
    assert_int_equal(kv_check_stats(t.device).kept_count, 3);
    dw_kv_kept_forget(t.device, &homes[1], "b");
    assert_int_equal(kv_check_stats(t.device).kept_count, 3);
    dw_kv_kept_forget(t.device, &homes[0], NULL);
    assert_int_equal(kv_check_stats(t.device).kept_count, 1);
    assert_false(find(&t, &t.logs[0], &keys[0]));
    assert_true(find(&t, &t.logs[1], &keys[1]));
    kv_check_check(&t, &t.logs[1]);
    kv_check_drop(&t, &t.logs[2]);
    kv_check_drop(&t, &t.logs[0]);
    kv_check_end(&t);
}

/* What a fork shares with one that is kept stays its own, whichever goes. */
static void test_kv_kept_shares_with_forks(void **state)
{
    (void)state;
    kv_check t = opened(0);
    const dw_kv_key key = key_of("a", 1);
    kv_check_fork(&t, &t.logs[0]);
    kv_check_fork(&t, &t.logs[0]);
    assert_int_equal(t.count, 3);
    keep(&t.logs[0], &key);
    kv_check_append(&t, &t.logs[1]);
    assert_int_equal(dw_kv_pool_evict(t.device, NULL), DW_OK); /* which gives it up first */
    assert_false(find(&t, &t.logs[0], &key));
    kv_check_check(&t, &t.logs[1]);
    kv_check_check(&t, &t.logs[2]);
    assert_int_equal(dw_kv_log_make_resident(t.logs[2].log, NULL), DW_OK);
    keep(&t.logs[2], &key);
    t.logs[0].length = t.logs[2].length;
    memcpy(t.logs[0].bytes, t.logs[2].bytes, t.logs[2].length * t.record_bytes);
    kv_check_drop(&t, &t.logs[1]);
    assert_true(find(&t, &t.logs[0], &key));
    kv_check_check(&t, &t.logs[0]);
    kv_check_end(&t);
}

/* One that was evicted, or is in a step, or in host pages, is destroyed. */
static void test_kv_kept_must_be_there(void **state)
{
    (void)state;
    kv_check t = opened(0);
    const dw_kv_key key = key_of("a", 1);
    assert_int_equal(dw_kv_pool_evict(t.device, NULL), DW_OK);
    keep(&t.logs[0], &key);
    assert_false(find(&t, &t.logs[0], &key));
    kv_check_drop(&t, &t.logs[0]);
    reference *r = add_log(&t);
    assert_int_equal(dw_kv_log_reserve(r->log, ALL + 1, NULL), DW_OK);
    keep(r, &key);
    assert_false(find(&t, r, &key));
    kv_check_end(&t);
}

/* It is nobody's meanwhile; who takes it pays, or is refused, and it is lost. */
static void test_kv_kept_is_charged_to_who_has_it(void **state)
{
    (void)state;
    size_t unit = kv_check_granularity();
    dw_limits limits = {.struct_bytes = sizeof limits, .kv_bytes = 2 * unit};
    dw_limits little = {.struct_bytes = sizeof little, .kv_bytes = 2 * unit - 1};
    dw_account *payers[2] = {NULL, NULL};
    const dw_kv_key key = key_of("a", 1);
    kv_check t = opened(0);
    dw_error err = {0};
    dw_limits_fill(&limits, &dw_limits_usual);
    dw_limits_fill(&little, &dw_limits_usual);
    assert_int_equal(dw_account_create(&payers[0], &limits, NULL), DW_OK);
    assert_int_equal(dw_account_create(&payers[1], &little, NULL), DW_OK);
    keep(&t.logs[0], &key);
    dw_account_scope before = dw_account_enter(payers[0], DW_PART_TEXTS);
    assert_true(find(&t, &t.logs[0], &key));
    dw_account_leave(before);
    assert_int_equal(dw_account_now(payers[0], DW_PART_KV), 2 * unit);
    keep(&t.logs[0], &key);
    assert_int_equal(dw_account_now(payers[0], DW_PART_KV), 0);
    before = dw_account_enter(payers[1], DW_PART_TEXTS);
    dw_kv_log_options options = kv_check_log_options(&t, false);
    assert_int_equal(dw_kv_log_find_kept(&t.logs[0].log, t.device, &options, &key, ALL, &err),
                     DW_E_LIMIT);
    dw_account_leave(before);
    assert_null(t.logs[0].log);
    assert_int_equal(dw_account_now(payers[1], DW_PART_KV), 0);
    assert_false(find(&t, &t.logs[0], &key));
    kv_check_drop(&t, &t.logs[0]);
    keep(add_log(&t), &key); /* and without memory for the log itself */
    dw_alloc_fail_after(0);
    assert_int_equal(dw_kv_log_find_kept(&t.logs[0].log, t.device, &options, &key, ALL, &err),
                     DW_E_MEMORY);
    dw_alloc_fail_after(-1);
    assert_int_equal(kv_check_stats(t.device).kept_count, 0);
    kv_check_end(&t);
    dw_account_unref(payers[0]);
    dw_account_unref(payers[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_kept_comes_back),
        cmocka_unit_test(test_kv_kept_is_found_by_all_of_its_key),
        cmocka_unit_test(test_kv_kept_is_what_was_saved),
        cmocka_unit_test(test_kv_kept_goes_first),
        cmocka_unit_test(test_kv_kept_goes_for_others),
        cmocka_unit_test(test_kv_kept_leaves_others_their_share),
        cmocka_unit_test(test_kv_kept_gives_up_addresses),
        cmocka_unit_test(test_kv_kept_limit),
        cmocka_unit_test(test_kv_kept_limit_of_one),
        cmocka_unit_test(test_kv_kept_is_forgotten),
        cmocka_unit_test(test_kv_kept_at_two_homes),
        cmocka_unit_test(test_kv_kept_shares_with_forks),
        cmocka_unit_test(test_kv_kept_must_be_there),
        cmocka_unit_test(test_kv_kept_is_charged_to_who_has_it),
    };
    return kv_check_find_unit() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
