/* The KV log, in host pages and in device memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ggml-alloc.h>

#include "base/alloc.h"
#include "base/os.h"
#include "device/device_run.h"
#include "kv/kv_limit.h"
#include "kv/kv_log.h"
#include "support.h"

#define RECORD_ELEMENTS 64
#define RECORD_BYTES (RECORD_ELEMENTS * sizeof(ggml_fp16_t))

static dw_kv_log *make(dw_device *device, uint32_t capacity, bool in_device_memory)
{
    dw_kv_log_options options = {.record_bytes = RECORD_BYTES,
                                 .capacity_tokens = capacity,
                                 .in_device_memory = in_device_memory};
    dw_error err = {0};
    dw_kv_log *log = NULL;
    if (dw_kv_log_create(&log, device, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return log;
}

/* Append `value` to every element of record `at`, as a step does: by the device. */
static void append(dw_device *device, dw_kv_log *log, uint32_t at, float value)
{
    dw_error err = {0};
    assert_int_equal(dw_kv_log_reserve(log, at + 1, &err), DW_OK);
    struct ggml_init_params params = {
        .mem_size = 16 * ggml_tensor_overhead() + ggml_graph_overhead(), .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    struct ggml_cgraph *graph = ggml_new_graph(ggml);
    struct ggml_tensor *root =
        ggml_new_tensor_2d(ggml, GGML_TYPE_F16, RECORD_ELEMENTS, dw_kv_log_committed(log));
    assert_int_equal(dw_kv_log_place(log, root, &err), DW_OK);
    struct ggml_tensor *row = ggml_new_tensor_2d(ggml, GGML_TYPE_F32, RECORD_ELEMENTS, 1);
    struct ggml_tensor *index = ggml_new_tensor_1d(ggml, GGML_TYPE_I64, 1);
    ggml_set_input(row);
    ggml_set_input(index);
    ggml_build_forward_expand(graph, ggml_set_rows(ggml, root, row, index));
    ggml_gallocr_t allocator = ggml_gallocr_new(dw_device_buffer_type(device));
    assert_true(ggml_gallocr_alloc_graph(allocator, graph));
    for (int i = 0; i < RECORD_ELEMENTS; i++) {
        ((float *)row->data)[i] = value;
    }
    *(int64_t *)index->data = at;
    assert_int_equal(dw_device_run(device, graph, NULL, &err), DW_OK);
    dw_kv_log_extend(log, at + 1);
    ggml_gallocr_free(allocator);
    ggml_free(ggml);
}

static float recall(dw_kv_log *log, uint32_t at)
{
    struct ggml_init_params params = {.mem_size = 4 * ggml_tensor_overhead(), .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    struct ggml_tensor *root =
        ggml_new_tensor_2d(ggml, GGML_TYPE_F16, RECORD_ELEMENTS, dw_kv_log_committed(log));
    assert_int_equal(dw_kv_log_place(log, root, NULL), DW_OK);
    ggml_fp16_t values[RECORD_ELEMENTS];
    ggml_backend_tensor_get(root, values, at * RECORD_BYTES, RECORD_BYTES);
    ggml_free(ggml);
    for (int i = 1; i < RECORD_ELEMENTS; i++) {
        assert_int_equal(values[i], values[0]);
    }
    return ggml_fp16_to_fp32(values[0]);
}

static void check_growth(bool in_device_memory)
{
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log *log = make(device, 1300, in_device_memory);
    assert_int_equal(dw_kv_log_in_host_memory(log), !in_device_memory);
    assert_int_equal(dw_kv_log_committed(log), 0);
    void *base = dw_kv_log_base(log);
    const uint32_t places[] = {0, 1, 255, 256, 600, 1299};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        append(device, log, places[i], (float)(i + 1));
        assert_int_equal(dw_kv_log_length(log), places[i] + 1);
        assert_int_equal(dw_kv_log_committed(log) % DW_KV_STEP_TOKENS, 0);
        assert_true(dw_kv_log_committed(log) > places[i]);
        for (size_t j = 0; j <= i; j++) { /* what was held survived each growth */
            assert_true(recall(log, places[j]) == (float)(j + 1));
        }
    }
    assert_ptr_equal(dw_kv_log_base(log), base);
    assert_int_equal(dw_kv_log_committed(log), 1536); /* no more than the capacity needs */
    dw_kv_log_destroy(log);
    dw_device_close(device);
}

static void test_kv_log_grows_in_host_pages(void **state)
{
    (void)state;
    check_growth(false);
}

static void test_kv_log_grows_in_device_memory(void **state)
{
    (void)state;
    check_growth(true);
}

static void test_kv_log_refuses_more_than_its_capacity(void **state)
{
    (void)state;
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log *log = make(device, 300, false);
    dw_error err = {0};
    assert_int_equal(dw_kv_log_reserve(log, 301, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.message, "301 tokens, limit 300"));
    assert_int_equal(dw_kv_log_committed(log), 0);
    assert_int_equal(dw_kv_log_reserve(log, 300, &err), DW_OK);
    dw_kv_log_destroy(log);
    dw_kv_log_destroy(NULL);
    dw_device_close(device);
}

static void check_trim_and_clear(bool in_device_memory)
{
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log *log = make(device, 300, in_device_memory);
    append(device, log, 0, 1);
    append(device, log, 1, 2);
    append(device, log, 2, 3);
    dw_kv_log_trim(log, 1);
    assert_int_equal(dw_kv_log_length(log), 1);
    assert_true(recall(log, 2) == 3); /* trimming is one number */
    assert_int_equal(dw_kv_log_clear_rest(log, NULL), DW_OK);
    assert_true(recall(log, 0) == 1);
    assert_true(recall(log, 1) == 0 && recall(log, 2) == 0);
    append(device, log, 1, 5);
    assert_true(recall(log, 1) == 5);
    dw_kv_log_destroy(log);
    dw_device_close(device);
}

static void test_kv_log_trims_and_clears(void **state)
{
    (void)state;
    check_trim_and_clear(false);
    check_trim_and_clear(true);
}

/* ---- forks, thawing, and all of it against plain arrays ---- */

#define LOGS_MAX 10
#define RECORDS_MAX 700u

/* What a log ought to hold, and held when it was last marked as saved. */
typedef struct reference {
    dw_kv_log *log;
    unsigned char *bytes; /* [RECORDS_MAX][record_bytes] */
    unsigned char *saved;
    uint32_t length;
    uint64_t saved_bytes;
} reference;

typedef struct kv_check {
    dw_device *device;
    size_t record_bytes;
    bool in_device_memory;
    bool in_buffer;
    reference logs[LOGS_MAX];
    uint32_t count;
    uint64_t random;
} kv_check;

static uint32_t pick(kv_check *t, uint32_t below)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->random >> 33) % below;
}

