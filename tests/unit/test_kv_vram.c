/* KV logs in device memory by address ranges: small allocations, so that short logs cross many; a
 * limit, so that logs are evicted; calls of the device that fail. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "kv_model_check.h"
#include "support.h"

static void run_trial(size_t record_bytes, uint64_t limit_bytes, bool failing, uint64_t seed)
{
    dw_kv_pool_options options = kv_check_pool(limit_bytes, seed % 2 == 0);
    kv_check t = {
        .device = kv_check_open_device(&options), .record_bytes = record_bytes, .random = seed};
    dw_vram *vram = dw_kv_pool_vram(t.device);
    int rounds = kv_check_rounds(300);
    for (int i = 0; i < rounds; i++) {
        t.failing = failing && kv_check_pick(&t, 2) == 0;
        if (t.failing) {
            unsigned kinds = kv_check_pick(&t, 3) == 0 ? 1u << kv_check_pick(&t, 6) : DW_VRAM_ANY;
            dw_vram_fail_after(vram, kinds, kv_check_pick(&t, 12));
        }
        kv_check_step(&t);
        dw_vram_fail_after(vram, 0, -1);
        for (uint32_t k = 0; i % 4 == 3 && k < t.count; k++) {
            kv_check_check(&t, &t.logs[k]);
        }
        dw_kv_stats stats = kv_check_stats(t.device);
        assert_true(limit_bytes == 0 || stats.device_bytes <= limit_bytes);
        assert_true(stats.ready_bytes <= stats.device_bytes);
    }
    dw_kv_stats stats = kv_check_stats(t.device);
    print_message("%zu bytes a record, limit %llu: %zu failed, %llu evictions, %llu returns\n",
                  record_bytes, (unsigned long long)limit_bytes, t.failed,
                  (unsigned long long)stats.eviction_count,
                  (unsigned long long)stats.restore_count);
    assert_true(limit_bytes == 0 || stats.eviction_count > 0);
    assert_true(!failing || t.failed > 0);
    while (t.count > 0) {
        kv_check_drop(&t, &t.logs[0]);
    }
    kv_check_close_device(t.device);
}

static void test_kv_vram_any_sequence_matches_plain_arrays(void **state)
{
    (void)state;
    static const size_t sizes[] = {40, 96, 500, 1024, 1500};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t record = kv_check_scaled(sizes[i]);
        uint64_t limit = RECORDS_MAX * record * 3 + 8 * kv_check_granularity();
        if (record <= (size_t)24 << 10) { /* arrays of more take long, on large pages */
            run_trial(record, 0, false, 11 + i);
            run_trial(record, limit, false, 1011 + i);
            run_trial(record, 0, true, 2011 + i);
            run_trial(record, limit, true, 3011 + i);
        }
    }
}

/* ---- one thing at a time ---- */

/* Another log, with that many records. */
static reference *add_log(kv_check *t, uint32_t records)
{
    dw_kv_log_options log = kv_check_log_options(t, false);
    reference *r = kv_check_add(t);
    assert_int_equal(dw_kv_log_create(&r->log, t->device, &log, NULL), DW_OK);
    kv_check_fill(t, r->bytes, records * t->record_bytes);
    assert_int_equal(dw_kv_log_append(r->log, r->bytes, records, NULL), DW_OK);
    r->length = records;
    return r;
}

/* Allocations double up to the limit of 4; attention's padding is there as well. */
static void test_kv_vram_allocations_grow_with_the_log(void **state)
{
    (void)state;
    dw_kv_pool_options options = kv_check_pool(0, true);
    size_t unit = kv_check_granularity();
    size_t record = unit / DW_KV_STEP_TOKENS; /* so that a step is one allocation */
    kv_check t = kv_check_with_log(&options, record, 1, true);
    reference *r = &t.logs[0];
    const unsigned char *base = dw_kv_log_base(r->log);
    static const size_t ends[] = {1, 2, 4}; /* in allocations of `unit`; capacity 900 needs 4 */
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        dw_vram_stats counts;
        dw_vram_get_stats(dw_kv_pool_vram(t.device), &counts);
        assert_int_equal(counts.allocation_count, i + 1);
        assert_int_equal(counts.allocation_bytes, ends[i] * unit);
        assert_int_equal(dw_kv_log_committed(r->log), ends[i] * DW_KV_STEP_TOKENS);
        uint32_t wanted = dw_kv_log_committed(r->log) + 1;
        if (wanted < RECORDS_MAX) {
            assert_int_equal(dw_kv_log_reserve(r->log, wanted, NULL), DW_OK);
            memset(r->bytes, 1, wanted * record);
            kv_check_at_log(r->log, 0, NULL, r->bytes, wanted * record);
            dw_kv_log_extend(r->log, wanted);
        }
        assert_ptr_equal(dw_kv_log_base(r->log), base);
    }
    assert_int_equal(kv_check_stats(t.device).wait_count, kv_check_stats(t.device).growth_count);
    dw_kv_log_trim(r->log, 300); /* two steps: the allocation of two goes, and is kept ready */
    dw_kv_pool_settle(t.device);
    assert_int_equal(kv_check_stats(t.device).device_bytes, 2 * unit);
    dw_kv_log_trim(r->log, 0);
    dw_kv_pool_settle(t.device);
    assert_int_equal(kv_check_stats(t.device).device_bytes, 0);
    r->length = 0;
    kv_check_check(&t, r);
    kv_check_end(&t);
}

