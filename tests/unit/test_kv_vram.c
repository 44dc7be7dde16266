/* KV logs in device memory by address ranges, on the emulation: small pieces, so that short logs
 * cross many; a limit, so that logs are evicted; calls of the device that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
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

static size_t granularity(void)
{
    return dw_os_page_bytes() > PIECE ? dw_os_page_bytes() : PIECE;
}

static dw_kv_pool_options small_pool(uint64_t limit_bytes, bool grows_in_step)
{
    return (dw_kv_pool_options){.emulation = {.granularity_bytes = granularity()},
                                .piece_bytes_max = 4 * granularity(),
                                .buffer_bytes = 3 * PIECE,
                                .threads = 3,
                                .limit_bytes = limit_bytes,
                                .grows_in_step = grows_in_step};
}

static dw_device *open_device(const dw_kv_pool_options *options)
{
    dw_device *device = NULL;
    dw_error err = {0};
    assert_int_equal(dw_device_open(&device, "CPU", 1, &err), DW_OK);
    if (dw_kv_pool_open(device, options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return device;
}

/* All logs are gone: nothing may be left but what is kept ready, and that goes too. */
static void close_device(dw_device *device)
{
    dw_vram_counts counts;
    dw_kv_memory stats;
    dw_kv_pool_settle(device);
    dw_vram_count(dw_kv_pool_vram(device), &counts);
    assert_true(dw_kv_pool_describe(device, &stats));
    assert_int_equal(counts.range_count, 0);
    assert_int_equal(counts.piece_count, 0);
    assert_int_equal(counts.piece_bytes, 0);
    assert_int_equal(counts.mapping_count, 0);
    assert_int_equal(stats.context_count, 0);
    assert_int_equal(stats.device_bytes, 0);
    assert_int_equal(stats.host_bytes, 0);
    dw_device_close(device);
}

static dw_kv_memory stats_of(dw_device *device)
{
    dw_kv_memory stats;
    assert_true(dw_kv_pool_describe(device, &stats));
    return stats;
}

static uint32_t pick(trial *t, uint32_t below)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->random >> 33) % below;
}

/* Never 255: in bytes of 255 any of ggml's types is NaN, which must not stay in a log. */
static void fill(trial *t, unsigned char *to, size_t bytes)
{
    unsigned char seed = (unsigned char)(1 + pick(t, 200));
    for (size_t i = 0; i < bytes; i++) {
        to[i] = (unsigned char)(1 + (seed + i * 7) % 199);
    }
}

/* ---- a log against its reference ---- */

/* The emulated device's memory is at the same addresses here. */
static void check_resident(const trial *t, const reference *r)
{
    const unsigned char *base = dw_kv_log_base(r->log);
    size_t held = r->length * t->record_bytes;
    size_t there = dw_kv_log_committed(r->log) * t->record_bytes;
    assert_true(there >= held);
    assert_memory_equal(base, r->bytes, held);
    assert_null(memchr(base + held, 255, there - held)); /* finite, as far as attention looks */
}