/* Never 255: in bytes of 255 any of ggml's types is NaN, which must not stay in a log. */
static void fill(kv_check *t, unsigned char *to, size_t bytes)
{
    unsigned char seed = (unsigned char)(1 + pick(t, 200));
    for (size_t i = 0; i < bytes; i++) {
        to[i] = (unsigned char)(1 + (seed + i * 7) % 199);
    }
}

/* As a device writes. */
static void write_records(kv_check *t, dw_kv_log *log, uint32_t first, const void *from,
                          size_t bytes)
{
    struct ggml_init_params params = {.mem_size = 4 * ggml_tensor_overhead(), .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    struct ggml_tensor *root = ggml_new_tensor_1d(
        ggml, GGML_TYPE_I8, (int64_t)(dw_kv_log_committed(log) * t->record_bytes));
    assert_int_equal(dw_kv_log_place(log, root, NULL), DW_OK);
    ggml_backend_tensor_set(root, from, first * t->record_bytes, bytes);
    ggml_free(ggml);
}

/* What lies behind the length, up to what attention reads, is finite. */
static void check_padding(const kv_check *t, dw_kv_log *log)
{
    struct ggml_init_params params = {.mem_size = 4 * ggml_tensor_overhead(), .no_alloc = true};
    size_t held = dw_kv_log_length(log) * t->record_bytes;
    size_t bytes = dw_kv_log_committed(log) * t->record_bytes - held;
    if (bytes == 0) {
        return;
    }
    unsigned char *rest = malloc(bytes);
    assert_non_null(rest);
    struct ggml_context *ggml = ggml_init(params);
    struct ggml_tensor *root = ggml_new_tensor_1d(ggml, GGML_TYPE_I8, (int64_t)(held + bytes));
    assert_int_equal(dw_kv_log_place(log, root, NULL), DW_OK);
    ggml_backend_tensor_get(root, rest, held, bytes);
    assert_null(memchr(rest, 255, bytes));
    ggml_free(ggml);
    free(rest);
}

static void check_log(kv_check *t, const reference *r)
{
    size_t held = r->length * t->record_bytes;
    unsigned char *there = malloc(held + 1);
    assert_non_null(there);
    assert_int_equal(dw_kv_log_length(r->log), r->length);
    assert_int_equal(dw_kv_log_committed(r->log) % DW_KV_STEP_TOKENS, 0);
    assert_true(dw_kv_log_committed(r->log) >= r->length);
    assert_int_equal(dw_kv_log_read(r->log, 0, held, there, NULL), DW_OK);
    assert_int_equal(dw_kv_log_read(r->log, 1, held, there, NULL), DW_E_RANGE);
    assert_memory_equal(there, r->bytes, held);
    assert_int_equal(dw_kv_log_saved_bytes(r->log), r->saved_bytes);
    assert_true(r->saved_bytes <= held);
    assert_memory_equal(there, r->saved, r->saved_bytes);
    check_padding(t, r->log);
    free(there);
}

static reference *add(kv_check *t)
{
    reference *r = &t->logs[t->count++];
    size_t bytes = RECORDS_MAX * t->record_bytes;
    *r = (reference){.bytes = calloc(1, bytes), .saved = calloc(1, bytes)};
    assert_non_null(r->bytes);
    assert_non_null(r->saved);
    return r;
}

static dw_kv_log_options options_of(const kv_check *t)
{
    return (dw_kv_log_options){.record_bytes = t->record_bytes,
                               .capacity_tokens = RECORDS_MAX,
                               .in_device_memory = t->in_device_memory,
                               .in_buffer = t->in_buffer};
}

static void do_create(kv_check *t)
{
    dw_kv_log_options options = options_of(t);
    if (t->count < LOGS_MAX) {
        assert_int_equal(dw_kv_log_create(&add(t)->log, t->device, &options, NULL), DW_OK);
    }
}

static void do_free(kv_check *t, reference *r)
{
    dw_kv_log_destroy(r->log);
    free(r->bytes);
    free(r->saved);
    *r = t->logs[--t->count];
}

static void do_append(kv_check *t, reference *r)
{
    uint32_t most = RECORDS_MAX - r->length;
    uint32_t count = pick(t, 4) == 0 ? pick(t, most + 1) : pick(t, 9);
    count = count < most ? count : most;
    unsigned char *to = r->bytes + r->length * t->record_bytes;
    fill(t, to, count * t->record_bytes);
    if (pick(t, 2) == 0) {
        assert_int_equal(dw_kv_log_append(r->log, to, count, NULL), DW_OK);
    } else if (count > 0) {
        assert_int_equal(dw_kv_log_reserve(r->log, r->length + count, NULL), DW_OK);
        write_records(t, r->log, r->length, to, count * t->record_bytes);
        dw_kv_log_extend(r->log, r->length + count);
    }
    r->length += count;
}

static void note_change(const kv_check *t, reference *r, uint32_t from)
{
    uint64_t bytes = (uint64_t)from * t->record_bytes;
    r->saved_bytes = r->saved_bytes < bytes ? r->saved_bytes : bytes;
}

static void do_trim(kv_check *t, reference *r)
{
    uint32_t length = pick(t, r->length + 1);
    dw_kv_log_trim(r->log, length);
    r->length = length;
    note_change(t, r, length);
}

/* A step that wrote NaN and was undone. */
static void do_fail(kv_check *t, reference *r)
{
    uint32_t most = RECORDS_MAX - r->length;
    uint32_t count = most < 5 ? most : 5;
    if (count > 0) {
        unsigned char *wrong = malloc(count * t->record_bytes);
        assert_non_null(wrong);
        memset(wrong, 255, count * t->record_bytes);
        assert_int_equal(dw_kv_log_reserve(r->log, r->length + count, NULL), DW_OK);
        write_records(t, r->log, r->length, wrong, count * t->record_bytes);
        free(wrong);
    }
    assert_int_equal(dw_kv_log_clear_rest(r->log, NULL), DW_OK);
}

/* A shift: records move forward, changed on the way. */
static void do_shift(kv_check *t, reference *r)
{
    uint32_t keep = pick(t, r->length + 1);
    uint32_t drop = pick(t, r->length - keep + 1);
    uint32_t moved = r->length - keep - drop;
    assert_int_equal(dw_kv_log_rewrite(r->log, keep, NULL), DW_OK);
    if (drop == 0) {
        if (keep < r->length) {
            note_change(t, r, keep);
        }
        return;
    }
    unsigned char *to = r->bytes + keep * t->record_bytes;
    memmove(to, to + drop * t->record_bytes, moved * t->record_bytes);
    for (size_t i = 0; i < moved * t->record_bytes; i += 5) {
        to[i] ^= 1;
    }
    write_records(t, r->log, keep, to, moved * t->record_bytes);
    r->length -= drop;
    dw_kv_log_trim(r->log, r->length);
    note_change(t, r, keep);
}

static void do_fork(kv_check *t, const reference *parent)
{
    if (t->count < LOGS_MAX) {
        reference *r = add(t);
        size_t held = parent->length * t->record_bytes;
        memcpy(r->bytes, parent->bytes, held);
        memcpy(r->saved, parent->saved, held);
        r->length = parent->length;
        r->saved_bytes = parent->saved_bytes;
        assert_int_equal(dw_kv_log_fork(&r->log, parent->log, NULL), DW_OK);
        assert_true(dw_kv_log_base(r->log) != dw_kv_log_base(parent->log) || t->in_buffer);
    }
}

/* A file that holds the log in up to three parts, with gaps between of whole pages or not. */
static void do_thaw(kv_check *t, const reference *from)
{
    if (t->count == LOGS_MAX) {
        return;
    }
    dw_kv_segment segments[3];
    FILE *file = tmpfile();
    assert_non_null(file);
    size_t held = from->length * t->record_bytes;
    size_t done = 0;
    long at = (long)pick(t, 3) * 4096 + (pick(t, 2) == 0 ? 0 : 100);
    for (size_t i = 0; i < 3; i++) {
        size_t part = i == 2 ? held - done : pick(t, (uint32_t)(held - done) + 1);
        part = pick(t, 2) == 0 && i < 2 ? part / 4096 * 4096 : part;
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_equal(fwrite(from->bytes + done, 1, part, file), part);
        segments[i] = (dw_kv_segment){fileno(file), (uint64_t)at, done, part};
        done += part;
        at += (long)part + 1 + (long)pick(t, 5000);
        at = pick(t, 2) == 0 ? (at + 4095) / 4096 * 4096 : at;
    }
    assert_int_equal(fflush(file), 0);
    reference *r = add(t);
    memcpy(r->bytes, from->bytes, held);
    memcpy(r->saved, from->bytes, held);
    r->length = from->length;
    r->saved_bytes = held;
    dw_kv_log_options options = options_of(t);
    dw_kv_frozen frozen = {.segments = segments, .segment_count = 3, .length = from->length};
    dw_error err = {0};
    if (dw_kv_log_thaw(&r->log, t->device, &options, &frozen, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    (void)fclose(file);
}

static void do_save(const kv_check *t, reference *r)
{
    dw_kv_log_begin_saving(r->log);
    dw_kv_log_end_saving(r->log, true);
    r->saved_bytes = r->length * t->record_bytes;
    memcpy(r->saved, r->bytes, r->saved_bytes);
}

static void one_step(kv_check *t)
{
    if (t->count == 0) {
        do_create(t);
    }
    reference *r = &t->logs[pick(t, t->count)];
    uint32_t what = pick(t, 20);
    if (what < 6) {
        do_append(t, r);
    } else if (what < 8) {
        do_trim(t, r);
    } else if (what < 10) {
        do_shift(t, r);
    } else if (what < 14) {
        do_fork(t, r);
    } else if (what < 15) {
        do_thaw(t, r);
    } else if (what < 16) {
        do_fail(t, r);
    } else if (what < 17) {
        do_save(t, r);
    } else if (what < 18) {
        do_create(t);
    } else {
        do_free(t, r);
    }
}

/* Where the logs of a kv_check lie. */
typedef enum kv_location { IN_HOST_PAGES, IN_DEVICE_MEMORY, IN_BUFFER } kv_location;

static void run_trial(size_t record_bytes, kv_location where, uint64_t seed)
{
    kv_check t = {.record_bytes = record_bytes,
                  .in_device_memory = where == IN_DEVICE_MEMORY,
                  .in_buffer = where == IN_BUFFER,
                  .random = seed};
    assert_int_equal(dw_device_open(&t.device, "CPU", 1, NULL), DW_OK);
    for (int step = 0; step < 400; step++) {
        one_step(&t);
        for (uint32_t i = 0; step % 4 == 3 && i < t.count; i++) {
            check_log(&t, &t.logs[i]);
        }
    }
    while (t.count > 0) {
        do_free(&t, &t.logs[0]);
    }
    dw_device_close(t.device);
}

static void test_kv_log_any_sequence_matches_plain_arrays(void **state)
{
    (void)state;
    static const size_t sizes[] = {1500, 40, 4096, 96, 1024, 5000};
    const size_t count = emulated() ? 2 : sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < count; i++) {
        run_trial(sizes[i], IN_HOST_PAGES, 11 + i);
        run_trial(sizes[i], IN_HOST_PAGES, 1011 + i);
        run_trial(sizes[i], IN_DEVICE_MEMORY, 2011 + i);
        run_trial(sizes[i], IN_BUFFER, 3011 + i);
    }
}

/* Every allocation on the way of a fork and of a thaw fails once. */
static void test_kv_log_fork_and_thaw_survive_no_memory(void **state)
{
    (void)state;
    kv_check t = {.record_bytes = 1500, .random = 5};
    assert_int_equal(dw_device_open(&t.device, "CPU", 1, NULL), DW_OK);
    do_create(&t);
    reference *r = &t.logs[0];
    r->length = 300;
    fill(&t, r->bytes, 300 * t.record_bytes);
    assert_int_equal(dw_kv_log_append(r->log, r->bytes, 300, NULL), DW_OK);
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(r->bytes, t.record_bytes, 300, file), 300);
    assert_int_equal(fflush(file), 0);
    dw_kv_segment segment = {fileno(file), 0, 0, 300 * t.record_bytes};
    dw_kv_log_options options = options_of(&t);
    dw_kv_frozen frozen = {.segments = &segment, .segment_count = 1, .length = 300};
    for (int thaw = 0; thaw < 2; thaw++) {
        dw_status status = DW_E_MEMORY;
        dw_kv_log *log = NULL;
        int64_t failed = 0;
        for (; status == DW_E_MEMORY; failed++) {
            assert_null(log);
            dw_alloc_fail_after(failed);
            status = thaw ? dw_kv_log_thaw(&log, t.device, &options, &frozen, NULL)
                          : dw_kv_log_fork(&log, r->log, NULL);
            dw_alloc_fail_after(-1);
            check_log(&t, r);
        }
        assert_int_equal(status, DW_OK);
        assert_true(failed > 3);
        dw_kv_log_destroy(log);
    }
    (void)fclose(file);
    do_free(&t, r);
    dw_device_close(t.device);
}

/* Lines of /proc/self/maps with `text`; 0 where there is no such file. */
static size_t mappings(const char *text)
{
    char line[512];
    size_t count = 0;
    FILE *stream = fopen("/proc/self/maps", "r");
    while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
        count += strstr(line, text) != NULL;
    }
    if (stream != NULL) {
        (void)fclose(stream);
    }
    return count;
}