/* A step that wrote NaN is undone: nothing of it is left behind the last whole record either, in
 * the allocation where a trim's end lies, which the log has when it grows again. */
static void test_kv_vram_clears_to_the_last_allocation(void **state)
{
    (void)state;
    enum { BEFORE = 250, AFTER = 300 };
    dw_kv_pool_options options = kv_check_pool(0, true);
    size_t record = kv_check_scaled(40);
    kv_check t = kv_check_with_log(&options, record, BEFORE, true);
    reference *r = &t.logs[0];
    unsigned char *bytes = malloc((AFTER - BEFORE) * record);
    assert_non_null(bytes);
    memset(bytes, 0xff, (AFTER - BEFORE) * record);
    assert_int_equal(dw_kv_log_reserve(r->log, AFTER, NULL), DW_OK);
    kv_check_at_log(r->log, BEFORE * record, NULL, bytes, (AFTER - BEFORE) * record);
    dw_kv_log_trim(r->log, BEFORE);
    assert_int_equal(dw_kv_log_clear_rest(r->log, NULL), DW_OK);
    kv_check_check(&t, r);
    assert_int_equal(dw_kv_log_reserve(r->log, AFTER, NULL), DW_OK);
    kv_check_at_log(r->log, BEFORE * record, bytes, NULL, (AFTER - BEFORE) * record);
    for (size_t i = 0; i < (AFTER - BEFORE) * record; i++) {
        assert_int_equal(bytes[i], 0);
    }
    dw_kv_log_trim(r->log, BEFORE);
    free(bytes);
    kv_check_end(&t);
}

/* Past half of the last allocation the next one is mapped by another thread: the step finds it. */
static void test_kv_vram_grows_ahead_of_need(void **state)
{
    (void)state;
    dw_kv_pool_options options = kv_check_pool(0, false);
    kv_check t = kv_check_with_log(&options, kv_check_granularity() / DW_KV_STEP_TOKENS, 1, true);
    reference *r = &t.logs[0];
    kv_check_fill(&t, r->bytes, RECORDS_MAX * t.record_bytes);
    dw_kv_log_trim(r->log, 0);
    r->length = 0;
    uint64_t waits = kv_check_stats(t.device).wait_count;
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        assert_int_equal(dw_kv_log_append(r->log, r->bytes + i * t.record_bytes, 1, NULL), DW_OK);
        r->length++;
        if (i % 50 == 0) {
            dw_kv_pool_settle(t.device);
        }
    }
    kv_check_check(&t, r);
    dw_kv_stats stats = kv_check_stats(t.device);
    assert_true(stats.growth_count >= 4);
    assert_int_equal(stats.wait_count, waits + 1); /* the first allocation of all */
    kv_check_end(&t);
}

/* A token a millisecond never waits, whatever a record's size: allocations end anywhere in a
 * step. */
static void test_kv_vram_decoding_never_waits(void **state)
{
    (void)state;
    static const size_t shares[] = {64, 170, 256, 700}; /* records to an allocation */
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        dw_kv_pool_options options = kv_check_pool(0, false);
        size_t record = kv_check_granularity() / shares[i] / 4 * 4;
        kv_check t = kv_check_with_log(&options, record, 1, true);
        reference *r = &t.logs[0];
        uint64_t waits = kv_check_stats(t.device).wait_count;
        const struct timespec pause = {.tv_nsec = 1000000};
        for (; r->length < 600; r->length++) {
            (void)nanosleep(&pause, NULL);
            unsigned char *next = r->bytes + r->length * record;
            kv_check_fill(&t, next, record);
            assert_int_equal(dw_kv_log_append(r->log, next, 1, NULL), DW_OK);
        }
        assert_int_equal(kv_check_stats(t.device).wait_count, waits);
        kv_check_check(&t, r);
        kv_check_end(&t);
    }
}