static void check_log(const trial *t, const reference *r)
{
    size_t held = r->length * t->record_bytes;
    unsigned char *there = malloc(held + 1);
    assert_non_null(there);
    assert_int_equal(dw_kv_log_length(r->log), r->length);
    dw_error err = {0};
    if (dw_kv_log_read(r->log, 0, held, there, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    assert_memory_equal(there, r->bytes, held);
    if (held > 9) { /* a part, across pieces or not */
        assert_int_equal(dw_kv_log_read(r->log, 3, held - 7, there, NULL), DW_OK);
        assert_memory_equal(there, r->bytes + 3, held - 7);
    }
    assert_int_equal(dw_kv_log_read(r->log, 1, held, there, NULL), DW_E_RANGE);
    free(there);
    if (t->shared && r->length < RECORDS_MAX && r->length > 0) {
        if (dw_kv_log_reserve(r->log, r->length + 1, NULL) == DW_OK) {
            check_resident(t, r);
        }
        dw_kv_log_trim(r->log, r->length);
    } else if (!t->shared && dw_kv_log_resident(r->log) && r->length > 0) {
        check_resident(t, r);
    }
}

static reference *add(trial *t)
{
    reference *r = &t->logs[t->count++];
    *r = (reference){.bytes = calloc(RECORDS_MAX, t->record_bytes)};
    assert_non_null(r->bytes);
    return r;
}

static void drop(trial *t, reference *r)
{
    dw_kv_log_destroy(r->log);
    free(r->bytes);
    *r = t->logs[--t->count];
}

static dw_kv_log_options options_of(const trial *t, bool in_host_pages)
{
    return (dw_kv_log_options){.record_bytes = t->record_bytes,
                               .capacity_tokens = RECORDS_MAX,
                               .in_device_memory = !in_host_pages};
}

/* Whether it worked; failures are those that were asked for, or that of a limit. */
static bool worked(trial *t, dw_status status, const dw_error *err)
{
    if (status == DW_OK) {
        return true;
    }
    if (status != DW_E_MEMORY && !(t->failing && status == DW_E_DEVICE)) {
        fail_msg("status %d: %s", status, err->message);
    }
    t->failed++;
    return false;
}

/* ---- what can be done with logs ---- */

static void do_create(trial *t)
{
    dw_error err = {0};
    dw_kv_log *log = NULL;
    bool in_host_pages = pick(t, 6) == 0;
    dw_kv_log_options options = options_of(t, in_host_pages);
    if (t->count < LOGS_MAX && worked(t, dw_kv_log_create(&log, t->device, &options, &err), &err)) {
        reference *r = add(t);
        r->log = log;
        r->in_host_pages = in_host_pages;
    }
}

/* A step writes `count` records of `from` at its end. */
static bool step(trial *t, reference *r, const void *from, uint32_t count)
{
    dw_error err = {0};
    unsigned char *base = dw_kv_log_base(r->log);
    if (!worked(t, dw_kv_log_reserve(r->log, r->length + count, &err), &err)) {
        return false;
    }
    assert_ptr_equal(dw_kv_log_base(r->log), base);
    assert_true(dw_kv_log_resident(r->log));
    memcpy(base + r->length * t->record_bytes, from, count * t->record_bytes);
    return true;
}

static void do_append(trial *t, reference *r)
{
    uint32_t most = RECORDS_MAX - r->length;
    uint32_t count = pick(t, 5) == 0 ? pick(t, most / 2 + 1) : pick(t, 9);
    dw_error err = {0};
    count = count < most ? count : most;
    size_t bytes = count * t->record_bytes;
    unsigned char *records = malloc(bytes + 1);
    assert_non_null(records);
    fill(t, records, bytes);
    bool done = false;
    if (pick(t, 2) == 0) {
        done = worked(t, dw_kv_log_append(r->log, records, count, &err), &err);
    } else if (count > 0 && step(t, r, records, count)) {
        if (count > 1) { /* in two slices */
            dw_kv_log_extend(r->log, r->length + 1);
        }
        dw_kv_log_extend(r->log, r->length + count);
        done = true;
    }
    if (done) {
        memcpy(r->bytes + r->length * t->record_bytes, records, bytes);
        r->length += count;
    }
    free(records);
}

static void do_trim(trial *t, reference *r)
{
    uint32_t least = pick(t, 3) == 0 ? 0 : r->length / 2;
    r->length = least + pick(t, r->length - least + 1);
    dw_kv_log_trim(r->log, r->length);
}

/* A step that wrote NaN and was undone. Zeroing may fail as well, and is then done again. */
static void do_fail(trial *t, reference *r)
{
    uint32_t most = RECORDS_MAX - r->length;
    uint32_t count = most < 5 ? most : 5;
    unsigned char *wrong = malloc(5 * t->record_bytes);
    assert_non_null(wrong);
    memset(wrong, 255, 5 * t->record_bytes);
    if (count > 0 && step(t, r, wrong, count)) {
        dw_kv_log_trim(r->log, r->length);
        dw_error err = {0};
        while (!worked(t, dw_kv_log_clear_rest(r->log, &err), &err)) {
            dw_vram_fail_after(dw_kv_pool_vram(t->device), 0, -1);
            for (uint32_t i = 0; i < t->count; i++) { /* others may be in the way */
                dw_kv_log_trim(t->logs[i].log, t->logs[i].length);
            }
        }
    }
    free(wrong);
}

/* Records move forward, changed on the way. */
static void do_shift(trial *t, reference *r)
{
    uint32_t keep = pick(t, r->length + 1);
    uint32_t gone = pick(t, r->length - keep + 1);
    size_t moved = (r->length - keep - gone) * t->record_bytes;
    dw_error err = {0};
    if (!worked(t, dw_kv_log_rewrite(r->log, keep, &err), &err)) {
        return;
    }
    unsigned char *to = r->bytes + keep * t->record_bytes;
    memmove(to, to + gone * t->record_bytes, moved);
    for (size_t i = 0; i < moved; i += 5) {
        to[i] = (unsigned char)(to[i] == 7 ? 8 : 7);
    }
    if (moved > 0) {
        unsigned char *there = (unsigned char *)dw_kv_log_base(r->log) + keep * t->record_bytes;
        memmove(there, there + gone * t->record_bytes, moved);
        memcpy(there, to, moved);
    }
    r->length -= gone;
    dw_kv_log_trim(r->log, r->length);
}

static void do_fork(trial *t, reference *parent)
{
    dw_error err = {0};
    dw_kv_log *log = NULL;
    if (t->count < LOGS_MAX && worked(t, dw_kv_log_fork(&log, parent->log, &err), &err)) {
        reference *r = add(t);
        memcpy(r->bytes, parent->bytes, parent->length * t->record_bytes);
        r->log = log;
        r->length = parent->length;
        r->in_host_pages = parent->in_host_pages;
    }
}

/* ---- freezing, and thawing on either side ---- */

typedef struct frozen_file {
    int fd;
    dw_hash128 *hash;
    size_t ordered;
} frozen_file;

static dw_status hash_next(void *user, const void *from, size_t bytes, dw_error *err)
{
    frozen_file *file = user;
    (void)err;
    dw_hash128_add(file->hash, from, bytes);
    file->ordered += bytes;
    return DW_OK;
}

static dw_status write_part(void *user, uint64_t offset, const void *from, size_t bytes,
                            dw_error *err)
{
    const frozen_file *file = user;
    return dw_os_write_at(file->fd, offset, from, bytes, err);
}

/* Stream a log's bytes to a file, and make another log of it; either may be in host pages. */
static void do_freeze_and_thaw(trial *t, reference *from)
{
    size_t held = from->length * t->record_bytes;
    FILE *stream = tmpfile();
    assert_non_null(stream);
    frozen_file file = {.fd = fileno(stream), .hash = dw_hash128_create()};
    assert_non_null(file.hash);
    dw_sink sink = {.in_order = hash_next, .anywhere = write_part, .user = &file};
    dw_error err = {0};
    bool done = worked(t, dw_kv_log_stream(from->log, 0, held, &sink, &err), &err);
    if (done) {
        uint8_t streamed[DW_HASH128_BYTES];
        uint8_t wanted[DW_HASH128_BYTES];
        dw_hash128_finish(file.hash, streamed);
        dw_hash128_of(wanted, from->bytes, held);
        assert_int_equal(file.ordered, held);
        assert_memory_equal(streamed, wanted, sizeof wanted);
    }
    bool in_host_pages = pick(t, 3) == 0;
    dw_kv_log_options options = options_of(t, in_host_pages);
    dw_kv_segment segments[2] = {{file.fd, 0, 0, held / 3},
                                 {file.fd, held / 3, held / 3, held - held / 3}};
    dw_kv_frozen frozen = {segments, 2, from->length};
    dw_kv_log *log = NULL;
    if (done && t->count < LOGS_MAX &&
        worked(t, dw_kv_log_thaw(&log, t->device, &options, &frozen, &err), &err)) {
        reference *r = add(t);
        memcpy(r->bytes, from->bytes, held);
        r->log = log;
        r->length = from->length;
        r->in_host_pages = in_host_pages;
    }
    dw_hash128_destroy(file.hash);
    (void)fclose(stream);
}

static void do_evict(trial *t)
{
    dw_error err = {0};
    (void)worked(t, dw_kv_pool_evict(t->device, &err), &err);
}

static void one_step(trial *t)
{
    dw_error err = {0};
    if (t->count == 0) {
        do_create(t);
        return;
    }
    reference *r = &t->logs[pick(t, t->count)];
    uint32_t what = pick(t, 26);
    if (what < 8) {
        do_append(t, r);
    } else if (what < 10) {
        do_trim(t, r);
    } else if (what < 12) {
        do_shift(t, r);
    } else if (what < 16) {
        do_fork(t, r);
    } else if (what < 18) {
        do_freeze_and_thaw(t, r);
    } else if (what < 19) {
        do_fail(t, r);
    } else if (what < 20) {
        do_evict(t);
    } else if (what < 22) {
        (void)worked(t, dw_kv_log_make_resident(r->log, &err), &err);
    } else if (what < 24) {
        do_create(t);
    } else {
        drop(t, r);
    }
}

static void run_trial(size_t record_bytes, uint64_t limit_bytes, bool failing, uint64_t seed)
{
    dw_kv_pool_options options = small_pool(limit_bytes, seed % 2 == 0);
    trial t = {.device = open_device(&options), .record_bytes = record_bytes, .random = seed};
    dw_vram *vram = dw_kv_pool_vram(t.device);
    for (int i = 0; i < 300; i++) {
        t.failing = failing && pick(&t, 2) == 0;
        if (t.failing) {
            unsigned kinds = pick(&t, 3) == 0 ? 1u << pick(&t, 6) : DW_VRAM_ANY;
            dw_vram_fail_after(vram, kinds, pick(&t, 12));
        }
        one_step(&t);
        dw_vram_fail_after(vram, 0, -1);
        for (uint32_t k = 0; i % 4 == 3 && k < t.count; k++) {
            check_log(&t, &t.logs[k]);
        }
        dw_kv_memory stats = stats_of(t.device);
        assert_true(limit_bytes == 0 || stats.device_bytes <= limit_bytes);
        assert_true(stats.ready_bytes <= stats.device_bytes);
    }
    dw_kv_memory stats = stats_of(t.device);
    print_message("%zu bytes a record, limit %llu: %zu failed, %llu evictions, %llu returns\n",
                  record_bytes, (unsigned long long)limit_bytes, t.failed,
                  (unsigned long long)stats.eviction_count, (unsigned long long)stats.return_count);
    assert_true(limit_bytes == 0 || stats.eviction_count > 0);
    assert_true(!failing || t.failed > 0);
    while (t.count > 0) {
        drop(&t, &t.logs[0]);
    }
    close_device(t.device);
}

static void test_kv_vram_any_sequence_matches_plain_arrays(void **state)
{
    (void)state;
    static const size_t sizes[] = {40, 96, 500, 1024, 1500};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_trial(sizes[i], 0, false, 11 + i);
        run_trial(sizes[i], RECORDS_MAX * sizes[i] * 3 + 8 * granularity(), false, 1011 + i);
        run_trial(sizes[i], 0, true, 2011 + i);
        run_trial(sizes[i], RECORDS_MAX * sizes[i] * 3 + 8 * granularity(), true, 3011 + i);
    }
}

/* ---- one thing at a time ---- */

/* A trial with one log of `records`, appended at once or one by one. */
static trial with_log(const dw_kv_pool_options *options, size_t record_bytes, uint32_t records,
                      bool at_once)
{
    trial t = {.device = open_device(options), .record_bytes = record_bytes, .random = 3};
    dw_kv_log_options log = options_of(&t, false);
    reference *r = add(&t);
    assert_int_equal(dw_kv_log_create(&r->log, t.device, &log, NULL), DW_OK);
    fill(&t, r->bytes, records * record_bytes);
    for (uint32_t i = 0; i < records; i += at_once ? records : 1) {
        uint32_t count = at_once ? records : 1;
        assert_int_equal(dw_kv_log_append(r->log, r->bytes + i * record_bytes, count, NULL), DW_OK);
    }
    r->length = records;
    return t;
}

static void end(trial *t)
{
    while (t->count > 0) {
        drop(t, &t->logs[0]);
    }
    close_device(t->device);
}

/* Pieces double up to the limit of 4; attention's padding is there as well. */
static void test_kv_vram_pieces_grow_with_the_log(void **state)
{
    (void)state;
    dw_kv_pool_options options = small_pool(0, true);
    size_t unit = granularity();
    size_t record = unit / DW_KV_STEP_TOKENS; /* so that a step is one piece */
    trial t = with_log(&options, record, 1, true);
    reference *r = &t.logs[0];
    const unsigned char *base = dw_kv_log_base(r->log);
    static const size_t ends[] = {1, 2, 4}; /* in pieces of `unit`; capacity 900 needs 4 */
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        dw_vram_counts counts;
        dw_vram_count(dw_kv_pool_vram(t.device), &counts);
        assert_int_equal(counts.piece_count, i + 1);
        assert_int_equal(counts.piece_bytes, ends[i] * unit);
        assert_int_equal(dw_kv_log_committed(r->log), ends[i] * DW_KV_STEP_TOKENS);
        uint32_t wanted = dw_kv_log_committed(r->log) + 1;
        if (wanted < RECORDS_MAX) {
            assert_int_equal(dw_kv_log_reserve(r->log, wanted, NULL), DW_OK);
            memset(dw_kv_log_base(r->log), 1, wanted * record);
            dw_kv_log_extend(r->log, wanted);
        }
        assert_ptr_equal(dw_kv_log_base(r->log), base);
    }
    assert_int_equal(stats_of(t.device).wait_count, stats_of(t.device).growth_count);
    dw_kv_log_trim(r->log, 300); /* two steps: the piece of two goes, and is kept ready */
    dw_kv_pool_settle(t.device);
    assert_int_equal(stats_of(t.device).device_bytes, 2 * unit);
    dw_kv_log_trim(r->log, 0);
    dw_kv_pool_settle(t.device);
    assert_int_equal(stats_of(t.device).device_bytes, 0);
    r->length = 0;
    check_log(&t, r);
    end(&t);
}