/* What this process's logs have in memory files, in bytes; 0 where /proc does not tell. */
static uint64_t memory_file_bytes(void)
{
    uint64_t bytes = 0;
    for (int fd = 0; fd < 256; fd++) {
        char name[64];
        char target[256] = {0};
        struct stat info;
        (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        if (readlink(name, target, sizeof target - 1) > 0 &&
            strncmp(target, "/memfd:kv log", 13) == 0 && fstat(fd, &info) == 0) {
            bytes += (uint64_t)info.st_blocks * 512;
        }
    }
    return bytes;
}

/* 100 MiB: mapped, not read, and nothing of it in memory until it is looked at. */
static void test_kv_log_thaw_maps(void **state)
{
    (void)state;
    enum { BYTES = 40960, RECORDS = 2560 };
    char path[] = "/tmp/dw-kv-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const uint64_t start = 65536;
    const char mark[] = "a record";
    assert_int_equal(ftruncate(fd, (off_t)(start + (uint64_t)BYTES * RECORDS)), 0);
    assert_true(pwrite(fd, mark, sizeof mark, (off_t)(start + 2000ull * BYTES)) > 0);
    dw_device *device = NULL;
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log_options options = {.record_bytes = BYTES, .capacity_tokens = 4096};
    dw_kv_segment segment = {fd, start, 0, (uint64_t)BYTES * RECORDS};
    dw_kv_frozen frozen = {.segments = &segment, .segment_count = 1, .length = RECORDS};
    dw_kv_log *log = NULL;
    uint64_t allocations = dw_alloc_count();
    size_t rss = dw_os_rss_bytes();
    uint64_t faults = dw_os_page_faults();
    assert_int_equal(dw_kv_log_thaw(&log, device, &options, &frozen, NULL), DW_OK);
    faults = dw_os_page_faults() - faults;
    size_t grown = dw_os_rss_bytes();
    grown = grown > rss ? grown - rss : 0;
    print_message("%llu faults, %zu bytes more in memory, %llu allocations\n",
                  (unsigned long long)faults, grown,
                  (unsigned long long)(dw_alloc_count() - allocations));
    assert_true(emulated() || faults < 100);
    assert_true(emulated() || grown < 256 * 1024);
    dw_os_close(fd);
    char there[sizeof mark];
    assert_int_equal(dw_kv_log_read(log, 2000ull * BYTES, sizeof there, there, NULL), DW_OK);
    assert_string_equal(there, mark);
    assert_int_equal(dw_kv_log_reserve(log, RECORDS + 1, NULL), DW_OK);
    assert_true(mappings("/tmp/dw-kv-") <= 1); /* one mapping for all of it */
    dw_kv_log_destroy(log);
    assert_int_equal(mappings("/tmp/dw-kv-"), 0);
    dw_device_close(device);
    (void)unlink(path);
}

static void test_kv_log_thaw_refuses(void **state)
{
    (void)state;
    dw_device *device = NULL;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 8192), 0);
    int fd = fileno(file);
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    dw_kv_log_options options = {.record_bytes = 1024, .capacity_tokens = 100};
    const struct {
        dw_kv_segment segments[2];
        uint32_t length;
        dw_status status;
    } cases[] = {
        {{{fd, 0, 0, 4096}, {fd, 4096, 4096, 4096}}, 8, DW_OK},
        {{{fd, 0, 0, 4096}, {fd, 4096, 4096, 4096}}, 5, DW_OK},
        {{{fd, 0, 0, 0}, {fd, 0, 0, 0}}, 0, DW_OK},
        {{{fd, 0, 0, 4096}, {fd, 4096, 4096, 4096}}, 9, DW_E_FORMAT}, /* not enough */
        {{{fd, 0, 0, 4096}, {fd, 4096, 4095, 4096}}, 7, DW_E_FORMAT}, /* over each other */
        {{{fd, 0, 0, 2048}, {fd, 4096, 4096, 4096}}, 7, DW_E_FORMAT}, /* a hole */
        {{{fd, 0, 1024, 4096}, {fd, 0, 5120, 1024}}, 1, DW_E_FORMAT}, /* not from the start */
        {{{fd, 0, 0, 4096}, {fd, 4097, 4096, 4096}}, 4, DW_E_FORMAT}, /* beyond the file */
        {{{fd, 0, 0, 4096}, {fd, UINT64_MAX, 4096, 4096}}, 4, DW_E_FORMAT},
        {{{fd, 0, 0, 4096}, {fd, 0, 4096, UINT64_MAX}}, 4, DW_E_FORMAT},
        {{{fd, 0, 0, 4096}, {-1, 0, 4096, 4096}}, 4, DW_E_IO},
        {{{fd, 0, 0, 4096}, {fd, 4096, 4096, 4096}}, 101, DW_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int in_device_memory = 0; in_device_memory < 2; in_device_memory++) {
            dw_kv_frozen frozen = {
                .segments = cases[i].segments, .segment_count = 2, .length = cases[i].length};
            dw_kv_log *log = NULL;
            options.in_device_memory = in_device_memory;
            dw_status status = dw_kv_log_thaw(&log, device, &options, &frozen, NULL);
            if (status != cases[i].status) {
                fail_msg("case %zu: %d, wanted %d", i, status, cases[i].status);
            }
            assert_int_equal(log != NULL, status == DW_OK);
            dw_kv_log_destroy(log);
        }
    }
    (void)fclose(file);
    dw_device_close(device);
}