static void test_kv_vram_forks_share_full_allocations(void **state)
{
    (void)state;
    dw_kv_pool_options options = kv_check_pool(0, true);
    size_t unit = kv_check_granularity();
    size_t record = unit / 32; /* 32 to a unit; a step is 8 */
    kv_check t = kv_check_with_log(&options, record, 300, true);
    reference *r = &t.logs[0];
    uint64_t before = kv_check_stats(t.device).device_bytes; /* 8, 4 and 4 units: 512 records */
    assert_int_equal(before, 16 * unit);
    kv_check_fork(&t, r);
    dw_kv_stats stats = kv_check_stats(t.device);
    assert_int_equal(t.count, 2);
    assert_int_equal(stats.copied_bytes, (300 - 256) * record); /* what is behind 8 units */
    assert_int_equal(stats.device_bytes, before + 8 * unit);
    kv_check_check(&t, &t.logs[1]);

    /* Either side appends without copying, as what it appends to is its own. */
    kv_check_append(&t, &t.logs[0]);
    kv_check_append(&t, &t.logs[1]);
    assert_int_equal(kv_check_stats(t.device).copied_bytes, stats.copied_bytes);
    /* Trimmed into what is shared, the next step copies that allocation's rest, and only that. */
    dw_kv_log_trim(t.logs[1].log, 100);
    t.logs[1].length = 100;
    assert_int_equal(kv_check_stats(t.device).copied_bytes, stats.copied_bytes);
    dw_kv_log_append(t.logs[1].log, t.logs[0].bytes, 1, NULL);
    memcpy(t.logs[1].bytes + 100 * record, t.logs[0].bytes, record);
    t.logs[1].length = 101;
    assert_int_equal(kv_check_stats(t.device).copied_bytes, stats.copied_bytes + 100 * record);
    kv_check_check(&t, &t.logs[0]);
    kv_check_check(&t, &t.logs[1]);
    /* The last one that holds an allocation may write to it. */
    kv_check_drop(&t, &t.logs[0]);
    uint64_t copied = kv_check_stats(t.device).copied_bytes;
    assert_int_equal(dw_kv_log_rewrite(t.logs[0].log, 0, NULL), DW_OK);
    dw_kv_log_trim(t.logs[0].log, t.logs[0].length);
    assert_int_equal(kv_check_stats(t.device).copied_bytes, copied);
    kv_check_end(&t);
}

/* A fork lies where its parent does, whatever a log that is made now would get. */
static void test_kv_vram_forks_have_their_parents_backing(void **state)
{
    (void)state;
    dw_kv_pool_options options = kv_check_pool(0, true);
    options.takes_all = true;
    dw_device *device = NULL;
    dw_kv_log *parent = NULL;
    dw_kv_log *child = NULL;
    dw_kv_log *other = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log_options log = {.record_bytes = 64, .capacity_tokens = 300};
    unsigned char records[5 * 64] = {7, 8, 9};
    unsigned char there[sizeof records];
    assert_int_equal(dw_kv_log_create(&parent, device, &log, NULL), DW_OK);
    assert_int_equal(dw_kv_log_append(parent, records, 5, NULL), DW_OK);
    assert_int_equal(dw_kv_pool_open(device, &options, NULL), DW_OK);
    assert_int_equal(dw_kv_log_fork(&child, parent, NULL), DW_OK);
    assert_true(dw_kv_log_in_host_memory(child));
    assert_int_equal(dw_kv_log_read(child, 0, sizeof there, there, NULL), DW_OK);
    assert_memory_equal(there, records, sizeof there);
    assert_int_equal(dw_kv_log_create(&other, device, &log, NULL), DW_OK);
    assert_false(dw_kv_log_in_host_memory(other));
    dw_kv_log_destroy(parent);
    dw_kv_log_destroy(child);
    dw_kv_log_destroy(other);
    dw_device_close(device);
}