/* Past half of the last piece the next one is mapped by another thread: the step finds it. */
static void test_kv_vram_grows_ahead_of_need(void **state)
{
    (void)state;
    dw_kv_pool_options options = small_pool(0, false);
    trial t = with_log(&options, granularity() / DW_KV_STEP_TOKENS, 1, true);
    reference *r = &t.logs[0];
    fill(&t, r->bytes, RECORDS_MAX * t.record_bytes);
    dw_kv_log_trim(r->log, 0);
    r->length = 0;
    uint64_t waits = stats_of(t.device).wait_count;
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        assert_int_equal(dw_kv_log_append(r->log, r->bytes + i * t.record_bytes, 1, NULL), DW_OK);
        r->length++;
        if (i % 50 == 0) {
            dw_kv_pool_settle(t.device);
        }
    }
    check_log(&t, r);
    dw_kv_memory stats = stats_of(t.device);
    assert_true(stats.growth_count >= 4);
    assert_int_equal(stats.wait_count, waits + 1); /* the first piece of all */
    end(&t);
}

static void test_kv_vram_forks_share_full_pieces(void **state)
{
    (void)state;
    dw_kv_pool_options options = small_pool(0, true);
    size_t unit = granularity();
    size_t record = unit / 32; /* 32 to a piece; a step is 8 */
    trial t = with_log(&options, record, 300, true);
    reference *r = &t.logs[0];
    uint64_t before = stats_of(t.device).device_bytes; /* 8, 4 and 4 pieces for 512 records */
    assert_int_equal(before, 16 * unit);
    do_fork(&t, r);
    dw_kv_memory stats = stats_of(t.device);
    assert_int_equal(t.count, 2);
    assert_int_equal(stats.copied_bytes, (300 - 256) * record); /* what is behind 8 pieces */
    assert_int_equal(stats.device_bytes, before + 8 * unit);
    check_log(&t, &t.logs[1]);

    /* Either side appends without copying, as what it appends to is its own. */
    do_append(&t, &t.logs[0]);
    do_append(&t, &t.logs[1]);
    assert_int_equal(stats_of(t.device).copied_bytes, stats.copied_bytes);
    /* Trimmed into what is shared, the next step copies that piece's rest, and only that. */
    dw_kv_log_trim(t.logs[1].log, 100);
    t.logs[1].length = 100;
    assert_int_equal(stats_of(t.device).copied_bytes, stats.copied_bytes);
    dw_kv_log_append(t.logs[1].log, t.logs[0].bytes, 1, NULL);
    memcpy(t.logs[1].bytes + 100 * record, t.logs[0].bytes, record);
    t.logs[1].length = 101;
    assert_int_equal(stats_of(t.device).copied_bytes, stats.copied_bytes + 100 * record);
    check_log(&t, &t.logs[0]);
    check_log(&t, &t.logs[1]);
    /* The last one that holds a piece may write to it. */
    drop(&t, &t.logs[0]);
    uint64_t copied = stats_of(t.device).copied_bytes;
    assert_int_equal(dw_kv_log_rewrite(t.logs[0].log, 0, NULL), DW_OK);
    dw_kv_log_trim(t.logs[0].log, t.logs[0].length);
    assert_int_equal(stats_of(t.device).copied_bytes, copied);
    end(&t);
}