/* The pages that a parent grew behind what it shared go when it goes, not with the last fork. */
static void test_kv_log_gives_back_what_nobody_shares(void **state)
{
    (void)state;
    enum { RECORDS = 600 };
    kv_check t = {.record_bytes = 4096, .random = 7};
    assert_int_equal(dw_device_open(&t.device, "CPU", 1, NULL), DW_OK);
    do_create(&t);
    reference *r = &t.logs[0];
    fill(&t, r->bytes, RECORDS * t.record_bytes);
    assert_int_equal(dw_kv_log_append(r->log, r->bytes, 8, NULL), DW_OK);
    dw_kv_log *fork = NULL;
    assert_int_equal(dw_kv_log_fork(&fork, r->log, NULL), DW_OK);
    assert_int_equal(dw_kv_log_append(r->log, r->bytes + 8 * t.record_bytes, RECORDS - 8, NULL),
                     DW_OK);
    const unsigned char *base = dw_kv_log_base(fork);
    bool told = memory_file_bytes() > 0;
    assert_true(!told || memory_file_bytes() == RECORDS * t.record_bytes);
    do_free(&t, r);
    assert_true(!told || memory_file_bytes() == 8 * t.record_bytes);
    kv_check kept = {.record_bytes = 4096, .random = 7};
    unsigned char *same = malloc(RECORDS * kept.record_bytes);
    assert_non_null(same);
    fill(&kept, same, RECORDS * kept.record_bytes);
    assert_memory_equal(base, same, 8 * kept.record_bytes);
    free(same);
    dw_kv_log_destroy(fork);
    assert_int_equal(mappings("memfd:kv log"), 0);
    assert_int_equal(memory_file_bytes(), 0);
    dw_device_close(t.device);
}