/* A chain of forks, each a little longer, does not pile up small allocations. */
static void test_kv_vram_chains_of_forks_stay_short(void **state)
{
    (void)state;
    dw_kv_pool_options options = kv_check_pool(0, true);
    options.allocation_bytes_max = kv_check_granularity();
    kv_check t = kv_check_with_log(&options, kv_check_granularity() / 4, 4, true);
    t.random = 9;
    int rounds = kv_check_rounds(200);
    for (int i = 0; i < rounds; i++) {
        kv_check_fill(&t, t.logs[0].bytes + t.logs[0].length * t.record_bytes, 4 * t.record_bytes);
        assert_int_equal(dw_kv_log_append(t.logs[0].log,
                                          t.logs[0].bytes + t.logs[0].length * t.record_bytes, 4,
                                          NULL),
                         DW_OK);
        t.logs[0].length += 4;
        kv_check_fork(&t, &t.logs[0]);
        kv_check_check(&t, &t.logs[1]);
        kv_check_drop(&t, &t.logs[0]);
    }
    dw_vram_stats counts;
    dw_kv_pool_settle(t.device);
    dw_vram_get_stats(dw_kv_pool_vram(t.device), &counts);
    assert_true(counts.allocation_count < 64 + 32);
    kv_check_end(&t);
}

/* ---- leaving and coming back ---- */

static void test_kv_vram_the_longest_unused_leaves_first(void **state)
{
    (void)state;
    size_t unit = kv_check_granularity();
    dw_kv_pool_options options = kv_check_pool(8 * unit, true);
    kv_check t =
        kv_check_with_log(&options, unit / DW_KV_STEP_TOKENS, 500, true); /* 2 allocations */
    unsigned char *bases[5];
    bases[0] = dw_kv_log_base(t.logs[0].log);
    for (uint32_t i = 1; i < 4; i++) {
        bases[i] = dw_kv_log_base(add_log(&t, 500)->log);
    }
    assert_int_equal(kv_check_stats(t.device).eviction_count, 0);
    assert_int_equal(dw_kv_log_reserve(t.logs[0].log, 501, NULL), DW_OK); /* used, and in a step */
    kv_check_fork(&t, &t.logs[2]); /* 1 full allocation shared, 1 copied */
    assert_int_equal(t.count, 5);
    assert_true(dw_kv_log_resident(t.logs[0].log));
    assert_false(dw_kv_log_resident(t.logs[1].log));
    assert_true(dw_kv_log_resident(t.logs[2].log));
    assert_true(dw_kv_log_resident(t.logs[3].log));
    dw_kv_stats stats = kv_check_stats(t.device);
    assert_int_equal(stats.eviction_count, 1);
    assert_int_equal(stats.resident_count, 4);
    /* It is read where it is, and restored where it was when it is used; another is evicted. */
    kv_check_check(&t, &t.logs[1]);
    assert_false(dw_kv_log_resident(t.logs[1].log));
    assert_int_equal(dw_kv_log_make_resident(t.logs[1].log, NULL), DW_OK);
    assert_ptr_equal(dw_kv_log_base(t.logs[1].log), bases[1]);
    assert_true(dw_kv_log_resident(t.logs[0].log));
    assert_int_equal(kv_check_stats(t.device).restore_count, 1);
    for (uint32_t i = 0; i < t.count; i++) {
        kv_check_check(&t, &t.logs[i]);
    }
    kv_check_end(&t);
}

static void test_kv_vram_says_what_is_missing(void **state)
{
    (void)state;
    size_t unit = kv_check_granularity();
    dw_kv_pool_options options = kv_check_pool(4 * unit, true);
    kv_check t = kv_check_with_log(&options, unit / DW_KV_STEP_TOKENS, 1, true);
    char wanted[128];
    dw_error err = {0};
    dw_kv_log_options log = kv_check_log_options(&t, false);
    assert_int_equal(dw_kv_log_reserve(t.logs[0].log, 700, NULL),
                     DW_OK); /* 3 allocations, in a step */
    reference *r = kv_check_add(&t);
    assert_int_equal(dw_kv_log_create(&r->log, t.device, &log, NULL), DW_OK);
    assert_int_equal(dw_kv_log_reserve(r->log, 300, &err), DW_E_MEMORY);
    (void)snprintf(wanted, sizeof wanted, "%zu bytes wanted on %s", unit, kv_check_device_name());
    assert_non_null(strstr(err.message, wanted));
    (void)snprintf(wanted, sizeof wanted, "logs in use have %zu, limit %zu", 4 * unit, 4 * unit);
    assert_non_null(strstr(err.message, wanted));
    assert_int_equal(dw_kv_log_length(r->log), 0);
    dw_kv_log_trim(t.logs[0].log, 1); /* the step does not come */
    assert_int_equal(dw_kv_log_reserve(r->log, 700, &err), DW_OK);
    assert_false(dw_kv_log_resident(t.logs[0].log));
    kv_check_check(&t, &t.logs[0]);
    /* A lower limit lets go of what is not in use, and not of what is. */
    assert_int_equal(dw_kv_pool_limit(t.device, unit, NULL), DW_OK);
    assert_true(dw_kv_log_resident(r->log));
    dw_kv_log_trim(r->log, 0);
    assert_int_equal(dw_kv_log_make_resident(t.logs[0].log, &err), DW_OK);
    assert_int_equal(dw_kv_pool_limit(t.device, 0, NULL), DW_OK);
    kv_check_end(&t);
}

