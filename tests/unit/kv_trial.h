/* KV logs in device memory by address ranges, each beside a plain array of what it ought to
 * hold: on the emulation, in small pieces, or on the device that DW_TEST_DEVICE names, in what
 * it has. Device memory is short or calls fail, as the trial says. */
#ifndef TEST_KV_TRIAL_H
#define TEST_KV_TRIAL_H

#include "kv/kv_log.h"
#include "kv/kv_pool.h"

#define PIECE 4096u /* the granularity, where the page is no larger */
#define LOGS_MAX 12
#define RECORDS_MAX 900u

/* What a log ought to hold. */
typedef struct reference {
    dw_kv_log *log;
    unsigned char *bytes; /* [RECORDS_MAX][record_bytes] */
    uint32_t length;
    bool in_host_pages;
} reference;

typedef struct trial {
    dw_device *device;
    size_t record_bytes;
    reference logs[LOGS_MAX];
    uint32_t count;
    uint64_t random;
    bool failing; /* calls may be made to fail */
    bool shared;  /* other threads use the device: a log may leave at any time but in a step */
    size_t failed;
} trial;

/* Before all others, once. false: this device has no such memory. */
bool trial_find_unit(void);
const char *trial_device_name(void);
/* What pieces are multiples of. */
size_t trial_granularity(void);
/* As many bytes as would be `bytes` where a piece has 4,096. */
size_t trial_scaled(size_t bytes);

/* Of `count` rounds those that are run: where pieces are large, as on a card (2 MiB), each round
 * moves hundreds of megabytes, and a quarter of them has to do. */
int trial_rounds(int count);

/* Pieces of one to four units. */
dw_kv_pool_options trial_pool(uint64_t limit_bytes, bool grows_in_step);
dw_device *trial_open_device(const dw_kv_pool_options *options);
/* All logs are gone: checks that nothing else is left. */
void trial_close_device(dw_device *device);
dw_kv_memory trial_stats(dw_device *device);
/* A trial with one log of `records`, appended at once or one by one. */
trial trial_with_log(const dw_kv_pool_options *options, size_t record_bytes, uint32_t records,
                     bool at_once);
/* Drops what there is, and closes the device. */
void trial_end(trial *t);

uint32_t trial_pick(trial *t, uint32_t below);
/* Bytes that are NaN in none of ggml's types. */
void trial_fill(trial *t, unsigned char *to, size_t bytes);
dw_kv_log_options trial_log_options(const trial *t, bool in_host_pages);
/* Another reference, all zeros, without its log yet. */
reference *trial_add(trial *t);
/* Its log with it; the last one takes its place. */
void trial_drop(trial *t, reference *r);
/* Length, records wherever they are, and what is behind them where it is on the device. */
void trial_check(const trial *t, const reference *r);
/* As the device writes to a log, or looks at it: `from` or `to` is NULL. */
void trial_at_log(dw_kv_log *log, size_t offset, void *to, const void *from, size_t bytes);
/* Whether it did; failures are those that were asked for, or a limit's. */
bool trial_worked(trial *t, dw_status status, const dw_error *err);
void trial_append(trial *t, reference *r);
void trial_fork(trial *t, reference *parent);
/* Any thing that can be done to any log. */
void trial_step(trial *t);

#endif
