/* The account of what a guest takes: who pays for what, refusals, and contexts that share. */
#include <pthread.h>
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "device/device.h"
#include "kv/kv_log.h"
#include "support.h"

#define RECORD_BYTES ((size_t)1024)
#define STEP_BYTES ((uint64_t)256 * RECORD_BYTES) /* what is charged at a time */

static dw_account *make(uint64_t samplers_bytes, uint64_t memory_bytes)
{
    dw_limits limits = dw_limits_usual;
    dw_account *account = NULL;
    limits.samplers_bytes = samplers_bytes;
    limits.memory_bytes = memory_bytes;
    assert_int_equal(dw_account_create(&account, &limits, NULL), DW_OK);
    return account;
}

static void test_account_takes_and_gives(void **state)
{
    (void)state;
    dw_error error = {.message = ""};
    dw_account *account = make(1000, 1500);
    assert_true(dw_account_take(account, DW_PART_SAMPLERS, 1000));
    assert_false(dw_account_refused(account, &error));
    assert_false(dw_account_take(account, DW_PART_SAMPLERS, 1));
    assert_true(dw_account_refused(account, &error));
    assert_non_null(strstr(error.message, "samplers_bytes: 1 bytes more than the 1000"));
    assert_int_equal(dw_account_charge(account, DW_PART_KV, 501, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "memory_bytes: 501 bytes more than the 1000"));
    assert_int_equal(dw_account_now(account, DW_PART_KV), 0);
    assert_int_equal(dw_account_charge(account, DW_PART_KV, 500, &error), DW_OK);
    assert_false(dw_account_take(account, DW_PART_KV, UINT64_MAX));
    assert_int_equal(dw_account_now(account, DW_PART_COUNT), 1500);
    dw_account_give(account, DW_PART_SAMPLERS, 1000);
    assert_int_equal(dw_account_now(account, DW_PART_SAMPLERS), 0);
    assert_int_equal(dw_account_most(account, DW_PART_SAMPLERS), 1000);
    assert_int_equal(dw_account_most(account, DW_PART_COUNT), 1500);
    dw_account_give(account, DW_PART_KV, 500);
    assert_int_equal(dw_account_explain(account, DW_E_ARG, &error), DW_E_ARG);
    assert_int_equal(dw_account_explain(account, DW_E_MEMORY, &error), DW_E_LIMIT);
    assert_int_equal(dw_account_explain(account, DW_E_MEMORY, &error), DW_E_MEMORY);
    dw_account_unref(account);
    assert_true(dw_account_take(NULL, DW_PART_KV, UINT64_MAX)); /* nobody's has no limit */
    dw_account_give(NULL, DW_PART_KV, UINT64_MAX);
}

/* A block knows who pays, wherever it grows and is freed. */
static void test_account_of_blocks(void **state)
{
    (void)state;
    dw_account *account = make(100000, 1000000);
    dw_account_scope before = dw_account_enter(account, DW_PART_SAMPLERS);
    char *block = dw_alloc(1000, 1);
    assert_null(dw_alloc(1000, 1000));
    dw_account_leave(before);
    char *nobodys = dw_alloc(1000, 1000);
    assert_non_null(block);
    assert_non_null(nobodys);
    assert_int_equal((uintptr_t)block % _Alignof(max_align_t), 0);
    uint64_t first = dw_account_now(account, DW_PART_SAMPLERS);
    assert_true(first >= 1000 && first < 1100);
    memset(block, 7, 1000);
    block = dw_realloc(block, 50000, 1);
    assert_int_equal(block[999], 7);
    assert_int_equal(dw_account_now(account, DW_PART_SAMPLERS), first + 49000);
    assert_null(dw_realloc(block, 200000, 1));
    assert_int_equal(dw_account_now(account, DW_PART_SAMPLERS), first + 49000);
    block = dw_realloc(block, 2000, 1);
    assert_int_equal(dw_account_now(account, DW_PART_SAMPLERS), first + 1000);
    before = dw_account_enter_of(block); /* what is made for its owner */
    void *more = dw_alloc(1, 100);
    dw_account_scope within = dw_account_pause();
    void *shared = dw_alloc(1, 100);
    dw_account_leave(within);
    dw_account_leave(before);
    assert_null(dw_account_entered());
    assert_true(dw_account_now(account, DW_PART_SAMPLERS) > first + 1100);
    assert_true(dw_account_now(account, DW_PART_SAMPLERS) < first + 1200);
    dw_free(more);
    dw_free(shared);
    dw_free(nobodys);
    dw_account_ref(account);
    dw_account_unref(account); /* as its guest goes */
    assert_int_equal(dw_account_now(account, DW_PART_COUNT), first + 1000);
    dw_free(block);
    assert_int_equal(dw_account_now(account, DW_PART_COUNT), 0);
    dw_account_unref(account);
}

enum { THREADS = 4, ROUNDS = 2000 };