/* What relatives on the device still map is not copied out; when the last one leaves it is,
 * once. */
static void test_kv_vram_shared_allocations_are_evicted_with_the_last(void **state)
{
    (void)state;
    size_t unit = kv_check_granularity();
    dw_kv_pool_options options = kv_check_pool(0, true);
    kv_check t = kv_check_with_log(&options, unit / 32, 256, true); /* 8 units, one allocation */
    kv_check_fork(&t, &t.logs[0]);
    kv_check_fork(&t, &t.logs[1]);
    assert_int_equal(kv_check_stats(t.device).copied_bytes, 0);
    assert_int_equal(dw_kv_log_reserve(t.logs[2].log, 257, NULL), DW_OK); /* in a step */
    assert_int_equal(dw_kv_pool_evict(t.device, NULL), DW_OK);
    assert_false(dw_kv_log_resident(t.logs[0].log));
    assert_false(dw_kv_log_resident(t.logs[1].log));
    assert_int_equal(kv_check_stats(t.device).evicted_bytes, 0);
    kv_check_check(&t, &t.logs[0]); /* read through a window */
    dw_kv_log_trim(t.logs[2].log, 256);
    assert_int_equal(dw_kv_pool_evict(t.device, NULL), DW_OK);
    dw_kv_stats stats = kv_check_stats(t.device);
    assert_int_equal(stats.evicted_bytes, 8 * unit);
    assert_int_equal(stats.host_bytes, 8 * unit);
    assert_int_equal(stats.device_bytes, 0);
    assert_int_equal(dw_kv_log_make_resident(t.logs[1].log, NULL), DW_OK);
    assert_int_equal(dw_kv_log_make_resident(t.logs[0].log, NULL), DW_OK);
    stats = kv_check_stats(t.device);
    assert_int_equal(stats.restored_bytes, 8 * unit); /* for both */
    assert_int_equal(stats.host_bytes, 0);
    /* Whoever has it mapped goes; the one that is evicted keeps it. */
    kv_check_drop(&t, &t.logs[0]);
    kv_check_drop(&t, &t.logs[1]);
    kv_check_check(&t, &t.logs[0]);
    assert_int_equal(dw_kv_pool_evict(t.device, NULL), DW_OK);
    kv_check_check(&t, &t.logs[0]);
    kv_check_end(&t);
}

/* ---- failures ---- */

typedef struct attempt {
    const char *name;
    void (*prepare)(kv_check *t);
    dw_status (*run)(kv_check *t, dw_kv_log **made, dw_error *err);
} attempt;

static void evict_all(kv_check *t)
{
    assert_int_equal(dw_kv_pool_evict(t->device, NULL), DW_OK);
}

static void bring_all(kv_check *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        assert_int_equal(dw_kv_log_make_resident(t->logs[i].log, NULL), DW_OK);
    }
}

static void trim_first(kv_check *t)
{
    dw_kv_log_trim(t->logs[0].log, 500);
    t->logs[0].length = 500;
    bring_all(t);
    dw_kv_pool_settle(t->device);
}

static void trim_and_evict(kv_check *t)
{
    trim_first(t);
    evict_all(t);
}

static dw_status try_append(kv_check *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    reference *r = &t->logs[0];
    dw_status status = dw_kv_log_append(r->log, r->bytes + r->length * t->record_bytes, 300, err);
    r->length += status == DW_OK ? 300 : 0;
    return status;
}

static dw_status try_fork(kv_check *t, dw_kv_log **made, dw_error *err)
{
    return dw_kv_log_fork(made, t->logs[0].log, err);
}