/* ---- how much there is in host pages -------------------------------------------------------- */

static dw_kv_stats stats_of(dw_device *device)
{
    dw_kv_stats stats;
    dw_kv_limit_get(device, &stats);
    return stats;
}

/* What counts is what the system has given, however many share it. */
static void test_kv_log_counts_a_page_once(void **state)
{
    (void)state;
    enum { RECORDS = 2000, FORKS = 6, MORE = 100 };
    const size_t record = 4096;
    dw_device *device = NULL;
    dw_kv_log *logs[1 + FORKS] = {NULL};
    const dw_kv_log_options options = {.record_bytes = record, .capacity_tokens = 4096};
    unsigned char *records = malloc(RECORDS * record);
    assert_non_null(records);
    (void)memset(records, 3, RECORDS * record);
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    assert_int_equal(dw_kv_log_create(&logs[0], device, &options, NULL), DW_OK);
    assert_int_equal(stats_of(device).pages_bytes, 0);
    assert_int_equal(dw_kv_log_append(logs[0], records, RECORDS, NULL), DW_OK);
    const uint64_t one = 2048 * record; /* whole steps */
    assert_int_equal(stats_of(device).pages_bytes, one);
    for (int i = 1; i <= FORKS; i++) {
        assert_int_equal(dw_kv_log_fork(&logs[i], logs[i / 2], NULL), DW_OK);
    }
    assert_int_equal(stats_of(device).pages_bytes, one);
    for (int i = 0; i <= FORKS; i++) {
        assert_int_equal(dw_kv_log_append(logs[i], records, MORE, NULL), DW_OK);
        bool told = memory_file_bytes() > 0; /* of the last step not all was used */
        uint64_t bytes = stats_of(device).pages_bytes;
        assert_true(!told || memory_file_bytes() <= bytes);
        assert_true(!told || memory_file_bytes() + (FORKS + 1) * 512 * record >= bytes);
    }
    dw_kv_log_trim(logs[1], 10); /* memory stays with the others' */
    uint64_t before = stats_of(device).pages_bytes;
    assert_int_equal(dw_kv_log_append(logs[1], records, 1, NULL), DW_OK);
    assert_true(stats_of(device).pages_bytes <= before + 256 * record);
    for (int i = 0; i <= FORKS; i++) { /* the first has grown what all begin with */
        assert_true(stats_of(device).pages_bytes >= 2000 * record);
        dw_kv_log_destroy(logs[i]);
    }
    assert_int_equal(stats_of(device).pages_bytes, 0);
    free(records);
    dw_device_close(device);
}