static void *take_often(void *arg)
{
    dw_account_scope before = dw_account_enter(arg, DW_PART_SAMPLERS);
    for (int i = 0; i < ROUNDS; i++) {
        dw_free(dw_alloc(1, 64));
    }
    dw_account_leave(before);
    return NULL;
}

static void test_account_of_several_threads(void **state)
{
    (void)state;
    dw_account *account = make(1000000, 1000000);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_often, account), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(dw_account_now(account, DW_PART_COUNT), 0);
    assert_true(dw_account_most(account, DW_PART_SAMPLERS) <= THREADS * 100);
    dw_account_unref(account);
}

/* ---- contexts ------------------------------------------------------------------------------- */

static uint64_t keys_of(const dw_account *account)
{
    return dw_account_now(account, DW_PART_KV) / STEP_BYTES; /* whole steps; blocks are little */
}

static void append(dw_kv_log *log, uint32_t count)
{
    static unsigned char records[512 * RECORD_BYTES];
    dw_error error = {.message = ""};
    assert_true(count <= 512);
    if (dw_kv_log_append(log, records, count, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
}

static void test_account_of_contexts_that_share(void **state)
{
    (void)state;
    dw_device *device = NULL;
    dw_kv_log *parent = NULL;
    dw_kv_log *child = NULL;
    dw_kv_log *other = NULL;
    dw_error error;
    dw_account *account = make(1 << 20, (uint64_t)1 << 30);
    dw_account *another = make(1 << 20, (uint64_t)1 << 30);
    const dw_kv_log_options options = {.record_bytes = RECORD_BYTES, .capacity_tokens = 4096};
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_account_scope before = dw_account_enter(account, DW_PART_KV);
    assert_int_equal(dw_kv_log_create(&parent, device, &options, &error), DW_OK);
    assert_int_equal(keys_of(account), 0);
    append(parent, 1);
    assert_int_equal(keys_of(account), 1);
    append(parent, 511);
    append(parent, 512);
    assert_int_equal(keys_of(account), 4);

    /* What both have counts once, */
    assert_int_equal(dw_kv_log_fork(&child, parent, &error), DW_OK);
    assert_int_equal(keys_of(account), 4);
    append(child, 512);
    assert_int_equal(keys_of(account), 6);
    append(parent, 1);
    assert_int_equal(keys_of(account), 7);
    /* until one of them writes there; what was shared is still the other's. */
    dw_kv_log_trim(child, 512);
    append(child, 1);
    assert_int_equal(keys_of(account), 9);
    dw_account_leave(before);

    /* Whom it is shared with beyond the account is not known: that one pays in full. */
    before = dw_account_enter(another, DW_PART_KV);
    assert_int_equal(dw_kv_log_fork(&other, parent, &error), DW_OK);
    dw_account_leave(before);
    assert_int_equal(keys_of(another), 5);
    assert_int_equal(keys_of(account), 9);

    /* A parent that goes leaves what its forks still share. */
    dw_kv_log_destroy(parent);
    assert_int_equal(keys_of(account), 8);
    dw_kv_log_destroy(child);
    dw_kv_log_destroy(other);
    assert_int_equal(dw_account_now(account, DW_PART_COUNT), 0);
    assert_int_equal(dw_account_now(another, DW_PART_COUNT), 0);
    dw_account_unref(account);
    dw_account_unref(another);
    dw_device_close(device);
}

static void test_account_refuses_records(void **state)
{
    (void)state;
    static unsigned char records[512 * RECORD_BYTES];
    dw_device *device = NULL;
    dw_kv_log *log = NULL;
    dw_kv_log *fork = NULL;
    dw_error error;
    dw_account *account = make(1 << 20, 3 * STEP_BYTES);
    const dw_kv_log_options options = {.record_bytes = RECORD_BYTES, .capacity_tokens = 4096};
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_account_scope before = dw_account_enter(account, DW_PART_KV);
    assert_int_equal(dw_kv_log_create(&log, device, &options, &error), DW_OK);
    append(log, 512);
    assert_int_equal(dw_kv_log_append(log, records, 512, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "memory_bytes"));
    assert_int_equal(dw_kv_log_length(log), 512);
    assert_int_equal(keys_of(account), 2);
    assert_int_equal(dw_kv_log_fork(&fork, log, &error), DW_OK); /* shares all */
    assert_int_equal(dw_kv_log_rewrite(fork, 0, &error), DW_E_LIMIT);
    assert_int_equal(dw_kv_log_length(fork), 512);
    dw_account_leave(before);
    dw_kv_log_destroy(fork);
    dw_kv_log_destroy(log);
    assert_int_equal(dw_account_now(account, DW_PART_COUNT), 0);
    dw_account_unref(account);
    dw_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_account_takes_and_gives),
        cmocka_unit_test(test_account_of_blocks),
        cmocka_unit_test(test_account_of_several_threads),
        cmocka_unit_test(test_account_of_contexts_that_share),
        cmocka_unit_test(test_account_refuses_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