/* A chain of forks, each a little longer, does not pile up small pieces. */
static void test_kv_vram_chains_of_forks_stay_short(void **state)
{
    (void)state;
    dw_kv_pool_options options = small_pool(0, true);
    options.piece_bytes_max = granularity();
    trial t = with_log(&options, granularity() / 4, 4, true);
    t.random = 9;
    for (int i = 0; i < 200; i++) {
        fill(&t, t.logs[0].bytes + t.logs[0].length * t.record_bytes, 4 * t.record_bytes);
        assert_int_equal(dw_kv_log_append(t.logs[0].log,
                                          t.logs[0].bytes + t.logs[0].length * t.record_bytes, 4,
                                          NULL),
                         DW_OK);
        t.logs[0].length += 4;
        do_fork(&t, &t.logs[0]);
        check_log(&t, &t.logs[1]);
        drop(&t, &t.logs[0]);
    }
    dw_vram_counts counts;
    dw_kv_pool_settle(t.device);
    dw_vram_count(dw_kv_pool_vram(t.device), &counts);
    assert_true(counts.piece_count < 64 + 32);
    end(&t);
}

/* ---- leaving and coming back ---- */

static void test_kv_vram_the_longest_unused_leaves_first(void **state)
{
    (void)state;
    size_t unit = granularity();
    dw_kv_pool_options options = small_pool(8 * unit, true);
    trial t = with_log(&options, unit / DW_KV_STEP_TOKENS, 500, true); /* 2 pieces */
    unsigned char *bases[5];
    bases[0] = dw_kv_log_base(t.logs[0].log);
    for (uint32_t i = 1; i < 4; i++) {
        dw_kv_log_options log = options_of(&t, false);
        reference *r = add(&t);
        assert_int_equal(dw_kv_log_create(&r->log, t.device, &log, NULL), DW_OK);
        fill(&t, r->bytes, 500 * t.record_bytes);
        assert_int_equal(dw_kv_log_append(r->log, r->bytes, 500, NULL), DW_OK);
        r->length = 500;
        bases[i] = dw_kv_log_base(r->log);
    }
    assert_int_equal(stats_of(t.device).eviction_count, 0);
    assert_int_equal(dw_kv_log_reserve(t.logs[0].log, 501, NULL), DW_OK); /* used, and in a step */
    do_fork(&t, &t.logs[2]); /* 1 full piece shared, 1 copied */
    assert_int_equal(t.count, 5);
    assert_true(dw_kv_log_resident(t.logs[0].log));
    assert_false(dw_kv_log_resident(t.logs[1].log));
    assert_true(dw_kv_log_resident(t.logs[2].log));
    assert_true(dw_kv_log_resident(t.logs[3].log));
    dw_kv_memory stats = stats_of(t.device);
    assert_int_equal(stats.eviction_count, 1);
    assert_int_equal(stats.resident_count, 4);
    /* It is read where it is, and comes back to where it was when it is used; another leaves. */
    check_log(&t, &t.logs[1]);
    assert_false(dw_kv_log_resident(t.logs[1].log));
    assert_int_equal(dw_kv_log_make_resident(t.logs[1].log, NULL), DW_OK);
    assert_ptr_equal(dw_kv_log_base(t.logs[1].log), bases[1]);
    assert_true(dw_kv_log_resident(t.logs[0].log));
    assert_int_equal(stats_of(t.device).return_count, 1);
    for (uint32_t i = 0; i < t.count; i++) {
        check_log(&t, &t.logs[i]);
    }
    end(&t);
}