/* The last log is a new fork, whose allocations are shared. */
static void renew_fork(kv_check *t)
{
    kv_check_drop(t, &t->logs[1]);
    trim_first(t);
    kv_check_fork(t, &t->logs[0]);
    dw_kv_pool_settle(t->device);
}

static dw_status try_rewrite(kv_check *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    dw_status status = dw_kv_log_rewrite(t->logs[1].log, 10, err);
    dw_kv_log_trim(t->logs[1].log, t->logs[1].length);
    return status;
}

static dw_status try_evict(kv_check *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    return dw_kv_pool_evict(t->device, err);
}

static dw_status try_return(kv_check *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    return dw_kv_log_make_resident(t->logs[0].log, err);
}

static dw_status read_all(kv_check *t, dw_error *err)
{
    reference *r = &t->logs[1];
    size_t held = r->length * t->record_bytes;
    unsigned char *there = malloc(held);
    assert_non_null(there);
    dw_status status = dw_kv_log_read(r->log, 0, held, there, err);
    if (status == DW_OK) {
        assert_memory_equal(there, r->bytes, held);
    }
    free(there);
    return status;
}

static dw_status try_read(kv_check *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    return read_all(t, err);
}

/* Log 1 is evicted, and of what it holds some is mapped by log 0 and some is saved. */
static void evict_second(kv_check *t)
{
    renew_fork(t);
    evict_all(t);
    assert_int_equal(dw_kv_log_make_resident(t->logs[0].log, NULL), DW_OK);
}

static dw_status try_thaw(kv_check *t, dw_kv_log **made, dw_error *err)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    size_t held = t->logs[0].length * t->record_bytes;
    assert_int_equal(fwrite(t->logs[0].bytes, 1, held, file), held);
    assert_int_equal(fflush(file), 0);
    dw_kv_segment segment = {fileno(file), 0, 0, held};
    dw_kv_frozen frozen = {.segments = &segment, .segment_count = 1, .length = t->logs[0].length};
    dw_kv_log_options options = kv_check_log_options(t, false);
    dw_status status = dw_kv_log_thaw(made, t->device, &options, &frozen, err);
    (void)fclose(file);
    return status;
}

static size_t failed_calls(kv_check *t)
{
    dw_vram_stats counts;
    dw_vram_get_stats(dw_kv_pool_vram(t->device), &counts);
    return counts.failed_count;
}

/* The n-th call fails, for n from 0 on until there is none any more; each time all is as it was.
 * Some failures are got over: memory may be made room for, a mapping put back. */
static void fail_each(kv_check *t, const attempt *what, bool allocations)
{
    size_t errors = 0;
    bool reached = true;
    int64_t count = 0;
    for (; reached; count++) {
        dw_kv_log *made = NULL;
        dw_error err = {0};
        what->prepare(t);
        size_t before = failed_calls(t);
        uint64_t allocated = dw_alloc_count();
        if (allocations) {
            dw_alloc_fail_after(count);
        } else {
            dw_vram_fail_after(dw_kv_pool_vram(t->device), DW_VRAM_ANY, count);
        }
        dw_status status = what->run(t, &made, &err);
        dw_alloc_fail_after(-1);
        dw_vram_fail_after(dw_kv_pool_vram(t->device), 0, -1);
        reached =
            allocations ? dw_alloc_count() - allocated > (uint64_t)count : failed_calls(t) > before;
        errors += status != DW_OK;
        if (status != DW_OK && (!reached || (status != DW_E_MEMORY && status != DW_E_DEVICE))) {
            fail_msg("%s, call %lld: %s", what->name, (long long)count, err.message);
        }
        assert_true(status == DW_OK || made == NULL);
        for (uint32_t i = 0; i < t->count; i++) {
            kv_check_check(t, &t->logs[i]);
        }
        dw_kv_log_destroy(made);
        assert_true(count < 500);
    }
    print_message("%s: %lld %s fail, %zu times it fails\n", what->name, (long long)count - 1,
                  allocations ? "allocations" : "calls", errors);
    assert_true(allocations || errors > 0);
}

