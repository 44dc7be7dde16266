/* KV logs in device memory by address ranges, each beside a plain array of what it ought to
 * hold: on the emulation, in small allocations, or on the device that DW_TEST_DEVICE names, in what
 * it has. Device memory is short or calls fail, as the kv_check says. */
#ifndef TEST_KV_MODEL_CHECK_H
#define TEST_KV_MODEL_CHECK_H

#include "kv/kv_kept.h"
#include "kv/kv_log.h"
#include "kv/kv_pool.h"

#define UNIT_BYTES 4096u /* the granularity, where the page is no larger */
#define LOGS_MAX 12
#define RECORDS_MAX 900u

/* What a log ought to hold. */
typedef struct reference {
    dw_kv_log *log;
    unsigned char *bytes; /* [RECORDS_MAX][record_bytes] */
    uint32_t length;
    bool in_host_pages;
} reference;

typedef struct kv_check {
    dw_device *device;
    size_t record_bytes;
    reference logs[LOGS_MAX];
    uint32_t count;
    uint64_t random;
    bool failing; /* calls may be made to fail */
    bool shared;  /* other threads use the device: a log may be evicted at any time but in a step */
    size_t failed;
} kv_check;

/* Before all others, once. false: this device has no such memory. */
bool kv_check_find_unit(void);
const char *kv_check_device_name(void);
/* What allocations are multiples of. */
size_t kv_check_granularity(void);
/* As many bytes as would be `bytes` where an allocation has 4,096. */
size_t kv_check_scaled(size_t bytes);

/* Of `count` rounds those that are run: with large allocations, as on a card (2 MiB), each round
 * moves hundreds of megabytes, and a quarter of them has to do. */
int kv_check_rounds(int count);

/* Allocations of one to four units. */
dw_kv_pool_options kv_check_pool(uint64_t limit_bytes, bool grows_in_step);
dw_device *kv_check_open_device(const dw_kv_pool_options *options);
/* All logs are gone: checks that nothing else is left. */
void kv_check_close_device(dw_device *device);
dw_kv_stats kv_check_stats(dw_device *device);
/* A kv_check with one log of `records`, appended at once or one by one. */
kv_check kv_check_with_log(const dw_kv_pool_options *options, size_t record_bytes, uint32_t records,
                           bool at_once);
/* Drops what there is, and closes the device. */
void kv_check_end(kv_check *t);

uint32_t kv_check_pick(kv_check *t, uint32_t below);
/* Bytes that are NaN in none of ggml's types. */
void kv_check_fill(kv_check *t, unsigned char *to, size_t bytes);
dw_kv_log_options kv_check_log_options(const kv_check *t, bool in_host_pages);
/* Another reference, all zeros, without its log yet. */
reference *kv_check_add(kv_check *t);
/* Its log with it; the last one takes its place. */
void kv_check_drop(kv_check *t, reference *r);
/* Length, records wherever they are, and what is behind them where it is on the device. */
void kv_check_check(const kv_check *t, const reference *r);
/* As the device writes to a log, or looks at it: `from` or `to` is NULL. */
void kv_check_at_log(dw_kv_log *log, size_t offset, void *to, const void *from, size_t bytes);
/* Whether it did; failures are those that were asked for, or a limit's. */
bool kv_check_worked(kv_check *t, dw_status status, const dw_error *err);
void kv_check_append(kv_check *t, reference *r);
void kv_check_fork(kv_check *t, reference *parent);
/* Any thing that can be done to any log. */
void kv_check_step(kv_check *t);

#endif