static void test_kv_vram_says_what_is_missing(void **state)
{
    (void)state;
    size_t unit = granularity();
    dw_kv_pool_options options = small_pool(4 * unit, true);
    trial t = with_log(&options, unit / DW_KV_STEP_TOKENS, 1, true);
    char wanted[128];
    dw_error err = {0};
    dw_kv_log_options log = options_of(&t, false);
    assert_int_equal(dw_kv_log_reserve(t.logs[0].log, 700, NULL), DW_OK); /* 3 pieces, in a step */
    reference *r = add(&t);
    assert_int_equal(dw_kv_log_create(&r->log, t.device, &log, NULL), DW_OK);
    assert_int_equal(dw_kv_log_reserve(r->log, 300, &err), DW_E_MEMORY);
    (void)snprintf(wanted, sizeof wanted, "%zu bytes wanted on CPU", unit);
    assert_non_null(strstr(err.message, wanted));
    (void)snprintf(wanted, sizeof wanted, "logs in use have %zu, limit %zu", 4 * unit, 4 * unit);
    assert_non_null(strstr(err.message, wanted));
    assert_int_equal(dw_kv_log_length(r->log), 0);
    dw_kv_log_trim(t.logs[0].log, 1); /* the step does not come */
    assert_int_equal(dw_kv_log_reserve(r->log, 700, &err), DW_OK);
    assert_false(dw_kv_log_resident(t.logs[0].log));
    check_log(&t, &t.logs[0]);
    /* A lower limit lets go of what is not in use, and not of what is. */
    assert_int_equal(dw_kv_pool_limit(t.device, unit, NULL), DW_OK);
    assert_true(dw_kv_log_resident(r->log));
    dw_kv_log_trim(r->log, 0);
    assert_int_equal(dw_kv_log_make_resident(t.logs[0].log, &err), DW_OK);
    assert_int_equal(dw_kv_pool_limit(t.device, 0, NULL), DW_OK);
    end(&t);
}