/* ---- long logs ---- */

#define LONG_RECORD ((size_t)23040) /* bytes; no multiple of a page */
#define LONG_RECORDS 700u           /* some huge pages, where there are any */

static unsigned char long_byte(uint32_t record, size_t at, unsigned writer)
{
    return (unsigned char)(1 + (record * 31 + at * 7 + writer * 101) % 199);
}

static void append_long(dw_kv_log *log, uint32_t to, unsigned writer)
{
    const uint32_t from = dw_kv_log_length(log);
    unsigned char *records = malloc((to - from) * LONG_RECORD);
    assert_non_null(records);
    for (uint32_t r = from; r < to; r++) {
        for (size_t i = 0; i < LONG_RECORD; i++) {
            records[(r - from) * LONG_RECORD + i] = long_byte(r, i, writer);
        }
    }
    assert_int_equal(dw_kv_log_append(log, records, to - from, NULL), DW_OK);
    free(records);
}

/* Records [from, to) are `writer`'s. */
static void check_long(dw_kv_log *log, uint32_t from, uint32_t to, unsigned writer)
{
    const unsigned char *base = dw_kv_log_base(log);
    for (uint32_t r = from; r < to; r++) {
        for (size_t i = 0; i < LONG_RECORD; i++) {
            if (base[r * LONG_RECORD + i] != long_byte(r, i, writer)) {
                fail_msg("record %u, byte %zu: %u in the place of %u", r, i,
                         base[r * LONG_RECORD + i], long_byte(r, i, writer));
            }
        }
    }
}