static void test_kv_vram_survives_every_failure(void **state)
{
    (void)state;
    static const attempt attempts[] = {
        {"append", trim_first, try_append},
        {"fork", trim_first, try_fork},
        {"fork of evicted", evict_all, try_fork},
        {"rewrite", renew_fork, try_rewrite},
        {"thaw", trim_first, try_thaw},
        {"evict", bring_all, try_evict},
        {"read", bring_all, try_read},
        {"read of evicted", evict_second, try_read},
        {"return", evict_all, try_return},
        {"append to evicted", trim_and_evict, try_append},
    };
    for (int allocations = 0; allocations < 2; allocations++) {
        dw_kv_pool_options options = kv_check_pool(0, true);
        kv_check t = kv_check_with_log(&options, kv_check_scaled(48), 500, true);
        kv_check_fill(&t, t.logs[0].bytes + 500 * t.record_bytes, 300 * t.record_bytes);
        kv_check_fork(&t, &t.logs[0]);
        assert_int_equal(t.count, 2);
        for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
            trim_first(&t);
            fail_each(&t, &attempts[i], allocations != 0);
        }
        kv_check_end(&t);
    }
}

static dw_status drop_bytes(void *user, uint64_t offset, const void *from, size_t bytes,
                            dw_error *err)
{
    (void)user;
    (void)offset;
    (void)from;
    (void)bytes;
    (void)err;
    return DW_OK;
}

/* After a fault nothing is asked of the device: steps, forks and reading are refused, and logs
 * that are there, evicted or shared go as always, with an allocation on its way to one of them. */
static void test_kv_vram_lost_device_is_left_alone(void **state)
{
    (void)state;
    dw_kv_pool_options options = kv_check_pool(0, false);
    kv_check t = kv_check_with_log(&options, kv_check_scaled(48), 500, true);
    dw_error err = {0};
    dw_kv_log *made = NULL;
    kv_check_fork(&t, &t.logs[0]);
    evict_second(&t);
    assert_false(dw_kv_log_resident(t.logs[1].log));
    size_t held = t.logs[1].length * t.record_bytes;
    dw_kv_log_options log = kv_check_log_options(&t, false);
    reference *r = kv_check_add(&t);
    assert_int_equal(dw_kv_log_create(&r->log, t.device, &log, NULL), DW_OK);
    assert_int_equal(dw_kv_log_reserve(r->log, 300, NULL), DW_OK); /* in a step */
    dw_device_mark_lost(t.device, "a fault, for a test");

    assert_int_equal(dw_kv_log_reserve(r->log, 700, &err), DW_E_DEVICE);
    assert_non_null(strstr(err.message, "was lost"));
    assert_int_equal(try_fork(&t, &made, &err), DW_E_DEVICE);
    assert_null(made);
    assert_int_equal(dw_kv_log_make_resident(t.logs[1].log, &err), DW_E_DEVICE);
    assert_non_null(strstr(err.message, "was lost"));
    dw_sink sink = {.anywhere = drop_bytes};
    assert_int_equal(dw_kv_log_stream(t.logs[0].log, 0, held, &sink, &err), DW_E_DEVICE);
    assert_int_equal(dw_kv_log_stream(t.logs[1].log, 0, held, &sink, &err), DW_E_DEVICE);
    dw_vram_stats counts;
    dw_vram_get_stats(dw_kv_pool_vram(t.device), &counts);
    size_t count = counts.allocation_count;
    dw_vram_allocation allocation;
    assert_int_equal(
        dw_vram_create(dw_kv_pool_vram(t.device), &allocation, kv_check_granularity(), &err),
        DW_E_DEVICE);
    assert_int_equal(allocation.bytes, 0);
    dw_vram_get_stats(dw_kv_pool_vram(t.device), &counts);
    assert_true(counts.allocation_count <= count);
    kv_check_end(&t);
}

/* ---- threads ---- */

typedef struct worker {
    kv_check t;
    pthread_t thread;
} worker;

static void *work(void *user)
{
    kv_check *t = user;
    int rounds = kv_check_rounds(150);
    for (int i = 0; i < rounds; i++) {
        kv_check_step(t);
        for (uint32_t k = 0; i % 8 == 7 && k < t->count; k++) {
            kv_check_check(t, &t->logs[k]);
        }
    }
    return NULL;
}