/* What relatives on the device still map is not copied out; when the last one leaves it is,
 * once. */
static void test_kv_vram_shared_pieces_leave_with_the_last(void **state)
{
    (void)state;
    size_t unit = granularity();
    dw_kv_pool_options options = small_pool(0, true);
    trial t = with_log(&options, unit / 32, 256, true); /* 8 pieces, one block */
    do_fork(&t, &t.logs[0]);
    do_fork(&t, &t.logs[1]);
    assert_int_equal(stats_of(t.device).copied_bytes, 0);
    assert_int_equal(dw_kv_log_reserve(t.logs[2].log, 257, NULL), DW_OK); /* in a step */
    assert_int_equal(dw_kv_pool_evict(t.device, NULL), DW_OK);
    assert_false(dw_kv_log_resident(t.logs[0].log));
    assert_false(dw_kv_log_resident(t.logs[1].log));
    assert_int_equal(stats_of(t.device).evicted_bytes, 0);
    check_log(&t, &t.logs[0]); /* read through a window */
    dw_kv_log_trim(t.logs[2].log, 256);
    assert_int_equal(dw_kv_pool_evict(t.device, NULL), DW_OK);
    dw_kv_memory stats = stats_of(t.device);
    assert_int_equal(stats.evicted_bytes, 8 * unit);
    assert_int_equal(stats.host_bytes, 8 * unit);
    assert_int_equal(stats.device_bytes, 0);
    assert_int_equal(dw_kv_log_make_resident(t.logs[1].log, NULL), DW_OK);
    assert_int_equal(dw_kv_log_make_resident(t.logs[0].log, NULL), DW_OK);
    stats = stats_of(t.device);
    assert_int_equal(stats.returned_bytes, 8 * unit); /* for both */
    assert_int_equal(stats.host_bytes, 0);
    /* Whoever has it mapped goes; the one that is evicted keeps it. */
    drop(&t, &t.logs[0]);
    drop(&t, &t.logs[1]);
    check_log(&t, &t.logs[0]);
    assert_int_equal(dw_kv_pool_evict(t.device, NULL), DW_OK);
    check_log(&t, &t.logs[0]);
    end(&t);
}