static size_t pages_of_long(uint32_t from, uint32_t to)
{
    const size_t page = dw_os_page_bytes();
    return (to * LONG_RECORD + page - 1) / page * page - from * LONG_RECORD / page * page;
}

/* Logs of many huge pages, grown by prompts and token by token, forked and cut between them, hold
 * what was written, and no more counts than what they reach. */
static void test_kv_log_is_in_huge_pages(void **state)
{
    (void)state;
    dw_device *device = NULL;
    dw_kv_log *log = NULL;
    dw_kv_log *fork = NULL;
    const dw_kv_log_options options = {.record_bytes = LONG_RECORD, .capacity_tokens = 4096};
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    assert_int_equal(dw_kv_log_create(&log, device, &options, NULL), DW_OK);
    const size_t huge = dw_os_huge_page_bytes();
    assert_true(huge == 0 || (uintptr_t)dw_kv_log_base(log) % huge == 0);
    append_long(log, 100, 1);
    for (uint32_t r = 101; r <= 333; r++) {
        append_long(log, r, 1);
    }
    check_long(log, 0, 333, 1);
    assert_int_equal(stats_of(device).pages_bytes, pages_of_long(0, 512));
    assert_int_equal(dw_kv_log_fork(&fork, log, NULL), DW_OK);
    append_long(log, LONG_RECORDS, 1);
    for (uint32_t r = 334; r <= LONG_RECORDS; r += 3) {
        append_long(fork, r, 2);
    }
    check_long(log, 0, LONG_RECORDS, 1);
    check_long(fork, 0, 333, 1);
    check_long(fork, 333, LONG_RECORDS - 2, 2);
    assert_int_equal(stats_of(device).pages_bytes, pages_of_long(0, 768) + pages_of_long(333, 768));
    dw_kv_log_trim(fork, 150); /* within what it shares */
    append_long(fork, LONG_RECORDS, 3);
    check_long(fork, 0, 150, 1);
    check_long(fork, 150, LONG_RECORDS, 3);
    check_long(log, 0, LONG_RECORDS, 1);
    dw_kv_log_destroy(log);
    check_long(fork, 0, 150, 1);
    check_long(fork, 150, LONG_RECORDS, 3);
    dw_kv_log_destroy(fork);
    assert_int_equal(stats_of(device).pages_bytes, 0);
    dw_device_close(device);
}

/* Who would go beyond is refused, keeps what it has, and finds room once another has gone; forks
 * that share find it all the time. */
static void test_kv_log_keeps_to_the_limit_of_a_device(void **state)
{
    (void)state;
    enum { HALF = 512, STEP = DW_KV_STEP_TOKENS };
    const size_t record = 4096;
    dw_device *device = NULL;
    dw_kv_log *hog = NULL;
    dw_kv_log *other = NULL;
    dw_kv_log *forks[8] = {NULL};
    dw_error err = {.message = ""};
    const dw_kv_log_options options = {.record_bytes = record, .capacity_tokens = 8192};
    unsigned char *records = calloc(HALF, record);
    assert_non_null(records);
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    assert_int_equal(dw_kv_limit_set(device, 2 * HALF * record, &err), DW_OK);
    assert_int_equal(dw_kv_log_create(&hog, device, &options, NULL), DW_OK);
    assert_int_equal(dw_kv_log_create(&other, device, &options, NULL), DW_OK);
    assert_int_equal(dw_kv_log_append(other, records, STEP, &err), DW_OK);
    uint32_t held = 0;
    while (dw_kv_log_append(hog, records, 64, &err) == DW_OK) {
        held += 64;
        assert_true(held <= 2 * HALF);
    }
    assert_int_equal(held, 2 * HALF - STEP);
    assert_int_equal(err.code, DW_E_MEMORY);
    assert_non_null(strstr(err.message, "(device_kv_bytes)"));
    assert_int_equal(dw_kv_log_length(hog), held);
    assert_int_equal(dw_kv_log_append(other, records, 1, &err), DW_E_MEMORY);
    assert_int_equal(stats_of(device).pages_bytes, stats_of(device).limit_bytes);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(dw_kv_log_fork(&forks[i], hog, &err), DW_OK);
        assert_int_equal(dw_kv_log_append(forks[i], records, 1, &err), DW_E_MEMORY);
    }
    dw_kv_log_destroy(hog);
    assert_int_equal(dw_kv_log_append(other, records, 1, &err), DW_E_MEMORY); /* forks hold it */
    for (int i = 0; i < 8; i++) {
        dw_kv_log_destroy(forks[i]);
    }
    assert_int_equal(dw_kv_log_append(other, records, HALF - 1, &err), DW_OK);
    assert_int_equal(dw_kv_limit_set(device, STEP * record, &err), DW_OK); /* what is there stays */
    assert_int_equal(dw_kv_log_append(other, records, 1, &err), DW_OK);
    assert_int_equal(dw_kv_log_append(other, records, 1, &err), DW_E_MEMORY);
    dw_kv_log_destroy(other);
    assert_int_equal(stats_of(device).pages_bytes, 0);
    free(records);
    dw_device_close(device);
}

