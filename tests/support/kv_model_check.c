#include "kv_model_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/os.h"
#include "support.h"

static size_t unit_bytes; /* of the device's memory, found out before the tests */

const char *kv_check_device_name(void)
{
    const char *name = getenv("DW_TEST_DEVICE");
    return name != NULL ? name : "CPU";
}

size_t kv_check_granularity(void)
{
    return unit_bytes;
}

/* As many bytes as would be `bytes` where an allocation has 4,096. */
size_t kv_check_scaled(size_t bytes)
{
    return bytes * (unit_bytes / UNIT_BYTES) / 4 * 4;
}

int kv_check_rounds(int count)
{
    return unit_bytes <= (size_t)64 << 10 ? count : (count + 3) / 4;
}

dw_kv_pool_options kv_check_pool(uint64_t limit_bytes, bool grows_in_step)
{
    return (dw_kv_pool_options){.emulation = {.granularity_bytes = unit_bytes},
                                .allocation_bytes_max = 4 * kv_check_granularity(),
                                .buffer_bytes = kv_check_scaled(3 * UNIT_BYTES),
                                .threads = 3,
                                .limit_bytes = limit_bytes,
                                .grows_in_step = grows_in_step};
}

dw_device *kv_check_open_device(const dw_kv_pool_options *options)
{
    dw_device *device = NULL;
    dw_error err = {0};
    assert_int_equal(dw_device_open(&device, kv_check_device_name(), 1, &err), DW_OK);
    if (dw_kv_pool_open(device, options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return device;
}

/* All logs are gone: nothing may be left but what is kept, and that goes too. */
void kv_check_close_device(dw_device *device)
{
    dw_vram_stats counts;
    dw_kv_stats stats = {.struct_bytes = sizeof stats};
    (void)dw_kv_kept_forget_all(device);
    dw_kv_pool_settle(device);
    dw_vram_get_stats(dw_kv_pool_vram(device), &counts);
    assert_true(dw_kv_pool_get_stats(device, &stats));
    assert_int_equal(counts.range_count, 0);
    assert_int_equal(counts.allocation_count, 0);
    assert_int_equal(counts.allocation_bytes, 0);
    assert_int_equal(counts.mapping_count, 0);
    assert_int_equal(stats.context_count, 0);
    assert_int_equal(stats.device_bytes, 0);
    assert_int_equal(stats.host_bytes, 0);
    dw_device_close(device);
}

dw_kv_stats kv_check_stats(dw_device *device)
{
    dw_kv_stats stats = {.struct_bytes = sizeof stats};
    assert_true(dw_kv_pool_get_stats(device, &stats));
    return stats;
}

uint32_t kv_check_pick(kv_check *t, uint32_t below)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->random >> 33) % below;
}

/* Never 255: in bytes of 255 any of ggml's types is NaN, which must not stay in a log. */
void kv_check_fill(kv_check *t, unsigned char *to, size_t bytes)
{
    unsigned char seed = (unsigned char)(1 + kv_check_pick(t, 200));
    for (size_t i = 0; i < bytes; i++) {
        to[i] = (unsigned char)(1 + (seed + i * 7) % 199);
    }
}

/* ---- a log against its reference ---- */

/* As the device sees a log: to write there, or to look. */
void kv_check_at_log(dw_kv_log *log, size_t offset, void *to, const void *from, size_t bytes)
{
    struct ggml_init_params params = {.mem_size = 4 * ggml_tensor_overhead(), .no_alloc = true};
    size_t there = dw_kv_log_committed(log) * dw_kv_log_record_bytes(log);
    if (bytes > 0) {
        struct ggml_context *ggml = ggml_init(params);
        struct ggml_tensor *tensor = ggml_new_tensor_1d(ggml, GGML_TYPE_I8, (int64_t)there);
        assert_int_equal(dw_kv_log_place(log, tensor, NULL), DW_OK);
        assert_true(dw_kv_log_base(log) == tensor->data);
        if (from != NULL) {
            ggml_backend_tensor_set(tensor, from, offset, bytes);
        } else {
            ggml_backend_tensor_get(tensor, to, offset, bytes);
        }
        ggml_free(ggml);
    }
}