/* ---- failures ---- */

typedef struct attempt {
    const char *name;
    void (*prepare)(trial *t);
    dw_status (*run)(trial *t, dw_kv_log **made, dw_error *err);
} attempt;

static void evict_all(trial *t)
{
    assert_int_equal(dw_kv_pool_evict(t->device, NULL), DW_OK);
}

static void bring_all(trial *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        assert_int_equal(dw_kv_log_make_resident(t->logs[i].log, NULL), DW_OK);
    }
}

static void trim_first(trial *t)
{
    dw_kv_log_trim(t->logs[0].log, 500);
    t->logs[0].length = 500;
    bring_all(t);
    dw_kv_pool_settle(t->device);
}

static void trim_and_evict(trial *t)
{
    trim_first(t);
    evict_all(t);
}

static dw_status try_append(trial *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    reference *r = &t->logs[0];
    dw_status status = dw_kv_log_append(r->log, r->bytes + r->length * t->record_bytes, 300, err);
    r->length += status == DW_OK ? 300 : 0;
    return status;
}

static dw_status try_fork(trial *t, dw_kv_log **made, dw_error *err)
{
    return dw_kv_log_fork(made, t->logs[0].log, err);
}

/* The last log is a new fork, whose pieces are shared. */
static void renew_fork(trial *t)
{
    drop(t, &t->logs[1]);
    trim_first(t);
    do_fork(t, &t->logs[0]);
    dw_kv_pool_settle(t->device);
}

static dw_status try_rewrite(trial *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    dw_status status = dw_kv_log_rewrite(t->logs[1].log, 10, err);
    dw_kv_log_trim(t->logs[1].log, t->logs[1].length);
    return status;
}

static dw_status try_leave(trial *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    return dw_kv_pool_evict(t->device, err);
}