/* Pages of files count apart, and once for those that share them; what had to be read does as any
 * other. */
static void test_kv_log_counts_what_is_thawed(void **state)
{
    (void)state;
    enum { RECORDS = 100 };
    const size_t record = 4096;
    dw_device *device = NULL;
    dw_kv_log *logs[3] = {NULL};
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (RECORDS + 1) * (off_t)record), 0);
    dw_kv_log_options options = {.record_bytes = record, .capacity_tokens = 1024};
    dw_kv_segment segment = {.fd = fileno(file), .bytes = RECORDS * record};
    dw_kv_frozen frozen = {.segments = &segment, .segment_count = 1, .length = RECORDS};
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    assert_int_equal(dw_kv_log_thaw(&logs[0], device, &options, &frozen, NULL), DW_OK);
    assert_int_equal(dw_kv_log_fork(&logs[1], logs[0], NULL), DW_OK);
    assert_int_equal(stats_of(device).mapped_bytes, RECORDS * record);
    assert_int_equal(stats_of(device).pages_bytes, 0);
    segment.file_offset = 512; /* in the midst of a page */
    assert_int_equal(dw_kv_log_thaw(&logs[2], device, &options, &frozen, NULL), DW_OK);
    assert_int_equal(stats_of(device).mapped_bytes, RECORDS * record);
    assert_int_equal(stats_of(device).pages_bytes, RECORDS * record);
    dw_kv_log_destroy(logs[2]);
    assert_int_equal(dw_kv_limit_set(device, 10 * record, NULL), DW_OK);
    assert_int_equal(dw_kv_log_thaw(&logs[2], device, &options, &frozen, NULL), DW_E_MEMORY);
    assert_int_equal(stats_of(device).pages_bytes, 0);
    dw_kv_log_destroy(logs[0]);
    assert_int_equal(stats_of(device).mapped_bytes, RECORDS * record);
    dw_kv_log_destroy(logs[1]);
    assert_int_equal(stats_of(device).mapped_bytes, 0);
    (void)fclose(file);
    dw_device_close(device);
}

/* In buffers likewise. */
static void test_kv_log_keeps_to_the_limit_in_buffers(void **state)
{
    (void)state;
    dw_device *device = NULL;
    dw_kv_log *log = NULL;
    dw_error err = {.message = ""};
    const dw_kv_log_options options = {
        .record_bytes = 4096, .capacity_tokens = 4096, .in_buffer = true};
    unsigned char *records = calloc(300, 4096);
    assert_non_null(records);
    assert_int_equal(dw_device_open(&device, "CPU", 1, NULL), DW_OK);
    assert_int_equal(dw_kv_limit_set(device, 700 * 4096, &err), DW_OK);
    assert_int_equal(dw_kv_log_create(&log, device, &options, NULL), DW_OK);
    assert_int_equal(dw_kv_log_append(log, records, 256, &err), DW_OK);
    assert_int_equal(stats_of(device).device_bytes, 256 * 4096);
    assert_int_equal(dw_kv_log_append(log, records, 1, &err), DW_E_MEMORY); /* both, for a time */
    assert_non_null(strstr(err.message, "(device_kv_bytes)"));
    assert_int_equal(dw_kv_limit_set(device, 0, &err), DW_OK);
    assert_int_equal(dw_kv_log_append(log, records, 300, &err), DW_OK);
    dw_kv_log_destroy(log);
    assert_int_equal(stats_of(device).device_bytes, 0);
    free(records);
    dw_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_log_counts_a_page_once),
        cmocka_unit_test(test_kv_log_is_in_huge_pages),
        cmocka_unit_test(test_kv_log_keeps_to_the_limit_of_a_device),
        cmocka_unit_test(test_kv_log_counts_what_is_thawed),
        cmocka_unit_test(test_kv_log_keeps_to_the_limit_in_buffers),
        cmocka_unit_test(test_kv_log_grows_in_host_pages),
        cmocka_unit_test(test_kv_log_grows_in_device_memory),
        cmocka_unit_test(test_kv_log_refuses_more_than_its_capacity),
        cmocka_unit_test(test_kv_log_trims_and_clears),
        cmocka_unit_test(test_kv_log_any_sequence_matches_plain_arrays),
        cmocka_unit_test(test_kv_log_fork_and_thaw_survive_no_memory),
        cmocka_unit_test(test_kv_log_thaw_maps),
        cmocka_unit_test(test_kv_log_thaw_refuses),
        cmocka_unit_test(test_kv_log_gives_back_what_nobody_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