/* Relatives, each used by its own thread, on a device too small for all of them. */
static void test_kv_vram_relatives_are_used_by_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    size_t record = kv_check_scaled(40);
    dw_kv_pool_options options =
        kv_check_pool(RECORDS_MAX * record * 4 + 16 * kv_check_granularity(), false);
    kv_check t = kv_check_with_log(&options, record, 400, true);
    worker workers[THREADS] = {0};
    for (uint32_t i = 0; i < THREADS; i++) {
        kv_check *own = &workers[i].t;
        *own = (kv_check){
            .device = t.device, .record_bytes = record, .shared = true, .random = 77 + i};
        reference *r = kv_check_add(own);
        memcpy(r->bytes, t.logs[0].bytes, 400 * record);
        r->length = 400;
        assert_int_equal(dw_kv_log_fork(&r->log, t.logs[0].log, NULL), DW_OK);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i].t), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        for (uint32_t k = 0; k < workers[i].t.count; k++) {
            kv_check_check(&workers[i].t, &workers[i].t.logs[k]);
        }
    }
    kv_check_check(&t, &t.logs[0]);
    assert_true(kv_check_stats(t.device).eviction_count > 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        while (workers[i].t.count > 0) {
            kv_check_drop(&workers[i].t, &workers[i].t.logs[0]);
        }
    }
    kv_check_end(&t);
}

/* A reader that goes on when it is told to. */
typedef struct slow_reader {
    dw_kv_log *log;
    size_t bytes;
    _Atomic bool inside;
    _Atomic bool may_go_on;
    dw_status status;
} slow_reader;

static void wait_until(const _Atomic bool *flag)
{
    while (!atomic_load(flag)) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static dw_status read_slowly(void *user, const void *from, size_t bytes, dw_error *err)
{
    slow_reader *reader = user;
    (void)from;
    (void)bytes;
    (void)err;
    atomic_store(&reader->inside, true);
    wait_until(&reader->may_go_on);
    return DW_OK;
}

static void *stream(void *user)
{
    slow_reader *reader = user;
    dw_sink sink = {.in_order = read_slowly, .user = reader};
    reader->status = dw_kv_log_stream(reader->log, 0, reader->bytes, &sink, NULL);
    return NULL;
}

/* Whoever exports into a pipe that nobody empties holds up nobody but itself: other logs are
 * evicted and restored meanwhile. */
static void test_kv_vram_slow_readers_hold_up_nobody(void **state)
{
    (void)state;
    size_t unit = kv_check_granularity();
    dw_kv_pool_options options = kv_check_pool(8 * unit, true);
    kv_check t =
        kv_check_with_log(&options, unit / DW_KV_STEP_TOKENS, 500, true); /* 2 allocations */
    for (uint32_t i = 1; i < 4; i++) {
        (void)add_log(&t, 500);
    }
    slow_reader reader = {.log = t.logs[0].log, .bytes = 500 * t.record_bytes};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stream, &reader), 0);
    wait_until(&reader.inside);
    assert_int_equal(dw_kv_log_reserve(t.logs[3].log, 600, NULL), DW_OK); /* logs[1] leaves, */
    dw_kv_log_trim(t.logs[3].log, 500);
    assert_false(dw_kv_log_resident(t.logs[1].log));
    assert_int_equal(dw_kv_log_make_resident(t.logs[1].log, NULL), DW_OK); /* and comes back */
    assert_true(dw_kv_log_resident(t.logs[0].log));
    assert_true(kv_check_stats(t.device).eviction_count >= 1);
    assert_int_equal(kv_check_stats(t.device).restore_count, 1);
    atomic_store(&reader.may_go_on, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(reader.status, DW_OK);
    for (uint32_t i = 0; i < t.count; i++) {
        kv_check_check(&t, &t.logs[i]);
    }
    kv_check_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_vram_allocations_grow_with_the_log),
        cmocka_unit_test(test_kv_vram_clears_to_the_last_allocation),
        cmocka_unit_test(test_kv_vram_grows_ahead_of_need),
        cmocka_unit_test(test_kv_vram_decoding_never_waits),
        cmocka_unit_test(test_kv_vram_forks_share_full_allocations),
        cmocka_unit_test(test_kv_vram_forks_have_their_parents_backing),
        cmocka_unit_test(test_kv_vram_chains_of_forks_stay_short),
        cmocka_unit_test(test_kv_vram_the_longest_unused_leaves_first),
        cmocka_unit_test(test_kv_vram_says_what_is_missing),
        cmocka_unit_test(test_kv_vram_shared_allocations_are_evicted_with_the_last),
        cmocka_unit_test(test_kv_vram_survives_every_failure),
        cmocka_unit_test(test_kv_vram_lost_device_is_left_alone),
        cmocka_unit_test(test_kv_vram_any_sequence_matches_plain_arrays),
        cmocka_unit_test(test_kv_vram_relatives_are_used_by_threads),
        cmocka_unit_test(test_kv_vram_slow_readers_hold_up_nobody),
    };
    return kv_check_find_unit() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