static dw_status try_return(trial *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    return dw_kv_log_make_resident(t->logs[0].log, err);
}

static dw_status read_all(trial *t, dw_error *err)
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

static dw_status try_read(trial *t, dw_kv_log **made, dw_error *err)
{
    (void)made;
    return read_all(t, err);
}

/* Log 1 is evicted, and of what it holds some is mapped by log 0 and some is saved. */
static void evict_second(trial *t)
{
    renew_fork(t);
    evict_all(t);
    assert_int_equal(dw_kv_log_make_resident(t->logs[0].log, NULL), DW_OK);
}

static dw_status try_thaw(trial *t, dw_kv_log **made, dw_error *err)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    size_t held = t->logs[0].length * t->record_bytes;
    assert_int_equal(fwrite(t->logs[0].bytes, 1, held, file), held);
    assert_int_equal(fflush(file), 0);
    dw_kv_segment segment = {fileno(file), 0, 0, held};
    dw_kv_frozen frozen = {&segment, 1, t->logs[0].length};
    dw_kv_log_options options = options_of(t, false);
    dw_status status = dw_kv_log_thaw(made, t->device, &options, &frozen, err);
    (void)fclose(file);
    return status;
}

static size_t failed_calls(trial *t)
{
    dw_vram_counts counts;
    dw_vram_count(dw_kv_pool_vram(t->device), &counts);
    return counts.failed_count;
}

/* The n-th call fails, for n from 0 on until there is none any more; each time all is as it was.
 * Some failures are got over: memory may be made room for, a mapping put back. */
static void fail_each(trial *t, const attempt *what, bool allocations)
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
            check_log(t, &t->logs[i]);
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
        {"leave", bring_all, try_leave},
        {"read", bring_all, try_read},
        {"read of evicted", evict_second, try_read},
        {"return", evict_all, try_return},
        {"append to evicted", trim_and_evict, try_append},
    };
    for (int allocations = 0; allocations < 2; allocations++) {
        dw_kv_pool_options options = small_pool(0, true);
        trial t = with_log(&options, 100, 500, true);
        fill(&t, t.logs[0].bytes + 500 * 100, 300 * 100);
        do_fork(&t, &t.logs[0]);
        assert_int_equal(t.count, 2);
        for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
            trim_first(&t);
            fail_each(&t, &attempts[i], allocations != 0);
        }
        end(&t);
    }
}

/* ---- threads ---- */

typedef struct worker {
    trial t;
    pthread_t thread;
} worker;

static void *work(void *user)
{
    trial *t = user;
    for (int i = 0; i < 150; i++) {
        one_step(t);
        for (uint32_t k = 0; i % 8 == 7 && k < t->count; k++) {
            check_log(t, &t->logs[k]);
        }
    }
    return NULL;
}

/* Relatives, each used by its own thread, on a device too small for all of them. */
static void test_kv_vram_relatives_are_used_by_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    size_t record = 96;
    dw_kv_pool_options options = small_pool(RECORDS_MAX * record * 4 + 16 * granularity(), false);
    trial t = with_log(&options, record, 400, true);
    worker workers[THREADS] = {0};
    for (uint32_t i = 0; i < THREADS; i++) {
        trial *own = &workers[i].t;
        *own =
            (trial){.device = t.device, .record_bytes = record, .shared = true, .random = 77 + i};
        reference *r = add(own);
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
            check_log(&workers[i].t, &workers[i].t.logs[k]);
        }
    }
    check_log(&t, &t.logs[0]);
    assert_true(stats_of(t.device).eviction_count > 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        while (workers[i].t.count > 0) {
            drop(&workers[i].t, &workers[i].t.logs[0]);
        }
    }
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_vram_pieces_grow_with_the_log),
        cmocka_unit_test(test_kv_vram_grows_ahead_of_need),
        cmocka_unit_test(test_kv_vram_forks_share_full_pieces),
        cmocka_unit_test(test_kv_vram_chains_of_forks_stay_short),
        cmocka_unit_test(test_kv_vram_the_longest_unused_leaves_first),
        cmocka_unit_test(test_kv_vram_says_what_is_missing),
        cmocka_unit_test(test_kv_vram_shared_pieces_leave_with_the_last),
        cmocka_unit_test(test_kv_vram_survives_every_failure),
        cmocka_unit_test(test_kv_vram_any_sequence_matches_plain_arrays),
        cmocka_unit_test(test_kv_vram_relatives_are_used_by_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