static void check_resident(const kv_check *t, const reference *r)
{
    size_t held = r->length * t->record_bytes;
    size_t there = dw_kv_log_committed(r->log) * t->record_bytes;
    unsigned char *bytes = malloc(there + 1);
    assert_non_null(bytes);
    assert_true(there >= held);
    kv_check_at_log(r->log, 0, bytes, NULL, there);
    assert_memory_equal(bytes, r->bytes, held);
    assert_null(memchr(bytes + held, 255, there - held)); /* finite, as far as attention looks */
    free(bytes);
}

void kv_check_check(const kv_check *t, const reference *r)
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
    if (held > 9) { /* a part, across allocations or not */
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

reference *kv_check_add(kv_check *t)
{
    reference *r = &t->logs[t->count++];
    *r = (reference){.bytes = calloc(RECORDS_MAX, t->record_bytes)};
    assert_non_null(r->bytes);
    return r;
}

void kv_check_drop(kv_check *t, reference *r)
{
    dw_kv_log_destroy(r->log);
    free(r->bytes);
    *r = t->logs[--t->count];
}

dw_kv_log_options kv_check_log_options(const kv_check *t, bool in_host_pages)
{
    return (dw_kv_log_options){.record_bytes = t->record_bytes,
                               .capacity_tokens = RECORDS_MAX,
                               .in_device_memory = !in_host_pages};
}

/* Whether it worked; failures are those that were asked for, or that of a limit. */
bool kv_check_worked(kv_check *t, dw_status status, const dw_error *err)
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

static void do_create(kv_check *t)
{
    dw_error err = {0};
    dw_kv_log *log = NULL;
    bool in_host_pages = kv_check_pick(t, 6) == 0;
    dw_kv_log_options options = kv_check_log_options(t, in_host_pages);
    if (t->count < LOGS_MAX &&
        kv_check_worked(t, dw_kv_log_create(&log, t->device, &options, &err), &err)) {
        reference *r = kv_check_add(t);
        r->log = log;
        r->in_host_pages = in_host_pages;
    }
}

/* A step writes `count` records of `from` at its end. */
static bool step(kv_check *t, reference *r, const void *from, uint32_t count)
{
    dw_error err = {0};
    unsigned char *base = dw_kv_log_base(r->log);
    if (!kv_check_worked(t, dw_kv_log_reserve(r->log, r->length + count, &err), &err)) {
        return false;
    }
    assert_ptr_equal(dw_kv_log_base(r->log), base);
    assert_true(dw_kv_log_resident(r->log));
    kv_check_at_log(r->log, r->length * t->record_bytes, NULL, from, count * t->record_bytes);
    return true;
}

void kv_check_append(kv_check *t, reference *r)
{
    uint32_t most = RECORDS_MAX - r->length;
    uint32_t count =
        kv_check_pick(t, 5) == 0 ? kv_check_pick(t, most / 2 + 1) : kv_check_pick(t, 9);
    dw_error err = {0};
    count = count < most ? count : most;
    size_t bytes = count * t->record_bytes;
    unsigned char *records = malloc(bytes + 1);
    assert_non_null(records);
    kv_check_fill(t, records, bytes);
    bool done = false;
    if (kv_check_pick(t, 2) == 0) {
        done = kv_check_worked(t, dw_kv_log_append(r->log, records, count, &err), &err);
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

static void do_trim(kv_check *t, reference *r)
{
    uint32_t least = kv_check_pick(t, 3) == 0 ? 0 : r->length / 2;
    r->length = least + kv_check_pick(t, r->length - least + 1);
    dw_kv_log_trim(r->log, r->length);
}

/* A step that wrote NaN and was undone. Zeroing may fail as well, and is then done again. */
static void do_fail(kv_check *t, reference *r)
{
    uint32_t most = RECORDS_MAX - r->length;
    uint32_t count = most < 5 ? most : 5;
    unsigned char *wrong = malloc(5 * t->record_bytes);
    assert_non_null(wrong);
    memset(wrong, 255, 5 * t->record_bytes);
    if (count > 0 && step(t, r, wrong, count)) {
        dw_kv_log_trim(r->log, r->length);
        dw_error err = {0};
        while (!kv_check_worked(t, dw_kv_log_clear_rest(r->log, &err), &err)) {
            dw_vram_fail_after(dw_kv_pool_vram(t->device), 0, -1);
            for (uint32_t i = 0; i < t->count; i++) { /* others may be in the way */
                dw_kv_log_trim(t->logs[i].log, t->logs[i].length);
            }
        }
    }
    free(wrong);
}

/* Records move forward, changed on the way. */
static void do_shift(kv_check *t, reference *r)
{
    uint32_t keep = kv_check_pick(t, r->length + 1);
    uint32_t gone = kv_check_pick(t, r->length - keep + 1);
    size_t moved = (r->length - keep - gone) * t->record_bytes;
    dw_error err = {0};
    if (!kv_check_worked(t, dw_kv_log_rewrite(r->log, keep, &err), &err)) {
        return;
    }
    unsigned char *to = r->bytes + keep * t->record_bytes;
    memmove(to, to + gone * t->record_bytes, moved);
    for (size_t i = 0; i < moved; i += 5) {
        to[i] = (unsigned char)(to[i] == 7 ? 8 : 7);
    }
    kv_check_at_log(r->log, keep * t->record_bytes, NULL, to, moved);
    r->length -= gone;
    dw_kv_log_trim(r->log, r->length);
}

void kv_check_fork(kv_check *t, reference *parent)
{
    dw_error err = {0};
    dw_kv_log *log = NULL;
    if (t->count < LOGS_MAX && kv_check_worked(t, dw_kv_log_fork(&log, parent->log, &err), &err)) {
        reference *r = kv_check_add(t);
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
static void do_freeze_and_thaw(kv_check *t, reference *from)
{
    size_t held = from->length * t->record_bytes;
    FILE *stream = tmpfile();
    assert_non_null(stream);
    frozen_file file = {.fd = fileno(stream), .hash = dw_hash128_create()};
    assert_non_null(file.hash);
    dw_sink sink = {.in_order = hash_next, .anywhere = write_part, .user = &file};
    dw_error err = {0};
    bool done = kv_check_worked(t, dw_kv_log_stream(from->log, 0, held, &sink, &err), &err);
    if (done) {
        uint8_t streamed[DW_HASH128_BYTES];
        uint8_t wanted[DW_HASH128_BYTES];
        dw_hash128_finish(file.hash, streamed);
        dw_hash128_of(wanted, from->bytes, held);
        assert_int_equal(file.ordered, held);
        assert_memory_equal(streamed, wanted, sizeof wanted);
    }
    bool in_host_pages = kv_check_pick(t, 3) == 0;
    dw_kv_log_options options = kv_check_log_options(t, in_host_pages);
    dw_kv_segment segments[2] = {{file.fd, 0, 0, held / 3},
                                 {file.fd, held / 3, held / 3, held - held / 3}};
    dw_kv_frozen frozen = {.segments = segments, .segment_count = 2, .length = from->length};
    dw_kv_log *log = NULL;
    if (done && t->count < LOGS_MAX &&
        kv_check_worked(t, dw_kv_log_thaw(&log, t->device, &options, &frozen, &err), &err)) {
        reference *r = kv_check_add(t);
        memcpy(r->bytes, from->bytes, held);
        r->log = log;
        r->length = from->length;
        r->in_host_pages = in_host_pages;
    }
    dw_hash128_destroy(file.hash);
    (void)fclose(stream);
}

static void do_evict(kv_check *t)
{
    dw_error err = {0};
    (void)kv_check_worked(t, dw_kv_pool_evict(t->device, &err), &err);
}

/* Let go of a log that can be kept, use another, and come back for it. */
static void do_keep(kv_check *t, reference *r)
{
    dw_kv_key key = {.owner = "o", .state = "s", .number = (int32_t)(r - t->logs), .model = t};
    dw_kv_log_options options = kv_check_log_options(t, r->in_host_pages);
    dw_error err = {0};
    (void)snprintf(key.owner, sizeof key.owner, "%u", kv_check_pick(t, 1u << 30));
    dw_kv_kept_limit(t->device, UINT64_MAX);
    dw_kv_log_begin_saving(r->log);
    dw_kv_log_end_saving(r->log, true);
    dw_kv_log_keep(r->log, &key);
    r->log = NULL;
    reference *other = &t->logs[kv_check_pick(t, t->count)];
    if (other != r) {
        kv_check_append(t, other);
    }
    if (kv_check_pick(t, 4) > 0 &&
        kv_check_worked(t, dw_kv_log_find_kept(&r->log, t->device, &options, &key, r->length, &err),
                        &err) &&
        r->log != NULL) {
        if (!t->failing) {
            kv_check_check(t, r);
        }
        return;
    }
    kv_check_drop(t, r);
    dw_kv_kept_forget(t->device, NULL, kv_check_pick(t, 2) == 0 ? key.owner : "another");
}

void kv_check_step(kv_check *t)
{
    dw_error err = {0};
    if (t->count == 0) {
        do_create(t);
        return;
    }
    reference *r = &t->logs[kv_check_pick(t, t->count)];
    uint32_t what = kv_check_pick(t, 29);
    if (what < 8) {
        kv_check_append(t, r);
    } else if (what < 10) {
        do_trim(t, r);
    } else if (what < 12) {
        do_shift(t, r);
    } else if (what < 16) {
        kv_check_fork(t, r);
    } else if (what < 18) {
        do_freeze_and_thaw(t, r);
    } else if (what < 19) {
        do_fail(t, r);
    } else if (what < 20) {
        do_evict(t);
    } else if (what < 22) {
        (void)kv_check_worked(t, dw_kv_log_make_resident(r->log, &err), &err);
    } else if (what < 24) {
        do_create(t);
    } else if (what < 27) {
        do_keep(t, r);
    } else {
        kv_check_drop(t, r);
    }
}

/* A kv_check with one log of `records`, appended at once or one by one. */
kv_check kv_check_with_log(const dw_kv_pool_options *options, size_t record_bytes, uint32_t records,
                           bool at_once)
{
    kv_check t = {
        .device = kv_check_open_device(options), .record_bytes = record_bytes, .random = 3};
    dw_kv_log_options log = kv_check_log_options(&t, false);
    reference *r = kv_check_add(&t);
    assert_int_equal(dw_kv_log_create(&r->log, t.device, &log, NULL), DW_OK);
    kv_check_fill(&t, r->bytes, records * record_bytes);
    for (uint32_t i = 0; i < records; i += at_once ? records : 1) {
        uint32_t count = at_once ? records : 1;
        assert_int_equal(dw_kv_log_append(r->log, r->bytes + i * record_bytes, count, NULL), DW_OK);
    }
    r->length = records;
    return t;
}

void kv_check_end(kv_check *t)
{
    while (t->count > 0) {
        kv_check_drop(t, &t->logs[0]);
    }
    kv_check_close_device(t->device);
}

/* false: this device has no such memory. */
bool kv_check_find_unit(void)
{
    dw_device *device = NULL;
    dw_error err = {0};
    dw_kv_pool_options options = {.emulation = {.granularity_bytes = dw_os_page_bytes() > UNIT_BYTES
                                                                         ? dw_os_page_bytes()
                                                                         : UNIT_BYTES}};
    if (dw_device_open(&device, kv_check_device_name(), 1, &err) == DW_OK &&
        dw_kv_pool_open(device, &options, &err) == DW_OK) {
        unit_bytes = dw_vram_granularity(dw_kv_pool_vram(device));
    } else {
        print_message("%s\n", err.message);
    }
    dw_device_close(device);
    return unit_bytes > 0;
}
